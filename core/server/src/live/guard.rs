//! What stands before the files of the live origin: the reader's key, which is shown in the address or in the cookie that the first
//! answer set, and the operator's hooks.

use super::hooks::{Act, Asked, Hooks};
use super::keys::{Keys, shown};
use super::origin::viewers;
use super::recordings;
use super::registry::Live;
use crate::http::query;
use crate::proxies::Peer;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
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

/// The directory that a request's file is in, below `folder`.
fn place(folder: &'static str, request: &Request) -> String {
    let path = request.uri().path();
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
    if folder == FILMS {
        let path = request.uri().path();
        let path = path.strip_prefix(folder).unwrap_or_default();
        return may_watch(keys, path, asked.as_deref().or(cookie.as_deref()));
    }
    let name = if folder == RECORDINGS {
        let path = request.uri().path();
        recordings::stream_of(path.strip_prefix(folder).unwrap_or_default())
    } else {
        let place = place(folder, request);
        query::decoded(place.strip_prefix(folder).unwrap_or_default().trim_matches('/'))
    };
    let key = asked.as_deref().or(cookie.as_deref());
    match name.as_deref() {
        Some("") | None => keys.may_list(key),
        Some(name) => keys.may_read(name, key),
    }
}

/// Lets a reader's request through, and lets what it finds beside it, below `folder`, name others without the key.
pub(super) async fn let_in(keys: &Keys, folder: &'static str, request: Request, next: Next) -> Response {
    if !allowed(keys, folder, &request) {
        return (StatusCode::FORBIDDEN, axum::Json(json!({ "detail": "a key is needed to read" })))
            .into_response();
    }
    let (asked, _) = keys_of(&request);
    let place = place(folder, &request);
    let mut response = next.run(request).await;
    let plain = |key: &&String| key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    if keys.guards_reading()
        && let Some(key) = asked.as_ref().filter(plain)
        && let Ok(value) = format!("{COOKIE}{key}; Path={place}; HttpOnly; SameSite=Lax").parse()
    {
        response.headers_mut().append("set-cookie", value);
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
}
