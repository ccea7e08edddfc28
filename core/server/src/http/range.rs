//! Which bytes of a file a request wants (RFC 9110 §14), without any file.

use axum::http::{HeaderMap, header};
use std::ops::Range;

/// What a request wants of `size` bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Everything.
    All,
    /// These.
    Part(Range<u64>),
    /// Bytes that are not there.
    Beyond,
}

/// Reads `Range` and `If-Range`. Several ranges, other units and what cannot be read are answered with everything, as the
/// RFC allows.
pub fn wanted(headers: &HeaderMap, size: u64, etag: Option<&str>, modified: Option<&str>) -> Wanted {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let Some(range) = text(header::RANGE) else { return Wanted::All };
    if let Some(condition) = text(header::IF_RANGE)
        && Some(condition) != etag
        && Some(condition) != modified
    {
        return Wanted::All;
    }
    let Some(spec) = range.strip_prefix("bytes=") else { return Wanted::All };
    if spec.contains(',') {
        return Wanted::All;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return Wanted::All };
    let number = |text: &str| -> Option<u64> {
        let text = text.trim();
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More digits than a u64 has: beyond every file.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (Some(first), None) if last.trim().is_empty() => part(first, u64::MAX, size),
        (Some(first), Some(last)) if first <= last => part(first, last, size),
        (None, Some(0)) if first.trim().is_empty() => Wanted::Beyond,
        (None, Some(count)) if first.trim().is_empty() => part(size.saturating_sub(count), u64::MAX, size),
        _ => Wanted::All,
    }
}

fn part(first: u64, last: u64, size: u64) -> Wanted {
    if first >= size { Wanted::Beyond } else { Wanted::Part(first..last.min(size - 1) + 1) }
}

/// Whether `If-None-Match` or, without it, `If-Modified-Since` says that the client has it already.
pub fn has_it(headers: &HeaderMap, etag: Option<&str>, modified: Option<&str>) -> bool {
    if let Some(list) = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()) {
        let Some(etag) = etag else { return false };
        let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_string();
        return list.trim() == "*" || list.split(',').any(|tag| weak(tag) == weak(etag));
    }
    let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|v| v.to_str().ok());
    // Clients send back what they got, so comparing the text is enough.
    since.is_some() && since == modified
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, text.parse().unwrap());
        wanted(&headers, 1000, Some("\"e\""), None)
    }

    #[test]
    fn ranges_of_all_kinds() {
        for (text, want) in [
            ("bytes=0-99", Wanted::Part(0..100)),
            ("bytes=990-2000", Wanted::Part(990..1000)),
            ("bytes=500-", Wanted::Part(500..1000)),
            ("bytes=-100", Wanted::Part(900..1000)),
            ("bytes=-5000", Wanted::Part(0..1000)),
            ("bytes=999-999", Wanted::Part(999..1000)),
            ("bytes=1000-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=99999999999999999999-", Wanted::Beyond),
            ("bytes=5-2", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=+1-2", Wanted::All),
        ] {
            assert_eq!(range(text), want, "{text}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, "bytes=0-".parse().unwrap());
        assert_eq!(wanted(&headers, 0, None, None), Wanted::Beyond);
    }

    #[test]
    fn a_range_of_another_version_is_not_given() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, "bytes=0-9".parse().unwrap());
        headers.insert(header::IF_RANGE, "\"old\"".parse().unwrap());
        assert_eq!(wanted(&headers, 1000, Some("\"e\""), None), Wanted::All);
        headers.insert(header::IF_RANGE, "\"e\"".parse().unwrap());
        assert_eq!(wanted(&headers, 1000, Some("\"e\""), None), Wanted::Part(0..10));
    }

    #[test]
    fn what_a_client_has_is_not_sent_again() {
        let with = |name, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            has_it(&headers, Some("\"e\""), Some("Fri, 20 Nov 2026 00:00:00 GMT"))
        };
        assert!(with(header::IF_NONE_MATCH, "\"x\", W/\"e\"") && with(header::IF_NONE_MATCH, "*"));
        assert!(!with(header::IF_NONE_MATCH, "\"x\""));
        assert!(with(header::IF_MODIFIED_SINCE, "Fri, 20 Nov 2026 00:00:00 GMT"));
        assert!(!with(header::IF_MODIFIED_SINCE, "Thu, 19 Nov 2026 00:00:00 GMT"));
    }
}
