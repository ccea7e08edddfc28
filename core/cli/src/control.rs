//! The way to a running recording: a socket in the user's runtime directory, one line of JSON there and one back.

use crate::args::live::{CtlArgs, CtlCommand};
use crate::exit::{Failure, Outcome, USAGE};
use crate::screen;
use ghoststream::event::{Event, PushStats, State};
use ghoststream::spec::{PipelineSpec, Plain};
use ghoststream::{Error, ErrorKind, Job};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long someone who connects may take to say what he wants; the job's events wait meanwhile.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long an answer may take: a long replay is written, a key frame is waited for.
const ANSWER: Duration = Duration::from_secs(60);

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
enum Request {
    Save {
        #[serde(default)]
        output: Option<usize>,
        #[serde(default)]
        seconds: Option<f64>,
    },
    Split {
        #[serde(default)]
        output: Option<usize>,
    },
    Pause,
    Resume,
    Stop,
    Status,
}

/// What signals ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Save the replay.
    Save,
    /// Pause, or go on.
    Toggle,
}

/// The end of the socket that answers.
pub struct Control {
    listener: Option<(UnixListener, PathBuf)>,
    name: String,
    /// Outputs that keep a replay.
    keeps: Vec<usize>,
    /// Outputs that can be cut.
    cuts: Vec<usize>,
    labels: Vec<String>,
    /// Who waits for a file, of which outputs, and which came.
    waiting: Vec<Waiting>,
}

struct Waiting {
    to: UnixStream,
    save: bool,
    outputs: Vec<usize>,
    files: Vec<String>,
}

/// The directory of the sockets.
fn directory() -> Option<PathBuf> {
    let runtime = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?);
    runtime.is_absolute().then(|| runtime.join("ghoststream"))
}

impl Control {
    /// Opens the socket of this process for the job of `spec`. Without a runtime directory there is none, which is said.
    pub fn open(spec: &PipelineSpec) -> Control {
        let outputs = spec.outputs.iter().enumerate();
        let mut control = Control {
            listener: None,
            name: spec.name.clone().unwrap_or_default(),
            keeps: outputs.clone().filter(|(_, o)| o.replay.is_some()).map(|(i, _)| i).collect(),
            cuts: outputs.filter(|(_, o)| !o.split.is_never()).map(|(i, _)| i).collect(),
            labels: spec.outputs.iter().map(|o| o.label()).collect(),
            waiting: Vec::new(),
        };
        match directory() {
            Some(directory) => match listen(&directory) {
                Ok(listener) => control.listener = Some(listener),
                Err(e) => screen::line(&format!(
                    "ghoststream: warning: {}: no control socket: {e}",
                    directory.display()
                )),
            },
            None => {
                screen::line("ghoststream: warning: XDG_RUNTIME_DIR is not set: there is no control socket");
            }
        }
        control
    }

    /// Obeys who has connected since the last time.
    pub fn poll(&mut self, job: &Job) {
        while let Some((listener, _)) = &self.listener {
            let Ok((stream, _)) = listener.accept() else { return };
            // One who hangs up or says nothing gets no answer.
            let _ = self.serve(stream, job);
        }
    }

    fn serve(&mut self, mut stream: UnixStream, job: &Job) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = String::new();
        BufReader::new(io::Read::take(stream.try_clone()?, 64 << 10)).read_line(&mut line)?;
        // The object first: a tagged enum would also be read from a list.
        let request = serde_json::from_str::<Plain<Map<String, Value>>>(&line)
            .and_then(|Plain(map)| Request::deserialize(Value::Object(map)));
        let request = match request {
            Ok(request) => request,
            Err(e) => return answer(&mut stream, &failed("invalid", &e.to_string())),
        };
        let result = match request {
            Request::Save { output, seconds } => {
                let outputs = output.map_or_else(|| self.keeps.clone(), |o| vec![o]);
                return self.ask(stream, true, outputs, |o| job.save(o, seconds));
            }
            Request::Split { output } => {
                let outputs = output.map_or_else(|| self.cuts.clone(), |o| vec![o]);
                return self.ask(stream, false, outputs, |o| job.split(o));
            }
            Request::Pause => job.pause().map(|()| json!({"ok": true})),
            Request::Resume => job.resume().map(|()| json!({"ok": true})),
            Request::Stop => {
                job.stop();
                Ok(json!({"ok": true}))
            }
            Request::Status => Ok(self.status(job)),
        };
        answer(&mut stream, &result.unwrap_or_else(|e| refused(&e)))
    }

    fn ask(
        &mut self,
        mut stream: UnixStream,
        save: bool,
        outputs: Vec<usize>,
        run: impl Fn(usize) -> ghoststream::Result<()>,
    ) -> io::Result<()> {
        if outputs.is_empty() {
            let nothing = if save { "no output keeps a replay" } else { "no output can be cut" };
            return answer(&mut stream, &failed("unsupported", nothing));
        }
        if let Err(e) = outputs.iter().try_for_each(|o| run(*o)) {
            return answer(&mut stream, &refused(&e));
        }
        self.waiting.push(Waiting { to: stream, save, outputs, files: Vec::new() });
        Ok(())
    }

    fn status(&self, job: &Job) -> Value {
        let stats = job.stats();
        json!({"ok": true, "name": self.name, "pid": std::process::id(), "state": stats.state,
            "paused": stats.paused, "progress": stats.progress, "outputs": self.labels,
            "replay": self.keeps, "split": self.cuts, "tracks": stats.tracks,
            "screen": stats.stages.iter().find_map(|stage| stage.screen)})
    }

    /// Answers who waits for what `event` tells.
    pub fn event(&mut self, event: &Event) {
        let mut still = Vec::new();
        for mut one in self.waiting.drain(..) {
            let said = match event {
                Event::Saved { output, path, .. } => {
                    let awaited = one.outputs.iter().position(|o| o == output);
                    if let Some(at) = awaited {
                        one.outputs.swap_remove(at);
                        one.files.push(path.clone());
                    }
                    one.outputs.is_empty().then(|| json!({"ok": true, "files": one.files}))
                }
                Event::Warning { code: "save", message } if one.save => Some(failed("io", message)),
                Event::Done(_) => Some(failed("state", "the recording ended")),
                _ => None,
            };
            match said {
                // One who has hung up misses the answer.
                Some(said) => drop(answer(&mut one.to, &said)),
                None => still.push(one),
            }
        }
        self.waiting = still;
    }

    /// Does what a signal asks.
    pub fn signal(&self, asked: Asked, job: &Job) {
        let result = match asked {
            Asked::Save if self.keeps.is_empty() => {
                Err(Error::new(ErrorKind::Unsupported, "SIGUSR1: no output keeps a replay"))
            }
            Asked::Save => self.keeps.iter().try_for_each(|o| job.save(*o, None)),
            Asked::Toggle if job.state() == State::Paused => job.resume(),
            Asked::Toggle => job.pause(),
        };
        if let Err(e) = result {
            screen::line(&format!("ghoststream: warning: {e}"));
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.listener {
            // Somebody else may have tidied up.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn listen(directory: &Path) -> io::Result<(UnixListener, PathBuf)> {
    if !directory.is_dir() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let path = directory.join(format!("{}.sock", std::process::id()));
    // A process of this number that ended without tidying up is no other one.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    Ok((listener, path))
}

fn answer(to: &mut UnixStream, value: &Value) -> io::Result<()> {
    to.write_all(format!("{value}\n").as_bytes())
}

fn failed(kind: &str, message: &str) -> Value {
    json!({"ok": false, "kind": kind, "error": message})
}

fn refused(e: &Error) -> Value {
    failed(e.kind().name(), e.message())
}

/// `ctl`.
pub fn run(args: &CtlArgs) -> Outcome {
    let seconds = |s: &Option<ghoststream::spec::Seconds>| s.map(|s| s.0);
    let request = match &args.command {
        CtlCommand::Save { seconds: s, output } => Request::Save { output: *output, seconds: seconds(s) },
        CtlCommand::Split { output } => Request::Split { output: *output },
        CtlCommand::Pause => Request::Pause,
        CtlCommand::Resume => Request::Resume,
        CtlCommand::Stop => Request::Stop,
        CtlCommand::Status => Request::Status,
    };
    let said = send(&find(args.to.as_deref())?, &request)?;
    let mut out = io::stdout();
    if args.json {
        writeln!(out, "{said}")?;
    }
    if said["ok"] != true {
        let message = said["error"].as_str().unwrap_or("the answer makes no sense");
        let code = match said["kind"].as_str() {
            Some("invalid") => USAGE,
            Some("not_found") => 3,
            Some("unsupported") => 4,
            Some("io") => 6,
            _ => 1,
        };
        return Err(Failure { code, message: message.into() });
    }
    if !args.json {
        for file in said["files"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            writeln!(out, "{file}")?;
        }
        if matches!(request, Request::Status) {
            writeln!(out, "{}", status_line(&said))?;
        }
    }
    Ok(())
}

fn status_line(said: &Value) -> String {
    let progress = &said["progress"];
    let number = |v: &Value| v.as_f64().unwrap_or(0.0);
    let count = |v: &Value| v.as_u64().unwrap_or(0);
    let mut line = format!(
        "{} ({}): {}, {}, {} frames, {:.1} fps, {}, {} dropped",
        said["name"].as_str().unwrap_or_default(),
        count(&said["pid"]),
        said["state"].as_str().unwrap_or_default(),
        crate::words::time(number(&progress["time"])),
        count(&progress["frames"]),
        number(&progress["fps"]),
        crate::words::bytes(count(&progress["bytes"])),
        count(&progress["dropped"]),
    );
    let screen = &said["screen"];
    if screen.is_object() {
        line += &format!(
            "; {}: {} taken, {} repeated ({} late), {} dropped",
            screen["backend"].as_str().unwrap_or_default(),
            count(&screen["taken"]),
            count(&screen["repeated"]),
            count(&screen["late"]),
            count(&screen["dropped"]),
        );
    }
    // An older or newer run may say it otherwise.
    let pushes: Vec<PushStats> = serde_json::from_value(progress["pushes"].clone()).unwrap_or_default();
    for push in &pushes {
        line += &format!("; {}: {}", push.target, crate::words::push(push));
    }
    line
}

fn send(path: &Path, request: &Request) -> Result<Value, Failure> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let text = serde_json::to_string(request).map_err(|e| Failure { code: 1, message: e.to_string() })?;
    stream.write_all(format!("{text}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line)
        .map_err(|_| Failure { code: 6, message: "the recording ended before it answered".into() })
}

/// The socket of the run that is meant.
fn find(wanted: Option<&str>) -> Result<PathBuf, Failure> {
    let missing = |message: String| Failure { code: 3, message };
    let directory =
        directory().ok_or_else(|| missing("XDG_RUNTIME_DIR is not set: no recording can be found".into()))?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Some(pid) = path.extension().filter(|e| *e == "sock").and(path.file_stem()) else { continue };
        let pid = pid.to_string_lossy().into_owned();
        if wanted == Some(&pid) {
            return Ok(path);
        }
        match send(&path, &Request::Status) {
            Ok(status) => found.push((path, pid, status["name"].as_str().unwrap_or_default().to_owned())),
            // Left behind by one that was killed.
            Err(_) if UnixStream::connect(&path).is_err() => drop(std::fs::remove_file(&path)),
            Err(_) => {}
        }
    }
    if let Some(wanted) = wanted {
        found.retain(|(_, _, name)| name == wanted);
    }
    match found.as_slice() {
        [(path, _, _)] => Ok(path.clone()),
        [] => Err(missing(match wanted {
            Some(wanted) => format!("--to: no recording {wanted:?} runs"),
            None => "no recording runs".into(),
        })),
        several => {
            let names: Vec<_> = several.iter().map(|(_, pid, name)| format!("{name} ({pid})")).collect();
            Err(Failure::usage(format!("--to: say which one: {}", names.join(", "))))
        }
    }
}
