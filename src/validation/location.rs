//! Where http-01 goes: the challenge's own URL, and what a redirect makes of it. Pure.

use std::fmt;
use std::net::IpAddr;

use url::Url;

use super::dial::Host;
use crate::acme::identifier::DnsName;

/// The longest Location that is followed.
const MAX_LOCATION: usize = 2048;

/// One URL to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Whether it is https.
    pub(super) tls: bool,
    /// Whom to connect to.
    pub(super) host: Host,
    /// On which port.
    pub(super) port: u16,
    /// Path and query, as the request line has them.
    pub(super) path: String,
}

/// The ports of this CA's challenges, which are open to redirects beside 80 and 443.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    /// Of http-01.
    pub(super) http: u16,
    /// Of tls-alpn-01.
    pub(super) tls: u16,
}

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it has no Location header, or more than one")]
    NoLocation,
    #[error("its Location is longer than {MAX_LOCATION} bytes")]
    TooLong,
    #[error("its Location is not a URL")]
    NotAUrl,
    #[error("its Location is neither http nor https")]
    Scheme,
    #[error("its Location carries a user name or password")]
    UserInfo,
    #[error("its Location has no host that is a DNS name or an address")]
    Host,
    #[error("its Location has port {0}; only 80, 443 and this CA's challenge ports are followed")]
    Port(u16),
}

impl Target {
    /// The URL of RFC 8555 §8.3.
    pub(super) fn first(host: Host, token: &str, ports: Ports) -> Self {
        Self { tls: false, host, port: ports.http, path: format!("/.well-known/acme-challenge/{token}") }
    }

    /// The URL that `location` means, seen from this one.
    pub(super) fn follow(&self, location: &[u8], ports: Ports) -> Result<Self, Refusal> {
        if location.len() > MAX_LOCATION {
            return Err(Refusal::TooLong);
        }
        let location = std::str::from_utf8(location).map_err(|_| Refusal::NotAUrl)?;
        let base = Url::parse(&self.to_string()).map_err(|_| Refusal::NotAUrl)?;
        let url = base.join(location).map_err(|_| Refusal::NotAUrl)?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(Refusal::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        let host = host(&url).ok_or(Refusal::Host)?;
        let port = url.port_or_known_default().ok_or(Refusal::Host)?;
        if ![80, 443, ports.http, ports.tls].contains(&port) {
            return Err(Refusal::Port(port));
        }
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(Self { tls, host, port, path })
    }

    /// The Host header: the port only where it is not the scheme's own.
    pub(super) fn authority(&self) -> String {
        let own = if self.tls { 443 } else { 80 };
        if self.port == own { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// The URL parser has already turned every spelling of an IPv4 address into the address, so what
/// is left as a name is one.
fn host(url: &Url) -> Option<Host> {
    match url.host()? {
        url::Host::Ipv4(ip) => Some(Host::Ip(IpAddr::V4(ip))),
        url::Host::Ipv6(ip) => Some(Host::Ip(IpAddr::V6(ip))),
        url::Host::Domain(name) => {
            DnsName::parse(name.strip_suffix('.').unwrap_or(name)).ok().map(Host::Name)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PORTS: Ports = Ports { http: 5002, tls: 5001 };

    fn start() -> Target {
        Target::first(Host::Name(DnsName::parse("a.test").unwrap()), "tok", PORTS)
    }

    #[test]
    fn the_first_url() {
        let std = Ports { http: 80, tls: 443 };
        let rows = [
            ("a.test", std, "http://a.test/.well-known/acme-challenge/tok", "a.test"),
            ("a.test", PORTS, "http://a.test:5002/.well-known/acme-challenge/tok", "a.test:5002"),
            ("10.0.0.1", std, "http://10.0.0.1/.well-known/acme-challenge/tok", "10.0.0.1"),
            ("fd00::1", std, "http://[fd00::1]/.well-known/acme-challenge/tok", "[fd00::1]"),
            ("fd00::1", PORTS, "http://[fd00::1]:5002/.well-known/acme-challenge/tok", "[fd00::1]:5002"),
        ];
        for (host, ports, url, authority) in rows {
            let host = match host.parse() {
                Ok(ip) => Host::Ip(ip),
                Err(_) => Host::Name(DnsName::parse(host).unwrap()),
            };
            let target = Target::first(host, "tok", ports);
            assert_eq!((target.to_string().as_str(), target.authority().as_str()), (url, authority));
        }
    }

    #[test]
    fn redirects() {
        use Refusal::*;
        let long = format!("/{}", "a".repeat(MAX_LOCATION));
        let rows: &[(&str, Result<&str, Refusal>)] = &[
            ("http://b.test/x?y=1", Ok("http://b.test/x?y=1")),
            ("HTTP://B.test/x", Ok("http://b.test/x")),
            ("https://b.test/x", Ok("https://b.test/x")),
            ("http://b.test.:80/x", Ok("http://b.test/x")),
            ("http://b.test:5002/x", Ok("http://b.test:5002/x")),
            ("https://b.test:5001/x", Ok("https://b.test:5001/x")),
            ("https://b.test:80/x", Ok("https://b.test:80/x")),
            ("//b.test/x", Ok("http://b.test/x")),
            ("/x#fragment", Ok("http://a.test:5002/x")),
            ("x", Ok("http://a.test:5002/.well-known/acme-challenge/x")),
            ("../x", Ok("http://a.test:5002/.well-known/x")),
            ("?q", Ok("http://a.test:5002/.well-known/acme-challenge/tok?q")),
            ("", Ok("http://a.test:5002/.well-known/acme-challenge/tok")),
            ("http://10.0.0.1/", Ok("http://10.0.0.1/")),
            // Spellings of 127.0.0.1 are that address by the time it is judged.
            ("http://2130706433/", Ok("http://127.0.0.1/")),
            ("http://0x7f.1/", Ok("http://127.0.0.1/")),
            ("http://127.1/", Ok("http://127.0.0.1/")),
            ("http://[::1]/", Ok("http://[::1]/")),
            ("http://[::ffff:127.0.0.1]/", Ok("http://[::ffff:127.0.0.1]/")),
            ("http://b.test:22/", Err(Port(22))),
            ("http://b.test:0/", Err(Port(0))),
            ("http://b.test:99999/", Err(NotAUrl)),
            ("ftp://b.test/", Err(Scheme)),
            ("file:///etc/passwd", Err(Scheme)),
            ("javascript:alert(1)", Err(Scheme)),
            ("http://user@b.test/", Err(UserInfo)),
            ("http://user:pass@b.test/", Err(UserInfo)),
            ("http://under_score.test/", Err(Host)),
            ("http://*.test/", Err(Host)),
            ("http:///", Err(NotAUrl)),
            (&long, Err(TooLong)),
        ];
        for (location, want) in rows {
            let got = start().follow(location.as_bytes(), PORTS).map(|t| t.to_string());
            assert_eq!(got.as_deref(), want.as_ref().map(|s| *s), "{location}");
        }
        assert_eq!(start().follow(b"\xff", PORTS), Err(NotAUrl));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_target_or_a_refusal(location in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = start().follow(&location, PORTS);
        }

        #[test]
        fn what_is_followed_is_within_bounds(location in "(https?:)?(//)?[a-z0-9.:@/\\\\?#%\\[\\]\t -]{0,40}") {
            if let Ok(target) = start().follow(location.as_bytes(), PORTS) {
                prop_assert!([80, 443, 5001, 5002].contains(&target.port));
                prop_assert!(target.path.starts_with('/'));
                prop_assert!(target.path.bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
