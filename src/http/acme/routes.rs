//! One row per resource: the path below `/acme/NAME/`.

use crate::acme::challenge::ChallengeKind;
use crate::id::{AccountId, OrderId};
use crate::x509::serial::Serial;

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Directory,
    NewNonce,
    NewAccount,
    NewOrder,
    RevokeCert,
    KeyChange,
    Account(AccountId),
    Order(OrderId),
    Finalize(OrderId),
    Authorization(OrderId, u16),
    Challenge(OrderId, u16, ChallengeKind),
    Certificate(Serial),
    StarCertificate(OrderId),
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
        ["revoke-cert"] => Resource::RevokeCert,
        ["key-change"] => Resource::KeyChange,
        ["account", id] => Resource::Account(AccountId::parse(id)?),
        ["order", id] => Resource::Order(OrderId::parse(id)?),
        ["order", id, "finalize"] => Resource::Finalize(OrderId::parse(id)?),
        ["authz", id, index] => Resource::Authorization(OrderId::parse(id)?, parse_index(index)?),
        ["chall", id, index, kind] => {
            Resource::Challenge(OrderId::parse(id)?, parse_index(index)?, ChallengeKind::parse(kind)?)
        }
        ["star", id] => Resource::StarCertificate(OrderId::parse(id)?),
        ["cert", serial] => Resource::Certificate(Serial::parse(serial)?),
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
        let id = order.to_string();
        for bad in ["", "00", "+1", "-1", "65536", "1x"] {
            assert_eq!(parse(&format!("authz/{id}/{bad}")), None, "{bad}");
        }
    }
}
