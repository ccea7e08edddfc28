//! Key frames alone: a film's pictures in a fraction of the time that all of them take.

use super::failover::PictureDecoder;
use crate::error::Result;
use crate::frame::Frame;
use crate::packet::Packet;
use crate::stage::{Outlet, OutletFn, Stage};
use crate::time::Timestamp;

/// Decodes the key packets and passes over all others. Each frame lasts until the next one, and the last one as long as there
/// are packets, so that what makes a constant rate of them knows what is shown when. A frame goes on when the next is there.
pub struct KeyFrames {
    decoder: PictureDecoder,
    held: Option<Frame>,
    /// Where the packets so far end.
    end: Option<Timestamp>,
}

impl KeyFrames {
    /// `decoder`, which gets no other packets.
    pub fn new(decoder: PictureDecoder) -> Self {
        KeyFrames { decoder, held: None, end: None }
    }
}

/// `frame`, lasting until `end` where that is later than it begins.
fn until(mut frame: Frame, end: Option<Timestamp>) -> Frame {
    let length = end.zip(frame.pts).map(|(end, pts)| end.to(frame.base).ticks.saturating_sub(pts));
    frame.duration = length.filter(|length| *length > 0).unwrap_or(frame.duration);
    frame
}

/// Emits the frame that waits for `next`, which waits then.
fn next(held: &mut Option<Frame>, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
    let time = frame.presentation();
    match held.replace(frame) {
        Some(before) => out.emit(until(before, time)),
        None => Ok(()),
    }
}

impl Stage<Packet, Frame> for KeyFrames {
    fn push(&mut self, packet: Packet, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let time = packet.pts.or(packet.dts);
        let end = time.map(|t| Timestamp::new(t.saturating_add(packet.duration.max(0)), packet.base));
        self.end = self.end.max(end);
        if !packet.key {
            return Ok(());
        }
        let held = &mut self.held;
        self.decoder.push(packet, &mut OutletFn(|frame| next(held, frame, out)))
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let held = &mut self.held;
        self.decoder.finish(&mut OutletFn(|frame| next(held, frame, out)))?;
        match self.held.take() {
            Some(last) => out.emit(until(last, self.end)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;
    use crate::time::Rational;
    use ghoststream_sys::ffmpeg as av;

    const BASE: Rational = Rational::new(1, 25);

    /// A decoder that gives each picture when the next packet comes.
    #[derive(Default)]
    struct Late(Option<Packet>);

    fn decoded(packet: &Packet) -> Frame {
        let media = av::Frame::alloc_video(PixelFormat::gray8(), 16, 16, 0).unwrap();
        let mut frame = Frame::new(media, packet.base);
        (frame.pts, frame.duration) = (packet.pts, packet.duration);
        frame
    }

    impl Stage<Packet, Frame> for Late {
        fn push(&mut self, packet: Packet, out: &mut dyn Outlet<Frame>) -> Result<()> {
            match self.0.replace(packet) {
                Some(before) => out.emit(decoded(&before)),
                None => Ok(()),
            }
        }

        fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
            self.0.take().map_or(Ok(()), |last| out.emit(decoded(&last)))
        }
    }

    #[test]
    fn each_lasts_until_the_next() {
        let mut stage = KeyFrames::new(Box::new(Late::default()));
        let mut out = Vec::new();
        for t in 0..60 {
            let key = [0, 25, 40].contains(&t);
            let packet = Packet { key, ..Packet::new(bytes::Bytes::new(), t, 1, BASE) };
            stage.push(packet, &mut out).unwrap();
        }
        stage.finish(&mut out).unwrap();
        let found: Vec<_> = out.iter().map(|f| (f.pts, f.duration)).collect();
        assert_eq!(found, [(Some(0), 25), (Some(25), 15), (Some(40), 20)]);
    }
}
