//! Many viewers of one live stream of low latency: what they cost, and how long after it exists a part has reached them.
//!
//!     cargo bench -p ghoststream-server --bench live_viewers -- [--viewers 1000] [--seconds 30]
//!
//! `GS_CLI` is the server's command (a release build); FFmpeg publishes a clip without encoding. Viewers keep their connection
//! and ask for every next part before it is there, as hls.js does. A part counts as existing when the first of the viewers has
//! all of it. CPU is the server's alone (user and system, from /proc); viewers run on the same machine. Run it on a quiet one.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what it says is what it is for")]

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A process that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is what is wanted.
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// A connection that is kept.
struct Connection(tokio::io::BufReader<TcpStream>, String);

impl Connection {
    async fn new(address: &str) -> Outcome<Connection> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Connection(tokio::io::BufReader::new(socket), address.into()))
    }

    /// The body of `path`.
    async fn get(&mut self, path: &str, body: &mut Vec<u8>) -> Outcome<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.1);
        self.0.get_mut().write_all(request.as_bytes()).await?;
        let (mut line, mut length, mut status) = (String::new(), None, String::new());
        loop {
            line.clear();
            self.0.read_line(&mut line).await?;
            let text = line.trim_end();
            if status.is_empty() {
                status = text.into();
            } else if text.is_empty() {
                break;
            } else if let Some((name, value)) = text.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        body.resize(length.ok_or_else(|| format!("{path}: {status}, without a length"))?, 0);
        self.0.read_exact(body).await?;
        if status.contains(" 200 ") { Ok(()) } else { Err(format!("{path}: {status}").into()) }
    }
}

/// What one viewer saw: when each part was there.
type Seen = Vec<(u64, Instant)>;

async fn view(address: String, folder: String, media: String, until: Instant) -> Outcome<(Seen, u64)> {
    let mut connection = Connection::new(&address).await?;
    let (mut body, mut seen, mut requests, mut last) = (Vec::new(), Vec::new(), 1, None);
    connection.get(&format!("{folder}{media}"), &mut body).await?;
    while Instant::now() < until {
        let text = std::str::from_utf8(&body)?;
        let (mut sequence, mut part, mut newest) = (0u64, 0u64, None);
        for line in text.lines() {
            if let Some(first) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
                sequence = first.parse()?;
            } else if line.starts_with("#EXTINF") {
                (sequence, part) = (sequence + 1, 0);
            } else if let Some(attributes) = line.strip_prefix("#EXT-X-PART:") {
                part += 1;
                newest = attributes
                    .split_once("URI=\"")
                    .and_then(|(_, rest)| rest.split_once('"'))
                    .map(|(uri, _)| uri);
            }
        }
        let newest = newest.ok_or("a playlist without parts")?.to_string();
        let digits = newest.rsplit_once("_p").and_then(|(_, n)| n.split_once('.')).ok_or("a part's name")?.0;
        let number: u64 = digits.parse()?;
        if last != Some(number) {
            last = Some(number);
            connection.get(&format!("{folder}{newest}"), &mut body).await?;
            seen.push((number, Instant::now()));
            requests += 1;
        }
        let next = format!("{folder}{media}?_HLS_msn={sequence}&_HLS_part={part}");
        connection.get(&next, &mut body).await?;
        requests += 1;
    }
    Ok((seen, requests))
}

/// Seconds of CPU and resident bytes of a process.
fn usage(pid: u32) -> Outcome<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("stat")?.1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("VmRSS")?;
    let kib: f64 = resident.trim().trim_end_matches(" kB").parse()?;
    // USER_HZ is 100 on every Linux that we build for.
    Ok((ticks as f64 / 100.0, kib * 1024.0))
}

fn serve(cli: &str, work: &Path) -> Outcome<(Running, String, String)> {
    let config = work.join("ghoststream.yaml");
    let dir = work.display();
    std::fs::write(
        &config,
        format!(
            "server: {{host: 127.0.0.1, port: 0, max_connections: 20000}}\nmdns: {{enabled: false, udp_enabled: false}}\n\
             transcoding: {{temp_directory: \"{dir}/jobs\", idle_workers: 0}}\n\
             security: {{state_directory: \"{dir}/state\", rate_limit_per_minute: 0}}\n\
             live: {{enabled: true, rtmp_port: 0, webrtc_port: null}}\n"
        ),
    )?;
    let mut command = Command::new(cli);
    command.args(["serve", "--log-format", "json", "--config"]).arg(&config).stderr(Stdio::piped());
    let mut server = Running(command.stdout(Stdio::null()).spawn()?);
    let log = BufReader::new(server.0.stderr.take().ok_or("no log")?);
    let (mut http, mut rtmp, mut lines) = (None, None, log.lines());
    while http.is_none() || rtmp.is_none() {
        let line = lines.next().ok_or("the server has ended")??;
        for (scheme, found) in [("http://", &mut http), ("rtmp://", &mut rtmp)] {
            if let Some((_, rest)) = line.split_once(&format!("listening on {scheme}")) {
                *found = rest.split('"').next().map(String::from);
            }
        }
    }
    // Its log is read on, so that it never waits.
    std::thread::spawn(move || lines.for_each(drop));
    Ok((server, http.ok_or("http")?, rtmp.ok_or("rtmp")?))
}

fn publish(rtmp: &str, work: &Path) -> Outcome<Running> {
    let clip = work.join("clip.mp4");
    let mut make = Command::new("ffmpeg");
    make.args([
        "-v",
        "error",
        "-y",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=1280x720:r=30:d=10",
        "-c:v",
        "libx264",
        "-b:v",
        "2M",
    ]);
    make.args(["-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "60", "-bf", "0"]).arg(&clip);
    if !make.status()?.success() {
        return Err("FFmpeg made no clip".into());
    }
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]).arg(&clip);
    command.args(["-c", "copy", "-f", "flv", &format!("rtmp://{rtmp}/live/p")]).stdin(Stdio::null());
    Ok(Running(command.stdout(Stdio::null()).spawn()?))
}

fn percentile(sorted: &[f64], of: f64) -> f64 {
    let at = (sorted.len() as f64 * of) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

async fn measure(viewers: usize, seconds: u64) -> Outcome<()> {
    let cli = std::env::var("GS_CLI").map_err(|_| "GS_CLI: the server's command")?;
    let work = tempfile::tempdir()?;
    let (server, http, rtmp) = serve(&cli, work.path())?;
    let _publisher = publish(&rtmp, work.path())?;
    let folder = "/streams/live/p/".to_string();
    let mut body = Vec::new();
    let begun = Instant::now();
    loop {
        let mut connection = Connection::new(&http).await?;
        match connection.get(&format!("{folder}playlist.m3u8"), &mut body).await {
            Ok(()) => break,
            Err(e) if begun.elapsed() > Duration::from_secs(20) => return Err(e),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    let text = String::from_utf8(body)?;
    let media =
        text.lines().find(|l| !l.starts_with('#') && !l.is_empty()).ok_or("no rendition")?.to_string();
    // A window of segments first, so that memory is the viewers'.
    tokio::time::sleep(Duration::from_secs(25)).await;
    let pid = server.0.id();
    let (idle_from, _) = usage(pid)?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (idle_to, alone) = usage(pid)?;
    let warm = Instant::now() + Duration::from_secs(5);
    let until = warm + Duration::from_secs(seconds);
    let mut tasks = Vec::new();
    for _ in 0..viewers {
        tasks.push(tokio::spawn(view(http.clone(), folder.clone(), media.clone(), until)));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep_until(warm.into()).await;
    let (from, _) = usage(pid)?;
    tokio::time::sleep_until(until.into()).await;
    let (to, full) = usage(pid)?;
    let (mut first, mut all, mut requests, mut failed) = (HashMap::<u64, Instant>::new(), Vec::new(), 0, 0);
    for task in tasks {
        match task.await? {
            Ok((seen, asked)) => {
                requests += asked;
                for (part, at) in seen.into_iter().filter(|(_, at)| *at > warm) {
                    first.entry(part).and_modify(|f| *f = at.min(*f)).or_insert(at);
                    all.push((part, at));
                }
            }
            Err(e) => {
                failed += 1;
                eprintln!("a viewer ended: {e}");
            }
        }
    }
    let mut delays: Vec<f64> =
        all.iter().map(|(part, at)| at.duration_since(first[part]).as_secs_f64() * 1e3).collect();
    delays.sort_by(f64::total_cmp);
    let whole = first.len() * viewers;
    println!(
        "viewers {viewers}, {failed} failed; {seconds} s; {:.0} requests/s",
        requests as f64 / (seconds + 5) as f64
    );
    println!("parts delivered: {} of {whole}", all.len());
    println!(
        "after the first viewer had it: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms",
        percentile(&delays, 0.5),
        percentile(&delays, 0.99),
        percentile(&delays, 1.0)
    );
    println!(
        "server: {:.2} CPU s/s (alone {:.3}); {:.0} KiB for each viewer",
        (to - from) / seconds as f64,
        (idle_to - idle_from) / 5.0,
        (full - alone) / viewers as f64 / 1024.0
    );
    Ok(())
}

fn main() -> Outcome<()> {
    let (mut viewers, mut seconds) = (1000, 30);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word}: a number is needed"));
        match word.as_str() {
            "--viewers" => viewers = value()?.parse()?,
            "--seconds" => seconds = value()?.parse()?,
            // Cargo's own.
            "--bench" => {}
            _ => return Err(format!("{word}: there are --viewers and --seconds").into()),
        }
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(viewers, seconds))
}
