//! Accounts (RFC 8555 §7.1.2, §7.3).

use serde::{Deserialize, Serialize};

use super::error::{ErrorKind, Refusal};
use crate::id::{AccountId, EabKid};
use crate::time::Timestamp;
use crate::x509::spki::PublicKey;

/// Most contacts of an account.
pub const MAX_CONTACTS: usize = 10;
/// Longest contact URL, bytes.
pub const MAX_CONTACT: usize = 320;

/// An account's standing. Ours to record; the client can only leave [`AccountStatus::Valid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountStatus {
    /// In use.
    Valid,
    /// Closed by its owner; for good.
    Deactivated,
}

/// An account of one provisioner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// The provisioner it was created at; it means nothing anywhere else.
    pub provisioner: String,
    /// Its public key.
    pub key: PublicKey,
    /// Its standing.
    pub status: AccountStatus,
    /// `mailto:` URLs.
    pub contacts: Vec<String>,
    /// Whether the terms of service were agreed to.
    pub terms_agreed: bool,
    /// When it was created.
    pub created: Timestamp,
    /// What later versions added.
    pub details: AccountDetails,
}

/// What an account may hold besides; the default says nothing. Grows at its end only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountDetails {
    /// The external account it was bound to when it was created, for good.
    pub eab: Option<EabBinding>,
}

/// An external account binding (RFC 8555 §7.3.4), verified when the account was created. The JWS is
/// kept as the client sent it, because the account object is to show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EabBinding {
    /// The key that the MAC was made with.
    pub kid: EabKid,
    /// `protected`
    pub protected: String,
    /// `payload`: the key that the account was created with.
    pub payload: String,
    /// `signature`
    pub signature: String,
}

/// Checks the contact list of newAccount or an update (RFC 8555 §7.3).
pub fn check_contacts(contacts: &[String]) -> Result<(), Refusal> {
    if contacts.len() > MAX_CONTACTS {
        let detail = format!("contact: at most {MAX_CONTACTS} contacts are accepted");
        return Err(Refusal::new(ErrorKind::InvalidContact, detail));
    }
    contacts.iter().try_for_each(|contact| check_contact(contact))
}

fn check_contact(contact: &str) -> Result<(), Refusal> {
    let invalid = |rule: &'static str| Err(Refusal::new(ErrorKind::InvalidContact, rule));
    if contact.len() > MAX_CONTACT {
        return invalid("contact: a URL is longer than 320 bytes");
    }
    let Some(address) = contact.strip_prefix("mailto:") else {
        let detail = "contact: only mailto: URLs are supported";
        return Err(Refusal::new(ErrorKind::UnsupportedContact, detail));
    };
    if address.contains('?') || address.contains(',') {
        return invalid("contact: a mailto: URL must hold one address and no header fields");
    }
    if !address.bytes().all(|b| b.is_ascii_graphic()) {
        return invalid("contact: a mailto: URL must be ASCII without spaces");
    }
    match address.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() => Ok(()),
        _ => invalid("contact: a mailto: URL must hold an address of the form name@domain"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts() {
        use ErrorKind::{InvalidContact, UnsupportedContact};
        let long = format!("mailto:{}@a.test", "x".repeat(MAX_CONTACT));
        let rows = [
            ("mailto:ops@example.test", None),
            ("mailto:ops@localhost", None),
            ("mailto:ops", Some(InvalidContact)),
            ("mailto:@example.test", Some(InvalidContact)),
            ("mailto:ops@", Some(InvalidContact)),
            ("mailto:a@b.test,c@d.test", Some(InvalidContact)),
            ("mailto:a@b.test?subject=x", Some(InvalidContact)),
            ("mailto:a b@b.test", Some(InvalidContact)),
            ("mailto:ü@b.test", Some(InvalidContact)),
            (&long, Some(InvalidContact)),
            ("tel:+123", Some(UnsupportedContact)),
            ("", Some(UnsupportedContact)),
        ];
        for (contact, want) in rows {
            let got = check_contacts(&[contact.to_owned()]).err().map(|refusal| refusal.kind);
            assert_eq!(got, want, "{contact}");
        }
        assert!(check_contacts(&vec!["mailto:a@b.test".to_owned(); MAX_CONTACTS + 1]).is_err());
    }
}
