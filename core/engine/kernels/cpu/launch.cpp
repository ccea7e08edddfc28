// The kernels as C++, run one thread after the other in grid order, for tests and for the stand-in driver (tests/standin).
//   extern "C" void gs_cpu_NAME(const unsigned grid[3], const unsigned block[3], void **args);
// NAME is the kernel's name in the PTX; `args` is what cuLaunchKernel gets as kernelParams, with pointers that the CPU can
// follow in place of device pointers, or device memory mapped so that it can.
#include "../kernels.cu"

thread_local Index threadIdx, blockIdx, blockDim, gridDim;

namespace {
template <typename Call> void run(const unsigned grid[3], const unsigned block[3], Call call) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    for (blockIdx.z = 0; blockIdx.z < grid[2]; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid[1]; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid[0]; blockIdx.x++)
                for (threadIdx.z = 0; threadIdx.z < block[2]; threadIdx.z++)
                    for (threadIdx.y = 0; threadIdx.y < block[1]; threadIdx.y++)
                        for (threadIdx.x = 0; threadIdx.x < block[0]; threadIdx.x++) call();
}
} // namespace

#define LAUNCHER(name, Args)                                                                                  \
    extern "C" __attribute__((visibility("default"))) void gs_cpu_##name(const unsigned grid[3],              \
                                                                         const unsigned block[3], void **args) { \
        const Args &given = *static_cast<const Args *>(args[0]);                                              \
        run(grid, block, [&] { name(given); });                                                               \
    }

LAUNCHER(taps, TapsArgs)
LAUNCHER(scale, ScaleArgs)
LAUNCHER(ladder, LadderArgs)
LAUNCHER(convert, ConvertArgs)
LAUNCHER(place, PlaceArgs)
LAUNCHER(tone_map, ToneMapArgs)
LAUNCHER(sharpen, SharpenArgs)
