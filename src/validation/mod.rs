//! Validation reaches outward and returns an [`Outcome`]; it stores nothing and decides nothing
//! about orders.
//!
//! | file | what it does |
//! |---|---|
//! | `resolver` | fresh answers from the given servers, or from the system's |
//! | `verdict` | pure: which addresses this CA connects to |
//! | `dial` | the one door for outgoing connections: resolve once, judge, connect to what was judged |
//! | `location` | pure: the URL of a challenge, and where a redirect leads |
//! | `http01` `dns01` `tls_alpn01` `dns_account01` `dns_persist01` | one file per challenge |
//! | `caa` | whether a name's owner lets this CA issue |
//! | `issue_value` | pure: the syntax that CAA and dns-persist-01 records share |
//! | `peer` | TLS towards peers whose certificate chain means nothing |
//!
//! What counts as which failure, where RFC 8555 §6.7 leaves room:
//!
//! - an HTTP status other than 200, other content than the key authorization, other TXT records
//!   or another certificate than the challenge's: [`FailureKind::Unauthorized`];
//! - an answer that is no proof by its form (not HTTP, over 1 KiB, a redirect that is not
//!   followed, a certificate that cannot be read): [`FailureKind::IncorrectResponse`];
//! - the resolver out of reach, silent, or answering SERVFAIL or REFUSED, and this machine out of
//!   sockets: [`Outcome::Inconclusive`], because none of it is the client's doing.

mod caa;
mod dial;
mod dns01;
mod dns_account01;
mod dns_persist01;
#[cfg(test)]
mod fake_dns;
#[cfg(test)]
mod fakes;
#[cfg(test)]
pub(crate) mod fuzz;
mod http01;
mod issue_value;
mod location;
mod peer;
mod resolver;
mod tls_alpn01;
mod verdict;

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;

use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::Identifier;
use crate::time::Timestamp;

pub use caa::{CaaAsk, Consent};
pub use dns_persist01::Persist;
pub use verdict::{Why, verdict};

/// One challenge to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What is to be proved.
    pub identifier: Identifier,
    /// By which challenge.
    pub challenge: ChallengeKind,
    /// The challenge's token (base64url text).
    pub token: String,
    /// `token.thumbprint` (RFC 8555 §8.1).
    pub key_authorization: String,
    /// The account's URL (RFC 8555 §7.3), to the letter as the account has it.
    pub account_url: String,
    /// What dns-persist-01 measures by; other challenges have no use for it.
    pub persist: Option<Persist>,
    /// The names this CA goes by in CAA records, if they are to be looked at.
    pub caa: Option<Vec<String>>,
    /// The time.
    pub now: Timestamp,
}

/// What kind of failure, in the terms of RFC 8555 §6.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Resolution failed.
    Dns,
    /// No connection to the target, or it broke off, or it took too long.
    Connection,
    /// The target's TLS is not what tls-alpn-01 asks for.
    Tls,
    /// The target answered, but refuses or does not have the proof.
    Unauthorized,
    /// The target answered with something else than the proof.
    IncorrectResponse,
    /// The target's address is one that this CA does not connect to.
    Forbidden,
    /// CAA records forbid this CA to issue.
    Caa,
}

/// One failed validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In RFC 8555's terms.
    pub kind: FailureKind,
    /// What was tried, what was seen, what to do; shown to the client. Never carries the key
    /// authorization, and quotes at most a few dozen printable characters of what a target sent.
    pub detail: String,
}

/// The result of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Control is proved.
    Proved,
    /// Control is proved, by what may not be relied on from then on.
    ProvedUntil(Timestamp),
    /// The attempt failed through what the target said or did not have.
    Failed(Failure),
    /// The attempt failed through this CA's own means (its resolver is out of reach): says nothing
    /// about the client, and must never end a challenge.
    Inconclusive(Failure),
}

impl Outcome {
    /// What a trace says of it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Proved | Self::ProvedUntil(_) => "proved",
            Self::Failed(failure) => failure.kind.name(),
            Self::Inconclusive(_) => "inconclusive",
        }
    }
}

impl FailureKind {
    /// What a trace says of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connection => "connection",
            Self::Tls => "tls",
            Self::Unauthorized => "unauthorized",
            Self::IncorrectResponse => "incorrectResponse",
            Self::Forbidden => "forbidden",
            Self::Caa => "caa",
        }
    }
}

/// The settings of this room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// DNS servers to ask, in order; empty for the system's configuration and hosts file.
    pub resolvers: Vec<SocketAddr>,
    /// The port of http-01; RFC 8555 §8.3 wants 80.
    pub http_port: u16,
    /// The port of tls-alpn-01; RFC 8737 §3 wants 443.
    pub tls_alpn_port: u16,
    /// Blocks to connect to although the built-in rules deny them.
    pub allow: Vec<IpNet>,
    /// Blocks never to connect to; stronger than `allow`.
    pub deny: Vec<IpNet>,
    /// What this CA itself listens on; stronger than `allow`. An unspecified address stands for
    /// every address of this machine.
    pub own_listeners: Vec<SocketAddr>,
    /// One attempt in all, from the first DNS query to the last byte.
    pub timeout: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            http_port: 80,
            tls_alpn_port: 443,
            allow: Vec::new(),
            deny: Vec::new(),
            own_listeners: Vec::new(),
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why a validator cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Zero, or so long that an attempt would never end.
    #[error("validation.timeout is {0:?}: give between 1ms and 10m")]
    Timeout(Duration),
    /// No usable resolv.conf.
    #[error("the system's DNS configuration cannot be used ({0}): set validation.resolvers")]
    System(String),
    /// The DNS client refuses its settings.
    #[error("the DNS client cannot be set up: {0}")]
    Resolver(String),
    /// The TLS client refuses its settings.
    #[error("the TLS client cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// The longest attempt that can be asked for.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// What the last resort waits beyond the time of the attempt: every stage ends by itself at the
/// deadline, with a message of its own.
const SLACK: Duration = Duration::from_millis(100);

/// Checks challenges. Cheap to use in parallel; keeps nothing of an attempt.
#[derive(Debug)]
pub struct Validator {
    timeout: Duration,
    door: dial::Door,
    tls: peer::Configs,
}

impl Validator {
    /// Prepares resolver and TLS. Reads the system's DNS configuration once if no resolvers are
    /// given.
    pub fn new(rules: Rules) -> Result<Self, Error> {
        if rules.timeout < Duration::from_millis(1) || rules.timeout > MAX_TIMEOUT {
            return Err(Error::Timeout(rules.timeout));
        }
        let timeout = rules.timeout;
        let resolver = resolver::Lookups::new(&rules.resolvers, timeout)?;
        Ok(Self { timeout, door: dial::Door::new(resolver, rules), tls: peer::Configs::new()? })
    }

    /// One attempt at one challenge, over within the configured timeout. Dropping the future ends
    /// the attempt and closes its connections.
    pub async fn validate(&self, ask: &Ask) -> Outcome {
        let deadline = Instant::now() + self.timeout;
        match tokio::time::timeout_at(deadline + SLACK, self.attempt(ask, deadline)).await {
            Ok(Ok(None)) => Outcome::Proved,
            Ok(Ok(Some(end))) => Outcome::ProvedUntil(end),
            Ok(Err(Stop::Failed(failure))) => Outcome::Failed(failure),
            Ok(Err(Stop::Inconclusive(failure))) => Outcome::Inconclusive(failure),
            Err(_) => Outcome::Failed(Failure {
                kind: FailureKind::Connection,
                detail: format!("the validation took longer than {:?}", self.timeout),
            }),
        }
    }

    async fn attempt(&self, ask: &Ask, deadline: Instant) -> Result<Option<Timestamp>, Stop> {
        let until = self.control(ask, deadline).await?;
        if let Some(identities) = &ask.caa {
            let caa = CaaAsk {
                identifier: ask.identifier.clone(),
                method: Some(ask.challenge),
                account_url: ask.account_url.clone(),
                identities: identities.clone(),
            };
            self.check_caa(&caa, deadline).await?;
        }
        Ok(until)
    }

    async fn control(&self, ask: &Ask, deadline: Instant) -> Result<Option<Timestamp>, Stop> {
        // The token becomes part of a URL; only its own alphabet may (RFC 8555 §8.3).
        if ask.token.is_empty() || !ask.token.bytes().all(is_base64url) {
            return Err(Stop::failed(FailureKind::Unauthorized, "the challenge's token is not base64url"));
        }
        match (ask.challenge, &ask.identifier) {
            (ChallengeKind::Http01, Identifier::Dns(name)) => {
                self.http01(dial::Host::Name(name.clone()), ask, deadline).await
            }
            (ChallengeKind::Http01, Identifier::Ip(ip)) => {
                self.http01(dial::Host::Ip(*ip), ask, deadline).await
            }
            (ChallengeKind::Dns01, Identifier::Dns(name) | Identifier::Wildcard(name)) => {
                self.dns01(name, ask, deadline).await
            }
            (ChallengeKind::DnsAccount01, Identifier::Dns(name) | Identifier::Wildcard(name)) => {
                self.dns_account01(name, ask, deadline).await
            }
            (ChallengeKind::DnsPersist01, Identifier::Dns(name) | Identifier::Wildcard(name)) => {
                return self.dns_persist01(name, ask, deadline).await;
            }
            (ChallengeKind::TlsAlpn01, Identifier::Dns(_) | Identifier::Ip(_)) => {
                self.tls_alpn01(ask, deadline).await
            }
            (ChallengeKind::Http01 | ChallengeKind::TlsAlpn01, Identifier::Wildcard(_))
            | (
                ChallengeKind::Dns01 | ChallengeKind::DnsAccount01 | ChallengeKind::DnsPersist01,
                Identifier::Ip(_),
            )
            | (
                ChallengeKind::Http01
                | ChallengeKind::Dns01
                | ChallengeKind::TlsAlpn01
                | ChallengeKind::DnsAccount01
                | ChallengeKind::DnsPersist01,
                Identifier::Permanent(_),
            )
            // Proved by the response; there is nothing to reach out for.
            | (
                ChallengeKind::DeviceAttest01,
                Identifier::Dns(_) | Identifier::Wildcard(_) | Identifier::Ip(_) | Identifier::Permanent(_),
            ) => Err(Stop::failed(
                FailureKind::Unauthorized,
                format!("{} cannot prove control of {}", ask.challenge.name(), ask.identifier),
            )),
        }
        .map(|()| None)
    }
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Why an attempt ended without proof.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stop {
    Failed(Failure),
    Inconclusive(Failure),
}

impl Stop {
    fn failed(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self::Failed(Failure { kind, detail: detail.into() })
    }

    fn inconclusive(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self::Inconclusive(Failure { kind, detail: detail.into() })
    }
}

/// SHA-256; of a key authorization, what dns-01 and tls-alpn-01 show.
fn sha256(bytes: impl AsRef<[u8]>) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes.as_ref());
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// How much of a target's answer a detail quotes.
const QUOTED: usize = 64;

/// What a target sent, fit for a detail: printable ASCII, short, and without `secret`.
fn quote(sent: &[u8], secret: &str) -> String {
    let text = String::from_utf8_lossy(sent);
    // The expected value first: a cut might otherwise leave most of it standing.
    let text = if secret.is_empty() { text } else { text.replace(secret, "[the expected value]").into() };
    let mut quoted: String =
        text.chars().take(QUOTED).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '.' }).collect();
    if text.chars().nth(QUOTED).is_some() {
        quoted.push_str("...");
    }
    quoted
}

#[cfg(test)]
mod tests;
