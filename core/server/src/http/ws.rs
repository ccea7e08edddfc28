//! `/ws/progress`.

use super::answer::Fail;
use super::hub::{Client, Follows};
use super::{App, presence};
use crate::contract::event::{Said, beat, error};
use crate::serve::ended;
use crate::token::Scope;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

/// A client that takes longer to read what was sent is gone.
const SENDING: Duration = Duration::from_secs(30);
/// Beats without an answer before a connection is closed.
const MISSED: u32 = 3;
/// The largest message of a client, in bytes: a subscription to some thousand jobs.
const MESSAGE: usize = 256 << 10;

/// The upgrade.
pub async fn progress(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        let fail = Fail::new(StatusCode::UPGRADE_REQUIRED, "This is a WebSocket");
        let mut response = fail.into_response();
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    };
    let name = presence::name(&headers);
    upgrade
        .max_message_size(MESSAGE)
        .max_frame_size(MESSAGE)
        .on_upgrade(move |socket| serve(app, socket, name))
}

async fn serve(app: Arc<App>, mut socket: WebSocket, name: Option<String>) {
    // Where tokens are required, nobody hears of jobs that are not his.
    let closed = app.settings().config.security.require_job_tokens;
    let follows = if closed { Follows::Jobs(HashSet::new()) } else { Follows::All };
    let Some(client) = app.hub.join(name, follows) else {
        close(&mut socket, 1013, "Server overloaded").await;
        return;
    };
    let farewell = talk(&app, &mut socket, &client).await;
    app.hub.leave(&client);
    if let Some((code, reason)) = farewell {
        close(&mut socket, code, reason).await;
    }
}

async fn close(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame { code, reason: reason.into() };
    // Whoever is gone needs no farewell; the others answer, and the connection ends in order.
    let _gone = timeout(Duration::from_secs(5), async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    })
    .await;
}

/// Talks until one of both ends it; the close code and reason if it is us.
async fn talk(app: &App, socket: &mut WebSocket, client: &Client) -> Option<(u16, &'static str)> {
    let every = Duration::from_secs_f64(app.settings().config.server.websocket_ping_seconds);
    let mut beats = interval_at(Instant::now() + every, every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut missed = 0;
    let mut ending = app.ending.clone();
    loop {
        let answer: Vec<Message> = tokio::select! {
            texts = client.take() => texts.into_iter().map(Message::Text).collect(),
            heard = socket.next() => {
                missed = 0;
                match heard {
                    Some(Ok(Message::Text(text))) => match Said::read(&text) {
                        Some(said) => answer(app, client, said).into_iter().collect(),
                        None => continue,
                    },
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    // Pings of the protocol are answered by the library.
                    Some(Ok(_)) => continue,
                }
            }
            _ = beats.tick() => {
                if missed >= MISSED {
                    return Some((1001, "no answer to pings"));
                }
                missed += 1;
                // Browsers answer the protocol's ping, old clients the contract's.
                vec![Message::Text(beat("ping", super::service::unix()).into()), Message::Ping(Bytes::new())]
            }
            () = ended(&mut ending) => return Some((1000, "server_shutdown")),
        };
        let sending = async {
            for message in answer {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        match timeout(SENDING, sending).await {
            Ok(Ok(())) => {}
            _ => return None,
        }
    }
}

fn answer(app: &App, client: &Client, said: Said) -> Option<Message> {
    let closed = app.settings().config.security.require_job_tokens;
    let none = || Some(Message::Text(error("No valid job capabilities provided").into()));
    match said {
        Said::Ping => return Some(Message::Text(beat("pong", super::service::unix()).into())),
        Said::Pong => {}
        Said::Subscribe(jobs) => {
            let asked = jobs.len();
            let allowed = |token: Option<&str>, job: &str| {
                !closed || app.tokens.check(token, job, Scope::Stream).is_ok()
            };
            let jobs: Vec<String> = jobs
                .into_iter()
                .filter(|(job, token)| allowed(token.as_deref(), job))
                .map(|(job, _)| job)
                .collect();
            let refused = jobs.is_empty() && asked > 0;
            client.follow(|f| f.add(jobs));
            if refused {
                return none();
            }
        }
        Said::Unsubscribe(jobs) => client.follow(|f| f.remove(&jobs)),
        Said::SubscribeAll if closed => return none(),
        Said::SubscribeAll => client.follow(|f| *f = Follows::All),
        Said::Identify(name) => client.rename(name),
    }
    None
}
