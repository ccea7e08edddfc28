//! Calls to the operator's own services when somebody publishes or watches a stream, and ceases to. Signed and tried again
//! as the callbacks of jobs; nothing of the media ever waits for them. Where they decide, only the one who asks waits.

use super::origin::viewers::{GONE, MOST};
use super::registry::{Live, LiveEvent, Visit, Watching};
use crate::config::{HooksConfig, Secret, SourcesConfig};
use crate::jobs::callback::{self, Call};
use crate::policy::SourcePolicy;
use crate::serve::ended;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{OnceCell, broadcast, mpsc, watch};
use tokio::task::JoinHandle;

/// Calls that wait for one service. More are dropped, and that is said.
const QUEUE: usize = 1024;
/// How long a service may take to decide.
const DECISION: Duration = Duration::from_secs(5);
/// How long calls may still be made when the server ends.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long a refusal holds for who goes on asking for files.
const REFUSED: Duration = Duration::from_secs(5);

/// Whom to call. Without any URL all of it does nothing. Cheap to clone; any thread.
#[derive(Clone, Debug, Default)]
pub struct Hooks(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    config: HooksConfig,
    secret: Option<String>,
    policy: Arc<SourcePolicy>,
    visitors: Mutex<HashMap<u64, Visitor>>,
}

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Send a stream.
    Publish,
    /// Watch one.
    Read,
}

/// Somebody who wants something.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What.
    pub act: Act,
    /// The stream's name.
    pub stream: String,
    /// `rtmp`, `whip`, `whep`, `http` (HLS and DASH) …
    pub protocol: &'static str,
    /// From where.
    pub peer: Option<SocketAddr>,
    /// The query of its address, with what it shows there.
    pub query: String,
}

/// Somebody who fetches files: there is no connection that tells how long.
#[derive(Debug)]
struct Visitor {
    seen: Instant,
    admitted: Arc<OnceCell<Result<Watching, Refusal>>>,
}

#[derive(Clone, Debug)]
struct Refusal {
    at: Instant,
    query: String,
    why: String,
}

impl Hooks {
    /// Those of `config`; signed with its secret, else with `secret`.
    pub fn new(config: &HooksConfig, secret: Option<&Secret>) -> Hooks {
        if config.urls.is_empty() {
            return Hooks(None);
        }
        // The operator says where they lead: private addresses are the usual case.
        let rules = SourcesConfig { link_local: true, ..SourcesConfig::default() };
        Hooks(Some(Arc::new(Inner {
            secret: config.secret.as_ref().or(secret).map(|s| s.reveal().to_string()),
            policy: Arc::new(SourcePolicy::new(&rules)),
            config: config.clone(),
            visitors: Mutex::default(),
        })))
    }

    /// Whether anybody is to be called.
    pub fn any(&self) -> bool {
        self.0.is_some()
    }

    /// Whether they decide who may publish and read.
    pub fn decide(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.config.authorize)
    }

    /// Whether it may, where the hooks decide: every one of them has to answer with success.
    ///
    /// # Errors
    /// Why it may not, for who asked.
    pub async fn allow(&self, asked: &Asked) -> Result<(), String> {
        let Some(inner) = self.0.as_ref().filter(|i| i.config.authorize) else { return Ok(()) };
        let event = match asked.act {
            Act::Publish => "publish",
            Act::Read => "read",
        };
        let mut body = said(event, &asked.stream, asked.protocol, asked.peer);
        body["query"] = json!(asked.query);
        for url in &inner.config.urls {
            let call = inner.call(url, event, &asked.stream, &body);
            let policy = inner.policy.clone();
            let answer = tokio::task::spawn_blocking(move || callback::once(&call, &policy, DECISION)).await;
            let why = match answer {
                Ok(Ok(())) => continue,
                Ok(Err((_, why))) => why,
                Err(e) => e.to_string(),
            };
            tracing::info!(
                stream = asked.stream,
                protocol = asked.protocol,
                "hook refuses to {event}: {why}"
            );
            return Err(format!("{event} is refused"));
        }
        Ok(())
    }

    /// As [`Hooks::allow`] for who fetches files, which is told apart by `who`: it is asked for once, and remembered for as
    /// long as it goes on fetching.
    ///
    /// # Errors
    /// Why it may not.
    pub async fn visit(&self, live: &Live, asked: Asked, who: impl Hash) -> Result<(), String> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let mut hasher = DefaultHasher::new();
        (&asked.stream, who).hash(&mut hasher);
        let Some(admitted) = inner.visitor(hasher.finish(), &asked.query) else {
            return self.allow(&asked).await;
        };
        let ask = || async {
            match self.allow(&asked).await {
                Ok(()) => Ok(live.watching(&asked.stream, asked.protocol, asked.peer)),
                Err(why) => Err(Refusal { at: Instant::now(), query: asked.query.clone(), why }),
            }
        };
        match admitted.get_or_init(ask).await {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal.why.clone()),
        }
    }

    /// Tells what happens to `live` until `ending`. Gives the tasks, none without hooks.
    pub fn start(&self, live: &Live, ending: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let Some(inner) = &self.0 else { return Vec::new() };
        let mut tasks = Vec::new();
        let mut queues = Vec::new();
        for url in &inner.config.urls {
            let (queue, waiting) = mpsc::channel(QUEUE);
            queues.push(queue);
            tasks.push(tokio::spawn(deliver(inner.clone(), url.clone(), waiting, ending.clone())));
        }
        let (events, visits) = (live.events(), live.visits());
        tasks.push(tokio::spawn(listen(inner.clone(), events, visits, queues, ending.clone())));
        tasks
    }
}

impl Inner {
    fn call(&self, url: &str, event: &'static str, stream: &str, body: &Value) -> Call {
        Call {
            id: uuid::Uuid::new_v4().to_string(),
            url: url.into(),
            about: ("X-GhostStream-Stream", stream.into()),
            event: event.into(),
            body: body.to_string(),
            secret: self.secret.clone(),
        }
    }

    /// Who fetches as `id` now; `None` when there are too many to be told apart.
    fn visitor(&self, id: u64, query: &str) -> Option<Arc<OnceCell<Result<Watching, Refusal>>>> {
        let now = Instant::now();
        let mut all = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(&id) {
            return None;
        }
        let visitor = all.entry(id).or_insert_with(|| Visitor { seen: now, admitted: Arc::default() });
        visitor.seen = now;
        // Somebody who was refused may show something else.
        let again = |r: &Refusal| r.at.elapsed() > REFUSED || (r.query != query && !query.is_empty());
        if let Some(Err(refusal)) = visitor.admitted.get()
            && again(refusal)
        {
            visitor.admitted = Arc::default();
        }
        Some(visitor.admitted.clone())
    }

    /// Takes out who fetches no more.
    fn gone(&self) -> Vec<Visitor> {
        let mut all = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        let old: Vec<u64> = all.iter().filter(|(_, v)| v.seen.elapsed() > GONE).map(|(id, _)| *id).collect();
        old.iter().filter_map(|id| all.remove(id)).collect()
    }
}

/// The body of a call.
fn said(event: &str, stream: &str, protocol: &str, peer: Option<SocketAddr>) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    json!({ "event": event, "stream": stream, "protocol": protocol, "peer": peer, "time": now })
}

/// What is to be told.
type Told = (&'static str, String, Value);

/// Puts what happens into the queues of all services.
async fn listen(
    inner: Arc<Inner>,
    mut events: broadcast::Receiver<LiveEvent>,
    mut visits: broadcast::Receiver<Visit>,
    queues: Vec<mpsc::Sender<Arc<Told>>>,
    mut ending: watch::Receiver<bool>,
) {
    let mut dropped: u64 = 0;
    let mut sweep = tokio::time::interval(Duration::from_secs(1));
    loop {
        let told = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => inner.happened(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!("hooks: {missed} events were too many at once");
                    None
                }
                Err(broadcast::error::RecvError::Closed) => return,
            },
            visit = visits.recv() => match visit {
                Ok(visit) => inner.visited(visit),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!("hooks: {missed} visits were too many at once");
                    None
                }
                Err(broadcast::error::RecvError::Closed) => return,
            },
            _ = sweep.tick() => {
                drop(inner.gone());
                None
            }
            () = ended(&mut ending) => return,
        };
        let Some(told) = told.map(Arc::new) else { continue };
        for queue in &queues {
            if queue.try_send(told.clone()).is_err() {
                dropped += 1;
                if dropped.is_power_of_two() {
                    tracing::warn!(dropped, "hooks: a service does not keep up, calls are dropped");
                }
            }
        }
    }
}

impl Inner {
    fn happened(&self, event: LiveEvent) -> Option<Told> {
        let (event, stream, publisher) = match event {
            LiveEvent::Published { stream, publisher } => ("publish", stream, publisher),
            LiveEvent::Unpublished { stream, publisher } => ("unpublish", stream, publisher),
        };
        // Who decides has been told: only publishers from outside are asked for.
        if event == "publish" && self.config.authorize && publisher.peer.is_some() {
            return None;
        }
        let mut body = said(event, &stream, publisher.protocol, publisher.peer);
        if event == "unpublish" {
            body["seconds"] = json!(publisher.since.elapsed().map_or(0.0, |d| d.as_secs_f64()));
        }
        Some((event, stream, body))
    }

    fn visited(&self, visit: Visit) -> Option<Told> {
        let event = if visit.watched.is_some() { "read_end" } else { "read" };
        // Who decides has been told of those who came; where the server sends by itself, nobody is asked.
        if event == "read" && self.config.authorize && visit.target.is_none() {
            return None;
        }
        let mut body = said(event, &visit.stream, visit.protocol, visit.peer);
        if let Some(target) = visit.target {
            body["target"] = json!(target);
        }
        if let Some(watched) = visit.watched {
            body["seconds"] = json!(watched.as_secs_f64());
        }
        Some((event, visit.stream, body))
    }
}

/// Makes the calls to one service, one after the other, so that they come in order.
async fn deliver(
    inner: Arc<Inner>,
    url: String,
    mut waiting: mpsc::Receiver<Arc<Told>>,
    mut ending: watch::Receiver<bool>,
) {
    let all = async {
        while let Some(told) = waiting.recv().await {
            let (event, stream, body) = &*told;
            callback::call(inner.call(&url, event, stream, body), inner.policy.clone()).await;
        }
    };
    let farewell = async {
        ended(&mut ending).await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        () = all => {}
        () = farewell => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_told_of_and_never_asked_for() {
        let visit = |target: Option<&str>, watched| Visit {
            stream: "live/a".into(),
            protocol: "rtmp",
            peer: None,
            target: target.map(String::from),
            watched,
        };
        for authorize in [false, true] {
            let config = HooksConfig { urls: vec!["http://h/".into()], authorize, ..HooksConfig::default() };
            let Hooks(Some(inner)) = Hooks::new(&config, None) else { panic!() };
            let (event, stream, body) = inner.visited(visit(Some("rtmp://far/live"), None)).unwrap();
            assert_eq!(
                (event, stream.as_str(), body["target"].as_str()),
                ("read", "live/a", Some("rtmp://far/live"))
            );
            let (event, _, body) =
                inner.visited(visit(Some("rtmp://far/live"), Some(Duration::from_secs(2)))).unwrap();
            assert_eq!((event, body["seconds"].as_f64()), ("read_end", Some(2.0)));
            // Who comes was asked for where hooks decide.
            let told = inner.visited(visit(None, None));
            assert_eq!(told.is_none(), authorize);
            assert!(told.is_none_or(|(.., body)| body.get("target").is_none()));
        }
    }
}
