// H.264 for the stand-in of NVDEC: NVDEC is given slices and the parameter sets' values; a software decoder wants the sets.
#ifndef STANDIN_H264_H
#define STANDIN_H264_H

#include <cstdint>
#include <vector>

#include <ffnvcodec/dynlink_cuda.h>

#include <ffnvcodec/dynlink_cuviddec.h>

// The access unit (Annex B) of a picture: SPS and PPS rebuilt from its parameters, then its slices as they came. Empty
// when it uses what the parameters do not carry (picture order type 1, slice groups) or holds no slice.
std::vector<uint8_t> h264_access_unit(const CUVIDPICPARAMS &picture, int chroma_format);

#endif
