//! How much one account, one network, one set of names may ask for: decisions over values, and the
//! bounded memory that they are kept in.
//!
//! [`gcra`] decides, [`keyed`] remembers, [`open`] counts open orders, [`Limiter`] is all of them under
//! the [`Rules`] in force. Nothing here is stored: a restart forgets the rates, and reads the open orders
//! anew. A clock set forward refills the buckets; one set back makes nobody wait longer than an empty
//! bucket would.

pub mod gcra;
pub mod keyed;
mod limiter;
pub mod open;

pub use self::limiter::{Limiter, Refused};

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

use self::gcra::Quota;
use self::keyed::Key;

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $key:literal, $whose:literal, $count:literal per $hours:literal h;)+) => {
        /// A limit: what is counted, and for whom.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Limit { $($(#[$doc])* $name),+ }

        impl Limit {
            /// Every limit, in a fixed order.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its key in `[limits]`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $key),+ }
            }

            /// What it counts and for whom, as refusals say it.
            pub const fn whose(self) -> &'static str {
                match self { $(Self::$name => $whose),+ }
            }

            /// Unless the configuration says otherwise.
            pub const fn default_quota(self) -> Option<Quota> {
                match self { $(Self::$name => Quota::new($count, Duration::from_secs($hours * 3600))),+ }
            }
        }
    };
}

// Each stops a client that runs wild, and lets a fleet pass: an account may keep 16,000 certificates of a
// day renewed, and register them in one go of 3,000; 1,000 hosts may register behind one address at once.
limits! {
    /// Requests of a network, whatever they ask, probes of health excepted.
    NetworkRequests = "network_requests", "requests of one network", 600_000 per 1 h;
    /// Accounts created from a network.
    NetworkAccounts = "network_accounts", "new accounts of one network", 1_000 per 3 h;
    /// Orders opened from a network.
    NetworkOrders = "network_orders", "new orders of one network", 30_000 per 3 h;
    /// Requests that an account has signed.
    AccountRequests = "account_requests", "requests of one account", 60_000 per 1 h;
    /// Orders that an account opens.
    AccountOrders = "account_orders", "new orders of one account", 3_000 per 3 h;
    /// Changes of an account's contacts and keys; each is a record of the audit.
    AccountChanges = "account_changes", "changes of one account", 100 per 1 h;
    /// Validations of an account's that failed for good, and certificates that policy refused it.
    AccountFailures = "account_failures", "failed validations and refused certificates of one account", 600 per 1 h;
    /// Certificates for exactly the same names, whoever asks.
    NameSetCertificates = "name_set_certificates", "certificates for the same names", 1_000 per 3 h;
}

/// How many limits there are.
pub const LIMITS: usize = Limit::ALL.len();

/// `[limits]`: what is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// By [`Limit`]; `None` is off.
    pub quotas: [Option<Quota>; LIMITS],
    /// Most orders that an account may have open; `None` is off. Never zero.
    pub open_orders: Option<u32>,
    /// Addresses with the same first bits are one network: for IPv4.
    pub ipv4_prefix: u8,
    /// The same for IPv6.
    pub ipv6_prefix: u8,
    /// Clients in these networks meet no limit of this section.
    pub exempt: Vec<IpNet>,
}

/// Orders open at once, for one account, unless the configuration says otherwise.
pub const OPEN_ORDERS: u32 = 3_000;
/// Bits of an IPv4 network: a host has one address, and a fleet behind one address counts as one anyway.
pub const IPV4_PREFIX: u8 = 32;
/// Bits of an IPv6 network: within a /64 a host may take any address it likes.
pub const IPV6_PREFIX: u8 = 64;

impl Default for Rules {
    fn default() -> Self {
        let mut quotas = [None; LIMITS];
        for limit in Limit::ALL {
            quotas[*limit as usize] = limit.default_quota();
        }
        Self {
            quotas,
            open_orders: Some(OPEN_ORDERS),
            ipv4_prefix: IPV4_PREFIX,
            ipv6_prefix: IPV6_PREFIX,
            exempt: Vec::new(),
        }
    }
}

impl Rules {
    /// The quota of a limit; `None` if it is off.
    pub fn quota(&self, limit: Limit) -> Option<Quota> {
        self.quotas[limit as usize]
    }

    /// Sets the quota of a limit, or switches it off.
    pub fn set(&mut self, limit: Limit, quota: Option<Quota>) {
        self.quotas[limit as usize] = quota;
    }

    /// Where a client comes from.
    pub fn source(&self, peer: IpAddr) -> Source {
        // A listener on `[::]` sees IPv4 clients under mapped addresses.
        let peer = peer.to_canonical();
        Source {
            network: network(peer, self.ipv4_prefix, self.ipv6_prefix),
            exempt: self.exempt.iter().any(|net| net.contains(&peer)),
        }
    }
}

/// Where a request comes from. The default is a network of its own, that of work which no client waits
/// for; it is limited like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The network.
    pub network: Key,
    /// Whether it is not limited.
    pub exempt: bool,
}

impl Default for Source {
    fn default() -> Self {
        Self { network: Ipv6Addr::UNSPECIFIED.octets(), exempt: false }
    }
}

/// The first bits of an address, as a key; IPv4 networks have keys that no IPv6 network has.
fn network(peer: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> Key {
    let (bits, prefix) = match peer {
        IpAddr::V4(ip) => (ip.to_ipv6_mapped().to_bits(), 96 + u32::from(ipv4_prefix.min(32))),
        IpAddr::V6(ip) => (ip.to_bits(), u32::from(ipv6_prefix.min(128))),
    };
    let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
    (bits & mask).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_every_limit_is_on() {
        let names: BTreeSet<_> = Limit::ALL.iter().map(|limit| limit.name()).collect();
        assert_eq!(names.len(), LIMITS);
        let rules = Rules::default();
        assert!(Limit::ALL.iter().all(|limit| rules.quota(*limit).is_some()));
    }

    #[test]
    fn networks() {
        let rules = Rules { ipv4_prefix: 24, ipv6_prefix: 48, ..Rules::default() };
        let same = [
            ("10.0.0.1", "10.0.0.254", true),
            ("10.0.0.1", "10.0.1.1", false),
            ("10.0.0.1", "::ffff:10.0.0.7", true),
            ("2001:db8::1", "2001:db8:0:ffff::9", true),
            ("2001:db8::1", "2001:db8:1::1", false),
            ("0.0.0.0", "::", false),
            ("::1", "::2", true),
        ];
        for (a, b, want) in same {
            let of = |text: &str| rules.source(text.parse().unwrap()).network;
            assert_eq!(of(a) == of(b), want, "{a} and {b}");
        }
        let fine = Rules::default();
        let of = |text: &str| fine.source(text.parse().unwrap()).network;
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }

    #[test]
    fn exempt_networks() {
        let exempt = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()).to_vec();
        let rules = Rules { exempt, ..Rules::default() };
        for (ip, want) in [
            ("10.1.2.3", true),
            ("11.1.2.3", false),
            ("::ffff:10.1.2.3", true),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(rules.source(ip.parse().unwrap()).exempt, want, "{ip}");
        }
        assert!(!Source::default().exempt && !Rules::default().source("127.0.0.1".parse().unwrap()).exempt);
    }
}
