//! Subdomain authorizations (RFC 9444): proof of control of an ancestor that counts for the names
//! below it.
//!
//! Such an authorization is proved by what can prove a wildcard of the ancestor, and asked for as
//! that ([`asked_as`]): a challenge that tells one name from all names below it (dns-persist-01 does)
//! must say yes to all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{ErrorKind, Refusal, Subproblem};
use super::identifier::{DnsName, Identifier};
use super::order::{Order, OrderDetails, RawIdentifier, Slot};

/// How many names above one are looked at for a proof that counts for it; nearest first.
pub const MAX_ANCESTORS: usize = 8;

/// One identifier of an order, and the slot that authorizes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// What the certificate will name.
    pub identifier: Identifier,
    /// By which of the order's slots it is authorized.
    pub slot: u16,
}

/// Whether `name` stands for names below `ancestor` only: a name under it, or the wildcard of it or
/// of a name under it.
pub fn is_below(name: &Identifier, ancestor: &Identifier) -> bool {
    let Identifier::Dns(ancestor) = ancestor else { return false };
    let under = |name: &DnsName| {
        name.as_str()
            .strip_suffix(ancestor.as_str())
            .is_some_and(|head| head.len() > 1 && head.ends_with('.'))
    };
    match name {
        Identifier::Dns(name) => under(name),
        Identifier::Wildcard(base) => base == ancestor || under(base),
        Identifier::Ip(_) | Identifier::Permanent(_) => false,
    }
}

/// The names that `name` is below, nearest first, at most [`MAX_ANCESTORS`].
pub fn ancestors(name: &Identifier) -> Vec<Identifier> {
    let (base, itself) = match name {
        Identifier::Dns(base) => (base, None),
        Identifier::Wildcard(base) => (base, Some(base.clone())),
        Identifier::Ip(_) | Identifier::Permanent(_) => return Vec::new(),
    };
    let mut rest = base.as_str();
    let above = std::iter::from_fn(|| {
        rest = rest.split_once('.')?.1;
        DnsName::parse(rest).ok()
    });
    itself.into_iter().chain(above).take(MAX_ANCESTORS).map(Identifier::Dns).collect()
}

/// What validation asks for, for an authorization of `identifier` that counts for all names below it.
pub fn asked_as(identifier: &Identifier) -> Identifier {
    match identifier {
        Identifier::Dns(name) | Identifier::Wildcard(name) => Identifier::Wildcard(name.clone()),
        other @ (Identifier::Ip(_) | Identifier::Permanent(_)) => other.clone(),
    }
}

/// A provisioner's verdict on a name; the rule it breaks.
pub type Verdict<'a> = dyn Fn(&Identifier) -> Result<(), String> + 'a;

/// The ancestors that a client names in newOrder (RFC 9444 §4.3), by the identifier they are for.
/// `allowed` is the provisioner's verdict on an ancestor; `None` if it takes none at all.
pub fn read_ancestors(
    raw: &[RawIdentifier],
    allowed: Option<&Verdict<'_>>,
) -> Result<BTreeMap<Identifier, Identifier>, Refusal> {
    let (mut named, mut problems) = (BTreeMap::new(), Vec::new());
    for raw in raw {
        let Some(ancestor) = &raw.ancestor else { continue };
        match read_ancestor(raw, ancestor, allowed) {
            Ok((identifier, ancestor)) => {
                let other = named.insert(identifier, ancestor.clone());
                if other.is_some_and(|other| other != ancestor) {
                    problems.push(problem(
                        raw,
                        ErrorKind::Malformed,
                        "is there twice with two ancestors".into(),
                    ));
                }
            }
            Err((kind, detail)) => problems.push(problem(raw, kind, detail)),
        }
    }
    match problems.as_slice() {
        [] => Ok(named),
        [first, rest @ ..] => {
            let one_kind = rest.iter().all(|other| other.kind == first.kind);
            let kind = if one_kind { first.kind } else { ErrorKind::Malformed };
            let detail = format!("identifier {:?}: {}", first.identifier.1, first.detail).into();
            Err(Refusal { kind, detail, subproblems: problems })
        }
    }
}

fn problem(raw: &RawIdentifier, kind: ErrorKind, detail: String) -> Subproblem {
    Subproblem { kind, detail, identifier: (raw.kind.clone(), raw.value.clone()) }
}

fn read_ancestor(
    raw: &RawIdentifier,
    ancestor: &str,
    allowed: Option<&Verdict<'_>>,
) -> Result<(Identifier, Identifier), (ErrorKind, String)> {
    let malformed = |detail: String| (ErrorKind::Malformed, format!("ancestorDomain: {detail}"));
    let rejected = |detail: String| (ErrorKind::RejectedIdentifier, format!("ancestorDomain: {detail}"));
    let Some(allowed) = allowed else {
        return Err(rejected("subdomain authorization is not offered by this provisioner".into()));
    };
    let identifier =
        Identifier::parse(&raw.kind, &raw.value).map_err(|error| malformed(error.to_string()))?;
    let ancestor = DnsName::parse(ancestor).map_err(|error| malformed(error.to_string()))?;
    let ancestor = Identifier::Dns(ancestor);
    if !is_below(&identifier, &ancestor) {
        return Err(malformed(format!("{ancestor} is not an ancestor of {identifier}")));
    }
    allowed(&ancestor).map_err(rejected)?;
    Ok((identifier, ancestor))
}

impl OrderDetails {
    /// Whether the authorization in that slot counts for the names below its own.
    pub fn counts_below(&self, slot: u16) -> bool {
        self.subdomains.contains(&slot)
    }
}

impl Order {
    /// Whether every identifier is authorized by a slot of its own, or, where the provisioner takes
    /// that (`subdomains`), by one above it.
    pub fn check_coverage(&self, subdomains: bool) -> Result<(), Refusal> {
        for Named { identifier, slot } in &self.details.names {
            let by = self.slots.get(usize::from(*slot)).map(Slot::identifier);
            let covered = by.is_some_and(|by| {
                by == identifier
                    || (subdomains && self.details.counts_below(*slot) && is_below(identifier, by))
            });
            if !covered {
                let detail =
                    format!("no authorization of the order counts for {identifier}: open a new order");
                return Err(Refusal::unauthorized(detail));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(text: &str) -> Identifier {
        Identifier::parse_dns(text).unwrap()
    }

    #[test]
    fn what_is_below_what() {
        let rows = [
            ("a.example.test", "example.test", true),
            ("b.a.example.test", "example.test", true),
            ("*.example.test", "example.test", true),
            ("*.a.example.test", "example.test", true),
            ("example.test", "example.test", false),
            ("xexample.test", "example.test", false),
            ("example.test", "a.example.test", false),
            ("*.test", "example.test", false),
            ("example.test.other", "example.test", false),
        ];
        for (name, ancestor, want) in rows {
            assert_eq!(is_below(&dns(name), &dns(ancestor)), want, "{name} below {ancestor}");
            // Every ancestor that is looked for is one, and the other way round.
            assert_eq!(ancestors(&dns(name)).contains(&dns(ancestor)), want, "{name} under {ancestor}");
        }
        let ip = Identifier::parse_ip("10.0.0.1").unwrap();
        assert!(!is_below(&ip, &dns("example.test")) && !is_below(&dns("a.test"), &ip));
        assert!(!is_below(&dns("a.example.test"), &dns("*.example.test")));
        assert!(ancestors(&ip).is_empty());
    }

    #[test]
    fn ancestors_come_nearest_first_and_are_bounded() {
        let names = |of: &str| ancestors(&dns(of)).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names("c.b.a.test"), ["b.a.test", "a.test", "test"]);
        assert_eq!(names("*.a.test"), ["a.test", "test"]);
        assert!(names("test").is_empty());
        let deep = vec!["x"; 100].join(".");
        assert_eq!(names(&deep).len(), MAX_ANCESTORS);
    }

    /// A record that lost its proofs, or names another slot, gets nothing signed.
    #[test]
    fn names_without_a_slot_that_counts_for_them_are_refused() {
        use crate::acme::order::{Authorization, Finish};
        use crate::id::AccountId;
        use crate::time::Timestamp;
        let slot = |name: &str| {
            let (identifier, expires) = (dns(name), Timestamp::EPOCH);
            Slot::Own(Authorization { identifier, expires, deactivated: false, challenges: Vec::new() })
        };
        let order = |subdomains: &[u16], names: &[(&str, u16)]| Order {
            account: AccountId::new([1; 16]),
            provisioner: "acme".into(),
            created: Timestamp::EPOCH,
            expires: Timestamp::EPOCH,
            not_before: None,
            not_after: None,
            slots: vec![slot("example.test"), slot("other.test")],
            finish: Finish::Open,
            details: OrderDetails {
                subdomains: subdomains.to_vec(),
                names: names
                    .iter()
                    .map(|(name, slot)| Named { identifier: dns(name), slot: *slot })
                    .collect(),
                ..OrderDetails::default()
            },
        };
        type Names<'a> = &'a [(&'a str, u16)];
        let rows: [(&[u16], Names<'_>, bool, bool); 8] = [
            (&[], &[], true, true),
            (&[], &[("other.test", 1), ("example.test", 0)], true, true),
            (&[0], &[("a.example.test", 0), ("*.example.test", 0), ("other.test", 1)], true, false),
            (&[1], &[("a.example.test", 0)], false, false),
            (&[], &[("a.example.test", 0)], false, false),
            (&[0], &[("a.other.test", 0)], false, false),
            (&[0], &[("test", 0)], false, false),
            (&[0, 9], &[("a.example.test", 9)], false, false),
        ];
        for (subdomains, names, opted_in, without) in rows {
            let order = order(subdomains, names);
            assert_eq!(order.check_coverage(true).is_ok(), opted_in, "{names:?}");
            assert_eq!(order.check_coverage(false).is_ok(), without, "{names:?}");
            let shown: Vec<_> = order.identifiers().map(ToString::to_string).collect();
            let want: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            assert_eq!(shown, if want.is_empty() { vec!["example.test", "other.test"] } else { want });
        }
    }

    #[test]
    fn ancestors_that_clients_name() {
        let raw = |value: &str, ancestor: Option<&str>| RawIdentifier {
            kind: "dns".into(),
            value: value.into(),
            ancestor: ancestor.map(str::to_owned),
        };
        let allowed = |ancestor: &Identifier| {
            if *ancestor == dns("secret.test") { Err("is denied".to_owned()) } else { Ok(()) }
        };
        let read = |raws: &[RawIdentifier]| read_ancestors(raws, Some(&allowed));
        let good = read(&[raw("a.b.test", Some("B.test")), raw("c.test", None)]).unwrap();
        assert_eq!(good, BTreeMap::from([(dns("a.b.test"), dns("b.test"))]));
        let rows = [
            (raw("b.test", Some("b.test")), ErrorKind::Malformed),
            (raw("b.test", Some("a.b.test")), ErrorKind::Malformed),
            (raw("ab.test", Some("b.test")), ErrorKind::Malformed),
            (raw("a.b.test", Some("*.b.test")), ErrorKind::Malformed),
            (raw("a.b.test", Some("")), ErrorKind::Malformed),
            (raw("a.secret.test", Some("secret.test")), ErrorKind::RejectedIdentifier),
        ];
        for (row, kind) in rows {
            let refusal = read(std::slice::from_ref(&row)).unwrap_err();
            assert_eq!((refusal.kind, refusal.subproblems.len()), (kind, 1), "{row:?}");
        }
        let ip =
            RawIdentifier { kind: "ip".into(), value: "10.0.0.1".into(), ancestor: Some("b.test".into()) };
        assert_eq!(read(&[ip]).unwrap_err().kind, ErrorKind::Malformed);
        let two = [raw("a.b.c.test", Some("b.c.test")), raw("a.b.c.test", Some("c.test"))];
        assert_eq!(read(&two).unwrap_err().kind, ErrorKind::Malformed);
        // Several at once are all told.
        let several = [raw("a.secret.test", Some("secret.test")), raw("x.test", Some("y.test"))];
        let refusal = read(&several).unwrap_err();
        assert_eq!((refusal.kind, refusal.subproblems.len()), (ErrorKind::Malformed, 2));
        // Not opted in: refused, not passed over; without any, nothing is asked.
        let refusal = read_ancestors(&[raw("a.b.test", Some("b.test"))], None).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::RejectedIdentifier);
        assert!(read_ancestors(&[raw("a.b.test", None)], None).unwrap().is_empty());
    }
}
