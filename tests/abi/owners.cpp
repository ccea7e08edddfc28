// ghoststream.hpp: owners free themselves once, moves leave nothing behind, failures are exceptions.
#include <cstring>
#include <ghoststream.hpp>

#include <atomic>
#include <iostream>
#include <memory>

static int failed;

static void check_at(bool good, const char *what, int line) {
    if (!good) {
        std::cerr << "owners.cpp:" << line << ": " << what << '\n';
        failed++;
    }
}
#define CHECK(condition) check_at((condition), #condition, __LINE__)

int main() {
    // The library keeps what wraps need, and lets it go.
    auto pixels = std::make_shared<std::vector<std::uint8_t>>(64 * 64 * 3 / 2, 128);
    auto options = gs::Frame::options();
    options.format = "nv12";
    options.width = options.height = 64;
    const std::vector<gs_plane> planes{{pixels->data(), 0, 0}, {pixels->data() + 64 * 64, 0, 0}};
    {
        auto encoding = gs::Encoder::options();
        encoding.format = "nv12";
        encoding.width = encoding.height = 64;
        encoding.rate_num = 25;
        encoding.preset = "p1";
        gs::Encoder encoder(encoding);
        for (int n = 0; n < 10; n++) {
            options.pts = n * 40000;
            CHECK(encoder.push(gs::Frame::wrap(options, planes, pixels)));
        }
        encoder.finish();
        int packets = 0;
        while (encoder.next())
            packets++;
        CHECK(packets == 10);
        gs::Encoder moved = std::move(encoder);
        CHECK(!encoder && moved);
        CHECK(moved.stats().find("\"finished\"") != std::string::npos);
    }
    CHECK(pixels.use_count() == 1);
    try {
        gs::Frame::wrap(options, {planes[0]}, pixels);
        CHECK(!"a plane is missing");
    } catch (const gs::Error &error) {
        CHECK(error.status() == GS_INVALID && std::string(error.what()).find("planes") != std::string::npos);
    }
    CHECK(pixels.use_count() == 1);

    try {
        gs::Capture("/no/such/file.mkv");
        CHECK(!"the file does not exist");
    } catch (const gs::Error &error) {
        CHECK(error.status() == GS_NOT_FOUND);
    }
    gs::Capture capture("pattern:smpte");
    capture.seek(std::chrono::seconds(2));
    gs::Frame frame = *capture.next();
    static const char one[] = "YUV4MPEG2 W2 H2 F25:1 Ip C420jpeg\nFRAME\n012345";
    gs_bytes bytes = gs::Capture::bytes();
    bytes.data = reinterpret_cast<const std::uint8_t *>(one);
    bytes.length = sizeof one - 1;
    gs::Capture held(bytes);
    gs::Buffer packed = held.next()->pack();
    CHECK(held.frame_count() == 1 && packed.size() == 6 && !std::memcmp(packed.data(), "012345", 6));
    CHECK(gs::probe(bytes).find("rawvideo") != std::string::npos);
    gs::Frame same = frame.share();
    frame = gs::Frame();
    CHECK(same.info().pts == 2000000 && same.pack().size() > 0);

    std::atomic<int> woken{0};
    gs::Job job = gs::Pipeline(R"({"source": {"pattern": {"width": 64, "height": 64, "frames": 5}},
        "outputs": [{"packets": {}, "audio": false, "video": {"codec": "h264", "preset": "p1"}}]})").start();
    job.set_wakeup([&] { woken++; });
    int packets = 0;
    while (job.next_packet(0))
        packets++;
    job.wait();
    CHECK(packets == 5 && woken > 0 && job.state() == GS_STATE_FINISHED);
    gs::Job other = std::move(job);
    job = std::move(other);
    bool done = false;
    while (auto event = job.next_event())
        done = event->kind() == GS_EVENT_DONE;
    CHECK(done);
    return failed != 0;
}
