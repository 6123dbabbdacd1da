//! Commands to a running CA: which one, and how to reach it.

use std::io::Write;
use std::path::PathBuf;

use bytes::Bytes;
use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::CliError;
use super::dev::DEFAULT_DIR;
use super::founding::Layout;
use crate::client::admin::{self, Endpoint, Listener};
use crate::config;

/// Which CA a command is for.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// The mayfly.toml that the CA runs on
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    pub config: Option<PathBuf>,
    /// The directory that the CA lives in, as `mayfly init` or `mayfly dev` made it [default: ./mayfly-dev]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where it is commanded, for when the configuration does not say: its admin socket as unix:PATH, or its
    /// admin listener as https://HOST:PORT
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    pub url: Option<Url>,
    /// At an admin listener: this operator's certificate, PEM
    #[arg(long, value_name = "FILE", requires = "url")]
    pub client_cert: Option<PathBuf>,
    /// At an admin listener: the certificate's private key, PEM
    #[arg(long, value_name = "FILE", requires = "url")]
    pub client_key: Option<PathBuf>,
    /// At an admin listener: the CA's root certificate, PEM
    #[arg(long, value_name = "FILE", requires = "url")]
    pub trust: Option<PathBuf>,
}

/// What `--url` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Url {
    /// `unix:PATH`, with or without two slashes.
    Socket(PathBuf),
    /// `https://HOST:PORT`
    Listener(String),
}

fn endpoint(text: &str) -> Result<Url, String> {
    if text.starts_with("https://") {
        return Ok(Url::Listener(text.to_owned()));
    }
    let path = text.strip_prefix("unix:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match path.filter(|path| !path.is_empty()) {
        Some(path) => Ok(Url::Socket(path.into())),
        None => {
            Err("give unix:PATH, the path that [admin] socket has, or https://HOST:PORT of [admin] address"
                .into())
        }
    }
}

impl Target {
    /// Its configuration file; an error if it was named by its socket alone and there is none by default.
    pub(super) fn file(&self) -> Result<PathBuf, CliError> {
        match (&self.config, &self.dir) {
            (Some(file), _) => Ok(file.clone()),
            (None, Some(dir)) => Ok(Layout { dir: dir.clone() }.config()),
            (None, None) => {
                let file = Layout { dir: DEFAULT_DIR.into() }.config();
                if file.is_file() { Ok(file) } else { Err(CliError::WhichCa) }
            }
        }
    }

    fn listener(&self, url: &str) -> Result<Listener, CliError> {
        let given = |flag: &'static str, path: &Option<PathBuf>| {
            let path = path.clone().ok_or(CliError::ListenerNeeds(flag))?;
            std::fs::read(&path).map_err(|source| CliError::File { path, source })
        };
        let roots = given("--trust", &self.trust)?;
        let (chain, key) =
            (given("--client-cert", &self.client_cert)?, given("--client-key", &self.client_key)?);
        let key = Zeroizing::new(key);
        Listener::new(url, &roots, &chain, &key).map_err(CliError::Listener)
    }

    /// Sends one request to the CA.
    pub(super) fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, CliError> {
        let body = body.map(admin::encoded).transpose();
        let body = body.map_err(|error| CliError::Admin { file: None, error })?;
        let (file, answer) = self.ask(method, path, body)?;
        admin::decoded(&answer).map_err(|error| CliError::Admin { file, error })
    }

    /// Sends JSON and gives JSON, and the configuration file by which the CA was found.
    fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(Option<PathBuf>, Bytes), CliError> {
        let (file, endpoint) = match &self.url {
            Some(Url::Socket(socket)) => (None, Endpoint::Socket(socket.clone())),
            Some(Url::Listener(url)) => (None, Endpoint::Listener(self.listener(url)?)),
            None => {
                let file = self.file()?;
                let settings = config::read_settings(&file)
                    .map_err(|problems| CliError::Config { file: file.clone(), problems })?;
                (Some(file), Endpoint::Socket(settings.admin.socket))
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(CliError::Runtime)?;
        let asked = runtime.block_on(admin::ask(&endpoint, method, path, body));
        match asked {
            Ok(answer) => Ok((file, answer)),
            Err(error) => Err(CliError::Admin { file, error }),
        }
    }
}

/// Prints an answer as JSON.
pub(super) fn json(out: &mut dyn Write, value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CliError::Output(error.into()))?;
    writeln!(out, "{text}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_as_urls() {
        let socket = |path: &str| Some(Url::Socket(path.into()));
        for (text, want) in [
            ("unix:/run/mayfly/admin.sock", socket("/run/mayfly/admin.sock")),
            ("unix:///run/mayfly/admin.sock", socket("/run/mayfly/admin.sock")),
            ("unix:admin.sock", socket("admin.sock")),
            ("https://ca.test:9444", Some(Url::Listener("https://ca.test:9444".into()))),
            ("unix:", None),
            ("/run/mayfly/admin.sock", None),
            ("http://ca.test", None),
        ] {
            assert_eq!(endpoint(text).ok(), want, "{text}");
        }
    }
}
