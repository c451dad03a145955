// The operations of the forward and backward pass: which variant of which kernel, over how many blocks.

#include <ATen/ops/empty.h>

#include <algorithm>

#include "choice.h"
#include "launch.h"

namespace nocturne::NOCTURNE_DEVICE_NAMESPACE {
namespace {

using at::Tensor;
using namespace nocturne_kernels;

constexpr unsigned WARP = 32;

// --- norms: a warp has a row, four rows a block ---

constexpr int64_t ROWS_PER_BLOCK = 4;
// Partial sums of da and db: enough blocks to fill any device, few enough that adding them up costs nothing.
constexpr int64_t MOST_MIX_BLOCKS = 1024;

struct Rows {
  unsigned rows;
  unsigned width;
};

Rows rows_of(const Tensor& x) { return {small(x.size(0), "the number of rows"), small(x.size(1), "the width of a row")}; }

// The variant that keeps a row of this width in registers, if there is one.
std::string norm_variant(const char* kernel, const Tensor& x, std::initializer_list<Tensor> tensors) {
  const int64_t width = x.size(1), elements = wide(x);
  const char* kind = kind_name(x);
  if (!fits(width, elements, tensors)) return variant(kernel, kind, 1, 0);
  const bool half = x.scalar_type() == at::kBFloat16;
  const int64_t accesses = divided_up(width, elements * WARP);
  const int64_t kept = half ? (accesses <= 2 ? 2 : accesses <= 8 ? 8 : 0) : (accesses <= 4 ? 4 : 0);
  return variant(kernel, kind, elements, kept);
}

void norm_of_sum(const Tensor& x, const Tensor& a, const Tensor& other, const Tensor& b, Tensor& sum, Tensor& y, Tensor& inverse,
                 double epsilon) {
  const Rows rows = rows_of(x);
  if (rows.rows == 0) return;
  launch(x, norm_variant("mix_norm_forward", x, {x, other, sum, y}), {divided_up(rows.rows, ROWS_PER_BLOCK)},
         MixNormForward{x.const_data_ptr(), other.const_data_ptr(), a.defined() ? a.const_data_ptr<float>() : nullptr,
                        b.defined() ? b.const_data_ptr<float>() : nullptr, sum.data_ptr(), y.data_ptr(), inverse.data_ptr<float>(),
                        rows.rows, rows.width, static_cast<float>(epsilon)});
}

const void* optional(const Tensor& x) { return x.defined() ? x.const_data_ptr() : nullptr; }

// --- operations on heads: a group of threads has a head ---

constexpr unsigned HEAD_THREADS = 128;

Heads heads_of(const Tensor& x) {
  TORCH_CHECK(x.stride(3) == 1 || x.size(3) == 1, "the last dimension of a tensor of heads must be contiguous");
  return {x.data_ptr(), x.stride(0), x.stride(1), x.stride(2)};
}

// Whether each head (from its start, or from its middle too) can be read `elements` at a time.
bool heads_fit(int64_t part, int64_t elements, std::initializer_list<Tensor> tensors) {
  bool fit = fits(part, elements, tensors);
  for (const Tensor& x : tensors) {
    for (int64_t dimension = 0; dimension < 3; ++dimension) fit = fit && (x.size(dimension) < 2 || x.stride(dimension) % elements == 0);
  }
  return fit;
}

HeadCounts counts_of(const Tensor& x, int64_t accesses) {
  unsigned group = 1;
  while (group < WARP && group < accesses) group *= 2;
  return {small(x.size(0) * x.size(1) * x.size(2), "the number of heads in the batch"), small(x.size(1), "the context"),
          small(x.size(2), "the number of heads"), small(x.size(3), "the width of a head"), group};
}

Grid grid_of(const HeadCounts& counts) {
  return {divided_up(static_cast<int64_t>(counts.count) * counts.group, HEAD_THREADS), 1, HEAD_THREADS};
}

struct Rotary {
  std::string kernel;
  HeadCounts counts;
};

Rotary rotary(const char* kernel, const Tensor& x, std::initializer_list<Tensor> heads, const Tensor& cosine, const Tensor& sine) {
  const int64_t half = x.size(3) / 2;
  // The tables are read four numbers at a time.
  const bool fit = heads_fit(half, wide(x), heads) && aligned(cosine, 16) && aligned(sine, 16);
  const int64_t elements = fit ? wide(x) : 1, accesses = divided_up(half, elements);
  return {variant(kernel, kind_name(x), elements, fit && accesses <= WARP ? 1 : 0), counts_of(x, accesses)};
}

// --- pointwise ---

int64_t point_elements(int64_t elements, std::initializer_list<Tensor> tensors) { return fits(0, elements, tensors) ? elements : 1; }

// --- loss: a block has a row ---

constexpr int64_t MOST_LOSS_THREADS = 512;

}  // namespace

void norm_forward(const Tensor& x, Tensor& y, Tensor& inverse, double epsilon) {
  const Rows rows = rows_of(x);
  if (rows.rows == 0) return;
  launch(x, norm_variant("norm_forward", x, {x, y}), {divided_up(rows.rows, ROWS_PER_BLOCK)},
         NormForward{x.const_data_ptr(), y.data_ptr(), inverse.data_ptr<float>(), rows.rows, rows.width, static_cast<float>(epsilon)});
}

void norm_backward(const Tensor& dy, const Tensor& y, const Tensor& inverse, const Tensor& dsum, Tensor& dx) {
  const Rows rows = rows_of(y);
  if (rows.rows == 0) return;
  launch(y, norm_variant("norm_backward", y, {dy, y, dsum, dx}), {divided_up(rows.rows, ROWS_PER_BLOCK)},
         NormBackward{dy.const_data_ptr(), y.const_data_ptr(), optional(dsum), inverse.const_data_ptr<float>(), dx.data_ptr(), rows.rows,
                      rows.width});
}

void add_norm_forward(const Tensor& x, const Tensor& branch, Tensor& sum, Tensor& y, Tensor& inverse, double epsilon) {
  norm_of_sum(x, Tensor(), branch, Tensor(), sum, y, inverse, epsilon);
}

void mix_norm_forward(const Tensor& x, const Tensor& a, const Tensor& x0, const Tensor& b, Tensor& sum, Tensor& y, Tensor& inverse,
                      double epsilon) {
  norm_of_sum(x, a, x0, b, sum, y, inverse, epsilon);
}

void mix_norm_backward(const Tensor& dy, const Tensor& dsum, const Tensor& y, const Tensor& inverse, const Tensor& x, const Tensor& a,
                       const Tensor& x0, const Tensor& b, Tensor& dx, Tensor& dx0, Tensor& da, Tensor& db) {
  const Rows rows = rows_of(y);
  // Without rows one block still writes the sums, which are zero.
  const int64_t blocks = std::clamp<int64_t>(divided_up(rows.rows, ROWS_PER_BLOCK), 1, MOST_MIX_BLOCKS);
  Tensor partial = at::empty({2, blocks}, y.options().dtype(at::kFloat));
  launch(y, norm_variant("mix_norm_backward", y, {dy, y, dsum, x, x0, dx, dx0}), {blocks},
         MixNormBackward{dy.const_data_ptr(), y.const_data_ptr(), optional(dsum), x.const_data_ptr(), x0.const_data_ptr(),
                         inverse.const_data_ptr<float>(), a.const_data_ptr<float>(), b.const_data_ptr<float>(), dx.data_ptr(),
                         dx0.data_ptr(), partial.data_ptr<float>(), rows.rows, rows.width});
  launch(y, "sum_partials", {2, 1, 256},
         SumPartials{partial.const_data_ptr<float>(), da.data_ptr<float>(), db.data_ptr<float>(), static_cast<unsigned>(blocks)});
}

void rotary_norm_forward(const Tensor& x, const Tensor& cos, const Tensor& sin, Tensor& y, Tensor& inverse, double epsilon) {
  if (x.numel() == 0) return;
  const Rotary with = rotary("rotary_norm_forward", x, {x, y}, cos, sin);
  launch(x, with.kernel, grid_of(with.counts),
         RotaryNormForward{heads_of(x), heads_of(y), cos.const_data_ptr<float>(), sin.const_data_ptr<float>(), inverse.data_ptr<float>(),
                           with.counts, static_cast<float>(epsilon)});
}

void rotary_norm_backward(const Tensor& dy, const Tensor& y, const Tensor& inverse, const Tensor& cos, const Tensor& sin, Tensor& dx) {
  if (y.numel() == 0) return;
  const Rotary with = rotary("rotary_norm_backward", y, {dy, y, dx}, cos, sin);
  launch(y, with.kernel, grid_of(with.counts),
         RotaryNormBackward{heads_of(dy), heads_of(y), heads_of(dx), inverse.const_data_ptr<float>(), cos.const_data_ptr<float>(),
                            sin.const_data_ptr<float>(), with.counts});
}

void gated_value_forward(const Tensor& value, const Tensor& gate, const Tensor& embedding, Tensor& y) {
  if (value.numel() == 0) return;
  const int64_t width = value.size(3), elements = heads_fit(width, wide(value), {value, embedding, y}) ? wide(value) : 1;
  const HeadCounts counts = counts_of(value, divided_up(width, elements));
  launch(value, variant("gated_value_forward", kind_name(value), elements), grid_of(counts),
         GatedValueForward{heads_of(value), heads_of(embedding), heads_of(y), gate.const_data_ptr(), counts});
}

void gated_value_backward(const Tensor& dy, const Tensor& gate, const Tensor& embedding, Tensor& dgate, Tensor& dembedding) {
  if (dy.numel() == 0) return;
  const int64_t width = dy.size(3), elements = heads_fit(width, wide(dy), {dy, embedding, dembedding}) ? wide(dy) : 1;
  const HeadCounts counts = counts_of(dy, divided_up(width, elements));
  launch(dy, variant("gated_value_backward", kind_name(dy), elements), grid_of(counts),
         GatedValueBackward{heads_of(dy), heads_of(embedding), heads_of(dembedding), gate.const_data_ptr(), dgate.data_ptr(), counts});
}

void squared_relu_forward(const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return;
  const int64_t elements = point_elements(wide(x), {x, y});
  launch(x, variant("squared_relu_forward", kind_name(x), elements), points(x.numel(), elements),
         SquaredReluForward{x.const_data_ptr(), y.data_ptr(), static_cast<unsigned long long>(x.numel())});
}

void squared_relu_backward(const Tensor& dy, const Tensor& y, Tensor& dx) {
  if (y.numel() == 0) return;
  const int64_t elements = point_elements(wide(y), {dy, y, dx});
  launch(y, variant("squared_relu_backward", kind_name(y), elements), points(y.numel(), elements),
         SquaredReluBackward{dy.const_data_ptr(), y.const_data_ptr(), dx.data_ptr(), static_cast<unsigned long long>(y.numel())});
}

void scale(Tensor& x, const Tensor& factor) {
  if (x.numel() == 0) return;
  const int64_t elements = point_elements(wide(x), {x});
  launch(x, variant("scale", kind_name(x), elements), points(x.numel(), elements),
         Scale{x.data_ptr(), factor.const_data_ptr<float>(), static_cast<unsigned long long>(x.numel())});
}

void softcap_loss(Tensor& logits, const Tensor& targets, double cap, double scale, Tensor& losses) {
  const Rows rows = rows_of(logits);
  if (rows.rows == 0) return;
  const int64_t vocabulary = logits.size(1), elements = fits(vocabulary, wide(logits), {logits}) ? wide(logits) : 1;
  const int64_t accesses = divided_up(vocabulary, elements);
  const int64_t threads = std::min<int64_t>(MOST_LOSS_THREADS, divided_up(accesses, WARP) * WARP);
  int64_t kept = 0;
  if (elements > 1) {
    const int64_t fewest = logits.scalar_type() == at::kBFloat16 ? 1 : 4;
    for (int64_t most = 8; most >= fewest; most /= 2) {
      if (accesses <= most * threads) kept = most;
    }
  }
  launch(logits, variant("softcap_loss", kind_name(logits), elements, kept), {rows.rows, 1, static_cast<unsigned>(threads)},
         SoftcapLoss{logits.data_ptr(), reinterpret_cast<const long long*>(targets.const_data_ptr<int64_t>()), losses.data_ptr<float>(),
                     rows.width, static_cast<float>(cap), static_cast<float>(scale)});
}

}  // namespace nocturne::NOCTURNE_DEVICE_NAMESPACE
