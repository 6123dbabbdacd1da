//! Challenges, as the tests' own small internet answers them.

use crate::support::acme::*;
use crate::support::server::{self, Server};
use crate::support::web::Web;

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
    assert!(
        error["type"].as_str().is_some_and(|t| t.starts_with("urn:ietf:params:acme:error:")),
        "{settled}"
    );
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
    assert_eq!(
        challenge(&settled, "http-01")["error"]["type"],
        "urn:ietf:params:acme:error:dns",
        "{settled}"
    );
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
    web.redirect(
        token,
        &format!("http://other.test:{}/.well-known/acme-challenge/elsewhere", server.http_port),
    );
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
