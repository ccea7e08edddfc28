//! Fetching a whole address into a file, for media that must be read backwards over a transport that cannot.

use crate::error::{Context, Error, ErrorKind};
use ghoststream_sys::ffmpeg as av;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// What was fetched.
pub(super) struct Fetched {
    /// At its beginning; it has no name any more and goes with its handle.
    pub file: File,
    pub size: u64,
    /// Options that were not the protocol's.
    pub unused: av::Pairs,
}

/// The transport's failure, or that of the file.
pub(super) enum Failure {
    Transport(av::Error),
    File(Error),
}

impl Failure {
    /// One error of either, `explain` having words for the transport's.
    pub fn either(self, explain: impl FnOnce(av::Error) -> Error) -> Error {
        match self {
            Failure::Transport(e) => explain(e),
            Failure::File(e) => e,
        }
    }
}

/// Fetches `url` into a temporary file. `interrupt` ends it; `label` is what messages call the source.
pub(super) fn fetch(
    url: &str,
    options: &av::Pairs,
    protocols: Option<&[String]>,
    interrupt: &av::Interrupt,
    label: &str,
) -> Result<Fetched, Failure> {
    tracing::info!("{label}: fetching all of it first");
    let mut file = unnamed().map_err(Failure::File)?;
    let mut from = av::Url::open(url, options, protocols, interrupt.clone()).map_err(Failure::Transport)?;
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        let n = from.read(&mut buffer).map_err(Failure::Transport)?;
        if n == 0 {
            break;
        }
        file.write_all(&buffer[..n]).context(|| place(label)).map_err(Failure::File)?;
        size += n as u64;
    }
    file.seek(SeekFrom::Start(0)).context(|| place(label)).map_err(Failure::File)?;
    Ok(Fetched { file, size, unused: from.unused_options().to_vec() })
}

fn place(label: &str) -> String {
    format!("{label}: a copy in {}", std::env::temp_dir().display())
}

/// A file in the directory for temporary ones that nobody else can open.
fn unnamed() -> Result<File, Error> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let directory = std::env::temp_dir();
    for _ in 0..100 {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("ghoststream-{}-fetched-{number}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path).context(|| path.display().to_string())?;
                return Ok(file);
            }
            // Left by a process of the same number.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::from(e).context(path.display())),
        }
    }
    Err(Error::new(ErrorKind::Io, format!("{}: no name for a temporary file is free", directory.display())))
}
