//! Issuers whose keys are in tokens: SoftHSM behind its PKCS#11 module, in the server's process, and in
//! a process of its own (p11-kit's) that can be killed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::support::acme::{Client, csr};
use super::support::process::{Running, output, until};
use super::support::server::{Server, binary, provisioner};
use super::support::web::Web;

const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// OpenSC's: passes every call on and writes it down.
const SPY: &str = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so";
const REMOTE: &str = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so";
pub(super) const PIN: &str = "quartz-4711";

/// A token of SoftHSM's in a directory of its own.
pub(super) struct Token {
    home: tempfile::TempDir,
}

impl Token {
    pub(super) fn new() -> Self {
        let token = Self { home: tempfile::tempdir().unwrap() };
        fs::create_dir(token.path("tokens")).unwrap();
        let conf = format!("directories.tokendir = {}\nlog.level = ERROR\n", token.path("tokens").display());
        fs::write(token.path("conf"), conf).unwrap();
        token.private("pin", PIN);
        let mut init = Command::new("softhsm2-util");
        init.args(["--init-token", "--free", "--label", "Team CA", "--so-pin", "so-4711", "--pin", PIN]);
        output(init.env("SOFTHSM2_CONF", token.path("conf")));
        token
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn private(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(super) fn uri(&self, object: &str) -> String {
        self.uri_by(SOFTHSM, object)
    }

    fn uri_by(&self, module: &str, object: &str) -> String {
        let pin = self.path("pin");
        format!("pkcs11:token=Team%20CA;object={object}?module-path={module}&pin-source={}", pin.display())
    }

    pub(super) fn mayfly(&self) -> Command {
        let mut command = Command::new(binary());
        command.env("SOFTHSM2_CONF", self.path("conf"));
        command
    }

    /// `mayfly key …`: whether it succeeded, and what it said.
    pub(super) fn key(&self, arguments: &[&str]) -> (bool, String) {
        let out = self.mayfly().arg("key").args(arguments).output().unwrap();
        let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        assert!(!said.contains(PIN), "{said}");
        (out.status.success(), said)
    }

    pub(super) fn made(&self, object: &str, kind: &str) -> String {
        let (good, said) = self.key(&["generate", &self.uri(object), "--kind", kind]);
        assert!(good, "{said}");
        said
    }

    /// pkcs11-tool, which is OpenSC's and knows nothing of us.
    pub(super) fn tool(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("pkcs11-tool");
        command.args(["--module", SOFTHSM, "--login", "--pin", PIN]).args(arguments);
        output(command.env("SOFTHSM2_CONF", self.path("conf")))
    }

    /// A CA whose intermediate is under a key of the token's, not serving yet.
    pub(super) fn ca(&self, uri: &str, variables: &[(&str, &str)]) -> Server {
        let mut variables = variables.to_vec();
        let conf = self.path("conf");
        variables.push(("SOFTHSM2_CONF", conf.to_str().unwrap()));
        // Authorizations are used again, so that an order is two requests.
        let edit = |config: &mut toml::Table| {
            provisioner(config).insert("authorization_ttl".into(), "8h".into());
        };
        Server::init_with(&["--key", uri], &variables, edit)
    }
}

/// A registered client of a server, and the web server that proves its names.
fn client(server: &Server) -> (Client, Web) {
    let web = Web::start(server.http_port);
    (Client::registered(server), web)
}

fn verify(server: &Server, pem: &str) {
    let dir = server.scratch("verify");
    let leaf = dir.join(format!("{:?}.pem", thread::current().id()));
    fs::write(&leaf, pem).unwrap();
    let mut command = Command::new("openssl");
    output(command.arg("verify").arg("-CAfile").arg(server.root()).arg("-untrusted").arg(&leaf).arg(&leaf));
}

#[test]
fn keys_of_every_kind_are_made_in_the_token_and_stay_there() {
    let token = Token::new();
    for kind in ["ec-p256", "ec-p384", "ed25519", "rsa-2048"] {
        let made = token.made(kind, kind);
        let (good, shown) = token.key(&["show", &token.uri(kind)]);
        assert!(good && shown == made, "{shown}");
        let (good, again) = token.key(&["generate", &token.uri(kind), "--kind", kind]);
        assert!(!good && again.contains("nothing was changed"), "{again}");
        let listed = token.tool(&["--list-objects", "--type", "privkey", "--label", kind]);
        assert!(listed.contains("sensitive, always sensitive, never extractable, local"), "{listed}");

        let mut server = token.ca(&token.uri(kind), &[]);
        server.serve();
        let (mut client, web) = client(&server);
        verify(&server, &client.issue(&web, &["kind.test"]).unwrap().pem);
        assert!(!server.log().contains(PIN));
        server.stop();
    }
    // The keys of one token are told from each other, and one that can be taken out is remarked upon.
    token.tool(&[
        "--keypairgen",
        "--key-type",
        "EC:prime256v1",
        "--label",
        "loose",
        "--id",
        "07",
        "--extractable",
    ]);
    token.tool(&["--keypairgen", "--key-type", "EC:prime256v1", "--label", "loose", "--id", "08"]);
    let (good, said) = token.key(&["show", &token.uri("loose")]);
    assert!(!good && said.contains("name one by both object= and id="), "{said}");
    let (good, said) = token.key(&["show", &token.uri("loose;id=%08")]);
    assert!(good, "{said}");
}

#[test]
fn what_does_not_open_says_why() {
    let token = Token::new();
    token.made("issuer", "ec-p256");
    token.made("other", "ec-p256");
    token.private("wrong", "0000");
    let good = token.uri("issuer");
    let server = token.ca(&good, &[]);
    let text = fs::read_to_string(server.config()).unwrap();
    let wrong_pin = good.replace("/pin", "/wrong");
    let rows = [
        (good.clone(), None),
        (token.uri("other"), Some("is not the certificate of the key in pkcs11:")),
        (token.uri("none"), Some("no private key with object=\"none\"")),
        (
            good.replace("Team", "Tea"),
            Some("no token is token=\"Tea CA\"; /usr/lib/softhsm/libsofthsm2.so has \"Team CA\""),
        ),
        (good.replace(SOFTHSM, "/no/module.so"), Some("/no/module.so cannot be loaded")),
        (good.replace(SOFTHSM, "/lib/x86_64-linux-gnu/libm.so.6"), Some("no PKCS#11 module")),
        (good.replace("/pin", "/absent"), Some("the PIN of the token:")),
        (good.split("&pin-source").next().unwrap().to_owned(), Some("wants a PIN")),
        (wrong_pin.clone(), Some("refuses the PIN (PinIncorrect)")),
    ];
    for (uri, want) in rows {
        fs::write(server.config(), text.replace(&good, &uri)).unwrap();
        let out = token.mayfly().arg("check-config").arg(server.config()).output().unwrap();
        let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        assert_eq!(out.status.success(), want.is_none(), "{uri}: {said}");
        assert!(want.is_none_or(|want| said.contains(want)), "{uri}: {said}");
        assert!(!said.contains(PIN) && !said.contains("panicked"), "{said}");
    }
}

/// Three wrong PINs lock many a token: a reload with one that was refused sends nothing, and one with
/// another PIN does.
#[test]
fn a_refused_pin_is_sent_once_per_process() {
    let token = Token::new();
    token.made("issuer", "ec-p256");
    let spied = token.path("spied");
    let variables = [
        ("SOFTHSM2_CONF", token.path("conf")),
        ("PKCS11SPY", SOFTHSM.into()),
        ("PKCS11SPY_OUTPUT", spied.clone()),
    ];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.to_str().unwrap())).collect();
    let mut server = Server::init_with(&[], &variables, |_| {});
    server.serve();
    let file = "key = \"secrets/intermediate_ca_key\"";
    let text = fs::read_to_string(server.config()).unwrap();
    assert!(text.contains(file));
    let key = format!("key = \"{}\"", token.uri_by(SPY, "issuer"));
    fs::write(server.config(), text.replace(file, &key)).unwrap();
    let logins = || fs::read_to_string(&spied).unwrap_or_default().matches("C_Login\n").count();

    token.private("pin", "0000");
    for _ in 0..3 {
        server.reload("refuses the PIN (PinIncorrect)");
        assert_eq!(logins(), 1);
    }
    token.private("pin", PIN);
    server.reload("is not the certificate of the key in pkcs11:");
    assert_eq!(logins(), 2);
    assert!(!server.log().contains(PIN));
    server.stop();
}

/// What the issue asks for: a thousand certificates, each by an order of its own, eight at a time,
/// while the limit of sessions is eight and each is signed in the token.
#[test]
fn a_thousand_issuances() {
    const CLIENTS: usize = 8;
    const EACH: usize = 125;
    let token = Token::new();
    token.made("issuer", "ec-p256");
    let mut server = token.ca(&token.uri("issuer"), &[]);
    server.serve();
    let web = Web::start(server.http_port);
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for n in 0..CLIENTS {
            let (server, web, done) = (&server, &web, &done);
            scope.spawn(move || {
                let name = format!("host-{n}.test");
                let mut client = Client::registered(server);
                for _ in 0..EACH {
                    let issued = client.issue(web, &[&name]).unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                    if done.load(Ordering::SeqCst) % 100 == 0 {
                        verify(server, &issued.pem);
                    }
                }
            });
        }
    });
    assert_eq!(done.load(Ordering::SeqCst), CLIENTS * EACH);
    assert_eq!(server.issued_orders().len(), CLIENTS * EACH);
    server.stop();
}

/// SoftHSM in a process of its own.
struct Remote {
    running: Running,
    socket: PathBuf,
}

impl Remote {
    fn start(token: &Token) -> Self {
        let socket = token.path("socket");
        let _ = fs::remove_file(&socket);
        let mut command = Command::new("p11-kit");
        command.args(["server", "--foreground", "--provider", SOFTHSM, "--name"]).arg(&socket).arg("pkcs11:");
        // Where it would look for the user's own modules.
        command.env("SOFTHSM2_CONF", token.path("conf")).env("XDG_RUNTIME_DIR", token.home.path());
        let running = Running::start(&mut command, &token.path("p11-kit.log"));
        until("the token's socket", Duration::from_secs(10), || socket.exists().then_some(()));
        Self { running, socket }
    }

    fn address(&self) -> String {
        format!("unix:path={}", self.socket.display())
    }
}

/// The token's process is killed under the running server: a server's fault meanwhile, never the
/// client's; and without a restart of the server all is well when the token is back.
#[test]
fn a_token_that_is_killed_and_comes_back() {
    let token = Token::new();
    token.made("issuer", "ec-p256");
    let mut remote = Remote::start(&token);
    let address = remote.address();
    let uri = token.uri_by(REMOTE, "issuer");
    let mut server = token.ca(&uri, &[("P11_KIT_SERVER_ADDRESS", &address)]);
    server.serve();
    let (mut client, web) = client(&server);
    verify(&server, &client.issue(&web, &["before.test"]).unwrap().pem);

    remote.running.kill();
    let order = client.order(&["before.test"]).unwrap();
    let (_, request) = csr(&["before.test"]);
    let payload = serde_json::json!({ "csr": super::support::acme::b64(&request) }).to_string();
    let reply = client.post(order.object["finalize"].as_str().unwrap(), &payload).unwrap();
    assert_eq!(reply.json()["status"], "processing", "{}", reply.text());
    // What it said a moment ago counts for a second.
    until("the server's unreadiness", Duration::from_secs(10), || {
        (server.https().get("/readyz").ok()?.status == 503).then_some(())
    });
    assert!(server.log().contains("could not be finished yet"), "{}", server.log());

    let _remote = Remote::start(&token);
    until("the token's return", Duration::from_secs(30), || {
        (server.https().get("/readyz").ok()?.status == 200).then_some(())
    });
    // The order that was accepted meanwhile is finished.
    let finished = client.settle(&order.url, &["processing"]).unwrap();
    assert_eq!(finished["status"], "valid", "{finished}");
    let pem = client.fetch(finished["certificate"].as_str().unwrap()).unwrap().text();
    verify(&server, &pem);
    verify(&server, &client.issue(&web, &["after.test"]).unwrap().pem);
    assert!(server.log().contains("its module is started anew"), "{}", server.log());
    server.stop();
}

#[test]
fn the_modules_are_where_the_tests_look() {
    for path in [SOFTHSM, REMOTE, SPY] {
        assert!(Path::new(path).exists(), "{path}: tests/run installs softhsm2, p11-kit-modules and opensc");
    }
}
