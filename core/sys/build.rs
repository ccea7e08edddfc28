//! Finds FFmpeg through pkg-config and compiles the shim that hides its versions.

/// In link order: what needs others comes first.
const LIBRARIES: [&str; 7] =
    ["libavdevice", "libavfilter", "libavformat", "libavcodec", "libswresample", "libswscale", "libavutil"];

const SOURCES: [&str; 7] = ["frame.c", "codec.c", "cuda.c", "dmabuf.c", "format.c", "filter.c", "registry.c"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=shim/shim.h");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    println!("cargo:rustc-check-cfg=cfg(fuzzing)");

    let mut build = cc::Build::new();
    let mut found = Vec::new();
    for name in LIBRARIES {
        // The link flags must follow those of the shim, so they are printed after it is compiled.
        match pkg_config::Config::new().cargo_metadata(false).probe(name) {
            Ok(library) => found.push((name, library)),
            Err(error) => {
                eprintln!("{name} not found by pkg-config (Debian: {name}-dev).\n{error}");
                std::process::exit(1);
            }
        }
    }
    for (_, library) in &found {
        build.includes(&library.include_paths);
    }
    for source in SOURCES {
        println!("cargo:rerun-if-changed=shim/{source}");
        build.file(format!("shim/{source}"));
    }
    build.std("c11").flag_if_supported("-Wno-deprecated-declarations").opt_level(2).compile("gsav");

    for (name, _) in &found {
        // Again, this time telling cargo; it succeeded a moment ago.
        if let Err(error) = pkg_config::Config::new().probe(name) {
            eprintln!("{name}: {error}");
            std::process::exit(1);
        }
    }
}
