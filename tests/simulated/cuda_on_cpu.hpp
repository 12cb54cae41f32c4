// CUDA C on a CPU, for tests without a GPU.
//
// Every thread of a grid is a fiber, and all blocks are resident, as in a cooperative launch. Fibers
// change only where CUDA threads wait for one another, in an order drawn from a seed, so that a missing
// barrier gives a wrong result for most seeds. Shared memory is born as NaN. A barrier that not all
// threads reach, a wait without end, and a trap end the launch with a message. What it does not model:
// the order of memory between blocks, time, registers.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>
#if !defined(__x86_64__) || defined(__SANITIZE_ADDRESS__)
#define PORTABLE_SWITCH
#include <ucontext.h>
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__

namespace cpu {

constexpr std::size_t STACK = 64 << 10;
constexpr int PATIENCE = 1000;  // rounds in which no thread gets on

struct Index {
  unsigned x;
};
struct Barrier {
  unsigned arrived = 0, generation = 0;
};
struct Block {
  Index index;
  std::unique_ptr<unsigned char[]> shared;
  Barrier all;
  std::vector<Barrier> warps;
  std::vector<unsigned char> exchanged;  // 64 bytes of every lane
};
struct Thread {
  Index index;
  Block* block;
};

#ifdef PORTABLE_SWITCH
typedef ucontext_t Context;
static void change(Context& from, Context& to) { swapcontext(&from, &to); }
#else
typedef void* Context;  // a stack, with all that a function call preserves on top
extern "C" void cpu_change(void** from, void* to);
asm(R"(
.text
.type cpu_change, @function
cpu_change:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
static void change(Context& from, Context& to) { cpu_change(&from, to); }
#endif

struct Fiber {  // runs one thread after the other
  Context context;
  std::unique_ptr<unsigned char[]> stack;
  Thread thread;
  bool done;
};

static Context scheduler;
static Fiber* now;
static Index grid, block;
static void (*body)(const long long*);
static const long long* arguments;
static unsigned long progress;  // counts what ends a wait
static const char* error;

static void leave() { change(now->context, scheduler); }

[[noreturn]] static void fail(const char* why) {
  if (!error) error = why;
  for (;;) leave();  // nobody comes back
}

static void loop() {
  for (;;) {
    body(arguments);
    now->done = true;
    ++progress;
    leave();
  }
}

static void begin(Fiber& fiber) {  // or begin again
  if (!fiber.stack) fiber.stack.reset(new unsigned char[STACK]);
#ifdef PORTABLE_SWITCH
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = STACK;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, loop, 0);
#else
  auto top = reinterpret_cast<std::uintptr_t>(fiber.stack.get() + STACK) & ~std::uintptr_t(15);
  void** at = reinterpret_cast<void**>(top) - 8;  // six registers, the address to go to, and none
  std::memset(at, 0, 8 * sizeof(void*));
  at[6] = reinterpret_cast<void*>(loop);
  fiber.context = at;
#endif
}

static void wait(Barrier& barrier, unsigned count) {
  const unsigned mine = barrier.generation;
  if (++barrier.arrived == count) {
    barrier.arrived = 0, ++barrier.generation, ++progress;
    return;
  }
  while (barrier.generation == mine) leave();
}

static unsigned lane() { return now->thread.index.x % 32; }
static Barrier& warp() { return now->thread.block->warps[now->thread.index.x / 32]; }

// What every lane of a warp gives, as every lane sees it.
template <class T>
static void exchange(const T& mine, T (&all)[32]) {
  static_assert(sizeof(T) <= 64, "too large to exchange");
  unsigned char* slots = now->thread.block->exchanged.data() + now->thread.index.x / 32 * 32 * 64;
  std::memcpy(slots + lane() * sizeof(T), &mine, sizeof(T));
  wait(warp(), 32);
  std::memcpy(all, slots, 32 * sizeof(T));
  wait(warp(), 32);
}

static void resume(Fiber* fiber) {
  now = fiber;
  change(scheduler, fiber->context);
}

static std::vector<std::unique_ptr<Fiber>> spare;

static void run(std::vector<Thread>& threads, unsigned seed) {
  std::mt19937 rng(seed);
  const auto shuffle = [&](auto& list) {
    for (std::size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[rng() % i]);
  };
  std::vector<std::unique_ptr<Fiber>> waiting;
  shuffle(threads);
  for (const Thread& thread : threads) {
    if (spare.empty()) {
      spare.emplace_back(new Fiber());
      begin(*spare.back());
    }
    Fiber* fiber = spare.back().get();
    fiber->thread = thread, fiber->done = false;
    resume(fiber);
    if (!fiber->done) waiting.push_back(std::move(spare.back())), spare.pop_back();
    if (error) break;
  }
  for (int idle = 0; !waiting.empty() && !error;) {
    const unsigned long before = progress;
    shuffle(waiting);
    for (auto& fiber : waiting) {
      resume(fiber.get());
      if (error) break;
    }
    std::vector<std::unique_ptr<Fiber>> left;
    for (auto& fiber : waiting) (fiber->done ? spare : left).push_back(std::move(fiber));
    waiting = std::move(left);
    idle = progress == before ? idle + 1 : 0;
    if (idle > PATIENCE) error = "no thread gets on: a barrier that not all reach, or a flag that nobody sets";
  }
  if (!waiting.empty() || error) spare.clear();  // some stand in the middle of a thread
}

static const char* launch(void (*kernel)(const long long*), const long long* given, unsigned blocks,
                          unsigned threads, std::size_t shared, unsigned seed) {
  grid = {blocks}, block = {threads}, body = kernel, arguments = given, error = nullptr;
  if (threads % 32) return "blocks must be whole warps";
  std::vector<Block> all(blocks);
  std::vector<Thread> list;
  for (unsigned b = 0; b < blocks; ++b) {
    all[b].index = {b};
    all[b].shared.reset(new unsigned char[shared + 1]);
    std::memset(all[b].shared.get(), 0xff, shared);
    all[b].warps.resize(threads / 32);
    all[b].exchanged.resize(threads * 64);
    for (unsigned t = 0; t < threads; ++t) list.push_back({{t}, &all[b]});
  }
  run(list, seed);
  for (auto& b : all)
    if (!error && b.all.arrived) error = "threads left a block while others waited at its barrier";
  return error;
}

}  // namespace cpu

#define threadIdx (cpu::now->thread.index)
#define blockIdx (cpu::now->thread.block->index)
#define blockDim (cpu::block)
#define gridDim (cpu::grid)
#define SHARED(type, name) type* name = reinterpret_cast<type*>(cpu::now->thread.block->shared.get())
static void __syncthreads() { cpu::wait(cpu::now->thread.block->all, cpu::block.x); }
static void __syncwarp() { cpu::wait(cpu::warp(), 32); }
static void __threadfence() {}
static int min(int a, int b) { return a < b ? a : b; }
static int max(int a, int b) { return a > b ? a : b; }
template <class T>
static T __ldcg(const T* at) {
  return *at;
}
template <class T>
static T __shfl_xor_sync(unsigned, T x, unsigned mask) {
  T all[32];
  cpu::exchange(x, all);
  return all[cpu::lane() ^ mask];
}

// The twins of rnnx/core/cuda/primitives.cuh.

static unsigned bits(float x) {
  unsigned word;
  std::memcpy(&word, &x, 4);
  return word;
}
static float number(unsigned word) {
  float x;
  std::memcpy(&x, &word, 4);
  return x;
}
static unsigned to_tf32(float x) { return x == x ? (bits(x) + 0x1000u) & ~0x1fffu : 0x7fffe000u; }
static unsigned to_bfloat16(float x) {
  const unsigned word = bits(x);
  return x == x ? (word + 0x7fffu + (word >> 16 & 1)) >> 16 : 0x7fffu;
}
static unsigned to_bfloat16x2(float low, float high) { return to_bfloat16(low) | to_bfloat16(high) << 16; }

struct Fragments {
  unsigned a[4], b[2];
};

// Number k of lane words, `pack` to a word.
static float part(unsigned word, int k, int pack) {
  return number(pack == 1 ? word : k % 2 ? word & 0xffff0000u : word << 16);
}

static void mma(float* c, const Fragments& mine, int pack) {
  Fragments all[32];
  cpu::exchange(mine, all);
  const int group = cpu::lane() / 4, place = cpu::lane() % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = group + 8 * (i / 2), column = 2 * place + i % 2;
    for (int k = 0; k < 8 * pack; ++k) {
      const int word = k / pack;
      const float a = part(all[row % 8 * 4 + word % 4].a[row / 8 + 2 * (word / 4)], k, pack);
      c[i] += a * part(all[column * 4 + word % 4].b[word / 4], k, pack);
    }
  }
}
static void mma_tf32(float* c, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1) {
  mma(c, {{a0, a1, a2, a3}, {b0, b1}}, 1);
}
static void mma_bfloat16(float* c, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1) {
  mma(c, {{a0, a1, a2, a3}, {b0, b1}}, 2);
}

static unsigned load_acquire(const unsigned* flag) {
  cpu::leave();  // others first
  return *flag;
}
static void add_release(unsigned* flag) { ++*flag, ++cpu::progress; }
static void stop() { cpu::fail("a trap"); }
