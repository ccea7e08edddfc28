//! The shared library's name carries the ABI's major number.

include!("src/abi.rs");

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/abi.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libghoststream.so.{GS_ABI_VERSION}");
    // Engine threads, thread-local errors and FFmpeg's log callback would outlive an unmapped library.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Some dependencies have C functions of their own: they are nobody else's business.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
}
