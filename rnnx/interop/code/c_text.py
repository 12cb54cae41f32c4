"""The text of the header but for its stages and its weights; ``$`` before what a model decides."""

HEAD = """\
/*
 * $file: a recurrent network in C99, written by rnnx $version.
 *
 *     $words
 *
 * Each stream has its own ${name}_state, and ${name}_step takes one step of it. Nothing else is
 * written to and nothing is allocated: streams may run in several threads. Link with -lm.
 *
 *     #include <stdio.h>
 *     #include "$file"
 *
 *     int main(void)
 *     {
 *         static ${name}_state state;
 *         static $real ${example}y[${NAME}_OUTPUT_SIZE];
 *         ${name}_reset(&state);
 *         for (int t = 0; t < 3; ++t) {
 *             ${name}_step(&state, $given, y);
 *             printf("%g\\n", (double)y[0]);
 *         }
 *         return 0;
 *     }
 */
#ifndef RNNX_${name}_H
#define RNNX_${name}_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define ${NAME}_INPUT_SIZE $input_size /* $what */
#define ${NAME}_OUTPUT_SIZE $output_size /* values of an answer */
"""

GATES = """\
#define ${NAME}_GATES $gates /* rows of the largest products, which a step has on the stack */
"""

STATE = """\
/* What a stream remembers: all zero when it begins. */
typedef struct {
    uint32_t steps; /* since the reset */
$states
} ${name}_state;

/* Begin a stream. */
static inline void ${name}_reset(${name}_state *state);
"""

STEP = """\
/* Take one step: read x, write the answer to y, which is other memory, and update the state. */
$head;
"""

SYMBOL_STEP = """\
/* Take one step: read a symbol, write the answer to y, update the state, and return 0. For a symbol
 * that is not 0 ... ${NAME}_INPUT_SIZE - 1 return -1 and change nothing.
 */
$head;
"""

RESET = """\
static inline void ${name}_reset(${name}_state *state)
{
    memset(state, 0, sizeof *state);
}
"""

MATRIX = """\
typedef struct {
    int rows, columns;
    const $weight *W; /* column by column, so that rows are computed side by side */
$scales    const $real *b; /* NULL for none */
} ${name}_matrix;
"""

AFFINE = """\
/* y = W x + b */
static inline void ${name}_affine(const ${name}_matrix *m, const $real *x, $real *y)
{
    const $weight *column = m->W;
    for (int i = 0; i < m->rows; ++i) {
        y[i] = 0;
    }
    for (int j = 0; j < m->columns; ++j, column += m->rows) {
        const $real x_j = x[j];
        for (int i = 0; i < m->rows; ++i) {
            y[i] += column[i] * x_j;
        }
    }
    for (int i = 0; i < m->rows; ++i) {
        y[i] = y[i]$rescaled + (m->b ? m->b[i] : 0);
    }
}
"""

ROW = """\
/* x = row i of W, of which W holds one after the other */
static inline void ${name}_row(const ${name}_matrix *m, int32_t i, $real *x)
{
    const $weight *row = m->W + (size_t)i * (size_t)m->columns;
    for (int j = 0; j < m->columns; ++j) {
        x[j] = row[j]$rescaled;
    }
}
"""

SIGMOID = """\
/* 1 / (1 + exp(-a)), where exp cannot overflow */
static inline $real ${name}_sigmoid($real a)
{
    const $real e = $exp(-$fabs(a));
    return (a < 0 ? e : 1) / (1 + e);
}
"""

SOFTMAX = """\
/* y = exp(y) / sum exp(y), where the largest exponent is 0 */
static inline void ${name}_softmax(int n, $real *y)
{
    $real largest = y[0], sum = 0;
    for (int i = 1; i < n; ++i) {
        largest = y[i] > largest ? y[i] : largest;
    }
    for (int i = 0; i < n; ++i) {
        y[i] = $exp(y[i] - largest);
        sum += y[i];
    }
    for (int i = 0; i < n; ++i) {
        y[i] /= sum;
    }
}
"""

END = """\
#endif
"""
