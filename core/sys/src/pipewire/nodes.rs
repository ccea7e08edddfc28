//! The nodes there are, in types that know nothing of PipeWire.

/// A node that gives or takes sound or pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number for as long as it lives; another one gets it afterwards.
    pub id: u32,
    /// Its name for programs.
    pub name: String,
    /// Its name for people, where it has one.
    pub description: Option<String>,
    /// What it is.
    pub class: NodeClass,
    /// The application that it belongs to, for streams.
    pub application: Option<String>,
    /// Whether it is the one that is used where nobody chooses.
    pub default: bool,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeClass {
    /// Plays sound: a loudspeaker. Its monitor is what it plays.
    Sink,
    /// Gives sound: a microphone.
    Source,
    /// An application that plays sound.
    Playing,
    /// An application that records sound.
    Recording,
    /// Gives pictures: a camera, a virtual one too.
    Camera,
}

impl NodeClass {
    /// PipeWire's `media.class`; `None` for what is neither heard nor seen.
    #[cfg(feature = "pipewire")]
    pub(crate) fn from_media_class(class: &str) -> Option<NodeClass> {
        Some(match class {
            "Audio/Sink" | "Audio/Duplex" | "Audio/Sink/Virtual" => NodeClass::Sink,
            "Audio/Source" | "Audio/Source/Virtual" => NodeClass::Source,
            "Stream/Output/Audio" => NodeClass::Playing,
            "Stream/Input/Audio" => NodeClass::Recording,
            "Video/Source" | "Video/Source/Virtual" => NodeClass::Camera,
            _ => return None,
        })
    }

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            NodeClass::Sink => "sink",
            NodeClass::Source => "source",
            NodeClass::Playing => "playing",
            NodeClass::Recording => "recording",
            NodeClass::Camera => "camera",
        }
    }
}

/// What is listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SoundTarget {
    /// What the default sink plays; when another becomes the default, that one.
    Desktop,
    /// The default source; when another becomes the default, that one.
    Microphone,
    /// Everything that applications of this name play, now and later. Case does not matter.
    Application(String),
    /// Everything that applications play, except those of this name.
    AllBut(String),
    /// The node of this name: a sink (what it plays), a source or a stream. Another one of the same name is taken when it goes.
    Name(String),
    /// The node of this number, and no other when it goes.
    Id(u32),
}

/// Where and as what sound is taken.
#[derive(Clone, Debug)]
pub struct SoundOptions {
    /// Samples per second, 8000 to 192000.
    pub rate: u32,
    /// Channels: 1 or 2.
    pub channels: u32,
    /// The stream's name for those who list PipeWire's nodes.
    pub name: String,
}

/// A run of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct SoundChunk {
    /// The samples of all channels, interleaved.
    pub samples: Vec<f32>,
    /// How long ago the first of them sounded.
    pub age: std::time::Duration,
}

/// What a stream of sound is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoundState {
    /// Samples come by themselves. While they do not, nothing is heard.
    pub running: bool,
    /// The names of the nodes that it is linked to now, sorted.
    pub linked: Vec<String>,
    /// Chunks that were dropped because nobody took them.
    pub dropped: u64,
}
