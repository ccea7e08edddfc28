// Streams and events. Without GS_STANDIN_ASYNC work is done when it is asked for; with it (a number of microseconds) each
// stream has a thread that does one piece of work after another, that much later: whoever does not wait reads old bytes.
#include <unistd.h>
#include <vector>

#include "cuda/state.h"

namespace {

struct Streams {
    std::mutex lock;
    std::vector<Stream *> all;
    std::vector<Event *> events;
};
Streams &streams() {
    static Streams *one = new Streams;
    return *one;
}

int64_t delay() {
    static const int64_t us = standin_knob_int("ASYNC", -1);
    return us;
}

void work_off(Stream *s) {
    std::unique_lock<std::mutex> hold(s->lock);
    for (;;) {
        s->changed.wait(hold, [&] { return !s->queue.empty() || !s->alive; });
        if (s->queue.empty()) return;
        std::function<void()> work = std::move(s->queue.front());
        s->queue.pop_front();
        s->running = true;
        hold.unlock();
        if (delay() > 0) usleep(useconds_t(delay()));
        work();
        hold.lock();
        s->running = false;
        s->changed.notify_all();
    }
}

std::vector<Stream *> of_context(Context *context) {
    std::lock_guard<std::mutex> hold(streams().lock);
    std::vector<Stream *> out;
    for (Stream *s : streams().all)
        if (s->context == context && s->alive) out.push_back(s);
    return out;
}

thread_local bool in_callback = false;

} // namespace

bool asynchronous() { return delay() >= 0; }

Stream *new_stream(Context *context, unsigned flags) {
    Stream *s = new Stream(context, flags);
    register_handle(s);
    std::lock_guard<std::mutex> hold(streams().lock);
    streams().all.push_back(s);
    return s;
}

Stream *stream_of(CUstream handle, const char *call) {
    if (uint64_t(handle) <= 2) {
        Context *c = current();
        return c ? c->standard : nullptr;
    }
    return live<Stream>(handle, STREAM, "stream", call);
}

bool idle(Stream *s) {
    std::lock_guard<std::mutex> hold(s->lock);
    return s->queue.empty() && !s->running;
}

void drain(Stream *s) {
    std::unique_lock<std::mutex> hold(s->lock);
    s->changed.wait(hold, [&] { return s->queue.empty() && !s->running; });
}

void drain_context(Context *context) {
    if (!context) return;
    for (Stream *s : of_context(context)) drain(s);
}

void submit(Stream *s, std::function<void()> work, bool deferred) {
    bool standard = s == s->context->standard;
    // The default stream waits for all streams that block, and they for it: it is done here and now.
    if (standard && !in_callback)
        for (Stream *other : of_context(s->context))
            if (other != s && other->blocking()) drain(other);
    std::unique_lock<std::mutex> hold(s->lock);
    bool pending = !s->queue.empty() || s->running;
    if (!deferred && !pending && (standard || !asynchronous())) {
        hold.unlock();
        work();
        return;
    }
    s->queue.push_back(std::move(work));
    if (!s->worker) {
        s->worker = true;
        std::thread(work_off, s).detach();
    }
    s->changed.notify_all();
    if (standard && !deferred) s->changed.wait(hold, [&] { return s->queue.empty() && !s->running; });
}

static void finish(Stream *s) {
    drain(s);
    std::lock_guard<std::mutex> hold(s->lock);
    s->alive = false;
    s->changed.notify_all();
}

void destroy_streams(Context *context) {
    for (Stream *s : of_context(context)) {
        if (s != context->standard)
            standin_leak("stream", "a stream of device %d was not destroyed before its context", context->ordinal);
        finish(s);
    }
    std::vector<Event *> left;
    {
        std::lock_guard<std::mutex> hold(streams().lock);
        for (Event *e : streams().events)
            if (e->context == context && e->alive) left.push_back(e);
    }
    for (Event *e : left) {
        standin_leak("event", "an event of device %d was not destroyed before its context", context->ordinal);
        e->alive = false;
    }
}

void report_streams() {
    std::lock_guard<std::mutex> hold(streams().lock);
    for (Stream *s : streams().all)
        if (s->alive && s != s->context->standard) standin_leak("stream", "a stream of device %d", s->context->ordinal);
    for (Event *e : streams().events)
        if (e->alive) standin_leak("event", "an event of device %d", e->context->ordinal);
}

// ---- The seam

static Stream *stream_in(void *context, void *handle, const char *call) {
    if (uint64_t(handle) > 2) return live<Stream>(handle, STREAM, "stream", call);
    Context *c = live<Context>(context, CONTEXT, "context", call);
    return c ? c->standard : nullptr;
}

static void wait_for(Stream *s) {
    if (s == s->context->standard)
        for (Stream *other : of_context(s->context))
            if (other->blocking()) drain(other);
    drain(s);
}

API void standin_wait(void *context, void *handle) {
    if (Stream *s = stream_in(context, handle, "standin_wait")) wait_for(s);
}

API void standin_enqueue(void *context, void *handle, void (*work)(void *), void *data) {
    if (Stream *s = stream_in(context, handle, "standin_enqueue")) submit(s, [work, data] { work(data); });
}

// ---- CUDA: streams

static CUresult create(const char *name, CUstream *out, unsigned flags, int priority) {
    return enter(name, Need::Context, [&](Call &c) {
        if (!out || flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
        Stream *s = new_stream(c.context, flags);
        s->priority = priority < -5 ? -5 : priority > 0 ? 0 : priority;
        *out = reinterpret_cast<CUstream>(static_cast<Handle *>(s));
        return CUDA_SUCCESS;
    });
}
API CUresult cuStreamCreate(CUstream *out, unsigned flags) { return create("cuStreamCreate", out, flags, 0); }
API CUresult cuStreamCreateWithPriority(CUstream *out, unsigned flags, int priority) {
    return create("cuStreamCreateWithPriority", out, flags, priority);
}

template <class Body> static CUresult of_stream(const char *name, CUstream handle, Body body) {
    return enter(name, Need::Context, [&](Call &c) {
        Stream *s = stream_of(handle, c.name);
        return s ? body(s) : CUDA_ERROR_INVALID_HANDLE;
    });
}

API CUresult cuStreamDestroy_v2(CUstream handle) {
    return of_stream("cuStreamDestroy_v2", handle, [&](Stream *s) {
        if (s == s->context->standard) return CUDA_ERROR_INVALID_HANDLE;
        finish(s);
        return CUDA_SUCCESS;
    });
}
API CUresult cuStreamDestroy(CUstream handle) { return cuStreamDestroy_v2(handle); }

API CUresult cuStreamSynchronize(CUstream handle) {
    return of_stream("cuStreamSynchronize", handle, [&](Stream *s) {
        wait_for(s);
        return CUDA_SUCCESS;
    });
}

API CUresult cuStreamQuery(CUstream handle) {
    return of_stream("cuStreamQuery", handle, [&](Stream *s) { return idle(s) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY; });
}

API CUresult cuStreamGetCtx(CUstream handle, CUcontext *out) {
    return of_stream("cuStreamGetCtx", handle, [&](Stream *s) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = reinterpret_cast<CUcontext>(static_cast<Handle *>(s->context));
        return CUDA_SUCCESS;
    });
}

API CUresult cuStreamGetFlags(CUstream handle, unsigned *out) {
    return of_stream("cuStreamGetFlags", handle, [&](Stream *s) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = s->flags;
        return CUDA_SUCCESS;
    });
}

API CUresult cuStreamGetPriority(CUstream handle, int *out) {
    return of_stream("cuStreamGetPriority", handle, [&](Stream *s) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = s->priority;
        return CUDA_SUCCESS;
    });
}

API CUresult cuStreamIsCapturing(CUstream handle, int *out) {
    return of_stream("cuStreamIsCapturing", handle, [&](Stream *) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        *out = 0;
        return CUDA_SUCCESS;
    });
}

API CUresult cuStreamAddCallback(CUstream handle, CUstreamCallback *callback, void *data, unsigned flags) {
    return of_stream("cuStreamAddCallback", handle, [&](Stream *s) {
        if (!callback || flags) return CUDA_ERROR_INVALID_VALUE;
        submit(s, [=] {
            in_callback = true;
            callback(handle, CUDA_SUCCESS, data);
            in_callback = false;
        }, true);
        return CUDA_SUCCESS;
    });
}

API CUresult cuLaunchHostFunc(CUstream handle, void (*function)(void *), void *data) {
    return of_stream("cuLaunchHostFunc", handle, [&](Stream *s) {
        if (!function) return CUDA_ERROR_INVALID_VALUE;
        submit(s, [=] {
            in_callback = true;
            function(data);
            in_callback = false;
        }, true);
        return CUDA_SUCCESS;
    });
}

// ---- Events

API CUresult cuEventCreate(CUevent *out, unsigned flags) {
    return enter("cuEventCreate", Need::Context, [&](Call &c) {
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        Event *e = new Event(c.context, flags);
        register_handle(e);
        {
            std::lock_guard<std::mutex> hold(streams().lock);
            streams().events.push_back(e);
        }
        *out = reinterpret_cast<CUevent>(static_cast<Handle *>(e));
        return CUDA_SUCCESS;
    });
}

template <class Body> static CUresult of_event(const char *name, CUevent handle, Body body) {
    return enter(name, Need::Context, [&](Call &c) {
        Event *e = live<Event>(handle, EVENT, "event", c.name);
        return e ? body(e) : CUDA_ERROR_INVALID_HANDLE;
    });
}

API CUresult cuEventDestroy_v2(CUevent handle) {
    return of_event("cuEventDestroy_v2", handle, [&](Event *e) {
        e->alive = false;
        return CUDA_SUCCESS;
    });
}

static CUresult record(const char *name, CUevent handle, CUstream on) {
    return of_event(name, handle, [&](Event *e) {
        Stream *s = stream_of(on, name);
        if (!s) return CUDA_ERROR_INVALID_HANDLE;
        uint64_t ticket;
        {
            std::lock_guard<std::mutex> hold(e->lock);
            ticket = ++e->recorded;
        }
        submit(s, [e, ticket] {
            std::lock_guard<std::mutex> hold(e->lock);
            if (ticket > e->reached) e->reached = ticket;
            e->at_us = monotonic_us();
            e->changed.notify_all();
        });
        return CUDA_SUCCESS;
    });
}
API CUresult cuEventRecord(CUevent event, CUstream stream) { return record("cuEventRecord", event, stream); }
API CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned) {
    return record("cuEventRecordWithFlags", event, stream);
}

API CUresult cuEventSynchronize(CUevent handle) {
    return of_event("cuEventSynchronize", handle, [&](Event *e) {
        std::unique_lock<std::mutex> hold(e->lock);
        uint64_t ticket = e->recorded;
        e->changed.wait(hold, [&] { return e->reached >= ticket; });
        return CUDA_SUCCESS;
    });
}

API CUresult cuEventQuery(CUevent handle) {
    return of_event("cuEventQuery", handle, [&](Event *e) {
        std::lock_guard<std::mutex> hold(e->lock);
        return e->reached >= e->recorded ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
    });
}

static CUresult elapsed(const char *name, float *out, CUevent from, CUevent to) {
    return of_event(name, from, [&](Event *a) {
        Event *b = live<Event>(to, EVENT, "event", name);
        if (!b) return CUDA_ERROR_INVALID_HANDLE;
        if (!out) return CUDA_ERROR_INVALID_VALUE;
        if ((a->flags | b->flags) & CU_EVENT_DISABLE_TIMING || !a->recorded || !b->recorded) return CUDA_ERROR_INVALID_HANDLE;
        if (a->reached < a->recorded || b->reached < b->recorded) return CUDA_ERROR_NOT_READY;
        *out = float(b->at_us - a->at_us) / 1000.0f;
        return CUDA_SUCCESS;
    });
}
API CUresult cuEventElapsedTime(float *out, CUevent from, CUevent to) { return elapsed("cuEventElapsedTime", out, from, to); }
API CUresult cuEventElapsedTime_v2(float *out, CUevent from, CUevent to) {
    return elapsed("cuEventElapsedTime_v2", out, from, to);
}

API CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned) {
    return of_stream("cuStreamWaitEvent", handle, [&](Stream *s) {
        Event *e = live<Event>(event, EVENT, "event", "cuStreamWaitEvent");
        if (!e) return CUDA_ERROR_INVALID_HANDLE;
        uint64_t ticket;
        {
            std::lock_guard<std::mutex> hold(e->lock);
            ticket = e->recorded;
            if (e->reached >= ticket) return CUDA_SUCCESS;
        }
        submit(s, [e, ticket] {
            std::unique_lock<std::mutex> hold(e->lock);
            e->changed.wait(hold, [&] { return e->reached >= ticket; });
        });
        return CUDA_SUCCESS;
    });
}
