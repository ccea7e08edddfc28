//! Attribute lists: quoting, and what must not get into a line.

use std::fmt::{Display, Write};

/// `#TAG:NAME=value,NAME="value"` under construction.
pub(super) struct Attributes {
    line: String,
    empty: bool,
}

impl Attributes {
    pub fn new(tag: &str) -> Self {
        Attributes { line: format!("#{tag}:"), empty: true }
    }

    /// An unquoted value: numbers and enumerated strings.
    pub fn plain(&mut self, name: &str, value: impl Display) -> &mut Self {
        if !std::mem::replace(&mut self.empty, false) {
            self.line.push(',');
        }
        // Writing to a string cannot fail.
        let _ = write!(self.line, "{name}={value}");
        self
    }

    /// A quoted string. It cannot hold quotes or line breaks, so those are replaced.
    pub fn quoted(&mut self, name: &str, value: &str) -> &mut Self {
        let value: String = value
            .chars()
            .map(|c| match c {
                '"' => '\'',
                c if c.is_control() => ' ',
                c => c,
            })
            .collect();
        self.plain(name, format_args!("\"{value}\""))
    }

    /// A URI in quotes.
    pub fn uri(&mut self, name: &str, value: &str) -> &mut Self {
        let value = uri(value);
        self.plain(name, format_args!("\"{value}\""))
    }

    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.line);
        out.push('\n');
    }
}

/// A URI that fits on a line and in quotes: what would end either, and a leading `#`, is percent-encoded.
pub(super) fn uri(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for (i, c) in value.chars().enumerate() {
        if c.is_control() || matches!(c, '"' | ' ' | '<' | '>' | '\\') || (c == '#' && i == 0) {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Seconds with six decimals from microseconds.
pub(super) fn seconds(micros: i64) -> String {
    format!("{}{}.{:06}", if micros < 0 { "-" } else { "" }, micros.unsigned_abs() / 1_000_000, {
        micros.unsigned_abs() % 1_000_000
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_its_line_or_quotes() {
        let mut out = String::new();
        let mut a = Attributes::new("EXT-X-TEST");
        a.quoted("NAME", "a\"b\nc").uri("URI", "x \"y\"\n#z").plain("N", 1).finish(&mut out);
        assert_eq!(out, "#EXT-X-TEST:NAME=\"a'b c\",URI=\"x%20%22y%22%0A#z\",N=1\n");
        assert_eq!(uri("#a"), "%23a");
        assert_eq!(seconds(1_500_000), "1.500000");
    }
}
