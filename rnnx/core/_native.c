/* The compiled core: buffers in, loops over time on threads without the GIL, results in place.
 *
 * Python's stable ABI of 3.11, no headers but Python's: one build serves every later Python.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { RNN, GRU, LSTM };

typedef struct {
    int cell, gates, relu, T, B, H;
    const void *p, *bias, *bias_n, *W, *h0, *c0; /* in */
    void *h, *c, *kept;                          /* out of forward, in to backward */
    const void *outer, *outer_c;                 /* in to backward: gradients from outside */
    void *dh, *dc;                               /* in and out: final to initial state */
    void *dp, *dq, *whole;                       /* out of backward */
    void *panels;
} problem;


/* Each dtype with each instruction set: the compiler's vectors, chosen when the module is loaded. */
#define REAL float
#define INT int32_t
#define BYTES 16
#define WIDE 0
#define NAME(x) x##_f32_base
#include "_kernels.h"
#undef REAL
#undef INT
#undef NAME
#define REAL double
#define INT int64_t
#define NAME(x) x##_f64_base
#include "_kernels.h"
#undef REAL
#undef INT
#undef NAME
#undef BYTES
#undef WIDE

#if defined(__x86_64__) && defined(__GNUC__)
#define CHOICES
#define BYTES 32
#define WIDE 0
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define REAL float
#define INT int32_t
#define NAME(x) x##_f32_avx2
#include "_kernels.h"
#undef REAL
#undef INT
#undef NAME
#define REAL double
#define INT int64_t
#define NAME(x) x##_f64_avx2
#include "_kernels.h"
#undef REAL
#undef INT
#undef NAME
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef BYTES
#undef WIDE

#define BYTES 64
#define WIDE 1
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")
#endif
#define REAL float
#define INT int32_t
#define NAME(x) x##_f32_avx512
#include "_kernels.h"
#undef REAL
#undef INT
#undef NAME
#define REAL double
#define INT int64_t
#define NAME(x) x##_f64_avx512
#include "_kernels.h"
#undef REAL
#undef INT
#undef NAME
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef BYTES
#undef WIDE
#endif

typedef void (*loop)(const problem *, int, int);
typedef struct {
    const char *name;
    loop run[2][2]; /* [float64][backward] */
    size_t (*pack32)(const problem *, int, float *);
    size_t (*pack64)(const problem *, int, double *);
} instructions;

#define SET(isa)                                                                                   \
    {                                                                                              \
        #isa, {{forward_f32_##isa, backward_f32_##isa}, {forward_f64_##isa, backward_f64_##isa}},  \
            pack_f32_##isa, pack_f64_##isa                                                         \
    }
static const instructions SETS[] = {
    SET(base),
#ifdef CHOICES
    SET(avx2),
    SET(avx512),
#endif
};
static int best = 0, chosen = 0;

static void choose(void) {
#ifdef CHOICES
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = 1;
    if (best && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        best = 2;
#endif
    chosen = best;
}

typedef struct {
    const problem *problem;
    loop run;
    int b0, b1;
} slice;

static void *work(void *given) {
    slice *s = given;
    s->run(s->problem, s->b0, s->b1);
    return NULL;
}

/* Run slices of the batch, each on a thread; where none can be had, here. */
static void spread(const problem *s, loop run, int threads) {
    enum { MOST = 64 };
    pthread_t ids[MOST];
    slice slices[MOST];
    int started[MOST] = {0};
    if (threads > MOST) threads = MOST;
    if (threads > s->B) threads = s->B;
    for (int i = 0; i < threads; i++) {
        slices[i] = (slice){s, run, (int)((int64_t)s->B * i / threads),
                            (int)((int64_t)s->B * (i + 1) / threads)};
        if (i) started[i] = pthread_create(&ids[i], NULL, work, &slices[i]) == 0;
    }
    for (int i = 0; i < threads; i++)
        if (!started[i]) work(&slices[i]);
    for (int i = 1; i < threads; i++)
        if (started[i]) pthread_join(ids[i], NULL);
}

/* The buffers of a call, in the order of their names in native.py. */
enum { P, BIAS, BIAS_N, W_, H0, C0, H_, C_, KEPT, OUTER, OUTER_C, DH, DC, DP, DQ, WHOLE, COUNT };

static int take(PyObject *const *objects, Py_buffer *views, int *taken, const size_t *sizes,
                int *itemsize) {
    for (int i = 0; i < COUNT; i++) {
        taken[i] = 0;
        if (objects[i] == Py_None) continue;
        int writes = i == H_ || i == C_ || i == KEPT || i >= DH;
        int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT;
        int backward = objects[DP] != Py_None;
        if (writes && !(backward && i < DH)) flags |= PyBUF_WRITABLE;
        if (PyObject_GetBuffer(objects[i], &views[i], flags)) return -1;
        taken[i] = 1;
        const char *format = views[i].format;
        int size = !format ? 0 : !strcmp(format, "f") ? 4 : !strcmp(format, "d") ? 8 : 0;
        if (!*itemsize) *itemsize = size;
        if (!size || size != *itemsize) {
            PyErr_Format(PyExc_TypeError, "buffer %d must be float32 or float64 like the first", i);
            return -1;
        }
        if ((size_t)views[i].len != sizes[i] * (size_t)size) {
            PyErr_Format(PyExc_ValueError, "buffer %d must hold %zu numbers, got %zd bytes", i,
                         sizes[i], views[i].len);
            return -1;
        }
    }
    return 0;
}

static int required(const int *taken, int backward, int cell) {
    int ok = taken[P] != backward && taken[W_] && taken[H0] && taken[H_];
    if (cell == LSTM) ok = ok && taken[C0] && taken[C_];
    if (backward) {
        ok = ok && taken[DH] && taken[DP] && (cell == RNN || taken[KEPT]);
        ok = ok && (cell != LSTM || taken[DC]) && (cell != GRU || taken[DQ]);
    }
    return ok;
}

PyDoc_STRVAR(run_doc,
             "run(cell, relu, T, B, H, threads, *buffers)\n--\n\n"
             "Run a sequence forward, or backward where the buffer of dp is given.");

static PyObject *run(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (count != 6 + COUNT)
        return PyErr_Format(PyExc_TypeError, "run takes %d arguments", 6 + COUNT);
    long numbers[6];
    for (int i = 0; i < 6; i++) {
        numbers[i] = PyLong_AsLong(args[i]);
        if (numbers[i] == -1 && PyErr_Occurred()) return NULL;
    }
    problem s = {0};
    s.cell = (int)numbers[0], s.relu = (int)numbers[1];
    long T = numbers[2], B = numbers[3], H = numbers[4], most = 1L << 28;
    if (s.cell < RNN || s.cell > LSTM || T < 0 || B < 0 || H < 1 || T > most || B > most ||
        H > 1L << 24)
        return PyErr_Format(PyExc_ValueError, "cell, T, B or H is out of range");
    s.T = (int)T, s.B = (int)B, s.H = (int)H;
    s.gates = s.cell == RNN ? 1 : s.cell == GRU ? 3 : 4;
    size_t row = (size_t)B * H, all = (size_t)T * row, G = (size_t)s.gates;
    size_t sizes[COUNT] = {
        [P] = all * G, [BIAS] = G * H, [BIAS_N] = (size_t)H, [W_] = G * H * H,
        [H0] = row, [C0] = row, [H_] = all, [C_] = all, [KEPT] = all * 4,
        [OUTER] = all, [OUTER_C] = all, [DH] = row, [DC] = row,
        [DP] = all * G, [DQ] = all * G, [WHOLE] = all};
    Py_buffer views[COUNT];
    int taken[COUNT] = {0}, itemsize = 0, backward = args[6 + DP] != Py_None;
    PyObject *result = NULL;
    if (take(args + 6, views, taken, sizes, &itemsize)) goto done;
    if (!required(taken, backward, s.cell)) {
        PyErr_SetString(PyExc_TypeError, "a buffer is missing");
        goto done;
    }
#define BUFFER(i) (taken[i] ? views[i].buf : NULL)
    s.p = BUFFER(P), s.bias = BUFFER(BIAS), s.bias_n = BUFFER(BIAS_N), s.W = BUFFER(W_);
    s.h0 = BUFFER(H0), s.c0 = BUFFER(C0), s.h = BUFFER(H_), s.c = BUFFER(C_);
    s.kept = BUFFER(KEPT), s.outer = BUFFER(OUTER), s.outer_c = BUFFER(OUTER_C);
    s.dh = BUFFER(DH), s.dc = BUFFER(DC), s.dp = BUFFER(DP), s.dq = BUFFER(DQ);
    s.whole = BUFFER(WHOLE);
    const instructions *set = &SETS[chosen];
    size_t size = itemsize == 4 ? set->pack32(&s, backward, NULL) : set->pack64(&s, backward, NULL);
    void *memory = malloc(size * (size_t)itemsize + 64);
    if (!memory) {
        PyErr_NoMemory();
        goto done;
    }
    s.panels = (void *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    Py_BEGIN_ALLOW_THREADS
    if (itemsize == 4) set->pack32(&s, backward, s.panels);
    else set->pack64(&s, backward, s.panels);
    spread(&s, set->run[itemsize == 8][backward], (int)numbers[5]);
    Py_END_ALLOW_THREADS
    free(memory);
    result = Py_NewRef(Py_None);
done:
    for (int i = 0; i < COUNT; i++)
        if (taken[i]) PyBuffer_Release(&views[i]);
    return result;
}

PyDoc_STRVAR(instructions_doc,
             "instructions(name=None)\n--\n\n"
             "Return the instruction set in use; with a name, choose one that the processor has.");

static PyObject *use(PyObject *module, PyObject *args) {
    const char *name = NULL;
    if (!PyArg_ParseTuple(args, "|z", &name)) return NULL;
    if (name) {
        int found = -1;
        for (int i = 0; i <= best; i++)
            if (!strcmp(SETS[i].name, name)) found = i;
        if (found < 0) return PyErr_Format(PyExc_ValueError, "no instruction set %s here", name);
        chosen = found;
    }
    return PyUnicode_FromString(SETS[chosen].name);
}

static PyMethodDef methods[] = {
    {"run", (PyCFunction)(void (*)(void))run, METH_FASTCALL, run_doc},
    {"instructions", use, METH_VARARGS, instructions_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The compiled core.", -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) {
    choose();
    return PyModule_Create(&definition);
}
