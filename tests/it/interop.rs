//! Unmodified clients: issue, renew and revoke over all challenge types.

use std::fs;
use std::process::Command;

use crate::support::acme::{Key, bearer};
use crate::support::clients::*;
use crate::support::openssl::{Certificate, KeyKind, verify, verify_full_chain, verify_under};
use crate::support::process::output;
use crate::support::server::{Server, binary, provisioner, section};
use crate::support::web::Web;

/// A certificate's text and key, kept from before a client revokes it and perhaps tidies up.
pub struct Evidence {
    pem: String,
    key: Key,
}

impl Evidence {
    pub fn of(certificate: &Certificate) -> Self {
        let pem = fs::read_to_string(&certificate.chain).unwrap();
        Self { pem, key: Key::from_file(&certificate.key) }
    }

    /// Revokes it, signed by its key and without the client's knowledge: keyCompromise.
    pub fn revoke(&self, server: &Server) {
        bearer(server, self.key.clone()).revoke(&self.pem, Some(1)).unwrap();
    }

    /// The server says so to the holder of the key.
    pub fn assert_revoked(&self, server: &Server) {
        let again = bearer(server, self.key.clone()).revoke(&self.pem, None);
        assert_eq!(again.expect_err("revoked twice").problem(), (400, "alreadyRevoked".to_owned()));
    }
}

/// Checks what a client got, chain and all.
pub fn check(server: &Server, certificate: &Certificate, ask: Ask) {
    verify(server, certificate, ask.names, ask.key);
    verify_full_chain(&certificate.chain);
}

pub const ONE: &[&str] = &["one.test"];
/// In mixed case, which names are compared without.
pub const SEVERAL: &[&str] = &["one.test", "Two.test", "three.deep.test"];
pub const WILDCARD: &[&str] = &["*.wild.test", "wild.test"];

fn certbot_life(client: &Certbot, server: &Server) {
    let ask = Ask::new(SEVERAL, Challenge::Http, KeyKind::Ecdsa);
    let first = client.issue(ask);
    check(server, &first, ask);
    let serial = first.serial();

    let second = client.renew();
    check(server, &second, ask);
    assert_ne!(second.serial(), serial);

    let evidence = Evidence::of(&second);
    client.revoke();
    evidence.assert_revoked(server);

    let ask = Ask::new(WILDCARD, Challenge::Dns, KeyKind::Rsa);
    let wildcard = client.issue(ask);
    check(server, &wildcard, ask);
    let evidence = Evidence::of(&wildcard);
    client.revoke_by_key(&wildcard);
    evidence.assert_revoked(server);
}

#[test]
fn certbot_of_debian() {
    let server = Server::start();
    certbot_life(&Certbot::debian(&server), &server);
}

#[test]
fn certbot_of_pypi() {
    let server = Server::start();
    certbot_life(&Certbot::pypi(&server), &server);
}

#[test]
fn certbot_for_an_address() {
    let server = Server::start();
    let ask = Ask::new(&["127.0.0.1"], Challenge::Http, KeyKind::Ecdsa);
    check(&server, &Certbot::pypi(&server).issue(ask), ask);
}

/// A certificate of a day is not due on its first one, whatever certbot thinks by itself; and nothing
/// but the renewal information tells it of the revocation (RFC 9773).
#[test]
fn certbot_renews_early_when_it_is_told_to() {
    for revoked in [false, true] {
        let server = Server::start();
        let certbot = Certbot::pypi(&server);
        let ask = Ask::new(ONE, Challenge::Http, KeyKind::Ecdsa);
        let first = certbot.issue(ask);
        let serial = first.serial();
        if revoked {
            Evidence::of(&first).revoke(&server);
        }
        let second = certbot.renew_if_due();
        assert_eq!(second.serial() != serial, revoked);
        check(&server, &second, ask);
    }
}

fn lego_life(ask: Ask) {
    let server = Server::start();
    let lego = Lego::new(&server);
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
fn lego_http() {
    lego_life(Ask::new(SEVERAL, Challenge::Http, KeyKind::Ecdsa));
}

#[test]
fn lego_tls_alpn() {
    lego_life(Ask::new(SEVERAL, Challenge::TlsAlpn, KeyKind::Rsa));
}

#[test]
fn lego_dns_wildcard() {
    lego_life(Ask::new(WILDCARD, Challenge::Dns, KeyKind::Ecdsa));
}

#[test]
fn uacme() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let uacme = Uacme::new(&server, &web);
    let ask = Ask::new(SEVERAL, Challenge::Http, KeyKind::Ecdsa);
    let first = uacme.issue(ask);
    check(&server, &first, ask);
    let serial = first.serial();
    let second = uacme.issue(ask);
    check(&server, &second, ask);
    assert_ne!(second.serial(), serial);
    let evidence = Evidence::of(&second);
    uacme.revoke(&second);
    evidence.assert_revoked(&server);

    let ask = Ask::new(WILDCARD, Challenge::Dns, KeyKind::Rsa);
    check(&server, &uacme.issue(ask), ask);
}

#[test]
fn uacme_for_an_address() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let ask = Ask::new(&["127.0.0.1"], Challenge::Http, KeyKind::Ecdsa);
    check(&server, &Uacme::new(&server, &web).issue(ask), ask);
}

#[test]
fn dehydrated() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let dehydrated = Dehydrated::new(&server, &web);
    let ask = Ask::new(SEVERAL, Challenge::Http, KeyKind::Rsa);
    let first = dehydrated.issue(ask);
    check(&server, &first, ask);
    let serial = first.serial();
    let second = dehydrated.issue(ask);
    check(&server, &second, ask);
    assert_ne!(second.serial(), serial);
    let evidence = Evidence::of(&second);
    dehydrated.revoke();
    evidence.assert_revoked(&server);

    let ask = Ask::new(WILDCARD, Challenge::Dns, KeyKind::Ecdsa);
    check(&server, &dehydrated.issue(ask), ask);
}

#[test]
fn acme_tiny_with_an_rsa_account() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let ask = Ask::new(SEVERAL, Challenge::Http, KeyKind::Ecdsa);
    check(&server, &acme_tiny(&server, &web, ask.names), ask);
}

fn caddy_life(server: &Server, caddy: &mut Caddy, ask: Ask) {
    let first = caddy.certificate(ask.names[0]);
    check(server, &first, ask);
    let serial = first.serial();

    // A restart keeps the certificate; one without it gets a new one on the same account.
    caddy.stop();
    caddy.start();
    assert_eq!(caddy.certificate(ask.names[0]).serial(), serial);
    caddy.forget();
    caddy.start();
    let second = caddy.certificate(ask.names[0]);
    check(server, &second, ask);
    assert_ne!(second.serial(), serial);
}

#[test]
fn caddy_of_debian_http() {
    let server = Server::start();
    let ask = Ask::new(ONE, Challenge::Http, KeyKind::Rsa);
    caddy_life(&server, &mut Caddy::debian(&server, ask), ask);
}

#[test]
fn caddy_of_debian_tls_alpn() {
    let server = Server::start();
    let ask = Ask::new(ONE, Challenge::TlsAlpn, KeyKind::Ecdsa);
    caddy_life(&server, &mut Caddy::debian(&server, ask), ask);
}

#[test]
fn caddy_of_pypi_http() {
    let server = Server::start();
    let ask = Ask::new(ONE, Challenge::Http, KeyKind::Ecdsa);
    caddy_life(&server, &mut Caddy::pypi(&server, ask), ask);
}

#[test]
fn caddy_of_pypi_tls_alpn() {
    let server = Server::start();
    let ask = Ask::new(ONE, Challenge::TlsAlpn, KeyKind::Rsa);
    caddy_life(&server, &mut Caddy::pypi(&server, ask), ask);
}

#[test]
fn apache_http() {
    let server = Server::start();
    let ask = Ask::new(&["one.test", "two.test"], Challenge::Http, KeyKind::Rsa);
    check(&server, &Apache::new(&server, ask).certificate("one.test"), ask);
}

#[test]
fn apache_tls_alpn() {
    let server = Server::start();
    let ask = Ask::new(&["one.test", "two.test"], Challenge::TlsAlpn, KeyKind::Ecdsa);
    check(&server, &Apache::new(&server, ask).certificate("one.test"), ask);
}

#[test]
fn apache_dns_wildcard() {
    let server = Server::start();
    let ask = Ask::new(&["wild.test", "*.wild.test"], Challenge::Dns, KeyKind::Ecdsa);
    check(&server, &Apache::new(&server, ask).certificate("wild.test"), ask);
}

/// Two authorities of one process, each by a provisioner of its own: the same client, the same name, and
/// nothing in common.
#[test]
fn lego_under_two_authorities_of_one_server() {
    let mut server = Server::init_only(|_| ());
    let second = server.scratch("second");
    let mut made = Command::new(binary());
    made.args(["init", "--name", "Second", "--dns", "localhost", "--address", "127.0.0.1:1", "--dir"]);
    output(made.arg(&second));
    let mut config: toml::Table = fs::read_to_string(server.config()).unwrap().parse().unwrap();
    let mut first = section(&mut config, "authority").clone();
    first.insert("name".into(), "first".into());
    let mut other = toml::Table::new();
    other.insert("name".into(), "second".into());
    let files = [
        ("root", "certs/root_ca.crt"),
        ("certificate", "certs/intermediate_ca.crt"),
        ("key", "secrets/intermediate_ca_key"),
    ];
    for (key, file) in files {
        other.insert(key.into(), second.join(file).to_str().unwrap().into());
    }
    config.insert("authority".into(), vec![first, other].into());
    let mut twin = provisioner(&mut config).clone();
    provisioner(&mut config).insert("authority".into(), "first".into());
    twin.extend([("name".to_owned(), "second".into()), ("authority".to_owned(), "second".into())]);
    config["provisioner"].as_array_mut().unwrap().push(twin.into());
    fs::write(server.config(), toml::to_string(&config).unwrap()).unwrap();
    server.serve();

    let ask = Ask::new(ONE, Challenge::Http, KeyKind::Ecdsa);
    let (own, others) = (Lego::new(&server), Lego::new(&server).at("second"));
    let (root, issuer) = (second.join("certs/root_ca.crt"), second.join("certs/intermediate_ca.crt"));
    for renewed in [false, true] {
        let issued = |lego: &Lego| if renewed { lego.renew(ask) } else { lego.issue(ask) };
        check(&server, &issued(&own), ask);
        let certificate = issued(&others);
        verify_under((&root, &issuer), &certificate, ask.names, ask.key);
        verify_full_chain(&certificate.chain);
    }
    // Each revokes its own, and neither the other's.
    let evidence = Evidence::of(&others.certificate(ask));
    let refused = bearer(&server, evidence.key.clone()).revoke(&evidence.pem, None).unwrap_err();
    assert!((400..500).contains(&refused.problem().0), "{refused:?}");
    others.revoke(ask);
    own.revoke(ask);
}

/// Who may register, and for what, is the operator's word; control of names is shown as ever.
fn with_external_accounts(trusts_names: bool) -> Server {
    Server::start_with(|config| {
        provisioner(config).insert("eab".into(), "required".into());
        provisioner(config).insert("eab_trusts_names".into(), trusts_names.into());
    })
}

#[test]
fn certbot_with_an_external_account() {
    let server = with_external_accounts(false);
    let key = server.eab_key(&["--allow", "*.test"]);
    certbot_life(&Certbot::debian(&server).with_eab(&key), &server);
}

#[test]
fn lego_with_an_external_account() {
    let server = with_external_accounts(false);
    let key = server.eab_key(&["--allow", "one.test", "--allow", "*.one.test"]);
    let lego = Lego::new(&server).with_eab(&key);
    let ask = Ask::new(ONE, Challenge::Http, KeyKind::Ecdsa);
    let first = lego.issue(ask);
    check(&server, &first, ask);
    let serial = first.serial();
    let second = lego.renew(ask);
    check(&server, &second, ask);
    assert_ne!(second.serial(), serial);
}

/// A wildcard, which http-01 could not prove: the names are the key's to vouch for.
#[test]
fn names_that_a_key_vouches_for_need_no_challenge() {
    let server = with_external_accounts(true);
    let ask = Ask::new(WILDCARD, Challenge::Http, KeyKind::Ecdsa);
    let key = || server.eab_key(&["--allow", "wild.test", "--allow", "*.wild.test", "--trust-names"]);
    check(&server, &Lego::new(&server).with_eab(&key()).issue(ask), ask);
    let ask = Ask::new(WILDCARD, Challenge::Dns, KeyKind::Rsa);
    check(&server, &Certbot::debian(&server).with_eab(&key()).issue(ask), ask);
    assert!(!server.log().contains("validation failed"), "{}", server.log());
}
