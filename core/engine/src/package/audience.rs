//! For whom a soundtrack or a text is: what containers say of it, in the words of HLS and DASH.

use crate::packet::Disposition;

/// Which of the soundtracks is played unasked: the first that its source marks so, before comments and descriptions of
/// the picture.
pub fn unasked(tracks: impl Iterator<Item = Disposition>) -> usize {
    let rank = |d: Disposition| (d.comment || d.visual_impaired, !d.default);
    tracks.enumerate().min_by_key(|(i, d)| (rank(*d), *i)).map_or(0, |(i, _)| i)
}

/// The roles of a soundtrack (ISO/IEC 23009-1, `urn:mpeg:dash:role:2011`).
pub fn roles(disposition: Disposition, unasked: bool) -> Vec<String> {
    let role = match disposition {
        _ if unasked => "main",
        Disposition { visual_impaired: true, .. } => "description",
        Disposition { comment: true, .. } => "commentary",
        Disposition { hearing_impaired: true, .. } => "enhanced-audio-intelligibility",
        _ => "alternate",
    };
    vec![role.into()]
}

/// `CHARACTERISTICS` of a soundtrack (RFC 8216, 4.3.4.1).
pub fn characteristics(disposition: Disposition) -> Vec<String> {
    disposition.visual_impaired.then(|| "public.accessibility.describes-video".into()).into_iter().collect()
}

/// `CHARACTERISTICS` of subtitles (RFC 8216, 4.3.4.1): those for who does not hear have what is heard besides speech.
pub fn text_characteristics(disposition: Disposition) -> Vec<String> {
    let all = ["transcribes-spoken-dialog", "describes-music-and-sound"];
    let all = all.into_iter().filter(|_| disposition.hearing_impaired);
    all.map(|what| format!("public.accessibility.{what}")).collect()
}

/// The role of subtitles (ISO/IEC 23009-1, `urn:mpeg:dash:role:2011`).
pub fn text_role(disposition: Disposition) -> &'static str {
    match (disposition.forced, disposition.hearing_impaired) {
        (true, _) => "forced-subtitle",
        (false, true) => "caption",
        (false, false) => "subtitle",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_source_marks_is_played_unasked_and_no_comment_where_there_is_another() {
        let plain = Disposition::default();
        let marked = Disposition { default: true, ..plain };
        let comment = Disposition { comment: true, ..marked };
        let described = Disposition { visual_impaired: true, ..plain };
        let of = |tracks: &[Disposition]| unasked(tracks.iter().copied());
        assert_eq!(of(&[plain, marked, marked]), 1);
        assert_eq!(of(&[comment, plain]), 1);
        assert_eq!(of(&[described, marked]), 1);
        assert_eq!(of(&[plain, plain]), 0);
        assert_eq!(of(&[described, comment]), 1);
        assert_eq!(of(&[]), 0);
        assert_eq!(roles(comment, false), ["commentary"]);
        assert_eq!(roles(described, false), ["description"]);
        assert_eq!(roles(plain, true), ["main"]);
        assert_eq!(characteristics(described), ["public.accessibility.describes-video"]);
        let captions = Disposition { hearing_impaired: true, ..plain };
        let forced = Disposition { forced: true, ..plain };
        assert_eq!([plain, captions, forced].map(text_role), ["subtitle", "caption", "forced-subtitle"]);
        assert_eq!(text_characteristics(captions).len(), 2);
        assert!(text_characteristics(forced).is_empty());
    }
}
