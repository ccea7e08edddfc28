/* The inside seam of the stand-in driver: what libcuda.so.1 offers to libnvidia-encode.so.1, libnvcuvid.so.1 and
 * libnvidia-ml.so.1 of the same folder. No real driver has these symbols; nothing outside tests/standin may use them.
 *
 * A library that needs them links with -l:libcuda.so.1 (build.sh does). All functions are safe to call from any thread,
 * and before cuInit. Handles of CUDA (CUcontext, CUstream, CUarray) pass as void*, a CUdeviceptr as uint64_t.
 */
#ifndef STANDIN_DEVICE_H
#define STANDIN_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Profiles: what the machine is said to have ---------------------------------------------------------------- */

enum standin_codec { STANDIN_H264, STANDIN_HEVC, STANDIN_AV1, STANDIN_CODECS };

/* One codec of one GPU's encoder. `caps` is indexed by the value of NV_ENC_CAPS (12.2/13.0 numbering); a cap that the
 * API version in use does not have yet is the encoder library's to hide. */
#define STANDIN_CAPS 64
struct standin_encoder {
    int supported;
    int32_t caps[STANDIN_CAPS];
};

enum standin_arch { STANDIN_TURING, STANDIN_AMPERE, STANDIN_ADA, STANDIN_HOPPER, STANDIN_BLACKWELL };

struct standin_device {
    int ordinal;
    const char *name; /* "NVIDIA GeForce RTX 4090" */
    enum standin_arch arch;
    int compute_major, compute_minor;
    uint64_t memory; /* bytes, after GS_STANDIN_MEMORY */
    int multiprocessors;
    int encoders; /* NVENC engines; 0 = none: opening a session is refused */
    int decoders; /* NVDEC engines */
    int geforce;  /* whether the session limit of consumer cards applies */
    unsigned char uuid[16];
    int pci_domain, pci_bus, pci_device;
    struct standin_encoder encoder[STANDIN_CODECS];
};

/* The driver: one for all devices. */
struct standin_driver {
    const char *profile; /* GS_STANDIN_PROFILE, or the default */
    const char *version; /* "570.133.07" */
    int cuda;            /* 12080: what cuDriverGetVersion says */
    int api_major;       /* newest NVENC API: GS_STANDIN_API=12.2, or what belongs to `version` */
    int api_minor;
    int session_limit; /* concurrent encode sessions on all GeForce cards together; 0 = no limit */
    int session_code;  /* NVENCSTATUS when it is reached: 10 (older drivers) or 21 (newer) */
    int devices;
};

const struct standin_driver *standin_driver(void);
/* NULL when there is no such ordinal. Valid until the process ends. */
const struct standin_device *standin_device(int ordinal);

/* ---- Contexts, streams, memory --------------------------------------------------------------------------------- */

/* The thread's current context, or NULL. */
void *standin_current(void);
/* The ordinal of the context's device; -1 when it is no context, or one that was destroyed. Records nothing. */
int standin_context_device(const void *context);

/* The host's view of [pointer, pointer + bytes) in device memory, to read and write (the device pointer itself faults).
 * NULL, and a violation naming `call`, when the range was freed, never allocated or leaves its allocation.
 * The view stays valid until the memory is freed. Wait for the stream that fills it first (standin_wait). */
void *standin_view(uint64_t pointer, size_t bytes, const char *call);
/* Finds the allocation around `pointer`: 1 with its start and size, 0 when there is none. Records nothing. */
int standin_allocation(uint64_t pointer, uint64_t *start, size_t *bytes, int *ordinal);

/* A two-dimensional CUarray; depth (number of further planes or slices) is 0 for those. */
struct standin_array_view {
    void *data;
    size_t pitch, width, height, depth; /* pitch in bytes, width in elements */
    int format, channels;               /* CUarray_format */
    int ordinal;
};
/* 1 and the view; 0 and a violation naming `call` when it is no live array. */
int standin_array(const void *array, struct standin_array_view *view, const char *call);

/* Waits until the work queued on a stream of `context` is done, as a hardware engine that is told to follow the stream
 * does. NULL is the context's default stream: it also waits for every other stream that is not NON_BLOCKING. The context
 * need not be current. */
void standin_wait(void *context, void *stream);
/* Puts `work(data)` at the end of a stream of `context`: it runs once all that was queued before is done. At once, in this
 * thread, when the stream has nothing pending and GS_STANDIN_ASYNC is off. */
void standin_enqueue(void *context, void *stream, void (*work)(void *), void *data);

/* Device memory that a library takes for itself (an encode session's reference frames). 0 when the device has no room.
 * It counts in cuMemGetInfo and NVML; release what was reserved, or it is reported as a leak. */
int standin_reserve(int ordinal, uint64_t bytes);
void standin_release(int ordinal, uint64_t bytes);

/* Device memory that a library hands to its clients (NVDEC's output surfaces): a device pointer, or 0 when there is no
 * room or no such context. `call` names it in reports. Give it back with standin_give; destroying the context also does. */
uint64_t standin_take(void *context, size_t bytes, const char *call);
void standin_give(uint64_t pointer, const char *call);
/* What is used of a device's memory, in bytes. */
uint64_t standin_memory_used(int ordinal);

/* ---- Encode sessions, seen by NVML too ------------------------------------------------------------------------- */

struct standin_session {
    int ordinal;
    int codec; /* enum standin_codec; -1 until Initialize */
    int width, height;
    int fps;        /* as configured */
    uint64_t frames; /* coded so far */
};
/* Takes a session: its id (> 0), or 0 when the driver's limit is reached (answer standin_driver()->session_code), or
 * -1 when the device has no engine. With GS_STANDIN_SESSIONS_FILE the count is shared between processes. */
int standin_session_open(int ordinal);
void standin_session_update(int id, const struct standin_session *state);
void standin_session_close(int id);
/* Copies up to `room` open sessions of this process on `ordinal` (-1: all); their number. */
int standin_sessions(int ordinal, struct standin_session *out, int room);

/* ---- Records and knobs ----------------------------------------------------------------------------------------- */

/* Writes one line of the call log (GS_STANDIN_LOG): {"call":CALL,"pid":..,"tid":..,"us":..,FIELDS}. `fields` is a
 * printf format that makes JSON members without braces, e.g. "\"rc\":%d,\"bytes\":%zu"; NULL for none.
 * Cheap when no log is asked for. */
void standin_log(const char *call, const char *fields, ...) __attribute__((format(printf, 2, 3)));
int standin_logging(void);

/* Records misuse: a line {"violation":RULE,"call":CALL,"detail":...,..} in the log, and the same on stderr.
 * `rule` is a short fixed word (kebab-case) that tests can match, `detail` says it in a sentence.
 * GS_STANDIN_ABORT=1 ends the process there, for a debugger. */
void standin_violation(const char *rule, const char *call, const char *detail, ...) __attribute__((format(printf, 3, 4)));
/* Records something that was never given back: {"leak":KIND,"detail":...,..}; same places. */
void standin_leak(const char *kind, const char *detail, ...) __attribute__((format(printf, 2, 3)));
/* `report` is called once when the process ends, before libcuda's own leak report; call standin_leak from it. */
void standin_at_exit(void (*report)(void));

/* A fault asked for by GS_STANDIN_FAULT="FUNCTION:N=STATUS[,...]" (N counts calls of FUNCTION from 1; "N+" = that one
 * and all later): the status to return from this call, or 0. Call it once at the top of each entry point. */
int standin_fault(const char *function);
/* A knob GS_STANDIN_<name> as the environment has it now, or NULL. */
const char *standin_knob(const char *name);
int64_t standin_knob_int(const char *name, int64_t otherwise);

/* What the stand-in itself takes of the processor, for measurements of everything else (GS_STANDIN_SPENT=1): each entry point
 * brackets its body with these. Calls inside calls count once. */
uint64_t standin_spend(void);
void standin_spent_since(uint64_t begin);
/* For clients that measure: nanoseconds of all threads in the stand-in so far, reading the clock included, and the calls. */
uint64_t standin_spent(uint64_t *calls);

#ifdef __cplusplus
}
struct standin_spending {
    uint64_t begin = standin_spend();
    ~standin_spending() { standin_spent_since(begin); }
};
#endif
#endif
