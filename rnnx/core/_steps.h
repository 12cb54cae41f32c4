/* One step of training, in REAL, which is float or double: the sum of squares of a gradient, the
 * step of an optimizer on one parameter, and softmax cross-entropy.
 *
 * The optimizers round every number as NumPy does, with no product fused into a sum, so that their
 * bits are those of rnnx/optim/optimizers.py. REAL and NAME(x) are undefined again here.
 */
typedef REAL NAME(four) __attribute__((vector_size(4 * sizeof(REAL)), aligned(sizeof(REAL))));

/* Σ g² in double, which no float32 overflows: in 16 sums, so that the order is fixed. */
INLINE double NAME(squares)(const REAL *g, size_t n) {
    doubles sums[4] = {{0}};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int k = 0; k < 4; k++) {
            doubles x = __builtin_convertvector(*(const NAME(four) *)(g + i + 4 * k), doubles);
            sums[k] += x * x;
        }
    doubles all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    double total = (all[0] + all[1]) + (all[2] + all[3]);
    for (; i < n; i++) total += (double)g[i] * (double)g[i];
    return total;
}

/* √(Σ g²) of all gradients, infinite or NaN where it does not fit REAL. */
INLINE double NAME(norm)(const update *s) {
    double total = 0;
    for (Py_ssize_t i = 0; i < s->count; i++)
        total += NAME(squares)(s->grads[i].buf, (size_t)s->grads[i].len / sizeof(REAL));
    if (sizeof(REAL) == 8 && total < 1e-280) return NAN; /* squares may have been lost */
    return (double)(REAL)sqrt(total);
}

/* Each parameter w with gradient g, as the optimizer's docstring has it. */
INLINE void NAME(moved)(const update *s, size_t at, const REAL *restrict grad, size_t n) {
    const REAL *restrict w = (const REAL *)s->params + at;
    REAL *restrict to = (REAL *)s->after + at;
    REAL *restrict first = (REAL *)s->first + at, *restrict second = (REAL *)s->second + at;
    const REAL scale = (REAL)s->scale, rate = (REAL)s->numbers[0];
    const REAL a = (REAL)s->numbers[1], b = (REAL)s->numbers[2], c = (REAL)s->numbers[3];
    const REAL d = (REAL)s->numbers[4], epsilon = (REAL)s->numbers[5];
    const REAL v_weight = (REAL)s->numbers[6], kept = (REAL)s->numbers[7];
    switch (s->rule) {
    case SGD:
        for (size_t i = 0; i < n; i++) to[i] = w[i] - rate * (grad[i] * scale);
        break;
    case MOMENTUM: /* a = μ */
        for (size_t i = 0; i < n; i++) {
            REAL v = first[i] = a * first[i] + grad[i] * scale;
            to[i] = w[i] - rate * v;
        }
        break;
    case NESTEROV:
        for (size_t i = 0; i < n; i++) {
            REAL g = grad[i] * scale, v = first[i] = a * first[i] + g;
            to[i] = w[i] - rate * (g + a * v);
        }
        break;
    case RMSPROP: /* a = α, b = 1 - α */
        for (size_t i = 0; i < n; i++) {
            REAL g = grad[i] * scale, v = first[i] = a * first[i] + b * (g * g);
            to[i] = w[i] - rate * g / (ROOT(v) + epsilon);
        }
        break;
    case ADAM: /* a = β₁, b = 1 - β₁, c = β₂, d = 1 - β₂; the rate is η / (1 - β₁ᵗ) */
        for (size_t i = 0; i < n; i++) {
            REAL g = grad[i] * scale, m = first[i] = a * first[i] + b * g;
            REAL v = second[i] = c * second[i] + d * (g * g);
            to[i] = kept * w[i] - rate * m / (ROOT(v / v_weight) + epsilon);
        }
    }
}

INLINE void NAME(step)(const update *s) {
    size_t at = 0;
    for (Py_ssize_t i = 0; i < s->count; i++) {
        size_t n = (size_t)s->grads[i].len / sizeof(REAL);
        NAME(moved)(s, at, s->grads[i].buf, n);
        at += n;
    }
}

/* The loss of one row of logits z (K,) with the target k, and share · dz. */
static double NAME(row)(const REAL *z, REAL *dz, int64_t K, int64_t k, double share) {
    REAL largest = z[0];
    double sum = 0;
    for (int64_t j = 1; j < K; j++)
        if (z[j] > largest) largest = z[j]; /* NaN, wherever it is, makes the sum NaN */
    for (int64_t j = 0; j < K; j++) sum += dz[j] = EXP(z[j] - largest);
    if (k < 0 || k >= K) sum = NAN;
    double up = share / sum;
    REAL loss_k = k < 0 || k >= K ? 0 : z[k] - largest;
    for (int64_t j = 0; j < K; j++) dz[j] = (REAL)(up * dz[j]);
    if (k >= 0 && k < K) dz[k] = (REAL)(share * (EXP(loss_k) / sum - 1));
    return log(sum) - (double)loss_k;
}

/* L = Σ w l / Σ w over the rows that count, and its gradient. */
static double NAME(entropy)(const entropy *s) {
    const REAL *z = s->logits, *weights = s->weights;
    REAL *dz = s->gradient;
    double total = 0, loss = 0;
    for (int64_t r = 0; r < s->rows; r++)
        total += s->mask && !s->mask[r] ? 0 : weights ? (double)weights[r] : 1;
    for (int64_t r = 0; r < s->rows; r++, z += s->classes, dz += s->classes) {
        if (s->mask && !s->mask[r]) {
            memset(dz, 0, (size_t)s->classes * sizeof(REAL));
            continue;
        }
        double share = (weights ? (double)weights[r] : 1) / (total > 0 ? total : 1);
        loss += share * NAME(row)(z, dz, s->classes, s->targets[r], share);
    }
    return loss;
}

#undef REAL
#undef NAME
#undef ROOT
#undef EXP
