//! What anybody may ask: is it alive, is it ready, which certificates is it to be trusted by.

use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::problem::Failure;
use super::{App, Response, only_get, reply};
use crate::service::metered::ca_certificate;
use crate::telemetry::metrics::page::{CaCertificate, Role};
use crate::x509::pem;

/// Root and intermediate certificates, ready to send.
pub struct Trust {
    /// Hex SHA-256 of each root's DER, and the root as PEM.
    pub roots: Vec<(String, String)>,
    /// Intermediates as PEM, joined.
    pub intermediates: String,
}

impl Trust {
    /// From DER.
    pub fn new(roots: &[Vec<u8>], intermediates: &[Vec<u8>]) -> Self {
        Self {
            roots: roots.iter().map(|der| (fingerprint(der), pem::certificate(der))).collect(),
            intermediates: intermediates.iter().map(|der| pem::certificate(der)).collect(),
        }
    }
}

impl Trust {
    /// What the metrics show of the roots.
    pub(super) fn metered(&self) -> Vec<CaCertificate> {
        let ders = self.roots.iter().filter_map(|(_, text)| pem::parse_certificates(text.as_bytes()));
        ders.flatten().filter_map(|der| ca_certificate("default", Role::Root, &der)).collect()
    }
}

/// Lower-case hex SHA-256 of a certificate.
pub fn fingerprint(der: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The last readiness check: trying for real costs an fsync, which no prober shall be able to
/// demand more often than once in [`READINESS_AGE`].
#[derive(Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, bool)>>);

const READINESS_AGE: Duration = Duration::from_secs(1);

/// Longest wait for the check: a store that hangs is not ready.
const READINESS_PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn answer(app: &App, path: &str, method: &Method) -> Result<Response, Failure> {
    let text = |content_type, body: String| Ok(reply(StatusCode::OK, content_type, body));
    let known = root(app, path);
    if known.is_none() && !PATHS.contains(&path) {
        return Err(Failure::NoSuchResource);
    }
    only_get(method)?;
    match path {
        "/health" => text("application/json", r#"{"status":"ok"}"#.into()),
        "/readyz" if !is_ready(app).await => Err(Failure::NotReady),
        "/livez" | "/readyz" => text("text/plain", "ok\n".into()),
        "/roots.pem" => {
            text("application/x-pem-file", app.trust.roots.iter().map(|(_, pem)| pem.as_str()).collect())
        }
        "/intermediates.pem" => text("application/x-pem-file", app.trust.intermediates.clone()),
        _ => known.ok_or(Failure::NoSuchResource),
    }
}

const PATHS: [&str; 5] = ["/health", "/livez", "/readyz", "/roots.pem", "/intermediates.pem"];

/// Whether it is asked by who watches over this process, and not limited.
pub(super) fn is_probe(path: &str) -> bool {
    matches!(path, "/health" | "/livez" | "/readyz")
}

/// `/root/{sha256}`: as the `step` CLI fetches it, upper case and dashes tolerated.
fn root(app: &App, path: &str) -> Option<Response> {
    let wanted = path.strip_prefix("/root/")?.to_ascii_lowercase().replace('-', "");
    let (_, pem) = app.trust.roots.iter().find(|(fingerprint, _)| *fingerprint == wanted)?;
    let body = serde_json::json!({ "ca": pem }).to_string();
    Some(reply(StatusCode::OK, "application/json", body))
}

/// Probes that come while one is checking wait for what it finds.
async fn is_ready(app: &App) -> bool {
    let mut last = app.readiness.0.lock().await;
    if let Some((at, ready)) = *last
        && at.elapsed() < READINESS_AGE
    {
        return ready;
    }
    let ready = match tokio::time::timeout(READINESS_PATIENCE, app.service.ready()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(%error, "not ready");
            false
        }
        Err(_) => {
            tracing::error!("not ready: the store or the signer did not answer in time");
            false
        }
    };
    *last = Some((Instant::now(), ready));
    ready
}
