//! Renewal information (RFC 9773): which certificate is meant, and when it is to be renewed.
//!
//! A window is a pure function of the certificate and of its standing: nothing is stored, every
//! server of a fleet answers the same, and clients that ask twice hear the same. Where in its life a
//! certificate's window lies is drawn from a hash of its serial number, so that a fleet that was
//! issued at one moment comes back spread evenly over [`SPREAD`] of its life and not at one moment.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::jose::{base64url, from_base64url};
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// The first windows begin when so many tenths of a life are over.
const FIRST: u64 = 6;

/// Windows begin within this part of a life, that after the first six tenths: one over this.
pub const SPREAD: u64 = 10;

/// A window is this part of a life, one over this; so the last one ends at 0.72 of it, and the
/// middle of all lies at 0.66.
const WIDTH: u64 = 50;

/// How often a client asks at most: RFC 9773 §4.3.2 has it in its example, and so do the CAs that
/// clients know.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);

/// The part of a life after which a client asks again at the latest, one over this: a certificate
/// of five minutes is asked for sooner than every six hours, and a revocation is heard of in time.
const PAUSE: u32 = 4;

/// Which certificate is meant (RFC 9773 §4.1): one that this server's issuers may have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CertId {
    /// The keyIdentifier of its authority key identifier.
    pub issuer: [u8; 20],
    /// Its serial number.
    pub serial: Serial,
}

/// Why a text is no identifier of a certificate of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertIdError {
    /// It is none at all; which rule it breaks.
    #[error("{0}")]
    Malformed(&'static str),
    /// It is one, but of a form that no certificate of this server has.
    #[error("no certificate of this server is identified by it")]
    Foreign,
}

impl CertId {
    /// Parses `base64url(keyIdentifier).base64url(serial)`: both without padding or stray bits, the
    /// serial as the content of a DER INTEGER. One certificate has one spelling.
    pub fn parse(text: &str) -> Result<Self, CertIdError> {
        let malformed = CertIdError::Malformed;
        let (issuer, serial) = text
            .split_once('.')
            .ok_or(malformed("must be a key identifier and a serial number with a full stop between"))?;
        let issuer = from_base64url(issuer).filter(|bytes| !bytes.is_empty());
        let issuer = issuer.ok_or(malformed("its key identifier is not base64url without padding"))?;
        let serial = from_base64url(serial);
        let serial = serial.ok_or(malformed("its serial number is not base64url without padding"))?;
        match serial.as_slice() {
            [] | [0] => return Err(malformed("its serial number is zero or missing")),
            [0x80..=0xff, ..] => {
                return Err(malformed("its serial number is negative: a zero byte is missing"));
            }
            [0, 0..=0x7f, ..] => {
                return Err(malformed("its serial number has a zero byte that DER does not have"));
            }
            _ => {}
        }
        match (<[u8; 20]>::try_from(issuer), Serial::from_bytes(&serial)) {
            (Ok(issuer), Some(serial)) => Ok(Self { issuer, serial }),
            (Err(_), _) | (_, None) => Err(CertIdError::Foreign),
        }
    }
}

impl fmt::Display for CertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", base64url(&self.issuer), base64url(self.serial.as_bytes()))
    }
}

/// That certificates are called over before their time, because another issuer signs or because the
/// operator wants it: since when, and over how long they are to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Since when.
    pub since: Timestamp,
    /// Over how long, evenly.
    pub over: Duration,
}

/// A called window is this part of what the call takes, one over this, if it is not narrower anyway: or
/// the last ones would end long after.
const CALLED_WIDTH: u32 = 20;

impl Call {
    /// When the window of a certificate begins, if it would not begin earlier anyway.
    pub fn begin(self, serial: &Serial) -> Timestamp {
        let millis = u64::try_from(self.over.as_millis()).unwrap_or(u64::MAX);
        self.since + Duration::from_millis(place(serial, millis))
    }

    fn width(self, usual: Duration) -> Duration {
        Duration::from_secs((self.over / CALLED_WIDTH).as_secs().max(1)).min(usual)
    }
}

/// Whether a text is an http or https URL that clients may be shown (RFC 9773 §4.2, RFC 8555 §7.1.1).
pub fn is_explanation(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let clean =
        text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b));
    clean && rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
}

/// When to renew, and when to ask again (RFC 9773 §4.2, §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The window's beginning; whole seconds.
    pub start: Timestamp,
    /// Its end, later than its beginning; whole seconds.
    pub end: Timestamp,
    /// After how long a client shall ask again; whole seconds, never zero.
    pub ask_again: Duration,
    /// Whether the window was moved to the past because the certificate is revoked.
    pub revoked: bool,
}

/// The renewal information of a certificate at `now`. `revoked` is when it was revoked, `call` that it is
/// called over, which makes its window begin no later than it would have.
pub fn renewal(
    not_before: Timestamp,
    not_after: Timestamp,
    serial: &Serial,
    revoked: Option<Timestamp>,
    call: Option<Call>,
    now: Timestamp,
) -> Renewal {
    let life = not_after.since(not_before);
    let millis = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    let width = Duration::from_secs((millis / WIDTH / 1000).max(1));
    let usual = begin(not_before, not_after, serial);
    let (start, width) = match (revoked, call.filter(|call| call.begin(serial) < usual)) {
        // In the past altogether, whatever the clock did since: RFC 9773 has clients renew at once.
        (Some(at), _) => (at.min(now) - width, width),
        (None, Some(call)) => (call.begin(serial), call.width(width)),
        (None, None) => (usual, width),
    };
    let start = start.whole_seconds();
    let end = start + width;
    let longest = longest_pause(life);
    // So short only where it leads into the window all the same.
    let shortest = (width / 2).clamp(Duration::from_secs(1), Duration::from_secs(60)).min(longest);
    let until_next = match (now < start, now < end) {
        (true, _) => start.since(now),
        (false, true) => end.since(now),
        (false, false) => longest,
    };
    let ask_again = until_next.clamp(shortest, longest);
    Renewal {
        start,
        end,
        ask_again: Duration::from_secs(ask_again.as_millis().div_ceil(1000) as u64),
        revoked: revoked.is_some(),
    }
}

/// When the window of a certificate begins that nobody calls over.
pub fn begin(not_before: Timestamp, not_after: Timestamp, serial: &Serial) -> Timestamp {
    let millis = u64::try_from(not_after.since(not_before).as_millis()).unwrap_or(u64::MAX);
    let first = Duration::from_millis(millis / 10 * FIRST);
    not_before + first + Duration::from_millis(place(serial, millis / SPREAD))
}

/// After how long a client asks again that keeps to what it was told, while its window is far.
pub fn longest_pause(life: Duration) -> Duration {
    (life / PAUSE).clamp(Duration::from_secs(1), LONGEST_PAUSE)
}

/// A number below `range`, each as likely as the others, always the same for one serial number. Hashed, so
/// that nothing depends on how serial numbers are made up.
fn place(serial: &Serial, range: u64) -> u64 {
    let hash = digest(&SHA256, serial.as_bytes());
    let mut eight = [0; 8];
    eight.copy_from_slice(&hash.as_ref()[..8]);
    let scaled = (u128::from(u64::from_be_bytes(eight)) * u128::from(range)) >> 64;
    u64::try_from(scaled).unwrap_or(range)
}

#[cfg(test)]
mod tests;
