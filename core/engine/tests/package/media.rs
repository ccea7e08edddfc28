//! Test clips made by the ffmpeg command, read back packet by packet with ffprobe: the real peer on both sides.

use bytes::Bytes;
use ghoststream::frame::ChannelLayout;
use ghoststream::packet::{AudioInfo, Codec, FieldOrder, MediaKind, Packet, StreamInfo, VideoInfo};
use ghoststream::time::Rational;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Runs a program; its standard output. Anything on its standard error, or a failure, is a failure of the test.
pub fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().expect(program);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && errors.trim().is_empty(), "{program} {args:?}\n{errors}");
    String::from_utf8(out.stdout).unwrap()
}

/// Makes a clip at `path`.
pub fn make(path: &Path, args: &str) {
    let mut all = vec!["-v", "error", "-y", "-fflags", "+bitexact"];
    all.extend(args.split_whitespace());
    all.push(path.to_str().unwrap());
    let out = Command::new("ffmpeg").args(&all).output().unwrap();
    assert!(out.status.success(), "{args}\n{}", String::from_utf8_lossy(&out.stderr));
}

/// Decodes the whole file and demands silence from FFmpeg.
pub fn decode_strictly(path: &str) {
    let loud = ["-v", "warning", "-xerror", "-err_detect", "explode", "-i", path, "-f", "null", "-"];
    run("ffmpeg", &loud);
}

/// Packet facts of a file as ffprobe sees them: per stream, `(pts_time, duration_time, key)` in presentation order.
pub fn packets_of(path: &str) -> Vec<Vec<(f64, bool)>> {
    let args = ["-v", "error", "-allowed_extensions", "ALL", "-show_packets", "-show_streams", "-of", "json"];
    let hls = path.ends_with(".m3u8");
    let mut all: Vec<&str> = args.to_vec();
    if !hls {
        all.drain(2..4);
    }
    all.push(path);
    let json: Value = serde_json::from_str(&run("ffprobe", &all)).unwrap();
    let count = json["streams"].as_array().unwrap().len();
    let mut out = vec![Vec::new(); count];
    for p in json["packets"].as_array().unwrap() {
        let time = p["pts_time"].as_str().unwrap().parse().unwrap();
        let key = p["flags"].as_str().unwrap().starts_with('K');
        out[p["stream_index"].as_u64().unwrap() as usize].push((time, key));
    }
    out.iter_mut().for_each(|s| s.sort_by(|a: &(f64, bool), b| a.0.total_cmp(&b.0)));
    out
}

fn rational(v: &Value) -> Option<Rational> {
    let (num, den) = v.as_str()?.split_once(['/', ':'])?;
    Some(Rational::new(num.parse().ok()?, den.parse().ok()?)).filter(|r| r.is_positive())
}

fn hex(dump: &str) -> Bytes {
    let mut out = Vec::new();
    for line in dump.lines().filter(|l| l.len() > 10) {
        let digits: String = line[10..].chars().take(40).filter(char::is_ascii_hexdigit).collect();
        out.extend((0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap()));
    }
    out.into()
}

/// Reads a file's streams and packets.
pub fn read(path: &Path) -> (Vec<StreamInfo>, Vec<Packet>) {
    let args = ["-v", "error", "-show_packets", "-show_streams", "-show_data", "-of", "json"];
    let mut all = args.to_vec();
    all.push(path.to_str().unwrap());
    let json: Value = serde_json::from_str(&run("ffprobe", &all)).unwrap();
    let mut streams = Vec::new();
    for s in json["streams"].as_array().unwrap() {
        let kind = match s["codec_type"].as_str().unwrap() {
            "video" => MediaKind::Video,
            _ => MediaKind::Audio,
        };
        let base = rational(&s["time_base"]).unwrap();
        let mut info = StreamInfo::new(kind, Codec::from_name(s["codec_name"].as_str().unwrap()), base);
        info.extradata = s["extradata"].as_str().map(hex).unwrap_or_default();
        info.language = s["tags"]["language"].as_str().map(Into::into);
        match kind {
            MediaKind::Video => {
                info.video = Some(VideoInfo {
                    width: s["width"].as_u64().unwrap() as u32,
                    height: s["height"].as_u64().unwrap() as u32,
                    format: None,
                    frame_rate: rational(&s["avg_frame_rate"]),
                    constant_rate: None,
                    sample_aspect: Rational::new(1, 1),
                    colour: Default::default(),
                    hdr: Default::default(),
                    rotation: 0.0,
                    mirrored: false,
                    field_order: FieldOrder::Progressive,
                    reorder: 0,
                });
            }
            _ => {
                let channels = s["channels"].as_u64().unwrap() as u32;
                info.audio = Some(AudioInfo {
                    sample_rate: s["sample_rate"].as_str().unwrap().parse().unwrap(),
                    layout: ChannelLayout { channels, name: String::new() },
                    format: None,
                    frame_size: 0,
                    initial_padding: s["initial_padding"].as_u64().unwrap_or(0) as u32,
                });
            }
        }
        streams.push(info);
    }
    let mut packets = Vec::new();
    for p in json["packets"].as_array().unwrap() {
        let index = p["stream_index"].as_u64().unwrap() as usize;
        let mut packet = Packet::new(hex(p["data"].as_str().unwrap()), 0, 0, streams[index].time_base);
        packet.stream = index;
        packet.pts = p["pts"].as_i64();
        packet.dts = p["dts"].as_i64();
        packet.duration = p["duration"].as_i64().unwrap_or(0);
        packet.key = p["flags"].as_str().unwrap().starts_with('K');
        assert_eq!(packet.data.len() as u64, p["size"].as_str().unwrap().parse::<u64>().unwrap());
        packets.push(packet);
    }
    (streams, packets)
}
