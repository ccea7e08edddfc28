//! HTTPS: a certificate and its key, which can be renewed while the server runs.

use crate::config::ServerConfig;
use ghoststream::{Error, ErrorKind, Result};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;

/// What a listener for HTTPS needs. Cheap to clone; clones share the certificate.
#[derive(Clone, Debug)]
pub struct Tls {
    current: Arc<Current>,
    provider: Arc<CryptoProvider>,
}

/// A certificate that fits its key.
#[derive(Debug)]
pub struct Certificate(Arc<CertifiedKey>);

/// The certificate of this moment.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Tls {
    /// With the certificate that the settings name; `None` when they name no port for it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the setting whose file is missing, unreadable or does not fit.
    pub fn open(config: &ServerConfig) -> Result<Option<Tls>> {
        if config.tls_port.is_none() {
            return Ok(None);
        }
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(Current(RwLock::new(read(config, &provider)?)));
        Ok(Some(Tls { current, provider }))
    }

    /// Reads the files again, for [`Tls::renew`]. What is in use stays so.
    ///
    /// # Errors
    /// As [`Tls::open`].
    pub fn read(&self, config: &ServerConfig) -> Result<Certificate> {
        read(config, &self.provider).map(Certificate)
    }

    /// Connections from now on get this certificate.
    pub fn renew(&self, certificate: Certificate) {
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = certificate.0;
    }

    /// What takes connections: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the cryptography that is built in has no such version.
    pub fn acceptor(&self) -> Result<TlsAcceptor> {
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::with_source(ErrorKind::Unsupported, "TLS", e))?
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn read(config: &ServerConfig, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>> {
    let path = |key: &'static str, path: &'_ Option<std::path::PathBuf>| {
        path.clone().ok_or_else(|| Error::invalid(key, "a file in PEM form is needed for server.tls_port"))
    };
    let certificate = path("server.tls_certificate", &config.tls_certificate)?;
    let key = path("server.tls_key", &config.tls_key)?;
    let wrong = |key: &'static str, path: &Path, why: String| {
        Error::invalid(key, format!("{}: {why}", path.display()))
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect)
        .map_err(|e| wrong("server.tls_certificate", &certificate, e.to_string()))?;
    if chain.is_empty() {
        return Err(wrong("server.tls_certificate", &certificate, "there is no certificate in it".into()));
    }
    let secret =
        PrivateKeyDer::from_pem_file(&key).map_err(|e| wrong("server.tls_key", &key, e.to_string()))?;
    CertifiedKey::from_der(chain, secret, provider)
        .map(Arc::new)
        .map_err(|e| wrong("server.tls_key", &key, format!("it does not fit the certificate: {e}")))
}
