//! How encoders talk to whoever runs them, and what they share.

use super::schedule::Claim;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How the encoder talks to whoever runs it.
pub struct Hooks {
    /// Is told what the owner should know, with the warning's code.
    pub tell: Box<dyn Fn(&'static str, String) + Send>,
    /// Whether waiting makes no sense any more.
    pub given_up: Box<dyn Fn() -> bool + Send>,
    /// Whether a session that the driver does not allow now is waited for.
    pub waits: bool,
    /// Sessions that the owner has open; its encoders share the count. Where these are all that there are, waiting for
    /// another makes no sense: none ends before the owner does.
    pub held: Arc<AtomicU32>,
    /// The GPU that the owner's pictures are on, with what its encoders are expected to do there.
    pub claim: Option<Claim>,
    /// Where sessions were opened; encoders that follow each other share it.
    pub cards: Cards,
}

/// The GPUs on which the encoders of one track had sessions, in the order in which they tried them.
#[derive(Clone, Debug, Default)]
pub struct Cards(Arc<Mutex<Vec<u32>>>);

impl Cards {
    /// CUDA's numbers of them.
    pub fn tried(&self) -> Vec<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note(&self, index: u32) {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !tried.contains(&index) {
            tried.push(index);
        }
    }
}

/// One session in its owner's count.
pub(super) struct Counted(Arc<AtomicU32>);

impl Counted {
    pub fn new(held: &Arc<AtomicU32>) -> Counted {
        held.fetch_add(1, Ordering::SeqCst);
        Counted(held.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Default for Hooks {
    /// Tells nobody and waits for nothing.
    fn default() -> Self {
        Hooks {
            tell: Box::new(|_, _| {}),
            given_up: Box::new(|| false),
            waits: false,
            held: Arc::default(),
            claim: None,
            cards: Cards::default(),
        }
    }
}
