//! Spellings of values that only the command line has: sizes, rectangles, `key=value`, names of the document's enums.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use ghoststream::spec::{
    Bitrate, BurnInSpec, ColourSpec, CropSpec, FrameRate, InterpolateSpec, MasteringDisplaySpec, PadSpec,
    SharpenSpec, SoundSpec, ToneMapSpec, VideoSpec, WatermarkSpec,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A parser for an enum of the document. Its names and their help come from the document's schema, so that the command
/// line cannot lag behind it; `_` is written `-`, as in every other option.
pub fn one_of<T>() -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + JsonSchema + Clone + Send + Sync + 'static,
{
    let values = names::<T>().into_iter().map(|(name, help)| {
        let value = PossibleValue::new(name.replace('_', "-")).help(help);
        if name.contains('_') { value.alias(name) } else { value }
    });
    PossibleValuesParser::new(values).try_map(|name| {
        let known = names::<T>().into_iter().find(|(n, _)| n.replace('_', "-") == name.replace('_', "-"));
        serde_json::from_value(Value::String(known.map_or(name, |(n, _)| n)))
    })
}

/// The names of an enum without payload and what its documentation says of each.
fn names<T: JsonSchema>() -> Vec<(String, String)> {
    let schema = Value::from(schemars::schema_for!(T));
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let plain = |v: &Value| -> Vec<(String, String)> {
        v["enum"].as_array().into_iter().flatten().map(|n| (text(n), String::new())).collect()
    };
    let mut found = plain(&schema);
    for part in schema["oneOf"].as_array().into_iter().flatten() {
        found.extend(plain(part));
        if part["const"].is_string() {
            let help = text(&part["description"]);
            found.push((text(&part["const"]), help.trim_end_matches('.').to_string()));
        }
    }
    found
}

/// A count of reconnects; -1 is for ever.
pub fn parse_reconnects(text: &str) -> Result<i32, String> {
    match text {
        "forever" | "-1" => Ok(-1),
        count => count.parse::<u16>().map(i32::from).map_err(|_| "a count, or 'forever'".into()),
    }
}

/// `key=value`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("write KEY=VALUE".into()),
    }
}

/// Sounds that are mixed into one track.
#[derive(Clone, Debug, PartialEq)]
pub struct Sounds(pub Vec<SoundSpec>);

/// `desktop`, `app:NAME,gain=-6` …, several with `+` between them.
pub fn sounds(text: &str) -> Result<Sounds, String> {
    let kinds = ["desktop", "microphone", "mic", "app:", "all-but:", "node:"];
    // A plus within a name is one unless a sound follows.
    let mut parts: Vec<String> = Vec::new();
    for part in text.split('+') {
        match parts.last_mut() {
            Some(last) if !kinds.iter().any(|kind| part.starts_with(kind)) => {
                last.push('+');
                last.push_str(part);
            }
            _ => parts.push(part.into()),
        }
    }
    parts.iter().map(|part| part.parse()).collect::<Result<_, _>>().map(Sounds)
}

/// `Name: value`.
pub fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().into(), value.trim().into())),
        _ => Err("write 'Name: value'".into()),
    }
}

/// A count, or `forever` (-1 in the document).
pub fn loops(text: &str) -> Result<i32, String> {
    if text == "forever" {
        return Ok(-1);
    }
    text.parse::<u32>()
        .ok()
        .and_then(|n| i32::try_from(n).ok())
        .ok_or_else(|| "write a count, or forever".into())
}

/// `WxH`.
pub fn size(text: &str) -> Result<(u32, u32), String> {
    let parsed = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    parsed.ok_or_else(|| "write WIDTHxHEIGHT, such as 1280x720".into())
}

/// `COLUMNSxROWS`.
pub fn tiles(text: &str) -> Result<(u32, u32), String> {
    size(text).map_err(|_| "write COLUMNSxROWS, such as 10x10".into())
}

/// `WxH+X+Y`.
pub fn crop(text: &str) -> Result<CropSpec, String> {
    let parsed = || {
        let mut parts = text.split('+');
        let (width, height) = size(parts.next()?).ok()?;
        let (x, y) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(CropSpec { x, y, width, height })
    };
    parsed().ok_or_else(|| "write WIDTHxHEIGHT+X+Y, such as 1280x720+0+140".into())
}

/// `WxH[+X+Y][:COLOUR]`.
pub fn pad(text: &str) -> Result<PadSpec, String> {
    let parsed = || {
        let (place, colour) = match text.split_once(':') {
            Some((place, colour)) if !colour.is_empty() => (place, Some(colour.to_string())),
            Some(_) => return None,
            None => (text, None),
        };
        if place.contains('+') {
            let CropSpec { x, y, width, height } = crop(place).ok()?;
            return Some(PadSpec { width, height, x: Some(x), y: Some(y), colour });
        }
        let (width, height) = size(place).ok()?;
        Some(PadSpec { width, height, x: None, y: None, colour })
    };
    parsed().ok_or_else(|| "write WIDTHxHEIGHT[+X+Y][:COLOUR], such as 1920x1080:black".into())
}

/// `CURVE[:PEAK]`.
pub fn tone_map(text: &str) -> Result<ToneMapSpec, String> {
    let (curve, peak) = match text.split_once(':') {
        Some((curve, peak)) => (curve, Some(peak)),
        None => (text, None),
    };
    let curve = serde_json::from_value(curve.into())
        .map_err(|_| format!("{curve:?}: write hable, mobius, reinhard or bt2390"))?;
    let nits = |peak: &str| peak.parse::<f64>().map_err(|_| format!("{peak:?}: write the peak in cd/m²"));
    Ok(ToneMapSpec { curve, peak: peak.map(nits).transpose()?, ..ToneMapSpec::default() })
}

/// Names of colours, and parts of one.
pub fn colour(text: &str) -> Result<ColourSpec, String> {
    let mut spec = ColourSpec::default();
    for word in text.split(',') {
        // ITU-R BT.601, BT.709, BT.2020 and BT.2100, by FFmpeg's names of their parts.
        let [primaries, transfer, matrix] = match word.split_once('=').unwrap_or((word, "")) {
            ("primaries", name) => [name, "", ""],
            ("transfer", name) => ["", name, ""],
            ("matrix", name) => ["", "", name],
            ("range", name @ ("full" | "limited")) | (name @ ("full" | "limited"), "") => {
                spec.range = Some(name.into());
                continue;
            }
            ("bt601", "") => ["smpte170m"; 3],
            ("bt709", "") => ["bt709"; 3],
            ("bt2020", "") => ["bt2020", "bt2020-10", "bt2020nc"],
            ("pq", "") => ["bt2020", "smpte2084", "bt2020nc"],
            ("hlg", "") => ["bt2020", "arib-std-b67", "bt2020nc"],
            _ => {
                return Err(format!(
                    "{word:?}: write bt601, bt709, bt2020, pq, hlg, full, limited or PART=NAME"
                ));
            }
        };
        for (part, name) in
            [(&mut spec.primaries, primaries), (&mut spec.transfer, transfer), (&mut spec.matrix, matrix)]
        {
            if !name.is_empty() {
                *part = Some(name.into());
            }
        }
    }
    Ok(spec)
}

/// `PRIMARIES:MIN:MAX`.
pub fn mastering_display(text: &str) -> Result<MasteringDisplaySpec, String> {
    let parsed = || {
        let mut parts = text.split(':');
        let (red, green, blue) = match parts.next()? {
            "bt709" => ([0.64, 0.33], [0.3, 0.6], [0.15, 0.06]),
            "p3" => ([0.68, 0.32], [0.265, 0.69], [0.15, 0.06]),
            "bt2020" => ([0.708, 0.292], [0.17, 0.797], [0.131, 0.046]),
            _ => return None,
        };
        let (min_luminance, max_luminance) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let white = [0.3127, 0.329];
        let display = MasteringDisplaySpec { red, green, blue, white, min_luminance, max_luminance };
        parts.next().is_none().then_some(display)
    };
    parsed().ok_or_else(|| "write bt709, p3 or bt2020 and two luminances, such as p3:0.0001:1000".into())
}

/// `AMOUNT[:SIZE]`.
pub fn sharpen(text: &str) -> Result<SharpenSpec, String> {
    let parsed = || {
        let (amount, size) = match text.split_once(':') {
            Some((amount, size)) => (amount, Some(size.parse().ok()?)),
            None => (text, None),
        };
        let amount: f64 = amount.parse().ok().filter(|a: &f64| a.is_finite())?;
        Some(SharpenSpec { amount, size })
    };
    parsed().ok_or_else(|| "write AMOUNT[:SIZE], such as 0.8 or 0.8:7".into())
}

/// `FPS[:blend]`.
pub fn interpolate(text: &str) -> Result<InterpolateSpec, String> {
    let (rate, blend) = match text.strip_suffix(":blend") {
        Some(rate) => (rate, true),
        None => (text, false),
    };
    Ok(InterpolateSpec { frame_rate: rate.parse::<FrameRate>()?, blend })
}

/// The index of a source stream, or else a file.
pub fn burn_in(text: &str) -> Result<BurnInSpec, String> {
    Ok(match text.parse() {
        Ok(stream) => BurnInSpec { stream: Some(stream), ..BurnInSpec::default() },
        Err(_) => BurnInSpec { path: Some(text.into()), ..BurnInSpec::default() },
    })
}

/// `FILE[@X,Y[,OPACITY]]`.
pub fn watermark(text: &str) -> Result<WatermarkSpec, String> {
    let parsed = || {
        let Some((path, place)) = text.rsplit_once('@').filter(|(_, place)| place.contains(',')) else {
            return Some(WatermarkSpec { path: text.into(), x: 0, y: 0, opacity: None });
        };
        let mut parts = place.split(',');
        let (x, y) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let opacity =
            parts.next().map(|o| o.parse().ok().filter(|o: &f64| o.is_finite()).ok_or(())).transpose();
        let opacity = opacity.ok()?;
        parts.next().is_none().then_some(WatermarkSpec { path: path.into(), x, y, opacity })
    };
    parsed().ok_or_else(|| "write FILE[@X,Y[,OPACITY]], such as logo.png@-20,20,0.8".into())
}

/// One rung of `--ladder`: `WxH[@RATE[/MAX]]` or `HEIGHTp[@RATE[/MAX]]`, or `copy` for the source as it is.
pub fn rung(text: &str) -> Result<VideoSpec, String> {
    let parsed = || {
        if text == "copy" {
            return Some(VideoSpec::copy());
        }
        let mut rung = VideoSpec::new();
        let (picture, rates) = match text.split_once('@') {
            Some((picture, rates)) => (picture, Some(rates)),
            None => (text, None),
        };
        match picture.strip_suffix('p') {
            Some(height) => rung.height = Some(height.parse().ok()?),
            None => {
                let (width, height) = size(picture).ok()?;
                (rung.width, rung.height) = (Some(width), Some(height));
            }
        }
        if let Some(rates) = rates {
            let (rate, max) = match rates.split_once('/') {
                Some((rate, max)) => (rate, Some(max.parse::<Bitrate>().ok()?)),
                None => (rates, None),
            };
            rung.bitrate = Some(rate.parse().ok()?);
            rung.max_bitrate = max;
        }
        Some(rung)
    };
    parsed().ok_or_else(|| {
        format!(
            "{text:?} is not a rung; write WxH@RATE or HEIGHTp@RATE (1280x720@2.8M, 480p@1M/1.5M), or copy"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ghoststream::spec::{Container, Deinterlace, Preset};

    #[test]
    fn enum_names_come_from_the_document() {
        let presets: Vec<String> = names::<Preset>().into_iter().map(|n| n.0).collect();
        assert_eq!(presets, ["p1", "p2", "p3", "p4", "p5", "p6", "p7"]);
        assert_eq!(names::<Deinterlace>().len(), 3);
        assert!(names::<Container>().iter().any(|(n, help)| n == "hls+dash" && !help.is_empty()));
    }

    #[test]
    fn pictures() {
        assert_eq!(size("1280x720"), Ok((1280, 720)));
        let c = crop("640x360+10+20").unwrap();
        assert_eq!((c.width, c.height, c.x, c.y), (640, 360, 10, 20));
        let p = pad("1920x1080:#ff0000").unwrap();
        assert_eq!((p.x, p.colour.as_deref()), (None, Some("#ff0000")));
        assert_eq!(pad("1920x1080+0+60").unwrap().y, Some(60));
        let w = watermark("a@b.png@-20,20,0.5").unwrap();
        assert_eq!((w.path.as_str(), w.x, w.y, w.opacity), ("a@b.png", -20, 20, Some(0.5)));
        assert_eq!(watermark("a@b.png").unwrap().path, "a@b.png");
        assert!(interpolate("60:blend").unwrap().blend);
        for bad in ["", "x", "1x", "axb", "-1x2", "1x2+3", "1x2+3+4+5"] {
            assert!(crop(bad).is_err() && size(bad).is_err(), "{bad}");
        }
        for bad in ["", "1x2:", "1x2+3"] {
            assert!(pad(bad).is_err(), "{bad}");
        }
        for bad in ["nan", "1:x", ""] {
            assert!(sharpen(bad).is_err(), "{bad}");
        }
        for bad in ["f@1,x", "f@1,2,nan", "f@1,2,3,4"] {
            assert!(watermark(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rungs() {
        let r = rung("854x480@1M/1.5M").unwrap();
        assert_eq!((r.width, r.height), (Some(854), Some(480)));
        assert_eq!((r.bitrate, r.max_bitrate), (Some(Bitrate(1_000_000)), Some(Bitrate(1_500_000))));
        assert_eq!((rung("480p").unwrap().width, rung("480p").unwrap().height), (None, Some(480)));
        assert!(rung("copy").unwrap().is_copy());
        for bad in ["", "480", "480p@", "480p@x", "1x2@1M/"] {
            assert!(rung(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pairs_and_counts() {
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(key_value("a="), Ok(("a".into(), String::new())));
        assert!(key_value("=b").is_err() && key_value("a").is_err());
        assert_eq!(header("X-Key: a:b"), Ok(("X-Key".into(), "a:b".into())));
        assert_eq!((loops("forever"), loops("3")), (Ok(-1), Ok(3)));
        assert!(loops("-1").is_err());
    }
}
