//! Challenge types (RFC 8555 §8, RFC 8737 and drafts) and what may prove what.

use serde::{Deserialize, Serialize};

use super::identifier::Identifier;

/// The ways a client can prove control of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ChallengeKind {
    /// RFC 8555 §8.3.
    Http01,
    /// RFC 8555 §8.4.
    Dns01,
    /// RFC 8737.
    TlsAlpn01,
    /// draft-ietf-acme-dns-account-label.
    DnsAccount01,
    /// draft-ietf-acme-dns-persist.
    DnsPersist01,
    /// draft-ietf-acme-device-attest §5; proved by the response itself.
    DeviceAttest01,
}

impl ChallengeKind {
    /// One row per kind: the kind and its name on the wire.
    pub const TABLE: &[(Self, &'static str)] = &[
        (Self::Http01, "http-01"),
        (Self::Dns01, "dns-01"),
        (Self::TlsAlpn01, "tls-alpn-01"),
        (Self::DnsAccount01, "dns-account-01"),
        (Self::DnsPersist01, "dns-persist-01"),
        (Self::DeviceAttest01, "device-attest-01"),
    ];

    /// The name on the wire and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::DnsAccount01 => "dns-account-01",
            Self::DnsPersist01 => "dns-persist-01",
            Self::DeviceAttest01 => "device-attest-01",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(_, text)| *text == name).map(|(kind, _)| *kind)
    }

    /// Whether a challenge of this kind has a token; clients that read every challenge by the form of
    /// RFC 8555 §8 fall over one that has none.
    pub fn has_token(self) -> bool {
        match self {
            Self::Http01 | Self::Dns01 | Self::TlsAlpn01 | Self::DnsAccount01 | Self::DeviceAttest01 => true,
            Self::DnsPersist01 => false,
        }
    }

    /// Whether this kind can prove control of `identifier`: a wildcard needs one of the DNS kinds
    /// (RFC 8555 §7.4.1), an address cannot use them (RFC 8738 §7); a device is attested, and nothing
    /// else is.
    pub fn can_prove(self, identifier: &Identifier) -> bool {
        match (self, identifier) {
            (
                Self::Http01 | Self::Dns01 | Self::TlsAlpn01 | Self::DnsAccount01 | Self::DnsPersist01,
                Identifier::Dns(_),
            ) => true,
            (Self::Dns01 | Self::DnsAccount01 | Self::DnsPersist01, Identifier::Wildcard(_)) => true,
            (Self::Http01 | Self::TlsAlpn01, Identifier::Ip(_)) => true,
            (Self::DeviceAttest01, Identifier::Permanent(_)) => true,
            (Self::DeviceAttest01, Identifier::Dns(_) | Identifier::Wildcard(_) | Identifier::Ip(_)) => false,
            (
                Self::Http01 | Self::Dns01 | Self::TlsAlpn01 | Self::DnsAccount01 | Self::DnsPersist01,
                Identifier::Permanent(_),
            ) => false,
            (Self::Http01 | Self::TlsAlpn01, Identifier::Wildcard(_)) => false,
            (Self::Dns01 | Self::DnsAccount01 | Self::DnsPersist01, Identifier::Ip(_)) => false,
        }
    }
}

/// How much of a token is taken for one: quotes are cut off somewhere.
const TELLING: usize = 6;

/// A text without the token, wherever and however much of its beginning it has.
pub fn without_token(text: &str, token: &str) -> String {
    let Some(head) = token.get(..TELLING) else { return text.to_owned() };
    let mut parts = text.split(head);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let same = part.bytes().zip(token.bytes().skip(TELLING)).take_while(|(a, b)| a == b).count();
        out += "TOKEN";
        // Tokens are ASCII, so what equals a part of one ends at a character's end.
        out += part.get(same..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_printer_agree() {
        for (kind, text) in ChallengeKind::TABLE {
            assert_eq!(kind.name(), *text);
            assert_eq!(ChallengeKind::parse(text), Some(*kind));
        }
        assert_eq!(ChallengeKind::parse("tls-sni-01"), None);
        assert_eq!(ChallengeKind::parse("HTTP-01"), None);
    }

    #[test]
    fn field_31_what_proves_what() {
        use ChallengeKind::*;
        let rows = [
            ("dns", "a.test", [true, true, true, true, true, false]),
            ("dns", "*.a.test", [false, true, false, true, true, false]),
            ("ip", "10.0.0.1", [true, false, true, false, false, false]),
            ("permanent-identifier", "C02XG0FDH05Q", [false, false, false, false, false, true]),
        ];
        for (kind, value, want) in rows {
            let id = Identifier::parse(kind, value).unwrap();
            let kinds = [Http01, Dns01, TlsAlpn01, DnsAccount01, DnsPersist01, DeviceAttest01];
            assert_eq!(kinds.map(|c| c.can_prove(&id)), want, "{value}");
        }
    }

    #[test]
    fn a_text_without_its_token() {
        let token = "p9eBCXSr9-QGDdrlByzkqA";
        for (text, want) in [
            (
                "http://a.test/x/p9eBCXSr9-QGDdrlByzkqA has \"p9eBCXSr9-QGDdrlByzkqA.1EUK\"",
                "http://a.test/x/TOKEN has \"TOKEN.1EUK\"",
            ),
            ("p9eBCXSr9-QGDdrl...", "TOKEN..."),
            ("p9eBCX", "TOKEN"),
            ("p9eBCXp9eBCXSr\u{e9}", "TOKENTOKEN\u{e9}"),
            ("p9eB", "p9eB"),
            ("", ""),
        ] {
            assert_eq!(without_token(text, token), want, "{text}");
        }
        assert_eq!(without_token("abc", ""), "abc");
    }
}
