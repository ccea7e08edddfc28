// The two exports of libnvidia-encode.so.1 and the function table behind them.
#include "session.h"
#include "13.0/nvEncodeAPI.h"
#include <cstdio>
#include <cstdlib>
#include <functional>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace standin {
namespace {

Api driver_api() {
    const Driver *driver = ::standin_driver();
    return {driver->api_major, driver->api_minor};
}

// The API that a version word names.
Api api_of(uint32_t word) { return {static_cast<int>(word & 0xff), static_cast<int>(word >> 24 & 0xf)}; }

const Layout *layout_of(const Api &api) {
    if (api.major == 11 && api.minor <= 1) return layout_11_1;
    if (api.major == 12 && api.minor == 1) return layout_12_1;
    if ((api.major == 12 && api.minor == 2) || (api.major == 13 && api.minor <= 1)) return layout_13_0;
    return nullptr;
}

std::mutex g_mutex;
std::map<void *, std::shared_ptr<Session>> g_sessions;

std::shared_ptr<Session> find(void *encoder) {
    std::lock_guard<std::mutex> guard(g_mutex);
    const auto it = g_sessions.find(encoder);
    return it == g_sessions.end() ? nullptr : it->second;
}

enum Need { Opened, Initialized };

// Runs one entry point: finds the session, injects the fault asked for, checks what it needs, and logs the outcome.
NVENCSTATUS run(const char *call, void *encoder, Need need, const std::function<uint32_t(Session &)> &body) {
    const standin_spending spending;
    uint32_t status;
    const std::shared_ptr<Session> session = encoder ? find(encoder) : nullptr;
    if (!session) {
        standin_violation("unknown-session", call, "%p is no open encode session", encoder);
        status = encoder ? NV_ENC_ERR_INVALID_ENCODERDEVICE : NV_ENC_ERR_INVALID_PTR;
    } else {
        std::lock_guard<std::mutex> guard(session->lock());
        const int fault = standin_fault(call);
        if (fault) {
            if (!strcmp(call, "NvEncEncodePicture") || fault == NV_ENC_ERR_DEVICE_NOT_EXIST) session->failed(static_cast<uint32_t>(fault));
            status = session->refuse(static_cast<uint32_t>(fault), "a fault that the test asked for");
        } else {
            status = session->check_context(call);
            if (!status && need == Initialized && !session->initialized())
                status = session->violate(NV_ENC_ERR_ENCODER_NOT_INITIALIZED, "not-initialized", call, "the encoder is not initialized");
            if (!status) status = body(*session);
        }
    }
    standin_log(call, "\"encoder\":\"%p\",\"rc\":%u", encoder, status);
    return static_cast<NVENCSTATUS>(status);
}

// A structure of the client: not null, and of the version that the session speaks.
uint32_t good(Session &session, const void *structure, Struct which, const char *call, const char *name) {
    if (!structure) return session.violate(NV_ENC_ERR_INVALID_PTR, "null-pointer", call, std::string(name) + " is null");
    return session.check_version(structure, which, call, name);
}

uint32_t read_ok(Session &session, const Reading &reading, const char *call) {
    if (reading.bad_version) {
        char line[160];
        snprintf(line, sizeof line, "%s inside has version %#x, %#x is due", reading.bad_version, reading.found, reading.wanted);
        return session.violate(NV_ENC_ERR_INVALID_VERSION, "struct-version", call, line);
    }
    if (reading.reserved) standin_violation("reserved", call, "%s is not zero: a field of a newer API, or memory that was not cleared", reading.reserved);
    return 0;
}

Guid plain(const GUID &guid) {
    Guid to;
    memcpy(to.bytes, &guid, sizeof to.bytes);
    return to;
}

template <typename T, typename F> uint32_t list(Session &session, const std::vector<T> &all, void *array, uint32_t room, uint32_t *count, const char *call, F write) {
    if (!count || (!array && room)) return session.violate(NV_ENC_ERR_INVALID_PTR, "null-pointer", call, "the array or its count is null");
    uint32_t done = 0;
    for (const T &one : all) {
        if (done == room) break;
        write(one, done++);
    }
    *count = done;
    return 0;
}

// Every codec GUID that a query names must be one of those offered.
const standin_encoder *offered(Session &session, const GUID &guid, Codec &codec, uint32_t &status) {
    codec = codec_of(plain(guid));
    const standin_encoder *encoder = encoder_of(session.device(), codec, session.api());
    if (!encoder) status = session.refuse(NV_ENC_ERR_INVALID_PARAM, "the codec is not supported by this device");
    return encoder;
}

NVENCSTATUS NVENCAPI OpenEncodeSession(void *, uint32_t, void **) {
    standin_log("NvEncOpenEncodeSession", "\"rc\":%d", NV_ENC_ERR_UNIMPLEMENTED);
    return NV_ENC_ERR_UNIMPLEMENTED; // deprecated for ten years
}

uint32_t open_session(const NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS *params, void **encoder) {
    const char *call = "NvEncOpenEncodeSessionEx";
    if (!params || !encoder) {
        standin_violation("null-pointer", call, "openSessionExParams or encoder is null");
        return NV_ENC_ERR_INVALID_PTR;
    }
    *encoder = nullptr;
    if (const int fault = standin_fault(call)) return static_cast<uint32_t>(fault);
    // This structure is the same in all versions.
    const Api api = api_of(params->apiVersion), driver = driver_api();
    const Layout *layout = layout_of(api);
    if (!driver.at_least(api.major, api.minor)) return NV_ENC_ERR_INVALID_VERSION;
    const uint32_t word = api.word();
    if (!layout) {
        fprintf(stderr, "standin: API %d.%d is not known to the stand-in (see tests/standin/README.md)\n", api.major, api.minor);
        return NV_ENC_ERR_INVALID_VERSION;
    }
    if (params->apiVersion != word || params->version != ((layout->version(Struct::OpenSession) & 0xf0ff0000u) | word)) {
        standin_violation("struct-version", call, "NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS has version %#x with apiVersion %#x", params->version, params->apiVersion);
        return NV_ENC_ERR_INVALID_VERSION;
    }
    if (params->deviceType != NV_ENC_DEVICE_TYPE_CUDA) return NV_ENC_ERR_UNSUPPORTED_DEVICE;
    if (!params->device) {
        standin_violation("null-device", call, "device is null");
        return NV_ENC_ERR_INVALID_DEVICE;
    }
    const int ordinal = standin_context_device(params->device);
    if (ordinal < 0) {
        standin_violation("dead-context", call, "%p is no live CUDA context", params->device);
        return NV_ENC_ERR_INVALID_DEVICE;
    }
    const int id = standin_session_open(ordinal);
    if (id < 0) return NV_ENC_ERR_UNSUPPORTED_DEVICE;
    if (id == 0) return static_cast<uint32_t>(::standin_driver()->session_code);
    static uint64_t last = 0;
    std::lock_guard<std::mutex> guard(g_mutex);
    void *handle = reinterpret_cast<void *>(0x5e5e000000000000ull + ++last * 64);
    g_sessions[handle] = std::make_shared<Session>(handle, layout, api, params->device, ordinal, id);
    *encoder = handle;
    return 0;
}

NVENCSTATUS NVENCAPI OpenEncodeSessionEx(NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS *params, void **encoder) {
    const uint32_t status = open_session(params, encoder);
    standin_log("NvEncOpenEncodeSessionEx", "\"encoder\":\"%p\",\"rc\":%u", encoder ? *encoder : nullptr, status);
    return static_cast<NVENCSTATUS>(status);
}

NVENCSTATUS NVENCAPI GetEncodeGUIDCount(void *encoder, uint32_t *count) {
    const char *call = "NvEncGetEncodeGUIDCount";
    return run(call, encoder, Opened, [&](Session &s) -> uint32_t {
        if (!count) return s.violate(NV_ENC_ERR_INVALID_PTR, "null-pointer", call, "encodeGUIDCount is null");
        *count = static_cast<uint32_t>(codecs(s.device(), s.api()).size());
        return 0;
    });
}

NVENCSTATUS NVENCAPI GetEncodeGUIDs(void *encoder, GUID *guids, uint32_t room, uint32_t *count) {
    const char *call = "NvEncGetEncodeGUIDs";
    return run(call, encoder, Opened, [&](Session &s) {
        return list(s, codecs(s.device(), s.api()), guids, room, count, call, [&](const Guid &one, uint32_t i) { memcpy(&guids[i], one.bytes, 16); });
    });
}

NVENCSTATUS NVENCAPI GetEncodeProfileGUIDCount(void *encoder, GUID guid, uint32_t *count) {
    const char *call = "NvEncGetEncodeProfileGUIDCount";
    return run(call, encoder, Opened, [&](Session &s) -> uint32_t {
        Codec codec;
        uint32_t status = 0;
        const standin_encoder *e = offered(s, guid, codec, status);
        if (!e) return status;
        if (!count) return s.violate(NV_ENC_ERR_INVALID_PTR, "null-pointer", call, "the count is null");
        *count = static_cast<uint32_t>(profiles(*e, codec, s.api()).size());
        return 0;
    });
}

NVENCSTATUS NVENCAPI GetEncodeProfileGUIDs(void *encoder, GUID guid, GUID *guids, uint32_t room, uint32_t *count) {
    const char *call = "NvEncGetEncodeProfileGUIDs";
    return run(call, encoder, Opened, [&](Session &s) -> uint32_t {
        Codec codec;
        uint32_t status = 0;
        const standin_encoder *e = offered(s, guid, codec, status);
        if (!e) return status;
        return list(s, profiles(*e, codec, s.api()), guids, room, count, call, [&](const Guid &one, uint32_t i) { memcpy(&guids[i], one.bytes, 16); });
    });
}

NVENCSTATUS NVENCAPI GetInputFormatCount(void *encoder, GUID guid, uint32_t *count) {
    const char *call = "NvEncGetInputFormatCount";
    return run(call, encoder, Opened, [&](Session &s) -> uint32_t {
        Codec codec;
        uint32_t status = 0;
        const standin_encoder *e = offered(s, guid, codec, status);
        if (!e) return status;
        if (!count) return s.violate(NV_ENC_ERR_INVALID_PTR, "null-pointer", call, "the count is null");
        *count = static_cast<uint32_t>(formats(*e, s.api()).size());
        return 0;
    });
}

NVENCSTATUS NVENCAPI GetInputFormats(void *encoder, GUID guid, NV_ENC_BUFFER_FORMAT *out, uint32_t room, uint32_t *count) {
    const char *call = "NvEncGetInputFormats";
    return run(call, encoder, Opened, [&](Session &s) -> uint32_t {
        Codec codec;
        uint32_t status = 0;
        const standin_encoder *e = offered(s, guid, codec, status);
        if (!e) return status;
        return list(s, formats(*e, s.api()), out, room, count, call, [&](uint32_t one, uint32_t i) { out[i] = static_cast<NV_ENC_BUFFER_FORMAT>(one); });
    });
}

NVENCSTATUS NVENCAPI GetEncodeCaps(void *encoder, GUID guid, NV_ENC_CAPS_PARAM *param, int *value) {
    const char *call = "NvEncGetEncodeCaps";
    return run(call, encoder, Opened, [&](Session &s) -> uint32_t {
        Codec codec;
        uint32_t status = 0;
        const standin_encoder *e = offered(s, guid, codec, status);
        if (!e) return status;
        if ((status = good(s, param, Struct::Caps, call, "NV_ENC_CAPS_PARAM"))) return status;
        if (!value) return s.violate(NV_ENC_ERR_INVALID_PTR, "null-pointer", call, "capsVal is null");
        const uint32_t which = s.layout()->caps_query(param);
        // 13.0 added two to what 12.2 has in the same layout.
        const bool before_13 = s.layout() == layout_13_0 && !s.api().at_least(13, 0);
        const uint32_t newest = before_13 ? uint32_t{NV_ENC_CAPS_SUPPORT_MVHEVC_ENCODE} : s.layout()->newest_cap;
        if (which >= newest) return s.refuse(NV_ENC_ERR_INVALID_PARAM, "a cap that this version of the API does not have");
        *value = cap(*e, which);
        return 0;
    });
}

NVENCSTATUS NVENCAPI GetEncodePresetCount(void *encoder, GUID guid, uint32_t *count) {
    const char *call = "NvEncGetEncodePresetCount";
    return run(call, encoder, Opened, [&](Session &s) -> uint32_t {
        Codec codec;
        uint32_t status = 0;
        if (!offered(s, guid, codec, status)) return status;
        if (!count) return s.violate(NV_ENC_ERR_INVALID_PTR, "null-pointer", call, "the count is null");
        *count = static_cast<uint32_t>(presets(*s.layout()).size());
        return 0;
    });
}

NVENCSTATUS NVENCAPI GetEncodePresetGUIDs(void *encoder, GUID guid, GUID *guids, uint32_t room, uint32_t *count) {
    const char *call = "NvEncGetEncodePresetGUIDs";
    return run(call, encoder, Opened, [&](Session &s) -> uint32_t {
        Codec codec;
        uint32_t status = 0;
        if (!offered(s, guid, codec, status)) return status;
        return list(s, presets(*s.layout()), guids, room, count, call, [&](const Guid &one, uint32_t i) { memcpy(&guids[i], one.bytes, 16); });
    });
}

uint32_t preset_config(Session &s, const GUID &guid, const GUID &preset, uint32_t tuning, bool extended, NV_ENC_PRESET_CONFIG *out, const char *call) {
    Codec codec;
    uint32_t status = 0;
    const standin_encoder *e = offered(s, guid, codec, status);
    if (!e) return status;
    if ((status = good(s, out, Struct::PresetConfig, call, "NV_ENC_PRESET_CONFIG"))) return status;
    const Guid wanted = plain(preset);
    bool known = false;
    for (const Guid &one : presets(*s.layout())) known = known || one == wanted;
    if (!known) return s.refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "the preset is not supported by this driver");
    const bool legacy = is_legacy(*s.layout(), wanted, tuning);
    if (!extended && !legacy) return s.refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "P1 to P7 need NvEncGetEncodePresetConfigEx");
    if (tuning == NV_ENC_TUNING_INFO_UNDEFINED || tuning >= NV_ENC_TUNING_INFO_COUNT) return s.refuse(NV_ENC_ERR_INVALID_PARAM, "tuningInfo is undefined");
    if (tuning == NV_ENC_TUNING_INFO_ULTRA_HIGH_QUALITY && (codec == Codec::H264 || !s.api().at_least(12, 2)))
        return s.refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "the UHQ tuning is for HEVC and AV1 from 12.2 on");
    Reading reading(s.api().word());
    s.layout()->preset(out, codec, standin::preset_config(*e, codec, wanted, tuning), reading);
    return read_ok(s, reading, call);
}

NVENCSTATUS NVENCAPI GetEncodePresetConfig(void *encoder, GUID guid, GUID preset, NV_ENC_PRESET_CONFIG *out) {
    const char *call = "NvEncGetEncodePresetConfig";
    return run(call, encoder, Opened, [&](Session &s) { return preset_config(s, guid, preset, 0, false, out, call); });
}
NVENCSTATUS NVENCAPI GetEncodePresetConfigEx(void *encoder, GUID guid, GUID preset, NV_ENC_TUNING_INFO tuning, NV_ENC_PRESET_CONFIG *out) {
    const char *call = "NvEncGetEncodePresetConfigEx";
    return run(call, encoder, Opened, [&](Session &s) { return preset_config(s, guid, preset, tuning, true, out, call); });
}

NVENCSTATUS NVENCAPI InitializeEncoder(void *encoder, NV_ENC_INITIALIZE_PARAMS *params) {
    const char *call = "NvEncInitializeEncoder";
    return run(call, encoder, Opened, [&](Session &s) -> uint32_t {
        if (const uint32_t status = good(s, params, Struct::Initialize, call, "NV_ENC_INITIALIZE_PARAMS")) return status;
        Init init;
        Reading reading(s.api().word());
        s.layout()->init(params, codec_of(s.layout()->init_codec(params)), init, reading);
        if (const uint32_t status = read_ok(s, reading, call)) return status;
        return s.initialize(init);
    });
}

NVENCSTATUS NVENCAPI ReconfigureEncoder(void *encoder, NV_ENC_RECONFIGURE_PARAMS *params) {
    const char *call = "NvEncReconfigureEncoder";
    return run(call, encoder, Initialized, [&](Session &s) -> uint32_t {
        if (const uint32_t status = good(s, params, Struct::Reconfigure, call, "NV_ENC_RECONFIGURE_PARAMS")) return status;
        Reconfigure change;
        Reading reading(s.api().word());
        s.layout()->reconfigure(params, s.codec(), change, reading);
        if (const uint32_t status = read_ok(s, reading, call)) return status;
        return s.reconfigure(change);
    });
}

NVENCSTATUS NVENCAPI CreateInputBuffer(void *encoder, NV_ENC_CREATE_INPUT_BUFFER *params) {
    const char *call = "NvEncCreateInputBuffer";
    return run(call, encoder, Initialized, [&](Session &s) -> uint32_t {
        if (const uint32_t status = good(s, params, Struct::CreateInput, call, "NV_ENC_CREATE_INPUT_BUFFER")) return status;
        InputBuffer made;
        Reading reading(s.api().word());
        s.layout()->input(params, made, reading);
        if (const uint32_t status = read_ok(s, reading, call)) return status;
        Handle handle = nullptr;
        if (const uint32_t status = s.create_input(made, handle)) return status;
        s.layout()->input_out(params, handle);
        return 0;
    });
}
NVENCSTATUS NVENCAPI DestroyInputBuffer(void *encoder, NV_ENC_INPUT_PTR buffer) {
    return run("NvEncDestroyInputBuffer", encoder, Initialized, [&](Session &s) { return s.destroy_input(buffer); });
}

NVENCSTATUS NVENCAPI CreateBitstreamBuffer(void *encoder, NV_ENC_CREATE_BITSTREAM_BUFFER *params) {
    const char *call = "NvEncCreateBitstreamBuffer";
    return run(call, encoder, Initialized, [&](Session &s) -> uint32_t {
        if (const uint32_t status = good(s, params, Struct::CreateBitstream, call, "NV_ENC_CREATE_BITSTREAM_BUFFER")) return status;
        Handle handle = nullptr;
        if (const uint32_t status = s.create_output(handle)) return status;
        s.layout()->bitstream_out(params, handle);
        return 0;
    });
}
NVENCSTATUS NVENCAPI DestroyBitstreamBuffer(void *encoder, NV_ENC_OUTPUT_PTR buffer) {
    return run("NvEncDestroyBitstreamBuffer", encoder, Initialized, [&](Session &s) { return s.destroy_output(buffer); });
}

NVENCSTATUS NVENCAPI EncodePicture(void *encoder, NV_ENC_PIC_PARAMS *params) {
    const char *call = "NvEncEncodePicture";
    return run(call, encoder, Initialized, [&](Session &s) -> uint32_t {
        if (const uint32_t status = good(s, params, Struct::Pic, call, "NV_ENC_PIC_PARAMS")) return status;
        Pic pic;
        Reading reading(s.api().word());
        s.layout()->pic(params, s.codec(), pic, reading);
        if (const uint32_t status = read_ok(s, reading, call)) return status;
        s.failed(0);
        return s.encode(pic);
    });
}

NVENCSTATUS NVENCAPI LockBitstream(void *encoder, NV_ENC_LOCK_BITSTREAM *params) {
    const char *call = "NvEncLockBitstream";
    return run(call, encoder, Initialized, [&](Session &s) -> uint32_t {
        if (const uint32_t status = good(s, params, Struct::LockBitstream, call, "NV_ENC_LOCK_BITSTREAM")) return status;
        Locked locked;
        Reading reading(s.api().word());
        s.layout()->lock_in(params, locked, reading);
        if (const uint32_t status = read_ok(s, reading, call)) return status;
        if (const uint32_t status = s.lock_output(locked)) return status;
        s.layout()->lock_out(params, locked);
        return 0;
    });
}
NVENCSTATUS NVENCAPI UnlockBitstream(void *encoder, NV_ENC_OUTPUT_PTR buffer) {
    return run("NvEncUnlockBitstream", encoder, Initialized, [&](Session &s) { return s.unlock_output(buffer); });
}

NVENCSTATUS NVENCAPI LockInputBuffer(void *encoder, NV_ENC_LOCK_INPUT_BUFFER *params) {
    const char *call = "NvEncLockInputBuffer";
    return run(call, encoder, Initialized, [&](Session &s) -> uint32_t {
        if (const uint32_t status = good(s, params, Struct::LockInput, call, "NV_ENC_LOCK_INPUT_BUFFER")) return status;
        bool no_wait = false;
        void *data = nullptr;
        uint32_t pitch = 0;
        Handle handle = s.layout()->lock_input_in(params, no_wait);
        if (const uint32_t status = s.lock_input(handle, no_wait, data, pitch)) return status;
        s.layout()->lock_input_out(params, data, pitch);
        return 0;
    });
}
NVENCSTATUS NVENCAPI UnlockInputBuffer(void *encoder, NV_ENC_INPUT_PTR buffer) {
    return run("NvEncUnlockInputBuffer", encoder, Initialized, [&](Session &s) { return s.unlock_input(buffer); });
}

NVENCSTATUS NVENCAPI GetEncodeStats(void *encoder, NV_ENC_STAT *) {
    const char *call = "NvEncGetEncodeStats";
    return run(call, encoder, Initialized, [&](Session &s) { return s.violate(NV_ENC_ERR_UNSUPPORTED_PARAM, "encode-stats", call, "not supported on a CUDA device: the lock has them"); });
}

uint32_t sequence(Session &s, NV_ENC_SEQUENCE_PARAM_PAYLOAD *params, const char *call) {
    if (const uint32_t status = good(s, params, Struct::Sequence, call, "NV_ENC_SEQUENCE_PARAM_PAYLOAD")) return status;
    SequenceRequest request;
    s.layout()->sequence(params, request);
    return s.sequence(request);
}
NVENCSTATUS NVENCAPI GetSequenceParams(void *encoder, NV_ENC_SEQUENCE_PARAM_PAYLOAD *params) {
    const char *call = "NvEncGetSequenceParams";
    return run(call, encoder, Initialized, [&](Session &s) { return sequence(s, params, call); });
}
NVENCSTATUS NVENCAPI GetSequenceParamEx(void *encoder, NV_ENC_INITIALIZE_PARAMS *init, NV_ENC_SEQUENCE_PARAM_PAYLOAD *params) {
    const char *call = "NvEncGetSequenceParamEx";
    return run(call, encoder, Opened, [&](Session &s) -> uint32_t {
        if (s.initialized()) return sequence(s, params, call);
        // Before Initialize it answers from what Initialize will be given.
        if (const uint32_t status = good(s, init, Struct::Initialize, call, "NV_ENC_INITIALIZE_PARAMS")) return status;
        if (const uint32_t status = good(s, params, Struct::Sequence, call, "NV_ENC_SEQUENCE_PARAM_PAYLOAD")) return status;
        Init wanted;
        Reading reading(s.api().word());
        s.layout()->init(init, codec_of(s.layout()->init_codec(init)), wanted, reading);
        if (const uint32_t status = read_ok(s, reading, call)) return status;
        SequenceRequest request;
        s.layout()->sequence(params, request);
        return s.sequence_of(wanted, request);
    });
}

NVENCSTATUS NVENCAPI RegisterAsyncEvent(void *encoder, NV_ENC_EVENT_PARAMS *) {
    const char *call = "NvEncRegisterAsyncEvent";
    return run(call, encoder, Initialized, [&](Session &s) { return s.violate(NV_ENC_ERR_UNIMPLEMENTED, "event", call, "events are Windows only"); });
}
NVENCSTATUS NVENCAPI UnregisterAsyncEvent(void *encoder, NV_ENC_EVENT_PARAMS *) {
    const char *call = "NvEncUnregisterAsyncEvent";
    return run(call, encoder, Initialized, [&](Session &s) { return s.violate(NV_ENC_ERR_UNIMPLEMENTED, "event", call, "events are Windows only"); });
}

NVENCSTATUS NVENCAPI MapInputResource(void *encoder, NV_ENC_MAP_INPUT_RESOURCE *params) {
    const char *call = "NvEncMapInputResource";
    return run(call, encoder, Initialized, [&](Session &s) -> uint32_t {
        if (const uint32_t status = good(s, params, Struct::MapInput, call, "NV_ENC_MAP_INPUT_RESOURCE")) return status;
        Handle handle = nullptr;
        uint32_t format = 0;
        if (const uint32_t status = s.map(s.layout()->map_in(params), handle, format)) return status;
        s.layout()->map_out(params, handle, format);
        return 0;
    });
}
NVENCSTATUS NVENCAPI UnmapInputResource(void *encoder, NV_ENC_INPUT_PTR mapped) {
    return run("NvEncUnmapInputResource", encoder, Initialized, [&](Session &s) { return s.unmap(mapped); });
}

NVENCSTATUS NVENCAPI RegisterResource(void *encoder, NV_ENC_REGISTER_RESOURCE *params) {
    const char *call = "NvEncRegisterResource";
    return run(call, encoder, Initialized, [&](Session &s) -> uint32_t {
        if (const uint32_t status = good(s, params, Struct::Register, call, "NV_ENC_REGISTER_RESOURCE")) return status;
        Resource resource;
        Reading reading(s.api().word());
        s.layout()->resource(params, resource, reading);
        if (const uint32_t status = read_ok(s, reading, call)) return status;
        Handle handle = nullptr;
        if (const uint32_t status = s.register_resource(resource, handle)) return status;
        s.layout()->resource_out(params, handle);
        return 0;
    });
}
NVENCSTATUS NVENCAPI UnregisterResource(void *encoder, NV_ENC_REGISTERED_PTR registered) {
    return run("NvEncUnregisterResource", encoder, Initialized, [&](Session &s) { return s.unregister_resource(registered); });
}

NVENCSTATUS NVENCAPI DestroyEncoder(void *encoder) {
    // Also of a session that was never initialized, or whose context is gone: what is left must be given back somehow.
    const char *call = "NvEncDestroyEncoder";
    const std::shared_ptr<Session> session = encoder ? find(encoder) : nullptr;
    uint32_t status = 0;
    if (!session) {
        standin_violation("unknown-session", call, "%p is no open encode session", encoder);
        status = encoder ? NV_ENC_ERR_INVALID_ENCODERDEVICE : NV_ENC_ERR_INVALID_PTR;
    } else {
        {
            std::lock_guard<std::mutex> guard(session->lock());
            status = session->destroy();
        }
        std::lock_guard<std::mutex> guard(g_mutex);
        g_sessions.erase(encoder);
    }
    standin_log(call, "\"encoder\":\"%p\",\"rc\":%u", encoder, status);
    return static_cast<NVENCSTATUS>(status);
}

NVENCSTATUS NVENCAPI InvalidateRefFrames(void *encoder, uint64_t timestamp) {
    return run("NvEncInvalidateRefFrames", encoder, Initialized, [&](Session &s) { return s.invalidate(timestamp); });
}

NVENCSTATUS NVENCAPI CreateMVBuffer(void *encoder, NV_ENC_CREATE_MV_BUFFER *) {
    return run("NvEncCreateMVBuffer", encoder, Initialized, [](Session &s) { return s.refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "no motion estimation mode"); });
}
NVENCSTATUS NVENCAPI DestroyMVBuffer(void *encoder, NV_ENC_OUTPUT_PTR) {
    return run("NvEncDestroyMVBuffer", encoder, Initialized, [](Session &s) { return s.refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "no motion estimation mode"); });
}
NVENCSTATUS NVENCAPI RunMotionEstimationOnly(void *encoder, NV_ENC_MEONLY_PARAMS *) {
    return run("NvEncRunMotionEstimationOnly", encoder, Initialized, [](Session &s) { return s.refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "no motion estimation mode"); });
}

const char *NVENCAPI GetLastErrorString(void *encoder) {
    // Kept per thread: the text of a session may be replaced by another thread's call.
    static thread_local std::string kept;
    const std::shared_ptr<Session> session = encoder ? find(encoder) : nullptr;
    if (!session) return "no such session";
    std::lock_guard<std::mutex> guard(session->lock());
    kept = session->last_error();
    return kept.c_str();
}

NVENCSTATUS NVENCAPI SetIOCudaStreams(void *encoder, NV_ENC_CUSTREAM_PTR input, NV_ENC_CUSTREAM_PTR output) {
    // Pointers to CUstream, which live as long as the session.
    const char *call = "NvEncSetIOCudaStreams";
    return run(call, encoder, Initialized, [&](Session &s) -> uint32_t {
        if (!input || !output) return s.violate(NV_ENC_ERR_INVALID_PTR, "null-pointer", call, "inputStream or outputStream is null");
        return s.set_streams(*static_cast<void **>(input), *static_cast<void **>(output));
    });
}

NVENCSTATUS NVENCAPI RestoreEncoderState(void *encoder, NV_ENC_RESTORE_ENCODER_STATE_PARAMS *) {
    return run("NvEncRestoreEncoderState", encoder, Initialized, [](Session &s) { return s.refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "no state buffers"); });
}
NVENCSTATUS NVENCAPI LookaheadPicture(void *encoder, NV_ENC_LOOKAHEAD_PIC_PARAMS *) {
    return run("NvEncLookaheadPicture", encoder, Initialized, [](Session &s) { return s.refuse(NV_ENC_ERR_UNSUPPORTED_PARAM, "no external lookahead"); });
}

void report_sessions() {
    std::lock_guard<std::mutex> guard(g_mutex);
    for (const auto &[handle, session] : g_sessions) standin_leak("nvenc-session", "the session %p was never destroyed", handle);
}

uint32_t create(NV_ENCODE_API_FUNCTION_LIST *table) {
    const char *call = "NvEncodeAPICreateInstance";
    if (!table) {
        standin_violation("null-pointer", call, "functionList is null");
        return NV_ENC_ERR_INVALID_PTR;
    }
    if (const int fault = standin_fault(call)) return static_cast<uint32_t>(fault);
    const Api api = api_of(table->version), driver = driver_api();
    if (!driver.at_least(api.major, api.minor)) return NV_ENC_ERR_INVALID_VERSION;
    const uint32_t word = api.word();
    if (table->version != ((NV_ENCODE_API_FUNCTION_LIST_VER & 0xf0ff0000u) | word)) {
        standin_violation("struct-version", call, "NV_ENCODE_API_FUNCTION_LIST has version %#x", table->version);
        return NV_ENC_ERR_INVALID_VERSION;
    }
    static const bool registered = [] {
        standin_at_exit(report_sessions);
        return true;
    }();
    (void)registered;
    table->nvEncOpenEncodeSession = OpenEncodeSession;
    table->nvEncGetEncodeGUIDCount = GetEncodeGUIDCount;
    table->nvEncGetEncodeProfileGUIDCount = GetEncodeProfileGUIDCount;
    table->nvEncGetEncodeProfileGUIDs = GetEncodeProfileGUIDs;
    table->nvEncGetEncodeGUIDs = GetEncodeGUIDs;
    table->nvEncGetInputFormatCount = GetInputFormatCount;
    table->nvEncGetInputFormats = GetInputFormats;
    table->nvEncGetEncodeCaps = GetEncodeCaps;
    table->nvEncGetEncodePresetCount = GetEncodePresetCount;
    table->nvEncGetEncodePresetGUIDs = GetEncodePresetGUIDs;
    table->nvEncGetEncodePresetConfig = GetEncodePresetConfig;
    table->nvEncInitializeEncoder = InitializeEncoder;
    table->nvEncCreateInputBuffer = CreateInputBuffer;
    table->nvEncDestroyInputBuffer = DestroyInputBuffer;
    table->nvEncCreateBitstreamBuffer = CreateBitstreamBuffer;
    table->nvEncDestroyBitstreamBuffer = DestroyBitstreamBuffer;
    table->nvEncEncodePicture = EncodePicture;
    table->nvEncLockBitstream = LockBitstream;
    table->nvEncUnlockBitstream = UnlockBitstream;
    table->nvEncLockInputBuffer = LockInputBuffer;
    table->nvEncUnlockInputBuffer = UnlockInputBuffer;
    table->nvEncGetEncodeStats = GetEncodeStats;
    table->nvEncGetSequenceParams = GetSequenceParams;
    table->nvEncRegisterAsyncEvent = RegisterAsyncEvent;
    table->nvEncUnregisterAsyncEvent = UnregisterAsyncEvent;
    table->nvEncMapInputResource = MapInputResource;
    table->nvEncUnmapInputResource = UnmapInputResource;
    table->nvEncDestroyEncoder = DestroyEncoder;
    table->nvEncInvalidateRefFrames = InvalidateRefFrames;
    table->nvEncOpenEncodeSessionEx = OpenEncodeSessionEx;
    table->nvEncRegisterResource = RegisterResource;
    table->nvEncUnregisterResource = UnregisterResource;
    table->nvEncReconfigureEncoder = ReconfigureEncoder;
    table->nvEncCreateMVBuffer = CreateMVBuffer;
    table->nvEncDestroyMVBuffer = DestroyMVBuffer;
    table->nvEncRunMotionEstimationOnly = RunMotionEstimationOnly;
    table->nvEncGetLastErrorString = GetLastErrorString;
    table->nvEncSetIOCudaStreams = SetIOCudaStreams;
    table->nvEncGetEncodePresetConfigEx = GetEncodePresetConfigEx;
    if (api.at_least(11, 1)) table->nvEncGetSequenceParamEx = GetSequenceParamEx;
    if (api.at_least(12, 1)) {
        table->nvEncRestoreEncoderState = RestoreEncoderState;
        table->nvEncLookaheadPicture = LookaheadPicture;
    }
    return 0;
}

} // namespace
} // namespace standin

EXPORT NVENCSTATUS NVENCAPI NvEncodeAPIGetMaxSupportedVersion(uint32_t *version) {
    if (!version) return NV_ENC_ERR_INVALID_PTR;
    const standin::Api api = standin::driver_api();
    *version = static_cast<uint32_t>(api.major) << 4 | static_cast<uint32_t>(api.minor);
    standin_log("NvEncodeAPIGetMaxSupportedVersion", "\"version\":%u", *version);
    return NV_ENC_SUCCESS;
}

EXPORT NVENCSTATUS NVENCAPI NvEncodeAPICreateInstance(NV_ENCODE_API_FUNCTION_LIST *table) {
    const uint32_t status = standin::create(table);
    standin_log("NvEncodeAPICreateInstance", "\"rc\":%u", status);
    return static_cast<NVENCSTATUS>(status);
}
