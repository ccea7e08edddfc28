//! Descriptions of elementary streams from their parameter sets, for ingests whose protocols carry little else.

use bytes::Bytes;
use ghoststream::frame::{ChannelLayout, Colour, HdrMetadata};
use ghoststream::package::bitstream::nal::{self, Framing};
use ghoststream::package::bitstream::{aac, av1, h264, hevc, opus, vp9};
use ghoststream::packet::{AudioInfo, FieldOrder, MediaKind, StreamInfo, VideoInfo};
use ghoststream::time::{Rational, TimeBase};
use ghoststream::{Codec, Error, Result};

/// A picture's side of a [`StreamInfo`] with everything else unknown.
fn picture(width: u32, height: u32, colour: Colour) -> VideoInfo {
    VideoInfo {
        width,
        height,
        format: None,
        frame_rate: None,
        constant_rate: None,
        sample_aspect: Rational::new(1, 1),
        colour,
        hdr: HdrMetadata::default(),
        rotation: 0.0,
        mirrored: false,
        field_order: FieldOrder::Unknown,
        reorder: 0,
    }
}

/// Pictures of `codec`, described by `extradata`: `avcC`, `hvcC`, `av1C` or parameter sets. VP9 and VP8 have none: see
/// [`vp9`](vp9_from_key) and [`vp8`](vp8_from_key).
///
/// # Errors
/// For parameter sets that are damaged or not understood, and for other codecs.
pub fn video(codec: Codec, extradata: Bytes, base: TimeBase) -> Result<StreamInfo> {
    let mut info = StreamInfo::new(MediaKind::Video, codec.clone(), base);
    info.video = Some(match codec {
        Codec::H264 => {
            let sps = h264::Config::parse(&extradata)?.info;
            info.profile = Some(i32::from(sps.profile));
            info.level = Some(i32::from(sps.level));
            let mut picture = picture(sps.width, sps.height, sps.colour);
            picture.frame_rate = sps.frame_rate;
            picture.sample_aspect = sps.sample_aspect.unwrap_or(Rational::new(1, 1));
            picture.field_order = if sps.progressive { FieldOrder::Progressive } else { FieldOrder::Unknown };
            // What the set does not say may be as deep as two pictures in practice.
            picture.reorder = sps.reorder.unwrap_or(if sps.profile == 66 { 0 } else { 2 });
            picture
        }
        Codec::Hevc => {
            let sps = hevc::Config::parse(&extradata)?.info;
            info.profile = Some(i32::from(sps.ptl.profile));
            info.level = Some(i32::from(sps.ptl.level));
            let mut picture = picture(sps.width, sps.height, sps.colour);
            picture.frame_rate = sps.frame_rate;
            picture.sample_aspect = sps.sample_aspect.unwrap_or(Rational::new(1, 1));
            picture.reorder = sps.reorder;
            picture
        }
        Codec::Av1 => {
            let header = av1::Config::parse(&extradata)?.info;
            info.profile = Some(i32::from(header.profile));
            info.level = Some(i32::from(header.level));
            picture(header.width, header.height, header.colour)
        }
        other => return Err(Error::unsupported(format!("pictures of {other} have no parameter sets"))),
    });
    info.extradata = extradata;
    Ok(info)
}

/// The description that a key frame's parameter sets give, when they are not those of `info`: `data` is in a stream's format.
/// `None` when nothing has changed, or what is there cannot be understood.
pub fn changed(info: &StreamInfo, data: &[u8]) -> Option<StreamInfo> {
    let units = Framing::Length(4).units(data).ok()?;
    let mut sets = Vec::new();
    let extradata = match info.codec {
        Codec::H264 => {
            let known = h264::Config::parse(&info.extradata).ok()?;
            let of = |u: &&&[u8]| matches!(h264::unit_type(u), h264::SPS | h264::PPS);
            // Other picture parameter sets alone go with the pictures.
            let new = |u: &&[u8]| h264::unit_type(u) == h264::SPS && !known.sps.iter().any(|k| k == u);
            if !units.iter().any(new) {
                return None;
            }
            units.iter().filter(of).for_each(|u| nal::push_annex_b(&mut sets, u));
            h264::Config::from_annex_b(&sets).ok()?.to_avcc()
        }
        Codec::Hevc => {
            let known = hevc::Config::parse(&info.extradata).ok()?;
            let of = |u: &&&[u8]| matches!(hevc::unit_type(u), hevc::VPS | hevc::SPS | hevc::PPS);
            let new = |u: &&[u8]| hevc::unit_type(u) == hevc::SPS && !known.sps.iter().any(|k| k == u);
            if !units.iter().any(new) {
                return None;
            }
            units.iter().filter(of).for_each(|u| nal::push_annex_b(&mut sets, u));
            hevc::Config::from_annex_b(&sets).ok()?.to_hvcc()
        }
        _ => return None,
    };
    let mut described = video(info.codec.clone(), extradata.into(), info.time_base).ok()?;
    described.index = info.index;
    if let (Some(now), Some(was)) = (&mut described.video, &info.video) {
        now.frame_rate = now.frame_rate.or(was.frame_rate);
        (now.rotation, now.mirrored) = (was.rotation, was.mirrored);
    }
    Some(described)
}

/// VP9 pictures, described by a key frame.
///
/// # Errors
/// For data that is not a key frame.
pub fn vp9_from_key(data: &[u8], base: TimeBase) -> Result<StreamInfo> {
    let config = vp9::Config::parse(data)?;
    let mut info = StreamInfo::new(MediaKind::Video, Codec::Vp9, base);
    info.profile = Some(i32::from(config.profile));
    info.video = Some(picture(config.width, config.height, config.colour));
    Ok(info)
}

/// VP8 pictures, described by a key frame (RFC 6386, 9.1).
///
/// # Errors
/// For data that is not a key frame.
pub fn vp8_from_key(data: &[u8], base: TimeBase) -> Result<StreamInfo> {
    let [first, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = data else {
        return Err(Error::new(ghoststream::ErrorKind::Format, "VP8: not a key frame"));
    };
    if first & 1 != 0 {
        return Err(Error::new(ghoststream::ErrorKind::Format, "VP8: not a key frame"));
    }
    // The upper two bits of each are a scale for the display.
    let size = |low: &u8, high: &u8| u32::from(u16::from_le_bytes([*low, *high]) & 0x3fff);
    let mut info = StreamInfo::new(MediaKind::Video, Codec::Vp8, base);
    info.video = Some(picture(size(w0, w1), size(h0, h1), Colour::default()));
    Ok(info)
}

/// Sound of `codec`, described by `extradata`: an AudioSpecificConfig or an `OpusHead`.
///
/// # Errors
/// For extradata that is damaged or says nothing about the channels, and for other codecs.
pub fn audio(codec: Codec, extradata: Bytes, base: TimeBase) -> Result<StreamInfo> {
    let mut info = StreamInfo::new(MediaKind::Audio, codec.clone(), base);
    let (sample_rate, channels, frame_size, initial_padding) = match codec {
        Codec::Aac => {
            let config = aac::Config::parse(&extradata)?;
            let channels = config
                .channels()
                .ok_or_else(|| Error::unsupported("AAC: channels that only the bitstream describes"))?;
            info.profile = Some(i32::from(config.object_type) - 1);
            (config.rate, channels, config.output_samples(), 0)
        }
        Codec::Opus => {
            let config = opus::Config::parse(&extradata)?;
            (48_000, u32::from(config.channels), 960, u32::from(config.pre_skip))
        }
        other => return Err(Error::unsupported(format!("sound of {other}"))),
    };
    info.audio = Some(AudioInfo {
        sample_rate,
        layout: ChannelLayout::from_channels(channels),
        format: None,
        frame_size,
        initial_padding,
    });
    info.extradata = extradata;
    Ok(info)
}
