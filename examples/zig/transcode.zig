//! A file becomes an MP4, with progress: transcode IN OUT.mp4
const std = @import("std");
const gs = @import("ghoststream");

pub fn main() !u8 {
    var arena = std.heap.ArenaAllocator.init(std.heap.page_allocator);
    defer arena.deinit();
    const allocator = arena.allocator();
    const args = try std.process.argsAlloc(allocator);
    if (args.len != 3) {
        std.debug.print("usage: {s} IN OUT.mp4\n", .{args[0]});
        return 2;
    }
    run(allocator, args[1], args[2]) catch |err| {
        std.debug.print("{s}: {s}: {s}\n", .{ args[1], @errorName(err), gs.lastError() });
        return 1;
    };
    return 0;
}

fn run(allocator: std.mem.Allocator, in: [:0]const u8, out: [:0]const u8) !void {
    const json = try std.json.stringifyAlloc(allocator, .{
        .source = .{ .url = in },
        .outputs = .{.{
            .path = out,
            .format = "mp4",
            .overwrite = true,
            .video = .{ .codec = "h264", .crf = 23, .preset = "p2" },
        }},
    }, .{});
    var pipeline = try gs.Pipeline.init(try allocator.dupeZ(u8, json));
    defer pipeline.deinit();
    var job = try pipeline.start();
    defer job.deinit();
    const stdout = std.io.getStdOut().writer();
    while (try job.nextEvent(gs.forever)) |next| {
        var event = next;
        defer event.deinit();
        switch (event.numbers.kind) {
            gs.c.GS_EVENT_PROGRESS => try stdout.print("{d:5.1} %  {d:6.1} fps\n", .{ event.numbers.fraction * 100, event.numbers.fps }),
            gs.c.GS_EVENT_WARNING => try stdout.print("{s}\n", .{event.json.text()}),
            else => {},
        }
    }
    _ = try job.wait(gs.forever);
}
