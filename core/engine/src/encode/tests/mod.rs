//! Real encodes: pictures and sound go in, packets come out, FFmpeg decodes them again and ffprobe looks at the file.

mod audio;
mod failover;
mod grid;
mod video;

use super::{Encoder, VideoEncode, VideoEncoder};
use crate::frame::{Colour, Frame, PixelFormat};
use crate::packet::{Packet, StreamInfo};
use crate::spec::VideoSpec;
use crate::stage::Stage;
use crate::time::{Rational, TimeBase};
use ghoststream_sys::ffmpeg as av;

/// What the pictures show.
#[derive(Clone, Copy)]
enum Content {
    /// A gradient that moves: easy to code.
    Gradient,
    /// Fresh noise in every frame: cannot be compressed.
    Noise,
}

/// Pictures to encode.
#[derive(Clone)]
struct Clip {
    width: u32,
    height: u32,
    format: PixelFormat,
    colour: Colour,
    base: TimeBase,
    /// Time and duration of every frame.
    times: Vec<(i64, i64)>,
    content: Content,
}

impl Clip {
    /// `count` frames at a constant rate of `num/den`, in ticks of `1/num`.
    fn constant(count: i64, num: i32, den: i32) -> Clip {
        let den64 = i64::from(den);
        Clip {
            width: 320,
            height: 180,
            format: PixelFormat::yuv420p(),
            colour: Colour::BT709,
            base: Rational::new(1, num),
            times: (0..count).map(|n| (n * den64, den64)).collect(),
            content: Content::Gradient,
        }
    }

    fn format(mut self, name: &str) -> Clip {
        self.format = PixelFormat::from_name(name).unwrap();
        self
    }

    fn noise(mut self) -> Clip {
        self.content = Content::Noise;
        self
    }

    fn frame(&self, n: usize) -> Frame {
        let mut media = av::Frame::alloc_video(self.format, self.width, self.height, 0).unwrap();
        let wide = self.format.descriptor().unwrap().depth > 8;
        let ten = if wide { self.format.descriptor().unwrap().depth - 8 } else { 0 };
        let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ (n as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95);
        for plane in 0..media.plane_count() {
            let (rows, bytes) = self.format.plane_layout(self.width, self.height, plane).unwrap();
            let stride = media.stride(plane);
            let pixels = media.plane_mut(plane).unwrap();
            let step = if wide { 2 } else { 1 };
            for y in 0..rows {
                for x in 0..bytes / step {
                    let value = match self.content {
                        Content::Gradient => 32 + ((x + y / 2 + n * 3 + plane * 40) % 180) as u16,
                        Content::Noise => {
                            state ^= state << 13;
                            state ^= state >> 7;
                            state ^= state << 17;
                            16 + (state % 220) as u16
                        }
                    };
                    let at = y * stride + x * step;
                    if wide {
                        let value = (value << ten) | (n as u16 & 3);
                        pixels[at..at + 2].copy_from_slice(&value.to_le_bytes());
                    } else {
                        pixels[at] = value as u8;
                    }
                }
            }
        }
        media.set_colour(self.colour);
        let (pts, duration) = self.times[n];
        media.set_pts(Some(pts));
        media.set_duration(duration);
        Frame::new(media, self.base)
    }

    fn frames(&self) -> impl Iterator<Item = Frame> + '_ {
        (0..self.times.len()).map(|n| self.frame(n))
    }
}

struct Encoded {
    packets: Vec<Packet>,
    stream: StreamInfo,
}

fn config(encoder: &str, json: &str) -> VideoEncode {
    let mut spec: VideoSpec = serde_json::from_str(json).unwrap();
    spec.encoder = Some(encoder.into());
    if spec.preset.is_none() && super::presets::table(encoder).unwrap().presets.is_some() {
        spec.preset = Some(crate::spec::Preset::P1);
    }
    spec.threads = 1;
    VideoEncode::new(spec)
}

fn run(clip: &Clip, config: VideoEncode) -> Encoded {
    let name = config.spec.encoder.clone().unwrap();
    let mut encoder = VideoEncoder::new(config).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(encoder.stream().is_none(), "not open before the first frame");
    let mut packets = Vec::new();
    for frame in clip.frames() {
        encoder.push(frame, &mut packets).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    encoder.finish(&mut packets).unwrap_or_else(|e| panic!("{name}: {e}"));
    let stream = encoder.stream().unwrap().clone();
    Encoded { packets, stream }
}

fn encode(clip: &Clip, encoder: &str, json: &str) -> Encoded {
    run(clip, VideoEncode { frame_rate: Some(rate_of(clip)), ..config(encoder, json) })
}

fn rate_of(clip: &Clip) -> Rational {
    let ticks = clip.times[0].1;
    Rational::new(clip.base.den, clip.base.num * ticks as i32).reduced()
}

impl Encoded {
    fn bytes(&self) -> usize {
        self.packets.iter().map(|p| p.data.len()).sum()
    }

    /// Bits per second over the clip's length.
    fn rate(&self, clip: &Clip) -> f64 {
        let ticks: i64 = clip.times.iter().map(|(_, d)| d).sum();
        self.bytes() as f64 * 8.0 / (ticks as f64 * clip.base.as_f64())
    }

    /// Times of the key packets, in seconds.
    fn keys(&self) -> Vec<f64> {
        let mut keys: Vec<f64> =
            self.packets.iter().filter(|p| p.key).map(|p| p.presentation().unwrap().seconds()).collect();
        keys.sort_by(f64::total_cmp);
        keys
    }

    fn decode(&self) -> Vec<av::Frame> {
        let native = self.stream.native.as_ref().unwrap();
        let base = self.stream.time_base;
        // The fastest AV1 decoder in Debian 12's FFmpeg is the library.
        let name = (self.stream.codec.name() == "av1" && av::has_decoder("libdav1d"))
            .then(|| "libdav1d".to_string());
        let options =
            av::DecoderOptions { name, threads: 1, time_base: (base.num, base.den), ..Default::default() };
        let mut decoder = av::Decoder::new(native, &options).unwrap();
        let mut frames = Vec::new();
        for packet in self.packets.iter().map(Some).chain([None]) {
            let packet = packet.map(|p| p.to_av(true).unwrap());
            decoder.send(packet.as_ref()).unwrap();
            while let Some(frame) = decoder.receive().unwrap() {
                frames.push(frame);
            }
        }
        frames
    }

    /// Writes a Matroska file and asks ffprobe about it.
    fn probe(&self, arguments: &[&str]) -> serde_json::Value {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.mkv");
        let mut muxer =
            av::Muxer::create(av::MuxerOptions { url: path.display().to_string(), ..Default::default() })
                .unwrap();
        let base = self.stream.time_base;
        let options = av::StreamOptions { time_base: (base.num, base.den), ..Default::default() };
        muxer.add_stream(self.stream.native.as_ref().unwrap(), &options).unwrap();
        muxer.write_header(&[]).unwrap();
        let to = muxer.stream_time_base(0).unwrap();
        for packet in &self.packets {
            let mut packet = packet.to_av(false).unwrap();
            packet.rescale((base.num, base.den), to);
            muxer.write_interleaved(packet).unwrap();
        }
        muxer.write_trailer().unwrap();
        muxer.close().unwrap();
        let output = std::process::Command::new("ffprobe")
            .args(["-v", "error", "-of", "json"])
            .args(arguments)
            .arg(&path)
            .output()
            .expect("ffprobe is needed for this test");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The picture without padding.
fn packed(frame: &av::Frame) -> Vec<u8> {
    let mut out = vec![0; frame.packed_size().unwrap()];
    frame.copy_to_packed(&mut out).unwrap();
    out
}

/// Over all frames; infinite when they are equal.
fn psnr(clip: &Clip, decoded: &[av::Frame]) -> f64 {
    let (mut error, mut count) = (0.0, 0usize);
    for (n, frame) in decoded.iter().enumerate() {
        let (a, b) = (packed(clip.frame(n).media()), packed(frame));
        assert_eq!(a.len(), b.len(), "{} against {}", clip.format, frame.format());
        error += a.iter().zip(&b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
        count += a.len();
    }
    10.0 * (255.0f64.powi(2) * count as f64 / error).log10()
}

/// The encoders of `names` that this FFmpeg has; those missing are said aloud.
fn available<'a>(names: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    names.iter().copied().filter(|name| {
        let there = av::has_encoder(name);
        if !there {
            assert!(std::env::var_os("GS_REQUIRE_PEERS").is_none(), "this FFmpeg has no {name}");
            eprintln!("SKIPPED: this FFmpeg has no {name}");
        }
        there
    })
}
