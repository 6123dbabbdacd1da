//! DNS for validation: fresh answers only, absolute names only.
//!
//! Nothing is cached (a client that has just published its record must not be judged by an older
//! answer), search lists and `ndots` are never applied, and with resolvers of our choosing the
//! hosts file is not consulted. Aliases are followed by the DNS client, which bounds their number.

mod plain;
mod route;
mod server;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::Hosts;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use self::server::{Asking, Server};
use super::Error;
use super::caa::Property;
use crate::acme::identifier::DnsName;

/// How long the second address family may keep us waiting once the first has answered
/// (RFC 8305 §3 has 50 ms for interactive use; a validation has more patience).
const SECOND_FAMILY: Duration = Duration::from_secs(1);

/// How many lookups are under way at a time. The DNS client refuses what its queues cannot take,
/// and a resolver's socket drops what it cannot; a short wait here is better than either.
const MAX_LOOKUPS: usize = 256;

/// Why a lookup gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// An answer: there is no such name.
    Missing,
    /// An answer: the name has no such records.
    Empty,
    /// No answer that says anything about the name; the text says who failed how.
    Unanswered(String),
}

/// The DNS client. One inner resolver per given server, so that one that fails, in whatever way,
/// is followed by the next.
#[derive(Debug)]
pub(super) struct Lookups {
    servers: Vec<Server>,
    /// The one that answered last, asked first.
    preferred: AtomicUsize,
    /// Whether the system's hosts file comes first.
    hosts_file: bool,
    /// [`MAX_LOOKUPS`] of them.
    permits: Semaphore,
}

impl Lookups {
    /// A client of the given servers, or of the system's if there are none.
    pub(super) fn new(resolvers: &[SocketAddr], total: Duration) -> Result<Self, Error> {
        let hosts_file = resolvers.is_empty();
        let servers = if hosts_file {
            vec![Server::system()?]
        } else {
            // Half of a server's share, so that after a try without an answer there is time for another.
            let patience = total / (2 * u32::try_from(resolvers.len()).unwrap_or(u32::MAX / 2));
            resolvers.iter().map(|addr| Server::at(*addr, patience)).collect::<Result<_, Error>>()?
        };
        Ok(Self { servers, preferred: AtomicUsize::new(0), hosts_file, permits: Semaphore::new(MAX_LOOKUPS) })
    }

    /// All addresses of `name`, IPv6 and IPv4 as they come; never empty.
    pub(super) async fn addresses(&self, name: &DnsName, deadline: Instant) -> Result<Vec<IpAddr>, Trouble> {
        let name = absolute(name.as_str())?;
        if self.hosts_file
            && let Some(found) = from_hosts_file(&name).await
        {
            return Ok(found);
        }
        self.ask(deadline, |server| addresses_from(server, &name)).await
    }

    /// The values of all TXT records of `name`, each with its strings joined; never empty.
    pub(super) async fn texts(&self, name: &str, deadline: Instant) -> Result<Vec<Vec<u8>>, Trouble> {
        let name = absolute(name)?;
        self.ask(deadline, |server| only(server, &name, RecordType::TXT, text)).await
    }

    /// All CAA records of `name` itself (RFC 8659 §4), or of what it is an alias of; never empty.
    pub(super) async fn properties(&self, name: &str, deadline: Instant) -> Result<Vec<Property>, Trouble> {
        let name = absolute(name)?;
        self.ask(deadline, |server| only(server, &name, RecordType::CAA, property)).await
    }

    /// Asks one server after the other until one has an answer, each with its share of the time.
    async fn ask<'a, T, F>(&'a self, deadline: Instant, query: impl Fn(&'a Server) -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        // Never closed, so the only failure is to be too late.
        let Ok(Ok(_permit)) = timeout_at(deadline, self.permits.acquire()).await else {
            return Err(Trouble::Unanswered("too many lookups are waiting at this CA".to_owned()));
        };
        let count = self.servers.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut troubles = Vec::new();
        for turn in 0..count {
            let index = (first + turn) % count;
            let server = &self.servers[index];
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(count - turn).unwrap_or(1);
            match timeout_at(Instant::now() + share, query(server)).await {
                Ok(Err(Trouble::Unanswered(why))) => troubles.push(format!("{}: {why}", server.label)),
                Err(_) => troubles.push(format!("{}: no answer in time", server.label)),
                Ok(answer) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return answer;
                }
            }
        }
        Err(Trouble::Unanswered(troubles.join("; ")))
    }
}

/// A name that no search list applies to. One that is too long for DNS does not exist.
fn absolute(name: &str) -> Result<Name, Trouble> {
    Name::from_ascii(format!("{name}.")).map_err(|_| Trouble::Missing)
}

/// Read anew each time, as the C library does: an operator who edits it restarts nothing.
async fn from_hosts_file(name: &Name) -> Option<Vec<IpAddr>> {
    let hosts = tokio::task::spawn_blocking(Hosts::from_system).await.ok()?.ok()?;
    let found: Vec<IpAddr> = [RecordType::AAAA, RecordType::A]
        .into_iter()
        .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
        .flat_map(|lookup| lookup.answers().iter().filter_map(address).collect::<Vec<_>>())
        .collect();
    (!found.is_empty()).then_some(found)
}

async fn addresses_from(server: &Server, name: &Name) -> Result<Vec<IpAddr>, Trouble> {
    let asking = server.ask(name, &[RecordType::AAAA, RecordType::A]);
    let mut v6 = std::pin::pin!(records(&asking, 0, address));
    let mut v4 = std::pin::pin!(records(&asking, 1, address));
    let late = || Trouble::Unanswered("only one of A and AAAA answered".to_owned());
    tokio::select! {
        first = &mut v6 => {
            let second = match first {
                Ok(_) => timeout(SECOND_FAMILY, v4).await.unwrap_or_else(|_| Err(late())),
                Err(_) => v4.await,
            };
            combine(first, second)
        }
        second = &mut v4 => {
            let first = match second {
                Ok(_) => timeout(SECOND_FAMILY, v6).await.unwrap_or_else(|_| Err(late())),
                Err(_) => v6.await,
            };
            combine(first, second)
        }
    }
}

/// Addresses of either family are enough; NXDOMAIN speaks for both families, and no data in one
/// family says nothing while the other has no answer.
fn combine(
    v6: Result<Vec<IpAddr>, Trouble>,
    v4: Result<Vec<IpAddr>, Trouble>,
) -> Result<Vec<IpAddr>, Trouble> {
    match (v6, v4) {
        (Ok(mut v6), Ok(v4)) => {
            v6.extend(v4);
            Ok(v6)
        }
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(Trouble::Missing), Err(_)) | (Err(_), Err(Trouble::Missing)) => Err(Trouble::Missing),
        (Err(Trouble::Unanswered(why)), Err(_)) | (Err(_), Err(Trouble::Unanswered(why))) => {
            Err(Trouble::Unanswered(why))
        }
        (Err(Trouble::Empty), Err(Trouble::Empty)) => Err(Trouble::Empty),
    }
}

async fn only<T>(
    server: &Server,
    name: &Name,
    kind: RecordType,
    read: impl Fn(&Record) -> Option<T>,
) -> Result<Vec<T>, Trouble> {
    records(&server.ask(name, &[kind]), 0, read).await
}

/// The records of one type, by its place, that belong to the name or to what it is an alias of.
async fn records<T>(
    asking: &Asking<'_>,
    place: usize,
    read: impl Fn(&Record) -> Option<T>,
) -> Result<Vec<T>, Trouble> {
    let answers = asking.lookup(place).await?;
    let owner = last_alias(asking.name, &answers);
    let found: Vec<T> = answers.iter().filter(|record| record.name == *owner).filter_map(read).collect();
    if found.is_empty() { Err(Trouble::Empty) } else { Ok(found) }
}

/// Where the chain of aliases in an answer ends. Records of other owners in the same answer were
/// not asked for and prove nothing.
pub(super) fn last_alias<'a>(name: &'a Name, answers: &'a [Record]) -> &'a Name {
    let mut last = name;
    // As many steps as there are records: a circle ends too.
    for _ in answers {
        let next = answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *last => Some(&target.0),
            _ => None,
        });
        match next {
            Some(next) => last = next,
            None => break,
        }
    }
    last
}

fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}

pub(super) fn text(record: &Record) -> Option<Vec<u8>> {
    match &record.data {
        RData::TXT(txt) => Some(txt.txt_data.concat()),
        _ => None,
    }
}

fn property(record: &Record) -> Option<Property> {
    match &record.data {
        RData::CAA(caa) => Some(Property {
            critical: caa.issuer_critical,
            tag: caa.tag.to_ascii_lowercase(),
            value: caa.value.clone(),
        }),
        _ => None,
    }
}

/// What an error of the DNS client says about the name: only an answer says anything.
fn trouble(error: &NetError) -> Trouble {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Trouble::Missing,
            // Name servers but no SOA: the server points elsewhere instead of answering.
            ResponseCode::NoError if none.ns.is_some() && none.soa.is_none() => {
                Trouble::Unanswered("it refers to other servers: it does not resolve recursively".to_owned())
            }
            ResponseCode::NoError => Trouble::Empty,
            code => Trouble::Unanswered(format!("it answered {code}")),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => Trouble::Unanswered(format!("it answered {code}")),
        NetError::Timeout => Trouble::Unanswered("no answer in time".to_owned()),
        other => Trouble::Unanswered(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
