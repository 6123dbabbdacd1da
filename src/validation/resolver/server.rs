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
use hickory_resolver::proto::op::{DnsRequestOptions, DnsResponse};
use hickory_resolver::proto::rr::domain::usage::{IN_ADDR_ARPA_127, INVALID, IP6_ARPA_1, LOCALHOST, ONION};
use hickory_resolver::proto::rr::{DNSClass, Name, Record, RecordType};
use hickory_resolver::{Resolver, ResolverBuilder};

use super::route::{Routes, Udp};
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
    route: Udp,
    options: DnsRequestOptions,
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
    /// The one at `addr`; a query is tried twice, each time for so long.
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
        let route = Udp::to(addr, client.options());
        let first = First { route, options: options_of(client.options()), tcp };
        Ok(Self { label: format!("resolver {addr}"), first: Some(first), client })
    }

    /// The system's.
    pub(super) fn system() -> Result<Self, Error> {
        let builder = Client::builder(Routes::default()).map_err(|error| Error::System(error.to_string()))?;
        Ok(Self { label: "the system's resolver".to_owned(), first: None, client: build(builder)? })
    }

    /// What it answers for records of that type, aliases included.
    pub(super) async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Vec<Record>, Trouble> {
        let client = match &self.first {
            Some(first) if !is_special(name) => match first.ask(name, kind).await {
                Said::All(said) => return said,
                Said::Truncated => &first.tcp,
                Said::Nothing => &self.client,
            },
            _ => &self.client,
        };
        let lookup = client.lookup(name.clone(), kind).await.map_err(|error| trouble(&error))?;
        Ok(lookup.answers().to_vec())
    }
}

impl First {
    async fn ask(&self, name: &Name, kind: RecordType) -> Said {
        match self.route.ask(name, kind, self.options).await {
            Ok(answer) if answer.truncation => Said::Truncated,
            Ok(answer) => said(name, kind, answer),
            Err(_) => Said::Nothing,
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

fn options_of(options: &ResolverOpts) -> DnsRequestOptions {
    let mut request = DnsRequestOptions::default();
    request.recursion_desired = options.recursion_desired;
    request.use_edns = options.edns0;
    request.edns_payload_len = options.edns_payload_len;
    request.case_randomization = options.case_randomization;
    request
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
