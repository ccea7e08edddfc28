// What the files of libcuda.so.1 share. Not for other libraries: those use device.h.
#ifndef STANDIN_STATE_H
#define STANDIN_STATE_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include <ffnvcodec/dynlink_cuda.h>

#include "cuda/device.h"

#define API extern "C" __attribute__((visibility("default")))

// Statuses of cuda.h that dynlink_cuda.h leaves out.
constexpr CUresult CUDA_ERROR_INVALID_VALUE = CUresult(1), CUDA_ERROR_OUT_OF_MEMORY = CUresult(2),
                   CUDA_ERROR_NOT_INITIALIZED = CUresult(3), CUDA_ERROR_NO_DEVICE = CUresult(100),
                   CUDA_ERROR_INVALID_DEVICE = CUresult(101), CUDA_ERROR_INVALID_IMAGE = CUresult(200),
                   CUDA_ERROR_INVALID_CONTEXT = CUresult(201), CUDA_ERROR_NO_BINARY_FOR_GPU = CUresult(209),
                   CUDA_ERROR_PEER_ACCESS_UNSUPPORTED = CUresult(217), CUDA_ERROR_INVALID_PTX = CUresult(218),
                   CUDA_ERROR_INVALID_GRAPHICS_CONTEXT = CUresult(219), CUDA_ERROR_INVALID_HANDLE = CUresult(400),
                   CUDA_ERROR_NOT_FOUND = CUresult(500), CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE = CUresult(708),
                   CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED = CUresult(712),
                   CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED = CUresult(713), CUDA_ERROR_NOT_SUPPORTED = CUresult(801);

// A handle stays allocated after it is destroyed, so that a later use of it is recognised and not undefined.
struct Handle {
    uint32_t kind;
    std::atomic<bool> alive{true};
    explicit Handle(uint32_t k) : kind(k) {}
};
constexpr uint32_t CONTEXT = 0x47534358, STREAM = 0x47535354, EVENT = 0x47534556, MODULE = 0x47534d4f,
                   FUNCTION = 0x4753464e, ARRAY = 0x47534152, POOL = 0x4753504c;

// Every handle ever given out: a pointer that is not in it is no handle, whatever it points to.
void register_handle(Handle *handle);
bool is_handle(const void *pointer, uint32_t kind);
// The live handle behind what a caller passed; null and a violation when it is none or was destroyed.
template <class T> T *live(const void *pointer, uint32_t kind, const char *what, const char *call) {
    if (!is_handle(pointer, kind)) {
        standin_violation("bad-handle", call, "%p is no %s", pointer, what);
        return nullptr;
    }
    T *handle = static_cast<T *>(static_cast<Handle *>(const_cast<void *>(pointer)));
    if (!handle->alive) {
        standin_violation("use-after-destroy", call, "the %s %p was destroyed", what, pointer);
        return nullptr;
    }
    return handle;
}

struct Stream;
struct Context : Handle {
    int ordinal;
    bool primary;
    unsigned flags;
    Stream *standard = nullptr; // the default stream
    Context(int o, bool p, unsigned f) : Handle(CONTEXT), ordinal(o), primary(p), flags(f) {}
};

// A queue of work. Work runs at once in the caller's thread unless GS_STANDIN_ASYNC is set or something is queued.
struct Stream : Handle {
    Context *context;
    unsigned flags;
    int priority = 0;
    std::mutex lock;
    std::condition_variable changed;
    std::deque<std::function<void()>> queue;
    bool running = false, worker = false;
    Stream(Context *c, unsigned f) : Handle(STREAM), context(c), flags(f) {}
    bool blocking() const { return !(flags & CU_STREAM_NON_BLOCKING); }
};

struct Event : Handle {
    Context *context;
    unsigned flags;
    std::mutex lock;
    std::condition_variable changed;
    uint64_t recorded = 0, reached = 0;
    int64_t at_us = 0; // when the last record was reached
    Event(Context *c, unsigned f) : Handle(EVENT), context(c), flags(f) {}
};

struct Array : Handle {
    Context *context;
    CUDA_ARRAY3D_DESCRIPTOR shape;
    uint64_t memory; // device pointer of its bytes
    size_t pitch, bytes;
    Array() : Handle(ARRAY) {}
};

int64_t monotonic_us();
bool initialised();

// ---- context.cpp
Context *current();
void report_contexts();

// ---- stream.cpp
// The stream a handle means (null, LEGACY and PER_THREAD are the default stream of the current context).
Stream *stream_of(CUstream handle, const char *call);
// Runs or queues; `deferred` asks for the queue even when work is synchronous (host callbacks).
void submit(Stream *stream, std::function<void()> work, bool deferred = false);
void drain(Stream *stream);
void drain_context(Context *context);
bool idle(Stream *stream);
bool asynchronous();
Stream *new_stream(Context *context, unsigned flags);
void destroy_streams(Context *context);
void report_streams();

// ---- memory.cpp
enum class Kind { None, Device, Pinned, Registered, Managed };
struct Allocation {
    Kind kind = Kind::None;
    uint64_t start = 0;
    size_t bytes = 0;
    uint8_t *view = nullptr; // where the host reads and writes it
    Context *context = nullptr;
    int ordinal = 0;
    uint64_t id = 0;
    const char *call = "";
};
// The allocation that holds `pointer`, of any kind.
bool find(uint64_t pointer, Allocation *out);
// Whether the address lies in the device's address space, allocated or not.
bool in_device_space(uint64_t pointer);
CUresult allocate(Context *context, size_t bytes, uint64_t *out, const char *call);
CUresult release(uint64_t pointer, const char *call);
void release_context_memory(Context *context);
uint64_t memory_used(int ordinal);
// Opens device memory to the host for as long as it lives: a kernel's CPU build works on device pointers as they are.
struct KernelWindow {
    KernelWindow();
    ~KernelWindow();
};
// Looks for writes past the end of allocations.
void check_guards(const char *call);
void report_memory();

// ---- module.cpp
void destroy_modules(Context *context);
void report_modules();

void report_leaks();

// ---- One call: fault, initialisation, context, log
struct Call {
    const char *name;
    const char *kind = nullptr; // HtoD, DtoH, DtoD, HtoH, memset
    size_t bytes = 0;
    Context *context = nullptr;
    const char *text = nullptr; // a kernel's name
};
enum class Need { Nothing, Init, Context };
template <class Body> CUresult enter(const char *name, Need need, Body body) {
    const standin_spending spending;
    Call call;
    call.name = name;
    CUresult status = CUresult(standin_fault(name));
    if (status == CUDA_SUCCESS) {
        if (need != Need::Nothing && !initialised()) {
            standin_violation("not-initialised", name, "called before cuInit");
            status = CUDA_ERROR_NOT_INITIALIZED;
        } else if (need == Need::Context && !(call.context = current())) {
            standin_violation("no-context", name, "no context is current in this thread");
            status = CUDA_ERROR_INVALID_CONTEXT;
        } else {
            status = body(call);
        }
    }
    if (standin_logging()) {
        if (call.text)
            standin_log(name, "\"rc\":%d,\"kernel\":\"%s\"", int(status), call.text);
        else if (call.kind)
            standin_log(name, "\"rc\":%d,\"kind\":\"%s\",\"bytes\":%zu", int(status), call.kind, call.bytes);
        else if (call.bytes)
            standin_log(name, "\"rc\":%d,\"bytes\":%zu", int(status), call.bytes);
        else
            standin_log(name, "\"rc\":%d", int(status));
    }
    return status;
}

#endif
