#include "picture.h"
namespace standin {
std::unique_ptr<Writer> make_av1(const StreamInfo &, std::string &problem) { problem = "no AV1 yet"; return nullptr; }
}
