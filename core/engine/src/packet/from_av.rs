//! What FFmpeg says about a stream, in the engine's words.

use super::{AudioInfo, Codec, Disposition, FieldOrder, MediaKind, StreamInfo, VideoInfo};
use crate::error::Result;
use crate::frame::ChannelLayout;
use crate::time::{Rational, Timestamp};
use ghoststream_sys::ffmpeg as av;

impl StreamInfo {
    /// Takes a demuxer's description.
    pub(crate) fn from_av(stream: &av::StreamDesc) -> StreamInfo {
        let v = stream.params.values();
        let kind = match v.kind {
            av::MediaType::Video => MediaKind::Video,
            av::MediaType::Audio => MediaKind::Audio,
            av::MediaType::Subtitle => MediaKind::Subtitle,
            av::MediaType::Attachment => MediaKind::Attachment,
            av::MediaType::Data | av::MediaType::Unknown => MediaKind::Data,
        };
        let rational = |(num, den): (i32, i32)| Rational::new(num, den);
        let positive = |r: (i32, i32)| Some(rational(r)).filter(|r| r.is_positive());
        let base = positive(stream.time_base).unwrap_or(crate::time::MICROSECONDS);
        let mut info = StreamInfo::new(kind, Codec::from_name(&v.codec), base);
        info.index = stream.index;
        info.id = (stream.id != 0).then_some(i64::from(stream.id));
        info.profile = v.profile;
        info.level = v.level.filter(|l| *l > 0);
        info.extradata = v.extradata.clone();
        info.start = stream.start.map(|t| Timestamp::new(t, base));
        info.duration = stream.duration.filter(|d| *d > 0).map(|t| Timestamp::new(t, base));
        info.frames = Some(stream.frames).filter(|n| *n > 0);
        info.bit_rate = Some(v.bit_rate).filter(|r| *r > 0);
        info.disposition = disposition(stream.disposition);
        info.programs = stream.programs.iter().map(|id| i64::from(*id)).collect();
        for (key, value) in &stream.metadata {
            match key.to_ascii_lowercase().as_str() {
                "language" => info.language = Some(value.clone()).filter(|l| !l.is_empty() && l != "und"),
                "title" => info.title = Some(value.clone()),
                _ => info.metadata.push((key.clone(), value.clone())),
            }
        }
        if kind == MediaKind::Video {
            info.video = Some(VideoInfo {
                width: v.width,
                height: v.height,
                format: v.pixel_format,
                // A cover's would be its time base.
                frame_rate: positive(stream.avg_frame_rate)
                    .or(positive(stream.guessed_frame_rate))
                    .filter(|_| !info.disposition.attached_picture),
                constant_rate: None,
                sample_aspect: positive(stream.sample_aspect)
                    .or(positive(v.sample_aspect))
                    .map_or(Rational::new(1, 1), Rational::reduced),
                colour: v.colour,
                hdr: stream.params.hdr(),
                rotation: stream.params.rotation(),
                mirrored: stream.params.mirrored(),
                field_order: match v.field_order {
                    av::FieldOrder::Unknown => FieldOrder::Unknown,
                    av::FieldOrder::Progressive => FieldOrder::Progressive,
                    av::FieldOrder::TopFirst => FieldOrder::TopFirst,
                    av::FieldOrder::BottomFirst => FieldOrder::BottomFirst,
                },
                reorder: v.reorder,
            });
        }
        if kind == MediaKind::Audio {
            info.audio = Some(AudioInfo {
                sample_rate: v.sample_rate,
                layout: v.layout.clone().unwrap_or_else(|| ChannelLayout::from_channels(0)),
                format: v.sample_format,
                frame_size: v.frame_size,
                initial_padding: v.initial_padding,
            });
        }
        info.native = Some(stream.params.clone());
        info
    }

    /// FFmpeg's description of a stream that did not come from FFmpeg.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a codec that this FFmpeg does not know; [`crate::ErrorKind::Memory`].
    pub(crate) fn to_av(&self) -> Result<av::CodecParameters> {
        let kind = match self.kind {
            MediaKind::Video => av::MediaType::Video,
            MediaKind::Audio => av::MediaType::Audio,
            MediaKind::Subtitle => av::MediaType::Subtitle,
            MediaKind::Data => av::MediaType::Data,
            MediaKind::Attachment => av::MediaType::Attachment,
        };
        let mut values = av::ParameterValues {
            kind,
            codec: self.codec.name().into(),
            extradata: self.extradata.clone(),
            profile: self.profile,
            level: self.level,
            bit_rate: self.bit_rate.unwrap_or(0),
            ..av::ParameterValues::default()
        };
        if let Some(video) = &self.video {
            (values.width, values.height) = (video.width, video.height);
            values.pixel_format = video.format;
            values.sample_aspect = (video.sample_aspect.num, video.sample_aspect.den);
            values.frame_rate = video.frame_rate.map_or(values.frame_rate, |r| (r.num, r.den));
            (values.colour, values.reorder) = (video.colour, video.reorder);
            values.field_order = match video.field_order {
                FieldOrder::Unknown => av::FieldOrder::Unknown,
                FieldOrder::Progressive => av::FieldOrder::Progressive,
                FieldOrder::TopFirst => av::FieldOrder::TopFirst,
                FieldOrder::BottomFirst => av::FieldOrder::BottomFirst,
            };
        }
        if let Some(audio) = &self.audio {
            values.sample_rate = audio.sample_rate;
            values.layout = Some(audio.layout.clone()).filter(|l| l.channels > 0);
            values.sample_format = audio.format;
            (values.frame_size, values.initial_padding) = (audio.frame_size, audio.initial_padding);
        }
        let mut parameters = av::CodecParameters::new(&values)?;
        if let Some(video) = &self.video {
            parameters.set_hdr(&video.hdr);
            parameters.set_rotation(video.rotation, video.mirrored);
        }
        Ok(parameters)
    }
}

fn disposition(d: av::Disposition) -> Disposition {
    let has = |role| d.contains(role);
    Disposition {
        default: has(av::Disposition::DEFAULT),
        forced: has(av::Disposition::FORCED),
        original: has(av::Disposition::ORIGINAL),
        comment: has(av::Disposition::COMMENT),
        hearing_impaired: has(av::Disposition::HEARING_IMPAIRED),
        visual_impaired: has(av::Disposition::VISUAL_IMPAIRED),
        attached_picture: has(av::Disposition::ATTACHED_PICTURE),
    }
}
