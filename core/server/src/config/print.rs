//! The default settings as a commented file.

use super::Config;
use serde_json::Value;
use std::fmt::Write as _;

/// Each section's heading and each key's remark; a test holds it complete.
const REMARKS: &[(&str, &str)] = &[
    ("server", "Where the server listens."),
    ("server.host", "address to bind; \"::\" takes IPv4 and IPv6"),
    ("server.port", "0 takes a free one"),
    ("server.tls_port", "HTTPS, beside it; null: none"),
    ("server.metrics_port", "nothing but /metrics and /health; null: none"),
    ("server.tls_certificate", "with its chain, PEM; read again on SIGHUP"),
    ("server.tls_key", "PEM"),
    ("server.advertised_url", "base of the URLs that clients get; null: the host they asked"),
    ("server.trusted_proxies", "addresses and networks whose X-Forwarded-For, or session_id, says who asks"),
    ("server.max_body_kb", "largest request body"),
    ("server.request_timeout_seconds", "for a client to send its request"),
    ("server.max_connections", "open at once"),
    ("server.websocket_ping_seconds", "three pings without an answer end a connection"),
    ("mdns", "How it is found on the local network."),
    ("mdns.enabled", "announce _ghoststream._tcp"),
    ("mdns.service_name", "the instance's name"),
    ("mdns.udp_enabled", "answer GHOSTSTREAM_DISCOVER datagrams"),
    ("mdns.udp_port", "their port"),
    ("ghosthub", "A GhostHub to register at."),
    ("ghosthub.url", "e.g. http://192.168.4.1:5000"),
    ("ghosthub.auto_register", "register there"),
    ("ghosthub.register_interval_seconds", "how often"),
    ("transcoding", "Jobs."),
    ("transcoding.ffmpeg_path", "only auto: FFmpeg's libraries are called directly"),
    ("transcoding.temp_directory", "segments and files are made here"),
    ("transcoding.max_concurrent_jobs", "that encode at once"),
    ("transcoding.segment_duration", "seconds"),
    ("transcoding.on_demand_segment_duration", "seconds, for playback on demand: a seek waits for one"),
    ("transcoding.cleanup_after_hours", "how long a finished file is kept"),
    ("transcoding.default_video_codec", "for requests that name none: h264, h265, vp9, av1, copy"),
    ("transcoding.default_audio_codec", "for requests that name none: aac, opus, mp3, flac, ac3, copy"),
    ("transcoding.enable_abr", "false: mode abr makes one quality"),
    ("transcoding.abr_max_variants", "most qualities of a ladder"),
    ("transcoding.stall_timeout", "seconds without progress before a job counts as hung"),
    ("transcoding.stall_timeout_per_segment", "added to that per second of segment"),
    ("transcoding.retry_count", "new tries after a transient failure"),
    ("transcoding.retry_delay", "seconds before the first one, doubled for each further"),
    ("transcoding.tone_map_hdr", "HDR becomes SDR when a request does not say"),
    ("transcoding.validate_segments", "check a segment before it is served"),
    (
        "transcoding.enable_preemption",
        "what is streamed halts what makes files, and high priority low, until it is done",
    ),
    ("transcoding.max_queue_size", "further jobs are refused with 503"),
    ("transcoding.playback", "auto, growing or on_demand"),
    ("transcoding.worker_command", "program and arguments that run one job; empty finds it"),
    ("transcoding.idle_workers", "kept started for the next job"),
    ("hardware", "Encoders."),
    ("hardware.prefer_hw_accel", "hw_accel auto takes a GPU where there is one"),
    ("hardware.fallback_to_software", "go on in software when a GPU fails"),
    ("hardware.tier", "auto, minimal, low, medium, high or ultra: the largest rung of a ladder"),
    ("hardware.adapt", "a machine that is hot, busy or on battery makes less"),
    ("hardware.nvenc_preset", "p1 (fast) to p7 (best)"),
    ("hardware.qsv_preset", "veryfast to veryslow"),
    ("hardware.videotoolbox_preset", "fast, medium, slow"),
    ("hardware.vaapi_device", "render node (/dev/dri/renderD129), or auto: the first that works"),
    ("limits", "What a request may ask for."),
    ("limits.max_resolution", "8k, 4k, 1440p, 1080p, 720p, 480p, none"),
    ("limits.max_bitrate", "of video; auto for no limit"),
    ("limits.max_file_size_gb", "of one file; 0 for no limit"),
    ("limits.max_disk_gb", "of all jobs' files; 0 for no limit"),
    ("live", "The live origin: streams that are published to this server."),
    ("live.enabled", "run it"),
    ("live.rtmp_port", "RTMP publishers and readers; null: none, 0: a free one"),
    ("live.rtsp_port", "RTSP publishers and readers (8554); null: none, 0: a free one"),
    ("live.srt_port", "UDP, SRT publishers and readers (8890); null: none, 0: a free one"),
    ("live.srt_latency_ms", "time for repairing losses"),
    ("live.srt_passphrase", "encrypts SRT; 10 to 79 bytes; null: none"),
    ("live.webrtc_port", "UDP, for WHIP and WHEP; null: none, 0: a free one"),
    ("live.webrtc_addresses", "told to WebRTC clients; empty: the interfaces'"),
    (
        "live.webrtc_adapt",
        "smaller renditions for WHEP viewers on narrow ways, transcoded while they are needed",
    ),
    ("live.segment_duration", "seconds"),
    ("live.part_duration", "seconds of a low-latency part"),
    ("live.playlist_size", "segments"),
    ("live.dvr_seconds", "how far back one can seek"),
    ("live.spill", "directory for old segments of a long dvr_seconds; null: in memory"),
    ("live.low_latency", "parts, blocking requests, chunked segments"),
    ("live.dash", "DASH beside HLS"),
    ("live.hls_ts", "HLS in MPEG-TS segments too (ts.m3u8)"),
    ("live.ladder", "renditions made of what is published: 1080p 720p 480p 360p 240p"),
    ("live.recordings", "directory that streams may be recorded into; null: none"),
    ("live.record", "How they are recorded."),
    ("live.record.all", "everything that is published, as mp4, mkv or ts; null: what is asked for"),
    ("live.record.segment_seconds", "of one file"),
    ("live.record.keep_seconds", "files that are older are removed; 0 keeps them"),
    ("live.record.max_bytes", "of one recording; the oldest files are removed; 0 for no limit"),
    ("live.hls_dash_port", "the HLS and DASH service's interface (8083)"),
    ("live.cdn_port", "for caches: files and playlists (8084)"),
    ("live.gstreamer_port", "the GStreamer service's interface (5002)"),
    ("live.service_token", "bearer token of the GStreamer service's interface"),
    ("live.sources", "fetched by the server: {name, url, repeat, slate, on_demand, idle_timeout, qualities}"),
    ("live.slates", "shown while a publisher is away: {stream, url, after, at_once}"),
    ("live.stale_threshold", "seconds without a heartbeat that end a stream; 0 keeps it"),
    ("live.cleanup_interval", "seconds between looks for them"),
    ("live.takeover", "a new publisher replaces the one that is there"),
    ("live.max_streams", "at once"),
    ("live.max_connections", "of publishers and readers, per protocol"),
    ("live.publish_key", "needed as ?key= of a publisher's address when set"),
    ("live.read_key", "needed as ?key= of a reader's address when set"),
    (
        "live.keys",
        "of single streams: [{stream: team/*, publish: KEY, read: KEY}]; the first that fits counts",
    ),
    ("live.token_secret", "signs tokens, as good as a key for one stream and some time"),
    ("live.hooks", "Who is told of publishers and viewers."),
    (
        "live.hooks.urls",
        "where events are posted: publish, unpublish, read, read_end; pushes to elsewhere read too",
    ),
    ("live.hooks.secret", "signs them; null takes what callbacks are signed with"),
    ("live.hooks.authorize", "an answer other than success refuses who publishes or reads"),
    ("store", "An object store (S3) or a directory that files are put into."),
    ("store.url", "s3://bucket/prefix or file:///directory; null: none"),
    ("store.endpoint", "of an S3 that is not AWS's: https://host[:port]"),
    ("store.region", "null: AWS_REGION, or us-east-1"),
    ("store.access_key", "null: AWS_ACCESS_KEY_ID, or the machine's role"),
    ("store.secret_key", "null: AWS_SECRET_ACCESS_KEY"),
    ("store.session_token", "null: AWS_SESSION_TOKEN"),
    ("store.virtual_hosted", "the bucket is in the host's name, not in the path"),
    ("store.allow_http", "without TLS: for a store in the same network"),
    ("store.ca_file", "PEM file of who signed the store's certificate; null: the public ones"),
    ("store.retries", "of a request that failed, with a growing pause"),
    ("store.timeout_seconds", "of one request"),
    ("store.live", "put the HLS and DASH of live streams there (streams/NAME/)"),
    ("store.jobs", "put what finished jobs made there (jobs/ID/)"),
    ("store.keep_jobs_seconds", "files of finished jobs; null: until the job is deleted or forgotten"),
    ("store.window_seconds", "how far back one can seek there; null: as here"),
    ("store.keep_seconds", "files of a stream that ended; null: until it comes again"),
    ("store.queue_mb", "most that waits for the store, per stream"),
    ("security", "Who may do what."),
    ("security.api_key", "needed in X-API-Key or ?api_key= when set"),
    ("security.allowed_origins", "web origins (https://host); empty allows all"),
    ("security.rate_limit_per_minute", "starts, cancels and deletes per client address; 0 for no limit"),
    ("security.state_directory", "the node's identity and the job database"),
    ("security.registration_secret", "signs registrations at a GhostHub"),
    ("security.job_token_ttl_seconds", "how long a job's tokens are valid"),
    ("security.require_job_tokens", "a job's token is needed to see, cancel or play it"),
    ("security.sources", "Which sources may be read."),
    ("security.sources.schemes", "of URLs"),
    ("security.sources.allowed_hosts", "names, *.names or networks (192.168.1.0/24); empty allows all"),
    ("security.sources.denied_hosts", "in the same spelling"),
    ("security.sources.private_networks", "10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7"),
    ("security.sources.loopback", "this machine's own addresses"),
    ("security.sources.link_local", "169.254/16 (cloud metadata), fe80::/10"),
    ("security.sources.local_roots", "directories below which local files may be read"),
    ("kafka", "Commands from Kafka, and states told by it."),
    ("kafka.brokers", "host:port of some; empty: no Kafka"),
    ("kafka.group", "nodes of one group share the commands"),
    ("kafka.node", "this node's name; null: the machine's and the process's number"),
    ("kafka.control_topic", "START, STOP, QUERY_STATUS, TRANSCODE"),
    ("kafka.status_topic", "states, errors, figures"),
    ("kafka.dead_letter_topic", "commands that cannot be carried out"),
    ("kafka.tasks_topic", "parts of films that the group makes together"),
    ("kafka.task_seconds", "about the length of a part"),
    (
        "kafka.take_over",
        "streams go on at another node when theirs is gone; keys of commands are their names",
    ),
    ("kafka.streams_topic", "what is to run"),
    ("kafka.nodes_topic", "nodes tell each other how they do here; a full one hands its streams on"),
    ("kafka.metrics_interval", "seconds between the figures of running streams; 0: none"),
    ("kafka.partitions", "of topics that are made because they are missing"),
    ("kafka.security", "How brokers are spoken to."),
    ("kafka.security.protocol", "plaintext, ssl, sasl_plaintext, sasl_ssl"),
    ("kafka.security.mechanism", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
    ("kafka.security.username", "for SASL"),
    ("kafka.security.password", "for SASL"),
    ("kafka.security.ca_file", "certificates that are trusted; null: the system's"),
    ("kafka.security.certificate_file", "this client's, for TLS"),
    ("kafka.security.key_file", "this client's, for TLS"),
    ("kafka.security.key_password", "of the key's file"),
    ("logging", "Messages."),
    ("logging.level", "DEBUG, INFO, WARNING, ERROR"),
    (
        "logging.media_level",
        "what FFmpeg says: 0 (nothing), 1 (failures), 2 (warnings) to 9; null: as level says",
    ),
    ("logging.format", "text or json"),
    ("logging.file", "appended to, besides standard error"),
];

/// What `ghoststream config --print-default` prints: every setting with its default and a remark, as YAML.
pub fn default_yaml() -> String {
    let mut out = String::from(
        "# GhostStream's settings and their defaults. It is looked for as ghoststream.yaml in the working directory,\n\
         # in ./config, in ~/.config/ghoststream and in /etc/ghoststream. GHOSTSTREAM_SECTION_KEY in the environment\n\
         # wins over the file, flags win over both.\n",
    );
    section(&serde_json::to_value(Config::default()).unwrap_or_default(), "", 0, &mut out);
    out
}

fn remark(path: &str) -> &'static str {
    REMARKS.iter().find(|(p, _)| *p == path).map(|(_, text)| *text).unwrap_or_default()
}

fn section(value: &Value, path: &str, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    for (key, value) in value.as_object().into_iter().flatten() {
        let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        // Writing to a string does not fail.
        let _ = match value {
            Value::Object(_) => {
                let gap = if depth == 0 { "\n" } else { "" };
                writeln!(out, "{gap}{indent}{key}:  # {}", remark(&here))
            }
            // JSON scalars and lists are YAML.
            _ => writeln!(out, "{indent}{:<54}# {}", format!("{key}: {value}"), remark(&here)),
        };
        section(value, &here, depth + 1, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, load_from};

    #[test]
    fn the_printed_default_is_the_default() {
        let text = default_yaml();
        let config = load_from("printed", &text, [], &Overrides::default()).unwrap();
        assert_eq!(config, Config::default());
    }

    #[test]
    fn every_setting_has_a_remark_and_every_remark_a_setting() {
        fn paths(value: &Value, path: &str, all: &mut Vec<String>) {
            for (key, value) in value.as_object().into_iter().flatten() {
                let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                all.push(here.clone());
                paths(value, &here, all);
            }
        }
        let mut all = Vec::new();
        paths(&serde_json::to_value(Config::default()).unwrap(), "", &mut all);
        let mut said: Vec<String> = REMARKS.iter().map(|(p, _)| p.to_string()).collect();
        all.sort();
        said.sort();
        assert_eq!(all, said);
    }
}
