//! The live origin's own parsers of what strangers send: RTMP's chunks, tags and values, SRT's stream ids, the look at
//! MPEG-TS, SDP, RTSP (requests, answers, challenges), its RTP and its readers' reports, WebRTC's offers and names, the names and queries
//! of HLS, priorities of HTTP. The first byte says which. Their files are taken as they are, without the server around them, which would
//! have to be built with coverage too.
#![no_main]
#![allow(dead_code)]

// AMF's values are the protocol crate's; here they are `amf`'s.
extern crate self as rtmp_rs;

pub mod amf;

#[path = "../../../../core/server/src/live/rtmp/chunk.rs"]
mod chunk;
#[path = "../../../../core/server/src/live/connections.rs"]
mod connections;
#[path = "../../../../core/server/src/live/rtsp/depacketize.rs"]
mod depacketize;
#[path = "../../../../core/server/src/live/describe.rs"]
mod describe;
#[path = "../../../../core/server/src/live/shown_key.rs"]
mod keys;
#[path = "../../../../core/server/src/locks.rs"]
mod locks;
#[path = "../../../../core/server/src/live/rtsp/message.rs"]
mod message;
#[path = "../../../../core/server/src/live/origin/names.rs"]
mod names;
#[path = "../../../../core/server/src/live/webrtc/offer.rs"]
mod offers;
#[path = "../../../../core/server/src/live/rtsp/parameters.rs"]
mod parameters;
#[path = "../../../../core/server/src/live/rtsp/pictures.rs"]
mod pictures;
#[path = "../../../../core/server/src/priority/header.rs"]
mod priority;
#[path = "../../../../core/server/src/live/rtsp/reports.rs"]
mod reports;
#[path = "../../../../core/server/src/live/rtsp/sdp.rs"]
mod sdp;
#[path = "../../../../core/server/src/live/srt/stream_id.rs"]
mod stream_id;
#[path = "../../../../core/server/src/live/webrtc/stun.rs"]
mod stun;
#[path = "../../../../core/server/src/live/rtmp/tag.rs"]
mod tag;
#[path = "../../../../core/server/src/live/srt/transport.rs"]
mod transports;
#[path = "../../../../core/server/src/live/rtmp/amf.rs"]
mod values;

/// Where they look for each other.
mod live {
    pub(crate) use crate::{connections, describe, keys};
}

use bytes::{Bytes, BytesMut};
use depacketize::Format;
use ghoststream::package::bitstream::nal::Framing;
use ghoststream::packet::{Codec, Packet};
use libfuzzer_sys::fuzz_target;
use names::File;
use offers::{Fragment, Kind, Offer, Purpose, without_loopback};
use pictures::Coding;
use stream_id::Wanted;
use transports::{PACKET, Part, Watch};

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 15 {
        0 => chunks(data),
        1 => video(&Bytes::copy_from_slice(data)),
        2 => {
            if let Ok(tag::Tag::Config(info)) = tag::audio(&Bytes::copy_from_slice(data)) {
                assert!(tag::config_of(&info).is_some());
            }
        }
        3 => {
            if let Ok(read) = values::values(data) {
                let size: usize = read.iter().map(amf::AmfValue::size).sum();
                assert!(size <= data.len(), "more values than bytes");
            }
        }
        4 => {
            if let Ok(wanted) = Wanted::parse(&String::from_utf8_lossy(data)) {
                assert!(!wanted.name.is_empty());
            }
        }
        5 => transport(data),
        6 => requests(data),
        7 => drop(sdp::read(&String::from_utf8_lossy(data))),
        8 => packets(data),
        10 => {
            if let Some(name) = stun::ice_name(data) {
                assert!(data.windows(name.len() + 1).any(|w| w.strip_prefix(name.as_bytes()) == Some(&b":"[..])));
            }
        }
        11 => {
            let text = String::from_utf8_lossy(data);
            let all = parameters::parameters(&text);
            assert!(all.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>() <= 3 * text.len());
        }
        12 => file(&String::from_utf8_lossy(data)),
        13 => urgency(&String::from_utf8_lossy(data)),
        14 => {
            let found = reports::blocks(data);
            assert!(24 * found.len() <= data.len() && found.iter().all(|block| (0.0..1.0).contains(&block.loss)));
        }
        _ => offer(&String::from_utf8_lossy(data)),
    }
});

/// Chunks in pieces are the messages that they are at once.
fn chunks(data: &[u8]) {
    let read = |piece: usize| {
        let (mut decoder, mut have, mut all) = (chunk::Decoder::new(), BytesMut::new(), Vec::new());
        for part in data.chunks(piece) {
            have.extend_from_slice(part);
            loop {
                match decoder.next(&mut have) {
                    Ok(Some(message)) => {
                        // As a session obeys it.
                        if let (1, Some(size)) = (message.kind, message.payload.first_chunk()) {
                            let _refused = decoder.set_size(u32::from_be_bytes(*size));
                        } else if let (2, Some(lane)) = (message.kind, message.payload.first_chunk()) {
                            decoder.abort(u32::from_be_bytes(*lane));
                        }
                        all.push(message);
                    }
                    Ok(None) => break,
                    Err(e) => return (all, Some(e)),
                }
            }
        }
        (all, None)
    };
    assert_eq!(read(data.len().max(1)), read(17));
}

/// RTSP in pieces is what it is at once.
fn requests(data: &[u8]) {
    let read = |piece: usize| {
        let (mut have, mut all) = (BytesMut::new(), Vec::new());
        for part in data.chunks(piece) {
            have.extend_from_slice(part);
            loop {
                match message::next(&mut have) {
                    Ok(Some(input)) => all.push(input),
                    Ok(None) => break,
                    Err(e) => return (all, Some(e)),
                }
            }
        }
        (all, None)
    };
    let (whole, failed) = read(data.len().max(1));
    let (pieces, _) = read(13);
    assert!(failed.is_some() || whole == pieces);
}

/// A name that is understood is the one name of its file.
fn file(name: &str) {
    if let Some(token) = File::token(name)
        && let Some((rendition, file)) = File::parse(name, token)
    {
        assert_eq!(file.name(rendition, token), name);
    }
}

/// RTP, each packet behind a byte of length: pictures are units behind their lengths, and no more than came. What is sent of a
/// picture is read again.
fn packets(data: &[u8]) {
    let Some((kind, mut rest)) = data.split_first() else { return };
    let format = match kind % 8 {
        0 => Format::H264 { sets: Vec::new() },
        1 => Format::H265 { sets: Vec::new() },
        2 => Format::Aac { config: Vec::new(), samples: 1024, bits: Some((13, 3, 3)) },
        4 => Format::Aac { config: Vec::new(), samples: 1024, bits: None },
        5 => Format::Pictures(Coding::Vp8),
        6 => Format::Pictures(Coding::Vp9),
        7 => Format::Pictures(Coding::Av1),
        _ => Format::Opus,
    };
    let mut depacketizer = depacketize::Depacketizer::new(&format);
    while let Some((length, behind)) = rest.split_first() {
        let (packet, next) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = next;
        let Some(rtp) = depacketize::Rtp::read(&Bytes::copy_from_slice(packet)) else { continue };
        for frame in depacketizer.push(&rtp) {
            assert!(!frame.data.is_empty() && frame.data.len() <= 4 * data.len());
            match &format {
                Format::Pictures(coding) => again(*coding, &frame),
                format if format.is_video() => {
                    assert!(Framing::Length(4).units(&frame.data).is_ok());
                }
                _ => {}
            }
        }
    }
}

/// A picture in packets is the picture.
fn again(coding: Coding, frame: &depacketize::Frame) {
    let mut depacketizer = depacketize::Depacketizer::new(&Format::Pictures(coding));
    let payloads = pictures::payloads(coding, &frame.data, frame.key, 7, &[], 200);
    let count = payloads.len();
    let mut found = Vec::new();
    for (sequence, payload) in (0..).zip(payloads) {
        assert!(payload.len() <= 203);
        let marker = usize::from(sequence) + 1 == count;
        let rtp = depacketize::Rtp { sequence, timestamp: frame.timestamp, marker, payload: payload.into() };
        found.extend(depacketizer.push(&rtp));
    }
    // AV1 may have said its sizes in more bytes than they need, or have units that are not sent.
    if coding == Coding::Av1 {
        assert!(found.len() <= 1);
    } else {
        assert_eq!(found, [frame.clone()]);
    }
}

fn video(body: &Bytes) {
    let _described = tag::in_band(body);
    match tag::video(body) {
        Ok(tag::Tag::Config(info)) => {
            let _same = describe::changed(&info, body);
            assert!(tag::config_of(&info).is_some());
        }
        Ok(tag::Tag::Frame { data, key, composition }) => {
            let mut packet = Packet::new(data.clone(), composition.into(), 0, tag::MS);
            (packet.dts, packet.key) = (Some(0), key);
            let Ok(tag::Tag::Frame { data: again, .. }) = tag::video(&tag::frame_of(&Codec::H264, &packet))
            else {
                panic!("what is written is not read")
            };
            assert_eq!(again, data);
        }
        _ => {}
    }
}

/// A priority is one that can be said, and is the same in one header as in several.
fn urgency(text: &str) {
    let said = priority::Priority::read([text].into_iter());
    assert!(said.urgency <= 7);
    assert_eq!(priority::Priority::read(text.split(',')), said);
    let again = format!("u={}, i=?{}", said.urgency, u8::from(said.incremental));
    assert_eq!(priority::Priority::read([again.as_str()].into_iter()), said);
}

/// Packets are whole and none is made up.
fn transport(data: &[u8]) {
    let mut watch = Watch::default();
    for message in data.chunks(1316) {
        let Ok(parts) = watch.take(message) else { return };
        for part in parts {
            if let Part::Packets(packets) = part {
                assert!(!packets.is_empty() && packets.len() % PACKET == 0);
                assert!(packets.chunks(PACKET).all(|p| p.first() == Some(&0x47)));
            }
        }
    }
}

fn offer(text: &str) {
    let _without = without_loopback(text);
    let _fragment = Fragment::read(text);
    for purpose in [Purpose::Publish, Purpose::Play] {
        if let Ok(mut offer) = Offer::read(text, purpose) {
            let _sound = offer.line(Kind::Audio).is_some();
            offer.leave_out(Kind::Audio);
            let _negotiated = offer.negotiated();
        }
    }
}
