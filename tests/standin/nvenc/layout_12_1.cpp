// The structures of API 12.1, against the header that a package ships (GS_NVENC_HEADERS).
#if __has_include("12.1/nvEncodeAPI.h")
#include "12.1/nvEncodeAPI.h"
#include "layout.h"
namespace standin {
const Layout *const layout_12_1 = &kLayout;
}
#else
#include "normal.h"
namespace standin {
const Layout *const layout_12_1 = nullptr;
}
#endif
