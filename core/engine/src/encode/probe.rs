//! Whether an encoder really works here: it is opened and encodes a few frames. Results are kept in memory and in a file
//! (`$XDG_CACHE_HOME/ghoststream/encoders.json`) under a key made of FFmpeg's build and the drivers and devices present,
//! so that each machine pays once.

use super::format::input_format;
use super::presets::Input;
use super::video::{VideoEncode, VideoEncoder};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::Upload;
use crate::frame::{Colour, Frame};
use crate::packet::Packet;
use crate::spec::{Preset, VideoSpec};
use crate::stage::{OutletFn, Stage};
use crate::time::Rational;
use ghoststream_sys::ffmpeg as av;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Default, Serialize, Deserialize)]
struct Cache {
    key: String,
    /// The reason why an encoder does not work, `None` when it does.
    encoders: BTreeMap<String, Option<String>>,
}

static MEMORY: Mutex<Option<Cache>> = Mutex::new(None);

/// Whether the video encoder `name` works here.
///
/// # Errors
/// Why it does not. The kind of a remembered failure is [`ErrorKind::Device`].
pub fn probe(name: &str) -> Result<()> {
    crate::log::install();
    if let Some(codec) = super::presets::direct(name) {
        return super::nvenc::works(&codec);
    }
    let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let file = cache_file();
    let cache = memory.get_or_insert_with(|| load(file.as_deref(), machine_key()));
    match cache.encoders.get(name) {
        Some(None) => return Ok(()),
        Some(Some(why)) => return Err(Error::new(ErrorKind::Device, why.clone())),
        None => {}
    }
    let result = encode_a_little(name);
    match &result {
        Ok(()) => cache.encoders.insert(name.into(), None),
        // A busy device or a lack of memory passes; the rest does not until the key changes.
        Err(e) if matches!(e.kind(), ErrorKind::Busy | ErrorKind::Memory) => return result,
        Err(e) => cache.encoders.insert(name.into(), Some(e.message().into())),
    };
    if let Some(file) = file
        && let Err(e) = store(&file, cache)
    {
        tracing::debug!(file = %file.display(), error = %e, "cannot keep the results of encoder probes");
    }
    result
}

/// The size of the pictures that `encoder` is tried with.
fn tried_with(encoder: &str) -> (u32, u32) {
    // DV is for television's only.
    if encoder == "dvvideo" { (720, 576) } else { (320, 240) }
}

/// Opens the encoder and encodes eight frames.
fn encode_a_little(name: &str) -> Result<()> {
    if !av::has_encoder(name) {
        return Err(Error::unsupported(format!("this FFmpeg has no {name}")));
    }
    const RATE: Rational = Rational::new(25, 1);
    let mut spec = VideoSpec::new();
    spec.encoder = Some(name.into());
    spec.threads = 1;
    spec.profile = super::presets::usual_profile(name, None, None).map(Into::into);
    let (width, height) = tried_with(name);
    let fast = super::presets::table(name).is_some_and(|t| t.presets.is_some());
    spec.preset = fast.then_some(Preset::P1);
    let format = input_format(name, &spec, None)?;
    let mut encoder = VideoEncoder::new(VideoEncode { frame_rate: Some(RATE), ..VideoEncode::new(spec) })?;
    let device = match super::presets::table(name).map(|t| t.input) {
        Some(Input::Only(kind)) => Some(av::HwDevice::create(kind, None, &[]).map_err(|e| {
            Error::with_source(ErrorKind::Device, format!("{name}: device {kind} does not open: {e}"), e)
        })?),
        _ => None,
    };
    let mut upload = device.map(|d| Upload::new(Arc::new(d)));
    let mut packets: Vec<Packet> = Vec::new();
    for i in 0..8u8 {
        let mut media = av::Frame::alloc_video(format, width, height, 0)?;
        for plane in 0..media.plane_count() {
            if let Some(pixels) = media.plane_mut(plane) {
                pixels.fill(16 + i * 8);
            }
        }
        media.set_colour(Colour::BT709);
        media.set_pts(Some(i.into()));
        media.set_duration(1);
        let frame = Frame::new(media, RATE.inverse());
        match &mut upload {
            Some(upload) => upload.push(frame, &mut OutletFn(|f| encoder.push(f, &mut packets)))?,
            None => encoder.push(frame, &mut packets)?,
        }
    }
    encoder.finish(&mut packets)?;
    match packets.first() {
        Some(first) if first.key && !first.data.is_empty() => Ok(()),
        _ => Err(Error::new(ErrorKind::Device, format!("{name} opens but does not encode"))),
    }
}

/// Another number when encoders are tried in another way: what failed before may work now.
const TRIAL: u32 = 2;

/// What the results depend on.
fn machine_key() -> String {
    let versions = av::versions();
    let mut facts = DefaultHasher::new();
    av::configuration().hash(&mut facts);
    versions.avcodec.hash(&mut facts);
    for file in ["/proc/driver/nvidia/version", "/proc/sys/kernel/osrelease"] {
        std::fs::read_to_string(file).unwrap_or_default().hash(&mut facts);
    }
    for directory in ["/dev/dri", "/dev"] {
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .into_iter()
            .flatten()
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .filter(|n| directory == "/dev/dri" || n.starts_with("nvidia") || n == "dxg")
            .collect();
        names.sort();
        names.hash(&mut facts);
    }
    format!("{}/{TRIAL} {} {:016x}", env!("CARGO_PKG_VERSION"), versions.ffmpeg, facts.finish())
}

fn cache_file() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(base.join("ghoststream").join("encoders.json"))
}

fn load(file: Option<&Path>, key: String) -> Cache {
    let read = || serde_json::from_slice::<Cache>(&std::fs::read(file?).ok()?).ok();
    read().filter(|cache| cache.key == key).unwrap_or(Cache { key, encoders: BTreeMap::new() })
}

/// Written beside and renamed, so that a reader never sees half of it.
fn store(file: &Path, cache: &Cache) -> std::io::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let beside = file.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&beside, serde_json::to_vec_pretty(cache)?)?;
    std::fs::rename(&beside, file).inspect_err(|_| {
        let _ = std::fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_probes_tell_what_works_from_what_is_only_listed() {
        for name in ["libx264", "mpeg4", "ffv1"] {
            encode_a_little(name).unwrap();
        }
        let e = encode_a_little("no_such_encoder").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported);
        // Listed by Debian's FFmpeg whatever the machine; without a device it must not count as working.
        if av::has_encoder("h264_vaapi") && !Path::new("/dev/dri").exists() {
            assert_eq!(encode_a_little("h264_vaapi").unwrap_err().kind(), ErrorKind::Device);
        }
    }

    #[test]
    fn the_cache_file_is_kept_for_the_same_machine_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep").join("encoders.json");
        let mut cache = load(Some(&file), "a".into());
        assert!(cache.encoders.is_empty());
        cache.encoders.insert("libx264".into(), None);
        cache.encoders.insert("h264_nvenc".into(), Some("no device".into()));
        store(&file, &cache).unwrap();
        assert_eq!(load(Some(&file), "a".into()).encoders, cache.encoders);
        assert!(load(Some(&file), "b".into()).encoders.is_empty());
        std::fs::write(&file, "{").unwrap();
        assert!(load(Some(&file), "a".into()).encoders.is_empty());
        assert_eq!(
            std::fs::read_dir(file.parent().unwrap()).unwrap().count(),
            1,
            "nothing half-written stays"
        );
    }
}
