// The optimizer's passes over memory. A stack's members are blockIdx.y.

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "choice.h"
#include "launch.h"

namespace nocturne::NOCTURNE_DEVICE_NAMESPACE {
namespace {

using at::Tensor;
using namespace nocturne_kernels;

constexpr unsigned THREADS = 256;
// Partial sums of one member at most, and what fills a device.
constexpr int64_t MOST_BLOCKS = 1024;
// The most of blockIdx.y that CUDA allows.
constexpr int64_t MOST_MEMBERS = 65535;

struct Stack {
  int64_t members;
  unsigned rows;
  unsigned columns;
};

Stack stack_of(const Tensor& x) {
  TORCH_CHECK(x.size(0) <= MOST_MEMBERS, "a stack of ", x.size(0), " matrices; the kernels take ", MOST_MEMBERS, ", so split it");
  return {x.size(0), small(x.size(1), "the number of rows"), small(x.size(2), "the number of columns")};
}

Tensor scratch(const Tensor& x, at::IntArrayRef shape) { return at::empty(shape, x.options().dtype(at::kFloat)); }

}  // namespace

void muon_look(const Tensor& gradient, Tensor& momentum, double mu, Tensor& look, Tensor& squares) {
  const Stack stack = stack_of(gradient);
  if (stack.members == 0) return;
  const int64_t size = static_cast<int64_t>(stack.rows) * stack.columns;
  const int64_t elements = fits(size, 4, {gradient, momentum, look}) ? 4 : 1;
  const int64_t most = std::max<int64_t>(1, MOST_BLOCKS / stack.members);
  const int64_t blocks = std::clamp<int64_t>(divided_up(size, elements * THREADS), 1, most);
  Tensor partial = scratch(gradient, {stack.members, blocks});
  launch(gradient, variant("muon_look", kind_name(look), elements), {blocks, stack.members, THREADS},
         MuonLook{gradient.const_data_ptr<float>(), momentum.data_ptr<float>(), look.data_ptr(), partial.data_ptr<float>(),
                  static_cast<unsigned long long>(size), static_cast<float>(mu), static_cast<float>(1.0 - mu)});
  launch(gradient, "sum_partials", {stack.members, 1, THREADS},
         SumPartials{partial.const_data_ptr<float>(), squares.data_ptr<float>(), nullptr, static_cast<unsigned>(blocks)});
}

void normuon(Tensor& direction, Tensor& second, double beta2) {
  const Stack stack = stack_of(direction);
  if (direction.numel() == 0) return;
  const bool by_rows = stack.rows >= stack.columns;
  const unsigned lines = by_rows ? stack.rows : stack.columns;
  const int64_t length = by_rows ? stack.columns : stack.rows;
  const int64_t elements = fits(stack.columns, 4, {direction}) ? 4 : 1;
  const char* kind = kind_name(direction);

  Tensor squares = scratch(direction, {stack.members, lines}), scales = scratch(direction, {stack.members, lines});
  const MuonSquares of{direction.const_data_ptr(), squares.data_ptr<float>(), stack.rows, stack.columns};
  if (by_rows) {
    constexpr int64_t ROWS_PER_BLOCK = 4;
    launch(direction, variant("muon_row_squares", kind, elements), {divided_up(stack.rows, ROWS_PER_BLOCK), stack.members, 128}, of);
  } else {
    constexpr int64_t COLUMNS_PER_BLOCK = 32;
    launch(direction, std::string("muon_column_squares_") + kind, {divided_up(stack.columns, COLUMNS_PER_BLOCK), stack.members, THREADS},
           of);
  }
  launch(direction, "muon_scales", {1, stack.members, THREADS},
         MuonScales{squares.const_data_ptr<float>(), second.data_ptr<float>(), scales.data_ptr<float>(), lines,
                    static_cast<float>(length), static_cast<float>(1.0 - beta2)});
  const int64_t accesses = static_cast<int64_t>(stack.rows) * (stack.columns / elements);
  launch(direction, variant("muon_scale", kind, elements), {divided_up(accesses, THREADS), stack.members, THREADS},
         MuonScale{direction.data_ptr(), scales.const_data_ptr<float>(), stack.rows, stack.columns, by_rows ? 1u : 0u});
}

void cautious_update(const Tensor& update, double rate, double decay, Tensor& parameter) {
  if (update.numel() == 0) return;
  const int64_t elements = fits(0, 4, {update, parameter}) ? 4 : 1;
  launch(update, variant("cautious_update", kind_name(update), elements), points(update.numel(), elements),
         CautiousUpdate{update.const_data_ptr(), parameter.data_ptr<float>(), static_cast<unsigned long long>(update.numel()),
                        static_cast<float>(rate), static_cast<float>(rate * decay)});
}

void adamw(Tensor& parameter, const Tensor& gradient, Tensor& mean, Tensor& square, double rate, double beta1, double beta2,
           double epsilon, double decay, double bias1, double bias2) {
  const int64_t count = parameter.numel();
  if (count == 0) return;
  const int64_t elements = fits(0, 4, {parameter, gradient, mean, square}) ? 4 : 1;
  launch(parameter, elements == 4 ? "adamw_4" : "adamw_1", points(count, elements),
         AdamW{parameter.data_ptr<float>(), gradient.const_data_ptr<float>(), mean.data_ptr<float>(), square.data_ptr<float>(),
               static_cast<unsigned long long>(count), static_cast<float>(1.0 - rate * decay), static_cast<float>(rate / bias1),
               static_cast<float>(1.0 - beta1), static_cast<float>(beta2), static_cast<float>(1.0 - beta2),
               static_cast<float>(1.0 / std::sqrt(bias2)), static_cast<float>(epsilon)});
}

}  // namespace nocturne::NOCTURNE_DEVICE_NAMESPACE
