use super::*;

fn refused(json: &str) -> String {
    let e = PipelineSpec::from_json(json).expect_err(json);
    assert_eq!(e.kind(), ErrorKind::Invalid);
    e.message().to_string()
}

#[test]
fn a_minimal_document_passes() {
    let spec =
        PipelineSpec::from_json(r#"{"source":{"url":"in.mkv"},"outputs":[{"path":"out.mp4"}]}"#).unwrap();
    assert!(spec.fallback && spec.outputs[0].faststart && spec.source.reconnect);
    let again = PipelineSpec::from_json(&serde_json::to_string(&spec).unwrap()).unwrap();
    assert_eq!(format!("{spec:?}"), format!("{again:?}"), "a document survives a round trip");
}

#[test]
fn errors_begin_with_the_path_of_the_field() {
    for (json, path) in [
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4","video":{"bitrate":"x"}}]}"#,
            "outputs[0].video.bitrate: ",
        ),
        (r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4","video":{"bitrat":1}}]}"#, "outputs[0].video"),
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4","audio":[{"channels":0}]}]}"#,
            "outputs[0].audio[0].channels: ",
        ),
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4","audio":[{"all":true,"stream":1}]}]}"#,
            "outputs[0].audio[0].all: ",
        ),
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4","video":{"crf":1,"qp":3}}]}"#,
            "outputs[0].video.qp: ",
        ),
        (r#"{"source":{"url":"a"},"outputs":[]}"#, "outputs: "),
        (r#"{"source":{},"outputs":[{"path":"o.mp4"}]}"#, "source: "),
        (r#"{"source":{"url":"a"},"outputs":[{"path":"o.xyz"}]}"#, "outputs[0].format: "),
        (r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4","ladder":"auto"}]}"#, "outputs[0].ladder: "),
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o/","format":"hls","ladder":[{"crf":"x"}]}]}"#,
            "outputs[0].ladder[0].crf: ",
        ),
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o/","format":"hls","metadata":{"title":"x"}}]}"#,
            "outputs[0].metadata: ",
        ),
        (r#"{"source":{"url":"a"},"outputs":[{"packets":{},"options":{"x":"y"}}]}"#, "outputs[0].options: "),
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4","video":{"hdr":{}}}]}"#,
            "outputs[0].video.hdr: ",
        ),
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4","video":{"hdr":{"max_cll":10,"max_fall":20}}}]}"#,
            "outputs[0].video.hdr.max_fall: ",
        ),
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4","video":{"hdr":{"mastering_display":{
                "red":[0.7,0.4],"green":[0.3,0.6],"blue":[0.15,0.06],"white":[0.3127,0.329],
                "min_luminance":0,"max_luminance":1000}}}}]}"#,
            "outputs[0].video.hdr.mastering_display.red: ",
        ),
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4","video":{"codec":"copy","hdr":{"max_cll":9}}}]}"#,
            "outputs[0].video.hdr: ",
        ),
        (
            r#"{"source":{"frames":{"video":{"width":2,"height":2,"format":"p010le","frame_rate":25,
                "hdr":{"max_cll":9}}}},"outputs":[{"path":"o.mp4"}]}"#,
            "source.frames.video.hdr: ",
        ),
        (r#"{"source":{"url":"a","timeout":-1},"outputs":[{"path":"o.mp4"}]}"#, "source.timeout: "),
        // What nothing would come of.
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4","video":{"codec":"copy","device":"cuda"}}]}"#,
            "outputs[0].video.device: ",
        ),
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4","video":{"codec":"copy","threads":2}}]}"#,
            "outputs[0].video.threads: ",
        ),
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4","video":{"codec":"copy","scaler":"lanczos"}}]}"#,
            "outputs[0].video.scaler: ",
        ),
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o/","format":"hls","video":false,"ladder":"auto"}]}"#,
            "outputs[0].video: ",
        ),
        (
            r#"{"source":{"url":"a"},"outputs":[{"path":"o/","format":"hls","video":{"codec":"copy"},"ladder":"auto"}]}"#,
            "outputs[0].video.codec: ",
        ),
        (r#"{"source":{"pattern":{},"salvage":true},"outputs":[{"path":"o.mp4"}]}"#, "source.salvage: "),
        (
            r#"{"source":{"pattern":{},"hosts":{"allowed":["a.b"]}},"outputs":[{"path":"o.mp4"}]}"#,
            "source.hosts: ",
        ),
        (
            r#"{"source":{"bytes":{},"hosts":{"allowed":["a.b"]}},"outputs":[{"path":"o.mp4"}]}"#,
            "source.hosts: needs source.url: ",
        ),
        (
            r#"{"source":{"bytes":{},"protocols":["rtmp"]},"outputs":[{"path":"o.mp4"}]}"#,
            "source.protocols: needs source.url: ",
        ),
        (
            r#"{"source":{"pattern":{},"protocols":["rtmp"]},"outputs":[{"path":"o.mp4"}]}"#,
            "source.protocols: ",
        ),
        (
            r#"{"source":{"pattern":{},"decode":{"device":"cuda"}},"outputs":[{"path":"o.mp4"}]}"#,
            "source.decode.device: ",
        ),
        (
            r#"{"source":{"pattern":{},"decode":{"threads":3}},"outputs":[{"path":"o.mp4"}]}"#,
            "source.decode.threads: ",
        ),
        (
            r#"{"source":{"pattern":{},"decode":{"keys":true}},"outputs":[{"path":"o.mp4"}]}"#,
            "source.decode.keys: ",
        ),
        (r#"{"source":{"screen":{},"salvage":true},"outputs":[{"path":"o.mp4"}]}"#, "source.salvage: "),
    ] {
        let message = refused(json);
        assert!(message.starts_with(path), "{message}");
    }
}

#[test]
fn unknown_keys_are_named() {
    assert!(refused(r#"{"source":{"url":"a","ulr":1},"outputs":[{"path":"o.mp4"}]}"#).contains("ulr"));
    assert!(
        refused(r#"{"source":{"url":"a"},"outputs":[{"path":"o.mp4"}]} x"#).contains("after the document")
    );
}

#[test]
fn a_document_that_breaks_off_is_no_field_of_that_name() {
    for (json, begin) in [
        ("", "EOF "),
        ("{", "EOF "),
        ("{\"source\":{", "source: EOF "),
        ("{\"sou", "EOF "),
        ("x", "expected "),
    ] {
        let message = refused(json);
        assert!(message.starts_with(begin), "{json}: {message}");
    }
}

#[test]
fn the_schema_is_valid_json_and_names_every_part() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    for name in ["SourceSpec", "OutputSpec", "VideoSpec", "AudioSpec", "FilterSpec"] {
        assert!(schema["$defs"][name].is_object(), "{name}");
    }
}
