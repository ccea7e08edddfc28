//! LL-HLS.

use super::media::clip;
use super::web::{attribute, tag, tags};
use super::{NAME, Stage};
use ghoststream::packet::MediaKind;
use ghoststream_server::live::OriginOptions;

#[tokio::test(flavor = "multi_thread")]
async fn parts_come_as_they_are_made_and_requests_wait_for_them() {
    let clip = clip(7, "25", "-g 50");
    let mut stage = Stage::new(OriginOptions::default(), &clip);
    // Nothing is promised before the first group is known.
    let early = stage.web.held(&format!("{NAME}/playlist.m3u8")).await;
    stage.feed.until(2.5);
    let (answer, _) = early.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let path = stage.video().await;
    let playlist = stage.web.text(&path).await;
    assert_eq!(tag(&playlist, "EXT-X-TARGETDURATION"), Some("2"));
    let sound = stage.web.text(&stage.sound().await).await;
    assert_eq!(tag(&sound, "EXT-X-TARGETDURATION"), Some("2"));
    let hint = attribute(tags(&playlist, "EXT-X-PRELOAD-HINT")[0], "URI").unwrap().to_string();
    let part = stage.web.held(&stage.path(&hint)).await;
    let reload = stage.web.held(&format!("{path}?_HLS_msn=1&_HLS_part=2")).await;
    stage.feed.until(2.7);
    let ((part, _), (reload, _)) = (part.await.unwrap(), reload.await.unwrap());
    assert_eq!((part.status, reload.status), (200, 200), "{}", reload.text());
    assert!(reload.text().contains(&hint), "{}", reload.text());
    assert_eq!(part.header("cache-control"), "public, max-age=12");
    let stats = stage.origin.stats();
    assert!(stats.ready && stats.viewers == 1 && stats.memory > 10_000, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_plays_and_an_end_is_told() {
    let clip = clip(7, "25", "-g 50").only(MediaKind::Audio);
    let mut stage = Stage::new(OriginOptions::default(), &clip);
    stage.feed.until(4.5);
    let path = stage.video().await;
    let playlist = stage.web.text(&path).await;
    assert!(
        !playlist.contains("EXT-X-ENDLIST") && playlist.contains("EXT-X-INDEPENDENT-SEGMENTS"),
        "{playlist}"
    );
    assert!(stage.live.get(NAME).is_some());
    stage.origins.close(NAME);
    // A directive of a stream that is over is ignored, and nobody waits.
    let held = stage.web.get(&format!("{path}?_HLS_msn=2")).await;
    let playlist = stage.web.text(&path).await;
    assert!(playlist.ends_with("#EXT-X-ENDLIST\n") && !playlist.contains("PRELOAD-HINT"), "{playlist}");
    assert_eq!(held.status, 200);
}
