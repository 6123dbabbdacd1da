//! Domain values → RFC 8555 objects.

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::super::problem::stored;
use super::super::{Response, reply};
use super::json;
use super::links::Links;
use super::star;
use crate::acme::account::AccountStatus;
use crate::acme::identifier::Identifier;
use crate::acme::order::{
    Authorization, AuthorizationStatus, Challenge, ChallengeState, Finish, OrderStatus, name_of,
};
use crate::id::OrderId;
use crate::jose::base64url;
use crate::provisioner::acme::Terms;
use crate::service::Service;
use crate::service::account::KnownAccount;
use crate::service::objects::{LoadedAuthorization, LoadedOrder};
use crate::time::Timestamp;
use crate::wire::acme as wire;

/// Seconds until a client shall poll again.
const POLL_AFTER: HeaderValue = HeaderValue::from_static("1");

pub(super) fn directory(links: &Links, terms: &Terms) -> Response {
    let body = wire::Directory {
        new_nonce: links.new_nonce(),
        new_account: links.new_account(),
        new_order: links.new_order(),
        revoke_cert: links.revoke_cert(),
        key_change: links.key_change(),
        meta: wire::DirectoryMeta {
            terms_of_service: terms.terms_of_service.clone(),
            website: terms.website.clone(),
            external_account_required: false,
            auto_renewal: terms.auto_renewal.as_ref().map(star::meta),
        },
    };
    json(StatusCode::OK, &body)
}

/// The nonce itself is added to every reply that needs one.
pub(super) fn nonce(status: StatusCode) -> Response {
    let mut response = reply(status, "text/plain", "");
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

fn set(response: &mut Response, name: header::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().append(name, value);
    }
}

pub(super) fn account(links: &Links, known: &KnownAccount, created: bool) -> Response {
    let account = &known.account;
    let body = wire::Account {
        status: match account.status {
            AccountStatus::Valid => "valid",
            AccountStatus::Deactivated => "deactivated",
        },
        contact: &account.contacts,
        terms_of_service_agreed: account.terms_agreed,
    };
    let mut response = json(if created { StatusCode::CREATED } else { StatusCode::OK }, &body);
    set(&mut response, header::LOCATION, links.account(account.id));
    response
}

fn identifier(of: &Identifier) -> wire::Identifier<'_> {
    wire::Identifier { kind: of.kind().into(), value: of.order_value() }
}

pub(super) fn order(links: &Links, loaded: &LoadedOrder, created: bool, now: Timestamp) -> Response {
    let LoadedOrder { id, order, .. } = loaded;
    let status = order.status(now);
    let authorizations = order.slots.iter().enumerate().map(|(index, slot)| {
        let (keeper, index) = Service::place_of(*id, u16::try_from(index).unwrap_or(u16::MAX), slot);
        links.authorization(keeper, index)
    });
    let body = wire::Order {
        status: name_of(status),
        expires: order.expires.to_rfc3339(),
        identifiers: order.identifiers().map(identifier).collect(),
        not_before: order.not_before.map(Timestamp::to_rfc3339),
        not_after: order.not_after.map(Timestamp::to_rfc3339),
        error: order.problem().map(stored),
        authorizations: authorizations.collect(),
        finalize: links.finalize(*id),
        certificate: match &order.finish {
            Finish::Issued { serial, .. } => Some(links.certificate(*serial)),
            Finish::Open | Finish::Processing(_) | Finish::Failed(_) | Finish::Renewing(_) => None,
        },
        auto_renewal: order.details.auto_renewal.as_ref().map(star::agreed),
        star_certificate: star::url(links, *id, order),
    };
    let mut response = json(if created { StatusCode::CREATED } else { StatusCode::OK }, &body);
    set(&mut response, header::LOCATION, links.order(*id));
    if status == OrderStatus::Processing {
        response.headers_mut().insert(header::RETRY_AFTER, POLL_AFTER);
    }
    response
}

fn challenge_status(challenge: &Challenge) -> &'static str {
    match challenge.state {
        ChallengeState::Pending(_) => "pending",
        ChallengeState::Processing => "processing",
        ChallengeState::Valid(_) => "valid",
        ChallengeState::Invalid(_) => "invalid",
    }
}

fn wire_challenge<'a>(
    links: &Links,
    order: OrderId,
    index: u16,
    challenge: &'a Challenge,
) -> wire::Challenge<'a> {
    wire::Challenge {
        kind: challenge.kind.name(),
        url: links.challenge(order, index, challenge.kind),
        status: challenge_status(challenge),
        token: base64url(&challenge.token),
        validated: match &challenge.state {
            ChallengeState::Valid(at) => Some(at.to_rfc3339()),
            _ => None,
        },
        error: match &challenge.state {
            ChallengeState::Pending(problem) => problem.as_ref().map(stored),
            ChallengeState::Invalid(problem) => Some(stored(problem)),
            ChallengeState::Processing | ChallengeState::Valid(_) => None,
        },
    }
}

fn is_processing(authorization: &Authorization) -> bool {
    authorization.challenges.iter().any(|challenge| challenge.state == ChallengeState::Processing)
}

pub(super) fn authorization(links: &Links, loaded: &LoadedAuthorization, now: Timestamp) -> Response {
    let LoadedAuthorization { order, index, authorization } = loaded;
    let status = authorization.status(now);
    // A settled authorization shows the challenge that settled it (RFC 8555 §7.1.4).
    let shown = |challenge: &&Challenge| match status {
        AuthorizationStatus::Pending | AuthorizationStatus::Deactivated | AuthorizationStatus::Expired => {
            true
        }
        AuthorizationStatus::Valid => matches!(challenge.state, ChallengeState::Valid(_)),
        AuthorizationStatus::Invalid => matches!(challenge.state, ChallengeState::Invalid(_)),
    };
    let challenges = authorization.challenges.iter().filter(shown);
    let body = wire::Authorization {
        identifier: wire::Identifier {
            kind: authorization.identifier.kind().into(),
            value: authorization.identifier.authorization_value(),
        },
        status: match status {
            AuthorizationStatus::Pending => "pending",
            AuthorizationStatus::Valid => "valid",
            AuthorizationStatus::Invalid => "invalid",
            AuthorizationStatus::Deactivated => "deactivated",
            AuthorizationStatus::Expired => "expired",
        },
        expires: authorization.expires.to_rfc3339(),
        challenges: challenges.map(|challenge| wire_challenge(links, *order, *index, challenge)).collect(),
        wildcard: authorization.identifier.is_wildcard(),
    };
    let mut response = json(StatusCode::OK, &body);
    if is_processing(authorization) {
        response.headers_mut().insert(header::RETRY_AFTER, POLL_AFTER);
    }
    response
}

pub(super) fn challenge(links: &Links, loaded: &LoadedAuthorization, challenge: &Challenge) -> Response {
    let mut response = json(StatusCode::OK, &wire_challenge(links, loaded.order, loaded.index, challenge));
    let up = format!("<{}>;rel=\"up\"", links.authorization(loaded.order, loaded.index));
    set(&mut response, header::LINK, up);
    if is_processing(&loaded.authorization) {
        response.headers_mut().insert(header::RETRY_AFTER, POLL_AFTER);
    }
    response
}
