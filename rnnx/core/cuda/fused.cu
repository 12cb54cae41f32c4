// One step of all rows beside the recurrent product: one launch forward, one back.
//
// A thread serves one unit of one row; no thread waits for another. Every pointer is that of step t,
// row-major: gates and da (B, SLOTS, H), q (B, GATES, H), the others (B, H). Null pointers: what a
// cell or a call does not have.

// gates holds p without its bias, in the first GATES slots, and gets what the way back needs. An
// RNN's gates are h itself. A row restarts at zero where `reset` says so, and is zero from its end on.
extern "C" __global__ void __launch_bounds__(256)
cell_forward(REAL* gates, const REAL* q, const REAL* bias_ih, const REAL* bias_hh,
             const REAL* h_before, const REAL* c_before, REAL* h, REAL* c, const int* lengths,
             const unsigned char* reset, long long t, long long B, long long H, long long keep) {
  const long long e = blockIdx.x * 256LL + threadIdx.x;  // unit j of a row
  if (e >= B * H) return;
  const long long row = e / H, j = e % H;
  if (lengths && t >= lengths[row]) {
    h[e] = 0;
    if (LSTM) c[e] = 0;
    return;
  }
  const bool restarts = reset && reset[row];
  REAL p_t[GATES], q_t[GATES], saved[SLOTS];
#pragma unroll
  for (int g = 0; g < GATES; ++g) {
    p_t[g] = gates[(row * SLOTS + g) * H + j];
    q_t[g] = restarts ? 0 : q[(row * GATES + g) * H + j];
    if (bias_ih) p_t[g] += bias_ih[g * H + j];
    if (bias_hh) q_t[g] += bias_hh[g * H + j];
  }
  Unit before = {restarts ? 0 : h_before[e], LSTM && !restarts ? c_before[e] : 0};
  Unit after = step(p_t, q_t, before, saved);
  h[e] = after.h;
  if (LSTM) c[e] = after.c;
  if (RNN || !keep) return;
#pragma unroll
  for (int g = 0; g < SLOTS; ++g) gates[(row * SLOTS + g) * H + j] = saved[g];
}

// dh and dc hold the gradient with respect to the state after the step, without outer_h and outer_c,
// which arrive from outside; they get the one with respect to the state before it, without the path
// through q, which the product da W_hh adds. Past a row's end da is zero, and dh and dc keep their values.
extern "C" __global__ void __launch_bounds__(256)
cell_backward(const REAL* gates, const REAL* h_before, const REAL* c_before, const REAL* h, const REAL* c,
              const REAL* outer_h, const REAL* outer_c, REAL* dh, REAL* dc, REAL* da, REAL* whole,
              const int* lengths, const unsigned char* reset, const unsigned char* reset_after, long long t,
              long long B, long long H) {
  const long long e = blockIdx.x * 256LL + threadIdx.x;
  if (e >= B * H) return;
  const long long row = e / H, j = e % H;
  REAL saved[SLOTS], da_t[SLOTS];
  if (lengths && t >= lengths[row]) {
#pragma unroll
    for (int g = 0; g < SLOTS; ++g) da[(row * SLOTS + g) * H + j] = 0;
    if (whole) whole[e] = 0;
    return;
  }
  const bool last = lengths && t + 1 == lengths[row];
  Unit d = {dh[e], LSTM ? dc[e] : 0};
  if (!last && reset_after && reset_after[row]) d = {0, 0};
  if (outer_h) d.h += outer_h[e];
  if (LSTM && outer_c) d.c += outer_c[e];
  if (whole) whole[e] = d.h;
#pragma unroll
  for (int g = 0; g < SLOTS; ++g) saved[g] = RNN ? 0 : gates[(row * SLOTS + g) * H + j];
  const bool restarts = reset && reset[row];
  Unit before = {GRU && !restarts ? h_before[e] : 0, LSTM && !restarts ? c_before[e] : 0};
  Unit after = {h[e], LSTM ? c[e] : 0};
  d = step_backward(d, saved, before, after, da_t);
#pragma unroll
  for (int g = 0; g < SLOTS; ++g) da[(row * SLOTS + g) * H + j] = da_t[g];
  dh[e] = d.h;
  if (LSTM) dc[e] = d.c;
}
