#include "order.h"
#include <algorithm>

namespace standin {

namespace {
constexpr uint32_t kInfinite = 0xffffffff;
enum { kEach = 1, kMiddle = 2 };
} // namespace

void Order::configure(int interval, uint32_t gop, uint32_t idr, unsigned lookahead, unsigned b_reference) {
    interval_ = interval;
    gop_ = gop;
    idr_ = idr ? idr : gop;
    lookahead_ = lookahead;
    b_reference_ = b_reference;
}

unsigned Order::reorder() const { return interval_ <= 1 ? 0 : b_reference_ == kMiddle && interval_ > 3 ? 2 : 1; }

unsigned Order::least_references() const {
    if (interval_ <= 1) return 1;
    return b_reference_ == kEach ? static_cast<unsigned>(interval_) + 1 : b_reference_ == kMiddle ? 3 : 2;
}

bool Order::key(size_t index) const {
    if (waiting_[index].force_idr || (index == 0 && restart_)) return true;
    const uint64_t position = since_idr_ + index;
    return idr_ != kInfinite && position % idr_ == 0;
}
bool Order::intra(size_t index) const {
    const uint64_t position = since_idr_ + index;
    return waiting_[index].force_intra || interval_ == 0 || (gop_ != kInfinite && position % gop_ == 0);
}

std::vector<Planned> Order::take(bool flush) {
    std::vector<Planned> out;
    for (;;) {
        const size_t have = waiting_.size();
        if (have == 0) return out;
        if (key(0)) {
            if (have <= lookahead_ && !flush) return out;
            out.push_back({waiting_[0].id, Type::Idr, true, 0});
            waiting_.pop_front();
            since_idr_ = 1;
            restart_ = false;
            continue;
        }
        // The anchor ends a group: at the interval, before the next key frame, or at an intra frame.
        size_t anchor = static_cast<size_t>(std::max(1, interval_)) - 1;
        bool cut = false;
        for (size_t i = 0; i <= anchor && i < have; ++i) {
            if (i > 0 && key(i)) {
                anchor = i - 1;
                cut = true;
                break;
            }
            if (intra(i)) {
                anchor = i;
                break;
            }
        }
        if (!flush && have < anchor + 1 + lookahead_ + (cut ? 1 : 0)) return out;
        anchor = std::min(anchor, have - 1);
        const auto poc = [&](size_t i) { return static_cast<int>(since_idr_ + i); };
        out.push_back({waiting_[anchor].id, intra(anchor) ? Type::I : Type::P, true, poc(anchor)});
        const size_t middle = b_reference_ == kMiddle && anchor >= 3 ? (anchor - 1) / 2 : anchor;
        if (middle < anchor) out.push_back({waiting_[middle].id, Type::B, true, poc(middle)});
        for (size_t i = 0; i < anchor; ++i)
            if (i != middle) out.push_back({waiting_[i].id, Type::B, b_reference_ == kEach, poc(i)});
        waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<long>(anchor) + 1);
        since_idr_ += anchor + 1;
    }
}

} // namespace standin
