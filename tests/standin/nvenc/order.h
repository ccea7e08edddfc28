// Which type each frame gets and in which order frames are coded: what the driver does when it takes the decision itself.
#pragma once
#include <cstdint>
#include <deque>
#include <vector>
#include "picture.h"

namespace standin {

struct Waiting {
    uint64_t id = 0; // the session's own number of the frame
    bool force_idr = false, force_intra = false;
};
struct Planned {
    uint64_t id = 0;
    Type type = Type::P;
    bool reference = true;
    int poc = 0; // since the last IDR
};

class Order {
  public:
    // interval as frameIntervalP, gop and idr in frames, lookahead in frames, b_reference as NV_ENC_BFRAME_REF_MODE.
    void configure(int interval, uint32_t gop, uint32_t idr, unsigned lookahead, unsigned b_reference);
    void push(const Waiting &frame) { waiting_.push_back(frame); }
    // The next frame is an IDR, whatever its flags.
    void restart() { restart_ = true; }
    // The frames that can be coded now, in coding order; with `flush` all that there are.
    std::vector<Planned> take(bool flush);
    size_t waiting() const { return waiting_.size(); }
    unsigned reorder() const;
    unsigned least_references() const;

  private:
    int interval_ = 1;
    uint32_t gop_ = 0, idr_ = 0;
    unsigned lookahead_ = 0, b_reference_ = 0;
    std::deque<Waiting> waiting_;
    uint64_t since_idr_ = 0;
    bool restart_ = true;

    bool key(size_t index) const;
    bool intra(size_t index) const;
};

} // namespace standin
