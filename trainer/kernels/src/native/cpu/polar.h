// Polar Express on one matrix, in bfloat16 on a processor with AVX512-BF16, over raw memory.
//
// Its first two products are symmetric: a little more than half of them is computed and mirrored. Nothing leaves the processor's cache
// between the iterations.
#pragma once

#include <cstdint>

#include "rows.h"

namespace nocturne {

// One iteration: x <- a x + (b s + c s^2) x with s = x x^T.
struct PolarStep {
  float a, b, c;
};

// Whether this program and this processor have it. Both sides must be multiples of 64.
bool polar_available();

// In place. matrix: [rows][columns], contiguous, of a norm of at most 1.
void polar_express(Bf16* matrix, std::int64_t rows, std::int64_t columns, const PolarStep* steps, std::int64_t count);

}  // namespace nocturne
