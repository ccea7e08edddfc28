#include "engines.h"
#include "cuda/device.h"
#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>

namespace standin {
namespace {

struct Engine {
    int sessions = 0;
    uint64_t free_us = 0; // when what is queued is done
};
std::mutex g_lock;
std::map<std::pair<int, int>, Engine> g_engines;

} // namespace

uint64_t monotonic_us() {
    return static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

int take_engine(int ordinal, int engines) {
    std::lock_guard<std::mutex> guard(g_lock);
    int best = 0;
    for (int i = 1; i < engines; ++i)
        if (g_engines[{ordinal, i}].sessions < g_engines[{ordinal, best}].sessions) best = i;
    ++g_engines[{ordinal, best}].sessions;
    return best;
}

void leave_engine(int ordinal, int engine) {
    std::lock_guard<std::mutex> guard(g_lock);
    --g_engines[{ordinal, engine}].sessions;
}

uint64_t queue_picture(int ordinal, int engine, int engines, int strips) {
    const int64_t knob = standin_knob_int("FRAME_US", 0);
    const uint64_t now = monotonic_us();
    if (knob <= 0) return now;
    std::lock_guard<std::mutex> guard(g_lock);
    strips = std::clamp(strips, 1, engines);
    uint64_t done = now;
    for (int i = 0; i < strips; ++i) {
        Engine &one = g_engines[{ordinal, (engine + i) % engines}];
        one.free_us = std::max(one.free_us, now) + static_cast<uint64_t>(knob) / static_cast<uint64_t>(strips);
        done = std::max(done, one.free_us);
    }
    return done;
}

} // namespace standin
