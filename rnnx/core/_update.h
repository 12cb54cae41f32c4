/* The rest of a training step, beside the layers: softmax cross-entropy, and one update of all
 * parameters of a model, which lie in one buffer. Included by _native.c.
 */
#include <math.h>

enum { SGD, MOMENTUM, NESTEROV, RMSPROP, ADAM, NUMBERS = 8 };

typedef struct {
    int rule;
    const void *params;
    void *after, *first, *second; /* the new parameters; the optimizer's state, in place */
    const Py_buffer *grads;
    Py_ssize_t count;
    double scale, numbers[NUMBERS];
} update;

typedef struct {
    int64_t rows, classes;
    const void *logits, *weights;
    const int32_t *targets;
    const char *mask;
    void *gradient;
} entropy;

/* The loops are compiled into one function for each instruction set. */
#define INLINE static inline __attribute__((always_inline))
typedef double doubles __attribute__((vector_size(32), aligned(8)));

#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif
#define REAL float
#define NAME(x) x##_f32
#define ROOT sqrtf
#define EXP expf
#include "_steps.h"
#define REAL double
#define NAME(x) x##_f64
#define ROOT sqrt
#define EXP exp
#include "_steps.h"

#define COMPILED(isa, target)                                                                      \
    target static double norm_##isa(const update *s, int wide) {                                   \
        return wide ? norm_f64(s) : norm_f32(s);                                                   \
    }                                                                                              \
    target static void step_##isa(const update *s, int wide) {                                     \
        if (wide)                                                                                  \
            step_f64(s);                                                                           \
        else                                                                                       \
            step_f32(s);                                                                           \
    }
COMPILED(base, )
#ifdef CHOICES
COMPILED(avx2, __attribute__((target("avx2"))))
COMPILED(avx512, __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw"))))
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

static const struct {
    double (*norm)(const update *, int);
    void (*step)(const update *, int);
} UPDATES[] = {
    {norm_base, step_base},
#ifdef CHOICES
    {norm_avx2, step_avx2},
    {norm_avx512, step_avx512},
#endif
};
_Static_assert(sizeof UPDATES / sizeof *UPDATES == sizeof SETS / sizeof *SETS,
               "each instruction set needs its update");

/* The numbers of a tuple; the first of them are required. */
static int constants(PyObject *tuple, double *numbers) {
    Py_ssize_t n = PyTuple_Check(tuple) ? PyTuple_Size(tuple) : 0;
    if (n < 1 || n > NUMBERS) {
        PyErr_SetString(PyExc_ValueError, "an optimizer has a tuple of 1 to 8 numbers");
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        numbers[i] = PyFloat_AsDouble(PyTuple_GetItem(tuple, i));
        if (numbers[i] == -1 && PyErr_Occurred()) return -1;
    }
    return 0;
}

/* Scale as clip_by_global_norm does, in the dtype's own roundings. */
static double clipped(double norm, double limit, size_t size) {
    if (!(norm > (size == 4 ? (double)(float)limit : limit))) return 1;
    return size == 4 ? (double)((float)limit / (float)norm) : limit / norm;
}

/* Run the update on buffers that fit each other; None where the norm is not a number to go by. */
static PyObject *updated(update *s, double limit, size_t size) {
    double norm;
    Py_BEGIN_ALLOW_THREADS
    norm = UPDATES[chosen].norm(s, size == 8);
    if (isfinite(norm)) {
        s->scale = clipped(norm, limit, size);
        UPDATES[chosen].step(s, size == 8);
    }
    Py_END_ALLOW_THREADS
    return isfinite(norm) ? PyFloat_FromDouble(norm) : Py_NewRef(Py_None);
}

/* Take the gradients, and count their numbers. */
static int felt_by(PyObject *grads, update *s, Py_buffer *felt, size_t *size, Py_ssize_t *total) {
    for (Py_ssize_t count = PyTuple_Size(grads); s->count < count; s->count++) {
        Py_buffer *view = &felt[s->count];
        if (numbers_of(PyTuple_GetItem(grads, s->count), view, 0, size, -1)) return -1;
        *total += view->len / (Py_ssize_t)*size;
    }
    return 0;
}

PyDoc_STRVAR(update_doc,
             "update(rule, limit, numbers, grads, params, after, first=None, second=None)\n--\n\n"
             "Clip the gradients at a norm, take a step of an optimizer, return the norm before.\n"
             "Where the norm is not finite, or not accurate, change nothing and return None.");

static PyObject *run_update(PyObject *module, PyObject *args) {
    enum { PARAMS, AFTER, FIRST, SECOND, BUFFERS };
    update s = {0};
    double limit;
    PyObject *tuple, *grads, *given[BUFFERS] = {0}, *result = NULL;
    if (!PyArg_ParseTuple(args, "idOOOO|OO", &s.rule, &limit, &tuple, &grads, &given[PARAMS],
                          &given[AFTER], &given[FIRST], &given[SECOND]))
        return NULL;
    int states = s.rule == SGD ? 0 : s.rule == ADAM ? 2 : 1, taken = 0;
    if (s.rule < SGD || s.rule > ADAM || !(limit > 0))
        return PyErr_Format(PyExc_ValueError, "rule or limit is out of range");
    if (!given[FIRST + states - 1] || !PyTuple_Check(grads))
        return PyErr_Format(PyExc_TypeError, "a buffer is missing, or gradients are no tuple");
    if (constants(tuple, s.numbers)) return NULL;
    Py_buffer views[BUFFERS];
    Py_buffer *felt = PyMem_Calloc((size_t)PyTuple_Size(grads) + 1, sizeof(Py_buffer));
    if (!felt) return PyErr_NoMemory();
    size_t size = 0;
    Py_ssize_t total = 0, n = -1;
    for (; taken < FIRST + states; taken++) {
        if (numbers_of(given[taken], &views[taken], taken > PARAMS, &size, n)) goto done;
        n = views[PARAMS].len / (Py_ssize_t)size;
    }
    if (felt_by(grads, &s, felt, &size, &total)) goto done;
    s.params = views[PARAMS].buf, s.after = views[AFTER].buf, s.grads = felt;
    s.first = states > 0 ? views[FIRST].buf : s.after;
    s.second = states > 1 ? views[SECOND].buf : s.after;
    if (total == n)
        result = updated(&s, limit, size);
    else
        PyErr_Format(PyExc_ValueError, "expected %zd gradients, got %zd", n, total);
done:
    for (int i = 0; i < taken; i++) PyBuffer_Release(&views[i]);
    for (Py_ssize_t i = 0; i < s.count; i++) PyBuffer_Release(&felt[i]);
    PyMem_Free(felt);
    return result;
}

/* Take a buffer of this format and length in bytes; None where it may be missing. */
static const void *plain(PyObject *object, Py_buffer *view, char format, Py_ssize_t bytes) {
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)) return NULL;
    if (view->format && view->format[0] == format && !view->format[1] && view->len == bytes)
        return view->buf;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_ValueError, "targets must be int32 and a mask bool, one for each row");
    return NULL;
}

enum { LOGITS, TARGETS, GRADIENT, MASK, WEIGHTS, PARTS };

/* Take the buffers of a call; those that were taken are marked, also on an error. */
static int entropy_of(PyObject *const *given, Py_buffer *views, int *taken, entropy *s,
                      size_t *size) {
    if (numbers_of(given[LOGITS], &views[LOGITS], 0, size, -1)) return -1;
    taken[LOGITS] = 1;
    const Py_buffer *z = &views[LOGITS];
    s->classes = z->ndim ? z->shape[z->ndim - 1] : 0;
    if (s->classes < 1) {
        PyErr_SetString(PyExc_ValueError, "logits must have an axis of classes");
        return -1;
    }
    Py_ssize_t n = z->len / (Py_ssize_t)*size, rows = n / (Py_ssize_t)s->classes;
    s->rows = rows, s->logits = z->buf;
    if (!(s->targets = plain(given[TARGETS], &views[TARGETS], 'i', rows * 4))) return -1;
    taken[TARGETS] = 1;
    if (numbers_of(given[GRADIENT], &views[GRADIENT], 1, size, n)) return -1;
    taken[GRADIENT] = 1, s->gradient = views[GRADIENT].buf;
    if (given[MASK] && given[MASK] != Py_None) {
        if (!(s->mask = plain(given[MASK], &views[MASK], '?', rows))) return -1;
        taken[MASK] = 1;
    }
    if (given[WEIGHTS] && given[WEIGHTS] != Py_None) {
        if (numbers_of(given[WEIGHTS], &views[WEIGHTS], 0, size, rows)) return -1;
        taken[WEIGHTS] = 1, s->weights = views[WEIGHTS].buf;
    }
    return 0;
}

PyDoc_STRVAR(entropy_doc,
             "cross_entropy(logits, targets, gradient, mask=None, weights=None)\n--\n\n"
             "Return the softmax cross-entropy of logits (..., K), and fill in its gradient.");

static PyObject *run_entropy(PyObject *module, PyObject *args) {
    PyObject *given[PARTS] = {0}, *result = NULL;
    if (!PyArg_ParseTuple(args, "OOO|OO", &given[LOGITS], &given[TARGETS], &given[GRADIENT],
                          &given[MASK], &given[WEIGHTS]))
        return NULL;
    entropy s = {0};
    Py_buffer views[PARTS];
    int taken[PARTS] = {0};
    size_t size = 0;
    if (!entropy_of(given, views, taken, &s, &size)) {
        double loss;
        Py_BEGIN_ALLOW_THREADS
        loss = size == 8 ? entropy_f64(&s) : entropy_f32(&s);
        Py_END_ALLOW_THREADS
        result = PyFloat_FromDouble(loss);
    }
    for (int i = 0; i < PARTS; i++)
        if (taken[i]) PyBuffer_Release(&views[i]);
    return result;
}
