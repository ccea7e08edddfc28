#include "session.h"
#include "surface.h"
#include "13.0/nvEncodeAPI.h"
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <sys/mman.h>
#include <unistd.h>

namespace standin {
namespace {

std::string text(const char *format, ...) __attribute__((format(printf, 1, 2)));
std::string text(const char *format, ...) {
    char line[320];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    return line;
}


// The bytes of reference frames and the like, roughly as a session takes them.
uint64_t session_bytes(const Init &init, unsigned references) {
    const uint64_t width = std::max(init.width, init.max_width), height = std::max(init.height, init.max_height);
    return (32ull << 20) + width * height * 3 / 2 * (references + 4);
}

} // namespace

Session::Session(Handle self, const Layout *layout, Api api, void *context, int ordinal, int id)
    : self_(self), layout_(layout), api_(api), context_(context), device_(::standin_device(ordinal)), id_(id) {}

Session::~Session() {
    for (auto &[handle, output] : outputs_) close_view(output);
    if (reserved_) standin_release(device_->ordinal, reserved_);
    if (engine_ >= 0) leave_engine(device_->ordinal, engine_);
    standin_session_close(id_);
}

uint32_t Session::refuse(uint32_t status, const std::string &why) {
    error_ = why;
    return status;
}
uint32_t Session::violate(uint32_t status, const char *rule, const char *call, const std::string &why) {
    standin_violation(rule, call, "%s", why.c_str());
    return refuse(status, why);
}

uint32_t Session::version_word(Struct which) const {
    // The header's own word with the API that the session was opened with.
    return (layout_->version(which) & 0xf0ff0000u) | api_.word();
}

uint32_t Session::check_version(const void *structure, Struct which, const char *call, const char *name) {
    uint32_t found;
    memcpy(&found, structure, sizeof found);
    const uint32_t wanted = version_word(which);
    if (found == wanted) return 0;
    return violate(NV_ENC_ERR_INVALID_VERSION, "struct-version", call, text("%s has version %#x, API %d.%d has %#x", name, found, api_.major, api_.minor, wanted));
}

uint32_t Session::check_context(const char *call) {
    if (standin_context_device(context_) >= 0) return 0;
    return violate(NV_ENC_ERR_DEVICE_NOT_EXIST, "dead-context", call, "the CUDA context of the session was destroyed");
}

Handle Session::next_handle() {
    static std::mutex mutex;
    static uint64_t last = 0;
    std::lock_guard<std::mutex> guard(mutex);
    return reinterpret_cast<Handle>(0x5e55000000000000ull + ++last * 64);
}

StreamInfo Session::stream_info() const {
    StreamInfo info;
    info.width = init_.width;
    info.height = init_.height;
    info.chroma = config_.chroma;
    info.depth = config_.depth ? config_.depth : 8;
    info.profile = profile_idc(codec_, config_.profile);
    info.level = config_.level;
    info.tier = config_.tier;
    info.references = std::max(config_.references ? config_.references : 4u, order_.least_references());
    info.references = std::min(info.references, 16u);
    info.reorder = order_.reorder();
    info.sps_id = config_.sps_id;
    info.pps_id = config_.pps_id;
    info.vps_id = config_.vps_id;
    info.vui = config_.vui;
    if (!config_.timing_given) {
        info.vui.fps_num = init_.fps_num;
        info.vui.fps_den = init_.fps_den;
    }
    info.vui.fixed_rate = !config_.variable_rate;
    // The shape of a pixel, where the display is of another shape than the picture.
    const uint64_t across = static_cast<uint64_t>(init_.dar_width) * init_.height, down = static_cast<uint64_t>(init_.dar_height) * init_.width;
    if (across && down) {
        uint64_t a = across, b = down;
        while (b) {
            const uint64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (across / a <= 0xffff && down / a <= 0xffff) {
            info.vui.sar_num = static_cast<unsigned>(across / a);
            info.vui.sar_den = static_cast<unsigned>(down / a);
        }
    }
    info.buffering_period = config_.buffering_period;
    info.picture_timing = config_.picture_timing;
    info.hrd.present = config_.buffering_period || config_.picture_timing;
    info.hrd.constant = config_.rates.mode == NV_ENC_PARAMS_RC_CBR;
    info.hrd.bits_per_second = info.hrd.constant || !config_.rates.maximum ? config_.rates.average : config_.rates.maximum;
    if (!info.hrd.bits_per_second) info.hrd.bits_per_second = 5000000;
    info.hrd.buffer_bits = config_.rates.buffer ? config_.rates.buffer : info.hrd.bits_per_second;
    info.hrd.initial_bits = config_.rates.initial_delay ? config_.rates.initial_delay : info.hrd.buffer_bits * 9 / 10;
    return info;
}

uint32_t Session::initialize(const Init &init) {
    const char *call = "NvEncInitializeEncoder";
    if (initialized_) return violate(NV_ENC_ERR_INVALID_CALL, "initialized-twice", call, "the session was initialized before");
    const Codec codec = codec_of(init.codec);
    const standin_encoder *encoder = encoder_of(*device_, codec, api_);
    if (!encoder) return refuse(NV_ENC_ERR_INVALID_PARAM, "the codec is not supported by this device");
    const std::vector<Guid> known = presets(*layout_);
    unsigned tuning = init.tuning;
    const bool legacy = is_legacy(*layout_, init.preset, tuning);
    if (init.preset != Guid() && std::find(known.begin(), known.end(), init.preset) == known.end())
        return refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "the preset is not supported by this driver");
    if (!legacy && tuning == NV_ENC_TUNING_INFO_UNDEFINED)
        return violate(NV_ENC_ERR_INVALID_PARAM, "no-tuning", call, "tuningInfo is undefined with a preset of P1 to P7");
    const Config config = init.has_config ? init.config : preset_config(*encoder, codec, init.preset, tuning);
    const Refusal refusal = check(*device_, api_, codec, init, config);
    if (refusal.status) return refuse(refusal.status, refusal.why);
    if (!init.decide_types && config.interval > 1)
        return refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "picture types decided by the client together with B frames: the stand-in has no such mode");

    codec_ = codec;
    init_ = init;
    config_ = config;
    const unsigned lookahead = config.rates.lookahead ? config.rates.lookahead_depth : 0;
    order_.configure(config.interval, config.gop, config.idr_period, lookahead, config.interval > 1 ? config.bframe_reference : 0);
    const StreamInfo info = stream_info();
    const uint64_t bytes = session_bytes(init, info.references);
    if (!standin_reserve(device_->ordinal, bytes)) return refuse(NV_ENC_ERR_OUT_OF_MEMORY, "the device has no memory left for the session");
    reserved_ = bytes;
    std::string problem;
    writer_ = codec == Codec::H264 ? make_h264(info) : codec == Codec::Hevc ? make_hevc(info) : make_av1(info, problem);
    if (!writer_) {
        standin_release(device_->ordinal, reserved_);
        reserved_ = 0;
        return refuse(NV_ENC_ERR_GENERIC, problem);
    }
    initialized_ = true;
    tell_preset(init.preset, "initialize");
    tell_config("initialize");
    if (engine_ < 0) engine_ = take_engine(device_->ordinal, device_->encoders);
    update();
    return 0;
}

void Session::tell_preset(const Guid &preset, const char *by) const {
    const std::vector<Guid> known = presets(*layout_);
    const auto at = std::find(known.begin(), known.end(), preset);
    // P1 to P7 are the first ones.
    const int number = at == known.end() ? 0 : static_cast<int>(at - known.begin()) + 1;
    standin_log("standin.preset", "\"preset\":%d,\"by\":\"%s\",\"encoder\":\"%p\"", number, by, self_);
    // For clients that may not write a log.
    if (standin_knob_int("TELL", 0)) fprintf(stderr, "standin: preset p%d by %s of %ux%u\n", number, by, init_.width, init_.height);
}

// All that a client can ask for, as it reached the driver: what the stand-in makes nothing of is seen here only.
void Session::tell_config(const char *by) const {
    if (!standin_logging()) return;
    const Rates &r = config_.rates;
    const Config &c = config_;
    std::string line = text("\"by\":\"%s\",\"device\":%d,\"codec\":\"%s\",\"tuning\":%u", by, device_->ordinal,
                            codec_ == Codec::H264 ? "h264" : codec_ == Codec::Hevc ? "hevc" : "av1", init_.tuning);
    const auto add = [&line](const char *name, long long value) { line += text(",\"%s\":%lld", name, value); };
    const auto three = [&line](const char *name, const int (&v)[3]) { line += text(",\"%s\":[%d,%d,%d]", name, v[2], v[0], v[1]); };
    add("width", init_.width), add("height", init_.height), add("max_width", init_.max_width), add("max_height", init_.max_height);
    add("fps_num", init_.fps_num), add("fps_den", init_.fps_den), add("dar_width", init_.dar_width), add("dar_height", init_.dar_height);
    add("split", init_.split), add("weighted", init_.weighted), add("gop", c.gop), add("idr_period", c.idr_period), add("interval", c.interval);
    add("profile", profile_idc(codec_, c.profile)), add("level", c.level), add("tier", c.tier), add("chroma", c.chroma), add("depth", c.depth);
    add("input_depth", c.input_depth), add("rate_mode", r.mode), add("average", r.average), add("maximum", r.maximum), add("buffer", r.buffer);
    add("initial_delay", r.initial_delay), add("quality", r.target_quality), add("quality_lsb", r.target_quality_lsb);
    three("qp", r.qp);
    add("min_qp_set", r.min_qp_set), add("max_qp_set", r.max_qp_set);
    three("min_qp", r.min_qp), three("max_qp", r.max_qp);
    add("multipass", r.multipass), add("spatial_aq", r.spatial_aq), add("aq_strength", r.aq_strength), add("temporal_aq", r.temporal_aq);
    add("lookahead", r.lookahead), add("lookahead_depth", r.lookahead_depth), add("lookahead_level", r.lookahead_level);
    add("no_adaptive_i", r.no_adaptive_i), add("no_adaptive_b", r.no_adaptive_b), add("zero_reorder", r.zero_reorder);
    add("nonref_p", r.nonref_p), add("strict_gop", r.strict_gop), add("qp_map_mode", r.qp_map_mode);
    add("temporal_filter", c.temporal_filter), add("filler", c.filler), add("entropy", c.entropy), add("references", c.references);
    add("bframe_reference", c.bframe_reference), add("delimiter", c.delimiter), add("repeat_headers", c.repeat_headers);
    add("intra_refresh", c.intra_refresh), add("single_slice_refresh", c.single_slice_refresh), add("refresh_period", c.refresh_period);
    add("refresh_count", c.refresh_count), add("lossless", c.lossless), add("mastering", c.mastering), add("light", c.light);
    add("primaries", c.vui.primaries), add("transfer", c.vui.transfer), add("matrix", c.vui.matrix), add("full_range", c.vui.full_range);
    line += text(",\"encoder\":\"%p\"", self_);
    standin_log("standin.config", "%s", line.c_str());
}

void Session::update() {
    const struct standin_session state = {device_->ordinal,
                                          codec_ == Codec::None ? -1 : static_cast<int>(codec_),
                                          static_cast<int>(init_.width),
                                          static_cast<int>(init_.height),
                                          init_.fps_den ? static_cast<int>(init_.fps_num / init_.fps_den) : 0,
                                          coded_};
    standin_session_update(id_, &state);
}

uint32_t Session::reconfigure(const Reconfigure &change) {
    const char *call = "NvEncReconfigureEncoder";
    const Init &next = change.init;
    const Config config = next.has_config ? next.config : config_;
    const auto refused = [&](const char *what) { return violate(NV_ENC_ERR_INVALID_PARAM, "reconfigure", call, text("%s cannot change in a session", what)); };
    if (next.codec != init_.codec) return refused("the codec");
    if (next.tuning != init_.tuning) return refused("tuningInfo");
    const std::vector<Guid> known = presets(*layout_);
    if (next.preset != Guid() && std::find(known.begin(), known.end(), next.preset) == known.end())
        return refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "the preset is not supported by this driver");
    if (next.decide_types != init_.decide_types) return refused("enablePTD");
    if (next.async != init_.async) return refused("enableEncodeAsync");
    if (config.gop != config_.gop) return refused("gopLength");
    if (config.interval != config_.interval) return refused("frameIntervalP");
    if (config.idr_period != config_.idr_period) return refused("idrPeriod");
    if (config.rates.lookahead != config_.rates.lookahead || config.rates.lookahead_depth != config_.rates.lookahead_depth) return refused("the lookahead");
    if (config.bframe_reference != config_.bframe_reference) return refused("useBFramesAsRef");
    if (config.chroma != config_.chroma || config.depth != config_.depth) return refused("the chroma format or bit depth");
    if (config.references != config_.references) return refused("the number of reference frames");
    if (config.profile != config_.profile) return refused("the profile");
    if (next.max_width != init_.max_width || next.max_height != init_.max_height) return refused("maxEncodeWidth/Height");
    if (next.split != init_.split) return refused("splitEncodeMode");
    const bool resized = next.width != init_.width || next.height != init_.height;
    if (resized && (next.width > init_.max_width || next.height > init_.max_height))
        return violate(NV_ENC_ERR_INVALID_PARAM, "reconfigure", call,
                       text("%ux%u is above the maximum %ux%u that the session was opened with", next.width, next.height, init_.max_width, init_.max_height));
    const standin_encoder &encoder = *encoder_of(*device_, codec_, api_);
    if (resized && !cap(encoder, NV_ENC_CAPS_SUPPORT_DYN_RES_CHANGE)) return refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "no dynamic resolution change");
    if (config.rates.mode != config_.rates.mode && !cap(encoder, NV_ENC_CAPS_SUPPORT_DYN_RCMODE_CHANGE))
        return refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "no dynamic change of the rate control mode");
    const Refusal refusal = check(*device_, api_, codec_, next, config);
    if (refusal.status) return refuse(refusal.status, refusal.why);

    if (resized) { // what waits has the old size
        size_t coded = 0;
        if (const uint32_t status = advance(true, coded)) return status;
        order_.restart();
    }
    if (next.preset != init_.preset) tell_preset(next.preset, "reconfigure");
    init_ = next;
    config_ = config;
    tell_config("reconfigure");
    writer_->change(stream_info());
    if (change.force_idr || change.reset) force_idr_ = true;
    if (resized) wrote_headers_ = false;
    update();
    return 0;
}

uint32_t Session::create_input(const InputBuffer &made, Handle &out) {
    const char *call = "NvEncCreateInputBuffer";
    const standin_encoder &encoder = *encoder_of(*device_, codec_, api_);
    const std::vector<uint32_t> list = formats(encoder, api_);
    if (std::find(list.begin(), list.end(), made.format) == list.end())
        return refuse(NV_ENC_ERR_INVALID_PARAM, text("the buffer format %#x is not supported", made.format));
    if (made.width == 0 || made.height == 0) return refuse(NV_ENC_ERR_INVALID_PARAM, "the size is zero");
    if (made.width < init_.width || made.height < init_.height)
        return violate(NV_ENC_ERR_INVALID_PARAM, "input-size", call, text("an input buffer of %ux%u for pictures of %ux%u", made.width, made.height, init_.width, init_.height));
    InputSurface surface;
    surface.made = made;
    surface.pitch = (least_pitch(made.format, made.width) + 511) / 512 * 512;
    const uint32_t none[2] = {};
    surface.data.resize(surface_bytes(made.format, surface.pitch, made.height, none));
    if (!standin_reserve(device_->ordinal, surface.data.size())) return refuse(NV_ENC_ERR_OUT_OF_MEMORY, "the device has no memory left");
    out = next_handle();
    inputs_[out] = std::move(surface);
    return 0;
}

uint32_t Session::destroy_input(Handle handle) {
    const char *call = "NvEncDestroyInputBuffer";
    const auto it = inputs_.find(handle);
    if (it == inputs_.end()) return violate(NV_ENC_ERR_INVALID_PTR, "unknown-handle", call, text("%p is no input buffer", handle));
    if (it->second.locked) standin_violation("destroy-locked", call, "the input buffer is locked");
    if (it->second.in_flight) return violate(NV_ENC_ERR_INVALID_CALL, "destroy-in-flight", call, "the input buffer has a picture that is not coded yet");
    standin_release(device_->ordinal, it->second.data.size());
    inputs_.erase(it);
    return 0;
}

uint32_t Session::lock_input(Handle handle, bool no_wait, void *&data, uint32_t &pitch) {
    const char *call = "NvEncLockInputBuffer";
    const auto it = inputs_.find(handle);
    if (it == inputs_.end()) return violate(NV_ENC_ERR_INVALID_PTR, "unknown-handle", call, text("%p is no input buffer", handle));
    if (it->second.locked) return violate(NV_ENC_ERR_INVALID_CALL, "locked-twice", call, "the input buffer is locked already");
    if (it->second.in_flight) {
        if (no_wait) return refuse(NV_ENC_ERR_ENCODER_BUSY, "the input buffer has a picture that is not coded yet");
        return violate(NV_ENC_ERR_ENCODER_BUSY, "lock-in-flight", call, "the input buffer has a picture that is not coded yet: waiting would last forever");
    }
    it->second.locked = true;
    data = it->second.data.data();
    pitch = it->second.pitch;
    return 0;
}

uint32_t Session::unlock_input(Handle handle) {
    const char *call = "NvEncUnlockInputBuffer";
    const auto it = inputs_.find(handle);
    if (it == inputs_.end()) return violate(NV_ENC_ERR_INVALID_PTR, "unknown-handle", call, text("%p is no input buffer", handle));
    if (!it->second.locked) return violate(NV_ENC_ERR_INVALID_CALL, "not-locked", call, "the input buffer is not locked");
    it->second.locked = false;
    return 0;
}

uint32_t Session::create_output(Handle &out) {
    out = next_handle();
    outputs_[out];
    return 0;
}

uint32_t Session::destroy_output(Handle handle) {
    const char *call = "NvEncDestroyBitstreamBuffer";
    const auto it = outputs_.find(handle);
    if (it == outputs_.end()) return violate(NV_ENC_ERR_INVALID_PTR, "unknown-handle", call, text("%p is no bitstream buffer", handle));
    if (it->second.state == Output::Held) return violate(NV_ENC_ERR_INVALID_CALL, "destroy-locked", call, "the bitstream buffer is locked");
    // Giving up before the end leaves buffers that were never read; that is allowed.
    for (auto *list : {&queued_, &ready_}) list->erase(std::remove(list->begin(), list->end(), handle), list->end());
    close_view(it->second);
    outputs_.erase(it);
    return 0;
}

uint32_t Session::register_resource(const Resource &resource, Handle &out) {
    const char *call = "NvEncRegisterResource";
    if (resource.kind != NV_ENC_INPUT_RESOURCE_TYPE_CUDADEVICEPTR && resource.kind != NV_ENC_INPUT_RESOURCE_TYPE_CUDAARRAY)
        return refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, text("resourceType %u on a CUDA session", resource.kind));
    if (resource.usage != NV_ENC_INPUT_IMAGE) return refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "only input images are offered by the stand-in");
    if (!resource.resource) return violate(NV_ENC_ERR_INVALID_PARAM, "null-resource", call, "resourceToRegister is null");
    const standin_encoder &encoder = *encoder_of(*device_, codec_, api_);
    const std::vector<uint32_t> list = formats(encoder, api_);
    if (std::find(list.begin(), list.end(), resource.format) == list.end())
        return refuse(NV_ENC_ERR_INVALID_PARAM, text("the buffer format %#x is not supported", resource.format));
    if (resource.width == 0 || resource.height == 0) return refuse(NV_ENC_ERR_INVALID_PARAM, "the size is zero");
    if (resource.width < init_.width || resource.height < init_.height)
        return violate(NV_ENC_ERR_INVALID_PARAM, "input-size", call, text("a surface of %ux%u for pictures of %ux%u", resource.width, resource.height, init_.width, init_.height));
    Registration registration;
    registration.resource = resource;
    if (resource.kind == NV_ENC_INPUT_RESOURCE_TYPE_CUDADEVICEPTR) {
        if (resource.pitch % 4 || resource.pitch < least_pitch(resource.format, resource.width))
            return violate(NV_ENC_ERR_INVALID_PARAM, "pitch", call, text("a pitch of %u for %u pixels (it must be a multiple of 4)", resource.pitch, resource.width));
        registration.bytes = surface_bytes(resource.format, resource.pitch, resource.height, resource.chroma_offset);
        if (!standin_view(reinterpret_cast<uint64_t>(resource.resource), registration.bytes, call))
            return refuse(NV_ENC_ERR_RESOURCE_REGISTER_FAILED, text("%zu bytes at %p are not device memory", registration.bytes, resource.resource));
    } else {
        struct standin_array_view view;
        if (!standin_array(resource.resource, &view, call)) return refuse(NV_ENC_ERR_RESOURCE_REGISTER_FAILED, "not a CUDA array");
    }
    for (const auto &[other, existing] : registrations_)
        if (existing.resource.resource == resource.resource && existing.resource.chroma_offset[0] == resource.chroma_offset[0])
            return violate(NV_ENC_ERR_RESOURCE_REGISTER_FAILED, "registered-twice", call, text("%p is registered already", resource.resource));
    out = next_handle();
    registrations_[out] = registration;
    return 0;
}

uint32_t Session::unregister_resource(Handle handle) {
    const char *call = "NvEncUnregisterResource";
    const auto it = registrations_.find(handle);
    if (it == registrations_.end())
        return violate(NV_ENC_ERR_RESOURCE_NOT_REGISTERED, "unknown-handle", call, text("%p is not registered", handle));
    if (it->second.mapped) return violate(NV_ENC_ERR_INVALID_CALL, "unregister-mapped", call, "the resource is mapped");
    registrations_.erase(it);
    return 0;
}

uint32_t Session::map(Handle handle, Handle &out, uint32_t &format) {
    const char *call = "NvEncMapInputResource";
    const auto it = registrations_.find(handle);
    if (it == registrations_.end())
        return violate(NV_ENC_ERR_RESOURCE_NOT_REGISTERED, "unknown-handle", call, text("%p is not registered", handle));
    if (it->second.mapped) return violate(NV_ENC_ERR_MAP_FAILED, "mapped-twice", call, "the resource is mapped already");
    const Resource &resource = it->second.resource;
    if (resource.kind == NV_ENC_INPUT_RESOURCE_TYPE_CUDADEVICEPTR &&
        !standin_view(reinterpret_cast<uint64_t>(resource.resource), it->second.bytes, call))
        return refuse(NV_ENC_ERR_MAP_FAILED, "the memory of the resource was freed");
    out = next_handle();
    it->second.mapped = out;
    mappings_[out].registration = handle;
    format = resource.format;
    return 0;
}

void Session::failed(uint32_t status) {
    failures_ = status ? failures_ + 1 : 0;
    gone_ = status == NV_ENC_ERR_INVALID_ENCODERDEVICE || status == NV_ENC_ERR_INVALID_DEVICE || status == NV_ENC_ERR_DEVICE_NOT_EXIST;
}

uint32_t Session::unmap(Handle handle) {
    const char *call = "NvEncUnmapInputResource";
    const auto it = mappings_.find(handle);
    if (it == mappings_.end()) return violate(NV_ENC_ERR_RESOURCE_NOT_MAPPED, "unknown-handle", call, text("%p is not mapped", handle));
    const bool hopeless = gone_ || failures_ > 1;
    if (it->second.in_flight && !hopeless) return violate(NV_ENC_ERR_INVALID_CALL, "unmap-in-flight", call, "the picture of the resource is not coded yet");
    const bool coded = std::any_of(outputs_.begin(), outputs_.end(), [&](const auto &o) { return o.second.input == handle && o.second.state == Output::Done; });
    if (it->second.unlocked && !(hopeless && (gone_ || !coded))) standin_violation("unmap-before-lock", call, "the output given with the resource was not locked yet");
    const auto registration = registrations_.find(it->second.registration);
    if (registration != registrations_.end()) registration->second.mapped = nullptr;
    mappings_.erase(it);
    return 0;
}

bool Session::source_of(const Frame &frame, Source &out, const char *call) {
    const auto input = inputs_.find(frame.pic.input);
    if (input != inputs_.end()) {
        const InputSurface &surface = input->second;
        out = {surface.data.data(), surface.made.format, surface.pitch, surface.made.height, surface.made.width, {}};
        return true;
    }
    const auto mapping = mappings_.find(frame.pic.input);
    if (mapping == mappings_.end()) return false;
    const Registration &registration = registrations_[mapping->second.registration];
    const Resource &resource = registration.resource;
    out.format = resource.format;
    out.width = resource.width;
    out.height = resource.height;
    out.pitch = resource.pitch;
    out.chroma_offset[0] = resource.chroma_offset[0];
    out.chroma_offset[1] = resource.chroma_offset[1];
    if (resource.kind == NV_ENC_INPUT_RESOURCE_TYPE_CUDADEVICEPTR) {
        out.data = static_cast<const uint8_t *>(standin_view(reinterpret_cast<uint64_t>(resource.resource), registration.bytes, call));
        return out.data != nullptr;
    }
    struct standin_array_view view;
    if (!standin_array(resource.resource, &view, call)) return false;
    out.data = static_cast<const uint8_t *>(view.data);
    out.pitch = static_cast<uint32_t>(view.pitch);
    return true;
}

uint32_t Session::set_streams(void *input, void *output) {
    streams_[0] = input;
    streams_[1] = output;
    return 0;
}

uint32_t Session::invalidate(uint64_t timestamp) {
    const standin_encoder &encoder = *encoder_of(*device_, codec_, api_);
    if (!cap(encoder, NV_ENC_CAPS_SUPPORT_REF_PIC_INVALIDATION)) return refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "reference invalidation is not supported");
    const auto it = shown_.find(timestamp);
    if (it == shown_.end()) return refuse(NV_ENC_ERR_INVALID_PARAM, text("no reference has the time stamp %llu", static_cast<unsigned long long>(timestamp)));
    // What was predicted from it is as broken.
    for (const auto &[other, poc] : shown_)
        if (poc >= it->second) dropped_.push_back(poc);
    return 0;
}

uint32_t Session::sequence_of(const Init &init, const SequenceRequest &request) {
    // As if it were initialized, and then as if it had not been.
    const uint32_t status = initialize(init);
    if (status) return status;
    const uint32_t answer = sequence(request);
    writer_.reset();
    standin_release(device_->ordinal, reserved_);
    reserved_ = 0;
    initialized_ = false;
    return answer;
}

uint32_t Session::sequence(const SequenceRequest &request) {
    if (!request.buffer || !request.written) return refuse(NV_ENC_ERR_INVALID_PTR, "spsppsBuffer or outSPSPPSPayloadSize is null");
    const Bytes headers = writer_->headers();
    if (headers.size() > request.size) return refuse(NV_ENC_ERR_NOT_ENOUGH_BUFFER, text("%zu bytes of headers, room for %u", headers.size(), request.size));
    memcpy(request.buffer, headers.data(), headers.size());
    *request.written = static_cast<uint32_t>(headers.size());
    return 0;
}

void Session::close_view(Output &output) {
    if (output.view) munmap(output.view, output.view_size);
    output.view = nullptr;
}

uint32_t Session::destroy() {
    // The end of the session with things still held: the driver frees them, the client forgot them.
    const auto leak = [&](const char *kind, size_t count) {
        if (count) standin_leak(kind, "%zu left when the session was destroyed", count);
    };
    leak("nvenc-mapped-resource", mappings_.size());
    leak("nvenc-registered-resource", registrations_.size());
    leak("nvenc-input-buffer", inputs_.size());
    leak("nvenc-bitstream-buffer", outputs_.size());
    for (const auto &[handle, surface] : inputs_) standin_release(device_->ordinal, surface.data.size());
    return 0;
}

} // namespace standin
