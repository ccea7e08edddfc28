//! One worker process as the server holds it: what it says is passed on, and when it hangs or will not end it is ended.

use super::protocol::{Command, Failure, Message, Sandbox};
use ghoststream::event::{Done, Event, Progress, Word};
use ghoststream::job::Change;
use ghoststream::plan::Plan;
use ghoststream::process::{Signal, signal};
use ghoststream::spec::SourceSpec;
use ghoststream::{ErrorKind, PipelineSpec};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot, watch};

/// What a run has to say.
#[derive(Clone, Debug)]
pub enum Report {
    /// What is going to be done.
    Plan(Box<Plan>),
    /// How far it is; twice a second.
    Progress(Progress),
    /// Something worth knowing.
    Warning {
        /// The engine's word for it.
        code: Word,
        /// In words.
        message: String,
    },
    /// A segment or playlist is in its place.
    Segment {
        /// Index of the output.
        output: usize,
        /// Name below the output's directory.
        name: String,
        /// Start on the output's timeline, seconds; 0 for playlists.
        start: f64,
        /// Length, seconds; 0 for playlists.
        duration: f64,
    },
    /// It is over. The last report.
    Done(Done),
    /// The worker crashed, hung or was killed. The last report.
    Lost(String),
}

impl Report {
    /// What a server cares for of what the engine says.
    pub(crate) fn of(event: Event) -> Option<Report> {
        Some(match event {
            Event::Plan { plan } => Report::Plan(plan),
            Event::Progress(progress) => Report::Progress(progress),
            Event::Warning { code, message } => Report::Warning { code, message },
            Event::Segment { output, name, start, duration } => {
                Report::Segment { output, name, start, duration }
            }
            Event::Done(done) => Report::Done(done),
            Event::State { .. } | Event::Push { .. } | Event::Bitrate { .. } | Event::Saved { .. } => {
                return None;
            }
        })
    }
}

/// How patient the server is with workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patience {
    /// How long a started process may take to say hello.
    pub start: Duration,
    /// How long a worker may say nothing at all (it says that it is alive once a second).
    pub silence: Duration,
    /// How long a run may tell no event (it tells its progress twice a second).
    pub standstill: Duration,
    /// How long a cancelled run may take to end by itself, and after `SIGTERM`.
    pub end: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            start: Duration::from_secs(20),
            silence: Duration::from_secs(15),
            standstill: Duration::from_secs(60),
            end: Duration::from_secs(3),
        }
    }
}

/// A worker process. Dropping it ends the process: politely at first.
#[derive(Debug)]
pub struct Worker {
    orders: mpsc::UnboundedSender<Order>,
    pid: u32,
    over: watch::Receiver<bool>,
}

/// Tells when a worker's process has ended.
#[derive(Clone, Debug)]
pub struct Gone(watch::Receiver<bool>);

impl Gone {
    /// Waits for the end. It does not ask for it: dropping the [`Worker`] does.
    pub async fn wait(mut self) {
        // Whoever holds the process says so, or is gone too.
        let _over = self.0.wait_for(|over| *over).await;
    }
}

/// What the task that holds the process is asked.
enum Order {
    Tell(Command),
    Ask(Command, oneshot::Sender<Result<Value, Failure>>),
    Run(Box<PipelineSpec>, mpsc::UnboundedSender<Report>),
    /// End the run now, whatever it takes.
    End,
}

/// A document that a worker is running.
#[derive(Debug)]
pub struct Run {
    reports: mpsc::UnboundedReceiver<Report>,
    control: Control,
}

/// The wheel of a [`Run`], for whoever does not listen to it.
#[derive(Clone, Debug)]
pub struct Control {
    orders: mpsc::UnboundedSender<Order>,
}

impl Worker {
    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What tells of its end.
    pub fn gone(&self) -> Gone {
        Gone(self.over.clone())
    }

    /// Whether the process is still there, as far as is known.
    pub fn is_alive(&self) -> bool {
        !self.orders.is_closed()
    }

    async fn ask(&self, command: Command) -> Result<Value, Failure> {
        let (sender, answer) = oneshot::channel();
        let gone = || Failure::lost("the worker is gone");
        self.orders.send(Order::Ask(command, sender)).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Takes the rest of the machine away from it. Once, before anything is asked of it. `false`: this system cannot, and
    /// only the limits that it has are in force.
    ///
    /// # Errors
    /// A lost worker, or what the system said.
    pub async fn confine(&self, sandbox: Sandbox) -> Result<bool, Failure> {
        let answer = self.ask(Command::Confine(sandbox)).await?;
        Ok(answer["landlock"].as_bool().unwrap_or(false))
    }

    /// What is in a source, as [`ghoststream::probe::Probe`] serializes; with `keyframes` all of it is read. Not while a run
    /// goes on.
    ///
    /// # Errors
    /// The engine's, or a lost worker.
    pub async fn probe(&self, source: &SourceSpec, keyframes: bool) -> Result<Value, Failure> {
        self.ask(Command::Probe { source: Box::new(source.clone()), keyframes }).await
    }

    /// Runs a document. One at a time: the next one may begin after the run's last report.
    pub fn run(&self, spec: PipelineSpec) -> Run {
        let (sender, reports) = mpsc::unbounded_channel();
        if let Err(mpsc::error::SendError(Order::Run(_, sender))) =
            self.orders.send(Order::Run(Box::new(spec), sender))
        {
            // The receiver is in our hands, so it hears this.
            let _heard = sender.send(Report::Lost("the worker is gone".into()));
        }
        Run { reports, control: Control { orders: self.orders.clone() } }
    }
}

impl Run {
    /// The next report; `None` after the last one.
    pub async fn next(&mut self) -> Option<Report> {
        self.reports.recv().await
    }

    /// Its wheel.
    pub fn control(&self) -> Control {
        self.control.clone()
    }
}

#[cfg(test)]
impl Run {
    /// One that no worker runs: it says `reports`. What is told it, next.
    pub(crate) fn imagined(
        reports: impl IntoIterator<Item = Report>,
    ) -> (Run, Box<dyn FnMut() -> Option<Command>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        reports.into_iter().for_each(|report| sender.send(report).expect("the receiver is here"));
        let (orders, mut told) = mpsc::unbounded_channel();
        let next = move || match told.try_recv().ok()? {
            Order::Tell(command) => Some(command),
            _ => None,
        };
        (Run { reports: receiver, control: Control { orders } }, Box::new(next))
    }
}

impl Control {
    fn tell(&self, command: Command) {
        // A worker that is gone needs no orders; its run says that it is lost.
        let _heard = self.orders.send(Order::Tell(command));
    }

    /// Halts the run.
    pub fn pause(&self) {
        self.tell(Command::Pause);
    }

    /// Goes on after [`Control::pause`].
    pub fn resume(&self) {
        self.tell(Command::Resume);
    }

    /// Finishes what was read, and ends.
    pub fn stop(&self) {
        self.tell(Command::Stop);
    }

    /// Ends the run; a worker that does not obey is killed.
    pub fn cancel(&self) {
        self.tell(Command::Cancel);
        let _heard = self.orders.send(Order::End);
    }

    /// Changes the running encoders.
    pub fn set(&self, change: Change) {
        self.tell(Command::Set { change });
    }
}

/// Takes a started process over: waits for its greeting and leaves a task with it.
pub(super) async fn adopt(mut child: Child, patience: Patience) -> Result<Worker, Failure> {
    let pid = child.id().ok_or_else(|| Failure::lost("the worker ended at once"))?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Failure::lost("the worker has no pipes"));
    };
    let tail = Tail::default();
    tokio::spawn(follow_errors(stderr, tail.clone(), pid));
    let mut lines = Lines::new(stdout);
    let greeting = tokio::time::timeout(patience.start, lines.next()).await;
    match greeting {
        Ok(Ok(Some(Message::Hello { version }))) if version == ghoststream::VERSION => {}
        Ok(Ok(Some(Message::Hello { version }))) => {
            let message = format!("the worker is version {version}, this server is {}", ghoststream::VERSION);
            return Err(Failure::lost(message));
        }
        Ok(_) => {
            let status = tokio::time::timeout(patience.end, child.wait()).await;
            let status = status.ok().and_then(Result::ok).map_or("no status".into(), |s| s.to_string());
            return Err(Failure::lost(format!("the worker did not begin ({status}){}", tail.text())));
        }
        Err(_) => return Err(Failure::lost(format!("the worker says nothing{}", tail.text()))),
    }
    let (sender, orders) = mpsc::unbounded_channel();
    let keeper = Keeper { child, pid, stdin: Some(stdin), tail, patience, state: State::default() };
    let (ended, over) = watch::channel(false);
    tokio::spawn(async move {
        keeper.keep(lines, orders).await;
        ended.send_replace(true);
    });
    Ok(Worker { orders: sender, pid, over })
}

/// The end of what a worker wrote on its standard error.
#[derive(Clone, Debug, Default)]
struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    const LINES: usize = 12;

    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == Self::LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// For the end of a message; empty when nothing was said.
    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text: Vec<&str> = lines.iter().map(String::as_str).collect();
        if text.is_empty() { String::new() } else { format!(": {}", text.join(" | ")) }
    }
}

/// The longest line that is kept of a worker's standard error.
const LONGEST_ERROR: usize = 600;

/// Whether workers and the server's log have what FFmpeg says to a person at a terminal, too: the original's variable.
pub fn is_verbose() -> bool {
    let said = std::env::var("GHOSTSTREAM_FFMPEG_VERBOSE").unwrap_or_default();
    ["1", "true", "yes"].contains(&said.to_ascii_lowercase().as_str())
}

async fn follow_errors(stderr: ChildStderr, tail: Tail, pid: u32) {
    let loud = is_verbose();
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(64 << 10).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text: String =
                    String::from_utf8_lossy(&line).trim_end().chars().take(LONGEST_ERROR).collect();
                if !text.is_empty() {
                    match loud {
                        true => tracing::info!(worker = pid, "{text}"),
                        false => tracing::debug!(worker = pid, "{text}"),
                    }
                    tail.push(text);
                }
            }
        }
    }
}

/// Messages from a worker's standard output.
struct Lines {
    reader: BufReader<ChildStdout>,
    line: Vec<u8>,
}

/// The longest message: the key frames of a very long film.
const LONGEST: u64 = 64 << 20;

impl Lines {
    fn new(stdout: ChildStdout) -> Self {
        Lines { reader: BufReader::with_capacity(64 << 10, stdout), line: Vec::new() }
    }

    /// The next message; `None` at the end. Nothing is lost when the future is dropped half-way.
    async fn next(&mut self) -> std::io::Result<Option<Message>> {
        loop {
            let left = LONGEST.saturating_sub(self.line.len() as u64);
            let read = (&mut self.reader).take(left).read_until(b'\n', &mut self.line).await?;
            if self.line.last() != Some(&b'\n') {
                // The end, or a line that is longer than any message.
                return if read == 0 && self.line.is_empty() {
                    Ok(None)
                } else {
                    Err(std::io::ErrorKind::InvalidData.into())
                };
            }
            let line = std::mem::take(&mut self.line);
            match serde_json::from_slice(&line) {
                Ok(message) => return Ok(Some(message)),
                Err(e) => tracing::warn!(error = %e, "a worker's message makes no sense"),
            }
        }
    }
}

/// The task that holds a process.
struct Keeper {
    child: Child,
    pid: u32,
    stdin: Option<ChildStdin>,
    tail: Tail,
    patience: Patience,
    state: State,
}

#[derive(Default)]
struct State {
    /// Who waits for answers, in the order of the questions.
    answers: VecDeque<oneshot::Sender<Result<Value, Failure>>>,
    listener: Option<mpsc::UnboundedSender<Report>>,
    ending: Ending,
    /// Why it was killed.
    reason: Option<String>,
}

/// How far the process is on its way out.
#[derive(Clone, Copy, Default)]
enum Ending {
    #[default]
    Not,
    /// It was asked to cancel its run, or its input was closed.
    Asked(Instant),
    Terminated(Instant),
    Killed,
}

impl Keeper {
    async fn keep(mut self, mut lines: Lines, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut heard, mut moved) = (Instant::now(), Instant::now());
        let mut open = true;
        loop {
            tokio::select! {
                order = orders.recv(), if open => match order {
                    Some(order) => {
                        moved = Instant::now();
                        self.obey(order).await;
                    }
                    None => {
                        // Nobody holds the worker any more: its input ends, and it should too.
                        open = false;
                        self.stdin = None;
                        self.ask_to_end();
                    }
                },
                message = lines.next() => match message {
                    Ok(Some(message)) => {
                        heard = Instant::now();
                        if !matches!(message, Message::Alive) {
                            moved = heard;
                        }
                        self.hear(message);
                    }
                    Ok(None) => break,
                    Err(e) => {
                        self.state.reason.get_or_insert(format!("the worker's output makes no sense: {e}"));
                        self.kill();
                        break;
                    }
                },
                _ = tick.tick() => {
                    if self.is_hung(heard, moved) {
                        self.state.reason.get_or_insert_with(|| "the worker hangs".into());
                        self.kill();
                    }
                    self.escalate();
                }
            }
        }
        self.stdin = None;
        let status = match tokio::time::timeout(self.patience.end, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                self.kill();
                self.child.wait().await
            }
        };
        let status = status.map_or_else(|e| e.to_string(), |s| s.to_string());
        let message = match self.state.reason.take() {
            Some(reason) => format!("{reason} ({status}){}", self.tail.text()),
            None => format!("the worker crashed ({status}){}", self.tail.text()),
        };
        // Those who wait may have gone themselves.
        for answer in self.state.answers.drain(..) {
            let _heard = answer.send(Err(Failure::lost(message.clone())));
        }
        if let Some(listener) = self.state.listener.take() {
            let _heard = listener.send(Report::Lost(message));
        }
    }

    /// A live process says something every second; a run tells its progress.
    fn is_hung(&self, heard: Instant, moved: Instant) -> bool {
        if matches!(self.state.ending, Ending::Killed) {
            return false;
        }
        heard.elapsed() > self.patience.silence
            || (self.state.listener.is_some() && moved.elapsed() > self.patience.standstill)
    }

    async fn obey(&mut self, order: Order) {
        let command = match order {
            Order::Tell(command) => command,
            Order::Ask(command, answer) => {
                self.state.answers.push_back(answer);
                command
            }
            Order::Run(spec, listener) => {
                if self.state.listener.is_some() {
                    let _heard = listener.send(Report::Lost("the worker is busy with another run".into()));
                    return;
                }
                self.state.listener = Some(listener);
                Command::Run { spec }
            }
            Order::End => {
                if self.state.listener.is_some() {
                    self.ask_to_end();
                }
                return;
            }
        };
        let Ok(mut line) = serde_json::to_vec(&command) else { return };
        line.push(b'\n');
        let Some(stdin) = &mut self.stdin else { return };
        // A process that reads nothing must not hold up who watches it.
        let written = tokio::time::timeout(self.patience.end, stdin.write_all(&line)).await;
        if !matches!(written, Ok(Ok(()))) {
            self.state.reason.get_or_insert_with(|| "the worker takes no orders".into());
            self.kill();
        }
    }

    fn hear(&mut self, message: Message) {
        let event = match message {
            Message::Answer { value } => return self.answer(Ok(value)),
            Message::Refused { kind, message } => {
                return self.answer(Err(Failure { kind: Some(kind), message }));
            }
            Message::Event(event) => event,
            Message::Hello { .. } | Message::Alive => return,
        };
        let Some(report) = Report::of(event) else { return };
        if let Report::Done(done) = report {
            // It obeyed.
            if matches!(self.state.ending, Ending::Asked(_)) && self.stdin.is_some() {
                self.state.ending = Ending::Not;
            }
            if let Some(listener) = self.state.listener.take() {
                let _heard = listener.send(Report::Done(done));
            }
            return;
        }
        if let Some(listener) = &self.state.listener {
            let _heard = listener.send(report);
        }
    }

    fn answer(&mut self, answer: Result<Value, Failure>) {
        match self.state.answers.pop_front() {
            // Who asked may have gone.
            Some(sender) => drop(sender.send(answer)),
            None => tracing::warn!(worker = self.pid, "an answer without a question: {answer:?}"),
        }
    }

    fn ask_to_end(&mut self) {
        if matches!(self.state.ending, Ending::Not) {
            self.state.ending = Ending::Asked(Instant::now());
        }
    }

    /// The next step for a process that was asked to end and has not.
    fn escalate(&mut self) {
        match self.state.ending {
            Ending::Asked(since) if since.elapsed() > self.patience.end => {
                self.state.reason.get_or_insert_with(|| "the worker did not end when asked".into());
                self.state.ending = Ending::Terminated(Instant::now());
                if let Err(e) = signal(self.pid, Signal::Terminate) {
                    tracing::debug!(worker = self.pid, error = %e, "SIGTERM");
                }
            }
            Ending::Terminated(since) if since.elapsed() > self.patience.end => self.kill(),
            _ => {}
        }
    }

    fn kill(&mut self) {
        self.state.ending = Ending::Killed;
        if let Err(e) = self.child.start_kill() {
            tracing::debug!(worker = self.pid, error = %e, "SIGKILL");
        }
    }
}

impl Failure {
    /// Whether the worker itself was lost.
    pub fn is_lost(&self) -> bool {
        self.kind.is_none()
    }

    /// Whether it is the kind `kind`.
    pub fn is(&self, kind: ErrorKind) -> bool {
        self.kind == Some(kind)
    }
}
