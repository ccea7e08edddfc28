//! OpenGL's textures as CUDA sees them.

use super::api::LIBRARY;
use super::context::Context;
use super::error::{Error, Result, check};
use super::plane::{PlaneMut, copy};
use super::stream::Stream;
use cudarc::driver::sys::{CUarray, CUstream};
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::sync::{Arc, OnceLock};

/// A texture that CUDA knows.
type Resource = *mut c_void;

/// The functions, which not every driver has.
struct Interop {
    register: unsafe extern "C" fn(*mut Resource, c_uint, c_uint, c_uint) -> c_int,
    unregister: unsafe extern "C" fn(Resource) -> c_int,
    map: unsafe extern "C" fn(c_uint, *mut Resource, CUstream) -> c_int,
    unmap: unsafe extern "C" fn(c_uint, *mut Resource, CUstream) -> c_int,
    array: unsafe extern "C" fn(*mut CUarray, Resource, c_uint, c_uint) -> c_int,
}

fn interop() -> Result<&'static Interop> {
    static FOUND: OnceLock<Result<Interop>> = OnceLock::new();
    FOUND.get_or_init(load).as_ref().map_err(Error::clone)
}

fn load() -> Result<Interop> {
    // The driver itself is loaded, and stays.
    super::api::loaded()?;
    // SAFETY: a terminated name of a library that is there already.
    let library = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    let find = |name: &CStr| {
        // SAFETY: a live handle, or NULL for the program itself, which has no such symbol; a terminated name.
        let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
        match symbol.is_null() {
            true => Err(Error::absent(format!("the CUDA driver has no {}", name.to_string_lossy()))),
            false => Ok(symbol),
        }
    };
    // SAFETY: the symbols have these signatures in every version of the driver that has them.
    unsafe {
        Ok(Interop {
            register: std::mem::transmute::<
                *mut c_void,
                unsafe extern "C" fn(*mut Resource, c_uint, c_uint, c_uint) -> c_int,
            >(find(c"cuGraphicsGLRegisterImage")?),
            unregister: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(Resource) -> c_int>(find(
                c"cuGraphicsUnregisterResource",
            )?),
            map: std::mem::transmute::<
                *mut c_void,
                unsafe extern "C" fn(c_uint, *mut Resource, CUstream) -> c_int,
            >(find(c"cuGraphicsMapResources")?),
            unmap: std::mem::transmute::<
                *mut c_void,
                unsafe extern "C" fn(c_uint, *mut Resource, CUstream) -> c_int,
            >(find(c"cuGraphicsUnmapResources")?),
            array: std::mem::transmute::<
                *mut c_void,
                unsafe extern "C" fn(*mut CUarray, Resource, c_uint, c_uint) -> c_int,
            >(find(c"cuGraphicsSubResourceGetMappedArray")?),
        })
    }
}

/// Textures of OpenGL, registered once.
pub(crate) struct GlTextures {
    interop: &'static Interop,
    resources: Vec<Resource>,
    context: Arc<Context>,
}

// SAFETY: handles of the driver's; OpenGL's context goes with whoever holds them from thread to thread.
unsafe impl Send for GlTextures {}

impl GlTextures {
    /// Whether the driver has the functions.
    ///
    /// # Errors
    /// `Absent` otherwise.
    pub fn check() -> Result<()> {
        interop().map(drop)
    }

    /// Two-dimensional textures for reading.
    ///
    /// # Safety
    /// OpenGL's context of the textures is current on this thread, and is again when this is dropped; they are not deleted
    /// before.
    ///
    /// # Errors
    /// What the driver says: `Unsupported` where CUDA's device is not OpenGL's.
    pub unsafe fn register(context: &Arc<Context>, textures: &[u32]) -> Result<GlTextures> {
        const TEXTURE_2D: c_uint = 0x0DE1;
        const READ_ONLY: c_uint = 1;
        let interop = interop()?;
        let mut all = GlTextures { interop, resources: Vec::new(), context: context.clone() };
        let _current = context.enter()?;
        for texture in textures {
            let mut resource = std::ptr::null_mut();
            // SAFETY: the caller's promise; gives a handle that is given back once, in drop.
            let code = unsafe { (interop.register)(&mut resource, *texture, TEXTURE_2D, READ_ONLY) };
            check(code, "share a texture between OpenGL and CUDA")?;
            all.resources.push(resource);
        }
        Ok(all)
    }

    /// Queues copies of the textures to planes of their size, one each, behind what OpenGL was asked for before; what it is
    /// asked for later comes behind the copies.
    ///
    /// # Safety
    /// OpenGL's context of the textures is current on this thread.
    ///
    /// # Errors
    /// `Invalid` for another number of planes; `Lost`.
    pub unsafe fn copy(&mut self, stream: &Stream, to: &mut [PlaneMut<'_>]) -> Result<()> {
        if to.len() != self.resources.len() {
            return Err(Error::invalid("as many planes as textures"));
        }
        let _current = self.context.enter()?;
        let count = self.resources.len() as c_uint;
        // SAFETY: live handles, not mapped.
        let code = unsafe { (self.interop.map)(count, self.resources.as_mut_ptr(), stream.raw()) };
        check(code, "map OpenGL's textures")?;
        let copied = self.resources.iter().zip(to).try_for_each(|(resource, plane)| {
            let mut array = std::ptr::null_mut();
            // SAFETY: a mapped handle; its only level and layer.
            let code = unsafe { (self.interop.array)(&mut array, *resource, 0, 0) };
            check(code, "look into OpenGL's texture")?;
            let job = copy::from_array(array, plane);
            // SAFETY: the array is mapped until the copy is done, as unmapping is queued behind it; the driver checks that it
            // is as large as the plane.
            check(unsafe { (self.context.api.copy_async)(&job, stream.raw()) }, "copy OpenGL's texture")
        });
        // SAFETY: mapped above.
        let code = unsafe { (self.interop.unmap)(count, self.resources.as_mut_ptr(), stream.raw()) };
        copied.and(check(code, "unmap OpenGL's textures"))
    }
}

impl Drop for GlTextures {
    fn drop(&mut self) {
        let Ok(_current) = self.context.enter() else { return };
        for resource in &self.resources {
            // SAFETY: ours, once, not mapped; OpenGL's context is current by the promise of `register`.
            unsafe { (self.interop.unregister)(*resource) };
        }
    }
}
