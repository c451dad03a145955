// Inputs of tests, and how results are compared.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <optional>
#include <string>
#include <vector>

namespace nocturne::check {

// Random numbers that follow from a seed, standard normal, float64 on the CPU.
class Random {
 public:
  explicit Random(uint64_t seed);
  at::Tensor normal(at::IntArrayRef shape);

 private:
  at::Generator generator_;
};

// Tensors within larger ones whose other elements are not numbers: what reads beside them gets those, what writes beside them is found out.
class Arena {
 public:
  explicit Arena(at::Device device) : device_(device) {}

  // A contiguous tensor with these values in this kind that begins `offset` elements behind an address that is a multiple of 64.
  at::Tensor place(const at::Tensor& values, at::ScalarType kind, int64_t offset = 0);
  // One for results; its elements are not numbers until they are written.
  at::Tensor empty(at::IntArrayRef shape, at::ScalarType kind, int64_t offset = 0);
  // [batch, time, heads, width] that lies as [batch, heads, time, width + gap] does, values or not a number.
  at::Tensor by_head(const at::Tensor& values, at::ScalarType kind, int64_t gap);

  // Throws if anything beside the tensors was written.
  void intact(const std::string& what) const;

 private:
  struct Piece {
    at::Tensor whole, mask;  // mask: true where nothing may be written
  };
  at::Device device_;
  std::vector<Piece> pieces_;
};

// By how much results may differ: |got - wanted| <= relative * |wanted| + absolute * size.
struct Tolerance {
  double relative;
  double absolute;
};
// That of one rounding to the kind.
Tolerance tolerance(at::ScalarType kind);

// Throws, with the worst element, unless `got` is close to `wanted` (float64). `size`: that of the terms whose sum or difference `wanted` is;
// without it, the root mean square of `wanted`.
void close(const std::string& what, const at::Tensor& got, const at::Tensor& wanted, Tolerance tolerance, std::optional<double> size = {});
double root_mean_square(const at::Tensor& x);

// Throws std::runtime_error with this text unless it holds.
void require(bool holds, const std::string& what);

// For loops: kinds, and offsets of 0 and 1 elements, of which the second allows no wide access.
constexpr at::ScalarType KINDS[] = {at::kFloat, at::kBFloat16};
constexpr int64_t OFFSETS[] = {0, 1};

}  // namespace nocturne::check
