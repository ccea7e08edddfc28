//! VP9: the key frame header, from which the `vpcC` record is made.

use super::{BitReader, damaged};
use crate::Result;
use crate::frame::{Colour, ColourRange};

/// What a key frame's uncompressed header says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Profile 0 to 3.
    pub profile: u8,
    /// Bits per sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// Whether chroma is halved horizontally.
    pub subsampling_x: bool,
    /// Whether chroma is halved vertically.
    pub subsampling_y: bool,
    /// Colour description, as far as VP9 has one.
    pub colour: Colour,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Level × 10, from [`Config::set_rate`]; 10 until then.
    pub level: u8,
}

/// Level × 10, luma samples per second, luma samples per picture (VP9 levels, annex A).
const LEVELS: [(u8, u64, u64); 14] = [
    (10, 829_440, 36_864),
    (11, 2_764_800, 73_728),
    (20, 4_608_000, 122_880),
    (21, 9_216_000, 245_760),
    (30, 20_736_000, 552_960),
    (31, 36_864_000, 983_040),
    (40, 83_558_400, 2_228_224),
    (41, 160_432_128, 2_228_224),
    (50, 311_951_360, 8_912_896),
    (51, 588_251_136, 8_912_896),
    (52, 1_176_502_272, 8_912_896),
    (60, 1_176_502_272, 35_651_584),
    (61, 2_353_004_544, 35_651_584),
    (62, 4_706_009_088, 35_651_584),
];

impl Config {
    /// Parses a key frame (or a superframe that begins with one).
    pub fn parse(data: &[u8]) -> Result<Config> {
        let mut r = BitReader::new(data);
        if r.bits(2)? != 2 {
            return Err(damaged("VP9: frame marker missing"));
        }
        let profile = (r.bits(1)? | r.bits(1)? << 1) as u8;
        if profile == 3 {
            r.skip(1)?;
        }
        // show_existing_frame, then frame_type (0 = key).
        if r.flag()? || r.flag()? {
            return Err(damaged("VP9: not a key frame"));
        }
        r.skip(2)?;
        if r.bits(24)? != 0x49_83_42 {
            return Err(damaged("VP9: sync code missing"));
        }
        let bit_depth = match profile >= 2 {
            true if r.flag()? => 12,
            true => 10,
            false => 8,
        };
        let space = r.bits(3)?;
        let mut colour = Colour::default();
        let (mut x, mut y) = (profile & 1 == 0, profile & 1 == 0);
        if space == 7 {
            (colour.range, colour.matrix) = (ColourRange::Full, 0);
            if profile & 1 == 0 {
                return Err(damaged("VP9: RGB in profile 0 or 2"));
            }
            r.skip(1)?;
        } else {
            colour.range = if r.flag()? { ColourRange::Full } else { ColourRange::Limited };
            (colour.primaries, colour.transfer, colour.matrix) = match space {
                1 => (5, 6, 5),
                2 => (1, 1, 1),
                3 => (6, 6, 6),
                4 => (7, 7, 7),
                5 => (9, 2, 9),
                _ => (2, 2, 2),
            };
            if profile & 1 == 1 {
                (x, y) = (r.flag()?, r.flag()?);
                r.skip(1)?;
            }
        }
        let (width, height) = (r.bits(16)? + 1, r.bits(16)? + 1);
        Ok(Config {
            profile,
            bit_depth,
            subsampling_x: x,
            subsampling_y: y,
            colour,
            width,
            height,
            level: level(width, height, 0.0),
        })
    }

    /// Chooses the level for `frame_rate` frames per second.
    pub fn set_rate(&mut self, frame_rate: f64) {
        self.level = level(self.width, self.height, frame_rate);
    }

    /// `chromaSubsampling` of `vpcC`: 0/1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub fn chroma(&self) -> u8 {
        match (self.subsampling_x, self.subsampling_y) {
            (true, true) => 1,
            (true, false) => 2,
            _ => 3,
        }
    }

    /// The `vpcC` payload (version and flags included) with `colour` for what the bitstream cannot say.
    pub fn to_vpcc(&self, colour: Colour) -> Vec<u8> {
        let full = u8::from(colour.range == ColourRange::Full);
        vec![
            1,
            0,
            0,
            0,
            self.profile,
            self.level,
            self.bit_depth << 4 | self.chroma() << 1 | full,
            colour.primaries,
            colour.transfer,
            colour.matrix,
            0,
            0,
        ]
    }
}

/// Why pictures of `size` at `frame_rate` (0: not known) make no stream of the level that people call `name`; `None` where
/// they do.
pub(crate) fn not_of_level(name: &str, size: (u32, u32), frame_rate: f64) -> Option<String> {
    let name = name.strip_suffix(".0").unwrap_or(name);
    let shown = |tens: u8| match tens % 10 {
        0 => (tens / 10).to_string(),
        minor => format!("{}.{minor}", tens / 10),
    };
    let Some((asked, ..)) = LEVELS.iter().find(|(tens, ..)| shown(*tens) == name) else {
        let names: Vec<_> = LEVELS.iter().map(|(tens, ..)| shown(*tens)).collect();
        return Some(format!("there is no level {name}; there are {}", names.join(", ")));
    };
    let needed = level(size.0, size.1, frame_rate);
    (needed > *asked)
        .then(|| format!("{name} is below what {}x{} needs, which is {}", size.0, size.1, shown(needed)))
}

fn level(width: u32, height: u32, frame_rate: f64) -> u8 {
    let picture = u64::from(width) * u64::from(height);
    let rate = (picture as f64 * frame_rate) as u64;
    let fits = |(_, max_rate, max_picture): &&(u8, u64, u64)| rate <= *max_rate && picture <= *max_picture;
    LEVELS.iter().find(fits).map_or(62, |l| l.0)
}
