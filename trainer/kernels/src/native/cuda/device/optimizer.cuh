// The memory-bound halves of Muon, and AdamW. blockIdx.y is the member of a stack.

// momentum = lerp(momentum, gradient, 1 - mu), look = lerp(gradient, momentum, mu), and each block's share of the sum of look^2 as stored.
template <typename T, int N> __device__ inline void muon_look(const MuonLook& a) {
  __shared__ float scratch[WARP];
  const unsigned long long first = blockIdx.y * a.size;
  const float* gradient = a.gradient + first;
  float* momentum = a.momentum + first;
  T* look = static_cast<T*>(a.look) + first;
  float squares = 0.0f;
  const unsigned long long step = static_cast<unsigned long long>(gridDim.x) * blockDim.x * N;
  for (unsigned long long at = (static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x) * N; at < a.size; at += step) {
    float g[N], m[N];
    read<float, N>(gradient + at, g);
    read<float, N>(momentum + at, m);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      m[k] += a.rest * (g[k] - m[k]);
      g[k] += a.mu * (m[k] - g[k]);
    }
    write<float, N>(momentum + at, m);
    const Pack<T, N> pack = Packing<T, N>::pack(g);
    store<T, N>(look + at, pack);
    unpack(pack, g);
#pragma unroll
    for (int k = 0; k < N; ++k) squares += g[k] * g[k];
  }
  squares = block_sum(squares, scratch);
  if (threadIdx.x == 0) a.partial[blockIdx.y * gridDim.x + blockIdx.x] = squares;
}

// A warp has a row.
template <typename T, int N> __device__ inline void muon_row_squares(const MuonSquares& a) {
  const unsigned row = blockIdx.x * warps() + warp();
  if (row >= a.rows) return;
  const unsigned long long line = static_cast<unsigned long long>(blockIdx.y) * a.rows + row;
  const T* direction = static_cast<const T*>(a.direction) + line * a.columns;
  float squares = 0.0f;
  for (unsigned at = lane() * N; at < a.columns; at += WARP * N) {
    float v[N];
    read<T, N>(direction + at, v);
#pragma unroll
    for (int k = 0; k < N; ++k) squares += v[k] * v[k];
  }
  squares = warp_sum(squares);
  if (lane() == 0) a.squares[line] = squares / float(a.columns);
}

// A block has 32 columns; each of its warps takes every so many rows.
template <typename T> __device__ inline void muon_column_squares(const MuonSquares& a) {
  __shared__ float shares[WARP * WARP];
  const unsigned column = blockIdx.x * WARP + lane();
  const T* direction = static_cast<const T*>(a.direction) + static_cast<unsigned long long>(blockIdx.y) * a.rows * a.columns;
  float squares = 0.0f;
  if (column < a.columns) {
    for (unsigned row = warp(); row < a.rows; row += warps()) {
      const float v = to_float(direction[static_cast<unsigned long long>(row) * a.columns + column]);
      squares += v * v;
    }
  }
  shares[warp() * WARP + lane()] = squares;
  __syncthreads();
  if (warp() != 0 || column >= a.columns) return;
  for (unsigned other = 1; other < warps(); ++other) squares += shares[other * WARP + lane()];
  a.squares[static_cast<unsigned long long>(blockIdx.y) * a.columns + column] = squares / float(a.rows);
}

// One block a member; few lines, so this is short.
extern "C" __global__ void __launch_bounds__(256) muon_scales(const MuonScales a) {
  __shared__ float scratch[WARP];
  const unsigned long long first = static_cast<unsigned long long>(blockIdx.y) * a.lines;
  const float* squares = a.squares + first;
  float* second = a.second + first;
  float* scales = a.scales + first;
  float before = 0.0f, after = 0.0f;
  for (unsigned i = threadIdx.x; i < a.lines; i += blockDim.x) {
    const float square = squares[i];
    const float moved = second[i] + a.rest * (square - second[i]);
    second[i] = moved;
    const float scale = rsqrtf(moved < 1e-10f ? 1e-10f : moved);
    scales[i] = scale;
    before += square * a.length;
    after += square * a.length * scale * scale;
  }
  before = block_sum(before, scratch);
  after = __fsqrt_rn(block_sum(after, scratch));
  const float restore = __fsqrt_rn(before) / (after < 1e-10f ? 1e-10f : after);
  for (unsigned i = threadIdx.x; i < a.lines; i += blockDim.x) scales[i] *= restore;  // each thread its own
}
NOCTURNE_REGISTER(muon_scales, MuonScales, (256))

template <typename T, int N> __device__ inline void muon_scale(const MuonScale& a) {
  const unsigned packs = a.columns / N;
  const unsigned long long index = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const unsigned long long row = index / packs;
  if (row >= a.rows) return;
  const unsigned column = static_cast<unsigned>(index % packs) * N;
  T* direction = static_cast<T*>(a.direction) + (static_cast<unsigned long long>(blockIdx.y) * a.rows + row) * a.columns + column;
  const float* scales = a.scales + static_cast<unsigned long long>(blockIdx.y) * (a.by_rows != 0 ? a.rows : a.columns);
  float u[N];
  read<T, N>(direction, u);
#pragma unroll
  for (int k = 0; k < N; ++k) u[k] *= a.by_rows != 0 ? scales[row] : scales[column + k];
  write<T, N>(direction, u);
}

// Cautious weight decay: only where the update shrinks the weight as well.
template <typename T, int N> __device__ inline void cautious_update_at(const CautiousUpdate& a, unsigned long long at) {
  float u[N], p[N];
  read<T, N>(static_cast<const T*>(a.update) + at, u);
  read<float, N>(a.parameter + at, p);
#pragma unroll
  for (int k = 0; k < N; ++k) p[k] -= a.rate * u[k] + (u[k] * p[k] >= 0.0f ? a.decay * p[k] : 0.0f);
  write<float, N>(a.parameter + at, p);
}

template <typename T, int N> __device__ inline void cautious_update(const CautiousUpdate& a) {
  each_part<N>(
      a.count, [&](unsigned long long at) { cautious_update_at<T, N>(a, at); },
      [&](unsigned long long at) { cautious_update_at<T, 1>(a, at); });
}

template <int N> __device__ inline void adamw_at(const AdamW& a, unsigned long long at) {
  float p[N], g[N], m[N], s[N];
  read<float, N>(a.parameter + at, p);
  read<float, N>(a.gradient + at, g);
  read<float, N>(a.mean + at, m);
  read<float, N>(a.square + at, s);
#pragma unroll
  for (int k = 0; k < N; ++k) {
    m[k] += a.mean_weight * (g[k] - m[k]);
    s[k] = a.beta2 * s[k] + a.square_weight * g[k] * g[k];
    p[k] = p[k] * a.keep - a.step * m[k] / (__fsqrt_rn(s[k]) * a.inverse_root_bias2 + a.epsilon);
  }
  write<float, N>(a.parameter + at, p);
  write<float, N>(a.mean + at, m);
  write<float, N>(a.square + at, s);
}

template <int N> __device__ inline void adamw(const AdamW& a) {
  each_part<N>(
      a.count, [&](unsigned long long at) { adamw_at<N>(a, at); }, [&](unsigned long long at) { adamw_at<1>(a, at); });
}

#define NOCTURNE_MUON(T, N)                                                                    \
  NOCTURNE_KERNEL(muon_look_##T##_##N, MuonLook, (256), muon_look<T, N>)                         \
  NOCTURNE_KERNEL(muon_row_squares_##T##_##N, MuonSquares, (128), muon_row_squares<T, N>)        \
  NOCTURNE_KERNEL(muon_scale_##T##_##N, MuonScale, (256), muon_scale<T, N>)                    \
  NOCTURNE_KERNEL(cautious_update_##T##_##N, CautiousUpdate, (256), cautious_update<T, N>)

NOCTURNE_MUON(bf16, 4)
NOCTURNE_MUON(bf16, 1)
NOCTURNE_MUON(float, 4)
NOCTURNE_MUON(float, 1)
NOCTURNE_KERNEL(muon_column_squares_bf16, MuonSquares, (256), muon_column_squares<bf16>)
NOCTURNE_KERNEL(muon_column_squares_float, MuonSquares, (256), muon_column_squares<float>)
NOCTURNE_KERNEL(adamw_4, AdamW, (256), adamw<4>)
NOCTURNE_KERNEL(adamw_1, AdamW, (256), adamw<1>)
