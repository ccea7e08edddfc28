//! Pictures of DMA-BUFs made YUV on their GPU.

use super::api::Handle;
use super::display::{self, Display, last};
use super::draw::{EXTERNAL, Part, Programs, Target, check};
use super::error::{Error, Result};
use crate::cuda::{Context, GlTextures, Stream};
use crate::ffmpeg::{DmaBufPicture, Frame, PixelFormat, format_of_fourcc};
use std::ffi::c_int;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::Arc;

/// Leaves the arrangement to the driver's own knowledge of the memory.
const UNKNOWN: u64 = 0x00ff_ffff_ffff_ffff;

/// Rows of a matrix: what red, green and blue from 0 to 1 weigh in a code value, and what is added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conversion {
    /// Y.
    pub luma: [f32; 4],
    /// Cb and Cr.
    pub chroma: [[f32; 4]; 2],
}

/// Reads pictures in DMA-BUFs with one GPU. `Send`; used by one thread at a time.
pub struct Importer {
    gl: Display,
    programs: Programs,
    /// Whether textures of 16 bits can be drawn to.
    deep: bool,
    name: String,
    targets: Option<Targets>,
    context: Option<Arc<Context>>,
}

/// Luma and chroma of one size, and CUDA's view of them.
struct Targets {
    width: u32,
    height: u32,
    deep: bool,
    luma: Target,
    chroma: Target,
    cuda: Option<GlTextures>,
}

/// The formats of textures with one and with two samples a texel, of 8 and of 16 bits.
const EIGHT: [u32; 2] = [0x8229, 0x822B];
const SIXTEEN: [u32; 2] = [0x822A, 0x822C];

impl Importer {
    /// On the GPU of `context`, for [`Importer::to_cuda`].
    ///
    /// # Errors
    /// `Absent` without EGL or such a device in it; `Unsupported` where its driver lacks something.
    pub fn on_cuda(context: &Arc<Context>) -> Result<Importer> {
        GlTextures::check()?;
        let mut importer = Importer::on(Display::of_cuda(context.device().ordinal)?)?;
        importer.context = Some(context.clone());
        Ok(importer)
    }

    /// On the first GPU whose driver imports DMA-BUFs, for [`Importer::to_host`].
    ///
    /// # Errors
    /// As [`Importer::on_cuda`].
    pub fn any() -> Result<Importer> {
        Importer::on(Display::any()?)
    }

    fn on(gl: Display) -> Result<Importer> {
        const EXTENSIONS: u32 = 0x1F03;
        const RENDERER: u32 = 0x1F01;
        let current = gl.enter()?;
        let api = gl.api;
        // SAFETY: the context is current; its texts live as long as it.
        let (list, name) = unsafe { ((api.gl_string)(EXTENSIONS), display::text((api.gl_string)(RENDERER))) };
        // SAFETY: as above.
        let has = |extension| unsafe { super::api::has(list, extension) };
        if let Some(lacks) = ["GL_OES_EGL_image", "GL_OES_EGL_image_external_essl3"].iter().find(|e| !has(e))
        {
            return Err(Error::unsupported(format!("{name} has no {lacks}")));
        }
        let deep = has("GL_EXT_texture_norm16");
        let programs = Programs::new(api)?;
        drop(current);
        Ok(Importer { gl, programs, deep, name, targets: None, context: None })
    }

    /// What the driver calls the GPU.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The RGB formats that it reads (DRM's four letters) with the arrangements that it knows of each, to be offered to
    /// whoever makes the pictures. None where the driver does not tell.
    pub fn formats(&self) -> Vec<(u32, Vec<u64>)> {
        let (api, display) = (self.gl.api, self.gl.display);
        if !self.gl.modifiers {
            return Vec::new();
        }
        let mut codes = [0; 256];
        let mut count = 0;
        // SAFETY: a live display that has the extension; room for as many as is said.
        if unsafe { (api.dmabuf_formats)(display, codes.len() as c_int, codes.as_mut_ptr(), &mut count) } == 0
        {
            return Vec::new();
        }
        let count = usize::try_from(count).unwrap_or(0).min(codes.len());
        let known = codes[..count].iter().filter(|code| is_rgb(code.cast_unsigned()));
        let with = known.map(|code| {
            let (mut list, mut only, mut count) = ([0u64; 128], [0u32; 128], 0);
            let room = list.len() as c_int;
            // SAFETY: as above; both lists have that room.
            let told = unsafe {
                (api.dmabuf_modifiers)(display, *code, room, list.as_mut_ptr(), only.as_mut_ptr(), &mut count)
            };
            let count = if told == 0 { 0 } else { usize::try_from(count).unwrap_or(0).min(list.len()) };
            (code.cast_unsigned(), list[..count].to_vec())
        });
        with.filter(|(_, modifiers)| !modifiers.is_empty()).collect()
    }

    /// Makes `picture`, which is in a DMA-BUF, the picture of `to`: an `nv12` or `p010le` frame of the same size in the
    /// context that this was made for, by way of `stream`. The DMA-BUF may be used again at once; `to` is ready behind
    /// what `stream` has queued.
    ///
    /// # Errors
    /// `Unsupported` for a format or an arrangement that the driver does not import; `Invalid` for frames that do not go
    /// together; what the drivers say.
    pub fn to_cuda(
        &mut self,
        picture: &Frame,
        to: &mut Frame,
        stream: &Stream,
        how: &Conversion,
    ) -> Result<()> {
        let context =
            self.context.clone().ok_or_else(|| Error::invalid("this importer is for host memory"))?;
        let format = to.hw_frames().map_or(PixelFormat::NONE, |pool| pool.host_format());
        if !to.is_in_cuda(&context) {
            return Err(Error::invalid("the frame to write is not in the importer's CUDA context"));
        }
        let size = (to.width(), to.height());
        let _current = self.gl.enter()?;
        draw_all(&self.gl, &self.programs, self.deep, &mut self.targets, picture, (format, size), how)?;
        let Some(targets) = &mut self.targets else { return Err(Error::failed("nothing was drawn")) };
        let cuda = match &mut targets.cuda {
            Some(cuda) => cuda,
            none => {
                let textures = [targets.luma.texture, targets.chroma.texture];
                // SAFETY: the context of both is current; they are given up before they are deleted, in `discard`.
                none.insert(unsafe { GlTextures::register(&context, &textures) }?)
            }
        };
        // SAFETY: the textures' context is current on this thread.
        unsafe { cuda.copy(stream, &mut to.device_planes_mut()?) }?;
        Ok(())
    }

    /// As [`Importer::to_cuda`], to an `nv12` or `p010le` frame in host memory.
    ///
    /// # Errors
    /// As [`Importer::to_cuda`].
    pub fn to_host(&mut self, picture: &Frame, to: &mut Frame, how: &Conversion) -> Result<()> {
        let (format, size) = (to.format(), (to.width(), to.height()));
        let strides = [to.stride(0), to.stride(1)];
        let _current = self.gl.enter()?;
        draw_all(&self.gl, &self.programs, self.deep, &mut self.targets, picture, (format, size), how)?;
        let Some(targets) = &self.targets else { return Err(Error::failed("nothing was drawn")) };
        let mut planes = to.planes_mut().ok_or_else(|| Error::invalid("the frame to write is shared"))?;
        let size = if targets.deep { 2 } else { 1 };
        for (i, target) in [&targets.luma, &targets.chroma].into_iter().enumerate() {
            let plane = planes.get_mut(i).ok_or_else(|| Error::invalid("a frame of one plane"))?;
            target.read(self.gl.api, (i + 1, size), strides[i], plane)?;
        }
        Ok(())
    }
}

fn is_rgb(fourcc: u32) -> bool {
    let format = format_of_fourcc(fourcc);
    format.and_then(|f| f.descriptor()).is_some_and(|d| d.is_rgb)
}

/// Draws luma and chroma of `picture`; the context is current. When it returns, the DMA-BUF was read.
fn draw_all(
    gl: &Display,
    programs: &Programs,
    can_be_deep: bool,
    targets: &mut Option<Targets>,
    picture: &Frame,
    (format, (width, height)): (PixelFormat, (u32, u32)),
    how: &Conversion,
) -> Result<()> {
    let api = gl.api;
    let about = picture.dmabuf().ok_or_else(|| Error::invalid("a picture that is in no DMA-BUF"))?;
    let deep = match format.name() {
        "nv12" => false,
        "p010le" => true,
        _ => return Err(Error::invalid(format!("pictures are made nv12 or p010le here, not {format}"))),
    };
    if deep && !can_be_deep {
        return Err(Error::unsupported("OpenGL draws no textures of 16 bits here"));
    }
    let [left, top, w, h] = about.crop;
    if (w, h) != (width, height) {
        return Err(Error::invalid(format!("a picture of {w}x{h} for a frame of {width}x{height}")));
    }
    if !is_rgb(about.fourcc) {
        let letters = about.fourcc.to_le_bytes();
        let name = String::from_utf8_lossy(&letters);
        return Err(Error::unsupported(format!("DMA-BUFs of the format {name} are not read by the GPU")));
    }
    let fits = targets.as_ref().is_some_and(|t| (t.width, t.height, t.deep) == (width, height, deep));
    if !fits {
        discard(gl, targets.take());
        let [one, two] = if deep { SIXTEEN } else { EIGHT };
        let luma = Target::new(api, one, width, height)?;
        let chroma =
            Target::new(api, two, width.div_ceil(2), height.div_ceil(2)).inspect_err(|_| luma.delete(api))?;
        *targets = Some(Targets { width, height, deep, luma, chroma, cuda: None });
    }
    let Some(to) = targets else { return Err(Error::failed("there is nothing to draw to")) };
    let image = Image::new(gl, &about)?;
    let part = Part { left, top, width, height };
    // A step of ten bits is one of 64 of sixteen.
    let unit = if deep { 64.0 / 65535.0 } else { 1.0 / 255.0 };
    programs.luma(api, &part, how.luma, unit, &to.luma)?;
    programs.chroma(api, &part, how.chroma, unit, &to.chroma)?;
    // SAFETY: the context is current. Whoever owns the memory may write to it as soon as this function is left.
    unsafe { (api.gl_finish)() };
    drop(image);
    check(api, "draw a picture")
}

/// A DMA-BUF as a texture, bound while it lives.
struct Image<'a> {
    gl: &'a Display,
    image: Handle,
    texture: u32,
}

impl<'a> Image<'a> {
    fn new(gl: &'a Display, about: &DmaBufPicture<'_>) -> Result<Image<'a>> {
        const DMA_BUF: u32 = 0x3270;
        let api = gl.api;
        let mut list = vec![0x3057, about.width as c_int, 0x3056, about.height as c_int];
        list.extend([0x3271, about.fourcc.cast_signed()]);
        let with_modifier = about.modifier != UNKNOWN;
        if with_modifier && !gl.modifiers && about.modifier != 0 {
            return Err(Error::unsupported("the GPU's EGL takes no modifiers of DMA-BUFs"));
        }
        for (i, (fd, offset, pitch)) in about.planes.iter().enumerate() {
            let Some(names) = PLANES.get(i) else { break };
            let [descriptor, start, distance, low, high] = *names;
            list.extend([descriptor, fd.as_raw_fd()]);
            list.extend([start, offset.cast_signed(), distance, pitch.cast_signed()]);
            if with_modifier && gl.modifiers {
                list.extend([low, (about.modifier as u32).cast_signed()]);
                list.extend([high, ((about.modifier >> 32) as u32).cast_signed()]);
            }
        }
        list.push(0x3038);
        // SAFETY: a live display with the extension, no client buffer, a terminated list; descriptors are not kept.
        let image = unsafe { (api.create_image)(gl.display, null_mut(), DMA_BUF, null_mut(), list.as_ptr()) };
        if image.is_null() {
            return Err(Error::unsupported(format!(
                "the GPU does not import a DMA-BUF of {}x{} with the modifier {:#x}: {}",
                about.width,
                about.height,
                about.modifier,
                last(api)
            )));
        }
        let mut texture = 0;
        // SAFETY: the context is current; the image is live.
        unsafe {
            (api.gen_textures)(1, &mut texture);
            (api.bind_texture)(EXTERNAL, texture);
            // Nothing is mixed.
            for name in [0x2801, 0x2800] {
                (api.texture_parameter)(EXTERNAL, name, 0x2600);
            }
            (api.texture_of_image)(EXTERNAL, image);
        }
        let bound = Image { gl, image, texture };
        check(api, "use a DMA-BUF as a texture")?;
        Ok(bound)
    }
}

/// EGL's names of a plane's descriptor, offset, pitch and two halves of the modifier.
const PLANES: [[c_int; 5]; 4] = [
    [0x3272, 0x3273, 0x3274, 0x3443, 0x3444],
    [0x3275, 0x3276, 0x3277, 0x3445, 0x3446],
    [0x3278, 0x3279, 0x327A, 0x3447, 0x3448],
    [0x3440, 0x3441, 0x3442, 0x3449, 0x344A],
];

impl Drop for Image<'_> {
    fn drop(&mut self) {
        let api = self.gl.api;
        // SAFETY: ours, once; the context is current for as long as this lives.
        unsafe {
            (api.bind_texture)(EXTERNAL, 0);
            (api.delete_textures)(1, &self.texture);
            (api.destroy_image)(self.gl.display, self.image);
        }
    }
}

/// Frees what was drawn to; the context is current.
fn discard(gl: &Display, targets: Option<Targets>) {
    let Some(targets) = targets else { return };
    // CUDA lets go of the textures first.
    drop(targets.cuda);
    targets.luma.delete(gl.api);
    targets.chroma.delete(gl.api);
}

impl Drop for Importer {
    fn drop(&mut self) {
        if let Ok(_current) = self.gl.enter() {
            discard(&self.gl, self.targets.take());
            self.programs.delete(self.gl.api);
        } else {
            // CUDA may let go of the textures only while their context is current: kept for ever is the lesser evil.
            std::mem::forget(self.targets.take());
        }
    }
}

impl std::fmt::Debug for Importer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Importer({})", self.name)
    }
}
