/* The compiled core: buffers in, loops over time on threads without the GIL, results in place.
 *
 * Python's stable ABI of 3.11, no headers but Python's: one build serves every later Python.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { RNN, GRU, LSTM };

/* A layer's run over a sequence. `slots` are the numbers per unit that da holds, `groups` those of
 * units, `block` the steps of a block of p or da.
 */
typedef struct {
    int cell, gates, slots, relu, T, B, I, H, block, groups;
    int once;     /* whether c is that of the last step alone, (B, H) */
    int by_units; /* whether each thread takes some units of all rows, in place of rows */
    const void *x, *weight_ih, *weight_hh, *bias_ih, *bias_hh, *h0, *c0; /* in */
    const int32_t *lengths; /* of the rows; beyond them states and gradients are zero */
    void *h, *c, *kept;                     /* out of forward, in to backward */
    const void *outer, *outer_c;            /* in to backward: gradients from outside */
    void *dh, *dc;                          /* in and out: final to initial state */
    void *dx, *dW_ih, *dW_hh, *db, *whole;  /* out of backward */
    void *panels_in, *panels, *bias, *da, *zeros, *carry, *carry_c, *strips; /* of `plan` */
    size_t strip;
} problem;

/* Threads that work on one problem, and meet where one needs what the others have done. */
typedef struct {
    int size, arrived, turn, go;
} team;
typedef struct {
    const problem *problem;
    int b0, b1, j0, j1; /* rows of the batch, and groups of units */
    int index;          /* which of the team this is */
    team *team;
} share;
typedef void (*loop)(const problem *, share *);

static void pause_for(int *turns) {
    if (++*turns > 1 << 12) sched_yield();
}

static void meet(team *all) {
    if (all->size == 1) return;
    int turn = __atomic_load_n(&all->turn, __ATOMIC_ACQUIRE), turns = 0;
    if (__atomic_add_fetch(&all->arrived, 1, __ATOMIC_ACQ_REL) == all->size) {
        __atomic_store_n(&all->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&all->turn, turn + 1, __ATOMIC_RELEASE);
        return;
    }
    while (__atomic_load_n(&all->turn, __ATOMIC_ACQUIRE) == turn) pause_for(&turns);
}

/* The vectors of the next panel of columns, where `left` are left; and where panels begin. */
static inline int width(int left) { return left == 1 ? 1 : left == 2 || left == 4 ? 2 : 3; }
static int edge(int vectors, int least) {
    int at = 0;
    while (at < least) at += width(vectors - at);
    return at;
}

/* Each instruction set: the compiler's vectors, chosen when the module is loaded. */
#define BYTES 16
#if defined(__aarch64__)
#define WIDE 1
#else
#define WIDE 0
#endif
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
#define AVX512
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

typedef struct {
    int lanes;
    size_t (*plan)(problem *, int, int, void *);
    void (*lay_out)(const problem *, int);
    loop forward, backward;
} kernels;
typedef struct {
    const char *name;
    kernels of[2]; /* float32, float64 */
} instructions;

#define KERNELS(bytes, size, type, isa)                                                            \
    {(bytes) / (size), plan_##type##_##isa, lay_out_##type##_##isa, forward_##type##_##isa,        \
     backward_##type##_##isa}
#define SET(bytes, isa) {#isa, {KERNELS(bytes, 4, f32, isa), KERNELS(bytes, 8, f64, isa)}}
static const instructions SETS[] = {
    SET(16, base),
#ifdef CHOICES
    SET(32, avx2),
    SET(64, avx512),
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

/* Memory that is kept from call to call, under the GIL: fresh pages cost the system their zeros. */
enum { BLOCKS = 16, LINE = 64 };
static const size_t KEPT_MOST = (size_t)1 << 28;
typedef struct {
    void *at;
    size_t size;
} region;
static region spare[BLOCKS]; /* the oldest first */
static int spares;

static region spare_out(int i) {
    region found = spare[i];
    memmove(spare + i, spare + i + 1, (size_t)(--spares - i) * sizeof(region));
    return found;
}

/* At least so many bytes, at the start of a cache line; `at` is NULL where none are left. */
static region borrow(size_t size) {
    int fits = -1;
    size = (size / LINE + 1) * LINE;
    for (int i = 0; i < spares; i++)
        if (spare[i].size >= size && spare[i].size / 2 <= size &&
            (fits < 0 || spare[i].size < spare[fits].size))
            fits = i;
    if (fits >= 0) return spare_out(fits);
    return (region){aligned_alloc(LINE, size), size};
}

static void give_back(region given) {
    size_t all = given.size;
    if (!given.at || all > KEPT_MOST) {
        free(given.at);
        return;
    }
    for (int i = 0; i < spares; i++) all += spare[i].size;
    while (spares == BLOCKS || (spares && all > KEPT_MOST)) {
        region oldest = spare_out(0);
        all -= oldest.size;
        free(oldest.at);
    }
    spare[spares++] = given;
}

/* Such a block as a buffer of bytes: the memory of an array of NumPy's. */
typedef struct {
    PyObject_HEAD
    region memory;
    Py_ssize_t size;
} Room;

static PyObject *room_new(PyTypeObject *type, PyObject *args, PyObject *options) {
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "n", &size)) return NULL;
    if (size < 0) return PyErr_Format(PyExc_ValueError, "expected a size of at least 0");
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Room *self = (Room *)alloc(type, 0);
    if (!self) return NULL;
    self->size = size, self->memory = borrow((size_t)size);
    if (self->memory.at) return (PyObject *)self;
    Py_DecRef((PyObject *)self);
    return PyErr_NoMemory();
}

static void room_free(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    give_back(((Room *)object)->memory);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static int room_buffer(PyObject *object, Py_buffer *view, int flags) {
    Room *self = (Room *)object;
    return PyBuffer_FillInfo(view, object, self->memory.at, self->size, 0, flags);
}

static PyType_Slot room_slots[] = {
    {Py_tp_new, room_new},
    {Py_tp_dealloc, room_free},
    {Py_bf_getbuffer, room_buffer},
    {Py_tp_doc, "Room(size)\n--\n\nMemory of so many bytes, without values."},
    {0, NULL},
};
static PyType_Spec room_spec = {"rnnx.core._native.Room", sizeof(Room), 0, Py_TPFLAGS_DEFAULT,
                                room_slots};

typedef struct {
    loop run;
    share share;
} job;

static void *work(void *given) {
    job *own = given;
    int turns = 0;
    while (!__atomic_load_n(&own->share.team->go, __ATOMIC_ACQUIRE)) pause_for(&turns);
    const problem *s = own->share.problem;
    int index = own->share.index, size = own->share.team->size;
    own->share.b0 = s->by_units ? 0 : (int)((int64_t)s->B * index / size);
    own->share.b1 = s->by_units ? s->B : (int)((int64_t)s->B * (index + 1) / size);
    own->share.j0 = s->by_units ? edge(s->groups, s->groups * index / size) : 0;
    own->share.j1 = s->by_units ? edge(s->groups, s->groups * (index + 1) / size) : s->groups;
    own->run(s, &own->share);
    return NULL;
}

enum { MOST_THREADS = 64 };
static int wanted(problem *s, long threads) {
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    if (!s->B || threads < 1) threads = 1;
    s->by_units = threads > 1 && threads > s->B;
    return (int)threads;
}

/* Give each thread a share; threads that can't be had leave theirs to the others. */
static void spread(const problem *s, loop run, int threads) {
    pthread_t ids[MOST_THREADS];
    job jobs[MOST_THREADS];
    team all = {1, 0, 0, 0};
    for (int i = 0; i < threads; i++)
        jobs[i] = (job){run, {.problem = s, .index = i, .team = &all}};
    while (all.size < threads &&
           pthread_create(&ids[all.size], NULL, work, &jobs[all.size]) == 0)
        all.size++;
    __atomic_store_n(&all.go, 1, __ATOMIC_RELEASE);
    work(&jobs[0]);
    for (int i = 1; i < all.size; i++) pthread_join(ids[i], NULL);
}

/* The buffers of a call, in the order of their names in native.py. */
enum {
    X, WEIGHT_IH, WEIGHT_HH, BIAS_IH, BIAS_HH, LENGTHS, H0, C0, H_, C_, KEPT, OUTER, OUTER_C, DH,
    DC, DX, DW_IH, DW_HH, DB, WHOLE, COUNT
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

/* Take a buffer of `size` bytes per number, and of so many numbers unless that is negative. */
static int numbers_of(PyObject *object, Py_buffer *view, int writes, size_t *size, Py_ssize_t n) {
    int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writes ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags)) return -1;
    size_t found = size_of(view->format);
    if (!*size) *size = found;
    if (!found || found != *size)
        PyErr_SetString(PyExc_TypeError, "buffers must be float32 or float64, all alike");
    else if (n >= 0 && view->len != n * (Py_ssize_t)found)
        PyErr_Format(PyExc_ValueError, "sizes do not fit: expected %zd numbers, got %zd bytes", n,
                     view->len);
    else if (is_aligned(view, found))
        return 0;
    PyBuffer_Release(view);
    return -1;
}

static int lengths_of(PyObject *object, Py_buffer *view, Py_ssize_t n) {
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)) return -1;
    if (strcmp(view->format, "i") || view->len != n * (Py_ssize_t)sizeof(int32_t))
        PyErr_Format(PyExc_TypeError, "lengths must be %zd numbers in int32", n);
    else if (is_aligned(view, sizeof(int32_t)))
        return 0;
    PyBuffer_Release(view);
    return -1;
}

static int take(PyObject *const *objects, Py_buffer *views, int *taken, const size_t *sizes,
                size_t *itemsize) {
    int backward = objects[DX] != Py_None;
    for (int i = 0; i < COUNT; i++) {
        if (objects[i] == Py_None) continue;
        int writes = i >= DH || (!backward && (i == H_ || i == C_ || i == KEPT));
        Py_ssize_t n = i == KEPT ? -1 : (Py_ssize_t)sizes[i];
        if (i == LENGTHS ? lengths_of(objects[i], &views[i], n)
                         : numbers_of(objects[i], &views[i], writes, itemsize, n))
            return -1;
        taken[i] = 1;
    }
    return 0;
}

static int required(const int *taken, int backward, int cell) {
    int ok = taken[X] && taken[WEIGHT_IH] && taken[WEIGHT_HH] && taken[H0] && taken[H_];
    if (cell == LSTM) ok = ok && taken[C0] && taken[C_];
    if (backward) {
        ok = ok && taken[DH] && taken[DW_IH] && taken[DW_HH] && (cell == RNN || taken[KEPT]);
        ok = ok && (cell != LSTM || taken[DC]);
    }
    return ok;
}

static int sized(problem *s, long cell, int relu, long T, long B, long I, long H) {
    long most = 1L << 28, widest = 1L << 24;
    if (cell < RNN || cell > LSTM || T < 0 || B < 0 || I < 0 || H < 1 || T > most || B > most ||
        I > widest || H > widest || (double)T * B * (I > H ? I : H) > 1e15) {
        PyErr_SetString(PyExc_ValueError, "cell, T, B, I or H is out of range");
        return -1;
    }
    *s = (problem){.cell = (int)cell, .relu = relu};
    s->T = (int)T, s->B = (int)B, s->I = (int)I, s->H = (int)H;
    s->gates = cell == RNN ? 1 : cell == GRU ? 3 : 4, s->slots = cell == RNN ? 1 : 4;
    s->block = 1;
    return 0;
}

PyDoc_STRVAR(run_doc,
             "run(cell, relu, T, B, I, H, block, threads, *buffers)\n--\n\n"
             "Run a sequence forward, or backward where the buffer of dx is given.");

enum { LEADING = 8 }; /* arguments before the buffers */
static PyObject *run(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (count != LEADING + COUNT)
        return PyErr_Format(PyExc_TypeError, "run takes %d arguments", LEADING + COUNT);
    long numbers[LEADING];
    for (int i = 0; i < LEADING; i++) {
        numbers[i] = PyLong_AsLong(args[i]);
        if (numbers[i] == -1 && PyErr_Occurred()) return NULL;
    }
    problem s;
    if (sized(&s, numbers[0], numbers[1] != 0, numbers[2], numbers[3], numbers[4], numbers[5]))
        return NULL;
    if (numbers[6] < 1 || numbers[6] > (s.T > 1 ? s.T : 1))
        return PyErr_Format(PyExc_ValueError, "block is out of range");
    s.block = (int)numbers[6];
    size_t row = (size_t)s.B * s.H, all = (size_t)s.T * row, in = (size_t)s.T * s.B * s.I;
    size_t G = (size_t)s.gates * s.H;
    size_t sizes[COUNT] = {
        [X] = in, [WEIGHT_IH] = G * s.I, [WEIGHT_HH] = G * s.H, [BIAS_IH] = G, [BIAS_HH] = G,
        [LENGTHS] = (size_t)s.B, [H0] = row, [C0] = row, [H_] = all, [C_] = all,
        [KEPT] = 0, /* as its units say */
        [OUTER] = all, [OUTER_C] = all, [DH] = row, [DC] = row, [DX] = in, [DW_IH] = G * s.I,
        [DW_HH] = G * s.H, [DB] = (size_t)s.slots * s.H, [WHOLE] = all};
    Py_buffer views[COUNT];
    int taken[COUNT] = {0}, backward = args[LEADING + DX] != Py_None;
    size_t itemsize = 0;
    int threads = wanted(&s, numbers[7]);
    region memory = {NULL, 0};
    PyObject *result = NULL;
    if (take(args + LEADING, views, taken, sizes, &itemsize)) goto done;
    if (!required(taken, backward, s.cell)) {
        PyErr_SetString(PyExc_TypeError, "a buffer is missing");
        goto done;
    }
#define BUFFER(i) (taken[i] ? views[i].buf : NULL)
    s.x = BUFFER(X), s.weight_ih = BUFFER(WEIGHT_IH), s.weight_hh = BUFFER(WEIGHT_HH);
    s.bias_ih = BUFFER(BIAS_IH), s.bias_hh = BUFFER(BIAS_HH), s.h0 = BUFFER(H0), s.c0 = BUFFER(C0);
    s.lengths = BUFFER(LENGTHS), s.h = BUFFER(H_), s.c = BUFFER(C_), s.kept = BUFFER(KEPT);
    s.outer = BUFFER(OUTER), s.outer_c = BUFFER(OUTER_C), s.dh = BUFFER(DH), s.dc = BUFFER(DC), s.dx = BUFFER(DX);
    s.dW_ih = BUFFER(DW_IH), s.dW_hh = BUFFER(DW_HH), s.db = BUFFER(DB), s.whole = BUFFER(WHOLE);
    const kernels *k = &SETS[chosen].of[itemsize == 8];
    size_t size = k->plan(&s, backward, threads, NULL);
    size_t kept = (size_t)s.T * s.B * s.groups * k->lanes * s.slots * itemsize;
    if (taken[KEPT] && (size_t)views[KEPT].len != kept) {
        PyErr_Format(PyExc_ValueError, "what is kept must have %zu bytes, got %zd", kept,
                     views[KEPT].len);
        goto done;
    }
    memory = borrow(size);
    if (!memory.at) {
        PyErr_NoMemory();
        goto done;
    }
    k->plan(&s, backward, threads, memory.at);
    Py_BEGIN_ALLOW_THREADS
    k->lay_out(&s, backward);
    spread(&s, backward ? k->backward : k->forward, threads);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    give_back(memory);
    for (int i = 0; i < COUNT; i++)
        if (taken[i]) PyBuffer_Release(&views[i]);
    return result;
}

/* A single step of a stream: weights laid out once, then called with x and the state. */
typedef struct {
    PyObject_HEAD
    problem s;
    int double_;
    const kernels *k; /* those that the weights were laid out for */
    region memory;
    PyObject *empty_like;
} Stepper;

static PyObject *stepper_new(PyTypeObject *type, PyObject *args, PyObject *options) {
    int cell, relu, I, H;
    PyObject *given[4], *empty_like;
    if (!PyArg_ParseTuple(args, "iiiiOOOOO", &cell, &relu, &I, &H, &given[0], &given[1], &given[2],
                          &given[3], &empty_like))
        return NULL;
    problem s;
    if (sized(&s, cell, relu, 1, 1, I, H)) return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Stepper *self = (Stepper *)alloc(type, 0);
    if (!self) return NULL;
    self->empty_like = Py_NewRef(empty_like);
    Py_buffer views[4];
    size_t size = 0, G = (size_t)s.gates * H, counts[4] = {G * I, G * H, G, G};
    const void **to[4] = {&s.weight_ih, &s.weight_hh, &s.bias_ih, &s.bias_hh};
    int taken[4] = {0}, ok = 1;
    for (int i = 0; ok && i < 4; i++) {
        if (i > 1 && given[i] == Py_None) continue;
        ok = taken[i] = !numbers_of(given[i], &views[i], 0, &size, (Py_ssize_t)counts[i]);
        if (ok) *to[i] = views[i].buf;
    }
    if (ok) {
        const kernels *k = self->k = &SETS[chosen].of[size == 8];
        self->memory = borrow(k->plan(&s, 0, 1, NULL));
        if (self->memory.at) {
            k->plan(&s, 0, 1, self->memory.at);
            k->lay_out(&s, 0);
            s.weight_ih = s.weight_hh = s.bias_ih = s.bias_hh = NULL; /* they are laid out */
            self->s = s, self->double_ = size == 8;
        } else {
            PyErr_NoMemory();
            ok = 0;
        }
    }
    for (int i = 0; i < 4; i++)
        if (taken[i]) PyBuffer_Release(&views[i]);
    if (ok) return (PyObject *)self;
    Py_DecRef((PyObject *)self);
    return NULL;
}

static void stepper_free(PyObject *object) {
    Stepper *self = (Stepper *)object;
    PyTypeObject *type = Py_TYPE(object);
    give_back(self->memory);
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
    region own = {NULL, 0};
    size_t size = self->double_ ? 8 : 4;
    for (; taken < 1 + arrays; taken++)
        if (numbers_of(PyTuple_GetItem(args, taken), &in[taken], 0, &size, -1)) goto done;
    problem s = self->s;
    size_t rows = (size_t)in[1].len / ((size_t)s.H * size);
    if (rows > 1u << 28) rows = 0; /* no sizes fit that */
    for (int i = 0; i < 1 + arrays; i++)
        if ((size_t)in[i].len != rows * size * (size_t)(i ? s.H : s.I)) {
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
        if (numbers_of(array, &out[made], 1, &size, (Py_ssize_t)rows * s.H)) goto done;
    }
    if (rows > 1) { /* room for p of all rows */
        size_t each = (size_t)s.groups * self->k->lanes * s.slots * size;
        own = borrow(rows * each);
        if (!own.at) {
            PyErr_NoMemory();
            goto done;
        }
        s.da = own.at;
    }
    s.h0 = in[1].buf, s.h = out[0].buf;
    if (arrays == 2) s.c0 = in[2].buf, s.c = out[1].buf;
    s.x = in[0].buf;
    team alone = {1, 0, 0, 1};
    self->k->forward(&s, &(share){&s, 0, s.B, 0, s.groups, 0, &alone});
    result = Py_NewRef(after);
done:
    give_back(own);
    for (int i = 0; i < made; i++) PyBuffer_Release(&out[i]);
    for (int i = 0; i < taken; i++) PyBuffer_Release(&in[i]);
    Py_XDECREF(after);
    return result;
}

PyDoc_STRVAR(sequence_doc,
             "sequence(block, threads, x, *state, y, *after)\n--\n\n"
             "Run a sequence x (T, B, I) from a state into y (T, B, H) and the state after it.");

static PyObject *stepper_sequence(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Stepper *self = (Stepper *)object;
    int arrays = self->s.cell == LSTM ? 2 : 1, all = 2 + 2 * arrays, taken = 0;
    if (count != 2 + all) return PyErr_Format(PyExc_TypeError, "expected %d arguments", 2 + all);
    long block = PyLong_AsLong(args[0]), threads = PyLong_AsLong(args[1]);
    if (PyErr_Occurred()) return NULL;
    Py_buffer views[6];
    PyObject *result = NULL;
    region memory = {NULL, 0};
    size_t size = self->double_ ? 8 : 4;
    for (; taken < all; taken++)
        if (numbers_of(args[2 + taken], &views[taken], taken > arrays, &size, -1)) goto done;
    problem s = self->s;
    if (views[0].ndim != 3 || sized(&s, s.cell, s.relu, views[0].shape[0], views[0].shape[1],
                                    views[0].shape[2], s.H)) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "x must be (T, B, I)");
        goto done;
    }
    size_t row = (size_t)s.B * s.H * size, inner = 1 + arrays;
    int fits = s.I == self->s.I && block >= 1 && block <= (s.T > 1 ? s.T : 1) &&
               (size_t)views[inner].len == row * s.T;
    for (int i = 1; i < all; i++) fits = fits && (i == (int)inner || (size_t)views[i].len == row);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "arrays or block do not have the sizes of the layer");
        goto done;
    }
    s = self->s;
    s.T = (int)views[0].shape[0], s.B = (int)views[0].shape[1], s.block = (int)block;
    size_t each = (size_t)s.groups * self->k->lanes * s.slots * size;
    memory = borrow(each * s.B * s.block);
    if (!memory.at) {
        PyErr_NoMemory();
        goto done;
    }
    s.da = memory.at, s.once = 1;
    s.x = views[0].buf, s.h0 = views[1].buf, s.h = views[inner].buf;
    if (arrays == 2) s.c0 = views[2].buf, s.c = views[inner + 2].buf;
    Py_BEGIN_ALLOW_THREADS
    spread(&s, self->k->forward, wanted(&s, threads));
    if (s.T) {
        memcpy(views[inner + 1].buf, (char *)s.h + row * (s.T - 1), row);
    } else {
        memcpy(views[inner + 1].buf, s.h0, row);
        if (arrays == 2) memcpy(s.c, s.c0, row);
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    give_back(memory);
    for (int i = 0; i < taken; i++) PyBuffer_Release(&views[i]);
    return result;
}

static PyMethodDef stepper_methods[] = {
    {"sequence", (PyCFunction)(void (*)(void))stepper_sequence, METH_FASTCALL, sequence_doc},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot stepper_slots[] = {
    {Py_tp_methods, stepper_methods},
    {Py_tp_new, stepper_new},
    {Py_tp_dealloc, stepper_free},
    {Py_tp_call, stepper_call},
    {Py_tp_doc, "Stepper(cell, relu, I, H, weight_ih, weight_hh, bias_ih, bias_hh, empty_like)"},
    {0, NULL},
};
static PyType_Spec stepper_spec = {"rnnx.core._native.Stepper", sizeof(Stepper), 0,
                                   Py_TPFLAGS_DEFAULT, stepper_slots};

PyDoc_STRVAR(lanes_doc,
             "lanes(itemsize)\n--\n\n"
             "Return how many numbers of this many bytes a vector register holds.");

static PyObject *lanes(PyObject *module, PyObject *itemsize) {
    long size = PyLong_AsLong(itemsize);
    return PyErr_Occurred() ? NULL : PyLong_FromLong(SETS[chosen].of[size == 8].lanes);
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

#include "_update.h"

static PyMethodDef methods[] = {
    {"run", (PyCFunction)(void (*)(void))run, METH_FASTCALL, run_doc},
    {"lanes", lanes, METH_O, lanes_doc},
    {"instructions", use, METH_VARARGS, instructions_doc},
    {"update", run_update, METH_VARARGS, update_doc},
    {"cross_entropy", run_entropy, METH_VARARGS, entropy_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The compiled core.", -1, methods, NULL, NULL, NULL, NULL};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec) {
    PyObject *type = PyType_FromSpec(spec);
    int failed = !type || PyModule_AddObjectRef(module, name, type);
    Py_XDECREF(type);
    return failed;
}

PyMODINIT_FUNC PyInit__native(void) {
    choose();
    PyObject *module = PyModule_Create(&definition);
    if (module && (add_type(module, "Stepper", &stepper_spec) ||
                   add_type(module, "Room", &room_spec)))
        Py_CLEAR(module);
    return module;
}
