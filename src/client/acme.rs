//! The protocol: nonces kept from every reply, `badNonce` tried again, `Retry-After` honoured.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde::de::DeserializeOwned;

use super::key::{AccountKey, KeyError, Sender, json_string};
use super::transport::{Reply, Target, Transport, TransportError};
use crate::jose::base64url;
use crate::wire::acme_reply::{Authorization, Challenge, Directory, Order, Problem};

/// Nonces kept. More than a sequential client collects; the oldest goes first.
const NONCES: usize = 16;
/// How often a request is signed anew after `badNonce` (RFC 8555 §6.5).
const NONCE_TRIES: u32 = 4;
/// A server's `Retry-After` counts up to here.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Between polls when the server gives no `Retry-After`.
const POLL: Duration = Duration::from_millis(250);

/// Why a verb did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No reply.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Our own key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The server refused.
    #[error("{status} {}: {}", problem.name(), problem.detail)]
    Refused {
        /// HTTP status.
        status: u16,
        /// The problem document; empty if there was none.
        problem: Problem,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// A reply that is not what the RFC says; what is wrong with it.
    #[error("the reply is not as RFC 8555 says: {0}")]
    Reply(String),
    /// Control of a name was not proved.
    #[error("{name}: {}: {}", problem.name(), problem.detail)]
    Challenge {
        /// Whose.
        name: String,
        /// The challenge's error.
        problem: Problem,
    },
}

impl Error {
    /// A short text of its kind, for counting.
    pub fn label(&self) -> String {
        match self {
            Self::Transport(error) => error.label().to_owned(),
            Self::Key(_) => "key".to_owned(),
            Self::Refused { status, problem, .. } => format!("{status} {}", problem.name()),
            Self::Reply(_) => "reply".to_owned(),
            Self::Challenge { problem, .. } => format!("challenge {}", problem.name()),
        }
    }

    /// When the server wants the client back.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => retry_after.map(|wait| wait.min(LONGEST_WAIT)),
            _ => None,
        }
    }
}

/// An object with what its reply's headers said.
#[derive(Clone, Debug)]
pub struct Received<T> {
    /// The object.
    pub object: T,
    /// `Location`
    pub location: Option<String>,
    /// How long to wait before asking again.
    pub poll_after: Duration,
}

/// Reads a server's directory.
pub async fn directory(target: &Arc<Target>, url: &str) -> Result<Directory, Error> {
    let reply = Transport::new(target.clone()).send(Method::GET, url, None).await?;
    json(&expect_success(reply)?)
}

/// One account at one server.
pub struct Client {
    transport: Transport,
    directory: Arc<Directory>,
    key: AccountKey,
    account: Option<String>,
    nonces: VecDeque<String>,
    busy_retries: u32,
    requests: u64,
    nonce_retries: u64,
}

impl Client {
    /// Not registered yet. A reply of 429 or 503 with `Retry-After` is waited for and the request
    /// sent again, up to `busy_retries` times.
    pub fn new(target: Arc<Target>, directory: Arc<Directory>, key: AccountKey, busy_retries: u32) -> Self {
        Self {
            transport: Transport::new(target),
            directory,
            key,
            account: None,
            nonces: VecDeque::new(),
            busy_retries,
            requests: 0,
            nonce_retries: 0,
        }
    }

    /// The account's key.
    pub fn key(&self) -> &AccountKey {
        &self.key
    }
    /// HTTP requests sent so far, of every kind.
    pub fn requests(&self) -> u64 {
        self.requests
    }
    /// Requests signed anew because of `badNonce`.
    pub fn nonce_retries(&self) -> u64 {
        self.nonce_retries
    }
    /// Ends the connection; the next request opens another.
    pub fn disconnect(&mut self) {
        self.transport.close();
    }

    /// Makes sure that there is a nonce; whether one had to be fetched.
    pub async fn prepare(&mut self) -> Result<bool, Error> {
        if !self.nonces.is_empty() {
            return Ok(false);
        }
        self.requests += 1;
        let reply = self.transport.send(Method::HEAD, &self.directory.new_nonce, None).await?;
        self.keep_nonce(&reply);
        expect_success(reply)?;
        match self.nonces.is_empty() {
            true => Err(Error::Reply("newNonce came without a Replay-Nonce".into())),
            false => Ok(true),
        }
    }

    fn keep_nonce(&mut self, reply: &Reply) {
        if let Some(nonce) = reply.header("replay-nonce") {
            if self.nonces.len() == NONCES {
                self.nonces.pop_front();
            }
            self.nonces.push_back(nonce.to_owned());
        }
    }

    /// A signed POST; the reply if the server did what was asked. An empty payload is POST-as-GET.
    pub async fn post(&mut self, url: &str, payload: &str) -> Result<Reply, Error> {
        let (mut nonce_tries, mut busy_tries) = (0, 0);
        loop {
            self.prepare().await?;
            let nonce = self.nonces.pop_back().unwrap_or_default();
            let from = self.account.as_deref().map_or(Sender::Key, Sender::Account);
            let jws = self.key.jws(from, &nonce, url, payload)?;
            self.requests += 1;
            let reply = self.transport.send(Method::POST, url, Some(jws)).await?;
            self.keep_nonce(&reply);
            let error = match expect_success(reply) {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            match &error {
                Error::Refused { problem, .. }
                    if problem.name() == "badNonce" && nonce_tries < NONCE_TRIES =>
                {
                    nonce_tries += 1;
                    self.nonce_retries += 1;
                    // Older ones are likely to be as stale.
                    self.nonces.drain(..self.nonces.len().saturating_sub(1));
                }
                Error::Refused { status: 429 | 503, .. } if busy_tries < self.busy_retries => {
                    let Some(wait) = error.retry_after() else { return Err(error) };
                    busy_tries += 1;
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(error),
            }
        }
    }

    async fn receive<T: DeserializeOwned>(&mut self, url: &str, payload: &str) -> Result<Received<T>, Error> {
        let reply = self.post(url, payload).await?;
        let location = reply.header("location").map(str::to_owned);
        let poll_after = reply.retry_after().unwrap_or(POLL).min(LONGEST_WAIT);
        Ok(Received { object: json(&reply)?, location, poll_after })
    }

    /// Opens the account, or finds the one that the key has (§7.3).
    pub async fn register(&mut self) -> Result<(), Error> {
        self.account = None;
        let url = self.directory.new_account.clone();
        let reply = self.post(&url, r#"{"termsOfServiceAgreed":true}"#).await?;
        let location = reply.header("location");
        let account = location.ok_or_else(|| Error::Reply("newAccount came without a Location".into()))?;
        self.account = Some(account.to_owned());
        Ok(())
    }

    /// §7.4, for DNS names.
    pub async fn new_order(&mut self, names: &[String]) -> Result<Received<Order>, Error> {
        let identifiers: Vec<_> =
            names.iter().map(|name| format!(r#"{{"type":"dns","value":{}}}"#, json_string(name))).collect();
        let url = self.directory.new_order.clone();
        self.receive(&url, &format!(r#"{{"identifiers":[{}]}}"#, identifiers.join(","))).await
    }

    /// §7.5
    pub async fn authorization(&mut self, url: &str) -> Result<Received<Authorization>, Error> {
        self.receive(url, "").await
    }

    /// Tells the server that a challenge is in place (§7.5.1).
    pub async fn respond(&mut self, challenge: &str) -> Result<Received<Challenge>, Error> {
        self.receive(challenge, "{}").await
    }

    /// §7.4
    pub async fn finalize(&mut self, url: &str, csr: &[u8]) -> Result<Received<Order>, Error> {
        self.receive(url, &format!(r#"{{"csr":"{}"}}"#, base64url(csr))).await
    }

    /// §7.1.3
    pub async fn order(&mut self, url: &str) -> Result<Received<Order>, Error> {
        self.receive(url, "").await
    }

    /// The certificate and its chain, PEM (§7.4.2).
    pub async fn certificate(&mut self, url: &str) -> Result<bytes::Bytes, Error> {
        let reply = self.post(url, "").await?;
        match reply.body.starts_with(b"-----BEGIN CERTIFICATE-----") {
            true => Ok(reply.body),
            false => Err(Error::Reply("the certificate is not PEM".into())),
        }
    }
}

fn expect_success(reply: Reply) -> Result<Reply, Error> {
    if (200..300).contains(&reply.status) {
        return Ok(reply);
    }
    let problem = serde_json::from_slice(&reply.body).unwrap_or_default();
    Err(Error::Refused { status: reply.status, problem, retry_after: reply.retry_after() })
}

fn json<T: DeserializeOwned>(reply: &Reply) -> Result<T, Error> {
    serde_json::from_slice(&reply.body).map_err(|error| Error::Reply(error.to_string()))
}
