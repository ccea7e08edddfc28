//! Zig compiles what is used only: here every function of the module is, so that none of them can be wrong unseen.
const std = @import("std");
const gs = @import("ghoststream");

test "every function of the module compiles" {
    std.testing.refAllDecls(gs);
    inline for (.{
        gs.Buffer, gs.Plane, gs.Picture, gs.Frame, gs.Packet, gs.Event, gs.Capture, gs.Encoder, gs.Job, gs.Pipeline,
    }) |T| std.testing.refAllDecls(T);
    try std.testing.expect(gs.version().len > 0);
}
