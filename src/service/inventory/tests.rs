//! The index holds what the certificates hold, whoever made its rows, and queries find what a look at
//! every certificate would.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::finalize::Caller;
use super::super::revoke::Asker;
use super::super::stand::{HOUR, Stand};
use super::super::sweep::Cursors;
use super::super::tests::sweep::{account, issue, order, prove, sweep_all, terms_of};
use super::*;
use crate::acme::identifier::{DnsName, Identifier};
use crate::authority::certificate::Client;
use crate::storage::inventory::{self, STATE_KEY};
use crate::storage::{Batch, Store};

/// Certificates of two accounts under some names, one of them revoked.
async fn filled() -> Stand {
    let stand = Stand::new().await;
    let (one, two) = (account(&stand).await, account(&stand).await);
    let sets: [&[&str]; 6] = [
        &["a.test"],
        &["a.test", "*.a.test", "b.a.test"],
        &["xa.test", "a.test.x.internal"],
        &["c.b.a.test"],
        &["10.0.0.1"],
        &["z.internal"],
    ];
    for (n, set) in sets.iter().enumerate() {
        let names: Vec<String> = set.iter().map(|name| (*name).to_owned()).collect();
        let by = if n % 2 == 0 { &one } else { &two };
        if set[0] == "10.0.0.1" {
            continue;
        }
        let order = order(&stand, by, &names).await;
        prove(&stand, by, &order).await;
        issue(&stand, by, &order, &names).await;
        stand.clock.advance(HOUR);
    }
    let record = stand.certificates().await.remove(0);
    let owner = match &record.requester {
        crate::provisioner::Requester::Acme { account, .. } => *account,
        _ => panic!("issued to an account"),
    };
    stand.service.revoke(&terms_of(&stand), Asker::Account(owner), &record.der, Some(1)).await.unwrap();
    stand
}

async fn rows(store: &dyn Store) -> BTreeSet<Vec<u8>> {
    store
        .scan(Table::CertificateIndex, &[], None, 10_000)
        .await
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}

async fn all(stand: &Stand) -> Vec<ListedCertificate> {
    let rows = stand.store.scan(Table::Certificates, &[], None, 10_000).await.unwrap();
    rows.iter()
        .map(|(key, row)| ListedCertificate::read(Serial::from_bytes(key).unwrap(), &row.value).unwrap())
        .collect()
}

#[tokio::test]
async fn rows_made_at_issuance_are_those_of_the_record() {
    let stand = filled().await;
    let mut want = BTreeSet::new();
    for found in all(&stand).await {
        want.extend(inventory::rows_of(&found.serial, &found.record, &found.content));
    }
    assert_eq!(rows(&*stand.store).await, want);
    assert!(want.len() > 30, "{}", want.len());
}

#[tokio::test]
async fn the_sweeper_takes_the_rows_along() {
    let stand = filled().await;
    stand.clock.advance(24 * 365 * 20 * HOUR);
    sweep_all(&stand, &mut Cursors::default()).await;
    assert_eq!(stand.rows(Table::Certificates).await, 0);
    assert_eq!(stand.rows(Table::CertificateIndex).await, 0);
}

#[tokio::test]
async fn an_old_store_gets_its_rows_once_and_says_so_meanwhile() {
    let stand = filled().await;
    let want = rows(&*stand.store).await;
    for row in &want {
        let _ = stand.store.commit(Batch::new().delete(Table::CertificateIndex, row.clone())).await.unwrap();
    }
    let query = CertificateQuery { account: Some(account_of(&stand).await), ..CertificateQuery::default() };
    let page = stand.service.certificates(&query, None, 10).await.unwrap();
    assert!(page.certificates.is_empty() && page.building.is_some(), "it says that it may miss some");
    while stand.service.build_index().await.unwrap() {}
    assert_eq!(rows(&*stand.store).await, want);
    let page = stand.service.certificates(&query, None, 10).await.unwrap();
    assert!(!page.certificates.is_empty() && page.building.is_none());
    // Done is done, over a restart too.
    let mut stand = stand;
    stand.restart();
    assert!(!stand.service.build_index().await.unwrap());
    assert!(stand.service.index_building().is_none());
    assert!(stand.store.get(Table::Meta, STATE_KEY).await.unwrap().is_some());
}

async fn account_of(stand: &Stand) -> crate::id::AccountId {
    match stand.certificates().await.remove(0).requester {
        crate::provisioner::Requester::Acme { account, .. } => account,
        _ => panic!("issued to an account"),
    }
}

/// Every page, so many at a time.
async fn found(stand: &Stand, query: &CertificateQuery, limit: usize) -> Vec<Serial> {
    let (mut serials, mut after) = (Vec::new(), None);
    loop {
        let page = stand.service.certificates(query, after.as_deref(), limit).await.unwrap();
        assert!(page.certificates.len() <= limit);
        serials.extend(page.certificates.iter().map(|found| found.serial));
        match page.next {
            Some(next) => after = Some(next),
            None => return serials,
        }
    }
}

type Look = Box<dyn Fn(&ListedCertificate) -> bool>;

#[tokio::test]
async fn queries_find_what_a_look_at_every_certificate_would() {
    let stand = filled().await;
    let every = all(&stand).await;
    let now = stand.service.now();
    let some = every.iter().find(|found| !found.content.identifiers.is_empty()).unwrap().clone();
    let dns = |text: &str| Identifier::parse_dns(text).unwrap();
    let none = CertificateQuery::default;
    let below = |suffix: &'static str| -> Look {
        Box::new(move |found| {
            found.content.identifiers.iter().any(|name| {
                let text = name.order_value().into_owned();
                text == suffix || text.ends_with(&format!(".{suffix}"))
            })
        })
    };
    let (middle, signed) = (some.record.not_after, some.record.issued);
    let (key, issuer, owner) = (some.content.key_hash, some.record.issuer, account_of(&stand).await);
    let mut asked: Vec<(CertificateQuery, Look)> = vec![
        (none(), Box::new(|_| true)),
        (CertificateQuery { key: Some(key), ..none() }, Box::new(move |found| found.content.key_hash == key)),
        (
            CertificateQuery { issuer: Some(issuer), ..none() },
            Box::new(move |found| found.record.issuer == issuer),
        ),
        (
            CertificateQuery { expires_from: Some(middle), ..none() },
            Box::new(move |found| found.record.not_after >= middle),
        ),
        (
            CertificateQuery { expires_before: Some(middle), ..none() },
            Box::new(move |found| found.record.not_after < middle),
        ),
        (
            CertificateQuery { provisioner: Some("acme".into()), expires_from: Some(middle), ..none() },
            Box::new(move |found| !found.content.identifiers.is_empty() && found.record.not_after >= middle),
        ),
        (CertificateQuery { provisioner: Some("acm".into()), ..none() }, Box::new(|_| false)),
        (
            CertificateQuery { issued_from: Some(signed), ..none() },
            Box::new(move |found| found.record.issued >= signed),
        ),
        (
            CertificateQuery { account: Some(owner), ..none() },
            Box::new(move |found| {
                matches!(&found.record.requester,
                    crate::provisioner::Requester::Acme { account, .. } if *account == owner)
            }),
        ),
    ];
    for name in ["a.test", "*.a.test", "b.a.test", "xa.test", "none.test"] {
        let name = dns(name);
        let query = CertificateQuery { name: Some(name.clone()), ..none() };
        asked.push((query, Box::new(move |found| found.content.identifiers.contains(&name))));
    }
    for suffix in ["test", "a.test", "internal", "b.a.test", "t", "none"] {
        let query = CertificateQuery { suffix: Some(DnsName::parse(suffix).unwrap()), ..none() };
        asked.push((query, below(suffix)));
    }
    for state in CertificateState::ALL {
        let query = CertificateQuery { state: Some(state), ..none() };
        asked.push((query.clone(), Box::new(move |found| found.state(now) == state)));
        let query = CertificateQuery { suffix: Some(DnsName::parse("a.test").unwrap()), ..query };
        let below = below("a.test");
        asked.push((query, Box::new(move |found| below(found) && found.state(now) == state)));
    }
    for (query, holds) in &asked {
        let want: BTreeSet<Serial> = every.iter().filter(|found| holds(found)).map(|f| f.serial).collect();
        for limit in [1, 2, 500] {
            let got = found(&stand, query, limit).await;
            assert_eq!(got.len(), want.len(), "{query:?}: none twice");
            assert_eq!(got.into_iter().collect::<BTreeSet<_>>(), want, "{query:?} by {limit}");
        }
    }
    assert!(every.iter().any(|found| found.state(now) == CertificateState::Revoked));
    let foreign = inventory::of_key(&crate::x509::key_hash::KeyHash([0; 32]));
    let query = CertificateQuery { key: Some(key), ..none() };
    let refused = stand.service.certificates(&query, Some(&foreign), 1).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "another query's cursor");
}

#[tokio::test]
async fn what_is_recorded_of_the_client() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    let names = vec!["a.test".to_owned()];
    let order = order(&stand, &account, &names).await;
    prove(&stand, &account, &order).await;
    let address: IpAddr = "192.0.2.7".parse().unwrap();
    let csr = super::super::tests::sweep::csr_of(&names);
    let client = Some(Client::new(address, b"lego/4.20\x07"));
    let by = Caller { client: client.clone(), ..Caller::default() };
    let (terms, owner) = (terms_of(&stand), account.account.id);
    stand.service.finalize(&terms, owner, order.id, &csr, by).await.unwrap();
    let query = CertificateQuery { client: Some(address), ..CertificateQuery::default() };
    let page = stand.service.certificates(&query, None, 10).await.unwrap();
    let [only] = page.certificates.as_slice() else { panic!("{page:?}") };
    assert_eq!(only.record.details.provenance.client, client);
    assert_eq!(stand.service.listed_certificate(only.serial).await.unwrap(), *only);
    let none = Serial::new(Timestamp::EPOCH, [0; 16]);
    assert!(matches!(stand.service.listed_certificate(none).await, Err(Error::NotFound)));
}

#[test]
fn what_old_records_cannot_say() {
    let golden = |version: u8| {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
        std::fs::read(dir.join(format!("certificate-acme.v{version}.bin"))).unwrap()
    };
    for (version, profile, provenance) in [(1, true, true), (2, false, true), (3, false, false)] {
        let bytes = golden(version);
        assert!(CertificateRecord::decode(&bytes).is_ok());
        assert_eq!(Unrecorded::of(&bytes), Unrecorded { profile, provenance }, "version {version}");
    }
    let now = CertificateRecord::decode(&golden(3)).unwrap().encode();
    assert_eq!(Unrecorded::of(&now), Unrecorded::default(), "written now, all is there");
}

/// A page is cut where it gets too large to hand over, and the next one goes on from there.
#[tokio::test]
async fn pages_are_bounded_in_bytes() {
    let stand = filled().await;
    let some = all(&stand).await.into_iter().max_by_key(|found| found.record.der.len()).unwrap();
    let count = 2 * query::BYTES / some.record.der.len();
    for part in (0..count).collect::<Vec<_>>().chunks(500) {
        let batch = part.iter().fold(Batch::new(), |batch, n| {
            let mut random = [0; 16];
            random[..8].copy_from_slice(&(*n as u64).to_be_bytes());
            let serial = Serial::new(some.record.not_after, random);
            batch.put(Table::Certificates, serial.as_bytes().to_vec(), some.record.encode())
        });
        let _ = stand.store.commit(batch).await.unwrap();
    }
    let (query, mut after, mut found, mut cut) = (CertificateQuery::default(), None, 0, 0);
    loop {
        let page = stand.service.certificates(&query, after.as_deref(), 100_000).await.unwrap();
        let bytes: usize = page.certificates.iter().map(|found| found.record.der.len()).sum();
        assert!(bytes < query::BYTES + 64 * 1024, "{bytes}");
        cut += usize::from(bytes >= query::BYTES);
        found += page.certificates.len();
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, stand.rows(Table::Certificates).await);
    assert!(cut > 0);
}
