//! How `object_store` reaches the network: hyper with rustls and ring, which this server has anyway.

use async_trait::async_trait;
use axum::http::Uri;
use ghoststream::{Error, ErrorKind, Result};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector as MakesClients, HttpError, HttpErrorKind, HttpRequest,
    HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long it may take until there is a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(60);

/// Makes clients for `object_store`: one for the store, and others where its credentials come from.
pub(super) struct Connector {
    tls: Option<ClientConfig>,
    patience: Duration,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// Servers have to show a certificate signed by one in `ca_file`, or by a public authority without it; a request may take
    /// `patience`.
    ///
    /// # Errors
    /// For a file that cannot be read or has no certificate.
    pub fn new(ca_file: Option<&Path>, patience: Duration) -> Result<Connector> {
        let tls = ca_file.map(trusting).transpose()?;
        Ok(Connector { tls, patience })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn trusting(file: &Path) -> Result<ClientConfig> {
    let failed =
        |why: String| Error::new(ErrorKind::Invalid, format!("store.ca_file: {}: {why}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| failed(e.to_string()))? {
        let certificate = certificate.map_err(|e| failed(e.to_string()))?;
        roots.add(certificate).map_err(|e| failed(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("it has no certificate".into()));
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(e.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

impl MakesClients for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT.min(self.patience)));
        tcp.set_nodelay(true);
        let builder = HttpsConnectorBuilder::new();
        let builder = match &self.tls {
            Some(tls) => builder.with_tls_config(tls.clone()),
            None => builder
                .with_provider_and_webpki_roots(provider())
                .map_err(|e| object_store::Error::Generic { store: "HTTP", source: Box::new(e) })?,
        };
        let plain = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let builder = if plain { builder.https_or_http() } else { builder.https_only() };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(builder.enable_http1().wrap_connector(tcp));
        Ok(HttpClient::new(Service { client, patience: self.patience }))
    }
}

#[derive(Debug)]
struct Service {
    client: Client<HttpsConnector<HttpConnector>, HttpRequestBody>,
    patience: Duration,
}

#[derive(Debug)]
struct Late;

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer in time (store.timeout_seconds)")
    }
}

impl std::error::Error for Late {}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        // What the request was signed with; hyper makes no such header of its own for HTTP/1 when it is there.
        if let Some(host) = request.uri().authority().map(|a| a.as_str().to_string())
            && let Ok(value) = host.parse()
        {
            request.headers_mut().entry("host").or_insert(value);
        }
        let uri: Uri = request.uri().clone();
        let answer = tokio::time::timeout(self.patience, self.client.request(request)).await;
        let answer = answer.map_err(|_| HttpError::new(HttpErrorKind::Timeout, Late))?;
        let answer = answer.map_err(|e| {
            // What cannot be connected to, and what broke off, may be there in a moment.
            let kind = if e.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Request };
            tracing::debug!(host = uri.host().unwrap_or_default(), "a request to the store failed: {e}");
            HttpError::new(kind, e)
        })?;
        let (parts, body) = answer.into_parts();
        let body = http_body_util::BodyExt::map_err(body, |e| HttpError::new(HttpErrorKind::Interrupted, e));
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}
