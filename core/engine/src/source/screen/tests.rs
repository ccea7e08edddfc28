use super::*;
use crate::spec::FrameRate;
use std::sync::Mutex;

/// A clock that only sleeping moves. Who sleeps past the given time sleeps that much too long, once.
#[derive(Default)]
struct Hands(Mutex<Duration>, Mutex<Option<(Duration, Duration)>>);

impl Clock for Hands {
    fn now(&self) -> Duration {
        *self.0.lock().expect("unpoisoned")
    }

    fn sleep(&self, duration: Duration) {
        let mut now = self.0.lock().expect("unpoisoned");
        *now += duration;
        if let Some((_, more)) = self.1.lock().expect("unpoisoned").take_if(|(at, _)| *at <= *now) {
            *now += more;
        }
    }
}

/// A screen that changes at given times; a picture costs time.
struct Drawn {
    clock: Arc<Hands>,
    changes: Vec<Duration>,
    cost: Duration,
    /// Whether its pictures have times.
    timed: bool,
    gone: Option<Duration>,
    width: u32,
    /// Between these times no picture comes to who fetches them; then they all do.
    stalled: Option<(Duration, Duration)>,
}

impl Drawn {
    /// Up to when pictures have come.
    fn seen(&self) -> Duration {
        let now = self.clock.now();
        self.stalled.filter(|(from, until)| (*from..*until).contains(&now)).map_or(now, |(from, _)| from)
    }
}

impl Grabber for Drawn {
    fn backend(&self) -> &'static str {
        "drawn"
    }

    fn size(&self) -> (u32, u32) {
        (4, 2)
    }

    fn format(&self) -> PixelFormat {
        PixelFormat::from_name("bgr0").expect("known")
    }

    fn is_timed(&self) -> bool {
        self.timed
    }

    fn changed(&mut self) -> Result<bool> {
        let (now, seen) = (self.clock.now(), self.seen());
        Ok(self.gone.is_some_and(|gone| gone <= now) || self.changes.iter().any(|t| *t <= seen))
    }

    fn grab(&mut self) -> Result<Option<Shot>> {
        let now = self.clock.now();
        if self.gone.is_some_and(|gone| gone <= now) {
            return Err(Error::new(ErrorKind::Device, "the screen was removed"));
        }
        let seen = self.seen();
        let shown = self.changes.iter().rfind(|t| **t <= seen).copied();
        self.changes.retain(|t| *t > seen);
        self.clock.sleep(self.cost);
        let media = av::Frame::alloc_video(self.format(), self.width, 2, 0)?;
        Ok(Some(Shot { media, age: shown.filter(|_| self.timed).map(|shown| now - shown) }))
    }

    fn grab_shown(&mut self, ago: Duration) -> Result<Option<Shot>> {
        let (now, seen) = (self.clock.now(), self.seen());
        let shown = self.changes.iter().rfind(|t| **t + ago <= now && **t <= seen).copied();
        let Some(shown) = shown.filter(|_| self.timed) else { return Ok(None) };
        self.changes.retain(|t| *t > shown);
        let media = av::Frame::alloc_video(self.format(), self.width, 2, 0)?;
        Ok(Some(Shot { media, age: Some(now - shown) }))
    }

    fn newest(&self) -> Option<Duration> {
        self.stalled?;
        let (now, seen) = (self.clock.now(), self.seen());
        // The test's screens of this kind change every 10 ms.
        Some(now - Duration::from_millis(seen.as_millis() as u64 / 10 * 10))
    }
}

fn screen(changes: &[u64], cost: u64, variable: bool) -> (Screen, Arc<Hands>) {
    let drawn = drawn(changes, cost);
    let clock = drawn.clock.clone();
    (screen_of(drawn, variable), clock)
}

fn drawn(changes: &[u64], cost: u64) -> Drawn {
    let changes = changes.iter().map(|ms| Duration::from_millis(*ms)).collect();
    let (clock, cost) = (Arc::new(Hands::default()), Duration::from_millis(cost));
    Drawn { clock, changes, cost, timed: false, gone: None, width: 4, stalled: None }
}

fn screen_of(drawn: Drawn, variable: bool) -> Screen {
    let spec = ScreenSpec { frame_rate: FrameRate::fps(100), variable, ..ScreenSpec::default() };
    let clock = drawn.clock.clone();
    let mut screen = Screen::of(Box::new(drawn), &spec, clock, av::Interrupt::new());
    screen.duration = Some(Duration::from_millis(2500));
    screen
}

fn times(screen: &mut Screen) -> Vec<f64> {
    let mut times = Vec::new();
    while let Some(frame) = screen.next().expect("pictures") {
        times.push(frame.presentation().expect("a time").seconds());
    }
    times
}

fn counted(screen: &Screen) -> [u64; 3] {
    let c = screen.counts();
    [&c.taken, &c.repeated, &c.dropped].map(|n| n.load(Ordering::Relaxed))
}

#[test]
fn a_constant_rate_repeats_what_does_not_change() {
    let (mut screen, _) = screen(&[0, 105, 1000], 1, false);
    let times = times(&mut screen);
    assert_eq!(times.len(), 250);
    assert!(times.iter().enumerate().all(|(i, t)| (t - i as f64 / 100.0).abs() < 1e-9));
    // The first picture, and one for each change; the one after the end is looked at too.
    let [taken, repeated, dropped] = counted(&screen);
    assert_eq!((taken, dropped), (3, 0));
    assert_eq!(taken + repeated, 251);
}

#[test]
fn a_screen_that_is_too_slow_repeats_and_keeps_the_rate() {
    let every_tick: Vec<u64> = (0..2600).step_by(5).collect();
    let (mut screen, _) = screen(&every_tick, 25, false);
    assert_eq!(times(&mut screen).len(), 250);
    let [taken, repeated, dropped] = counted(&screen);
    assert_eq!(dropped, 0);
    assert!(taken < 130 && taken + repeated >= 250, "{taken} {repeated}");
}

#[test]
fn a_job_that_is_too_slow_loses_pictures() {
    let (mut screen, clock) = screen(&[0], 0, false);
    let mut last = -1.0;
    let mut given = 0;
    while let Some(frame) = screen.next().expect("pictures") {
        let time = frame.presentation().expect("a time").seconds();
        assert!(time > last);
        (last, given) = (time, given + 1);
        clock.sleep(Duration::from_millis(30));
    }
    let [_, _, dropped] = counted(&screen);
    assert!((60..=90).contains(&given), "{given}");
    assert!((given + dropped).abs_diff(250) <= 4, "{given} + {dropped}");
    let told: Vec<_> = screen.notes().iter().map(|n| n.code).collect();
    assert_eq!(told, ["dropped"], "once");
}

#[test]
fn a_job_that_stands_still_for_a_moment_keeps_the_rate_constant() {
    let still = |newest: bool| {
        let (screen, clock) = screen(&[0], 0, false);
        let mut screen = if newest { screen.newest() } else { screen };
        let mut given = 0;
        while screen.next().expect("pictures").is_some() {
            given += 1;
            if given % 60 == 0 {
                clock.sleep(Duration::from_millis(200));
            }
        }
        (given, counted(&screen)[2], screen.notes().len())
    };
    assert_eq!(still(false), (250, 0, 0));
    // Who asks when he likes is not served what passed.
    let (given, dropped, told) = still(true);
    assert!(given < 220 && given + dropped == 250 && told == 0, "{given} {dropped}");
}

#[test]
fn a_variable_rate_follows_changes_and_shows_that_it_lives() {
    let (mut screen, _) = screen(&[0, 100, 103, 106, 2000], 0, true);
    let times = times(&mut screen);
    // The three changes after 100 ms become pictures 10 ms apart at least; then one a second.
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 0.0099), "{times:?}");
    assert!((times[1] - 0.1).abs() < 0.003 && (times[2] - 0.11).abs() < 0.004, "{times:?}");
    assert!(times[3..].iter().any(|t| (t - 1.11).abs() < 0.01), "{times:?}");
    assert!(times[3..].iter().any(|t| (t - 2.0).abs() < 0.01), "{times:?}");
    assert!(times.len() <= 7, "{times:?}");
}

#[test]
fn a_job_that_stops_ends_the_source() {
    let (mut screen, _) = screen(&[0], 0, true);
    assert!(screen.next().expect("a picture").is_some());
    screen.interrupt.cancel();
    assert!(screen.next().expect("no error").is_none());
}

#[test]
fn pictures_that_jitter_around_a_tick_are_all_taken() {
    // A screen of the same rate whose pictures come up to 3 ms early or late.
    let changes: Vec<u64> = (0..260u64).map(|n| n * 10 + 3 + n * 7 % 5 - (n % 3)).collect();
    let mut screen = screen_of(Drawn { timed: true, ..drawn(&changes, 0) }, false);
    screen.clock.sleep(Duration::from_millis(4));
    assert_eq!(times(&mut screen).len(), 250);
    let [taken, repeated, dropped] = counted(&screen);
    assert!(taken >= 248 && repeated <= 3 && dropped == 0, "{taken} {repeated} {dropped}");
}

#[test]
fn who_was_late_gives_what_was_shown_at_the_moments_that_passed() {
    let changes: Vec<u64> = (0..260).map(|n| n * 10).collect();
    let drawn = Drawn { timed: true, ..drawn(&changes, 0) };
    *drawn.clock.1.lock().expect("unpoisoned") =
        Some((Duration::from_millis(500), Duration::from_millis(35)));
    let mut screen = screen_of(drawn, false);
    assert_eq!(times(&mut screen).len(), 250);
    let [taken, repeated, dropped] = counted(&screen);
    assert!(taken >= 250 && repeated == 0 && dropped == 0, "{taken} {repeated} {dropped}");
    assert_eq!(screen.counts().late.load(Ordering::Relaxed), 0);
}

#[test]
fn after_a_standstill_of_everything_who_fetches_pictures_is_waited_for() {
    let changes: Vec<u64> = (0..260).map(|n| n * 10).collect();
    let ms = Duration::from_millis;
    // Everything stands still for 45 ms, and whoever fetches pictures goes on 22 ms later than we do.
    let drawn = Drawn { timed: true, stalled: Some((ms(500), ms(570))), ..drawn(&changes, 0) };
    *drawn.clock.1.lock().expect("unpoisoned") = Some((ms(500), ms(45)));
    let mut screen = screen_of(drawn, false);
    assert_eq!(times(&mut screen).len(), 250);
    let [taken, repeated, dropped] = counted(&screen);
    assert!(taken >= 250 && repeated == 0 && dropped == 0, "{taken} {repeated} {dropped}");
    // Who never catches up is not waited for at every picture for long.
    let drawn = Drawn { timed: true, stalled: Some((ms(500), ms(1500))), ..self::drawn(&changes, 0) };
    *drawn.clock.1.lock().expect("unpoisoned") = Some((ms(500), ms(45)));
    let mut screen = screen_of(drawn, false);
    assert_eq!(times(&mut screen).len(), 250);
    assert_eq!(counted(&screen)[2], 0);
}

#[test]
fn a_job_that_stands_still_for_a_moment_gets_the_pictures_that_were_kept() {
    let changes: Vec<u64> = (0..260).map(|n| n * 10).collect();
    let ms = Duration::from_millis;
    let mut screen =
        screen_of(Drawn { timed: true, stalled: Some((ms(9000), ms(9000))), ..drawn(&changes, 0) }, false);
    let mut given = 0;
    while screen.next().expect("pictures").is_some() {
        given += 1;
        if given % 60 == 0 {
            screen.clock.sleep(ms(200));
        }
    }
    let [taken, repeated, dropped] = counted(&screen);
    assert!(
        given == 250 && taken >= 250 && repeated == 0 && dropped == 0,
        "{given} {taken} {repeated} {dropped}"
    );
}

#[test]
fn a_variable_rate_has_the_times_at_which_pictures_were_shown() {
    let mut screen = screen_of(Drawn { timed: true, ..drawn(&[0, 101, 215], 0) }, true);
    let times = times(&mut screen);
    assert!((times[1] - 0.101).abs() < 1e-6 && (times[2] - 0.215).abs() < 1e-6, "{times:?}");
}

#[test]
fn a_screen_that_is_removed_ends_with_a_note() {
    for variable in [false, true] {
        let gone = Some(Duration::from_millis(500));
        let mut screen = screen_of(Drawn { gone, ..drawn(&[0, 100], 0) }, variable);
        let times = times(&mut screen);
        assert!(times.last().is_some_and(|t| (0.0..0.5).contains(t)), "{times:?}");
        let notes = screen.notes();
        assert!(
            matches!(&notes[..], [n] if n.code == "source" && n.message.contains("was removed")),
            "{notes:?}"
        );
        assert!(screen.next().expect("over").is_none() && screen.notes().is_empty());
    }
    // Without a first picture there is nothing to keep.
    let mut screen = screen_of(Drawn { gone: Some(Duration::ZERO), ..drawn(&[0], 0) }, false);
    assert!(screen.next().is_err());
}

/// A screen that `open` gives after so long, and that may be none.
fn slow(screen: &mut Screen, real: Duration, result: fn() -> Result<Drawn>) {
    screen.open = Arc::new(move |_, interrupt, _| {
        std::thread::sleep(real);
        if interrupt.is_cancelled() {
            return Err(Error::cancelled());
        }
        result().map(|drawn| (Box::new(drawn) as Box<dyn Grabber>, None))
    });
}

/// Pictures until the screen has one of `width`, with the time that each took to come.
fn until(screen: &mut Screen, width: u32) -> Vec<Duration> {
    let mut took = Vec::new();
    loop {
        let began = std::time::Instant::now();
        let frame = screen.next().expect("pictures").expect("no end");
        took.push(began.elapsed());
        std::thread::sleep(Duration::from_millis(1));
        if frame.media().width() == width {
            return took;
        }
        assert!(took.len() < 5000, "never");
    }
}

#[test]
fn what_is_captured_next_is_opened_beside_what_is_captured() {
    for variable in [false, true] {
        let mut screen = screen_of(drawn(&[0, 100, 200], 0), variable);
        screen.duration = None;
        slow(&mut screen, Duration::from_millis(300), || Ok(Drawn { width: 8, ..drawn(&[0], 0) }));
        screen.next().expect("a picture");
        screen.counts().turn_to(ScreenSpec { monitor: Some("other".into()), ..ScreenSpec::default() });
        let took = until(&mut screen, 8);
        assert!(took.len() > 3, "{} pictures while it was opened", took.len());
        assert!(took.iter().all(|t| *t < Duration::from_millis(100)), "{took:?}");
        let notes = screen.notes();
        assert!(notes.iter().any(|n| n.message == "screen:other is captured from here on"), "{notes:?}");
    }
}

#[test]
fn what_cannot_be_captured_changes_nothing_and_what_is_gone_waits_for_the_next() {
    let mut screen = screen_of(drawn(&[0], 0), false);
    screen.duration = None;
    slow(&mut screen, Duration::ZERO, || Err(Error::new(ErrorKind::NotFound, "no such thing")));
    screen.next().expect("a picture");
    screen.counts().turn_to(ScreenSpec::default());
    let mut notes = Vec::new();
    while notes.is_empty() {
        assert!(screen.next().expect("pictures").is_some());
        notes = screen.notes();
    }
    assert!(notes[0].message.contains("no such thing") && notes[0].message.contains("goes on"), "{notes:?}");

    let gone = Some(Duration::from_millis(50));
    let mut screen = screen_of(Drawn { gone, ..drawn(&[0], 0) }, false);
    screen.duration = None;
    slow(&mut screen, Duration::from_millis(200), || Ok(Drawn { width: 8, ..drawn(&[0], 0) }));
    screen.next().expect("a picture");
    screen.counts().turn_to(ScreenSpec::default());
    until(&mut screen, 8);
    assert!(screen.notes()[0].message.contains("was removed"));
}

#[test]
fn another_rate_paces_the_screen() {
    let (mut screen, clock) = screen(&[0], 0, false);
    let mut times = Vec::new();
    while let Some(frame) = screen.next().expect("pictures") {
        times.push(frame.presentation().expect("a time").seconds());
        if times.len() == 100 {
            screen.counts().pace_to(Rational::new(25, 1));
        }
    }
    // A second at 100, and one and a half at 25.
    assert!((137..=139).contains(&times.len()), "{}", times.len());
    assert!(
        times.windows(2).all(|t| t[0] < t[1]) && (times[120] - times[110] - 0.4).abs() < 1e-9,
        "{times:?}"
    );
    assert!((clock.now().as_secs_f64() - 2.5).abs() < 0.1);
}

#[test]
fn a_screen_of_another_size_is_announced() {
    let mut screen = screen_of(drawn(&[0], 0), false);
    screen.size = (8, 4);
    screen.next().expect("a picture");
    assert!(screen.notes()[0].message.contains("is now 4x2, it was 8x4"));
}
