// libghoststream: one source, filters, encoders and any number of outputs, from C.
//
// General rules; they hold for every function and are not repeated below.
//
// Handles     A gs_job, gs_frame and so on is opaque and always used through a pointer. gs_frame, gs_packet and gs_buffer are
//             counted: _ref adds an owner, _unref gives one up. The others have one owner: _free ends them. _unref and
//             _free take the address of your pointer, null it, and accept NULL and a pointer that is NULL: freeing twice
//             through the same variable does nothing.
// Status      A function that can fail gives a gs_status. 0 is success. Above 0 is "not now" (GS_AGAIN, GS_TIMEOUT, GS_END) and is
//             no failure. Below 0 is a failure: gs_last_error then has the whole message, for this thread. The failure of a
//             job is not the failure of the call that started it: it comes in the job's DONE event, and from gs_job_wait.
// Arguments   Inputs come first, outputs last. NULL where there must be something is GS_INVALID, never a crash. Nothing that you pass
//             in is kept after the call, except what "Owns" says. Texts are UTF-8 and end with a zero byte.
// Outputs     An output is cleared first (a pointer to NULL, a number to 0, a struct to zeros behind its `size`) and holds something
//             only when the call gives GS_OK, or as the function says.
// Structs     A struct that begins with `size` is filled with zeros and its own sizeof in `size` before every call:
//                 gs_frame_info info = {0};
//                 info.size = sizeof info;
//             Zero is the default of every field. A program built against an older header gets defaults for what it does not
//             know. A program built against a newer one may only set fields that this library knows: anything else that is
//             not zero is GS_INVALID.
// Time        Times and timeouts are int64_t microseconds. A timeout below 0 waits without limit; 0 polls, and then "not now" is
//             GS_AGAIN instead of GS_TIMEOUT. Packets and frames also tell their time exactly, in ticks of their base.
// Documents   What a job does is one JSON document, the same for every language; gs_spec_schema has its form. An unknown key is an
//             error, and errors name the path of the field.
// Threads     Every function may be called from any thread. "Thread" says what may not happen at the same time. Media never
//             comes through callbacks and events are pulled, except that a gs_bytes may read a file of yours through one; the
//             callbacks (wakeup, log, read, release) say what they allow.
// Errors      Each function lists what it can answer beside GS_OK. Any function can also answer GS_INTERNAL, for a defect of ours
//             that was caught; the process goes on.
// Since       The ABI in which an item appeared. Symbols do not depend on how the library was built: what a build cannot do answers
//             GS_UNSUPPORTED. An int where a list of constants is named is one of them; skip those that you do not know.


#ifndef GHOSTSTREAM_H
#define GHOSTSTREAM_H

/* Made from ffi/src by cbindgen: change that and run `make generate`. */

#include <stddef.h>
#include <stdint.h>

// Major number of the ABI: the number in the library's SONAME. While it is 0, any release may change the ABI; from 1
// on, a program built against one library runs with every later one of the same number.
// Since: 0
#define GS_ABI_VERSION 0

// Flag of gs_probe: read all packets, for the list of key frames and exact durations and frame counts.
// Since: 0
#define GS_PROBE_KEYFRAMES 1

// A time that is not known.
// Since: 0
#define GS_NO_TIME INT64_MIN

// Planes that a gs_frame_info has room for. Sound with more channels in planes of their own is read by gs_frame_data.
// Since: 0
#define GS_MAX_PLANES 8

// Flag of gs_frame_options: ask the encoder for a key frame here.
// Since: 0
#define GS_FRAME_FORCE_KEY 1

// Flag of gs_frame_info: it is a picture, else sound.
// Since: 0
#define GS_FRAME_VIDEO 1

// Flag of gs_frame_info: it was coded as a key frame.
// Since: 0
#define GS_FRAME_KEY 2

// Flag of gs_frame_info: it holds two fields.
// Since: 0
#define GS_FRAME_INTERLACED 4

// Flag of gs_frame_info: the top field comes first.
// Since: 0
#define GS_FRAME_TOP_FIRST 8

// Flag of gs_frame_info: decoding found damage.
// Since: 0
#define GS_FRAME_CORRUPT 16

// Flag of gs_frame_info: yours alone now, so that you may write through the data pointers: no other reference to the frame
// is left, and the engine is done with what was pushed.
// Since: 0
#define GS_FRAME_WRITABLE 32

// Flag of gs_packet_info: decoding can start here.
// Since: 0
#define GS_PACKET_KEY 1

// A picture that is predicted from nothing.
// Since: 0
#define GS_PICTURE_I 1

// A picture that is predicted from pictures before it.
// Since: 0
#define GS_PICTURE_P 2

// A picture that is predicted from pictures before and behind it.
// Since: 0
#define GS_PICTURE_B 3

// Flag of gs_capture_options: sound too. Pictures and sound come interleaved by time.
// Since: 0
#define GS_CAPTURE_AUDIO 1

// Flag of gs_capture_options: no pictures.
// Since: 0
#define GS_CAPTURE_NO_VIDEO 2

// Flag of gs_encoder_options: length-prefixed packets with the parameter sets in the extradata (avcC, hvcC; for MP4)
// instead of Annex B.
// Since: 0
#define GS_ENCODER_LENGTH_PREFIXED 1

// Flag of gs_encoder_options: when the frame queue is full, drop the oldest waiting frame and count it, instead of
// waiting. A WARNING event tells it once.
// Since: 0
#define GS_ENCODER_LIVE 2

// Flag of gs_encoder_options: fail instead of falling back to another encoder.
// Since: 0
#define GS_ENCODER_NO_FALLBACK 4

// What a call says: 0 done; above 0 "not now", which is no failure; below 0 a failure, explained by gs_last_error.
// A value that this header does not name comes from a newer library: go by its sign.
// Since: 0
enum gs_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Done.
    GS_OK = 0,
    // A poll (timeout 0) found nothing ready, or no room.
    GS_AGAIN = 1,
    // There is no more, and never will be.
    GS_END = 2,
    // The wait ended first.
    GS_TIMEOUT = 3,
    // An argument, a field of a document or a call that can never be right.
    GS_INVALID = -1,
    // The build, device, codec or container cannot do this.
    GS_UNSUPPORTED = -2,
    // A file, stream, device or codec that does not exist.
    GS_NOT_FOUND = -3,
    // A GPU, driver, camera or other device failed.
    GS_DEVICE = -4,
    // Host or device memory ran out.
    GS_MEMORY = -5,
    // Reading or writing failed: disk full, network cut, peer silent.
    GS_IO = -6,
    // The media is damaged, encrypted, or not media.
    GS_FORMAT = -7,
    // The operation was cancelled by its owner.
    GS_CANCELLED = -8,
    // The object is in a state in which the call makes no sense, such as a finished job.
    GS_STATE = -9,
    // A resource is in use, or a limit is reached.
    GS_BUSY = -10,
    // Refused by the system, the user or a policy such as the allow-list of protocols.
    GS_DENIED = -11,
    // A defect in GhostStream. Please report it.
    GS_INTERNAL = -12,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum gs_status gs_status;
#else
typedef int32_t gs_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What an event is about. A value that this header does not name comes from a newer library: skip it.
// Since: 0
enum gs_event_type
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // No event.
    GS_EVENT_NONE = 0,
    // The state changed: `state`. Never lost.
    GS_EVENT_STATE = 1,
    // What will be done and why, in the JSON.
    GS_EVENT_PLAN = 2,
    // How far it is, twice a second: `time` to `dropped`. Only the newest waits.
    GS_EVENT_PROGRESS = 3,
    // A fallback, a drop, an inserted transfer: in the JSON.
    GS_EVENT_WARNING = 4,
    // A segment or playlist was completed, in the JSON.
    GS_EVENT_SEGMENT = 5,
    // Over: `outcome` and `error`; the message is in the JSON. The last one, never lost.
    GS_EVENT_DONE = 6,
    // A file is complete while the job goes on (gs_job_split, gs_job_save): `duration` and `bytes`; `path` and `output` are
    // in the JSON. Never lost.
    GS_EVENT_SAVED = 7,
    // The connection of a pushed output changed, in the JSON. Never lost.
    GS_EVENT_PUSH = 8,
    // The bit rate of an output's video was changed to what its network can carry, in the JSON.
    GS_EVENT_BITRATE = 9,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum gs_event_type gs_event_type;
#else
typedef int32_t gs_event_type;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How grave a line of the log is. A level includes those below it.
// Since: 0
enum gs_log_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Nothing.
    GS_LOG_OFF = 0,
    // Something failed.
    GS_LOG_ERROR = 1,
    // Something is not as asked.
    GS_LOG_WARNING = 2,
    // What happens, in a few lines.
    GS_LOG_INFO = 3,
    // What happens, in detail.
    GS_LOG_DEBUG = 4,
    // Everything.
    GS_LOG_TRACE = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum gs_log_level gs_log_level;
#else
typedef int32_t gs_log_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Where a frame's samples are.
// Since: 0
enum gs_memory
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The CPU's memory.
    GS_MEMORY_HOST = 0,
    // CUDA device memory: the data pointers are device pointers.
    GS_MEMORY_CUDA = 1,
    // A DMA-BUF.
    GS_MEMORY_DMABUF = 2,
    // Another device's surface; gs_frame_download copies it to the host.
    GS_MEMORY_OTHER = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum gs_memory gs_memory;
#else
typedef int32_t gs_memory;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a job ended.
// Since: 0
enum gs_outcome
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It has not.
    GS_OUTCOME_NONE = 0,
    // The source ended and every output is complete.
    GS_OUTCOME_COMPLETED = 1,
    // gs_job_stop ended it early; every output is complete up to there.
    GS_OUTCOME_STOPPED = 2,
    // gs_job_cancel ended it.
    GS_OUTCOME_CANCELLED = 3,
    // It failed.
    GS_OUTCOME_FAILED = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum gs_outcome gs_outcome;
#else
typedef int32_t gs_outcome;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The life of a job.
// Since: 0
enum gs_state
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Opening the source and planning.
    GS_STATE_STARTING = 0,
    // Media flows.
    GS_STATE_RUNNING = 1,
    // Halted by gs_job_pause.
    GS_STATE_PAUSED = 2,
    // No more input is read; what is inside is being finished.
    GS_STATE_DRAINING = 3,
    // Over.
    GS_STATE_FINISHED = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum gs_state gs_state;
#else
typedef int32_t gs_state;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Bytes that you own: a JSON document, extradata, a segment. Counted; immutable.
// Thread: any, also several at once.
// Since: 0
typedef struct gs_buffer gs_buffer;

// Frames from a file, URL or pattern, decoded when you ask for them and a few ahead; or from a screen or camera, the newest
// ones.
// Thread: any; calls wait for one another, except gs_capture_interrupt, which ends them. Not during gs_capture_free.
// Since: 0
typedef struct gs_capture gs_capture;

// An encoder: frames in, packets out, on threads of its own. For files, ladders and sound use a pipeline.
// Thread: any, also several at once, except gs_encoder_free. Typically one thread pushes and the same or another takes.
// Since: 0
typedef struct gs_encoder gs_encoder;

// A raw picture or a run of sound, wherever its memory is. Counted; immutable once it was pushed or referenced, for as
// long as somebody else may read it (GS_FRAME_WRITABLE).
// Thread: any, also several at once.
// Since: 0
typedef struct gs_frame gs_frame;

// A running job, made by gs_pipeline_start.
// Thread: any, also several at once, except gs_job_free.
// Since: 0
typedef struct gs_job gs_job;

// A coded picture, or a piece of coded sound or text. Counted; immutable.
// Thread: any, also several at once.
// Since: 0
typedef struct gs_packet gs_packet;

// A checked document: one source and what is made of it. It does nothing until it is started, and can be started more
// than once.
// Thread: any, also several at once, except gs_pipeline_free.
// Since: 0
typedef struct gs_pipeline gs_pipeline;

// The transcoding server inside your process, on threads of its own. Its jobs run in worker processes.
// Thread: any, also several at once, except gs_server_free.
// Since: 0
typedef struct gs_server gs_server;

// Receives a line of the log. It runs on the thread that logs, also on several at once; it must return quickly and call
// nothing of this library.
// Owns: nothing; the texts are valid during the call.
// Thread: any, also the engine's.
// Errors: none; a C++ exception must not leave it.
// Since: 0
//
// `level` is a gs_log_level; `job` the id of the job concerned (gs_job_id) or 0; `component` who speaks (`libx264`,
// `ghoststream::pipeline`); `message` the line, without a line end; `user` what was given to gs_log_set.
typedef void (*gs_log_callback)(int32_t level,
                                uint64_t job,
                                const char *component,
                                const char *message,
                                void *user);

// Reads bytes of a gs_bytes for the library: puts up to `bytes` that begin at `offset` into `buffer`. Fewer than were
// asked for are no end; 0 is.
// Owns: nothing; `buffer` is the library's, for this call.
// Thread: the library's, one call at a time for each gs_bytes that was passed in; never after `release` ran. It may block,
// which gs_capture_interrupt does not end, and must not call a function on the capture that it reads for.
// Errors: a negative errno (-EIO) says that the bytes cannot be had; the call that needed them answers GS_IO.
// Since: 0
typedef int64_t (*gs_bytes_read)(void *user, uint64_t offset, uint8_t *buffer, size_t bytes);

// Says that the library is done with the bytes.
// Owns: gives them back.
// Thread: any, also the library's; exactly once for each call that gave GS_OK.
// Errors: none; a C++ exception must not leave it.
// Since: 0
typedef void (*gs_bytes_release)(void *user);

// A whole file that you have, for gs_capture_open_bytes and gs_probe_bytes: either `data` or `read`.
// Since: 0
typedef struct gs_bytes {
    // sizeof (gs_bytes).
    uint32_t size;
    // 0.
    uint32_t reserved;
    // How many bytes the file has.
    uint64_t length;
    // All of them, in memory that stays as it is until `release` ran; it is not copied. NULL with `read`.
    const uint8_t *data;
    // Gives them piece by piece; NULL with `data`.
    gs_bytes_read read;
    // For `read` and `release`.
    void *user;
    // Runs when the library is done with them; may be NULL.
    gs_bytes_release release;
} gs_bytes;

// What a new frame is. Give `width` and `height` for a picture, `sample_rate`, `channels` and `samples` for sound.
// Since: 0
typedef struct gs_frame_options {
    // sizeof (gs_frame_options).
    uint32_t size;
    // GS_FRAME_FORCE_KEY or 0.
    uint32_t flags;
    // FFmpeg's name of the pixel format (`nv12`, `yuv420p`, `bgra`, `p010le`) or sample format (`s16`, `fltp`).
    const char *format;
    // Pixels.
    uint32_t width;
    // Pixels.
    uint32_t height;
    // Samples per second.
    uint32_t sample_rate;
    // Channels, in FFmpeg's default layout of that number.
    uint32_t channels;
    // Samples per channel.
    uint32_t samples;
    // H.273 code point of the colour primaries (1 = BT.709, 9 = BT.2020); 0 = not said.
    uint32_t primaries;
    // H.273 code point of the transfer (1 = BT.709, 16 = PQ, 18 = HLG); 0 = not said.
    uint32_t transfer;
    // H.273 code point of the matrix (1 = BT.709, 6 = BT.601, 9 = BT.2020); 0 = not said.
    uint32_t matrix;
    // 1 = limited range (16-235), 2 = full range; 0 = not said.
    uint32_t range;
    // 0.
    uint32_t reserved;
    // When it is shown, in microseconds, less than 2^62 from 0. GS_NO_TIME places a pushed picture behind the one before it,
    // by its own `duration` or, where that is 0, by the least time there is; the first needs a time or a duration.
    int64_t pts;
    // For how long, in microseconds; 0 = until the next one.
    int64_t duration;
    // Where the planes of gs_frame_wrap are: GS_MEMORY_HOST or GS_MEMORY_CUDA. `format` names what the samples are there
    // too. gs_frame_alloc makes host memory only.
    int32_t memory;
    // CUDA's number of the GPU of GS_MEMORY_CUDA planes, which lie in its primary context (that of the CUDA runtime).
    uint32_t device;
} gs_frame_options;

// One plane of your own memory.
// Since: 0
typedef struct gs_plane {
    // The first byte of the first row.
    const uint8_t *data;
    // Bytes from one row to the next; 0 = rows follow one another without a gap.
    size_t stride;
    // Bytes from `data` on that may be read; 0 = up to the end of the last row.
    size_t bytes;
} gs_plane;

// Says that the library will not read wrapped memory any more.
// Owns: gives the memory back.
// Thread: any, also the engine's; exactly once for each frame that was made.
// Errors: none; a C++ exception must not leave it.
// Since: 0
typedef void (*gs_frame_release)(void *user);

// What a frame is.
// Since: 0
typedef struct gs_frame_info {
    // sizeof (gs_frame_info); you set it.
    uint32_t size;
    // GS_FRAME_VIDEO, GS_FRAME_KEY and so on.
    uint32_t flags;
    // FFmpeg's name of the pixel or sample format; static text.
    const char *format;
    // Where the samples are: a gs_memory.
    int32_t memory;
    // Planes; those above GS_MAX_PLANES are not listed here.
    uint32_t plane_count;
    // Pixels; 0 for sound.
    uint32_t width;
    // Pixels; 0 for sound.
    uint32_t height;
    // Samples per second; 0 for pictures.
    uint32_t sample_rate;
    // Channels; 0 for pictures.
    uint32_t channels;
    // Samples per channel; 0 for pictures.
    uint32_t samples;
    // H.273 code point; 2 = unknown.
    uint32_t primaries;
    // H.273 code point; 2 = unknown.
    uint32_t transfer;
    // H.273 code point; 2 = unknown.
    uint32_t matrix;
    // 1 = limited, 2 = full, 0 = unknown.
    uint32_t range;
    // Width of a pixel in units of `aspect_den`; 1 when unknown.
    uint32_t aspect_num;
    // Height of a pixel; 1 when unknown.
    uint32_t aspect_den;
    // 0.
    uint32_t reserved;
    // When it is shown, in microseconds; GS_NO_TIME when unknown.
    int64_t pts;
    // For how long, in microseconds; 0 when unknown.
    int64_t duration;
    // The same in ticks of `base_num`/`base_den` seconds, exactly.
    int64_t pts_ticks;
    // The same in ticks, exactly.
    int64_t duration_ticks;
    // Seconds per tick, numerator.
    int32_t base_num;
    // Seconds per tick, denominator.
    int32_t base_den;
    // Where each plane begins, in host memory or for GS_MEMORY_CUDA in device memory; NULL when there is no such plane.
    // For other memory these are FFmpeg's own handles: use gs_frame_download.
    uint8_t *data[GS_MAX_PLANES];
    // Bytes from one row to the next.
    size_t stride[GS_MAX_PLANES];
    // Bytes that count in a row (host memory).
    size_t row_bytes[GS_MAX_PLANES];
    // Rows (host memory); 1 for sound.
    uint32_t rows[GS_MAX_PLANES];
} gs_frame_info;

// What a packet is.
// Since: 0
typedef struct gs_packet_info {
    // sizeof (gs_packet_info); you set it.
    uint32_t size;
    // GS_PACKET_KEY or 0.
    uint32_t flags;
    // The payload.
    const uint8_t *data;
    // Bytes of payload.
    size_t bytes;
    // When it is shown, in microseconds; GS_NO_TIME when unknown.
    int64_t pts;
    // When it is decoded, in microseconds; GS_NO_TIME when unknown.
    int64_t dts;
    // How long it lasts, in microseconds; 0 when unknown.
    int64_t duration;
    // `pts` in ticks of `base_num`/`base_den` seconds, exactly.
    int64_t pts_ticks;
    // `dts` in ticks, exactly.
    int64_t dts_ticks;
    // `duration` in ticks, exactly.
    int64_t duration_ticks;
    // Seconds per tick, numerator.
    int32_t base_num;
    // Seconds per tick, denominator.
    int32_t base_den;
    // Index of its stream.
    uint32_t stream;
    // 0.
    uint32_t reserved;
    // From what the job's encoder predicted the picture: GS_PICTURE_…; 0 where it does not say.
    uint32_t picture;
    // The picture's quantiser on average, in the codec's own scale; below 0 where the encoder does not say.
    float qp;
    // How long the GPU had the picture, in nanoseconds; 0 where the encoder does not say.
    uint64_t gpu_time;
} gs_packet_info;

// What to take from a source and in what form. All may be 0: pictures of the best stream as they are decoded.
// Since: 0
typedef struct gs_capture_options {
    // sizeof (gs_capture_options).
    uint32_t size;
    // GS_CAPTURE_AUDIO and GS_CAPTURE_NO_VIDEO.
    uint32_t flags;
    // Convert pictures to this pixel format (FFmpeg's name: `rgb24`, `nv12`); NULL = as decoded.
    const char *format;
    // Scale pictures to this width; with one side given the other follows the display aspect ratio.
    uint32_t width;
    // Scale pictures to this height.
    uint32_t height;
    // 1 + the index of the stream of pictures; 0 = the best one.
    uint32_t video_stream;
    // 1 + the index of the stream of sound; 0 = the best one.
    uint32_t audio_stream;
    // Threads of the decoder; 0 = chosen from the cores.
    uint32_t threads;
    // Frames that are read ahead; 0 = 4.
    uint32_t queue;
} gs_capture_options;

// How to encode. Everything but `size`, `width`, `height`, `format` and `rate_num` may be 0.
// Since: 0
typedef struct gs_encoder_options {
    // sizeof (gs_encoder_options).
    uint32_t size;
    // GS_ENCODER_LENGTH_PREFIXED and so on.
    uint32_t flags;
    // Pixels of the frames, and of what is encoded. A frame of another size is scaled to it.
    uint32_t width;
    // Pixels of the frames, and of what is encoded.
    uint32_t height;
    // FFmpeg's name of the frames' pixel format (`nv12`, `yuv420p`, `bgra`, `p010le`). A frame of another format is taken and
    // converted, which costs time.
    const char *format;
    // Nominal frames per second, numerator. When a frame is shown is said by the frame.
    uint32_t rate_num;
    // Nominal frames per second, denominator; 0 = 1.
    uint32_t rate_den;
    // `h264` (default), `hevc`, `av1`, `vp9`.
    const char *codec;
    // `auto` (default: a real probe decides), `nvenc` or FFmpeg's name of an encoder (`libx264`).
    const char *encoder;
    // `p1` (fastest) to `p7` (best); default `p4`.
    const char *preset;
    // `hq` (default), `ll` (low latency), `ull` (a packet for every frame at once), `lossless`.
    const char *tune;
    // Profile by its usual name (`baseline`, `main`, `high`, `main10`).
    const char *profile;
    // Average bits per second; 0 = constant quality.
    uint64_t bitrate;
    // Peak bits per second; 0 = not limited.
    uint64_t max_bitrate;
    // Constant quality on the encoder's scale; 0 = its default. For a real 0 use `json`.
    double crf;
    // Frames from one key frame to the next at most; 0 = the encoder's default.
    uint32_t gop;
    // B-frames between references; 0 = the encoder's default, -1 = none.
    int32_t b_frames;
    // Encoder threads; 0 = chosen from the cores.
    uint32_t threads;
    // Frames that may wait before a push waits (or drops, with GS_ENCODER_LIVE); 0 = 4.
    uint32_t frame_queue;
    // Packets that may wait before the encoder waits; 0 = as many as there are.
    uint32_t packet_queue;
    // 0.
    uint32_t reserved;
    // Everything else, as a `video` object of the document (`{"lookahead": 20, "options": {"x264-params": "..."}}`), or
    // NULL. A field that is given here as well is an error.
    const char *json;
    // Where the frames are: GS_MEMORY_HOST, or GS_MEMORY_CUDA for frames of gs_frame_wrap with that memory.
    int32_t memory;
    // 0.
    uint32_t reserved2;
} gs_encoder_options;

// An event without its texts, which are in the JSON beside it.
// Since: 0
typedef struct gs_event {
    // sizeof (gs_event); you set it.
    uint32_t size;
    // A gs_event_type.
    int32_t kind;
    // STATE: a gs_state.
    int32_t state;
    // DONE: a gs_outcome.
    int32_t outcome;
    // DONE: the failure as a gs_status, 0 when there is none.
    int32_t error;
    // 0.
    int32_t reserved;
    // PROGRESS: output time reached, in microseconds.
    int64_t time;
    // PROGRESS: the whole length, in microseconds; GS_NO_TIME when unknown. SAVED: that of the file.
    int64_t duration;
    // PROGRESS: 0 to 1; below 0 when unknown.
    double fraction;
    // PROGRESS: frames a second.
    double fps;
    // PROGRESS: output time per wall time.
    double speed;
    // PROGRESS: microseconds to go; GS_NO_TIME when unknown.
    int64_t eta;
    // PROGRESS: video frames written.
    uint64_t frames;
    // PROGRESS: bytes written. SAVED: those of the file.
    uint64_t bytes;
    // PROGRESS: frames or packets dropped by live links, pictures left out of a screen, and frames lost with an encoder.
    uint64_t dropped;
} gs_event;

// Says that a job's events went from none to some. It must return quickly (set a flag, write to a pipe, post to a
// loop) and call nothing of this library.
// Owns: nothing.
// Thread: once the thread that registers it, then the engine's; never two at once.
// Errors: none; a C++ exception must not leave it.
// Since: 0
typedef void (*gs_wakeup)(void *user);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Why this thread's last failing call failed: the whole chain of causes, outermost first, naming the file or the field
// (`outputs[0].video.bitrate: ...`). Empty before the first failure. Calls that succeed or say "not now" leave it alone.
// Owns: nothing; the text is valid until this thread's next failing call.
// Thread: any; every thread has its own.
// Errors: none; never NULL.
// Since: 0
const char *gs_last_error(void);

// The name of a status as documents and messages write it (`not_found`); `unknown` for a number that is none.
// Owns: nothing; the text is static.
// Thread: any.
// Errors: none; never NULL.
// Since: 0
const char *gs_status_name(int32_t status);

// The library's version (`0.1.0`).
// Owns: nothing; the text is static.
// Thread: any.
// Errors: none; never NULL.
// Since: 0
const char *gs_version(void);

// The ABI of the library that is loaded; compare it with GS_ABI_VERSION of the header that you compiled against.
// Owns: nothing.
// Thread: any.
// Errors: none.
// Since: 0
uint32_t gs_abi_version(void);

// The JSON Schema (draft 2020-12) of the document that gs_pipeline_new takes.
// Owns: you get `*schema`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_INVALID for NULL.
// Since: 0
gs_status gs_spec_schema(struct gs_buffer **schema);

// Sends every line of `level` (a gs_log_level) and graver to `callback`; a NULL callback or GS_LOG_OFF ends it. Before
// the first call nothing is written anywhere. There is one log for the process. When it returns, the callback that was
// set before is idle for good.
// Owns: keeps `callback` and `user` until the next call.
// Thread: any, but not from inside the callback (GS_STATE).
// Errors: GS_INVALID for a level that is none; GS_STATE.
// Since: 0
gs_status gs_log_set(int32_t level,
                     gs_log_callback callback,
                     void *user);

// The bytes of a buffer.
// Owns: nothing; valid while the buffer is.
// Thread: any.
// Errors: NULL for NULL.
// Since: 0
const uint8_t *gs_buffer_data(const struct gs_buffer *buffer);

// The number of bytes in a buffer, without the zero byte that ends a text.
// Owns: nothing.
// Thread: any.
// Errors: 0 for NULL.
// Since: 0
size_t gs_buffer_size(const struct gs_buffer *buffer);

// The terminated UTF-8 text of a buffer that holds one (every JSON document does).
// Owns: nothing; valid while the buffer is.
// Thread: any.
// Errors: NULL for NULL and for a buffer of bytes.
// Since: 0
const char *gs_buffer_text(const struct gs_buffer *buffer);

// One more owner of a buffer.
// Owns: you get `*same`, which is `buffer`; gs_buffer_unref each.
// Thread: any.
// Errors: GS_INVALID for NULL.
// Since: 0
gs_status gs_buffer_ref(struct gs_buffer *buffer, struct gs_buffer **same);

// Gives up a buffer and nulls `*buffer`.
// Owns: takes `*buffer`.
// Thread: any.
// Errors: none; NULL and a nulled `*buffer` do nothing.
// Since: 0
void gs_buffer_unref(struct gs_buffer **buffer);

// A text as a JSON string, with its quotes: for putting file names into documents.
// Owns: you get `*quoted`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_INVALID for NULL and for text that is not UTF-8.
// Since: 0
gs_status gs_json_quote(const char *plain, struct gs_buffer **quoted);

// What is in a source, as JSON: streams, duration, frame rate, colour, HDR, chapters. `source` is a path or URL,
// `pattern:smpte`, or a `source` object of the document. Blocks while it reads.
// Owns: you get `*json`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_NOT_FOUND, GS_FORMAT, GS_IO, GS_DENIED naming the source; GS_INVALID.
// Since: 0
gs_status gs_probe(const char *source,
                   uint32_t flags,
                   struct gs_buffer **json);

// As gs_probe, of a file that you have. `source` is NULL or a `source` object that names no source (`{"format": "mpegts"}`).
// Owns: you get `*json`; gs_buffer_unref it. `bytes.release` runs before this gives GS_OK.
// Thread: any.
// Errors: GS_FORMAT; GS_IO when `read` failed; GS_INVALID naming the field.
// Since: 0
gs_status gs_probe_bytes(const struct gs_bytes *bytes,
                         const char *source,
                         uint32_t flags,
                         struct gs_buffer **json);

// What this machine and build can do, as JSON: FFmpeg, hardware, encoders that really work here and why others do not,
// decoders, formats. Tries the encoders, so that the first call may take seconds.
// Owns: you get `*json`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_INVALID for NULL.
// Since: 0
gs_status gs_devices(struct gs_buffer **json);

// The settings that have names (`discord720p` … `hdr10-1440p60`), as JSON: `[{"name", "short", "purpose", "video"}]`, with
// `video` as an output of a job's document has it.
// Owns: you get `*json`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_INVALID for NULL.
// Since: 0
gs_status gs_presets(struct gs_buffer **json);

// A new frame with host memory of its own: black or silence as bytes of zero. Write to it through the pointers of
// gs_frame_info before you push it.
// Owns: you get `*frame`; gs_frame_unref it.
// Thread: any.
// Errors: GS_INVALID naming the field; GS_MEMORY.
// Since: 0
gs_status gs_frame_alloc(const struct gs_frame_options *options,
                         struct gs_frame **frame);

// A frame over your own picture, without a copy. The library only reads it, from any thread, until `release` runs; do
// not change it until then. `planes` has one entry per plane of the format and is not kept.
// With GS_MEMORY_CUDA the planes' `data` are device pointers; what was queued to write them must be done, or be in the
// default stream, when this is called. Pictures of three bytes a pixel (rgb24, bgr24) are copied there to ones of four
// (rgb0, bgr0), and `release` runs before this returns.
// Owns: you get `*frame`; gs_frame_unref it. Keeps the planes' memory until `release(user)`, which runs once the frame
// and everything that was made to refer to it (an encoder that it was pushed to) is done with it. When the call fails,
// nothing is kept and `release` never runs. `release` may be NULL for memory that lives for ever.
// Thread: any.
// Errors: GS_INVALID naming the field or plane (too short, stride too small); GS_UNSUPPORTED for sound; GS_MEMORY.
// Since: 0
gs_status gs_frame_wrap(const struct gs_frame_options *options,
                        const struct gs_plane *planes,
                        size_t plane_count,
                        gs_frame_release release,
                        void *user,
                        struct gs_frame **frame);

// What a frame is and where its samples lie.
// Owns: nothing; the pointers in `info` are valid while the frame is.
// Thread: any. Whoever writes through the pointers must be alone with the frame.
// Errors: GS_INVALID.
// Since: 0
gs_status gs_frame_get_info(const struct gs_frame *frame, struct gs_frame_info *info);

// The bytes of one plane in host memory, from its first row to the last byte that counts of its last.
// Owns: nothing; `*data` is valid while the frame is.
// Thread: any.
// Errors: GS_INVALID for NULL; GS_NOT_FOUND when there is no such plane in host memory.
// Since: 0
gs_status gs_frame_data(const struct gs_frame *frame, uint32_t plane, const uint8_t **data, size_t *bytes);

// A copy of a picture without padding: rows one after another, planes one after another.
// Owns: you get `*packed`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_INVALID for NULL; GS_UNSUPPORTED for sound and for device memory.
// Since: 0
gs_status gs_frame_pack(const struct gs_frame *frame, struct gs_buffer **packed);

// A copy in host memory of a frame on a device; another reference to a frame that is in host memory already.
// Owns: you get `*host`; gs_frame_unref it.
// Thread: any.
// Errors: GS_INVALID for NULL; GS_DEVICE, GS_UNSUPPORTED or GS_MEMORY when the device cannot.
// Since: 0
gs_status gs_frame_download(struct gs_frame *frame, struct gs_frame **host);

// One more owner of a frame.
// Owns: you get `*same`, which is `frame`; gs_frame_unref each.
// Thread: any.
// Errors: GS_INVALID for NULL.
// Since: 0
gs_status gs_frame_ref(struct gs_frame *frame, struct gs_frame **same);

// Gives up a frame and nulls `*frame`. Its memory goes with the last reference, yours or the engine's.
// Owns: takes `*frame`.
// Thread: any.
// Errors: none; NULL and a nulled `*frame` do nothing.
// Since: 0
void gs_frame_unref(struct gs_frame **frame);

// What a packet is and where its bytes lie.
// Owns: nothing; `info->data` is valid while the packet is.
// Thread: any.
// Errors: GS_INVALID.
// Since: 0
gs_status gs_packet_get_info(const struct gs_packet *packet, struct gs_packet_info *info);

// One more owner of a packet.
// Owns: you get `*same`, which is `packet`; gs_packet_unref each.
// Thread: any.
// Errors: GS_INVALID for NULL.
// Since: 0
gs_status gs_packet_ref(struct gs_packet *packet, struct gs_packet **same);

// Gives up a packet and nulls `*packet`.
// Owns: takes `*packet`.
// Thread: any.
// Errors: none; NULL and a nulled `*packet` do nothing.
// Since: 0
void gs_packet_unref(struct gs_packet **packet);

// Opens a source for taking frames. `source` is a path or URL, `pattern:smpte`, `pattern:gradient`, `screen:`,
// `screen:DP-1?fps=30&region=10,10 640x360` or `camera:/dev/video0?size=1280x720` as the command takes them, or a `source`
// object of the document; `options` may be NULL. Blocks while the source opens. Of a screen or camera, which go on whether
// frames are taken or not, only the newest `queue` frames are kept; they cannot be sought.
// Owns: you get `*capture`; gs_capture_free it. Nothing passed in is kept.
// Thread: any.
// Errors: GS_NOT_FOUND, GS_FORMAT, GS_IO, GS_DENIED naming the source; GS_UNSUPPORTED without a decoder; GS_INVALID
// naming the field.
// Since: 0
gs_status gs_capture_open(const char *source,
                          const struct gs_capture_options *options,
                          struct gs_capture **capture);

// As gs_capture_open, of a file that you have: in memory, which is not copied, or behind a function that reads it at any
// place. `source` is NULL or a `source` object that names no source (`{"start": 10, "format": "mpegts"}`); `options` may be
// NULL. Seeking is as exact as in a file. Nothing outside the bytes is opened (playlists, external references).
// Owns: you get `*capture`; gs_capture_free it. Keeps what is behind `bytes`, not the struct, until `release(user)`, which
// runs in gs_capture_free. When the call fails, nothing is kept and `release` never runs.
// Thread: any.
// Errors: GS_FORMAT; GS_IO when `read` failed, then or later; GS_UNSUPPORTED without a decoder; GS_INVALID naming the field.
// Since: 0
gs_status gs_capture_open_bytes(const struct gs_bytes *bytes,
                                const char *source,
                                const struct gs_capture_options *options,
                                struct gs_capture **capture);

// The next frame, in the order of time.
// Owns: you get `*frame`; gs_frame_unref it.
// Thread: any; waits for other calls on the capture.
// Errors: GS_AGAIN, GS_TIMEOUT; GS_END after the last one; GS_IO, GS_FORMAT, GS_CANCELLED, again and again until you
// seek; GS_INVALID.
// Since: 0
gs_status gs_capture_next_frame(struct gs_capture *capture,
                                int64_t timeout_us,
                                struct gs_frame **frame);

// Goes to a time in microseconds, on the clock of the frames (which may begin before 0): the next picture is the one that
// is shown then, the first for times before all.
// Owns: nothing.
// Thread: any; waits for other calls on the capture.
// Errors: GS_UNSUPPORTED when the source cannot be sought, and its place stays as it was; GS_IO, GS_FORMAT, GS_CANCELLED;
// GS_INVALID for NULL.
// Since: 0
gs_status gs_capture_seek(struct gs_capture *capture,
                          int64_t time_us);

// Goes to a picture by its number, counted from 0 in the order of showing, where the source has a `start` from there.
// The first time all packets are read (not decoded).
// Owns: nothing.
// Thread: any; waits for other calls on the capture.
// Errors: GS_INVALID beyond the last picture, and GS_UNSUPPORTED when the source cannot be sought: the place stays as it
// was; GS_IO, GS_FORMAT, GS_CANCELLED.
// Since: 0
gs_status gs_capture_seek_frame(struct gs_capture *capture,
                                uint64_t index);

// How many pictures the source has, exactly; with a `start` or `duration`, how many that part has. The first time all
// packets are read (not decoded). Frames that are due stay due.
// Owns: nothing.
// Thread: any; waits for other calls on the capture.
// Errors: GS_UNSUPPORTED for a source without an end or that cannot be sought; GS_IO, GS_CANCELLED; GS_INVALID.
// Since: 0
gs_status gs_capture_frame_count(struct gs_capture *capture,
                                 uint64_t *count);

// What the headers of the source say, as JSON in the form of gs_probe.
// Owns: you get `*json`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_INVALID.
// Since: 0
gs_status gs_capture_info(const struct gs_capture *capture, struct gs_buffer **json);

// Ends what the capture waits for in other threads, for good: their calls answer GS_CANCELLED or GS_END.
// Owns: nothing.
// Thread: any, also while other calls use the capture.
// Errors: GS_INVALID.
// Since: 0
gs_status gs_capture_interrupt(const struct gs_capture *capture);

// Closes a capture and nulls `*capture`. Frames that you took stay valid.
// Owns: takes `*capture`.
// Thread: any, while no other call uses the capture.
// Errors: none; NULL and a nulled `*capture` do nothing.
// Since: 0
void gs_capture_free(struct gs_capture **capture);

// Makes an encoder. It opens with the first frame that is pushed: before that there are no packets, no stream and no
// extradata, and calls that wait for them without a limit wait for ever unless another thread pushes. What only opening it can
// tell (no such encoder here) is the failure of the first call that waits for it: gs_encoder_next_packet,
// gs_encoder_stream_info or gs_encoder_extradata.
// Owns: you get `*encoder`; gs_encoder_free it. Nothing in `options` is kept.
// Thread: any.
// Errors: GS_INVALID naming the field; GS_MEMORY.
// Since: 0
gs_status gs_encoder_open(const struct gs_encoder_options *options,
                          struct gs_encoder **encoder);

// Gives a picture to the encoder, waiting while its queue is full. Pictures come in the order of their times: one that does
// not come after the one before it is moved behind that, which a warning tells once. A picture of another size or format than
// gs_encoder_options says is taken too, and converted to that without a warning.
// Owns: nothing; the encoder takes a reference of its own, and the pixels are not copied. You may unref the frame at once.
// Thread: any; order is yours to keep.
// Errors: GS_AGAIN, GS_TIMEOUT when there was no room in time; GS_STATE after gs_encoder_finish and after a failure
// (gs_encoder_next_packet says which); GS_INVALID, also for a `pts` of 2^62 microseconds or more.
// Since: 0
gs_status gs_encoder_push_frame(struct gs_encoder *encoder,
                                const struct gs_frame *frame,
                                int64_t timeout_us);

// Says that there will be no more frames: what is inside comes out as packets, then gs_encoder_next_packet says GS_END.
// Owns: nothing.
// Thread: any.
// Errors: GS_INVALID. The second time does nothing.
// Since: 0
gs_status gs_encoder_finish(struct gs_encoder *encoder);

// The next packet, in decode order. An encoder holds frames back (lookahead, B-frames) unless it is tuned not to: poll
// (timeout 0) between pushes, wait (timeout -1) after gs_encoder_finish. Without a frame there is none to wait for.
// Owns: you get `*packet`; gs_packet_unref it.
// Thread: any.
// Errors: GS_AGAIN, GS_TIMEOUT; GS_END after the last packet; the encoder's failure; GS_INVALID.
// Since: 0
gs_status gs_encoder_next_packet(struct gs_encoder *encoder,
                                 int64_t timeout_us,
                                 struct gs_packet **packet);

// The next event of an encoder (a WARNING for a fallback, DONE at the end); either place may be NULL. Taking them is
// optional.
// Owns: you get `*json`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_AGAIN, GS_TIMEOUT; GS_END after the DONE event; GS_INVALID.
// Since: 0
gs_status gs_encoder_next_event(struct gs_encoder *encoder,
                                int64_t timeout_us,
                                struct gs_event *event,
                                struct gs_buffer **json);

// Changes the encoder: `{"bitrate": "2M", "max_bitrate": "3M", "key_frame": true}`, from its next frame on, which may be its
// first.
// Owns: nothing.
// Thread: any.
// Errors: GS_INVALID naming the field; GS_STATE while its threads start, for a moment after gs_encoder_open, and after the
// end. An encoder that cannot do it says so in a WARNING event.
// Since: 0
gs_status gs_encoder_set(struct gs_encoder *encoder,
                         const char *json);

// A snapshot as JSON: frames in and packets out, drops, times, queues.
// Owns: you get `*json`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_INVALID.
// Since: 0
gs_status gs_encoder_stats(const struct gs_encoder *encoder, struct gs_buffer **json);

// The stream that the packets make, as a JSON array of one, once the encoder is open: codec, profile, time_base, ... It
// opens with the first frame: push that before you wait, or give a time-out.
// Owns: you get `*json`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_AGAIN, GS_TIMEOUT when it is not open yet; the encoder's failure; GS_INVALID.
// Since: 0
gs_status gs_encoder_stream_info(struct gs_encoder *encoder,
                                 int64_t timeout_us,
                                 struct gs_buffer **json);

// The stream's extradata (avcC, hvcC, av1C, ...) once the encoder is open. It opens with the first frame: push that before
// you wait, or give a time-out.
// Owns: you get `*extradata`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_AGAIN, GS_TIMEOUT when it is not open yet; the encoder's failure; GS_INVALID.
// Since: 0
gs_status gs_encoder_extradata(struct gs_encoder *encoder,
                               int64_t timeout_us,
                               struct gs_buffer **extradata);

// Ends an encoder at once, dropping what is inside, waits for its threads and nulls `*encoder`.
// Owns: takes `*encoder`.
// Thread: any, while no other call uses the encoder.
// Errors: none; NULL and a nulled `*encoder` do nothing.
// Since: 0
void gs_encoder_free(struct gs_encoder **encoder);

// Checks a document (gs_spec_schema has its form). Opens nothing.
// Owns: you get `*pipeline`; gs_pipeline_free it. `json` is not kept.
// Thread: any.
// Errors: GS_INVALID naming the field (`outputs[0].video.bitrate: ...`), also for unknown keys, and for a `packets` source:
// its streams can be described from Rust only.
// Since: 0
gs_status gs_pipeline_new(const char *json,
                          struct gs_pipeline **pipeline);

// What would be done and why, as JSON: opens and reads the start of the source, writes nothing. Blocks meanwhile.
// Owns: you get `*json`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_INVALID; whatever opening the source and deciding can fail with, naming the file or field.
// Since: 0
gs_status gs_pipeline_plan(const struct gs_pipeline *pipeline,
                           struct gs_buffer **json);

// Starts a job on threads of its own and returns at once. A source that cannot be opened is the job's failure, in its
// DONE event.
// Owns: you get `*job`; gs_job_free it. The pipeline stays yours and may be freed at once.
// Thread: any.
// Errors: GS_INVALID; GS_MEMORY when the system gives no thread.
// Since: 0
gs_status gs_pipeline_start(const struct gs_pipeline *pipeline,
                            struct gs_job **job);

// Gives up a pipeline and nulls `*pipeline`. Jobs that it started go on.
// Owns: takes `*pipeline`.
// Thread: any, while no other call uses the pipeline.
// Errors: none; NULL and a nulled `*pipeline` do nothing.
// Since: 0
void gs_pipeline_free(struct gs_pipeline **pipeline);

// The number that identifies a job in the log.
// Owns: nothing.
// Thread: any.
// Errors: 0 for NULL.
// Since: 0
uint64_t gs_job_id(const struct gs_job *job);

// The next event, as numbers and as JSON; either place may be NULL.
// Owns: you get `*json`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_AGAIN, GS_TIMEOUT; GS_END after the DONE event; GS_INVALID. A job's failure is no error of this call: it
// is in the DONE event.
// Since: 0
gs_status gs_job_next_event(struct gs_job *job,
                            int64_t timeout_us,
                            struct gs_event *event,
                            struct gs_buffer **json);

// Sets the callback that runs once now and whenever the events go from none to some; NULL removes it. When it returns,
// the one before is idle for good.
// Owns: keeps `wakeup` and `user` until the next call or gs_job_free.
// Thread: any, but not from inside the callback, which would wait for itself.
// Errors: GS_INVALID.
// Since: 0
gs_status gs_job_set_wakeup(struct gs_job *job,
                            gs_wakeup wakeup,
                            void *user);

// The state now, as a gs_state.
// Owns: nothing.
// Thread: any.
// Errors: GS_INVALID.
// Since: 0
gs_status gs_job_get_state(const struct gs_job *job, int32_t *state);

// A snapshot as JSON: state, progress, every stage with its queue and drops, every track.
// Owns: you get `*json`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_INVALID.
// Since: 0
gs_status gs_job_stats(const struct gs_job *job, struct gs_buffer **json);

// Changes a running encoder: `{"output": 0, "rung": 1, "bitrate": "2M", "max_bitrate": "3M", "key_frame": true}`. The
// change reaches it with its next frame. An encoder that several outputs share changes for all of them.
// Owns: nothing.
// Thread: any.
// Errors: GS_INVALID naming the field; GS_STATE before the plan is known and after the end; GS_NOT_FOUND for an output
// or rung that does not exist; GS_UNSUPPORTED for a copied track, and for another size where the container says it once. An
// encoder that cannot do it says so in a WARNING event.
// Since: 0
gs_status gs_job_set(struct gs_job *job,
                     const char *json);

// Halts reading; what is inside goes on to the outputs. What a screen or a camera shows meanwhile is left out of them.
// Owns: nothing.
// Thread: any.
// Errors: GS_STATE unless the job is running; GS_INVALID.
// Since: 0
gs_status gs_job_pause(struct gs_job *job);

// Continues after gs_job_pause, with a key frame where video of a live source is encoded; nothing happens to a job that is not
// paused.
// Owns: nothing.
// Thread: any.
// Errors: GS_STATE unless the job is running or paused; GS_INVALID.
// Since: 0
gs_status gs_job_resume(struct gs_job *job);

// Lets output `output` (with `split` in the document) go on in a new file, which begins with the next key frame; one is
// asked for. Returns at once; the file that ends is told by a SAVED event.
// Owns: nothing.
// Thread: any.
// Errors: GS_STATE unless the job is running or paused; GS_NOT_FOUND for an output that does not exist; GS_UNSUPPORTED
// for one without `split`; GS_INVALID.
// Since: 0
gs_status gs_job_split(struct gs_job *job,
                       uint32_t output);

// Saves the last `seconds` of output `output` (with `replay` in the document), from the key frame before; 0 = all that it
// keeps. Returns at once: the file is written while the job goes on, and told by a SAVED event; a save that fails is
// told by a WARNING event with the code `save`.
// Owns: nothing.
// Thread: any.
// Errors: GS_STATE unless the job is running or paused; GS_NOT_FOUND for an output that does not exist; GS_UNSUPPORTED
// for one without `replay`; GS_INVALID, also for `seconds` below 0.
// Since: 0
gs_status gs_job_save(struct gs_job *job,
                      uint32_t output,
                      double seconds);

// Reads no more, finishes every output with what was read, and ends. Returns at once; wait with gs_job_wait.
// Owns: nothing.
// Thread: any.
// Errors: GS_INVALID. Nothing happens to a job that is over.
// Since: 0
gs_status gs_job_stop(struct gs_job *job);

// Ends at once; half-written outputs are removed unless the document keeps them. Returns at once. Calls that wait in
// other threads return.
// Owns: nothing.
// Thread: any.
// Errors: GS_INVALID. Nothing happens to a job that is over.
// Since: 0
gs_status gs_job_cancel(struct gs_job *job);

// Waits for the end. GS_OK when the job completed or was stopped; the failure's status, with its message in
// gs_last_error, when it failed; GS_CANCELLED when it was cancelled. May be called again. Events can be taken during and
// after it.
// Owns: nothing.
// Thread: any.
// Errors: GS_AGAIN, GS_TIMEOUT; GS_INVALID; the job's failure.
// Since: 0
gs_status gs_job_wait(struct gs_job *job,
                      int64_t timeout_us);

// Cancels the job if it still runs, waits for its threads and nulls `*job`.
// Owns: takes `*job`.
// Thread: any, while no other call uses the job.
// Errors: none; NULL and a nulled `*job` do nothing.
// Since: 0
void gs_job_free(struct gs_job **job);

// Feeds a `bytes` source, waiting while its buffer is full. `*written` (which may be NULL) is how many bytes were taken:
// all with GS_OK, fewer with GS_AGAIN and GS_TIMEOUT; go on with the rest.
// Owns: nothing; the bytes are copied.
// Thread: any; order is yours to keep.
// Errors: GS_AGAIN, GS_TIMEOUT when not all were taken in time; GS_STATE for another kind of source, after
// gs_job_finish_input and after the end; GS_INVALID.
// Since: 0
gs_status gs_job_write(struct gs_job *job,
                       const uint8_t *data,
                       size_t bytes,
                       int64_t timeout_us,
                       size_t *written);

// Feeds a `frames` source, waiting while its queue is full (a live one drops the oldest of its kind instead, which a WARNING
// tells once of pictures and once of sound).
// Pictures come in the order of their times: one that does not come after the one before it is moved behind that, which a
// warning tells once, or fails the job where its document has `fallback: false`.
// Owns: nothing; the engine takes a reference of its own, and the pixels are not copied. You may unref the frame at once.
// Thread: any; order is yours to keep.
// Errors: GS_AGAIN, GS_TIMEOUT when there was no room in time; GS_STATE for another kind of source, after
// gs_job_finish_input and after the end; GS_INVALID, also for a `pts` of 2^62 microseconds or more.
// Since: 0
gs_status gs_job_push_frame(struct gs_job *job,
                            const struct gs_frame *frame,
                            int64_t timeout_us);

// Says that a `bytes` or `frames` source has ended; the job finishes what it has. Nothing happens for other sources and
// the second time.
// Owns: nothing.
// Thread: any.
// Errors: GS_INVALID.
// Since: 0
gs_status gs_job_finish_input(struct gs_job *job);

// The next packet of a packet output.
// Owns: you get `*packet`; gs_packet_unref it.
// Thread: any.
// Errors: GS_AGAIN, GS_TIMEOUT; GS_END when there will be no more, and the job's failure instead when that is why;
// GS_NOT_FOUND for an output that gives no packets; GS_INVALID.
// Since: 0
gs_status gs_job_next_packet(struct gs_job *job,
                             uint32_t output,
                             int64_t timeout_us,
                             struct gs_packet **packet);

// The streams of a packet output as a JSON array, once its encoders are open: index, kind, codec, time_base, width, ...
// They open with their first frames: where you feed the source, push those before you wait, or give a time-out.
// Owns: you get `*json`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_AGAIN, GS_TIMEOUT when they are not known yet; the job's failure; GS_NOT_FOUND for an output that gives no
// packets; GS_INVALID.
// Since: 0
gs_status gs_job_stream_info(struct gs_job *job,
                             uint32_t output,
                             int64_t timeout_us,
                             struct gs_buffer **json);

// The extradata (avcC, hvcC, av1C, AudioSpecificConfig, ...) of one stream of a packet output; empty when its packets
// carry everything themselves. It waits as gs_job_stream_info does.
// Owns: you get `*extradata`; gs_buffer_unref it.
// Thread: any.
// Errors: as gs_job_stream_info, and GS_NOT_FOUND for a stream that does not exist.
// Since: 0
gs_status gs_job_extradata(struct gs_job *job,
                           uint32_t output,
                           uint32_t stream,
                           int64_t timeout_us,
                           struct gs_buffer **extradata);

// The next finished segment, initialisation section or playlist of an output with `"segments": true`. `*json` is
// `{"name": "v0/seg-1.m4s", "start": 0.0, "duration": 4.0}` and may be NULL; `*data` is the whole object.
// Owns: you get `*json` and `*data`; gs_buffer_unref them.
// Thread: any.
// Errors: GS_AGAIN, GS_TIMEOUT; GS_END when there will be no more, and the job's failure instead when that is why;
// GS_NOT_FOUND for an output that gives no segments; GS_INVALID.
// Since: 0
gs_status gs_job_next_segment(struct gs_job *job,
                              uint32_t output,
                              int64_t timeout_us,
                              struct gs_buffer **json,
                              struct gs_buffer **data);

// Starts a server. `json` has the sections and keys of ghoststream.yaml, such as {"server": {"port": 0}}; no file and no
// environment is read, and {} means the defaults. Worker processes are started with transcoding.worker_command, or with
// the program `ghoststream` on the PATH. The server listens when the call returns.
// Owns: you get `*server`; gs_server_free it. `json` is not kept.
// Thread: any.
// Errors: GS_INVALID naming the setting; GS_BUSY when the port is taken; GS_DENIED and GS_IO for addresses and directories
// that cannot be used.
// Since: 0
gs_status gs_server_start(const char *json,
                          struct gs_server **server);

// Where a server listens and what it does, as JSON.
// Owns: you get `*json`; gs_buffer_unref it.
// Thread: any.
// Errors: GS_INVALID for NULL.
// Since: 0
gs_status gs_server_status(const struct gs_server *server, struct gs_buffer **json);

// Begins the end of a server and returns at once: it takes no more requests, and jobs that are not done go on when the
// next server with the same directories starts. A second call does nothing.
// Owns: nothing.
// Thread: any.
// Errors: GS_INVALID for NULL.
// Since: 0
gs_status gs_server_stop(struct gs_server *server);

// Ends a server as gs_server_stop does, waits for its threads, some seconds at most, and nulls `*server`.
// Owns: takes `*server`.
// Thread: any, while no other call uses the server.
// Errors: none; NULL and a nulled `*server` do nothing.
// Since: 0
void gs_server_free(struct gs_server **server);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* GHOSTSTREAM_H */
