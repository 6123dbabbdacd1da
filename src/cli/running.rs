//! Commands to a running CA: which one, and how to reach it.

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
}

impl Target {
    fn file(&self) -> Result<PathBuf, CliError> {
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
        let file = self.file()?;
        let settings = config::read_settings(&file)
            .map_err(|problems| CliError::Config { file: file.clone(), problems })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(CliError::Runtime)?;
        let called = runtime.block_on(admin::call(&settings.admin.socket, method, path, body));
        called.map_err(|error| CliError::Admin { file, error })
    }
}
