//! What of the standards this server offers, in one table.
//!
//! `mayfly acme conformance` prints it. `tests/it/conformance` holds it to be true: a section that is
//! offered has rows there, and no row is of a section that is not.
//!
//! A new feature changes its line here, or adds one, together with its rows.

use serde::Serialize;

/// How far a section is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    /// As the document has it.
    #[serde(rename = "supported")]
    Supported,
    /// Offered, and on purpose not to the letter; the note says why.
    #[serde(rename = "deliberate divergence")]
    Diverges,
    /// Not there; a request for it is refused or not heard, as the document allows.
    #[serde(rename = "not offered")]
    NotOffered,
}

impl State {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::Diverges => "deliberate divergence",
            Self::NotOffered => "not offered",
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// `RFC 8555`, or the name of a draft.
    pub document: &'static str,
    /// The section's number there.
    pub section: &'static str,
    /// What it is about.
    pub feature: &'static str,
    /// How far it is followed.
    pub state: State,
    /// What else there is to say; empty if nothing.
    pub note: &'static str,
}

const fn feature(
    document: &'static str,
    section: &'static str,
    feature: &'static str,
    state: State,
    note: &'static str,
) -> Feature {
    Feature { document, section, feature, state, note }
}

use State::{Diverges, NotOffered, Supported};

const ACME: &str = "RFC 8555";

/// Every line, by document and section.
#[rustfmt::skip]
pub const TABLE: &[Feature] = &[
    feature(ACME, "6.1", "CORS for clients in browsers", Supported, "any origin; no credentials"),
    feature(ACME, "6.2", "requests are JWS: ES256, ES384, EdDSA, RS256", Supported, "RSA of 2048 to 4096 bits"),
    feature(ACME, "6.3", "POST-as-GET", Supported, ""),
    feature(ACME, "6.4", "the url header", Supported, "compared byte by byte with the URL as handed out; status 401"),
    feature(ACME, "6.5", "replay nonces", Supported, "kept in memory: those of before a restart are refused, and the refusal brings a new one"),
    feature(ACME, "6.6", "rate limits", Supported, "429 with Retry-After, not counted from exempt networks"),
    feature(ACME, "6.7", "problem documents", Supported, ""),
    feature(ACME, "6.7.1", "subproblems", Supported, ""),
    feature(ACME, "7.1", "resources and their links", Supported, ""),
    feature(ACME, "7.1.1", "the directory", Supported, ""),
    feature(ACME, "7.1.2", "the account object", Supported, ""),
    feature(ACME, "7.1.2.1", "the list of orders", Supported, "pages of 100; invalid orders are left out"),
    feature(ACME, "7.1.3", "the order object", Supported, ""),
    feature(ACME, "7.1.4", "the authorization object", Supported, "a settled one shows only the challenge that settled it"),
    feature(ACME, "7.1.6", "the states of objects", Diverges, "a pending authorization whose time has run out shows as expired, not invalid"),
    feature(ACME, "7.2", "newNonce", Supported, ""),
    feature(ACME, "7.3", "newAccount", Supported, "contacts are mailto: URLs of one address"),
    feature(ACME, "7.3.1", "finding the account of a key", Supported, ""),
    feature(ACME, "7.3.2", "account updates", Supported, ""),
    feature(ACME, "7.3.3", "changes of the terms of service", NotOffered, "new terms bind new accounts; userActionRequired is not used"),
    feature(ACME, "7.3.4", "external account binding", Supported, "as a provisioner is configured; where it is off, a binding is neither verified nor shown"),
    feature(ACME, "7.3.5", "key change", Supported, ""),
    feature(ACME, "7.3.6", "account deactivation", Supported, ""),
    feature(ACME, "7.4", "newOrder and finalize", Diverges, "the account's own key is not certified; a request for an order that is processing or valid is answered again when it is the same"),
    feature(ACME, "7.4.1", "newAuthz", Supported, "where a provisioner offers it; a valid authorization is given again"),
    feature(ACME, "7.4.2", "certificate download", Diverges, "PEM chains only, alternate ones where the issuer has any; only the account that ordered it may read it"),
    feature(ACME, "7.5", "authorizations", Supported, ""),
    feature(ACME, "7.5.1", "challenge responses", Supported, "the payload may hold what the drafts had; it is not read"),
    feature(ACME, "7.5.2", "authorization deactivation", Supported, ""),
    feature(ACME, "7.6", "revocation", Diverges, "an expired certificate is not revoked"),
    feature(ACME, "8", "challenge objects", Supported, ""),
    feature(ACME, "8.1", "tokens and key authorizations", Supported, ""),
    feature(ACME, "8.3", "http-01", Supported, "redirects to ports 80 and 443 as configured only; never to this server or special addresses"),
    feature(ACME, "8.4", "dns-01", Supported, ""),
    feature(ACME, "9.7.7", "identifier types", Supported, "dns and ip; permanent-identifier where devices attest"),
    feature("RFC 8737", "3", "tls-alpn-01", Supported, ""),
    feature("RFC 8738", "3", "IP identifiers", Supported, "addresses in their one canonical form; IPv4 in IPv6 is refused"),
    feature("RFC 8738", "6", "tls-alpn-01 for addresses", Supported, ""),
    feature("RFC 8738", "7", "no dns-01 for addresses", Supported, ""),
    feature("RFC 8739", "3.1", "STAR: orders renewed automatically", Diverges, "lifetime-adjust is raised to two thirds of lifetime, and shown so; end-dates beyond the issuer's own end are refused; a cancelled order expires with its last certificate"),
    feature("RFC 8739", "3.2", "STAR in the directory", Supported, "where a provisioner offers it"),
    feature("RFC 8739", "3.3", "STAR certificates, and unsigned GET of them", Supported, "403 orderNotReady before the first; 404 a week after the end"),
    feature("RFC 8657", "3", "CAA accounturi", Supported, ""),
    feature("RFC 8657", "4", "CAA validationmethods", Supported, ""),
    feature("RFC 8659", "4", "CAA", Supported, "where a provisioner checks it"),
    feature("RFC 9444", "4", "subdomain authorization", Diverges, "subdomainAuthAllowed is read in newAuthz beside the identifier and in it, since clients differ"),
    feature("RFC 9773", "4", "ARI: renewal information", Supported, ""),
    feature("RFC 9773", "5", "orders that replace a certificate", Supported, "by the same account at the same provisioner, with an identifier in common"),
    feature("draft-ietf-acme-profiles", "4", "profiles", Supported, "where a provisioner has any"),
    feature("draft-ietf-acme-dns-account-label", "3", "dns-account-01", Supported, "where a provisioner offers it"),
    feature("draft-ietf-acme-dns-persist", "3", "dns-persist-01", Diverges, "where a provisioner offers it; accounturi may be the account's plain URL as well as its hashed URI, as earlier drafts had it"),
    feature("draft-ietf-acme-device-attest", "5", "device-attest-01", Diverges, "where a provisioner offers it; no vendor is trusted unless its root is configured; the attested key alone may be certified"),
    feature("RFC 7515", "4", "JOSE headers", Diverges, "members doubled, or more than 32, are refused even where nobody reads them"),
    feature("RFC 7515", "4.1.11", "critical header members", Supported, "none is understood, so each is refused; b64 (RFC 7797) is refused in any case"),
    feature("RFC 7515", "5.2", "signature verification", Supported, ""),
    feature("RFC 7515", "7.2.2", "the flattened serialization", Supported, "and no other"),
    feature("RFC 7517", "4", "JSON web keys", Supported, "private and symmetric keys are refused"),
    feature("RFC 7518", "6.2", "EC keys", Supported, "P-256 and P-384"),
    feature("RFC 7518", "6.3", "RSA keys", Diverges, "exponents below 65537 and keys known to be weak are refused"),
    feature("RFC 8037", "2", "Ed25519 keys", Supported, ""),
    feature("RFC 2986", "4", "certification requests", Supported, "P-256, P-384, P-521, Ed25519, RSA of 2048 to 8192 bits; SHA-2 only"),
    feature("RFC 5280", "4.1", "issued certificates", Supported, "names in subjectAltName only"),
    feature("RFC 5280", "4.2", "extensions that were asked for", Diverges, "none is copied: all come from the profile"),
    feature("RFC 5280", "5.3.1", "revocation reasons", Supported, "those that are a subscriber's to give: 0, 1, 3, 4, 5, 9"),
    feature("RFC 1035", "2.3", "names", Supported, "no trailing dot; none whose last label is a number"),
    feature("RFC 5890", "2.3.1", "internationalized names", Supported, "as A-labels"),
    feature("RFC 9110", "15.5", "status codes", Supported, ""),
    feature("RFC 9112", "3.2", "exactly one Host", Supported, "URLs come from the configuration, whatever Host says"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_one_of_its_kind_and_says_what_it_must() {
        let mut seen = std::collections::BTreeSet::new();
        for Feature { document, section, feature, state, note } in TABLE {
            assert!(seen.insert((document, section)), "{document} §{section} twice");
            assert!(!feature.is_empty() && !section.is_empty(), "{document}");
            assert!(*state != State::Diverges || !note.is_empty(), "{document} §{section}: why?");
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }
}
