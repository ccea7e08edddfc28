// Copies and fills: every combination of host memory, device memory and arrays; each is logged with its direction.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cuda/state.h"

namespace {

// One side of a copy: rows of `pitch` bytes from `data`.
struct Side {
    uint8_t *data = nullptr;
    size_t pitch = 0;
    bool device = false;
    bool pinned = false; // host memory that the driver knows: a copy of it may be done later
};

// The bytes of an array.
Array *array_of(const void *handle, const char *call) { return live<Array>(handle, ARRAY, "array", call); }

// [pointer, pointer + bytes) that may be on either side; false when a device range is wrong (recorded).
bool unified(uint64_t pointer, size_t bytes, const char *call, Side *side) {
    Allocation a;
    if (find(pointer, &a)) {
        side->device = a.kind == Kind::Device || a.kind == Kind::Managed;
        side->pinned = !side->device;
        side->data = static_cast<uint8_t *>(standin_view(pointer, bytes, call));
        return side->data != nullptr;
    }
    if (in_device_space(pointer)) return standin_view(pointer, bytes, call) != nullptr;
    side->data = reinterpret_cast<uint8_t *>(pointer);
    return side->data != nullptr;
}

bool device_side(uint64_t pointer, size_t bytes, const char *call, Side *side) {
    Allocation a;
    side->device = true;
    // Pinned host memory has the same address on the device.
    if (find(pointer, &a) && (a.kind == Kind::Pinned || a.kind == Kind::Registered)) {
        side->device = false;
        side->pinned = true;
    }
    side->data = static_cast<uint8_t *>(standin_view(pointer, bytes, call));
    return side->data != nullptr;
}

bool host_side(const void *pointer, size_t bytes, const char *call, Side *side) {
    if (!pointer) return false;
    Allocation a;
    if (find(uint64_t(pointer), &a) || in_device_space(uint64_t(pointer))) {
        if (a.kind == Kind::Device || a.kind == Kind::None) {
            standin_violation("device-as-host", call, "the device pointer %p was passed as host memory", pointer);
            return false;
        }
        side->pinned = true;
        if (!standin_view(uint64_t(pointer), bytes, call)) return false;
    }
    side->data = static_cast<uint8_t *>(const_cast<void *>(pointer));
    return true;
}

const char *direction(const Side &from, const Side &to) {
    return from.device ? (to.device ? "DtoD" : "DtoH") : (to.device ? "HtoD" : "HtoH");
}

void rows(const Side &from, const Side &to, size_t width, size_t height) {
    if (from.pitch == width && to.pitch == width) {
        memmove(to.data, from.data, width * height);
        return;
    }
    for (size_t y = 0; y < height; y++) memmove(to.data + y * to.pitch, from.data + y * from.pitch, width);
}

// Does the copy in the stream's turn. As with the real driver: without pinned memory a copy to the device takes the
// host's bytes before it returns, and one to the host is done when it returns.
CUresult transfer(Call &c, const Side &from, const Side &to, size_t width, size_t height, CUstream handle, bool wait) {
    c.kind = direction(from, to);
    if (const int fault = standin_fault(c.kind)) return CUresult(fault);
    c.bytes = width * height;
    Stream *stream = stream_of(handle, c.name);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (!from.device && !from.pinned && asynchronous() && !wait) {
        auto staged = std::make_shared<std::vector<uint8_t>>(width * height);
        rows(from, Side{staged->data(), width, false, false}, width, height);
        submit(stream, [=] { rows(Side{staged->data(), width, false, false}, to, width, height); });
    } else {
        submit(stream, [=] { rows(from, to, width, height); });
    }
    if (wait || (!to.device && !to.pinned)) drain(stream);
    return CUDA_SUCCESS;
}

CUresult linear(const char *name, uint64_t to, uint64_t from, size_t bytes, int to_kind, int from_kind, CUstream stream,
                bool wait) {
    return enter(name, Need::Context, [&](Call &c) {
        if (!bytes) return CUDA_SUCCESS;
        Side a, b;
        auto side = [&](uint64_t pointer, int kind, Side *out) {
            out->pitch = bytes;
            return kind == CU_MEMORYTYPE_HOST     ? host_side(reinterpret_cast<void *>(pointer), bytes, c.name, out)
                   : kind == CU_MEMORYTYPE_DEVICE ? device_side(pointer, bytes, c.name, out)
                                                  : unified(pointer, bytes, c.name, out);
        };
        if (!side(from, from_kind, &a) || !side(to, to_kind, &b)) return CUDA_ERROR_INVALID_VALUE;
        return transfer(c, a, b, bytes, 1, stream, wait);
    });
}

constexpr int HOST = CU_MEMORYTYPE_HOST, DEVICE = CU_MEMORYTYPE_DEVICE, UNIFIED = 4;

CUresult plane(const char *name, const CUDA_MEMCPY2D *p, CUstream stream, bool wait) {
    return enter(name, Need::Context, [&](Call &c) {
        if (!p) return CUDA_ERROR_INVALID_VALUE;
        if (!p->WidthInBytes || !p->Height) return CUDA_SUCCESS;
        auto side = [&](int type, const void *host, uint64_t device, CUarray array, size_t pitch, size_t x, size_t y, Side *out) {
            if (type == CU_MEMORYTYPE_ARRAY) {
                Array *a = array_of(array, c.name);
                if (!a) return false;
                size_t height = a->shape.Height ? a->shape.Height : 1;
                if (x + p->WidthInBytes > a->pitch || y + p->Height > height) {
                    standin_violation("out-of-range", c.name, "%zux%zu bytes at %zu,%zu leave an array of %zux%zu", p->WidthInBytes,
                                      p->Height, x, y, a->pitch, height);
                    return false;
                }
                out->device = true;
                out->pitch = a->pitch;
                out->data = static_cast<uint8_t *>(standin_view(a->memory, a->bytes, c.name)) + y * a->pitch + x;
                return true;
            }
            if (p->Height > 1 && pitch < p->WidthInBytes + x) {
                standin_violation("bad-pitch", c.name, "the pitch %zu is less than the row of %zu bytes at %zu", pitch, p->WidthInBytes, x);
                return false;
            }
            out->pitch = pitch ? pitch : p->WidthInBytes;
            size_t bytes = (p->Height - 1) * out->pitch + p->WidthInBytes, offset = y * out->pitch + x;
            if (type == HOST) return host_side(static_cast<const uint8_t *>(host) + offset, bytes, c.name, out);
            if (type == DEVICE) return device_side(device + offset, bytes, c.name, out);
            if (type == UNIFIED) return unified(device + offset, bytes, c.name, out);
            return false;
        };
        Side from, to;
        if (!side(p->srcMemoryType, p->srcHost, p->srcDevice, p->srcArray, p->srcPitch, p->srcXInBytes, p->srcY, &from) ||
            !side(p->dstMemoryType, p->dstHost, p->dstDevice, p->dstArray, p->dstPitch, p->dstXInBytes, p->dstY, &to))
            return CUDA_ERROR_INVALID_VALUE;
        return transfer(c, from, to, p->WidthInBytes, p->Height, stream, wait);
    });
}

// Fills rows with a value of `element` bytes.
CUresult fill(const char *name, uint64_t at, size_t pitch, uint32_t value, size_t element, size_t width, size_t height,
              CUstream handle, bool wait) {
    return enter(name, Need::Context, [&](Call &c) {
        if (!width || !height) return CUDA_SUCCESS;
        if (at % element || (height > 1 && pitch < width * element)) return CUDA_ERROR_INVALID_VALUE;
        size_t bytes = (height - 1) * pitch + width * element;
        Side side;
        if (!device_side(at, bytes, c.name, &side)) return CUDA_ERROR_INVALID_VALUE;
        Stream *stream = stream_of(handle, c.name);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        c.kind = "memset";
        c.bytes = width * element * height;
        submit(stream, [=] {
            for (size_t y = 0; y < height; y++) {
                uint8_t *row = side.data + y * pitch;
                if (element == 1) {
                    memset(row, int(value), width);
                    continue;
                }
                for (size_t x = 0; x < width; x++) memcpy(row + x * element, &value, element);
            }
        });
        if (wait) drain(stream);
        return CUDA_SUCCESS;
    });
}

} // namespace

API CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t n) {
    return linear("cuMemcpy", to, from, n, UNIFIED, UNIFIED, nullptr, true);
}
API CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream s) {
    return linear("cuMemcpyAsync", to, from, n, UNIFIED, UNIFIED, s, false);
}
API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t n) {
    return linear("cuMemcpyHtoD_v2", to, uint64_t(from), n, DEVICE, HOST, nullptr, true);
}
API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t n, CUstream s) {
    return linear("cuMemcpyHtoDAsync_v2", to, uint64_t(from), n, DEVICE, HOST, s, false);
}
API CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t n) {
    return linear("cuMemcpyDtoH_v2", uint64_t(to), from, n, HOST, DEVICE, nullptr, true);
}
API CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t n, CUstream s) {
    return linear("cuMemcpyDtoHAsync_v2", uint64_t(to), from, n, HOST, DEVICE, s, false);
}
API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t n) {
    return linear("cuMemcpyDtoD_v2", to, from, n, DEVICE, DEVICE, nullptr, true);
}
API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream s) {
    return linear("cuMemcpyDtoDAsync_v2", to, from, n, DEVICE, DEVICE, s, false);
}
API CUresult cuMemcpyPeer(CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, size_t n) {
    return linear("cuMemcpyPeer", to, from, n, DEVICE, DEVICE, nullptr, true);
}
API CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, size_t n, CUstream s) {
    return linear("cuMemcpyPeerAsync", to, from, n, DEVICE, DEVICE, s, false);
}
API CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D *p) { return plane("cuMemcpy2D_v2", p, nullptr, true); }
API CUresult cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *p) { return plane("cuMemcpy2DUnaligned_v2", p, nullptr, true); }
API CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *p, CUstream s) { return plane("cuMemcpy2DAsync_v2", p, s, false); }

API CUresult cuMemsetD8_v2(CUdeviceptr at, unsigned char v, size_t n) {
    return fill("cuMemsetD8_v2", at, n, v, 1, n, 1, nullptr, true);
}
API CUresult cuMemsetD16_v2(CUdeviceptr at, unsigned short v, size_t n) {
    return fill("cuMemsetD16_v2", at, n * 2, v, 2, n, 1, nullptr, true);
}
API CUresult cuMemsetD32_v2(CUdeviceptr at, unsigned v, size_t n) {
    return fill("cuMemsetD32_v2", at, n * 4, v, 4, n, 1, nullptr, true);
}
API CUresult cuMemsetD8Async(CUdeviceptr at, unsigned char v, size_t n, CUstream s) {
    return fill("cuMemsetD8Async", at, n, v, 1, n, 1, s, false);
}
API CUresult cuMemsetD16Async(CUdeviceptr at, unsigned short v, size_t n, CUstream s) {
    return fill("cuMemsetD16Async", at, n * 2, v, 2, n, 1, s, false);
}
API CUresult cuMemsetD32Async(CUdeviceptr at, unsigned v, size_t n, CUstream s) {
    return fill("cuMemsetD32Async", at, n * 4, v, 4, n, 1, s, false);
}
API CUresult cuMemsetD2D8_v2(CUdeviceptr at, size_t pitch, unsigned char v, size_t w, size_t h) {
    return fill("cuMemsetD2D8_v2", at, pitch, v, 1, w, h, nullptr, true);
}
API CUresult cuMemsetD2D16_v2(CUdeviceptr at, size_t pitch, unsigned short v, size_t w, size_t h) {
    return fill("cuMemsetD2D16_v2", at, pitch, v, 2, w, h, nullptr, true);
}
API CUresult cuMemsetD2D32_v2(CUdeviceptr at, size_t pitch, unsigned v, size_t w, size_t h) {
    return fill("cuMemsetD2D32_v2", at, pitch, v, 4, w, h, nullptr, true);
}
API CUresult cuMemsetD2D8Async(CUdeviceptr at, size_t pitch, unsigned char v, size_t w, size_t h, CUstream s) {
    return fill("cuMemsetD2D8Async", at, pitch, v, 1, w, h, s, false);
}
API CUresult cuMemsetD2D16Async(CUdeviceptr at, size_t pitch, unsigned short v, size_t w, size_t h, CUstream s) {
    return fill("cuMemsetD2D16Async", at, pitch, v, 2, w, h, s, false);
}

API CUresult cuMemsetD2D32Async(CUdeviceptr at, size_t pitch, unsigned v, size_t w, size_t h, CUstream s) {
    return fill("cuMemsetD2D32Async", at, pitch, v, 4, w, h, s, false);
}

// ---- Arrays: rows in device memory, whose pointer no client sees

static size_t element_bytes(int format) {
    switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8: case CU_AD_FORMAT_SIGNED_INT8: return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16: case CU_AD_FORMAT_SIGNED_INT16: case CU_AD_FORMAT_HALF: return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32: case CU_AD_FORMAT_SIGNED_INT32: case CU_AD_FORMAT_FLOAT: return 4;
    default: return 0;
    }
}

API CUresult cuArray3DCreate_v2(CUarray *out, const CUDA_ARRAY3D_DESCRIPTOR *d) {
    return enter("cuArray3DCreate_v2", Need::Context, [&](Call &c) {
        if (!out || !d || !d->Width) return CUDA_ERROR_INVALID_VALUE;
        size_t element = element_bytes(d->Format);
        if (!element || (d->NumChannels != 1 && d->NumChannels != 2 && d->NumChannels != 4)) return CUDA_ERROR_INVALID_VALUE;
        Array *a = new Array;
        a->context = c.context;
        a->shape = *d;
        a->pitch = d->Width * element * d->NumChannels;
        a->bytes = a->pitch * (d->Height ? d->Height : 1) * (d->Depth ? d->Depth : 1);
        c.bytes = a->bytes;
        CUresult rc = allocate(c.context, a->bytes, &a->memory, c.name);
        if (rc != CUDA_SUCCESS) {
            delete a;
            return rc;
        }
        register_handle(a);
        *out = reinterpret_cast<CUarray>(static_cast<Handle *>(a));
        return CUDA_SUCCESS;
    });
}

struct ArrayDescriptor {
    size_t width, height;
    CUarray_format format;
    unsigned channels;
};

API CUresult cuArrayCreate_v2(CUarray *out, const ArrayDescriptor *d) {
    if (!d) return CUDA_ERROR_INVALID_VALUE;
    CUDA_ARRAY3D_DESCRIPTOR full = {d->width, d->height, 0, d->format, d->channels, 0};
    return cuArray3DCreate_v2(out, &full);
}

API CUresult cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR *out, CUarray handle) {
    return enter("cuArray3DGetDescriptor_v2", Need::Context, [&](Call &c) {
        Array *a = array_of(handle, c.name);
        if (!a) return CUDA_ERROR_INVALID_HANDLE;
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = a->shape;
        return CUDA_SUCCESS;
    });
}

API CUresult cuArrayGetDescriptor_v2(ArrayDescriptor *out, CUarray handle) {
    return enter("cuArrayGetDescriptor_v2", Need::Context, [&](Call &c) {
        Array *a = array_of(handle, c.name);
        if (!a) return CUDA_ERROR_INVALID_HANDLE;
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = {a->shape.Width, a->shape.Height, a->shape.Format, a->shape.NumChannels};
        return CUDA_SUCCESS;
    });
}

API CUresult cuArrayDestroy(CUarray handle) {
    return enter("cuArrayDestroy", Need::Context, [&](Call &c) {
        Array *a = array_of(handle, c.name);
        if (!a) return CUDA_ERROR_INVALID_HANDLE;
        a->alive = false;
        return release(a->memory, c.name);
    });
}

API int standin_array(const void *handle, struct standin_array_view *view, const char *call) {
    Array *a = array_of(handle, call);
    if (!a) return 0;
    void *data = standin_view(a->memory, a->bytes, call);
    if (!data) return 0;
    *view = {data,
             a->pitch,
             a->shape.Width,
             a->shape.Height,
             a->shape.Depth,
             int(a->shape.Format),
             int(a->shape.NumChannels),
             a->context->ordinal};
    return 1;
}
