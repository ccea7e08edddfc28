//! The packager: headers of coded streams, subtitle texts and the segmenter. The first byte says which of them the rest
//! is for.
#![no_main]

mod headers;
mod input;
mod segments;
mod texts;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    match first % 3 {
        0 => headers::run(rest),
        1 => texts::run(rest),
        _ => segments::run(rest),
    }
});
