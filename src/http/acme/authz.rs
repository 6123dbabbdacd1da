//! newAuthz and an account's orders: signed requests beside the straight way to a certificate.

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::super::problem::Failure;
use super::super::{App, Response};
use super::envelope::Verified;
use super::links::Links;
use super::resources::{no_payload, payload};
use super::{json, objects};
use crate::acme::error::Refusal;
use crate::acme::order::RawIdentifier;
use crate::id::{AccountId, OrderId};
use crate::service::Provisioner;
use crate::service::new_authz::NewAuthorization;
use crate::wire::acme as wire;

/// An identifier as a client asks for it.
pub(super) fn asked(identifier: wire::AskedIdentifier) -> RawIdentifier {
    let wire::AskedIdentifier { kind, value, ancestor_domain, subdomain_auth_allowed: _ } = identifier;
    RawIdentifier { kind, value, ancestor: ancestor_domain }
}

/// RFC 8555 §7.4.1: 201 for a new authorization, 200 for one that the account has.
pub(super) async fn new_authorization(
    app: &App,
    terms: &Provisioner,
    links: &Links,
    mut verified: Verified,
) -> Result<Response, Failure> {
    let (from, client) = (verified.from, verified.client.take());
    let (known, bytes) = verified.account()?;
    if !terms.offers_pre_authorization() {
        return Err(Failure::NoSuchResource);
    }
    let wire::NewAuthorization { identifier, subdomain_auth_allowed } = payload(&bytes)?;
    if identifier.ancestor_domain.is_some() {
        let detail = "ancestorDomain: belongs into newOrder; ask for the ancestor itself here";
        return Err(Refusal::malformed(detail).into());
    }
    let subdomains = subdomain_auth_allowed || identifier.subdomain_auth_allowed;
    let ask = NewAuthorization { identifier: asked(identifier), subdomains, from, client };
    let (loaded, created) = app.service.new_authorization(terms, &known, ask).await?;
    let mut response = objects::authorization(links, terms, &loaded, app.service.now());
    if created {
        *response.status_mut() = StatusCode::CREATED;
    }
    if let Ok(url) = HeaderValue::try_from(links.authorization(loaded.order, loaded.index)) {
        response.headers_mut().insert(header::LOCATION, url);
    }
    Ok(response)
}

/// RFC 8555 §7.1.2.1: one page, and a link to the next.
pub(super) async fn account_orders(
    app: &App,
    links: &Links,
    of: (AccountId, Option<OrderId>),
    verified: Verified,
) -> Result<Response, Failure> {
    let (known, bytes) = verified.account()?;
    let (id, after) = of;
    if known.account.id != id {
        return Err(Refusal::unauthorized("an account's URL answers its own key only").into());
    }
    no_payload(&bytes)?;
    let page = app.service.account_orders(id, after).await?;
    let body = wire::Orders { orders: page.orders.iter().map(|order| links.order(*order)).collect() };
    let mut response = json(StatusCode::OK, &body);
    if let Some(next) = page.next
        && let Ok(link) = HeaderValue::try_from(format!("<{}>;rel=\"next\"", links.orders(id, Some(next))))
    {
        response.headers_mut().append(header::LINK, link);
    }
    Ok(response)
}
