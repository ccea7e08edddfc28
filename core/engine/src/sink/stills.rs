//! Pictures that are a file each: the first one alone, or all, by number. What the encoders of such pictures make is the whole
//! file already.

use super::{Facts, Fate, OutputSink, Place, TrackHeader};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::packet::Packet;
use crate::spec::numbered::Numbered;
use std::io::Write;

/// Files of pictures.
pub(crate) struct StillSink {
    path: String,
    overwrite: bool,
    /// How the files are called, where there is more than one.
    numbered: Option<Numbered>,
    inputs: Vec<String>,
    /// The next file.
    place: Option<Place>,
    written: Vec<String>,
}

impl StillSink {
    pub fn new(path: &str, overwrite: bool) -> Self {
        let (numbered, inputs) = (None, Vec::new());
        StillSink { path: path.into(), overwrite, numbered, inputs, place: None, written: Vec::new() }
    }

    fn claim(&self) -> Result<Place> {
        let path = match &self.numbered {
            Some(numbered) => numbered.path(self.written.len() as u64 + 1),
            None => self.path.clone(),
        };
        super::file::claim(&path, &self.inputs, self.overwrite, false)
    }
}

impl OutputSink for StillSink {
    fn prepare(&mut self, facts: &Facts) -> Result<()> {
        self.numbered = Numbered::of(&self.path).map_err(|e| Error::invalid("path", e))?;
        self.inputs = facts.inputs.clone();
        if let Some(numbered) = &self.numbered {
            if facts.inputs.contains(&self.path) {
                return Err(Error::invalid("path", format!("{} is the input too", self.path)));
            }
            if let Some(taken) = numbered.taken().filter(|_| !self.overwrite) {
                let message = format!("{taken}: exists; say overwrite to replace it");
                return Err(Error::new(ErrorKind::Invalid, message).context("path"));
            }
        }
        self.place = Some(self.claim()?);
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
        Ok(std::mem::take(&mut self.written))
    }

    /// Every picture that has its name is whole, and may have replaced another: it stays.
    fn abort(&mut self, _keep: bool) {
        if let Some(unused) = self.place.take() {
            unused.discard();
        }
    }
}
