// The functions under test: those of the emulation, on tensors of the CPU, or those of a device.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "device.h"

namespace nocturne::emulated {
NOCTURNE_DEVICE_FUNCTIONS
}

namespace nocturne::check {

#define NOCTURNE_EACH_FUNCTION(F)                                                                                                      \
  F(norm_forward) F(norm_backward) F(add_norm_forward) F(mix_norm_forward) F(mix_norm_backward) F(rotary_norm_forward)                 \
  F(rotary_norm_backward) F(gated_value_forward) F(gated_value_backward) F(squared_relu_forward) F(squared_relu_backward)              \
  F(softcap_loss) F(scale) F(muon_look) F(normuon) F(cautious_update) F(adamw)

struct Backend {
#define NOCTURNE_MEMBER(name) decltype(&nocturne::cuda::name) name;
  NOCTURNE_EACH_FUNCTION(NOCTURNE_MEMBER)
#undef NOCTURNE_MEMBER
  at::Device device;
};

Backend emulated();
// Throws c10::Error, with the reason, where the kernels cannot run on this device.
Backend on_device(int ordinal);

// Runs f, and f again with the threads of each block in other orders (in the emulation; on a device just again). f makes its own inputs, calls
// the function and gives its results, which must have the same bits each time. Gives those of the first run.
std::vector<at::Tensor> repeatable(const Backend& backend, const std::string& what, const std::function<std::vector<at::Tensor>()>& f);

}  // namespace nocturne::check
