//! The composition root: settings in, a running server out. The only namer of concrete adapters.

mod background;
mod descriptors;
pub mod dumps;
pub mod issuer;
mod operators;
mod reach;
mod reconfigure;
mod traces;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use self::reach::live;
pub use self::reach::receivers;
use self::reconfigure::Reconfigurer;
pub use self::reconfigure::Reload;
use crate::audit::configuration::How;
use crate::authority::authorities::Authorities;
use crate::authority::bundle::fingerprint;
use crate::config::settings::{Engine, LogLevel, Provisioner, Settings};
use crate::config::{self, Configuration, Problem};
use crate::entropy::{Entropy, SystemEntropy};
use crate::http::admin;
use crate::http::admin::operators::Operators;
use crate::http::admin::socket::{self, AdminSocket, SocketError};
use crate::http::dashboard::Dashboard;
use crate::http::metrics;
use crate::http::server::{self, Door, Limits};
use crate::http::tls::{self, OwnCertificate, OwnCertificateError};
use crate::http::workers::Workers;
use crate::http::{App, RequestLimits};
use crate::service::Service;
use crate::service::slots::MAX_ATTEMPTS;
use crate::storage::{self, Backend, Store, StoreError, Table};
use crate::telemetry;
use crate::time::{Clock, SystemClock};

/// Connections that wait to be accepted; the kernel takes no more than net.core.somaxconn.
const BACKLOG: u32 = 4096;

/// Hears once that the server answers.
pub type OnReady = Box<dyn FnOnce(&Ready) + Send>;

/// What to run.
pub struct Launch {
    /// On this.
    pub configuration: Configuration,
    /// Reads it again, on SIGHUP and for `mayfly config`.
    pub reload: Reload,
    /// Called once, when requests are answered.
    pub on_ready: Option<OnReady>,
}

/// A server that answers.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
    /// How its URLs begin.
    pub base_url: String,
    /// Provisioner and directory URL.
    pub directories: Vec<(String, String)>,
    /// Hex SHA-256 of the root.
    pub root_fingerprint: String,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// What the configuration names.
    #[error("{0}")]
    Authority(Problem),
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The listener's address.
    #[error(
        "cannot listen on {address}: {error}; choose another [server] address, or stop what listens there"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The address of the metrics.
    #[error(
        "cannot listen on {address}: {error}; choose another [metrics] address, or stop what listens there"
    )]
    ListenForMetrics {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The address of the admin listener.
    #[error(
        "cannot listen on {address}: {error}; choose another [admin] address, or stop what listens there"
    )]
    ListenForAdmin {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The admin socket.
    #[error("{0}")]
    Admin(#[from] SocketError),
    /// Its certificate.
    #[error("{0}")]
    OwnCertificate(#[from] OwnCertificateError),
    /// What `[traces]` names.
    #[error("{0}")]
    Traces(String),
    /// Anything of the operating system.
    #[error("{0}")]
    System(String),
}

impl From<Problem> for DaemonError {
    fn from(problem: Problem) -> Self {
        Self::Authority(problem)
    }
}

/// Runs until SIGTERM or SIGINT, then drains. SIGHUP puts authorities, provisioners, limits, validation rules
/// and receivers of the configuration file into force.
pub fn run(launch: Launch) -> Result<(), DaemonError> {
    let settings = &launch.configuration.settings;
    telemetry::log::start(settings.log.json, level(settings.log.level));
    // Before any key is read, and before there are threads.
    if settings.server.allow_core_dumps {
        tracing::warn!("allow_core_dumps: a core dump of this process would hold its private keys");
    } else {
        dumps::forbid().map_err(|error| DaemonError::System(format!("cannot forbid core dumps: {error}")))?;
    }
    // Accepts connections, sweeps, renews, waits for signals; requests run on the workers.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| DaemonError::System(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(serve(launch));
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}

async fn serve(launch: Launch) -> Result<(), DaemonError> {
    let Launch { configuration: Configuration { settings, texts }, reload, on_ready } = launch;
    // Before anybody is told that the server is there, and may send one.
    let mut signals = Signals::new()?;
    let limits = listener_limits(&settings)?;
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let authorities = issuer::load_all(&settings, clock.now())?;
    let address = settings.server.address;
    let listen_error = |error| DaemonError::Listen { address, error };
    let listener = bind(address).map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let metrics_listener = match settings.metrics.address {
        Some(address) => {
            let bound = bind(address);
            Some(bound.map_err(|error| DaemonError::ListenForMetrics { address, error })?)
        }
        None => None,
    };
    let exporter = traces::start(&settings)?;
    let admin_listener = match &settings.admin.listener {
        Some(admin) => {
            let operators = operators::load(admin)?;
            let bound = bind(admin.address);
            let address = admin.address;
            Some((bound.map_err(|error| DaemonError::ListenForAdmin { address, error })?, operators))
        }
        None => None,
    };
    let store = storage::open(backend(settings.store.engine), &settings.store.path)?;
    // After the store: a second process on this directory hears of that.
    let socket = AdminSocket::bind(&settings.admin.socket)?;
    let root_fingerprint = first_root(&authorities);
    let live = live(&settings, authorities, address)?;
    let service = Arc::new(Service::new(store.clone(), clock, entropy.clone(), live));
    // Before anybody can ask when to renew.
    let loaded = service.load_campaigns().await;
    loaded.map_err(|error| DaemonError::System(format!("the campaigns' records: {error}")))?;
    let names = settings.server.dns_names.clone();
    let (own, renew_at) = OwnCertificate::issue(&service, &names).await?;
    let own = Arc::new(own);
    let config = tls::server_config(own.clone()).map_err(|e| DaemonError::System(e.to_string()))?;
    let of_operators = |operators: &Arc<Operators>| {
        let config = admin::operators::server_config(own.clone(), operators.clone());
        config.map_err(|error| DaemonError::System(error.to_string()))
    };
    let admin_listener = match admin_listener {
        Some((listener, operators)) => Some((listener, of_operators(&operators)?, operators)),
        None => None,
    };
    let operating = admin_listener.as_ref().map(|(_, _, operators)| operators.clone());
    let boot = u32::from_be_bytes(entropy.bytes());
    let base_url = settings.server.base_url.clone();
    let request_limits = RequestLimits {
        bytes: settings.server.max_body,
        time: settings.server.request_timeout.min(server::STALL),
        under_way: settings.server.max_requests,
        headers: settings.server.max_headers,
        url: settings.server.max_url,
    };
    let app = App::new(service.clone(), base_url.clone(), request_limits, boot);
    let (stop, stopping) = watch::channel(false);
    let dashboard = Dashboard::new(service.clone(), settings.admin.dashboard_on_loopback, stopping.clone());
    let app = Arc::new(app.with_metrics(metrics_access(&settings)).with_dashboard(dashboard));

    let version = service.keep_configuration(texts.file, texts.policies, How::Start, None).await;
    let version =
        version.map_err(|error| DaemonError::System(format!("the configuration's record: {error}")))?;
    service.live().kept_as(version);
    let reconfigurer = Reconfigurer::new(service.clone(), (settings.clone(), operating), reload, address);
    app.reconfigured_by(reconfigurer.clone());

    let background = background::start(&service, own, names, renew_at, &settings.store);
    let workers = Workers::start()
        .map_err(|error| DaemonError::System(format!("cannot start the workers: {error}")))?;
    let workers = Arc::new(workers);
    let mut commands = tokio::spawn(socket::serve(socket, app.clone(), limits.drain, stopping.clone()));
    let mut operated = admin_listener.map(|(listener, config, operators)| {
        let (limits, door) = (admin::listener::limits(limits.drain), Door::Operators(operators));
        let listening =
            listen(listener, workers.clone(), config, (app.clone(), door), limits, stopping.clone());
        tokio::spawn(listening)
    });
    if let Some(listener) = metrics_listener {
        tokio::spawn(metrics::serve(listener, app.clone(), stopping.clone()));
    }
    let mut server = tokio::spawn(listen(listener, workers, config, (app, Door::Public), limits, stopping));
    let ready = ready(&settings, address, base_url, root_fingerprint);
    tracing::info!(%address, directories = ?ready.directories, configuration = version, "serving");
    if let Some(on_ready) = on_ready {
        on_ready(&ready);
    }
    let outcome = tokio::select! {
        () = wait_for_stop(&mut signals, &reconfigurer) => {
            tracing::info!("stopping: no new requests; those under way are finished");
            let _ = stop.send(true);
            tokio::select! {
                _ = async { tokio::join!(&mut server, &mut commands, async {
                    if let Some(operated) = &mut operated {
                        let _ = operated.await;
                    }
                }) } => {}
                () = signals.stop() => tracing::warn!("told to stop again: not waiting for requests under way"),
            }
            Ok(())
        }
        // It cannot mend itself, and whoever started this process can start it again.
        error = store_failure(&*store) => Err(DaemonError::Store(error)),
        // A process that listens no more is to be started anew.
        ended = &mut server => Err(DaemonError::System(format!("the listener ended: {ended:?}"))),
        ended = &mut commands => Err(DaemonError::System(format!("the admin socket ended: {ended:?}"))),
    };
    drop(background);
    if let Err(error) = service.keep_refused(true).await {
        tracing::warn!(%error, "the last refused requests could not be recorded");
    }
    store.close().await;
    if let Some(exporter) = exporter {
        exporter.stop().await;
    }
    tracing::info!("stopped");
    outcome
}

/// Hex SHA-256 of the first root of the first authority.
fn first_root(authorities: &Authorities) -> String {
    let root = authorities.iter().next().and_then(|authority| authority.roots().first());
    root.map(|root| fingerprint(root)).unwrap_or_default()
}

/// A listener with a long queue: after a restart all clients come at once, and who finds the queue full
/// tries again only after a second, then after two, four and so on.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn listener_limits(settings: &Settings) -> Result<Limits, DaemonError> {
    let connections = descriptors::connections(settings.server.max_connections, MAX_ATTEMPTS * 2);
    Ok(Limits {
        connections: connections.map_err(DaemonError::System)?,
        request: settings.server.request_timeout,
        drain: settings.server.drain_timeout,
        head: settings.server.max_head,
        of_network: settings.network_connections,
    })
}

fn metrics_access(settings: &Settings) -> metrics::Access {
    let config::settings::Metrics { address, allow, vault_aliases } = &settings.metrics;
    metrics::Access { elsewhere: address.is_some(), allow: allow.clone(), vault_aliases: *vault_aliases }
}

fn listen(
    listener: TcpListener,
    workers: Arc<Workers>,
    config: ServerConfig,
    app: (Arc<App>, Door),
    limits: Limits,
    stopping: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send + 'static {
    server::serve(listener, workers, TlsAcceptor::from(Arc::new(config)), app, limits, stopping)
}

fn ready(settings: &Settings, address: SocketAddr, base_url: String, root_fingerprint: String) -> Ready {
    let directories = settings.provisioners.iter().map(|Provisioner::Acme(acme)| {
        (acme.name.clone(), format!("{base_url}/acme/{}/directory", acme.name))
    });
    Ready { address, directories: directories.collect(), base_url: base_url.clone(), root_fingerprint }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, DaemonError> {
        let on = |kind| {
            signal(kind).map_err(|error| DaemonError::System(format!("cannot handle signals: {error}")))
        };
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn wait_for_stop(signals: &mut Signals, reconfigurer: &Arc<Reconfigurer>) {
    // A task of its own: a token or a key service that hangs shall not keep the server from stopping.
    let mut reload: Option<JoinHandle<()>> = None;
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
            _ = signals.hangup.recv(), if reload.is_none() => {
                let reconfigurer = reconfigurer.clone();
                reload = Some(tokio::spawn(async move { reconfigurer.on_signal().await }));
            }
            ended = async { reload.as_mut()?.await.err() }, if reload.is_some() => {
                if let Some(error) = ended {
                    tracing::error!(%error, "SIGHUP: the reload broke off");
                }
                reload = None;
            }
        }
    }
}

/// Returns when the store has failed.
async fn store_failure(store: &dyn Store) -> StoreError {
    const STEP: Duration = Duration::from_secs(1);
    loop {
        if let Err(error @ StoreError::Failed(_)) = store.get(Table::Meta, b"alive").await {
            tracing::error!(%error, "stopping: the store has failed and must be opened again");
            return error;
        }
        tokio::time::sleep(STEP).await;
    }
}

fn level(level: LogLevel) -> tracing::Level {
    match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    }
}

fn backend(engine: Engine) -> Backend {
    match engine {
        Engine::Fjall => Backend::Fjall,
        Engine::Sled => Backend::Sled,
        Engine::Memory => Backend::Memory,
    }
}
