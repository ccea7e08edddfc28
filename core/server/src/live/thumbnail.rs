//! `GET /streams/{name}/thumbnail.jpg`: the newest key frame of a stream as a small JPEG, made when somebody asks.

use super::registry::Live;
use super::stream::{Item, Start, Stream, Tracks};
use crate::http::range::has_it;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use ghoststream::event::Next;
use ghoststream::job::Taken;
use ghoststream::packet::{MediaKind, Packet, StreamInfo};
use ghoststream::spec::{
    AudioChoice, Device, FedPacketsSpec, OutputSpec, PacketsSpec, PipelineSpec, SourceSpec, SubtitleChoice,
    VideoChoice, VideoSpec,
};
use ghoststream::{Codec, Error, ErrorKind, Pipeline, Result};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Semaphore};

/// The file's name behind the stream's.
pub const FILE: &str = "thumbnail.jpg";
/// Pixels across.
const WIDTH: u32 = 320;
/// How long one is good for.
const FRESH: Duration = Duration::from_secs(4);
/// How long is waited for a key frame where there has been none.
const WAIT: Duration = Duration::from_secs(5);
/// How long a decoder and an encoder may take for one picture.
const WORK: Duration = Duration::from_secs(10);
/// Pictures that are made at once, over all streams.
const AT_ONCE: usize = 2;

/// The pictures of all streams. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Thumbnails(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    live: Live,
    slots: std::sync::Mutex<HashMap<String, Arc<Mutex<Slot>>>>,
    room: Semaphore,
}

/// Of one stream. Who makes a picture holds it, and the others wait for that picture.
#[derive(Debug, Default)]
struct Slot {
    of: Weak<Stream>,
    made: Option<(Instant, Picture)>,
}

#[derive(Clone, Debug)]
struct Picture {
    jpeg: Bytes,
    tag: String,
}

impl Thumbnails {
    /// Of the streams of `live`.
    pub fn new(live: Live) -> Thumbnails {
        let room = Semaphore::new(AT_ONCE);
        Thumbnails(Arc::new(Inner { live, slots: std::sync::Mutex::default(), room }))
    }

    /// Answers a GET or HEAD for the picture of stream `name`.
    pub async fn answer(&self, name: &str, headers: &HeaderMap) -> Response {
        let mut response = match self.picture(name).await {
            Ok(picture) => picture.response(headers),
            Err((status, detail)) => {
                let body = axum::Json(serde_json::json!({ "detail": detail }));
                let mut response = (status, [(header::CACHE_CONTROL, "no-store")], body).into_response();
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
                }
                response
            }
        };
        // As the other files of a stream.
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    }

    async fn picture(&self, name: &str) -> std::result::Result<Picture, (StatusCode, String)> {
        let unknown = || (StatusCode::NOT_FOUND, "Stream not found".to_string());
        let stream = self.0.live.get(name).ok_or_else(unknown)?;
        let slot = {
            let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.retain(|name, _| self.0.live.get(name).is_some());
            slots.entry(name.into()).or_default().clone()
        };
        let mut slot = slot.lock().await;
        let same = std::ptr::eq(slot.of.as_ptr(), Arc::as_ptr(&stream));
        if let Some((at, picture)) = slot.made.as_ref().filter(|_| same)
            && at.elapsed() < FRESH
        {
            return Ok(picture.clone());
        }
        let (info, packet) = key_frame(&stream).await?;
        // The semaphore is never closed.
        let permit = self.0.room.acquire().await;
        let begun = Instant::now();
        let work = tokio::task::spawn_blocking(move || jpeg(info, packet)).await;
        drop(permit);
        let failed = |why: String| {
            tracing::warn!(stream = name, "no thumbnail: {why}");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the picture cannot be made: {why}"))
        };
        let jpeg = work.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
        tracing::debug!(stream = name, seconds = begun.elapsed().as_secs_f64(), "thumbnail");
        let hash = Sha256::digest(&jpeg);
        let tag = hash.iter().take(8).map(|b| format!("{b:02x}")).collect::<String>();
        let picture = Picture { jpeg, tag: format!("\"{tag}\"") };
        *slot = Slot { of: Arc::downgrade(&stream), made: Some((Instant::now(), picture.clone())) };
        Ok(picture)
    }
}

impl Picture {
    fn response(&self, request: &HeaderMap) -> Response {
        let known = has_it(request, Some(&self.tag), None);
        let (status, body) = match known {
            true => (StatusCode::NOT_MODIFIED, Body::empty()),
            false => (StatusCode::OK, Body::from(self.jpeg.clone())),
        };
        let headers = [
            (header::CONTENT_TYPE, "image/jpeg"),
            // A cache may ask whether it has changed; the server makes no new one within some seconds.
            (header::CACHE_CONTROL, "no-cache"),
            (header::ETAG, &self.tag),
        ];
        (status, headers, body).into_response()
    }
}

/// The newest key frame of the stream's pictures; one that comes soon where there has been none.
async fn key_frame(stream: &Arc<Stream>) -> std::result::Result<(StreamInfo, Packet), (StatusCode, String)> {
    let away = || (StatusCode::NOT_FOUND, "nobody publishes the stream now".to_string());
    if stream.tracks().is_none() {
        return Err(away());
    }
    let mut reader = stream.work_on(Start::Group);
    let mut known: Option<Arc<Tracks>> = None;
    let look = async {
        loop {
            match reader.next().await {
                Item::Tracks(tracks) if tracks.video().is_none() => {
                    return Err((
                        StatusCode::NOT_FOUND,
                        "the stream has no pictures, only sound".to_string(),
                    ));
                }
                Item::Tracks(tracks) => known = Some(tracks),
                Item::Packet(packet) => {
                    let video = known.as_ref().and_then(|t| t.streams.get(t.video()?));
                    if let Some(info) = video.filter(|info| packet.key && packet.stream == info.index) {
                        return Ok((info.clone(), packet));
                    }
                }
                Item::Away | Item::End => return Err(away()),
            }
        }
    };
    match tokio::time::timeout(WAIT, look).await {
        Ok(found) => found,
        Err(_) => Err((StatusCode::SERVICE_UNAVAILABLE, "the stream has sent no key frame yet".into())),
    }
}

/// One picture, decoded, scaled and coded by a job of its own, in software: a GPU's sessions are for streams.
fn jpeg(mut info: StreamInfo, mut packet: Packet) -> Result<Bytes> {
    let mut output = OutputSpec::packets(PacketsSpec::default());
    let across = info.video.as_ref().map_or(WIDTH, |v| v.width.clamp(2, WIDTH));
    output.video = VideoChoice::Track(Box::new(VideoSpec {
        codec: Some(Codec::Mjpeg),
        device: Device::Software,
        width: Some(across & !1),
        crf: Some(5.0),
        threads: 1,
        ..VideoSpec::new()
    }));
    (output.audio, output.subtitles) = (AudioChoice::None, SubtitleChoice::None);
    let mut source = SourceSpec::packets(FedPacketsSpec { queue: 2, live: false });
    (source.decode.device, source.decode.threads) = (Device::Software, 1);
    let mut document = PipelineSpec::new(source, vec![output]);
    document.name = Some("thumbnail".into());
    (info.index, packet.stream) = (0, 0);
    debug_assert_eq!(info.kind, MediaKind::Video);
    let job = Pipeline::from_spec(document)?.with_streams(vec![info]).start().job()?;
    job.push_packet_within(packet, Some(WORK))?;
    job.finish_input();
    match job.next_packet(0, Some(WORK))? {
        Taken::Item(packet) => Ok(packet.data),
        Taken::Timeout => Err(Error::new(ErrorKind::Internal, "it took too long")),
        Taken::End => {
            // Its last words say why.
            while let Next::Event(_) = job.next_event(Some(Duration::ZERO)) {}
            match job.wait(Some(WORK))? {
                Some(done) => match done.into_result() {
                    Ok(_) => Err(Error::new(ErrorKind::Format, "the key frame gave no picture")),
                    Err(e) => Err(e),
                },
                None => Err(Error::new(ErrorKind::Internal, "it took too long")),
            }
        }
    }
}
