// One step of one unit of one row, and its way back: the equations of rnnx/cells, in registers.
//
// CELL   0 RNN with tanh, 1 RNN with relu, 2 GRU, 3 LSTM
// REAL   float or double
//
// p is the input's part of a gate, q the recurrent one; both come with their biases. A step leaves
// SLOTS numbers for the way back, none for an RNN, which needs only h. The way back makes SLOTS
// gradients, of which the first GATES are dq.

#define LSTM (CELL == 3)
#define GRU (CELL == 2)
#define RNN (CELL < 2)
#define GATES (RNN ? 1 : CELL + 1)
#define SLOTS (RNN ? 1 : 4)

__device__ __forceinline__ float exponential(float a) { return expf(a); }
__device__ __forceinline__ double exponential(double a) { return exp(a); }
__device__ __forceinline__ float hyperbolic(float a) { return tanhf(a); }
__device__ __forceinline__ double hyperbolic(double a) { return tanh(a); }
__device__ __forceinline__ REAL sigmoid(REAL a) { return 1 / (1 + exponential(-a)); }

struct Unit {  // of one row: its state, or the gradient with respect to it
  REAL h, c;
};

// state_t from p, q and state_{t-1}; `saved` gets what the way back needs.
__device__ __forceinline__ Unit step(const REAL* p, const REAL* q, Unit before, REAL* saved) {
#if RNN
  REAL a = p[0] + q[0];
  REAL h = CELL == 0 ? hyperbolic(a) : a > 0 ? a : a == a ? 0 : a;  // NaN stays NaN
  return {h, 0};
#elif GRU
  REAL r = sigmoid(p[0] + q[0]), z = sigmoid(p[1] + q[1]);
  REAL n = hyperbolic(p[2] + r * q[2]);
  saved[0] = r, saved[1] = z, saved[2] = n, saved[3] = q[2];
  return {n + z * (before.h - n), 0};
#else
  REAL i = sigmoid(p[0] + q[0]), f = sigmoid(p[1] + q[1]);
  REAL g = hyperbolic(p[2] + q[2]), o = sigmoid(p[3] + q[3]);
  REAL c = f * before.c + i * g;
  saved[0] = i, saved[1] = f, saved[2] = g, saved[3] = o;
  return {o * hyperbolic(c), c};
#endif
}

// da from dstate_t; returns dstate_{t-1} without the path through q. For a GRU da is
// (da_r, da_z, da_n r, da_n): the first three are dq, and all but the third are dp.
__device__ __forceinline__ Unit step_backward(Unit d, const REAL* saved, Unit before, Unit after, REAL* da) {
#if RNN
  da[0] = CELL == 0 ? d.h * (1 - after.h * after.h) : after.h > 0 ? d.h : 0;
  return {0, 0};
#elif GRU
  REAL r = saved[0], z = saved[1], n = saved[2], q_n = saved[3];
  da[3] = d.h * (1 - z) * (1 - n * n);
  da[2] = da[3] * r;
  da[1] = d.h * (before.h - n) * z * (1 - z);
  da[0] = da[2] * q_n * (1 - r);
  return {d.h * z, 0};
#else
  REAL i = saved[0], f = saved[1], g = saved[2], o = saved[3], tanh_c = hyperbolic(after.c);
  REAL dc = d.c + d.h * o * (1 - tanh_c * tanh_c);
  da[0] = dc * g * i * (1 - i);
  da[1] = dc * before.c * f * (1 - f);
  da[2] = dc * i * (1 - g * g);
  da[3] = d.h * tanh_c * o * (1 - o);
  return {0, dc * f};
#endif
}
