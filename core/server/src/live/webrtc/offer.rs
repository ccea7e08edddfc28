//! What an SDP offer asks for, and the offer as it is negotiated: one line of pictures and one of sound, each in the one
//! direction that the endpoint has.
//!
//! The session description itself is parsed and answered by str0m; this looks at lines only, so that an answer can say what
//! is wrong with an offer before anything is started for it.

/// The most media lines of an offer.
const LINES: usize = 32;

/// What a media line carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `m=audio`.
    Audio,
    /// `m=video`.
    Video,
    /// `m=application` and whatever else there may be.
    Other,
}

/// Which way media goes, as the client says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client sends and receives, which is what is meant when nothing is said.
    Both,
    /// The client sends.
    Send,
    /// The client receives.
    Receive,
    /// Nobody does.
    Inactive,
}

/// What the client is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It sends (WHIP).
    Publish,
    /// It receives (WHEP).
    Play,
}

/// One media line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it carries.
    pub kind: Kind,
    /// Which way.
    pub direction: Direction,
    /// Names of the codecs in its `a=rtpmap`, as written.
    pub codecs: Vec<String>,
    /// Its `a=mid`.
    pub mid: Option<String>,
    /// How many layers its `a=simulcast` sends; 1 without.
    pub layers: usize,
    /// Whether it is negotiated, or answered as inactive.
    pub used: bool,
}

impl Line {
    /// Whether a codec of this name is offered.
    pub fn has(&self, codec: &str) -> bool {
        self.codecs.iter().any(|c| c.eq_ignore_ascii_case(codec))
    }
}

/// An offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    lines: Vec<Line>,
    text: Vec<String>,
    purpose: Purpose,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str, purpose: Purpose) -> Result<Offer, String> {
        let text: Vec<String> =
            text.lines().map(|l| l.trim_end().to_string()).filter(|l| !l.is_empty()).collect();
        if text.first().map(String::as_str) != Some("v=0") {
            return Err("this is no session description: it does not begin with v=0".into());
        }
        if let Some(line) = text.iter().find(|l| l.as_bytes().get(1) != Some(&b'=')) {
            return Err(format!("{line:?} is no line of a session description"));
        }
        let session = direction_of(text.iter().take_while(|l| !l.starts_with("m=")));
        let mut lines: Vec<Line> = Vec::new();
        for line in &text {
            if let Some(media) = line.strip_prefix("m=") {
                let kind = match media.split(' ').next() {
                    Some("audio") => Kind::Audio,
                    Some("video") => Kind::Video,
                    _ => Kind::Other,
                };
                let direction = session.unwrap_or(Direction::Both);
                lines.push(Line { kind, direction, codecs: Vec::new(), mid: None, layers: 1, used: false });
            } else if let Some(last) = lines.last_mut() {
                if let Some(direction) = direction_word(line) {
                    last.direction = direction;
                } else if let Some(map) = line.strip_prefix("a=rtpmap:") {
                    let codec = map.split_once(' ').and_then(|(_, c)| c.split('/').next());
                    last.codecs.extend(codec.map(String::from));
                } else if let Some(mid) = line.strip_prefix("a=mid:") {
                    last.mid = Some(mid.into());
                } else if let Some(layers) = line.strip_prefix("a=simulcast:send ") {
                    last.layers = layers.split(' ').next().unwrap_or_default().split(';').count();
                }
            }
        }
        if lines.len() > LINES {
            return Err(format!("{} media lines; {LINES} are the most", lines.len()));
        }
        let fits = |l: &Line| match purpose {
            Purpose::Publish => matches!(l.direction, Direction::Both | Direction::Send),
            Purpose::Play => matches!(l.direction, Direction::Both | Direction::Receive),
        };
        for kind in [Kind::Audio, Kind::Video] {
            if let Some(line) = lines.iter_mut().find(|l| l.kind == kind && fits(l)) {
                line.used = true;
            }
        }
        if !lines.iter().any(|l| l.used) {
            return Err(match purpose {
                Purpose::Publish => "the offer has no audio or video that is sent".into(),
                Purpose::Play => "the offer has no audio or video that is received".into(),
            });
        }
        Ok(Offer { lines, text, purpose })
    }

    /// The line of `kind` that is negotiated.
    pub fn line(&self, kind: Kind) -> Option<&Line> {
        self.lines.iter().find(|l| l.used && l.kind == kind)
    }

    /// Does not negotiate the line of `kind`: its answer is inactive.
    pub fn leave_out(&mut self, kind: Kind) {
        self.lines.iter_mut().filter(|l| l.kind == kind).for_each(|l| l.used = false);
    }

    /// Whether the client tells of every packet that comes (transport-wide congestion control).
    pub fn tells_of_packets(&self) -> bool {
        self.text.iter().any(|l| l.starts_with("a=rtcp-fb:") && l.ends_with(" transport-cc"))
            && self.text.iter().any(|l| l.starts_with("a=extmap:") && l.contains("transport-wide-cc"))
    }

    /// The offer as it is negotiated: in the one direction, with everything that is not used inactive.
    pub fn negotiated(&self) -> String {
        let way = match self.purpose {
            Purpose::Publish => "a=sendonly",
            Purpose::Play => "a=recvonly",
        };
        let mut out = String::new();
        let mut push = |line: &str| {
            out.push_str(line);
            out.push_str("\r\n");
        };
        let mut lines = self.lines.iter();
        let mut current: Option<&Line> = None;
        for line in &self.text {
            if line.starts_with("m=") {
                end(current, way, &mut push);
                current = lines.next();
            }
            // One of our own follows at the end of each section, so that there is exactly one.
            if direction_word(line).is_none() {
                push(line);
            }
        }
        end(current, way, &mut push);
        out
    }
}

/// Says the direction at the end of a media section.
fn end(line: Option<&Line>, way: &str, push: &mut impl FnMut(&str)) {
    match line {
        Some(Line { kind: Kind::Other, .. }) | None => {}
        Some(line) => push(if line.used { way } else { "a=inactive" }),
    }
}

fn direction_of<'a>(lines: impl Iterator<Item = &'a String>) -> Option<Direction> {
    lines.filter_map(|l| direction_word(l)).last()
}

fn direction_word(line: &str) -> Option<Direction> {
    match line {
        "a=sendrecv" => Some(Direction::Both),
        "a=sendonly" => Some(Direction::Send),
        "a=recvonly" => Some(Direction::Receive),
        "a=inactive" => Some(Direction::Inactive),
        _ => None,
    }
}

/// An answer without the addresses of the loopback interface, which mean another machine to the one who reads it; unless
/// there is no other.
pub fn without_loopback(answer: &str) -> String {
    let loopback = |line: &str| {
        let address = line.strip_prefix("a=candidate:").and_then(|c| c.split(' ').nth(4));
        address.and_then(|a| a.parse::<std::net::IpAddr>().ok()).map(|ip| ip.is_loopback())
    };
    if !answer.lines().any(|l| loopback(l) == Some(false)) {
        return answer.into();
    }
    answer.lines().filter(|l| loopback(l) != Some(true)).flat_map(|l| [l, "\r\n"]).collect()
}

/// A fragment of a session description (RFC 8840), as `PATCH` brings it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// The ICE user whose candidates these are.
    pub user: Option<String>,
    /// The values of `a=candidate`, beginning with `candidate:`.
    pub candidates: Vec<String>,
}

impl Fragment {
    /// Reads a fragment.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Fragment, String> {
        let mut fragment = Fragment::default();
        for line in text.lines().map(str::trim_end).filter(|l| !l.is_empty()) {
            if line.as_bytes().get(1) != Some(&b'=') {
                return Err(format!("{line:?} is no line of a session description"));
            }
            if let Some(user) = line.strip_prefix("a=ice-ufrag:") {
                fragment.user = Some(user.into());
            } else if line.starts_with("a=candidate:") {
                fragment.candidates.push(line[2..].into());
            }
        }
        if fragment.candidates.len() > 256 {
            return Err("more than 256 candidates".into());
        }
        Ok(fragment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:2\r\na=recvonly\r\na=rtpmap:98 H264/90000\r\n";

    #[test]
    fn one_line_of_each_kind_in_one_direction_is_negotiated() {
        let mut offer = Offer::read(OFFER, Purpose::Publish).unwrap();
        assert!(offer.line(Kind::Video).unwrap().has("vp8"));
        let text = offer.negotiated();
        assert_eq!(text.matches("a=sendonly\r\n").count(), 2, "{text}");
        assert_eq!(text.matches("a=inactive\r\n").count(), 1, "{text}");
        assert!(!text.contains("sendrecv") && !text.contains("recvonly"), "{text}");
        offer.leave_out(Kind::Audio);
        assert!(offer.line(Kind::Audio).is_none());
        assert_eq!(offer.negotiated().matches("a=inactive\r\n").count(), 2);

        let offer = Offer::read(OFFER, Purpose::Play).unwrap();
        assert_eq!(offer.negotiated().matches("a=recvonly\r\n").count(), 2);
        assert!(offer.line(Kind::Video).unwrap().has("VP8"), "the first that receives");
    }

    #[test]
    fn what_is_no_offer_is_refused_with_a_reason() {
        for bad in ["", "hello", "v=0\r\n<html>\r\n", "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"] {
            assert!(Offer::read(bad, Purpose::Publish).is_err(), "{bad:?}");
        }
        let only_received = OFFER.replace("a=mid:0", "a=mid:0\r\na=x").replace("a=sendrecv", "a=recvonly");
        let only_received = only_received.replace("a=mid:1", "a=mid:1\r\na=recvonly");
        let why = Offer::read(&only_received, Purpose::Publish).unwrap_err();
        assert!(why.contains("sent"), "{why}");
        let many = format!("{OFFER}{}", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(40));
        assert!(Offer::read(&many, Purpose::Publish).unwrap_err().contains("32"));
    }

    #[test]
    fn addresses_that_mean_another_machine_are_left_out() {
        let lo = "a=candidate:1 1 udp 2113929471 127.0.0.1 5000 typ host\r\n";
        let net = "a=candidate:2 1 udp 2113929470 192.0.2.1 5000 typ host\r\n";
        assert_eq!(without_loopback(&format!("v=0\r\n{lo}{net}")), format!("v=0\r\n{net}"));
        assert_eq!(without_loopback(lo), lo);
    }

    #[test]
    fn a_fragment_gives_its_candidates() {
        let text = "a=ice-ufrag:abcd\r\na=ice-pwd:efgh\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
            a=candidate:1 1 udp 2113929471 192.0.2.1 5000 typ host\r\na=end-of-candidates\r\n";
        let fragment = Fragment::read(text).unwrap();
        assert_eq!(fragment.user.as_deref(), Some("abcd"));
        assert_eq!(fragment.candidates, ["candidate:1 1 udp 2113929471 192.0.2.1 5000 typ host"]);
        assert!(Fragment::read("{}").is_err());
    }
}
