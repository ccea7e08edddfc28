//! Sheets of previews: many small pictures in one, as players show them above their time line (trickplay, storyboards).

use super::numbered::Numbered;
use super::{Container, OutputSpec, PipelineSpec, STANDARD_OUTPUT, VideoChoice};
use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Previews in a row, and rows, at most.
const MOST: u32 = 100;

/// How many previews a sheet has, and what tells where each is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TilesSpec {
    /// Previews beside each other, 1 to 100.
    pub columns: u32,
    /// Rows of them, 1 to 100.
    pub rows: u32,
    /// A WebVTT file that says of each preview when it is shown and where it lies (`sheet-001.jpg#xywh=320,0,320,180`). Its
    /// names of sheets are relative to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
}

impl TilesSpec {
    /// Sheets of so many previews, without an index.
    pub fn new(columns: u32, rows: u32) -> Self {
        TilesSpec { columns, rows, index: None }
    }

    /// Previews on a full sheet.
    pub fn count(&self) -> u32 {
        self.columns.saturating_mul(self.rows)
    }

    /// The size of a sheet whose previews have this one, if a picture of `codec` can have it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] (`tiles: …`).
    pub(crate) fn sheet(&self, width: u32, height: u32, codec: &str) -> Result<(u32, u32)> {
        let (wide, high) =
            (u64::from(self.columns) * u64::from(width), u64::from(self.rows) * u64::from(height));
        // JPEG counts sides in 16 bits (ITU-T T.81, B.2.2), lossy WebP in 14 (RFC 9649, 2.5), PNG in 31.
        let most: u64 = match codec {
            "webp" => 16_383,
            "png" => (1 << 31) - 1,
            _ => 65_535,
        };
        // What FFmpeg takes for a picture at all (av_image_check_size).
        let whole = (8 * wide + 1024).saturating_mul(high + 128) < (1 << 31) - 1;
        let why = match wide > most || high > most {
            true => format!("a side of {codec} has {most} at most"),
            false if !whole => "no picture has so many".into(),
            false => return Ok((wide as u32, high as u32)),
        };
        let (columns, rows) = (self.columns, self.rows);
        let made = format!("{columns}x{rows} previews of {width}x{height} make {wide}x{high} pixels");
        Err(Error::invalid("tiles", format!("{made}, and {why}")))
    }
}

impl OutputSpec {
    /// Whether it is pictures with a number in their names, a file each.
    pub fn is_numbered(&self) -> bool {
        let path = self.path.as_deref().filter(|_| self.container() == Some(Container::Image));
        path.is_some_and(|path| Numbered::of(path).is_ok_and(|numbered| numbered.is_some()))
    }
}

/// Refuses sheets of what is no picture, and an index that is none.
pub(super) fn check(path: &str, o: &OutputSpec) -> Result<()> {
    let Some(tiles) = &o.tiles else { return Ok(()) };
    let refuse = |field: &str, message: &str| Err(Error::invalid(format!("{path}.{field}"), message));
    if o.container() != Some(Container::Image) {
        return refuse("tiles", "sheets are pictures: a path that ends as .jpg, .png or .webp");
    }
    for (name, count) in [("columns", tiles.columns), ("rows", tiles.rows)] {
        if !(1..=MOST).contains(&count) {
            return refuse(&format!("tiles.{name}"), &format!("{count} is not within 1 to {MOST}"));
        }
    }
    match &o.video {
        VideoChoice::None => return refuse("tiles", "there are no pictures to put on a sheet"),
        VideoChoice::Track(v) if v.is_copy() => {
            return refuse("tiles", "pictures that are copied cannot be put on a sheet");
        }
        _ => {}
    }
    let Some(index) = &tiles.index else { return Ok(()) };
    if o.path.as_deref() == Some(STANDARD_OUTPUT) {
        return refuse("tiles.index", "standard output has no name that it could say");
    }
    if index == STANDARD_OUTPUT {
        return refuse("tiles.index", "is a file of its own beside the sheets");
    }
    if index.is_empty() || index.ends_with('/') || index.contains('\0') {
        return refuse("tiles.index", "needs the name of a file");
    }
    if index.contains("://") {
        return refuse("tiles.index", "is written to a file");
    }
    match Container::from_path(index) {
        None | Some(Container::WebVtt) => Ok(()),
        Some(other) => {
            refuse("tiles.index", &format!("is WebVTT (.vtt), and {index} ends as {} does", other.name()))
        }
    }
}

/// Refuses an index that would be written over something else of the job.
pub(super) fn apart(spec: &PipelineSpec) -> Result<()> {
    let index = |o: &OutputSpec| o.tiles.as_ref().and_then(|t| t.index.clone());
    let indexes = spec.outputs.iter().enumerate().filter_map(|(i, o)| Some((i, index(o)?)));
    for (i, name) in indexes {
        let field = || format!("outputs[{i}].tiles.index");
        let is_picture = |o: &OutputSpec| {
            let path = o.path.as_deref().filter(|_| o.container() == Some(Container::Image));
            path.and_then(|path| Numbered::of(path).ok().flatten()).is_some_and(|n| n.has(&name))
        };
        for (other, o) in spec.outputs.iter().enumerate() {
            if o.path.as_deref() == Some(&*name) || is_picture(o) {
                return Err(Error::invalid(field(), format!("is outputs[{other}].path too")));
            }
            if other < i && index(o).as_deref() == Some(&*name) {
                return Err(Error::invalid(field(), format!("is the index of outputs[{other}] too")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(outputs: &str) -> std::result::Result<PipelineSpec, String> {
        let json = format!(r#"{{"source": {{"url": "a"}}, "outputs": [{outputs}]}}"#);
        PipelineSpec::from_json(&json).map_err(|e| e.message().to_string())
    }

    #[test]
    fn sheets_are_of_pictures() {
        let good = r#"{"path": "s-%d.jpg", "tiles": {"columns": 10, "rows": 5, "index": "p.vtt"}}"#;
        let spec = read(good).unwrap();
        assert_eq!(spec.outputs[0].tiles.as_ref().unwrap().count(), 50);
        assert!(spec.outputs[0].is_numbered());
        let again = PipelineSpec::from_json(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(spec.outputs[0].tiles, again.outputs[0].tiles);
        for (bad, said) in [
            (r#"{"path": "a.mp4", "tiles": {"columns": 2, "rows": 2}}"#, "outputs[0].tiles: sheets are"),
            (r#"{"packets": {}, "tiles": {"columns": 2, "rows": 2}}"#, "outputs[0].tiles: sheets are"),
            (
                r#"{"path": "a.jpg", "tiles": {"columns": 0, "rows": 2}}"#,
                "outputs[0].tiles.columns: 0 is not",
            ),
            (r#"{"path": "a.jpg", "tiles": {"columns": 2, "rows": 101}}"#, "outputs[0].tiles.rows: 101 is"),
            (r#"{"path": "a.jpg", "tiles": {"columns": 2}}"#, "outputs[0].tiles: missing field"),
            (r#"{"path": "a.jpg", "tiles": {"columns": 2, "rows": 2, "x": 1}}"#, "outputs[0].tiles.x"),
            (
                r#"{"path": "a.jpg", "video": {"codec": "copy"}, "tiles": {"columns": 2, "rows": 2}}"#,
                "outputs[0].tiles: pictures that are copied",
            ),
            (
                r#"{"path": "a.jpg", "video": false, "tiles": {"columns": 2, "rows": 2}}"#,
                "outputs[0].tiles: there are no",
            ),
        ] {
            let e = read(bad).expect_err(bad);
            assert!(e.starts_with(said), "{bad}: {e}");
        }
    }

    #[test]
    fn an_index_is_a_file_of_its_own() {
        for (path, index, said) in [
            ("a.jpg", "", "needs the name"),
            ("a.jpg", "previews/", "needs the name"),
            ("a.jpg", "http://h/p.vtt", "is written to a file"),
            ("a.jpg", "p.json.mp4", "is WebVTT"),
            ("a.jpg", "a.jpg", "is WebVTT"),
            ("a.jpg", "/dev/stdout", "is a file of its own"),
            ("/dev/stdout", "p.vtt", "standard output has no name"),
            ("s-%d", "s-7", "is outputs[0].path too"),
        ] {
            let e = read(&format!(
                r#"{{"path": "{path}", "format": "image", "tiles": {{"columns": 2, "rows": 2, "index": "{index}"}}}}"#
            ))
            .expect_err(index);
            assert!(e.starts_with(&format!("outputs[0].tiles.index: {said}")), "{index}: {e}");
        }
        let tiles = r#""tiles": {"columns": 2, "rows": 2, "index": "p.vtt"}"#;
        let twice = format!(r#"{{"path": "a.jpg", {tiles}}}, {{"path": "b.jpg", {tiles}}}"#);
        assert!(
            read(&twice).unwrap_err().starts_with("outputs[1].tiles.index: is the index of outputs[0] too")
        );
        let texts = format!(r#"{{"path": "a.jpg", {tiles}}}, {{"path": "p.vtt"}}"#);
        assert!(read(&texts).unwrap_err().starts_with("outputs[0].tiles.index: is outputs[1].path too"));
    }

    #[test]
    fn formats_have_a_largest_sheet() {
        let tiles = TilesSpec::new(100, 10);
        assert_eq!(tiles.sheet(320, 180, "mjpeg").unwrap(), (32_000, 1800));
        let e = tiles.sheet(320, 180, "webp").unwrap_err();
        assert!(e.message().starts_with("tiles: 100x10 previews of 320x180 make 32000x1800"), "{e}");
        assert!(tiles.sheet(700, 10, "mjpeg").is_err() && tiles.sheet(700, 10, "png").is_ok());
        // Either side fits, and so many pixels do not.
        assert!(TilesSpec::new(100, 100).sheet(320, 180, "mjpeg").is_err());
    }
}
