/* Matrix products that stay in registers, and the layouts of their operands.
 *
 * The second operand lies in panels of up to four vectors: [panel][k][vector][lane]. A product
 * takes up to MOST(V) rows of the first operand by a panel of V vectors. Every number is summed in the
 * order of k, whatever the tile, so that it does not depend on how rows are spread over threads.
 */
#define MOST(V) (WIDE ? ((V) < 4 ? 8 : 7) : (V) == 1 ? 8 : (V) == 2 ? 6 : (V) == 3 ? 4 : 3)

/* Rows of the first operand: chunks of numbers, `jump` apart. */
typedef struct {
    const REAL *const *row;
    int chunks, length;
    size_t jump;
} NAME(rows);

/* Where the sums begin, a row of vectors for every row of the result, and where they go. */
typedef struct {
    const REAL *from;
    REAL *to;
    size_t from_stride, to_stride, to_next; /* from row to row, and from vector to vector */
    size_t ahead;
} NAME(sums);

#define BEGIN(R, V)                                                                                \
    VEC c[R][V];                                                                                   \
    EACH(r, R) EACH(v, V) c[r][v] = *(const VEC *)(s->from + r * s->from_stride + v * LANES);
#define END(R, V)                                                                                  \
    EACH(r, R) EACH(v, V) *(VEC *)(s->to + r * s->to_stride + v * s->to_next) = c[r][v];

/* sum[r][v] += Σ_k a[r][k] w[k][v]. */
#define PRODUCT(R, V)                                                                              \
    {                                                                                              \
        BEGIN(R, V)                                                                                \
        const REAL *row[R];                                                                        \
        EACH(r, R) row[r] = a->row[r];                                                             \
        for (int i = 0; i < a->chunks; i++) {                                                      \
            for (int k = 0; k < a->length; k++, w += (V) * LANES) {                                \
                VEC u[V];                                                                          \
                __builtin_prefetch(w + s->ahead);                                                  \
                EACH(v, V) u[v] = ((const VEC *)w)[v];                                             \
                EACH(r, R) {                                                                       \
                    REAL x = row[r][k];                                                            \
                    EACH(v, V) c[r][v] += x * u[v];                                                \
                }                                                                                  \
            }                                                                                      \
            EACH(r, R) row[r] += a->jump;                                                          \
        }                                                                                          \
        END(R, V)                                                                                  \
    }

/* The same for the only row of a batch, in four sums, so that no sum waits for another. */
#define PRODUCT_OF_ONE(V)                                                                          \
    {                                                                                              \
        BEGIN(1, V)                                                                                \
        VEC more[3][V];                                                                            \
        EACH(v, V) more[0][v] = more[1][v] = more[2][v] = ALL;                                     \
        const REAL *row = a->row[0];                                                               \
        for (int i = 0; i < a->chunks; i++, row += a->jump) {                                      \
            int k = 0;                                                                             \
            for (; k + 4 <= a->length; k += 4, w += 4 * (V) * LANES) {                             \
                const VEC *u = (const VEC *)w;                                                     \
                EACH(v, V) {                                                                       \
                    c[0][v] += row[k] * u[v];                                                      \
                    more[0][v] += row[k + 1] * u[(V) + v];                                         \
                    more[1][v] += row[k + 2] * u[2 * (V) + v];                                     \
                    more[2][v] += row[k + 3] * u[3 * (V) + v];                                     \
                }                                                                                  \
            }                                                                                      \
            for (; k < a->length; k++, w += (V) * LANES)                                           \
                EACH(v, V) c[0][v] += row[k] * ((const VEC *)w)[v];                                \
        }                                                                                          \
        EACH(v, V) c[0][v] = (c[0][v] + more[0][v]) + (more[1][v] + more[2][v]);                   \
        END(1, V)                                                                                  \
    }

#define PRODUCTS(name, V)                                                                          \
    static void NAME(name)(int R, int one, const NAME(rows) *a, const REAL *w,                     \
                           const NAME(sums) *s) {                                                  \
        if (one) PRODUCT_OF_ONE(V)                                                                 \
        else                                                                                       \
            switch (R) {                                                                           \
            case 8: if (MOST(V) >= 8) PRODUCT(8, V) break;                                         \
            case 7: if (MOST(V) >= 7) PRODUCT(7, V) break;                                         \
            case 6: if (MOST(V) >= 6) PRODUCT(6, V) break;                                         \
            case 5: if (MOST(V) >= 5) PRODUCT(5, V) break;                                         \
            case 4: if (MOST(V) >= 4) PRODUCT(4, V) break;                                         \
            case 3: PRODUCT(3, V) break;                                                           \
            case 2: PRODUCT(2, V) break;                                                           \
            default: PRODUCT(1, V)                                                                 \
            }                                                                                      \
    }
PRODUCTS(product1, 1)
PRODUCTS(product2, 2)
PRODUCTS(product3, 3)
PRODUCTS(product4, 4)

static void NAME(product)(int V, int R, int one, const NAME(rows) *a, const REAL *w,
                          const NAME(sums) *s) {
    switch (V) {
    case 1: NAME(product1)(R, one, a, w, s); break;
    case 2: NAME(product2)(R, one, a, w, s); break;
    case 3: NAME(product3)(R, one, a, w, s); break;
    default: NAME(product4)(R, one, a, w, s);
    }
}

/* The rows of the next tile, where `left` are left: tiles are as alike as possible. */
INLINE int NAME(tile)(int V, int left) {
    int most = MOST(V), tiles = (left + most - 1) / most;
    return (left + tiles - 1) / tiles;
}

INLINE int NAME(vectors)(int n) { return (n + LANES - 1) / LANES; }

/* sum[r][v] = Σ_q a[q][r] w[q][v] for the TALL rows of a tile of a weight gradient. */
#define TALL (LANES < (WIDE ? 8 : 4) ? LANES : WIDE ? 8 : 4)
#define OUTER(V)                                                                                   \
    {                                                                                              \
        VEC c[TALL][V];                                                                            \
        EACH(r, TALL) EACH(v, V) c[r][v] = ALL;                                                    \
        for (int q = 0; q < Q; q++, a += stride, w += (V) * LANES) {                               \
            VEC u[V];                                                                              \
            EACH(v, V) u[v] = ((const VEC *)w)[v];                                                 \
            EACH(r, TALL) {                                                                        \
                REAL x = a[r];                                                                     \
                EACH(v, V) c[r][v] += x * u[v];                                                    \
            }                                                                                      \
        }                                                                                          \
        EACH(r, TALL) EACH(v, V) *(VEC *)(to + (r * (V) + v) * LANES) = c[r][v];                   \
    }
static void NAME(outer)(int V, int Q, const REAL *a, size_t stride, const REAL *w, REAL *to) {
    switch (V) {
    case 1: OUTER(1) break;
    case 2: OUTER(2) break;
    default: OUTER(3)
    }
}

/* One vector of a panel of V from rows `first` to `limit` of W (·, K), transposed. */
static void NAME(lay_rows)(int V, int K, const REAL *W, int first, int limit, REAL *to) {
    for (int k0 = 0; k0 < K; k0 += 16)
        for (int l = 0; l < LANES; l++) {
            const REAL *from = W + (size_t)(first + l) * K;
            for (int k = k0; k < K && k < k0 + 16; k++)
                to[(size_t)k * V * LANES + l] = first + l < limit ? from[k] : 0;
        }
}

/* Panels of N columns from n rows (·, N); zeros for a row that is NULL. */
static void NAME(lay_columns)(int N, int n, const REAL *const *rows, REAL *to) {
    for (int u = 0, V; u * LANES < N; u += V) {
        V = width(NAME(vectors)(N) - u);
        for (int q = 0; q < n; q++)
            for (int v = u; v < u + V; v++, to += LANES)
                *(VEC *)to = rows[q] ? NAME(load)(rows[q] + v * LANES, N - v * LANES) : ALL;
    }
}
