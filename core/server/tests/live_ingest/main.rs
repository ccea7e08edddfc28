//! Publishers and readers over SRT and RTMP: what they should do, and what they should not.

#[path = "../live_feed/mod.rs"]
mod live_feed;
mod rtmp;
mod srt;

use std::fmt::{Debug, Write};
use std::sync::Once;
use tracing::field::{Field, Visit};
use tracing::span;

/// What the server says, for whoever looks at a test that fails.
struct Log;

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("ghoststream_server::live")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    #[expect(clippy::print_stdout, reason = "the test's harness keeps it for failures")]
    fn event(&self, event: &tracing::Event<'_>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                // Writing to a string does not fail.
                let _ = write!(self.0, " {field}={value:?}");
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        println!("{}{}", event.metadata().level(), line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Only this sets one.
        let _set = tracing::subscriber::set_global_default(Log);
    });
}
