// Compiled kernels in a folder, so that a trial need not compile them.
//
// What is loaded onto a device runs there with all of its process's rights. So this folder must never have been writable to a process that ran
// edited code: `write` is for a trusted process, before the night, and `read` for the confined ones, which are given the folder read-only.
// There is no function that does both, and a process that compiles because nothing is there keeps the result to itself.
#pragma once

#include <optional>
#include <string>

#include "compiler.h"

namespace nocturne::cuda {

// The environment variable that names the folder to read from.
constexpr const char* CACHE_VARIABLE = "NOCTURNE_KERNEL_CACHE";

// What an image depends on: part, its text, the target, the options, the compiler's version.
struct ImageKey {
  ImageKey(const Part& part, const std::string& target, const std::string& compiler_version);

  std::string file_name() const;
  // The whole key in one line, written into the file and compared on reading.
  std::string line;
  std::string part, target;
};

// The image of this key in `folder`. Nothing where there is no such file, or where it is not whole, or another's: it is compiled then, and `why`
// gets a line for people. A folder was named so that nothing need be compiled.
std::optional<std::string> read_image(const std::string& folder, const ImageKey& key, std::string& why);

// Writes an image so that readers see the whole file or none. Throws c10::Error.
void write_image(const std::string& folder, const ImageKey& key, const std::string& image);

// Compiles all parts for a device of this compute capability and writes them to `folder`, which exists. Throws c10::Error.
void fill_cache(const std::string& folder, int major, int minor);

}  // namespace nocturne::cuda
