//! The worker's side: `ghoststream worker` runs one document at a time and tells what happens.
//!
//! It ends when its standard input does (the server is gone), and at once when nobody reads its output.

use super::protocol::{Command, Sandbox};
use ghoststream::event::{Done, Event, Next, Outcome};
use ghoststream::probe::{ProbeOptions, probe};
use ghoststream::process::{self, Limit, Reach};
use ghoststream::{Error, ErrorKind, Job, Pipeline, PipelineSpec, Result};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often a worker says that it is there.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long a run may take to end when the server has gone.
const LAST_BREATH: Duration = Duration::from_secs(3);

/// What programs, libraries, fonts and drivers read.
const SYSTEM: &[&str] = &[
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/etc",
    "/opt",
    "/nix",
    "/proc",
    "/sys",
    "/run",
    "/var/lib",
    "/var/cache/fontconfig",
];

/// The variable that names the render node of VA-API: that of the setting, which is a server's too.
pub(crate) const VAAPI: &str = "GHOSTSTREAM_HARDWARE_VAAPI_DEVICE";

/// Runs a worker to its end; gives its exit code. Takes over standard input and output.
pub fn run() -> i32 {
    // The signal is one of two ways to end with the server, and the faster one; the end of the input is the other.
    if let Err(e) = process::die_with_parent() {
        tracing::warn!(error = %e, "this worker may outlive its server");
    }
    if let Err(e) = process::no_new_privileges() {
        tracing::warn!(error = %e, "privileges are kept");
    }
    if let Err(e) = process::drop_capabilities() {
        tracing::warn!(error = %e, "capabilities are kept");
    }
    match process::filter_calls() {
        Ok(true) => {}
        Ok(false) => tracing::debug!("this kernel has no seccomp"),
        Err(e) => tracing::warn!(error = %e, "calls of the kernel are not filtered"),
    }
    for (limit, most) in [(Limit::CoreSize, 0), (Limit::OpenFiles, 4096)] {
        if let Err(e) = process::limit(limit, most) {
            tracing::warn!(error = %e, "a limit of this worker cannot be set");
        }
    }
    if let Some(node) = std::env::var(VAAPI).ok().filter(|node| !["", "auto"].contains(&node.as_str())) {
        ghoststream::device::prefer_vaapi(Some(&node));
    }
    let voice = Voice::default();
    voice.say(&json!({ "type": "hello", "version": ghoststream::VERSION }));
    let (sender, commands) = channel();
    let threads = [
        thread("commands", move || listen(&sender)),
        thread("heartbeat", {
            let voice = voice.clone();
            move || {
                loop {
                    std::thread::sleep(HEARTBEAT);
                    voice.say(&json!({ "type": "alive" }));
                }
            }
        }),
    ];
    match threads.into_iter().collect::<std::io::Result<Vec<()>>>() {
        Ok(_) => serve(&voice, &commands),
        Err(e) => {
            tracing::error!(error = %e, "no threads for this worker");
            1
        }
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(body).map(drop)
}

/// Writes messages; whole lines, whoever speaks.
#[derive(Clone, Default)]
struct Voice(Arc<Mutex<()>>);

impl Voice {
    fn say(&self, message: &impl Serialize) {
        let Ok(mut line) = serde_json::to_vec(message) else { return };
        line.push(b'\n');
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stdout().lock();
        if out.write_all(&line).and_then(|()| out.flush()).is_err() {
            // Nobody listens any more, so nobody wants the rest.
            std::process::exit(0);
        }
    }

    fn answer(&self, answer: Result<Value>) {
        match answer {
            Ok(value) => self.say(&json!({ "type": "answer", "value": value })),
            Err(e) => self.say(&json!({ "type": "refused", "kind": e.kind(), "message": e.message() })),
        }
    }
}

/// Reads commands until the input ends.
fn listen(sender: &Sender<Result<Command>>) {
    for line in std::io::stdin().lock().lines() {
        let command = match line {
            Ok(line) if line.trim().is_empty() => continue,
            Ok(line) => ghoststream::spec::parse_json(&line),
            Err(_) => return,
        };
        if sender.send(command).is_err() {
            return;
        }
    }
}

fn serve(voice: &Voice, commands: &Receiver<Result<Command>>) -> i32 {
    let mut job: Option<Arc<Job>> = None;
    loop {
        let command = match commands.recv() {
            Ok(Ok(command)) => command,
            Ok(Err(e)) => {
                voice.answer(Err(e));
                continue;
            }
            Err(_) => break,
        };
        match command {
            Command::Confine(sandbox) => voice.answer(confine(&sandbox)),
            Command::Probe { source, keyframes } => {
                let found = probe(&source, &ProbeOptions { keyframes });
                voice.answer(found.and_then(|p| {
                    serde_json::to_value(p).map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))
                }));
            }
            Command::Run { spec } => match start(*spec) {
                Ok(started) => {
                    let (told, teller) = (started.clone(), voice.clone());
                    if let Err(e) = thread("events", move || tell(&told, &teller)) {
                        started.cancel();
                        voice_of_failure(voice, Error::from(e));
                    }
                    job = Some(started);
                }
                Err(e) => voice_of_failure(voice, e),
            },
            other => control(job.as_deref(), &other),
        }
    }
    // The server is gone. What is half-done is taken back, if that is quick.
    if let Some(job) = job {
        job.cancel();
        let _over_or_not = job.wait(Some(LAST_BREATH));
    }
    0
}

fn start(spec: PipelineSpec) -> Result<Arc<Job>> {
    Ok(Arc::new(Pipeline::from_spec(spec)?.start().job()?))
}

/// A run that could not begin ends like one that could not go on.
fn voice_of_failure(voice: &Voice, e: Error) {
    voice.say(&Event::Done(Done {
        outcome: Outcome::Failed,
        error: Some(e.kind()),
        message: Some(e.message().to_string()),
        outputs: Vec::new(),
        elapsed: 0.0,
    }));
}

fn tell(job: &Job, voice: &Voice) {
    loop {
        match job.next_event(None) {
            Next::Event(event) => {
                voice.say(&event);
                if matches!(event, Event::Done(_)) {
                    return;
                }
            }
            Next::Timeout => {}
            Next::End => return,
        }
    }
}

/// Commands to the running job; one that comes too late has nothing to do.
fn control(job: Option<&Job>, command: &Command) {
    let Some(job) = job else { return };
    let result = match command {
        Command::Set { change } => job.set(change),
        Command::Pause => job.pause(),
        Command::Resume => job.resume(),
        Command::Stop => {
            job.stop();
            Ok(())
        }
        Command::Cancel => {
            job.cancel();
            Ok(())
        }
        Command::Confine(_) | Command::Probe { .. } | Command::Run { .. } => Ok(()),
    };
    if let Err(e) = result {
        tracing::info!(error = %e, "a command came at the wrong time");
    }
}

/// Gives up what the sandbox does not name; says what the system could do.
fn confine(sandbox: &Sandbox) -> Result<Value> {
    if let Some(most) = sandbox.max_file {
        process::limit(Limit::FileSize, most)?;
    }
    let library_path = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let program = std::env::current_exe().ok().and_then(|p| p.parent().map(Path::to_path_buf));
    let mut read: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    read.extend(std::env::split_paths(&library_path).filter(|p| !p.as_os_str().is_empty()));
    read.extend(program);
    read.extend(sandbox.read.iter().cloned());
    let mut write = sandbox.write.clone();
    write.push(std::env::temp_dir());
    let reach = Reach { read, write, devices: vec!["/dev".into()] };
    let landlock = process::confine(&reach)?;
    Ok(json!({ "landlock": landlock }))
}
