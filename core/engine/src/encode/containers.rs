//! Which container can carry which codec, and what it gets when nothing is said.

use crate::error::{Error, Result};
use crate::packet::{Codec, MediaKind};
use crate::spec::Container;

/// The codec a container's video gets when nothing is said; `None` for containers without video.
pub fn default_video_codec(container: Container) -> Option<Codec> {
    Some(match container {
        Container::WebM => Codec::Vp9,
        Container::Y4m => Codec::RawVideo,
        Container::Ogg | Container::Wav | Container::Mp3 | Container::Flac => return None,
        _ => Codec::H264,
    })
}

/// The codec a container's sound gets when nothing is said; `None` for containers without sound.
pub fn default_audio_codec(container: Container) -> Option<Codec> {
    Some(match container {
        Container::WebM | Container::Ogg => Codec::Opus,
        Container::Wav => Codec::PcmS16,
        Container::Mp3 => Codec::Mp3,
        Container::Flac => Codec::Flac,
        Container::Y4m => return None,
        _ => Codec::Aac,
    })
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
        (Container::Mov, Video) => {
            &["h264", "hevc", "mpeg4", "mpeg2video", "mjpeg", "prores", "dnxhd", "rawvideo", "png", "dvvideo"]
        }
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
        (Container::Flv, Video) => &["h264", "flv1", "vp6f"],
        (Container::Flv, Audio) => &["aac", "mp3", "speex"],
        (Container::Raw, Video) => {
            &["h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mpeg2video", "mjpeg", "rawvideo"]
        }
        (Container::Raw, Audio) => &["aac", "ac3", "eac3", "mp3", "flac"],
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

/// Refuses a codec that `container` cannot carry, by name and with what it can.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] (`video.codec: webm cannot carry h264; it can: vp8, vp9, av1`).
pub fn check_carries(container: Container, kind: MediaKind, codec: &Codec) -> Result<()> {
    if can_carry(container, kind, codec) {
        return Ok(());
    }
    let list = carried(container, kind).unwrap_or_default();
    let message = if list.is_empty() {
        format!("{} carries no {}", container.name(), kind.name())
    } else {
        format!("{} cannot carry {codec}; it can: {}", container.name(), list.join(", "))
    };
    Err(Error::invalid(format!("{}.codec", kind.name()), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fit_their_containers() {
        use Container::*;
        for container in [Mp4, Mov, Mkv, WebM, Ts, Flv, Raw, Ogg, Wav, Mp3, Flac, Y4m, Hls, Dash, HlsDash] {
            if let Some(codec) = default_video_codec(container) {
                check_carries(container, MediaKind::Video, &codec).unwrap();
            }
            if let Some(codec) = default_audio_codec(container) {
                check_carries(container, MediaKind::Audio, &codec).unwrap();
            }
        }
    }

    #[test]
    fn refusals_name_both_sides() {
        let e = check_carries(Container::WebM, MediaKind::Video, &Codec::H264).unwrap_err();
        assert_eq!(e.message(), "video.codec: webm cannot carry h264; it can: vp8, vp9, av1");
        let e = check_carries(Container::Wav, MediaKind::Video, &Codec::H264).unwrap_err();
        assert_eq!(e.message(), "video.codec: wav carries no video");
    }
}
