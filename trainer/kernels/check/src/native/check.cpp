// What Rust calls: a test by name, on the emulation or on a device.

#include <c10/util/Exception.h>

#include <map>
#include <string>

#include "order.h"
#include "tests.h"
#include "values.h"

namespace nocturne::check {
namespace {

using Test = void (*)(const Backend& backend);

const std::map<std::string, Test>& tests() {
  static const std::map<std::string, Test> all = {
      {"norms", norms}, {"norms_of_sums", norms_of_sums}, {"many_rows", many_rows}, {"heads", heads}, {"squared_relu", squared_relu},
      {"scaled", scaled}, {"windows", windows}, {"loss", loss},   {"muon", muon},                   {"cautious_update", cautious_update}, {"adamw", adamw}, {"empty_tensors", empty_tensors},
      {"targets", targets}, {"cache", cache}, {"filled_cache", filled_cache}, {"without_a_device", without_a_device},
      {"errors_are_told", [](const Backend&) { errors_are_told(); }},
  };
  return all;
}

thread_local std::string text;

template <typename F>
const char* failure_of(F f) {
  try {
    f();
    return nullptr;
  } catch (const c10::Error& error) {
    text = error.what_without_backtrace();
  } catch (const std::exception& error) {
    text = error.what();
  } catch (...) {
    text = "an exception that is not a std::exception";
  }
  return text.c_str();
}

}  // namespace

Backend emulated() {
#define NOCTURNE_MEMBER(name) &nocturne::emulated::name,
  return {NOCTURNE_EACH_FUNCTION(NOCTURNE_MEMBER) at::Device(at::kCPU)};
#undef NOCTURNE_MEMBER
}

Backend on_device(int ordinal) {
#define NOCTURNE_MEMBER(name) &nocturne::cuda::name,
  return {NOCTURNE_EACH_FUNCTION(NOCTURNE_MEMBER) at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(ordinal))};
#undef NOCTURNE_MEMBER
}

}  // namespace nocturne::check

extern "C" {

using namespace nocturne::check;

// Runs a test; `device`: -1 for the emulation. Null if it holds, else what does not.
const char* nocturne_check_run(const char* name, int device) {
  return failure_of([&] {
    const auto found = tests().find(name);
    require(found != tests().end(), "there is no test of this name");
    found->second(device < 0 ? emulated() : on_device(device));
  });
}

// Compiles all kernels with the real compiler. Null if that holds, else what does not.
const char* nocturne_check_compile(const char* target) {
  return failure_of([&] { compiles(target); });
}

// Null where the real compiler is there, else why not.
const char* nocturne_check_no_compiler() {
  const std::optional<std::string> reason = no_compiler();
  if (!reason) return nullptr;
  text = *reason;
  return text.c_str();
}

// Loads libtorch's CUDA half. Null, or why that fails.
const char* nocturne_check_load_cuda() {
  return failure_of([] { load_cuda(); });
}

// Prints a table of times. Null, or why there is none.
const char* nocturne_check_measure(int device) {
  return failure_of([&] { measure(on_device(device)); });
}

// Compiles the kernels for a device and writes them to a folder. Null, or what stands in the way.
const char* nocturne_check_prepare(const char* folder, int device) {
  return failure_of([&] { nocturne::cuda::prepare_cache(folder, device); });
}

// The kernels that no test on the emulation has launched in this process.
const char* nocturne_check_never_launched() {
  text = emulation::never_launched();
  return text.c_str();
}
}
