//! `include/ghoststream.h` and `tests/abi/symbols.txt` are what the code says, and every item is documented in full.
//! `GS_REGENERATE=1` writes them instead.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What cbindgen makes of the sources, without the sections that speak to Rust only.
fn header() -> String {
    let ffi = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(ffi.join("cbindgen.toml")).expect("cbindgen.toml");
    let bindings = cbindgen::Builder::new()
        .with_crate(ffi)
        .with_config(config)
        .generate()
        .expect("cbindgen reads the sources");
    let mut text = Vec::new();
    bindings.write(&mut text);
    let text = String::from_utf8(text).expect("UTF-8");
    let mut out = String::new();
    let mut skipping = false;
    for line in text.lines() {
        let comment = line.starts_with("//");
        if comment && line.trim_end() == "// # Safety" {
            skipping = true;
            // The empty line before it goes as well.
            while out.ends_with("//\n") {
                out.truncate(out.len() - 3);
            }
        }
        skipping &= comment;
        if !skipping {
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    out
}

/// An item of the header with the comment above it.
struct Item {
    comment: String,
    text: String,
}

/// Everything between blank lines, below the includes.
fn items(header: &str) -> Vec<Item> {
    let body = header.split_once("#include <stdint.h>").expect("includes").1;
    let mut items = Vec::new();
    let mut item = Item { comment: String::new(), text: String::new() };
    for line in body.lines().chain([""]) {
        if let Some(comment) = line.strip_prefix("//").filter(|_| item.text.is_empty()) {
            item.comment.push_str(comment.trim_start());
            item.comment.push('\n');
        } else if line.is_empty() {
            if !item.text.trim().is_empty() {
                items.push(item);
            }
            item = Item { comment: String::new(), text: String::new() };
        } else {
            item.text.push_str(line);
            item.text.push('\n');
        }
    }
    items
}

fn is_scaffold(text: &str) -> bool {
    text.starts_with("#ifdef __cplusplus") || text.starts_with("#endif")
}

/// The name of the function that an item declares.
fn function(text: &str) -> Option<&str> {
    if text.starts_with('#')
        || text.starts_with("typedef")
        || text.starts_with("enum")
        || text.starts_with("struct")
    {
        return None;
    }
    let name = text.split_once('(')?.0;
    name.rsplit([' ', '*']).next()
}

fn symbols(header: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for item in items(header) {
        if let Some(name) = function(&item.text) {
            let since = item.comment.lines().find_map(|l| l.strip_prefix("Since: ")).unwrap_or("?");
            lines.push(format!("{name} {since}"));
        }
    }
    lines.sort();
    let mut out = String::from(
        "# Every exported symbol and the ABI in which it appeared; a line is never removed within a major.\n",
    );
    for line in lines {
        let _ = writeln!(out, "{line}");
    }
    out
}

fn compare(path: &str, made: &str) {
    let file = root().join(path);
    if std::env::var_os("GS_REGENERATE").is_some() {
        std::fs::write(&file, made).expect("write");
        return;
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    if committed != made {
        let at = committed.lines().zip(made.lines()).position(|(a, b)| a != b);
        let at = at.unwrap_or_else(|| committed.lines().count().min(made.lines().count()));
        panic!(
            "{path} differs from the code from line {} on (committed {:?}, made {:?}); run `make generate`",
            at + 1,
            committed.lines().nth(at).unwrap_or("<end>"),
            made.lines().nth(at).unwrap_or("<end>"),
        );
    }
}

#[test]
fn the_committed_header_and_symbol_table_are_what_the_code_says() {
    let header = header();
    compare("include/ghoststream.h", &header);
    compare("tests/abi/symbols.txt", &symbols(&header));
}

/// What is missing from the documentation of `header`.
fn undocumented(header: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for item in items(header) {
        if is_scaffold(&item.text) {
            continue;
        }
        let first = item.text.lines().next().unwrap_or("").to_owned();
        let callback = item.text.starts_with("typedef") && item.text.contains("(*");
        let handle = item.text.starts_with("typedef struct") && !item.text.contains('{');
        let wanted: &[&str] = if function(&item.text).is_some() || callback {
            &["Owns: ", "Thread: ", "Errors: ", "Since: "]
        } else if handle {
            &["Thread: ", "Since: "]
        } else {
            &["Since: "]
        };
        for word in wanted {
            if !item.comment.lines().any(|l| l.starts_with(word) && l.len() > word.len()) {
                missing.push(format!("{first}: no {}", word.trim_end()));
            }
        }
        if item
            .comment
            .lines()
            .next()
            .is_none_or(|l| l.contains(": ") && wanted.iter().any(|w| l.starts_with(w)))
        {
            missing.push(format!("{first}: does not say what it is"));
        }
        // Fields and enumerators have a line of their own above them.
        let mut documented = true;
        for line in item.text.lines().filter(|l| l.starts_with("    ")) {
            let line = line.trim_start();
            if line.starts_with("//") {
                documented = true;
            } else if item.text.contains('{') {
                if !documented {
                    missing.push(format!("{first}: {line} is not documented"));
                }
                documented = false;
            }
        }
    }
    missing
}

#[test]
fn every_item_says_owns_thread_errors_and_since() {
    let header = header();
    assert!(
        items(&header).iter().filter(|i| function(&i.text).is_some()).count() > 50,
        "the header is not read"
    );
    assert_eq!(undocumented(&header), Vec::<String>::new());
}

#[test]
fn an_item_without_its_documentation_is_noticed() {
    let good = "#include <stdint.h>\n\n// Frees.\n// Owns: takes it.\n// Thread: any.\n// Errors: none.\n// Since: 0\nvoid gs_x(void);\n";
    assert_eq!(undocumented(good), Vec::<String>::new());
    for word in ["Owns", "Thread", "Errors", "Since"] {
        assert_eq!(undocumented(&good.replace(word, "Other")).len(), 1, "{word}");
    }
    let field = "#include <stdint.h>\n\n// A.\n// Since: 0\ntypedef struct gs_s {\n    // A.\n    int a;\n    int b;\n} gs_s;\n";
    assert_eq!(undocumented(field).len(), 1);
    assert_eq!(undocumented("#include <stdint.h>\n\ntypedef struct gs_t gs_t;\n").len(), 3);
}
