//! Films that are made in parts: the same files as in one go, with their text.

use crate::support::*;
use ghoststream_server::playback::FilmFile;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

fn text(files: &BTreeMap<String, Vec<u8>>, name: &str) -> String {
    String::from_utf8(files[name].clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_a_film_is_cut_where_its_pictures_are() {
    let place = Place::new();
    let (source, words) = (place.path("in.mkv"), place.path("words.srt"));
    std::fs::write(
        &words,
        "1\n00:00:00,500 --> 00:00:01,000\nOne\n\n2\n00:00:03,500 --> 00:00:04,500\nAcross\n\n3\n00:00:07,000 --> 00:00:07,500\nLast\n",
    )
    .unwrap();
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=8 -i {} -c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:s srt \
         -metadata:s:s:0 language=ger {}",
        words.display(),
        source.display()
    ));
    let jobs = place.open();
    let more = json!({"mode": "abr", "subtitles": [{"url": words, "language": "en", "label": "Words", "default": true}]});
    let burnt = json!({"subtitles": [{"url": words, "burn_in": true}]});
    let source = source.to_string_lossy().into_owned();
    let why = jobs.plan_film(request(&source, burnt)).await.unwrap_err();
    assert!(why.message.contains("subtitles.0.burn_in"), "{why:?}");
    let missing = json!({"subtitles": [{"url": place.path("none.srt")}]});
    let why = jobs.plan_film(request(&source, missing)).await.unwrap_err();
    assert!(why.message.contains("subtitles.0"), "{why:?}");
    let plan = jobs.plan_film(request(&source, more)).await.unwrap();
    // What other nodes get is a document.
    let plan = serde_json::from_value(serde_json::to_value(plan).unwrap()).unwrap();
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let film = ghoststream_server::jobs::FilmPlan::film(&plan, Path::new("/")).unwrap();
    assert_eq!(film.count(), 2, "segments of 4 s");
    // The later part first: parts do not wait for each other.
    for first in [1, 0] {
        let made: Vec<FilmFile> = jobs.make_film(&plan, first, first + 1).await.unwrap();
        let mut names: Vec<&str> = made.iter().map(|f| f.name.as_str()).collect();
        let mut told = film.segments(first, first + 1);
        told.extend(film.inits());
        names.sort_unstable();
        told.sort();
        assert_eq!(names, told);
        files.extend(made.into_iter().map(|f| (f.name, f.data)));
    }
    let inits: Vec<Vec<u8>> = film.inits().iter().map(|name| files[name].clone()).collect();
    files.extend(film.playlists(&inits).into_iter().map(|f| (f.name, f.data)));
    let master = text(&files, "master.m3u8");
    for word in ["NAME=\"Words\"", "LANGUAGE=\"en\"", "LANGUAGE=\"de\"", "SUBTITLES=\"subs\""] {
        assert!(master.contains(word), "{word}: {master}");
    }
    assert!(text(&files, "manifest.mpd").contains("subtitles-1.vtt"));
    for track in 0..2 {
        let list = text(&files, &format!("subtitles-{track}.m3u8"));
        assert_eq!(list.matches(".vtt").count(), 2, "{list}");
        let segment = |n: u32| text(&files, &format!("subtitles-{track}/{n:05}.vtt"));
        assert!(segment(0).contains("One") && segment(0).contains("Across"), "{}", segment(0));
        assert!(segment(1).contains("Across") && segment(1).contains("Last"), "{}", segment(1));
        assert!(!segment(1).contains("One") && !segment(0).contains("Last"));
        assert!(text(&files, &format!("subtitles-{track}.vtt")).contains("Last"));
    }
    jobs.close().await;
}
