//! What a run found, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::acme::{Outcome, Plan};
use super::flow::Proof;
use super::histogram::Histogram;
use super::machine::Unit;
use super::stats::{Recent, Step};
use crate::client::transport::Version;

/// Times of one step, in milliseconds.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Times {
    pub count: u64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Times {
    /// The figures of a histogram.
    pub fn of(histogram: &Histogram) -> Self {
        Self {
            count: histogram.count(),
            mean_ms: millis(histogram.mean()),
            p50_ms: millis(histogram.quantile(0.5)),
            p95_ms: millis(histogram.quantile(0.95)),
            p99_ms: millis(histogram.quantile(0.99)),
            max_ms: millis(histogram.max()),
        }
    }

    /// One row of a table.
    pub fn row(&self, name: &str) -> String {
        format!(
            "  {name:<14}{:>9}{:>10.2}{:>10.2}{:>10.2}{:>10.2}",
            self.count, self.p50_ms, self.p95_ms, self.p99_ms, self.max_ms
        )
    }

    /// The table's head.
    pub const HEAD: &str = "  step              count    p50 ms    p95 ms    p99 ms    max ms";
}

/// The watched process.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// CPU time per certificate.
    pub cpu_ms_per_issuance: Option<f64>,
    /// The same in units of X.
    pub cpu_in_x: Option<f64>,
    /// CPUs kept busy.
    pub cpus_busy: f64,
    /// Resident at the end.
    pub resident_kib: Option<u64>,
    /// Most ever resident.
    pub peak_kib: Option<u64>,
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Report {
    pub directory: String,
    pub clients: usize,
    pub offered_per_s: Option<f64>,
    pub http: &'static str,
    pub fresh_connections: bool,
    pub reuse_authorizations: bool,
    pub names: usize,
    pub proof: &'static str,
    pub account_key: &'static str,
    pub cert_key: &'static str,
    pub measured_s: f64,
    pub interrupted: bool,
    pub issued: u64,
    pub issued_per_s: f64,
    pub reused: u64,
    pub errors: u64,
    pub errors_by_kind: BTreeMap<String, u64>,
    pub error_examples: BTreeMap<String, String>,
    pub not_begun: u64,
    pub requests_per_issuance: Option<f64>,
    pub nonce_retries: u64,
    pub steps: BTreeMap<&'static str, Times>,
    pub server: Option<Server>,
    pub generator_cpu_ms_per_issuance: Option<f64>,
    pub machine: Unit,
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl Report {
    /// Of a run.
    pub fn new(plan: &Plan, outcome: &Outcome) -> Self {
        let stats = &outcome.stats;
        let seconds = outcome.elapsed.as_secs_f64().max(1e-9);
        let per_issuance = |value: f64| (stats.issued > 0).then(|| value / stats.issued as f64);
        let server = outcome.server_cpu.map(|cpu| {
            let each = per_issuance(millis(cpu));
            Server {
                cpu_ms_per_issuance: each,
                cpu_in_x: each.map(|each| each * 1e3 / outcome.unit.x_us),
                cpus_busy: cpu.as_secs_f64() / seconds,
                resident_kib: outcome.server_memory.map(|memory| memory.resident),
                peak_kib: outcome.server_memory.map(|memory| memory.peak),
            }
        });
        let steps = Step::TABLE
            .iter()
            .filter(|(step, _)| stats.step(*step).count() > 0)
            .map(|(step, name)| (*name, Times::of(stats.step(*step))));
        Self {
            directory: plan.directory.clone(),
            clients: plan.clients,
            offered_per_s: plan.rate,
            http: match plan.version {
                Version::Http1 => "HTTP/1.1",
                Version::Http2 => "HTTP/2",
            },
            fresh_connections: plan.fresh_connections,
            reuse_authorizations: plan.reuse,
            names: plan.names,
            proof: match plan.proof {
                Proof::By(kind) => kind.name(),
                Proof::Pretended => "none",
            },
            account_key: plan.account_key.name(),
            cert_key: plan.certificate_key.name(),
            measured_s: seconds,
            interrupted: outcome.interrupted,
            issued: stats.issued,
            issued_per_s: stats.issued as f64 / seconds,
            reused: stats.reused,
            errors: stats.failed(),
            errors_by_kind: stats.errors.clone(),
            error_examples: stats.examples.clone(),
            not_begun: outcome.not_begun,
            requests_per_issuance: per_issuance(stats.requests as f64),
            nonce_retries: outcome.nonce_retries,
            steps: steps.collect(),
            server,
            generator_cpu_ms_per_issuance: outcome.own_cpu.and_then(|cpu| per_issuance(millis(cpu))),
            machine: outcome.unit,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) {
        // Writing to a String does not fail.
        let mut line = |text: String| {
            let _ = writeln!(out, "{text}");
        };
        let of = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        line(self.directory.clone());
        line(format!(
            "  {}, {}; {}, {}; {}, {}, {} for {}, {} accounts",
            of(self.clients, "client"),
            self.offered_per_s.map_or("closed loop".into(), |rate| format!("{rate} offered per second")),
            self.http,
            if self.fresh_connections { "a connection per issuance" } else { "connections kept" },
            if self.reuse_authorizations { "authorizations reused" } else { "fresh names" },
            self.proof,
            of(self.names, "name"),
            self.cert_key,
            self.account_key,
        ));
        let interrupted = if self.interrupted { ", interrupted" } else { "" };
        line(format!(
            "  issued {} in {:.1} s: {:.1}/s; {} errors{interrupted}",
            self.issued, self.measured_s, self.issued_per_s, self.errors
        ));
        if self.not_begun > 0 {
            line(format!("  {} more were due and not begun: no client was free", self.not_begun));
        }
        if let Some(requests) = self.requests_per_issuance {
            let reused = self.reused as f64 * 100.0 / self.issued.max(1) as f64;
            line(format!(
                "  {requests:.2} requests per issuance; {reused:.0} % of the orders ready at once; \
                 {} bad nonces",
                self.nonce_retries
            ));
        }
        line(format!("\n{}", Times::HEAD));
        for (_, name) in Step::TABLE {
            if let Some(times) = self.steps.get(name) {
                line(times.row(name));
            }
        }
        if !self.errors_by_kind.is_empty() {
            line("\n  errors".into());
        }
        for (kind, count) in &self.errors_by_kind {
            line(format!("  {count:>9}  {kind}"));
            if let Some(example) = self.error_examples.get(kind) {
                line(format!("             such as: {example}"));
            }
        }
        line(String::new());
        if let Some(server) = &self.server {
            if let (Some(each), Some(x)) = (server.cpu_ms_per_issuance, server.cpu_in_x) {
                line(format!(
                    "  server   {each:.3} ms of CPU per issuance = {x:.2} X; {:.2} CPUs busy",
                    server.cpus_busy
                ));
            }
            if let (Some(now), Some(peak)) = (server.resident_kib, server.peak_kib) {
                let mib = |kib: u64| kib as f64 / 1024.0;
                line(format!("           {:.1} MiB resident, {:.1} MiB at its peak", mib(now), mib(peak)));
            }
        }
        if let Some(own) = self.generator_cpu_ms_per_issuance {
            line(format!("  bench    {own:.3} ms of CPU per issuance"));
        }
        let Unit { verify_us, csr_verify_us, sign_us, x_us } = self.machine;
        line(format!(
            "  X        {:.3} ms on this machine: 7 P-256 verifications of {verify_us:.1} µs, one of a CSR \
             {csr_verify_us:.1}, one signature {sign_us:.1}",
            x_us / 1e3
        ));
    }
}

/// The line of a second.
pub fn progress(at: Duration, counting: bool, recent: &Recent) -> String {
    let phase = if counting { "" } else { "  (warm-up)" };
    format!(
        "{:>5.0} s  {:>6}/s  {} errors  p99 {:.1} ms{phase}",
        at.as_secs_f64(),
        recent.issued,
        recent.failed,
        millis(recent.latency.quantile(0.99)),
    )
}
