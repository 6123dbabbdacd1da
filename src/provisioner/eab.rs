//! Keys for external account binding (RFC 8555 §7.3.4): who may register, for which names, and for
//! whom the binding stands in for validation.
//!
//! A key's expiry and its number of uses limit registrations. Accounts that were registered with it
//! go on after both; they end with its revocation, at once. Its scope holds for them always.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::acme::{NameRule, Terms};
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::identifier::Identifier;
use crate::id::EabKid;
use crate::jose::base64url;
use crate::jose::jwk::Jwk;
use crate::jose::mac::UnverifiedMac;
use crate::time::Timestamp;

/// Bytes of a secret: as many as the longest of the three MACs has (RFC 7518 §3.2 asks for it).
pub const SECRET_BYTES: usize = 64;

/// Most rules in a key's scope.
pub const MAX_RULES: usize = 100;
/// Longest label, bytes.
pub const MAX_LABEL: usize = 200;
/// Most accounts that one key registers.
pub const MAX_USES: u32 = 1_000_000;
/// Shortest and longest time that a key registers accounts for.
pub const LIFETIMES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3650 * 86_400));

/// Whether new accounts of a provisioner are bound to external ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EabMode {
    /// A binding is not looked at, nor shown (RFC 8555 §7.3.4 leaves that to the server).
    Off,
    /// One that is given is verified; none need be.
    Optional,
    /// There is no account without one.
    Required,
}

impl EabMode {
    /// One row per mode: its name in the configuration, and the variant.
    pub const TABLE: &[(&'static str, Self)] =
        &[("off", Self::Off), ("optional", Self::Optional), ("required", Self::Required)];
}

/// The secret of a key. It is stored, since a MAC cannot be verified without it; it is shown once, when
/// the key is made.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct EabSecret(Vec<u8>);

impl EabSecret {
    /// From fresh randomness, of which the top bit is dropped: the text then begins with a letter, as
    /// the value of a command-line flag should.
    pub fn new(mut random: [u8; SECRET_BYTES]) -> Self {
        random[0] &= 0x7f;
        let secret = Self(random.to_vec());
        random.zeroize();
        secret
    }

    /// To verify with.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As clients take it.
    pub fn reveal(&self) -> String {
        base64url(&self.0)
    }
}

impl PartialEq for EabSecret {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for EabSecret {}

impl fmt::Debug for EabSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EabSecret")
    }
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EabKey {
    /// What clients call it.
    pub kid: EabKid,
    /// What they make MACs with.
    pub secret: EabSecret,
    /// The one provisioner that it is for.
    pub provisioner: String,
    /// Names that its accounts may ask for; empty: whatever the provisioner allows.
    pub allow: Vec<NameRule>,
    /// Until when it registers accounts.
    pub expires: Timestamp,
    /// How many accounts it registers.
    pub max_uses: u32,
    /// What the operator calls it.
    pub label: String,
    /// Whether names in its scope need no validation, where the provisioner agrees.
    pub trusts_names: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

/// What the operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EabAsk {
    /// At which provisioner.
    pub provisioner: String,
    /// Name rules, as text.
    pub allow: Vec<String>,
    /// How long it registers accounts.
    pub lifetime: Duration,
    /// How many.
    pub max_uses: u32,
    /// What to call it.
    pub label: String,
    /// Whether its names need no validation.
    pub trusts_names: bool,
}

impl EabKey {
    /// Makes a key for `terms`, or says which rule of the ask is broken. `random` is fresh.
    pub fn create(
        ask: EabAsk,
        terms: &Terms,
        kid: [u8; 16],
        random: [u8; SECRET_BYTES],
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let EabAsk { provisioner, allow, lifetime, max_uses, label, trusts_names } = ask;
        if terms.eab == EabMode::Off {
            let detail = format!(
                "provisioner: {provisioner} takes no external account bindings; set its eab to \"optional\" or \
                 \"required\" in mayfly.toml and reload"
            );
            return Err(Refusal::malformed(detail));
        }
        if trusts_names && !terms.eab_trusts_names {
            let detail = format!(
                "trust_names: {provisioner} validates every name; set its eab_trusts_names = true in mayfly.toml \
                 and reload"
            );
            return Err(Refusal::malformed(detail));
        }
        if trusts_names && allow.is_empty() {
            return Err(Refusal::malformed(
                "trust_names: say which names: give at least one allow rule; without one every name would be \
                 trusted",
            ));
        }
        if allow.len() > MAX_RULES {
            return Err(Refusal::malformed(format!("allow: at most {MAX_RULES} rules are accepted")));
        }
        let rules: Result<Vec<NameRule>, String> = allow.iter().map(|text| text.parse()).collect();
        let allow = rules.map_err(|why| Refusal::malformed(format!("allow: {why}")))?;
        if !(LIFETIMES.0..=LIFETIMES.1).contains(&lifetime) {
            let (least, most) = (LIFETIMES.0.as_secs(), LIFETIMES.1.as_secs() / 86_400);
            return Err(Refusal::malformed(format!("expires: give {least} seconds to {most} days")));
        }
        if !(1..=MAX_USES).contains(&max_uses) {
            return Err(Refusal::malformed(format!("uses: give 1 to {MAX_USES}")));
        }
        if label.len() > MAX_LABEL || label.chars().any(char::is_control) {
            let detail = format!("label: at most {MAX_LABEL} bytes without control characters are accepted");
            return Err(Refusal::malformed(detail));
        }
        Ok(Self {
            kid: EabKid::new(kid),
            secret: EabSecret::new(random),
            provisioner: terms.name.clone(),
            allow,
            expires: (now + lifetime).whole_seconds(),
            max_uses,
            label,
            trusts_names,
            created: now,
            revoked: None,
        })
    }

    /// Whether a binding was made with this key, for an account with `account_key`. What its header says
    /// besides is for the caller to check.
    pub fn verify(&self, binding: &UnverifiedMac, account_key: &Jwk) -> Result<(), Refusal> {
        if !binding.verify(self.secret.as_bytes()) {
            return Err(not_made_by_a_key());
        }
        let bound = std::str::from_utf8(&binding.payload).ok().map(Jwk::parse);
        match bound {
            Some(Ok(bound)) if bound == *account_key => Ok(()),
            Some(_) | None => Err(Refusal::malformed(
                "externalAccountBinding: its payload must be the account's key, as in jwk of the request",
            )),
        }
    }

    /// What it is good for at `now`, after so many uses.
    pub fn state(&self, uses: u32, now: Timestamp) -> EabState {
        if self.revoked.is_some() {
            EabState::Revoked
        } else if now >= self.expires {
            EabState::Expired
        } else if uses >= self.max_uses {
            EabState::UsedUp
        } else {
            EabState::Active
        }
    }

    /// Whether the key registers one more account after `uses` others. Only for who has shown a MAC by
    /// it: the answer tells of its state.
    pub fn check_registration(&self, terms: &Terms, uses: u32, now: Timestamp) -> Result<(), Refusal> {
        let refused =
            |why: &'static str| Err(Refusal::unauthorized(format!("externalAccountBinding: {why}")));
        if self.provisioner != terms.name {
            return refused("the key is for another provisioner");
        }
        match self.state(uses, now) {
            EabState::Active => Ok(()),
            EabState::UsedUp => refused("the key has registered as many accounts as it may"),
            EabState::Expired => refused("the key has expired"),
            EabState::Revoked => refused("the key is revoked"),
        }
    }

    /// Whether accounts that the key has registered may still order.
    pub fn check_standing(&self) -> Result<(), Refusal> {
        match self.revoked {
            None => Ok(()),
            Some(_) => Err(Refusal::unauthorized(
                "the key of the account's external account binding is revoked; create an account under another",
            )),
        }
    }

    /// Whether the key's scope covers a name; the rule it breaks if not.
    pub fn covers(&self, identifier: &Identifier) -> Result<(), String> {
        if self.allow.is_empty() || self.allow.iter().any(|rule| rule.covers(identifier)) {
            return Ok(());
        }
        Err("the name is not covered by the account's external account binding".into())
    }

    /// Whether the binding stands in for validation of a name: asked for by the key and by the
    /// provisioner, and named in the key's scope.
    pub fn vouches_for(&self, terms: &Terms, identifier: &Identifier) -> bool {
        terms.eab_trusts_names
            && self.trusts_names
            && self.revoked.is_none()
            && self.provisioner == terms.name
            && self.allow.iter().any(|rule| rule.covers(identifier))
    }

    /// Whether an account under this key may ask for a name; the rule it breaks if not.
    pub fn allows(&self, terms: &Terms, identifier: &Identifier) -> Result<(), String> {
        self.covers(identifier)?;
        if self.vouches_for(terms, identifier) { terms.permits(identifier) } else { terms.allows(identifier) }
    }
}

/// What a key is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EabState {
    /// It registers accounts.
    Active,
    /// It has registered as many as it may; those go on.
    UsedUp,
    /// Its time to register has run out; its accounts go on.
    Expired,
    /// Neither it nor its accounts are good for anything.
    Revoked,
}

impl EabState {
    /// One row per state: the variant and its name.
    pub const TABLE: &[(Self, &'static str)] = &[
        (Self::Active, "active"),
        (Self::UsedUp, "used-up"),
        (Self::Expired, "expired"),
        (Self::Revoked, "revoked"),
    ];

    /// As the operator reads it.
    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }
}

/// The same for a kid that is unknown and for a MAC that does not hold: a stranger learns nothing of
/// either.
pub fn not_made_by_a_key() -> Refusal {
    Refusal::unauthorized(
        "externalAccountBinding: kid is unknown, or the MAC does not verify: check the key id and the HMAC key \
         (base64url, as it was printed)",
    )
}

/// Which binding a new account is to have, if any: the one given, unless none is looked at.
pub fn wanted<T>(mode: EabMode, given: Option<T>) -> Result<Option<T>, Refusal> {
    match (mode, given) {
        (EabMode::Off, _) | (EabMode::Optional, None) => Ok(None),
        (EabMode::Optional | EabMode::Required, Some(given)) => Ok(Some(given)),
        (EabMode::Required, None) => Err(Refusal::new(
            ErrorKind::ExternalAccountRequired,
            "externalAccountBinding: is required here; the operator of this CA gives out keys (mayfly eab create)",
        )),
    }
}

#[cfg(test)]
mod tests;
