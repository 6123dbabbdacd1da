//! Golden files: `testdata/golden/KIND-WHAT.vN.bin` is a record of format version N, byte for byte.
//!
//! A file that is there is never written again: stores out there hold such bytes. When a shape
//! changes, its `VERSION` grows by one; then
//! 1. teach `Record::grown_since` what the old version lacks, with the old files as its test,
//! 2. give [`samples`] the new shape, and
//! 3. write the files that are missing, those of the new version:
//!    `cargo test --lib -- --ignored write_missing_golden_files`, and look at what changed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::acme::account::{AccountStatus, EabBinding};
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::{ErrorKind, StoredProblem};
use crate::acme::identifier::Identifier;
use crate::acme::order::{AttestedKey, Authorization, Challenge, ChallengeState, Finish, ProvedBy, Slot};
use crate::acme::renewal::CertId;
use crate::acme::star::{AutoRenewal, Current, Renewing};
use crate::acme::subdomain::Named;
use crate::audit::configuration::How;
use crate::audit::refused::Asked;
use crate::audit::{Actor, Event};
use crate::authority::blocked::Blocker;
use crate::authority::certificate::{Client, Replacement, Revocation, Revoker};
use crate::fleet::campaign::Selector;
use crate::fleet::notices::{self, End, Key};
use crate::fleet::{self, IdentityId, Trouble};
use crate::id::EabKid;
use crate::policy::{Cause, Context, Differing, Field, Reason, Who};
use crate::provisioner::Requester;
use crate::provisioner::eab::EabSecret;
use crate::x509::key_hash::KeyHash;
use crate::x509::serial::Serial;
use crate::x509::spki::PublicKey;

const T0: Timestamp = Timestamp::from_secs(1_793_318_400);

fn account_id() -> AccountId {
    AccountId::new([0xa1; 16])
}

fn order_id() -> OrderId {
    OrderId::new(T0, [0xb2; 11])
}

fn kid() -> EabKid {
    EabKid::new([0xd7; 16])
}

fn eab_key() -> EabKey {
    EabKey {
        kid: kid(),
        secret: EabSecret::new([0xe8; 64]),
        provisioner: "acme".into(),
        allow: vec![],
        expires: T0,
        max_uses: 1000,
        label: "web “1”".into(),
        trusts_names: false,
        created: T0,
        revoked: None,
    }
}

fn serial() -> Serial {
    Serial::new(T0, [0xc3; 16])
}

fn id(kind: &str, value: &str) -> Identifier {
    Identifier::parse(kind, value).unwrap()
}

fn problem() -> StoredProblem {
    StoredProblem {
        kind: ErrorKind::IncorrectResponse,
        detail: "no “token” at http://a.test/".into(),
        identifier: Some(id("dns", "a.test")),
    }
}

fn account(key: PublicKey) -> Account {
    Account {
        id: account_id(),
        provisioner: "acme".into(),
        key,
        status: AccountStatus::Valid,
        contacts: vec!["mailto:ops@a.test".into(), "mailto:root@a.test".into()],
        terms_agreed: true,
        created: T0,
        details: AccountDetails::default(),
    }
}

fn order(slots: Vec<Slot>, finish: Finish) -> Order {
    Order {
        account: account_id(),
        provisioner: "acme".into(),
        created: T0,
        expires: Timestamp::from_millis(T0.as_millis() + 3_600_001),
        not_before: Some(T0),
        not_after: None,
        slots,
        finish,
        details: OrderDetails::default(),
    }
}

/// One slot of each kind, one challenge in each state.
fn slots() -> Vec<Slot> {
    let challenge = |kind, state| Challenge { kind, token: [0xd4; 16], state };
    let own = |identifier, deactivated, challenges| {
        Slot::Own(Authorization { identifier, expires: T0, deactivated, challenges })
    };
    vec![
        own(
            id("dns", "a.test"),
            false,
            vec![
                challenge(ChallengeKind::Http01, ChallengeState::Pending(None)),
                challenge(ChallengeKind::Dns01, ChallengeState::Pending(Some(problem()))),
                challenge(ChallengeKind::TlsAlpn01, ChallengeState::Processing),
            ],
        ),
        own(id("dns", "*.a.test"), true, vec![challenge(ChallengeKind::Dns01, ChallengeState::Valid(T0))]),
        own(
            id("ip", "10.0.0.1"),
            false,
            vec![challenge(ChallengeKind::Http01, ChallengeState::Invalid(problem()))],
        ),
        own(id("ip", "2001:db8::1"), false, vec![]),
        Slot::Reused { identifier: id("dns", "b.test"), order: order_id(), index: 65535, expires: T0 },
    ]
}

fn pre_authorization() -> OrderDetails {
    OrderDetails { pre_authorization: true, ..OrderDetails::default() }
}

fn subdomains() -> OrderDetails {
    let named = |value, slot| Named { identifier: id("dns", value), slot };
    OrderDetails {
        subdomains: vec![0, 300],
        names: vec![named("x.a.test", 0), named("*.y.a.test", 300)],
        ..OrderDetails::default()
    }
}

/// A challenge of each kind that version 1 did not have.
fn later_kinds() -> Vec<Slot> {
    let challenge = |kind| Challenge { kind, token: [0xd4; 16], state: ChallengeState::Valid(T0) };
    let kinds = [ChallengeKind::DnsAccount01, ChallengeKind::DnsPersist01];
    let authorization = Authorization {
        identifier: id("dns", "a.test"),
        expires: T0,
        deactivated: false,
        challenges: kinds.map(challenge).to_vec(),
    };
    vec![Slot::Own(authorization)]
}

/// An order of a device, and the key that it was attested to hold.
fn attested_order() -> Order {
    let state = ChallengeState::Valid(T0);
    let challenge = Challenge { kind: ChallengeKind::DeviceAttest01, token: [0xd4; 16], state };
    let slot = Slot::Own(Authorization {
        identifier: id("permanent-identifier", "C02XG0FDH05Q/1.2.3"),
        expires: T0,
        deactivated: false,
        challenges: vec![challenge],
    });
    let mut order = order(vec![slot], Finish::Open);
    order.details.attested = vec![AttestedKey { slot: 0, key: [0xa7; 32] }];
    order
}

fn renewed(start: Option<Timestamp>, state: Renewing) -> Order {
    let agreed = AutoRenewal {
        start,
        end: Timestamp::from_secs(1_800_000_000),
        lifetime: 86_400,
        lifetime_adjust: 57_600,
        allow_certificate_get: start.is_none(),
        keep: T0,
        due: Timestamp::from_secs(1_793_318_401),
    };
    let proved_by = vec![ProvedBy { slot: 4, kind: ChallengeKind::Dns01 }];
    let details = OrderDetails { auto_renewal: Some(agreed), proved_by, ..OrderDetails::default() };
    Order { details, ..order(slots(), Finish::Renewing(Box::new(state))) }
}

fn certificate(requester: Requester, revocation: Option<Revocation>) -> CertificateRecord {
    CertificateRecord {
        der: vec![0x30, 0x03, 0x02, 0x01, 0x05],
        issuer: [0xe5; 20],
        requester,
        issued: T0,
        not_after: Timestamp::from_millis(u64::MAX),
        revocation,
        details: CertificateDetails::default(),
    }
}

fn configuration(how: How) -> ConfigurationVersion {
    let files = vec![("policies/web.toml".to_owned(), "[[allow]]\n".to_owned())];
    ConfigurationVersion { at: T0, how, text: "[server]\n".into(), files }
}

fn campaign(selector: Selector) -> Campaign {
    Campaign {
        selector,
        created: T0,
        start: Timestamp::from_secs(1_793_322_000),
        over: std::time::Duration::from_secs(7200),
        reason: "a “new” root".into(),
        explanation: None,
        drill: false,
        cancelled: None,
    }
}

fn selector() -> Selector {
    Selector {
        authority: Some("default".into()),
        issuer: Some([0xe5; 20]),
        account: Some(account_id()),
        provisioner: Some("acme".into()),
        profile: Some("short".into()),
        suffix: Some(crate::acme::identifier::DnsName::parse("a.test").unwrap()),
        name: Some(id("dns", "*.a.test")),
        key_type: Some("ec-p256".into()),
        serial: Some(serial()),
        issued_before: Some(T0),
    }
}

fn acme() -> Requester {
    Requester::Acme { provisioner: "acme".into(), account: account_id(), order: order_id() }
}

type Reads = dyn Fn(&[u8]) -> Result<bool, StoreError>;

/// What the tests below do with a sample, whatever its kind.
struct Sample {
    name: String,
    version: u8,
    encoded: Vec<u8>,
    /// Whether these bytes read as the sample.
    reads: Box<Reads>,
}

fn sample<R: Record + PartialEq + 'static>(what: &str, record: R) -> Sample {
    Sample {
        name: format!("{}-{what}.v{}.bin", R::KIND.replace(' ', "-"), R::VERSION),
        version: R::VERSION,
        encoded: record.encode(),
        reads: Box::new(move |bytes| R::decode(bytes).map(|read| read == record)),
    }
}

fn samples() -> Vec<Sample> {
    let mut all = vec![
        sample("p256", account(PublicKey::EcP256([vec![4], vec![0x11; 64]].concat()))),
        sample("p384", account(PublicKey::EcP384([vec![4], vec![0x22; 96]].concat()))),
        sample("p521", account(PublicKey::EcP521([vec![4], vec![0x33; 132]].concat()))),
        sample("ed25519", account(PublicKey::Ed25519(vec![0x44; 32]))),
        sample("rsa", account(PublicKey::Rsa { n: vec![0x55; 256], e: vec![1, 0, 1] })),
        sample(
            "deactivated",
            Account {
                status: AccountStatus::Deactivated,
                contacts: vec![],
                terms_agreed: false,
                ..account(PublicKey::Ed25519(vec![0x44; 32]))
            },
        ),
        sample("open", order(slots(), Finish::Open)),
        sample("later-kinds", order(later_kinds(), Finish::Open)),
        sample("processing", order(vec![], Finish::Processing(vec![0x30, 0x00]))),
        sample("issued", order(vec![], Finish::Issued { serial: serial(), csr: [0xf6; 32] })),
        sample("failed", order(vec![], Finish::Failed(StoredProblem { identifier: None, ..problem() }))),
        sample("attested", attested_order()),
        sample("acme", certificate(acme(), None)),
        sample(
            "renewing",
            renewed(
                None,
                Renewing {
                    csr: vec![0x30, 0x00],
                    first: T0,
                    current: Some(Current { index: 300, serial: serial(), not_after: T0 }),
                    failures: 0,
                    refused: None,
                    canceled: None,
                },
            ),
        ),
        sample(
            "renewing-canceled",
            renewed(
                Some(T0),
                Renewing {
                    csr: vec![],
                    first: T0,
                    current: None,
                    failures: 7,
                    refused: Some(problem()),
                    canceled: Some(T0),
                },
            ),
        ),
        sample(
            "auto-renewal",
            certificate(
                Requester::AutoRenewal {
                    provisioner: "acme".into(),
                    account: account_id(),
                    order: order_id(),
                },
                None,
            ),
        ),
        sample(
            "operator",
            BlockedKey { at: T0, reason: "found in a “repository”".into(), by: Blocker::Operator },
        ),
        sample("taken", {
            let quota = crate::limits::gcra::Quota::new(12, std::time::Duration::from_secs(86_400)).unwrap();
            IssueBudget(quota.take(Bucket::default(), T0).unwrap())
        }),
        sample("start", configuration(How::Start)),
        sample("rollback", configuration(How::Rollback(300))),
        sample("rotation", configuration(How::Rotation(crate::audit::configuration::RotationStep::Retire))),
        sample("revocation", BlockedKey { at: T0, reason: String::new(), by: Blocker::Revocation(serial()) }),
        sample("own", certificate(Requester::Own, None)),
        sample("ceremony", certificate(Requester::Ceremony, None)),
        sample("key", AccountKey(account_id())),
        sample("subdomains", Order { details: subdomains(), ..order(slots(), Finish::Open) }),
        sample("pre-authorization", Order { details: pre_authorization(), ..order(slots(), Finish::Open) }),
        sample("any", HeldAuthorization { order: order_id(), index: 300, expires: T0, subdomains: false }),
        sample(
            "subdomains",
            HeldAuthorization { order: order_id(), index: 0, expires: T0, subdomains: true },
        ),
        sample(
            "bound",
            Account {
                details: AccountDetails {
                    eab: Some(EabBinding {
                        kid: kid(),
                        protected: "e30".into(),
                        payload: "e30".into(),
                        signature: "AQID".into(),
                    }),
                },
                ..account(PublicKey::Ed25519(vec![0x44; 32]))
            },
        ),
        sample(
            "trusted",
            order(
                vec![Slot::Trusted {
                    identifier: id("dns", "*.c.test"),
                    expires: T0,
                    deactivated: true,
                    by: kid(),
                }],
                Finish::Open,
            ),
        ),
        sample("plain", eab_key()),
        sample(
            "trusting",
            EabKey {
                allow: ["a.test", "*.b.test", "10.0.0.0/8", "fd00::/8"]
                    .map(|rule| rule.parse().unwrap())
                    .into(),
                trusts_names: true,
                revoked: Some(T0),
                ..eab_key()
            },
        ),
        sample("some", EabUses(300)),
        sample("any", RetiredIdentity { at: T0, names: vec![id("dns", "*.a.test"), id("ip", "10.0.0.1")] }),
        sample("all", campaign(Selector::default())),
        sample(
            "selecting",
            Campaign {
                cancelled: Some(T0),
                drill: true,
                explanation: Some("https://wiki.test/".into()),
                ..campaign(selector())
            },
        ),
        sample(
            "identity",
            Alert {
                key: Key::Identity(Trouble::Failing, IdentityId::from_key(&[0xf9; 12]).unwrap()),
                cause: Some(fleet::Cause::Dns),
                provisioner: "acme".into(),
                since: T0,
                serial: Some(serial()),
                identities: 1,
                samples: vec![notices::Sample {
                    id: IdentityId::from_key(&[0xf9; 12]).unwrap(),
                    names: vec!["*.a.test".into()],
                    names_total: 1,
                    account: Some(account_id()),
                    serial: serial(),
                    not_after: T0,
                    due: T0,
                    failures: vec![(fleet::Cause::Dns, 3), (fleet::Cause::Other, 255)],
                }],
                told: 300,
                acknowledged: Some(T0),
                told_identities: 1,
                attempted: true,
                ended: Some((T0, End::Renewed)),
            },
        ),
        sample(
            "group",
            Alert {
                key: Key::Group(Trouble::Overdue, None, "acme".into()),
                cause: None,
                provisioner: "acme".into(),
                since: T0,
                serial: None,
                identities: 300,
                samples: vec![],
                told: 0,
                acknowledged: None,
                told_identities: 0,
                attempted: false,
                ended: None,
            },
        ),
        sample("first", IssuingSince { issuer: [7; 20], since: None }),
        sample("changed", IssuingSince { issuer: [7; 20], since: Some(T0) }),
        sample("two", Published(vec![([7; 20], None), ([8; 20], Some(T0))])),
        sample("any", ReusableCertificate { serial: serial(), order: order_id(), issued: T0 }),
        sample("any", AccountUse { used: T0, until: Timestamp::from_millis(u64::MAX) }),
    ];
    let asked = OrderDetails {
        replaces: Some(CertId { issuer: [0xe5; 20], serial: serial() }),
        profile: Some("short".into()),
        reuse_row: Some([0x99; 32]),
        ..OrderDetails::default()
    };
    all.push(sample("replacing", Order { details: asked, ..order(vec![], Finish::Open) }));
    for (what, by) in [("being-replaced", None), ("replaced", Some(serial()))] {
        let details = CertificateDetails {
            replaced_by: Some(Replacement { order: order_id(), serial: by }),
            profile: Some("short".into()),
            provenance: Provenance::default(),
        };
        all.push(sample(what, CertificateRecord { details, ..certificate(acme(), None) }));
    }
    for (what, address) in [("provenance", "10.0.0.1"), ("provenance-ipv6", "2001:db8::1")] {
        let provenance = Provenance {
            client: Some(Client::new(address.parse().unwrap(), b"lego/4.20 (linux)")),
            eab: Some(kid()),
            replaces: Some(serial()),
            configuration: None,
        };
        let details = CertificateDetails { provenance, ..CertificateDetails::default() };
        all.push(sample(what, CertificateRecord { details, ..certificate(acme(), None) }));
    }
    let provenance = Provenance { configuration: Some(300), ..Provenance::default() };
    let details = CertificateDetails { provenance, ..CertificateDetails::default() };
    all.push(sample("configuration", CertificateRecord { details, ..certificate(acme(), None) }));
    let revokers = [
        ("owner", Revoker::Owner(account_id()), None),
        ("authorized", Revoker::Authorized(account_id()), Some(0)),
        ("key", Revoker::Key, Some(9)),
    ];
    for (what, by, reason) in revokers {
        let revocation = Revocation { at: T0, reason, by };
        all.push(sample(&format!("revoked-by-{what}"), certificate(acme(), Some(revocation))));
    }
    let (account, order, identifier) = (account_id(), order_id(), id("dns", "*.a.test"));
    let events = [
        (
            "account-created",
            Event::AccountCreated { provisioner: "acme".into(), account, thumbprint: [0x77; 32] },
        ),
        ("account-updated", Event::AccountUpdated { account }),
        ("account-key-changed", Event::AccountKeyChanged { account, thumbprint: [0x88; 32] }),
        ("account-deactivated", Event::AccountDeactivated { account }),
        (
            "authorization-valid",
            Event::AuthorizationValid {
                account,
                order,
                identifier: identifier.clone(),
                by: ChallengeKind::Dns01,
            },
        ),
        (
            "authorization-invalid",
            Event::AuthorizationInvalid {
                account,
                order,
                identifier: identifier.clone(),
                by: ChallengeKind::TlsAlpn01,
                error: ErrorKind::Tls,
            },
        ),
        (
            "account-removed",
            Event::AccountRemoved { provisioner: "acme".into(), account, thumbprint: [0x99; 32] },
        ),
        ("authorization-deactivated", Event::AuthorizationDeactivated { account, order, identifier }),
        ("certificate-issued", Event::CertificateIssued { serial: serial(), requester: acme() }),
        ("issuance-refused", Event::IssuanceRefused { account, order, error: ErrorKind::BadCsr }),
        (
            "certificate-revoked",
            Event::CertificateRevoked { serial: serial(), by: Revoker::Key, reason: Some(1) },
        ),
        (
            "eab-key-created",
            Event::EabKeyCreated { kid: kid(), provisioner: "acme".into(), trusts_names: true },
        ),
        (
            "configuration-changed",
            Event::ConfigurationChanged { version: 300, how: How::Rollback(7), sha256: [0x99; 32] },
        ),
        ("eab-key-revoked", Event::EabKeyRevoked { kid: kid() }),
        ("account-bound", Event::AccountBound { account, kid: kid() }),
        (
            "names-trusted",
            Event::NamesTrusted {
                account,
                order,
                kid: kid(),
                identifiers: vec![id("dns", "a.test"), id("ip", "10.0.0.1")],
            },
        ),
        ("certificate-reused", Event::CertificateReused { serial: serial(), account, order }),
        ("auto-renewal-begun", Event::AutoRenewalBegun { account, order, end: T0 }),
        ("auto-renewal-canceled", Event::AutoRenewalCanceled { account, order }),
        (
            "auto-renewal-stopped",
            Event::AutoRenewalStopped { account, order, error: ErrorKind::Unauthorized },
        ),
        (
            "auto-renewal-refused",
            Event::AutoRenewalRefused { account, order, error: ErrorKind::RejectedIdentifier },
        ),
        ("key-blocked", Event::KeyBlocked { key: KeyHash([0x5b; 32]), by: Blocker::Operator }),
        ("key-unblocked", Event::KeyUnblocked { key: KeyHash([0x5b; 32]) }),
        ("policy-refused", Event::PolicyRefused { requester: acme(), reasons: reasons() }),
        (
            "policy-differs",
            Event::PolicyDiffers {
                requester: acme(),
                serial: Some(serial()),
                tried: vec![Differing { policy: "next".into(), reasons: reasons() }],
            },
        ),
        ("issuer-changed", Event::IssuerChanged { authority: "prod".into(), before: [6; 20], now: [7; 20] }),
        (
            "identity-retired",
            Event::IdentityRetired { identifiers: vec![id("dns", "*.a.test"), id("ip", "10.0.0.1")] },
        ),
        (
            "campaign-begun",
            Event::CampaignBegun { campaign: 300, reason: "a “new” root".into(), drill: true },
        ),
        ("campaign-cancelled", Event::CampaignCancelled { campaign: 300 }),
    ];
    let context = Context {
        authority: Some("prod".into()),
        provisioner: Some("acme".into()),
        account: Some(account.to_string()),
        eab_key: Some(kid().to_string()),
        profile: Some("short".into()),
        ..Context::new(T0, Who::AutoRenewal)
    };
    let refusal = PolicyRefusal { tbs: vec![0x30, 0], requester: acme(), context, reasons: reasons() };
    all.push(sample("policy-refusal", refusal));
    let request = RefusedRequest {
        first: T0,
        last: T0 + std::time::Duration::from_secs(60),
        times: 300,
        asked: Asked::Certificate,
        provisioner: "acme".into(),
        authority: "prod".into(),
        issuer: [7; 20],
        account: Some(account),
        order: Some(order),
        names: vec!["*.a.test".into(), "10.0.0.1".into()],
        others: 200,
        profile: Some("short".into()),
        key: Some(KeyHash([0x5b; 32])),
        replaces: Some(serial()),
        error: ErrorKind::RejectedIdentifier,
        detail: "a “rule”".into(),
        client: Some(Client::new([192, 0, 2, 7].into(), b"agent/1.0")),
    };
    for (what, asked) in [
        ("order", Asked::Order),
        ("authorization", Asked::Authorization),
        ("certificate", Asked::Certificate),
        ("others", Asked::Others),
    ] {
        all.push(sample(what, RefusedRequest { asked, ..request.clone() }));
    }
    for (what, event) in events {
        all.push(sample(what, AuditRecord { at: T0, event, actor: None }));
    }
    for (what, actor) in
        [("by-user", Actor::User(1000)), ("by-operator", Actor::Operator("alice@example.com".into()))]
    {
        let event = Event::EabKeyRevoked { kid: kid() };
        all.push(sample(what, AuditRecord { at: T0, event, actor: Some(actor) }));
    }
    // The order of this vocabulary is part of the format.
    for kind in ErrorKind::ALL {
        let event = Event::IssuanceRefused { account, order, error: *kind };
        all.push(sample(&format!("error-{}", kind.name()), AuditRecord { at: T0, event, actor: None }));
    }
    all
}

/// One of every cause.
fn reasons() -> Vec<Reason> {
    let causes = [
        (Field::Dns, Cause::Denied("rule".into(), 7, "*.a.test".into())),
        (Field::Ip, Cause::Uncovered(vec![("rule".into(), 9, true)], 2)),
        (Field::Form, Cause::Unknown("why".into())),
        (Field::Ca, Cause::Never("why".into())),
    ];
    let reason = |(field, cause)| Reason { policy: "web".into(), field, value: "value".into(), cause };
    causes.into_iter().map(reason).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/golden")
}

#[test]
#[ignore = "writes files; see the top of this file"]
fn write_missing_golden_files() {
    std::fs::create_dir_all(folder()).unwrap();
    for sample in samples() {
        let path = folder().join(&sample.name);
        if !path.exists() {
            std::fs::write(path, sample.encoded).unwrap();
        }
    }
}

#[test]
fn golden_files_read_as_they_were_written() {
    let mut known = BTreeSet::new();
    for Sample { name, encoded, reads, .. } in samples() {
        let golden = std::fs::read(folder().join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(encoded, golden, "{name}: the format has changed: see the top of this file");
        assert!(reads(&golden).unwrap(), "{name}");
        assert!(known.insert(name.clone()), "{name} is there twice");
    }
    // What an older version wrote reads as the same record, with default details.
    for Sample { name, version, reads, .. } in samples() {
        for older in 1..version {
            let name = name.replace(&format!(".v{version}."), &format!(".v{older}."));
            if let Ok(golden) = std::fs::read(folder().join(&name)) {
                assert!(reads(&golden).unwrap(), "{name}");
                assert!(known.insert(name.clone()), "{name} is there twice");
            }
        }
    }
    let found: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".bin"))
        .collect();
    assert_eq!(found, known, "every file has its sample");
}

#[test]
fn other_versions_and_other_lengths_are_refused() {
    let corrupt = |reads: &Reads, bytes: &[u8]| match reads(bytes) {
        Err(StoreError::Corrupt(text)) => text,
        other => panic!("{other:?}"),
    };
    for Sample { name, version, encoded, reads } in samples() {
        // Version 1 of the shapes that grew is read; its files say so.
        for other in [0, version + 1, 255] {
            let mut bytes = encoded.clone();
            bytes[0] = other;
            let text = corrupt(&reads, &bytes);
            assert!(text.contains(&format!("version {other}")), "{name}: {text}");
        }
        assert!(corrupt(&reads, &[]).contains("empty"));
        for end in 1..encoded.len() {
            corrupt(&reads, &encoded[..end]);
        }
        for more in [0, 1, 0xff] {
            corrupt(&reads, &[&encoded[..], &[more]].concat());
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        for bytes in [bytes.clone(), [&[1], &bytes[..]].concat(), [&[2], &bytes[..]].concat()] {
            let _ = (Account::decode(&bytes), Order::decode(&bytes), CertificateRecord::decode(&bytes));
            let _ = (AuditRecord::decode(&bytes), AccountKey::decode(&bytes), HeldAuthorization::decode(&bytes));
            let _ = (EabKey::decode(&bytes), EabUses::decode(&bytes), BlockedKey::decode(&bytes));
        }
    }

    /// A stored record with some bytes gone bad: an error or another record, quickly.
    #[test]
    fn damaged_records_never_panic(which: prop::sample::Index, hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let samples = samples();
        let Sample { encoded, reads, .. } = &samples[which.index(samples.len())];
        let mut bytes = encoded.clone();
        for (at, byte) in hits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = reads(&bytes);
    }

    /// A length that promises more than there is costs nothing.
    #[test]
    fn huge_lengths_are_refused(length in 1u64 << 20..=u64::MAX) {
        let mut bytes = vec![Order::VERSION];
        bytes.extend([0xa1; 16]);
        let mut rest = length;
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        prop_assert!(Account::decode(&bytes).is_err());
        prop_assert!(Order::decode(&bytes).is_err());
    }
}
