//! One server, and how it is asked.
//!
//! Nearly every answer comes at once, whole, and by UDP. The DNS client is made for the others: it keeps
//! tables of queries under way, of servers and how quick they were, which cost more than the query. So the
//! first try is a plain query. Only what its answer leaves open is left to the client: no answer or an
//! error in time, one that is cut off, an alias that leads on.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::DnsError;
use hickory_resolver::proto::op::DnsResponse;
use hickory_resolver::proto::rr::domain::usage::{IN_ADDR_ARPA_127, INVALID, IP6_ARPA_1, LOCALHOST, ONION};
use hickory_resolver::proto::rr::{DNSClass, Name, Record, RecordType};
use hickory_resolver::{Resolver, ResolverBuilder};

use super::plain::{Asked, Plain};
use super::route::Routes;
use super::{Error, MAX_LOOKUPS, Trouble, last_alias, trouble};

type Client = Resolver<Routes>;

/// A server to ask, or all of the system's.
#[derive(Debug)]
pub(super) struct Server {
    /// As errors name it.
    pub(super) label: String,
    /// The system's may be several, which is for the client to manage.
    first: Option<First>,
    client: Client,
}

#[derive(Debug)]
struct First {
    plain: Plain,
    /// For what is cut off.
    tcp: Client,
}

/// What comes of a first try.
enum Said {
    /// Records, aliases before them, or that there are none.
    All(Result<Vec<Record>, Trouble>),
    Truncated,
    Nothing,
}

impl Server {
    /// The one at `addr`; a try takes no longer than `patience`, be it the first or one of the client's.
    pub(super) fn at(addr: SocketAddr, patience: Duration) -> Result<Self, Error> {
        let client = |connections, again| {
            let server = NameServerConfig::new(addr.ip(), true, connections);
            let config = ResolverConfig::from_name_servers(vec![server]);
            let mut builder = Client::builder_with_config(config, Routes::default());
            builder.options_mut().timeout = patience.max(Duration::from_millis(1));
            builder.options_mut().attempts = again;
            build(builder)
        };
        let with_port = |mut connection: ConnectionConfig| {
            connection.port = addr.port();
            connection
        };
        let (udp, tcp) = (with_port(ConnectionConfig::udp()), with_port(ConnectionConfig::tcp()));
        let (tcp, client) = (client(vec![tcp.clone()], 1)?, client(vec![udp, tcp], 0)?);
        let first = First { plain: Plain::new(addr, client.options()), tcp };
        Ok(Self { label: format!("resolver {addr}"), first: Some(first), client })
    }

    /// The system's.
    pub(super) fn system() -> Result<Self, Error> {
        let builder = Client::builder(Routes::default()).map_err(|error| Error::System(error.to_string()))?;
        Ok(Self { label: "the system's resolver".to_owned(), first: None, client: build(builder)? })
    }

    /// Begins to ask for records of these types, all of them at once.
    pub(super) fn ask<'a>(&'a self, name: &'a Name, kinds: &'a [RecordType]) -> Asking<'a> {
        let asked = match &self.first {
            Some(first) if !is_special(name) => first.plain.ask(name, kinds),
            _ => None,
        };
        Asking { server: self, name, kinds, asked }
    }
}

/// What a server is asked about one name.
pub(super) struct Asking<'a> {
    server: &'a Server,
    pub(super) name: &'a Name,
    kinds: &'a [RecordType],
    asked: Option<Asked>,
}

impl Asking<'_> {
    /// What it answers for records of the type in that place, aliases included.
    pub(super) async fn lookup(&self, place: usize) -> Result<Vec<Record>, Trouble> {
        let kind = self.kinds[place];
        let client = match (&self.asked, &self.server.first) {
            (Some(asked), Some(first)) => match self.said(kind, asked.answer(place).await) {
                Said::All(said) => return said,
                Said::Truncated => &first.tcp,
                Said::Nothing => &self.server.client,
            },
            _ => &self.server.client,
        };
        let lookup = client.lookup(self.name.clone(), kind).await.map_err(|error| trouble(&error))?;
        Ok(lookup.answers().to_vec())
    }

    fn said(&self, kind: RecordType, answer: Option<DnsResponse>) -> Said {
        match answer {
            Some(answer) if answer.truncation => Said::Truncated,
            Some(answer) => said(self.name, kind, answer),
            None => Said::Nothing,
        }
    }
}

fn said(name: &Name, kind: RecordType, answer: DnsResponse) -> Said {
    match DnsError::from_response(answer) {
        Ok(mut answer) => {
            let foreign = answer.all_sections().any(|record| record.dns_class != DNSClass::IN);
            let owner = last_alias(name, &answer.answers);
            let found = answer.answers.iter().any(|it| it.record_type() == kind && it.name == *owner);
            if found && !foreign { Said::All(Ok(std::mem::take(&mut answer.answers))) } else { Said::Nothing }
        }
        Err(error) => match trouble(&error.into()) {
            known @ (Trouble::Missing | Trouble::Empty) => Said::All(Err(known)),
            Trouble::Unanswered(_) => Said::Nothing,
        },
    }
}

/// Names that no server is asked for (RFC 6761); the client knows their answers.
fn is_special(name: &Name) -> bool {
    [&LOCALHOST, &INVALID, &ONION, &IN_ADDR_ARPA_127, &IP6_ARPA_1].iter().any(|usage| usage.zone_of(name))
}

fn build(mut builder: ResolverBuilder<Routes>) -> Result<Client, Error> {
    fresh(builder.options_mut());
    builder.build().map_err(|error| Error::Resolver(error.to_string()))
}

fn fresh(options: &mut ResolverOpts) {
    options.cache_size = 0;
    options.positive_max_ttl = Some(Duration::ZERO);
    options.negative_max_ttl = Some(Duration::ZERO);
    // The hosts file is ours to read: the client's own view of it is taken once, and it would mix
    // an address of one family from the file with one of the other family from the network.
    options.use_hosts_file = ResolveHosts::Never;
    options.try_tcp_on_error = true;
    options.max_active_requests = 2 * MAX_LOOKUPS;
}
