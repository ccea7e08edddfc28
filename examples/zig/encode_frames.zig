//! Your own pictures become a bare H.264 stream, without a copy on the way: encode_frames OUT.h264 [FRAMES]
const std = @import("std");
const gs = @import("ghoststream");

const width = 320;
const height = 180;
const rate = 25;
const Picture = [width * height * 3 / 2]u8;

pub fn main() !u8 {
    var arena = std.heap.ArenaAllocator.init(std.heap.page_allocator);
    defer arena.deinit();
    const args = try std.process.argsAlloc(arena.allocator());
    if (args.len < 2) {
        std.debug.print("usage: {s} OUT.h264 [FRAMES]\n", .{args[0]});
        return 2;
    }
    const frames = if (args.len > 2) try std.fmt.parseInt(u32, args[2], 10) else 50;
    const file = try std.fs.cwd().createFile(args[1], .{});
    defer file.close();
    const packets = run(file, frames) catch |err| {
        std.debug.print("{s}: {s}\n", .{ @errorName(err), gs.lastError() });
        return 1;
    };
    try std.io.getStdOut().writer().print("{d} frames, {d} packets\n", .{ frames, packets });
    return if (packets == frames) 0 else 1;
}

fn run(file: std.fs.File, frames: u32) !u32 {
    var options = gs.Encoder.options();
    options.width = width;
    options.height = height;
    options.format = "nv12";
    options.rate_num = rate;
    options.codec = "h264";
    options.preset = "p2";
    options.crf = 23;
    var encoder = try gs.Encoder.open(options);
    defer encoder.deinit();
    var packets: u32 = 0;
    for (0..frames) |n| {
        const picture = try std.heap.c_allocator.create(Picture);
        draw(picture, n);
        // From here on the picture is the library's, until it calls `free`.
        var frame = gs.Frame.wrap(.{
            .format = "nv12",
            .width = width,
            .height = height,
            .pts = @intCast(n * 1_000_000 / rate),
            .duration = 1_000_000 / rate,
        }, &.{ .{ .data = picture }, .{ .data = picture[width * height ..] } }, free, picture) catch |err| {
            std.heap.c_allocator.destroy(picture);
            return err;
        };
        defer frame.deinit();
        _ = try encoder.push(frame, gs.forever);
        packets += try drain(encoder, gs.poll, file);
    }
    try encoder.finish();
    return packets + try drain(encoder, gs.forever, file);
}

/// A grey wedge that moves, in NV12: luma, then interleaved chroma.
fn draw(picture: *Picture, n: usize) void {
    for (0..height) |y| {
        for (0..width) |x| picture[y * width + x] = @intCast(16 + (x + 4 * n) % 220);
    }
    @memset(picture[width * height ..], 128);
}

fn free(user: ?*anyopaque) callconv(.C) void {
    std.heap.c_allocator.destroy(@as(*Picture, @ptrCast(@alignCast(user))));
}

fn drain(encoder: gs.Encoder, timeout_us: i64, file: std.fs.File) !u32 {
    var packets: u32 = 0;
    while (try encoder.next(timeout_us)) |next| : (packets += 1) {
        var packet = next;
        defer packet.deinit();
        try file.writeAll(try packet.bytes());
    }
    return packets;
}
