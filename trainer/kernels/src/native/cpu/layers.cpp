// See layers.h. What is done with a part stands in linear.cpp.

#include "layers.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "linear.h"
#include "threads.h"

namespace nocturne::cpu {
namespace {

using at::Tensor;
using Index = std::int64_t;

// Rows that a thread takes at once: few enough for the processor's second cache, and for threads to end together.
constexpr Index ROWS = 48;
// Sides of a weight's gradient that a thread takes at once, and their product: what is packed for it, and its sums, fit into that cache.
// There are two tiles or more for each thread.
constexpr Index TILE_SIDE = 512, TILE_AREA = 1 << 17;

const Bf16* halves(const Tensor& x) { return static_cast<const Bf16*>(x.data_ptr()); }
std::uint32_t* words(const Tensor& x) { return static_cast<std::uint32_t*>(x.data_ptr()); }

Index divided(Index count, Index by) { return (count + by - 1) / by; }
Index halved(Index side) { return divided(side, 2 * LINEAR_PANEL) * LINEAR_PANEL; }

// All rows times a packed weight.
void by_rows(const Tensor& from, const Tensor& packed, Tensor& to) {
  const Index rows = from.size(0), length = from.size(1), columns = to.size(1);
  auto* out = static_cast<Bf16*>(to.data_ptr());
  share_out(divided(rows, ROWS), [&](Index task) {
    linear_rows(halves(from), length, words(packed), columns, out, task * ROWS, std::min(rows, (task + 1) * ROWS));
  });
}

}  // namespace

void linear_forward(const Tensor& x, const Tensor& weight, Tensor& y) {
  const LinearShape shape = {x.size(0), x.size(1), y.size(1)};
  const Tensor packed = at::empty({shape.outputs, shape.inputs}, x.options());
  share_out(shape.outputs / LINEAR_PANEL, [&](Index panel) {
    linear_pack_outputs(weight.const_data_ptr<float>(), shape, panel * LINEAR_PANEL, words(packed));
  });
  by_rows(x, packed, y);
}

void linear_backward(const Tensor& dy, const Tensor& weight, Tensor& dx) {
  const LinearShape shape = {dy.size(0), dx.size(1), dy.size(1)};
  const Tensor packed = at::empty({shape.outputs, shape.inputs}, dy.options());
  share_out(shape.inputs / LINEAR_PANEL, [&](Index panel) {
    linear_pack_inputs(weight.const_data_ptr<float>(), shape, panel * LINEAR_PANEL, words(packed));
  });
  by_rows(dy, packed, dx);
}

void linear_weight_backward(const Tensor& dy, const Tensor& x, Tensor& dweight) {
  const LinearShape shape = {x.size(0), x.size(1), dy.size(1)};
  Index outputs = std::min(TILE_SIDE, shape.outputs), inputs = std::min(TILE_SIDE, shape.inputs);
  const auto tiles = [&] { return divided(shape.outputs, outputs) * divided(shape.inputs, inputs); };
  while ((outputs * inputs > TILE_AREA || tiles() < 2 * at::get_num_threads()) && std::max(outputs, inputs) > LINEAR_PANEL) {
    Index& longer = outputs >= inputs ? outputs : inputs;
    longer = halved(longer);
  }
  const Index across = divided(shape.inputs, inputs);
  share_out(tiles(), [&](Index task) {
    const Index output = task / across * outputs, input = task % across * inputs;
    const LinearTile tile = {output, std::min(outputs, shape.outputs - output), input, std::min(inputs, shape.inputs - input)};
    linear_weight_gradient(halves(dy), halves(x), shape, tile, dweight.data_ptr<float>());
  });
}

}  // namespace nocturne::cpu
