//! The driver's encode library, and which version of the interface is spoken with it.

use super::error::{Error, Kind, Result};
use super::layout::{FunctionList, Plain};
use std::ffi::{CStr, c_int, c_void};
use std::fmt;
use std::sync::OnceLock;

/// A version of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// 12, 13 …
    pub major: u32,
    /// 0 to 15.
    pub minor: u32,
}

impl ApiVersion {
    /// The oldest that is spoken: the structs of 12.1 and before are laid out otherwise.
    pub const OLDEST: ApiVersion = ApiVersion { major: 12, minor: 2 };
    /// The newest that is spoken; newer drivers speak it too.
    pub const NEWEST: ApiVersion = ApiVersion { major: 13, minor: 1 };

    /// The version from which H.264 has 10 bits, all codecs 4:2:2, and HEVC and AV1 their HDR metadata as parameters.
    pub const V13: ApiVersion = ApiVersion { major: 13, minor: 0 };

    fn from_driver(word: u32) -> ApiVersion {
        ApiVersion { major: word >> 4, minor: word & 0xf }
    }

    pub(super) fn word(self) -> u32 {
        self.major | self.minor << 24
    }

    /// The version word of a struct.
    pub(super) fn of(self, structure: Structure) -> u32 {
        let (number, high) = structure.number();
        self.word() | number << 16 | 7 << 28 | u32::from(high) << 31
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The structs that carry a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Structure {
    Config,
    Initialize,
    Reconfigure,
    PresetConfig,
    PicParams,
    LockBitstream,
    Register,
    CreateInput,
    MapInput,
    OpenSession,
    Caps,
    RcParams,
    CreateBitstream,
    SequenceParams,
    LockInput,
    FunctionList,
}

impl Structure {
    /// Number and highest bit, the same from 12.2 to 13.1.
    pub fn number(self) -> (u32, bool) {
        match self {
            Structure::Config => (9, true),
            Structure::Initialize => (7, true),
            Structure::Reconfigure => (2, true),
            Structure::PresetConfig => (5, true),
            Structure::PicParams => (7, true),
            Structure::LockBitstream => (2, true),
            Structure::Register => (5, false),
            Structure::CreateInput => (2, false),
            Structure::MapInput => (4, false),
            Structure::FunctionList => (2, false),
            Structure::OpenSession
            | Structure::Caps
            | Structure::RcParams
            | Structure::CreateBitstream
            | Structure::SequenceParams
            | Structure::LockInput => (1, false),
        }
    }
}

/// The loaded library. One per process, never unloaded: drivers leave threads behind.
pub struct Library {
    functions: FunctionList,
    driver: ApiVersion,
    api: ApiVersion,
}

// SAFETY: function pointers and numbers, which never change.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

impl Library {
    /// Loads `libnvidia-encode.so.1`, once; the outcome is remembered.
    ///
    /// # Errors
    /// `Absent` where it does not load; `TooOld` for a driver whose interface is older than 12.2.
    pub fn load() -> Result<&'static Library> {
        static LIBRARY: OnceLock<Result<Library>> = OnceLock::new();
        LIBRARY.get_or_init(Library::open).as_ref().map_err(Error::clone)
    }

    fn open() -> Result<Library> {
        // SAFETY: a terminated name; loading the driver runs its constructors, which is what asking for NVENC means.
        let handle =
            unsafe { libc::dlopen(c"libnvidia-encode.so.1".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            return Err(Error::new(
                Kind::Absent,
                "no NVENC driver is installed (libnvidia-encode.so.1 does not load)",
            ));
        }
        let ask = symbol(handle, c"NvEncodeAPIGetMaxSupportedVersion")?;
        let create = symbol(handle, c"NvEncodeAPICreateInstance")?;
        // SAFETY: this is the signature of that symbol in all versions.
        let ask: unsafe extern "C" fn(*mut u32) -> c_int = unsafe { std::mem::transmute(ask) };
        // SAFETY: as above.
        let create: unsafe extern "C" fn(*mut FunctionList) -> c_int = unsafe { std::mem::transmute(create) };
        let mut word = 0;
        // SAFETY: fills one number.
        let code = unsafe { ask(&mut word) };
        if code != 0 {
            return Err(Error::status(code as u32, "ask for NVENC's version", String::new()));
        }
        let driver = ApiVersion::from_driver(word);
        let api = negotiate(driver)?;
        let mut functions = FunctionList::zeroed();
        functions.version = api.of(Structure::FunctionList);
        // SAFETY: the list has the layout that its version names.
        let code = unsafe { create(&mut functions) };
        if code != 0 {
            return Err(Error::status(code as u32, "get NVENC's functions", String::new()));
        }
        Ok(Library { functions, driver, api })
    }

    /// The newest version that the driver speaks.
    pub fn driver_version(&self) -> ApiVersion {
        self.driver
    }

    /// The version that is spoken with it.
    pub fn version(&self) -> ApiVersion {
        self.api
    }

    pub(super) fn functions(&self) -> &FunctionList {
        &self.functions
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Library(driver {}, speaks {})", self.driver, self.api)
    }
}

fn negotiate(driver: ApiVersion) -> Result<ApiVersion> {
    if driver >= ApiVersion::OLDEST {
        return Ok(driver.min(ApiVersion::NEWEST));
    }
    let installed = crate::nvml::driver_version().map_or(String::new(), |v| format!(" (it is {v})"));
    Err(Error::new(
        Kind::TooOld,
        format!(
            "the NVIDIA driver{installed} has version {driver} of the encode interface; version {} is needed, which \
             driver 550.54.14 brings",
            ApiVersion::OLDEST
        ),
    ))
}

fn symbol(handle: *mut c_void, name: &CStr) -> Result<*mut c_void> {
    // SAFETY: a live handle and a terminated name.
    let found = unsafe { libc::dlsym(handle, name.as_ptr()) };
    if found.is_null() {
        return Err(Error::unsupported(format!("libnvidia-encode.so.1 has no {}", name.to_string_lossy())));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_older_side() {
        let v = |major, minor| ApiVersion { major, minor };
        assert_eq!(ApiVersion::from_driver(0xd1), v(13, 1));
        assert_eq!(negotiate(v(12, 2)).unwrap(), v(12, 2));
        assert_eq!(negotiate(v(13, 0)).unwrap(), v(13, 0));
        assert_eq!(negotiate(v(14, 0)).unwrap(), v(13, 1));
        let e = negotiate(v(12, 1)).unwrap_err();
        assert_eq!(e.kind(), Kind::TooOld);
        assert!(e.to_string().contains("550.54.14") && e.to_string().contains("12.1"), "{e}");
        // NVENCAPI_STRUCT_VERSION(9) | 1 << 31 with NVENCAPI_VERSION 13.0 and 12.2.
        assert_eq!(v(13, 0).of(Structure::Config), 0xf009_000d);
        assert_eq!(v(12, 2).of(Structure::Config), 0xf209_000c);
        assert_eq!(v(12, 2).of(Structure::Register), 0x7205_000c);
    }
}
