//! The exporter of traces, from `[traces]`.

use std::path::Path;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use super::DaemonError;
use crate::config::settings::Settings;
use crate::keystore::file;
use crate::outbound::{self, Roots};
use crate::telemetry::trace::export::{self, Exporter};
use crate::telemetry::trace::sampling::Ratio;
use crate::telemetry::trace::transport::Collector;

/// Begins to export, if that is wanted.
pub(super) fn start(settings: &Settings) -> Result<Option<Exporter>, DaemonError> {
    let Some(traces) = &settings.traces else { return Ok(None) };
    let failed = |message: String| DaemonError::Traces(format!("[traces]: {message}"));
    let url: Uri = traces.url.parse().map_err(|error| failed(format!("otlp_endpoint: {error}")))?;
    let headers = match &traces.headers_file {
        Some(path) => headers(path).map_err(failed)?,
        None => Vec::new(),
    };
    let roots = traces.ca.as_deref().map_or(Roots::System, Roots::File);
    let https = traces.url.starts_with("https:");
    let http = outbound::client(roots, https, traces.timeout).map_err(failed)?;
    Ok(export::start(export::Settings {
        collector: Collector { url, http, headers, timeout: traces.timeout },
        service: traces.service_name.clone(),
        ratio: Ratio::new(f64::from(traces.sample) / 1e6),
        trust: traces.trust.clone(),
        queue: traces.queue,
        batch: traces.batch,
        interval: traces.interval,
    }))
}

/// `NAME: VALUE` lines; empty ones and those that begin with `#` are skipped. No error shows a value.
fn headers(path: &Path) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let bytes = file::secret(path).map_err(|error| format!("headers_file: {error}"))?;
    let bad = |line: usize| {
        format!("headers_file: {}, line {line}: is not `NAME: VALUE`, such as `x-token: …`", path.display())
    };
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && line[0] != b'#');
    lines
        .map(|(at, line)| {
            let colon = line.iter().position(|byte| *byte == b':').ok_or_else(|| bad(at + 1))?;
            let name = HeaderName::from_bytes(line[..colon].trim_ascii()).map_err(|_| bad(at + 1))?;
            let mut value =
                HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| bad(at + 1))?;
            value.set_sensitive(true);
            Ok((name, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn headers_are_read_from_a_closed_file_and_never_shown() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("headers");
        let read = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            headers(&path)
        };
        let found = read("# for the collector\n\nauthorization: Bearer a:b\nX-Tenant:7\r\n", 0o600).unwrap();
        let found: Vec<_> = found.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(found, [("authorization", "Bearer a:b"), ("x-tenant", "7")]);
        for (text, mode, want) in [
            ("hush", 0o600, "line 1"),
            ("a: b\nhu sh: x", 0o600, "line 2"),
            ("a: hush\u{1}", 0o600, "line 1"),
            ("a: hush", 0o640, "chmod 600"),
        ] {
            let error = read(text, mode).unwrap_err();
            assert!(error.contains(want) && !error.contains("hush"), "{error}");
        }
    }
}
