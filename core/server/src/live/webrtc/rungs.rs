//! Which rung a viewer gets: the stream as it is while the way to the viewer bears it, one of the smaller renditions while it does
//! not. The smaller ones are made when the first viewer needs them.

use super::format::ToRtp;
use super::play::Lane;
use crate::live::stream::{Stream, Tracks};
use ghoststream::packet::{Codec, MediaKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the way must have been too narrow for the rung that goes now, and how much too narrow it must be to be so at once.
const LOW: Duration = Duration::from_millis(600);
const MUCH: f64 = 0.5;
/// What a rung that is chosen may need of the way, going down and going up. A wide way is found to bear two to three times what
/// the best rung needs: `ROOM` is wished for, and a probe goes to twice that.
const DOWN: f64 = 0.9;
const UP: f64 = 0.85;
/// How long the way must have been wide enough for a better rung; longer and longer where that has turned out wrong.
const HIGH: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(60));
/// The same where nobody looks what the way bears beyond what goes: a better rung is a trial.
const TRIAL: Duration = Duration::from_secs(10);
/// How long it is borne with, whatever is told meanwhile.
const GRACE: Duration = Duration::from_secs(3);
/// A rung that was left so soon after it was chosen was a mistake.
const WRONG: Duration = Duration::from_secs(10);
/// How often it is looked what the rungs need.
const LOOK: Duration = Duration::from_millis(300);
/// How long smaller rungs are kept by a viewer who does not need them.
const KEEP: Duration = Duration::from_secs(20);
/// How long a rung that is made no more is waited for by a viewer whose way is too narrow for the whole: a publisher who comes back
/// is there before what is made of it.
const ANEW: Duration = Duration::from_secs(8);
/// Of what a rung needed most, so much is forgotten with every look.
const FORGET: f64 = 0.99;
/// Room beside the best rung that is looked for, so that its place is not in doubt.
const ROOM: f64 = 1.5;

/// What the way to a viewer bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Bits per second.
    pub bits: u64,
    /// Whether it is looked for more than what goes; else nobody can know of more.
    pub probed: bool,
}

/// Decides for one viewer. It knows no clock and no stream.
#[derive(Debug)]
struct Choice {
    current: usize,
    low: Option<Instant>,
    high: Option<Instant>,
    hold: Duration,
    /// When it last went up.
    up: Option<Instant>,
}

impl Choice {
    fn new() -> Choice {
        Choice { current: 0, low: None, high: None, hold: HIGH.0, up: None }
    }

    /// The rung to be taken now, where it is another one. `rates`: what the rungs need, the best first; none before `best` can
    /// be taken.
    fn look(&mut self, way: Way, rates: &[u64], best: usize, now: Instant) -> Option<usize> {
        let rate = |rung: usize| rates.get(rung).copied().unwrap_or(0) as f64;
        let bits = way.bits as f64;
        let lasts = |since: &mut Option<Instant>, long: Duration| {
            now.saturating_duration_since(*since.get_or_insert(now)) >= long
        };
        // Who tells of what comes, and of no more, has not seen what comes now.
        let trial = !way.probed && self.up.is_some_and(|up| now.saturating_duration_since(up) < GRACE);
        let smaller = rates.len() > self.current + 1 && !trial;
        if smaller && bits < rate(self.current) {
            self.high = None;
            if !lasts(&mut self.low, LOW) && bits > rate(self.current) * MUCH {
                return None;
            }
            let fits = (self.current + 1..rates.len()).find(|rung| rate(*rung) <= bits * DOWN);
            if self.up.take().is_some_and(|up| now.saturating_duration_since(up) < WRONG) {
                self.hold = (self.hold * 2).min(HIGH.1);
            }
            return Some(self.take(fits.unwrap_or(rates.len() - 1)));
        }
        self.low = None;
        let better = match way.probed {
            true => (best..self.current).find(|rung| rate(*rung) <= bits * UP),
            false => (self.current > best && rate(self.current) <= bits * DOWN).then(|| self.current - 1),
        };
        let Some(better) = better else {
            self.high = None;
            return None;
        };
        let hold = if way.probed { self.hold } else { self.hold.max(TRIAL) };
        if !lasts(&mut self.high, hold) {
            return None;
        }
        self.up = Some(now);
        Some(self.take(better))
    }

    fn take(&mut self, rung: usize) -> usize {
        (self.low, self.high, self.current) = (None, None, rung);
        rung
    }
}

/// What goes to a viewer: a stream, and which of its tracks.
#[derive(Clone, Debug)]
pub struct Going {
    /// The stream.
    pub stream: Arc<Stream>,
    /// The tracks.
    pub lanes: Vec<Lane>,
    /// The version of the tracks.
    pub version: u64,
    /// Whether it is what a publisher sends.
    pub direct: bool,
}

/// The rungs of one viewer.
#[derive(Debug)]
pub struct Rungs {
    whole: Going,
    smaller: Option<Arc<Stream>>,
    choice: Choice,
    way: Option<Way>,
    /// What each rung needed most lately, in bits per second.
    needs: Vec<f64>,
    looked: Option<Instant>,
    /// When smaller ones were needed last.
    needed: Option<Instant>,
    /// Since when the one that goes has not been made, while the whole is there.
    gone: Option<Instant>,
}

/// What a look at the rungs has brought.
#[derive(Debug, Default)]
pub struct Looked {
    /// What is to go from now on, if something else is.
    pub change: Option<Going>,
    /// The rung that goes; 0 is the stream as it is.
    pub rung: usize,
    /// How many there are now.
    pub rungs: usize,
    /// What should be found out to be borne, in bits per second.
    pub desired: u64,
}

impl Rungs {
    /// A viewer begins with the stream as it is.
    pub fn new(whole: Going) -> Rungs {
        let choice = Choice::new();
        Rungs {
            whole,
            smaller: None,
            choice,
            way: None,
            needs: Vec::new(),
            looked: None,
            needed: None,
            gone: None,
        }
    }

    /// The way has turned out to be such.
    pub fn estimated(&mut self, way: Way) {
        self.way = Some(way);
    }

    /// Looks which rung is to go, now and then; `made` gives the stream of the smaller ones, and `again` the whole where it is
    /// made too.
    pub fn look(
        &mut self,
        now: Instant,
        made: impl FnOnce() -> Option<Arc<Stream>>,
        again: impl FnOnce() -> Option<Arc<Stream>>,
    ) -> Option<Looked> {
        if self.looked.is_some_and(|at| now.saturating_duration_since(at) < LOOK) {
            return None;
        }
        self.looked = Some(now);
        let way = self.way?;
        // Nobody else may read it: to ask for it is what keeps it.
        if self.choice.current > 0
            && !self.whole.direct
            && let Some(stream) = again().filter(|s| s.epoch() == self.whole.stream.epoch())
            && !Arc::ptr_eq(&stream, &self.whole.stream)
        {
            (self.whole.stream, self.whole.version) = (stream, 0);
        }
        let there = self.find_whole();
        let need = |needs: &mut Vec<f64>, rung: usize, bits: f64| {
            needs.resize(needs.len().max(rung + 1), 0.0);
            needs[rung] = bits.max(needs[rung] * FORGET);
        };
        // Of what is away nothing is known.
        if there || self.needs.is_empty() {
            need(&mut self.needs, 0, bits(&self.whole, |_| true));
        }
        if self.choice.current > 0 || (way.bits as f64) < self.needs[0] {
            self.needed = Some(now);
        }
        let wanted = self.needed.is_some_and(|at| now.saturating_duration_since(at) < KEEP);
        // To ask for it again is what keeps it.
        self.smaller = if wanted { made() } else { None };
        let mut going = vec![self.whole.clone()];
        if let Some(stream) = &self.smaller
            && let Some(tracks) = stream.tracks()
        {
            for smaller in smaller(&self.whole, stream, &tracks) {
                // Pictures that have not come yet cannot be chosen; those that go may be told of anew.
                let come = bits(&smaller, |kind| kind == MediaKind::Video) > 0.0;
                if !come && going.len() > self.choice.current {
                    break;
                }
                need(&mut self.needs, going.len(), bits(&smaller, |_| true));
                going.push(smaller);
            }
        }
        self.needs.truncate(going.len().max(self.choice.current + 1));
        let rates: Vec<u64> = self.needs.iter().map(|n| *n as u64).collect();
        let mut change = None;
        let best = usize::from(!there);
        let made = self.choice.current < going.len();
        if made || !there {
            self.gone = None;
        }
        if !made {
            let gone = *self.gone.get_or_insert(now);
            let fits = self.needs[going.len() - 1] <= way.bits as f64 * DOWN;
            if fits || now.saturating_duration_since(gone) >= ANEW {
                change = (going.len() > best).then(|| self.choice.take(going.len() - 1));
            }
        } else if rates[0] > 0 {
            change = self.choice.look(way, &rates, best, now);
        }
        Some(Looked {
            change: change.map(|rung| going[rung].clone()),
            rung: self.choice.current,
            rungs: going.len(),
            desired: (self.needs[0] * ROOM) as u64,
        })
    }

    /// Finds the lanes of the whole in what it carries now. Gives whether its pictures are there.
    fn find_whole(&mut self) -> bool {
        let Some(tracks) = self.whole.stream.tracks() else { return false };
        if tracks.version != self.whole.version {
            self.whole.version = tracks.version;
            for lane in &mut self.whole.lanes {
                lane.find(&tracks);
            }
        }
        self.whole.lanes.iter().all(|l| l.kind != MediaKind::Video || l.track < tracks.streams.len())
    }
}

/// What the lanes of such kinds have had, in bits per second.
fn bits(of: &Going, kinds: impl Fn(MediaKind) -> bool) -> f64 {
    let stats = of.stream.stats();
    let lanes = of.lanes.iter().filter(|l| kinds(l.kind));
    lanes.filter_map(|l| stats.tracks.get(l.track)).map(|t| t.bitrate).sum()
}

/// What can go in the place of `whole`, the best first: pictures of the same codec, with the sound that is beside them, if
/// there is some.
fn smaller(whole: &Going, stream: &Arc<Stream>, tracks: &Tracks) -> Vec<Going> {
    let lane = |kind: MediaKind, codec: &Codec, nth: usize| {
        let fits = tracks.streams.iter().enumerate().filter(|(_, s)| s.kind == kind && s.codec == *codec);
        let (track, info) = fits.clone().nth(nth)?;
        Some(Lane { kind, codec: codec.clone(), track, to: ToRtp::new(info).ok()?, nth })
    };
    let Some(pictures) = whole.lanes.iter().find(|l| l.kind == MediaKind::Video) else { return Vec::new() };
    let rung = |nth: usize| {
        let lanes = whole.lanes.iter().map(|l| match l.kind {
            MediaKind::Video => lane(l.kind, &pictures.codec, nth),
            _ => lane(l.kind, &l.codec, 0).or_else(|| Some(Lane { track: usize::MAX, nth: 0, ..l.clone() })),
        });
        let lanes = lanes.collect::<Option<Vec<Lane>>>()?;
        Some(Going { stream: stream.clone(), lanes, version: tracks.version, direct: false })
    };
    (0..).map_while(rung).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ghoststream::packet::{Packet, StreamInfo};
    use ghoststream::time::MICROSECONDS;

    const RATES: [u64; 3] = [4_000_000, 1_500_000, 500_000];

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// What is chosen when the way bears `bits` for so long, looked at every 100 ms.
    fn borne(
        choice: &mut Choice,
        now: &mut Instant,
        bits: u64,
        probed: bool,
        long: u64,
    ) -> Vec<(u64, usize)> {
        let mut found = Vec::new();
        for at in (0..long).step_by(100) {
            if let Some(rung) = choice.look(Way { bits, probed }, &RATES, 0, *now) {
                found.push((at, rung));
            }
            *now += ms(100);
        }
        found
    }

    #[test]
    fn it_goes_down_soon_and_up_when_it_has_been_wide_for_long() {
        let (mut choice, mut now) = (Choice::new(), Instant::now());
        assert_eq!(borne(&mut choice, &mut now, 5_000_000, true, 5000), []);
        // A moment is nothing.
        assert_eq!(borne(&mut choice, &mut now, 3_000_000, true, 500), []);
        assert_eq!(borne(&mut choice, &mut now, 5_000_000, true, 500), []);
        assert_eq!(borne(&mut choice, &mut now, 3_000_000, true, 2000), [(600, 1)]);
        // Far too narrow is so at once, and the last one goes whatever it needs.
        assert_eq!(borne(&mut choice, &mut now, 300_000, true, 2000), [(0, 2)]);
        // What it bears just so is not enough to go up.
        assert_eq!(borne(&mut choice, &mut now, 1_450_000, true, 10_000), []);
        assert_eq!(borne(&mut choice, &mut now, 2_100_000, true, 10_000), [(3000, 1)]);
        assert_eq!(borne(&mut choice, &mut now, 6_000_000, true, 10_000), [(3000, 0)]);
    }

    #[test]
    fn who_was_wrong_waits_longer() {
        let (mut choice, mut now) = (Choice::new(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..7 {
            assert_eq!(borne(&mut choice, &mut now, 1_000_000, true, 1000), [(0, 2)]);
            let up = borne(&mut choice, &mut now, 9_000_000, true, 62_000);
            waits.push(up[0].0 / 1000);
            choice.up = Some(now);
        }
        assert_eq!(waits, [3, 6, 12, 24, 48, 60, 60]);
        // One that was right for long enough is none.
        now += WRONG;
        let before = choice.hold;
        borne(&mut choice, &mut now, 1_000_000, true, 1000);
        assert_eq!(choice.hold, before);
    }

    #[test]
    fn where_nobody_looks_for_more_a_better_one_is_a_trial() {
        let (mut choice, mut now) = (Choice::new(), Instant::now());
        assert_eq!(borne(&mut choice, &mut now, 450_000, false, 2000), [(0, 2)]);
        // Receivers tell of half as much again as comes.
        assert_eq!(borne(&mut choice, &mut now, 750_000, false, 12_000), [(10_000, 1)]);
        assert_eq!(borne(&mut choice, &mut now, 1_800_000, false, 5000), []);
        assert_eq!(borne(&mut choice, &mut now, 750_000, false, 5000), [(0, 2)]);
    }

    #[test]
    fn without_smaller_ones_it_stays() {
        let (mut choice, now) = (Choice::new(), Instant::now());
        for at in 0..100 {
            let way = Way { bits: 100_000, probed: true };
            assert_eq!(choice.look(way, &RATES[..1], 0, now + ms(100) * at), None);
        }
    }

    #[test]
    fn what_is_not_there_is_not_taken() {
        for probed in [false, true] {
            let (mut choice, mut now) = (Choice::new(), Instant::now());
            assert_eq!(borne(&mut choice, &mut now, 1_000_000, probed, 1000), [(0, 2)]);
            let up = |choice: &mut Choice, best: usize, from: u64| {
                (from..from + 1000).find_map(|at| {
                    choice.look(Way { bits: 90_000_000, probed }, &RATES, best, now + ms(100) * at as u32)
                })
            };
            assert_eq!(up(&mut choice, 1, 0), Some(1));
            assert_eq!(up(&mut choice, 1, 1000), None);
            assert_eq!(up(&mut choice, 0, 2000), Some(0));
        }
    }

    fn announce(stream: &Stream, codecs: &[Codec]) {
        let info = |c: &Codec| StreamInfo::new(c.kind().unwrap(), c.clone(), MICROSECONDS);
        stream.announce(codecs.iter().map(info).collect());
    }

    fn push(stream: &Stream, track: usize, bytes: usize) {
        let mut packet = Packet::new(Bytes::from(vec![1; bytes]), 0, 0, MICROSECONDS);
        (packet.stream, packet.key) = (track, true);
        stream.push_dated(packet);
    }

    #[test]
    fn the_whole_is_kept_for_who_gets_a_smaller_one_and_not_given_while_it_is_away() {
        let source = Stream::new("s");
        let [whole, small, other] = [(); 3].map(|()| source.derived("s"));
        announce(&whole, &[Codec::Vp8, Codec::Opus]);
        announce(&small, &[Codec::Vp8, Codec::Opus]);
        // 800 kbit/s, 80 kbit/s and no sound yet.
        for wait in [1010, 0] {
            push(&whole, 0, 50_000);
            push(&small, 0, 5_000);
            std::thread::sleep(ms(wait));
        }
        let lane = |kind, codec, track| Lane { kind, codec, track, to: ToRtp::Same, nth: 0 };
        let lanes = vec![lane(MediaKind::Video, Codec::Vp8, 0), lane(MediaKind::Audio, Codec::Opus, 1)];
        let mut rungs = Rungs::new(Going { stream: whole.clone(), lanes, version: 1, direct: false });
        let mut now = Instant::now();
        let mut look = |bits: u64, whole: Option<&Arc<Stream>>| {
            now += LOOK;
            rungs.estimated(Way { bits, probed: true });
            let mut asked = false;
            let again = || {
                asked = true;
                whole.cloned()
            };
            (rungs.look(now, || Some(small.clone()), again).unwrap(), asked)
        };
        let (looked, asked) = look(200_000, None);
        assert_eq!((looked.change.map(|g| g.lanes[0].track), looked.rung, asked), (Some(0), 1, false));
        // Said anew, with the sound not, it is still the one that goes.
        announce(&small, &[Codec::Vp8]);
        let (looked, asked) = look(200_000, Some(&whole));
        assert_eq!((looked.change.is_none(), looked.rung, looked.rungs, asked), (true, 1, 2, true));
        // Neither what has ended, nor a stream of another time, nor what is not there yet is given, however wide the way; what the
        // whole needs is not forgotten.
        whole.end();
        let stranger = Stream::new("s");
        announce(&stranger, &[Codec::Vp8]);
        for again in [None, Some(&stranger), Some(&other)] {
            for _ in 0..100 {
                let (looked, _) = look(9_000_000, again);
                assert_eq!((looked.change.is_none(), looked.rung), (true, 1));
                assert!(looked.desired > 1_000_000, "{looked:?}");
            }
        }
        // A publisher who comes back is there before what is made of it: the whole is not for who has no room for it, unless the
        // smaller one does not come again.
        small.leave();
        announce(&other, &[Codec::Vp8]);
        let looks = (ANEW.as_millis() / LOOK.as_millis()) as usize;
        for _ in 0..looks {
            let (looked, _) = look(200_000, Some(&other));
            assert_eq!((looked.change.is_none(), looked.rung), (true, 1));
        }
        announce(&small, &[Codec::Vp8]);
        for _ in 0..2 * looks {
            let (looked, _) = look(200_000, Some(&other));
            assert_eq!((looked.change.is_none(), looked.rung, looked.rungs), (true, 1, 2));
        }
        announce(&other, &[Codec::Opus, Codec::Vp8]);
        let up = (0..100).find_map(|_| look(9_000_000, Some(&other)).0.change).unwrap();
        assert!(Arc::ptr_eq(&up.stream, &other));
        assert_eq!((up.lanes[0].track, up.lanes[1].track), (1, 0));
        for wait in [1010, 0] {
            push(&other, 1, 50_000);
            push(&small, 0, 5_000);
            std::thread::sleep(ms(wait));
        }
        assert_eq!(look(200_000, Some(&other)).0.rung, 1);
        small.leave();
        let until = (0..2 * looks).find(|_| look(200_000, Some(&other)).0.change.is_some());
        assert_eq!(until, Some(looks + 1), "it is not waited for for ever");
    }
}
