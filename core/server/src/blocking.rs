//! The server for programs without a tokio runtime: the command, C and Python.

use crate::config::{Config, Overrides, load_from};
use crate::server::Server;
use ghoststream::{Error, ErrorKind, Result};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;

/// A [`Server`] on a runtime of its own. Any thread, except one that belongs to a tokio runtime: its calls block. Dropping
/// it ends the server.
#[derive(Debug)]
pub struct Blocking {
    runtime: Option<Runtime>,
    addresses: Vec<SocketAddr>,
    server: Mutex<Option<Server>>,
}

impl Blocking {
    /// Starts a server.
    ///
    /// # Errors
    /// Those of [`Server::start`].
    pub fn start(config: Config) -> Result<Blocking> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().thread_name("gs-server").enable_all().build();
        let runtime =
            runtime.map_err(|e| Error::new(ErrorKind::Io, format!("start the server's threads: {e}")))?;
        let server = runtime.block_on(Server::start(config))?;
        let addresses = server.addresses().to_vec();
        Ok(Blocking { runtime: Some(runtime), addresses, server: Mutex::new(Some(server)) })
    }

    /// Starts a server with settings from a document: the keys of `ghoststream.yaml` as YAML or JSON. No file and no
    /// environment is read; an empty text means the defaults. `worker` runs one job where the document does not say how.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the key, and those of [`Server::start`].
    pub fn from_document(document: &str, worker: &[String]) -> Result<Blocking> {
        let config = load_from("", document, [], &Overrides::default());
        let mut config = config.map_err(|e| Error::new(ErrorKind::Invalid, e.to_string()))?;
        if config.transcoding.worker_command.is_empty() {
            config.transcoding.worker_command = worker.to_vec();
        }
        Blocking::start(config)
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses that it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it listens and what it does; after the end only where it did.
    pub fn status(&self) -> Value {
        match &*self.server() {
            Some(server) => server.status(),
            None => serde_json::json!({ "addresses": self.addresses, "state": "stopped" }),
        }
    }

    /// As [`Server::reload`].
    ///
    /// # Errors
    /// Those of [`Server::reload`], and [`ErrorKind::State`] after the end.
    pub fn reload(&self, config: Config) -> Result<Vec<&'static str>> {
        match &*self.server() {
            Some(server) => server.reload(config),
            None => Err(Error::new(ErrorKind::State, "the server has ended")),
        }
    }

    /// Begins the end and returns at once; a second call does nothing.
    pub fn stop(&self) {
        if let (Some(server), Some(runtime)) = (self.server().take(), &self.runtime) {
            runtime.spawn(server.shutdown());
        }
    }

    /// Ends the server and waits for it, some seconds at most.
    pub fn end(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        let server = self.server().take();
        let Some(runtime) = self.runtime.take() else { return };
        if let Some(server) = server {
            runtime.block_on(server.shutdown());
        }
        runtime.shutdown_timeout(Duration::from_secs(15));
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.finish();
    }
}
