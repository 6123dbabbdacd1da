//! Which requests name their host (RFC 9112 §3.2, RFC 9113 §8.3.1). Nothing here depends on what they
//! name; but who names none, or two, is not a client, and a proxy in between may take another.

use std::net::Ipv6Addr;

use hyper::header::{self, HeaderMap};
use hyper::{Uri, Version};

/// Whether a request names its host exactly once (in HTTP/2 as `:authority`, `Host`, or both alike),
/// and as one.
pub(super) fn is_named_once(version: Version, uri: &Uri, headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(header::HOST).iter();
    let (field, another) = (fields.next(), fields.next());
    if another.is_some() {
        return false;
    }
    let field = field.map(|value| value.to_str().unwrap_or_default());
    let authority =
        uri.authority().map(|authority| authority.as_str()).filter(|_| version >= Version::HTTP_2);
    match (authority, field) {
        (Some(authority), Some(field)) => is_host(authority) && authority.eq_ignore_ascii_case(field),
        (Some(only), None) | (None, Some(only)) => is_host(only),
        (None, None) => false,
    }
}

/// `uri-host [":" port]` (RFC 3986 §3.2): a name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => ("", port),
        Some(_) => return false,
        None => match text.find(':') {
            Some(colon) => text.split_at(colon),
            None => (text, ""),
        },
    };
    let is_name = |name: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        (1..=255).contains(&name.len()) && name.bytes().all(allowed)
    };
    let is_port = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok_and(|port| port.to_string() == digits),
        None => port.is_empty(),
    };
    is_port && (text.starts_with('[') || is_name(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_valid_host() {
        let one = Version::HTTP_11;
        let two = Version::HTTP_2;
        let rows: [(Version, &str, &[&str], bool); 32] = [
            (one, "/", &["ca.test"], true),
            (one, "/", &["CA.test:9443"], true),
            (one, "/", &["10.0.0.1:443"], true),
            (one, "/", &["[::1]"], true),
            (one, "/", &["[fd00::1]:9443"], true),
            (one, "/", &["my_ca"], true),
            (Version::HTTP_10, "/", &["ca.test"], true),
            (Version::HTTP_10, "/", &[], false),
            (one, "/", &[], false),
            (one, "/", &[""], false),
            (one, "/", &["a.test", "a.test"], false),
            (one, "/", &["a.test", "b.test"], false),
            (one, "/", &["a.test, b.test"], false),
            (one, "/", &["a.test b.test"], false),
            (one, "/", &["me@a.test"], false),
            (one, "/", &["https://a.test"], false),
            (one, "/", &["a.test/x"], false),
            (one, "/", &["a.test:"], false),
            (one, "/", &["a.test:0x50"], false),
            (one, "/", &["a.test:70000"], false),
            (one, "/", &["a.test:80:80"], false),
            (one, "/", &["::1"], false),
            (one, "/", &["[::1"], false),
            (one, "/", &["[a.test]"], false),
            (one, "/", &["[::1]x"], false),
            (one, "/", &["\u{e4}.test"], false),
            // The target in absolute form does not stand for the field.
            (one, "https://a.test/", &[], false),
            (two, "https://a.test/", &[], true),
            (two, "https://a.test/", &["A.test"], true),
            (two, "https://a.test/", &["b.test"], false),
            (two, "/", &["a.test"], true),
            (two, "/", &[], false),
        ];
        for (version, uri, hosts, want) in rows {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, header::HeaderValue::from_bytes(host.as_bytes()).unwrap());
            }
            let got = is_named_once(version, &uri.parse().unwrap(), &headers);
            assert_eq!(got, want, "{version:?} {uri} {hosts:?}");
        }
    }
}
