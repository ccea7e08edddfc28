//! What stands before the files of the live origin: the reader's key, which is shown in the address or in the cookie that the first
//! answer set, and the operator's hooks.

use super::hooks::{Act, Asked, Hooks};
use super::keys::{Keys, shown};
use super::origin::{answer, viewers};
use super::recordings;
use super::registry::Live;
use crate::http::query;
use crate::proxies::Peer;
use axum::Router;
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE, SET_COOKIE};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// The folders of files that are guarded.
pub(super) const STREAMS: &str = "/streams";
pub(super) const RECORDINGS: &str = "/recordings";
pub(super) const FILMS: &str = "/films";
/// The cookie that carries a reader's key from a playlist to the files that it names.
const COOKIE: &str = "gs_live_key=";

/// The routes below `folder`, for who shows the reader's key.
pub(super) fn keyed(router: Router, keys: &Keys, folder: &'static str) -> Router {
    let keys = keys.clone();
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let keys = keys.clone();
        async move { let_in(&keys, folder, request, next).await }
    }))
}

/// Asks the hooks whether who fetches files of the stream `name` may; gives the answer for who may not.
pub(super) fn visit(
    hooks: &Hooks,
    live: &Live,
    name: &str,
    request: &Request,
) -> impl Future<Output = Result<(), Response>> + Send + use<> {
    let peer = request.extensions().get::<Peer>().map(|p| p.0);
    let query = request.uri().query().unwrap_or_default().to_string();
    let read = Asked { act: Act::Read, stream: name.into(), protocol: "http", peer, query };
    let who = (peer.map(|p| p.ip()), viewers::who(request.headers()).map(Option::<&_>::cloned));
    let (hooks, live) = (hooks.clone(), live.clone());
    async move {
        let refused =
            |why: String| (StatusCode::FORBIDDEN, axum::Json(json!({ "detail": why }))).into_response();
        hooks.visit(&live, read, who).await.map_err(refused)
    }
}

/// The keys that a request shows: in its address, and in the cookie that an earlier answer set.
fn keys_of(request: &Request) -> (Option<String>, Option<String>) {
    let asked = shown(request.uri().query().unwrap_or_default()).map(String::from);
    let cookie = request
        .headers()
        .get_all("cookie")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .find_map(|all| all.split(';').find_map(|one| one.trim().strip_prefix(COOKIE)).map(String::from));
    (asked, cookie)
}

/// The directory that the file at `path` is in, below `folder`.
fn place(folder: &'static str, path: &str) -> String {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    if directory.starts_with(folder) { directory.into() } else { folder.into() }
}

/// Whether `key` opens a file of a film: the film is what one of the folders on the way to it is called. One with a key of its
/// own wants that, however deep the file is.
fn may_watch(keys: &Keys, path: &str, key: Option<&str>) -> bool {
    // In a path a plus is one.
    let Some(path) = query::decoded(&path.replace('+', "%2B")) else { return false };
    let path = path.trim_matches('/');
    let folders: Vec<&str> = path.match_indices('/').map(|(at, _)| &path[..at]).collect();
    match folders.iter().rev().find(|name| keys.names(name)) {
        Some(name) => keys.may_read(name, key),
        None if folders.is_empty() => keys.may_list(key),
        None => folders.iter().any(|name| keys.may_read(name, key)),
    }
}

/// Whether a request for a file below `folder` shows the key that its stream wants.
pub(super) fn allowed(keys: &Keys, folder: &'static str, request: &Request) -> bool {
    let (asked, cookie) = keys_of(request);
    opens(keys, folder, request.uri().path(), asked.as_deref().or(cookie.as_deref()))
}

/// Whether `key` opens the file at `path`, below `folder`.
fn opens(keys: &Keys, folder: &'static str, path: &str, key: Option<&str>) -> bool {
    let name = match folder {
        FILMS => return may_watch(keys, path.strip_prefix(folder).unwrap_or_default(), key),
        RECORDINGS => recordings::stream_of(path.strip_prefix(folder).unwrap_or_default()),
        _ => {
            let place = place(folder, path);
            query::decoded(place.strip_prefix(folder).unwrap_or_default().trim_matches('/'))
        }
    };
    match name.as_deref() {
        Some("") | None => keys.may_list(key),
        Some(name) => keys.may_read(name, key),
    }
}

/// The key `shown` in an address as it can stand in others and in a cookie: with escapes. An address may have it with escapes, or
/// as it is: which one is meant is what opens the file.
fn written(keys: &Keys, folder: &'static str, path: &str, shown: &str) -> Option<String> {
    let both = [query::decoded(shown), Some(shown.to_string())];
    both.into_iter()
        .flatten()
        .map(|key| query::encoded(&key))
        .find(|key| opens(keys, folder, path, Some(key)))
}

/// Lets a reader's request through, and lets what it finds beside it, below `folder`, name others without the key: by a cookie,
/// and by the key in the addresses that playlists name, as a page of another origin sends no cookie.
pub(super) async fn let_in(keys: &Keys, folder: &'static str, mut request: Request, next: Next) -> Response {
    if !allowed(keys, folder, &request) {
        return (StatusCode::FORBIDDEN, axum::Json(json!({ "detail": "a key is needed to read" })))
            .into_response();
    }
    let path = request.uri().path().to_string();
    let (asked, _) = keys_of(&request);
    let key = asked.filter(|_| keys.guards_reading()).and_then(|asked| written(keys, folder, &path, &asked));
    let Some(key) = key else { return next.run(request).await };
    let names_others = path.ends_with(".m3u8") || path.ends_with(".mpd");
    let mut response = if names_others && !opens(keys, folder, &path, None) {
        let wanted = request.headers().clone();
        // All of it, as it is: who asks is answered for what is made of it.
        for name in [ACCEPT_ENCODING, IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE] {
            request.headers_mut().remove(name);
        }
        if request.method() == Method::HEAD {
            *request.method_mut() = Method::GET;
        }
        let response = next.run(request).await;
        answer::with_query(response, &wanted, &format!("key={key}")).await
    } else {
        next.run(request).await
    };
    let place = place(folder, &path);
    if let Ok(value) = format!("{COOKIE}{key}; Path={place}; HttpOnly; SameSite=Lax").parse() {
        response.headers_mut().append(SET_COOKIE, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LiveConfig, Secret, StreamKey};

    #[test]
    fn a_films_key_is_wanted_for_all_of_its_files() {
        let one = StreamKey { stream: "one".into(), publish: None, read: Some(Secret::new("k")) };
        let mut config = LiveConfig { keys: vec![one], ..LiveConfig::default() };
        let keys = Keys::new(&config, Hooks::default());
        for path in
            ["/one/master.m3u8", "/one/v0/0.m4s", "/one%2Fmaster.m3u8", "/one%2fv0/0.m4s", "/%6Fne/v0/0.m4s"]
        {
            assert!(!may_watch(&keys, path, None) && !may_watch(&keys, path, Some("x")), "{path}");
            assert!(may_watch(&keys, path, Some("k")), "{path}");
        }
        // Others are free, what is called nearly so too.
        for path in ["/two/v0/0.m4s", "/one+/master.m3u8", "/ones/master.m3u8"] {
            assert!(may_watch(&keys, path, None), "{path}");
        }
        config.read_key = Some(Secret::new("all"));
        let keys = Keys::new(&config, Hooks::default());
        assert!(
            may_watch(&keys, "/one/v0/0.m4s", Some("k")) && may_watch(&keys, "/one/v0/0.m4s", Some("all"))
        );
        assert!(
            may_watch(&keys, "/two/v0/0.m4s", Some("all")) && !may_watch(&keys, "/two/v0/0.m4s", Some("k"))
        );
        assert!(!may_watch(&keys, "/two/v0/0.m4s", None) && !may_watch(&keys, "/a.m3u8", None));
    }

    /// What is answered for `uri` by a router whose playlists are `made`: status, the cookie, the body.
    async fn got(
        keys: &Keys,
        uri: &str,
        method: &str,
        header: Option<(&str, &str)>,
    ) -> (u16, axum::http::HeaderMap, Vec<u8>) {
        let list = "#EXTM3U\n#EXT-X-MAP:URI=\"i.mp4\"\n#EXT-X-PART:DURATION=1,URI=\"p0.m4s\"\n\
            #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p1.m4s\"\n#EXT-X-RENDITION-REPORT:URI=\"a.m3u8\",LAST-MSN=1\ns0.m4s\n";
        let manifest = "<MPD><UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"time\"/>\
            <SegmentTemplate media=\"v-$Number$.m4s\"/></MPD>";
        let answers = axum::routing::get(move |request: Request| async move {
            let (kind, body) = match request.uri().path() {
                path if path.ends_with(".m3u8") => (answer::HLS, list),
                path if path.ends_with(".mpd") => (answer::DASH, manifest),
                _ => ("video/mp4", "media"),
            };
            ([("content-type", kind), ("cache-control", "public, max-age=1"), ("etag", "\"old\"")], body)
        });
        let router = keyed(Router::new().route("/streams/{*path}", answers), keys, STREAMS);
        let mut request = Request::builder().method(method).uri(uri);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, headers, body.to_vec())
    }

    #[tokio::test]
    async fn what_a_playlist_names_carries_the_key_whatever_is_in_it() {
        let config = LiveConfig { read_key: Some(Secret::new("q2x/Zk+8aA==")), ..LiveConfig::default() };
        let keys = Keys::new(&config, Hooks::default());
        let key = "key=q2x%2FZk%2B8aA%3D%3D";
        let list = format!(
            "#EXTM3U\n#EXT-X-MAP:URI=\"i.mp4?{key}\"\n#EXT-X-PART:DURATION=1,URI=\"p0.m4s?{key}\"\n\
             #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p1.m4s?{key}\"\n\
             #EXT-X-RENDITION-REPORT:URI=\"a.m3u8?{key}\",LAST-MSN=1\ns0.m4s?{key}\n"
        );
        // With escapes, and as it is.
        for shown in [key, "key=q2x/Zk+8aA==", "_HLS_msn=1&token=q2x%2fZk%2B8aA=="] {
            let (status, headers, body) =
                got(&keys, &format!("/streams/cam/v0.m3u8?{shown}"), "GET", None).await;
            assert_eq!((status, String::from_utf8(body).unwrap().as_str()), (200, list.as_str()), "{shown}");
            assert_eq!(headers["content-length"], list.len().to_string().as_str());
            assert_eq!(headers["cache-control"], "public, max-age=1");
            assert_eq!(
                headers["set-cookie"],
                "gs_live_key=q2x%2FZk%2B8aA%3D%3D; Path=/streams/cam; HttpOnly; SameSite=Lax"
            );
        }
        let (_, headers, body) = got(&keys, &format!("/streams/cam/manifest.mpd?{key}"), "GET", None).await;
        assert_eq!(
            String::from_utf8(body).unwrap(),
            format!(
                "<MPD><UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"time?{key}\"/>\
                 <SegmentTemplate media=\"v-$Number$.m4s?{key}\"/></MPD>"
            )
        );
        // The validator is that of what was made, compressed or not.
        let tag = headers["etag"].to_str().unwrap().to_string();
        assert_ne!(tag, "\"old\"");
        let uri = format!("/streams/cam/manifest.mpd?{key}");
        assert_eq!(got(&keys, &uri, "GET", Some(("if-none-match", &tag))).await.0, 304);
        let (_, headers, body) = got(&keys, &uri, "GET", Some(("accept-encoding", "gzip"))).await;
        assert!(headers["content-encoding"] == "gzip" && body.starts_with(&[0x1f, 0x8b]));
        let (status, headers, body) = got(&keys, &uri, "HEAD", None).await;
        assert!(status == 200 && body.is_empty() && headers["content-length"] != "0");
        // The files that are named, by the key and by the cookie.
        let (status, _, body) = got(&keys, &format!("/streams/cam/s0.m4s?{key}"), "GET", None).await;
        assert_eq!((status, &body[..]), (200, &b"media"[..]));
        let cookie = ("cookie", "gs_live_key=q2x%2FZk%2B8aA%3D%3D");
        assert_eq!(got(&keys, "/streams/cam/s0.m4s", "GET", Some(cookie)).await.0, 200);
        assert_eq!(got(&keys, "/streams/cam/s0.m4s", "GET", None).await.0, 403);
    }

    #[tokio::test]
    async fn what_needs_no_key_is_left_as_it_is() {
        let one = StreamKey { stream: "one".into(), publish: None, read: Some(Secret::new("k")) };
        let keys = Keys::new(&LiveConfig { keys: vec![one], ..LiveConfig::default() }, Hooks::default());
        for (uri, carries) in [("/streams/one/a.m3u8?key=k", true), ("/streams/two/a.m3u8?key=k", false)] {
            let body = String::from_utf8(got(&keys, uri, "GET", None).await.2).unwrap();
            assert_eq!(body.contains("?key=k"), carries, "{body}");
        }
        let free = Keys::new(&LiveConfig::default(), Hooks::default());
        let (_, headers, body) = got(&free, "/streams/one/a.m3u8?key=k", "GET", None).await;
        assert!(!headers.contains_key("set-cookie") && !String::from_utf8(body).unwrap().contains("key"));
    }
}
