// Encode sessions: the driver's limit, and what NVML tells of them.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <string>
#include <sys/file.h>
#include <unistd.h>

#include "cuda/state.h"

namespace {

struct Sessions {
    std::mutex lock;
    std::map<int, struct standin_session> open;
    int next = 1;
};
Sessions &sessions() {
    static Sessions *one = new Sessions;
    return *one;
}

// Adds to the number that processes share through GS_STANDIN_SESSIONS_FILE (lines "PID NUMBER"; those of processes that are
// gone do not count); false when it would pass `limit`. Without the knob `mine` (this process's own) is the number.
bool count(int change, int limit, int mine) {
    const char *path = standin_knob("SESSIONS_FILE");
    if (!path) return !limit || mine + change <= limit;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 || flock(file, LOCK_EX) != 0) {
        fprintf(stderr, "standin: cannot use GS_STANDIN_SESSIONS_FILE=%s\n", path);
        abort();
    }
    std::string text;
    char part[4096];
    for (ssize_t n; (n = read(file, part, sizeof part)) > 0;) text.append(part, size_t(n));
    std::map<int, int> all;
    int sum = 0;
    for (const char *at = text.c_str(); *at;) {
        int pid = 0, n = 0, length = 0;
        if (sscanf(at, "%d %d%n", &pid, &n, &length) != 2) break;
        at += length + (at[length] == '\n');
        if (pid == getpid() || (kill(pid, 0) != 0 && errno == ESRCH)) continue;
        all[pid] = n;
        sum += n;
    }
    bool fits = change < 0 || !limit || sum + mine + change <= limit;
    if (fits) {
        if (mine + change > 0) all[getpid()] = mine + change;
        std::string out;
        for (auto [pid, n] : all) out += std::to_string(pid) + " " + std::to_string(n) + "\n";
        if (ftruncate(file, 0) != 0 || pwrite(file, out.data(), out.size(), 0) < 0) fits = false;
    }
    close(file);
    return fits;
}

// This process's sessions on cards that the limit is for. With the lock held.
int limited(const Sessions &s) {
    int n = 0;
    for (auto &[id, one] : s.open) n += standin_device(one.ordinal)->geforce;
    return n;
}

} // namespace

API int standin_session_open(int ordinal) {
    const struct standin_device *d = standin_device(ordinal);
    if (!d || !d->encoders) return -1;
    Sessions &s = sessions();
    std::lock_guard<std::mutex> hold(s.lock);
    if (d->geforce && !count(1, standin_driver()->session_limit, limited(s))) return 0;
    int id = s.next++;
    s.open[id] = {ordinal, -1, 0, 0, 0, 0};
    return id;
}

API void standin_session_update(int id, const struct standin_session *state) {
    Sessions &s = sessions();
    std::lock_guard<std::mutex> hold(s.lock);
    auto it = s.open.find(id);
    if (it == s.open.end()) return;
    int ordinal = it->second.ordinal;
    it->second = *state;
    it->second.ordinal = ordinal;
}

API void standin_session_close(int id) {
    Sessions &s = sessions();
    std::lock_guard<std::mutex> hold(s.lock);
    auto it = s.open.find(id);
    if (it == s.open.end()) return;
    if (standin_device(it->second.ordinal)->geforce && standin_knob("SESSIONS_FILE")) count(-1, 0, limited(s));
    s.open.erase(it);
}

API int standin_sessions(int ordinal, struct standin_session *out, int room) {
    Sessions &s = sessions();
    std::lock_guard<std::mutex> hold(s.lock);
    int n = 0;
    for (auto &[id, one] : s.open) {
        if (ordinal >= 0 && one.ordinal != ordinal) continue;
        if (out && n < room) out[n] = one;
        n++;
    }
    return n;
}
