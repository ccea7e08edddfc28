//! The draft's rules for what stands in playlists, by the points of a conforming origin, and each of them broken: what is to
//! find faults has to be seen finding them. What requests get is in `hls`.

use super::web::{attribute, seconds, tag, tags};
use super::{NAME, Stage, steady};
use ghoststream_server::live::OriginOptions;

/// What is wrong: the point, and what was seen.
type Fault = (u8, String);

/// A media playlist's segments: their lines, from the tags in front of them to the URI; behind the last, what is not whole.
pub fn segments(list: &str) -> (Vec<Vec<&str>>, Vec<&str>) {
    let (mut whole, mut open) = (Vec::new(), Vec::new());
    let header =
        ["#EXTM3U", "#EXT-X-VERSION", "#EXT-X-TARGETDURATION", "#EXT-X-SERVER-CONTROL", "#EXT-X-PART-INF"];
    let header = |l: &str| header.iter().any(|h| l.starts_with(h)) || l.starts_with("#EXT-X-MEDIA-SEQUENCE");
    for line in list.lines().filter(|l| !header(l)) {
        open.push(line);
        if !line.starts_with('#') {
            whole.push(std::mem::take(&mut open));
        }
    }
    (whole, open)
}

fn length(segment: &[&str]) -> f64 {
    let line = segment.iter().find_map(|l| l.strip_prefix("#EXTINF:"));
    line.map_or(0.0, |l| l.trim_end_matches(',').parse().unwrap())
}

fn parts<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    lines.iter().copied().filter(|l| l.starts_with("#EXT-X-PART:")).collect()
}

/// Everything that a URI of the playlist promises: its length.
fn promises(list: &str) -> Vec<(String, f64)> {
    let (whole, open) = segments(list);
    let mut all: Vec<(String, f64)> = whole.iter().map(|s| (s[s.len() - 1].to_string(), length(s))).collect();
    for line in whole.iter().chain([&open]).flat_map(|s| parts(s)) {
        all.push((attribute(line, "URI").unwrap().into(), seconds(attribute(line, "DURATION"))));
    }
    all
}

/// What is wrong with a media playlist that has `others` beside it, and was `before` some time ago.
fn faults(list: &str, others: usize, before: &str) -> Vec<Fault> {
    let mut found = Vec::new();
    let mut wrong = |point: u8, what: &dyn std::fmt::Display| found.push((point, what.to_string()));
    let target: f64 = tag(list, "EXT-X-TARGETDURATION").unwrap().parse().unwrap();
    let control = tags(list, "EXT-X-SERVER-CONTROL").first().copied().unwrap_or(":");
    let part = seconds(attribute(tags(list, "EXT-X-PART-INF")[0], "PART-TARGET"));
    let of = |name: &str| attribute(control, name).map_or(0.0, |v| v.parse::<f64>().unwrap());
    let least =
        [("PART-HOLD-BACK", 3.0 * part), ("HOLD-BACK", 3.0 * target), ("CAN-SKIP-UNTIL", 6.0 * target)];
    for (name, least) in least {
        if of(name) < least - 1e-6 {
            wrong(1, &format!("{name} below {least}: {control}"));
        }
    }
    for name in ["EXT-X-TARGETDURATION", "EXT-X-SERVER-CONTROL", "EXT-X-PART-INF"] {
        if tag(list, name) != tag(before, name) {
            wrong(2, &format!("{name} changed"));
        }
    }
    let ended = list.contains("#EXT-X-ENDLIST");
    let (whole, open) = segments(list);
    for (lines, whole) in whole.iter().map(|s| (s, true)).chain([(&open, false)]) {
        let parts = parts(lines);
        // Segments begin with key frames.
        if parts.first().is_some_and(|line| attribute(line, "INDEPENDENT") != Some("YES")) {
            wrong(3, &format!("nobody can begin there: {}", parts[0]));
        }
        for (i, line) in parts.iter().enumerate() {
            let length = seconds(attribute(line, "DURATION"));
            let last = i + 1 == parts.len() && (whole || ended);
            // The part in front of one with a key frame ends where that begins.
            let cut = parts.get(i + 1).is_some_and(|next| attribute(next, "INDEPENDENT") == Some("YES"));
            let excused =
                last || cut || attribute(line, "INDEPENDENT") == Some("YES") || line.contains("GAP=YES");
            if length > part + 1e-6 || (length < 0.85 * part && !excused) {
                wrong(3, &format!("of {part}: {line}"));
            }
        }
        let dated = lines.iter().any(|l| l.starts_with("#EXT-X-PROGRAM-DATE-TIME:"));
        if !dated && (whole || !parts.is_empty()) {
            wrong(10, &format!("no date: {lines:?}"));
        }
        if whole && length(lines).round() > target {
            wrong(2, &format!("longer than the target: {lines:?}"));
        }
    }
    if let Some(skip) = tags(list, "EXT-X-SKIP").first() {
        let left: f64 = whole.iter().map(|s| length(s)).sum();
        if tag(list, "EXT-X-VERSION").unwrap().parse::<u8>().unwrap() < 9 || left < 6.0 * target - 1e-6 {
            wrong(7, &format!("{skip}, {left} s are left"));
        }
    }
    let hints: Vec<_> =
        tags(list, "EXT-X-PRELOAD-HINT").into_iter().filter(|l| l.contains("TYPE=PART")).collect();
    if hints.len() != usize::from(!ended) {
        wrong(8, &format!("{} hints", hints.len()));
    }
    for hint in &hints {
        let uri = attribute(hint, "URI").unwrap();
        if promises(list).iter().any(|(there, _)| there == uri) {
            wrong(9, &format!("{hint} is there"));
        }
    }
    if !ended && tags(list, "EXT-X-RENDITION-REPORT").len() != others {
        wrong(10, &"not every other rendition is told of");
    }
    let mut age: f64 = parts(&open).iter().map(|l| seconds(attribute(l, "DURATION"))).sum();
    for segment in whole.iter().rev() {
        if age >= 3.0 * target && !parts(segment).is_empty() {
            wrong(11, &format!("parts {age} s from the end"));
        }
        age += length(segment);
    }
    let known = promises(before);
    for (uri, length) in promises(list) {
        if known.iter().any(|(was, then)| *was == uri && (then - length).abs() > 1e-6) {
            wrong(13, &format!("{uri} is another one"));
        }
    }
    let number = |list: &str, name: &str| tag(list, name).map_or(0, |n| n.parse::<usize>().unwrap());
    let gone = number(list, "EXT-X-MEDIA-SEQUENCE").checked_sub(number(before, "EXT-X-MEDIA-SEQUENCE"));
    let left = gone.map(|gone| {
        let breaks = |s: &&Vec<&str>| s.contains(&"#EXT-X-DISCONTINUITY");
        segments(before).0.iter().take(gone).filter(breaks).count()
    });
    let counted = number(list, "EXT-X-DISCONTINUITY-SEQUENCE");
    if left.is_none_or(|left| counted != number(before, "EXT-X-DISCONTINUITY-SEQUENCE") + left) {
        wrong(14, &format!("{counted} after {left:?} have gone"));
    }
    found
}

/// When what a playlist has ends, in seconds.
fn end(list: &str) -> f64 {
    let date = tags(list, "EXT-X-PROGRAM-DATE-TIME").last().and_then(|l| l.split_once(':')).unwrap().1;
    let date = chrono::DateTime::parse_from_rfc3339(date).unwrap().timestamp_micros() as f64 / 1e6;
    date + parts(&segments(list).1).iter().map(|l| seconds(attribute(l, "DURATION"))).sum::<f64>()
}

/// What is wrong with a rendition beside another one of the same moment.
fn faults_beside(list: &str, other: &str) -> Vec<Fault> {
    let mut found = Vec::new();
    for name in ["EXT-X-TARGETDURATION", "EXT-X-SERVER-CONTROL", "EXT-X-PART-INF"] {
        if tag(list, name) != tag(other, name) {
            found.push((2, format!("{name} is {:?} here and {:?} there", tag(list, name), tag(other, name))));
        }
    }
    let part = seconds(attribute(tags(list, "EXT-X-PART-INF")[0], "PART-TARGET"));
    let apart = (end(list) - end(other)).abs();
    if apart > part + 1e-3 {
        found.push((10, format!("{apart} s apart")));
    }
    found
}

/// What is wrong with an I-frame playlist.
fn faults_of_keys(list: &str) -> Vec<Fault> {
    let has = |name: &str| list.lines().any(|l| l.starts_with(name));
    let mut found = Vec::new();
    for name in ["#EXT-X-PART", "#EXT-X-PRELOAD-HINT"] {
        found.extend(has(name).then(|| (15, format!("{name} in an I-frame playlist"))));
    }
    found.extend((!has("#EXT-X-I-FRAMES-ONLY")).then(|| (15, "it is none".to_string())));
    found
}

/// What is wrong with a multivariant playlist.
fn faults_of_all(list: &str) -> Vec<Fault> {
    let mut found = Vec::new();
    let sounds = tags(list, "EXT-X-MEDIA");
    for line in tags(list, "EXT-X-STREAM-INF") {
        let mut wanted = vec!["CODECS", "AVERAGE-BANDWIDTH", "BANDWIDTH"];
        if line.contains("avc1") {
            wanted.extend(["FRAME-RATE", "RESOLUTION"]);
        }
        found.extend(
            wanted.iter().filter(|a| attribute(line, a).is_none()).map(|a| (15, format!("no {a}: {line}"))),
        );
        let group = attribute(line, "AUDIO");
        if group.is_some() && sounds.iter().all(|l| attribute(l, "GROUP-ID") != group) {
            found.push((15, format!("no sounds: {line}")));
        }
        if group.is_some() && !line.contains("mp4a") {
            found.push((15, format!("the sound's format is missing: {line}")));
        }
    }
    // Whoever changes the variant goes on with the same sound.
    let groups: Vec<_> = tags(list, "EXT-X-STREAM-INF").iter().map(|l| attribute(l, "AUDIO")).collect();
    if groups.windows(2).any(|pair| pair[0] != pair[1]) {
        found.push((15, format!("variants have other sounds: {groups:?}")));
    }
    if tags(list, "EXT-X-I-FRAME-STREAM-INF").is_empty() {
        found.push((15, "no I-frame playlist".into()));
    }
    found
}

/// Changes the first line that begins with `start`.
fn changed(list: &str, start: &str, change: impl Fn(&str) -> String) -> String {
    let at = list.find(start).unwrap_or_else(|| panic!("{start}: {list}"));
    let end = at + list[at..].find('\n').unwrap();
    format!("{}{}{}", &list[..at], change(&list[at..end]), &list[end..])
}

#[tokio::test(flavor = "multi_thread")]
async fn playlists_have_no_faults_and_broken_ones_have() {
    let long = super::media::clip(26, "25", "-g 50");
    let mut stage = Stage::new(OriginOptions::default(), &long);
    stage.until(12.3).await;
    let path = stage.video().await;
    let early = stage.web.text(&path).await;
    stage.until(24.5).await;
    let list = stage.web.text(&path).await;
    let delta = stage.web.text(&format!("{path}?_HLS_skip=YES")).await;
    let master = stage.web.text(&format!("{NAME}/playlist.m3u8")).await;
    let sound = stage.web.text(&stage.sound().await).await;
    let keys = attribute(tags(&master, "EXT-X-I-FRAME-STREAM-INF")[0], "URI").unwrap();
    let keys = stage.web.text(&stage.path(keys)).await;
    // Points 2 and 10: the renditions are alike, and in step.
    assert_eq!(faults_beside(&list, &sound), []);
    // Point 15: pictures to jump to have no parts.
    assert_eq!(faults_of_keys(&keys), []);
    // Points 2 and 9: they are as they were, and the hint is what comes next.
    assert_eq!(faults(&early, 1, &early), []);
    assert_eq!(faults(&list, 1, &early), []);
    // Point 7: what is left out is old enough.
    assert_eq!(faults(&delta, 1, &delta), []);
    assert_eq!(faults_of_all(&master), []);
    let finds = |point: u8, list: String, before: &str| {
        let found = faults(&list, 1, before);
        assert!(found.iter().any(|f| f.0 == point), "point {point}: {found:?}\n{list}");
    };
    // Against 1: what is held back is too little.
    for name in ["PART-HOLD-BACK", "HOLD-BACK", "CAN-SKIP-UNTIL"] {
        let was = attribute(tags(&list, "EXT-X-SERVER-CONTROL")[0], name).unwrap();
        let broken = list.replacen(&format!(",{name}={was}"), &format!(",{name}=0.1"), 1);
        assert_ne!(broken, list);
        finds(1, broken.clone(), &broken);
    }
    // Against 2: another target, and a segment beyond it.
    finds(2, changed(&list, "#EXT-X-TARGETDURATION", |_| "#EXT-X-TARGETDURATION:3".into()), &early);
    finds(2, changed(&list, "#EXTINF", |_| "#EXTINF:2.600000,".into()), &early);
    let beside = |point: u8, other: String| {
        let found = faults_beside(&list, &other);
        assert!(found.iter().any(|f| f.0 == point), "point {point}: {found:?}\n{other}");
    };
    // Against 2: a rendition with another target or control.
    beside(2, changed(&sound, "#EXT-X-TARGETDURATION", |_| "#EXT-X-TARGETDURATION:3".into()));
    beside(2, sound.replacen("CAN-BLOCK-RELOAD=YES", "CAN-BLOCK-RELOAD=NO", 1));
    // Against 10: one that is a part behind.
    let behind = sound.lines().filter(|l| !l.starts_with("#EXT-X-PART:")).map(|l| format!("{l}\n"));
    beside(10, behind.collect());
    // Against 3: a part with a key frame that does not say so.
    let line =
        list.lines().rfind(|l| l.starts_with("#EXT-X-PART:") && l.contains(",INDEPENDENT=YES")).unwrap();
    finds(3, list.replacen(line, &line.replace(",INDEPENDENT=YES", ""), 1), &early);
    // Against 3: a part that is too long, and one that is too short.
    let part = |length: &str| {
        let line =
            list.lines().find(|l| l.starts_with("#EXT-X-PART:") && !l.contains("INDEPENDENT")).unwrap();
        let was = attribute(line, "DURATION").unwrap();
        list.replacen(line, &line.replace(was, length), 1)
    };
    finds(3, part("0.31"), &early);
    finds(3, part("0.1"), &early);
    // Against 7: skipped too much, and a version that knows no skipping.
    let line = delta.lines().find(|l| l.starts_with("#EXTINF")).unwrap();
    finds(7, delta.replace(line, "#EXTINF:0.1,"), &delta);
    finds(7, changed(&delta, "#EXT-X-VERSION", |_| "#EXT-X-VERSION:8".into()), &delta);
    // Against 8: no hint, two hints.
    finds(8, changed(&list, "#EXT-X-PRELOAD-HINT", |_| "#".into()), &early);
    finds(8, changed(&list, "#EXT-X-PRELOAD-HINT", |l| format!("{l}\n{l}")), &early);
    // Against 9: a hint to what is there.
    let there = attribute(parts(&segments(&list).1)[0], "URI").unwrap().to_string();
    let hint = format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{there}\"");
    finds(9, changed(&list, "#EXT-X-PRELOAD-HINT", |_| hint.clone()), &early);
    // Against 10: a segment without a date, and a rendition that is not told of.
    finds(10, changed(&list, "#EXT-X-PROGRAM-DATE-TIME", |_| "#".into()), &early);
    finds(10, changed(&list, "#EXT-X-RENDITION-REPORT", |_| "#".into()), &early);
    // Against 11: parts of what is old.
    let old = "#EXT-X-PART:DURATION=0.2,URI=\"old\"\n#EXTINF";
    finds(11, list.replacen("#EXTINF", old, 1), &early);
    // Against 13: a URI that was something else.
    let line = early.lines().rfind(|l| l.starts_with("#EXTINF")).unwrap();
    let before = early.replace(line, "#EXTINF:1.500000,");
    finds(13, list.clone(), &before);
    // Against 14: a discontinuity that has gone and is not counted, and numbers that go back.
    let before =
        early.replacen("#EXT-X-PROGRAM-DATE-TIME", "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME", 1);
    finds(14, list.clone(), &before);
    finds(14, early.clone(), &list);
    // Against 15: an I-frame playlist with parts, one that is none, and a variant with another sound.
    let part = "#EXT-X-PART:DURATION=0.2,URI=\"x\"\n#EXTINF";
    assert!(!faults_of_keys(&keys.replacen("#EXTINF", part, 1)).is_empty());
    assert!(!faults_of_keys(&keys.replacen("#EXT-X-I-FRAMES-ONLY", "#", 1)).is_empty());
    let variant = tags(&master, "EXT-X-STREAM-INF")[0];
    let group = attribute(variant, "AUDIO").unwrap();
    let other = variant.replace(&format!("AUDIO=\"{group}\""), "AUDIO=\"other\"");
    let broken = master.replacen(variant, &format!("{variant}\nx.m3u8\n{other}"), 1);
    assert!(faults_of_all(&broken).iter().any(|f| f.0 == 15 && f.1.contains("other sounds")), "{broken}");
    // Against 15: an attribute that is missing, and a group that there is not.
    for name in ["CODECS", "AVERAGE-BANDWIDTH", "FRAME-RATE", "RESOLUTION", "GROUP-ID"] {
        let broken = master.replace(&format!("{name}="), "X=");
        assert!(!faults_of_all(&broken).is_empty(), "{name}: {broken}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_has_no_hint() {
    let mut stage = Stage::new(OriginOptions::default(), steady());
    stage.until(4.5).await;
    let path = stage.video().await;
    let before = stage.web.text(&path).await;
    stage.origins.close(NAME);
    let list = loop {
        let list = stage.web.text(&path).await;
        if list.contains("ENDLIST") {
            break list;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!(faults(&list, 1, &before), []);
    // Against 6: a hint behind the end.
    let broken = list.replace("#EXT-X-ENDLIST", "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"x\"\n#EXT-X-ENDLIST");
    assert!(faults(&broken, 1, &before).iter().any(|f| f.0 == 8));
}
