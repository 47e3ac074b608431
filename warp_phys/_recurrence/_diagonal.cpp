// theta_t = a theta_{t-1} + B u_t for a diagonal a and wide states, forwards and backwards.
//
// States are (N, T, D), one sequence after the other. Time is cut into tiles of a few steps, so
// that what is written at once is contiguous; in a tile the states are taken in strips of a few
// vectors, whose a, B and theta stay in registers. Forwards every state is written once, backwards
// states and gradient are read once; B u_t never goes to memory.
//
// W is the width d of the inputs; W = 0 means that B u_t stands already where theta_t goes.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>
#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace {

constexpr int FORWARD_TILE = 8;
constexpr int BACKWARD_TILE = 4;  // two arrays are read, and few streams are prefetched
constexpr int64_t GROUPS = 64;  // sums over sequences are cut into so many, whatever the threads
constexpr int64_t HUGE_FROM = 8 << 20;

template <class T> struct Vector;
template <> struct Vector<float> { typedef float type __attribute__((vector_size(64))); };
template <> struct Vector<double> { typedef double type __attribute__((vector_size(64))); };
template <class T> using V = typename Vector<T>::type;
template <class T> constexpr int LANES = 64 / sizeof(T);

template <class T> inline V<T> load(const T* from) {
    V<T> v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
template <class T> inline void store(T* to, V<T> v) { std::memcpy(to, &v, sizeof v); }

// The last vector of a row may hold fewer lanes than others; its strip has one vector.
template <class T, bool WHOLE> inline V<T> load_row(const T* from, int64_t lanes) {
    if (WHOLE) return load<T>(from);
    V<T> v = {};
    std::memcpy(&v, from, lanes * sizeof(T));
    return v;
}
template <class T, bool WHOLE> inline void store_row(T* to, V<T> v, int64_t lanes) {
    std::memcpy(to, &v, WHOLE ? sizeof v : lanes * sizeof(T));
}

// Fresh memory comes in pages, and fetching small ones takes longer than writing them.
void advise_huge_pages(void* start, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (bytes < HUGE_FROM) return;
    const uintptr_t page = sysconf(_SC_PAGESIZE), from = (uintptr_t)start;
    const uintptr_t first = (from + page - 1) / page * page, last = (from + bytes) / page * page;
    madvise((void*)first, last - first, MADV_HUGEPAGE);
#endif
}

// Coefficients, filled up with zeros to whole vectors.
template <class T> struct Coefficients {
    int64_t size, padded;
    std::vector<T> a, B;  // B as (d, padded)

    Coefficients(const T* values, const T* matrix, int64_t size, int64_t width)
        : size(size), padded((size + LANES<T> - 1) / LANES<T> * LANES<T>), a(padded),
          B(width * padded) {
        std::copy(values, values + size, a.begin());
        for (int64_t i = 0; i < size; ++i)
            for (int64_t k = 0; k < width; ++k) B[k * padded + i] = matrix[i * width + k];
    }
};

template <class T, int W, int S, bool WHOLE>
inline void forward_strip(const Coefficients<T>& c, int64_t at, int steps, const T* u, T* state,
                          T* out) {
    constexpr int L = LANES<T>;
    const int64_t D = c.size, lanes = D - at;
    V<T> theta[S], a[S], B[W ? W : 1][S];
    for (int s = 0; s < S; ++s) {
        theta[s] = load(state + at + s * L);
        a[s] = load(c.a.data() + at + s * L);
        for (int k = 0; k < W; ++k) B[k][s] = load(c.B.data() + k * c.padded + at + s * L);
    }
    for (int t = 0; t < steps; ++t)
        for (int s = 0; s < S; ++s) {
            T* const to = out + t * D + at + s * L;
            V<T> next = W ? theta[s] * a[s] : load_row<T, WHOLE>(to, lanes) + theta[s] * a[s];
            for (int k = 0; k < W; ++k) next += B[k][s] * u[t * W + k];
            theta[s] = next;
            store_row<T, WHOLE>(to, next, lanes);
        }
    for (int s = 0; s < S; ++s) store(state + at + s * L, theta[s]);
}

template <class T, int W>
void forward(const T* values, const T* matrix, const T* u, const T* initial, int64_t stride,
             int64_t N, int64_t length, int64_t D, int threads, T* out) {
    constexpr int L = LANES<T>, S = 4;
    const Coefficients<T> c(values, matrix, D, W);
    advise_huge_pages(out, N * length * D * sizeof(T));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t n = 0; n < N; ++n) {
        std::vector<T> state(c.padded);
        std::copy(initial + n * stride, initial + n * stride + D, state.begin());
        for (int64_t t = 0; t < length; t += FORWARD_TILE) {
            const int steps = (int)std::min<int64_t>(FORWARD_TILE, length - t);
            const T* const inputs = u + (n * length + t) * W;
            T* const to = out + (n * length + t) * D;
            int64_t at = 0;
            for (; at + S * L <= D; at += S * L)
                forward_strip<T, W, S, true>(c, at, steps, inputs, state.data(), to);
            for (; at + L <= D; at += L)
                forward_strip<T, W, 1, true>(c, at, steps, inputs, state.data(), to);
            if (at < D) forward_strip<T, W, 1, false>(c, at, steps, inputs, state.data(), to);
        }
    }
}

// What a sequence is differentiated with, and the sums of its group in double precision.
template <class T> struct Reverse {
    const T *u, *initial, *states, *gradient;
    int64_t step;             // of the gradient, from one time to the next
    T *lambda, *to_inputs;    // running adjoint (padded); dL/du, or dL/d(B u_t) where W = 0
    double *of_a, *of_B;      // (padded), (d, padded)
};

inline void add_to(double* sum, V<double> v) { store<double>(sum, load(sum) + v); }
inline void add_to(double* sum, V<float> v) {
    typedef float Half __attribute__((vector_size(32)));
    Half halves[2];
    std::memcpy(halves, &v, sizeof v);
    for (int i = 0; i < 2; ++i) add_to(sum + 8 * i, __builtin_convertvector(halves[i], V<double>));
}

template <class T, int W, int S, bool WHOLE>
inline void backward_strip(const Coefficients<T>& c, const Reverse<T>& r, int64_t at, int64_t t0,
                           int steps, V<T>* partial) {
    constexpr int L = LANES<T>;
    const int64_t D = c.size, lanes = D - at;
    V<T> lambda[S], a[S], B[W ? W : 1][S], of_a[S] = {}, of_B[W ? W : 1][S] = {};
    for (int s = 0; s < S; ++s) {
        lambda[s] = load(r.lambda + at + s * L);
        a[s] = load(c.a.data() + at + s * L);
        for (int k = 0; k < W; ++k) B[k][s] = load(c.B.data() + k * c.padded + at + s * L);
    }
    for (int i = steps - 1; i >= 0; --i) {
        const int64_t t = t0 + i;
        const T* const before = t ? r.states + (t - 1) * D : r.initial;
        V<T> sum[W ? W : 1];
        for (int k = 0; k < W; ++k) sum[k] = partial[i * W + k];
        for (int s = 0; s < S; ++s) {
            const int64_t from = at + s * L;
            lambda[s] = load_row<T, WHOLE>(r.gradient + t * r.step + from, lanes) + lambda[s];
            of_a[s] += lambda[s] * load_row<T, WHOLE>(before + from, lanes);
            for (int k = 0; k < W; ++k) {
                of_B[k][s] += lambda[s] * r.u[t * W + k];
                sum[k] += lambda[s] * B[k][s];
            }
            if (!W) store_row<T, WHOLE>(r.to_inputs + t * D + from, lambda[s], lanes);
            lambda[s] *= a[s];  // what reaches the state before
        }
        for (int k = 0; k < W; ++k) partial[i * W + k] = sum[k];
    }
    for (int s = 0; s < S; ++s) {
        store(r.lambda + at + s * L, lambda[s]);
        add_to(r.of_a + at + s * L, of_a[s]);
        for (int k = 0; k < W; ++k) add_to(r.of_B + k * c.padded + at + s * L, of_B[k][s]);
    }
}

template <class T, int W>
void backward_sequence(const Coefficients<T>& c, const Reverse<T>& r, int64_t length) {
    // Few strips' sums fit into registers where inputs are wide.
    constexpr int L = LANES<T>, S = W <= 2 ? 4 : W <= 4 ? 2 : 1;
    const int64_t D = c.size;
    for (int64_t end = length; end > 0;) {
        const int steps = (int)((end - 1) % BACKWARD_TILE + 1);
        const int64_t t0 = end - steps;
        V<T> partial[BACKWARD_TILE * (W ? W : 1)] = {};
        int64_t at = 0;
        for (; at + S * L <= D; at += S * L)
            backward_strip<T, W, S, true>(c, r, at, t0, steps, partial);
        for (; at + L <= D; at += L)
            backward_strip<T, W, 1, true>(c, r, at, t0, steps, partial);
        if (at < D) backward_strip<T, W, 1, false>(c, r, at, t0, steps, partial);
        for (int i = 0; i < steps * W; ++i) {
            T sum = 0;
            for (int lane = 0; lane < L; ++lane) sum += partial[i][lane];
            r.to_inputs[t0 * W + i] = sum;
        }
        end = t0;
    }
}

template <class T, int W>
void backward(const T* values, const T* matrix, const T* u, const T* initial, int64_t stride,
              const T* states, const T* gradient, int64_t by_sequence, int64_t by_step, int64_t N,
              int64_t length, int64_t D, int threads, T* to_a, T* to_B, T* to_inputs,
              T* to_initial) {
    const Coefficients<T> c(values, matrix, D, W);
    const int64_t groups = std::min(N, GROUPS), each = (1 + W) * c.padded;
    std::vector<double> sums(groups * each);
    const int64_t narrow = W ? W : D;
    if (!W) advise_huge_pages(to_inputs, N * length * D * sizeof(T));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t group = 0; group < groups; ++group) {
        double* const sum = sums.data() + group * each;
        std::vector<T> lambda(c.padded);
        for (int64_t n = group * N / groups; n < (group + 1) * N / groups; ++n) {
            std::fill(lambda.begin(), lambda.end(), T(0));
            const Reverse<T> r{u + n * length * W, initial + n * stride, states + n * length * D,
                               gradient + n * by_sequence, by_step, lambda.data(),
                               to_inputs + n * length * narrow, sum, sum + c.padded};
            backward_sequence<T, W>(c, r, length);
            std::copy(lambda.begin(), lambda.begin() + D, to_initial + n * D);
        }
    }
    for (int64_t i = 0; i < D; ++i)
        for (int k = 0; k <= W; ++k) {
            double sum = 0;
            for (int64_t group = 0; group < groups; ++group)
                sum += sums[group * each + k * c.padded + i];
            if (k) to_B[i * W + k - 1] = (T)sum;
            else to_a[i] = (T)sum;
        }
}

}  // namespace

// One library for each kind of number: SCALAR is given in front.
#define BY_WIDTH(NAME, ...)                                   \
    switch (width) {                                          \
        case 1: return NAME<SCALAR, 1>(__VA_ARGS__);          \
        case 2: return NAME<SCALAR, 2>(__VA_ARGS__);          \
        case 3: return NAME<SCALAR, 3>(__VA_ARGS__);          \
        case 4: return NAME<SCALAR, 4>(__VA_ARGS__);          \
        default: return NAME<SCALAR, 0>(__VA_ARGS__);         \
    }

extern "C" void run_forward(const SCALAR* values, const SCALAR* matrix, const SCALAR* u,
                            const SCALAR* initial, int64_t stride, int64_t N, int64_t length,
                            int64_t D, int64_t width, int threads, SCALAR* out) {
    BY_WIDTH(forward, values, matrix, u, initial, stride, N, length, D, threads, out)
}

extern "C" void run_backward(const SCALAR* values, const SCALAR* matrix, const SCALAR* u,
                             const SCALAR* initial, int64_t stride, const SCALAR* states,
                             const SCALAR* gradient, int64_t by_sequence, int64_t by_step,
                             int64_t N, int64_t length, int64_t D, int64_t width, int threads,
                             SCALAR* to_a, SCALAR* to_B, SCALAR* to_inputs, SCALAR* to_initial) {
    BY_WIDTH(backward, values, matrix, u, initial, stride, states, gradient, by_sequence, by_step,
             N, length, D, threads, to_a, to_B, to_inputs, to_initial)
}
