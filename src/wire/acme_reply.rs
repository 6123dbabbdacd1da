//! RFC 8555 objects as a client reads them: what it needs of what any server says, owned.
//!
//! Lenient where [`super::acme`] is exact: unknown members are skipped, and what a server may leave
//! out is an option.

use serde::Deserialize;

/// §7.1.1
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Directory {
    pub new_nonce: String,
    pub new_account: String,
    pub new_order: String,
    pub revoke_cert: Option<String>,
    pub key_change: Option<String>,
}

/// §7.1.3
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Order {
    pub status: String,
    pub authorizations: Vec<String>,
    pub finalize: String,
    pub certificate: Option<String>,
    pub error: Option<Problem>,
}

/// §9.7.7
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Identifier {
    #[serde(rename = "type")]
    pub kind: String,
    pub value: String,
}

/// §7.1.4
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Authorization {
    pub identifier: Identifier,
    pub status: String,
    pub challenges: Vec<Challenge>,
}

/// §8
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Challenge {
    #[serde(rename = "type")]
    pub kind: String,
    pub url: String,
    pub status: String,
    #[serde(default)]
    pub token: String,
    pub error: Option<Problem>,
}

/// §6.7, RFC 7807
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub detail: String,
}

impl Problem {
    /// The last part of `urn:ietf:params:acme:error:…`, or the whole type.
    pub fn name(&self) -> &str {
        self.kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(&self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_servers_answers_are_read() {
        let order = r#"{"status":"pending","expires":"2026-11-23T00:00:00Z","x":[],
            "identifiers":[{"type":"dns","value":"a.test"}],"authorizations":["u"],"finalize":"f"}"#;
        let order: Order = serde_json::from_str(order).unwrap();
        assert_eq!((order.status.as_str(), order.certificate), ("pending", None));
        let challenge = r#"{"type":"http-01","url":"u","status":"invalid","token":"t",
            "error":{"type":"urn:ietf:params:acme:error:dns","detail":"d","status":400}}"#;
        let challenge: Challenge = serde_json::from_str(challenge).unwrap();
        assert_eq!(challenge.error.unwrap().name(), "dns");
        let problem: Problem = serde_json::from_str(r#"{"type":"about:blank"}"#).unwrap();
        assert_eq!((problem.name(), problem.detail.as_str()), ("about:blank", ""));
        // No token, as with challenges of kinds that have none.
        assert!(serde_json::from_str::<Challenge>(r#"{"type":"x","url":"u","status":"pending"}"#).is_ok());
    }
}
