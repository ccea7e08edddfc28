//! What encoders say of their pictures, added up.

use crate::packet::{Coding, PictureType};
use serde::Serialize;
use std::time::Duration;

/// How the pictures of a track were coded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CodingStats {
    /// Pictures that are predicted from nothing.
    pub i: u64,
    /// Pictures that are predicted from earlier ones.
    pub p: u64,
    /// Pictures that are predicted from earlier and later ones.
    pub b: u64,
    /// The quantiser on average, in the codec's own scale; absent where the encoder does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qp: Option<f64>,
    /// Seconds that the GPU had a picture, on average; absent where the encoder does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_time: Option<f64>,
    #[serde(skip)]
    quantised: u64,
    #[serde(skip)]
    timed: u64,
}

impl CodingStats {
    /// One picture more.
    pub(crate) fn count(&mut self, coding: Coding) {
        match coding.kind {
            PictureType::I => self.i += 1,
            PictureType::P => self.p += 1,
            PictureType::B => self.b += 1,
            PictureType::Unknown => {}
        }
        if let Some(qp) = coding.qp {
            average(&mut self.qp, &mut self.quantised, f64::from(qp));
        }
        if let Some(time) = coding.gpu_time.map(|t: Duration| t.as_secs_f64()) {
            average(&mut self.gpu_time, &mut self.timed, time);
        }
    }
}

fn average(value: &mut Option<f64>, count: &mut u64, next: f64) {
    *count += 1;
    let before = value.unwrap_or(0.0);
    *value = Some(before + (next - before) / *count as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_of_those_that_said_something() {
        let mut stats = CodingStats::default();
        let ms = |n| Some(Duration::from_millis(n));
        stats.count(Coding { kind: PictureType::I, qp: Some(20.0), gpu_time: ms(2) });
        stats.count(Coding { kind: PictureType::P, qp: Some(30.0), gpu_time: None });
        stats.count(Coding { kind: PictureType::B, qp: None, gpu_time: ms(4) });
        stats.count(Coding { kind: PictureType::Unknown, qp: None, gpu_time: None });
        assert_eq!((stats.i, stats.p, stats.b, stats.qp), (1, 1, 1, Some(25.0)));
        assert!((stats.gpu_time.unwrap() - 0.003).abs() < 1e-9);
        assert_eq!(serde_json::to_value(CodingStats::default()).unwrap().as_object().unwrap().len(), 3);
    }
}
