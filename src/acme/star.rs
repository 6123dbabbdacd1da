//! Orders whose certificates are renewed by the server (RFC 8739, STAR): what is offered, what is
//! asked for, and the schedule that follows from it.
//!
//! The schedule is a function of the order and of the moment its first certificate was due; nothing
//! of it is stored but that moment. The server pads by two thirds of the lifetime (f of RFC 8739
//! §3.5), so the next certificate is there when a third of the nominal lifetime is over: a sixth of
//! it before the RFC's last moment, and two thirds before the certificate in use ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{ErrorKind, Refusal, StoredProblem};
use super::order::PAST_NOT_BEFORE;
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// How long an order is kept after its renewal has ended, so that its certificate's URL can say why
/// there is none.
pub const KEPT_AFTER_END: Duration = Duration::from_secs(7 * 86_400);

/// The longest pause between two attempts to renew, and the shortest.
const PAUSES: (u64, u64) = (1, 600);

/// What a provisioner offers (RFC 8739 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The shortest `lifetime`.
    pub min_lifetime: Duration,
    /// The longest time from `start-date` to `end-date`.
    pub max_duration: Duration,
    /// Whether an order may have its certificate read by an unauthenticated GET.
    pub allow_certificate_get: bool,
}

/// newOrder's `auto-renewal` (RFC 8739 §3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// `start-date`
    pub start: Option<Timestamp>,
    /// `end-date`
    pub end: Timestamp,
    /// `lifetime`, seconds.
    pub lifetime: u64,
    /// `lifetime-adjust`, seconds.
    pub lifetime_adjust: u64,
    /// `allow-certificate-get`
    pub allow_certificate_get: bool,
}

/// What was agreed; kept with the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoRenewal {
    /// The first certificate does not begin before; `None`: when the order is finalized.
    pub start: Option<Timestamp>,
    /// No certificate ends after.
    pub end: Timestamp,
    /// Nominal lifetime of a certificate, seconds; not zero.
    pub lifetime: u64,
    /// By how much notBefore precedes the nominal renewal date, seconds: two thirds of the lifetime at
    /// least, the whole lifetime at most.
    pub lifetime_adjust: u64,
    /// Whether the certificate may be read by an unauthenticated GET.
    pub allow_certificate_get: bool,
    /// The order is not removed before, since authorizations proved in it may be used again.
    pub keep: Timestamp,
    /// When the order is to be looked at next; its row in the table of renewals stands there.
    pub due: Timestamp,
}

/// The facts of a renewal that goes on, or has gone on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewing {
    /// The CSR's DER: every certificate is for its key.
    pub csr: Vec<u8>,
    /// The first nominal renewal date, `nrd[0]`.
    pub first: Timestamp,
    /// The certificate issued last.
    pub current: Option<Current>,
    /// Attempts to issue the next one that failed, since one did not.
    pub failures: u32,
    /// Why the last attempt was refused, if it was.
    pub refused: Option<StoredProblem>,
    /// When it was cancelled, by its owner or for good reason.
    pub canceled: Option<Timestamp>,
}

/// A certificate of the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// Its place in the series, from 0.
    pub index: u64,
    /// Its serial number.
    pub serial: Serial,
    /// When it ends.
    pub not_after: Timestamp,
}

/// The validity of one certificate of the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its place in the series, from 0.
    pub index: u64,
    /// When it begins; also when it is published, but for the first.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

/// What to do about a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Nothing before then.
    Wait(Timestamp),
    /// Issue this certificate; whichever were missed before it are of no use any more.
    Issue(Period),
    /// Nothing any more.
    Rest,
}

/// What is subtracted from a nominal renewal date: max(adjust_client, adjust_server) of RFC 8739 §3.5,
/// seconds.
fn adjustment(lifetime: u64, asked: u64) -> u64 {
    let server = lifetime - lifetime / 3;
    asked.min(lifetime).max(server)
}

/// The lifetime of a certificate from notBefore to notAfter, of which the nominal one is a part.
pub fn effective_lifetime(lifetime: Duration, lifetime_adjust: Duration) -> Duration {
    let lifetime = lifetime.as_secs();
    Duration::from_secs(lifetime.saturating_add(adjustment(lifetime, lifetime_adjust.as_secs())))
}

impl Ask {
    /// Checks what is asked for against what is offered. `longest` is the longest certificate of the
    /// provisioner, `issuer_end` the issuer's own end. The result is not yet due.
    pub fn accept(
        self,
        offer: Option<&Offer>,
        longest: Duration,
        issuer_end: Timestamp,
        now: Timestamp,
    ) -> Result<AutoRenewal, Refusal> {
        let Some(offer) = offer else {
            return Err(Refusal::malformed("auto-renewal: is not offered by this provisioner"));
        };
        let least = offer.min_lifetime.as_secs().max(1);
        if self.lifetime < least {
            let detail = format!("auto-renewal.lifetime: must be at least {least} seconds");
            return Err(Refusal::malformed(detail));
        }
        let (lifetime, adjust) =
            (Duration::from_secs(self.lifetime), Duration::from_secs(self.lifetime_adjust));
        let effective = effective_lifetime(lifetime, adjust).as_secs();
        if effective > longest.as_secs() {
            let detail = format!(
                "auto-renewal.lifetime: with what certificates are pre-dated by they would live {effective} \
                 seconds; at most {} are accepted",
                longest.as_secs()
            );
            return Err(Refusal::malformed(detail));
        }
        let start = self.start.unwrap_or(now);
        if start < now - PAST_NOT_BEFORE {
            return Err(Refusal::malformed("auto-renewal.start-date: lies more than 5 minutes in the past"));
        }
        let most = offer.max_duration.as_secs();
        if start > now + offer.max_duration {
            let detail = format!("auto-renewal.start-date: lies more than {most} seconds ahead");
            return Err(Refusal::malformed(detail));
        }
        if self.end <= now || self.end <= start {
            return Err(Refusal::malformed("auto-renewal.end-date: must lie ahead, and after start-date"));
        }
        if self.end.since(start) > offer.max_duration {
            let detail =
                format!("auto-renewal.end-date: must lie at most {most} seconds after the start-date");
            return Err(Refusal::malformed(detail));
        }
        if self.end > issuer_end {
            let detail = format!("auto-renewal.end-date: lies beyond the issuer's own end, {issuer_end}");
            return Err(Refusal::malformed(detail));
        }
        Ok(AutoRenewal {
            start: self.start.map(Timestamp::whole_seconds),
            end: self.end.whole_seconds(),
            lifetime: self.lifetime,
            lifetime_adjust: adjustment(self.lifetime, self.lifetime_adjust),
            // Not reflected unless it is accepted (RFC 8739 §3.4).
            allow_certificate_get: self.allow_certificate_get && offer.allow_certificate_get,
            keep: now,
            due: now,
        })
    }
}

impl AutoRenewal {
    /// The first nominal renewal date of an order that is finalized at `now`.
    pub fn first(&self, now: Timestamp) -> Timestamp {
        let now = now.whole_seconds();
        self.start.map_or(now, |start| start.max(now))
    }

    /// The validity of the first certificate of an order that is finalized at `now`.
    pub fn first_period(&self, now: Timestamp) -> Result<Period, Refusal> {
        self.period(self.first(now), 0)
            .ok_or_else(|| Refusal::new(ErrorKind::AutoRenewalExpired, "the order's end-date has passed"))
    }

    /// How long a certificate lives, at most.
    pub fn effective_lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime.saturating_add(self.lifetime_adjust))
    }

    /// `nrd[index]`, if it lies before the end.
    fn nominal(&self, first: Timestamp, index: u64) -> Option<Timestamp> {
        let nominal = first + Duration::from_secs(self.lifetime.saturating_mul(index));
        (nominal < self.end).then_some(nominal)
    }

    /// The validity of a certificate of the series (RFC 8739 §3.5); `None` behind its end.
    pub fn period(&self, first: Timestamp, index: u64) -> Option<Period> {
        let nominal = self.nominal(first, index)?;
        let begins = nominal - Duration::from_secs(self.lifetime_adjust);
        let ends = nominal + Duration::from_secs(self.lifetime);
        Some(Period {
            index,
            // Where no start-date was given, it is the moment the order is finalized.
            not_before: begins.max(self.start.unwrap_or(first)),
            not_after: ends.min(self.end),
        })
    }

    /// When a certificate of the series is published; `None` behind its end.
    pub fn published(&self, first: Timestamp, index: u64) -> Option<Timestamp> {
        if index == 0 { self.nominal(first, 0) } else { Some(self.period(first, index)?.not_before) }
    }

    /// The certificate to have at `now`: the latest published. `None` before the first and from the end
    /// on.
    pub fn latest(&self, first: Timestamp, now: Timestamp) -> Option<Period> {
        if now < first || now >= self.end {
            return None;
        }
        let since = now.since(first).as_secs().saturating_add(self.lifetime_adjust);
        let lifetime = self.lifetime.max(1);
        let last = self.end.since(first).as_secs().saturating_sub(1) / lifetime;
        self.period(first, (since / lifetime).min(last))
    }

    /// When the order can go, its renewal having ended or been cancelled.
    pub fn removal(&self, state: &Renewing) -> Timestamp {
        let ended = match (state.canceled, &state.current) {
            (None, _) => self.end,
            (Some(at), None) => at,
            (Some(at), Some(current)) => at.max(current.not_after),
        };
        (ended + KEPT_AFTER_END).max(self.keep).whole_seconds()
    }
}

impl Renewing {
    /// What is to be done at `now`.
    pub fn next_move(&self, agreed: &AutoRenewal, now: Timestamp) -> Move {
        if self.canceled.is_some() || now >= agreed.end {
            return Move::Rest;
        }
        let Some(latest) = agreed.latest(self.first, now) else { return Move::Wait(self.first) };
        match &self.current {
            Some(current) if current.index >= latest.index => {
                agreed.published(self.first, current.index + 1).map_or(Move::Rest, Move::Wait)
            }
            Some(_) | None => Move::Issue(latest),
        }
    }

    /// Whether somebody who reads the certificate at `now` is to have the next one made first: it is due,
    /// or a clock that was wrong has put it off. What has failed waits for its time.
    pub fn is_overdue(&self, agreed: &AutoRenewal, now: Timestamp) -> bool {
        let missing = matches!(self.next_move(agreed, now), Move::Issue(_));
        missing && (agreed.due <= now || self.failures == 0)
    }

    /// When to look again, after whatever was to be done at `now` has been done. Always ahead.
    pub fn due(&self, agreed: &AutoRenewal, now: Timestamp) -> Timestamp {
        let soonest = now.whole_seconds() + Duration::from_secs(1);
        match self.next_move(agreed, now) {
            Move::Wait(at) => at.max(soonest),
            Move::Issue(_) => soonest,
            Move::Rest => agreed.removal(self).max(soonest),
        }
    }

    /// When to try again after `failures` failed attempts in a row: soon, then less and less often, and
    /// yet some dozen times before the certificate in use ends.
    pub fn retry(&self, agreed: &AutoRenewal, now: Timestamp) -> Timestamp {
        let (shortest, longest) = PAUSES;
        let doubled = 5u64.saturating_mul(1 << self.failures.min(16));
        let pause = doubled.min(agreed.lifetime / 24).min(longest).max(shortest);
        now.whole_seconds() + Duration::from_secs(pause)
    }
}

#[cfg(test)]
mod tests;
