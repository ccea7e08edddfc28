// libEGL.so.1 of a GPU that imports DMA-BUFs, over this machine's own EGL, which draws in software and cannot: the memory is
// read when it is imported, so it may be any that can be mapped. The device is said to be CUDA's number 0. Like NVIDIA's it
// reads one arrangement of its own and not the linear one: here rows lie in pairs, the second first.
// All that is not here is the real library's.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

using Handle = void *;
using Proc = void (*)();

constexpr int NONE = 0x3038, EXTENSIONS = 0x3055, CUDA_DEVICE = 0x323A;
constexpr unsigned DMA_BUF = 0x3270, IMAGE_OF_TEXTURE = 0x30B1, TEXTURE_2D = 0x0DE1;
constexpr uint64_t PAIRS = 0x0300000000606014;
constexpr uint32_t fourcc(const char *s) { return uint32_t(s[0]) | uint32_t(s[1]) << 8 | uint32_t(s[2]) << 16 | uint32_t(s[3]) << 24; }
constexpr uint32_t FORMATS[] = {fourcc("XR24"), fourcc("AR24"), fourcc("XB24"), fourcc("AB24"), fourcc("NV12")};

void *library() {
    static void *real = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
    if (!real) {
        fprintf(stderr, "stand-in EGL: %s\n", dlerror());
        abort();
    }
    return real;
}

template <class F> F real(const char *name) {
    static auto get = reinterpret_cast<Proc (*)(const char *)>(dlsym(library(), "eglGetProcAddress"));
    return reinterpret_cast<F>(get(name));
}

std::mutex guard;
std::map<Handle, unsigned> textures;

// A text that lives as long as the process.
const char *longer(const char *text, const char *more) {
    static std::map<std::string, std::string> made;
    std::lock_guard<std::mutex> lock(guard);
    std::string &both = made[text];
    both = std::string(text) + " " + more;
    return both.c_str();
}

const char *query_string(Handle display, int name) {
    const char *text = real<const char *(*)(Handle, int)>("eglQueryString")(display, name);
    if (!display || name != EXTENSIONS || !text) return text;
    return longer(text, "EGL_EXT_image_dma_buf_import EGL_EXT_image_dma_buf_import_modifiers");
}

const char *device_string(Handle device, int name) {
    const char *text = real<const char *(*)(Handle, int)>("eglQueryDeviceStringEXT")(device, name);
    return name == EXTENSIONS && text ? longer(text, "EGL_NV_device_cuda") : text;
}

unsigned device_attribute(Handle device, int name, intptr_t *value) {
    if (name != CUDA_DEVICE) return real<unsigned (*)(Handle, int, intptr_t *)>("eglQueryDeviceAttribEXT")(device, name, value);
    *value = 0;
    return 1;
}

unsigned formats(Handle, int room, int *list, int *count) {
    *count = int(sizeof(FORMATS) / sizeof(*FORMATS));
    for (int i = 0; list && i < room && i < *count; i++) list[i] = int(FORMATS[i]);
    return 1;
}

unsigned modifiers(Handle, int, int room, uint64_t *list, unsigned *external, int *count) {
    *count = 1;
    if (list && room > 0) {
        list[0] = PAIRS;
        external[0] = 1;
    }
    return 1;
}

Handle import(Handle display, Handle context, Handle buffer, const int *list) {
    int64_t width = 0, height = 0, fd = -1, offset = -1, pitch = 0, low = -1, high = -1;
    uint32_t format = 0;
    for (const int *at = list; at && *at != NONE; at += 2) {
        switch (*at) {
        case 0x3057: width = at[1]; break;
        case 0x3056: height = at[1]; break;
        case 0x3271: format = uint32_t(at[1]); break;
        case 0x3272: fd = at[1]; break;
        case 0x3273: offset = uint32_t(at[1]); break;
        case 0x3274: pitch = uint32_t(at[1]); break;
        case 0x3443: low = uint32_t(at[1]); break;
        case 0x3444: high = uint32_t(at[1]); break;
        default: return nullptr;
        }
    }
    bool known = false;
    for (uint32_t f : FORMATS) known |= f == format && f != fourcc("NV12");
    if (context || buffer || !known || low < 0 || high < 0 || uint64_t(low | high << 32) != PAIRS) return nullptr;
    if (width < 1 || height < 2 || height % 2 || pitch < width * 4 || offset < 0 || lseek(int(fd), 0, SEEK_END) < offset + height * pitch)
        return nullptr;
    size_t bytes = size_t(offset + height * pitch);
    auto *memory = static_cast<uint8_t *>(mmap(nullptr, bytes, PROT_READ, MAP_SHARED, int(fd), 0));
    if (memory == MAP_FAILED) return nullptr;
    bool swapped = format == fourcc("XR24") || format == fourcc("AR24");
    std::vector<uint8_t> pixels(size_t(width * height * 4));
    for (int64_t y = 0; y < height; y++) {
        const uint8_t *from = memory + offset + (y ^ 1) * pitch;
        uint8_t *to = pixels.data() + y * width * 4;
        for (int64_t x = 0; x < width * 4; x += 4) {
            to[x] = from[x + (swapped ? 2 : 0)];
            to[x + 1] = from[x + 1];
            to[x + 2] = from[x + (swapped ? 0 : 2)];
            to[x + 3] = 255;
        }
    }
    munmap(memory, bytes);
    unsigned texture = 0;
    int before = 0;
    real<void (*)(unsigned, int *)>("glGetIntegerv")(0x8069, &before);
    real<void (*)(int, unsigned *)>("glGenTextures")(1, &texture);
    auto bind = real<void (*)(unsigned, unsigned)>("glBindTexture");
    bind(TEXTURE_2D, texture);
    real<void (*)(unsigned, int, unsigned, int, int)>("glTexStorage2D")(TEXTURE_2D, 1, 0x8058, int(width), int(height));
    real<void (*)(unsigned, int)>("glPixelStorei")(0x0CF5, 4);
    real<void (*)(unsigned, int, int, int, int, int, unsigned, unsigned, const void *)>("glTexSubImage2D")(
        TEXTURE_2D, 0, 0, 0, int(width), int(height), 0x1908, 0x1401, pixels.data());
    bind(TEXTURE_2D, unsigned(before));
    const int whole[] = {0x30BC, 0, NONE};
    Handle current = real<Handle (*)()>("eglGetCurrentContext")();
    Handle image = real<Handle (*)(Handle, Handle, unsigned, Handle, const int *)>("eglCreateImageKHR")(
        display, current, IMAGE_OF_TEXTURE, reinterpret_cast<Handle>(uintptr_t(texture)), whole);
    std::lock_guard<std::mutex> lock(guard);
    if (image) textures[image] = texture;
    return image;
}

Handle create_image(Handle display, Handle context, unsigned target, Handle buffer, const int *list) {
    if (target == DMA_BUF) return import(display, context, buffer, list);
    return real<Handle (*)(Handle, Handle, unsigned, Handle, const int *)>("eglCreateImageKHR")(display, context, target, buffer, list);
}

unsigned destroy_image(Handle display, Handle image) {
    unsigned texture = 0;
    {
        std::lock_guard<std::mutex> lock(guard);
        auto found = textures.find(image);
        if (found != textures.end()) {
            texture = found->second;
            textures.erase(found);
        }
    }
    unsigned done = real<unsigned (*)(Handle, Handle)>("eglDestroyImageKHR")(display, image);
    if (texture) real<void (*)(int, const unsigned *)>("glDeleteTextures")(1, &texture);
    return done;
}

} // namespace

extern "C" __attribute__((visibility("default"))) Proc eglGetProcAddress(const char *name) {
    const std::map<std::string, Proc> own = {
        {"eglQueryString", Proc(query_string)},
        {"eglQueryDeviceStringEXT", Proc(device_string)},
        {"eglQueryDeviceAttribEXT", Proc(device_attribute)},
        {"eglQueryDmaBufFormatsEXT", Proc(formats)},
        {"eglQueryDmaBufModifiersEXT", Proc(modifiers)},
        {"eglCreateImageKHR", Proc(create_image)},
        {"eglDestroyImageKHR", Proc(destroy_image)},
    };
    auto found = own.find(name);
    return found == own.end() ? real<Proc>(name) : found->second;
}
