//! What was recorded in a time as one file: the fragments of the recording's files behind one index, at their times in it. They
//! are read as they are sent.

use super::segments::{MOST, Piece, pieces, read};
use super::twins::Twin;
use super::{Range, Recordings, Refused, date, missing, unplayable};
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use ghoststream::ErrorKind;
use ghoststream::package::{Retimer, same_tracks};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The most files that are made fragmented MP4 for one download.
pub(super) const TWINS: usize = 4;

/// A file that is put together while it is fetched.
#[derive(Debug)]
pub(super) struct Download {
    init: Bytes,
    retimer: Retimer,
    /// Parts of files, and by how many microseconds each is moved.
    parts: std::vec::IntoIter<(PathBuf, Piece, i64)>,
    /// Of MKV and MPEG-TS: where the parts are goes with them.
    _twins: Vec<Arc<Twin>>,
    /// When it begins and how long it is, in microseconds; the first since 1970.
    begin: i64,
    duration: i64,
    length: u64,
    name: String,
}

impl Recordings {
    /// What was recorded in `range`, from the key frame before its beginning on.
    pub(super) fn download(&self, name: &str, range: &Range) -> Result<Download, Refused> {
        let files = self.list(name)?;
        let start = range.start.unwrap_or_else(|| files.first().map_or(0, |f| f.start));
        let end = range.duration.map_or(i64::MAX, |d| start.saturating_add(d));
        let wanted = || files.iter().filter(|f| f.start < end && f.end() > start);
        // Before any of them is made.
        if wanted().filter(|f| f.needs_twin()).count() > TWINS {
            let why = format!("more than {TWINS} files of MKV or MPEG-TS: ask for less, or for the playlist");
            return Err((400, why));
        }
        let mut found: Option<Download> = None;
        let (mut parts, mut twins) = (Vec::new(), Vec::new());
        for file in wanted() {
            let mut path = self.root.join(name).join(&file.name);
            let inside = if !file.needs_twin() {
                let Some(inside) = self.inside(&path)? else { continue };
                inside
            } else {
                let twin = match self.twins.of(&path, file) {
                    Err(e) if e.kind() == ErrorKind::NotFound && !path.exists() => continue,
                    twin => twin.map_err(unplayable)?,
                };
                path.clone_from(&twin.path);
                twins.push(twin.clone());
                twin.inside.clone()
            };
            let wanted = pieces(&inside, start - file.start, end.saturating_sub(file.start));
            let Some(first) = wanted.first().map(|p| file.start + p.start) else { continue };
            let download = match &mut found {
                Some(there)
                    if !same_tracks(&there.init, &inside.init).map_err(|e| (500, e.to_string()))? =>
                {
                    let why =
                        format!("at {} it has other tracks: ask for what is before or behind", date(first));
                    return Err((409, why));
                }
                Some(there) => there,
                None => {
                    let retimer = Retimer::new(&inside.init).map_err(|e| (500, e.to_string()))?;
                    let called = format!("{}-{}.mp4", name.replace('/', "-"), date(first).replace(':', "-"));
                    found.insert(Download {
                        length: inside.init.len() as u64,
                        init: inside.init.clone(),
                        retimer,
                        parts: Vec::new().into_iter(),
                        _twins: Vec::new(),
                        begin: first,
                        duration: 0,
                        name: called,
                    })
                }
            };
            let by = file.start - download.begin;
            for piece in wanted.into_iter().filter(|p| p.length <= MOST) {
                download.length += piece.length;
                download.duration = by + piece.start + piece.duration;
                parts.push((path.clone(), piece, by));
            }
        }
        let found = found.ok_or_else(|| missing("Nothing was recorded then"))?;
        Ok(Download { parts: parts.into_iter(), _twins: twins, ..found })
    }
}

impl Download {
    /// The answer. It says in `X-Start` and `X-Duration` what is in the file.
    pub fn answer(self) -> Response {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
        let name: String = self.name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
        let headers = [
            (header::CONTENT_TYPE, "video/mp4".to_string()),
            (header::CONTENT_LENGTH, self.length.to_string()),
            (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
            (header::CACHE_CONTROL, "no-store".into()),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".into()),
            (header::HeaderName::from_static("x-start"), date(self.begin)),
            (header::HeaderName::from_static("x-duration"), format!("{:.3}", self.duration as f64 / 1e6)),
        ];
        let init = self.init.clone();
        let rest = futures_util::stream::try_unfold(self, |mut download| async move {
            let Some((path, piece, by)) = download.parts.next() else { return Ok(None) };
            let work = move || {
                let mut data = read(&path, piece.offset, piece.length)?;
                download.retimer.retime(&mut data, by).map_err(io::Error::other)?;
                Ok((Bytes::from(data), download))
            };
            // A file that has gone ends it short of its length: nobody takes that for all of it.
            tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?.map(Some)
        });
        let first = futures_util::stream::once(async move { Ok::<_, io::Error>(init) });
        let body = Body::from_stream(futures_util::StreamExt::chain(first, rest));
        (headers, body).into_response()
    }
}
