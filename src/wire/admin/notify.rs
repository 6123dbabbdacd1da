//! Receivers of notices.

use serde::{Deserialize, Serialize};

/// `GET /v1/receivers`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receivers {
    /// In the order of the configuration.
    pub receivers: Vec<Receiver>,
}

/// One `[[notify]]`, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// Its name.
    pub name: String,
    /// `webhook` or `alertmanager`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Scheme, host and port of its URL.
    pub origin: String,
    /// Alerts that go on.
    pub alerts: u64,
    /// Identities that they are of.
    pub identities: u64,
    /// Alerts and ends that it has not acknowledged.
    pub pending: u64,
    /// When it last acknowledged something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<String>,
    /// When an attempt failed after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// `POST /v1/receivers/test`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverTests {
    /// In the order of the configuration.
    pub tests: Vec<ReceiverTest>,
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverTest {
    /// The receiver's name.
    pub name: String,
    /// `webhook` or `alertmanager`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Scheme, host and port of its URL.
    pub origin: String,
    /// Whether it has acknowledged it.
    pub delivered: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}
