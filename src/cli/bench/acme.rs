//! `mayfly bench acme`

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::super::CliError;
use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::Identifier;
use crate::bench::BenchError;
use crate::bench::acme::{self, Plan};
use crate::bench::flow::Proof;
use crate::bench::report::{self, Report};
use crate::bench::stats::Recent;
use crate::client::key::KeyKind;
use crate::client::transport::Version;
use crate::entropy::{Entropy, SystemEntropy};

const AFTER_HELP: &str = "\
Each client has an account, a connection and one issuance at a time. By default every order is for \
fresh names; the CA must look them up at this tool's DNS server and fetch http-01 from its \
responder. For mayfly, in mayfly.toml:

  [validation]
  resolvers = [\"127.0.0.1:5053\"]
  http_port = 5002
  allow = [\"127.0.0.0/8\"]

For others: Pebble takes -dnsserver 127.0.0.1:5053 and \"httpPort\": 5002, step-ca --resolver \
127.0.0.1:5053 and --acme-http-port 5002.

Without --rate the loop is closed: a client begins its next issuance when the last is done, and the \
rate is what the server bears. With --rate the loop is open: issuances begin by the clock, latency \
counts from the moment each was due, and --clients only bounds how many are under way.

With --pid, on Linux, the report tells the server's CPU time per issuance, also in units of X: what 7 \
verifications, one CSR verification and one signature (all P-256) cost on this machine while all its \
CPUs are busy, measured in the same run. X makes figures of different machines comparable.

Ctrl-C ends the run with a report. Exit code 1 if nothing was issued, or more than --max-errors \
issuances failed.

Examples:
  mayfly bench acme --directory https://localhost:9443/acme/acme/directory \\
                    --root ca/certs/root_ca.crt --clients 32 --pid 4711
  mayfly bench acme … --rate 500 --clients 256 --duration 1m     half load, true latencies
  mayfly bench acme … --reuse-authorizations                     renewals: 3 requests each
  mayfly bench acme … --http2 --fresh-connections --names 10 --cert-key rsa2048 --json";

/// Arguments of `mayfly bench acme`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The server's directory, an https URL
    #[arg(long, value_name = "URL", value_parser = https_url, help_heading = "Server")]
    pub directory: String,
    /// PEM certificates that the server's own certificate is verified with
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    pub root: PathBuf,
    /// The server's process on this machine: measure its CPU time and memory
    #[arg(long, value_name = "PID", help_heading = "Server")]
    pub pid: Option<u32>,
    /// Load a server that is not on this machine; make sure that it is yours
    #[arg(long, help_heading = "Server")]
    pub allow_remote: bool,
    /// Wait at most this long for a reply
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = super::some_time, help_heading = "Server")]
    pub timeout: Duration,

    /// Accounts, each with a connection and one issuance at a time; at most 10000
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=10_000), help_heading = "Load")]
    pub clients: u16,
    /// Begin this many issuances per second, whatever the server does; at most 100000
    #[arg(long, value_name = "PER-SECOND", value_parser = rate, help_heading = "Load")]
    pub rate: Option<f64>,
    /// End after so many issuances, if the time is not up before; no warm-up
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "rate", help_heading = "Load")]
    pub issuances: Option<u64>,
    /// How long to measure; at most 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = super::some_time, help_heading = "Load")]
    pub duration: Duration,
    /// Load before it that does not count; at most 1h
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = super::up_to_an_hour, help_heading = "Load")]
    pub warmup: Duration,
    /// Speak HTTP/1.1, which is the default
    #[arg(long, conflicts_with = "http2", help_heading = "Load")]
    pub http1: bool,
    /// Speak HTTP/2
    #[arg(long, help_heading = "Load")]
    pub http2: bool,
    /// Open a connection for every issuance, with a full TLS handshake
    #[arg(long, help_heading = "Load")]
    pub fresh_connections: bool,
    /// Send a request again after 429 or 503 with Retry-After, up to this many times
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1000), help_heading = "Load")]
    pub busy_retries: u32,

    /// Each client asks for the same names again and again, so that its orders are ready at once
    #[arg(long, help_heading = "Orders")]
    pub reuse_authorizations: bool,
    /// Names per order; at most 100
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100), help_heading = "Orders")]
    pub names: u16,
    /// The names are under this domain
    #[arg(long, value_name = "DOMAIN", default_value = "bench.test", value_parser = domain, help_heading = "Orders")]
    pub domain: String,
    /// How names are proved; `none` answers a challenge and puts nothing in place, for servers that
    /// take every proof as given
    #[arg(long, value_name = "KIND", default_value = "http-01", value_parser = ["http-01", "dns-01", "none"], help_heading = "Orders")]
    pub challenge: String,
    /// Kind of the certificates' keys: p256, p384, ed25519, rsa2048
    #[arg(long, value_name = "KIND", default_value = "p256", value_parser = key_kind, help_heading = "Orders")]
    pub cert_key: KeyKind,
    /// So many keys are made beforehand and used in turns
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Orders")]
    pub cert_keys: u16,
    /// Kind of the accounts' keys: p256, p384, ed25519, rsa2048
    #[arg(long, value_name = "KIND", default_value = "p256", value_parser = key_kind, help_heading = "Orders")]
    pub account_key: KeyKind,

    /// Port of the http-01 responder on 127.0.0.1
    #[arg(long, value_name = "PORT", default_value_t = 5002, help_heading = "Responders")]
    pub http_port: u16,
    /// Port of the DNS server on 127.0.0.1, UDP and TCP
    #[arg(long, value_name = "PORT", default_value_t = 5053, help_heading = "Responders")]
    pub dns_port: u16,
    /// Give every name the address ::1 as well
    #[arg(long, help_heading = "Responders")]
    pub ipv6: bool,

    /// Print the report as JSON
    #[arg(long, help_heading = "Report")]
    pub json: bool,
    /// No line per second on standard error
    #[arg(long, help_heading = "Report")]
    pub quiet: bool,
    /// Fail if more issuances than this failed
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Report")]
    pub max_errors: u64,
}

/// Runs the load and reports.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let roots =
        std::fs::read(&args.root).map_err(|source| CliError::File { path: args.root.clone(), source })?;
    let plan = plan(args, roots, &SystemEntropy::default());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)?;
    let quiet = args.quiet;
    let progress = move |at: Duration, counting: bool, recent: &Recent| {
        if !quiet {
            let _ = writeln!(std::io::stderr(), "{}", report::progress(at, counting, recent));
        }
    };
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    let outcome = runtime.block_on(acme::run(plan.clone(), stop, &progress))?;
    let report = Report::new(&plan, &outcome);
    match args.json {
        true => super::json(out, &report)?,
        false => write!(out, "{}", report.text())?,
    }
    out.flush()?;
    verdict(&report, args.max_errors)
}

fn verdict(report: &Report, max_errors: u64) -> Result<(), CliError> {
    let failed = |text| Err(CliError::Bench(BenchError::Verdict(text)));
    match report {
        Report { issued: 0, .. } => failed("nothing was issued".to_owned()),
        Report { errors, .. } if *errors > max_errors => {
            failed(format!("{errors} issuances failed; --max-errors allows {max_errors}"))
        }
        _ => Ok(()),
    }
}

pub(super) fn plan(args: &Args, roots: Vec<u8>, entropy: &dyn Entropy) -> Plan {
    let random: String = entropy.bytes::<4>().iter().map(|byte| format!("{byte:02x}")).collect();
    Plan {
        directory: args.directory.clone(),
        roots,
        allow_remote: args.allow_remote,
        pid: args.pid,
        clients: args.clients.into(),
        rate: args.rate,
        issuances: args.issuances,
        duration: args.duration,
        warmup: if args.issuances.is_some() { Duration::ZERO } else { args.warmup },
        timeout: args.timeout,
        version: if args.http2 { Version::Http2 } else { Version::Http1 },
        fresh_connections: args.fresh_connections,
        reuse: args.reuse_authorizations,
        names: args.names.into(),
        domain: args.domain.clone(),
        proof: ChallengeKind::parse(&args.challenge).map_or(Proof::Pretended, Proof::By),
        account_key: args.account_key,
        certificate_key: args.cert_key,
        certificate_keys: args.cert_keys.into(),
        busy_retries: args.busy_retries,
        http_port: args.http_port,
        dns_port: args.dns_port,
        ipv6: args.ipv6,
        run: random,
    }
}

fn https_url(text: &str) -> Result<String, String> {
    match text.strip_prefix("https://") {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err("give an https URL, such as https://localhost:9443/acme/acme/directory".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("give a number from 0.01 to 100000".to_owned()),
    }
}

fn key_kind(text: &str) -> Result<KeyKind, String> {
    KeyKind::parse(text).ok_or_else(|| {
        let names: Vec<_> = KeyKind::TABLE.iter().map(|(_, name)| *name).collect();
        format!("give one of {}", names.join(", "))
    })
}

fn domain(text: &str) -> Result<String, String> {
    // Room for the longest name of a run before it.
    const LONGEST: usize = 180;
    match Identifier::parse_dns(text) {
        Ok(Identifier::Dns(name)) if name.as_str().len() <= LONGEST => Ok(name.as_str().to_owned()),
        Ok(_) => Err(format!("give a DNS name of at most {LONGEST} characters, without a wildcard")),
        Err(error) => Err(error.to_string()),
    }
}
