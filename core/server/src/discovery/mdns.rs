//! `_ghoststream._tcp` over multicast DNS (RFC 6762, RFC 6763), on every interface on which the server listens.

use super::{Advertisement, PROTOCOL_VERSION, Reach};
use mdns_sd::{IfKind, IfPredicate, ServiceDaemon, ServiceInfo};
use std::time::Duration;

const TYPE: &str = "_ghoststream._tcp.local.";
/// A TXT string holds 255 bytes at most (RFC 6763 §6.1).
const TXT_MOST: usize = 255;

/// A service that is announced.
pub(super) struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

impl Announcement {
    /// Announces the addresses of `reach`. Its thread follows interfaces that come and go.
    pub fn new(ad: &Advertisement, reach: &Reach) -> Result<Announcement, mdns_sd::Error> {
        let instance = instance(&ad.name);
        let host = format!("{instance}.local.");
        let service = ServiceInfo::new(TYPE, &instance, &host, (), ad.port, &txt(ad)[..])?.enable_addr_auto();
        let name = service.get_fullname().to_owned();
        let daemon = ServiceDaemon::new()?;
        // Who is told of an address that nobody listens on waits there in vain.
        match reach {
            Reach::Both => {}
            Reach::V4 => daemon.disable_interface(IfKind::IPv6)?,
            Reach::Only(all) => {
                let all = all.clone();
                // An interface here is one address of one.
                let others = IfPredicate::new(move |interface| !all.contains(&interface.ip()));
                daemon.disable_interface(IfKind::Predicate(others))?;
            }
        }
        daemon.register(service)?;
        tracing::info!("announced as {name}");
        Ok(Announcement { daemon, name })
    }

    /// Sends the good-bye, so that clients forget the service at once.
    pub async fn withdraw(self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        if let Ok(done) = self.daemon.unregister(&self.name) {
            let _gone_either_way = tokio::time::timeout(PATIENCE, done.recv_async()).await;
        }
        if let Ok(done) = self.daemon.shutdown() {
            let _gone_either_way = tokio::time::timeout(PATIENCE, done.recv_async()).await;
        }
    }
}

/// The instance's name: blanks become dashes, as clients expect it; dots would end a label, which has 63 bytes at most.
fn instance(name: &str) -> String {
    let mut instance: String = name
        .trim()
        .chars()
        .map(|c| if c.is_whitespace() || c == '.' || c.is_control() { '-' } else { c })
        .collect();
    while instance.len() > 63 {
        instance.pop();
    }
    if instance.is_empty() { "GhostStream".into() } else { instance }
}

/// The TXT record. A value that is too long loses whole words at its end.
fn txt(ad: &Advertisement) -> Vec<(&'static str, String)> {
    let fit = |key: &str, words: &[String]| {
        let mut words = words;
        while key.len() + 1 + words.join(",").len() > TXT_MOST {
            words = &words[..words.len() - 1];
        }
        words.join(",")
    };
    vec![
        ("version", PROTOCOL_VERSION.into()),
        ("api_version", "1".into()),
        ("hw_accels", fit("hw_accels", &ad.hw_accels)),
        ("video_codecs", fit("video_codecs", &ad.video_codecs)),
        ("audio_codecs", fit("audio_codecs", &ad.audio_codecs)),
        ("max_jobs", ad.max_jobs.to_string()),
        ("platform", fit("platform", std::slice::from_ref(&ad.platform))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_one_label() {
        assert_eq!(instance("GhostStream Transcoder"), "GhostStream-Transcoder");
        assert_eq!(instance(" den.2\n"), "den-2");
        assert_eq!(instance(""), "GhostStream");
        let long = instance(&"ü".repeat(40));
        assert!(long.len() <= 63 && long.chars().all(|c| c == 'ü'));
    }

    #[test]
    fn txt_strings_fit_and_lose_whole_words() {
        let ad = Advertisement {
            audio_codecs: (0..100).map(|i| format!("codec{i}")).collect(),
            platform: "x".repeat(300),
            ..Advertisement::default()
        };
        for (key, value) in txt(&ad) {
            assert!(key.len() + 1 + value.len() <= TXT_MOST, "{key}");
            assert!(key != "audio_codecs" || value.ends_with(|c: char| c.is_ascii_digit()));
        }
    }
}
