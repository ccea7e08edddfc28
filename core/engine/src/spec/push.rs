//! How an output is pushed over a network.

use super::values::{Bitrate, Seconds};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// How an output whose `path` is a URL is pushed. A thread of its own sends, so that nothing else of the job waits for the
/// network.
///
/// A live source (`realtime`, a screen, a camera, live frames, a stream from the network) never waits: what cannot be sent
/// in `max_delay` is dropped, pictures that no other needs first, then whole ends of groups of pictures, and sound last.
/// Other sources (files) wait, and nothing is dropped. After a reconnect the stream goes on with a key frame, which is
/// made at once where the video is encoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushSpec {
    /// Tries to connect again after a connection broke, before the output fails; -1 = for ever. A connection that held for
    /// 10 seconds begins the count anew.
    #[serde(default = "five")]
    pub reconnects: i32,
    /// Seconds before the first of them; each next wait is twice as long, less a random part.
    #[serde(default = "one")]
    pub first_delay: Seconds,
    /// The longest such wait, seconds.
    #[serde(default = "thirty")]
    pub most_delay: Seconds,
    /// Try again also when the first connection of all cannot be made, instead of failing at once.
    #[serde(default)]
    pub retry_start: bool,
    /// Seconds that connecting may take, and that sending may stand still, before the connection counts as broken.
    #[serde(default = "ten")]
    pub timeout: Seconds,
    /// Media that may wait to be sent, seconds.
    #[serde(default = "two")]
    pub max_delay: Seconds,
    /// Bytes that may wait to be sent.
    #[serde(default = "bytes")]
    pub max_bytes: u64,
    /// Lower the encoder's bit rate when the network cannot carry it, and raise it again when it can: `true`, or within
    /// which bounds. Needs encoded video with `bitrate` and either `cbr` or `max_bitrate`. Outputs that adapt share one encode
    /// with each other, at the lowest of their rates, and not with outputs that do not: those are encoded on their own, and
    /// keep their rate.
    #[serde(default)]
    pub adapt: AdaptChoice,
    /// Whether the certificate of a server over TLS (`rtmps`) must be its own and signed by somebody who is believed;
    /// `false` sends the stream to whoever answers.
    #[serde(default = "super::yes")]
    pub tls_verify: bool,
    /// PEM file of who is believed to sign certificates, instead of those whom the system believes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// SRT's own settings; `srt://` only. What the URL's query says in FFmpeg's words (`mode`, `passphrase`, `pbkeylen`,
    /// `streamid`, `latency` in microseconds, `maxbw`) is taken too, but not both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srt: Option<SrtSpec>,
}

fn five() -> i32 {
    5
}

fn one() -> Seconds {
    Seconds(1.0)
}

fn two() -> Seconds {
    Seconds(2.0)
}

fn ten() -> Seconds {
    Seconds(10.0)
}

fn thirty() -> Seconds {
    Seconds(30.0)
}

fn bytes() -> u64 {
    64 << 20
}

impl Default for PushSpec {
    fn default() -> Self {
        PushSpec {
            reconnects: five(),
            first_delay: one(),
            most_delay: thirty(),
            retry_start: false,
            timeout: ten(),
            max_delay: two(),
            max_bytes: bytes(),
            adapt: AdaptChoice::No,
            tls_verify: true,
            ca_file: None,
            srt: None,
        }
    }
}

/// Whether an encoder's bit rate follows the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AdaptChoice {
    /// It stays as it is.
    #[default]
    No,
    /// It follows, within bounds.
    Yes(AdaptSpec),
}

/// Bounds of a bit rate that follows the network. The most is the video's `bitrate`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdaptSpec {
    /// The least; default: a quarter of the video's `bitrate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_bitrate: Option<Bitrate>,
}

impl<'de> Deserialize<'de> for AdaptChoice {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = AdaptChoice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or bounds of the bit rate")
            }
            fn visit_unit<E: de::Error>(self) -> Result<AdaptChoice, E> {
                Ok(AdaptChoice::No)
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<AdaptChoice, E> {
                Ok(if on { AdaptChoice::Yes(AdaptSpec::default()) } else { AdaptChoice::No })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AdaptChoice, A::Error> {
                AdaptSpec::deserialize(de::value::MapAccessDeserializer::new(map)).map(AdaptChoice::Yes)
            }
        }
        d.deserialize_any(V)
    }
}

impl Serialize for AdaptChoice {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            AdaptChoice::No => s.serialize_bool(false),
            AdaptChoice::Yes(bounds) => bounds.serialize(s),
        }
    }
}

impl JsonSchema for AdaptChoice {
    fn schema_name() -> Cow<'static, str> {
        "AdaptChoice".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let bounds = generator.subschema_for::<AdaptSpec>();
        json_schema!({
            "description": "true, false or bounds of the bit rate",
            "anyOf": [{"type": ["boolean", "null"]}, bounds]
        })
    }
}

/// Settings of an SRT connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SrtSpec {
    /// Who calls whom; default `caller`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<SrtMode>,
    /// Encrypts with this passphrase, 10 to 79 bytes; both sides must have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
    /// Bytes of the key made from the passphrase: 16, 24 or 32; default 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_length: Option<u8>,
    /// Tells the peer which stream this is, at most 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// Time for repairing losses, 20 to 8000 milliseconds; the larger of both peers' counts. Default 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<u32>,
    /// The most that is sent, repairs included; default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bandwidth: Option<Bitrate>,
}

/// Who calls whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SrtMode {
    /// This side calls.
    #[default]
    Caller,
    /// This side waits to be called, by one peer at a time.
    Listener,
    /// Both sides call at once, through firewalls.
    Rendezvous,
}

/// Whether what goes to this address, a URL as it is connected to, is encrypted by TLS.
pub(crate) fn is_encrypted(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).unwrap_or_default();
    matches!(scheme.as_str(), "rtmps" | "rtmpts" | "tls" | "https")
}

/// Checks what the types of `push` cannot say.
pub(super) fn check(path: &str, o: &super::OutputSpec) -> crate::Result<()> {
    use crate::error::Error;
    let refuse = |field: &str, message: &str| Err(Error::invalid(format!("{path}.{field}"), message));
    let Some(url) = o.pushed_to() else {
        return if o.push.is_some() { refuse("push", "needs a path that is a URL") } else { Ok(()) };
    };
    if super::Service::of_path(o.path.as_deref().unwrap_or_default())
        .is_some_and(|(_, key)| key.is_empty() || key.contains(|c: char| c.is_whitespace() || c.is_control()))
    {
        return refuse("path", "the stream key is empty or has spaces in it");
    }
    let container = o.container();
    if container
        .is_some_and(|c| c.is_segmented() || matches!(c, super::Container::Y4m | super::Container::Image))
    {
        return refuse("push", "a push is one stream: ts, flv or another format that FFmpeg writes");
    }
    let defaults = PushSpec::default();
    let push = o.push.as_ref().unwrap_or(&defaults);
    if push.reconnects < -1 {
        return refuse("push.reconnects", "-1 (for ever), 0 or a count");
    }
    for (field, value, low, high) in [
        ("push.first_delay", push.first_delay, 0.0, 3600.0),
        ("push.most_delay", push.most_delay, 0.0, 3600.0),
        ("push.timeout", push.timeout, 0.1, 3600.0),
        ("push.max_delay", push.max_delay, 0.1, 600.0),
    ] {
        if !(low..=high).contains(&value.0) {
            return refuse(field, &format!("is not within {low} to {high} seconds"));
        }
    }
    if !(1 << 16..=1 << 34).contains(&push.max_bytes) {
        return refuse("push.max_bytes", "is not within 64 KiB to 16 GiB");
    }
    if let AdaptChoice::Yes(bounds) = &push.adapt {
        let super::VideoChoice::Track(video) = &o.video else {
            return refuse("push.adapt", "needs video.bitrate");
        };
        let Some(rate) = video.bitrate.filter(|_| !video.is_copy()) else {
            return refuse(
                "push.adapt",
                "needs video.bitrate: what is copied, or coded by quality, cannot adapt",
            );
        };
        if !video.cbr && video.max_bitrate.is_none() {
            return refuse("push.adapt", "needs video.cbr or video.max_bitrate");
        }
        if bounds.min_bitrate.is_some_and(|min| min > rate) {
            return refuse("push.adapt.min_bitrate", "is above video.bitrate");
        }
    }
    let encrypted = is_encrypted(&url);
    if !push.tls_verify && !encrypted {
        return refuse("push.tls_verify", "needs a path that begins with rtmps://");
    }
    if push.ca_file.is_some() && (!encrypted || !push.tls_verify) {
        return refuse("push.ca_file", "needs a path that begins with rtmps://, and tls_verify");
    }
    let srt = url.get(..6).is_some_and(|s| s.eq_ignore_ascii_case("srt://"));
    match srt {
        true => super::SrtAddress::parse(&url, push.srt.as_ref()).map(drop).map_err(|e| e.at(path)),
        false if push.srt.is_some() => refuse("push.srt", "needs a path that begins with srt://"),
        false => Ok(()),
    }
}
