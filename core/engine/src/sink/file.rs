//! Files and push URLs, written by FFmpeg's muxers.

use super::muxed::{Form, Muxed, Target};
use super::{Facts, Fate, OutputSink, Place, TrackHeader, hybrid, rotation};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::packet::Packet;
use crate::spec::{Container, OutputSpec};
use ghoststream_sys::ffmpeg as av;
use std::path::Path;

/// A file (or a URL that FFmpeg writes to).
pub(crate) struct FileSink {
    form: Form,
    path: String,
    interrupt: av::Interrupt,
    place: Option<Place>,
    muxed: Option<Muxed>,
    /// Writing did not work: what is there is all that there will be.
    broken: bool,
}

impl FileSink {
    pub fn new(spec: &OutputSpec, path: &str, container: Container, interrupt: av::Interrupt) -> Self {
        let form = Form { spec: spec.clone(), container, facts: Facts::default(), safe: false };
        FileSink { form, path: path.into(), interrupt, place: None, muxed: None, broken: false }
    }

    fn is_url(&self) -> bool {
        self.path.contains("://")
    }
}

/// Claims `path`, unless it is one of `inputs`; see [`Place::claim`].
pub(super) fn claim(path: &str, inputs: &[String], overwrite: bool, direct: bool) -> Result<Place> {
    if is_input(Path::new(path), inputs) {
        return Err(Error::invalid("path", format!("{path} is the input too")));
    }
    Place::claim(Path::new(path), overwrite, direct).context(|| "path")
}

/// Whether `path` is the same file as one of `inputs`.
pub(super) fn is_input(path: &Path, inputs: &[String]) -> bool {
    let Ok(target) = std::fs::canonicalize(path) else { return false };
    inputs.iter().any(|input| std::fs::canonicalize(input).is_ok_and(|input| input == target))
}

impl OutputSink for FileSink {
    fn prepare(&mut self, facts: &Facts) -> Result<()> {
        self.form.facts = facts.clone();
        if self.is_url() {
            return Ok(());
        }
        self.form.safe = facts.is_safe(&self.form.spec, self.form.container);
        // Such files are whole at every moment, so they may grow under their own name.
        let direct = self.form.spec.fragmented || self.form.safe;
        self.place = Some(claim(&self.path, &facts.inputs, self.form.spec.overwrite, direct)?);
        Ok(())
    }

    fn begin(&mut self, tracks: &[TrackHeader]) -> Result<()> {
        rotation::tell(self.form.container, &self.form.facts, tracks);
        self.muxed = Some(match &self.place {
            Some(place) => Muxed::open(&self.form, Target::File(&place.working().to_string_lossy()), tracks)?,
            None => Muxed::open(&self.form, Target::Url(&self.path, self.interrupt.clone()), tracks)?,
        });
        Ok(())
    }

    fn write(&mut self, track: usize, packet: Packet) -> Result<Fate> {
        let Some(muxed) = &mut self.muxed else {
            return Err(Error::new(ErrorKind::Internal, "a packet before the header"));
        };
        muxed.write(track, packet).inspect_err(|_| self.broken = true)
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        let Some(muxed) = self.muxed.take() else {
            return Err(Error::new(ErrorKind::Internal, "an output that was never begun"));
        };
        let result = muxed.finish();
        match (result, &self.place) {
            (Ok(()), Some(place)) => Ok(vec![hybrid::commit(&self.form, place)?]),
            (Ok(()), None) => Ok(vec![self.form.spec.label()]),
            (Err(e), _) => {
                self.broken = true;
                Err(e)
            }
        }
    }

    fn abort(&mut self, keep: bool) {
        let muxed = self.muxed.take();
        let Some(place) = &self.place else { return };
        // A recording that the disk had no more room for is still a recording.
        let keep = keep || self.broken && self.form.safe;
        match muxed {
            Some(muxed) if keep => {
                // Whatever can be completed is; what cannot stays under its working name.
                if muxed.finish().is_ok() {
                    let _ = hybrid::commit(&self.form, place);
                }
            }
            None if self.broken && keep => {}
            muxed => {
                drop(muxed);
                place.discard();
            }
        }
    }
}
