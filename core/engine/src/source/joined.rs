//! Lists of files that are read one after another (FFmpeg's `ffconcat`). Its demuxer takes the streams of the first file for
//! those of all, whatever the others hold.

use crate::error::{Error, ErrorKind, Result};
use crate::packet::{AudioInfo, StreamInfo};
use ghoststream_sys::ffmpeg as av;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Refuses the list at `path` where one of its files is not there or has other streams than its first: their packets would
/// go to decoders and files that are not theirs. `open` opens a file of a list, and needs to read no more than its header.
///
/// # Errors
/// That of `open`, or [`ErrorKind::Unsupported`], naming the file.
pub(super) fn check(path: &str, open: &dyn Fn(&str) -> Result<av::Demuxer>) -> Result<()> {
    let list = std::fs::read_to_string(path)?;
    let mut first: Option<(String, Vec<StreamInfo>)> = None;
    for name in files(&list) {
        let Some(file) = file(path, &name) else { continue };
        let demuxer = open(&file.to_string_lossy())?;
        let streams: Vec<_> = demuxer.streams()?.iter().map(StreamInfo::from_av).collect();
        let Some((before, of_first)) = &first else {
            first = Some((name, streams));
            continue;
        };
        if let Some(unlike) = of_first.iter().zip(&streams).find_map(|(a, b)| unlike(a, b)) {
            let message = format!(
                "{name}: {unlike} in {before}; files that are joined are coded alike: transcode it first"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    }
    Ok(())
}

/// Whether the file at `path` begins as such lists do.
pub(super) fn is_list(path: &str) -> bool {
    let mut head = String::new();
    let file = std::fs::File::open(path).map(|file| file.take(64).read_to_string(&mut head));
    file.is_ok() && head.trim_start().starts_with("ffconcat ")
}

/// How the second stream differs from the first, where no decoder of the first could go on with it.
fn unlike(a: &StreamInfo, b: &StreamInfo) -> Option<String> {
    let index = b.index;
    if a.kind != b.kind || a.codec != b.codec {
        return Some(format!("stream {index} is {}, not {} as", b.codec, a.codec));
    }
    if let (Some(x), Some(y)) = (&a.audio, &b.audio)
        && x.sample_rate > 0
        && y.sample_rate > 0
        && (x.sample_rate, x.layout.channels) != (y.sample_rate, y.layout.channels)
    {
        let words = |s: &AudioInfo| match s.layout.channels {
            1 => format!("1 channel at {} Hz", s.sample_rate),
            n => format!("{n} channels at {} Hz", s.sample_rate),
        };
        return Some(format!("stream {index} has {}, not {} as", words(y), words(x)));
    }
    None
}

/// The files that a list names, in their order.
fn files(list: &str) -> Vec<String> {
    let named = list.lines().filter_map(|line| {
        let (word, rest) = line.trim_start().split_once([' ', '\t'])?;
        (word == "file").then(|| token(rest.trim_start()))
    });
    named.collect()
}

/// The first word of `text`, as FFmpeg quotes it: `'…'` as it stands, `\` before a single sign (`av_get_token`).
fn token(text: &str) -> String {
    let mut word = String::new();
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' => word.extend(signs.next()),
            '\'' => word.extend(signs.by_ref().take_while(|c| *c != '\'')),
            c if c.is_ascii_whitespace() => break,
            c => word.push(c),
        }
    }
    word
}

/// Where the file `name` of the list at `path` is; `None` for what is not a file of this machine.
fn file(path: &str, name: &str) -> Option<PathBuf> {
    let name = name.strip_prefix("file:").unwrap_or(name);
    (!name.contains("://")).then(|| Path::new(path).parent().unwrap_or(Path::new("")).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_ffmpeg_quotes_them() {
        let list = "ffconcat version 1.0\n# file no.mkv\nfile one.mkv\nduration 3\n  file 'a film''s end.mkv'\nfile two\\ words.mkv\r\n";
        assert_eq!(files(list), ["one.mkv", "a films end.mkv", "two words.mkv"]);
        assert_eq!(file("/d/list.txt", "one.mkv"), Some(PathBuf::from("/d/one.mkv")));
        assert_eq!(file("list.txt", "/e/one.mkv"), Some(PathBuf::from("/e/one.mkv")));
        assert_eq!(file("list.txt", "http://a/one.mkv"), None);
    }
}
