//! The devices that the driver shows.

use super::api::{self, Api, api};
use super::error::{Error, Result, check};
use cudarc::driver::sys::{CUdevice, CUuuid};
use std::ffi::{CStr, c_char, c_int};

/// A GPU as the driver describes it. Plain data; asking for it makes no context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number among those that this process sees (`CUDA_VISIBLE_DEVICES` counts).
    pub ordinal: u32,
    /// The product's name.
    pub name: String,
    /// What tells it from every other GPU, as NVML has it too.
    pub uuid: [u8; 16],
    /// `0000:01:00.0`.
    pub pci_bus_id: String,
    /// Bytes of memory in all.
    pub memory: u64,
    /// Compute capability, major and minor.
    pub compute: (u32, u32),
    /// Multiprocessors.
    pub multiprocessors: u32,
}

impl Device {
    /// `GPU-8-4-4-4-12`, the way NVIDIA writes it.
    pub fn uuid_text(&self) -> String {
        let hex: Vec<String> = self.uuid.iter().map(|b| format!("{b:02x}")).collect();
        let part = |from: usize, to: usize| hex[from..to].concat();
        format!("GPU-{}-{}-{}-{}-{}", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 16))
    }
}

/// Whether a CUDA driver loads here. Does not initialise it.
pub fn is_present() -> bool {
    api::loaded().is_ok()
}

/// The newest CUDA version that the driver knows, major and minor. Does not initialise it.
///
/// # Errors
/// `Absent` without a driver.
pub fn driver_version() -> Result<(u32, u32)> {
    let mut version = 0;
    // SAFETY: fills one number.
    check(unsafe { (api::loaded()?.driver_version)(&mut version) }, "ask for the CUDA version")?;
    let version = version.max(0) as u32;
    Ok((version / 1000, version % 1000 / 10))
}

/// The devices that this process sees.
///
/// # Errors
/// `Absent` without a driver; `NoDevice` without a GPU.
pub fn devices() -> Result<Vec<Device>> {
    let api = api()?;
    (0..count(api)?).map(|ordinal| describe(api, ordinal)).collect()
}

pub(super) fn count(api: &Api) -> Result<u32> {
    let mut count = 0;
    // SAFETY: fills one number.
    check(unsafe { (api.device_count)(&mut count) }, "count CUDA devices")?;
    Ok(count.max(0) as u32)
}

/// The device of number `ordinal`.
///
/// # Errors
/// As [`devices`]; `NoDevice` when there is none of this number.
pub fn device(ordinal: u32) -> Result<Device> {
    describe(api()?, ordinal)
}

pub(super) fn handle(api: &Api, ordinal: u32) -> Result<CUdevice> {
    let number = c_int::try_from(ordinal).map_err(|_| Error::invalid("CUDA device number"))?;
    let mut device = 0;
    // SAFETY: fills one handle.
    check(unsafe { (api.device_get)(&mut device, number) }, format!("CUDA device {ordinal}"))?;
    Ok(device)
}

fn describe(api: &Api, ordinal: u32) -> Result<Device> {
    const MULTIPROCESSORS: c_int = 16;
    const COMPUTE_MAJOR: c_int = 75;
    const COMPUTE_MINOR: c_int = 76;
    let device = handle(api, ordinal)?;
    let what = || format!("describe CUDA device {ordinal}");
    let text = |ask: unsafe extern "C" fn(*mut c_char, c_int, CUdevice) -> c_int| {
        let mut buffer = [0 as c_char; 256];
        // SAFETY: at most `len - 1` bytes are written, and the last stays zero.
        check(unsafe { ask(buffer.as_mut_ptr(), buffer.len() as c_int - 1, device) }, what())?;
        // SAFETY: terminated by the zero that was there before.
        Ok(unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned())
    };
    let number = |attribute: c_int| {
        let mut value = 0;
        // SAFETY: fills one number.
        check(unsafe { (api.device_attribute)(&mut value, attribute, device) }, what())?;
        Ok(value.max(0) as u32)
    };
    let mut uuid = CUuuid { bytes: [0; 16] };
    // SAFETY: fills sixteen bytes.
    check(unsafe { (api.device_uuid)(&mut uuid, device) }, what())?;
    let mut memory = 0;
    // SAFETY: fills one number.
    check(unsafe { (api.device_memory)(&mut memory, device) }, what())?;
    Ok(Device {
        ordinal,
        name: text(api.device_name)?,
        uuid: uuid.bytes.map(|b| b as u8),
        pci_bus_id: text(api.device_pci)?.to_lowercase(),
        memory: memory as u64,
        compute: (number(COMPUTE_MAJOR)?, number(COMPUTE_MINOR)?),
        multiprocessors: number(MULTIPROCESSORS)?,
    })
}
