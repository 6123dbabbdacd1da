//! What the verbs tell the metrics: how an issuance, a revocation, a validation ended.

use std::sync::Arc;
use std::time::Instant;

use x509_parser::prelude::{FromDer, X509Certificate};

use super::rotation::Rotation;
use super::{Error, Live, Service};
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::ErrorKind;
use crate::acme::order::{Finish, Order, Verdict};
use crate::authority::authorities::Authority;
use crate::authority::sign::Issued;
use crate::provisioner::Requester;
use crate::storage::StoreError;
use crate::telemetry::metrics::doors::{self, Door, Profile};
use crate::telemetry::metrics::metrics;
use crate::telemetry::metrics::page::{CaCertificate, LiveCertificates, Now, Role};
use crate::telemetry::metrics::vocabulary::Reason;
use crate::time::Timestamp;
use crate::x509::hex;

impl Error {
    /// As what it is counted.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused(refusal) => Reason::Kind(refusal.kind),
            Self::NotFound | Self::KeyInUse(_) => Reason::Kind(ErrorKind::Malformed),
            Self::Deactivated => Reason::Kind(ErrorKind::Unauthorized),
            Self::Busy(_) => Reason::Busy,
            Self::Limited(_) => Reason::Kind(ErrorKind::RateLimited),
            Self::Store(
                StoreError::Busy
                | StoreError::NoSpace(_)
                | StoreError::TooLarge(_)
                | StoreError::Failed(_)
                | StoreError::Corrupt(_),
            ) => Reason::Store,
            Self::IssuerNotValid(_) | Self::Internal(_) => Reason::Kind(ErrorKind::ServerInternal),
        }
    }
}

impl Service {
    /// What the metrics show of now.
    pub fn metered(&self) -> Now {
        let live = self.live();
        Now {
            certificates: live.authorities.iter().flat_map(|authority| ca_certificates(authority)).collect(),
            issuers: self.rotations().iter().flat_map(live_certificates).collect(),
            requests: 0,
            orders: self.limits.open_orders(self.now()),
            validations: self.validating.len(),
            finalizations: self.finishing.len(),
            nonces: self.nonces.issued(),
            fleet: self.metered_fleet(),
        }
    }
}

/// The issuers of an authority that are counted: as many as its configuration names.
fn live_certificates(rotation: &Rotation) -> Vec<LiveCertificates> {
    rotation
        .facts
        .issuers()
        .filter_map(|(role, issuer)| {
            let (authority, issuer, count) =
                (rotation.authority.as_str().to_owned(), hex::encode(&issuer.key_id), issuer.live?.count);
            Some(LiveCertificates { authority, issuer, role: role.name(), count })
        })
        .collect()
}

/// What the metrics show of an authority: the issuer that signs, and what is above it.
fn ca_certificates(authority: &Authority) -> Vec<CaCertificate> {
    let chain = authority.issuer().chain().iter().enumerate();
    let chain = chain.map(|(place, der)| (if place == 0 { Role::Issuer } else { Role::Intermediate }, der));
    let roots = authority.roots().iter().map(|der| (Role::Root, der));
    let name = authority.name().as_str();
    chain.chain(roots).filter_map(|(role, der)| ca_certificate(name, role, der)).collect()
}

/// What the metrics show of a CA's certificate; `None` if it does not read.
fn ca_certificate(authority: &str, role: Role, der: &[u8]) -> Option<CaCertificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let subject = parsed.subject();
    let common_name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
    let end = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Some(CaCertificate {
        authority: authority.to_owned(),
        role,
        subject: common_name.map_or_else(|| subject.to_string(), str::to_owned),
        not_after: Timestamp::from_secs(end),
    })
}

/// Shows what can be counted of the provisioners in force, at zero: who watches a rate sees the first one.
pub(super) fn announce(live: &Live) {
    metrics().receivers_are(live.receivers.iter().map(|one| (one.name.as_str(), one.kind.name())));
    for terms in live.provisioners.values() {
        let door = metrics().acme(&terms.name);
        door.under(terms.authority.as_str());
        for name in terms.profiles.offered.keys() {
            door.profile(Some(name));
        }
        if let Ok(chosen) = terms.profiles.chosen(None) {
            door.profile(chosen.as_deref());
        }
    }
}

/// A certificate is durable.
pub(super) fn issued(issued: &Issued, now: Timestamp) {
    let door = match issued.grant().requester() {
        Requester::Acme { provisioner, .. } | Requester::AutoRenewal { provisioner, .. } => {
            metrics().acme(provisioner)
        }
        Requester::Own => metrics().own(),
        // Not in a process that anybody asks for metrics.
        Requester::Ceremony => return,
    };
    let lifetime = issued.not_after.since(issued.not_before);
    door.issued(issued.grant().profile(), lifetime, now);
}

/// One asking for a certificate, counted when it has ended.
pub(super) struct Issuance {
    door: Arc<Door>,
    profile: Option<Arc<Profile>>,
    renewal: bool,
    end: Option<doors::Issuance>,
    begun: Instant,
}

impl Issuance {
    /// At a provisioner, of an order that is still to be read.
    pub(super) fn at(provisioner: &str) -> Self {
        let door = metrics().acme(provisioner);
        Self { door, profile: None, renewal: false, end: None, begun: Instant::now() }
    }

    /// By this order.
    pub(super) fn by(mut self, order: &Order) -> Self {
        self.about(order);
        self
    }

    /// The order has been read.
    pub(super) fn about(&mut self, order: &Order) {
        self.profile = Some(self.door.profile(order.details.profile.as_deref()));
        let follows = matches!(&order.finish, Finish::Renewing(state) if state.current.is_some());
        self.renewal = order.details.replaces.is_some() || follows;
    }

    /// A certificate was signed for it.
    pub(super) fn issued(&mut self) {
        self.end = Some(doors::Issuance::Issued);
    }

    /// It was given one that was there.
    pub(super) fn reused(&mut self) {
        self.end = Some(doors::Issuance::Reused);
    }

    /// Counts it; what was only accepted, for later, is not counted yet.
    pub(super) fn ended<T>(self, outcome: Result<T, Error>) -> Result<T, Error> {
        let end = match &outcome {
            Ok(_) => self.end,
            Err(error) => Some(doors::Issuance::Refused(error.reason())),
        };
        if let Some(end) = end {
            let profile = self.profile.unwrap_or_else(|| self.door.profile(None));
            profile.ended(self.renewal, end, self.begun.elapsed());
        }
        outcome
    }
}

/// Counts a revocation that was begun then.
pub(super) fn revocation(
    provisioner: &str,
    reason: Option<u64>,
    begun: Instant,
    outcome: Result<(), Error>,
) -> Result<(), Error> {
    let door = metrics().acme(provisioner);
    match &outcome {
        Ok(()) => door.revoked(reason.and_then(|code| u8::try_from(code).ok()), begun.elapsed()),
        Err(error) => door.not_revoked(error.reason(), begun.elapsed()),
    }
    outcome
}

/// How a validation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Valid,
    Invalid(ErrorKind),
    Inconclusive(ErrorKind),
}

impl Ended {
    /// By its verdict.
    pub(super) fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Proved | Verdict::ProvedUntil(_) => Self::Valid,
            Verdict::Failed(problem) => Self::Invalid(problem.kind),
            Verdict::Inconclusive(problem) => Self::Inconclusive(problem.kind),
        }
    }

    /// Counts it.
    pub(super) fn validation(self, provisioner: &str, kind: ChallengeKind) {
        let door = metrics().acme(provisioner);
        match self {
            Self::Valid => door.valid(kind),
            Self::Invalid(cause) => door.not_valid(kind, Reason::Kind(cause), true),
            Self::Inconclusive(cause) => door.not_valid(kind, Reason::Kind(cause), false),
        }
    }
}
