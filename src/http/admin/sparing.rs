//! Log lines that others bring about, as often as they like: a few a minute, and then how many there were.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::time::Timestamp;

/// So many lines in so long.
const MOST: u32 = 5;
const SPAN: Duration = Duration::from_secs(60);

/// What is logged sparingly.
#[derive(Debug, Default)]
pub(super) struct Sparing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    since: Option<Timestamp>,
    lines: u32,
    passed_over: u64,
}

impl Sparing {
    /// Whether one more may be logged; if so, how many were not since the last one that was.
    pub(super) fn may(&self, now: Timestamp) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Over a clock that was set back, too.
        if state.since.is_none_or(|since| now.since(since) >= SPAN || now < since) {
            (state.since, state.lines) = (Some(now), 0);
        }
        if state.lines == MOST {
            state.passed_over = state.passed_over.saturating_add(1);
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.passed_over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_a_minute_and_the_rest_by_number() {
        let sparing = Sparing::default();
        let at = |secs| sparing.may(Timestamp::from_secs(secs));
        let told: Vec<_> =
            (100..200).map(|second| (second, at(second))).filter(|one| one.1.is_some()).collect();
        let (first, rest) = told.split_at(5);
        assert_eq!(first, (100..105).map(|second| (second, Some(0))).collect::<Vec<_>>());
        assert_eq!(rest[0], (160, Some(55)));
        assert_eq!(rest[1..], (161..165).map(|second| (second, Some(0))).collect::<Vec<_>>());
        assert_eq!(at(50), Some(35));
        assert_eq!(at(1000), Some(0));
    }
}
