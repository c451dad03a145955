// What tests ask of the emulation.
#pragma once

#include <string>

namespace emulation {

// In which order the threads of a block go on: `fair`, each as far as its next barrier or shuffle, then the next; `by_warp`, from the last warp
// to the first, each as far as it can come without the others; `shuffled`, as `fair`, in another order each time. A kernel that lacks a barrier
// gives different results.
enum class Order { fair, by_warp, shuffled };
void run_threads(Order order);

// The kernels that nothing has launched so far, by name; empty if there are none.
std::string never_launched();

}  // namespace emulation
