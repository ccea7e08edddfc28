//! Names of pictures that are a file each.

use std::path::Path;

/// A path whose name has a number in it, as FFmpeg's image sequences have theirs: `%d`, or `%05d` for five digits at least.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numbered {
    before: String,
    digits: usize,
    after: String,
}

impl Numbered {
    /// The number in the file's name in `path`; `None` where there is none. A folder's name is always its name.
    ///
    /// # Errors
    /// What is wrong with the name: two numbers, or one padded with blanks.
    pub fn of(path: &str) -> Result<Option<Numbered>, String> {
        let name_at = path.rfind('/').map_or(0, |slash| slash + 1);
        let mut found = None;
        for (at, _) in path.match_indices('%').filter(|(at, _)| *at >= name_at) {
            let rest = &path[at + 1..];
            let width: String = rest.chars().take_while(char::is_ascii_digit).collect();
            if !rest[width.len()..].starts_with('d') {
                continue;
            }
            let digits = match width.strip_prefix('0').map(str::parse::<usize>) {
                Some(Ok(digits @ 1..=12)) => digits,
                None if width.is_empty() => 1,
                _ => return Err(format!("%{width}d: numbers are %d, or %01d to %012d for so many digits")),
            };
            let (before, after) = (path[..at].to_owned(), rest[width.len() + 1..].to_owned());
            if found.replace(Numbered { before, digits, after }).is_some() {
                return Err("has two numbers".into());
            }
        }
        Ok(found)
    }

    /// The path of picture `number`.
    pub fn path(&self, number: u64) -> String {
        let Numbered { before, digits, after } = self;
        format!("{before}{number:0digits$}{after}")
    }

    /// Whether `path` is one of these pictures'.
    pub fn has(&self, path: &str) -> bool {
        let number = path.strip_prefix(&*self.before).and_then(|rest| rest.strip_suffix(&*self.after));
        number.is_some_and(|n| n.len() >= self.digits && n.chars().all(|c| c.is_ascii_digit()))
    }

    /// A file that is there already and would be one of these pictures.
    pub fn taken(&self) -> Option<String> {
        let (folder, before) = match self.before.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((folder, name)) => (folder, name),
            None => (".", &*self.before),
        };
        let names = std::fs::read_dir(Path::new(folder)).ok()?.flatten();
        let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let named = Numbered { before: before.into(), ..self.clone() };
        let name = names.find(|name| named.has(name))?;
        Some(Path::new(folder).join(name).display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names() {
        let path = |text: &str, n| Numbered::of(text).unwrap().map(|numbered| numbered.path(n));
        assert_eq!(path("a/%d.jpg", 7).as_deref(), Some("a/7.jpg"));
        assert_eq!(path("%05d.png", 7).as_deref(), Some("00007.png"));
        assert_eq!(path("t-%03d-%.png", 12345).as_deref(), Some("t-12345-%.png"));
        assert_eq!(path("%d/a.jpg", 1), None);
        assert_eq!(path("50%.jpg", 1), None);
        assert_eq!(path("ü%02dß.jpg", 1).as_deref(), Some("ü01ß.jpg"));
        for bad in ["%3d.jpg", "%00d.jpg", "%013d.jpg", "%d-%d.jpg"] {
            assert!(Numbered::of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pictures_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let pattern = dir.path().join("t-%03d.jpg");
        let numbered = Numbered::of(pattern.to_str().unwrap()).unwrap().unwrap();
        for other in ["t-01.jpg", "t-001.png", "t-abc.jpg", "u-001.jpg"] {
            std::fs::write(dir.path().join(other), "").unwrap();
            assert_eq!(numbered.taken(), None, "{other}");
        }
        std::fs::write(dir.path().join("t-1234.jpg"), "").unwrap();
        assert!(numbered.taken().unwrap().ends_with("/t-1234.jpg"));
    }
}
