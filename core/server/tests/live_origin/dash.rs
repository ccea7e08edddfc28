//! DASH and LL-DASH.

use super::media::{Feed, clip};
use super::web::SOON;
use super::{NAME, Stage, steady};
use axum::body::Body;
use axum::http::Request;
use ghoststream_server::live::{OriginOptions, Publisher};
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

/// The manifest's periods.
fn periods(manifest: &str) -> Vec<&str> {
    manifest.split("<Period ").skip(1).collect()
}

/// The tags of all elements of that name.
fn tags<'a>(manifest: &'a str, element: &str) -> Vec<&'a str> {
    let begin = format!("<{element} ");
    manifest.match_indices(&begin).map(|(at, _)| manifest[at..].split('>').next().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_says_what_its_own_publisher_sent() {
    // Made before: what comes later than it is sent would leave a hole.
    let other = clip(5, "25", "-g 50 -s 256x144 -level 4.1");
    let mut stage = Stage::new(OriginOptions::default(), steady());
    stage.until(6.5).await;
    let before = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    let said = |text: &str| {
        ["codecs", "width", "height", "sar"].map(|name| value(text, "Representation", name).to_string())
    };
    stage.live.keep(NAME).unwrap();
    drop(stage.feed);
    let again = stage.live.publish(NAME, Publisher::new("test", None)).unwrap();
    stage.feed = Feed::new(again, &other);
    stage.until(4.5).await;
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    let all = periods(&manifest);
    assert_eq!(all.len(), 2, "{manifest}");
    assert_eq!(said(all[0]), said(&before), "{manifest}");
    assert_eq!(said(all[0])[1..3], ["320", "180"]);
    assert_eq!(said(all[1])[1..3], ["256", "144"]);
    assert_ne!(said(all[0])[0], said(all[1])[0], "the level is another one");
    let widest = |period: &str| value(period, "AdaptationSet", "maxWidth").to_string();
    assert_eq!((widest(all[0]).as_str(), widest(all[1]).as_str()), ("320", "256"));
    // The publishers follow each other at once: the first period ends where the second begins.
    let time = |text: &str| text.trim_matches(['P', 'T', 'S']).parse::<f64>().unwrap();
    let of = |period: &str, name: &str| {
        time(period.split_once(&format!("{name}=\"")).unwrap().1.split('"').next().unwrap())
    };
    let end = of(all[0], "start") + of(all[0], "duration");
    assert!((end - of(all[1], "start")).abs() < 1e-5, "{manifest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_in_front_of_a_hole_has_no_segments_of_the_next() {
    // Key frames every 2 s; nothing comes from 7.2 to 11.4 s.
    let mut clip = clip(15, "25", "-g 50");
    clip.packets.retain(|p| !(7_200_000..11_400_000).contains(&super::media::micros(p)));
    let mut stage = Stage::new(OriginOptions::default(), &clip);
    stage.until(7.0).await;
    let before = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    assert!(!before.contains("endNumber") && !before.contains(" duration=\"PT"), "{before}");
    stage.until(14.8).await;
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    let all = periods(&manifest);
    assert_eq!(all.len(), 2, "{manifest}");
    // 0 to 2, 4, 6 and 7.2 s.
    let length = all[0].split_once(" duration=\"PT").unwrap().1.split('S').next().unwrap();
    assert!((7.1..7.4).contains(&length.parse::<f64>().unwrap()), "{manifest}");
    for template in tags(all[0], "SegmentTemplate") {
        assert!(template.contains("startNumber=\"0\" endNumber=\"3\""), "{template}");
        assert!(template.contains(" duration=\""), "players that have it know no timeline: {template}");
    }
    for template in tags(all[1], "SegmentTemplate") {
        assert!(template.contains("startNumber=\"4\"") && !template.contains("endNumber"), "{template}");
    }
    // What it promises is what was sent with its init segment.
    let media = value(&manifest, "SegmentTemplate", "media").replace("$Number$", "3");
    assert_eq!(stage.web.get(&stage.path(&media)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_are_cut_without_a_key_frame_promise_none() {
    let mut stage = Stage::new(OriginOptions::default(), &clip(12, "25", "-g 1000 -force_key_frames 0,2,4"));
    stage.until(4.5).await;
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    let sets = tags(&manifest, "AdaptationSet");
    assert!(sets.len() == 2 && sets.iter().all(|set| set.contains("startWithSAP=\"1\"")), "{sets:?}");
    stage.until(11.5).await;
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    let sets = tags(&manifest, "AdaptationSet");
    let said: Vec<bool> = sets.iter().map(|set| set.contains("startWithSAP")).collect();
    assert_eq!(said, [false, true], "only sound can begin anywhere: {sets:?}");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_behind_a_short_one_is_not_taken_for_short() {
    let mut stage =
        Stage::new(OriginOptions::default(), &clip(9, "25", "-g 1000 -force_key_frames 0,2.4,3.8,6.2,7.6"));
    stage.until(8.2).await;
    stage.video().await;
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    let timeline = manifest.split("<SegmentTimeline>").nth(1).unwrap_or_else(|| panic!("{manifest}"));
    let timeline = timeline.split("</SegmentTimeline>").next().unwrap();
    let lengths: Vec<&str> =
        timeline.split("d=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    // 2.4, 1.4, 2.4 and 1.4 s, and what is being made.
    assert_eq!(lengths, ["216000", "126000", "216000", "126000", "216000"], "{timeline}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_has_no_holes_where_the_sound_has() {
    // AC-3, for which no silence is made.
    let mut clip = super::media::clip_of(9, "25", "-g 1000 -force_key_frames 0,2,3.5,6", "ac3");
    let hole = 1_500_000..1_950_000;
    clip.packets.retain(|p| p.stream == 0 || !hole.contains(&super::media::micros(p)));
    let mut stage = Stage::new(OriginOptions::default(), &clip);
    stage.until(7.5).await;
    stage.video().await;
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    let timelines: Vec<&str> = manifest.split("<SegmentTimeline>").skip(1).collect();
    assert_eq!(timelines.len(), 2, "{manifest}");
    for timeline in timelines {
        let entries = timeline.split("</SegmentTimeline>").next().unwrap();
        // Only the first says when it begins: all others begin where the one before ends.
        assert_eq!(entries.matches(" t=").count(), 1, "{entries}");
        assert!(entries.matches("<S ").count() >= 3, "{entries}");
    }
}

/// What the manifest says from its first set of text on.
fn text_set(manifest: &str) -> &str {
    &manifest[manifest
        .find("<AdaptationSet id=\"2\" contentType=\"text\"")
        .unwrap_or_else(|| panic!("{manifest}"))..]
}

fn has(data: &[u8], word: &str) -> bool {
    data.windows(word.len()).any(|w| w == word.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_offered_in_mp4_and_comes_beside_the_pictures() {
    let cues = [(500, 2500, "one <i>and</i> two"), (5000, 5500, "three & four")];
    let mut stage = Stage::new(OriginOptions::default(), &steady().with_text("de", &cues));
    stage.until(4.5).await;
    stage.video().await;
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    // The presentation's times are not the media's (see the constant of dash.rs).
    let start: f64 = value(&manifest, "Period", "start").trim_matches(['P', 'T', 'S']).parse().unwrap();
    let offset: f64 = match manifest.split_once("presentationTimeOffset=\"") {
        Some((_, rest)) => rest.split('"').next().unwrap().parse().unwrap(),
        None => 0.0,
    };
    let scale: f64 = value(&manifest, "SegmentTemplate", "timescale").parse().unwrap();
    assert!((start - offset / scale - 0.001).abs() < 1e-4, "{manifest}");
    let set = text_set(&manifest);
    assert_eq!(value(set, "AdaptationSet", "lang"), "de");
    assert_eq!((value(set, "Role", "value"), value(set, "Representation", "codecs")), ("subtitle", "wvtt"));
    assert_eq!(value(set, "Representation", "mimeType"), "application/mp4");
    // Its segments are exactly the pictures' ones, as early.
    for name in ["timescale", "duration", "startNumber", "availabilityTimeOffset", "availabilityTimeComplete"]
    {
        assert_eq!(value(set, "SegmentTemplate", name), value(&manifest, "SegmentTemplate", name), "{name}");
    }
    let init = stage.web.get(&stage.path(value(set, "SegmentTemplate", "initialization"))).await;
    assert_eq!((init.status, init.header("content-type")), (200, "application/mp4"));
    assert!(
        has(&init.body, "wvtt")
            && has(&init.body, "WEBVTT")
            && init.header("cache-control").contains("immutable")
    );
    let media = value(set, "SegmentTemplate", "media");
    let segment = |n: &str| format!("{NAME}/{}", media.replace("$Number$", n));
    for (n, words, empty) in [("0", true, true), ("1", true, true)] {
        let answer = stage.web.get(&segment(n)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/mp4"), "{n}");
        assert_eq!(
            (has(&answer.body, "one <i>and</i> two"), has(&answer.body, "vtte")),
            (words, empty),
            "{n}"
        );
        assert!(answer.header("cache-control").contains("immutable") && has(&answer.body, "prft"));
        assert_eq!(answer.body.windows(4).filter(|w| w == b"moof").count(), 10, "a chunk for each part");
    }
    // The one that is being made comes in chunks, too.
    let request = Request::get(format!("/streams/{}", segment("2"))).body(Body::empty()).unwrap();
    let mut body = stage.web.0.clone().oneshot(request).await.unwrap().into_body();
    let mut got = Vec::new();
    for _ in 0..2 {
        let frame = tokio::time::timeout(SOON, body.frame()).await.unwrap().unwrap().unwrap();
        got.extend_from_slice(frame.data_ref().unwrap());
    }
    assert!(has(&got, "vtte") && !has(&got, "vttc"), "nothing is shown so far");
    let early = tokio::time::timeout(Duration::from_millis(200), body.frame()).await;
    assert!(early.is_err(), "a third chunk, of 0.5 s");
    stage.until(6.2).await;
    while let Some(frame) = tokio::time::timeout(SOON, body.frame()).await.unwrap() {
        got.extend_from_slice(frame.unwrap().data_ref().unwrap());
    }
    assert!(has(&got, "three &amp; four"));
    assert!(stage.web.get(&segment("2")).await.body == got, "the same bytes");
    // HLS has the text in WebVTT, and knows nothing of this.
    let list = value(set, "SegmentTemplate", "initialization").replace("_i0.mp4", ".m3u8");
    assert_eq!(stage.web.get(&stage.path(&list)).await.status, 404);
    for playlist in [format!("{NAME}/playlist.m3u8"), stage.video().await] {
        let playlist = stage.web.text(&playlist).await;
        assert!(!playlist.contains("w0_") && playlist.contains("s0_"), "{playlist}");
    }
    // Another publisher without text: its period has none.
    stage.live.keep(NAME).unwrap();
    drop(stage.feed);
    let again = stage.live.publish(NAME, Publisher::new("test", None)).unwrap();
    stage.feed = Feed::new(again, &clip(5, "25", "-g 50"));
    stage.until(4.5).await;
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    let (_, last) = manifest.rsplit_once("<Period ").unwrap();
    assert!(manifest.matches("<Period ").count() == 2 && !last.contains("\"text\""), "{manifest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_without_hls_and_parts_comes_in_whole_segments() {
    let options = OriginOptions { low_latency: false, hls: false, ..OriginOptions::default() };
    let mut stage = Stage::new(options, &steady().with_text("de", &[(1500, 2500, "across")]));
    stage.until(6.2).await;
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    let set = text_set(&manifest);
    assert!(!set.contains("availabilityTimeOffset") && !set.contains("Resync"), "{set}");
    let media = value(set, "SegmentTemplate", "media").to_string();
    for (n, shown) in [("0", true), ("1", true), ("2", false)] {
        let segment = stage.web.get(&stage.path(&media.replace("$Number$", n))).await.body;
        assert_eq!((has(&segment, "across"), has(&segment, "vtte")), (shown, true), "{n}");
        assert_eq!(segment.windows(4).filter(|w| w == b"moof").count(), 1, "{n}");
    }
    assert_eq!(
        stage
            .web
            .get(&stage.path(&media.replace("w0_", "s0_").replace("$Number$.m4s", "0.vtt")))
            .await
            .status,
        404
    );
}
