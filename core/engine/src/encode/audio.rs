//! Audio encoding through FFmpeg.

use super::Encoder;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{AudioParams, ChannelLayout, Frame, SampleFormat};
use crate::packet::{AudioInfo, Codec, MediaKind, Packet, StreamInfo};
use crate::spec::AudioSpec;
use crate::stage::{Control, Outlet, Stage};
use crate::time::{Rational, TimeBase};
use ghoststream_sys::ffmpeg as av;

/// What an audio encoder wants its frames to be, decided by [`wanted`].
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Rate, layout and sample format.
    pub params: AudioParams,
    /// Samples that every frame but the last must have; 0 = any.
    pub frame_size: u32,
    /// Bits per second; `None` for codecs without rate control.
    pub bitrate: Option<u64>,
}

/// Layouts that a codec has a standard place for, where FFmpeg's encoder takes more than players understand (AAC) or
/// does not say what it takes (the Vorbis channel order).
fn standard_layouts(encoder: &str) -> Option<&'static [&'static str]> {
    match encoder {
        "aac" => Some(&["mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"]),
        "libopus" | "libvorbis" => Some(&["mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"]),
        _ => None,
    }
}

fn layouts(encoder: &str) -> Result<Vec<ChannelLayout>> {
    match standard_layouts(encoder) {
        Some(names) => Ok(names.iter().filter_map(|name| ChannelLayout::from_name(name).ok()).collect()),
        None => Ok(av::supported_layouts(encoder)?),
    }
}

/// Default bits per second of a codec; `None` for codecs that have no rate control.
fn default_bitrate(codec: &Codec, channels: u32) -> Option<u64> {
    let kbit = match (codec, channels) {
        (Codec::Aac, 1) => 80,
        (Codec::Aac, 2) => 128,
        (Codec::Aac, n) => 64 * u64::from(n),
        (Codec::Opus, 1) => 64,
        (Codec::Opus, 2) => 112,
        (Codec::Opus, n) => 48 * u64::from(n),
        (Codec::Mp3, 1) => 96,
        (Codec::Mp3, _) => 192,
        (Codec::Ac3, 1) => 96,
        (Codec::Ac3, 2) => 192,
        (Codec::Ac3, n) if n <= 5 => 384,
        (Codec::Ac3, _) => 448,
        (Codec::Eac3, 1) => 96,
        (Codec::Eac3, 2) => 192,
        (Codec::Eac3, _) => 384,
        (Codec::Vorbis, n) => 64 * u64::from(n),
        _ => return None,
    };
    Some(kbit * 1000)
}

fn has_rate_control(codec: &Codec) -> bool {
    !matches!(codec, Codec::Flac | Codec::Alac | Codec::PcmS16 | Codec::PcmF32)
        && !codec.name().starts_with("pcm_")
}

/// The frames that `encoder` wants for `spec`, made of sound like `source`. Fields that the encoder cannot honour are
/// refused by name; what is not said follows the source as closely as the encoder can.
///
/// # Errors
/// [`ErrorKind::Unsupported`] (`audio.channels: …`, `audio.sample_rate: …`, `audio.bitrate: …`, `audio.encoder: …`).
pub fn wanted(encoder: &str, spec: &AudioSpec, source: &AudioInfo) -> Result<Wanted> {
    let info = av::encoder_info(encoder)
        .filter(|i| i.kind == av::MediaType::Audio)
        .ok_or_else(|| Error::unsupported(format!("audio.encoder: this FFmpeg has no {encoder}")))?;
    let codec = Codec::from_name(&info.codec);
    if let Some(asked) = &spec.codec
        && *asked != codec
    {
        return Err(Error::invalid("audio.encoder", format!("{encoder} makes {codec}, not {asked}")));
    }
    let layout = layout(encoder, spec, source)?;
    let bitrate = match spec.bitrate {
        Some(_) if !has_rate_control(&codec) => {
            return Err(Error::unsupported(format!("audio.bitrate: {codec} has no rate control")));
        }
        Some(rate) => Some(rate.0),
        None => default_bitrate(&codec, layout.channels),
    };
    let params = AudioParams {
        sample_rate: sample_rate(encoder, spec, source)?,
        format: sample_format(encoder, &codec, source)?,
        layout,
    };
    let mut wanted = Wanted { params, frame_size: 0, bitrate };
    // Only the opened encoder knows its frame size; opening also finds out now what it does not like.
    wanted.frame_size = match open(encoder, spec, &wanted) {
        Ok(opened) => opened.frame_size() as u32,
        // Encoders do not say what they dislike; at their own rate they open where it was the rate.
        Err(e) if spec.bitrate.is_some() => {
            let unasked =
                Wanted { bitrate: default_bitrate(&codec, wanted.params.layout.channels), ..wanted };
            let Some(rate) = spec.bitrate.filter(|_| open(encoder, spec, &unasked).is_ok()) else {
                return Err(e);
            };
            let message = format!("{encoder} does not take {rate} bit/s for {}", unasked.params.layout);
            return Err(Error::with_source(ErrorKind::Invalid, format!("audio.bitrate: {message}"), e));
        }
        Err(e) => return Err(e),
    };
    Ok(wanted)
}

fn sample_rate(encoder: &str, spec: &AudioSpec, source: &AudioInfo) -> Result<u32> {
    let mut rates = av::supported_sample_rates(encoder)?;
    rates.sort_unstable();
    if let Some(rate) = spec.sample_rate {
        if !rates.is_empty() && !rates.contains(&rate) {
            let known: Vec<String> = rates.iter().map(u32::to_string).collect();
            let message = format!("audio.sample_rate: {encoder} takes {}, not {rate}", known.join(", "));
            return Err(Error::unsupported(message));
        }
        return Ok(rate);
    }
    let source = source.sample_rate.max(1);
    if rates.is_empty() || rates.contains(&source) {
        return Ok(source);
    }
    // The next higher one loses nothing.
    Ok(rates.iter().copied().find(|r| *r > source).or(rates.last().copied()).unwrap_or(source))
}

fn layout(encoder: &str, spec: &AudioSpec, source: &AudioInfo) -> Result<ChannelLayout> {
    let takes = layouts(encoder)?;
    if let Some(channels) = spec.channels {
        let usual = ChannelLayout::from_channels(channels);
        if takes.is_empty() || takes.contains(&usual) {
            return Ok(usual);
        }
        return takes.iter().find(|l| l.channels == channels).cloned().ok_or_else(|| {
            let names: Vec<&str> = takes.iter().map(|l| l.name.as_str()).collect();
            Error::unsupported(format!(
                "audio.channels: {encoder} takes {}, not {channels} channels",
                names.join(", ")
            ))
        });
    }
    let of_source = source.layout.clone();
    let of_source = if of_source.channels == 0 { ChannelLayout::from_channels(2) } else { of_source };
    if takes.contains(&of_source) {
        return Ok(of_source);
    }
    let usual = ChannelLayout::from_channels(of_source.channels);
    if takes.is_empty() {
        // "6 channels" says nothing about places; the usual layout of that count is the best guess.
        return Ok(if of_source.name.ends_with("channels") { usual } else { of_source });
    }
    if takes.contains(&usual) {
        return Ok(usual);
    }
    let same = takes.iter().find(|l| l.channels == of_source.channels);
    let fewer = takes.iter().filter(|l| l.channels < of_source.channels).max_by_key(|l| l.channels);
    same.or(fewer).or(takes.first()).cloned().ok_or_else(|| {
        Error::unsupported(format!("audio.channels: {encoder} cannot take {} channels", of_source.channels))
    })
}

fn sample_format(encoder: &str, codec: &Codec, source: &AudioInfo) -> Result<SampleFormat> {
    let takes = av::supported_sample_formats(encoder)?;
    let deep = source.format.is_some_and(|f| f.bytes() > 2);
    let wishes: &[SampleFormat] = match codec {
        // Lossless: 16 bits stay 16 bits, anything deeper becomes 24 or 32.
        Codec::Flac | Codec::Alac if deep => &[SampleFormat::S32, SampleFormat::S32P],
        Codec::Flac | Codec::Alac => &[SampleFormat::S16, SampleFormat::S16P],
        _ => &[SampleFormat::F32P, SampleFormat::F32],
    };
    let wish = wishes.iter().copied().find(|f| takes.contains(f));
    wish.or(takes.first().copied()).or(source.format).ok_or_else(|| {
        Error::unsupported(format!("audio.encoder: {encoder} does not say what samples it takes"))
    })
}

fn open(encoder: &str, spec: &AudioSpec, wanted: &Wanted) -> Result<av::Encoder> {
    let rate = wanted.params.sample_rate;
    let opened = av::Encoder::open(&av::EncoderOptions {
        name: encoder.to_owned(),
        time_base: (1, i32::try_from(rate).unwrap_or(i32::MAX)),
        bit_rate: wanted.bitrate,
        threads: 1,
        global_header: true,
        options: spec.options.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        sample_rate: rate,
        layout: Some(wanted.params.layout.clone()),
        sample_format: wanted.params.format,
        ..av::EncoderOptions::default()
    })
    .map_err(|e| {
        let kind = match e.kind() {
            av::Kind::Other => ErrorKind::Unsupported,
            _ => Error::from(e.clone()).kind(),
        };
        let what = format!("{encoder} does not open at {rate} Hz, {}: {e}", wanted.params.layout);
        Error::with_source(kind, what, e)
    })?;
    if let Some((key, _)) = opened.unused_options().first() {
        return Err(Error::invalid(format!("audio.options.{key}"), format!("{encoder} does not take it")));
    }
    Ok(opened)
}

/// Frames in, packets out. Frames must be as [`wanted`] said; only the last may be shorter. Times count in samples; the
/// first packets begin before the first sample by the encoder's priming ([`AudioInfo::initial_padding`]), so that a
/// container that knows about it plays back sample-exactly.
pub struct AudioEncoder {
    name: String,
    encoder: av::Encoder,
    wanted: Wanted,
    base: TimeBase,
    stream: StreamInfo,
    summary: String,
    /// Time of the sample after the last one taken.
    next: Option<i64>,
    short: bool,
}

impl AudioEncoder {
    /// Opens `encoder`.
    ///
    /// # Errors
    /// As for [`wanted`]; [`ErrorKind::Invalid`] (`audio.options.NAME: …`) for an option that it does not take.
    pub fn new(encoder: &str, spec: &AudioSpec, wanted: Wanted) -> Result<AudioEncoder> {
        let opened = open(encoder, spec, &wanted)?;
        let base = Rational::new(1, i32::try_from(wanted.params.sample_rate).unwrap_or(i32::MAX));
        let parameters = opened.parameters()?;
        let values = parameters.values();
        let mut stream = StreamInfo::new(MediaKind::Audio, Codec::from_name(&values.codec), base);
        stream.profile = values.profile;
        stream.level = values.level;
        stream.extradata = values.extradata.clone();
        stream.bit_rate = wanted.bitrate;
        stream.audio = Some(AudioInfo {
            sample_rate: wanted.params.sample_rate,
            layout: wanted.params.layout.clone(),
            format: Some(wanted.params.format),
            frame_size: opened.frame_size() as u32,
            initial_padding: opened.initial_padding() as u32,
        });
        stream.native = Some(parameters);
        let summary = match wanted.bitrate {
            Some(rate) => format!("{encoder}, {} bit/s", crate::spec::Bitrate(rate)),
            None => encoder.to_owned(),
        };
        let name = encoder.to_owned();
        Ok(AudioEncoder { name, encoder: opened, wanted, base, stream, summary, next: None, short: false })
    }

    fn receive(&mut self, out: &mut dyn Outlet<Packet>) -> Result<()> {
        while let Some(packet) = self.encoder.receive()? {
            let mut packet = Packet::from_av(&packet, self.base);
            packet.stream = 0;
            packet.key = true;
            packet.dts = packet.dts.or(packet.pts);
            out.emit(packet)?;
        }
        Ok(())
    }
}

impl Stage<Frame, Packet> for AudioEncoder {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Packet>) -> Result<()> {
        let is = frame.audio();
        if is != self.wanted.params {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("{} was given {is:?} instead of {:?}", self.name, self.wanted.params),
            ));
        }
        let samples = frame.samples();
        if self.wanted.frame_size > 0 && (samples > self.wanted.frame_size || self.short) {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("{} was given {samples} samples instead of {}", self.name, self.wanted.frame_size),
            ));
        }
        self.short = self.wanted.frame_size > 0 && samples < self.wanted.frame_size;
        let mut frame = frame.rebased(self.base);
        let time = frame.pts.or(self.next).unwrap_or(0);
        // Rounding in the base that the frame came in must not open gaps of a sample.
        let time = match self.next {
            Some(next) if (time - next).abs() <= 1 => next,
            _ => time,
        };
        frame.pts = Some(time);
        frame.duration = i64::from(samples);
        self.next = Some(time + i64::from(samples));
        let media = frame.to_media()?;
        loop {
            match self.encoder.send(Some(&media), false) {
                Ok(()) => break,
                Err(e) if e.kind() == av::Kind::Again => self.receive(out)?,
                Err(e) => return Err(e.into()),
            }
        }
        self.receive(out)
    }

    fn finish(&mut self, out: &mut dyn Outlet<Packet>) -> Result<()> {
        self.encoder.send(None, false)?;
        self.receive(out)
    }

    fn control(&mut self, control: &Control) -> Result<()> {
        match control {
            // Every audio packet can be decoded from.
            Control::ForceKeyFrame => Ok(()),
            other => Err(Error::unsupported(format!("{} cannot {other} while it runs", self.name))),
        }
    }
}

impl Encoder for AudioEncoder {
    fn stream(&self) -> Option<&StreamInfo> {
        Some(&self.stream)
    }

    fn description(&self) -> String {
        self.summary.clone()
    }
}
