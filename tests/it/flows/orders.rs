//! Orders from newOrder to the certificate.

use serde_json::{Value, json};

use super::{assert_refused, refused};
use crate::support::acme::*;
use crate::support::server::Server;
use crate::support::web::Web;

#[test]
fn an_order_goes_its_way() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let names = ["one.test", "TWO.test", "one.test"];

    let payload = json!({"identifiers": identifiers(&names)}).to_string();
    let made = client.post(&client.endpoint("newOrder"), &payload).unwrap();
    assert_eq!(made.status, 201);
    let order = Order { url: made.header("location").unwrap().to_owned(), object: made.json() };
    assert_eq!(order.status(), "pending");
    assert!(order.object["expires"].is_string());
    let mut listed: Vec<_> =
        order.object["identifiers"].as_array().unwrap().iter().map(|i| i["value"].clone()).collect();
    listed.sort_by_key(Value::to_string);
    assert_eq!(listed, [json!("one.test"), json!("two.test")], "lower case, each once");
    assert_eq!(authorizations(&order).len(), 2);

    // Not before its time.
    let (key, csr) = csr(&["one.test", "two.test"]);
    assert_refused(client.finalize(&order, &csr), 403, "orderNotReady");

    let url = authorizations(&order).remove(0);
    let authorization = client.fetch(&url).unwrap().json();
    assert_eq!(authorization["status"], "pending");
    assert!(authorization["wildcard"].is_null() || authorization["wildcard"] == false);
    for kind in ["http-01", "dns-01", "tls-alpn-01"] {
        let token = challenge(&authorization, kind)["token"].as_str().unwrap();
        assert!(token.len() >= 22, "128 bits or more");
    }

    // The answer to a challenge's POST names its authorization.
    let challenge_url = challenge(&authorization, "http-01")["url"].as_str().unwrap().to_owned();
    let shown = client.fetch(&challenge_url).unwrap();
    assert_eq!(shown.link("up"), Some(url.as_str()));
    assert_eq!(shown.json()["status"], "pending", "POST-as-GET starts nothing");

    client.authorize(&web, &order).unwrap();
    let ready = client.fetch(&order.url).unwrap().json();
    assert_eq!(ready["status"], "ready");
    let settled = client.fetch(&url).unwrap().json();
    assert_eq!(settled["status"], "valid");
    assert!(challenge(&settled, "http-01")["validated"].is_string());

    // A second POST of the same challenge is answered with the object as it stands.
    let again = client.post(&challenge_url, "{}").unwrap();
    assert_eq!(again.json()["status"], "valid");

    let finalize = order.object["finalize"].as_str().unwrap();
    let payload = json!({"csr": b64(&csr)}).to_string();
    let reply = client.post(finalize, &payload).unwrap();
    assert_eq!(reply.header("location"), Some(order.url.as_str()));
    if reply.json()["status"] == "processing" {
        let seconds = reply.header("retry-after").expect("Retry-After while processing");
        assert!(seconds.parse::<u32>().is_ok(), "seconds, not a date: {seconds}");
    }
    let valid = client.settle(&order.url, &["processing"]).unwrap();
    assert_eq!(valid["status"], "valid");

    // And so is the same finalize again.
    let repeated = client.post(finalize, &payload).unwrap().json();
    assert_eq!(repeated["certificate"], valid["certificate"]);

    let download = client.fetch(valid["certificate"].as_str().unwrap()).unwrap();
    assert_eq!(download.header("content-type"), Some("application/pem-certificate-chain"));
    assert_eq!(download.text().matches("BEGIN CERTIFICATE").count(), 2, "leaf and intermediate");
    drop(key);
}

/// Clients that find no common name take the certificate's first name for the main one: lego files
/// a renewed certificate under it.
#[test]
fn names_keep_the_order_asked_for() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let names = ["z.test", "a.test", "m.test"];
    let issued = client.issue(&web, &names).unwrap();
    let listed = issued.order.object["identifiers"].as_array().unwrap();
    assert_eq!(listed.iter().map(|i| i["value"].as_str().unwrap()).collect::<Vec<_>>(), names);
    let der = leaf(&issued.pem);
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    let san = certificate.subject_alternative_name().unwrap().unwrap();
    let shown: Vec<_> = san.value.general_names.iter().map(ToString::to_string).collect();
    assert_eq!(shown, names.map(|name| format!("DNSName({name})")));
}

#[test]
fn orders_are_private_and_unknown_ones_are_not_found() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let issued = client.issue(&web, &["mine.test"]).unwrap();
    let mut stranger = Client::registered(&server);
    let finalize = issued.order.object["finalize"].as_str().unwrap().to_owned();
    for url in [issued.order.url.clone(), authorizations(&issued.order).remove(0), issued.url, finalize] {
        let (status, _) = refused(stranger.fetch(&url));
        assert!(matches!(status, 400 | 401 | 403 | 404), "{url}: {status}");
    }
    let (head, id) = issued.order.url.rsplit_once('/').unwrap();
    let unknown = format!("{head}/{}", id.chars().rev().collect::<String>());
    assert_eq!(refused(client.fetch(&unknown)).0, 404);
    assert_eq!(refused(client.fetch(&format!("{head}/nonsense"))).0, 404);
}

#[test]
fn identifiers_that_cannot_be_are_refused() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let url = client.endpoint("newOrder");
    let refusals = [
        (json!([]), "malformed"),
        (json!([{"type": "dns", "value": ""}]), "malformed|rejectedIdentifier"),
        (json!([{"type": "dns", "value": "a..test"}]), "malformed|rejectedIdentifier"),
        (json!([{"type": "dns", "value": "under_score.test"}]), "malformed|rejectedIdentifier"),
        (json!([{"type": "dns", "value": "*.*.test"}]), "malformed|rejectedIdentifier"),
        (json!([{"type": "dns", "value": "a.*.test"}]), "malformed|rejectedIdentifier"),
        (json!([{"type": "dns", "value": "127.0.0.1"}]), "malformed|rejectedIdentifier"),
        (json!([{"type": "dns", "value": "é.test"}]), "malformed|rejectedIdentifier"),
        (
            json!([{"type": "dns", "value": format!("{}.test", "a".repeat(64))}]),
            "malformed|rejectedIdentifier",
        ),
        (json!([{"type": "ip", "value": "300.0.0.1"}]), "malformed|rejectedIdentifier"),
        (
            json!([{"type": "email", "value": "a@one.test"}]),
            "unsupportedIdentifier|malformed|rejectedIdentifier",
        ),
    ];
    for (identifiers, kinds) in refusals {
        let payload = json!({"identifiers": identifiers}).to_string();
        let (status, kind) = refused(client.post(&url, &payload));
        assert!(matches!(status, 400 | 403), "{payload}: {status}");
        assert!(kinds.split('|').any(|k| k == kind), "{payload}: {kind}");
    }

    // Two bad ones: a subproblem for each, naming it.
    let payload = json!({"identifiers": identifiers(&["good.test", "a..test", "*.*.test"])}).to_string();
    let Err(Failure::Problem(reply)) = client.post(&url, &payload) else { panic!("a refusal") };
    let document = reply.json();
    let named: Vec<_> = document["subproblems"]
        .as_array()
        .expect("subproblems")
        .iter()
        .map(|p| p["identifier"]["value"].clone())
        .collect();
    assert_eq!(named, [json!("a..test"), json!("*.*.test")], "{document}");
}

#[test]
fn wildcards_are_for_dns_alone() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let order = client.order(&["*.wild.test"]).unwrap();
    let authorization = client.fetch(&authorizations(&order)[0]).unwrap().json();
    assert_eq!(authorization["identifier"]["value"], "wild.test");
    assert_eq!(authorization["wildcard"], true);
    let kinds: Vec<_> =
        authorization["challenges"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
    assert_eq!(kinds, [json!("dns-01")]);
}

#[test]
fn addresses_have_no_dns_challenge() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    for address in ["127.0.0.1", "::1"] {
        let order = client.order(&[address]).unwrap();
        let authorization = client.fetch(&authorizations(&order)[0]).unwrap().json();
        let list = authorization["challenges"].as_array().unwrap();
        assert!(list.iter().all(|c| c["type"] != "dns-01"), "{authorization}");
        let issued = client.issue(&web, &[address]).unwrap();
        assert_eq!(issued.pem.matches("BEGIN CERTIFICATE").count(), 2);
    }
}

#[test]
fn requested_times_are_kept_within_limits() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let url = client.endpoint("newOrder");
    for (what, times) in [
        ("no date", json!({"notAfter": "tomorrow"})),
        ("too long", json!({"notAfter": "2199-01-01T00:00:00Z"})),
        ("past", json!({"notAfter": "2001-01-01T00:00:00Z"})),
        (
            "the wrong way round",
            json!({"notBefore": "2199-01-02T00:00:00Z", "notAfter": "2199-01-01T00:00:00Z"}),
        ),
    ] {
        let mut payload = json!({"identifiers": identifiers(&["times.test"])});
        payload.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
        let (status, _) = refused(client.post(&url, &payload.to_string()));
        assert!(matches!(status, 400 | 403), "{what}: {status}");
    }
}

#[test]
fn certificate_requests_must_match() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let order = client.order(&["csr.test"]).unwrap();
    client.authorize(&web, &order).unwrap();

    let mut tampered = csr(&["csr.test"]).1;
    *tampered.last_mut().unwrap() ^= 1;
    let account = rcgen::KeyPair::generate().unwrap();
    let mut owner = bearer(&server, Key::from_pkcs8(&account.serialize_der()));
    owner.register().unwrap();
    let own = owner.order(&["own.test"]).unwrap();
    owner.authorize(&web, &own).unwrap();

    let bad = [
        ("another name", csr(&["other.test"]).1),
        ("a name more", csr(&["csr.test", "other.test"]).1),
        ("no name", csr(&[]).1),
        ("rubbish", b"rubbish".to_vec()),
        ("a signature that does not hold", tampered),
    ];
    for (what, request) in bad {
        let (status, kind) = refused(client.finalize(&order, &request));
        assert!(status == 400 && matches!(kind.as_str(), "badCSR" | "malformed"), "{what}: {status} {kind}");
        assert_eq!(
            client.fetch(&order.url).unwrap().json()["status"],
            "ready",
            "{what}: and the order stays ready"
        );
    }
    let (status, kind) = refused(owner.finalize(&own, &csr_for(&["own.test"], &account)));
    assert!(
        status == 400 && matches!(kind.as_str(), "badCSR" | "badPublicKey"),
        "the account's key: {status} {kind}"
    );

    client.finalize(&order, &csr(&["csr.test"]).1).unwrap();
}
