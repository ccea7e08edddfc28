//! Capability tokens: who was told of a job may control it, who was given its stream may play it. The format is the second
//! generation's: base64url(JSON with sorted keys) "." base64url(HMAC-SHA256(node secret, first part)).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ghoststream::spec::Plain;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See, cancel, delete and leave a job, and play it too.
    Control,
    /// Play and download it.
    Stream,
}

/// Why a token does not help, in the words that clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// None was sent.
    Missing,
    /// It cannot be read.
    Malformed,
    /// Not signed by this node.
    Signature,
    /// It allows something else.
    Scope,
    /// It is for another job.
    Job,
    /// Its time is over.
    Expired,
    /// Its job is gone.
    Revoked,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Denied::Missing => "Missing capability token",
            Denied::Malformed => "Malformed capability token",
            Denied::Signature => "Invalid capability signature",
            Denied::Scope => "Capability scope does not match the requested action",
            Denied::Job => "Capability does not match the requested job",
            Denied::Expired => "Capability has expired",
            Denied::Revoked => "Job capability has been revoked",
        })
    }
}

/// What is signed. Serde keeps the order of fields, which is the sorted one.
#[derive(Serialize, Deserialize)]
struct Claims {
    exp: u64,
    iat: u64,
    job_id: String,
    jti: String,
    node_id: String,
    scope: Scope,
}

/// Who this node is, as it is kept between runs. Tokens are signed with the newest secret and checked with all, so that a
/// rotation does not end what is being watched.
#[derive(Clone, Serialize, Deserialize)]
struct Identity {
    node_id: String,
    /// Hexadecimal; the name is the original's.
    node_secret: String,
    /// Unix seconds.
    #[serde(default)]
    created_at: u64,
    #[serde(default)]
    previous: Vec<Old>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Old {
    node_secret: String,
    /// Unix seconds; after that it is forgotten.
    until: u64,
}

impl Identity {
    /// Another secret at `now`; the one before is good for tokens that are valid `ttl` seconds.
    fn renew(&mut self, now: u64, ttl: u64) {
        let old = std::mem::replace(&mut self.node_secret, random());
        self.previous.retain(|old| old.until > now);
        if !old.is_empty() {
            self.previous.push(Old { node_secret: old, until: now + ttl });
        }
        self.created_at = now;
    }
}

/// How long a secret signs.
const ROTATION: u64 = 30 * 86_400;

/// Mints and checks tokens. Any thread.
pub struct Tokens {
    identity: RwLock<Identity>,
    ttl: u64,
    file: PathBuf,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl Tokens {
    /// With the identity kept in `directory`, which is made with both if it is not there; a secret that has signed for a
    /// month is replaced. `ttl` is how long a token is valid, in seconds.
    ///
    /// # Errors
    /// The directory or the file cannot be read or written, or the file is damaged.
    pub fn open(directory: &Path, ttl: u64) -> io::Result<Tokens> {
        let file = directory.join("node_identity.json");
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", file.display()));
        std::fs::create_dir_all(directory).map_err(named)?;
        let now = unix();
        let mut identity = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice::<Identity>(&bytes)
                .map_err(|e| named(io::Error::new(io::ErrorKind::InvalidData, e)))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Identity {
                node_id: uuid::Uuid::new_v4().to_string(),
                node_secret: String::new(),
                created_at: 0,
                previous: Vec::new(),
            },
            Err(e) => return Err(named(e)),
        };
        if identity.node_secret.is_empty() || identity.created_at + ROTATION < now {
            identity.renew(now, ttl);
            keep(&file, &identity).map_err(named)?;
        }
        identity.previous.retain(|old| old.until > now);
        Ok(Tokens { identity: RwLock::new(identity), ttl, file })
    }

    /// Signs with a new secret from now on. What the one before has signed stays valid for its time.
    ///
    /// # Errors
    /// The new one cannot be kept; the old one goes on signing.
    pub fn rotate(&self) -> io::Result<()> {
        self.rotate_at(unix())
    }

    /// As [`Tokens::rotate`], if the secret has signed for a month.
    ///
    /// # Errors
    /// As [`Tokens::rotate`].
    pub fn rotate_in_time(&self) -> io::Result<()> {
        let now = unix();
        if self.read().created_at + ROTATION >= now { Ok(()) } else { self.rotate_at(now) }
    }

    fn rotate_at(&self, now: u64) -> io::Result<()> {
        let mut identity = self.identity.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut next = identity.clone();
        next.renew(now, self.ttl);
        keep(&self.file, &next)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.file.display())))?;
        *identity = next;
        Ok(())
    }

    /// Who this node is, for signed registrations.
    pub fn node(&self) -> crate::discovery::Identity {
        let identity = self.read();
        crate::discovery::Identity {
            node_id: identity.node_id.clone(),
            secret: identity.node_secret.clone().into_bytes(),
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Identity> {
        self.identity.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A new token for `job`.
    pub fn mint(&self, job: &str, scope: Scope) -> String {
        self.mint_at(job, scope, unix())
    }

    fn mint_at(&self, job: &str, scope: Scope, now: u64) -> String {
        let identity = self.read();
        let claims = Claims {
            exp: now + self.ttl,
            iat: now,
            job_id: job.into(),
            jti: uuid::Uuid::new_v4().simple().to_string(),
            node_id: identity.node_id.clone(),
            scope,
        };
        let body = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).unwrap_or_default());
        let signature = signed(&identity.node_secret, &body).finalize().into_bytes();
        format!("{body}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    /// Whether `token` allows `scope` on `job`. Control includes the stream.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, token: Option<&str>, job: &str, scope: Scope) -> Result<(), Denied> {
        self.check_at(token, job, scope, unix())
    }

    fn check_at(&self, token: Option<&str>, job: &str, scope: Scope, now: u64) -> Result<(), Denied> {
        let token = token.filter(|t| !t.is_empty()).ok_or(Denied::Missing)?;
        let (body, signature) = token.split_once('.').ok_or(Denied::Malformed)?;
        let decode = |text: &str| {
            BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| Denied::Malformed)
        };
        let signature = decode(signature)?;
        let identity = self.read();
        let mut secrets =
            std::iter::once(&identity.node_secret).chain(identity.previous.iter().map(|o| &o.node_secret));
        // Compared in constant time by the MAC.
        if !secrets.any(|secret| signed(secret, body).verify_slice(&signature).is_ok()) {
            return Err(Denied::Signature);
        }
        let Plain::<Claims>(claims) =
            serde_json::from_slice(&decode(body)?).map_err(|_| Denied::Malformed)?;
        if claims.exp <= now {
            return Err(Denied::Expired);
        }
        if claims.scope != scope && claims.scope != Scope::Control {
            return Err(Denied::Scope);
        }
        if claims.job_id != job || claims.node_id != identity.node_id {
            return Err(Denied::Job);
        }
        Ok(())
    }
}

fn signed(secret: &str, body: &str) -> Hmac<Sha256> {
    // HMAC takes keys of every length; an empty one is only the type's fallback.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .unwrap_or_else(|_| <Hmac<Sha256> as KeyInit>::new(&Default::default()));
    mac.update(body.as_bytes());
    mac
}

/// 256 bits, hexadecimal. The system's random numbers come through UUIDs of 122 bits each.
fn random() -> String {
    let mut hash = Sha256::new();
    for _ in 0..4 {
        hash.update(uuid::Uuid::new_v4().as_bytes());
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Writes the identity so that only its owner reads it and no half of it is ever seen.
fn keep(file: &Path, identity: &Identity) -> io::Result<()> {
    let part = file.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(&part)?;
    out.write_all(&serde_json::to_vec_pretty(identity)?)?;
    out.sync_all()?;
    std::fs::rename(part, file)
}

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(directory: &Path) -> Tokens {
        Tokens::open(directory, 60).unwrap()
    }

    #[test]
    fn a_token_allows_what_it_says_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let t = tokens(folder.path());
        let control = t.mint("a", Scope::Control);
        let stream = t.mint("a", Scope::Stream);
        assert_eq!(t.check(Some(&control), "a", Scope::Control), Ok(()));
        assert_eq!(t.check(Some(&control), "a", Scope::Stream), Ok(()));
        assert_eq!(t.check(Some(&stream), "a", Scope::Stream), Ok(()));
        assert_eq!(t.check(Some(&stream), "a", Scope::Control), Err(Denied::Scope));
        assert_eq!(t.check(Some(&control), "b", Scope::Control), Err(Denied::Job));
        for missing in [None, Some("")] {
            assert_eq!(t.check(missing, "a", Scope::Control), Err(Denied::Missing));
        }
        for bad in ["x", "a.%%%"] {
            assert_eq!(t.check(Some(bad), "a", Scope::Control), Err(Denied::Malformed), "{bad}");
        }
        let (body, signature) = control.split_once('.').unwrap();
        let mut forged = BASE64_URL_SAFE_NO_PAD.decode(body).unwrap();
        let at = forged.windows(3).position(|w| w == b"\"a\"").unwrap() + 1;
        forged[at] = b'b';
        let forged = format!("{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(forged));
        assert_eq!(t.check(Some(&forged), "b", Scope::Control), Err(Denied::Signature));
        assert_eq!(t.check(Some(&format!("{body}.AAAA")), "a", Scope::Control), Err(Denied::Signature));
    }

    #[test]
    fn tokens_end() {
        let folder = tempfile::tempdir().unwrap();
        let t = tokens(folder.path());
        let token = t.mint_at("a", Scope::Stream, 1000);
        assert_eq!(t.check_at(Some(&token), "a", Scope::Stream, 1059), Ok(()));
        assert_eq!(t.check_at(Some(&token), "a", Scope::Stream, 1060), Err(Denied::Expired));
    }

    #[test]
    fn the_identity_survives_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let token = tokens(folder.path()).mint("a", Scope::Control);
        let again = tokens(folder.path());
        assert_eq!(again.check(Some(&token), "a", Scope::Control), Ok(()));
        #[cfg(unix)]
        {
            let meta = std::fs::metadata(folder.path().join("node_identity.json")).unwrap();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777, 0o600);
        }
        let other = tempfile::tempdir().unwrap();
        assert_eq!(tokens(other.path()).check(Some(&token), "a", Scope::Control), Err(Denied::Signature));
        assert!(!format!("{again:?}").contains(&again.read().node_secret));
    }

    #[test]
    fn an_old_secret_is_rotated_and_still_checked_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let first = tokens(folder.path());
        let token = first.mint("a", Scope::Control);
        let mut identity = first.read().clone();
        identity.created_at = unix() - ROTATION - 5;
        keep(&folder.path().join("node_identity.json"), &identity).unwrap();
        let rotated = tokens(folder.path());
        assert_ne!(rotated.read().node_secret, identity.node_secret);
        assert_eq!(rotated.node().node_id, identity.node_id);
        assert_eq!(rotated.check(Some(&token), "a", Scope::Control), Ok(()));
        let mut identity = rotated.read().clone();
        identity.previous[0].until = 1;
        keep(&folder.path().join("node_identity.json"), &identity).unwrap();
        assert_eq!(tokens(folder.path()).check(Some(&token), "a", Scope::Control), Err(Denied::Signature));
    }

    #[test]
    fn a_rotation_while_it_runs_ends_no_token_before_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let t = tokens(folder.path());
        let now = unix();
        let (first, secret) = (t.mint_at("a", Scope::Stream, now), t.read().node_secret.clone());
        t.rotate_in_time().unwrap();
        assert_eq!(t.read().node_secret, secret, "it is young");
        t.rotate_at(now).unwrap();
        let second = t.mint_at("a", Scope::Stream, now);
        assert_ne!(t.read().node_secret, secret);
        // Who starts again knows both.
        for t in [&t, &tokens(folder.path())] {
            for token in [&first, &second] {
                assert_eq!(t.check_at(Some(token), "a", Scope::Stream, now + 1), Ok(()));
            }
        }
        t.rotate_at(now + 61).unwrap();
        assert_eq!(t.read().previous.len(), 1, "the first one's time is over");
        assert_eq!(t.check_at(Some(&first), "a", Scope::Stream, now + 1), Err(Denied::Signature));
        std::fs::remove_dir_all(folder.path()).unwrap();
        let held = t.read().node_secret.clone();
        assert!(t.rotate().is_err());
        assert_eq!(t.read().node_secret, held, "what cannot be kept is not used");
    }

    #[test]
    fn keys_are_sorted_as_other_nodes_expect() {
        let folder = tempfile::tempdir().unwrap();
        let token = tokens(folder.path()).mint("a", Scope::Stream);
        let body = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        let text = String::from_utf8(body).unwrap();
        let keys: Vec<&str> = text
            .split('"')
            .filter(|p| ["exp", "iat", "job_id", "jti", "node_id", "scope"].contains(p))
            .collect();
        assert_eq!(keys, ["exp", "iat", "job_id", "jti", "node_id", "scope"]);
    }
}
