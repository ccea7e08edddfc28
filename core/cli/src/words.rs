//! Numbers as people read them.

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
}
