//! Paths as the HLS and DASH service's web server had them, in front of the same routes.

use axum::Router;
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use tower::ServiceExt as _;

/// The port for caches had a stream's files without `/streams`: `/{stream_id}/playlist.m3u8`. Both are there. With `films`, what
/// begins with `/films/` is a film's (a stream that is called so is below `/streams/films/`).
pub fn cdn(files: Router, films: bool) -> Router {
    let other = move |path: &str| path.starts_with("/streams/") || (films && path.starts_with("/films/"));
    let found = move |path: &str| (!other(path)).then(|| format!("/streams{path}"));
    changed(files, found)
}

/// Its web server had the interface below `/api/streaming`. Both are there.
pub fn service(routes: Router) -> Router {
    let found =
        |path: &str| path.strip_prefix("/api/streaming").filter(|p| p.starts_with('/')).map(String::from);
    changed(routes, found)
}

/// `routes`, asked for what `path` makes of a request's path.
fn changed(routes: Router, path: impl Fn(&str) -> Option<String> + Clone + Send + Sync + 'static) -> Router {
    Router::new().fallback(move |mut request: Request| {
        let (routes, moved) = (routes.clone(), path(request.uri().path()));
        async move {
            let uri = moved.as_deref().and_then(|path| with_path(request.uri(), path));
            let moved = uri.is_some();
            if let Some(uri) = uri {
                *request.uri_mut() = uri;
            }
            let mut response = match routes.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            if moved {
                widen(&mut response);
            }
            response
        }
    })
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.into(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(text.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

/// A reader's cookie is for the paths that it asks for.
fn widen(response: &mut Response) {
    let cookies = response.headers().get_all(header::SET_COOKIE).iter();
    let wide = |cookie: &HeaderValue| {
        let text = cookie.to_str().ok()?.replace("Path=/streams/", "Path=/");
        HeaderValue::from_str(&text).ok()
    };
    let all: Vec<HeaderValue> = cookies.filter_map(wide).collect();
    response.headers_mut().remove(header::SET_COOKIE);
    for cookie in all {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::extract::Path;
    use axum::http::StatusCode;
    use axum::routing::get;

    async fn ask(router: &Router, path: &str) -> (StatusCode, String, Option<String>) {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let cookie = response.headers().get("set-cookie").map(|v| v.to_str().unwrap().to_string());
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap(), cookie)
    }

    #[tokio::test]
    async fn both_paths_lead_to_a_file() {
        let file = async |Path((id, file)): Path<(String, String)>, uri: Uri| {
            (
                [("set-cookie", "k=1; Path=/streams/cam; HttpOnly")],
                format!("{id} {file} {}", uri.query().unwrap_or("-")),
            )
        };
        let streams = Router::new().route("/streams/{id}/{file}", get(file));
        let router = cdn(streams.clone(), false);
        let (_, body, cookie) = ask(&router, "/cam/a.m3u8?x=1").await;
        assert_eq!((body.as_str(), cookie.as_deref()), ("cam a.m3u8 x=1", Some("k=1; Path=/cam; HttpOnly")));
        let (_, body, cookie) = ask(&router, "/streams/cam/a.m3u8").await;
        assert_eq!(
            (body.as_str(), cookie.as_deref()),
            ("cam a.m3u8 -", Some("k=1; Path=/streams/cam; HttpOnly"))
        );
        assert_eq!(ask(&router, "/cam").await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask(&router, "/films/a.m3u8").await.1, "films a.m3u8 -");
        let router = cdn(streams.route("/films/{file}", get(async || "a film")), true);
        assert_eq!(ask(&router, "/films/a.m3u8").await.1, "a film");
        assert_eq!(ask(&router, "/streams/films/a.m3u8").await.1, "films a.m3u8 -");
    }

    #[tokio::test]
    async fn the_interface_is_below_its_web_server_s_path_too() {
        let router = service(Router::new().route("/streams", get(async || "all")));
        for (path, status) in
            [("/api/streaming/streams", 200), ("/streams", 200), ("/api/streamingstreams", 404)]
        {
            assert_eq!(ask(&router, path).await.0.as_u16(), status, "{path}");
        }
    }
}
