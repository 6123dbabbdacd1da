//! `[traces]`: where traces are exported to, and how much of them.

use std::path::Path;
use std::time::Duration;

use url::{Host, Url};

use super::check::{MINUTE, SECOND, networks};
use super::file::{Field, Section, shorten};
use super::problem::Findings;
use super::settings::Traces;

/// OTLP's own path behind an endpoint.
const PATH: &str = "v1/traces";

/// Reads the section; `None` if nothing is exported.
pub(super) fn check(section: &Section<'_>, base: &Path, findings: &mut Findings) -> Option<Traces> {
    let endpoint = section.get("otlp_endpoint");
    if endpoint.is_none() && section.has_keys() {
        let message = "is missing, so no traces are exported; write for example \
                       `otlp_endpoint = \"http://127.0.0.1:4318\"`";
        findings.note(section.line, &section.path_of("otlp_endpoint"), message.to_owned());
    }
    let url = endpoint.as_ref().and_then(|field| endpoint_of(field, findings));
    let mut path = |key| {
        let given = section.get(key).and_then(|field| field.non_empty(findings));
        given.map(|given| base.join(given))
    };
    let (ca, headers_file) = (path("ca"), path("headers_file"));
    if let (Some(field), Some(url)) = (&endpoint, &url) {
        clear_text(section, field, url, findings);
    }
    let sample = section.get("sample").and_then(|field| field.share(findings)).unwrap_or(1_000_000);
    let service_name = section.get("service_name").and_then(|field| field.non_empty(findings));
    let trust = networks(section, "trust", findings);
    for net in trust.iter().filter(|net| net.prefix_len() == 0) {
        let message = format!("{net} lets everybody decide what is recorded");
        findings.note(section.line, &section.path_of("trust"), message);
    }
    let mut count = |key, default, most| {
        usize::try_from(section.integer(key, default, (1, most), findings)).unwrap_or(usize::MAX)
    };
    let (queue, batch) = (count("queue", 4096, 1_000_000), count("batch", 512, 10_000));
    let times = (Duration::from_millis(100), MINUTE);
    let interval = section.duration("interval", SECOND * 5, times, findings);
    let timeout = section.duration("timeout", SECOND * 10, times, findings);
    Some(Traces {
        url: url?.join(PATH).ok()?.into(),
        ca,
        headers_file,
        sample,
        service_name: service_name.unwrap_or("mayfly").to_owned(),
        trust,
        queue,
        batch,
        interval,
        timeout,
    })
}

/// A URL of a host, a port perhaps, and a path perhaps, which ends in a slash here.
fn endpoint_of(field: &Field<'_>, findings: &mut Findings) -> Option<Url> {
    let text = field.string(findings)?;
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    let Some(mut url) = url else {
        // Not what is wrong with it: it may hold a password.
        let shown = if text.contains('@') { String::new() } else { format!("{:?} ", shorten(text)) };
        let message = format!("{shown}is no collector's URL; write http://HOST:PORT or https://HOST:PORT");
        field.error(findings, message);
        return None;
    };
    if url.path().trim_end_matches('/').ends_with(PATH) {
        field.error(findings, format!("ends in /{PATH}, which is put behind it; leave that out"));
        return None;
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Some(url)
}

/// What leaves this machine unencrypted is told of, and no secret does.
fn clear_text(section: &Section<'_>, field: &Field<'_>, url: &Url, findings: &mut Findings) {
    let here = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() == "https" || here {
        return;
    }
    if let Some(headers) = section.get("headers_file") {
        headers
            .error(findings, "its headers would go to another machine in clear; give an endpoint with https");
    } else {
        let message = "spans go to another machine in clear, with names and addresses; use https there";
        findings.note(Some(field.line), &field.path, message.to_owned());
    }
}
