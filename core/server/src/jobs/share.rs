//! Which requests want the same stream. Pure.

use crate::contract::request::TranscodeRequest;
use crate::contract::values::Mode;
use sha2::{Digest, Sha256};

/// What a request must have in common with a job to join it; `None` for one that is never shared. Everything that makes
/// a difference to what is seen or heard is part of it; who asks, and whom to call, is not.
pub(super) fn key(request: &TranscodeRequest) -> Option<String> {
    if request.mode == Mode::Batch {
        return None;
    }
    let mut same = request.clone();
    (same.session_id, same.callback_url, same.priority) = (None, None, None);
    same.source.truncate(same.source.trim_end_matches('/').len());
    same.subtitles = same.subtitles.filter(|list| !list.is_empty());
    let text = serde_json::to_string(&same).ok()?;
    let hash = Sha256::digest(text.as_bytes());
    Some(hash.iter().take(16).map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::request::SubtitleTrack;
    use crate::contract::values::{HwAccel, Priority, Rate, VideoCodec};

    fn changed(change: impl Fn(&mut TranscodeRequest)) -> Option<String> {
        let mut request = TranscodeRequest::new("http://hub/a.mkv");
        change(&mut request);
        key(&request)
    }

    #[test]
    fn what_differs_for_the_viewer_is_not_shared() {
        let plain = changed(|_| {});
        for (name, other) in [
            ("start", changed(|r| r.start_time = 5.0)),
            ("codec", changed(|r| r.output.video_codec = Some(VideoCodec::H265))),
            ("rate", changed(|r| r.output.bitrate = Rate::Bits(1_000_000))),
            ("accel", changed(|r| r.output.hw_accel = HwAccel::Software)),
            ("channels", changed(|r| r.output.max_audio_channels = 6)),
            ("mode", changed(|r| r.mode = Mode::Abr)),
            ("source", changed(|r| r.source.push('x'))),
            (
                "subtitles",
                changed(|r| {
                    r.subtitles = Some(vec![SubtitleTrack {
                        url: "s.srt".into(),
                        label: None,
                        language: "de".into(),
                        default: false,
                        burn_in: false,
                    }]);
                }),
            ),
        ] {
            assert_ne!(plain, other, "{name}");
        }
    }

    #[test]
    fn who_asks_makes_no_difference() {
        let plain = changed(|_| {});
        assert!(plain.is_some());
        assert_eq!(plain, changed(|r| r.session_id = Some("x".into())));
        assert_eq!(plain, changed(|r| r.callback_url = Some("http://c".into())));
        assert_eq!(plain, changed(|r| r.priority = Some(Priority::High)));
        assert_eq!(plain, changed(|r| r.source.push('/')));
        assert_eq!(changed(|r| r.mode = Mode::Batch), None);
    }
}
