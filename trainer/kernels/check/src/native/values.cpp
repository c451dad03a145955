#include "values.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <limits>
#include <sstream>
#include <stdexcept>

#include "backend.h"
#include "order.h"

namespace nocturne::check {
namespace {

constexpr int64_t MARGIN = 64;
constexpr double NOTHING = std::numeric_limits<double>::quiet_NaN();

at::Tensor bits(const at::Tensor& x) {
  const at::Tensor y = x.contiguous();
  return y.view(x.element_size() == 2 ? at::kShort : x.element_size() == 4 ? at::kInt : at::kLong);
}

}  // namespace

Random::Random(uint64_t seed) : generator_(at::make_generator<at::CPUGeneratorImpl>(seed)) {}

at::Tensor Random::normal(at::IntArrayRef shape) { return at::empty(shape, at::kDouble).normal_(0.0, 1.0, generator_); }

at::Tensor Arena::empty(at::IntArrayRef shape, at::ScalarType kind, int64_t offset) {
  const int64_t count = c10::multiply_integers(shape);
  Piece piece = {at::full({count + 2 * MARGIN + offset}, NOTHING, at::device(device_).dtype(kind)),
                 at::ones({count + 2 * MARGIN + offset}, at::device(device_).dtype(at::kBool))};
  piece.mask.narrow(0, MARGIN + offset, count).fill_(false);
  at::Tensor inside = piece.whole.narrow(0, MARGIN + offset, count).view(shape);
  pieces_.push_back(std::move(piece));
  return inside;
}

at::Tensor Arena::place(const at::Tensor& values, at::ScalarType kind, int64_t offset) {
  at::Tensor inside = empty(values.sizes(), kind, offset);
  inside.copy_(values);
  return inside;
}

at::Tensor Arena::by_head(const at::Tensor& values, at::ScalarType kind, int64_t gap) {
  const auto shape = values.sizes();
  const at::Tensor padded = empty({shape[0], shape[2], shape[1], shape[3] + gap}, kind);
  Piece& piece = pieces_.back();
  piece.mask.narrow(0, MARGIN, padded.numel()).view(padded.sizes()).narrow(3, shape[3], gap).fill_(true);
  at::Tensor inside = padded.narrow(3, 0, shape[3]).transpose(1, 2);
  inside.copy_(values);
  return inside;
}

void Arena::intact(const std::string& what) const {
  for (const Piece& piece : pieces_) {
    const at::Tensor written = piece.whole.isnan().logical_not_().logical_and_(piece.mask);
    require(!written.any().item<bool>(), what + " wrote beside a tensor, at element " +
                                             std::to_string(written.to(at::kInt).argmax().item<int64_t>() - MARGIN) + " of its buffer");
  }
}

Tolerance tolerance(at::ScalarType kind) { return kind == at::kFloat ? Tolerance{1e-5, 1e-5} : Tolerance{5e-3, 1e-3}; }

double root_mean_square(const at::Tensor& x) { return x.to(at::kDouble).square().mean().sqrt().item<double>(); }

void close(const std::string& what, const at::Tensor& got, const at::Tensor& wanted, Tolerance tolerance,
           std::optional<double> given) {
  require(got.sizes() == wanted.sizes(), what + ": the shapes differ");
  if (got.numel() == 0) return;
  const at::Tensor result = got.to(at::kCPU).to(at::kDouble), truth = wanted.to(at::kDouble);
  const double size = given.value_or(root_mean_square(truth));
  const at::Tensor excess = (result - truth).abs() - (truth.abs() * tolerance.relative + size * tolerance.absolute + 1e-30);
  // What is not a number is worst.
  const int64_t worst = at::nan_to_num(excess, std::numeric_limits<double>::infinity()).flatten().argmax().item<int64_t>();
  const double beyond = excess.flatten()[worst].item<double>();
  std::ostringstream text;
  text << what << ": element " << worst << " is " << result.flatten()[worst].item<double>() << ", should be "
       << truth.flatten()[worst].item<double>() << " (shape " << got.sizes() << ", size of its terms " << size << ")";
  require(beyond <= 0.0, text.str());
}

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

std::vector<at::Tensor> repeatable(const Backend& backend, const std::string& what, const std::function<std::vector<at::Tensor>()>& f) {
  using emulation::Order;
  std::vector<at::Tensor> first;
  for (const Order order : {Order::fair, Order::by_warp, Order::shuffled}) {
    if (backend.device.is_cpu()) emulation::run_threads(order);
    const std::vector<at::Tensor> results = f();
    if (order == Order::fair) {
      first = results;
      continue;
    }
    for (size_t i = 0; i < results.size(); ++i) {
      require(bits(results[i]).equal(bits(first[i])), what + ": result " + std::to_string(i) + " has other bits when threads run in another order");
    }
  }
  return first;
}

}  // namespace nocturne::check
