//! Pictures that are shown turned or mirrored: in every way that a matrix of a quarter's turns can say.

use crate::support::*;
use serde_json::json;

/// The upper left of a display matrix and FFmpeg's filters that do what it says.
const WAYS: [([i32; 4], &str); 8] = [
    ([1, 0, 0, 1], "null"),
    ([0, 1, -1, 0], "transpose=clock"),
    ([-1, 0, 0, -1], "hflip,vflip"),
    ([0, -1, 1, 0], "transpose=cclock"),
    ([-1, 0, 0, 1], "hflip"),
    ([0, -1, -1, 0], "transpose=clock_flip"),
    ([1, 0, 0, -1], "vflip"),
    ([0, 1, 1, 0], "transpose=cclock_flip"),
];

/// A copy of an MP4 file with this matrix; FFmpeg's own ways to say it changed with 6.
fn with_matrix(plain: &str, path: &str, [a, b, c, d]: [i32; 4]) {
    let mut data = std::fs::read(plain).unwrap();
    let at = data.windows(4).position(|w| w == b"tkhd").unwrap() + 44;
    for (i, value) in [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30].iter().enumerate() {
        data[at + i * 4..][..4].copy_from_slice(&value.to_be_bytes());
    }
    std::fs::write(path, data).unwrap();
}

/// The upper left of a file's display matrix, as ffprobe reads it.
fn matrix(path: &str) -> [i32; 4] {
    let streams = probe(path);
    let side = video(&streams)["side_data_list"].as_array().cloned().unwrap_or_default();
    let Some(text) = side.iter().find_map(|s| s["displaymatrix"].as_str()) else { return [1, 0, 0, 1] };
    // Lines of a number, a colon and three numbers.
    let rows: Vec<i32> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(_, row)| row.split_whitespace().map(|v| v.parse::<i32>().unwrap()))
        .collect();
    [0, 1, 3, 4].map(|i| (f64::from(rows[i]) / 65536.0).round() as i32)
}

/// PSNR of `path` as FFmpeg shows it (`shown`) or as it lies in the file, against `plain` after FFmpeg's `filters`.
fn psnr_of(path: &str, shown: bool, plain: &str, filters: &str) -> f64 {
    let graph = format!("[0:v]setpts=N/TB[a];[1:v]{filters},setpts=N/TB[b];[a][b]psnr=shortest=1");
    let inputs = ["-noautorotate", "-i", path, "-i", plain];
    psnr_by(if shown { &inputs[1..] } else { &inputs }, &graph)
}

#[test]
fn pictures_are_turned_and_mirrored_as_ffmpeg_does() {
    use ghoststream::Container;
    let dir = Dir::new();
    let plain = dir.path("plain.mp4");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=10:d=0.5 -c:v libx264 -crf 12 -pix_fmt yuv420p {plain}"
    ));
    let encoded = json!({"codec": "h264", "preset": "p1", "crf": 12});
    let mut lying = encoded.clone();
    lying["auto_rotate"] = json!(false);
    let copy = json!({"codec": "copy"});
    for (way, filters) in WAYS {
        let dir = Dir::new();
        let input = dir.path("in.mp4");
        let [made, kept, mkv, copied] =
            ["made.mp4", "kept.mp4", "kept.mkv", "copied.mov"].map(|n| dir.path(n));
        let [hls, copies] = ["kept", "copies"].map(|n| dir.path(n));
        with_matrix(&plain, &input, way);
        let outputs = [
            json!({"path": made, "video": encoded}),
            json!({"path": kept, "video": lying}),
            json!({"path": mkv, "video": lying}),
            json!({"path": copied, "video": copy}),
            json!({"path": hls, "format": "hls", "video": lying}),
            json!({"path": copies, "format": "hls", "video": copy}),
        ];
        complete(json!({"source": {"url": input}, "outputs": outputs}));
        let like = |path: &str, shown: bool, filters: &str| {
            let psnr = psnr_of(path, shown, &plain, filters);
            assert!(psnr > 34.0, "{path}, shown: {shown}: {psnr} dB from {filters}");
        };
        assert_eq!(matrix(&made), [1, 0, 0, 1], "{filters}");
        like(&made, false, filters);
        let first = |folder: &str| {
            let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
            found.retain(|path| path.join("init.mp4").exists());
            found[0].join("init.mp4").to_string_lossy().into_owned()
        };
        for path in [&kept, &copied, &first(&hls), &first(&copies)] {
            assert_eq!(matrix(path), way, "{path}: {filters}");
        }
        if Container::Mkv.keeps_rotation() {
            assert_eq!(matrix(&mkv), way, "{filters}");
        }
        for path in [&kept, &copied] {
            like(path, false, "null");
            like(path, true, filters);
        }
    }
}
