// Shared libraries that are opened at run time, because neither building nor testing may need them.
#pragma once

#include <c10/util/Exception.h>

#include <string>
#include <vector>

namespace nocturne::cuda {

// A library that stays open until the process ends.
class Library {
 public:
  // The first of `paths` (or names, for the loader to find) that can be opened. Throws c10::Error, which says of each why not, and then `help`.
  static Library open(const std::string& what, const std::vector<std::string>& paths, const std::string& help);

  // Where the address of one of its functions goes. Throws c10::Error if it has none of that name.
  template <typename Function>
  void find(const char* name, Function& function) const {
    function = reinterpret_cast<Function>(address(name));
  }

  // The path or name by which it was opened.
  const std::string& path() const { return path_; }

 private:
  Library(void* handle, std::string path) : handle_(handle), path_(std::move(path)) {}
  void* address(const char* name) const;

  void* handle_;
  std::string path_;
};

// The folder that this process has loaded the library of this file name from, links followed; empty if it has not.
std::string folder_of_loaded(const std::string& file_name);

}  // namespace nocturne::cuda
