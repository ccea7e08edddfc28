//! The functions of EGL and OpenGL ES, found when the first of them is needed.

use super::error::{Error, Result};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

const LIBRARY: &CStr = c"libEGL.so.1";

/// Any of EGL's handles.
pub(super) type Handle = *mut c_void;

macro_rules! functions {
    ($($field:ident = $symbol:literal ($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// One pointer per function. All are there: loading fails where one is not. Those of extensions may be called only
        /// where the display or the context has the extension.
        pub(super) struct Api {
            $(pub $field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Api {
            fn load() -> Result<Api> {
                // SAFETY: a terminated name; loading the library runs its constructors. It stays for the life of the process.
                let library = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
                if library.is_null() {
                    return Err(Error::absent("there is no EGL here (libEGL.so.1 does not load)"));
                }
                // SAFETY: a live handle and a terminated name.
                let get = unsafe { libc::dlsym(library, c"eglGetProcAddress".as_ptr()) };
                if get.is_null() {
                    return Err(Error::absent("libEGL.so.1 has no eglGetProcAddress"));
                }
                // SAFETY: the function has this signature in every version of EGL.
                let get = unsafe {
                    std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_char) -> *mut c_void>(get)
                };
                $(
                    // SAFETY: a terminated name.
                    let $field = unsafe { get($symbol.as_ptr()) };
                    if $field.is_null() {
                        return Err(Error::absent(format!("EGL has no {}", $symbol.to_string_lossy())));
                    }
                    // SAFETY: the function of this name has this signature, by its specification.
                    let $field = unsafe {
                        std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>($field)
                    };
                )*
                Ok(Api { $($field,)* })
            }
        }
    };
}

functions! {
    query_string = c"eglQueryString" (Handle, c_int) -> *const c_char;
    initialize = c"eglInitialize" (Handle, *mut c_int, *mut c_int) -> c_uint;
    error = c"eglGetError" () -> c_int;
    query_api = c"eglQueryAPI" () -> c_uint;
    bind_api = c"eglBindAPI" (c_uint) -> c_uint;
    create_context = c"eglCreateContext" (Handle, Handle, Handle, *const c_int) -> Handle;
    destroy_context = c"eglDestroyContext" (Handle, Handle) -> c_uint;
    make_current = c"eglMakeCurrent" (Handle, Handle, Handle, Handle) -> c_uint;
    current_context = c"eglGetCurrentContext" () -> Handle;
    current_display = c"eglGetCurrentDisplay" () -> Handle;
    current_surface = c"eglGetCurrentSurface" (c_int) -> Handle;
    query_devices = c"eglQueryDevicesEXT" (c_int, *mut Handle, *mut c_int) -> c_uint;
    device_attribute = c"eglQueryDeviceAttribEXT" (Handle, c_int, *mut isize) -> c_uint;
    device_string = c"eglQueryDeviceStringEXT" (Handle, c_int) -> *const c_char;
    platform_display = c"eglGetPlatformDisplayEXT" (c_uint, Handle, *const c_int) -> Handle;
    create_image = c"eglCreateImageKHR" (Handle, Handle, c_uint, Handle, *const c_int) -> Handle;
    destroy_image = c"eglDestroyImageKHR" (Handle, Handle) -> c_uint;
    dmabuf_formats = c"eglQueryDmaBufFormatsEXT" (Handle, c_int, *mut c_int, *mut c_int) -> c_uint;
    dmabuf_modifiers = c"eglQueryDmaBufModifiersEXT" (Handle, c_int, c_int, *mut u64, *mut c_uint, *mut c_int) -> c_uint;

    gl_string = c"glGetString" (c_uint) -> *const c_char;
    gl_error = c"glGetError" () -> c_uint;
    gl_finish = c"glFinish" ();
    gl_disable = c"glDisable" (c_uint);
    create_shader = c"glCreateShader" (c_uint) -> c_uint;
    shader_source = c"glShaderSource" (c_uint, c_int, *const *const c_char, *const c_int);
    compile_shader = c"glCompileShader" (c_uint);
    shader_value = c"glGetShaderiv" (c_uint, c_uint, *mut c_int);
    shader_log = c"glGetShaderInfoLog" (c_uint, c_int, *mut c_int, *mut c_char);
    delete_shader = c"glDeleteShader" (c_uint);
    create_program = c"glCreateProgram" () -> c_uint;
    attach_shader = c"glAttachShader" (c_uint, c_uint);
    link_program = c"glLinkProgram" (c_uint);
    program_value = c"glGetProgramiv" (c_uint, c_uint, *mut c_int);
    program_log = c"glGetProgramInfoLog" (c_uint, c_int, *mut c_int, *mut c_char);
    use_program = c"glUseProgram" (c_uint);
    delete_program = c"glDeleteProgram" (c_uint);
    uniform_place = c"glGetUniformLocation" (c_uint, *const c_char) -> c_int;
    uniform_2i = c"glUniform2i" (c_int, c_int, c_int);
    uniform_1f = c"glUniform1f" (c_int, f32);
    uniform_4f = c"glUniform4f" (c_int, f32, f32, f32, f32);
    gen_textures = c"glGenTextures" (c_int, *mut c_uint);
    delete_textures = c"glDeleteTextures" (c_int, *const c_uint);
    bind_texture = c"glBindTexture" (c_uint, c_uint);
    texture_parameter = c"glTexParameteri" (c_uint, c_uint, c_int);
    texture_storage = c"glTexStorage2D" (c_uint, c_int, c_uint, c_int, c_int);
    texture_of_image = c"glEGLImageTargetTexture2DOES" (c_uint, Handle);
    gen_framebuffers = c"glGenFramebuffers" (c_int, *mut c_uint);
    delete_framebuffers = c"glDeleteFramebuffers" (c_int, *const c_uint);
    bind_framebuffer = c"glBindFramebuffer" (c_uint, c_uint);
    framebuffer_texture = c"glFramebufferTexture2D" (c_uint, c_uint, c_uint, c_uint, c_int);
    framebuffer_status = c"glCheckFramebufferStatus" (c_uint) -> c_uint;
    viewport = c"glViewport" (c_int, c_int, c_int, c_int);
    draw_arrays = c"glDrawArrays" (c_uint, c_int, c_int);
    pixel_store = c"glPixelStorei" (c_uint, c_int);
    read_pixels = c"glReadPixels" (c_int, c_int, c_int, c_int, c_uint, c_uint, *mut c_void);
}

/// EGL, loaded once.
pub(super) fn api() -> Result<&'static Api> {
    static API: OnceLock<Result<Api>> = OnceLock::new();
    API.get_or_init(Api::load).as_ref().map_err(Error::clone)
}

/// Whether a list of extensions has one.
///
/// # Safety
/// `list` is NULL or terminated, and stays while this runs.
pub(super) unsafe fn has(list: *const c_char, extension: &str) -> bool {
    if list.is_null() {
        return false;
    }
    // SAFETY: the caller's promise.
    let list = unsafe { CStr::from_ptr(list) };
    list.to_str().is_ok_and(|list| list.split(' ').any(|e| e == extension))
}
