// Which variant of a kernel fits some tensors: its kind, and whether all accesses can be of 16 bytes.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstdint>
#include <initializer_list>
#include <string>

namespace nocturne {

inline int64_t divided_up(int64_t count, int64_t by) { return (count + by - 1) / by; }

// The kind as kernels' names have it.
inline const char* kind_name(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return "float";
    case at::kBFloat16:
      return "bf16";
    default:
      TORCH_CHECK(false, "the kernels take float32 and bfloat16, not ", x.scalar_type(), "; convert it, or use kernels::plain");
  }
}

// Elements in 16 bytes.
inline int64_t wide(const at::Tensor& x) { return 16 / x.element_size(); }

inline bool aligned(const at::Tensor& x, int64_t bytes) {
  return !x.defined() || reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % static_cast<std::uintptr_t>(bytes) == 0;
}

// Whether every row of contiguous tensors can be read `elements` at a time.
inline bool fits(int64_t width, int64_t elements, std::initializer_list<at::Tensor> tensors) {
  bool fit = width % elements == 0;
  for (const at::Tensor& x : tensors) fit = fit && (!x.defined() || aligned(x, elements * x.element_size()));
  return fit;
}

// A size as the kernels take it.
inline unsigned small(int64_t size, const char* what) {
  TORCH_CHECK(size >= 0 && size < (int64_t{1} << 31), what, " is ", size, ", and the kernels take less than 2^31; use fewer rows at a time");
  return static_cast<unsigned>(size);
}

inline std::string variant(const char* kernel, const char* kind, int64_t elements) {
  return std::string(kernel) + "_" + kind + "_" + std::to_string(elements);
}
inline std::string variant(const char* kernel, const char* kind, int64_t elements, int64_t accesses) {
  return variant(kernel, kind, elements) + "_" + std::to_string(accesses);
}

}  // namespace nocturne
