//! What every entry point does at the border: statuses, the last error, panics, NULL, text and sized structs.

use crate::status::gs_status;
use engine::{Error, ErrorKind, Result};
use std::any::Any;
use std::cell::RefCell;
use std::error::Error as _;
use std::ffi::{CStr, CString, c_char};
use std::mem::{MaybeUninit, size_of};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::new(CString::default());
}

/// The thread's last error; valid until the thread's next failing call.
pub(crate) fn last_error() -> *const c_char {
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Remembers `error` as the thread's last one and gives its status.
pub(crate) fn fail(error: &Error) -> gs_status {
    let text = chain(error).replace('\0', "\u{fffd}");
    // A thread that is being torn down has no last error any more.
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = CString::new(text).unwrap_or_default());
    error.kind().into()
}

/// The message and those causes that it does not repeat already.
fn chain(error: &Error) -> String {
    let mut text = error.message().to_owned();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let message = inner.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = inner.source();
    }
    text
}

/// Runs the body of an entry point: an error or a panic becomes a status and the last error.
pub(crate) fn enter(body: impl FnOnce() -> Result<gs_status>) -> gs_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => fail(&error),
        Err(panic) => fail(&panicked(panic)),
    }
}

/// As [`enter`] for an entry point that returns no status; it gives `fallback` on a panic.
pub(crate) fn enter_or<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        fail(&panicked(panic));
        fallback
    })
}

fn panicked(panic: Box<dyn Any + Send>) -> Error {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message");
    Error::new(ErrorKind::Internal, format!("panic: {text}"))
}

/// The object behind a handle.
///
/// # Safety
/// `handle` is NULL or a live handle of this type.
pub(crate) unsafe fn handle<'a, T>(handle: *const T, name: &str) -> Result<&'a T> {
    // SAFETY: the caller's promise.
    unsafe { handle.as_ref() }.ok_or_else(|| Error::invalid(name, "NULL"))
}

/// A text argument.
///
/// # Safety
/// `text` is NULL or a terminated string that lives through the call.
pub(crate) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str> {
    // SAFETY: the caller's promise.
    unsafe { optional_text(text, name) }?.ok_or_else(|| Error::invalid(name, "NULL"))
}

/// A text argument that may be NULL.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional_text<'a>(text: *const c_char, name: &str) -> Result<Option<&'a str>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, so terminated.
    let text = unsafe { CStr::from_ptr(text) }.to_str();
    text.map(Some).map_err(|e| Error::with_source(ErrorKind::Invalid, format!("{name}: not UTF-8"), e))
}

/// A wait as the engine takes it: `None` = without limit.
pub(crate) fn timeout(microseconds: i64) -> Option<Duration> {
    u64::try_from(microseconds).ok().map(Duration::from_micros)
}

/// What "nothing came" means: a poll says AGAIN, a wait says TIMEOUT.
pub(crate) fn not_now(timeout: Option<Duration>) -> gs_status {
    if timeout == Some(Duration::ZERO) { gs_status::GS_AGAIN } else { gs_status::GS_TIMEOUT }
}

/// Where an entry point puts an object. It is nulled at once, so that every failure leaves NULL there.
pub(crate) struct Out<T>(*mut T);

impl<T: Nothing> Out<T> {
    /// # Safety
    /// `place` is NULL or a writable `T`.
    pub unsafe fn new(place: *mut T, name: &str) -> Result<Out<T>> {
        // SAFETY: the caller's promise.
        unsafe { Out::optional(place) }.ok_or_else(|| Error::invalid(name, "NULL"))
    }

    /// As [`Out::new`] for a place that may be NULL when the caller does not want the object.
    ///
    /// # Safety
    /// As [`Out::new`].
    pub unsafe fn optional(place: *mut T) -> Option<Out<T>> {
        if place.is_null() {
            return None;
        }
        // SAFETY: writable by the caller's promise.
        unsafe { place.write(T::NOTHING) };
        Some(Out(place))
    }

    pub fn set(self, value: T) {
        // SAFETY: `new` checked the place and the call that it belongs to has not returned.
        unsafe { self.0.write(value) }
    }
}

/// What an output is before it is set, and after a failure.
pub(crate) trait Nothing {
    const NOTHING: Self;
}

impl<T> Nothing for *mut T {
    const NOTHING: Self = std::ptr::null_mut();
}

impl<T> Nothing for *const T {
    const NOTHING: Self = std::ptr::null();
}

impl Nothing for u64 {
    const NOTHING: Self = 0;
}

impl Nothing for usize {
    const NOTHING: Self = 0;
}

/// The objects behind handles that are counted: the pointer in C is the `Arc`'s.
pub(crate) mod counted {
    use std::sync::Arc;

    pub fn give<T>(value: T) -> *mut T {
        Arc::into_raw(Arc::new(value)).cast_mut()
    }

    /// # Safety
    /// `handle` came from [`give`] and still counts.
    pub unsafe fn more<T>(handle: *mut T) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { Arc::increment_strong_count(handle) };
        handle
    }

    /// Takes the handle out of `place`, nulls that, and gives the reference up.
    ///
    /// # Safety
    /// `place` is NULL or points to NULL or to a counted handle that the caller owns.
    pub unsafe fn release<T>(place: *mut *mut T) {
        // SAFETY: the caller's promise.
        let Some(place) = (unsafe { place.as_mut() }) else { return };
        let handle = std::mem::replace(place, std::ptr::null_mut());
        if !handle.is_null() {
            // SAFETY: owned by the caller, who cannot name it any more.
            drop(unsafe { Arc::from_raw(handle) });
        }
    }
}

/// The body of every `gs_*_ref`.
///
/// # Safety
/// `from` is NULL or a live counted handle; `same` is NULL or writable.
pub(crate) unsafe fn reference<T>(from: *mut T, same: *mut *mut T, name: &str) -> Result<gs_status> {
    // SAFETY: the caller's promise.
    let out = unsafe { Out::new(same, "same") }?;
    // SAFETY: the caller's promise.
    unsafe { handle(from, name) }?;
    // SAFETY: not NULL, so live.
    out.set(unsafe { counted::more(from) });
    Ok(gs_status::GS_OK)
}

/// The objects behind handles with one owner.
pub(crate) mod owned {
    pub fn give<T>(value: T) -> *mut T {
        Box::into_raw(Box::new(value))
    }

    /// Takes the handle out of `place`, nulls that, and destroys the object.
    ///
    /// # Safety
    /// `place` is NULL or points to NULL or to a handle that the caller owns.
    pub unsafe fn release<T>(place: *mut *mut T) {
        // SAFETY: the caller's promise.
        let Some(place) = (unsafe { place.as_mut() }) else { return };
        let handle = std::mem::replace(place, std::ptr::null_mut());
        if !handle.is_null() {
            // SAFETY: owned by the caller, who cannot name it any more.
            drop(unsafe { Box::from_raw(handle) });
        }
    }
}

/// A struct that begins with `uint32_t size` and whose fields are all valid when zero.
///
/// # Safety
/// The type is `repr(C)`, begins with a `u32`, and every bit pattern of it is a value.
pub(crate) unsafe trait SizedStruct: Copy {
    /// Its size when it was introduced: no caller can have been built with less.
    const FIRST: usize;
}

/// More than any version of any struct; a larger size is rubbish that was never set.
const LARGEST: usize = 4096;

fn size_of_struct<T: SizedStruct>(place: *const T, name: &str) -> Result<usize> {
    if place.is_null() {
        return Err(Error::invalid(name, "NULL"));
    }
    if !place.is_aligned() {
        return Err(Error::invalid(name, "not aligned"));
    }
    // SAFETY: not NULL and aligned; every sized struct begins with its size.
    let size = unsafe { place.cast::<u32>().read() } as usize;
    if !(T::FIRST..=LARGEST).contains(&size) {
        let most = size_of::<T>();
        return Err(Error::invalid(name, format!("its size is {size}; set it to sizeof ({most} here)")));
    }
    Ok(size)
}

/// Reads an input struct: an older caller's missing tail is zero, a newer caller's unknown tail must be.
///
/// # Safety
/// `place` is NULL or a struct of this type, in any version, that is as long as its `size` says.
pub(crate) unsafe fn read_struct<T: SizedStruct>(place: *const T, name: &str) -> Result<T> {
    let given = size_of_struct(place, name)?;
    let known = given.min(size_of::<T>());
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `known` bytes are readable by the caller's promise and fit in `value`.
    unsafe { place.cast::<u8>().copy_to_nonoverlapping(value.as_mut_ptr().cast(), known) };
    // SAFETY: `given` bytes are readable by the caller's promise.
    let tail = unsafe { std::slice::from_raw_parts(place.cast::<u8>().add(known), given - known) };
    if let Some(at) = tail.iter().position(|b| *b != 0) {
        return Err(Error::invalid(
            name,
            format!("this library is older and does not know byte {}", known + at),
        ));
    }
    // SAFETY: every bit pattern is a value, by the trait's promise.
    Ok(unsafe { value.assume_init() })
}

/// Where an entry point writes a sized struct. Everything behind its size is zeroed at once.
pub(crate) struct OutStruct<T> {
    place: *mut T,
    given: usize,
}

impl<T: SizedStruct> OutStruct<T> {
    /// # Safety
    /// `place` is NULL or a writable struct of this type, in any version, that is as long as its `size` says.
    pub unsafe fn new(place: *mut T, name: &str) -> Result<OutStruct<T>> {
        let given = size_of_struct(place, name)?;
        // SAFETY: `given` bytes are writable by the caller's promise.
        unsafe { place.cast::<u8>().add(size_of::<u32>()).write_bytes(0, given - size_of::<u32>()) };
        Ok(OutStruct { place, given })
    }

    /// As [`OutStruct::new`] for a place that may be NULL.
    ///
    /// # Safety
    /// As [`OutStruct::new`].
    pub unsafe fn optional(place: *mut T, name: &str) -> Result<Option<OutStruct<T>>> {
        // SAFETY: the caller's promise.
        if place.is_null() { Ok(None) } else { unsafe { OutStruct::new(place, name) }.map(Some) }
    }

    /// Writes as much as the caller knows of; its size stays.
    pub fn set(self, value: &T) {
        let head = size_of::<u32>();
        let known = self.given.min(size_of::<T>());
        // SAFETY: `new` checked the place and the call that it belongs to has not returned.
        unsafe {
            let from = std::ptr::from_ref(value).cast::<u8>().add(head);
            from.copy_to_nonoverlapping(self.place.cast::<u8>().add(head), known - head);
        }
    }
}
