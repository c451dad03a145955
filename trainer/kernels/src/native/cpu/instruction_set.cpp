// Chooses among the instruction sets that rows.cpp was compiled for.

#include <cstdlib>
#include <cstring>

#include "rows.h"

namespace nocturne {

namespace portable {
extern const Rows all;
}
#if defined(NOCTURNE_ROWS_X86)
namespace avx2 {
extern const Rows all;
}
namespace avx512 {
extern const Rows all;
}
#if defined(NOCTURNE_AVX512_BF16)
namespace avx512_bf16 {
extern const Rows all;
}
#endif
#endif

namespace {

#if defined(NOCTURNE_ROWS_X86)
// The features of x86-64-v4 and x86-64-v3 that compilers use for these loops.
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
}
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"); }
#endif

// The best set of this processor, or a lesser one that tests ask for by its name.
const Rows& choose() {
  const char* asked = std::getenv("NOCTURNE_INSTRUCTION_SET");
  const auto takes = [&](const Rows& set, bool has) { return has && (asked == nullptr || std::strcmp(asked, set.name) == 0); };
#if defined(NOCTURNE_ROWS_X86)
#if defined(NOCTURNE_AVX512_BF16)
  if (takes(avx512_bf16::all, has_avx512() && __builtin_cpu_supports("avx512bf16"))) return avx512_bf16::all;
#endif
  if (takes(avx512::all, has_avx512())) return avx512::all;
  if (takes(avx2::all, has_avx2())) return avx2::all;
#endif
  static_cast<void>(takes);
  return portable::all;
}

}  // namespace

const Rows& rows() {
  static const Rows& chosen = choose();
  return chosen;
}

}  // namespace nocturne
