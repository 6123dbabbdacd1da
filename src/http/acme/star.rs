//! What RFC 8739 adds: members of the directory and of orders, and the URL of a rolling certificate.

use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use serde_json::value::RawValue;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::problem::{self, Failure};
use super::super::{App, Response, reply};
use super::links::Links;
use super::resources::{chains_of, payload, time};
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::order::{Finish, Order};
use crate::acme::star::{Ask, AutoRenewal, Offer};
use crate::id::{AccountId, OrderId};
use crate::provisioner::acme::Terms;
use crate::service;
use crate::service::star::StarCertificate;
use crate::time::Timestamp;
use crate::wire::acme as wire;
use crate::x509::pem;

/// What the directory says (§3.2).
pub(super) fn meta(offer: &Offer) -> wire::AutoRenewalMeta {
    wire::AutoRenewalMeta {
        min_lifetime: offer.min_lifetime.as_secs(),
        max_duration: offer.max_duration.as_secs(),
        allow_certificate_get: offer.allow_certificate_get,
    }
}

/// Reads newOrder's `auto-renewal` (§3.1.1).
pub(super) fn asked(asked: &RawValue) -> Result<Ask, Refusal> {
    let of_member =
        |refusal: Refusal| Refusal::malformed(refusal.detail.replacen("payload", "auto-renewal", 1));
    let wire::AutoRenewal { start_date, end_date, lifetime, lifetime_adjust, allow_certificate_get } =
        payload(asked.get().as_bytes()).map_err(of_member)?;
    let end = Timestamp::parse_rfc3339(&end_date)
        .ok_or_else(|| Refusal::malformed("auto-renewal.end-date: is not an RFC 3339 time"))?;
    Ok(Ask {
        start: time(start_date.as_deref(), "auto-renewal.start-date")?,
        end,
        lifetime,
        lifetime_adjust: lifetime_adjust.unwrap_or(0),
        allow_certificate_get: allow_certificate_get.unwrap_or(false),
    })
}

/// What an order says, as it was agreed.
pub(super) fn agreed(agreed: &AutoRenewal) -> wire::AutoRenewal {
    wire::AutoRenewal {
        start_date: agreed.start.map(Timestamp::to_rfc3339),
        end_date: agreed.end.to_rfc3339(),
        lifetime: agreed.lifetime,
        lifetime_adjust: Some(agreed.lifetime_adjust),
        allow_certificate_get: agreed.allow_certificate_get.then_some(true),
    }
}

/// An order's `star-certificate`, as long as it is in force.
pub(super) fn url(links: &Links, id: OrderId, order: &Order) -> Option<String> {
    match &order.finish {
        Finish::Renewing(state) if state.canceled.is_none() => Some(links.star_certificate(id)),
        Finish::Renewing(_)
        | Finish::Open
        | Finish::Processing(_)
        | Finish::Issued { .. }
        | Finish::Failed(_) => None,
    }
}

/// The certificate in force (§3.3), for its owner or, as `None`, for anybody (§3.4).
pub(super) async fn certificate(
    app: &App,
    terms: &Terms,
    id: OrderId,
    asker: Option<AccountId>,
) -> Result<Response, Failure> {
    let now = app.service.now();
    match app.service.star_certificate(terms, asker, id).await? {
        StarCertificate::SignedOnly => Err(Failure::Method("POST")),
        StarCertificate::NotYet(when) => Ok(not_yet(when, now)),
        StarCertificate::Here { record, fresh_until } => {
            let (not_before, not_after) = validity(&record.der).ok_or_else(|| {
                service::Error::Internal("a certificate of the inventory does not parse".into())
            })?;
            let live = app.service.live();
            let chain = pem::certificate(&record.der) + chains_of(&live, &record)?.first;
            let mut response = reply(StatusCode::OK, "application/pem-certificate-chain", chain);
            let mut set = |name: HeaderName, value: String| {
                if let Ok(value) = HeaderValue::try_from(value) {
                    response.headers_mut().insert(name, value);
                }
            };
            // Quoted, so that two values that were joined on the way show (§3.3).
            set(HeaderName::from_static("cert-not-before"), format!("\"{}\"", http_date(not_before)));
            set(HeaderName::from_static("cert-not-after"), format!("\"{}\"", http_date(not_after)));
            // Stale when the next one is there, and in no case later than its own end (§4.3). A signed
            // reply is not kept by anybody; that is set with its nonce.
            let fresh = fresh_until.min(not_after).since(now).as_secs();
            set(header::CACHE_CONTROL, format!("max-age={fresh}, must-revalidate"));
            Ok(response)
        }
    }
}

fn not_yet(when: Option<Timestamp>, now: Timestamp) -> Response {
    let detail = match when {
        Some(when) => format!("there is no certificate yet; the first one is issued at {when}"),
        None => "there is no certificate yet: the order is not finalized".to_owned(),
    };
    let mut response = problem::render(&Refusal::new(ErrorKind::OrderNotReady, detail).into(), "");
    if let Some(when) = when {
        // Rounded up: not a moment too early.
        let wait = when.since(now).as_millis().div_ceil(1000);
        if let Ok(value) = HeaderValue::try_from(wait.to_string()) {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
    }
    response
}

fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let at = |secs: i64| u64::try_from(secs).ok().map(Timestamp::from_secs);
    let validity = parsed.validity();
    Some((at(validity.not_before.timestamp())?, at(validity.not_after.timestamp())?))
}

/// IMF-fixdate (RFC 9110 §5.6.7).
fn http_date(at: Timestamp) -> String {
    let at = at.to_utc();
    let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
    let short = |name: &str| name.get(..3).unwrap_or_default().to_owned();
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        short(&weekday),
        at.day(),
        short(&month),
        at.year(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates() {
        let rows = [
            ("1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("2016-02-29T00:00:00Z", "Mon, 29 Feb 2016 00:00:00 GMT"),
            ("2026-12-31T23:59:59Z", "Thu, 31 Dec 2026 23:59:59 GMT"),
        ];
        for (at, want) in rows {
            assert_eq!(http_date(Timestamp::parse_rfc3339(at).unwrap()), want);
        }
    }
}
