// Squared ReLU, multiplication by a number on the device, and sums of what blocks have left behind.
//
// y = max(x, 0)^2, whose derivative 2 max(x, 0) is 2 sqrt(y), so the input need not be kept.
//
// T: the kind; N: elements of one access. What is left behind the last whole access is done element by element.

__device__ inline float squared_relu(float x) {
  // Not fmaxf, which takes 0 for what is not a number.
  return x < 0.0f ? 0.0f : x * x;
}
__device__ inline float squared_relu_slope(float y) { return 2.0f * __fsqrt_rn(y); }

template <typename T, int N> __device__ inline void squared_relu_forward(const SquaredReluForward& a) {
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  each_part<N>(
      a.count,
      [&](unsigned long long at) {
        float v[N];
        read<T, N>(x + at, v);
#pragma unroll
        for (int k = 0; k < N; ++k) v[k] = squared_relu(v[k]);
        write<T, N>(y + at, v);
      },
      [&](unsigned long long at) { y[at] = from_float<T>(squared_relu(to_float(x[at]))); });
}

template <typename T, int N> __device__ inline void squared_relu_backward(const SquaredReluBackward& a) {
  const T* dy = static_cast<const T*>(a.dy);
  const T* y = static_cast<const T*>(a.y);
  T* dx = static_cast<T*>(a.dx);
  each_part<N>(
      a.count,
      [&](unsigned long long at) {
        float d[N], v[N];
        read<T, N>(dy + at, d);
        read<T, N>(y + at, v);
#pragma unroll
        for (int k = 0; k < N; ++k) d[k] *= squared_relu_slope(v[k]);
        write<T, N>(dx + at, d);
      },
      [&](unsigned long long at) { dx[at] = from_float<T>(to_float(dy[at]) * squared_relu_slope(to_float(y[at]))); });
}

#define NOCTURNE_SQUARED_RELU(T, N)                                                                       \
  NOCTURNE_KERNEL(squared_relu_forward_##T##_##N, SquaredReluForward, (256), squared_relu_forward<T, N>)    \
  NOCTURNE_KERNEL(squared_relu_backward_##T##_##N, SquaredReluBackward, (256), squared_relu_backward<T, N>)

NOCTURNE_SQUARED_RELU(bf16, 8)
NOCTURNE_SQUARED_RELU(bf16, 1)
NOCTURNE_SQUARED_RELU(float, 4)
NOCTURNE_SQUARED_RELU(float, 1)

// Most often the factor is 1, and the tensor the largest of a step.
template <typename T, int N> __device__ inline void scale(const Scale& a) {
  const float factor = *a.factor;
  if (factor == 1.0f) return;
  T* x = static_cast<T*>(a.x);
  each_part<N>(
      a.count,
      [&](unsigned long long at) {
        float v[N];
        read<T, N>(x + at, v);
#pragma unroll
        for (int k = 0; k < N; ++k) v[k] *= factor;
        write<T, N>(x + at, v);
      },
      [&](unsigned long long at) { x[at] = from_float<T>(to_float(x[at]) * factor); });
}

NOCTURNE_KERNEL(scale_bf16_8, Scale, (256), scale<bf16, 8>)
NOCTURNE_KERNEL(scale_bf16_1, Scale, (256), scale<bf16, 1>)
NOCTURNE_KERNEL(scale_float_4, Scale, (256), scale<float, 4>)
NOCTURNE_KERNEL(scale_float_1, Scale, (256), scale<float, 1>)

extern "C" __global__ void __launch_bounds__(256) sum_partials(const SumPartials arguments) {
  __shared__ float scratch[WARP];
  const float* partial = arguments.partial + static_cast<unsigned long long>(blockIdx.x) * arguments.count;
  float sum = 0.0f;
  for (unsigned i = threadIdx.x; i < arguments.count; i += blockDim.x) sum += partial[i];
  sum = block_sum(sum, scratch);
  if (threadIdx.x != 0) return;
  if (arguments.other != nullptr && blockIdx.x == 1) {
    *arguments.other = sum;
  } else {
    arguments.out[blockIdx.x] = sum;
  }
}
NOCTURNE_REGISTER(sum_partials, SumPartials, (256))
