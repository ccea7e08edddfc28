//! DASH and LL-DASH.

use super::media::clip;
use super::web::SOON;
use super::{NAME, Stage, steady};
use axum::body::Body;
use axum::http::Request;
use ghoststream_server::live::OriginOptions;
use http_body_util::BodyExt;
use std::time::Duration;
use tower::ServiceExt;

fn value<'a>(manifest: &'a str, element: &str, name: &str) -> &'a str {
    let at = manifest.find(&format!("<{element} ")).unwrap_or_else(|| panic!("{element}\n{manifest}"));
    let tag = &manifest[at..at + manifest[at..].find('>').unwrap()];
    let at = tag.find(&format!(" {name}=\"")).unwrap_or_else(|| panic!("{name}: {tag}"));
    tag[at + name.len() + 3..].split('"').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_lets_players_ask_before_a_segment_is_whole() {
    let mut stage = Stage::new(OriginOptions::default(), steady());
    stage.until(4.5).await;
    stage.video().await;
    let answer = stage.web.get(&format!("{NAME}/manifest.mpd")).await;
    let manifest = answer.text().to_string();
    assert_eq!(answer.header("content-type"), "application/dash+xml");
    assert_eq!(answer.header("cache-control"), "public, max-age=1");
    assert_eq!(value(&manifest, "MPD", "type"), "dynamic");
    assert!(value(&manifest, "MPD", "profiles").contains("low-latency"));
    let offset: f64 = value(&manifest, "SegmentTemplate", "availabilityTimeOffset").parse().unwrap();
    assert!((offset - 1.798).abs() < 1e-6, "segment less part: {offset}");
    assert_eq!(value(&manifest, "SegmentTemplate", "availabilityTimeComplete"), "false");
    assert_eq!(value(&manifest, "SegmentTemplate", "duration"), "180000");
    for element in
        ["ServiceDescription", "Latency", "PlaybackRate", "Resync", "ProducerReferenceTime", "UTCTiming"]
    {
        assert!(manifest.contains(&format!("<{element}")), "{element}\n{manifest}");
    }
    let time = stage.web.get(&stage.path(value(&manifest, "UTCTiming", "value"))).await;
    assert!(time.status == 200 && time.text().ends_with('Z') && time.header("cache-control") == "no-store");
    // The segment that is being made: its chunks go out as they come.
    let media = value(&manifest, "SegmentTemplate", "media").replace("$Number$", "2");
    let request = Request::get(format!("/streams/{}", stage.path(&media))).body(Body::empty()).unwrap();
    let response = stage.web.0.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("content-length"));
    let mut body = response.into_body();
    let mut got = Vec::new();
    for _ in 0..2 {
        let frame = tokio::time::timeout(SOON, body.frame()).await.unwrap().unwrap().unwrap();
        got.extend_from_slice(frame.data_ref().unwrap());
    }
    assert!(got.windows(4).any(|w| w == b"prft"), "a chunk says when it was");
    let early = tokio::time::timeout(Duration::from_millis(200), body.frame()).await;
    assert!(early.is_err(), "a third chunk, of 0.5 s");
    stage.until(6.2).await;
    while let Some(frame) = tokio::time::timeout(SOON, body.frame()).await.unwrap() {
        got.extend_from_slice(frame.unwrap().data_ref().unwrap());
    }
    let whole = stage.web.get(&stage.path(&media)).await;
    assert!(whole.body == got, "the same bytes");
    // The next one is waited for, one far ahead is not there.
    let next = media.replace("_s2.", "_s3.");
    let held = stage.web.held(&stage.path(&next)).await;
    held.abort();
    assert_eq!(stage.web.get(&stage.path(&media.replace("_s2.", "_s9."))).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_of_unequal_length_have_a_timeline() {
    let mut stage =
        Stage::new(OriginOptions::default(), &clip(9, "25", "-g 1000 -force_key_frames 0,2,3.5,6"));
    stage.until(7.5).await;
    stage.video().await;
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    assert!(manifest.contains("<SegmentTimeline>"), "{manifest}");
    // Two whole ones of other lengths and the one that is being made.
    assert!(manifest.matches("<S ").count() >= 4, "{manifest}");
    assert_eq!(value(&manifest, "MPD", "minimumUpdatePeriod"), "PT0.500000S");
}
