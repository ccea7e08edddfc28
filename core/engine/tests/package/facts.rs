//! What init segments say, against what FFmpeg's own muxer writes and what its demuxer reads.

use crate::media::{make, read, run};
use ghoststream::frame::{Colour, ColourRange, ContentLight, DolbyVision, HdrMetadata, MasteringDisplay};
use ghoststream::package::{Track, cmaf};
use ghoststream::time::Rational;
use std::path::Path;

/// The first box of type `kind`, header included, wherever it is.
fn find_box<'a>(data: &'a [u8], kind: &[u8; 4]) -> &'a [u8] {
    let at = data.windows(4).position(|w| w == kind).unwrap_or_else(|| panic!("no {kind:?}")) - 4;
    let size = u32::from_be_bytes(data[at..at + 4].try_into().unwrap()) as usize;
    &data[at..at + size]
}

fn init_of(dir: &Path, name: &str, args: &str) -> (Vec<u8>, Vec<u8>, Track) {
    let path = dir.join(name);
    make(&path, args);
    let (streams, packets) = read(&path);
    let track = Track::new(&streams[0], packets.first()).unwrap();
    (std::fs::read(&path).unwrap(), cmaf::init_segment(&track).unwrap().to_vec(), track)
}

#[test]
fn codec_records_are_those_of_ffmpeg() {
    let dir = tempfile::tempdir().unwrap();
    let video = "-f lavfi -i testsrc2=s=128x96:r=25:d=0.4 -pix_fmt yuv420p \
        -vf setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv";
    let audio = "-f lavfi -i anoisesrc=r=48000:d=0.4";
    let cases: [(&str, &[u8; 4], String); 9] = [
        ("a.mp4", b"avcC", format!("{video} -c:v libx264")),
        ("b.mp4", b"avcC", format!("{video} -c:v libx264 -profile:v baseline")),
        ("c.mp4", b"av1C", format!("{video} -c:v libsvtav1 -preset 12")),
        ("d.mp4", b"vpcC", format!("{video} -c:v libvpx-vp9 -deadline realtime")),
        ("e.mp4", b"dOps", format!("{audio} -ac 6 -c:a libopus -mapping_family 1")),
        ("f.mp4", b"dOps", format!("{audio} -ac 2 -c:a libopus")),
        ("g.mp4", b"dfLa", format!("{audio} -c:a flac -strict -2")),
        ("h.mp4", b"dac3", format!("{audio} -ac 6 -c:a ac3")),
        ("i.mp4", b"dec3", format!("{audio} -ac 6 -c:a eac3 -b:a 256k")),
    ];
    for (name, kind, args) in &cases {
        let (theirs, ours, _) = init_of(dir.path(), name, args);
        let kind_name = String::from_utf8_lossy(*kind);
        assert_eq!(find_box(&theirs, kind), find_box(&ours, kind), "{name}: {kind_name}");
    }
    // FFmpeg keeps the encoder's SEI in the arrays; everything in front of them must agree.
    let (theirs, ours, _) = init_of(
        dir.path(),
        "j.mp4",
        &format!("{video} -c:v libx265 -x265-params log-level=none -tag:v hvc1"),
    );
    let (theirs, ours) = (find_box(&theirs, b"hvcC"), find_box(&ours, b"hvcC"));
    assert_eq!(theirs[8..21], ours[8..21], "hvcC: profile, tier, level");
    assert_eq!(theirs[24..29], ours[24..29], "hvcC: chroma, depth");
    let (theirs, ours, _) = init_of(dir.path(), "k.mp4", &format!("{audio} -c:a aac"));
    let specific = |data: &[u8]| {
        let esds = find_box(data, b"esds");
        let at = esds.iter().rposition(|b| *b == 5).unwrap();
        esds[at..at + 8].to_vec()
    };
    assert_eq!(specific(&theirs), specific(&ours));
}

#[test]
fn ffprobe_reads_colour_hdr_aspect_rotation_and_language() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    make(
        &path,
        "-f lavfi -i testsrc2=s=128x96:r=25:d=0.4 -pix_fmt yuv420p10le -c:v libx265 -x265-params log-level=none",
    );
    let (mut streams, packets) = read(&path);
    streams[0].language = Some("deu".into());
    let video = streams[0].video.as_mut().unwrap();
    video.colour =
        Colour { primaries: 9, transfer: 16, matrix: 9, range: ColourRange::Limited, ..Colour::BT709 };
    video.sample_aspect = Rational::new(4, 3);
    video.rotation = 90.0;
    video.hdr = HdrMetadata {
        mastering: Some(MasteringDisplay {
            primaries: [[0.708, 0.292], [0.17, 0.797], [0.131, 0.046]],
            white: [0.3127, 0.329],
            min_luminance: 0.005,
            max_luminance: 1000.0,
        }),
        content_light: Some(ContentLight { max_content: 1000, max_average: 400 }),
        dolby_vision: Some(DolbyVision {
            profile: 8,
            level: 4,
            rpu: true,
            enhancement_layer: false,
            base_layer: true,
            compatibility: 1,
        }),
        hdr10_plus: false,
    };
    let mut track = Track::new(&streams[0], packets.first()).unwrap();
    assert_eq!(track.supplemental_codecs().unwrap(), "dvh1.08.04/db1p");
    assert!(track.codecs().starts_with("hvc1.2.4."));
    let out = dir.path().join("init.mp4");
    let init = cmaf::init_segment(&track).unwrap();
    // ffprobe shows the bitstream's colour, which is unknown here.
    assert_eq!(find_box(&init, b"colr")[8..], *b"nclx\0\x09\0\x10\0\x09\0");
    std::fs::write(&out, &init).unwrap();
    let args = ["-v", "error", "-show_streams", "-of", "flat", out.to_str().unwrap()];
    let text = run("ffprobe", &args);
    for wanted in [
        "codec_tag_string=\"hvc1\"",
        "sample_aspect_ratio=\"4:3\"",
        "color_range=\"tv\"",
        "language=\"deu\"",
        "rotation=-90",
        "red_x=\"35400/50000\"",
        "blue_y=\"2300/50000\"",
        "min_luminance=\"50/10000\"",
        "max_luminance=\"10000000/10000\"",
        "max_content=1000",
        "max_average=400",
        "dv_profile=8",
        "dv_level=4",
        "rpu_present_flag=1",
        "dv_bl_signal_compatibility_id=1",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    // Profile 5 plays on nothing else, and says so.
    let hdr = &mut track.info.video.as_mut().unwrap().hdr;
    hdr.dolby_vision = hdr.dolby_vision.map(|dv| DolbyVision { profile: 5, compatibility: 0, ..dv });
    assert_eq!((track.codecs().as_str(), track.supplemental_codecs()), ("dvh1.05.04", None));
    find_box(&cmaf::init_segment(&track).unwrap(), b"dvh1");
}
