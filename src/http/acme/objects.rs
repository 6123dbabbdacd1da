//! Domain values → RFC 8555 objects.

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::super::problem::stored;
use super::super::{Response, reply};
use super::json;
use super::links::Links;
use super::star;
use crate::acme::account::AccountStatus;
use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::Identifier;
use crate::acme::order::{
    Authorization, AuthorizationStatus, Challenge, ChallengeState, Finish, OrderStatus, name_of,
};
use crate::id::OrderId;
use crate::jose::base64url;
use crate::provisioner::acme::Terms;
use crate::provisioner::eab::EabMode;
use crate::service::Service;
use crate::service::account::KnownAccount;
use crate::service::objects::{LoadedAuthorization, LoadedOrder};
use crate::service::renewal::Suggestion;
use crate::time::Timestamp;
use crate::wire::acme as wire;

/// Seconds until a client shall poll again.
const POLL_AFTER: HeaderValue = HeaderValue::from_static("1");

pub(super) fn directory(links: &Links, terms: &Terms) -> Response {
    let body = wire::Directory {
        new_nonce: links.new_nonce(),
        new_account: links.new_account(),
        new_order: links.new_order(),
        new_authz: terms.offers_pre_authorization().then(|| links.new_authz()),
        revoke_cert: links.revoke_cert(),
        key_change: links.key_change(),
        renewal_info: links.renewal_info(),
        meta: wire::DirectoryMeta {
            terms_of_service: terms.terms_of_service.clone(),
            website: terms.website.clone(),
            external_account_required: terms.eab == EabMode::Required,
            subdomain_auth_allowed: terms.subdomains,
            caa_identities: if terms.caa { terms.caa_identities.clone() } else { Vec::new() },
            persist: terms.challenges.contains(&ChallengeKind::DnsPersist01).then(|| wire::PersistMeta {
                issuer_domain_names: terms.issuer_domains.clone(),
                account_hash_prefix: links.account_hashes(),
                // A record made with an earlier key counts no more.
                key_rotation_period: 0,
            }),
            profiles: terms
                .profiles
                .offered
                .iter()
                .map(|(name, profile)| (name.as_str(), profile.description.as_str()))
                .collect(),
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
        orders: links.orders(account.id, None),
        external_account_binding: account.details.eab.as_ref().map(|eab| wire::Binding {
            protected: &eab.protected,
            payload: &eab.payload,
            signature: &eab.signature,
        }),
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
        replaces: order.details.replaces.map(|id| id.to_string()),
        profile: order.details.profile.as_deref(),
        auto_renewal: order.details.auto_renewal.as_ref().map(star::agreed),
        star_certificate: star::url(links, *id, order),
    };
    let mut response = json(if created { StatusCode::CREATED } else { StatusCode::OK }, &body);
    set(&mut response, header::LOCATION, links.order(*id));
    // An order just opened waits for its client; one that is asked for again is waited for.
    let waits = match status {
        OrderStatus::Processing => true,
        OrderStatus::Pending => !created,
        OrderStatus::Ready | OrderStatus::Valid | OrderStatus::Invalid | OrderStatus::Canceled => false,
    };
    if waits {
        response.headers_mut().insert(header::RETRY_AFTER, POLL_AFTER);
    }
    response
}

/// RFC 9773 §4.2. A cache may keep it for a minute: a revocation has to be heard of soon.
pub(super) fn renewal_info(Suggestion { renewal, explanation }: &Suggestion) -> Response {
    let body = wire::RenewalInfo {
        suggested_window: wire::Window { start: renewal.start.to_rfc3339(), end: renewal.end.to_rfc3339() },
        explanation_url: explanation.as_deref(),
    };
    let mut response = json(StatusCode::OK, &body);
    let pause = renewal.ask_again.as_secs();
    response.headers_mut().insert(header::RETRY_AFTER, pause.into());
    set(&mut response, header::CACHE_CONTROL, format!("public, max-age={}", pause.min(60)));
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
    terms: &'a Terms,
    order: OrderId,
    index: u16,
    challenge: &'a Challenge,
) -> wire::Challenge<'a> {
    wire::Challenge {
        kind: challenge.kind.name(),
        url: links.challenge(order, index, challenge.kind),
        status: challenge_status(challenge),
        token: challenge.kind.has_token().then(|| base64url(&challenge.token)),
        issuers: (challenge.kind == ChallengeKind::DnsPersist01).then_some(wire::Issuers {
            domain_names: &terms.issuer_domains,
            old_domain_names: &terms.issuer_domains,
        }),
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

/// Whether the client is to come back: a validation is under way, or one found nothing out and may be
/// tried again (RFC 8555 §8.2).
fn is_to_wait(authorization: &Authorization) -> bool {
    authorization.challenges.iter().any(|challenge| match challenge.state {
        ChallengeState::Processing | ChallengeState::Pending(Some(_)) => true,
        ChallengeState::Pending(None) | ChallengeState::Valid(_) | ChallengeState::Invalid(_) => false,
    })
}

pub(super) fn authorization(
    links: &Links,
    terms: &Terms,
    loaded: &LoadedAuthorization,
    now: Timestamp,
) -> Response {
    let LoadedAuthorization { order, index, authorization, subdomains, trusted: _ } = loaded;
    let status = loaded.status(now);
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
        challenges: challenges
            .map(|challenge| wire_challenge(links, terms, *order, *index, challenge))
            .collect(),
        wildcard: authorization.identifier.is_wildcard(),
        subdomain_auth_allowed: *subdomains,
    };
    let mut response = json(StatusCode::OK, &body);
    if status == AuthorizationStatus::Pending && is_to_wait(authorization) {
        response.headers_mut().insert(header::RETRY_AFTER, POLL_AFTER);
    }
    response
}

pub(super) fn challenge(
    links: &Links,
    terms: &Terms,
    loaded: &LoadedAuthorization,
    challenge: &Challenge,
    now: Timestamp,
) -> Response {
    let mut response =
        json(StatusCode::OK, &wire_challenge(links, terms, loaded.order, loaded.index, challenge));
    let up = format!("<{}>;rel=\"up\"", links.authorization(loaded.order, loaded.index));
    set(&mut response, header::LINK, up);
    let authorization = &loaded.authorization;
    if authorization.status(now) == AuthorizationStatus::Pending && is_to_wait(authorization) {
        response.headers_mut().insert(header::RETRY_AFTER, POLL_AFTER);
    }
    response
}
