// See layers.h. What is done with a part stands in linear.cpp.

#include "layers.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <vector>

#include "linear.h"
#include "threads.h"

namespace nocturne::cpu {
namespace {

using at::Tensor;
using Index = std::int64_t;

// Rows that a thread takes at once: enough to read what is packed from the processor's second cache, and few enough for threads to end
// together.
constexpr Index ROWS = 24;
// Sides of a weight's gradient that a thread takes at once, and their product: what is packed for it, and its sums, fit into that cache.
constexpr Index TILE_SIDE = 512, TILE_AREA = 1 << 17;

const Bf16* halves(const Tensor& x) { return static_cast<const Bf16*>(x.data_ptr()); }
Bf16* halves_of(Tensor& x) { return static_cast<Bf16*>(x.data_ptr()); }
std::uint32_t* words(const Tensor& x) { return static_cast<std::uint32_t*>(x.data_ptr()); }

Index divided(Index count, Index by) { return (count + by - 1) / by; }
Index halved(Index side) { return divided(side, 2 * LINEAR_PANEL) * LINEAR_PANEL; }

LinearShape shape_of(const Tensor& x, const Tensor& weight) { return {x.size(0), weight.size(1), weight.size(0)}; }

// All weights, packed: `pack` (linear_pack_outputs or linear_pack_inputs) packs a panel of the side that it works along.
template <typename F>
std::vector<Tensor> packed_weights(const Tensor& x, at::TensorList weights, Index side, F pack) {
  std::vector<Tensor> packed;
  Index panels = 0;
  for (const Tensor& weight : weights) {
    packed.push_back(at::empty(weight.sizes(), x.options()));
    panels += weight.size(side) / LINEAR_PANEL;
  }
  share_out(panels, [&](Index panel) {
    std::size_t layer = 0;
    for (; panel >= weights[layer].size(side) / LINEAR_PANEL; ++layer) panel -= weights[layer].size(side) / LINEAR_PANEL;
    pack(weights[layer].const_data_ptr<float>(), shape_of(x, weights[layer]), panel * LINEAR_PANEL, words(packed[layer]));
  });
  return packed;
}

// A part of the gradient of one weight.
struct WeightPart {
  std::size_t layer;
  LinearTile tile;
};

// Adds the parts of a gradient, at least so many.
void add_parts(std::vector<WeightPart>& parts, std::size_t layer, LinearShape shape, Index least) {
  Index outputs = std::min(TILE_SIDE, shape.outputs), inputs = std::min(TILE_SIDE, shape.inputs);
  const auto tiles = [&] { return divided(shape.outputs, outputs) * divided(shape.inputs, inputs); };
  while ((outputs * inputs > TILE_AREA || tiles() < least) && std::max(outputs, inputs) > LINEAR_PANEL) {
    Index& longer = outputs >= inputs ? outputs : inputs;
    longer = halved(longer);
  }
  for (Index output = 0; output < shape.outputs; output += outputs) {
    for (Index input = 0; input < shape.inputs; input += inputs) {
      parts.push_back({layer, {output, std::min(outputs, shape.outputs - output), input, std::min(inputs, shape.inputs - input)}});
    }
  }
}

}  // namespace

void linear_forward(const Tensor& x, at::TensorList weights, std::vector<Tensor>& y) {
  const std::vector<Tensor> packed = packed_weights(x, weights, 0, linear_pack_outputs);
  const Index rows = x.size(0);
  share_out(divided(rows, ROWS), [&](Index task) {
    for (std::size_t layer = 0; layer < y.size(); ++layer) {
      const LinearTerm term = {halves(x), x.size(1), words(packed[layer])};
      linear_rows(&term, 1, y[layer].size(1), halves_of(y[layer]), task * ROWS, std::min(rows, (task + 1) * ROWS));
    }
  });
}

void linear_backward(at::TensorList dy, const Tensor& x, at::TensorList weights, Tensor& dx, std::vector<Tensor>& dweights) {
  std::vector<Tensor> packed;
  std::vector<LinearTerm> terms;
  if (dx.defined()) {
    packed = packed_weights(x, weights, 1, linear_pack_inputs);
    for (std::size_t layer = 0; layer < dy.size(); ++layer) {
      terms.push_back({halves(dy[layer]), dy[layer].size(1), words(packed[layer])});
    }
  }
  std::vector<WeightPart> parts;
  // Where rows come after them, those let threads end together.
  const Index least = (dx.defined() ? 1 : 2) * at::get_num_threads();
  for (std::size_t layer = 0; layer < dy.size(); ++layer) {
    if (dweights[layer].defined()) add_parts(parts, layer, shape_of(x, weights[layer]), least);
  }
  const Index large = static_cast<Index>(parts.size()), rows = x.size(0), small = dx.defined() ? divided(rows, ROWS) : 0;
  share_out(large + small, [&](Index task) {
    if (task < large) {
      const auto& [layer, tile] = parts[static_cast<std::size_t>(task)];
      linear_weight_gradient(halves(dy[layer]), halves(x), shape_of(x, weights[layer]), tile, dweights[layer].data_ptr<float>());
    } else {
      const Index begin = (task - large) * ROWS;
      linear_rows(terms.data(), static_cast<Index>(terms.size()), dx.size(1), halves_of(dx), begin, std::min(rows, begin + ROWS));
    }
  });
}

}  // namespace nocturne::cpu
