//! The same numbers under the names that the PKI of Vault and OpenBao has for them, for rules and
//! dashboards that are there already: `vault_` and the path of its telemetry, dots as underscores.
//!
//! Only what is the same. What is a timer there (a summary in milliseconds, without quantiles here) is a
//! histogram of one bucket here, so that `_count` and `_sum` are called the same. The role is the
//! profile; the mount, which is part of their names, is `pki`.

use std::fmt;

use super::cells::{Count, Read};
use super::doors::{Door, Issuances};
use super::page::{Labels, Now, Shown, Writer};
use super::vocabulary::{Reason, SweptTable};
use super::{Metrics, metrics};

fn sum(counts: &[Count; Reason::COUNT]) -> u64 {
    counts.iter().map(Count::get).sum()
}

fn timer(count: u64, nanos: &Count) -> Read {
    Read { sum: nanos.get() as f64 / 1e6, count, buckets: vec![(f64::INFINITY, count)] }
}

pub(super) fn write(writer: &mut Writer<'_>, doors: &[Shown<'_>], now: &Now) -> fmt::Result {
    let acme = || doors.iter().filter(|door| door.counts.door == "acme");
    let roles = || {
        acme().flat_map(|door| {
            door.profiles.iter().map(move |profile| {
                let labels: Labels<'_> = vec![
                    ("provisioner", &door.counts.provisioner),
                    ("role", &profile.name),
                    ("namespace", "root"),
                ];
                (labels, &profile.issuances)
            })
        })
    };
    let mounts = || {
        acme().map(|door| {
            let labels: Labels<'_> = vec![("provisioner", &door.counts.provisioner), ("namespace", "root")];
            (labels, door.counts)
        })
    };
    let asked = |of: &Issuances| of.issued.get() + of.reused.get() + sum(&of.refused);
    let help = "Certificates asked for, milliseconds; alias of mayfly_issuances";
    let signs = roles().map(|(labels, of)| (labels, timer(asked(of), &of.nanos)));
    writer.histograms("vault_pki_sign", help, signs)?;
    let help = "Certificates asked for in vain; alias of mayfly_issuances";
    let failures = roles().map(|(labels, of)| (labels, sum(&of.refused) as f64));
    writer.untyped("vault_pki_sign_failure", help, failures)?;
    let asked = |door: &Door| door.revoked.iter().map(Count::get).sum::<u64>() + sum(&door.not_revoked);
    let help = "Revocations, milliseconds; alias of mayfly_revocations";
    let revocations = mounts().map(|(labels, door)| (labels, timer(asked(door), &door.revoking_nanos)));
    writer.histograms("vault_pki_revoke", help, revocations)?;
    let help = "Revocations in vain; alias of mayfly_revocations";
    let failures = mounts().map(|(labels, door)| (labels, sum(&door.not_revoked) as f64));
    writer.untyped("vault_pki_revoke_failure", help, failures)?;
    server(writer, metrics(), now)
}

fn server(writer: &mut Writer<'_>, metrics: &Metrics, now: &Now) -> fmt::Result {
    let one = |value: u64| [(Vec::new(), value as f64)];
    let name = "vault_secrets_pki_tidy_cert_store_deleted_count";
    let help = "Certificates swept; alias of mayfly_sweeper_removed_rows";
    writer.untyped(name, help, one(metrics.sweeper.removed[SweptTable::Certificates as usize].get()))?;
    let help = "Requests being answered; alias of mayfly_requests_in_progress";
    writer.level("vault_core_in_flight_requests", help, now.requests as f64)?;
    let help = "Requests refused by a limit; alias of mayfly_rate_limited";
    writer.untyped(
        "vault_quota_rate_limit_violation",
        help,
        one(metrics.limited.iter().map(Count::get).sum()),
    )
}
