//! The ACME provisioner: its terms, and the grant for an order that is ready.

mod devices;

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;

use super::eab::{EabKey, EabMode};
use super::outward::Outward;
use super::profile::contents::{Contents, Facts};
use super::profile::usages::Usage;
use super::profile::{Profiles, Restraints, Rules};
use super::{Grant, Purpose, Requester};
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::identifier::{Identifier, PermanentId};
use crate::acme::order::{Lifetimes, Order, OrderStatus, Slot};
use crate::acme::star::Offer;
use crate::acme::subdomain::asked_as;
use crate::attestation::Policy;
use crate::id::{AuthorityName, OrderId};
use crate::policy::Pair;
use crate::time::Timestamp;
use crate::x509::csr::{Csr, RequestedName};
use crate::x509::spki::Spki;

/// What one ACME provisioner grants, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// In URLs and logs.
    pub name: String,
    /// The authority that it issues under.
    pub authority: AuthorityName,
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
    /// Whether authorizations may be asked for ahead of an order (RFC 8555 §7.4.1).
    pub pre_authorization: bool,
    /// Whether proof of an ancestor may count for the names below it (RFC 9444).
    pub subdomains: bool,
    /// Where its validations depart from the server's.
    pub outward: Outward,
    /// The names this CA goes by in dns-persist-01 records, lower case, at most ten.
    pub issuer_domains: Vec<String>,
    /// Whether CAA records are looked at (RFC 8659).
    pub caa: bool,
    /// The names this CA goes by in CAA records, lower case; never empty if they are looked at.
    pub caa_identities: Vec<String>,
    /// Whether new accounts are bound to external ones.
    pub eab: EabMode,
    /// Whether a binding may stand in for validation, for keys that were made for it.
    pub eab_trusts_names: bool,
    /// Which devices are attested, if device-attest-01 is offered.
    pub attestation: Option<Policy>,
    /// The profiles that clients may choose from.
    pub profiles: Profiles,
    /// For how long the same account, names and key get the certificate that they have; `None`: they
    /// get another one each time.
    pub reuse_certificates: Option<Duration>,
    /// What orders have to heed that name no profile.
    pub restraints: Restraints,
    /// Shown with renewal windows that were moved (RFC 9773 §4.2).
    pub renewal_explanation: Option<String>,
    /// Automatic renewal (RFC 8739); `None`: not offered.
    pub auto_renewal: Option<Offer>,
    /// What may be in its certificates.
    pub policy: Pair,
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
            | (Self::Net(_), Identifier::Dns(_) | Identifier::Wildcard(_))
            // Devices have rules of their own.
            | (Self::Exact(_) | Self::Under(_) | Self::Net(_), Identifier::Permanent(_)) => false,
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
            authority: AuthorityName::default(),
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
            pre_authorization: true,
            subdomains: false,
            outward: Outward::default(),
            issuer_domains: Vec::new(),
            caa: false,
            caa_identities: Vec::new(),
            eab: EabMode::Off,
            eab_trusts_names: false,
            attestation: None,
            profiles: Profiles::default(),
            reuse_certificates: None,
            restraints: Restraints::default(),
            renewal_explanation: None,
            auto_renewal: None,
            policy: Pair::default(),
        }
    }

    /// Whether `identifier` may be asked for here and control of it can be proved; the rule it breaks
    /// if not.
    pub fn allows(&self, identifier: &Identifier) -> Result<(), String> {
        self.permits(identifier)?;
        if !self.challenges.iter().any(|kind| kind.can_prove(identifier)) {
            return Err("no challenge offered by this provisioner can prove control of the name".into());
        }
        Ok(())
    }

    /// As [`Terms::allows`], whether or not control could be proved: for names that an external
    /// account binding vouches for.
    pub fn permits(&self, identifier: &Identifier) -> Result<(), String> {
        if let Identifier::Permanent(device) = identifier {
            return self.allows_device(device);
        }
        if identifier.is_wildcard() && !self.wildcards {
            return Err("wildcard names are not allowed at this provisioner".into());
        }
        if self.deny.iter().any(|rule| rule.touches(identifier)) {
            return Err("the name is denied by this provisioner's deny_names".into());
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|rule| rule.covers(identifier)) {
            return Err("the name is not covered by this provisioner's allow_names".into());
        }
        Ok(())
    }

    /// Whether newAuthz is offered: where no proof is used again, it would be of no use.
    pub fn offers_pre_authorization(&self) -> bool {
        self.pre_authorization && !self.authorization_ttl.is_zero()
    }

    /// Whether proof of `ancestor` may count for the names below it: such proof is offered here, the
    /// ancestor's own name is allowed, and some challenge offered can speak for all names below it. The
    /// names below are judged one by one, when they are asked for.
    pub fn allows_below(&self, ancestor: &Identifier) -> Result<(), String> {
        if !self.subdomains {
            return Err("subdomain authorization is not offered by this provisioner".into());
        }
        if !matches!(ancestor, Identifier::Dns(_)) {
            return Err("only a DNS name that is no wildcard has subdomains".into());
        }
        self.allows(ancestor)?;
        if !self.challenges.iter().any(|kind| kind.can_prove(&asked_as(ancestor))) {
            return Err(
                "no challenge offered by this provisioner can prove control of the names below".into()
            );
        }
        Ok(())
    }

    /// What holds for an order of that profile, or of none.
    pub fn rules(&self, profile: Option<&str>) -> Result<Rules, Refusal> {
        self.profiles.rules(profile, self.lifetimes)
    }

    /// What an order of that profile, or of none, has to heed.
    pub fn restraints(&self, profile: Option<&str>) -> Restraints {
        let offered = profile.and_then(|name| self.profiles.offered.get(name));
        offered.map_or(self.restraints, |profile| profile.restraints)
    }

    /// The grant for an order: only if it is ready, the request's names are exactly the order's,
    /// every name, the profile and the lifetime are still allowed, the profile's templates can be filled
    /// in, and the key is one that the profile takes and not the account's. For an order that is renewed automatically, the grant for its
    /// first certificate.
    ///
    /// `eab` is the key that the account is bound to, as it is now: it must not be revoked, its scope
    /// must cover every name, and it must still vouch for those that were not validated.
    pub fn grant(
        &self,
        id: OrderId,
        order: &Order,
        csr: &Csr,
        account_key: &Spki,
        eab: Option<&EabKey>,
        now: Timestamp,
    ) -> Result<Grant, Refusal> {
        if let Some(agreed) = &order.details.auto_renewal {
            let period = agreed.first_period(now)?;
            return self.grant_period(id, order, csr, account_key, eab, &period, now);
        }
        check_ready(order, now)?;
        let Permitted { names, rules: Rules { lifetimes, leaf }, contents } =
            self.permitted(order, csr, account_key, eab)?;
        if let Some(end) = order.not_after
            && end.since(order.not_before.unwrap_or(now)) > lifetimes.max
        {
            let most = lifetimes.max.as_secs();
            let detail = format!("the order's notAfter: the lifetime must be at most {most} seconds");
            return Err(Refusal::malformed(detail));
        }
        Ok(Grant {
            authority: Some(self.authority.clone()),
            purpose: Purpose::Leaf(names),
            key: csr.key().clone(),
            not_before: order.not_before,
            not_after: order.not_after,
            lifetime: lifetimes.default,
            longest: lifetimes.max,
            leaf,
            contents,
            profile: order.details.profile.clone(),
            requester: Requester::Acme { provisioner: self.name.clone(), account: order.account, order: id },
            eab_key: eab.map(|key| key.kid),
            policy: self.policy.clone(),
        })
    }

    /// The names of an order and a CSR that agree with each other and with these terms, and the rules of
    /// the order's profile, which the CSR's key keeps; the key is not the account's.
    pub(super) fn permitted(
        &self,
        order: &Order,
        csr: &Csr,
        account_key: &Spki,
        eab: Option<&EabKey>,
    ) -> Result<Permitted, Refusal> {
        if order.provisioner != self.name {
            return Err(Refusal::unauthorized("the order belongs to another provisioner"));
        }
        if order.details.pre_authorization {
            return Err(Refusal::new(ErrorKind::OrderNotReady, "it is an authorization and no order"));
        }
        order.check_coverage(self.subdomains)?;
        let names: Vec<Identifier> = order.identifiers().cloned().collect();
        check_names(csr, &names.iter().cloned().collect())?;
        // The configuration may have changed since the order was opened.
        if let Some(key) = eab {
            key.check_standing()?;
        }
        for (name, slot) in order.named() {
            self.permits_slot(name, slot, eab)?;
        }
        let rules = self.rules(order.details.profile.as_deref())?;
        if names.iter().all(Identifier::is_device) && !rules.leaf.usages.contains(&Usage::ClientAuth) {
            let detail = "the profile's certificates are for servers, and a device is none";
            return Err(Refusal::new(ErrorKind::InvalidProfile, detail));
        }
        devices::check_keys(order, csr)?;
        if csr.key() == account_key {
            return Err(Refusal::new(ErrorKind::BadCsr, "the CSR's key is the account key: use another"));
        }
        if let Err(rule) = rules.leaf.check_key(csr.key().key()) {
            let detail = format!("the CSR's key: {} {rule}", csr.key().key().label());
            return Err(Refusal::new(ErrorKind::BadCsr, detail));
        }
        rules.check_names(&names)?;
        let contents = self.contents(&rules, &names, order, eab)?;
        Ok(Permitted { names, rules, contents })
    }

    /// What the profile's templates say for an order of these names.
    pub fn contents(
        &self,
        rules: &Rules,
        names: &[Identifier],
        order: &Order,
        eab: Option<&EabKey>,
    ) -> Result<Contents, Refusal> {
        if rules.leaf.templates.is_empty() {
            return Ok(Contents::default());
        }
        let profile = order.details.profile.as_deref().unwrap_or_default();
        let facts = Facts {
            names,
            account: order.account.to_string(),
            authority: self.authority.as_str(),
            provisioner: &self.name,
            profile,
            eab: eab.map(|key| (key.kid.to_string(), key.label.as_str())),
            ordered: order.created,
        };
        rules.leaf.templates.fill(&facts).map_err(|error| {
            let detail = format!("the profile {profile} cannot be filled in for this order: {error}");
            Refusal::unauthorized(detail)
        })
    }

    /// Whether a name of an order is still allowed, by the slot that authorizes it.
    fn permits_slot(&self, name: &Identifier, slot: &Slot, eab: Option<&EabKey>) -> Result<(), Refusal> {
        let verdict = match slot {
            Slot::Trusted { by, .. } => {
                if !eab.is_some_and(|key| key.kid == *by && key.vouches_for(self, name)) {
                    let detail = format!(
                        "identifier {name}: the external account binding no longer stands in for \
                         validation: open a new order"
                    );
                    return Err(Refusal::unauthorized(detail));
                }
                self.permits(name)
            }
            Slot::Own(_) | Slot::Reused { .. } => self.allows(name),
        };
        verdict
            .and_then(|()| eab.map_or(Ok(()), |key| key.covers(name)))
            .map_err(|rule| Refusal::new(ErrorKind::RejectedIdentifier, format!("identifier {name}: {rule}")))
    }
}

/// What [`Terms::permitted`] found.
pub(super) struct Permitted {
    pub(super) names: Vec<Identifier>,
    pub(super) rules: Rules,
    pub(super) contents: Contents,
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
    // A device may be left out of the CSR: what was attested says which it is.
    if let Some(missing) = ordered.difference(&requested).find(|name| !name.is_device()) {
        let detail = format!("the CSR does not name {missing}, which the order does");
        return Err(Refusal::new(ErrorKind::BadCsr, detail));
    }
    if csr.common_name_text().is_some_and(|text| devices::is_named(ordered, text)) {
        return Ok(());
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
        RequestedName::Permanent(text) => PermanentId::parse(text).map(Identifier::Permanent),
    }
    .map_err(|error| Refusal::new(ErrorKind::BadCsr, format!("the CSR's names: {error}")))
}

#[cfg(test)]
mod tests;
