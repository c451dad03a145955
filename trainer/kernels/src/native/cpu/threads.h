// How the CPU half shares work out among libtorch's threads.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace nocturne::cpu {

// Calls f(task) for every task in [0, count), each once: threads take the next task when they are done with one. So one that the system
// holds up does less, and nobody waits for it longer than a task takes.
template <typename F>
void share_out(std::int64_t count, F f) {
  std::atomic<std::int64_t> next = 0;
  at::parallel_for(0, std::min<std::int64_t>(count, at::get_num_threads()), 1, [&](std::int64_t, std::int64_t) {
    for (std::int64_t task = next++; task < count; task = next++) f(task);
  });
}

}  // namespace nocturne::cpu
