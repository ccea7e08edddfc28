// GhostStream's CUDA kernels. One source, two builds: NVRTC makes the PTX that ships (generate.py), and a C++ compiler
// makes the library that tests run without a GPU (cpu/). So: no __syncthreads, shared memory or textures.
// Every kernel takes one structure by value.
#include "scale.cuh"
#include "ladder.cuh"
#include "colour.cuh"
#include "place.cuh"
#include "sharpen.cuh"
