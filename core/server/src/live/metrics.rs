//! The live origin's figures for Prometheus: our names, and those of the services that it replaces.

use super::connections::{Connection, Way};
use super::service::LiveService;
use super::srt::SrtConnection;
use super::stream::StreamStats;
use super::streams::{StreamState, StreamView};
use super::upload::UploadStats;
use super::usage::memory;
use super::webrtc::{CONNECT_BOUNDS, Connects, SessionStats};
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

/// A page being written.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl LiveService {
    /// All of its figures as a page of Prometheus' text format.
    pub fn metrics(&self) -> String {
        let mut page = Page(String::with_capacity(4096));
        let streams = self.streams().list();
        let managed = self.managed().list();
        let transcodes = self.transcodes();
        let running = managed.iter().filter(|v| v.state == StreamState::Running).count();
        page.one("streaming_active_streams", "gauge", "Streams that were asked for and run.", running);
        page.one(
            "streaming_ffmpeg_processes",
            "gauge",
            "FFmpeg programs that run: there are none, it is a library.",
            0,
        );
        page.one("streaming_cpu_percent", "gauge", "CPU of this process, of one core.", self.usage().cpu());
        page.one("streaming_memory_bytes", "gauge", "Resident memory.", memory());
        page.one(
            "media_processor_active_pipelines",
            "gauge",
            "Streams that were asked for and run.",
            running,
        );
        page.one("ghoststream_live_streams", "gauge", "Streams that there are.", streams.len());
        let stats: Vec<_> = streams.iter().map(|s| (s.name().to_string(), s.stats())).collect();
        page.head("media_processor_video_bitrate_kbps", "gauge", "Of the pictures that come in.");
        for (name, stats) in &stats {
            for track in stats.tracks.iter().filter(|t| t.kind == "video") {
                page.line(
                    "media_processor_video_bitrate_kbps",
                    &[("stream_id", name)],
                    track.bitrate / 1000.0,
                );
            }
        }
        page.head("media_processor_frame_rate_fps", "gauge", "Pictures that come in, a second.");
        for (name, stats) in &stats {
            for track in stats.tracks.iter().filter(|t| t.kind == "video") {
                page.line("media_processor_frame_rate_fps", &[("stream_id", name)], track.rate);
            }
        }
        page.head("media_processor_audio_bitrate_kbps", "gauge", "Of the sound that comes in.");
        for (name, stats) in &stats {
            for track in stats.tracks.iter().filter(|t| t.kind == "audio") {
                page.line(
                    "media_processor_audio_bitrate_kbps",
                    &[("stream_id", name)],
                    track.bitrate / 1000.0,
                );
            }
        }
        page.head("ghoststream_live_bytes_total", "counter", "Bytes of media that came in.");
        for (name, stats) in &stats {
            for track in &stats.tracks {
                let labels = [("stream", name.as_str()), ("kind", track.kind), ("codec", &track.codec)];
                page.line("ghoststream_live_bytes_total", &labels, track.bytes);
            }
        }
        page.head("ghoststream_live_readers", "gauge", "Who reads a stream: protocols, packagers, encoders.");
        for (name, stats) in &stats {
            page.line("ghoststream_live_readers", &[("stream", name)], stats.readers);
        }
        page.head("ghoststream_live_dropped_total", "counter", "Packets that slow readers lost.");
        for (name, stats) in &stats {
            page.line("ghoststream_live_dropped_total", &[("stream", name)], stats.dropped);
        }
        page.head("ghoststream_live_clock_jumps_total", "counter", "Jumps of the publishers' clocks.");
        for (name, stats) in &stats {
            page.line("ghoststream_live_clock_jumps_total", &[("stream", name)], stats.jumps);
        }
        let link = |stats: &StreamStats| stats.link.clone();
        page.head("ghoststream_live_publisher_rtt_seconds", "gauge", "Round trip to a publisher by SRT.");
        for (name, link) in stats.iter().filter_map(|(n, s)| Some((n, link(s)?))) {
            page.line("ghoststream_live_publisher_rtt_seconds", &[("stream", name)], link.rtt_ms / 1000.0);
        }
        page.head(
            "ghoststream_live_publisher_lost_total",
            "counter",
            "Packets of SRT missed on the way; most come again.",
        );
        for (name, link) in stats.iter().filter_map(|(n, s)| Some((n, link(s)?))) {
            page.line("ghoststream_live_publisher_lost_total", &[("stream", name)], link.lost);
        }
        page.head(
            "ghoststream_live_publisher_dropped_total",
            "counter",
            "Packets of SRT that came too late, or never.",
        );
        for (name, link) in stats.iter().filter_map(|(n, s)| Some((n, link(s)?))) {
            page.line("ghoststream_live_publisher_dropped_total", &[("stream", name)], link.dropped);
        }
        if let Some(srt) = self.srt() {
            srt_readers(&mut page, &srt.connections());
        }
        let origins: Vec<_> =
            self.origins().list().iter().map(|o| (o.name().to_string(), o.stats())).collect();
        page.head("ghoststream_live_viewers", "gauge", "Who has asked for HLS or DASH in the last 15 s.");
        for (name, stats) in &origins {
            page.line("ghoststream_live_viewers", &[("stream", name)], stats.viewers);
        }
        page.head("ghoststream_live_sent_bytes_total", "counter", "Bytes of HLS and DASH sent.");
        for (name, stats) in &origins {
            page.line("ghoststream_live_sent_bytes_total", &[("stream", name)], stats.bytes_sent);
        }
        page.head("ghoststream_live_memory_bytes", "gauge", "Segments in memory.");
        for (name, stats) in &origins {
            page.line("ghoststream_live_memory_bytes", &[("stream", name)], stats.memory);
        }
        page.head(
            "media_processor_frame_processing_latency_ms",
            "gauge",
            "From a packet's arrival to its transcoded picture.",
        );
        for (name, stats) in &transcodes {
            if let Some(delay) = stats.delay {
                page.line(
                    "media_processor_frame_processing_latency_ms",
                    &[("stream_id", name)],
                    delay * 1000.0,
                );
            }
        }
        page.head(
            "ghoststream_live_transcode_dropped_total",
            "counter",
            "Packets that encoders had no time for.",
        );
        for (name, stats) in &transcodes {
            page.line("ghoststream_live_transcode_dropped_total", &[("stream", name)], stats.dropped);
        }
        let connections = self.connections().list();
        rtsp_readers(&mut page, &connections);
        self.moved_on(&mut page);
        self.sessions_on(&mut page);
        if let Some(webrtc) = self.webrtc() {
            let sessions = webrtc.sessions();
            page.one("ghoststream_live_webrtc_sessions", "gauge", "WHIP and WHEP sessions.", sessions.len());
            whep_viewers(&mut page, &sessions);
            connects(&mut page, &webrtc.connects());
        }
        self.pipelines_on(&mut page, &managed);
        self.uploads_on(&mut page);
        page.0
    }

    /// What the GStreamer service told of each of its pipelines.
    fn pipelines_on(&self, page: &mut Page, managed: &[StreamView]) {
        let processor = |name: &str| format!("media_processor_{name}");
        let name = processor("pipeline_events_total");
        page.head(&name, "counter", "What happened to streams that were asked for.");
        for ((stream, event), count) in self.managed().events() {
            page.line(&name, &[("stream_id", &stream), ("event_type", event)], count);
        }
        let name = processor("pipeline_health_score");
        page.head(
            &name,
            "gauge",
            "100: it runs; 50: it starts or is tried again; 0: it failed or is stopped.",
        );
        for view in managed {
            page.line(&name, &[("stream_id", &view.request.id)], health(view.state));
        }
        // One process does everything, and the service told of its process too.
        let all: [(&str, &str, f64); 2] = [
            (
                "pipeline_cpu_usage",
                "CPU of the process that the stream is in, of one core.",
                self.usage().cpu(),
            ),
            ("pipeline_memory_usage_bytes", "Memory of the process that the stream is in.", memory() as f64),
        ];
        for (name, help, value) in all {
            let name = processor(name);
            page.head(&name, "gauge", help);
            for view in managed.iter().filter(|v| v.state == StreamState::Running) {
                page.line(&name, &[("stream_id", &view.request.id)], value);
            }
        }
        let tracks: Vec<_> =
            self.streams().list().iter().filter_map(|s| Some((s.name().to_string(), s.tracks()?))).collect();
        let name = processor("video_resolution");
        page.head(&name, "gauge", "Pixels of a picture.");
        for (stream, tracks) in &tracks {
            let sizes = tracks.streams.iter().filter_map(|track| track.video.as_ref());
            if let Some(pixels) = sizes.map(|video| u64::from(video.width) * u64::from(video.height)).max() {
                page.line(&name, &[("stream_id", stream)], pixels);
            }
        }
        let name = processor("audio_sample_rate_hz");
        page.head(&name, "gauge", "Of the first sound.");
        for (stream, tracks) in &tracks {
            if let Some(audio) = tracks.streams.iter().find_map(|track| track.audio.as_ref()) {
                page.line(&name, &[("stream_id", stream)], audio.sample_rate);
            }
        }
        let name = processor("webrtc_signals_processed_total");
        page.head(&name, "counter", "Offers, answers, candidates and farewells by WHIP and WHEP.");
        for ((stream, kind, direction), count) in self.usage().signals() {
            let labels = [("stream_id", stream.as_str()), ("signal_type", kind), ("direction", direction)];
            page.line(&name, &labels, count);
        }
    }

    /// Who publishes and watches.
    fn sessions_on(&self, page: &mut Page) {
        let mut counts: BTreeMap<(String, String, &str), u64> = BTreeMap::new();
        for session in self.sessions(|_| true) {
            let kind = if session.publishes { "publish" } else { "read" };
            *counts.entry((session.stream, session.protocol, kind)).or_default() += 1;
        }
        let name = "ghoststream_live_sessions";
        page.head(name, "gauge", "Who publishes and reads by RTMP, RTSP, SRT, WHIP and WHEP.");
        for ((stream, protocol, kind), count) in &counts {
            let labels = [("stream", stream.as_str()), ("protocol", protocol.as_str()), ("kind", *kind)];
            page.line(name, &labels, count);
        }
    }

    /// What connections have moved.
    fn moved_on(&self, page: &mut Page) {
        let name = "ghoststream_live_connection_bytes_total";
        page.head(name, "counter", "Bytes of connections by RTMP and RTSP that published or read.");
        for (protocol, listeners) in [("rtmp", self.rtmp()), ("rtsp", self.rtsp())] {
            if listeners.is_empty() {
                continue;
            }
            let moved = self.connections().moved(protocol);
            for (direction, bytes) in [("in", moved.bytes_in), ("out", moved.bytes_out)] {
                page.line(name, &[("protocol", protocol), ("direction", direction)], bytes);
            }
        }
    }

    /// What goes to the object store.
    fn uploads_on(&self, page: &mut Page) {
        let Some(uploads) = self.uploads().map(|u| u.stats()) else { return };
        let mut each = |name: &str, kind: &str, help: &str, value: &dyn Fn(&UploadStats) -> u64| {
            let name = format!("ghoststream_live_store_{name}");
            page.head(&name, kind, help);
            for (stream, stats) in &uploads {
                page.line(&name, &[("stream", stream)], value(stats));
            }
        };
        each("files_total", "counter", "Files put into the store.", &|s| s.files);
        each("bytes_total", "counter", "Bytes put into the store.", &|s| s.bytes);
        each("removed_total", "counter", "Files removed from the store.", &|s| s.removed);
        each("failures_total", "counter", "Requests to the store that failed for good.", &|s| s.failures);
        each("lost_total", "counter", "Segments lost while the store was away.", &|s| s.lost);
        each("waiting_bytes", "gauge", "Bytes that wait for the store.", &|s| s.waiting_bytes);
        each("away", "gauge", "Whether the store takes nothing now.", &|s| u64::from(s.away));
    }
}

/// Viewers by WHEP, all of a stream together.
fn whep_viewers(page: &mut Page, sessions: &[SessionStats]) {
    #[derive(Default)]
    struct Viewers {
        rungs: BTreeMap<usize, u64>,
        rtt: Option<f64>,
        loss: Option<f32>,
        estimate: Option<u64>,
        switches: u64,
    }
    let mut streams: BTreeMap<&str, Viewers> = BTreeMap::new();
    for viewer in sessions.iter().filter(|s| s.protocol == "whep" && s.connected) {
        let of = streams.entry(&viewer.stream).or_default();
        *of.rungs.entry(viewer.rung).or_default() += 1;
        of.rtt = [of.rtt, viewer.rtt_ms].into_iter().flatten().reduce(f64::max);
        of.loss = [of.loss, viewer.loss].into_iter().flatten().reduce(f32::max);
        of.estimate = [of.estimate, viewer.estimate].into_iter().flatten().min();
        of.switches += viewer.switches;
    }
    let name = "ghoststream_live_whep_viewers";
    page.head(name, "gauge", "Who watches by WHEP, by rung: 0 is the stream as it is, the next are smaller.");
    for (stream, of) in &streams {
        for (rung, count) in &of.rungs {
            page.line(name, &[("stream", stream), ("rung", &rung.to_string())], count);
        }
    }
    type Value = fn(&Viewers) -> Option<f64>;
    let all: [(&str, &str, Value); 4] = [
        ("rtt_seconds", "The longest round trip to them.", |v| v.rtt.map(|ms| ms / 1000.0)),
        ("loss_ratio", "The largest part of packets that one of them lost.", |v| v.loss.map(f64::from)),
        ("estimate_bits", "What the narrowest of their ways bears, a second.", |v| {
            v.estimate.map(|bits| bits as f64)
        }),
        ("switches", "How often those who watch now were given another rung.", |v| Some(v.switches as f64)),
    ];
    for (what, help, value) in all {
        let name = format!("{name}_{what}");
        page.head(&name, "gauge", help);
        for (stream, value) in streams.iter().filter_map(|(s, of)| Some((s, value(of)?))) {
            page.line(&name, &[("stream", stream)], value);
        }
    }
}

/// What readers by RTSP report of their ways, the worst of each stream.
fn rtsp_readers(page: &mut Page, connections: &[Connection]) {
    let mut streams: BTreeMap<&str, Way> = BTreeMap::new();
    for reader in connections.iter().filter(|c| c.protocol == "rtsp" && !c.publishes && c.flows) {
        let way = streams.entry(&reader.stream).or_default();
        *way = way.worse(reader.way);
    }
    type Value = fn(&Way) -> Option<f64>;
    let all: [(&str, &str, Value); 2] = [
        ("rtt_seconds", "The longest round trip to readers by RTSP.", |way| Some(way.rtt?.as_secs_f64())),
        ("loss_ratio", "The largest part of packets that a reader by RTSP lost.", |way| way.loss),
    ];
    for (what, help, value) in all {
        let name = format!("ghoststream_live_rtsp_readers_{what}");
        page.head(&name, "gauge", help);
        for (stream, value) in streams.iter().filter_map(|(s, way)| Some((s, value(way)?))) {
            page.line(&name, &[("stream", stream)], value);
        }
    }
}

/// How long clients of WebRTC took to connect.
fn connects(page: &mut Page, connects: &Connects) {
    let name = "media_processor_webrtc_connection_time_seconds";
    page.head(name, "histogram", "From an offer by WHIP or WHEP until media can flow.");
    for (count, bound) in connects.within.iter().zip(CONNECT_BOUNDS) {
        page.line(&format!("{name}_bucket"), &[("le", &bound.to_string())], count);
    }
    page.line(&format!("{name}_bucket"), &[("le", "+Inf")], connects.count);
    page.line(&format!("{name}_sum"), &[], connects.sum);
    page.line(&format!("{name}_count"), &[], connects.count);
}

/// How well a stream does, from 0 to 100.
fn health(state: StreamState) -> u32 {
    match state {
        StreamState::Running => 100,
        StreamState::Starting | StreamState::Reconnecting => 50,
        StreamState::Error | StreamState::Stopped => 0,
    }
}

/// Readers by SRT, all of a stream in one line.
fn srt_readers(page: &mut Page, connections: &[SrtConnection]) {
    let mut streams: BTreeMap<&str, (u64, f64, u64, u64)> = BTreeMap::new();
    for reader in connections.iter().filter(|c| !c.publishes) {
        let (count, rtt, lost, dropped) = streams.entry(&reader.stream).or_default();
        *count += 1;
        *rtt = rtt.max(reader.stats.rtt.as_secs_f64());
        *lost += reader.stats.send_lost;
        *dropped += reader.stats.send_dropped + reader.dropped;
    }
    page.one(
        "ghoststream_live_srt_connections",
        "gauge",
        "Publishers and readers by SRT.",
        connections.len(),
    );
    page.head("ghoststream_live_srt_readers", "gauge", "Who reads a stream by SRT.");
    for (name, (count, ..)) in &streams {
        page.line("ghoststream_live_srt_readers", &[("stream", name)], count);
    }
    page.head("ghoststream_live_srt_readers_rtt_seconds", "gauge", "The longest round trip to them.");
    for (name, (_, rtt, ..)) in &streams {
        page.line("ghoststream_live_srt_readers_rtt_seconds", &[("stream", name)], rtt);
    }
    page.head(
        "ghoststream_live_srt_readers_lost",
        "gauge",
        "Packets that those who read now missed; most were sent again.",
    );
    for (name, (_, _, lost, _)) in &streams {
        page.line("ghoststream_live_srt_readers_lost", &[("stream", name)], lost);
    }
    page.head(
        "ghoststream_live_srt_readers_dropped",
        "gauge",
        "Packets that those who read now were too slow for.",
    );
    for (name, (.., dropped)) in &streams {
        page.line("ghoststream_live_srt_readers_dropped", &[("stream", name)], dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_ways_of_readers_by_rtsp_are_told() {
        let reader = |stream: &str, rtt: Option<u64>, loss: Option<f64>| Connection {
            protocol: "rtsp",
            stream: stream.into(),
            publishes: false,
            peer: ([127, 0, 0, 1], 9).into(),
            since: std::time::SystemTime::now(),
            flows: true,
            bytes_in: 0,
            bytes_out: 0,
            dropped: 0,
            way: Way { rtt: rtt.map(std::time::Duration::from_millis), loss },
        };
        let far = reader("cam", Some(900), Some(1.0));
        let all = [
            reader("cam", Some(20), Some(0.5)),
            reader("cam", Some(80), None),
            reader("two", None, Some(0.0)),
            Connection { flows: false, ..far.clone() },
            Connection { publishes: true, ..far.clone() },
            Connection { protocol: "rtmp", ..far },
        ];
        let mut page = Page(String::new());
        rtsp_readers(&mut page, &all);
        let lines: Vec<&str> = page.0.lines().filter(|l| !l.starts_with('#')).collect();
        let name = "ghoststream_live_rtsp_readers";
        assert_eq!(
            lines,
            [
                format!("{name}_rtt_seconds{{stream=\"cam\"}} 0.08"),
                format!("{name}_loss_ratio{{stream=\"cam\"}} 0.5"),
                format!("{name}_loss_ratio{{stream=\"two\"}} 0"),
            ]
        );
    }

    #[test]
    fn viewers_by_whep_are_counted_by_rung_and_the_worst_way_is_told() {
        let session = |protocol| SessionStats::new("i".into(), "cam".into(), protocol);
        let viewer = |rung: usize, rtt: Option<f64>, estimate: Option<u64>| {
            let mut viewer = session("whep");
            (viewer.connected, viewer.rung, viewer.switches) = (true, rung, 2);
            (viewer.rtt_ms, viewer.estimate) = (rtt, estimate);
            viewer
        };
        let (mut whip, mut away) = (session("whip"), viewer(0, Some(9000.0), None));
        (whip.connected, away.connected) = (true, false);
        let all = [
            viewer(0, Some(20.0), None),
            viewer(1, Some(80.0), Some(900_000)),
            viewer(1, None, Some(5_000_000)),
            whip,
            away,
        ];
        let mut page = Page(String::new());
        whep_viewers(&mut page, &all);
        let lines: Vec<&str> = page.0.lines().filter(|l| !l.starts_with('#')).collect();
        let name = "ghoststream_live_whep_viewers";
        assert_eq!(
            lines,
            [
                format!("{name}{{stream=\"cam\",rung=\"0\"}} 1"),
                format!("{name}{{stream=\"cam\",rung=\"1\"}} 2"),
                format!("{name}_rtt_seconds{{stream=\"cam\"}} 0.08"),
                format!("{name}_estimate_bits{{stream=\"cam\"}} 900000"),
                format!("{name}_switches{{stream=\"cam\"}} 6"),
            ]
        );
    }
}
