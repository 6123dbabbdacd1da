//! The JWS gate (RFC 8555 §6.2 to §6.5): bytes in, a verified request or a failure out. No handler
//! sees an unverified body.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{Request, header};

use super::super::line::{self, Then};
use super::super::problem::Failure;
use super::super::{App, Peer, RequestLimits};
use super::links::Links;
use crate::acme::account::AccountStatus;
use crate::acme::error::Refusal;
use crate::authority::certificate::Client;
use crate::jose::jwk::Jwk;
use crate::jose::jws::{KeyRef, Unverified};
use crate::limits::{Limit, Source};
use crate::provisioner::acme::Terms;
use crate::service;
use crate::service::account::KnownAccount;
use crate::telemetry::metrics::metrics;
use crate::telemetry::metrics::vocabulary::Stage;
use crate::telemetry::trace;

/// A request whose signature, nonce and url were verified.
pub(super) struct Verified {
    /// By whom.
    pub(super) signer: Signer,
    /// The signed payload.
    pub(super) payload: Vec<u8>,
    /// Where the request comes from.
    pub(super) from: Source,
    /// Who sent it, for the inventory.
    pub(super) client: Option<Client>,
}

/// Who signed.
pub(super) enum Signer {
    /// An account in good standing.
    Account(Arc<KnownAccount>),
    /// A bare key.
    Key(Box<Jwk>),
}

impl Verified {
    /// The account; refuses a bare key.
    pub(super) fn account(self) -> Result<(Arc<KnownAccount>, Vec<u8>), Failure> {
        match self.signer {
            Signer::Account(known) => Ok((known, self.payload)),
            Signer::Key(_) => {
                Err(Refusal::malformed("protected header: this resource takes kid, not jwk").into())
            }
        }
    }

    /// The bare key; refuses an account.
    pub(super) fn key(self) -> Result<(Jwk, Vec<u8>), Failure> {
        match self.signer {
            Signer::Key(key) => Ok((*key, self.payload)),
            Signer::Account(_) => {
                Err(Refusal::malformed("protected header: this resource takes jwk, not kid").into())
            }
        }
    }
}

/// Reads and verifies a POST; what comes `then` decides on its place in line.
pub(super) async fn open<B>(
    app: &App,
    terms: &Terms,
    links: &Links,
    then: Then,
    request: Request<B>,
) -> Result<Verified, Failure>
where
    B: hyper::body::Body + Send + Unpin,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    if !is_jose(request.headers()) {
        return Err(Failure::ContentType);
    }
    let (head, body) = request.into_parts();
    let from = head.extensions.get().copied().unwrap_or_default();
    let agent = head.headers.get(header::USER_AGENT).map_or(&[][..], |value| value.as_bytes());
    let client = head.extensions.get().map(|Peer(address)| Client::new(*address, agent));
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let body = collect(body, app.limits).await?;
    let jws = Unverified::parse(&body)?;
    if jws.url.strip_prefix(&app.base_url) != Some(path) {
        return Err(Failure::Url);
    }
    // Before the key and the signature: a nonce of ours costs less to check, and using it up harms nobody but
    // its holder.
    match &jws.nonce {
        Some(nonce) if app.service.nonces().redeem(nonce) => metrics().nonces[0].add(1),
        Some(_) | None => {
            metrics().nonces[1].add(1);
            return Err(Failure::Nonce);
        }
    }
    // What is refused at a look does not stand in line.
    line::turn(then).await;
    match jws.key {
        KeyRef::Jwk(key) => {
            let key = key.parse()?;
            let payload = Stage::Verify.run(|| jws.signed.verify(&key)).ok_or(Failure::Signature)?;
            Ok(Verified { signer: Signer::Key(Box::new(key)), payload, from, client })
        }
        KeyRef::Kid(kid) => {
            let id = links.account_of(&kid).ok_or(Failure::NoAccount)?;
            let known = app.service.account(terms, id).await?.ok_or(Failure::NoAccount)?;
            let payload = Stage::Verify.run(|| jws.signed.verify(&known.key)).ok_or(Failure::Signature)?;
            // Only now: nobody else's request counts against the account.
            let (limits, now) = (app.service.limits(), app.service.now());
            limits
                .take(Limit::AccountRequests, known.account.id.as_bytes(), &from, now)
                .map_err(service::Error::Limited)?;
            trace::note("mayfly.account", known.account.id);
            match known.account.status {
                AccountStatus::Valid => {
                    Ok(Verified { signer: Signer::Account(known), payload, from, client })
                }
                AccountStatus::Deactivated => Err(Failure::Deactivated),
            }
        }
    }
}

/// `application/jose+json`, once, with or without parameters (RFC 8555 §6.2).
fn is_jose(headers: &header::HeaderMap) -> bool {
    let mut found = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (found.next(), found.next()) else { return false };
    let Ok(text) = only.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/jose+json")
}

async fn collect<B>(body: B, limits: RequestLimits) -> Result<Bytes, Failure>
where
    B: hyper::body::Body + Send + Unpin,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    // `Limited` wants errors that box; ours need to tell one from the others only.
    let body = body.map_err(|error| std::io::Error::other(error.to_string()));
    match tokio::time::timeout(limits.time, Limited::new(body, limits.bytes).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::TooLarge(limits.bytes)),
        Ok(Err(_)) => Err(Failure::Body),
        Err(_) => Err(Failure::Slow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        let rows: [(&[&str], bool); 12] = [
            (&["application/jose+json"], true),
            (&["Application/JOSE+json"], true),
            (&["application/jose+json; charset=utf-8"], true),
            (&[" application/jose+json "], true),
            (&[], false),
            (&[""], false),
            (&["application/json"], false),
            (&["application/jose"], false),
            (&["application/jose+json, application/json"], false),
            (&["text/plain; application/jose+json"], false),
            (&["application/jose+json", "application/jose+json"], false),
            (&["application/jose+json", "text/plain"], false),
        ];
        for (values, want) in rows {
            let mut headers = header::HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_TYPE, value.parse().unwrap());
            }
            assert_eq!(is_jose(&headers), want, "{values:?}");
        }
    }
}
