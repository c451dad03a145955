// What a device offers: one forward and one backward for each fused operation, over tensors that the caller has checked.
//
// `cpu` and `cuda` have the same functions, so that `operations.cpp` chooses by the tensor's device and by nothing else.
//
// What the caller guarantees: all tensors of a call lie on one device; activations are contiguous and of one kind ("kind": float, or
// bfloat16), the last dimension is what a row is; outputs are allocated, of the right shape, and do not overlap inputs unless it says so.
// Statistics (`inverse`) are float32. Arithmetic is in float32, rounded once when a result is stored.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace nocturne {

#define NOCTURNE_DEVICE_FUNCTIONS                                                                                                        \
  /* RMSNorm. x, y: [rows, width]; inverse: [rows], one over the root mean square. y = x * inverse. */                                   \
  void norm_forward(const at::Tensor& x, at::Tensor& y, at::Tensor& inverse, double epsilon);                                            \
  /* dx = inverse * (dy - y * mean(dy * y)); where `dsum` is defined it is added to dx. */                                               \
  void norm_backward(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& inverse, const at::Tensor& dsum, at::Tensor& dx);      \
                                                                                                                                         \
  /* sum = x + branch, y = norm(sum). All [rows, width]. Its backward is norm_backward with dsum. */                                     \
  void add_norm_forward(const at::Tensor& x, const at::Tensor& branch, at::Tensor& sum, at::Tensor& y, at::Tensor& inverse,              \
                        double epsilon);                                                                                                 \
                                                                                                                                         \
  /* sum = a x + b x0, y = norm(sum). a, b: one float32 each, on the device. */                                                          \
  void mix_norm_forward(const at::Tensor& x, const at::Tensor& a, const at::Tensor& x0, const at::Tensor& b, at::Tensor& sum,            \
                        at::Tensor& y, at::Tensor& inverse, double epsilon);                                                             \
  /* With d = dsum + the norm's backward: dx = a d, dx0 = b d, da = sum of d x, db = sum of d x0. dsum may be undefined.                 \
     da, db: one float32 each, written. */                                                                                               \
  void mix_norm_backward(const at::Tensor& dy, const at::Tensor& dsum, const at::Tensor& y, const at::Tensor& inverse,                   \
                         const at::Tensor& x, const at::Tensor& a, const at::Tensor& x0, const at::Tensor& b, at::Tensor& dx,            \
                         at::Tensor& dx0, at::Tensor& da, at::Tensor& db);                                                               \
                                                                                                                                         \
  /* Rotary embedding, then RMSNorm over the head. x, y: [batch, time, heads, width]; cos, sin: [time, width / 2] float32;               \
     inverse: [batch, time, heads], contiguous. With halves (p, q) of x: (p cos + q sin, q cos - p sin). Here and in the next three,     \
     every tensor of four dimensions may be strided in its first three; its last one is contiguous. */                                   \
  void rotary_norm_forward(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, at::Tensor& y, at::Tensor& inverse,        \
                           double epsilon);                                                                                              \
  void rotary_norm_backward(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& inverse, const at::Tensor& cos,                 \
                            const at::Tensor& sin, at::Tensor& dx);                                                                      \
                                                                                                                                         \
  /* y = value + 2 sigmoid(gate) embedding. value, embedding, y: [batch, time, heads, width]; gate: [batch, time, heads], kind,          \
     contiguous. */                                                                                                                      \
  void gated_value_forward(const at::Tensor& value, const at::Tensor& gate, const at::Tensor& embedding, at::Tensor& y);                 \
  /* The gradient of value is dy itself. dgate as gate; dembedding: [batch, time, heads, width]. */                                      \
  void gated_value_backward(const at::Tensor& dy, const at::Tensor& gate, const at::Tensor& embedding, at::Tensor& dgate,                \
                            at::Tensor& dembedding);                                                                                     \
                                                                                                                                         \
  /* y = max(x, 0)^2, any shape. */                                                                                                      \
  void squared_relu_forward(const at::Tensor& x, at::Tensor& y);                                                                         \
  /* dx = 2 sqrt(y) dy: the input is not needed. dx may be dy. */                                                                        \
  void squared_relu_backward(const at::Tensor& dy, const at::Tensor& y, at::Tensor& dx);                                                 \
                                                                                                                                         \
  /* Cross-entropy of cap * tanh(logits / cap). logits: [rows, vocabulary], replaced by `scale` times the gradient of the sum of all     \
     rows' losses; targets: [rows] int64, each in 0..vocabulary (checked on the CPU; on a device an index outside gives a loss of NaN);  \
     losses: [rows] float32, in nats. */                                                                                                 \
  void softcap_loss(at::Tensor& logits, const at::Tensor& targets, double cap, double scale, at::Tensor& losses);                        \
  /* x <- x * factor, and nothing is touched where the factor is 1. x: any shape, contiguous; factor: one float32, on the device. */     \
  void scale(at::Tensor& x, const at::Tensor& factor);                                                                                   \
                                                                                                                                         \
  /* First part of a Muon step over a stack: momentum = lerp(momentum, gradient, 1 - mu), look = lerp(gradient, momentum, mu) stored     \
     in its kind (float32 or bfloat16), squares: [members] float32, sum of look^2 over each matrix. gradient, momentum: [members,        \
     rows, columns] float32. */                                                                                                          \
  void muon_look(const at::Tensor& gradient, at::Tensor& momentum, double mu, at::Tensor& look, at::Tensor& squares);                    \
  /* NorMuon, in place. direction: [members, rows, columns], look's kind. second: [members, rows, 1] or [members, 1, columns] float32,    \
     running mean squares along the longer side, moved by 1 - beta2. Rows (or columns) are divided by the root of second (of 1e-10 at    \
     least), then every matrix is scaled to the norm that it had. */                                                                     \
  void normuon(at::Tensor& direction, at::Tensor& second, double beta2);                                                                 \
  /* Cautious weight decay: p <- p - rate u - rate decay p [u p >= 0]. update: any shape, contiguous, float32 or bfloat16; parameter:    \
     the same shape, float32. */                                                                                                         \
  void cautious_update(const at::Tensor& update, double rate, double decay, at::Tensor& parameter);                                      \
                                                                                                                                         \
  /* AdamW in one pass, float32, any shape, contiguous: mean, square and parameter are changed in place.                                 \
     p <- p (1 - rate decay) - rate / bias1 * mean / (sqrt(square) / sqrt(bias2) + epsilon). */                                          \
  void adamw(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& mean, at::Tensor& square, double rate, double beta1,         \
             double beta2, double epsilon, double decay, double bias1, double bias2);

namespace cpu {
NOCTURNE_DEVICE_FUNCTIONS
}

namespace cuda {
// Whether the kernels can be used on the device of `x`: its driver and the compiler for it are there and the kernels compiled. The first
// call for a device finds out, and `why_not` says what stood in the way.
bool available(const at::Tensor& x);
const char* why_not();
// Compiles the kernels for the device of this number and writes them to `folder`, which exists. Processes whose environment names the folder
// (NOCTURNE_KERNEL_CACHE) need not compile them. What is in it runs on devices, so nobody who runs edited code may ever write to it.
void prepare_cache(const std::string& folder, int ordinal);
NOCTURNE_DEVICE_FUNCTIONS
}

}  // namespace nocturne
