//! The sound of nodes. The links are made here and not by the session manager: what is heard is what was asked for, and when
//! that goes there is silence.

use super::graph::{Graph, Watch, Wire};
use super::params::{self, Params};
use super::thread::{self, Resident, Thread, refused};
use super::video::monotonic;
use super::{Error, Kind, SoundChunk, SoundOptions, SoundState, SoundTarget};
use pipewire::core::CoreRc;
use pipewire::link::{Link, LinkListener, LinkState};
use pipewire::properties::PropertiesBox;
use pipewire::proxy::{ProxyListener, ProxyT as _};
use pipewire::spa;
use pipewire::stream::{StreamFlags, StreamListener, StreamRc, StreamState, StreamWeak};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Chunks that may wait to be taken: some seconds.
const WAITING: usize = 256;
/// Samples in one cycle of the graph that are asked for, of 48000 a second.
const CYCLE: u32 = 1024;
/// How long after a link was lost it is made again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long what was heard before may be heard on while the links to something else are made.
const LEAVE: Duration = Duration::from_millis(500);

/// The sound of what a [`SoundTarget`] means. One thread at a time; may move between threads.
pub struct SoundStream {
    // First, so that its thread has ended before what waits for the taker goes.
    thread: Thread<Told>,
    shared: Arc<Shared>,
}

/// What the loop is told.
enum Told {
    /// To listen to something else.
    Target(SoundTarget),
    /// To make the links again that were lost.
    Again,
    /// To remove what waits for links that do not come.
    Leave,
}

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    news: Condvar,
}

#[derive(Default)]
struct Inner {
    /// Samples, and when by the monotonic clock the first of them sounded.
    queue: VecDeque<(Vec<f32>, Duration)>,
    state: SoundState,
    /// When a link that there should be failed or was removed by somebody else.
    lost: Option<Instant>,
    /// Since when links wait for others before they are removed.
    leaves: Option<Instant>,
    end: Option<Error>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, error: Error) {
        self.lock().end.get_or_insert(error);
        self.news.notify_all();
    }
}

impl SoundStream {
    /// Begins to listen. What `target` means need not be there yet, and may go and come.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no PipeWire to connect to; [`Kind::Unsupported`] for a rate or a number of channels
    /// that is not offered; [`Kind::Io`] when PipeWire refuses.
    pub fn open(target: SoundTarget, options: &SoundOptions) -> Result<SoundStream, Error> {
        if !(8000..=192_000).contains(&options.rate) || !(1..=2).contains(&options.channels) {
            let message =
                format!("sound of {} Hz with {} channels is not captured", options.rate, options.channels);
            return Err(Error::new(Kind::Unsupported, message));
        }
        let shared = Arc::new(Shared::default());
        let thread = {
            let (shared, options) = (shared.clone(), options.clone());
            Thread::start("pw-sound", None, move |_, core, _| Capture::new(core, target, &options, shared))?
        };
        Ok(SoundStream { thread, shared })
    }

    /// The next samples; `None` when there are none within `timeout`.
    ///
    /// # Errors
    /// [`Kind::Gone`] when PipeWire itself went away. The same again from then on.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<SoundChunk>, Error> {
        let begin = Instant::now();
        let mut inner = self.shared.lock();
        loop {
            if let Some((samples, first)) = inner.queue.pop_front() {
                return Ok(Some(SoundChunk { samples, age: monotonic().saturating_sub(first) }));
            }
            if let Some(end) = &inner.end {
                return Err(end.clone());
            }
            if inner.lost.is_some_and(|at| at.elapsed() >= AGAIN) {
                inner.lost = None;
                self.thread.send(Told::Again);
            }
            if inner.leaves.is_some_and(|at| at.elapsed() >= LEAVE) {
                inner.leaves = None;
                self.thread.send(Told::Leave);
            }
            let left = timeout.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            let left = inner.lost.map_or(left, |_| left.min(AGAIN));
            let left = inner.leaves.map_or(left, |_| left.min(LEAVE));
            inner = self.shared.news.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What it is doing.
    pub fn state(&self) -> SoundState {
        self.shared.lock().state.clone()
    }

    /// Listens to something else from now on.
    pub fn set_target(&self, target: SoundTarget) {
        self.thread.send(Told::Target(target));
    }
}

impl std::fmt::Debug for SoundStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SoundStream({:?})", self.state())
    }
}

/// The links of a stream.
struct Wiring {
    core: CoreRc,
    stream: StreamWeak,
    target: SoundTarget,
    channels: usize,
    links: BTreeMap<Wire, Held>,
    /// Those of `links` that are none any more.
    lost: Rc<RefCell<BTreeSet<Wire>>>,
    changing: Rc<RefCell<Changing>>,
    shared: Arc<Shared>,
}

/// A change from one target to another: the links to the old one stay until those to the new one are there. Without any link
/// our node would leave its driver, whose cycle would change twice within a moment, and on a busy machine PipeWire (0.3.65)
/// does that so that all players of that driver fall silent for good.
#[derive(Default)]
struct Changing {
    /// New links that are not made yet.
    coming: BTreeSet<Wire>,
    leaving: BTreeMap<Wire, Held>,
}

impl Changing {
    /// `wire` is made, or never will be.
    fn came(&mut self, wire: &Wire) {
        self.coming.remove(wire);
        if self.coming.is_empty() {
            self.leaving.clear();
        }
    }
}

/// A link, and who hears of its end; listeners go first.
struct Held {
    _info: LinkListener,
    _proxy: ProxyListener,
    _link: Link,
}

impl Wiring {
    /// Makes the links that there should be and removes the others.
    fn update(&mut self, graph: &Graph) {
        let Some(stream) = self.stream.upgrade() else { return };
        let own = stream.node_id();
        let (wires, nodes) = graph.wires(&self.target, own, self.channels);
        let mut changing = self.changing.borrow_mut();
        let mut had = std::mem::take(&mut changing.leaving);
        had.append(&mut self.links);
        (self.links, changing.leaving) = had.into_iter().partition(|(wire, _)| wires.contains(wire));
        drop(changing);
        for wire in wires {
            if self.links.contains_key(&wire) {
                continue;
            }
            let mut properties = PropertiesBox::new();
            for (key, value) in [
                ("link.output.port", wire.output.to_string()),
                ("link.input.port", wire.input.to_string()),
                ("object.linger", "false".to_owned()),
            ] {
                properties.insert(key, value);
            }
            // One that is refused now is tried again when something changes.
            if let Ok(link) = self.core.create_object::<Link>("link-factory", &properties) {
                self.lost.borrow_mut().remove(&wire);
                self.changing.borrow_mut().coming.insert(wire.clone());
                let held = self.hold(&wire, link);
                self.links.insert(wire, held);
            }
        }
        let mut changing = self.changing.borrow_mut();
        changing.coming.retain(|wire| self.links.contains_key(wire));
        if changing.coming.is_empty() {
            changing.leaving.clear();
        }
        let leaves = !changing.leaving.is_empty();
        drop(changing);
        let mut linked: Vec<String> = nodes.iter().filter_map(|id| graph.name(*id)).collect();
        linked.sort();
        linked.dedup();
        let mut inner = self.shared.lock();
        inner.state.linked = linked;
        inner.leaves = leaves.then(Instant::now);
    }

    /// Links are made and negotiated later, and can be removed by anybody: a lost one is made again, after a while, because
    /// its nodes may just be busy with something else.
    fn hold(&self, wire: &Wire, link: Link) -> Held {
        let loses = || {
            let (lost, shared, wire) = (self.lost.clone(), self.shared.clone(), wire.clone());
            let changing = self.changing.clone();
            move || {
                changing.borrow_mut().came(&wire);
                lost.borrow_mut().insert(wire.clone());
                shared.lock().lost.get_or_insert_with(Instant::now);
            }
        };
        let (failed, refused, removed) = (loses(), loses(), loses());
        let (changing, wire) = (self.changing.clone(), wire.clone());
        let info = move |info: &pipewire::link::LinkInfoRef| match info.state() {
            LinkState::Error(_) => failed(),
            LinkState::Paused | LinkState::Active => changing.borrow_mut().came(&wire),
            _ => {}
        };
        let _info = link.add_listener_local().info(info).register();
        let proxy = link.upcast_ref().add_listener_local();
        let _proxy = proxy.error(move |_, _, _| refused()).removed(removed).register();
        Held { _info, _proxy, _link: link }
    }

    /// Makes the lost links again.
    fn again(&mut self, graph: &Graph) {
        for wire in self.lost.take() {
            self.links.remove(&wire);
        }
        self.update(graph);
    }
}

/// What the stream's callbacks work on.
struct Receiving {
    shared: Arc<Shared>,
    rate: u32,
    channels: usize,
}

/// The stream on its loop.
struct Capture {
    // Listeners unregister themselves, which must be before the objects that they listen to go: fields are dropped in order.
    _listener: StreamListener<Receiving>,
    _core: pipewire::core::Listener,
    watch: Watch,
    wiring: Rc<RefCell<Option<Wiring>>>,
    stream: StreamRc,
}

impl Resident for Capture {
    type Message = Told;

    fn tell(&mut self, told: Told) {
        if let Some(wiring) = self.wiring.borrow_mut().as_mut() {
            let graph = self.watch.graph.borrow();
            match told {
                Told::Target(target) => {
                    wiring.target = target;
                    wiring.update(&graph);
                }
                Told::Leave => wiring.changing.borrow_mut().leaving.clear(),
                Told::Again => wiring.again(&graph),
            }
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.wiring.borrow_mut().take();
        // It fails when it is not connected any more.
        let _ = self.stream.disconnect();
    }
}

impl Capture {
    fn new(
        core: &CoreRc,
        target: SoundTarget,
        options: &SoundOptions,
        shared: Arc<Shared>,
    ) -> Result<Capture, Error> {
        let wiring: Rc<RefCell<Option<Wiring>>> = Rc::default();
        let changes: Rc<RefCell<Option<Rc<RefCell<Graph>>>>> = Rc::default();
        let watch = Watch::new(core, {
            let (wiring, changes) = (wiring.clone(), changes.clone());
            move || {
                if let (Some(wiring), Some(graph)) = (wiring.borrow_mut().as_mut(), changes.borrow().as_ref())
                {
                    wiring.update(&graph.borrow());
                }
            }
        })?;
        *changes.borrow_mut() = Some(watch.graph.clone());
        let mut properties = PropertiesBox::new();
        let latency = format!("{}/{}", CYCLE * options.rate / 48_000, options.rate);
        for (key, value) in [
            ("media.type", "Audio"),
            ("media.category", "Capture"),
            ("media.role", "Production"),
            // Never by anybody else.
            ("node.autoconnect", "false"),
            ("node.dont-reconnect", "true"),
            ("node.latency", latency.as_str()),
            // Volumes that a session manager remembers would be the listener's, not the player's.
            ("state.restore-props", "false"),
            ("state.restore-target", "false"),
            ("application.name", options.name.as_str()),
        ] {
            properties.insert(key, value);
        }
        let stream = StreamRc::new(core.clone(), &options.name, properties).map_err(refused("a stream"))?;
        let failures = core
            .add_listener_local()
            .error({
                let shared = shared.clone();
                move |id, _, code, message| {
                    if thread::is_end(id, code) {
                        shared.end(Error::new(Kind::Gone, format!("PipeWire is gone: {message} ({code})")));
                    }
                }
            })
            .register();
        let channels = options.channels as usize;
        let receiving = Receiving { shared: shared.clone(), rate: options.rate, channels };
        let listener = stream
            .add_local_listener_with_user_data(receiving)
            .state_changed(|_, receiving, _, new| {
                receiving.shared.lock().state.running = new == StreamState::Streaming;
                if let StreamState::Error(message) = new {
                    let message = format!("PipeWire: the stream of sound failed: {message}");
                    receiving.shared.end(Error::new(Kind::Gone, message));
                }
                receiving.shared.news.notify_all();
            })
            .process(|stream, receiving| receiving.take(stream))
            .register()
            .map_err(refused("a stream's listener"))?;
        let position: &[u32] = match channels {
            1 => &[spa::sys::SPA_AUDIO_CHANNEL_MONO],
            _ => &[spa::sys::SPA_AUDIO_CHANNEL_FL, spa::sys::SPA_AUDIO_CHANNEL_FR],
        };
        let params = Params::new([params::sound_format(options.rate, position)])?;
        let flags = StreamFlags::MAP_BUFFERS | StreamFlags::DONT_RECONNECT;
        stream
            .connect(spa::utils::Direction::Input, None, flags, &mut params.pods())
            .map_err(refused("connecting a stream"))?;
        let made = Wiring {
            core: core.clone(),
            stream: stream.downgrade(),
            target,
            channels,
            links: BTreeMap::new(),
            lost: Rc::default(),
            changing: Rc::default(),
            shared,
        };
        *wiring.borrow_mut() = Some(made);
        Ok(Capture { _listener: listener, _core: failures, watch, wiring, stream })
    }
}

impl Receiving {
    /// Takes all samples that wait.
    fn take(&mut self, stream: &pipewire::stream::Stream) {
        let cycle = stream.time().ok().map(|t| (t.now(), t.delay(), t.rate()));
        let mut chunks: Vec<Vec<f32>> = Vec::new();
        while let Some(mut buffer) = stream.dequeue_buffer() {
            let Some(data) = buffer.datas_mut().first_mut() else { continue };
            let (offset, size) = (data.chunk().offset() as usize, data.chunk().size() as usize);
            let Some(bytes) = data.data().and_then(|all| all.get(offset..offset.checked_add(size)?)) else {
                continue;
            };
            let samples = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            chunks.push(samples.collect());
        }
        let count: usize = chunks.iter().map(Vec::len).sum();
        if count == 0 {
            return;
        }
        let long =
            |samples: usize| Duration::from_secs_f64((samples / self.channels) as f64 / f64::from(self.rate));
        let mut first = end_of(cycle).saturating_sub(long(count));
        let mut inner = self.shared.lock();
        for chunk in chunks {
            let length = long(chunk.len());
            if inner.queue.len() >= WAITING {
                inner.queue.pop_front();
                inner.state.dropped += 1;
            }
            inner.queue.push_back((chunk, first));
            first += length;
        }
        drop(inner);
        self.shared.news.notify_all();
    }
}

/// When, by the monotonic clock, the last of the samples sounded that a cycle brought: at its beginning, less what the device
/// and filters held them back.
fn end_of(cycle: Option<(i64, i64, spa::utils::Fraction)>) -> Duration {
    let now = monotonic();
    let Some((at, delay, rate)) = cycle else { return now };
    let Some(at) = u64::try_from(at).ok().filter(|at| *at > 0).map(Duration::from_nanos) else { return now };
    // A time of the future, or of long ago, says nothing.
    if at > now + Duration::from_secs(1) || at + Duration::from_secs(1) < now {
        return now;
    }
    let late = delay.max(0) as f64 * f64::from(rate.num) / f64::from(rate.denom.max(1));
    at.saturating_sub(Duration::from_secs_f64(late.clamp(0.0, 2.0)))
}
