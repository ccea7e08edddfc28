//! Names of files that are made while a job runs: a template says what changes from one to the next.

use ghoststream_sys::calendar::LocalTime;
use std::fmt::Write;

/// A template for paths: `{name}` is the job's name, `{n}` a number from 1 (`{n:3}` with at least so many digits), and
/// `%Y %m %d %H %M %S %j` the local time, `%F` the date and `%T` the time as `%H-%M-%S`; `%%` and `{{`, `}}` are the
/// signs themselves.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Name,
    Number(usize),
    Time(char),
}

/// What a path is made of besides its template.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub name: &'a str,
    pub number: u64,
    pub now: LocalTime,
}

impl Template {
    /// Understands `text`; an error says what in it means nothing.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let piece = match c {
                '{' if chars.next_if_eq(&'{').is_some() => {
                    plain.push('{');
                    continue;
                }
                '}' if chars.next_if_eq(&'}').is_some() => {
                    plain.push('}');
                    continue;
                }
                '{' => {
                    let word: String = chars.by_ref().take_while(|c| *c != '}').collect();
                    match word.split_once(':').unwrap_or((&word, "")) {
                        ("name", "") => Piece::Name,
                        ("n", "") => Piece::Number(1),
                        ("n", digits) => match digits.parse() {
                            Ok(digits @ 1..=12) => Piece::Number(digits),
                            _ => return Err(format!("{{{word}}}: the digits are 1 to 12")),
                        },
                        _ => return Err(format!("{{{word}}} means nothing; there are {{name}} and {{n}}")),
                    }
                }
                '%' => match chars.next() {
                    Some('%') => {
                        plain.push('%');
                        continue;
                    }
                    Some(c @ ('Y' | 'm' | 'd' | 'H' | 'M' | 'S' | 'j' | 'F' | 'T')) => Piece::Time(c),
                    Some(c) => {
                        return Err(format!("%{c} means nothing; there are %Y %m %d %H %M %S %j %F %T %%"));
                    }
                    None => return Err("ends with a %; write %% for the sign".into()),
                },
                c => {
                    plain.push(c);
                    continue;
                }
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// Whether a name made later is another one: it has the number, or the time down to the second.
    pub fn changes(&self) -> bool {
        let has = |signs: &[char]| signs.iter().any(|s| self.0.contains(&Piece::Time(*s)));
        self.counts() || (has(&['T']) || has(&['H']) && has(&['M']) && has(&['S']))
    }

    /// Whether it has the number.
    pub fn counts(&self) -> bool {
        self.0.iter().any(|p| matches!(p, Piece::Number(_)))
    }

    /// The path.
    pub fn path(&self, facts: &Facts<'_>) -> String {
        let now = &facts.now;
        let mut path = String::new();
        for piece in &self.0 {
            // Writing to a string cannot fail.
            let _ = match piece {
                Piece::Text(text) => write!(path, "{text}"),
                // A name is a part of a path, not a way out of it.
                Piece::Name => write!(path, "{}", facts.name.replace(['/', '\\', '\0'], "_")),
                Piece::Number(digits) => write!(path, "{:0digits$}", facts.number),
                Piece::Time(sign) => match sign {
                    'Y' => write!(path, "{:04}", now.year),
                    'm' => write!(path, "{:02}", now.month),
                    'd' => write!(path, "{:02}", now.day),
                    'H' => write!(path, "{:02}", now.hour),
                    'M' => write!(path, "{:02}", now.minute),
                    'S' => write!(path, "{:02}", now.second),
                    'j' => write!(path, "{:03}", now.day_of_year),
                    'F' => write!(path, "{:04}-{:02}-{:02}", now.year, now.month, now.day),
                    _ => write!(path, "{:02}-{:02}-{:02}", now.hour, now.minute, now.second),
                },
            };
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: LocalTime =
        LocalTime { year: 2026, month: 3, day: 7, hour: 9, minute: 5, second: 2, day_of_year: 66 };

    fn path(template: &str) -> String {
        Template::parse(template).unwrap().path(&Facts { name: "a/b", number: 7, now: NOW })
    }

    #[test]
    fn names() {
        assert_eq!(path("x/{name}-%Y-%m-%d_%H-%M-%S.mkv"), "x/a_b-2026-03-07_09-05-02.mkv");
        assert_eq!(path("{n}-{n:3}-%F_%T-%j.mp4"), "7-007-2026-03-07_09-05-02-066.mp4");
        assert_eq!(path("100%% {{n}}.mkv"), "100% {n}.mkv");
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for bad in ["%q.mkv", "{x}.mkv", "{n:0}.mkv", "{n:99}.mkv", "%", "{name:2}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_would_write_one_file_twice_is_seen() {
        let changes = |t: &str| Template::parse(t).unwrap().changes();
        assert!(changes("{n}.mkv") && changes("%H%M%S.mkv") && changes("%F_%T.mkv"));
        assert!(!changes("{name}.mkv") && !changes("%F.mkv") && !changes("%H-%M.mkv"));
    }
}
