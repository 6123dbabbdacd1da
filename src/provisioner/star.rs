//! The grant for one certificate of an order that is renewed automatically (RFC 8739).
//!
//! The client proved its control once; every certificate is held anew against the terms in force,
//! so that a name that is denied by now, or a provisioner that renews no more, ends the series.

use std::time::Duration;

use super::acme::{Permitted, Terms, check_ready};
use super::eab::EabKey;
use super::profile::Rules;
use super::{Grant, Purpose, Requester};
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::order::{Finish, Order};
use crate::acme::star::Period;
use crate::id::OrderId;
use crate::time::Timestamp;
use crate::x509::csr::Csr;
use crate::x509::spki::Spki;

impl Terms {
    /// The grant for `period`: only if the order is ready or being renewed, the provisioner still offers
    /// renewal, and names, lifetime and key are (still) allowed.
    #[expect(clippy::too_many_arguments, reason = "what a decision is made of, each a value of its own")]
    pub fn grant_period(
        &self,
        id: OrderId,
        order: &Order,
        csr: &Csr,
        account_key: &Spki,
        eab: Option<&EabKey>,
        period: &Period,
        now: Timestamp,
    ) -> Result<Grant, Refusal> {
        let Some(agreed) = &order.details.auto_renewal else {
            return Err(Refusal::unauthorized("the order is not renewed automatically"));
        };
        match &order.finish {
            Finish::Renewing(state) if state.canceled.is_none() => {
                if !order.still_proved() {
                    return Err(Refusal::unauthorized("an authorization of the order was given up"));
                }
            }
            Finish::Renewing(_) => {
                return Err(Refusal::new(ErrorKind::AutoRenewalCanceled, "the renewal was cancelled"));
            }
            Finish::Open | Finish::Processing(_) | Finish::Issued { .. } | Finish::Failed(_) => {
                check_ready(order, now)?;
            }
        }
        let Permitted { names, rules: Rules { lifetimes, leaf }, contents } =
            self.permitted(order, csr, account_key, eab)?;
        if self.auto_renewal.is_none() {
            return Err(Refusal::unauthorized("this provisioner offers no automatic renewal any more"));
        }
        let longest = agreed.effective_lifetime();
        if longest > lifetimes.max {
            let most = lifetimes.max.as_secs();
            let detail = format!("the order's certificates live longer than the {most} seconds allowed now");
            return Err(Refusal::unauthorized(detail));
        }
        if period.not_after > agreed.end {
            return Err(Refusal::new(
                ErrorKind::AutoRenewalExpired,
                "the certificate would outlive end-date",
            ));
        }
        Ok(Grant {
            authority: Some(self.authority.clone()),
            purpose: Purpose::Leaf(names),
            key: csr.key().clone(),
            not_before: Some(period.not_before),
            not_after: Some(period.not_after),
            lifetime: Duration::from_secs(agreed.lifetime),
            longest,
            leaf,
            contents,
            profile: order.details.profile.clone(),
            requester: Requester::AutoRenewal {
                provisioner: self.name.clone(),
                account: order.account,
                order: id,
            },
            eab_key: eab.map(|key| key.kid),
            policy: self.policy.clone(),
        })
    }
}
