// What the encoder of a device offers: GUIDs, formats, caps, presets, and whether a configuration keeps to them.
#pragma once
#include "cuda/device.h"
#include "normal.h"

namespace standin {

// The seam has functions of the same names.
using Device = struct ::standin_device;
using Driver = struct ::standin_driver;

struct Api {
    int major = 0, minor = 0;
    uint32_t word() const { return static_cast<uint32_t>(major) | static_cast<uint32_t>(minor) << 24; } // as NVENCAPI_VERSION
    bool at_least(int a, int b) const { return major > a || (major == a && minor >= b); }
};

Codec codec_of(const Guid &guid);
const Guid &guid_of(Codec codec);
const standin_encoder *encoder_of(const Device &device, Codec codec, const Api &api); // null: the codec is not offered
int cap(const standin_encoder &encoder, unsigned which);

std::vector<Guid> codecs(const Device &device, const Api &api);
std::vector<Guid> profiles(const standin_encoder &encoder, Codec codec, const Api &api);
std::vector<uint32_t> formats(const standin_encoder &encoder, const Api &api);
// With the ones from before P1 where the driver still has them.
std::vector<Guid> presets(const Layout &layout);
bool is_legacy(const Layout &layout, const Guid &preset, unsigned &tuning);
// The settings of a preset. Their values are plausible, not NVIDIA's.
Config preset_config(const standin_encoder &encoder, Codec codec, const Guid &preset, unsigned tuning);

// A refusal: the status and why. Status 0 means that all is well.
struct Refusal {
    uint32_t status = 0;
    std::string why;
};
Refusal check(const Device &device, const Api &api, Codec codec, const Init &init, const Config &config);

unsigned format_depth(uint32_t format);
unsigned format_chroma(uint32_t format); // of YUV formats; 0 for RGB ones
unsigned profile_idc(Codec codec, const Guid &profile);

} // namespace standin
