// Knobs, the call log, violations, leaks and faults.
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <string>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <vector>

#include "cuda/state.h"

namespace {

// Never destroyed: other threads may still call while the process ends.
struct Records {
    std::mutex lock;
    std::map<std::string, long> calls;
    std::vector<void (*)(void)> reports;
    int file = -1;
    bool abort_on_violation = false;
    bool faults = false, lost = false;
    int leaks = 0;

    Records() {
        if (const char *path = getenv("GS_STANDIN_LOG")) {
            file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
            if (file < 0) fprintf(stderr, "standin: cannot write the call log %s\n", path);
        }
        if (const char *on = getenv("GS_STANDIN_ABORT")) abort_on_violation = *on && strcmp(on, "0") != 0;
        faults = getenv("GS_STANDIN_FAULT") != nullptr;
    }
};

Records &records() {
    static Records *all = new Records;
    return *all;
}

int64_t now_us() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return int64_t(t.tv_sec) * 1000000 + t.tv_nsec / 1000;
}

std::string escaped(const char *text) {
    std::string out;
    for (; *text; text++) {
        unsigned char c = *text;
        if (c == '"' || c == '\\') {
            out += '\\';
            out += char(c);
        } else if (c < 0x20) {
            char hex[8];
            snprintf(hex, sizeof hex, "\\u%04x", c);
            out += hex;
        } else {
            out += char(c);
        }
    }
    return out;
}

std::string format(const char *text, va_list values) {
    char small[512];
    va_list again;
    va_copy(again, values);
    int n = vsnprintf(small, sizeof small, text, values);
    std::string out;
    if (n >= 0 && size_t(n) < sizeof small) {
        out = small;
    } else if (n >= 0) {
        out.resize(size_t(n) + 1);
        vsnprintf(&out[0], out.size(), text, again);
        out.resize(size_t(n));
    }
    va_end(again);
    return out;
}

// One write per line, so that lines of several threads and processes do not mix.
void write_line(const std::string &members) {
    Records &r = records();
    if (r.file < 0) return;
    char where[96];
    snprintf(where, sizeof where, ",\"pid\":%d,\"tid\":%ld,\"us\":%lld}\n", int(getpid()), long(syscall(SYS_gettid)),
             static_cast<long long>(now_us()));
    std::string line = "{" + members + where;
    ssize_t done = write(r.file, line.data(), line.size());
    (void)done;
}

__attribute__((destructor)) void at_end() {
    std::vector<void (*)(void)> reports;
    {
        std::lock_guard<std::mutex> hold(records().lock);
        reports = records().reports;
    }
    for (auto report : reports) report();
    report_leaks();
}

} // namespace

int64_t monotonic_us() { return now_us(); }

namespace {

std::atomic<uint64_t> g_spent{0}, g_calls{0};
thread_local int g_inside = 0;

uint64_t thread_ns() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return uint64_t(t.tv_sec) * 1000000000 + uint64_t(t.tv_nsec);
}

// What one look at the clock takes: of the two around a call, about one lies outside of what they measure.
uint64_t look_ns() {
    static const uint64_t one = [] {
        const uint64_t begin = thread_ns();
        for (int i = 0; i < 4096; i++) thread_ns();
        return (thread_ns() - begin) / 4097;
    }();
    return one;
}

bool counts_spending() {
    static const bool on = standin_knob_int("SPENT", 0) != 0;
    return on;
}

} // namespace

API uint64_t standin_spend(void) {
    if (!counts_spending() || g_inside++) return 0;
    look_ns();
    return thread_ns();
}
API void standin_spent_since(uint64_t begin) {
    if (!counts_spending() || --g_inside) return;
    g_spent += thread_ns() - begin + look_ns();
    g_calls++;
}
API uint64_t standin_spent(uint64_t *calls) {
    if (calls) *calls = g_calls;
    return g_spent;
}

API int standin_logging(void) { return records().file >= 0; }

API void standin_log(const char *call, const char *fields, ...) {
    if (!standin_logging()) return;
    std::string line = std::string("\"call\":\"") + call + "\"";
    if (fields && *fields) {
        va_list values;
        va_start(values, fields);
        line += "," + format(fields, values);
        va_end(values);
    }
    write_line(line);
}

API void standin_violation(const char *rule, const char *call, const char *detail, ...) {
    va_list values;
    va_start(values, detail);
    std::string text = format(detail, values);
    va_end(values);
    write_line("\"violation\":\"" + escaped(rule) + "\",\"call\":\"" + escaped(call) + "\",\"detail\":\"" +
               escaped(text.c_str()) + "\"");
    fprintf(stderr, "standin: violation %s in %s: %s\n", rule, call, text.c_str());
    if (records().abort_on_violation) abort();
}

API void standin_leak(const char *kind, const char *detail, ...) {
    va_list values;
    va_start(values, detail);
    std::string text = format(detail, values);
    va_end(values);
    write_line("\"leak\":\"" + escaped(kind) + "\",\"detail\":\"" + escaped(text.c_str()) + "\"");
    bool quiet;
    {
        std::lock_guard<std::mutex> hold(records().lock);
        quiet = records().leaks++ >= 16;
    }
    if (!quiet) fprintf(stderr, "standin: leak of %s: %s\n", kind, text.c_str());
}

API void standin_at_exit(void (*report)(void)) {
    std::lock_guard<std::mutex> hold(records().lock);
    records().reports.push_back(report);
}

API const char *standin_knob(const char *name) {
    return getenv((std::string("GS_STANDIN_") + name).c_str());
}

API int64_t standin_knob_int(const char *name, int64_t otherwise) {
    const char *text = standin_knob(name);
    if (!text || !*text) return otherwise;
    char *end = nullptr;
    long long value = strtoll(text, &end, 0);
    switch (*end) {
    case 'k': case 'K': value <<= 10; end++; break;
    case 'm': case 'M': value <<= 20; end++; break;
    case 'g': case 'G': value <<= 30; end++; break;
    }
    if (*end) {
        // A mistyped knob must not quietly test something else.
        fprintf(stderr, "standin: GS_STANDIN_%s is no number: %s\n", name, text);
        abort();
    }
    return value;
}

// What a call of a lost device says; 0 for those that work all the same: what gives back, and what only asks.
static int lost_status(const std::string &function) {
    for (const char *begin : {"cuCtx", "cuDevice", "cuInit", "cuDriver", "cuGet", "cuPointer", "cuvidCtx", "NvEncGet", "NvEncodeAPI"})
        if (function.rfind(begin, 0) == 0) return 0;
    for (const char *part : {"Free", "Destroy", "Unmap", "Unregister", "Release", "Unload", "Unlock"})
        if (function.find(part) != std::string::npos) return 0;
    if (function.rfind("NvEnc", 0) == 0) return 5; // NV_ENC_ERR_DEVICE_NOT_EXIST
    if (function.rfind("nvml", 0) == 0) return 15; // NVML_ERROR_GPU_IS_LOST
    return 999;                                    // CUDA_ERROR_UNKNOWN
}

API int standin_fault(const char *function) {
    Records &r = records();
    if (!r.faults) return 0;
    long n;
    {
        std::lock_guard<std::mutex> hold(r.lock);
        n = ++r.calls[function];
        if (r.lost) return lost_status(function);
    }
    std::string text = getenv("GS_STANDIN_FAULT") ? getenv("GS_STANDIN_FAULT") : "";
    for (size_t at = 0; at < text.size();) {
        size_t end = text.find(',', at);
        if (end == std::string::npos) end = text.size();
        std::string one = text.substr(at, end - at);
        at = end + 1;
        size_t colon = one.find(':'), equals = one.find('=');
        if (colon == std::string::npos || equals == std::string::npos || equals < colon) {
            fprintf(stderr, "standin: GS_STANDIN_FAULT: %s is not FUNCTION:N=STATUS\n", one.c_str());
            abort();
        }
        if (one.substr(0, colon) != function) continue;
        char *rest = nullptr;
        long from = strtol(one.c_str() + colon + 1, &rest, 10);
        bool onward = *rest == '+';
        if (n == from || (onward && n > from)) {
            int status = atoi(one.c_str() + equals + 1);
            if (one.substr(equals + 1) == "lost") {
                std::lock_guard<std::mutex> hold(r.lock);
                r.lost = true;
                status = lost_status(function);
            }
            standin_log("fault", "\"function\":\"%s\",\"number\":%ld,\"status\":%d", function, n, status);
            return status;
        }
    }
    return 0;
}
