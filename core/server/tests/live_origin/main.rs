//! The live origin, asked over HTTP while real H.264 and AAC packets come in: a positive and a negative check of every point
//! that a conforming LL-HLS origin must keep.

mod classic;
mod conformance;
mod dash;
mod hls;
mod media;
mod rules;
mod web;

use ghoststream_server::live::{Live, Origin, OriginOptions, Origins, Publisher};
use media::{Clip, Feed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use web::Web;

/// A stream `cam/1` with its origin.
struct Stage {
    live: Live,
    origins: Origins,
    origin: Arc<Origin>,
    web: Web,
    feed: Feed,
}

const NAME: &str = "cam/1";

impl Stage {
    fn new(options: OriginOptions, clip: &Clip) -> Stage {
        let live = Live::new(true, 10);
        let publication = live.publish(NAME, Publisher::new("test", None)).unwrap();
        let origins = Origins::new(options);
        let origin = origins.open(publication.stream().clone());
        let web = Web(origins.router());
        Stage { live, origins, origin, web, feed: Feed::new(publication, clip) }
    }

    /// Publishes up to there, and waits until the origin has all of it.
    async fn until(&mut self, seconds: f64) {
        self.feed.until(seconds);
        let stream = self.feed.publication.stream();
        let begun = Instant::now();
        while self.origin.stats().time < stream.stats().time {
            assert!(begun.elapsed() < web::SOON, "the origin does not read");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The multivariant playlist's first media playlist, as a path.
    async fn video(&self) -> String {
        let master = self.web.text(&format!("{NAME}/playlist.m3u8")).await;
        let uri = master.lines().find(|l| !l.starts_with('#')).unwrap();
        format!("{NAME}/{uri}")
    }

    /// The first audio rendition, as a path.
    async fn sound(&self) -> String {
        let master = self.web.text(&format!("{NAME}/playlist.m3u8")).await;
        let line = web::tags(&master, "EXT-X-MEDIA").first().unwrap().to_string();
        format!("{NAME}/{}", web::attribute(&line, "URI").unwrap())
    }

    /// The path of a file that a playlist of the stream names.
    fn path(&self, uri: &str) -> String {
        format!("{NAME}/{uri}")
    }
}

/// Seven seconds at 25 Hz with a key frame every two.
fn steady() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| media::clip(7, "25", "-g 50"))
}
