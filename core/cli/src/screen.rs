//! Standard error: one progress bar at the bottom, and lines that push it down.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The bar that stands on the last line, empty for none. Process-wide because standard error is.
static BAR: Mutex<String> = Mutex::new(String::new());

fn bar_lock() -> MutexGuard<'static, String> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether standard error is a terminal that understands `\r` and erasing a line.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// Columns of the terminal.
pub fn width() -> usize {
    terminal_size::terminal_size_of(io::stderr()).map_or(80, |(w, _)| usize::from(w.0))
}

/// Draws the bar, or removes it when `text` is empty.
pub fn bar(text: &str) {
    let mut bar = bar_lock();
    if text.is_empty() && bar.is_empty() {
        return;
    }
    // A closed standard error is no reason to end a job.
    let _ = write!(io::stderr(), "\r\x1b[K{text}");
    *bar = text.to_string();
}

/// Prints one line above the bar.
pub fn line(text: &str) {
    let _ = Line.write_all(format!("{text}\n").as_bytes());
}

/// Standard error for whole lines: the bar goes away before and comes back after.
pub struct Line;

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bar = bar_lock();
        let mut stderr = io::stderr().lock();
        if bar.is_empty() {
            return stderr.write(bytes);
        }
        stderr.write_all(b"\r\x1b[K")?;
        stderr.write_all(bytes)?;
        if bytes.ends_with(b"\n") {
            stderr.write_all(bar.as_bytes())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
