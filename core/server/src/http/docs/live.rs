//! The live origin's routes, as far as the server's own port has them.

use super::{Route, Shape};

const KEY: (u16, &str) = (403, "The reader's key is required and missing or wrong, or a hook refuses");
const NO_STREAM: (u16, &str) = (404, "Stream not found");
const FULL: (u16, &str) = (503, "Nobody publishes the stream now, or there is no room");
const SESSION: &[(u16, &str)] = &[
    (400, "The name cannot be one, or the offer cannot be read"),
    (401, "The key is missing or wrong"),
    (403, "A hook refuses"),
    NO_STREAM,
    (406, "No codec fits"),
    (409, "Somebody publishes the stream already"),
    (413, "The offer is too large"),
    (415, "It is no application/sdp"),
    FULL,
];
const CHANGED: &[(u16, &str)] = &[
    (400, "The body cannot be read"),
    (404, "There is no such session"),
    (412, "The session has another ETag"),
    (413, "The body is too large"),
    (415, "It is no application/trickle-ice-sdpfrag"),
    (422, "ICE restarts are not supported"),
];

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: "/live/streams",
        tag: "live",
        summary: "What there is to watch now",
        ok: Shape::Json("LiveOverview"),
        not: &[KEY],
    },
    Route {
        method: "post",
        path: "/streams",
        tag: "live",
        summary: "Ask for a stream: it is fetched, transcoded and packaged until it is deleted or nobody cares for it",
        ok: Shape::Json("LiveStream"),
        not: &[
            (400, "Stream already active, or the source or a quality is not allowed"),
            (422, "Fields are missing or wrong"),
            (500, "It cannot be begun"),
        ],
    },
    Route {
        method: "get",
        path: "/streams",
        tag: "live",
        summary: "The streams that were asked for",
        ok: Shape::List("LiveStream"),
        not: &[],
    },
    Route {
        method: "get",
        path: "/streams/{id}",
        tag: "live",
        summary: "A stream that was asked for",
        ok: Shape::Json("LiveStream"),
        not: &[NO_STREAM],
    },
    Route {
        method: "delete",
        path: "/streams/{id}",
        tag: "live",
        summary: "End a stream that was asked for",
        ok: Shape::Json("LiveSaid"),
        not: &[NO_STREAM],
    },
    Route {
        method: "post",
        path: "/streams/{id}/heartbeat",
        tag: "live",
        summary: "Say that somebody still cares for the stream; unknown ones are answered alike",
        ok: Shape::Json("LiveSaid"),
        not: &[],
    },
    Route {
        method: "get",
        path: "/streams/{name}/thumbnail.jpg",
        tag: "live",
        summary: "The newest key frame, 320 pixels across",
        ok: Shape::Media,
        not: &[(304, "The client has it"), KEY, NO_STREAM, (500, "It cannot be decoded"), FULL],
    },
    Route {
        method: "get",
        path: "/streams/{name}/{file}",
        tag: "live",
        summary: "playlist.m3u8, manifest.mpd and the files that they name; what comes next is waited for",
        ok: Shape::Media,
        not: &[
            (206, "The range that was asked for"),
            (304, "The client has it"),
            (400, "A playlist that is too far ahead was asked for"),
            KEY,
            (404, "There is no such stream or file"),
            (416, "Range not satisfiable"),
            FULL,
        ],
    },
    Route {
        method: "post",
        path: "/whip/{name}",
        tag: "live",
        summary: "Publish by WebRTC (WHIP, RFC 9725)",
        ok: Shape::Session,
        not: SESSION,
    },
    Route {
        method: "post",
        path: "/whep/{name}",
        tag: "live",
        summary: "Watch by WebRTC (WHEP)",
        ok: Shape::Session,
        not: SESSION,
    },
    Route {
        method: "patch",
        path: "/whip/{name}/{session}",
        tag: "live",
        summary: "More candidates of a publisher",
        ok: Shape::Nothing(204),
        not: CHANGED,
    },
    Route {
        method: "delete",
        path: "/whip/{name}/{session}",
        tag: "live",
        summary: "End a publication",
        ok: Shape::Nothing(200),
        not: &[(404, "There is no such session")],
    },
    Route {
        method: "patch",
        path: "/whep/{name}/{session}",
        tag: "live",
        summary: "More candidates of a viewer",
        ok: Shape::Nothing(204),
        not: CHANGED,
    },
    Route {
        method: "delete",
        path: "/whep/{name}/{session}",
        tag: "live",
        summary: "End watching",
        ok: Shape::Nothing(200),
        not: &[(404, "There is no such session")],
    },
];
