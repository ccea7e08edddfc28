// The driver, its devices, and contexts.
#include <cstdio>
#include <cstring>
#include <set>
#include <vector>

#include <dlfcn.h>

#include "cuda/state.h"

namespace {

struct Primary {
    Context *context = nullptr;
    int count = 0;
    unsigned flags = 0;
};

struct World {
    std::mutex lock;
    std::set<const void *> handles;
    std::vector<Context *> contexts;
    Primary primary[8];
    std::atomic<bool> initialised{false};
};

World &world() {
    static World *one = new World;
    return *one;
}

thread_local std::vector<Context *> stack;

Context *make(int ordinal, bool primary, unsigned flags) {
    Context *c = new Context(ordinal, primary, flags);
    register_handle(c);
    c->standard = new_stream(c, 0);
    std::lock_guard<std::mutex> hold(world().lock);
    world().contexts.push_back(c);
    return c;
}

void destroy(Context *c) {
    drain_context(c);
    destroy_streams(c);
    destroy_modules(c);
    release_context_memory(c);
    c->alive = false;
}

bool device_ok(CUdevice device) { return standin_device(device) != nullptr; }

CUresult primary_release(Call &c, CUdevice device, bool all) {
    if (!device_ok(device)) return CUDA_ERROR_INVALID_DEVICE;
    Context *dead = nullptr;
    {
        std::lock_guard<std::mutex> hold(world().lock);
        Primary &p = world().primary[device];
        if (!p.context) {
            if (all) return CUDA_SUCCESS;
            standin_violation("double-release", c.name, "the primary context of device %d is not held", device);
            return CUDA_ERROR_INVALID_CONTEXT;
        }
        if (!all && --p.count > 0) return CUDA_SUCCESS;
        dead = p.context;
        p.context = nullptr;
        p.count = 0;
    }
    destroy(dead);
    return CUDA_SUCCESS;
}

struct ErrorText {
    int code;
    const char *name, *text;
};
const ErrorText ERRORS[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {4, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {205, "CUDA_ERROR_MAP_FAILED", "mapping of buffer object failed"},
    {206, "CUDA_ERROR_UNMAP_FAILED", "unmapping of buffer object failed"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {217, "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", "peer access is not supported between these two devices"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {219, "CUDA_ERROR_INVALID_GRAPHICS_CONTEXT", "invalid OpenGL or DirectX context"},
    {304, "CUDA_ERROR_OPERATING_SYSTEM", "OS call failed or operation not supported on this OS"},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {401, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {708, "CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", "cannot set while device is active in this process"},
    {712, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", "part or all of the requested memory range is already mapped"},
    {713, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "pointer does not correspond to a registered memory region"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

const ErrorText *error_text(CUresult code) {
    for (auto &e : ERRORS)
        if (e.code == int(code)) return &e;
    return nullptr;
}

int attribute(const struct standin_device &d, int which, bool *known) {
    *known = which >= 1 && which <= 160;
    switch (which) {
    case 1: return 1024;                       // threads per block
    case 2: case 3: return 1024;               // block x, y
    case 4: return 64;                         // block z
    case 5: return 2147483647;                 // grid x
    case 6: case 7: return 65535;              // grid y, z
    case 8: return 49152;                      // shared memory per block
    case 9: return 65536;                      // constant memory
    case 10: return 32;                        // warp
    case 11: return 2147483647;                // pitch
    case 12: return 65536;                     // registers per block
    case 13: return 1800000;                   // clock, kHz
    case 14: return 512;                       // texture alignment
    case 15: return 1;                         // copies beside kernels
    case 16: return d.multiprocessors;
    case 17: return 0;
    case 18: return 0;                         // integrated
    case 19: return 1;                         // maps host memory
    case 20: return 0;                         // compute mode: default
    case 21: case 22: case 23: return 131072;  // textures
    case 24: case 25: case 26: return 16384;
    case 31: return 1;                         // concurrent kernels
    case 33: return d.pci_bus;
    case 34: return d.pci_device;
    case 36: return 9000000;                   // memory clock, kHz
    case 37: return 256;                       // bus width
    case 38: return 4 << 20;                   // L2
    case 39: return 1536;                      // threads per multiprocessor
    case 40: return 2;                         // copy engines
    case 41: return 1;                         // unified addressing
    case 50: return d.pci_domain;
    case 51: return 32;                        // texture pitch alignment
    case 75: return d.compute_major;
    case 76: return d.compute_minor;
    case 78: return 1;                         // stream priorities
    case 79: case 80: return 1;
    case 81: return 102400;
    case 82: return 65536;
    case 83: return 1;                         // managed memory
    case 91: return 1;
    case 95: return 0;                         // cooperative launch
    case 97: return 49152;
    case 106: return 16;
    case 115: return 1;                        // memory pools
    default: return 0;
    }
}

} // namespace

void register_handle(Handle *handle) {
    std::lock_guard<std::mutex> hold(world().lock);
    world().handles.insert(handle);
}

bool is_handle(const void *pointer, uint32_t kind) {
    if (!pointer) return false;
    std::lock_guard<std::mutex> hold(world().lock);
    return world().handles.count(pointer) && static_cast<const Handle *>(pointer)->kind == kind;
}

bool initialised() { return world().initialised; }

Context *current() {
    // A context that another thread destroyed is no longer current here.
    return !stack.empty() && stack.back() && stack.back()->alive ? stack.back() : nullptr;
}

void report_contexts() {
    std::vector<Context *> all;
    int counts[8];
    {
        std::lock_guard<std::mutex> hold(world().lock);
        all = world().contexts;
        for (int i = 0; i < 8; i++) counts[i] = world().primary[i].count;
    }
    for (Context *c : all) {
        if (!c->alive) continue;
        if (c->primary)
            standin_leak("context", "the primary context of device %d is still held %d times", c->ordinal, counts[c->ordinal]);
        else
            standin_leak("context", "a context on device %d was never destroyed", c->ordinal);
    }
}

void report_leaks() {
    report_memory();
    report_streams();
    report_modules();
    report_contexts();
}

// ---- The seam

API void *standin_current(void) { return static_cast<Handle *>(current()); }

API int standin_context_device(const void *context) {
    if (!is_handle(context, CONTEXT)) return -1;
    auto c = static_cast<const Context *>(static_cast<const Handle *>(context));
    return c->alive ? c->ordinal : -1;
}

// ---- CUDA: driver and devices

API CUresult cuInit(unsigned flags) {
    return enter("cuInit", Need::Nothing, [&](Call &) {
        if (flags) return CUDA_ERROR_INVALID_VALUE;
        if (!standin_driver()->devices) return CUDA_ERROR_NO_DEVICE;
        world().initialised = true;
        return CUDA_SUCCESS;
    });
}

API CUresult cuDriverGetVersion(int *version) {
    return enter("cuDriverGetVersion", Need::Nothing, [&](Call &) {
        if (!version) return CUDA_ERROR_INVALID_VALUE;
        *version = standin_driver()->cuda;
        return CUDA_SUCCESS;
    });
}

API CUresult cuGetErrorName(CUresult code, const char **out) {
    const ErrorText *e = error_text(code);
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    *out = e ? e->name : nullptr;
    return e ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuGetErrorString(CUresult code, const char **out) {
    const ErrorText *e = error_text(code);
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    *out = e ? e->text : nullptr;
    return e ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuDeviceGetCount(int *count) {
    return enter("cuDeviceGetCount", Need::Init, [&](Call &) {
        if (!count) return CUDA_ERROR_INVALID_VALUE;
        *count = standin_driver()->devices;
        return CUDA_SUCCESS;
    });
}

API CUresult cuDeviceGet(CUdevice *out, int ordinal) {
    return enter("cuDeviceGet", Need::Init, [&](Call &) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        if (!device_ok(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
        *out = ordinal;
        return CUDA_SUCCESS;
    });
}

template <class Body> static CUresult of_device(const char *name, CUdevice device, Body body) {
    return enter(name, Need::Init, [&](Call &) {
        const struct standin_device *d = standin_device(device);
        return d ? body(*d) : CUDA_ERROR_INVALID_DEVICE;
    });
}

API CUresult cuDeviceGetAttribute(int *out, CUdevice_attribute which, CUdevice device) {
    return of_device("cuDeviceGetAttribute", device, [&](const struct standin_device &d) {
        bool known;
        int value = attribute(d, which, &known);
        if (!out || !known) return CUDA_ERROR_INVALID_VALUE;
        *out = value;
        return CUDA_SUCCESS;
    });
}

API CUresult cuDeviceGetName(char *out, int room, CUdevice device) {
    return of_device("cuDeviceGetName", device, [&](const struct standin_device &d) {
        if (!out || room <= 0) return CUDA_ERROR_INVALID_VALUE;
        snprintf(out, size_t(room), "%s", d.name);
        return CUDA_SUCCESS;
    });
}

static CUresult uuid(const char *name, CUuuid *out, CUdevice device) {
    return of_device(name, device, [&](const struct standin_device &d) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        memcpy(out->bytes, d.uuid, 16);
        return CUDA_SUCCESS;
    });
}
API CUresult cuDeviceGetUuid(CUuuid *out, CUdevice device) { return uuid("cuDeviceGetUuid", out, device); }
API CUresult cuDeviceGetUuid_v2(CUuuid *out, CUdevice device) { return uuid("cuDeviceGetUuid_v2", out, device); }

API CUresult cuDeviceTotalMem_v2(size_t *out, CUdevice device) {
    return of_device("cuDeviceTotalMem_v2", device, [&](const struct standin_device &d) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = size_t(d.memory);
        return CUDA_SUCCESS;
    });
}

API CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
    return of_device("cuDeviceComputeCapability", device, [&](const struct standin_device &d) {
        if (!major || !minor) return CUDA_ERROR_INVALID_VALUE;
        *major = d.compute_major;
        *minor = d.compute_minor;
        return CUDA_SUCCESS;
    });
}

API CUresult cuDeviceGetPCIBusId(char *out, int room, CUdevice device) {
    return of_device("cuDeviceGetPCIBusId", device, [&](const struct standin_device &d) {
        if (!out || room < 13) return CUDA_ERROR_INVALID_VALUE;
        snprintf(out, size_t(room), "%04X:%02X:%02X.0", d.pci_domain, d.pci_bus, d.pci_device);
        return CUDA_SUCCESS;
    });
}

API CUresult cuDeviceGetByPCIBusId(CUdevice *out, const char *text) {
    return enter("cuDeviceGetByPCIBusId", Need::Init, [&](Call &) {
        if (!out || !text) return CUDA_ERROR_INVALID_VALUE;
        for (int i = 0; i < standin_driver()->devices; i++) {
            const struct standin_device *d = standin_device(i);
            unsigned domain = 0, bus = 0, slot = 0;
            if (sscanf(text, "%x:%x:%x", &domain, &bus, &slot) == 3 && int(bus) == d->pci_bus && int(domain) == d->pci_domain) {
                *out = i;
                return CUDA_SUCCESS;
            }
        }
        return CUDA_ERROR_INVALID_DEVICE;
    });
}

API CUresult cuDeviceCanAccessPeer(int *out, CUdevice a, CUdevice b) {
    return enter("cuDeviceCanAccessPeer", Need::Init, [&](Call &) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        if (!device_ok(a) || !device_ok(b)) return CUDA_ERROR_INVALID_DEVICE;
        *out = 0;
        return CUDA_SUCCESS;
    });
}

// ---- Contexts

static CUresult create(const char *name, CUcontext *out, unsigned flags, CUdevice device) {
    return enter(name, Need::Init, [&](Call &) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        if (!device_ok(device)) return CUDA_ERROR_INVALID_DEVICE;
        Context *c = make(device, false, flags);
        stack.push_back(c);
        *out = reinterpret_cast<CUcontext>(static_cast<Handle *>(c));
        return CUDA_SUCCESS;
    });
}
API CUresult cuCtxCreate_v2(CUcontext *out, unsigned flags, CUdevice device) {
    return create("cuCtxCreate_v2", out, flags, device);
}
API CUresult cuCtxCreate_v3(CUcontext *out, void *, int, unsigned flags, CUdevice device) {
    return create("cuCtxCreate_v3", out, flags, device);
}
API CUresult cuCtxCreate_v4(CUcontext *out, void *, unsigned flags, CUdevice device) {
    return create("cuCtxCreate_v4", out, flags, device);
}

API CUresult cuCtxDestroy_v2(CUcontext handle) {
    return enter("cuCtxDestroy_v2", Need::Init, [&](Call &call) {
        Context *c = live<Context>(handle, CONTEXT, "context", call.name);
        if (!c) return CUDA_ERROR_INVALID_CONTEXT;
        if (c->primary) {
            standin_violation("bad-handle", call.name, "a primary context is released, not destroyed");
            return CUDA_ERROR_INVALID_CONTEXT;
        }
        if (!stack.empty() && stack.back() == c) stack.pop_back();
        destroy(c);
        return CUDA_SUCCESS;
    });
}

API CUresult cuCtxPushCurrent_v2(CUcontext handle) {
    return enter("cuCtxPushCurrent_v2", Need::Init, [&](Call &call) {
        Context *c = live<Context>(handle, CONTEXT, "context", call.name);
        if (!c) return CUDA_ERROR_INVALID_CONTEXT;
        stack.push_back(c);
        return CUDA_SUCCESS;
    });
}

API CUresult cuCtxPopCurrent_v2(CUcontext *out) {
    return enter("cuCtxPopCurrent_v2", Need::Init, [&](Call &) {
        if (stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
        if (out) *out = reinterpret_cast<CUcontext>(static_cast<Handle *>(stack.back()));
        stack.pop_back();
        return CUDA_SUCCESS;
    });
}

API CUresult cuCtxSetCurrent(CUcontext handle) {
    return enter("cuCtxSetCurrent", Need::Init, [&](Call &call) {
        if (!handle) {
            if (!stack.empty()) stack.pop_back();
            return CUDA_SUCCESS;
        }
        Context *c = live<Context>(handle, CONTEXT, "context", call.name);
        if (!c) return CUDA_ERROR_INVALID_CONTEXT;
        if (stack.empty())
            stack.push_back(c);
        else
            stack.back() = c;
        return CUDA_SUCCESS;
    });
}

API CUresult cuCtxGetCurrent(CUcontext *out) {
    return enter("cuCtxGetCurrent", Need::Init, [&](Call &) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = reinterpret_cast<CUcontext>(static_cast<Handle *>(current()));
        return CUDA_SUCCESS;
    });
}

API CUresult cuCtxGetDevice(CUdevice *out) {
    return enter("cuCtxGetDevice", Need::Init, [&](Call &) {
        Context *c = current();
        if (!c) return CUDA_ERROR_INVALID_CONTEXT;
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = c->ordinal;
        return CUDA_SUCCESS;
    });
}

API CUresult cuCtxSynchronize(void) {
    return enter("cuCtxSynchronize", Need::Context, [&](Call &c) {
        drain_context(c.context);
        return CUDA_SUCCESS;
    });
}

API CUresult cuCtxGetApiVersion(CUcontext handle, unsigned *out) {
    return enter("cuCtxGetApiVersion", Need::Init, [&](Call &c) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        if (handle ? !live<Context>(handle, CONTEXT, "context", c.name) : !current()) return CUDA_ERROR_INVALID_CONTEXT;
        *out = 3020;
        return CUDA_SUCCESS;
    });
}

API CUresult cuCtxGetFlags(unsigned *out) {
    return enter("cuCtxGetFlags", Need::Context, [&](Call &c) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = c.context->flags;
        return CUDA_SUCCESS;
    });
}

API CUresult cuCtxSetFlags(unsigned flags) {
    return enter("cuCtxSetFlags", Need::Context, [&](Call &c) {
        c.context->flags = flags;
        return CUDA_SUCCESS;
    });
}

// How a GPU schedules and caches is nothing a client could observe here: accepted, and the default is what is read back.
API CUresult cuCtxSetLimit(CUlimit, size_t) { return enter("cuCtxSetLimit", Need::Context, [](Call &) { return CUDA_SUCCESS; }); }
API CUresult cuCtxGetLimit(size_t *out, CUlimit which) {
    return enter("cuCtxGetLimit", Need::Context, [&](Call &) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = which == CU_LIMIT_MALLOC_HEAP_SIZE ? 8u << 20 : which == CU_LIMIT_PRINTF_FIFO_SIZE ? 1u << 20 : 1024;
        return CUDA_SUCCESS;
    });
}
API CUresult cuCtxSetCacheConfig(int) { return enter("cuCtxSetCacheConfig", Need::Context, [](Call &) { return CUDA_SUCCESS; }); }
API CUresult cuCtxGetCacheConfig(int *out) {
    return enter("cuCtxGetCacheConfig", Need::Context, [&](Call &) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = 0;
        return CUDA_SUCCESS;
    });
}
API CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    return enter("cuCtxGetStreamPriorityRange", Need::Context, [&](Call &) {
        if (least) *least = 0;
        if (greatest) *greatest = -5;
        return CUDA_SUCCESS;
    });
}
API CUresult cuCtxEnablePeerAccess(CUcontext, unsigned) {
    return enter("cuCtxEnablePeerAccess", Need::Context, [](Call &) { return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED; });
}
API CUresult cuCtxDisablePeerAccess(CUcontext) {
    return enter("cuCtxDisablePeerAccess", Need::Context, [](Call &) { return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED; });
}

// ---- Primary contexts

API CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device) {
    return enter("cuDevicePrimaryCtxRetain", Need::Init, [&](Call &) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        if (!device_ok(device)) return CUDA_ERROR_INVALID_DEVICE;
        Context *fresh = nullptr;
        Primary &p = world().primary[device];
        {
            std::lock_guard<std::mutex> hold(world().lock);
            if (p.context) {
                p.count++;
                *out = reinterpret_cast<CUcontext>(static_cast<Handle *>(p.context));
                return CUDA_SUCCESS;
            }
        }
        fresh = make(device, true, p.flags);
        std::lock_guard<std::mutex> hold(world().lock);
        if (p.context)
            fresh->alive = false; // another thread was first
        else
            p.context = fresh;
        p.count++;
        *out = reinterpret_cast<CUcontext>(static_cast<Handle *>(p.context));
        return CUDA_SUCCESS;
    });
}

API CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
    return enter("cuDevicePrimaryCtxRelease", Need::Init, [&](Call &c) { return primary_release(c, device, false); });
}
API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    return enter("cuDevicePrimaryCtxRelease_v2", Need::Init, [&](Call &c) { return primary_release(c, device, false); });
}
API CUresult cuDevicePrimaryCtxReset(CUdevice device) {
    return enter("cuDevicePrimaryCtxReset", Need::Init, [&](Call &c) { return primary_release(c, device, true); });
}
API CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
    return enter("cuDevicePrimaryCtxReset_v2", Need::Init, [&](Call &c) { return primary_release(c, device, true); });
}

static CUresult primary_flags(const char *name, CUdevice device, unsigned flags) {
    return enter(name, Need::Init, [&](Call &) {
        if (!device_ok(device)) return CUDA_ERROR_INVALID_DEVICE;
        std::lock_guard<std::mutex> hold(world().lock);
        Primary &p = world().primary[device];
        p.flags = flags;
        if (p.context) p.context->flags = flags;
        return CUDA_SUCCESS;
    });
}
API CUresult cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned flags) {
    return primary_flags("cuDevicePrimaryCtxSetFlags", device, flags);
}
API CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) {
    return primary_flags("cuDevicePrimaryCtxSetFlags_v2", device, flags);
}

API CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    return enter("cuDevicePrimaryCtxGetState", Need::Init, [&](Call &) {
        if (!device_ok(device)) return CUDA_ERROR_INVALID_DEVICE;
        std::lock_guard<std::mutex> hold(world().lock);
        Primary &p = world().primary[device];
        if (flags) *flags = p.flags;
        if (active) *active = p.context != nullptr;
        return CUDA_SUCCESS;
    });
}

// ---- Looking up entry points

static CUresult proc_address(const char *symbol, void **out, int version, int *found) {
    if (!symbol || !out) return CUDA_ERROR_INVALID_VALUE;
    static void *self = [] {
        Dl_info info;
        dladdr(reinterpret_cast<void *>(&cuInit), &info);
        return dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    }();
    // A name without a suffix means its newest form that `version` has. Only these two got another signature since.
    std::string name = symbol;
    void *p = nullptr;
    if (name == "cuCtxCreate")
        p = dlsym(self, version >= 13000 ? "cuCtxCreate_v4" : "cuCtxCreate_v2");
    else if ((p = dlsym(self, (name + "_v2").c_str())) == nullptr)
        p = dlsym(self, symbol);
    *out = p;
    if (found) *found = p ? 0 : 1;
    return p ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
API CUresult cuGetProcAddress(const char *symbol, void **out, int version, uint64_t) {
    return enter("cuGetProcAddress", Need::Nothing, [&](Call &) { return proc_address(symbol, out, version, nullptr); });
}
API CUresult cuGetProcAddress_v2(const char *symbol, void **out, int version, uint64_t, int *found) {
    return enter("cuGetProcAddress_v2", Need::Nothing, [&](Call &) { return proc_address(symbol, out, version, found); });
}

// NVIDIA's private tables: a client is told that there are none.
API CUresult cuGetExportTable(const void **out, const CUuuid *) {
    return enter("cuGetExportTable", Need::Nothing, [&](Call &) {
        if (out) *out = nullptr;
        return CUDA_ERROR_NOT_FOUND;
    });
}
