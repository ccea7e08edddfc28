//! Pause and resume: the time between is not in the files.

use super::support::*;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn what_happens_while_it_is_paused_is_left_out() {
    let dir = Dir::new();
    let path = dir.path("a.mkv");
    let video = json!({"encoder": "libx264", "preset": "p1", "tune": "ull", "gop": 1000});
    let spec = json!({"source": pattern(0), "outputs": [{"path": path, "video": video, "audio": {"codec": "flac"}}]});
    let began = Instant::now();
    let job = start(&spec);
    reach(&job, 0.8);
    job.pause().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    job.resume().unwrap();
    let at = job.stats().tracks.iter().map(|t| t.time).fold(0.0, f64::max);
    reach(&job, at + 0.8);
    job.stop();
    end(&job);
    let took = began.elapsed().as_secs_f64();
    let frames = numbers(&path);
    for (i, (number, time)) in frames.iter().enumerate() {
        assert_eq!(*number, i as u32);
        assert!((time - i as f64 / 25.0).abs() < 0.002, "frame {i} at {time}");
    }
    let length = frames.len() as f64 / 25.0;
    assert!(length < took - 1.2, "{length} s of {took}");
    let keys: Vec<f64> = packets(&path, "v:0").iter().filter(|p| p.2).map(|p| p.0).collect();
    assert_eq!(keys.len(), 2, "{keys:?}: a key frame where it went on");
    assert!((keys[1] - at).abs() < 0.5, "{keys:?}, {at}");
    let sound = packets(&path, "a:0");
    assert!(sound.windows(2).all(|p| (p[1].0 - p[0].0 - p[0].1).abs() < 0.002), "sound has no gap");
    let end = sound.last().map(|p| p.0 + p.1).unwrap();
    assert!((end - length).abs() < 0.1, "sound ends at {end}, pictures at {length}");
}
