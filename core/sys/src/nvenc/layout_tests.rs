//! The layout against NVIDIA's headers: a small C program prints what a compiler makes of each header, and that is
//! compared with what rustc makes of ours. `GS_NVENC_HEADERS` names a folder with `VERSION/nvEncodeAPI.h`; set-up fetches
//! them out of packages. Without it the test is skipped aloud.

use super::layout;
use super::library::{ApiVersion, Structure};
use super::values::{GUIDS, NUMBERS};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Structs that are the same in all versions from 11.1 on, so far as older headers have their fields.
const ETERNAL: [&str; 9] = [
    "NV_ENC_QP",
    "NV_ENC_CAPS_PARAM",
    "NV_ENC_CREATE_BITSTREAM_BUFFER",
    "NV_ENC_SEQUENCE_PARAM_PAYLOAD",
    "NV_ENC_LOCK_INPUT_BUFFER",
    "NV_ENC_MAP_INPUT_RESOURCE",
    "NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS",
    "NVENC_EXTERNAL_ME_HINT_COUNTS_PER_BLOCKTYPE",
    "NV_ENC_RC_PARAMS",
];

/// The macro of a version word, and its number in 11.1, 12.1 and 13.0 (with the highest bit or not).
type Versioned = (&'static str, Structure, [(u32, bool); 3]);

const VERSIONS: [Versioned; 16] = [
    ("CONFIG", Structure::Config, [(7, true), (8, true), (9, true)]),
    ("INITIALIZE_PARAMS", Structure::Initialize, [(5, true), (6, true), (7, true)]),
    ("RECONFIGURE_PARAMS", Structure::Reconfigure, [(1, true), (1, true), (2, true)]),
    ("PRESET_CONFIG", Structure::PresetConfig, [(4, true), (4, true), (5, true)]),
    ("PIC_PARAMS", Structure::PicParams, [(4, true), (6, true), (7, true)]),
    ("LOCK_BITSTREAM", Structure::LockBitstream, [(1, false), (1, true), (2, true)]),
    ("REGISTER_RESOURCE", Structure::Register, [(3, false), (4, false), (5, false)]),
    ("CREATE_INPUT_BUFFER", Structure::CreateInput, [(1, false), (1, false), (2, false)]),
    ("MAP_INPUT_RESOURCE", Structure::MapInput, [(4, false); 3]),
    ("OPEN_ENCODE_SESSION_EX_PARAMS", Structure::OpenSession, [(1, false); 3]),
    ("CAPS_PARAM", Structure::Caps, [(1, false); 3]),
    ("RC_PARAMS", Structure::RcParams, [(1, false); 3]),
    ("CREATE_BITSTREAM_BUFFER", Structure::CreateBitstream, [(1, false); 3]),
    ("SEQUENCE_PARAM_PAYLOAD", Structure::SequenceParams, [(1, false); 3]),
    ("LOCK_INPUT_BUFFER", Structure::LockInput, [(1, false); 3]),
    ("FUNCTION_LIST", Structure::FunctionList, [(2, false); 3]),
];

fn headers() -> Option<PathBuf> {
    let folder = std::env::var_os("GS_NVENC_HEADERS").map(PathBuf::from);
    if folder.is_none() {
        assert!(
            std::env::var("GS_REQUIRE_PEERS").as_deref() != Ok("1"),
            "GS_NVENC_HEADERS is not set: run tests/setup/setup.sh test"
        );
        eprintln!("skipped: GS_NVENC_HEADERS is not set (source tests/setup/env.sh)");
    }
    folder
}

/// A line per fact: `name = value`.
fn facts(header: &Path, program: &str) -> BTreeMap<String, String> {
    let work = tempfile::tempdir().unwrap();
    let (source, binary) = (work.path().join("facts.c"), work.path().join("facts"));
    let text = format!(
        "#include <stddef.h>\n#include <stdio.h>\n#include <string.h>\n#include {header:?}\n{HELPERS}\n\
         int main(void) {{\n{program}return 0;\n}}\n"
    );
    std::fs::write(&source, text).unwrap();
    let made = Command::new("cc").args(["-w", "-o"]).arg(&binary).arg(&source).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = Command::new(&binary).output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    text.lines().filter_map(|l| l.split_once(" = ")).map(|(a, b)| (a.into(), b.into())).collect()
}

const HELPERS: &str = r#"
static void bits(const char *name, const unsigned char *bytes, size_t size)
{
    long first = -1, count = 0;
    for (size_t i = 0; i < size * 8; i++)
        if (bytes[i / 8] >> (i % 8) & 1) {
            if (first < 0)
                first = i;
            count++;
        }
    printf("%s = %ld %ld\n", name, first, count);
}
static void guid(const char *name, GUID g)
{
    printf("%s = %08x %04x %04x", name, g.Data1, g.Data2, g.Data3);
    for (int i = 0; i < 8; i++)
        printf(" %02x", g.Data4[i]);
    printf("\n");
}
"#;

/// The definition of a struct in a header's text.
fn definition<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let end = text.find(&format!("}} {name};")).or_else(|| text.find(&format!("}}{name};")))?;
    let start = text[..end].rfind("typedef struct")?;
    Some(&text[start..end])
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|w| w == word)
}

/// Asks for structs: `only` those that older headers are said to share, and there only fields that they have.
fn struct_program(text: &str, only: Option<&[&str]>) -> (String, BTreeMap<String, String>) {
    let (mut program, mut ours) = (String::new(), BTreeMap::new());
    for (name, size, fields) in layout::structs() {
        if only.is_some_and(|only| !only.contains(&name)) {
            continue;
        }
        let body = definition(text, name).unwrap_or_else(|| panic!("the header has no struct {name}"));
        writeln!(program, "printf(\"{name} = %zu\\n\", sizeof({name}));").unwrap();
        ours.insert(name.to_owned(), size.to_string());
        for (field, offset, size) in fields {
            // Bit fields have no offset; each bit is compared by itself. Reserved words shrink as versions grow.
            let old = only.is_some() && (field.starts_with("reserved") || !has_word(body, field));
            if field == "flags" || old {
                continue;
            }
            writeln!(
                program,
                "printf(\"{name}.{field} = %zu %zu\\n\", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));"
            )
            .unwrap();
            ours.insert(format!("{name}.{field}"), format!("{offset} {size}"));
        }
    }
    (program, ours)
}

/// GUIDs and numbers that the header has.
fn value_program(text: &str) -> (String, BTreeMap<String, String>) {
    let (mut program, mut ours) = (String::new(), BTreeMap::new());
    for (name, g) in GUIDS.iter().filter(|(name, _)| has_word(text, &format!("NV_ENC_{name}"))) {
        writeln!(program, "guid(\"{name}\", NV_ENC_{name});").unwrap();
        let tail: String = g.3.iter().map(|b| format!(" {b:02x}")).collect();
        ours.insert(name.to_string(), format!("{:08x} {:04x} {:04x}{tail}", g.0, g.1, g.2));
    }
    for (name, value) in NUMBERS.iter().filter(|(name, _)| has_word(text, &format!("NV_ENC_{name}"))) {
        writeln!(program, "printf(\"{name} = %u\\n\", (unsigned)NV_ENC_{name});").unwrap();
        ours.insert(name.to_string(), value.to_string());
    }
    (program, ours)
}

fn version_program() -> String {
    VERSIONS.iter().fold(String::new(), |mut program, (name, _, _)| {
        let full = if *name == "FUNCTION_LIST" {
            "NV_ENCODE_API_FUNCTION_LIST_VER".into()
        } else {
            format!("NV_ENC_{name}_VER")
        };
        writeln!(program, "printf(\"{name} = %u\\n\", (unsigned){full});").unwrap();
        program
    })
}

fn compare(header: &str, theirs: &BTreeMap<String, String>, ours: &BTreeMap<String, String>) {
    let wrong: Vec<String> = ours
        .iter()
        .filter(|(name, value)| theirs.get(*name) != Some(value))
        .map(|(name, value)| format!("{name}: ours {value}, the header's {:?}", theirs.get(name)))
        .collect();
    assert!(wrong.is_empty(), "{header}:\n{}", wrong.join("\n"));
    assert!(!ours.is_empty());
}

#[test]
fn everything_is_where_13_0_has_it() {
    let Some(folder) = headers() else { return };
    let header = folder.join("13.0/nvEncodeAPI.h");
    let text = std::fs::read_to_string(&header).unwrap();
    let (mut program, mut ours) = struct_program(&text, None);
    for (name, bit, first, count) in layout::bits() {
        writeln!(program, "{{ {name} x; memset(&x, 0, sizeof x); x.{bit} = ~0u; bits(\"{name}.{bit}\", (void *)&x, sizeof x); }}")
            .unwrap();
        ours.insert(format!("{name}.{bit}"), format!("{first} {count}"));
    }
    for (field, offset) in layout::functions() {
        writeln!(program, "printf(\"{field} = %zu\\n\", offsetof(NV_ENCODE_API_FUNCTION_LIST, {field}));")
            .unwrap();
        ours.insert(field.to_owned(), offset.to_string());
    }
    program += "printf(\"list = %zu\\n\", sizeof(NV_ENCODE_API_FUNCTION_LIST));\n";
    ours.insert("list".into(), size_of::<layout::FunctionList>().to_string());
    for (union, size) in [
        ("NV_ENC_CODEC_CONFIG", size_of::<layout::CodecConfig>()),
        ("NV_ENC_CODEC_PIC_PARAMS", size_of::<layout::CodecPicParams>()),
        ("NV_ENC_PIC_PARAMS_H264_EXT", size_of::<layout::PicParamsMvc>()),
        ("NV_ENC_CONFIG_HEVC_VUI_PARAMETERS", size_of::<layout::Vui>()),
    ] {
        writeln!(program, "printf(\"{union} = %zu\\n\", sizeof({union}));").unwrap();
        ours.insert(union.into(), size.to_string());
    }
    let (more, values) = value_program(&text);
    // All that we use is in this header.
    assert_eq!(values.len(), GUIDS.len() + NUMBERS.len());
    ours.extend(values);
    let theirs = facts(&header, &(program + &more));
    compare("13.0", &theirs, &ours);
    assert!(ours.len() > 600, "only {} facts were compared", ours.len());
}

#[test]
fn version_words_are_the_headers() {
    let Some(folder) = headers() else { return };
    for (at, (major, minor)) in [(11, 1), (12, 1), (13, 0)].into_iter().enumerate() {
        let theirs = facts(&folder.join(format!("{major}.{minor}/nvEncodeAPI.h")), &version_program());
        let word = major | minor << 24;
        let ours = VERSIONS
            .iter()
            .map(|(name, structure, numbers)| {
                let (number, high) = numbers[at];
                let value = word | number << 16 | 7 << 28 | u32::from(high) << 31;
                if (major, minor) == (13, 0) {
                    assert_eq!(ApiVersion::V13.of(*structure), value, "{name}");
                }
                (name.to_string(), value.to_string())
            })
            .collect();
        compare(&format!("{major}.{minor}"), &theirs, &ours);
    }
}

#[test]
fn what_never_changed_is_the_same_in_older_headers() {
    let Some(folder) = headers() else { return };
    for (version, least) in [("11.1", 120), ("12.1", 130)] {
        let header = folder.join(version).join("nvEncodeAPI.h");
        let text = std::fs::read_to_string(&header).unwrap();
        let (program, mut ours) = struct_program(&text, Some(&ETERNAL));
        let (more, values) = value_program(&text);
        ours.extend(values);
        compare(version, &facts(&header, &(program + &more)), &ours);
        assert!(ours.len() > least, "{version}: only {} facts were compared", ours.len());
    }
}
