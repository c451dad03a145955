#include "emulation.h"

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/launch.h"
#include "order.h"

namespace emulation {

Place place;

namespace {

constexpr unsigned WARP = 32;
constexpr std::size_t STACK_BYTES = 128 << 10;

struct Kernel {
  Bounds bounds;
  std::size_t bytes;
  void (*run)(const void* arguments);
};

std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> all;
  return all;
}
std::set<std::string>& used() {
  static std::set<std::string> names;
  return names;
}

Order order = Order::fair;

// Those who have arrived wait until the last one has.
struct Barrier {
  unsigned members = 0, arrived = 0, generation = 0;
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  const Barrier* waits_for = nullptr;
  unsigned generation = 0;
  unsigned shuffles = 0;
  bool done = false;
};

// The block that runs.
struct Block {
  ucontext_t scheduler;
  std::vector<Fiber>* fibers = nullptr;
  Barrier all;
  std::array<Barrier, WARP> warps;
  // What each lane gives away, by the parity of its shuffles: a lane can be one shuffle ahead of another, not two.
  std::array<std::array<std::array<float, WARP>, 2>, WARP> given;
  const Kernel* kernel = nullptr;
  const void* arguments = nullptr;
  std::string failure;
} block;

void wait(Barrier& barrier) {
  Fiber& self = (*block.fibers)[place.thread.x];
  if (++barrier.arrived == barrier.members) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  self.waits_for = &barrier;
  self.generation = barrier.generation;
  swapcontext(&self.context, &block.scheduler);
}

void run_fiber() {
  try {
    block.kernel->run(block.arguments);
  } catch (const std::exception& error) {
    // An exception must not leave a fiber's stack.
    if (block.failure.empty()) block.failure = error.what();
  }
  Fiber& self = (*block.fibers)[place.thread.x];
  self.done = true;
  swapcontext(&self.context, &block.scheduler);
}

// Lets a thread go on to its next barrier or shuffle, or to its end. False if it cannot go on.
bool step(unsigned thread, unsigned& left) {
  Fiber& fiber = (*block.fibers)[thread];
  if (fiber.done || (fiber.waits_for != nullptr && fiber.waits_for->generation == fiber.generation)) return false;
  fiber.waits_for = nullptr;
  place.thread = {thread, 0, 0};
  swapcontext(&block.scheduler, &fiber.context);
  if (fiber.done) --left;
  return true;
}

// Lets each thread go on at least once, if it can. False if none could.
bool round(unsigned threads, unsigned& left) {
  bool moved = false;
  if (order == Order::by_warp) {
    for (unsigned end = threads; end > 0; end -= WARP) {
      for (bool warp_moved = true; warp_moved;) {
        warp_moved = false;
        for (unsigned lane = 0; lane < WARP; ++lane) warp_moved = step(end - WARP + lane, left) || warp_moved;
        moved = moved || warp_moved;
      }
    }
    return moved;
  }
  std::vector<unsigned> numbers(threads);
  std::iota(numbers.begin(), numbers.end(), 0u);
  if (order == Order::shuffled) {
    static std::mt19937 random(7);
    std::shuffle(numbers.begin(), numbers.end(), random);
  }
  for (const unsigned thread : numbers) moved = step(thread, left) || moved;
  return moved;
}

void run_block(const std::string& name, unsigned threads) {
  static std::vector<Fiber> fibers;
  while (fibers.size() < threads) {
    fibers.emplace_back();
    fibers.back().stack = std::make_unique_for_overwrite<char[]>(STACK_BYTES);
  }
  block.fibers = &fibers;
  block.all = {threads, 0, 0};
  for (Barrier& warp : block.warps) warp = {WARP, 0, 0};
  block.failure.clear();
  for (unsigned thread = 0; thread < threads; ++thread) {
    Fiber& fiber = fibers[thread];
    fiber.waits_for = nullptr;
    fiber.shuffles = 0;
    fiber.done = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = STACK_BYTES;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, run_fiber, 0);
  }
  for (unsigned left = threads; left > 0;) {
    const bool moved = round(threads, left);
    if (!block.failure.empty()) throw std::runtime_error("the kernel " + name + ": " + block.failure);
    if (!moved) throw std::runtime_error("the kernel " + name + ": some threads wait at a barrier that others have not come to and never will");
  }
}

}  // namespace

void block_barrier() { wait(block.all); }

float shuffle(unsigned lanes, float value, int distance) {
  if (lanes != 0xffffffffu) throw std::runtime_error("a shuffle of some lanes of a warp; the emulation knows only those of all");
  Fiber& self = (*block.fibers)[place.thread.x];
  const unsigned warp = place.thread.x / WARP, lane = place.thread.x % WARP, parity = self.shuffles++ % 2;
  block.given[warp][parity][lane] = value;
  wait(block.warps[warp]);
  return block.given[warp][parity][lane ^ static_cast<unsigned>(distance)];
}

void check_aligned(const void* pointer, std::size_t size) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % size != 0) throw std::runtime_error("an access to an address that is not a multiple of its size");
}

Registration::Registration(const char* name, Bounds bounds, std::size_t bytes, void (*run)(const void* arguments)) {
  kernels().emplace(name, Kernel{bounds, bytes, run});
}

void run_threads(Order wanted) { order = wanted; }

std::string never_launched() {
  std::string names;
  for (const auto& [name, kernel] : kernels()) {
    if (!used().contains(name)) names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

}  // namespace emulation

namespace nocturne::emulated {

void launch_kernel(const at::Tensor&, const std::string& name, const Grid& grid, void* arguments, size_t bytes) {
  using emulation::place;
  const auto found = emulation::kernels().find(name);
  TORCH_CHECK(found != emulation::kernels().end(), "there is no kernel ", name);
  const emulation::Kernel& kernel = found->second;
  TORCH_CHECK(kernel.bytes == bytes, "the kernel ", name, " takes ", kernel.bytes, " bytes of arguments and got ", bytes);
  TORCH_CHECK(grid.threads > 0 && grid.threads <= kernel.bounds.threads && grid.threads % 32 == 0, "the kernel ", name, " was started with ",
              grid.threads, " threads; it takes whole warps, up to ", kernel.bounds.threads);
  TORCH_CHECK(grid.blocks > 0 && grid.members > 0 && grid.members <= 65535, "the kernel ", name, " was started over no block, or too many");
  emulation::used().insert(name);
  emulation::block.kernel = &kernel;
  emulation::block.arguments = arguments;
  place.block_size = {grid.threads, 1, 1};
  place.grid_size = {static_cast<unsigned>(grid.blocks), static_cast<unsigned>(grid.members), 1};
  for (unsigned member = 0; member < place.grid_size.y; ++member) {
    for (unsigned block = 0; block < place.grid_size.x; ++block) {
      place.block = {block, member, 0};
      emulation::run_block(name, grid.threads);
    }
  }
}

}  // namespace nocturne::emulated
