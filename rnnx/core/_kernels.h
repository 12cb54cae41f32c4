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
INLINE VEC NAME(sigmoid)(VEC x) { return (REAL)1 / ((REAL)1 + NAME(exp)(-x)); }
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
    VEC large = (REAL)1 - (REAL)2 / (e + (REAL)1);
    large = NAME(pick)((IVEC)(x < (REAL)0), -large, large);
    return NAME(pick)((IVEC)(size < (REAL)0.625), small, NAME(pick)((IVEC)(x == x), large, x));
}

/* c[r][v] += Σ_k a[r][k] w[k][v], in the order of k. */
#define PRODUCT(R, V, K, a, lda, w)                                                                \
    for (int k = 0; k < (K); k++) {                                                                \
        const VEC *row = (const VEC *)((w) + (size_t)k * (V) * LANES);                             \
        VEC u[V];                                                                                  \
        _Pragma("GCC unroll 8") for (int v = 0; v < (V); v++) u[v] = row[v];                       \
        _Pragma("GCC unroll 8") for (int r = 0; r < (R); r++) {                                    \
            REAL s = (a)[(size_t)r * (lda) + k];                                                   \
            _Pragma("GCC unroll 8") for (int v = 0; v < (V); v++) c[r][v] += s * u[v];             \
        }                                                                                          \
    }

/* The same for the only row of a batch, in four sums, so that no sum waits for another. */
#define PRODUCT_OF_ONE(V, K, a, w)                                                                 \
    do {                                                                                           \
        VEC d[3][V];                                                                               \
        memset(d, 0, sizeof d);                                                                    \
        int k = 0;                                                                                 \
        for (; k + 4 <= (K); k += 4) {                                                             \
            const VEC *row = (const VEC *)((w) + (size_t)k * (V) * LANES);                         \
            _Pragma("GCC unroll 8") for (int v = 0; v < (V); v++) {                                \
                c[0][v] += (a)[k] * row[v];                                                        \
                d[0][v] += (a)[k + 1] * row[(V) + v];                                              \
                d[1][v] += (a)[k + 2] * row[2 * (V) + v];                                          \
                d[2][v] += (a)[k + 3] * row[3 * (V) + v];                                          \
            }                                                                                      \
        }                                                                                          \
        for (; k < (K); k++) {                                                                     \
            const VEC *row = (const VEC *)((w) + (size_t)k * (V) * LANES);                         \
            _Pragma("GCC unroll 8") for (int v = 0; v < (V); v++) c[0][v] += (a)[k] * row[v];      \
        }                                                                                          \
        _Pragma("GCC unroll 8") for (int v = 0; v < (V); v++)                                      \
            c[0][v] = (c[0][v] + d[0][v]) + (d[1][v] + d[2][v]);                                   \
    } while (0)

/* One panel for R rows: the product, then the gates. */
#define TILES(tile, R, most, ...)                                                                  \
    do {                                                                                           \
        for (; r + (most) <= (R); r += (most)) tile(most, __VA_ARGS__);                            \
        switch ((R) - r) {                                                                         \
        case 7: tile(7, __VA_ARGS__); break;                                                       \
        case 6: tile(6, __VA_ARGS__); break;                                                       \
        case 5: tile(5, __VA_ARGS__); break;                                                       \
        case 4: tile(4, __VA_ARGS__); break;                                                       \
        case 3: tile(3, __VA_ARGS__); break;                                                       \
        case 2: tile(2, __VA_ARGS__); break;                                                       \
        case 1: tile(1, __VA_ARGS__); break;                                                       \
        }                                                                                          \
    } while (0)

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

/* h_t = φ(p_t + b + h_{t-1} W_hhᵀ), RNN; two vectors of units to a panel. */
INLINE void NAME(rnn_tile)(int R, int one, const problem *s, const REAL *p, const REAL *h,
                           const REAL *w, REAL *out, int j) {
    int H = s->H;
    const REAL *bias = s->bias;
    VEC c[8][2];
    _Pragma("GCC unroll 8") for (int r = 0; r < R; r++)
        _Pragma("GCC unroll 8") for (int v = 0; v < 2; v++) {
            int n = H - j - v * LANES;
            c[r][v] = ALL;
            if (n > 0) {
                c[r][v] = NAME(load)(p + (size_t)r * H + j + v * LANES, n);
                if (bias) c[r][v] += NAME(load)(bias + j + v * LANES, n);
            }
        }
    if (one) PRODUCT_OF_ONE(2, H, h, w);
    else PRODUCT(R, 2, H, h, H, w)
    _Pragma("GCC unroll 8") for (int r = 0; r < R; r++)
        _Pragma("GCC unroll 8") for (int v = 0; v < 2; v++) {
            int n = H - j - v * LANES;
            if (n <= 0) continue;
            VEC a = c[r][v];
            a = s->relu ? NAME(pick)((IVEC)(a < (REAL)0), ALL, a) : NAME(tanh)(a);
            NAME(store)(out + (size_t)r * H + j + v * LANES, a, n);
        }
}

INLINE void NAME(gru_tile)(int R, int one, const problem *s, const REAL *p, const REAL *h,
                           const REAL *w, REAL *out, REAL *kept, int j) {
    int H = s->H, n = H - j;
    const REAL *bias = s->bias, *bias_n = s->bias_n;
    VEC c[8][3];
    _Pragma("GCC unroll 8") for (int r = 0; r < R; r++) {
        const REAL *row = p + (size_t)r * 3 * H + j;
        c[r][0] = NAME(load)(row, n);
        c[r][1] = NAME(load)(row + H, n);
        if (bias) {
            c[r][0] += NAME(load)(bias + j, n);
            c[r][1] += NAME(load)(bias + H + j, n);
        }
        c[r][2] = bias_n ? NAME(load)(bias_n + j, n) : ALL;
    }
    if (one) PRODUCT_OF_ONE(3, H, h, w);
    else PRODUCT(R, 3, H, h, H, w)
    _Pragma("GCC unroll 8") for (int r = 0; r < R; r++) {
        VEC p_n = NAME(load)(p + (size_t)r * 3 * H + 2 * H + j, n);
        if (bias) p_n += NAME(load)(bias + 2 * H + j, n);
        VEC reset = NAME(sigmoid)(c[r][0]), z = NAME(sigmoid)(c[r][1]), q_n = c[r][2];
        VEC new = NAME(tanh)(p_n + reset * q_n);
        VEC before = NAME(load)(h + (size_t)r * H + j, n);
        NAME(store)(out + (size_t)r * H + j, new + z * (before - new), n);
        if (kept) {
            REAL *to = kept + (size_t)r * 4 * H + j;
            NAME(store)(to, reset, n);
            NAME(store)(to + H, z, n);
            NAME(store)(to + 2 * H, new, n);
            NAME(store)(to + 3 * H, q_n, n);
        }
    }
}

INLINE void NAME(lstm_tile)(int R, int one, const problem *s, const REAL *p, const REAL *h,
                            const REAL *w, REAL *out, REAL *kept, const REAL *c0, REAL *c1,
                            int j) {
    int H = s->H, n = H - j;
    const REAL *bias = s->bias;
    VEC c[8][4];
    _Pragma("GCC unroll 8") for (int r = 0; r < R; r++)
        _Pragma("GCC unroll 8") for (int g = 0; g < 4; g++) {
            c[r][g] = NAME(load)(p + (size_t)r * 4 * H + g * H + j, n);
            if (bias) c[r][g] += NAME(load)(bias + g * H + j, n);
        }
    if (one) PRODUCT_OF_ONE(4, H, h, w);
    else PRODUCT(R, 4, H, h, H, w)
    _Pragma("GCC unroll 8") for (int r = 0; r < R; r++) {
        VEC i = NAME(sigmoid)(c[r][0]), f = NAME(sigmoid)(c[r][1]);
        VEC g = NAME(tanh)(c[r][2]), o = NAME(sigmoid)(c[r][3]);
        VEC cell = f * NAME(load)(c0 + (size_t)r * H + j, n) + i * g;
        NAME(store)(c1 + (size_t)r * H + j, cell, n);
        NAME(store)(out + (size_t)r * H + j, o * NAME(tanh)(cell), n);
        if (kept) {
            REAL *to = kept + (size_t)r * 4 * H + j;
            NAME(store)(to, i, n);
            NAME(store)(to + H, f, n);
            NAME(store)(to + 2 * H, g, n);
            NAME(store)(to + 3 * H, o, n);
        }
    }
}

static void NAME(forward)(const problem *s, int b0, int b1) {
    int H = s->H, B = s->B, R = b1 - b0, G = s->gates, one = B == 1;
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
            int r = 0;
#define AT(x, n) ((x) + (size_t)r * (n))
            if (s->cell == RNN) {
#define TILE(m, o) NAME(rnn_tile)(m, o, s, AT(p, H), AT(h, H), w, AT(out, H), j)
                if (one) TILE(1, 1);
                else TILES(TILE, R, WIDE ? 8 : 4, 0);
#undef TILE
            } else if (s->cell == GRU) {
#define TILE(m, o)                                                                                 \
    NAME(gru_tile)(m, o, s, AT(p, 3 * H), AT(h, H), w, AT(out, H), kept ? AT(kept, 4 * H) : NULL, j)
                if (one) TILE(1, 1);
                else TILES(TILE, R, WIDE ? 8 : 4, 0);
#undef TILE
            } else {
#define TILE(m, o)                                                                                 \
    NAME(lstm_tile)(m, o, s, AT(p, 4 * H), AT(h, H), w, AT(out, H),                                \
                    kept ? AT(kept, 4 * H) : NULL, AT(c0, H), AT(c1, H), j)
                if (one) TILE(1, 1);
                else TILES(TILE, R, WIDE ? 6 : 2, 0);
#undef TILE
            }
        }
    }
}

/* dh (R, N) = da (R, K) W, for panels of columns. */
#define COLUMNS (WIDE ? 3 : 2)
INLINE void NAME(carry_tile)(int R, int one, int N, int K, const REAL *da, const REAL *w, REAL *dh,
                             int j, int add) {
    VEC c[8][COLUMNS];
    memset(c, 0, sizeof c);
    if (one) PRODUCT_OF_ONE(COLUMNS, K, da, w);
    else PRODUCT(R, COLUMNS, K, da, K, w)
    _Pragma("GCC unroll 8") for (int r = 0; r < R; r++)
        _Pragma("GCC unroll 8") for (int v = 0; v < COLUMNS; v++) {
            int n = N - j - v * LANES;
            if (n <= 0) continue;
            REAL *to = dh + (size_t)r * N + j + v * LANES;
            if (add) c[r][v] += NAME(load)(to, n);
            NAME(store)(to, c[r][v], n);
        }
}

/* da_t from dh_t and dc_t, for one row; dh and dc become what goes on past the product. */
INLINE void NAME(back_row)(const problem *s, const REAL *h, const REAL *before, const REAL *kept,
                           const REAL *c0, const REAL *c1, REAL *dh, REAL *dc, REAL *dp, REAL *dq) {
    int H = s->H;
    for (int j = 0; j < H; j += LANES) {
        int n = H - j;
        VEC d = NAME(load)(dh + j, n);
        if (s->cell == RNN) {
            VEC y = NAME(load)(h + j, n);
            VEC slope = (REAL)1 - y * y;
            if (s->relu) slope = NAME(pick)((IVEC)(y > (REAL)0), ALL + (REAL)1, ALL);
            NAME(store)(dp + j, d * slope, n);
        } else if (s->cell == GRU) {
            VEC r = NAME(load)(kept + j, n), z = NAME(load)(kept + H + j, n);
            VEC new = NAME(load)(kept + 2 * H + j, n), q_n = NAME(load)(kept + 3 * H + j, n);
            VEC da_n = d * ((REAL)1 - z) * ((REAL)1 - new * new);
            VEC da_z = d * (NAME(load)(before + j, n) - new) * z * ((REAL)1 - z);
            VEC da_r = da_n * q_n * r * ((REAL)1 - r);
            NAME(store)(dp + j, da_r, n);
            NAME(store)(dp + H + j, da_z, n);
            NAME(store)(dp + 2 * H + j, da_n, n);
            NAME(store)(dq + j, da_r, n);
            NAME(store)(dq + H + j, da_z, n);
            NAME(store)(dq + 2 * H + j, da_n * r, n);
            NAME(store)(dh + j, d * z, n);
        } else {
            VEC i = NAME(load)(kept + j, n), f = NAME(load)(kept + H + j, n);
            VEC g = NAME(load)(kept + 2 * H + j, n), o = NAME(load)(kept + 3 * H + j, n);
            VEC th = NAME(tanh)(NAME(load)(c1 + j, n));
            VEC e = NAME(load)(dc + j, n) + d * o * ((REAL)1 - th * th);
            NAME(store)(dp + j, e * g * i * ((REAL)1 - i), n);
            NAME(store)(dp + H + j, e * NAME(load)(c0 + j, n) * f * ((REAL)1 - f), n);
            NAME(store)(dp + 2 * H + j, e * i * ((REAL)1 - g * g), n);
            NAME(store)(dp + 3 * H + j, d * th * o * ((REAL)1 - o), n);
            NAME(store)(dc + j, e * f, n);
        }
    }
}

static void NAME(backward)(const problem *s, int b0, int b1) {
    int H = s->H, B = s->B, R = b1 - b0, K = s->gates * H, one = B == 1;
    REAL *carry = (REAL *)s->dh + (size_t)b0 * H, *carry_c = NULL;
    if (s->cell == LSTM) carry_c = (REAL *)s->dc + (size_t)b0 * H;
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
            NAME(back_row)(s, AT(h, H), AT(before, H), AT(kept, 4 * H), AT(c0, H), AT(c1, H),
                           AT(carry, H), AT(carry_c, H), AT(dp, K), AT(dq, K));
        for (int j = 0; j < H; j += COLUMNS * LANES) {
            const REAL *w = (const REAL *)s->panels + (size_t)j * K;
            int r = 0, add = s->cell == GRU;
#define TILE(m, o) NAME(carry_tile)(m, o, H, K, AT(dq, K), w, AT(carry, H), j, add)
            if (one) TILE(1, 1);
            else TILES(TILE, R, WIDE ? 8 : 4, 0);
#undef TILE
        }
    }
}

/* The size of the panels, in numbers, and making them. */
static size_t NAME(pack)(const problem *s, int backward, REAL *panels) {
    int H = s->H, K = backward ? s->gates * H : H;
    int width = backward ? COLUMNS * LANES : s->cell == RNN ? 2 * LANES : LANES;
    size_t columns = (size_t)(H + width - 1) / width * width;
    size_t size = columns * K * (backward || s->cell == RNN ? 1 : s->gates);
    if (!panels) return size;
    if (backward) NAME(pack_columns)(COLUMNS, H, K, (const REAL *)s->W, panels);
    else if (s->cell == RNN) NAME(pack_units)(H, K, (const REAL *)s->W, panels);
    else NAME(pack_gates)(s->gates, H, K, (const REAL *)s->W, panels);
    return size;
}

#undef AT
#undef COLUMNS
#undef TILES
#undef PRODUCT
#undef PRODUCT_OF_ONE
#undef VEC
#undef IVEC
#undef LANES
#undef ALL
#undef INLINE
