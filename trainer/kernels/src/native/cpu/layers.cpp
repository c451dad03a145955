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
std::uint32_t* words(const Tensor& x) { return static_cast<std::uint32_t*>(x.data_ptr()); }

Index divided(Index count, Index by) { return (count + by - 1) / by; }
Index halved(Index side) { return divided(side, 2 * LINEAR_PANEL) * LINEAR_PANEL; }

LinearShape shape_of(const Tensor& x, const Tensor& weight) { return {x.size(0), weight.size(1), weight.size(0)}; }
Bf16* out(const Tensor& x) { return static_cast<Bf16*>(x.data_ptr()); }

// Calls f(first row, end) for all rows, by parts.
template <typename F>
void by_rows(Index rows, F f) {
  share_out(divided(rows, ROWS), [&](Index task) { f(task * ROWS, std::min(rows, (task + 1) * ROWS)); });
}

// Calls f(layer, first column) for the panels of all layers: `panels` tells how many each has.
template <typename P, typename F>
void by_panels(Index layers, P panels, F f) {
  Index all = 0;
  for (Index layer = 0; layer < layers; ++layer) all += panels(layer);
  share_out(all, [&](Index task) {
    Index layer = 0;
    for (; task >= panels(layer); ++layer) task -= panels(layer);
    f(layer, task * LINEAR_PANEL);
  });
}

// A tile of a weight's gradient, dweight = dy^T x.
struct Part {
  const Tensor &dy, &x, &dweight;
  LinearTile tile;
};

void find(const Part& part) {
  linear_weight_gradient(halves(part.dy), halves(part.x), shape_of(part.x, part.dweight), part.tile, part.dweight.data_ptr<float>());
}

// Tiles for each thread where nothing is left to do after them.
constexpr Index FAIR = 2;

// Adds the tiles of a gradient, so many or more for each thread.
void add_parts(std::vector<Part>& parts, const Tensor& dy, const Tensor& x, const Tensor& dweight, Index for_each) {
  const LinearShape shape = shape_of(x, dweight);
  Index outputs = std::min(TILE_SIDE, shape.outputs), inputs = std::min(TILE_SIDE, shape.inputs);
  const auto tiles = [&] { return divided(shape.outputs, outputs) * divided(shape.inputs, inputs); };
  while ((outputs * inputs > TILE_AREA || tiles() < for_each * at::get_num_threads()) && std::max(outputs, inputs) > LINEAR_PANEL) {
    Index& longer = outputs >= inputs ? outputs : inputs;
    longer = halved(longer);
  }
  for (Index output = 0; output < shape.outputs; output += outputs) {
    for (Index input = 0; input < shape.inputs; input += inputs) {
      const LinearTile tile = {output, std::min(outputs, shape.outputs - output), input, std::min(inputs, shape.inputs - input)};
      parts.push_back({dy, x, dweight, tile});
    }
  }
}

// What a gradient's rows are multiplied by.
std::vector<Tensor> packed_inputs(const Tensor& like, at::TensorList weights) {
  std::vector<Tensor> packed;
  for (const Tensor& weight : weights) packed.push_back(at::empty(weight.sizes(), like.options()));
  by_panels(
      static_cast<Index>(weights.size()), [&](Index layer) { return weights[layer].size(1) / LINEAR_PANEL; },
      [&](Index layer, Index first) {
        linear_pack_inputs(weights[layer].const_data_ptr<float>(), shape_of(like, weights[layer]), first, words(packed[layer]));
      });
  return packed;
}

}  // namespace

void linear_forward(const Tensor& x, at::TensorList weights, at::TensorList y, Activation activation) {
  std::vector<Tensor> packed;
  for (const Tensor& weight : weights) packed.push_back(at::empty(weight.sizes(), x.options()));
  const Index layers = static_cast<Index>(weights.size());
  by_panels(
      layers, [&](Index layer) { return weights[layer].size(0) / LINEAR_PANEL; },
      [&](Index layer, Index first) {
        linear_pack_outputs(weights[layer].const_data_ptr<float>(), shape_of(x, weights[layer]), first, words(packed[layer]));
      });
  by_rows(x.size(0), [&](Index begin, Index end) {
    for (Index layer = 0; layer < layers; ++layer) {
      const LinearTerm term = {halves(x), x.size(1), words(packed[layer])};
      const Index columns = y[layer].size(1);
      Bf16* to = out(y[layer]);
      linear_rows(&term, 1, columns, to, begin, end);
      // While they are in the cache.
      if (activation == Activation::squared_relu) rows().bf16.squared_relu_forward(to, to, begin * columns, end * columns);
    }
  });
}

void linear_backward(at::TensorList dy, const Tensor& x, at::TensorList weights, Tensor& dx, at::TensorList dweights) {
  std::vector<Tensor> packed;
  std::vector<LinearTerm> terms;
  if (dx.defined()) {
    packed = packed_inputs(dx, weights);
    for (std::size_t layer = 0; layer < weights.size(); ++layer) {
      terms.push_back({halves(dy[layer]), dy[layer].size(1), words(packed[layer])});
    }
  }
  std::vector<Part> parts;
  for (std::size_t layer = 0; layer < weights.size(); ++layer) {
    if (dweights[layer].defined()) add_parts(parts, dy[layer], x, dweights[layer], dx.defined() ? 1 : FAIR);
  }
  // Large parts first; rows are what lets threads end together.
  const Index tiles = static_cast<Index>(parts.size()), rows = x.size(0), more = dx.defined() ? divided(rows, ROWS) : 0;
  share_out(tiles + more, [&](Index task) {
    if (task < tiles) return find(parts[task]);
    const Index begin = (task - tiles) * ROWS;
    linear_rows(terms.data(), static_cast<Index>(terms.size()), dx.size(1), out(dx), begin, std::min(rows, begin + ROWS));
  });
}

void linear_squared_relu_backward(const Tensor& dy, const Tensor& y, const Tensor& x, const Tensor& weight, Tensor& dx, Tensor& dweight) {
  const std::vector<Tensor> packed = dx.defined() ? packed_inputs(dx, weight) : std::vector<Tensor>();
  const Tensor dsum = at::empty_like(y);
  const Index columns = y.size(1);
  by_rows(y.size(0), [&](Index begin, Index end) {
    rows().bf16.squared_relu_backward(halves(dy), halves(y), out(dsum), begin * columns, end * columns);
    if (dx.defined()) {
      const LinearTerm term = {halves(dsum), columns, words(packed[0])};
      linear_rows(&term, 1, dx.size(1), out(dx), begin, end);
    }
  });
  if (!dweight.defined()) return;
  std::vector<Part> parts;
  add_parts(parts, dsum, x, dweight, FAIR);
  share_out(static_cast<Index>(parts.size()), [&](Index task) { find(parts[task]); });
}

}  // namespace nocturne::cpu
