//! The binary as a shell sees it: exit codes, and which stream says what.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn ghoststream(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ghoststream"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_and_version_are_answers_not_errors() {
    for args in [&["--help"][..], &["--version"], &["transcode", "--help"], &["help", "transcode"]] {
        let o = ghoststream(args);
        assert_eq!(o.status.code(), Some(0), "{args:?}");
        assert!(!o.stdout.is_empty() && o.stderr.is_empty(), "{args:?}");
    }
    let help = out(&ghoststream(&["--help"]));
    for code in ["Exit codes:", "  7  the media is damaged", "130  cancelled"] {
        assert!(help.contains(code), "{help}");
    }
}

#[test]
fn usage_errors_exit_2_and_say_so_on_stderr() {
    for args in [
        &[][..],
        &["frobnicate"],
        &["transcode"],
        &["transcode", "in.mkv"],
        &["transcode", "in.mkv", "out.mp4", "--crf", "300"],
        &["transcode", "in.mkv", "-"],
        &["--log-level", "a=b=c", "schema"],
    ] {
        let o = ghoststream(args);
        assert_eq!(o.status.code(), Some(2), "{args:?}: {}", err(&o));
        assert!(o.stdout.is_empty() && !o.stderr.is_empty(), "{args:?}");
    }
    let o = ghoststream(&["transcode", "in.mkv", "out.mp4", "--crf", "300"]);
    assert_eq!(err(&o), "ghoststream: error: --crf: 300 is not within 0 to 255\n");
}

#[test]
fn a_document_comes_from_a_file_or_standard_input() {
    let job = r#"{"source":{"url":"in.mkv"},"outputs":[{"path":"out.mp4","video":{"crf":20}}]}"#;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("job.json");
    std::fs::write(&file, job).expect("written");
    let o = ghoststream(&["transcode", "--spec", file.to_str().expect("text"), "--print-spec"]);
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    let printed: serde_json::Value = serde_json::from_slice(&o.stdout).expect("JSON");
    assert_eq!(printed["outputs"][0]["video"]["crf"], 20.0);

    let feed = |text: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ghoststream"))
            .args(["transcode", "--spec", "-", "--print-spec"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
        child.wait_with_output().expect("it ends")
    };
    assert_eq!(feed(job).status.code(), Some(0));
    let o = feed(r#"{"source":{"url":"in.mkv"},"outputs":[{"path":"out.mp4","video":{"crt":20}}]}"#);
    assert_eq!(o.status.code(), Some(2));
    assert!(err(&o).contains("standard input: outputs[0].video") && err(&o).contains("crt"), "{}", err(&o));

    let o = ghoststream(&["transcode", "--spec", "/nowhere/job.json"]);
    assert_eq!(o.status.code(), Some(3));
    assert!(err(&o).contains("/nowhere/job.json"), "{}", err(&o));
}

#[test]
fn the_schema_is_the_documents() {
    let o = ghoststream(&["schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&o.stdout).expect("JSON");
    assert!(schema["$defs"]["OutputSpec"].is_object());
}

#[test]
fn completions_and_pages_know_every_command() {
    let page = out(&ghoststream(&["man"]));
    assert!(page.contains(".TH") && page.contains("tone\\-map") && page.contains("EXIT STATUS"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        let script = out(&ghoststream(&["completions", shell]));
        assert!(script.contains("transcode") && script.contains("tone-map"), "{shell}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let o = ghoststream(&["man", dir.path().to_str().expect("text")]);
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    for name in ["ghoststream.1", "ghoststream-transcode.1"] {
        assert!(Path::new(&dir.path().join(name)).is_file(), "{name}");
    }
}
