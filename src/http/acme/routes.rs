//! One row per resource: the path below `/acme/NAME/`.

use super::super::line::Then;
use crate::acme::challenge::ChallengeKind;
use crate::acme::renewal::{CertId, CertIdError};
use crate::id::{AccountId, OrderId};
use crate::telemetry::metrics::vocabulary::Operation;
use crate::telemetry::trace;
use crate::x509::serial::Serial;

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Directory,
    NewNonce,
    NewAccount,
    NewOrder,
    NewAuthz,
    RevokeCert,
    KeyChange,
    Account(AccountId),
    /// A page of its orders: the first, or the one behind that order.
    AccountOrders(AccountId, Option<OrderId>),
    Order(OrderId),
    Finalize(OrderId),
    Authorization(OrderId, u16),
    Challenge(OrderId, u16, ChallengeKind),
    Certificate(Serial),
    /// With another chain, from 1.
    AlternateChain(Serial, u16),
    /// What follows is to be an identifier of a certificate; a malformed one has an answer of its own.
    RenewalInfo(Result<CertId, CertIdError>),
    /// The current certificate of an order that is renewed automatically.
    StarCertificate(OrderId),
}

impl Resource {
    /// As what it is counted.
    pub(super) fn operation(self) -> Operation {
        match self {
            Self::Directory => Operation::Directory,
            Self::NewNonce => Operation::NewNonce,
            Self::NewAccount => Operation::NewAccount,
            Self::NewOrder => Operation::NewOrder,
            Self::NewAuthz => Operation::NewAuthz,
            Self::RevokeCert => Operation::RevokeCert,
            Self::KeyChange => Operation::KeyChange,
            Self::Account(_) => Operation::Account,
            Self::AccountOrders(_, _) => Operation::AccountOrders,
            Self::Order(_) => Operation::Order,
            Self::Finalize(_) => Operation::Finalize,
            Self::Authorization(_, _) => Operation::Authorization,
            Self::Challenge(_, _, _) => Operation::Challenge,
            Self::Certificate(_) | Self::AlternateChain(_, _) => Operation::Certificate,
            Self::RenewalInfo(_) => Operation::RenewalInfo,
            Self::StarCertificate(_) => Operation::StarCertificate,
        }
    }

    /// What a POST has before it once it is begun.
    pub(super) fn then(self) -> Then {
        match self {
            Self::Challenge(_, _, _) => Then::Validation,
            Self::NewAccount
            | Self::NewOrder
            | Self::NewAuthz
            | Self::RevokeCert
            | Self::KeyChange
            | Self::Account(_)
            | Self::Finalize(_) => Then::Commit,
            Self::Directory
            | Self::NewNonce
            | Self::AccountOrders(_, _)
            | Self::Order(_)
            | Self::Authorization(_, _)
            | Self::Certificate(_)
            | Self::AlternateChain(_, _)
            | Self::RenewalInfo(_)
            | Self::StarCertificate(_) => Then::Answer,
        }
    }

    /// What a trace calls its path below `/acme/NAME/`.
    pub(super) fn route(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::NewNonce => "new-nonce",
            Self::NewAccount => "new-account",
            Self::NewOrder => "new-order",
            Self::NewAuthz => "new-authz",
            Self::RevokeCert => "revoke-cert",
            Self::KeyChange => "key-change",
            Self::Account(_) => "account/{account}",
            Self::AccountOrders(_, _) => "account/{account}/orders",
            Self::Order(_) => "order/{order}",
            Self::Finalize(_) => "order/{order}/finalize",
            Self::Authorization(_, _) => "authz/{order}/{index}",
            Self::Challenge(_, _, _) => "chall/{order}/{index}/{kind}",
            Self::Certificate(_) => "cert/{serial}",
            Self::AlternateChain(_, _) => "cert/{serial}/{chain}",
            Self::RenewalInfo(_) => "renewal-info/{id}",
            Self::StarCertificate(_) => "star/{order}",
        }
    }

    /// Tells the current span what the path names.
    pub(super) fn noted(self) {
        match self {
            Self::Order(order)
            | Self::Finalize(order)
            | Self::StarCertificate(order)
            | Self::Authorization(order, _) => trace::note("mayfly.order", order),
            Self::Challenge(order, _, kind) => {
                trace::note("mayfly.order", order);
                trace::note("mayfly.challenge", kind.name());
            }
            Self::Certificate(serial) | Self::AlternateChain(serial, _) => {
                trace::note("mayfly.serial", serial);
            }
            Self::RenewalInfo(Ok(id)) => trace::note("mayfly.serial", id.serial),
            Self::Directory
            | Self::NewNonce
            | Self::NewAccount
            | Self::NewOrder
            | Self::NewAuthz
            | Self::RevokeCert
            | Self::KeyChange
            | Self::Account(_)
            | Self::AccountOrders(_, _)
            | Self::RenewalInfo(Err(_)) => {}
        }
    }

    /// The methods it has, as `Allow` shows them.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::Directory | Self::NewNonce | Self::StarCertificate(_) => "GET, HEAD, POST",
            Self::RenewalInfo(_) => "GET, HEAD",
            Self::NewAccount
            | Self::NewOrder
            | Self::NewAuthz
            | Self::RevokeCert
            | Self::KeyChange
            | Self::Account(_)
            | Self::AccountOrders(_, _)
            | Self::Order(_)
            | Self::Finalize(_)
            | Self::Authorization(_, _)
            | Self::Challenge(_, _, _)
            | Self::Certificate(_)
            | Self::AlternateChain(_, _) => "POST",
        }
    }
}

/// Parses a path. Only the one spelling that [`super::links`] prints is known: no dot segments, no
/// percent-encoding, no doubled or trailing slash.
pub(super) fn parse(path: &str) -> Option<Resource> {
    let mut parts = [""; 5];
    let mut count = 0;
    for part in path.split('/') {
        *parts.get_mut(count)? = part;
        count += 1;
    }
    Some(match &parts[..count] {
        ["directory"] => Resource::Directory,
        ["new-nonce"] => Resource::NewNonce,
        ["new-account"] => Resource::NewAccount,
        ["new-order"] => Resource::NewOrder,
        ["new-authz"] => Resource::NewAuthz,
        ["revoke-cert"] => Resource::RevokeCert,
        ["key-change"] => Resource::KeyChange,
        ["account", id] => Resource::Account(AccountId::parse(id)?),
        ["account", id, "orders"] => Resource::AccountOrders(AccountId::parse(id)?, None),
        ["account", id, "orders", after] => {
            Resource::AccountOrders(AccountId::parse(id)?, Some(OrderId::parse(after)?))
        }
        ["order", id] => Resource::Order(OrderId::parse(id)?),
        ["order", id, "finalize"] => Resource::Finalize(OrderId::parse(id)?),
        ["authz", id, index] => Resource::Authorization(OrderId::parse(id)?, parse_index(index)?),
        ["chall", id, index, kind] => {
            Resource::Challenge(OrderId::parse(id)?, parse_index(index)?, ChallengeKind::parse(kind)?)
        }
        ["star", id] => Resource::StarCertificate(OrderId::parse(id)?),
        ["cert", serial] => Resource::Certificate(Serial::parse(serial)?),
        ["cert", serial, chain] => {
            let chain = parse_index(chain).filter(|chain| *chain > 0)?;
            Resource::AlternateChain(Serial::parse(serial)?, chain)
        }
        ["renewal-info", id] => Resource::RenewalInfo(CertId::parse(id)),
        _ => return None,
    })
}

fn parse_index(text: &str) -> Option<u16> {
    let index: u16 = text.parse().ok()?;
    (index.to_string() == text).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::super::links::Links;
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn every_link_is_a_route_and_nothing_else_is() {
        let links = Links::new("https://ca.test", "acme");
        let account = AccountId::new([0xfb; 16]);
        let order = OrderId::new(Timestamp::from_secs(1_793_318_400), [0xfb; 11]);
        let serial = Serial::new(Timestamp::from_secs(1_793_318_400), [0xfb; 16]);
        let renewable = CertId { issuer: [0xfb; 20], serial };
        let mut rows = vec![
            (links.directory(), Resource::Directory),
            (links.new_nonce(), Resource::NewNonce),
            (links.new_account(), Resource::NewAccount),
            (links.new_order(), Resource::NewOrder),
            (links.revoke_cert(), Resource::RevokeCert),
            (links.key_change(), Resource::KeyChange),
            (links.account(account), Resource::Account(account)),
            (links.order(order), Resource::Order(order)),
            (links.finalize(order), Resource::Finalize(order)),
            (links.authorization(order, 65535), Resource::Authorization(order, 65535)),
            (links.certificate(serial), Resource::Certificate(serial)),
            (links.certificate_chain(serial, 0), Resource::Certificate(serial)),
            (links.certificate_chain(serial, 1), Resource::AlternateChain(serial, 1)),
            (links.new_authz(), Resource::NewAuthz),
            (links.orders(account, None), Resource::AccountOrders(account, None)),
            (links.orders(account, Some(order)), Resource::AccountOrders(account, Some(order))),
            (format!("{}/{renewable}", links.renewal_info()), Resource::RenewalInfo(Ok(renewable))),
            (links.star_certificate(order), Resource::StarCertificate(order)),
        ];
        for (kind, _) in ChallengeKind::TABLE {
            rows.push((links.challenge(order, 0, *kind), Resource::Challenge(order, 0, *kind)));
        }
        for (url, resource) in rows {
            let path = url.strip_prefix("https://ca.test/acme/acme/").unwrap();
            assert_eq!(parse(path), Some(resource), "{url}");
            for bad in [
                format!("{path}/"),
                format!("/{path}"),
                format!("./{path}"),
                format!("{path}/../{path}"),
                format!("{path}%2f"),
                path.to_uppercase(),
            ] {
                assert_ne!(parse(&bad), Some(resource), "{bad}");
            }
        }
        for bad in ["", "/", "order", "order/", "order/x", "authz", "../../root", "directory/directory"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        for bad in ["0", "01", "-1", "x", ""] {
            assert_eq!(parse(&format!("cert/{serial}/{bad}")), None, "{bad}");
        }
        assert_eq!(parse(&format!("account/{account}/orders/x")), None);
        let id = order.to_string();
        for bad in ["", "00", "+1", "-1", "65536", "1x"] {
            assert_eq!(parse(&format!("authz/{id}/{bad}")), None, "{bad}");
        }
    }
}
