#include "windowed.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace nocturne::cuda {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Of flash attention's backward pass.
constexpr int64_t WIDEST = 256;
constexpr int64_t WIDTH_STEP = 8;

// Rows of which every one begins at 16 bytes: it reads so many at a time, and looks at the last stride alone.
Tensor readable(const Tensor& x) {
  bool fit = x.stride(3) == 1 && reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % 16 == 0;
  for (int64_t dimension = 0; dimension < 3; ++dimension) fit = fit && x.stride(dimension) % WIDTH_STEP == 0;
  return fit ? x : x.clone(at::MemoryFormat::Contiguous);
}

// Nothing on the right: causal. The window's bounds count in.
struct Windowed : Function<Windowed> {
  static Tensor forward(AutogradContext* context, const Tensor& query, const Tensor& key, const Tensor& value, int64_t window, double scale) {
    const Tensor q = readable(query), k = readable(key), v = readable(value);
    const int64_t time = q.size(1);
    auto [out, level, seed, offset, unused] =
        at::_flash_attention_forward(q, k, v, std::nullopt, std::nullopt, time, time, 0.0, true, false, scale, window, 0);
    context->save_for_backward({q, k, v, out, level, seed, offset});
    context->saved_data["window"] = window;
    context->saved_data["scale"] = scale;
    return out;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "a fused operation has no second derivative; use the plain form in kernels::plain where create_graph is set");
    const auto saved = context->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], none;
    const int64_t time = q.size(1), window = context->saved_data["window"].toInt();
    auto [dq, dk, dv] = at::_flash_attention_backward(readable(gradients[0]), q, k, v, saved[3], saved[4], none, none, time, time, 0.0, true,
                                                      saved[5], saved[6], context->saved_data["scale"].toDouble(), window, 0);
    return {dq, dk, dv, Tensor(), Tensor()};
  }
};

// Numbers between -1 and 1 in no simple order, without a random generator: a trial's must not be moved.
Tensor numbers(at::IntArrayRef shape, double step, const at::TensorOptions& options) {
  return at::arange(c10::multiply_integers(shape), options.dtype(at::kDouble)).mul_(step).sin_().view(shape);
}

// Of a batch whose rows are all to be as expected.
double off(const Tensor& got, const Tensor& expected) {
  const Tensor all = expected.detach().expand_as(got);
  return ((got.detach().to(at::kDouble) - all).norm() / all.norm()).item<double>();
}

// By how much output and gradients of a small case differ from products in double precision, in units of their norms: not a number where any
// is not. Some windows end within a block of flash attention's, some do not begin within the same. The batch has one row many times: for few
// blocks flash attention would choose another kernel than in training.
double largest_difference(const Tensor& like) {
  constexpr int64_t BATCH = 64, TIME = 320, WINDOW = 130;
  const int64_t width = like.size(3);
  const double scale = 1.0 / std::sqrt(static_cast<double>(width));
  const int64_t shape[] = {1, TIME, 2, width};
  const at::AutoGradMode with_gradients(true);
  variable_list inputs, exact;
  for (const double step : {1.7, 2.3, 3.1}) {
    const Tensor row = numbers(shape, step, like.options().requires_grad(false)).to(at::kBFloat16);
    inputs.push_back(row.repeat({BATCH, 1, 1, 1}).requires_grad_(true));
    exact.push_back(row.to(at::kDouble).requires_grad_(true));
  }
  const Tensor row = numbers(shape, 0.9, like.options().requires_grad(false)).to(at::kBFloat16), dout = row.repeat({BATCH, 1, 1, 1});
  const Tensor out = Windowed::apply(inputs[0], inputs[1], inputs[2], WINDOW, scale);
  const auto gradients = torch::autograd::grad({out}, inputs, {dout});

  const Tensor place = at::arange(TIME, like.options().dtype(at::kLong)), distance = place.unsqueeze(1) - place.unsqueeze(0);
  const auto by_head = [&](size_t which) { return exact[which].transpose(1, 2); };
  const Tensor scores = at::matmul(by_head(0), by_head(1).transpose(2, 3)) * scale;
  const Tensor hidden = distance.lt(0).logical_or(distance.gt(WINDOW));
  const Tensor expected = at::matmul(scores.masked_fill(hidden, -INFINITY).softmax(-1), by_head(2)).transpose(1, 2);
  const auto wanted = torch::autograd::grad({expected}, exact, {row.to(at::kDouble)});
  double most = off(out, expected);
  for (size_t which = 0; which < wanted.size(); ++which) {
    // Not fmax, which passes over what is not a number.
    if (const double next = off(gradients[which], wanted[which]); std::isfinite(most) && !(next <= most)) most = next;
  }
  return most;
}

// Empty where it agrees with plain products, else why it is not used; nothing where the device had no memory for finding out. Does not throw.
std::optional<std::string> trouble(const Tensor& like) {
  // bfloat16 keeps eight bits; a window that is off by one position differs by more.
  constexpr double MOST = 0.02;
  try {
    const double most = largest_difference(like);
    if (most <= MOST) return std::string();
    return "its results differ from plain products by " + std::to_string(most) + " of their norm";
  } catch (const c10::OutOfMemoryError&) {
    return std::nullopt;
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception that is not a std::exception";
  }
}

}  // namespace

bool windowed_available(const Tensor& x) {
  if (!x.is_cuda() || x.scalar_type() != at::kBFloat16 || x.dim() != 4) return false;
  const int64_t width = x.size(3);
  if (width % WIDTH_STEP != 0 || width > WIDEST || width == 0) return false;
  static std::mutex mutex;
  static auto* known = new std::map<std::pair<int64_t, int64_t>, bool>();
  const std::pair<int64_t, int64_t> which = {x.device().index(), width};
  const std::lock_guard<std::mutex> lock(mutex);
  if (const auto found = known->find(which); found != known->end()) return found->second;
  const std::optional<std::string> found_out = trouble(x);
  // It may have some later.
  if (!found_out) return false;
  const std::string& why = *found_out;
  if (!why.empty()) {
    std::fprintf(stderr, "kernels: no attention over windows on device %d for heads of %lld, masks are used instead: %s\n",
                 static_cast<int>(which.first), static_cast<long long>(width), why.c_str());
  }
  return known->emplace(which, why.empty()).first->second;
}

Tensor windowed_attention(const Tensor& query, const Tensor& key, const Tensor& value, int64_t window, double scale) {
  return Windowed::apply(query, key, value, window, scale);
}

}  // namespace nocturne::cuda
