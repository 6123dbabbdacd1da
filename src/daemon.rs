//! The composition root: settings in, a running server out. The only namer of concrete adapters.

mod descriptors;
pub mod issuer;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use self::issuer::Loaded;
use crate::acme::identifier::Identifier;
use crate::config::Problem;
use crate::config::settings::{Engine, LogLevel, Provisioner, Settings};
use crate::entropy::{Entropy, SystemEntropy};
use crate::http::server::{self, Limits};
use crate::http::status::{Trust, fingerprint};
use crate::http::tls::{self, OwnCertificate, OwnCertificateError};
use crate::http::workers::Workers;
use crate::http::{App, RequestLimits};
use crate::provisioner::acme::Terms;
use crate::service::slots::MAX_ATTEMPTS;
use crate::service::star::RenewalCursor;
use crate::service::sweep::Cursors;
use crate::service::{Live, Prove, Service};
use crate::storage::{self, Backend, BoxFuture, Store, StoreError, Table};
use crate::telemetry;
use crate::time::{Clock, SystemClock, Timestamp};
use crate::validation::{Ask, Outcome, Rules, Validator};

/// Reads the settings again, with whatever the command line puts over the file.
pub type Reload = Box<dyn Fn() -> Result<Settings, Vec<Problem>> + Send + Sync>;

/// Hears once that the server answers.
pub type OnReady = Box<dyn FnOnce(&Ready) + Send>;

/// What to run.
pub struct Launch {
    /// On these settings.
    pub settings: Settings,
    /// Reads them again, on SIGHUP.
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
    /// What `[authority]` names.
    #[error("{0}")]
    Authority(Problem),
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The validator.
    #[error("[validation]: {0}")]
    Validation(#[from] crate::validation::Error),
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
    /// Its certificate.
    #[error("{0}")]
    OwnCertificate(#[from] OwnCertificateError),
    /// Anything of the operating system.
    #[error("{0}")]
    System(String),
}

impl From<Problem> for DaemonError {
    fn from(problem: Problem) -> Self {
        Self::Authority(problem)
    }
}

/// Runs until SIGTERM or SIGINT, then drains. SIGHUP puts provisioners and validation rules of the
/// configuration file into force.
pub fn run(launch: Launch) -> Result<(), DaemonError> {
    telemetry::log::start(launch.settings.log.json, level(launch.settings.log.level));
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
    let Launch { settings, reload, on_ready } = launch;
    // Before anybody is told that the server is there, and may send one.
    let mut signals = Signals::new()?;
    let limits = listener_limits(&settings)?;
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Loaded { issuer, roots } = issuer::load(&settings.authority, clock.now())?;
    let address = settings.server.address;
    let listen_error = |error| DaemonError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let store = storage::open(backend(settings.store.engine), &settings.store.path)?;
    let live = live(&settings, address)?;
    let trust = Trust::new(&roots, issuer.chain());
    let root_fingerprint = roots.first().map(|root| fingerprint(root)).unwrap_or_default();
    let service = Arc::new(Service::new(store.clone(), clock, entropy.clone(), issuer, live));
    let names = settings.server.dns_names.clone();
    let (own, renew_at) = OwnCertificate::issue(&service, &names).await?;
    let own = Arc::new(own);
    let config = tls::server_config(own.clone()).map_err(|e| DaemonError::System(e.to_string()))?;
    let boot = u32::from_be_bytes(entropy.bytes());
    let base_url = settings.server.base_url.clone();
    let request_limits = RequestLimits {
        bytes: settings.server.max_body,
        time: settings.server.request_timeout,
        under_way: settings.server.max_requests,
    };
    let app = Arc::new(App::new(service.clone(), base_url.clone(), trust, request_limits, boot));

    let (stop, stopping) = watch::channel(false);
    let background = [
        tokio::spawn(renew_own(service.clone(), own, names, renew_at)),
        tokio::spawn(sweep(service.clone(), settings.store.retention)),
        tokio::spawn(renew_orders(service.clone())),
    ];
    let workers = Workers::start()
        .map_err(|error| DaemonError::System(format!("cannot start the workers: {error}")))?;
    let mut server = tokio::spawn(listen(listener, workers, config, app, limits, stopping));
    let ready = ready(&settings, address, base_url, root_fingerprint);
    tracing::info!(%address, directories = ?ready.directories, "serving");
    if let Some(on_ready) = on_ready {
        on_ready(&ready);
    }
    let outcome = tokio::select! {
        () = wait_for_stop(&mut signals, &service, &settings, &reload, address) => {
            tracing::info!("stopping: no new requests; those under way are finished");
            let _ = stop.send(true);
            tokio::select! {
                _ = &mut server => {}
                () = signals.stop() => tracing::warn!("told to stop again: not waiting for requests under way"),
            }
            Ok(())
        }
        // It cannot mend itself, and whoever started this process can start it again.
        error = store_failure(&*store) => Err(DaemonError::Store(error)),
        // A process that listens no more is to be started anew.
        ended = &mut server => Err(DaemonError::System(format!("the listener ended: {ended:?}"))),
    };
    background.iter().for_each(tokio::task::JoinHandle::abort);
    store.close().await;
    tracing::info!("stopped");
    outcome
}

fn listener_limits(settings: &Settings) -> Result<Limits, DaemonError> {
    let connections = descriptors::connections(settings.server.max_connections, MAX_ATTEMPTS * 2);
    Ok(Limits {
        connections: connections.map_err(DaemonError::System)?,
        request: settings.server.request_timeout,
        drain: settings.server.drain_timeout,
    })
}

fn listen(
    listener: TcpListener,
    workers: Workers,
    config: ServerConfig,
    app: Arc<App>,
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

async fn wait_for_stop(
    signals: &mut Signals,
    service: &Service,
    running: &Settings,
    read_again: &Reload,
    address: SocketAddr,
) {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
            _ = signals.hangup.recv() => reload(service, running, read_again, address),
        }
    }
}

/// Puts the file's provisioners and validation rules into force; a bad file changes nothing.
fn reload(service: &Service, running: &Settings, read_again: &Reload, address: SocketAddr) {
    let settings = match read_again() {
        Ok(settings) => settings,
        Err(problems) => {
            for problem in problems {
                tracing::error!(%problem, "SIGHUP: the configuration is not valid");
            }
            tracing::error!("SIGHUP: nothing was changed; `mayfly check-config` tells more");
            return;
        }
    };
    let fixed = [
        ("[server]", settings.server == running.server),
        ("[store]", settings.store == running.store),
        ("[authority]", settings.authority == running.authority),
        ("[log]", settings.log == running.log),
    ];
    for (section, _) in fixed.iter().filter(|(_, same)| !same) {
        tracing::warn!(section, "SIGHUP: this section has changed; it takes effect at the next start");
    }
    match live(&settings, address) {
        Ok(live) => {
            let names: Vec<&str> = live.provisioners.keys().map(String::as_str).collect();
            tracing::info!(
                provisioners = names.join(","),
                "SIGHUP: provisioners and validation rules reloaded"
            );
            service.reload(live);
        }
        Err(error) => tracing::error!(%error, "SIGHUP: nothing was changed"),
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

impl Prove for Validator {
    fn prove<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Outcome> {
        Box::pin(self.validate(ask))
    }
}

fn live(settings: &Settings, address: SocketAddr) -> Result<Live, DaemonError> {
    let validation = &settings.validation;
    let prover = Validator::new(Rules {
        resolvers: validation.resolvers.clone(),
        http_port: validation.http_port,
        tls_alpn_port: validation.tls_alpn_port,
        allow: validation.allow.clone(),
        deny: validation.deny.clone(),
        own_listeners: vec![address],
        timeout: validation.timeout,
    })?;
    let provisioners: HashMap<String, Arc<Terms>> = settings
        .provisioners
        .iter()
        .map(|Provisioner::Acme(acme)| (acme.name.clone(), Arc::new(acme.clone())))
        .collect();
    Ok(Live { provisioners, prover: Arc::new(prover), attempts: validation.attempts })
}

/// Renews the listener's certificate at two thirds of its life.
async fn renew_own(
    service: Arc<Service>,
    own: Arc<OwnCertificate>,
    names: Vec<Identifier>,
    mut renew_at: Timestamp,
) {
    // Short steps: a machine that slept, or a clock that was set, is noticed soon.
    const STEP: Duration = Duration::from_secs(30);
    loop {
        tokio::time::sleep(STEP).await;
        if service.now() < renew_at {
            continue;
        }
        match own.renew(&service, &names).await {
            Ok(next) => {
                tracing::info!(next = %next, "the server's own certificate was renewed");
                renew_at = next;
            }
            Err(error) => tracing::error!(%error, "the server's own certificate was not renewed; trying on"),
        }
    }
}

/// Sweeps in bounded steps, with pauses so that requests go first.
async fn sweep(service: Arc<Service>, retention: Duration) {
    const IDLE: Duration = Duration::from_secs(10);
    const BUSY: Duration = Duration::from_millis(20);
    let mut cursors = Cursors::default();
    loop {
        let pause = match service.sweep(&mut cursors, retention).await {
            Ok(swept) if swept.more => BUSY,
            Ok(_) => IDLE,
            Err(error) => {
                tracing::warn!(%error, "sweeping expired data failed; trying on");
                IDLE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Issues the next certificates of orders that are renewed automatically, in bounded steps. A short
/// pause costs one read of the head of a table, and it bounds by how much a renewal is late.
async fn renew_orders(service: Arc<Service>) {
    const IDLE: Duration = Duration::from_secs(1);
    const BUSY: Duration = Duration::from_millis(20);
    const FAILED: Duration = Duration::from_secs(5);
    let mut cursor = RenewalCursor::default();
    loop {
        let pause = match service.renew_due(&mut cursor).await {
            Ok(renewed) if renewed.more => BUSY,
            Ok(_) => IDLE,
            Err(error) => {
                tracing::warn!(%error, "automatic renewals failed; trying on");
                FAILED
            }
        };
        tokio::time::sleep(pause).await;
    }
}
