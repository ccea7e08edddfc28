// What the kernels need of CUDA, for a C++ compiler.
#pragma once
#include <math.h>

#define KERNEL static void
#define DEVICE static inline
#define IN_PLACE
#define ROLLED
typedef unsigned long long u64;

static inline double sinpi(double x) { return sin(3.141592653589793 * x); }

struct Index {
    unsigned x, y, z;
};

// Set by the launchers before each call of a kernel.
extern thread_local Index threadIdx, blockIdx, blockDim, gridDim;
