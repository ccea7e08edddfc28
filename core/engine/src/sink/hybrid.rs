//! Gives a finished file its name, and a fragmented one that was only fragmented for its safety an ordinary index.

use super::Place;
use super::muxed::Form;
use crate::error::Result;
use crate::package::index_fragments;
use std::fs::File;

/// Gives the finished file its name.
///
/// # Errors
/// I/O errors by name of the file.
pub(super) fn commit(form: &Form, place: &Place) -> Result<String> {
    if form.is_hybrid() {
        let indexed = File::options().read(true).write(true).open(place.working());
        let indexed = indexed.map_err(crate::Error::from).and_then(|mut file| index_fragments(&mut file));
        if let Err(e) = indexed {
            // Fragments are a whole file too.
            let shown = place.working().display();
            form.facts.warn("output", format!("{shown}: stays in fragments: {e}"));
        }
    }
    place.commit()
}
