/* Vectors of numbers of one dtype and instruction set: loads, stores, exp, σ and tanh.
 *
 * Included by _dtypes.h once for each, with
 *   REAL    float or double            INT      an integer of the same size
 *   BYTES   of a vector register       NAME(x)  x with a suffix of its own
 *   OP(x)   the intrinsic x, where vectors are those of AVX-512
 */
typedef REAL NAME(vec) __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
typedef INT NAME(ivec) __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
#define VEC NAME(vec)
#define IVEC NAME(ivec)
#define LANES ((int)(BYTES / sizeof(REAL)))
#define ALL ((VEC){0})
#define INLINE static inline __attribute__((always_inline))
#define SINGLE (sizeof(REAL) == 4)

INLINE VEC NAME(pick)(IVEC m, VEC a, VEC b) { return (VEC)(((IVEC)a & m) | ((IVEC)b & ~m)); }
INLINE VEC NAME(abs)(VEC x) { return NAME(pick)((IVEC)(x < (REAL)0), -x, x); }

/* The first n of LANES numbers; the others are zero, and are not written. */
INLINE VEC NAME(load)(const REAL *from, int n) {
    if (n >= LANES) return *(const VEC *)from;
#ifdef OP
    return (VEC)OP(maskz_loadu)((1u << n) - 1, from);
#else
    VEC v = ALL;
    for (int i = 0; i < n; i++) v[i] = from[i];
    return v;
#endif
}
INLINE void NAME(store)(REAL *to, VEC v, int n) {
    if (n >= LANES) {
        *(VEC *)to = v;
        return;
    }
#ifdef OP
    OP(mask_storeu)(to, (1u << n) - 1, v);
#else
    for (int i = 0; i < n; i++) to[i] = v[i];
#endif
}

/* x within two bounds; NaN stays NaN. */
INLINE VEC NAME(within)(VEC x, REAL least, REAL most) {
#ifdef OP
    return (VEC)OP(max)(ALL + least, OP(min)(ALL + most, x));
#else
    x = NAME(pick)((IVEC)(x > most), ALL + most, x);
    return NAME(pick)((IVEC)(x < least), ALL + least, x);
#endif
}

/* p 2ⁿ, where n is a whole number and 2ⁿ a normal one. */
INLINE VEC NAME(scaled)(VEC p, VEC n) {
#ifdef OP
    return (VEC)OP(scalef)(p, n);
#else
    IVEC k = __builtin_convertvector(n, IVEC) + (SINGLE ? 127 : 1023);
    return p * (VEC)(k << (SINGLE ? 23 : 52));
#endif
}

/* Functions of n vectors in place, operation by operation: no chain of them waits for another. */
#define UNROLL _Pragma("GCC unroll 8")
#define EACH(i, n) UNROLL for (int i = 0; i < (n); i++)

/* 1/x for x >= 1; in float32, an estimate of 14 bits and a step of Newton's method. */
INLINE void NAME(reciprocal)(VEC *x, int n) {
#ifdef OP
    if (SINGLE) {
        VEC e[4];
        EACH(i, n) e[i] = (VEC)OP(rcp14)(x[i]);
        EACH(i, n) x[i] = (REAL)1 - x[i] * e[i];
        EACH(i, n) x[i] = e[i] + e[i] * x[i];
        return;
    }
#endif
    EACH(i, n) x[i] = (REAL)1 / x[i];
}

/* The nearest whole number to a small x. */
INLINE VEC NAME(whole)(VEC x) {
    REAL far = SINGLE ? (REAL)12582912.0 : (REAL)6755399441055744.0;
    x = x + far;
    return x - far;
}

/* eˣ = 2ᵏ eʳ within ±87 or ±708, as in the Cephes library (S. L. Moshier, 1989). */
INLINE void NAME(exp)(VEC *x, int n) {
    VEC k[4], p[4];
    if (SINGLE) {
        EACH(i, n) k[i] = NAME(whole)(x[i] * (REAL)1.44269504088896341);
        EACH(i, n) x[i] = x[i] - k[i] * (REAL)0.693359375;
        EACH(i, n) x[i] = x[i] - k[i] * (REAL)-2.12194440e-4;
        EACH(i, n) p[i] = x[i] * (REAL)1.9875691500e-4 + (REAL)1.3981999507e-3;
        EACH(i, n) p[i] = p[i] * x[i] + (REAL)8.3334519073e-3;
        EACH(i, n) p[i] = p[i] * x[i] + (REAL)4.1665795894e-2;
        EACH(i, n) p[i] = p[i] * x[i] + (REAL)1.6666665459e-1;
        EACH(i, n) p[i] = p[i] * x[i] + (REAL)5.0000001201e-1;
        EACH(i, n) p[i] = p[i] * (x[i] * x[i]) + x[i];
        EACH(i, n) x[i] = NAME(scaled)(p[i] + (REAL)1, k[i]);
        return;
    }
    VEC z[4], q[4];
    EACH(i, n) k[i] = NAME(whole)(x[i] * (REAL)1.44269504088896340736);
    EACH(i, n) x[i] = x[i] - k[i] * (REAL)6.93145751953125e-1;
    EACH(i, n) x[i] = x[i] - k[i] * (REAL)1.42860682030941723212e-6;
    EACH(i, n) z[i] = x[i] * x[i];
    EACH(i, n) p[i] = z[i] * (REAL)1.26177193074810590878e-4 + (REAL)3.02994407707441961300e-2;
    EACH(i, n) p[i] = (p[i] * z[i] + (REAL)9.99999999999999999910e-1) * x[i];
    EACH(i, n) q[i] = z[i] * (REAL)3.00198505138664455042e-6 + (REAL)2.52448340349684104192e-3;
    EACH(i, n) q[i] = q[i] * z[i] + (REAL)2.27265548208155028766e-1;
    EACH(i, n) q[i] = q[i] * z[i] + (REAL)2.0;
    EACH(i, n) p[i] = p[i] / (q[i] - p[i]);
    EACH(i, n) x[i] = NAME(scaled)((REAL)1 + (REAL)2 * p[i], k[i]);
}

INLINE void NAME(sigmoid)(VEC *x, int n) {
    REAL most = SINGLE ? (REAL)87 : (REAL)708;
    EACH(i, n) x[i] = -NAME(within)(x[i], -most, most);
    NAME(exp)(x, n);
    EACH(i, n) x[i] = (REAL)1 + x[i];
    NAME(reciprocal)(x, n);
}

/* tanh x = m / (m + 1) with m = (e²ˣ - 1) / 2 and e²ˣ = 2ᵏ e²ʳ. */
INLINE void NAME(tanh_single)(VEC *x, int n) {
    VEC k[4], p[4];
    EACH(i, n) x[i] = NAME(within)(x[i], (REAL)-9.02, (REAL)9.02);
    EACH(i, n) k[i] = NAME(whole)(x[i] * (REAL)2.88539008177792681);
    EACH(i, n) x[i] = x[i] - k[i] * (REAL)0.346573590279972655;
    EACH(i, n) p[i] = x[i] * (REAL)1.2720442560e-2 + (REAL)4.4742398422e-2;
    EACH(i, n) p[i] = p[i] * x[i] + (REAL)1.3333523037e-1;
    EACH(i, n) p[i] = p[i] * x[i] + (REAL)3.3332636715e-1;
    EACH(i, n) p[i] = p[i] * x[i] + (REAL)6.6666661836e-1;
    EACH(i, n) p[i] = p[i] * x[i] + (REAL)1.0000000240;
    EACH(i, n) p[i] = p[i] * (x[i] * x[i]) + x[i]; /* (e²ʳ - 1) / 2 */
    EACH(i, n) k[i] = NAME(scaled)(ALL + (REAL)1, k[i]);
    EACH(i, n) x[i] = k[i] * p[i] + (k[i] * (REAL)0.5 - (REAL)0.5);
    EACH(i, n) p[i] = x[i] + (REAL)1;
    NAME(reciprocal)(p, n);
    EACH(i, n) x[i] = x[i] * p[i];
}

/* tanh x as in the Cephes library: a rational function of x, or 1 - 2 / (e²ˣ + 1). */
INLINE VEC NAME(tanh_double)(VEC x) {
    VEC z = x * x, size = NAME(abs)(x), e = (REAL)2 * NAME(within)(size, (REAL)0, (REAL)40);
    VEC p = z * (REAL)-9.64399179425052238628e-1 + (REAL)-9.92877231001918586564e1;
    p = p * z + (REAL)-1.61468768441708447952e3;
    VEC q = z + (REAL)1.12811678491632931402e2;
    q = q * z + (REAL)2.23548839060100448583e3;
    q = q * z + (REAL)4.84406305325125486048e3;
    NAME(exp)(&e, 1);
    VEC large = (REAL)1 - (REAL)2 / (e + (REAL)1);
    large = NAME(pick)((IVEC)(x < (REAL)0), -large, large);
    large = NAME(pick)((IVEC)(x == x), large, x);
    return NAME(pick)((IVEC)(size < (REAL)0.625), x + x * z * p / q, large);
}

/* tanh of n vectors in place; NaN stays NaN. */
INLINE void NAME(tanh)(VEC *x, int n) {
    if (SINGLE) NAME(tanh_single)(x, n);
    else EACH(i, n) x[i] = NAME(tanh_double)(x[i]);
}

/* A function of any number of vectors. */
#define OF_MANY(function)                                                                          \
    static void NAME(function##s)(VEC *x, int n) {                                                 \
        for (; n >= 4; n -= 4, x += 4) NAME(function)(x, 4);                                       \
        switch (n) {                                                                               \
        case 3: NAME(function)(x, 3); break;                                                       \
        case 2: NAME(function)(x, 2); break;                                                       \
        case 1: NAME(function)(x, 1);                                                              \
        }                                                                                          \
    }
OF_MANY(sigmoid)
OF_MANY(tanh)
