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

    /// Whether the caller's reference is the only one.
    ///
    /// # Safety
    /// `handle` came from [`give`] and still counts.
    pub unsafe fn is_alone<T>(handle: *const T) -> bool {
        // SAFETY: the caller's promise; the reference stays the caller's.
        let counted = std::mem::ManuallyDrop::new(unsafe { Arc::from_raw(handle) });
        let alone = Arc::strong_count(&counted) == 1;
        // What the others did before they gave up is done.
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        alone
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

#[cfg(test)]
mod tests {
    use super::*;
    use gs_status::*;

    /// The newest version of a struct that began as `size` and `a`.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Grown {
        size: u32,
        a: u32,
        b: u64,
    }

    // SAFETY: repr(C), begins with a u32, integers only.
    unsafe impl SizedStruct for Grown {
        const FIRST: usize = 8;
    }

    #[repr(C)]
    struct Newer {
        known: Grown,
        tail: [u64; 2],
    }

    fn last() -> String {
        // SAFETY: terminated, and valid until the next failure.
        unsafe { CStr::from_ptr(last_error()) }.to_str().unwrap().to_owned()
    }

    fn read(value: *const Grown) -> Result<Grown> {
        // SAFETY: the tests pass structs as long as their sizes.
        unsafe { read_struct(value, "options") }
    }

    #[test]
    fn an_older_caller_gets_defaults() {
        let old = [8u32, 7, 0xdead, 0xbeef];
        assert_eq!(read(old.as_ptr().cast()).unwrap(), Grown { size: 8, a: 7, b: 0 });
    }

    #[test]
    fn a_newer_caller_may_only_use_what_is_known() {
        let mut new = Newer { known: Grown { size: 32, a: 1, b: 2 }, tail: [0; 2] };
        assert_eq!(read(&raw const new.known).unwrap().b, 2);
        new.tail[1] = 1;
        let error = read(&raw const new.known).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("byte 24"), "{error}");
    }

    #[test]
    fn sizes_that_no_version_has_are_refused() {
        for size in [0, 1, 4, 7, 4097, u32::MAX] {
            let value = Grown { size, a: 0, b: 0 };
            assert_eq!(read(&value).unwrap_err().kind(), ErrorKind::Invalid, "{size}");
        }
        assert_eq!(read(std::ptr::null()).unwrap_err().message(), "options: NULL");
        let place = [0u64; 2];
        let shifted = place.as_ptr().cast::<u8>().wrapping_add(1);
        assert!(read(shifted.cast()).unwrap_err().message().contains("aligned"));
    }

    #[test]
    fn an_output_is_as_long_as_the_caller_says() {
        let value = Grown { size: 0, a: 5, b: 6 };
        let mut old = [8u32, 9, 9, 9];
        // SAFETY: eight bytes are there.
        unsafe { OutStruct::<Grown>::new(old.as_mut_ptr().cast(), "info") }.unwrap().set(&value);
        assert_eq!(old, [8, 5, 9, 9]);
        let mut new = Newer { known: Grown { size: 32, a: 9, b: 9 }, tail: [9; 2] };
        // SAFETY: 32 bytes are there.
        unsafe { OutStruct::<Grown>::new((&raw mut new).cast(), "info") }.unwrap().set(&value);
        assert_eq!((new.known, new.tail), (Grown { size: 32, a: 5, b: 6 }, [0; 2]));
    }

    #[test]
    fn a_panic_becomes_a_status_with_its_text() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        assert_eq!(enter(|| panic!("number {}", 7)), GS_INTERNAL);
        assert_eq!(last(), "panic: number 7");
        assert_eq!(enter_or(3, || panic!("plain")), 3);
        assert_eq!(last(), "panic: plain");
        std::panic::set_hook(hook);
    }

    #[test]
    fn the_last_error_is_per_thread_and_carries_the_chain() {
        let inner = std::io::Error::other("disk on fire");
        let error = Error::with_source(ErrorKind::Io, "cannot write header", inner).context("out.mp4");
        assert_eq!(fail(&error), GS_IO);
        assert_eq!(last(), "out.mp4: cannot write header: disk on fire");
        assert_eq!(std::thread::spawn(last).join().unwrap(), "");
        assert_eq!(enter(|| Ok(GS_OK)), GS_OK);
        assert_eq!(last(), "out.mp4: cannot write header: disk on fire");
        fail(&Error::invalid("name", "a\0b"));
        assert_eq!(last(), "name: a\u{fffd}b");
    }

    #[test]
    fn outputs_are_nulled_before_anything_else() {
        let mut out = std::ptr::dangling_mut::<u8>();
        let status = enter(|| {
            // SAFETY: a writable pointer.
            let _place = unsafe { Out::new(&mut out, "out") }?;
            Err(Error::invalid("x", "no"))
        });
        assert_eq!((status, out.is_null()), (GS_INVALID, true));
    }

    #[test]
    fn text_must_be_utf8_and_there() {
        // SAFETY: terminated strings or NULL.
        unsafe {
            assert_eq!(text(c"ok".as_ptr(), "x").unwrap(), "ok");
            assert_eq!(text(std::ptr::null(), "x").unwrap_err().message(), "x: NULL");
            assert!(text(c"\xff".as_ptr(), "x").unwrap_err().message().starts_with("x: not UTF-8"));
            assert_eq!(optional_text(std::ptr::null(), "x").unwrap(), None);
        }
    }

    #[test]
    fn releasing_twice_through_the_same_pointer_does_nothing() {
        let mut one = counted::give(5);
        // SAFETY: ours.
        let mut two = unsafe { counted::more(one) };
        // SAFETY: ours, and NULL afterwards.
        unsafe {
            assert!(!counted::is_alone(one));
            counted::release(&mut one);
            counted::release(&mut one);
            assert_eq!((one.is_null(), *two), (true, 5));
            assert!(counted::is_alone(two));
            counted::release(&mut two);
            counted::release::<i32>(std::ptr::null_mut());
            let mut own = owned::give(String::from("x"));
            owned::release(&mut own);
            owned::release(&mut own);
            assert!(own.is_null());
        }
    }
}
