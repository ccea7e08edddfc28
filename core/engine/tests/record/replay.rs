//! The last seconds, saved on command.

use super::support::*;
use ghoststream::event::Event;
use serde_json::json;

fn next_save(job: &ghoststream::Job) -> (usize, String, f64) {
    until(job, |e| match e {
        Event::Saved { output, path, duration, .. } => Some((*output, path.clone(), *duration)),
        Event::Warning { code, message } => panic!("{code}: {message}"),
        _ => None,
    })
}

/// The file begins with a key frame and has every frame from its first on; gives the first number and how many.
fn run(path: &str) -> (u32, u32) {
    probe(path);
    let frames = numbers(path);
    assert!(packets(path, "v:0").first().is_some_and(|p| p.2), "{path} begins with a key frame");
    for (i, (number, time)) in frames.iter().enumerate() {
        assert_eq!(*number, frames[0].0 + i as u32, "{path}");
        assert!((time - i as f64 / 25.0).abs() < 0.1, "{path}: frame {i} at {time}");
    }
    (frames[0].0, frames.len() as u32)
}

#[test]
fn saved_again_and_again_while_it_is_recorded_too() {
    for store in ["memory", "disk"] {
        let dir = Dir::new();
        let video = json!({"encoder": "libx264", "preset": "p1", "tune": "ull", "keyframe_interval": 0.4});
        let spec = json!({"source": pattern(0), "outputs": [
            {"path": dir.path("replay-{n}.mkv"), "video": video, "replay": {"seconds": 1.2, "store": store}},
            {"path": dir.path("all.mkv"), "video": video},
            {"packets": {"live": true}, "video": video, "audio": false}]});
        let job = start(&spec);
        reach(&job, 2.5);
        job.save(0, None).unwrap();
        // While the first is written.
        job.save(0, Some(0.5)).unwrap();
        let (output, first, length) = next_save(&job);
        assert_eq!((output, first.as_str()), (0, dir.path("replay-1.mkv").as_str()));
        assert!((1.2..=1.75).contains(&length), "{length}");
        let (_, second, length) = next_save(&job);
        assert!((0.5..=1.0).contains(&length), "{length}");
        let (from, count) = run(&first);
        assert!(from > 0 && (30..=43).contains(&count), "{from} {count}");
        assert!(run(&second).0 > from);
        let sound = packets(&first, "a:0");
        let heard = sound.iter().map(|p| p.1).sum::<f64>();
        assert!(sound[0].0 < 0.1 && (heard - f64::from(count) / 25.0).abs() < 0.15, "{heard}");
        let now = job.stats().tracks.iter().map(|t| t.time).fold(0.0, f64::max);
        reach(&job, now + 0.5);
        job.save(0, None).unwrap();
        let (_, third, _) = next_save(&job);
        assert!(run(&third).0 > from);
        assert_eq!(video_encoders(&job), 1, "{:?}", job.stats().stages);
        assert_eq!(job.save(1, None).unwrap_err().kind(), ghoststream::ErrorKind::Unsupported);
        assert_eq!(job.save(0, Some(-1.0)).unwrap_err().kind(), ghoststream::ErrorKind::Invalid);
        // A save at the very end is still made.
        job.save(0, Some(1.0)).unwrap();
        job.stop();
        let (done, _) = end(&job);
        assert_eq!(done.outputs.len(), 5, "{:?}", done.outputs);
        let all = numbers(&dir.path("all.mkv"));
        assert!(all.iter().enumerate().all(|(i, (n, _))| *n == i as u32), "nothing was lost by saving");
        assert_eq!(dir.names(), ["all.mkv", "replay-1.mkv", "replay-2.mkv", "replay-3.mkv", "replay-4.mkv"]);
    }
}

#[test]
fn a_save_right_after_the_start_says_what_there_is() {
    let dir = Dir::new();
    let spec = json!({"source": pattern(0), "outputs": [
        {"path": dir.path("{n}.mp4"), "video": quick(), "replay": {"seconds": 60}}]});
    let job = start(&spec);
    until(&job, |e| matches!(e, Event::State { state: ghoststream::event::State::Running }).then_some(()));
    job.save(0, None).unwrap();
    let said = until(&job, |e| match e {
        Event::Saved { path, .. } => Some(path.clone()),
        Event::Warning { code: "save", message } => Some(message.clone()),
        _ => None,
    });
    assert!(said.contains("nothing to save yet") || said.ends_with("1.mp4"), "{said}");
    reach(&job, 0.3);
    job.save(0, None).unwrap();
    let (_, path, length) = next_save(&job);
    assert!(length > 0.2, "{length}");
    assert_eq!(run(&path).0, 0);
    job.cancel();
}

#[test]
fn bytes_are_a_bound_too() {
    let dir = Dir::new();
    let video = json!({"encoder": "libx264", "preset": "p1", "tune": "ull", "keyframe_interval": 0.4, "bitrate": "2M",
        "cbr": true, "options": {"nal-hrd": "cbr"}});
    let spec = json!({"source": pattern(0), "outputs": [{"path": dir.path("{n}.mkv"), "video": video, "audio": false,
        "replay": {"seconds": 60, "bytes": "300k"}}]});
    let job = start(&spec);
    reach(&job, 3.0);
    job.save(0, None).unwrap();
    let (_, path, length) = next_save(&job);
    job.cancel();
    let size = std::fs::metadata(&path).unwrap().len();
    assert!((120_000..=310_000).contains(&size), "{size}");
    assert!((0.4..=1.3).contains(&length), "{length}");
}

#[test]
fn tracks_of_a_replay_are_those_of_its_output() {
    let dir = Dir::new();
    let spec = json!({"source": pattern(0), "outputs": [
        {"path": dir.path("{n}.mkv"), "video": quick(), "audio": [{"codec": "aac"}, {"codec": "opus"}],
         "replay": {"seconds": 5}},
        {"path": dir.path("sound-{n}.mka"), "video": false, "audio": {"codec": "opus"}, "replay": {"seconds": 2}}]});
    let job = start(&spec);
    reach(&job, 3.3);
    job.save(0, None).unwrap();
    job.save(1, None).unwrap();
    let (mut saves, mut kinds) = (vec![next_save(&job), next_save(&job)], Vec::new());
    job.cancel();
    saves.sort_by_key(|s| s.0);
    for (_, path, _) in &saves {
        let found = probe(path);
        kinds.push(
            found["streams"].as_array().unwrap().iter().map(|s| s["codec_name"].clone()).collect::<Vec<_>>(),
        );
    }
    assert_eq!(json!(kinds), json!([["h264", "aac", "opus"], ["opus"]]));
    assert!((2.0..=3.2).contains(&saves[1].2), "{saves:?}");
}

#[test]
fn what_the_container_cannot_carry_is_refused_at_the_start() {
    let dir = Dir::new();
    let spec = json!({"source": pattern(0), "outputs": [
        {"path": dir.path("{n}.webm"), "format": "webm", "video": {"codec": "h264"}, "replay": {"seconds": 5}}]});
    let job = start(&spec);
    let done = job.wait(LONG).unwrap().unwrap();
    assert_eq!(done.outcome, ghoststream::event::Outcome::Failed);
}
