// The kernels' own text, compiled for the emulation.
#include "emulation.h"

#include "cuda/arguments.h"
#include "cuda/device/common.cuh"
#include "cuda/device/norms.cuh"
#include "cuda/device/heads.cuh"
#include "cuda/device/pointwise.cuh"
#include "cuda/device/loss.cuh"
#include "cuda/device/optimizer.cuh"
