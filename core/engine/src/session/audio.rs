//! The sound that goes with the picture.

use crate::packet::Codec;
use crate::spec::{AudioChoice, AudioSpec, Bitrate, SoundSource, SoundSpec};

/// Which sound is recorded and how it is coded. Inert.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioConfig {
    /// Whether there is sound at all.
    pub enabled: bool,
    /// Where it comes from.
    pub source: AudioSource,
    /// How it is coded.
    pub codec: Codec,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u32,
    /// Bits per second of codecs that lose something; FLAC, ALAC and PCM have no choice.
    pub bitrate: u64,
}

/// Where sound comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AudioSource {
    /// With the picture: a pattern's tone, a file's own sound, the desktop's for a screen.
    #[default]
    Capture,
    /// What the desktop plays.
    Desktop,
    /// What one application plays, by name.
    Application(String),
    /// A PipeWire node by number.
    NodeId(u32),
    /// A PipeWire node by name.
    Node(String),
    /// The default microphone.
    DefaultInput,
    /// What the default output plays.
    DefaultOutput,
}

impl AudioSource {
    /// What of the document it is; with the picture of a screen comes the desktop's sound.
    pub(super) fn sound(&self) -> SoundSpec {
        match self {
            AudioSource::Capture | AudioSource::Desktop | AudioSource::DefaultOutput => {
                SoundSpec::new(SoundSource::Desktop)
            }
            AudioSource::Application(name) => SoundSpec::application(name),
            AudioSource::NodeId(id) => SoundSpec::node(id.to_string()),
            AudioSource::Node(name) => SoundSpec::node(name),
            AudioSource::DefaultInput => SoundSpec::new(SoundSource::Microphone),
        }
    }
}

impl From<u32> for AudioSource {
    fn from(node: u32) -> Self {
        AudioSource::NodeId(node)
    }
}

impl From<&str> for AudioSource {
    fn from(node: &str) -> Self {
        AudioSource::Node(node.into())
    }
}

impl From<String> for AudioSource {
    fn from(node: String) -> Self {
        AudioSource::Node(node)
    }
}

impl Default for AudioConfig {
    fn default() -> Self {
        AudioConfig {
            enabled: false,
            source: AudioSource::default(),
            codec: Codec::Aac,
            sample_rate: 48_000,
            channels: 2,
            bitrate: 192_000,
        }
    }
}

impl AudioConfig {
    /// The defaults, switched on: AAC, 48 kHz, stereo, 192 kbit/s.
    pub fn enabled() -> Self {
        AudioConfig { enabled: true, ..AudioConfig::default() }
    }

    /// Takes the sound from `source`.
    pub fn with_source(mut self, source: impl Into<AudioSource>) -> Self {
        self.source = source.into();
        self
    }

    /// Codes it as `codec`.
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Thousands of bits per second.
    pub fn with_bitrate_kbps(mut self, kbps: u32) -> Self {
        self.bitrate = u64::from(kbps) * 1000;
        self
    }

    /// What is captured beside a screen.
    pub(super) fn sounds(&self) -> Vec<SoundSpec> {
        self.enabled.then(|| self.source.sound()).into_iter().collect()
    }

    /// The audio of an output.
    pub(super) fn choice(&self) -> AudioChoice {
        if !self.enabled {
            return AudioChoice::None;
        }
        let lossless = matches!(self.codec, Codec::Flac | Codec::PcmS16 | Codec::PcmF32 | Codec::Alac);
        AudioChoice::Tracks(vec![AudioSpec {
            codec: Some(self.codec.clone()),
            bitrate: (!lossless).then_some(Bitrate(self.bitrate)),
            channels: Some(self.channels),
            sample_rate: Some(self.sample_rate),
            ..AudioSpec::new()
        }])
    }
}
