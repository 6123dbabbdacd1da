//! An issuer whose key is in a TPM 2.0: swtpm, in a process of its own, behind libtpm2_pkcs11.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::support::acme::Client;
use super::support::ports;
use super::support::process::{Running, output, until};
use super::support::server::{Server, binary, section};
use super::support::web::Web;

const MODULE: &str = "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so";
const PIN: &str = "quartz-4711";

/// A TPM, and a token that libtpm2_pkcs11 keeps under it.
struct Tpm {
    home: tempfile::TempDir,
    port: u16,
    running: Option<Running>,
}

impl Tpm {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        for name in ["state", "store"] {
            fs::create_dir(home.path().join(name)).unwrap();
        }
        let pin = home.path().join("pin");
        fs::write(&pin, PIN).unwrap();
        fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
        // Its control channel is the port behind, where libtss2-tcti-swtpm looks for it.
        let port = std::iter::repeat_with(ports::free)
            .find(|port| TcpListener::bind(("127.0.0.1", port + 1)).is_ok());
        let mut tpm = Self { home, port: port.unwrap(), running: None };
        tpm.power_on();
        tpm.tool(&["--slot-index", "0", "--init-token", "--label", "Board", "--so-pin", "so-4711"]);
        tpm.tool(&["--login", "--login-type", "so", "--so-pin", "so-4711", "--init-pin", "--pin", PIN]);
        tpm
    }

    /// Its own directory is all that it comes back with.
    fn power_on(&mut self) {
        let port = self.port;
        let mut command = Command::new("swtpm");
        command
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", self.path("state").display()))
            .arg("--server")
            .arg(format!("type=tcp,port={port},bindaddr=127.0.0.1"))
            .arg("--ctrl")
            .arg(format!("type=tcp,port={},bindaddr=127.0.0.1", port + 1));
        self.running = Some(Running::start(&mut command, &self.path("swtpm.log")));
        // It serves one connection after the other, so that a look at it does not disturb.
        until("the TPM", Duration::from_secs(10), || TcpStream::connect(("127.0.0.1", port)).ok());
    }

    fn power_off(&mut self) {
        self.running = None;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("TPM2_PKCS11_STORE", self.path("store").display().to_string()),
            ("TPM2_PKCS11_TCTI", format!("swtpm:host=127.0.0.1,port={}", self.port)),
        ]
    }

    fn tool(&self, arguments: &[&str]) {
        let mut command = Command::new("pkcs11-tool");
        output(command.args(["--module", MODULE]).args(arguments).envs(self.variables()));
    }

    fn key(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(binary());
        let out = command.arg("key").args(arguments).envs(self.variables()).output().unwrap();
        let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        assert!(!said.contains(PIN) && !said.contains("panicked"), "{said}");
        (out.status.success(), said)
    }

    fn uri(&self, object: &str) -> String {
        let pin = self.path("pin");
        format!("pkcs11:token=Board;object={object}?module-path={MODULE}&pin-source={}", pin.display())
    }

    fn serve(&self, server: &mut Server, name: &str) {
        server.serve();
        let web = Web::start(server.http_port);
        let issued = Client::registered(server).issue(&web, &[name]).unwrap();
        let leaf = server.scratch("verify").join("leaf.pem");
        fs::write(&leaf, issued.pem).unwrap();
        let mut command = Command::new("openssl");
        command.arg("verify").arg("-CAfile").arg(server.root());
        output(command.arg("-untrusted").arg(&leaf).arg(&leaf));
        server.stop();
    }
}

/// The key is made in the TPM and signs there, before the machine was off and after; and a key file that
/// the TPM opens does too. Another TPM opens neither.
#[test]
fn keys_in_a_tpm() {
    let mut tpm = Tpm::new();
    let (good, said) = tpm.key(&["generate", &tpm.uri("issuer"), "--kind", "ec-p256"]);
    assert!(good, "{said}");
    let variables = tpm.variables();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut server = Server::init_with(&["--key", &tpm.uri("issuer")], &variables, |_| {});
    tpm.serve(&mut server, "before.test");
    tpm.power_off();
    tpm.power_on();
    tpm.serve(&mut server, "after.test");

    let (good, said) = tpm.key(&["generate", &tpm.uri("seal"), "--kind", "rsa-2048", "--for-sealing"]);
    assert!(good, "{said}");
    let mut other = Server::init_with(&[], &variables, |config| {
        section(config, "authority").insert("key".into(), "secrets/sealed".into());
    });
    let secrets = other.dir().join("secrets");
    let (file, sealed) = (secrets.join("intermediate_ca_key"), secrets.join("sealed"));
    let (file, sealed) = (file.to_str().unwrap(), sealed.to_str().unwrap());
    let (good, said) = tpm.key(&["seal", file, "--with", &tpm.uri("seal"), "--out", sealed]);
    assert!(good, "{said}");
    fs::remove_file(file).unwrap();
    tpm.serve(&mut other, "sealed.test");

    tpm.power_off();
    fs::remove_dir_all(tpm.path("state")).unwrap();
    fs::create_dir(tpm.path("state")).unwrap();
    tpm.power_on();
    for key in [sealed, &tpm.uri("issuer")] {
        let (good, said) = tpm.key(&["show", key]);
        assert!(!good, "{said}");
    }
}
