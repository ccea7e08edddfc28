//! Lines of ASS, and what their styles say of them.

use std::collections::HashMap;

/// A line as Matroska and FFmpeg have it (`ReadOrder,Layer,Style,Name,MarginL,MarginR,MarginV,Effect,Text`) before its text
/// and from there on.
pub(super) fn split(line: &str) -> Option<(&str, &str)> {
    let (comma, _) = line.match_indices(',').nth(7)?;
    Some(line.split_at(comma + 1))
}

/// The styles of a file by their names: override codes to be put before a line's text, and behind it, where its own count
/// first.
#[derive(Default)]
pub(super) struct Styles(HashMap<String, (&'static str, String)>);

impl Styles {
    /// Of the head of an ASS or SSA file. That a style is bold is how its font looks and stresses nothing.
    pub fn of(head: &str) -> Styles {
        let mut styles = HashMap::new();
        let mut section = String::new();
        let mut names: Vec<String> = Vec::new();
        for line in head.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line.to_ascii_lowercase();
            } else if !matches!(section.as_str(), "[v4+ styles]" | "[v4 styles]") {
                continue;
            } else if let Some(format) = line.strip_prefix("Format:") {
                names = format.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
            } else if let Some(style) = line.strip_prefix("Style:") {
                let values: Vec<&str> = style.split(',').map(str::trim).collect();
                let value = |name: &str| {
                    let at = names.iter().position(|known| known == name);
                    at.and_then(|at| values.get(at)).copied().unwrap_or_default()
                };
                let on = |name| value(name).parse::<i32>().is_ok_and(|n| n != 0);
                let before = match (on("italic"), on("underline")) {
                    (true, true) => "{\\i1\\u1}",
                    (true, false) => "{\\i1}",
                    (false, true) => "{\\u1}",
                    (false, false) => "",
                };
                let alignment = match (section.as_str(), value("alignment").parse().unwrap_or(2u8)) {
                    ("[v4 styles]", top @ 5..=7) => top + 2,
                    ("[v4 styles]", middle @ 9..=11) => middle - 5,
                    (_, alignment) => alignment,
                };
                let behind = if alignment == 2 { String::new() } else { format!("{{\\an{alignment}}}") };
                styles.insert(value("name").to_owned(), (before, behind));
            }
        }
        Styles(styles)
    }

    /// `line` with what its style says in its text; `None` where that is nothing.
    pub fn said(&self, line: &str) -> Option<String> {
        let (fields, text) = split(line)?;
        let (before, behind) = self.0.get(fields.split(',').nth(2)?.trim().trim_start_matches('*'))?;
        let some = !before.is_empty() || !behind.is_empty();
        some.then(|| format!("{fields}{before}{text}{behind}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_are_said_in_lines() {
        let head = "[Script Info]\r\nStyle: None,1\r\n[V4+ Styles]\r\nFormat: Name, Bold, Italic, Alignment\r\n\
            Style: Default,-1,0,2\r\nStyle: Sign,0,-1,8\r\n[V4 Styles]\nStyle: Old,0,0,6\n";
        let styles = Styles::of(head);
        let said = |style: &str| styles.said(&format!("3,0,{style},,0,0,0,,a, {{\\i0}}b"));
        assert_eq!(said("Sign").as_deref(), Some("3,0,Sign,,0,0,0,,{\\i1}a, {\\i0}b{\\an8}"));
        assert_eq!(said("Old").as_deref(), Some("3,0,Old,,0,0,0,,a, {\\i0}b{\\an8}"));
        assert!(said("Default").is_none() && said("None").is_none() && said("Unknown").is_none());
        assert!(styles.said("3,0,Sign").is_none());
        assert_eq!(split("0,0,Default,,0,0,0,,a,b"), Some(("0,0,Default,,0,0,0,,", "a,b")));
    }
}
