// Device memory: one file in memory per device, mapped twice. The host's view is readable and writable; the device's view,
// whose addresses are the device pointers, is PROT_NONE, so that a host that follows a device pointer faults.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

#include "cuda/state.h"

namespace {

constexpr size_t ALIGN = 512;
// Behind every allocation: a kernel or copy that writes there is found out.
constexpr size_t GUARD = 512;
constexpr uint8_t GUARD_BYTE = 0xE9, FRESH_BYTE = 0xA5;
constexpr size_t SPACE = size_t(1) << 40;
// Freed addresses are not handed out again until so much lies idle: a late use hits nothing, not another's memory.
constexpr size_t QUARANTINE = size_t(512) << 20;

struct Arena {
    int file = -1;
    uint8_t *device = nullptr, *host = nullptr;
    size_t top = 0;
    std::map<size_t, size_t> idle; // offset -> bytes, to be used again
    std::deque<std::pair<size_t, size_t>> freed;
    size_t freed_bytes = 0;
    uint64_t used = 0, reserved = 0;

    bool open(int ordinal) {
        if (file >= 0) return true;
        char name[32];
        snprintf(name, sizeof name, "standin-gpu%d", ordinal);
        file = memfd_create(name, MFD_CLOEXEC);
        if (file < 0 || ftruncate(file, off_t(SPACE)) != 0) return false;
        void *a = mmap(nullptr, SPACE, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0);
        void *b = mmap(nullptr, SPACE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
        if (a == MAP_FAILED || b == MAP_FAILED) return false;
        // A child made by fork must not write the parent's device memory.
        madvise(a, SPACE, MADV_DONTFORK);
        madvise(b, SPACE, MADV_DONTFORK);
        madvise(a, SPACE, MADV_DONTDUMP);
        madvise(b, SPACE, MADV_DONTDUMP);
        device = static_cast<uint8_t *>(a);
        host = static_cast<uint8_t *>(b);
        return true;
    }
    bool holds(uint64_t pointer) const {
        return device && pointer >= uint64_t(device) && pointer < uint64_t(device) + SPACE;
    }
    void add_idle(size_t offset, size_t bytes) {
        auto next = idle.lower_bound(offset);
        if (next != idle.end() && next->first == offset + bytes) {
            bytes += next->second;
            next = idle.erase(next);
        }
        if (next != idle.begin()) {
            auto before = std::prev(next);
            if (before->first + before->second == offset) {
                before->second += bytes;
                return;
            }
        }
        idle[offset] = bytes;
    }
    bool take(size_t bytes, size_t *offset) {
        while (freed_bytes > QUARANTINE) {
            auto [at, size] = freed.front();
            freed.pop_front();
            freed_bytes -= size;
            add_idle(at, size);
        }
        for (auto it = idle.begin(); it != idle.end(); ++it) {
            if (it->second < bytes) continue;
            *offset = it->first;
            size_t rest = it->second - bytes, at = it->first + bytes;
            idle.erase(it);
            if (rest) idle[at] = rest;
            return true;
        }
        if (top + bytes > SPACE) return false;
        *offset = top;
        top += bytes;
        return true;
    }
    void give(size_t offset, size_t bytes) {
        // The pages go back at once; a view that someone kept reads zeroes.
        size_t page = 4096, from = (offset + page - 1) / page * page, to = (offset + bytes) / page * page;
        if (to > from) madvise(host + from, to - from, MADV_REMOVE);
        freed.emplace_back(offset, bytes);
        freed_bytes += bytes;
    }
};

struct Memory {
    std::mutex lock;
    Arena arena[8];
    std::map<uint64_t, Allocation> allocations; // by start, of every kind
    std::map<uint64_t, std::pair<size_t, uint64_t>> gone; // the latest freed: start -> bytes, id
    uint64_t next_id = 1;
    int windows = 0;

    bool find(uint64_t pointer, Allocation *out) {
        auto it = allocations.upper_bound(pointer);
        if (it == allocations.begin()) return false;
        --it;
        if (pointer >= it->first + it->second.bytes) return false;
        *out = it->second;
        return true;
    }
};

Memory &memory() {
    static Memory *all = new Memory;
    return *all;
}

size_t padded(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

// With the lock held.
void check_guard(const Allocation &a, const char *call) {
    if (a.kind != Kind::Device) return;
    const uint8_t *end = a.view + a.bytes;
    size_t guard = padded(a.bytes) + GUARD - a.bytes;
    for (size_t i = 0; i < guard; i++) {
        if (end[i] != GUARD_BYTE) {
            standin_violation("write-past-end", call, "byte %zu behind the %zu bytes at 0x%llx (from %s) was overwritten", i,
                              a.bytes, static_cast<unsigned long long>(a.start), a.call);
            memset(const_cast<uint8_t *>(end), GUARD_BYTE, guard);
            return;
        }
    }
}

void forget(Memory &m, const Allocation &a, const char *call) {
    check_guard(a, call);
    m.allocations.erase(a.start);
    if (a.kind == Kind::Device) {
        Arena &arena = m.arena[a.ordinal];
        arena.used -= a.bytes;
        arena.give(size_t(a.start - uint64_t(arena.device)), padded(a.bytes) + GUARD);
    } else if (a.kind != Kind::Registered) {
        if (a.kind == Kind::Managed) m.arena[a.ordinal].used -= a.bytes;
        munmap(reinterpret_cast<void *>(a.start), a.bytes);
    }
    if (m.gone.size() > 4096) m.gone.erase(m.gone.begin());
    m.gone[a.start] = {a.bytes, a.id};
}

// Says what is wrong with a range that is no (whole) allocation.
void blame(Memory &m, uint64_t pointer, size_t bytes, const char *call) {
    auto show = static_cast<unsigned long long>(pointer);
    Allocation a;
    if (m.find(pointer, &a)) {
        standin_violation("out-of-range", call, "%zu bytes at 0x%llx leave the allocation of %zu bytes at 0x%llx", bytes, show,
                          a.bytes, static_cast<unsigned long long>(a.start));
        return;
    }
    auto it = m.gone.upper_bound(pointer);
    if (it != m.gone.begin() && (--it, pointer < it->first + it->second.first)) {
        standin_violation("use-after-free", call, "0x%llx lies in %zu bytes that were freed", show, it->second.first);
        return;
    }
    standin_violation("bad-pointer", call, "0x%llx is in no allocation of the device", show);
}

CUresult host_memory(Call &c, Kind kind, void **out, size_t bytes) {
    if (!out || !bytes) return CUDA_ERROR_INVALID_VALUE;
    c.bytes = bytes;
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    if (kind == Kind::Managed) {
        const struct standin_device *d = standin_device(c.context->ordinal);
        Arena &arena = m.arena[c.context->ordinal];
        if (arena.used + arena.reserved + bytes > d->memory) return CUDA_ERROR_OUT_OF_MEMORY;
    }
    void *p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
    if (kind == Kind::Managed) m.arena[c.context->ordinal].used += bytes;
    m.gone.erase(uint64_t(p));
    m.allocations[uint64_t(p)] = {kind, uint64_t(p), bytes, static_cast<uint8_t *>(p), c.context, c.context->ordinal,
                                  m.next_id++, c.name};
    *out = p;
    return CUDA_SUCCESS;
}

CUresult free_kind(Call &c, uint64_t pointer, bool host) {
    if (!pointer) return CUDA_SUCCESS;
    Memory &m = memory();
    Allocation a;
    {
        std::lock_guard<std::mutex> hold(m.lock);
        auto it = m.allocations.find(pointer);
        bool right = it != m.allocations.end() && (host ? it->second.kind == Kind::Pinned
                                                         : it->second.kind == Kind::Device || it->second.kind == Kind::Managed);
        if (!right) {
            auto gone = m.gone.find(pointer);
            if (it == m.allocations.end() && gone != m.gone.end())
                standin_violation("double-free", c.name, "0x%llx was freed before", static_cast<unsigned long long>(pointer));
            else
                standin_violation("bad-free", c.name, "0x%llx is not the start of an allocation of this kind",
                                  static_cast<unsigned long long>(pointer));
            return CUDA_ERROR_INVALID_VALUE;
        }
        a = it->second;
    }
    // As the real driver does, wait for the work that may still use it.
    drain_context(a.context);
    std::lock_guard<std::mutex> hold(m.lock);
    auto it = m.allocations.find(pointer);
    if (it == m.allocations.end()) return CUDA_ERROR_INVALID_VALUE;
    c.bytes = a.bytes;
    forget(m, a, c.name);
    return CUDA_SUCCESS;
}

} // namespace

bool find(uint64_t pointer, Allocation *out) {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    return m.find(pointer, out);
}

bool in_device_space(uint64_t pointer) {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    for (auto &arena : m.arena)
        if (arena.holds(pointer)) return true;
    return false;
}

CUresult allocate(Context *context, size_t bytes, uint64_t *out, const char *call) {
    if (!out || !bytes) return CUDA_ERROR_INVALID_VALUE;
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    const struct standin_device *d = standin_device(context->ordinal);
    Arena &arena = m.arena[context->ordinal];
    size_t offset;
    if (bytes > d->memory || arena.used + arena.reserved + bytes > d->memory) return CUDA_ERROR_OUT_OF_MEMORY;
    if (!arena.open(context->ordinal) || !arena.take(padded(bytes) + GUARD, &offset)) return CUDA_ERROR_OUT_OF_MEMORY;
    uint8_t *view = arena.host + offset;
    // Real device memory is not zero when it is handed out; small ones show that nobody relies on it.
    if (bytes <= (size_t(64) << 20)) memset(view, FRESH_BYTE, bytes);
    memset(view + bytes, GUARD_BYTE, padded(bytes) + GUARD - bytes);
    arena.used += bytes;
    uint64_t start = uint64_t(arena.device) + offset;
    m.gone.erase(start);
    m.allocations[start] = {Kind::Device, start, bytes, view, context, context->ordinal, m.next_id++, call};
    *out = start;
    return CUDA_SUCCESS;
}

CUresult release(uint64_t pointer, const char *call) {
    Call c;
    c.name = call;
    return free_kind(c, pointer, false);
}

void release_context_memory(Context *context) {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    for (auto it = m.allocations.begin(); it != m.allocations.end();) {
        Allocation a = it->second;
        ++it;
        if (a.context != context || a.kind == Kind::Registered) continue;
        standin_leak("memory", "%zu bytes at 0x%llx from %s were still allocated when their context was destroyed", a.bytes,
                     static_cast<unsigned long long>(a.start), a.call);
        forget(m, a, "cuCtxDestroy");
        it = m.allocations.upper_bound(a.start);
    }
}

uint64_t memory_used(int ordinal) {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    return m.arena[ordinal].used + m.arena[ordinal].reserved;
}

KernelWindow::KernelWindow() {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    // Also when one is open: memory that was allocated since is closed.
    m.windows++;
    for (auto &arena : m.arena)
        if (arena.device && arena.top) mprotect(arena.device, padded(arena.top + 4095) / 4096 * 4096, PROT_READ | PROT_WRITE);
}

KernelWindow::~KernelWindow() {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    if (--m.windows == 0)
        for (auto &arena : m.arena)
            if (arena.device) mprotect(arena.device, SPACE, PROT_NONE);
}

void check_guards(const char *call) {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    for (auto &[start, a] : m.allocations) check_guard(a, call);
}

void report_memory() {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    for (auto &[start, a] : m.allocations) {
        check_guard(a, "exit");
        static const char *names[] = {"none", "memory", "pinned host memory", "registered host memory", "managed memory"};
        standin_leak(a.kind == Kind::Device ? "memory" : "host-memory", "%s: %zu bytes at 0x%llx from %s", names[int(a.kind)],
                     a.bytes, static_cast<unsigned long long>(start), a.call);
    }
    for (int i = 0; i < 8; i++)
        if (m.arena[i].reserved)
            standin_leak("reserved-memory", "%llu bytes on device %d that a library kept for itself",
                         static_cast<unsigned long long>(m.arena[i].reserved), i);
}

// ---- The seam --------------------------------------------------------------------------------------------------------

API void *standin_view(uint64_t pointer, size_t bytes, const char *call) {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    Allocation a;
    if (!m.find(pointer, &a) || bytes > a.start + a.bytes - pointer) {
        blame(m, pointer, bytes, call);
        return nullptr;
    }
    return a.view + (pointer - a.start);
}

API int standin_allocation(uint64_t pointer, uint64_t *start, size_t *bytes, int *ordinal) {
    Allocation a;
    if (!find(pointer, &a)) return 0;
    if (start) *start = a.start;
    if (bytes) *bytes = a.bytes;
    if (ordinal) *ordinal = a.ordinal;
    return 1;
}

API int standin_reserve(int ordinal, uint64_t bytes) {
    const struct standin_device *d = standin_device(ordinal);
    if (!d) return 0;
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    Arena &arena = m.arena[ordinal];
    if (arena.used + arena.reserved + bytes > d->memory) return 0;
    arena.reserved += bytes;
    return 1;
}

API void standin_release(int ordinal, uint64_t bytes) {
    if (!standin_device(ordinal)) return;
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    uint64_t &reserved = m.arena[ordinal].reserved;
    reserved = bytes > reserved ? 0 : reserved - bytes;
}

API uint64_t standin_take(void *handle, size_t bytes, const char *call) {
    Context *context = live<Context>(handle, CONTEXT, "context", call);
    uint64_t pointer = 0;
    return context && allocate(context, bytes, &pointer, call) == CUDA_SUCCESS ? pointer : 0;
}

API void standin_give(uint64_t pointer, const char *call) { release(pointer, call); }

API uint64_t standin_memory_used(int ordinal) { return standin_device(ordinal) ? memory_used(ordinal) : 0; }

// ---- CUDA ------------------------------------------------------------------------------------------------------------

API CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t bytes) {
    return enter("cuMemAlloc_v2", Need::Context, [&](Call &c) {
        c.bytes = bytes;
        uint64_t p = 0;
        CUresult rc = allocate(c.context, out ? bytes : 0, &p, c.name);
        if (rc == CUDA_SUCCESS) *out = p;
        return rc;
    });
}

API CUresult cuMemAllocPitch_v2(CUdeviceptr *out, size_t *pitch, size_t width, size_t height, unsigned element) {
    return enter("cuMemAllocPitch_v2", Need::Context, [&](Call &c) {
        if (!out || !pitch || !width || !height || (element != 4 && element != 8 && element != 16))
            return CUDA_ERROR_INVALID_VALUE;
        size_t p = padded(width);
        uint64_t at = 0;
        c.bytes = p * height;
        CUresult rc = allocate(c.context, c.bytes, &at, c.name);
        if (rc == CUDA_SUCCESS) {
            *out = at;
            *pitch = p;
        }
        return rc;
    });
}

API CUresult cuMemFree_v2(CUdeviceptr pointer) {
    return enter("cuMemFree_v2", Need::Context, [&](Call &c) { return free_kind(c, pointer, false); });
}

API CUresult cuMemAllocAsync(CUdeviceptr *out, size_t bytes, CUstream stream) {
    return enter("cuMemAllocAsync", Need::Context, [&](Call &c) {
        if (!stream_of(stream, c.name)) return CUDA_ERROR_INVALID_HANDLE;
        c.bytes = bytes;
        uint64_t p = 0;
        CUresult rc = allocate(c.context, out ? bytes : 0, &p, c.name);
        if (rc == CUDA_SUCCESS) *out = p;
        return rc;
    });
}

API CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream handle) {
    return enter("cuMemFreeAsync", Need::Context, [&](Call &c) {
        Stream *stream = stream_of(handle, c.name);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        // Its turn in the stream has come when what was queued before is done.
        drain(stream);
        return free_kind(c, pointer, false);
    });
}

API CUresult cuMemAllocManaged(CUdeviceptr *out, size_t bytes, unsigned) {
    return enter("cuMemAllocManaged", Need::Context,
                 [&](Call &c) { return host_memory(c, Kind::Managed, reinterpret_cast<void **>(out), bytes); });
}

API CUresult cuMemAllocHost_v2(void **out, size_t bytes) {
    return enter("cuMemAllocHost_v2", Need::Context, [&](Call &c) { return host_memory(c, Kind::Pinned, out, bytes); });
}

API CUresult cuMemHostAlloc(void **out, size_t bytes, unsigned) {
    return enter("cuMemHostAlloc", Need::Context, [&](Call &c) { return host_memory(c, Kind::Pinned, out, bytes); });
}

API CUresult cuMemFreeHost(void *pointer) {
    return enter("cuMemFreeHost", Need::Context, [&](Call &c) { return free_kind(c, uint64_t(pointer), true); });
}

API CUresult cuMemHostRegister_v2(void *pointer, size_t bytes, unsigned) {
    return enter("cuMemHostRegister_v2", Need::Context, [&](Call &c) {
        if (!pointer || !bytes) return CUDA_ERROR_INVALID_VALUE;
        c.bytes = bytes;
        Memory &m = memory();
        std::lock_guard<std::mutex> hold(m.lock);
        Allocation a;
        if (m.find(uint64_t(pointer), &a) || m.find(uint64_t(pointer) + bytes - 1, &a))
            return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
        m.allocations[uint64_t(pointer)] = {Kind::Registered, uint64_t(pointer), bytes, static_cast<uint8_t *>(pointer),
                                            c.context, c.context->ordinal, m.next_id++, c.name};
        return CUDA_SUCCESS;
    });
}

API CUresult cuMemHostUnregister(void *pointer) {
    return enter("cuMemHostUnregister", Need::Context, [&](Call &c) {
        Memory &m = memory();
        Allocation a;
        if (!find(uint64_t(pointer), &a) || a.start != uint64_t(pointer) || a.kind != Kind::Registered) {
            standin_violation("bad-free", c.name, "%p is not registered", pointer);
            return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
        }
        drain_context(a.context);
        std::lock_guard<std::mutex> hold(m.lock);
        m.allocations.erase(a.start);
        return CUDA_SUCCESS;
    });
}

API CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *out, void *pointer, unsigned) {
    return enter("cuMemHostGetDevicePointer_v2", Need::Context, [&](Call &) {
        Allocation a;
        if (!out || !find(uint64_t(pointer), &a) || a.kind == Kind::Device) return CUDA_ERROR_INVALID_VALUE;
        *out = CUdeviceptr(pointer);
        return CUDA_SUCCESS;
    });
}

API CUresult cuMemHostGetFlags(unsigned *flags, void *pointer) {
    return enter("cuMemHostGetFlags", Need::Context, [&](Call &) {
        Allocation a;
        if (!flags || !find(uint64_t(pointer), &a) || a.kind == Kind::Device) return CUDA_ERROR_INVALID_VALUE;
        *flags = 2; // mapped, as unified addressing makes all of it
        return CUDA_SUCCESS;
    });
}

API CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    return enter("cuMemGetInfo_v2", Need::Context, [&](Call &c) {
        const struct standin_device *d = standin_device(c.context->ordinal);
        if (free_bytes) *free_bytes = size_t(d->memory - memory_used(d->ordinal));
        if (total) *total = size_t(d->memory);
        return CUDA_SUCCESS;
    });
}

API CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr pointer) {
    return enter("cuMemGetAddressRange_v2", Need::Context, [&](Call &) {
        Allocation a;
        if (!find(pointer, &a)) return CUDA_ERROR_NOT_FOUND;
        if (base) *base = a.start;
        if (bytes) *bytes = a.bytes;
        return CUDA_SUCCESS;
    });
}

static CUresult pointer_attribute(void *data, int attribute, uint64_t pointer) {
    Allocation a;
    if (!data || !find(pointer, &a)) return CUDA_ERROR_INVALID_VALUE;
    bool host = a.kind == Kind::Pinned || a.kind == Kind::Registered;
    switch (attribute) {
    case 1: *static_cast<void **>(data) = static_cast<Handle *>(a.context); break;
    case 2: *static_cast<unsigned *>(data) = host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE; break;
    case 3: *static_cast<uint64_t *>(data) = pointer; break;
    case 4:
        if (a.kind == Kind::Device) return CUDA_ERROR_INVALID_VALUE;
        *static_cast<uint64_t *>(data) = pointer;
        break;
    case 6: *static_cast<unsigned char *>(data) = 0; break;
    case 7: *static_cast<uint64_t *>(data) = a.id; break;
    case 8: *static_cast<unsigned char *>(data) = a.kind == Kind::Managed; break;
    case 9: *static_cast<int *>(data) = a.ordinal; break;
    case 10: *static_cast<unsigned char *>(data) = 0; break;
    case 11: *static_cast<uint64_t *>(data) = a.start; break;
    case 12: *static_cast<size_t *>(data) = a.bytes; break;
    case 13: *static_cast<unsigned char *>(data) = 1; break;
    case 17: *static_cast<void **>(data) = nullptr; break;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

API CUresult cuPointerGetAttribute(void *data, int attribute, CUdeviceptr pointer) {
    return enter("cuPointerGetAttribute", Need::Init, [&](Call &) { return pointer_attribute(data, attribute, pointer); });
}

API CUresult cuPointerGetAttributes(unsigned count, int *attributes, void **data, CUdeviceptr pointer) {
    return enter("cuPointerGetAttributes", Need::Init, [&](Call &) {
        if (!count || !attributes || !data) return CUDA_ERROR_INVALID_VALUE;
        Allocation a;
        for (unsigned i = 0; i < count; i++) {
            if (find(pointer, &a)) {
                CUresult rc = pointer_attribute(data[i], attributes[i], pointer);
                if (rc != CUDA_SUCCESS && attributes[i] != 4) return rc;
            } else if (attributes[i] == 1 || attributes[i] == 3 || attributes[i] == 4) {
                *static_cast<void **>(data[i]) = nullptr; // of an unknown pointer: nothing, and no error
            } else if (attributes[i] == 2 || attributes[i] == 9) {
                *static_cast<int *>(data[i]) = attributes[i] == 9 ? -2 : 0;
            }
        }
        return CUDA_SUCCESS;
    });
}

API CUresult cuPointerSetAttribute(const void *, int, CUdeviceptr pointer) {
    return enter("cuPointerSetAttribute", Need::Init, [&](Call &) {
        Allocation a;
        return find(pointer, &a) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    });
}
