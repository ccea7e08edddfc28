// Decoding in software, for the stand-in of NVDEC: libavcodec, loaded when it is first needed and bound to nothing else.
#ifndef STANDIN_SOFTWARE_H
#define STANDIN_SOFTWARE_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

struct AVFrame;

// A decoded picture; planes as libavcodec made them, in the size they were coded in.
struct Picture {
    AVFrame *frame = nullptr;
    Picture() = default;
    explicit Picture(AVFrame *f) : frame(f) {}
    ~Picture();
    Picture(const Picture &) = delete;
    Picture &operator=(const Picture &) = delete;
    // Writes it as NVDEC does: NV12, or P016 with the bits at the top, or planar 4:4:4 in 8 or 16 bits; rows of `pitch`
    // bytes, planes behind each other, each luma plane `height` rows. `left` and `top` crop. False when the picture has
    // another layout than `format` (cudaVideoSurfaceFormat).
    bool write(uint8_t *to, size_t pitch, unsigned width, unsigned height, unsigned left, unsigned top, int format) const;
};

class Software {
  public:
    // A decoder by libavcodec's name; null when the library or the decoder is missing (`why` says which).
    static std::unique_ptr<Software> open(const char *name, std::string *why);
    ~Software();
    // Decodes one picture's bytes. The picture is given whether or not the stream shows it; null when there is none.
    std::shared_ptr<Picture> decode(const uint8_t *data, size_t size);
    static bool available(const char *name);

  private:
    struct State;
    std::unique_ptr<State> state;
    Software();
};

#endif
