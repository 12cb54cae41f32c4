/* The kernels in float and double for one instruction set: BYTES of a vector, WIDE for 32 registers
 * instead of 16, SUFFIX(x), and AVX512 for its intrinsics. All of these are undefined again here.
 * Other macros stay: each inclusion defines them alike.
 */
#define REAL float
#define INT int32_t
#define NAME(x) SUFFIX(x##_f32)
#ifdef AVX512
#define OP(x) _mm512_##x##_ps
#endif
#include "_vectors.h"
#include "_products.h"
#include "_kernels.h"
#undef OP
#undef NAME
#undef INT
#undef REAL

#define REAL double
#define INT int64_t
#define NAME(x) SUFFIX(x##_f64)
#ifdef AVX512
#define OP(x) _mm512_##x##_pd
#endif
#include "_vectors.h"
#include "_products.h"
#include "_kernels.h"
#undef OP
#undef NAME
#undef INT
#undef REAL

#undef AVX512
#undef SUFFIX
#undef WIDE
#undef BYTES
