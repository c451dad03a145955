// How the host's half of the kernels (operations.cpp, optimizer.cpp) starts them, whatever runs them: the driver of the tensor's device, or in
// tests the emulation. NOCTURNE_DEVICE_NAMESPACE says which.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <string>

#include "../device.h"
#include "arguments.h"

#ifndef NOCTURNE_DEVICE_NAMESPACE
#define NOCTURNE_DEVICE_NAMESPACE cuda
#else
namespace nocturne::NOCTURNE_DEVICE_NAMESPACE {
NOCTURNE_DEVICE_FUNCTIONS
}
#endif

namespace nocturne::NOCTURNE_DEVICE_NAMESPACE {

struct Grid {
  int64_t blocks;
  int64_t members = 1;  // blockIdx.y
  unsigned threads = 128;
};

// Starts a kernel on the current stream of the device of `on`, without waiting for it. `arguments`: the structure of arguments.h that it takes,
// of `bytes`. Throws c10::Error, which names the kernel, what failed and what to do.
void launch_kernel(const at::Tensor& on, const std::string& kernel, const Grid& grid, void* arguments, size_t bytes);

template <typename Arguments>
void launch(const at::Tensor& on, const std::string& kernel, const Grid& grid, Arguments arguments) {
  launch_kernel(on, kernel, grid, &arguments, sizeof(arguments));
}

// One thread for each access to `count` elements, and for each of those behind the last whole access, if these are more.
inline Grid points(int64_t count, int64_t elements) {
  constexpr unsigned THREADS = 256;
  return {(std::max(count / elements, count % elements) + THREADS - 1) / THREADS, 1, THREADS};
}

}  // namespace nocturne::NOCTURNE_DEVICE_NAMESPACE
