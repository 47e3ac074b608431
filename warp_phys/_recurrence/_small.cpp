// theta_t = A theta_{t-1} + B u_t for few states (D <= 16), diagonal or dense, with sequences side
// by side in the lanes of vectors, forwards and backwards.
//
// Arrays are (N, T, k) in memory. A tile of TILE steps of a group of sequences is turned around in
// registers, L x L numbers at a time, into rows of L lanes: row (t, i) holds entry i at step t of
// all sequences of the group. Lanes without a sequence hold zeros and are not written.
//
// W is the width d of the inputs; W = 0 means that B u_t stands already where theta_t goes.
// Every sum over sequences goes in double precision over a group, then over groups in their order:
// the number of threads does not change a bit.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>
#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace {

constexpr int TILE = 16;
constexpr int MOST = 16;         // states
constexpr int WIDEST = 8;        // inputs
constexpr int FLUSH = 64;        // tiles after which sums go from T to double
constexpr int64_t HUGE_FROM = 8 << 20;

template <class T> struct Vector;
template <> struct Vector<float> {
    typedef float type __attribute__((vector_size(64)));
    typedef int32_t index __attribute__((vector_size(64)));
};
template <> struct Vector<double> {
    typedef double type __attribute__((vector_size(64)));
    typedef int64_t index __attribute__((vector_size(64)));
};
template <class T> using V = typename Vector<T>::type;
template <class T> constexpr int LANES = 64 / sizeof(T);

// Fresh memory comes in pages, and fetching small ones takes longer than writing them.
void advise_huge_pages(void* start, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (bytes < HUGE_FROM) return;
    const uintptr_t page = sysconf(_SC_PAGESIZE), from = (uintptr_t)start;
    const uintptr_t first = (from + page - 1) / page * page, last = (from + bytes) / page * page;
    madvise((void*)first, last - first, MADV_HUGEPAGE);
#endif
}

template <class T> inline V<T> pick(V<T> a, V<T> b, typename Vector<T>::index from) {
#ifdef __clang__
    V<T> result;
    for (int i = 0; i < LANES<T>; ++i)
        result[i] = from[i] < LANES<T> ? a[from[i]] : b[from[i] - LANES<T>];
    return result;
#else
    return __builtin_shuffle(a, b, from);
#endif
}

// Transposes L x L numbers: at distance 1, 2, 4, ..., the off-diagonal blocks change places.
template <class T> inline void transpose(V<T>* rows) {
    constexpr int L = LANES<T>;
#pragma GCC unroll 4
    for (int distance = 1; distance < L; distance *= 2) {
        typename Vector<T>::index low, high;
        for (int j = 0; j < L; ++j) {
            low[j] = j & distance ? L + j - distance : j;
            high[j] = j & distance ? L + j : j + distance;
        }
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) {
            if (i & distance) continue;
            const V<T> a = rows[i], b = rows[i + distance];
            rows[i] = pick<T>(a, b, low);
            rows[i + distance] = pick<T>(a, b, high);
        }
    }
}

// Reads `count` numbers (of a tile, TILE * width at most) of every sequence into rows of lanes.
template <class T>
inline void gather(const T* from, int64_t sequence, int present, int count, V<T>* to) {
    constexpr int L = LANES<T>;
    for (int at = 0; at < count; at += L) {
        V<T> rows[L];
        const int here = std::min(L, count - at);
        for (int lane = 0; lane < L; ++lane) {
            rows[lane] = V<T>{};
            if (lane < present) std::memcpy(&rows[lane], from + lane * sequence + at, here * sizeof(T));
        }
        transpose<T>(rows);
        for (int i = 0; i < L; ++i) to[at + i] = rows[i];
    }
}
template <class T>
inline void gather_whole(const T* from, int64_t sequence, int count, V<T>* to) {
    constexpr int L = LANES<T>;
    for (int at = 0; at < count; at += L) {
        V<T> rows[L];
        for (int lane = 0; lane < L; ++lane)
            std::memcpy(&rows[lane], from + lane * sequence + at, sizeof(V<T>));
        transpose<T>(rows);
        for (int i = 0; i < L; ++i) to[at + i] = rows[i];
    }
}
template <class T>
__attribute__((noinline)) void read_tile(const T* from, int64_t sequence, int present, int steps, int width, V<T>* to) {
    if (present == LANES<T> && steps == TILE) gather_whole<T>(from, sequence, TILE * width, to);
    else gather<T>(from, sequence, present, steps * width, to);
}

template <class T>
__attribute__((noinline)) void write_tile(T* to, int64_t sequence, int present, int steps, int width, const V<T>* from) {
    constexpr int L = LANES<T>;
    const int count = steps * width;
    for (int at = 0; at < count; at += L) {
        V<T> rows[L];
        for (int i = 0; i < L; ++i) rows[i] = from[at + i];
        transpose<T>(rows);
        const int here = std::min(L, count - at);
        if (present == L && here == L)
            for (int lane = 0; lane < L; ++lane)
                std::memcpy(to + lane * sequence + at, &rows[lane], sizeof(V<T>));
        else
            for (int lane = 0; lane < present; ++lane)
                std::memcpy(to + lane * sequence + at, &rows[lane], here * sizeof(T));
    }
}

template <class T> __attribute__((noinline)) void read_start(const T* from, int64_t stride, int present, int D, V<T>* to) {
    for (int i = 0; i < D; ++i) {
        to[i] = V<T>{};
        for (int lane = 0; lane < present; ++lane) to[i][lane] = from[lane * stride + i];
    }
}

struct Sizes {
    int64_t N, length;
    int D, width, threads;
};

// FIXED is D where it is known to the compiler, else 0.
template <class T, bool DENSE, int FIXED>
void forward(const T* A, const T* B, const T* u, const T* initial, int64_t stride, Sizes z, T* out) {
    constexpr int L = LANES<T>;
    const int D = FIXED ? FIXED : z.D, W = z.width;
    advise_huge_pages(out, z.N * z.length * D * sizeof(T));
#pragma omp parallel for num_threads(z.threads) schedule(static)
    for (int64_t first = 0; first < z.N; first += L) {
        const int present = (int)std::min<int64_t>(L, z.N - first);
        V<T> theta[FIXED ? FIXED : MOST], inputs[TILE * WIDEST], tile[TILE * (FIXED ? FIXED : MOST)];
        read_start<T>(initial + first * stride, stride, present, D, theta);
        for (int64_t t0 = 0; t0 < z.length; t0 += TILE) {
            const int steps = (int)std::min<int64_t>(TILE, z.length - t0);
            T* const to = out + (first * z.length + t0) * D;
            if (W) read_tile<T>(u + (first * z.length + t0) * W, z.length * W, present, steps, W, inputs);
            else read_tile<T>(to, z.length * D, present, steps, D, tile);
            for (int t = 0; t < steps; ++t) {
                V<T> next[FIXED ? FIXED : MOST];
                for (int i = 0; i < D; ++i) {
                    V<T> sum = W ? V<T>{} : tile[t * D + i];
                    if (DENSE) for (int j = 0; j < D; ++j) sum += theta[j] * A[i * D + j];
                    else sum += theta[i] * A[i];
                    for (int k = 0; k < W; ++k) sum += inputs[t * W + k] * B[i * W + k];
                    next[i] = sum;
                }
                for (int i = 0; i < D; ++i) tile[t * D + i] = theta[i] = next[i];
            }
            write_tile<T>(to, z.length * D, present, steps, D, tile);
        }
    }
}

template <class T> inline double over_lanes(V<T> v) {
    double sum = 0;
    for (int lane = 0; lane < LANES<T>; ++lane) sum += (double)v[lane];
    return sum;
}

template <class T> __attribute__((noinline)) void flush(V<T>* from, int count, double* to) {
    for (int i = 0; i < count; ++i) {
        to[i] += over_lanes<T>(from[i]);
        from[i] = V<T>{};
    }
}

// The states before each step of a tile: those of one step earlier, and the start before the first.
template <class T>
__attribute__((noinline)) void read_before(const T* states, int64_t sequence, int present, int64_t t0, int steps, int D,
                        const V<T>* start, V<T>* to) {
    if (t0) {
        read_tile<T>(states + (t0 - 1) * D, sequence, present, steps, D, to);
        return;
    }
    std::copy(start, start + D, to);
    V<T> rest[TILE * MOST];
    read_tile<T>(states, sequence, present, steps, D, rest);
    std::copy(rest, rest + (steps - 1) * D, to + D);
}

template <class T, bool DENSE, int FIXED>
void backward(const T* A, const T* B, const T* u, const T* initial, int64_t stride, const T* states,
              const T* gradient, int64_t by_sequence, Sizes z, T* to_A, T* to_B, T* to_inputs,
              T* to_initial) {
    constexpr int L = LANES<T>, SIZE = FIXED ? FIXED : MOST;
    const int D = FIXED ? FIXED : z.D, W = z.width, of_A_size = DENSE ? D * D : D;
    const int each = of_A_size + D * W, narrow = W ? W : D;
    const int64_t groups = (z.N + L - 1) / L;
    std::vector<double> sums(groups * each);
    if (!W) advise_huge_pages(to_inputs, z.N * z.length * D * sizeof(T));
#pragma omp parallel for num_threads(z.threads) schedule(static)
    for (int64_t group = 0; group < groups; ++group) {
        const int64_t first = group * L;
        const int present = (int)std::min<int64_t>(L, z.N - first);
        double* const sum = sums.data() + group * each;
        V<T> start[SIZE], carried[SIZE] = {}, of_A[DENSE ? SIZE * SIZE : SIZE] = {};
        V<T> of_B[SIZE * WIDEST] = {}, inputs[TILE * WIDEST], out[TILE * (SIZE > WIDEST ? SIZE : WIDEST)];
        V<T> adjoint[TILE * SIZE], before[TILE * SIZE];
        read_start<T>(initial + first * stride, stride, present, D, start);
        int unflushed = 0;
        for (int64_t end = z.length; end > 0;) {
            const int steps = (int)((end - 1) % TILE + 1);
            const int64_t t0 = end - steps;
            read_tile<T>(gradient + first * by_sequence + t0 * D, by_sequence, present, steps, D, adjoint);
            read_before<T>(states + first * z.length * D, z.length * D, present, t0, steps, D, start, before);
            if (W) read_tile<T>(u + (first * z.length + t0) * W, z.length * W, present, steps, W, inputs);
            for (int t = steps - 1; t >= 0; --t) {
                V<T> lambda[SIZE];
                for (int i = 0; i < D; ++i) lambda[i] = adjoint[t * D + i] + carried[i];
                for (int i = 0; i < D; ++i) {
                    if (DENSE) for (int j = 0; j < D; ++j) of_A[i * D + j] += lambda[i] * before[t * D + j];
                    else of_A[i] += lambda[i] * before[t * D + i];
                    for (int k = 0; k < W; ++k) of_B[i * W + k] += lambda[i] * inputs[t * W + k];
                }
                for (int k = 0; k < W; ++k) {
                    V<T> total = {};
                    for (int i = 0; i < D; ++i) total += lambda[i] * B[i * W + k];
                    out[t * W + k] = total;
                }
                for (int j = 0; j < D; ++j) {
                    if (!W) out[t * D + j] = lambda[j];
                    if (!DENSE) { carried[j] = lambda[j] * A[j]; continue; }
                    V<T> total = {};
                    for (int i = 0; i < D; ++i) total += lambda[i] * A[i * D + j];
                    carried[j] = total;
                }
            }
            write_tile<T>(to_inputs + (first * z.length + t0) * narrow, z.length * narrow, present, steps, narrow, out);
            end = t0;
            if (++unflushed == FLUSH || !end) {
                flush<T>(of_A, of_A_size, sum);
                flush<T>(of_B, D * W, sum + of_A_size);
                unflushed = 0;
            }
        }
        for (int lane = 0; lane < present; ++lane)
            for (int i = 0; i < D; ++i) to_initial[(first + lane) * D + i] = carried[i][lane];
    }
    for (int i = 0; i < each; ++i) {
        double total = 0;
        for (int64_t group = 0; group < groups; ++group) total += sums[group * each + i];
        if (i < of_A_size) to_A[i] = (T)total;
        else to_B[i - of_A_size] = (T)total;
    }
}

}  // namespace

#define BY_SIZE(NAME, DENSE)                                                   \
    switch (D) {                                                               \
        case 1: return NAME<T, DENSE, 1> ARGUMENTS;                            \
        case 2: return NAME<T, DENSE, 2> ARGUMENTS;                            \
        case 3: return NAME<T, DENSE, 3> ARGUMENTS;                            \
        case 4: return NAME<T, DENSE, 4> ARGUMENTS;                            \
        default: return NAME<T, DENSE, 0> ARGUMENTS;                           \
    }

#define ENTRIES(TYPE, KIND, DENSE)                                                                  \
    extern "C" void forward_##KIND##_##TYPE(const TYPE* A, const TYPE* B, const TYPE* u,            \
                                            const TYPE* initial, int64_t stride, int64_t N,         \
                                            int64_t length, int D, int width, int threads,          \
                                            TYPE* out) {                                            \
        typedef TYPE T;                                                                             \
        const Sizes z{N, length, D, width, threads};                                                \
        BY_SIZE(forward, DENSE)                                                                     \
    }
#define REVERSED(TYPE, KIND, DENSE)                                                                 \
    extern "C" void backward_##KIND##_##TYPE(                                                       \
        const TYPE* A, const TYPE* B, const TYPE* u, const TYPE* initial, int64_t stride,           \
        const TYPE* states, const TYPE* gradient, int64_t by_sequence, int64_t N, int64_t length,   \
        int D, int width, int threads, TYPE* to_A, TYPE* to_B, TYPE* to_inputs, TYPE* to_initial) { \
        typedef TYPE T;                                                                             \
        const Sizes z{N, length, D, width, threads};                                                \
        BY_SIZE(backward, DENSE)                                                                    \
    }

#define ARGUMENTS (A, B, u, initial, stride, z, out)
ENTRIES(float, diagonal, false)
ENTRIES(double, diagonal, false)
ENTRIES(float, dense, true)
ENTRIES(double, dense, true)
#undef ARGUMENTS
#define ARGUMENTS \
    (A, B, u, initial, stride, states, gradient, by_sequence, z, to_A, to_B, to_inputs, to_initial)
REVERSED(float, diagonal, false)
REVERSED(double, diagonal, false)
REVERSED(float, dense, true)
REVERSED(double, dense, true)
