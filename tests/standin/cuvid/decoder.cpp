// libnvcuvid.so.1: decoders whose pictures are decoded in software and mapped as device memory.
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include <ffnvcodec/dynlink_cuda.h>

// The 64-bit forms under their own names.
#define __CUVID_INTERNAL 1
#include <ffnvcodec/dynlink_nvcuvid.h>

#include "cuda/device.h"
#include "cuvid/h264.h"
#include "cuvid/software.h"

#define API extern "C" __attribute__((visibility("default")))

namespace {

constexpr CUresult INVALID_VALUE = CUresult(1), OUT_OF_MEMORY = CUresult(2), INVALID_CONTEXT = CUresult(201),
                   MAP_FAILED = CUresult(205), INVALID_HANDLE = CUresult(400), NOT_SUPPORTED = CUresult(801);

struct Codec {
    cudaVideoCodec id;
    const char *decoder; // libavcodec's
    unsigned width_max, height_max, depth_max;
    unsigned width_min, height_min;
};
// Those that a picture's data is enough for: VP8, VP9 and JPEG pass whole frames, H.264's parameter sets can be rebuilt.
const Codec CODECS[] = {
    {cudaVideoCodec_H264, "h264", 4096, 4096, 8, 48, 16},
    {cudaVideoCodec_VP9, "vp9", 8192, 8192, 12, 128, 128},
    {cudaVideoCodec_VP8, "vp8", 4096, 4096, 8, 48, 16},
    {cudaVideoCodec_JPEG, "mjpeg", 32768, 16384, 8, 64, 64},
};

const Codec *codec_of(cudaVideoCodec id) {
    for (auto &c : CODECS)
        if (c.id == id) return &c;
    return nullptr;
}

struct Decoder {
    std::mutex lock;
    void *context;
    int ordinal;
    CUVIDDECODECREATEINFO info;
    std::unique_ptr<Software> software;
    struct Surface {
        std::shared_ptr<Picture> picture;
        cuvidDecodeStatus status = cuvidDecodeStatus_Invalid;
    };
    std::map<int, Surface> surfaces;
    uint64_t reserved = 0;
    std::vector<uint64_t> outputs; // every output surface; those not mapped are in `free`
    std::set<uint64_t> free, mapped;
    size_t pitch = 0;
    unsigned left = 0, top = 0;
};

struct All {
    std::mutex lock;
    std::set<Decoder *> decoders;
    std::map<void *, std::pair<void *, std::recursive_mutex *>> locks;
};
All &all() {
    static All *one = [] {
        standin_at_exit([] {
            std::lock_guard<std::mutex> hold(all().lock);
            for (Decoder *d : all().decoders)
                standin_leak("decoder", "an NVDEC decoder of %lux%lu with %zu mapped pictures", (unsigned long)d->info.ulWidth,
                             (unsigned long)d->info.ulHeight, d->mapped.size());
        });
        return new All;
    }();
    return *one;
}

template <class Body> CUresult entry(const char *name, bool context, Body body) {
    CUresult rc = CUresult(standin_fault(name));
    if (rc == CUDA_SUCCESS) {
        if (context && !standin_current()) {
            standin_violation("no-context", name, "no context is current in this thread");
            rc = INVALID_CONTEXT;
        } else {
            rc = body();
        }
    }
    standin_log(name, "\"rc\":%d", int(rc));
    return rc;
}

template <class Body> CUresult with(const char *name, CUvideodecoder handle, Body body) {
    return entry(name, true, [&] {
        auto *d = reinterpret_cast<Decoder *>(handle);
        {
            std::lock_guard<std::mutex> hold(all().lock);
            if (!all().decoders.count(d)) {
                standin_violation("bad-handle", name, "%p is no live decoder", static_cast<void *>(handle));
                return INVALID_HANDLE;
            }
        }
        std::lock_guard<std::mutex> hold(d->lock);
        return body(*d);
    });
}

size_t surface_rows(const CUVIDDECODECREATEINFO &i) {
    size_t height = (i.ulTargetHeight + 1) / 2 * 2;
    bool planar = i.OutputFormat == cudaVideoSurfaceFormat_YUV444 || i.OutputFormat == cudaVideoSurfaceFormat_YUV444_16Bit;
    return planar ? size_t(i.ulTargetHeight) * 3 : height * 3 / 2;
}

const char *refusal(const CUVIDDECODECREATEINFO &i) {
    const struct standin_device *d = standin_device(standin_context_device(standin_current()));
    const Codec *c = codec_of(i.CodecType);
    if (!d || !d->decoders) return "this GPU has no NVDEC";
    if (!c || !Software::available(c->decoder)) return "this codec is not decoded";
    if (i.bitDepthMinus8 + 8 > c->depth_max) return "so many bits are not decoded";
    if (i.ChromaFormat != cudaVideoChromaFormat_420) return "only 4:2:0 is decoded";
    if (i.ulWidth > c->width_max || i.ulHeight > c->height_max) return "the picture is too large";
    if (i.ulWidth < c->width_min || i.ulHeight < c->height_min) return "the picture is too small";
    if (i.OutputFormat != (i.bitDepthMinus8 ? cudaVideoSurfaceFormat_P016 : cudaVideoSurfaceFormat_NV12))
        return "this output format does not fit the stream's depth";
    if (!i.ulNumDecodeSurfaces || i.ulNumDecodeSurfaces > 32) return "between 1 and 32 decode surfaces are possible";
    return nullptr;
}

} // namespace

API CUresult cuvidGetDecoderCaps(CUVIDDECODECAPS *caps) {
    return entry("cuvidGetDecoderCaps", true, [&] {
        if (!caps) return INVALID_VALUE;
        const struct standin_device *d = standin_device(standin_context_device(standin_current()));
        const Codec *c = codec_of(caps->eCodecType);
        caps->bIsSupported = d && d->decoders && c && Software::available(c->decoder) &&
                             caps->eChromaFormat == cudaVideoChromaFormat_420 && caps->nBitDepthMinus8 + 8 <= c->depth_max;
        caps->nNumNVDECs = caps->bIsSupported ? uint8_t(d->decoders) : 0;
        caps->nOutputFormatMask = caps->bIsSupported ? (caps->nBitDepthMinus8 ? 2 : 1) : 0;
        caps->nMaxWidth = caps->bIsSupported ? c->width_max : 0;
        caps->nMaxHeight = caps->bIsSupported ? c->height_max : 0;
        caps->nMaxMBCount = caps->bIsSupported ? c->width_max / 16 * (c->height_max / 16) : 0;
        caps->nMinWidth = caps->bIsSupported ? uint16_t(c->width_min) : 0;
        caps->nMinHeight = caps->bIsSupported ? uint16_t(c->height_min) : 0;
        return CUDA_SUCCESS;
    });
}

API CUresult cuvidCreateDecoder(CUvideodecoder *out, CUVIDDECODECREATEINFO *info) {
    return entry("cuvidCreateDecoder", true, [&] {
        if (!out || !info) return INVALID_VALUE;
        if (const char *why = refusal(*info)) {
            standin_log("refused-decoder", "\"why\":\"%s\"", why);
            return NOT_SUPPORTED;
        }
        auto d = std::make_unique<Decoder>();
        d->info = *info;
        d->context = standin_current();
        d->ordinal = standin_context_device(d->context);
        auto &area = info->display_area;
        bool cropped = area.right > area.left && area.bottom > area.top;
        unsigned long width = cropped ? (unsigned long)(area.right - area.left) : info->ulWidth;
        unsigned long height = cropped ? (unsigned long)(area.bottom - area.top) : info->ulHeight;
        // The hardware scales what it maps; this does not.
        if (info->ulTargetWidth != (width + 1) / 2 * 2 && info->ulTargetWidth != width) return NOT_SUPPORTED;
        if (info->ulTargetHeight != (height + 1) / 2 * 2 && info->ulTargetHeight != height) return NOT_SUPPORTED;
        if (cropped) {
            d->left = unsigned(area.left);
            d->top = unsigned(area.top);
        }
        std::string why;
        d->software = Software::open(codec_of(info->CodecType)->decoder, &why);
        if (!d->software) {
            standin_log("refused-decoder", "\"why\":\"%s\"", why.c_str());
            return NOT_SUPPORTED;
        }
        size_t bytes = info->bitDepthMinus8 ? 2 : 1;
        d->pitch = (info->ulTargetWidth * bytes + 511) / 512 * 512;
        uint64_t one = uint64_t(info->ulWidth) * info->ulHeight * bytes * 3 / 2;
        if (!standin_reserve(d->ordinal, one * info->ulNumDecodeSurfaces)) return OUT_OF_MEMORY;
        d->reserved = one * info->ulNumDecodeSurfaces;
        unsigned long outputs = info->ulNumOutputSurfaces ? info->ulNumOutputSurfaces : 1;
        for (unsigned long i = 0; i < outputs; i++) {
            uint64_t p = standin_take(d->context, d->pitch * surface_rows(*info), "cuvidCreateDecoder");
            if (!p) {
                for (uint64_t taken : d->outputs) standin_give(taken, "cuvidCreateDecoder");
                standin_release(d->ordinal, d->reserved);
                return OUT_OF_MEMORY;
            }
            d->outputs.push_back(p);
            d->free.insert(p);
        }
        standin_log("standin.decoder", "\"device\":%d,\"width\":%lu,\"height\":%lu", d->ordinal, info->ulWidth, info->ulHeight);
        std::lock_guard<std::mutex> hold(all().lock);
        *out = reinterpret_cast<CUvideodecoder>(d.get());
        all().decoders.insert(d.release());
        return CUDA_SUCCESS;
    });
}

API CUresult cuvidDestroyDecoder(CUvideodecoder handle) {
    Decoder *dead = nullptr;
    CUresult rc = with("cuvidDestroyDecoder", handle, [&](Decoder &d) {
        if (!d.mapped.empty())
            standin_violation("destroy-while-mapped", "cuvidDestroyDecoder", "%zu pictures are still mapped", d.mapped.size());
        if (standin_context_device(d.context) >= 0)
            for (uint64_t p : d.outputs) standin_give(p, "cuvidDestroyDecoder");
        standin_release(d.ordinal, d.reserved);
        dead = &d;
        return CUDA_SUCCESS;
    });
    if (dead) {
        {
            std::lock_guard<std::mutex> hold(all().lock);
            all().decoders.erase(dead);
        }
        delete dead;
    }
    return rc;
}

API CUresult cuvidDecodePicture(CUvideodecoder handle, CUVIDPICPARAMS *p) {
    return with("cuvidDecodePicture", handle, [&](Decoder &d) {
        if (!p || !p->pBitstreamData || !p->nBitstreamDataLen) return INVALID_VALUE;
        if (p->CurrPicIdx < 0 || unsigned(p->CurrPicIdx) >= d.info.ulNumDecodeSurfaces) {
            standin_violation("out-of-range", "cuvidDecodePicture", "picture %d of %lu", p->CurrPicIdx,
                              (unsigned long)d.info.ulNumDecodeSurfaces);
            return INVALID_VALUE;
        }
        std::shared_ptr<Picture> picture;
        if (d.info.CodecType == cudaVideoCodec_H264) {
            auto unit = h264_access_unit(*p, int(d.info.ChromaFormat));
            if (!unit.empty()) picture = d.software->decode(unit.data(), unit.size());
        } else {
            picture = d.software->decode(p->pBitstreamData, p->nBitstreamDataLen);
        }
        auto &surface = d.surfaces[p->CurrPicIdx];
        // A second field goes into the picture of the first.
        if (picture || !p->second_field) {
            surface.picture = picture;
            surface.status = picture ? cuvidDecodeStatus_Success : cuvidDecodeStatus_Error;
        }
        if (!picture && !p->second_field) standin_log("decode-error", "\"picture\":%d", p->CurrPicIdx);
        return CUDA_SUCCESS;
    });
}

API CUresult cuvidGetDecodeStatus(CUvideodecoder handle, int index, CUVIDGETDECODESTATUS *out) {
    return with("cuvidGetDecodeStatus", handle, [&](Decoder &d) {
        if (!out) return INVALID_VALUE;
        out->decodeStatus = d.surfaces[index].status;
        return CUDA_SUCCESS;
    });
}

API CUresult cuvidReconfigureDecoder(CUvideodecoder handle, CUVIDRECONFIGUREDECODERINFO *) {
    return with("cuvidReconfigureDecoder", handle, [](Decoder &) { return NOT_SUPPORTED; });
}

struct Fill {
    std::shared_ptr<Picture> picture;
    uint8_t *to;
    size_t pitch;
    unsigned width, height, left, top;
    int format;
};

API CUresult cuvidMapVideoFrame64(CUvideodecoder handle, int index, unsigned long long *out, unsigned *pitch,
                                  CUVIDPROCPARAMS *how) {
    return with("cuvidMapVideoFrame64", handle, [&](Decoder &d) {
        if (!out || !pitch || !how) return INVALID_VALUE;
        auto it = d.surfaces.find(index);
        if (it == d.surfaces.end() || it->second.status == cuvidDecodeStatus_Invalid) {
            standin_violation("map-before-decode", "cuvidMapVideoFrame64", "picture %d was never decoded", index);
            return MAP_FAILED;
        }
        // All output surfaces are mapped: a client may hold as many as it asked for.
        if (d.free.empty()) return MAP_FAILED;
        uint64_t p = *d.free.begin();
        size_t bytes = d.pitch * surface_rows(d.info);
        auto *to = static_cast<uint8_t *>(standin_view(p, bytes, "cuvidMapVideoFrame64"));
        if (!to) return MAP_FAILED;
        d.free.erase(p);
        d.mapped.insert(p);
        // In the stream that the client named, after what it queued there.
        auto *fill = new Fill{it->second.picture, to, d.pitch, unsigned(d.info.ulTargetWidth), unsigned(d.info.ulTargetHeight),
                              d.left, d.top, int(d.info.OutputFormat)};
        standin_enqueue(d.context, how->output_stream, [](void *data) {
            std::unique_ptr<Fill> f(static_cast<Fill *>(data));
            // What could not be decoded is grey.
            if (!f->picture || !f->picture->write(f->to, f->pitch, f->width, f->height, f->left, f->top, f->format))
                memset(f->to, 0x80, f->pitch * ((f->height + 1) / 2 * 3));
        }, fill);
        *out = p;
        *pitch = unsigned(d.pitch);
        standin_log("picture", "\"index\":%d,\"decoded\":%s", index, it->second.picture ? "true" : "false");
        return CUDA_SUCCESS;
    });
}

API CUresult cuvidUnmapVideoFrame64(CUvideodecoder handle, unsigned long long pointer) {
    return with("cuvidUnmapVideoFrame64", handle, [&](Decoder &d) {
        if (!d.mapped.erase(pointer)) {
            standin_violation("bad-unmap", "cuvidUnmapVideoFrame64", "0x%llx is not mapped", pointer);
            return INVALID_VALUE;
        }
        d.free.insert(pointer);
        return CUDA_SUCCESS;
    });
}

// The forms for 32-bit programs: no device pointer of this machine fits.
API CUresult cuvidMapVideoFrame(CUvideodecoder, int, unsigned *, unsigned *, CUVIDPROCPARAMS *) {
    return entry("cuvidMapVideoFrame", true, [] { return NOT_SUPPORTED; });
}
API CUresult cuvidUnmapVideoFrame(CUvideodecoder, unsigned) {
    return entry("cuvidUnmapVideoFrame", true, [] { return NOT_SUPPORTED; });
}

// ---- A lock around a context

API CUresult cuvidCtxLockCreate(CUvideoctxlock *out, CUcontext context) {
    return entry("cuvidCtxLockCreate", false, [&] {
        if (!out || standin_context_device(context) < 0) return INVALID_VALUE;
        auto *lock = new std::recursive_mutex;
        std::lock_guard<std::mutex> hold(all().lock);
        all().locks[lock] = {context, lock};
        *out = reinterpret_cast<CUvideoctxlock>(lock);
        return CUDA_SUCCESS;
    });
}

static std::recursive_mutex *lock_of(CUvideoctxlock handle) {
    std::lock_guard<std::mutex> hold(all().lock);
    auto it = all().locks.find(handle);
    return it == all().locks.end() ? nullptr : it->second.second;
}

API CUresult cuvidCtxLockDestroy(CUvideoctxlock handle) {
    return entry("cuvidCtxLockDestroy", false, [&] {
        std::lock_guard<std::mutex> hold(all().lock);
        return all().locks.erase(handle) ? CUDA_SUCCESS : INVALID_HANDLE;
    });
}
API CUresult cuvidCtxLock(CUvideoctxlock handle, unsigned) {
    return entry("cuvidCtxLock", false, [&] {
        auto *lock = lock_of(handle);
        if (!lock) return INVALID_HANDLE;
        lock->lock();
        return CUDA_SUCCESS;
    });
}
API CUresult cuvidCtxUnlock(CUvideoctxlock handle, unsigned) {
    return entry("cuvidCtxUnlock", false, [&] {
        auto *lock = lock_of(handle);
        if (!lock) return INVALID_HANDLE;
        lock->unlock();
        return CUDA_SUCCESS;
    });
}

// ---- Sources and parsers: resolved by loaders, and refused. FFmpeg's hwaccel and GStreamer parse for themselves.

#define REFUSED(name)                                                                                                           \
    API CUresult name(void) {                                                                                                   \
        return entry(#name, false, [] { return NOT_SUPPORTED; });                                                               \
    }
REFUSED(cuvidCreateVideoSource)
REFUSED(cuvidCreateVideoSourceW)
REFUSED(cuvidDestroyVideoSource)
REFUSED(cuvidSetVideoSourceState)
REFUSED(cuvidGetSourceVideoFormat)
REFUSED(cuvidGetSourceAudioFormat)
REFUSED(cuvidCreateVideoParser)
REFUSED(cuvidParseVideoData)
REFUSED(cuvidDestroyVideoParser)

// cuvidGetVideoSourceState returns a state, not a status.
API int cuvidGetVideoSourceState(void *) { return -1; }
