//! Lost packets, key frames that are wanted, layers.

use super::client::{Client, Got, Send, Setup};
use super::{feed, publish, start, wait_for};
use ghoststream_server::live::webrtc::{WebRtc, WebRtcOptions};
use ghoststream_server::live::{Item, Start};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use str0m::format::Codec as RtpCodec;
use str0m::media::Direction;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_who_loses_packets_gets_them_again_and_disturbs_no_other() {
    let (live, webrtc, router) = start(WebRtcOptions::default());
    let _feed = feed(&live, "cam", 50, 20_000);
    let bad = Setup { lose: 20, ..Setup::new(Direction::RecvOnly) };
    let mut bad = Client::start(&router, "/whep/cam", bad).await;
    let mut good = Client::start(&router, "/whep/cam", Setup::new(Direction::RecvOnly)).await;
    for client in [&mut bad, &mut good] {
        client.connected().await;
    }
    let mut last = good.frame(true).await.micros;
    for _ in 0..100 {
        let time = good.frame(true).await.micros;
        assert!(time - last < 60_000);
        last = time;
    }
    let mut pictures = 0;
    while let Ok(got) = bad.got.try_recv() {
        pictures += u32::from(matches!(got, Got::Frame(f) if f.video));
    }
    eprintln!("WHEP: with a loss of 5 %, {pictures} of about 100 pictures");
    assert!(pictures > 70, "{pictures}");
    wait_for(|| webrtc.sessions().iter().any(|s| s.nacks > 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_whose_way_is_narrow_gets_a_smaller_rendition_until_it_is_wide() {
    let (live, webrtc, _) = start(WebRtcOptions::default());
    webrtc.shutdown().await;
    // 4 Mbit/s, and 400 kbit/s.
    let (_feed, _small) = (feed(&live, "cam", 50, 10_000), feed(&live, "small", 50, 1000));
    let asked = Arc::new(AtomicUsize::new(0));
    let (from, count) = (live.clone(), asked.clone());
    let options = WebRtcOptions {
        bind: "127.0.0.1:0".parse().unwrap(),
        smaller: Some(Arc::new(move |name| {
            assert_eq!(name, "cam");
            count.fetch_add(1, Ordering::SeqCst);
            from.get("small")
        })),
        ..WebRtcOptions::default()
    };
    let webrtc = WebRtc::start(live.clone(), options).unwrap();
    let setup = Setup::new(Direction::RecvOnly);
    let narrow = setup.narrow.clone();
    let mut client = Client::start(&webrtc.router(), "/whep/cam", setup).await;
    client.connected().await;
    // The first may be of the stream's time 0.
    let mut last = None;
    // Watches until the rung is such and the middle size of the last pictures fits. A machine that is busy with something else
    // makes a way narrow for a moment, too.
    let mut watch = async |rung: usize, fits: fn(usize) -> bool| {
        let (end, mut sizes) = (Instant::now() + Duration::from_secs(90), Vec::new());
        loop {
            let frame = client.frame(true).await;
            assert!(
                last.is_none_or(|last| frame.micros > last),
                "times rise: {} after {last:?}",
                frame.micros
            );
            last = Some(frame.micros);
            sizes.push(frame.data.len());
            let stats = webrtc.sessions().remove(0);
            if let Some(late) = sizes.len().checked_sub(25) {
                let mut late = sizes[late..].to_vec();
                late.sort_unstable();
                if stats.rung == rung && fits(late[late.len() / 2]) {
                    return stats;
                }
            }
            assert!(Instant::now() < end, "{stats:?}");
        }
    };
    let small: fn(usize) -> bool = |size| size < 2000;
    let large: fn(usize) -> bool = |size| size > 9000;
    // Nobody needs a smaller one: it is asked for no more, for seconds.
    let (begun, mut quiet, mut before) = (Instant::now(), Instant::now(), 0);
    while quiet.elapsed() < Duration::from_secs(4) {
        assert!(begun.elapsed() < Duration::from_secs(90), "{before} times asked for");
        watch(0, large).await;
        let now = asked.load(Ordering::SeqCst);
        if now > before {
            (quiet, before) = (Instant::now(), now);
        }
    }
    narrow.store(1_200_000, Ordering::Relaxed);
    let begun = Instant::now();
    let stats = watch(1, small).await;
    eprintln!("WHEP: at 1.2 Mbit/s a smaller rendition after {:?}, {stats:?}", begun.elapsed());
    assert!(stats.rungs >= 2 && stats.switches >= 1 && stats.estimate.is_some(), "{stats:?}");
    assert!(asked.load(Ordering::SeqCst) > before);
    narrow.store(0, Ordering::Relaxed);
    let begun = Instant::now();
    let stats = watch(0, large).await;
    eprintln!("WHEP: and the whole after {:?}, {stats:?}", begun.elapsed());
    assert!(stats.switches >= 2, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_who_wants_a_key_frame_gets_one() {
    let (live, webrtc, router) =
        start(WebRtcOptions { key_frames: Duration::from_secs(60), ..WebRtcOptions::default() });
    // Of a stream whose publisher cannot be asked: the last one again, and all since, at once.
    let _feed = feed(&live, "film", 5000, 500);
    let mut client = Client::start(&router, "/whep/film", Setup::new(Direction::RecvOnly)).await;
    client.connected().await;
    assert!(client.frame(true).await.key);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut last = 0;
    while let Ok(got) = client.got.try_recv() {
        if let Got::Frame(frame) = got {
            assert!(!frame.key || !frame.video || last == 0);
            last = last.max(frame.micros);
        }
    }
    client.keys.send(()).unwrap();
    let asked = Instant::now();
    while !client.frame(true).await.key {}
    eprintln!("WHEP: another key frame {:?} after it was asked for", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_millis(500));
    let mut time = 0;
    for _ in 0..80 {
        let frame = client.frame(true).await;
        assert!(frame.micros > time, "times rise");
        time = frame.micros;
    }
    wait_for(|| webrtc.sessions().iter().any(|s| s.key_frame_requests > 0)).await;

    // Of a publisher by WHIP: it is asked.
    let mut camera = Client::start(&router, "/whip/cam", Setup::new(Direction::SendOnly)).await;
    camera.connected().await;
    publish(&mut camera, 20).await;
    let mut viewer = Client::start(&router, "/whep/cam", Setup::new(Direction::RecvOnly)).await;
    viewer.connected().await;
    viewer.frame(true).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    viewer.keys.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(publish(&mut camera, 10).await >= 1);
}

fn vp8(width: u16, key: bool, size: usize) -> Vec<u8> {
    let [w0, w1] = width.to_le_bytes();
    let mut frame = vec![u8::from(!key) | 0x10, 0, 0, 0x9d, 0x01, 0x2a, w0, w1, 0xb4, 0x00];
    frame.resize(size, 0x55);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_layers_the_largest_is_published() {
    let (live, _webrtc, router) = start(WebRtcOptions::default());
    let setup = Setup { codec: RtpCodec::Vp8, layers: &["lo", "hi"], ..Setup::new(Direction::SendOnly) };
    let mut client = Client::start(&router, "/whip/cam", setup).await;
    client.connected().await;
    let mut reader = live.get("cam").unwrap().subscribe(Start::Next);
    let (mut widths, mut wanted) = (Vec::new(), [true, true]);
    for n in 0..350u64 {
        while let Ok(got) = client.got.try_recv() {
            if let Got::KeyWanted(layer) = got {
                wanted[usize::from(layer.as_deref() == Some("hi"))] = true;
            }
        }
        for (index, (layer, width)) in [("lo", 160), ("hi", 640)].into_iter().enumerate() {
            // The large one is away between the 100th picture and the 250th.
            if index == 1 && (100..250).contains(&n) {
                continue;
            }
            let key = std::mem::take(&mut wanted[index]) || (index == 1 && n == 250);
            let data = vp8(width, key, 400);
            client.send.send(Send { video: true, layer: Some(layer), ticks: 5000 + n * 1800, data }).unwrap();
        }
        let sound = vec![0x78, n as u8];
        client.send.send(Send { video: false, layer: None, ticks: n * 960, data: sound }).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        while let Some(item) = reader.try_next() {
            if let Item::Tracks(tracks) = item {
                widths.push(tracks.streams[0].video.as_ref().unwrap().width);
            }
        }
    }
    assert_eq!(widths, [640, 160, 640]);
}
