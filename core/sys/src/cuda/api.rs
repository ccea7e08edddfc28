//! The driver's functions, found when the first of them is needed.
//!
//! The library's handle and the C types come from `cudarc`. Its own functions are not called: they return a Rust enum,
//! and a driver newer than that enum may return a number that is not in it; and they panic where a symbol is missing.

use super::error::{Error, Result, Status};
use cudarc::driver::sys::{
    CUDA_MEMCPY2D, CUcontext, CUdevice, CUdeviceptr, CUevent, CUfunction, CUmodule, CUstream, CUuuid,
};
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

macro_rules! functions {
    ($($field:ident = $symbol:literal ($($argument:ty),*);)*) => {
        /// One pointer per function. All are there: loading fails where one is not.
        pub(crate) struct Api {
            $(pub $field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl Api {
            fn load() -> Result<Api> {
                // SAFETY: loading the driver runs its constructors, which is what asking for CUDA means.
                if !unsafe { cudarc::driver::sys::is_culib_present() } {
                    return Err(Error::absent("no CUDA driver is installed (libcuda.so.1 does not load)"));
                }
                // SAFETY: it was found a moment ago; the handle lives as long as the process.
                let library = unsafe { cudarc::driver::sys::culib() };
                $(
                    // SAFETY: the symbol has this signature in every version of the driver that has it.
                    let $field = unsafe { library.get::<unsafe extern "C" fn($($argument),*) -> c_int>($symbol) };
                )*
                $(
                    let $field = *$field.map_err(|_| Error::absent(concat!(
                        "the CUDA driver is too old: it has no ", stringify!($field)
                    )))?;
                )*
                Ok(Api { $($field,)* })
            }
        }
    };
}

functions! {
    init = b"cuInit" (c_uint);
    driver_version = b"cuDriverGetVersion" (*mut c_int);
    error_name = b"cuGetErrorName" (c_int, *mut *const c_char);
    error_text = b"cuGetErrorString" (c_int, *mut *const c_char);
    device_count = b"cuDeviceGetCount" (*mut c_int);
    device_get = b"cuDeviceGet" (*mut CUdevice, c_int);
    device_name = b"cuDeviceGetName" (*mut c_char, c_int, CUdevice);
    device_uuid = b"cuDeviceGetUuid" (*mut CUuuid, CUdevice);
    device_memory = b"cuDeviceTotalMem_v2" (*mut usize, CUdevice);
    device_attribute = b"cuDeviceGetAttribute" (*mut c_int, c_int, CUdevice);
    device_pci = b"cuDeviceGetPCIBusId" (*mut c_char, c_int, CUdevice);
    primary_state = b"cuDevicePrimaryCtxGetState" (CUdevice, *mut c_uint, *mut c_int);
    primary_flags = b"cuDevicePrimaryCtxSetFlags_v2" (CUdevice, c_uint);
    primary_retain = b"cuDevicePrimaryCtxRetain" (*mut CUcontext, CUdevice);
    primary_release = b"cuDevicePrimaryCtxRelease_v2" (CUdevice);
    context_push = b"cuCtxPushCurrent_v2" (CUcontext);
    context_pop = b"cuCtxPopCurrent_v2" (*mut CUcontext);
    context_synchronize = b"cuCtxSynchronize" ();
    memory_info = b"cuMemGetInfo_v2" (*mut usize, *mut usize);
    memory_alloc = b"cuMemAlloc_v2" (*mut CUdeviceptr, usize);
    memory_alloc_pitch = b"cuMemAllocPitch_v2" (*mut CUdeviceptr, *mut usize, usize, usize, c_uint);
    memory_free = b"cuMemFree_v2" (CUdeviceptr);
    memory_range = b"cuMemGetAddressRange_v2" (*mut CUdeviceptr, *mut usize, CUdeviceptr);
    host_alloc = b"cuMemHostAlloc" (*mut *mut c_void, usize, c_uint);
    host_free = b"cuMemFreeHost" (*mut c_void);
    set_bytes = b"cuMemsetD2D8Async" (CUdeviceptr, usize, u8, usize, usize, CUstream);
    copy = b"cuMemcpy2D_v2" (*const CUDA_MEMCPY2D);
    copy_async = b"cuMemcpy2DAsync_v2" (*const CUDA_MEMCPY2D, CUstream);
    pointer_attribute = b"cuPointerGetAttribute" (*mut c_void, c_int, CUdeviceptr);
    stream_create = b"cuStreamCreate" (*mut CUstream, c_uint);
    stream_destroy = b"cuStreamDestroy_v2" (CUstream);
    stream_synchronize = b"cuStreamSynchronize" (CUstream);
    stream_query = b"cuStreamQuery" (CUstream);
    stream_wait = b"cuStreamWaitEvent" (CUstream, CUevent, c_uint);
    event_create = b"cuEventCreate" (*mut CUevent, c_uint);
    event_destroy = b"cuEventDestroy_v2" (CUevent);
    event_record = b"cuEventRecord" (CUevent, CUstream);
    event_query = b"cuEventQuery" (CUevent);
    event_synchronize = b"cuEventSynchronize" (CUevent);
    event_elapsed = b"cuEventElapsedTime" (*mut f32, CUevent, CUevent);
    module_load = b"cuModuleLoadDataEx" (*mut CUmodule, *const c_void, c_uint, *mut c_int, *mut *mut c_void);
    module_unload = b"cuModuleUnload" (CUmodule);
    module_function = b"cuModuleGetFunction" (*mut CUfunction, CUmodule, *const c_char);
    launch = b"cuLaunchKernel" (CUfunction, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, CUstream,
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
    let there = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
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
