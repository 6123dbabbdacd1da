//! The `mayfly.toml` that a new CA begins with: the sample `config/team.toml` with its own values in
//! place, so that what users read in the samples and what they get is one text.

use std::net::SocketAddr;

use crate::acme::identifier::Identifier;
use crate::authority::key_source::KeySource;
use crate::keystore::file::KeyKind;

const SAMPLE: &str = include_str!("../../config/team.toml");

/// The values of a new CA's file.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub name: String,
    pub address: SocketAddr,
    pub dns_names: Vec<Identifier>,
    /// The ACME provisioner's name.
    pub acme: String,
    /// The intermediate's key, if it is not to be a new file.
    pub issuer_key: Option<KeySource>,
    /// The kinds of the root's key and of the issuer's.
    pub keys: [KeyKind; 2],
    /// An absolute path.
    pub password_file: Option<String>,
    /// Loopback targets are allowed: for `mayfly dev` only.
    pub loopback: bool,
    pub http_port: Option<u16>,
    pub tls_alpn_port: Option<u16>,
}

impl Template {
    /// The file's text.
    pub(super) fn render(&self) -> String {
        let names: Vec<_> = self.dns_names.iter().map(|name| quote(&name.to_string())).collect();
        let port = |key: &str, port: Option<u16>| port.map(|port| format!("{key} = {port}"));
        // The line of the sample, and what stands in its place.
        let rows = [
            ("# Mayfly: Team CA", Some(format!("# Mayfly: {}", self.name))),
            (
                "# One certificate authority for one team, with one ACME provisioner.",
                self.loopback.then(|| "# What `mayfly dev` writes: a CA to try things with.".to_owned()),
            ),
            ("address = \"0.0.0.0:9443\"", Some(format!("address = \"{}\"", self.address))),
            ("dns_names = [\"ca.example.internal\"]", Some(format!("dns_names = [{}]", names.join(", ")))),
            (
                "#password_file = \"secrets/password\"",
                self.password_file.as_ref().map(|path| format!("password_file = {}", quote(path))),
            ),
            (
                "key = \"secrets/intermediate_ca_key\"",
                self.issuer_key.as_ref().map(|key| format!("key = {}", quote(&key.to_string()))),
            ),
            ("#http_port = 80", port("http_port", self.http_port)),
            ("#tls_alpn_port = 443", port("tls_alpn_port", self.tls_alpn_port)),
            (
                "#allow = [\"127.0.0.0/8\", \"::1\"]",
                self.loopback.then(|| "allow = [\"127.0.0.0/8\", \"::1\"]".to_owned()),
            ),
            (
                "#exempt = [\"10.0.0.0/8\"]",
                self.loopback.then(|| "exempt = [\"127.0.0.0/8\", \"::1\"]".to_owned()),
            ),
            (
                "#dashboard_on_loopback = false",
                self.loopback.then(|| "dashboard_on_loopback = true".to_owned()),
            ),
            ("name = \"acme\"", Some(format!("name = {}", quote(&self.acme)))),
        ];
        let replace = |line: &str| {
            let row = rows.iter().find(|(sample, _)| *sample == line);
            row.and_then(|(_, own)| own.clone()).unwrap_or_else(|| line.to_owned())
        };
        SAMPLE.lines().map(|line| replace(line) + "\n").collect()
    }
}

/// A TOML string.
fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::authority::key_source::PasswordSource;
    use crate::config::{parse, parse_host};

    pub(in crate::cli) fn team() -> Template {
        Template {
            name: "Team CA".into(),
            address: "0.0.0.0:9443".parse().unwrap(),
            dns_names: vec![parse_host("ca.example.internal").unwrap()],
            acme: "acme".into(),
            issuer_key: None,
            keys: [KeyKind::P384, KeyKind::P256],
            password_file: None,
            loopback: false,
            http_port: None,
            tls_alpn_port: None,
        }
    }

    #[test]
    fn the_samples_are_what_the_commands_write() {
        assert_eq!(team().render(), SAMPLE);
        let dev = crate::cli::dev::template(&crate::cli::dev::Args::default());
        assert_eq!(dev.render(), include_str!("../../config/dev.toml"), "{}", dev.render());
    }

    #[test]
    fn every_value_arrives() {
        let template = Template {
            name: "Näme \"x\"".into(),
            address: "[::1]:8443".parse().unwrap(),
            dns_names: vec![parse_host("::1").unwrap(), parse_host("a.test").unwrap()],
            acme: "hosts-1".into(),
            issuer_key: Some(
                crate::cli::key::key_source("pkcs11:token=t;object=o?module-path=/m.so").unwrap(),
            ),
            keys: [KeyKind::P384, KeyKind::P256],
            password_file: Some("/a \"b\"\\c".into()),
            loopback: true,
            http_port: Some(5002),
            tls_alpn_port: Some(5001),
        };
        let settings = parse(&template.render(), Path::new("/x")).settings.unwrap();
        assert_eq!(settings.server.base_url, "https://[::1]:8443");
        assert_eq!(settings.server.dns_names.len(), 2);
        let authority = settings.authorities[0].clone();
        assert_eq!(Some(authority.key), template.issuer_key);
        assert_eq!(authority.password, Some(PasswordSource::File("/a \"b\"\\c".into())));
        assert_eq!((settings.validation.http_port, settings.validation.tls_alpn_port), (5002, 5001));
        assert_eq!(settings.validation.allow.len(), 2);
        let crate::config::settings::Provisioner::Acme(acme) = &settings.provisioners[0];
        assert_eq!(acme.name, "hosts-1");
    }
}
