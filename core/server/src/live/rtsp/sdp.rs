//! The tracks that a publisher announces (SDP, RFC 8866), as far as they are needed to read its RTP.

use super::depacketize::Format;
use super::pictures::Coding;
use ghoststream::package::bitstream::aac;

/// The most tracks.
const TRACKS: usize = 16;

/// A track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// What SETUP calls it.
    pub control: String,
    /// Ticks of its RTP clock per second.
    pub clock: u32,
    /// How it is read; `None` for what is not carried here.
    pub format: Option<Format>,
    /// What it is called in SDP, for the log.
    pub name: String,
}

/// Reads a description.
///
/// # Errors
/// What is wrong with it.
pub fn read(text: &str) -> Result<Vec<Announced>, String> {
    let mut tracks: Vec<Announced> = Vec::new();
    let mut media: Option<Media> = None;
    for line in text.lines() {
        let Some((kind, value)) = line.trim_end().split_once('=') else { continue };
        match (kind, &mut media) {
            ("m", _) => {
                tracks.extend(media.take().map(Media::finish).transpose()?);
                if tracks.len() == TRACKS {
                    return Err(format!("more than {TRACKS} tracks"));
                }
                let mut words = value.split(' ').skip(3);
                let payload = words.next().and_then(|w| w.parse().ok());
                let payload = payload.ok_or("m=: no payload type")?;
                media = Some(Media { payload, ..Media::default() });
            }
            ("a", Some(media)) => media.attribute(value),
            _ => {}
        }
    }
    tracks.extend(media.map(Media::finish).transpose()?);
    if tracks.is_empty() { Err("no tracks".into()) } else { Ok(tracks) }
}

#[derive(Default)]
struct Media {
    payload: u8,
    control: String,
    map: String,
    parameters: Vec<(String, String)>,
}

impl Media {
    fn attribute(&mut self, value: &str) {
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        // Of several payload types the first is the one that is sent.
        let ours = || {
            let (payload, rest) = value.split_once(' ')?;
            (payload.parse() == Ok(self.payload)).then(|| rest.trim().to_string())
        };
        match name {
            "control" => self.control = value.into(),
            "rtpmap" => self.map = ours().unwrap_or(std::mem::take(&mut self.map)),
            "fmtp" => {
                for pair in ours().unwrap_or_default().split(';').take(64) {
                    let (name, value) = pair.trim().split_once('=').unwrap_or((pair.trim(), ""));
                    self.parameters.push((name.to_ascii_lowercase(), value.into()));
                }
            }
            _ => {}
        }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn finish(self) -> Result<Announced, String> {
        let mut words = self.map.split('/');
        let name = words.next().unwrap_or_default().to_ascii_uppercase();
        let clock = words.next().and_then(|w| w.parse::<u32>().ok()).filter(|c| (1..=1 << 24).contains(c));
        let sets = |names: &[&str]| -> Vec<Vec<u8>> {
            let values = names.iter().filter_map(|n| self.parameter(n)).flat_map(|v| v.split(','));
            values.filter_map(base64).filter(|set| !set.is_empty()).collect()
        };
        let format = match name.as_str() {
            "H264" => match self.parameter("packetization-mode") {
                Some("2") => return Err("H264: packetization-mode 2 is not understood".into()),
                _ => Some(Format::H264 { sets: sets(&["sprop-parameter-sets"]) }),
            },
            "H265" => {
                if self.parameter("sprop-max-don-diff").is_some_and(|d| d != "0") {
                    return Err("H265: units in another order are not understood".into());
                }
                Some(Format::H265 { sets: sets(&["sprop-vps", "sprop-sps", "sprop-pps"]) })
            }
            "MPEG4-GENERIC" => {
                let number =
                    |name: &str| self.parameter(name).and_then(|v| v.parse::<u32>().ok()).unwrap_or(0);
                let config = self.parameter("config").and_then(hex).unwrap_or_default();
                let read = aac::Config::parse(&config).map_err(|e| format!("mpeg4-generic: config: {e}"))?;
                let bits = (number("sizelength"), number("indexlength"), number("indexdeltalength"));
                if !(1..=16).contains(&bits.0) || bits.1 > 16 || bits.2 > 16 {
                    return Err("mpeg4-generic: sizelength, indexlength: AAC-hbr or AAC-lbr is needed".into());
                }
                Some(Format::Aac { config, samples: read.output_samples().max(1), bits: Some(bits) })
            }
            "MP4A-LATM" if self.parameter("cpresent") == Some("0") => {
                let config = self.parameter("config").and_then(hex).and_then(|c| latm(&c));
                let config = config.ok_or("MP4A-LATM: config: one program with one layer is needed")?;
                let read = aac::Config::parse(&config).map_err(|e| format!("MP4A-LATM: config: {e}"))?;
                Some(Format::Aac { config, samples: read.output_samples().max(1), bits: None })
            }
            "OPUS" => Some(Format::Opus),
            "VP8" => Some(Format::Pictures(Coding::Vp8)),
            "VP9" => Some(Format::Pictures(Coding::Vp9)),
            "AV1" => Some(Format::Pictures(Coding::Av1)),
            _ => None,
        };
        let clock = match (clock, &format) {
            (Some(clock), _) => clock,
            (None, Some(_)) => return Err(format!("{name}: no clock")),
            (None, None) => 90_000,
        };
        let name = if name.is_empty() { format!("payload type {}", self.payload) } else { name };
        Ok(Announced { control: self.control, clock, format, name })
    }
}

/// The AudioSpecificConfig in a StreamMuxConfig (ISO/IEC 14496-3, 1.7.3) of one program with one layer and one frame each time.
fn latm(config: &[u8]) -> Option<Vec<u8>> {
    if config.len() < 4 || config[0] != 0x40 || config[1] & 0xfe != 0 {
        return None;
    }
    let mut found: Vec<u8> = config[1..].windows(2).map(|pair| pair[0] << 7 | pair[1] >> 1).collect();
    // Of a plain one nothing comes behind its two bytes.
    if !matches!(found[0] >> 3, 5 | 29 | 31) && (found[0] & 7) << 1 | found[1] >> 7 != 15 {
        found.truncate(2);
    }
    Some(found)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|d| d.len() % 2 == 0 && d.len() <= 512)?;
    Some(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for byte in text.trim().trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ffmpeg_announces_is_read() {
        let text = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=tool:libavformat\r\n\
            m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
            a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAFdkBQfsBEAAAAwAQAAADA8DxYuSA,aMuDyyA=; profile-level-id=42C015\r\n\
            a=control:streamid=0\r\n\
            m=audio 0 RTP/AVP 97\r\nb=AS:64\r\na=rtpmap:97 MPEG4-GENERIC/48000/1\r\n\
            a=fmtp:97 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=118856E500\r\n\
            a=control:streamid=1\r\nm=audio 0 RTP/AVP 0\r\na=control:streamid=2\r\n";
        let tracks = read(text).unwrap();
        let Some(Format::H264 { sets }) = &tracks[0].format else { panic!("{tracks:?}") };
        assert_eq!(sets.iter().map(|s| s[0] & 31).collect::<Vec<_>>(), [7, 8]);
        assert_eq!((tracks[0].clock, tracks[0].control.as_str()), (90_000, "streamid=0"));
        let Some(Format::Aac { config, samples: 1024, bits: Some((13, 3, 3)) }) = &tracks[1].format else {
            panic!("{tracks:?}")
        };
        assert_eq!((config[..2].to_vec(), tracks[1].clock), (vec![0x11, 0x88], 48_000));
        assert_eq!((&tracks[2].format, tracks[2].name.as_str()), (&None, "payload type 0"));
    }

    #[test]
    fn pictures_that_need_no_parameters_are_read() {
        for (name, coding) in [("VP8", Coding::Vp8), ("vp9", Coding::Vp9), ("AV1", Coding::Av1)] {
            let text = format!("m=video 0 RTP/AVP 96\na=rtpmap:96 {name}/90000\na=fmtp:96 profile-id=0\n");
            assert_eq!(read(&text).unwrap()[0].format, Some(Format::Pictures(coding)), "{name}");
        }
    }

    #[test]
    fn what_gstreamer_announces_of_aac_is_read() {
        let text = "m=audio 0 RTP/AVP 96\r\na=rtpmap:96 MP4A-LATM/48000\r\na=fmtp:96 cpresent=0;config=400023103fc0\r\n";
        let Some(Format::Aac { config, bits: None, .. }) = &read(text).unwrap()[0].format else { panic!() };
        assert_eq!(config[..], [0x11, 0x88]);
        assert_eq!(read(&text.replace("cpresent=0", "cpresent=1")).unwrap()[0].format, None);
        assert!(read(&text.replace("40002310", "80002310")).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let audio =
            |fmtp: &str| format!("m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/48000\na=fmtp:97 {fmtp}");
        for text in [
            "".to_string(),
            "v=0".into(),
            "m=video".into(),
            "m=video 0 RTP/AVP 96\na=rtpmap:96 H264".into(),
            "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=2".into(),
            audio("sizelength=13"),
            audio("sizelength=13;config=zz"),
            audio("sizelength=40;config=1190"),
            "m=audio 0 RTP/AVP 97\na=rtpmap:97 opus/48000/2\n".repeat(17),
        ] {
            assert!(read(&text).is_err(), "{text}");
        }
    }
}
