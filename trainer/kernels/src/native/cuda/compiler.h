// NVRTC, NVIDIA's compiler as a library, which comes with libtorch: it makes the kernels for the device that is there.
#pragma once

#include <string>
#include <vector>

namespace nocturne::cuda {

// One translation unit of the kernels. They are compiled and loaded apart, several at once.
struct Part {
  const char* name;
  const char* text;
};
const std::vector<Part>& parts();

// What came of a part.
struct Compiled {
  std::string image;  // a cubin, or PTX text for the driver to finish
  std::string log;    // what the compiler had to say; empty if nothing
};

// What to compile for on a device of this compute capability, of what a compiler can (80, 90, ..., ascending): "sm_90", or, where the compiler is
// older than the device, the newest "compute_.." below it, which the driver finishes; empty where there is none.
std::string choose_target(const std::vector<int>& architectures, int major, int minor);

class Compiler {
 public:
  // The compiler, opened by the first call. Throws c10::Error where there is none, with all the places that were looked at.
  static const Compiler& get();

  // For example "13.0".
  const std::string& version() const { return version_; }
  // Where it was found.
  const std::string& path() const { return path_; }

  // As choose_target. Throws c10::Error where there is none.
  std::string target(int major, int minor) const;

  // Throws c10::Error with the compiler's log.
  Compiled compile(const Part& part, const std::string& target, const std::vector<std::string>& more_options = {}) const;

  // The options of every compilation but the target's.
  static const std::vector<std::string>& options();

 private:
  Compiler();

  using Program = void*;
  struct {
    int (*version)(int* major, int* minor);
    int (*architecture_count)(int* count);
    int (*architectures)(int* architectures);
    const char* (*error_text)(int status);
    int (*create)(Program* program, const char* source, const char* name, int headers, const char* const* header_texts,
                  const char* const* header_names);
    int (*destroy)(Program* program);
    int (*compile)(Program program, int count, const char* const* options);
    int (*log_size)(Program program, size_t* bytes);
    int (*log)(Program program, char* text);
    int (*cubin_size)(Program program, size_t* bytes);
    int (*cubin)(Program program, char* image);
    int (*ptx_size)(Program program, size_t* bytes);
    int (*ptx)(Program program, char* text);
  } nvrtc_;
  std::vector<int> architectures_;  // 80, 90, ..., ascending
  std::string version_, path_;
};

}  // namespace nocturne::cuda
