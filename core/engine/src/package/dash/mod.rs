//! DASH manifests (ISO/IEC 23009-1, live profile): a model of what an origin needs and its XML. Segments are those of
//! the HLS playlists, addressed by `SegmentTemplate` with a `SegmentTimeline`.

mod model;
mod xml;

pub use model::{
    AdaptationSet, Chunks, Content, Dynamic, Manifest, Period, Presentation, Representation, SegmentTemplate,
    Source, TimelineEntry, UtcTiming,
};

use crate::time::Rational;
use std::fmt;
use xml::{Tag, Xml};

/// The scheme of clocks that are fetched as ISO 8601 times.
const HTTP_ISO: &str = "urn:mpeg:dash:utc:http-iso:2014";

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut xml = Xml::new();
        xml.element("MPD", |t| self.attributes(t), |x| self.body(x));
        f.write_str(&xml.into_string())
    }
}

/// An `xs:duration` of microseconds.
fn duration(micros: i64) -> String {
    let micros = micros.max(0);
    format!("PT{}.{:06}S", micros / 1_000_000, micros % 1_000_000)
}

fn frame_rate(rate: Rational) -> String {
    let rate = rate.reduced();
    if rate.den == 1 { rate.num.to_string() } else { rate.to_string() }
}

impl Manifest {
    fn attributes(&self, t: &mut Tag) {
        t.set("xmlns", "urn:mpeg:dash:schema:mpd:2011");
        let low_latency =
            matches!(self.presentation, Presentation::Dynamic(Dynamic { target_latency: Some(_), .. }));
        t.set(
            "profiles",
            match low_latency {
                true => {
                    "urn:mpeg:dash:profile:isoff-live:2011,http://www.dashif.org/guidelines/low-latency-live-v5"
                }
                false => "urn:mpeg:dash:profile:isoff-live:2011",
            },
        );
        match &self.presentation {
            Presentation::Static { duration: total } => {
                t.set("type", "static").set("mediaPresentationDuration", duration(total.micros()));
            }
            Presentation::Dynamic(d) => {
                let date = crate::package::hls::date_time;
                t.set("type", "dynamic").set("availabilityStartTime", date(d.availability_start));
                t.set("publishTime", date(d.publish));
                t.maybe("minimumUpdatePeriod", d.minimum_update_period.map(duration));
                t.maybe("timeShiftBufferDepth", d.time_shift_buffer_depth.map(duration));
                t.maybe("suggestedPresentationDelay", d.suggested_presentation_delay.map(duration));
            }
        }
        t.set("minBufferTime", duration(self.min_buffer.micros()));
        t.maybe("maxSegmentDuration", self.max_segment.map(|d| duration(d.micros())));
    }

    fn body(&self, x: &mut Xml) {
        if let Presentation::Dynamic(Dynamic { target_latency: Some(target), .. }) = self.presentation {
            x.element(
                "ServiceDescription",
                |t| {
                    t.set("id", 0);
                },
                |x| {
                    x.empty("Latency", |t| {
                        t.set("target", target / 1000).set("referenceId", 0);
                    });
                    x.empty("PlaybackRate", |t| {
                        t.set("min", "0.96").set("max", "1.04");
                    });
                },
            );
        }
        for period in &self.periods {
            let attributes = |t: &mut Tag| {
                t.set("id", &period.id).set("start", duration(period.start.micros()));
                t.maybe("duration", period.duration.map(|d| duration(d.micros())));
            };
            x.element("Period", attributes, |x| {
                for (i, set) in period.adaptation_sets.iter().enumerate() {
                    write_set(x, i, set);
                }
            });
        }
        if let Presentation::Dynamic(d) = &self.presentation {
            for timing in &d.utc_timing {
                let (scheme, value) = match timing {
                    UtcTiming::HttpIso(url) => (HTTP_ISO, url.clone()),
                    UtcTiming::HttpHead(url) => ("urn:mpeg:dash:utc:http-head:2014", url.clone()),
                    UtcTiming::Direct(micros) => {
                        ("urn:mpeg:dash:utc:direct:2014", crate::package::hls::date_time(*micros))
                    }
                };
                x.empty("UTCTiming", |t| {
                    t.set("schemeIdUri", scheme).set("value", value);
                });
            }
        }
    }
}

fn write_set(x: &mut Xml, index: usize, set: &AdaptationSet) {
    let widest = |f: fn(&Representation) -> Option<u32>| set.representations.iter().filter_map(f).max();
    let attributes = |t: &mut Tag| {
        t.set("id", index);
        t.set(
            "contentType",
            match set.content {
                Content::Video => "video",
                Content::Audio => "audio",
                Content::Text => "text",
            },
        );
        t.maybe("lang", set.language.as_deref());
        if set.content != Content::Text {
            t.set("segmentAlignment", true);
            let all = set.representations.iter().all(|r| r.independent);
            t.maybe("startWithSAP", (all && !set.representations.is_empty()).then_some(1));
        }
        if set.content == Content::Video {
            t.maybe("maxWidth", widest(|r| r.width)).maybe("maxHeight", widest(|r| r.height));
            let rates = set.representations.iter().filter_map(|r| r.frame_rate);
            let highest = rates.max_by(|a, b| a.as_f64().total_cmp(&b.as_f64()));
            t.maybe("maxFrameRate", highest.map(frame_rate));
        }
    };
    x.element("AdaptationSet", attributes, |x| {
        if let Some(main) = set.trick_mode_of {
            x.empty("EssentialProperty", |t| {
                t.set("schemeIdUri", "http://dashif.org/guidelines/trickmode").set("value", main);
            });
        }
        let colours = if set.content == Content::Video { set.colours() } else { Vec::new() };
        for (scheme, value) in colours {
            let name = if set.colour_matters { "EssentialProperty" } else { "SupplementalProperty" };
            x.empty(name, |t| {
                t.set("schemeIdUri", scheme).set("value", value);
            });
        }
        for (scheme, value) in &set.accessibility {
            x.empty("Accessibility", |t| {
                t.set("schemeIdUri", scheme).set("value", value);
            });
        }
        for role in &set.roles {
            x.empty("Role", |t| {
                t.set("schemeIdUri", "urn:mpeg:dash:role:2011").set("value", role);
            });
        }
        if let Some(label) = &set.label {
            x.text("Label", |_| {}, label);
        }
        for representation in &set.representations {
            write_representation(x, set.content, representation);
        }
    });
}

fn write_representation(x: &mut Xml, content: Content, r: &Representation) {
    let attributes = |t: &mut Tag| {
        t.set("id", &r.id);
        t.set(
            "mimeType",
            match (content, &r.source) {
                (Content::Video, _) => "video/mp4",
                (Content::Audio, _) => "audio/mp4",
                (Content::Text, Source::File(_)) => "text/vtt",
                (Content::Text, Source::Template(_) | Source::Regular(..)) => "application/mp4",
            },
        );
        t.maybe("codecs", r.codecs.as_deref()).set("bandwidth", r.bandwidth);
        t.maybe("width", r.width).maybe("height", r.height);
        t.maybe("frameRate", r.frame_rate.map(frame_rate));
        t.maybe("sar", r.sample_aspect.map(|s| format!("{}:{}", s.num, s.den)));
        t.maybe("audioSamplingRate", r.sampling_rate);
        if r.trick_mode {
            t.set("codingDependency", false);
        }
    };
    x.element("Representation", attributes, |x| {
        if let Some(channels) = r.channels {
            x.empty("AudioChannelConfiguration", |t| {
                t.set("schemeIdUri", "urn:mpeg:dash:23003:3:audio_channel_configuration:2011");
                // MPEG's ChannelConfiguration: the count, but for 6.1 and 7.1.
                let configuration = match channels {
                    7 => 11,
                    8 => 12,
                    n => n,
                };
                t.set("value", configuration);
            });
        }
        if let Some(chunks) = &r.chunks {
            write_chunks(x, chunks);
        }
        match &r.source {
            Source::File(url) => x.text("BaseURL", |_| {}, url),
            Source::Template(template) => write_template(x, template, None),
            Source::Regular(template, duration) => write_template(x, template, Some(*duration)),
        }
    });
}

fn write_chunks(x: &mut Xml, chunks: &Chunks) {
    let reference = |t: &mut Tag| {
        t.set("id", 0).set("type", "encoder").set("inband", true);
        t.set("wallClockTime", crate::package::hls::date_time(chunks.wall));
        t.set("presentationTime", chunks.media);
    };
    x.element("ProducerReferenceTime", reference, |x| {
        x.empty("UTCTiming", |t| {
            t.set("schemeIdUri", HTTP_ISO).set("value", &chunks.clock);
        });
    });
    // Type 0: a chunk need not begin with a key frame.
    x.empty("Resync", |t| {
        t.set("type", 0).set("dT", chunks.every);
    });
}

fn write_template(x: &mut Xml, s: &SegmentTemplate, duration: Option<u64>) {
    let attributes = |t: &mut Tag| {
        t.set("timescale", s.timescale).set("initialization", &s.initialization).set("media", &s.media);
        t.set("startNumber", s.start_number);
        t.maybe("endNumber", s.end_number);
        if s.presentation_time_offset > 0 {
            t.set("presentationTimeOffset", s.presentation_time_offset);
        }
        if let Some(offset) = s.availability_time_offset {
            t.set("availabilityTimeOffset", format!("{}.{:06}", offset / 1_000_000, offset % 1_000_000));
            t.set("availabilityTimeComplete", false);
        }
        t.maybe("duration", duration);
    };
    if duration.is_some() {
        return x.empty("SegmentTemplate", attributes);
    }
    x.element("SegmentTemplate", attributes, |x| {
        x.element(
            "SegmentTimeline",
            |_| {},
            |x| {
                let mut expected = None;
                let mut i = 0;
                while let Some(entry) = s.timeline.get(i) {
                    // Entries of one length that follow each other become one.
                    let run = s.timeline[i..]
                        .iter()
                        .enumerate()
                        .take_while(|(n, e)| {
                            e.duration == entry.duration
                                && e.start == entry.start + *n as u64 * entry.duration
                        })
                        .count();
                    x.empty("S", |t| {
                        t.maybe("t", (expected != Some(entry.start)).then_some(entry.start));
                        t.set("d", entry.duration);
                        t.maybe("r", (run > 1).then(|| run - 1));
                    });
                    expected = Some(entry.start + run as u64 * entry.duration);
                    i += run;
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Colour;
    use crate::time::Timestamp;

    const MS: Rational = Rational::new(1, 1000);

    fn template(timeline: Vec<TimelineEntry>) -> SegmentTemplate {
        SegmentTemplate {
            timescale: 1000,
            initialization: "v0/init.mp4".into(),
            media: "v0/$Number$.m4s".into(),
            start_number: 0,
            end_number: None,
            presentation_time_offset: 0,
            timeline,
            availability_time_offset: None,
        }
    }

    #[test]
    fn golden_static() {
        let entry = |start, duration| TimelineEntry { start, duration };
        let mut video = Representation::new(
            "v0",
            1_000_000,
            Source::Template(template(vec![
                entry(0, 2000),
                entry(2000, 2000),
                entry(4000, 500),
                entry(5000, 500),
            ])),
        );
        (video.codecs, video.width, video.height) = (Some("avc1.64001f".into()), Some(1280), Some(720));
        (video.frame_rate, video.sample_aspect) = (Some(Rational::new(25, 1)), Some(Rational::new(1, 1)));
        video.independent = true;
        let mut set = AdaptationSet::new(Content::Video);
        set.representations.push(video);
        let mut text = AdaptationSet::new(Content::Text);
        (text.language, text.roles) = (Some("de".into()), vec!["subtitle".into()]);
        text.representations.push(Representation::new("s0", 256, Source::File("s&0.vtt".into())));
        let manifest = Manifest {
            presentation: Presentation::Static { duration: Timestamp::new(5500, MS) },
            min_buffer: Timestamp::new(2000, MS),
            max_segment: Some(Timestamp::new(2000, MS)),
            periods: vec![Period {
                id: "0".into(),
                start: Timestamp::new(0, MS),
                duration: None,
                adaptation_sets: vec![set, text],
            }],
        };
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="static" mediaPresentationDuration="PT5.500000S" minBufferTime="PT2.000000S" maxSegmentDuration="PT2.000000S">
  <Period id="0" start="PT0.000000S">
    <AdaptationSet id="0" contentType="video" segmentAlignment="true" startWithSAP="1" maxWidth="1280" maxHeight="720" maxFrameRate="25">
      <Representation id="v0" mimeType="video/mp4" codecs="avc1.64001f" bandwidth="1000000" width="1280" height="720" frameRate="25" sar="1:1">
        <SegmentTemplate timescale="1000" initialization="v0/init.mp4" media="v0/$Number$.m4s" startNumber="0">
          <SegmentTimeline>
            <S t="0" d="2000" r="1"/>
            <S d="500"/>
            <S t="5000" d="500"/>
          </SegmentTimeline>
        </SegmentTemplate>
      </Representation>
    </AdaptationSet>
    <AdaptationSet id="1" contentType="text" lang="de">
      <Role schemeIdUri="urn:mpeg:dash:role:2011" value="subtitle"/>
      <Representation id="s0" mimeType="text/vtt" bandwidth="256">
        <BaseURL>s&amp;0.vtt</BaseURL>
      </Representation>
    </AdaptationSet>
  </Period>
</MPD>
"#;
        assert_eq!(manifest.to_string(), expected);
    }

    #[test]
    fn only_what_begins_with_key_frames_says_so() {
        let said = |independent: &[bool], end_number| {
            let mut set = AdaptationSet::new(Content::Video);
            for independent in independent {
                let source = Source::Regular(SegmentTemplate { end_number, ..template(Vec::new()) }, 2000);
                let representation = Representation::new("v", 1, source);
                set.representations.push(Representation { independent: *independent, ..representation });
            }
            let mut xml = Xml::new();
            write_set(&mut xml, 0, &set);
            xml.into_string()
        };
        assert!(said(&[true, true], None).contains(" segmentAlignment=\"true\" startWithSAP=\"1\">"));
        // One that does not is enough: a player may go to any of them.
        for set in [&[true, false][..], &[false], &[]] {
            let text = said(set, None);
            assert!(!text.contains("startWithSAP") && text.contains("segmentAlignment"), "{text}");
        }
        // The last number of what is over.
        assert!(!said(&[true], None).contains("endNumber"));
        let text = said(&[true], Some(3));
        assert!(text.contains(" startNumber=\"0\" endNumber=\"3\" duration=\"2000\"/>"), "{text}");
    }

    /// What the sets of pictures say of their colours.
    fn said(colours: &[Colour]) -> Vec<String> {
        let representation = |(n, colour): (usize, &Colour)| {
            let source = Source::Template(template(Vec::new()));
            Representation { colour: *colour, ..Representation::new(format!("v{n}"), 1, source) }
        };
        let sets = AdaptationSet::ladder(colours.iter().enumerate().map(representation));
        let text = |set: &AdaptationSet| {
            let mut xml = Xml::new();
            write_set(&mut xml, 0, set);
            let text = xml.into_string();
            let lines = text.lines().filter(|l| l.contains("Property") || l.contains("<Representation "));
            let part = |line: &str, name: &str| {
                line.split_once(&format!("{name}=\""))
                    .and_then(|(_, rest)| rest.split('"').next().map(str::to_owned))
            };
            let short = lines.map(|line| match part(line, "schemeIdUri") {
                Some(scheme) => format!(
                    "{} {} {}",
                    &line.trim()[1..6],
                    scheme.strip_prefix("urn:mpeg:mpegB:cicp:").unwrap(),
                    part(line, "value").unwrap()
                ),
                None => part(line, "id").unwrap(),
            });
            short.collect::<Vec<_>>().join(", ")
        };
        sets.iter().map(text).collect()
    }

    #[test]
    fn colours_other_than_the_usual_are_said() {
        let of = |primaries, transfer, matrix| Colour { primaries, transfer, matrix, ..Colour::BT709 };
        let (pq, hlg) = (of(9, 16, 9), of(9, 18, 9));
        let (plain, unsaid) = (Colour::BT709, Colour::default());
        assert_eq!(said(&[plain, unsaid]), ["v0, v1"]);
        let hdr =
            "Suppl ColourPrimaries 9, Suppl TransferCharacteristics 16, Suppl MatrixCoefficients 9, v0, v1";
        assert_eq!(said(&[pq, pq]), [hdr]);
        assert_eq!(said(&[hlg]), [hdr.replace("16", "18").replace(", v1", "")]);
        // With another set there, who does not understand it leaves it alone.
        let both = said(&[pq, plain, pq, hlg]);
        assert_eq!(both[0], hdr.replace("Suppl", "Essen").replace("v1", "v2"));
        assert_eq!((&both[1][..], both.len()), ("v1", 3));
        assert!(both[2].contains("Essen TransferCharacteristics 18"), "{both:?}");
        let old = "Suppl ColourPrimaries 6, Suppl TransferCharacteristics 6, Suppl MatrixCoefficients 6, v0";
        assert_eq!(said(&[Colour::BT601]), [old]);
        // What only some say is not said of all, and nothing is made up.
        assert_eq!(said(&[of(9, 1, 2), unsaid]), ["v0, v1"]);
        let full = Colour { range: crate::frame::ColourRange::Full, ..plain };
        assert_eq!(said(&[full]), ["Suppl VideoFullRangeFlag 1, v0"]);
        assert_eq!(said(&[of(2, 16, 2)]), ["Suppl TransferCharacteristics 16, v0"]);
    }

    #[test]
    fn dynamic_manifests_say_when() {
        let mut low = template(vec![TimelineEntry { start: 0, duration: 2000 }]);
        low.availability_time_offset = Some(1_666_666);
        let mut set = AdaptationSet::new(Content::Audio);
        set.representations.push(Representation::new("a", 1, Source::Template(low.clone())));
        let mut regular = Representation::new("b", 1, Source::Regular(low, 2000));
        regular.chunks = Some(Chunks { every: 200, media: 4000, wall: 4_000_000, clock: "clock".into() });
        set.representations.push(regular);
        let manifest = Manifest {
            presentation: Presentation::Dynamic(Dynamic {
                availability_start: 0,
                publish: 1_000_000,
                minimum_update_period: Some(2_000_000),
                time_shift_buffer_depth: Some(60_000_000),
                suggested_presentation_delay: None,
                target_latency: Some(1_500_000),
                utc_timing: vec![UtcTiming::HttpIso("/time?a&b".into())],
            }),
            min_buffer: Timestamp::new(1, MS),
            max_segment: None,
            periods: vec![Period {
                id: "live".into(),
                start: Timestamp::new(0, MS),
                duration: None,
                adaptation_sets: vec![set],
            }],
        };
        let text = manifest.to_string();
        for part in [
            "type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:00:00.000Z\"",
            "publishTime=\"1970-01-01T00:00:01.000Z\" minimumUpdatePeriod=\"PT2.000000S\"",
            "timeShiftBufferDepth=\"PT60.000000S\"",
            "isoff-live:2011,http://www.dashif.org/guidelines/low-latency-live-v5",
            "inband=\"true\" wallClockTime=\"1970-01-01T00:00:04.000Z\" presentationTime=\"4000\">",
            "<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"clock\"/>",
            "<Resync type=\"0\" dT=\"200\"/>",
            "availabilityTimeComplete=\"false\" duration=\"2000\"/>",
            "<Latency target=\"1500\" referenceId=\"0\"/>",
            "availabilityTimeOffset=\"1.666666\" availabilityTimeComplete=\"false\"",
            "<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"/time?a&amp;b\"/>",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
