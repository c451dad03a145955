// Chooses among the instruction sets that rows.cpp was compiled for.

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
#endif

const Rows& rows() {
#if defined(NOCTURNE_ROWS_X86)
  // The features of x86-64-v4 and x86-64-v3 that compilers use for these loops.
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd")) {
    return avx512::all;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return avx2::all;
#endif
  return portable::all;
}

}  // namespace nocturne
