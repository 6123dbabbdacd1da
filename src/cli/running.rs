//! Commands to a running CA: which one, and how to reach it.

use std::io::Write;
use std::path::PathBuf;

use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CliError;
use super::dev::DEFAULT_DIR;
use super::founding::Layout;
use crate::client::admin;
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
    /// Its admin socket itself, as unix:PATH; for when the configuration does not say
    #[arg(long, value_name = "URL", value_parser = socket)]
    pub url: Option<PathBuf>,
}

/// `unix:PATH`, with or without two slashes.
fn socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match path.filter(|path| !path.is_empty()) {
        Some(path) => Ok(path.into()),
        None => {
            Err("the admin API is on a Unix socket: give unix:PATH, the path that [admin] socket has".into())
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

    /// Sends one request through the CA's socket.
    pub(super) fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, CliError> {
        let (file, socket) = match &self.url {
            Some(socket) => (None, socket.clone()),
            None => {
                let file = self.file()?;
                let settings = config::read_settings(&file)
                    .map_err(|problems| CliError::Config { file: file.clone(), problems })?;
                (Some(file), settings.admin.socket)
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(CliError::Runtime)?;
        let called = runtime.block_on(admin::call(&socket, method, path, body));
        called.map_err(|error| CliError::Admin { file, error })
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
    fn sockets_as_urls() {
        for (text, want) in [
            ("unix:/run/mayfly/admin.sock", Some("/run/mayfly/admin.sock")),
            ("unix:///run/mayfly/admin.sock", Some("/run/mayfly/admin.sock")),
            ("unix:admin.sock", Some("admin.sock")),
            ("unix:", None),
            ("/run/mayfly/admin.sock", None),
            ("https://ca.test", None),
        ] {
            assert_eq!(socket(text).ok(), want.map(PathBuf::from), "{text}");
        }
    }
}
