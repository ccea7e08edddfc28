//! Starting a test again on the stand-in.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Set in the process that has the stand-in, to the test's name.
const INSIDE: &str = "GS_STANDIN_TEST";

/// The call log of a run.
pub struct Log(Vec<String>);

impl Log {
    /// Lines of calls of `function`.
    pub fn calls(&self, function: &str) -> usize {
        let wanted = format!("\"call\":\"{function}\"");
        self.0.iter().filter(|l| l.contains(&wanted) && !l.contains("\"violation\"")).count()
    }

    /// Bytes of copies of `kind` (`HtoD` …).
    pub fn copied(&self, kind: &str) -> u64 {
        let wanted = format!("\"kind\":\"{kind}\"");
        let bytes = |l: &String| {
            let tail = l.split_once("\"bytes\":")?.1;
            tail.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
        };
        self.0.iter().filter(|l| l.contains(&wanted)).filter_map(bytes).sum()
    }
}

/// The folder with the stand-in's libraries; `None`, said aloud, where it cannot be built.
fn libraries() -> Option<&'static PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = std::env::current_exe().map_err(|e| e.to_string())?;
        // target/debug/deps/nvidia-…
        let target = target.ancestors().nth(3).ok_or("a test outside a target folder")?.join("standin");
        let made = Command::new(root.join("tests/standin/build.sh")).arg(&target).output();
        let made = made.map_err(|e| format!("tests/standin/build.sh: {e}"))?;
        if made.status.success() {
            Ok(target)
        } else {
            Err(String::from_utf8_lossy(&made.stderr).into_owned())
        }
    });
    match built {
        Ok(folder) => Some(folder),
        Err(reason) => {
            assert!(
                std::env::var("GS_REQUIRE_PEERS").as_deref() != Ok("1"),
                "the stand-in driver does not build: {reason}"
            );
            eprintln!("skipped: the stand-in driver does not build: {reason}");
            None
        }
    }
}

/// Runs `body` in a process of its own on the stand-in with `knobs` (`GS_STANDIN_…` without that). In the test's own
/// process it gives the log of that, checked; in the other, `None`.
pub fn on_standin(name: &str, knobs: &[(&str, &str)], body: impl FnOnce()) -> Option<Log> {
    on_standin_expecting(name, knobs, &[], body)
}

/// As [`on_standin`], where the log may have the violations named.
pub fn on_standin_expecting(
    name: &str,
    knobs: &[(&str, &str)],
    expected: &[&str],
    body: impl FnOnce(),
) -> Option<Log> {
    // One test may run several times, with other knobs each.
    let run = format!("{name} {knobs:?}");
    match std::env::var(INSIDE) {
        Ok(inside) if inside == run => {
            body();
            return None;
        }
        Ok(_) => return None,
        Err(_) => {}
    }
    let libraries = libraries()?;
    let work = tempfile::tempdir().unwrap();
    let log = work.path().join("calls.jsonl");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    let path = format!("{0}:{0}/egl", libraries.display());
    command.env(INSIDE, &run).env("LD_LIBRARY_PATH", path).env("GS_STANDIN_LOG", &log);
    for (knob, value) in knobs {
        command.env(format!("GS_STANDIN_{knob}"), value);
    }
    let said = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{run}: {}\n{text}", said.status);
    assert!(text.contains("1 passed"), "{run}: no such test\n{text}");
    let lines: Vec<String> =
        std::fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect();
    let wrong: Vec<&String> = lines
        .iter()
        .filter(|l| l.contains("\"violation\"") || l.contains("\"leak\""))
        .filter(|l| !expected.iter().any(|e| l.contains(e)))
        .collect();
    assert!(wrong.is_empty(), "{run}: {wrong:#?}");
    Some(Log(lines))
}
