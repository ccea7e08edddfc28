use super::super::{Jobs, new_record};
use super::*;
use crate::config::Config;
use crate::contract::request::TranscodeRequest;
use crate::worker::Command;
use ghoststream::event::Outcome;
use ghoststream::spec::Preset;
use serde_json::json;

/// Jobs that have no workers.
fn jobs(dir: &std::path::Path) -> Jobs {
    let mut config = Config::default();
    config.transcoding.temp_directory = dir.join("jobs");
    config.transcoding.worker_command = vec!["true".into()];
    config.transcoding.idle_workers = 0;
    config.security.state_directory = dir.join("state");
    Jobs::open(&config).unwrap()
}

/// A file of a minute that is made in software.
fn record(source: &str, priority: &str) -> Record {
    let body = json!({"source": source, "mode": "batch", "output": {"format": "mp4"}, "priority": priority});
    let request = TranscodeRequest::read(&body).unwrap().request;
    let mut record = new_record(request, "c".into(), None, String::new());
    (record.duration, record.encoder) = (Some(60.0), Some("libx264".into()));
    record
}

/// A job in `table` that has begun; what its run is told, and why it is to end.
fn begun(table: &mut Table, record: Record) -> (Box<dyn FnMut() -> Option<Command>>, RunSide) {
    let (run, told) = Run::imagined([]);
    let (handle, side) = RunHandle::new();
    table.queue.push(record.waiting(0.0)).unwrap();
    assert_eq!(table.queue.next(1.0).unwrap().id, record.id);
    let mut entry = Entry::new(record);
    entry.run = Some(handle);
    entry.steering = Some(Steering::new(run.control(), vec![1_000_000], Preset::P4));
    table.insert(entry);
    (told, side)
}

#[derive(Debug, PartialEq)]
enum Fate {
    GoesOn,
    Halted,
    PutBack,
}

/// What becomes of a running job when an urgent one waits.
fn displaced(change: impl FnOnce(&mut Record), source: &str, priority: &str) -> Fate {
    let mut table = Table::new(1, 9, Default::default());
    let mut running = record(source, priority);
    change(&mut running);
    let id = running.id.clone();
    let (mut told, side) = begun(&mut table, running);
    table.queue.push(record("urgent.mp4", "high").waiting(0.0)).unwrap();
    let halted = make_room(&mut table);
    let paused = matches!(told(), Some(Command::Pause));
    let why = *side.why.borrow();
    assert_eq!((halted, paused), (table.queue.is_halted(&id), halted));
    match (halted, why) {
        (true, Why::No) => Fate::Halted,
        (false, Why::Preempted) => Fate::PutBack,
        (false, Why::No) => Fate::GoesOn,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_live_or_on_a_card_is_not_halted() {
    let same = |_: &mut Record| ();
    let on_card = |r: &mut Record| r.encoder = Some("h264_nvenc".into());
    assert_eq!(displaced(same, "film.mp4", "low"), Fate::Halted);
    assert_eq!(displaced(same, "film.mp4", "normal"), Fate::Halted);
    assert_eq!(displaced(same, "http://h/film.mp4", "low"), Fate::Halted);
    // The urgent one may need the card's sessions.
    assert_eq!(displaced(on_card, "film.mp4", "low"), Fate::PutBack);
    assert_eq!(displaced(on_card, "film.mp4", "normal"), Fate::GoesOn);
    for live in ["rtmp://h/live/x", "SRT://h:9000", "rtsp://h/x", "udp://@:1", "tcp://h:1"] {
        assert_eq!(displaced(same, live, "low"), Fate::GoesOn, "{live}");
        assert_eq!(displaced(on_card, live, "low"), Fate::GoesOn, "{live}");
    }
    let endless = |r: &mut Record| r.duration = None;
    assert_eq!(displaced(endless, "http://h/live.m3u8", "low"), Fate::GoesOn);
    assert_eq!(displaced(endless, "elementary.h264", "low"), Fate::Halted, "a file waits");
}

#[test]
fn of_several_the_one_that_can_be_halted_is() {
    let mut table = Table::new(2, 9, Default::default());
    let file = record("film.mp4", "normal");
    let id = file.id.clone();
    let (mut told, _side) = begun(&mut table, file);
    let (mut live_told, _live) = begun(&mut table, record("rtmp://h/live/x", "low"));
    table.queue.push(record("urgent.mp4", "high").waiting(0.0)).unwrap();
    assert!(make_room(&mut table) && table.queue.is_halted(&id));
    assert!(matches!(told(), Some(Command::Pause)) && live_told().is_none());
}

#[tokio::test]
async fn hardware_that_fails_under_a_whole_ladder_has_failed_once() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = jobs(dir.path());
    let inner = &jobs.0;
    let record = record("film.mp4", "normal");
    let id = record.id.clone();
    inner.table().insert(Entry::new(record));
    for run in 1..=3 {
        // As at the beginning of each.
        inner.table().jobs.get_mut(&id).unwrap().failed_over = false;
        let failed = (0..4).map(|rung| Report::Warning {
            code: "fallback",
            message: format!("outputs[0].ladder[{rung}]: nvenc failed (device lost); libx264 goes on"),
        });
        let done =
            Done { outcome: Outcome::Completed, error: None, message: None, outputs: vec![], elapsed: 1.0 };
        let (mut run_of_it, _told) = Run::imagined(failed.chain([Report::Done(done)]));
        listen(inner, &id, &mut run_of_it).await.unwrap();
        assert_eq!(jobs.off().contains_key("nvenc"), run == 3, "after {run} runs");
    }
    let told = jobs.get(&id).unwrap().warnings;
    assert_eq!(told.iter().filter(|w| w.contains("is off for 5 minutes")).count(), 1, "{told:?}");
    jobs.close().await;
}

#[tokio::test]
async fn a_device_that_keeps_failing_to_decode_is_left_alone_and_its_encoder_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = jobs(dir.path());
    let inner = &jobs.0;
    let plan = |device: &str| -> Report {
        let decoder =
            json!({"stream": 0, "codec": "h264", "device": device, "threads": 1, "reason": "asked for"});
        let plan = json!({"source": "film.mp4", "decoders": [decoder], "outputs": []});
        Report::Plan(serde_json::from_value(plan).unwrap())
    };
    let warning = |message: &str| Report::Warning { code: "fallback", message: message.into() };
    let over = || {
        let outcome = Outcome::Completed;
        Report::Done(Done { outcome, error: None, message: None, outputs: vec![], elapsed: 1.0 })
    };
    let mut id = String::new();
    let broken = "film.mp4, stream 0: cuda no longer decodes (decode: lost); decoding in software";
    for (run, reports) in [
        (
            0,
            vec![
                plan("cuda"),
                warning("film.mp4: cuda does not decode this stream; decoding in software"),
                over(),
            ],
        ),
        (1, vec![plan("cuda"), warning(broken), warning(broken), over()]),
        (2, vec![plan("cuda"), warning(broken), over()]),
        (3, vec![plan("cuda"), warning(broken), over()]),
    ] {
        // Another film each time: one that is broken counts once.
        let record = record(&format!("film{run}.mp4"), "normal");
        id = record.id.clone();
        inner.table().insert(Entry::new(record));
        let (mut run_of_it, _told) = Run::imagined(reports);
        listen(inner, &id, &mut run_of_it).await.unwrap();
        assert_eq!(jobs.decoders_off().contains_key("cuda"), run == 3, "after {run} runs");
        let whole = inner.table().jobs.get(&id).unwrap().decodes_on.is_some();
        assert_eq!(whole, run == 0, "who decoded to the end in run {run}");
    }
    assert!(jobs.off().is_empty());
    let told = jobs.get(&id).unwrap().warnings;
    assert!(told.iter().any(|w| w.contains("is done in software for 5 minutes")), "{told:?}");
    let spec = |device: &str, codec: &str| -> PipelineSpec {
        let video = json!({"codec": codec, "device": device});
        let video = if codec == "copy" { json!({"codec": "copy"}) } else { video };
        let output = json!({"path": "o.mp4", "video": video});
        serde_json::from_value(json!({"source": {"url": "film.mp4"}, "outputs": [output]})).unwrap()
    };
    assert_eq!(encoded_on(&spec("cuda", "h264")), Some(Device::Cuda));
    assert_eq!(encoded_on(&spec("software", "h264")), None);
    assert_eq!(encoded_on(&spec("auto", "copy")), None);
    jobs.close().await;
}

#[tokio::test]
async fn a_halted_job_that_goes_on_is_told_again_whatever_it_makes() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = jobs(dir.path());
    let inner = &jobs.0;
    let record = record("song.mp4", "normal");
    let id = record.id.clone();
    let (mut told, side) = begun(&mut inner.table(), record);
    let at = |time: f64, frames: u64| moved(inner, &id, &Progress { time, frames, ..Progress::default() });
    at(1.0, 0);
    assert!(told().is_none(), "it runs");
    inner.table().queue.halt(&id);
    at(1.0, 0);
    assert!(told().is_none(), "it stands still");
    at(1.5, 0);
    assert!(matches!(told(), Some(Command::Pause)), "it has no pictures, and goes on all the same");
    at(1.5, 3);
    assert!(matches!(told(), Some(Command::Pause)), "pictures without the sound that is written with them");
    at(1.5, 3);
    assert!(told().is_none());
    drop(side);
    jobs.close().await;
}
