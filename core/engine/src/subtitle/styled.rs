//! The text of a cue with its italics, bold and underline, in the forms that have no tags of WebVTT.

/// Text that looks the same throughout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub text: String,
    pub bold: bool,
    pub italic: bool,
    pub underline: bool,
}

impl Run {
    /// `face-style-flags` (3GPP TS 26.245, 5.16).
    fn face(&self) -> u8 {
        u8::from(self.bold) | u8::from(self.italic) << 1 | u8::from(self.underline) << 2
    }
}

/// The runs of WebVTT cue text. Other tags go.
pub(super) fn runs(payload: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut depth = [0u32; 3];
    let mut rest = payload;
    while let Some(c) = rest.chars().next() {
        if c == '<'
            && let Some((tag, behind)) = rest[1..].split_once('>')
        {
            let (closes, name) = tag.strip_prefix('/').map_or((false, tag), |name| (true, name));
            let name = name.split(['.', ' ', '\t', '\n']).next().unwrap_or_default();
            if let Some(slot) = ["b", "i", "u"].iter().position(|known| *known == name) {
                depth[slot] = if closes { depth[slot].saturating_sub(1) } else { depth[slot] + 1 };
            }
            rest = behind;
            continue;
        }
        const NAMED: [(&str, &str); 6] = [
            ("&amp;", "&"),
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&nbsp;", "\u{a0}"),
            ("&lrm;", "\u{200e}"),
            ("&rlm;", "\u{200f}"),
        ];
        let named = NAMED.iter().find(|(name, _)| rest.starts_with(name));
        let (text, taken) =
            named.map_or((&rest[..c.len_utf8()], c.len_utf8()), |(name, text)| (*text, name.len()));
        let [bold, italic, underline] = depth.map(|depth| depth > 0);
        let next = Run { text: String::new(), bold, italic, underline };
        match runs.last_mut() {
            Some(last) if last.face() == next.face() => last.text.push_str(text),
            _ => runs.push(Run { text: text.into(), ..next }),
        }
        rest = &rest[taken..];
    }
    runs
}

/// As SubRip has it; `top`: at the top of the picture, in the one spelling that players know.
pub(super) fn subrip(runs: &[Run], top: bool) -> String {
    let mut out = String::from(if top { "{\\an8}" } else { "" });
    for run in runs {
        let tags = [(run.bold, 'b'), (run.italic, 'i'), (run.underline, 'u')];
        let tags: Vec<char> = tags.iter().filter(|(on, _)| *on).map(|(_, tag)| *tag).collect();
        tags.iter().for_each(|tag| out.push_str(&format!("<{tag}>")));
        out.push_str(&run.text);
        tags.iter().rev().for_each(|tag| out.push_str(&format!("</{tag}>")));
    }
    out
}

/// A sample of timed text (3GPP TS 26.245, 5.17): the text with its length before it, and a `styl` box where it is not plain.
pub(super) fn timed_text(runs: &[Run]) -> Vec<u8> {
    let text: String = runs.iter().map(|run| run.text.as_str()).collect();
    // The length has 16 bits.
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut data = (end as u16).to_be_bytes().to_vec();
    data.extend_from_slice(&text.as_bytes()[..end]);
    let mut records: Vec<u8> = Vec::new();
    let mut at = 0usize;
    for run in runs {
        let from = at;
        at += run.text.chars().count();
        let (Ok(from), Ok(to)) = (u16::try_from(from), u16::try_from(at)) else { break };
        if run.face() > 0 {
            records.extend_from_slice(&from.to_be_bytes());
            records.extend_from_slice(&to.to_be_bytes());
            // Font 1 at 16 in white, as the sample description has it.
            records.extend_from_slice(&[0, 1, run.face(), 16, 0xff, 0xff, 0xff, 0xff]);
        }
    }
    if !records.is_empty() {
        data.extend_from_slice(&(records.len() as u32 + 10).to_be_bytes());
        data.extend_from_slice(b"styl");
        data.extend_from_slice(&((records.len() / 12) as u16).to_be_bytes());
        data.extend_from_slice(&records);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_of_parts() {
        let cue = runs("a <i>b &amp; <b>c</b></i><v Bob>d</v>");
        assert_eq!(subrip(&cue, false), "a <i>b & </i><b><i>c</i></b>d");
        assert_eq!(subrip(&runs("1 &lt; 2 <3"), true), "{\\an8}1 < 2 <3");
        assert_eq!(timed_text(&runs("x")), b"\0\x01x");
        let styled = timed_text(&runs("ü<i>b</i>"));
        assert_eq!(&styled[..5], b"\0\x03\xc3\xbcb");
        assert_eq!(&styled[5..], b"\0\0\0\x16styl\0\x01\0\x01\0\x02\0\x01\x02\x10\xff\xff\xff\xff");
        assert!(runs("").is_empty());
    }
}
