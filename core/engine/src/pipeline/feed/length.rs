//! Whether all of the source came that its container says there is.

use super::Feed;
use crate::error::{Error, ErrorKind, Result};
use crate::job::shared::Shared;
use crate::pipeline::input::Length;
use crate::source::whole;
use crate::time::Timestamp;

/// Whether what ends at `reached` is cut short, by a container that says `expected`: some are not exact.
fn is_short(reached: f64, expected: f64) -> bool {
    expected - reached > (expected * 0.1).max(2.0)
}

impl Feed {
    /// An MP4 in fragments has no list of all: what is missing is what its last fragment lists, as in one whose recorder died, or
    /// what its other boxes say.
    pub(super) fn check_fragments(&mut self, shared: &Shared, reached_us: i64) -> Result<()> {
        let reached = reached_us as f64 / 1e6;
        if self.end.is_some_and(|end| reached >= end.seconds()) {
            return Ok(());
        }
        let Some(container) = self.packets.container().filter(|c| c.format_name().starts_with("mov")) else {
            return Ok(());
        };
        let missing =
            self.streams.iter().enumerate().filter(|(_, s)| s.in_pieces && !s.routes.is_empty()).filter_map(
                |(i, s)| {
                    let listed = container.index(i).last()?.0;
                    let lost = listed - s.last.unwrap_or(0);
                    (s.last.is_none_or(|last| listed > last)).then(|| Timestamp::new(lost, s.base).seconds())
                },
            );
        let lost = missing.max_by(f64::total_cmp);
        let whole = self.look(usize::MAX).unwrap_or_default();
        let length = whole.length.map_or(0.0, |length| length.seconds() - self.start);
        match (lost, whole.missing) {
            (Some(lost), _) => {
                self.truncated(shared, &format!("it ends within a fragment, which lists {lost:.1} s more"))
            }
            (None, Some(missing)) => self.truncated(shared, &missing),
            // It is that of the longest.
            (None, None) if self.all && is_short(reached, length) => {
                self.truncated(shared, &format!("its fragments end at {reached:.1} s of {length:.1} s"))
            }
            (None, None) => Ok(()),
        }
    }

    /// What a file in fragments says of itself.
    pub(super) fn look(&mut self, boxes: usize) -> Option<whole::Whole> {
        let container = self.packets.container()?;
        let file = self.file.as_ref().filter(|_| container.format_name().starts_with("mov"))?;
        // Whoever reads it says when it cannot be read.
        whole::look(file, boxes).ok().flatten()
    }

    /// The source is cut short: an error, unless what is there is wanted.
    pub(super) fn truncated(&mut self, shared: &Shared, why: &str) -> Result<()> {
        let message = format!("{}: is truncated: {why}", self.label);
        // What came once and cannot be had again is worth more than nothing.
        let once = self.file.is_none() && self.packets.container().is_none_or(|c| !c.is_seekable());
        if self.salvage || self.part || once {
            shared.warn("source", message);
            return Ok(());
        }
        Err(Error::new(ErrorKind::Format, format!("{message} (salvage takes what is there)")))
    }

    /// A file that ends well before its container's length was cut.
    pub(super) fn check_length(&mut self, shared: &Shared, reached_us: i64) -> Result<()> {
        let Some(Length { time, certain }) = self.expected else { return Ok(()) };
        let (expected, reached) = (time.seconds(), reached_us as f64 / 1e6);
        if !is_short(reached, expected) || self.end.is_some_and(|e| reached >= e.seconds()) {
            return Ok(());
        }
        if !certain {
            if let Some(missing) = self.file.as_ref().and_then(|file| whole::lacks(file).ok().flatten()) {
                return self.truncated(shared, &missing);
            }
            // A file of Matroska says itself how many bytes it has.
            let says = self.packets.container().is_some_and(|c| c.format_name().starts_with("matroska"));
            if self.file.is_none() || !says {
                let why = "it is truncated, or what is not taken lasts longer";
                shared.warn(
                    "source",
                    format!("{}: ends at {reached:.1} s of {expected:.1} s: {why}", self.label),
                );
            }
            return Ok(());
        }
        let message = format!("{}: ends at {reached:.1} s of {expected:.1} s: truncated", self.label);
        if self.salvage {
            shared.warn("source", message);
            return Ok(());
        }
        Err(Error::new(ErrorKind::Format, format!("{message} (salvage takes what is there)")))
    }
}
