// The optimizer's kernels against plain float64 code.

#include <ATen/ATen.h>

#include <cmath>

#include "backend.h"
#include "tests.h"
#include "values.h"

namespace nocturne::check {
namespace {

using at::Tensor;
using Tensors = std::vector<Tensor>;

Tensor rounded(const Tensor& x, at::ScalarType kind) { return x.to(kind).to(at::kDouble); }

// NorMuon as the optimizer's plain form has it; gives the direction and the moved running squares.
Tensors evened(const Tensor& direction, const Tensor& second, double beta2) {
  const bool by_rows = direction.size(1) >= direction.size(2);
  const double length = static_cast<double>(direction.size(by_rows ? 2 : 1));
  const Tensor square = direction.square().mean(by_rows ? 2 : 1, true);
  const Tensor norm = (square.sum({1, 2}, true) * length).sqrt();
  const Tensor moved = second + (square - second) * (1.0 - beta2);
  const Tensor scale = moved.clamp_min(1e-10).rsqrt();
  const Tensor scaled = (square * length * scale.square()).sum({1, 2}, true);
  return {direction * (scale * (norm / scaled.sqrt().clamp_min(1e-10))), moved};
}

}  // namespace

void muon(const Backend& backend) {
  constexpr int64_t STACKS[][3] = {{2, 8, 4}, {3, 5, 7}, {1, 64, 256}, {2, 40, 33}, {2, 100, 100}, {1, 1, 9}};
  for (const at::ScalarType kind : KINDS) {
    for (const int64_t offset : OFFSETS) {
      for (const auto& sizes : STACKS) {
        const at::IntArrayRef shape(sizes, 3);
        Random random(6);
        const std::string suffix = std::string(" of ") + c10::toString(kind) + " " + std::to_string(shape[1]) + "x" + std::to_string(shape[2]);
        const double mu = 0.95;
        const Tensor gradient = rounded(random.normal(shape), at::kFloat), momentum = rounded(random.normal(shape), at::kFloat);
        const Tensor moved = momentum + (gradient - momentum) * (1.0 - mu), look = gradient + (moved - gradient) * mu;
        std::string what = "muon_look" + suffix;
        Tensors got = repeatable(backend, what, [&] {
          Arena arena(backend.device);
          Tensor state = arena.place(momentum, at::kFloat, offset), out = arena.empty(shape, kind, offset),
                 squares = arena.empty({shape[0]}, at::kFloat);
          backend.muon_look(arena.place(gradient, at::kFloat, offset), state, mu, out, squares);
          arena.intact(what);
          return Tensors{state, out, squares};
        });
        close(what + ", momentum", got[0], moved, tolerance(at::kFloat));
        close(what, got[1], look, tolerance(kind));
        // Of the look as it is stored.
        close(what + ", squares", got[2], got[1].to(at::kCPU).to(at::kDouble).square().sum({1, 2}), tolerance(at::kFloat));

        const Tensor direction = rounded(random.normal(shape) * 0.1, kind);
        const bool by_rows = shape[1] >= shape[2];
        const Tensor second = rounded(random.normal({shape[0], by_rows ? shape[1] : 1, by_rows ? 1 : shape[2]}).square(), at::kFloat);
        const Tensors wanted = evened(direction, second, 0.9);
        what = "normuon" + suffix;
        got = repeatable(backend, what, [&] {
          Arena arena(backend.device);
          Tensor state = arena.place(second, at::kFloat), in_place = arena.place(direction, kind, offset);
          backend.normuon(in_place, state, 0.9);
          arena.intact(what);
          return Tensors{in_place, state};
        });
        close(what, got[0], wanted[0], tolerance(kind));
        close(what + ", second", got[1], wanted[1], tolerance(at::kFloat));
      }
    }
  }
}

void cautious_update(const Backend& backend) {
  for (const at::ScalarType kind : KINDS) {
    for (const int64_t offset : OFFSETS) {
      for (const int64_t count : {1, 6, 64, 2051}) {
        Random random(8);
        const Tensor update = rounded(random.normal({count}), kind), parameter = rounded(random.normal({count}), at::kFloat);
        const double rate = 0.02, decay = 0.2;
        const Tensor wanted = parameter - (update * rate + parameter * (rate * decay) * (update * parameter).ge(0.0).to(at::kDouble));
        const std::string what = "cautious_update of " + std::to_string(count) + ", offset " + std::to_string(offset);
        const Tensors got = repeatable(backend, what, [&] {
          Arena arena(backend.device);
          Tensor weights = arena.place(parameter, at::kFloat, offset);
          backend.cautious_update(arena.place(update, kind, offset), rate, decay, weights);
          arena.intact(what);
          return Tensors{weights};
        });
        close(what, got[0], wanted, tolerance(at::kFloat));
        close(what + ", change", got[0].to(at::kCPU).to(at::kDouble) - parameter, wanted - parameter, {1e-4, 1e-4});
      }
    }
  }
}

void adamw(const Backend& backend) {
  for (const int64_t offset : OFFSETS) {
    for (const int64_t count : {1, 6, 64, 2051}) {
      Random random(7);
      const Tensor parameter = rounded(random.normal({count}), at::kFloat), gradient = rounded(random.normal({count}), at::kFloat),
                   mean = rounded(random.normal({count}), at::kFloat), square = rounded(random.normal({count}).square(), at::kFloat);
      const double rate = 0.003, beta1 = 0.8, beta2 = 0.95, epsilon = 1e-10, decay = 0.1, bias1 = 1 - std::pow(beta1, 3),
                   bias2 = 1 - std::pow(beta2, 3);
      const Tensor new_mean = mean + (gradient - mean) * (1 - beta1), new_square = square * beta2 + gradient.square() * (1 - beta2);
      const Tensor wanted = parameter * (1 - rate * decay) - new_mean * (rate / bias1) / (new_square.sqrt() / std::sqrt(bias2) + epsilon);
      const std::string what = "adamw of " + std::to_string(count) + ", offset " + std::to_string(offset);
      const Tensors got = repeatable(backend, what, [&] {
        Arena arena(backend.device);
        Tensor p = arena.place(parameter, at::kFloat, offset), m = arena.place(mean, at::kFloat, offset),
               s = arena.place(square, at::kFloat, offset);
        backend.adamw(p, arena.place(gradient, at::kFloat, offset), m, s, rate, beta1, beta2, epsilon, decay, bias1, bias2);
        arena.intact(what);
        return Tensors{p, m, s};
      });
      close(what, got[0], wanted, tolerance(at::kFloat));
      close(what + ", mean", got[1], new_mean, tolerance(at::kFloat));
      close(what + ", square", got[2], new_square, tolerance(at::kFloat));
    }
  }
}

void empty_tensors(const Backend& backend) {
  const auto floats = at::device(backend.device).dtype(at::kFloat);
  Tensor rows = at::empty({0, 8}, floats), out = at::empty({0, 8}, floats), none = at::empty({0}, floats);
  Tensor a = at::ones({1}, floats), da = at::full({1}, NAN, floats), db = at::full({1}, NAN, floats);
  backend.norm_forward(rows, out, none, 1e-5);
  backend.norm_backward(rows, rows, none, Tensor(), out);
  backend.mix_norm_backward(rows, Tensor(), rows, none, rows, a, rows, a, out, out, da, db);
  require(da.item<float>() == 0.0f && db.item<float>() == 0.0f, "sums over no rows are not zero");
  Tensor heads = at::empty({2, 0, 3, 8}, floats), statistics = at::empty({2, 0, 3}, floats), table = at::empty({0, 4}, floats);
  backend.rotary_norm_forward(heads, table, table, heads, statistics, 1e-5);
  backend.rotary_norm_backward(heads, heads, statistics, table, table, heads);
  backend.gated_value_forward(heads, statistics, heads, heads);
  backend.gated_value_backward(heads, statistics, heads, statistics, heads);
  backend.squared_relu_forward(none, none);
  backend.squared_relu_backward(none, none, none);
  backend.scale(none, a);
  backend.softcap_loss(rows, at::empty({0}, floats.dtype(at::kLong)), 15.0, 1.0, none);
  Tensor stack = at::empty({0, 4, 4}, floats), second = at::empty({0, 4, 1}, floats);
  backend.muon_look(stack, stack, 0.9, stack, none);
  backend.normuon(stack, second, 0.9);
  backend.cautious_update(none, 0.1, 0.1, none);
  backend.adamw(none, none, none, none, 0.1, 0.9, 0.9, 1e-8, 0.0, 0.1, 0.1);
}

}  // namespace nocturne::check
