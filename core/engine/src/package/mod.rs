//! Sans-IO packaging: CMAF, MPEG-TS, HLS and DASH. Packets in, bytes and playlists out; no file, socket or clock.
