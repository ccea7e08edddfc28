//! The application's end of frames that it pushes.

use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::link::{Monitor, Overflow, Receiver, Sender, link};
use crate::time::check_time;
use std::time::Duration;

/// Pictures (and pieces of sound, where a push blocks) that wait unless the document says otherwise.
const QUEUE: usize = 4;

/// Sound of a live source that waits: pieces are of any length, so that only their time bounds them (microseconds).
const SOUND: u64 = 500_000;

/// What a piece of sound counts as at least: tiny ones take memory too (microseconds).
const PIECE: u64 = 500;

/// The application's end.
pub(crate) struct FrameFeed {
    sender: Sender<Frame>,
    queue: usize,
    live: bool,
}

/// A feed for frames, and the end that is read. A live one bounds pictures and sound apart, and drops the oldest.
pub(crate) fn feed(queue: u32, live: bool) -> (FrameFeed, Receiver<Frame>) {
    let queue = if queue == 0 { QUEUE } else { queue as usize };
    let sound = if live { (SOUND / PIECE) as usize } else { 0 };
    let (sender, receiver) = link(queue.saturating_add(sound), Overflow::Wait);
    (FrameFeed { sender, queue, live }, receiver)
}

impl FrameFeed {
    /// Hands `frame` over, waiting for room at most `timeout` (`None` = without limit; not at all for a live source). Returns
    /// whether others of its kind were dropped for it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a time that cannot be reckoned with; [`ErrorKind::Busy`] when there was no room in time;
    /// [`ErrorKind::State`] when the job reads no more.
    pub fn push(&self, frame: Frame, timeout: Option<Duration>) -> Result<bool> {
        check_time("frame.pts", frame.pts.unwrap_or(0), frame.duration, frame.base)?;
        let video = frame.is_video();
        let sent = match (self.live, video) {
            (false, _) => self.sender.send_deadline(frame, timeout).map(|()| false),
            (true, true) => {
                self.sender.send_shedding(frame, self.queue as u64, |f| f.is_video().then_some(1))
            }
            (true, false) => {
                self.sender.send_shedding(frame, SOUND, |f| (!f.is_video()).then(|| length(f).max(PIECE)))
            }
        };
        sent.map_err(|_| {
            if self.sender.is_closed() {
                Error::new(ErrorKind::State, "the job reads no more")
            } else {
                Error::new(ErrorKind::Busy, "the frame queue is full")
            }
        })
    }

    /// Watches and closes it.
    pub fn monitor(&self) -> Monitor<Frame> {
        self.sender.monitor()
    }
}

/// How long a piece of sound is (microseconds).
fn length(sound: &Frame) -> u64 {
    u64::from(sound.samples()) * 1_000_000 / u64::from(sound.media().sample_rate().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChannelLayout, PixelFormat, SampleFormat};
    use crate::time::{MICROSECONDS, Rational, TimeBase};
    use ghoststream_sys::ffmpeg as av;

    fn timed(pts: Option<i64>, duration: i64, base: TimeBase) -> Frame {
        let media = av::Frame::alloc_video(PixelFormat::nv12(), 16, 16, 0).unwrap();
        let mut frame = Frame::new(media, base);
        (frame.pts, frame.duration) = (pts, duration);
        frame
    }

    fn picture(pts: i64) -> Frame {
        timed(Some(pts), 0, Rational::new(1, 30))
    }

    fn sound(samples: usize) -> Frame {
        let format = SampleFormat::from_name("s16").unwrap();
        let layout = ChannelLayout::from_channels(1);
        Frame::new(
            av::Frame::alloc_audio(format, 48_000, &layout, samples).unwrap(),
            Rational::new(1, 48_000),
        )
    }

    #[test]
    fn sound_of_a_live_feed_is_bounded_by_its_time_and_not_by_pictures() {
        let (feed, waiting) = feed(0, true);
        let push = |frame| feed.push(frame, None).unwrap();
        (0..3).for_each(|n| assert!(!push(picture(n)), "four may wait"));
        (0..50).for_each(|_| assert!(!push(sound(480)), "half a second"));
        assert!(push(sound(480)) && !push(picture(3)) && push(picture(4)));
        assert_eq!(feed.monitor().stats().dropped, 2);
        let (mut pictures, mut pieces) = (Vec::new(), 0);
        drop(feed);
        while let Some(frame) = waiting.recv() {
            if frame.is_video() { pictures.push(frame.pts.unwrap()) } else { pieces += 1 }
        }
        assert_eq!((pictures, pieces), (vec![1, 2, 3, 4], 50));
    }

    #[test]
    fn pieces_of_no_length_are_bounded_too() {
        let (feed, _waiting) = feed(0, true);
        assert_eq!((0..1500).filter(|_| feed.push(sound(1), None).unwrap()).count(), 500);
    }

    #[test]
    fn times_that_overflow_are_refused() {
        let (feed, _waiting) = feed(0, true);
        for (pts, duration, base) in [
            (i64::MAX, 0, MICROSECONDS),
            (1 << 62, 0, MICROSECONDS),
            (-(1 << 62), 0, MICROSECONDS),
            ((1 << 62) - 1, 1, MICROSECONDS),
            (0, i64::MAX, MICROSECONDS),
            (1 << 50, 0, Rational::new(1, 1)),
        ] {
            let e = feed.push(timed(Some(pts), duration, base), None).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid);
            assert!(e.message().starts_with("frame.pts: "), "{e}");
        }
        assert!(!feed.push(timed(Some((1 << 62) - 1), 0, MICROSECONDS), None).unwrap());
        assert!(!feed.push(timed(None, 0, MICROSECONDS), None).unwrap());
    }
}
