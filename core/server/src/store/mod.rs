//! [`Store`]: files for others to fetch, in an object store with S3's interface or in a directory.
//!
//! The object store is spoken to by the crate `object_store` over this server's own HTTP client (`http`: hyper and ring, no
//! second library for TLS). Requests that fail for a reason that may pass are made again, with pauses that grow.

mod http;
mod key;

pub use key::check as check_key;

use crate::config::{Secret, StoreConfig};
use bytes::Bytes;
use futures_util::TryStreamExt;
use ghoststream::{Error, ErrorKind, Result};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, GetOptions, GetRange, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, RetryConfig,
};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncReadExt;

/// How long a file that is never changed may be kept by caches.
pub const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// How long a playlist that grows may be kept by caches.
pub const A_MOMENT: &str = "max-age=1";

/// What is put there in one request, and the size of the parts of a longer file.
const PART: u64 = 5 << 20;
/// The most parts that a file has; S3 takes 10000.
const MOST_PARTS: u64 = 9_000;

/// What `store.url` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `s3://bucket/prefix`.
    Bucket {
        /// The bucket's name.
        bucket: String,
        /// What all keys begin with; no slash at its ends, empty for none.
        prefix: String,
    },
    /// `file:///directory`.
    Directory(PathBuf),
}

impl Address {
    /// Reads `store.url`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming `store.url`.
    pub fn parse(url: &str) -> Result<Address> {
        let bad = |why: &str| Err(Error::invalid("store.url", format!("{url:?}: {why}")));
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_matches('/');
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            if bucket.is_empty() || !bucket.bytes().all(plain) {
                return bad("it names no bucket");
            }
            if !prefix.is_empty() {
                key::check(prefix).map_err(|e| Error::invalid("store.url", e.message()))?;
            }
            return Ok(Address::Bucket { bucket: bucket.into(), prefix: prefix.into() });
        }
        match url.strip_prefix("file://") {
            Some(path) if path.starts_with('/') => Ok(Address::Directory(path.into())),
            Some(_) => bad("the path of a directory begins with a slash: file:///directory"),
            None => bad("it is neither s3://bucket/prefix nor file:///directory"),
        }
    }
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its key.
    pub key: String,
    /// Length in bytes.
    pub size: u64,
    /// When it was put there.
    pub modified: SystemTime,
}

/// Some of a file.
#[derive(Clone, Debug)]
pub struct FilePiece {
    /// The bytes.
    pub bytes: Bytes,
    /// Length of the whole file.
    pub size: u64,
    /// When it was put there.
    pub modified: SystemTime,
    /// What names this very file, where the store has such.
    pub tag: Option<String>,
}

/// An object store or a directory. Cheap to clone; all methods may be called from any thread of a tokio runtime, and all of
/// them try again as often as the settings say before they fail. Errors name the key.
///
/// A key is a path of names with single slashes between them: see [`check_key`].
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    prefix: String,
    label: Arc<str>,
    /// Whether the store keeps content types; a directory does not.
    attributes: bool,
    patience: Duration,
}

impl Store {
    /// Opens what `config` names. Nothing is asked of an object store yet; a directory is made when it is missing.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming a key of the settings; an I/O error for a directory or `ca_file` that cannot be used.
    pub fn open(config: &StoreConfig) -> Result<Store> {
        let url = config.url.as_deref().ok_or_else(|| Error::invalid("store.url", "there is none"))?;
        let patience = Duration::from_secs_f64(config.timeout_seconds);
        match Address::parse(url)? {
            Address::Directory(path) => {
                let failed = |e: std::io::Error| Error::from(e).context(format!("store.url: {url}"));
                std::fs::create_dir_all(&path).map_err(failed)?;
                let inner = LocalFileSystem::new_with_prefix(&path)
                    .map_err(|e| error(e, url))?
                    .with_automatic_cleanup(true);
                Ok(Store {
                    inner: Arc::new(inner),
                    prefix: String::new(),
                    label: url.into(),
                    attributes: false,
                    patience,
                })
            }
            Address::Bucket { bucket, prefix } => {
                let reveal = |secret: &Option<Secret>| secret.as_ref().map(|s| s.reveal().to_string());
                let mut options = ClientOptions::new().with_timeout(patience);
                if config.allow_http {
                    options = options.with_allow_http(true);
                }
                let retry = RetryConfig {
                    backoff: BackoffConfig {
                        init_backoff: Duration::from_millis(100),
                        max_backoff: Duration::from_secs(3),
                        base: 2.0,
                    },
                    max_retries: config.retries as usize,
                    // Credentials in a request may be over after five minutes.
                    retry_timeout: (patience * 4).min(Duration::from_secs(240)),
                };
                let mut builder = AmazonS3Builder::from_env()
                    .with_bucket_name(&bucket)
                    .with_virtual_hosted_style_request(config.virtual_hosted)
                    .with_conditional_put(S3ConditionalPut::ETagMatch)
                    .with_client_options(options)
                    .with_retry(retry)
                    .with_http_connector(http::Connector::new(config.ca_file.as_deref(), patience)?);
                if let Some(endpoint) = &config.endpoint {
                    builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
                }
                if let Some(region) = &config.region {
                    builder = builder.with_region(region);
                }
                if let (Some(id), Some(secret)) = (reveal(&config.access_key), reveal(&config.secret_key)) {
                    builder = builder.with_access_key_id(id).with_secret_access_key(secret);
                    if let Some(token) = reveal(&config.session_token) {
                        builder = builder.with_token(token);
                    }
                }
                let inner = builder.build().map_err(|e| Error::invalid("store", chain(&e)))?;
                Ok(Store { inner: Arc::new(inner), prefix, label: url.into(), attributes: true, patience })
            }
        }
    }

    /// What `inner` has.
    #[cfg(test)]
    pub(crate) fn over(inner: Arc<dyn ObjectStore>) -> Store {
        let patience = Duration::from_secs(60);
        Store { inner, prefix: String::new(), label: "test".into(), attributes: false, patience }
    }

    /// What it is called in messages: `store.url`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Puts a file there, in place of one that has the key; who fetches it gets the old one or the new one, never a half.
    /// `content_type` and `cache_control` are what an object store answers with; a directory has no place for them.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a key, [`ErrorKind::Denied`], [`ErrorKind::Io`] when the store cannot be reached.
    pub async fn put(&self, key: &str, data: Bytes, content_type: &str, cache_control: &str) -> Result<()> {
        self.put_chunks(key, vec![data], content_type, cache_control).await
    }

    /// As [`Store::put`], of data that is in several pieces: they are not copied together.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub async fn put_chunks(
        &self,
        key: &str,
        data: Vec<Bytes>,
        content_type: &str,
        cache_control: &str,
    ) -> Result<()> {
        let options =
            PutOptions { attributes: self.attributes(content_type, cache_control), ..PutOptions::default() };
        let path = self.path(key)?;
        self.inner.put_opts(&path, payload(data), options).await.map_err(|e| error(e, key))?;
        Ok(())
    }

    /// Puts a file of this machine there, in parts when it is long, and gives its length. One part is in memory at a time; who
    /// fetches it gets the whole or nothing.
    ///
    /// # Errors
    /// As [`Store::put`]; the file cannot be read.
    pub async fn put_file(
        &self,
        key: &str,
        file: &std::path::Path,
        content_type: &str,
        cache_control: &str,
    ) -> Result<u64> {
        let unread = |e: std::io::Error| Error::from(e).context(format!("store: {key}: {}", file.display()));
        let path = self.path(key)?;
        let mut open = tokio::fs::File::open(file).await.map_err(unread)?;
        let length = open.metadata().await.map_err(unread)?.len();
        if length <= PART {
            let mut data = Vec::new();
            open.read_to_end(&mut data).await.map_err(unread)?;
            self.put(key, data.into(), content_type, cache_control).await?;
            return Ok(length);
        }
        let options = PutMultipartOptions {
            attributes: self.attributes(content_type, cache_control),
            ..PutMultipartOptions::default()
        };
        let begun = self.inner.put_multipart_opts(&path, options).await;
        let mut parts = begun.map_err(|e| error(e, key))?;
        let sent = match put_parts(parts.as_mut(), &mut open, PART.max(length / MOST_PARTS + 1)).await {
            Ok(sent) => sent.map_err(unread),
            Err(e) => Err(error(e, key)),
        };
        if let Err(e) = sent {
            // The first error is the one to tell; what is left of the parts goes by the bucket's rules.
            let _aborted = parts.abort().await;
            return Err(e);
        }
        parts.complete().await.map_err(|e| error(e, key))?;
        Ok(length)
    }

    /// Puts a file there unless there is one with the key: `false` when there is. Of several who try at once, one gets
    /// `true`.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub async fn create(
        &self,
        key: &str,
        data: Bytes,
        content_type: &str,
        cache_control: &str,
    ) -> Result<bool> {
        let options = PutOptions {
            mode: PutMode::Create,
            attributes: self.attributes(content_type, cache_control),
            ..PutOptions::default()
        };
        let path = self.path(key)?;
        match self.inner.put_opts(&path, data.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(false)
            }
            Err(e) => Err(error(e, key)),
        }
    }

    /// A whole file.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none; as [`Store::put`].
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        let path = self.path(key)?;
        let fetched = async { self.inner.get(&path).await?.bytes().await };
        fetched.await.map_err(|e| error(e, key))
    }

    /// A whole file of `most` bytes at most, and when it was put there.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none; [`ErrorKind::Unsupported`] for a larger one; as [`Store::put`].
    pub async fn fetch(&self, key: &str, most: u64) -> Result<(Bytes, SystemTime)> {
        let path = self.path(key)?;
        let found = self.inner.get(&path).await.map_err(|e| error(e, key))?;
        let (size, modified) = (found.meta.size, found.meta.last_modified.into());
        if size > most {
            return Err(Error::unsupported(format!("store: {key}: {size} bytes are too many")));
        }
        Ok((found.bytes().await.map_err(|e| error(e, key))?, modified))
    }

    /// `range` of a file, or what of it there is; `same`: of the one that an earlier piece was of.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no file; [`ErrorKind::Io`] when it is another one now; as [`Store::put`].
    pub async fn piece(&self, key: &str, range: Range<u64>, same: Option<String>) -> Result<FilePiece> {
        let path = self.path(key)?;
        let first = range.start == 0;
        let options =
            GetOptions { range: Some(GetRange::Bounded(range)), if_match: same, ..GetOptions::default() };
        let found = match self.inner.get_opts(&path, options).await {
            Ok(found) => found,
            Err(missing @ object_store::Error::NotFound { .. }) => return Err(error(missing, key)),
            // No range of an empty file can be had.
            Err(e) => match self.inner.head(&path).await {
                Ok(meta) if first && meta.size == 0 => {
                    let modified = meta.last_modified.into();
                    return Ok(FilePiece { bytes: Bytes::new(), size: 0, modified, tag: meta.e_tag });
                }
                _ => return Err(error(e, key)),
            },
        };
        let (size, modified) = (found.meta.size, found.meta.last_modified.into());
        let tag = found.meta.e_tag.clone();
        Ok(FilePiece { bytes: found.bytes().await.map_err(|e| error(e, key))?, size, modified, tag })
    }

    /// A file without what is in it; `None` when there is none.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub async fn head(&self, key: &str) -> Result<Option<Stored>> {
        let path = self.path(key)?;
        match self.inner.head(&path).await {
            Ok(meta) => Ok(Some(self.stored(meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(error(e, key)),
        }
    }

    /// Whether there is such a file.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub async fn exists(&self, key: &str) -> Result<bool> {
        Ok(self.head(key).await?.is_some())
    }

    /// All files below `prefix`, a path of whole names (`live/a` has no `live/ab/file`); empty for all.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<Stored>> {
        let path = match (prefix.is_empty(), self.prefix.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Path::parse(&self.prefix).map_err(|e| error(e.into(), prefix))?),
            _ => Some(self.path(prefix)?),
        };
        let all: Vec<ObjectMeta> =
            self.inner.list(path.as_ref()).try_collect().await.map_err(|e| error(e, prefix))?;
        let mut all: Vec<Stored> = all.into_iter().map(|meta| self.stored(meta)).collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(all)
    }

    /// Removes a file. One that is not there is removed already.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        match self.inner.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(error(e, key)),
        }
    }

    /// How long one request may take.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    fn path(&self, key: &str) -> Result<Path> {
        key::check(key)?;
        let whole = match self.prefix.is_empty() {
            true => key.to_string(),
            false => format!("{}/{key}", self.prefix),
        };
        Path::parse(whole).map_err(|e| Error::invalid("key", e))
    }

    fn attributes(&self, content_type: &str, cache_control: &str) -> Attributes {
        let mut attributes = Attributes::new();
        if self.attributes {
            attributes.insert(Attribute::ContentType, content_type.to_string().into());
            attributes.insert(Attribute::CacheControl, cache_control.to_string().into());
        }
        attributes
    }

    fn stored(&self, meta: ObjectMeta) -> Stored {
        let whole: &str = meta.location.as_ref();
        let key = whole.strip_prefix(self.prefix.as_str()).unwrap_or(whole).trim_start_matches('/');
        Stored { key: key.into(), size: meta.size, modified: meta.last_modified.into() }
    }
}

/// All of `file`, in parts of `size`. The inner error is the file's.
async fn put_parts(
    parts: &mut dyn MultipartUpload,
    file: &mut tokio::fs::File,
    size: u64,
) -> object_store::Result<std::io::Result<()>> {
    loop {
        let mut data = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        match (&mut *file).take(size).read_to_end(&mut data).await {
            Ok(0) => return Ok(Ok(())),
            Ok(_) => parts.put_part(data.into()).await?,
            Err(e) => return Ok(Err(e)),
        }
    }
}

fn payload(chunks: Vec<Bytes>) -> PutPayload {
    chunks.into_iter().collect()
}

/// What went wrong, in one line: the causes of these errors say what the errors do not.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

fn error(error: object_store::Error, key: &str) -> Error {
    use object_store::Error as Failed;
    let kind = match &error {
        Failed::NotFound { .. } => ErrorKind::NotFound,
        Failed::InvalidPath { .. } => ErrorKind::Invalid,
        Failed::PermissionDenied { .. } | Failed::Unauthenticated { .. } => ErrorKind::Denied,
        Failed::NotSupported { .. } | Failed::NotImplemented { .. } => ErrorKind::Unsupported,
        Failed::AlreadyExists { .. } => ErrorKind::Busy,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("store: {key}: {}", chain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(path: &std::path::Path) -> Store {
        let url = Some(format!("file://{}", path.display()));
        Store::open(&StoreConfig { url, ..StoreConfig::default() }).unwrap()
    }

    #[test]
    fn addresses_are_read() {
        let bucket =
            |bucket: &str, prefix: &str| Address::Bucket { bucket: bucket.into(), prefix: prefix.into() };
        assert_eq!(Address::parse("s3://b").unwrap(), bucket("b", ""));
        assert_eq!(Address::parse("s3://b/").unwrap(), bucket("b", ""));
        assert_eq!(Address::parse("s3://b/p/q/").unwrap(), bucket("b", "p/q"));
        assert_eq!(Address::parse("file:///tmp/x").unwrap(), Address::Directory("/tmp/x".into()));
        for bad in ["", "b", "s3://", "s3:///x", "s3://b/../x", "file://x", "https://host/b", "s3://u:p@b"] {
            assert_eq!(Address::parse(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_directory_is_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = directory(&dir.path().join("new"));
        let put = |key: &'static str, data: &'static str| store.put(key, data.into(), "text/plain", A_MOMENT);
        put("a/b/one.txt", "first").await.unwrap();
        put("a/b/one.txt", "second").await.unwrap();
        put("a/two.txt", "2").await.unwrap();
        put("ab/three.txt", "3").await.unwrap();
        assert_eq!(store.get("a/b/one.txt").await.unwrap(), "second");
        let keys = |all: Vec<Stored>| all.into_iter().map(|s| (s.key, s.size)).collect::<Vec<_>>();
        let of_a = keys(store.list("a").await.unwrap());
        assert_eq!(of_a, [("a/b/one.txt".to_string(), 6), ("a/two.txt".into(), 1)], "not ab");
        assert_eq!(store.list("").await.unwrap().len(), 3);
        assert!(store.list("nothing").await.unwrap().is_empty());
        assert!(store.exists("a/two.txt").await.unwrap());
        store.delete("a/two.txt").await.unwrap();
        store.delete("a/two.txt").await.unwrap();
        assert!(!store.exists("a/two.txt").await.unwrap());
        let missing = store.get("a/two.txt").await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(missing.message().contains("a/two.txt"), "{missing}");
        assert!(store.create("lock", "me".into(), "text/plain", A_MOMENT).await.unwrap());
        assert!(!store.create("lock", "you".into(), "text/plain", A_MOMENT).await.unwrap());
        assert_eq!(store.get("lock").await.unwrap(), "me");
        let pieces = vec![Bytes::from("ab"), Bytes::from("cd")];
        store.put_chunks("joined", pieces, "text/plain", FOR_EVER).await.unwrap();
        assert_eq!(store.get("joined").await.unwrap(), "abcd");
        let long: Vec<u8> = (0..PART * 2 + 7).map(|n| (n % 251) as u8).collect();
        let file = dir.path().join("long");
        std::fs::write(&file, &long).unwrap();
        assert_eq!(store.put_file("long", &file, "video/mp4", FOR_EVER).await.unwrap(), PART * 2 + 7);
        assert_eq!(store.get("long").await.unwrap(), long);
        assert!(store.put_file("none", &dir.path().join("none"), "video/mp4", FOR_EVER).await.is_err());
        assert!(!store.exists("none").await.unwrap());
    }

    #[tokio::test]
    async fn no_key_leads_out_of_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = directory(&dir.path().join("inside"));
        std::fs::write(dir.path().join("outside"), "secret").unwrap();
        for key in ["../outside", "a/../../outside", "/etc/passwd", "", "a//b", "a/", "."] {
            assert_eq!(store.get(key).await.unwrap_err().kind(), ErrorKind::Invalid, "{key}");
            let put = store.put(key, "x".into(), "text/plain", A_MOMENT).await;
            assert_eq!(put.unwrap_err().kind(), ErrorKind::Invalid, "{key}");
            assert_eq!(store.delete(key).await.unwrap_err().kind(), ErrorKind::Invalid, "{key}");
        }
        assert_eq!(std::fs::read(dir.path().join("outside")).unwrap(), b"secret");
    }

    #[tokio::test]
    async fn a_store_that_is_away_is_said_so_with_the_key_and_without_secrets() {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = StoreConfig {
            url: Some("s3://bucket/pre".into()),
            endpoint: Some(format!("http://127.0.0.1:{port}")),
            access_key: Some(Secret::new("the-id")),
            secret_key: Some(Secret::new("the-secret")),
            allow_http: true,
            retries: 1,
            ..StoreConfig::default()
        };
        let store = Store::open(&config).unwrap();
        let why = store.put("live/x.m3u8", "x".into(), "text/plain", A_MOMENT).await.unwrap_err();
        assert_eq!(why.kind(), ErrorKind::Io);
        assert!(why.message().contains("live/x.m3u8"), "{why}");
        assert!(!why.message().contains("the-secret") && !why.message().contains("the-id"), "{why}");
        assert!(!format!("{config:?}{store:?}").contains("the-secret"));
    }
}
