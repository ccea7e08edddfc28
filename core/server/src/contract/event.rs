//! Messages of the WebSocket.

use super::service::JobsStatus;
use crate::jobs::Status;
use serde::Serialize;
use serde_json::{Value, json};

/// What a client says. Anything else is ignored, as ever.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// It wants a pong.
    Ping,
    /// It lives.
    Pong,
    /// Follow these jobs, each with the token that was sent for it, and no longer all of them.
    Subscribe(Vec<(String, Option<String>)>),
    /// Do not follow these jobs any more.
    Unsubscribe(Vec<String>),
    /// Follow all jobs.
    SubscribeAll,
    /// Its name.
    Identify(String),
}

impl Said {
    /// Reads a text frame.
    pub fn read(text: &str) -> Option<Said> {
        let message: Value = serde_json::from_str(text).ok()?;
        let ids = || -> Vec<String> {
            let list = message.get("job_ids").and_then(Value::as_array);
            let mut ids: Vec<String> =
                list.into_iter().flatten().filter_map(|v| v.as_str().map(Into::into)).collect();
            // One job may be named alone.
            ids.extend(message.get("job_id").and_then(Value::as_str).map(String::from));
            ids
        };
        match message.get("type")?.as_str()? {
            "ping" => Some(Said::Ping),
            "pong" => Some(Said::Pong),
            "subscribe" => {
                let mut ids = ids();
                let tokens = message.get("job_tokens").and_then(Value::as_object);
                let single = message.get("control_token").and_then(Value::as_str);
                for id in tokens.into_iter().flat_map(|t| t.keys()) {
                    if !ids.contains(id) {
                        ids.push(id.clone());
                    }
                }
                let alone = ids.len() == 1;
                let token = |id: &str| -> Option<String> {
                    let named = tokens.and_then(|t| t.get(id)).and_then(Value::as_str);
                    named.or(single.filter(|_| alone)).map(Into::into)
                };
                Some(Said::Subscribe(ids.into_iter().map(|id| (id.clone(), token(&id))).collect()))
            }
            "unsubscribe" => Some(Said::Unsubscribe(ids())),
            "subscribe_all" => Some(Said::SubscribeAll),
            "identify" => Some(Said::Identify(message.get("client")?.as_str()?.chars().take(64).collect())),
            _ => None,
        }
    }
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ProgressData {
    /// Percent.
    pub progress: f64,
    /// Frames encoded.
    pub frame: u64,
    /// Frames per second.
    pub fps: f64,
    /// Seconds of media made.
    pub time: f64,
    /// Seconds of media per second.
    pub speed: f64,
}

/// `{"type":"progress",…}`.
pub fn progress(job_id: &str, data: &ProgressData) -> String {
    json!({ "type": "progress", "job_id": job_id, "data": data }).to_string()
}

/// `{"type":"status_change",…}`.
pub fn status_change(job_id: &str, status: Status) -> String {
    json!({ "type": "status_change", "job_id": job_id, "data": { "status": status } }).to_string()
}

/// What a job makes less of, for the state of the machine, or no longer does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AdaptationData {
    /// What bit rates are multiplied with; 1 when the machine is well.
    pub quality_factor: f64,
    /// Steps by which encoders have faster presets.
    pub faster: u8,
    /// Whether the top rung of a ladder is left out.
    pub drop_top: bool,
}

/// `{"type":"adaptation","job_id":…}`: a job follows the machine's state.
pub fn job_adaptation(job_id: &str, data: &AdaptationData) -> String {
    json!({ "type": "adaptation", "job_id": job_id, "data": data }).to_string()
}

/// `{"type":"adaptation",…}` without a job: what the machine allows now, as `jobs` of `/api/status` has it.
pub fn adaptation(jobs: &JobsStatus) -> String {
    json!({ "type": "adaptation", "data": {
        "pressure": jobs.pressure,
        "max_concurrent_jobs": jobs.max_concurrent_jobs,
        "quality_factor": jobs.quality_factor,
        "reasons": jobs.reasons,
    } })
    .to_string()
}

/// `{"type":"ping"|"pong","ts":…}`.
pub fn beat(kind: &str, unix: f64) -> String {
    json!({ "type": kind, "ts": unix }).to_string()
}

/// `{"type":"error",…}`.
pub fn error(message: &str) -> String {
    json!({ "type": "error", "data": { "error": message } }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_subscribe() {
        assert_eq!(
            Said::read(r#"{"type":"subscribe","job_ids":["a","b"]}"#),
            Some(Said::Subscribe(vec![("a".into(), None), ("b".into(), None)]))
        );
        assert_eq!(
            Said::read(r#"{"type":"subscribe","job_ids":["a"],"control_token":"t"}"#),
            Some(Said::Subscribe(vec![("a".into(), Some("t".into()))]))
        );
        assert_eq!(
            Said::read(r#"{"type":"subscribe","job_ids":["a"],"job_tokens":{"a":"t","b":"u"}}"#),
            Some(Said::Subscribe(vec![("a".into(), Some("t".into())), ("b".into(), Some("u".into()))]))
        );
    }

    #[test]
    fn nonsense_is_ignored() {
        for text in ["", "[", "[]", "5", r#"{"type":5}"#, r#"{"type":"dance"}"#, r#"{"job_ids":["a"]}"#] {
            assert_eq!(Said::read(text), None, "{text}");
        }
        assert_eq!(
            Said::read(r#"{"type":"unsubscribe","job_ids":[1,null,"a"]}"#),
            Some(Said::Unsubscribe(vec!["a".into()]))
        );
    }
}
