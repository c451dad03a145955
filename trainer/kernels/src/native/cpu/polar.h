// Polar Express on one matrix, in bfloat16 on a processor with AVX512-BF16, over raw memory.
//
// Products of a Gram matrix and its polynomials are symmetric: a little more than half of them is computed and mirrored. Of a matrix that is
// twice as long as wide, or more, two iterations are taken at once on its Gram matrix, and the Gram matrix is then found anew (Gram
// Newton-Schulz with restarts, Zhang, Amsel, Chen and Dao 2026). Nothing leaves the processor's cache between the iterations.
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
