//! ACME at the level of HTTP: what the RFCs promise, and what must be refused.

use serde_json::{Value, json};

use crate::support::acme::*;
use crate::support::https::Reply;
use crate::support::server::{self, Server};
use crate::support::web::Web;

/// Status and type of a refusal.
fn refused<T: std::fmt::Debug>(result: Result<T, Failure>) -> (u16, String) {
    result.expect_err("a refusal").problem()
}

fn is(problem: &(u16, String), status: u16, kind: &str) -> bool {
    problem.0 == status && problem.1 == kind
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, Failure>, status: u16, kind: &str) {
    let problem = refused(result);
    assert!(is(&problem, status, kind), "{problem:?}, not {status} {kind}");
}

/// Both of these statuses are in use for "not yours".
#[track_caller]
fn assert_unauthorized<T: std::fmt::Debug>(result: Result<T, Failure>) {
    let (status, kind) = refused(result);
    assert!(matches!(status, 401 | 403) && kind == "unauthorized", "{status} {kind}");
}

// --- directory, nonces, methods -----------------------------------------------------------------

#[test]
fn the_directory_names_its_tree() {
    let server = Server::start();
    let reply = server.https().get(&server.directory()).unwrap();
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").unwrap().starts_with("application/json"));
    let directory = reply.json();
    for name in ["newNonce", "newAccount", "newOrder", "revokeCert"] {
        assert!(directory[name].as_str().unwrap().starts_with(&server.url("/acme/acme/")), "{name}: {directory}");
    }
}

#[test]
fn nonces_are_fresh_and_uncacheable() {
    let server = Server::start();
    let mut client = Client::new(&server);
    let url = client.endpoint("newNonce");
    let mut seen = std::collections::BTreeSet::new();
    for (method, status) in [("HEAD", 200), ("GET", 204), ("HEAD", 200), ("GET", 204)] {
        let reply = client.https.send(method, &url, &[], None).unwrap();
        assert_eq!(reply.status, status, "{method}");
        assert!(reply.header("cache-control").is_some_and(|v| v.contains("no-store")), "{reply:?}");
        assert_eq!(reply.link("index"), Some(server.directory().as_str()));
        let nonce = reply.header("replay-nonce").unwrap().to_owned();
        assert!(nonce.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert!(seen.insert(nonce), "a nonce twice");
    }
}

#[test]
fn resources_are_not_for_get() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let order = client.order(&["get.test"]).unwrap();
    let authorization = authorizations(&order).remove(0);
    let object = client.fetch(&authorization).unwrap().json();
    let challenge = challenge(&object, "http-01")["url"].as_str().unwrap().to_owned();
    let urls = [
        client.kid.clone().unwrap(),
        client.endpoint("newAccount"),
        client.endpoint("newOrder"),
        client.endpoint("revokeCert"),
        order.url.clone(),
        order.object["finalize"].as_str().unwrap().to_owned(),
        authorization,
        challenge,
    ];
    for url in urls {
        for method in ["GET", "PUT", "DELETE"] {
            let reply = client.https.send(method, &url, &[], None).unwrap();
            assert_eq!(reply.status, 405, "{method} {url}");
            assert_eq!(problem(&reply).1, "malformed");
            assert!(reply.header("allow").is_some_and(|allow| allow.contains("POST")), "{reply:?}");
        }
    }
}

#[test]
fn other_pages_answer() {
    let server = Server::start();
    let mut https = server.https();
    let health = https.get("/health").unwrap();
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
    for path in ["/livez", "/readyz"] {
        assert_eq!(https.get(path).unwrap().status, 200, "{path}");
    }
    let root = std::fs::read_to_string(server.root()).unwrap();
    let intermediate = std::fs::read_to_string(server.intermediate()).unwrap();
    assert_eq!(leaf(&https.get("/roots.pem").unwrap().text()), leaf(&root));
    assert_eq!(leaf(&https.get("/intermediates.pem").unwrap().text()), leaf(&intermediate));
    let fingerprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &leaf(&root));
    let hex: String = fingerprint.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    let found = https.get(&format!("/root/{hex}")).unwrap();
    assert_eq!(found.status, 200);
    assert_eq!(https.get(&format!("/root/{}", "0".repeat(64))).unwrap().status, 404);
    assert_eq!(https.get("/no/such/page").unwrap().status, 404);
    assert_eq!(https.get("/acme/other/directory").unwrap().status, 404);
}

// --- the envelope -------------------------------------------------------------------------------

/// A way to spoil a newOrder request, and what must come of it.
struct Spoilt {
    what: &'static str,
    spoil: fn(&mut Jws),
    statuses: &'static [u16],
    kind: &'static str,
}

const SPOILT: &[Spoilt] = &[
    Spoilt {
        what: "signed by another key",
        spoil: |jws| jws.key = Key::generate(),
        statuses: &[400, 401, 403],
        kind: "malformed|unauthorized",
    },
    Spoilt {
        what: "for another URL",
        spoil: |jws| jws.protected["url"] = json!("https://localhost/elsewhere"),
        statuses: &[401, 403],
        kind: "unauthorized",
    },
    Spoilt { what: "without URL", spoil: |jws| remove(jws, "url"), statuses: &[400], kind: "malformed" },
    Spoilt { what: "without nonce", spoil: |jws| remove(jws, "nonce"), statuses: &[400], kind: "badNonce|malformed" },
    Spoilt {
        what: "with an invented nonce",
        spoil: |jws| jws.protected["nonce"] = json!(b64([7; 24])),
        statuses: &[400],
        kind: "badNonce",
    },
    Spoilt {
        what: "with a nonce that is no base64url",
        spoil: |jws| jws.protected["nonce"] = json!("not/base+64=="),
        statuses: &[400],
        kind: "badNonce|malformed",
    },
    Spoilt {
        what: "with jwk beside kid",
        spoil: |jws| jws.protected["jwk"] = jws.key.jwk(),
        statuses: &[400],
        kind: "malformed",
    },
    Spoilt { what: "with neither jwk nor kid", spoil: |jws| remove(jws, "kid"), statuses: &[400], kind: "malformed" },
    Spoilt {
        what: "with jwk where kid belongs",
        spoil: |jws| {
            remove(jws, "kid");
            jws.protected["jwk"] = jws.key.jwk();
        },
        statuses: &[400],
        kind: "malformed",
    },
    Spoilt {
        what: "of an unknown account",
        spoil: |jws| {
            let kid = jws.protected["kid"].as_str().unwrap();
            // Of the same shape, so that only the look-up can tell.
            let (head, id) = kid.rsplit_once('/').unwrap();
            jws.protected["kid"] = json!(format!("{head}/{}", id.chars().rev().collect::<String>()));
        },
        statuses: &[400],
        kind: "accountDoesNotExist|malformed",
    },
    Spoilt {
        what: "with alg none",
        spoil: |jws| jws.protected["alg"] = json!("none"),
        statuses: &[400],
        kind: "badSignatureAlgorithm",
    },
    Spoilt {
        what: "with alg HS256",
        spoil: |jws| jws.protected["alg"] = json!("HS256"),
        statuses: &[400],
        kind: "badSignatureAlgorithm",
    },
    Spoilt {
        what: "with an algorithm of another kind of key",
        spoil: |jws| jws.protected["alg"] = json!("RS256"),
        statuses: &[400, 401, 403],
        kind: "malformed|badSignatureAlgorithm|unauthorized",
    },
    Spoilt { what: "without alg", spoil: |jws| remove(jws, "alg"), statuses: &[400], kind: "malformed|badSignatureAlgorithm" },
    Spoilt {
        what: "with an unknown critical extension",
        spoil: |jws| jws.protected["crit"] = json!(["exp"]),
        statuses: &[400],
        kind: "malformed",
    },
    Spoilt { what: "with a payload that is no JSON", spoil: |jws| jws.payload = "{".into(), statuses: &[400], kind: "malformed" },
    Spoilt { what: "with an array for a payload", spoil: |jws| jws.payload = "[]".into(), statuses: &[400], kind: "malformed" },
    Spoilt { what: "with no payload", spoil: |jws| jws.payload.clear(), statuses: &[400], kind: "malformed" },
];

fn remove(jws: &mut Jws, member: &str) {
    jws.protected.as_object_mut().unwrap().remove(member);
}

fn assert_kind(reply: &Reply, statuses: &[u16], kinds: &str, what: &str) {
    let (status, kind) = problem(reply);
    assert!(statuses.contains(&status), "{what}: {status} {kind} {}", reply.text());
    assert!(kinds.split('|').any(|k| k == kind), "{what}: {status} {kind} {}", reply.text());
}

#[test]
fn spoilt_envelopes_are_refused() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let url = client.endpoint("newOrder");
    let payload = json!({"identifiers": identifiers(&["spoilt.test"])}).to_string();
    for case in SPOILT {
        let mut jws = client.jws(&url, &payload).unwrap();
        (case.spoil)(&mut jws);
        let reply = client.send(&url, &jws.body()).unwrap();
        assert_kind(&reply, case.statuses, case.kind, case.what);
        assert!(reply.header("replay-nonce").is_some(), "{}: a problem brings a fresh nonce", case.what);
        assert_eq!(reply.link("index"), Some(server.directory().as_str()), "{}", case.what);
        // And the fresh nonce is good.
        assert_eq!(client.fetch(&client.kid.clone().unwrap()).unwrap().status, 200, "{}", case.what);
    }
}

#[test]
fn spoilt_bodies_are_refused() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let url = client.endpoint("newOrder");
    let payload = json!({"identifiers": identifiers(&["spoilt.test"])}).to_string();
    let spoil: [(&str, fn(Value) -> Vec<u8>); 8] = [
        ("no JSON", |_| b"hello".to_vec()),
        ("empty", |_| Vec::new()),
        ("padded", |jws| edit(jws, "payload", |v| v + "=")),
        ("not base64url", |jws| edit(jws, "protected", |v| format!("+/{v}"))),
        ("unprotected header", |mut jws| {
            jws["header"] = json!({"alg": "ES256"});
            jws.to_string().into_bytes()
        }),
        ("general serialization", |jws| {
            json!({"payload": jws["payload"], "signatures": [{"protected": jws["protected"], "signature": jws["signature"]}]})
                .to_string()
                .into_bytes()
        }),
        ("signature cut off", |jws| edit(jws, "signature", |v| v[..v.len() - 4].to_owned())),
        ("compact serialization", |jws| {
            let part = |name: &str| jws[name].as_str().unwrap().to_owned();
            [part("protected"), part("payload"), part("signature")].join(".").into_bytes()
        }),
    ];
    for (what, spoil) in spoil {
        let jws = client.jws(&url, &payload).unwrap().signed();
        let reply = client.send(&url, &spoil(jws)).unwrap();
        assert_kind(&reply, &[400, 401, 403], "malformed|unauthorized", what);
    }
}

fn edit(mut jws: Value, member: &str, change: fn(String) -> String) -> Vec<u8> {
    jws[member] = json!(change(jws[member].as_str().unwrap().to_owned()));
    jws.to_string().into_bytes()
}

#[test]
fn the_content_type_is_jose() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let url = client.kid.clone().unwrap();
    for kind in ["application/json", "text/plain", "application/jose"] {
        let body = client.jws(&url, "").unwrap().body();
        let reply = client.https.send("POST", &url, &[("Content-Type", kind)], Some(&body)).unwrap();
        assert_eq!(reply.status, 415, "{kind}");
        assert_eq!(problem(&reply).1, "malformed");
    }
    let body = client.jws(&url, "").unwrap().body();
    let reply = client.https.send("POST", &url, &[], Some(&body)).unwrap();
    assert_eq!(reply.status, 415, "none");
}

#[test]
fn a_body_without_end_is_cut_off() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let url = client.endpoint("newOrder");
    // The server may answer before it has read all, and close: either is a refusal.
    if let Ok(reply) = client.send(&url, &vec![b'a'; 4 << 20]) {
        assert!(matches!(reply.status, 400 | 413), "{reply:?}");
    }
    client.https.disconnect();
    client.order(&["small.test"]).unwrap();
}

#[test]
fn a_nonce_is_good_once() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let url = client.kid.clone().unwrap();
    let body = client.jws(&url, "").unwrap().body();
    assert_eq!(client.send(&url, &body).unwrap().status, 200);
    let replayed = client.send(&url, &body).unwrap();
    assert_eq!(problem(&replayed), (400, "badNonce".to_owned()));
    assert!(replayed.header("replay-nonce").is_some());
    // The nonce that came with the refusal serves the retry.
    assert_eq!(client.fetch(&url).unwrap().status, 200);
}

// --- accounts -----------------------------------------------------------------------------------

#[test]
fn accounts_are_made_found_updated_and_deactivated() {
    let server = Server::start();
    let mut client = Client::new(&server);
    let new_account = client.endpoint("newAccount");

    let ask = json!({"onlyReturnExisting": true}).to_string();
    assert_refused(client.post(&new_account, &ask), 400, "accountDoesNotExist");

    let made = client.register().unwrap();
    assert_eq!(made.status, 201);
    assert_eq!(made.json()["status"], "valid");
    assert_eq!(made.json()["contact"], json!(["mailto:test@example.test"]));
    let kid = client.kid.clone().unwrap();

    // The same key again is the same account.
    let again = client.register().unwrap();
    assert_eq!((again.status, again.header("location")), (200, Some(kid.as_str())));
    client.kid = None;
    let found = client.post(&new_account, &ask).unwrap();
    assert_eq!((found.status, found.header("location")), (200, Some(kid.as_str())));

    client.kid = Some(kid.clone());
    let changed = client.post(&kid, r#"{"contact": ["mailto:other@example.test"]}"#).unwrap();
    assert_eq!(changed.json()["contact"], json!(["mailto:other@example.test"]));
    assert_eq!(client.fetch(&kid).unwrap().json()["contact"], json!(["mailto:other@example.test"]));

    // One account's URL is not another's.
    let mut stranger = Client::registered(&server);
    assert_unauthorized(stranger.fetch(&kid));
    assert_unauthorized(stranger.post(&kid, r#"{"status": "deactivated"}"#));

    let gone = client.post(&kid, r#"{"status": "deactivated"}"#).unwrap();
    assert_eq!(gone.json()["status"], "deactivated");
    assert_unauthorized(client.fetch(&kid));
    assert_unauthorized(client.order(&["gone.test"]));
    assert_unauthorized(client.register());
}

#[test]
fn weak_and_odd_account_keys_are_refused() {
    let server = Server::start();
    let mut client = Client::new(&server);
    let url = client.endpoint("newAccount");
    let bad_keys = [
        ("off the curve", json!({"kty": "EC", "crv": "P-256", "x": b64([1; 32]), "y": b64([1; 32])})),
        ("short coordinate", json!({"kty": "EC", "crv": "P-256", "x": b64([1; 31]), "y": b64([1; 32])})),
        ("unknown curve", json!({"kty": "EC", "crv": "secp256k1", "x": b64([1; 32]), "y": b64([1; 32])})),
        ("symmetric", json!({"kty": "oct", "k": b64([1; 32])})),
    ];
    for (what, jwk) in bad_keys {
        let mut jws = client.jws(&url, "{}").unwrap();
        jws.protected["jwk"] = jwk;
        let reply = client.send(&url, &jws.body()).unwrap();
        assert_kind(&reply, &[400], "badPublicKey|malformed|badSignatureAlgorithm", what);
    }
}

// --- orders -------------------------------------------------------------------------------------

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
    let mut listed: Vec<_> = order.object["identifiers"].as_array().unwrap().iter().map(|i| i["value"].clone()).collect();
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
        (json!([{"type": "dns", "value": format!("{}.test", "a".repeat(64))}]), "malformed|rejectedIdentifier"),
        (json!([{"type": "ip", "value": "300.0.0.1"}]), "malformed|rejectedIdentifier"),
        (json!([{"type": "email", "value": "a@one.test"}]), "unsupportedIdentifier|malformed|rejectedIdentifier"),
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
    let named: Vec<_> =
        document["subproblems"].as_array().expect("subproblems").iter().map(|p| p["identifier"]["value"].clone()).collect();
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
    let kinds: Vec<_> = authorization["challenges"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
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
        ("the wrong way round", json!({"notBefore": "2199-01-02T00:00:00Z", "notAfter": "2199-01-01T00:00:00Z"})),
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
        assert_eq!(client.fetch(&order.url).unwrap().json()["status"], "ready", "{what}: and the order stays ready");
    }
    let (status, kind) = refused(owner.finalize(&own, &csr_for(&["own.test"], &account)));
    assert!(status == 400 && matches!(kind.as_str(), "badCSR" | "badPublicKey"), "the account's key: {status} {kind}");

    client.finalize(&order, &csr(&["csr.test"]).1).unwrap();
}

// --- validation ---------------------------------------------------------------------------------

#[test]
fn a_wrong_answer_makes_the_order_invalid() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let order = client.order(&["wrong.test"]).unwrap();
    let url = authorizations(&order).remove(0);
    let authorization = client.fetch(&url).unwrap().json();
    let challenge_object = challenge(&authorization, "http-01");
    web.set(challenge_object["token"].as_str().unwrap(), "something else");
    client.post(challenge_object["url"].as_str().unwrap(), "{}").unwrap();
    let settled = client.settle(&url, &["pending", "processing"]).unwrap();
    assert_eq!(settled["status"], "invalid");
    let error = &challenge(&settled, "http-01")["error"];
    assert!(error["type"].as_str().is_some_and(|t| t.starts_with("urn:ietf:params:acme:error:")), "{settled}");
    let order = client.fetch(&order.url).unwrap().json();
    assert_eq!(order["status"], "invalid");
}

#[test]
fn a_name_that_does_not_exist_is_a_dns_problem() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let order = client.order(&["a.none.test"]).unwrap();
    let url = authorizations(&order).remove(0);
    let authorization = client.fetch(&url).unwrap().json();
    client.post(challenge(&authorization, "http-01")["url"].as_str().unwrap(), "{}").unwrap();
    let settled = client.settle(&url, &["pending", "processing"]).unwrap();
    assert_eq!(challenge(&settled, "http-01")["error"]["type"], "urn:ietf:params:acme:error:dns", "{settled}");
}

#[test]
fn both_address_families_are_reached() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    client.issue(&web, &["a.v6.test", "b.dual.test", "c.test"]).unwrap();
}

#[test]
fn a_trailing_newline_is_forgiven_and_redirects_are_followed() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let order = client.order(&["redirect.test"]).unwrap();
    let url = authorizations(&order).remove(0);
    let authorization = client.fetch(&url).unwrap().json();
    let object = challenge(&authorization, "http-01");
    let token = object["token"].as_str().unwrap();
    web.redirect(token, &format!("http://other.test:{}/.well-known/acme-challenge/elsewhere", server.http_port));
    web.set("elsewhere", &format!("{token}.{}\r\n", client.key.thumbprint()));
    client.post(object["url"].as_str().unwrap(), "{}").unwrap();
    let settled = client.settle(&url, &["pending", "processing"]).unwrap();
    assert_eq!(settled["status"], "valid", "{settled}");
}

#[test]
fn redirects_to_elsewhere_are_not_followed() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let targets = [
        // Another port, the CA's own listener, a scheme that is none of ours, an endless loop.
        format!("http://other.test:{}/", server.dns.port),
        server.url("/health"),
        "ftp://other.test/".to_owned(),
        String::new(),
    ];
    for target in targets {
        let order = client.order(&["redirect.test"]).unwrap();
        let url = authorizations(&order).remove(0);
        let authorization = client.fetch(&url).unwrap().json();
        let object = challenge(&authorization, "http-01");
        let token = object["token"].as_str().unwrap();
        let own = format!("http://redirect.test:{}/.well-known/acme-challenge/{token}", server.http_port);
        web.redirect(token, if target.is_empty() { &own } else { &target });
        client.post(object["url"].as_str().unwrap(), "{}").unwrap();
        let settled = client.settle(&url, &["pending", "processing"]).unwrap();
        assert_eq!(settled["status"], "invalid", "{target}: {settled}");
    }
}

#[test]
fn loopback_is_not_dialled_unless_allowed() {
    let server = Server::start_with(|config| {
        server::section(config, "validation").remove("allow");
    });
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let order = client.order(&["guarded.test"]).unwrap();
    assert!(client.authorize(&web, &order).is_err(), "a loopback target was dialled");
}

#[test]
fn dns_answers_are_read() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let order = client.order(&["*.txt.test"]).unwrap();
    let url = authorizations(&order).remove(0);
    let authorization = client.fetch(&url).unwrap().json();
    let object = challenge(&authorization, "dns-01");
    let answer = format!("{}.{}", object["token"].as_str().unwrap(), client.key.thumbprint());
    server.dns.add_txt("_acme-challenge.txt.test", "of-someone-else");
    server.dns.add_txt(
        "_acme-challenge.txt.test",
        &b64(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, answer.as_bytes())),
    );
    client.post(object["url"].as_str().unwrap(), "{}").unwrap();
    let settled = client.settle(&url, &["pending", "processing"]).unwrap();
    assert_eq!(settled["status"], "valid", "{settled}");
}

#[test]
fn authorizations_are_reused_when_configured_and_can_be_given_up() {
    let server = Server::start_with(|config| {
        server::provisioner(config).insert("authorization_ttl".into(), "8h".into());
    });
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    client.issue(&web, &["again.test"]).unwrap();
    let second = client.order(&["again.test"]).unwrap();
    assert_eq!(second.status(), "ready", "{second:?}");

    let url = authorizations(&second).remove(0);
    let gone = client.post(&url, r#"{"status": "deactivated"}"#).unwrap().json();
    assert_eq!(gone["status"], "deactivated");
    assert_eq!(client.order(&["again.test"]).unwrap().status(), "pending");

    // Another account proves it afresh.
    assert_eq!(Client::registered(&server).order(&["again.test"]).unwrap().status(), "pending");
}

// --- revocation ---------------------------------------------------------------------------------

#[test]
fn certificates_are_revoked_by_those_who_may() {
    let server = Server::start_with(|config| {
        server::provisioner(config).insert("authorization_ttl".into(), "8h".into());
    });
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let mut stranger = Client::registered(&server);

    let issued = client.issue(&web, &["revoke.test"]).unwrap();
    assert_unauthorized(stranger.revoke(&issued.pem, None));
    assert_refused(client.revoke(&issued.pem, Some(7)), 400, "badRevocationReason");
    assert_eq!(client.revoke(&issued.pem, Some(1)).unwrap().status, 200);
    assert_refused(client.revoke(&issued.pem, None), 400, "alreadyRevoked");

    let issued = client.issue(&web, &["revoke.test"]).unwrap();
    let mut holder = bearer(&server, issued.key.clone());
    assert_eq!(holder.revoke(&issued.pem, None).unwrap().status, 200);
    assert_refused(holder.revoke(&issued.pem, None), 400, "alreadyRevoked");

    // An account that has shown control of all names may revoke what another got.
    let issued = client.issue(&web, &["revoke.test", "both.test"]).unwrap();
    let order = stranger.order(&["revoke.test"]).unwrap();
    stranger.authorize(&web, &order).unwrap();
    assert_unauthorized(stranger.revoke(&issued.pem, None));
    let order = stranger.order(&["both.test"]).unwrap();
    stranger.authorize(&web, &order).unwrap();
    assert_eq!(stranger.revoke(&issued.pem, None).unwrap().status, 200);

    // A bare key that is not the certificate's may not, and what this CA never issued cannot be.
    let issued = client.issue(&web, &["revoke.test"]).unwrap();
    assert_unauthorized(bearer(&server, Key::generate()).revoke(&issued.pem, None));
    let foreign = rcgen::generate_simple_self_signed(vec!["revoke.test".to_owned()]).unwrap().cert;
    let foreign = pem_rfc7468::encode_string("CERTIFICATE", pem_rfc7468::LineEnding::LF, foreign.der()).unwrap();
    let (status, _) = refused(client.revoke(&foreign, None));
    assert!(matches!(status, 400 | 401 | 403 | 404), "{status}");
}

// --- the process --------------------------------------------------------------------------------

#[test]
fn everything_is_there_after_a_restart() {
    let mut server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let issued = client.issue(&web, &["restart.test"]).unwrap();
    server.stop();
    server.serve();
    client.https.disconnect();
    assert_eq!(client.fetch(&issued.order.url).unwrap().json()["certificate"], issued.url);
    assert_eq!(client.fetch(&issued.url).unwrap().text(), issued.pem);
    assert_eq!(client.revoke(&issued.pem, None).unwrap().status, 200);
    server.stop();
    server.serve();
    client.https.disconnect();
    assert_refused(client.revoke(&issued.pem, None), 400, "alreadyRevoked");
    server.stop();
}
