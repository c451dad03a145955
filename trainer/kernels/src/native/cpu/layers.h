// Layers with weights of their own on the CPU: hands their work to libtorch's threads. They have no form on CUDA devices, where libtorch's
// own is as fast.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace nocturne::cpu {

// Layers of one input. x: [rows, inputs], of y: [rows, outputs], all bfloat16; of weights: [outputs, inputs] float32. All contiguous, inputs
// and outputs multiples of LINEAR_PANEL; outputs may differ between layers.

// y = x W^T for each.
void linear_forward(const at::Tensor& x, at::TensorList weights, std::vector<at::Tensor>& y);
// dx: the sum of dy W, as x; dweights: dy^T x for each, as weights. Only what is defined of these is found.
void linear_backward(at::TensorList dy, const at::Tensor& x, at::TensorList weights, at::Tensor& dx, std::vector<at::Tensor>& dweights);

}  // namespace nocturne::cpu
