//! HTTP to whoever the operator named: a key service, a receiver of notices. Nobody else chooses where to,
//! redirects are not followed, and a proxy is not asked.

mod names;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

pub use self::names::Names;

/// A client, with the connections that it keeps.
pub type Client = Http<HttpsConnector<HttpConnector<Names>>, Full<Bytes>>;

/// By what a server is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots<'a> {
    /// The system's CA certificates, or those that SSL_CERT_FILE names.
    System,
    /// Those of a PEM file, and no others.
    File(&'a Path),
}

/// A client that speaks HTTP/1.1, and tries each address for so long. With `https`, an error if there is no
/// root to know anybody by.
pub fn client(roots: Roots<'_>, https: bool, connect: Duration) -> Result<Client, String> {
    let known = match roots {
        // Many, and each is parsed.
        Roots::System if !https => RootCertStore::empty(),
        Roots::System => of_system(),
        Roots::File(path) => of_file(path)?,
    };
    if known.is_empty() && https {
        return Err("this system has no CA certificates to know the server by: install ca-certificates, or \
                    name a PEM file with SSL_CERT_FILE (mount one into a container, read-only)"
            .to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(known)
        .with_no_client_auth();
    let mut sockets = HttpConnector::new_with_resolver(Names::default());
    sockets.enforce_http(false);
    sockets.set_connect_timeout(Some(connect));
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(sockets);
    Ok(Http::builder(TokioExecutor::new()).build(connector))
}

fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn of_file(path: &Path) -> Result<RootCertStore, String> {
    let bad = |why: String| format!("{}: {why}", path.display());
    let mut roots = RootCertStore::empty();
    for one in CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))? {
        let one = one.map_err(|error| bad(error.to_string()))?;
        roots.add(one).map_err(|error| bad(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(bad("has no certificate; give the CA certificates of the server, PEM".to_owned())),
        false => Ok(roots),
    }
}

/// With what lies under it: "client error (Connect)" tells nobody anything.
pub fn reason(error: &dyn std::error::Error) -> String {
    let below = std::iter::successors(error.source(), |error| error.source());
    below.fold(error.to_string(), |text, error| format!("{text}: {error}"))
}
