// Loops over rows of raw memory: what the CPU half computes, without a word of torch in it.
//
// `rows.cpp` is compiled once for each instruction set that a processor of this kind may have, into a namespace of its own, and
// `instruction_set.cpp` chooses when the program runs. So a trainer runs on any processor of its architecture, and no inline function of
// another library is ever compiled for an instruction set that the processor at hand lacks.
//
// All sizes are in elements. Rows are numbered over the whole tensor; every function takes a part [begin, end) of them, because threads
// share them. `Bf16` is a bfloat16's bits.
#pragma once

#include <cstdint>

namespace nocturne {

using Bf16 = std::uint16_t;

// Rows of a [batch, time, heads, width] tensor whose first three dimensions are strided. Row r is (r / heads / times, r / heads % times,
// r % heads).
struct Heads {
  std::int64_t times, heads, width;
};
struct Strides {
  std::int64_t batch, time, head;
};

// What AdamW changes by.
struct AdamStep {
  float rate, beta1, beta2, epsilon, decay, bias1, bias2;
};

// The functions over one kind of activation.
template <typename T>
struct RowFunctions {
  void (*norm_forward)(const T* x, T* y, float* inverse, std::int64_t width, float epsilon, std::int64_t begin, std::int64_t end);
  void (*norm_backward)(const T* dy, const T* y, const float* inverse, const T* dsum, T* dx, std::int64_t width, std::int64_t begin,
                        std::int64_t end);
  // sum = a x + b other, y = norm(sum).
  void (*mix_norm_forward)(const T* x, float a, const T* other, float b, T* sum, T* y, float* inverse, std::int64_t width, float epsilon,
                           std::int64_t begin, std::int64_t end);
  // `da`, `db`: the sums over these rows alone.
  void (*mix_norm_backward)(const T* dy, const T* dsum, const T* y, const float* inverse, const T* x, float a, const T* other, float b,
                            T* dx, T* dother, float* da, float* db, std::int64_t width, std::int64_t begin, std::int64_t end);
  void (*rotary_norm_forward)(const T* x, Strides xs, const float* cos, const float* sin, T* y, Strides ys, float* inverse, Heads shape,
                              float epsilon, std::int64_t begin, std::int64_t end);
  void (*rotary_norm_backward)(const T* dy, Strides dys, const T* y, Strides ys, const float* inverse, const float* cos, const float* sin,
                               T* dx, Strides dxs, Heads shape, std::int64_t begin, std::int64_t end);
  void (*squared_relu_forward)(const T* x, T* y, std::int64_t begin, std::int64_t end);
  void (*squared_relu_backward)(const T* dy, const T* y, T* dx, std::int64_t begin, std::int64_t end);
  void (*gated_value_forward)(const T* value, Strides vs, const T* gate, const T* embedding, Strides es, T* y, Strides ys, Heads shape,
                              std::int64_t begin, std::int64_t end);
  void (*gated_value_backward)(const T* dy, Strides dys, const T* gate, const T* embedding, Strides es, T* dgate, T* dembedding,
                               Strides des, Heads shape, std::int64_t begin, std::int64_t end);
  // `scratch`: vocabulary floats.
  void (*softcap_loss)(T* logits, const std::int64_t* targets, float cap, float scale, float* losses, std::int64_t vocabulary,
                       float* scratch, std::int64_t begin, std::int64_t end);
  // One matrix or a part of it, as one run of elements; returns the sum of squares of what was stored in `look`.
  float (*muon_look)(const float* gradient, float* momentum, float mu, T* look, std::int64_t begin, std::int64_t end);
  // Sums of squares over each row, or (`by_column`) added to those of each column.
  void (*muon_squares)(const T* direction, std::int64_t columns, bool by_column, float* squares, std::int64_t begin, std::int64_t end);
  // Multiplies every element by the scale of its row or column.
  void (*muon_scale)(T* direction, const float* scale, bool by_column, std::int64_t columns, std::int64_t begin, std::int64_t end);
  void (*cautious_update)(const T* update, float rate, float decay, float* parameter, std::int64_t begin, std::int64_t end);
};

// All that one instruction set has.
struct Rows {
  const char* name;
  RowFunctions<float> fp32;
  RowFunctions<Bf16> bf16;
  void (*adamw)(float* parameter, const float* gradient, float* mean, float* square, AdamStep step, std::int64_t begin, std::int64_t end);
};

// The best that this processor has.
const Rows& rows();

}  // namespace nocturne
