// Causal attention in bfloat16 on a processor with AVX512-BF16, forward and backward, over raw memory.
//
// libtorch's own attention on the CPU is slower than the batched products that it consists of, and a window is a mask to it, not work left
// out. Here a block of 64 queries meets only the keys that it may see; scores stand transposed (a row for each key), so that the softmax
// runs down columns without any shuffling, and no product needs a transposed copy of the probabilities.
#pragma once

#include <cstdint>

#include "rows.h"

namespace nocturne {

struct AttentionShape {
  std::int64_t batch, times, heads, width;
  // How many positions back a query sees, itself not counted; times and more: all of them.
  std::int64_t window;
  float scale;
};

// A bfloat16 tensor [batch, time, heads, width], its last dimension contiguous, its first element at 4 bytes, its strides even.
struct Activations {
  Bf16* data;
  Strides strides;
  Bf16* head(const AttentionShape& shape, std::int64_t index) const {
    return data + index / shape.heads * strides.batch + index % shape.heads * strides.head;
  }
};

// Whether this program and this processor have it. Width must be a multiple of 32, at most 256.
bool attention_available();

// Heads [begin, end) of all batch * heads. logsumexp: [batch, heads, times].
void attention_forward(const AttentionShape& shape, Activations query, Activations key, Activations value, Activations out,
                       float* logsumexp, std::int64_t begin, std::int64_t end);
void attention_backward(const AttentionShape& shape, Activations query, Activations key, Activations value, Activations out,
                        Activations dout, const float* logsumexp, Activations dquery, Activations dkey, Activations dvalue,
                        std::int64_t begin, std::int64_t end);

}  // namespace nocturne
