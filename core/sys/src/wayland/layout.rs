//! What monitors there are and where they stand.

use wayland_client::protocol::wl_output::{Transform, WlOutput};

/// A monitor.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    /// Its name, as the compositor's configuration calls it (`DP-1`).
    pub name: String,
    /// Maker and model, where the compositor says them.
    pub description: String,
    /// Left edge in the compositor's layout, logical pixels.
    pub x: i32,
    /// Upper edge.
    pub y: i32,
    /// Logical pixels.
    pub width: u32,
    /// Logical pixels.
    pub height: u32,
    /// Pixels of its pictures, upright.
    pub pixels: (u32, u32),
    /// Pictures per second, where it is known.
    pub refresh: Option<f64>,
}

/// A monitor as far as the compositor has described it.
#[derive(Debug)]
pub(super) struct Output {
    /// The global's number.
    pub global: u32,
    pub proxy: WlOutput,
    pub name: Option<String>,
    pub description: String,
    position: (i32, i32),
    logical_position: Option<(i32, i32)>,
    logical_size: Option<(u32, u32)>,
    mode: (u32, u32),
    refresh: i32,
    scale: u32,
    pub transform: Transform,
}

impl Output {
    pub fn new(global: u32, proxy: WlOutput) -> Output {
        Output {
            global,
            proxy,
            name: None,
            description: String::new(),
            position: (0, 0),
            logical_position: None,
            logical_size: None,
            mode: (0, 0),
            refresh: 0,
            scale: 1,
            transform: Transform::Normal,
        }
    }

    pub fn geometry(&mut self, x: i32, y: i32, transform: Transform) {
        self.position = (x, y);
        self.transform = transform;
    }

    pub fn mode(&mut self, width: i32, height: i32, refresh: i32) {
        self.mode = (width.unsigned_abs(), height.unsigned_abs());
        self.refresh = refresh;
    }

    pub fn scale(&mut self, factor: i32) {
        self.scale = factor.unsigned_abs().max(1);
    }

    pub fn logical_position(&mut self, x: i32, y: i32) {
        self.logical_position = Some((x, y));
    }

    pub fn logical_size(&mut self, width: i32, height: i32) {
        self.logical_size = Some((width.unsigned_abs(), height.unsigned_abs()));
    }

    /// Pictures per second, where it is known.
    pub fn refresh(&self) -> Option<f64> {
        (self.refresh > 0).then(|| f64::from(self.refresh) / 1000.0)
    }

    /// What it is called; compositors that are too old to say so get a number.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("output-{}", self.global))
    }

    pub fn monitor(&self) -> Monitor {
        let pixels =
            if super::turn::is_sideways(self.transform) { (self.mode.1, self.mode.0) } else { self.mode };
        let (x, y) = self.logical_position.unwrap_or(self.position);
        let logical = (pixels.0 / self.scale, pixels.1 / self.scale);
        let (width, height) = self.logical_size.unwrap_or(logical);
        Monitor {
            name: self.label(),
            description: self.description.clone(),
            x,
            y,
            width,
            height,
            pixels,
            refresh: self.refresh(),
        }
    }
}

/// A rectangle in logical pixels of a monitor, from its upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Part {
    /// What of a rectangle of the layout lies on `monitor`.
    pub fn on(monitor: &Monitor, x: i32, y: i32, width: u32, height: u32) -> Option<Part> {
        let span = |from: i32, length: u32, begin: i32, size: u32| {
            let first = (i64::from(from) - i64::from(begin)).max(0);
            let last = (i64::from(from) + i64::from(length) - i64::from(begin)).min(i64::from(size));
            let (first, length) = (u32::try_from(first).ok()?, u32::try_from(last - first).ok()?);
            (length > 0).then_some((first, length))
        };
        let (x, width) = span(x, width, monitor.x, monitor.width)?;
        let (y, height) = span(y, height, monitor.y, monitor.height)?;
        Some(Part { x, y, width, height })
    }

    /// In pixels of a picture of `pixels` that shows `monitor`: left, top, width, height.
    pub fn in_pixels(self, monitor: &Monitor, pixels: (u32, u32)) -> (u32, u32, u32, u32) {
        let to = |at: u32, logical: u32, real: u32| {
            let at = u64::from(at) * u64::from(real) / u64::from(logical.max(1));
            u32::try_from(at).unwrap_or(real).min(real)
        };
        let (left, right) = (
            to(self.x, monitor.width, pixels.0),
            to(self.x.saturating_add(self.width), monitor.width, pixels.0),
        );
        let (top, bottom) = (
            to(self.y, monitor.height, pixels.1),
            to(self.y.saturating_add(self.height), monitor.height, pixels.1),
        );
        (left, top, (right - left).max(1), (bottom - top).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(x: i32, width: u32, pixels: u32) -> Monitor {
        Monitor {
            name: "M".into(),
            description: String::new(),
            x,
            y: 0,
            width,
            height: 100,
            pixels: (pixels, 100),
            refresh: None,
        }
    }

    #[test]
    fn a_region_is_cut_to_a_monitor() {
        let m = monitor(100, 200, 200);
        assert_eq!(Part::on(&m, 150, 10, 50, 20), Some(Part { x: 50, y: 10, width: 50, height: 20 }));
        assert_eq!(Part::on(&m, 50, -10, 80, 20), Some(Part { x: 0, y: 0, width: 30, height: 10 }));
        assert_eq!(Part::on(&m, 290, 90, 80, 20), Some(Part { x: 190, y: 90, width: 10, height: 10 }));
        assert_eq!(Part::on(&m, 0, 0, 100, 20), None);
        assert_eq!(
            Part::on(&m, i32::MIN, 0, u32::MAX, 20),
            Some(Part { x: 0, y: 0, width: 200, height: 20 })
        );
        assert_eq!(Part::on(&m, i32::MAX, 0, u32::MAX, 20), None);
    }

    #[test]
    fn logical_pixels_are_scaled() {
        let m = monitor(0, 200, 300);
        let part = Part { x: 50, y: 10, width: 50, height: 20 };
        assert_eq!(part.in_pixels(&m, (300, 100)), (75, 10, 75, 20));
    }
}
