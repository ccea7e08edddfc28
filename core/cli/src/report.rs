//! What a job says, as a progress bar, as lines, or as JSON for a program.

use crate::args::RunArgs;
use crate::{screen, words};
use ghoststream::event::{Done, Event, Outcome, Progress, PushState};
use ghoststream::plan::{OutputPlan, Plan, TrackPlan};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Where progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Show {
    /// A bar on the terminal.
    Bar,
    /// A line every few seconds: standard error is a file or a pipe.
    Lines,
    /// Every event as one line of JSON on standard output.
    Json,
    /// Warnings only.
    Quiet,
}

/// Between two lines of progress.
const PACE: Duration = Duration::from_secs(5);

/// How long the failure of one output may wait for the end of the job.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tells what a job says.
pub struct Reporter {
    show: Show,
    plan: Option<Plan>,
    last: Progress,
    told: Instant,
    /// The failure of one output, until it is known whether it is the end of the job, which tells it again.
    failed_output: Option<(String, Instant)>,
    /// Files whose paths were printed.
    saved: Vec<String>,
}

impl Reporter {
    /// One for the way that the arguments ask for.
    pub fn new(run: &RunArgs, quiet: bool) -> Self {
        let show = match (run.events.is_some(), quiet, screen::is_terminal()) {
            (true, _, _) => Show::Json,
            (_, true, _) => Show::Quiet,
            (_, _, true) => Show::Bar,
            _ => Show::Lines,
        };
        Reporter {
            show,
            plan: None,
            last: Progress::default(),
            told: Instant::now(),
            failed_output: None,
            saved: Vec::new(),
        }
    }

    /// Tells one event.
    ///
    /// # Errors
    /// Standard output is closed or full (`--events json` only).
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        if self.show == Show::Json {
            let mut line = serde_json::to_vec(event)?;
            line.push(b'\n');
            let mut out = io::stdout().lock();
            out.write_all(&line)?;
            return out.flush();
        }
        match event {
            Event::Warning { code: "output", message } => {
                self.tell_failed_output(None);
                self.failed_output = Some((message.clone(), Instant::now()));
                return Ok(());
            }
            Event::Done(done) => self.tell_failed_output(done.message.as_deref()),
            _ if self.failed_output.as_ref().is_some_and(|(_, at)| at.elapsed() >= PATIENCE) => {
                self.tell_failed_output(None);
            }
            _ => {}
        }
        match event {
            Event::Plan { plan } => self.plan = Some((**plan).clone()),
            Event::Progress(progress) => {
                self.last = progress.clone();
                match self.show {
                    Show::Bar => screen::bar(&bar(progress, screen::width())),
                    Show::Lines if self.told.elapsed() >= PACE => {
                        self.told = Instant::now();
                        screen::line(&facts(progress).join("  "));
                    }
                    _ => {}
                }
            }
            // What happens as it was asked for is no warning.
            Event::Warning { code: "two_pass", message } => self.note(message),
            Event::Warning { code, message } => {
                screen::line(&format!("ghoststream: warning: {message} ({code})"))
            }
            Event::Done(done) => {
                screen::bar("");
                if self.show != Show::Quiet && matches!(done.outcome, Outcome::Completed | Outcome::Stopped) {
                    screen::line(summary(self.plan.as_ref(), &self.last, done).trim_end());
                }
            }
            // For scripts: the one thing that is printed on standard output.
            Event::Saved { path, .. } => {
                self.saved.push(path.clone());
                let mut out = io::stdout().lock();
                writeln!(out, "{path}")?;
                return out.flush();
            }
            Event::Push { output, state, attempt, retry_in, message } => {
                if let Some(text) = pushed(*output, *state, *attempt, *retry_in, message.as_deref()) {
                    self.note(&text);
                }
            }
            Event::Bitrate { output, bitrate, before, message } => {
                let kbit = |rate: &u64| format!("{:.0} kbit/s", *rate as f64 / 1e3);
                self.note(&format!(
                    "output {output}: {} instead of {}: {message}",
                    kbit(bitrate),
                    kbit(before)
                ));
            }
            Event::State { .. } | Event::Segment { .. } => {}
        }
        Ok(())
    }

    /// Warns of the output that failed, unless `told` says the same.
    fn tell_failed_output(&mut self, told: Option<&str>) {
        if let Some((message, _)) = self.failed_output.take()
            && told != Some(message.as_str())
        {
            screen::line(&format!("ghoststream: warning: {message} (output)"));
        }
    }

    /// Prints the files of a finished recording that no event has told.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn files(&mut self, done: &Done) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for path in done.outputs.iter().filter(|p| !p.contains("://") && !self.saved.contains(p)) {
            if self.show != Show::Json {
                writeln!(out, "{path}")?;
            }
        }
        out.flush()
    }

    /// Says something about the command itself, where there is a person to read it.
    pub fn note(&self, text: &str) {
        if matches!(self.show, Show::Bar | Show::Lines) {
            screen::line(&format!("ghoststream: {text}"));
        }
    }
}

/// What a person should know of a pushed output's connection.
fn pushed(
    output: usize,
    state: PushState,
    attempt: u32,
    retry_in: Option<f64>,
    why: Option<&str>,
) -> Option<String> {
    let said = match (state, retry_in) {
        (PushState::Live, _) if attempt > 0 => "connected again".into(),
        (PushState::Live, _) => "live".into(),
        (PushState::Connecting | PushState::Reconnecting, Some(delay)) => {
            format!("not connected ({}), try {attempt} in {delay:.0} s", why.unwrap_or("no reason"))
        }
        // What failed is told when the output ends.
        _ => return None,
    };
    Some(format!("output {output}: {said}"))
}

/// The parts of a line of progress; what is not known is left out.
fn facts(p: &Progress) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(fraction) = p.fraction {
        parts.push(format!("{:3.0} %", fraction * 100.0));
    }
    parts.push(match p.duration {
        Some(duration) => format!("{}/{}", words::time(p.time), words::time(duration)),
        None => words::time(p.time),
    });
    if p.frames > 0 {
        parts.push(format!("{:.0} fps", p.fps));
    }
    parts.push(format!("{:.2}x", p.speed));
    if let Some(eta) = p.eta {
        parts.push(format!("ETA {}", words::time(eta)));
    }
    parts.push(words::bytes(p.bytes));
    if p.dropped > 0 {
        parts.push(format!("{} dropped", p.dropped));
    }
    for push in &p.pushes {
        let which = if p.pushes.len() > 1 { format!("push {}: ", push.output) } else { "push ".into() };
        parts.push(which + &words::push(push));
    }
    parts
}

/// The bar for a terminal of `width` columns; it never wraps.
fn bar(p: &Progress, width: usize) -> String {
    let text = facts(p).join("  ");
    // The last column stays free: a full line wraps on some terminals.
    let room = width.saturating_sub(1);
    let space = room.saturating_sub(text.chars().count() + 3).min(40);
    let line = match p.fraction {
        Some(fraction) if space >= 10 => {
            let full = ((fraction * space as f64) as usize).min(space);
            format!("[{}{}] {text}", "#".repeat(full), ".".repeat(space - full))
        }
        _ => text,
    };
    line.chars().take(room).collect()
}

/// Files that are named one by one: a film has thousands of pictures.
const LISTED: usize = 10;

/// What was made, by what, and where it is.
fn summary(plan: Option<&Plan>, last: &Progress, done: &Done) -> String {
    let mut text = String::new();
    for output in plan.into_iter().flat_map(|p| &p.outputs) {
        let _ = writeln!(text, "{} ({})", output.label, output.format);
        let mut told = Vec::new();
        for track in &output.tracks {
            let _ = writeln!(text, "  {}", track_line(track, output));
            // Rungs of a ladder have the same to say.
            for note in track.notes.iter().filter(|note| !told.contains(note)).collect::<Vec<_>>() {
                let _ = writeln!(text, "    note: {note}");
                told.push(note);
            }
        }
        // Who deletes the source should know.
        for what in &output.left_out {
            let _ = writeln!(text, "  left out: {what}");
        }
    }
    let size = |path: &String| std::fs::metadata(path).ok().filter(|m| m.is_file()).map(|m| m.len());
    let (listed, others) = done.outputs.split_at(done.outputs.len().min(LISTED));
    for path in listed {
        let _ = match size(path) {
            Some(size) => writeln!(text, "wrote {path} ({})", words::bytes(size)),
            None => writeln!(text, "wrote {path}"),
        };
    }
    if let Some(last) = others.last() {
        let (all, bytes) = (done.outputs.len(), done.outputs.iter().filter_map(size).sum());
        let _ = writeln!(text, "and so on to {last}: {all} files ({})", words::bytes(bytes));
    }
    let how = if done.outcome == Outcome::Stopped { "stopped after" } else { "done in" };
    let _ = write!(text, "{how} {:.1} s", done.elapsed);
    if done.elapsed > 0.0 && last.time > 0.0 {
        let _ = write!(text, ": {} of media, {:.2}x", words::time(last.time), last.time / done.elapsed);
        if last.frames > 0 {
            let _ = write!(text, ", {:.0} fps", last.frames as f64 / done.elapsed);
        }
    }
    if last.dropped > 0 {
        let _ = write!(text, ", {} dropped", last.dropped);
    }
    text.push('\n');
    text
}

/// One track in one line: `video 720p: h264 by libx264, 1280x720, 2.8 Mbit/s`.
fn track_line(track: &TrackPlan, output: &OutputPlan) -> String {
    let mut text = track.kind.to_string();
    let alone = output.tracks.iter().filter(|t| t.kind == track.kind).count() == 1;
    if !alone && !track.name.is_empty() && track.name != track.kind {
        let _ = write!(text, " {}", track.name);
    }
    let _ = match (&track.encoder, track.action) {
        (Some(encoder), "share") => write!(text, ": {} by {encoder} (shared)", track.codec),
        (Some(encoder), _) => write!(text, ": {} by {encoder}", track.codec),
        (None, "copy") => write!(text, ": {} copied", track.codec),
        (None, action) => write!(text, ": {} ({action})", track.codec),
    };
    if !track.detail.is_empty() {
        let _ = write!(text, ", {}", track.detail);
    }
    text
}

/// The plan for people.
pub fn plan(plan: &Plan) -> String {
    let mut text = format!("source  {}", plan.source);
    if let Some(duration) = plan.duration {
        let _ = write!(text, ", {}", words::time(duration));
    }
    text.push('\n');
    for d in &plan.decoders {
        let threads = match d.threads {
            0 => String::new(),
            1 => ", 1 thread".into(),
            n => format!(", {n} threads"),
        };
        let _ = writeln!(
            text,
            "decode  stream {}: {} on {}{threads} ({})",
            d.stream, d.codec, d.device, d.reason
        );
    }
    for output in &plan.outputs {
        let _ = writeln!(text, "output  {} ({})", output.label, output.format);
        for track in &output.tracks {
            let _ = writeln!(text, "  {}", track_line(track, output));
            let from = track.stream.map(|s| format!("stream {s}"));
            let path: Vec<&str> =
                from.as_deref().into_iter().chain(track.stages.iter().map(String::as_str)).collect();
            if !path.is_empty() {
                let _ = writeln!(text, "    from {}", path.join(" > "));
            }
            if !track.reason.is_empty() {
                let _ = writeln!(text, "    why: {}", track.reason);
            }
            for note in &track.notes {
                let _ = writeln!(text, "    note: {note}");
            }
        }
        for what in &output.left_out {
            let _ = writeln!(text, "  left out: {what}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use ghoststream::event::PushStats;
    use ghoststream::plan::DecoderPlan;

    fn half() -> Progress {
        Progress {
            time: 30.0,
            duration: Some(60.0),
            fraction: Some(0.5),
            frames: 750,
            fps: 125.4,
            speed: 5.0,
            eta: Some(6.0),
            bytes: 1_234_567,
            dropped: 0,
            pushes: Vec::new(),
        }
    }

    #[test]
    fn the_bar_fits_every_terminal() {
        let wide = bar(&half(), 120);
        assert!(
            wide.starts_with("[####################....................]  50 %  0:30/1:00  125 fps  5.00x"),
            "{wide}"
        );
        assert!(wide.ends_with("ETA 0:06  1.2 MB"), "{wide}");
        for width in 0..130 {
            assert!(bar(&half(), width).chars().count() <= width.max(1) - usize::from(width > 0), "{width}");
        }
        let live = bar(&Progress { fraction: None, duration: None, eta: None, ..half() }, 80);
        assert_eq!(live, "0:30  125 fps  5.00x  1.2 MB");
        let push = |output| PushStats {
            output,
            state: PushState::Live,
            connections: 2,
            bitrate: 800_000,
            ..PushStats::default()
        };
        let pushed = |pushes| facts(&Progress { pushes, ..half() }).pop();
        assert_eq!(pushed(vec![push(0)]).as_deref(), Some("push 800 kbit/s, 1 reconnect"));
        assert_eq!(pushed(vec![push(0), push(2)]).as_deref(), Some("push 2: 800 kbit/s, 1 reconnect"));
    }

    #[test]
    fn plans_and_summaries_name_encoder_and_reason() {
        let track = |name: &str, action, encoder: Option<&str>| TrackPlan {
            kind: "video",
            name: name.into(),
            stream: Some(0),
            action,
            codec: "h264".into(),
            encoder: encoder.map(Into::into),
            detail: "1280x720".into(),
            stages: vec!["scale".into()],
            reason: "asked for".into(),
            notes: vec!["libx264 keeps it only roughly".into()],
        };
        let p = Plan {
            source: "in.mkv".into(),
            duration: Some(61.0),
            copy_start: None,
            decoders: vec![DecoderPlan {
                stream: 0,
                codec: "h264".into(),
                device: "software".into(),
                threads: 1,
                reason: "asked for".into(),
            }],
            outputs: vec![OutputPlan {
                label: "out/".into(),
                format: "hls".into(),
                tracks: vec![track("1080p", "copy", None), track("720p", "encode", Some("libx264"))],
                left_out: vec!["attachment font.ttf".into()],
            }],
        };
        let text = plan(&p);
        assert!(text.contains(
            "video 720p: h264 by libx264, 1280x720\n    from stream 0 > scale\n    why: asked for\n    note: libx264 keeps it only roughly"
        ));
        assert!(text.contains("h264 on software, 1 thread (asked for)"), "{text}");
        assert!(text.contains("video 1080p: h264 copied"), "{text}");
        assert!(text.contains("left out: attachment font.ttf"), "{text}");
        let done = Done {
            outcome: Outcome::Stopped,
            error: None,
            message: None,
            outputs: vec!["out/master.m3u8".into()],
            elapsed: 6.0,
        };
        let text = summary(Some(&p), &half(), &done);
        assert!(text.contains("by libx264") && text.contains("wrote out/master.m3u8\n"), "{text}");
        assert_eq!(text.matches("note: libx264 keeps it only roughly").count(), 1, "{text}");
        assert!(text.ends_with("stopped after 6.0 s: 0:30 of media, 5.00x, 125 fps\n"), "{text}");
        let outputs = (1..=500).map(|n| format!("{n}.png")).collect();
        let text = summary(None, &half(), &Done { outputs, ..done });
        assert_eq!(text.matches("wrote").count(), 10);
        assert!(text.contains("wrote 10.png\nand so on to 500.png: 500 files (0 B)\n"), "{text}");
    }
}
