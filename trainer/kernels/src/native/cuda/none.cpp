// Stands in until the CUDA half is there.

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include "../device.h"

namespace nocturne::cuda {

bool available(const at::Tensor&) { return false; }
const char* why_not() { return "not built"; }

void norm_forward(const at::Tensor&, at::Tensor&, at::Tensor&, double) { TORCH_CHECK(false, "norm_forward on CUDA was not built"); }
void norm_backward(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor&) { TORCH_CHECK(false, "norm_backward on CUDA was not built"); }
void add_norm_forward(const at::Tensor&, const at::Tensor&, at::Tensor&, at::Tensor&, at::Tensor&, double) { TORCH_CHECK(false, "add_norm_forward on CUDA was not built"); }
void mix_norm_forward(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor&, at::Tensor&, at::Tensor&, double) { TORCH_CHECK(false, "mix_norm_forward on CUDA was not built"); }
void mix_norm_backward(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor&, at::Tensor&, at::Tensor&, at::Tensor&) { TORCH_CHECK(false, "mix_norm_backward on CUDA was not built"); }
void rotary_norm_forward(const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor&, at::Tensor&, double) { TORCH_CHECK(false, "rotary_norm_forward on CUDA was not built"); }
void rotary_norm_backward(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor&) { TORCH_CHECK(false, "rotary_norm_backward on CUDA was not built"); }
void gated_value_forward(const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor&) { TORCH_CHECK(false, "gated_value_forward on CUDA was not built"); }
void gated_value_backward(const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor&, at::Tensor&) { TORCH_CHECK(false, "gated_value_backward on CUDA was not built"); }
void squared_relu_forward(const at::Tensor&, at::Tensor&) { TORCH_CHECK(false, "squared_relu_forward on CUDA was not built"); }
void squared_relu_backward(const at::Tensor&, const at::Tensor&, at::Tensor&) { TORCH_CHECK(false, "squared_relu_backward on CUDA was not built"); }
void softcap_loss(at::Tensor&, const at::Tensor&, double, double, at::Tensor&) { TORCH_CHECK(false, "softcap_loss on CUDA was not built"); }
void muon_look(const at::Tensor&, at::Tensor&, double, at::Tensor&, at::Tensor&) { TORCH_CHECK(false, "muon_look on CUDA was not built"); }
void normuon(at::Tensor&, at::Tensor&, double) { TORCH_CHECK(false, "normuon on CUDA was not built"); }
void cautious_update(const at::Tensor&, double, double, at::Tensor&) { TORCH_CHECK(false, "cautious_update on CUDA was not built"); }
void adamw(at::Tensor&, const at::Tensor&, at::Tensor&, at::Tensor&, double, double, double, double, double, double, double) { TORCH_CHECK(false, "adamw on CUDA was not built"); }

}  // namespace nocturne::cuda
