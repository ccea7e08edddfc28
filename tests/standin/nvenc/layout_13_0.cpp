// The structures of API 13.0, against the header that a package ships (GS_NVENC_HEADERS).
#if __has_include("13.0/nvEncodeAPI.h")
#include "13.0/nvEncodeAPI.h"
#include "layout.h"
namespace standin {
const Layout *const layout_13_0 = &kLayout;
}
#else
#include "normal.h"
namespace standin {
const Layout *const layout_13_0 = nullptr;
}
#endif
