//! The threads of decoders: where each decodes, what becomes of the frames behind it, and what goes on when its device fails.

use super::build::{Graph, PACKETS};
use super::chain::{self, Expect};
use super::feed::Route;
use super::input::LEAD_IN;
use super::resolve::{self, Make, Offer};
use super::worker::{self, Chain, Tee};
use crate::decode::failover::{self, Failover, PictureDecoder};
use crate::decode::{AvDecoder, DecodeOptions, KeyFrames};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::{Download, Exact, Rounds, Since, Trim};
use crate::job::shared::Meter;
use crate::packet::{MediaKind, StreamInfo};
use crate::spec::{Device, Window};
use crate::time::{MICROSECONDS, Rational, Timestamp};
use std::sync::Arc;

impl Graph<'_> {
    /// The stages behind a decoder that begins in the middle of the source, and the time before which nothing is wanted.
    fn lead_in(&self, window: &Window, stream: &StreamInfo, chain: &mut Chain) -> Option<Timestamp> {
        let sound = stream.kind == MediaKind::Audio;
        if let Some(start) = stream.start.filter(|_| sound) {
            let start = start.micros().saturating_sub(self.zero.micros());
            chain.push(Box::new(Exact::new(Timestamp::new(start, MICROSECONDS))));
        }
        let first = window.start(window.spec.first).filter(|t| t.micros() > 0)?;
        let filtered = self.resolved.outputs.iter().flat_map(|o| &o.tracks).any(|t| match &t.make {
            Make::Video(v) => !v.spec.filters.is_empty() || v.spec.frame_rate.is_some(),
            _ => false,
        });
        // Some filters make one picture of several; to be cut exactly, pictures go on to the encoder.
        let before = if sound || filtered { LEAD_IN.ticks } else { 50_000 };
        let from = Timestamp::new(first.micros().saturating_sub(before), MICROSECONDS);
        chain.push(Box::new(Since::new(from)));
        Some(from)
    }

    /// Whether pictures are cut at the nearest of them: not where other jobs make the rest of the same, from other places.
    pub(super) fn cuts_by_pictures(&self) -> bool {
        self.window.is_none() && (self.spec.source.start.is_some() || self.spec.source.duration.is_some())
    }

    /// The thread that decodes a stream.
    pub(super) fn decoder(
        &mut self,
        decoder: &resolve::Decoder,
        offer: &Offer,
        end: Option<Timestamp>,
    ) -> Result<()> {
        let index = decoder.stream;
        let stream = offer.streams.iter().find(|s| s.index == index);
        let stream = stream.ok_or_else(|| Error::new(ErrorKind::Internal, "a decoder of no stream"))?;
        let device = decoder.device.map(|kind| self.devices.get(kind)).transpose()?;
        let zero = Timestamp::new(0, Rational::new(1, 1));
        let from = self.heard_from(stream, offer).unwrap_or(zero);
        let mut chain: Chain =
            vec![Box::new(Trim::new(Some(from), end, zero)?.by_pictures(self.cuts_by_pictures()))];
        if stream.kind == MediaKind::Audio && self.spec.source.loops != 0 {
            chain.insert(0, Box::new(Rounds::default()));
        }
        let from = self.window.as_ref().and_then(|window| self.lead_in(window, stream, &mut chain));
        let (threads, keys) = (decoder.threads, self.spec.source.decode.keys);
        let options = DecodeOptions { threads, device, keys, from, damage: Arc::default() };
        let damage = options.damage.clone();
        let mut stage: PictureDecoder = Box::new(AvDecoder::new(stream, &options)?);
        let (tx, rx) = self.link(PACKETS);
        self.routes.entry(index).or_default().push(Route::Decode(tx));
        let mut tee = Tee::new(self.branches.remove(&index).unwrap_or_default());
        let meter = self.shared.meter(format!("decode {index}"));
        if let Some(kind) = decoder.device {
            let label = format!("stream {index}");
            // A device that was not asked for is no promise.
            let fallback = self.spec.fallback || self.spec.source.decode.device == Device::Auto;
            // Nothing may be inside the chain, on a device that is lost, that the decoder takes for safe.
            if fallback && tee.is_host() && self.window.is_none() && self.spec.source.start.is_none() {
                chain.insert(0, Box::new(Download));
            }
            let (shared, meter) = (self.shared.clone(), meter.clone());
            if fallback {
                let label = format!("{label}: {kind}");
                stage = Box::new(self.decode_on(stage, stream, options, label, meter.clone()));
            }
            chain.insert(0, Box::new(Expect { kind, fallback, label, shared, meter }));
        }
        if stream.kind == MediaKind::Video && self.spec.source.decode.key_frames_only {
            stage = Box::new(KeyFrames::new(stage));
        }
        meter.watch(rx.monitor());
        let label = offer.label.clone();
        self.thread(format!("dec{index}"), move |shared| {
            if let Err(e) = worker::decode(shared, &meter, rx, stage, chain, &mut tee) {
                shared.fail(e.context(&label));
            }
            if let Some(said) = damage.said() {
                shared.warn("source", format!("{label}: stream {index}: {said}"));
            }
            meter.count_damaged(damage.count());
        })
    }

    /// `first`, which decodes on a device, with software behind it. `label` says which device, and what it decodes.
    fn decode_on(
        &self,
        first: PictureDecoder,
        stream: &StreamInfo,
        options: DecodeOptions,
        label: String,
        meter: Arc<Meter>,
    ) -> Failover {
        let (shared, stream, lossy) = (self.shared.clone(), stream.clone(), label.clone());
        let (asked, damage) = (self.shared.clone(), options.damage.clone());
        let successor = Box::new(move |failure: &Error| -> Result<PictureDecoder> {
            let _told_by_nobody_else = meter.instead.set(chain::SOFTWARE);
            shared.warn("fallback", format!("{label} no longer decodes ({failure}); decoding in software"));
            Ok(Box::new(AvDecoder::new(&stream, &DecodeOptions { device: None, ..options })?))
        });
        let shared = self.shared.clone();
        let loss = Box::new(move |lost| {
            shared.lose(lost);
            let why = "their group of pictures had more bytes than are kept";
            shared.warn("fallback", format!("{lossy}: {lost} frames were lost with it: {why}"));
        });
        Failover::new(first, failover::KEPT, successor, loss)
            .until(Box::new(move || asked.is_cancelled()))
            .counting(damage)
    }
}
