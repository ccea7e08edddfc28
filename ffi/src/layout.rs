//! Sized structs are laid out in C as they are here: a C compiler checks every size and offset of the header.

use crate::boundary::SizedStruct;
use crate::bytes::gs_bytes;
use crate::capture::gs_capture_options;
use crate::encoder::gs_encoder_options;
use crate::event::gs_event;
use crate::frame::{gs_frame_info, gs_frame_options, gs_plane};
use crate::packet::gs_packet_info;
use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

/// Name, size and the fields with their offsets.
type Layout = (&'static str, usize, Vec<(&'static str, usize)>);

macro_rules! layout {
    ($type:ident { $($field:ident),* $(,)? }) => {{
        // Does not compile when a field is missing.
        #[allow(unused_variables)]
        fn complete(value: $type) {
            let $type { $($field),* } = value;
        }
        let _ = complete;
        (stringify!($type), size_of::<$type>(), vec![$((stringify!($field), offset_of!($type, $field))),*])
    }};
}

fn layouts() -> Vec<Layout> {
    vec![
        layout!(gs_bytes { size, reserved, length, data, read, user, release }),
        layout!(gs_frame_options {
            size,
            flags,
            format,
            width,
            height,
            sample_rate,
            channels,
            samples,
            primaries,
            transfer,
            matrix,
            range,
            reserved,
            pts,
            duration,
            memory,
            device,
        }),
        layout!(gs_plane { data, stride, bytes }),
        layout!(gs_frame_info {
            size,
            flags,
            format,
            memory,
            plane_count,
            width,
            height,
            sample_rate,
            channels,
            samples,
            primaries,
            transfer,
            matrix,
            range,
            aspect_num,
            aspect_den,
            reserved,
            pts,
            duration,
            pts_ticks,
            duration_ticks,
            base_num,
            base_den,
            data,
            stride,
            row_bytes,
            rows,
        }),
        layout!(gs_packet_info {
            size,
            flags,
            data,
            bytes,
            pts,
            dts,
            duration,
            pts_ticks,
            dts_ticks,
            duration_ticks,
            base_num,
            base_den,
            stream,
            reserved,
            picture,
            qp,
            gpu_time,
        }),
        layout!(gs_capture_options {
            size,
            flags,
            format,
            width,
            height,
            video_stream,
            audio_stream,
            threads,
            queue,
        }),
        layout!(gs_encoder_options {
            size,
            flags,
            width,
            height,
            format,
            rate_num,
            rate_den,
            codec,
            encoder,
            preset,
            tune,
            profile,
            bitrate,
            max_bitrate,
            crf,
            gop,
            b_frames,
            threads,
            frame_queue,
            packet_queue,
            reserved,
            json,
            memory,
            reserved2,
        }),
        layout!(gs_event {
            size,
            kind,
            state,
            outcome,
            error,
            reserved,
            time,
            duration,
            fraction,
            fps,
            speed,
            eta,
            frames,
            bytes,
            dropped,
        }),
    ]
}

#[test]
fn a_c_compiler_sees_the_same_sizes_and_offsets() {
    let mut source = String::from("#include <ghoststream.h>\n");
    for (name, size, fields) in layouts() {
        let _ = writeln!(source, "_Static_assert(sizeof({name}) == {size}, \"{name}\");");
        for (field, offset) in fields {
            let _ = writeln!(
                source,
                "_Static_assert(offsetof({name}, {field}) == {offset}, \"{name}.{field}\");"
            );
        }
    }
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include");
    let file = std::env::temp_dir().join(format!("gs-layout-{}.c", std::process::id()));
    std::fs::write(&file, source).unwrap();
    let result = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()))
        .args(["-std=c11", "-fsyntax-only", "-Wpadded", "-Werror", "-I"])
        .arg(include)
        .arg(&file)
        .output();
    let _ = std::fs::remove_file(&file);
    let result = result.unwrap();
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
}

#[test]
fn every_sized_struct_of_the_header_is_in_the_table() {
    let header = include_str!("../../include/ghoststream.h");
    let structs =
        header.lines().filter_map(|l| l.strip_prefix("typedef struct ")).filter_map(|l| l.strip_suffix(" {"));
    let mut structs: Vec<&str> = structs.collect();
    let mut known: Vec<&str> = layouts().iter().map(|(name, ..)| *name).collect();
    structs.sort_unstable();
    known.sort_unstable();
    assert_eq!(structs, known);
}

#[test]
fn first_sizes_are_those_of_the_first_release() {
    // When a struct grows, its old size stays here and in FIRST: callers of that age still pass it.
    fn first<T: SizedStruct>() -> (usize, bool) {
        (T::FIRST, T::FIRST <= size_of::<T>())
    }
    assert_eq!(first::<gs_frame_options>(), (72, true));
    assert_eq!(first::<gs_frame_info>(), (336, true));
    assert_eq!(first::<gs_packet_info>(), (88, true));
    assert_eq!(first::<gs_capture_options>(), (40, true));
    assert_eq!(first::<gs_encoder_options>(), (128, true));
    assert_eq!(first::<gs_event>(), (96, true));
}
