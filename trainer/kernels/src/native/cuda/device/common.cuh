// What all kernels share: element kinds, accesses of 16 bytes, sums over a warp, a group of threads and a block.
//
// This text is compiled for the device by NVRTC, which needs no header for it, and for the host by the emulation that the tests use. It takes
// nothing from CUDA but what is built into the compiler.
//
// All arithmetic is in float32. Sums are added in an order that the launch's shape fixes: no kernel adds floating point numbers atomically, so
// the same call gives the same bits.

using namespace nocturne_kernels;

// A bfloat16 as it lies in memory.
struct bf16 {
  unsigned short bits;
};

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return __uint_as_float(unsigned(x.bits) << 16); }

// The nearest bfloat16, ties to even, in the low half of the word.
__device__ inline unsigned bf16_bits(float x) {
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (bits >> 16) | 0x40u;  // not a number, and stays so
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

// Two of them in one word, `low` in the low half.
__device__ inline unsigned bf16_pair(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return bf16_bits(low) | (bf16_bits(high) << 16);
#endif
}

template <typename T> __device__ inline T from_float(float x);
template <> __device__ inline float from_float<float>(float x) { return x; }
template <> __device__ inline bf16 from_float<bf16>(float x) { return bf16{static_cast<unsigned short>(bf16_pair(x, 0.0f) & 0xffffu)}; }

// N neighbouring elements, read and written in one access. Its address is a multiple of its size.
template <int WORDS> struct alignas(4 * WORDS) Words {
  unsigned word[WORDS];
};
template <typename T, int N> struct Pack {
  Words<N * int(sizeof(T)) / 4> words;
};
template <typename T> struct Pack<T, 1> {
  T element;
};

template <typename T, int N> __device__ inline Pack<T, N> load(const T* from) {
  NOCTURNE_CHECK_ALIGNED(from, sizeof(Pack<T, N>));
  return *reinterpret_cast<const Pack<T, N>*>(from);
}
template <typename T, int N> __device__ inline void store(T* to, const Pack<T, N>& pack) {
  NOCTURNE_CHECK_ALIGNED(to, sizeof(Pack<T, N>));
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// Packs as numbers, and back.
template <typename T, int N> struct Packing;
template <int N> struct Packing<float, N> {
  __device__ static void unpack(const Pack<float, N>& pack, float (&out)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) out[i] = __uint_as_float(pack.words.word[i]);
  }
  __device__ static Pack<float, N> pack(const float (&in)[N]) {
    Pack<float, N> pack;
#pragma unroll
    for (int i = 0; i < N; ++i) pack.words.word[i] = __float_as_uint(in[i]);
    return pack;
  }
};
template <int N> struct Packing<bf16, N> {
  __device__ static void unpack(const Pack<bf16, N>& pack, float (&out)[N]) {
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      out[2 * i] = __uint_as_float(pack.words.word[i] << 16);
      out[2 * i + 1] = __uint_as_float(pack.words.word[i] & 0xffff0000u);
    }
  }
  __device__ static Pack<bf16, N> pack(const float (&in)[N]) {
    Pack<bf16, N> pack;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) pack.words.word[i] = bf16_pair(in[2 * i], in[2 * i + 1]);
    return pack;
  }
};
template <typename T> struct SingleElement {
  __device__ static void unpack(const Pack<T, 1>& pack, float (&out)[1]) { out[0] = to_float(pack.element); }
  __device__ static Pack<T, 1> pack(const float (&in)[1]) { return Pack<T, 1>{from_float<T>(in[0])}; }
};
template <> struct Packing<float, 1> : SingleElement<float> {};
template <> struct Packing<bf16, 1> : SingleElement<bf16> {};

template <typename T, int N> __device__ inline void unpack(const Pack<T, N>& pack, float (&out)[N]) { Packing<T, N>::unpack(pack, out); }
template <typename T, int N> __device__ inline void read(const T* from, float (&out)[N]) { unpack(load<T, N>(from), out); }
template <typename T, int N> __device__ inline void write(T* to, const float (&in)[N]) { store<T, N>(to, Packing<T, N>::pack(in)); }

// The float32 numbers of a table, as many as a pack has elements, however wide that makes them.
template <int N> __device__ inline void read_table(const float* from, float (&out)[N]) {
  constexpr int PART = N % 4 == 0 ? 4 : 1;
#pragma unroll
  for (int at = 0; at < N; at += PART) {
    float part[PART];
    read<float, PART>(from + at, part);
#pragma unroll
    for (int i = 0; i < PART; ++i) out[at + i] = part[i];
  }
}

constexpr unsigned WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

__device__ inline unsigned lane() { return threadIdx.x % WARP; }
__device__ inline unsigned warp() { return threadIdx.x / WARP; }
__device__ inline unsigned warps() { return blockDim.x / WARP; }

// The sum over `group` neighbouring threads (a power of two, at most a warp), the same for each of them. All lanes of the warp must call it.
__device__ inline float group_sum(float x, unsigned group) {
  for (unsigned distance = group / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(ALL_LANES, x, int(distance));
  return x;
}
__device__ inline float warp_sum(float x) {
#pragma unroll
  for (unsigned distance = WARP / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(ALL_LANES, x, int(distance));
  return x;
}
__device__ inline float warp_largest(float x) {
#pragma unroll
  for (unsigned distance = WARP / 2; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, int(distance)));
  return x;
}

// The sum over the block, the same for every thread. All threads must call it; blockDim.x is a multiple of 32. `scratch`: [32], shared.
__device__ inline float block_sum(float x, float* scratch) {
  x = warp_sum(x);
  if (lane() == 0) scratch[warp()] = x;
  __syncthreads();
  x = warp_sum(lane() < warps() ? scratch[lane()] : 0.0f);
  __syncthreads();  // until all have read, nobody may write it again
  return x;
}
__device__ inline float block_largest(float x, float* scratch) {
  x = warp_largest(x);
  if (lane() == 0) scratch[warp()] = x;
  __syncthreads();
  x = warp_largest(lane() < warps() ? scratch[lane()] : -NOCTURNE_INFINITY);
  __syncthreads();
  return x;
}

// One over the root of the mean square.
__device__ inline float inverse_root_mean(float squares, unsigned width, float epsilon) {
  return rsqrtf(squares / float(width) + epsilon);
}

// Calls f(at) for each pack that is this thread's, and g(at) for each single element of the rest.
template <int N, typename F, typename G> __device__ inline void each_part(unsigned long long count, F f, G g) {
  const unsigned long long index = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const unsigned long long packs = count / N;
  if (index < packs) f(index * N);
  if (N > 1 && index < count - packs * N) g(packs * N + index);
}

// A kernel by name: a function of its arguments. `bounds`: the most threads of a block, and where the compiler would otherwise spill registers
// to save some, the blocks that are wanted on a multiprocessor at least.
#define NOCTURNE_KERNEL(name, Arguments, bounds, ...)                                                             \
  extern "C" __global__ void __launch_bounds__ bounds name(const Arguments arguments) { __VA_ARGS__(arguments); } \
  NOCTURNE_REGISTER(name, Arguments, bounds)
