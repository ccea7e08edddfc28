//! Keys and tokens of a playlist's URL have to reach the segments: players take relative URLs without the query.

/// `playlist` (HLS) with `query` appended to every relative URI.
pub fn hls(playlist: &str, query: &str) -> String {
    let mut out = String::with_capacity(playlist.len() * 2);
    for line in playlist.split_inclusive('\n') {
        let text = line.trim_end_matches(['\r', '\n']);
        let end = &line[text.len()..];
        if text.starts_with("#EXT") {
            out.push_str(&attributes(text, "URI=\"", query, "&"));
        } else if text.is_empty() || text.starts_with('#') {
            out.push_str(text);
        } else {
            out.push_str(&with_query(text, query, "&"));
        }
        out.push_str(end);
    }
    out
}

/// `manifest` (DASH) with `query` appended to every relative URL of templates, lists, initializations, whole files and clocks.
pub fn dash(manifest: &str, query: &str) -> String {
    let query = query.replace('&', "&amp;");
    let mut out = manifest.to_string();
    for name in ["media=\"", "initialization=\"", "sourceURL=\""] {
        out = attributes(&out, name, &query, "&amp;");
    }
    // A clock that is asked over HTTP.
    out = between(&out, "<UTCTiming", ">", |tag| match tag.contains(":http-") {
        true => attributes(tag, "value=\"", &query, "&amp;"),
        false => tag.into(),
    });
    between(&out, "<BaseURL", "</BaseURL>", |inside| match inside.split_once('>') {
        // What is named from a folder on has the query itself.
        Some((head, url)) if !url.trim_end().ends_with('/') => {
            format!("{head}>{}", with_query(url.trim(), &query, "&amp;"))
        }
        _ => inside.into(),
    })
}

/// `text` with what is between every `begin` and the `end` behind it changed.
fn between(text: &str, begin: &str, end: &str, change: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(begin) {
        let inside = at + begin.len();
        let Some(length) = rest[inside..].find(end) else { break };
        out.push_str(&rest[..inside]);
        out.push_str(&change(&rest[inside..inside + length]));
        rest = &rest[inside + length..];
    }
    out.push_str(rest);
    out
}

/// Every `name` + url + `"` of `text`, with the query in the URL.
fn attributes(text: &str, name: &str, query: &str, and: &str) -> String {
    let mut out = String::with_capacity(text.len() + query.len());
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let begin = at + name.len();
        // Part of a longer attribute's name: not ours.
        let whole = at == 0 || !rest.as_bytes()[at - 1].is_ascii_alphanumeric();
        let Some(length) = rest[begin..].find('"') else { break };
        out.push_str(&rest[..begin]);
        let url = &rest[begin..begin + length];
        if whole {
            out.push_str(&with_query(url, query, and));
        } else {
            out.push_str(url);
        }
        rest = &rest[begin + length..];
    }
    out.push_str(rest);
    out
}

fn with_query(url: &str, query: &str, and: &str) -> String {
    let foreign = url.contains("://") || url.starts_with("//") || url.starts_with("data:");
    if foreign || url.is_empty() {
        return url.into();
    }
    let (path, fragment) = match url.find('#') {
        Some(at) => url.split_at(at),
        None => (url, ""),
    };
    let joint = if path.contains('?') { and } else { "?" };
    format!("{path}{joint}{query}{fragment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_relative_uri_of_a_playlist_gets_it() {
        let text = "#EXTM3U\r\n#EXT-X-MEDIA:TYPE=SUBTITLES,URI=\"s.m3u8\",NAME=\"x\"\n#EXT-X-MAP:URI=\"i.mp4?a=1\"\n\
            #EXTINF:4.0,\nsegment_00000.ts\nhttps://cdn/x.ts\n\n# a remark\nx.ts?b=2#f";
        let got = hls(text, "gst=t&api_key=k");
        assert_eq!(
            got,
            "#EXTM3U\r\n#EXT-X-MEDIA:TYPE=SUBTITLES,URI=\"s.m3u8?gst=t&api_key=k\",NAME=\"x\"\n\
            #EXT-X-MAP:URI=\"i.mp4?a=1&gst=t&api_key=k\"\n#EXTINF:4.0,\nsegment_00000.ts?gst=t&api_key=k\n\
            https://cdn/x.ts\n\n# a remark\nx.ts?b=2&gst=t&api_key=k#f"
        );
    }

    #[test]
    fn a_manifest_stays_xml() {
        let text = "<SegmentTemplate media=\"v_$Number$.m4s\" initialization=\"v.mp4\" timescale=\"1\"/><X multimedia=\"a\"/>";
        assert_eq!(
            dash(text, "gst=t&api_key=k"),
            "<SegmentTemplate media=\"v_$Number$.m4s?gst=t&amp;api_key=k\" initialization=\"v.mp4?gst=t&amp;api_key=k\" \
            timescale=\"1\"/><X multimedia=\"a\"/>"
        );
    }

    #[test]
    fn whole_files_and_clocks_of_a_manifest_are_asked_for_with_it() {
        let text = "<MPD><BaseURL>dir/</BaseURL><UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"time\"/>\
            <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:direct:2014\" value=\"2026\"/><BaseURL>s&amp;0.vtt</BaseURL>\
            <BaseURL>https://cdn/a.mp4</BaseURL></MPD>";
        assert_eq!(
            dash(text, "key=a%2Fb"),
            "<MPD><BaseURL>dir/</BaseURL><UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"time?key=a%2Fb\"/>\
            <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:direct:2014\" value=\"2026\"/><BaseURL>s&amp;0.vtt?key=a%2Fb</BaseURL>\
            <BaseURL>https://cdn/a.mp4</BaseURL></MPD>"
        );
    }
}
