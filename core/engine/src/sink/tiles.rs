//! The index of sheets of previews: WebVTT with a cue for each, which says in which sheet it lies and where, as a media
//! fragment (`#xywh=`).

use super::{Place, file};
use crate::error::{Context, Error, Result};
use crate::filter::Preview;
use crate::package::webvtt::{self, Cue};
use crate::time::Timestamp;
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The previews that are on sheets so far, in their order. Who makes the sheets adds them, and who writes the index reads
/// them when the last sheet is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Previews(Arc<Mutex<Vec<Preview>>>);

impl Previews {
    pub fn add(&self, preview: Preview) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(preview);
    }

    /// How many the first sheet has, and the last of them.
    pub fn of_first_sheet(&self) -> Option<(usize, Preview)> {
        let all = self.all();
        let first = all.iter().take_while(|p| p.sheet == 0);
        Some((first.clone().count(), *first.last()?))
    }

    fn all(&self) -> Vec<Preview> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An index that is written when all sheets are.
pub(crate) struct Index {
    place: Place,
    previews: Previews,
    /// Length of what is shown, where it is known.
    length: Option<Timestamp>,
}

impl Index {
    /// Claims the file at `path`.
    ///
    /// # Errors
    /// As [`Place::claim`], and [`crate::ErrorKind::Invalid`] where it is one of `inputs`.
    pub fn claim(
        path: &str,
        inputs: &[String],
        overwrite: bool,
        previews: Previews,
        length: Option<Timestamp>,
    ) -> Result<Index> {
        let target = Path::new(path);
        let place = match file::is_input(target, inputs) {
            true => Err(Error::invalid("tiles.index", format!("{path} is the input too"))),
            false => Place::claim(target, overwrite, false).context(|| "tiles.index"),
        };
        Ok(Index { place: place?, previews, length })
    }

    /// Writes the previews of `sheets`, which are files, and gives the index its name.
    ///
    /// # Errors
    /// I/O errors by name of the file.
    pub fn write(self, sheets: &[String]) -> Result<String> {
        let target = self.place.target();
        let names: Vec<String> = sheets.iter().map(|sheet| reference(target, Path::new(sheet))).collect();
        let text = webvtt::file(&cues(&self.previews.all(), &names, self.length));
        let written = self.place.create().and_then(|mut file| file.write_all(text.as_bytes()));
        let written = written.map_err(Error::from).context(|| target.display().to_string());
        written.and_then(|()| self.place.commit()).inspect_err(|_| self.place.discard())
    }

    /// Leaves nothing behind.
    pub fn discard(self) {
        self.place.discard();
    }
}

/// A cue for each of the previews whose sheet has a name: until the next one is shown, and the last one until the film's
/// `length`, as far as that is what it stands for.
fn cues(previews: &[Preview], names: &[String], length: Option<Timestamp>) -> Vec<Cue> {
    let there = previews.iter().enumerate();
    let named = there.filter_map(|(i, p)| Some((i, p, names.get(usize::try_from(p.sheet).ok()?)?)));
    named
        .map(|(i, preview, name)| {
            let (start, own) = (preview.start.micros(), preview.end.micros());
            let end = match (previews.get(i + 1), length.map(Timestamp::micros)) {
                (Some(next), _) => next.start.micros(),
                // The grid of previews ends up to half an interval before or behind the film.
                (None, Some(length)) if (start + 1..own + (own - start)).contains(&length) => length,
                (None, _) => own,
            };
            let Preview { x, y, width, height, .. } = preview;
            Cue::new(start, end.max(start + 1000), format!("{name}#xywh={x},{y},{width},{height}"))
        })
        .collect()
}

/// How the file `from` refers to the file `to`: a relative reference (RFC 3986, 4.2).
fn reference(from: &Path, to: &Path) -> String {
    let folder = |path: &Path| {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::canonicalize(parent).unwrap_or_else(|_| parent.to_owned())
    };
    let (here, there) = (folder(from), folder(to));
    let same = here.components().zip(there.components()).take_while(|(a, b)| a == b).count();
    let up = here.components().skip(same).map(|_| Component::ParentDir);
    let mut path: PathBuf = up.chain(there.components().skip(same)).collect();
    path.push(to.file_name().unwrap_or_default());
    let parts = path.iter().map(|part| encoded(&part.to_string_lossy()));
    parts.collect::<Vec<_>>().join("/")
}

/// `name` with everything percent-encoded that has a meaning in an address, or may have.
fn encoded(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Rational;

    fn previews(count: i64) -> Vec<Preview> {
        let at = |n: i64| Timestamp::new(n, Rational::new(10, 1));
        let tile = |n: i64| Preview {
            start: at(n),
            end: at(n + 1),
            sheet: (n / 2) as u64,
            x: (n % 2) as u32 * 320,
            y: 0,
            width: 320,
            height: 180,
        };
        (0..count).map(tile).collect()
    }

    #[test]
    fn a_cue_for_each_preview() {
        let names = ["s-1.jpg".to_owned(), "s-2.jpg".to_owned()];
        let text = |length: Option<f64>| {
            webvtt::file(&cues(&previews(3), &names, length.map(Timestamp::from_seconds)))
        };
        let first = "WEBVTT\n\n00:00:00.000 --> 00:00:10.000\ns-1.jpg#xywh=0,0,320,180\n\n\
            00:00:10.000 --> 00:00:20.000\ns-1.jpg#xywh=320,0,320,180\n\n";
        let last = |end: &str| format!("{first}00:00:20.000 --> 00:00:{end}\ns-2.jpg#xywh=0,0,320,180\n\n");
        assert_eq!(text(None), last("30.000"));
        assert_eq!(text(Some(26.5)), last("26.500"), "the film ends before its last interval does");
        assert_eq!(text(Some(34.0)), last("34.000"), "or a little behind it");
        assert_eq!(text(Some(7200.0)), last("30.000"), "but not where it was stopped long before");
        // A sheet that is not there has no previews.
        assert_eq!(cues(&previews(5), &names[..1], None).len(), 2);
    }

    #[test]
    fn names_are_relative_and_encoded() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("a b/c")).unwrap();
        for (from, to, wanted) in [
            ("p.vtt", "s-1.jpg", "s-1.jpg"),
            ("p.vtt", "a b/50%.jpg", "a%20b/50%25.jpg"),
            ("a b/p.vtt", "ü#1?.jpg", "../%C3%BC%231%3F.jpg"),
            ("a b/c/p.vtt", "a b/s --> 1.jpg", "../s%20--%3E%201.jpg"),
            ("p.vtt", "x:1.jpg", "x%3A1.jpg"),
        ] {
            assert_eq!(reference(&path(from), &path(to)), wanted, "{from} {to}");
        }
    }

    #[test]
    fn an_index_is_whole_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.vtt").to_string_lossy().into_owned();
        let claim = |overwrite| {
            let found = Previews::default();
            previews(2).into_iter().for_each(|p| found.add(p));
            Index::claim(&path, &[], overwrite, found, None)
        };
        let index = claim(false).unwrap();
        assert!(!Path::new(&path).exists(), "it grows under another name");
        index.discard();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let sheet = dir.path().join("s.jpg").to_string_lossy().into_owned();
        assert_eq!(claim(false).unwrap().write(&[sheet]).unwrap(), path);
        assert_eq!(webvtt::parse(&std::fs::read_to_string(&path).unwrap()).unwrap().len(), 2);
        let e = claim(false).err().unwrap();
        assert!(e.message().starts_with("tiles.index: ") && e.message().contains("exists"), "{e}");
        let e =
            Index::claim(&path, std::slice::from_ref(&path), true, Previews::default(), None).err().unwrap();
        assert!(e.message().contains("is the input too"), "{e}");
    }
}
