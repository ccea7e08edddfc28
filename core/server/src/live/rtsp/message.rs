//! What comes over an RTSP connection: requests (or answers to ours), and RTP or RTCP between them. Sans-IO; everything is bounded.

use bytes::{Buf, Bytes, BytesMut};

/// The longest head of a request, in bytes.
pub const HEAD: usize = 16 << 10;
/// The longest body of a request: a description of tracks.
pub const BODY: usize = 64 << 10;
/// The most headers of a request.
const HEADERS: usize = 64;

/// One thing that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A request.
    Request(Request),
    /// An answer to one of ours.
    Answer(Answer),
    /// An interleaved packet.
    Media {
        /// As agreed on with SETUP: even is RTP, the one behind it RTCP.
        channel: u8,
        /// The packet.
        data: Bytes,
    },
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `ANNOUNCE`, `SETUP` …
    pub method: String,
    /// What for: a URL, or `*`.
    pub url: String,
    /// By names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// What is behind the head.
    pub body: Bytes,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200, when it is good.
    pub status: u16,
    /// In words.
    pub reason: String,
    /// By names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// What is behind the head.
    pub body: Bytes,
}

impl Answer {
    /// The first header of that name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Every header of that name (in lower case).
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl Request {
    /// The first header of that name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The path of its URL without slashes around it, and the query.
    pub fn target(&self) -> (&str, &str) {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let path = rest.split_once('/').map_or("", |(_, path)| path);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        (path.trim_matches('/'), query)
    }
}

/// What is no RTSP: why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage(pub &'static str);

/// Takes the next thing out of `data`; `None` when it is not all there.
///
/// # Errors
/// [`Garbage`]: the connection is of no more use.
pub fn next(data: &mut BytesMut) -> Result<Option<Input>, Garbage> {
    // Empty lines between requests are allowed.
    while matches!(data.first(), Some(b'\r' | b'\n')) {
        data.advance(1);
    }
    let Some(first) = data.first() else { return Ok(None) };
    if *first == b'$' {
        let &[_, channel, high, low, ..] = &data[..] else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if data.len() < 4 + length {
            return Ok(None);
        }
        data.advance(4);
        return Ok(Some(Input::Media { channel, data: data.split_to(length).freeze() }));
    }
    if !first.is_ascii_uppercase() {
        return Err(Garbage("this is no RTSP"));
    }
    let Some(end) = data.windows(4).take(HEAD).position(|w| w == b"\r\n\r\n") else {
        return if data.len() >= HEAD { Err(Garbage("a request's head is too long")) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&data[..end]).map_err(|_| Garbage("a request's head is no text"))?;
    let mut lines = head.split("\r\n");
    let first = First::read(lines.next().unwrap_or_default())?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Garbage("a header without a colon"))?;
        if headers.len() == HEADERS {
            return Err(Garbage("too many headers"));
        }
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_string()));
    }
    let length = headers.iter().find(|(n, _)| n == "content-length").map(|(_, v)| v.parse::<usize>());
    let length = length.transpose().map_err(|_| Garbage("a Content-Length that is no number"))?.unwrap_or(0);
    if length > BODY {
        return Err(Garbage("a request's body is too long"));
    }
    if data.len() < end + 4 + length {
        return Ok(None);
    }
    data.advance(end + 4);
    let body = data.split_to(length).freeze();
    Ok(Some(match first {
        First::Request { method, url } => Input::Request(Request { method, url, headers, body }),
        First::Answer { status, reason } => Input::Answer(Answer { status, reason, headers, body }),
    }))
}

/// The first line of a head.
enum First {
    Request { method: String, url: String },
    Answer { status: u16, reason: String },
}

impl First {
    fn read(line: &str) -> Result<First, Garbage> {
        if let Some(rest) = line.strip_prefix("RTSP/") {
            let mut words = rest.splitn(3, ' ');
            let version = words.next().unwrap_or_default();
            let status = words.next().and_then(|w| w.parse().ok()).filter(|s| (100..1000).contains(s));
            let status = status.filter(|_| version.starts_with("1."));
            let status = status.ok_or(Garbage("this is not RTSP 1.0"))?;
            return Ok(First::Answer { status, reason: words.next().unwrap_or_default().into() });
        }
        let mut words = line.split(' ');
        let (Some(method), Some(url), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Garbage("this is no RTSP"));
        };
        if !version.starts_with("RTSP/1.") {
            return Err(Garbage("this is not RTSP 1.0"));
        }
        Ok(First::Request { method: method.into(), url: url.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], piece: usize) -> Result<Vec<Input>, Garbage> {
        let (mut have, mut found) = (BytesMut::new(), Vec::new());
        for part in text.chunks(piece) {
            have.extend_from_slice(part);
            while let Some(input) = next(&mut have)? {
                found.push(input);
            }
        }
        Ok(found)
    }

    #[test]
    fn requests_and_packets_come_in_pieces() {
        let text =
            b"ANNOUNCE rtsp://host:554/live/cam?key=x RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 3\r\n\r\nv=0\
            $\x01\x00\x04abcd\r\nRECORD rtsp://host/ RTSP/1.0\r\nCSeq:3\r\n\r\n";
        let found = all(text, text.len()).unwrap();
        for piece in [1, 7, 100] {
            assert_eq!(all(text, piece).unwrap(), found);
        }
        let [Input::Request(announce), Input::Media { channel: 1, data }, Input::Request(record)] =
            &found[..]
        else {
            panic!("{found:?}")
        };
        assert_eq!(announce.target(), ("live/cam", "key=x"));
        assert_eq!((&announce.body[..], announce.header("cseq")), (&b"v=0"[..], Some("2")));
        assert_eq!((&data[..], record.target(), record.header("cseq")), (&b"abcd"[..], ("", ""), Some("3")));
    }

    #[test]
    fn answers_are_read() {
        let text = b"RTSP/1.0 401 Not for you\r\nCSeq: 2\r\nWWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: Digest\r\n\
            Content-Length: 2\r\n\r\nnoRTSP/1.0 200\r\n\r\n";
        for piece in [1, 9, 1000] {
            let found = all(text, piece).unwrap();
            let [Input::Answer(refused), Input::Answer(good)] = &found[..] else { panic!("{found:?}") };
            assert_eq!((refused.status, refused.reason.as_str(), good.status), (401, "Not for you", 200));
            assert_eq!((&refused.body[..], refused.header("cseq")), (&b"no"[..], Some("2")));
            assert_eq!(refused.all("www-authenticate").count(), 2);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            &b"RTSP/2.0 200 OK\r\n\r\n"[..],
            b"RTSP/1.0 99 OK\r\n\r\n",
            b"RTSP/1.0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01",
            b"OPTIONS * RTSP/1.0\r\nno colon\r\n\r\n",
            b"OPTIONS * RTSP/1.0\r\nContent-Length: 99999999\r\n\r\n",
            b"OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
            b"OPTIONS *\r\n\r\n",
        ] {
            assert!(all(text, text.len()).is_err(), "{}", String::from_utf8_lossy(text));
        }
        assert!(all(&[b'A'; HEAD + 8], 1000).is_err());
    }
}
