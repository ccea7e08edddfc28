//! D-Bus messages as bytes: little-endian, of the types that the portal's ScreenCast needs.

/// A value. Every whole number is a [`Value::Number`], every text (`s`, `o`, `g`) a [`Value::Text`]; a struct and a dictionary
/// entry are [`Value::List`]s, and a variant is what is in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(u64),
    Real(f64),
    Text(String),
    List(Vec<Value>),
}

impl Value {
    pub fn number(&self) -> Option<u32> {
        match self {
            Value::Number(n) => u32::try_from(*n).ok(),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn list(&self) -> &[Value] {
        match self {
            Value::List(list) => list,
            _ => &[],
        }
    }

    /// What a dictionary has for `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let entry = self.list().iter().find(|e| e.list().first().and_then(Value::text) == Some(key))?;
        entry.list().get(1)
    }
}

/// An argument to send.
#[derive(Clone, Copy)]
pub(super) enum Arg<'a> {
    Text(&'a str),
    Path(&'a str),
    /// `a{sv}`.
    Options(&'a [(&'a str, Arg<'a>)]),
    Number(u32),
    Flag(bool),
}

impl Arg<'_> {
    fn signature(&self) -> &'static str {
        match self {
            Arg::Text(_) => "s",
            Arg::Path(_) => "o",
            Arg::Options(_) => "a{sv}",
            Arg::Number(_) => "u",
            Arg::Flag(_) => "b",
        }
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        while !self.0.len().is_multiple_of(to) {
            self.0.push(0);
        }
    }

    fn u32(&mut self, n: u32) {
        self.align(4);
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(text.len() as u8);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    /// An array whose elements are aligned to `to`.
    fn array(&mut self, to: usize, fill: impl FnOnce(&mut Writer)) {
        self.u32(0);
        let length = self.0.len() - 4;
        self.align(to);
        let begin = self.0.len();
        fill(self);
        let size = (self.0.len() - begin) as u32;
        self.0[length..length + 4].copy_from_slice(&size.to_le_bytes());
    }

    fn arg(&mut self, arg: &Arg<'_>) {
        match arg {
            Arg::Text(text) | Arg::Path(text) => self.text(text),
            Arg::Number(n) => self.u32(*n),
            Arg::Flag(flag) => self.u32(u32::from(*flag)),
            Arg::Options(options) => self.array(8, |w| {
                for (key, value) in *options {
                    w.align(8);
                    w.text(key);
                    w.signature(value.signature());
                    w.arg(value);
                }
            }),
        }
    }
}

/// What a method call is for.
pub(super) struct Call<'a> {
    pub to: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub method: &'a str,
}

/// The bytes of a method call.
pub(super) fn call(serial: u32, call: &Call<'_>, args: &[Arg<'_>]) -> Vec<u8> {
    let mut body = Writer::default();
    args.iter().for_each(|arg| body.arg(arg));
    let signature: String = args.iter().map(Arg::signature).collect();
    // Little-endian, a method call, no flags, version 1.
    let mut w = Writer(vec![b'l', 1, 0, 1]);
    w.u32(body.0.len() as u32);
    w.u32(serial);
    w.array(8, |w| {
        let fields =
            [(1, "o", call.path), (2, "s", call.interface), (3, "s", call.method), (6, "s", call.to)];
        for (code, kind, text) in fields {
            w.align(8);
            w.0.push(code);
            w.signature(kind);
            w.text(text);
        }
        if !signature.is_empty() {
            w.align(8);
            w.0.push(8);
            w.signature("g");
            w.signature(&signature);
        }
    });
    w.align(8);
    w.0.extend_from_slice(&body.0);
    w.0
}

/// A message that came.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// 2: a reply, 3: an error, 4: a signal.
    pub kind: u8,
    pub reply_to: u32,
    pub path: String,
    pub member: String,
    pub error: String,
    pub body: Vec<Value>,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

/// How deep values may be nested; D-Bus allows 64.
const DEPTH: usize = 64;

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(part)
    }

    fn whole(&mut self, size: usize) -> Option<u64> {
        self.align(size);
        let big = self.big;
        let bytes = self.take(size)?;
        let fold = |n: u64, b: &u8| n << 8 | u64::from(*b);
        Some(if big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        self.take(1)?;
        Some(text)
    }

    /// One value of the type that `signature` begins with, and the rest of it.
    fn value<'s>(&mut self, signature: &'s [u8], depth: usize) -> Option<(Value, &'s [u8])> {
        if depth > DEPTH {
            return None;
        }
        let (kind, rest) = signature.split_first()?;
        let value = match kind {
            b'y' => Value::Number(self.whole(1)?),
            b'n' | b'q' => Value::Number(self.whole(2)?),
            b'b' | b'i' | b'u' | b'h' => Value::Number(self.whole(4)?),
            b'x' | b't' => Value::Number(self.whole(8)?),
            b'd' => Value::Real(f64::from_bits(self.whole(8)?)),
            b's' | b'o' => {
                let length = self.whole(4)? as usize;
                Value::Text(self.text(length)?)
            }
            b'g' => {
                let length = self.whole(1)? as usize;
                Value::Text(self.text(length)?)
            }
            b'v' => {
                let length = self.whole(1)? as usize;
                let inner = self.text(length)?;
                self.value(inner.as_bytes(), depth + 1)?.0
            }
            b'(' | b'{' => {
                self.align(8);
                let (mut items, mut rest) = (Vec::new(), rest);
                loop {
                    match rest.split_first()? {
                        (b')' | b'}', rest) => return Some((Value::List(items), rest)),
                        _ => {
                            let (item, after) = self.value(rest, depth + 1)?;
                            items.push(item);
                            rest = after;
                        }
                    }
                }
            }
            b'a' => {
                let length = self.whole(4)? as usize;
                self.align(match rest.first()? {
                    b'(' | b'{' | b'x' | b't' | b'd' => 8,
                    b'n' | b'q' => 2,
                    b'y' | b'g' | b'v' => 1,
                    _ => 4,
                });
                let end = self.at.checked_add(length)?;
                if end > self.bytes.len() {
                    return None;
                }
                let element = one(rest)?;
                let mut items = Vec::new();
                while self.at < end {
                    items.push(self.value(element, depth + 1)?.0);
                }
                return Some((Value::List(items), &rest[element.len()..]));
            }
            _ => return None,
        };
        Some((value, rest))
    }
}

/// The first complete type of a signature.
fn one(signature: &[u8]) -> Option<&[u8]> {
    let mut depth = 0;
    for (i, kind) in signature.iter().enumerate() {
        match kind {
            b'(' | b'{' => depth += 1,
            b')' | b'}' => depth -= 1,
            b'a' => continue,
            _ => {}
        }
        if depth == 0 {
            return signature.get(..=i);
        }
    }
    None
}

/// How long the message is that `bytes` begin with; `None`: not yet known.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let mut r = Reader { bytes, at: 4, big: bytes.first()? == &b'B' };
    let body = r.whole(4)? as usize;
    r.at = 12;
    let fields = r.whole(4)? as usize;
    16usize.checked_add(fields)?.checked_next_multiple_of(8)?.checked_add(body)
}

/// Reads one whole message; `None` when it is not one.
pub(super) fn parse(bytes: &[u8]) -> Option<Message> {
    let mut r = Reader { bytes, at: 12, big: bytes.first()? == &b'B' };
    let mut message = Message { kind: *bytes.get(1)?, ..Message::default() };
    let (fields, _) = r.value(b"a(yv)", 0)?;
    let mut signature = String::new();
    for field in fields.list() {
        let [Value::Number(code), value] = field.list() else { continue };
        let text = || value.text().unwrap_or_default().to_owned();
        match code {
            1 => message.path = text(),
            3 => message.member = text(),
            4 => message.error = text(),
            5 => message.reply_to = value.number().unwrap_or(0),
            8 => signature = text(),
            _ => {}
        }
    }
    r.align(8);
    let mut rest = signature.as_bytes();
    while !rest.is_empty() {
        let (value, after) = r.value(rest, 0)?;
        message.body.push(value);
        rest = after;
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let to = Call { to: "a.b", path: "/x", interface: "a.b.C", method: "Do" };
        let options = [("types", Arg::Number(3)), ("multiple", Arg::Flag(true)), ("token", Arg::Text("abc"))];
        let bytes = call(7, &to, &[Arg::Path("/s"), Arg::Text("w"), Arg::Options(&options)]);
        assert_eq!(length(&bytes), Some(bytes.len()));
        assert_eq!(length(&bytes[..12]), None);
        let message = parse(&bytes).expect("a message");
        assert_eq!((message.kind, message.path.as_str(), message.member.as_str()), (1, "/x", "Do"));
        let [session, window, options] = &message.body[..] else { panic!("{message:?}") };
        assert_eq!((session.text(), window.text()), (Some("/s"), Some("w")));
        assert_eq!(options.get("types").and_then(Value::number), Some(3));
        assert_eq!(options.get("multiple").and_then(Value::number), Some(1));
        assert_eq!(options.get("token").and_then(Value::text), Some("abc"));
        // No part of it makes the reader fail.
        for end in 0..bytes.len() {
            parse(&bytes[..end]);
        }
    }

    #[test]
    fn streams_are_read() {
        // a(ua{sv}) with one stream 42 of size (ii).
        let mut w = Writer::default();
        w.array(8, |w| {
            w.align(8);
            w.u32(42);
            w.array(8, |w| {
                w.align(8);
                w.text("size");
                w.signature("(ii)");
                w.align(8);
                w.u32(640);
                w.u32(360);
            });
        });
        let mut r = Reader { bytes: &w.0, at: 0, big: false };
        let (streams, rest) = r.value(b"a(ua{sv})", 0).expect("a value");
        assert!(rest.is_empty());
        let [stream] = streams.list() else { panic!("{streams:?}") };
        assert_eq!(stream.list()[0].number(), Some(42));
        let size: Vec<_> =
            stream.list()[1].get("size").expect("a size").list().iter().map(Value::number).collect();
        assert_eq!(size, [Some(640), Some(360)]);
        assert_eq!(one(b"(ua{sv})u"), Some(&b"(ua{sv})"[..]));
        assert_eq!(one(b"aasu"), Some(&b"aas"[..]));
    }
}
