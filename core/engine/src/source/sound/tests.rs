//! Tracks of made-up ears, by a clock that only sleeping moves.

use super::*;
use std::collections::VecDeque;

#[derive(Default)]
struct Sleeping(Mutex<Duration>);

impl Clock for Sleeping {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) {
        *self.0.lock().unwrap() += duration;
    }
}

/// Hears the same value all the time from `from` to `to`, in runs of 10 ms.
struct Humming {
    clock: Arc<Sleeping>,
    value: f32,
    from: Duration,
    to: Duration,
    heard: Duration,
    waiting: VecDeque<Duration>,
}

const RUN: Duration = Duration::from_millis(10);

impl Ear for Humming {
    fn hear(&mut self, _: Duration) -> Result<Option<Heard>> {
        let now = self.clock.now();
        while self.heard + RUN <= now.min(self.to) {
            self.waiting.push_back(self.heard);
            self.heard += RUN;
        }
        let heard = self.waiting.pop_front();
        Ok(heard.map(|at| Heard { samples: vec![self.value; 480 * CHANNELS], age: now - at }))
    }

    fn is_running(&self) -> bool {
        let now = self.clock.now();
        now >= self.from && now < self.to
    }

    fn linked(&self) -> Vec<String> {
        if self.is_running() { vec!["hum".into()] } else { Vec::new() }
    }

    fn turn_to(&mut self, _: &SoundSpec) {
        self.value = -self.value;
    }
}

struct Made {
    clock: Arc<Sleeping>,
    sound: Sound,
    said: Arc<Mutex<Vec<String>>>,
}

/// A track of ears that hum `value` from and to these milliseconds.
fn track(ears: &[(f32, u64, u64, &str)], seconds: f64) -> Made {
    let clock = Arc::new(Sleeping::default());
    let ears = ears.iter().map(|(value, from, to, sound)| {
        let from = Duration::from_millis(*from);
        let ear = Humming {
            clock: clock.clone(),
            value: *value,
            from,
            to: Duration::from_millis(*to),
            heard: from,
            waiting: VecDeque::new(),
        };
        (Box::new(ear) as Box<dyn Ear>, sound.parse().unwrap())
    });
    let common = Common {
        clock: clock.clone(),
        interrupt: av::Interrupt::new(),
        origin: Arc::default(),
        follows: false,
        duration: Some(Seconds(seconds)),
    };
    let mut sound = Sound::new(ears.collect(), common);
    let said = Arc::new(Mutex::new(Vec::new()));
    let to = said.clone();
    sound.tell(Box::new(move |message| to.lock().unwrap().push(message)));
    Made { clock, sound, said }
}

/// The left channel of everything; every frame must begin where the one before ended.
fn samples(sound: &mut Sound) -> Vec<f32> {
    let mut all = Vec::new();
    while let Some(frame) = sound.next().unwrap() {
        assert_eq!(frame.pts, Some(all.len() as i64));
        let plane = frame.media().plane(0);
        let samples = plane.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        all.extend(samples.take(frame.samples() as usize));
    }
    all
}

/// Where, in milliseconds, the value is there: from, to.
fn span(samples: &[f32], value: f32) -> (i64, i64) {
    let is = |s: &f32| (*s - value).abs() < 1e-4;
    let first = samples.iter().position(is).expect("it is heard");
    let last = samples.iter().rposition(is).expect("it is heard");
    ((first as i64 + 24) / 48, (last as i64 + 1 + 24) / 48)
}

#[test]
fn silence_is_as_long_as_sound() {
    let mut made = track(&[(0.5, 400, 1200, "desktop")], 2.0);
    let all = samples(&mut made.sound);
    assert_eq!(all.len(), 96_000);
    assert_eq!(span(&all, 0.5), (400, 1200));
    // Nothing waits for what does not come: 50 ms behind the clock.
    assert!(made.clock.now() < Duration::from_millis(2100), "{:?}", made.clock.now());
    let said = made.said.lock().unwrap().join("; ");
    assert!(said.contains("desktop: there is nothing to hear"), "{said}");
}

#[test]
fn sounds_are_mixed_with_their_gain_and_offset() {
    let ears = [(0.5, 500, 1000, "mic,gain=-6.0206,offset=100"), (0.1, 0, 2000, "app:x,offset=-50")];
    let all = samples(&mut track(&ears, 1.5).sound);
    assert_eq!(all.len(), 72_000);
    assert_eq!(span(&all, 0.35), (600, 1100));
    assert_eq!(span(&all, 0.1), (0, 1500));
}

#[test]
fn what_is_heard_can_change() {
    let mut made = track(&[(0.5, 0, 1000, "desktop")], 1.0);
    let mut seen = Vec::new();
    for i in 0..25 {
        if i == 10 {
            made.sound.turn().to("node:other".parse().unwrap());
        }
        seen.push(made.sound.next().unwrap().unwrap());
    }
    let first = |frame: &Frame| f32::from_ne_bytes(frame.media().plane(0)[..4].try_into().unwrap());
    assert_eq!((first(&seen[5]), first(&seen[20])), (0.5, -0.5));
}

#[test]
fn it_begins_and_ends_with_the_pictures() {
    struct Still(u32);
    impl Source<Frame> for Still {
        fn next(&mut self) -> Result<Option<Frame>> {
            self.0 += 1;
            Ok(None)
        }
    }
    let Made { clock, mut sound, .. } = track(&[(0.5, 0, 5000, "desktop")], 5.0);
    sound.follows = true;
    clock.sleep(Duration::from_millis(300));
    let mut pictures =
        Leading { source: Box::new(Still(0)), origin: sound.origin.clone(), clock: clock.clone() };
    assert!(pictures.next().unwrap().is_none());
    // What sounded before the first picture is not in it.
    let first = sound.next().unwrap().unwrap();
    let left = f32::from_ne_bytes(first.media().plane(0)[..4].try_into().unwrap());
    assert_eq!((first.pts, left), (Some(0), 0.5));
    drop(pictures);
    assert!(sound.next().unwrap().is_none());
}

#[test]
fn equal_numbers_are_one_track() {
    let sound = |name: &str, track| SoundSpec { track, ..SoundSpec::application(name) };
    let all = [sound("a", None), sound("b", Some(1)), sound("c", None), sound("d", Some(1))];
    let names: Vec<String> =
        tracks(&all).iter().map(|t| t.iter().map(|s| s.label()).collect::<Vec<_>>().join("+")).collect();
    assert_eq!(names, ["app:a", "app:b+app:d", "app:c"]);
}
