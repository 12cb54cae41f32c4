// A whole sequence in one launch: the recurrent weights stay in shared memory from its first step to
// its last.
//
// A block takes ROWS rows of the batch and UNITS units, all gates of them. Without SPLIT it has all
// units, and h stays in shared memory; no block waits for another. With SPLIT, `parts` blocks share
// the units of the same rows, a slice, and meet after every step: all blocks of the grid must be
// resident, as in a cooperative launch. Sums have a fixed order, and nothing is added atomically but
// the count of those that have arrived.

#define ELEMENTS ((ROWS * UNITS + THREADS - 1) / THREADS)  // of a thread
#define SPINS (1u << 26)                                   // tens of seconds

struct Place {  // of a block, and of the elements of its threads
  int slice, first_unit, first_row, rows;

  __device__ __forceinline__ Place(int parts, int B) {
    slice = blockIdx.x / parts;
    first_unit = blockIdx.x % parts * UNITS;
    first_row = slice * ROWS;
    rows = min(ROWS, B - first_row);
  }
};

struct Element {  // one unit of one row
  int row, unit;  // in the block
  long long at;   // row and unit in (B, H)
  bool real;      // not padding

  __device__ __forceinline__ Element(const Place& place, int i, int H) {
    const int e = threadIdx.x + i * THREADS;
    row = e / UNITS, unit = e % UNITS;
    real = row < place.rows && place.first_unit + unit < H;
    at = static_cast<long long>(place.first_row + row) * H + place.first_unit + unit;
  }
};

// Steps until the last of the slice's rows has ended; a row may go on beyond a block of time.
__device__ __forceinline__ int longest(const int* lengths, const Place& place, int T) {
  if (!lengths) return T;
  int steps = 0;
  for (int row = 0; row < place.rows; ++row) steps = max(steps, lengths[place.first_row + row]);
  return min(steps, T);
}

// All threads of the block have written; tell the slice's other blocks.
//
// The barrier orders the block's writes before thread 0's fence and release, and so before whatever
// another block reads after it has acquired the count.
__device__ __forceinline__ void arrive(unsigned* arrived) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    add_release(arrived);
  }
}

// Wait until `count` arrivals. Thread 0 acquires them, and the barrier passes that on to the block,
// which reads what others wrote bypassing L1. A wait that takes too long aborts the kernel.
__device__ __forceinline__ void await(const unsigned* arrived, unsigned count) {
  if (threadIdx.x == 0)
    for (unsigned spins = 0; load_acquire(arrived) < count;)
      if (++spins == SPINS) stop();
  __syncthreads();
}

// Fill with zeros what takes part in a product, padding included.
__device__ __forceinline__ void clear(Word* words, int count) {
  for (int i = threadIdx.x; i < count; i += THREADS) words[i] = 0;
}

// p of all steps lies in gates (T, B, SLOTS, H), which for an RNN is h, and gets what the way back
// needs; weight (GATES H, H) is weight_hh, arrived one zero per slice. Arguments are those of
// cell_forward, of all steps.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
sequence_forward(REAL* gates, const REAL* weight, const REAL* bias_ih, const REAL* bias_hh, const REAL* h0,
                 const REAL* c0, REAL* h, REAL* c, const int* lengths, const unsigned char* reset,
                 unsigned* arrived, long long T, long long B, long long size, long long parts, long long keep) {
  constexpr int COLUMNS = GATES * UNITS;
  using T_ = Tile<COLUMNS>;
  const int H = size, words = words_of<COLUMNS>(H), width = words + 4;
  const Place place(parts, B);
  const long long all = B * H;  // numbers of a step's h

  SHARED(Word, shared);
  Word* tile = shared;                                // [words][columns]
  Word* near = tile + words * T_::WIDTH;              // [rows][words], or a stage for each warp
  const int room = SPLIT ? WARPS * ROWS * STAGED : ROWS * width;
  REAL* sums = reinterpret_cast<REAL*>(near + room);  // [warps][rows][columns]
  REAL* biases = sums + WARPS * ROWS * COLUMNS;       // [2][columns]

  for (int i = threadIdx.x; i < words * T_::WIDTH; i += THREADS) {
    const int column = i / words, k = i % words * PACK;  // neighbours read one row of the weights
    const int unit = place.first_unit + column % UNITS;
    const bool real = column < COLUMNS && unit < H;
    const REAL* from = weight + (static_cast<long long>(column / UNITS) * H + unit) * H + k;
    const REAL low = real && k < H ? from[0] : 0, high = PACK == 2 && real && k + 1 < H ? from[1] : 0;
    tile[i % words * T_::WIDTH + column] = word(low, high);
  }
  for (int i = threadIdx.x; i < 2 * COLUMNS; i += THREADS) {
    const REAL* bias = i < COLUMNS ? bias_ih : bias_hh;
    const int column = i % COLUMNS, unit = place.first_unit + column % UNITS;
    biases[i] = bias && unit < H ? bias[column / UNITS * H + unit] : 0;
  }
  clear(near, room);
  __syncthreads();

  Unit state[ELEMENTS];
#pragma unroll
  for (int i = 0; i < ELEMENTS; ++i) {
    const Element e(place, i, H);
    state[i] = {e.real ? h0[e.at] : 0, LSTM && e.real ? c0[e.at] : 0};
    if (!SPLIT && e.real) put(near + e.row * width, e.unit, state[i].h);
  }
  __syncthreads();

  const int steps = longest(lengths, place, T);
  for (int t = 0; t < steps; ++t) {
    REAL p[ELEMENTS][GATES];  // prefetched while waiting for the other blocks
#pragma unroll
    for (int i = 0; i < ELEMENTS; ++i) {
      const Element e(place, i, H);
#pragma unroll
      for (int g = 0; g < GATES; ++g)
        p[i][g] = e.real ? gates[t * all * SLOTS + e.at + (place.first_row + e.row) * (SLOTS - 1LL) * H + g * H] : 0;
    }
    if (SPLIT && t) await(arrived + place.slice, parts * t);
    const REAL* before = t ? h + (t - 1) * all : h0;
    multiply<COLUMNS>(near, width, {before + static_cast<long long>(place.first_row) * H, H, H, place.rows}, tile,
                      sums, words);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < ELEMENTS; ++i) {
      const Element e(place, i, H);
      if (!e.real) continue;
      const long long row = place.first_row + e.row, at = t * all + e.at;
      REAL* slots = gates + t * all * SLOTS + e.at + row * (SLOTS - 1) * H;
      const bool ended = lengths && t >= lengths[row], restarts = reset && reset[t * B + row];
      REAL q[GATES], saved[SLOTS];
#pragma unroll
      for (int g = 0; g < GATES; ++g) {
        const int column = g * UNITS + e.unit;
        p[i][g] += biases[column];
        q[g] = (restarts ? 0 : total<COLUMNS>(sums, e.row, column)) + biases[COLUMNS + column];
      }
      if (restarts) state[i] = {0, 0};
      state[i] = step(p[i], q, state[i], saved);
      if (ended) state[i] = {0, 0};
      h[at] = state[i].h;
      if (LSTM) c[at] = state[i].c;
      if (!RNN && keep && !ended)
#pragma unroll
        for (int g = 0; g < SLOTS; ++g) slots[g * H] = saved[g];
      if (!SPLIT) put(near + e.row * width, e.unit, state[i].h);
    }
    if (SPLIT) arrive(arrived + place.slice);
    else __syncthreads();
  }
  for (int t = steps; t < T; ++t)
#pragma unroll
    for (int i = 0; i < ELEMENTS; ++i) {
      const Element e(place, i, H);
      if (!e.real) continue;
      h[t * all + e.at] = 0;
      if (LSTM) c[t * all + e.at] = 0;
    }
}

// dh and dc hold the gradient with respect to the last state, and get the one with respect to the
// initial state. Arguments are those of cell_backward, of all steps.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
sequence_backward(const REAL* gates, const REAL* weight, const REAL* h0, const REAL* c0, const REAL* h,
                  const REAL* c, const REAL* outer_h, const REAL* outer_c, REAL* dh, REAL* dc, REAL* da,
                  REAL* whole, const int* lengths, const unsigned char* reset, unsigned* arrived, long long T,
                  long long B, long long size, long long parts) {
  using T_ = Tile<UNITS>;
  const int H = size, count = GATES * H, words = words_of<UNITS>(count), width = words + 4;
  const Place place(parts, B);
  const long long all = B * H;

  SHARED(Word, shared);
  Word* tile = shared;
  Word* near = tile + words * T_::WIDTH;
  const int room = SPLIT ? WARPS * ROWS * STAGED : ROWS * width;
  REAL* sums = reinterpret_cast<REAL*>(near + room);

  for (int i = threadIdx.x; i < words * T_::WIDTH; i += THREADS) {
    const int column = i % T_::WIDTH, k = i / T_::WIDTH * PACK, unit = place.first_unit + column;
    const bool real = column < UNITS && unit < H;
    const REAL* from = weight + static_cast<long long>(k) * H + unit;
    const REAL low = real && k < count ? from[0] : 0, high = PACK == 2 && real && k + 1 < count ? from[H] : 0;
    tile[i] = word(low, high);
  }
  clear(near, room);

  Unit d[ELEMENTS];
#pragma unroll
  for (int i = 0; i < ELEMENTS; ++i) {
    const Element e(place, i, H);
    d[i] = {e.real ? dh[e.at] : 0, LSTM && e.real ? dc[e.at] : 0};
  }
  __syncthreads();

  const int steps = longest(lengths, place, T);
  for (int t = steps; t < T; ++t)
#pragma unroll
    for (int i = 0; i < ELEMENTS; ++i) {
      const Element e(place, i, H);
      if (!e.real) continue;
      if (whole) whole[t * all + e.at] = 0;
#pragma unroll
      for (int g = 0; g < SLOTS; ++g)
        da[t * all * SLOTS + e.at + (place.first_row + e.row) * (SLOTS - 1LL) * H + g * H] = 0;
    }

  for (int t = steps - 1; t >= 0; --t) {
#pragma unroll
    for (int i = 0; i < ELEMENTS; ++i) {
      const Element e(place, i, H);
      if (!e.real) continue;
      const long long row = place.first_row + e.row, at = t * all + e.at;
      const long long slots = t * all * SLOTS + e.at + row * (SLOTS - 1) * H;
      const bool ended = lengths && t >= lengths[row], restarts = reset && reset[t * B + row];
      REAL saved[SLOTS], da_t[SLOTS] = {};
      if (!ended) {
        d[i].h += outer_h ? outer_h[at] : 0;
        if (LSTM) d[i].c += outer_c ? outer_c[at] : 0;
#pragma unroll
        for (int g = 0; g < SLOTS; ++g) saved[g] = RNN ? 0 : gates[slots + g * H];
        const bool known = !restarts;
        Unit before = {GRU && known ? (t ? h[at - all] : h0[e.at]) : 0,
                       LSTM && known ? (t ? c[at - all] : c0[e.at]) : 0};
        Unit after = {h[at], LSTM ? c[at] : 0};
        if (whole) whole[at] = d[i].h;
        d[i] = step_backward(d[i], saved, before, after, da_t);
      } else if (whole) {
        whole[at] = 0;
      }
#pragma unroll
      for (int g = 0; g < SLOTS; ++g) da[slots + g * H] = da_t[g];
      if (!SPLIT)
#pragma unroll
        for (int g = 0; g < GATES; ++g) put(near + e.row * width, g * H + e.unit, da_t[g]);
    }
    if (SPLIT) {
      arrive(arrived + place.slice);
      await(arrived + place.slice, parts * (steps - t));
    } else {
      __syncthreads();
    }
    const REAL* dq = da + t * all * SLOTS + static_cast<long long>(place.first_row) * SLOTS * H;
    multiply<UNITS>(near, width, {dq, SLOTS * static_cast<long long>(H), count, place.rows}, tile, sums, words);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < ELEMENTS; ++i) {
      const Element e(place, i, H);
      if (!e.real) continue;
      const long long row = place.first_row + e.row;
      if (lengths && t >= lengths[row]) continue;  // the row's own last state keeps what arrives at it
      d[i].h += total<UNITS>(sums, e.row, e.unit);
      if (reset && reset[t * B + row]) d[i] = {0, 0};
    }
  }
#pragma unroll
  for (int i = 0; i < ELEMENTS; ++i) {
    const Element e(place, i, H);
    if (!e.real) continue;
    dh[e.at] = d[i].h;
    if (LSTM) dc[e.at] = d[i].c;
  }
}
