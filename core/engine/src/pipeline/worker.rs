//! The threads between source and sink: decoders, filter chains and encoders. Each runs one chain of stages, measures
//! it, and hands what comes out to the next thread.

use crate::encode::{Encoder, KeyGrid};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::Download;
use crate::frame::Frame;
use crate::job::shared::{Meter, Shared, TrackMeter};
use crate::link::{Received, Receiver, Sender};
use crate::packet::{Packet, StreamInfo};
use crate::stage::{Control, Outlet, OutletFn, Stage};
use crate::time::Timestamp;
use std::sync::Arc;

/// A chain of frame stages in one thread.
pub(crate) type Chain = Vec<Box<dyn Stage<Frame, Frame>>>;

/// What a mux thread is told.
pub(crate) enum ToMux {
    /// The track's encoder is open.
    Stream(usize, Box<StreamInfo>),
    /// A packet of the track.
    Packet(usize, Packet),
    /// The track will soon be encoded no more.
    Leaving(usize),
    /// The track's encoder has ended; nothing of it is shown at this time or later.
    Left(usize, Timestamp),
    /// The track is complete.
    End(usize),
    /// The track failed; the output with it.
    Failed(Error),
}

/// Pushes `frame` through `stages` into `out`.
pub(crate) fn push_through(
    stages: &mut [Box<dyn Stage<Frame, Frame>>],
    frame: Frame,
    out: &mut dyn Outlet<Frame>,
) -> Result<()> {
    match stages.split_first_mut() {
        None => out.emit(frame),
        Some((first, rest)) => first.push(frame, &mut OutletFn(|f| push_through(rest, f, out))),
    }
}

/// Drains `stages`, first to last, into `out`.
pub(crate) fn finish_through(
    stages: &mut [Box<dyn Stage<Frame, Frame>>],
    out: &mut dyn Outlet<Frame>,
) -> Result<()> {
    if let Some((first, rest)) = stages.split_first_mut() {
        first.finish(&mut OutletFn(|f| push_through(rest, f, out)))?;
        finish_through(rest, out)?;
    }
    Ok(())
}

/// One end that a decoder or a frame source feeds.
pub(crate) struct Branch {
    pub to: Sender<Frame>,
    /// Whether frames on a device are downloaded for it.
    pub host: bool,
}

/// The ends that a decoder or a frame source feeds. An end whose reader is gone is forgotten.
pub(crate) struct Tee {
    outs: Vec<Branch>,
}

impl Tee {
    pub fn new(outs: Vec<Branch>) -> Self {
        Tee { outs }
    }

    /// Whether all want frames on the host.
    pub fn is_host(&self) -> bool {
        self.outs.iter().all(|b| b.host)
    }

    /// `frame` for everyone: downloaded, once for all who want it on the host.
    pub fn fetched(&self, frame: Frame) -> Result<Fetched> {
        let host = match self.outs.iter().any(|b| b.host) {
            true => Some(Download::one(frame.clone())?),
            false => None,
        };
        Ok(Fetched { frame, host })
    }

    /// As [`Tee::fetched`] and [`Tee::hand_on`].
    pub fn send(&mut self, frame: Frame) -> Result<()> {
        let fetched = self.fetched(frame)?;
        self.hand_on(&fetched)
    }

    /// Hands a frame to everyone; [`ErrorKind::Cancelled`] when nobody is left.
    pub fn hand_on(&mut self, Fetched { frame, host }: &Fetched) -> Result<()> {
        self.outs.retain(|b| {
            let frame = host.as_ref().filter(|_| b.host).unwrap_or(frame);
            b.to.send(frame.clone()).is_ok()
        });
        if self.outs.is_empty() { Err(Error::cancelled()) } else { Ok(()) }
    }
}

/// A frame as the ends of a [`Tee`] want it.
pub(crate) struct Fetched {
    frame: Frame,
    host: Option<Frame>,
}

/// Runs a stage and returns what it emitted, counting items and the time it took.
fn measured<T>(
    shared: &Shared,
    meter: &Meter,
    run: impl FnOnce(&mut Vec<T>) -> Result<()>,
) -> (Vec<T>, Result<()>) {
    let mut out = Vec::new();
    let start = shared.clock.now();
    let result = run(&mut out);
    meter.busy(shared.clock.now().saturating_sub(start));
    meter.count_out(out.len() as u64);
    (out, result)
}

/// Whether an error only says that downstream wants no more.
fn is_end(e: &Error) -> bool {
    e.kind() == ErrorKind::Cancelled
}

/// The body of a decoder's thread: packets in, trimmed frames out to every branch. The branches stay the caller's: who
/// sees their end before a failure is known takes it for the end of the film.
pub(crate) fn decode(
    shared: &Shared,
    meter: &Meter,
    input: Receiver<Packet>,
    mut decoder: Box<dyn Stage<Packet, Frame>>,
    mut chain: Chain,
    tee: &mut Tee,
) -> Result<()> {
    loop {
        let packet = input.recv();
        let last = packet.is_none();
        if last && shared.is_cancelled() {
            return Ok(());
        }
        // A paused job lets go of the machine at once; what is queued waits.
        shared.pass_gate();
        let mut over = last;
        let (frames, result) = measured(shared, meter, |out: &mut Vec<Fetched>| {
            // The decoder hears of frames that cannot be read.
            let mut fetch = OutletFn(|f: Frame| -> Result<()> {
                out.push(tee.fetched(f)?);
                Ok(())
            });
            match packet {
                Some(packet) => {
                    meter.count_in();
                    decoder.push(packet, &mut OutletFn(|f| push_through(&mut chain, f, &mut fetch)))?;
                    // Behind the end of what is wanted nothing is read.
                    over = chain.iter().any(|stage| stage.is_done());
                    if over { finish_through(&mut chain, &mut fetch) } else { Ok(()) }
                }
                None => {
                    decoder.finish(&mut OutletFn(|f| push_through(&mut chain, f, &mut fetch)))?;
                    finish_through(&mut chain, &mut fetch)
                }
            }
        });
        for frame in frames {
            match tee.hand_on(&frame) {
                Err(e) if is_end(&e) => return Ok(()),
                sent => sent?,
            }
        }
        match result {
            Ok(()) if over => return Ok(()),
            Ok(()) => {}
            Err(e) if is_end(&e) => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}

/// The body of a ladder's scaling thread: frames in, every rung's frames out. The ends stay the caller's, as those of
/// [`decode`] do.
pub(crate) fn fan_out(
    shared: &Shared,
    meter: &Meter,
    input: Receiver<Frame>,
    mut chain: Chain,
    mut scale: Box<dyn Stage<Frame, (usize, Frame)>>,
    outs: &mut [Option<Sender<Frame>>],
) -> Result<()> {
    loop {
        let frame = input.recv();
        let last = frame.is_none();
        if last && shared.is_cancelled() {
            return Ok(());
        }
        let (rungs, result) = measured(shared, meter, |out: &mut Vec<(usize, Frame)>| {
            let mut to_scale = OutletFn(|f| scale.push(f, out));
            match frame {
                Some(frame) => {
                    meter.count_in();
                    push_through(&mut chain, frame, &mut to_scale)
                }
                None => {
                    finish_through(&mut chain, &mut to_scale)?;
                    scale.finish(out)
                }
            }
        });
        for (rung, frame) in rungs {
            if let Some(slot) = outs.get_mut(rung)
                && slot.as_ref().is_some_and(|out| out.send(frame).is_err())
            {
                *slot = None;
            }
        }
        result?;
        if last || outs.iter().all(Option::is_none) {
            return Ok(());
        }
    }
}

/// Where an encoder's packets go.
pub(crate) struct ToTrack {
    pub mux: Sender<ToMux>,
    pub track: usize,
    pub meter: Arc<TrackMeter>,
}

/// Frames of one track: those of its head start, then those of the job that come after them.
pub(crate) struct TrackFrames {
    lead: Option<Receiver<Frame>>,
    main: Receiver<Frame>,
    reached: Option<Timestamp>,
}

impl TrackFrames {
    pub fn new(lead: Option<Receiver<Frame>>, main: Receiver<Frame>) -> Self {
        TrackFrames { lead, main, reached: None }
    }

    /// What makes [`TrackFrames::next`] say [`Next::Look`].
    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let lead = self.lead.as_ref().map(Receiver::monitor);
        let main = self.main.monitor();
        Arc::new(move || {
            if let Some(lead) = &lead {
                lead.poke();
            }
            main.poke();
        })
    }

    fn next(&mut self) -> Next {
        if let Some(lead) = &self.lead {
            match lead.recv_or_poke() {
                Some(Received::Item(frame)) => {
                    self.reached = frame.presentation();
                    return Next::Frame(frame);
                }
                None => return Next::Look,
                Some(_) => self.lead = None,
            }
        }
        loop {
            let frame = match self.main.recv_or_poke() {
                Some(Received::Item(frame)) => frame,
                None => return Next::Look,
                Some(_) => return Next::End,
            };
            if self.reached.is_none_or(|reached| frame.presentation().is_none_or(|t| t > reached)) {
                return Next::Frame(frame);
            }
        }
    }
}

/// What an encoder's thread has to do next.
enum Next {
    /// Encode a frame.
    Frame(Frame),
    /// Fetch packets that the encoder has made meanwhile.
    Look,
    /// Drain the encoder.
    End,
}

/// Which pictures an encoder gets that makes only some of the segments: those of segments `first` to `end`, and one more,
/// which is a key frame and says where the last segment ends.
pub(crate) struct Cut {
    pub grid: KeyGrid,
    pub first: i64,
    pub end: Option<i64>,
    pub over: bool,
}

impl Cut {
    fn takes(&mut self, frame: &Frame) -> bool {
        let Some(time) = frame.presentation().filter(|_| !self.over) else { return !self.over };
        let segment = self.grid.segment(time);
        self.over = self.end.is_some_and(|end| segment >= end);
        segment >= self.first
    }
}

/// Everyone who gets an encoder's packets. An output that is gone is forgotten; the others go on.
struct Ends(Vec<ToTrack>);

impl Ends {
    /// Hands `message` to everyone; `false` when nobody is left.
    fn send(&mut self, message: impl Fn(usize) -> ToMux) -> bool {
        self.0.retain(|to| to.mux.send(message(to.track)).is_ok());
        !self.0.is_empty()
    }
}

/// The body of an encoder's thread: frames in, the track's packets out to every output that has it. A failure becomes
/// the outputs', not the job's.
pub(crate) fn encode(
    shared: &Shared,
    meter: &Meter,
    input: TrackFrames,
    chain: Chain,
    cut: Option<Cut>,
    encoder: Box<dyn Encoder>,
    outs: Vec<ToTrack>,
) {
    let mut ends = Ends(outs);
    if let Err(e) = encode_track(shared, meter, input, chain, cut, encoder, &mut ends) {
        for to in ends.0 {
            let failed = e.clone().context(&to.meter.name);
            let _closed_when_the_output_is_gone = to.mux.send(ToMux::Failed(failed));
        }
    }
}

/// When an encoder that is told to leave may do so: a key frame this long after the newest frame that it has. Encoders of
/// the same ladder are fed in step up to the few frames that wait before each, so none of them is as far as that.
const LEAVE_AFTER_SECONDS: f64 = 2.0;

/// Hands a change to whom it concerns: a size or a rate to the encoder, which may refuse, and then to the track's scaler or
/// to what paces it. `ends`: who gets the packets.
fn change(
    shared: &Shared,
    chain: &mut Chain,
    encoder: &mut dyn Encoder,
    control: &Control,
    ends: &[ToTrack],
) -> Result<()> {
    match control {
        Control::Size { .. } => {
            if let Some(why) = ends.iter().find_map(|to| to.meter.fixed_size.as_deref()) {
                return Err(Error::unsupported(why));
            }
            let Some(scaler) = chain.iter_mut().find(|stage| stage.resizes()) else {
                return Err(Error::unsupported(
                    "a rung that is scaled together with others, or where the size cannot change, keeps its size",
                ));
            };
            encoder.control(control)?;
            scaler.control(control)
        }
        Control::FrameRate(rate) => {
            let paced = chain.iter().any(|stage| stage.paces());
            let counted = paced && (ends.iter().any(|to| to.meter.one_base) || !encoder.changes_base());
            let base = encoder.stream().map(|s| s.time_base).filter(|_| counted);
            if let Some(base) = base.filter(|base| rate.as_f64() * base.as_f64() > 1.0 + 1e-9) {
                let most = base.inverse().as_f64();
                return Err(Error::unsupported(format!(
                    "its times are counted in 1/{most:.0} s, so that it has at most {most:.0} frames a second"
                )));
            }
            encoder.control(control)?;
            chain.iter_mut().filter(|stage| stage.paces()).try_for_each(|stage| stage.control(control))?;
            shared.pace_screen(*rate);
            Ok(())
        }
        _ => encoder.control(control),
    }
}

fn encode_track(
    shared: &Shared,
    meter: &Meter,
    mut input: TrackFrames,
    mut chain: Chain,
    mut cut: Option<Cut>,
    mut encoder: Box<dyn Encoder>,
    ends: &mut Ends,
) -> Result<()> {
    let mut announced = false;
    let mut newest: Option<Timestamp> = None;
    let mut leaves: Option<Timestamp> = None;
    encoder.wake(input.waker());
    loop {
        // Some encoders know what they make before the first frame: nobody need wait for that.
        if !announced && let Some(stream) = encoder.stream() {
            announced = true;
            if !ends.send(|track| ToMux::Stream(track, Box::new(stream.clone()))) {
                return Ok(());
            }
        }
        let next = input.next();
        let mut last = matches!(next, Next::End);
        if last && shared.is_cancelled() {
            ends.send(ToMux::End);
            return Ok(());
        }
        for to in &ends.0 {
            for control in to.meter.take_controls() {
                if control == Control::Leave {
                    if leaves.is_none() && to.mux.send(ToMux::Leaving(to.track)).is_ok() {
                        let now = newest.map_or(0.0, Timestamp::seconds);
                        leaves = Some(Timestamp::from_seconds(now + LEAVE_AFTER_SECONDS));
                    }
                } else if let Err(e) = change(shared, &mut chain, &mut *encoder, &control, &ends.0) {
                    shared.warn("control", format!("{}: {e}", to.meter.name));
                }
            }
        }
        let (packets, result) = measured(shared, meter, |out| {
            let mut push = |f: Frame| {
                if cut.as_mut().is_none_or(|cut| cut.takes(&f)) { encoder.push(f, out) } else { Ok(()) }
            };
            match next {
                Next::Frame(frame) => {
                    meter.count_in();
                    newest = frame.presentation().or(newest);
                    push_through(&mut chain, frame, &mut OutletFn(push))?;
                }
                Next::Look => return encoder.poll(out),
                Next::End => finish_through(&mut chain, &mut OutletFn(&mut push))?,
            }
            last |= cut.as_ref().is_some_and(|cut| cut.over);
            if last { encoder.finish(out) } else { Ok(()) }
        });
        if !announced && let Some(stream) = encoder.stream() {
            announced = true;
            if !ends.send(|track| ToMux::Stream(track, Box::new(stream.clone()))) {
                return Ok(());
            }
        }
        for packet in packets {
            // Groups of pictures are closed: whatever follows a key packet is shown after it.
            if let (true, Some(from), Some(at)) = (packet.key, leaves, packet.presentation())
                && at >= from
            {
                ends.send(|track| ToMux::Left(track, at));
                return Ok(());
            }
            if !ends.send(|track| ToMux::Packet(track, packet.clone())) {
                return Ok(());
            }
        }
        result?;
        if last {
            ends.send(ToMux::End);
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Repace;
    use crate::source::screen::Counts;
    use crate::time::{Rational, SystemClock};

    /// An encoder that takes another rate or does not.
    struct Refuses(bool);

    impl Stage<Frame, Packet> for Refuses {
        fn push(&mut self, _: Frame, _: &mut dyn Outlet<Packet>) -> Result<()> {
            Ok(())
        }

        fn finish(&mut self, _: &mut dyn Outlet<Packet>) -> Result<()> {
            Ok(())
        }

        fn control(&mut self, control: &Control) -> Result<()> {
            if self.0 { Err(Error::unsupported(format!("cannot {control}"))) } else { Ok(()) }
        }
    }

    impl Encoder for Refuses {
        fn stream(&self) -> Option<&StreamInfo> {
            None
        }

        fn description(&self) -> String {
            "refuses".into()
        }
    }

    #[test]
    fn a_screen_is_paced_anew_only_by_a_rate_that_its_only_encoder_takes() {
        let rate = Rational::new(50, 1);
        for (refuses, tracks, paced) in [(true, 1, None), (false, 2, None), (false, 1, Some(rate))] {
            let shared = Shared::new(1, "j".into(), true, Arc::new(SystemClock::default()));
            let counts = Arc::new(Counts::default());
            shared.meter("screen").watch_screen(counts.clone());
            for output in 0..tracks {
                let meter = TrackMeter::new(output, "v".into(), true, true, true, None);
                crate::job::shared::lock(&shared.tracks).push(Arc::new(meter));
            }
            let mut chain: Chain = vec![Box::new(Repace::new())];
            let result = change(&shared, &mut chain, &mut Refuses(refuses), &Control::FrameRate(rate), &[]);
            assert_eq!(result.is_err(), refuses);
            assert_eq!(counts.paced(), paced, "{refuses} {tracks}");
        }
    }
}
