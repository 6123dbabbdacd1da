//! Who may revoke what (RFC 8555 §7.6).

use std::time::Duration;

use serde_json::json;

use super::client::*;
use crate::audit::Event;
use crate::authority::certificate::Revoker;
use crate::service::stand::{HOUR, Stand};
use crate::storage::{Op, Store};

#[tokio::test]
async fn by_whom() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let (owner, other) = (Client::new(&app).await, Client::new(&app).await);
    let names = ["a.test", "b.test"];

    let der = owner.obtain(&names, &leaf_key()).await;
    // A stranger, then one that holds some of the names, then one that holds all.
    other.revoke(&der, None).await.refused(403, "unauthorized");
    let half = other.order(&["a.test"]).await.expect(201);
    other.prove(&half).await;
    other.revoke(&der, None).await.refused(403, "unauthorized");
    let rest = other.order(&["b.test"]).await.expect(201);
    other.prove(&rest).await;
    // Not one that was given up,
    other.post(&rest.at("/authorizations/0"), &json!({ "status": "deactivated" })).await.expect(200);
    other.revoke(&der, None).await.refused(403, "unauthorized");
    let rest = other.order(&["b.test"]).await.expect(201);
    other.prove(&rest).await;
    // nor one that has run out.
    stand.clock.advance(9 * HOUR);
    other.revoke(&der, None).await.refused(403, "unauthorized");
    let again = other.order(&names).await.expect(201);
    other.prove(&again).await;
    let done = other.revoke(&der, Some(1)).await.expect(200);
    assert!(done.body.is_empty());
    let record = stand.certificates().await.remove(0);
    let revoked = record.revocation.unwrap();
    assert!(matches!(revoked.by, Revoker::Authorized(_)));
    assert_eq!(revoked.reason, Some(1));
    for who in [&owner, &other] {
        who.revoke(&der, None).await.refused(400, "alreadyRevoked");
    }

    let der = owner.obtain(&names, &leaf_key()).await;
    owner.revoke(&der, None).await.expect(200);

    // By the certificate's key, with no account at all.
    let key = leaf_key();
    let der = owner.obtain(&names, &key).await;
    let mut bare = Client::stranger(&app);
    let url = bare.url("revoke-cert");
    let payload = revocation(&der, Some(4)).to_string();
    bare.signed(&url, &bare.bare_header(&url).await, payload.as_bytes()).await.refused(403, "unauthorized");
    bare.key = Key::of_certificate(&key);
    bare.signed(&url, &bare.bare_header(&url).await, payload.as_bytes()).await.expect(200);
    bare.signed(&url, &bare.bare_header(&url).await, payload.as_bytes()).await.refused(400, "alreadyRevoked");
    // The owner's account key, sent as a key, is not the certificate's.
    let der = owner.obtain(&names, &leaf_key()).await;
    let payload = revocation(&der, None).to_string();
    owner.signed(&url, &owner.bare_header(&url).await, payload.as_bytes()).await.refused(403, "unauthorized");

    // Another provisioner's door.
    let mut foreign = Client::stranger(&app);
    foreign.base = format!("{BASE}/acme/other");
    foreign.kid = foreign.register(&json!({})).await.expect(201).location();
    let proved = foreign.order(&names).await.expect(201);
    foreign.prove(&proved).await;
    foreign.revoke(&der, None).await.refused(403, "unauthorized");

    let events = stand.events().await;
    assert_eq!(events.iter().filter(|e| matches!(e, Event::CertificateRevoked { .. })).count(), 3);
}

#[tokio::test]
async fn what_and_why() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let der = client.obtain(&["a.test"], &leaf_key()).await;
    for reason in [2, 6, 7, 8, 10, 11, 255, 256, u64::MAX] {
        client.revoke(&der, Some(reason)).await.refused(400, "badRevocationReason");
    }
    // The CA's own certificates, and what no CA of ours issued.
    let stranger = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap().cert.der().to_vec();
    let mut other_bytes = der.clone();
    *other_bytes.last_mut().unwrap() ^= 1;
    let longer = [&der[..], b"x"].concat();
    for bad in [
        &stand.hierarchy.root_der,
        &stand.hierarchy.intermediate_der,
        &stranger,
        &other_bytes,
        &longer,
        &b"junk".to_vec(),
        &Vec::new(),
    ] {
        client.revoke(bad, None).await.refused(400, "malformed");
    }
    // A good certificate without names is not called a broken one.
    for good in [&stand.hierarchy.root_der, &stand.hierarchy.intermediate_der] {
        let reply = client.revoke(good, None).await;
        assert!(
            reply.text().contains("it was not issued by this server to an ACME account"),
            "{}",
            reply.text()
        );
    }
    let url = client.url("revoke-cert");
    for payload in [
        json!({}),
        json!({ "certificate": "-----BEGIN CERTIFICATE-----" }),
        json!({ "certificate": 7 }),
        json!({ "certificate": crate::jose::base64url(&der), "reason": -1 }),
        json!({ "certificate": crate::jose::base64url(&der), "reason": "1" }),
    ] {
        client.post(&url, &payload).await.refused(400, "malformed");
    }
    client.signed(&url, &client.header(&url).await, b"").await.refused(400, "malformed");
    assert!(stand.certificates().await[0].revocation.is_none());
    // The listener's own certificate is nobody's to revoke.
    let key =
        crate::x509::spki::Spki::parse(&rcgen::PublicKeyData::subject_public_key_info(&leaf_key())).unwrap();
    let names = [crate::acme::identifier::Identifier::parse_dns("a.test").unwrap()];
    let (own, _) = stand.service.issue_own(&names, key).await.unwrap();
    client.revoke(&own.der, None).await.refused(403, "unauthorized");

    for reason in [0, 1, 3, 4, 5, 9] {
        let der = client.obtain(&["a.test"], &leaf_key()).await;
        client.revoke(&der, Some(reason)).await.expect(200);
    }
    // An expired one needs no revocation; one that left the inventory is unknown.
    stand.clock.advance(24 * HOUR + Duration::from_secs(1));
    client.revoke(&der, None).await.refused(400, "malformed");
    let serial = x509_parser::parse_x509_certificate(&der).unwrap().1.raw_serial().to_vec();
    let mut batch = crate::storage::Batch::new();
    batch.ops.push(Op::Delete(crate::storage::Table::Certificates, serial));
    let _ = stand.store.commit(batch).await.unwrap();
    client.revoke(&der, None).await.refused(400, "malformed");
}
