//! Which response goes first on a connection of HTTP/2 (RFC 9218).
//!
//! The library under the server sends the data of all streams in turn. So that what is urgent comes first, data is handed to it in
//! small pieces, and a response gives a piece only while none that goes before it has one to give. One that waits for its data, as an
//! answer to a blocking request does, holds up nobody, nor does one whose client takes nothing for a second.

mod header;

pub use header::Priority;

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// The most that is handed on at once, in bytes.
const PIECE: usize = 16 << 10;
/// As long as this a response may take nothing and still go before others.
const STALLED: Duration = Duration::from_secs(1);

impl Priority {
    /// The priority in a request's head.
    pub fn of(headers: &HeaderMap) -> Priority {
        Priority::read(headers.get_all("priority").iter().filter_map(|v| v.to_str().ok()))
    }
}

/// The responses of one connection.
#[derive(Clone, Debug, Default)]
pub struct Order(Arc<Mutex<Sending>>);

#[derive(Debug, Default)]
struct Sending {
    /// Requests so far.
    count: u64,
    responses: BTreeMap<u64, Response>,
}

#[derive(Debug)]
struct Response {
    priority: Priority,
    /// Whether it has a piece to give, as far as is known.
    has: bool,
    /// When it gave one last.
    gave: Instant,
    /// Who is told to look again, while it is held.
    held: Option<Waker>,
}

/// A request's place among the others of its connection.
#[derive(Debug)]
pub struct Place {
    order: Order,
    number: u64,
    priority: Priority,
}

impl Order {
    /// The place of a request that has just come.
    pub fn enter(&self, priority: Priority) -> Place {
        let mut sending = self.lock();
        sending.count += 1;
        Place { order: self.clone(), number: sending.count, priority }
    }

    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the response has something to give; `None`: it may. Else when it is worth looking again, if nobody wakes it.
    fn turn(&self, number: u64, waker: &Waker) -> Option<Instant> {
        let mut sending = self.lock();
        let now = Instant::now();
        let own = sending.responses.get(&number).map(|r| r.priority)?;
        let before = |(other, r): &(&u64, &Response)| {
            let alike = !own.incremental && !r.priority.incremental;
            let first = (r.priority.urgency < own.urgency)
                || (r.priority.urgency == own.urgency && alike && **other < number);
            first && r.has && (r.held.is_some() || r.gave + STALLED > now)
        };
        let again =
            |(_, r): (&u64, &Response)| if r.held.is_some() { now + STALLED } else { r.gave + STALLED };
        let wait = sending.responses.iter().filter(before).map(again).max();
        let mine = sending.responses.get_mut(&number)?;
        mine.has = true;
        mine.held = wait.map(|_| waker.clone());
        if wait.is_none() {
            mine.gave = now;
        }
        wait
    }

    /// Says that the response has nothing to give.
    fn waits(&self, number: u64) {
        let mut sending = self.lock();
        if let Some(mine) = sending.responses.get_mut(&number).filter(|r| r.has) {
            mine.has = false;
            wake(sending);
        }
    }

    fn leave(&self, number: u64) {
        let mut sending = self.lock();
        if sending.responses.remove(&number).is_some() {
            wake(sending);
        }
    }
}

/// Lets all that are held look again.
fn wake(sending: MutexGuard<'_, Sending>) {
    let held: Vec<Waker> = sending.responses.values().filter_map(|r| r.held.clone()).collect();
    // Whoever is woken may look at once.
    drop(sending);
    held.into_iter().for_each(Waker::wake);
}

impl Place {
    /// `body`, sent when it is its turn.
    pub fn send(self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let Place { order, number, priority } = self;
        let response = Response { priority, has: false, gave: Instant::now(), held: None };
        order.lock().responses.insert(number, response);
        let patience = Box::pin(sleep(Duration::ZERO));
        Body::new(Ordered { body, order, number, piece: None, patience })
    }
}

/// A body that waits for its turn.
struct Ordered {
    body: Body,
    order: Order,
    number: u64,
    /// What was taken of the body and not given yet.
    piece: Option<Frame<Bytes>>,
    patience: Pin<Box<Sleep>>,
}

impl Drop for Ordered {
    fn drop(&mut self) {
        self.order.leave(self.number);
    }
}

impl HttpBody for Ordered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.piece.is_none() {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => this.piece = Some(frame),
                Poll::Ready(end) => {
                    this.order.leave(this.number);
                    return Poll::Ready(end);
                }
                Poll::Pending => {
                    this.order.waits(this.number);
                    return Poll::Pending;
                }
            }
        }
        while let Some(again) = this.order.turn(this.number, context.waker()) {
            this.patience.as_mut().reset(again);
            ready!(this.patience.as_mut().poll(context));
        }
        let Some(frame) = this.piece.take() else { return Poll::Ready(None) };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(mut data) if data.len() > PIECE => {
                let first = data.split_to(PIECE);
                this.piece = Some(Frame::data(data));
                Frame::data(first)
            }
            Ok(data) => Frame::data(data),
            Err(other) => other,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before anything is given.
        if self.piece.is_none() { self.body.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxies::Proxies;
    use crate::serve::{Limits, serve};
    use axum::Router;
    use axum::http::{Request, Version};
    use axum::routing::get;
    use http_body_util::{BodyExt, Empty};
    use hyper_util::client::legacy::Client;
    use hyper_util::client::legacy::connect::HttpConnector;
    use hyper_util::rt::TokioExecutor;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use tokio::net::TcpListener;
    use tokio::sync::{Semaphore, mpsc, watch};

    fn said(value: &str) -> Priority {
        let mut headers = HeaderMap::new();
        headers.append("priority", value.parse().unwrap());
        Priority::of(&headers)
    }

    #[test]
    fn priorities_are_read_and_nonsense_is_none() {
        let is = |urgency, incremental| Priority { urgency, incremental };
        assert_eq!(Priority::of(&HeaderMap::new()), is(3, false));
        for (value, wanted) in [
            ("u=0", is(0, false)),
            ("u=7, i", is(7, true)),
            ("i;x=1,u=5", is(5, true)),
            ("i=?1, i=?0", is(3, false)),
            ("u=8", is(3, false)),
            ("u=-1, u=2.5, U=1, j", is(3, false)),
            ("", is(3, false)),
        ] {
            assert_eq!(said(value), wanted, "{value:?}");
        }
    }

    /// Counts how often somebody is woken.
    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A response, and what gives it its data.
    struct Asked {
        body: Body,
        data: Option<mpsc::UnboundedSender<Bytes>>,
        bell: Arc<Bell>,
    }

    impl Asked {
        fn new(order: &Order, priority: &str) -> Asked {
            let (data, mut given) = mpsc::unbounded_channel();
            let stream = futures_util::stream::poll_fn(move |context| {
                given.poll_recv(context).map(|piece| piece.map(Ok::<Bytes, std::io::Error>))
            });
            let body = order.enter(said(priority)).send(Body::from_stream(stream));
            Asked { body, data: Some(data), bell: Arc::default() }
        }

        fn give(&self, bytes: usize) {
            self.data.as_ref().unwrap().send(vec![0; bytes].into()).unwrap();
        }

        /// How much of it goes out when the library asks; `None`: it waits. 0 is its end.
        fn ask(&mut self) -> Option<usize> {
            let waker = Waker::from(self.bell.clone());
            match Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(&waker)) {
                Poll::Ready(frame) => Some(frame.map_or(0, |f| f.unwrap().into_data().unwrap().len())),
                Poll::Pending => None,
            }
        }

        fn woken(&self) -> usize {
            self.bell.0.swap(0, Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn what_is_urgent_goes_first_and_who_waits_holds_up_nobody() {
        let order = Order::default();
        let mut late = Asked::new(&order, "u=7");
        let mut urgent = Asked::new(&order, "u=0");
        late.give(3 * PIECE);
        // The urgent one has nothing yet.
        assert_eq!((urgent.ask(), late.ask()), (None, Some(PIECE)));
        urgent.give(PIECE + 1);
        assert_eq!(urgent.ask(), Some(PIECE));
        assert_eq!((late.ask(), late.woken()), (None, 0));
        assert_eq!((urgent.ask(), late.ask()), (Some(1), None));
        // It waits for more: the other one is told, and goes on.
        assert_eq!((urgent.ask(), late.woken(), late.ask()), (None, 1, Some(PIECE)));
        urgent.give(1);
        assert_eq!((urgent.ask(), late.ask()), (Some(1), None));
        // It ends.
        urgent.data = None;
        assert_eq!((urgent.ask(), late.woken(), late.ask()), (Some(0), 1, Some(PIECE)));
        late.data = None;
        assert_eq!(late.ask(), Some(0));
        assert!(order.lock().responses.is_empty());
    }

    #[tokio::test]
    async fn those_of_one_urgency_go_one_by_one_or_share() {
        let order = Order::default();
        let mut all: Vec<Asked> = ["", "", "i", "i"].map(|said| Asked::new(&order, said)).into();
        all.iter().for_each(|one| one.give(2 * PIECE));
        let [first, second, third, fourth] = &mut all[..] else { panic!() };
        assert_eq!((first.ask(), second.ask()), (Some(PIECE), None), "in the order of their requests");
        assert_eq!((third.ask(), fourth.ask(), third.ask()), (Some(PIECE), Some(PIECE), Some(PIECE)));
        // A client that goes away takes its response with it.
        first.body = Body::empty();
        assert_eq!((second.woken(), second.ask()), (1, Some(PIECE)));
    }

    #[tokio::test]
    async fn a_response_that_nobody_takes_holds_up_the_others_for_a_second() {
        let order = Order::default();
        let (mut urgent, mut late) = (Asked::new(&order, "u=1"), Asked::new(&order, ""));
        urgent.give(2 * PIECE);
        late.give(2 * PIECE);
        assert_eq!((urgent.ask(), late.ask()), (Some(PIECE), None));
        let begun = Instant::now();
        while late.woken() == 0 {
            assert!(begun.elapsed() < 5 * STALLED, "nobody wakes it");
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(late.ask(), Some(PIECE));
        assert!(begun.elapsed() > STALLED / 2);
        // It takes something again.
        assert_eq!((urgent.ask(), late.ask()), (Some(PIECE), None));
    }

    const LARGE: usize = 32 << 20;
    type Browser = Client<HttpConnector, Empty<Bytes>>;

    /// Reads a large answer; `seen` is how much of it is there.
    async fn read(client: Browser, url: String, priority: &str, seen: Arc<AtomicUsize>) {
        let request = Request::get(url).header("priority", priority).body(Empty::new()).unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            seen.fetch_add(frame.unwrap().into_data().unwrap().len(), Ordering::SeqCst);
        }
        assert_eq!(seen.load(Ordering::SeqCst), LARGE);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn urgent_responses_overtake_others_over_http_2() {
        // Point 12: HTTP/2 without TLS (h2c), by its first bytes; what is urgent overtakes what was asked for before it.
        // Against 12: without priorities, or with the same, it does not.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let large = Bytes::from(vec![7; LARGE]);
        let router = Router::new().route("/large", get(move || async move { Body::from(large) }));
        let limits = Limits {
            head_timeout: Duration::from_secs(5),
            connections: Arc::new(Semaphore::new(10)),
            proxies: Proxies::new(&[]),
        };
        let (end, ending) = watch::channel(false);
        let server = tokio::spawn(serve(listener, None, router, limits, ending));
        for (first, second, overtakes) in
            [("u=7", "u=0", true), ("u=3, i", "u=3, i", false), ("u=0", "u=7", false)]
        {
            // One connection; what is in flight is little, and each stream may have much.
            let client: Browser = Client::builder(TokioExecutor::new())
                .http2_only(true)
                .http2_initial_connection_window_size(256 << 10)
                .http2_initial_stream_window_size(2 << 20)
                .build_http();
            let url = format!("http://{address}/large");
            let [before, behind] = [0, 1].map(|_| Arc::new(AtomicUsize::new(0)));
            let earlier = tokio::spawn(read(client.clone(), url.clone(), first, before.clone()));
            while before.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            let later = tokio::spawn(read(client, url, second, behind.clone()));
            // What is to overtake does so from when the server knows of it.
            while overtakes && behind.load(Ordering::SeqCst) == 0 && !later.is_finished() {
                tokio::task::yield_now().await;
            }
            let already = before.load(Ordering::SeqCst);
            later.await.unwrap();
            let meanwhile = before.load(Ordering::SeqCst) - already;
            earlier.await.unwrap();
            assert_eq!(meanwhile < LARGE / 4, overtakes, "{first}, then {second}: {meanwhile} of {LARGE}");
        }
        end.send_replace(true);
        server.await.unwrap();
    }
}
