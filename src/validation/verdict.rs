//! Which addresses this CA connects to. Pure: the same answer for the same address and rules.
//!
//! Strongest first: the CA's own listeners, `deny`, `allow`, the built-in table. An IPv6 form that
//! carries an IPv4 address (mapped, compatible, translated, NAT64, 6to4, Teredo) is judged as both
//! addresses, so none of them is a way around a rule.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Rules;

/// Why an address is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// This CA itself listens there.
    OwnListener(SocketAddr),
    /// A block of `validation.deny`.
    Denied(IpNet),
    /// A block of the built-in table, and what it is.
    BuiltIn(IpNet, &'static str),
}

impl fmt::Display for Why {
    /// The rule, and the setting that would change it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnListener(listener) => {
                write!(f, "this CA itself listens on {listener}, which no setting allows")
            }
            Self::Denied(net) => write!(f, "{net} is in this CA's validation.deny"),
            Self::BuiltIn(net, what) => write!(
                f,
                "{net} ({what}) is not connected to by default; this CA's operator can add the address to \
                 validation.allow"
            ),
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, len: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len))
}

const fn v6(s: [u16; 8], len: u8) -> IpNet {
    let [a, b, c, d, e, f, g, h] = s;
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), len))
}

/// Denied unless `allow` says otherwise. Private ranges are absent on purpose: they are what an
/// internal CA is for.
const BUILT_IN: &[(IpNet, &str)] = &[
    (v4(0, 0, 0, 0, 8), "this network"),
    (v4(100, 100, 100, 200, 32), "cloud metadata"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(168, 63, 129, 16, 32), "cloud host services"),
    (v4(169, 254, 0, 0, 16), "link-local and cloud metadata"),
    (v4(192, 0, 0, 0, 24), "IETF protocol assignments"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(255, 255, 255, 255, 32), "broadcast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "unspecified"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "loopback"),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), "discard"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "documentation"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "documentation"),
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), "cloud metadata"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast"),
];

/// Whether this CA connects to `addr`.
pub fn verdict(addr: SocketAddr, rules: &Rules) -> Result<(), Why> {
    let ip = addr.ip().to_canonical();
    let embedded = embedded_v4(ip).map(IpAddr::V4);
    let forms = || std::iter::once(ip).chain(embedded);

    if let Some(own) =
        rules.own_listeners.iter().find(|own| forms().any(|form| is_own(form, addr.port(), own)))
    {
        return Err(Why::OwnListener(*own));
    }
    if let Some(net) = rules.deny.iter().find(|net| forms().any(|form| covers(net, form))) {
        return Err(Why::Denied(*net));
    }
    // Only the address itself: to allow an IPv4 block is not to allow a translator's view of it.
    if rules.allow.iter().any(|net| covers(net, ip)) {
        return Ok(());
    }
    match BUILT_IN.iter().find(|(net, _)| forms().any(|form| covers(net, form))) {
        Some((net, what)) => Err(Why::BuiltIn(*net, what)),
        None => Ok(()),
    }
}

/// The listeners of `rules` that stand for every address of this machine on `port`. Whether an
/// address is this machine's is for the caller to find out: it takes a look at the machine.
pub(super) fn catch_all_listener(port: u16, rules: &Rules) -> Option<SocketAddr> {
    rules.own_listeners.iter().copied().find(|own| own.ip().is_unspecified() && own.port() == port)
}

fn is_own(ip: IpAddr, port: u16, own: &SocketAddr) -> bool {
    let own_ip = own.ip().to_canonical();
    own.port() == port
        && (own_ip == ip || own_ip.is_unspecified() && (ip.is_loopback() || ip.is_unspecified()))
}

/// Whether `net` covers `ip`, also where the block is written in the IPv4-mapped form.
fn covers(net: &IpNet, ip: IpAddr) -> bool {
    net.contains(&ip)
        || matches!((net, ip), (IpNet::V6(net), IpAddr::V4(ip)) if net.prefix_len() >= 96 && net.contains(&ip.to_ipv6_mapped()))
}

/// The IPv4 address that an IPv6 address stands for in some transition mechanism.
fn embedded_v4(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    let s = ip.segments();
    let pair = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match s {
        // `::` and `::1` are no compatible addresses; the table has them.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Compatible (RFC 4291 §2.5.5.1) and mapped (§2.5.5.2).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(pair(high, low)),
        // Translated (RFC 2765 §2.1).
        [0, 0, 0, 0, 0xffff, 0, high, low] => Some(pair(high, low)),
        // NAT64: the well-known prefix (RFC 6052 §2.1) and the local one (RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 1, _, _, _, high, low] => {
            Some(pair(high, low))
        }
        // 6to4 (RFC 3056 §2).
        [0x2002, high, low, ..] => Some(pair(high, low)),
        // Teredo (RFC 4380 §4): the client's address, inverted.
        [0x2001, 0, _, _, _, _, high, low] => Some(pair(!high, !low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(addr: &str, rules: &Rules) -> &'static str {
        let addr = match addr.parse::<SocketAddr>() {
            Ok(addr) => addr,
            Err(_) => SocketAddr::new(addr.parse().unwrap(), 80),
        };
        match verdict(addr, rules) {
            Ok(()) => "ok",
            Err(Why::OwnListener(_)) => "own",
            Err(Why::Denied(_)) => "denied",
            Err(Why::BuiltIn(_, what)) => what,
        }
    }

    #[test]
    fn by_default() {
        let rows = [
            // What an internal CA is for.
            ("10.0.0.1", "ok"),
            ("172.16.0.1", "ok"),
            ("192.168.1.1", "ok"),
            ("100.64.0.1", "ok"),
            ("8.8.8.8", "ok"),
            ("fd00::1", "ok"),
            ("fd00:ec2::1", "ok"),
            ("2001:4860::8888", "ok"),
            // Loopback and unspecified.
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("128.0.0.1", "ok"),
            ("0.0.0.0", "this network"),
            ("0.1.2.3", "this network"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            // Link-local and metadata.
            ("169.254.169.254", "link-local and cloud metadata"),
            ("169.254.0.1", "link-local and cloud metadata"),
            ("169.253.255.255", "ok"),
            ("168.63.129.16", "cloud host services"),
            ("100.100.100.200", "cloud metadata"),
            ("192.0.0.192", "IETF protocol assignments"),
            ("fd00:ec2::254", "cloud metadata"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "ok"),
            // Not hosts.
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("240.0.0.1", "reserved"),
            ("ff02::1", "multicast"),
            ("100::1", "discard"),
            ("192.0.2.1", "documentation"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("2001:db8::1", "documentation"),
            ("3fff::1", "documentation"),
            // IPv4 in IPv6: as the IPv4 address.
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.0.0.1", "ok"),
            ("::127.0.0.1", "loopback"),
            ("::10.0.0.1", "ok"),
            ("::ffff:0:127.0.0.1", "loopback"),
            ("64:ff9b::127.0.0.1", "loopback"),
            ("64:ff9b::169.254.169.254", "link-local and cloud metadata"),
            ("64:ff9b::8.8.8.8", "ok"),
            ("64:ff9b:1::127.0.0.1", "loopback"),
            ("2002:7f00:1::1", "loopback"),
            ("2002:a9fe:a9fe::", "link-local and cloud metadata"),
            ("2002:808:808::1", "ok"),
            ("2001:0:1:2:3:4:80ff:fffe", "loopback"),
        ];
        let rules = Rules::default();
        for (addr, want) in rows {
            assert_eq!(judged(addr, &rules), want, "{addr}");
        }
    }

    #[test]
    fn deny_beats_allow_beats_the_table() {
        let rules = Rules {
            allow: ["127.0.0.0/8", "10.0.0.0/8", "::1/128"].map(|n| n.parse().unwrap()).to_vec(),
            deny: ["127.0.0.2/32", "10.1.0.0/16", "::ffff:10.2.0.0/112"].map(|n| n.parse().unwrap()).to_vec(),
            ..Rules::default()
        };
        let rows = [
            ("127.0.0.1", "ok"),
            ("::ffff:127.0.0.1", "ok"),
            // Allowed as itself, not through a translator.
            ("64:ff9b::127.0.0.1", "loopback"),
            ("::1", "ok"),
            ("127.0.0.2", "denied"),
            ("::ffff:127.0.0.2", "denied"),
            ("64:ff9b::127.0.0.2", "denied"),
            ("10.0.0.1", "ok"),
            ("10.1.0.1", "denied"),
            ("10.2.0.1", "denied"),
            ("2002:a01:1::", "denied"),
            ("169.254.169.254", "link-local and cloud metadata"),
        ];
        for (addr, want) in rows {
            assert_eq!(judged(addr, &rules), want, "{addr}");
        }
    }

    #[test]
    fn own_listeners_beat_allow() {
        let rules = Rules {
            allow: ["0.0.0.0/0", "::/0"].map(|n| n.parse().unwrap()).to_vec(),
            own_listeners: ["10.0.0.5:443", "0.0.0.0:8080", "[::]:9090", "[fd00::5]:443"]
                .map(|a| a.parse().unwrap())
                .to_vec(),
            ..Rules::default()
        };
        let rows = [
            ("10.0.0.5:443", "own"),
            ("10.0.0.5:80", "ok"),
            ("10.0.0.6:443", "ok"),
            ("[::ffff:10.0.0.5]:443", "own"),
            ("[64:ff9b::10.0.0.5]:443", "own"),
            ("[fd00::5]:443", "own"),
            ("127.0.0.1:8080", "own"),
            ("127.9.9.9:8080", "own"),
            ("[::1]:8080", "own"),
            ("0.0.0.0:8080", "own"),
            ("127.0.0.1:9090", "own"),
            ("[::]:9090", "own"),
            ("127.0.0.1:80", "ok"),
        ];
        for (addr, want) in rows {
            assert_eq!(judged(addr, &rules), want, "{addr}");
        }
    }

    #[test]
    fn a_verdict_names_rule_and_setting() {
        let why = verdict("127.0.0.1:80".parse().unwrap(), &Rules::default()).unwrap_err();
        let text = why.to_string();
        assert!(text.contains("127.0.0.0/8") && text.contains("validation.allow"), "{text}");
    }
}
