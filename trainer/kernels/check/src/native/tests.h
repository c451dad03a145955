// The tests by name. Each throws with a text if it fails.
#pragma once

#include <optional>
#include <string>

#include "backend.h"

namespace nocturne::check {

void norms(const Backend& backend);
void norms_of_sums(const Backend& backend);
void many_rows(const Backend& backend);
void heads(const Backend& backend);
void squared_relu(const Backend& backend);
void scaled(const Backend& backend);
void loss(const Backend& backend);
void muon(const Backend& backend);
void cautious_update(const Backend& backend);
void adamw(const Backend& backend);
void empty_tensors(const Backend& backend);
// On a device; the emulation has none of libtorch's own kernels, and there it is only seen that none is taken.
void windows(const Backend& backend);

// These take no backend: they need no device.
void targets(const Backend&);
void cache(const Backend&);
void filled_cache(const Backend&);
void without_a_device(const Backend&);

// With the real compiler. Why there is none, if so.
std::optional<std::string> no_compiler();
// For a target such as "sm_90": it compiles, without warnings, and no kernel keeps registers in memory.
void compiles(const std::string& target);
void errors_are_told();


// Before anything is done on a device. Throws c10::Error.
void load_cuda();
// Prints how long each kernel takes.
void measure(const Backend& backend);

}  // namespace nocturne::check
