//! device-attest-01: from a device's order to its certificate, and what does not get there.

use rcgen::PublicKeyData;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::client::*;
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::ErrorKind;
use crate::attestation::samples::{Authority, NOW, Tpm, extension, hash, object, tpm_object, x5c};
use crate::attestation::{DeviceRule, Format, Policy};
use crate::audit::Event;
use crate::jose::base64url;
use crate::limits::Limit;
use crate::limits::gcra::Quota;
use crate::service::stand::{HOUR, START, Stand, no_limits};
use crate::x509::der::sequence;
use crate::x509::permanent;

const DEVICE: &str = "C02XG0FDH05Q";

struct Lab {
    stand: Stand,
    root: Authority,
    tpm: Tpm,
}

impl Lab {
    async fn new() -> Self {
        assert_eq!(START, NOW, "the samples are valid at the stand's time");
        let root = Authority::new("TPM Root");
        let roots = vec![root.der.clone()];
        let stand = Stand::with(|terms| {
            terms.challenges.push(ChallengeKind::DeviceAttest01);
            terms.attestation = Some(Policy {
                formats: vec![Format::Tpm, Format::Apple],
                roots,
                devices: vec![DeviceRule::Prefix("C02".into())],
            });
        })
        .await;
        Self { stand, root, tpm: Tpm::new() }
    }

    /// A response that attests `key` for a challenge as `client` sees it.
    async fn statement(&self, client: &Client, authorization: &str, key: &rcgen::KeyPair) -> Value {
        self.statement_for(client, authorization, key, DEVICE).await
    }

    async fn statement_for(
        &self,
        client: &Client,
        authorization: &str,
        key: &rcgen::KeyPair,
        device: &str,
    ) -> Value {
        let token = client.read(authorization).await.expect(200).at("/challenges/0/token");
        let jwk: crate::jose::jwk::Jwk = crate::jose::jwk::Jwk::parse(&client.key.jwk.to_string()).unwrap();
        let fresh = hash(format!("{token}.{}", jwk.thumbprint()).as_bytes());
        let ak = self.root.ak(&self.tpm.ak.subject_public_key_info(), Some(device), |_| ());
        let object = tpm_object(-7, self.tpm.certify(key, &fresh), &[&ak]);
        // What else is there is of no account (draft §5).
        json!({ "attObj": base64url(&object), "more": 1 })
    }
}

async fn order(client: &Client, identifiers: Value) -> Reply {
    client.post(&client.url("new-order"), &json!({ "identifiers": identifiers })).await
}

fn device(value: &str) -> Value {
    json!({ "type": "permanent-identifier", "value": value })
}

/// A request with these names, common name and device.
fn request(names: &[&str], common_name: Option<&str>, device: Option<&str>, key: &rcgen::KeyPair) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(text) = common_name {
        params.distinguished_name.push(rcgen::DnType::CommonName, text);
    }
    if let Some(device) = device {
        let names = sequence(&[&permanent::general_name(device).unwrap()]);
        params.custom_extensions.push(extension(&[0x55, 0x1d, 17], names));
    }
    params.serialize_request(key).unwrap().der().to_vec()
}

#[tokio::test]
async fn a_device_gets_its_certificate_for_the_attested_key_only() {
    let lab = Lab::new().await;
    let client = Client::new(&app(&lab.stand)).await;
    let opened = order(&client, json!([device(DEVICE)])).await.expect(201);
    assert_eq!(opened.json()["identifiers"], json!([device(DEVICE)]));
    let authorization = opened.at("/authorizations/0");
    let object = client.read(&authorization).await.expect(200).json();
    assert_eq!(object["identifier"], device(DEVICE));
    assert_eq!(object["challenges"].as_array().unwrap().len(), 1, "nothing else proves a device");
    let challenge = client.challenge(&authorization, "device-attest-01").await;

    // What is no response at all changes nothing.
    for payload in [json!({}), json!({ "attObj": 7 }), json!({ "attObj": "not base64!" })] {
        client.post(&challenge, &payload).await.refused(400, "malformed");
    }
    let attested = leaf_key();
    let statement = lab.statement(&client, &authorization, &attested).await;
    let answered = client.post(&challenge, &statement).await.expect(200);
    assert_eq!(answered.state(), "valid");
    assert!(answered.json()["validated"].is_string());
    // The same again, or anything else, is answered with what it is.
    assert_eq!(client.post(&challenge, &statement).await.expect(200).state(), "valid");
    assert_eq!(client.post(&challenge, &json!({ "attObj": "oA" })).await.expect(200).state(), "valid");

    let url = opened.location();
    assert_eq!(client.read(&url).await.expect(200).state(), "ready");
    // Any other key is refused, however good the request; so are other names.
    let other = leaf_key();
    let refused = [
        request(&[], None, Some(DEVICE), &other),
        request(&[], None, Some("C02XG0FDH05R"), &attested),
        request(&[], None, Some("C02XG0FDH05Q/1.2.3"), &attested),
        request(&[], Some("C02XG0FDH05R"), None, &attested),
        request(&["a.test"], None, None, &attested),
    ];
    for csr in refused {
        client.finalize(&url, &csr).await.refused(400, "badCSR");
    }
    let done = client.finalize(&url, &request(&[], None, Some(DEVICE), &attested)).await.expect(200);
    let der = client.download(&done.at("/certificate")).await.remove(0);
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(leaf.public_key().raw, attested.subject_public_key_info());
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    let [GeneralName::OtherName(oid, value)] = names.value.general_names.as_slice() else { panic!() };
    assert_eq!(oid.to_id_string(), "1.3.6.1.5.5.7.8.3");
    assert_eq!(permanent::parse_other_name(value).as_deref(), Some(DEVICE));
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth, "a device is a client");

    let events = lab.stand.events().await;
    let valid =
        |event: &&Event| matches!(event, Event::AuthorizationValid { by: ChallengeKind::DeviceAttest01, .. });
    assert_eq!(events.iter().filter(valid).count(), 1);
    // It is not used again: the next order wants the next key attested.
    let next = order(&client, json!([device(DEVICE)])).await.expect(201);
    assert_eq!(next.state(), "pending");
    lab.stand.check_held_rows().await.unwrap();
}

#[tokio::test]
async fn requests_that_leave_the_device_out_or_put_it_elsewhere() {
    let lab = Lab::new().await;
    let client = Client::new(&app(&lab.stand)).await;
    // (What the order is for, what the CSR says.)
    type Case = (Value, &'static [&'static str], Option<&'static str>, Option<&'static str>, bool);
    let cases: [Case; 5] = [
        (json!([device(DEVICE)]), &[], None, None, false),
        (json!([device(DEVICE)]), &[], Some(DEVICE), None, false),
        (json!([device("C02X/1.2.3")]), &[], Some("C02X"), Some("C02X/1.2.3"), false),
        (json!([device(DEVICE), { "type": "dns", "value": "a.test" }]), &["a.test"], None, None, true),
        (json!([device(DEVICE), device("C02Y")]), &[], None, Some("C02Y"), false),
    ];
    for (identifiers, names, common_name, named, server) in cases {
        let opened = order(&client, identifiers.clone()).await.expect(201);
        let key = leaf_key();
        for (at, identifier) in identifiers.as_array().unwrap().iter().enumerate() {
            let url = opened.at(&format!("/authorizations/{at}"));
            if identifier["type"] == "dns" {
                let challenge = client.challenge(&url, "http-01").await;
                client.post(&challenge, &json!({})).await.expect(200);
            } else {
                let challenge = client.challenge(&url, "device-attest-01").await;
                let device = identifier["value"].as_str().unwrap();
                let statement = lab.statement_for(&client, &url, &key, device).await;
                assert_eq!(client.post(&challenge, &statement).await.expect(200).state(), "valid");
            }
        }
        let csr = request(names, common_name, named, &key);
        let done = client.finalize(&opened.location(), &csr).await.expect(200);
        let der = client.download(&done.at("/certificate")).await.remove(0);
        let (_, leaf) = X509Certificate::from_der(&der).unwrap();
        let count = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.len();
        assert_eq!(count, identifiers.as_array().unwrap().len(), "all that was ordered: {identifiers}");
        assert_eq!(leaf.extended_key_usage().unwrap().unwrap().value.server_auth, server, "{identifiers}");
    }
}

#[tokio::test]
async fn a_bad_statement_ends_the_challenge() {
    let lab = Lab::new().await;
    let client = Client::new(&app(&lab.stand)).await;
    let key = leaf_key();
    // For another account, in another format, of another device, and none at all.
    let stranger = Client::new(&client.app).await;
    for case in 0..5 {
        let opened = order(&client, json!([device(DEVICE)])).await.expect(201);
        let authorization = opened.at("/authorizations/0");
        let challenge = client.challenge(&authorization, "device-attest-01").await;
        let statement = match case {
            0 => {
                let theirs = order(&stranger, json!([device(DEVICE)])).await.expect(201);
                lab.statement(&stranger, &theirs.at("/authorizations/0"), &key).await
            }
            1 => json!({ "attObj": base64url(&object("android-key", vec![("x5c", x5c(&[&lab.root.der]))])) }),
            2 => lab.statement_for(&client, &authorization, &key, "C02OTHER").await,
            3 => json!({ "attObj": "" }),
            _ => {
                let good = lab.statement(&client, &authorization, &key).await;
                let text = good["attObj"].as_str().unwrap();
                json!({ "attObj": text[..text.len() / 8 * 4] })
            }
        };
        let answered = client.post(&challenge, &statement).await.expect(200);
        assert_eq!(answered.state(), "invalid", "{case}");
        let error = &answered.json()["error"];
        assert_eq!(error["type"], "urn:ietf:params:acme:error:badAttestationStatement", "{case}");
        assert!(!error["detail"].as_str().unwrap().contains("C02"), "{error}");
        assert_eq!(client.read(&opened.location()).await.expect(200).state(), "invalid");
        let csr = request(&[], None, Some(DEVICE), &key);
        client.finalize(&opened.location(), &csr).await.refused(403, "orderNotReady");
        // For good.
        let late = lab.statement(&client, &authorization, &key).await;
        assert_eq!(client.post(&challenge, &late).await.expect(200).state(), "invalid");
    }
    assert!(lab.stand.certificates().await.is_empty());
    let events = lab.stand.events().await;
    let refused = |event: &&Event| {
        matches!(event, Event::AuthorizationInvalid { error: ErrorKind::BadAttestationStatement, .. })
    };
    assert_eq!(events.iter().filter(refused).count(), 5);
}

#[tokio::test]
async fn who_may_ask_for_which_device() {
    let lab = Lab::new().await;
    let client = Client::new(&app(&lab.stand)).await;
    order(&client, json!([device("D02")])).await.refused(400, "rejectedIdentifier");
    order(&client, json!([device("C02/x")])).await.refused(400, "malformed");
    order(&client, json!([{ "type": "hardware-module", "value": "C02/1.2.3" }]))
        .await
        .refused(400, "unsupportedIdentifier");
    // Where none are attested, the type is not known.
    let plain = Stand::new().await;
    let other = Client::new(&app(&plain)).await;
    order(&other, json!([device(DEVICE)])).await.refused(400, "unsupportedIdentifier");
    // A host's order takes no device in its request.
    let hosts = client.order(&["a.test"]).await.expect(201);
    let offered = client.read(&hosts.at("/authorizations/0")).await.expect(200).json();
    assert!(offered["challenges"].as_array().unwrap().iter().all(|c| c["type"] != "device-attest-01"));
    let hosts = client.prove(&hosts).await;
    client.finalize(&hosts, &request(&[], None, Some(DEVICE), &leaf_key())).await.refused(400, "badCSR");

    // What a reload takes away is refused, and ends nothing.
    let opened = order(&client, json!([device(DEVICE)])).await.expect(201);
    let authorization = opened.at("/authorizations/0");
    let challenge = client.challenge(&authorization, "device-attest-01").await;
    let key = leaf_key();
    let statement = lab.statement(&client, &authorization, &key).await;
    let mut policy = None;
    lab.stand.reload(|terms| policy = terms.attestation.take());
    client.post(&challenge, &statement).await.refused(403, "unauthorized");
    lab.stand.reload(|terms| terms.attestation = policy.clone());
    assert_eq!(client.post(&challenge, &statement).await.expect(200).state(), "valid");
    lab.stand.reload(|terms| terms.attestation = None);
    let csr = request(&[], None, None, &key);
    let refused = client.finalize(&opened.location(), &csr).await;
    refused.refused(400, "rejectedIdentifier");
}

/// Names that share a proof of their ancestor have fewer slots than the order has identifiers.
#[tokio::test]
async fn a_device_beside_names_that_share_a_proof() {
    let lab = Lab::new().await;
    lab.stand.reload(|terms| terms.subdomains = true);
    let client = Client::new(&app(&lab.stand)).await;
    let below = |name: &str| json!({ "type": "dns", "value": name, "ancestorDomain": "example.test" });
    let names = ["a.example.test", "b.example.test"];
    let opened = order(&client, json!([below(names[0]), below(names[1]), device(DEVICE)])).await.expect(201);
    assert_eq!(opened.json()["authorizations"].as_array().unwrap().len(), 2);
    let challenge = client.challenge(&opened.at("/authorizations/0"), "dns-01").await;
    client.post(&challenge, &json!({})).await.expect(200);
    let (url, key) = (opened.at("/authorizations/1"), leaf_key());
    let challenge = client.challenge(&url, "device-attest-01").await;
    let statement = lab.statement(&client, &url, &key).await;
    assert_eq!(client.post(&challenge, &statement).await.expect(200).state(), "valid");
    let other = request(&names, None, None, &leaf_key());
    client.finalize(&opened.location(), &other).await.refused(400, "badCSR");
    client.finalize(&opened.location(), &request(&names, None, None, &key)).await.expect(200);
}

#[tokio::test]
async fn a_device_s_certificate_is_revoked_by_its_owner_and_by_its_key() {
    let lab = Lab::new().await;
    let client = Client::new(&app(&lab.stand)).await;
    let mut certificates = Vec::new();
    for _ in 0..2 {
        let opened = order(&client, json!([device(DEVICE)])).await.expect(201);
        let (url, key) = (opened.at("/authorizations/0"), leaf_key());
        let challenge = client.challenge(&url, "device-attest-01").await;
        let statement = lab.statement(&client, &url, &key).await;
        client.post(&challenge, &statement).await.expect(200);
        let done = client.finalize(&opened.location(), &request(&[], None, None, &key)).await.expect(200);
        certificates.push((client.download(&done.at("/certificate")).await.remove(0), key));
    }
    // To have been attested does not speak for the next holder of the name.
    let stranger = Client::new(&client.app).await;
    stranger.revoke(&certificates[0].0, None).await.refused(403, "unauthorized");
    client.revoke(&certificates[0].0, None).await.expect(200);
    let (der, key) = &certificates[1];
    let mut holder = Client::stranger(&client.app);
    holder.key = Key::of_certificate(key);
    let url = client.url("revoke-cert");
    let header = holder.bare_header(&url).await;
    holder.signed(&url, &header, revocation(der, None).to_string().as_bytes()).await.expect(200);
    assert!(lab.stand.certificates().await.iter().all(|record| record.revocation.is_some()));
}

#[tokio::test]
async fn statements_that_fail_are_limited() {
    let lab = Lab::new().await;
    let client = Client::new(&app(&lab.stand)).await;
    let mut rules = no_limits();
    rules.set(Limit::AccountFailures, Quota::new(2, HOUR));
    lab.stand.service.limits().reload(rules);
    for attempt in 0..3 {
        let opened = order(&client, json!([device(DEVICE)])).await.expect(201);
        let challenge = client.challenge(&opened.at("/authorizations/0"), "device-attest-01").await;
        let answered = client.post(&challenge, &json!({ "attObj": "" })).await;
        if attempt < 2 {
            assert_eq!(answered.expect(200).state(), "invalid");
        } else {
            answered.refused(429, "rateLimited");
        }
    }
}

/// The proof would count for nothing: every order wants a key attested of its own.
#[tokio::test]
async fn devices_are_not_attested_ahead_of_an_order() {
    let lab = Lab::new().await;
    let client = Client::new(&app(&lab.stand)).await;
    let ask = json!({ "identifier": device(DEVICE) });
    client.post(&client.url("new-authz"), &ask).await.refused(400, "malformed");
    let plain = Stand::new().await;
    let other = Client::new(&app(&plain)).await;
    other.post(&other.url("new-authz"), &ask).await.refused(400, "unsupportedIdentifier");
}
