//! zig build [-Dghoststream=PREFIX]: every example into zig-out/bin; zig build test: every function of the module.
const std = @import("std");

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    const optimize = b.standardOptimizeOption(.{});
    const prefix = b.option([]const u8, "ghoststream", "where libghoststream is installed");
    const ghoststream = if (prefix) |p|
        b.dependency("ghoststream", .{ .target = target, .optimize = optimize, .ghoststream = p })
    else
        b.dependency("ghoststream", .{ .target = target, .optimize = optimize });
    for ([_][]const u8{ "transcode", "ladder", "encode_frames", "capture_frames", "record", "probe" }) |name| {
        const program = b.addExecutable(.{
            .name = name,
            .root_source_file = b.path(b.fmt("{s}.zig", .{name})),
            .target = target,
            .optimize = optimize,
        });
        program.root_module.addImport("ghoststream", ghoststream.module("ghoststream"));
        b.installArtifact(program);
    }
    const calls = b.addTest(.{ .root_source_file = b.path("calls.zig"), .target = target, .optimize = optimize });
    calls.root_module.addImport("ghoststream", ghoststream.module("ghoststream"));
    b.step("test", "Compile every function of the module").dependOn(&b.addRunArtifact(calls).step);
}
