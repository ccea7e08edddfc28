//! Requests to an origin's router, and what comes back.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use bytes::Bytes;
use http_body_util::BodyExt;
use std::time::{Duration, Instant};
use tower::ServiceExt;

/// Long enough for everything that is there or comes at once.
pub const SOON: Duration = Duration::from_secs(5);

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

#[derive(Clone)]
pub struct Web(pub Router);

impl Web {
    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/streams/{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.0.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// A GET that must be answered soon.
    pub async fn get(&self, path: &str) -> Answer {
        self.with(path, &[]).await
    }

    pub async fn with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let answer = tokio::time::timeout(SOON, self.ask(Method::GET, path, headers)).await;
        answer.unwrap_or_else(|_| panic!("{path}: no answer"))
    }

    /// A GET of text that must be there.
    pub async fn text(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text().into()
    }

    /// A GET that is not answered yet; it goes on.
    pub async fn held(&self, path: &str) -> tokio::task::JoinHandle<(Answer, Instant)> {
        let (web, name) = (self.clone(), path.to_string());
        let task = tokio::spawn(async move { (web.ask(Method::GET, &name, &[]).await, Instant::now()) });
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(!task.is_finished(), "{path} was answered before it was there");
        task
    }
}

/// An attribute of a tag's line, without quotes.
pub fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let at = line.find(&format!(":{name}=")).or_else(|| line.find(&format!(",{name}=")))?;
    let rest = &line[at + name.len() + 2..];
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(',').next(),
    }
}

/// The value behind `TAG:` in the playlist.
pub fn tag<'a>(playlist: &'a str, name: &str) -> Option<&'a str> {
    playlist.lines().find_map(|l| l.strip_prefix(&format!("#{name}:")))
}

/// All lines of a tag.
pub fn tags<'a>(playlist: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("#{name}:");
    playlist.lines().filter(|l| l.starts_with(&start)).collect()
}

/// An attribute in seconds.
pub fn seconds(value: Option<&str>) -> f64 {
    value.unwrap().parse().unwrap()
}
