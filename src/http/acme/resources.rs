//! Signed requests, one function per resource.

use std::sync::Arc;

use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use serde::de::DeserializeOwned;

use super::super::problem::Failure;
use super::super::{App, Response, reply};
use super::envelope::{self, Signer, Verified};
use super::links::Links;
use super::routes::Resource;
use super::star;
use super::{authz, binding, objects};
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::{ErrorKind, Refusal};

use crate::acme::renewal::{CertId, CertIdError};
use crate::authority::authorities::Chains;
use crate::authority::certificate::CertificateRecord;
use crate::id::{AccountId, OrderId};
use crate::jose::from_base64url;
use crate::jose::jwk::Jwk;
use crate::jose::jws::{KeyRef, Unverified};
use crate::limits::{Limit, Source};
use crate::provisioner::acme::Terms;
use crate::service::Provisioner;
use crate::service::account::{AccountUpdate, NewAccount};
use crate::service::finalize::Caller;
use crate::service::new_order::NewOrder;
use crate::service::revoke::Asker;
use crate::service::{self, boxed};
use crate::time::Timestamp;
use crate::wire::acme as wire;
use crate::x509::pem;
use crate::x509::serial::Serial;

/// Answers a POST.
///
/// The verbs with much state are in boxes: without, every request's task would be as large as the largest
/// of them.
pub(super) async fn post<B>(
    app: &App,
    terms: &Arc<Provisioner>,
    links: &Links,
    resource: Resource,
    request: Request<B>,
) -> Result<Response, Failure>
where
    B: hyper::body::Body + Send + Unpin,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    let verified = envelope::open(app, terms, links, resource.then(), request).await?;
    match resource {
        // RFC 8555 §6.3: these two also answer POST-as-GET.
        Resource::Directory | Resource::NewNonce => {
            let (_, bytes) = verified.account()?;
            no_payload(&bytes)?;
            match resource {
                Resource::Directory => Ok(objects::directory(links, terms)),
                _ => Ok(objects::nonce(StatusCode::NO_CONTENT)),
            }
        }
        Resource::NewAccount => boxed(|| new_account(app, terms, links, verified)).await,
        Resource::NewAuthz => authz::new_authorization(app, terms, links, verified).await,
        Resource::AccountOrders(id, after) => authz::account_orders(app, links, (id, after), verified).await,
        Resource::NewOrder => boxed(|| new_order(app, terms, links, verified)).await,
        Resource::RevokeCert => revoke(app, terms, verified).await,
        Resource::KeyChange => key_change(app, terms, links, verified).await,
        Resource::Account(id) => account(app, links, id, verified).await,
        Resource::Order(id) => boxed(|| order(app, terms, links, id, verified)).await,
        Resource::Finalize(id) => boxed(|| finalize(app, terms, links, id, verified)).await,
        Resource::Authorization(id, index) => authorization(app, terms, links, (id, index), verified).await,
        Resource::Challenge(id, index, kind) => {
            challenge(app, terms, links, (id, index), kind, verified).await
        }
        Resource::Certificate(serial) => certificate(app, links, (serial, 0), verified).await,
        Resource::AlternateChain(serial, chain) => certificate(app, links, (serial, chain), verified).await,
        Resource::StarCertificate(id) => {
            let (known, bytes) = verified.account()?;
            no_payload(&bytes)?;
            Box::pin(star::certificate(app, terms, id, Some(known.account.id))).await
        }
        // RFC 9773 §4.1: read without a signature, by GET; never comes here.
        Resource::RenewalInfo(_) => Err(Failure::Method("GET, HEAD")),
    }
}

/// Reads a payload; a member that is not what it should be is named.
pub(super) fn payload<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    // serde would take an array for a struct, member by member.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::malformed("payload: must be a JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or_default();
        Refusal::malformed(format!("payload: {text}"))
    })
}

/// POST-as-GET has an empty payload (RFC 8555 §6.3).
pub(super) fn no_payload(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.is_empty() {
        Ok(())
    } else {
        Err(Refusal::malformed("payload: must be empty; this resource is only read (POST-as-GET)"))
    }
}

fn base64(text: &str, field: &'static str) -> Result<Vec<u8>, Refusal> {
    from_base64url(text)
        .ok_or_else(|| Refusal::malformed(format!("{field}: is not base64url without padding")))
}

async fn new_account(
    app: &App,
    terms: &Terms,
    links: &Links,
    verified: Verified,
) -> Result<Response, Failure> {
    let from = verified.from;
    let (key, bytes) = verified.key()?;
    let wire::NewAccount { contact, terms_of_service_agreed, only_return_existing, external_account_binding } =
        payload(&bytes)?;
    let binding = binding::read(terms, links, external_account_binding.as_deref())?;
    let ask = NewAccount {
        contacts: contact,
        terms_agreed: terms_of_service_agreed,
        only_existing: only_return_existing,
        binding,
        from,
    };
    let (known, created) = app.service.new_account(terms, key, ask).await?;
    Ok(objects::account(links, &known, created))
}

/// Each change of an account is a record of the audit, which is kept for long.
fn admit_change(app: &App, account: AccountId, from: Source) -> Result<(), Failure> {
    let now = app.service.now();
    let taken = app.service.limits().take(Limit::AccountChanges, account.as_bytes(), &from, now);
    Ok(taken.map_err(service::Error::Limited)?)
}

async fn account(app: &App, links: &Links, id: AccountId, verified: Verified) -> Result<Response, Failure> {
    let from = verified.from;
    let (known, bytes) = verified.account()?;
    if known.account.id != id {
        return Err(Refusal::unauthorized("an account's URL answers its own key only").into());
    }
    if bytes.is_empty() {
        return Ok(objects::account(links, &known, false));
    }
    let update: wire::AccountUpdate = payload(&bytes)?;
    // RFC 8555 §7.3.2: any other status is ignored, as is what else an update may not change.
    let deactivate = update.status.as_deref() == Some("deactivated");
    if update.contact.is_none() && !deactivate {
        return Ok(objects::account(links, &known, false));
    }
    admit_change(app, id, from)?;
    let update = AccountUpdate { contacts: update.contact, deactivate };
    let known = app.service.update_account(id, update).await?;
    Ok(objects::account(links, &known, false))
}

/// RFC 8555 §7.3.5: the outer JWS is the old key's, the inner one the new key's.
async fn key_change(
    app: &App,
    terms: &Terms,
    links: &Links,
    verified: Verified,
) -> Result<Response, Failure> {
    let from = verified.from;
    let (known, bytes) = verified.account()?;
    let inner = Unverified::parse(&bytes)?;
    let new_key = match &inner.key {
        KeyRef::Jwk(key) => Some(key.parse()?),
        KeyRef::Kid(_) => None,
    };
    if inner.url != links.key_change() {
        return Err(Refusal::malformed("inner url: must be the outer one").into());
    }
    if inner.nonce.is_some() {
        return Err(Refusal::malformed("inner nonce: must be absent").into());
    }
    let Some(new_key) = new_key else {
        return Err(Refusal::malformed("inner protected header: takes jwk, not kid").into());
    };
    let signed = inner.signed.verify(&new_key).ok_or(Failure::Signature)?;
    let change: wire::KeyChange = payload(&signed)?;
    if links.account_of(&change.account) != Some(known.account.id) {
        return Err(Refusal::malformed("account: must be the URL of the account that signs").into());
    }
    let old_key = Jwk::parse(change.old_key.get()).map_err(|e| Refusal::malformed(format!("oldKey: {e}")))?;
    if old_key != known.key {
        return Err(Refusal::malformed("oldKey: is not the account's key").into());
    }
    admit_change(app, known.account.id, from)?;
    match app.service.change_key(terms, &known, new_key).await {
        Ok(changed) => Ok(objects::account(links, &changed, false)),
        Err(service::Error::KeyInUse(owner)) => Err(Failure::KeyInUse(links.account(owner))),
        Err(other) => Err(other.into()),
    }
}

async fn new_order(
    app: &App,
    terms: &Provisioner,
    links: &Links,
    mut verified: Verified,
) -> Result<Response, Failure> {
    let (from, client) = (verified.from, verified.client.take());
    let (known, bytes) = verified.account()?;
    let wire::NewOrder { identifiers, not_before, not_after, replaces, profile, auto_renewal } =
        payload(&bytes)?;
    let ask = NewOrder {
        identifiers: identifiers.into_iter().map(authz::asked).collect(),
        not_before: time(not_before.as_deref(), "notBefore")?,
        not_after: time(not_after.as_deref(), "notAfter")?,
        replaces: replaces.map(|text| CertId::parse(&text).map_err(bad_replaces)).transpose()?,
        profile,
        from,
        auto_renewal: auto_renewal.as_deref().map(star::asked).transpose()?,
        client,
    };
    let loaded = app.service.new_order(terms, &known, ask).await?;
    Ok(objects::order(links, &loaded, true, app.service.now()))
}

/// How Go programs, smallstep's `step` among them, write a time that is not set.
const GO_UNSET: &str = "0001-01-01T00:00:00Z";

pub(super) fn time(text: Option<&str>, field: &'static str) -> Result<Option<Timestamp>, Refusal> {
    text.filter(|text| *text != GO_UNSET)
        .map(|text| {
            let parsed = Timestamp::parse_rfc3339(text);
            parsed.ok_or_else(|| Refusal::malformed(format!("{field}: is not an RFC 3339 time")))
        })
        .transpose()
}

fn bad_replaces(error: CertIdError) -> Refusal {
    Refusal::malformed(format!("replaces: {error}"))
}

/// RFC 9773 §4: anybody may ask, without a signature; what a certificate shows is no secret.
pub(super) async fn renewal_info(
    app: &App,
    terms: &Provisioner,
    id: Result<CertId, CertIdError>,
) -> Result<Response, Failure> {
    let id = match id {
        Ok(id) => id,
        Err(CertIdError::Foreign) => return Err(service::Error::NotFound.into()),
        Err(error @ CertIdError::Malformed(_)) => {
            return Err(Refusal::malformed(format!("the certificate's identifier: {error}")).into());
        }
    };
    Ok(objects::renewal_info(&app.service.renewal_info(terms, id).await?))
}

async fn order(
    app: &App,
    terms: &Terms,
    links: &Links,
    id: OrderId,
    verified: Verified,
) -> Result<Response, Failure> {
    let (known, bytes) = verified.account()?;
    let (service, account) = (&app.service, known.account.id);
    let loaded = if bytes.is_empty() {
        service.order(terms, account, id).await?
    } else {
        let wire::OrderUpdate { status } = payload(&bytes)?;
        if status != "canceled" {
            return Err(Refusal::malformed("status: can only be set to \"canceled\"").into());
        }
        service.cancel_order(terms, account, id).await?
    };
    Ok(objects::order(links, &loaded, false, app.service.now()))
}

async fn finalize(
    app: &App,
    terms: &Arc<Provisioner>,
    links: &Links,
    id: OrderId,
    mut verified: Verified,
) -> Result<Response, Failure> {
    let by = Caller { source: verified.from, client: verified.client.take() };
    let (known, bytes) = verified.account()?;
    let wire::Finalize { csr } = payload(&bytes)?;
    let Some(csr) = from_base64url(&csr) else {
        let detail = "csr: is not base64url without padding (PEM is not accepted)";
        return Err(Refusal::new(ErrorKind::BadCsr, detail).into());
    };
    let loaded = app.service.finalize(terms, known.account.id, id, &csr, by).await?;
    Ok(objects::order(links, &loaded, false, app.service.now()))
}

async fn authorization(
    app: &App,
    terms: &Arc<Provisioner>,
    links: &Links,
    place: (OrderId, u16),
    verified: Verified,
) -> Result<Response, Failure> {
    let (known, bytes) = verified.account()?;
    let (service, account) = (&app.service, known.account.id);
    let loaded = if bytes.is_empty() {
        service.authorization(terms, account, place.0, place.1).await?
    } else {
        let wire::AuthorizationUpdate { status } = payload(&bytes)?;
        if status != "deactivated" {
            return Err(Refusal::malformed("status: can only be set to \"deactivated\"").into());
        }
        service.deactivate_authorization(terms, account, place.0, place.1).await?
    };
    Ok(objects::authorization(links, terms, &loaded, service.now()))
}

async fn challenge(
    app: &App,
    terms: &Arc<Provisioner>,
    links: &Links,
    place: (OrderId, u16),
    kind: ChallengeKind,
    verified: Verified,
) -> Result<Response, Failure> {
    let from = verified.from;
    let (known, bytes) = verified.account()?;
    let (service, account) = (&app.service, known.account.id);
    let loaded = if bytes.is_empty() {
        service.authorization(terms, account, place.0, place.1).await?
    } else if kind == ChallengeKind::DeviceAttest01 {
        let wire::DeviceAttest { att_obj } = payload(&bytes)?;
        let object = base64(&att_obj, "attObj")?;
        service.attest(terms, (account, known.thumbprint), place, &object, from).await?
    } else {
        // Clients of the drafts put a keyAuthorization in; what it says is of no account.
        let _: serde_json::Map<String, serde_json::Value> = payload(&bytes)?;
        let signer = (account, known.thumbprint);
        service.respond(terms, signer, place.0, place.1, kind, from).await?
    };
    let challenge = loaded.authorization.challenge(kind).ok_or(service::Error::NotFound)?;
    Ok(objects::challenge(links, terms, &loaded, challenge, service.now()))
}

/// What follows a certificate: the chains of the issuer that signed it, whoever signs now.
pub(super) fn chains_of<'a>(
    live: &'a service::Live,
    record: &CertificateRecord,
) -> Result<Chains<'a>, service::Error> {
    live.authorities.chains(&record.issuer).ok_or_else(|| {
        let key: String = record.issuer.iter().map(|byte| format!("{byte:02x}")).collect();
        service::Error::Internal(format!(
            "a certificate was signed by the issuer with the key identifier {key}, whose chain is not \
             configured; name its file in other_issuers of its [authority]"
        ))
    })
}

/// RFC 8555 §7.4.2: the certificate with that chain, and links to it with the others.
async fn certificate(
    app: &App,
    links: &Links,
    of: (Serial, u16),
    verified: Verified,
) -> Result<Response, Failure> {
    let (known, bytes) = verified.account()?;
    no_payload(&bytes)?;
    let (serial, chain) = of;
    let record = app.service.certificate(known.account.id, serial).await?;
    let (live, now) = (app.service.live(), app.service.now());
    let chains = chains_of(&live, &record)?;
    let alternates = chains.alternates.iter().map(|chain| chain.holds(now).then(|| chain.pem()));
    let chains = (0u16..).zip(std::iter::once(Some(chains.first)).chain(alternates));
    let (mut above, mut others) = (None, Vec::new());
    for (number, pem) in chains {
        match pem {
            Some(pem) if number == chain => above = Some(pem),
            Some(_) => {
                others.push(format!("<{}>;rel=\"alternate\"", links.certificate_chain(serial, number)))
            }
            None => {}
        }
    }
    let above = above.ok_or(service::Error::NotFound)?;
    let body = pem::certificate(&record.der) + above;
    let mut response = reply(StatusCode::OK, "application/pem-certificate-chain", body);
    for link in others.into_iter().filter_map(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().append(header::LINK, link);
    }
    Ok(response)
}

async fn revoke(app: &App, terms: &Terms, verified: Verified) -> Result<Response, Failure> {
    let Verified { signer, payload: bytes, from: _, client: _ } = verified;
    let wire::Revoke { certificate, reason } = payload(&bytes)?;
    let certificate = base64(&certificate, "certificate")?;
    let asker = match &signer {
        Signer::Account(known) => Asker::Account(known.account.id),
        Signer::Key(key) => Asker::Key(key),
    };
    app.service.revoke(terms, asker, &certificate, reason).await?;
    let mut response = reply(StatusCode::OK, "text/plain", "");
    response.headers_mut().remove(header::CONTENT_TYPE);
    Ok(response)
}
