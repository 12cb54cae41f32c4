/* RNN, GRU and LSTM over a sequence, forward and backward, for a share of the rows or of the units.
 *
 * Included by _dtypes.h once for every dtype and instruction set. Equations and letters are those
 * of rnnx/cells. Units are taken in groups of LANES. What is kept of a step, and the gradients da of
 * the pre-activations, lie as [group][row][slot][lane], with zeros for units beyond H. The slots are
 * i, f, o, g for an LSTM. Those of a GRU are n, r, z, q: a row of dp is the first three of them, a
 * row of dq the last three.
 */
#define GROUP(j, rows) ((size_t)(j) * (rows) * s->slots * LANES)
#define LINED __attribute__((aligned(64))) /* at the start of a cache line */
#define CHUNK 96 /* rows of a product at a time, so that they stay in the cache */
#define CHAIN 256 /* rows of a weight gradient at a time */

/* The gate of W's rows whose panel comes in place g. */
INLINE int NAME(gate)(const problem *s, int input, int g) {
    if (s->cell == LSTM) return g < 2 ? g : 5 - g;
    return input && s->cell == GRU ? (g + 2) % 3 : g;
}
INLINE int NAME(panel)(const problem *s, int left) {
    return s->cell == RNN ? width(left) : s->gates;
}

/* Panels of W (G·H, K) by units, for products with Wᵀ: a group's gates, or an RNN's groups. */
static void NAME(lay_gates)(const problem *s, int input, int K, const REAL *W, REAL *to) {
    for (int j = 0, V, step; j < s->groups; j += step) {
        V = NAME(panel)(s, s->groups - j);
        step = s->cell == RNN ? V : 1;
        for (int v = 0; v < V; v++) {
            int first = s->cell == RNN ? 0 : NAME(gate)(s, input, v) * s->H;
            int unit = (s->cell == RNN ? j + v : j) * LANES;
            NAME(lay_rows)(V, K, W, first + unit, first + s->H, to + v * LANES);
        }
        to += (size_t)V * K * LANES;
    }
}

/* Panels of W (G·H, N) by columns, for products of da with W; rows are in the order of da. */
static void NAME(lay_back)(const problem *s, int input, int N, const REAL *W, REAL *to) {
    for (int u = 0, V; u * LANES < N; u += V) {
        V = width(NAME(vectors)(N) - u);
        for (int j = 0; j < s->groups; j++)
            for (int g = 0; g < s->gates; g++)
                for (int l = 0; l < LANES; l++)
                    for (int v = 0; v < V; v++, to += LANES) {
                        int unit = j * LANES + l, at = (u + v) * LANES;
                        size_t row = (size_t)NAME(gate)(s, input, g) * s->H + unit;
                        *(VEC *)to = unit < s->H ? NAME(load)(W + row * N + at, N - at) : ALL;
                    }
    }
}

/* The biases of a group's slots: those of W_ih and W_hh are added up where the cell adds them. */
static void NAME(lay_biases)(const problem *s, REAL *to) {
    const REAL *b = s->bias_ih, *b_hh = s->bias_hh;
    for (int j = 0; j < s->groups; j++)
        for (int slot = 0; slot < s->slots; slot++, to += LANES) {
            int gate = NAME(gate)(s, 1, slot == 3 && s->cell == GRU ? 0 : slot);
            int at = gate * s->H + j * LANES, n = s->H - j * LANES;
            VEC v = ALL;
            if (b && !(s->cell == GRU && slot == 3)) v += NAME(load)(b + at, n);
            if (b_hh && !(s->cell == GRU && slot == 0)) v += NAME(load)(b_hh + at, n);
            *(VEC *)to = v;
        }
}

/* Give the problem its memory, and return how many bytes of it there must be. */
static size_t NAME(plan)(problem *s, int backward, int threads, void *memory) {
    size_t used = 0, L = LANES;
    s->groups = NAME(vectors)(s->H);
    size_t units = (size_t)s->groups * L, G = s->gates;
    size_t I = (size_t)NAME(vectors)(s->I) * L, block = (size_t)s->block * s->B * s->slots * units;
#define TAKE(to, n) to = (void *)((uintptr_t)memory + used), used += (n) * sizeof(REAL)
    TAKE(s->panels_in, backward ? I * units * G : units * G * s->I);
    used = (used + 63) & ~(size_t)63;
    TAKE(s->panels, backward ? units * units * G : units * G * s->H);
    used = (used + 63) & ~(size_t)63;
    TAKE(s->bias, backward ? 0 : units * s->slots);
    TAKE(s->da, backward ? 2 * block : block);
    if (backward) {
        TAKE(s->zeros, 4 * L);
        TAKE(s->carry, s->B * units);
        TAKE(s->carry_c, s->cell == LSTM ? s->B * units : 0);
        s->strip = CHAIN * (I > units ? I : units);
        TAKE(s->strips, s->strip * threads);
    }
    return used;
}

/* Lay the weights out, and set what begins at zero. */
static void NAME(lay_out)(const problem *s, int backward) {
    const REAL *W = s->weight_ih, *W_hh = s->weight_hh;
    if (!backward) {
        NAME(lay_gates)(s, 1, s->I, W, s->panels_in);
        NAME(lay_gates)(s, 0, s->H, W_hh, s->panels);
        NAME(lay_biases)(s, s->bias);
        return;
    }
    NAME(lay_back)(s, 1, s->I, W, s->panels_in);
    NAME(lay_back)(s, 0, s->H, W_hh, s->panels);
    size_t rows = (size_t)s->gates * s->H;
    memset(s->zeros, 0, 4 * BYTES);
    memset(s->dW_ih, 0, rows * s->I * sizeof(REAL));
    memset(s->dW_hh, 0, rows * s->H * sizeof(REAL));
    if (s->db) memset(s->db, 0, (size_t)s->slots * s->H * sizeof(REAL));
}

/* Copy rows (R, H) to or from rows of whole groups. */
static void NAME(widen)(const problem *s, const REAL *from, REAL *to, int R) {
    for (int r = 0; r < R; r++)
        for (int j = 0; j < s->H; j += LANES, to += LANES)
            *(VEC *)to = NAME(load)(from + (size_t)r * s->H + j, s->H - j);
}
static void NAME(narrow)(const problem *s, const REAL *from, REAL *to, int R) {
    for (int r = 0; r < R; r++)
        for (int j = 0; j < s->H; j += LANES, from += LANES)
            NAME(store)(to + (size_t)r * s->H + j, *(const VEC *)from, s->H - j);
}

/* p = x W_ihᵀ + b of a share, for the n rows of a block, as [group][row][slot][lane]. */
static void NAME(project)(const problem *s, const share *own, int t0, int n, REAL *p) {
    int slots = s->slots, b0 = own->b0, R = own->b1 - b0, each = s->cell == RNN ? 1 : s->gates;
    if (s->cell == GRU) /* q begins at b_hh, and is no part of this product */
        for (int j = own->j0; j < own->j1; j++)
            for (int q = 0; q < n; q++)
                *(VEC *)(p + GROUP(j, n) + (size_t)(q * slots + 3) * LANES) =
                    *(const VEC *)((REAL *)s->bias + GROUP(j, 1) + 3 * LANES);
    for (int q0 = 0; q0 < n; q0 += CHUNK) {
        const REAL *row[CHUNK], *w = (REAL *)s->panels_in + (size_t)own->j0 * each * s->I * LANES;
        int some = n - q0 < CHUNK ? n - q0 : CHUNK;
        for (int i = 0; i < some; i++) {
            int t = t0 + (q0 + i) / R, b = b0 + (q0 + i) % R;
            row[i] = (const REAL *)s->x + ((size_t)t * s->B + b) * s->I;
        }
        for (int j = own->j0, V; j < own->j1; j += s->cell == RNN ? V : 1) {
            V = NAME(panel)(s, s->groups - j);
            int stride = (s->cell == RNN ? V : slots) * LANES;
            for (int i = 0, m; i < some; i += m) {
                m = NAME(tile)(V, some - i);
                NAME(rows) a = {row + i, 1, s->I, 0};
                NAME(sums) sums = {(REAL *)s->bias + GROUP(j, 1),
                                   p + GROUP(j, n) + (size_t)(q0 + i) * stride, 0, stride, LANES};
                NAME(product)(V, m, s->T == 1 && s->B == 1, &a, w, &sums);
            }
            w += (size_t)V * s->I * LANES;
        }
    }
}

/* A tile of a step: rows r0 to r0 + m of the share, units of the groups j to end. The arrays begin
 * at the share's first row; each group of p has `rows` rows, and those of this step begin at q0.
 */
typedef struct {
    const REAL *p, *before, *c0;
    REAL *h, *c1, *kept;
    const int32_t *lengths;
    int t, rows, q0, j, end, r0, m;
} NAME(tile_of);
#define MANY 24 /* vectors of units */
#define EACH_OF(a, n)                                                                              \
    for (int n = 0, u = (a)->j; u < (a)->end; u++)                                                 \
        for (int r = (a)->r0; r < (a)->r0 + (a)->m; r++, n++)
#define OWN(r, u) ((size_t)(r) * s->H + (u) * LANES)
#define SOME(u) (s->H - (u) * LANES)
#define ENDED(r) (a->lengths && a->t >= a->lengths[r])

/* h_t = φ(p_t + h_{t-1} W_hhᵀ) */
static void NAME(rnn_gates)(const problem *s, const NAME(tile_of) *a, VEC *sums) {
    if (!s->relu) NAME(tanhs)(sums, a->m * (a->end - a->j));
    for (int u = a->j, V; u < a->end; u += V) {
        V = width(s->groups - u);
        for (int r = a->r0; r < a->r0 + a->m; r++)
            for (int v = u; v < u + V; v++, sums++) {
                VEC y = s->relu ? NAME(pick)((IVEC)(*sums < (REAL)0), ALL, *sums) : *sums;
                if (ENDED(r)) y = ALL;
                NAME(store)(a->h + OWN(r, v), y, SOME(v));
            }
    }
}

/* r, z = σ(p + q)    n = tanh(p_n + r q_n)    h_t = n + z (h_{t-1} - n) */
static void NAME(gru_gates)(const problem *s, const NAME(tile_of) *a, VEC *sums) {
    int all = a->m * (a->end - a->j);
    VEC *reset = sums, *z = reset + all, *q = z + all, new[MANY] LINED;
    NAME(sigmoids)(sums, 2 * all);
    EACH_OF(a, i) {
        const VEC *p = (const VEC *)(a->p + GROUP(u, a->rows)) + 4 * (a->q0 + r);
        new[i] = *p + reset[i] * q[i];
    }
    NAME(tanhs)(new, all);
    EACH_OF(a, i) {
        VEC h = new[i] + z[i] * (NAME(load)(a->before + OWN(r, u), SOME(u)) - new[i]);
        NAME(store)(a->h + OWN(r, u), ENDED(r) ? ALL : h, SOME(u));
        if (!a->kept) continue;
        VEC *to = (VEC *)(a->kept + GROUP(u, s->B)) + 4 * r;
        to[0] = new[i], to[1] = reset[i], to[2] = z[i], to[3] = q[i];
    }
}

/* i, f, o = σ(p + q)    g = tanh(p_g + q_g)    c_t = f c_{t-1} + i g    h_t = o tanh(c_t) */
static void NAME(lstm_gates)(const problem *s, const NAME(tile_of) *a, VEC *sums) {
    int all = a->m * (a->end - a->j);
    VEC *in = sums, *f = in + all, *o = f + all, *g = o + all, c[MANY] LINED;
    NAME(sigmoids)(sums, 3 * all);
    NAME(tanhs)(g, all);
    EACH_OF(a, i) {
        c[i] = f[i] * NAME(load)(a->c0 + OWN(r, u), SOME(u)) + in[i] * g[i];
        if (ENDED(r)) c[i] = ALL;
        NAME(store)(a->c1 + OWN(r, u), c[i], SOME(u));
        if (!a->kept) continue;
        VEC *to = (VEC *)(a->kept + GROUP(u, s->B)) + 4 * r;
        to[0] = in[i], to[1] = f[i], to[2] = o[i], to[3] = g[i];
    }
    NAME(tanhs)(c, all);
    EACH_OF(a, i) {
        VEC h = o[i] * c[i];
        NAME(store)(a->h + OWN(r, u), ENDED(r) ? ALL : h, SOME(u));
    }
}

/* A share's step. Tiles of few rows are put together before they go through the gates. */
static void NAME(forward_step)(const problem *s, const share *own, NAME(tile_of) a) {
    int H = s->H, R = own->b1 - own->b0, rnn = s->cell == RNN, together = R < 5 ? 8 / R : 1;
    const REAL *w = (REAL *)s->panels + (size_t)own->j0 * (rnn ? 1 : s->gates) * H * LANES;
    a.end = own->j0;
    for (int V; a.end < own->j1;) {
        a.j = a.end;
        do a.end += rnn ? width(s->groups - a.end) : 1;
        while (a.end < own->j1 && a.end - a.j < together);
        for (a.r0 = 0; a.r0 < R; a.r0 += a.m) {
            REAL sums[4 * MANY * LANES] LINED;
            const REAL *from[8], *panel = w;
            a.m = NAME(tile)(rnn ? 3 : s->gates, R - a.r0);
            for (int i = 0; i < a.m; i++) from[i] = a.before + (size_t)(a.r0 + i) * H;
            REAL *to = sums;
            for (int u = a.j; u < a.end; u += rnn ? V : 1) {
                V = NAME(panel)(s, s->groups - u);
                int stride = (rnn ? V : s->slots) * LANES, wide = rnn ? V * LANES : LANES;
                const REAL *p = a.p + GROUP(u, a.rows) + (size_t)(a.q0 + a.r0) * stride;
                NAME(rows) product = {from, 1, H, 0};
                NAME(sums) out = {s->cell == GRU ? p + LANES : p, to, stride, wide,
                                  rnn ? LANES : a.m * (a.end - a.j) * LANES};
                out.ahead = (size_t)V * H * LANES + (size_t)(a.r0 / a.m % V) * LANES;
                NAME(product)(V, a.m, s->B == 1, &product, panel, &out);
                panel += (size_t)V * H * LANES;
                to += a.m * wide;
            }
            if (rnn) NAME(rnn_gates)(s, &a, (VEC *)sums);
            else if (s->cell == GRU) NAME(gru_gates)(s, &a, (VEC *)sums);
            else NAME(lstm_gates)(s, &a, (VEC *)sums);
        }
        w += (size_t)(a.end - a.j) * (rnn ? 1 : s->gates) * H * LANES;
    }
}

static void NAME(forward)(const problem *s, share *own) {
    int R = own->b1 - own->b0;
    if (!R) return;
    REAL *p = (REAL *)s->da + GROUP(s->groups, own->b0) * s->block;
    for (int t0 = 0; t0 < s->T; t0 += s->block) {
        int steps = s->T - t0 < s->block ? s->T - t0 : s->block;
        NAME(project)(s, own, t0, steps * R, p);
        for (int t = t0; t < t0 + steps; t++) {
            size_t first = (size_t)own->b0 * s->H, row = (size_t)t * s->B * s->H + first;
            size_t past = row - (size_t)s->B * s->H;
            NAME(tile_of) a = {.p = p, .t = t, .rows = steps * R, .q0 = (t - t0) * R};
            if (s->lengths) a.lengths = s->lengths + own->b0;
            a.before = t ? (REAL *)s->h + past : (REAL *)s->h0 + first;
            a.h = (REAL *)s->h + row;
            if (s->cell == LSTM) {
                a.c1 = (REAL *)s->c + (s->once ? first : row);
                a.c0 = t ? (REAL *)s->c + (s->once ? first : past) : (REAL *)s->c0 + first;
            }
            if (s->kept) a.kept = (REAL *)s->kept + t * GROUP(s->groups, s->B) + GROUP(1, own->b0);
            NAME(forward_step)(s, own, a);
            if (s->by_units) meet(own->team);
        }
    }
}

/* da_t from dh_t and dc_t, for a vector of units; dh and dc become what passes by the product. */
INLINE void NAME(rnn_back)(const problem *s, VEC y, VEC d, VEC *da) {
    VEC slope = (REAL)1 - y * y;
    if (s->relu) slope = NAME(pick)((IVEC)(y > (REAL)0), ALL + (REAL)1, ALL);
    da[0] = d * slope;
}
INLINE void NAME(gru_back)(const VEC *kept, VEC before, VEC d, VEC *dh, VEC *da) {
    VEC new = kept[0], r = kept[1], z = kept[2], q_n = kept[3];
    VEC da_n = d * ((REAL)1 - z) * ((REAL)1 - new * new);
    da[0] = da_n;
    da[1] = da_n * q_n * r * ((REAL)1 - r);
    da[2] = d * (before - new) * z * ((REAL)1 - z);
    da[3] = da_n * r;
    *dh = d * z;
}
INLINE void NAME(lstm_back)(const VEC *kept, VEC c0, VEC th, VEC d, VEC *dc, VEC *da) {
    VEC i = kept[0], f = kept[1], o = kept[2], g = kept[3];
    VEC e = *dc + d * o * ((REAL)1 - th * th);
    da[0] = e * g * i * ((REAL)1 - i);
    da[1] = e * c0 * f * ((REAL)1 - f);
    da[2] = d * th * o * ((REAL)1 - o);
    da[3] = e * i * ((REAL)1 - g * g);
    *dc = e * f;
}

/* da of a share's step; `to` is its first row, and each group has Q rows. */
static void NAME(back_step)(const problem *s, const share *own, int t, REAL *to, int Q) {
    int H = s->H, B = s->B, units = s->groups * LANES, b0 = own->b0, R = own->b1 - b0;
    size_t now = (size_t)t * B * H, first = (size_t)b0 * H, past = now + first - (size_t)B * H;
    const REAL *kept = s->kept, *outer = s->outer, *outer_c = s->outer_c, *c0 = NULL;
    const REAL *before = t ? (const REAL *)s->h + past : (const REAL *)s->h0 + first;
    if (s->cell == LSTM) c0 = t ? (const REAL *)s->c + past : (const REAL *)s->c0 + first;
    if (kept) kept += (size_t)t * GROUP(s->groups, B) + (size_t)b0 * 4 * LANES;
    for (int k = own->j0 * R; k < own->j1 * R; k += 8) {
        VEC th[8] LINED; /* tanh(c_t) */
        int some = own->j1 * R - k < 8 ? own->j1 * R - k : 8;
        if (s->cell == LSTM) {
            for (int i = 0; i < some; i++) {
                int j = (k + i) / R * LANES, r = (k + i) % R;
                th[i] = NAME(load)((const REAL *)s->c + now + first + (size_t)r * H + j, H - j);
            }
            NAME(tanhs)(th, some);
        }
        for (int i = 0; i < some; i++) {
            int j = (k + i) / R, r = (k + i) % R, n = H - j * LANES;
            size_t place = (size_t)r * H + j * LANES, at = now + first + place;
            size_t mine = (size_t)(b0 + r) * units + j * LANES;
            const VEC *gates = kept ? (const VEC *)(kept + GROUP(j, B)) + 4 * r : NULL;
            VEC *dh = (VEC *)((REAL *)s->carry + mine), d = *dh;
            VEC *da = (VEC *)(to + GROUP(j, Q)) + s->slots * r;
            if (s->lengths && t >= s->lengths[b0 + r]) { /* dh and dc wait for the row's end */
                for (int slot = 0; slot < s->slots; slot++) da[slot] = ALL;
                if (s->whole) NAME(store)((REAL *)s->whole + at, ALL, n);
                continue;
            }
            if (s->lengths) *dh = ALL;
            if (outer) d += NAME(load)(outer + at, n);
            if (s->whole) NAME(store)((REAL *)s->whole + at, d, n);
            if (s->cell == RNN) {
                NAME(rnn_back)(s, NAME(load)((const REAL *)s->h + at, n), d, da);
            } else if (s->cell == GRU) {
                NAME(gru_back)(gates, NAME(load)(before + place, n), d, dh, da);
            } else {
                VEC *dc = (VEC *)((REAL *)s->carry_c + mine);
                if (outer_c) *dc += NAME(load)(outer_c + at, n);
                NAME(lstm_back)(gates, NAME(load)(c0 + place, n), th[i], d, dc, da);
            }
        }
    }
}

/* dh_{t-1} += dq_t W_hh; `da` is the first row of the step. */
static void NAME(carry)(const problem *s, const share *own, const REAL *da, int Q) {
    int units = s->groups * LANES, wide = s->slots * LANES, b0 = own->b0, R = own->b1 - b0;
    const REAL *w = (REAL *)s->panels + (size_t)own->j0 * units * s->gates * LANES;
    const REAL *dq = s->cell == GRU ? da + LANES : da;
    int add = s->cell == GRU || s->lengths;
    for (int u = own->j0, V; u < own->j1; u += V) {
        V = width(s->groups - u);
        for (int r = 0, m; r < R; r += m) {
            const REAL *row[8];
            m = NAME(tile)(V, R - r);
            for (int i = 0; i < m; i++) row[i] = dq + (size_t)(r + i) * wide;
            REAL *to = (REAL *)s->carry + (size_t)(b0 + r) * units + u * LANES;
            NAME(rows) a = {row, s->groups, s->gates * LANES, GROUP(1, Q)};
            NAME(sums) sums = {add ? to : s->zeros, to, add ? units : 0, units, LANES};
            NAME(product)(V, m, s->B == 1, &a, w, &sums);
        }
        w += (size_t)V * units * s->gates * LANES;
    }
}

/* dx = dp W_ih, for a share's rows of a block; of units, for some of all rows. */
static void NAME(back_project)(const problem *s, const share *own, int t0, int steps,
                               const REAL *da) {
    int b0 = own->b0, R = own->b1 - b0, I = s->I, Q = steps * s->B, wide = s->slots * LANES;
    int64_t all = (int64_t)steps * R, size = s->by_units ? own->team->size : 1;
    int begin = s->by_units ? (int)(all * own->index / size) : 0;
    int n = s->by_units ? (int)(all * (own->index + 1) / size) : (int)all;
    for (int q0 = begin; q0 < n; q0 += CHUNK) {
        const REAL *row[CHUNK], *w = s->panels_in;
        REAL *to[CHUNK];
        int some = n - q0 < CHUNK ? n - q0 : CHUNK;
        for (int i = 0; i < some; i++) {
            size_t q = (size_t)((q0 + i) / R) * s->B + b0 + (q0 + i) % R;
            row[i] = da + q * wide;
            to[i] = (REAL *)s->dx + ((size_t)t0 * s->B + q) * I;
        }
        for (int u = 0, V; u * LANES < I; u += V) {
            V = width(NAME(vectors)(I) - u);
            for (int i = 0, m; i < some; i += m) {
                REAL tile[8 * 3 * LANES] LINED;
                m = NAME(tile)(V, some - i);
                NAME(rows) a = {row + i, s->groups, s->gates * LANES, GROUP(1, Q)};
                NAME(sums) sums = {s->zeros, tile, 0, V * LANES, LANES};
                NAME(product)(V, m, s->T == 1 && s->B == 1, &a, w, &sums);
                for (int r = 0; r < m; r++)
                    for (int v = 0; v < V; v++) {
                        int at = (u + v) * LANES;
                        VEC d = *(const VEC *)(tile + (r * V + v) * LANES);
                        NAME(store)(to[i + r] + at, d, I - at);
                    }
            }
            w += (size_t)V * s->groups * LANES * s->gates * LANES;
        }
    }
}

/* dW (G·H, N) += Σ_q da_q ⊗ row_q, for the groups j0 to j1: the share of a thread. The rows are
 * those of x, or of h a step before, (T, B, N), in a block that begins at t0; and of h0 before all.
 */
static void NAME(weight_gradient)(const problem *s, int input, int N, const REAL *x, int t0,
                                  const REAL *da, int Q, int j0, int j1, REAL *strip, REAL *dW) {
    int slot0 = s->cell == GRU && !input, B = s->B;
    for (int q0 = 0; q0 < Q; q0 += CHAIN) {
        const REAL *rows[CHAIN];
        int n = Q - q0 < CHAIN ? Q - q0 : CHAIN;
        for (int i = 0; i < n; i++) {
            int t = t0 + (q0 + i) / B, b = (q0 + i) % B;
            const REAL *before = input ? x + (size_t)t * B * N : (const REAL *)s->h0;
            if (!input && t) before = x + (size_t)(t - 1) * B * N;
            rows[i] = s->lengths && t >= s->lengths[b] ? NULL : before + (size_t)b * N;
        }
        NAME(lay_columns)(N, n, rows, strip);
        for (int j = j0; j < j1; j++)
            for (int g = 0; g < s->gates; g++)
                for (int half = 0; half < LANES && j * LANES + half < s->H; half += TALL) {
                    int unit = j * LANES + half, rows = s->H - unit < TALL ? s->H - unit : TALL;
                    REAL *to = dW + ((size_t)NAME(gate)(s, input, g) * s->H + unit) * N;
                    const REAL *w = strip, *a = da + GROUP(j, Q) + half +
                                                (size_t)(q0 * s->slots + slot0 + g) * LANES;
                    for (int u = 0, V; u * LANES < N; u += V) {
                        REAL tile[TALL * 3 * LANES] LINED;
                        V = width(NAME(vectors)(N) - u);
                        NAME(outer)(V, n, a, (size_t)s->slots * LANES, w, tile);
                        w += (size_t)V * n * LANES;
                        for (int r = 0; r < rows; r++)
                            for (int v = 0; v < V; v++) {
                                int at = (u + v) * LANES;
                                REAL *sum = to + (size_t)r * N + at;
                                VEC d = *(const VEC *)(tile + (r * V + v) * LANES);
                                NAME(store)(sum, NAME(load)(sum, N - at) + d, N - at);
                            }
                    }
                }
    }
}

/* db (slots, H) += Σ_q da_q; the gates are in their own order, and a GRU's q is last. */
static void NAME(bias_gradient)(const problem *s, const REAL *da, int Q, int j0, int j1) {
    for (int j = j0; j < j1; j++)
        for (int slot = 0; slot < s->slots; slot++) {
            const REAL *from = da + GROUP(j, Q) + (size_t)slot * LANES;
            int gate = s->cell == GRU && slot == 3 ? 3 : NAME(gate)(s, 1, slot);
            REAL *to = (REAL *)s->db + (size_t)gate * s->H + j * LANES;
            int n = s->H - j * LANES;
            VEC sum = ALL;
            for (int q = 0; q < Q; q++) sum += *(const VEC *)(from + (size_t)q * s->slots * LANES);
            NAME(store)(to, NAME(load)(to, n) + sum, n);
        }
}

/* Backward through all blocks; when a block's da is complete, each thread sums some rows of dW. */
static void NAME(backward)(const problem *s, share *own) {
    int b0 = own->b0, R = own->b1 - b0, B = s->B, H = s->H, alone = !s->by_units || !own->index;
    int j0 = s->groups * own->index / own->team->size;
    int j1 = s->groups * (own->index + 1) / own->team->size;
    size_t units = (size_t)s->groups * LANES, first = (size_t)b0 * H, mine = b0 * units;
    if (alone) NAME(widen)(s, (REAL *)s->dh + first, (REAL *)s->carry + mine, R);
    if (alone && s->cell == LSTM)
        NAME(widen)(s, (REAL *)s->dc + first, (REAL *)s->carry_c + mine, R);
    if (s->by_units) meet(own->team);
    REAL *strip = (REAL *)s->strips + own->index * s->strip;
    int last = s->T ? (s->T - 1) / s->block * s->block : -1;
    for (int t0 = last, k = 0; t0 >= 0; t0 -= s->block, k ^= 1) {
        int steps = s->T - t0 < s->block ? s->T - t0 : s->block, Q = steps * B;
        REAL *da = (REAL *)s->da + (k ? GROUP(s->groups, B) * s->block : 0);
        for (int t = steps - 1; R && t >= 0; t--) {
            REAL *to = da + ((size_t)t * B + b0) * s->slots * LANES;
            NAME(back_step)(s, own, t0 + t, to, Q);
            if (s->by_units) meet(own->team);
            NAME(carry)(s, own, to, Q);
        }
        if (R) NAME(back_project)(s, own, t0, steps, da);
        meet(own->team);
        NAME(weight_gradient)(s, 1, s->I, s->x, t0, da, Q, j0, j1, strip, s->dW_ih);
        NAME(weight_gradient)(s, 0, H, s->h, t0, da, Q, j0, j1, strip, s->dW_hh);
        if (s->db) NAME(bias_gradient)(s, da, Q, j0, j1);
    }
    if (!alone) return; /* the team has met since the last carry */
    NAME(narrow)(s, (REAL *)s->carry + mine, (REAL *)s->dh + first, R);
    if (s->cell == LSTM) NAME(narrow)(s, (REAL *)s->carry_c + mine, (REAL *)s->dc + first, R);
}
