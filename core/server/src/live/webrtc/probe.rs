//! The times that an `Rtc` is told while it probes what a way bears.
//!
//! A probe is a row of bursts, 2 ms apart, each for the 2 ms behind it. Whoever drives the `Rtc` is woken by a clock of
//! milliseconds, and late: were every burst sent at the time of waking, a probe at 12 Mbit/s would never go out at more than 8, and
//! on a busy machine at 4. The estimate, which is the smaller of what went out and what came, would stand still there however wide
//! the way is, and what doubles while a probe brings 70 % would stop doubling. So while a probe lasts the bursts that are due are
//! made one after the other, each at its own time, and what was late goes out at once: what went out is what was meant to, and what
//! comes in decides.

use std::time::{Duration, Instant};
use str0m::{PacerReason, Reason};

/// What is older than this is not made up for.
const LATE: Duration = Duration::from_millis(20);
/// Behind the last burst of a probe, until its time is the present again.
const LASTS: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug, Default)]
pub struct Probe {
    /// When the last burst was due.
    burst: Option<Instant>,
    /// The time that it knows: an earlier one would be nothing to it.
    known: Option<Instant>,
}

impl Probe {
    /// The `Rtc` has been told this time with a datagram.
    pub fn told(&mut self, at: Instant) {
        self.known = self.known.max(Some(at));
    }

    /// The time that the `Rtc` is to be told at `now`, when it asked to be told at `at`, for such a reason.
    pub fn time(&mut self, at: Instant, reason: Reason, now: Instant) -> Instant {
        let bursts = matches!(reason, Reason::Pacer(PacerReason::Probe1 | PacerReason::Probe2));
        let made_up = now.saturating_duration_since(at) <= LATE;
        if bursts {
            self.burst = Some(at);
        }
        let probing = self.burst.is_some_and(|burst| at.saturating_duration_since(burst) <= LASTS);
        let time = if probing && made_up && Some(at) > self.known { at.min(now) } else { now };
        self.told(time);
        time
    }
}

#[cfg(test)]
mod tests {
    use super::super::negotiate::{Codecs, accept, config};
    use super::super::offer::{Offer, Purpose};
    use super::*;
    use ghoststream::packet::Codec;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use str0m::bwe::{Bitrate, BweKind};
    use str0m::change::SdpAnswer;
    use str0m::crypto::from_feature_flags;
    use str0m::media::{Direction, Frequency, MediaKind, MediaTime, Mid};
    use str0m::net::{Protocol, Receive};
    use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

    const MS: Duration = Duration::from_millis(1);
    const HERE: ([u8; 4], u16) = ([10, 0, 0, 1], 4000);
    const THERE: ([u8; 4], u16) = ([10, 0, 0, 2], 4000);

    /// A server and a viewer over a way of no end, in a time of their own.
    struct Pair {
        server: Rtc,
        viewer: Rtc,
        probe: Option<Probe>,
        now: Instant,
        /// What is on its way: when it comes, whether to the server, and its number.
        way: BinaryHeap<Reverse<(Instant, bool, usize)>>,
        sent: Vec<Vec<u8>>,
        video: Mid,
        connected: bool,
        estimate: Option<u64>,
    }

    impl Pair {
        /// `made_up`: whether the server makes up for bursts that were late.
        fn new(made_up: bool) -> Pair {
            let now = Instant::now();
            let base = || RtcConfig::new().set_crypto_provider(Arc::new(from_feature_flags()));
            let mut viewer = base().clear_codecs().enable_h264(true).build(now);
            viewer.add_local_candidate(Candidate::host(THERE.into(), "udp").unwrap());
            let mut changes = viewer.sdp_api();
            changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
            let (offer, pending) = changes.apply().unwrap();
            let offer = Offer::read(&offer.to_sdp_string(), Purpose::Play).unwrap();
            let codecs = Codecs { video: vec![Codec::H264] };
            let here = [SocketAddr::from(HERE)];
            let agreed = accept(&config().unwrap(), &offer, &codecs, &here, Some(2_000_000), now).unwrap();
            let answer = SdpAnswer::from_sdp_string(&agreed.answer).unwrap();
            viewer.sdp_api().accept_answer(pending, answer).unwrap();
            let video = agreed.video.unwrap().mid;
            Pair {
                server: agreed.rtc,
                viewer,
                probe: made_up.then(Probe::default),
                now,
                way: BinaryHeap::new(),
                sent: Vec::new(),
                video,
                connected: false,
                estimate: None,
            }
        }

        /// What one of them does now. Gives when it wants to go on.
        fn poll(&mut self, server: bool) -> Instant {
            loop {
                let rtc = if server { &mut self.server } else { &mut self.viewer };
                match rtc.poll_output().unwrap() {
                    Output::Timeout(at) if at > self.now => return at,
                    Output::Timeout(at) => {
                        let reason = rtc.last_timeout_reason();
                        let time = match &mut self.probe {
                            Some(probe) if server => probe.time(at, reason, self.now),
                            _ => self.now,
                        };
                        rtc.handle_input(Input::Timeout(time)).unwrap();
                        // Packets go one after the other.
                        self.now += Duration::from_micros(2);
                    }
                    Output::Transmit(t) => {
                        self.way.push(Reverse((self.now + 5 * MS, !server, self.sent.len())));
                        self.sent.push(t.contents.to_vec());
                    }
                    Output::Event(Event::Connected) => self.connected |= server,
                    Output::Event(Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. })) if server => {
                        self.estimate = Some(estimate.as_u64());
                    }
                    Output::Event(_) => {}
                }
            }
        }

        /// Goes on for so long, with pictures of 400 kbit/s; the server wakes by a clock of milliseconds, and so much later.
        fn run(&mut self, long: Duration, late: Duration) {
            let (begin, end) = (self.now, self.now + long);
            let on_clock = |at: Instant| {
                let ticks = at.saturating_duration_since(begin).as_millis() as u32 + 1;
                begin + MS * ticks + late
            };
            let mut server = on_clock(self.poll(true));
            let (mut picture, mut number) = (begin, 0);
            while self.now < end {
                if server <= self.now {
                    if self.connected && picture <= self.now {
                        self.write(number);
                        (number, picture) = (number + 1, picture + 20 * MS);
                    }
                    server = on_clock(self.poll(true));
                    if self.connected {
                        server = server.min(on_clock(picture));
                    }
                }
                let viewer = self.poll(false);
                let comes = self.way.peek().map_or(end, |Reverse((at, ..))| *at);
                self.now = server.min(viewer).min(comes).max(self.now + Duration::from_micros(1));
                if viewer <= self.now {
                    self.viewer.handle_input(Input::Timeout(self.now)).unwrap();
                }
                while let Some(Reverse((at, to_server, number))) = self.way.peek().copied()
                    && at <= self.now
                {
                    self.way.pop();
                    let (rtc, from, to) = match to_server {
                        true => (&mut self.server, THERE, HERE),
                        false => (&mut self.viewer, HERE, THERE),
                    };
                    let receive =
                        Receive::new(Protocol::Udp, from.into(), to.into(), &self.sent[number]).unwrap();
                    rtc.handle_input(Input::Receive(self.now, receive)).unwrap();
                    if to_server {
                        self.probe.iter_mut().for_each(|probe| probe.told(self.now));
                        server = on_clock(self.poll(true));
                    }
                }
            }
        }

        fn write(&mut self, number: u64) {
            let writer = self.server.writer(self.video).unwrap();
            let pt = writer.payload_params().next().unwrap().pt();
            let mut data = vec![0, 0, 0, 1, if number.is_multiple_of(50) { 0x65 } else { 0x41 }];
            data.resize(1000, 0xaa);
            let time = MediaTime::new(number * 1800, Frequency::NINETY_KHZ);
            writer.write(pt, self.now, time, data).unwrap();
        }
    }

    /// What is found out of a way of no end when pictures of 4 Mbit/s are wished for and 400 kbit/s go.
    fn found(made_up: bool, late: Duration) -> u64 {
        let mut pair = Pair::new(made_up);
        pair.server.bwe().set_desired_bitrate(Bitrate::bps(6_000_000));
        pair.run(Duration::from_secs(30), late);
        assert!(pair.connected);
        pair.estimate.unwrap()
    }

    #[test]
    fn a_wide_way_is_found_wide_though_the_clock_wakes_late() {
        for late in [0, 2, 5] {
            let (bits, without) = (found(true, MS * late), found(false, MS * late));
            eprintln!("{late} ms late: {bits} bit/s; {without} where nothing is made up for");
            assert!(bits > 6_000_000, "{late} ms late: {bits}");
            assert!(late == 0 || without < bits * 2 / 3, "{late} ms late: {without} of {bits}");
        }
    }

    #[test]
    fn only_bursts_of_a_probe_are_dated_back_and_not_far() {
        let (mut probe, begin) = (Probe::default(), Instant::now() + Duration::from_secs(60));
        let (burst, other) = (Reason::Pacer(PacerReason::Probe2), Reason::Pacer(PacerReason::Immediate));
        let mut time = |now: u32, late: u32, reason| {
            let now = begin + MS * now;
            let told = probe.time(now - MS * late, reason, now);
            (now - told).as_millis()
        };
        assert_eq!(time(0, 3, other), 0);
        assert_eq!(time(10, 3, burst), 3);
        assert_eq!(time(10, 2, other), 2, "what belongs to it");
        assert_eq!(time(10, 2, other), 0, "what is known already would be asked for for ever");
        assert_eq!(time(60, 21, burst), 0);
        assert_eq!(time(61, 50_000, other), 0, "what has to be done at once");
        assert_eq!(time(63, 1, other), 0, "the probe is over");
        assert_eq!(time(70, 5, burst), 5);
        probe.told(begin + MS * 68);
        assert_eq!(probe.time(begin + MS * 67, burst, begin + MS * 70), begin + MS * 70);
    }
}
