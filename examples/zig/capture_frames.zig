//! Pictures of any source, as a Y4M file: capture_frames SOURCE OUT.y4m [FRAMES [SECONDS]]
//! SOURCE is a file, a URL or pattern:smpte; begins at SECONDS, exactly.
const std = @import("std");
const gs = @import("ghoststream");

pub fn main() !u8 {
    var arena = std.heap.ArenaAllocator.init(std.heap.page_allocator);
    defer arena.deinit();
    const args = try std.process.argsAlloc(arena.allocator());
    if (args.len < 3) {
        std.debug.print("usage: {s} SOURCE OUT.y4m [FRAMES [SECONDS]]\n", .{args[0]});
        return 2;
    }
    const frames = if (args.len > 3) try std.fmt.parseInt(u32, args[3], 10) else 60;
    const start: ?f64 = if (args.len > 4) try std.fmt.parseFloat(f64, args[4]) else null;
    const n = run(args[1], args[2], frames, start) catch |err| {
        std.debug.print("{s}: {s}: {s}\n", .{ args[1], @errorName(err), gs.lastError() });
        return 1;
    };
    try std.io.getStdOut().writer().print("{d} frames\n", .{n});
    return 0;
}

fn run(source: [:0]const u8, path: []const u8, frames: u32, start: ?f64) !u32 {
    var options = gs.Capture.options();
    options.format = "yuv420p";
    var capture = try gs.Capture.open(source, options);
    defer capture.deinit();
    if (start) |seconds| try capture.seek(@intFromFloat(seconds * 1e6));
    const file = try std.fs.cwd().createFile(path, .{});
    defer file.close();
    const out = file.writer();
    var n: u32 = 0;
    while (n < frames) : (n += 1) {
        var frame = try capture.next(gs.forever) orelse break;
        defer frame.deinit();
        const info = try frame.info();
        var packed_picture = try frame.pack();
        defer packed_picture.deinit();
        if (n == 0) {
            const rate = if (info.duration > 0) @divTrunc(1_000_000, info.duration) else 25;
            try out.print("YUV4MPEG2 W{d} H{d} F{d}:1 Ip A{d}:{d} C420\n", .{ info.width, info.height, rate, info.aspect_num, info.aspect_den });
        }
        try out.writeAll("FRAME\n");
        try out.writeAll(packed_picture.bytes());
    }
    return n;
}
