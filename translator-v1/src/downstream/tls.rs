//! TLS for miners that want it, on a port of its own.
//!
//! Certificate and key are read once, at the start. Nothing is asked of the miner's own identity.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use service::config::ConfigError;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// A handshake may take so long: small devices need seconds for one.
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);

/// Answers TLS handshakes. Cheap to clone.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

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
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Answers a handshake; the reason if there is no TLS to be had with the peer.
    pub async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        match timeout(HANDSHAKE_MAX, self.0.accept(stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no TLS handshake in time".to_owned()),
        }
    }
}
