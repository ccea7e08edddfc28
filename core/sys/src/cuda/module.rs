//! Kernels: PTX text that the driver compiles for the device that is there.

use super::context::Context;
use super::error::{Error, Result, check};
use super::stream::Stream;
use cudarc::driver::sys::{CUfunction, CUmodule};
use std::ffi::{CString, c_void};
use std::sync::Arc;

/// Bytes of arguments that a launch may have.
const ARGUMENTS: usize = 4096;

/// Compiled kernels in a context. `Send` and `Sync`.
///
/// Kernels are part of this program as its C shim is: text that was compiled in. What they do with addresses cannot be
/// checked here; a wrong one makes the context report `Lost`.
pub struct Module {
    raw: CUmodule,
    ptx: &'static str,
    context: Arc<Context>,
}

// SAFETY: modules may be used by any thread; the driver locks.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Module {
    /// Compiles `ptx` for the context's device.
    ///
    /// # Errors
    /// `Unsupported` when the text needs a newer device or driver; `Invalid` for text that is no PTX; `Memory`.
    pub fn from_ptx(context: &Arc<Context>, ptx: &'static str) -> Result<Arc<Module>> {
        let text = CString::new(ptx).map_err(|_| Error::invalid("PTX holds a NUL byte"))?;
        let _current = context.enter()?;
        let mut raw = std::ptr::null_mut();
        let none = std::ptr::null_mut();
        // SAFETY: terminated text, no options; gives a module that is unloaded once, in drop.
        let code = unsafe {
            (context.api.module_load)(&mut raw, text.as_ptr().cast(), 0, none, std::ptr::null_mut())
        };
        check(code, "compile CUDA kernels")?;
        Ok(Arc::new(Module { raw, ptx, context: context.clone() }))
    }

    /// The kernel `name`.
    ///
    /// # Errors
    /// `Invalid` when there is none.
    pub fn function(self: &Arc<Module>, name: &str) -> Result<Function> {
        let parameters = entry(self.ptx, name)
            .ok_or_else(|| Error::invalid(format!("the CUDA module has no kernel {name}")))?;
        let c_name = CString::new(name).map_err(|_| Error::invalid("a kernel's name holds a NUL byte"))?;
        let _current = self.context.enter()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: a live module; the function lives as long as it.
        let code = unsafe { (self.context.api.module_function)(&mut raw, self.raw, c_name.as_ptr()) };
        check(code, format!("find the CUDA kernel {name}"))?;
        Ok(Function { raw, name: name.to_owned(), parameters, module: self.clone() })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if let Ok(_current) = self.context.enter() {
            // SAFETY: ours, once; functions keep the module.
            unsafe { (self.context.api.module_unload)(self.raw) };
        }
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Module(device {})", self.context.device().ordinal)
    }
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    /// `int`.
    I32(i32),
    /// `unsigned`.
    U32(u32),
    /// `long long`.
    I64(i64),
    /// `unsigned long long`.
    U64(u64),
    /// `float`.
    F32(f32),
    /// `double`.
    F64(f64),
    /// A pointer, from [`Plane::address`](super::Plane::address).
    Address(u64),
    /// A struct by value, its bytes as C lays it out.
    Bytes(&'a [u8]),
}

impl Arg<'_> {
    fn with_bytes<R>(&self, run: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Arg::I32(v) => run(&v.to_ne_bytes()),
            Arg::U32(v) => run(&v.to_ne_bytes()),
            Arg::I64(v) => run(&v.to_ne_bytes()),
            Arg::U64(v) | Arg::Address(v) => run(&v.to_ne_bytes()),
            Arg::F32(v) => run(&v.to_ne_bytes()),
            Arg::F64(v) => run(&v.to_ne_bytes()),
            Arg::Bytes(bytes) => run(bytes),
        }
    }
}

/// Blocks, and threads in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Blocks in x, y and z.
    pub blocks: [u32; 3],
    /// Threads of a block in x, y and z.
    pub threads: [u32; 3],
}

impl Grid {
    /// Enough blocks of `threads` for one thread per item of a `width` x `height` picture.
    pub fn cover(width: u32, height: u32, threads: [u32; 2]) -> Grid {
        let [x, y] = threads.map(|n| n.max(1));
        Grid { blocks: [width.div_ceil(x).max(1), height.div_ceil(y).max(1), 1], threads: [x, y, 1] }
    }
}

/// A kernel. `Send` and `Sync`.
pub struct Function {
    raw: CUfunction,
    name: String,
    /// Bytes of each parameter, from the PTX text.
    parameters: Vec<usize>,
    module: Arc<Module>,
}

// SAFETY: a handle into the module, which is `Sync`.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Function {
    /// The kernel's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Queues one run. Addresses among the arguments must stay valid until it is done.
    ///
    /// # Errors
    /// `Invalid` when number or sizes of the arguments are not the kernel's, or the grid is out of range; `Lost`.
    pub fn launch(&self, stream: &Stream, grid: Grid, arguments: &[Arg<'_>]) -> Result<()> {
        if arguments.len() != self.parameters.len() {
            return Err(Error::invalid(format!(
                "the kernel {} takes {} arguments, {} given",
                self.name,
                self.parameters.len(),
                arguments.len()
            )));
        }
        // Every argument begins at a multiple of 16, which is the most that a parameter asks for.
        let mut storage = [0u128; ARGUMENTS / 16];
        let mut pointers = [std::ptr::null_mut::<c_void>(); ARGUMENTS / 16];
        let mut at = 0;
        for (i, (argument, size)) in arguments.iter().zip(&self.parameters).enumerate() {
            argument.with_bytes(|bytes| {
                if bytes.len() != *size {
                    return Err(Error::invalid(format!(
                        "argument {i} of the kernel {} has {size} bytes, {} given",
                        self.name,
                        bytes.len()
                    )));
                }
                let slots = storage
                    .get_mut(at..at + size.div_ceil(16))
                    .ok_or_else(|| Error::invalid(format!("the arguments of {} are too large", self.name)))?;
                let to = slots.as_mut_ptr().cast::<u8>();
                // SAFETY: the slots have room for the bytes.
                unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
                if let Some(pointer) = pointers.get_mut(i) {
                    *pointer = to.cast();
                }
                Ok(())
            })?;
            at += size.div_ceil(16);
        }
        let (b, t) = (grid.blocks, grid.threads);
        let context = &self.module.context;
        let _current = context.enter()?;
        // SAFETY: one pointer per parameter, each to as many bytes as the parameter has; they are copied by the call.
        let code = unsafe {
            (context.api.launch)(
                self.raw,
                b[0],
                b[1],
                b[2],
                t[0],
                t[1],
                t[2],
                0,
                stream.raw(),
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        check(code, format!("launch the CUDA kernel {}", self.name))
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Function({})", self.name)
    }
}

/// Sizes of the parameters of `.entry name(...)` in PTX text; `None` when there is no such entry.
fn entry(ptx: &str, name: &str) -> Option<Vec<usize>> {
    let text: String = ptx.lines().flat_map(|l| [l.split("//").next().unwrap_or(""), "\n"]).collect();
    let mut rest = text.as_str();
    let parameters = loop {
        rest = &rest[rest.find(".entry")? + ".entry".len()..];
        let after = rest.trim_start();
        if let Some(tail) = after.strip_prefix(name).map(str::trim_start)
            && (tail.starts_with('(') || tail.starts_with('{') || tail.starts_with('.'))
        {
            match tail.strip_prefix('(') {
                Some(list) => break list.split(')').next()?,
                None => return Some(Vec::new()),
            }
        }
    };
    parameters.split(',').map(str::trim).filter(|p| !p.is_empty()).map(parameter).collect()
}

fn parameter(text: &str) -> Option<usize> {
    let size = text.split_whitespace().find_map(|word| {
        Some(match word {
            ".b8" | ".u8" | ".s8" => 1,
            ".b16" | ".u16" | ".s16" | ".f16" => 2,
            ".b32" | ".u32" | ".s32" | ".f32" => 4,
            ".b64" | ".u64" | ".s64" | ".f64" => 8,
            _ => return None,
        })
    })?;
    match text.split_once('[') {
        Some((_, count)) => count.split(']').next()?.trim().parse::<usize>().ok()?.checked_mul(size),
        None => Some(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_from_the_text() {
        let ptx = "
            .version 8.2
            .visible .entry scale_more(
                .param .u64 scale_more_param_0
            ) { ret; }
            // .entry scale( .param .u8 commented )
            .visible .entry scale(
                .param .u64 .ptr .global .align 1 scale_param_0,
                .param .u32 scale_param_1, // pitch
                .param .align 8 .b8 scale_param_2[48],
                .param .f32 scale_param_3
            )
            .maxntid 256, 1, 1
            { ret; }
            .entry nothing() { ret; }";
        assert_eq!(entry(ptx, "scale").unwrap(), [8, 4, 48, 4]);
        assert_eq!(entry(ptx, "scale_more").unwrap(), [8]);
        assert_eq!(entry(ptx, "nothing").unwrap(), [0usize; 0]);
        assert!(entry(ptx, "scal").is_none() && entry(ptx, "other").is_none());
        assert_eq!(Grid::cover(33, 5, [32, 8]), Grid { blocks: [2, 1, 1], threads: [32, 8, 1] });
    }
}
