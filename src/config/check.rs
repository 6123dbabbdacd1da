//! The rules: from what the file says to [`Settings`], section by section, with every broken rule
//! reported. Where a value is wrong its default stands in, so that the rest can still be checked.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::authority::Checked;
use super::file::{Field, SECTIONS, Section, Source, section_names, shorten};
use super::problem::{Findings, nearest};
use super::settings::{Engine, Log, LogLevel, Metrics, Server, Settings, Store, Validation};
use super::{admin, authority, limits, notify, provisioner, traces};
use crate::acme::identifier::{DnsName, Identifier};
use crate::authority::key_source::{KeySource, PasswordSource};
use crate::provisioner::names::parse_network;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Names in this CA's own certificate: every handshake carries them all.
const MOST_DNS_NAMES: usize = 100;

/// Walks a parsed document; the result counts only if no error was found.
pub(super) fn settings(
    source: Source<'_>,
    root: &DeTable<'_>,
    base: &Path,
    look: bool,
    findings: &mut Findings,
) -> Settings {
    refuse_unknown_sections(source, root, findings);
    let section = |name: &str, findings: &mut Findings| {
        Section::new(source, name, name.to_owned(), root.get(name), findings)
    };
    let server = section("server", findings);
    let store = section("store", findings);
    let validation = section("validation", findings);
    let limits = section("limits", findings);
    let log = section("log", findings);
    let authorities = authority::all(source, root.get("authority"), (base, look), findings);
    let server = check_server(&server, &authorities, findings);
    let admin = section("admin", findings);
    let metrics = section("metrics", findings);
    let traces = section("traces", findings);
    let store = check_store(&store, base, findings);
    Settings {
        provisioners: provisioner::all(
            source,
            root.get("provisioner"),
            (&server.dns_names, &authorities),
            look.then_some(base),
            findings,
        ),
        admin: admin::check(&admin, (&server, &store), base, findings),
        server,
        store,
        validation: check_validation(&validation, findings),
        authorities: authorities.into_iter().map(|one| one.settings).collect(),
        limits: limits::rules(&limits, findings),
        network_connections: limits::network_connections(&limits, findings),
        log: check_log(&log, findings),
        metrics: check_metrics(&metrics, findings),
        traces: traces::check(&traces, base, findings),
        notify: notify::all(source, root.get("notify"), base, findings),
    }
}

fn refuse_unknown_sections(source: Source<'_>, root: &DeTable<'_>, findings: &mut Findings) {
    let names = section_names;
    for (key, value) in root {
        let typed: &str = key.get_ref();
        if names().any(|name| name == typed) {
            continue;
        }
        let home = SECTIONS.iter().find(|(_, keys)| keys.contains(&typed));
        let hint = match (home, nearest(typed, names())) {
            (Some((section, _)), _) if !value.get_ref().is_table() => {
                format!("unknown key; it belongs in [{section}]")
            }
            (_, Some(near)) => format!("unknown section; did you mean [{near}]?"),
            _ => format!("unknown section; there are {}", names().collect::<Vec<_>>().join(", ")),
        };
        findings.error(Some(source.line(key.span().start)), &shorten(typed), hint);
    }
}

fn check_server(section: &Section<'_>, authorities: &[Checked], findings: &mut Findings) -> Server {
    let address = address(section, findings);
    let dns_names = dns_names(section, findings);
    let base_url = match section.get("base_url") {
        Some(field) => field.string(findings).and_then(|text| base_url(&field, text, &dns_names, findings)),
        None => dns_names.first().map(|name| default_base_url(name, address.port())),
    };
    let max_body = section.get("max_body").and_then(|f| f.size((4 * 1024, 16 * 1024 * 1024), findings));
    let connections = section.integer("max_connections", 4096, (1, 1_000_000), findings);
    let requests = section.integer("max_requests", 1024, (2, 1_000_000), findings);
    let max_head = section.get("max_head").and_then(|f| f.size((8 * 1024, 64 * 1024), findings));
    let max_url = section.get("max_url").and_then(|f| f.size((256, 16 * 1024), findings));
    let max_headers = section.integer("max_headers", 64, (16, 100), findings);
    Server {
        address,
        dns_names,
        base_url: base_url.unwrap_or_default(),
        max_body: usize::try_from(max_body.unwrap_or(64 * 1024)).unwrap_or(usize::MAX),
        max_connections: usize::try_from(connections).unwrap_or(usize::MAX),
        max_requests: usize::try_from(requests).unwrap_or(usize::MAX),
        max_head: u32::try_from(max_head.unwrap_or(16 * 1024)).unwrap_or(u32::MAX),
        max_headers: usize::try_from(max_headers).unwrap_or(usize::MAX),
        max_url: usize::try_from(max_url.unwrap_or(2 * 1024)).unwrap_or(usize::MAX),
        // No client is waited for longer than a minute.
        request_timeout: section.duration("request_timeout", 30 * SECOND, (SECOND, MINUTE), findings),
        authority: authority::chosen(section, authorities, false, findings)
            .map(|one| one.settings.name.clone())
            .unwrap_or_default(),
        drain_timeout: section.duration("drain_timeout", 30 * SECOND, (SECOND, HOUR), findings),
        allow_core_dumps: section
            .get("allow_core_dumps")
            .and_then(|field| field.boolean(findings))
            .unwrap_or(false),
    }
}

fn address(section: &Section<'_>, findings: &mut Findings) -> SocketAddr {
    let fallback = SocketAddr::from(([127, 0, 0, 1], 9443));
    let Some(field) = section.require("address", "\"0.0.0.0:9443\"", findings) else { return fallback };
    socket_address(&field, findings).unwrap_or(fallback)
}

/// `IP:PORT` with a port that is not zero.
pub(super) fn socket_address(field: &Field<'_>, findings: &mut Findings) -> Option<SocketAddr> {
    let text = field.string(findings)?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => {
            field.error(findings, format!("{text} has port 0; give a port from 1 to 65535"));
            None
        }
        Ok(address) => Some(address),
        Err(_) => {
            let text = shorten(text);
            field.error(
                findings,
                format!(
                    "{text:?} is not IP:PORT; write an IP address (no name) and a port, such as \
                     \"10.0.0.53:53\" or \"[::1]:9443\""
                ),
            );
            None
        }
    }
}

fn dns_names(section: &Section<'_>, findings: &mut Findings) -> Vec<Identifier> {
    let Some(field) = section.require("dns_names", "[\"ca.example.internal\"]", findings) else {
        return Vec::new();
    };
    let before = findings.errors.len();
    let items = field.array(findings);
    if items.is_empty() && findings.errors.len() == before {
        field.error(findings, "is empty; give at least one name that clients reach this CA by");
    }
    if items.len() > MOST_DNS_NAMES {
        field.error(findings, format!("has {} names; give at most {MOST_DNS_NAMES}", items.len()));
    }
    let mut names = Vec::new();
    for item in items.into_iter().take(MOST_DNS_NAMES) {
        let Some(name) = item.string(findings).and_then(|text| host(&item, text, findings)) else { continue };
        if names.contains(&name) {
            item.error(findings, format!("{name} is there twice; remove one"));
        } else {
            names.push(name);
        }
    }
    names
}

fn host(item: &Field<'_>, text: &str, findings: &mut Findings) -> Option<Identifier> {
    match parse_host(text) {
        Ok(name) => Some(name),
        Err(why) => {
            item.error(findings, format!("{:?}: {why}", shorten(text)));
            None
        }
    }
}

/// Parses a name or an address that a server may be reached by; a wildcard is neither.
pub fn parse_host(text: &str) -> Result<Identifier, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Identifier::from_ip(ip).map_err(|error| error.to_string());
    }
    if text.starts_with("*.") {
        return Err("a CA is reached by a name, not by a wildcard; write the name itself".to_owned());
    }
    DnsName::parse(text).map(Identifier::Dns).map_err(|error| error.to_string())
}

/// `https://HOST[:PORT]` of a CA that listens on `port`.
pub fn default_base_url(name: &Identifier, port: u16) -> String {
    let host = match name {
        Identifier::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
        other => other.to_string(),
    };
    match port {
        443 => format!("https://{host}"),
        port => format!("https://{host}:{port}"),
    }
}

fn base_url(
    field: &Field<'_>,
    text: &str,
    dns_names: &[Identifier],
    findings: &mut Findings,
) -> Option<String> {
    match parse_base_url(text) {
        Ok((host, port)) => {
            if !dns_names.is_empty() && !dns_names.contains(&host) {
                let message = format!(
                    "{host} is not in server.dns_names, so this CA's own certificate does not carry it; \
                     right only behind a proxy that ends TLS"
                );
                findings.note(Some(field.line), &field.path, message);
            }
            Some(default_base_url(&host, port))
        }
        Err(why) => {
            field.error(
                findings,
                format!("{:?} {why}; write https://HOST or https://HOST:PORT", shorten(text)),
            );
            None
        }
    }
}

fn parse_base_url(text: &str) -> Result<(Identifier, u16), String> {
    let rest = text.strip_prefix("https://").ok_or("does not begin with https://")?;
    if rest.ends_with('/') {
        return Err("ends in a slash".to_owned());
    }
    if rest.contains(['/', '?', '#', '@']) {
        return Err("has more than a host and a port".to_owned());
    }
    let (host, port) = match rest.rsplit_once(':') {
        // The last colon of a bare `[::1]` is inside the brackets.
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (rest, "443"),
    };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let number = port.parse::<u16>().ok().filter(|n| digits && *n != 0);
    let number = number.ok_or_else(|| format!("has {port:?} where a port from 1 to 65535 belongs"))?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return Err("has an IPv6 address without brackets".to_owned());
    }
    parse_host(bare.unwrap_or(host))
        .map(|name| (name, number))
        .map_err(|why| format!("has a bad host: {why}"))
}

fn check_store(section: &Section<'_>, base: &Path, findings: &mut Findings) -> Store {
    let engines = [("fjall", Engine::Fjall), ("sled", Engine::Sled), ("memory", Engine::Memory)];
    let engine = section.get("engine").and_then(|field| {
        let engine = one_of(&field, &engines, findings)?;
        if engine == Engine::Sled && !cfg!(feature = "sled") {
            let message = "this mayfly was built without the sled engine; write \"fjall\", or build with \
                           `cargo build --release --features sled`";
            field.error(findings, message);
        }
        if engine == Engine::Memory {
            let message = "keeps nothing: accounts, orders and certificates are gone when mayfly stops";
            findings.note(Some(field.line), &field.path, message);
        }
        Some(engine)
    });
    Store {
        engine: engine.unwrap_or(Engine::Fjall),
        path: section.file("path", "db", base, findings),
        retention: section.duration("retention", 30 * DAY, (HOUR, 3650 * DAY), findings),
        account_retention: section.duration("account_retention", 90 * DAY, (7 * DAY, 3650 * DAY), findings),
    }
}

fn check_validation(section: &Section<'_>, findings: &mut Findings) -> Validation {
    let resolvers = resolvers(section, findings);
    let (http_port, tls_alpn_port) = ports(section, findings);
    let (allow, deny) = targets(section, findings);
    let attempts = section.integer("attempts", 4, (1, 20), findings);
    Validation {
        resolvers,
        http_port,
        tls_alpn_port,
        allow,
        deny,
        timeout: section.duration("timeout", 10 * SECOND, (SECOND, 5 * MINUTE), findings),
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
    }
}

/// `resolvers`
pub(super) fn resolvers(section: &Section<'_>, findings: &mut Findings) -> Vec<SocketAddr> {
    let items = section.get("resolvers").map(|f| f.array(findings)).unwrap_or_default();
    items.iter().filter_map(|item| socket_address(item, findings)).collect()
}

/// `http_port` and `tls_alpn_port`
pub(super) fn ports(section: &Section<'_>, findings: &mut Findings) -> (u16, u16) {
    let mut port = |key, default| {
        let given = section.integer(key, default, (1, 65_535), findings);
        u16::try_from(given).unwrap_or(u16::MAX)
    };
    (port("http_port", 80), port("tls_alpn_port", 443))
}

/// `allow` and `deny`
pub(super) fn targets(section: &Section<'_>, findings: &mut Findings) -> (Vec<IpNet>, Vec<IpNet>) {
    let allow = networks(section, "allow", findings);
    let deny = networks(section, "deny", findings);
    for net in allow.iter().filter(|net| net.prefix_len() == 0) {
        let message = format!("{net} lifts every default: loopback, link-local and cloud metadata too");
        findings.note(section.line, &section.path_of("allow"), message);
    }
    for net in allow.iter().filter(|net| deny.contains(net)) {
        findings.note(section.line, &section.path_of("deny"), format!("{net} is in allow too; deny wins"));
    }
    (allow, deny)
}

pub(super) fn networks(section: &Section<'_>, key: &'static str, findings: &mut Findings) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for item in section.get(key).map(|f| f.array(findings)).unwrap_or_default() {
        let Some(text) = item.string(findings) else { continue };
        match parse_network(text) {
            Ok(net) => nets.push(net),
            Err(why) => item.error(findings, why),
        }
    }
    nets
}

fn check_log(section: &Section<'_>, findings: &mut Findings) -> Log {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let level = section.get("level").and_then(|field| one_of(&field, &levels, findings));
    let formats = [("text", false), ("json", true)];
    let json = section.get("format").and_then(|field| one_of(&field, &formats, findings));
    Log { level: level.unwrap_or(LogLevel::Info), json: json.unwrap_or(false) }
}

fn check_metrics(section: &Section<'_>, findings: &mut Findings) -> Metrics {
    let address = section.get("address").and_then(|field| socket_address(&field, findings));
    let allow = networks(section, "allow", findings);
    for net in allow.iter().filter(|net| net.prefix_len() == 0) {
        findings.note(section.line, &section.path_of("allow"), format!("{net} lets everybody read them"));
    }
    if let Some(address) = address.filter(|address| !address.ip().is_loopback() && allow.is_empty()) {
        let message =
            format!("nobody but this machine may read what {address} serves; name networks in allow");
        findings.note(section.line, &section.path_of("address"), message);
    }
    let vault_aliases = section.get("vault_aliases").and_then(|field| field.boolean(findings));
    Metrics { address, allow, vault_aliases: vault_aliases.unwrap_or(false) }
}

/// The value of the row whose name the field has.
pub(super) fn one_of<T: Copy>(field: &Field<'_>, table: &[(&str, T)], findings: &mut Findings) -> Option<T> {
    let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
    table.get(known(field, &names, findings)?).map(|(_, value)| *value)
}

/// The place of the field's text among the names. Apart from [`one_of`], so that it is compiled once.
fn known(field: &Field<'_>, names: &[&str], findings: &mut Findings) -> Option<usize> {
    let text = field.string(findings)?;
    let found = names.iter().position(|name| *name == text);
    if found.is_none() {
        let hint = match nearest(text, names.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => {
                let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
                format!("write one of {}", quoted.join(", "))
            }
        };
        field.error(findings, format!("{:?} is not known; {hint}", shorten(text)));
    }
    found
}

/// Checks that the files the settings name are there.
pub(super) fn files(root: &DeTable<'_>, source: Source<'_>, settings: &Settings, findings: &mut Findings) {
    for (place, authority) in settings.authorities.iter().enumerate() {
        let mut files = vec![("root", &authority.root), ("certificate", &authority.certificate)];
        if let KeySource::File(path) = &authority.key {
            files.push(("key", path));
        }
        if let Some(PasswordSource::File(path)) = &authority.password {
            files.push(("password_file", path));
        }
        files.extend(authority.alternate_chains.iter().map(|path| ("alternate_chains", path)));
        files.extend(authority.other_issuers.iter().map(|path| ("other_issuers", path)));
        if let Some(next) = &authority.next {
            files.push(("next", &next.certificate));
            if let KeySource::File(path) = &next.key {
                files.push(("next", path));
            }
            if let Some(PasswordSource::File(path)) = &next.password {
                files.push(("next", path));
            }
            files.extend(next.alternate_chains.iter().map(|path| ("next", path)));
        }
        for (key, path) in files {
            let problem = match std::fs::metadata(path) {
                Ok(meta) if meta.is_file() => continue,
                Ok(_) => format!("{} is not a file", path.display()),
                Err(error) if matches!(key, "root" | "certificate" | "key") => {
                    format!("{}: {error}; `mayfly init` makes this file", path.display())
                }
                Err(error) => format!("{}: {error}", path.display()),
            };
            let line = authority::line(root, source, place, key);
            findings.error(line, &format!("{}.{key}", settings.path_of(place)), problem);
        }
    }
    notify::files(root, source, &settings.notify, findings);
    let line = |section: &str, key: &str| {
        let section: &Spanned<DeValue<'_>> = root.get(section)?;
        let value = section.get_ref().get(key).unwrap_or(section);
        Some(source.line(value.span().start))
    };
    let traces = settings.traces.as_ref();
    let named = [
        ("ca", traces.and_then(|traces| traces.ca.as_ref())),
        ("headers_file", traces.and_then(|traces| traces.headers_file.as_ref())),
    ];
    for (key, path) in named {
        if let Some(path) = path.filter(|path| !path.is_file()) {
            let message = format!("{} is not there, or is not a file", path.display());
            findings.error(line("traces", key), &format!("traces.{key}"), message);
        }
    }
    let db = &settings.store.path;
    if settings.store.engine != Engine::Memory && db.exists() && !db.is_dir() {
        findings.error(line("store", "path"), "store.path", format!("{} is not a directory", db.display()));
    }
}
