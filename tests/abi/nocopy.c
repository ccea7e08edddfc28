/* Nothing copies the pixels between gs_frame_wrap and the encoder. The wrapped memory cannot be read at first; the first
 * read of every page traps, the trap notes which library reads, and lets it. Had anything of ours (or FFmpeg's) copied the
 * picture on the way, that would be the reader, and not libx264.
 *
 * Also: every frame is handed back, once, and not before it was read. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <ghoststream.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { WIDTH = 1280, HEIGHT = 720, FRAMES = 6, LUMA = WIDTH * HEIGHT, BYTES = LUMA * 3 / 2, PAGES = 1024 };

static unsigned char *memory[FRAMES];
static size_t span, page;
static volatile sig_atomic_t pages_read[FRAMES], handed_back[FRAMES];
static void *reader[FRAMES][PAGES];

static void trap(int signal, siginfo_t *info, void *context)
{
    unsigned char *at = info->si_addr;
    int n;
    (void)signal;
    for (n = 0; n < FRAMES; n++) {
        if (memory[n] && at >= memory[n] && at < memory[n] + span) {
            size_t index = (size_t)(at - memory[n]) / page;
#if defined(__x86_64__)
            reader[n][index] = (void *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
            reader[n][index] = (void *)((ucontext_t *)context)->uc_mcontext.pc;
#endif
            pages_read[n]++;
            mprotect(memory[n] + index * page, page, PROT_READ);
            return;
        }
    }
    _exit(3);
}

static void hand_back(void *user)
{
    handed_back[(long)(size_t)user]++;
}

int main(void)
{
    struct sigaction action;
    gs_encoder *encoder = NULL;
    gs_packet *packet = NULL;
    gs_encoder_options options;
    gs_status status;
    int n, packets = 0, foreign = 0, from_encoder = 0;

    page = (size_t)sysconf(_SC_PAGESIZE);
    span = (BYTES + page - 1) / page * page;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = trap;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, NULL);

    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.width = WIDTH;
    options.height = HEIGHT;
    options.format = "nv12";
    options.rate_num = 25;
    options.encoder = "libx264";
    options.preset = "p1";
    options.tune = "ull";
    status = gs_encoder_open(&options, &encoder);
    for (n = 0; n < FRAMES && status == GS_OK; n++) {
        gs_frame *frame = NULL;
        gs_frame_options what;
        gs_plane planes[2];
        memory[n] = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory[n] == MAP_FAILED)
            return 1;
        memset(memory[n], 16 + n * 30, LUMA);
        memset(memory[n] + LUMA, 128, BYTES - LUMA);
        mprotect(memory[n], span, PROT_NONE);
        memset(&what, 0, sizeof what);
        memset(planes, 0, sizeof planes);
        what.size = sizeof what;
        what.format = "nv12";
        what.width = WIDTH;
        what.height = HEIGHT;
        what.pts = n * 40000;
        what.duration = 40000;
        planes[0].data = memory[n];
        planes[1].data = memory[n] + LUMA;
        status = gs_frame_wrap(&what, planes, 2, hand_back, (void *)(size_t)n, &frame);
        if (status == GS_OK)
            status = gs_encoder_push_frame(encoder, frame, -1);
        gs_frame_unref(&frame);
    }
    if (status == GS_OK)
        status = gs_encoder_finish(encoder);
    while (status == GS_OK && (status = gs_encoder_next_packet(encoder, -1, &packet)) == GS_OK) {
        packets++;
        gs_packet_unref(&packet);
    }
    if (status != GS_END) {
        fprintf(stderr, "%s\n", gs_last_error());
        return 1;
    }
    gs_encoder_free(&encoder);

    for (n = 0; n < FRAMES; n++) {
        size_t i;
        if (handed_back[n] != 1) {
            fprintf(stderr, "frame %d was handed back %d times\n", n, (int)handed_back[n]);
            return 1;
        }
        if ((size_t)pages_read[n] < (size_t)BYTES / page) {
            fprintf(stderr, "only %d of %zu pages of frame %d were read\n", (int)pages_read[n], (size_t)BYTES / page, n);
            return 1;
        }
        for (i = 0; i < PAGES && i < span / page; i++) {
            Dl_info who;
            if (!reader[n][i])
                continue;
            if (dladdr(reader[n][i], &who) && who.dli_fname && strstr(who.dli_fname, "libx264"))
                from_encoder++;
            else if (foreign++ < 5)
                fprintf(stderr, "frame %d, page %zu was first read by %s\n", n, i, who.dli_fname ? who.dli_fname : "?");
        }
    }
    printf("%d packets; pages first read by libx264: %d, by anything else: %d\n", packets, from_encoder, foreign);
    return foreign || packets != FRAMES;
}
