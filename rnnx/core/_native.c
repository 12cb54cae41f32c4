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
    const void *p, *bias, *bias_n, *h0, *c0;     /* in */
    void *h, *c, *kept;                          /* out of forward, in to backward */
    const void *outer, *outer_c;                 /* in to backward: gradients from outside */
    void *dh, *dc;                               /* in and out: final to initial state */
    void *dp, *dq, *whole, *sums;                /* out of backward; sums (B, ·) are of dp, dq */
    const void *panels;                          /* weights, as `pack` laid them out */
} problem;

/* Each instruction set: the compiler's vectors, chosen when the module is loaded. */
#define BYTES 16
#define WIDE 0
#define SUFFIX(x) x##_base
#include "_dtypes.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define CHOICES
#define BYTES 32
#define WIDE 0
#define SUFFIX(x) x##_avx2
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "_dtypes.h"
#pragma clang attribute pop
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#include "_dtypes.h"
#pragma GCC pop_options
#endif

#define BYTES 64
#define WIDE 1
#define SUFFIX(x) x##_avx512
#define ESTIMATE_F32(x) _mm512_rcp14_ps((__m512)(x))
#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma"))), apply_to = function)
#include "_dtypes.h"
#pragma clang attribute pop
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")
#include "_dtypes.h"
#pragma GCC pop_options
#endif
#endif

typedef void (*loop)(const problem *, int, int);
typedef struct {
    loop forward, backward;
    size_t (*pack)(const problem *, int, int, const void *, void *);
    void (*project)(const problem *, int, const void *, const void *, void *);
} kernels;
typedef struct {
    const char *name;
    kernels of[2]; /* float32, float64 */
} instructions;

#define KERNELS(type, isa)                                                                         \
    {forward_##type##_##isa, backward_##type##_##isa, packed_##type##_##isa,                       \
     projected_##type##_##isa}
#define SET(isa) {#isa, {KERNELS(f32, isa), KERNELS(f64, isa)}}
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

static void *aligned(void *memory) {
    return (void *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
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
    if (threads < 1) threads = 1;
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
enum {
    P, BIAS, BIAS_N, PANELS, H0, C0, H_, C_, KEPT, OUTER, OUTER_C, DH, DC, DP, DQ, WHOLE, SUMS,
    COUNT
};

/* The size of a number by its format, 0 for another kind; '<' is native where this is built. */
static size_t size_of(const char *format) {
    if (!format) return 0;
    if (*format == '@' || *format == '=') format++;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    else if (*format == '<') format++;
#endif
    return !strcmp(format, "f") ? 4 : !strcmp(format, "d") ? 8 : 0;
}

static int is_aligned(const Py_buffer *view, size_t size) {
    if ((uintptr_t)view->buf % size == 0) return 1;
    PyErr_SetString(PyExc_BufferError, "numbers must lie at multiples of their size");
    return 0;
}

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
        int size = (int)size_of(views[i].format);
        if (!*itemsize) *itemsize = size;
        if (!size || size != *itemsize) {
            PyErr_Format(PyExc_TypeError, "buffer %d must be float32 or float64 like the first", i);
            return -1;
        }
        if (!is_aligned(&views[i], (size_t)size)) return -1;
        if (i != PANELS && (size_t)views[i].len != sizes[i] * (size_t)size) {
            PyErr_Format(PyExc_ValueError, "buffer %d must hold %zu numbers, got %zd bytes", i,
                         sizes[i], views[i].len);
            return -1;
        }
    }
    return 0;
}

static int required(const int *taken, int backward, int cell) {
    int ok = taken[P] != backward && taken[PANELS] && taken[H0] && taken[H_];
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
        [P] = all * G, [BIAS] = G * H, [BIAS_N] = (size_t)H, [PANELS] = 0, /* as `pack` says */
        [H0] = row, [C0] = row, [H_] = all, [C_] = all, [KEPT] = all * 4,
        [OUTER] = all, [OUTER_C] = all, [DH] = row, [DC] = row,
        [DP] = all * G, [DQ] = all * G, [WHOLE] = all,
        [SUMS] = row * (s.cell == RNN ? 1 : 4)};
    Py_buffer views[COUNT];
    int taken[COUNT] = {0}, itemsize = 0, backward = args[6 + DP] != Py_None;
    PyObject *result = NULL;
    if (take(args + 6, views, taken, sizes, &itemsize)) goto done;
    if (!required(taken, backward, s.cell)) {
        PyErr_SetString(PyExc_TypeError, "a buffer is missing");
        goto done;
    }
#define BUFFER(i) (taken[i] ? views[i].buf : NULL)
    s.p = BUFFER(P), s.bias = BUFFER(BIAS), s.bias_n = BUFFER(BIAS_N), s.panels = BUFFER(PANELS);
    s.h0 = BUFFER(H0), s.c0 = BUFFER(C0), s.h = BUFFER(H_), s.c = BUFFER(C_);
    s.kept = BUFFER(KEPT), s.outer = BUFFER(OUTER), s.outer_c = BUFFER(OUTER_C);
    s.dh = BUFFER(DH), s.dc = BUFFER(DC), s.dp = BUFFER(DP), s.dq = BUFFER(DQ);
    s.whole = BUFFER(WHOLE), s.sums = BUFFER(SUMS);
    const kernels *k = &SETS[chosen].of[itemsize == 8];
    size_t size = k->pack(&s, backward, backward ? s.gates * s.H : s.H, NULL, NULL);
    if ((size_t)views[PANELS].len != size * (size_t)itemsize) {
        PyErr_SetString(PyExc_ValueError, "the weights were laid out for other sizes");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    spread(&s, backward ? k->backward : k->forward, (int)numbers[5]);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    for (int i = 0; i < COUNT; i++)
        if (taken[i]) PyBuffer_Release(&views[i]);
    return result;
}

PyDoc_STRVAR(pack_doc,
             "pack(cell, backward, H, W, panels=None)\n--\n\n"
             "Lay W out for `run`, into a buffer of as many numbers as a call without one returns.");

static PyObject *pack(PyObject *module, PyObject *args) {
    int cell, backward, H;
    PyObject *from, *to = Py_None, *result = NULL;
    if (!PyArg_ParseTuple(args, "iiiO|O", &cell, &backward, &H, &from, &to)) return NULL;
    if (cell < RNN || cell > LSTM || H < 1 || H > 1 << 24)
        return PyErr_Format(PyExc_ValueError, "cell or H is out of range");
    problem s = {.cell = cell, .H = H, .gates = cell == RNN ? 1 : cell == GRU ? 3 : 4};
    int K = backward ? s.gates * H : H;
    Py_buffer W, panels;
    if (PyObject_GetBuffer(from, &W, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)) return NULL;
    const kernels *k = &SETS[chosen].of[W.itemsize == 8];
    size_t size = k->pack(&s, backward, K, NULL, NULL);
    if (!size_of(W.format) || W.len / W.itemsize != (Py_ssize_t)s.gates * H * H) {
        PyErr_SetString(PyExc_ValueError, "W must be (G·H, H) in float32 or float64");
    } else if (to == Py_None) {
        result = PyLong_FromSize_t(size);
    } else if (is_aligned(&W, (size_t)W.itemsize) &&
               !PyObject_GetBuffer(to, &panels, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)) {
        if (!is_aligned(&panels, (size_t)W.itemsize)) {
            result = NULL;
        } else if ((size_t)panels.len == size * (size_t)W.itemsize) {
            Py_BEGIN_ALLOW_THREADS
            k->pack(&s, backward, K, W.buf, panels.buf);
            Py_END_ALLOW_THREADS
            result = Py_NewRef(Py_None);
        } else {
            PyErr_Format(PyExc_ValueError, "panels must hold %zu numbers", size);
        }
        PyBuffer_Release(&panels);
    }
    PyBuffer_Release(&W);
    return result;
}

/* A single step of a stream: weights laid out once, then called with x and the state. */
typedef struct {
    PyObject_HEAD
    problem s;
    int I, double_;
    const kernels *k; /* those that the weights were laid out for */
    void *memory, *input_panels;
    void *p; /* scratch for one row; more rows take their own */
    PyObject *empty_like;
} Stepper;

static int copy_of(PyObject *from, int size, size_t count, void **to) {
    Py_buffer view;
    if (from == Py_None) return 0;
    if (PyObject_GetBuffer(from, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)) return -1;
    if (size_of(view.format) != (size_t)size || (size_t)view.len != count * (size_t)size) {
        PyBuffer_Release(&view);
        PyErr_SetString(PyExc_ValueError, "weights do not have the sizes that were given");
        return -1;
    }
    memcpy(*to, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return 1;
}

static PyObject *stepper_new(PyTypeObject *type, PyObject *args, PyObject *options) {
    int cell, relu, I, H, double_;
    PyObject *W_ih, *W_hh, *bias, *bias_n, *empty_like;
    if (!PyArg_ParseTuple(args, "iiiiiOOOOO", &cell, &relu, &I, &H, &double_, &W_ih, &W_hh, &bias,
                          &bias_n, &empty_like))
        return NULL;
    if (cell < RNN || cell > LSTM || I < 1 || H < 1 || I > 1 << 24 || H > 1 << 24)
        return PyErr_Format(PyExc_ValueError, "cell, I or H is out of range");
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Stepper *self = (Stepper *)alloc(type, 0);
    if (!self) return NULL;
    problem *s = &self->s;
    s->cell = cell, s->relu = relu, s->T = s->B = 1, s->H = H;
    s->gates = cell == RNN ? 1 : cell == GRU ? 3 : 4;
    self->I = I, self->double_ = double_ = !!double_;
    self->empty_like = Py_NewRef(empty_like);
    size_t size = double_ ? 8 : 4, G = (size_t)s->gates * H;
    const kernels *k = self->k = &SETS[chosen].of[double_];
    size_t inputs = k->pack(s, 0, I, NULL, NULL), states = k->pack(s, 0, H, NULL, NULL);
    size_t weights = G * (size_t)(I > H ? I : H);
    self->memory = calloc(inputs + states + 2 * G + H + 64, size);
    void *W = malloc(weights * size);
    if (!self->memory || !W) {
        PyErr_NoMemory();
        goto failed;
    }
    char *at = aligned(self->memory);
    void *panels = at + inputs * size;
    self->input_panels = at, s->panels = panels;
    self->p = at + (inputs + states) * size;
    void *b = (char *)self->p + G * size, *b_n = (char *)b + G * size;
    int biased = copy_of(bias, (int)size, G, &b), biased_n = copy_of(bias_n, (int)size, H, &b_n);
    if (biased < 0 || biased_n < 0) goto failed;
    if (biased) s->bias = b;
    if (biased_n) s->bias_n = b_n;
    if (copy_of(W_ih, (int)size, G * I, &W) < 0) goto failed;
    k->pack(s, 0, I, W, self->input_panels);
    if (copy_of(W_hh, (int)size, G * H, &W) < 0) goto failed;
    k->pack(s, 0, H, W, panels);
    free(W);
    return (PyObject *)self;
failed:
    free(W);
    Py_DecRef((PyObject *)self);
    return NULL;
}

static void stepper_free(PyObject *object) {
    Stepper *self = (Stepper *)object;
    PyTypeObject *type = Py_TYPE(object);
    free(self->memory);
    Py_XDECREF(self->empty_like);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

/* Take a step: x (..., I) and the arrays of the state (..., H) give the new arrays of the state. */
static PyObject *stepper_call(PyObject *object, PyObject *args, PyObject *options) {
    Stepper *self = (Stepper *)object;
    Py_ssize_t arrays = self->s.cell == LSTM ? 2 : 1;
    if (PyTuple_Size(args) != 1 + arrays)
        return PyErr_Format(PyExc_TypeError, "expected x and %zd arrays of the state", arrays);
    Py_buffer in[3], out[2];
    int taken = 0, made = 0;
    PyObject *result = NULL, *after = NULL;
    void *own = NULL;
    size_t size = self->double_ ? 8 : 4;
    for (; taken < 1 + arrays; taken++) {
        PyObject *array = PyTuple_GetItem(args, taken);
        if (PyObject_GetBuffer(array, &in[taken], PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)) goto done;
        if (size_of(in[taken].format) != size) {
            taken++;
            PyErr_SetString(PyExc_TypeError, "x and the state must have the dtype of the layer");
            goto done;
        }
        if (!is_aligned(&in[taken], size)) {
            taken++;
            goto done;
        }
    }
    problem s = self->s;
    size_t rows = (size_t)in[0].len / (self->I * size);
    for (int i = 0; i < 1 + arrays; i++)
        if ((size_t)in[i].len != rows * size * (size_t)(i ? s.H : self->I)) {
            PyErr_SetString(PyExc_ValueError, "x and the state must have the sizes of the layer");
            goto done;
        }
    s.B = (int)rows;
    after = PyTuple_New(arrays);
    if (!after) goto done;
    for (; made < arrays; made++) {
        PyObject *like = PyTuple_GetItem(args, 1 + made);
        PyObject *array = PyObject_CallFunctionObjArgs(self->empty_like, like, NULL);
        if (!array || PyTuple_SetItem(after, made, array)) goto done;
        if (PyObject_GetBuffer(array, &out[made], PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)) goto done;
    }
    void *p = self->p;
    if (rows > 1 && !(p = own = malloc(rows * s.gates * s.H * size))) {
        PyErr_NoMemory();
        goto done;
    }
    s.h0 = in[1].buf, s.h = out[0].buf;
    if (arrays == 2) s.c0 = in[2].buf, s.c = out[1].buf;
    s.p = p;
    self->k->project(&s, self->I, in[0].buf, self->input_panels, p);
    self->k->forward(&s, 0, s.B);
    result = Py_NewRef(after);
done:
    free(own);
    for (int i = 0; i < made; i++) PyBuffer_Release(&out[i]);
    for (int i = 0; i < taken; i++) PyBuffer_Release(&in[i]);
    Py_XDECREF(after);
    return result;
}

static PyType_Slot stepper_slots[] = {
    {Py_tp_new, stepper_new},
    {Py_tp_dealloc, stepper_free},
    {Py_tp_call, stepper_call},
    {Py_tp_doc, "Stepper(cell, relu, I, H, double, W_ih, W_hh, bias, bias_n, empty_like)"},
    {0, NULL},
};
static PyType_Spec stepper_spec = {"rnnx.core._native.Stepper", sizeof(Stepper), 0,
                                   Py_TPFLAGS_DEFAULT, stepper_slots};

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

#include "_update.h"

static PyMethodDef methods[] = {
    {"run", (PyCFunction)(void (*)(void))run, METH_FASTCALL, run_doc},
    {"pack", pack, METH_VARARGS, pack_doc},
    {"instructions", use, METH_VARARGS, instructions_doc},
    {"update", run_update, METH_VARARGS, update_doc},
    {"cross_entropy", run_entropy, METH_VARARGS, entropy_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The compiled core.", -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) {
    choose();
    PyObject *module = PyModule_Create(&definition), *type = PyType_FromSpec(&stepper_spec);
    if (!module || !type || PyModule_AddObjectRef(module, "Stepper", type)) {
        Py_XDECREF(module);
        module = NULL;
    }
    Py_XDECREF(type);
    return module;
}
