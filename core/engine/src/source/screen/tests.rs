use super::*;
use std::sync::Mutex;

/// A clock that only sleeping moves.
#[derive(Default)]
struct Hands(Mutex<Duration>);

impl Clock for Hands {
    fn now(&self) -> Duration {
        *self.0.lock().expect("unpoisoned")
    }

    fn sleep(&self, duration: Duration) {
        *self.0.lock().expect("unpoisoned") += duration;
    }
}

/// A screen that changes at given times; a picture costs time.
struct Drawn {
    clock: Arc<Hands>,
    changes: Vec<Duration>,
    cost: Duration,
}

impl Grabber for Drawn {
    fn size(&self) -> (u32, u32) {
        (4, 2)
    }

    fn format(&self) -> PixelFormat {
        PixelFormat::from_name("bgr0").expect("known")
    }

    fn changed(&mut self) -> Result<bool> {
        let now = self.clock.now();
        Ok(self.changes.iter().any(|t| *t <= now))
    }

    fn grab(&mut self) -> Result<av::Frame> {
        let now = self.clock.now();
        self.changes.retain(|t| *t > now);
        self.clock.sleep(self.cost);
        Ok(av::Frame::alloc_video(self.format(), 4, 2, 0)?)
    }
}

fn screen(changes: &[u64], cost: u64, variable: bool) -> (Screen, Arc<Hands>) {
    let clock = Arc::new(Hands::default());
    let changes = changes.iter().map(|ms| Duration::from_millis(*ms)).collect();
    let drawn = Drawn { clock: clock.clone(), changes, cost: Duration::from_millis(cost) };
    let rate = Rational::new(100, 1);
    let screen = Screen {
        grabber: Box::new(drawn),
        clock: clock.clone(),
        interrupt: av::Interrupt::new(),
        rate,
        variable,
        duration: Some(Duration::from_millis(2500)),
        pacer: Pacer::new(rate),
        began: None,
        last: None,
        given: None,
        counts: Arc::default(),
    };
    (screen, clock)
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
