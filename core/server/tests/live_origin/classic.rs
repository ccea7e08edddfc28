//! What players of all ages take: segments in MPEG-TS, sounds in several languages, text.

use super::media::{self, Clip, clip, run};
use super::web::{attribute, tag, tags};
use super::{NAME, Stage, steady};
use ghoststream::packet::MediaKind;
use ghoststream_server::live::OriginOptions;

fn ts() -> OriginOptions {
    OriginOptions { ts: true, ..OriginOptions::default() }
}

fn sequence(playlist: &str) -> u64 {
    tag(playlist, "EXT-X-MEDIA-SEQUENCE").unwrap().parse().unwrap()
}

/// All segments of a playlist, one behind the other.
async fn joined(stage: &Stage, playlist: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for uri in playlist.lines().filter(|l| !l.starts_with('#')) {
        let segment = stage.web.get(&stage.path(uri)).await;
        assert_eq!((segment.status, segment.header("content-type")), (200, "video/mp2t"), "{uri}");
        assert!(segment.header("cache-control").contains("immutable"), "{uri}");
        assert!(segment.body.len() % 188 == 0 && segment.body.chunks(188).all(|p| p[0] == 0x47), "{uri}");
        all.extend_from_slice(&segment.body);
    }
    all
}

/// Codecs and frames of every stream, as FFmpeg reads them.
fn probed(data: &[u8]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("segments.ts");
    std::fs::write(&file, data).unwrap();
    let text = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-count_frames",
            "-show_entries",
            "stream=codec_name,nb_read_frames",
            "-of",
            "csv=p=0",
            file.to_str().unwrap(),
        ],
    );
    let lines: Vec<String> = text.lines().map(|l| l.trim().to_string()).filter(|l| !l.is_empty()).collect();
    // FFmpeg tells of each twice: in its program, and alone.
    let (once, again) = lines.split_at(lines.len() / 2);
    if once == again { once.to_vec() } else { lines }
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_in_mpeg_ts_are_the_same_stretches() {
    let mut stage = Stage::new(ts(), steady());
    let early = stage.web.held(&format!("{NAME}/ts.m3u8")).await;
    stage.until(6.6).await;
    let (master, _) = early.await.unwrap();
    assert_eq!(master.status, 200, "{}", master.text());
    let master = master.text();
    let variants = tags(master, "EXT-X-STREAM-INF");
    assert_eq!(variants.len(), 1, "{master}");
    let codecs = attribute(variants[0], "CODECS").unwrap();
    assert!(codecs.starts_with("avc1.") && codecs.ends_with(",mp4a.40.2"), "{master}");
    assert_eq!(attribute(variants[0], "AUDIO"), None, "one sound is inside: {master}");
    let uri = master.lines().find(|l| !l.starts_with('#')).unwrap();
    let playlist = stage.web.text(&stage.path(uri)).await;
    // What belongs to parts, or to fragmented MP4, is not in it, and questions for parts mean nothing.
    for word in ["EXT-X-PART", "PRELOAD-HINT", "SERVER-CONTROL", "RENDITION-REPORT", "EXT-X-MAP", ".m4s"] {
        assert!(!playlist.contains(word), "{word}: {playlist}");
    }
    assert_eq!(stage.web.text(&format!("{}?_HLS_msn=500", stage.path(uri))).await, playlist);
    // As many segments as the others have, at the same times.
    let other = stage.web.text(&stage.video().await).await;
    assert_eq!(sequence(&playlist), sequence(&other));
    let lengths = |list: &str| tags(list, "EXTINF").into_iter().map(String::from).collect::<Vec<_>>();
    assert_eq!(lengths(&playlist), lengths(&other));
    let dates = |list: &str| {
        tags(list, "EXT-X-PROGRAM-DATE-TIME").into_iter().take(3).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(dates(&playlist), dates(&other));
    assert!(
        !other.contains("ts0") && !other.contains("tv0"),
        "they are not each other's renditions: {other}"
    );
    let media = joined(&stage, &playlist).await;
    let streams = probed(&media);
    assert!(
        streams[0] == "h264,150" && streams[1].starts_with("aac,28"),
        "three segments of two seconds: {streams:?}"
    );
    // The key frames alone.
    let line = tags(master, "EXT-X-I-FRAME-STREAM-INF")[0];
    let keys = stage.web.text(&stage.path(attribute(line, "URI").unwrap())).await;
    assert!(keys.contains("EXT-X-I-FRAMES-ONLY") && tags(&keys, "EXT-X-BYTERANGE").len() == 3, "{keys}");
    // A name of the other kind means nothing, and DASH knows nothing of them.
    let wrong = playlist.lines().find(|l| l.ends_with(".ts")).unwrap().replace(".ts", ".m4s");
    assert_eq!(stage.web.get(&stage.path(&wrong)).await.status, 404);
    assert!(!stage.web.text(&format!("{NAME}/manifest.mpd")).await.contains("tv0"));
    drop(stage.feed);
    stage.origins.close(NAME);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_option_there_is_no_mpeg_ts() {
    let mut stage = Stage::new(OriginOptions::default(), steady());
    stage.until(2.5).await;
    assert_eq!(stage.web.get(&format!("{NAME}/ts.m3u8")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_hls_no_playlist_tells_of_anything() {
    let mut stage = Stage::new(OriginOptions { hls: false, ..ts() }, steady());
    stage.until(4.5).await;
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    for file in ["playlist.m3u8", "ts.m3u8"] {
        assert_eq!(stage.web.get(&format!("{NAME}/{file}")).await.status, 404, "{file}");
    }
    let init = attribute_of(&manifest, "initialization");
    let list = init.replace("_i0.mp4", ".m3u8");
    assert_ne!(init, list);
    assert_eq!(stage.web.get(&stage.path(&list)).await.status, 404);
    assert_eq!(stage.web.get(&stage.path(&init)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_segments_go_to_disk_and_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let files = || -> usize {
        let of = |e: std::fs::DirEntry| std::fs::read_dir(e.path()).map_or(0, Iterator::count);
        std::fs::read_dir(dir.path()).unwrap().flatten().map(of).sum()
    };
    let options = OriginOptions {
        segment: std::time::Duration::from_secs(1),
        dvr: std::time::Duration::from_secs(60),
        spill: Some(dir.path().into()),
        keep: std::time::Duration::ZERO,
        ..ts()
    };
    let mut stage = Stage::new(options, &clip(26, "25", "-g 25"));
    stage.until(5.5).await;
    let path = stage.video().await;
    let first = stage.web.text(&path).await.lines().find(|l| !l.starts_with('#')).unwrap().to_string();
    let before = stage.web.get(&stage.path(&first)).await.body;
    stage.until(25.5).await;
    // Of 25 segments the newest eight stay in memory, of pictures, sound, and both in MPEG-TS.
    for _ in 0..200 {
        if files() >= 3 * 16 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!((3 * 16..=3 * 18).contains(&files()), "{}", files());
    let playlist = stage.web.text(&path).await;
    assert_eq!(tags(&playlist, "EXTINF").len(), 25, "{playlist}");
    let answer = stage.web.get(&stage.path(&first)).await;
    assert!(answer.status == 200 && answer.body == before);
    let part = stage.web.with(&stage.path(&first), &[("range", "bytes=10-19")]).await;
    assert_eq!((part.status, &part.body[..]), (206, &before[10..20]));
    // A file that somebody has taken away is not there.
    std::fs::remove_dir_all(std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path()).unwrap();
    assert_eq!(stage.web.get(&stage.path(&first)).await.status, 404);
}

/// The first attribute of that name in an XML text.
fn attribute_of(xml: &str, name: &str) -> String {
    let at = xml.find(&format!(" {name}=\"")).unwrap() + name.len() + 3;
    xml[at..].split('"').next().unwrap().into()
}

fn two_languages() -> Clip {
    let mut clip = steady().clone();
    let sound = clip.streams.iter_mut().find(|s| s.kind == MediaKind::Audio).unwrap();
    (sound.language, sound.title) = (Some("en".into()), Some("English".into()));
    let mut clip = clip.with_sound("de");
    clip.streams[2].title = Some("Deutsch".into());
    clip
}

#[tokio::test(flavor = "multi_thread")]
async fn sounds_in_several_languages_are_renditions_to_choose_from() {
    let mut stage = Stage::new(ts(), &two_languages());
    stage.until(6.6).await;
    for file in ["playlist.m3u8", "ts.m3u8"] {
        let master = stage.web.text(&format!("{NAME}/{file}")).await;
        let sounds = tags(&master, "EXT-X-MEDIA");
        let said: Vec<_> = sounds
            .iter()
            .map(|l| ["LANGUAGE", "NAME", "DEFAULT"].map(|n| attribute(l, n).unwrap_or_default()))
            .collect();
        assert_eq!(said, [["en", "English", "YES"], ["de", "Deutsch 2", "NO"]], "{master}");
        let variant = tags(&master, "EXT-X-STREAM-INF")[0];
        assert_eq!(attribute(variant, "AUDIO"), attribute(sounds[0], "GROUP-ID"), "{master}");
        // In MPEG-TS the first one lies in the pictures' segments.
        assert_eq!(attribute(sounds[0], "URI").is_some(), file == "playlist.m3u8", "{master}");
        let second = stage.web.text(&stage.path(attribute(sounds[1], "URI").unwrap())).await;
        assert_eq!(tags(&second, "EXTINF").len(), 3, "{second}");
        if file == "ts.m3u8" {
            assert!(probed(&joined(&stage, &second).await)[0].starts_with("aac,28"), "{second}");
            let uri = master.lines().find(|l| !l.starts_with('#')).unwrap();
            let pictures = stage.web.text(&stage.path(uri)).await;
            assert_eq!(probed(&joined(&stage, &pictures).await).len(), 2);
        }
    }
    // DASH says the same.
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    assert!(manifest.contains("lang=\"en\"") && manifest.contains("lang=\"de\""), "{manifest}");
    // Point 10: each tells of the others.
    let reports = tags(&stage.web.text(&stage.video().await).await, "EXT-X-RENDITION-REPORT").len();
    assert_eq!(reports, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_a_rendition_of_as_many_segments() {
    let cues = [(500, 2500, "one <i>and</i> two"), (5000, 5500, "three & four")];
    let mut stage = Stage::new(OriginOptions::default(), &steady().with_text("de", &cues));
    stage.until(2.3).await;
    let master = stage.web.text(&format!("{NAME}/playlist.m3u8")).await;
    let line = tags(&master, "EXT-X-MEDIA").into_iter().find(|l| l.contains("TYPE=SUBTITLES")).unwrap();
    assert_eq!((attribute(line, "LANGUAGE"), attribute(line, "DEFAULT")), (Some("de"), Some("NO")));
    let variant = tags(&master, "EXT-X-STREAM-INF")[0];
    assert_eq!(attribute(variant, "SUBTITLES"), attribute(line, "GROUP-ID"), "{master}");
    stage.until(6.6).await;
    let path = stage.path(attribute(line, "URI").unwrap());
    let playlist = stage.web.text(&path).await;
    let pictures = stage.web.text(&stage.video().await).await;
    assert_eq!(tags(&playlist, "EXTINF"), tags(&pictures, "EXTINF")[..3].to_vec(), "{playlist}");
    assert_eq!(sequence(&playlist), sequence(&pictures));
    assert!(!playlist.contains("EXT-X-MAP"), "{playlist}");
    // And as many parts, each a file of its own, the next of which is waited for.
    let lengths = |list: &str| {
        let parts = tags(list, "EXT-X-PART");
        parts.iter().map(|p| attribute(p, "DURATION").unwrap().to_string()).collect::<Vec<_>>()
    };
    assert!(lengths(&playlist).len() > 10 && lengths(&playlist) == lengths(&pictures), "{playlist}");
    assert_eq!(tag(&playlist, "EXT-X-SERVER-CONTROL"), tag(&pictures, "EXT-X-SERVER-CONTROL"));
    assert_eq!(tag(&playlist, "EXT-X-PART-INF"), tag(&pictures, "EXT-X-PART-INF"));
    let mut said = Vec::new();
    for part in tags(&playlist, "EXT-X-PART") {
        let answer = stage.web.get(&stage.path(attribute(part, "URI").unwrap())).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/vtt"), "{part}");
        assert!(answer.text().starts_with("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n"));
        said.push(answer.text().contains("three &amp; four"));
    }
    // Half a second is in three parts or four of 0.2 s.
    assert!((3..=4).contains(&said.iter().filter(|s| **s).count()), "{said:?}");
    let hint = tags(&playlist, "EXT-X-PRELOAD-HINT");
    assert_eq!((hint.len(), attribute(hint[0], "TYPE")), (1, Some("PART")), "{playlist}");
    let held = stage.web.held(&stage.path(attribute(hint[0], "URI").unwrap())).await;
    let reload = stage.web.held(&format!("{path}?_HLS_msn=3&_HLS_part=3")).await;
    // A segment that is being made is waited for: its parts do not make one together.
    let whole = playlist.lines().rfind(|l| !l.starts_with('#')).unwrap().replace("_s2.", "_s3.");
    let whole = stage.web.held(&stage.path(&whole)).await;
    stage.until(6.99).await;
    assert!(held.await.unwrap().0.text().starts_with("WEBVTT"));
    assert!(reload.await.unwrap().0.text().contains("EXT-X-PART"));
    let mut texts = Vec::new();
    for uri in playlist.lines().filter(|l| !l.starts_with('#')) {
        let answer = stage.web.get(&stage.path(uri)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/vtt"), "{uri}");
        assert!(answer.text().starts_with("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n"));
        texts.push(answer.text().to_string());
    }
    assert!(texts[0].contains("one <i>and</i> two") && texts[1].contains("one"), "{texts:?}");
    assert!(texts[2].contains("three &amp; four") && !texts[2].contains("one"), "{texts:?}");
    // Another publisher without text: the rendition goes on with gaps, and then is not told of.
    let quiet = clip(3, "25", "-g 50");
    drop(stage.feed);
    let (whole, _) = whole.await.unwrap();
    assert_eq!((whole.status, whole.text().matches("WEBVTT").count()), (200, 1), "{}", whole.text());
    let again = stage.live.publish(NAME, ghoststream_server::live::Publisher::new("test", None)).unwrap();
    stage.origin = stage.origins.open(again.stream().clone());
    stage.feed = media::Feed::new(again, &quiet);
    stage.until(2.3).await;
    let master = stage.web.text(&format!("{NAME}/playlist.m3u8")).await;
    assert!(!master.contains("SUBTITLES"), "{master}");
}

/// A message beside a picture with these triplets of captions, as a unit behind its length.
fn captioned(triplets: &[[u8; 3]]) -> Vec<u8> {
    let head = [0xb5, 0x00, 0x31, b'G', b'A', b'9', b'4', 3, 0x40 | triplets.len() as u8, 0xff];
    let data = [&head[..], triplets.as_flattened(), &[0xff]].concat();
    let unit = [&[6, 4, data.len() as u8][..], &data, &[0x80]].concat();
    [&(unit.len() as u32).to_be_bytes()[..], &unit].concat()
}

/// CEA-608: a command of the first channel of field 1 and of field 2.
const FIELDS: [[u8; 3]; 2] = [[0xfc, 0x94, 0x20], [0xfd, 0x94, 0x20]];
/// CEA-708: packets with two bytes of service 1, and with one of service 33 behind its longer number.
const SERVICES: [[u8; 3]; 5] =
    [[0xff, 2, 1 << 5 | 2], [0xfe, b'h', b'i'], [0xff, 0x43, 7 << 5 | 1], [0xfe, 33, b'x'], [0xfe, 0, 0]];

#[tokio::test(flavor = "multi_thread")]
async fn captions_in_the_pictures_are_told_of() {
    // In the pictures of the fourth second and later; CEA-708 in the last ones only.
    let mut clip = steady().clone();
    for packet in &mut clip.packets {
        let at = media::micros(packet);
        if packet.stream == 0 && at >= 3_000_000 {
            let unit = match at {
                6_000_000.. => captioned(&SERVICES),
                5_000_000.. => captioned(&FIELDS[1..]),
                _ => captioned(&FIELDS[..1]),
            };
            packet.data = [&unit[..], &packet.data].concat().into();
        }
    }
    let mut stage = Stage::new(ts(), &clip);
    stage.until(2.5).await;
    let master = stage.web.text(&format!("{NAME}/playlist.m3u8")).await;
    assert!(master.contains("CLOSED-CAPTIONS=NONE") && !master.contains("TYPE=CLOSED"), "{master}");
    let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
    assert!(!manifest.contains("Accessibility"), "{manifest}");
    let (first, second) = ("CC1=und", "CC1=und;CC3=und");
    for (until, instreams, lines, services) in [
        (4.5, &["CC1"][..], first, None),
        (5.9, &["CC1", "CC3"], second, None),
        (6.9, &["CC1", "CC3", "SERVICE1", "SERVICE33"], second, Some("1=lang:und;33=lang:und")),
    ] {
        stage.until(until).await;
        for file in ["playlist.m3u8", "ts.m3u8"] {
            let master = stage.web.text(&format!("{NAME}/{file}")).await;
            let all = tags(&master, "EXT-X-MEDIA");
            let captions = all.iter().filter(|l| attribute(l, "TYPE") == Some("CLOSED-CAPTIONS"));
            let found: Vec<_> = captions.map(|l| attribute(l, "INSTREAM-ID").unwrap()).collect();
            assert_eq!(found, instreams, "{master}");
            // RFC 8216, 7: what says SERVICE is of version 7 or later.
            let version: u32 = tag(&master, "EXT-X-VERSION").unwrap().parse().unwrap();
            assert!(services.is_none() || version >= 7, "{master}");
            let variant = tags(&master, "EXT-X-STREAM-INF")[0];
            assert_eq!(attribute(variant, "CLOSED-CAPTIONS"), Some("captions"), "{master}");
        }
        let manifest = stage.web.text(&format!("{NAME}/manifest.mpd")).await;
        let said = |scheme: &str| {
            let start = format!("<Accessibility schemeIdUri=\"urn:scte:dash:cc:{scheme}:2015\" value=\"");
            manifest.split_once(&start).map(|(_, rest)| rest.split_once("\"/>").unwrap().0)
        };
        assert_eq!((said("cea-608"), said("cea-708")), (Some(lines), services), "{manifest}");
    }
    // And they are there.
    let playlist = stage.web.text(&stage.video().await).await;
    let uri = playlist.lines().rfind(|l| !l.starts_with('#')).unwrap();
    let segment = stage.web.get(&stage.path(uri)).await.body;
    assert!(segment.windows(4).any(|w| w == b"GA94"));
}
