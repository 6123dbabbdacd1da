//! Who operates this CA over the network: the certificates, each named one by one, whose holders may do
//! all that the admin API offers.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::acme::identifier::DnsName;
use crate::time::Timestamp;
use crate::x509::hex;

/// Most characters of a mail address or a URI.
const MAX_TEXT: usize = 255;

/// One entry of `[admin] clients`: what a client's certificate must carry, letter for letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OperatorName {
    /// A dNSName; never a wildcard.
    Dns(DnsName),
    /// An rfc822Name. Its domain is lower case here.
    Email(String),
    /// A uniformResourceIdentifier, such as a SPIFFE ID.
    Uri(String),
    /// The SHA-256 of the whole certificate: whoever issued it, it is this one.
    Fingerprint([u8; 32]),
}

impl OperatorName {
    /// As the configuration has it; the error says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        const WHAT: &str = "write a name that stands in the certificate's subjectAltName (\"ops.example.internal\", \
                            \"alice@example.com\", \"spiffe://example.internal/ops\"), or \"sha256:\" and the \
                            certificate's fingerprint in hex";
        if text.contains('*') {
            return Err("a wildcard names nobody; write each name by itself".to_owned());
        }
        if let Some(fingerprint) = text.strip_prefix("sha256:") {
            let digits: String = fingerprint.chars().filter(|c| *c != ':').collect();
            return hex::decode(&digits.to_ascii_lowercase())
                .map(Self::Fingerprint)
                .ok_or_else(|| "has no 64 hex digits behind \"sha256:\"".to_owned());
        }
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() <= MAX_TEXT;
        if text.contains("://") {
            return if plain { Ok(Self::Uri(text.to_owned())) } else { Err(format!("is no URI; {WHAT}")) };
        }
        if let Some((local, domain)) = text.split_once('@') {
            let whole = plain && !local.is_empty() && DnsName::parse(domain).is_ok();
            return if whole { Ok(Self::Email(email(text))) } else { Err(format!("is no address; {WHAT}")) };
        }
        DnsName::parse(text).map(Self::Dns).map_err(|error| format!("{error}; {WHAT}"))
    }

    /// Whether it names a certificate of whatever issuer, so that no CA need be trusted for it.
    pub fn is_fingerprint(&self) -> bool {
        match self {
            Self::Fingerprint(_) => true,
            Self::Dns(_) | Self::Email(_) | Self::Uri(_) => false,
        }
    }
}

/// A mail address with its domain in lower case; what stands in front of it is its owner's business.
fn email(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()),
        None => text.to_owned(),
    }
}

impl fmt::Display for OperatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name.as_str()),
            Self::Email(text) | Self::Uri(text) => f.write_str(text),
            Self::Fingerprint(digest) => write!(f, "sha256:{}", hex::encode(digest)),
        }
    }
}

/// What a client's certificate says of its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Its names and its fingerprint; of a wildcard nothing.
    pub names: Vec<OperatorName>,
    /// When it begins and ends, in seconds.
    pub validity: (Timestamp, Timestamp),
    /// Its serial number's bytes.
    pub serial: Vec<u8>,
}

impl Presented {
    /// Reads a certificate; `None` if it is not one.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let seconds = |at: i64| Timestamp::from_secs(u64::try_from(at).unwrap_or_default());
        let validity = parsed.validity();
        let validity = (seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp()));
        let fingerprint = digest(&SHA256, der).as_ref().try_into().ok()?;
        let san = parsed.subject_alternative_name().ok()?;
        let san = san.map(|san| san.value.general_names.as_slice()).unwrap_or_default();
        let mut names = vec![OperatorName::Fingerprint(fingerprint)];
        names.extend(san.iter().filter_map(name_of));
        Some(Self { names, validity, serial: parsed.raw_serial().to_vec() })
    }

    /// Whether it holds at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.validity.0 <= now && now < self.validity.1
    }

    /// By which of `listed` its holder may operate the CA.
    pub fn listed_as<'a>(&self, listed: &'a [OperatorName]) -> Option<&'a OperatorName> {
        listed.iter().find(|name| self.names.contains(name))
    }
}

fn name_of(name: &GeneralName<'_>) -> Option<OperatorName> {
    match name {
        GeneralName::DNSName(text) if !text.contains('*') => DnsName::parse(text).ok().map(OperatorName::Dns),
        GeneralName::RFC822Name(text) => Some(OperatorName::Email(email(text))),
        GeneralName::URI(text) => Some(OperatorName::Uri((*text).to_owned())),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    /// A self-signed certificate with these names.
    pub(crate) fn certificate(sans: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = sans;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn entries_are_read_one_way_or_refused() {
        let hex = "ab".repeat(32);
        let colons = ["AB"; 32].join(":");
        for (text, want) in [
            ("Ops.Example.internal", "ops.example.internal"),
            ("Alice@Example.COM", "Alice@example.com"),
            ("spiffe://example.internal/ops", "spiffe://example.internal/ops"),
            (&format!("sha256:{hex}"), &format!("sha256:{hex}")),
            (&format!("sha256:{colons}"), &format!("sha256:{hex}")),
        ] {
            assert_eq!(OperatorName::parse(text).unwrap().to_string(), *want, "{text}");
        }
        for bad in [
            "",
            "*",
            "*.example.internal",
            "spiffe://x/*",
            "@x.test",
            "a@",
            "a@b@c.test",
            "sha256:",
            "sha256:ab",
            "a b",
            "a\u{e4}://x",
        ] {
            assert!(OperatorName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_name_that_is_listed_letter_for_letter_counts() {
        let text = |text: &str| text.to_owned().try_into().unwrap();
        let der = certificate(vec![
            SanType::DnsName(text("ops.test")),
            SanType::DnsName(text("*.wild.test")),
            SanType::Rfc822Name(text("Alice@Example.com")),
            SanType::URI(text("spiffe://x/ops")),
        ]);
        let shown = Presented::read(&der).unwrap();
        let own = format!("sha256:{}", hex::encode(digest(&SHA256, &der).as_ref()));
        let other = format!("sha256:{}", "0".repeat(64));
        for (entry, want) in [
            ("ops.test", true),
            ("OPS.test", true),
            ("test", false),
            ("a.ops.test", false),
            ("a.wild.test", false),
            ("wild.test", false),
            ("Alice@example.com", true),
            ("alice@example.com", false),
            ("example.com", false),
            ("spiffe://x/ops", true),
            ("spiffe://x/ops/", false),
            (own.as_str(), true),
            (other.as_str(), false),
        ] {
            let listed = [OperatorName::parse(entry).unwrap()];
            assert_eq!(shown.listed_as(&listed).is_some(), want, "{entry}");
        }
        assert!(shown.listed_as(&[]).is_none());
        assert!(Presented::read(b"x").is_none() && Presented::read(&[&der[..], b"x"].concat()).is_none());
    }
}
