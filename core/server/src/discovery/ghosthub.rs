//! Registration with a GhostHub: repeated while the server runs, withdrawn when it stops. With a node identity the
//! message is signed, as hubs of the second generation check it; older hubs ignore the additional fields.

use super::Advertisement;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// A GhostHub to register with. `Debug` shows no secret.
#[derive(Clone)]
pub struct Hub {
    /// Where it is (`http://192.168.4.1:5000`).
    pub url: String,
    /// Between two registrations.
    pub interval: Duration,
    /// Where the hub reaches this server; default: the address of the interface that leads to the hub.
    pub advertised_url: Option<String>,
    /// Signs each message, with what it says at that time: secrets are replaced while the server runs.
    pub identity: Option<Signer>,
    /// A secret that hub and server share; the hub compares it.
    pub shared_secret: Option<String>,
}

/// Says who this node is now.
pub type Signer = Arc<dyn Fn() -> Identity + Send + Sync>;

/// Who this node is.
#[derive(Clone)]
pub struct Identity {
    /// Its stable name.
    pub node_id: String,
    /// The key of its signatures.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("url", &self.url)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

/// What is sent.
struct Message {
    body: Value,
    headers: Vec<(&'static str, String)>,
}

pub(super) struct Registration {
    hub: Hub,
    ad: Advertisement,
}

impl Registration {
    pub fn new(hub: Hub, ad: Advertisement) -> Registration {
        Registration { hub: Hub { url: hub.url.trim_end_matches('/').into(), ..hub }, ad }
    }

    /// Registers again and again until told to stop, then unregisters. A failure is logged once, until it changes.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut said = String::new();
        loop {
            let outcome = match self.register().await {
                Ok(()) => format!("registered with the GhostHub at {}", self.hub.url),
                Err(e) => format!("GhostHub at {}: {e}", self.hub.url),
            };
            if outcome != said {
                tracing::info!("{outcome}");
                said = outcome;
            }
            tokio::select! {
                () = tokio::time::sleep(self.hub.interval) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        let farewell = Message { body: json!({ "name": self.ad.name }), headers: Vec::new() };
        if let Err(e) = self.post("unregister", farewell).await {
            tracing::info!("GhostHub at {}: not unregistered: {e}", self.hub.url);
        }
    }

    async fn register(&self) -> Result<(), String> {
        let address = match &self.hub.advertised_url {
            Some(url) => {
                url.trim_end_matches('/').split_once("://").map_or(url.as_str(), |(_, rest)| rest).to_owned()
            }
            None => format!("{}:{}", bracketed(local_address(&self.hub.url)?), self.ad.port),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let reply = self.post("register", self.message(&address, now, &nonce)).await?;
        match reply.get("registered").and_then(Value::as_bool) {
            Some(true) => Ok(()),
            _ => Err("it did not take the registration".into()),
        }
    }

    fn message(&self, address: &str, now: u64, nonce: &str) -> Message {
        let ad = &self.ad;
        let mut body = json!({
            "address": address,
            "name": ad.name,
            "version": env!("CARGO_PKG_VERSION"),
            "hw_accels": ad.hw_accels,
            "video_codecs": ad.video_codecs,
            "audio_codecs": ad.audio_codecs,
            "max_jobs": ad.max_jobs,
        });
        let mut headers = Vec::new();
        if let Some(identity) = self.hub.identity.as_ref().map(|signer| signer()) {
            let scheme = self
                .hub
                .advertised_url
                .as_deref()
                .and_then(|u| u.split_once("://"))
                .map_or("http", |(s, _)| s);
            body["callback_url"] = json!(format!("{scheme}://{address}"));
            body["server_id"] = json!(identity.node_id);
            body["node_id"] = json!(identity.node_id);
            body["timestamp"] = json!(now);
            body["nonce"] = json!(nonce);
            let signature = sign(&identity.secret, &body);
            body["signature"] = json!(signature);
            headers = vec![
                ("X-GhostStream-Node-Id", identity.node_id.clone()),
                ("X-GhostStream-Registration-Signature", signature),
                ("X-GhostStream-Registration-Timestamp", now.to_string()),
                ("X-GhostStream-Registration-Nonce", nonce.into()),
            ];
        }
        if let Some(secret) = &self.hub.shared_secret {
            headers.push(("X-GhostStream-Registration-Secret", secret.clone()));
        }
        Message { body, headers }
    }

    async fn post(&self, action: &str, message: Message) -> Result<Value, String> {
        let url = format!("{}/api/ghoststream/servers/{action}", self.hub.url);
        let sent = tokio::task::spawn_blocking(move || -> Result<Value, ureq::Error> {
            let agent: ureq::Agent =
                ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).build().into();
            let mut request = agent.post(&url);
            for (name, value) in &message.headers {
                request = request.header(*name, value);
            }
            request.send_json(&message.body)?.body_mut().with_config().limit(65_536).read_json()
        });
        sent.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }
}

/// HMAC-SHA256 over the message with sorted keys and without blanks, in URL-safe base64 without padding. `serde_json`'s
/// objects are sorted.
fn sign(secret: &[u8], body: &Value) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret)
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(ascii(&body.to_string()).as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// JSON with everything beyond ASCII escaped, as the hub's own serializer writes it.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            c if c.is_ascii() => out.push(c),
            c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(a) => a.to_string(),
        IpAddr::V6(a) => format!("[{a}]"),
    }
}

/// The address of the interface that leads to the hub. Connecting a UDP socket sends nothing.
fn local_address(hub: &str) -> Result<IpAddr, String> {
    let rest = hub.split_once("://").map_or(hub, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let target = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let find = || -> std::io::Result<IpAddr> {
        for wildcard in ["0.0.0.0:0", "[::]:0"] {
            let socket = UdpSocket::bind(wildcard)?;
            if socket.connect(&target).is_ok() {
                return Ok(socket.local_addr()?.ip());
            }
        }
        Err(std::io::Error::other("no interface leads there"))
    };
    find().map_err(|e| format!("{target}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(identity: Option<Signer>) -> Registration {
        let hub = Hub {
            url: "http://127.0.0.1:5000/".into(),
            interval: Duration::from_secs(60),
            advertised_url: None,
            identity,
            shared_secret: None,
        };
        let ad = Advertisement {
            name: "Wohnzimmer ü".into(),
            port: 8765,
            max_jobs: 2,
            ..Advertisement::default()
        };
        Registration::new(hub, ad)
    }

    #[test]
    fn an_unsigned_message_has_the_first_generations_fields() {
        let message = registration(None).message("10.0.0.2:8765", 1, "n");
        let fields: Vec<_> = message.body.as_object().expect("an object").keys().cloned().collect();
        let expected =
            ["address", "audio_codecs", "hw_accels", "max_jobs", "name", "version", "video_codecs"];
        assert_eq!(fields, expected);
        assert!(message.headers.is_empty());
    }

    #[test]
    fn the_signature_is_what_a_hub_computes() {
        // python3: base64.urlsafe_b64encode(hmac.new(b"key", json.dumps({"a": "ü", "b": [1, True]}, sort_keys=True,
        // separators=(",", ":")).encode(), "sha256").digest()).rstrip(b"=")
        let signature = sign(b"key", &json!({ "b": [1, true], "a": "ü" }));
        assert_eq!(signature, "6WL5EMTA2BV64x2CuyuQpczJ_jiRDWUgIm9DtQsTW28");
    }

    #[test]
    fn a_signed_message_carries_its_signature_twice() {
        let secret = Arc::new(std::sync::Mutex::new(b"key".to_vec()));
        let held = Arc::clone(&secret);
        let identity: Signer = Arc::new(move || Identity {
            node_id: "node".into(),
            secret: held.lock().expect("held by nobody else").clone(),
        });
        let registration = registration(Some(identity));
        let signed = || {
            let message = registration.message("10.0.0.2:8765", 7, "n");
            let mut unsigned = message.body.clone();
            let signature = unsigned.as_object_mut().expect("an object").remove("signature").expect("signed");
            (message, unsigned, signature)
        };
        let (message, unsigned, signature) = signed();
        assert_eq!(signature, json!(sign(b"key", &unsigned)));
        assert!(
            message
                .headers
                .iter()
                .any(|(name, value)| name.ends_with("-Signature") && json!(value) == signature)
        );
        assert_eq!(message.body["callback_url"], "http://10.0.0.2:8765");
        *secret.lock().expect("held by nobody else") = b"next".to_vec();
        let (_, unsigned, signature) = signed();
        assert_eq!(signature, json!(sign(b"next", &unsigned)), "the secret was replaced");
    }

    #[test]
    fn the_way_to_the_hub_gives_the_address() {
        assert_eq!(local_address("http://127.0.0.1:5000"), Ok([127, 0, 0, 1].into()));
        assert_eq!(local_address("http://user@127.0.0.1"), Ok([127, 0, 0, 1].into()));
        assert!(local_address("http://no such host").is_err());
    }
}
