//! NVIDIA's management library, looked up at run time: what the system knows of its GPUs, and how busy they are.
//!
//! Every value is an `Option`: drivers and devices leave many of them out. All calls may be made from any thread; they
//! take microseconds, except the first, which loads the library.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

/// A GPU, by its place in NVML's order (which is not CUDA's: match the UUID).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// NVML's number.
    pub index: u32,
    /// The product's name.
    pub name: Option<String>,
    /// `GPU-…`, as [`cuda::Device::uuid_text`](crate::cuda::Device::uuid_text) has it.
    pub uuid: Option<String>,
    /// `0000:01:00.0`, lower case.
    pub pci_bus_id: Option<String>,
}

/// How busy a GPU is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory in all.
    pub memory_total: Option<u64>,
    /// Bytes of it in use, by all processes.
    pub memory_used: Option<u64>,
    /// Percent of time in which kernels ran.
    pub gpu: Option<u32>,
    /// Percent of time in which encoders were busy, over all engines.
    pub encoder: Option<u32>,
    /// Percent of time in which decoders were busy.
    pub decoder: Option<u32>,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
    /// Milliwatts.
    pub power: Option<u32>,
    /// Encode sessions of all processes.
    pub encoder_sessions: Option<u32>,
    /// Their frames per second on average.
    pub encoder_fps: Option<u32>,
    /// Microseconds that their frames take on average.
    pub encoder_latency: Option<u32>,
}

type Handle = *mut c_void;

#[repr(C)]
#[derive(Default)]
struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

#[repr(C)]
#[derive(Default)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

/// `nvmlPciInfo_t` of version 3.
#[repr(C)]
struct Pci {
    bus_id_legacy: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    pci_device_id: c_uint,
    pci_subsystem_id: c_uint,
    bus_id: [c_char; 32],
}

type Text = unsafe extern "C" fn(*mut c_char, c_uint) -> c_int;
type DeviceText = unsafe extern "C" fn(Handle, *mut c_char, c_uint) -> c_int;
type DeviceNumber = unsafe extern "C" fn(Handle, *mut c_uint) -> c_int;
type DeviceTwo = unsafe extern "C" fn(Handle, *mut c_uint, *mut c_uint) -> c_int;

/// Functions that this version of the library lacks are `None`.
#[derive(Default)]
struct Nvml {
    count: Option<unsafe extern "C" fn(*mut c_uint) -> c_int>,
    by_index: Option<unsafe extern "C" fn(c_uint, *mut Handle) -> c_int>,
    driver_version: Option<Text>,
    name: Option<DeviceText>,
    uuid: Option<DeviceText>,
    pci: Option<unsafe extern "C" fn(Handle, *mut Pci) -> c_int>,
    memory: Option<unsafe extern "C" fn(Handle, *mut Memory) -> c_int>,
    utilization: Option<unsafe extern "C" fn(Handle, *mut Utilization) -> c_int>,
    encoder: Option<DeviceTwo>,
    decoder: Option<DeviceTwo>,
    temperature: Option<unsafe extern "C" fn(Handle, c_uint, *mut c_uint) -> c_int>,
    power: Option<DeviceNumber>,
    sessions: Option<unsafe extern "C" fn(Handle, *mut c_uint, *mut c_uint, *mut c_uint) -> c_int>,
}

impl Nvml {
    fn load() -> Option<Nvml> {
        // SAFETY: a terminated name. The library stays loaded and initialised for the life of the process.
        let library =
            unsafe { libc::dlopen(c"libnvidia-ml.so.1".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return None;
        }
        // SAFETY: each symbol has the signature of the variable or field that takes it, in every version that has it.
        unsafe {
            let init: Option<unsafe extern "C" fn() -> c_int> = find(library, c"nvmlInit_v2");
            if init?() != 0 {
                return None;
            }
            Some(Nvml {
                count: find(library, c"nvmlDeviceGetCount_v2"),
                by_index: find(library, c"nvmlDeviceGetHandleByIndex_v2"),
                driver_version: find(library, c"nvmlSystemGetDriverVersion"),
                name: find(library, c"nvmlDeviceGetName"),
                uuid: find(library, c"nvmlDeviceGetUUID"),
                pci: find(library, c"nvmlDeviceGetPciInfo_v3"),
                memory: find(library, c"nvmlDeviceGetMemoryInfo"),
                utilization: find(library, c"nvmlDeviceGetUtilizationRates"),
                encoder: find(library, c"nvmlDeviceGetEncoderUtilization"),
                decoder: find(library, c"nvmlDeviceGetDecoderUtilization"),
                temperature: find(library, c"nvmlDeviceGetTemperature"),
                power: find(library, c"nvmlDeviceGetPowerUsage"),
                sessions: find(library, c"nvmlDeviceGetEncoderStats"),
            })
        }
    }

    fn device(&self, index: u32) -> Option<Handle> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: fills one handle, which stays good.
        (unsafe { self.by_index?(index, &mut handle) } == 0).then_some(handle)
    }
}

/// The function `name` of `library`.
///
/// # Safety
/// `library` is a live handle, and `F` a function pointer of the symbol's signature.
unsafe fn find<F: Copy>(library: *mut c_void, name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: a live handle and a terminated name.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    // SAFETY: as large as a pointer, and the caller's promise.
    (!found.is_null()).then(|| unsafe { std::mem::transmute_copy(&found) })
}

fn nvml() -> Option<&'static Nvml> {
    static NVML: OnceLock<Option<Nvml>> = OnceLock::new();
    NVML.get_or_init(Nvml::load).as_ref()
}

/// The driver's version (`570.86.16`); `None` without the library.
pub fn driver_version() -> Option<String> {
    let ask = nvml()?.driver_version?;
    // SAFETY: writes at most the given number of bytes.
    text(|buffer, len| unsafe { ask(buffer, len) })
}

/// The system's GPUs; empty without the library.
pub fn devices() -> Vec<Device> {
    let Some(nvml) = nvml() else { return Vec::new() };
    let mut count = 0;
    // SAFETY: fills one number.
    if nvml.count.is_none_or(|ask| unsafe { ask(&mut count) } != 0) {
        return Vec::new();
    }
    (0..count)
        .filter_map(|index| {
            let handle = nvml.device(index)?;
            let ask = |f: Option<DeviceText>| {
                let f = f?;
                // SAFETY: a live handle; writes at most the given number of bytes.
                text(|buffer, len| unsafe { f(handle, buffer, len) })
            };
            Some(Device { index, name: ask(nvml.name), uuid: ask(nvml.uuid), pci_bus_id: pci(nvml, handle) })
        })
        .collect()
}

fn pci(nvml: &Nvml, handle: Handle) -> Option<String> {
    let ask = nvml.pci?;
    // SAFETY: numbers and bytes only.
    let mut info: Pci = unsafe { std::mem::zeroed() };
    // SAFETY: a live handle; fills the struct.
    (unsafe { ask(handle, &mut info) } == 0).then(|| {
        // The id has a domain of eight digits here, of four elsewhere.
        format!("{:04x}:{:02x}:{:02x}.0", info.domain, info.bus, info.device)
    })
}

/// How busy GPU `index` is; all `None` without the library or the GPU.
pub fn usage(index: u32) -> Usage {
    let Some((nvml, handle)) = nvml().and_then(|n| Some((n, n.device(index)?))) else {
        return Usage::default();
    };
    const GPU_TEMPERATURE: c_uint = 0;
    let two = |f: Option<DeviceTwo>| {
        let (mut value, mut period) = (0, 0);
        // SAFETY: a live handle; fills two numbers.
        (unsafe { f?(handle, &mut value, &mut period) } == 0).then_some(value)
    };
    let mut memory = Memory::default();
    // SAFETY: a live handle; fills the struct.
    let memory = nvml.memory.filter(|f| unsafe { f(handle, &mut memory) } == 0).map(|_| memory);
    let mut busy = Utilization::default();
    // SAFETY: as above.
    let busy = nvml.utilization.filter(|f| unsafe { f(handle, &mut busy) } == 0).map(|_| busy);
    let mut temperature = 0;
    // SAFETY: a live handle; fills one number.
    let warm = nvml.temperature.filter(|f| unsafe { f(handle, GPU_TEMPERATURE, &mut temperature) } == 0);
    let mut power = 0;
    // SAFETY: as above.
    let powered = nvml.power.filter(|f| unsafe { f(handle, &mut power) } == 0);
    let (mut sessions, mut fps, mut latency) = (0, 0, 0);
    // SAFETY: a live handle; fills three numbers.
    let stats = nvml.sessions.filter(|f| unsafe { f(handle, &mut sessions, &mut fps, &mut latency) } == 0);
    Usage {
        memory_total: memory.as_ref().map(|m| m.total),
        memory_used: memory.as_ref().map(|m| m.used),
        gpu: busy.map(|b| b.gpu),
        encoder: two(nvml.encoder),
        decoder: two(nvml.decoder),
        temperature: warm.map(|_| temperature),
        power: powered.map(|_| power),
        encoder_sessions: stats.map(|_| sessions),
        encoder_fps: stats.map(|_| fps),
        encoder_latency: stats.map(|_| latency),
    }
}

fn text(fill: impl FnOnce(*mut c_char, c_uint) -> c_int) -> Option<String> {
    let mut buffer = [0 as c_char; 256];
    if fill(buffer.as_mut_ptr(), buffer.len() as c_uint - 1) != 0 {
        return None;
    }
    // SAFETY: the last byte was zero and was not given away.
    Some(unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned())
}
