//! Renewal information, replacement, profiles and reuse, over the wire and over a crash.

use serde_json::{Value, json};
use x509_parser::prelude::*;

use super::assert_refused;
use crate::support::acme::*;
use crate::support::server::{Server, provisioner};
use crate::support::web::Web;

fn open(client: &mut Client, payload: &Value) -> Result<Order, Failure> {
    let reply = client.post(&client.endpoint("newOrder"), &payload.to_string())?;
    Ok(Order { url: reply.header("location").unwrap().to_owned(), object: reply.json() })
}

#[test]
fn a_renewal_by_the_book() {
    let mut server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let issued = client.issue(&web, &["renew.test"]).unwrap();
    let id = id_of(&issued.pem);
    let url = format!("{}/{id}", client.endpoint("renewalInfo"));
    let mut anybody = server.https();
    let info = anybody.get(&url).unwrap();
    assert_eq!(info.status, 200);
    assert_eq!(info.header("retry-after"), Some("21600"));
    let window = info.json()["suggestedWindow"].clone();
    assert!(window["start"].as_str().unwrap() < window["end"].as_str().unwrap(), "{window}");
    let head = anybody.send("HEAD", &url, &[], None).unwrap();
    assert_eq!((head.status, head.text().as_str()), (200, ""));
    assert_eq!(anybody.get(&format!("{url}=")).unwrap().status, 400);
    assert_eq!(anybody.get(&url.replace(&id, "AQ.AQ")).unwrap().status, 404);

    let payload = json!({"identifiers": identifiers(&["renew.test"]), "replaces": id});
    let order = open(&mut client, &payload).unwrap();
    assert_eq!(order.object["replaces"], id);
    // What was said is so after a crash too: the window, the order, the mark.
    server.kill();
    server.serve();
    client.https.disconnect();
    assert_eq!(server.https().get(&url).unwrap().json()["suggestedWindow"], window);
    assert_refused(open(&mut client, &payload), 409, "alreadyReplaced");
    assert_eq!(client.fetch(&order.url).unwrap().json()["replaces"], id);
    client.authorize(&web, &order).unwrap();
    let (_, csr) = csr(&["renew.test"]);
    let done = client.finalize(&order, &csr).unwrap();
    assert_ne!(done.certificate().unwrap(), issued.url);
    assert_refused(open(&mut client, &payload), 409, "alreadyReplaced");

    client.revoke(&issued.pem, None).unwrap();
    let moved = server.https().get(&url).unwrap().json()["suggestedWindow"].clone();
    assert!(moved["end"].as_str().unwrap() < window["start"].as_str().unwrap(), "{moved}");
}

#[test]
fn profiles_and_reuse_as_configured() {
    let server = Server::start_with(|config| {
        let acme = provisioner(config);
        let profiles =
            "[job]\ndefault_ttl = \"1h\"\nusages = [\"clientAuth\"]\n[server]\nusages = [\"serverAuth\"]\n";
        acme.insert("profiles".into(), profiles.parse::<toml::Table>().unwrap().into());
        acme.insert("default_profile".into(), "server".into());
        acme.insert("reuse_certificates".into(), "10m".into());
    });
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let directory = server.https().get(&server.directory()).unwrap().json();
    assert_eq!(directory["meta"]["profiles"]["job"], "1h, at most 1d; clientAuth; any key");
    let ask = |profile: &str| json!({"identifiers": identifiers(&["job.test"]), "profile": profile});
    assert_refused(open(&mut client, &ask("classic")), 400, "invalidProfile");

    let key = rcgen::KeyPair::generate().unwrap();
    let mut urls = Vec::new();
    for (payload, profile) in [
        (ask("job"), "job"),
        (json!({"identifiers": identifiers(&["job.test"])}), "server"),
        (ask("job"), "job"),
    ] {
        let order = open(&mut client, &payload).unwrap();
        assert_eq!(order.object["profile"], profile);
        client.authorize(&web, &order).unwrap();
        let done = client.finalize(&order, &csr_for(&["job.test"], &key)).unwrap();
        let url = done.certificate().unwrap().to_owned();
        let der = leaf(&client.fetch(&url).unwrap().text());
        let (_, certificate) = parse_x509_certificate(&der).unwrap();
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert_eq!((usage.client_auth, usage.server_auth), (profile == "job", profile == "server"));
        let validity = certificate.validity();
        let lifetime = validity.not_after.timestamp() - validity.not_before.timestamp();
        // Backdated by a minute.
        assert_eq!(lifetime, if profile == "job" { 3660 } else { 86_460 });
        urls.push(url);
    }
    assert_eq!(urls[0], urls[2], "the same again");
    assert_ne!(urls[0], urls[1]);
    assert!(server.log().contains("certificate given again"));
}
