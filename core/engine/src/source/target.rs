//! What a source's address means: a local file to be checked before FFmpeg sees it, or a URL whose protocol must be
//! allowed. No I/O but looking at local files.

use super::whole::read_at;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::spec::SourceSpec;
use std::fs::File;
use std::path::Path;

/// Where a `source.url` points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A path on this machine.
    Local(String),
    /// A pattern of files (`shot%04d.png`) that a demuxer of numbered pictures expands.
    Sequence(String),
    /// A URL and its protocol.
    Url {
        /// Lower-case protocol name as FFmpeg knows it.
        protocol: String,
    },
    /// What the application gives, from nowhere that has an address.
    Bytes,
    /// A capture device or generator of libavdevice, by its demuxer's name.
    Device(String),
}

/// Demuxers that read no file: their name must be in `source.protocols`, since some of them open anything (`lavfi` has
/// the `movie` filter).
const DEVICES: &[&str] = &[
    "alsa",
    "android_camera",
    "avfoundation",
    "bktr",
    "decklink",
    "dshow",
    "fbdev",
    "gdigrab",
    "iec61883",
    "jack",
    "kmsgrab",
    "lavfi",
    "libcdio",
    "libdc1394",
    "openal",
    "oss",
    "pulse",
    "sndio",
    "v4l2",
    "vfwcap",
    "video4linux2",
    "x11grab",
    "xcbgrab",
];

/// Protocols that FFmpeg uses under one that a user names. `crypto` and `data` are what HLS and MP4 use inside a source
/// that is allowed already.
const UNDERNEATH: &[(&str, &[&str])] = &[
    ("http", &["tcp", "httpproxy"]),
    ("https", &["tls", "tcp", "httpproxy"]),
    ("ftp", &["tcp"]),
    ("rtmp", &["tcp"]),
    ("rtmps", &["tls", "tcp"]),
    ("rtmpt", &["ffrtmphttp", "http", "tcp"]),
    ("rtmpts", &["ffrtmphttp", "https", "http", "tls", "tcp"]),
    ("rtsp", &["rtp", "udp", "tcp", "srtp"]),
    ("rtsps", &["rtsp", "rtp", "udp", "tcp", "tls", "srtp"]),
    ("rtp", &["udp"]),
    ("srtp", &["rtp", "udp"]),
    ("mmsh", &["http", "tcp"]),
    ("mmst", &["tcp"]),
    ("gopher", &["tcp"]),
    ("gophers", &["tls", "tcp"]),
    ("tls", &["tcp"]),
    ("udplite", &["udp"]),
    ("prompeg", &["udp"]),
];

impl Target {
    /// Sorts out `url`, read by the demuxer `format` if one is named.
    pub(crate) fn of(url: &str, format: Option<&str>) -> Target {
        if let Some(format) = format
            && let Some(device) = format.split(',').find(|f| DEVICES.contains(f))
        {
            return Target::Device(device.into());
        }
        // A file that is there is meant, whatever its name looks like.
        if Path::new(url).exists() {
            return Target::Local(url.into());
        }
        match scheme(url) {
            Some("file") => {
                let path = &url["file:".len()..];
                let path = path.strip_prefix("//").filter(|p| p.starts_with('/')).unwrap_or(path);
                Target::file(path, format)
            }
            Some(s) => Target::Url { protocol: s.to_ascii_lowercase() },
            None => Target::file(url, format),
        }
    }

    fn file(path: &str, format: Option<&str>) -> Target {
        let numbered = path.contains('%') || path.contains('*');
        if numbered && !Path::new(path).exists() && format.is_none_or(|f| f.starts_with("image2")) {
            return Target::Sequence(path.into());
        }
        Target::Local(path.into())
    }

    /// The name under which the target is allowed by `source.protocols`.
    pub(crate) fn protocol(&self) -> &str {
        match self {
            Target::Local(_) | Target::Sequence(_) => "file",
            Target::Url { protocol } => protocol,
            Target::Bytes => "bytes",
            Target::Device(name) => name,
        }
    }

    /// What to hand to FFmpeg. `file:` keeps it from reading a protocol or option into a file's name.
    pub(crate) fn address(&self, url: &str) -> String {
        match self {
            Target::Local(path) | Target::Sequence(path) => format!("file:{path}"),
            _ => url.into(),
        }
    }

    /// Refuses what cannot be media: a protocol outside the allow-list, a missing, empty or unreadable file, a directory.
    pub(crate) fn check(&self, spec: &SourceSpec) -> Result<()> {
        let protocol = self.protocol();
        if !spec.protocols.iter().any(|p| p.eq_ignore_ascii_case(protocol)) {
            return Err(Error::new(
                ErrorKind::Denied,
                format!(
                    "source.protocols: {protocol:?} is not allowed for {} (allowed: {})",
                    spec.label(),
                    spec.protocols.join(", ")
                ),
            ));
        }
        let Target::Local(path) = self else { return Ok(()) };
        let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("{path}: no such file")),
            _ => Error::from(e).context(path),
        })?;
        if meta.is_dir() {
            return Err(Error::new(ErrorKind::Invalid, format!("{path}: is a directory, not a media file")));
        }
        if meta.is_file() {
            if meta.len() == 0 {
                return Err(Error::new(ErrorKind::Format, format!("{path}: is empty (0 bytes)")));
            }
            let mut file = File::open(path).context(|| path)?;
            let has_key = spec.options.contains_key("decryption_key");
            let reason = match unplayable(&mut file, meta.len(), has_key).context(|| path)? {
                Some(Fault::Truncated(reason)) if !spec.salvage => {
                    format!("is truncated: {reason} (salvage takes what can be read)")
                }
                Some(Fault::Encrypted) => "is encrypted; give source.options.decryption_key".into(),
                _ => return Ok(()),
            };
            return Err(Error::new(ErrorKind::Format, format!("{path}: {reason}")));
        }
        Ok(())
    }

    /// What a local file that FFmpeg could not open seems to be instead of media.
    pub(crate) fn describe_content(&self) -> Option<&'static str> {
        let Target::Local(path) = self else { return None };
        let mut head = vec![0u8; 4096];
        let got = read_at(&mut File::open(path).ok()?, 0, &mut head).ok()?;
        let head = &head[..got];
        if head.iter().all(|b| *b == 0) {
            return Some("its beginning is all zeros");
        }
        let text = match std::str::from_utf8(head) {
            Ok(_) => true,
            // Cut in the middle of a character by the end of the buffer.
            Err(e) => e.error_len().is_none() && e.valid_up_to() + 4 > head.len(),
        };
        if text && head.iter().all(|b| *b >= 0x20 || matches!(b, b'\t' | b'\n' | b'\r' | 0x0c)) {
            let line = head.split(|b| *b == b'\n').find(|l| !l.is_empty() && !l.starts_with(b"#"));
            return Some(match line {
                Some(line) if line.starts_with(b"file ") => {
                    "it is a list of files; as the first line of one that joins them, write: ffconcat version 1.0"
                }
                _ => "it is text",
            });
        }
        match head {
            [b'P', b'K', 3, 4, ..] => Some("it is a ZIP archive"),
            [0x1f, 0x8b, ..] => Some("it is gzip data"),
            [b'%', b'P', b'D', b'F', ..] => Some("it is a PDF"),
            [0x7f, b'E', b'L', b'F', ..] => Some("it is a program"),
            _ => None,
        }
    }
}

/// FFmpeg's `protocol_whitelist` for the protocols that the user allows.
pub(crate) fn whitelist(protocols: &[String]) -> Vec<String> {
    let mut list = vec!["crypto", "data"];
    for p in protocols {
        list.push(p);
        if let Some((_, more)) = UNDERNEATH.iter().find(|(name, _)| name.eq_ignore_ascii_case(p)) {
            list.extend(*more);
        }
    }
    list.sort_unstable();
    list.dedup();
    list.into_iter().map(String::from).collect()
}

/// The protocol in front of `:` or of `,options:`; a single letter is a drive, not a protocol.
fn scheme(url: &str) -> Option<&str> {
    let end = url.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-')))?;
    let name = &url[..end];
    let tail = &url[end..];
    if name.len() < 2 || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    (tail.starts_with(':') || (name == "subfile" && tail.starts_with(','))).then_some(name)
}

/// The largest MP4 index that is looked into.
const MAX_INDEX: u64 = 64 << 20;

/// Why a file cannot be played.
enum Fault {
    /// What is missing; some of it may still be readable.
    Truncated(String),
    /// No key was given.
    Encrypted,
}

/// Why an MP4 cannot be played, as far as its top-level boxes say: cut short, or encrypted without a key. `None` for whole ones, for
/// those in fragments (what is there of them plays) and for everything else: [`super::whole`] says more of those.
fn unplayable(file: &mut File, len: u64, has_key: bool) -> std::io::Result<Option<Fault>> {
    let (mut at, mut index, mut data) = (0u64, false, false);
    for _ in 0..1000 {
        let mut head = [0u8; 16];
        let got = read_at(file, at, &mut head)?;
        if got < 8 {
            break;
        }
        let name = [head[4], head[5], head[6], head[7]];
        if at == 0 && !matches!(&name, b"ftyp" | b"styp") {
            return Ok(None);
        }
        let size = match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
            0 => len - at,
            1 if got == 16 => head[8..].iter().fold(0, |n, b| n << 8 | u64::from(*b)),
            n => u64::from(n),
        };
        if size < 8 || !name.iter().all(|c| c.is_ascii_graphic() || matches!(c, b' ' | 0xa9)) {
            // Not a box: trailing bytes are for the demuxer to judge.
            break;
        }
        let end = at.checked_add(size).filter(|e| *e <= len);
        match &name {
            b"moof" | b"styp" | b"sidx" => return Ok(None),
            b"moov" => {
                index = true;
                if end.is_some() && size <= MAX_INDEX && !has_key {
                    let mut moov = vec![0; size as usize];
                    let got = read_at(file, at, &mut moov)?;
                    if is_encrypted(&moov[..got]) {
                        return Ok(Some(Fault::Encrypted));
                    }
                }
            }
            b"mdat" => data = true,
            _ => {}
        }
        match end {
            Some(end) => at = end,
            None => {
                return Ok(Some(Fault::Truncated(format!(
                    "its {:?} box needs {size} bytes and {} are there",
                    String::from_utf8_lossy(&name),
                    len - at
                ))));
            }
        }
    }
    Ok((data && !index).then(|| Fault::Truncated("it has media data but no index (moov box)".into())))
}

/// Whether a sample description in the index says that samples are encrypted (ISO/IEC 23001-7).
fn is_encrypted(moov: &[u8]) -> bool {
    // stsd: version and flags, count, then the first entry's size and type.
    moov.windows(20).any(|w| w.starts_with(b"stsd") && matches!(&w[16..20], b"encv" | b"enca" | b"encs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::of(url, None)
    }

    #[test]
    fn addresses_are_told_apart() {
        let url = |p: &str| Target::Url { protocol: p.into() };
        assert_eq!(target("HTTPS://a/b.mp4"), url("https"));
        assert_eq!(target("rtsp://cam/1"), url("rtsp"));
        assert_eq!(target("subfile,,start,0,end,9,,:x.mp4"), url("subfile"));
        assert_eq!(target("concat:a.ts|b.ts"), url("concat"));
        assert_eq!(target("dir/a:b.mp4"), Target::Local("dir/a:b.mp4".into()));
        assert_eq!(target("C:\\a.mp4"), Target::Local("C:\\a.mp4".into()));
        assert_eq!(target("file:///tmp/a.mp4"), Target::Local("/tmp/a.mp4".into()));
        assert_eq!(target("file:a.mp4"), Target::Local("a.mp4".into()));
        assert_eq!(target("shot%03d.png"), Target::Sequence("shot%03d.png".into()));
        assert_eq!(Target::of("testsrc", Some("lavfi")), Target::Device("lavfi".into()));
        assert_eq!(target("a.mp4").address("a.mp4"), "file:a.mp4");
    }

    #[test]
    fn what_is_not_allowed_is_denied_by_name() {
        let spec = SourceSpec::url("rtsp://me:pw@cam/1");
        let e = target("rtsp://me:pw@cam/1").check(&spec).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Denied);
        assert!(e.message().starts_with("source.protocols: \"rtsp\"") && !e.message().contains("pw"), "{e}");
        let spec = SourceSpec { protocols: vec!["https".into()], ..SourceSpec::url("a.mp4") };
        assert_eq!(target("a.mp4").check(&spec).unwrap_err().kind(), ErrorKind::Denied);
        let spec = SourceSpec { format: Some("lavfi".into()), ..SourceSpec::url("testsrc") };
        let e = Target::of("testsrc", Some("lavfi")).check(&spec).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Denied);
    }

    #[test]
    fn the_whitelist_has_what_is_underneath_and_no_more() {
        let list = |p: &[&str]| whitelist(&p.iter().map(|s| s.to_string()).collect::<Vec<_>>()).join(",");
        assert_eq!(list(&["file"]), "crypto,data,file");
        assert_eq!(list(&["file", "https"]), "crypto,data,file,httpproxy,https,tcp,tls");
        assert_eq!(list(&["srt"]), "crypto,data,srt");
    }

    #[test]
    fn local_files_that_cannot_be_media_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |name: &str, content: Option<&[u8]>| {
            let path = dir.path().join(name);
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let url = path.to_str().unwrap();
            let e = target(url).check(&SourceSpec::url(url)).unwrap_err();
            assert!(e.message().starts_with(url), "{e}");
            (e.kind(), e.message()[url.len()..].to_string())
        };
        assert_eq!(refused("missing.mp4", None), (ErrorKind::NotFound, ": no such file".into()));
        assert_eq!(refused("empty.mp4", Some(b"")).0, ErrorKind::Format);
        let cut = [&[0, 0, 0, 16][..], b"ftypisom\0\0\0\0", &[0, 0, 1, 0], b"mdat1234"].concat();
        let (kind, message) = refused("cut.mp4", Some(&cut));
        assert_eq!(kind, ErrorKind::Format);
        assert!(message.contains("truncated") && message.contains("mdat"), "{message}");
        let url = dir.path().join("cut.mp4").to_str().unwrap().to_string();
        target(&url).check(&SourceSpec { salvage: true, ..SourceSpec::url(url.clone()) }).unwrap();
        let no_index = [&[0, 0, 0, 16][..], b"ftypisom\0\0\0\0", &[0, 0, 0, 12], b"mdat1234"].concat();
        assert!(refused("noindex.mp4", Some(&no_index)).1.contains("moov"));
        let url = dir.path().to_str().unwrap();
        let e = target(url).check(&SourceSpec::url(url)).unwrap_err();
        assert!(e.message().contains("is a directory"), "{e}");

        let text = dir.path().join("text.mp4");
        std::fs::write(&text, "Hello, this is no film. \u{e9}\n".repeat(300)).unwrap();
        assert_eq!(target(text.to_str().unwrap()).describe_content(), Some("it is text"));
        // Fragmented files are playable up to the last fragment.
        let fragmented =
            [&[0, 0, 0, 16][..], b"ftypisom\0\0\0\0", &[0, 0, 0, 8], b"moov", &[0, 0, 9, 0], b"moof12"]
                .concat();
        let path = dir.path().join("frag.mp4");
        std::fs::write(&path, fragmented).unwrap();
        let url = path.to_str().unwrap();
        target(url).check(&SourceSpec::url(url)).unwrap();
    }
}
