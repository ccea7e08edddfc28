//! The API's description: one table of routes, with schemas from the types that the routes answer.

mod live;

use super::App;
use crate::contract::{job, request, service};
use crate::live::overview::LiveOverview;
use crate::live::recordings::{RecordingNames, RecordingView};
use crate::live::rest::hls_dash;
use crate::live::sessions::LiveSessions;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};

/// With the live origin's routes, and without.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| build(true));
static WITHOUT_LIVE: LazyLock<Value> = LazyLock::new(|| build(false));

/// The OpenAPI 3.1 document, pretty-printed; the committed `core/server/schema/openapi.json` is this text. It has the live
/// origin's routes, which a server tells of only when it runs.
pub fn openapi() -> String {
    let mut text = serde_json::to_string_pretty(&*DOCUMENT).unwrap_or_default();
    text.push('\n');
    text
}

/// `GET /openapi.json`.
pub async fn document(State(app): State<Arc<App>>) -> impl IntoResponse {
    Json(if app.live.is_some() { &*DOCUMENT } else { &*WITHOUT_LIVE })
}

/// `GET /docs` and `/redoc`: the document for people, drawn by a page of our own.
pub async fn page() -> impl IntoResponse {
    let policy = "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(include_str!("page/docs.html")))
}

/// One route.
struct Route {
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    /// What a success looks like.
    ok: Shape,
    /// Status and meaning of everything else.
    not: &'static [(u16, &'static str)],
}

/// The shape of a success.
enum Shape {
    Json(&'static str),
    /// An array of these.
    List(&'static str),
    Text(&'static str),
    Media,
    /// 201 with an SDP answer, and where the session is.
    Session,
    /// A status without a body.
    Nothing(u16),
}

const JOB_TOKEN: (u16, &str) = (403, "The job's token is required and missing or wrong");
const NO_JOB: (u16, &str) = (404, "Job not found");

const ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: "/api/health",
        tag: "service",
        summary: "Whether it lives, and how many jobs it has",
        ok: Shape::Json("Health"),
        not: &[],
    },
    Route {
        method: "get",
        path: "/health",
        tag: "service",
        summary: "The older name of /api/health",
        ok: Shape::Json("Health"),
        not: &[],
    },
    Route {
        method: "get",
        path: "/api/health/detailed",
        tag: "service",
        summary: "Processors, memory, disk and queue",
        ok: Shape::Json("DetailedHealth"),
        not: &[(503, "DetailedHealth when unhealthy")],
    },
    Route {
        method: "get",
        path: "/api/ready",
        tag: "service",
        summary: "Whether a job would be taken",
        ok: Shape::Json("Ready"),
        not: &[(503, "Ready with the reason")],
    },
    Route {
        method: "get",
        path: "/api/live",
        tag: "service",
        summary: "Whether it answers",
        ok: Shape::Json("Live"),
        not: &[],
    },
    Route {
        method: "get",
        path: "/api/capabilities",
        tag: "service",
        summary: "Encoders, codecs and formats that work here",
        ok: Shape::Json("Capabilities"),
        not: &[(503, "The encoders are still being tried")],
    },
    Route {
        method: "get",
        path: "/capabilities",
        tag: "service",
        summary: "The older name of /api/capabilities",
        ok: Shape::Json("Capabilities"),
        not: &[(503, "The encoders are still being tried")],
    },
    Route {
        method: "get",
        path: "/api/stats",
        tag: "service",
        summary: "Counters",
        ok: Shape::Json("Stats"),
        not: &[],
    },
    Route {
        method: "get",
        path: "/api/status",
        tag: "service",
        summary: "The machine, its load and what follows for jobs",
        ok: Shape::Json("Status"),
        not: &[],
    },
    Route {
        method: "get",
        path: "/api/clients",
        tag: "service",
        summary: "Who is connected",
        ok: Shape::List("ClientLine"),
        not: &[],
    },
    Route {
        method: "get",
        path: "/api/logs",
        tag: "service",
        summary: "The last lines of the log; ?after= gives newer ones only",
        ok: Shape::List("Line"),
        not: &[(422, "after is no number")],
    },
    Route {
        method: "get",
        path: "/metrics",
        tag: "service",
        summary: "Counters for Prometheus",
        ok: Shape::Text("text/plain"),
        not: &[],
    },
    Route {
        method: "post",
        path: "/api/transcode/start",
        tag: "jobs",
        summary: "Start a job, or join one that makes the same",
        ok: Shape::Json("TranscodeResponse"),
        not: START,
    },
    Route {
        method: "post",
        path: "/transcode",
        tag: "jobs",
        summary: "The older name of /api/transcode/start",
        ok: Shape::Json("TranscodeResponse"),
        not: START,
    },
    Route {
        method: "get",
        path: "/api/transcode/jobs",
        tag: "jobs",
        summary: "All jobs, the newest first",
        ok: Shape::Json("JobList"),
        not: &[],
    },
    Route {
        method: "get",
        path: "/api/transcode/{job_id}/status",
        tag: "jobs",
        summary: "A job as it is now",
        ok: Shape::Json("JobStatusResponse"),
        not: &[JOB_TOKEN, NO_JOB],
    },
    Route {
        method: "get",
        path: "/transcode/{job_id}",
        tag: "jobs",
        summary: "The older name of its status",
        ok: Shape::Json("JobStatusResponse"),
        not: &[JOB_TOKEN, NO_JOB],
    },
    Route {
        method: "post",
        path: "/api/transcode/{job_id}/cancel",
        tag: "jobs",
        summary: "Cancel a job and remove its files",
        ok: Shape::Json("Ended"),
        not: CANCEL,
    },
    Route {
        method: "delete",
        path: "/transcode/{job_id}",
        tag: "jobs",
        summary: "The older name of cancel; it deletes nothing",
        ok: Shape::Json("Ended"),
        not: CANCEL,
    },
    Route {
        method: "delete",
        path: "/api/transcode/{job_id}",
        tag: "jobs",
        summary: "Cancel a job if need be, and forget it",
        ok: Shape::Json("Ended"),
        not: &[JOB_TOKEN, NO_JOB, LIMIT],
    },
    Route {
        method: "get",
        path: "/api/transcode/{job_id}/stream",
        tag: "jobs",
        summary: "Where a job's stream is",
        ok: Shape::Json("StreamInfo"),
        not: &[(400, "Job is not ready for streaming"), JOB_TOKEN, NO_JOB],
    },
    Route {
        method: "post",
        path: "/api/transcode/{job_id}/leave",
        tag: "jobs",
        summary: "A viewer leaves; session_id in the query or in the body",
        ok: Shape::Json("Leave"),
        not: &[
            JOB_TOKEN,
            NO_JOB,
            (408, "The body did not come in time"),
            (413, "The body is too large"),
            (422, "The body is not JSON, or session_id is no text"),
            LIMIT,
        ],
    },
    Route {
        method: "get",
        path: "/api/cleanup/stats",
        tag: "cleanup",
        summary: "What the clean-up sees",
        ok: Shape::Json("CleanupStats"),
        not: &[],
    },
    Route {
        method: "post",
        path: "/api/cleanup/run",
        tag: "cleanup",
        summary: "Clean up now",
        ok: Shape::Json("CleanupResult"),
        not: &[LIMIT],
    },
    Route {
        method: "get",
        path: "/api/streams/shared",
        tag: "jobs",
        summary: "Streams that viewers can join",
        ok: Shape::Json("SharedStreams"),
        not: &[],
    },
    Route {
        method: "get",
        path: "/stream/{job_id}/{path}",
        tag: "media",
        summary: "A playlist or segment; one that is being made is waited for up to 30 s",
        ok: Shape::Media,
        not: &[
            (206, "The range that was asked for"),
            (304, "The client has it"),
            (400, "Invalid filename"),
            JOB_TOKEN,
            (404, "Stream file not found"),
            (416, "Range not satisfiable"),
        ],
    },
    Route {
        method: "get",
        path: "/download/{job_id}",
        tag: "media",
        summary: "A batch job's file",
        ok: Shape::Media,
        not: &[
            (206, "The range that was asked for"),
            (304, "The client has it"),
            (400, "Job is not ready for download"),
            JOB_TOKEN,
            (404, "Job not found, or its file is gone"),
            (416, "Range not satisfiable"),
        ],
    },
];

/// Routes of the live origin that need the API key.
const LIVE_CONTROL: &[&str] = &["/streams", "/streams/{id}", "/streams/{id}/heartbeat"];

const LIMIT: (u16, &str) = (429, "Too many changes from this address");

const START: &[(u16, &str)] = &[
    (400, "Source URL is required"),
    (403, "The source is not allowed"),
    (408, "The body did not come in time"),
    (413, "The body is too large"),
    (422, "Fields are missing or wrong"),
    LIMIT,
    (503, "The queue is full"),
];

const CANCEL: &[(u16, &str)] = &[(400, "Job cannot be cancelled: it is unknown or over"), JOB_TOKEN, LIMIT];

fn build(with_live: bool) -> Value {
    let mut schemas = Map::new();
    let mut paths = Map::new();
    for route in ROUTES.iter().chain(live::ROUTES.iter().filter(|_| with_live)) {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(route);
    }
    let at = |s: &mut SchemaSettings| {
        s.definitions_path = "/components/schemas".into();
        s.meta_schema = None;
    };
    let mut requests = SchemaSettings::draft2020_12().for_deserialize().with(at).into_generator();
    add::<request::TranscodeRequest>(&mut requests);
    if with_live {
        add::<hls_dash::Body>(&mut requests);
    }
    let mut answers = SchemaSettings::draft2020_12().for_serialize().with(at).into_generator();
    add::<service::Health>(&mut answers);
    add::<service::DetailedHealth>(&mut answers);
    add::<service::Ready>(&mut answers);
    add::<service::Live>(&mut answers);
    add::<service::Capabilities>(&mut answers);
    add::<service::Stats>(&mut answers);
    add::<service::Status>(&mut answers);
    add::<service::ClientLine>(&mut answers);
    add::<crate::logs::Line>(&mut answers);
    add::<service::CleanupStats>(&mut answers);
    add::<service::CleanupResult>(&mut answers);
    add::<service::SharedStreams>(&mut answers);
    add::<job::TranscodeResponse>(&mut answers);
    add::<job::JobStatusResponse>(&mut answers);
    add::<job::JobList>(&mut answers);
    add::<job::StreamInfo>(&mut answers);
    add::<job::Ended>(&mut answers);
    add::<job::Leave>(&mut answers);
    if with_live {
        add::<LiveOverview>(&mut answers);
        add::<LiveSessions>(&mut answers);
        add::<RecordingNames>(&mut answers);
        add::<RecordingView>(&mut answers);
        add::<hls_dash::StreamInfo>(&mut answers);
        add::<hls_dash::Said>(&mut answers);
    }
    for mut generator in [requests, answers] {
        schemas.extend(generator.take_definitions(true));
    }
    schemas.insert("Failure".into(), failure());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "GhostStream",
            "version": ghoststream::VERSION,
            "description": "The transcoding server. Progress is told over the WebSocket /ws/progress.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "apiKeyHeader": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
                "apiKeyQuery": { "type": "apiKey", "in": "query", "name": "api_key" },
            },
        },
        // Without a configured key none is needed.
        "security": [{}, { "apiKeyHeader": [] }, { "apiKeyQuery": [] }],
    })
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    // The schema lands in the definitions; what is returned only refers to it.
    let _reference = generator.subschema_for::<T>();
}

/// `{"detail": …}`: a sentence, or every mistake in a request.
fn failure() -> Value {
    let mistake = json!({
        "type": "object",
        "required": ["type", "loc", "msg", "input"],
        "properties": {
            "type": { "type": "string" },
            "loc": { "type": "array", "items": { "type": ["string", "integer"] } },
            "msg": { "type": "string" },
            "input": {},
            "ctx": { "type": "object" },
        },
    });
    json!({
        "type": "object",
        "required": ["detail"],
        "properties": { "detail": { "anyOf": [{ "type": "string" }, { "type": "array", "items": mistake }] } },
    })
}

/// Where the answer to a start leads.
fn links() -> Value {
    let mut links = Map::new();
    for (name, operation) in [
        ("Status", "get_api_transcode_job_id_status"),
        ("Stream", "get_api_transcode_job_id_stream"),
        ("Cancel", "post_api_transcode_job_id_cancel"),
        ("Leave", "post_api_transcode_job_id_leave"),
        ("Delete", "delete_api_transcode_job_id"),
        ("Download", "get_download_job_id"),
    ] {
        let link = json!({ "operationId": operation, "parameters": { "job_id": "$response.body#/job_id" } });
        links.insert(name.into(), link);
    }
    Value::Object(links)
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn operation(route: &Route) -> Value {
    let json_of = |schema: Value| json!({ "application/json": { "schema": schema } });
    let binary = json!({ "schema": { "type": "string", "format": "binary" } });
    let content = match &route.ok {
        Shape::Json(name) => json_of(reference(name)),
        Shape::List(name) => json_of(json!({ "type": "array", "items": reference(name) })),
        Shape::Text(kind) => json!({ *kind: { "schema": { "type": "string" } } }),
        Shape::Media => json!({ "*/*": binary }),
        Shape::Session => json!({ "application/sdp": { "schema": { "type": "string" } } }),
        Shape::Nothing(_) => json!({}),
    };
    let mut responses = Map::new();
    let mut success = json!({ "description": "Success", "content": content });
    let status = match route.ok {
        Shape::Session => 201,
        Shape::Nothing(status) => status,
        _ => 200,
    };
    if matches!(route.ok, Shape::Session) {
        let said = |text: &str| json!({ "description": text, "schema": { "type": "string" } });
        success["headers"] = json!({ "Location": said("The session"), "ETag": said("Its entity tag") });
    }
    if matches!(route.path, "/api/transcode/start" | "/transcode") {
        success["links"] = links();
    }
    responses.insert(status.to_string(), success);
    for (status, meaning) in route.not {
        let answer = match (status, &route.ok) {
            (206, _) => json!({ "description": meaning, "content": { "*/*": binary } }),
            (304, _) => json!({ "description": meaning }),
            (503, Shape::Json(name @ ("DetailedHealth" | "Ready"))) => {
                json!({ "description": meaning, "content": json_of(reference(name)) })
            }
            _ => json!({ "description": meaning, "content": json_of(reference("Failure")) }),
        };
        responses.insert(status.to_string(), answer);
    }
    // Players and publishers show the live origin's keys.
    let control = route.tag != "live" || LIVE_CONTROL.contains(&route.path);
    if control && !matches!(route.path, "/api/health" | "/health") {
        let answer = json!({ "description": "The API key is required and missing or wrong", "content": json_of(reference("Failure")) });
        responses.insert("401".into(), answer);
    }
    if control && matches!(route.method, "post" | "delete") {
        let said = "The page that sent it is not allowed, or the job's token or the source is not";
        let answer = json!({ "description": said, "content": json_of(reference("Failure")) });
        responses.entry("403").or_insert(answer);
    }
    let mut parameters = Vec::new();
    for name in ["job_id", "path", "id", "name", "file", "session", "part"] {
        if route.path.contains(&format!("{{{name}}}")) {
            parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }));
        }
    }
    if !control && !matches!(route.ok, Shape::Nothing(_)) {
        let said = "The reader's (or publisher's) key, where one is set";
        parameters.push(
            json!({ "name": "key", "in": "query", "schema": { "type": "string" }, "description": said }),
        );
    }
    if control && matches!(route.ok, Shape::Media) {
        parameters.push(json!({ "name": "gst", "in": "query", "schema": { "type": "string" }, "description": "The stream's token" }));
        parameters.push(json!({ "name": "Range", "in": "header", "schema": { "type": "string" } }));
    }
    let text = || json!({ "type": "string" });
    let date = json!({ "type": "string", "format": "date-time" });
    let queries = match route.path {
        "/live/sessions" => {
            vec![("stream", text(), "Of this stream alone"), ("id", text(), "This one alone")]
        }
        "/recordings/{name}/playlist.m3u8" | "/recordings/{name}/download.mp4" => vec![
            (
                "start",
                json!({ "anyOf": [date, { "type": "number", "minimum": 0, "maximum": 1e11 }] }),
                "A date, or seconds since 1970; the begin of the recording without it",
            ),
            (
                "duration",
                json!({ "type": "number", "minimum": 0.001, "maximum": 1e11 }),
                "Seconds; all there is without it",
            ),
        ],
        _ => Vec::new(),
    };
    parameters.extend(queries.into_iter().map(
        |(name, schema, said)| json!({ "name": name, "in": "query", "schema": schema, "description": said }),
    ));
    if route.path == "/api/logs" {
        let schema = json!({ "type": "integer", "minimum": 0 });
        parameters.push(json!({ "name": "after", "in": "query", "schema": schema }));
    }
    if route.path.ends_with("/leave") {
        parameters.push(json!({ "name": "session_id", "in": "query", "schema": { "type": "string" } }));
    }
    let words = route.path.split('/').map(|part| part.trim_matches(['{', '}'])).filter(|p| !p.is_empty());
    let id = format!("{}_{}", route.method, words.collect::<Vec<_>>().join("_"));
    let mut operation = json!({
        "operationId": id,
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if matches!(route.path, "/api/transcode/start" | "/transcode") {
        operation["requestBody"] =
            json!({ "required": true, "content": json_of(reference("TranscodeRequest")) });
    }
    if route.path == "/streams" && route.method == "post" {
        operation["requestBody"] =
            json!({ "required": true, "content": json_of(reference("LiveStreamRequest")) });
    }
    let kind = match (&route.ok, route.method) {
        (Shape::Session, _) => Some("application/sdp"),
        (Shape::Nothing(_), "patch") => Some("application/trickle-ice-sdpfrag"),
        _ => None,
    };
    if let Some(kind) = kind {
        let content = json!({ kind: { "schema": { "type": "string" } } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    if route.tag == "live" && !control {
        operation["security"] = json!([{}]);
    }
    if route.path.ends_with("/leave") {
        let schema =
            json!({ "type": "object", "properties": { "session_id": { "type": ["string", "null"] } } });
        operation["requestBody"] = json!({ "required": false, "content": json_of(schema) });
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_this_one() {
        let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/openapi.json");
        let text = std::fs::read_to_string(committed).unwrap_or_default();
        assert!(text == openapi(), "run `make generate`: {committed} is not what the code says");
    }

    #[test]
    fn every_link_leads_to_a_route() {
        let ids: Vec<&str> = DOCUMENT["paths"]
            .as_object()
            .into_iter()
            .flat_map(|paths| paths.values())
            .flat_map(|methods| methods.as_object().into_iter().flat_map(|m| m.values()))
            .filter_map(|operation| operation["operationId"].as_str())
            .collect();
        for link in links().as_object().unwrap().values() {
            assert!(ids.contains(&link["operationId"].as_str().unwrap()), "{link}");
        }
        assert_eq!(ids.len(), ids.iter().collect::<std::collections::HashSet<_>>().len());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, all: &mut Vec<&'a str>) {
            match value {
                Value::Object(map) => {
                    all.extend(map.get("$ref").and_then(Value::as_str));
                    map.values().for_each(|v| references(v, all));
                }
                Value::Array(list) => list.iter().for_each(|v| references(v, all)),
                _ => {}
            }
        }
        let mut all = Vec::new();
        references(&DOCUMENT, &mut all);
        assert!(all.len() > 50);
        for reference in all {
            let at = reference.strip_prefix('#').unwrap();
            assert!(DOCUMENT.pointer(at).is_some(), "{reference}");
        }
    }
}
