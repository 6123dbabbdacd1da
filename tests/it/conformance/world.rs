//! What the rows work with: one server, a few accounts, and short ways to say what is sent.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::acme::*;
use crate::support::https::Reply;
use crate::support::server::{Server, provisioner};
use crate::support::web::Web;

/// Made once, used by all rows, one after the other.
pub struct World {
    pub server: Server,
    pub web: Web,
    /// The account that rows speak as.
    pub alice: Client,
    /// Another account.
    pub bob: Client,
    /// An account that was closed, and an order of it.
    gone: Option<(Client, Order)>,
    /// An order of alice's for a.test that is ready, for requests that are refused.
    for_refusals: Option<Order>,
    /// A certificate of alice's.
    issued: Option<Issued>,
    /// alice at the other provisioners, by their names.
    elsewhere: BTreeMap<&'static str, Client>,
    /// A server whose limits are small and hold for everybody.
    strict: Option<Server>,
    names: u32,
}

/// What a provisioner offers besides.
fn table(text: &str) -> toml::Table {
    text.parse().unwrap()
}

/// What the provisioner `devices` trusts as a vendor's root; it has signed no device's statement.
const VENDOR: &str = "certs/root_ca.crt";

/// The answer, whatever it says.
pub fn reply(result: Result<Reply, Failure>) -> Reply {
    match result {
        Ok(reply) | Err(Failure::Problem(reply)) => reply,
        Err(other) => panic!("{other:?}"),
    }
}

pub fn remove(jws: &mut Jws, member: &str) {
    jws.protected.as_object_mut().unwrap().remove(member);
}

impl World {
    pub fn new() -> Self {
        let mut server = Server::init_only(|config| {
            crate::support::server::section(config, "validation").insert("attempts".into(), 1.into());
            let own = provisioner(config);
            own.insert("authorization_ttl".into(), "8h".into());
            own.insert("terms_of_service".into(), "https://ca.test/terms".into());
            own.insert("website".into(), "https://ca.test/".into());
            own.insert("deny_names".into(), vec!["denied.test", "*.denied.test", "10.66.0.0/16"].into());
            let mut narrow = own.clone();
            narrow.insert("name".into(), "narrow".into());
            narrow.insert("challenges".into(), vec!["http-01"].into());
            narrow.insert("wildcards".into(), false.into());
            narrow.insert("pre_authorization".into(), false.into());
            narrow.insert("max_names".into(), 2.into());
            narrow.remove("terms_of_service");
            let mut full = own.clone();
            full.extend(table(
                r#"
                name = "full"
                challenges = ["http-01", "dns-01", "dns-account-01", "dns-persist-01"]
                issuer_domains = ["ca.test"]
                caa = true
                caa_identities = ["ca.test"]
                pre_authorization = true
                subdomain_authorizations = true
                renewal_explanation = "https://ca.test/renew"
                default_profile = "usual"
                [profiles.usual]
                description = "As usual"
                [profiles.short]
                default_ttl = "10m"
                max_ttl = "1h"
                key_types = ["ec-p256"]
                [auto_renewal]
                min_lifetime = "1m"
                max_duration = "1d"
                allow_certificate_get = true
                "#,
            ));
            let mut bound = own.clone();
            bound.extend(table(
                r#"name = "bound"
                eab = "required""#,
            ));
            let mut devices = own.clone();
            devices.extend(table(&format!(
                r#"
                name = "devices"
                challenges = ["http-01", "device-attest-01"]
                [attestation]
                formats = ["tpm", "apple"]
                roots = ["{VENDOR}"]
                allow_devices = ["C02*"]
                "#
            )));
            let list = config["provisioner"].as_array_mut().unwrap();
            list.extend([narrow, full, bound, devices].map(toml::Value::from));
        });
        server.serve();
        let web = Web::start(server.http_port);
        let (alice, bob) = (Client::registered(&server), Client::registered(&server));
        let (elsewhere, strict) = (BTreeMap::new(), None);
        let (gone, for_refusals, issued) = (None, None, None);
        Self { server, web, alice, bob, gone, for_refusals, issued, elsewhere, strict, names: 0 }
    }

    /// Somebody new at another provisioner.
    pub fn new_at(&self, name: &str) -> Client {
        Client::at(&self.server, &self.server.url(&format!("/acme/{name}/directory")))
    }

    /// alice at another provisioner.
    pub fn at(&mut self, name: &'static str) -> &mut Client {
        if !self.elsewhere.contains_key(name) {
            let mut client = self.new_at(name);
            client.register().unwrap();
            self.elsewhere.insert(name, client);
        }
        self.elsewhere.get_mut(name).unwrap()
    }

    /// alice posts this to a URL of the directory of another provisioner.
    pub fn post_at(&mut self, name: &'static str, endpoint: &str, payload: &Value) -> Reply {
        let client = self.at(name);
        let url = client.endpoint(endpoint);
        reply(client.post(&url, &payload.to_string()))
    }

    /// alice shows control at another provisioner.
    pub fn authorize_at(&mut self, name: &'static str, order: &Order) {
        self.at(name);
        self.elsewhere.get_mut(name).unwrap().authorize(&self.web, order).unwrap();
    }

    /// A certificate of alice's at another provisioner.
    pub fn issue_at(&mut self, name: &'static str) -> (String, Issued) {
        let host = self.name();
        self.at(name);
        let issued = self.elsewhere.get_mut(name).unwrap().issue(&self.web, &[&host]).unwrap();
        (host, issued)
    }

    /// A server of which one account may open two orders, and change itself once.
    pub fn strict(&mut self) -> &Server {
        self.strict.get_or_insert_with(|| {
            Server::start_with(|config| {
                let limits = crate::support::server::section(config, "limits");
                limits.remove("exempt");
                limits.insert("account_orders".into(), "2 per 1h".into());
                limits.insert("account_changes".into(), "1 per 1h".into());
            })
        })
    }

    pub fn reconnect(&mut self) {
        self.alice = self.alice.again();
        self.bob = self.bob.again();
        for client in self.elsewhere.values_mut() {
            *client = client.again();
        }
    }

    /// A name no row has used.
    pub fn name(&mut self) -> String {
        self.names += 1;
        format!("n{}.test", self.names)
    }

    /// A URL of the directory.
    pub fn url(&self, name: &str) -> String {
        self.alice.endpoint(name)
    }

    /// alice's account.
    pub fn account(&self) -> String {
        self.alice.kid.clone().unwrap()
    }

    /// A plain request without a body.
    pub fn plain(&mut self, method: &str, url: &str) -> Reply {
        self.alice.https.send(method, url, &[], None).unwrap()
    }

    /// alice posts this.
    pub fn post(&mut self, url: &str, payload: &Value) -> Reply {
        self.text(url, &payload.to_string())
    }

    /// alice posts this payload, JSON or not.
    pub fn text(&mut self, url: &str, payload: &str) -> Reply {
        reply(self.alice.post(url, payload))
    }

    /// alice reads (POST-as-GET).
    pub fn read(&mut self, url: &str) -> Reply {
        self.text(url, "")
    }

    /// bob reads.
    pub fn bob_reads(&mut self, url: &str) -> Reply {
        reply(self.bob.fetch(url))
    }

    /// alice reads her account in an envelope that was spoilt before it was signed.
    pub fn spoilt(&mut self, spoil: fn(&mut Jws)) -> Reply {
        let url = self.account();
        self.spoilt_to(&url, "", spoil)
    }

    /// The same, for anything else.
    pub fn spoilt_to(&mut self, url: &str, payload: &str, spoil: fn(&mut Jws)) -> Reply {
        let mut jws = self.alice.jws(url, payload).unwrap();
        spoil(&mut jws);
        self.alice.send(url, &jws.body()).unwrap()
    }

    /// alice reads her account in a body that was spoilt after it was signed.
    pub fn body(&mut self, spoil: fn(Value) -> Vec<u8>) -> Reply {
        let url = self.account();
        let jws = self.alice.jws(&url, "").unwrap().signed();
        self.alice.send(&url, &spoil(jws)).unwrap()
    }

    /// alice reads her account under other headers.
    pub fn headers(&mut self, headers: &[(&str, &str)]) -> Reply {
        let url = self.account();
        let body = self.alice.jws(&url, "").unwrap().body();
        self.alice.https.send("POST", &url, headers, Some(&body)).unwrap()
    }

    /// alice reads her account in a protected header written as text, with `NONCE`, `URL` and `KID` in it.
    pub fn header_text(&mut self, text: &str) -> Reply {
        let url = self.account();
        let nonce = self.alice.nonce().unwrap();
        let text = text.replace("NONCE", &nonce).replace("URL", &url).replace("KID", &url);
        let protected = b64(text);
        let signature = b64(self.alice.key.sign(format!("{protected}.").as_bytes()));
        let body = json!({"protected": protected, "payload": "", "signature": signature});
        self.alice.send(&url, body.to_string().as_bytes()).unwrap()
    }

    /// Somebody without an account, over a connection of its own.
    pub fn stranger(&self) -> Client {
        let mut stranger = self.alice.again();
        stranger.key = Key::generate();
        stranger.kid = None;
        stranger
    }

    /// A stranger asks for an account.
    pub fn new_account(&mut self, payload: &Value) -> Reply {
        let url = self.url("newAccount");
        reply(self.stranger().post(&url, &payload.to_string()))
    }

    /// A stranger with this key asks for an account.
    pub fn new_account_of(&mut self, key: Key) -> Reply {
        let mut stranger = self.stranger();
        stranger.key = key;
        reply(stranger.register())
    }

    /// A stranger who says that this is their key, and signs with another.
    pub fn new_account_with(&mut self, algorithm: &str, jwk: Value) -> Reply {
        let url = self.url("newAccount");
        let mut stranger = self.stranger();
        let mut jws = stranger.jws(&url, r#"{"termsOfServiceAgreed":true}"#).unwrap();
        jws.protected["alg"] = json!(algorithm);
        jws.protected["jwk"] = jwk;
        stranger.send(&url, &jws.body()).unwrap()
    }

    /// alice asks for an order of this.
    pub fn new_order(&mut self, payload: &Value) -> Reply {
        let url = self.url("newOrder");
        self.post(&url, payload)
    }

    /// alice asks for an order of this one identifier.
    pub fn identifier(&mut self, kind: &str, value: &str) -> Reply {
        self.new_order(&json!({"identifiers": [{"type": kind, "value": value}]}))
    }

    /// A fresh order of alice's for names nobody has used.
    pub fn pending(&mut self) -> Order {
        let name = self.name();
        self.alice.order(&[&name]).unwrap()
    }

    /// A fresh order of alice's for these names, proved.
    pub fn ready(&mut self, names: &[&str]) -> Order {
        let order = self.alice.order(names).unwrap();
        self.alice.authorize(&self.web, &order).unwrap();
        order
    }

    /// An order for a.test that is ready, for requests that leave it so.
    pub fn for_refusals(&mut self) -> Order {
        if self.for_refusals.is_none() {
            self.for_refusals = Some(self.ready(&["a.test"]));
        }
        self.for_refusals.clone().unwrap()
    }

    /// alice finalizes an order.
    pub fn finalize(&mut self, order: &Order, csr: &[u8]) -> Reply {
        self.post(order.object["finalize"].as_str().unwrap(), &json!({"csr": b64(csr)}))
    }

    /// A certificate of alice's that is never revoked.
    pub fn issued(&mut self) -> &Issued {
        if self.issued.is_none() {
            let name = self.name();
            self.issued = Some(self.alice.issue(&self.web, &[&name]).unwrap());
        }
        self.issued.as_ref().unwrap()
    }

    /// A certificate of alice's to do with as a row likes.
    pub fn issue(&mut self) -> Issued {
        let name = self.name();
        self.alice.issue(&self.web, &[&name]).unwrap()
    }

    /// An account that was closed, and an order that it has.
    pub fn gone(&mut self) -> (&mut Client, Order) {
        if self.gone.is_none() {
            let mut client = Client::registered(&self.server);
            let order = client.order(&["gone.test"]).unwrap();
            let url = client.kid.clone().unwrap();
            client.post(&url, r#"{"status":"deactivated"}"#).unwrap();
            self.gone = Some((client, order));
        }
        let (client, order) = self.gone.as_mut().unwrap();
        (client, order.clone())
    }

    /// The URL of a fresh pending authorization of alice's, and the authorization.
    pub fn authorization(&mut self) -> (String, Value) {
        let order = self.pending();
        self.authorization_of(&order)
    }

    /// The first authorization of an order.
    pub fn authorization_of(&mut self, order: &Order) -> (String, Value) {
        let url = authorizations(order).remove(0);
        let object = self.read(&url).json();
        (url, object)
    }

    /// alice answers a challenge of a fresh order for this name after `prepare` has set the stage with
    /// the token and the key authorization; the authorization as it ends.
    pub fn prove(&mut self, name: &str, kind: &str, prepare: impl FnOnce(&mut Self, &str, &str)) -> Reply {
        let order = self.alice.order(&[name]).unwrap();
        let (url, object) = self.authorization_of(&order);
        let challenge = challenge(&object, kind);
        let token = challenge["token"].as_str().unwrap().to_owned();
        let answer = format!("{token}.{}", self.alice.key.thumbprint());
        prepare(self, &token, &answer);
        self.post(challenge["url"].as_str().unwrap(), &json!({}));
        self.alice.settle(&url, &["pending", "processing"]).unwrap();
        self.read(&url)
    }
}
