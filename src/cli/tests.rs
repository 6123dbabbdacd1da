use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use clap::CommandFactory;

use super::founding::{Keys, Layout, fingerprint, found_with};
use super::template::tests::team;
use super::*;
use crate::authority::signer::SignatureAlgorithm;
use crate::config;
use crate::daemon::Ready;
use crate::keystore::file::{FileKey, KeyFileError};
use crate::keystore::password::Password;
use crate::service::ceremony::{CeremonyPlan, CeremonyResult};

fn parse(line: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from([&["mayfly"], line].concat())
}

/// Stands for the ceremony: leaves a file in the store, returns bytes for certificates.
fn ceremony(db: &Path, keys: Keys, plan: &CeremonyPlan) -> Result<CeremonyResult, CliError> {
    assert_eq!(keys[0].algorithm(), SignatureAlgorithm::EcdsaP384Sha384);
    assert_eq!(keys[1].algorithm(), SignatureAlgorithm::EcdsaP256Sha256);
    assert!(plan.intermediate_lifetime < plan.root_lifetime);
    fs::write(db.join("journal"), "x").unwrap();
    Ok(CeremonyResult { root_der: vec![1, 2, 3], intermediate_der: vec![4, 5, 6] })
}

fn broken_ceremony(db: &Path, keys: Keys, plan: &CeremonyPlan) -> Result<CeremonyResult, CliError> {
    ceremony(db, keys, plan)?;
    Err(CliError::Runtime(std::io::Error::other("the power went")))
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn usage() {
    let init = ["init", "--dir", "d", "--name", "N", "--dns", "a.test"];
    let with = |more: &[&'static str]| [&init[..], more].concat();
    let good: &[Vec<&str>] = &[
        vec!["dev"],
        vec!["dev", "--dir", "x", "--address", "[::1]:9443", "--http-port", "5002"],
        with(&[]),
        with(&["--address", "10.0.0.1:443", "--acme", "hosts", "--password-file", "f"]),
        vec!["serve", "--config", "x"],
        vec!["check-config", "x"],
        vec!["version"],
    ];
    for line in good {
        assert!(parse(line).is_ok(), "{line:?}: {}", parse(line).unwrap_err());
    }
    let bad: &[(Vec<&str>, &str)] = &[
        (vec!["serve"], "--config"),
        (vec!["check-config"], "<FILE>"),
        (vec!["srve"], "'serve'"),
        (vec!["init", "--dir", "d", "--name", "N"], "--dns"),
        (vec!["init", "--dir", "d", "--dns", "a.test"], "--name"),
        (with(&["--dns", "*.a.test"]), "wildcard"),
        (with(&["--dns", "a_b"]), "character"),
        (with(&["--dns", "a.test,"]), "empty"),
        (with(&["--address", "localhost:1"]), "IP address and a port"),
        (with(&["--address", "1.2.3.4:0"]), "1 to 65535"),
        (with(&["--acme", "A b"]), "URL"),
        (vec!["init", "--dir", "d", "--dns", "a", "--name", "x\ny"], "control"),
        (vec!["eab", "create"], "--provisioner"),
        (vec!["eab", "create", "--provisioner", "p", "--uses", "0"], "1..=1000000"),
        (vec!["eab", "create", "--provisioner", "p", "--expires", "0s"], "60s to 3650d"),
        (vec!["eab", "create", "--provisioner", "p", "--expires", "90"], "no unit"),
        (vec!["eab", "create", "--provisioner", "p", "--trust-names"], "--allow"),
        (vec!["eab", "revoke", "not-a-kid"], "not a key id"),
        (vec!["keys", "block", "--sha256", "00"], "64 hexadecimal digits"),
        (vec!["keys", "block", "--reason", "r"], "--certificate"),
        (vec!["keys", "block", "--key", "k", "--csr", "c", "--reason", "r"], "cannot be used with"),
        (vec!["keys", "block", "--key", "k"], "--reason"),
        (vec!["keys", "unblock", "short"], "64 hexadecimal digits"),
        (vec!["eab", "list", "--config", "f", "--dir", "d"], "cannot be used with"),
        (vec!["dev", "--http-port", "0"], "1..=65535"),
        (vec!["dev", "--http-port", "70000"], "65535"),
    ];
    for (line, want) in bad {
        let error = parse(line).expect_err(&format!("{line:?}"));
        assert_eq!(error.exit_code(), 2, "{line:?}");
        assert!(error.to_string().contains(want), "{line:?}: {error}");
    }
    assert_eq!(parse(&["--help"]).unwrap_err().exit_code(), 0);
    assert_eq!(parse(&["--version"]).unwrap_err().exit_code(), 0);
}

#[test]
fn names_and_addresses_are_split_at_commas() {
    let cli = parse(&["init", "--dir", "d", "--name", "N", "--dns", "A.test,10.0.0.1,::1"]).unwrap();
    let Command::Init(args) = cli.command else { panic!() };
    let names: Vec<_> = args.dns.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a.test", "10.0.0.1", "::1"]);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_founded_directory() {
    let home = tempfile::tempdir().unwrap();
    let layout = Layout { dir: home.path().join("deep/er/ca") };
    let founded = found_with(&layout, &team(), None, ceremony).unwrap();
    assert_eq!(founded.root_fingerprint, fingerprint(&[1, 2, 3]));
    assert_eq!(layout.contents().unwrap(), ["certs", "db", "mayfly.toml", "secrets"]);
    let at = |name: &str| layout.dir.join(name);
    assert_eq!(mode(&at("secrets")), 0o700);
    for key in ["secrets/root_ca_key", "secrets/intermediate_ca_key"] {
        assert_eq!(mode(&at(key)), 0o600);
        FileKey::load(&at(key), None).unwrap();
    }
    let pem = fs::read(at("certs/root_ca.crt")).unwrap();
    assert_eq!(pem_rfc7468::decode_vec(&pem).unwrap(), ("CERTIFICATE", vec![1, 2, 3]));
    assert!(config::load(&layout.config()).is_ok());

    let again = found_with(&layout, &team(), None, ceremony).unwrap_err().report();
    assert!(again.contains("it holds certs, db, mayfly.toml, secrets"), "{again}");
    assert!(again.contains("nothing was changed"), "{again}");
}

#[test]
fn a_password_seals_both_keys() {
    let home = tempfile::tempdir().unwrap();
    let layout = Layout { dir: home.path().join("ca") };
    let password = Password::new("tiger").unwrap();
    found_with(&layout, &team(), Some(&password), ceremony).unwrap();
    for key in ["secrets/root_ca_key", "secrets/intermediate_ca_key"] {
        let key = layout.dir.join(key);
        assert!(matches!(FileKey::load(&key, None), Err(KeyFileError::NeedsPassword { .. })));
        assert!(FileKey::load(&key, Some(&password)).is_ok());
    }
}

#[test]
fn a_failure_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let layout = Layout { dir: home.path().join("deep/ca") };
    let error = found_with(&layout, &team(), None, broken_ceremony).unwrap_err();
    assert!(error.to_string().contains("the power went"));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);

    // A directory that was there stays, and so do the dotfiles in it.
    fs::create_dir_all(&layout.dir).unwrap();
    fs::write(layout.dir.join(".gitignore"), "*").unwrap();
    found_with(&layout, &team(), None, broken_ceremony).unwrap_err();
    assert!(layout.contents().unwrap().is_empty());
    assert!(layout.dir.join(".gitignore").exists());
    found_with(&layout, &team(), None, ceremony).unwrap();
}

#[test]
fn what_is_there_is_never_touched() {
    let home = tempfile::tempdir().unwrap();
    let layout = Layout { dir: home.path().to_owned() };
    fs::write(home.path().join("thesis.txt"), "years").unwrap();
    let error = found_with(&layout, &team(), None, ceremony).unwrap_err();
    assert!(matches!(error, CliError::Occupied { .. }));
    let error = dev::prepare(&layout).unwrap_err().report();
    assert!(error.contains("is not a mayfly directory") && error.contains("thesis.txt"), "{error}");
    assert!(!error.contains("remove"), "never advise to remove somebody's files: {error}");
    assert_eq!(layout.contents().unwrap(), ["thesis.txt"]);
    let file = Layout { dir: home.path().join("thesis.txt") };
    assert!(found_with(&file, &team(), None, ceremony).is_err());
}

#[test]
fn dev_tells_empty_from_its_own() {
    let home = tempfile::tempdir().unwrap();
    let layout = Layout { dir: home.path().join("dev") };
    assert_eq!(dev::prepare(&layout).unwrap(), dev::Found::Nothing);
    found_with(&layout, &dev::template(&dev::Args::default()), None, ceremony).unwrap();
    assert_eq!(dev::prepare(&layout).unwrap(), dev::Found::Mayfly);
    let cut_off = Layout { dir: home.path().join("cut") };
    fs::create_dir_all(cut_off.dir.join("secrets")).unwrap();
    let error = dev::prepare(&cut_off).unwrap_err().report();
    assert!(error.contains("cut off") && error.contains("remove"), "{error}");
    let settings = config::load(&layout.config()).unwrap();
    assert_eq!(settings.server.base_url, "https://localhost:9443");
    assert_eq!(settings.validation.allow.len(), 2);
}

#[test]
fn dev_flags_win_for_one_run() {
    let text = include_str!("../../config/dev.toml");
    let settings = config::parse(text, Path::new("/x")).settings.unwrap();
    let address = |text: &str| text.parse::<SocketAddr>().ok();
    let rows = [
        (None, "https://localhost:9443"),
        (address("127.0.0.1:14000"), "https://localhost:14000"),
        (address("0.0.0.0:443"), "https://localhost"),
    ];
    for (given, want) in rows {
        let mut now = settings.clone();
        let args = dev::Args { address: given, http_port: Some(5002), ..dev::Args::default() };
        dev::for_this_run(&mut now, &args);
        assert_eq!(now.server.base_url, want);
        assert_eq!((now.validation.http_port, now.validation.tls_alpn_port), (5002, 443));
    }
    let mut v6 = settings;
    v6.server.base_url = "https://[::1]:9443".to_owned();
    dev::for_this_run(&mut v6, &dev::Args { address: address("[::1]:1"), ..dev::Args::default() });
    assert_eq!(v6.server.base_url, "https://[::1]:1");
}

#[test]
fn the_certbot_line() {
    let text = include_str!("../../config/dev.toml");
    let mut settings = config::parse(text, Path::new("/ca dir")).settings.unwrap();
    let url = "https://localhost:9443/acme/acme/directory".to_owned();
    let ready = Ready {
        address: settings.server.address,
        base_url: settings.server.base_url.clone(),
        directories: vec![("acme".into(), url.clone())],
        root_fingerprint: "ab".repeat(32),
    };
    let line = |settings: &_, uid| dev::welcome(Path::new("/ca dir"), settings, &ready, uid);
    let text = line(&settings, 1000);
    assert!(text.contains(&url) && text.contains(&"ab".repeat(32)), "{text}");
    assert!(
        text.contains("  sudo REQUESTS_CA_BUNDLE='/ca dir/certs/root_ca.crt' certbot certonly"),
        "{text}"
    );
    assert!(text.contains("--http-01-port 80 -d localhost"), "{text}");
    assert!(!line(&settings, 0).contains("sudo"));
    // As a shell reads it: every argument whole, the bundle in the environment.
    let line_only = line(&settings, 0).split("terminal:").nth(1).unwrap().to_owned();
    let script = format!("certbot() {{ echo \"$REQUESTS_CA_BUNDLE\"; printf '%s|' \"$@\"; }}\n{line_only}");
    let shell = std::process::Command::new("sh").arg("-euc").arg(script).output().unwrap();
    let want = format!(
        "/ca dir/certs/root_ca.crt\ncertonly|--standalone|--non-interactive|--agree-tos|\
         --register-unsafely-without-email|--server|{url}|--config-dir|/ca dir/.certbot/config|--work-dir|\
         /ca dir/.certbot/work|--logs-dir|/ca dir/.certbot/logs|--http-01-port|80|-d|localhost|"
    );
    assert_eq!(String::from_utf8(shell.stdout).unwrap(), want);
    settings.validation.http_port = 5002;
    let text = line(&settings, 1000);
    assert!(!text.contains("sudo") && text.contains("--http-01-port 5002"), "{text}");
}

#[test]
fn check_config_prints_ok_or_everything() {
    let home = tempfile::tempdir().unwrap();
    let layout = Layout { dir: home.path().join("ca") };
    founding::found(&layout, &team(), None).unwrap();
    let other = Layout { dir: home.path().join("other") };
    founding::found(&other, &team(), None).unwrap();
    let file = layout.config();
    let check = || {
        let mut out = Vec::new();
        let args = check_config::Args { file: file.clone() };
        let result = check_config::run(&args, &mut out).map_err(|error| error.report());
        (String::from_utf8(out).unwrap(), result)
    };
    let (out, result) = check();
    assert_eq!(result, Ok(()));
    assert!(out.starts_with(&format!("{}: ok\n", file.display())), "{out}");
    assert!(out.contains("https://ca.example.internal:9443/acme/acme/directory"), "{out}");
    assert!(out.contains("under authority default; its own rules for orders that name no profile"), "{out}");
    let end = out.lines().find(|line| line.contains("issues as")).unwrap();
    let (_, end) = end.split_once(", until ").unwrap();
    assert!(crate::time::Timestamp::parse_rfc3339(end).is_some(), "{out}");
    assert!(out.lines().count() < 24, "{out}");

    // Files of two CAs do not fit together, whichever is the other's.
    let rows = [
        ("certs/root_ca.crt", "authority.root", "does not lead to the root"),
        ("certs/intermediate_ca.crt", "authority.certificate", "not the certificate of the key"),
        ("secrets/intermediate_ca_key", "authority.certificate", "not the certificate of the key"),
    ];
    for (name, field, rule) in rows {
        let own = fs::read(layout.dir.join(name)).unwrap();
        fs::copy(other.dir.join(name), layout.dir.join(name)).unwrap();
        let report = check().1.unwrap_err();
        assert!(report.contains(field) && report.contains(rule), "{name}: {report}");
        fs::write(layout.dir.join(name), own).unwrap();
    }
    assert_eq!(check().1, Ok(()));

    let plain = fs::read_to_string(&file).unwrap();
    let more = "[provisioner.auto_renewal]\nmin_lifetime = \"1h\"\nmax_duration = \"90d\"\n";
    fs::write(
        &file,
        plain.replace("[[provisioner]]", "[[provisioner]]\nreuse_certificates = \"10m\"") + more,
    )
    .unwrap();
    let (out, result) = check();
    assert_eq!(result, Ok(()));
    for want in ["renewed automatically for up to 90d", "at least 1h", "the same again within 10m"] {
        assert!(out.contains(want), "{want}: {out}");
    }
    fs::write(&file, plain).unwrap();

    let key = layout.dir.join("secrets/intermediate_ca_key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let report = check().1.unwrap_err();
    assert!(report.contains("authority.key") && report.contains("chmod 600"), "{report}");

    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("[server]", "[server]\ncolor = 1\nmax_body = 3")).unwrap();
    let report = check().1.unwrap_err();
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(lines.len(), 4, "{report}");
    assert!(lines[0].starts_with(&format!("{}:10: server.color: unknown key", file.display())), "{report}");
    assert!(lines[1].contains(":11: server.max_body: 3 has no unit"), "{report}");
    assert!(lines[2].ends_with("mayfly.toml has 2 errors"), "{report}");
    assert!(lines[3].starts_with("  next: "), "{report}");
}

#[test]
fn init_says_what_to_do_next() {
    let cli = parse(&["init", "--dir", "/ca", "--name", "N", "--dns", "a.test"]).unwrap();
    let Command::Init(args) = cli.command else { panic!() };
    let layout = Layout { dir: args.dir.clone() };
    let mut out = Vec::new();
    let founded = founding::Founded { root_fingerprint: "cd".repeat(32) };
    init::explain(&layout, &args, &founded, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for want in [
        "mayfly serve --config /ca/mayfly.toml",
        "/ca/secrets/root_ca_key",
        "update-ca-certificates",
        &"cd".repeat(32),
        "not encrypted",
    ] {
        assert!(text.contains(want), "{want}: {text}");
    }
}

#[test]
fn a_store_that_does_not_open_says_what_to_do() {
    use crate::daemon::DaemonError;
    use crate::storage::StoreError;
    let rows = [
        (StoreError::Failed("db is in use by another process".into()), "stop the other mayfly"),
        (StoreError::Failed("poisoned".into()), "start again"),
        (StoreError::NoSpace("1 MiB left".into()), "make room"),
        (StoreError::Corrupt("x".into()), "backup"),
    ];
    for (error, want) in rows {
        for report in [CliError::Store(error.clone()), DaemonError::Store(error.clone()).into()] {
            let report = report.report();
            assert!(report.contains("next: ") && report.contains(want), "{report}");
        }
    }
}

#[test]
fn the_version_names_the_engines() {
    let mut out = Vec::new();
    version::run(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with(&format!("mayfly {}\n", env!("CARGO_PKG_VERSION"))), "{text}");
    assert_eq!(text.contains("sled"), cfg!(feature = "sled"));
}

#[test]
fn usage_errors_show_no_pin() {
    let uri = "pkcs11:token=t;object=o?module-path=/m.so&pin-value=quartz-4711";
    let equals = format!("--key={uri}");
    let rows: [&[&str]; 5] = [
        &["key", "show", uri],
        &["key", "show", "pkcs11:token=t;object=o?module-path=/m.so", uri],
        &["init", "--name", "N", "--dns", "a.test", "--key", uri],
        &["init", "--name", "N", "--dns", "a.test", &equals],
        &["ca", "create-root", "--name", "N", "--dir", "d", "--key", uri],
    ];
    for row in rows {
        let mut error = parse(row).unwrap_err();
        assert!(error.to_string().contains("quartz"), "{error}");
        conceal(&mut error);
        assert!(!error.to_string().contains("quartz"), "{error}");
        assert!(error.to_string().contains("pin-value=…"), "{error}");
    }
}
