#include "host.h"

#include <ATen/Functions.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace nocturne::cuda {

Late::Late(const at::Tensor& x) : arrived_(c10::DeviceType::CUDA) {
  TORCH_CHECK(x.is_cuda() && x.numel() == 1, "a number to be read late must be one element on a CUDA device");
  const c10::DeviceGuard guard(x.device());
  // A copy that is not waited for goes to pinned memory.
  host_ = x.detach().to(at::TensorOptions(at::kCPU).dtype(at::kDouble), /*non_blocking=*/true);
  arrived_.record(c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(x.device()));
}

double Late::read() const {
  arrived_.synchronize();
  return host_.item<double>();
}

std::optional<std::int64_t> peak_memory(int ordinal) {
  // Not c10::getDeviceAllocator, which throws where there is none.
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(c10::DeviceType::CUDA));
  if (allocator == nullptr || !allocator->initialized()) return {};
  const auto stats = allocator->getDeviceStats(static_cast<c10::DeviceIndex>(ordinal));
  return stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
}

}  // namespace nocturne::cuda
