//! What this machine can do: FFmpeg, devices that open, encoders that encode, decoders and formats.

use crate::encode::{nvenc, presets, probe};
use crate::packet::{Codec, MediaKind};
use ghoststream_sys::cuda;
use ghoststream_sys::ffmpeg as av;
use ghoststream_sys::nvml;
pub use ghoststream_sys::nvml::Usage as NvidiaUsage;
use serde::Serialize;
use std::collections::BTreeMap;

/// The answer of [`list`].
#[derive(Clone, Debug, Serialize)]
pub struct Devices {
    /// The FFmpeg that is loaded.
    pub ffmpeg: Ffmpeg,
    /// Hardware: one line per device type that this FFmpeg was built with.
    pub hardware: Vec<Hardware>,
    /// GPUs that the system's drivers name.
    pub gpus: Vec<Gpu>,
    /// NVIDIA GPUs, whose encoders are driven directly, as their drivers describe them.
    pub nvidia: Vec<Nvidia>,
    /// Encoders that GhostStream knows how to drive and this FFmpeg has.
    pub encoders: Vec<Encoder>,
    /// Decoders by codec.
    pub decoders: Vec<Decoder>,
    /// Containers that can be read and written.
    pub formats: Formats,
}

/// The answer of [`here`]: what [`list`] says, and the screens. Serializes as the JSON of `ghoststream devices --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Here {
    /// Devices, encoders and formats.
    #[serde(flatten)]
    pub devices: Devices,
    /// Monitors and windows.
    pub screens: Screens,
    /// Sounds and cameras.
    #[serde(flatten)]
    pub media: Media,
}

/// The answer of [`media`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct Media {
    /// What can be heard through PipeWire: outputs (what they play), inputs and applications.
    pub sounds: Vec<MediaNode>,
    /// Cameras that PipeWire has.
    pub cameras: Vec<MediaNode>,
    /// Why nothing is known of PipeWire's sounds and cameras.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipewire: Option<String>,
    /// Cameras that the kernel has (V4L2), and v4l2loopback devices.
    pub video_devices: Vec<VideoDevice>,
}

/// A video device of the kernel: `camera:PATH`.
#[derive(Clone, Debug, Serialize)]
pub struct VideoDevice {
    /// Where it is (`/dev/video0`).
    pub path: String,
    /// What its driver calls it.
    pub name: String,
    /// The driver.
    pub driver: String,
    /// `camera`, or `loopback` for one that shows to others what is written to it.
    pub kind: &'static str,
}

/// Something that PipeWire has.
#[derive(Clone, Debug, Serialize)]
pub struct MediaNode {
    /// Its number for as long as it lives, for `node:NUMBER`.
    pub id: u32,
    /// Its name, for `node:NAME`.
    pub name: String,
    /// Its name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `sink`, `source`, `playing`, `recording` (an application that does) or `camera`.
    pub kind: &'static str,
    /// The application it belongs to, for `app:NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Whether it is used where nobody chooses: `desktop`, `microphone`.
    pub default: bool,
}

/// The answer of [`screens`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct Screens {
    /// How the environment's Wayland compositor hands out its pictures (`ext-image-copy-capture`, `wlr-screencopy`), or
    /// `none`; absent where there is no compositor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wayland: Option<&'static str>,
    /// Monitors, from left to right; the primary one first on X11.
    pub monitors: Vec<Monitor>,
    /// Windows of applications (X11).
    pub windows: Vec<Window>,
    /// Why a display server that the environment names could not be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// A monitor that can be captured: `source.screen.monitor` by its name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Monitor {
    /// `wayland` or `x11`.
    pub backend: &'static str,
    /// Its name (`DP-1`).
    pub name: String,
    /// Maker and model, where they are known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Left edge in the layout: logical pixels on Wayland, pixels on X11.
    pub x: i32,
    /// Upper edge.
    pub y: i32,
    /// Pixels of its pictures.
    pub width: u32,
    /// Pixels of its pictures.
    pub height: u32,
    /// Pixels to a logical pixel.
    pub scale: f64,
    /// Pictures per second, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<f64>,
    /// Whether X11 calls it the primary one.
    pub primary: bool,
}

/// A window that can be captured: `source.screen.window` by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// `x11`.
    pub backend: &'static str,
    /// Its id.
    pub id: u32,
    /// Its title.
    pub title: String,
    /// The application's class.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// The FFmpeg that is loaded (not the one that GhostStream was built against).
#[derive(Clone, Debug, Serialize)]
pub struct Ffmpeg {
    /// Its own version text.
    pub version: String,
    /// Library versions, `avcodec` to `59.37.100` and so on.
    pub libraries: BTreeMap<&'static str, String>,
    /// The licence that its build options make it.
    pub license: String,
    /// The configure line.
    pub configuration: String,
}

/// A hardware device type.
#[derive(Clone, Debug, Serialize)]
pub struct Hardware {
    /// FFmpeg's name (`cuda`, `vaapi` …).
    pub name: String,
    /// Whether its default device opens.
    pub usable: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Model or PCI id, as the driver says.
    pub name: String,
    /// The driver (`nvidia`, `amdgpu`, `i915` …).
    pub driver: String,
    /// Device node or PCI address.
    pub path: String,
}

/// An NVIDIA GPU and its encoder.
#[derive(Clone, Debug, Serialize)]
pub struct Nvidia {
    /// CUDA's number, for the option `gpu`.
    pub index: u32,
    /// The product's name.
    pub name: String,
    /// What tells it from others of its kind.
    pub uuid: String,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of it in use, by all programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used: Option<u64>,
    /// The driver's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The newest CUDA version that the driver knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuda: Option<String>,
    /// The version of the encode interface that is spoken with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Encoding engines.
    pub engines: u32,
    /// Percent of the time in which they were busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy: Option<u32>,
    /// Encode sessions of all programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// Encode sessions of this one.
    pub own_sessions: u32,
    /// Why it does not encode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The driver's answers about each codec; numbers are counts or sizes, 0 and 1 no and yes.
    pub codecs: BTreeMap<&'static str, BTreeMap<&'static str, i32>>,
}

/// An encoder.
#[derive(Clone, Debug, Serialize)]
pub struct Encoder {
    /// FFmpeg's name.
    pub name: String,
    /// The codec it makes.
    pub codec: String,
    /// `video` or `audio`.
    pub kind: &'static str,
    /// `software` or the kind of hardware.
    pub device: String,
    /// Whether it encoded a few frames just now, or on this same machine earlier.
    pub usable: bool,
    /// Why it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A codec that can be decoded.
#[derive(Clone, Debug, Serialize)]
pub struct Decoder {
    /// The codec's name.
    pub codec: String,
    /// FFmpeg's decoders for it, its first choice first.
    pub decoders: Vec<String>,
}

/// Container formats by FFmpeg's names.
#[derive(Clone, Debug, Serialize)]
pub struct Formats {
    /// That can be read.
    pub read: Vec<String>,
    /// That can be written.
    pub write: Vec<String>,
    /// Protocols that can be read from; the document's `source.protocols` still decides.
    pub protocols: Vec<String>,
}

/// Looks at this machine. Opens devices and encodes a few frames with every known encoder; what was found out before is
/// remembered, so only the first call on a machine takes seconds. Any thread.
pub fn list() -> Devices {
    crate::log::install();
    Devices {
        ffmpeg: ffmpeg(),
        hardware: hardware(),
        gpus: gpus(std::path::Path::new("/")),
        nvidia: nvidia(),
        encoders: encoders(),
        decoders: decoders(),
        formats: Formats {
            read: sorted(av::demuxers()),
            write: sorted(av::muxers()),
            protocols: sorted(av::input_protocols()),
        },
    }
}

/// The monitors and windows that the environment's display servers name. Not a part of [`list`], because titles of windows
/// are nobody else's business. Any thread.
pub fn screens() -> Screens {
    #[cfg(target_os = "linux")]
    return crate::source::screen::list();
    #[cfg(not(target_os = "linux"))]
    Screens::default()
}

/// What the session's PipeWire has to hear and to see. Not a part of [`list`]: what applications play is nobody else's
/// business. Any thread.
pub fn media() -> Media {
    #[cfg(target_os = "linux")]
    {
        use ghoststream_sys::pipewire::{self, Node, NodeClass};
        let video_devices = video_devices();
        let found = match pipewire::nodes() {
            Ok(found) => found,
            Err(e) => return Media { pipewire: Some(e.to_string()), video_devices, ..Media::default() },
        };
        let (cameras, sounds): (Vec<Node>, Vec<Node>) =
            found.into_iter().partition(|node| node.class == NodeClass::Camera);
        let shown = |nodes: Vec<Node>| {
            let node = |n: Node| MediaNode {
                id: n.id,
                name: n.name,
                description: n.description,
                kind: n.class.name(),
                application: n.application,
                default: n.default,
            };
            nodes.into_iter().map(node).collect()
        };
        Media { sounds: shown(sounds), cameras: shown(cameras), pipewire: None, video_devices }
    }
    #[cfg(not(target_os = "linux"))]
    Media { pipewire: Some("PipeWire is of Linux".into()), ..Media::default() }
}

/// What can be read or written; devices for something else (metadata, radio) are left out.
#[cfg(target_os = "linux")]
fn video_devices() -> Vec<VideoDevice> {
    let found = ghoststream_sys::v4l2::devices().into_iter().filter(|d| d.captures || d.shows);
    let kind = |shows| if shows { "loopback" } else { "camera" };
    found.map(|d| VideoDevice { path: d.path, name: d.name, driver: d.driver, kind: kind(d.shows) }).collect()
}

/// Everything that the user of this machine may know: [`list`], [`screens`] and [`media`]. Any thread.
pub fn here() -> Here {
    Here { devices: list(), screens: screens(), media: media() }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

fn ffmpeg() -> Ffmpeg {
    let v = av::versions();
    let libraries = [
        ("avutil", v.avutil),
        ("avcodec", v.avcodec),
        ("avformat", v.avformat),
        ("avfilter", v.avfilter),
        ("avdevice", v.avdevice),
    ];
    Ffmpeg {
        version: v.ffmpeg,
        libraries: libraries.into_iter().map(|(name, (a, b, c))| (name, format!("{a}.{b}.{c}"))).collect(),
        license: av::license(),
        configuration: av::configuration(),
    }
}

/// Makes `node` (`/dev/dri/renderD129`) the device of VA-API for everything in this process; `None`: the first one that works.
/// What was found out before about encoders stays, so call it first.
pub fn prefer_vaapi(node: Option<&str>) {
    av::HwDevice::prefer_vaapi(node);
}

fn hardware() -> Vec<Hardware> {
    av::hw_device_types()
        .into_iter()
        .map(|name| {
            let opened = av::HwDevice::create(&name, None, &[]);
            Hardware { usable: opened.is_ok(), reason: opened.err().map(|e| e.to_string()), name }
        })
        .collect()
}

fn nvidia() -> Vec<Nvidia> {
    let known = nvml::devices();
    let describe = |gpu: nvenc::Gpu| {
        let device = known.iter().find(|d| d.uuid.as_ref() == Some(&gpu.uuid));
        let usage = device.map(|d| nvml::usage(d.index)).unwrap_or_default();
        Nvidia {
            own_sessions: nvenc::load(gpu.index).sessions,
            memory_used: usage.memory_used,
            driver: nvml::driver_version(),
            cuda: cuda::driver_version().ok().map(|(major, minor)| format!("{major}.{minor}")),
            api: gpu.api.map(|api| api.to_string()),
            busy: usage.encoder,
            sessions: usage.encoder_sessions,
            codecs: gpu
                .codecs
                .iter()
                .map(|(c, answers)| (c.name(), answers.pairs().into_iter().collect()))
                .collect(),
            index: gpu.index,
            name: gpu.name,
            uuid: gpu.uuid,
            memory: gpu.memory,
            engines: gpu.engines,
            reason: gpu.obstacle,
        }
    };
    nvenc::gpus().unwrap_or_default().into_iter().map(describe).collect()
}

/// How busy each NVIDIA GPU is just now, as far as its driver says; empty without one. Takes microseconds, except the
/// first call, which loads NVML. Any thread.
pub fn nvidia_usage() -> Vec<NvidiaUsage> {
    nvml::devices().into_iter().map(|device| nvml::usage(device.index)).collect()
}

fn encoders() -> Vec<Encoder> {
    let video = presets::KNOWN.iter().filter_map(|name| {
        let codec = presets::codec_of(name)?.name().to_owned();
        let tried = probe::probe(name);
        Some(Encoder {
            name: name.to_string(),
            codec,
            kind: MediaKind::Video.name(),
            device: device_of(name).into(),
            usable: tried.is_ok(),
            reason: tried.err().map(|e| e.message().to_owned()),
        })
    });
    let audio = av::encoders().into_iter().filter_map(|name| {
        let info = av::encoder_info(&name).filter(|i| i.kind == av::MediaType::Audio)?;
        let known = Codec::from_name(&info.codec).kind().is_some() || info.codec.starts_with("pcm_");
        // Audio encoders are all software: that FFmpeg has them is enough, unless it calls them experimental.
        known.then(|| Encoder {
            codec: info.codec,
            kind: MediaKind::Audio.name(),
            device: "software".into(),
            usable: !info.experimental,
            reason: info.experimental.then(|| "FFmpeg calls it experimental".into()),
            name,
        })
    });
    video.chain(audio).collect()
}

fn device_of(encoder: &str) -> &str {
    match encoder.rsplit_once('_') {
        Some((_, device @ ("nvenc" | "vaapi" | "qsv" | "amf" | "videotoolbox" | "vulkan"))) => device,
        _ => "software",
    }
}

fn decoders() -> Vec<Decoder> {
    let mut by_codec: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in av::decoders() {
        if let Some(info) = av::decoder_info(&name) {
            by_codec.entry(info.codec).or_default().push(name);
        }
    }
    by_codec
        .into_iter()
        .map(|(codec, mut decoders)| {
            let first = av::default_decoder(&codec);
            decoders.sort_by_key(|name| Some(name) != first.as_ref());
            Decoder { codec, decoders }
        })
        .collect()
}

/// GPUs as Linux tells them: NVIDIA's own listing, else the kernel's render nodes.
fn gpus(root: &std::path::Path) -> Vec<Gpu> {
    let mut found = Vec::new();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    let entries = |path: &str| {
        let mut paths: Vec<_> = std::fs::read_dir(root.join(path))
            .into_iter()
            .flatten()
            .filter_map(|e| Some(e.ok()?.path()))
            .collect();
        paths.sort();
        paths
    };
    for directory in entries("proc/driver/nvidia/gpus") {
        let text = read(&directory.join("information"));
        let model = text.lines().find_map(|l| l.strip_prefix("Model:")).map_or("NVIDIA GPU", str::trim);
        let address = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.push(Gpu { name: model.into(), driver: "nvidia".into(), path: address });
    }
    for node in entries("sys/class/drm") {
        let name = node.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with("renderD") {
            continue;
        }
        let event = read(&node.join("device/uevent"));
        let field = |key: &str| event.lines().find_map(|l| l.strip_prefix(key)).map(str::to_owned);
        let driver = field("DRIVER=").unwrap_or_default();
        if driver == "nvidia" {
            continue;
        }
        let name_of = field("PCI_ID=").map_or_else(|| driver.clone(), |id| format!("PCI {id}"));
        found.push(Gpu { name: name_of, driver, path: format!("/dev/dri/{name}") });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_what_works_and_why_the_rest_does_not() {
        let devices = list();
        assert!(!devices.ffmpeg.version.is_empty() && devices.ffmpeg.libraries.contains_key("avcodec"));
        let x264 = devices.encoders.iter().find(|e| e.name == "libx264").unwrap();
        assert!(x264.usable && x264.reason.is_none() && x264.device == "software");
        for e in &devices.encoders {
            assert_eq!(e.usable, e.reason.is_none(), "{}", e.name);
        }
        for h in &devices.hardware {
            assert_eq!(h.usable, h.reason.is_none(), "{}", h.name);
        }
        let aac = devices.encoders.iter().find(|e| e.name == "aac").unwrap();
        assert_eq!((aac.kind, aac.usable), ("audio", true));
        assert!(devices.decoders.iter().any(|d| d.codec == "h264" && d.decoders[0] == "h264"));
        assert!(devices.formats.write.iter().any(|f| f == "mp4"));
        let json = serde_json::to_value(&devices).unwrap();
        assert!(json["encoders"][0]["usable"].is_boolean());
    }

    #[test]
    fn gpus_are_read_from_the_kernel() {
        let root = tempfile::tempdir().unwrap();
        let nvidia = root.path().join("proc/driver/nvidia/gpus/0000:01:00.0");
        std::fs::create_dir_all(&nvidia).unwrap();
        std::fs::write(nvidia.join("information"), "Model: \t\t NVIDIA L4\nIRQ:   16\n").unwrap();
        for (node, driver) in [("renderD128", "nvidia"), ("renderD129", "amdgpu"), ("card0", "amdgpu")] {
            let device = root.path().join("sys/class/drm").join(node).join("device");
            std::fs::create_dir_all(&device).unwrap();
            std::fs::write(device.join("uevent"), format!("DRIVER={driver}\nPCI_ID=1002:744C\n")).unwrap();
        }
        let found = gpus(root.path());
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].name.as_str(), found[0].driver.as_str()), ("NVIDIA L4", "nvidia"));
        assert_eq!(found[1].path, "/dev/dri/renderD129");
        assert!(gpus(&root.path().join("nowhere")).is_empty());
    }
}
