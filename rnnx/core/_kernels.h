/* The loops over time of RNN, GRU and LSTM, forward and backward, for rows b0 to b1 of a batch.
 *
 * Included once for every dtype and instruction set, with
 *   REAL    float or double            INT      an integer of the same size
 *   BYTES   of a vector register       NAME(x)  x with a suffix of its own
 *   WIDE    1 for 32 registers, 0 for 16
 *
 * Equations and letters are those of rnnx/cells. A panel holds the weights of LANES units of all
 * gates, one row of NV vectors for each k. A tile of up to MR rows by NV vectors stays in registers
 * for all k, then goes through the gates without a detour through memory. Every number is summed in
 * the order of k, whatever the tile, so that it does not depend on the number of threads.
 */

typedef REAL NAME(vec) __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
typedef INT NAME(ivec) __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
#define VEC NAME(vec)
#define IVEC NAME(ivec)
#define LANES ((int)(BYTES / sizeof(REAL)))
#define ALL ((VEC){0})
#define INLINE static inline __attribute__((always_inline))

INLINE VEC NAME(pick)(IVEC m, VEC a, VEC b) { return (VEC)(((IVEC)a & m) | ((IVEC)b & ~m)); }
INLINE VEC NAME(abs)(VEC x) { return NAME(pick)((IVEC)(x < (REAL)0), -x, x); }
INLINE VEC NAME(at_most)(VEC x, REAL most) { return NAME(pick)((IVEC)(x > most), ALL + most, x); }

/* The first n of LANES numbers; the others are zero, and are not written. */
INLINE VEC NAME(load)(const REAL *from, int n) {
    if (n >= LANES) return *(const VEC *)from;
    VEC v = ALL;
    memcpy(&v, from, (size_t)n * sizeof(REAL));
    return v;
}
INLINE void NAME(store)(REAL *to, VEC v, int n) {
    if (n >= LANES) *(VEC *)to = v;
    else memcpy(to, &v, (size_t)n * sizeof(REAL));
}

/* exp, tanh: the approximations of the Cephes library (S. L. Moshier, 1989); NaN stays NaN. */
INLINE VEC NAME(exp)(VEC x) {
    x = NAME(at_most)(x, sizeof(REAL) == 4 ? (REAL)88 : (REAL)709);
    x = -NAME(at_most)(-x, sizeof(REAL) == 4 ? (REAL)87 : (REAL)708);
    if (sizeof(REAL) == 4) {
        VEC n = x * (REAL)1.44269504088896341 + (REAL)12582912.0;
        n = n - (REAL)12582912.0;
        VEC r = (x - n * (REAL)0.693359375) - n * (REAL)-2.12194440e-4;
        VEC p = r * (REAL)1.9875691500e-4 + (REAL)1.3981999507e-3;
        p = p * r + (REAL)8.3334519073e-3;
        p = p * r + (REAL)4.1665795894e-2;
        p = p * r + (REAL)1.6666665459e-1;
        p = p * r + (REAL)5.0000001201e-1;
        p = p * (r * r) + r + (REAL)1;
        IVEC k = (__builtin_convertvector(n, IVEC) + 127) << 23;
        return p * (VEC)k;
    } else {
        VEC n = x * (REAL)1.44269504088896340736 + (REAL)6755399441055744.0;
        n = n - (REAL)6755399441055744.0;
        VEC r = (x - n * (REAL)6.93145751953125e-1) - n * (REAL)1.42860682030941723212e-6;
        VEC z = r * r;
        VEC p = z * (REAL)1.26177193074810590878e-4 + (REAL)3.02994407707441961300e-2;
        p = (p * z + (REAL)9.99999999999999999910e-1) * r;
        VEC q = z * (REAL)3.00198505138664455042e-6 + (REAL)2.52448340349684104192e-3;
        q = q * z + (REAL)2.27265548208155028766e-1;
        q = q * z + (REAL)2.0;
        p = (REAL)1 + (REAL)2 * (p / (q - p));
        IVEC k = (__builtin_convertvector(n, IVEC) + 1023) << (sizeof(REAL) == 4 ? 0 : 52);
        return p * (VEC)k;
    }
}
/* 1/x for x >= 1: an estimate of 14 bits and a step of Newton's method, where there is one. */
INLINE VEC NAME(reciprocal)(VEC x) {
#ifdef ESTIMATE
    VEC y = (VEC)ESTIMATE(x);
    return y + y * ((REAL)1 - x * y);
#else
    return (REAL)1 / x;
#endif
}
INLINE VEC NAME(sigmoid)(VEC x) { return NAME(reciprocal)((REAL)1 + NAME(exp)(-x)); }
INLINE VEC NAME(tanh)(VEC x) {
    VEC z = x * x, size = NAME(abs)(x), small;
    if (sizeof(REAL) == 4) {
        VEC p = z * (REAL)-5.70498872745e-3 + (REAL)2.06390887954e-2;
        p = p * z + (REAL)-5.37397155531e-2;
        p = p * z + (REAL)1.33314422036e-1;
        p = p * z + (REAL)-3.33332819422e-1;
        small = p * (z * x) + x;
    } else {
        VEC p = z * (REAL)-9.64399179425052238628e-1 + (REAL)-9.92877231001918586564e1;
        p = p * z + (REAL)-1.61468768441708447952e3;
        VEC q = z + (REAL)1.12811678491632931402e2;
        q = q * z + (REAL)2.23548839060100448583e3;
        q = q * z + (REAL)4.84406305325125486048e3;
        small = x + x * z * p / q;
    }
    VEC e = NAME(exp)((REAL)2 * NAME(at_most)(size, (REAL)40));
    VEC large = (REAL)1 - (REAL)2 * NAME(reciprocal)(e + (REAL)1);
    large = NAME(pick)((IVEC)(x < (REAL)0), -large, large);
    return NAME(pick)((IVEC)(size < (REAL)0.625), small, NAME(pick)((IVEC)(x == x), large, x));
}

/* tile[r][v] += Σ_k a[r][k] w[k][v], in the order of k, with all sums in registers. */
#define PRODUCT(R, V, K, a, lda, w)                                                                \
    VEC c[R][V];                                                                                   \
    _Pragma("GCC unroll 8") for (int r = 0; r < (R); r++)                                          \
        _Pragma("GCC unroll 8") for (int v = 0; v < (V); v++) c[r][v] = tile[r][v];                \
    for (int k = 0; k < (K); k++) {                                                                \
        const VEC *row = (const VEC *)((w) + (size_t)k * (V) * LANES);                             \
        VEC u[V];                                                                                  \
        _Pragma("GCC unroll 8") for (int v = 0; v < (V); v++) u[v] = row[v];                       \
        _Pragma("GCC unroll 8") for (int r = 0; r < (R); r++) {                                    \
            REAL s = (a)[(size_t)r * (lda) + k];                                                   \
            _Pragma("GCC unroll 8") for (int v = 0; v < (V); v++) c[r][v] += s * u[v];             \
        }                                                                                          \
    }                                                                                              \
    _Pragma("GCC unroll 8") for (int r = 0; r < (R); r++)                                          \
        _Pragma("GCC unroll 8") for (int v = 0; v < (V); v++) tile[r][v] = c[r][v];

/* The same for the only row of a batch, in four sums, so that no sum waits for another. */
#define PRODUCT_OF_ONE(V, K, a, w)                                                                 \
    VEC c[4][V];                                                                                   \
    int k = 0;                                                                                     \
    _Pragma("GCC unroll 8") for (int v = 0; v < (V); v++)                                          \
        c[0][v] = tile[0][v], c[1][v] = c[2][v] = c[3][v] = ALL;                                   \
    for (; k + 4 <= (K); k += 4)                                                                   \
        _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {                                      \
            const VEC *row = (const VEC *)((w) + (size_t)(k + i) * (V) * LANES);                   \
            _Pragma("GCC unroll 8") for (int v = 0; v < (V); v++) c[i][v] += (a)[k + i] * row[v];  \
        }                                                                                          \
    for (; k < (K); k++) {                                                                         \
        const VEC *row = (const VEC *)((w) + (size_t)k * (V) * LANES);                             \
        _Pragma("GCC unroll 8") for (int v = 0; v < (V); v++) c[0][v] += (a)[k] * row[v];          \
    }                                                                                              \
    _Pragma("GCC unroll 8") for (int v = 0; v < (V); v++)                                          \
        tile[0][v] = (c[0][v] + c[1][v]) + (c[2][v] + c[3][v]);

/* The product as a function of the number of rows, the only part that differs by it. */
#define PRODUCTS(name, V, most)                                                                    \
    static void NAME(name)(int R, int one, int K, const REAL *a, int lda, const REAL *w,           \
                           VEC (*tile)[V]) {                                                       \
        if (one) {                                                                                 \
            PRODUCT_OF_ONE(V, K, a, w)                                                             \
            return;                                                                                \
        }                                                                                          \
        switch (R) {                                                                               \
        case 8: if ((most) >= 8) { PRODUCT(8, V, K, a, lda, w) } break;                            \
        case 7: if ((most) >= 7) { PRODUCT(7, V, K, a, lda, w) } break;                            \
        case 6: if ((most) >= 6) { PRODUCT(6, V, K, a, lda, w) } break;                            \
        case 5: if ((most) >= 5) { PRODUCT(5, V, K, a, lda, w) } break;                            \
        case 4: if ((most) >= 4) { PRODUCT(4, V, K, a, lda, w) } break;                            \
        case 3: if ((most) >= 3) { PRODUCT(3, V, K, a, lda, w) } break;                            \
        case 2: { PRODUCT(2, V, K, a, lda, w) } break;                                             \
        default: { PRODUCT(1, V, K, a, lda, w) }                                                   \
        }                                                                                          \
    }
PRODUCTS(product2, 2, WIDE ? 8 : 4)
PRODUCTS(product3, 3, WIDE ? 8 : 4)
PRODUCTS(product4, 4, WIDE ? 6 : 3)

/* Weights of G gates (G·H, K) as panels [H / LANES][K][G][LANES]; the last is filled with zeros. */
static void NAME(pack_gates)(int gates, int H, int K, const REAL *W, REAL *panels) {
    for (int j = 0; j < H; j += LANES)
        for (int g = 0; g < gates; g++)
            for (int l = 0; l < LANES; l++) {
                REAL *to = panels + (size_t)j * K * gates + (size_t)g * LANES + l;
                const REAL *from = W + ((size_t)g * H + j + l) * K;
                for (int k = 0; k < K; k++) to[(size_t)k * gates * LANES] = j + l < H ? from[k] : 0;
            }
}

/* Weights (H, K) of one gate as panels [H / 2·LANES][K][2·LANES]. */
static void NAME(pack_units)(int H, int K, const REAL *W, REAL *panels) {
    int width = 2 * LANES;
    for (int j = 0; j < H; j += width)
        for (int l = 0; l < width; l++) {
            REAL *to = panels + (size_t)j * K + l;
            for (int k = 0; k < K; k++)
                to[(size_t)k * width] = j + l < H ? W[(size_t)(j + l) * K + k] : 0;
        }
}

/* W (K, N) as panels [N / (V·LANES)][K][V·LANES]. */
static void NAME(pack_columns)(int vectors, int N, int K, const REAL *W, REAL *panels) {
    int width = vectors * LANES;
    for (int n = 0; n < N; n += width) {
        int some = N - n < width ? N - n : width;
        for (int k = 0; k < K; k++, panels += width) {
            memcpy(panels, W + (size_t)k * N + n, (size_t)some * sizeof(REAL));
            memset(panels + some, 0, (size_t)(width - some) * sizeof(REAL));
        }
    }
}

/* h_t = φ(p_t + b + h_{t-1} W_hhᵀ); two vectors of units to a panel. */
static void NAME(rnn_tile)(int R, const problem *s, const REAL *p, const REAL *h, const REAL *w,
                           REAL *out, int j) {
    int H = s->H;
    const REAL *bias = s->bias;
    VEC tile[8][2];
    for (int r = 0; r < R; r++)
        for (int v = 0, i = j; v < 2; v++, i += LANES) {
            tile[r][v] = i < H ? NAME(load)(p + (size_t)r * H + i, H - i) : ALL;
            if (bias && i < H) tile[r][v] += NAME(load)(bias + i, H - i);
        }
    NAME(product2)(R, s->B == 1, H, h, H, w, tile);
    for (int r = 0; r < R; r++)
        for (int v = 0, i = j; v < 2 && i < H; v++, i += LANES) {
            VEC a = tile[r][v];
            a = s->relu ? NAME(pick)((IVEC)(a < (REAL)0), ALL, a) : NAME(tanh)(a);
            NAME(store)(out + (size_t)r * H + i, a, H - i);
        }
}

static void NAME(gru_tile)(int R, const problem *s, const REAL *p, const REAL *h, const REAL *w,
                           REAL *out, REAL *kept, int j) {
    int H = s->H, n = H - j;
    const REAL *bias = s->bias, *bias_n = s->bias_n;
    VEC tile[8][3], b[4] = {ALL, ALL, ALL, ALL};
    if (bias)
        for (int g = 0; g < 3; g++) b[g] = NAME(load)(bias + g * H + j, n);
    if (bias_n) b[3] = NAME(load)(bias_n + j, n);
    for (int r = 0; r < R; r++) {
        const REAL *row = p + (size_t)r * 3 * H + j;
        tile[r][0] = NAME(load)(row, n) + b[0];
        tile[r][1] = NAME(load)(row + H, n) + b[1];
        tile[r][2] = b[3];
    }
    NAME(product3)(R, s->B == 1, H, h, H, w, tile);
    for (int r = 0; r < R; r++) {
        VEC p_n = NAME(load)(p + (size_t)r * 3 * H + 2 * H + j, n) + b[2];
        VEC reset = NAME(sigmoid)(tile[r][0]), z = NAME(sigmoid)(tile[r][1]), q_n = tile[r][2];
        VEC new = NAME(tanh)(p_n + reset * q_n);
        VEC before = NAME(load)(h + (size_t)r * H + j, n);
        NAME(store)(out + (size_t)r * H + j, new + z * (before - new), n);
        if (!kept) continue;
        REAL *to = kept + (size_t)r * 4 * H + j;
        NAME(store)(to, reset, n);
        NAME(store)(to + H, z, n);
        NAME(store)(to + 2 * H, new, n);
        NAME(store)(to + 3 * H, q_n, n);
    }
}

static void NAME(lstm_tile)(int R, const problem *s, const REAL *p, const REAL *h, const REAL *w,
                            REAL *out, REAL *kept, const REAL *c0, REAL *c1, int j) {
    int H = s->H, n = H - j;
    VEC tile[8][4], b[4] = {ALL, ALL, ALL, ALL};
    if (s->bias)
        for (int g = 0; g < 4; g++) b[g] = NAME(load)((const REAL *)s->bias + g * H + j, n);
    for (int r = 0; r < R; r++)
        for (int g = 0; g < 4; g++)
            tile[r][g] = NAME(load)(p + (size_t)r * 4 * H + g * H + j, n) + b[g];
    NAME(product4)(R, s->B == 1, H, h, H, w, tile);
    for (int r = 0; r < R; r++) {
        VEC i = NAME(sigmoid)(tile[r][0]), f = NAME(sigmoid)(tile[r][1]);
        VEC g = NAME(tanh)(tile[r][2]), o = NAME(sigmoid)(tile[r][3]);
        VEC cell = f * NAME(load)(c0 + (size_t)r * H + j, n) + i * g;
        NAME(store)(c1 + (size_t)r * H + j, cell, n);
        NAME(store)(out + (size_t)r * H + j, o * NAME(tanh)(cell), n);
        if (!kept) continue;
        REAL *to = kept + (size_t)r * 4 * H + j;
        NAME(store)(to, i, n);
        NAME(store)(to + H, f, n);
        NAME(store)(to + 2 * H, g, n);
        NAME(store)(to + 3 * H, o, n);
    }
}

#define AT(x, n) ((x) + (size_t)r * (n))
static void NAME(forward)(const problem *s, int b0, int b1) {
    int H = s->H, B = s->B, R = b1 - b0, G = s->gates;
    int width = s->cell == RNN ? 2 * LANES : LANES;
    for (int t = 0; t < s->T; t++) {
        size_t row = (size_t)t * B + b0;
        const REAL *p = (const REAL *)s->p + row * G * H;
        const REAL *h = t ? (const REAL *)s->h + (row - B) * H : (const REAL *)s->h0 + (size_t)b0 * H;
        const REAL *c0 = NULL;
        REAL *out = (REAL *)s->h + row * H, *c1 = NULL;
        REAL *kept = s->kept ? (REAL *)s->kept + row * 4 * H : NULL;
        if (s->cell == LSTM) {
            c1 = (REAL *)s->c + row * H;
            c0 = t ? c1 - (size_t)B * H : (const REAL *)s->c0 + (size_t)b0 * H;
        }
        for (int j = 0; j < H; j += width) {
            const REAL *w = (const REAL *)s->panels + (size_t)j * H * (s->cell == RNN ? 1 : G);
            int most = s->cell == LSTM ? (WIDE ? 6 : 3) : (WIDE ? 8 : 4);
            for (int r = 0, m; r < R; r += m) {
                m = R - r < most ? R - r : most;
                REAL *k = kept ? AT(kept, 4 * H) : NULL;
                if (s->cell == RNN)
                    NAME(rnn_tile)(m, s, AT(p, H), AT(h, H), w, AT(out, H), j);
                else if (s->cell == GRU)
                    NAME(gru_tile)(m, s, AT(p, 3 * H), AT(h, H), w, AT(out, H), k, j);
                else
                    NAME(lstm_tile)(m, s, AT(p, 4 * H), AT(h, H), w, AT(out, H), k, AT(c0, H),
                                    AT(c1, H), j);
            }
        }
    }
}

/* dh (R, N) = da (R, K) W, for panels of columns. */
#if WIDE
#define COLUMNS 3
#define BY_COLUMNS NAME(product3)
#else
#define COLUMNS 2
#define BY_COLUMNS NAME(product2)
#endif
static void NAME(carry_tile)(int R, const problem *s, const REAL *da, const REAL *w, REAL *dh,
                             int j, int add) {
    int H = s->H, K = s->gates * H;
    VEC tile[8][COLUMNS];
    for (int r = 0; r < R; r++)
        for (int v = 0; v < COLUMNS; v++) tile[r][v] = ALL;
    BY_COLUMNS(R, s->B == 1, K, da, K, w, tile);
    for (int r = 0; r < R; r++)
        for (int v = 0, i = j; v < COLUMNS && i < H; v++, i += LANES) {
            REAL *to = dh + (size_t)r * H + i;
            if (add) tile[r][v] += NAME(load)(to, H - i);
            NAME(store)(to, tile[r][v], H - i);
        }
}

INLINE void NAME(put)(REAL *to, REAL *sum, VEC v, int n) {
    NAME(store)(to, v, n);
    if (sum) NAME(store)(sum, NAME(load)(sum, n) + v, n);
}

/* da_t from dh_t and dc_t, for one row; dh and dc become what goes on past the product. */
static void NAME(back_row)(const problem *s, const REAL *h, const REAL *before, const REAL *kept,
                           const REAL *c0, const REAL *c1, REAL *dh, REAL *dc, REAL *dp, REAL *dq,
                           REAL *sums) {
    int H = s->H;
#define SUM(k) (sums ? sums + (k) * H + j : NULL)
    for (int j = 0; j < H; j += LANES) {
        int n = H - j;
        VEC d = NAME(load)(dh + j, n);
        if (s->cell == RNN) {
            VEC y = NAME(load)(h + j, n), slope = (REAL)1 - y * y;
            if (s->relu) slope = NAME(pick)((IVEC)(y > (REAL)0), ALL + (REAL)1, ALL);
            NAME(put)(dp + j, SUM(0), d * slope, n);
        } else if (s->cell == GRU) {
            VEC r = NAME(load)(kept + j, n), z = NAME(load)(kept + H + j, n);
            VEC new = NAME(load)(kept + 2 * H + j, n), q_n = NAME(load)(kept + 3 * H + j, n);
            VEC da_n = d * ((REAL)1 - z) * ((REAL)1 - new * new);
            VEC da_z = d * (NAME(load)(before + j, n) - new) * z * ((REAL)1 - z);
            VEC da_r = da_n * q_n * r * ((REAL)1 - r);
            NAME(put)(dp + j, SUM(0), da_r, n);
            NAME(put)(dp + H + j, SUM(1), da_z, n);
            NAME(put)(dp + 2 * H + j, SUM(2), da_n, n);
            NAME(store)(dq + j, da_r, n);
            NAME(store)(dq + H + j, da_z, n);
            NAME(put)(dq + 2 * H + j, SUM(3), da_n * r, n);
            NAME(store)(dh + j, d * z, n);
        } else {
            VEC i = NAME(load)(kept + j, n), f = NAME(load)(kept + H + j, n);
            VEC g = NAME(load)(kept + 2 * H + j, n), o = NAME(load)(kept + 3 * H + j, n);
            VEC th = NAME(tanh)(NAME(load)(c1 + j, n));
            VEC e = NAME(load)(dc + j, n) + d * o * ((REAL)1 - th * th);
            NAME(put)(dp + j, SUM(0), e * g * i * ((REAL)1 - i), n);
            NAME(put)(dp + H + j, SUM(1), e * NAME(load)(c0 + j, n) * f * ((REAL)1 - f), n);
            NAME(put)(dp + 2 * H + j, SUM(2), e * i * ((REAL)1 - g * g), n);
            NAME(put)(dp + 3 * H + j, SUM(3), d * th * o * ((REAL)1 - o), n);
            NAME(store)(dc + j, e * f, n);
        }
    }
#undef SUM
}

static void NAME(backward)(const problem *s, int b0, int b1) {
    int H = s->H, B = s->B, R = b1 - b0, K = s->gates * H;
    REAL *carry = (REAL *)s->dh + (size_t)b0 * H, *carry_c = NULL;
    if (s->cell == LSTM) carry_c = (REAL *)s->dc + (size_t)b0 * H;
    size_t wide = (size_t)(s->cell == RNN ? 1 : 4) * H;
    REAL *sums = s->sums ? (REAL *)s->sums + b0 * wide : NULL;
    for (int t = s->T - 1; t >= 0; t--) {
        size_t row = (size_t)t * B + b0;
        const REAL *h = (const REAL *)s->h + row * H;
        const REAL *before = t ? h - (size_t)B * H : (const REAL *)s->h0 + (size_t)b0 * H;
        const REAL *kept = s->kept ? (const REAL *)s->kept + row * 4 * H : NULL;
        const REAL *outer = s->outer ? (const REAL *)s->outer + row * H : NULL;
        const REAL *outer_c = s->outer_c ? (const REAL *)s->outer_c + row * H : NULL;
        const REAL *c1 = NULL, *c0 = NULL;
        REAL *dp = (REAL *)s->dp + row * K, *dq = s->cell == GRU ? (REAL *)s->dq + row * K : dp;
        if (s->cell == LSTM) {
            c1 = (const REAL *)s->c + row * H;
            c0 = t ? c1 - (size_t)B * H : (const REAL *)s->c0 + (size_t)b0 * H;
        }
        size_t n = (size_t)R * H;
        if (outer) for (size_t i = 0; i < n; i++) carry[i] += outer[i];
        if (outer_c) for (size_t i = 0; i < n; i++) carry_c[i] += outer_c[i];
        if (s->whole) memcpy((REAL *)s->whole + row * H, carry, n * sizeof(REAL));
        for (int r = 0; r < R; r++)
            NAME(back_row)(s, AT(h, H), AT(before, H), kept ? AT(kept, 4 * H) : NULL,
                           c0 ? AT(c0, H) : NULL, c1 ? AT(c1, H) : NULL,
                           AT(carry, H), carry_c ? AT(carry_c, H) : NULL, AT(dp, K), AT(dq, K),
                           sums ? AT(sums, wide) : NULL);
        for (int j = 0; j < H; j += COLUMNS * LANES) {
            const REAL *w = (const REAL *)s->panels + (size_t)j * K;
            int most = WIDE ? 8 : 4;
            for (int r = 0, m; r < R; r += m) {
                m = R - r < most ? R - r : most;
                NAME(carry_tile)(m, s, AT(dq, K), w, AT(carry, H), j, s->cell == GRU);
            }
        }
    }
}

/* p (R, G·H) = x (R, I) W_ihᵀ, from panels as those of `forward`: the input of a single step. */
static void NAME(project)(const problem *s, int I, const REAL *x, const REAL *panels, REAL *p) {
    int H = s->H, G = s->gates, width = s->cell == RNN ? 2 * LANES : LANES;
    int most = s->cell == LSTM ? (WIDE ? 6 : 3) : (WIDE ? 8 : 4), vectors = s->cell == RNN ? 2 : G;
    for (int j = 0; j < H; j += width) {
        const REAL *w = panels + (size_t)j * I * (s->cell == RNN ? 1 : G);
        for (int r = 0, m; r < s->B; r += m) {
            VEC tile[8 * 4];
            m = s->B - r < most ? s->B - r : most;
            for (int i = 0; i < m * vectors; i++) tile[i] = ALL;
            if (s->cell == RNN)
                NAME(product2)(m, s->B == 1, I, AT(x, I), I, w, (VEC(*)[2])tile);
            else if (s->cell == GRU)
                NAME(product3)(m, s->B == 1, I, AT(x, I), I, w, (VEC(*)[3])tile);
            else
                NAME(product4)(m, s->B == 1, I, AT(x, I), I, w, (VEC(*)[4])tile);
            for (int i = 0; i < m; i++)
                for (int v = 0; v < vectors; v++) {
                    int at = s->cell == RNN ? j + v * LANES : j, gate = s->cell == RNN ? 0 : v;
                    REAL *to = p + ((size_t)(r + i) * G + gate) * H + at;
                    if (at < H) NAME(store)(to, tile[i * vectors + v], H - at);
                }
        }
    }
}

/* The size of the panels, in numbers, and making them. */
static size_t NAME(pack)(const problem *s, int backward, int K, const REAL *W, REAL *panels) {
    int H = s->H, width = backward ? COLUMNS * LANES : s->cell == RNN ? 2 * LANES : LANES;
    size_t columns = (size_t)(H + width - 1) / width * width;
    if (!panels) return columns * K * (backward || s->cell == RNN ? 1 : s->gates);
    if (backward) NAME(pack_columns)(COLUMNS, H, K, W, panels);
    else if (s->cell == RNN) NAME(pack_units)(H, K, W, panels);
    else NAME(pack_gates)(s->gates, H, K, W, panels);
    return 0;
}

/* The same with pointers to any dtype, for the module. */
static size_t NAME(packed)(const problem *s, int backward, int K, const void *W, void *panels) {
    return NAME(pack)(s, backward, K, W, panels);
}
static void NAME(projected)(const problem *s, int I, const void *x, const void *w, void *p) {
    NAME(project)(s, I, x, w, p);
}

#undef AT
#undef COLUMNS
#undef PRODUCTS
#undef BY_COLUMNS
#undef PRODUCT
#undef PRODUCT_OF_ONE
#undef VEC
#undef IVEC
#undef LANES
#undef ALL
#undef INLINE
