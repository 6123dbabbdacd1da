//! Apache with mod_md: gets certificates in the background, serves them after a graceful restart.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Ask, Challenge, LIMIT, command, hook, serves};
use crate::support::openssl::{Certificate, KeyKind};
use crate::support::process::{Running, until_or_explain};
use crate::support::server::Server;

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
        let log = || fs::read_to_string(self.dir.join("error.log")).unwrap_or_default();
        let staged_now = || {
            let job: serde_json::Value = serde_json::from_slice(&fs::read(&staged).ok()?).ok()?;
            (job["finished"] == true).then_some(())
        };
        until_or_explain("mod_md's certificate", LIMIT, staged_now, log);
        self.running.as_ref().expect("a running Apache").signal("USR1");
        until_or_explain(
            "the taking up of mod_md's certificate",
            LIMIT,
            || serves(self.server, name).then_some(()),
            log,
        );
        let dir = self.dir.join("md/domains").join(name);
        // Files of other than RSA keys carry the kind in their names.
        let kind = if self.key == KeyKind::Rsa { "" } else { ".secp256r1" };
        Certificate::new(dir.join(format!("pubcert{kind}.pem")), dir.join(format!("privkey{kind}.pem")))
    }
}
