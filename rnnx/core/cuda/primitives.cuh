// Hardware features beyond plain CUDA C: tensor cores, flags between blocks, dynamic shared memory.

#ifdef __CUDACC__

// `type* name` at the block's dynamic shared memory.
#define SHARED(type, name)                             \
  extern __shared__ __align__(32) unsigned char raw[]; \
  type* name = reinterpret_cast<type*>(raw)

// x rounded to TF32, 10 bits of mantissa.
__device__ __forceinline__ unsigned to_tf32(float x) {
  unsigned word;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(x));
  return word;
}

// Two numbers rounded to bfloat16, side by side.
__device__ __forceinline__ unsigned to_bfloat16x2(float low, float high) {
  unsigned word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}

// C (16 x 8) += A (16 x 8) B (8 x 8) over the lanes of a warp, in the fragments of the PTX manual.
__device__ __forceinline__ void mma_tf32(float* c, unsigned a0, unsigned a1, unsigned a2, unsigned a3,
                                         unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// C (16 x 8) += A (16 x 16) B (16 x 8), two numbers to a word.
__device__ __forceinline__ void mma_bfloat16(float* c, unsigned a0, unsigned a1, unsigned a2, unsigned a3,
                                             unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// What another block wrote before its add_release is seen by whoever reads its count here.
__device__ __forceinline__ unsigned load_acquire(const unsigned* flag) {
  unsigned count;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(count) : "l"(flag) : "memory");
  return count;
}

__device__ __forceinline__ void add_release(unsigned* flag) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(flag) : "memory");
}

// Abort the kernel. The error is sticky: every later CUDA call of the process fails.
__device__ __forceinline__ void stop() { asm volatile("trap;"); }

#endif
