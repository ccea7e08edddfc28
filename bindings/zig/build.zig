//! Makes the module `ghoststream`. The library is found through pkg-config, or below -Dghoststream=PREFIX.
const std = @import("std");

pub fn build(b: *std.Build) void {
    const module = b.addModule("ghoststream", .{
        .root_source_file = b.path("ghoststream.zig"),
        .target = b.standardTargetOptions(.{}),
        .optimize = b.standardOptimizeOption(.{}),
        .link_libc = true,
    });
    if (b.option([]const u8, "ghoststream", "where libghoststream is installed")) |prefix| {
        const lib: std.Build.LazyPath = .{ .cwd_relative = b.pathJoin(&.{ prefix, "lib" }) };
        module.addIncludePath(.{ .cwd_relative = b.pathJoin(&.{ prefix, "include" }) });
        module.addLibraryPath(lib);
        module.addRPath(lib);
        module.linkSystemLibrary("ghoststream", .{ .use_pkg_config = .no });
    } else {
        module.linkSystemLibrary("ghoststream", .{});
    }
}
