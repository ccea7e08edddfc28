//! Values with more than one spelling: bit rates, durations and frame rates.

use crate::time::Rational;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Bits per second: a number, or a string with `k`, `M` or `G` (powers of 1000), such as `"2.5M"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bitrate(pub u64);

/// The largest rate taken: 10 Gbit/s; above it is a unit mistake.
const MAX_BITRATE: f64 = 10e9;

impl FromStr for Bitrate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a bit rate; write bits per second, or a number with k, M or G");
        let text = text.trim();
        let (digits, scale) = match text.chars().last() {
            Some('k' | 'K') => (&text[..text.len() - 1], 1e3),
            Some('m' | 'M') => (&text[..text.len() - 1], 1e6),
            Some('g' | 'G') => (&text[..text.len() - 1], 1e9),
            _ => (text, 1.0),
        };
        let value: f64 = digits.trim().parse().map_err(|_| bad())?;
        Bitrate::from_f64(value * scale).ok_or_else(bad)
    }
}

impl Bitrate {
    fn from_f64(value: f64) -> Option<Self> {
        (1.0..=MAX_BITRATE).contains(&value).then_some(Bitrate(value.round() as u64))
    }
}

impl Bitrate {
    fn write_json<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(self.0)
    }
}

impl Seconds {
    fn write_json<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(self.0)
    }
}

impl FrameRate {
    fn write_json<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0.to_string())
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b if b >= 1_000_000 && b % 100_000 == 0 => write!(f, "{}M", b as f64 / 1e6),
            b if b >= 1000 && b % 100 == 0 => write!(f, "{}k", b as f64 / 1e3),
            b => write!(f, "{b}"),
        }
    }
}

/// Bytes: a number, or a string with `k`, `M`, `G` or `T` (powers of 1000), such as `"500M"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// The largest size taken: 1 PB.
const MAX_SIZE: f64 = 1e15;

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a size; write bytes, or a number with k, M, G or T");
        let text = text.trim();
        let (digits, scale) = match text.chars().last() {
            Some('k' | 'K') => (&text[..text.len() - 1], 1e3),
            Some('m' | 'M') => (&text[..text.len() - 1], 1e6),
            Some('g' | 'G') => (&text[..text.len() - 1], 1e9),
            Some('t' | 'T') => (&text[..text.len() - 1], 1e12),
            _ => (text, 1.0),
        };
        let value: f64 = digits.trim().parse().map_err(|_| bad())?;
        ByteSize::from_f64(value * scale).ok_or_else(bad)
    }
}

impl ByteSize {
    fn from_f64(value: f64) -> Option<Self> {
        (1.0..=MAX_SIZE).contains(&value).then_some(ByteSize(value.round() as u64))
    }

    fn write_json<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(self.0)
    }
}

/// A length of time: seconds as a number, or `"[[H:]M:]S[.mmm]"`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Seconds(pub f64);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a time; write seconds or [[H:]M:]S[.mmm]");
        let parts: Vec<&str> = text.trim().split(':').collect();
        if parts.len() > 3 {
            return Err(bad());
        }
        let mut total = 0.0;
        for (i, part) in parts.iter().enumerate() {
            let last = i + 1 == parts.len();
            let value: f64 = if last {
                part.parse().map_err(|_| bad())?
            } else {
                f64::from(part.parse::<u32>().map_err(|_| bad())?)
            };
            if !value.is_finite() || value < 0.0 || (i > 0 && value >= 60.0) {
                return Err(bad());
            }
            total = total * 60.0 + value;
        }
        Ok(Seconds(total))
    }
}

/// Frames per second: a number (`29.97` is taken as 30000/1001) or a fraction `"30000/1001"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameRate(pub Rational);

impl FrameRate {
    fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() || value <= 0.0 || value > 1000.0 {
            return None;
        }
        // NTSC rates are written with two or three decimals; take the exact fraction that they mean.
        let ntsc = (value * 1.001).round();
        if (value - ntsc / 1.001).abs() < 0.005 && (value - value.round()).abs() > 1e-9 {
            return Some(FrameRate(Rational::new(ntsc as i32 * 1000, 1001)));
        }
        Rational::approximate(value, 1001).filter(|r| r.is_positive()).map(FrameRate)
    }
}

impl FromStr for FrameRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            || format!("{text:?} is not a frame rate; write a number from above 0 to 1000, or a fraction");
        if let Some((n, d)) = text.split_once('/') {
            let r = Rational::new(n.trim().parse().map_err(|_| bad())?, d.trim().parse().map_err(|_| bad())?);
            if !r.is_positive() || r.as_f64() > 1000.0 {
                return Err(bad());
            }
            return Ok(FrameRate(r.reduced()));
        }
        text.trim().parse().ok().and_then(FrameRate::from_f64).ok_or_else(bad)
    }
}

macro_rules! number_or_text {
    ($type:ident, $from:expr, $expecting:literal, $example:literal, $serialize:ident) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct V;
                impl Visitor<'_> for V {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_f64<E: de::Error>(self, v: f64) -> Result<$type, E> {
                        $from(v).ok_or_else(|| E::custom(format!("{v} is out of range for {}", $expecting)))
                    }
                    fn visit_u64<E: de::Error>(self, v: u64) -> Result<$type, E> {
                        self.visit_f64(v as f64)
                    }
                    fn visit_i64<E: de::Error>(self, v: i64) -> Result<$type, E> {
                        self.visit_f64(v as f64)
                    }
                    fn visit_str<E: de::Error>(self, v: &str) -> Result<$type, E> {
                        v.parse().map_err(E::custom)
                    }
                }
                d.deserialize_any(V)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                self.$serialize(s)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": $expecting,
                    "examples": [$example],
                    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]
                })
            }
        }
    };
}

number_or_text!(
    Bitrate,
    Bitrate::from_f64,
    "a bit rate (bits per second, or a string such as \"2.5M\")",
    "2.5M",
    write_json
);
number_or_text!(
    ByteSize,
    ByteSize::from_f64,
    "a size (bytes, or a string such as \"500M\")",
    "500M",
    write_json
);
number_or_text!(
    Seconds,
    |v: f64| (v.is_finite() && v >= 0.0).then_some(Seconds(v)),
    "a time (seconds, or \"[[H:]M:]S[.mmm]\")",
    "1:02.5",
    write_json
);
number_or_text!(
    FrameRate,
    FrameRate::from_f64,
    "a frame rate (frames per second, or a fraction such as \"30000/1001\")",
    "30000/1001",
    write_json
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitrates() {
        assert_eq!("2.5M".parse(), Ok(Bitrate(2_500_000)));
        assert_eq!("128k".parse(), Ok(Bitrate(128_000)));
        assert_eq!(serde_json::from_str::<Bitrate>("800000").unwrap(), Bitrate(800_000));
        for bad in ["", "k", "-5", "NaN", "inf", "1e30", "5Q"] {
            assert!(bad.parse::<Bitrate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!("1.5G".parse(), Ok(ByteSize(1_500_000_000)));
        assert_eq!(serde_json::from_str::<ByteSize>("4096").unwrap(), ByteSize(4096));
        for bad in ["", "M", "-5", "NaN", "1e30", "5Q", "0"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!("1:02.5".parse(), Ok(Seconds(62.5)));
        assert_eq!("1:00:00".parse(), Ok(Seconds(3600.0)));
        for bad in ["", "1:60", "a", "-1", "1:2:3:4", "nan"] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad}");
        }
    }

    #[test]
    fn frame_rates_are_exact() {
        assert_eq!("29.97".parse(), Ok(FrameRate(Rational::new(30000, 1001))));
        assert_eq!("23.976".parse(), Ok(FrameRate(Rational::new(24000, 1001))));
        assert_eq!("25".parse(), Ok(FrameRate(Rational::new(25, 1))));
        assert_eq!("12.5".parse(), Ok(FrameRate(Rational::new(25, 2))));
        assert_eq!("60000/1001".parse(), Ok(FrameRate(Rational::new(60000, 1001))));
        for bad in ["0", "-1", "1/0", "x", "1001"] {
            assert!(bad.parse::<FrameRate>().is_err(), "{bad}");
        }
    }
}
