//! `tests/live/CONFORMANCE.md` names the tests of every point of a conforming origin. It is made from the tests: `// Point 3`
//! stands where that is seen to be kept, `// Against 3` where it is broken, or demanded wrongly.
//! `GS_REGENERATE=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;

const RULES: [&str; 15] = [
    "PART-HOLD-BACK, HOLD-BACK and CAN-SKIP-UNTIL are at least 3 part targets, 3 and 6 target durations",
    "the target duration and SERVER-CONTROL are the same everywhere and never change",
    "a part is at most its target and at least 85 % of it, but for independent, last and missing ones; INDEPENDENT marks every key frame of the pictures, and of sound where segments begin",
    "a request with _HLS_msn waits for the segment, with _HLS_part for the part; what is old is answered at once, with everything",
    "400 for a part without a number and for what is too far ahead; 503 after three target durations",
    "directives of a stream that is over are ignored",
    "_HLS_skip gives a delta update",
    "one part is hinted always, its request waits and gets all of it or nothing; a new init segment is hinted; 404 for a hint that is given up",
    "segments end as soon as they are long enough: a hint names what comes next",
    "every other rendition is reported, everything is dated, and renditions are in step within one part",
    "parts are not listed beyond three target durations, and can be fetched for three more",
    "HTTP/2 with priorities (RFC 9218), and compressed playlists; ranges",
    "answers say how long they may be kept; no URI is used again; many viewers get the same bytes",
    "discontinuities that have gone are counted",
    "the multivariant playlist says everything; I-frame playlists have no parts",
];

const SOURCES: [(&str, &str); 5] = [
    ("hls", include_str!("hls.rs")),
    ("rules", include_str!("rules.rs")),
    ("classic", include_str!("classic.rs")),
    ("dash", include_str!("dash.rs")),
    ("priority", include_str!("../../src/priority.rs")),
];

/// The tests with a mark, by its point.
fn marked(mark: &str) -> BTreeMap<usize, Vec<String>> {
    let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (file, text) in SOURCES {
        let mut test = "";
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("async fn ").and_then(|rest| rest.split('(').next()) {
                test = name;
            }
            let Some(rest) = line.strip_prefix("// ").and_then(|rest| rest.strip_prefix(mark)) else {
                continue;
            };
            let said = rest.split(':').next().unwrap_or_default();
            let numbers = said.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
            for point in numbers {
                let name = format!("`{file}::{test}`");
                let tests = found.entry(point).or_default();
                if !tests.contains(&name) {
                    tests.push(name);
                }
            }
        }
    }
    found
}

fn table() -> String {
    let (kept, against) = (marked("Point"), marked("Against"));
    let mut text = String::from(
        "# LL-HLS, point by point\n\nMade from the tests in `core/server/tests/live_origin` (`conformance.rs` there says how), and of \
         `core/server/src/priority.rs`; `cargo test --test live_origin` and `cargo test -p ghoststream-server --lib` run them.\n\n| | rule (draft-pantos-rfc8216bis-22) | kept | broken, or demanded wrongly |\n|---|---|---|---|\n",
    );
    for (i, rule) in RULES.iter().enumerate() {
        let of = |found: &BTreeMap<usize, Vec<String>>| {
            found.get(&(i + 1)).cloned().unwrap_or_default().join(", ")
        };
        let _ = writeln!(text, "| {} | {rule} | {} | {} |", i + 1, of(&kept), of(&against));
    }
    text
}

#[test]
fn every_point_has_tests_and_the_table_names_them() {
    let (kept, against) = (marked("Point"), marked("Against"));
    for point in 1..=RULES.len() {
        assert!(kept.contains_key(&point), "no test keeps point {point}");
        assert!(against.contains_key(&point), "no test breaks point {point}");
    }
    assert!(kept.keys().chain(against.keys()).all(|p| (1..=RULES.len()).contains(p)));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/live/CONFORMANCE.md");
    if std::env::var_os("GS_REGENERATE").is_some() {
        std::fs::write(path, table()).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(there == table(), "tests/live/CONFORMANCE.md is old: run this test with GS_REGENERATE=1");
}
