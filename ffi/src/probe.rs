//! What is in a source, and what this machine can do.

use crate::boundary::{Out, enter, text};
use crate::buffer::gs_buffer;
use crate::bytes::{self, gs_bytes};
use crate::status::gs_status;
use engine::probe::ProbeOptions;
use engine::spec::{PatternSpec, ScreenSpec, SourceSpec, parse_json};
use engine::{Error, Result};
use std::ffi::c_char;

/// Flag of gs_probe: read all packets, for the list of key frames and exact durations and frame counts.
/// Since: 0
pub const GS_PROBE_KEYFRAMES: u32 = 1;

/// A source as functions take it: a `source` object of the document, `pattern:smpte`, `pattern:gradient`, `screen:…`,
/// `camera:…`, or a path or URL.
pub(crate) fn source(text: &str) -> Result<SourceSpec> {
    if text.trim_start().starts_with('{') {
        return parse_json(text).map_err(|e| e.context("source"));
    }
    if let Some(kind) = text.strip_prefix("pattern:") {
        let kind = serde_json::from_value(kind.into())
            .map_err(|e| Error::invalid("source", format!("{kind:?} is no pattern: {e}")))?;
        return Ok(SourceSpec::pattern(PatternSpec { kind, ..PatternSpec::default() }));
    }
    if ScreenSpec::is_named_by(text) {
        return ScreenSpec::parse(text).map(SourceSpec::screen);
    }
    if text.is_empty() {
        return Err(Error::invalid("source", "empty"));
    }
    Ok(SourceSpec::url(text))
}

/// What is in a source, as JSON: streams, duration, frame rate, colour, HDR, chapters. `source` is a path or URL,
/// `pattern:smpte`, or a `source` object of the document. Blocks while it reads.
/// Owns: you get `*json`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_NOT_FOUND, GS_FORMAT, GS_IO, GS_DENIED naming the source; GS_INVALID.
/// Since: 0
///
/// # Safety
/// `source` is NULL or a terminated string; `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_probe(source: *const c_char, flags: u32, json: *mut *mut gs_buffer) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(json, "json") }?;
        // SAFETY: the caller's promise.
        let source = self::source(unsafe { text(source, "source") }?)?;
        out.set(gs_buffer::json(&engine::probe::probe(&source, &options(flags)?)?)?);
        Ok(gs_status::GS_OK)
    })
}

/// As gs_probe, of a file that you have. `source` is NULL or a `source` object that names no source (`{"format": "mpegts"}`).
/// Owns: you get `*json`; gs_buffer_unref it. `bytes.release` runs before this gives GS_OK.
/// Thread: any.
/// Errors: GS_FORMAT; GS_IO when `read` failed; GS_INVALID naming the field.
/// Since: 0
///
/// # Safety
/// `bytes` is NULL or as long as its `size` says, with fields as its text says; `source` is NULL or a terminated string;
/// `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_probe_bytes(
    bytes: *const gs_bytes,
    source: *const c_char,
    flags: u32,
    json: *mut *mut gs_buffer,
) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(json, "json") }?;
        // SAFETY: the caller's promise.
        let taken = unsafe { bytes::Taken::new(bytes) }?;
        // SAFETY: the caller's promise.
        let source = unsafe { bytes::source(source) }?;
        let options = options(flags)?;
        let found = engine::probe::probe_content(
            &taken.content(),
            &source,
            &options,
            &engine::source::Interrupt::new(),
        )?;
        let found = gs_buffer::json(&found)?;
        taken.keep();
        out.set(found);
        Ok(gs_status::GS_OK)
    })
}

fn options(flags: u32) -> Result<ProbeOptions> {
    if flags & !GS_PROBE_KEYFRAMES != 0 {
        return Err(Error::invalid("flags", format!("unknown flags in {flags:#x}")));
    }
    Ok(ProbeOptions { keyframes: flags & GS_PROBE_KEYFRAMES != 0 })
}

/// What this machine and build can do, as JSON: FFmpeg, hardware, encoders that really work here and why others do not,
/// decoders, formats. Tries the encoders, so that the first call may take seconds.
/// Owns: you get `*json`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_INVALID for NULL.
/// Since: 0
///
/// # Safety
/// `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_devices(json: *mut *mut gs_buffer) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(json, "json") }?;
        out.set(gs_buffer::json(&engine::device::here())?);
        Ok(gs_status::GS_OK)
    })
}

/// The settings that have names (`discord720p` … `hdr10-1440p60`), as JSON: `[{"name", "short", "purpose", "video"}]`, with
/// `video` as an output of a job's document has it.
/// Owns: you get `*json`; gs_buffer_unref it.
/// Thread: any.
/// Errors: GS_INVALID for NULL.
/// Since: 0
///
/// # Safety
/// `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gs_presets(json: *mut *mut gs_buffer) -> gs_status {
    enter(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(json, "json") }?;
        out.set(gs_buffer::json(&engine::Preset::table())?);
        Ok(gs_status::GS_OK)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_document_a_pattern_or_a_path() {
        assert_eq!(source("a b.mkv").unwrap().url.as_deref(), Some("a b.mkv"));
        assert!(source("pattern:smpte").unwrap().pattern.is_some());
        assert!(source("pattern:none").unwrap_err().message().starts_with("source: "));
        assert_eq!(source(r#" {"url": "x", "start": 2}"#).unwrap().start.unwrap().0, 2.0);
        let error = source(r#"{"url": "x", "strat": 2}"#).unwrap_err();
        assert!(error.message().contains("strat"), "{error}");
        let screen = source("screen:DP-1?fps=30&cursor=0").unwrap().screen.unwrap();
        assert_eq!((screen.monitor.as_deref(), screen.cursor), (Some("DP-1"), false));
        assert!(source("screen:?colour=red").unwrap_err().message().starts_with("source: "));
        assert_eq!(source("camera:/dev/video0").unwrap().label(), "camera:/dev/video0");
        assert!(source("").is_err());
    }
}
