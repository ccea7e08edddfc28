//! Opening files and URLs: the document's words into FFmpeg's options, and FFmpeg's failures into errors that name the
//! file or the field.

use super::content::Content;
use super::joined;
use super::reach::Reach;
use super::spool;
use super::target::{Target, whitelist};
use crate::charset;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::spec::SourceSpec;
use ghoststream_sys::ffmpeg as av;
use std::time::Duration;

/// Opens the container that `spec.url` names. `interrupt` ends every blocking call of the demuxer, and gets the
/// document's timeout.
///
/// # Errors
/// [`ErrorKind::Denied`] for a protocol that `source.protocols` does not have; [`ErrorKind::NotFound`],
/// [`ErrorKind::Format`] (empty, truncated, encrypted, not media), [`ErrorKind::Io`] naming the file or host;
/// [`ErrorKind::Invalid`] for an option that nothing takes.
pub(crate) fn open(spec: &SourceSpec, interrupt: &av::Interrupt) -> Result<av::Demuxer> {
    open_noting(spec, interrupt).map(|(demuxer, note)| {
        if let Some(note) = note {
            tracing::warn!("{note}");
        }
        demuxer
    })
}

/// As [`open`], or, with `content`, of those bytes instead of a URL's; pictures have times where they follow from others'.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_content(
    spec: &SourceSpec,
    content: Option<&Content>,
    interrupt: &av::Interrupt,
) -> Result<av::Demuxer> {
    let mut demuxer = match content {
        None => open(spec, interrupt)?,
        // Nothing can be done about bytes that the application is slow to give.
        Some(content) => {
            open_bytes(&SourceSpec { timeout: 0.0, ..spec.clone() }, content.input(), interrupt)?
        }
    };
    complete_times(&mut demuxer);
    Ok(demuxer)
}

/// Gives pictures the times that follow from others', where the format need not write one for each.
pub(crate) fn complete_times(demuxer: &mut av::Demuxer) {
    if PARTLY_TIMED.contains(&demuxer.format_name().as_str()) {
        demuxer.generate_times();
    }
}

/// Formats that need not write a time for every picture.
const PARTLY_TIMED: &[&str] = &["mpeg", "mpegts"];

/// As [`open`], with what a user should know of the way it was opened.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_noting(
    spec: &SourceSpec,
    interrupt: &av::Interrupt,
) -> Result<(av::Demuxer, Option<String>)> {
    crate::log::install();
    let url = spec.url.as_deref().ok_or_else(|| Error::invalid("source.url", "is needed here"))?;
    let target = Target::of(url, spec.format.as_deref());
    target.check(spec)?;
    if let Target::Local(path) = &target
        && let Some(opened) = open_text(spec, path, None, interrupt)?
    {
        return Ok(opened);
    }
    let reach = Reach::new(spec, &target);
    let protocols = match target {
        // A device opens what it opens; the list is for protocols.
        Target::Device(_) => None,
        _ => Some(whitelist(reach.protocols())),
    };
    let options = options(spec, &target);
    let opened = av::Demuxer::open(av::DemuxerOptions {
        url: target.address(url),
        options: options.clone(),
        protocol_whitelist: protocols.clone(),
        permit: Some(Box::new(move |opening| reach.permits(opening))),
        ..base(spec, interrupt)
    });
    match opened {
        Err(e) if e.kind() == av::Kind::Backwards && matches!(target.protocol(), "http" | "https") => {}
        opened => {
            let demuxer = finish(spec, &target, opened)?;
            if let Target::Local(path) = &target
                && demuxer.format_name() == "concat"
            {
                joined::check(path, &|file| header(spec, file, interrupt)).context(|| spec.label())?;
            }
            return Ok((demuxer, None));
        }
    }
    let label = spec.label();
    let fetched = spool::fetch(url, &options, protocols.as_deref(), interrupt, &label)
        .map_err(|e| e.either(|e| explain(spec, &target, e)))?;
    let note = format!(
        "{label}: the server cannot send parts of it, and its index lies behind its media: all {} bytes were fetched \
         before anything could be read",
        fetched.size
    );
    let options = av::DemuxerOptions {
        url: url.into(),
        options: fetched.unused,
        // Nothing outside the file may be opened.
        protocol_whitelist: Some(vec!["crypto".into(), "data".into()]),
        io: Some(av::Input::Seekable(Box::new(fetched.file))),
        ..base(spec, interrupt)
    };
    finish(spec, &target, av::Demuxer::open(options)).map(|demuxer| (demuxer, Some(note)))
}

/// Opens a file of the list that is `spec`, as far as its header says what it is.
fn header(spec: &SourceSpec, file: &str, interrupt: &av::Interrupt) -> Result<av::Demuxer> {
    let spec = SourceSpec { url: Some(file.into()), format: None, ..spec.clone() };
    let target = Target::of(file, None);
    target.check(&spec)?;
    let options = av::DemuxerOptions {
        url: target.address(file),
        protocol_whitelist: Some(vec!["file".into()]),
        find_stream_info: false,
        ..base(&spec, interrupt)
    };
    av::Demuxer::open(options).map_err(|e| explain(&spec, &target, e))
}

/// Opens the subtitle file at `path` if it is not in UTF-8, in the character set that is `said` or likely, which the note names.
///
/// # Errors
/// As [`charset::read`] and [`open`].
pub(crate) fn open_text(
    spec: &SourceSpec,
    path: &str,
    said: Option<&str>,
    interrupt: &av::Interrupt,
) -> Result<Option<(av::Demuxer, Option<String>)>> {
    let Some((text, name)) = charset::read(path, said)? else { return Ok(None) };
    let note = name.filter(|_| said.is_none());
    let note =
        note.map(|name| format!("{path}: is not UTF-8, read as {name} (a guess: charset says what it is)"));
    let options = av::DemuxerOptions {
        // FFmpeg looks at its extension.
        url: path.into(),
        options: pairs(spec),
        protocol_whitelist: Some(vec!["data".into()]),
        io: Some(av::Input::Seekable(Box::new(std::io::Cursor::new(text)))),
        ..base(spec, interrupt)
    };
    let target = Target::Local(path.into());
    let opened = finish(spec, &target, av::Demuxer::open(options))?;
    Ok(Some((opened, note)))
}

/// As [`open`], for a container whose bytes come from `input`.
///
/// # Errors
/// As [`open`], without those of files and protocols.
pub(crate) fn open_bytes(
    spec: &SourceSpec,
    input: av::Input,
    interrupt: &av::Interrupt,
) -> Result<av::Demuxer> {
    let options = av::DemuxerOptions {
        options: pairs(spec),
        // Nothing outside the bytes may be opened (playlists, external references).
        protocol_whitelist: Some(vec!["crypto".into(), "data".into()]),
        io: Some(input),
        ..base(spec, interrupt)
    };
    finish(spec, &Target::Bytes, av::Demuxer::open(options))
}

/// The path of a source that is a file on this machine.
pub(crate) fn local_path(spec: &SourceSpec) -> Option<String> {
    match Target::of(spec.url.as_deref()?, spec.format.as_deref()) {
        Target::Local(path) => Some(path),
        _ => None,
    }
}

fn base(spec: &SourceSpec, interrupt: &av::Interrupt) -> av::DemuxerOptions {
    let timeout = Some(spec.timeout).filter(|t| *t > 0.0);
    interrupt.set_timeout(timeout.map(|t| Duration::from_secs_f64(t.min(1e9))));
    av::DemuxerOptions {
        format: spec.format.clone(),
        interrupt: interrupt.clone(),
        ..av::DemuxerOptions::default()
    }
}

fn pairs(spec: &SourceSpec) -> av::Pairs {
    spec.options.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// The user's options, and ours for the protocol where the user gave none.
fn options(spec: &SourceSpec, target: &Target) -> av::Pairs {
    let mut list = pairs(spec);
    let mut add = |name: &str, value: String| {
        if !spec.options.contains_key(name) {
            list.push((name.into(), value));
        }
    };
    let url = spec.url.as_deref().unwrap_or_default();
    let path = url.split(['?', '#']).next().unwrap_or(url);
    if path.to_ascii_lowercase().ends_with(".mpd") {
        // FFmpeg's own list of what a manifest may name has no words in it.
        add("allowed_extensions", "aac,m4a,m4s,m4v,mov,mp4,webm,ts,vtt".into());
    }
    let Target::Url { protocol } = target else { return list };
    let http = matches!(protocol.as_str(), "http" | "https");
    if http || protocol.starts_with("rtsp") {
        add("user_agent", format!("GhostStream/{}", env!("CARGO_PKG_VERSION")));
    }
    if !http {
        return list;
    }
    if spec.timeout > 0.0 {
        // Of the time that a read may take, a third for a silent connection, so that a new one can still be made.
        add("rw_timeout", format!("{:.0}", spec.timeout * 1e6 / 3.0));
    }
    if spec.reconnect {
        add("reconnect", "1".into());
        // Not reconnect_streamed: where a server cannot go on, it begins again, and FFmpeg puts that in the middle.
        add("reconnect_on_network_error", "1".into());
        let wait = if spec.timeout > 0.0 { spec.timeout / 3.0 } else { 30.0 };
        add("reconnect_delay_max", format!("{:.0}", wait.clamp(1.0, 30.0)));
    }
    if !spec.headers.is_empty() {
        list.push(("headers".into(), spec.headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect()));
    }
    list
}

fn finish(spec: &SourceSpec, target: &Target, opened: av::Result<av::Demuxer>) -> Result<av::Demuxer> {
    let demuxer = opened.map_err(|e| explain(spec, target, e))?;
    for (name, _) in demuxer.unused_options() {
        if spec.options.contains_key(name) {
            let format = demuxer.format_name();
            return Err(Error::invalid(
                format!("source.options.{name}"),
                format!("neither FFmpeg's {format} demuxer nor its protocol has such an option"),
            ));
        }
    }
    if !spec.headers.is_empty() && !matches!(target.protocol(), "http" | "https") {
        return Err(Error::invalid("source.headers", format!("{} is not read over HTTP", spec.label())));
    }
    if demuxer.stream_count() == 0 {
        return Err(Error::new(ErrorKind::Format, format!("{}: has no streams", spec.label())));
    }
    Ok(demuxer)
}

/// The failure of a read from `spec`, named after the source.
pub(crate) fn reading(label: &str, timeout: f64, e: av::Error) -> Error {
    match e.kind() {
        av::Kind::TimedOut => Error::new(ErrorKind::Io, format!("{label}: {}", silence(timeout))),
        av::Kind::Io if e.code == EIO => Error::new(
            ErrorKind::Io,
            format!("{label}: the source broke off before its end ({})", e.message()),
        ),
        _ => Error::from(e).context(label),
    }
}

/// `EIO` as FFmpeg returns it.
const EIO: i32 = -5;
/// `EPERM`, likewise.
const EPERM: i32 = -1;

/// Why some MP4 cannot be piped.
pub(crate) const BACKWARDS: &str = "its index lies behind its media, and what comes only once cannot be read so: give it \
                                    as a file, or with the index in front (faststart)";

fn silence(timeout: f64) -> String {
    format!("no answer within {timeout} s (source.timeout)")
}

/// The failure of opening, named after the source. FFmpeg's own text has the address, credentials included, so only
/// its reason is taken.
fn explain(spec: &SourceSpec, target: &Target, e: av::Error) -> Error {
    let label = spec.label();
    let kind = e.kind();
    let (kind, reason) = match kind {
        av::Kind::InvalidData | av::Kind::Eof => {
            let seems = target.describe_content().map(|s| format!(" ({s})")).unwrap_or_default();
            let format =
                spec.format.as_ref().map_or("a media file".into(), |f| format!("in the format {f:?}"));
            (ErrorKind::Format, format!("is not {format}, or is damaged{seems}"))
        }
        av::Kind::TimedOut => (ErrorKind::Io, silence(spec.timeout)),
        av::Kind::Backwards => (ErrorKind::Unsupported, BACKWARDS.into()),
        // What FFmpeg makes of names that do not resolve, of transfers that break and of redirects without end.
        av::Kind::Io if e.code == EIO && matches!(target, Target::Url { .. }) => (
            ErrorKind::Io,
            "no usable answer: the host is unknown, the connection broke, or redirects did not end".into(),
        ),
        av::Kind::Unsupported if spec.format.as_ref().is_some_and(|f| !av::has_demuxer(f)) => {
            return Error::invalid(
                "source.format",
                format!("{:?} is no demuxer of this FFmpeg", spec.format.as_deref().unwrap_or_default()),
            );
        }
        _ if e.code == EPERM && matches!(target, Target::Local(path) if joined::is_list(path)) => (
            ErrorKind::Denied,
            "it names a file by an absolute path, by \"..\" or with unusual signs, which source.options.safe=0 allows".into(),
        ),
        // A protocol that a playlist or redirect inside the source wanted.
        av::Kind::Invalid if matches!(target, Target::Url { .. } | Target::Bytes) => {
            (ErrorKind::Invalid, format!("{}; an option or a protocol that is not allowed", e.message()))
        }
        _ => (Error::from(e.clone()).kind(), e.message()),
    };
    if spec.url.as_deref() == Some(label.as_str()) {
        Error::with_source(kind, format!("{label}: {reason}"), e)
    } else {
        Error::new(kind, format!("{label}: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_gets_an_agent_reconnects_and_headers_unless_the_user_says_otherwise() {
        let mut spec = SourceSpec::url("https://host/a.mp4");
        spec.headers.insert("X-Key".into(), "1".into());
        spec.options.insert("user_agent".into(), "mine".into());
        let target = Target::of("https://host/a.mp4", None);
        let list = options(&spec, &target);
        let get = |name: &str| {
            let all: Vec<_> = list.iter().filter(|(k, _)| k == name).map(|(_, v)| v.as_str()).collect();
            assert!(all.len() < 2, "{name} twice");
            all.first().copied()
        };
        assert_eq!(get("user_agent"), Some("mine"));
        assert_eq!(get("headers"), Some("X-Key: 1\r\n"));
        assert_eq!((get("reconnect"), get("rw_timeout")), (Some("1"), Some("10000000")));
        let spec = SourceSpec { reconnect: false, ..SourceSpec::url("a.mp4") };
        assert!(options(&spec, &Target::of("a.mp4", None)).is_empty());
    }
}
