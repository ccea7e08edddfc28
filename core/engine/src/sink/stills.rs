//! Pictures that are a file each: the first one alone, or all, by number. What the encoders of such pictures make is the whole
//! file already. Sheets of previews are such pictures too, and may have an index.

use super::tiles::Index;
use super::{Facts, Fate, OutputSink, Place, TrackHeader};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::packet::Packet;
use crate::spec::TilesSpec;
use crate::spec::numbered::Numbered;
use std::io::Write;

/// Files of pictures.
pub(crate) struct StillSink {
    path: String,
    overwrite: bool,
    /// How the files are called, where there is more than one.
    numbered: Option<Numbered>,
    /// The next file.
    place: Option<Place>,
    written: Vec<String>,
    /// What the pictures are sheets of.
    tiles: Option<TilesSpec>,
    index: Option<Index>,
    facts: Facts,
}

impl StillSink {
    pub fn new(path: &str, overwrite: bool, tiles: Option<TilesSpec>) -> Self {
        StillSink {
            path: path.into(),
            overwrite,
            numbered: None,
            place: None,
            written: Vec::new(),
            tiles,
            index: None,
            facts: Facts::default(),
        }
    }

    fn claim(&self) -> Result<Place> {
        let path = match &self.numbered {
            Some(numbered) => numbered.path(self.written.len() as u64 + 1),
            None => self.path.clone(),
        };
        super::file::claim(&path, &self.facts.inputs, self.overwrite, false)
    }

    /// Says how much of the film is not on the sheet, where there is one alone and it is full.
    fn tell_rest(&self) {
        let (Some(tiles), Some(length)) = (&self.tiles, self.facts.length) else { return };
        let Some((count, last)) = self.facts.previews.of_first_sheet().filter(|_| self.numbered.is_none())
        else {
            return;
        };
        let (start, end) = (last.start.seconds(), last.end.seconds());
        let rest = length.seconds() - end;
        if count >= tiles.count() as usize && rest > (end - start) / 2.0 {
            let message = format!(
                "the sheet has room for {count} previews, and {rest:.0} s are left: with a number in the name (%03d) there are more sheets"
            );
            self.facts.warn("output", message);
        }
    }
}

impl OutputSink for StillSink {
    fn prepare(&mut self, facts: &Facts) -> Result<()> {
        self.numbered = Numbered::of(&self.path).map_err(|e| Error::invalid("path", e))?;
        self.facts = facts.clone();
        if let Some(numbered) = &self.numbered {
            if facts.inputs.contains(&self.path) {
                return Err(Error::invalid("path", format!("{} is the input too", self.path)));
            }
            if let Some(taken) = numbered.taken().filter(|_| !self.overwrite) {
                let message = format!("{taken}: exists; say overwrite to replace it");
                return Err(Error::new(ErrorKind::Invalid, message).context("path"));
            }
        }
        let place = self.claim()?;
        if let Some(index) = self.tiles.as_ref().and_then(|tiles| tiles.index.as_deref()) {
            let (inputs, previews) = (&facts.inputs, facts.previews.clone());
            match Index::claim(index, inputs, self.overwrite, previews, facts.length) {
                Ok(index) => self.index = Some(index),
                Err(e) => {
                    place.discard();
                    return Err(e);
                }
            }
        }
        self.place = Some(place);
        Ok(())
    }

    fn begin(&mut self, tracks: &[TrackHeader]) -> Result<()> {
        match tracks {
            [one] if one.stream.video.is_some() => Ok(()),
            _ => Err(Error::invalid("format", "image holds one video track and nothing else")),
        }
    }

    fn write(&mut self, _: usize, packet: Packet) -> Result<Fate> {
        if self.is_done() {
            return Ok(Fate::Written);
        }
        let place = match self.place.take() {
            Some(place) => place,
            None => self.claim()?,
        };
        let put = |place: &Place| {
            let mut file = place.create()?;
            let of_film = super::png::of_film(&packet.data);
            file.write_all(of_film.as_deref().unwrap_or(&packet.data))
        };
        let mut put = put(&place).map_err(Error::from);
        if self.numbered.is_some() {
            put = put.context(|| place.target().display().to_string());
        }
        match put.and_then(|()| place.commit()) {
            Ok(path) => self.written.push(path),
            Err(e) => {
                place.discard();
                return Err(e);
            }
        }
        Ok(Fate::Written)
    }

    fn is_done(&self) -> bool {
        self.numbered.is_none() && !self.written.is_empty()
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        if let Some(unused) = self.place.take() {
            unused.discard();
        }
        self.tell_rest();
        let mut made = std::mem::take(&mut self.written);
        if let Some(index) = self.index.take() {
            made.push(index.write(&made)?);
        }
        Ok(made)
    }

    /// Every picture that has its name is whole, and may have replaced another: it stays.
    fn abort(&mut self, keep: bool) {
        if let Some(unused) = self.place.take() {
            unused.discard();
        }
        let Some(index) = self.index.take() else { return };
        if keep && !self.written.is_empty() {
            // What is kept of a job that failed is told by what failed.
            let _ = index.write(&self.written);
        } else {
            index.discard();
        }
    }
}
