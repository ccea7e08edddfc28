//! A container of any content, fed as bytes to a job that copies its streams into an HLS ladder.
#![no_main]

mod memory;

use ghoststream::job::Taken;
use ghoststream::{ErrorKind, Pipeline};
use libfuzzer_sys::fuzz_target;
use std::time::{Duration, Instant};

/// A job over so few bytes that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(100);

const FMP4: &str = r#"{"source": {"bytes": {}, "salvage": true, "timeout": 5}, "threads": 1, "outputs": [{"segments": true,
    "format": "hls+dash", "segment": {"duration": 1}, "video": {"codec": "copy"}, "audio": {"codec": "copy"}}]}"#;
const TS: &str = r#"{"source": {"bytes": {}, "salvage": true, "timeout": 5}, "threads": 1, "outputs": [{"segments": true,
    "format": "hls", "segment": {"duration": 1, "container": "ts"}, "video": {"codec": "copy"}, "audio": {"codec": "copy"}}]}"#;

fuzz_target!(|data: &[u8]| {
    let json = if data.len() % 2 == 0 { FMP4 } else { TS };
    let job = Pipeline::from_json(json).and_then(|p| p.start().job()).expect("the document is right");
    // The queue takes more than the longest input, so this does not wait; a job that has failed takes no more.
    let _ = job.write_within(data, Some(LIMIT));
    job.finish_input();
    let begin = Instant::now();
    loop {
        match job.next_segment(0, Some(LIMIT)).expect("the output gives segments") {
            Taken::Item(segment) => assert!(!segment.name.is_empty()),
            Taken::End => break,
            Taken::Timeout => {}
        }
        assert!(begin.elapsed() < LIMIT, "the job hangs");
    }
    let done = job.wait(Some(LIMIT)).expect("waiting does not fail").expect("the job ends");
    assert_ne!(done.error, Some(ErrorKind::Internal), "{:?}", done.message);
    drop(job);
    memory::check();
});
