//! Which encoder makes a track: what was asked for, else the best that really works on this machine.

pub use super::containers::{
    can_carry, check_container, check_pushed, check_pushed_together, default_audio_codec,
    default_video_codec, is_native_audio,
};

use super::presets;
use super::probe::probe;
use crate::error::{Error, ErrorKind, Result};
use crate::packet::Codec;
use crate::spec::Device;
use ghoststream_sys::ffmpeg as av;

/// A chosen encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// FFmpeg's name.
    pub name: String,
    /// Why this one, for the plan.
    pub reason: String,
    /// Set when it stands in for one that was asked for and does not work: the text of the warning.
    pub fallback: Option<String>,
}

/// Devices in the order in which `auto` tries them, with the end of their encoders' names.
const DEVICES: &[(Device, &str)] = &[
    (Device::Cuda, "nvenc"),
    (Device::VideoToolbox, "videotoolbox"),
    (Device::Qsv, "qsv"),
    (Device::Vaapi, "vaapi"),
    (Device::Amf, "amf"),
    (Device::Vulkan, "vulkan"),
];

/// Software encoders of a codec, best first.
fn software(codec: &Codec) -> Vec<String> {
    let known: &[&str] = match codec {
        Codec::H264 => &["libx264", "libopenh264"],
        Codec::Hevc => &["libx265"],
        Codec::Av1 => &["libsvtav1", "libaom-av1"],
        Codec::Vp9 => &["libvpx-vp9"],
        Codec::Vp8 => &["libvpx"],
        Codec::ProRes => &["prores_ks"],
        Codec::DnxHd => &["dnxhd"],
        _ => &[],
    };
    let mut list: Vec<String> = known.iter().map(ToString::to_string).collect();
    if list.is_empty()
        && let Some(name) = av::default_encoder(codec.name())
    {
        list.push(name);
    }
    list
}

/// Chooses the encoder for `codec`. `encoder` is a name or `auto`; without one, `device` says where to encode, and
/// [`Device::Auto`] takes the first hardware that works, else software. "Works" is found out by encoding
/// ([`super::probe`]), never by the list of names alone.
///
/// # Errors
/// [`ErrorKind::NotFound`] when nothing here encodes the codec; [`ErrorKind::Unsupported`] or [`ErrorKind::Device`] for
/// what was asked for and does not work, unless `fallback` allows the next best; [`ErrorKind::Invalid`] when a named
/// encoder makes another codec.
pub fn choose_video(codec: &Codec, encoder: Option<&str>, device: Device, fallback: bool) -> Result<Chosen> {
    choose(codec, encoder, device, fallback, &|name| probe(name))
}

pub(crate) type Probe<'a> = &'a dyn Fn(&str) -> Result<()>;

/// As [`choose_video`], where `works` says what works.
pub(crate) fn choose(
    codec: &Codec,
    encoder: Option<&str>,
    device: Device,
    fallback: bool,
    works: Probe<'_>,
) -> Result<Chosen> {
    // One word for what each codec has an encoder of.
    let nvenc = format!("{codec}_nvenc");
    let encoder = encoder.map(|name| if name == "nvenc" { nvenc.as_str() } else { name });
    if let Some(name) = encoder.filter(|name| *name != "auto") {
        if !is_on(name, device) {
            let why = format!("{name} does not encode there; leave one of encoder and device out");
            return Err(Error::invalid("device", why));
        }
        let failed = match named(codec, name, works) {
            Ok(()) => return Ok(Chosen { name: name.into(), reason: "asked for".into(), fallback: None }),
            Err(e) if waited_for(&e, name, fallback) => return Ok(busy(name)),
            Err(e) if e.kind() == ErrorKind::Invalid || !fallback => return Err(at_encoder(e)),
            Err(e) => e,
        };
        let next = automatic(codec, Device::Auto, works).map_err(|_| failed.clone().context("encoder"))?;
        return Ok(stand_in(next, name, &failed));
    }
    if matches!(device, Device::Auto | Device::Software) {
        return automatic(codec, device, works);
    }
    let suffix = DEVICES.iter().find(|(d, _)| *d == device).map_or("", |(_, suffix)| suffix);
    let name = format!("{}_{suffix}", codec.name());
    match try_one(&name, works) {
        Ok(()) => Ok(Chosen { reason: format!("works on {suffix}"), name, fallback: None }),
        Err(e) if fallback => {
            let next = automatic(codec, Device::Auto, works).map_err(|_| e.clone().context("device"))?;
            Ok(stand_in(next, &name, &e))
        }
        Err(e) if waited_for(&e, &name, fallback) => Ok(busy(&name)),
        Err(e) => Err(e.context("device")),
    }
}

/// Whether the encoder of this name is one of `device`.
fn is_on(name: &str, device: Device) -> bool {
    let of = |suffix: &str| name.strip_suffix(suffix).is_some_and(|codec| codec.ends_with('_'));
    match device {
        Device::Auto => true,
        Device::Software => !DEVICES.iter().any(|(_, suffix)| of(suffix)),
        _ => DEVICES.iter().any(|(of_device, suffix)| *of_device == device && of(suffix)),
    }
}

/// Whether an encoder is taken although it does not work now: all its sessions are in use, nothing else may do it, and it
/// waits for one itself.
fn waited_for(e: &Error, name: &str, fallback: bool) -> bool {
    e.kind() == ErrorKind::Busy && !fallback && presets::direct(name).is_some()
}

fn busy(name: &str) -> Chosen {
    Chosen { name: name.into(), reason: "asked for; all its sessions are in use now".into(), fallback: None }
}

/// What names a field of the track speaks for itself; the rest is about the encoder.
fn at_encoder(e: Error) -> Error {
    match e.message().strip_prefix("video.").map(str::to_string) {
        Some(message) => Error::with_source(e.kind(), message, e),
        None => e.context("encoder"),
    }
}

fn stand_in(chosen: Chosen, asked: &str, failure: &Error) -> Chosen {
    let asked = presets::shown(asked);
    let warning = format!("{asked} does not work here ({failure}); {} encodes instead", chosen.name);
    Chosen {
        reason: format!("instead of {asked}, which does not work here"),
        fallback: Some(warning),
        ..chosen
    }
}

fn named(codec: &Codec, name: &str, works: Probe<'_>) -> Result<()> {
    if name.ends_with("_nvenc") && presets::direct(name).is_none() {
        return Err(Error::new(ErrorKind::Invalid, format!("nvenc does not make {codec}")));
    }
    let makes = presets::codec_of(name).ok_or_else(|| match presets::table(name) {
        Some(_) => Error::unsupported(format!("this FFmpeg has no video encoder {name}")),
        // Nobody's fallback mends a name that no FFmpeg has.
        None => Error::new(ErrorKind::Invalid, format!("there is no video encoder {name}")),
    })?;
    if makes != *codec {
        return Err(Error::new(ErrorKind::Invalid, format!("{name} makes {makes}, not {codec}")));
    }
    works(name)
}

fn try_one(name: &str, works: Probe<'_>) -> Result<()> {
    if presets::codec_of(name).is_none() {
        return Err(Error::unsupported(format!("this FFmpeg has no {name}")));
    }
    works(name)
}

fn automatic(codec: &Codec, device: Device, works: Probe<'_>) -> Result<Chosen> {
    let mut obstacles: Vec<String> = Vec::new();
    if device == Device::Auto {
        for (_, suffix) in DEVICES {
            let name = format!("{}_{suffix}", codec.name());
            if presets::codec_of(&name).is_none() {
                continue;
            }
            match works(&name) {
                Ok(()) => {
                    let reason = format!("the first hardware encoder that works here{}", but_not(&obstacles));
                    return Ok(Chosen { name, reason, fallback: None });
                }
                Err(_) => obstacles.push(name),
            }
        }
    }
    let mut last = None;
    for name in software(codec) {
        match try_one(&name, works) {
            Ok(()) => {
                let reason = match device {
                    Device::Software => format!("software, as asked{}", but_not(&obstacles)),
                    _ if obstacles.is_empty() => "no hardware encoder for it in this FFmpeg".into(),
                    _ => format!("software{}", but_not(&obstacles)),
                };
                return Ok(Chosen { name, reason, fallback: None });
            }
            Err(e) => {
                obstacles.push(name);
                last = Some(e);
            }
        }
    }
    let message = format!("no encoder for {codec} works here{}", but_not(&obstacles));
    Err(match last {
        Some(e) => e.context(message),
        None => Error::new(ErrorKind::NotFound, message),
    })
}

fn but_not(obstacles: &[String]) -> String {
    if obstacles.is_empty() { String::new() } else { format!("; {} do not work here", obstacles.join(", ")) }
}

/// The codec that the audio encoder of this name makes; `None` when this FFmpeg has no such encoder.
pub fn audio_codec_of(encoder: &str) -> Option<Codec> {
    let info = av::encoder_info(encoder).filter(|i| i.kind == av::MediaType::Audio)?;
    Some(Codec::from_name(&info.codec))
}

/// Chooses the audio encoder for `codec`: the named one, else the best in this FFmpeg.
///
/// # Errors
/// [`ErrorKind::Unsupported`] when it is not in this FFmpeg, [`ErrorKind::Invalid`] when a named one makes another codec.
pub fn choose_audio(codec: &Codec, encoder: Option<&str>) -> Result<String> {
    if let Some(name) = encoder.filter(|name| *name != "auto") {
        let info = av::encoder_info(name)
            .filter(|i| i.kind == av::MediaType::Audio)
            .ok_or_else(|| Error::unsupported(format!("encoder: this FFmpeg has no audio encoder {name}")))?;
        if Codec::from_name(&info.codec) != *codec {
            return Err(Error::invalid("encoder", format!("{name} makes {}, not {codec}", info.codec)));
        }
        return Ok(name.into());
    }
    let better: &[&str] = match codec {
        Codec::Opus => &["libopus"],
        Codec::Vorbis => &["libvorbis"],
        Codec::Mp3 => &["libmp3lame", "libshine"],
        _ => &[],
    };
    better
        .iter()
        .find(|name| av::has_encoder(name))
        .map(ToString::to_string)
        .or_else(|| {
            let name = av::default_encoder(codec.name())?;
            let info = av::encoder_info(&name)?;
            (!info.experimental && info.kind == av::MediaType::Audio).then_some(name)
        })
        .ok_or_else(|| Error::unsupported(format!("this FFmpeg has no encoder for {codec}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(name: &str) -> Result<()> {
        if name.contains('_') { Err(Error::new(ErrorKind::Device, "no device")) } else { Ok(()) }
    }

    #[test]
    fn an_encoder_whose_sessions_are_all_in_use_is_waited_for_where_no_other_may_do_it() {
        let taken = |name: &str| match name.ends_with("_nvenc") {
            true => Err(Error::new(ErrorKind::Busy, "no session")),
            false => broken(name),
        };
        for (encoder, device) in [(Some("nvenc"), Device::Auto), (None, Device::Cuda)] {
            let c = choose(&Codec::H264, encoder, device, false, &taken).unwrap();
            assert_eq!((c.name.as_str(), c.fallback.is_none()), ("h264_nvenc", true));
            let c = choose(&Codec::H264, encoder, device, true, &taken).unwrap();
            assert_eq!((c.name.as_str(), c.fallback.is_some()), ("libx264", true));
        }
        let e = choose(&Codec::H264, Some("nvenc"), Device::Auto, false, &broken).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Device);
    }

    #[test]
    fn hardware_that_does_not_work_leaves_software_with_a_reason() {
        let c = choose(&Codec::H264, None, Device::Auto, true, &broken).unwrap();
        assert_eq!((c.name.as_str(), c.fallback.is_none()), ("libx264", true));
        assert!(c.reason.contains("do not work here"), "{}", c.reason);
        let c = choose(&Codec::H264, Some("auto"), Device::Software, false, &broken).unwrap();
        assert_eq!(c.name, "libx264");
    }

    #[test]
    fn what_was_asked_for_falls_back_only_if_it_may() {
        let c = choose(&Codec::H264, None, Device::Vaapi, true, &broken).unwrap();
        assert_eq!(c.name, "libx264");
        assert!(c.fallback.unwrap().contains("h264_vaapi does not work here (no device)"));
        let e = choose(&Codec::H264, None, Device::Vaapi, false, &broken).unwrap_err();
        assert!(e.message().starts_with("device: "), "{e}");
        let c = choose(&Codec::H264, None, Device::Amf, true, &broken).unwrap();
        assert!(c.fallback.unwrap().starts_with("h264_amf does not work here"));
        let c = choose(&Codec::H264, Some("h264_vaapi"), Device::Auto, true, &broken).unwrap();
        assert_eq!((c.name.as_str(), c.fallback.is_some()), ("libx264", true));
        let e = choose(&Codec::H264, Some("h264_vaapi"), Device::Auto, false, &broken).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Device);
    }

    #[test]
    fn an_encoder_and_a_device_that_contradict_each_other_are_refused() {
        let with = |name: &str, device| choose(&Codec::H264, Some(name), device, true, &|_| Ok(()));
        for (name, device) in
            [("libx264", Device::Cuda), ("nvenc", Device::Vaapi), ("h264_vaapi", Device::Software)]
        {
            let e = with(name, device).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid);
            assert!(e.message().starts_with("device: "), "{e}");
        }
        for (name, device) in
            [("libx264", Device::Software), ("nvenc", Device::Cuda), ("auto", Device::Software)]
        {
            with(name, device).unwrap();
        }
    }

    #[test]
    fn names_are_checked_against_the_codec() {
        let e = choose(&Codec::Hevc, Some("libx264"), Device::Auto, true, &|_| Ok(())).unwrap_err();
        assert_eq!((e.kind(), e.message()), (ErrorKind::Invalid, "encoder: libx264 makes h264, not hevc"));
        assert!(choose(&Codec::H264, Some("nope"), Device::Auto, false, &|_| Ok(())).is_err());
        assert_eq!(choose_audio(&Codec::Opus, None).unwrap(), "libopus");
        assert_eq!(choose_audio(&Codec::Aac, Some("auto")).unwrap(), "aac");
        assert_eq!(choose_audio(&Codec::from_name("pcm_s24le"), None).unwrap(), "pcm_s24le");
        assert!(choose_audio(&Codec::Aac, Some("libopus")).is_err());
        assert!(choose_audio(&Codec::from_name("dts"), None).is_err(), "FFmpeg's is experimental");
    }

    #[test]
    fn a_codec_without_any_encoder_is_refused() {
        let e = choose(&Codec::from_name("hdmv_pgs_subtitle"), None, Device::Auto, true, &|_| Ok(()))
            .unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotFound);
    }
}
