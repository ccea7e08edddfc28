//! Covers in Ogg: a comment that holds the block which FLAC has for them.

use super::Attachment;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The comment with the cover `a` (<https://wiki.xiph.org/VorbisComment#Cover_art>); its block is FLAC's PICTURE (RFC 9639, 8.8).
pub(super) fn cover(a: &Attachment) -> Option<(String, String)> {
    /// What the picture is, where nothing else is said: RFC 9639, table 13.
    const FRONT_COVER: u32 = 3;
    /// Bits of a pixel, which nobody looks at.
    const DEPTH: u32 = 24;
    let (width, height) = a.picture?;
    let said = |key: &str| a.tags.iter().find(|(k, _)| k == key).map_or("", |(_, value)| value.as_str());
    let kind = kind_of(said("comment")).unwrap_or(FRONT_COVER);
    let mut block = kind.to_be_bytes().to_vec();
    let mut put = |bytes: &[u8]| {
        block.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        block.extend(bytes);
    };
    put(a.mime.as_bytes());
    put(said("title").as_bytes());
    for number in [width, height, DEPTH, 0] {
        block.extend(number.to_be_bytes());
    }
    block.extend(u32::try_from(a.data.len()).ok()?.to_be_bytes());
    block.extend(&a.data[..]);
    Some(("METADATA_BLOCK_PICTURE".into(), STANDARD.encode(block)))
}

/// The number of what FFmpeg's demuxers say that a picture is (`ff_id3v2_picture_types`, in ID3v2's order, which is FLAC's).
fn kind_of(said: &str) -> Option<u32> {
    let names = ["Other", "32x32 pixels 'file icon'", "Other file icon", "Cover (front)", "Cover (back)"];
    names.iter().position(|name| *name == said).and_then(|n| u32::try_from(n).ok())
}
