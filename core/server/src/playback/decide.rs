//! Whether a source is played as it is, repackaged, or encoded. Pure.

use crate::contract::request::ClientProfile;
use crate::contract::values::Rate;
use ghoststream::PipelineSpec;
use ghoststream::spec::{FilterSpec, LadderSpec, VideoChoice, VideoSpec};
use serde_json::Value;

/// How a source is brought to the player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The file itself.
    Direct,
    /// Its pictures as they are, in segments.
    Remux,
    /// Encoded.
    Transcode,
}

impl Method {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Method::Direct => "direct",
            Method::Remux => "remux",
            Method::Transcode => "transcode",
        }
    }
}

/// What was decided, and why nothing cheaper was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The method.
    pub method: Method,
    /// Whether the sound can stay as it is too.
    pub keep_audio: bool,
    /// In words.
    pub reason: String,
}

/// The longest segment that a player's buffers are planned for, in seconds: copied pictures can only be cut at their own
/// key frames.
pub const LONGEST_COPY: f64 = 12.0;

/// Decides for the source that `probe` describes, which `spec` would encode, and a player that `profile` describes.
pub fn decide(probe: &Value, spec: &PipelineSpec, profile: Option<&ClientProfile>) -> Verdict {
    let transcode = |why: String| Verdict { method: Method::Transcode, keep_audio: false, reason: why };
    let Some(output) = spec.outputs.first() else { return transcode("nothing is asked for".into()) };
    let base = match &output.video {
        VideoChoice::Track(v) => Some(&**v),
        _ => None,
    };
    let copy_asked = copies(spec);
    let Some(video) = picture(probe) else { return transcode("the source has no pictures".into()) };
    let starts_late = spec.source.start.is_some_and(|s| s.0 > 0.0);
    if copy_asked {
        return match starts_late {
            false => Verdict {
                method: Method::Remux,
                keep_audio: keeps_audio(probe, spec, profile),
                reason: copied(probe),
            },
            true => transcode("a copy cannot begin between key frames".into()),
        };
    }
    let Some(profile) = profile else {
        return transcode("the client did not say what it can play".into());
    };
    if let Some(why) = obstacle(probe, video, spec, base, profile) {
        return transcode(why);
    }
    let keep_audio = keeps_audio(probe, spec, Some(profile));
    match (container(probe, profile), keep_audio, is_local(spec)) {
        (None, true, true) => Verdict {
            method: Method::Direct,
            keep_audio: true,
            reason: "the client plays the file as it is".into(),
        },
        (Some(why), ..) => Verdict { method: Method::Remux, keep_audio, reason: why },
        (None, false, _) => Verdict {
            method: Method::Remux,
            keep_audio,
            reason: "the client does not play the sound as it is".into(),
        },
        (None, true, false) => {
            Verdict { method: Method::Remux, keep_audio, reason: "the source is not a local file".into() }
        }
    }
}

/// How the picture is turned to be shown, in words, if it is.
pub fn picture_turned(probe: &Value) -> Option<String> {
    turned(&picture(probe)?["video"])
}

/// As [`picture_turned`], of the video that a probe describes.
pub fn turned(video: &Value) -> Option<String> {
    let mirrored = video["mirrored"].as_bool().unwrap_or(false);
    ghoststream::packet::turned(video["rotation"].as_f64().unwrap_or(0.0), mirrored)
}

/// Why a copy that was asked for is made as it is.
pub fn copied(probe: &Value) -> String {
    match picture_turned(probe) {
        Some(how) => format!(
            "copying was asked for; the picture is {how}, which MPEG-TS cannot say, so segments are fMP4"
        ),
        None => "copying was asked for".into(),
    }
}

/// Whether the pictures of `spec` are copied.
pub fn copies(spec: &PipelineSpec) -> bool {
    let video = spec.outputs.first().map(|o| &o.video);
    matches!(video, Some(VideoChoice::Track(v)) if v.is_copy())
}

/// Why the pictures cannot be copied on demand whose key frames `probe` lists, if it is so: an edit list begins inside a group
/// of pictures and hides those before, which a copy would show. MP4 begins there for no other reason; other containers have
/// all pictures in the list.
pub(crate) fn hidden(probe: &Value) -> Option<String> {
    if !probe["format"].as_str().unwrap_or_default().starts_with("mov") {
        return None;
    }
    let stream = picture(probe)?;
    let begin = stream["start"]["seconds"].as_f64()?;
    // Rates are fractions.
    let rate = stream["video"]["frame_rate"].as_str().unwrap_or_default();
    let (n, d) = rate.split_once('/').unwrap_or((rate, "1"));
    let half = match (n.parse::<f64>(), d.parse::<f64>()) {
        (Ok(n), Ok(d)) if n > 0.0 && d > 0.0 => d / n / 2.0,
        _ => 0.005,
    };
    let shown = stream["keyframes"].as_array()?.first().and_then(|key| key["time"].as_f64());
    shown.is_none_or(|key| key > begin + half).then(|| {
        "its edit list hides the key frame that its first pictures need, so they cannot be copied".into()
    })
}

/// The first video stream that is no cover art.
pub(super) fn picture(probe: &Value) -> Option<&Value> {
    let streams = probe["streams"].as_array()?;
    streams
        .iter()
        .find(|s| s["video"].is_object() && !s["disposition"]["attached_picture"].as_bool().unwrap_or(false))
}

fn is_local(spec: &PipelineSpec) -> bool {
    spec.source.url.as_deref().is_some_and(|u| !u.contains("://"))
}

/// Why the pictures cannot stay as they are.
fn obstacle(
    probe: &Value,
    stream: &Value,
    spec: &PipelineSpec,
    base: Option<&VideoSpec>,
    profile: &ClientProfile,
) -> Option<String> {
    let output = spec.outputs.first()?;
    let video = &stream["video"];
    let codec = stream["codec"].as_str().unwrap_or_default();
    if matches!(&output.ladder, Some(LadderSpec::Auto)) || output.ladder.is_some() {
        return Some("several qualities were asked for".into());
    }
    if spec.source.start.is_some_and(|s| s.0 > 0.0) {
        return Some("a copy cannot begin between key frames".into());
    }
    let burned = |f: &FilterSpec| matches!(f, FilterSpec::BurnIn(_) | FilterSpec::Watermark(_));
    if base.is_some_and(|b| b.filters.iter().any(burned)) {
        return Some("something is drawn into the picture".into());
    }
    let known = |name: &str| {
        let same = |p: &String| p == name || (name == "hevc" && p == "h265");
        match profile.video_codecs.is_empty() {
            true => base.and_then(|b| b.codec.as_ref()).is_none_or(|c| c.name() == name),
            false => profile.video_codecs.iter().any(same),
        }
    };
    if !known(codec) {
        return Some(format!("the client does not play {codec}"));
    }
    let number = |v: &Value| v.as_u64().unwrap_or(0);
    let (width, height) = (number(&video["width"]), number(&video["height"]));
    if let Some(most) = profile.max_width.filter(|m| u64::from(*m) < width) {
        return Some(format!("the picture is {width} wide, the client takes {most}"));
    }
    if let Some(most) = profile.max_height.filter(|m| u64::from(*m) < height) {
        return Some(format!("the picture is {height} high, the client takes {most}"));
    }
    let asked = base.map(|b| (b.width, b.height)).unwrap_or_default();
    let smaller = |asked: Option<u32>, have: u64| asked.is_some_and(|a| u64::from(a) < have);
    if smaller(asked.0, number(&video["display_width"])) || smaller(asked.1, number(&video["display_height"]))
    {
        return Some("a smaller picture was asked for".into());
    }
    if let Some(how) = turned(video) {
        return Some(format!("the picture is {how}"));
    }
    if matches!(video["field_order"].as_str(), Some("top_first" | "bottom_first")) {
        return Some("the picture is interlaced".into());
    }
    let format = video["hdr"]["format"].as_str().unwrap_or("sdr");
    if format != "sdr" && !profile.hdr {
        return Some(format!("the source is {format}, the client shows no HDR"));
    }
    if codec == "h264" && video["bit_depth"].as_u64().unwrap_or(8) > 8 {
        return Some("hardly any player takes H.264 of more than 8 bits".into());
    }
    let rate = probe["bit_rate"].as_u64().or_else(|| stream["bit_rate"].as_u64());
    match (profile.max_bitrate.and_then(Rate::bits), rate) {
        (Some(most), Some(rate)) if rate > most => {
            Some(format!("the source has {} kbit/s, the client takes {}", rate / 1000, most / 1000))
        }
        (Some(_), None) => Some("the source's bit rate is not known".into()),
        _ => None,
    }
}

/// Whether the first sound can stay as it is.
fn keeps_audio(probe: &Value, spec: &PipelineSpec, profile: Option<&ClientProfile>) -> bool {
    let Some(stream) = probe["streams"].as_array().and_then(|s| s.iter().find(|s| s["audio"].is_object()))
    else {
        return true;
    };
    let codec = stream["codec"].as_str().unwrap_or_default();
    let asked = spec.outputs.first().and_then(|o| match &o.audio {
        ghoststream::spec::AudioChoice::Tracks(tracks) => tracks.first(),
        _ => None,
    });
    // Parts of the sound must come from everywhere in the source.
    let seconds = |v: &Value| v["seconds"].as_f64();
    let whole = match (seconds(&stream["duration"]), probe["duration"].as_f64()) {
        (Some(have), Some(all)) => all - have < 0.5,
        _ => false,
    };
    let plays = match profile {
        Some(p) if !p.audio_codecs.is_empty() => p.audio_codecs.iter().any(|a| a == codec),
        _ => asked.and_then(|a| a.codec.as_ref()).is_some_and(|c| c.name() == codec || c.name() == "copy"),
    };
    let mixed = asked.is_some_and(|a| a.channels.is_some() || a.gain.is_some());
    plays && whole && !mixed && matches!(codec, "aac" | "opus" | "ac3" | "eac3" | "mp3" | "flac")
}

/// Why the client does not play the container; `None` when it does.
fn container(probe: &Value, profile: &ClientProfile) -> Option<String> {
    let format = probe["format"].as_str().unwrap_or_default();
    let names: &[&str] = match format {
        f if f.starts_with("mov") => &["mp4", "mov", "m4v"],
        f if f.starts_with("matroska") => &["mkv", "matroska"],
        f if f.starts_with("mpegts") => &["ts", "mpegts"],
        other => &[other],
    };
    let plays = profile.containers.iter().any(|c| names.contains(&c.as_str()));
    (!plays).then(|| match profile.containers.is_empty() {
        true => "the client did not say that it plays files".into(),
        false => format!("the client does not play {} files", names.first().unwrap_or(&format)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ghoststream::spec::{AudioChoice, AudioSpec, OutputSpec, Seconds, SourceSpec};
    use serde_json::json;

    fn probe() -> Value {
        json!({"format": "mov,mp4,m4a,3gp,3g2,mj2", "duration": 60.0, "bit_rate": 3_000_000, "streams": [
            {"codec": "h264", "video": {"width": 1280, "height": 720, "display_width": 1280, "display_height": 720,
                "bit_depth": 8, "rotation": 0.0, "field_order": "progressive", "hdr": {"format": "sdr"}}, "disposition": {}},
            {"codec": "aac", "audio": {"channels": 2}, "duration": {"seconds": 60.0}, "disposition": {}}]})
    }

    fn spec() -> PipelineSpec {
        let mut output = OutputSpec::path("x/master.m3u8");
        output.video = VideoChoice::Track(Box::new(VideoSpec {
            codec: Some(ghoststream::Codec::from_name("h264")),
            ..VideoSpec::new()
        }));
        output.audio = AudioChoice::Tracks(vec![AudioSpec {
            codec: Some(ghoststream::Codec::from_name("aac")),
            ..AudioSpec::new()
        }]);
        PipelineSpec::new(SourceSpec::url("film.mp4"), vec![output])
    }

    fn client() -> ClientProfile {
        ClientProfile {
            containers: vec!["mp4".into()],
            video_codecs: vec!["h264".into()],
            audio_codecs: vec!["aac".into()],
            ..ClientProfile::default()
        }
    }

    #[test]
    fn an_edit_list_that_hides_pictures_is_seen_by_the_key_frames() {
        let mut film = probe();
        film["streams"][0]["start"] = json!({"seconds": 0.0});
        film["streams"][0]["video"]["frame_rate"] = json!("25/1");
        assert_eq!(hidden(&film), None, "nothing is listed");
        film["streams"][0]["keyframes"] = json!([{"time": 0.0}, {"time": 2.0}]);
        assert_eq!(hidden(&film), None);
        for keys in [json!([{"time": 0.04}, {"time": 2.04}]), json!([])] {
            film["streams"][0]["keyframes"] = keys;
            assert!(hidden(&film).is_some_and(|why| why.contains("edit list")), "{film}");
        }
        // A recording of a broadcast.
        film["format"] = json!("mpegts");
        assert_eq!(hidden(&film), None);
    }

    #[test]
    fn the_cheapest_way_that_the_client_can_play() {
        let of = |probe: &Value, spec: &PipelineSpec, client: &ClientProfile| {
            let v = decide(probe, spec, Some(client));
            (v.method, v.keep_audio, v.reason)
        };
        assert_eq!(decide(&probe(), &spec(), None).method, Method::Transcode);
        assert_eq!(of(&probe(), &spec(), &client()).0, Method::Direct);
        let mkv = ClientProfile { containers: vec!["webm".into()], ..client() };
        assert_eq!(
            of(&probe(), &spec(), &mkv),
            (Method::Remux, true, "the client does not play mp4 files".into())
        );
        let opus = ClientProfile { audio_codecs: vec!["opus".into()], ..client() };
        assert!(!of(&probe(), &spec(), &opus).1);
        for (change, words) in [
            (ClientProfile { video_codecs: vec!["av1".into()], ..client() }, "does not play h264"),
            (ClientProfile { max_height: Some(480), ..client() }, "720 high"),
            (ClientProfile { max_bitrate: "1M".parse().ok(), ..client() }, "3000 kbit/s"),
        ] {
            let (method, _, reason) = of(&probe(), &spec(), &change);
            assert_eq!(method, Method::Transcode, "{reason}");
            assert!(reason.contains(words), "{reason}");
        }
        let mut hdr = probe();
        hdr["streams"][0]["video"]["hdr"]["format"] = json!("hdr10");
        assert_eq!(of(&hdr, &spec(), &client()).0, Method::Transcode);
        assert_eq!(of(&hdr, &spec(), &ClientProfile { hdr: true, ..client() }).0, Method::Direct);
        let mut turned = probe();
        turned["streams"][0]["video"]["rotation"] = json!(90.0);
        assert_eq!(
            of(&turned, &spec(), &client()),
            (Method::Transcode, false, "the picture is rotated by 90 degrees".into())
        );
        let mut mirrored = probe();
        mirrored["streams"][0]["video"]["mirrored"] = json!(true);
        assert_eq!(
            of(&mirrored, &spec(), &client()),
            (Method::Transcode, false, "the picture is mirrored".into())
        );
        let mut copying = spec();
        copying.outputs[0].video = VideoChoice::Track(Box::new(VideoSpec::copy()));
        assert_eq!(of(&probe(), &copying, &client()).2, "copying was asked for");
        assert!(
            of(&turned, &copying, &client()).2.contains("by 90 degrees"),
            "{:?}",
            of(&turned, &copying, &client())
        );
        let mut late = spec();
        late.source.start = Some(Seconds(5.0));
        assert_eq!(of(&probe(), &late, &client()).0, Method::Transcode);
        let mut ladder = spec();
        ladder.outputs[0].ladder = Some(LadderSpec::Auto);
        assert_eq!(of(&probe(), &ladder, &client()).0, Method::Transcode);
        let mut remote = spec();
        remote.source.url = Some("http://x/film.mp4".into());
        assert_eq!(of(&probe(), &remote, &client()).0, Method::Remux);
    }
}
