//! From an owner's name to addresses that may be connected to. The check stands behind the resolver:
//! what a name resolves to is decided by whoever answers DNS, anew for each connection.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use crate::config::is_link_local;

/// Resolves names. Link-local addresses are left out unless they are allowed; a name with no others
/// cannot be connected to.
#[derive(Clone, Debug)]
pub(super) struct Names {
    resolver: GaiResolver,
    link_local: bool,
}

impl Names {
    pub(super) fn new(link_local: bool) -> Self {
        Self {
            resolver: GaiResolver::new(),
            link_local,
        }
    }
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.resolver.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (addresses, link_local) = (self.resolver.call(name), self.link_local);
        Box::pin(async move {
            let mut addresses: Vec<_> = addresses.await?.collect();
            let all = addresses.len();
            addresses.retain(|address| link_local || !is_link_local(address.ip()));
            if addresses.is_empty() && all > 0 {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "the name resolves to link-local addresses only, which query.allow_link_local allows",
                ));
            }
            Ok(addresses.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolve(name: &str, link_local: bool) -> io::Result<Vec<SocketAddr>> {
        let name = name.parse().unwrap();
        Ok(Names::new(link_local).call(name).await?.collect())
    }

    /// Forms of 169.254.169.254 that are a name to Rust, and an address to the resolver.
    #[tokio::test]
    async fn a_name_is_judged_by_what_it_resolves_to() {
        for name in ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376"] {
            let refused = resolve(name, false).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{name}");
            let allowed = resolve(name, true).await.unwrap();
            assert!(allowed.iter().all(|a| is_link_local(a.ip())), "{allowed:?}");
            assert!(!allowed.is_empty());
        }
        assert!(!resolve("localhost", false).await.unwrap().is_empty());
    }
}
