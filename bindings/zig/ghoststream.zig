//! GhostStream for Zig: owners with `deinit` over ghoststream.h, and failures as errors.
//!
//! `lastError()` has the message of this thread's last failure. "Not now" is no failure: what waits gives null, both at
//! the end and when nothing came in time. Everything else is as in ghoststream.h, which is here as `c`.
const std = @import("std");

pub const c = @cImport(@cInclude("ghoststream.h"));

pub const Error = error{
    Invalid,
    Unsupported,
    NotFound,
    Device,
    OutOfMemory,
    Io,
    Format,
    Cancelled,
    State,
    Busy,
    Denied,
    Internal,
};

/// What a call that worked says.
pub const Status = enum { ok, again, end, timeout };

/// A timeout in microseconds: wait without limit.
pub const forever: i64 = -1;
/// A timeout in microseconds: do not wait.
pub const poll: i64 = 0;
/// A time that is not known.
pub const no_time: i64 = std.math.minInt(i64);

pub fn check(status: c.gs_status) Error!Status {
    return switch (status) {
        c.GS_OK => .ok,
        c.GS_AGAIN => .again,
        c.GS_END => .end,
        c.GS_TIMEOUT => .timeout,
        c.GS_INVALID => error.Invalid,
        c.GS_UNSUPPORTED => error.Unsupported,
        c.GS_NOT_FOUND => error.NotFound,
        c.GS_DEVICE => error.Device,
        c.GS_MEMORY => error.OutOfMemory,
        c.GS_IO => error.Io,
        c.GS_FORMAT => error.Format,
        c.GS_CANCELLED => error.Cancelled,
        c.GS_STATE => error.State,
        c.GS_BUSY => error.Busy,
        c.GS_DENIED => error.Denied,
        // A "not now" of a newer library is none of those above; a failure of one is a failure.
        else => if (status > 0) .again else error.Internal,
    };
}

/// The whole message of this thread's last failure; valid until the next one.
pub fn lastError() []const u8 {
    return std.mem.span(c.gs_last_error());
}

pub fn version() []const u8 {
    return std.mem.span(c.gs_version());
}

/// A struct of zeros that knows its size.
pub fn sized(comptime T: type) T {
    var value = std.mem.zeroes(T);
    value.size = @sizeOf(T);
    return value;
}

/// Bytes or a text of the library's.
pub const Buffer = struct {
    handle: ?*c.gs_buffer,

    pub fn deinit(self: *Buffer) void {
        c.gs_buffer_unref(&self.handle);
    }
    pub fn bytes(self: Buffer) []const u8 {
        const size = c.gs_buffer_size(self.handle);
        return if (size == 0) &.{} else c.gs_buffer_data(self.handle)[0..size];
    }
    /// For printing and for passing on to C.
    pub fn text(self: Buffer) [:0]const u8 {
        const start = c.gs_buffer_text(self.handle) orelse return "";
        return start[0..c.gs_buffer_size(self.handle) :0];
    }
};

/// A text as a JSON string, with its quotes.
pub fn quote(plain: [:0]const u8) Error!Buffer {
    var buffer = Buffer{ .handle = null };
    _ = try check(c.gs_json_quote(plain.ptr, &buffer.handle));
    return buffer;
}

/// What is in a source, as JSON.
pub fn probe(source: [:0]const u8, flags: u32) Error!Buffer {
    var buffer = Buffer{ .handle = null };
    _ = try check(c.gs_probe(source.ptr, flags, &buffer.handle));
    return buffer;
}

/// What is in a file of yours, as JSON; see gs_probe_bytes.
pub fn probeBytes(bytes: c.gs_bytes, source: ?[*:0]const u8, flags: u32) Error!Buffer {
    var buffer = Buffer{ .handle = null };
    _ = try check(c.gs_probe_bytes(&bytes, source, flags, &buffer.handle));
    return buffer;
}

/// The settings that have names, as JSON.
pub fn presets() Error!Buffer {
    var buffer = Buffer{ .handle = null };
    _ = try check(c.gs_presets(&buffer.handle));
    return buffer;
}

/// What this machine can do, as JSON.
pub fn devices() Error!Buffer {
    var buffer = Buffer{ .handle = null };
    _ = try check(c.gs_devices(&buffer.handle));
    return buffer;
}

/// The JSON Schema of the document.
pub fn schema() Error!Buffer {
    var buffer = Buffer{ .handle = null };
    _ = try check(c.gs_spec_schema(&buffer.handle));
    return buffer;
}

pub const Plane = struct { data: [*]const u8, stride: usize = 0, bytes: usize = 0 };

/// What a new picture is.
pub const Picture = struct {
    format: [:0]const u8,
    width: u32,
    height: u32,
    /// Microseconds.
    pts: i64,
    /// Microseconds; 0 = until the next one.
    duration: i64 = 0,
    force_key: bool = false,

    fn options(self: Picture) c.gs_frame_options {
        var all = sized(c.gs_frame_options);
        all.format = self.format.ptr;
        all.width = self.width;
        all.height = self.height;
        all.pts = self.pts;
        all.duration = self.duration;
        all.flags = if (self.force_key) c.GS_FRAME_FORCE_KEY else 0;
        return all;
    }
};

/// A raw picture or a run of sound.
pub const Frame = struct {
    handle: ?*c.gs_frame,

    pub fn alloc(picture: Picture) Error!Frame {
        var frame = Frame{ .handle = null };
        const options = picture.options();
        _ = try check(c.gs_frame_alloc(&options, &frame.handle));
        return frame;
    }

    /// A frame over your memory, without a copy, until `release(user)` runs; it never runs when this fails.
    pub fn wrap(
        picture: Picture,
        planes: []const Plane,
        release: ?*const fn (?*anyopaque) callconv(.C) void,
        user: ?*anyopaque,
    ) Error!Frame {
        var frame = Frame{ .handle = null };
        const options = picture.options();
        var all: [c.GS_MAX_PLANES]c.gs_plane = undefined;
        if (planes.len > all.len) return error.Invalid;
        for (planes, 0..) |plane, i| {
            all[i] = .{ .data = plane.data, .stride = plane.stride, .bytes = plane.bytes };
        }
        _ = try check(c.gs_frame_wrap(&options, &all, planes.len, release, user, &frame.handle));
        return frame;
    }

    pub fn deinit(self: *Frame) void {
        c.gs_frame_unref(&self.handle);
    }
    pub fn share(self: Frame) Error!Frame {
        var same = Frame{ .handle = null };
        _ = try check(c.gs_frame_ref(self.handle, &same.handle));
        return same;
    }
    pub fn info(self: Frame) Error!c.gs_frame_info {
        var all = sized(c.gs_frame_info);
        _ = try check(c.gs_frame_get_info(self.handle, &all));
        return all;
    }
    /// A copy of a picture without padding.
    pub fn pack(self: Frame) Error!Buffer {
        var buffer = Buffer{ .handle = null };
        _ = try check(c.gs_frame_pack(self.handle, &buffer.handle));
        return buffer;
    }
    pub fn download(self: Frame) Error!Frame {
        var host = Frame{ .handle = null };
        _ = try check(c.gs_frame_download(self.handle, &host.handle));
        return host;
    }
};

/// A coded picture or a piece of sound.
pub const Packet = struct {
    handle: ?*c.gs_packet,

    pub fn deinit(self: *Packet) void {
        c.gs_packet_unref(&self.handle);
    }
    pub fn info(self: Packet) Error!c.gs_packet_info {
        var all = sized(c.gs_packet_info);
        _ = try check(c.gs_packet_get_info(self.handle, &all));
        return all;
    }
    pub fn bytes(self: Packet) Error![]const u8 {
        const all = try self.info();
        return all.data[0..all.bytes];
    }
};

/// An event's numbers and its JSON.
pub const Event = struct {
    numbers: c.gs_event,
    json: Buffer,

    pub fn deinit(self: *Event) void {
        self.json.deinit();
    }
};

/// Frames from any source: a path or URL, `pattern:smpte`, or a `source` object of the document.
pub const Capture = struct {
    handle: ?*c.gs_capture,

    pub fn options() c.gs_capture_options {
        return sized(c.gs_capture_options);
    }
    pub fn open(source: [:0]const u8, how: c.gs_capture_options) Error!Capture {
        var capture = Capture{ .handle = null };
        _ = try check(c.gs_capture_open(source.ptr, &how, &capture.handle));
        return capture;
    }
    /// For a file of yours: `data` or `read`, and `length`.
    pub fn bytes() c.gs_bytes {
        return sized(c.gs_bytes);
    }
    /// A file in memory, which must stay as it is until `deinit`.
    pub fn openMemory(data: []const u8, how: c.gs_capture_options) Error!Capture {
        var file = Capture.bytes();
        file.length = data.len;
        file.data = data.ptr;
        return openBytes(file, null, how);
    }
    /// A file of yours; see gs_capture_open_bytes.
    pub fn openBytes(file: c.gs_bytes, source: ?[*:0]const u8, how: c.gs_capture_options) Error!Capture {
        var capture = Capture{ .handle = null };
        _ = try check(c.gs_capture_open_bytes(&file, source, &how, &capture.handle));
        return capture;
    }
    pub fn deinit(self: *Capture) void {
        c.gs_capture_free(&self.handle);
    }
    pub fn next(self: Capture, timeout_us: i64) Error!?Frame {
        var frame = Frame{ .handle = null };
        return if (try check(c.gs_capture_next_frame(self.handle, timeout_us, &frame.handle)) == .ok) frame else null;
    }
    pub fn seek(self: Capture, time_us: i64) Error!void {
        _ = try check(c.gs_capture_seek(self.handle, time_us));
    }
    pub fn seekFrame(self: Capture, index: u64) Error!void {
        _ = try check(c.gs_capture_seek_frame(self.handle, index));
    }
    pub fn frameCount(self: Capture) Error!u64 {
        var count: u64 = 0;
        _ = try check(c.gs_capture_frame_count(self.handle, &count));
        return count;
    }
    pub fn info(self: Capture) Error!Buffer {
        var buffer = Buffer{ .handle = null };
        _ = try check(c.gs_capture_info(self.handle, &buffer.handle));
        return buffer;
    }
    pub fn interrupt(self: Capture) Error!void {
        _ = try check(c.gs_capture_interrupt(self.handle));
    }
};

/// Frames in, packets out.
pub const Encoder = struct {
    handle: ?*c.gs_encoder,

    pub fn options() c.gs_encoder_options {
        return sized(c.gs_encoder_options);
    }
    pub fn open(how: c.gs_encoder_options) Error!Encoder {
        var encoder = Encoder{ .handle = null };
        _ = try check(c.gs_encoder_open(&how, &encoder.handle));
        return encoder;
    }
    pub fn deinit(self: *Encoder) void {
        c.gs_encoder_free(&self.handle);
    }
    /// False when there was no room in time.
    pub fn push(self: Encoder, frame: Frame, timeout_us: i64) Error!bool {
        return try check(c.gs_encoder_push_frame(self.handle, frame.handle, timeout_us)) == .ok;
    }
    pub fn finish(self: Encoder) Error!void {
        _ = try check(c.gs_encoder_finish(self.handle));
    }
    pub fn next(self: Encoder, timeout_us: i64) Error!?Packet {
        var packet = Packet{ .handle = null };
        return if (try check(c.gs_encoder_next_packet(self.handle, timeout_us, &packet.handle)) == .ok) packet else null;
    }
    pub fn nextEvent(self: Encoder, timeout_us: i64) Error!?Event {
        var event = Event{ .numbers = sized(c.gs_event), .json = .{ .handle = null } };
        const status = c.gs_encoder_next_event(self.handle, timeout_us, &event.numbers, &event.json.handle);
        return if (try check(status) == .ok) event else null;
    }
    pub fn set(self: Encoder, change: [:0]const u8) Error!void {
        _ = try check(c.gs_encoder_set(self.handle, change.ptr));
    }
    pub fn stats(self: Encoder) Error!Buffer {
        var buffer = Buffer{ .handle = null };
        _ = try check(c.gs_encoder_stats(self.handle, &buffer.handle));
        return buffer;
    }
    pub fn extradata(self: Encoder, timeout_us: i64) Error!?Buffer {
        var buffer = Buffer{ .handle = null };
        return if (try check(c.gs_encoder_extradata(self.handle, timeout_us, &buffer.handle)) == .ok) buffer else null;
    }
};

/// A running job.
pub const Job = struct {
    handle: ?*c.gs_job,

    /// Cancels it if it still runs.
    pub fn deinit(self: *Job) void {
        c.gs_job_free(&self.handle);
    }
    pub fn id(self: Job) u64 {
        return c.gs_job_id(self.handle);
    }
    /// Null after the DONE event, and when none came in time.
    pub fn nextEvent(self: Job, timeout_us: i64) Error!?Event {
        var event = Event{ .numbers = sized(c.gs_event), .json = .{ .handle = null } };
        const status = c.gs_job_next_event(self.handle, timeout_us, &event.numbers, &event.json.handle);
        return if (try check(status) == .ok) event else null;
    }
    pub fn state(self: Job) Error!i32 {
        var now: i32 = 0;
        _ = try check(c.gs_job_get_state(self.handle, &now));
        return now;
    }
    pub fn stats(self: Job) Error!Buffer {
        var buffer = Buffer{ .handle = null };
        _ = try check(c.gs_job_stats(self.handle, &buffer.handle));
        return buffer;
    }
    pub fn set(self: Job, change: [:0]const u8) Error!void {
        _ = try check(c.gs_job_set(self.handle, change.ptr));
    }
    pub fn pause(self: Job) Error!void {
        _ = try check(c.gs_job_pause(self.handle));
    }
    pub fn unpause(self: Job) Error!void {
        _ = try check(c.gs_job_resume(self.handle));
    }
    /// A new file for an output with `split`; the one that ends is told by a SAVED event.
    pub fn split(self: Job, output: u32) Error!void {
        _ = try check(c.gs_job_split(self.handle, output));
    }
    /// A file with the last seconds of an output with `replay`; 0 = all. It is told by a SAVED event.
    pub fn save(self: Job, output: u32, seconds: f64) Error!void {
        _ = try check(c.gs_job_save(self.handle, output, seconds));
    }
    pub fn stop(self: Job) Error!void {
        _ = try check(c.gs_job_stop(self.handle));
    }
    pub fn cancel(self: Job) Error!void {
        _ = try check(c.gs_job_cancel(self.handle));
    }
    /// False when it is not over in time; the job's failure is the error.
    pub fn wait(self: Job, timeout_us: i64) Error!bool {
        return try check(c.gs_job_wait(self.handle, timeout_us)) == .ok;
    }
    /// How many bytes were taken in time.
    pub fn write(self: Job, bytes: []const u8, timeout_us: i64) Error!usize {
        var written: usize = 0;
        _ = try check(c.gs_job_write(self.handle, bytes.ptr, bytes.len, timeout_us, &written));
        return written;
    }
    pub fn push(self: Job, frame: Frame, timeout_us: i64) Error!bool {
        return try check(c.gs_job_push_frame(self.handle, frame.handle, timeout_us)) == .ok;
    }
    pub fn finishInput(self: Job) Error!void {
        _ = try check(c.gs_job_finish_input(self.handle));
    }
    pub fn nextPacket(self: Job, output: u32, timeout_us: i64) Error!?Packet {
        var packet = Packet{ .handle = null };
        const status = c.gs_job_next_packet(self.handle, output, timeout_us, &packet.handle);
        return if (try check(status) == .ok) packet else null;
    }
};

/// A checked document.
pub const Pipeline = struct {
    handle: ?*c.gs_pipeline,

    pub fn init(json: [:0]const u8) Error!Pipeline {
        var pipeline = Pipeline{ .handle = null };
        _ = try check(c.gs_pipeline_new(json.ptr, &pipeline.handle));
        return pipeline;
    }
    pub fn deinit(self: *Pipeline) void {
        c.gs_pipeline_free(&self.handle);
    }
    pub fn plan(self: Pipeline) Error!Buffer {
        var buffer = Buffer{ .handle = null };
        _ = try check(c.gs_pipeline_plan(self.handle, &buffer.handle));
        return buffer;
    }
    pub fn start(self: Pipeline) Error!Job {
        var job = Job{ .handle = null };
        _ = try check(c.gs_pipeline_start(self.handle, &job.handle));
        return job;
    }
};

test "the library that is loaded is the one of the header" {
    try std.testing.expectEqual(@as(u32, c.GS_ABI_VERSION), c.gs_abi_version());
    try std.testing.expectError(error.Invalid, Pipeline.init("{}"));
    try std.testing.expect(lastError().len > 0);
}
