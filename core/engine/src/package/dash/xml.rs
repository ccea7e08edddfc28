//! Just enough XML to write a manifest: nested elements, escaped attributes and text.

use std::fmt::{Display, Write};

/// A document under construction, indented by two spaces.
pub(super) struct Xml {
    out: String,
    depth: usize,
}

impl Xml {
    pub fn new() -> Self {
        Xml { out: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".into(), depth: 0 }
    }

    pub fn into_string(self) -> String {
        self.out
    }

    /// An element without content.
    pub fn empty(&mut self, name: &str, attributes: impl FnOnce(&mut Tag)) {
        self.open(name, attributes);
        self.out.push_str("/>\n");
    }

    /// An element with text.
    pub fn text(&mut self, name: &str, attributes: impl FnOnce(&mut Tag), text: &str) {
        self.open(name, attributes);
        let _ = writeln!(self.out, ">{}</{name}>", escape(text));
    }

    /// An element with child elements.
    pub fn element(&mut self, name: &str, attributes: impl FnOnce(&mut Tag), body: impl FnOnce(&mut Self)) {
        self.open(name, attributes);
        self.out.push_str(">\n");
        self.depth += 1;
        body(self);
        self.depth -= 1;
        let _ = writeln!(self.out, "{:1$}</{name}>", "", self.depth * 2);
    }

    fn open(&mut self, name: &str, attributes: impl FnOnce(&mut Tag)) {
        let _ = write!(self.out, "{:1$}<{name}", "", self.depth * 2);
        let mut tag = Tag(std::mem::take(&mut self.out));
        attributes(&mut tag);
        self.out = tag.0;
    }
}

/// The attributes of an element.
pub(super) struct Tag(String);

impl Tag {
    pub fn set(&mut self, name: &str, value: impl Display) -> &mut Self {
        let _ = write!(self.0, " {name}=\"{}\"", escape(&value.to_string()));
        self
    }

    /// Set only when there is a value.
    pub fn maybe(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }
}

/// Text and attribute values; characters that XML 1.0 cannot hold are left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let mut xml = Xml::new();
        xml.element(
            "a",
            |t| {
                t.set("b", "\"<&>\u{1}\n").maybe("c", None::<u8>);
            },
            |x| x.text("d", |_| {}, "1 < 2"),
        );
        let body = xml.into_string();
        assert!(body.ends_with("<a b=\"&quot;&lt;&amp;&gt; \">\n  <d>1 &lt; 2</d>\n</a>\n"), "{body}");
    }
}
