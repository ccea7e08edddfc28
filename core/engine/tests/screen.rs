//! Screens of a real X server without a monitor (Xvfb), on which the tests draw.

use ghoststream::event::{Event, Next, Outcome, State};
use ghoststream::reader::{Reader, ReaderOptions};
use ghoststream::spec::SourceSpec;
use ghoststream::{ErrorKind, Job, Pipeline};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use x11rb::connection::Connection as _;
use x11rb::protocol::randr::{ConnectionExt as _, MonitorInfo};
use x11rb::protocol::xproto::{
    ChangeGCAux, ConfigureWindowAux, ConnectionExt as _, CreateGCAux, CreateWindowAux, Rectangle, WindowClass,
};
use x11rb::rust_connection::RustConnection;

/// An X server of 640x360, for as long as it lives.
struct Server {
    process: Child,
    display: String,
}

impl Server {
    /// `None`, said aloud, where there is no Xvfb.
    fn start() -> Option<Server> {
        let started = Command::new("Xvfb")
            .args(["-noreset", "-displayfd", "1", "-screen", "0", "640x360x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut process) = started else {
            assert!(std::env::var_os("GS_REQUIRE_PEERS").is_none(), "Xvfb is missing");
            eprintln!("skipped: Xvfb is missing");
            return None;
        };
        let mut number = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut number).unwrap();
        Some(Server { process, display: format!(":{}", number.trim()) })
    }

    fn screen(&self, fields: Value) -> Value {
        let mut screen = json!({ "display": self.display, "frame_rate": "60/1" });
        screen.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({ "screen": screen })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A client that fills rectangles of a window.
struct Painter {
    connection: RustConnection,
    window: u32,
    gc: u32,
}

impl Painter {
    fn new(server: &Server, x: i16, y: i16, width: u16, height: u16) -> Painter {
        let (connection, number) = x11rb::connect(Some(&server.display)).unwrap();
        let screen = &connection.setup().roots[number];
        let (root, depth) = (screen.root, screen.root_depth);
        let (window, gc) = (connection.generate_id().unwrap(), connection.generate_id().unwrap());
        let aux = CreateWindowAux::new().background_pixel(0).override_redirect(1);
        connection
            .create_window(depth, window, root, x, y, width, height, 0, WindowClass::INPUT_OUTPUT, 0, &aux)
            .unwrap();
        connection.create_gc(gc, window, &CreateGCAux::new()).unwrap();
        connection.map_window(window).unwrap();
        let painter = Painter { connection, window, gc };
        painter.fill(0, 0, width, height, 0);
        painter
    }

    fn fill(&self, x: i16, y: i16, width: u16, height: u16, rgb: u32) {
        self.connection.change_gc(self.gc, &ChangeGCAux::new().foreground(rgb)).unwrap();
        let area = Rectangle { x, y, width, height };
        self.connection.poly_fill_rectangle(self.window, self.gc, &[area]).unwrap();
    }

    /// Waits until the server has drawn everything.
    fn done(&self) {
        self.connection.get_input_focus().unwrap().reply().unwrap();
    }

    /// A number as 16 blocks, white for 1.
    fn number(&self, n: u32) {
        for bit in 0..16 {
            let white = n >> bit & 1 == 1;
            self.fill(bit as i16 * 32, 0, 32, 32, if white { 0xff_ffff } else { 0 });
        }
        self.done();
    }
}

/// Reads what [`Painter::number`] drew at the upper left corner of a grey picture.
fn number(pixels: &[u8], stride: usize) -> u32 {
    (0..16).map(|bit| u32::from(pixels[16 * stride + bit * 32 + 16] > 128) << bit).sum()
}

fn start(source: Value, output: Value) -> Job {
    let spec = json!({ "source": source, "outputs": [output] });
    Pipeline::from_json(&spec.to_string()).unwrap().start().job().unwrap()
}

fn record(source: Value, path: &str, seconds: f64) -> (Job, Value) {
    let mut source = source;
    source["duration"] = seconds.into();
    let video = json!({ "codec": "h264", "preset": "p1", "crf": 16, "device": "software" });
    let job = start(source, json!({ "path": path, "video": video }));
    let done = job.wait(Some(Duration::from_secs(60))).unwrap().expect("the job hangs");
    assert_eq!(done.outcome, Outcome::Completed, "{done:?}");
    let stats = serde_json::to_value(job.stats()).unwrap();
    let screen = stats["stages"].as_array().unwrap().iter().find_map(|s| s.get("screen")).cloned();
    (job, screen.expect("what became of the pictures"))
}

/// The pictures of a file in `format`: width, height, stride, pixels, time.
fn pictures(path: &str, format: &str) -> Vec<(u32, u32, usize, Vec<u8>, f64)> {
    let options =
        ReaderOptions { pixel_format: Some(format.into()), audio: false, ..ReaderOptions::default() };
    let mut reader = Reader::open(&SourceSpec::url(path), options).unwrap();
    let mut pictures = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        let media = frame.media();
        let time = frame.presentation().unwrap().seconds();
        pictures.push((media.width(), media.height(), media.stride(0), media.plane(0).to_vec(), time));
    }
    pictures
}

#[test]
fn a_recording_shows_what_was_drawn_in_its_order() {
    let Some(server) = Server::start() else { return };
    let painter = Painter::new(&server, 0, 0, 640, 360);
    painter.number(0);
    let (stop, drawn) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let thread = {
        let (stop, drawn) = (stop.clone(), drawn.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(16));
                painter.number(drawn.fetch_add(1, Ordering::Relaxed) + 1);
            }
        })
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("screen.mkv").to_string_lossy().into_owned();
    let (_, counts) = record(server.screen(json!({ "cursor": false })), &path, 2.0);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();

    let pictures = pictures(&path, "gray");
    let dropped = counts["dropped"].as_u64().unwrap();
    assert_eq!(pictures.len() as u64 + dropped, 120, "{counts}");
    let numbers: Vec<u32> =
        pictures.iter().map(|(_, _, stride, pixels, _)| number(pixels, *stride)).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] <= pair[1]), "{numbers:?}");
    assert!(*numbers.last().unwrap() <= drawn.load(Ordering::Relaxed));
    let mut different = numbers.clone();
    different.dedup();
    // A loaded machine draws and takes less often; what it took must all be there.
    assert_eq!(
        counts["taken"].as_u64().unwrap() + counts["repeated"].as_u64().unwrap(),
        pictures.len() as u64 + 1
    );
    assert!(different.len() > 20, "{numbers:?}");
    for (i, (width, height, _, _, time)) in pictures.iter().enumerate() {
        assert_eq!((*width, *height), (640, 360));
        assert!(dropped > 0 || (time - i as f64 / 60.0).abs() < 0.002, "picture {i} at {time}");
    }
}

#[test]
fn colours_are_those_of_the_screen_and_a_region_is_cut_out() {
    let Some(server) = Server::start() else { return };
    let painter = Painter::new(&server, 0, 0, 640, 360);
    let colours = [0xff_0000, 0x00_ff00, 0x00_00ff, 0x80_8080];
    for (i, rgb) in colours.iter().enumerate() {
        painter.fill(100 + i as i16 * 64, 50, 64, 64, *rgb);
    }
    painter.done();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("colours.mkv").to_string_lossy().into_owned();
    let region = json!({ "x": 100, "y": 50, "width": 256, "height": 64 });
    let (_, counts) = record(server.screen(json!({ "cursor": false, "region": region })), &path, 0.5);
    // Nothing moved: one picture, shown again.
    assert_eq!(counts["taken"], 1, "{counts}");
    let pictures = pictures(&path, "rgb24");
    let (width, height, stride, pixels, _) = pictures.last().unwrap();
    assert_eq!((*width, *height), (256, 64));
    for (i, rgb) in colours.iter().enumerate() {
        let at = 32 * stride + (i * 64 + 32) * 3;
        let seen = &pixels[at..at + 3];
        let wanted = [(rgb >> 16) as u8, (rgb >> 8) as u8, *rgb as u8];
        assert!(seen.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= 6), "{seen:?} for {rgb:06x}");
    }
}

#[test]
fn a_window_is_recorded_while_another_covers_it() {
    let Some(server) = Server::start() else { return };
    let below = Painter::new(&server, 20, 20, 512, 128);
    below.number(0b1010_0101_1100_0011);
    let above = Painter::new(&server, 0, 0, 640, 360);
    let window = below.window;
    let raise = ConfigureWindowAux::new().stack_mode(x11rb::protocol::xproto::StackMode::ABOVE);
    above.connection.configure_window(above.window, &raise).unwrap();
    above.done();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("window.mkv").to_string_lossy().into_owned();
    // What is below the cover is drawn once the window is redirected.
    let painter = std::thread::spawn(move || {
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(20));
            below.number(0b1010_0101_1100_0011);
        }
    });
    record(server.screen(json!({ "cursor": false, "window": window })), &path, 0.8);
    painter.join().unwrap();
    let pictures = pictures(&path, "gray");
    let (width, height, stride, pixels, _) = pictures.last().unwrap();
    assert_eq!((*width, *height), (512, 128));
    assert_eq!(number(pixels, *stride), 0b1010_0101_1100_0011);
}

#[test]
fn what_is_not_there_is_named() {
    let Some(server) = Server::start() else { return };
    let refused = |screen: Value| -> String {
        let spec = json!({ "source": screen, "outputs": [{ "packets": {} }] });
        let error = Pipeline::from_json(&spec.to_string()).unwrap().plan().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        error.to_string()
    };
    let monitor = refused(server.screen(json!({ "monitor": "DP-9" })));
    assert!(monitor.contains("DP-9") && monitor.contains("screen"), "{monitor}");
    let window = refused(server.screen(json!({ "window": 77 })));
    assert!(window.contains("77"), "{window}");
    let outside = refused(server.screen(json!({ "region": { "x": 700, "y": 0, "width": 5, "height": 5 } })));
    assert!(outside.contains("640x360"), "{outside}");
    let display = refused(json!({ "screen": { "display": ":7654" } }));
    assert!(display.contains(":7654"), "{display}");
}

#[test]
fn a_window_that_is_closed_ends_the_recording_and_the_file_is_kept() {
    let Some(server) = Server::start() else { return };
    let painter = Painter::new(&server, 0, 0, 320, 180);
    painter.done();
    let window = painter.window;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("window.mkv").to_string_lossy().into_owned();
    let video = json!({ "codec": "h264", "preset": "p1", "device": "software" });
    let job = start(server.screen(json!({ "window": window })), json!({ "path": path, "video": video }));
    for _ in 0..1000 {
        if job.state() != State::Starting {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(500));
    painter.connection.destroy_window(window).unwrap();
    painter.done();
    let done = job.wait(Some(Duration::from_secs(20))).unwrap().expect("the job hangs");
    assert_eq!(done.outcome, Outcome::Completed, "{done:?}");
    let mut warnings = Vec::new();
    while let Next::Event(event) = job.next_event(Some(Duration::ZERO)) {
        if let Event::Warning { code: "source", message } = event {
            warnings.push(message);
        }
    }
    assert!(warnings.iter().any(|w| w.contains(&format!("window {window} was closed"))), "{warnings:?}");
    assert!(pictures(&path, "gray").len() > 5);
}

#[test]
fn monitors_are_found_by_name_and_the_primary_one_by_that_word() {
    let Some(server) = Server::start() else { return };
    let painter = Painter::new(&server, 0, 0, 640, 360);
    painter.fill(0, 0, 240, 360, 0xff_0000);
    painter.fill(240, 0, 400, 360, 0x00_00ff);
    painter.done();
    let connection = &painter.connection;
    let root = connection.setup().roots[0].root;
    connection.randr_query_version(1, 5).unwrap().reply().unwrap();
    for (name, primary, x, width) in [("LEFT", false, 0, 240), ("RIGHT", true, 240, 400)] {
        let name = connection.intern_atom(false, name.as_bytes()).unwrap().reply().unwrap().atom;
        let (y, height) = (0, 360);
        let monitor = MonitorInfo { name, primary, x, y, width, height, ..MonitorInfo::default() };
        connection.randr_set_monitor(root, monitor).unwrap().check().unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, width, colour) in
        [("LEFT", 240, [255, 0, 0]), ("RIGHT", 400, [0, 0, 255]), ("primary", 400, [0, 0, 255])]
    {
        let path = dir.path().join(format!("{name}.mkv")).to_string_lossy().into_owned();
        record(server.screen(json!({ "cursor": false, "monitor": name })), &path, 0.3);
        let pictures = pictures(&path, "rgb24");
        let last = pictures.last().unwrap();
        assert_eq!((last.0, last.1), (width, 360), "{name}");
        assert!(is_near(middle(last), colour), "{name}: {:?}", middle(last));
    }
}

#[test]
fn the_pointer_is_in_the_picture_where_it_is_wanted() {
    let Some(server) = Server::start() else { return };
    let painter = Painter::new(&server, 0, 0, 640, 360);
    painter.fill(0, 0, 640, 360, 0x80_8080);
    let root = painter.connection.setup().roots[0].root;
    let dir = tempfile::tempdir().unwrap();
    let seen = |cursor: bool, x: i16| {
        painter.connection.warp_pointer(x11rb::NONE, root, 0, 0, 0, 0, x, 100).unwrap();
        painter.done();
        let path = dir.path().join(format!("{cursor}{x}.mkv")).to_string_lossy().into_owned();
        record(server.screen(json!({ "cursor": cursor })), &path, 0.3);
        let pictures = pictures(&path, "gray");
        let (_, _, stride, pixels, _) = pictures.last().unwrap();
        // How many pixels around each of the two places are not grey.
        [200usize, 400].map(|x| {
            let around = (80..120).flat_map(|y| (x - 20..x + 20).map(move |x| y * stride + x));
            around.filter(|at| pixels[*at].abs_diff(128) > 40).count()
        })
    };
    let [there, elsewhere] = seen(true, 200);
    assert!(there > 10 && elsewhere == 0, "{there} {elsewhere}");
    let [before, now] = seen(true, 400);
    assert!(before == 0 && now > 10, "{before} {now}");
    assert_eq!(seen(false, 200), [0, 0]);
}

#[test]
fn a_window_that_changes_its_size_is_brought_to_that_of_the_file() {
    let Some(server) = Server::start() else { return };
    let painter = Painter::new(&server, 0, 0, 200, 100);
    painter.fill(0, 0, 200, 100, 0xff_0000);
    painter.done();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resized.mkv").to_string_lossy().into_owned();
    let video = json!({ "codec": "h264", "preset": "p1", "crf": 10, "device": "software" });
    let source = server.screen(json!({ "window": painter.window, "cursor": false, "frame_rate": 50 }));
    let job = start(source, json!({ "path": path, "video": video }));
    while job.state() == State::Starting {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(400));
    let larger = ConfigureWindowAux::new().width(400).height(200);
    painter.connection.configure_window(painter.window, &larger).unwrap();
    painter.fill(0, 0, 400, 200, 0x00_ff00);
    painter.done();
    warned(&job, "is now 400x200, it was 200x100");
    std::thread::sleep(Duration::from_millis(400));
    job.stop();
    let done = job.wait(Some(Duration::from_secs(20))).unwrap().expect("the job hangs");
    assert_eq!(done.outcome, Outcome::Stopped, "{done:?}");
    let pictures = pictures(&path, "rgb24");
    assert!(pictures.iter().all(|p| (p.0, p.1) == (200, 100)));
    assert!(is_near(middle(&pictures[0]), [255, 0, 0]), "{:?}", middle(&pictures[0]));
    let last = middle(pictures.last().unwrap());
    assert!(is_near(last, [0, 255, 0]), "{last:?}");
}

#[test]
fn another_frame_rate_paces_the_capture() {
    let Some(server) = Server::start() else { return };
    let painter = Painter::new(&server, 0, 0, 640, 360);
    painter.done();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("paced.mkv").to_string_lossy().into_owned();
    let video = json!({ "codec": "h264", "preset": "p1", "device": "software" });
    let job = start(server.screen(json!({ "cursor": false })), json!({ "path": path, "video": video }));
    while job.state() == State::Starting {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(500));
    job.set(&serde_json::from_value(json!({ "frame_rate": 10 })).unwrap()).unwrap();
    // What was on its way is through.
    std::thread::sleep(Duration::from_millis(300));
    let made = |job: &Job| {
        let stats = job.stats();
        let screen = stats.stages.iter().find_map(|s| s.screen).unwrap();
        (screen.taken + screen.repeated, stats.tracks[0].time)
    };
    let before = made(&job).0;
    std::thread::sleep(Duration::from_secs(2));
    let after = made(&job).0;
    assert!((15..=25).contains(&(after - before)), "{} pictures in two seconds", after - before);
    job.stop();
    job.wait(Some(Duration::from_secs(20))).unwrap().expect("the job hangs");
    let times: Vec<f64> = pictures(&path, "gray").iter().map(|p| p.4).collect();
    let late = &times[times.len() - 10..];
    assert!(late.windows(2).all(|t| (t[1] - t[0] - 0.1).abs() < 0.002), "{times:?}");
}

/// The colour in the middle of an RGB picture.
fn middle((width, height, stride, pixels, _): &(u32, u32, usize, Vec<u8>, f64)) -> [u8; 3] {
    let at = *height as usize / 2 * stride + *width as usize / 2 * 3;
    [pixels[at], pixels[at + 1], pixels[at + 2]]
}

fn is_near(a: [u8; 3], b: [u8; 3]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= 8)
}

fn warned(job: &Job, what: &str) {
    loop {
        match job.next_event(Some(Duration::from_secs(20))) {
            Next::Event(Event::Warning { message, .. }) if message.contains(what) => return,
            Next::Event(Event::Done(done)) => panic!("no warning of {what}: {done:?}"),
            Next::Event(_) => {}
            other => panic!("no warning of {what}: {other:?}"),
        }
    }
}

#[test]
fn something_else_is_captured_while_it_runs() {
    let Some(server) = Server::start() else { return };
    let painter = Painter::new(&server, 0, 0, 640, 360);
    painter.fill(0, 0, 320, 360, 0xff_0000);
    painter.fill(320, 0, 320, 360, 0x00_00ff);
    painter.done();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("switched.mkv").to_string_lossy().into_owned();
    let video = json!({ "codec": "h264", "preset": "p1", "crf": 10, "device": "software" });
    let left = json!({ "x": 0, "y": 0, "width": 160, "height": 90 });
    // Of another size: it is brought to that of the file.
    let right = json!({ "x": 330, "y": 10, "width": 300, "height": 300 });
    let source = server.screen(json!({ "region": left, "cursor": false, "frame_rate": 50 }));
    let job = start(source, json!({ "path": path, "video": video }));
    while job.state() == State::Starting {
        std::thread::sleep(Duration::from_millis(5));
    }
    let change = |screen: Value| serde_json::from_value(json!({ "screen": screen })).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    // What is not there changes nothing.
    job.set(&change(json!({ "display": server.display, "monitor": "DP-9" }))).unwrap();
    warned(&job, "DP-9");
    let refused = job.set(&change(json!({ "monitor": "a", "window": 5 }))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    std::thread::sleep(Duration::from_millis(200));
    job.set(&change(json!({ "display": server.display, "region": right, "cursor": false }))).unwrap();
    warned(&job, "captured from here on");
    std::thread::sleep(Duration::from_millis(500));
    job.stop();
    let done = job.wait(Some(Duration::from_secs(20))).unwrap().expect("the job hangs");
    assert_eq!(done.outcome, Outcome::Stopped, "{done:?}");

    let pictures = pictures(&path, "rgb24");
    assert!(pictures.iter().all(|p| (p.0, p.1) == (160, 90)));
    let colours: Vec<[u8; 3]> = pictures.iter().map(middle).collect();
    let turned = colours.iter().position(|c| is_near(*c, [0, 0, 255])).expect("the right half is shown");
    assert!(turned > 10 && colours.len() - turned > 10, "{turned} of {}", colours.len());
    assert!(colours[..turned].iter().all(|c| is_near(*c, [255, 0, 0])), "{:?}", &colours[..turned]);
    assert!(colours[turned..].iter().all(|c| is_near(*c, [0, 0, 255])), "{:?}", &colours[turned..]);
    assert!(pictures.windows(2).all(|p| p[0].4 < p[1].4), "times grow");
}

#[test]
fn two_hundred_and_forty_pictures_a_second_are_all_accounted_for() {
    let Some(server) = Server::start() else { return };
    let painter = Painter::new(&server, 0, 0, 640, 360);
    painter.number(0);
    let stop = Arc::new(AtomicBool::new(false));
    let thread = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(4));
                n += 1;
                painter.number(n);
            }
        })
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fast.mkv").to_string_lossy().into_owned();
    let region = json!({ "x": 0, "y": 0, "width": 512, "height": 32 });
    let source = server.screen(json!({ "cursor": false, "frame_rate": 240, "region": region }));
    let (_, counts) = record(source, &path, 1.0);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    let pictures = pictures(&path, "gray");
    let count = |key: &str| counts[key].as_u64().unwrap();
    assert_eq!(pictures.len() as u64 + count("dropped"), 240, "{counts}");
    assert_eq!(count("taken") + count("repeated"), pictures.len() as u64 + 1, "{counts}");
    assert!(count("late") <= count("repeated"), "{counts}");
    let numbers: Vec<u32> = pictures.iter().map(|(_, _, stride, p, _)| number(p, *stride)).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] <= pair[1]), "{numbers:?}");
    // Times lie on the grid of 1/240 s, whatever was dropped.
    for (.., time) in &pictures {
        let tick = time * 240.0;
        assert!((tick - tick.round()).abs() < 0.3, "{time}");
    }
}

#[test]
fn a_reader_gives_the_newest_picture() {
    let Some(server) = Server::start() else { return };
    let painter = Painter::new(&server, 0, 0, 640, 360);
    painter.number(5);
    let spec: SourceSpec = serde_json::from_value(server.screen(json!({ "cursor": false }))).unwrap();
    let options = ReaderOptions { pixel_format: Some("gray".into()), ..ReaderOptions::default() };
    let mut reader = Reader::open(&spec, options).unwrap();
    assert!(reader.is_live());
    let info = serde_json::to_value(reader.info()).unwrap();
    assert_eq!(info["streams"][0]["video"]["width"], 640, "{info}");
    let mut seen = |what: &str| {
        let frame = reader.next().unwrap().expect(what);
        let media = frame.media();
        (number(media.plane(0), media.stride(0)), frame.presentation().unwrap().seconds())
    };
    let (first, begun) = seen("a first picture");
    assert_eq!(first, 5);
    painter.number(9);
    std::thread::sleep(Duration::from_millis(300));
    // What passed meanwhile is not made up for.
    let (second, later) = seen("a second picture");
    assert_eq!(second, 9);
    assert!((0.2..1.5).contains(&(later - begun)), "{begun} {later}");
    assert_eq!(reader.seek(ghoststream::spec::Seconds(0.0)).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(reader.len().unwrap_err().kind(), ErrorKind::Unsupported);
    let camera: SourceSpec =
        serde_json::from_value(json!({"screen": {"camera": {"device": "/dev/no-such-camera"}}})).unwrap();
    let error = Reader::open(&camera, ReaderOptions::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("/dev/no-such-camera"), "{error}");
}
