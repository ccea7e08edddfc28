//! A file becomes an HLS ladder, decoded once: ladder IN DIRECTORY [RUNG-HEIGHT...]
//! Without heights the library chooses the rungs from the source. Prints the plan first.
const std = @import("std");
const gs = @import("ghoststream");

const Rung = struct { height: u32 };

pub fn main() !u8 {
    var arena = std.heap.ArenaAllocator.init(std.heap.page_allocator);
    defer arena.deinit();
    const allocator = arena.allocator();
    const args = try std.process.argsAlloc(allocator);
    if (args.len < 3) {
        std.debug.print("usage: {s} IN DIRECTORY [RUNG-HEIGHT...]\n", .{args[0]});
        return 2;
    }
    var rungs = std.ArrayList(Rung).init(allocator);
    for (args[3..]) |height| try rungs.append(.{ .height = try std.fmt.parseInt(u32, height, 10) });
    const result = if (rungs.items.len == 0)
        run(allocator, args[1], args[2], "auto")
    else
        run(allocator, args[1], args[2], rungs.items);
    result catch |err| {
        std.debug.print("{s}: {s}: {s}\n", .{ args[1], @errorName(err), gs.lastError() });
        return 1;
    };
    return 0;
}

fn run(allocator: std.mem.Allocator, in: [:0]const u8, out: [:0]const u8, ladder: anytype) !void {
    const json = try std.json.stringifyAlloc(allocator, .{
        .source = .{ .url = in },
        .outputs = .{.{
            .path = out,
            .format = "hls",
            .overwrite = true,
            .ladder = ladder,
            .video = .{ .codec = "h264", .preset = "p1" },
            .segment = .{ .duration = 2 },
        }},
    }, .{});
    var pipeline = try gs.Pipeline.init(try allocator.dupeZ(u8, json));
    defer pipeline.deinit();
    var plan = try pipeline.plan();
    defer plan.deinit();
    try std.io.getStdOut().writer().print("{s}\n", .{plan.text()});
    var job = try pipeline.start();
    defer job.deinit();
    _ = try job.wait(gs.forever);
}
