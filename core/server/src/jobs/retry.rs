//! What follows from a failure: a new try, later, perhaps in software; or the end. Pure.

use crate::worker::Failure;
use ghoststream::ErrorKind;
use std::time::Duration;

/// The longest wait between two tries.
const LONGEST: Duration = Duration::from_secs(60);

/// What failures mean for the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Could go better next time: the network, a crash, a busy device.
    Transient,
    /// The hardware: the same without it may work.
    Hardware,
    /// Will be the same again.
    Fatal,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// Try again with the same parameters.
    Again {
        /// After this long.
        after: Duration,
        /// On the CPU.
        software: bool,
    },
    /// It is over.
    GiveUp,
}

/// The failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Attempts begun, this one included.
    pub count: u32,
    /// The hardware that was in use (`nvenc` …); `None` for software.
    pub hardware: Option<&'a str>,
    /// Whether the job may go on in software.
    pub fallback: bool,
}

/// How often, and how soon.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// New tries after the first.
    pub retries: u32,
    /// Seconds before the first of them.
    pub delay: f64,
}

/// The class of a failure.
pub fn class(failure: &Failure, hardware: bool) -> Class {
    match failure.kind {
        // A crash in a driver looks like any other.
        None if hardware => Class::Hardware,
        None => Class::Transient,
        Some(ErrorKind::Device | ErrorKind::Busy | ErrorKind::Memory) if hardware => Class::Hardware,
        Some(ErrorKind::Device | ErrorKind::Busy | ErrorKind::Memory | ErrorKind::Io) => {
            // A full disk does not get empty by waiting a few seconds.
            let full = no_room(&failure.message) || is_too_large(&failure.message);
            if full { Class::Fatal } else { Class::Transient }
        }
        Some(ErrorKind::Internal | ErrorKind::Unsupported) if hardware => Class::Hardware,
        Some(_) => Class::Fatal,
    }
}

fn says(message: &str, texts: &[&str]) -> bool {
    texts.iter().any(|text| message.contains(text))
}

/// Whether a failure is a disk without room or a user without quota (ENOSPC, EDQUOT), by the system's number or text:
/// removing files may help.
pub fn no_room(message: &str) -> bool {
    says(message, &["(os error 28)", "(os error 122)", "No space left on device", "quota"])
}

/// A file above the largest that is allowed (EFBIG).
fn is_too_large(message: &str) -> bool {
    says(message, &["(os error 27)", "File too large"])
}

/// What follows from `failure`; `luck` (0 to 1) spreads tries that would come together.
pub fn next(failure: &Failure, attempt: Attempt<'_>, policy: Policy, luck: f64) -> Next {
    match class(failure, attempt.hardware.is_some()) {
        Class::Fatal => Next::GiveUp,
        // Not a new try of the same: it does not count against those, and needs no wait.
        Class::Hardware if attempt.fallback => Next::Again { after: Duration::ZERO, software: true },
        _ if attempt.count > policy.retries => Next::GiveUp,
        _ => {
            let doubled =
                policy.delay * f64::from(2_u32.saturating_pow(attempt.count.saturating_sub(1).min(16)));
            let spread = doubled * (0.75 + 0.5 * luck.clamp(0.0, 1.0));
            Next::Again {
                after: Duration::from_secs_f64(spread.clamp(0.0, LONGEST.as_secs_f64())),
                software: false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { retries: 3, delay: 2.0 };

    fn failure(kind: ErrorKind) -> Failure {
        Failure { kind: Some(kind), message: "x".into() }
    }

    fn software(count: u32) -> Attempt<'static> {
        Attempt { count, hardware: None, fallback: true }
    }

    #[test]
    fn transient_failures_are_tried_again_ever_later() {
        let waits: Vec<f64> = (1..=3)
            .map(|n| match next(&failure(ErrorKind::Io), software(n), POLICY, 0.5) {
                Next::Again { after, software: false } => after.as_secs_f64(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(waits, [2.0, 4.0, 8.0]);
        assert_eq!(next(&failure(ErrorKind::Io), software(4), POLICY, 0.5), Next::GiveUp);
        let often = Policy { retries: 99, delay: 2.0 };
        for luck in [0.0, 1.0, 7.0] {
            let Next::Again { after, .. } = next(&Failure::lost("x"), software(90), often, luck) else {
                panic!()
            };
            assert!(after <= LONGEST);
        }
    }

    #[test]
    fn what_cannot_get_better_is_not_tried_again() {
        for kind in [ErrorKind::Invalid, ErrorKind::Format, ErrorKind::NotFound, ErrorKind::Denied] {
            assert_eq!(next(&failure(kind), software(1), POLICY, 0.0), Next::GiveUp, "{kind}");
        }
        let full = Failure { kind: Some(ErrorKind::Io), message: "a.ts: No space left on device".into() };
        assert_eq!(next(&full, software(1), POLICY, 0.0), Next::GiveUp);
    }

    #[test]
    fn hardware_falls_back_at_once_if_it_may() {
        let hard = Attempt { hardware: Some("nvenc"), ..software(1) };
        let again = Next::Again { after: Duration::ZERO, software: true };
        assert_eq!(next(&failure(ErrorKind::Device), hard, POLICY, 0.0), again);
        assert_eq!(next(&Failure::lost("crash"), hard, POLICY, 0.0), again);
        let strict = Attempt { fallback: false, ..hard };
        assert!(matches!(
            next(&failure(ErrorKind::Device), strict, POLICY, 0.0),
            Next::Again { software: false, .. }
        ));
        assert_eq!(next(&failure(ErrorKind::NotFound), hard, POLICY, 0.0), Next::GiveUp);
    }
}
