// How long each kernel takes on a device, at the sizes of the scale h100: depth 8, width 512, 4 heads of 128, 8,192 tokens in the vocabulary,
// 64 rows of 2,048 tokens.

#include <ATen/ATen.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <chrono>
#include <cstdio>

#include "cuda/library.h"
#include "tests.h"

namespace nocturne::check {
namespace {

using at::Tensor;

constexpr int WARM_UP = 5;
constexpr int RUNS = 50;

struct Measurement {
  const Backend& backend;
  c10::Stream stream;

  // `bytes`: what has to be read and written at least.
  template <typename F>
  void row(const char* name, int64_t bytes, F f) const {
    for (int i = 0; i < WARM_UP; ++i) f();
    stream.synchronize();
    const auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < RUNS; ++i) f();
    stream.synchronize();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() / RUNS;
    std::printf("%-24s %9.1f us %9.0f GB/s\n", name, seconds * 1e6, static_cast<double>(bytes) / seconds * 1e-9);
  }
};

int64_t bytes_of(std::initializer_list<Tensor> tensors) {
  int64_t bytes = 0;
  for (const Tensor& x : tensors) bytes += static_cast<int64_t>(x.nbytes());
  return bytes;
}

}  // namespace

void measure(const Backend& backend) {
  const auto half = at::device(backend.device).dtype(at::kBFloat16), full = at::device(backend.device).dtype(at::kFloat);
  std::printf("one call of each kernel: time, and the memory that it must move at least by that time\n");
  const Measurement m = {backend, c10::impl::VirtualGuardImpl(backend.device.type()).getStream(backend.device)};
  const int64_t batch = 64, time = 2048, rows = batch * time, width = 512, heads = 4, head = 128, vocabulary = 8192;
  {
    const Tensor x = at::randn({rows, width}, half), other = at::randn({rows, width}, half), a = at::ones({1}, full);
    Tensor y = at::empty_like(x), sum = at::empty_like(x), third = at::empty_like(x), inverse = at::empty({rows}, full);
    Tensor da = at::empty({1}, full), db = at::empty({1}, full);
    m.row("norm_forward", bytes_of({x, y}), [&] { backend.norm_forward(x, y, inverse, 1e-6); });
    m.row("norm_backward", bytes_of({x, y, other, third}), [&] { backend.norm_backward(x, y, inverse, other, third); });
    m.row("add_norm_forward", bytes_of({x, other, sum, y}), [&] { backend.add_norm_forward(x, other, sum, y, inverse, 1e-6); });
    m.row("mix_norm_forward", bytes_of({x, other, sum, y}), [&] { backend.mix_norm_forward(x, a, other, a, sum, y, inverse, 1e-6); });
    m.row("mix_norm_backward", bytes_of({x, y, other, other, x, sum, third}),
          [&] { backend.mix_norm_backward(x, other, y, inverse, x, a, other, a, sum, third, da, db); });
  }
  {
    const Tensor x = at::randn({batch, time, heads, head}, half), embedding = at::randn({batch, time, heads, head}, half);
    const Tensor cosine = at::randn({time, head / 2}, full), sine = at::randn({time, head / 2}, full), gate = at::randn({batch, time, heads}, half);
    Tensor y = at::empty_like(x), dx = at::empty_like(x), inverse = at::empty({batch, time, heads}, full), dgate = at::empty_like(gate);
    m.row("rotary_norm_forward", bytes_of({x, y}), [&] { backend.rotary_norm_forward(x, cosine, sine, y, inverse, 1e-6); });
    m.row("rotary_norm_backward", bytes_of({x, y, dx}), [&] { backend.rotary_norm_backward(x, y, inverse, cosine, sine, dx); });
    m.row("gated_value_forward", bytes_of({x, embedding, y}), [&] { backend.gated_value_forward(x, gate, embedding, y); });
    m.row("gated_value_backward", bytes_of({x, embedding, dx}), [&] { backend.gated_value_backward(x, gate, embedding, dgate, dx); });
  }
  {
    const Tensor x = at::randn({rows, 4 * width}, half);
    Tensor y = at::empty_like(x), dx = at::empty_like(x);
    m.row("squared_relu_forward", bytes_of({x, y}), [&] { backend.squared_relu_forward(x, y); });
    m.row("squared_relu_backward", bytes_of({x, y, dx}), [&] { backend.squared_relu_backward(x, y, dx); });
  }
  for (const auto& options : {half, full}) {
    Tensor logits = at::randn({rows / 4, vocabulary}, options), losses = at::empty({rows / 4}, full);
    const Tensor targets = at::randint(vocabulary, {rows / 4}, full.dtype(at::kLong));
    const int64_t bytes = 2 * bytes_of({logits});
    const char* name = options.dtype() == at::kBFloat16 ? "softcap_loss, bf16" : "softcap_loss, fp32";
    m.row(name, bytes, [&] { backend.softcap_loss(logits, targets, 15.0, 1.0, losses); });
  }
  {
    const Tensor gradient = at::randn({8, width, 4 * width}, full);
    Tensor momentum = at::randn_like(gradient), look = at::empty_like(gradient, half), squares = at::empty({8}, full);
    Tensor second = at::ones({8, 1, 4 * width}, full), parameters = at::randn_like(gradient), mean = at::randn_like(gradient),
           square = at::ones_like(gradient);
    m.row("muon_look", bytes_of({gradient, momentum, momentum, look}), [&] { backend.muon_look(gradient, momentum, 0.95, look, squares); });
    m.row("normuon", bytes_of({look, look, look}), [&] { backend.normuon(look, second, 0.95); });
    m.row("cautious_update", bytes_of({look, parameters, parameters}), [&] { backend.cautious_update(look, 1e-3, 0.1, parameters); });
    m.row("adamw", bytes_of({gradient, mean, mean, square, square, parameters, parameters}),
          [&] { backend.adamw(parameters, gradient, mean, square, 1e-3, 0.8, 0.95, 1e-10, 0.1, 0.5, 0.5); });
  }
}

void load_cuda() {
  const std::string folder = nocturne::cuda::folder_of_loaded("libtorch_cpu.so");
  TORCH_CHECK(!folder.empty(), "this process runs without libtorch_cpu.so");
  // Visible to all: it registers itself with the half that is loaded already.
  const std::string path = folder + "/libtorch_cuda.so";
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return;
  const char* why = dlerror();
  TORCH_CHECK(false, "libtorch's CUDA half cannot be loaded: ", why == nullptr ? path.c_str() : why,
              ". Give LD_LIBRARY_PATH the folder lib of a torch 2.11.0 with CUDA");
}

}  // namespace nocturne::check
