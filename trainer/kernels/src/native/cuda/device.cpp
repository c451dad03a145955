// The kernels on real devices: compiled and loaded once for each, started on torch's current stream.

#include <c10/core/Device.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <future>
#include <mutex>
#include <unordered_map>

#include "cache.h"
#include "compiler.h"
#include "driver.h"
#include "launch.h"

namespace nocturne::cuda {
namespace {

// The oldest devices that the kernels' instructions exist on (shuffles with a mask).
constexpr int OLDEST_MAJOR = 7;
constexpr size_t MOST_DEVICES = 64;

struct Capability {
  int major = 0, minor = 0;
};

// Throws c10::Error also where it is too low.
Capability capability_of(int ordinal) {
  const Driver& cuda = driver();
  const std::string about = "device " + std::to_string(ordinal);
  DeviceHandle device = 0;
  Capability capability;
  cuda.check(cuda.get_device(&device, ordinal), "cuDeviceGet", about);
  cuda.check(cuda.attribute(&capability.major, COMPUTE_CAPABILITY_MAJOR, device), "cuDeviceGetAttribute", about);
  cuda.check(cuda.attribute(&capability.minor, COMPUTE_CAPABILITY_MINOR, device), "cuDeviceGetAttribute", about);
  TORCH_CHECK(capability.major >= OLDEST_MAJOR, about, " has compute capability ", capability.major, ".", capability.minor,
              "; the kernels need ", OLDEST_MAJOR, ".0. The plain operations run on it");
  return capability;
}

// The kernels on one device.
class Device {
 public:
  // Whether they can be used; the first call finds out. Does not throw.
  bool ready(int ordinal) {
    const int state = state_.load(std::memory_order_acquire);
    if (state != UNKNOWN) return state == READY;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (state_.load(std::memory_order_relaxed) == UNKNOWN) state_.store(prepare(ordinal) ? READY : UNUSABLE, std::memory_order_release);
    return state_.load(std::memory_order_relaxed) == READY;
  }

  // Set before `ready` first says no, and not changed afterwards.
  const std::string& why_not() const { return why_not_; }

  Function function(const std::string& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (const auto known = functions_.find(name); known != functions_.end()) return known->second;
    Function function = nullptr;
    for (Module module : modules_) {
      const Status status = driver().get_function(&function, module, name.c_str());
      if (status == NOT_FOUND) continue;
      driver().check(status, "cuModuleGetFunction", "the kernel " + name);
      functions_.emplace(name, function);
      return function;
    }
    TORCH_CHECK(false, "there is no kernel ", name, "; this is a fault of Nocturne's, report it and use kernels::plain meanwhile");
  }

 private:
  enum State { UNKNOWN, READY, UNUSABLE };

  bool prepare(int ordinal) {
    try {
      load(ordinal);
      return true;
    } catch (const c10::Error& error) {
      why_not_ = error.what_without_backtrace();
    } catch (const std::exception& error) {
      why_not_ = error.what();
    } catch (...) {
      why_not_ = "an exception that is not a std::exception";
    }
    // Once for each device: the plain operations do the same, so nothing else would tell.
    std::fprintf(stderr, "kernels: not used on device %d, plain operations are used instead: %s\n", ordinal, why_not_.c_str());
    return false;
  }

  void load(int ordinal) {
    const Driver& cuda = driver();
    const std::string about = "device " + std::to_string(ordinal);
    // Into a list of its own first: a failure must not leave half of them.
    std::vector<Module> modules;
    cuda.ensure_context(ordinal);
    for (const std::string& image : images(capability_of(ordinal))) {
      Module module = nullptr;
      cuda.check(cuda.load_module(&module, image.c_str()), "cuModuleLoadData", "the kernels on " + about);
      modules.push_back(module);
    }
    modules_ = std::move(modules);
  }

  // All parts: from the cache that the environment names, else compiled, all at once.
  static std::vector<std::string> images(Capability capability) {
    const Compiler& compiler = Compiler::get();
    const std::string target = compiler.target(capability.major, capability.minor);
    const char* named = std::getenv(CACHE_VARIABLE);
    const std::string folder = named == nullptr ? "" : named;
    std::vector<std::future<std::string>> images;
    for (const Part& part : parts()) {
      images.push_back(std::async(std::launch::async, [&compiler, &part, target, folder] {
        std::string why;
        if (!folder.empty()) {
          if (auto kept = read_image(folder, ImageKey(part, target, compiler.version()), why)) return std::move(*kept);
        }
        if (!why.empty()) std::fprintf(stderr, "kernels: %s\n", why.c_str());
        return compiler.compile(part, target).image;
      }));
    }
    std::vector<std::string> all;
    for (auto& image : images) all.push_back(image.get());
    return all;
  }

  std::atomic<int> state_{UNKNOWN};
  std::mutex mutex_;
  std::vector<Module> modules_;
  std::unordered_map<std::string, Function> functions_;
  std::string why_not_;
};

// Kept until the process ends, and not destroyed then: other threads may still be at work.
std::array<Device, MOST_DEVICES>& devices() {
  static auto* all = new std::array<Device, MOST_DEVICES>();
  return *all;
}

std::atomic<const char*> last_reason{"no CUDA device has been asked for"};

Device* device_of(const at::Tensor& x) {
  const int ordinal = x.device().index();
  return ordinal >= 0 && static_cast<size_t>(ordinal) < MOST_DEVICES ? &devices()[static_cast<size_t>(ordinal)] : nullptr;
}

}  // namespace

bool available(const at::Tensor& x) {
  if (!x.defined() || !x.is_cuda()) {
    last_reason.store("the tensor is not on a CUDA device");
    return false;
  }
  Device* device = device_of(x);
  if (device == nullptr) {
    last_reason.store("the tensor's device has a number above 63");
    return false;
  }
  try {
    // torch's own context of that device becomes current, whichever thread this is.
    const c10::DeviceGuard guard(x.device());
    if (device->ready(x.device().index())) return true;
    last_reason.store(device->why_not().c_str());
  } catch (...) {
    last_reason.store("torch cannot switch to the tensor's device");
  }
  return false;
}

const char* why_not() { return last_reason.load(); }

void prepare_cache(const std::string& folder, int ordinal) {
  const Capability capability = capability_of(ordinal);
  fill_cache(folder, capability.major, capability.minor);
}

void launch_kernel(const at::Tensor& on, const std::string& kernel, const Grid& grid, void* arguments, size_t) {
  TORCH_CHECK(available(on), "the kernel ", kernel, " cannot be used: ", why_not(), ". Ask `available` first");
  TORCH_CHECK(grid.blocks > 0 && grid.blocks < (int64_t{1} << 31) && grid.members > 0 && grid.members <= 65535, "the kernel ", kernel,
              " would need ", grid.blocks, " times ", grid.members, " blocks; CUDA allows 2^31 - 1 times 65535. Use smaller tensors");
  const c10::DeviceGuard guard(on.device());
  const Driver& cuda = driver();
  cuda.ensure_context(on.device().index());
  const c10::Stream stream = c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(on.device());
  Function function = device_of(on)->function(kernel);
  void* parameters[] = {arguments};
  cuda.check(cuda.launch(function, static_cast<unsigned>(grid.blocks), static_cast<unsigned>(grid.members), 1, grid.threads, 1, 1, 0,
                         stream.native_handle(), parameters, nullptr),
             "cuLaunchKernel", "the kernel " + kernel);
}

}  // namespace nocturne::cuda
