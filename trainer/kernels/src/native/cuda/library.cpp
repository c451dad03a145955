#include "library.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>

namespace nocturne::cuda {

Library Library::open(const std::string& what, const std::vector<std::string>& paths, const std::string& help) {
  std::string failures;
  for (const std::string& path : paths) {
    dlerror();
    if (void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return {handle, path};
    const char* why = dlerror();
    failures += "\n  " + path + ": " + (why == nullptr ? "the loader gives no reason" : why);
  }
  TORCH_CHECK(false, what, " cannot be opened. Tried:", failures, "\n", help);
}

void* Library::address(const char* name) const {
  dlerror();
  void* found = dlsym(handle_, name);
  TORCH_CHECK(found != nullptr, path_, " has no function ", name, "; it is of a version that these kernels do not know");
  return found;
}

std::string folder_of_loaded(const std::string& file_name) {
  struct Search {
    std::string ending, path;
  } search{"/" + file_name, {}};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto& search = *static_cast<Search*>(data);
        const std::string path = info->dlpi_name == nullptr ? "" : info->dlpi_name;
        if (!path.ends_with(search.ending)) return 0;
        search.path = path;
        return 1;
      },
      &search);
  char* real = search.path.empty() ? nullptr : realpath(search.path.c_str(), nullptr);
  if (real == nullptr) return {};
  const std::string path = real;
  std::free(real);
  return path.substr(0, path.rfind('/'));
}

}  // namespace nocturne::cuda
