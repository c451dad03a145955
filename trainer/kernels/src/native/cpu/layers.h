// Layers with weights of their own on the CPU: hands their work to libtorch's threads. They have no form on CUDA devices, where libtorch's
// own is as fast.
#pragma once

#include <ATen/core/Tensor.h>

namespace nocturne::cpu {

// Layers of one input. x: [rows, inputs], of y: [rows, outputs], all bfloat16; of weights: [outputs, inputs] float32. All contiguous, inputs
// and outputs multiples of LINEAR_PANEL; outputs may differ between layers.

// What comes after a layer, element by element.
enum class Activation { none, squared_relu };

// y = f(x W^T) for each.
void linear_forward(const at::Tensor& x, at::TensorList weights, at::TensorList y, Activation activation);
// dx: the sum of dy W, as x; dweights: dy^T x, as weights. Only what is defined of these is found.
void linear_backward(at::TensorList dy, const at::Tensor& x, at::TensorList weights, at::Tensor& dx, at::TensorList dweights);
// The same of one layer with a squared ReLU, which gave y.
void linear_squared_relu_backward(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& x, const at::Tensor& weight, at::Tensor& dx,
                                  at::Tensor& dweight);

}  // namespace nocturne::cpu
