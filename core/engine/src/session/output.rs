//! Where coded media goes.

use super::audio::AudioConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{
    AdaptChoice, AdaptSpec, Bitrate, CameraSpec, Container, OutputSpec, PushSpec, SERVICES, Service, SrtMode,
    SrtSpec, VideoChoice, VideoSpec, camera, masked,
};
use std::fmt;
use std::path::PathBuf;

/// Where coded media goes. `Debug` and `Display` show no stream key and no passphrase.
#[derive(Clone)]
#[non_exhaustive]
pub enum Output {
    /// A camera that other programs can open.
    VirtualCamera {
        /// Its name there.
        name: String,
    },
    /// A file.
    File {
        /// Where; a directory for segmented containers.
        path: PathBuf,
        /// What kind of file.
        container: Container,
    },
    /// A stream pushed over RTMP or RTMPS.
    Rtmp {
        /// `rtmp://host/application/key`.
        url: String,
    },
    /// A stream pushed over SRT.
    Srt {
        /// `srt://host:port`, with `mode`, `passphrase`, `streamid` and the like as query fields.
        url: String,
        /// Time for repairing losses, 20 to 8000 ms.
        latency_ms: u32,
    },
    /// A stream pushed to an address, with everything that can be said about it; see [`RtmpOutput`] and [`SrtOutput`].
    Push {
        /// `rtmp(s)://…` or `srt://…`.
        url: String,
        /// How it is pushed.
        push: Box<PushSpec>,
    },
    /// All of these.
    Multiple(Vec<Output>),
    /// Coded and thrown away.
    Null,
}

/// Where [`Output::Null`] writes to.
const NOWHERE: &str = "/dev/null";

impl Output {
    /// A camera that other programs can open.
    pub fn virtual_camera(name: impl Into<String>) -> Self {
        Output::VirtualCamera { name: name.into() }
    }

    /// A file of the kind that its name's ending says; Matroska when it says nothing.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let container = path.to_str().and_then(Container::from_path).unwrap_or(Container::Mkv);
        Output::File { path, container }
    }

    /// A stream pushed over RTMP or RTMPS.
    pub fn rtmp(url: impl Into<String>) -> Self {
        Output::Rtmp { url: url.into() }
    }

    /// A stream pushed over SRT.
    pub fn srt(url: impl Into<String>, latency_ms: u32) -> Self {
        Output::Srt { url: url.into(), latency_ms }
    }

    /// All of `outputs`.
    pub fn multiple(outputs: impl IntoIterator<Item = Output>) -> Self {
        Output::Multiple(outputs.into_iter().collect())
    }

    /// This one and `other`.
    pub fn and(self, other: Output) -> Self {
        let mut all = self.flat();
        all.extend(other.flat());
        Output::Multiple(all)
    }

    /// The address as it may be shown; `None` for outputs without one.
    pub fn url_masked(&self) -> Option<String> {
        match self {
            Output::Rtmp { url } | Output::Srt { url, .. } | Output::Push { url, .. } => Some(masked(url)),
            _ => None,
        }
    }

    /// Whether it takes media at the clock's speed.
    pub(super) fn is_live(&self) -> bool {
        match self {
            Output::VirtualCamera { .. } | Output::Rtmp { .. } | Output::Srt { .. } | Output::Push { .. } => {
                true
            }
            Output::Multiple(outputs) => outputs.iter().any(Output::is_live),
            Output::File { .. } | Output::Null => false,
        }
    }

    fn flat(self) -> Vec<Output> {
        match self {
            Output::Multiple(outputs) => outputs.into_iter().flat_map(Output::flat).collect(),
            one => vec![one],
        }
    }

    /// The outputs of the document, each with `video` and `audio`.
    pub(super) fn specs(
        &self,
        video: &VideoSpec,
        audio: &AudioConfig,
        overwrite: bool,
    ) -> Result<Vec<OutputSpec>> {
        let mut specs = Vec::new();
        for output in self.clone().flat() {
            if let Output::VirtualCamera { name } = output {
                let video = VideoChoice::Track(Box::new(camera::shown(video)));
                specs.push(OutputSpec { video, ..OutputSpec::camera(CameraSpec::new(name)) });
                continue;
            }
            let (path, format) = output.target()?;
            // What is thrown away need not be thrown away twice.
            if path == NOWHERE && specs.iter().any(|s: &OutputSpec| s.path.as_deref() == Some(NOWHERE)) {
                continue;
            }
            specs.push(OutputSpec {
                format: Some(format),
                video: VideoChoice::Track(Box::new(video.clone())),
                audio: audio.choice(),
                overwrite,
                push: match &output {
                    Output::Push { push, .. } => Some((**push).clone()),
                    _ => None,
                },
                ..OutputSpec::path(path)
            });
        }
        Ok(specs)
    }

    /// Path or URL, and container.
    fn target(&self) -> Result<(String, Container)> {
        match self {
            Output::VirtualCamera { .. } => Err(Error::new(ErrorKind::Internal, "a camera is no path")),
            Output::File { path, container } => match path.to_str() {
                Some(path) => Ok((path.into(), *container)),
                None => Err(Error::invalid("output.path", format!("{} is not UTF-8", path.display()))),
            },
            Output::Rtmp { url } => {
                with_scheme(url, &["rtmp", "rtmps"])?;
                Ok((url.clone(), Container::Flv))
            }
            Output::Push { url, .. } => {
                with_scheme(url, &["rtmp", "rtmps", "srt"])?;
                let container = Container::from_path(url).unwrap_or(Container::Ts);
                Ok((url.clone(), container))
            }
            Output::Srt { url, latency_ms } => {
                with_scheme(url, &["srt"])?;
                if !(20..=8000).contains(latency_ms) {
                    return Err(Error::invalid(
                        "output.latency_ms",
                        format!("{latency_ms} is not within 20 to 8000"),
                    ));
                }
                let query = url.split_once('?').map(|(_, query)| query);
                if query.is_some_and(|q| q.split('&').any(|f| f.starts_with("latency="))) {
                    return Err(Error::invalid("output.url", "has a latency of its own beside latency_ms"));
                }
                // The address says it in microseconds.
                let joint = if query.is_some() { '&' } else { '?' };
                Ok((format!("{url}{joint}latency={}", u64::from(*latency_ms) * 1000), Container::Ts))
            }
            Output::Null => Ok((NOWHERE.into(), Container::Mkv)),
            Output::Multiple(_) => Err(Error::new(ErrorKind::Internal, "several outputs are not one place")),
        }
    }
}

fn with_scheme(url: &str, schemes: &[&str]) -> Result<()> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    if scheme.is_some_and(|s| schemes.iter().any(|wanted| s.eq_ignore_ascii_case(wanted))) {
        return Ok(());
    }
    Err(Error::invalid("output.url", format!("{:?} does not begin with {}://", masked(url), schemes[0])))
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::VirtualCamera { name } => write!(f, "camera {name}"),
            Output::File { path, .. } => write!(f, "{}", path.display()),
            Output::Rtmp { url } | Output::Srt { url, .. } | Output::Push { url, .. } => {
                f.write_str(&masked(url))
            }
            Output::Multiple(outputs) => {
                let shown: Vec<String> = outputs.iter().map(ToString::to_string).collect();
                f.write_str(&shown.join(", "))
            }
            Output::Null => f.write_str("nowhere"),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::VirtualCamera { name } => f.debug_struct("VirtualCamera").field("name", name).finish(),
            Output::File { path, container } => {
                f.debug_struct("File").field("path", path).field("container", container).finish()
            }
            Output::Rtmp { url } => f.debug_struct("Rtmp").field("url", &masked(url)).finish(),
            Output::Srt { url, latency_ms } => {
                f.debug_struct("Srt").field("url", &masked(url)).field("latency_ms", latency_ms).finish()
            }
            Output::Push { url, .. } => {
                f.debug_struct("Push").field("url", &masked(url)).finish_non_exhaustive()
            }
            Output::Multiple(outputs) => f.debug_tuple("Multiple").field(outputs).finish(),
            Output::Null => f.write_str("Null"),
        }
    }
}

/// A stream pushed over RTMP or RTMPS, part by part. Becomes an [`Output`]: `RtmpOutput::new(url).into()`. `Debug` shows no
/// stream key.
#[derive(Clone)]
pub struct RtmpOutput {
    url: String,
    push: PushSpec,
}

impl RtmpOutput {
    /// A stream to `rtmp(s)://host/application/key`; five reconnects, at the picture's own rate.
    pub fn new(url: impl Into<String>) -> Self {
        RtmpOutput { url: url.into(), push: PushSpec::default() }
    }

    /// How often it connects again in a row before it is given up.
    pub fn with_max_reconnects(mut self, count: u32) -> Self {
        self.push.reconnects = i32::try_from(count).unwrap_or(-1);
        self
    }

    /// Lets the encoder's bit rate follow what the network carries. Needs a constant or a limited rate.
    pub fn with_adaptive_bitrate(mut self, adapt: bool) -> Self {
        self.push.adapt = adaptive(adapt);
        self
    }

    /// Believes those in this PEM file to sign the server's certificate (`rtmps`), instead of those whom the system
    /// believes.
    pub fn with_ca_file(mut self, path: impl Into<String>) -> Self {
        self.push.ca_file = Some(path.into());
        self
    }

    /// Whether the server's certificate is looked at (`rtmps`); it is, unless this says otherwise.
    pub fn with_tls_verify(mut self, verify: bool) -> Self {
        self.push.tls_verify = verify;
        self
    }

    /// The address as it may be shown.
    pub fn url_masked(&self) -> String {
        masked(&self.url)
    }
}

fn adaptive(adapt: bool) -> AdaptChoice {
    if adapt { AdaptChoice::Yes(AdaptSpec::default()) } else { AdaptChoice::No }
}

impl From<RtmpOutput> for Output {
    fn from(output: RtmpOutput) -> Output {
        Output::Push { url: output.url, push: Box::new(output.push) }
    }
}

impl fmt::Debug for RtmpOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtmpOutput").field("url", &self.url_masked()).finish_non_exhaustive()
    }
}

/// A stream pushed over SRT, part by part. Becomes an [`Output`]: `SrtOutput::new(url, 120).into()`. `Debug` shows no
/// passphrase and no stream id.
#[derive(Clone)]
pub struct SrtOutput {
    url: String,
    push: PushSpec,
    srt: SrtSpec,
}

impl SrtOutput {
    /// A stream to `srt://host:port` with `latency_ms` for repairing losses, which is brought within 20 to 8000.
    pub fn new(url: impl Into<String>, latency_ms: u32) -> Self {
        let srt = SrtSpec { latency: Some(latency_ms.clamp(20, 8000)), ..SrtSpec::default() };
        SrtOutput { url: url.into(), push: PushSpec::default(), srt }
    }

    /// Who calls whom.
    pub fn with_mode(mut self, mode: SrtMode) -> Self {
        self.srt.mode = Some(mode);
        self
    }

    /// Encrypts with a passphrase of 10 to 79 bytes.
    pub fn with_passphrase(mut self, passphrase: impl Into<String>) -> Self {
        self.srt.passphrase = Some(passphrase.into());
        self
    }

    /// Tells the peer which stream this is.
    pub fn with_streamid(mut self, id: impl Into<String>) -> Self {
        self.srt.stream_id = Some(id.into());
        self
    }

    /// Bytes of the key made from the passphrase: 16, 24 or 32.
    pub fn with_key_length(mut self, bytes: u8) -> Self {
        self.srt.key_length = Some(bytes);
        self
    }

    /// The most that is sent, repairs included, in bits per second.
    pub fn with_max_bandwidth(mut self, bits_per_second: u64) -> Self {
        self.srt.max_bandwidth = Some(Bitrate(bits_per_second));
        self
    }

    /// How often it connects again in a row before it is given up.
    pub fn with_max_reconnects(mut self, count: u32) -> Self {
        self.push.reconnects = i32::try_from(count).unwrap_or(-1);
        self
    }

    /// Lets the encoder's bit rate follow what the network carries. Needs a constant or a limited rate.
    pub fn with_adaptive_bitrate(mut self, adapt: bool) -> Self {
        self.push.adapt = adaptive(adapt);
        self
    }

    /// The address as it may be shown.
    pub fn url_masked(&self) -> String {
        masked(&self.url)
    }
}

impl From<SrtOutput> for Output {
    fn from(output: SrtOutput) -> Output {
        let push = PushSpec { srt: Some(output.srt), ..output.push };
        Output::Push { url: output.url, push: Box::new(push) }
    }
}

impl fmt::Debug for SrtOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtOutput").field("url", &self.url_masked()).finish_non_exhaustive()
    }
}

/// Services that take RTMP, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RtmpService {
    /// Twitch.
    Twitch,
    /// YouTube.
    YouTube,
    /// Facebook.
    Facebook,
    /// Kick.
    Kick,
}

impl RtmpService {
    /// The ingest address, without the key.
    pub fn ingest(self) -> &'static str {
        self.info().ingest
    }

    /// Everything known of the service: its name in documents, its address, the rates and the key frames that it wants.
    pub fn info(self) -> &'static Service {
        let name = match self {
            RtmpService::Twitch => "twitch",
            RtmpService::YouTube => "youtube",
            RtmpService::Facebook => "facebook",
            RtmpService::Kick => "kick",
        };
        Service::named(name).unwrap_or(&SERVICES[0])
    }

    /// The address for a stream key. It holds the key: show [`Output::url_masked`] instead.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a key that is empty or has spaces in it.
    pub fn url(self, key: &str) -> Result<String> {
        if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Error::invalid("key", "is empty or has spaces in it"));
        }
        Ok(format!("{}/{key}", self.ingest()))
    }

    /// The output for a stream key.
    ///
    /// # Errors
    /// As [`RtmpService::url`].
    pub fn output(self, key: &str) -> Result<Output> {
        Ok(Output::rtmp(self.url(key)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(output: &Output) -> Result<Vec<OutputSpec>> {
        output.specs(&VideoSpec::new(), &AudioConfig::default(), false)
    }

    #[test]
    fn each_output_is_a_path_and_a_container() {
        for (output, path, container) in [
            (Output::file("a.mp4"), "a.mp4", Container::Mp4),
            (Output::file("a"), "a", Container::Matroska),
            (Output::rtmp("rtmp://h/app/k"), "rtmp://h/app/k", Container::Flv),
            (Output::rtmp("RTMPS://h/app/k"), "RTMPS://h/app/k", Container::Flv),
            (Output::srt("srt://h:9", 120), "srt://h:9?latency=120000", Container::Ts),
            (
                Output::srt("srt://h:9?mode=listener", 20),
                "srt://h:9?mode=listener&latency=20000",
                Container::Ts,
            ),
            (Output::Null, NOWHERE, Container::Mkv),
        ] {
            let made = specs(&output).unwrap();
            assert_eq!(made.len(), 1);
            assert_eq!((made[0].path.as_deref(), made[0].format), (Some(path), Some(container)), "{output}");
        }
    }

    #[test]
    fn a_camera_shows_what_would_be_encoded() {
        let video = VideoSpec {
            width: Some(640),
            crf: Some(20.0),
            codec: Some(crate::Codec::H264),
            ..VideoSpec::new()
        };
        let made = Output::virtual_camera("c").specs(&video, &AudioConfig::enabled(), false).unwrap();
        assert_eq!((made.len(), made[0].label()), (1, "camera:c".into()));
        let VideoChoice::Track(shown) = &made[0].video else { panic!("no video") };
        assert_eq!((shown.width, shown.crf, shown.codec.clone()), (Some(640), None, None));
    }

    #[test]
    fn several_are_one_list_in_order() {
        let all = Output::file("a.mkv").and(Output::rtmp("rtmp://h/a/k").and(Output::Null)).and(Output::Null);
        let paths: Vec<_> = specs(&all).unwrap().into_iter().filter_map(|s| s.path).collect();
        assert_eq!(paths, ["a.mkv", "rtmp://h/a/k", NOWHERE]);
        assert!(all.is_live() && !Output::file("a.mkv").is_live());
        assert_eq!(specs(&Output::multiple([])).unwrap().len(), 0);
    }

    #[test]
    fn what_cannot_be_is_refused_by_field() {
        for (output, kind, field) in [
            (Output::rtmp("http://h/a/secret"), ErrorKind::Invalid, "output.url: "),
            (Output::rtmp("secret"), ErrorKind::Invalid, "output.url: "),
            (Output::srt("srt://h:9", 19), ErrorKind::Invalid, "output.latency_ms: "),
            (Output::srt("srt://h:9?latency=1", 120), ErrorKind::Invalid, "output.url: "),
        ] {
            let e = specs(&output).unwrap_err();
            assert_eq!(e.kind(), kind, "{e}");
            assert!(e.message().starts_with(field), "{e}");
        }
        assert_eq!(RtmpService::Twitch.url("a b").unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn parts_become_the_documents_push() {
        let rtmp = RtmpOutput::new("rtmp://h/app/4711").with_max_reconnects(9).with_adaptive_bitrate(true);
        let srt = SrtOutput::new("srt://h:9", 9999)
            .with_mode(SrtMode::Listener)
            .with_passphrase("4711-4711-4711")
            .with_streamid("4711")
            .with_key_length(32)
            .with_max_bandwidth(8_000_000);
        assert!(!format!("{rtmp:?} {srt:?}").contains("4711"));
        let both = Output::from(rtmp).and(srt.into());
        assert!(both.is_live() && !format!("{both:?} {both}").contains("4711"));
        let specs = specs(&both).unwrap();
        let [a, b] = [0, 1].map(|i| serde_json::to_value(specs[i].push.as_ref().unwrap()).unwrap());
        assert_eq!((&a["reconnects"], &a["adapt"]), (&9.into(), &serde_json::json!({})));
        assert_eq!((&b["reconnects"], &b["adapt"]), (&5.into(), &false.into()));
        let said = serde_json::json!({"mode": "listener", "passphrase": "4711-4711-4711", "key_length": 32,
            "stream_id": "4711", "latency": 8000, "max_bandwidth": 8_000_000});
        assert_eq!(b["srt"], said);
        assert!(!format!("{specs:?}").contains("4711"));
    }

    #[test]
    fn nothing_shows_a_key() {
        for service in [RtmpService::Twitch, RtmpService::YouTube, RtmpService::Facebook, RtmpService::Kick] {
            let output =
                service.output("live_4711").unwrap().and(Output::srt("srt://h:1?passphrase=4711", 120));
            let document = specs(&output).unwrap();
            assert!(document[0].path.as_deref().is_some_and(|p| p.ends_with("/live_4711")));
            let labels: Vec<String> = document.iter().map(OutputSpec::label).collect();
            for shown in [format!("{output:?}"), format!("{output:#?}"), output.to_string(), labels.join(" ")]
            {
                assert!(!shown.contains("4711") && shown.contains("***"), "{shown}");
            }
            assert_eq!(
                service.output("live_4711").unwrap().url_masked(),
                Some(format!("{}/***", service.ingest()))
            );
        }
    }
}
