//! A publisher that plays a file, and a reader that keeps what it gets.

#![allow(dead_code)]

use ghoststream::job::Taken;
use ghoststream::packet::{Packet, StreamInfo};
use ghoststream::spec::{BitstreamFormat, OutputSpec, PacketsSpec, PipelineSpec, SourceSpec};
use ghoststream::{Codec, Pipeline};
use ghoststream_server::live::{Item, Publication, Reader, Tracks};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs the FFmpeg command, which is always there: the engine links its libraries.
pub fn ffmpeg(args: &str, out: &Path) {
    let done = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(args.split_whitespace())
        .arg(out)
        .output()
        .unwrap();
    assert!(done.status.success(), "ffmpeg {args}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A clip with a test picture of `size` at 25 fps and a tone.
pub fn clip(out: &Path, size: &str, seconds: u32, video: &str) {
    ffmpeg(
        &format!(
            "-f lavfi -i testsrc2=s={size}:r=25:d={seconds} -f lavfi -i sine=frequency=440:sample_rate=48000:d={seconds} \
             -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -keyint_min 25 -sc_threshold 0 {video} -c:a aac -ac 2 -b:a 96k"
        ),
        out,
    );
}

/// What an ingest makes of a file.
pub fn read(path: &Path) -> (Vec<StreamInfo>, Vec<Packet>) {
    let packets = PacketsSpec {
        format: BitstreamFormat::LengthPrefixed,
        copy: ["h264", "hevc", "aac", "opus"].map(Codec::from_name).to_vec(),
        ..PacketsSpec::default()
    };
    let source = SourceSpec::url(path.to_string_lossy());
    let document = PipelineSpec::new(source, vec![OutputSpec::packets(packets)]);
    let job = Pipeline::from_spec(document).unwrap().start().job().unwrap();
    let mut streams = job.streams(0, None).unwrap().unwrap();
    // An ingest has no words of FFmpeg's.
    streams.iter_mut().for_each(|s| s.native = None);
    let packets = std::iter::from_fn(|| match job.next_packet(0, None).unwrap() {
        Taken::Item(packet) => Some(packet),
        _ => None,
    });
    (streams, packets.collect())
}

/// Publishes `packets` at their own speed.
pub fn play(publication: &Publication, streams: &[StreamInfo], packets: &[Packet]) {
    publication.announce(streams.to_vec()).unwrap();
    let begin = Instant::now();
    let time = |p: &Packet| p.decode().map_or(0, |t| t.micros());
    let first = packets.iter().map(time).min().unwrap_or(0);
    for packet in packets {
        let due = Duration::from_micros((time(packet) - first) as u64);
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        publication.push(packet.clone()).unwrap();
    }
}

/// Everything that a reader gets until nothing has come for `quiet`.
#[derive(Default)]
pub struct Seen {
    /// The packets behind each announcement.
    pub rounds: Vec<(Arc<Tracks>, Vec<Packet>)>,
    pub away: usize,
    pub ended: bool,
}

impl Seen {
    pub fn until_quiet(mut reader: Reader, quiet: Duration) -> Seen {
        let mut seen = Seen::default();
        while !seen.ended
            && let Some(item) = reader.next_blocking(quiet)
        {
            seen.take(item);
        }
        seen
    }

    pub fn take(&mut self, item: Item) {
        match item {
            Item::Tracks(tracks) => self.rounds.push((tracks, Vec::new())),
            Item::Packet(packet) => self.rounds.last_mut().expect("tracks come first").1.push(packet),
            Item::Away => self.away += 1,
            Item::End => self.ended = true,
        }
    }
}

/// Presentation times of a track, in microseconds, rising.
pub fn shown(packets: &[Packet], stream: usize) -> Vec<i64> {
    let of = packets.iter().filter(|p| p.stream == stream);
    let mut times: Vec<i64> = of.map(|p| p.presentation().unwrap().micros()).collect();
    times.sort();
    times
}

/// Those of its key frames.
pub fn keys(packets: &[Packet], stream: usize) -> Vec<i64> {
    let keys: Vec<Packet> = packets.iter().filter(|p| p.key).cloned().collect();
    shown(&keys, stream)
}
