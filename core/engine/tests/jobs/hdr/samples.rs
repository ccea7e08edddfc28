//! HDR samples, made here: x265 writes HDR10, what no free encoder writes is put in by hand.

use super::super::support::{Dir, ffmpeg};

/// 320x180 HEVC, 10 bits, PQ, 12 frames without B-frames. With mastering display (P3, 0.0001 to 1000 cd/m²) and light
/// levels (1000, 400), or (`static_metadata` false) with neither.
pub fn hdr10(dir: &Dir, name: &str, static_metadata: bool) -> String {
    let path = dir.path(name);
    let metadata = match static_metadata {
        true => {
            "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400:"
        }
        false => "",
    };
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=0.48 -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -tag:v hvc1 \
         -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -color_range tv -x265-params \
         {metadata}colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=limited:bframes=0:keyint=12:\
         log-level=none {path}"
    ));
    path
}

/// Bits, most significant first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, count: u32, value: u64) -> &mut Self {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let byte =
            |bits: &[bool]| bits.iter().enumerate().fold(0, |b, (i, bit)| b | u8::from(*bit) << (7 - i));
        self.0.chunks(8).map(byte).collect()
    }
}

/// An SEI NAL unit with the dynamic metadata of one window (SMPTE ST 2094-40, CTA-861-H annex S).
fn hdr10_plus_sei() -> Vec<u8> {
    let mut bits = Bits::default();
    // Rec. ITU-T T.35: United States, Samsung, SMPTE 2094-40, application 4 version 1.
    bits.put(8, 0xb5).put(16, 0x003c).put(16, 1).put(8, 4).put(8, 1);
    bits.put(2, 1).put(27, 400).put(1, 0);
    bits.put(17, 10_000).put(17, 20_000).put(17, 30_000).put(17, 5_000);
    bits.put(4, 2).put(7, 1).put(17, 100).put(7, 99).put(17, 9_000);
    bits.put(10, 50).put(1, 0).put(1, 0).put(1, 0);
    let payload = bits.bytes();
    let mut sei = vec![4, payload.len() as u8];
    sei.extend(payload);
    sei.push(0x80);
    // A prefix SEI of HEVC; three-byte patterns that look like a start code get an emulation prevention byte.
    let mut nal = vec![0, 0, 0, 1, 39 << 1, 1];
    let mut zeros = 0;
    for byte in sei {
        if zeros >= 2 && byte <= 3 {
            nal.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        nal.push(byte);
    }
    nal
}

/// As [`hdr10`], with HDR10+ in front of every picture.
pub fn hdr10_plus(dir: &Dir, name: &str) -> String {
    let bare = std::fs::read(hdr10(dir, "bare.hevc", true)).unwrap();
    let mut stream = Vec::new();
    let mut at = 0;
    while at < bare.len() {
        let next = (at + 3..bare.len()).find(|i| bare[*i..].starts_with(&[0, 0, 1])).unwrap_or(bare.len());
        // The zero byte of a four-byte start code belongs to the NAL unit that follows it.
        let next = if next < bare.len() && bare[next - 1] == 0 { next - 1 } else { next };
        let nal = &bare[at..next];
        let header = nal.iter().position(|b| *b == 1).unwrap() + 1;
        let (kind, first_slice) = (nal[header] >> 1 & 0x3f, nal[header + 2] & 0x80 != 0);
        if kind < 32 && first_slice {
            stream.extend(hdr10_plus_sei());
        }
        stream.extend(nal);
        at = next;
    }
    let raw = dir.path("plus.hevc");
    std::fs::write(&raw, stream).unwrap();
    let path = dir.path(name);
    ffmpeg(&format!("-framerate 25 -f hevc -i {raw} -c copy -tag:v hvc1 {path}"));
    path
}

/// As [`hdr10`], as MP4 with the configuration record of a Dolby Vision profile. There are no RPUs: this is about what
/// the container says.
pub fn dolby_vision(dir: &Dir, name: &str, profile: u8, compatibility: u8) -> String {
    let path = dir.path(name);
    let mut file = std::fs::read(hdr10(dir, "base.mp4", true)).unwrap();
    let mut bits = Bits::default();
    bits.put(16, 0x0100).put(7, profile.into()).put(6, 3).put(1, 1).put(1, 0).put(1, 1);
    bits.put(4, compatibility.into()).put(28, 0).put(64, 0).put(64, 0);
    let kind = if profile > 7 { b"dvvC" } else { b"dvcC" };
    let mut record = 32u32.to_be_bytes().to_vec();
    record.extend(kind);
    record.extend(bits.bytes());
    assert_eq!(record.len(), 32);
    // `moov` is behind `mdat`, so no offset changes.
    let mut parents = Vec::new();
    let (mut from, mut to) = (0, file.len());
    for (name, header) in
        [("moov", 8), ("trak", 8), ("mdia", 8), ("minf", 8), ("stbl", 8), ("stsd", 16), ("hvc1", 86)]
    {
        let at = find(&file, from, to, name);
        to = at + size(&file, at);
        from = at + header;
        parents.push(at);
    }
    for at in parents {
        let grown = (size(&file, at) + record.len()) as u32;
        file[at..at + 4].copy_from_slice(&grown.to_be_bytes());
    }
    file.splice(to..to, record);
    std::fs::write(&path, file).unwrap();
    path
}

fn size(file: &[u8], at: usize) -> usize {
    u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize
}

/// Where the first box of this name begins among those from `from` to `to`.
fn find(file: &[u8], from: usize, to: usize, name: &str) -> usize {
    let mut at = from;
    while at < to {
        if &file[at + 4..at + 8] == name.as_bytes() {
            return at;
        }
        at += size(file, at).max(8);
    }
    panic!("no {name}");
}
