// What is done head by head: rotary embedding with its norm, and the gated value embedding.
//
// A group of neighbouring threads, a power of two of them, has a head. T: the kind; N: elements of one access; ONCE: whether one access of
// each thread covers the head, so that nothing is read twice.

// Which head a thread works on, and which of the threads of its group it is. Threads behind the last head have none, but must stay for the
// sums over their group.
struct Share {
  unsigned index, member, head, position, batch;
  bool active;

  __device__ explicit Share(const HeadCounts& counts)
      // More threads than 2^32 fit into the grid.
      : index(static_cast<unsigned>((static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x) / counts.group)),
        member(threadIdx.x % counts.group),
        head(index % counts.heads),
        position(index / counts.heads % counts.time),
        batch(index / counts.heads / counts.time),
        active(index < counts.count) {}
  template <typename T> __device__ T* of(const Heads& heads) const {
    return static_cast<T*>(heads.data) + (batch * heads.batch + position * heads.time + head * heads.head);
  }
};

template <typename T, int N, bool ONCE> __device__ inline void rotary_norm_forward(const RotaryNormForward& a) {
  const Share share(a.heads);
  const unsigned half = a.heads.width / 2;
  const T* x = share.of<const T>(a.x);
  T* y = share.of<T>(a.y);
  const float* cosine = a.cosine + static_cast<unsigned long long>(share.position) * half;
  const float* sine = a.sine + static_cast<unsigned long long>(share.position) * half;
  const unsigned first = share.active ? share.member * N : half, step = a.heads.group * N;

  float p[N], q[N];
  const auto rotate = [&](unsigned at) {
    float c[N], s[N];
    read<T, N>(x + at, p);
    read<T, N>(x + half + at, q);
    read_table<N>(cosine + at, c);
    read_table<N>(sine + at, s);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float left = p[k] * c[k] + q[k] * s[k];
      q[k] = q[k] * c[k] - p[k] * s[k];
      p[k] = left;
    }
  };
  float squares = 0.0f;
  for (unsigned at = first; at < half; at += step) {
    rotate(at);
#pragma unroll
    for (int k = 0; k < N; ++k) squares += p[k] * p[k] + q[k] * q[k];
    if (ONCE) break;
  }
  const float inverse = inverse_root_mean(group_sum(squares, a.heads.group), 2 * half, a.epsilon);
  for (unsigned at = first; at < half; at += step) {
    if (!ONCE) rotate(at);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      p[k] *= inverse;
      q[k] *= inverse;
    }
    write<T, N>(y + at, p);
    write<T, N>(y + half + at, q);
    if (ONCE) break;
  }
  if (share.active && share.member == 0) a.inverse[share.index] = inverse;
}

template <typename T, int N, bool ONCE> __device__ inline void rotary_norm_backward(const RotaryNormBackward& a) {
  const Share share(a.heads);
  const unsigned half = a.heads.width / 2;
  const T* dy = share.of<const T>(a.dy);
  const T* y = share.of<const T>(a.y);
  T* dx = share.of<T>(a.dx);
  const float* cosine = a.cosine + static_cast<unsigned long long>(share.position) * half;
  const float* sine = a.sine + static_cast<unsigned long long>(share.position) * half;
  const unsigned first = share.active ? share.member * N : half, step = a.heads.group * N;

  float dp[N], dq[N], p[N], q[N];
  const auto take = [&](unsigned at) {
    read<T, N>(dy + at, dp);
    read<T, N>(dy + half + at, dq);
    read<T, N>(y + at, p);
    read<T, N>(y + half + at, q);
  };
  float products = 0.0f;
  for (unsigned at = first; at < half; at += step) {
    take(at);
#pragma unroll
    for (int k = 0; k < N; ++k) products += dp[k] * p[k] + dq[k] * q[k];
    if (ONCE) break;
  }
  const float mean = group_sum(products, a.heads.group) / float(2 * half);
  const float inverse = share.active ? a.inverse[share.index] : 0.0f;
  for (unsigned at = first; at < half; at += step) {
    if (!ONCE) take(at);
    float c[N], s[N];
    read_table<N>(cosine + at, c);
    read_table<N>(sine + at, s);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float left = inverse * (dp[k] - p[k] * mean), right = inverse * (dq[k] - q[k] * mean);
      dp[k] = left * c[k] - right * s[k];
      dq[k] = left * s[k] + right * c[k];
    }
    write<T, N>(dx + at, dp);
    write<T, N>(dx + half + at, dq);
    if (ONCE) break;
  }
}

__device__ inline float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

template <typename T, int N> __device__ inline void gated_value_forward(const GatedValueForward& a) {
  const Share share(a.heads);
  if (!share.active) return;
  const float gate = 2.0f * sigmoid(to_float(static_cast<const T*>(a.gate)[share.index]));
  const T* value = share.of<const T>(a.value);
  const T* embedding = share.of<const T>(a.embedding);
  T* y = share.of<T>(a.y);
  for (unsigned at = share.member * N; at < a.heads.width; at += a.heads.group * N) {
    float v[N], e[N];
    read<T, N>(value + at, v);
    read<T, N>(embedding + at, e);
#pragma unroll
    for (int k = 0; k < N; ++k) v[k] += gate * e[k];
    write<T, N>(y + at, v);
  }
}

template <typename T, int N> __device__ inline void gated_value_backward(const GatedValueBackward& a) {
  const Share share(a.heads);
  const T* dy = share.of<const T>(a.dy);
  const T* embedding = share.of<const T>(a.embedding);
  T* dembedding = share.of<T>(a.dembedding);
  const float open = share.active ? sigmoid(to_float(static_cast<const T*>(a.gate)[share.index])) : 0.0f;
  float products = 0.0f;
  for (unsigned at = share.active ? share.member * N : a.heads.width; at < a.heads.width; at += a.heads.group * N) {
    float d[N], e[N];
    read<T, N>(dy + at, d);
    read<T, N>(embedding + at, e);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      products += d[k] * e[k];
      d[k] *= 2.0f * open;
    }
    write<T, N>(dembedding + at, d);
  }
  products = group_sum(products, a.heads.group);
  if (share.active && share.member == 0) {
    static_cast<T*>(a.dgate)[share.index] = from_float<T>(products * 2.0f * open * (1.0f - open));
  }
}

#define NOCTURNE_ROTARY(T, N, ONCE)                                                                                 \
  NOCTURNE_KERNEL(rotary_norm_forward_##T##_##N##_##ONCE, RotaryNormForward, (128), rotary_norm_forward<T, N, ONCE>) \
  NOCTURNE_KERNEL(rotary_norm_backward_##T##_##N##_##ONCE, RotaryNormBackward, (128), rotary_norm_backward<T, N, ONCE>)
#define NOCTURNE_GATED(T, N)                                                                          \
  NOCTURNE_KERNEL(gated_value_forward_##T##_##N, GatedValueForward, (128), gated_value_forward<T, N>)   \
  NOCTURNE_KERNEL(gated_value_backward_##T##_##N, GatedValueBackward, (128), gated_value_backward<T, N>)

NOCTURNE_ROTARY(bf16, 8, 1)
NOCTURNE_ROTARY(bf16, 8, 0)
NOCTURNE_ROTARY(bf16, 1, 0)
NOCTURNE_ROTARY(float, 4, 1)
NOCTURNE_ROTARY(float, 4, 0)
NOCTURNE_ROTARY(float, 1, 0)
NOCTURNE_GATED(bf16, 8)
NOCTURNE_GATED(bf16, 1)
NOCTURNE_GATED(float, 4)
NOCTURNE_GATED(float, 1)
