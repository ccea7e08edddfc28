//! A GPU by EGL, and a context of OpenGL ES on it that draws to nothing but textures.

use super::api::{Api, Handle, api, has};
use super::error::{Error, Result};
use std::ffi::{CStr, c_int};
use std::ptr::null_mut;

const EXTENSIONS: c_int = 0x3055;
const OPENGL_ES: u32 = 0x30A0;
const NONE: c_int = 0x3038;
const PLATFORM_DEVICE: u32 = 0x313F;
const CUDA_DEVICE: c_int = 0x323A;
const DRAW: c_int = 0x3059;
const READ: c_int = 0x305A;

/// What an import needs of a display.
const NEEDED: [&str; 4] = [
    "EGL_KHR_image_base",
    "EGL_KHR_surfaceless_context",
    "EGL_KHR_no_config_context",
    "EGL_EXT_image_dma_buf_import",
];

/// A context on one GPU. Current only while a [`Current`] lives.
pub(super) struct Display {
    pub api: &'static Api,
    pub display: Handle,
    context: Handle,
    /// Whether the display tells formats and takes arrangements other than the device's own choice.
    pub modifiers: bool,
}

// SAFETY: the handles may be used by any thread; a context is current for one at a time, which `&mut` of its owner sees to.
unsafe impl Send for Display {}

/// While it lives, the context is the calling thread's; then whatever was before is again.
pub(super) struct Current<'a> {
    on: &'a Display,
    before: (u32, Handle, Handle, Handle, Handle),
}

impl Display {
    /// On the device that CUDA counts as `ordinal`.
    pub fn of_cuda(ordinal: u32) -> Result<Display> {
        let api = api()?;
        for device in devices(api)? {
            // SAFETY: a live device; its list of extensions is static.
            let names = unsafe { has((api.device_string)(device, EXTENSIONS), "EGL_NV_device_cuda") };
            let mut number = -1;
            // SAFETY: a live device that has the attribute; fills one number.
            let known = names && unsafe { (api.device_attribute)(device, CUDA_DEVICE, &mut number) } != 0;
            if known && number == ordinal as isize {
                return Display::open(api, device);
            }
        }
        Err(Error::absent(format!("EGL has no device that is CUDA's number {ordinal}")))
    }

    /// On the first device whose driver imports DMA-BUFs.
    pub fn any() -> Result<Display> {
        let api = api()?;
        let mut why = Error::absent("EGL has no device");
        for device in devices(api)? {
            match Display::open(api, device) {
                Ok(display) => return Ok(display),
                Err(e) => why = e,
            }
        }
        Err(why)
    }

    fn open(api: &'static Api, device: Handle) -> Result<Display> {
        // SAFETY: a device of EGL's own list; no attributes.
        let display = unsafe { (api.platform_display)(PLATFORM_DEVICE, device, std::ptr::null()) };
        // SAFETY: a display; versions are not asked for.
        if display.is_null() || unsafe { (api.initialize)(display, null_mut(), null_mut()) } == 0 {
            return Err(Error::absent(format!("EGL does not open its device: {}", last(api))));
        }
        // SAFETY: an initialised display, whose list is static.
        let list = unsafe { (api.query_string)(display, EXTENSIONS) };
        for name in NEEDED {
            // SAFETY: as above.
            if !unsafe { has(list, name) } {
                return Err(Error::unsupported(format!("the GPU's EGL has no {name}")));
            }
        }
        // SAFETY: as above.
        let modifiers = unsafe { has(list, "EGL_EXT_image_dma_buf_import_modifiers") };
        const MAJOR: c_int = 0x3098;
        let wanted = [MAJOR, 3, NONE];
        // SAFETY: takes a number. What was bound for this thread is put back below.
        let before = unsafe { (api.query_api)() };
        // SAFETY: an initialised display without configurations; a terminated list.
        let context = unsafe {
            (api.bind_api)(OPENGL_ES);
            let context = (api.create_context)(display, null_mut(), null_mut(), wanted.as_ptr());
            (api.bind_api)(before);
            context
        };
        if context.is_null() {
            return Err(Error::unsupported(format!(
                "the GPU's EGL makes no context of OpenGL ES 3: {}",
                last(api)
            )));
        }
        Ok(Display { api, display, context, modifiers })
    }

    /// Makes the context the calling thread's.
    pub fn enter(&self) -> Result<Current<'_>> {
        let api = self.api;
        // SAFETY: these only ask.
        let before = unsafe {
            (
                (api.query_api)(),
                (api.current_display)(),
                (api.current_surface)(DRAW),
                (api.current_surface)(READ),
                (api.current_context)(),
            )
        };
        // SAFETY: a live context of this display that is current nowhere else, without surfaces.
        let taken = unsafe {
            (api.bind_api)(OPENGL_ES);
            (api.make_current)(self.display, null_mut(), null_mut(), self.context)
        };
        let current = Current { on: self, before };
        if taken == 0 {
            return Err(Error::failed(format!("EGL's context cannot be used: {}", last(api))));
        }
        Ok(current)
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // SAFETY: ours, once, and current nowhere. The display may be shared and is left as it is.
        unsafe { (self.api.destroy_context)(self.display, self.context) };
    }
}

impl Drop for Current<'_> {
    fn drop(&mut self) {
        let api = self.on.api;
        let (bound, display, draw, read, context) = self.before;
        // SAFETY: what this thread had before, or nothing.
        unsafe {
            if context.is_null() || display.is_null() {
                (api.make_current)(self.on.display, null_mut(), null_mut(), null_mut());
                (api.bind_api)(bound);
            } else {
                (api.bind_api)(bound);
                (api.make_current)(display, draw, read, context);
            }
        }
    }
}

fn devices(api: &Api) -> Result<Vec<Handle>> {
    // SAFETY: no display asks for the client's list, which is static or NULL.
    let list = unsafe { (api.query_string)(null_mut(), EXTENSIONS) };
    // SAFETY: as above.
    let has = |name| unsafe { has(list, name) };
    if !(has("EGL_EXT_device_base") || has("EGL_EXT_device_enumeration") && has("EGL_EXT_device_query"))
        || !has("EGL_EXT_platform_device")
    {
        return Err(Error::unsupported("this EGL does not list its devices"));
    }
    let mut found: [Handle; 32] = [null_mut(); 32];
    let mut count = 0;
    // SAFETY: room for as many as is said.
    if unsafe { (api.query_devices)(found.len() as c_int, found.as_mut_ptr(), &mut count) } == 0 {
        return Err(Error::failed(format!("EGL does not list its devices: {}", last(api))));
    }
    Ok(found.into_iter().take(usize::try_from(count).unwrap_or(0)).filter(|d| !d.is_null()).collect())
}

/// EGL's last complaint on this thread.
pub(super) fn last(api: &Api) -> String {
    // SAFETY: takes nothing.
    match unsafe { (api.error)() } {
        0x3000 => "it does not say why".into(),
        0x3001 => "EGL_NOT_INITIALIZED".into(),
        0x3002 => "EGL_BAD_ACCESS".into(),
        0x3003 => "EGL_BAD_ALLOC".into(),
        0x3004 => "EGL_BAD_ATTRIBUTE".into(),
        0x3005 => "EGL_BAD_CONFIG".into(),
        0x3006 => "EGL_BAD_CONTEXT".into(),
        0x3009 => "EGL_BAD_MATCH".into(),
        0x300C => "EGL_BAD_PARAMETER".into(),
        code => format!("EGL error {code:#x}"),
    }
}

/// A static text of the driver's.
///
/// # Safety
/// `text` is NULL or terminated and static.
pub(super) unsafe fn text(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
