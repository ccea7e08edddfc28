//! From an offer to an `Rtc` and its answer.

use super::fit::rtp_name;
use super::handshake;
use super::offer::{Kind, Line, Offer, without_loopback};
use ghoststream::packet::Codec;
use ghoststream::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::bwe::Bitrate;
use str0m::change::SdpOffer;
use str0m::format::{Codec as RtpCodec, PayloadParams};
use str0m::media::{Mid, Pt};
use str0m::{Candidate, IceCreds, Rtc, RtcConfig};

/// `profile-level-id`s of H.264 that are taken, in the order in which they are preferred for a viewer whose own profile is not
/// among them. All with packetization mode 1, the only one that large pictures fit into.
const H264: [u32; 5] = [0x64_00_1f, 0x64_0c_1f, 0x4d_00_1f, 0x42_e0_1f, 0x42_00_1f];
/// Payload types for them, and for what is sent again; the client's own numbers replace them.
const H264_TYPES: [(u8, u8); 5] = [(114, 115), (39, 40), (123, 119), (108, 109), (127, 121)];

/// Video frames that a publisher's gaps may hold up, and for how long.
const REORDER: (usize, Duration) = (60, Duration::from_millis(500));
/// Packets that are kept for viewers who ask for them again: half a second of 40 Mbit/s.
const AGAIN: usize = 2500;
/// For how long.
const KEPT: Duration = Duration::from_secs(3);
/// How much of what goes to a viewer within a second may be sent again. str0m's own limit, 0.15, is passed by a key frame whose packets
/// overtook each other on their way, and then what is really lost does not come for a second either.
const MOST_AGAIN: f32 = 0.5;

/// What all sessions have in common.
///
/// # Errors
/// [`ErrorKind::Internal`] when there is no certificate.
pub fn config() -> Result<RtcConfig> {
    let provider = handshake::provider();
    let certificate = provider.dtls_provider.generate_certificate();
    let certificate =
        certificate.ok_or_else(|| Error::new(ErrorKind::Internal, "WebRTC: no certificate can be made"))?;
    Ok(RtcConfig::new()
        .set_crypto_provider(Arc::new(provider))
        .set_dtls_cert(certificate)
        .set_ice_lite(true)
        .set_stats_interval(Some(Duration::from_secs(1)))
        .set_reordering_size_video(REORDER.0)
        .set_reordering_timeout_video(Some(REORDER.1))
        .set_reordering_timeout_audio(Some(Duration::from_millis(200))))
}

/// The codecs of a session.
#[derive(Clone, Debug, Default)]
pub struct Codecs {
    /// Of pictures.
    pub video: Vec<Codec>,
}

impl Codecs {
    /// What publishers may send.
    pub fn all() -> Codecs {
        Codecs { video: vec![Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1] }
    }

    fn apply(&self, config: RtcConfig) -> RtcConfig {
        let has = |codec: &Codec| self.video.contains(codec);
        let mut config = config
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(has(&Codec::Vp8))
            .enable_vp9(has(&Codec::Vp9))
            .enable_av1(has(&Codec::Av1));
        if has(&Codec::H264) {
            for (profile, (pt, again)) in H264.into_iter().zip(H264_TYPES) {
                config.codec_config().add_h264(pt.into(), Some(again.into()), true, profile);
            }
        }
        config
    }
}

/// What was agreed on.
#[derive(Debug)]
pub struct Agreed {
    /// The session.
    pub rtc: Rtc,
    /// The answer, as text.
    pub answer: String,
    /// The ICE user name on our side.
    pub user: String,
    /// The line of pictures.
    pub video: Option<Media>,
    /// The line of sound.
    pub audio: Option<Media>,
}

/// A negotiated media line.
#[derive(Clone, Debug)]
pub struct Media {
    /// Its name.
    pub mid: Mid,
    /// What both sides have.
    pub params: Vec<PayloadParams>,
    /// Whether several layers come.
    pub simulcast: bool,
}

impl Media {
    /// The payload type for `codec`; of H.264 the one that is closest to `profile`.
    pub fn payload(&self, codec: &Codec, profile: Option<u8>) -> Option<Pt> {
        let name = rtp_codec(codec)?;
        let fits = self.params.iter().filter(|p| p.spec().codec == name);
        let rank = |p: &&PayloadParams| {
            let id = p.spec().format.profile_level_id.unwrap_or(0);
            let own = profile.is_some_and(|own| u32::from(own) == id >> 16);
            let place = H264.iter().position(|known| known >> 8 == id >> 8).unwrap_or(H264.len());
            (!own, place)
        };
        fits.min_by_key(rank).map(PayloadParams::pt)
    }
}

/// Why there is no agreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disagreed {
    /// The offer is none.
    Malformed(String),
    /// There is no codec in common.
    Codecs(String),
}

/// Accepts an offer; with `estimate`, a first guess in bits per second, it is found out what the way to the client bears. str0m's reading of a hostile offer may end in a panic: call it in a task of its own.
///
/// # Errors
/// [`Disagreed`].
pub fn accept(
    config: &RtcConfig,
    offer: &Offer,
    codecs: &Codecs,
    candidates: &[SocketAddr],
    estimate: Option<u64>,
    now: Instant,
) -> std::result::Result<Agreed, Disagreed> {
    let malformed = |e: String| Disagreed::Malformed(e);
    let creds = IceCreds::new();
    let user = creds.ufrag.clone();
    let parsed = SdpOffer::from_sdp_string(&offer.negotiated()).map_err(|e| malformed(e.to_string()))?;
    // A client that tells nothing of what comes would be held to the first guess for ever.
    let estimate = estimate.filter(|_| offer.tells_of_packets()).map(Bitrate::bps);
    let config = codecs.apply(config.clone()).set_local_ice_credentials(creds).enable_bwe(estimate);
    let mut rtc = config.build(now);
    for address in candidates {
        let candidate = Candidate::host(*address, "udp").map_err(|e| malformed(e.to_string()))?;
        rtc.add_local_candidate(candidate);
    }
    let answer = rtc.sdp_api().accept_offer(parsed).map_err(|e| malformed(e.to_string()))?;
    let find = |kind: Kind| offer.line(kind).and_then(|line| media(&rtc, line));
    let (video, audio) = (find(Kind::Video), find(Kind::Audio));
    if let Some(video) = &video
        && let Some(stream) = rtc.direct_api().stream_tx_by_mid(video.mid, None)
    {
        stream.set_rtx_cache(AGAIN, KEPT, Some(MOST_AGAIN));
    }
    let agreed = Agreed { answer: without_loopback(&answer.to_sdp_string()), video, audio, user, rtc };
    for (kind, media, wanted) in [
        (Kind::Video, &agreed.video, codecs.video.as_slice()),
        (Kind::Audio, &agreed.audio, std::slice::from_ref(&Codec::Opus)),
    ] {
        if let Some(line) = offer.line(kind)
            && media.as_ref().is_none_or(|m| m.params.is_empty())
        {
            let names: Vec<&str> = wanted.iter().filter_map(rtp_name).collect();
            let what = if kind == Kind::Video { "video" } else { "audio" };
            return Err(Disagreed::Codecs(format!(
                "no codec in common for {what}: here {}, offered {}",
                names.join(", "),
                line.codecs.join(", ")
            )));
        }
    }
    Ok(agreed)
}

/// What became of a line.
fn media(rtc: &Rtc, line: &Line) -> Option<Media> {
    let mid = Mid::from(line.mid.as_deref()?);
    let known = rtc.media(mid)?.remote_pts();
    let params = rtc.codec_config().params();
    let params = params.iter().filter(|p| known.contains(&p.pt())).copied().collect();
    Some(Media { mid, params, simulcast: line.layers > 1 })
}

fn rtp_codec(codec: &Codec) -> Option<RtpCodec> {
    match codec {
        Codec::H264 => Some(RtpCodec::H264),
        Codec::Vp8 => Some(RtpCodec::Vp8),
        Codec::Vp9 => Some(RtpCodec::Vp9),
        Codec::Av1 => Some(RtpCodec::Av1),
        Codec::Opus => Some(RtpCodec::Opus),
        _ => None,
    }
}
