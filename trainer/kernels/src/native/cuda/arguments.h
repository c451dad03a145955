// What the kernels are called with: one structure each, passed by value. The host and the device compile this same text, so that both agree
// on every field's place. Plain pointers, sizes of 4 and 8 bytes, no default values.
//
// Pointers to elements of the kernel's kind (float, or bfloat16) are void; each kernel's name says its kind.
#pragma once

namespace nocturne_kernels {

struct NormForward {
  const void* x;   // [rows, width]
  void* y;         // [rows, width]
  float* inverse;  // [rows]
  unsigned rows;
  unsigned width;
  float epsilon;
};

struct NormBackward {
  const void* dy;    // [rows, width]
  const void* y;     // [rows, width]
  const void* dsum;  // [rows, width], or null
  const float* inverse;
  void* dx;  // [rows, width]
  unsigned rows;
  unsigned width;
};

// sum = a x + b other, y = norm(sum). Without factors (null) each is 1.
struct MixNormForward {
  const void* x;
  const void* other;
  const float* a;
  const float* b;
  void* sum;
  void* y;
  float* inverse;
  unsigned rows;
  unsigned width;
  float epsilon;
};

struct MixNormBackward {
  const void* dy;
  const void* y;
  const void* dsum;  // or null
  const void* x;
  const void* other;
  const float* inverse;
  const float* a;
  const float* b;
  void* dx;
  void* dother;
  float* partial;  // [2, blocks]: each block's share of da, then of db
  unsigned rows;
  unsigned width;
};

// A tensor [batch, time, heads, width] whose last dimension is contiguous: where it begins, and its other strides, in elements.
struct Heads {
  void* data;
  long long batch;
  long long time;
  long long head;
};

// What operations on heads share: `count` = batch * time * heads vectors, each of which `group` neighbouring threads have (a power of two, at
// most 32).
struct HeadCounts {
  unsigned count;
  unsigned time;
  unsigned heads;
  unsigned width;
  unsigned group;
};

struct RotaryNormForward {
  Heads x;
  Heads y;
  const float* cosine;  // [time, width / 2]
  const float* sine;
  float* inverse;  // [count]
  HeadCounts heads;
  float epsilon;
};

struct RotaryNormBackward {
  Heads dy;
  Heads y;
  Heads dx;
  const float* inverse;
  const float* cosine;
  const float* sine;
  HeadCounts heads;
};

struct GatedValueForward {
  Heads value;
  Heads embedding;
  Heads y;
  const void* gate;  // [count]
  HeadCounts heads;
};

struct GatedValueBackward {
  Heads dy;
  Heads embedding;
  Heads dembedding;
  const void* gate;
  void* dgate;
  HeadCounts heads;
};

struct SquaredReluForward {
  const void* x;
  void* y;
  unsigned long long count;
};

// dx may be dy.
struct SquaredReluBackward {
  const void* dy;
  const void* y;
  void* dx;
  unsigned long long count;
};

// x <- x * factor.
struct Scale {
  void* x;
  const float* factor;
  unsigned long long count;
};

// One block a row.
struct SoftcapLoss {
  void* logits;  // [rows, vocabulary], replaced by their gradient
  const long long* targets;
  float* losses;
  unsigned vocabulary;
  float cap;
  float scale;
};

struct MuonLook {
  const float* gradient;
  float* momentum;
  void* look;
  float* partial;  // [members, blocks]
  unsigned long long size;  // of one member
  float mu;
  float rest;  // 1 - mu
};

// Mean squares of the rows (or columns) of each member.
struct MuonSquares {
  const void* direction;  // [members, rows, columns]
  float* squares;         // [members, rows or columns]
  unsigned rows;
  unsigned columns;
};

// One block a member: moves the running squares and says by what each row (or column) is multiplied.
struct MuonScales {
  const float* squares;  // [members, lines]
  float* second;         // [members, lines], moved
  float* scales;         // [members, lines]
  unsigned lines;
  float length;  // elements in one line
  float rest;    // 1 - beta2
};

struct MuonScale {
  void* direction;  // [members, rows, columns], changed in place
  const float* scales;
  unsigned rows;
  unsigned columns;
  unsigned by_rows;  // whether scales are those of rows
};

struct CautiousUpdate {
  const void* update;
  float* parameter;
  unsigned long long count;
  float rate;
  float decay;  // rate * weight decay
};

struct AdamW {
  float* parameter;
  const float* gradient;
  float* mean;
  float* square;
  unsigned long long count;
  float keep;         // 1 - rate * decay
  float step;         // rate / bias1
  float mean_weight;  // 1 - beta1
  float beta2;
  float square_weight;  // 1 - beta2
  float inverse_root_bias2;  // 1 / sqrt(bias2)
  float epsilon;
};

// out[k] = sum over i of partial[k, i], one block for each k, always in the same order. The sum of k = 1 goes to `other` where that is given.
struct SumPartials {
  const float* partial;  // [blocks of this launch, count]
  float* out;
  float* other;
  unsigned count;
};

}  // namespace nocturne_kernels
