// GhostStream for C++17: owners over ghoststream.h that free themselves, and failures as exceptions.
//
// "Not now" is no failure: what waits gives an empty std::optional, and Wait tells why. Everything else is as in
// ghoststream.h, whose rules on threads and memory hold here too. The handles are public: `get()` is for what is not
// wrapped.
#ifndef GHOSTSTREAM_HPP
#define GHOSTSTREAM_HPP

#include <ghoststream.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gs {

/// A failed call: what() is the whole message, status() what to act on.
class Error : public std::runtime_error {
public:
    Error(gs_status status, const std::string &message) : std::runtime_error(message), status_(status) {}
    gs_status status() const noexcept { return status_; }

private:
    gs_status status_;
};

/// Throws for a failure and gives what is none back: GS_OK, GS_AGAIN, GS_TIMEOUT or GS_END.
inline gs_status check(gs_status status) {
    if (status < 0)
        throw Error(status, gs_last_error());
    return status;
}

/// A timeout: forever by default.
struct Wait {
    std::int64_t microseconds = -1;
    constexpr Wait() = default;
    template <class Rep, class Period>
    constexpr Wait(std::chrono::duration<Rep, Period> time)
        : microseconds(std::chrono::duration_cast<std::chrono::microseconds>(time).count()) {}
    static constexpr Wait poll() { return Wait(std::chrono::microseconds(0)); }
    static constexpr Wait forever() { return Wait(); }
};

namespace detail {

/// One handle, moved and never copied.
template <class T, void (*Free)(T **)> class Owner {
public:
    Owner() = default;
    explicit Owner(T *handle) noexcept : handle_(handle) {}
    Owner(Owner &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Owner &operator=(Owner &&other) noexcept {
        if (this != &other) {
            Free(&handle_);
            handle_ = std::exchange(other.handle_, nullptr);
        }
        return *this;
    }
    Owner(const Owner &) = delete;
    Owner &operator=(const Owner &) = delete;
    ~Owner() { Free(&handle_); }

    T *get() const noexcept { return handle_; }
    explicit operator bool() const noexcept { return handle_ != nullptr; }
    /// For a function that fills it: frees what is there.
    T **out() noexcept {
        Free(&handle_);
        return &handle_;
    }

private:
    T *handle_ = nullptr;
};

/// A struct of zeros that knows its size.
template <class T> T sized() {
    T value{};
    value.size = static_cast<std::uint32_t>(sizeof value);
    return value;
}

} // namespace detail

/// Bytes or a text of the library's.
class Buffer : public detail::Owner<gs_buffer, gs_buffer_unref> {
public:
    using Owner::Owner;
    const std::uint8_t *data() const { return gs_buffer_data(get()); }
    std::size_t size() const { return gs_buffer_size(get()); }
    std::string_view text() const {
        const char *text = gs_buffer_text(get());
        return text ? std::string_view(text, size()) : std::string_view();
    }
    std::string str() const { return std::string(text()); }
};

/// A text as a JSON string, with its quotes.
inline std::string quote(const std::string &plain) {
    Buffer quoted;
    check(gs_json_quote(plain.c_str(), quoted.out()));
    return quoted.str();
}

inline std::string version() { return gs_version(); }

/// What is in a source, as JSON.
inline std::string probe(const std::string &source, std::uint32_t flags = 0) {
    Buffer json;
    check(gs_probe(source.c_str(), flags, json.out()));
    return json.str();
}

/// What is in a file of yours, as JSON; see gs_probe_bytes.
inline std::string probe(const gs_bytes &bytes, std::uint32_t flags = 0, const char *source = nullptr) {
    Buffer json;
    check(gs_probe_bytes(&bytes, source, flags, json.out()));
    return json.str();
}

/// What this machine can do, as JSON.
inline std::string devices() {
    Buffer json;
    check(gs_devices(json.out()));
    return json.str();
}

/// The settings that have names, as JSON.
inline std::string presets() {
    Buffer json;
    check(gs_presets(json.out()));
    return json.str();
}

/// A coded picture or a piece of sound.
class Packet : public detail::Owner<gs_packet, gs_packet_unref> {
public:
    using Owner::Owner;
    gs_packet_info info() const {
        auto info = detail::sized<gs_packet_info>();
        check(gs_packet_get_info(get(), &info));
        return info;
    }
    Packet share() const {
        Packet same;
        check(gs_packet_ref(get(), same.out()));
        return same;
    }
};

/// A raw picture or a run of sound.
class Frame : public detail::Owner<gs_frame, gs_frame_unref> {
public:
    using Owner::Owner;

    static gs_frame_options options() { return detail::sized<gs_frame_options>(); }

    static Frame alloc(const gs_frame_options &options) {
        Frame frame;
        check(gs_frame_alloc(&options, frame.out()));
        return frame;
    }

    /// A frame over memory that `keep` holds (a shared_ptr, a vector ...): kept until the library is done with it.
    template <class Keep>
    static Frame wrap(const gs_frame_options &options, const std::vector<gs_plane> &planes, Keep keep) {
        auto held = std::make_unique<Keep>(std::move(keep));
        Frame frame;
        check(gs_frame_wrap(
            &options, planes.data(), planes.size(), [](void *user) { delete static_cast<Keep *>(user); }, held.get(),
            frame.out()));
        held.release();
        return frame;
    }

    gs_frame_info info() const {
        auto info = detail::sized<gs_frame_info>();
        check(gs_frame_get_info(get(), &info));
        return info;
    }
    Buffer pack() const {
        Buffer packed;
        check(gs_frame_pack(get(), packed.out()));
        return packed;
    }
    Frame download() const {
        Frame host;
        check(gs_frame_download(get(), host.out()));
        return host;
    }
    Frame share() const {
        Frame same;
        check(gs_frame_ref(get(), same.out()));
        return same;
    }
};

/// Frames from any source.
class Capture : public detail::Owner<gs_capture, gs_capture_free> {
public:
    static gs_capture_options options() { return detail::sized<gs_capture_options>(); }

    explicit Capture(const std::string &source, const gs_capture_options &options = Capture::options()) {
        check(gs_capture_open(source.c_str(), &options, out()));
    }
    static gs_bytes bytes() { return detail::sized<gs_bytes>(); }
    /// A file of yours; see gs_capture_open_bytes.
    explicit Capture(const gs_bytes &bytes, const gs_capture_options &options = Capture::options(),
                     const char *source = nullptr) {
        check(gs_capture_open_bytes(&bytes, source, &options, out()));
    }
    /// Empty at the end, and when none came in time.
    std::optional<Frame> next(Wait wait = {}) {
        Frame frame;
        if (check(gs_capture_next_frame(get(), wait.microseconds, frame.out())) != GS_OK)
            return std::nullopt;
        return frame;
    }
    void seek(std::chrono::microseconds time) { check(gs_capture_seek(get(), time.count())); }
    void seek_frame(std::uint64_t index) { check(gs_capture_seek_frame(get(), index)); }
    std::uint64_t frame_count() {
        std::uint64_t count = 0;
        check(gs_capture_frame_count(get(), &count));
        return count;
    }
    std::string info() const {
        Buffer json;
        check(gs_capture_info(get(), json.out()));
        return json.str();
    }
    void interrupt() { check(gs_capture_interrupt(get())); }
};

/// An event: its numbers and its JSON.
struct Event {
    gs_event numbers = detail::sized<gs_event>();
    Buffer json;
    gs_event_type kind() const { return static_cast<gs_event_type>(numbers.kind); }
};

/// Frames in, packets out.
class Encoder : public detail::Owner<gs_encoder, gs_encoder_free> {
public:
    static gs_encoder_options options() { return detail::sized<gs_encoder_options>(); }

    explicit Encoder(const gs_encoder_options &options) { check(gs_encoder_open(&options, out())); }

    /// False when there was no room in time.
    bool push(const Frame &frame, Wait wait = {}) {
        return check(gs_encoder_push_frame(get(), frame.get(), wait.microseconds)) == GS_OK;
    }
    void finish() { check(gs_encoder_finish(get())); }
    /// Empty at the end, and when none came in time.
    std::optional<Packet> next(Wait wait = {}) {
        Packet packet;
        if (check(gs_encoder_next_packet(get(), wait.microseconds, packet.out())) != GS_OK)
            return std::nullopt;
        return packet;
    }
    std::optional<Event> next_event(Wait wait = {}) {
        Event event;
        if (check(gs_encoder_next_event(get(), wait.microseconds, &event.numbers, event.json.out())) != GS_OK)
            return std::nullopt;
        return event;
    }
    void set(const std::string &change) { check(gs_encoder_set(get(), change.c_str())); }
    std::string stats() const {
        Buffer json;
        check(gs_encoder_stats(get(), json.out()));
        return json.str();
    }
    Buffer extradata(Wait wait = {}) {
        Buffer extradata;
        check(gs_encoder_extradata(get(), wait.microseconds, extradata.out()));
        return extradata;
    }
};

/// A running job.
class Job : public detail::Owner<gs_job, gs_job_free> {
public:
    using Owner::Owner;
    Job(Job &&) = default;
    Job &operator=(Job &&other) noexcept {
        // The old job's wakeup may run until that job is gone.
        Owner::operator=(std::move(other));
        wakeup_ = std::move(other.wakeup_);
        return *this;
    }
    ~Job() {
        if (get())
            gs_job_set_wakeup(get(), nullptr, nullptr);
    }

    std::uint64_t id() const { return gs_job_id(get()); }
    gs_state state() const {
        std::int32_t state = 0;
        check(gs_job_get_state(get(), &state));
        return static_cast<gs_state>(state);
    }
    /// Empty after the DONE event, and when none came in time.
    std::optional<Event> next_event(Wait wait = {}) {
        Event event;
        if (check(gs_job_next_event(get(), wait.microseconds, &event.numbers, event.json.out())) != GS_OK)
            return std::nullopt;
        return event;
    }
    /// `wakeup` runs on engine threads: it must be quick, not throw, and not call this job.
    void set_wakeup(std::function<void()> wakeup) {
        auto next = wakeup ? std::make_unique<std::function<void()>>(std::move(wakeup)) : nullptr;
        auto call = [](void *user) { (*static_cast<std::function<void()> *>(user))(); };
        check(gs_job_set_wakeup(get(), next ? +call : nullptr, next.get()));
        wakeup_ = std::move(next);
    }
    std::string stats() const {
        Buffer json;
        check(gs_job_stats(get(), json.out()));
        return json.str();
    }
    void set(const std::string &change) { check(gs_job_set(get(), change.c_str())); }
    void pause() { check(gs_job_pause(get())); }
    void resume() { check(gs_job_resume(get())); }
    /// A new file for an output with `split`; the one that ends is told by a SAVED event.
    void split(uint32_t output = 0) { check(gs_job_split(get(), output)); }
    /// A file with the last seconds of an output with `replay`; 0 = all. It is told by a SAVED event.
    void save(uint32_t output = 0, double seconds = 0) { check(gs_job_save(get(), output, seconds)); }
    void stop() { check(gs_job_stop(get())); }
    void cancel() { check(gs_job_cancel(get())); }
    /// False when it is not over in time; throws the job's failure.
    bool wait(Wait wait = {}) { return check(gs_job_wait(get(), wait.microseconds)) == GS_OK; }

    std::size_t write(const void *data, std::size_t bytes, Wait wait = {}) {
        std::size_t written = 0;
        check(gs_job_write(get(), static_cast<const std::uint8_t *>(data), bytes, wait.microseconds, &written));
        return written;
    }
    bool push(const Frame &frame, Wait wait = {}) {
        return check(gs_job_push_frame(get(), frame.get(), wait.microseconds)) == GS_OK;
    }
    void finish_input() { check(gs_job_finish_input(get())); }
    std::optional<Packet> next_packet(std::uint32_t output, Wait wait = {}) {
        Packet packet;
        if (check(gs_job_next_packet(get(), output, wait.microseconds, packet.out())) != GS_OK)
            return std::nullopt;
        return packet;
    }

private:
    std::unique_ptr<std::function<void()>> wakeup_;
};

/// A checked document.
class Pipeline : public detail::Owner<gs_pipeline, gs_pipeline_free> {
public:
    explicit Pipeline(const std::string &json) { check(gs_pipeline_new(json.c_str(), out())); }
    std::string plan() const {
        Buffer json;
        check(gs_pipeline_plan(get(), json.out()));
        return json.str();
    }
    Job start() const {
        gs_job *job = nullptr;
        check(gs_pipeline_start(get(), &job));
        return Job(job);
    }
};

} // namespace gs

#endif
