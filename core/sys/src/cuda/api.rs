//! The driver's functions, found when the first of them is needed.
//!
//! The C types come from `cudarc`. Its own functions are not called: they return a Rust enum, and a driver newer than that
//! enum may return a number that is not in it; they panic where a symbol is missing; and they take `libcuda.so` before
//! `libcuda.so.1`, which may be the toolkit's stub, and not the library that FFmpeg takes.

use super::error::{Error, Result, Status};
use cudarc::driver::sys::{
    CUDA_MEMCPY2D, CUcontext, CUdevice, CUdeviceptr, CUevent, CUfunction, CUmodule, CUstream, CUuuid,
};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

/// The name that FFmpeg loads too, so that both drive the same driver.
pub(super) const LIBRARY: &CStr = c"libcuda.so.1";

macro_rules! functions {
    ($($field:ident = $symbol:literal ($($argument:ty),*);)*) => {
        /// One pointer per function. All are there: loading fails where one is not.
        pub(crate) struct Api {
            $(pub $field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl Api {
            fn load() -> Result<Api> {
                // SAFETY: a terminated name; loading the driver runs its constructors, which is what asking for CUDA means.
                // It stays loaded for the life of the process.
                let library = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
                if library.is_null() {
                    return Err(Error::absent("no CUDA driver is installed (libcuda.so.1 does not load)"));
                }
                $(
                    // SAFETY: a live handle and a terminated name.
                    let $field = unsafe { libc::dlsym(library, $symbol.as_ptr()) };
                    if $field.is_null() {
                        let name = $symbol.to_string_lossy();
                        return Err(Error::absent(format!("the CUDA driver is too old: it has no {name}")));
                    }
                    // SAFETY: the symbol has this signature in every version of the driver that has it.
                    let $field = unsafe {
                        std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) -> c_int>($field)
                    };
                )*
                Ok(Api { $($field,)* })
            }
        }
    };
}

functions! {
    init = c"cuInit" (c_uint);
    driver_version = c"cuDriverGetVersion" (*mut c_int);
    error_name = c"cuGetErrorName" (c_int, *mut *const c_char);
    error_text = c"cuGetErrorString" (c_int, *mut *const c_char);
    device_count = c"cuDeviceGetCount" (*mut c_int);
    device_get = c"cuDeviceGet" (*mut CUdevice, c_int);
    device_name = c"cuDeviceGetName" (*mut c_char, c_int, CUdevice);
    device_uuid = c"cuDeviceGetUuid" (*mut CUuuid, CUdevice);
    device_memory = c"cuDeviceTotalMem_v2" (*mut usize, CUdevice);
    device_attribute = c"cuDeviceGetAttribute" (*mut c_int, c_int, CUdevice);
    device_pci = c"cuDeviceGetPCIBusId" (*mut c_char, c_int, CUdevice);
    primary_state = c"cuDevicePrimaryCtxGetState" (CUdevice, *mut c_uint, *mut c_int);
    primary_flags = c"cuDevicePrimaryCtxSetFlags_v2" (CUdevice, c_uint);
    primary_retain = c"cuDevicePrimaryCtxRetain" (*mut CUcontext, CUdevice);
    primary_release = c"cuDevicePrimaryCtxRelease_v2" (CUdevice);
    context_push = c"cuCtxPushCurrent_v2" (CUcontext);
    context_pop = c"cuCtxPopCurrent_v2" (*mut CUcontext);
    context_synchronize = c"cuCtxSynchronize" ();
    memory_info = c"cuMemGetInfo_v2" (*mut usize, *mut usize);
    memory_alloc = c"cuMemAlloc_v2" (*mut CUdeviceptr, usize);
    memory_alloc_pitch = c"cuMemAllocPitch_v2" (*mut CUdeviceptr, *mut usize, usize, usize, c_uint);
    memory_free = c"cuMemFree_v2" (CUdeviceptr);
    memory_range = c"cuMemGetAddressRange_v2" (*mut CUdeviceptr, *mut usize, CUdeviceptr);
    host_alloc = c"cuMemHostAlloc" (*mut *mut c_void, usize, c_uint);
    host_free = c"cuMemFreeHost" (*mut c_void);
    set_bytes = c"cuMemsetD2D8Async" (CUdeviceptr, usize, u8, usize, usize, CUstream);
    copy = c"cuMemcpy2D_v2" (*const CUDA_MEMCPY2D);
    copy_async = c"cuMemcpy2DAsync_v2" (*const CUDA_MEMCPY2D, CUstream);
    pointer_attribute = c"cuPointerGetAttribute" (*mut c_void, c_int, CUdeviceptr);
    stream_create = c"cuStreamCreate" (*mut CUstream, c_uint);
    stream_destroy = c"cuStreamDestroy_v2" (CUstream);
    stream_synchronize = c"cuStreamSynchronize" (CUstream);
    stream_query = c"cuStreamQuery" (CUstream);
    stream_wait = c"cuStreamWaitEvent" (CUstream, CUevent, c_uint);
    event_create = c"cuEventCreate" (*mut CUevent, c_uint);
    event_destroy = c"cuEventDestroy_v2" (CUevent);
    event_record = c"cuEventRecord" (CUevent, CUstream);
    event_query = c"cuEventQuery" (CUevent);
    event_synchronize = c"cuEventSynchronize" (CUevent);
    event_elapsed = c"cuEventElapsedTime" (*mut f32, CUevent, CUevent);
    module_load = c"cuModuleLoadDataEx" (*mut CUmodule, *const c_void, c_uint, *mut c_int, *mut *mut c_void);
    module_unload = c"cuModuleUnload" (CUmodule);
    module_function = c"cuModuleGetFunction" (*mut CUfunction, CUmodule, *const c_char);
    launch = c"cuLaunchKernel" (CUfunction, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, CUstream,
        *mut *mut c_void, *mut *mut c_void);
}

/// The driver without its initialisation, which is remembered with its outcome.
pub(crate) fn loaded() -> Result<&'static Api> {
    static API: OnceLock<Result<Api>> = OnceLock::new();
    API.get_or_init(Api::load).as_ref().map_err(Error::clone)
}

/// The driver, initialised.
///
/// # Errors
/// `Absent` without a driver; what it says when it does not initialise (no device, a kernel module of another version).
pub(crate) fn api() -> Result<&'static Api> {
    static READY: OnceLock<std::result::Result<(), Status>> = OnceLock::new();
    let api = loaded()?;
    // SAFETY: takes no pointers.
    let ready = READY.get_or_init(|| match unsafe { (api.init)(0) } {
        0 => Ok(()),
        code => Err(Status(code)),
    });
    match ready {
        Ok(()) => Ok(api),
        Err(status) => Err(Error::new(*status, "initialise CUDA")),
    }
}

/// Whether CUDA is initialised in this process, by this crate or by anybody else. Loads nothing.
pub(crate) fn is_started() -> bool {
    const NOT_INITIALIZED: c_int = 3;
    // SAFETY: a terminated name; only a library that is there already is found.
    let there = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
    if there.is_null() {
        return false;
    }
    let mut count = 0;
    // SAFETY: fills one number.
    let started = loaded().is_ok_and(|api| unsafe { (api.device_count)(&mut count) } != NOT_INITIALIZED);
    // SAFETY: gives back the reference from above.
    unsafe { libc::dlclose(there) };
    started
}
