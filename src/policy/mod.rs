//! Policy: what may be in a certificate, for whom; a pure room.
//!
//! A [`Policy`] is a list of allow and deny rules, read from a TOML document of its own
//! ([`document`]). It is put to [`Facts`], which are read from the very bytes that are to be signed
//! ([`facts`]), and a [`Context`], which says for whom. A deny rule refuses every value that it lists;
//! where any allow rule of the policy lists values of a kind, whoever it is for, every value of that kind
//! must be covered by an allow rule that applies. A CA certificate is refused unless an allow rule says
//! `ca = true`. The [`Verdict`] names every value that was refused, and the rule.

pub mod describe;
pub mod document;
pub mod facts;
pub mod glob;
pub mod import;
mod judge;
pub mod names;
pub mod pattern;
pub mod value;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::facts::{Facts, NotUnderstood};
use self::pattern::{
    AttributePattern, DnsPattern, EmailPattern, IpPattern, KeyPattern, OidPattern, Span, TextPattern,
    UriPattern,
};
use crate::time::Timestamp;

/// Most rules of one policy.
pub const MOST_RULES: usize = 256;
/// Most entries of one list.
pub const MOST_ENTRIES: usize = 1024;
/// Most entries of all lists of a policy together, which bounds the time that a verdict takes.
pub const MOST_IN_ALL: usize = 4096;
/// Largest document, bytes.
pub const LARGEST: usize = 256 * 1024;

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What it is called in explanations.
    pub name: String,
    /// At least one.
    rules: Vec<Rule>,
}

/// What a rule does with the values that it lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Permits them, and no others of their kinds.
    Allow,
    /// Refuses them.
    Deny,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    effect: Effect,
    name: String,
    /// Of the document.
    line: usize,
    when: Conditions,
    unless: Conditions,
    lists: Lists,
}

/// Whom a rule is for: of every list that is there, one must be the context's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Conditions {
    authority: Option<Vec<String>>,
    provisioner: Option<Vec<String>>,
    account: Option<Vec<String>>,
    eab_key: Option<Vec<String>>,
    profile: Option<Vec<String>>,
    requester: Option<Vec<String>>,
}

/// What a rule lists; `None`: the rule says nothing of that kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lists {
    dns: Option<Vec<DnsPattern>>,
    ip: Option<Vec<IpPattern>>,
    uri: Option<Vec<UriPattern>>,
    email: Option<Vec<EmailPattern>>,
    devices: Option<Vec<TextPattern>>,
    principals: Option<Vec<TextPattern>>,
    subject: Option<Vec<AttributePattern>>,
    keys: Option<Vec<KeyPattern>>,
    lifetime: Option<Vec<Span>>,
    backdate: Option<Vec<Span>>,
    eku: Option<Vec<OidPattern>>,
    key_usage: Option<Vec<OidPattern>>,
    signatures: Option<Vec<OidPattern>>,
    issuers: Option<Vec<TextPattern>>,
    extensions: Option<Vec<OidPattern>>,
    /// Of an allow rule: CA certificates are permitted.
    ca: bool,
    /// Of a deny rule: wildcard names are refused.
    wildcards: bool,
}

/// In whose name a certificate is asked for, as conditions name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// An ACME account, by an order.
    #[default]
    Acme,
    /// This server for an ACME account, by an order that is renewed automatically.
    AutoRenewal,
    /// This server, for its own listener.
    Own,
    /// The operator, for a CA.
    Ceremony,
}

impl Who {
    /// Every one with its name.
    pub const TABLE: &[(&'static str, Self)] = &[
        ("acme", Self::Acme),
        ("auto-renewal", Self::AutoRenewal),
        ("own", Self::Own),
        ("ceremony", Self::Ceremony),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|(_, who)| *who == self).map_or("acme", |(name, _)| *name)
    }
}

/// For whom a certificate is to be, and when. Kept with refusals: grows at its end only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The moment of issuance.
    pub at: Timestamp,
    /// In whose name.
    pub requester: Who,
    /// The authority's name.
    pub authority: Option<String>,
    /// The provisioner's name.
    pub provisioner: Option<String>,
    /// The account's id.
    pub account: Option<String>,
    /// The id of the key that the account is bound to (RFC 8555 §7.3.4).
    pub eab_key: Option<String>,
    /// The profile's name.
    pub profile: Option<String>,
}

impl Context {
    /// Of nobody in particular.
    pub fn new(at: Timestamp, requester: Who) -> Self {
        Self {
            at,
            requester,
            authority: None,
            provisioner: None,
            account: None,
            eab_key: None,
            profile: None,
        }
    }
}

/// The part of a certificate that a reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Field {
    Dns,
    Ip,
    Uri,
    Email,
    Device,
    Principal,
    Subject,
    Key,
    Lifetime,
    Backdate,
    ExtendedKeyUsage,
    KeyUsage,
    Signature,
    Issuer,
    Extension,
    Ca,
    /// Of which is not understood.
    Form,
}

impl Field {
    /// The key that rules list it under, and what it is in a certificate.
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Dns => ("dns", "DNS name"),
            Self::Ip => ("ip", "IP address"),
            Self::Uri => ("uri", "URI"),
            Self::Email => ("email", "email address"),
            Self::Device => ("devices", "device"),
            Self::Principal => ("principals", "principal"),
            Self::Subject => ("subject", "subject attribute"),
            Self::Key => ("keys", "key"),
            Self::Lifetime => ("lifetime", "lifetime"),
            Self::Backdate => ("backdate", "backdating"),
            Self::ExtendedKeyUsage => ("eku", "extended key usage"),
            Self::KeyUsage => ("key_usage", "key usage"),
            Self::Signature => ("signatures", "signature algorithm"),
            Self::Issuer => ("issuers", "issuer"),
            Self::Extension => ("extensions", "extension"),
            Self::Ca => ("ca", "basic constraint"),
            Self::Form => ("", "content"),
        }
    }

    /// Whether its values are names that an order may ask for.
    pub const fn is_name(self) -> bool {
        match self {
            Self::Dns | Self::Ip | Self::Uri | Self::Email | Self::Device => true,
            Self::Principal
            | Self::Subject
            | Self::Key
            | Self::Lifetime
            | Self::Backdate
            | Self::ExtendedKeyUsage
            | Self::KeyUsage
            | Self::Signature
            | Self::Issuer
            | Self::Extension
            | Self::Ca
            | Self::Form => false,
        }
    }
}

/// Why one value was refused. Kept with refusals: grows at its end only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reason {
    /// The policy's name.
    pub policy: String,
    /// What the value is.
    pub field: Field,
    /// The value.
    pub value: String,
    /// Which rule of the policy.
    pub cause: Cause,
}

/// What decided. Kept with refusals: grows by variants at its end only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// A deny rule: its name, its line, and the entry.
    Denied(String, u32, String),
    /// No allow rule covers it: some of those that list its kind, by name, line and whether they apply
    /// here, and how many more there are.
    Uncovered(Vec<(String, u32, bool)>, u32),
    /// It is not understood: why.
    Unknown(String),
    /// No policy permits it, whatever its rules say.
    Never(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, field, value, cause } = self;
        let (key, what) = field.names();
        let value = value::shorten(value);
        match cause {
            Cause::Denied(rule, line, entry) => {
                let entry = value::shorten(entry);
                write!(f, "policy {policy:?}: {what} {value}: denied by rule {rule:?} (line {line}): {entry}")
            }
            Cause::Uncovered(rules, more) => {
                write!(f, "policy {policy:?}: {what} {value}: no allow rule covers it; ")?;
                if rules.is_empty() {
                    return write!(f, "none has `{key}`");
                }
                write!(f, "`{key}` is listed by ")?;
                for (at, (name, line, applies)) in rules.iter().enumerate() {
                    let between = if at > 0 { ", " } else { "" };
                    let whom = if *applies { "" } else { ", for others" };
                    write!(f, "{between}{name:?} (line {line}{whom})")?;
                }
                if *more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            Cause::Unknown(why) => write!(f, "policy {policy:?}: not understood: {}", value::shorten(why)),
            Cause::Never(why) => write!(f, "{what} {value}: {why}"),
        }
    }
}

/// What a policy says of a certificate: allowed if there is no reason against it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// Every value that was refused.
    pub reasons: Vec<Reason>,
}

impl Verdict {
    /// Whether the certificate may be signed.
    pub fn allowed(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl fmt::Display for Verdict {
    /// Every reason, with `; ` between them; of very many, the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        if self.allowed() {
            return f.write_str("allowed");
        }
        for (at, reason) in self.reasons.iter().take(SHOWN).enumerate() {
            let between = if at > 0 { "; " } else { "" };
            write!(f, "{between}{reason}")?;
        }
        match self.reasons.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// The policy in force somewhere, and one that is only tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// Decides.
    pub enforced: Option<Arc<Policy>>,
    /// Changes nothing; what it would have decided is recorded where it differs.
    pub audit: Option<Arc<Policy>>,
}

/// All that a certificate has to pass: both must allow it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policies<'a> {
    /// The authority's.
    pub authority: Option<&'a Pair>,
    /// The provisioner's.
    pub provisioner: Option<&'a Pair>,
}

/// How the policies of one certificate turned out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Judged {
    /// Of all that are in force.
    pub verdict: Verdict,
    /// Of policies that are tried, where they differ from the one in force beside them.
    pub differing: Vec<Differing>,
}

/// A policy that is tried would have decided otherwise. Kept in the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing {
    /// The policy tried.
    pub policy: String,
    /// Why it would refuse what is allowed; none: it would allow what is refused.
    pub reasons: Vec<Reason>,
}

impl Policies<'_> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        let pairs = [self.authority, self.provisioner].into_iter().flatten();
        pairs.into_iter().all(|pair| pair.enforced.is_none() && pair.audit.is_none())
    }

    /// Judges, by what was read or could not be.
    pub fn judge(&self, facts: &Result<Facts, NotUnderstood>, context: &Context) -> Judged {
        let mut judged = Judged::default();
        for pair in [self.authority, self.provisioner].into_iter().flatten() {
            let enforced =
                pair.enforced.as_ref().map(|policy| policy.judge(facts, context)).unwrap_or_default();
            if let Some(audit) = &pair.audit {
                let tried = audit.judge(facts, context);
                if tried.allowed() != enforced.allowed() {
                    judged.differing.push(Differing { policy: audit.name.clone(), reasons: tried.reasons });
                }
            }
            judged.verdict.reasons.extend(enforced.reasons);
        }
        judged
    }
}
