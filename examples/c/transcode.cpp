// A file becomes an MP4, and its pictures packets, decoded once:  transcode_cpp IN OUT.mp4
//
// c++ -std=c++17 transcode.cpp $(pkg-config --cflags --libs ghoststream)
#include <ghoststream.hpp>

#include <iostream>

int main(int argc, char **argv) {
    if (argc != 3) {
        std::cerr << "usage: " << argv[0] << " IN OUT.mp4\n";
        return 2;
    }
    try {
        const gs::Pipeline pipeline(
            R"({"source": {"url": )" + gs::quote(argv[1]) + R"(}, "outputs": [
                {"path": )" + gs::quote(argv[2]) + R"(, "format": "mp4", "overwrite": true,
                 "video": {"codec": "h264", "crf": 23, "preset": "p2"}},
                {"packets": {}, "video": {"codec": "h264", "preset": "p1", "height": 90}, "audio": false}]})");
        gs::Job job = pipeline.start();
        std::size_t packets = 0, bytes = 0;
        while (auto packet = job.next_packet(1)) {
            packets++;
            bytes += packet->info().bytes;
        }
        job.wait();
        while (auto event = job.next_event(gs::Wait::poll()))
            if (event->kind() == GS_EVENT_WARNING)
                std::cout << event->json.text() << '\n';
        std::cout << packets << " packets of " << bytes << " bytes\n";
    } catch (const gs::Error &error) {
        std::cerr << argv[1] << ": " << gs_status_name(error.status()) << ": " << error.what() << '\n';
        return 1;
    }
    return 0;
}
