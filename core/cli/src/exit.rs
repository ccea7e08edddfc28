//! How the command ends: one table of exit codes, and the failure that carries one.

use ghoststream::{Error, ErrorKind};

/// Exit code of a cancelled job: 128 + SIGINT, as shells expect.
pub const CANCELLED: i32 = 130;

/// A usage error, as clap and most commands use it.
pub const USAGE: i32 = 2;

/// Every exit code with its meaning, for the help and the man page.
pub const TABLE: &[(i32, &str)] = &[
    (0, "done; also ended early by a first Ctrl-C or SIGTERM: files are finished, or not written"),
    (1, "failed in another way, for example a defect in ghoststream"),
    (2, "wrong usage, or a job document that is not valid"),
    (3, "a file, stream or device, or the encoder that `bench` is to measure, was not found"),
    (4, "not supported by this build, device, codec or container"),
    (5, "a GPU or other device failed"),
    (6, "reading or writing failed: disk full, network cut, time-out"),
    (7, "the media is damaged, encrypted or not media"),
    (8, "permission denied by the system or by the protocol list"),
    (9, "a resource is in use or at its limit"),
    (10, "out of memory"),
    (CANCELLED, "cancelled, by a second Ctrl-C"),
];

/// The exit code of an error kind.
pub fn code(kind: ErrorKind) -> i32 {
    match kind {
        ErrorKind::Invalid => USAGE,
        ErrorKind::NotFound => 3,
        ErrorKind::Unsupported => 4,
        ErrorKind::Device => 5,
        ErrorKind::Io => 6,
        ErrorKind::Format => 7,
        ErrorKind::Denied => 8,
        ErrorKind::Busy => 9,
        ErrorKind::Memory => 10,
        ErrorKind::Cancelled => CANCELLED,
        // State, Internal and kinds to come: nothing that the caller of a command can act on.
        _ => 1,
    }
}

/// The table as text for the end of `--help`.
pub fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (code, meaning) in TABLE {
        text.push_str(&format!("  {code:>3}  {meaning}\n"));
    }
    text
}

/// Why the command ends with another code than 0.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: i32,
    /// What to print after `ghoststream: error: `; empty when everything is said already.
    pub message: String,
}

impl Failure {
    /// A mistake in the arguments; `message` names the argument.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure { code: USAGE, message: message.into() }
    }

    /// Nothing to say but the code.
    pub fn silent(code: i32) -> Self {
        Failure { code, message: String::new() }
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure { code: code(e.kind()), message: e.message().to_string() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Self {
        // The reader of a pipe went away (`ghoststream probe x | head -1`): that is its decision, not a failure to report.
        if e.kind() == std::io::ErrorKind::BrokenPipe {
            return Failure::silent(0);
        }
        Error::from(e).into()
    }
}

/// What commands return.
pub type Outcome = Result<(), Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_documented_code() {
        for kind in [
            ErrorKind::Invalid,
            ErrorKind::Unsupported,
            ErrorKind::NotFound,
            ErrorKind::Device,
            ErrorKind::Memory,
            ErrorKind::Io,
            ErrorKind::Format,
            ErrorKind::Cancelled,
            ErrorKind::State,
            ErrorKind::Busy,
            ErrorKind::Denied,
            ErrorKind::Internal,
        ] {
            let code = code(kind);
            assert!(code != 0 && TABLE.iter().any(|(c, _)| *c == code), "{kind}");
        }
    }
}
