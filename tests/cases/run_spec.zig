//! Runs a job document:  run_spec FILE.json
const std = @import("std");
const gs = @cImport(@cInclude("ghoststream.h"));

pub fn main() !u8 {
    const allocator = std.heap.c_allocator;
    const args = try std.process.argsAlloc(allocator);
    defer std.process.argsFree(allocator, args);
    if (args.len != 2) {
        std.debug.print("usage: {s} FILE.json\n", .{args[0]});
        return 2;
    }
    const document = try std.fs.cwd().readFileAllocOptions(allocator, args[1], 1 << 20, null, 1, 0);
    defer allocator.free(document);

    var pipeline: ?*gs.gs_pipeline = null;
    defer gs.gs_pipeline_free(&pipeline);
    var job: ?*gs.gs_job = null;
    defer gs.gs_job_free(&job);
    var status = gs.gs_pipeline_new(document.ptr, &pipeline);
    if (status == gs.GS_OK) status = gs.gs_pipeline_start(pipeline, &job);
    if (status == gs.GS_OK) status = gs.gs_job_wait(job, -1);
    if (status == gs.GS_OK) return 0;
    std.debug.print("{s}: {s}\n", .{ gs.gs_status_name(status), gs.gs_last_error() });
    return 1;
}
