//! Which tracks of a stream a WebRTC client can be given, and why not the others.

use super::format::ToRtp;
use super::offer::{Kind, Offer};
use crate::live::stream::{Item, Start, Stream, Tracks};
use ghoststream::packet::{Codec, MediaKind, Packet, StreamInfo};
use ghoststream::time::{MICROSECONDS, Rounding, rescale};

/// What of a stream goes to a client. Each is the track that does, `None` when the client or the stream has none of the
/// kind, or the reason why it cannot.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The pictures.
    pub video: Result<Option<usize>, String>,
    /// The sound.
    pub audio: Result<Option<usize>, String>,
}

impl Fit {
    /// Whether the client gets everything of the stream that it asked for.
    pub fn is_whole(&self) -> bool {
        self.video.is_ok() && self.audio.is_ok()
    }
}

/// The packets that are kept of `stream` for those who come.
pub fn group(stream: &Stream) -> Vec<Packet> {
    let mut reader = stream.subscribe(Start::Group);
    let packets = std::iter::from_fn(|| reader.try_next()).filter_map(|item| match item {
        Item::Packet(packet) => Some(packet),
        _ => None,
    });
    packets.collect()
}

/// What fits to `offer`.
pub fn fit(tracks: &Tracks, group: &[Packet], offer: &Offer) -> Fit {
    let of = |kind: MediaKind, line: Kind| {
        let Some(line) = offer.line(line) else { return Ok(None) };
        let mut why = None;
        for (index, info) in tracks.streams.iter().enumerate().filter(|(_, s)| s.kind == kind) {
            let refused = match rtp_name(&info.codec) {
                None => Some(format!("{} is not played by WebRTC clients", info.codec)),
                Some(name) if !line.has(name) => Some(format!("the offer has no {name}")),
                Some(_) => reordered(index, info, group)
                    .then(|| {
                        format!(
                            "{} with B-frames is not played by WebRTC clients; a transcoded rung without them is needed",
                            info.codec
                        )
                    })
                    .or_else(|| ToRtp::new(info).err().map(|e| e.to_string())),
            };
            match refused {
                None => return Ok(Some(index)),
                Some(refused) => {
                    why.get_or_insert(refused);
                }
            }
        }
        why.map_or(Ok(None), Err)
    };
    Fit { video: of(MediaKind::Video, Kind::Video), audio: of(MediaKind::Audio, Kind::Audio) }
}

/// What a codec is called in session descriptions, if it is one of WebRTC's.
pub fn rtp_name(codec: &Codec) -> Option<&'static str> {
    match codec {
        Codec::H264 => Some("H264"),
        Codec::Vp8 => Some("VP8"),
        Codec::Vp9 => Some("VP9"),
        Codec::Av1 => Some("AV1"),
        Codec::Opus => Some("opus"),
        _ => None,
    }
}

/// Whether pictures of the track are shown in another order than they are sent in. What they are says more than what their
/// headers allow.
fn reordered(index: usize, info: &StreamInfo, group: &[Packet]) -> bool {
    let pictures = || group.iter().filter(|p| p.stream == index);
    let mut order = Order::default();
    if pictures().any(|p| order.steps_back(p)) {
        return true;
    }
    let mut delays = pictures().filter_map(|p| Some(p.pts? - p.dts?));
    match (delays.next(), delays.next()) {
        (Some(first), Some(second)) if first == second && delays.all(|d| d == first) => false,
        _ => info.video.as_ref().is_some_and(|v| v.reorder > 0),
    }
}

/// Watches whether the pictures of a track come in the order in which they are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Order(Option<i64>);

impl Order {
    /// Whether this picture is shown before one that came before it.
    pub fn steps_back(&mut self, packet: &Packet) -> bool {
        let Some(pts) = packet.pts else { return false };
        let pts = rescale(pts, packet.base, MICROSECONDS, Rounding::Nearest);
        let back = !packet.key && self.0.is_some_and(|last| pts < last);
        self.0 = Some(pts);
        back
    }
}

#[cfg(test)]
mod tests {
    use super::super::offer::Purpose;
    use super::*;
    use bytes::Bytes;
    use ghoststream::time::Rational;

    const OFFER: &str = "v=0\r\nm=audio 9 RTP 1\r\na=rtpmap:1 opus/48000/2\r\nm=video 9 RTP 2\r\na=rtpmap:2 VP8/90000\r\n\
        a=rtpmap:3 H264/90000\r\n";

    fn tracks(codecs: &[Codec]) -> Tracks {
        let of = |c: &Codec| StreamInfo::new(c.kind().unwrap(), c.clone(), Rational::new(1, 1000));
        Tracks { version: 1, streams: codecs.iter().map(of).collect() }
    }

    fn shown_at(pts: &[i64]) -> Vec<Packet> {
        let packet = |(n, pts): (usize, &i64)| {
            let mut packet = Packet::new(Bytes::new(), *pts, 0, Rational::new(1, 1000));
            packet.key = n == 0;
            packet
        };
        pts.iter().enumerate().map(packet).collect()
    }

    #[test]
    fn the_first_track_that_the_client_plays_is_taken_and_the_reason_is_told() {
        let offer = Offer::read(OFFER, Purpose::Play).unwrap();
        let got = fit(&tracks(&[Codec::Hevc, Codec::Vp8, Codec::Opus]), &[], &offer);
        assert_eq!((got.video, got.audio), (Ok(Some(1)), Ok(Some(2))));
        let got = fit(&tracks(&[Codec::Hevc, Codec::Aac]), &[], &offer);
        assert!(got.video.unwrap_err().contains("hevc"));
        assert!(got.audio.unwrap_err().contains("aac"));
        let got = fit(&tracks(&[Codec::Av1]), &[], &offer);
        assert!(got.video.unwrap_err().contains("no AV1"));
        assert_eq!(got.audio, Ok(None));
    }

    #[test]
    fn pictures_out_of_order_do_not_fit() {
        let offer = Offer::read(OFFER, Purpose::Play).unwrap();
        let vp8 = tracks(&[Codec::Vp8]);
        assert!(fit(&vp8, &shown_at(&[0, 40, 80, 120]), &offer).is_whole());
        let why = fit(&vp8, &shown_at(&[0, 120, 40, 80]), &offer).video.unwrap_err();
        assert!(why.contains("B-frames"), "{why}");
        // Where nothing was seen, the header decides.
        let mut may = vp8.clone();
        let base = Rational::new(1, 1000);
        may.streams[0] =
            crate::live::describe::vp8_from_key(&[0x10, 0, 0, 0x9d, 1, 0x2a, 64, 1, 180, 0], base).unwrap();
        assert!(fit(&may, &[], &offer).is_whole());
        may.streams[0].video.as_mut().unwrap().reorder = 2;
        assert!(!fit(&may, &[], &offer).is_whole());
        assert!(fit(&may, &shown_at(&[0, 40, 80]), &offer).is_whole(), "what was seen decides");
    }
}
