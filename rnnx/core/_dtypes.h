/* The kernels in float and double for one instruction set: BYTES, WIDE, SUFFIX(x), and perhaps
 * ESTIMATE_F32(x), a first estimate of 1/x. All of these are undefined again here.
 */
#define REAL float
#define INT int32_t
#define NAME(x) SUFFIX(x##_f32)
#ifdef ESTIMATE_F32
#define ESTIMATE(x) ESTIMATE_F32(x)
#endif
#include "_kernels.h"
#undef ESTIMATE
#undef NAME
#undef INT
#undef REAL

#define REAL double
#define INT int64_t
#define NAME(x) SUFFIX(x##_f64)
#include "_kernels.h"
#undef NAME
#undef INT
#undef REAL

#undef ESTIMATE_F32
#undef SUFFIX
#undef WIDE
#undef BYTES
