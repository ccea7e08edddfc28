//! What is in a source, as JSON: probe SOURCE. What this machine can do: probe --devices
const std = @import("std");
const gs = @import("ghoststream");

pub fn main() !u8 {
    var arena = std.heap.ArenaAllocator.init(std.heap.page_allocator);
    defer arena.deinit();
    const args = try std.process.argsAlloc(arena.allocator());
    if (args.len != 2) {
        std.debug.print("usage: {s} SOURCE | --devices\n", .{args[0]});
        return 2;
    }
    const asked = if (std.mem.eql(u8, args[1], "--devices")) gs.devices() else gs.probe(args[1], 0);
    var json = asked catch |err| {
        std.debug.print("{s}: {s}: {s}\n", .{ args[1], @errorName(err), gs.lastError() });
        return 1;
    };
    defer json.deinit();
    try std.io.getStdOut().writer().print("{s}\n", .{json.text()});
    return 0;
}
