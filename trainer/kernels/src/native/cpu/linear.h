// Products of a linear layer in bfloat16 on a processor with AVX512-BF16, over raw memory: y = x W^T and its gradients, with master weights
// in float.
//
// Weights are rounded to bfloat16 while they are packed, so no copy of them is kept, and their gradient is written as the sum that it is, in
// float. Every element is summed in one fixed order, however the work is divided.
#pragma once

#include <cstdint>

#include "rows.h"

namespace nocturne {

// x: [rows][inputs], y: [rows][outputs], W: [outputs][inputs], all contiguous. Inputs and outputs are multiples of LINEAR_PANEL.
struct LinearShape {
  std::int64_t rows, inputs, outputs;
};

// Columns that are packed together.
constexpr std::int64_t LINEAR_PANEL = 64;

// A rectangle of the weight's gradient.
struct LinearTile {
  std::int64_t first_output, outputs, first_input, inputs;
};

// Whether this program and this processor have it.
bool linear_available();

// Packs what y = x W^T multiplies by, for LINEAR_PANEL outputs from `first` on; packed: [outputs][inputs] bfloat16 in all.
void linear_pack_outputs(const float* weight, LinearShape shape, std::int64_t first, std::uint32_t* packed);
// Packs what dx = dy W multiplies by, for LINEAR_PANEL inputs from `first` on; packed: as before.
void linear_pack_inputs(const float* weight, LinearShape shape, std::int64_t first, std::uint32_t* packed);
// A factor of a product and what it is multiplied by: [rows][length] and what was packed.
struct LinearTerm {
  const Bf16* from;
  std::int64_t length;
  const std::uint32_t* packed;
};

// Rows [begin, end) of to [rows][columns], the sum of so many products.
void linear_rows(const LinearTerm* terms, std::int64_t count, std::int64_t columns, Bf16* to, std::int64_t begin, std::int64_t end);
// A tile of dW = dy^T x, [outputs][inputs] float.
void linear_weight_gradient(const Bf16* dy, const Bf16* x, LinearShape shape, LinearTile tile, float* gradient);

}  // namespace nocturne
