//! Cue text of other formats as WebVTT cue text.

/// Escapes what WebVTT would take for markup.
fn escape(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        c => out.push(c),
    }
}

/// Text without any markup: everything is escaped.
pub fn plain_payload(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().filter(|c| *c != '\r').for_each(|c| escape(c, &mut out));
    super::payload(&out)
}

/// Timed text (3GPP TS 26.245, 5.17): its `styl` box says from which character to which it is bold, italic or underlined.
pub(super) fn timed_payload(text: &str, mut boxes: &[u8]) -> String {
    let word = |data: &[u8], at: usize| usize::from(u16::from_be_bytes([data[at], data[at + 1]]));
    let mut looks: Vec<(usize, usize, u8)> = Vec::new();
    while let Some((head, rest)) = boxes.split_at_checked(8) {
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some((body, behind)) = size.checked_sub(8).and_then(|size| rest.split_at_checked(size)) else {
            break;
        };
        if &head[4..] == b"styl" && body.len() >= 2 {
            let records = body[2..].chunks_exact(12).take(word(body, 0));
            looks.extend(records.map(|record| (word(record, 0), word(record, 2), record[6] & 7)));
        }
        boxes = behind;
    }
    let mut out = String::with_capacity(text.len());
    let mut open = 0;
    let mut change = |now: u8, out: &mut String| {
        const TAGS: [(&str, &str, u8); 3] = [("<b>", "</b>", 1), ("<i>", "</i>", 2), ("<u>", "</u>", 4)];
        if now != open {
            TAGS.iter().rev().filter(|tag| open & tag.2 > 0).for_each(|tag| out.push_str(tag.1));
            TAGS.iter().filter(|tag| now & tag.2 > 0).for_each(|tag| out.push_str(tag.0));
            open = now;
        }
    };
    // They come in order.
    let mut looks = looks.into_iter().peekable();
    for (n, c) in text.chars().enumerate().filter(|(_, c)| *c != '\r') {
        while looks.next_if(|(_, to, _)| *to <= n).is_some() {}
        change(looks.peek().filter(|(from, _, _)| *from <= n).map_or(0, |look| look.2), &mut out);
        escape(c, &mut out);
    }
    change(0, &mut out);
    super::payload(&out)
}

/// Where `text` of SubRip or ASS is shown, as WebVTT's settings: its alignment (`{\an8}`: a digit as on the keyboard's number block),
/// if it has one other than the middle of the bottom.
pub fn placement(text: &str) -> String {
    let blocks = text.split('{').skip(1).filter_map(|block| block.split_once('}'));
    let codes = blocks.flat_map(|(block, _)| block.split('\\').skip(1));
    let alignment = codes.filter_map(|code| code.trim().strip_prefix("an")?.parse::<u8>().ok()).next();
    let Some(alignment) = alignment.filter(|n| (1..=9).contains(n)) else { return String::new() };
    let row = ["", "line:50%", "line:0"][usize::from((alignment - 1) / 3)];
    let column =
        ["align:left position:0%", "", "align:right position:100%"][usize::from((alignment - 1) % 3)];
    format!("{row} {column}").trim().into()
}

/// SubRip cue text: `<i>`, `<b>` and `<u>` stay, other tags and `{\an8}`-style overrides go, the rest is escaped.
pub fn srt_payload(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '<'
            && let Some((tag, behind)) = rest[1..].split_once('>')
            && let Some(kind) = tag_kind(tag)
        {
            if let Some(name) = kind {
                out.push('<');
                out.push_str(if tag.starts_with('/') { "/" } else { "" });
                out.push(name);
                out.push('>');
            }
            rest = behind;
        } else if rest.starts_with("{\\")
            && let Some((_, behind)) = rest.split_once('}')
        {
            rest = behind;
        } else {
            escape(c, &mut out);
            rest = &rest[c.len_utf8()..];
        }
    }
    super::payload(&out)
}

/// `Some(Some(name))` for a tag to keep, `Some(None)` for one to drop, `None` for what is no tag.
fn tag_kind(tag: &str) -> Option<Option<char>> {
    let name = tag.strip_prefix('/').unwrap_or(tag);
    let word: String = name.chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_lowercase();
    match word.as_str() {
        "i" => Some(Some('i')),
        "b" | "strong" => Some(Some('b')),
        "u" => Some(Some('u')),
        "font" | "s" | "em" | "span" | "br" | "c" => Some(None),
        _ => None,
    }
}

/// ASS event text: override blocks go, except that italics, bold and underline become tags; `\N` and `\n` break lines;
/// drawings (`\p1`) are left out.
pub fn ass_payload(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Vec<char> = Vec::new();
    let mut drawing = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '{'
            && let Some((block, behind)) = rest[1..].split_once('}')
        {
            for code in block.split('\\').skip(1) {
                override_code(code.trim(), &mut open, &mut drawing, &mut out);
            }
            rest = behind;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        let next = rest.chars().next();
        match (c, next) {
            _ if drawing => {}
            ('\\', Some(n @ ('N' | 'n' | 'h'))) => {
                out.push(if n == 'h' { '\u{a0}' } else { '\n' });
                rest = &rest[1..];
            }
            ('\r', _) => {}
            (c, _) => escape(c, &mut out),
        }
    }
    while let Some(tag) = open.pop() {
        out.push_str(&format!("</{tag}>"));
    }
    let text = super::payload(&out);
    // Tags around nothing are nothing.
    let tags = ["<i>", "</i>", "<b>", "</b>", "<u>", "</u>"];
    let bare = tags.iter().fold(text.clone(), |t, tag| t.replace(tag, ""));
    if bare.trim().is_empty() { String::new() } else { text }
}

fn override_code(code: &str, open: &mut Vec<char>, drawing: &mut bool, out: &mut String) {
    let mut close = |tag: char, open: &mut Vec<char>| {
        // Tags must nest, so what was opened later is closed and opened again.
        let Some(at) = open.iter().rposition(|t| *t == tag) else { return };
        for t in open[at..].iter().rev() {
            out.push_str(&format!("</{t}>"));
        }
        open.remove(at);
        for t in &open[at..] {
            out.push_str(&format!("<{t}>"));
        }
    };
    let mut letters = code.chars();
    match (letters.next(), letters.as_str()) {
        (Some(tag @ ('i' | 'u' | 'b')), "0") => close(tag, open),
        // Bold may be a weight.
        (Some(tag @ ('i' | 'u' | 'b')), value)
            if value.parse::<u32>().is_ok_and(|n| n == 1 || (tag == 'b' && n >= 600))
                && !open.contains(&tag) =>
        {
            open.push(tag);
            out.push_str(&format!("<{tag}>"));
        }
        (Some('p'), value) => {
            if let Ok(scale) = value.parse::<u32>() {
                *drawing = scale > 0;
            }
        }
        (Some('r'), _) => {
            while let Some(tag) = open.last().copied() {
                close(tag, open);
            }
        }
        _ => {}
    }
}

/// `hh:mm:ss.fff`, `mm:ss.fff`, with a comma or a point and any number of decimals, in microseconds.
pub(super) fn parse_clock(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let mut seconds = 0i64;
    let mut fields = 0;
    for field in whole.split(':') {
        if field.is_empty() || !field.bytes().all(|b| b.is_ascii_digit()) || field.len() > 9 {
            return None;
        }
        seconds = seconds.checked_mul(60)?.checked_add(field.parse().ok()?)?;
        fields += 1;
    }
    if !(2..=3).contains(&fields) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: i64 = format!("{fraction:0<6.6}").parse().ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(micros)
}

/// Lines in groups separated by blank lines, whatever ends the lines.
pub(super) fn blocks(input: &str) -> Vec<Vec<&str>> {
    let mut out = vec![Vec::new()];
    for line in input.split('\n').flat_map(|l| l.strip_suffix('\r').unwrap_or(l).split('\r')) {
        match (line.trim().is_empty(), out.last_mut()) {
            (false, Some(block)) => block.push(line),
            (true, Some(block)) if !block.is_empty() => out.push(Vec::new()),
            _ => {}
        }
    }
    out.retain(|b| !b.is_empty());
    out
}
