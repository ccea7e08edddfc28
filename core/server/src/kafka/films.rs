//! Commands for films: they are planned and handed out, looked for, and stopped. What there is of a film is in the object
//! store, so any node knows.

use super::control::Control;
use super::message::{Command, Status, Task, VERSION, Verb};
use super::tasks::{SOME_TIME, keep_plan, parts, read_plan, stopped_key};
use crate::contract::request::TranscodeRequest;
use ghoststream::Result as Outcome;
use std::path::Path;
use std::time::Duration;

/// How long a broker may take for what has to be there before the next step.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a film's files go.
fn output(command: &Command) -> String {
    command.output.clone().unwrap_or_else(|| format!("films/{}", command.stream_id))
}

impl Control {
    /// Plans a film and hands its parts out.
    pub fn film(&self, command: &Command) -> Result<(), String> {
        let tell = |state: &str, more: &[(&str, String)]| {
            let mut status = Status::new(&self.shared.node, &command.stream_id, state, "answer");
            status.metadata.extend(command.told_again());
            status.metadata.extend(more.iter().map(|(k, v)| (k.to_string(), v.clone())));
            super::status::send(&self.shared, &self.sender, &status);
        };
        self.hand_out(command, tell).inspect_err(|why| tell("error", &[("error", why.clone())]))
    }

    fn hand_out(&self, command: &Command, tell: impl Fn(&str, &[(&str, String)])) -> Result<(), String> {
        let (jobs, store) = self.films.as_ref().ok_or("this server has no object store (store.url)")?;
        crate::live::registry::check_name(&command.stream_id).map_err(|why| format!("stream_id: {why}"))?;
        let output = output(command);
        crate::store::check_key(&output).map_err(|e| format!("output: {}", e.message()))?;
        let body = command.request.as_ref().ok_or("request: TRANSCODE needs it")?;
        let understood = TranscodeRequest::read(body).map_err(|all| {
            let word = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), String::from);
            let path = |loc: &[serde_json::Value]| loc.iter().skip(1).map(word).collect::<Vec<_>>().join(".");
            let all: Vec<String> = all.iter().map(|e| format!("{}: {}", path(&e.loc), e.msg)).collect();
            format!("request: {}", all.join("; "))
        })?;
        if let Some(unknown) = understood.ignored.first() {
            return Err(format!("request.{unknown}: there is no such field"));
        }
        let plan = self.runtime.block_on(jobs.plan_film(understood.request)).map_err(|e| e.message)?;
        let film = plan.film(Path::new("/"))?;
        self.runtime.block_on(keep_plan(store, &output, &plan))?;
        // One that was stopped goes on.
        let again = self.runtime.block_on(store.delete(&stopped_key(&output)));
        again.map_err(|e| e.message().to_string())?;
        let parts = parts(&film, self.shared.settings.task_seconds);
        let topic = &self.shared.settings.tasks_topic;
        let partitions = self.sender.partitions(topic, PATIENCE)?;
        let count = parts.len();
        // Told before the first part is done.
        tell("starting", &[("parts", count.to_string()), ("duration", format!("{:.3}", film.duration()))]);
        self.sender.flush(PATIENCE);
        for (part, (first, end)) in (0..).zip(parts) {
            let task = Task {
                film: command.stream_id.clone(),
                output: output.clone(),
                part,
                parts: count as u64,
                first,
                end,
                version: VERSION,
            };
            let body = serde_json::to_vec(&task).map_err(|e| e.to_string())?;
            // In turn, so that all nodes have as much to do.
            let partition = i32::try_from(part % u64::from(partitions.unsigned_abs())).ok();
            let key = format!("{output}/{part}");
            if !self.sender.deliver(topic, key.as_bytes(), Some(&body), partition, PATIENCE * 6) {
                return Err(format!("the topic {topic}: no broker took part {part}"));
            }
        }
        tracing::info!(film = command.stream_id, output, parts = count, "handed out");
        Ok(())
    }

    /// Answers a question for a film, or stops one; `false` when there is none of that name.
    pub fn of_film(&self, command: &Command) -> Result<bool, String> {
        let Some((_, store)) = &self.films else { return Ok(false) };
        let output = output(command);
        if crate::live::registry::check_name(&command.stream_id).is_err() {
            return Ok(false);
        }
        crate::store::check_key(&output).map_err(|e| format!("output: {}", e.message()))?;
        let looked = self.runtime.block_on(self.look(store, &output, command.command == Verb::Stop));
        let found = match looked {
            Ok(found) => found,
            // Whoever names no place for files asks for a stream.
            Err(e) if command.output.is_none() => {
                tracing::debug!("{e}");
                None
            }
            Err(e) => return Err(e.message().to_string()),
        };
        let Some((state, made, all)) = found else { return Ok(false) };
        let mut status = Status::new(&self.shared.node, &command.stream_id, state, "answer")
            .with("percent", Some(made * 100 / all.max(1)))
            .with("segments", Some(all))
            .with("output", Some(&output));
        status.metadata.extend(command.told_again());
        super::status::send(&self.shared, &self.sender, &status);
        Ok(true)
    }

    /// How a film does: its state, how many of its files are made, and how many there are to be. `stop` stops one that is not
    /// complete: parts that are being made are finished, further ones are not begun.
    async fn look(
        &self,
        store: &crate::store::Store,
        output: &str,
        stop: bool,
    ) -> Outcome<Option<(&'static str, usize, usize)>> {
        let Some(plan) = read_plan(store, output).await? else { return Ok(None) };
        let film = plan.film(Path::new("/")).map_err(|why| {
            ghoststream::Error::new(ghoststream::ErrorKind::Format, format!("{output}: {why}"))
        })?;
        let there = super::tasks::there(store, output).await?;
        let whole = film.segments(0, film.count());
        let made = whole.iter().filter(|name| there.contains(*name)).count();
        let state = match (there.contains("master.m3u8"), there.contains("stopped")) {
            (true, _) => "completed",
            (false, true) => "stopped",
            (false, false) if stop => {
                store.create(&stopped_key(output), Default::default(), "text/plain", SOME_TIME).await?;
                "stopped"
            }
            (false, false) => "running",
        };
        Ok(Some((state, made, whole.len())))
    }
}
