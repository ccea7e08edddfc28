// libnvidia-ml.so.1: what NVML tells of the profile's devices. The layouts are those of NVIDIA's published nvml.h.
// What changes while a device works (temperature, power, load) comes from the file GS_STANDIN_STATE, read at each question,
// so that a test can change it: lines KEY=VALUE or ORDINAL.KEY=VALUE. Without a line the value is that of an idle card.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <strings.h>
#include <unistd.h>
#include <vector>

#include "cuda/device.h"

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum Status {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    GPU_IS_LOST = 15,
};

using Device = const struct standin_device *;

int opened = 0;

int64_t state(int ordinal, const char *key, int64_t otherwise) {
    const char *path = standin_knob("STATE");
    if (!path) return otherwise;
    std::ifstream file(path);
    std::string line, own = std::to_string(ordinal) + "." + key + "=", any = std::string(key) + "=";
    while (std::getline(file, line)) {
        if (line.rfind(own, 0) == 0) return strtoll(line.c_str() + own.size(), nullptr, 10);
        if (line.rfind(any, 0) == 0) otherwise = strtoll(line.c_str() + any.size(), nullptr, 10);
    }
    return otherwise;
}

template <class Body> Status entry(const char *name, Body body) {
    Status rc = Status(standin_fault(name));
    if (rc == SUCCESS) rc = opened ? body() : UNINITIALIZED;
    standin_log(name, "\"rc\":%d", int(rc));
    return rc;
}

// A device of this machine that is still there.
template <class Body> Status of(const char *name, Device device, Body body) {
    return entry(name, [&] {
        for (int i = 0; i < standin_driver()->devices; i++)
            if (standin_device(i) == device) return state(i, "lost", 0) ? GPU_IS_LOST : body(*device);
        return INVALID_ARGUMENT;
    });
}

template <class T> Status give(T *out, int64_t value) {
    if (!out) return INVALID_ARGUMENT;
    *out = T(value);
    return SUCCESS;
}

Status text(char *out, unsigned room, const std::string &value) {
    if (!out) return INVALID_ARGUMENT;
    if (value.size() + 1 > room) return INSUFFICIENT_SIZE;
    memcpy(out, value.c_str(), value.size() + 1);
    return SUCCESS;
}

std::string uuid(const struct standin_device &d) {
    char out[48];
    const unsigned char *u = d.uuid;
    snprintf(out, sizeof out, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3], u[4],
             u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
    return out;
}

std::string bus(const struct standin_device &d) {
    char out[32];
    snprintf(out, sizeof out, "%08X:%02X:%02X.0", d.pci_domain, d.pci_bus, d.pci_device);
    return out;
}

std::vector<struct standin_session> sessions(const struct standin_device &d) {
    std::vector<struct standin_session> all(256);
    int n = standin_sessions(d.ordinal, all.data(), int(all.size()));
    all.resize(size_t(n < 256 ? n : 256));
    return all;
}

// The share of the engines that the open sessions keep busy: NVIDIA's figure for 1080p at a middle preset, per engine.
int64_t encoder_load(const struct standin_device &d) {
    if (!d.encoders) return 0;
    double pixels = 0;
    for (auto &s : sessions(d)) pixels += double(s.width) * s.height * s.fps;
    double load = 100 * pixels / (d.encoders * 270.0 * 1920 * 1080);
    return load > 100 ? 100 : int64_t(load + 0.5);
}

} // namespace

struct nvmlPciInfo {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
};
struct nvmlMemory {
    unsigned long long total, free, used;
};
struct nvmlMemory_v2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};
struct nvmlUtilization {
    unsigned gpu, memory;
};
struct nvmlEncoderSession {
    unsigned id, pid, vgpu, codec, width, height, fps, latency;
};

static Status init(const char *name) {
    Status rc = Status(standin_fault(name));
    if (rc == SUCCESS && !standin_driver()->devices) rc = DRIVER_NOT_LOADED;
    if (rc == SUCCESS) __atomic_add_fetch(&opened, 1, __ATOMIC_SEQ_CST);
    standin_log(name, "\"rc\":%d", int(rc));
    return rc;
}
API Status nvmlInit(void) { return init("nvmlInit"); }
API Status nvmlInit_v2(void) { return init("nvmlInit_v2"); }
API Status nvmlInitWithFlags(unsigned) { return init("nvmlInitWithFlags"); }
API Status nvmlShutdown(void) {
    return entry("nvmlShutdown", [] {
        __atomic_sub_fetch(&opened, 1, __ATOMIC_SEQ_CST);
        return SUCCESS;
    });
}

API const char *nvmlErrorString(int status) {
    switch (status) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case GPU_IS_LOST: return "GPU is lost";
    default: return "Unknown Error";
    }
}

// ---- The system

API Status nvmlSystemGetDriverVersion(char *out, unsigned room) {
    return entry("nvmlSystemGetDriverVersion", [&] { return text(out, room, standin_driver()->version); });
}
API Status nvmlSystemGetNVMLVersion(char *out, unsigned room) {
    return entry("nvmlSystemGetNVMLVersion", [&] { return text(out, room, std::string("12.") + standin_driver()->version); });
}
API Status nvmlSystemGetCudaDriverVersion(int *out) {
    return entry("nvmlSystemGetCudaDriverVersion", [&] { return give(out, standin_driver()->cuda); });
}
API Status nvmlSystemGetCudaDriverVersion_v2(int *out) {
    return entry("nvmlSystemGetCudaDriverVersion_v2", [&] { return give(out, standin_driver()->cuda); });
}

// ---- Finding a device

static Status count(const char *name, unsigned *out) {
    return entry(name, [&] { return give(out, standin_driver()->devices); });
}
API Status nvmlDeviceGetCount(unsigned *out) { return count("nvmlDeviceGetCount", out); }
API Status nvmlDeviceGetCount_v2(unsigned *out) { return count("nvmlDeviceGetCount_v2", out); }

template <class Match> static Status find(const char *name, Device *out, Match match) {
    return entry(name, [&] {
        if (!out) return INVALID_ARGUMENT;
        for (int i = 0; i < standin_driver()->devices; i++) {
            if (!match(*standin_device(i))) continue;
            if (state(i, "lost", 0)) return GPU_IS_LOST;
            *out = standin_device(i);
            return SUCCESS;
        }
        return NOT_FOUND;
    });
}
static Status by_index(const char *name, unsigned index, Device *out) {
    Status rc = find(name, out, [&](const struct standin_device &d) { return unsigned(d.ordinal) == index; });
    return rc == NOT_FOUND ? INVALID_ARGUMENT : rc;
}
API Status nvmlDeviceGetHandleByIndex(unsigned index, Device *out) { return by_index("nvmlDeviceGetHandleByIndex", index, out); }
API Status nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *out) {
    return by_index("nvmlDeviceGetHandleByIndex_v2", index, out);
}
API Status nvmlDeviceGetHandleByUUID(const char *id, Device *out) {
    return find("nvmlDeviceGetHandleByUUID", out, [&](const struct standin_device &d) { return id && uuid(d) == id; });
}
API Status nvmlDeviceGetHandleByPciBusId_v2(const char *id, Device *out) {
    return find("nvmlDeviceGetHandleByPciBusId_v2", out, [&](const struct standin_device &d) {
        // "0000:01:00.0" or with eight digits of domain.
        std::string full = bus(d);
        return id && (!strcasecmp(full.c_str(), id) || !strcasecmp(full.c_str() + 4, id));
    });
}

// ---- What it is

API Status nvmlDeviceGetIndex(Device device, unsigned *out) {
    return of("nvmlDeviceGetIndex", device, [&](const struct standin_device &d) { return give(out, d.ordinal); });
}
API Status nvmlDeviceGetMinorNumber(Device device, unsigned *out) {
    return of("nvmlDeviceGetMinorNumber", device, [&](const struct standin_device &d) { return give(out, d.ordinal); });
}
API Status nvmlDeviceGetName(Device device, char *out, unsigned room) {
    return of("nvmlDeviceGetName", device, [&](const struct standin_device &d) { return text(out, room, d.name); });
}
API Status nvmlDeviceGetUUID(Device device, char *out, unsigned room) {
    return of("nvmlDeviceGetUUID", device, [&](const struct standin_device &d) { return text(out, room, uuid(d)); });
}
API Status nvmlDeviceGetPciInfo_v3(Device device, struct nvmlPciInfo *out) {
    return of("nvmlDeviceGetPciInfo_v3", device, [&](const struct standin_device &d) {
        if (!out) return INVALID_ARGUMENT;
        memset(out, 0, sizeof *out);
        out->domain = unsigned(d.pci_domain);
        out->bus = unsigned(d.pci_bus);
        out->device = unsigned(d.pci_device);
        out->pciDeviceId = 0x10de;
        snprintf(out->busIdLegacy, sizeof out->busIdLegacy, "%s", bus(d).c_str() + 4);
        snprintf(out->busId, sizeof out->busId, "%s", bus(d).c_str());
        return SUCCESS;
    });
}
API Status nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) {
    return of("nvmlDeviceGetCudaComputeCapability", device, [&](const struct standin_device &d) {
        Status rc = give(major, d.compute_major);
        return rc == SUCCESS ? give(minor, d.compute_minor) : rc;
    });
}
API Status nvmlDeviceGetMemoryInfo(Device device, struct nvmlMemory *out) {
    return of("nvmlDeviceGetMemoryInfo", device, [&](const struct standin_device &d) {
        if (!out) return INVALID_ARGUMENT;
        uint64_t used = uint64_t(state(d.ordinal, "memory_used", int64_t(standin_memory_used(d.ordinal))));
        *out = {d.memory, d.memory - used, used};
        return SUCCESS;
    });
}
API Status nvmlDeviceGetMemoryInfo_v2(Device device, struct nvmlMemory_v2 *out) {
    return of("nvmlDeviceGetMemoryInfo_v2", device, [&](const struct standin_device &d) {
        if (!out) return INVALID_ARGUMENT;
        if (out->version != (sizeof *out | 2u << 24)) return Status(25); // argument version mismatch
        uint64_t used = uint64_t(state(d.ordinal, "memory_used", int64_t(standin_memory_used(d.ordinal))));
        *out = {out->version, d.memory, 0, d.memory - used, used};
        return SUCCESS;
    });
}

// ---- How it does

// entry NAME(device, unsigned *out) = KEY of the state, or a card at rest.
#define READING(name, key, idle)                                                                                                \
    API Status name(Device device, unsigned *out) {                                                                             \
        return of(#name, device, [&](const struct standin_device &d) { return give(out, state(d.ordinal, key, idle)); });       \
    }
READING(nvmlDeviceGetPowerUsage, "power", 30000)
READING(nvmlDeviceGetPowerManagementLimit, "power_limit", 250000)
READING(nvmlDeviceGetEnforcedPowerLimit, "power_limit", 250000)
READING(nvmlDeviceGetFanSpeed, "fan", 30)
READING(nvmlDeviceGetPerformanceState, "pstate", 8)

API Status nvmlDeviceGetTemperature(Device device, int sensor, unsigned *out) {
    return of("nvmlDeviceGetTemperature", device, [&](const struct standin_device &d) {
        return sensor ? INVALID_ARGUMENT : give(out, state(d.ordinal, "temperature", 40));
    });
}
API Status nvmlDeviceGetTemperatureThreshold(Device device, int which, unsigned *out) {
    return of("nvmlDeviceGetTemperatureThreshold", device, [&](const struct standin_device &) {
        return which == 0 ? give(out, 98) : which == 1 ? give(out, 93) : NOT_SUPPORTED; // shutdown, slowdown
    });
}
static Status clock_of(const char *name, Device device, int type, unsigned *out, bool maximum) {
    return of(name, device, [&](const struct standin_device &d) {
        // 0 graphics, 1 SM, 2 memory, 3 video
        static const char *keys[] = {"clock_graphics", "clock_sm", "clock_memory", "clock_video"};
        static const unsigned idle[] = {300, 300, 405, 540}, most[] = {2500, 2500, 9000, 2000};
        if (type < 0 || type > 3) return INVALID_ARGUMENT;
        return give(out, maximum ? most[type] : state(d.ordinal, keys[type], idle[type]));
    });
}
API Status nvmlDeviceGetClockInfo(Device device, int type, unsigned *out) {
    return clock_of("nvmlDeviceGetClockInfo", device, type, out, false);
}
API Status nvmlDeviceGetMaxClockInfo(Device device, int type, unsigned *out) {
    return clock_of("nvmlDeviceGetMaxClockInfo", device, type, out, true);
}
API Status nvmlDeviceGetCurrentClocksThrottleReasons(Device device, unsigned long long *out) {
    return of("nvmlDeviceGetCurrentClocksThrottleReasons", device,
              [&](const struct standin_device &d) { return give(out, state(d.ordinal, "throttle", 0)); });
}

API Status nvmlDeviceGetUtilizationRates(Device device, struct nvmlUtilization *out) {
    return of("nvmlDeviceGetUtilizationRates", device, [&](const struct standin_device &d) {
        if (!out) return INVALID_ARGUMENT;
        *out = {unsigned(state(d.ordinal, "utilization", 0)), unsigned(state(d.ordinal, "memory_utilization", 0))};
        return SUCCESS;
    });
}
API Status nvmlDeviceGetEncoderUtilization(Device device, unsigned *out, unsigned *period) {
    return of("nvmlDeviceGetEncoderUtilization", device, [&](const struct standin_device &d) {
        Status rc = give(period, 167000);
        return rc == SUCCESS ? give(out, state(d.ordinal, "encoder_utilization", encoder_load(d))) : rc;
    });
}
API Status nvmlDeviceGetDecoderUtilization(Device device, unsigned *out, unsigned *period) {
    return of("nvmlDeviceGetDecoderUtilization", device, [&](const struct standin_device &d) {
        Status rc = give(period, 167000);
        return rc == SUCCESS ? give(out, state(d.ordinal, "decoder_utilization", 0)) : rc;
    });
}

// ---- Encode sessions

API Status nvmlDeviceGetEncoderCapacity(Device device, int type, unsigned *out) {
    return of("nvmlDeviceGetEncoderCapacity", device, [&](const struct standin_device &d) {
        if (type < 0 || type > 2) return INVALID_ARGUMENT;
        if (!d.encoder[type].supported) return NOT_SUPPORTED;
        return give(out, 100 - encoder_load(d));
    });
}
API Status nvmlDeviceGetEncoderStats(Device device, unsigned *open, unsigned *fps, unsigned *latency) {
    return of("nvmlDeviceGetEncoderStats", device, [&](const struct standin_device &d) {
        auto all = sessions(d);
        unsigned sum = 0;
        for (auto &s : all) sum += unsigned(s.fps);
        if (!fps || !latency) return INVALID_ARGUMENT;
        *fps = all.empty() ? 0 : sum / unsigned(all.size());
        *latency = all.empty() ? 0 : 4000;
        return give(open, state(d.ordinal, "encoder_sessions", int64_t(all.size())));
    });
}
API Status nvmlDeviceGetEncoderSessions(Device device, unsigned *n, struct nvmlEncoderSession *out) {
    return of("nvmlDeviceGetEncoderSessions", device, [&](const struct standin_device &d) {
        if (!n) return INVALID_ARGUMENT;
        auto all = sessions(d);
        unsigned room = *n;
        *n = unsigned(all.size());
        if (!out && room == 0) return SUCCESS;
        if (!out || room < all.size()) return INSUFFICIENT_SIZE;
        for (size_t i = 0; i < all.size(); i++)
            out[i] = {unsigned(i + 1), unsigned(getpid()), 0, unsigned(all[i].codec < 0 ? 3 : all[i].codec), unsigned(all[i].width),
                      unsigned(all[i].height), unsigned(all[i].fps), 4000};
        return SUCCESS;
    });
}

// Other processes on the card: none that this could know of.
static Status processes(const char *name, Device device, unsigned *n) {
    return of(name, device, [&](const struct standin_device &) { return give(n, 0); });
}
API Status nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned *n, void *) {
    return processes("nvmlDeviceGetComputeRunningProcesses_v3", device, n);
}
API Status nvmlDeviceGetGraphicsRunningProcesses_v3(Device device, unsigned *n, void *) {
    return processes("nvmlDeviceGetGraphicsRunningProcesses_v3", device, n);
}
