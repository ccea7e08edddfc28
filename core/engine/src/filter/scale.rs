//! Size, pixel format and colour of pictures.

use super::colour::{assumed, complete, is_rgb};
use super::graph::{AvFilter, Make, Recipe, Touch};
use super::size::Shown;
use crate::error::{Error, Result};
use crate::frame::{ChromaLocation, Colour, ColourRange, Frame, PixelFormat, VideoParams};
use crate::spec::Scaler;
use crate::stage::{Control, Outlet, Stage};
use crate::time::Rational;
use ghoststream_sys::ffmpeg as av;
use ghoststream_sys::pixels::RgbTo420;
use std::sync::OnceLock;

/// What a picture is to become.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleTarget {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Kernel, for chroma too.
    pub scaler: Scaler,
    /// Pixel format; `None` = the input's.
    pub format: Option<PixelFormat>,
    /// Colour; `None`, and every field that is unspecified, = the input's.
    pub colour: Option<Colour>,
    /// The input has been scaled before: a bicubic kernel is then sharper (C = 0.75 for 0.6), which makes up for what
    /// the first one softened (measured, 1080p by 720 and 480 to 360 lines: VMAF +2.4, PSNR +0.1 dB).
    pub again: bool,
}

impl ScaleTarget {
    /// Only a size.
    pub fn size(width: u32, height: u32) -> Self {
        ScaleTarget { width, height, scaler: Scaler::default(), format: None, colour: None, again: false }
    }
}

/// Scales, and converts pixel format, matrix, range, transfer and primaries, in one pass of zimg (`zscale`) where this
/// FFmpeg has it, else of swscale, which cannot convert transfer and primaries (that is then an Unsupported error).
///
/// - A frame that is already what is wanted passes untouched; a colour that only has to be named is only named.
/// - An untagged picture is taken for what [`assumed`](super::colour::assumed) says, and leaves with those tags
///   whenever its pixels are changed, so that a 720-line picture scaled below 720 lines does not change its meaning.
/// - The output has square pixels when its size is within two pixels of the display aspect ratio, as rounding to even
///   sides makes it; otherwise its sample aspect ratio keeps the display aspect ratio.
/// - An odd last column or row that the target does not have is cut off.
/// - Packed 8-bit RGB becomes 8-bit 4:2:0 of the same size in one pass of our own, with the result that zimg has.
/// - Depth is reduced with ordered dither, otherwise rounded.
/// - One thread by default: rungs and stages run beside each other already.
///
/// Output base: the input's.
pub struct Scale {
    stage: AvFilter,
    target: ScaleTarget,
    threads: Option<u32>,
}

impl Scale {
    /// A stage that makes every frame `target`, whatever comes in and however it changes.
    pub fn new(target: ScaleTarget) -> Self {
        let wanted = target.clone();
        let stage = AvFilter::new("scale", Box::new(move |params, _| recipe(&wanted, params.video()?)));
        Scale { stage, target, threads: None }
    }

    /// Lets it use several threads.
    pub fn threads(self, threads: u32) -> Self {
        Scale { stage: self.stage.threads(threads), threads: Some(threads), ..self }
    }
}

impl Stage<Frame, Frame> for Scale {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.stage.push(frame, out)
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.stage.finish(out)
    }

    fn resizes(&self) -> bool {
        true
    }

    fn control(&mut self, control: &Control) -> Result<()> {
        match control {
            // Nothing is inside: every frame leaves in the call that it came in with.
            Control::Size { width, height } => {
                let new = Scale::new(ScaleTarget { width: *width, height: *height, ..self.target.clone() });
                *self = match self.threads {
                    Some(threads) => new.threads(threads),
                    None => new,
                };
                Ok(())
            }
            other => Err(Error::unsupported(format!("scaling cannot {other}"))),
        }
    }
}

/// Sample aspect ratio of the output.
pub(super) fn aspect(source: &VideoParams, width: u32, height: u32) -> Rational {
    if (source.width, source.height) == (width, height) {
        return source.sample_aspect;
    }
    let shown = Shown::stored(source).aspect();
    let (w, h) = (f64::from(width), f64::from(height));
    if (w - h * shown).abs() <= 2.0 || (h - w / shown).abs() <= 2.0 {
        return Rational::new(1, 1);
    }
    Rational::approximate(shown * h / w, 65535).filter(|r| r.is_positive()).unwrap_or(Rational::new(1, 1))
}

/// Whether this FFmpeg has zimg.
pub fn has_zimg() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| av::has_filter("zscale"))
}

pub(super) fn recipe(target: &ScaleTarget, source: &VideoParams) -> Result<Recipe> {
    if target.width == 0 || target.height == 0 {
        return Err(Error::invalid("width", "a picture needs at least one pixel"));
    }
    let format = target.format.unwrap_or(source.format);
    let cut = without_odd_edges(target, source);
    let crop = cut.as_ref().map_or(String::new(), |v| format!("crop=w={}:h={}:x=0:y=0", v.width, v.height));
    let source = cut.as_ref().unwrap_or(source);
    let from = assumed(source);
    let mut to = complete(target.colour, from, format, target.height);
    if target.colour.is_none_or(|c| c.chroma == ChromaLocation::Unspecified) {
        to.chroma = source.colour.chroma;
    }
    let plain = format == source.format && (target.width, target.height) == (source.width, source.height);
    if plain && (Colour { chroma: from.chroma, ..to }) == from {
        let named = target.colour.is_none() || to == source.colour;
        let touch: Option<Touch> = (!named).then(|| {
            Box::new(move |media: &mut av::Frame| {
                media.set_colour(to);
                Ok(())
            }) as Touch
        });
        return Ok(match touch {
            touch if cut.is_some() => Recipe::Graph(crop, touch),
            Some(touch) => Recipe::Retag(touch),
            None => Recipe::Pass,
        });
    }
    if cut.is_none()
        && let Some(make) = direct(target, source, format, &from, to)?
    {
        return Ok(Recipe::Make(make));
    }
    let sar = aspect(source, target.width, target.height);
    let same = (target.width, target.height) == (source.width, source.height);
    let text = if same && (Colour { chroma: from.chroma, ..to }) == from && is_shuffle(source.format, format)
    {
        format!("scale,format={format}")
    } else if has_zimg() {
        zscale(target, source, format, &from, &to)?
    } else {
        swscale(target, format, &from, &to)?
    };
    let text = if cut.is_some() { format!("{crop},{text}") } else { text };
    let touch: Touch = Box::new(move |media| {
        media.set_colour(to);
        media.set_sample_aspect((sar.num, sar.den));
        Ok(())
    });
    Ok(Recipe::Graph(text, Some(touch)))
}

/// The picture without its last column or row, where an odd number of them is all that keeps it from the target: every
/// pixel that stays is what it was, which it is not after scaling by one.
fn without_odd_edges(target: &ScaleTarget, source: &VideoParams) -> Option<VideoParams> {
    let near = |from: u32, to: u32| from == to || (from % 2 == 1 && from == to + 1);
    let (width, height) = (target.width, target.height);
    ((source.width, source.height) != (width, height)
        && near(source.width, width)
        && near(source.height, height))
    .then_some(VideoParams { width, height, ..source.clone() })
}

/// What an application's pictures mostly go through, packed RGB to 4:2:0 of the same size, by our own loop: a third of
/// the time of arranging it in planes for zimg first. `None` where that is not what is wanted.
fn direct(
    target: &ScaleTarget,
    source: &VideoParams,
    format: PixelFormat,
    from: &Colour,
    to: Colour,
) -> Result<Option<Make>> {
    let same = (target.width, target.height) == (source.width, source.height)
        && (from.primaries, from.transfer) == (to.primaries, to.transfer)
        && matches!(source.colour.chroma, ChromaLocation::Unspecified | ChromaLocation::Left)
        && from.range == ColourRange::Full
        && target.scaler == Scaler::Bicubic;
    let full = to.range == ColourRange::Full;
    let (width, height) = (target.width, target.height);
    let Some(mut convert) =
        RgbTo420::new(source.format, format, width, height, to.matrix, full).filter(|_| same)
    else {
        return Ok(None);
    };
    let pool = av::FramePool::new(format, width, height)?;
    Ok(Some(Box::new(move |media| {
        let mut made = pool.get()?;
        convert.convert(media, &mut made)?;
        made.copy_props(media)?;
        made.set_colour(to);
        Ok(made)
    })))
}

/// Whether pixels of 8-bit RGB only change places in memory. swscale has exact loops for these; over planes, as zimg wants
/// them, it changes alpha by one.
fn is_shuffle(from: PixelFormat, to: PixelFormat) -> bool {
    let packed = |f: PixelFormat| {
        f.descriptor().is_some_and(|d| {
            d.is_rgb && !d.has_palette && !d.is_float && d.planes == 1 && d.depth == 8 && d.components >= 3
        })
    };
    packed(from) && packed(to)
}

/// The format that zimg can work on and that holds all of `format`, for a picture of this size. zimg wants planes of
/// native integers, and sizes that are whole multiples of the chroma subsampling.
pub(super) fn planar(format: PixelFormat, width: u32, height: u32) -> Result<PixelFormat> {
    let unsupported = || Error::unsupported(format!("pixel format {format}"));
    let d = format.descriptor().filter(|d| !d.is_hardware).ok_or_else(unsupported)?;
    let odd = !width.is_multiple_of(1 << d.log2_chroma_w) || !height.is_multiple_of(1 << d.log2_chroma_h);
    if d.planes == d.components && !d.big_endian && !d.has_palette && !odd && !d.is_float {
        return Ok(format);
    }
    let depth = match d.depth {
        0..=8 => "",
        9..=10 => "10",
        11..=12 => "12",
        _ => "16",
    };
    let alpha = d.has_alpha || d.has_palette;
    let name = if d.is_float && d.is_rgb {
        if alpha { "gbrapf32".to_string() } else { "gbrpf32".to_string() }
    } else if d.is_rgb || d.has_palette {
        format!("{}{depth}", if alpha { "gbrap" } else { "gbrp" })
    } else if d.components <= 2 {
        format!("gray{depth}")
    } else {
        let chroma = match (odd, d.log2_chroma_w, d.log2_chroma_h) {
            (false, 1, 1) => "420",
            (false, 1, 0) => "422",
            _ => "444",
        };
        // FFmpeg has 4:2:x with alpha at every depth but 12.
        let depth = if alpha && depth == "12" { "16" } else { depth };
        format!("yuv{}{chroma}p{depth}", if alpha { "a" } else { "" })
    };
    PixelFormat::from_name(&name).ok_or_else(unsupported)
}

fn zscale(
    target: &ScaleTarget,
    source: &VideoParams,
    format: PixelFormat,
    from: &Colour,
    to: &Colour,
) -> Result<String> {
    let before = planar(source.format, source.width, source.height)?;
    let after = planar(format, target.width, target.height)?;
    let kernel = match target.scaler {
        Scaler::Nearest => "point",
        Scaler::Bilinear => "bilinear",
        Scaler::Bicubic if target.again => "bicubic:param_a=0:param_b=0.75",
        Scaler::Bicubic => "bicubic:param_a=0:param_b=0.6",
        Scaler::Lanczos => "lanczos",
    };
    let depth = |f: PixelFormat| f.descriptor().map_or(8, |d| d.depth);
    let dither = if depth(after) < depth(before) { "ordered" } else { "none" };
    let mut text = String::new();
    if before != source.format {
        text += &format!("{},", relabel(source.format, before, from));
    }
    text += &format!(
        "zscale=w={}:h={}:f={kernel}:d={dither}:min={}:m={}:tin={}:t={}:pin={}:p={}:rin={}:r={}:npl=100",
        target.width,
        target.height,
        from.matrix,
        to.matrix,
        from.transfer,
        to.transfer,
        from.primaries,
        to.primaries,
        range(from.range),
        range(to.range),
    );
    text += &format!(",format={after}");
    if after != format {
        text += &format!(",{}", relabel(after, format, to));
    }
    Ok(text)
}

/// Another arrangement of the same samples (packed to planes and the like, or chroma up to 4:4:4 and back), by swscale
/// with range and matrix pinned so that it changes neither.
pub(super) fn relabel(from: PixelFormat, to: PixelFormat, colour: &Colour) -> String {
    let mut text = String::from("scale=flags=bicubic+accurate_rnd+full_chroma_int");
    if !is_rgb(from) && !is_rgb(to) {
        let (m, r) = (swscale_matrix(colour.matrix).unwrap_or("bt709"), range(colour.range));
        text += &format!(":in_color_matrix={m}:out_color_matrix={m}:in_range={r}:out_range={r}");
    }
    text + &format!(",format={to}")
}

fn range(range: ColourRange) -> &'static str {
    if range == ColourRange::Full { "full" } else { "limited" }
}

fn swscale_matrix(matrix: u8) -> Option<&'static str> {
    Some(match matrix {
        1 => "bt709",
        4 => "fcc",
        5 | 6 => "bt601",
        7 => "smpte240m",
        9 => "bt2020",
        _ => return None,
    })
}

fn swscale(target: &ScaleTarget, format: PixelFormat, from: &Colour, to: &Colour) -> Result<String> {
    // BT.601, 709 and 2020 share one transfer function; primaries of 525, 625 and 709 lines differ too little for
    // swscale to care, but BT.2020 and P3 do not.
    let curve = |t: u8| if matches!(t, 1 | 6 | 14 | 15) { 1 } else { t };
    let gamut = |p: u8| if matches!(p, 1 | 5 | 6) { 1 } else { p };
    if curve(from.transfer) != curve(to.transfer) && !(from.matrix == 0 || to.matrix == 0)
        || gamut(from.primaries) != gamut(to.primaries)
    {
        return Err(Error::unsupported(
            "converting transfer or primaries needs zimg, which this FFmpeg was built without",
        ));
    }
    let kernel = match target.scaler {
        Scaler::Nearest => "neighbor",
        Scaler::Bilinear => "bilinear",
        Scaler::Bicubic if target.again => "bicubic:param0=0:param1=0.75",
        Scaler::Bicubic => "bicubic:param0=0:param1=0.6",
        Scaler::Lanczos => "lanczos",
    };
    let (flags, params) =
        kernel.split_once(':').map_or((kernel, String::new()), |(k, p)| (k, format!(":{p}")));
    let mut text = format!(
        "scale=w={}:h={}:flags={flags}+accurate_rnd+full_chroma_int{params}",
        target.width, target.height
    );
    for (key, colour) in [("in", from), ("out", to)] {
        if colour.matrix != 0 {
            let matrix = swscale_matrix(colour.matrix).ok_or_else(|| {
                Error::unsupported(format!("swscale cannot convert matrix {}", colour.matrix))
            })?;
            text += &format!(":{key}_color_matrix={matrix}:{key}_range={}", range(colour.range));
        }
    }
    Ok(text + &format!(",format={format}"))
}
