//! The one door for outgoing connections. A name is resolved once, every address is judged after
//! resolution, and the connection goes to an address that was judged: what a second lookup would
//! say (DNS rebinding) does not matter, because there is none.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::resolver::{Lookups, Trouble};
use super::verdict::{Why, catch_all_listener, verdict};
use super::{FailureKind, Rules, Stop};
use crate::acme::identifier::DnsName;

/// How many addresses of one name are tried.
const MAX_ADDRESSES: usize = 4;

/// Whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// A name to resolve.
    Name(DnsName),
    /// An address as it is.
    Ip(IpAddr),
}

impl fmt::Display for Host {
    /// As in a URL: IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// The door, with its rules.
#[derive(Debug)]
pub(super) struct Door {
    lookups: Lookups,
    rules: Rules,
}

impl Door {
    /// A door with these rules.
    pub(super) fn new(lookups: Lookups, rules: Rules) -> Self {
        Self { lookups, rules }
    }

    /// The rules it was made with.
    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The DNS client behind it.
    pub(super) fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// Connects to `host`, for the challenge named `what`.
    pub(super) async fn open(
        &self,
        host: &Host,
        port: u16,
        what: &str,
        deadline: Instant,
    ) -> Result<(TcpStream, SocketAddr), Stop> {
        let found = match host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => self
                .lookups
                .addresses(name, deadline)
                .await
                .map_err(|trouble| dns_stop(name.as_str(), "A or AAAA", trouble))?,
        };
        let addrs = self.admitted(host, port, &found)?;
        connect(&addrs, host, what, deadline).await
    }

    /// The addresses that may be connected to, in the order to try them; an error if none may.
    fn admitted(&self, host: &Host, port: u16, found: &[IpAddr]) -> Result<Vec<SocketAddr>, Stop> {
        let mut addrs = Vec::new();
        let mut refused = None;
        for ip in in_turns(found) {
            let addr = SocketAddr::new(ip, port);
            match self.judge(addr) {
                Ok(()) if addrs.contains(&addr) => {}
                Ok(()) => addrs.push(addr),
                Err(why) => refused = refused.or(Some((addr, why))),
            }
        }
        addrs.truncate(MAX_ADDRESSES);
        match refused {
            Some((addr, why)) if addrs.is_empty() => Err(Stop::failed(
                FailureKind::Forbidden,
                format!("{host} is at {addr}, which this CA does not connect to: {why}"),
            )),
            _ => Ok(addrs),
        }
    }

    fn judge(&self, addr: SocketAddr) -> Result<(), Why> {
        verdict(addr, &self.rules)?;
        match catch_all_listener(addr.port(), &self.rules) {
            Some(own) if is_this_machine(addr.ip()) => Err(Why::OwnListener(own)),
            _ => Ok(()),
        }
    }
}

/// What a fruitless lookup of `name` means.
pub(super) fn dns_stop(name: &str, types: &str, trouble: Trouble) -> Stop {
    match trouble {
        Trouble::Missing => Stop::failed(
            FailureKind::Dns,
            format!(
                "{name} does not exist in DNS; create the record, or wait until this CA's resolver sees it"
            ),
        ),
        Trouble::Empty => Stop::failed(
            FailureKind::Dns,
            format!("{name} has no {types} record; create it, or wait until this CA's resolver sees it"),
        ),
        Trouble::Unanswered(why) => Stop::inconclusive(
            FailureKind::Dns,
            format!("{name} could not be looked up ({why}); the validation can be tried again"),
        ),
    }
}

/// Alternating families, IPv6 first, so that a host whose one family does not work is reached by
/// the other at the second try.
fn in_turns(found: &[IpAddr]) -> Vec<IpAddr> {
    let mut v6 = found.iter().filter(|ip| ip.is_ipv6());
    let mut v4 = found.iter().filter(|ip| ip.is_ipv4());
    let mut out = Vec::with_capacity(found.len());
    loop {
        let (next6, next4) = (v6.next(), v4.next());
        if next6.is_none() && next4.is_none() {
            return out;
        }
        out.extend(next6.into_iter().chain(next4));
    }
}

/// Whether an address is one of this machine's: only those can be bound to.
fn is_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

async fn connect(
    addrs: &[SocketAddr],
    host: &Host,
    what: &str,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), Stop> {
    let mut last = Stop::failed(FailureKind::Connection, format!("{host} has no address to connect to"));
    for (done, addr) in addrs.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addrs.len() - done).unwrap_or(1);
        last = match timeout(share, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => return Ok((stream, *addr)),
            Ok(Err(error)) => connect_stop(*addr, host, what, &error),
            Err(_) => Stop::failed(
                FailureKind::Connection,
                format!(
                    "connection to {addr} timed out; does a firewall between this CA and {host} drop the packets?"
                ),
            ),
        };
        // Out of sockets here: the next address would fare no better.
        if matches!(last, Stop::Inconclusive(_)) {
            break;
        }
    }
    Err(last)
}

/// ENFILE, EMFILE and ENOBUFS of Linux: this process or machine is out of sockets.
const OUT_OF_SOCKETS: [i32; 3] = [23, 24, 105];

fn connect_stop(addr: SocketAddr, host: &Host, what: &str, error: &io::Error) -> Stop {
    if error.raw_os_error().is_some_and(|code| OUT_OF_SOCKETS.contains(&code)) {
        return Stop::inconclusive(
            FailureKind::Connection,
            format!(
                "this CA could not open a connection to {addr} ({error}); the validation can be tried again"
            ),
        );
    }
    let detail = match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "connection to {addr} refused; is the client's {what} responder running, and is {host} at that \
             address?"
        ),
        _ => format!("connection to {addr} failed ({error}); is {host} reachable from this CA?"),
    };
    Stop::failed(FailureKind::Connection, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let ips = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<IpAddr>>();
        let rows: &[(&[&str], &[&str])] = &[
            (&[], &[]),
            (&["10.0.0.1", "10.0.0.2"], &["10.0.0.1", "10.0.0.2"]),
            (&["10.0.0.1", "10.0.0.2", "fd00::1"], &["fd00::1", "10.0.0.1", "10.0.0.2"]),
            (&["fd00::1", "fd00::2", "10.0.0.1"], &["fd00::1", "10.0.0.1", "fd00::2"]),
        ];
        for (found, want) in rows {
            assert_eq!(in_turns(&ips(found)), ips(want), "{found:?}");
        }
    }

    #[test]
    fn refused_addresses_are_passed_over_and_the_rest_is_capped() {
        let rules = Rules { resolvers: vec!["127.0.0.1:53".parse().unwrap()], ..Rules::default() };
        let lookups = Lookups::new(&rules.resolvers, rules.timeout).unwrap();
        let door = Door::new(lookups, rules);
        let host = Host::Ip("10.0.0.1".parse().unwrap());
        let admitted = |texts: &[&str]| {
            let found: Vec<IpAddr> = texts.iter().map(|t| t.parse().unwrap()).collect();
            door.admitted(&host, 80, &found).map(|addrs| addrs.len())
        };
        assert_eq!(admitted(&["127.0.0.1", "10.0.0.1", "10.0.0.1"]), Ok(1));
        assert_eq!(admitted(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]), Ok(4));
        let Err(Stop::Failed(failure)) = admitted(&["169.254.169.254"]) else { panic!("admitted") };
        assert_eq!(failure.kind, FailureKind::Forbidden);
        assert!(failure.detail.contains("169.254.169.254:80"), "{}", failure.detail);
    }

    #[test]
    fn a_catch_all_listener_is_every_address_of_this_machine() {
        let rules = Rules {
            resolvers: vec!["127.0.0.1:53".parse().unwrap()],
            allow: vec!["0.0.0.0/0".parse().unwrap()],
            own_listeners: vec!["0.0.0.0:80".parse().unwrap()],
            ..Rules::default()
        };
        let lookups = Lookups::new(&rules.resolvers, rules.timeout).unwrap();
        let door = Door::new(lookups, rules);
        // The address this machine would use to reach a neighbour; no packet is sent.
        let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
        if probe.connect("10.1.2.3:9").is_ok() {
            let own = SocketAddr::new(probe.local_addr().unwrap().ip(), 80);
            assert!(matches!(door.judge(own), Err(Why::OwnListener(_))), "{own}");
        }
        assert!(matches!(door.judge("127.0.0.1:80".parse().unwrap()), Err(Why::OwnListener(_))));
        assert_eq!(door.judge("127.0.0.1:81".parse().unwrap()), Ok(()));
        assert_eq!(door.judge("192.0.2.1:80".parse().unwrap()), Ok(()));
    }

    #[test]
    fn running_out_of_sockets_is_not_the_clients_fault() {
        let host = Host::Ip("10.0.0.1".parse().unwrap());
        let addr = "10.0.0.1:80".parse().unwrap();
        let stop = |code| connect_stop(addr, &host, "http-01", &io::Error::from_raw_os_error(code));
        assert!(matches!(stop(24), Stop::Inconclusive(_)));
        assert!(matches!(stop(111), Stop::Failed(_)));
    }
}
