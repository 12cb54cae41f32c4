// A block's product: ROWS rows of an operand times a tile of weights that stays in shared memory.
//
// PRECISION  0 as REAL says, 1 TF32, 2 bfloat16: what the operands of a product are rounded to; sums
//            are float32
// ROWS       rows of the batch that a block takes
// WARPS      warps of a block: each multiplies its part of the sum, and parts are added in order
//
// Numbers lie in words, `PACK` to a word; a tile is [words of the sum][columns]. Rows are padded so
// that the lanes of a warp read from different banks.

#define PACK (PRECISION == 2 ? 2 : 1)
#define THREADS (32 * WARPS)
#define STAGE 32          // words of a row that a warp fetches at a time
#define STAGED (STAGE + 4)

#if PRECISION == 0
typedef REAL Word;
#else
typedef unsigned Word;
#endif

struct alignas(4 * sizeof(Word)) Four {
  Word v[4];
};

// How COLUMNS columns are laid out and shared among lanes.
template <int COLUMNS>
struct Tile {
#if PRECISION == 0  // lanes take columns, or, where there are few, some of the words of the sum too
  static constexpr int LANES = COLUMNS > 16 ? 32 : COLUMNS > 8 ? 16 : 8;
  static constexpr int EACH = (COLUMNS + LANES - 1) / LANES;  // columns of a lane
  static constexpr int WIDTH = LANES * EACH + (LANES < 32 ? LANES / 4 : 0);
#else  // fragments of 16 columns
  static constexpr int EACH = (COLUMNS + 15) / 16;
  static constexpr int WIDTH = 16 * EACH + 8;
#endif
};

// Words of a sum of `count` numbers, padded to whole fragments, or shares, of every warp.
template <int COLUMNS>
__device__ __forceinline__ int words_of(int count) {
  const int words = (count + PACK - 1) / PACK, grain = (PRECISION || COLUMNS > 8 ? 8 : 16) * WARPS;
  return (words + grain - 1) / grain * grain;
}

__device__ __forceinline__ Word word(REAL low, REAL high) {
#if PRECISION == 0
  return low;
#elif PRECISION == 1
  return to_tf32(low);
#else
  return to_bfloat16x2(low, high);
#endif
}

// Write number k of a row.
__device__ __forceinline__ void put(Word* row, int k, REAL x) {
#if PRECISION == 2
  reinterpret_cast<unsigned short*>(row)[k] = static_cast<unsigned short>(to_bfloat16x2(x, 0));
#else
  row[k] = word(x, 0);
#endif
}

// The sums that a lane holds.
template <int COLUMNS>
struct Sums {
#if PRECISION == 0
  REAL of[Tile<COLUMNS>::EACH][ROWS] = {};
#else
  float of[Tile<COLUMNS>::EACH][ROWS / 8][4] = {};
#endif

  // Add the products of `count` words, a multiple of 8; `in` and `W` begin at the first of them.
  __device__ __forceinline__ void add(const Word* in, int width, const Word* W, int count) {
    using T = Tile<COLUMNS>;
    const int lane = threadIdx.x % 32;
#if PRECISION == 0
    constexpr int SHARES = 32 / T::LANES;
    const int column = lane % T::LANES, share = lane / T::LANES;
    for (int k = 4 * share; k < count; k += 4 * SHARES) {
      Word w[T::EACH][4];
#pragma unroll
      for (int i = 0; i < T::EACH; ++i)
#pragma unroll
        for (int u = 0; u < 4; ++u) w[i][u] = W[(k + u) * T::WIDTH + i * T::LANES + column];
#pragma unroll
      for (int row = 0; row < ROWS; ++row) {
        const Four x = *reinterpret_cast<const Four*>(in + row * width + k);
#pragma unroll
        for (int i = 0; i < T::EACH; ++i)
#pragma unroll
          for (int u = 0; u < 4; ++u) of[i][row] += x.v[u] * w[i][u];
      }
    }
#else
    const int group = lane / 4, place = lane % 4;
    for (int k = 0; k < count; k += 8) {
      unsigned b[ROWS / 8][2];
#pragma unroll
      for (int n = 0; n < ROWS / 8; ++n) {
        const Word* row = in + (8 * n + group) * width + k + place;
        b[n][0] = row[0], b[n][1] = row[4];
      }
#pragma unroll
      for (int m = 0; m < T::EACH; ++m) {
        const Word* a = W + (k + place) * T::WIDTH + 16 * m + group;
        const Word* next = a + 4 * T::WIDTH;
#pragma unroll
        for (int n = 0; n < ROWS / 8; ++n)
#if PRECISION == 1
          mma_tf32(of[m][n], a[0], a[8], next[0], next[8], b[n][0], b[n][1]);
#else
          mma_bfloat16(of[m][n], a[0], a[8], next[0], next[8], b[n][0], b[n][1]);
#endif
      }
    }
#endif
  }

  // Store the warp's sums as [row][column].
  __device__ __forceinline__ void lay(REAL* sums) const {
    const int lane = threadIdx.x % 32;
#if PRECISION == 0
    using T = Tile<COLUMNS>;
#pragma unroll
    for (int i = 0; i < T::EACH; ++i)
#pragma unroll
      for (int row = 0; row < ROWS; ++row) {
        REAL sum = of[i][row];
#pragma unroll
        for (int away = T::LANES; away < 32; away *= 2) sum += __shfl_xor_sync(~0u, sum, away);
        const int column = i * T::LANES + lane % T::LANES;
        if (lane < T::LANES && column < COLUMNS) sums[row * COLUMNS + column] = sum;
      }
#else
    const int group = lane / 4, place = lane % 4;
#pragma unroll
    for (int m = 0; m < Tile<COLUMNS>::EACH; ++m)
#pragma unroll
      for (int n = 0; n < ROWS / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int column = 16 * m + group + 8 * (i / 2), row = 8 * n + 2 * place + i % 2;
          if (column < COLUMNS) sums[row * COLUMNS + column] = of[m][n][i];
        }
#endif
  }
};

// Rows of an operand in global memory, of which `count` numbers take part; rows from `rows` on are 0.
struct Operand {
  const REAL* at;
  long long stride;
  int count, rows;

  // Numbers of word k, as another block has just written them: bypassing L1.
  __device__ __forceinline__ Word fetch(int row, int k) const {
    const REAL* x = at + row * stride + PACK * k;
    const bool low = row < rows && PACK * k < count, high = PACK == 2 && row < rows && 2 * k + 1 < count;
    return word(low ? __ldcg(x) : 0, high ? __ldcg(x + 1) : 0);
  }
};

// sums[warp][row][column] = the warp's part of the product. `near` is the operand in shared memory,
// rows of `width` words, or, with SPLIT, room to stage what is fetched from `far`.
template <int COLUMNS>
__device__ __forceinline__ void multiply(Word* near, int width, Operand far, const Word* W, REAL* sums, int words) {
  const int warp = threadIdx.x / 32, each = words / WARPS, first = warp * each;
  const Word* tile = W + first * Tile<COLUMNS>::WIDTH;
  Sums<COLUMNS> found;
#if SPLIT
  const int lane = threadIdx.x % 32;
  Word* stage = near + warp * ROWS * STAGED;
  Word next[ROWS];
#pragma unroll
  for (int row = 0; row < ROWS; ++row) next[row] = far.fetch(row, first + lane);
  for (int k = 0; k < each; k += STAGE) {
#pragma unroll
    for (int row = 0; row < ROWS; ++row) stage[row * STAGED + lane] = next[row];
    __syncwarp();
    if (k + STAGE < each)  // prefetch during the products below
#pragma unroll
      for (int row = 0; row < ROWS; ++row) next[row] = far.fetch(row, first + k + STAGE + lane);
    found.add(stage, STAGED, tile + k * Tile<COLUMNS>::WIDTH, min(STAGE, each - k));
    __syncwarp();
  }
#else
  found.add(near + first, width, tile, each);
#endif
  found.lay(sums + warp * ROWS * COLUMNS);
}

// The sum of all warps' parts, in their order.
template <int COLUMNS>
__device__ __forceinline__ REAL total(const REAL* sums, int row, int column) {
  REAL sum = 0;
#pragma unroll
  for (int warp = 0; warp < WARPS; ++warp) sum += sums[(warp * ROWS + row) * COLUMNS + column];
  return sum;
}
