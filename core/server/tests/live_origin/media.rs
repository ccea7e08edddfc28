//! Clips made by the ffmpeg command, read back packet by packet by ffprobe, and published as a live stream.

use bytes::Bytes;
use ghoststream::frame::ChannelLayout;
use ghoststream::packet::{AudioInfo, Codec, FieldOrder, MediaKind, Packet, StreamInfo, VideoInfo};
use ghoststream::time::{MICROSECONDS, Rational, Rounding, rescale};
use ghoststream_server::live::Publication;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Runs a program, for half a minute at most; its standard output.
pub fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new("timeout").args(["30", program]).args(args).output().expect(program);
    assert!(out.status.success(), "{program} {args:?}\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A clip's streams and packets, in decode order.
#[derive(Clone)]
pub struct Clip {
    pub streams: Vec<StreamInfo>,
    pub packets: Vec<Packet>,
}

/// `seconds` of 320x180 with the given x264 options at `rate`, and a tone.
pub fn clip(seconds: u32, rate: &str, video: &str) -> Clip {
    clip_of(seconds, rate, video, "aac")
}

/// As [`clip`], with the tone in this codec.
pub fn clip_of(seconds: u32, rate: &str, video: &str, sound: &str) -> Clip {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    let made = format!(
        "-v error -y -f lavfi -i testsrc2=s=320x180:r={rate}:d={seconds} -f lavfi -i \
         sine=frequency=440:sample_rate=48000:d={seconds} -c:v libx264 -preset ultrafast -pix_fmt yuv420p -sc_threshold 0 \
         -b:v 300k {video} -c:a {sound} -b:a 64k"
    );
    let mut args: Vec<&str> = made.split_whitespace().collect();
    args.push(path.to_str().unwrap());
    run("ffmpeg", &args);
    read(&path)
}

impl Clip {
    /// Only the streams of one kind.
    pub fn only(&self, kind: MediaKind) -> Clip {
        let index = self.streams.iter().position(|s| s.kind == kind).unwrap();
        let mut packets: Vec<Packet> = self.packets.iter().filter(|p| p.stream == index).cloned().collect();
        packets.iter_mut().for_each(|p| p.stream = 0);
        Clip { streams: vec![self.streams[index].clone()], packets }
    }
}

impl Clip {
    /// Its first sound once more, in another language.
    pub fn with_sound(&self, language: &str) -> Clip {
        let mut clip = self.clone();
        let index = clip.streams.iter().position(|s| s.kind == MediaKind::Audio).unwrap();
        let mut info = clip.streams[index].clone();
        info.language = Some(language.into());
        let mut more: Vec<Packet> = clip.packets.iter().filter(|p| p.stream == index).cloned().collect();
        more.iter_mut().for_each(|p| p.stream = clip.streams.len());
        clip.streams.push(info);
        clip.packets.extend(more);
        clip.packets.sort_by_key(micros);
        clip
    }

    /// With a track of text, whose cues begin and end at these times in milliseconds.
    pub fn with_text(&self, language: &str, cues: &[(i64, i64, &'static str)]) -> Clip {
        let mut clip = self.clone();
        let base = Rational::new(1, 1000);
        let mut info = StreamInfo::new(MediaKind::Subtitle, Codec::SubRip, base);
        info.language = Some(language.into());
        for (start, end, words) in cues {
            let mut packet = Packet::new(Bytes::from_static(words.as_bytes()), *start, end - start, base);
            (packet.stream, packet.key) = (clip.streams.len(), true);
            clip.packets.push(packet);
        }
        clip.streams.push(info);
        clip.packets.sort_by_key(micros);
        clip
    }
}

pub fn micros(packet: &Packet) -> i64 {
    rescale(packet.dts.unwrap(), packet.base, MICROSECONDS, Rounding::Nearest)
}

/// A clip on its way into a stream.
pub struct Feed {
    pub publication: Publication,
    packets: std::vec::IntoIter<Packet>,
    waiting: Option<Packet>,
}

impl Feed {
    /// Announces the clip's streams.
    pub fn new(publication: Publication, clip: &Clip) -> Feed {
        publication.announce(clip.streams.clone()).unwrap();
        Feed { publication, packets: clip.packets.clone().into_iter(), waiting: None }
    }

    /// Publishes everything that is decoded before `seconds` of the clip. At once, not in its own time.
    pub fn until(&mut self, seconds: f64) {
        loop {
            let Some(packet) = self.waiting.take().or_else(|| self.packets.next()) else { return };
            if micros(&packet) as f64 >= seconds * 1e6 {
                self.waiting = Some(packet);
                return;
            }
            self.publication.push(packet).unwrap();
        }
    }
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

fn read(path: &Path) -> Clip {
    let path = path.to_str().unwrap();
    let text =
        run("ffprobe", &["-v", "error", "-show_packets", "-show_streams", "-show_data", "-of", "json", path]);
    let json: Value = serde_json::from_str(&text).unwrap();
    let mut streams = Vec::new();
    for s in json["streams"].as_array().unwrap() {
        let kind =
            if s["codec_type"].as_str() == Some("video") { MediaKind::Video } else { MediaKind::Audio };
        let base = rational(&s["time_base"]).unwrap();
        let mut info = StreamInfo::new(kind, Codec::from_name(s["codec_name"].as_str().unwrap()), base);
        info.extradata = s["extradata"].as_str().map(hex).unwrap_or_default();
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
                    reorder: s["has_b_frames"].as_u64().unwrap_or(0) as u32,
                });
            }
            _ => {
                info.audio = Some(AudioInfo {
                    sample_rate: s["sample_rate"].as_str().unwrap().parse().unwrap(),
                    layout: ChannelLayout::from_channels(s["channels"].as_u64().unwrap() as u32),
                    format: None,
                    frame_size: 1024,
                    initial_padding: 0,
                });
            }
        }
        streams.push(info);
    }
    let packets = json["packets"].as_array().unwrap().iter().map(|p| {
        let stream = p["stream_index"].as_u64().unwrap() as usize;
        let mut packet = Packet::new(
            hex(p["data"].as_str().unwrap()),
            p["pts"].as_i64().unwrap(),
            p["duration"].as_i64().unwrap_or(0),
            streams[stream].time_base,
        );
        packet.dts = p["dts"].as_i64();
        packet.key = p["flags"].as_str().unwrap().starts_with('K');
        packet.stream = stream;
        packet
    });
    let mut packets: Vec<Packet> = packets.collect();
    packets.sort_by_key(micros);
    Clip { streams, packets }
}
