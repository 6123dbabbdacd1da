//! Whatever is in a signed certificate was approved: random certificates through draft, lint and the
//! policy's step under random policies, each signed one held against a matcher that shares nothing with
//! the policy's own.

use std::sync::Arc;

use proptest::prelude::*;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{T0, policy};
use crate::authority::approve::approve;
use crate::authority::draft::draft;
use crate::authority::lint::lint;
use crate::authority::sign::sign;
use crate::policy::Pair;

/// Rules as the naive matcher has them, without any parsing of its own that the policy shares.
#[derive(Clone, Debug)]
struct NaiveRule {
    allow: bool,
    wildcards: bool,
    dns: Vec<String>,
    nets: Vec<([u8; 4], u8)>,
}

impl NaiveRule {
    fn toml(&self) -> String {
        let kind = if self.allow { "allow" } else { "deny" };
        let mut text = format!("[[{kind}]]\n");
        if !self.dns.is_empty() {
            text += &format!("dns = {:?}\n", self.dns);
            if self.allow {
                text += &format!("wildcards = {}\n", self.wildcards);
            }
        }
        if !self.nets.is_empty() {
            let nets: Vec<String> =
                self.nets.iter().map(|([a, b, c, d], bits)| format!("{a}.{b}.{c}.{d}/{bits}")).collect();
            text += &format!("ip = {nets:?}\n");
        }
        text
    }
}

/// By labels, from the right, with none of the policy's code.
fn label_match(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern == name,
        Some(base) => {
            let (base, name): (Vec<&str>, Vec<&str>) = (base.split('.').collect(), name.split('.').collect());
            name.len() > base.len() && name.iter().rev().zip(base.iter().rev()).all(|(a, b)| a == b)
        }
    }
}

fn in_net(net: &([u8; 4], u8), ip: [u8; 4]) -> bool {
    (0..usize::from(net.1)).all(|bit| (net.0[bit / 8] ^ ip[bit / 8]) & (0x80 >> (bit % 8)) == 0)
}

/// Whether one name of a certificate was to be signed.
fn naive_dns(rules: &[NaiveRule], name: &str) -> bool {
    let star = name.starts_with("*.");
    let denied = rules.iter().filter(|rule| !rule.allow).flat_map(|rule| &rule.dns).any(|pattern| {
        // A wildcard stands for one more label: the few there are here are tried, and one nobody lists.
        let stands_for = ["a", "b", "zz"].map(|label| name.replacen('*', label, 1));
        label_match(pattern, name) || (star && stands_for.iter().any(|name| label_match(pattern, name)))
    });
    let mut listing = rules.iter().filter(|rule| rule.allow && !rule.dns.is_empty()).peekable();
    let free = listing.peek().is_none();
    let covered = listing
        .any(|rule| (rule.wildcards || !star) && rule.dns.iter().any(|pattern| label_match(pattern, name)));
    !denied && (free || covered)
}

fn naive_ip(rules: &[NaiveRule], ip: [u8; 4]) -> bool {
    let denied =
        rules.iter().filter(|rule| !rule.allow).flat_map(|rule| &rule.nets).any(|net| in_net(net, ip));
    let mut listing = rules.iter().filter(|rule| rule.allow && !rule.nets.is_empty()).peekable();
    let free = listing.peek().is_none();
    let covered = listing.any(|rule| rule.nets.iter().any(|net| in_net(net, ip)));
    !denied && (free || covered)
}

fn names() -> impl Strategy<Value = Vec<String>> {
    let dns = "(\\*\\.)?([ab]\\.){0,2}[ab]\\.test";
    let ip = (0u8..4, 0u8..4).prop_map(|(c, d)| format!("10.0.{c}.{d}"));
    let name = prop_oneof![3 => dns.prop_map(String::from), 1 => ip];
    proptest::collection::btree_set(name, 1..4).prop_map(|names| names.into_iter().collect())
}

fn rule() -> impl Strategy<Value = NaiveRule> {
    let pattern = "(\\*\\.)?([ab]\\.)?[ab]\\.test|\\*\\.test";
    let net = (0u8..4, 0u8..4, 22u8..=32).prop_map(|(c, d, bits)| {
        let ip = u32::from_be_bytes([10, 0, c, d]) & (u32::MAX << (32 - u32::from(bits)));
        (ip.to_be_bytes(), bits)
    });
    let lists = (proptest::collection::vec(pattern, 0..3), proptest::collection::vec(net, 0..3));
    (any::<bool>(), any::<bool>(), lists)
        .prop_map(|(allow, wildcards, (dns, nets))| NaiveRule { allow, wildcards, dns, nets })
        .prop_filter("a rule lists something", |rule| !rule.dns.is_empty() || !rule.nets.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_signed_was_approved(names in names(), rules in proptest::collection::vec(rule(), 1..5)) {
        let issuer = crate::authority::tests::issuer_for_policy();
        let text: String = rules.iter().map(NaiveRule::toml).collect();
        let pair = Pair { enforced: Some(Arc::new(policy(&text))), audit: None };
        let grant = crate::authority::tests::grant_for_policy(&names, T0).under(pair);
        let linted = lint(draft(grant, issuer, [7; 16], T0).unwrap(), issuer).unwrap();
        let want = names.iter().all(|name| match name.parse::<std::net::Ipv4Addr>() {
            Ok(ip) => naive_ip(&rules, ip.octets()),
            Err(_) => naive_dns(&rules, name),
        });
        match approve(linted, None, T0) {
            Ok((approved, _)) => {
                let der = sign(approved, issuer).unwrap().der;
                let (_, parsed) = X509Certificate::from_der(&der).unwrap();
                let mut seen = 0;
                for extension in parsed.extensions() {
                    let ParsedExtension::SubjectAlternativeName(san) = extension.parsed_extension() else { continue };
                    for name in &san.general_names {
                        seen += 1;
                        match name {
                            GeneralName::DNSName(name) => prop_assert!(naive_dns(&rules, name), "{name}\n{text}"),
                            GeneralName::IPAddress(ip) => {
                                let ip: [u8; 4] = (*ip).try_into().unwrap();
                                prop_assert!(naive_ip(&rules, ip), "{ip:?}\n{text}");
                            }
                            other => prop_assert!(false, "{other:?}"),
                        }
                    }
                }
                prop_assert_eq!(seen, names.len());
            }
            Err(refused) => {
                prop_assert!(!want, "{:?} refused though nothing speaks against it: {}\n{text}", names, refused.1.verdict);
                prop_assert!(!refused.0.reasons.is_empty());
            }
        }
    }
}
