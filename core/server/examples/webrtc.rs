//! Only WHIP and WHEP, for tests with browsers and other clients: `webrtc HTTP_ADDRESS UDP_ADDRESS`. Prints what it listens
//! on, then the sessions once a second as JSON, until its standard input ends.

use ghoststream_server::live::Live;
use ghoststream_server::live::webrtc::{WebRtc, WebRtcOptions};
use std::io::Write;
use std::time::Duration;
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (http, udp) = (args.next().ok_or("HTTP_ADDRESS")?, args.next().ok_or("UDP_ADDRESS")?);
    let live = Live::new(false, 100);
    let webrtc = WebRtc::start(live, WebRtcOptions { bind: udp.parse()?, ..WebRtcOptions::default() })?;
    let listener = tokio::net::TcpListener::bind(http).await?;
    let mut out = std::io::stdout();
    writeln!(out, "http://{}", listener.local_addr()?)?;
    out.flush()?;
    let router = webrtc.router();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let mut input = tokio::io::stdin();
    let mut byte = [0];
    loop {
        tokio::select! {
            read = input.read(&mut byte) => if matches!(read, Ok(0) | Err(_)) { break },
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                writeln!(out, "{}", serde_json::to_string(&webrtc.sessions())?)?;
                out.flush()?;
            }
        }
    }
    webrtc.shutdown().await;
    serving.abort();
    Ok(())
}
