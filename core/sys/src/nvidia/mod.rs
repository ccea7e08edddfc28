//! NVIDIA GPUs with what their encoders can do, asked of the drivers in a child process: drivers have crashed on being
//! asked, and that must not take the host down.

mod child;

use crate::cuda::{self, Context, Device};
use crate::nvenc::{self, ApiVersion, Capabilities, Codec, Library, Session, Surface};
use crate::nvml;
use child::Failure;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// As CUDA describes it.
    pub device: Device,
    /// Version of the driver (`570.86.16`).
    pub driver: Option<String>,
    /// Newest CUDA version of the driver.
    pub cuda: (u32, u32),
    /// Its number for [`nvml::usage`].
    pub nvml_index: Option<u32>,
    /// Its encoder, or why there is none to be had.
    pub encoder: Result<Encoder, NoEncoder>,
}

/// An encoder that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoder {
    /// The newest version of the interface that the driver speaks.
    pub driver_api: ApiVersion,
    /// The version that is spoken with it.
    pub api: ApiVersion,
    /// What it can do, by codec.
    pub codecs: Vec<Ability>,
}

/// What an encoder can do with a codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ability {
    /// The codec.
    pub codec: Codec,
    /// The driver's answers.
    pub capabilities: Capabilities,
    /// Surfaces that it takes.
    pub surfaces: Vec<Surface>,
}

/// Why an encoder is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoEncoder {
    /// The class: `NoEncoder`, `TooOld`, `Absent`, `Sessions` (all taken just now) …
    pub kind: nvenc::Kind,
    /// In words.
    pub reason: String,
}

/// Why there are no GPUs to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no driver, or it sees no GPU.
    Absent(String),
    /// The driver fails, crashes or hangs.
    Failed(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Absent(reason) | Error::Failed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Error {}

impl Encoder {
    /// What it can do with `codec`.
    pub fn ability(&self, codec: Codec) -> Option<&Ability> {
        self.codecs.iter().find(|a| a.codec == codec)
    }
}

/// The GPUs that this process sees. Asked once; the outcome is remembered, unless an encoder was only busy or something failed. The first
/// call takes as long as starting the driver does (a tenth of a second to some seconds), `limit` at most. Any thread.
///
/// The drivers are asked in a forked child. Where this process has already started CUDA, a child of it cannot; then they
/// are asked here, as the driver is known to start.
///
/// # Errors
/// [`Error`].
pub fn gpus(limit: Duration) -> Result<Vec<Gpu>, Error> {
    static GPUS: Mutex<Option<Result<Vec<Gpu>, Error>>> = Mutex::new(None);
    let mut known = GPUS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = &*known {
        return known.clone();
    }
    let told = ask(limit);
    let lasting = |gpu: &Gpu| match &gpu.encoder {
        Ok(_) => true,
        Err(none) => {
            matches!(none.kind, nvenc::Kind::Absent | nvenc::Kind::TooOld | nvenc::Kind::NoEncoder)
        }
    };
    let final_answer = match &told {
        Ok(gpus) => gpus.iter().all(lasting),
        // A driver that failed once, or was too slow once, is asked again.
        Err(Error::Absent(_)) => true,
        Err(Error::Failed(_)) => false,
    };
    if final_answer {
        *known = Some(told.clone());
    }
    told
}

fn ask(limit: Duration) -> Result<Vec<Gpu>, Error> {
    if cuda::is_started() {
        return look();
    }
    match child::run(limit, || wire::write(&look()).into_bytes()) {
        Ok(bytes) => wire::read(&String::from_utf8_lossy(&bytes))
            .unwrap_or_else(|| Err(Error::Failed("the NVIDIA driver's answer is garbled".into()))),
        Err(Failure::Crashed(signal)) => {
            Err(Error::Failed(format!("the NVIDIA driver crashes on being asked (signal {signal})")))
        }
        Err(Failure::TimedOut) => {
            Err(Error::Failed(format!("the NVIDIA driver does not answer within {} s", limit.as_secs())))
        }
        Err(Failure::Silent) => Err(Error::Failed("the NVIDIA driver ends the process that asks it".into())),
        Err(Failure::System(reason)) => Err(Error::Failed(format!("start a process that asks: {reason}"))),
    }
}

fn look() -> Result<Vec<Gpu>, Error> {
    let told = |e: cuda::Error| match e.kind() {
        cuda::Kind::Absent | cuda::Kind::NoDevice => Error::Absent(e.to_string()),
        _ => Error::Failed(e.to_string()),
    };
    let devices = cuda::devices().map_err(told)?;
    let cuda = cuda::driver_version().map_err(told)?;
    let driver = nvml::driver_version();
    let managed = nvml::devices();
    Ok(devices
        .into_iter()
        .map(|device| {
            let uuid = device.uuid_text();
            let same =
                managed.iter().find(|m| m.uuid.as_deref().is_some_and(|u| u.eq_ignore_ascii_case(&uuid)));
            let encoder =
                encoder(device.ordinal).map_err(|e| NoEncoder { kind: e.kind(), reason: e.to_string() });
            Gpu { nvml_index: same.map(|m| m.index), driver: driver.clone(), cuda, encoder, device }
        })
        .collect())
}

fn encoder(ordinal: u32) -> nvenc::Result<Encoder> {
    let library = Library::load()?;
    let context = Context::primary(ordinal)?;
    let session = Session::open(library, &context)?;
    let codecs = session.codecs()?.into_iter().map(|codec| {
        Ok(Ability { codec, capabilities: session.capabilities(codec)?, surfaces: session.surfaces(codec)? })
    });
    Ok(Encoder {
        driver_api: library.driver_version(),
        api: library.version(),
        codecs: codecs.collect::<nvenc::Result<_>>()?,
    })
}

/// Between child and parent: lines of fields.
mod wire {
    use super::*;
    use crate::nvenc::Kind;
    use std::str::FromStr;

    const KINDS: [Kind; 10] = [
        Kind::Absent,
        Kind::TooOld,
        Kind::NoEncoder,
        Kind::Sessions,
        Kind::Memory,
        Kind::Unsupported,
        Kind::Invalid,
        Kind::Busy,
        Kind::Lost,
        Kind::Other,
    ];

    fn plain(text: &str) -> String {
        text.replace(['\t', '\n'], " ")
    }

    fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
        items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join(",")
    }

    pub fn write(gpus: &Result<Vec<Gpu>, Error>) -> String {
        let mut lines = Vec::new();
        match gpus {
            Err(Error::Absent(reason)) => lines.push(format!("absent\t{}", plain(reason))),
            Err(Error::Failed(reason)) => lines.push(format!("failed\t{}", plain(reason))),
            Ok(gpus) => {
                for g in gpus {
                    let d = &g.device;
                    lines.push(format!(
                        "gpu\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
                        d.ordinal,
                        plain(&d.name),
                        list(d.uuid),
                        plain(&d.pci_bus_id),
                        d.memory,
                        d.compute.0,
                        d.compute.1,
                        d.multiprocessors,
                        g.cuda.0,
                        g.cuda.1,
                        plain(g.driver.as_deref().unwrap_or("")),
                        g.nvml_index.map_or(String::new(), |n| n.to_string()),
                    ));
                    match &g.encoder {
                        Err(none) => {
                            let kind = KINDS.iter().position(|k| *k == none.kind).unwrap_or(KINDS.len() - 1);
                            lines.push(format!("none\t{kind}\t{}", plain(&none.reason)));
                        }
                        Ok(e) => {
                            let (d, a) = (e.driver_api, e.api);
                            lines
                                .push(format!("encoder\t{}\t{}\t{}\t{}", d.major, d.minor, a.major, a.minor));
                            lines.extend(e.codecs.iter().map(|a| {
                                let values = list(a.capabilities.pairs().into_iter().map(|(_, v)| v));
                                let surfaces = list(a.surfaces.iter().map(|s| s.name()));
                                format!("codec\t{}\t{values}\t{surfaces}", a.codec.name())
                            }));
                        }
                    }
                }
                lines.push("end".into());
            }
        }
        lines.join("\n") + "\n"
    }

    fn numbers<T: FromStr>(text: &str) -> Option<Vec<T>> {
        text.split(',').filter(|t| !t.is_empty()).map(|t| t.parse().ok()).collect()
    }

    /// `None` for text that [`write`] does not make.
    pub fn read(text: &str) -> Option<Result<Vec<Gpu>, Error>> {
        let mut gpus: Vec<Gpu> = Vec::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields.as_slice() {
                ["absent", reason] => return Some(Err(Error::Absent((*reason).into()))),
                ["failed", reason] => return Some(Err(Error::Failed((*reason).into()))),
                ["end"] => return Some(Ok(gpus)),
                [
                    "gpu",
                    ordinal,
                    name,
                    uuid,
                    pci,
                    memory,
                    major,
                    minor,
                    mps,
                    cuda,
                    cuda_minor,
                    driver,
                    nvml,
                ] => {
                    gpus.push(Gpu {
                        device: Device {
                            ordinal: ordinal.parse().ok()?,
                            name: (*name).into(),
                            uuid: numbers(uuid)?.try_into().ok()?,
                            pci_bus_id: (*pci).into(),
                            memory: memory.parse().ok()?,
                            compute: (major.parse().ok()?, minor.parse().ok()?),
                            multiprocessors: mps.parse().ok()?,
                        },
                        driver: (!driver.is_empty()).then(|| (*driver).into()),
                        cuda: (cuda.parse().ok()?, cuda_minor.parse().ok()?),
                        nvml_index: if nvml.is_empty() { None } else { Some(nvml.parse().ok()?) },
                        encoder: Err(NoEncoder { kind: Kind::Other, reason: String::new() }),
                    });
                }
                ["none", kind, reason] => {
                    let kind = *KINDS.get(kind.parse::<usize>().ok()?)?;
                    gpus.last_mut()?.encoder = Err(NoEncoder { kind, reason: (*reason).into() });
                }
                ["encoder", a, b, c, d] => {
                    gpus.last_mut()?.encoder = Ok(Encoder {
                        driver_api: ApiVersion { major: a.parse().ok()?, minor: b.parse().ok()? },
                        api: ApiVersion { major: c.parse().ok()?, minor: d.parse().ok()? },
                        codecs: Vec::new(),
                    });
                }
                ["codec", name, values, surfaces] => {
                    let ability = Ability {
                        codec: Codec::ALL.into_iter().find(|c| c.name() == *name)?,
                        capabilities: Capabilities::from_values(&numbers(values)?),
                        surfaces: Surface::ALL
                            .into_iter()
                            .filter(|s| surfaces.split(',').any(|t| t == s.name()))
                            .collect(),
                    };
                    gpus.last_mut()?.encoder.as_mut().ok()?.codecs.push(ability);
                }
                _ => return None,
            }
        }
        None
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_is_written_is_read() {
            let device = Device {
                ordinal: 1,
                name: "NVIDIA\tL4".into(),
                uuid: std::array::from_fn(|i| i as u8 * 16),
                pci_bus_id: "0000:01:00.0".into(),
                memory: 1 << 34,
                compute: (8, 9),
                multiprocessors: 58,
            };
            let none = NoEncoder { kind: Kind::Sessions, reason: "all taken".into() };
            let first = Gpu { device, driver: None, cuda: (12, 8), nvml_index: None, encoder: Err(none) };
            let values: Vec<i32> = (0..100).collect();
            let ability = Ability {
                codec: Codec::Av1,
                capabilities: Capabilities::from_values(&values),
                surfaces: vec![Surface::Nv12, Surface::P010],
            };
            let mut second = first.clone();
            second.device.name = "other".into();
            (second.driver, second.nvml_index) = (Some("570.1".into()), Some(3));
            second.encoder = Ok(Encoder {
                driver_api: ApiVersion { major: 14, minor: 2 },
                api: ApiVersion::NEWEST,
                codecs: vec![ability],
            });
            let mut told = first.clone();
            told.device.name = "NVIDIA L4".into();
            let read_back = read(&write(&Ok(vec![first, second.clone()]))).unwrap();
            assert_eq!(read_back, Ok(vec![told, second]));
            let failed = Err(Error::Failed("no".into()));
            assert_eq!(read(&write(&failed)).unwrap(), failed);
            assert!(read("gpu\t1\n").is_none() && read("").is_none(), "half an answer is none");
        }
    }
}
