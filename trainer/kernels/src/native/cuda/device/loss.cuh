// Cross-entropy of soft-capped logits, and the gradient in their place: each row is read once and written once where it fits into the
// registers of a block, C accesses of N elements a thread. With C = 0 a row is of any length and read three times, mostly from the cache.

// tanh to within 1e-7. For large |x| the exponential is 0 or infinite, and the result exactly -1 or 1.
__device__ inline float quick_tanh(float x) { return 1.0f - __fdividef(2.0f, 1.0f + __expf(2.0f * x)); }

// Calls f(i, at) for each pack of the row that is this thread's.
template <int N, int C, typename F> __device__ inline void each_of_block(unsigned width, F f) {
  if constexpr (C > 0) {
#pragma unroll
    for (int i = 0; i < C; ++i) {
      const unsigned at = (threadIdx.x + blockDim.x * i) * N;
      if (at < width) f(i, at);
    }
  } else {
    for (unsigned at = threadIdx.x * N; at < width; at += blockDim.x * N) f(0, at);
  }
}

template <typename T, int N, int C> __device__ inline void softcap_loss(const SoftcapLoss& a) {
  __shared__ float scratch[WARP];
  T* row = static_cast<T*>(a.logits) + static_cast<unsigned long long>(blockIdx.x) * a.vocabulary;
  const long long target = a.targets[blockIdx.x];
  const bool known = target >= 0 && target < a.vocabulary;
  // Read before anybody writes: two barriers lie between.
  const float chosen = known ? to_float(row[target]) : __uint_as_float(0x7fc00000u);
  const float shrink = 1.0f / a.cap;

  float kept[(C > 0 ? C : 1) * N];  // logits, then their tanh
  float largest = -NOCTURNE_INFINITY;
  each_of_block<N, C>(a.vocabulary, [&](int i, unsigned at) {
    float v[N];
    read<T, N>(row + at, v);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      largest = fmaxf(largest, v[k]);
      if constexpr (C > 0) kept[i * N + k] = v[k];
    }
  });
  // The cap is monotonic: the largest logit stays the largest.
  const float highest = a.cap * quick_tanh(block_largest(largest, scratch) * shrink);

  float sum = 0.0f;
  each_of_block<N, C>(a.vocabulary, [&](int i, unsigned at) {
    float v[N];
    if constexpr (C == 0) read<T, N>(row + at, v);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float squashed = quick_tanh((C > 0 ? kept[i * N + k] : v[k]) * shrink);
      sum += __expf(a.cap * squashed - highest);
      if constexpr (C > 0) kept[i * N + k] = squashed;
    }
  });
  const float logarithm = highest + logf(block_sum(sum, scratch));
  if (threadIdx.x == 0) a.losses[blockIdx.x] = logarithm - a.cap * quick_tanh(chosen * shrink);

  each_of_block<N, C>(a.vocabulary, [&](int i, unsigned at) {
    float v[N];
    if constexpr (C == 0) read<T, N>(row + at, v);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float squashed = C > 0 ? kept[i * N + k] : quick_tanh(v[k] * shrink);
      const float hit = static_cast<long long>(at) + k == target ? 1.0f : 0.0f;
      v[k] = a.scale * (__expf(a.cap * squashed - logarithm) - hit) * (1.0f - squashed * squashed);
    }
    write<T, N>(row + at, v);
  });
}

#define NOCTURNE_SOFTCAP_LOSS(T, N, C) NOCTURNE_KERNEL(softcap_loss_##T##_##N##_##C, SoftcapLoss, (512), softcap_loss<T, N, C>)

NOCTURNE_SOFTCAP_LOSS(bf16, 8, 1)
NOCTURNE_SOFTCAP_LOSS(bf16, 8, 2)
NOCTURNE_SOFTCAP_LOSS(bf16, 8, 4)
NOCTURNE_SOFTCAP_LOSS(bf16, 8, 8)
NOCTURNE_SOFTCAP_LOSS(bf16, 8, 0)
NOCTURNE_SOFTCAP_LOSS(bf16, 1, 0)
NOCTURNE_SOFTCAP_LOSS(float, 4, 4)
NOCTURNE_SOFTCAP_LOSS(float, 4, 8)
NOCTURNE_SOFTCAP_LOSS(float, 4, 0)
NOCTURNE_SOFTCAP_LOSS(float, 1, 0)
