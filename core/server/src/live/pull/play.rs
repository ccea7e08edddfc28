//! An engine's job whose packets are published.

use crate::live::describe;
use crate::live::registry::{Publication, Superseded};
use ghoststream::event::{Event, Next, Outcome};
use ghoststream::job::Taken;
use ghoststream::packet::{Packet, StreamInfo};
use ghoststream::spec::PipelineSpec;
use ghoststream::time::{MICROSECONDS, Rounding, rescale};
use ghoststream::{ErrorKind, Job, Pipeline, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Puts the sources of one stream one behind the other: time goes on as the clock on the wall does.
pub(in crate::live) struct Clock {
    began: Instant,
    /// The latest time given, in microseconds.
    latest: i64,
}

impl Clock {
    pub fn new() -> Clock {
        Clock { began: Instant::now(), latest: -1 }
    }

    /// What is to be added to the times of a source whose first packet, which came `age` ago, is at `first` (microseconds).
    fn offset(&self, first: i64, age: Duration) -> i64 {
        let now = i64::try_from(self.began.elapsed().saturating_sub(age).as_micros()).unwrap_or(i64::MAX);
        now.max(self.latest + 1) - first
    }
}

/// A job that plays.
pub(in crate::live) struct Play {
    job: Arc<Job>,
    streams: Option<Vec<StreamInfo>>,
    announced: bool,
    /// The packet that showed that it has begun.
    first: Option<Packet>,
    offset: Option<i64>,
    /// Since when it is fed with what comes: its first packet is as old as that when it is known what it is.
    fed: Option<Instant>,
    /// Whether its source may be a film that would come as fast as it can be fetched.
    fetched: bool,
    /// Of a film: when its first packet was given, and the time of that in microseconds.
    pace: Option<(Instant, i64)>,
    end: Option<End>,
}

/// How a job ended.
#[derive(Clone)]
pub(in crate::live) struct End {
    pub why: String,
    pub kind: Option<ErrorKind>,
}

/// What a moment brought.
pub(in crate::live) enum Step {
    /// A packet.
    Packet,
    /// Nothing in time.
    Nothing,
    /// The end.
    Ended { why: String, kind: Option<ErrorKind> },
}

impl Play {
    pub fn start(document: PipelineSpec) -> Result<Play> {
        let http = |url: &String| url.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
        let fetched = !document.source.realtime && document.source.url.as_ref().is_some_and(http);
        let job = Arc::new(Pipeline::from_spec(document)?.start().job()?);
        Ok(Play {
            job,
            streams: None,
            announced: false,
            first: None,
            offset: None,
            fed: None,
            fetched,
            pace: None,
            end: None,
        })
    }

    /// A job whose source is given what comes from now on, as it comes.
    pub fn fed(document: PipelineSpec) -> Result<Play> {
        Ok(Play { fed: Some(Instant::now()), ..Play::start(document)? })
    }

    /// The job, for who feeds it.
    pub fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// Whether something of it was published.
    pub fn has_played(&self) -> bool {
        self.announced
    }

    /// Whether what is fetched is a film and not live: its length is known. Asked when it is ready.
    pub fn is_recorded(&self) -> bool {
        self.fetched && self.job.duration().is_some_and(|seconds| seconds > 0.0)
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<End> {
        self.end.clone()
    }

    /// Whether its first packet is there; waits at most `timeout`.
    pub fn is_ready(&mut self, timeout: Duration) -> bool {
        if self.first.is_some() || self.announced {
            return true;
        }
        if self.end.is_some() {
            return false;
        }
        if self.streams.is_none() {
            match self.job.streams(0, Some(timeout)) {
                Ok(Some(streams)) => self.streams = Some(streams),
                Ok(None) => {
                    if self.job.state() == ghoststream::event::State::Finished {
                        self.note_end();
                    }
                    return false;
                }
                Err(_) => {
                    self.note_end();
                    return false;
                }
            }
        }
        match self.job.next_packet(0, Some(timeout)) {
            Ok(Taken::Item(packet)) => self.first = Some(packet),
            Ok(Taken::Timeout) => {}
            Ok(Taken::End) | Err(_) => self.note_end(),
        }
        self.first.is_some()
    }

    /// Publishes what comes within `timeout`.
    ///
    /// # Errors
    /// [`Superseded`]: it may not publish any more.
    pub fn step(
        &mut self,
        publication: &Publication,
        clock: &mut Clock,
        timeout: Duration,
    ) -> std::result::Result<Step, Superseded> {
        publication.check()?;
        if let Some(End { why, kind }) = self.end.clone() {
            return Ok(Step::Ended { why, kind });
        }
        if !self.is_ready(timeout) {
            return Ok(Step::Nothing);
        }
        if !self.announced
            && let Some(streams) = self.streams.clone()
        {
            publication.announce(streams)?;
            self.announced = true;
        }
        let packet = match self.first.take() {
            Some(packet) => packet,
            None => match self.job.next_packet(0, Some(timeout)) {
                Ok(Taken::Item(packet)) => packet,
                Ok(Taken::Timeout) => return Ok(Step::Nothing),
                Ok(Taken::End) | Err(_) => {
                    self.note_end();
                    return Ok(Step::Nothing);
                }
            },
        };
        let early = self.early(&packet);
        if early > timeout {
            self.first = Some(packet);
            std::thread::sleep(timeout);
            return Ok(Step::Nothing);
        }
        std::thread::sleep(early);
        self.look_into(&packet, publication)?;
        let age = match self.offset {
            None => self.fed.map_or(Duration::ZERO, |since| since.elapsed()),
            Some(_) => Duration::ZERO,
        };
        publication.push_aged(self.dated(packet, clock, age), age)?;
        Ok(Step::Packet)
    }

    /// How long a packet of a film is too early: it is played at its own speed, as a camera would send it.
    fn early(&mut self, packet: &Packet) -> Duration {
        let Some(time) = packet.dts.or(packet.pts) else { return Duration::ZERO };
        if self.pace.is_none() && !self.is_recorded() {
            return Duration::ZERO;
        }
        let time = rescale(time, packet.base, MICROSECONDS, Rounding::Nearest);
        let (began, first) = *self.pace.get_or_insert((Instant::now(), time));
        let due = Duration::from_micros(u64::try_from(time.saturating_sub(first)).unwrap_or(0));
        due.saturating_sub(began.elapsed())
    }

    /// Announces the pictures anew when a key frame brings other parameter sets, as transport streams do it.
    fn look_into(
        &mut self,
        packet: &Packet,
        publication: &Publication,
    ) -> std::result::Result<(), Superseded> {
        let Some(streams) = self.streams.as_mut().filter(|_| packet.key) else { return Ok(()) };
        let Some(info) = streams.get_mut(packet.stream) else { return Ok(()) };
        if let Some(changed) = describe::changed(info, &packet.data) {
            *info = changed;
            publication.announce(streams.clone())?;
        }
        Ok(())
    }

    fn dated(&mut self, mut packet: Packet, clock: &mut Clock, age: Duration) -> Packet {
        let base = packet.base;
        let micros = |t: i64| rescale(t, base, MICROSECONDS, Rounding::Nearest);
        let Some(time) = packet.dts.or(packet.pts).map(micros) else { return packet };
        let offset = *self.offset.get_or_insert_with(|| clock.offset(time, age));
        let ticks = rescale(offset, MICROSECONDS, base, Rounding::Nearest);
        packet.pts = packet.pts.map(|t| t + ticks);
        packet.dts = packet.dts.map(|t| t + ticks);
        clock.latest = clock.latest.max(time + offset);
        packet
    }

    /// Learns how the job ended, which it is about to.
    fn note_end(&mut self) {
        while let Next::Event(event) = self.job.next_event(Some(Duration::from_secs(5))) {
            let Event::Done(done) = event else { continue };
            self.end = Some(match done.outcome {
                Outcome::Failed => {
                    End { why: done.message.unwrap_or_else(|| "it failed".into()), kind: done.error }
                }
                _ => End { why: "it is over".into(), kind: None },
            });
        }
        self.end.get_or_insert_with(|| End { why: "it does not end".into(), kind: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_comes_behind_the_other() {
        let mut clock = Clock::new();
        let first = clock.offset(70_000_000, Duration::ZERO);
        assert!((0..1_000_000).contains(&(70_000_000 + first)));
        // It ran ahead of the wall.
        clock.latest = 50_000_000;
        assert_eq!(clock.offset(0, Duration::ZERO), 50_000_001);
    }
}
