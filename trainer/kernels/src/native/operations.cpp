// The fused operations as functions with gradients, and their C interface.
//
// Each takes the device's own forward and backward (device.h) into an autograd function. Nothing here does arithmetic on elements; nothing
// here decides whether a fused operation applies: that is the Rust side's, which also has the plain forms.

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <exception>
#include <string>
#include <vector>

#include "cpu/attention.h"
#include "cpu/layers.h"
#include "cpu/linear.h"
#include "cpu/polar.h"
#include "cpu/rows.h"
#include "cpu/threads.h"
#include "cuda/host.h"
#include "cuda/windowed.h"
#include "device.h"

namespace nocturne {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

#define NOCTURNE_CALL(name, x, ...) ((x).is_cuda() ? nocturne::cuda::name(__VA_ARGS__) : nocturne::cpu::name(__VA_ARGS__))

// A gradient of these functions' gradients would need formulas that nobody has asked for; a wrong one would be worse than none.
void once() {
  TORCH_CHECK(!at::GradMode::is_enabled(),
              "a fused operation has no second derivative; use the plain form in kernels::plain where create_graph is set");
}

Tensor as_rows(const Tensor& x) { return x.contiguous().view({-1, x.size(-1)}); }
Tensor statistics(const Tensor& x) { return at::empty({x.size(0)}, x.options().dtype(at::kFloat)); }

// [batch, time, heads, width] whose last dimension is contiguous, copied only where it is not.
Tensor with_contiguous_heads(const Tensor& x) { return x.stride(-1) == 1 ? x : x.contiguous(); }
// [batch, time, heads, width] that lies as [batch, heads, time, width], which is what attention reads fastest.
Tensor empty_by_head(const Tensor& x) {
  if (x.is_cuda()) return at::empty(x.sizes(), x.options());
  return at::empty({x.size(0), x.size(2), x.size(1), x.size(3)}, x.options()).transpose(1, 2);
}

struct Norm : Function<Norm> {
  static Tensor forward(AutogradContext* context, const Tensor& x, double epsilon) {
    const Tensor from = as_rows(x);
    Tensor y = at::empty_like(from), inverse = statistics(from);
    NOCTURNE_CALL(norm_forward, from, from, y, inverse, epsilon);
    context->save_for_backward({y, inverse});
    return y.view(x.sizes());
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    once();
    const auto saved = context->get_saved_variables();
    Tensor dx = at::empty_like(saved[0]);
    NOCTURNE_CALL(norm_backward, dx, as_rows(gradients[0]), saved[0], saved[1], Tensor(), dx);
    return {dx.view(gradients[0].sizes()), Tensor()};
  }
};

struct AddNorm : Function<AddNorm> {
  static variable_list forward(AutogradContext* context, const Tensor& x, const Tensor& branch, double epsilon) {
    context->set_materialize_grads(false);
    const Tensor from = as_rows(x), more = as_rows(branch);
    Tensor sum = at::empty_like(from), y = at::empty_like(from), inverse = statistics(from);
    NOCTURNE_CALL(add_norm_forward, from, from, more, sum, y, inverse, epsilon);
    context->save_for_backward({y, inverse});
    return {sum.view(x.sizes()), y.view(x.sizes())};
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    once();
    const Tensor &dsum = gradients[0], &dy = gradients[1];
    if (!dy.defined()) return {dsum, dsum, Tensor()};
    const auto saved = context->get_saved_variables();
    Tensor dx = at::empty_like(saved[0]);
    NOCTURNE_CALL(norm_backward, dx, as_rows(dy), saved[0], saved[1], dsum.defined() ? as_rows(dsum) : Tensor(), dx);
    dx = dx.view(dy.sizes());
    return {dx, dx, Tensor()};
  }
};

struct MixNorm : Function<MixNorm> {
  static variable_list forward(AutogradContext* context, const Tensor& x, const Tensor& a, const Tensor& x0, const Tensor& b,
                               double epsilon) {
    context->set_materialize_grads(false);
    const Tensor from = as_rows(x), more = as_rows(x0);
    Tensor sum = at::empty_like(from), y = at::empty_like(from), inverse = statistics(from);
    NOCTURNE_CALL(mix_norm_forward, from, from, a, more, b, sum, y, inverse, epsilon);
    context->save_for_backward({y, inverse, from, a, more, b});
    return {sum.view(x.sizes()), y.view(x.sizes())};
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    once();
    const auto saved = context->get_saved_variables();
    const Tensor &y = saved[0], &inverse = saved[1], &x = saved[2], &a = saved[3], &x0 = saved[4], &b = saved[5];
    const bool normed = gradients[1].defined();
    const auto shape = (normed ? gradients[1] : gradients[0]).sizes();
    const Tensor dsum = gradients[0].defined() ? as_rows(gradients[0]) : Tensor();
    // Nobody read the norm: its part of the gradient is zero.
    const Tensor dy = normed ? as_rows(gradients[1]) : at::zeros_like(y);
    Tensor dx = at::empty_like(y), dx0 = at::empty_like(y), da = at::empty_like(a), db = at::empty_like(b);
    NOCTURNE_CALL(mix_norm_backward, y, dy, dsum, y, inverse, x, a, x0, b, dx, dx0, da, db);
    return {dx.view(shape), da, dx0.view(shape), db, Tensor()};
  }
};

struct RotaryNorm : Function<RotaryNorm> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& cos, const Tensor& sin, double epsilon) {
    const Tensor from = with_contiguous_heads(x);
    Tensor y = empty_by_head(x), inverse = at::empty({x.size(0), x.size(1), x.size(2)}, x.options().dtype(at::kFloat));
    NOCTURNE_CALL(rotary_norm_forward, from, from, cos, sin, y, inverse, epsilon);
    context->save_for_backward({y, inverse, cos, sin});
    return y;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    once();
    const auto saved = context->get_saved_variables();
    Tensor dx = at::empty(saved[0].sizes(), saved[0].options());
    NOCTURNE_CALL(rotary_norm_backward, dx, with_contiguous_heads(gradients[0]), saved[0], saved[1], saved[2], saved[3], dx);
    return {dx, Tensor(), Tensor(), Tensor()};
  }
};

struct SquaredRelu : Function<SquaredRelu> {
  static Tensor forward(AutogradContext* context, const Tensor& x) {
    const Tensor from = x.contiguous();
    Tensor y = at::empty_like(from);
    NOCTURNE_CALL(squared_relu_forward, from, from, y);
    context->save_for_backward({y});
    return y;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    once();
    const auto saved = context->get_saved_variables();
    Tensor dx = at::empty_like(saved[0]);
    NOCTURNE_CALL(squared_relu_backward, dx, gradients[0].contiguous(), saved[0], dx);
    return {dx};
  }
};

struct GatedValue : Function<GatedValue> {
  static Tensor forward(AutogradContext* context, const Tensor& value, const Tensor& gate, const Tensor& embedding) {
    const Tensor v = with_contiguous_heads(value), g = gate.contiguous(), e = with_contiguous_heads(embedding);
    Tensor y = empty_by_head(value);
    NOCTURNE_CALL(gated_value_forward, v, v, g, e, y);
    context->save_for_backward({g, e});
    return y;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    once();
    const auto saved = context->get_saved_variables();
    const Tensor dy = with_contiguous_heads(gradients[0]);
    Tensor dgate = at::empty_like(saved[0]), dembedding = at::empty(saved[1].sizes(), saved[1].options());
    NOCTURNE_CALL(gated_value_backward, dy, dy, saved[0], saved[1], dgate, dembedding);
    return {gradients[0], dgate, dembedding};
  }
};

struct SoftcapLoss : Function<SoftcapLoss> {
  static Tensor forward(AutogradContext* context, const Tensor& logits, const Tensor& targets, double cap) {
    Tensor at = logits;
    Tensor losses = statistics(at);
    const double rows = static_cast<double>(at.size(0));
    NOCTURNE_CALL(softcap_loss, at, at, targets, cap, 1.0 / rows, losses);
    // The logits are gone: whoever saved them for a gradient must learn of it.
    at.unsafeGetTensorImpl()->bump_version();
    context->saved_data["gradient"] = at.detach();
    return losses.mean();
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    once();
    Tensor gradient = context->saved_data["gradient"].toTensor();
    TORCH_CHECK(gradient.defined(), "the gradient of softcap_cross_entropy can be taken once: it lies where the logits were");
    context->saved_data.erase("gradient");
    NOCTURNE_CALL(scale, gradient, gradient, gradients[0].to(at::kFloat));
    return {gradient, Tensor(), Tensor()};
  }
};

// Rows, in the shape of the tensor that they belong to but for the columns.
Tensor with_columns(const Tensor& rows, at::IntArrayRef like, int64_t columns) {
  auto shape = like.vec();
  shape.back() = columns;
  return rows.view(shape);
}

// Layers of one input.
struct Linears : Function<Linears> {
  static variable_list forward(AutogradContext* context, const Tensor& x, at::TensorList weights) {
    context->set_materialize_grads(false);
    const Tensor from = as_rows(x);
    variable_list saved = {from}, y, out;
    for (const Tensor& weight : weights) {
      saved.push_back(weight.contiguous());
      y.push_back(at::empty({from.size(0), weight.size(0)}, x.options()));
      out.push_back(with_columns(y.back(), x.sizes(), weight.size(0)));
    }
    cpu::linear_forward(from, at::TensorList(saved).slice(1), y);
    context->save_for_backward(saved);
    return out;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    once();
    const auto saved = context->get_saved_variables();
    const Tensor& x = saved[0];
    // Of the layers that somebody read: their gradients, weights, weights' gradients and places.
    variable_list dy, weights, dweights, out(saved.size());
    std::vector<std::size_t> places;
    for (std::size_t layer = 0; layer < gradients.size(); ++layer) {
      if (!gradients[layer].defined()) continue;
      const Tensor& weight = saved[layer + 1];
      dy.push_back(as_rows(gradients[layer]));
      weights.push_back(weight);
      dweights.push_back(context->needs_input_grad(layer + 1) ? at::empty_like(weight) : Tensor());
      places.push_back(layer);
    }
    if (places.empty()) return out;
    Tensor dx = context->needs_input_grad(0) ? at::empty_like(x) : Tensor();
    cpu::linear_backward(dy, x, weights, dx, dweights);
    if (dx.defined()) out[0] = with_columns(dx, gradients[places[0]].sizes(), x.size(1));
    for (std::size_t i = 0; i < places.size(); ++i) out[places[i] + 1] = dweights[i];
    return out;
  }
};

Activations activations(const Tensor& x) { return {static_cast<Bf16*>(x.data_ptr()), {x.stride(0), x.stride(1), x.stride(2)}}; }

// The CPU's kernel reads two neighbours as one word.
Tensor by_words(const Tensor& x) {
  const bool even = x.stride(0) % 2 == 0 && x.stride(1) % 2 == 0 && x.stride(2) % 2 == 0 && x.storage_offset() % 2 == 0;
  return x.stride(-1) == 1 && even ? x : x.contiguous();
}

struct Attention : Function<Attention> {
  static Tensor forward(AutogradContext* context, const Tensor& query, const Tensor& key, const Tensor& value, int64_t window,
                        double scale) {
    const Tensor q = by_words(query), k = by_words(key), v = by_words(value);
    const AttentionShape shape = {q.size(0), q.size(1), q.size(2), q.size(3), window, static_cast<float>(scale)};
    Tensor out = at::empty(q.sizes(), q.options());
    Tensor level = at::empty({shape.batch, shape.heads, shape.times}, q.options().dtype(at::kFloat));
    cpu::share_out(shape.batch * shape.heads, [&](int64_t head) {
      attention_forward(shape, activations(q), activations(k), activations(v), activations(out), level.data_ptr<float>(), head, head + 1);
    });
    context->save_for_backward({q, k, v, out, level});
    context->saved_data["window"] = window;
    context->saved_data["scale"] = scale;
    return out;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    once();
    const auto saved = context->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], dout = by_words(gradients[0]);
    const AttentionShape shape = {q.size(0), q.size(1), q.size(2), q.size(3), context->saved_data["window"].toInt(),
                                  static_cast<float>(context->saved_data["scale"].toDouble())};
    Tensor dq = empty_by_head(q), dk = empty_by_head(k), dv = at::empty(v.sizes(), v.options());
    cpu::share_out(shape.batch * shape.heads, [&](int64_t head) {
      attention_backward(shape, activations(q), activations(k), activations(v), activations(out), activations(dout),
                         saved[4].data_ptr<float>(), activations(dq), activations(dk), activations(dv), head, head + 1);
    });
    return {dq, dk, dv, Tensor(), Tensor()};
  }
};

thread_local std::string last_error;

// Runs f; an exception becomes a text for nocturne_kernels_error.
template <typename F>
bool guarded(F f) {
  try {
    f();
    return true;
  } catch (const c10::Error& error) {
    last_error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "an exception that is not a std::exception";
  }
  return false;
}

template <typename F>
Tensor* one(F f) {
  Tensor* result = nullptr;
  return guarded([&] { result = new Tensor(f()); }) ? result : nullptr;
}

template <typename F>
bool two(Tensor** out, F f) {
  return guarded([&] {
    const variable_list both = f();
    out[0] = new Tensor(both[0]);
    out[1] = new Tensor(both[1]);
  });
}

}  // namespace
}  // namespace nocturne

// What Rust calls. Tensors come as torch-sys has them; new ones are the caller's to free. Null or false: nocturne_kernels_error says why.
extern "C" {

using nocturne::guarded;
using nocturne::one;
using nocturne::two;
using at::Tensor;

const char* nocturne_kernels_error() { return nocturne::last_error.c_str(); }
const char* nocturne_kernels_instruction_set() { return nocturne::rows().name; }
bool nocturne_kernels_polar_available() { return nocturne::polar_available(); }
bool nocturne_kernels_linear_available() { return nocturne::linear_available(); }
bool nocturne_kernels_attention_available() { return nocturne::attention_available(); }

Tensor* nocturne_norm(Tensor* x, double epsilon) {
  return one([&] { return nocturne::Norm::apply(*x, epsilon); });
}
bool nocturne_add_norm(Tensor** out, Tensor* x, Tensor* branch, double epsilon) {
  return two(out, [&] { return nocturne::AddNorm::apply(*x, *branch, epsilon); });
}
bool nocturne_mix_norm(Tensor** out, Tensor* x, Tensor* a, Tensor* x0, Tensor* b, double epsilon) {
  return two(out, [&] { return nocturne::MixNorm::apply(*x, *a, *x0, *b, epsilon); });
}
Tensor* nocturne_rotary_norm(Tensor* x, Tensor* cos, Tensor* sin, double epsilon) {
  return one([&] { return nocturne::RotaryNorm::apply(*x, *cos, *sin, epsilon); });
}
// out, weights: count tensors.
bool nocturne_linears(Tensor** out, Tensor* x, Tensor* const* weights, int64_t count) {
  return guarded([&] {
    std::vector<Tensor> all;
    for (int64_t i = 0; i < count; ++i) all.push_back(*weights[i]);
    const auto made = nocturne::Linears::apply(*x, at::TensorList(all));
    for (int64_t i = 0; i < count; ++i) out[i] = new Tensor(made[static_cast<std::size_t>(i)]);
  });
}
Tensor* nocturne_squared_relu(Tensor* x) {
  return one([&] { return nocturne::SquaredRelu::apply(*x); });
}
Tensor* nocturne_gated_value(Tensor* value, Tensor* gate, Tensor* embedding) {
  return one([&] { return nocturne::GatedValue::apply(*value, *gate, *embedding); });
}
Tensor* nocturne_softcap_loss(Tensor* logits, Tensor* targets, double cap) {
  return one([&] { return nocturne::SoftcapLoss::apply(*logits, *targets, cap); });
}
Tensor* nocturne_attention(Tensor* query, Tensor* key, Tensor* value, int64_t window, double scale) {
  return one([&] { return nocturne::Attention::apply(*query, *key, *value, window, scale); });
}
bool nocturne_kernels_windowed_available(Tensor* x) { return nocturne::cuda::windowed_available(*x); }
Tensor* nocturne_windowed_attention(Tensor* query, Tensor* key, Tensor* value, int64_t window, double scale) {
  return one([&] { return nocturne::cuda::windowed_attention(*query, *key, *value, window, scale); });
}
// Null where that fails; to be given to nocturne_late_free.
nocturne::cuda::Late* nocturne_late(Tensor* x) {
  nocturne::cuda::Late* late = nullptr;
  return guarded([&] { late = new nocturne::cuda::Late(*x); }) ? late : nullptr;
}
bool nocturne_late_read(const nocturne::cuda::Late* late, double* value) {
  return guarded([&] { *value = late->read(); });
}
// On a device that has failed, giving pinned memory back would end the process before it could say why: it is left then.
void nocturne_late_free(nocturne::cuda::Late* late) {
  if (guarded([&] { late->wait(); })) delete late;
}
// -1 where it is not known.
bool nocturne_peak_memory(int device, int64_t* bytes) {
  return guarded([&] { *bytes = nocturne::cuda::peak_memory(device).value_or(-1); });
}
bool nocturne_muon_look(Tensor* gradient, Tensor* momentum, double mu, Tensor* look, Tensor* squares) {
  return guarded([&] { NOCTURNE_CALL(muon_look, *gradient, *gradient, *momentum, mu, *look, *squares); });
}
// coefficients: 3 * count numbers.
bool nocturne_polar_express(Tensor* x, const float* coefficients, int64_t count) {
  return guarded([&] {
    std::vector<nocturne::PolarStep> steps;
    for (int64_t i = 0; i < count; ++i) steps.push_back({coefficients[3 * i], coefficients[3 * i + 1], coefficients[3 * i + 2]});
    const int64_t rows = x->size(1), columns = x->size(2);
    auto* data = static_cast<nocturne::Bf16*>(x->data_ptr());
    nocturne::cpu::share_out(x->size(0), [&](int64_t member) {
      nocturne::polar_express(data + member * rows * columns, rows, columns, steps.data(), count);
    });
  });
}
bool nocturne_normuon(Tensor* direction, Tensor* second, double beta2) {
  return guarded([&] { NOCTURNE_CALL(normuon, *direction, *direction, *second, beta2); });
}
bool nocturne_cautious_update(Tensor* update, double rate, double decay, Tensor* parameter) {
  return guarded([&] { NOCTURNE_CALL(cautious_update, *parameter, *update, rate, decay, *parameter); });
}
bool nocturne_adamw(Tensor* parameter, Tensor* gradient, Tensor* mean, Tensor* square, double rate, double beta1, double beta2,
                    double epsilon, double decay, double bias1, double bias2) {
  return guarded([&] {
    NOCTURNE_CALL(adamw, *parameter, *parameter, *gradient, *mean, *square, rate, beta1, beta2, epsilon, decay, bias1, bias2);
  });
}
bool nocturne_kernels_cuda_available(Tensor* x) { return nocturne::cuda::available(*x); }
const char* nocturne_kernels_cuda_why_not() { return nocturne::cuda::why_not(); }
bool nocturne_kernels_prepare(const char* folder, int device) {
  return guarded([&] { nocturne::cuda::prepare_cache(folder, device); });
}
}
