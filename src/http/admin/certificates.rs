//! The inventory.

use hyper::StatusCode;

use super::parameters::Parameters;
use super::problem::Failure;
use super::{App, Response, json};
use crate::authority::authorities::Authority;
use crate::authority::certificate::{Replacement, Revoker};
use crate::id::{AccountId, OrderId};
use crate::jose::{base64url, from_base64url};
use crate::provisioner::Requester;
use crate::service::Live;
use crate::service::inventory::{CertificateQuery, CertificateState, ListedCertificate, PAGE};
use crate::time::Timestamp;
use crate::wire::admin as wire;
use crate::x509::hex;
use crate::x509::pem;
use crate::x509::serial::Serial;

pub(super) async fn list(app: &App, query: Option<&str>) -> Result<Response, Failure> {
    let mut parameters = Parameters::parse(query)?;
    let asked = CertificateQuery {
        name: parameters.take("name", super::parameters::name)?,
        suffix: parameters.take("suffix", super::parameters::suffix)?,
        key: parameters.take("key", super::parameters::key)?,
        account: parameters.take("account", super::parameters::account)?,
        eab_key: parameters.take("eab_key", super::parameters::eab_key)?,
        provisioner: parameters.take("provisioner", super::parameters::text)?,
        profile: parameters.take("profile", super::parameters::text)?,
        issuer: parameters.take("issuer", super::parameters::issuer)?,
        client: parameters.take("client", super::parameters::address)?,
        state: parameters.take("state", state)?,
        expires_from: parameters.take("expires_from", super::parameters::time)?,
        expires_before: parameters.take("expires_before", super::parameters::time)?,
        issued_from: parameters.take("issued_from", super::parameters::time)?,
    };
    let with_pem = parameters.take("pem", super::parameters::flag)?.unwrap_or(false);
    let limit = parameters.take("limit", |text| super::parameters::limit(text, PAGE.1))?.unwrap_or(PAGE.0);
    let after = parameters.take("after", cursor)?;
    parameters.finish()?;
    let page = app.service.certificates(&asked, after.as_deref(), limit).await?;
    let now = app.service.now();
    let indexing = page.building.map(|indexed| wire::Indexing {
        certificates: indexed.certificates,
        through: indexed.through.map(Timestamp::to_rfc3339),
    });
    let live = app.service.live();
    let certificates = page.certificates.iter().map(|found| {
        let pem = with_pem.then(|| pem::certificate(&found.record.der));
        wire::Certificate { pem, ..certificate(found, &live, now) }
    });
    let certificates = certificates.collect();
    let next = page.next.map(|key| base64url(&key));
    json(StatusCode::OK, &wire::Certificates { certificates, next, indexing })
}

fn state(text: &str) -> Result<CertificateState, &'static str> {
    let known = CertificateState::ALL.into_iter().find(|state| state.name() == text);
    known.ok_or("is none of valid, expired, revoked")
}

fn cursor(text: &str) -> Result<Vec<u8>, &'static str> {
    let key = from_base64url(text).filter(|key| crate::storage::limits::is_key(key));
    key.ok_or("is not a cursor; take `next` of the page before")
}

pub(super) async fn show(app: &App, serial: Serial) -> Result<Response, Failure> {
    let found = app.service.listed_certificate(serial).await?;
    let mut shown = certificate(&found, &app.service.live(), app.service.now());
    shown.pem = Some(pem::certificate(&found.record.der));
    json(StatusCode::OK, &shown)
}

/// The authority that an issuer belongs to; the operator's own certificates are of none.
fn authority_of(found: &ListedCertificate, live: &Live) -> Option<String> {
    let issuer = &found.record.issuer;
    let is_of = |authority: &&std::sync::Arc<Authority>| {
        authority.issuer().key_id() == issuer
            || authority.others().iter().any(|other| other.key_id() == issuer)
    };
    let own = (found.record.requester != Requester::Ceremony).then(|| live.authorities.iter().find(is_of));
    own.flatten().map(|authority| authority.name().to_string())
}

/// Through which door it was asked for, and by whom: the provisioner, the account, the order.
pub(super) fn asked(
    requester: &Requester,
) -> (&'static str, Option<&String>, Option<&AccountId>, Option<&OrderId>) {
    match requester {
        Requester::Acme { provisioner, account, order } => {
            ("acme", Some(provisioner), Some(account), Some(order))
        }
        Requester::AutoRenewal { provisioner, account, order } => {
            ("auto-renewal", Some(provisioner), Some(account), Some(order))
        }
        Requester::Own => ("own", None, None, None),
        Requester::Ceremony => ("ceremony", None, None, None),
    }
}

fn certificate(found: &ListedCertificate, live: &Live, now: Timestamp) -> wire::Certificate {
    let ListedCertificate { serial, record, content, unrecorded } = found;
    let (door, provisioner, account, order) = asked(&record.requester);
    let details = &record.details;
    let provenance = &details.provenance;
    let replaced = details.replaced_by.as_ref().and_then(|Replacement { serial, .. }| serial.as_ref());
    wire::Certificate {
        serial: serial.to_string(),
        state: found.state(now).name().into(),
        names: content.identifiers.iter().map(ToString::to_string).collect(),
        not_before: content.not_before.to_rfc3339(),
        not_after: record.not_after.to_rfc3339(),
        issued: record.issued.to_rfc3339(),
        key_sha256: content.key_hash.to_string(),
        issuer: hex::encode(&record.issuer),
        door: door.into(),
        provisioner: provisioner.cloned(),
        account: account.map(ToString::to_string),
        order: order.map(ToString::to_string),
        profile: details.profile.clone(),
        eab_key: provenance.eab.map(|kid| kid.to_string()),
        client_address: provenance.client.as_ref().map(|client| client.address.to_string()),
        user_agent: provenance
            .client
            .as_ref()
            .map(|client| client.user_agent.clone())
            .filter(|agent| !agent.is_empty()),
        replaces: provenance.replaces.map(|serial| serial.to_string()),
        configuration: provenance.configuration,
        replaced_by: replaced.map(ToString::to_string),
        revocation: record.revocation.as_ref().map(|revocation| {
            let (by, account) = match &revocation.by {
                Revoker::Owner(account) => ("owner", Some(account)),
                Revoker::Authorized(account) => ("authorized", Some(account)),
                Revoker::Key => ("key", None),
            };
            wire::Revocation {
                at: revocation.at.to_rfc3339(),
                reason: revocation.reason,
                by: by.into(),
                account: account.map(ToString::to_string),
            }
        }),
        authority: authority_of(found, live),
        unrecorded: [("profile", unrecorded.profile), ("eab_key", unrecorded.provenance)]
            .into_iter()
            .filter(|(_, unknown)| *unknown)
            .map(|(name, _)| name.to_owned())
            .collect(),
        pem: None,
    }
}
