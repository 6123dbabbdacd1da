//! Whether a name is under a subtree.
//!
//! Where verifiers differ (wildcards below an excluded name, a URI without a host, empty texts), the
//! stricter reading counts: what passes here, passes everywhere.

use std::net::IpAddr;

use super::{Name, NameConstraints, Subtree, Violation};
use crate::authority::subject;

/// Which list a subtree stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Permitted,
    Excluded,
}

/// What holding a name against a subtree gives.
enum Held {
    /// Another form of name.
    Apart,
    Under(bool),
    Unprocessable,
}

pub(super) fn check(constraints: &NameConstraints, name: Name<'_>) -> Result<(), Violation> {
    for subtree in &constraints.excluded {
        match hold(subtree, name, List::Excluded) {
            Held::Under(true) => return Err(Violation::Excluded(name.to_string(), subtree.clone())),
            Held::Unprocessable => return Err(Violation::Unprocessable(name.to_string())),
            Held::Apart | Held::Under(false) => {}
        }
    }
    let mut others = Vec::new();
    for subtree in &constraints.permitted {
        match hold(subtree, name, List::Permitted) {
            Held::Under(true) => return Ok(()),
            Held::Unprocessable => return Err(Violation::Unprocessable(name.to_string())),
            Held::Under(false) => others.push(subtree.to_string()),
            Held::Apart => {}
        }
    }
    // A form of which nothing is said is not constrained.
    if others.is_empty() {
        return Ok(());
    }
    Err(Violation::NotPermitted(name.to_string(), others.join(", ")))
}

fn hold(subtree: &Subtree, name: Name<'_>, list: List) -> Held {
    match (subtree, name) {
        (Subtree::Dns(base), Name::Dns(name)) => Held::Under(dns(base, name, list)),
        (Subtree::Email(base), Name::Email(name)) => email(base, name, list),
        (Subtree::Uri(base), Name::Uri(name)) => uri(base, name, list),
        (Subtree::Ip(net), Name::Ip(ip)) => Held::Under(net.contains(&ip)),
        (Subtree::Directory(base), Name::Directory(name)) => match subject::is_below(name, base) {
            Some(under) => Held::Under(under),
            None => Held::Unprocessable,
        },
        (Subtree::Other(form), Name::Other(tag)) if *form == tag => Held::Unprocessable,
        (
            Subtree::Dns(_)
            | Subtree::Email(_)
            | Subtree::Uri(_)
            | Subtree::Ip(_)
            | Subtree::Directory(_)
            | Subtree::Other(_),
            _,
        ) => Held::Apart,
    }
}

fn dns(base: &str, name: &str, list: List) -> bool {
    let (base, name) = (base.to_ascii_lowercase(), name.to_ascii_lowercase());
    if base.is_empty() || below_or_same(&name, &base) {
        return true;
    }
    match (list, name.strip_prefix("*.")) {
        // The wildcard stands for the excluded name too, if that is one label below.
        (List::Excluded, Some(rest)) => {
            let base = base.strip_prefix('.').unwrap_or(&base);
            base.split_once('.').is_some_and(|(_, parent)| parent == rest)
        }
        (List::Excluded, None) | (List::Permitted, _) => false,
    }
}

/// `a.b` is below `b` and below `.b`; `b` is the same as `b` only.
fn below_or_same(name: &str, base: &str) -> bool {
    match name.strip_suffix(base) {
        Some("") => true,
        Some(front) => base.starts_with('.') || front.ends_with('.'),
        None => false,
    }
}

fn email(base: &str, name: &str, list: List) -> Held {
    let Some((local, host)) = name.rsplit_once('@') else { return Held::Unprocessable };
    if local.is_empty() || host.is_empty() {
        return Held::Unprocessable;
    }
    if base.is_empty() {
        return Held::Under(list == List::Excluded);
    }
    Held::Under(match base.rsplit_once('@') {
        // The local part is compared as it is; hosts without regard to case.
        Some((mailbox, of)) => mailbox == local && of.eq_ignore_ascii_case(host),
        None => host_under(base, host),
    })
}

fn uri(base: &str, name: &str, list: List) -> Held {
    let Some(host) = uri_host(name) else { return Held::Unprocessable };
    if base.is_empty() {
        return Held::Under(list == List::Excluded);
    }
    Held::Under(host_under(base, host))
}

/// One host, or with a leading dot every host below.
fn host_under(base: &str, host: &str) -> bool {
    let (base, host) = (base.to_ascii_lowercase(), host.to_ascii_lowercase());
    match base.starts_with('.') {
        true => host.len() > base.len() && host.ends_with(&base),
        false => host == base,
    }
}

/// The host of a URI, if it is a DNS name: one without a host, or with an address, is refused where
/// there are constraints (RFC 5280 §4.2.1.10), and so is user information, which is read in more than
/// one way.
fn uri_host(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once(':')?;
    let rest = rest.strip_prefix("//")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.split_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) => return None,
        None => authority,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let named = !host.is_empty() && host.bytes().all(plain) && host.parse::<IpAddr>().is_err();
    named.then_some(host)
}
