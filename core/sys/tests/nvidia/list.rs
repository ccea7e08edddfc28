//! The list of devices, asked in a child process.

use super::standin::on_standin;
use ghoststream_sys::nvenc::{ApiVersion, Codec, Kind, Surface};
use ghoststream_sys::nvidia::{Error, gpus};
use ghoststream_sys::{cuda, nvml};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn abilities_are_the_drivers_answers() {
    const NAME: &str = "list::abilities_are_the_drivers_answers";
    on_standin(NAME, &[("PROFILE", "dual")], || {
        let list = gpus(LIMIT).unwrap();
        assert_eq!(list.len(), 2);
        let first = list[0].encoder.as_ref().unwrap();
        assert_eq!((first.api, first.driver_api), (ApiVersion::V13, ApiVersion::V13));
        let av1 = first.ability(Codec::Av1).unwrap();
        assert!(av1.capabilities.width_max >= 8192 && av1.capabilities.ten_bit == 1);
        assert_eq!(av1.capabilities.engines, 2);
        assert!(av1.surfaces.contains(&Surface::P010));
        // An RTX 3060 has no AV1.
        let second = list[1].encoder.as_ref().unwrap();
        assert!(second.ability(Codec::Av1).is_none() && second.ability(Codec::Hevc).is_some());
        assert_eq!(list[1].nvml_index.and_then(|i| nvml::usage(i).memory_total), Some(list[1].device.memory));
        assert_eq!(list[0].driver.as_deref(), Some("570.133.07"));
        // This process asks the same itself, now that CUDA is started in it.
        let _context = cuda::Context::primary(0).unwrap();
        assert!(list[0].device == cuda::device(0).unwrap());
    });
    on_standin(NAME, &[("PROFILE", "h200")], || {
        let list = gpus(LIMIT).unwrap();
        assert_eq!(list[0].encoder.as_ref().unwrap_err().kind, Kind::NoEncoder);
    });
    on_standin(NAME, &[("PROFILE", "gtx1650"), ("API", "12.1")], || {
        let none = gpus(LIMIT).unwrap().remove(0).encoder.unwrap_err();
        assert_eq!(none.kind, Kind::TooOld);
        assert!(none.reason.contains("550.54.14") && none.reason.contains("530.41.03"), "{}", none.reason);
    });
    on_standin(NAME, &[("PROFILE", "none")], || {
        assert!(matches!(gpus(LIMIT), Err(Error::Absent(_))), "{:?}", gpus(LIMIT));
    });
}

#[test]
fn a_driver_that_ends_the_process_ends_only_the_child() {
    // The stand-in ends a process with a profile that it does not know, as soon as it is loaded.
    on_standin(
        "list::a_driver_that_ends_the_process_ends_only_the_child",
        &[("PROFILE", "nonsense")],
        || {
            let e = gpus(LIMIT).unwrap_err();
            assert!(matches!(e, Error::Failed(_)), "{e:?}");
        },
    );
}

#[test]
fn a_started_driver_is_asked_here() {
    on_standin("list::a_started_driver_is_asked_here", &[], || {
        let context = cuda::Context::primary(0).unwrap();
        let list = gpus(LIMIT).unwrap();
        assert_eq!(&list[0].device, context.device());
        assert!(list[0].encoder.is_ok());
    });
}

#[test]
fn usage_is_what_the_system_says() {
    let state = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(state.path(), "temperature=71\npower=90000\nencoder_utilization=40\n").unwrap();
    // A name that both processes agree on.
    let path = std::env::var("GS_STANDIN_STATE").unwrap_or(state.path().display().to_string());
    on_standin("list::usage_is_what_the_system_says", &[("STATE", &path)], || {
        let devices = nvml::devices();
        assert_eq!(devices.len(), 1);
        assert!(devices[0].name.as_ref().unwrap().contains("4090"));
        assert_eq!(devices[0].uuid, Some(cuda::device(0).unwrap().uuid_text()));
        assert_eq!(devices[0].pci_bus_id, Some(cuda::device(0).unwrap().pci_bus_id));
        let usage = nvml::usage(0);
        assert_eq!((usage.temperature, usage.power, usage.encoder), (Some(71), Some(90_000), Some(40)));
        assert_eq!(nvml::usage(1), nvml::Usage::default());
    });
}
