// What the harness asks of a CUDA device through torch: values read without waiting for what was started after them, and memory.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <cstdint>
#include <optional>

namespace nocturne::cuda {

// A number on its way from a device. What is started on the device after this was made need not end before the number can be read.
class Late {
 public:
  // x: one element, on a CUDA device.
  explicit Late(const at::Tensor& x);
  // Waits for the number alone. Throws c10::Error, with what went wrong on the device until then.
  double read() const;
  void wait() const { arrived_.synchronize(); }

 private:
  at::Tensor host_;
  c10::Event arrived_;
};

// The most bytes of a device's memory that tensors of this process have had at once so far; nothing where libtorch does not count them.
std::optional<std::int64_t> peak_memory(int ordinal);

}  // namespace nocturne::cuda
