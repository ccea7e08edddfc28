//! The command that tests of the server start.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The `ghoststream` command of this build. Cargo makes it for tests of the command only, so one that is older than the code
/// is made anew here: workers of yesterday would be tested otherwise. Of the whole workspace, as `cargo test` does: another choice of
/// packages has other features, and would build all dependencies again.
pub fn command() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    // target/debug/deps/jobs-… → target/debug/ghoststream
    path.pop();
    path.pop();
    let program = path.join("ghoststream");
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let code =
        ["cli", "server", "engine", "sys"].iter().filter_map(|name| newest(&core.join(name).join("src")));
    let built = std::fs::metadata(&program).and_then(|m| m.modified()).ok();
    if built.is_none() || built < code.max() {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "-q", "--workspace", "--bin", "ghoststream"]);
        if path.ends_with("release") {
            command.arg("--release");
        }
        assert!(command.status().unwrap().success());
    }
    program
}

/// When something below `folder` was last changed.
fn newest(folder: &Path) -> Option<std::time::SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let time = |entry: std::fs::DirEntry| match entry.path().is_dir() {
        true => newest(&entry.path()),
        false => entry.metadata().and_then(|m| m.modified()).ok(),
    };
    entries.filter_map(time).max()
}
