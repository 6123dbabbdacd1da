//! `mayfly dev`

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::CliError;
use super::founding::{self, Layout, some_of};
use super::init::listen_address;
use super::template::Template;
use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::Identifier;
use crate::config::settings::{Provisioner, Settings};
use crate::config::{self, default_base_url, parse_host};
use crate::daemon::{self, Launch, Ready, dumps};
use crate::keystore::file::{KeyKind, shell_word};

/// Where the CA lives if nothing else is said.
pub(super) const DEFAULT_DIR: &str = "./mayfly-dev";

const AFTER_HELP: &str = "\
The first start makes what `mayfly init` makes, for the names localhost, 127.0.0.1 and ::1, and \
allows validation of loopback targets. Later starts keep everything; a flag given then counts for \
that run.

Clients answer challenges on ports 80 (http-01) and 443 (tls-alpn-01), which need root. With \
--http-port 5002 the CA connects to port 5002 instead, so that an ordinary user can answer; the \
first start writes the port to DIR/mayfly.toml.

Examples:
  mayfly dev
  mayfly dev --http-port 5002 --tls-alpn-port 5001
  mayfly dev --dir /tmp/ca --address 127.0.0.1:14000";

/// Arguments of `mayfly dev`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Where the CA lives; made by the first start
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    pub dir: PathBuf,
    /// Where to listen [default: 127.0.0.1:9443, or what DIR/mayfly.toml says]
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    pub address: Option<SocketAddr>,
    /// Where http-01 validation connects [default: 80, or what DIR/mayfly.toml says]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub http_port: Option<u16>,
    /// Where tls-alpn-01 validation connects [default: 443, or what DIR/mayfly.toml says]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub tls_alpn_port: Option<u16>,
}

impl Default for Args {
    fn default() -> Self {
        Self { dir: DEFAULT_DIR.into(), address: None, http_port: None, tls_alpn_port: None }
    }
}

/// Founds a CA if there is none, then serves it.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let layout = Layout { dir: args.dir.clone() };
    if prepare(&layout)? == Found::Nothing {
        dumps::forbid().map_err(CliError::CoreDumps)?;
        founding::found(&layout, &template(args), None)?;
        writeln!(out, "Created a CA in {}", layout.dir.display())?;
    }
    let file = layout.config();
    let mut configuration =
        config::load_whole(&file).map_err(|problems| CliError::Config { file: file.clone(), problems })?;
    for_this_run(&mut configuration.settings, args);
    // Absolute, so that what is printed works from any directory.
    let dir =
        layout.dir.canonicalize().map_err(|source| CliError::File { path: args.dir.clone(), source })?;
    let shown = configuration.settings.clone();
    let on_ready = Box::new(move |ready: &Ready| {
        let text = welcome(&dir, &shown, ready, rustix::process::geteuid().as_raw());
        // With standard output closed there is nobody to tell.
        let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
    });
    out.flush()?;
    let args = args.clone();
    let reload = Box::new(move || {
        let mut configuration = config::load_whole(&file)?;
        for_this_run(&mut configuration.settings, &args);
        Ok(configuration)
    });
    daemon::run(Launch { configuration, reload, on_ready: Some(on_ready) })?;
    Ok(())
}

/// What a directory holds before a start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Mayfly,
}

pub(super) fn prepare(layout: &Layout) -> Result<Found, CliError> {
    if layout.config().is_file() {
        return Ok(Found::Mayfly);
    }
    match layout.contents()?.as_slice() {
        [] => Ok(Found::Nothing),
        found => Err(CliError::Foreign {
            dir: layout.dir.clone(),
            found: some_of(found),
            cut_off: found.iter().all(|name| Layout::PARTS.contains(&name.as_str())),
        }),
    }
}

/// What the first start writes.
pub(super) fn template(args: &Args) -> Template {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let mut dns_names: Vec<_> = parse_host("localhost").into_iter().collect();
    dns_names.extend(loopback.map(Identifier::Ip));
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9443));
    Template {
        name: "Mayfly Dev".to_owned(),
        address: args.address.unwrap_or(default),
        dns_names,
        acme: "acme".to_owned(),
        issuer_key: None,
        keys: [KeyKind::P384, KeyKind::P256],
        password_file: None,
        loopback: true,
        http_port: args.http_port,
        tls_alpn_port: args.tls_alpn_port,
    }
}

/// The flags win over the file, the port in the URLs included.
pub(super) fn for_this_run(settings: &mut Settings, args: &Args) {
    if let Some(address) = args.address
        && address != settings.server.address
    {
        settings.server.address = address;
        if let Some(name) = base_host(&settings.server.base_url) {
            settings.server.base_url = default_base_url(&name, address.port());
        }
    }
    let validation = &mut settings.validation;
    validation.http_port = args.http_port.unwrap_or(validation.http_port);
    validation.tls_alpn_port = args.tls_alpn_port.unwrap_or(validation.tls_alpn_port);
}

/// The host of a base URL, which has been checked to be `https://HOST[:PORT]`.
fn base_host(base_url: &str) -> Option<Identifier> {
    let rest = base_url.strip_prefix("https://")?;
    let host = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next()?,
        None => rest.split(':').next()?,
    };
    parse_host(host).ok()
}

/// What a start prints once the server answers.
pub(super) fn welcome(dir: &Path, settings: &Settings, ready: &Ready, uid: u32) -> String {
    let root = settings.authorities.first().map(|authority| authority.root.clone()).unwrap_or_default();
    let root = root.canonicalize().unwrap_or(root);
    let mut text = String::from("\n");
    for (name, url) in &ready.directories {
        text.push_str(&format!("  ACME directory    {url}   ({name})\n"));
    }
    if settings.admin.dashboard_on_loopback {
        text.push_str(&format!("  dashboard         {}/dashboard\n", ready.base_url));
    }
    text.push_str(&format!("  root certificate  {}\n", root.display()));
    text.push_str(&format!("  its SHA-256       {}\n", ready.root_fingerprint));
    let Some((_, url)) = ready.directories.first() else { return text };
    let offers = |Provisioner::Acme(acme): &Provisioner| acme.challenges.contains(&ChallengeKind::Http01);
    if settings.provisioners.first().is_none_or(|first| !offers(first)) {
        return text;
    }
    let port = settings.validation.http_port;
    let low = port < 1024 && uid != 0;
    text.push_str("\nA certificate for this machine, to paste into another terminal");
    if low {
        text.push_str(&format!(
            "\n(sudo because port {port} needs root; `mayfly dev --http-port 5002` does without)"
        ));
    }
    text.push_str(":\n\n  ");
    if low {
        text.push_str("sudo ");
    }
    let certbot = |part: &str| shell_word(&dir.join(".certbot").join(part));
    text.push_str(&format!(
        "REQUESTS_CA_BUNDLE={} certbot certonly --standalone --non-interactive \\\n    \
         --agree-tos --register-unsafely-without-email \\\n    --server {url} \\\n    \
         --config-dir {} --work-dir {} --logs-dir {} \\\n    --http-01-port {port} -d localhost\n\n",
        shell_word(&root),
        certbot("config"),
        certbot("work"),
        certbot("logs"),
    ));
    text
}
