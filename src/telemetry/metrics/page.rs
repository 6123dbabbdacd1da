//! The page that `/metrics` answers with: every family, its help and its rows.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::cells::{Count, Read};
use super::doors::{Door, Issuances, Profile, REVOCATIONS};
use super::fleet::{self, Fleet};
use super::vocabulary::{CommitEnd, Operation, Reason, Result, SpanLoss, Stage, SweptTable};
use super::{Metrics, NONE, metrics, process, receivers, vault};
use crate::acme::challenge::ChallengeKind;
use crate::limits::Limit;
use crate::time::Timestamp;

/// What is looked up when the page is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The certificates of the authorities.
    pub certificates: Vec<CaCertificate>,
    /// The issuers whose live certificates are counted.
    pub issuers: Vec<LiveCertificates>,
    /// Requests being answered.
    pub requests: usize,
    /// Orders opened and neither finished nor run out.
    pub orders: u64,
    /// Validations begun and not ended.
    pub validations: usize,
    /// Orders that wait for a slow signer.
    pub finalizations: usize,
    /// Nonces given out.
    pub nonces: u64,
    /// Rotation health; `None` until the inventory has been read.
    pub fleet: Option<Fleet>,
}

/// The live certificates of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveCertificates {
    /// The authority's name.
    pub authority: String,
    /// The issuer's key identifier, lower-case hex.
    pub issuer: String,
    /// `next`, `signing` or `former`.
    pub role: &'static str,
    /// How many.
    pub count: u64,
}

/// A certificate of an authority's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaCertificate {
    /// The authority's name.
    pub authority: String,
    /// What it is there.
    pub role: Role,
    /// Its subject's common name, or all of its subject.
    pub subject: String,
    /// Its end.
    pub not_after: Timestamp,
}

/// What a certificate is to its authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that issues.
    Issuer,
    /// Between the issuer and the root.
    Intermediate,
    /// A root.
    Root,
}

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own text, version 0.0.4.
    Prometheus,
}

impl Format {
    /// What a scraper's Accept asks for.
    pub fn of(accept: Option<&str>) -> Self {
        if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// Its Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// Writes the page; with `aliases`, under the names that Vault's PKI has for the same too.
pub fn write(format: Format, now: Now, aliases: bool) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page { now, aliases }));
    let mut page = String::with_capacity(64 * 1024);
    let written = match format {
        Format::OpenMetrics => text::encode(&mut page, &registry),
        Format::Prometheus => prometheus_text::encode(&mut page, &registry),
    };
    // Only a writer can fail, and a string does not.
    written.map_or_else(|_| String::new(), |()| page)
}

#[derive(Debug)]
struct Page {
    now: Now,
    aliases: bool,
}

pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// One family after the other.
pub(super) struct Writer<'a>(pub(super) DescriptorEncoder<'a>);

impl Writer<'_> {
    pub(super) fn counts<'l>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
        }
        Ok(())
    }

    /// A count that is no whole number.
    pub(super) fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    pub(super) fn levels<'l>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// What other people's names call a counter without `_total`.
    pub(super) fn untyped<'l>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Unknown)?;
        for (labels, value) in rows {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    pub(super) fn level(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.levels(name, help, [(Vec::new(), value)])
    }

    pub(super) fn histograms<'l>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l>, Read)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, Read { sum, count, buckets }) in rows {
            let mut row = family.encode_family(&labels)?;
            row.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (metrics, mut writer) = (metrics(), Writer(encoder));
        let mut doors = metrics.doors.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        doors.sort_by(|a, b| (a.door, &a.provisioner).cmp(&(b.door, &b.provisioner)));
        let doors: Vec<Shown> = doors.iter().map(|door| Shown::of(door)).collect();
        requests(&mut writer, metrics, &doors)?;
        issuances(&mut writer, &doors)?;
        validations(&mut writer, &doors)?;
        store(&mut writer, metrics)?;
        guards(&mut writer, metrics, &self.now)?;
        authorities(&mut writer, metrics, &self.now)?;
        fleet::write(&mut writer, self.now.fleet.as_ref())?;
        receivers::write(&mut writer, metrics)?;
        process::write(&mut writer)?;
        if self.aliases { vault::write(&mut writer, &doors, &self.now) } else { Ok(()) }
    }
}

/// A door as the page shows it.
pub(super) struct Shown<'a> {
    pub(super) counts: &'a Door,
    authority: std::sync::Arc<str>,
    pub(super) profiles: Vec<std::sync::Arc<Profile>>,
}

impl<'a> Shown<'a> {
    fn of(door: &'a Door) -> Self {
        Self { counts: door, authority: door.authority(), profiles: door.profiles() }
    }

    /// Whether certificates are issued through it.
    fn issues(&self) -> bool {
        matches!(self.counts.door, "acme" | "own")
    }

    pub(super) fn labels(&self, more: &[(&'static str, &'a str)]) -> Labels<'_> {
        let own = [
            ("door", self.counts.door),
            ("provisioner", self.counts.provisioner.as_str()),
            ("authority", &*self.authority),
        ];
        own.into_iter().chain(more.iter().copied()).collect()
    }
}

/// The rows of refusals by reason that there were.
fn of_reasons(counts: &[Count; Reason::COUNT]) -> impl Iterator<Item = (Reason, u64)> {
    Reason::all().map(|reason| (reason, counts[reason.place()].get())).filter(|(_, count)| *count > 0)
}

fn requests(writer: &mut Writer<'_>, metrics: &Metrics, doors: &[Shown<'_>]) -> fmt::Result {
    let by_result = doors.iter().flat_map(|door| {
        let operations = Operation::ALL.iter().zip(&door.counts.requests);
        operations.flat_map(move |(operation, counts)| {
            Result::ALL.iter().zip(counts).map(move |(result, count)| {
                let labels = door.labels(&[("operation", operation.name()), ("result", result.name())]);
                (labels, count.get())
            })
        })
    });
    let seen = |door: &Shown<'_>, operation: Operation| {
        door.counts.requests[operation as usize].iter().any(|count| count.get() > 0)
    };
    let known: Vec<&str> = Operation::ALL
        .iter()
        .filter(|operation| doors.iter().any(|door| seen(door, **operation)))
        .map(|operation| operation.name())
        .collect();
    // What no door was ever asked for is not worth its rows.
    let by_result = by_result.filter(|(labels, _)| labels.iter().any(|(_, value)| known.contains(value)));
    writer.counts(
        "mayfly_requests",
        "Requests answered, by what they were for and how they ended",
        by_result,
    )?;
    let reasons = doors.iter().flat_map(|door| {
        Reason::all().map(move |reason| {
            (door.labels(&[("reason", reason.name())]), door.counts.refusals[reason.place()].get())
        })
    });
    writer.counts("mayfly_refusals", "Requests that were refused or failed, by reason", reasons)?;
    let times =
        Operation::ALL.iter().zip(&metrics.requests).map(|(operation, times)| (operation, times.read()));
    let times = times.filter(|(_, times)| times.count > 0);
    writer.histograms(
        "mayfly_request_duration_seconds",
        "Time from a request's head to its answer",
        times.map(|(operation, times)| (vec![("operation", operation.name())], times)),
    )?;
    let stages = Stage::ALL.iter().zip(&metrics.stages);
    writer.histograms(
        "mayfly_stage_duration_seconds",
        "Time of each stage of an issuance",
        stages.map(|(stage, times)| (vec![("stage", stage.name())], times.read())),
    )
}

fn issuances(writer: &mut Writer<'_>, doors: &[Shown<'_>]) -> fmt::Result {
    let of = |pick: fn(&Profile) -> &Issuances| {
        doors.iter().filter(|door| door.issues()).flat_map(move |door| {
            door.profiles.iter().flat_map(move |profile| {
                let row = |result, reason| {
                    door.labels(&[("profile", &profile.name), ("result", result), ("reason", reason)])
                };
                let of = pick(profile);
                let good = [(row("issued", NONE), of.issued.get()), (row("reused", NONE), of.reused.get())];
                let reasons = of_reasons(&of.refused);
                let bad =
                    reasons.map(move |(reason, count)| (row(reason.result().name(), reason.name()), count));
                good.into_iter().chain(bad)
            })
        })
    };
    let help = "Certificates asked for and what came of it: issued, given again, refused, failed";
    writer.counts("mayfly_issuances", help, of(|profile| &profile.issuances))?;
    let help = "Of mayfly_issuances, those that follow another certificate for the same";
    writer.counts("mayfly_renewals", help, of(|profile| &profile.renewals))?;
    let lifetimes = doors.iter().filter(|door| door.issues()).flat_map(|door| {
        let shown = door.profiles.iter().map(|profile| (profile, profile.lifetimes.read()));
        shown.map(|(profile, lifetimes)| (door.labels(&[("profile", &profile.name)]), lifetimes))
    });
    writer.histograms(
        "mayfly_certificate_lifetime_seconds",
        "Lifetimes of certificates issued",
        lifetimes,
    )?;
    let last = doors.iter().filter(|door| door.counts.last_issuance.get() > 0);
    writer.levels(
        "mayfly_last_issuance_timestamp_seconds",
        "When a certificate was last issued since this process started",
        last.map(|door| (door.labels(&[]), door.counts.last_issuance.get() as f64)),
    )?;
    let revocations = doors.iter().filter(|door| door.counts.door == "acme").flat_map(|door| {
        let row = |result, reason| door.labels(&[("result", result), ("reason", reason)]);
        let done = REVOCATIONS.iter().zip(&door.counts.revoked);
        let done = done.filter(|(reason, count)| **reason == NONE || count.get() > 0);
        let done = done.map(move |(reason, count)| (row("revoked", reason), count.get()));
        let not = of_reasons(&door.counts.not_revoked);
        done.chain(not.map(move |(reason, count)| (row(reason.result().name(), reason.name()), count)))
    });
    let help = "Revocations: for which reason, or why not";
    writer.counts("mayfly_revocations", help, revocations)
}

fn validations(writer: &mut Writer<'_>, doors: &[Shown<'_>]) -> fmt::Result {
    let rows = doors.iter().filter(|door| door.counts.door == "acme").flat_map(|door| {
        ChallengeKind::TABLE.iter().zip(&door.counts.validations).flat_map(move |((_, challenge), of)| {
            let row = |result, cause| {
                door.labels(&[("challenge", challenge), ("result", result), ("cause", cause)])
            };
            let bad =
                of_reasons(&of.invalid).map(move |(cause, count)| (row("invalid", cause.name()), count));
            let unknown = of_reasons(&of.inconclusive);
            let unknown = unknown.map(move |(cause, count)| (row("inconclusive", cause.name()), count));
            [(row("valid", NONE), of.valid.get())].into_iter().chain(bad).chain(unknown)
        })
    });
    writer.counts("mayfly_validations", "Validations that ended, by challenge, result and cause", rows)
}

fn store(writer: &mut Writer<'_>, metrics: &Metrics) -> fmt::Result {
    let commits = CommitEnd::ALL.iter().zip(&metrics.store.commits);
    writer.counts(
        "mayfly_store_commits",
        "Transactions of the store",
        commits.map(|(end, count)| (vec![("result", end.name())], count.get())),
    )?;
    let group = [(Vec::new(), metrics.store.group.read())];
    writer.histograms("mayfly_store_group_transactions", "Transactions of one durable write", group)?;
    let help = "Time of one durable write, the sync to disk included";
    writer.histograms(
        "mayfly_store_sync_duration_seconds",
        help,
        [(Vec::new(), metrics.store.sync.read())],
    )?;
    let removed = SweptTable::ALL.iter().zip(&metrics.sweeper.removed);
    writer.counts(
        "mayfly_sweeper_removed_rows",
        "Rows removed because their time had run out",
        removed.map(|(table, count)| (vec![("table", table.name())], count.get())),
    )?;
    let help = "Whether more has run out than one step of the sweeper takes (1), or not (0)";
    writer.level("mayfly_sweeper_behind", help, metrics.sweeper.behind.get() as f64)?;
    let at = Some(metrics.sweeper.caught_up.get()).filter(|at| *at > 0);
    writer.levels(
        "mayfly_sweeper_last_success_timestamp_seconds",
        "When the sweeper last came to the end of what had run out",
        at.map(|at| (Vec::new(), at as f64)),
    )
}

fn guards(writer: &mut Writer<'_>, metrics: &Metrics, now: &Now) -> fmt::Result {
    writer.level("mayfly_requests_in_progress", "Requests being answered", now.requests as f64)?;
    writer.level(
        "mayfly_orders_open",
        "Orders neither finished nor run out; one that ran out counts for up to an eighth of its time more",
        now.orders as f64,
    )?;
    writer.level("mayfly_validations_in_progress", "Validations under way", now.validations as f64)?;
    let help = "Orders that wait for a slow signer";
    writer.level("mayfly_finalizations_in_progress", help, now.finalizations as f64)?;
    writer.counts("mayfly_nonces_issued", "Nonces given out", [(Vec::new(), now.nonces)])?;
    let nonces = ["redeemed", "refused"].into_iter().zip(&metrics.nonces);
    writer.counts(
        "mayfly_nonces_presented",
        "Nonces that came back, and those that were missing, unknown or used",
        nonces.map(|(result, count)| (vec![("result", result)], count.get())),
    )?;
    let names = Limit::ALL.iter().map(|limit| limit.name()).chain(["open_orders"]);
    writer.counts(
        "mayfly_rate_limited",
        "Requests refused by a limit, by its key in [limits]",
        names.zip(&metrics.limited).map(|(limit, count)| (vec![("limit", limit)], count.get())),
    )
}

fn authorities(writer: &mut Writer<'_>, metrics: &Metrics, now: &Now) -> fmt::Result {
    let help = "Signatures waited for or under way";
    writer.level("mayfly_signer_queue_length", help, metrics.signer_queue.get() as f64)?;
    let signatures = ["signed", "failed"].into_iter().zip(&metrics.signatures);
    let signatures = signatures.map(|(result, count)| (vec![("result", result)], count.get()));
    writer.counts("mayfly_signatures", "Signatures under certificates", signatures)?;
    let of = |role: Role| now.certificates.iter().filter(move |certificate| certificate.role == role);
    let row = |certificate: &CaCertificate| certificate.not_after.as_secs() as f64;
    writer.levels(
        "mayfly_issuer_not_after_timestamp_seconds",
        "When the certificate of an issuer ends",
        of(Role::Issuer)
            .map(|one| (vec![("authority", one.authority.as_str()), ("issuer", &one.subject)], row(one))),
    )?;
    let above = of(Role::Intermediate).chain(of(Role::Root));
    writer.levels(
        "mayfly_ca_certificate_not_after_timestamp_seconds",
        "When a certificate above the issuers ends",
        above.map(|one| {
            let role = if one.role == Role::Root { "root" } else { "intermediate" };
            let labels = [("authority", one.authority.as_str()), ("role", role), ("subject", &one.subject)];
            (labels.to_vec(), row(one))
        }),
    )?;
    writer.levels(
        "mayfly_issuer_live_certificates",
        "Certificates that are neither expired nor revoked, by their issuer; none until they are counted",
        now.issuers.iter().map(|one| {
            let labels = [("authority", one.authority.as_str()), ("key_id", &one.issuer), ("role", one.role)];
            (labels.to_vec(), one.count as f64)
        }),
    )?;
    writer.counts(
        "mayfly_trace_spans_exported",
        "Spans that the collector has taken",
        [(Vec::new(), metrics.traces.exported.get())],
    )?;
    let lost = SpanLoss::ALL.iter().zip(&metrics.traces.lost);
    writer.counts(
        "mayfly_trace_spans_dropped",
        "Spans that were not exported, by where they were lost",
        lost.map(|(why, count)| (vec![("reason", why.name())], count.get())),
    )?;
    let build = [(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)];
    writer.levels("mayfly_build_info", "The version that runs", build)
}
