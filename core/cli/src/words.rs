//! Numbers as people read them.

use ghoststream::event::{PushState, PushStats};

/// `M:SS`, or `H:MM:SS` from an hour on.
pub fn time(seconds: f64) -> String {
    let whole = if seconds.is_finite() { seconds.max(0.0) as u64 } else { 0 };
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// Bytes in powers of 1000 with three digits or so.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" || value >= 99.95 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// Bits a second.
pub fn rate(bits: u64) -> String {
    match bits {
        0..1_000_000 => format!("{:.0} kbit/s", bits as f64 / 1e3),
        _ => format!("{:.1} Mbit/s", bits as f64 / 1e6),
    }
}

/// How a push is: `2.4 Mbit/s of 4.0 Mbit/s, 3 dropped, 1 reconnect, rtt 24 ms`.
pub fn push(push: &PushStats) -> String {
    let mut parts = vec![match push.state {
        PushState::Connecting => "connecting".into(),
        PushState::Reconnecting => "reconnecting".into(),
        PushState::Ended => "ended".into(),
        PushState::Failed => "failed".into(),
        PushState::Live => match push.target_bitrate {
            Some(target) => format!("{} of {}", rate(push.bitrate), rate(target)),
            None => rate(push.bitrate),
        },
    }];
    if push.dropped_frames > 0 {
        parts.push(format!("{} dropped", push.dropped_frames));
    }
    match push.connections.saturating_sub(1) {
        0 => {}
        1 => parts.push("1 reconnect".into()),
        count => parts.push(format!("{count} reconnects")),
    }
    parts.extend(push.rtt.map(|rtt| format!("rtt {rtt:.0} ms")));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let times = [0.9, 65.0, 3661.5].map(time);
        assert_eq!(times, ["0:00", "1:05", "1:01:01"]);
        assert_eq!(time(f64::NAN), "0:00");
        let sizes = [0, 999, 1000, 1_234_567, 999_999_999].map(bytes);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "1.2 MB", "1.0 GB"]);
        assert_eq!(rate(2_500_000), "2.5 Mbit/s");
    }

    #[test]
    fn pushes() {
        let plain =
            PushStats { state: PushState::Live, connections: 1, bitrate: 2_400_000, ..PushStats::default() };
        assert_eq!(push(&plain), "2.4 Mbit/s");
        let busy = PushStats {
            target_bitrate: Some(4_000_000),
            dropped_frames: 3,
            connections: 3,
            rtt: Some(24.4),
            ..plain.clone()
        };
        assert_eq!(push(&busy), "2.4 Mbit/s of 4.0 Mbit/s, 3 dropped, 2 reconnects, rtt 24 ms");
        assert_eq!(push(&PushStats { state: PushState::Reconnecting, ..plain }), "reconnecting");
    }
}
