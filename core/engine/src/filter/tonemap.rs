//! HDR to SDR.

use super::colour::assumed;
use super::graph::{AvFilter, Recipe, Touch};
use super::scale::{has_zimg, planar, relabel};
use crate::error::{Error, Result};
use crate::frame::{ChromaLocation, Colour, ColourRange, Frame, HdrMetadata, PixelFormat, VideoParams};
use crate::spec::{ToneMapCurve, ToneMapSpec};
use crate::stage::{Outlet, OutletFn, Stage};
use ghoststream_sys::ffmpeg as av;

/// Luminance of SDR white, cd/m²; 1.0 in linear light here.
pub(super) const WHITE: f64 = 100.0;

/// Peak of a source that does not say, cd/m².
const DEFAULT_PEAK: f64 = 1000.0;

/// Maps PQ and HLG pictures to BT.709, limited range, 8 bits: linear light in which 1 is 100 cd/m², BT.709 primaries,
/// the curve on the largest of R, G and B (so that hues stay), then BT.1886. SDR pictures pass untouched.
///
/// The peak is the document's, else the frame's MaxCLL, else its mastering display's, else the stream's, else
/// 1000 cd/m²; a change of it in mid-stream is followed. HLG is taken at its nominal 1000 cd/m². `desaturate` 1 is
/// FFmpeg's default (colours begin to fade at twice SDR white), 2 begins at SDR white, and so on. BT.2390 is computed
/// here, so it needs no GPU; the others are FFmpeg's `tonemap`. The HDR metadata is dropped. Output base: the input's.
pub struct ToneMap {
    spec: ToneMapSpec,
    stream: HdrMetadata,
    peak: Option<f64>,
    /// To linear light for BT.2390, else all of it.
    first: Option<AvFilter>,
    last: Option<(Eetf, AvFilter)>,
}

impl ToneMap {
    /// A mapper; `stream` is what the container or codec says about the whole stream.
    pub fn new(spec: ToneMapSpec, stream: HdrMetadata) -> Self {
        ToneMap { spec, stream, peak: None, first: None, last: None }
    }

    fn build(&mut self, peak: f64) {
        let spec = self.spec;
        let curve = match spec.curve {
            ToneMapCurve::Hable => Some("hable"),
            ToneMapCurve::Mobius => Some("mobius"),
            ToneMapCurve::Reinhard => Some("reinhard"),
            ToneMapCurve::Bt2390 => None,
        };
        let fade = fade(&spec);
        let tone = curve.map(|c| format!(",tonemap=tonemap={c}:desat={fade}:peak={}", peak / WHITE));
        self.first = Some(AvFilter::new(
            "tone_map",
            Box::new(move |params, _| {
                let v = params.video()?;
                let mut text = to_linear(v)?;
                let Some(tone) = &tone else { return Ok(Recipe::Graph(text, None)) };
                text += tone;
                text += &from_linear(sdr(v.format)?);
                Ok(Recipe::Graph(text, Some(finished())))
            }),
        ));
        self.last = None;
    }
}

impl Stage<Frame, Frame> for ToneMap {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let v = frame.video();
        if !v.colour.is_hdr() {
            self.finish(out)?;
            return out.emit(frame);
        }
        let peak = peak(&self.spec, &self.stream, &frame, v.colour.is_hlg());
        if self.peak != Some(peak) {
            self.finish(out)?;
            self.build(peak);
            self.peak = Some(peak);
        }
        if self.spec.curve == ToneMapCurve::Bt2390 && self.last.is_none() {
            let format = sdr(v.format)?;
            let text = from_linear(format).trim_start_matches(',').to_string();
            let back = AvFilter::new(
                "tone_map",
                Box::new(move |_, _| Ok(Recipe::Graph(text.clone(), Some(finished())))),
            );
            let fade = Some(fade(&self.spec)).filter(|f| *f > 0.0);
            self.last = Some((Eetf::new(peak, fade), back));
        }
        let ToneMap { first, last, .. } = self;
        let Some(first) = first else { return out.emit(frame) };
        match last {
            None => first.push(frame, out),
            Some((eetf, back)) => first.push(frame, &mut OutletFn(|f: Frame| back.push(eetf.apply(f)?, out))),
        }
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.peak = None;
        match (self.first.take(), self.last.take()) {
            (Some(mut first), None) => first.finish(out),
            (Some(mut first), Some((eetf, mut back))) => {
                first.finish(&mut OutletFn(|f: Frame| back.push(eetf.apply(f)?, out)))?;
                back.finish(out)
            }
            _ => Ok(()),
        }
    }
}

/// The peak that a frame is mapped from, cd/m².
pub(super) fn peak(spec: &ToneMapSpec, stream: &HdrMetadata, frame: &Frame, hlg: bool) -> f64 {
    let said = |h: &HdrMetadata| {
        let light = h.content_light.map(|l| f64::from(l.max_content));
        let display = h.mastering.map(|m| m.max_luminance);
        light.filter(|p| *p > 0.0).or(display.filter(|p| *p > 0.0))
    };
    let metadata = || {
        let nominal = hlg.then_some(DEFAULT_PEAK);
        nominal.or_else(|| said(&frame.media().hdr())).or_else(|| said(stream))
    };
    // A display or content no brighter than SDR needs no curve, but the curves need some range.
    spec.peak.or_else(metadata).unwrap_or(DEFAULT_PEAK).clamp(WHITE * 1.01, 10_000.0)
}

/// The level at which colours begin to fade, as FFmpeg counts it; 0 is never.
pub(super) fn fade(spec: &ToneMapSpec) -> f64 {
    spec.desaturate.filter(|d| *d > 0.0).map_or(0.0, |d| 2.0 / d)
}

fn to_linear(v: &VideoParams) -> Result<String> {
    if !has_zimg() {
        return Err(Error::unsupported("tone mapping needs zimg, which this FFmpeg was built without"));
    }
    let c = assumed(v);
    let before = planar(v.format, v.width, v.height)?;
    let mut text = String::new();
    if before != v.format {
        text += &format!("{},", relabel(v.format, before, &c));
    }
    let range = if c.range == ColourRange::Full { "full" } else { "limited" };
    text += &format!(
        "zscale=min={}:tin={}:pin={}:rin={range}:t=linear:p=bt709:npl={WHITE},format=gbrpf32le",
        c.matrix, c.transfer, c.primaries
    );
    Ok(text)
}

fn from_linear(format: PixelFormat) -> String {
    let matrix = if super::colour::is_rgb(format) { "gbr:r=full" } else { "bt709:r=limited" };
    format!(",zscale=tin=linear:t=bt709:pin=bt709:p=bt709:m={matrix}:d=ordered:npl={WHITE},format={format}")
}

/// The 8-bit format with the same chroma.
fn sdr(format: PixelFormat) -> Result<PixelFormat> {
    let unsupported = || Error::unsupported(format!("pixel format {format}"));
    let d = format.descriptor().ok_or_else(unsupported)?;
    let name = match (d.is_rgb, d.log2_chroma_w, d.log2_chroma_h) {
        (true, ..) => "gbrp",
        (_, 0, _) => "yuv444p",
        (_, _, 0) => "yuv422p",
        _ => "yuv420p",
    };
    PixelFormat::from_name(name).ok_or_else(unsupported)
}

fn finished() -> Touch {
    Box::new(|media| {
        let rgb = super::colour::is_rgb(media.format());
        name_sdr(media, rgb);
        Ok(())
    })
}

/// Says of a picture that it was mapped.
pub(super) fn name_sdr(media: &mut av::Frame, rgb: bool) {
    let chroma = media.colour().chroma;
    let colour = if rgb {
        Colour { matrix: 0, range: ColourRange::Full, chroma: ChromaLocation::Unspecified, ..Colour::BT709 }
    } else {
        Colour { chroma, ..Colour::BT709 }
    };
    media.set_colour(colour);
    media.clear_hdr();
}

/// The EETF of ITU-R BT.2390-10, section 5.4, from a peak to SDR white, black at 0; tabulated over PQ.
struct Eetf {
    /// Output over input, at equal steps of PQ-coded input from 0 to the peak.
    ratio: Vec<f32>,
    peak: f64,
    fade: Option<f32>,
}

const STEPS: usize = 4096;

impl Eetf {
    fn new(peak: f64, fade: Option<f64>) -> Self {
        let top = pq(peak);
        let ratio = (0..=STEPS)
            .map(|i| {
                let e = i as f64 / STEPS as f64;
                let light = pq_inverse(e * top);
                if i == 0 { 1.0 } else { (eetf(light, peak) / light) as f32 }
            })
            .collect();
        Eetf { ratio, peak, fade: fade.map(|f| f as f32) }
    }

    fn apply(&self, frame: Frame) -> Result<Frame> {
        let mut media = frame.to_media()?;
        media.make_writable()?;
        let (width, height) = (media.width() as usize, media.height() as usize);
        let top = pq(self.peak);
        let mut rows = [(); 3].map(|()| vec![0f32; width]);
        for y in 0..height {
            for (p, row) in rows.iter_mut().enumerate() {
                let at = y * media.stride(p);
                let bytes = media.plane(p).get(at..at + width * 4).unwrap_or_default();
                for (v, b) in row.iter_mut().zip(bytes.chunks_exact(4)) {
                    *v = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                }
            }
            let [g, b, r] = &mut rows;
            for ((g, b), r) in g.iter_mut().zip(b.iter_mut()).zip(r.iter_mut()) {
                if let Some(level) = self.fade {
                    let luma = 0.2126 * *r + 0.7152 * *g + 0.0722 * *b;
                    let mix = (luma - level).max(1e-6) / luma.max(1e-6);
                    for v in [&mut *r, &mut *g, &mut *b] {
                        *v += (luma - *v) * mix;
                    }
                }
                let signal = r.max(*g).max(*b);
                let scale = self.scale(signal, top);
                (*r, *g, *b) = (*r * scale, *g * scale, *b * scale);
            }
            for (p, row) in rows.iter().enumerate() {
                let at = y * media.stride(p);
                let Some(bytes) = media.plane_mut(p).and_then(|b| b.get_mut(at..at + width * 4)) else {
                    continue;
                };
                for (v, b) in row.iter().zip(bytes.chunks_exact_mut(4)) {
                    b.copy_from_slice(&v.to_le_bytes());
                }
            }
        }
        let mut mapped = Frame::new(media, frame.base);
        (mapped.pts, mapped.duration, mapped.force_key) = (frame.pts, frame.duration, frame.force_key);
        Ok(mapped)
    }

    fn scale(&self, signal: f32, top: f64) -> f32 {
        if signal <= 1e-6 || !signal.is_finite() {
            return 1.0;
        }
        let light = f64::from(signal) * WHITE;
        if light >= self.peak {
            return 1.0 / signal;
        }
        let at = (pq(light) / top * STEPS as f64) as f32;
        let i = (at as usize).min(STEPS - 1);
        let part = at - i as f32;
        self.ratio[i] * (1.0 - part) + self.ratio[i + 1] * part
    }
}

/// PQ code (0 to 1) of a luminance in cd/m².
pub(super) fn pq(light: f64) -> f64 {
    let y = (light / 10_000.0).clamp(0.0, 1.0).powf(2610.0 / 16384.0);
    ((3424.0 / 4096.0 + 2413.0 / 128.0 * y) / (1.0 + 2392.0 / 128.0 * y)).powf(2523.0 / 32.0)
}

/// Luminance in cd/m² of a PQ code.
fn pq_inverse(code: f64) -> f64 {
    let p = code.clamp(0.0, 1.0).powf(32.0 / 2523.0);
    let y = (p - 3424.0 / 4096.0).max(0.0) / (2413.0 / 128.0 - 2392.0 / 128.0 * p);
    10_000.0 * y.powf(16384.0 / 2610.0)
}

/// The EETF on luminances in cd/m².
fn eetf(light: f64, peak: f64) -> f64 {
    let top = pq(peak);
    let e1 = pq(light) / top;
    let max = pq(WHITE) / top;
    let knee = 1.5 * max - 0.5;
    let e2 = if e1 < knee || knee >= 1.0 {
        e1
    } else {
        let t = (e1 - knee) / (1.0 - knee);
        let (t2, t3) = (t * t, t * t * t);
        (2.0 * t3 - 3.0 * t2 + 1.0) * knee + (t3 - 2.0 * t2 + t) * (1.0 - knee) + (-2.0 * t3 + 3.0 * t2) * max
    };
    pq_inverse(e2 * top)
}
