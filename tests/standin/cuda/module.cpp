// Modules and kernels. A module is PTX whose every entry has a CPU build in libgs_kernels_cpu.so (beside this library, or
// GS_STANDIN_KERNELS): for an entry NAME a function
//     extern "C" void gs_cpu_NAME(const unsigned grid[3], const unsigned block[3], void **args)
// that does all blocks and threads, `args` as cuLaunchKernel has them. It works on device pointers as they are: device
// memory is opened to the host while a kernel runs (the whole process sees that; it is closed when none runs).
// Other images are refused, as a driver refuses what was built for another GPU.
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <string>
#include <vector>

#include "cuda/state.h"

namespace {

using Kernel = void (*)(const unsigned grid[3], const unsigned block[3], void **args);

struct Module;
struct Function : Handle {
    Module *module;
    std::string name;
    Kernel kernel;
    std::vector<size_t> sizes; // of the parameters
    Function() : Handle(FUNCTION) {}
};
struct Module : Handle {
    Context *context;
    std::map<std::string, Function *> functions;
    Module() : Handle(MODULE) {}
};

struct Modules {
    std::mutex lock;
    std::vector<Module *> all;
};
Modules &modules() {
    static Modules *one = new Modules;
    return *one;
}

void *kernels_library() {
    static void *library = []() -> void * {
        if (const char *path = standin_knob("KERNELS")) return dlopen(path, RTLD_NOW | RTLD_LOCAL);
        Dl_info info;
        if (!dladdr(reinterpret_cast<void *>(&standin_driver), &info)) return nullptr;
        std::string path = info.dli_fname;
        path.erase(path.rfind('/') + 1);
        return dlopen((path + "libgs_kernels_cpu.so").c_str(), RTLD_NOW | RTLD_LOCAL);
    }();
    return library;
}

// PTX without comments.
std::string plain(const char *text) {
    std::string out;
    for (const char *p = text; *p;) {
        if (p[0] == '/' && p[1] == '/') {
            while (*p && *p != '\n') p++;
        } else if (p[0] == '/' && p[1] == '*') {
            const char *end = strstr(p + 2, "*/");
            if (!end) break;
            p = end + 2;
        } else {
            out += *p++;
        }
    }
    return out;
}

std::string word(const std::string &text, size_t *at) {
    while (*at < text.size() && isspace(static_cast<unsigned char>(text[*at]))) ++*at;
    size_t from = *at;
    while (*at < text.size() && (isalnum(static_cast<unsigned char>(text[*at])) || strchr("_$.", text[*at]))) ++*at;
    return text.substr(from, *at - from);
}

// The size of one parameter declaration: ".param .align 8 .b8 name[24]" -> 24.
size_t parameter(const std::string &text) {
    size_t size = 0, at = 0;
    static const struct { const char *name; size_t size; } types[] = {
        {".u8", 1}, {".s8", 1}, {".b8", 1}, {".u16", 2}, {".s16", 2}, {".b16", 2}, {".f16", 2}, {".u32", 4}, {".s32", 4},
        {".b32", 4}, {".f32", 4}, {".u64", 8}, {".s64", 8}, {".b64", 8}, {".f64", 8}};
    while (at < text.size()) {
        if (text[at] == '[') return size * strtoul(text.c_str() + at + 1, nullptr, 10);
        std::string w = word(text, &at);
        for (auto &t : types)
            if (w == t.name) size = t.size;
        if (w.empty()) at++;
    }
    return size;
}

CUresult load(Call &c, CUmodule *out, const char *image) {
    if (!out || !image) return CUDA_ERROR_INVALID_VALUE;
    // A cubin is an ELF file, a fat binary has its own mark: machine code for a GPU, which this is not.
    if (!memcmp(image, "\x7f" "ELF", 4) || !memcmp(image, "\x50\xed\x55\xba", 4)) return CUDA_ERROR_NO_BINARY_FOR_GPU;
    std::string ptx = plain(image);
    size_t at = ptx.find(".version"), target = ptx.find(".target");
    if (at == std::string::npos || target == std::string::npos) return CUDA_ERROR_INVALID_IMAGE;
    size_t sm = ptx.find("sm_", target);
    const struct standin_device *d = standin_device(c.context->ordinal);
    if (sm == std::string::npos) return CUDA_ERROR_INVALID_PTX;
    if (atoi(ptx.c_str() + sm + 3) > d->compute_major * 10 + d->compute_minor) return CUDA_ERROR_NO_BINARY_FOR_GPU;

    Module *m = new Module;
    m->context = c.context;
    for (at = 0; (at = ptx.find(".entry", at)) != std::string::npos;) {
        at += 6;
        std::string name = word(ptx, &at);
        Function *f = new Function;
        f->module = m;
        f->name = name;
        while (at < ptx.size() && isspace(static_cast<unsigned char>(ptx[at]))) at++;
        if (at < ptx.size() && ptx[at] == '(') {
            size_t end = ptx.find(')', at);
            if (end == std::string::npos) return CUDA_ERROR_INVALID_PTX;
            std::string list = ptx.substr(at + 1, end - at - 1);
            for (size_t from = 0; list.find(".param", from) != std::string::npos;) {
                size_t begin = list.find(".param", from), comma = list.find(',', begin);
                if (comma == std::string::npos) comma = list.size();
                f->sizes.push_back(parameter(list.substr(begin, comma - begin)));
                from = comma;
            }
            at = end;
        }
        void *library = kernels_library();
        f->kernel = library ? reinterpret_cast<Kernel>(dlsym(library, ("gs_cpu_" + name).c_str())) : nullptr;
        if (!f->kernel) {
            standin_log("refused-module", "\"kernel\":\"%s\",\"library\":%d", name.c_str(), library != nullptr);
            return CUDA_ERROR_NO_BINARY_FOR_GPU;
        }
        register_handle(f);
        m->functions[name] = f;
    }
    register_handle(m);
    std::lock_guard<std::mutex> hold(modules().lock);
    modules().all.push_back(m);
    *out = reinterpret_cast<CUmodule>(static_cast<Handle *>(m));
    return CUDA_SUCCESS;
}

void unload(Module *m) {
    m->alive = false;
    for (auto &[name, f] : m->functions) f->alive = false;
}

// Pointers among the arguments that point into freed or foreign device memory.
bool arguments_ok(const Function *f, void **args) {
    bool ok = true;
    for (size_t i = 0; i < f->sizes.size(); i++) {
        for (size_t at = 0; at + 8 <= f->sizes[i]; at += 8) {
            uint64_t value;
            memcpy(&value, static_cast<uint8_t *>(args[i]) + at, 8);
            if (in_device_space(value) && !standin_view(value, 1, f->name.c_str())) ok = false;
        }
    }
    return ok;
}

} // namespace

void destroy_modules(Context *context) {
    std::lock_guard<std::mutex> hold(modules().lock);
    for (Module *m : modules().all) {
        if (m->context != context || !m->alive) continue;
        standin_leak("module", "a module of device %d was not unloaded before its context", context->ordinal);
        unload(m);
    }
}

void report_modules() {
    std::lock_guard<std::mutex> hold(modules().lock);
    for (Module *m : modules().all)
        if (m->alive) standin_leak("module", "a module of device %d", m->context->ordinal);
}

API CUresult cuModuleLoadData(CUmodule *out, const void *image) {
    return enter("cuModuleLoadData", Need::Context, [&](Call &c) { return load(c, out, static_cast<const char *>(image)); });
}
API CUresult cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned, CUjit_option *, void **) {
    return enter("cuModuleLoadDataEx", Need::Context, [&](Call &c) { return load(c, out, static_cast<const char *>(image)); });
}
API CUresult cuModuleLoadFatBinary(CUmodule *, const void *) {
    return enter("cuModuleLoadFatBinary", Need::Context, [](Call &) { return CUDA_ERROR_NO_BINARY_FOR_GPU; });
}
API CUresult cuModuleLoad(CUmodule *, const char *) {
    return enter("cuModuleLoad", Need::Context, [](Call &) { return CUDA_ERROR_NOT_SUPPORTED; });
}

API CUresult cuModuleUnload(CUmodule handle) {
    return enter("cuModuleUnload", Need::Context, [&](Call &c) {
        Module *m = live<Module>(handle, MODULE, "module", c.name);
        if (!m) return CUDA_ERROR_INVALID_HANDLE;
        drain_context(m->context);
        unload(m);
        return CUDA_SUCCESS;
    });
}

API CUresult cuModuleGetFunction(CUfunction *out, CUmodule handle, const char *name) {
    return enter("cuModuleGetFunction", Need::Context, [&](Call &c) {
        Module *m = live<Module>(handle, MODULE, "module", c.name);
        if (!m) return CUDA_ERROR_INVALID_HANDLE;
        if (!out || !name) return CUDA_ERROR_INVALID_VALUE;
        auto it = m->functions.find(name);
        if (it == m->functions.end()) return CUDA_ERROR_NOT_FOUND;
        *out = reinterpret_cast<CUfunction>(static_cast<Handle *>(it->second));
        return CUDA_SUCCESS;
    });
}

// A kernel's CPU build has no global that the host could write.
static CUresult no_global(const char *name) {
    return enter(name, Need::Context, [](Call &) { return CUDA_ERROR_NOT_FOUND; });
}
API CUresult cuModuleGetGlobal(CUdeviceptr *, size_t *, CUmodule, const char *) { return no_global("cuModuleGetGlobal"); }
API CUresult cuModuleGetGlobal_v2(CUdeviceptr *, size_t *, CUmodule, const char *) { return no_global("cuModuleGetGlobal_v2"); }

API CUresult cuFuncGetAttribute(int *out, int which, CUfunction handle) {
    return enter("cuFuncGetAttribute", Need::Context, [&](Call &c) {
        if (!live<Function>(handle, FUNCTION, "function", c.name)) return CUDA_ERROR_INVALID_HANDLE;
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = which == 0 ? 1024 : which == 4 ? 32 : which == 5 || which == 6 ? 75 : 0;
        return CUDA_SUCCESS;
    });
}
API CUresult cuFuncSetAttribute(CUfunction handle, int, int) {
    return enter("cuFuncSetAttribute", Need::Context, [&](Call &c) {
        return live<Function>(handle, FUNCTION, "function", c.name) ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_HANDLE;
    });
}
API CUresult cuFuncSetCacheConfig(CUfunction handle, int) {
    return enter("cuFuncSetCacheConfig", Need::Context, [&](Call &c) {
        return live<Function>(handle, FUNCTION, "function", c.name) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
    });
}
API CUresult cuFuncGetModule(CUmodule *out, CUfunction handle) {
    return enter("cuFuncGetModule", Need::Context, [&](Call &c) {
        Function *f = live<Function>(handle, FUNCTION, "function", c.name);
        if (!f) return CUDA_ERROR_INVALID_HANDLE;
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = reinterpret_cast<CUmodule>(static_cast<Handle *>(f->module));
        return CUDA_SUCCESS;
    });
}

API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, CUfunction handle, int threads, size_t) {
    return enter("cuOccupancyMaxActiveBlocksPerMultiprocessor", Need::Context, [&](Call &c) {
        if (!live<Function>(handle, FUNCTION, "function", c.name)) return CUDA_ERROR_INVALID_HANDLE;
        if (!out || threads <= 0) return CUDA_ERROR_INVALID_VALUE;
        *out = threads > 1024 ? 0 : 1536 / threads < 16 ? 1536 / threads : 16;
        return CUDA_SUCCESS;
    });
}
API CUresult cuOccupancyMaxPotentialBlockSize(int *blocks, int *threads, CUfunction handle, size_t (*)(int), size_t, int limit) {
    return enter("cuOccupancyMaxPotentialBlockSize", Need::Context, [&](Call &c) {
        if (!live<Function>(handle, FUNCTION, "function", c.name)) return CUDA_ERROR_INVALID_HANDLE;
        if (!blocks || !threads) return CUDA_ERROR_INVALID_VALUE;
        *threads = limit > 0 && limit < 768 ? limit : 768;
        *blocks = 2 * standin_device(c.context->ordinal)->multiprocessors;
        return CUDA_SUCCESS;
    });
}

API CUresult cuLaunchKernel(CUfunction handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                            unsigned shared, CUstream on, void **args, void **extra) {
    return enter("cuLaunchKernel", Need::Context, [&](Call &c) {
        Function *f = live<Function>(handle, FUNCTION, "function", c.name);
        if (!f) return CUDA_ERROR_INVALID_HANDLE;
        c.text = f->name.c_str();
        if (f->module->context != c.context) {
            standin_violation("wrong-context", c.name, "the kernel %s belongs to another context", c.text);
            return CUDA_ERROR_INVALID_HANDLE;
        }
        if (!gx || !gy || !gz || !bx || !by || !bz || gx > 2147483647u || gy > 65535 || gz > 65535 || bx > 1024 || by > 1024 ||
            bz > 64 || uint64_t(bx) * by * bz > 1024 || shared > 49152) {
            standin_violation("bad-launch", c.name, "%s: grid %ux%ux%u, block %ux%ux%u, %u bytes shared", c.text, gx, gy, gz, bx, by,
                              bz, shared);
            return CUDA_ERROR_INVALID_VALUE;
        }
        if (extra) return CUDA_ERROR_NOT_SUPPORTED;
        if (!args && !f->sizes.empty()) return CUDA_ERROR_INVALID_VALUE;
        if (!arguments_ok(f, args)) return CUresult(700);
        Stream *stream = stream_of(on, c.name);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        // The caller's arguments need not outlive this call.
        auto values = std::make_shared<std::vector<std::vector<uint64_t>>>();
        for (size_t i = 0; i < f->sizes.size(); i++) {
            values->emplace_back((f->sizes[i] + 7) / 8);
            memcpy(values->back().data(), args[i], f->sizes[i]);
        }
        submit(stream, [=] {
            std::vector<void *> pointers;
            for (auto &v : *values) pointers.push_back(v.data());
            {
                KernelWindow open;
                const unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
                f->kernel(grid, block, pointers.data());
            }
            check_guards(f->name.c_str());
        });
        return CUDA_SUCCESS;
    });
}
