//! A bound port and its serving. Binding is apart from serving, so that a port in use fails the start
//! and the address of port 0 is known before the first request.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Why a listener cannot start; one line for a person.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The port is in use, or the address is not ours.
    #[error(
        "[{section}] listen = \"{address}\": cannot listen: {cause}; stop what holds the port or choose another one"
    )]
    Bind {
        /// `api` or `admin`.
        section: &'static str,
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The admin listener would be open to the network without a token.
    #[error(
        "[admin] listen = \"{address}\": not a loopback address; set admin.token (\"env:NAME\" or \"file:PATH\"), or listen on 127.0.0.1"
    )]
    Open {
        /// As configured.
        address: SocketAddr,
    },
}

/// A port that is ours; nothing is answered on it yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local_addr: SocketAddr,
}

impl Listener {
    /// Binds `address` for the configuration's `section`; port 0 takes any free one.
    ///
    /// # Errors
    /// [`BindError::Bind`].
    pub async fn bind(section: &'static str, address: SocketAddr) -> Result<Self, BindError> {
        let refused = |cause| BindError::Bind {
            section,
            address,
            cause,
        };
        let socket = TcpListener::bind(address).await.map_err(refused)?;
        let local_addr = socket.local_addr().map_err(refused)?;
        Ok(Self { socket, local_addr })
    }

    /// The address with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until `stop`, then closes idle connections and ends when the requests that have begun
    /// are answered. Cancelling it only stops accepting: connections live on with the runtime.
    ///
    /// # Errors
    /// As axum's: none today.
    pub async fn serve(self, router: Router, stop: CancellationToken) -> io::Result<()> {
        axum::serve(self.socket, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
    }
}
