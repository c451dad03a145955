// The host's half without a device: the compiler's choices, the real compiler where there is one, and what is kept in files.

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cuda/cache.h"
#include "cuda/compiler.h"
#include "tests.h"
#include "values.h"

namespace nocturne::check {
namespace {

using namespace nocturne::cuda;
namespace fs = std::filesystem;

// A folder that is removed.
struct Folder {
  Folder() : path(fs::temp_directory_path() / "nocturne-kernels-XXXXXX") {
    std::string name = path.string();
    require(mkdtemp(name.data()) != nullptr, "no folder can be made in " + path.parent_path().string());
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path path;
};

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

void overwrite(const fs::path& path, const std::string& content) { std::ofstream(path, std::ios::binary | std::ios::trunc) << content; }

}  // namespace

void targets(const Backend&) {
  const std::vector<int> known = {75, 80, 86, 89, 90, 100, 120};
  require(choose_target(known, 9, 0) == "sm_90", "an H100 gets code of its own");
  require(choose_target(known, 12, 1) == "compute_120", "a device that is newer than the compiler gets PTX of the newest that it can run");
  require(choose_target(known, 8, 7) == "compute_86", "one between two gets that of the lower");
  require(choose_target(known, 7, 0).empty(), "one that is older than all gets none");
}

void cache(const Backend&) {
  const Folder folder;
  const std::string in = folder.path.string();
  const Part part = {"norms", "text of kernels"}, changed = {"norms", "text of kernels "};
  const ImageKey key(part, "sm_90", "13.0");
  const std::string image("\x7f""ELF\n\0image", 11);
  std::string why;
  require(!read_image(in, key, why) && why.find("compiled instead") != std::string::npos, "an empty folder has no image, and says so: " + why);
  why.clear();
  write_image(in, key, image);
  write_image(in, key, image);
  require(read_image(in, key, why) == image && why.empty(), "an image comes back as it was written");
  require(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 1, "nothing else is left in the folder");
  for (const ImageKey& other : {ImageKey(changed, "sm_90", "13.0"), ImageKey(part, "sm_100", "13.0"), ImageKey(part, "sm_90", "13.1")}) {
    require(!read_image(in, other, why), "another text, target or compiler has images of its own");
  }

  const fs::path path = folder.path / key.file_name();
  const std::string whole = content_of(path);
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    overwrite(path, damaged);
    require(!read_image(in, key, why), "a file whose byte " + std::to_string(at) + " is damaged gives an image");
    overwrite(path, whole.substr(0, at));
    why.clear();
    require(!read_image(in, key, why) && !why.empty(), "a file that ends after " + std::to_string(at) + " bytes gives an image, or no reason");
  }
  overwrite(path, whole + " ");
  require(!read_image(in, key, why), "a file with more behind its image gives one");
  overwrite(path, whole);
  require(read_image(in, key, why).has_value(), "the file as it was does not give the image");

  fs::rename(path, folder.path / "elsewhere");
  fs::create_symlink(folder.path / "elsewhere", path);
  require(!read_image(in, key, why), "a link is followed");
  fs::remove(path);
  fs::create_directory(path);
  why.clear();
  require(!read_image(in, key, why) && why.find("not a regular file") != std::string::npos, "a folder in a file's place is not told: " + why);
  try {
    write_image(in + "/missing", key, image);
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    require(text.find("cannot keep compiled kernels: open") != std::string::npos, "writing to no folder is told otherwise: " + text);
    return;
  }
  require(false, "writing to a folder that is not there succeeds");
}

void filled_cache(const Backend&) {
  const Folder folder;
  const Compiler& compiler = Compiler::get();
  fill_cache(folder.path.string(), 9, 0);
  for (const Part& part : parts()) {
    std::string why;
    const auto kept = read_image(folder.path.string(), ImageKey(part, compiler.target(9, 0), compiler.version()), why);
    require(kept.has_value(), std::string("a trainer finds no image of ") + part.name + ": " + why);
    require(*kept == compiler.compile(part, compiler.target(9, 0)).image, std::string("the image of ") + part.name + " is another");
  }
}

void without_a_device(const Backend&) {
  const at::Tensor x = at::empty({1}, at::kFloat);
  require(!nocturne::cuda::available(x), "the kernels are available for a tensor of the CPU");
  require(std::string(nocturne::cuda::why_not()) == "the tensor is not on a CUDA device", "the reason is another");
}

std::optional<std::string> no_compiler() {
  try {
    Compiler::get();
    return {};
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
}

void compiles(const std::string& target) {
  const Compiler& compiler = Compiler::get();
  for (const Part& part : parts()) {
    // The options say of what would be slow; without a warning the log stays empty.
    const Compiled compiled = compiler.compile(part, target, {"--ptxas-options=--warn-on-spills"});
    const std::string what = std::string("the kernels of ") + part.name + " for " + target;
    require(compiled.log.empty(), what + ", warnings:\n" + compiled.log);
    require(compiled.image.substr(0, 4) == "\x7f""ELF", what + " are not compiled to a program of the device");
  }
}

void errors_are_told() {
  const Compiler& compiler = Compiler::get();
  try {
    compiler.compile({"mistaken", "extern \"C\" __global__ void kernel() { undeclared(); }"}, "sm_90");
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    for (const char* part : {"nvrtcCompileProgram", "mistaken", "sm_90", "undeclared", "plain operations"}) {
      require(text.find(part) != std::string::npos, "the compiler's failure does not say \"" + std::string(part) + "\": " + text);
    }
    return;
  }
  require(false, "a mistake in a kernel's text is compiled");
}

}  // namespace nocturne::check
