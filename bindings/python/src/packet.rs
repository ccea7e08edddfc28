//! Coded packets.

use crate::region::Region;
use ghoststream::packet::{Packet as EnginePacket, PictureType};
use pyo3::prelude::*;

/// One coded access unit.
#[pyclass(frozen, module = "ghoststream._native")]
pub struct Packet {
    packet: EnginePacket,
}

impl Packet {
    /// Wraps a packet of the engine.
    pub fn new(packet: EnginePacket) -> Packet {
        Packet { packet }
    }
}

#[pymethods]
impl Packet {
    /// The payload.
    fn region(&self) -> Region {
        Region::of_bytes(self.packet.data.clone())
    }

    #[getter]
    fn size(&self) -> usize {
        self.packet.data.len()
    }

    #[getter]
    fn pts(&self) -> Option<i64> {
        self.packet.pts
    }

    #[getter]
    fn dts(&self) -> Option<i64> {
        self.packet.dts
    }

    #[getter]
    fn duration(&self) -> i64 {
        self.packet.duration
    }

    #[getter]
    fn time_base(&self) -> (i32, i32) {
        (self.packet.base.num, self.packet.base.den)
    }

    #[getter]
    fn is_keyframe(&self) -> bool {
        self.packet.key
    }

    /// `I`, `P` or `B`.
    #[getter]
    fn picture_type(&self) -> Option<&'static str> {
        match self.packet.coding?.kind {
            PictureType::Unknown => None,
            PictureType::I => Some("I"),
            PictureType::P => Some("P"),
            PictureType::B => Some("B"),
        }
    }

    #[getter]
    fn qp(&self) -> Option<f32> {
        self.packet.coding?.qp
    }

    /// Seconds.
    #[getter]
    fn gpu_time(&self) -> Option<f64> {
        Some(self.packet.coding?.gpu_time?.as_secs_f64())
    }

    #[getter]
    fn stream(&self) -> usize {
        self.packet.stream
    }
}
