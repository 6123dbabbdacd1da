//! TEMPORARY: compile-only stand-in for the composition root.
#![expect(missing_docs, reason = "a stand-in")]

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::settings::Settings;

pub struct Launch {
    pub settings: Settings,
    pub config_file: Option<PathBuf>,
    #[expect(clippy::type_complexity, reason = "a stand-in")]
    pub on_ready: Option<Box<dyn FnOnce(&Ready) + Send>>,
}

#[derive(Clone, Debug)]
pub struct Ready {
    pub address: SocketAddr,
    pub base_url: String,
    pub directories: Vec<(String, String)>,
    pub root_fingerprint: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the daemon is not built yet")]
pub struct DaemonError;

pub fn run(_launch: Launch) -> Result<(), DaemonError> {
    Err(DaemonError)
}
