//! How the DNS client's queries travel.
//!
//! The client hands every query to a task behind a queue, on the runtime that asked first: from any
//! other, each query wakes another thread, and is passed back by one more waking. A query by UDP shares
//! nothing with the next, so it is sent and awaited where it is asked. TCP is left as it is: there, that
//! task shares the connection out.

use std::collections::HashSet;
use std::fmt;
use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, ProtocolConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::udp::UdpClientStream;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, DnsRequestSender, DnsResponseStream, FirstAnswer};
use hickory_resolver::proto::op::DnsRequest;
use hickory_resolver::{ConnectionProvider, PoolContext};

/// Opens [`Route`]s.
#[derive(Clone, Default)]
pub(super) struct Routes(TokioRuntimeProvider);

/// The way to one server.
#[derive(Clone)]
pub(super) enum Route {
    /// A socket with a random port for each query.
    Udp(Udp),
    /// A connection for all.
    Tcp(DnsExchange<TokioRuntimeProvider>),
}

/// What each query's socket is made of.
#[derive(Clone)]
pub(super) struct Udp {
    server: SocketAddr,
    timeout: Duration,
    from: Option<SocketAddr>,
    os_port_selection: bool,
    avoided_ports: Arc<HashSet<u16>>,
    runtime: TokioRuntimeProvider,
}

impl Routes {
    fn udp(&self, server: SocketAddr, from: Option<SocketAddr>, options: &ResolverOpts) -> Udp {
        Udp {
            server,
            timeout: options.timeout,
            from,
            os_port_selection: options.os_port_selection,
            avoided_ports: options.avoid_local_udp_ports.clone(),
            runtime: self.0.clone(),
        }
    }
}

impl ConnectionProvider for Routes {
    type Conn = Route;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Route, NetError>> + Send>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        cx: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        match &config.protocol {
            ProtocolConfig::Udp => {
                let server = SocketAddr::new(ip, config.port);
                let route = Route::Udp(self.udp(server, config.bind_addr, &cx.options));
                Ok(Box::pin(ready(Ok(route))))
            }
            ProtocolConfig::Tcp => {
                let connected = self.0.new_connection(ip, config, cx)?;
                Ok(Box::pin(async move { connected.await.map(Route::Tcp) }))
            }
        }
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.0
    }
}

impl DnsHandle for Route {
    type Response = DnsResponseStream;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> DnsResponseStream {
        match self {
            Self::Udp(udp) => udp.stream().send_message(request),
            Self::Tcp(connection) => Box::pin(connection.send(request).first_answer()).into(),
        }
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Udp").field(&self.server).finish()
    }
}

impl Udp {
    fn stream(&self) -> UdpClientStream<TokioRuntimeProvider> {
        UdpClientStream::builder(self.server, self.runtime.clone())
            .with_timeout(Some(self.timeout))
            .with_bind_addr(self.from)
            .with_os_port_selection(self.os_port_selection)
            .avoid_local_ports(self.avoided_ports.clone())
            .build()
    }
}
