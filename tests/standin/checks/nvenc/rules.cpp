// A client of NVENC that breaks one rule a run, written against a published header (which one, -I says) and nothing of ours.
// Prints what each call of interest returned; 44-nvenc-rules.py knows what it should have been.
#include "nvEncodeAPI.h"
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <vector>

namespace {

#define API (NVENCAPI_MAJOR_VERSION * 100 + NVENCAPI_MINOR_VERSION)

template <typename T> T symbol(void *library, const char *name) {
    void *found = library ? dlsym(library, name) : nullptr;
    if (!found) {
        fprintf(stderr, "no %s: %s\n", name, dlerror());
        exit(3);
    }
    return reinterpret_cast<T>(found);
}

NV_ENCODE_API_FUNCTION_LIST api;
void *context, *encoder;
int (*cuMemAlloc)(uint64_t *, size_t);
int (*cuMemFree)(uint64_t);
int (*cuCtxDestroy)(void *);
int (*cuMemcpyHtoD)(uint64_t, const void *, size_t);

constexpr uint32_t W = 320, H = 192;
NV_ENC_INITIALIZE_PARAMS init;
NV_ENC_PRESET_CONFIG preset;

void say(int status) { printf("%d ", status); }

template <typename T> T with(uint32_t version) {
    T made;
    memset(&made, 0, sizeof made);
    made.version = version;
    return made;
}

int create() {
    void *library = dlopen("libnvidia-encode.so.1", RTLD_NOW);
    api = with<NV_ENCODE_API_FUNCTION_LIST>(NV_ENCODE_API_FUNCTION_LIST_VER);
    return symbol<NVENCSTATUS (*)(NV_ENCODE_API_FUNCTION_LIST *)>(library, "NvEncodeAPICreateInstance")(&api);
}

int open(void **out = &encoder) {
    auto params = with<NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS>(NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS_VER);
    params.deviceType = NV_ENC_DEVICE_TYPE_CUDA;
    params.device = context;
    params.apiVersion = NVENCAPI_VERSION;
    return api.nvEncOpenEncodeSessionEx(&params, out);
}

// A session of P pictures; the case changes what it wants before `start`.
void prepare(GUID codec = NV_ENC_CODEC_H264_GUID) {
    preset = with<NV_ENC_PRESET_CONFIG>(NV_ENC_PRESET_CONFIG_VER);
    preset.presetCfg.version = NV_ENC_CONFIG_VER;
    const int status = api.nvEncGetEncodePresetConfigEx(encoder, codec, NV_ENC_PRESET_P1_GUID, NV_ENC_TUNING_INFO_HIGH_QUALITY, &preset);
    if (status) say(status);
    preset.presetCfg.frameIntervalP = 1;
    init = with<NV_ENC_INITIALIZE_PARAMS>(NV_ENC_INITIALIZE_PARAMS_VER);
    init.encodeGUID = codec;
    init.presetGUID = NV_ENC_PRESET_P1_GUID;
    init.tuningInfo = NV_ENC_TUNING_INFO_HIGH_QUALITY;
    init.encodeWidth = init.darWidth = W;
    init.encodeHeight = init.darHeight = H;
    init.maxEncodeWidth = W;
    init.maxEncodeHeight = H;
    init.frameRateNum = 30;
    init.frameRateDen = 1;
    init.enablePTD = 1;
    init.encodeConfig = &preset.presetCfg;
}
int start() { return api.nvEncInitializeEncoder(encoder, &init); }

struct Surface {
    uint64_t memory = 0;
    void *registered = nullptr, *mapped = nullptr, *output = nullptr;
};

void *output() {
    auto params = with<NV_ENC_CREATE_BITSTREAM_BUFFER>(NV_ENC_CREATE_BITSTREAM_BUFFER_VER);
    const int status = api.nvEncCreateBitstreamBuffer(encoder, &params);
    if (status) say(status);
    return params.bitstreamBuffer;
}

int registering(uint64_t memory, void **out, uint32_t pitch = W, NV_ENC_BUFFER_FORMAT format = NV_ENC_BUFFER_FORMAT_NV12) {
    auto params = with<NV_ENC_REGISTER_RESOURCE>(NV_ENC_REGISTER_RESOURCE_VER);
    params.resourceType = NV_ENC_INPUT_RESOURCE_TYPE_CUDADEVICEPTR;
    params.resourceToRegister = reinterpret_cast<void *>(memory);
    params.width = W;
    params.height = H;
    params.pitch = pitch;
    params.bufferFormat = format;
    const int status = api.nvEncRegisterResource(encoder, &params);
    *out = params.registeredResource;
    return status;
}
int mapping(void *registered, void **out) {
    auto params = with<NV_ENC_MAP_INPUT_RESOURCE>(NV_ENC_MAP_INPUT_RESOURCE_VER);
    params.registeredResource = registered;
    const int status = api.nvEncMapInputResource(encoder, &params);
    *out = params.mappedResource;
    return status;
}

Surface surface(int shade) {
    Surface made;
    cuMemAlloc(&made.memory, W * H * 3 / 2);
    std::vector<uint8_t> pixels(W * H * 3 / 2, static_cast<uint8_t>(shade * 3));
    for (uint32_t i = 0; i < W * H; ++i) pixels[i] = static_cast<uint8_t>(i * 7 + shade * 11);
    cuMemcpyHtoD(made.memory, pixels.data(), pixels.size());
    int status = registering(made.memory, &made.registered);
    if (!status) status = mapping(made.registered, &made.mapped);
    if (status) say(status);
    made.output = output();
    return made;
}

NV_ENC_PIC_PARAMS picture(const Surface &s, uint64_t time) {
    auto params = with<NV_ENC_PIC_PARAMS>(NV_ENC_PIC_PARAMS_VER);
    params.inputWidth = params.inputPitch = W;
    params.inputHeight = H;
    params.inputBuffer = s.mapped;
    params.outputBitstream = s.output;
    params.bufferFmt = NV_ENC_BUFFER_FORMAT_NV12;
    params.pictureStruct = NV_ENC_PIC_STRUCT_FRAME;
    params.inputTimeStamp = time;
    params.frameIdx = static_cast<uint32_t>(time);
    return params;
}
int encode(const Surface &s, uint64_t time, uint32_t flags = 0) {
    auto params = picture(s, time);
    params.encodePicFlags = flags;
    return api.nvEncEncodePicture(encoder, &params);
}
int finish() {
    auto params = with<NV_ENC_PIC_PARAMS>(NV_ENC_PIC_PARAMS_VER);
    params.encodePicFlags = NV_ENC_PIC_FLAG_EOS;
    return api.nvEncEncodePicture(encoder, &params);
}

FILE *coded;
NV_ENC_LOCK_BITSTREAM last;
int lock(void *buffer, bool wait = true) {
    last = with<NV_ENC_LOCK_BITSTREAM>(NV_ENC_LOCK_BITSTREAM_VER);
    last.outputBitstream = buffer;
    last.doNotWait = !wait;
    return api.nvEncLockBitstream(encoder, &last);
}
int unlock(void *buffer) { return api.nvEncUnlockBitstream(encoder, buffer); }
// Locks, keeps and unlocks.
int take(void *buffer) {
    const int status = lock(buffer);
    if (status) return status;
    if (coded) fwrite(last.bitstreamBufferPtr, 1, last.bitstreamSizeInBytes, coded);
    return unlock(buffer);
}

void release(Surface &s) {
    if (s.mapped) api.nvEncUnmapInputResource(encoder, s.mapped);
    if (s.registered) api.nvEncUnregisterResource(encoder, s.registered);
    if (s.output) api.nvEncDestroyBitstreamBuffer(encoder, s.output);
    cuMemFree(s.memory);
    s = Surface();
}
int close() { return api.nvEncDestroyEncoder(encoder); }

// A session of P pictures (or with b B pictures between them) and n surfaces.
std::vector<Surface> session(int n, int b = 0, GUID codec = NV_ENC_CODEC_H264_GUID) {
    if (const int status = open()) say(status);
    prepare(codec);
    preset.presetCfg.frameIntervalP = b + 1;
    if (const int status = start()) say(status);
    std::vector<Surface> all;
    for (int i = 0; i < n; ++i) all.push_back(surface(i));
    return all;
}
void leave(std::vector<Surface> &all) {
    for (Surface &s : all) release(s);
    say(close());
}

int caps(GUID codec, NV_ENC_CAPS which, int *value, uint32_t version = NV_ENC_CAPS_PARAM_VER) {
    auto params = with<NV_ENC_CAPS_PARAM>(version);
    params.capsToQuery = which;
    return api.nvEncGetEncodeCaps(encoder, codec, &params, value);
}

int reconfigure(bool idr) {
    auto params = with<NV_ENC_RECONFIGURE_PARAMS>(NV_ENC_RECONFIGURE_PARAMS_VER);
    params.reInitEncodeParams = init;
    params.forceIDR = idr;
    params.resetEncoder = idr;
    return api.nvEncReconfigureEncoder(encoder, &params);
}

void rule(const std::string &name, const char *path) {
    if (path) coded = fopen(path, "wb");
    if (name == "clean") {
        auto s = session(3);
        for (int i = 0; i < 3; ++i) {
            say(encode(s[i], i));
            say(take(s[i].output));
        }
        say(finish());
        say(finish());
        leave(s);
    } else if (name == "reorder") {
        auto s = session(6, 2);
        for (int i = 0; i < 6; ++i) say(encode(s[i], 100 + i));
        say(finish());
        for (int i = 0; i < 6; ++i) {
            say(take(s[i].output));
            printf("t%d@%d ", static_cast<int>(last.pictureType), static_cast<int>(last.outputTimeStamp));
        }
        leave(s);
    } else if (name == "version") {
        say(open());
        int value;
        say(caps(NV_ENC_CODEC_H264_GUID, NV_ENC_CAPS_WIDTH_MAX, &value, NV_ENC_CAPS_PARAM_VER + 0x10000));
        prepare();
        preset.presetCfg.version ^= 0x10000;
        say(start());
        say(close());
    } else if (name == "uninitialized") {
        say(open());
        auto params = with<NV_ENC_CREATE_BITSTREAM_BUFFER>(NV_ENC_CREATE_BITSTREAM_BUFFER_VER);
        say(api.nvEncCreateBitstreamBuffer(encoder, &params));
        say(close());
    } else if (name == "twice") {
        auto s = session(0);
        say(start());
        leave(s);
    } else if (name == "lock-order") {
        auto s = session(2);
        say(encode(s[0], 0));
        say(encode(s[1], 1));
        say(lock(s[1].output));
        say(take(s[0].output));
        say(take(s[1].output));
        leave(s);
    } else if (name == "lock-early") {
        auto s = session(3, 2);
        for (int i = 0; i < 2; ++i) say(encode(s[i], i));
        say(take(s[0].output));
        say(lock(s[1].output));
        say(lock(s[1].output, false));
        say(finish());
        say(take(s[1].output));
        leave(s);
    } else if (name == "lock-unused") {
        auto s = session(1);
        say(lock(s[0].output));
        leave(s);
    } else if (name == "output-in-use") {
        auto s = session(2);
        say(encode(s[0], 0));
        Surface other = s[1];
        other.output = s[0].output;
        say(encode(other, 1));
        say(lock(s[0].output));
        say(encode(other, 1));
        say(unlock(s[0].output));
        leave(s);
    } else if (name == "input-locked") {
        auto s = session(1);
        auto made = with<NV_ENC_CREATE_INPUT_BUFFER>(NV_ENC_CREATE_INPUT_BUFFER_VER);
        made.width = W;
        made.height = H;
        made.bufferFmt = NV_ENC_BUFFER_FORMAT_NV12;
        say(api.nvEncCreateInputBuffer(encoder, &made));
        auto locked = with<NV_ENC_LOCK_INPUT_BUFFER>(NV_ENC_LOCK_INPUT_BUFFER_VER);
        locked.inputBuffer = made.inputBuffer;
        say(api.nvEncLockInputBuffer(encoder, &locked));
        Surface other = s[0];
        other.mapped = made.inputBuffer;
        say(encode(other, 0));
        say(api.nvEncUnlockInputBuffer(encoder, made.inputBuffer));
        say(encode(other, 0));
        say(take(s[0].output));
        say(api.nvEncDestroyInputBuffer(encoder, made.inputBuffer));
        leave(s);
    } else if (name == "unmap-early") {
        auto s = session(2, 2);
        say(encode(s[0], 0));
        say(encode(s[1], 1));
        say(api.nvEncUnmapInputResource(encoder, s[1].mapped)); // a B picture that waits
        say(finish());
        say(api.nvEncUnmapInputResource(encoder, s[0].mapped)); // coded, its output not locked
        s[0].mapped = nullptr;
        say(take(s[0].output));
        say(take(s[1].output));
        leave(s);
    } else if (name == "unregister-mapped") {
        auto s = session(1);
        say(api.nvEncUnregisterResource(encoder, s[0].registered));
        leave(s);
    } else if (name == "format") {
        auto s = session(1);
        auto params = picture(s[0], 0);
        params.bufferFmt = NV_ENC_BUFFER_FORMAT_IYUV;
        say(api.nvEncEncodePicture(encoder, &params));
        params = picture(s[0], 0);
        params.inputWidth = W - 16;
        say(api.nvEncEncodePicture(encoder, &params));
        leave(s);
    } else if (name == "register") {
        auto s = session(0);
        uint64_t memory;
        void *registered, *mapped;
        cuMemAlloc(&memory, W * H * 3 / 2);
        say(registering(memory, &registered, W - 4));
        say(registering(memory, &registered, W + 64)); // leaves the allocation
        say(registering(memory, &registered, W, NV_ENC_BUFFER_FORMAT_U8));
        say(registering(memory, &registered));
        cuMemFree(memory);
        say(mapping(registered, &mapped));
        say(api.nvEncUnregisterResource(encoder, registered));
        leave(s);
    } else if (name == "reconfigure") {
        init.maxEncodeWidth = W;
        if (const int status = open()) say(status);
        prepare();
        init.maxEncodeWidth = W;
        say(start());
        std::vector<Surface> s;
        for (int i = 0; i < 4; ++i) s.push_back(surface(i));
        say(encode(s[0], 0));
        say(take(s[0].output));
        preset.presetCfg.rcParams.averageBitRate = 1000000; // may change
        init.frameRateNum = 60;
        say(reconfigure(false));
        say(encode(s[1], 1));
        say(take(s[1].output));
        printf("t%d ", static_cast<int>(last.pictureType));
        say(reconfigure(true));
        say(encode(s[2], 2));
        say(take(s[2].output));
        printf("t%d ", static_cast<int>(last.pictureType));
        preset.presetCfg.gopLength = 17; // may not
        say(reconfigure(false));
        preset.presetCfg.gopLength = 250;
        preset.presetCfg.frameIntervalP = 3;
        say(reconfigure(false));
        preset.presetCfg.frameIntervalP = 1;
        init.encodeWidth = W + 16;
        say(reconfigure(true));
        init.encodeWidth = W - 64; // within the maximum
        init.encodeHeight = H - 32;
        say(reconfigure(true));
        auto params = picture(s[3], 3);
        params.inputWidth = W - 64;
        params.inputHeight = H - 32;
        say(api.nvEncEncodePicture(encoder, &params));
        say(take(s[3].output));
        printf("t%d ", static_cast<int>(last.pictureType));
        leave(s);
    } else if (name == "sessions") {
        void *handles[4] = {};
        for (void *&handle : handles) say(open(&handle));
        for (void *handle : handles)
            if (handle) say(api.nvEncDestroyEncoder(handle));
        say(open());
        say(close());
    } else if (name == "dead-context") {
        auto s = session(1);
        cuCtxDestroy(context);
        say(encode(s[0], 0));
        say(close());
    } else if (name == "after-destroy") {
        auto s = session(0);
        leave(s);
        say(finish());
        say(api.nvEncDestroyEncoder(encoder));
    } else if (name == "leak") {
        session(2);
        say(close());
    } else if (name == "never-closed") {
        session(0);
    } else if (name == "caps") {
        say(open());
        prepare();
        preset.presetCfg.frameIntervalP = 8;
        say(start());
        prepare();
        init.encodeWidth = 64;
        say(start());
        puts(api.nvEncGetLastErrorString(encoder));
        prepare();
        init.encodeWidth = init.maxEncodeWidth = 8000;
        say(start());
        prepare();
        init.enableEncodeAsync = 1;
        say(start());
        prepare();
        init.tuningInfo = NV_ENC_TUNING_INFO_UNDEFINED;
        say(start());
        prepare();
        preset.presetCfg.rcParams.enableLookahead = 1;
        preset.presetCfg.rcParams.lookaheadDepth = 32;
        say(start());
        prepare();
        init.enableWeightedPrediction = 1;
        preset.presetCfg.frameIntervalP = 3;
        say(start());
#if API >= 1300
        prepare();
        preset.presetCfg.encodeCodecConfig.h264Config.outputBitDepth = NV_ENC_BIT_DEPTH_10;
        say(start());
        prepare(NV_ENC_CODEC_HEVC_GUID);
        preset.presetCfg.encodeCodecConfig.hevcConfig.chromaFormatIDC = 2;
        say(start());
#else
        printf("12 12 ");
#endif
        say(close());
    } else if (name == "dangling") {
        auto s = session(1);
        say(encode(s[0], 0));
        say(lock(s[0].output));
        const volatile uint8_t *kept = static_cast<const uint8_t *>(last.bitstreamBufferPtr);
        printf("first byte %d ", kept[0]);
        fflush(stdout);
        say(unlock(s[0].output));
        printf("%d", kept[0]); // faults
    } else if (name == "windows") {
        auto s = session(1);
        auto params = picture(s[0], 0);
        params.completionEvent = &params;
        say(api.nvEncEncodePicture(encoder, &params));
        auto stat = with<NV_ENC_STAT>(NV_ENC_STAT_VER);
        say(api.nvEncGetEncodeStats(encoder, &stat));
        leave(s);
    } else if (name == "reserved") {
        say(open());
        prepare();
        init.reserved2[3] = &init;
        say(start());
        say(close());
    } else if (name == "fault") {
        auto s = session(3);
        for (int i = 0; i < 3; ++i) {
            say(encode(s[i], i));
            if (i < 2) say(take(s[i].output));
        }
        leave(s);
    } else if (name.rfind("stuck", 0) == 0) {
        // The first picture is coded and not read, the second waits, the third fails, and the end too if that lasts.
        auto s = session(3, 2);
        for (int i = 0; i < 3; ++i) say(encode(s[i], i));
        const auto unmap = [&](int i) {
            const int status = api.nvEncUnmapInputResource(encoder, s[i].mapped);
            if (!status) s[i].mapped = nullptr;
            say(status);
        };
        unmap(1);
        say(finish());
        if (name == "stuck-once") {
            say(take(s[0].output));
            say(take(s[1].output));
            unmap(1);
        } else {
            if (s[1].mapped) unmap(1);
            unmap(0);
        }
        leave(s);
    } else if (name == "memory") {
        say(open());
        prepare();
        say(start());
        say(close());
    } else if (name == "headers") {
        auto s = session(0);
        auto params = with<NV_ENC_SEQUENCE_PARAM_PAYLOAD>(NV_ENC_SEQUENCE_PARAM_PAYLOAD_VER);
        uint8_t bytes[512];
        uint32_t size = 0;
        params.spsppsBuffer = bytes;
        params.outSPSPPSPayloadSize = &size;
        params.inBufferSize = 4;
        say(api.nvEncGetSequenceParams(encoder, &params));
        params.inBufferSize = sizeof bytes;
        say(api.nvEncGetSequenceParams(encoder, &params));
        say(size > 16 && bytes[3] == 1 && bytes[4] == 0x67);
        leave(s);
    } else if (name == "headers-first") {
        say(open());
        prepare();
        auto params = with<NV_ENC_SEQUENCE_PARAM_PAYLOAD>(NV_ENC_SEQUENCE_PARAM_PAYLOAD_VER);
        uint8_t before[512], after[512];
        uint32_t size = 0, again = 0;
        params.spsppsBuffer = before;
        params.outSPSPPSPayloadSize = &size;
        params.inBufferSize = sizeof before;
        say(api.nvEncGetSequenceParamEx(encoder, &init, &params));
        say(start());
        params.spsppsBuffer = after;
        params.outSPSPPSPayloadSize = &again;
        say(api.nvEncGetSequenceParamEx(encoder, &init, &params));
        say(size == again && size > 16 && memcmp(before, after, size) == 0);
        say(close());
    } else if (name == "engines") {
        auto first = session(5);
        void *const one = encoder;
        auto second = session(5);
        void *const two = encoder;
        for (int i = 0; i < 5; ++i) {
            encoder = one;
            say(encode(first[i], i));
            encoder = two;
            say(encode(second[i], i));
        }
        for (int i = 0; i < 5; ++i) {
            encoder = one;
            if (i == 4) say(lock(first[i].output, false)); // still being coded
            say(take(first[i].output));
            encoder = two;
            say(take(second[i].output));
        }
        encoder = one;
        leave(first);
        encoder = two;
        leave(second);
    } else if (name == "nothing") {
        say(open());
        prepare();
        say(api.nvEncInitializeEncoder(encoder, nullptr));
        say(start());
        say(api.nvEncEncodePicture(encoder, nullptr));
        say(api.nvEncLockBitstream(encoder, nullptr));
        void *streams[2] = {};
        say(api.nvEncSetIOCudaStreams(encoder, nullptr, &streams[1]));
        say(api.nvEncSetIOCudaStreams(encoder, &streams[0], &streams[1]));
        say(close());
        context = nullptr;
        say(open());
    } else if (name == "again") {
        auto s = session(2, 2);
        void *other;
        say(mapping(s[0].registered, &other));
        say(registering(s[0].memory, &other));
        say(unlock(s[0].output));
        say(encode(s[0], 0));
        say(lock(s[0].output));
        say(lock(s[0].output));
        say(api.nvEncDestroyBitstreamBuffer(encoder, s[0].output));
        say(unlock(s[0].output));
        say(encode(s[1], 1)); // waits
        Surface twice = s[1];
        twice.output = s[0].output;
        say(encode(twice, 2));
        say(finish());
        say(take(s[1].output));
        leave(s);
    } else if (name == "input-buffer") {
        auto s = session(2, 2);
        auto made = with<NV_ENC_CREATE_INPUT_BUFFER>(NV_ENC_CREATE_INPUT_BUFFER_VER);
        made.width = W - 16;
        made.height = H;
        made.bufferFmt = NV_ENC_BUFFER_FORMAT_NV12;
        say(api.nvEncCreateInputBuffer(encoder, &made));
        made.width = W;
        say(api.nvEncCreateInputBuffer(encoder, &made));
        say(encode(s[0], 0));
        Surface waiting = s[1];
        waiting.mapped = made.inputBuffer;
        say(encode(waiting, 1));
        auto locked = with<NV_ENC_LOCK_INPUT_BUFFER>(NV_ENC_LOCK_INPUT_BUFFER_VER);
        locked.inputBuffer = made.inputBuffer;
        say(api.nvEncLockInputBuffer(encoder, &locked));
        locked.doNotWait = 1;
        say(api.nvEncLockInputBuffer(encoder, &locked));
        say(api.nvEncDestroyInputBuffer(encoder, made.inputBuffer));
        say(api.nvEncUnlockInputBuffer(encoder, made.inputBuffer));
        say(finish());
        say(take(s[0].output));
        say(take(s[1].output));
        say(api.nvEncDestroyInputBuffer(encoder, made.inputBuffer));
        leave(s);
    } else if (name == "picture") {
        auto s = session(1, 2);
        auto params = picture(s[0], 0);
        params.codecPicParams.h264PicParams.forceIntraRefreshWithFrameCnt = 5;
        say(api.nvEncEncodePicture(encoder, &params));
        params = picture(s[0], 0);
        params.codecPicParams.h264PicParams.ltrMarkFrame = 1;
        say(api.nvEncEncodePicture(encoder, &params));
        params = picture(s[0], 0);
        NV_ENC_SEI_PAYLOAD sei = {0, 5, nullptr};
        params.codecPicParams.h264PicParams.seiPayloadArray = &sei;
        params.codecPicParams.h264PicParams.seiPayloadArrayCnt = 1;
        say(api.nvEncEncodePicture(encoder, &params));
        params = picture(s[0], 0);
        params.qpDeltaMapSize = 99;
        say(api.nvEncEncodePicture(encoder, &params));
        leave(s);
    } else if (name == "surface") {
        say(open());
        prepare();
        init.enablePTD = 0;
        preset.presetCfg.profileGUID = NV_ENC_H264_PROFILE_HIGH_444_GUID;
        preset.presetCfg.encodeCodecConfig.h264Config.chromaFormatIDC = 3;
        say(start());
        std::vector<Surface> s = {surface(0)};
        say(encode(s[0], 0)); // NV12 for 4:4:4
        leave(s);
        say(open());
        prepare();
        init.enablePTD = 0;
        say(start());
        s = {surface(0)};
        auto params = picture(s[0], 0);
        params.pictureType = NV_ENC_PIC_TYPE_B;
        say(api.nvEncEncodePicture(encoder, &params));
        params.pictureType = NV_ENC_PIC_TYPE_IDR;
        say(api.nvEncEncodePicture(encoder, &params));
        say(take(s[0].output));
        printf("t%d ", static_cast<int>(last.pictureType));
        leave(s);
    } else if (name == "slices") {
        const bool hevc = path && strstr(path, ".hevc");
        say(open());
        prepare(hevc ? NV_ENC_CODEC_HEVC_GUID : NV_ENC_CODEC_H264_GUID);
        NV_ENC_CODEC_CONFIG &codec = preset.presetCfg.encodeCodecConfig;
        (hevc ? codec.hevcConfig.sliceMode : codec.h264Config.sliceMode) = 3;
        (hevc ? codec.hevcConfig.sliceModeData : codec.h264Config.sliceModeData) = 4;
        init.reportSliceOffsets = 1;
        say(start());
        std::vector<Surface> s;
        for (int i = 0; i < 3; ++i) s.push_back(surface(i / 2)); // the second repeats the first
        for (int i = 0; i < 3; ++i) {
            say(encode(s[i], i));
            uint32_t offsets[4] = {};
            last = with<NV_ENC_LOCK_BITSTREAM>(NV_ENC_LOCK_BITSTREAM_VER);
            last.outputBitstream = s[i].output;
            last.sliceOffsets = offsets;
            last.getRCStats = 1;
            say(api.nvEncLockBitstream(encoder, &last));
            const auto *bytes = static_cast<const uint8_t *>(last.bitstreamBufferPtr);
            bool begin = last.numSlices == 4;
            for (const uint32_t offset : offsets) begin = begin && offset < last.bitstreamSizeInBytes && memcmp(bytes + offset, "\0\0\0\1", 4) == 0;
            printf("%s/%s ", begin ? "slices" : "none", last.interMBCount == 0 ? "intra" : last.intraMBCount == 0 ? "inter" : "both");
            fwrite(bytes, 1, last.bitstreamSizeInBytes, coded);
            say(unlock(s[i].output));
        }
        leave(s);
    } else if (name == "invalidate") {
        auto s = session(4);
        for (int i = 0; i < 4; ++i) {
            if (i == 3) {
                say(api.nvEncInvalidateRefFrames(encoder, 1));
                say(api.nvEncInvalidateRefFrames(encoder, 77));
            }
            say(encode(s[i], i));
            say(take(s[i].output));
            printf("t%d ", static_cast<int>(last.pictureType));
        }
        leave(s);
    } else if (name == "metadata") {
        const bool hevc = path && strstr(path, ".hevc");
        if (const int status = open()) say(status);
        prepare(hevc ? NV_ENC_CODEC_HEVC_GUID : NV_ENC_CODEC_H264_GUID);
        NV_ENC_CODEC_CONFIG &codec = preset.presetCfg.encodeCodecConfig;
        NV_ENC_CONFIG_H264_VUI_PARAMETERS &vui = hevc ? codec.hevcConfig.hevcVUIParameters : codec.h264Config.h264VUIParameters;
        vui.videoSignalTypePresentFlag = vui.colourDescriptionPresentFlag = 1;
        using Primaries = decltype(vui.colourPrimaries);
        using Transfer = decltype(vui.transferCharacteristics);
        using Matrix = decltype(vui.colourMatrix);
        vui.colourPrimaries = static_cast<Primaries>(9);
        vui.transferCharacteristics = static_cast<Transfer>(16);
        vui.colourMatrix = static_cast<Matrix>(9);
        if (hevc)
            codec.hevcConfig.repeatSPSPPS = 1;
        else
            codec.h264Config.repeatSPSPPS = 1;
#if API >= 1300
        MASTERING_DISPLAY_INFO display = {{8500, 39850}, {6550, 2300}, {35400, 14600}, {15635, 16450}, 10000000, 50};
        CONTENT_LIGHT_LEVEL light = {1000, 400};
        if (hevc) codec.hevcConfig.outputMaxCll = codec.hevcConfig.outputMasteringDisplay = 1;
#endif
        say(start());
        std::vector<Surface> s;
        for (int i = 0; i < 4; ++i) s.push_back(surface(i));
        for (int i = 0; i < 4; ++i) {
            auto params = picture(s[i], i);
            if (i == 2) params.encodePicFlags = NV_ENC_PIC_FLAG_FORCEIDR;
            uint8_t text[] = "GhostStream-test\x01\x00\x00\x01payload";
            NV_ENC_SEI_PAYLOAD sei;
            sei.payloadType = 5;
            sei.payload = text;
            sei.payloadSize = sizeof text - 1;
            if (hevc) {
                params.codecPicParams.hevcPicParams.seiPayloadArray = &sei;
                params.codecPicParams.hevcPicParams.seiPayloadArrayCnt = 1;
#if API >= 1300
                params.codecPicParams.hevcPicParams.pMasteringDisplay = &display;
                params.codecPicParams.hevcPicParams.pMaxCll = &light;
#endif
            } else {
                params.codecPicParams.h264PicParams.seiPayloadArray = &sei;
                params.codecPicParams.h264PicParams.seiPayloadArrayCnt = 1;
            }
            say(api.nvEncEncodePicture(encoder, &params));
            say(take(s[i].output));
        }
        leave(s);
#if API >= 1200
    } else if (name == "metadata-av1") {
        if (const int status = open()) say(status);
        prepare(NV_ENC_CODEC_AV1_GUID);
        NV_ENC_CONFIG_AV1 &av1 = preset.presetCfg.encodeCodecConfig.av1Config;
        av1.colorPrimaries = NV_ENC_VUI_COLOR_PRIMARIES_BT2020;
        av1.transferCharacteristics = NV_ENC_VUI_TRANSFER_CHARACTERISTIC_SMPTE2084;
        av1.matrixCoefficients = NV_ENC_VUI_MATRIX_COEFFS_BT2020_NCL;
        av1.repeatSeqHdr = 1;
#if API >= 1300
        av1.outputMaxCll = av1.outputMasteringDisplay = 1;
        // In AV1's units: 0.16, 24.8 and 18.14 fixed point.
        MASTERING_DISPLAY_INFO display = {{11141, 52232}, {8585, 3015}, {46399, 19137}, {20493, 21561}, 1000 << 8, 82};
        CONTENT_LIGHT_LEVEL light = {1000, 400};
#endif
        say(start());
        std::vector<Surface> s;
        for (int i = 0; i < 4; ++i) s.push_back(surface(i));
        for (int i = 0; i < 4; ++i) {
            auto params = picture(s[i], i);
            if (i == 2) params.encodePicFlags = NV_ENC_PIC_FLAG_FORCEIDR;
            uint8_t text[] = "\xb5\x7f\xffGhostStream-test";
            NV_ENC_SEI_PAYLOAD sei = {sizeof text - 1, 4, text};
            params.codecPicParams.av1PicParams.obuPayloadArray = &sei;
            params.codecPicParams.av1PicParams.obuPayloadArrayCnt = 1;
#if API >= 1300
            params.codecPicParams.av1PicParams.pMasteringDisplay = &display;
            params.codecPicParams.av1PicParams.pMaxCll = &light;
#endif
            say(api.nvEncEncodePicture(encoder, &params));
            say(take(s[i].output));
        }
        leave(s);
#endif
    } else {
        fprintf(stderr, "no rule %s\n", name.c_str());
        exit(3);
    }
    if (coded) fclose(coded);
}

} // namespace

int main(int argc, char **argv) {
    void *cuda = dlopen("libcuda.so.1", RTLD_NOW);
    symbol<int (*)(unsigned)>(cuda, "cuInit")(0);
    cuMemAlloc = symbol<decltype(cuMemAlloc)>(cuda, "cuMemAlloc_v2");
    cuMemFree = symbol<decltype(cuMemFree)>(cuda, "cuMemFree_v2");
    cuCtxDestroy = symbol<decltype(cuCtxDestroy)>(cuda, "cuCtxDestroy_v2");
    cuMemcpyHtoD = symbol<decltype(cuMemcpyHtoD)>(cuda, "cuMemcpyHtoD_v2");
    symbol<int (*)(void **, unsigned, int)>(cuda, "cuCtxCreate_v2")(&context, 0, 0);
    const std::string name = argc > 1 ? argv[1] : "";
    void *const made = context;
    const int status = create();
    if (status)
        say(status);
    else
        rule(name, argc > 2 ? argv[2] : nullptr);
    if (name != "dead-context") cuCtxDestroy(made);
    return 0;
}
