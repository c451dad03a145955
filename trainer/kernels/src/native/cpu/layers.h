// Layers with weights of their own on the CPU: hands their work to libtorch's threads. They have no form on CUDA devices, where libtorch's
// own is as fast.
#pragma once

#include <ATen/core/Tensor.h>

namespace nocturne::cpu {

// y = x W^T. x: [rows, inputs], y: [rows, outputs], both bfloat16; weight: [outputs, inputs] float32. All contiguous, inputs and outputs
// multiples of LINEAR_PANEL.
void linear_forward(const at::Tensor& x, const at::Tensor& weight, at::Tensor& y);
// dx = dy W, as x.
void linear_backward(const at::Tensor& dy, const at::Tensor& weight, at::Tensor& dx);
// dweight = dy^T x, as weight.
void linear_weight_backward(const at::Tensor& dy, const at::Tensor& x, at::Tensor& dweight);

}  // namespace nocturne::cpu
