//! Jobs on disk: one SQLite file, so that they outlive the server. One thread writes, in the order in which it is told.

use super::callback::Pending;
use super::record::Record;
use rusqlite::{Connection, ErrorCode, params};
use std::collections::BTreeMap;
use std::path::Path;
use tokio::sync::oneshot;

/// Counters that are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counters {
    pub processed: u64,
    pub successful: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// Seconds of wall time of all successful jobs.
    pub seconds: f64,
    pub bytes: u64,
    /// Successful jobs by who encoded, in the order of [`ACCELS`].
    pub accels: [u64; ACCELS.len()],
}

/// The contract's words for who encodes.
pub(super) const ACCELS: [&str; 6] = ["nvenc", "qsv", "vaapi", "amf", "videotoolbox", "software"];

/// The database. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Store(std::sync::mpsc::Sender<Write>);

enum Write {
    Put(Box<Record>, Option<oneshot::Sender<Result<(), String>>>),
    /// A job that is over, with those who are to be told: both or neither.
    End(Box<Record>, Vec<Pending>, oneshot::Sender<()>),
    /// Calls that are to be made (again).
    Tried(Vec<Pending>, Option<oneshot::Sender<()>>),
    /// One that was made, or given up.
    Called(String),
    Remove(String),
    /// A job whose files in the object store are to go.
    Doom(String),
    Undoom(String),
    Counters(Counters),
    /// The last: answered when everything before is written and the file is free for another server.
    Close(oneshot::Sender<()>),
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, status TEXT NOT NULL, created REAL NOT NULL, accessed REAL NOT NULL, record TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS callbacks (id TEXT PRIMARY KEY, pending TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS doomed (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
";

/// The layout of the tables; a file of a newer one is refused.
const VERSION: i64 = 1;

/// What was in the database.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Jobs.
    pub records: Vec<Record>,
    pub counters: Counters,
    /// Jobs whose files in the object store are to go.
    pub doomed: Vec<String>,
    /// Calls that are to be made.
    pub callbacks: Vec<Pending>,
}

impl Store {
    /// Opens the database at `path`, making it if needed (for this user only), and reads what is there.
    ///
    /// # Errors
    /// In words, with the path.
    pub fn open(path: &Path) -> Result<(Store, Kept), String> {
        let at = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| at(&e))?;
        }
        private(path).map_err(|e| at(&e))?;
        let connection = Connection::open(path).map_err(|e| at(&e))?;
        let kept = prepare(&connection).map_err(|e| match e.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy) => at(&"another server uses it"),
            _ => at(&e),
        })?;
        let (sender, writes) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .name("job store".into())
            .spawn(move || {
                for write in writes {
                    if let Write::Close(done) = write {
                        drop(connection);
                        // Who asked may have gone.
                        let _heard = done.send(());
                        return;
                    }
                    perform(&connection, write);
                }
            })
            .map_err(|e| at(&e))?;
        Ok((Store(sender), kept))
    }

    fn send(&self, write: Write) {
        // The thread lives as long as any store does.
        let _heard = self.0.send(write);
    }

    /// Writes a job, some time soon.
    pub fn put(&self, record: &Record) {
        self.send(Write::Put(Box::new(record.clone()), None));
    }

    /// Writes a job; when this returns, a crash of the server does not lose it.
    ///
    /// # Errors
    /// In words.
    pub async fn keep(&self, record: &Record) -> Result<(), String> {
        let (sender, written) = oneshot::channel();
        self.send(Write::Put(Box::new(record.clone()), Some(sender)));
        written.await.unwrap_or_else(|_| Err("the job store is closed".into()))
    }

    /// Writes a job that is over, and with it the calls that tell of it. What is returned ends when that is done: who hears of
    /// something before it is written may hear of it as of another thing after a crash.
    pub fn end(&self, record: &Record, calls: Vec<Pending>) -> oneshot::Receiver<()> {
        let (done, written) = oneshot::channel();
        self.send(Write::End(Box::new(record.clone()), calls, done));
        written
    }

    /// As [`Store::end`], for calls alone.
    pub fn keep_calls(&self, calls: Vec<Pending>) -> oneshot::Receiver<()> {
        let (done, written) = oneshot::channel();
        self.send(Write::Tried(calls, Some(done)));
        written
    }

    /// Writes how often a call was tried.
    pub fn tried(&self, call: &Pending) {
        self.send(Write::Tried(vec![call.clone()], None));
    }

    /// Forgets a call.
    pub fn called(&self, id: &str) {
        self.send(Write::Called(id.into()));
    }

    /// Forgets a job.
    pub fn remove(&self, id: &str) {
        self.send(Write::Remove(id.into()));
    }

    /// Remembers a job whose files in the object store are to go.
    pub fn doom(&self, id: &str) {
        self.send(Write::Doom(id.into()));
    }

    /// They are gone.
    pub fn undoom(&self, id: &str) {
        self.send(Write::Undoom(id.into()));
    }

    /// Writes the counters.
    pub fn count(&self, counters: Counters) {
        self.send(Write::Counters(counters));
    }

    /// Writes everything and closes the file. What comes later is lost.
    pub async fn close(&self) {
        let (sender, done) = oneshot::channel();
        self.send(Write::Close(sender));
        let _written = done.await;
    }
}

/// Sources may have passwords in them: nobody else may read the file.
fn private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path).map(drop)
}

fn prepare(connection: &Connection) -> rusqlite::Result<Kept> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    // One server: a second one over the same jobs would end them.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What is lost is at most what a power cut interrupts; a killed server loses nothing.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > VERSION {
        return Err(rusqlite::Error::InvalidParameterName(format!(
            "the file is of a newer version ({version}) than this program ({VERSION})"
        )));
    }
    connection.execute_batch(SCHEMA)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    let records = texts(connection, "SELECT id, record FROM jobs ORDER BY created", "job")?;
    let callbacks = texts(connection, "SELECT id, pending FROM callbacks", "callback")?;
    let mut rows = connection.prepare("SELECT id FROM doomed")?;
    let doomed = rows.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(Kept { records, counters: counters(connection)?, doomed, callbacks })
}

/// What the second column of a statement has as JSON.
fn texts<T: serde::de::DeserializeOwned>(
    connection: &Connection,
    statement: &str,
    kind: &str,
) -> rusqlite::Result<Vec<T>> {
    let mut rows = connection.prepare(statement)?;
    let mut found = Vec::new();
    for row in rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))? {
        let (id, text) = row?;
        match serde_json::from_str(&text) {
            Ok(one) => found.push(one),
            Err(e) => tracing::warn!(id, error = %e, "a stored {kind} makes no sense and is left out"),
        }
    }
    Ok(found)
}

fn counters(connection: &Connection) -> rusqlite::Result<Counters> {
    let mut all = BTreeMap::new();
    let mut rows = connection.prepare("SELECT name, value FROM counters")?;
    for row in rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, f64>(1)?)))? {
        let (name, value) = row?;
        all.insert(name, value);
    }
    let value = |name: &str| all.get(name).copied().unwrap_or(0.0);
    Ok(Counters {
        processed: value("processed") as u64,
        successful: value("successful") as u64,
        failed: value("failed") as u64,
        cancelled: value("cancelled") as u64,
        seconds: value("seconds"),
        bytes: value("bytes") as u64,
        accels: ACCELS.map(|accel| value(&format!("accel {accel}")) as u64),
    })
}

fn perform(connection: &Connection, write: Write) {
    let result = match write {
        Write::Put(record, answer) => {
            let result = put(connection, &record);
            match answer {
                Some(answer) => {
                    // Who asked hears of it; if he has gone, nobody needs to.
                    let _heard = answer.send(result);
                    Ok(())
                }
                None => result,
            }
        }
        Write::End(record, calls, done) => {
            let result = end(connection, &record, &calls);
            // Nobody may wait for it.
            let _heard = done.send(());
            result
        }
        Write::Tried(calls, done) => {
            let result = calls.iter().try_for_each(|call| call_again(connection, call));
            let _heard = done.map(|done| done.send(()));
            result
        }
        Write::Called(id) => with(connection, "DELETE FROM callbacks WHERE id = ?1", id),
        Write::Remove(id) => with(connection, "DELETE FROM jobs WHERE id = ?1", id),
        Write::Doom(id) => with(connection, "INSERT OR REPLACE INTO doomed VALUES (?1)", id),
        Write::Undoom(id) => with(connection, "DELETE FROM doomed WHERE id = ?1", id),
        Write::Counters(counters) => count(connection, counters).map_err(|e| e.to_string()),
        // The caller's.
        Write::Close(_) => Ok(()),
    };
    if let Err(e) = result {
        tracing::error!(error = %e, "the job store cannot be written");
    }
}

fn with(connection: &Connection, statement: &str, id: String) -> Result<(), String> {
    let done = connection.prepare_cached(statement).and_then(|mut s| s.execute([id]));
    done.map(drop).map_err(|e| e.to_string())
}

fn put(connection: &Connection, record: &Record) -> Result<(), String> {
    let text = serde_json::to_string(record).map_err(|e| e.to_string())?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO jobs (id, status, created, accessed, record) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut s| {
            s.execute(params![record.id, record.status.name(), record.created, record.accessed, text])
        })
        .map(drop)
        .map_err(|e| e.to_string())
}

fn end(connection: &Connection, record: &Record, calls: &[Pending]) -> Result<(), String> {
    // Rolled back when it is dropped half-way.
    let transaction = connection.unchecked_transaction().map_err(|e| e.to_string())?;
    put(&transaction, record)?;
    calls.iter().try_for_each(|call| call_again(&transaction, call))?;
    transaction.commit().map_err(|e| e.to_string())
}

fn call_again(connection: &Connection, call: &Pending) -> Result<(), String> {
    let text = serde_json::to_string(call).map_err(|e| e.to_string())?;
    let kept = connection
        .prepare_cached("INSERT OR REPLACE INTO callbacks VALUES (?1, ?2)")
        .and_then(|mut s| s.execute(params![call.id, text]));
    kept.map(drop).map_err(|e| e.to_string())
}

fn count(connection: &Connection, c: Counters) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO counters VALUES (?1, ?2)")?;
    for (name, value) in [
        ("processed", c.processed as f64),
        ("successful", c.successful as f64),
        ("failed", c.failed as f64),
        ("cancelled", c.cancelled as f64),
        ("seconds", c.seconds),
        ("bytes", c.bytes as f64),
    ] {
        statement.execute(params![name, value])?;
    }
    for (accel, count) in ACCELS.iter().zip(c.accels) {
        statement.execute(params![format!("accel {accel}"), count as f64])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{new_record, record::now};
    use super::*;
    use crate::contract::request::TranscodeRequest;

    #[tokio::test]
    async fn what_is_kept_is_there_again_and_one_server_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/jobs.sqlite3");
        let record = new_record(TranscodeRequest::new("http://u:p@h/a.mkv"), "c".into(), None, "s".into());
        let call = |id: &str| Pending {
            id: id.into(),
            job: record.id.clone(),
            url: "http://h/told".into(),
            event: "ready".into(),
            body: "{}".into(),
            tried: 0,
        };
        {
            let (store, kept) = Store::open(&path).unwrap();
            assert!(kept.doomed.is_empty() && kept.callbacks.is_empty());
            store.doom("gone");
            assert!(kept.records.is_empty() && kept.counters == Counters::default());
            store.keep(&record).await.unwrap();
            store.count(Counters {
                processed: 3,
                seconds: 1.5,
                accels: [0, 1, 0, 0, 0, 2],
                ..Counters::default()
            });
            let over = Record { status: super::super::Status::Ready, ..record.clone() };
            store.end(&over, vec![call("made"), call("open")]).await.unwrap();
            store.called("made");
            store.tried(&Pending { tried: 2, ..call("open") });
            assert!(Store::open(&path).unwrap_err().contains("another server uses it"));
            store.close().await;
            assert!(store.keep(&record).await.is_err(), "it is closed");
        }
        let (store, kept) = Store::open(&path).unwrap();
        assert_eq!(kept.doomed, ["gone"]);
        assert_eq!(kept.callbacks, [Pending { tried: 2, ..call("open") }]);
        store.undoom("gone");
        let (first, counters) = (&kept.records[0], kept.counters);
        assert_eq!((first.id.as_str(), counters.processed, counters.seconds), (record.id.as_str(), 3, 1.5));
        assert_eq!(counters.accels, [0, 1, 0, 0, 0, 2]);
        assert!(first.created <= now() && first.status == super::super::Status::Ready);
        store.remove(&record.id);
        store.called("open");
        store.close().await;
        let (_, kept) = Store::open(&path).unwrap();
        assert!(kept.records.is_empty() && kept.doomed.is_empty() && kept.callbacks.is_empty());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
