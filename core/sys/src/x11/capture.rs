//! Pictures of a screen, a monitor, a region or a window.

use super::layout::monitors_of;
use super::pointer::Pointer;
use super::segment::Ring;
use super::{Error, Kind, connect};
use crate::ffmpeg::PixelFormat;
use bytes::Bytes;
use std::sync::Arc;
use x11rb::connection::{Connection as _, RequestConnection as _};
use x11rb::protocol::Event;
use x11rb::protocol::composite::{self, ConnectionExt as _, Redirect};
use x11rb::protocol::damage::{self, ConnectionExt as _, ReportLevel};
use x11rb::protocol::randr::{self, ConnectionExt as _};
use x11rb::protocol::shm::{self, ConnectionExt as _};
use x11rb::protocol::xfixes::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{
    ChangeWindowAttributesAux, ConnectionExt as _, EventMask, ImageFormat, ImageOrder, Screen, VisualClass,
};
use x11rb::rust_connection::RustConnection;

/// What is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All monitors together.
    Screen,
    /// The monitor of that name; `None`: the primary one.
    Monitor(Option<String>),
    /// A part of the screen, in its pixels.
    Region {
        /// Left edge.
        x: i16,
        /// Upper edge.
        y: i16,
        /// Pixels.
        width: u16,
        /// Pixels.
        height: u16,
    },
    /// A window by its id, also where others cover it.
    Window(u32),
}

/// A picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Pixel format.
    pub format: PixelFormat,
    /// The rows; shared memory that the server wrote, without a copy.
    pub data: Bytes,
}

/// A rectangle of the drawable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    x: i16,
    y: i16,
    width: u16,
    height: u16,
}

/// A capture that runs. One thread at a time; may move between threads. Pictures may outlive it.
pub struct Capture {
    connection: Arc<RustConnection>,
    root: u32,
    target: Target,
    /// The root window, or a window's off-screen pixels.
    drawable: u32,
    area: Area,
    /// Where the drawable is on the screen, for the pointer.
    origin: (i32, i32),
    format: PixelFormat,
    ring: Ring,
    damage: damage::Damage,
    damaged: bool,
    moved: bool,
    pointer: Option<Pointer>,
    refresh: Option<f64>,
}

impl Capture {
    /// Begins to watch `target` on `display` (default: that of the environment). `pointer`: draw the mouse pointer.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such display, monitor or window; [`Kind::Unsupported`] when the server lacks
    /// an extension, has other pixels than 24 or 30 bits in 32, or has 30 and the pointer is asked for.
    pub fn open(display: Option<&str>, target: Target, pointer: bool) -> Result<Capture, Error> {
        let (connection, number) = connect(display)?;
        let connection = Arc::new(connection);
        let screen = connection.setup().roots[number].clone();
        let root = screen.root;
        for (name, there) in [
            ("MIT-SHM", connection.extension_information(shm::X11_EXTENSION_NAME)?.is_some()),
            ("DAMAGE", connection.extension_information(damage::X11_EXTENSION_NAME)?.is_some()),
            ("XFIXES", connection.extension_information(xfixes::X11_EXTENSION_NAME)?.is_some()),
            ("RANDR", connection.extension_information(randr::X11_EXTENSION_NAME)?.is_some()),
        ] {
            if !there {
                return Err(Error::new(Kind::Unsupported, format!("the X server has no {name}")));
            }
        }
        let version = connection.shm_query_version()?.reply()?;
        if (version.major_version, version.minor_version) < (1, 2) {
            return Err(Error::new(Kind::Unsupported, "the X server's MIT-SHM is older than 1.2"));
        }
        connection.damage_query_version(1, 1)?.reply()?;
        connection.xfixes_query_version(5, 0)?.reply()?;
        let format = format(&connection, &screen)?;
        if pointer && format != bgr0() {
            let message = format!("the pointer is not drawn into {format} pictures: capture without it");
            return Err(Error::new(Kind::Unsupported, message));
        }
        connection.randr_select_input(root, randr::NotifyMask::SCREEN_CHANGE)?.check()?;
        let watched = match target {
            Target::Window(id) => {
                let there = connection.get_geometry(id)?.reply();
                there.map_err(|_| Error::new(Kind::NotFound, format!("there is no window {id}")))?;
                if connection.extension_information(composite::X11_EXTENSION_NAME)?.is_none() {
                    return Err(Error::new(
                        Kind::Unsupported,
                        "the X server has no Composite, which windows need",
                    ));
                }
                connection.composite_query_version(0, 4)?.reply()?;
                connection.composite_redirect_window(id, Redirect::AUTOMATIC)?.check()?;
                let events = ChangeWindowAttributesAux::new().event_mask(EventMask::STRUCTURE_NOTIFY);
                connection.change_window_attributes(id, &events)?.check()?;
                id
            }
            _ => root,
        };
        let damage = connection.generate_id()?;
        connection.damage_create(damage, watched, ReportLevel::NON_EMPTY)?.check()?;
        let mut capture = Capture {
            ring: Ring::new(connection.clone()),
            connection,
            root,
            target,
            drawable: root,
            area: Area { x: 0, y: 0, width: 0, height: 0 },
            origin: (0, 0),
            format,
            damage,
            damaged: true,
            moved: true,
            pointer: pointer.then(Pointer::default),
            refresh: None,
        };
        capture.find()?;
        Ok(capture)
    }

    /// Pixels of the next picture, unless the target changes before.
    pub fn size(&self) -> (u32, u32) {
        (u32::from(self.area.width), u32::from(self.area.height))
    }

    /// Format of the pictures.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// Pictures per second of the monitor, where it is known.
    pub fn refresh(&self) -> Option<f64> {
        self.refresh
    }

    /// Whether the next picture can differ from the one before. Does not wait.
    ///
    /// # Errors
    /// [`Kind::Gone`] when the server or the window is.
    pub fn changed(&mut self) -> Result<bool, Error> {
        self.take_events()?;
        if let Some(before) = &self.pointer {
            let now = Pointer::new(self.connection.xfixes_get_cursor_image()?.reply()?);
            if !now.is_same(before) {
                self.pointer = Some(now);
                self.damaged = true;
            }
        }
        Ok(self.damaged || self.moved)
    }

    /// The target as it is now. Waits for the server only.
    ///
    /// # Errors
    /// [`Kind::Gone`] when the server or the window is; [`Kind::Memory`].
    pub fn grab(&mut self) -> Result<Picture, Error> {
        self.take_events()?;
        if self.moved {
            self.find()?;
        }
        if self.damaged {
            self.connection.damage_subtract(self.damage, x11rb::NONE, x11rb::NONE)?.ignore_error();
            self.damaged = false;
        }
        let pointer = match &self.pointer {
            Some(_) => Some(self.connection.xfixes_get_cursor_image()?),
            None => None,
        };
        let Area { x, y, width, height } = self.area;
        let stride = usize::from(width) * 4;
        let (connection, drawable) = (&self.connection, self.drawable);
        // The pointer's place on the picture.
        let at = match self.target {
            Target::Window(_) => self.origin,
            _ => (i32::from(x), i32::from(y)),
        };
        let filled = self.ring.fill(
            stride * usize::from(height),
            |segment| {
                let image = ImageFormat::Z_PIXMAP.into();
                let reply = connection.shm_get_image(drawable, x, y, width, height, !0, image, segment, 0)?;
                // Asked together, answered together.
                let pointer = pointer.map(|p| p.reply()).transpose()?.map(Pointer::new);
                reply.reply()?;
                Ok(pointer)
            },
            |picture, pointer| {
                if let Some(pointer) = pointer {
                    pointer.draw(picture, stride, at.0, at.1);
                }
            },
        );
        // A part of the screen that no longer exists, or a window that was resized just now: look again next time.
        let (data, pointer) = filled.inspect_err(|_| self.moved = true)?;
        if pointer.is_some() {
            self.pointer = pointer;
        }
        Ok(Picture { width: width.into(), height: height.into(), stride, format: self.format, data })
    }

    fn take_events(&mut self) -> Result<(), Error> {
        while let Some(event) = self.connection.poll_for_event()? {
            match event {
                Event::DamageNotify(_) => self.damaged = true,
                Event::RandrScreenChangeNotify(_) | Event::ConfigureNotify(_) | Event::MapNotify(_) => {
                    self.moved = true;
                }
                Event::DestroyNotify(e) if Target::Window(e.window) == self.target => {
                    return Err(Error::new(Kind::Gone, format!("window {} was closed", e.window)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Looks where the target is now.
    fn find(&mut self) -> Result<(), Error> {
        self.moved = false;
        self.damaged = true;
        let root = self.connection.get_geometry(self.root)?.reply()?;
        let whole = Area { x: 0, y: 0, width: root.width, height: root.height };
        self.area = match &self.target {
            Target::Screen => whole,
            Target::Monitor(name) => {
                let monitors = monitors_of(&*self.connection, self.root)?;
                let found = monitors.iter().find(|m| name.as_ref().is_none_or(|n| *n == m.name));
                let monitor = found.ok_or_else(|| {
                    let names: Vec<_> = monitors.iter().map(|m| m.name.as_str()).collect();
                    let wanted = name.as_deref().unwrap_or("primary");
                    Error::new(Kind::NotFound, format!("no monitor {wanted}; there is {}", names.join(", ")))
                })?;
                self.refresh = monitor.refresh;
                let (x, y, width, height) = (monitor.x, monitor.y, monitor.width, monitor.height);
                cut(Area { x, y, width, height }, whole)?
            }
            Target::Region { x, y, width, height } => {
                cut(Area { x: *x, y: *y, width: *width, height: *height }, whole)?
            }
            Target::Window(id) => {
                let id = *id;
                let geometry = self.connection.get_geometry(id)?.reply()?;
                let place = self.connection.translate_coordinates(id, self.root, 0, 0)?.reply()?;
                self.origin = (place.dst_x.into(), place.dst_y.into());
                if self.drawable != self.root {
                    self.connection.free_pixmap(self.drawable)?.ignore_error();
                    self.drawable = self.root;
                }
                // A hidden window has no pixels; those of before are shown again until it is back.
                let pixels = self.connection.generate_id()?;
                self.connection.composite_name_window_pixmap(id, pixels)?.check().map_err(|e| {
                    let e = Error::from(e);
                    Error::new(e.kind, format!("window {id} cannot be captured while it is hidden: {e}"))
                })?;
                self.drawable = pixels;
                let border = geometry.border_width as i16;
                Area { x: border, y: border, width: geometry.width, height: geometry.height }
            }
        };
        Ok(())
    }
}

fn bgr0() -> PixelFormat {
    PixelFormat::from_name("bgr0").unwrap_or_else(PixelFormat::yuv420p)
}

/// The part of `area` that lies in `whole`.
fn cut(area: Area, whole: Area) -> Result<Area, Error> {
    let span = |from: i16, length: u16, end: u16| {
        let first = i32::from(from).max(0);
        let last = (i32::from(from) + i32::from(length)).min(i32::from(end));
        (last > first).then_some((first as i16, (last - first) as u16))
    };
    let across = span(area.x, area.width, whole.width);
    let down = span(area.y, area.height, whole.height);
    let (Some((x, width)), Some((y, height))) = (across, down) else {
        let (w, h) = (whole.width, whole.height);
        let Area { x, y, width, height } = area;
        let message = format!("{width}x{height}+{x}+{y} lies outside the screen of {w}x{h}");
        return Err(Error::new(Kind::NotFound, message));
    };
    Ok(Area { x, y, width, height })
}

/// The name of the root window's pixels.
fn format(connection: &RustConnection, screen: &Screen) -> Result<PixelFormat, Error> {
    let setup = connection.setup();
    let visual = screen
        .allowed_depths
        .iter()
        .flat_map(|d| d.visuals.iter())
        .find(|v| v.visual_id == screen.root_visual && v.class == VisualClass::TRUE_COLOR);
    let bits = setup.pixmap_formats.iter().find(|f| f.depth == screen.root_depth).map(|f| f.bits_per_pixel);
    let masks = visual.map(|v| (v.red_mask, v.green_mask, v.blue_mask));
    let little = setup.image_byte_order == ImageOrder::LSB_FIRST;
    let name = match (bits, masks) {
        (Some(32), Some((0xff_0000, 0xff00, 0xff))) if little => "bgr0",
        (Some(32), Some((0x3ff0_0000, 0xf_fc00, 0x3ff))) if little => "x2rgb10le",
        _ => {
            let message = format!(
                "pixels of depth {} in {} bits are not captured",
                screen.root_depth,
                bits.unwrap_or(0)
            );
            return Err(Error::new(Kind::Unsupported, message));
        }
    };
    PixelFormat::from_name(name).ok_or_else(|| {
        Error::new(Kind::Unsupported, format!("this FFmpeg does not know the pixel format {name}"))
    })
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Pictures may keep the connection alive, so what it holds is given back here.
        if self.drawable != self.root
            && let Ok(sent) = self.connection.free_pixmap(self.drawable)
        {
            sent.ignore_error();
        }
        if let Ok(sent) = self.connection.damage_destroy(self.damage) {
            sent.ignore_error();
        }
        let _gone_anyway = self.connection.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_cut_to_the_screen() {
        let whole = Area { x: 0, y: 0, width: 100, height: 50 };
        let area = |x, y, width, height| Area { x, y, width, height };
        assert_eq!(cut(area(10, 10, 20, 20), whole).expect("inside"), area(10, 10, 20, 20));
        assert_eq!(cut(area(-5, 40, 20, 20), whole).expect("partly"), area(0, 40, 15, 10));
        assert!(cut(area(100, 0, 5, 5), whole).is_err());
        assert!(cut(area(0, 0, 0, 5), whole).is_err());
        assert_eq!(cut(area(i16::MIN, 0, u16::MAX, u16::MAX), whole).expect("huge"), area(0, 0, 100, 50));
    }
}
