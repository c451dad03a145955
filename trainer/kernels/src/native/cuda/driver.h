// The few functions of NVIDIA's driver (libcuda.so.1) that running a kernel takes, declared by hand after its public documentation: building
// needs no CUDA toolkit.
#pragma once

#include <string>

namespace nocturne::cuda {

// The driver's own types: handles are pointers, a status is a number.
using Status = int;
using DeviceHandle = int;
using Context = void*;
using Module = void*;
using Function = void*;
using Stream = void*;

struct Driver {
  Status (*init)(unsigned flags);
  Status (*get_device)(DeviceHandle* device, int ordinal);
  Status (*attribute)(int* value, int attribute, DeviceHandle device);
  Status (*current_context)(Context* context);
  Status (*make_current)(Context context);
  Status (*retain_primary)(Context* context, DeviceHandle device);
  Status (*load_module)(Module* module, const void* image);
  Status (*get_function)(Function* function, Module module, const char* name);
  Status (*launch)(Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                   unsigned block_z, unsigned shared_bytes, Stream stream, void** arguments, void** extra);
  Status (*error_name)(Status status, const char** name);
  Status (*error_text)(Status status, const char** text);

  // Throws c10::Error unless `status` is success: which call failed, for which kernel or device, the driver's name for it, what to do.
  void check(Status status, const char* call, const std::string& about) const;

  // Makes a context of this device current in the calling thread, as torch would: the one that is, else the device's primary one.
  void ensure_context(int ordinal) const;
};

constexpr Status SUCCESS = 0;
constexpr Status NOT_FOUND = 500;
constexpr int COMPUTE_CAPABILITY_MAJOR = 75;
constexpr int COMPUTE_CAPABILITY_MINOR = 76;

// The driver, opened and initialised by the first call. Throws c10::Error where there is none.
const Driver& driver();

}  // namespace nocturne::cuda
