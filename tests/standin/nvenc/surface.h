// A client's surface as samples.
#pragma once
#include "picture.h"

namespace standin {

// Bytes that a surface of this format has, by its pitch; 0 for a format that is none of a picture.
size_t surface_bytes(uint32_t format, uint32_t pitch, uint32_t height, const uint32_t (&chroma_offset)[2]);
uint32_t least_pitch(uint32_t format, uint32_t width);
// Reads width x height of it into planes of whole blocks (edges repeated), as `chroma` and `depth` say.
PictureRef read_surface(const uint8_t *data, uint32_t format, uint32_t pitch, uint32_t surface_height, const uint32_t (&chroma_offset)[2],
                        unsigned width, unsigned height, unsigned block, unsigned chroma, unsigned depth);

} // namespace standin
