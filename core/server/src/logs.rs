//! The last lines of the log, for the built-in page.

use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Lines that are kept.
const MOST: usize = 500;
/// Bytes of one line that are kept.
const LONGEST: usize = 2000;

/// Process-wide, as the log is.
static LINES: Mutex<Lines> = Mutex::new(Lines { next: 1, lines: VecDeque::new() });

struct Lines {
    next: u64,
    lines: VecDeque<Line>,
}

/// A line of the log.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Line {
    /// Counts up from 1.
    pub number: u64,
    /// Without colours.
    pub text: String,
}

/// Keeps a line. Whoever writes the log calls this too; it holds no secret that the log does not.
pub fn keep(text: &str) {
    let text = text.trim_end();
    if text.is_empty() {
        return;
    }
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= LONGEST).last();
    let mut all = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let line = Line { number: all.next, text: text[..end.unwrap_or(0)].into() };
    all.next += 1;
    if all.lines.len() >= MOST {
        all.lines.pop_front();
    }
    all.lines.push_back(line);
}

/// The lines after `number`, the oldest first.
pub fn after(number: u64) -> Vec<Line> {
    let all = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    all.lines.iter().filter(|line| line.number > number).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept() {
        for i in 0..MOST + 10 {
            keep(&format!("line {i}\n"));
        }
        keep("");
        keep(&"é".repeat(LONGEST));
        let lines = after(0);
        assert_eq!(lines.len(), MOST);
        let last = lines.last().unwrap();
        assert!(last.text.len() <= LONGEST && last.text.starts_with('é'));
        assert!(after(last.number).is_empty());
        assert_eq!(after(last.number - 1).len(), 1);
    }
}
