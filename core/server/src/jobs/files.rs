//! Jobs' directories: which are ours, which names are served, as what, and archives of them.

use super::view::{Body, Cache, FileError, Served};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// The file that says that a directory is a job's of ours. Only such directories are ever removed.
const MARKER: &str = ".ghoststream-job";
/// What is written into it.
const MARKER_TEXT: &str = "This directory belongs to a GhostStream job and is removed with it.\n";
/// From when on a playlist that does not grow is told to be stale, as in the original.
const STALE: Duration = Duration::from_secs(30);
/// The archive of a batch job that makes many files.
pub(super) const ARCHIVE: &str = "output.tar";
/// Where workers keep what is temporary, below the jobs' directory.
pub(super) const WORK: &str = ".ghoststream-work";
/// Where subtitles that were fetched lie, in a job's directory.
pub(super) const SUBTITLES: &str = ".subtitles";

/// Makes a job's directory.
///
/// # Errors
/// The system's.
pub(super) fn create(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join(MARKER), MARKER_TEXT)
}

/// Whether a directory is a job's of ours.
pub(super) fn is_ours(directory: &Path) -> bool {
    directory.join(MARKER).is_file() && !directory.is_symlink()
}

/// Removes a job's directory, if it is one. A worker on its way out may still write for a moment, so this may take one.
///
/// # Errors
/// The system's.
pub(super) fn remove(directory: &Path) -> io::Result<bool> {
    if !is_ours(directory) {
        return Ok(false);
    }
    let mut tries = 40;
    loop {
        // The marker goes last: an interrupted removal can be taken up again.
        let removed = empty_but(directory, &[MARKER])
            .and_then(|()| std::fs::remove_file(directory.join(MARKER)))
            .and_then(|()| std::fs::remove_dir(directory));
        match removed {
            Ok(()) => return Ok(true),
            Err(e) if tries == 0 => return Err(e),
            Err(_) => {
                tries -= 1;
                std::fs::write(directory.join(MARKER), MARKER_TEXT)?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Empties a job's directory for a new try.
///
/// # Errors
/// The system's.
pub(super) fn empty(directory: &Path) -> io::Result<()> {
    empty_but(directory, &[MARKER, SUBTITLES])
}

fn empty_but(directory: &Path, kept: &[&str]) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if kept.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let path = entry.path();
        let removed = if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        };
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Bytes of everything in a directory.
pub(super) fn size(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(m) if m.is_dir() => size(&entry.path()),
        Ok(m) => m.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(size).sum()
}

/// `name` below `directory`, if a job can have a file of that name.
///
/// # Errors
/// [`FileError::BadName`].
pub(super) fn locate(directory: &Path, name: &str) -> Result<PathBuf, FileError> {
    let good = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0', ':']) && part.len() <= 200
    };
    if name.is_empty() || name.len() > 1000 || !name.split('/').all(good) {
        return Err(FileError::BadName);
    }
    Ok(directory.join(name))
}

/// Whether it is a playlist or manifest, which changes and is waited for.
pub(super) fn is_playlist(name: &str) -> bool {
    name.ends_with(".m3u8") || name.ends_with(".mpd")
}

/// The MIME type of a file by its name.
pub(super) fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "m3u8" => "application/vnd.apple.mpegurl",
        "mpd" => "application/dash+xml",
        "ts" => "video/mp2t",
        "mp4" => "video/mp4",
        "m4s" => "video/iso.segment",
        "vtt" => "text/vtt; charset=utf-8",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        "tar" => "application/x-tar",
        _ => "application/octet-stream",
    }
}

/// A file of a job, ready to be sent. Playlists are read now, so that nobody sees half of one.
///
/// # Errors
/// The system's: there is no such file.
pub(super) fn serve(path: &Path, name: &str) -> io::Result<Served> {
    let content_type = content_type(name);
    if is_playlist(name) {
        let text = std::fs::read(path)?;
        // A file without a time, or one from the future, is not old.
        let age =
            std::fs::metadata(path)?.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
        let cache = if is_stale(&text, age) { Cache::Stale(age.as_secs()) } else { Cache::NoCache };
        return Ok(Served { body: Body::Memory(text.into()), content_type, cache, etag: None });
    }
    let etag = Some(etag(path)?);
    Ok(Served { body: Body::File(path.into()), content_type, cache: Cache::Immutable, etag })
}

/// Whether a media playlist of HLS that is not complete has had no new segment for long.
fn is_stale(playlist: &[u8], age: Duration) -> bool {
    let has = |tag: &[u8]| playlist.windows(tag.len()).any(|w| w == tag);
    age >= STALE && has(b"#EXTINF:") && !has(b"#EXT-X-ENDLIST")
}

/// Whether a segment begins as one of its kind does. A disk that was full leaves files that do not.
pub(super) fn is_sound(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let mut head = [0; 8];
    let read = File::open(path).and_then(|mut f| f.read_exact(&mut head).and_then(|()| f.metadata()));
    match (extension, read) {
        ("ts", Ok(meta)) => head[0] == 0x47 && meta.len() % 188 == 0,
        ("m4s", Ok(_)) => head[4..].iter().all(u8::is_ascii_alphabetic),
        ("ts" | "m4s", Err(_)) => false,
        _ => true,
    }
}

/// The file as a download.
///
/// # Errors
/// The system's: there is no such file.
pub(super) fn attach(path: &Path, name: &str) -> io::Result<Served> {
    Ok(Served {
        body: Body::File(path.into()),
        content_type: "application/octet-stream",
        cache: Cache::Attachment(name.into()),
        etag: Some(etag(path)?),
    })
}

fn etag(path: &Path) -> io::Result<String> {
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let time = meta.modified()?.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    Ok(format!("\"{:x}-{time:x}\"", meta.len()))
}

/// Packs everything in `directory` into its [`ARCHIVE`] (POSIX ustar), which appears when it is complete.
///
/// # Errors
/// The system's.
pub(super) fn archive(directory: &Path) -> io::Result<()> {
    let part = directory.join(format!("{ARCHIVE}.part"));
    let packed = pack(directory, &part);
    if packed.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&part);
        return packed;
    }
    std::fs::rename(part, directory.join(ARCHIVE))
}

fn pack(directory: &Path, part: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    list(directory, "", &mut names)?;
    names.sort();
    let mut out = io::BufWriter::new(File::create(part)?);
    for name in names.iter().filter(|n| !n.starts_with(ARCHIVE)) {
        let mut file = File::open(directory.join(name))?;
        let meta = file.metadata()?;
        out.write_all(&header(name, &meta)?)?;
        let copied = io::copy(&mut (&mut file).take(meta.len()), &mut out)?;
        if copied != meta.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.write_all(&vec![0; (512 - (copied % 512) as usize) % 512])?;
    }
    out.write_all(&[0; 1024])?;
    out.flush()
}

/// The names of all files in a job's directory, `below` before each, without what is ours.
///
/// # Errors
/// The system's.
pub(super) fn list(directory: &Path, below: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let whole = format!("{below}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), &format!("{whole}/"), names)?;
        } else if kind.is_file() {
            // No links: a worker that was taken over could name what it may not read.
            names.push(whole);
        }
    }
    Ok(())
}

/// A member's header; IEEE Std 1003.1, pax, "ustar Interchange Format".
fn header(name: &str, meta: &std::fs::Metadata) -> io::Result<[u8; 512]> {
    let mut block = [0; 512];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    // Names here are short and of our own making.
    if name.len() > 100 || meta.len() >= 1 << 33 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name}: too large for an archive")));
    }
    let modified = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", meta.len()));
    put(136, &format!("{:011o}\0", modified.map_or(0, |d| d.as_secs()).min((1 << 33) - 1)));
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let root = Path::new("/jobs/1");
        for name in
            ["", "..", "a/../b", "/etc/passwd", "a//b", "a\\b", ".ghoststream-job", "x/.y", "a\0b", "c:d"]
        {
            assert_eq!(locate(root, name), Err(FileError::BadName), "{name:?}");
        }
        assert_eq!(locate(root, "a/b.ts"), Ok(root.join("a/b.ts")));
    }

    #[test]
    fn a_playlist_that_does_not_grow_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let cache = |text: &str, age: u64| {
            let path = dir.path().join("a.m3u8");
            std::fs::write(&path, text).unwrap();
            let at = std::time::SystemTime::now() - Duration::from_secs(age);
            File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
            serve(&path, "a.m3u8").unwrap().cache
        };
        let growing = "#EXTM3U\n#EXTINF:4,\nsegment_00000.ts\n";
        assert_eq!(cache(growing, 25), Cache::NoCache);
        assert!(matches!(cache(growing, 45), Cache::Stale(45..=60)));
        // What is complete does not change, and multivariant playlists do not either.
        assert_eq!(cache(&format!("{growing}#EXT-X-ENDLIST\n"), 45), Cache::NoCache);
        assert_eq!(cache("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nstream_0.m3u8\n", 45), Cache::NoCache);
    }

    #[test]
    fn a_cut_segment_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &str, data: &[u8]| {
            std::fs::write(dir.path().join(name), data).unwrap();
            is_sound(&dir.path().join(name))
        };
        let mut packet = [0xff; 188];
        packet[0] = 0x47;
        assert!(check("a.ts", &packet) && !check("b.ts", &packet[..100]) && !check("c.ts", b""));
        assert!(check("a.m4s", b"\0\0\0\x08moof") && !check("b.m4s", b"\0\0\0\0\0\0\0\0"));
        assert!(check("a.vtt", b""));
    }

    #[test]
    fn only_our_directories_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (dir.path().join("a"), dir.path().join("b"));
        create(&ours).unwrap();
        std::fs::create_dir_all(ours.join("x")).unwrap();
        std::fs::write(ours.join("x/1.ts"), b"1").unwrap();
        std::fs::create_dir(&theirs).unwrap();
        std::fs::write(theirs.join("film.mkv"), b"1").unwrap();
        assert!(remove(&ours).unwrap() && !ours.exists());
        assert!(!remove(&theirs).unwrap() && theirs.join("film.mkv").exists());
    }

    #[test]
    fn an_archive_is_one_that_tar_reads() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("v")).unwrap();
        std::fs::write(dir.path().join("master.m3u8"), b"#EXTM3U\n").unwrap();
        std::fs::write(dir.path().join("v/0.ts"), vec![7; 1000]).unwrap();
        archive(dir.path()).unwrap();
        let out =
            std::process::Command::new("tar").arg("-tvf").arg(dir.path().join(ARCHIVE)).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && text.contains("master.m3u8") && text.contains(" 1000 "), "{text}");
        assert!(!text.contains("ghoststream-job"));
    }
}
