//! Settings of the object store.

use super::Secret;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where files are put that others fetch: an object store with S3's interface, or a directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreConfig {
    /// `s3://bucket/prefix` or `file:///directory`; `None` for none.
    pub url: Option<String>,
    /// The store's address when it is not AWS's: `https://host[:port]`.
    pub endpoint: Option<String>,
    /// Its region; without it `AWS_REGION`, or `us-east-1`.
    pub region: Option<String>,
    /// Without it `AWS_ACCESS_KEY_ID`, or the role of the machine or container.
    pub access_key: Option<Secret>,
    /// Without it `AWS_SECRET_ACCESS_KEY`.
    pub secret_key: Option<Secret>,
    /// Without it `AWS_SESSION_TOKEN`.
    pub session_token: Option<Secret>,
    /// Whether the bucket is in the host's name (`https://bucket.host/`), not in the path.
    pub virtual_hosted: bool,
    /// Whether it may be spoken to without TLS.
    pub allow_http: bool,
    /// A PEM file of who signed the store's certificate, in place of the public authorities.
    pub ca_file: Option<PathBuf>,
    /// How often a request that failed is made again; the pauses grow from 0.1 s to 3 s.
    pub retries: u32,
    /// How long one request may take, in seconds.
    pub timeout_seconds: f64,
    /// Whether the HLS and DASH of all live streams is put there, below `streams/NAME/`.
    pub live: bool,
    /// Whether what finished jobs made is put there, below `jobs/ID/`; not of jobs on demand, which never make everything.
    pub jobs: bool,
    /// How long files of finished jobs stay there, in seconds; without it until the job is deleted, or forgotten a day after
    /// its own files went.
    pub keep_jobs_seconds: Option<f64>,
    /// How far back one can seek there, in seconds; without it as far as at this server. Older files are removed.
    pub window_seconds: Option<f64>,
    /// How long the files of a stream that has ended stay, in seconds; without it until the stream is there again.
    pub keep_seconds: Option<f64>,
    /// The most that waits for the store, per stream, in MiB; what is too much is lost, the oldest first.
    pub queue_mb: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            url: None,
            endpoint: None,
            region: None,
            access_key: None,
            secret_key: None,
            session_token: None,
            virtual_hosted: false,
            allow_http: false,
            ca_file: None,
            retries: 5,
            timeout_seconds: 30.0,
            live: true,
            jobs: true,
            keep_jobs_seconds: None,
            window_seconds: None,
            keep_seconds: None,
            queue_mb: 64,
        }
    }
}

impl StoreConfig {
    /// Checks what types alone cannot say; the message names the key.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(url) = &self.url {
            crate::store::Address::parse(url).map_err(|e| e.message().to_string())?;
        }
        match &self.endpoint {
            Some(e) if !(e.starts_with("https://") || e.starts_with("http://")) => {
                return Err(format!("store.endpoint: {e:?} does not begin with http:// or https://"));
            }
            Some(e) if e.starts_with("http://") && !self.allow_http => {
                return Err(format!("store.endpoint: {e} is without TLS, which needs store.allow_http"));
            }
            _ => {}
        }
        if self.access_key.is_some() != self.secret_key.is_some() {
            return Err("store.access_key: it and store.secret_key need each other".into());
        }
        if self.session_token.is_some() && self.access_key.is_none() {
            return Err("store.session_token: it is part of store.access_key and store.secret_key".into());
        }
        if self.retries > 20 {
            return Err(format!("store.retries: {} is not between 0 and 20", self.retries));
        }
        if !(0.5..=3600.0).contains(&self.timeout_seconds) {
            return Err(format!(
                "store.timeout_seconds: {} is not between 0.5 and 3600",
                self.timeout_seconds
            ));
        }
        if let Some(window) = self.window_seconds.filter(|w| !(1.0..=86_400.0).contains(w)) {
            return Err(format!("store.window_seconds: {window} is not between 1 and 86400"));
        }
        if let Some(keep) = self.keep_seconds.filter(|k| !(0.0..=1e9).contains(k)) {
            return Err(format!("store.keep_seconds: {keep} is not between 0 and 1e9"));
        }
        if let Some(keep) = self.keep_jobs_seconds.filter(|k| !(0.0..=1e9).contains(k)) {
            return Err(format!("store.keep_jobs_seconds: {keep} is not between 0 and 1e9"));
        }
        if !(1..=65_536).contains(&self.queue_mb) {
            return Err(format!("store.queue_mb: {} is not between 1 and 65536", self.queue_mb));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_by_its_key() {
        let refused = |change: fn(&mut StoreConfig), said: &str| {
            let mut config = StoreConfig::default();
            change(&mut config);
            let why = config.check().unwrap_err();
            assert!(why.starts_with(said), "{why}");
        };
        StoreConfig::default().check().unwrap();
        refused(|c| c.url = Some("http://bucket".into()), "store.url: ");
        refused(|c| c.url = Some("s3:///prefix".into()), "store.url: ");
        refused(|c| c.url = Some("file://relative/path".into()), "store.url: ");
        refused(|c| c.endpoint = Some("minio:9000".into()), "store.endpoint: ");
        refused(|c| c.endpoint = Some("http://minio:9000".into()), "store.endpoint: ");
        refused(|c| c.secret_key = Some(Secret::new("x")), "store.access_key: ");
        refused(|c| c.session_token = Some(Secret::new("x")), "store.session_token: ");
        refused(|c| c.timeout_seconds = 0.0, "store.timeout_seconds: ");
        refused(|c| c.retries = 1000, "store.retries: ");
        refused(|c| c.window_seconds = Some(0.0), "store.window_seconds: ");
        refused(|c| c.keep_seconds = Some(-1.0), "store.keep_seconds: ");
        refused(|c| c.keep_jobs_seconds = Some(f64::NAN), "store.keep_jobs_seconds: ");
        refused(|c| c.queue_mb = 0, "store.queue_mb: ");
    }
}
