//! Telling receivers what is wrong in the fleet: a webhook, or Alertmanager. What there is to tell, and
//! what was told, [`crate::fleet::notices`] knows; here it gets its words and goes out.

mod alertmanager;
mod post;
#[cfg(test)]
mod tests;
mod webhook;
mod words;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};

use self::alertmanager::Alertmanager;
use self::post::Post;
use self::webhook::Webhook;
use crate::fleet::notices::{Alert, Delivery, Terms};
use crate::time::Timestamp;

/// A boxed future, so that `dyn Deliver` works.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a receiver speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// JSON of ours, one notice a request.
    Webhook,
    /// Alertmanager's API, version 2.
    Alertmanager,
}

impl Kind {
    /// As the configuration and the metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Alertmanager => "alertmanager",
        }
    }
}

/// Where a receiver is, and how it knows us.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// The configuration's name for it.
    pub name: String,
    /// What it speaks.
    pub kind: Kind,
    /// `http://` or `https://`; its path may be a secret.
    pub url: String,
    /// PEM certificates that it is known by; `None` is the system's.
    pub ca: Option<PathBuf>,
    /// The file of a bearer token.
    pub token_file: Option<PathBuf>,
    /// The file of the key that bodies are signed with; webhooks only.
    pub secret_file: Option<PathBuf>,
    /// For one request, all in all.
    pub timeout: Duration,
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An alert that goes on, or has ended.
    Alert(Box<Alert>),
    /// The operator tries whether it arrives.
    Test,
}

/// Why something was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether it may have been taken in all the same.
    pub delivery: Delivery,
    /// Whether the receiver answered, so that another notice may fare better.
    pub answered: bool,
    /// Why, without anything secret.
    pub reason: String,
}

/// Sends notices.
pub trait Deliver: Send + Sync {
    /// How many go at once; never zero.
    fn at_once(&self) -> usize;

    /// Sends some, at most as many as go at once; `Ok` if the receiver has acknowledged them all.
    fn deliver<'a>(&'a self, notices: &'a [Notice], now: Timestamp) -> BoxFuture<'a, Result<(), Failure>>;
}

/// Who is told.
#[derive(Clone)]
pub struct Receiver {
    /// The configuration's name for it.
    pub name: String,
    /// What it speaks.
    pub kind: Kind,
    /// Scheme, host and port: what may be shown of its URL.
    pub origin: String,
    /// How it wants to be told.
    pub terms: Terms,
    /// What it was told is kept under this: another if it is another receiver by the same name.
    pub id: ReceiverId,
    /// The way there.
    pub deliver: Arc<dyn Deliver>,
}

/// The first bytes of a digest over a receiver's name, kind and URL.
pub type ReceiverId = [u8; 8];

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("origin", &self.origin)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

impl Receiver {
    /// Makes ready to tell somebody; `source` is this CA's base URL. Reads the certificates, and looks at
    /// the files of the credentials, which are read anew for each request.
    pub fn new(place: &Place, terms: Terms, source: &str) -> Result<Self, String> {
        let post = Post::new(place)?;
        let origin = post.origin().to_owned();
        let deliver: Arc<dyn Deliver> = match place.kind {
            Kind::Webhook => Arc::new(Webhook::new(post, source.to_owned(), place.secret_file.clone())?),
            Kind::Alertmanager => Arc::new(Alertmanager::new(post, source.to_owned(), terms.repeat)),
        };
        let (name, kind) = (place.name.clone(), place.kind);
        Ok(Self { id: id(place), name, kind, origin, terms, deliver })
    }
}

fn id(place: &Place) -> ReceiverId {
    let mut digest = Context::new(&SHA256);
    for part in [place.name.as_str(), place.kind.name(), &place.url] {
        digest.update(part.as_bytes());
        digest.update(&[0]);
    }
    digest.finish().as_ref().first_chunk().copied().unwrap_or_default()
}
