//! The ACME provisioner: its terms, and the grant for an order that is ready.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;

use super::{Grant, Purpose, Requester};
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::identifier::Identifier;
use crate::acme::order::{Lifetimes, Order, OrderStatus};
use crate::acme::star::Offer;
use crate::id::OrderId;
use crate::time::Timestamp;
use crate::x509::csr::{Csr, RequestedName};
use crate::x509::spki::Spki;

/// What one ACME provisioner grants, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// In URLs and logs.
    pub name: String,
    /// Challenges offered, in this order.
    pub challenges: Vec<ChallengeKind>,
    /// Lifetimes of certificates.
    pub lifetimes: Lifetimes,
    /// Names that may be asked for; empty: any.
    pub allow: Vec<NameRule>,
    /// Names that may not; wins over `allow`.
    pub deny: Vec<NameRule>,
    /// Whether wildcards may be asked for.
    pub wildcards: bool,
    /// Most identifiers in one order.
    pub max_names: usize,
    /// How long an order may stay unfinished.
    pub order_ttl: Duration,
    /// How long a proved authorization may be used again; zero: never.
    pub authorization_ttl: Duration,
    /// Terms of service to agree to.
    pub terms_of_service: Option<String>,
    /// Shown in the directory.
    pub website: Option<String>,
    /// Automatic renewal (RFC 8739); `None`: not offered.
    pub auto_renewal: Option<Offer>,
}

/// One rule over names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// This name, not its wildcard.
    Exact(String),
    /// Every name below this one, wildcards included; not the name itself.
    Under(String),
    /// Addresses.
    Net(IpNet),
}

impl NameRule {
    /// Whether the rule speaks of `identifier`.
    pub fn covers(&self, identifier: &Identifier) -> bool {
        match (self, identifier) {
            (Self::Exact(name), Identifier::Dns(dns)) => dns.as_str() == name,
            (Self::Under(suffix), Identifier::Dns(dns)) => is_under(dns.as_str(), suffix),
            // `*.a.test` stands for names below a.test, so a.test itself may be the suffix.
            (Self::Under(suffix), Identifier::Wildcard(dns)) => {
                dns.as_str() == suffix || is_under(dns.as_str(), suffix)
            }
            (Self::Net(net), Identifier::Ip(ip)) => net.contains(ip),
            (Self::Exact(_), Identifier::Wildcard(_) | Identifier::Ip(_))
            | (Self::Under(_), Identifier::Ip(_))
            | (Self::Net(_), Identifier::Dns(_) | Identifier::Wildcard(_)) => false,
        }
    }

    /// Whether the rule touches any name that `identifier` stands for: a denied name is not to be
    /// had by way of the wildcard above it.
    fn touches(&self, identifier: &Identifier) -> bool {
        match (self, identifier) {
            (Self::Exact(name), Identifier::Wildcard(base)) => {
                name.split_once('.').is_some_and(|(_, parent)| parent == base.as_str())
            }
            _ => self.covers(identifier),
        }
    }
}

fn is_under(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|head| head.len() > 1 && head.ends_with('.'))
}

impl Terms {
    /// What the configuration's defaults grant.
    pub fn named(name: &str) -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            name: name.to_owned(),
            challenges: vec![ChallengeKind::Http01, ChallengeKind::Dns01, ChallengeKind::TlsAlpn01],
            lifetimes: Lifetimes { default: 24 * HOUR, min: Duration::from_secs(300), max: 24 * HOUR },
            allow: Vec::new(),
            deny: Vec::new(),
            wildcards: true,
            max_names: 100,
            order_ttl: 2 * HOUR,
            authorization_ttl: 8 * HOUR,
            terms_of_service: None,
            website: None,
            auto_renewal: None,
        }
    }

    /// Whether `identifier` may be asked for here; the rule it breaks if not.
    pub fn allows(&self, identifier: &Identifier) -> Result<(), String> {
        if identifier.is_wildcard() && !self.wildcards {
            return Err("wildcard names are not allowed at this provisioner".into());
        }
        if self.deny.iter().any(|rule| rule.touches(identifier)) {
            return Err("the name is denied by this provisioner's deny_names".into());
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|rule| rule.covers(identifier)) {
            return Err("the name is not covered by this provisioner's allow_names".into());
        }
        if !self.challenges.iter().any(|kind| kind.can_prove(identifier)) {
            return Err("no challenge offered by this provisioner can prove control of the name".into());
        }
        Ok(())
    }

    /// The grant for an order: only if it is ready, the request's names are exactly the order's,
    /// every name and the lifetime are still allowed, and the key is not the account's. For an order
    /// that is renewed automatically, the grant for its first certificate.
    pub fn grant(
        &self,
        id: OrderId,
        order: &Order,
        csr: &Csr,
        account_key: &Spki,
        now: Timestamp,
    ) -> Result<Grant, Refusal> {
        if let Some(agreed) = &order.details.auto_renewal {
            let period = agreed.first_period(now)?;
            return self.grant_period(id, order, csr, account_key, &period, now);
        }
        check_ready(order, now)?;
        let names = self.permitted(order, csr, account_key)?;
        if let Some(end) = order.not_after
            && end.since(order.not_before.unwrap_or(now)) > self.lifetimes.max
        {
            let most = self.lifetimes.max.as_secs();
            let detail = format!("the order's notAfter: the lifetime must be at most {most} seconds");
            return Err(Refusal::malformed(detail));
        }
        Ok(Grant {
            purpose: Purpose::Leaf(names),
            key: csr.key().clone(),
            not_before: order.not_before,
            not_after: order.not_after,
            lifetime: self.lifetimes.default,
            longest: self.lifetimes.max,
            requester: Requester::Acme { provisioner: self.name.clone(), account: order.account, order: id },
        })
    }

    /// The names of an order and a CSR that agree with each other and with these terms; the key is not
    /// the account's.
    pub(super) fn permitted(
        &self,
        order: &Order,
        csr: &Csr,
        account_key: &Spki,
    ) -> Result<Vec<Identifier>, Refusal> {
        if order.provisioner != self.name {
            return Err(Refusal::unauthorized("the order belongs to another provisioner"));
        }
        let names: Vec<Identifier> = order.identifiers().cloned().collect();
        check_names(csr, &names.iter().cloned().collect())?;
        // The configuration may have changed since the order was opened.
        for name in &names {
            self.allows(name).map_err(|rule| {
                Refusal::new(ErrorKind::RejectedIdentifier, format!("identifier {name}: {rule}"))
            })?;
        }
        if csr.key() == account_key {
            return Err(Refusal::new(ErrorKind::BadCsr, "the CSR's key is the account key: use another"));
        }
        Ok(names)
    }
}

/// Whether a CSR accepted, or about to be accepted, for the order may be signed.
pub(super) fn check_ready(order: &Order, now: Timestamp) -> Result<(), Refusal> {
    match order.status(now) {
        OrderStatus::Ready => Ok(()),
        // Accepted earlier, signed for now.
        OrderStatus::Processing if order.still_proved() => Ok(()),
        OrderStatus::Processing => Err(Refusal::unauthorized("an authorization of the order was given up")),
        OrderStatus::Pending | OrderStatus::Valid | OrderStatus::Invalid | OrderStatus::Canceled => {
            Err(Refusal::new(ErrorKind::OrderNotReady, "the order is not ready"))
        }
    }
}

fn check_names(csr: &Csr, ordered: &BTreeSet<Identifier>) -> Result<(), Refusal> {
    let requested: BTreeSet<Identifier> = csr.names().iter().map(identifier_of).collect::<Result<_, _>>()?;
    if let Some(extra) = requested.difference(ordered).next() {
        let detail = format!("the CSR names {extra}, which the order does not");
        return Err(Refusal::new(ErrorKind::BadCsr, detail));
    }
    if let Some(missing) = ordered.difference(&requested).next() {
        let detail = format!("the CSR does not name {missing}, which the order does");
        return Err(Refusal::new(ErrorKind::BadCsr, detail));
    }
    match csr.common_name() {
        Some(name) if !ordered.contains(&identifier_of(&name)?) => {
            let detail = "the CSR's common name is not one of the order's identifiers";
            Err(Refusal::new(ErrorKind::BadCsr, detail))
        }
        _ => Ok(()),
    }
}

fn identifier_of(name: &RequestedName) -> Result<Identifier, Refusal> {
    match name {
        RequestedName::Dns(text) => Identifier::parse_dns(text),
        RequestedName::Ip(ip) => Identifier::from_ip(*ip),
    }
    .map_err(|error| Refusal::new(ErrorKind::BadCsr, format!("the CSR's names: {error}")))
}

#[cfg(test)]
mod tests;
