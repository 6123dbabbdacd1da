//! Validated settings: what the daemon runs on. Made only by [`crate::config`] from a file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::authority::key_source::{KeySource, PasswordSource};
use crate::id::AuthorityName;
use crate::limits::Rules;
use crate::policy::Pair;
use crate::provisioner::acme::Terms;
use crate::provisioner::operator::OperatorName;

/// Everything one process runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The listener.
    pub server: Server,
    /// Where data lives.
    pub store: Store,
    /// How challenges are validated.
    pub validation: Validation,
    /// The issuing authorities; never none, and names are unique.
    pub authorities: Vec<Authority>,
    /// For the operator's commands.
    pub admin: Admin,
    /// Who may ask; names are unique.
    pub provisioners: Vec<Provisioner>,
    /// How much clients may ask for.
    pub limits: Rules,
    /// Connections of one network open at once; `None` is off. Never zero.
    pub network_connections: Option<usize>,
    /// Log output.
    pub log: Log,
    /// What is counted.
    pub metrics: Metrics,
    /// Where traces go; `None` is nowhere.
    pub traces: Option<Traces>,
    /// Who is told what is wrong in the fleet; names are unique.
    pub notify: Vec<Notify>,
}

impl Settings {
    /// What the section of the authority at a place of the list is called in messages.
    pub fn path_of(&self, place: usize) -> String {
        if self.authorities.len() == 1 { "authority".to_owned() } else { format!("authority[{place}]") }
    }
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where to listen.
    pub address: SocketAddr,
    /// Names (or addresses) that clients reach this CA by; its own certificate carries them.
    pub dns_names: Vec<crate::acme::identifier::Identifier>,
    /// `https://HOST[:PORT]`, without a trailing slash; every URL handed out starts so.
    pub base_url: String,
    /// Largest request body, bytes; never zero.
    pub max_body: usize,
    /// Connections open at once; never zero.
    pub max_connections: usize,
    /// Requests under way at once; beyond it, and for new orders and accounts beyond half of it,
    /// the answer is 503; never zero.
    pub max_requests: usize,
    /// Most bytes of a request's head.
    pub max_head: u32,
    /// Most header fields of a request; of more than 100 the parser itself refuses.
    pub max_headers: usize,
    /// Longest path and query of a request, bytes.
    pub max_url: usize,
    /// Which authority issues this server's own certificate.
    pub authority: AuthorityName,
    /// Longest time a request may take to arrive or be answered.
    pub request_timeout: Duration,
    /// How long a drain waits for requests under way before it gives up.
    pub drain_timeout: Duration,
    /// Whether the process may leave its memory, keys and all, in a core dump.
    pub allow_core_dumps: bool,
}

/// Storage engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The default.
    Fjall,
    /// Behind the cargo feature `sled`.
    Sled,
    /// Keeps nothing; for tests and trials.
    Memory,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Which engine.
    pub engine: Engine,
    /// Its directory.
    pub path: PathBuf,
    /// How long certificates and audit events are kept once the certificate has expired.
    pub retention: Duration,
    /// How long an account is kept that nobody uses and that has nothing alive.
    pub account_retention: Duration,
}

/// `[validation]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validation {
    /// DNS servers; empty means the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Port of http-01.
    pub http_port: u16,
    /// Port of tls-alpn-01.
    pub tls_alpn_port: u16,
    /// Targets allowed although denied by default.
    pub allow: Vec<IpNet>,
    /// Targets denied in addition to the defaults; wins over `allow`.
    pub deny: Vec<IpNet>,
    /// For one attempt, all in all.
    pub timeout: Duration,
    /// Attempts per challenge before it is invalid; at least 1.
    pub attempts: u32,
}

/// `[authority]`, or one of several `[[authority]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// What provisioners call it.
    pub name: AuthorityName,
    /// Root certificate, PEM.
    pub root: PathBuf,
    /// Intermediate certificate, PEM.
    pub certificate: PathBuf,
    /// The intermediate's private key.
    pub key: KeySource,
    /// The key file's password, or the token's PIN.
    pub password: Option<PasswordSource>,
    /// Files with other chains above the same key and name, PEM, served as alternates.
    pub alternate_chains: Vec<PathBuf>,
    /// Files with the chains of issuers before or after this one, PEM, served with what those signed.
    pub other_issuers: Vec<PathBuf>,
    /// The longest lifetime of a leaf; no provisioner's is longer.
    pub max_ttl: Option<Duration>,
    /// What its certificates are judged by, besides the provisioner's own policy.
    pub policy: Pair,
    /// Where the issuer's certificate is published, `http://…`.
    pub ca_issuers_url: Option<String>,
    /// Where its CRL is.
    pub crl_url: Option<String>,
    /// Where its OCSP responder is.
    pub ocsp_url: Option<String>,
    /// How long before the end of a certificate of its chains to warn.
    pub expiry_warning: Duration,
    /// The issuer that is to sign next.
    pub next: Option<NextIssuer>,
    /// How long that is in the bundle before it signs.
    pub bundle_overlap: Duration,
    /// Over how long clients are called over once it does.
    pub handover: Duration,
}

/// `[authority.next]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextIssuer {
    /// Its certificate, PEM, with those above it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: KeySource,
    /// The key file's password, or the token's PIN.
    pub password: Option<PasswordSource>,
    /// Files with other chains above the same key and name, PEM.
    pub alternate_chains: Vec<PathBuf>,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The Unix socket that commands to a running CA go through.
    pub socket: PathBuf,
    /// The same over the network, if it is offered there.
    pub listener: Option<AdminListener>,
    /// Whether the main listener shows the dashboard to this machine.
    pub dashboard_on_loopback: bool,
}

/// `[admin] address`, and who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminListener {
    /// Where it listens.
    pub address: SocketAddr,
    /// PEM of the CAs that clients' certificates are from; `None` if each certificate is listed itself.
    pub client_ca: Option<PathBuf>,
    /// Whose certificates are let in; never none.
    pub clients: Vec<OperatorName>,
}

/// `[[provisioner]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provisioner {
    /// `type = "acme"`
    Acme(Terms),
}

/// `[log]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// Least severe level shown.
    pub level: LogLevel,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// `[metrics]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// A listener of their own, in plain HTTP; `None` is the main one.
    pub address: Option<SocketAddr>,
    /// Who may read them, beside this machine.
    pub allow: Vec<IpNet>,
    /// Whether to show what Vault has too under its names.
    pub vault_aliases: bool,
}

/// `[traces]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// Where spans are sent to, OTLP's own path included.
    pub url: String,
    /// The collector's CA certificates, PEM; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// Headers to send along, a secret file of `NAME: VALUE` lines.
    pub headers_file: Option<PathBuf>,
    /// How many of a million traces are recorded.
    pub sample: u32,
    /// What the spans say that this process is.
    pub service_name: String,
    /// Networks whose callers decide whether their traces are recorded.
    pub trust: Vec<IpNet>,
    /// Most spans that wait; never zero.
    pub queue: usize,
    /// Most spans sent together; never zero.
    pub batch: usize,
    /// How long a span waits for others.
    pub interval: Duration,
    /// How long the collector has for its answer.
    pub timeout: Duration,
}

/// What a receiver of notices speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyType {
    /// JSON of ours.
    Webhook,
    /// Alertmanager's API.
    Alertmanager,
}

/// `[[notify]]`
#[derive(Clone, PartialEq, Eq)]
pub struct Notify {
    /// What it is called in the log and in metrics.
    pub name: String,
    /// What it speaks.
    pub kind: NotifyType,
    /// `http://` or `https://`; whoever knows it can perhaps write there.
    pub url: String,
    /// PEM certificates that it is known by; `None` is the system's.
    pub ca: Option<PathBuf>,
    /// The file of a bearer token.
    pub token_file: Option<PathBuf>,
    /// The file of the key that a webhook's bodies are signed with.
    pub secret_file: Option<PathBuf>,
    /// For one request, all in all.
    pub timeout: Duration,
    /// After which time an alert that goes on is told again.
    pub repeat: Duration,
    /// Whether it is told of ends.
    pub send_resolved: bool,
    /// How many identities in the same trouble are told one by one; at least 1.
    pub individual: usize,
}

impl std::fmt::Debug for Notify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notify").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
