//! YUV4MPEG2: uncompressed pictures with a one-line header. Written here because FFmpeg's muxer takes only frames that
//! its own wrapper made.

use super::{Facts, Fate, OutputSink, Place, TrackHeader};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::frame::{ColourRange, PixelFormat};
use crate::packet::{FieldOrder, Packet, VideoInfo};
use std::fs::File;
use std::io::{BufWriter, Write};

/// Pixel formats of Y4M readers, and the header's word for each.
const FORMATS: [(&str, &str); 13] = [
    ("yuv420p", "420mpeg2 XYSCSS=420MPEG2"),
    ("yuv422p", "422 XYSCSS=422"),
    ("yuv444p", "444 XYSCSS=444"),
    ("gray", "mono"),
    ("yuv411p", "411 XYSCSS=411"),
    ("yuv420p10le", "420p10 XYSCSS=420P10"),
    ("yuv422p10le", "422p10 XYSCSS=422P10"),
    ("yuv444p10le", "444p10 XYSCSS=444P10"),
    ("yuv420p12le", "420p12 XYSCSS=420P12"),
    ("yuv422p12le", "422p12 XYSCSS=422P12"),
    ("yuv444p12le", "444p12 XYSCSS=444P12"),
    ("gray10le", "mono10"),
    ("gray12le", "mono12"),
];

/// The format nearest to `source` that Y4M can hold.
pub(crate) fn nearest(source: Option<PixelFormat>) -> &'static str {
    let Some(source) = source else { return "yuv420p" };
    if let Some((name, _)) = FORMATS.iter().find(|(name, _)| *name == source.name()) {
        return name;
    }
    let choices: Vec<PixelFormat> =
        FORMATS.iter().filter_map(|(name, _)| PixelFormat::from_name(name)).collect();
    let best = source.best_of(&choices).unwrap_or(PixelFormat::yuv420p());
    FORMATS.iter().find(|(name, _)| *name == best.name()).map_or("yuv420p", |(name, _)| name)
}

/// A Y4M file.
pub(crate) struct Y4mSink {
    path: String,
    overwrite: bool,
    place: Option<Place>,
    file: Option<BufWriter<File>>,
}

impl Y4mSink {
    pub fn new(path: &str, overwrite: bool) -> Self {
        Y4mSink { path: path.into(), overwrite, place: None, file: None }
    }

    fn put(&mut self, data: &[&[u8]]) -> Result<()> {
        let file = self
            .file
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a picture before the header"))?;
        data.iter().try_for_each(|d| file.write_all(d)).map_err(Error::from).context(|| self.path.clone())
    }
}

/// The header line.
fn header(video: &VideoInfo) -> Result<String> {
    let format = video.format.map_or("", PixelFormat::name);
    let (_, word) = FORMATS
        .iter()
        .find(|(name, _)| *name == format)
        .ok_or_else(|| Error::unsupported(format!("y4m cannot hold {format} pictures")))?;
    let rate = video.frame_rate.ok_or_else(|| Error::invalid("video.frame_rate", "y4m needs one"))?;
    let interlacing = match video.field_order {
        FieldOrder::TopFirst => 't',
        FieldOrder::BottomFirst => 'b',
        FieldOrder::Progressive | FieldOrder::Unknown => 'p',
    };
    let range = match video.colour.range {
        ColourRange::Full => " XCOLORRANGE=FULL",
        ColourRange::Limited => " XCOLORRANGE=LIMITED",
        ColourRange::Unspecified => "",
    };
    Ok(format!(
        "YUV4MPEG2 W{} H{} F{}:{} I{interlacing} A{}:{} C{word}{range}\n",
        video.width, video.height, rate.num, rate.den, video.sample_aspect.num, video.sample_aspect.den
    ))
}

impl OutputSink for Y4mSink {
    fn prepare(&mut self, facts: &Facts) -> Result<()> {
        self.place = Some(super::file::claim(&self.path, &facts.inputs, self.overwrite, false)?);
        Ok(())
    }

    fn begin(&mut self, tracks: &[TrackHeader]) -> Result<()> {
        let video = match tracks {
            [one] => one.stream.video.as_ref(),
            _ => None,
        };
        let video =
            video.ok_or_else(|| Error::invalid("format", "y4m holds one video track and nothing else"))?;
        let line = header(video)?;
        let place =
            self.place.as_ref().ok_or_else(|| Error::new(ErrorKind::Internal, "no place was claimed"))?;
        let file = place.create().map_err(Error::from).context(|| self.path.clone())?;
        self.file = Some(BufWriter::with_capacity(1 << 20, file));
        self.put(&[line.as_bytes()])
    }

    fn write(&mut self, _: usize, packet: Packet) -> Result<Fate> {
        self.put(&[b"FRAME\n", &packet.data])?;
        Ok(Fate::Written)
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        if let Some(mut file) = self.file.take() {
            file.flush().map_err(Error::from).context(|| self.path.clone())?;
        }
        match &self.place {
            Some(place) => Ok(vec![place.commit()?]),
            None => Err(Error::new(ErrorKind::Internal, "no place was claimed")),
        }
    }

    fn abort(&mut self, keep: bool) {
        let begun = self.file.is_some();
        if keep && begun && self.finish().is_ok() {
            return;
        }
        self.file = None;
        if let Some(place) = &self.place {
            place.discard();
        }
    }
}
