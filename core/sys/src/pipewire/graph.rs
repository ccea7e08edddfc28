//! What PipeWire has: nodes, their ports and which are the defaults, kept up to date on a loop.

use super::thread::{Resident, Thread, refused};
use super::{Error, Kind, Node, NodeClass, SoundTarget};
use pipewire::core::CoreRc;
use pipewire::metadata::{Metadata, MetadataListener};
use pipewire::registry::{GlobalObject, Listener, RegistryRc};
use pipewire::spa::utils::dict::DictRef;
use pipewire::types::ObjectType;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

/// How long PipeWire may take to say what there is.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known.
#[derive(Default)]
pub(super) struct Graph {
    nodes: BTreeMap<u32, Known>,
    ports: BTreeMap<u32, Port>,
    /// Names of applications by their connection.
    clients: BTreeMap<u32, String>,
    sink: Option<String>,
    source: Option<String>,
}

/// A node as the registry shows it.
struct Known {
    name: String,
    description: Option<String>,
    class: NodeClass,
    application: Option<String>,
    client: Option<u32>,
}

/// A port as the registry shows it.
struct Port {
    node: u32,
    output: bool,
    monitor: bool,
    channel: String,
}

/// A link that there should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wire {
    pub output: u32,
    pub input: u32,
}

impl Graph {
    fn add(&mut self, global: &GlobalObject<&DictRef>) {
        let Some(props) = global.props else { return };
        let text = |key: &str| props.get(key).filter(|v| !v.is_empty()).map(str::to_owned);
        let number = |key: &str| props.get(key).and_then(|v| v.parse::<u32>().ok());
        match global.type_ {
            ObjectType::Node => {
                let Some(class) = props.get("media.class").and_then(NodeClass::from_media_class) else {
                    return;
                };
                let known = Known {
                    name: text("node.name").unwrap_or_default(),
                    description: text("node.description").or_else(|| text("node.nick")),
                    class,
                    application: text("application.name"),
                    client: number("client.id"),
                };
                self.nodes.insert(global.id, known);
            }
            ObjectType::Port => {
                let Some(node) = number("node.id") else { return };
                // Only sound has channels; ports of pictures and MIDI are of no interest.
                let Some(channel) = text("audio.channel") else { return };
                let port = Port {
                    node,
                    output: props.get("port.direction") == Some("out"),
                    monitor: props.get("port.monitor") == Some("true"),
                    channel,
                };
                self.ports.insert(global.id, port);
            }
            ObjectType::Client => {
                if let Some(name) = text("application.name") {
                    self.clients.insert(global.id, name);
                }
            }
            _ => {}
        }
    }

    fn remove(&mut self, id: u32) {
        self.nodes.remove(&id);
        self.ports.remove(&id);
        self.clients.remove(&id);
    }

    fn set_default(&mut self, key: Option<&str>, value: Option<&str>) {
        let name = value.and_then(name_in);
        match key {
            Some("default.audio.sink") => self.sink = name,
            Some("default.audio.source") => self.source = name,
            None => (self.sink, self.source) = (None, None),
            Some(_) => {}
        }
    }

    fn application<'a>(&'a self, node: &'a Known) -> Option<&'a str> {
        let of_client = || node.client.and_then(|id| self.clients.get(&id)).map(String::as_str);
        node.application.as_deref().or_else(of_client)
    }

    fn is_default(&self, node: &Known) -> bool {
        match node.class {
            NodeClass::Sink => self.sink.as_deref() == Some(node.name.as_str()),
            NodeClass::Source => self.source.as_deref() == Some(node.name.as_str()),
            _ => false,
        }
    }

    /// All nodes, by class.
    fn list(&self) -> Vec<Node> {
        let node = |(id, known): (&u32, &Known)| {
            let stream = matches!(known.class, NodeClass::Playing | NodeClass::Recording);
            Node {
                id: *id,
                name: known.name.clone(),
                description: known.description.clone(),
                class: known.class,
                application: self.application(known).filter(|_| stream).map(str::to_owned),
                default: self.is_default(known),
            }
        };
        let mut nodes: Vec<Node> = self.nodes.iter().map(node).collect();
        nodes.sort_by_key(|n| (n.class, n.id));
        nodes
    }

    fn is_of(&self, node: &Known, application: &str) -> bool {
        let same = |name: &str| name.to_lowercase() == application.to_lowercase();
        self.application(node).is_some_and(same) || same(&node.name)
    }

    /// The nodes that `target` means, except our own.
    fn meant(&self, target: &SoundTarget, own: u32) -> Vec<u32> {
        let matches = |id: u32, node: &Known| match target {
            SoundTarget::Desktop => node.class == NodeClass::Sink && self.is_default(node),
            SoundTarget::Microphone => {
                // A monitor can be made the default source; it is asked for as such, and taken.
                let named = self.source.as_deref() == Some(node.name.as_str());
                matches!(node.class, NodeClass::Source | NodeClass::Sink) && named
            }
            SoundTarget::Application(name) => node.class == NodeClass::Playing && self.is_of(node, name),
            SoundTarget::AllBut(name) => node.class == NodeClass::Playing && !self.is_of(node, name),
            SoundTarget::Name(name) => node.name == *name,
            SoundTarget::Id(wanted) => id == *wanted,
        };
        self.nodes.iter().filter(|(id, node)| **id != own && matches(**id, node)).map(|(id, _)| *id).collect()
    }

    /// The name of a node.
    pub fn name(&self, id: u32) -> Option<String> {
        let node = self.nodes.get(&id)?;
        Some(
            self.application(node)
                .filter(|_| node.class == NodeClass::Playing)
                .unwrap_or(&node.name)
                .to_owned(),
        )
    }

    /// The links that bring `target` to the node `own`, and the nodes that they come from; none before all of its `channels`
    /// ports are there, which come one by one.
    pub fn wires(&self, target: &SoundTarget, own: u32, channels: usize) -> (Vec<Wire>, Vec<u32>) {
        let inputs: Vec<(u32, &str)> = self
            .ports
            .iter()
            .filter(|(_, p)| p.node == own && !p.output)
            .map(|(id, p)| (*id, p.channel.as_str()))
            .collect();
        if inputs.len() != channels {
            return (Vec::new(), Vec::new());
        }
        let mut wires = Vec::new();
        let mut nodes = Vec::new();
        for id in self.meant(target, own) {
            let Some(node) = self.nodes.get(&id) else { continue };
            // Of a sink, what it plays; of others, what they give.
            let monitor = matches!(node.class, NodeClass::Sink | NodeClass::Recording);
            let of = |monitor: bool| -> Vec<(&u32, &Port)> {
                self.ports.iter().filter(|(_, p)| p.node == id && p.output && p.monitor == monitor).collect()
            };
            let mut ports = of(monitor);
            // A source that was made of a sink gives what its monitor gives.
            if ports.is_empty() && node.class == NodeClass::Source {
                ports = of(true);
            }
            let before = wires.len();
            for (output, port) in &ports {
                for (input, channel) in &inputs {
                    if inputs.len() == 1 || ports.len() == 1 || goes_to(&port.channel, channel) {
                        wires.push(Wire { output: **output, input: *input });
                    }
                }
            }
            if wires.len() > before {
                nodes.push(id);
            }
        }
        wires.sort();
        (wires, nodes)
    }
}

/// Whether the channel `from` is heard on `to`, one of the left and the right.
fn goes_to(from: &str, to: &str) -> bool {
    let side = match from {
        "MONO" | "FC" | "RC" | "TC" | "UNK" => return true,
        "LFE" | "LFE2" => return false,
        "FL" | "RL" | "SL" | "FLC" | "TFL" | "TRL" => "FL",
        "FR" | "RR" | "SR" | "FRC" | "TFR" | "TRR" => "FR",
        aux => match aux.strip_prefix("AUX").and_then(|n| n.parse::<u32>().ok()) {
            Some(n) if n % 2 == 0 => "FL",
            Some(_) => "FR",
            None => return true,
        },
    };
    side == to
}

/// The name in `{"name":"…"}`.
fn name_in(json: &str) -> Option<String> {
    let rest = json.split_once("\"name\"")?.1;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let mut name = String::new();
    let mut letters = rest.chars();
    loop {
        match letters.next()? {
            '"' => return Some(name),
            '\\' => name.push(letters.next()?),
            letter => name.push(letter),
        }
    }
}

/// Keeps a [`Graph`] up to date. Listeners come first, because they are to be dropped before what they listen to.
pub(super) struct Watch {
    pub graph: Rc<RefCell<Graph>>,
    _listener: Listener,
    _metadata: Rc<RefCell<Vec<(MetadataListener, Metadata)>>>,
    _registry: RegistryRc,
}

impl Watch {
    /// Begins; `changed` is called after every change.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn new(core: &CoreRc, changed: impl Fn() + 'static) -> Result<Watch, Error> {
        let registry = core.get_registry_rc().map_err(refused("the registry"))?;
        let graph = Rc::new(RefCell::new(Graph::default()));
        let metadata = Rc::new(RefCell::new(Vec::new()));
        let changed: Rc<dyn Fn()> = Rc::new(changed);
        let listener = registry
            .add_listener_local()
            .global({
                let (graph, metadata, registry) = (graph.clone(), metadata.clone(), registry.downgrade());
                let changed = changed.clone();
                move |global| {
                    let is_defaults = global.type_ == ObjectType::Metadata
                        && global.props.and_then(|p| p.get("metadata.name")) == Some("default");
                    if let (true, Some(registry)) = (is_defaults, registry.upgrade()) {
                        let Ok(bound) = registry.bind::<Metadata, _>(global) else { return };
                        let (graph, changed) = (graph.clone(), changed.clone());
                        let listener = bound
                            .add_listener_local()
                            .property(move |subject, key, _, value| {
                                if subject == 0 {
                                    graph.borrow_mut().set_default(key, value);
                                    changed();
                                }
                                0
                            })
                            .register();
                        metadata.borrow_mut().push((listener, bound));
                        return;
                    }
                    graph.borrow_mut().add(global);
                    changed();
                }
            })
            .global_remove({
                let graph = graph.clone();
                move |id| {
                    graph.borrow_mut().remove(id);
                    changed();
                }
            })
            .register();
        Ok(Watch { graph, _listener: listener, _metadata: metadata, _registry: registry })
    }
}

/// Lists nodes once.
struct Listing {
    _core: pipewire::core::Listener,
    _watch: Watch,
}

impl Resident for Listing {
    type Message = ();

    fn tell(&mut self, (): ()) {}
}

/// The nodes that give or take sound or pictures, by class.
///
/// # Errors
/// [`Kind::NotFound`] when there is no PipeWire; [`Kind::Io`] when it does not answer.
pub fn nodes() -> Result<Vec<Node>, Error> {
    let (tell, told) = mpsc::channel();
    let _thread: Thread<()> = Thread::start("pw-list", None, move |_, core, _| {
        let watch = Watch::new(core, || {})?;
        let graph = watch.graph.clone();
        let again = core.downgrade();
        let rounds = RefCell::new(0);
        let listener = core
            .add_listener_local()
            .done(move |_, _| {
                // The first answer comes after the globals, the second after what was asked of them.
                let round = {
                    let mut rounds = rounds.borrow_mut();
                    *rounds += 1;
                    *rounds
                };
                match again.upgrade() {
                    Some(core) if round < 2 => drop(core.sync(round)),
                    _ => drop(tell.send(graph.borrow().list())),
                }
            })
            .register();
        core.sync(0).map_err(refused("asking what there is"))?;
        Ok(Listing { _core: listener, _watch: watch })
    })?;
    told.recv_timeout(PATIENCE).map_err(|_| Error::new(Kind::Io, "PipeWire does not say what nodes it has"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, class: NodeClass, application: Option<&str>) -> Known {
        let application = application.map(str::to_owned);
        Known { name: name.into(), description: None, class, application, client: None }
    }

    fn graph() -> Graph {
        let mut graph = Graph::default();
        graph.nodes.insert(10, known("speakers", NodeClass::Sink, None));
        graph.nodes.insert(11, known("mic", NodeClass::Source, None));
        graph.nodes.insert(12, known("ff", NodeClass::Playing, Some("Firefox")));
        graph.nodes.insert(13, known("mp", NodeClass::Playing, Some("mpv")));
        graph.nodes.insert(20, known("own", NodeClass::Recording, None));
        let mut port = |id, node, output, monitor, channel: &str| {
            graph.ports.insert(id, Port { node, output, monitor, channel: channel.into() })
        };
        port(100, 10, false, false, "FL");
        port(101, 10, true, true, "FL");
        port(102, 10, true, true, "FR");
        port(110, 11, true, false, "MONO");
        port(120, 12, true, false, "FL");
        port(121, 12, true, false, "FR");
        port(130, 13, true, false, "FC");
        port(131, 13, true, false, "RL");
        port(200, 20, false, false, "FL");
        port(201, 20, false, false, "FR");
        port(202, 20, true, true, "FL");
        graph.set_default(Some("default.audio.sink"), Some(r#"{ "name": "speakers" }"#));
        graph
    }

    fn wires(graph: &Graph, target: &SoundTarget) -> Vec<(u32, u32)> {
        graph.wires(target, 20, 2).0.iter().map(|w| (w.output, w.input)).collect()
    }

    #[test]
    fn targets_mean_ports() {
        let graph = graph();
        assert_eq!(wires(&graph, &SoundTarget::Desktop), [(101, 200), (102, 201)]);
        assert_eq!(wires(&graph, &SoundTarget::Microphone), []);
        assert_eq!(wires(&graph, &SoundTarget::Name("mic".into())), [(110, 200), (110, 201)]);
        assert_eq!(wires(&graph, &SoundTarget::Application("firefox".into())), [(120, 200), (121, 201)]);
        assert_eq!(
            wires(&graph, &SoundTarget::AllBut("FIREFOX".into())),
            [(130, 200), (130, 201), (131, 200)]
        );
        assert_eq!(wires(&graph, &SoundTarget::Id(10)), [(101, 200), (102, 201)]);
        // Never ourselves, or it would howl.
        assert_eq!(wires(&graph, &SoundTarget::Id(20)), []);
    }

    #[test]
    fn nothing_is_heard_by_one_port_of_two() {
        let mut graph = graph();
        graph.remove(201);
        assert_eq!(wires(&graph, &SoundTarget::Desktop), []);
        assert_eq!(graph.wires(&SoundTarget::Desktop, 20, 1).0.len(), 2);
    }

    #[test]
    fn a_virtual_microphone_is_a_sink_behind_a_source() {
        let mut graph = graph();
        graph.nodes.insert(14, known("virtual", NodeClass::Source, None));
        for (id, output, channel) in [(140, false, "FL"), (141, true, "FL"), (142, true, "FR")] {
            graph.ports.insert(id, Port { node: 14, output, monitor: output, channel: channel.into() });
        }
        graph.set_default(Some("default.audio.source"), Some(r#"{ "name": "virtual" }"#));
        assert_eq!(wires(&graph, &SoundTarget::Microphone), [(141, 200), (142, 201)]);
        assert_eq!(wires(&graph, &SoundTarget::Name("virtual".into())), [(141, 200), (142, 201)]);
    }

    #[test]
    fn what_goes_is_not_replaced() {
        let mut graph = graph();
        graph.remove(12);
        assert_eq!(wires(&graph, &SoundTarget::Id(12)), []);
        assert_eq!(wires(&graph, &SoundTarget::Application("Firefox".into())), []);
        graph.set_default(Some("default.audio.sink"), None);
        assert_eq!(wires(&graph, &SoundTarget::Desktop), []);
    }

    #[test]
    fn the_default_is_read() {
        assert_eq!(name_in(r#"{"name":"a.b"}"#).as_deref(), Some("a.b"));
        assert_eq!(name_in(r#"{ "name" : "say \"hi\"" }"#).as_deref(), Some("say \"hi\""));
        assert_eq!(name_in("{}"), None);
        assert_eq!(name_in(r#"{"name":"open"#), None);
    }
}
