//! What a verb asks of the limits before it acts, and tells them afterwards.

use aws_lc_rs::digest::{SHA256, digest};

use super::{Error, Service};
use crate::acme::error::Refusal;
use crate::acme::identifier::Identifier;
use crate::acme::order::Order;
use crate::id::AccountId;
use crate::limits::keyed::Key;
use crate::limits::{Limit, Limiter, Source};
use crate::provisioner::acme::Terms;
use crate::time::Timestamp;

/// The key of a set of names, in whatever order they come.
fn name_set<'a>(names: impl Iterator<Item = &'a Identifier>) -> Key {
    let mut lines: Vec<String> =
        names.map(|name| format!("{}:{}\n", name.kind(), name.order_value())).collect();
    lines.sort();
    let mut key = Key::default();
    key.copy_from_slice(&digest(&SHA256, lines.concat().as_bytes()).as_ref()[..16]);
    key
}

/// One that was taken of a limit; given back when dropped, unless it was used.
pub(super) struct Taken<'a> {
    limiter: &'a Limiter,
    limit: Limit,
    key: Key,
    from: Source,
    now: Timestamp,
    used: bool,
}

impl Taken<'_> {
    /// What it was taken for has happened.
    pub(super) fn used(mut self) {
        self.used = true;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.limiter.give_back(self.limit, &self.key, &self.from, self.now);
        }
    }
}

impl Service {
    fn taken(&self, limit: Limit, key: Key, from: Source, now: Timestamp) -> Result<Taken<'_>, Error> {
        self.limits.take(limit, &key, &from, now)?;
        Ok(Taken { limiter: &self.limits, limit, key, from, now, used: false })
    }

    /// Whether an account may open this order now; if so, it is counted.
    pub(super) fn admit_order<'a>(
        &self,
        terms: &Terms,
        account: AccountId,
        names: impl Iterator<Item = &'a Identifier>,
        from: Source,
        now: Timestamp,
    ) -> Result<(), Error> {
        if !from.exempt {
            // Counted when it is issued: whoever cannot prove the names takes nothing from who can.
            self.limits.peek(Limit::NameSetCertificates, &name_set(names), &from, now)?;
        }
        let of_network = self.taken(Limit::NetworkOrders, from.network, from, now)?;
        let of_account = self.taken(Limit::AccountOrders, *account.as_bytes(), from, now)?;
        self.limits.open(account.as_bytes(), terms.order_ttl, &from, now)?;
        of_network.used();
        of_account.used();
        Ok(())
    }

    /// Whether there may be one more certificate for the order's names.
    pub(super) fn admit_certificate(
        &self,
        order: &Order,
        from: Source,
        now: Timestamp,
    ) -> Result<Taken<'_>, Error> {
        let key = if from.exempt { Key::default() } else { name_set(order.identifiers()) };
        self.taken(Limit::NameSetCertificates, key, from, now)
    }

    /// Whether an account may try once more what may fail: a validation, or a certificate that policy may
    /// refuse.
    pub(super) fn admit_attempt(
        &self,
        account: AccountId,
        from: Source,
        now: Timestamp,
    ) -> Result<(), Error> {
        Ok(self.limits.peek(Limit::AccountFailures, account.as_bytes(), &from, now)?)
    }

    /// Counts a certificate that policy refused: each is a record, and the order is as ready as before.
    pub(super) fn refused_by_policy(&self, account: AccountId, refusal: Refusal, now: Timestamp) -> Error {
        self.limits.charge(Limit::AccountFailures, account.as_bytes(), now);
        Error::Refused(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_names_have_no_order_and_no_seams() {
        let key = |names: &[&str]| {
            let names: Vec<Identifier> =
                names.iter().map(|name| Identifier::parse_dns(name).unwrap()).collect();
            name_set(names.iter())
        };
        assert_eq!(key(&["a.test", "b.test"]), key(&["b.test", "a.test"]));
        assert_ne!(key(&["a.test", "b.test"]), key(&["a.test"]));
        assert_ne!(key(&["a.test"]), key(&["*.a.test"]));
    }
}
