//! The page as a whole. The numbers are the process's, and other tests count too: each test has
//! provisioners of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use super::doors::Issuance;
use super::page::{CaCertificate, Format, Now, Role, write};
use super::vocabulary::{Operation, Reason};
use super::{Stage, metrics};
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::ErrorKind;
use crate::time::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> Now {
    let certificate = |role, subject: &str| CaCertificate {
        authority: "default".into(),
        role,
        subject: subject.into(),
        not_after: Timestamp::from_secs(1_793_318_400),
    };
    Now {
        certificates: vec![
            certificate(Role::Issuer, "Issuer \"A\\B\""),
            certificate(Role::Intermediate, "Between"),
            certificate(Role::Root, "Root"),
        ],
        ..Now::default()
    }
}

/// The value of the only row that has all of these.
fn value(page: &str, name: &str, labels: &[&str]) -> String {
    let rows: Vec<_> = page
        .lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(name))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .collect();
    let [row] = rows.as_slice() else { panic!("{name} {labels:?}: {rows:?}") };
    row.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn what_is_counted_is_on_the_page() {
    let door = metrics().acme("page-test");
    metrics().answered(&door, Operation::NewOrder, None, Duration::from_millis(3));
    let refused = Some(Reason::Kind(ErrorKind::RejectedIdentifier));
    metrics().answered(&door, Operation::NewOrder, refused, Duration::from_millis(3));
    metrics().answered(&door, Operation::NewOrder, Some(Reason::Store), Duration::from_millis(3));
    let profile = door.profile(Some("job"));
    profile.ended(false, Issuance::Issued, HOUR);
    profile.ended(true, Issuance::Issued, HOUR);
    profile.ended(true, Issuance::Refused(Reason::Kind(ErrorKind::Caa)), HOUR);
    door.issued(Some("job"), 24 * HOUR, Timestamp::from_secs(1_793_318_400));
    door.revoked(Some(1), HOUR);
    door.not_revoked(Reason::Kind(ErrorKind::AlreadyRevoked), HOUR);
    door.valid(ChallengeKind::Dns01);
    door.not_valid(ChallengeKind::Http01, Reason::Kind(ErrorKind::Connection), true);
    Stage::Sign.run(|| ());
    let page = write(Format::OpenMetrics, now(), true);
    assert!(page.ends_with("# EOF\n"), "{page}");
    let mine = "provisioner=\"page-test\"";
    let of = |name: &str, labels: &[&str]| value(&page, name, &[&[mine], labels].concat());
    let asked = "operation=\"new_order\"";
    for (result, want) in [("ok", "1"), ("refused", "1"), ("failed", "1")] {
        assert_eq!(of("mayfly_requests_total", &[asked, &format!("result=\"{result}\"")]), want);
    }
    assert_eq!(of("mayfly_refusals_total", &["reason=\"rejectedIdentifier\""]), "1");
    assert_eq!(of("mayfly_refusals_total", &["reason=\"badCSR\""]), "0", "there before it happens");
    assert_eq!(of("mayfly_issuances_total", &["result=\"issued\"", "profile=\"job\""]), "2");
    assert_eq!(of("mayfly_renewals_total", &["result=\"issued\""]), "1");
    assert_eq!(of("mayfly_renewals_total", &["result=\"refused\"", "reason=\"caa\""]), "1");
    assert_eq!(of("mayfly_revocations_total", &["reason=\"keyCompromise\""]), "1");
    assert_eq!(of("mayfly_revocations_total", &["reason=\"alreadyRevoked\""]), "1");
    assert_eq!(of("mayfly_validations_total", &["challenge=\"dns-01\"", "result=\"valid\""]), "1");
    assert_eq!(of("mayfly_validations_total", &["challenge=\"http-01\"", "cause=\"connection\""]), "1");
    assert_eq!(of("mayfly_certificate_lifetime_seconds_bucket", &["le=\"86400.0\""]), "1");
    assert_eq!(of("mayfly_certificate_lifetime_seconds_bucket", &["le=\"43200.0\""]), "0");
    assert_eq!(of("vault_pki_sign_count", &["role=\"job\""]), "3");
    assert_eq!(of("vault_pki_sign_failure", &["role=\"job\""]), "1.0");
    let issuer = "issuer=\"Issuer \\\"A\\\\B\\\"\"";
    assert_eq!(value(&page, "mayfly_issuer_not_after_timestamp_seconds", &[issuer]), "1793318400.0");
    assert!(!write(Format::OpenMetrics, now(), false).contains("vault_"));
}

#[test]
fn names_begin_with_mayfly_and_both_formats_have_the_same() {
    // What is on the page only once it has happened, so that no other test makes the difference.
    let door = metrics().acme("format-test");
    door.issued(None, HOUR, Timestamp::from_secs(1));
    metrics().answered(&door, Operation::NewOrder, None, HOUR);
    metrics().sweeper.caught_up.set(1);
    let names = |format| -> BTreeSet<String> {
        let page = write(format, now(), false);
        let rows = page.lines().filter(|line| !line.starts_with('#'));
        rows.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
    };
    let (open, classic) = (names(Format::OpenMetrics), names(Format::Prometheus));
    assert_eq!(open, classic);
    assert!(open.len() > 30 && open.iter().all(|name| name.starts_with("mayfly_")), "{open:?}");
}

#[test]
fn the_format_is_the_scraper_s() {
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(Format::of(Some(prometheus)), Format::OpenMetrics);
    for accept in [None, Some("*/*"), Some("text/plain")] {
        assert_eq!(Format::of(accept), Format::Prometheus);
    }
}

/// Names that clients choose make no series.
#[test]
fn series_do_not_grow_with_use() {
    let door = metrics().acme("bounded-test");
    let profile = door.profile(None);
    let count = || {
        let page = write(Format::OpenMetrics, now(), true);
        page.lines().filter(|line| line.contains("bounded-test")).count()
    };
    let once = |at: u64| {
        for operation in Operation::ALL {
            metrics().answered(&door, *operation, None, HOUR);
        }
        for reason in Reason::all() {
            metrics().answered(&door, Operation::Finalize, Some(reason), HOUR);
            profile.ended(true, Issuance::Refused(reason), HOUR);
            door.not_revoked(reason, HOUR);
            for (kind, _) in ChallengeKind::TABLE {
                door.not_valid(*kind, reason, true);
                door.not_valid(*kind, reason, false);
            }
        }
        profile.ended(true, Issuance::Issued, HOUR);
        door.issued(None, HOUR * at as u32, Timestamp::from_secs(at));
    };
    once(1);
    let most = count();
    (2..200).for_each(once);
    assert_eq!(count(), most);
    assert!(most < 700, "{most} series of a provisioner under every refusal there is");
}
