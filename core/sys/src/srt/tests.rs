use super::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(5);

/// Skips aloud where there is no libsrt.
fn ready() -> bool {
    match available() {
        Ok(()) => true,
        Err(e) if std::env::var_os("GS_REQUIRE_PEERS").is_some() => panic!("{e}"),
        Err(e) => {
            eprintln!("skipped: {e}");
            false
        }
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn never() -> bool {
    false
}

fn options(stream_id: &str, passphrase: Option<&str>) -> Options {
    Options {
        stream_id: Some(stream_id.into()),
        passphrase: passphrase.map(Into::into),
        connect_timeout: Duration::from_secs(2),
        ..Options::default()
    }
}

#[test]
fn many_callers_are_told_apart_and_decided_about_one_by_one() {
    if !ready() {
        return;
    }
    let listener =
        Listener::bind(loopback(), &Options::default(), |caller| match caller.stream_id.as_str() {
            "open" => Decision::Accept,
            "locked" => Decision::AcceptWith("s3cret-s3cret".into()),
            // Unwinding without the panic hook: its message would look like a failure in the log.
            "panic" => std::panic::resume_unwind(Box::new("a decision must not take the process along")),
            "taken" => Decision::Refuse(Refusal::Conflict),
            _ => Decision::Refuse(Refusal::NotFound),
        })
        .unwrap();
    let at = listener.local().unwrap();
    for (id, passphrase, kind, said) in [
        ("none", None, Kind::Denied, "no such stream"),
        ("taken", None, Kind::Denied, "published already"),
        ("panic", None, Kind::Denied, "1500"),
        ("locked", None, Kind::Denied, "passphrase"),
        ("locked", Some("another-secret"), Kind::Denied, "passphrase"),
    ] {
        let e = Socket::connect(at, &options(id, passphrase), &never).unwrap_err();
        assert!(e.kind == kind && e.to_string().contains(said), "{id}: {e} ({:?})", e.kind);
    }
    for (id, passphrase) in [("open", None), ("locked", Some("s3cret-s3cret"))] {
        let mine = Socket::connect(at, &options(id, passphrase), &never).unwrap();
        let theirs = listener.accept(WAIT).unwrap().unwrap();
        assert_eq!((theirs.stream_id().as_str(), theirs.peer().map(|p| p.ip())), (id, Some(at.ip())));
        mine.send(&[7; PAYLOAD], WAIT).unwrap();
        mine.send(b"short", WAIT).unwrap();
        let mut buffer = [0; PAYLOAD];
        assert_eq!(theirs.recv(&mut buffer, WAIT).unwrap(), PAYLOAD);
        assert_eq!(theirs.recv(&mut buffer, WAIT).unwrap(), 5);
        assert_eq!(&buffer[..5], b"short");
        assert_eq!(theirs.recv(&mut buffer, Duration::from_millis(50)).unwrap(), 0, "nothing more");
        assert!(mine.drain(WAIT) && mine.waiting().unwrap() == 0);
        let (sent, got) = (mine.stats().unwrap(), theirs.stats().unwrap());
        assert!(sent.packets_sent >= 2 && got.packets_received >= 2, "{sent:?} {got:?}");
        assert!(sent.latency == Duration::from_millis(120) && sent.bytes_sent > 1316, "{sent:?}");
        mine.close();
        let e = theirs.recv(&mut buffer, WAIT).unwrap_err();
        assert_eq!(e.kind, Kind::Closed, "{e}");
        assert!(!theirs.is_connected() && mine.send(b"x", WAIT).is_err());
    }
    assert!(listener.accept(Duration::from_millis(20)).unwrap().is_none());
}

#[test]
fn connecting_ends_in_time_and_on_demand() {
    if !ready() {
        return;
    }
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = nobody.local_addr().unwrap();
    let quick = Options { connect_timeout: Duration::from_millis(300), ..Options::default() };
    let began = Instant::now();
    assert_eq!(Socket::connect(at, &quick, &never).unwrap_err().kind, Kind::NotFound);
    assert!(began.elapsed() < Duration::from_secs(3));
    let stop = || began.elapsed() > Duration::from_millis(400);
    assert_eq!(Socket::connect(at, &Options::default(), &stop).unwrap_err().kind, Kind::Cancelled);
    let bad = Options { passphrase: Some("short".into()), ..Options::default() };
    let e = Socket::connect(at, &bad, &never).unwrap_err();
    assert!(e.kind == Kind::Invalid && e.to_string().starts_with("passphrase: "), "{e}");
    assert!(!format!("{:?}", options("secret-id", Some("secret-word"))).contains("secret"));
    let taken = Listener::bind(loopback(), &Options::default(), |_| Decision::Accept).unwrap();
    drop(nobody);
    drop(taken);
}

#[test]
fn both_may_call_at_once() {
    if !ready() {
        return;
    }
    let ports: Vec<_> = (0..2).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let at: Vec<_> = ports.iter().map(|p| p.local_addr().unwrap()).collect();
    drop(ports);
    let (a, b) = (at[0], at[1]);
    let other = std::thread::spawn(move || Socket::rendezvous(b, a, &Options::default(), &never).unwrap());
    let mine = Socket::rendezvous(a, b, &Options::default(), &never).unwrap();
    let theirs = other.join().unwrap();
    mine.send(b"hello", WAIT).unwrap();
    let mut buffer = [0; PAYLOAD];
    assert_eq!(theirs.recv(&mut buffer, WAIT).unwrap(), 5);
}

#[test]
fn closing_ends_what_waits_on_another_thread() {
    if !ready() {
        return;
    }
    let listener = Listener::bind(loopback(), &Options::default(), |_| Decision::Accept).unwrap();
    let mine = Socket::connect(listener.local().unwrap(), &Options::default(), &never).unwrap();
    let theirs = Arc::new(listener.accept(WAIT).unwrap().unwrap());
    let waits = theirs.clone();
    let waiting = std::thread::spawn(move || waits.recv(&mut [0; PAYLOAD], Duration::from_secs(60)));
    std::thread::sleep(Duration::from_millis(50));
    theirs.close();
    assert!(waiting.join().unwrap().is_err());
    drop((listener, mine));
}
