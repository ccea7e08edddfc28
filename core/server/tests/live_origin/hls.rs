//! LL-HLS: each point of a conforming origin, kept and demanded of.

use super::media::{Feed, clip, run};
use super::web::{SOON, Web, attribute, seconds, tag, tags};
use super::{NAME, Stage, steady};
use axum::http::Method;
use ghoststream::packet::MediaKind;
use ghoststream_server::live::{OriginOptions, Publisher};
use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

/// Every `EXT-X-PART` of a playlist with the number of its segment, its place there, and whether its segment is whole.
fn parts(playlist: &str) -> Vec<(u64, usize, bool, &str)> {
    let mut sequence: u64 = tag(playlist, "EXT-X-MEDIA-SEQUENCE").unwrap().parse().unwrap();
    let mut all = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    for line in playlist.lines() {
        if line.starts_with("#EXT-X-PART:") {
            open.push(line);
        } else if !line.starts_with('#') {
            all.extend(open.drain(..).enumerate().map(|(i, l)| (sequence, i, true, l)));
            sequence += 1;
        }
    }
    all.extend(open.drain(..).enumerate().map(|(i, l)| (sequence, i, false, l)));
    all
}

fn hint(playlist: &str) -> String {
    let hints = tags(playlist, "EXT-X-PRELOAD-HINT");
    let parts: Vec<_> = hints.iter().filter(|l| attribute(l, "TYPE") == Some("PART")).collect();
    assert_eq!(parts.len(), 1, "{playlist}");
    attribute(parts[0], "URI").unwrap().into()
}

/// The number of the segment that is being made.
fn open(playlist: &str) -> u64 {
    let first: u64 = tag(playlist, "EXT-X-MEDIA-SEQUENCE").unwrap().parse().unwrap();
    first + tags(playlist, "EXTINF").len() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_promised_before_it_is_known_and_requests_wait_for_it() {
    let mut stage = Stage::new(OriginOptions::default(), steady());
    let early = stage.web.held(&format!("{NAME}/playlist.m3u8")).await;
    stage.until(2.5).await;
    let (answer, _) = early.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let path = stage.video().await;
    let playlist = stage.web.text(&path).await;
    // Point 8: the hinted part is waited for, and comes whole.
    let hint = hint(&playlist);
    let (msn, have) = (open(&playlist), parts(&playlist).iter().filter(|p| !p.2).count());
    let part = stage.web.held(&stage.path(&hint)).await;
    let reload = stage.web.held(&format!("{path}?_HLS_msn={msn}&_HLS_part={have}")).await;
    // Against 8: two of five pictures; nothing may go out.
    stage.until(2.55).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stage.until(3.0).await;
    let ((part, _), (reload, _)) = (part.await.unwrap(), reload.await.unwrap());
    assert_eq!((part.status, reload.status), (200, 200), "{}", reload.text());
    let line = tags(reload.text(), "EXT-X-PART").into_iter().find(|l| l.contains(&hint)).unwrap();
    assert!((seconds(attribute(line, "DURATION")) - 0.2).abs() < 0.001, "{line}");
    assert_eq!(part.body.len().to_string(), part.header("content-length"));
    // Point 13.
    assert_eq!(part.header("cache-control"), "public, max-age=12");
    assert_eq!(reload.header("cache-control"), "public, max-age=12");
    let stats = stage.origin.stats();
    assert!(stats.ready && stats.viewers == 1 && stats.memory > 10_000 && stats.bytes_sent > 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn playlists_keep_the_rules_of_the_draft() {
    // Pictures at 24 Hz do not fit into 0.2 s; a second key frame in each segment.
    let clip = clip(26, "24", "-g 24 -bf 2");
    let mut stage = Stage::new(OriginOptions::default(), &clip);
    stage.until(5.0).await;
    let (video, sound) = (stage.video().await, stage.sound().await);
    let early = stage.web.text(&video).await;
    let early_part = attribute(parts(&early)[0].3, "URI").unwrap().to_string();
    let mut uris: BTreeMap<String, f64> = BTreeMap::new();
    for step in 0..40 {
        stage.until(5.0 + f64::from(step) * 0.5).await;
        for path in [&video, &sound] {
            let playlist = stage.web.text(path).await;
            // Point 8: always a hint.
            assert!(hint(&playlist).ends_with(".m4s"));
            let target: f64 = seconds(attribute(tags(&playlist, "EXT-X-PART-INF")[0], "PART-TARGET"));
            for (sequence, index, whole, line) in parts(&playlist) {
                // Point 3.
                let length = seconds(attribute(line, "DURATION"));
                let last = whole && !parts(&playlist).iter().any(|p| p.0 == sequence && p.1 == index + 1);
                let independent = attribute(line, "INDEPENDENT") == Some("YES");
                assert!(length <= target + 1e-6, "{line}");
                assert!(last || independent || length >= target * 0.85, "{target} {line}");
                // Point 13: what a URI is, it stays.
                let uri = attribute(line, "URI").unwrap().to_string();
                assert!((uris.entry(uri).or_insert(length).to_owned() - length).abs() < 1e-9, "{line}");
            }
        }
    }
    stage.until(24.5).await;
    let (video_list, sound_list) = (stage.web.text(&video).await, stage.web.text(&sound).await);
    for (list, other) in [(&video_list, &sound), (&sound_list, &video)] {
        // Points 1 and 2.
        let control = tags(list, "EXT-X-SERVER-CONTROL")[0];
        assert_eq!(control, tags(&early, "EXT-X-SERVER-CONTROL")[0]);
        let target: f64 = tag(list, "EXT-X-TARGETDURATION").unwrap().parse().unwrap();
        assert_eq!(Some(format!("{target}").as_str()), tag(&early, "EXT-X-TARGETDURATION"));
        let part = seconds(attribute(tags(list, "EXT-X-PART-INF")[0], "PART-TARGET"));
        assert!(seconds(attribute(control, "PART-HOLD-BACK")) >= 3.0 * part, "{control}");
        assert!(seconds(attribute(control, "HOLD-BACK")) >= 3.0 * target, "{control}");
        assert!(seconds(attribute(control, "CAN-SKIP-UNTIL")) >= 6.0 * target, "{control}");
        assert_eq!(attribute(control, "CAN-BLOCK-RELOAD"), Some("YES"));
        for line in list.lines().filter_map(|l| l.strip_prefix("#EXTINF:")) {
            assert!(line.trim_end_matches(',').parse::<f64>().unwrap().round() <= target, "{line}");
        }
        // Point 10.
        let report = tags(list, "EXT-X-RENDITION-REPORT");
        assert_eq!(report.len(), 1);
        assert!(other.ends_with(attribute(report[0], "URI").unwrap()), "{report:?}");
        let dates = tags(list, "EXT-X-PROGRAM-DATE-TIME").len();
        assert_eq!(dates, tags(list, "EXTINF").len() + 1, "{list}");
        assert_eq!(tags(list, "EXTINF").len(), 10);
        // Point 11: no parts more than three target durations from the end.
        let age: f64 = parts(list).iter().map(|p| seconds(attribute(p.3, "DURATION"))).sum();
        assert!(age < 3.0 * target + 2.5 && age > 2.0 * target, "{age}\n{list}");
    }
    // Each part but the first of a segment is told to begin a little later than it does (see the constant of hls.rs), and the next segment
    // where it begins.
    let (whole, _) = super::rules::segments(&video_list);
    let shown: Vec<_> = whole.iter().filter(|s| s.iter().any(|l| l.starts_with("#EXT-X-PART:"))).collect();
    assert!(!shown.is_empty());
    for segment in shown {
        let told = segment.iter().filter(|l| l.starts_with("#EXT-X-PART:"));
        let micros = |seconds: f64| (seconds * 1e6).round() as i64;
        let lengths: Vec<i64> = told.map(|l| micros(seconds(attribute(l, "DURATION")))).collect();
        let whole = segment.iter().find_map(|l| l.strip_prefix("#EXTINF:")).unwrap();
        let whole = micros(whole.trim_end_matches(',').parse().unwrap());
        // A microsecond each, but for what is rounded.
        let (more, count) = (lengths.iter().sum::<i64>() - whole, lengths.len() as i64);
        assert!((more - count).abs() <= count / 2, "{more} of {count}: {segment:?}");
    }
    // ... which can still be fetched for three more, and are gone some time behind that.
    let old = parts(&video_list)[0];
    // Against 11: a part that no playlist tells of any more.
    let gone = stage.web.get(&stage.path(&early_part)).await;
    assert_eq!(stage.web.get(&stage.path(attribute(old.3, "URI").unwrap())).await.status, 200);
    assert_eq!(gone.status, 200, "the window of twenty seconds and once more that is kept");
    // Point 10: in step within one part.
    let last = |list: &str| -> f64 {
        let dates = tags(list, "EXT-X-PROGRAM-DATE-TIME");
        let at = dates.last().unwrap().rsplit(':').next().unwrap().trim_end_matches('Z').to_string();
        let open =
            parts(list).iter().filter(|p| !p.2).map(|p| seconds(attribute(p.3, "DURATION"))).sum::<f64>();
        at.parse::<f64>().unwrap() + open
    };
    let apart = (last(&video_list) - last(&sound_list)).abs();
    assert!(apart.min(60.0 - apart) <= 0.25, "{video_list}{sound_list}");
    // Point 3: both key frames of a segment.
    let marks: Vec<bool> =
        parts(&video_list).iter().map(|p| attribute(p.3, "INDEPENDENT") == Some("YES")).collect();
    let whole = parts(&video_list).iter().filter(|p| p.2).count();
    let keys = marks.iter().filter(|m| **m).count();
    assert!(keys >= 2 * whole / 10 && keys < whole / 2, "{video_list}");
    assert!(!video_list.contains("EXT-X-INDEPENDENT-SEGMENTS"));
    // Sound begins where its segments do.
    let marked: Vec<_> =
        parts(&sound_list).iter().map(|p| (p.1 == 0, attribute(p.3, "INDEPENDENT") == Some("YES"))).collect();
    assert!(marked.iter().all(|(first, marked)| first == marked), "{sound_list}");
    assert!(sound_list.contains("EXT-X-INDEPENDENT-SEGMENTS"));
    // Never earlier than the pictures', by less than a frame later.
    assert_eq!(tag(&video_list, "EXT-X-MEDIA-SEQUENCE"), tag(&sound_list, "EXT-X-MEDIA-SEQUENCE"));
    let dates = |list: &str| -> Vec<_> {
        let date =
            |line: &str| line.split_once(':').unwrap().1.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        tags(list, "EXT-X-PROGRAM-DATE-TIME").into_iter().map(date).collect()
    };
    let late: Vec<i64> = std::iter::zip(dates(&sound_list), dates(&video_list))
        .map(|(sound, video)| (sound - video).num_milliseconds())
        .collect();
    assert!(late.len() > 5 && late.iter().all(|ms| (0..=22).contains(ms)), "{late:?}");
    assert!(late.iter().any(|ms| *ms > 10), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocking_reloads_wait_for_what_they_name() {
    let mut stage = Stage::new(OriginOptions::default(), steady());
    stage.until(4.7).await;
    let path = stage.video().await;
    let playlist = stage.web.text(&path).await;
    let msn = open(&playlist);
    assert_eq!(msn, 2, "{playlist}");
    let have = parts(&playlist).iter().filter(|p| !p.2).count();
    // Point 4: an old number is answered at once, with everything.
    let old = stage.web.get(&format!("{path}?_HLS_msn=0")).await;
    assert_eq!((old.status, old.text()), (200, playlist.as_str()));
    // A part beyond the end of a whole segment is the next segment's first, which is there.
    assert_eq!(stage.web.get(&format!("{path}?_HLS_msn=1&_HLS_part=10")).await.status, 200);
    // Points 4 and 5: an answer that says why.
    // Against 5: what may not be demanded.
    for (query, why) in [
        ("_HLS_part=1".to_string(), "_HLS_msn"),
        (format!("_HLS_msn={}", msn + 2), "too far"),
        (format!("_HLS_msn={msn}&_HLS_part={}", have + 15), "too far"),
        (format!("_HLS_msn={msn}&_HLS_part={}", u64::MAX), "too far"),
        ("_HLS_msn=x".into(), "number"),
    ] {
        let refused = stage.web.get(&format!("{path}?{query}")).await;
        assert_eq!((refused.status, refused.header("cache-control")), (400, "public, max-age=2"), "{query}");
        assert!(
            refused.text().contains(why) && refused.text().starts_with("{\"detail\":"),
            "{}",
            refused.text()
        );
    }
    // Against 4: the segment alone is not its parts, and a part that overflows is not its segment's end.
    let segment = stage.web.held(&format!("{path}?_HLS_msn={msn}")).await;
    let overflow = stage.web.held(&format!("{path}?_HLS_msn={msn}&_HLS_part=10")).await;
    let next = stage.web.held(&format!("{path}?_HLS_msn={}", msn + 1)).await;
    stage.until(5.9).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!segment.is_finished() && !overflow.is_finished());
    stage.until(6.15).await;
    let (segment, _) = segment.await.unwrap();
    assert_eq!(open(segment.text()), msn + 1, "{}", segment.text());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!overflow.is_finished(), "the next segment has no part yet");
    stage.until(6.4).await;
    let (overflow, _) = overflow.await.unwrap();
    assert!(parts(overflow.text()).iter().any(|p| p.0 == msn + 1), "{}", overflow.text());
    assert!(!next.is_finished());
    next.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_stalls_is_waited_for_three_target_durations() {
    let options = OriginOptions { segment: Duration::from_secs(1), ..OriginOptions::default() };
    let mut stage = Stage::new(options, &clip(4, "25", "-g 25"));
    stage.until(2.5).await;
    let path = stage.video().await;
    let playlist = stage.web.text(&path).await;
    let begun = std::time::Instant::now();
    let (reload, part) = (format!("{path}?_HLS_msn={}", open(&playlist)), stage.path(&hint(&playlist)));
    let (reload, part) = tokio::join!(stage.web.ask(Method::GET, &reload, &[]), stage.web.get(&part));
    let took = begun.elapsed().as_secs_f64();
    // Point 5: nothing new has come.
    assert_eq!((reload.status, part.status), (503, 503));
    assert_eq!(reload.header("cache-control"), "no-store");
    assert!((2.9..4.5).contains(&took), "{took}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_is_right_at_the_end_of_a_segment_too() {
    let mut stage = Stage::new(OriginOptions::default(), steady());
    // Point 9: the segment's last picture is there, the key frame behind it is not.
    stage.until(4.0).await;
    let path = stage.video().await;
    let playlist = stage.web.text(&path).await;
    let hinted = hint(&playlist);
    let part = stage.web.held(&stage.path(&hinted)).await;
    stage.until(4.5).await;
    let (part, _) = part.await.unwrap();
    assert_eq!(part.status, 200);
    let playlist = stage.web.text(&path).await;
    let (sequence, index, _, line) =
        *parts(&playlist).iter().find(|p| p.3.contains(&hinted)).unwrap_or_else(|| panic!("{playlist}"));
    assert_eq!((sequence, index), (2, 0), "{playlist}");
    assert_eq!(attribute(line, "INDEPENDENT"), Some("YES"));
    assert_eq!(&part.body[4..8], b"styp");
    // Against 8: what is not hinted is not waited for.
    let far = hint(&playlist).replace("_p", "_p9");
    let none = stage.web.get(&stage.path(&far)).await;
    assert_eq!((none.status, none.header("content-type")), (404, "application/json"));
    assert_eq!(none.header("cache-control"), "public, max-age=2");
}

#[tokio::test(flavor = "multi_thread")]
async fn delta_updates_leave_out_what_is_old() {
    let mut stage = Stage::new(OriginOptions::default(), &clip(26, "25", "-g 50"));
    stage.until(3.0).await;
    let path = stage.video().await;
    // Point 7: nothing is old enough.
    let short = stage.web.text(&format!("{path}?_HLS_skip=YES")).await;
    assert_eq!(short, stage.web.text(&path).await);
    stage.until(24.5).await;
    let full = stage.web.text(&path).await;
    for value in ["YES", "v2"] {
        let delta = stage.web.text(&format!("{path}?_HLS_skip={value}")).await;
        let skipped: usize =
            attribute(tags(&delta, "EXT-X-SKIP")[0], "SKIPPED-SEGMENTS").unwrap().parse().unwrap();
        assert!(skipped >= 3, "{delta}");
        assert_eq!(tag(&delta, "EXT-X-VERSION"), Some("9"));
        assert_eq!(tag(&delta, "EXT-X-MEDIA-SEQUENCE"), tag(&full, "EXT-X-MEDIA-SEQUENCE"));
        assert_eq!(tags(&delta, "EXTINF").len() + skipped, tags(&full, "EXTINF").len());
        // Six target durations are not skipped.
        let kept: f64 = tags(&delta, "EXTINF").len() as f64 * 2.0;
        assert!(kept >= 12.0, "{delta}");
        // Which init segment it is, is said again, and before anything that needs it.
        let rest = delta.split_once("#EXT-X-SKIP:").unwrap().1.split_once('\n').unwrap().1;
        let map = format!("{}\n", tags(&full, "EXT-X-MAP")[0]);
        assert!(rest.starts_with(&map) && tags(&delta, "EXT-X-MAP").len() == 1, "{delta}");
        let rest = &delta[delta.find("#EXT-X-PROGRAM-DATE-TIME").unwrap()..];
        assert!(full.ends_with(rest), "{delta}\n{full}");
    }
    assert_eq!(stage.web.text(&format!("{path}?_HLS_skip=NO")).await, full);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_can_be_cached_compared_and_cut() {
    let mut stage = Stage::new(OriginOptions::default(), steady());
    stage.until(4.5).await;
    let path = stage.video().await;
    // Point 12: compressed, each with a validator of its own.
    let plain = stage.web.get(&path).await;
    let packed = stage.web.with(&path, &[("accept-encoding", "gzip, br")]).await;
    assert_eq!((packed.header("content-encoding"), packed.header("vary")), ("gzip", "Accept-Encoding"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain.text());
    assert!(packed.body.len() < plain.body.len());
    assert_ne!(packed.header("etag"), plain.header("etag"));
    assert_eq!(plain.header("content-type"), "application/vnd.apple.mpegurl");
    // Point 13: playlists as they are now for half a target duration.
    assert_eq!(plain.header("cache-control"), "public, max-age=1");
    let same = stage.web.with(&path, &[("if-none-match", plain.header("etag"))]).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    // Point 12: any range of segments, which are for ever.
    let uri = plain.text().lines().find(|l| !l.starts_with('#')).unwrap();
    let whole = stage.web.get(&stage.path(uri)).await;
    assert_eq!(whole.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!((whole.header("accept-ranges"), whole.header("content-type")), ("bytes", "video/mp4"));
    let size = whole.body.len();
    for (range, from, to) in [
        ("bytes=0-99".to_string(), 0, 100),
        ("bytes=-50".into(), size - 50, size),
        (format!("bytes=1000-{}", size), 1000, size),
    ] {
        let cut = stage.web.with(&stage.path(uri), &[("range", &range)]).await;
        assert_eq!((cut.status, &cut.body[..]), (206, &whole.body[from..to]), "{range}");
        assert_eq!(cut.header("content-range"), format!("bytes {from}-{}/{size}", to - 1));
    }
    // Against 12: a range behind the end.
    let beyond = stage.web.with(&stage.path(uri), &[("range", "bytes=99999999-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{size}").as_str()));
    let same = stage.web.with(&stage.path(uri), &[("if-none-match", whole.header("etag"))]).await;
    assert_eq!(same.status, 304);
    // A segment is its parts.
    let parts: Vec<&str> = parts(plain.text()).iter().filter(|p| p.0 == 0).map(|p| p.3).collect();
    let mut joined = Vec::new();
    for line in parts {
        joined.extend_from_slice(&stage.web.get(&stage.path(attribute(line, "URI").unwrap())).await.body);
    }
    assert!(joined == whole.body);
    // CORS, and errors as JSON.
    for answer in [&plain, &whole, &stage.web.get(&stage.path("nothing.m4s")).await] {
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert!(answer.header("access-control-expose-headers").contains("Content-Length"));
    }
    let options = stage.web.ask(Method::OPTIONS, &path, &[]).await;
    assert_eq!((options.status, options.header("access-control-allow-methods")), (204, "GET, HEAD, OPTIONS"));
    let head = stage.web.ask(Method::HEAD, &stage.path(uri), &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), size.to_string());
    for none in ["nobody/playlist.m3u8", "cam/playlist.m3u8", &format!("{path}x"), "a/b/c/playlist.m3u8"] {
        let none = stage.web.get(none).await;
        assert_eq!((none.status, none.header("content-type")), (404, "application/json"));
    }
    assert_eq!(stage.web.ask(Method::POST, &path, &[]).await.status, 405);
    // Against 12: who takes no gzip, gets none.
    let refuses = stage.web.with(&path, &[("accept-encoding", "gzip;q=0, br")]).await;
    assert_eq!((refuses.header("content-encoding"), refuses.text()), ("", plain.text()));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_viewers_get_the_same_bytes_at_once() {
    let mut stage = Stage::new(OriginOptions::default(), steady());
    stage.until(4.5).await;
    let path = stage.video().await;
    let playlist = stage.web.text(&path).await;
    let have = parts(&playlist).iter().filter(|p| !p.2).count();
    let query = format!("{path}?_HLS_msn=2&_HLS_part={have}");
    let mut waiting = Vec::new();
    for _ in 0..200 {
        let (web, query) = (stage.web.clone(), query.clone());
        waiting.push(tokio::spawn(async move { web.get(&query).await }));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    stage.until(5.0).await;
    let first = waiting.pop().unwrap().await.unwrap();
    for each in waiting {
        let each = each.await.unwrap();
        assert_eq!(each.status, 200);
        // Not one copy per viewer: the same memory.
        assert!(each.header("etag") != first.header("etag") || each.body == first.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_publisher_is_a_discontinuity() {
    let mut stage = Stage::new(OriginOptions::default(), steady());
    stage.until(4.5).await;
    let (path, sound) = (stage.video().await, stage.sound().await);
    let before = stage.web.text(&path).await;
    let init = attribute(tags(&before, "EXT-X-MAP")[0], "URI").unwrap().to_string();
    // Kept, as a configured stream is: the name goes on without a publisher.
    stage.live.keep(NAME).unwrap();
    let Stage { feed, live, origins, origin, web } = stage;
    drop(feed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let away = web.text(&path).await;
    assert!(!away.contains("ENDLIST") && !hint(&away).is_empty(), "{away}");
    // The last segment is short, and whole.
    assert_eq!(open(&away), 3, "{away}");
    let hinted = web.held(&format!("{NAME}/{}", hint(&away))).await;
    // Other pictures, and no sound.
    let other = clip(9, "30", "-g 30 -s 256x144").only(MediaKind::Video);
    let feed = Feed::new(live.publish(NAME, Publisher::new("test", None)).unwrap(), &other);
    let mut stage = Stage { live, origins, origin, web, feed };
    // Point 8: the old hint is given up, the new init segment is hinted and waited for.
    let (given_up, _) = hinted.await.unwrap();
    assert_eq!((given_up.status, given_up.header("cache-control")), (404, "public, max-age=8"));
    let coming = stage.web.text(&path).await;
    let maps: Vec<&str> = tags(&coming, "EXT-X-PRELOAD-HINT")
        .into_iter()
        .filter(|l| attribute(l, "TYPE") == Some("MAP"))
        .collect();
    let map = attribute(maps.first().unwrap_or_else(|| panic!("{coming}")), "URI").unwrap().to_string();
    assert_ne!(map, init);
    let map = stage.web.held(&stage.path(&map)).await;
    stage.until(5.5).await;
    assert_eq!(map.await.unwrap().0.status, 200);
    let after = stage.web.text(&path).await;
    assert!(tag(&after, "EXT-X-DISCONTINUITY-SEQUENCE").is_none(), "{after}");
    assert_eq!(after.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{after}");
    assert_eq!(tags(&after, "EXT-X-MAP").len(), 2, "{after}");
    assert_eq!(tag(&after, "EXT-X-TARGETDURATION"), Some("2"));
    // The old init segment is still there, for who has not got so far.
    assert_eq!(stage.web.get(&stage.path(&init)).await.status, 200);
    // The rendition without a publisher goes on in step, with gaps.
    let silent = stage.web.text(&sound).await;
    assert_eq!(
        silent.matches("#EXT-X-GAP\n").count(),
        after.matches("EXTINF").count() - 3,
        "{silent}\n{after}"
    );
    assert_eq!(silent.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{silent}");
    let master = stage.web.text(&format!("{NAME}/playlist.m3u8")).await;
    assert!(master.contains("RESOLUTION=256x144") && !master.contains("mp4a"), "{master}");
    // Point 14: when the discontinuity has gone, it is counted.
    let options = OriginOptions { playlist_size: 4, ..OriginOptions::default() };
    let mut short = Stage::new(options, &clip(4, "25", "-g 25"));
    short.until(3.9).await;
    let path = short.video().await;
    short.live.keep(NAME).unwrap();
    let Stage { feed, live, origins, origin, web } = short;
    drop(feed);
    let long = clip(14, "25", "-g 25");
    let feed = Feed::new(live.publish(NAME, Publisher::new("test", None)).unwrap(), &long);
    let mut short = Stage { live, origins, origin, web, feed };
    let mut seen = Vec::new();
    for half in 2..27 {
        short.until(f64::from(half) / 2.0).await;
        let list = short.web.text(&path).await;
        let number = tag(&list, "EXT-X-DISCONTINUITY-SEQUENCE").map_or(0, |n| n.parse::<u64>().unwrap());
        seen.push((number, list.matches("#EXT-X-DISCONTINUITY\n").count()));
    }
    seen.dedup();
    assert_eq!(seen.last(), Some(&(1, 0)), "{seen:?}");
    assert!(seen.iter().all(|s| matches!(s, (0, 0 | 1) | (1, 0))), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_groups_end_nothing_however_many_there_are() {
    // Five groups in a row with a NAL unit that says to be longer than it is, between good ones.
    let mut clip = clip(24, "25", "-g 50");
    for packet in clip.packets.iter_mut().filter(|p| p.stream == 0) {
        let at = super::media::micros(packet);
        let group = at / 2_000_000;
        if (2..7).contains(&group) && (700_000..740_000).contains(&(at % 2_000_000)) {
            let mut data = packet.data.to_vec();
            data[..4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
            packet.data = data.into();
        }
    }
    let mut stage = Stage::new(OriginOptions { playlist_size: 20, ..OriginOptions::default() }, &clip);
    stage.until(3.5).await;
    let path = stage.video().await;
    for second in 4..24 {
        stage.until(f64::from(second) + 0.5).await;
    }
    let runs = stage.origin.stats().runs;
    assert!(runs >= 5, "what is damaged is felt: {runs}");
    let list = stage.web.text(&path).await;
    assert!(!list.contains("ENDLIST"), "{list}");
    // Behind them it is as it was: whole segments one behind the other, of one run, the last of which ends at 22 s.
    let behind = list.rsplit("#EXT-X-DISCONTINUITY\n").next().unwrap();
    let lengths = behind.lines().filter_map(|l| l.strip_prefix("#EXTINF:"));
    let whole = lengths.filter(|l| (l.trim_end_matches(',').parse::<f64>().unwrap() - 2.0).abs() < 0.01);
    assert!(whole.count() >= 3, "{list}");
    let last = list.lines().rfind(|l| !l.starts_with('#')).unwrap();
    assert_eq!(stage.web.get(&stage.path(last)).await.status, 200);
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    assert!(manifest.contains(&format!("id=\"r{}\"", runs - 1)), "{manifest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_plays_and_an_end_is_told() {
    let clip = steady().only(MediaKind::Audio);
    let mut stage = Stage::new(OriginOptions::default(), &clip);
    stage.until(4.5).await;
    let path = stage.video().await;
    let playlist = stage.web.text(&path).await;
    assert!(
        !playlist.contains("EXT-X-ENDLIST") && playlist.contains("EXT-X-INDEPENDENT-SEGMENTS"),
        "{playlist}"
    );
    let master = stage.web.text(&format!("{NAME}/playlist.m3u8")).await;
    assert!(master.contains("CODECS=\"mp4a.40.2\"") && !master.contains("RESOLUTION"), "{master}");
    // Point 6: a directive of a stream that is over is ignored, and nobody waits.
    let held = stage.web.held(&format!("{path}?_HLS_msn={}", open(&playlist))).await;
    let part = stage.web.held(&stage.path(&hint(&playlist))).await;
    stage.origins.close(NAME);
    assert_eq!(held.await.unwrap().0.status, 200);
    let gone = part.await.unwrap().0;
    assert!(gone.status == 404 || gone.status == 200, "{}", gone.status);
    // Against 6: what could never come.
    let late = stage.web.get(&format!("{path}?_HLS_msn=100")).await;
    let playlist = stage.web.text(&path).await;
    assert!(playlist.ends_with("#EXT-X-ENDLIST\n") && !playlist.contains("PRELOAD-HINT"), "{playlist}");
    assert_eq!((late.status, late.text()), (200, playlist.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_key_frame_comes_segments_stay_in_bounds() {
    // Key frames at 0, 2 and 9 seconds.
    let clip = clip(12, "25", "-g 1000 -bf 2 -force_key_frames 0,2,9");
    let mut stage = Stage::new(OriginOptions::default(), &clip);
    stage.until(12.0).await;
    let (video, sound) = (stage.video().await, stage.sound().await);
    stage.origins.close(NAME);
    for path in [&video, &sound] {
        let playlist = loop {
            let playlist = stage.web.text(path).await;
            if playlist.contains("ENDLIST") {
                break playlist;
            }
        };
        assert_eq!(tag(&playlist, "EXT-X-TARGETDURATION"), Some("2"));
        let lengths: Vec<f64> = playlist
            .lines()
            .filter_map(|l| l.strip_prefix("#EXTINF:"))
            .map(|l| l.trim_end_matches(',').parse().unwrap())
            .collect();
        assert!(lengths.len() >= 6 && lengths.iter().all(|l| l.round() <= 2.0), "{playlist}");
        assert!((lengths.iter().sum::<f64>() - 12.0).abs() < 0.1, "{playlist}");
    }
    // The segments without a key frame do not pretend to have one; who plays sees every picture.
    let address = serve(&stage.web).await;
    let url = format!("http://{address}/streams/{NAME}/playlist.m3u8");
    let frames = tokio::task::spawn_blocking(move || {
        run(
            "ffmpeg",
            &["-v", "warning", "-xerror", "-i", &url, "-map", "0:v", "-map", "0:a", "-f", "null", "-"],
        );
        run(
            "ffprobe",
            &[
                "-v",
                "error",
                "-count_packets",
                "-select_streams",
                "v:0",
                "-show_entries",
                "stream=nb_read_packets",
                "-of",
                "csv=p=0",
                &url,
            ],
        )
    });
    let frames = tokio::time::timeout(SOON * 6, frames).await.unwrap().unwrap();
    assert!(frames.lines().any(|l| l.trim() == "300"), "{frames}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_multivariant_playlist_says_everything() {
    let mut stage = Stage::new(OriginOptions::default(), steady());
    stage.until(6.5).await;
    let path = stage.video().await;
    let master = stage.web.text(&format!("{NAME}/playlist.m3u8")).await;
    let variant = tags(&master, "EXT-X-STREAM-INF")[0];
    // Point 15.
    let codecs = attribute(variant, "CODECS").unwrap();
    assert!(codecs.starts_with("avc1.") && codecs.ends_with(",mp4a.40.2"), "{variant}");
    assert_eq!(attribute(variant, "RESOLUTION"), Some("320x180"));
    assert_eq!(attribute(variant, "FRAME-RATE"), Some("25.000"));
    let bits = |name: &str| attribute(variant, name).unwrap().parse::<f64>().unwrap();
    let (average, peak) = (bits("AVERAGE-BANDWIDTH"), bits("BANDWIDTH"));
    let mut sizes = Vec::new();
    for path in [&path, &stage.sound().await] {
        let playlist = stage.web.text(path).await;
        for uri in playlist.lines().filter(|l| !l.starts_with('#')) {
            sizes.push(stage.web.get(&stage.path(uri)).await.body.len());
        }
    }
    assert_eq!(sizes.len(), 6);
    let measured = sizes.iter().sum::<usize>() as f64 * 8.0 / 6.0;
    assert!((average / measured - 1.0).abs() < 0.03, "{average} {measured}");
    assert!(peak >= average, "{variant}");
    // The I-frame playlist: no parts, ranges that are pictures.
    let line = tags(&master, "EXT-X-I-FRAME-STREAM-INF")[0];
    let keys = stage.web.text(&stage.path(attribute(line, "URI").unwrap())).await;
    assert!(keys.contains("EXT-X-I-FRAMES-ONLY") && !keys.contains("EXT-X-PART"), "{keys}");
    let range = tag(&keys, "EXT-X-BYTERANGE").unwrap();
    let (length, offset) = range.split_once('@').unwrap();
    let (length, offset): (usize, usize) = (length.parse().unwrap(), offset.parse().unwrap());
    let uri = keys.lines().find(|l| !l.starts_with('#')).unwrap();
    let wanted = format!("bytes={offset}-{}", offset + length - 1);
    let picture = stage.web.with(&stage.path(uri), &[("range", &wanted)]).await;
    assert_eq!((picture.status, &picture.body[4..8]), (206, &b"moof"[..]));
    let map = attribute(tags(&keys, "EXT-X-MAP")[0], "URI").unwrap();
    let init = stage.web.get(&stage.path(map)).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key.mp4");
    std::fs::write(&file, [&init.body[..], &picture.body[..]].concat()).unwrap();
    run("ffmpeg", &["-v", "error", "-xerror", "-i", file.to_str().unwrap(), "-f", "null", "-"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_comes_again_reuses_no_uri() {
    let mut stage = Stage::new(OriginOptions::default(), steady());
    stage.until(3.0).await;
    let first = stage.video().await;
    drop(stage.feed);
    let again = stage.live.publish(NAME, Publisher::new("test", None)).unwrap();
    let origin = stage.origins.open(again.stream().clone());
    assert!(std::sync::Arc::ptr_eq(&origin, &stage.origins.open(again.stream().clone())));
    (stage.feed, stage.origin) = (Feed::new(again, steady()), origin);
    stage.until(3.0).await;
    let second = stage.video().await;
    // Point 13: no name is that of another opening.
    assert_ne!(first, second);
    assert_eq!(stage.web.get(&first).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_low_latency_it_is_plain_hls() {
    let options = OriginOptions { low_latency: false, dash: false, ..OriginOptions::default() };
    let mut stage = Stage::new(options, steady());
    stage.until(6.5).await;
    let path = stage.video().await;
    let playlist = stage.web.text(&format!("{path}?_HLS_msn=100")).await;
    for word in ["EXT-X-PART", "PRELOAD-HINT", "SERVER-CONTROL", "RENDITION-REPORT"] {
        assert!(!playlist.contains(word), "{playlist}");
    }
    assert_eq!(tags(&playlist, "EXTINF").len(), 3, "{playlist}");
    assert_eq!(stage.web.get(&format!("{NAME}/manifest.mpd")).await.status, 404);
}

/// The router on a port of its own.
async fn serve(web: &Web) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = web.0.clone();
    tokio::spawn(async move {
        use tower::Service;
        while let Ok((socket, _)) = listener.accept().await {
            let router = router.clone();
            tokio::spawn(async move {
                let service =
                    hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                        router.clone().call(request)
                    });
                let io = hyper_util::rt::TokioIo::new(socket);
                let server =
                    hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                let _gone = server.serve_connection(io, service).await;
            });
        }
    });
    address
}

/// Pictures stop and come back while the sound goes on: the playlists of all renditions and the manifest go on with it.
#[tokio::test(flavor = "multi_thread")]
async fn sound_is_published_while_the_pictures_are_frozen() {
    let mut clip = clip(30, "25", "-g 50");
    let video = clip.streams.iter().position(|s| s.kind == MediaKind::Video).unwrap();
    clip.packets.retain(|p| p.stream != video || !(5_300_000..15_100_000).contains(&super::media::micros(p)));
    let mut stage = Stage::new(OriginOptions { ts: true, ..OriginOptions::default() }, &clip);
    stage.until(7.9).await;
    let (video, sound) = (stage.video().await, stage.sound().await);
    let number = |list: &str| {
        let first: u64 = tag(list, "EXT-X-MEDIA-SEQUENCE").unwrap().parse().unwrap();
        first + tags(list, "EXTINF").len() as u64
    };
    let mut last = 0;
    for second in [10.0, 12.0, 14.0_f64] {
        stage.until(second).await;
        let (pictures, heard) = (stage.web.text(&video).await, stage.web.text(&sound).await);
        // Three seconds are waited for pictures, the segment being made is not whole.
        let whole = ((second - 3.2) / 2.0).floor() as u64;
        assert!(number(&heard) >= whole && number(&heard) > last, "{second}: {heard}");
        assert_eq!(number(&pictures), number(&heard), "{second}: {pictures}");
        assert!(!heard.contains("#EXT-X-GAP") && !heard.contains("#EXT-X-DISCONTINUITY\n"), "{heard}");
        last = number(&heard);
        let part = tags(&heard, "EXT-X-PART").last().map(|l| attribute(l, "URI").unwrap().to_string());
        assert_eq!(stage.web.get(&stage.path(&part.unwrap())).await.status, 200);
        let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
        assert_eq!(manifest.matches("<Period ").count(), 1, "{manifest}");
        let ts = stage.web.text(&format!("{NAME}/ts.m3u8")).await;
        let ts = ts.lines().find(|l| !l.starts_with('#')).unwrap().to_string();
        let ts = stage.web.text(&stage.path(&ts)).await;
        assert!(number(&ts) >= whole && !ts.contains("#EXT-X-GAP"), "{ts}");
    }
    stage.until(24.5).await;
    let (pictures, heard) = (stage.web.text(&video).await, stage.web.text(&sound).await);
    assert_eq!(number(&pictures), number(&heard), "{pictures}\n{heard}");
    assert!(!pictures.contains("#EXT-X-DISCONTINUITY\n") && pictures.contains("#EXT-X-GAP"), "{pictures}");
    // Where the pictures are now is where the sound is: in step to the part.
    let dates = |list: &str| -> Vec<f64> {
        let date = |l: &&str| {
            let date = chrono::DateTime::parse_from_rfc3339(l.split_once(':').unwrap().1).unwrap();
            date.timestamp_micros() as f64 / 1e6
        };
        tags(list, "EXT-X-PROGRAM-DATE-TIME").iter().map(date).collect()
    };
    let (of_pictures, of_sound) = (dates(&pictures), dates(&heard));
    assert_eq!(of_pictures.len(), of_sound.len(), "{pictures}\n{heard}");
    for (a, b) in of_pictures.iter().zip(&of_sound) {
        assert!((a - b).abs() < 0.05, "{pictures}\n{heard}");
    }
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    assert_eq!(manifest.matches("<Period ").count(), 1, "{manifest}");
}
