//! Services that take live streams over RTMP: where, and what they recommend.

use super::values::{Bitrate, Seconds};

/// A service that takes RTMP, written `NAME:KEY` as an output's `path`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Service {
    /// The name before the key: `twitch`, `youtube`, `facebook`, `kick`.
    pub name: &'static str,
    /// The ingest address, without the key.
    pub ingest: &'static str,
    /// The most that picture and sound together should have; more is warned about.
    pub max_bitrate: Bitrate,
    /// The most that sound should have.
    pub max_audio_bitrate: Bitrate,
    /// Seconds between key frames that it wants; taken when the document says nothing.
    pub keyframe_interval: Seconds,
}

/// Every service that has a name. Rates and intervals are those of the services' own pages for encoders.
pub const SERVICES: &[Service] = &[
    Service {
        name: "twitch",
        ingest: "rtmp://live.twitch.tv/app",
        max_bitrate: Bitrate(6_000_000),
        max_audio_bitrate: Bitrate(320_000),
        keyframe_interval: Seconds(2.0),
    },
    Service {
        name: "youtube",
        ingest: "rtmp://a.rtmp.youtube.com/live2",
        max_bitrate: Bitrate(51_000_000),
        max_audio_bitrate: Bitrate(384_000),
        keyframe_interval: Seconds(2.0),
    },
    Service {
        name: "facebook",
        ingest: "rtmps://live-api-s.facebook.com:443/rtmp",
        max_bitrate: Bitrate(9_000_000),
        max_audio_bitrate: Bitrate(256_000),
        keyframe_interval: Seconds(2.0),
    },
    Service {
        name: "kick",
        ingest: "rtmps://fa723fc1b171.global-contribute.live-video.net:443/app",
        max_bitrate: Bitrate(8_000_000),
        max_audio_bitrate: Bitrate(320_000),
        keyframe_interval: Seconds(2.0),
    },
];

impl Service {
    /// The service of this name.
    pub fn named(name: &str) -> Option<&'static Service> {
        SERVICES.iter().find(|s| s.name.eq_ignore_ascii_case(name))
    }

    /// The service and the key that `path` names (`twitch:live_123`), if it does.
    pub fn of_path(path: &str) -> Option<(&'static Service, &str)> {
        let (name, key) = path.split_once(':')?;
        let service = Service::named(name)?;
        (!key.starts_with("//")).then_some((service, key))
    }

    /// The service whose address `url` is.
    pub fn of_url(url: &str) -> Option<&'static Service> {
        SERVICES.iter().find(|s| url.strip_prefix(s.ingest).is_some_and(|rest| rest.starts_with('/')))
    }

    /// The address for a key, which is in it.
    pub fn url(&self, key: &str) -> String {
        format!("{}/{key}", self.ingest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_service_and_a_key() {
        let (service, key) = Service::of_path("Twitch:live_1").unwrap();
        assert_eq!((service.name, key), ("twitch", "live_1"));
        assert_eq!(service.url(key), "rtmp://live.twitch.tv/app/live_1");
        assert_eq!(Service::of_url("rtmp://live.twitch.tv/app/live_1").map(|s| s.name), Some("twitch"));
        for path in ["rtmp://h/a/k", "C:/file.mkv", "file:twitch", "twitch", "twitch://x"] {
            assert!(Service::of_path(path).is_none(), "{path}");
        }
    }
}
