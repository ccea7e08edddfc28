//! The drawing: one pass makes luma, one chroma.

use super::api::Api;
use super::display::text;
use super::error::{Error, Result};
use std::ffi::{CStr, CString, c_char, c_int};

const VERTEX: u32 = 0x8B31;
const FRAGMENT: u32 = 0x8B30;
const FRAMEBUFFER: u32 = 0x8D40;
const TEXTURE_2D: u32 = 0x0DE1;
/// Where an imported picture is bound: arrangements that only this kind of texture reads are imported too.
pub(super) const EXTERNAL: u32 = 0x8D65;

/// A triangle that covers everything.
const CORNERS: &str = "#version 300 es
void main() {
    gl_Position = vec4(float((gl_VertexID & 1) * 4 - 1), float((gl_VertexID & 2) * 2 - 1), 0.0, 1.0);
}
";

/// `corner` and `last` are the first and the last texel to be seen. A row of a matrix times RGB, and its fourth, is a code
/// value; `unit` is what one step of it is in a texture.
const HEAD: &str = "#version 300 es
#extension GL_OES_EGL_image_external_essl3 : require
precision highp float;
precision highp int;
uniform highp samplerExternalOES picture;
uniform ivec2 corner;
uniform ivec2 last;
uniform float unit;
vec3 at(ivec2 place) { return texelFetch(picture, clamp(place, corner, last), 0).rgb; }
float code(vec4 row, vec3 rgb) { return floor(dot(row.xyz, rgb) + row.w + 0.5) * unit; }
";

const LUMA: &str = "uniform vec4 luma;
out highp float sample_;
void main() {
    sample_ = code(luma, at(corner + ivec2(gl_FragCoord.xy)));
}
";

/// A chroma sample lies on the left one of its four pixels, between the rows.
const CHROMA: &str = "uniform vec4 first;
uniform vec4 second;
out highp vec2 samples;
void main() {
    ivec2 place = corner + 2 * ivec2(gl_FragCoord.xy);
    vec3 sum = vec3(0.0);
    for (int y = 0; y < 2; y++) {
        sum += at(place + ivec2(-1, y)) + 2.0 * at(place + ivec2(0, y)) + at(place + ivec2(1, y));
    }
    samples = vec2(code(first, sum / 8.0), code(second, sum / 8.0));
}
";

/// The two programs.
pub(super) struct Programs {
    luma: u32,
    chroma: u32,
}

/// What of a picture is drawn.
pub(super) struct Part {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

/// A texture to draw into.
pub(super) struct Target {
    pub texture: u32,
    framebuffer: u32,
    width: u32,
    height: u32,
}

fn place(api: &Api, program: u32, name: &CStr) -> c_int {
    // SAFETY: a linked program and a terminated name.
    unsafe { (api.uniform_place)(program, name.as_ptr()) }
}

impl Programs {
    /// Compiles them; the context is current.
    pub fn new(api: &Api) -> Result<Programs> {
        let luma = program(api, LUMA)?;
        match program(api, CHROMA) {
            Ok(chroma) => Ok(Programs { luma, chroma }),
            Err(e) => {
                // SAFETY: ours, once.
                unsafe { (api.delete_program)(luma) };
                Err(e)
            }
        }
    }

    /// Draws the imported picture that is bound; `unit` is one code value's step in the target.
    pub fn luma(&self, api: &Api, part: &Part, row: [f32; 4], unit: f32, to: &Target) -> Result<()> {
        self.draw(api, self.luma, part, &[(c"luma", row)], unit, to)
    }

    /// As [`Programs::luma`], half as wide and high.
    pub fn chroma(&self, api: &Api, part: &Part, rows: [[f32; 4]; 2], unit: f32, to: &Target) -> Result<()> {
        self.draw(api, self.chroma, part, &[(c"first", rows[0]), (c"second", rows[1])], unit, to)
    }

    fn draw(
        &self,
        api: &Api,
        program: u32,
        part: &Part,
        rows: &[(&CStr, [f32; 4])],
        unit: f32,
        to: &Target,
    ) -> Result<()> {
        const DITHER: u32 = 0x0BD0;
        const TRIANGLES: u32 = 4;
        let last = ((part.left + part.width - 1) as c_int, (part.top + part.height - 1) as c_int);
        // SAFETY: the context is current, its objects are live, and no arrays are read.
        unsafe {
            (api.gl_disable)(DITHER);
            (api.bind_framebuffer)(FRAMEBUFFER, to.framebuffer);
            (api.viewport)(0, 0, to.width as c_int, to.height as c_int);
            (api.use_program)(program);
            (api.uniform_2i)(place(api, program, c"corner"), part.left as c_int, part.top as c_int);
            (api.uniform_2i)(place(api, program, c"last"), last.0, last.1);
            (api.uniform_1f)(place(api, program, c"unit"), unit);
            for (name, [r, g, b, offset]) in rows {
                (api.uniform_4f)(place(api, program, name), *r, *g, *b, *offset);
            }
            (api.draw_arrays)(TRIANGLES, 0, 3);
        }
        check(api, "draw a picture")
    }

    /// Frees them; the context is current.
    pub fn delete(&self, api: &Api) {
        // SAFETY: ours, once.
        unsafe {
            (api.delete_program)(self.luma);
            (api.delete_program)(self.chroma);
        }
    }
}

impl Target {
    /// A texture of the sized format `kind`; the context is current.
    pub fn new(api: &Api, kind: u32, width: u32, height: u32) -> Result<Target> {
        const COLOUR: u32 = 0x8CE0;
        const COMPLETE: u32 = 0x8CD5;
        let (mut texture, mut framebuffer) = (0, 0);
        // SAFETY: the context is current; objects are made in it.
        let status = unsafe {
            (api.gen_textures)(1, &mut texture);
            (api.bind_texture)(TEXTURE_2D, texture);
            (api.texture_storage)(TEXTURE_2D, 1, kind, width as c_int, height as c_int);
            (api.gen_framebuffers)(1, &mut framebuffer);
            (api.bind_framebuffer)(FRAMEBUFFER, framebuffer);
            (api.framebuffer_texture)(FRAMEBUFFER, COLOUR, TEXTURE_2D, texture, 0);
            (api.framebuffer_status)(FRAMEBUFFER)
        };
        let target = Target { texture, framebuffer, width, height };
        let made = check(api, "make a texture");
        if made.is_err() || status != COMPLETE {
            target.delete(api);
            made?;
            let message = format!("OpenGL does not draw to a texture {width}x{height} of format {kind:#x}");
            return Err(Error::unsupported(message));
        }
        Ok(target)
    }

    /// Reads it into rows of `pitch` bytes: `samples` a texel, of `size` bytes each. The context is current.
    pub fn read(
        &self,
        api: &Api,
        (samples, size): (usize, usize),
        pitch: usize,
        bytes: &mut [u8],
    ) -> Result<()> {
        const PACK_ALIGNMENT: u32 = 0x0D05;
        const PACK_ROW_LENGTH: u32 = 0x0D02;
        const RGBA: u32 = 0x1908;
        let kind = if size == 2 { 0x1403 } else { 0x1401 };
        let (width, height) = (self.width as usize, self.height as usize);
        let row = width * samples * size;
        if pitch < row || bytes.len() < (height - 1) * pitch + row {
            return Err(Error::invalid(format!("rows of {row} bytes with a pitch of {pitch}")));
        }
        // OpenGL ES reads four samples a texel for sure, and fewer perhaps.
        let mut all = vec![0u8; width * height * 4 * size];
        // SAFETY: the context is current; as many bytes are written as `all` has.
        unsafe {
            (api.bind_framebuffer)(FRAMEBUFFER, self.framebuffer);
            (api.pixel_store)(PACK_ALIGNMENT, 1);
            (api.pixel_store)(PACK_ROW_LENGTH, 0);
            let to = all.as_mut_ptr().cast();
            (api.read_pixels)(0, 0, self.width as c_int, self.height as c_int, RGBA, kind, to);
        }
        check(api, "read a texture")?;
        for (from, to) in all.chunks_exact(width * 4 * size).zip(bytes.chunks_mut(pitch)) {
            let texels = from.chunks_exact(4 * size).zip(to.chunks_exact_mut(samples * size));
            texels.take(width).for_each(|(from, to)| to.copy_from_slice(&from[..samples * size]));
        }
        Ok(())
    }

    /// Frees it; the context is current.
    pub fn delete(&self, api: &Api) {
        // SAFETY: ours, once.
        unsafe {
            (api.delete_framebuffers)(1, &self.framebuffer);
            (api.delete_textures)(1, &self.texture);
        }
    }
}

fn program(api: &Api, body: &str) -> Result<u32> {
    const LINKED: u32 = 0x8B82;
    let vertex = shader(api, VERTEX, CORNERS)?;
    let fragment = shader(api, FRAGMENT, &format!("{HEAD}{body}"));
    let fragment = fragment.inspect_err(|_| {
        // SAFETY: ours, once.
        unsafe { (api.delete_shader)(vertex) }
    })?;
    let mut linked = 0;
    // SAFETY: the context is current; shaders live on in the program.
    let program = unsafe {
        let program = (api.create_program)();
        (api.attach_shader)(program, vertex);
        (api.attach_shader)(program, fragment);
        (api.link_program)(program);
        (api.delete_shader)(vertex);
        (api.delete_shader)(fragment);
        (api.program_value)(program, LINKED, &mut linked);
        program
    };
    if linked != 0 {
        return Ok(program);
    }
    let why = log(|len, text| {
        // SAFETY: a live program and room for `len` bytes.
        unsafe { (api.program_log)(program, len, std::ptr::null_mut(), text) }
    });
    // SAFETY: ours, once.
    unsafe { (api.delete_program)(program) };
    Err(Error::unsupported(format!("OpenGL does not link a program: {why}")))
}

fn shader(api: &Api, kind: u32, source: &str) -> Result<u32> {
    const COMPILED: u32 = 0x8B81;
    let source = CString::new(source).map_err(|_| Error::invalid("a shader"))?;
    let mut compiled = 0;
    // SAFETY: the context is current; one terminated text.
    let shader = unsafe {
        let shader = (api.create_shader)(kind);
        (api.shader_source)(shader, 1, &source.as_ptr(), std::ptr::null());
        (api.compile_shader)(shader);
        (api.shader_value)(shader, COMPILED, &mut compiled);
        shader
    };
    if compiled != 0 {
        return Ok(shader);
    }
    let why = log(|len, text| {
        // SAFETY: a live shader and room for `len` bytes.
        unsafe { (api.shader_log)(shader, len, std::ptr::null_mut(), text) }
    });
    // SAFETY: ours, once.
    unsafe { (api.delete_shader)(shader) };
    Err(Error::unsupported(format!("OpenGL does not compile a shader: {why}")))
}

fn log(ask: impl FnOnce(c_int, *mut c_char)) -> String {
    let mut room = [0 as c_char; 512];
    ask(room.len() as c_int - 1, room.as_mut_ptr());
    // SAFETY: the last byte is zero whatever was written.
    unsafe { text(room.as_ptr()) }
}

/// OpenGL's complaints since the last look.
pub(super) fn check(api: &Api, what: &str) -> Result<()> {
    // SAFETY: the context is current.
    match unsafe { (api.gl_error)() } {
        0 => Ok(()),
        first => {
            // A driver that is lost complains for ever.
            for _ in 0..16 {
                // SAFETY: as above.
                if unsafe { (api.gl_error)() } == 0 {
                    break;
                }
            }
            Err(Error::failed(format!("{what}: OpenGL error {first:#x}")))
        }
    }
}
