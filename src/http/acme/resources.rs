//! Signed requests, one function per resource.

use std::sync::Arc;

use hyper::{Request, StatusCode};
use serde::de::DeserializeOwned;

use super::super::problem::Failure;
use super::super::{App, Response, reply};
use super::envelope::{self, Signer, Verified};
use super::links::Links;
use super::objects;
use super::routes::Resource;
use super::star;
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::order::RawIdentifier;
use crate::id::{AccountId, OrderId};
use crate::jose::from_base64url;
use crate::jose::jwk::Jwk;
use crate::jose::jws::{KeyRef, Unverified};
use crate::provisioner::acme::Terms;
use crate::service;
use crate::service::account::{AccountUpdate, NewAccount};
use crate::service::new_order::NewOrder;
use crate::service::revoke::Asker;
use crate::time::Timestamp;
use crate::wire::acme as wire;
use crate::x509::pem;
use crate::x509::serial::Serial;

/// Answers a POST.
pub(super) async fn post<B>(
    app: &App,
    terms: &Arc<Terms>,
    links: &Links,
    resource: Resource,
    request: Request<B>,
) -> Result<Response, Failure>
where
    B: hyper::body::Body + Send + Unpin,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    let verified = envelope::open(app, terms, links, request).await?;
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
        Resource::NewAccount => new_account(app, terms, links, verified).await,
        Resource::NewOrder => new_order(app, terms, links, verified).await,
        Resource::RevokeCert => revoke(app, terms, verified).await,
        Resource::KeyChange => key_change(app, terms, links, verified).await,
        Resource::Account(id) => account(app, links, id, verified).await,
        Resource::Order(id) => order(app, terms, links, id, verified).await,
        Resource::Finalize(id) => finalize(app, terms, links, id, verified).await,
        Resource::Authorization(id, index) => authorization(app, terms, links, (id, index), verified).await,
        Resource::Challenge(id, index, kind) => {
            challenge(app, terms, links, (id, index), kind, verified).await
        }
        Resource::Certificate(serial) => certificate(app, serial, verified).await,
        Resource::StarCertificate(id) => {
            let (known, bytes) = verified.account()?;
            no_payload(&bytes)?;
            star::certificate(app, terms, id, Some(known.account.id)).await
        }
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
fn no_payload(bytes: &[u8]) -> Result<(), Refusal> {
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
    let (key, bytes) = verified.key()?;
    let wire::NewAccount { contact, terms_of_service_agreed, only_return_existing } = payload(&bytes)?;
    let ask = NewAccount {
        contacts: contact,
        terms_agreed: terms_of_service_agreed,
        only_existing: only_return_existing,
    };
    let (known, created) = app.service.new_account(terms, key, ask).await?;
    Ok(objects::account(links, &known, created))
}

async fn account(app: &App, links: &Links, id: AccountId, verified: Verified) -> Result<Response, Failure> {
    let (known, bytes) = verified.account()?;
    if known.account.id != id {
        return Err(Refusal::unauthorized("an account's URL answers its own key only").into());
    }
    if bytes.is_empty() {
        return Ok(objects::account(links, &known, false));
    }
    let update: wire::AccountUpdate = payload(&bytes)?;
    let deactivate = match update.status.as_deref() {
        None | Some("valid") => false,
        Some("deactivated") => true,
        Some(_) => return Err(Refusal::malformed("status: can only be set to \"deactivated\"").into()),
    };
    if update.contact.is_none() && !deactivate {
        return Ok(objects::account(links, &known, false));
    }
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
    match app.service.change_key(terms, &known, new_key).await {
        Ok(changed) => Ok(objects::account(links, &changed, false)),
        Err(service::Error::KeyInUse(owner)) => Err(Failure::KeyInUse(links.account(owner))),
        Err(other) => Err(other.into()),
    }
}

async fn new_order(app: &App, terms: &Terms, links: &Links, verified: Verified) -> Result<Response, Failure> {
    let (known, bytes) = verified.account()?;
    let wire::NewOrder { identifiers, not_before, not_after, auto_renewal } = payload(&bytes)?;
    let identifiers = identifiers
        .into_iter()
        .map(|id| RawIdentifier { kind: id.kind.into_owned(), value: id.value.into_owned() })
        .collect();
    let ask = NewOrder {
        identifiers,
        not_before: time(not_before.as_deref(), "notBefore")?,
        not_after: time(not_after.as_deref(), "notAfter")?,
        auto_renewal: auto_renewal.as_deref().map(star::asked).transpose()?,
    };
    let loaded = app.service.new_order(terms, known.account.id, ask).await?;
    Ok(objects::order(links, &loaded, true, app.service.now()))
}

pub(super) fn time(text: Option<&str>, field: &'static str) -> Result<Option<Timestamp>, Refusal> {
    text.map(|text| {
        let parsed = Timestamp::parse_rfc3339(text);
        parsed.ok_or_else(|| Refusal::malformed(format!("{field}: is not an RFC 3339 time")))
    })
    .transpose()
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
    terms: &Arc<Terms>,
    links: &Links,
    id: OrderId,
    verified: Verified,
) -> Result<Response, Failure> {
    let (known, bytes) = verified.account()?;
    let wire::Finalize { csr } = payload(&bytes)?;
    let Some(csr) = from_base64url(&csr) else {
        let detail = "csr: is not base64url without padding (PEM is not accepted)";
        return Err(Refusal::new(ErrorKind::BadCsr, detail).into());
    };
    let loaded = app.service.finalize(terms, known.account.id, id, &csr).await?;
    Ok(objects::order(links, &loaded, false, app.service.now()))
}

async fn authorization(
    app: &App,
    terms: &Arc<Terms>,
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
    Ok(objects::authorization(links, &loaded, service.now()))
}

async fn challenge(
    app: &App,
    terms: &Arc<Terms>,
    links: &Links,
    place: (OrderId, u16),
    kind: ChallengeKind,
    verified: Verified,
) -> Result<Response, Failure> {
    let (known, bytes) = verified.account()?;
    let (service, account) = (&app.service, known.account.id);
    let loaded = if bytes.is_empty() {
        service.authorization(terms, account, place.0, place.1).await?
    } else {
        // Clients of the drafts put a keyAuthorization in; what it says is of no account.
        let _: serde_json::Map<String, serde_json::Value> = payload(&bytes)?;
        let signer = (account, known.thumbprint);
        service.respond(terms, signer, place.0, place.1, kind).await?
    };
    let challenge = loaded.authorization.challenge(kind).ok_or(service::Error::NotFound)?;
    Ok(objects::challenge(links, &loaded, challenge))
}

async fn certificate(app: &App, serial: Serial, verified: Verified) -> Result<Response, Failure> {
    let (known, bytes) = verified.account()?;
    no_payload(&bytes)?;
    let record = app.service.certificate(known.account.id, serial).await?;
    let chain = pem::certificate(&record.der) + app.service.issuer().chain_pem();
    Ok(reply(StatusCode::OK, "application/pem-certificate-chain", chain))
}

async fn revoke(app: &App, terms: &Terms, verified: Verified) -> Result<Response, Failure> {
    let Verified { signer, payload: bytes } = verified;
    let wire::Revoke { certificate, reason } = payload(&bytes)?;
    let certificate = base64(&certificate, "certificate")?;
    let asker = match &signer {
        Signer::Account(known) => Asker::Account(known.account.id),
        Signer::Key(key) => Asker::Key(key),
    };
    app.service.revoke(terms, asker, &certificate, reason).await?;
    let mut response = reply(StatusCode::OK, "text/plain", "");
    response.headers_mut().remove(hyper::header::CONTENT_TYPE);
    Ok(response)
}
