//! Addresses by our own resolver: the system's look-ups want plug-ins that a static binary cannot load.
//! `/etc/hosts` comes first, as everywhere.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hickory_resolver::TokioResolver;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

/// Looks names up; begins with the first one, on the runtime that asks.
#[derive(Clone, Default)]
pub struct Names(Arc<OnceLock<TokioResolver>>);

async fn addresses(names: Names, name: Name) -> io::Result<std::vec::IntoIter<SocketAddr>> {
    let resolver = match names.0.get() {
        Some(known) => known,
        None => {
            let built = TokioResolver::builder_tokio().and_then(|builder| builder.build());
            // One that cannot be made now, as while the network comes up, can be at the next look-up.
            let built = built.map_err(io::Error::other)?;
            names.0.get_or_init(|| built)
        }
    };
    let found = resolver.lookup_ip(name.as_str()).await.map_err(io::Error::other)?;
    // The port is the connector's to set.
    let found: Vec<_> = found.iter().map(|address| SocketAddr::new(address, 0)).collect();
    Ok(found.into_iter())
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(addresses(self.clone(), name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_of_this_machine() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let found: Vec<_> = addresses(Names::default(), name("localhost")).await.unwrap().collect();
        assert!(!found.is_empty() && found.iter().all(|found| found.ip().is_loopback()), "{found:?}");
    }
}
