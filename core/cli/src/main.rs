//! The `ghoststream` command; everything is in the library, which `python -m ghoststream` calls too.
#![forbid(unsafe_code)]

fn main() {
    std::process::exit(ghoststream_cli::run(std::env::args_os().collect()));
}
