//! An early word of policy: so that a client learns before it has proved anything.

use super::live::Provisioner;
use super::{Error, Service};
use crate::acme::identifier::Identifier;
use crate::authority::approve;
use crate::id::{AccountId, EabKid};
use crate::policy::{Context, Facts, Policies, Who};

impl Service {
    /// Refuses an order whose names policy would refuse in any certificate. Nothing else of the certificate
    /// is known yet: the gate has the last word.
    pub(super) fn check_policy(
        &self,
        terms: &Provisioner,
        account: AccountId,
        eab_key: Option<EabKid>,
        profile: Option<&str>,
        names: &[Identifier],
        renewed: bool,
    ) -> Result<(), Error> {
        let realm = terms.issuer().realm();
        let policies =
            Policies { authority: realm.map(|realm| &realm.policy), provisioner: Some(&terms.policy) };
        if policies.is_empty() {
            return Ok(());
        }
        let who = if renewed { Who::AutoRenewal } else { Who::Acme };
        let context = Context {
            authority: realm.map(|realm| realm.name.to_string()),
            provisioner: Some(terms.name.clone()),
            account: Some(account.to_string()),
            eab_key: eab_key.map(|kid| kid.to_string()),
            profile: profile.map(str::to_owned),
            ..Context::new(self.now(), who)
        };
        let verdict = policies.judge(&Ok(Facts::of_names(names)), &context).verdict;
        if verdict.allowed() {
            return Ok(());
        }
        tracing::info!(%account, provisioner = terms.name, reasons = %verdict, "an order was refused by policy");
        Err(approve::refusal(&verdict).into())
    }
}
