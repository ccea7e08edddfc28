//! Runs a job document:  run_spec FILE.json

use ghoststream::{Pipeline, Result};

fn run(path: &str) -> Result<()> {
    let job = Pipeline::from_json(&std::fs::read_to_string(path)?)?.start().job()?;
    job.wait(None)?.map_or(Ok(()), |done| done.into_result().map(drop))
}

fn main() {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: run_spec FILE.json");
        std::process::exit(2);
    };
    if let Err(error) = run(&path) {
        eprintln!("{}: {error}", error.kind());
        std::process::exit(1);
    }
}
