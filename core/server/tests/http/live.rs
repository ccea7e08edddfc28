//! The page of live streams with what it asks for, and the operator's hooks.

use super::support::{PATIENCE, Reply, Site};
use ghoststream_server::config::{Config, Secret};
use ghoststream_server::jobs::signature;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// FFmpeg, until it is dropped.
struct Publisher(Child);

impl Drop for Publisher {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Publishes 640x360 pictures and a tone by RTMP; `sources` are FFmpeg's inputs.
fn publish(site: &Site, name: &str, sources: &str) -> Publisher {
    let address = site.server.status()["rtmp"][0].as_str().unwrap().to_string();
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-re"])
        .args(sources.split_whitespace())
        .args(
            "-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -pix_fmt yuv420p -c:a aac -f flv"
                .split(' '),
        )
        .arg(format!("rtmp://{address}/{name}"))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    Publisher(child)
}

const BOTH: &str =
    "-f lavfi -i testsrc2=s=640x360:r=25 -f lavfi -i sine=frequency=440:sample_rate=48000 -map 0:v -map 1:a";
const SOUND: &str = "-f lavfi -i sine=frequency=440:sample_rate=48000";

fn site(change: impl FnOnce(&mut Config)) -> Site {
    Site::with(|config| {
        config.live.enabled = true;
        config.live.rtmp_port = Some(0);
        config.live.webrtc_port = Some(0);
        change(config);
    })
}

/// Asks until the answer is as wanted.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A line of the list, once it can be played.
fn line(site: &Site, name: &str) -> Value {
    until(&format!("{name} in the list"), || {
        let list = site.get("/live/streams").json();
        let line = list["streams"].as_array().unwrap().iter().find(|s| s["name"] == name).cloned();
        line.filter(|l| !l["hls"].is_null())
    })
}

#[test]
fn the_page_is_there_when_the_live_origin_is() {
    let without = Site::new();
    assert_eq!(without.get("/live").status, 404);
    assert_eq!(without.get("/live/streams").status, 404);
    assert_eq!(without.get("/live/sessions").status, 404);
    assert!(!without.get("/").text().contains("/live"));
    let with = site(|config| config.security.api_key = Some(Secret::new("key")));
    assert!(with.get("/").text().contains(r#"href="/live""#));
    let page = with.get("/live");
    assert_eq!(page.status, 200);
    assert!(page.header("content-security-policy").contains("script-src 'self'"), "no inline scripts");
    // Everything that it names is there, from here.
    let text = page.text();
    let named: Vec<&str> = text.split(['"', '\'']).filter(|w| w.starts_with("/page/")).collect();
    assert!(named.len() >= 6, "{named:?}");
    for path in named {
        assert_eq!(with.get(path).status, 200, "{path}");
    }
    assert!(with.get("/page/dash.min.js").text().contains("dashjs"));
    assert!(with.get("/page/dash.LICENSE").text().contains("Dash Industry Forum"));
}

#[test]
fn streams_are_listed_with_a_picture_of_each() {
    let site = site(|_| ());
    assert_eq!(site.get("/live/streams").json()["streams"], json!([]));
    let publisher = publish(&site, "live/both", BOTH);
    let _sound = publish(&site, "live/sound", SOUND);
    let line = line(&site, "live/both");
    assert_eq!(line["protocol"], "rtmp");
    assert_eq!(line["hls"], "/streams/live/both/playlist.m3u8");
    assert_eq!(line["dash"], "/streams/live/both/manifest.mpd");
    assert_eq!(line["whep"], "/whep/live/both");
    let video = &line["tracks"][0];
    assert_eq!(json!([video["codec"], video["width"], video["height"]]), json!(["h264", 640, 360]));
    assert_eq!(line["tracks"][1]["sample_rate"], 48000);
    assert!(line["uptime"].as_f64().unwrap() > 0.0);

    let path = line["thumbnail"].as_str().unwrap();
    let picture = site.get(path);
    assert_eq!((picture.status, picture.header("content-type")), (200, "image/jpeg"), "{}", picture.text());
    assert_eq!(size(&picture.body), (320, 180));
    let tag = picture.header("etag").to_string();
    assert!(picture.body.len() < 60_000 && tag.len() > 8);
    // The same for everybody within some seconds; who has it gets nothing.
    let known = site.ask("GET", path, &[("if-none-match", &tag)], None);
    assert!(known.status == 304 && known.body.is_empty() || known.header("etag") != tag, "{}", known.status);
    assert_eq!(site.ask("HEAD", path, &[], None).body.len(), 0);
    until("another picture", || (site.get(path).header("etag") != tag).then_some(()));

    let detail = |reply: Reply| (reply.status, reply.json()["detail"].as_str().unwrap().to_string());
    assert_eq!(detail(site.get("/streams/live/none/thumbnail.jpg")), (404, "Stream not found".into()));
    until("the sound is there", || {
        let answer = detail(site.get("/streams/live/sound/thumbnail.jpg"));
        (answer == (404, "the stream has no pictures, only sound".into())).then_some(())
    });
    drop(publisher);
    until("the stream is gone", || (site.get(path).status == 404).then_some(()));
}

/// Width and height of a JPEG, by its frame header.
fn size(jpeg: &[u8]) -> (u16, u16) {
    assert_eq!(jpeg[..2], [0xff, 0xd8]);
    let mut at = 2;
    while !(0xc0..=0xc2).contains(&jpeg[at + 1]) {
        at += 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    }
    let number = |i: usize| u16::from_be_bytes([jpeg[at + i], jpeg[at + i + 1]]);
    (number(7), number(5))
}

#[test]
fn a_reader_shows_the_key_for_list_and_picture() {
    let site = site(|config| {
        config.live.read_key = Some(Secret::new("to read+"));
        config.live.publish_key = Some(Secret::new("write"));
    });
    let _publisher = publish(&site, "live/a?key=write", BOTH);
    for (path, status) in [
        ("/live/streams", 403),
        ("/live/streams?key=no", 403),
        ("/live/streams?key=to%20read%2b", 200),
        ("/live/streams?key=to+read%2B", 200),
        ("/streams/live/a/thumbnail.jpg", 403),
        ("/streams/live/a/playlist.m3u8?key=no", 403),
    ] {
        assert_eq!(site.get(path).status, status, "{path}");
    }
    until("the picture with the key", || {
        (site.get("/streams/live/a/thumbnail.jpg?key=to%20read%2b").status == 200).then_some(())
    });
    assert_eq!(site.get("/live/streams?key=to%20read%2B").json()["publish_key"], true);
}

/// A call that came.
#[derive(Clone, Debug)]
struct Heard {
    headers: Vec<(String, String)>,
    body: String,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// An HTTP server of the operator's; `answer` says with which status.
fn service(answer: impl Fn(&Heard, usize) -> u16 + Send + 'static) -> (String, Arc<Mutex<Vec<Heard>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let all: Arc<Mutex<Vec<Heard>>> = Arc::default();
    let heard = all.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut headers = Vec::new();
            let mut text = String::new();
            while stream.read_line(&mut text).unwrap_or(0) > 2 {
                if let Some((name, value)) = text.trim().split_once(": ") {
                    headers.push((name.to_ascii_lowercase(), value.to_string()));
                }
                text.clear();
            }
            let mut call = Heard { headers, body: String::new() };
            let mut body = vec![0; call.header("content-length").parse().unwrap_or(0)];
            if stream.read_exact(&mut body).is_err() {
                continue;
            }
            call.body = String::from_utf8(body).unwrap();
            let mut all = heard.lock().unwrap();
            let status = answer(&call, all.len());
            all.push(call);
            // Who called may be gone.
            let _ = write!(
                stream.get_mut(),
                "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    (url, all)
}

fn events(all: &Mutex<Vec<Heard>>) -> Vec<(String, String, String)> {
    let of = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_string();
    let all = all.lock().unwrap();
    all.iter().map(Heard::json).map(|v| (of(&v, "event"), of(&v, "stream"), of(&v, "protocol"))).collect()
}

/// Reads by RTMP for a while.
fn read(site: &Site, name: &str) -> bool {
    let address = site.server.status()["rtmp"][0].as_str().unwrap().to_string();
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-i", &format!("rtmp://{address}/{name}"), "-t", "0.5", "-f", "null", "-"])
        .output()
        .unwrap();
    out.status.success()
}

#[test]
fn hooks_are_told_in_order_and_signed() {
    // The first call fails, and is made again.
    let (url, heard) = service(|_, before| if before == 0 { 503 } else { 204 });
    let site = site(|config| {
        config.live.hooks.urls = vec![url];
        config.live.hooks.secret = Some(Secret::new("between us"));
    });
    let publisher = publish(&site, "live/a", BOTH);
    line(&site, "live/a");
    until("publish, twice", || (heard.lock().unwrap().len() >= 2).then_some(()));
    assert!(read(&site, "live/a"));
    until("read_end", || events(&heard).iter().any(|e| e.0 == "read_end").then_some(()));
    // Who fetches files is told of once, however many.
    let playlist = site.get("/streams/live/a/playlist.m3u8").text();
    assert!(playlist.starts_with("#EXTM3U"), "{playlist}");
    assert_eq!(site.get("/streams/live/a/manifest.mpd").status, 200);
    until("read by HTTP", || events(&heard).iter().any(|e| e.2 == "http").then_some(()));
    drop(publisher);
    until("unpublish", || events(&heard).iter().any(|e| e.0 == "unpublish").then_some(()));
    until("the end of who fetched", || {
        events(&heard).iter().any(|e| e.0 == "read_end" && e.2 == "http").then_some(())
    });
    let mut said = events(&heard);
    // When it is told that nobody fetches any more depends on when that was noticed.
    said.retain(|e| !(e.0 == "read_end" && e.2 == "http"));
    let event = |event: &str, protocol: &str| (event.into(), "live/a".into(), protocol.into());
    let wanted: [(String, String, String); 6] = [
        event("publish", "rtmp"),
        event("publish", "rtmp"),
        event("read", "rtmp"),
        event("read_end", "rtmp"),
        event("read", "http"),
        event("unpublish", "rtmp"),
    ];
    assert_eq!(said, wanted);
    for call in heard.lock().unwrap().iter() {
        let body = call.json();
        assert_eq!(call.header("x-ghoststream-event"), body["event"]);
        assert_eq!(call.header("x-ghoststream-stream"), "live/a");
        let time = call.header("x-ghoststream-timestamp").parse().unwrap();
        assert_eq!(
            call.header("x-ghoststream-signature"),
            signature("between us", time, &call.body).unwrap()
        );
        assert!(body["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{body}");
        let ends = call.header("x-ghoststream-event").contains("end") || body["event"] == "unpublish";
        assert_eq!(body["seconds"].is_number(), ends, "{body}");
    }
}

#[test]
fn hooks_decide_where_they_are_asked_to() {
    let (url, heard) = service(|call, _| {
        let body = call.json();
        let shows = body["query"].as_str().is_some_and(|q| q.contains("ticket=good"));
        if body["event"] == "unpublish" || body["event"] == "read_end" || shows { 200 } else { 403 }
    });
    let site = site(|config| {
        config.live.hooks.urls = vec![url];
        config.live.hooks.authorize = true;
    });
    let mut refused = publish(&site, "live/bad?ticket=bad", BOTH);
    until("the refused publisher ends", || refused.0.try_wait().unwrap());
    assert_eq!(site.get("/live/streams").json()["streams"], json!([]));
    let _publisher = publish(&site, "live/a?ticket=good", BOTH);
    line(&site, "live/a");
    assert!(!read(&site, "live/a") && read(&site, "live/a?ticket=good"));
    let reply = site.get("/streams/live/a/playlist.m3u8?ticket=bad");
    assert_eq!((reply.status, reply.json()["detail"].as_str()), (403, Some("read is refused")));
    assert_eq!(site.get("/streams/live/a/playlist.m3u8?ticket=good").status, 200);
    // What it names has no ticket, and is fetched by one that has shown it.
    assert_eq!(site.get("/streams/live/a/manifest.mpd").status, 200);
    let sdp = [("content-type", "application/sdp")];
    assert_eq!(site.ask("POST", "/whip/live/b", &sdp, Some(b"v=0")).status, 403);
    assert_eq!(site.ask("POST", "/whep/live/a", &sdp, Some(b"v=0")).status, 403);
    // Nobody is asked and told.
    let publishes = events(&heard).into_iter().filter(|e| e.0 == "publish" && e.2 == "rtmp");
    assert_eq!(publishes.map(|e| e.1).collect::<Vec<_>>(), ["live/bad", "live/a"]);
}

#[test]
fn what_is_in_the_store_is_served_and_hooks_decide_over_its_streams() {
    let root = tempfile::tempdir().unwrap();
    let put = |key: &str, text: &str| {
        let path = root.path().join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("streams/far/playlist.m3u8", "#EXTM3U\n");
    put("films/one/master.m3u8", "#EXTM3U\n#film");
    put("films/one/v0/0.m4s", "media");
    let (url, heard) = service(|call, _| {
        let shows = call.json()["query"].as_str().is_some_and(|q| q.contains("ticket=good"));
        if shows { 200 } else { 403 }
    });
    let store = format!("file://{}", root.path().display());
    let with = |store: Option<String>| {
        let url = url.clone();
        site(|config| {
            config.live.hooks.urls = vec![url];
            config.live.hooks.authorize = true;
            config.live.cdn_port = Some(0);
            config.live.read_key = Some(Secret::new("who-reads"));
            config.store.url = store;
        })
    };
    let served = with(Some(store));
    for (path, status) in
        [("", 403), ("?key=who-reads", 200), ("?stream=far", 403), ("?stream=far&key=no", 403)]
    {
        assert_eq!(served.get(&format!("/live/sessions{path}")).status, status, "{path}");
    }
    // Without the key nobody is asked.
    assert_eq!(served.get("/streams/far/playlist.m3u8?ticket=good").status, 403);
    assert_eq!(events(&heard), []);
    let reply = served.get("/streams/far/playlist.m3u8?key=who-reads&ticket=bad");
    assert_eq!((reply.status, reply.json()["detail"].as_str()), (403, Some("read is refused")));
    let reply = served.get("/streams/far/playlist.m3u8?key=who-reads&ticket=good");
    assert_eq!((reply.status, reply.text().as_str()), (200, "#EXTM3U\n"));
    let read = ("read".to_string(), "far".to_string(), "http".to_string());
    assert_eq!(events(&heard), [read.clone(), read]);
    // Films want the key, at the port for caches too.
    let cdn = served.server.status()["live"]["cdn"].as_str().unwrap().to_string();
    for base in [String::new(), format!("http://{cdn}")] {
        assert_eq!(served.get(&format!("{base}/films/one/master.m3u8")).status, 403);
        let reply = served.get(&format!("{base}/films/one/master.m3u8?key=who-reads"));
        assert_eq!((reply.status, reply.text().as_str()), (200, "#EXTM3U\n#film"));
        let cookie = reply.header("set-cookie").split(';').next().unwrap().to_string();
        assert!(reply.header("set-cookie").contains("Path=/films/one;"), "{:?}", reply.headers);
        let media = served.ask("GET", &format!("{base}/films/one/v0/0.m4s"), &[("cookie", &cookie)], None);
        assert_eq!((media.status, media.text().as_str()), (200, "media"));
        assert!(media.header("cache-control").contains("immutable"));
    }
    let without = with(None);
    assert_eq!(without.get("/streams/far/playlist.m3u8?key=who-reads&ticket=bad").status, 404);
    assert_eq!(without.get("/films/one/master.m3u8?key=who-reads").status, 404);
    assert_eq!(events(&heard).len(), 2, "nobody is asked for what is nowhere");
}

/// Publishes by SRT, or reads, for a while; whether that worked.
fn srt(site: &Site, id: &str, args: &str, output: bool) -> Child {
    let address = site.server.status()["srt"].as_str().unwrap().to_string();
    let url = format!("srt://{address}?streamid={id}");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error"]);
    let command = match output {
        true => command.args(args.split_whitespace()).args(["-f", "mpegts", &url]),
        false => command.args(["-i", &url]).args(args.split_whitespace()).args(["-f", "null", "-"]),
    };
    command.stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn hooks_decide_over_srt_and_are_told_of_its_readers() {
    if let Err(e) = ghoststream::srt::available() {
        assert!(std::env::var_os("GS_REQUIRE_PEERS").is_none(), "{e}");
        eprintln!("skipped: {e}");
        return;
    }
    let (url, heard) = service(|call, _| {
        let body = call.json();
        let shows = body["query"].as_str().is_some_and(|q| q.contains("ticket=good"));
        if body["event"] == "unpublish" || body["event"] == "read_end" || shows { 200 } else { 403 }
    });
    let site = site(|config| {
        config.live.hooks.urls = vec![url];
        config.live.hooks.authorize = true;
        config.live.srt_port = Some(0);
    });
    let sources = format!("-re {BOTH} -c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:a aac");
    let mut refused = Publisher(srt(&site, "publish:live/bad?ticket=bad", &sources, true));
    assert!(!until("the refused publisher ends", || refused.0.try_wait().unwrap()).success());
    assert_eq!(site.get("/live/streams").json()["streams"], json!([]));
    let _publisher = Publisher(srt(&site, "publish:live/a?ticket=good", &sources, true));
    line(&site, "live/a");
    let sessions = site.get("/live/sessions?stream=live%2Fa").json()["sessions"].clone();
    assert_eq!(sessions.as_array().unwrap().len(), 1);
    let one = &sessions[0];
    assert_eq!(json!([one["stream"], one["protocol"], one["publishes"]]), json!(["live/a", "srt", true]));
    assert!(one["bytes_in"].as_u64().unwrap() > 10_000 && one["rtt_ms"].as_f64().unwrap() > 0.0, "{one}");
    assert!(one["uptime"].as_f64().unwrap() > 0.0 && one["loss"].as_f64().unwrap() < 1.0, "{one}");
    assert_eq!(site.get("/live/sessions").json()["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(site.get("/live/sessions?stream=live").json()["sessions"], json!([]));
    let mut reader = Publisher(srt(&site, "read:live/a", "-t 0.5", false));
    until("the refused reader ends", || reader.0.try_wait().unwrap());
    let mut reader = Publisher(srt(&site, "read:live/a?ticket=good", "-t 0.5", false));
    assert!(until("the reader has read", || reader.0.try_wait().unwrap()).success());
    let ended = || events(&heard).into_iter().filter(|e| e.0 == "read_end" && e.2 == "srt").count();
    until("read_end", || (ended() > 0).then_some(()));
    assert_eq!(ended(), 1, "who was refused has read nothing: {:?}", events(&heard));
    let asked: Vec<_> =
        events(&heard).into_iter().filter(|e| e.2 == "srt" && !e.0.ends_with("_end")).collect();
    let wanted = [("publish", "live/bad"), ("publish", "live/a"), ("read", "live/a"), ("read", "live/a")];
    assert_eq!(asked.iter().map(|e| (e.0.as_str(), e.1.as_str())).collect::<Vec<_>>(), wanted);
}

#[test]
fn who_publishes_and_plays_is_told_and_only_the_operator_where_they_are() {
    let site = site(|config| {
        config.security.api_key = Some(Secret::new("operator"));
        config.live.gstreamer_port = Some(0);
    });
    let rtmp = site.server.status()["rtmp"][0].as_str().unwrap().to_string();
    let plays = |name: &str| {
        let url = format!("rtmp://{rtmp}/{name}");
        let args = ["-v", "error", "-i", &url, "-f", "null", "-"];
        Publisher(Command::new("ffmpeg").args(args).stdin(Stdio::null()).spawn().unwrap())
    };
    let gstreamer = format!("http://{}", site.server.status()["live"]["gstreamer"].as_str().unwrap());
    let key = [("x-api-key", "operator")];
    let body = json!({"stream_id": "made", "source_type": "test", "output_type": "webrtc", "output_url": "",
        "width": 320, "height": 180})
    .to_string();
    let kind = [key[0], ("content-type", "application/json")];
    let created = site.ask("POST", &format!("{gstreamer}/streams"), &kind, Some(body.as_bytes()));
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(site.ask("POST", &format!("{gstreamer}/streams/made/start"), &key, None).status, 200);
    let publisher = publish(&site, "live/a", BOTH);
    line(&site, "live/a");
    line(&site, "made");
    let (one, other) = (plays("live/a"), plays("made"));
    let sessions = |path: &str| site.get(path).json()["sessions"].as_array().unwrap().clone();
    let its = until("all three have moved something", || {
        let its = sessions("/live/sessions?stream=live%2Fa&api_key=operator");
        let moved =
            |s: &Value| s["bytes_in"].as_u64().unwrap().max(s["bytes_out"].as_u64().unwrap()) > 20_000;
        (its.len() == 2 && its.iter().all(moved)).then_some(its)
    });
    let said: Vec<_> =
        its.iter().map(|s| json!([s["stream"], s["protocol"], s["publishes"], s["connected"]])).collect();
    assert_eq!(said, [json!(["live/a", "rtmp", true, true]), json!(["live/a", "rtmp", false, true])]);
    let [publishes, reads] = &its[..] else { panic!() };
    assert!(publishes["bytes_in"].as_u64() > publishes["bytes_out"].as_u64(), "{publishes}");
    assert!(reads["bytes_out"].as_u64() > reads["bytes_in"].as_u64(), "{reads}");
    assert!(publishes["uptime"].as_f64() > reads["uptime"].as_f64(), "{its:?}");
    let here = |s: &Value| s["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:"));
    assert!(its.iter().all(here) && publishes["peer"] != reads["peer"], "{its:?}");
    // What RTMP does not tell is not made up.
    for nothing in ["id", "rtt_ms", "loss", "estimate", "rung", "rungs", "switches"] {
        assert!(its.iter().all(|s| s[nothing].is_null()), "{nothing}");
    }
    for (path, count) in [("/live/sessions?stream=live%2Fa", 2), ("/live/sessions?api_key=wrong", 3)] {
        let its = sessions(path);
        assert!(its.len() == count && its.iter().all(|s| s["peer"].is_null()), "{path}: {its:?}");
    }
    // Every stream has its own.
    let list = site.ask("GET", &format!("{gstreamer}/streams"), &key, None).json();
    let made = list["streams"].as_array().unwrap().iter().find(|s| s["stream_id"] == "made").unwrap();
    let status = site.ask("GET", &format!("{gstreamer}/streams/made/status"), &key, None).json();
    for told in [made, &status] {
        let its = told["stats"]["sessions"].as_array().unwrap();
        assert!(its.len() == 1 && its[0]["stream"] == "made" && here(&its[0]), "{told}");
    }
    let page = site.get("/metrics?api_key=operator").text();
    let line = |stream: &str, kind: &str| {
        format!(r#"ghoststream_live_sessions{{stream="{stream}",protocol="rtmp",kind="{kind}"}} 1"#)
    };
    for line in [line("live/a", "publish"), line("live/a", "read"), line("made", "read")] {
        assert!(page.contains(&line), "{line}");
    }
    let moved = |page: &str| -> u64 {
        let name = r#"ghoststream_live_connection_bytes_total{protocol="rtmp",direction="in"} "#;
        page.lines().find_map(|l| l.strip_prefix(name)).unwrap().parse().unwrap()
    };
    drop((one, other, publisher));
    until("all are gone", || sessions("/live/sessions").is_empty().then_some(()));
    assert!(moved(&site.get("/metrics?api_key=operator").text()) >= moved(&page));
}

#[test]
fn what_a_connection_moves_last_is_counted() {
    let site = site(|config| config.live.rtsp_port = Some(0));
    let address = site.server.status()["rtsp"][0].as_str().unwrap().to_string();
    let mut socket = TcpStream::connect(&address).unwrap();
    let (mut out, mut back) = (0, 0);
    let head = |method: &str, track: &str, more: &str| {
        format!("{method} rtsp://{address}/live/r{track} RTSP/1.0\r\nCSeq: 1\r\n{more}")
    };
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=r\r\nt=0 0\r\nm=audio 0 RTP/AVP 97\r\n\
               a=rtpmap:97 opus/48000/2\r\na=control:trackID=0\r\n";
    let announced = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
    let way = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n\r\n";
    let asked =
        [head("ANNOUNCE", "", &announced), head("SETUP", "/trackID=0", way), head("RECORD", "", "\r\n")];
    for request in asked {
        socket.write_all(request.as_bytes()).unwrap();
        out += request.len();
        let mut answer = vec![0; 64 << 10];
        let length = socket.read(&mut answer).unwrap();
        back += length;
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.starts_with("RTSP/1.0 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
    // A word of no meaning on the channel of reports, and the end, at once.
    let end = [&[b'$', 1, 0, 4, 0, 0, 0, 0][..], head("TEARDOWN", "", "\r\n").as_bytes()].concat();
    socket.write_all(&end).unwrap();
    out += end.len();
    back += socket.read_to_end(&mut Vec::new()).unwrap();
    until("it is gone", || {
        site.get("/live/sessions").json()["sessions"].as_array().unwrap().is_empty().then_some(())
    });
    let page = site.get("/metrics").text();
    for (direction, bytes) in [("in", out), ("out", back)] {
        let line = format!(
            r#"ghoststream_live_connection_bytes_total{{protocol="rtsp",direction="{direction}"}} {bytes}"#
        );
        let all: Vec<&str> = page.lines().filter(|l| l.contains("connection_bytes_total")).collect();
        assert!(page.lines().any(|l| l == line), "{line}: {all:?}");
    }
}

#[test]
fn settings_of_segments_window_and_ladder_are_kept() {
    let spill = tempfile::tempdir().unwrap();
    let site = site(|config| {
        let live = &mut config.live;
        (live.segment_duration, live.part_duration) = (1.0, 0.5);
        (live.playlist_size, live.dvr_seconds) = (4, 10.0);
        (live.spill, live.dash) = (Some(spill.path().join("old")), false);
        live.ladder = vec!["240p".into()];
    });
    let _publisher = publish(&site, "live/a", BOTH);
    assert!(line(&site, "live/a")["dash"].is_null());
    assert_eq!(site.get("/streams/live/a/manifest.mpd").status, 404);
    let master = site.get("/streams/live/a/playlist.m3u8").text();
    let sizes: Vec<&str> =
        master.split("RESOLUTION=").skip(1).map(|rest| rest.split([',', '\n']).next().unwrap()).collect();
    assert!(!sizes.is_empty() && sizes.iter().all(|size| *size == "426x240"), "{master}");
    let media = master.lines().find(|l| !l.starts_with('#')).unwrap();
    let list = until("the window is full", || {
        let list = site.get(&format!("/streams/live/a/{media}")).text();
        (!list.contains("#EXT-X-MEDIA-SEQUENCE:0\n")).then_some(list)
    });
    assert!(list.contains("#EXT-X-TARGETDURATION:1\n"), "{list}");
    let part = list.split("PART-TARGET=").nth(1).unwrap();
    let part: f64 = part.split([',', '\n']).next().unwrap().parse().unwrap();
    assert!((0.4..0.56).contains(&part), "{list}");
    // As far back as one can seek, which is more than the playlist's segments.
    let count = list.matches("#EXTINF:").count();
    assert!((10..=12).contains(&count), "{list}");
    until("old ones go to disk", || {
        let folders = std::fs::read_dir(spill.path().join("old")).unwrap().flatten();
        folders.filter_map(|f| std::fs::read_dir(f.path()).ok()).flatten().next().map(|_| ())
    });
    let first = list.lines().find(|l| l.ends_with(".m4s") && !l.starts_with('#')).unwrap();
    assert_eq!(site.get(&format!("/streams/live/a/{first}")).status, 200);
}

#[test]
fn hooks_that_make_no_sense_are_refused() {
    let mut config = Config::default();
    config.live.hooks.authorize = true;
    assert!(config.check().unwrap_err().starts_with("live.hooks.authorize: nobody decides"));
    config.live.hooks.urls = vec!["ftp://x".into()];
    assert!(config.check().unwrap_err().starts_with("live.hooks.urls: \"ftp://x\""));
}

/// Words of a query that are names of metrics.
fn metrics(query: &str) -> Vec<&str> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|w| ["ghoststream_", "streaming_", "media_processor_"].iter().any(|p| w.starts_with(p)))
        .collect()
}

#[test]
fn the_dashboard_shows_what_is_measured() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/grafana/ghoststream.json");
    let board: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let site = site(|_| ());
    let _publisher = publish(&site, "live/a", BOTH);
    line(&site, "live/a");
    // Requests are counted when they are answered.
    assert_eq!(site.get("/health").status, 200);
    let page = site.get("/metrics").text();
    let kinds: Vec<&str> =
        page.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let there = |name: &str| {
        let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        kinds.contains(&name) || plain.is_some_and(|plain| kinds.contains(&plain))
    };
    let mut queries: Vec<&str> = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(!targets.is_empty() || panel["type"] == "row", "{panel}");
        queries.extend(targets.iter().map(|t| t["expr"].as_str().unwrap()));
    }
    let variables = board["templating"]["list"].as_array().unwrap();
    queries.extend(variables.iter().filter_map(|v| v["definition"].as_str()));
    assert!(queries.len() > 25);
    for query in queries {
        let named = metrics(query);
        assert!(!named.is_empty() && named.iter().all(|name| there(name)), "{query}");
    }
    // Labels that it goes by.
    for label in [r#"stream="live/a""#, r#"stream_id="live/a""#, "route=", "status="] {
        assert!(page.contains(label), "{label}");
    }
}
