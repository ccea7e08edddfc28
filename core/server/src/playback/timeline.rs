//! Where every segment of a source begins, known before any is made. Pure.

use super::decide::picture;
use serde_json::Value;

/// The segments of the whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// Start and length of each on the output's timeline, in seconds.
    pub segments: Vec<(f64, f64)>,
    /// What an engine document says: a little before each first frame, so that rounding cannot move it.
    pub starts: Vec<f64>,
    /// Frames a second.
    pub frame_rate: Option<(u64, u64)>,
    /// Whether pictures must be put on an even rate to be where the timeline says.
    pub even_out: bool,
}

/// What is shorter than this belongs to the segment before it.
const SHORTEST: f64 = 0.5;
/// What comes unevenly is put on this many pictures a second at most.
const FASTEST: f64 = 60.0;
/// Sound may begin this much before the first picture and be in its segment.
const LATEST: f64 = 0.25;

impl Timeline {
    /// Length of the whole.
    pub fn duration(&self) -> f64 {
        self.segments.last().map_or(0.0, |(start, length)| start + length)
    }

    /// The longest segment.
    pub fn longest(&self) -> f64 {
        self.segments.iter().map(|s| s.1).fold(0.0, f64::max)
    }

    /// The number of the segment that time `at` lies in.
    pub fn at(&self, at: f64) -> u64 {
        self.segments.partition_point(|s| s.0 <= at).saturating_sub(1) as u64
    }

    /// Segments of about `target` seconds of an encode of what `probe` describes, from `start` of it on; the very first one may
    /// be shorter, `first`, because nobody can play before it is there. `None` when its length is not known.
    pub fn encoded(probe: &Value, target: f64, first: Option<f64>, start: f64) -> Option<Timeline> {
        let begin = probe["start"].as_f64().unwrap_or(0.0) + start;
        let total = probe["duration"].as_f64().filter(|d| d.is_finite() && *d > 0.0)? - start;
        let early = first.filter(|first| first + SHORTEST <= target);
        let Some(stream) = picture(probe) else {
            return Some(Timeline::even(total, (target, early), None, (0.0, 0.0), false));
        };
        let first = stream["start"]["seconds"].as_f64().map_or(0.0, |s| (s - begin).max(0.0));
        let length = stream["duration"]["seconds"].as_f64().filter(|d| *d > 0.0);
        let end = match (length, stream["start"]["seconds"].as_f64()) {
            (Some(length), Some(from)) => (from - begin + length).min(total + 1.0),
            _ => total,
        };
        let rate = even_rate(&stream["video"]);
        // What is not known to be even is evened out, and then counts from 0. So is what begins between two frames.
        let constant = stream["video"]["constant_rate"].as_bool() == Some(true) && start == 0.0;
        let phase = if constant { first } else { 0.0 };
        Some(Timeline::even(end, (target, early), rate, (first, phase), rate.is_some() && !constant))
    }

    /// Every `target` seconds (and once earlier), on the first frame at or after that, and from the first one after the first
    /// `picture` on.
    fn even(
        end: f64,
        (target, early): (f64, Option<f64>),
        rate: Option<(u64, u64)>,
        (picture, phase): (f64, f64),
        even_out: bool,
    ) -> Timeline {
        let step = rate.map_or(0.0, |(n, d)| d as f64 / n as f64);
        // The first frame at or after a time, and how far rounding may be off.
        let frame = |at: f64| match step > 0.0 {
            true => phase + ((at - phase) / step - 1e-6).ceil().max(0.0) * step,
            false => at,
        };
        // An engine puts all sound from 0 on into the first one.
        let (mut begins, mut starts) = (vec![0.0], vec![0.0]);
        for cell in early.into_iter().chain((1..).map(|cell| f64::from(cell) * target)) {
            let at = frame(cell);
            if at + SHORTEST.min(target / 2.0) > end {
                break;
            }
            // Pictures that begin late leave no frame to begin with in the cells before them.
            if at < picture + (step * 0.99).max(1e-6) {
                continue;
            }
            begins.push(at);
            // Encoders that count frames round it to the nearest one, which must not be the one before.
            starts.push(at - step / 4.0);
        }
        Timeline { segments: lengths(&begins, end), starts, frame_rate: rate, even_out }
    }

    /// Segments of about `target` seconds of a copy whose key frames are listed in `probe`. `None` when some would be longer
    /// than `longest`, or nothing is known.
    pub fn copied(probe: &Value, target: f64, longest: f64) -> Option<Timeline> {
        let stream = picture(probe)?;
        let begin = probe["start"].as_f64().unwrap_or(0.0);
        let keys: Vec<f64> = stream["keyframes"]
            .as_array()?
            .iter()
            .filter_map(|k| k["time"].as_f64())
            .map(|t| t - begin)
            .collect();
        let total = probe["duration"].as_f64().filter(|d| *d > 0.0)?;
        let end = match (stream["start"]["seconds"].as_f64(), stream["duration"]["seconds"].as_f64()) {
            (Some(from), Some(length)) if length > 0.0 => from - begin + length,
            _ => total,
        };
        let rate = fraction(stream["video"]["frame_rate"].as_str().unwrap_or_default());
        let half = rate.map_or(0.005, |(n, d)| d as f64 / n as f64 / 2.0);
        let mut begins = vec![*keys.first()?];
        let mut cell = 1.0;
        for key in &keys[1..] {
            if *key + 0.001 >= cell * target && key + SHORTEST < end {
                begins.push(*key);
                cell = (key / target + 1e-3).floor() + 1.0;
            }
        }
        let segments = lengths(&begins, end);
        // What begins inside a group of pictures has sound that nothing is seen with: it is left out.
        let late = begins[0] > LATEST;
        let start = |(n, t): (usize, &f64)| if n == 0 && !late { 0.0 } else { t - half };
        let starts = begins.iter().enumerate().map(start).collect();
        let timeline = Timeline { segments, starts, frame_rate: rate, even_out: false };
        (begins[0] >= -half && timeline.longest() <= longest).then_some(timeline)
    }
}

fn lengths(begins: &[f64], end: f64) -> Vec<(f64, f64)> {
    let next = begins.iter().skip(1).copied().chain([end.max(begins.last().copied().unwrap_or(0.0) + 0.001)]);
    begins.iter().zip(next).map(|(start, next)| (*start, next - start)).collect()
}

/// The rate that the pictures of `video` are put on: where they are known to come unevenly, one that has a place for each of them.
/// Their average would leave out some where most come.
fn even_rate(video: &Value) -> Option<(u64, u64)> {
    let rate = |name: &str| fraction(video[name].as_str().unwrap_or_default());
    let mean = rate("frame_rate");
    let value = |(n, d): (u64, u64)| n as f64 / d as f64;
    let every = rate("real_frame_rate").filter(|_| video["constant_rate"].as_bool() == Some(false));
    every.filter(|all| value(*all) <= FASTEST && mean.is_none_or(|mean| value(*all) > value(mean))).or(mean)
}

/// `30000/1001`, if it is a rate that pictures have.
fn fraction(text: &str) -> Option<(u64, u64)> {
    let (n, d) = text.split_once('/').unwrap_or((text, "1"));
    let (n, d) = (n.parse::<u64>().ok()?, d.parse::<u64>().ok()?);
    (d > 0 && (1.0..=480.0).contains(&(n as f64 / d as f64))).then_some((n, d))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn probe(rate: &str, constant: bool, start: f64, length: f64, total: f64) -> Value {
        json!({"start": 0.0, "duration": total, "streams": [{"start": {"seconds": start}, "duration": {"seconds": length},
            "disposition": {}, "video": {"frame_rate": rate, "constant_rate": constant}}]})
    }

    #[test]
    fn segments_begin_on_frames_and_cover_the_pictures() {
        let t = Timeline::encoded(&probe("30000/1001", true, 0.0, 10.01, 10.1), 4.0, None, 0.0).unwrap();
        assert_eq!(t.segments.len(), 3);
        assert!((t.segments[1].0 - 120.0 * 1001.0 / 30000.0).abs() < 1e-9, "{t:?}");
        assert!((t.duration() - 10.01).abs() < 1e-9 && !t.even_out);
        assert!(t.starts[1] < t.segments[1].0 && t.starts[1] > t.segments[1].0 - 0.034);
        assert_eq!((t.at(0.0), t.at(4.0), t.at(4.01), t.at(99.0)), (0, 0, 1, 2));
        // Pictures that begin later than the sound keep their phase.
        let late = Timeline::encoded(&probe("25/1", true, 0.021, 8.0, 8.1), 4.0, None, 0.0).unwrap();
        assert!((late.segments[1].0 - 4.021).abs() < 1e-9, "{late:?}");
        let uneven = Timeline::encoded(&probe("25/1", false, 0.021, 8.0, 8.1), 4.0, None, 0.0).unwrap();
        assert!(uneven.even_out && (uneven.segments[1].0 - 4.0).abs() < 1e-9, "{uneven:?}");
    }

    #[test]
    fn what_comes_unevenly_loses_no_pictures() {
        let rate = |mean: &str, real: &str, constant: Value| {
            let mut probe = probe(mean, false, 0.0, 10.0, 10.0);
            probe["streams"][0]["video"]["real_frame_rate"] = json!(real);
            probe["streams"][0]["video"]["constant_rate"] = constant;
            Timeline::encoded(&probe, 4.0, None, 0.0).unwrap().frame_rate
        };
        assert_eq!(rate("672/19", "60/1", json!(false)), Some((60, 1)));
        assert_eq!(rate("672/19", "90000/1", json!(false)), Some((672, 19)), "a clock's rate");
        assert_eq!(rate("25/1", "50/1", json!(null)), Some((25, 1)), "perhaps fields");
        assert_eq!(rate("25/1", "50/1", json!(true)), Some((25, 1)), "fields");
    }

    #[test]
    fn pictures_that_begin_late_leave_no_cell_empty() {
        for (start, target, first) in [
            (0.3, 4.0, None),
            (1.2, 1.0, None),
            (1.2, 4.0, Some(1.0)),
            (2.0, 1.0, None),
            (5.5, 2.0, Some(1.0)),
        ] {
            let t = Timeline::encoded(&probe("25/1", true, start, 20.0 - start, 20.0), target, first, 0.0)
                .unwrap();
            assert!(t.starts[0] == 0.0 && t.starts.windows(2).all(|w| w[0] < w[1]), "{t:?}");
            assert_eq!(t.starts.len(), t.segments.len());
            assert!(t.segments.iter().all(|s| s.1 > 0.4) && t.segments[1].0 > start, "{t:?}");
            let sum: f64 = t.segments.iter().map(|s| s.1).sum();
            assert!(t.segments[0].0 == 0.0 && (sum - 20.0).abs() < 1e-9, "{t:?}");
        }
        let t = Timeline::encoded(&probe("25/1", true, 1.2, 3.8, 5.0), 1.0, None, 0.0).unwrap();
        let begins = |t: &Timeline| t.segments.iter().map(|s| (s.0 * 1000.0).round()).collect::<Vec<f64>>();
        assert_eq!(begins(&t), [0.0, 2000.0, 3000.0, 4000.0]);
        let uneven = Timeline::encoded(&probe("25/1", false, 1.21, 3.79, 5.0), 1.0, None, 0.0).unwrap();
        assert_eq!(begins(&uneven), [0.0, 2000.0, 3000.0, 4000.0]);
        let unknown = Timeline::encoded(&probe("0/0", false, 1.0, 4.0, 5.0), 1.0, None, 0.0).unwrap();
        assert_eq!(begins(&unknown), [0.0, 2000.0, 3000.0, 4000.0]);
    }

    #[test]
    fn the_first_segment_may_be_short() {
        let begins = |first: Option<f64>| -> Vec<f64> {
            let t = Timeline::encoded(&probe("25/1", true, 0.0, 9.0, 9.0), 4.0, first, 0.0).unwrap();
            t.segments.iter().map(|s| s.0).collect()
        };
        assert_eq!(begins(Some(1.0)), [0.0, 1.0, 4.0, 8.0]);
        assert_eq!(begins(Some(3.8)), [0.0, 4.0, 8.0], "what is left must be worth a segment");
    }

    #[test]
    fn what_is_left_over_is_no_segment() {
        let t = Timeline::encoded(&probe("25/1", true, 0.0, 8.2, 8.2), 4.0, None, 0.0).unwrap();
        assert_eq!(t.segments.len(), 2);
        assert!((t.segments[1].1 - 4.2).abs() < 1e-9);
        let short = Timeline::encoded(&probe("25/1", true, 0.0, 0.2, 0.2), 4.0, None, 0.0).unwrap();
        assert_eq!(short.segments.len(), 1);
        assert!(Timeline::encoded(&json!({"streams": []}), 4.0, None, 0.0).is_none());
        let sound = json!({"duration": 9.0, "streams": [{"audio": {}}]});
        assert_eq!(Timeline::encoded(&sound, 4.0, None, 0.0).unwrap().segments.len(), 3);
        let later = Timeline::encoded(&probe("25/1", true, 0.0, 20.0, 20.0), 4.0, None, 11.0).unwrap();
        assert!((later.duration() - 9.0).abs() < 1e-9 && later.segments.len() == 3, "{later:?}");
    }

    #[test]
    fn copies_have_the_key_frames_of_the_source() {
        let mut p = probe("25/1", true, 0.0, 20.0, 20.0);
        let keys = |times: &[f64]| -> Value { times.iter().map(|t| json!({"time": t})).collect() };
        p["streams"][0]["keyframes"] = keys(&[0.0, 2.0, 4.4, 8.0, 9.0, 13.0, 16.2, 19.8]);
        let t = Timeline::copied(&p, 4.0, 12.0).unwrap();
        let begins: Vec<f64> = t.segments.iter().map(|s| s.0).collect();
        assert_eq!(begins, [0.0, 4.4, 8.0, 13.0, 16.2]);
        assert!(t.starts[0] == 0.0 && (t.starts[1] - 4.38).abs() < 1e-9, "{t:?}");
        // What is before the first key frame is left out, but for what little sound comes before any picture.
        p["streams"][0]["keyframes"] = keys(&[0.08, 2.0, 4.4]);
        let t = Timeline::copied(&p, 4.0, 20.0).unwrap();
        assert_eq!((t.starts[0], t.segments[0].0), (0.0, 0.08));
        p["streams"][0]["keyframes"] = keys(&[1.2, 4.4]);
        let t = Timeline::copied(&p, 4.0, 20.0).unwrap();
        assert!((t.starts[0] - 1.18).abs() < 1e-9 && t.segments[0].0 == 1.2, "{t:?}");
        p["streams"][0]["keyframes"] = keys(&[0.0, 15.0]);
        assert!(Timeline::copied(&p, 4.0, 12.0).is_none(), "too long");
    }
}
