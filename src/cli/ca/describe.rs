//! What a certificate or a request says, for people.

use std::fmt::Write;

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::constraints::{NameConstraints, Subtree};
use crate::cli::founding::fingerprint;
use crate::time::Timestamp;
use crate::x509::csr::Csr;
use crate::x509::hex;
use crate::x509::spki::Spki;

/// The name that people know a certificate by; empty if it does not read.
pub(in crate::cli) fn subject(der: &[u8]) -> String {
    X509Certificate::from_der(der).map(|(_, parsed)| parsed.subject().to_string()).unwrap_or_default()
}

/// A few lines about a certificate; `None` if it is none.
pub(in crate::cli) fn certificate(der: &[u8]) -> Option<String> {
    let Ok(([], parsed)) = X509Certificate::from_der(der) else { return None };
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<18}{value}");
    };
    line("subject", &parsed.subject().to_string());
    line("issuer", &parsed.issuer().to_string());
    line("serial", &hex::encode(parsed.raw_serial()));
    let at = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_secs(u64::try_from(time.timestamp()).unwrap_or(0)).to_string()
    };
    line("not before", &at(parsed.validity().not_before));
    line("not after", &at(parsed.validity().not_after));
    let key = Spki::parse(parsed.public_key().raw);
    line("key", &key.map_or_else(|error| error.to_string(), |key| key.key().label()));
    match parsed.basic_constraints() {
        Ok(Some(basic)) if basic.value.ca => {
            let path = basic.value.path_len_constraint;
            line("CA", &path.map_or("yes".to_owned(), |path| format!("yes, path length {path}")));
        }
        Ok(_) => line("CA", "no"),
        Err(_) => line("CA", "its basicConstraints does not read"),
    }
    if let Ok(Some(names)) = parsed.subject_alternative_name() {
        let names: Vec<_> = names.value.general_names.iter().map(ToString::to_string).collect();
        line("names", &names.join(", "));
    }
    for extension in parsed.extensions().iter().filter(|e| e.oid.as_bytes() == [0x55, 0x1d, 30]) {
        let list =
            |subtrees: &[Subtree]| subtrees.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match NameConstraints::parse(extension.value) {
            Ok(found) => {
                if !found.permitted.is_empty() {
                    line("permitted", &list(&found.permitted));
                }
                if !found.excluded.is_empty() {
                    line("excluded", &list(&found.excluded));
                }
            }
            Err(error) => line("name constraints", &error.to_string()),
        }
    }
    line("SHA-256", &fingerprint(der));
    Some(text)
}

/// A few lines about a request.
pub(in crate::cli) fn request(csr: &Csr) -> String {
    let subject = x509_parser::x509::X509Name::from_der(csr.subject());
    let subject = subject.map(|(_, name)| name.to_string()).unwrap_or_default();
    format!("  subject           {subject}\n  key               {}\n", csr.key().key().label())
}
