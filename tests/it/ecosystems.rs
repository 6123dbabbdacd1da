//! Clients of other ecosystems than Debian's: Go's, npm's and smallstep's; and dns-01 by signed updates.

use crate::interop::{Evidence, ONE, SEVERAL, WILDCARD, check};
use crate::support::clients::*;
use crate::support::named::Named;
use crate::support::openssl::{KeyKind, extended_key_usage};
use crate::support::server::{Server, provisioner, section};
use crate::support::web::Web;

/// DNS names in both orders of kind, and an address.
const MIXED: &[&str] = &["one.test", "127.0.0.1", "two.test"];

#[test]
fn released_lego_for_names_and_an_address() {
    let server = Server::start();
    let lego = Lego::released(&server);
    let ask = Ask::new(MIXED, Challenge::Http, KeyKind::Ecdsa);
    let first = lego.issue(ask);
    check(&server, &first, ask);
    let serial = first.serial();
    let second = lego.renew(ask);
    check(&server, &second, ask);
    assert_ne!(second.serial(), serial);
    let evidence = Evidence::of(&second);
    lego.revoke(ask);
    evidence.assert_revoked(&server);
}

#[test]
fn released_lego_tls_alpn() {
    let server = Server::start();
    // In lower case: this lego takes an order's `two.test` for a change of the `Two.test` it asked for.
    let ask = Ask::new(&["one.test", "two.test", "three.deep.test"], Challenge::TlsAlpn, KeyKind::Rsa);
    check(&server, &Lego::released(&server).issue(ask), ask);
}

#[test]
fn released_lego_dns_wildcard() {
    let server = Server::start();
    let ask = Ask::new(WILDCARD, Challenge::Dns, KeyKind::Ecdsa);
    check(&server, &Lego::released(&server).issue(ask), ask);
}

/// RFC 9773: what half a life left would not make it do, a revocation does.
#[test]
fn released_lego_renews_early_when_it_is_told_to() {
    let server = Server::start();
    let lego = Lego::released(&server);
    let ask = Ask::new(ONE, Challenge::Http, KeyKind::Ecdsa);
    let first = lego.issue(ask);
    let serial = first.serial();
    assert_eq!(lego.renew_if_due(ask).serial(), serial, "not due");
    Evidence::of(&first).revoke(&server);
    let second = lego.renew_if_due(ask);
    assert_ne!(second.serial(), serial);
    check(&server, &second, ask);
}

#[test]
fn released_lego_asks_for_a_profile() {
    let server = Server::start_with(|config| {
        let profiles = "[server]\nusages = [\"serverAuth\"]\n[job]\nusages = [\"clientAuth\"]\n";
        provisioner(config).insert("profiles".into(), profiles.parse::<toml::Table>().unwrap().into());
        provisioner(config).insert("default_profile".into(), "server".into());
    });
    let lego = Lego::released(&server);
    let ask = Ask::new(ONE, Challenge::Http, KeyKind::Ecdsa);
    assert_eq!(extended_key_usage(&lego.issue(ask).chain), "TLS Web Server Authentication");
    let job = lego.issue_for_profile(ask, "job");
    assert_eq!(extended_key_usage(&job.chain), "TLS Web Client Authentication");
}

/// `step` sends notBefore and notAfter in every order, Go's zero time if they are not asked for.
#[test]
fn step_for_names() {
    let server = Server::start();
    let step = Step::new(&server);
    let ask = Ask::new(SEVERAL, Challenge::Http, KeyKind::Ecdsa);
    let first = step.issue(ask, &[]);
    check(&server, &first, ask);
    let serial = first.serial();
    // With a contact, which it takes for a URL.
    let second = step.issue(ask, &["--contact", "mailto:test@example.test"]);
    check(&server, &second, ask);
    assert_ne!(second.serial(), serial);
}

#[test]
fn step_for_an_address() {
    let server = Server::start();
    let ask = Ask::new(&["127.0.0.1"], Challenge::Http, KeyKind::Rsa);
    check(&server, &Step::new(&server).issue(ask, &["--not-after", "24h"]), ask);
}

#[test]
fn go_programs_http() {
    let server = Server::start();
    let ask = Ask::new(MIXED, Challenge::Http, KeyKind::Ecdsa);
    let first = go_order(&server, ask, false);
    check(&server, &first, ask);
    let serial = first.serial();
    let second = go_order(&server, ask, true);
    check(&server, &second, ask);
    assert_ne!(second.serial(), serial);
    Evidence::of(&second).assert_revoked(&server);
}

#[test]
fn go_programs_tls_alpn() {
    let server = Server::start();
    let ask = Ask::new(&["one.test", "two.test"], Challenge::TlsAlpn, KeyKind::Ecdsa);
    check(&server, &go_order(&server, ask, false), ask);
}

#[test]
fn npm_client() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let npm = NpmClient { server: &server, web: &web };
    let ask = Ask::new(SEVERAL, Challenge::Http, KeyKind::Ecdsa);
    let first = npm.issue(ask);
    check(&server, &first, ask);
    let serial = first.serial();
    let second = npm.issue_and_revoke(ask);
    check(&server, &second, ask);
    assert_ne!(second.serial(), serial);
    Evidence::of(&second).assert_revoked(&server);

    let ask = Ask::new(WILDCARD, Challenge::Dns, KeyKind::Ecdsa);
    check(&server, &npm.issue(ask), ask);
}

/// A server that asks BIND, and whose clients update it.
fn asking(named: &Named) -> Server {
    Server::start_with(|config| {
        let resolvers = vec![format!("127.0.0.1:{}", named.port)];
        section(config, "validation").insert("resolvers".into(), resolvers.into());
    })
}

/// The wildcard and its parent are proved by two values at one name, which the name server itself says
/// it was given by an update.
fn wildcard_by_updates(issue: impl FnOnce(&Server, &Named, Ask)) {
    let named = Named::start();
    let server = asking(&named);
    issue(&server, &named, Ask::new(WILDCARD, Challenge::Dns, KeyKind::Ecdsa));
    let added = named.log().matches("adding an RR at '_acme-challenge.wild.test' TXT").count();
    assert_eq!(added, 2, "{}", named.log());
}

#[test]
fn certbot_by_signed_updates() {
    wildcard_by_updates(|server, named, ask| {
        check(server, &Certbot::pypi(server).with_updates(named).issue(ask), ask);
    });
}

#[test]
fn lego_of_debian_by_signed_updates() {
    wildcard_by_updates(|server, named, ask| {
        check(server, &Lego::new(server).with_updates(named).issue(ask), ask);
    });
}

#[test]
fn released_lego_by_signed_updates() {
    wildcard_by_updates(|server, named, ask| {
        check(server, &Lego::released(server).with_updates(named).issue(ask), ask);
    });
}
