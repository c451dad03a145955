// RMSNorm, alone and behind a sum, forward and backward. A warp has a row.
//
// T: the kind. N: elements of one access. C: accesses of a lane that hold the whole row in registers, or 0: then rows are of any width, and
// what is needed twice is read twice (the second time from the cache).

// Calls f(i, at) for each pack of a row that is this lane's: the i-th in registers, at element `at`.
template <int N, int C, typename F> __device__ inline void each_pack(unsigned width, F f) {
  if constexpr (C > 0) {
#pragma unroll
    for (int i = 0; i < C; ++i) {
      const unsigned at = (lane() + WARP * i) * N;
      if (at < width) f(i, at);
    }
  } else {
    for (unsigned at = lane() * N; at < width; at += WARP * N) f(0, at);
  }
}

// A lane's part of a row that is read or made once and needed again.
template <typename T, int N, int C> struct Row {
  T* place;
  Pack<T, N> kept[C > 0 ? C : 1];

  __device__ explicit Row(const void* base, unsigned long long first)
      : place(static_cast<T*>(const_cast<void*>(base)) + first) {}
  // The first read of a pack.
  __device__ void take(int i, unsigned at, float (&out)[N]) {
    const Pack<T, N> pack = load<T, N>(place + at);
    if constexpr (C > 0) kept[i] = pack;
    unpack(pack, out);
  }
  // Writes a pack; `values` become what was stored.
  __device__ void put(int i, unsigned at, float (&values)[N]) {
    const Pack<T, N> pack = Packing<T, N>::pack(values);
    store<T, N>(place + at, pack);
    if constexpr (C > 0) kept[i] = pack;
    unpack(pack, values);
  }
  // A later read.
  __device__ void again(int i, unsigned at, float (&out)[N]) const {
    if constexpr (C > 0) {
      unpack(kept[i], out);
    } else {
      unpack(load<T, N>(place + at), out);
    }
  }
};

// Gives the lane's share of the sum of a row's squares its meaning: writes the row divided by its root mean square, and what it was multiplied by.
template <typename T, int N, int C, typename Arguments>
__device__ inline void write_norm(const Row<T, N, C>& x, float squares, unsigned row, const Arguments& a) {
  const float inverse = inverse_root_mean(warp_sum(squares), a.width, a.epsilon);
  T* y = static_cast<T*>(a.y) + static_cast<unsigned long long>(row) * a.width;
  each_pack<N, C>(a.width, [&](int i, unsigned at) {
    float v[N];
    x.again(i, at, v);
#pragma unroll
    for (int k = 0; k < N; ++k) v[k] *= inverse;
    write<T, N>(y + at, v);
  });
  if (lane() == 0) a.inverse[row] = inverse;
}

template <typename T, int N, int C> __device__ inline void norm_forward(const NormForward& a) {
  const unsigned row = blockIdx.x * warps() + warp();
  if (row >= a.rows) return;
  const unsigned long long first = static_cast<unsigned long long>(row) * a.width;
  Row<T, N, C> x(a.x, first);
  float squares = 0.0f;
  each_pack<N, C>(a.width, [&](int i, unsigned at) {
    float v[N];
    x.take(i, at, v);
#pragma unroll
    for (int k = 0; k < N; ++k) squares += v[k] * v[k];
  });
  write_norm(x, squares, row, a);
}

template <typename T, int N, int C> __device__ inline void mix_norm_forward(const MixNormForward& a) {
  const unsigned row = blockIdx.x * warps() + warp();
  if (row >= a.rows) return;
  const unsigned long long first = static_cast<unsigned long long>(row) * a.width;
  float of_x = 1.0f, of_other = 1.0f;
  if (a.a != nullptr) {
    of_x = *a.a;
    of_other = *a.b;
  }
  const T* x = static_cast<const T*>(a.x) + first;
  const T* other = static_cast<const T*>(a.other) + first;
  Row<T, N, C> sum(a.sum, first);
  float squares = 0.0f;
  each_pack<N, C>(a.width, [&](int i, unsigned at) {
    float v[N], w[N];
    read<T, N>(x + at, v);
    read<T, N>(other + at, w);
#pragma unroll
    for (int k = 0; k < N; ++k) v[k] = of_other * w[k] + of_x * v[k];
    sum.put(i, at, v);  // the norm is that of the sum as it is stored
#pragma unroll
    for (int k = 0; k < N; ++k) squares += v[k] * v[k];
  });
  write_norm(sum, squares, row, a);
}

// Calls f(at, d) for each pack of a row that is this lane's, d being the gradient of what was normed, and of what is added to it if
// something is.
template <typename T, int N, int C, typename Arguments, typename F>
__device__ inline void each_gradient(const Arguments& a, unsigned row, F f) {
  const unsigned long long first = static_cast<unsigned long long>(row) * a.width;
  Row<T, N, C> dy(a.dy, first), y(a.y, first);
  float products = 0.0f;
  each_pack<N, C>(a.width, [&](int i, unsigned at) {
    float v[N], w[N];
    dy.take(i, at, v);
    y.take(i, at, w);
#pragma unroll
    for (int k = 0; k < N; ++k) products += v[k] * w[k];
  });
  const float mean = warp_sum(products) / float(a.width);
  const float inverse = a.inverse[row];
  const T* dsum = a.dsum == nullptr ? nullptr : static_cast<const T*>(a.dsum) + first;
  each_pack<N, C>(a.width, [&](int i, unsigned at) {
    float d[N], w[N];
    dy.again(i, at, d);
    y.again(i, at, w);
#pragma unroll
    for (int k = 0; k < N; ++k) d[k] = inverse * (d[k] - w[k] * mean);
    if (dsum != nullptr) {
      read<T, N>(dsum + at, w);
#pragma unroll
      for (int k = 0; k < N; ++k) d[k] += w[k];
    }
    f(at, d);
  });
}

template <typename T, int N, int C> __device__ inline void norm_backward(const NormBackward& a) {
  const unsigned row = blockIdx.x * warps() + warp();
  if (row >= a.rows) return;
  T* dx = static_cast<T*>(a.dx) + static_cast<unsigned long long>(row) * a.width;
  each_gradient<T, N, C>(a, row, [&](unsigned at, float (&d)[N]) { write<T, N>(dx + at, d); });
}

// Each warp takes row after row, so that the sums da and db need few partial ones; sum_partials adds these up.
template <typename T, int N, int C> __device__ inline void mix_norm_backward(const MixNormBackward& a) {
  __shared__ float scratch[WARP];
  const float of_x = *a.a, of_other = *a.b;
  float da = 0.0f, db = 0.0f;
  for (unsigned row = blockIdx.x * warps() + warp(); row < a.rows; row += gridDim.x * warps()) {
    const unsigned long long first = static_cast<unsigned long long>(row) * a.width;
    const T* x = static_cast<const T*>(a.x) + first;
    const T* other = static_cast<const T*>(a.other) + first;
    T* dx = static_cast<T*>(a.dx) + first;
    T* dother = static_cast<T*>(a.dother) + first;
    each_gradient<T, N, C>(a, row, [&](unsigned at, float (&d)[N]) {
      float out[N], w[N];
      read<T, N>(x + at, w);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        da += d[k] * w[k];
        out[k] = of_x * d[k];
      }
      write<T, N>(dx + at, out);
      read<T, N>(other + at, w);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        db += d[k] * w[k];
        out[k] = of_other * d[k];
      }
      write<T, N>(dother + at, out);
    });
  }
  da = block_sum(da, scratch);
  db = block_sum(db, scratch);
  if (threadIdx.x == 0) {
    a.partial[blockIdx.x] = da;
    a.partial[gridDim.x + blockIdx.x] = db;
  }
}

#define NOCTURNE_NORMS(T, N, C)                                                                     \
  NOCTURNE_KERNEL(norm_forward_##T##_##N##_##C, NormForward, (128), norm_forward<T, N, C>)             \
  NOCTURNE_KERNEL(norm_backward_##T##_##N##_##C, NormBackward, (128), norm_backward<T, N, C>)          \
  NOCTURNE_KERNEL(mix_norm_forward_##T##_##N##_##C, MixNormForward, (128, 8), mix_norm_forward<T, N, C>)  \
  NOCTURNE_KERNEL(mix_norm_backward_##T##_##N##_##C, MixNormBackward, (128), mix_norm_backward<T, N, C>)

NOCTURNE_NORMS(bf16, 8, 2)
NOCTURNE_NORMS(bf16, 8, 8)
NOCTURNE_NORMS(bf16, 8, 0)
NOCTURNE_NORMS(bf16, 1, 0)
NOCTURNE_NORMS(float, 4, 4)
NOCTURNE_NORMS(float, 4, 0)
NOCTURNE_NORMS(float, 1, 0)
