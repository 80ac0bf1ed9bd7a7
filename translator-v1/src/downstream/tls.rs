//! TLS for miners that want it, on a port of its own.
//!
//! Certificate and key are read once, at the start. Nothing is asked of the miner's own identity.
//! The dear part of a handshake, key exchange and signature, waits for a turn, as all handshakes
//! do; the small messages around it do not.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use service::config::ConfigError;
use service::handshake::Handshakes;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;

/// A handshake may take so long: small devices need seconds for one.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(15);

/// Answers TLS handshakes. Cheap to clone.
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

impl Tls {
    /// Reads the certificate chain and its key, both PEM.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, ConfigError> {
        let unusable = |field, path: &Path, why: String| {
            let remedy = format!("cannot use {}: {why}; name a PEM file", path.display());
            ConfigError::unusable(field, remedy)
        };
        let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(|error| unusable("tls.certificate_file", certificate, error.to_string()))?;
        let secret = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| unusable("tls.key_file", key, error.to_string()))?;
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(|error| unusable("tls.certificate_file", certificate, error.to_string()))?;
        Ok(Self(Arc::new(config)))
    }

    /// Answers a handshake when its turn among `handshakes` has come; the reason if there is no TLS
    /// to be had with the peer.
    pub async fn accept(
        &self,
        stream: TcpStream,
        handshakes: &Handshakes,
    ) -> Result<TlsStream<TcpStream>, String> {
        match timeout(HANDSHAKE_MAX, self.answer(stream, handshakes)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no TLS handshake in time".to_owned()),
        }
    }

    async fn answer(
        &self,
        stream: TcpStream,
        handshakes: &Handshakes,
    ) -> io::Result<TlsStream<TcpStream>> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let config = Arc::clone(&self.0);
        let (answering, first) = handshakes
            .reckon(move || {
                let mut answering = hello.into_stream(config);
                // One step: it reckons, and what it wrote is on its way. It does not wait.
                let mut nobody = Context::from_waker(Waker::noop());
                let first = Pin::new(&mut answering).poll(&mut nobody);
                (answering, first)
            })
            .await?;
        match first {
            Poll::Ready(answered) => answered,
            Poll::Pending => answering.await,
        }
    }
}
