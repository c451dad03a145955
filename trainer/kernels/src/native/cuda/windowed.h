// Causal attention over a window on a CUDA device: libtorch's flash attention, which leaves out what no query sees. libtorch's own
// scaled_dot_product_attention has no window, and takes a mask, behind which all scores are computed.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace nocturne::cuda {

// Whether it can be used for tensors like this one: [batch, time, heads, width], bfloat16, on a CUDA device, a width that it takes. The first
// question for a device and a width tries it on a small case against plain products; if that fails or differs, standard error says so once.
bool windowed_available(const at::Tensor& x);

// Every position sees itself and up to `window` positions before it. All three of one shape; returns [batch, time, heads, width].
at::Tensor windowed_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, int64_t window, double scale);

}  // namespace nocturne::cuda
