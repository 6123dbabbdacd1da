//! dns-account-01, dns-persist-01, CAA and split horizon, over HTTP and DNS. No packaged client speaks
//! the two drafts yet; what these tests publish is computed here, from the drafts.

use serde_json::Value;
use toml::Table;

use super::assert_refused;
use crate::support::acme::*;
use crate::support::dns::Dns;
use crate::support::ports;
use crate::support::server::{self, Server};
use crate::support::web::Web;

fn start(edit: impl FnOnce(&mut Table)) -> Server {
    Server::start_with(|config| {
        // What fails here fails for good.
        server::section(config, "validation").insert("attempts".into(), 1.into());
        edit(config);
    })
}

fn offering(kinds: &[&str]) -> Server {
    start(|config| drop(server::provisioner(config).insert("challenges".into(), kinds.to_vec().into())))
}

/// Answers one challenge of an order's only authorization; the authorization once it is settled.
fn answer(client: &mut Client, order: &Order, kind: &str, publish: impl FnOnce(&Client, &Value)) -> Value {
    let url = authorizations(order).remove(0);
    let authorization = client.fetch(&url).unwrap().json();
    let object = challenge(&authorization, kind);
    publish(client, object);
    client.post(object["url"].as_str().unwrap(), "{}").unwrap();
    client.settle(&url, &["pending", "processing"]).unwrap()
}

/// The value of dns-01, which dns-account-01 shares.
fn digest(client: &Client, object: &Value) -> String {
    b64(sha256(&format!("{}.{}", object["token"].as_str().unwrap(), client.key.thumbprint())))
}

/// draft-ietf-acme-dns-account-label-02 §3.1, by another way than the server's: bit by bit.
fn account_label(url: &str) -> String {
    let bits: String = sha256(url)[..10].iter().map(|byte| format!("{byte:08b}")).collect();
    let letter = |five: &[u8]| {
        let at = usize::from_str_radix(std::str::from_utf8(five).unwrap(), 2).unwrap();
        char::from(b"abcdefghijklmnopqrstuvwxyz234567"[at])
    };
    format!("_{}", bits.as_bytes().chunks(5).map(letter).collect::<String>())
}

#[test]
fn dns_account_01_lets_two_accounts_prove_one_name_side_by_side() {
    assert_eq!(account_label("https://example.com/acme/acct/ExampleAccount"), "_ujmmovf2vn55tgye");
    let server = offering(&["dns-account-01"]);
    let mut clients = [Client::registered(&server), Client::registered(&server)];
    for client in &mut clients {
        for name in ["shared.test", "*.shared.test"] {
            let order = client.order(&[name]).unwrap();
            let settled = answer(client, &order, "dns-account-01", |client, object| {
                let label = account_label(client.kid.as_ref().unwrap());
                let owner = format!("{label}._acme-challenge.shared.test");
                server.dns.add_txt(&owner, &digest(client, object));
            });
            assert_eq!(settled["status"], "valid", "{settled}");
            client.finalize(&order, &csr(&[name]).1).unwrap();
        }
    }
    // What dns-01 would look at, and the other account's name, prove nothing.
    let [mut one, two] = clients;
    let order = one.order(&["fresh.test"]).unwrap();
    let settled = answer(&mut one, &order, "dns-account-01", |client, object| {
        let label = account_label(two.kid.as_ref().unwrap());
        for owner in ["_acme-challenge.fresh.test", &format!("{label}._acme-challenge.fresh.test")] {
            server.dns.add_txt(owner, &digest(client, object));
        }
    });
    assert_eq!(settled["status"], "invalid", "{settled}");
    assert_eq!(challenge(&settled, "dns-account-01")["error"]["type"], "urn:ietf:params:acme:error:dns");
}

/// draft-ietf-acme-dns-persist-02 §4.1.
fn hashed(client: &Client, domain: &str) -> String {
    let length = char::from(u8::try_from(domain.len()).unwrap());
    let (thumbprint, url) = (client.key.thumbprint(), client.kid.as_ref().unwrap());
    let prefix = client.directory["meta"]["accountHashPrefix"].as_str().unwrap();
    format!("{prefix}sha-256/{}", b64(sha256(&format!("{length}{domain}{thumbprint}{url}"))))
}

#[test]
fn dns_persist_01_proves_again_and_again_by_one_record() {
    let server = offering(&["dns-persist-01", "http-01"]);
    let mut client = Client::registered(&server);
    let meta = &client.directory["meta"];
    assert_eq!(meta["issuerDomainNames"], serde_json::json!(["localhost"]));
    let issuer = meta["issuerDomainNames"][0].as_str().unwrap().to_owned();

    let order = client.order(&["corp.test"]).unwrap();
    let before = answer(&mut client, &order, "dns-persist-01", |_, object| {
        assert_eq!(object["issuerDomainNames"][0], issuer.as_str());
        assert!(object.get("token").is_none(), "{object}");
    });
    assert_eq!(challenge(&before, "dns-persist-01")["error"]["type"], "urn:ietf:params:acme:error:dns");

    let account = hashed(&client, "corp.test");
    let owner = "_validation-persist.corp.test";
    server.dns.add_txt(owner, "another.example; accounturi=https://another.example/1");
    server.dns.add_txt(owner, &format!("{issuer}; accounturi={account}; policy=wildcard"));
    for name in ["corp.test", "*.corp.test", "www.corp.test", "*.deep.corp.test", "corp.test"] {
        let order = client.order(&[name]).unwrap();
        let settled = answer(&mut client, &order, "dns-persist-01", |_, _| {});
        assert_eq!(settled["status"], "valid", "{settled}");
        client.finalize(&order, &csr(&[name]).1).unwrap();
    }
    // A record of one account, for one name, until then.
    let mut other = Client::registered(&server);
    let order = other.order(&["corp.test"]).unwrap();
    let settled = answer(&mut other, &order, "dns-persist-01", |_, _| {});
    assert_eq!(
        challenge(&settled, "dns-persist-01")["error"]["type"],
        "urn:ietf:params:acme:error:unauthorized",
        "{settled}"
    );
    for (name, more, want) in [
        ("plain.test", "", "valid"),
        ("sub.plain.test", "", "invalid"),
        ("old.test", "; persistUntil=1700000000", "invalid"),
        ("new.test", "; persistUntil=4102444800", "valid"),
    ] {
        let value = format!("{issuer}; accounturi={}{more}", hashed(&client, name));
        server.dns.add_txt(&format!("_validation-persist.{}", name.trim_start_matches("sub.")), &value);
        let order = client.order(&[name]).unwrap();
        let settled = answer(&mut client, &order, "dns-persist-01", |_, _| {});
        assert_eq!(settled["status"], want, "{name}: {settled}");
    }
}

#[test]
fn caa_is_looked_at_when_proving_and_when_issuing() {
    let server = start(|config| {
        let provisioner = server::provisioner(config);
        provisioner.insert("caa".into(), true.into());
        provisioner.insert("caa_identities".into(), vec!["ca.example"].into());
    });
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    assert_eq!(client.directory["meta"]["caaIdentities"], serde_json::json!(["ca.example"]));
    client.issue(&web, &["free.test"]).unwrap();

    server.dns.set_caa("corp.test", &["0 issue other.example"]);
    let order = client.order(&["a.corp.test"]).unwrap();
    let closed = answer(&mut client, &order, "http-01", |client, object| {
        let token = object["token"].as_str().unwrap();
        web.set(token, &format!("{token}.{}", client.key.thumbprint()));
    });
    assert_eq!(challenge(&closed, "http-01")["error"]["type"], "urn:ietf:params:acme:error:caa", "{closed}");

    let account =
        format!("0 issue ca.example; validationmethods=http-01; accounturi={}", client.kid.as_ref().unwrap());
    server.dns.set_caa("corp.test", &["0 issue other.example", &account]);
    let order = client.order(&["a.corp.test"]).unwrap();
    client.authorize(&web, &order).unwrap();
    let csr = csr(&["a.corp.test"]).1;
    for forbidding in ["0 issue ;", "128 future x", "0 issue ca.example; validationmethods=dns-01"] {
        server.dns.set_caa("a.corp.test", &[forbidding]);
        assert_refused(client.finalize(&order, &csr), 403, "caa");
    }
    server.dns.set_caa("a.corp.test", &["0 issuewild ;"]);
    client.finalize(&order, &csr).unwrap();
    // Another account is not the one that corp.test names.
    let order = Client::registered(&server).order(&["b.corp.test"]).unwrap();
    assert_eq!(order.status(), "pending");
    let mut other = Client::registered(&server);
    let order = other.order(&["b.corp.test"]).unwrap();
    assert!(other.authorize(&web, &order).is_err());
}

#[test]
fn each_provisioner_asks_its_own_resolver() {
    let inside = Dns::start();
    let server = start(|config| {
        let mut provisioner = server::provisioner(config).clone();
        provisioner.insert("name".into(), "inside".into());
        provisioner.insert("challenges".into(), vec!["dns-01"].into());
        let resolvers = vec![format!("127.0.0.1:{}", inside.port)];
        let own: Table = [("resolvers".to_owned(), resolvers.into())].into_iter().collect();
        provisioner.insert("validation".into(), own.into());
        config["provisioner"].as_array_mut().unwrap().push(provisioner.into());
    });
    // The same name, as the company's own DNS has it and as the other one does.
    for (provisioner, want) in [("acme", "invalid"), ("inside", "valid")] {
        let mut client = Client::at(&server, &server.url(&format!("/acme/{provisioner}/directory")));
        client.register().unwrap();
        let order = client.order(&["split.test"]).unwrap();
        let settled = answer(&mut client, &order, "dns-01", |client, object| {
            inside.add_txt("_acme-challenge.split.test", &digest(client, object));
        });
        assert_eq!(settled["status"], want, "{provisioner}: {settled}");
    }
}

/// The resolver out of reach is no fault of the client's: the challenge waits, with its reason, and the
/// same order goes on once there is an answer.
#[test]
fn field_17_a_dead_resolver_ends_no_challenge() {
    let port = ports::free();
    let server = start(|config| {
        let validation = server::section(config, "validation");
        validation.insert("resolvers".into(), vec![format!("127.0.0.1:{port}")].into());
        validation.insert("timeout".into(), "1s".into());
        let kinds = ["dns-01", "dns-account-01", "dns-persist-01"];
        server::provisioner(config).insert("challenges".into(), kinds.to_vec().into());
    });
    let mut client = Client::registered(&server);
    let order = client.order(&["a.test"]).unwrap();
    let url = authorizations(&order).remove(0);
    let offered = client.fetch(&url).unwrap().json();
    for kind in ["dns-01", "dns-account-01", "dns-persist-01"] {
        let object = challenge(&offered, kind);
        let at = object["url"].as_str().unwrap();
        client.post(at, "{}").unwrap();
        let waiting = client.settle(at, &["processing"]).unwrap();
        assert_eq!(waiting["status"], "pending", "{waiting}");
        assert_eq!(waiting["error"]["type"], "urn:ietf:params:acme:error:dns", "{waiting}");
    }
    let dns = Dns::start_on(port);
    let settled = answer(&mut client, &order, "dns-01", |client, object| {
        dns.add_txt("_acme-challenge.a.test", &digest(client, object));
    });
    assert_eq!(settled["status"], "valid", "{settled}");
    client.finalize(&order, &csr(&["a.test"]).1).unwrap();
}
