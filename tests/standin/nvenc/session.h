// One encode session: what was opened, what was given to it, and in which state each buffer is. Every rule of the API that
// can be broken is checked here; a broken rule is answered with the documented status and recorded as a violation.
#pragma once
#include "engines.h"
#include "offer.h"
#include "order.h"
#include <condition_variable>
#include <map>
#include <mutex>

namespace standin {

// What the client holds are numbers that look like pointers and fault where they are followed.
using Handle = void *;

struct InputSurface { // NvEncCreateInputBuffer
    InputBuffer made;
    uint32_t pitch = 0;
    std::vector<uint8_t> data;
    bool locked = false;
    unsigned in_flight = 0; // pictures that were given and not coded
};

struct Registration {
    Resource resource;
    size_t bytes = 0;
    Handle mapped = nullptr;
};

struct Mapping {
    Handle registration = nullptr;
    unsigned in_flight = 0;   // pictures that were given and not coded
    unsigned unlocked = 0;    // outputs given with it and not locked yet
};

struct Output { // NvEncCreateBitstreamBuffer
    enum State { Free, Queued, Done, Held } state = Free;
    uint64_t sequence = 0; // of the submission
    Handle input = nullptr;
    Locked result;
    Bytes bytes;
    void *view = nullptr; // what the client reads while it is locked
    size_t view_size = 0;
    uint64_t done_us = 0;
};

class Session {
  public:
    Session(Handle self, const Layout *layout, Api api, void *context, int ordinal, int id);
    ~Session();

    const Layout *layout() const { return layout_; }
    const Api &api() const { return api_; }
    const Device &device() const { return *device_; }
    const char *last_error() const { return error_.c_str(); }
    std::mutex &lock() { return mutex_; }

    uint32_t version_word(Struct which) const;
    // The word at the start of a structure; records and answers INVALID_VERSION where it is another.
    uint32_t check_version(const void *structure, Struct which, const char *call, const char *name);
    // The device context must be alive.
    uint32_t check_context(const char *call);

    uint32_t initialize(const Init &init);
    uint32_t reconfigure(const Reconfigure &change);
    bool initialized() const { return initialized_; }
    Codec codec() const { return codec_; }

    uint32_t create_input(const InputBuffer &made, Handle &out);
    uint32_t destroy_input(Handle handle);
    uint32_t lock_input(Handle handle, bool no_wait, void *&data, uint32_t &pitch);
    uint32_t unlock_input(Handle handle);
    uint32_t create_output(Handle &out);
    uint32_t destroy_output(Handle handle);
    uint32_t register_resource(const Resource &resource, Handle &out);
    uint32_t unregister_resource(Handle handle);
    uint32_t map(Handle registration, Handle &out, uint32_t &format);
    uint32_t unmap(Handle handle);
    uint32_t encode(const Pic &pic);
    // How a call to encode, or to end the stream, went. After two failures in a row, or with the device gone, what is not coded
    // never will be, so that its inputs may be let go of; what is coded can still be read, unless the device is gone.
    void failed(uint32_t status);
    uint32_t lock_output(Locked &locked);
    uint32_t unlock_output(Handle handle);
    uint32_t sequence(const SequenceRequest &request);
    uint32_t sequence_of(const Init &init, const SequenceRequest &request); // before Initialize
    uint32_t invalidate(uint64_t timestamp);
    uint32_t set_streams(void *input, void *output);
    // Reports what was not given back.
    uint32_t destroy();

    // Refuses: the status, with its text kept for NvEncGetLastErrorString.
    uint32_t refuse(uint32_t status, const std::string &why);
    // Refuses and records a violation.
    uint32_t violate(uint32_t status, const char *rule, const char *call, const std::string &why);

  private:
    struct Frame {
        Pic pic;
        uint32_t format = 0;
        uint32_t display = 0;
    };
    struct Source { // where a frame's samples are
        const uint8_t *data = nullptr;
        uint32_t format = 0, pitch = 0, height = 0, width = 0;
        uint32_t chroma_offset[2] = {};
    };

    Handle next_handle();
    StreamInfo stream_info() const;
    uint32_t advance(bool flush, size_t &coded);
    uint32_t code(const Planned &planned);
    bool source_of(const Frame &frame, Source &out, const char *call);
    int quality(Type type) const;

    void close_view(Output &output);
    void update();
    void tell_preset(const Guid &preset, const char *by) const;
    void tell_config(const char *by) const;

    Handle self_;
    const Layout *layout_;
    Api api_;
    void *context_;
    const Device *device_;
    int id_;
    std::mutex mutex_;
    std::condition_variable_any changed_; // a picture was coded
    std::string error_;

    bool initialized_ = false, ended_ = false, gone_ = false;
    unsigned failures_ = 0; // in a row
    Codec codec_ = Codec::None;
    Init init_;
    Config config_;
    uint64_t reserved_ = 0;
    int engine_ = -1;
    std::unique_ptr<Writer> writer_;
    Order order_;
    PictureRef key_; // the latest IDR
    void *streams_[2] = {};

    std::map<Handle, InputSurface> inputs_;
    std::map<Handle, Registration> registrations_;
    std::map<Handle, Mapping> mappings_;
    std::map<Handle, Output> outputs_;

    std::map<uint64_t, Frame> frames_; // given and not coded
    std::vector<Handle> queued_;       // outputs in the order of submission, not coded yet
    std::vector<Handle> ready_;        // coded and not locked, in the same order
    uint64_t next_frame_ = 0, sequence_ = 0, coded_ = 0;
    uint32_t display_ = 0;
    unsigned since_idr_ = 0;
    bool wrote_headers_ = false;
    std::vector<int> dropped_;
    std::map<uint64_t, int> shown_; // time stamp of a picture since the last IDR -> its place
    uint32_t refresh_left_ = 0, refresh_total_ = 0, refresh_wait_ = 0;
    bool force_idr_ = false;
};

} // namespace standin
