//! An HTTP/1.1 server whose answers a test decides, down to when it stops sending.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    /// First byte of the range, if one was asked for.
    pub from: Option<usize>,
    /// How many requests came before.
    pub number: usize,
    pub headers: Vec<String>,
}

/// What is answered.
#[derive(Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<String>,
    pub body: Vec<u8>,
    /// `Content-Length`, if it is not that of the body. `Some(None)`: none.
    pub length: Option<Option<usize>>,
    /// Bytes after which sending ends …
    pub stop_after: Option<usize>,
    /// … and whether the connection then stays open in silence instead of being closed.
    pub stall: bool,
    /// Bytes between pauses.
    pub pace: Option<(usize, Duration)>,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Answer { status, ..Answer::default() }
    }

    pub fn redirect(to: impl std::fmt::Display) -> Self {
        Answer { headers: vec![format!("Location: {to}")], ..Answer::status(302) }
    }

    pub fn ok(body: &[u8]) -> Self {
        Answer { body: body.to_vec(), ..Answer::status(200) }
    }

    /// A file, or with `ranges` the part of it that was asked for.
    pub fn file(data: &[u8], request: &Request, ranges: bool) -> Self {
        match request.from.filter(|_| ranges) {
            Some(from) if from >= data.len() => Answer::status(416),
            Some(from) => Answer {
                headers: vec![
                    "Accept-Ranges: bytes".into(),
                    format!("Content-Range: bytes {from}-{}/{}", data.len() - 1, data.len()),
                ],
                body: data[from..].to_vec(),
                ..Answer::status(206)
            },
            None => Answer {
                headers: vec![format!("Accept-Ranges: {}", if ranges { "bytes" } else { "none" })],
                ..Answer::ok(data)
            },
        }
    }
}

/// A running server; it ends with the value.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let (answer, log, ended) = (Arc::new(answer), requests.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(SeqCst) {
                    return;
                }
                let (Ok(stream), answer, log, ended) = (stream, answer.clone(), log.clone(), ended.clone())
                else {
                    continue;
                };
                std::thread::spawn(move || {
                    // A client that hangs up is part of the test.
                    let _gone = serve(stream, &*answer, &log, &ended);
                });
            }
        });
        Server { address, requests, over, thread: Some(thread) }
    }

    /// One file for every path.
    pub fn of(data: Vec<u8>, ranges: bool) -> Server {
        Server::start(move |request| Answer::file(&data, request, ranges))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(&Request) -> Answer + Send + Sync),
    log: &Mutex<Vec<Request>>,
    over: &AtomicBool,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_string();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        headers.push(line.trim().to_string());
    }
    let from = headers.iter().find_map(|h| {
        let range = h.to_lowercase();
        range.strip_prefix("range: bytes=")?.split('-').next()?.parse().ok()
    });
    let request = {
        let mut log = log.lock().unwrap();
        // FFmpeg asks for bytes from 0 as a matter of course.
        let request = Request { path, from, number: log.len(), headers };
        log.push(request.clone());
        request
    };
    let answer = answer(&request);
    let length = answer.length.unwrap_or(Some(answer.body.len()));
    let mut head = format!("HTTP/1.1 {} Test\r\nConnection: close\r\n", answer.status);
    answer.headers.iter().for_each(|h| head.push_str(&format!("{h}\r\n")));
    if let Some(length) = length {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    let body = &answer.body[..answer.stop_after.unwrap_or(usize::MAX).min(answer.body.len())];
    let (step, pause) = answer.pace.unwrap_or((usize::MAX, Duration::ZERO));
    for piece in body.chunks(step.min(body.len()).max(1)) {
        stream.write_all(piece)?;
        std::thread::sleep(pause);
    }
    while answer.stall && !over.load(SeqCst) {
        std::thread::sleep(Duration::from_millis(10));
    }
    stream.shutdown(Shutdown::Write)
}
