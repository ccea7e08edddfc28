//! The initialisation segment of a CMAF track: `ftyp` and `moov`.

use super::boxes::Boxes;
use super::track::{Config, Track};
use crate::error::{Error, Result};
use crate::frame::{ColourRange, HdrMetadata};
use crate::packet::MediaKind;
use crate::time::Rational;

/// Unity matrix of `tkhd` and `mvhd`.
const UNITY: [i32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// Writes the init segment of `track`.
pub(super) fn write(track: &Track) -> Result<Vec<u8>> {
    let kind = track.info.kind;
    if !matches!(kind, MediaKind::Video | MediaKind::Audio | MediaKind::Subtitle) {
        return Err(Error::unsupported(format!("fMP4: {} track", kind.name())));
    }
    let mut b = Boxes::default();
    b.container(b"ftyp", |b| {
        b.bytes(b"iso6").u32(0).bytes(b"iso6cmfcdashmp41");
        match track.config {
            Config::H264(_) => b.bytes(b"avc1"),
            // CMAF's own name for a track of WebVTT.
            Config::WebVtt => b.bytes(b"cwvt"),
            _ => b,
        };
    });
    b.container(b"moov", |b| {
        b.full(b"mvhd", 0, 0, |b| {
            b.u32(0).u32(0).u32(track.timescale).u32(0);
            b.u32(0x1_0000).u16(0x100).zeros(10);
            UNITY.iter().for_each(|v| {
                b.i32(*v);
            });
            b.zeros(24).u32(2);
        });
        b.container(b"trak", |b| trak(b, track));
        b.container(b"mvex", |b| {
            b.full(b"trex", 0, 0, |b| {
                b.u32(1).u32(1).u32(0).u32(0).u32(0);
            });
        });
    });
    Ok(b.into_bytes())
}

fn trak(b: &mut Boxes, track: &Track) {
    let kind = track.info.kind;
    b.full(b"tkhd", 0, 3, |b| {
        b.u32(0).u32(0).u32(1).u32(0).u32(0).zeros(8).u16(0).u16(0);
        b.u16(if kind == MediaKind::Audio { 0x100 } else { 0 }).u16(0);
        matrix(track).iter().for_each(|v| {
            b.i32(*v);
        });
        let (width, height) = display_size(track);
        b.u32(width << 16).u32(height << 16);
    });
    if track.priming > 0 {
        b.container(b"edts", |b| {
            b.full(b"elst", 1, 0, |b| {
                // Duration 0: the edit lasts as long as the fragments do.
                b.u32(1).u64(0).u64(u64::from(track.priming)).u16(1).u16(0);
            });
        });
    }
    b.container(b"mdia", |b| {
        b.full(b"mdhd", 0, 0, |b| {
            b.u32(0).u32(0).u32(track.timescale).u32(0);
            b.u16(language(track.info.language.as_deref())).u16(0);
        });
        b.full(b"hdlr", 0, 0, |b| {
            let (handler, name): (&[u8; 4], &[u8]) = match kind {
                MediaKind::Video => (b"vide", b"video\0"),
                MediaKind::Audio => (b"soun", b"audio\0"),
                _ => (b"text", b"text\0"),
            };
            b.u32(0).bytes(handler).zeros(12).bytes(name);
        });
        b.container(b"minf", |b| {
            match kind {
                MediaKind::Video => b.full(b"vmhd", 0, 1, |b| {
                    b.zeros(8);
                }),
                MediaKind::Audio => b.full(b"smhd", 0, 0, |b| {
                    b.zeros(4);
                }),
                _ => b.full(b"nmhd", 0, 0, |_| {}),
            };
            b.container(b"dinf", |b| {
                b.full(b"dref", 0, 0, |b| {
                    b.u32(1).full(b"url ", 0, 1, |_| {});
                });
            });
            b.container(b"stbl", |b| {
                b.full(b"stsd", 0, 0, |b| {
                    b.u32(1);
                    sample_entry(b, track);
                });
                for name in [b"stts", b"stsc", b"stco"] {
                    b.full(name, 0, 0, |b| {
                        b.u32(0);
                    });
                }
                b.full(b"stsz", 0, 0, |b| {
                    b.u32(0).u32(0);
                });
            });
        });
    });
}

/// The display matrix: rotation by a multiple of 90 degrees, clockwise, once the picture is mirrored if it is to be.
fn matrix(track: &Track) -> [i32; 9] {
    const ONE: i32 = 0x1_0000;
    let (w, h) = display_size(track);
    let (w, h) = ((w as i32).saturating_mul(ONE), (h as i32).saturating_mul(ONE));
    let rotation = track.video().map_or(0.0, |v| v.rotation).rem_euclid(360.0).round() as i32;
    let (mut m, mut tx, mut ty) = match rotation {
        90 => ([0, ONE, -ONE, 0], h, 0),
        180 => ([-ONE, 0, 0, -ONE], w, h),
        270 => ([0, -ONE, ONE, 0], 0, w),
        _ => ([ONE, 0, 0, ONE], 0, 0),
    };
    if track.video().is_some_and(|v| v.mirrored) {
        (tx, ty) = (tx + m[0].signum() * w, ty + m[1].signum() * w);
        (m[0], m[1]) = (-m[0], -m[1]);
    }
    [m[0], m[1], 0, m[2], m[3], 0, tx, ty, 0x4000_0000]
}

/// Width and height of the picture in square pixels (`tkhd` holds 16 bits of them).
fn display_size(track: &Track) -> (u32, u32) {
    let aspect = track.sample_aspect();
    let wide = u64::from(track.width) * aspect.num as u64 / aspect.den.max(1) as u64;
    (wide.min(0xffff) as u32, track.height.min(0xffff))
}

/// ISO 639-2 code in 15 bits; `und` when it is not a three-letter code.
fn language(code: Option<&str>) -> u16 {
    let code = code.map(str::as_bytes).filter(|c| c.len() == 3 && c.iter().all(u8::is_ascii_lowercase));
    code.unwrap_or(b"und").iter().fold(0, |packed, c| packed << 5 | u16::from(c - 0x60))
}

fn sample_entry(b: &mut Boxes, track: &Track) {
    let vision = track.dolby_vision_only().is_some();
    match &track.config {
        Config::H264(c) => visual(b, track, b"avc1", |b| {
            b.container(b"avcC", |b| {
                b.bytes(&c.to_avcc());
            });
        }),
        Config::Hevc(c) => visual(b, track, if vision { b"dvh1" } else { b"hvc1" }, |b| {
            b.container(b"hvcC", |b| {
                b.bytes(&c.to_hvcc());
            });
        }),
        Config::Av1(c) => visual(b, track, if vision { b"dav1" } else { b"av01" }, |b| {
            b.container(b"av1C", |b| {
                b.bytes(&c.to_av1c());
            });
        }),
        Config::Vp9(c) => visual(b, track, b"vp09", |b| {
            b.container(b"vpcC", |b| {
                b.bytes(&c.to_vpcc(track.colour));
            });
        }),
        Config::Aac(c) => audio(b, track, b"mp4a", 16, |b| esds(b, track, 0x40, Some(&c.bytes))),
        Config::Mp3(c) => {
            let object_type = if c.mpeg1 { 0x6b } else { 0x69 };
            audio(b, track, b"mp4a", 16, |b| esds(b, track, object_type, None));
        }
        Config::Opus(c) => audio(b, track, b"Opus", 16, |b| {
            b.container(b"dOps", |b| {
                b.bytes(&c.to_dops());
            });
        }),
        Config::Flac(c) => audio(b, track, b"fLaC", u16::from(c.bits), |b| {
            b.container(b"dfLa", |b| {
                b.bytes(&c.to_dfla());
            });
        }),
        Config::Ac3(c) => {
            let (entry, record) = if c.enhanced { (b"ec-3", b"dec3") } else { (b"ac-3", b"dac3") };
            audio(b, track, entry, 16, |b| {
                b.container(record, |b| {
                    b.bytes(&c.to_record());
                });
            });
        }
        Config::WebVtt => {
            b.container(b"wvtt", |b| {
                b.zeros(6).u16(1).container(b"vttC", |b| {
                    b.bytes(b"WEBVTT");
                });
            });
        }
    }
}

fn visual(b: &mut Boxes, track: &Track, entry: &[u8; 4], config: impl FnOnce(&mut Boxes)) {
    b.container(entry, |b| {
        b.zeros(6).u16(1).zeros(16);
        b.u16(track.width.min(0xffff) as u16).u16(track.height.min(0xffff) as u16);
        b.u32(0x48_0000).u32(0x48_0000).u32(0).u16(1).zeros(32).u16(0x18).u16(0xffff);
        config(b);
        let colour = track.colour;
        if [colour.primaries, colour.transfer, colour.matrix] != [2, 2, 2] {
            b.container(b"colr", |b| {
                b.bytes(b"nclx").u16(colour.primaries.into()).u16(colour.transfer.into());
                b.u16(colour.matrix.into()).u8(u8::from(colour.range == ColourRange::Full) << 7);
            });
        }
        let aspect = track.sample_aspect();
        if aspect != Rational::new(1, 1) {
            b.container(b"pasp", |b| {
                b.u32(aspect.num as u32).u32(aspect.den as u32);
            });
        }
        if let Some(video) = track.video() {
            hdr(b, &video.hdr);
        }
        bit_rate(b, track);
    });
}

fn hdr(b: &mut Boxes, hdr: &HdrMetadata) {
    if let Some(mastering) = &hdr.mastering {
        b.container(b"mdcv", |b| {
            // The box wants green, blue, red.
            let [red, green, blue] = mastering.primaries;
            for point in [green, blue, red, mastering.white] {
                for value in point {
                    b.u16((value * 50_000.0).round().clamp(0.0, 65535.0) as u16);
                }
            }
            for value in [mastering.max_luminance, mastering.min_luminance] {
                b.u32((value * 10_000.0).round().clamp(0.0, f64::from(u32::MAX)) as u32);
            }
        });
    }
    if let Some(light) = hdr.content_light {
        b.container(b"clli", |b| {
            b.u16(light.max_content.min(0xffff) as u16).u16(light.max_average.min(0xffff) as u16);
        });
    }
    if let Some(dv) = hdr.dolby_vision {
        b.container(if dv.profile > 7 { b"dvvC" } else { b"dvcC" }, |b| {
            let flags = u16::from(dv.profile & 0x7f) << 9
                | u16::from(dv.level & 0x3f) << 3
                | u16::from(dv.rpu) << 2
                | u16::from(dv.enhancement_layer) << 1
                | u16::from(dv.base_layer);
            b.u8(1).u8(0).u16(flags).u8(dv.compatibility << 4).zeros(19);
        });
    }
}

fn audio(b: &mut Boxes, track: &Track, entry: &[u8; 4], bits: u16, config: impl FnOnce(&mut Boxes)) {
    b.container(entry, |b| {
        b.zeros(6).u16(1).zeros(8).u16(track.channels.min(0xffff) as u16).u16(bits).zeros(4);
        // 16.16: rates above 65535 Hz do not fit and stand in the codec's own box.
        b.u32(if track.timescale > 0xffff { 0 } else { track.timescale << 16 });
        config(b);
        bit_rate(b, track);
    });
}

fn bit_rate(b: &mut Boxes, track: &Track) {
    if let Some(rate) = track.info.bit_rate {
        let rate = rate.min(u64::from(u32::MAX)) as u32;
        b.container(b"btrt", |b| {
            b.u32(0).u32(rate).u32(rate);
        });
    }
}

fn esds(b: &mut Boxes, track: &Track, object_type: u8, specific: Option<&[u8]>) {
    let rate = track.info.bit_rate.unwrap_or(0).min(u64::from(u32::MAX)) as u32;
    b.full(b"esds", 0, 0, |b| {
        // A descriptor: tag, a length in four bytes of seven bits, payload.
        let descriptor = |tag: u8, payload: Vec<u8>| {
            let n = payload.len() as u32;
            let mut out = vec![tag];
            out.extend([21, 14, 7].map(|shift| (n >> shift) as u8 & 0x7f | 0x80));
            out.push(n as u8 & 0x7f);
            out.extend(payload);
            out
        };
        let mut config = vec![object_type, 0x15, 0, 0, 0];
        config.extend(rate.to_be_bytes());
        config.extend(rate.to_be_bytes());
        if let Some(specific) = specific {
            config.extend(descriptor(5, specific.to_vec()));
        }
        let mut es = vec![0, 1, 0];
        es.extend(descriptor(4, config));
        es.extend(descriptor(6, vec![2]));
        b.bytes(&descriptor(3, es));
    });
}
