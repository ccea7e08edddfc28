//! Static HDR metadata.

use crate::frame::{ContentLight, HdrMetadata, MasteringDisplay};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Static HDR metadata (HDR10): how the picture was mastered and how bright it is; in
/// the words in which `probe` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HdrSpec {
    /// The display that it was mastered on (SMPTE ST 2086).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mastering_display: Option<MasteringDisplaySpec>,
    /// Brightest pixel of all, cd/m² (MaxCLL, CTA-861.3); 0 = not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cll: Option<u32>,
    /// Brightest frame average of all, cd/m² (MaxFALL, CTA-861.3); 0 = not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fall: Option<u32>,
}

/// A mastering display: chromaticities as CIE 1931 `[x, y]` and luminances in cd/m².
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MasteringDisplaySpec {
    /// Red primary; P3's is `[0.68, 0.32]`.
    pub red: [f64; 2],
    /// Green primary; P3's is `[0.265, 0.69]`.
    pub green: [f64; 2],
    /// Blue primary; P3's is `[0.15, 0.06]`.
    pub blue: [f64; 2],
    /// White point; D65 is `[0.3127, 0.329]`.
    pub white: [f64; 2],
    /// The darkest that it shows.
    pub min_luminance: f64,
    /// The brightest that it shows.
    pub max_luminance: f64,
}

impl HdrSpec {
    /// The static part of `metadata`.
    pub fn of(metadata: &HdrMetadata) -> HdrSpec {
        HdrSpec {
            mastering_display: metadata.mastering.map(|m| MasteringDisplaySpec {
                red: m.primaries[0],
                green: m.primaries[1],
                blue: m.primaries[2],
                white: m.white,
                min_luminance: m.min_luminance,
                max_luminance: m.max_luminance,
            }),
            max_cll: metadata.content_light.map(|l| l.max_content),
            max_fall: metadata.content_light.map(|l| l.max_average),
        }
    }

    /// `source` with what is said here in place of its own; dynamic metadata is left as it is.
    pub fn over(&self, source: HdrMetadata) -> HdrMetadata {
        let mastering = self.mastering_display.map(|m| MasteringDisplay {
            primaries: [m.red, m.green, m.blue],
            white: m.white,
            min_luminance: m.min_luminance,
            max_luminance: m.max_luminance,
        });
        let light = source.content_light.unwrap_or(ContentLight { max_content: 0, max_average: 0 });
        let said = self.max_cll.is_some() || self.max_fall.is_some();
        let content_light = said.then(|| ContentLight {
            max_content: self.max_cll.unwrap_or(light.max_content),
            max_average: self.max_fall.unwrap_or(light.max_average),
        });
        HdrMetadata {
            mastering: mastering.or(source.mastering),
            content_light: content_light.or(source.content_light),
            ..source
        }
    }
}
