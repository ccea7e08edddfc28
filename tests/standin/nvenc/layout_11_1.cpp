// The structures of API 11.1, against the header that a package ships (GS_NVENC_HEADERS).
#if __has_include("11.1/nvEncodeAPI.h")
#include "11.1/nvEncodeAPI.h"
#include "layout.h"
namespace standin {
const Layout *const layout_11_1 = &kLayout;
}
#else
#include "normal.h"
namespace standin {
const Layout *const layout_11_1 = nullptr;
}
#endif
