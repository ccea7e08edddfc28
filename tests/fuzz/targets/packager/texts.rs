//! Subtitle texts: what is made of them is WebVTT that reads back as the same cues.

use bytes::Bytes;
use ghoststream::Codec;
use ghoststream::package::webvtt::{
    Cue, ass_payload, file, parse, parse_ass, parse_srt, samples, segment, srt_payload,
};
use ghoststream::packet::Packet;
use ghoststream::time::Rational;

const CODECS: [Codec; 4] = [Codec::WebVtt, Codec::SubRip, Codec::Ass, Codec::MovText];

/// Reads `data` in every format.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = (ass_payload(&text), srt_payload(&text));
    for cues in [parse(&text).unwrap_or_default(), parse_srt(&text), parse_ass(&text)] {
        written(&cues);
    }
    let packet = Packet::new(Bytes::copy_from_slice(data), 1000, 2000, Rational::new(1, 1000));
    for codec in &CODECS {
        if let Ok(Some(cue)) = Cue::from_packet(codec, &packet, 0) {
            written(&[cue]);
        }
    }
}

fn written(cues: &[Cue]) {
    let once = file(cues);
    let read = parse(&once).unwrap_or_else(|e| panic!("{e} in {once:?}"));
    // Times are written in milliseconds, so the first reading may differ from the source; the second may not.
    let twice = file(&read);
    assert_eq!(parse(&twice).ok().as_ref(), Some(&read), "{twice:?}");
    let _ = segment(cues, 0, 4_000_000, 0);
    let _ = samples(cues, 0, 4_000_000, 1000);
}
