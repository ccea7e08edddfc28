// The encoding engines of the devices: each codes one picture at a time, and a session has one (or, with split encoding, several).
#pragma once
#include <cstdint>

namespace standin {

// The engine with the fewest sessions gets one more; give it back with `leave_engine`.
int take_engine(int ordinal, int engines);
void leave_engine(int ordinal, int engine);
// Puts a picture at the end of the queue of `strips` engines from `engine` on; when it will be done, on the monotonic clock in
// microseconds. GS_STANDIN_FRAME_US is what a picture takes, and one of n strips the n-th part.
uint64_t queue_picture(int ordinal, int engine, int engines, int strips);
uint64_t monotonic_us();

} // namespace standin
