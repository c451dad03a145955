#include "driver.h"

#include "library.h"

namespace nocturne::cuda {
namespace {

const char* advice(Status status) {
  switch (status) {
    case 2:  // CUDA_ERROR_OUT_OF_MEMORY
      return "Use a smaller batch.";
    case 100:  // CUDA_ERROR_NO_DEVICE
    case 101:  // CUDA_ERROR_INVALID_DEVICE
      return "See that nvidia-smi lists the device and that CUDA_VISIBLE_DEVICES names it.";
    case 200:  // CUDA_ERROR_INVALID_IMAGE
    case 209:  // CUDA_ERROR_NO_BINARY_FOR_GPU
    case 218:  // CUDA_ERROR_INVALID_PTX
    case 222:  // CUDA_ERROR_UNSUPPORTED_PTX_VERSION
      return "The driver is older than the compiler: install one that is at least as new as libtorch's CUDA.";
    case 304:  // CUDA_ERROR_OPERATING_SYSTEM
      return "Inside a sandbox: /sys must be readable, /proc/self writable and the device files of NVIDIA visible.";
    case 700:  // CUDA_ERROR_ILLEGAL_ADDRESS
    case 716:  // CUDA_ERROR_MISALIGNED_ADDRESS
    case 719:  // CUDA_ERROR_LAUNCH_FAILED
      return "An operation that was started earlier failed; CUDA_LAUNCH_BLOCKING=1 shows which.";
    case 803:  // CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
      return "The driver's library and its kernel module are of different versions: restart the machine.";
    default:
      return "Look at the output of nvidia-smi and at the kernel's log (dmesg), and report this with both.";
  }
}

Driver open() {
  const Library library = Library::open("NVIDIA's driver", {"libcuda.so.1"},
                                        "Install the driver of the GPU, and in a container give it to that; nvidia-smi must work.");
  Driver d = {};
  library.find("cuInit", d.init);
  library.find("cuDeviceGet", d.get_device);
  library.find("cuDeviceGetAttribute", d.attribute);
  library.find("cuCtxGetCurrent", d.current_context);
  library.find("cuCtxSetCurrent", d.make_current);
  library.find("cuDevicePrimaryCtxRetain", d.retain_primary);
  library.find("cuModuleLoadData", d.load_module);
  library.find("cuModuleGetFunction", d.get_function);
  library.find("cuLaunchKernel", d.launch);
  library.find("cuGetErrorName", d.error_name);
  library.find("cuGetErrorString", d.error_text);
  d.check(d.init(0), "cuInit", "the driver");
  return d;
}

}  // namespace

void Driver::check(Status status, const char* call, const std::string& about) const {
  if (status == SUCCESS) return;
  const char *name = nullptr, *text = nullptr;
  if (error_name(status, &name) != SUCCESS || name == nullptr) name = "an error without a name";
  if (error_text(status, &text) != SUCCESS || text == nullptr) text = "the driver does not describe it";
  TORCH_CHECK(false, call, " failed for ", about, ": ", name, " (", status, "), ", text, ". ", advice(status));
}

void Driver::ensure_context(int ordinal) const {
  Context context = nullptr;
  check(current_context(&context), "cuCtxGetCurrent", "device " + std::to_string(ordinal));
  if (context != nullptr) return;
  // A thread in which torch has not yet done anything. The primary context is torch's own; it is kept for as long as the process lives.
  const std::string about = "device " + std::to_string(ordinal);
  DeviceHandle device = 0;
  check(get_device(&device, ordinal), "cuDeviceGet", about);
  check(retain_primary(&context, device), "cuDevicePrimaryCtxRetain", about);
  check(make_current(context), "cuCtxSetCurrent", about);
}

const Driver& driver() {
  // A failure is thrown again by each call, since the next one tries anew.
  static const Driver opened = open();
  return opened;
}

}  // namespace nocturne::cuda
