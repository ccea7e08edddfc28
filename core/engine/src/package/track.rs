//! [`Track`]: everything exact about one stream, taken from its own headers, that writers and playlists need.

use super::bitstream::{aac, ac3, av1, flac, h264, hevc, mp3, nal::Framing, opus, vp9};
use super::codecs;
use crate::error::{Context, Error, Result};
use crate::frame::{Colour, ColourRange, DolbyVision};
use crate::packet::{Codec, MediaKind, Packet, StreamInfo, VideoInfo};
use crate::time::{Rational, TimeBase};
use bytes::Bytes;

/// The codec configuration of a track, parsed.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Config {
    H264(h264::Config),
    Hevc(hevc::Config),
    Av1(av1::Config),
    Vp9(vp9::Config),
    Aac(aac::Config),
    Opus(opus::Config),
    Flac(flac::Config),
    Ac3(ac3::Config),
    Mp3(mp3::Config),
    WebVtt,
}

/// One stream as the packagers see it. Immutable; clones are cheap enough to keep one per rendition.
#[derive(Clone, Debug)]
pub struct Track {
    /// The stream, as its source or encoder described it.
    pub info: StreamInfo,
    /// Its codec configuration.
    pub config: Config,
    /// Ticks per second of the track's media time: exact for the frame rate (video) or the sampling rate (audio).
    pub timescale: u32,
    /// Width in pixels; 0 unless video.
    pub width: u32,
    /// Height in pixels; 0 unless video.
    pub height: u32,
    /// Colour description: the container's, completed from the bitstream.
    pub colour: Colour,
    /// Channels; 0 unless audio.
    pub channels: u32,
    /// Media time of presentation time 0, in ticks, which the init segment's edit list takes off again: encoder
    /// priming of audio, the reorder delay of video with B frames (so that no composition offset is negative, which
    /// FFmpeg's demuxer would take for a shift of the whole track).
    pub priming: u32,
}

impl Track {
    /// Describes `info`. `first` is the stream's first key packet; several codecs say there, and only there, what they
    /// are (see [`Track::needs_packet`]). Fails with [`crate::ErrorKind::Unsupported`] for codecs that no HLS or DASH
    /// player takes, [`crate::ErrorKind::Format`] for damaged headers.
    pub fn new(info: &StreamInfo, first: Option<&Packet>) -> Result<Track> {
        let config = config(info, first.map(|p| &p.data)).context(|| info.codec.name().to_owned())?;
        let mut track = Track {
            info: info.clone(),
            config,
            timescale: 1000,
            width: 0,
            height: 0,
            colour: Colour::default(),
            channels: 0,
            priming: 0,
        };
        match info.kind {
            MediaKind::Video => {
                track.describe_video()?;
                let decode = first.and_then(Packet::decode).filter(|t| t.base.is_positive());
                if let (Some(first), Some(decode)) = (first.and_then(Packet::presentation), decode) {
                    let delay = first.to(track.base()).ticks.saturating_sub(decode.to(track.base()).ticks);
                    // Longer than ten seconds is no reordering but damage.
                    track.priming = u32::try_from(delay).map_or(0, |d| d.min(track.timescale * 10));
                }
            }
            MediaKind::Audio => track.describe_audio()?,
            _ => {}
        }
        Ok(track)
    }

    /// Whether [`Track::new`] cannot do without the stream's first key packet.
    pub fn needs_packet(info: &StreamInfo) -> bool {
        match info.codec {
            Codec::Vp9 | Codec::Ac3 | Codec::Eac3 | Codec::Mp3 => true,
            Codec::Opus | Codec::WebVtt => false,
            // An av1C record alone has no sequence header.
            Codec::Av1 => info.extradata.len() < 8,
            _ => info.extradata.is_empty(),
        }
    }

    fn describe_video(&mut self) -> Result<()> {
        let (width, height, colour, rate) = match &self.config {
            Config::H264(c) => (c.info.width, c.info.height, c.info.colour, c.info.frame_rate),
            Config::Hevc(c) => (c.info.width, c.info.height, c.info.colour, c.info.frame_rate),
            Config::Av1(c) => (c.info.width, c.info.height, c.info.colour, None),
            Config::Vp9(c) => (c.width, c.height, c.colour, None),
            _ => return Err(Error::invalid("codec", format!("{} is not video", self.info.codec))),
        };
        (self.width, self.height) = (width, height);
        let said = self.info.video.as_ref().map(|v| v.colour).unwrap_or_default();
        self.colour = complete(said, colour);
        let rate = self.frame_rate().or(rate);
        if let Some(video) = &mut self.info.video {
            video.frame_rate = rate;
        }
        if let (Config::Vp9(c), Some(rate)) = (&mut self.config, rate) {
            c.set_rate(rate.as_f64());
        }
        self.timescale = video_timescale(rate, self.info.time_base);
        Ok(())
    }

    fn describe_audio(&mut self) -> Result<()> {
        let (rate, channels) = match &self.config {
            Config::Aac(c) => (c.rate, c.channels()),
            Config::Opus(c) => (48000, Some(u32::from(c.channels))),
            Config::Flac(c) => (c.rate, Some(u32::from(c.channels))),
            Config::Ac3(c) => (c.rate, Some(u32::from(c.channels))),
            Config::Mp3(c) => (c.rate, Some(u32::from(c.channels))),
            _ => return Err(Error::invalid("codec", format!("{} is not audio", self.info.codec))),
        };
        let audio = self.info.audio.as_ref();
        self.timescale = rate;
        self.channels = audio.map(|a| a.layout.channels).filter(|n| *n > 0).or(channels).unwrap_or(2);
        self.priming = audio.map_or(0, |a| {
            let padding = u64::from(a.initial_padding) * u64::from(rate) / u64::from(a.sample_rate.max(1));
            padding.min(u64::from(rate)) as u32
        });
        Ok(())
    }

    /// Seconds per tick of the track's media time.
    pub fn base(&self) -> TimeBase {
        Rational::new(1, self.timescale as i32)
    }

    /// The video side of the stream, if it is video.
    pub fn video(&self) -> Option<&VideoInfo> {
        self.info.video.as_ref()
    }

    /// Frames per second, where known.
    pub fn frame_rate(&self) -> Option<Rational> {
        self.video().and_then(|v| v.frame_rate).filter(|r| r.is_positive())
    }

    /// Sample aspect ratio; 1/1 when unknown.
    pub fn sample_aspect(&self) -> Rational {
        let in_stream = match &self.config {
            Config::H264(c) => c.info.sample_aspect,
            Config::Hevc(c) => c.info.sample_aspect,
            _ => None,
        };
        let said = self.video().map(|v| v.sample_aspect).filter(|r| r.is_positive());
        said.filter(|r| r.num != r.den).or(in_stream).unwrap_or(Rational::new(1, 1))
    }

    /// Dolby Vision that only a Dolby Vision decoder can show (profile 5): its sample entry and codec string are its
    /// own.
    pub(super) fn dolby_vision_only(&self) -> Option<DolbyVision> {
        let coded = matches!(self.config, Config::Hevc(_) | Config::Av1(_));
        self.dolby_vision().filter(|dv| coded && codecs::dolby_vision_brand(dv).is_none())
    }

    fn dolby_vision(&self) -> Option<DolbyVision> {
        self.video().and_then(|v| v.hdr.dolby_vision)
    }

    /// `SUPPLEMENTAL-CODECS`: what a Dolby Vision player may take instead of [`Track::codecs`].
    pub fn supplemental_codecs(&self) -> Option<String> {
        let dv = self.dolby_vision()?;
        let av1 = match self.config {
            Config::Hevc(_) => false,
            Config::Av1(_) => true,
            _ => return None,
        };
        let brand = codecs::dolby_vision_brand(&dv)?;
        Some(format!("{}/{brand}", codecs::dolby_vision(&dv, av1)))
    }

    /// The RFC 6381 string for fMP4.
    pub fn codecs(&self) -> String {
        if let Some(dv) = self.dolby_vision_only() {
            return codecs::dolby_vision(&dv, matches!(self.config, Config::Av1(_)));
        }
        match &self.config {
            Config::H264(c) => codecs::h264(&c.info),
            Config::Hevc(c) => codecs::hevc(&c.info.ptl),
            Config::Av1(c) => codecs::av1(&c.info, self.colour),
            Config::Vp9(c) => codecs::vp9(c, self.colour),
            Config::Aac(c) => codecs::aac(c),
            Config::Opus(_) => codecs::OPUS.into(),
            Config::Flac(_) => codecs::FLAC.into(),
            Config::Ac3(c) if c.enhanced => codecs::EAC3.into(),
            Config::Ac3(_) => codecs::AC3.into(),
            Config::Mp3(_) => codecs::MP3_MP4.into(),
            Config::WebVtt => codecs::WVTT.into(),
        }
    }

    /// The RFC 6381 string for MPEG-TS.
    pub fn codecs_ts(&self) -> String {
        match &self.config {
            Config::Mp3(_) => codecs::MP3_TS.into(),
            _ => self.codecs(),
        }
    }

    /// Samples in one packet of audio at [`Track::timescale`], where the codec says; exact where a container's
    /// rounded durations are not.
    pub fn packet_samples(&self, data: &[u8]) -> Option<u32> {
        match &self.config {
            Config::Aac(c) => Some(c.output_samples()),
            Config::Opus(_) => opus::packet_samples(data),
            Config::Ac3(c) if !c.enhanced => Some(c.samples),
            Config::Ac3(_) => ac3::Config::parse(data).ok().map(|c| c.samples),
            Config::Mp3(c) => Some(c.samples),
            _ => None,
        }
    }

    /// A packet of sound, as this track's are, in which nothing is heard; `None` where that is not known how to make.
    pub(super) fn silence(&self) -> Option<Bytes> {
        match &self.config {
            Config::Aac(c) => {
                let frame = c.silence()?;
                // Without a description the frames bring theirs.
                let header = match self.info.extradata.is_empty() {
                    true => c.adts_header(frame.len()).ok()?.to_vec(),
                    false => Vec::new(),
                };
                Some([header, frame].concat().into())
            }
            Config::Opus(c) => c.silence().map(Bytes::from),
            _ => None,
        }
    }

    /// How NAL units are delimited in the packets of an H.264 or HEVC stream.
    pub(super) fn framing(&self) -> Option<Framing> {
        match &self.config {
            Config::H264(c) => Some(c.framing),
            Config::Hevc(c) => Some(c.framing),
            _ => None,
        }
    }
}

fn config(info: &StreamInfo, first: Option<&Bytes>) -> Result<Config> {
    let extra = &info.extradata;
    let packet = || {
        first.ok_or_else(|| Error::invalid("first", "this codec describes itself in its first packet only"))
    };
    Ok(match &info.codec {
        Codec::H264 if extra.is_empty() => Config::H264(h264::Config::from_annex_b(packet()?)?),
        Codec::H264 => Config::H264(h264::Config::parse(extra)?),
        Codec::Hevc if extra.is_empty() => Config::Hevc(hevc::Config::from_annex_b(packet()?)?),
        Codec::Hevc => Config::Hevc(hevc::Config::parse(extra)?),
        Codec::Av1 if extra.len() < 8 => Config::Av1(av1::Config::from_obus(packet()?)?),
        Codec::Av1 => Config::Av1(av1::Config::parse(extra)?),
        Codec::Vp9 => Config::Vp9(vp9::Config::parse(packet()?)?),
        Codec::Aac if extra.is_empty() => {
            let data = packet()?;
            let header = aac::Adts::parse(data)
                .ok_or_else(|| super::bitstream::damaged("no AudioSpecificConfig and no ADTS header"))?;
            Config::Aac(aac::Config::from_adts(&header)?)
        }
        Codec::Aac => Config::Aac(aac::Config::parse(extra)?),
        Codec::Opus if extra.is_empty() => {
            let audio = info.audio.as_ref();
            let channels = audio.map_or(2, |a| a.layout.channels.min(255) as u8);
            let skip = audio.map_or(0, |a| a.initial_padding.min(u32::from(u16::MAX)) as u16);
            Config::Opus(opus::Config::simple(channels, skip)?)
        }
        Codec::Opus => Config::Opus(opus::Config::parse(extra)?),
        Codec::Flac => Config::Flac(flac::Config::parse(extra)?),
        Codec::Ac3 | Codec::Eac3 => Config::Ac3(ac3::Config::parse(packet()?)?),
        Codec::Mp3 => Config::Mp3(mp3::Config::parse(packet()?)?),
        Codec::WebVtt => Config::WebVtt,
        other => return Err(Error::unsupported(format!("no HLS or DASH packaging for {other}"))),
    })
}

/// `said`, with what it leaves open taken from `found`.
fn complete(said: Colour, found: Colour) -> Colour {
    let pick = |a, b| if a == 2 { b } else { a };
    Colour {
        primaries: pick(said.primaries, found.primaries),
        transfer: pick(said.transfer, found.transfer),
        matrix: pick(said.matrix, found.matrix),
        range: if said.range == ColourRange::Unspecified { found.range } else { said.range },
        chroma: said.chroma,
    }
}

/// The timescale in which one frame is a whole number of ticks, 90000 where that does it; else the source's own base.
fn video_timescale(rate: Option<Rational>, base: TimeBase) -> u32 {
    const USUAL: i64 = 90_000;
    let own = base.num == 1 && (1_000..=10_000_000).contains(&base.den);
    if let Some(rate) = rate {
        let rate = rate.reduced();
        let (num, den) = (i64::from(rate.num), i64::from(rate.den));
        if (USUAL * den) % num == 0 {
            return USUAL as u32;
        }
        if num <= 1_000_000 {
            // A multiple of the rate's numerator, large enough for a useful resolution.
            let times = (10_000 + num - 1) / num;
            return (num * times) as u32;
        }
    }
    if own && USUAL % i64::from(base.den) != 0 { base.den as u32 } else { USUAL as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timescales_are_exact_for_the_rate() {
        let scale = |num, den| video_timescale(Some(Rational::new(num, den)), Rational::new(1, 1000));
        assert_eq!(scale(30, 1), 90_000);
        assert_eq!(scale(30_000, 1001), 90_000);
        assert_eq!(scale(24_000, 1001), 24_000);
        assert_eq!(scale(60_000, 1001), 60_000);
        assert_eq!(scale(144, 1), 90_000);
        assert_eq!(scale(7, 1) % 7, 0);
        assert_eq!(video_timescale(None, Rational::new(1, 15_360)), 15_360);
    }
}
