//! Records for some seconds, in two files with a pause in the second, and saves the last second beside them:
//!   record screen|pattern OUT-{n}.mp4 REPLAY-{n}.mkv SECONDS
const std = @import("std");
const gs = @import("ghoststream");

pub fn main() !u8 {
    var arena = std.heap.ArenaAllocator.init(std.heap.page_allocator);
    defer arena.deinit();
    const allocator = arena.allocator();
    const args = try std.process.argsAlloc(allocator);
    const seconds = if (args.len == 5) std.fmt.parseFloat(f64, args[4]) catch 0 else 0;
    if (seconds <= 0) {
        std.debug.print("usage: {s} screen|pattern OUT-{{n}}.mp4 REPLAY-{{n}}.mkv SECONDS\n", .{args[0]});
        return 2;
    }
    run(allocator, args[1], args[2], args[3], seconds) catch |err| {
        std.debug.print("{s}: {s}: {s}\n", .{ args[1], @errorName(err), gs.lastError() });
        return 1;
    };
    return 0;
}

/// A screen, or a pattern that comes at its own speed. Both outputs come from one encode.
fn document(allocator: std.mem.Allocator, source: []const u8, out: []const u8, replay: []const u8) ![:0]const u8 {
    const video = .{ .codec = "h264", .preset = "p1", .tune = "ll", .keyframe_interval = 1 };
    const outputs = .{
        .{ .path = out, .split = true, .crash_safe = true, .video = video },
        .{ .path = replay, .replay = .{ .seconds = 30, .bytes = "100M" }, .video = video },
    };
    // As JSON `.{}` is an empty list, which is no object.
    const json = if (std.mem.eql(u8, source, "screen"))
        try std.json.stringifyAlloc(allocator, .{ .source = .{ .screen = struct {}{} }, .outputs = outputs }, .{})
    else
        try std.json.stringifyAlloc(allocator, .{ .source = .{ .pattern = struct {}{}, .realtime = true }, .outputs = outputs }, .{});
    return allocator.dupeZ(u8, json);
}

fn run(allocator: std.mem.Allocator, source: []const u8, out: []const u8, replay: []const u8, seconds: f64) !void {
    var pipeline = try gs.Pipeline.init(try document(allocator, source, out, replay));
    defer pipeline.deinit();
    var job = try pipeline.start();
    defer job.deinit();
    const stdout = std.io.getStdOut().writer();
    var step: u8 = 0;
    while (try job.nextEvent(gs.forever)) |next| {
        var event = next;
        defer event.deinit();
        switch (event.numbers.kind) {
            gs.c.GS_EVENT_PROGRESS => {
                const at = @as(f64, @floatFromInt(event.numbers.time)) / 1e6;
                if (step == 0 and at > seconds / 2) {
                    step = 1;
                    try job.split(0);
                } else if (step == 1 and at > seconds * 0.75) {
                    step = 2;
                    // What happens meanwhile is left out.
                    try job.pause();
                    std.time.sleep(std.time.ns_per_s / 2);
                    try job.unpause();
                    try job.save(1, 1);
                } else if (step == 2 and at > seconds) {
                    step = 3;
                    try job.stop();
                }
            },
            gs.c.GS_EVENT_SAVED, gs.c.GS_EVENT_WARNING => try stdout.print("{s}\n", .{event.json.text()}),
            else => {},
        }
    }
    _ = try job.wait(gs.forever);
}
