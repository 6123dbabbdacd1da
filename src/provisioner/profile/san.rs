//! Kinds of subject alternative names, and the form of those that come from a profile: URIs
//! (RFC 5280 §4.2.1.6), SPIFFE IDs (SPIFFE-ID, X509-SVID) and mailboxes.

use crate::acme::identifier::{DnsName, Identifier};

/// Longest URI, bytes: that of a SPIFFE ID.
const LONGEST_URI: usize = 2048;
/// Longest mailbox, bytes (RFC 5321 §4.5.3.1), and its longest local part.
const LONGEST_EMAIL: (usize, usize) = (254, 64);
/// The scheme of SPIFFE IDs.
const SPIFFE: &str = "spiffe://";

/// A kind of name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SanKind {
    Dns,
    Ip,
    Uri,
    Email,
    Device,
}

impl SanKind {
    /// Every kind with its name in the configuration.
    pub const TABLE: &[(&'static str, Self)] = &[
        ("dns", Self::Dns),
        ("ip", Self::Ip),
        ("uri", Self::Uri),
        ("email", Self::Email),
        ("device", Self::Device),
    ];

    /// The kind of an order's name.
    pub fn of(name: &Identifier) -> Self {
        match name {
            Identifier::Dns(_) | Identifier::Wildcard(_) => Self::Dns,
            Identifier::Ip(_) => Self::Ip,
            Identifier::Permanent(_) => Self::Device,
        }
    }
}

/// The kinds of names that a leaf may have; never none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SanKinds(u8);

impl SanKinds {
    /// Every kind.
    pub const ANY: Self = Self(0b1_1111);

    /// These; `None` if there is none.
    pub fn of(kinds: &[SanKind]) -> Option<Self> {
        let bits = kinds.iter().fold(0, |bits, kind| bits | 1 << *kind as u8);
        (bits != 0).then_some(Self(bits))
    }

    /// Whether a name of that kind may be in a certificate.
    pub fn contains(self, kind: SanKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// The names, for people.
    pub fn names(self) -> String {
        let held = SanKind::TABLE.iter().filter(|(_, kind)| self.contains(*kind));
        held.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// Whether these URIs may stand in one certificate: each an absolute URI in normal form, none twice,
/// a SPIFFE ID alone.
pub fn check_uris<T: AsRef<str>>(uris: &[T]) -> Result<(), String> {
    for (i, uri) in uris.iter().map(AsRef::as_ref).enumerate() {
        check_uri(uri)?;
        if uris[..i].iter().any(|other| other.as_ref() == uri) {
            return Err("a URI is there twice".into());
        }
    }
    if uris.len() > 1 && uris.iter().any(|uri| uri.as_ref().starts_with(SPIFFE)) {
        return Err("a certificate with a SPIFFE ID has no other URI (X509-SVID §2)".into());
    }
    Ok(())
}

fn check_uri(uri: &str) -> Result<(), String> {
    if uri.len() > LONGEST_URI {
        return Err(format!("a URI is longer than {LONGEST_URI} bytes"));
    }
    let Some((scheme, rest)) = uri.split_once(':') else {
        return Err("a URI begins with a scheme and a colon, such as spiffe://".into());
    };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.bytes().all(plain) {
        return Err("a URI's scheme is of lower-case letters, digits, +, - and .".into());
    }
    if rest.is_empty() || !is_uri_text(rest) {
        return Err("a URI has characters that RFC 3986 does not allow there".into());
    }
    if let Some(id) = uri.strip_prefix(SPIFFE) {
        return check_spiffe(id);
    }
    if scheme == "spiffe" {
        return Err("a SPIFFE ID begins with spiffe://".into());
    }
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            check_authority(authority)?;
            path
        }
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err("a URI's path has a segment of dots".into());
    }
    Ok(())
}

/// RFC 5280 §4.2.1.6: the host is a name or an address. Nobody's password belongs in a certificate.
fn check_authority(authority: &str) -> Result<(), String> {
    if authority.contains('@') {
        return Err("a URI has user information before its host".into());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or("a URI's host has no closing bracket")?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port_is_number = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if !port_is_number {
        return Err("a URI's port is no number from 1 to 65535".into());
    }
    let good = match DnsName::parse(host) {
        Ok(name) => name.as_str() == host,
        Err(_) if authority.starts_with('[') => host.parse::<std::net::Ipv6Addr>().is_ok(),
        Err(_) => host.parse::<std::net::Ipv4Addr>().is_ok(),
    };
    if good { Ok(()) } else { Err("a URI's host is neither a DNS name in lower case nor an address".into()) }
}

/// RFC 3986 §2: unreserved and reserved characters, and percent-encoded bytes.
fn is_uri_text(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'%' => {
                let mut hex = || bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
                hex() && hex()
            }
            _ => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte),
        };
        if !good {
            return false;
        }
    }
    true
}

/// SPIFFE-ID §2: trust domain and path, nothing else; a leaf's path is not empty (X509-SVID §3.1).
fn check_spiffe(id: &str) -> Result<(), String> {
    let (domain, path) = id.split_once('/').ok_or("a leaf's SPIFFE ID has a path")?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    if domain.is_empty() || domain.len() > 255 || !domain.bytes().all(plain) {
        return Err("a SPIFFE ID's trust domain is 1 to 255 of a-z, 0-9, dot, hyphen and underscore".into());
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    for segment in path.split('/') {
        if segment.is_empty() || segment == "." || segment == ".." || !segment.bytes().all(plain) {
            return Err(
                "a SPIFFE ID's path is of segments of a-z, A-Z, 0-9, dot, hyphen and underscore, none \
                        empty, . or .., and has no query, fragment or final slash"
                    .into(),
            );
        }
    }
    Ok(())
}

/// Whether these mailboxes may stand in one certificate: `local@domain` in ASCII (RFC 5321 §4.1.2
/// without quotes), domain in lower case, none twice.
pub fn check_emails<T: AsRef<str>>(emails: &[T]) -> Result<(), String> {
    for (i, email) in emails.iter().map(AsRef::as_ref).enumerate() {
        check_email(email)?;
        if emails[..i].iter().any(|other| other.as_ref() == email) {
            return Err("an e-mail address is there twice".into());
        }
    }
    Ok(())
}

fn check_email(email: &str) -> Result<(), String> {
    let (local, domain) = email.split_once('@').ok_or("an e-mail address has an @")?;
    let atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    let good_local = local.len() <= LONGEST_EMAIL.1
        && local.split('.').all(|part| !part.is_empty() && part.bytes().all(atom));
    if !good_local {
        return Err("an e-mail address's local part is no dot-atom of 1 to 64 bytes".into());
    }
    if email.len() > LONGEST_EMAIL.0 {
        return Err(format!("an e-mail address is longer than {} bytes", LONGEST_EMAIL.0));
    }
    match DnsName::parse(domain) {
        Ok(name) if name.as_str() == domain => Ok(()),
        Ok(_) | Err(_) => Err("an e-mail address's domain is no DNS name in lower case".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        let longest = format!("spiffe://td/{}", "a".repeat(LONGEST_URI - 12));
        let good = [
            "spiffe://td/web",
            "spiffe://prod.example_1-2/ns/a/sa/B.c_d-e",
            "https://a.test/",
            "https://a.test:8443/p?q=1#f",
            "https://127.0.0.1/",
            "https://[2001:db8::1]/",
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "tag:a.test,2026:x",
            "x-y+z.1:%41",
            &longest,
        ];
        for uri in good {
            assert_eq!(check_uris(&[uri]), Ok(()), "{uri}");
        }
        let too_long = format!("{longest}a");
        let bad = [
            "",
            "a",
            ":a",
            "1a:b",
            "HTTPS://a.test/",
            "https:",
            "https://",
            "https:///x",
            "https://A.test/",
            "https://a b/",
            "https://a.test/\n",
            "https://a.test/\0",
            "https://a.test/é",
            "https://a.test/%4",
            "https://a.test/<",
            "https://u:p@a.test/",
            "https://a.test:0/",
            "https://a.test:port/",
            "https://a.test/../b",
            "https://a.test/./b",
            "https://*.test/",
            "https://[::1/",
            "https://[a.test/",
            "spiffe:td/web",
            "SPIFFE://td/web",
            "spiffe://td",
            "spiffe://td/",
            "spiffe:///web",
            "spiffe://td/web/",
            "spiffe://td//web",
            "spiffe://td/./web",
            "spiffe://td/../web",
            "spiffe://td/we%62",
            "spiffe://td/web?q",
            "spiffe://td/web#f",
            "spiffe://td:443/web",
            "spiffe://u@td/web",
            "spiffe://Td/web",
            "spiffe://td/*",
            "spiffe://td/a,b",
            &too_long,
        ];
        for uri in bad {
            assert!(check_uris(&[uri]).is_err(), "{uri}");
        }
        assert!(check_uris(&["spiffe://td/a", "spiffe://td/b"]).is_err());
        assert!(check_uris(&["spiffe://td/a", "https://a.test/"]).is_err());
        assert!(check_uris(&["https://a.test/", "https://a.test/"]).is_err());
        assert!(check_uris(&["https://a.test/", "https://b.test/"]).is_ok());
        assert!(check_uris::<&str>(&[]).is_ok());
    }

    #[test]
    fn emails() {
        for email in
            ["a@b.test", "a.b+c@x.y.test", "O'Neil@b.test", "1@b", &format!("{}@b.test", "a".repeat(64))]
        {
            assert_eq!(check_emails(&[email]), Ok(()), "{email}");
        }
        let bad = [
            "",
            "a",
            "@b.test",
            "a@",
            "a@b@c.test",
            "a b@c.test",
            ".a@b.test",
            "a..b@c.test",
            "\"a\"@b.test",
            "a@B.test",
            "a@b.test.",
            "a@*.test",
            "a@127.0.0.1",
            "a@[127.0.0.1]",
            "a,b@c.test",
            "a@b.test,c@d.test",
            "a@b.test\n",
            "a\0@b.test",
            "ä@b.test",
            &format!("{}@b.test", "a".repeat(65)),
            &format!("a@{}", ["b"; 127].join(".")),
        ];
        for email in bad {
            assert!(check_emails(&[email]).is_err(), "{email}");
        }
        assert!(check_emails(&["a@b.test", "a@b.test"]).is_err());
    }

    #[test]
    fn kinds() {
        let all: Vec<_> = SanKind::TABLE.iter().map(|(_, kind)| *kind).collect();
        assert_eq!((SanKinds::of(&all), SanKinds::of(&[])), (Some(SanKinds::ANY), None));
        let two = SanKinds::of(&[SanKind::Uri, SanKind::Dns]).unwrap();
        assert!(two.contains(SanKind::Dns) && !two.contains(SanKind::Ip) && !two.contains(SanKind::Device));
        assert_eq!(two.names(), "dns, uri");
    }

    proptest::proptest! {
        /// Whatever passes is ASCII that no reader can split or cut short.
        #[test]
        fn what_passes_is_plain(text in "(spiffe|https|urn)?:?/{0,2}.{0,40}", local in ".{0,20}(@.{0,10})?") {
            if check_uris(&[&text]).is_ok() {
                proptest::prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
            }
            if check_emails(&[&local]).is_ok() {
                proptest::prop_assert!(local.bytes().all(|b| b.is_ascii_graphic() && b != b','));
            }
        }
    }
}
