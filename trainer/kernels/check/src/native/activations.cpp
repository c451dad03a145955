// The kernels of the forward and backward pass against plain float64 code; gradients against autograd's of that code.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "backend.h"
#include "cuda/windowed.h"
#include "tests.h"
#include "values.h"

namespace nocturne::check {
namespace {

using at::Tensor;
using Tensors = std::vector<Tensor>;

constexpr double EPSILON = 1e-5;

// Widths that meet every variant of both kinds: single elements, few and many accesses in registers, more than registers hold.
constexpr int64_t SHAPES[][2] = {{1, 1}, {3, 7}, {5, 64}, {9, 512}, {2, 520}, {6, 1000}, {3, 2048}, {2, 2504}, {1, 513}, {130, 16}};

Tensor normed(const Tensor& x) { return x * (x.square().mean(-1, true) + EPSILON).rsqrt(); }
Tensor inverse_of(const Tensor& x) { return (x.square().mean(-1) + EPSILON).rsqrt(); }
Tensor rounded(const Tensor& x, at::ScalarType kind) { return x.to(kind).to(at::kDouble); }
Tensor traced(const Tensor& x) { return x.clone().requires_grad_(true); }

// Gradients of norms are differences; y, which they take as it was stored, is one of their terms.
Tolerance of_difference(at::ScalarType kind) { return {tolerance(kind).relative, kind == at::kFloat ? 1e-5 : 2e-2}; }

std::string named(const char* what, at::ScalarType kind, int64_t offset, at::IntArrayRef shape) {
  std::string text = std::string(what) + " of " + c10::toString(kind) + " [";
  for (const int64_t size : shape) text += (text.back() == '[' ? "" : ", ") + std::to_string(size);
  return text + "], offset " + std::to_string(offset);
}

template <typename F>
void each_case(F f) {
  for (const at::ScalarType kind : KINDS) {
    for (const int64_t offset : OFFSETS) {
      for (const auto& shape : SHAPES) f(kind, offset, at::IntArrayRef(shape, 2));
    }
  }
}

}  // namespace

void norms(const Backend& backend) {
  each_case([&](at::ScalarType kind, int64_t offset, at::IntArrayRef shape) {
    Random random(1);
    const Tensor x = traced(rounded(random.normal(shape) * 3.0, kind)), dy = rounded(random.normal(shape), kind),
                 dsum = rounded(random.normal(shape), kind);
    const Tensor y = normed(x), dx = torch::autograd::grad({y}, {x}, {dy})[0];
    const std::string forward = named("norm_forward", kind, offset, shape), backward = named("norm_backward", kind, offset, shape);
    const Tensors got = repeatable(backend, forward, [&] {
      Arena arena(backend.device);
      Tensor out = arena.empty(shape, kind, offset), inverse = arena.empty({shape[0]}, at::kFloat);
      backend.norm_forward(arena.place(x, kind, offset), out, inverse, EPSILON);
      arena.intact(forward);
      return Tensors{out, inverse};
    });
    close(forward, got[0], y, tolerance(kind));
    close(forward + ", inverse", got[1], inverse_of(x), tolerance(at::kFloat));
    for (const bool with_sum : {false, true}) {
      const Tensors gradient = repeatable(backend, backward, [&] {
        Arena arena(backend.device);
        Tensor out = arena.empty(shape, kind, offset);
        backend.norm_backward(arena.place(dy, kind, offset), arena.place(y, kind, offset), arena.place(inverse_of(x), at::kFloat),
                              with_sum ? arena.place(dsum, kind, offset) : Tensor(), out);
        arena.intact(backward);
        return Tensors{out};
      });
      close(backward, gradient[0], with_sum ? dx + dsum : dx, of_difference(kind), root_mean_square(dy * inverse_of(x).unsqueeze(1)));
    }
  });
}

void norms_of_sums(const Backend& backend) {
  each_case([&](at::ScalarType kind, int64_t offset, at::IntArrayRef shape) {
    Random random(2);
    const Tensor x = traced(rounded(random.normal(shape), kind)), other = traced(rounded(random.normal(shape), kind));
    const Tensor a = traced(at::full({1}, 0.75, at::kDouble)), b = traced(at::full({1}, -1.25, at::kDouble));
    const Tensor dy = rounded(random.normal(shape), kind), dsum = rounded(random.normal(shape), kind);
    const Tolerance within = {2 * tolerance(kind).relative, tolerance(kind).absolute};

    for (const bool mix : {false, true}) {
      const Tensor sum = mix ? a * x + b * other : x + other, y = normed(sum);
      const std::string what = named(mix ? "mix_norm_forward" : "add_norm_forward", kind, offset, shape);
      const Tensors got = repeatable(backend, what, [&] {
        Arena arena(backend.device);
        Tensor out_sum = arena.empty(shape, kind, offset), out = arena.empty(shape, kind, offset), inverse = arena.empty({shape[0]}, at::kFloat);
        const Tensor from = arena.place(x, kind, offset), more = arena.place(other, kind, offset);
        if (mix) {
          backend.mix_norm_forward(from, arena.place(a, at::kFloat), more, arena.place(b, at::kFloat), out_sum, out, inverse, EPSILON);
        } else {
          backend.add_norm_forward(from, more, out_sum, out, inverse, EPSILON);
        }
        arena.intact(what);
        return Tensors{out_sum, out, inverse};
      });
      close(what + ", sum", got[0], sum, tolerance(kind));
      // Sums of two bfloat16 often lie in the middle between two others: rounding to even shows.
      if (!mix) require(got[0].to(at::kCPU).equal((x.to(at::kFloat) + other.to(at::kFloat)).to(kind)), what + ", sum: not rounded to the nearest");
      close(what, got[1], y, within);
      close(what + ", inverse", got[2], inverse_of(sum), within);
    }

    const Tensor sum = a * x + b * other, y = normed(sum);
    for (const bool with_sum : {false, true}) {
      const Tensors wanted = with_sum ? torch::autograd::grad({y, sum}, {x, other, a, b}, {dy, dsum}, true)
                                      : torch::autograd::grad({y}, {x, other, a, b}, {dy}, true);
      const std::string what = named("mix_norm_backward", kind, offset, shape);
      const Tensors got = repeatable(backend, what, [&] {
        Arena arena(backend.device);
        Tensor dx = arena.empty(shape, kind, offset), dother = arena.empty(shape, kind, offset), da = arena.empty({1}, at::kFloat),
               db = arena.empty({1}, at::kFloat);
        backend.mix_norm_backward(arena.place(dy, kind, offset), with_sum ? arena.place(dsum, kind, offset) : Tensor(),
                                  arena.place(y, kind, offset), arena.place(inverse_of(sum), at::kFloat), arena.place(x, kind, offset),
                                  arena.place(a, at::kFloat), arena.place(other, kind, offset), arena.place(b, at::kFloat), dx, dother, da, db);
        arena.intact(what);
        return Tensors{dx, dother, da, db};
      });
      const double size = root_mean_square(dy * inverse_of(sum).unsqueeze(1));
      close(what + ", dx", got[0], wanted[0], of_difference(kind), size);
      close(what + ", dother", got[1], wanted[1], of_difference(kind), size);
      // Sums of as many terms as there are elements, of either sign: the error grows with their root.
      const double terms = (kind == at::kFloat ? 1e-6 : 4e-3) * std::sqrt(static_cast<double>(x.numel())) * 4;
      require(std::fabs(got[2].item<double>() - wanted[2].item<double>()) < terms, what + ", da");
      require(std::fabs(got[3].item<double>() - wanted[3].item<double>()) < terms, what + ", db");
    }
  });
}

// More rows than the warps of all blocks, which then take several each.
void many_rows(const Backend& backend) {
  Random random(9);
  constexpr int64_t SIZES[] = {5000, 4};
  const at::IntArrayRef shape(SIZES, 2);
  const Tensor x = random.normal(shape).to(at::kFloat), other = random.normal(shape).to(at::kFloat), dsum = random.normal(shape).to(at::kFloat);
  Arena arena(backend.device);
  Tensor dx = arena.empty(x.sizes(), at::kFloat), dother = arena.empty(x.sizes(), at::kFloat), da = arena.empty({1}, at::kFloat),
         db = arena.empty({1}, at::kFloat);
  const Tensor zero = arena.place(at::zeros_like(x), at::kFloat), one = arena.place(at::ones({1}), at::kFloat);
  backend.mix_norm_backward(zero, arena.place(dsum, at::kFloat), zero, arena.place(at::ones({5000}), at::kFloat), arena.place(x, at::kFloat), one,
                            arena.place(other, at::kFloat), one, dx, dother, da, db);
  arena.intact("mix_norm_backward of many rows");
  const auto sum = [&](const Tensor& y) { return (dsum.to(at::kDouble) * y.to(at::kDouble)).sum().reshape({1}); };
  close("mix_norm_backward of many rows", dx, dsum.to(at::kDouble), tolerance(at::kFloat));
  close("mix_norm_backward of many rows, da", da, sum(x), {0.0, 1e-6}, x.numel());
  close("mix_norm_backward of many rows, db", db, sum(other), {0.0, 1e-6}, x.numel());
}

void heads(const Backend& backend) {
  // Widths with a half of one access a thread, of several, and of single elements.
  constexpr int64_t HEADS[][4] = {{2, 3, 2, 128}, {1, 5, 3, 64}, {1, 2, 1, 2}, {2, 2, 2, 12}, {1, 2, 2, 1040}, {1, 3, 2, 96}, {1, 40, 5, 16}};
  for (const at::ScalarType kind : KINDS) {
    for (const int64_t gap : {0, 3, 8}) {
      for (const auto& sizes : HEADS) {
        const at::IntArrayRef shape(sizes, 4);
        Random random(3);
        const int64_t half = shape[3] / 2;
        const Tensor angle = random.normal({shape[1], half}), cosine = angle.cos().to(at::kFloat), sine = angle.sin().to(at::kFloat);
        const Tensor c = cosine.to(at::kDouble).unsqueeze(1), s = sine.to(at::kDouble).unsqueeze(1);
        const Tensor x = traced(rounded(random.normal(shape), kind)), dy = rounded(random.normal(shape), kind);
        const Tensor p = x.narrow(3, 0, half), q = x.narrow(3, half, half);
        const Tensor turned = at::cat({p * c + q * s, q * c - p * s}, 3), y = normed(turned);
        const Tensor dx = torch::autograd::grad({y}, {x}, {dy})[0];
        const auto nothing = [&] { return at::full(shape, NAN, at::kDouble); };

        std::string what = named("rotary_norm_forward", kind, gap, shape);
        Tensors got = repeatable(backend, what, [&] {
          Arena arena(backend.device);
          Tensor out = arena.by_head(nothing(), kind, gap), inverse = arena.empty(shape.slice(0, 3), at::kFloat);
          backend.rotary_norm_forward(arena.by_head(x, kind, gap), arena.place(cosine, at::kFloat), arena.place(sine, at::kFloat), out,
                                      inverse, EPSILON);
          arena.intact(what);
          return Tensors{out, inverse};
        });
        close(what, got[0], y, tolerance(kind));
        close(what + ", inverse", got[1], inverse_of(turned), tolerance(at::kFloat));

        what = named("rotary_norm_backward", kind, gap, shape);
        got = repeatable(backend, what, [&] {
          Arena arena(backend.device);
          Tensor out = arena.place(nothing(), kind);
          backend.rotary_norm_backward(arena.by_head(dy, kind, gap), arena.by_head(y, kind, gap), arena.place(inverse_of(turned), at::kFloat),
                                       arena.place(cosine, at::kFloat), arena.place(sine, at::kFloat), out);
          arena.intact(what);
          return Tensors{out};
        });
        close(what, got[0], dx, of_difference(kind), root_mean_square(dy * inverse_of(turned).unsqueeze(3)));

        const Tensor gate = traced(rounded(random.normal(shape.slice(0, 3)), kind)), embedding = traced(rounded(random.normal(shape), kind));
        const Tensor gated = x + gate.sigmoid().unsqueeze(3) * 2.0 * embedding;
        const Tensors wanted = torch::autograd::grad({gated}, {gate, embedding}, {dy});
        what = named("gated_value_forward", kind, gap, shape);
        got = repeatable(backend, what, [&] {
          Arena arena(backend.device);
          Tensor out = arena.by_head(nothing(), kind, gap);
          backend.gated_value_forward(arena.place(x, kind), arena.place(gate, kind), arena.by_head(embedding, kind, gap), out);
          arena.intact(what);
          return Tensors{out};
        });
        close(what, got[0], gated, tolerance(kind));

        what = named("gated_value_backward", kind, gap, shape);
        got = repeatable(backend, what, [&] {
          Arena arena(backend.device);
          Tensor dgate = arena.empty(shape.slice(0, 3), kind), dembedding = arena.by_head(nothing(), kind, gap);
          backend.gated_value_backward(arena.by_head(dy, kind, gap), arena.place(gate, kind), arena.place(embedding, kind), dgate, dembedding);
          arena.intact(what);
          return Tensors{dgate, dembedding};
        });
        close(what + ", gate", got[0], wanted[0], tolerance(kind));
        close(what + ", embedding", got[1], wanted[1], tolerance(kind));
      }
    }
  }
}

void squared_relu(const Backend& backend) {
  for (const at::ScalarType kind : KINDS) {
    for (const int64_t offset : OFFSETS) {
      for (const int64_t count : {1, 3, 8, 1023, 4096}) {
        Random random(4);
        const Tensor x = traced(rounded(random.normal({count}), kind)), dy = rounded(random.normal({count}), kind);
        const Tensor y = x.relu().square(), dx = torch::autograd::grad({y}, {x}, {dy})[0];
        std::string what = named("squared_relu_forward", kind, offset, {count});
        Tensors got = repeatable(backend, what, [&] {
          Arena arena(backend.device);
          Tensor out = arena.empty({count}, kind, offset);
          backend.squared_relu_forward(arena.place(x, kind, offset), out);
          arena.intact(what);
          return Tensors{out};
        });
        close(what, got[0], y, tolerance(kind));
        what = named("squared_relu_backward", kind, offset, {count});
        got = repeatable(backend, what, [&] {
          Arena arena(backend.device);
          Tensor in_place = arena.place(dy, kind, offset);
          backend.squared_relu_backward(in_place, arena.place(y, kind, offset), in_place);
          arena.intact(what);
          return Tensors{in_place};
        });
        close(what, got[0], dx, tolerance(kind));
      }
    }
  }
}

void scaled(const Backend& backend) {
  for (const at::ScalarType kind : KINDS) {
    for (const int64_t offset : OFFSETS) {
      for (const int64_t count : {1, 3, 8, 1023, 4096}) {
        for (const float factor : {1.0f, 1.0f / 3.0f, 0.0f}) {
          Random random(6);
          const Tensor x = rounded(random.normal({count}), kind);
          const std::string what = named("scale", kind, offset, {count}) + ", by " + std::to_string(factor);
          const Tensors got = repeatable(backend, what, [&] {
            Arena arena(backend.device);
            Tensor in_place = arena.place(x, kind, offset);
            backend.scale(in_place, arena.place(at::full({1}, factor, at::kDouble), at::kFloat));
            arena.intact(what);
            return Tensors{in_place};
          });
          const Tensor wanted = x * static_cast<double>(factor);
          close(what, got[0], wanted, tolerance(kind));
          // A factor that is rounded to bfloat16 first gives other numbers.
          require(got[0].to(at::kCPU).equal((x.to(at::kFloat) * factor).to(kind)), what + ": not rounded to the nearest");
        }
      }
    }
  }
}

void windows(const Backend& backend) {
  if (!backend.device.is_cuda()) {
    require(!nocturne::cuda::windowed_available(at::zeros({1, 8, 2, 64}, at::kBFloat16)), "flash attention is said to take tensors of the CPU");
    return;
  }
  for (const int64_t width : {32, 64, 128}) {
    for (const int64_t window : {0, 1, 63, 64, 500}) {
      Random random(8);
      // For a batch of few rows flash attention chooses another kernel than in training.
      const int64_t shape[] = {window == 63 ? 64 : 2, 450, 3, width};
      const std::string what = "attention over " + std::to_string(window) + " positions, heads of " + std::to_string(width);
      Tensors inputs, exact;
      for (int input = 0; input < 3; ++input) {
        exact.push_back(traced(rounded(random.normal(shape), at::kBFloat16)));
        inputs.push_back(exact.back().detach().to(at::kBFloat16).to(backend.device).requires_grad_(true));
      }
      require(nocturne::cuda::windowed_available(inputs[0]), what + " is not available; standard error says why");
      const double scale = 1.0 / std::sqrt(static_cast<double>(width));
      const Tensor out = nocturne::cuda::windowed_attention(inputs[0], inputs[1], inputs[2], window, scale);
      const Tensor dout = rounded(random.normal(shape), at::kBFloat16);
      const auto gradients = torch::autograd::grad({out}, inputs, {dout.to(at::kBFloat16).to(backend.device)});
      const Tensor place = at::arange(shape[1], at::kLong), distance = place.unsqueeze(1) - place.unsqueeze(0);
      const Tensor hidden = distance.lt(0).logical_or(distance.gt(window));
      const Tensor scores = at::matmul(exact[0].transpose(1, 2), exact[1].permute({0, 2, 3, 1})) * scale;
      const Tensor wanted = at::matmul(scores.masked_fill(hidden, -INFINITY).softmax(-1), exact[2].transpose(1, 2)).transpose(1, 2);
      const auto wanted_gradients = torch::autograd::grad({wanted}, exact, {dout});
      const auto off = [](const Tensor& got, const Tensor& exact) {
        return ((got.detach().to(at::kCPU, at::kDouble) - exact.detach()).norm() / exact.detach().norm().clamp_min(1e-6)).item<double>();
      };
      require(off(out, wanted) < 0.02, what + ": off by " + std::to_string(off(out, wanted)));
      // Of one position's own score the gradient is nothing, and what is left of it rounding.
      for (size_t input = window == 0 ? 2 : 0; input < 3; ++input) {
        const double far = off(gradients[input], wanted_gradients[input]);
        require(far < 0.02, what + ", gradient " + std::to_string(input) + ": off by " + std::to_string(far));
      }
    }
  }
}

void loss(const Backend& backend) {
  // From single elements through all numbers of accesses in registers to more than these hold, in both kinds.
  constexpr int64_t SIZES[][2] = {{3, 5}, {4, 64}, {2, 2048}, {2, 4096}, {2, 8192}, {1, 16384}, {1, 20000}, {1, 32768}, {1, 33000}, {2, 1001}};
  for (const at::ScalarType kind : KINDS) {
    for (const double size : {0.02, 12.0, 300.0}) {
      for (const auto& sizes : SIZES) {
        const at::IntArrayRef shape(sizes, 2);
        Random random(5);
        const double cap = 15.0, scale = 0.125;
        const Tensor logits = traced(rounded(random.normal(shape) * size, kind));
        Tensor targets = at::arange(shape[0], at::kLong).mul_(7919).remainder_(shape[1]);
        targets[0] = shape[1] - 1;
        const Tensor wanted = at::nll_loss((logits / cap).tanh().mul(cap).log_softmax(1), targets, {}, at::Reduction::None);
        const Tensor gradient = torch::autograd::grad({wanted.sum() * scale}, {logits})[0];
        const std::string what = named("softcap_loss", kind, static_cast<int64_t>(size), shape);
        const Tensors got = repeatable(backend, what, [&] {
          Arena arena(backend.device);
          Tensor in_place = arena.place(logits, kind), losses = arena.empty({shape[0]}, at::kFloat);
          backend.softcap_loss(in_place, targets.to(backend.device), cap, scale, losses);
          arena.intact(what);
          return Tensors{in_place, losses};
        });
        close(what + ", losses", got[1], wanted, {1e-5, 1e-5});
        // 1 - tanh^2 of a large logit is a difference of nearly equal numbers, to within 1e-6 whatever the kind.
        close(what + ", gradient", got[0], gradient, {tolerance(kind).relative, 1e-6}, scale);
      }
    }
  }
  Arena arena(backend.device);
  for (const int64_t target : {-1, 8, 1 << 30}) {
    // Behind the first row there is another, so that reading beyond it gives a number.
    Tensor logits = arena.place(at::zeros({2, 8}, at::kDouble), at::kFloat), losses = arena.empty({2}, at::kFloat);
    backend.softcap_loss(logits, at::full({2}, target, at::device(backend.device).dtype(at::kLong)), 15.0, 1.0, losses);
    require(losses.isnan().all().item<bool>(), "the loss of a target outside the vocabulary is a number");
  }
  arena.intact("softcap_loss of a target outside");
}

}  // namespace nocturne::check
