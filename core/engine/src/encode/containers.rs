//! Which container can carry which codec, and what it gets when nothing is said.

use crate::error::{Error, ErrorKind, Result};
use crate::packet::{Codec, MediaKind, StreamInfo};
use crate::spec::Container;
use ghoststream_sys::ffmpeg::MediaType;

/// The codec a container's video gets when nothing is said. A container without video refuses it
/// ([`check_container`]).
pub fn default_video_codec(container: Container) -> Codec {
    match container {
        Container::WebM => Codec::Vp9,
        Container::Y4m => Codec::RawVideo,
        Container::Image => Codec::Mjpeg,
        _ => Codec::H264,
    }
}

/// The codec a container's sound gets when nothing is said. A container without sound refuses it.
pub fn default_audio_codec(container: Container) -> Codec {
    match container {
        Container::WebM | Container::Ogg => Codec::Opus,
        Container::Wav => Codec::PcmS16,
        Container::Mp3 => Codec::Mp3,
        Container::Flac => Codec::Flac,
        _ => Codec::Aac,
    }
}

/// Whether a stream is what practically every player of `container` plays, so that a copy is as good as a new encode.
pub fn is_native_audio(container: Container, stream: &StreamInfo) -> bool {
    let channels = stream.audio.as_ref().map_or(0, |a| a.layout.channels);
    // FFmpeg's AV_PROFILE_AAC_LOW; HE-AAC plays widely but not everywhere.
    let plain_aac = stream.codec == Codec::Aac && stream.profile.is_none_or(|p| p == 1) && channels <= 2;
    match container {
        Container::Mp4 | Container::Mov | Container::Hls | Container::Dash | Container::HlsDash => plain_aac,
        Container::Flv => plain_aac || stream.codec == Codec::Mp3,
        // What is broadcast in it (ETSI TS 101 154).
        Container::Ts => plain_aac || matches!(stream.codec.name(), "mp3" | "mp2" | "ac3" | "eac3"),
        Container::WebM | Container::Ogg => matches!(stream.codec, Codec::Opus | Codec::Vorbis),
        Container::Mkv => can_carry(Container::Mp4, MediaKind::Audio, &stream.codec),
        Container::Raw => true,
        Container::Wav => stream.codec == Codec::PcmS16,
        Container::Mp3 => stream.codec == Codec::Mp3,
        Container::Flac => stream.codec == Codec::Flac,
        Container::Y4m | Container::WebVtt | Container::SubRip | Container::Ass | Container::Image => false,
    }
}

/// Whether this FFmpeg writes Enhanced RTMP, which came with 6.1 (libavformat 60.16).
fn enhanced_flv() -> bool {
    let (major, minor, _) = ghoststream_sys::ffmpeg::versions().avformat;
    (major, minor) >= (60, 16)
}

/// What a container carries; `None` = anything FFmpeg's muxer takes.
fn carried(container: Container, kind: MediaKind) -> Option<&'static [&'static str]> {
    use MediaKind::{Audio, Video};
    Some(match (container, kind) {
        (Container::Mkv, _) => return None,
        (Container::Mp4, Video) => {
            &["h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg", "vvc", "png"]
        }
        (Container::Mp4, Audio) => {
            &["aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac", "dts", "vorbis"]
        }
        (Container::Mov, Video) => &[
            "h264",
            "hevc",
            "mpeg4",
            "mpeg2video",
            "mjpeg",
            "prores",
            "dnxhd",
            "rawvideo",
            "png",
            "dvvideo",
            "qtrle",
            "cfhd",
            "v210",
            "jpeg2000",
        ],
        (Container::Mov, Audio) => &[
            "aac",
            "mp3",
            "ac3",
            "eac3",
            "alac",
            "flac",
            "pcm_s16le",
            "pcm_s16be",
            "pcm_s24le",
            "pcm_s24be",
            "pcm_s32le",
            "pcm_f32le",
            "pcm_u8",
        ],
        (Container::WebM, Video) => &["vp8", "vp9", "av1"],
        (Container::WebM, Audio) => &["opus", "vorbis"],
        (Container::Ts, Video) => &["h264", "hevc", "mpeg2video", "mpeg1video", "mpeg4"],
        (Container::Ts, Audio) => &["aac", "aac_latm", "mp3", "mp2", "ac3", "eac3", "opus", "dts", "truehd"],
        (Container::Flv, Video) if enhanced_flv() => &["h264", "hevc", "av1", "vp9", "flv1", "vp6f"],
        (Container::Flv, Video) => &["h264", "flv1", "vp6f"],
        (Container::Flv, Audio) => &["aac", "mp3", "speex"],
        (Container::Raw, Video) => {
            &["h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mpeg2video", "mjpeg", "rawvideo"]
        }
        (Container::Raw, Audio) => &["aac", "ac3", "eac3", "mp3", "flac", "pcm_s16le", "pcm_f32le"],
        (Container::Ogg, Video) => &["theora"],
        (Container::Ogg, Audio) => &["opus", "vorbis", "flac", "speex"],
        (Container::Wav, Audio) => &[
            "pcm_s16le",
            "pcm_s24le",
            "pcm_s32le",
            "pcm_f32le",
            "pcm_f64le",
            "pcm_u8",
            "pcm_alaw",
            "pcm_mulaw",
        ],
        (Container::Mp3, Audio) => &["mp3"],
        (Container::Flac, Audio) => &["flac"],
        (Container::Y4m, Video) => &["rawvideo"],
        (Container::Image, Video) => &["mjpeg", "png", "webp"],
        (Container::Hls | Container::Dash | Container::HlsDash, Video) => &["h264", "hevc", "av1", "vp9"],
        (Container::Hls | Container::Dash | Container::HlsDash, Audio) => {
            &["aac", "ac3", "eac3", "opus", "flac", "mp3", "alac"]
        }
        _ => &[],
    })
}

/// Whether `container` can carry `codec`.
pub fn can_carry(container: Container, kind: MediaKind, codec: &Codec) -> bool {
    carried(container, kind).is_none_or(|list| list.contains(&codec.name()))
}

/// What RTMP carries as we push it: Enhanced RTMP is not left to FFmpeg, which has it only in new versions.
const PUSHED_FLV: &[&str] = &["h264", "hevc", "av1", "vp9", "aac", "mp3", "opus", "flv1", "speex"];

/// As [`check_container`], for what is pushed over a network.
///
/// # Errors
/// As [`check_container`].
pub fn check_pushed(container: Container, codec: &Codec) -> Result<()> {
    if container == Container::Flv && PUSHED_FLV.contains(&codec.name()) {
        return Ok(());
    }
    check_container(container, codec)
}

/// Refuses tracks that go over RTMP each by itself, but not together: Enhanced RTMP is written by us, with one track of a kind
/// and without codecs that only FFmpeg's muxer has.
///
/// # Errors
/// [`ErrorKind::Invalid`], by name.
pub fn check_pushed_together(container: Container, tracks: &[(MediaKind, &str)]) -> Result<()> {
    const OURS: [&str; 4] = ["hevc", "av1", "vp9", "opus"];
    const BOTH: [&str; 3] = ["h264", "aac", "mp3"];
    let enhanced = tracks.iter().map(|(_, codec)| *codec).find(|codec| OURS.contains(codec));
    let Some(enhanced) = enhanced.filter(|_| container == Container::Flv) else { return Ok(()) };
    let refuse = |what: String| {
        let message = format!("flv (RTMP) carries {enhanced} {what}");
        Err(Error::new(ErrorKind::Invalid, message))
    };
    if let Some((_, other)) = tracks.iter().find(|(_, codec)| !OURS.contains(codec) && !BOTH.contains(codec))
    {
        return refuse(format!("beside {} and {}, not beside {other}", OURS.join(", "), BOTH.join(", ")));
    }
    for kind in [MediaKind::Video, MediaKind::Audio] {
        if tracks.iter().filter(|(k, _)| *k == kind).count() > 1 {
            return refuse(format!("with one {} track", kind.name()));
        }
    }
    Ok(())
}

/// Refuses a codec that `container` cannot carry, by name and with what it can.
///
/// # Errors
/// [`ErrorKind::Invalid`] (`webm cannot carry h264; it can: vp8, vp9, av1`).
pub fn check_container(container: Container, codec: &Codec) -> Result<()> {
    let kind = codec.kind().unwrap_or_else(|| match ghoststream_sys::ffmpeg::codec_kind(codec.name()) {
        Some(MediaType::Audio) => MediaKind::Audio,
        _ => MediaKind::Video,
    });
    if can_carry(container, kind, codec) {
        return Ok(());
    }
    let list = carried(container, kind).unwrap_or_default();
    let enhanced = ["hevc", "av1", "vp9"].contains(&codec.name());
    let message = if container == Container::Flv && enhanced && !enhanced_flv() {
        let version = ghoststream_sys::ffmpeg::versions().ffmpeg;
        format!(
            "flv files cannot carry {codec} here: FFmpeg {version} is in use, and Enhanced FLV came with FFmpeg 6.1; h264 works, \
             and what is pushed over RTMP carries it"
        )
    } else if list.is_empty() {
        format!("{} carries no {}", container.name(), kind.name())
    } else {
        format!("{} cannot carry {codec}; it can: {}", container.name(), list.join(", "))
    };
    Err(Error::new(ErrorKind::Invalid, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Rational;

    #[test]
    fn defaults_fit_their_containers() {
        use Container::*;
        for container in [Mp4, Mov, Mkv, WebM, Ts, Flv, Raw, Y4m, Image, Hls, Dash, HlsDash] {
            check_container(container, &default_video_codec(container)).unwrap();
        }
        for container in [Mp4, Mov, Mkv, WebM, Ts, Flv, Raw, Ogg, Wav, Mp3, Flac, Hls, Dash, HlsDash] {
            check_container(container, &default_audio_codec(container)).unwrap();
        }
        assert!(check_container(Wav, &default_video_codec(Wav)).is_err());
        assert!(check_container(Y4m, &default_audio_codec(Y4m)).is_err());
    }

    #[test]
    fn refusals_name_both_sides() {
        let e = check_container(Container::WebM, &Codec::H264).unwrap_err();
        assert_eq!(e.message(), "webm cannot carry h264; it can: vp8, vp9, av1");
        assert_eq!(
            check_container(Container::Wav, &Codec::H264).unwrap_err().message(),
            "wav carries no video"
        );
        assert!(
            check_container(Container::WebM, &Codec::from_name("dts"))
                .unwrap_err()
                .message()
                .contains("opus")
        );
        check_container(Container::Mkv, &Codec::from_name("theora")).unwrap();
        for codec in [Codec::Hevc, Codec::Av1, Codec::Vp9, Codec::Opus] {
            check_pushed(Container::Flv, &codec).unwrap();
        }
        assert!(check_pushed(Container::Ts, &Codec::Vp9).is_err());
        let together = |container, names: &[&'static str]| {
            let kind = |name: &str| match name {
                "aac" | "opus" | "mp3" | "speex" => MediaKind::Audio,
                _ => MediaKind::Video,
            };
            let tracks: Vec<_> = names.iter().map(|n| (kind(n), *n)).collect();
            check_pushed_together(container, &tracks).map_err(|e| e.message().to_owned())
        };
        for names in [
            &["hevc", "aac"][..],
            &["h264", "opus"],
            &["vp9", "mp3"],
            &["flv1", "speex"],
            &["h264", "speex"],
            &["h264", "aac", "aac"],
        ] {
            assert_eq!(together(Container::Flv, names), Ok(()), "{names:?}");
        }
        for (names, said) in [
            (&["hevc", "speex"][..], "hevc beside hevc, av1, vp9, opus and h264, aac, mp3, not beside speex"),
            (&["flv1", "opus"], "not beside flv1"),
            (&["h264", "opus", "aac"], "opus with one audio track"),
            (&["h264", "av1"], "av1 with one video track"),
        ] {
            let e = together(Container::Flv, names).unwrap_err();
            assert!(e.contains(said), "{names:?}: {e}");
        }
        assert_eq!(together(Container::Ts, &["hevc", "aac", "speex"]), Ok(()));
        match check_container(Container::Flv, &Codec::Hevc) {
            Ok(()) => assert!(enhanced_flv()),
            Err(e) => assert!(!enhanced_flv() && e.message().contains("FFmpeg 6.1"), "{e}"),
        }
    }

    #[test]
    fn native_sound_is_what_plays_everywhere() {
        let stream = |codec| StreamInfo::new(MediaKind::Audio, codec, Rational::new(1, 48000));
        assert!(is_native_audio(Container::Mp4, &stream(Codec::Aac)));
        assert!(!is_native_audio(Container::Mp4, &stream(Codec::Opus)));
        assert!(is_native_audio(Container::WebM, &stream(Codec::Opus)));
        let he = StreamInfo { profile: Some(4), ..stream(Codec::Aac) };
        assert!(!is_native_audio(Container::Hls, &he));
        assert!(is_native_audio(Container::Ts, &stream(Codec::Ac3)));
        assert!(!is_native_audio(Container::Hls, &stream(Codec::Ac3)));
    }
}
