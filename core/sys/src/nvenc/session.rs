//! A session with the encoder, up to its configuration.

use super::caps::Capabilities;
use super::config::{Codec, EncodeConfig, Surface};
use super::error::{Error, Result};
use super::layout::{CapsParam, FunctionList, Guid, OpenSession, Plain, PresetConfig};
use super::library::{ApiVersion, Library, Structure};
use super::retrieve::Retriever;
use super::shared::Shared;
use super::submit::Submitter;
use super::translate;
use super::values::{CAPS_SUPPORT_YUV422_ENCODE, DEVICE_TYPE_CUDA};
use crate::cuda::Context;
use std::borrow::Cow;
use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

/// Calls a function of the driver's table with the session as first argument.
macro_rules! call {
    ($encoder:expr, $function:ident($($argument:expr),*), $what:expr) => {{
        let encoder: &$crate::nvenc::session::Encoder = &$encoder;
        match encoder.functions().$function {
            // SAFETY: a live session; the arguments are what this function takes, and structs carry their version.
            Some(function) => encoder.check(unsafe { function(encoder.raw() $(, $argument)*) }, $what),
            None => Err($crate::nvenc::error::Error::unsupported(
                concat!("this driver has no ", stringify!($function)),
            )),
        }
    }};
}
pub(super) use call;

/// As [`call!`], for functions that are called for each picture and say ordinary things by their status: gives it as it
/// is, and makes nothing of it.
macro_rules! status {
    ($encoder:expr, $function:ident($($argument:expr),*)) => {{
        let encoder: &$crate::nvenc::session::Encoder = &$encoder;
        match encoder.functions().$function {
            // SAFETY: as in `call!`.
            Some(function) => Ok(unsafe { function(encoder.raw() $(, $argument)*) } as u32),
            None => Err($crate::nvenc::error::Error::unsupported(
                concat!("this driver has no ", stringify!($function)),
            )),
        }
    }};
}
pub(super) use status;

/// The driver's session. Destroyed when dropped; whoever made buffers in it has released them before.
pub(super) struct Encoder {
    library: &'static Library,
    context: Arc<Context>,
    raw: *mut c_void,
}

// SAFETY: the interface may be called from several threads; which calls at the same time is `Submitter`'s and
// `Retriever`'s affair.
unsafe impl Send for Encoder {}
// SAFETY: as above.
unsafe impl Sync for Encoder {}

impl Encoder {
    pub fn raw(&self) -> *mut c_void {
        self.raw
    }

    pub fn functions(&self) -> &FunctionList {
        self.library.functions()
    }

    pub fn api(&self) -> ApiVersion {
        self.library.version()
    }

    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub fn check(&self, code: c_int, what: impl Into<Cow<'static, str>>) -> Result<()> {
        if code == 0 { Ok(()) } else { Err(self.error(code as u32, what)) }
    }

    /// The failure of status `code`, with what the driver says of it.
    pub fn error(&self, code: u32, what: impl Into<Cow<'static, str>>) -> Error {
        Error::status(code, what, self.last_words())
    }

    /// What the driver says of its last failure; often nothing.
    fn last_words(&self) -> String {
        let Some(ask) = self.functions().nvEncGetLastErrorString else { return String::new() };
        // SAFETY: a live session; gives a terminated string of its own or NULL.
        let words = unsafe { ask(self.raw) };
        if words.is_null() {
            return String::new();
        }
        // SAFETY: as above; copied at once.
        unsafe { CStr::from_ptr(words) }.to_string_lossy().trim().to_owned()
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let _current = self.context.enter();
        // A failure is of no consequence any more.
        let _ = call!(*self, nvEncDestroyEncoder(), "destroy the encode session");
    }
}

/// An open session that is not configured yet: it answers what the device can do, and becomes an encoder.
///
/// One thread at a time.
pub struct Session {
    encoder: Encoder,
}

impl Session {
    /// Opens a session on the context's device.
    ///
    /// # Errors
    /// `NoEncoder` for a device without one; `Sessions` when no further one is allowed; `TooOld`.
    pub fn open(library: &'static Library, context: &Arc<Context>) -> Result<Session> {
        let _current = context.enter()?;
        let mut params = OpenSession::zeroed();
        params.version = library.version().of(Structure::OpenSession);
        params.deviceType = DEVICE_TYPE_CUDA;
        params.device = context.raw().cast();
        params.apiVersion = library.version().word();
        let open = library
            .functions()
            .nvEncOpenEncodeSessionEx
            .ok_or_else(|| Error::unsupported("this driver has no nvEncOpenEncodeSessionEx"))?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: a live context; the struct has the layout that its version names.
        let code = unsafe { open(&mut params, &mut raw) };
        let what = || format!("open an encode session on {}", context.device().name);
        if code != 0 {
            // The interface wants a session destroyed that did not open, where it gives one.
            let half = (!raw.is_null()).then(|| Encoder { library, context: context.clone(), raw });
            let words = half.as_ref().map_or(String::new(), Encoder::last_words);
            return Err(Error::status(code as u32, what(), words).at_open());
        }
        if raw.is_null() {
            return Err(Error::new(super::Kind::Other, format!("{}: the driver gave none", what())));
        }
        Ok(Session { encoder: Encoder { library, context: context.clone(), raw } })
    }

    /// The version of the interface that is spoken.
    pub fn version(&self) -> ApiVersion {
        self.encoder.api()
    }

    /// Codecs of the device.
    ///
    /// # Errors
    /// What the driver says.
    pub fn codecs(&self) -> Result<Vec<Codec>> {
        let _current = self.encoder.context.enter()?;
        let mut count = 0;
        call!(self.encoder, nvEncGetEncodeGUIDCount(&mut count), "count the encoder's codecs")?;
        let mut guids = vec![Guid(0, 0, 0, [0; 8]); count as usize];
        let mut given = 0;
        call!(
            self.encoder,
            nvEncGetEncodeGUIDs(guids.as_mut_ptr(), count, &mut given),
            "list the encoder's codecs"
        )?;
        guids.truncate(given as usize);
        Ok(Codec::ALL.into_iter().filter(|c| guids.contains(&c.guid())).collect())
    }

    /// What the device can do with `codec`. A question that this driver does not know is answered with 0.
    ///
    /// # Errors
    /// `Unsupported` when the device has not the codec.
    pub fn capabilities(&self, codec: Codec) -> Result<Capabilities> {
        if !self.codecs()?.contains(&codec) {
            return Err(Error::unsupported(format!(
                "{} has no {} encoder",
                self.encoder.context.device().name,
                codec.name()
            )));
        }
        let _current = self.encoder.context.enter()?;
        let ask = |number| {
            if number == CAPS_SUPPORT_YUV422_ENCODE && self.version() < ApiVersion::V13 {
                return 0;
            }
            let mut param = CapsParam::zeroed();
            param.version = self.encoder.api().of(Structure::Caps);
            param.capsToQuery = number;
            let mut value = 0;
            call!(
                self.encoder,
                nvEncGetEncodeCaps(codec.guid(), &mut param, &mut value),
                "ask what the encoder can do"
            )
            .map_or(0, |()| value)
        };
        let values: Vec<i32> = Capabilities::QUERIES.iter().map(|(_, number)| ask(*number)).collect();
        Ok(Capabilities::from_values(&values))
    }

    /// Surfaces that the encoder takes for `codec`.
    ///
    /// # Errors
    /// What the driver says.
    pub fn surfaces(&self, codec: Codec) -> Result<Vec<Surface>> {
        let _current = self.encoder.context.enter()?;
        let mut count = 0;
        call!(
            self.encoder,
            nvEncGetInputFormatCount(codec.guid(), &mut count),
            "count the encoder's surfaces"
        )?;
        let mut formats = vec![0; count as usize];
        let mut given = 0;
        call!(
            self.encoder,
            nvEncGetInputFormats(codec.guid(), formats.as_mut_ptr(), count, &mut given),
            "list the encoder's surfaces"
        )?;
        formats.truncate(given as usize);
        Ok(Surface::ALL.into_iter().filter(|s| formats.contains(&s.number(false))).collect())
    }

    /// Configures the encoder. Pictures go into the [`Submitter`] on one thread; coded ones come out of the
    /// [`Retriever`] on another, or on the same one.
    ///
    /// # Errors
    /// What [`Capabilities::check`] refuses; `Memory`; `Unsupported` or `Invalid` for what the driver refuses. The
    /// session is closed then.
    pub fn initialize(self, config: &EncodeConfig) -> Result<(Submitter, Retriever)> {
        self.capabilities(config.codec)?.check(config, self.version())?;
        let api = self.version();
        let current = self.encoder.context.enter()?;
        let preset = preset(&self.encoder, config)?;
        let mut raw = Box::new(translate::config(config, &preset.presetCfg, api));
        let mut params = translate::initialize(config, &mut *raw, api)?;
        call!(
            self.encoder,
            nvEncInitializeEncoder(&mut params),
            format!("configure the {} encoder", config.codec.name())
        )?;
        // What the driver had from the preset, where the configuration says nothing.
        let b_frames = (raw.frameIntervalP - 1).max(0) as u32;
        let ahead = if raw.rcParams.flags & super::layout::rc::enableLookahead != 0 {
            u32::from(raw.rcParams.lookaheadDepth)
        } else {
            0
        };
        let outputs = config.depth.unwrap_or(0).max(b_frames + ahead + 1).max(1);
        let outputs = if config.depth.is_some() { outputs } else { outputs + 4 };
        drop(current);
        let shared = Arc::new(Shared::new(self.encoder, outputs, b_frames + ahead)?);
        let submitter = Submitter::new(shared.clone(), config.clone(), raw, params, b_frames, ahead);
        Ok((submitter, Retriever::new(shared)))
    }
}

/// What the driver makes of the preset and tuning of `config`. The context must be current.
pub(super) fn preset(encoder: &Encoder, config: &EncodeConfig) -> Result<Box<PresetConfig>> {
    let mut out = Box::new(PresetConfig::zeroed());
    out.version = encoder.api().of(Structure::PresetConfig);
    out.presetCfg.version = encoder.api().of(Structure::Config);
    let preset = translate::preset(config.preset)?;
    call!(
        *encoder,
        nvEncGetEncodePresetConfigEx(config.codec.guid(), preset, config.tuning.number(), &mut *out),
        format!("ask for preset p{} of {}", config.preset, config.codec.name())
    )?;
    Ok(out)
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?}, API {})", self.encoder.context, self.version())
    }
}
