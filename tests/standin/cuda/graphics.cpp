// OpenGL's textures in CUDA: a resource is a texture of the context that is current in the thread, and mapping it reads the
// texture into an array. Without an OpenGL context there is nothing to share, which is answered as a driver does.
#include <dlfcn.h>

#include <cstring>
#include <mutex>
#include <vector>

#include "cuda/state.h"

namespace {

constexpr uint32_t GRAPHICS = 0x47534752;
constexpr unsigned TEXTURE_2D = 0x0DE1, FRAMEBUFFER = 0x8D40, READ_FRAMEBUFFER = 0x8CA8;

struct Graphics : Handle {
    Context *context;
    void *gl; // OpenGL's context
    unsigned texture;
    Array *array;
    bool mapped = false;
    Graphics() : Handle(GRAPHICS) {}
};

// They are read when the process ends, behind the destructors of this file.
std::mutex &guard = *new std::mutex;
std::vector<Graphics *> &all = *new std::vector<Graphics *>;

// OpenGL as the client loaded it; it is not linked.
template <class F> F gl(const char *name) {
    static void *egl = dlopen("libEGL.so.1", RTLD_NOW | RTLD_NOLOAD);
    if (!egl) return nullptr;
    static auto get = reinterpret_cast<void *(*)(const char *)>(dlsym(egl, "eglGetProcAddress"));
    return get ? reinterpret_cast<F>(get(name)) : nullptr;
}

void *gl_context() {
    auto ask = gl<void *(*)()>("eglGetCurrentContext");
    return ask ? ask() : nullptr;
}

// The resource with OpenGL's context current in this thread.
Graphics *usable(const void *handle, const char *call) {
    Graphics *g = live<Graphics>(handle, GRAPHICS, "graphics resource", call);
    if (g && gl_context() != g->gl) {
        standin_violation("gl-context", call, "OpenGL's context of texture %u is not current in this thread", g->texture);
        return nullptr;
    }
    return g;
}

// What texture of the current context is made of; false when it is none that CUDA takes.
bool describe(unsigned texture, CUDA_ARRAY3D_DESCRIPTOR *shape) {
    auto bind = gl<void (*)(unsigned, unsigned)>("glBindTexture");
    auto number = gl<void (*)(unsigned, int *)>("glGetIntegerv");
    auto level = gl<void (*)(unsigned, int, unsigned, int *)>("glGetTexLevelParameteriv");
    if (!bind || !number || !level) return false;
    int before = 0, width = 0, height = 0, format = 0;
    number(0x8069, &before);
    bind(TEXTURE_2D, texture);
    level(TEXTURE_2D, 0, 0x1000, &width);
    level(TEXTURE_2D, 0, 0x1001, &height);
    level(TEXTURE_2D, 0, 0x1003, &format);
    bind(TEXTURE_2D, unsigned(before));
    *shape = {};
    shape->Width = size_t(width);
    shape->Height = size_t(height);
    bool deep = format == 0x822A || format == 0x822C;
    shape->Format = deep ? CU_AD_FORMAT_UNSIGNED_INT16 : CU_AD_FORMAT_UNSIGNED_INT8;
    shape->NumChannels = format == 0x8229 || format == 0x822A ? 1 : 2;
    return width > 0 && height > 0 && (deep || format == 0x8229 || format == 0x822B);
}

std::vector<uint8_t> pixels(const Graphics *g) {
    auto number = gl<void (*)(unsigned, int *)>("glGetIntegerv");
    auto store = gl<void (*)(unsigned, int)>("glPixelStorei");
    auto make = gl<void (*)(int, unsigned *)>("glGenFramebuffers");
    auto drop = gl<void (*)(int, const unsigned *)>("glDeleteFramebuffers");
    auto bind = gl<void (*)(unsigned, unsigned)>("glBindFramebuffer");
    auto attach = gl<void (*)(unsigned, unsigned, unsigned, unsigned, int)>("glFramebufferTexture2D");
    auto read = gl<void (*)(int, int, int, int, unsigned, unsigned, void *)>("glReadPixels");
    int before = 0, alignment = 4, length = 0;
    unsigned framebuffer = 0;
    number(0x8CAA, &before);
    number(0x0D05, &alignment);
    number(0x0D02, &length);
    store(0x0D05, 1);
    store(0x0D02, 0);
    make(1, &framebuffer);
    bind(READ_FRAMEBUFFER, framebuffer);
    attach(READ_FRAMEBUFFER, 0x8CE0, TEXTURE_2D, g->texture, 0);
    // OpenGL ES reads four samples a texel for sure, and fewer perhaps.
    const CUDA_ARRAY3D_DESCRIPTOR &shape = g->array->shape;
    bool deep = shape.Format == CU_AD_FORMAT_UNSIGNED_INT16;
    size_t sample = deep ? 2 : 1, texel = sample * shape.NumChannels;
    std::vector<uint8_t> all(shape.Width * shape.Height * sample * 4), bytes(g->array->bytes);
    read(0, 0, int(shape.Width), int(shape.Height), 0x1908, deep ? 0x1403 : 0x1401, all.data());
    for (size_t i = 0; i < shape.Width * shape.Height; i++) memcpy(&bytes[i * texel], &all[i * sample * 4], texel);
    bind(READ_FRAMEBUFFER, unsigned(before));
    drop(1, &framebuffer);
    store(0x0D05, alignment);
    store(0x0D02, length);
    return bytes;
}

void report_graphics() {
    for (Graphics *g : all)
        if (g->alive) standin_leak("graphics", "texture %u was never unregistered", g->texture);
}

} // namespace

API CUresult cuGraphicsGLRegisterImage(void **out, unsigned texture, unsigned target, unsigned flags) {
    return enter("cuGraphicsGLRegisterImage", Need::Context, [&](Call &c) {
        void *context = gl_context();
        if (!context) return CUDA_ERROR_INVALID_GRAPHICS_CONTEXT;
        CUDA_ARRAY3D_DESCRIPTOR shape;
        if (!out || target != TEXTURE_2D || flags > 8 || !describe(texture, &shape)) return CUDA_ERROR_INVALID_VALUE;
        Array *a = new Array;
        a->context = c.context;
        a->shape = shape;
        a->pitch = shape.Width * shape.NumChannels * (shape.Format == CU_AD_FORMAT_UNSIGNED_INT16 ? 2 : 1);
        a->bytes = a->pitch * shape.Height;
        CUresult rc = allocate(c.context, a->bytes, &a->memory, c.name);
        if (rc != CUDA_SUCCESS) {
            delete a;
            return rc;
        }
        Graphics *g = new Graphics;
        g->context = c.context;
        g->gl = context;
        g->texture = texture;
        g->array = a;
        // The array is one only while the resource is mapped.
        a->alive = false;
        register_handle(a);
        register_handle(g);
        std::lock_guard<std::mutex> lock(guard);
        if (all.empty()) standin_at_exit(report_graphics);
        all.push_back(g);
        *out = static_cast<Handle *>(g);
        return CUDA_SUCCESS;
    });
}

API CUresult cuGraphicsUnregisterResource(void *resource) {
    return enter("cuGraphicsUnregisterResource", Need::Context, [&](Call &c) {
        Graphics *g = usable(resource, c.name);
        if (!g) return CUDA_ERROR_INVALID_HANDLE;
        if (g->mapped) {
            standin_violation("unregister-mapped", c.name, "texture %u is mapped", g->texture);
            return CUDA_ERROR_INVALID_HANDLE;
        }
        g->alive = false;
        return release(g->array->memory, c.name);
    });
}

API CUresult cuGraphicsMapResources(unsigned count, void **resources, CUstream handle) {
    return enter("cuGraphicsMapResources", Need::Context, [&](Call &c) {
        Stream *stream = stream_of(handle, c.name);
        if (!stream || !count || !resources) return CUDA_ERROR_INVALID_HANDLE;
        for (unsigned i = 0; i < count; i++) {
            Graphics *g = usable(resources[i], c.name);
            if (!g) return CUDA_ERROR_INVALID_HANDLE;
            if (g->mapped) {
                standin_violation("mapped-twice", c.name, "texture %u is mapped", g->texture);
                return CUresult(208);
            }
            auto bytes = std::make_shared<std::vector<uint8_t>>(pixels(g));
            auto *to = static_cast<uint8_t *>(standin_view(g->array->memory, g->array->bytes, c.name));
            submit(stream, [=] { memcpy(to, bytes->data(), bytes->size()); });
            g->mapped = true;
            g->array->alive = true;
        }
        return CUDA_SUCCESS;
    });
}

API CUresult cuGraphicsUnmapResources(unsigned count, void **resources, CUstream handle) {
    return enter("cuGraphicsUnmapResources", Need::Context, [&](Call &c) {
        Stream *stream = stream_of(handle, c.name);
        if (!stream || !count || !resources) return CUDA_ERROR_INVALID_HANDLE;
        for (unsigned i = 0; i < count; i++) {
            Graphics *g = usable(resources[i], c.name);
            if (!g) return CUDA_ERROR_INVALID_HANDLE;
            if (!g->mapped) {
                standin_violation("not-mapped", c.name, "texture %u is not mapped", g->texture);
                return CUresult(211);
            }
            g->mapped = false;
            g->array->alive = false;
        }
        return CUDA_SUCCESS;
    });
}

API CUresult cuGraphicsSubResourceGetMappedArray(CUarray *out, void *resource, unsigned index, unsigned level) {
    return enter("cuGraphicsSubResourceGetMappedArray", Need::Context, [&](Call &c) {
        Graphics *g = live<Graphics>(resource, GRAPHICS, "graphics resource", c.name);
        if (!g) return CUDA_ERROR_INVALID_HANDLE;
        if (!g->mapped) {
            standin_violation("not-mapped", c.name, "texture %u is not mapped", g->texture);
            return CUresult(211);
        }
        if (!out || index || level) return CUDA_ERROR_INVALID_VALUE;
        *out = reinterpret_cast<CUarray>(static_cast<Handle *>(g->array));
        return CUDA_SUCCESS;
    });
}
