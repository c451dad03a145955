// The device's language on the host: what the kernels' text takes from CUDA, so that it compiles as C++ and runs, block after block. Each thread
// of a block is a fiber of its own; at a barrier or a shuffle the next one goes on. So what is tested is the very text that the device's
// compiler gets, with the order of its threads under the test's control.
//
// What this cannot show: rounding of the device's own approximations (__expf, rsqrtf, ...), its memory model beyond barriers, and speed.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define __device__
#define __global__
// One block runs at a time.
#define __shared__ static
#define __launch_bounds__(...)

namespace emulation {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

// Of the fiber that runs.
struct Place {
  Index thread, block, block_size, grid_size;
};
extern Place place;

void block_barrier();
// The value of the lane whose number differs in the bits of `distance`.
float shuffle(unsigned lanes, float value, int distance);
void check_aligned(const void* pointer, std::size_t size);

// Threads and, optionally, blocks a multiprocessor.
struct Bounds {
  Bounds(unsigned threads, unsigned = 0) : threads(threads) {}
  unsigned threads;
};

// A kernel that can be launched by name.
struct Registration {
  Registration(const char* name, Bounds bounds, std::size_t bytes, void (*run)(const void* arguments));
};

}  // namespace emulation

#define threadIdx emulation::place.thread
#define blockIdx emulation::place.block
#define blockDim emulation::place.block_size
#define gridDim emulation::place.grid_size
#define __syncthreads() emulation::block_barrier()
#define __shfl_xor_sync(lanes, value, distance) emulation::shuffle(lanes, value, distance)

inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
// As documented: for a large divisor the quotient is 0.
inline float __fdividef(float x, float y) { return std::fabs(y) > 0x1p126f && !std::isinf(y) ? 0.0f : x / y; }

#define NOCTURNE_INFINITY INFINITY
#define NOCTURNE_CHECK_ALIGNED(pointer, size) emulation::check_aligned(pointer, size)
#define NOCTURNE_REGISTER(name, Arguments, bounds)                                                             \
  static const emulation::Registration name##_registration(#name, emulation::Bounds bounds, sizeof(Arguments), \
                                                           [](const void* arguments) { name(*static_cast<const Arguments*>(arguments)); });
