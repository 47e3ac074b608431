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

// Which entries of two vectors (the second's count on) stand in a result, block of 16 bytes by
// block: first or last halves of two blocks in turn, by entry and by eight bytes, and every other
// block from the first or the second on.
template <class T> struct Order;
template <> struct Order<float> {
    typedef Vector<float>::index I;
    static constexpr I low = {0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29};
    static constexpr I high = {2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31};
    static constexpr I low_pairs = {0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29};
    static constexpr I high_pairs = {2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31};
    static constexpr I even = {0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27};
    static constexpr I odd = {4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31};
};
template <> struct Order<double> {
    typedef Vector<double>::index I;
    static constexpr I low = {0, 8, 2, 10, 4, 12, 6, 14};
    static constexpr I high = {1, 9, 3, 11, 5, 13, 7, 15};
    static constexpr I even = {0, 1, 4, 5, 8, 9, 12, 13};
    static constexpr I odd = {2, 3, 6, 7, 10, 11, 14, 15};
};

// Transposes within blocks of 16 bytes: after it row i + c of P rows holds, in block q, column
// q P + c of the P rows.
inline void transpose_blocks(V<double>* rows) {
    typedef Order<double> O;
    for (int i = 0; i < 8; i += 2) {
        const V<double> a = rows[i], b = rows[i + 1];
        rows[i] = pick<double>(a, b, O::low);
        rows[i + 1] = pick<double>(a, b, O::high);
    }
}
inline void transpose_blocks(V<float>* rows) {
    typedef Order<float> O;
    for (int i = 0; i < 16; i += 4) {
        V<float> half[4];
        for (int c = 0; c < 4; c += 2) {
            half[c] = pick<float>(rows[i + c], rows[i + c + 1], O::low);
            half[c + 1] = pick<float>(rows[i + c], rows[i + c + 1], O::high);
        }
        for (int c = 0; c < 2; ++c) {
            rows[i + 2 * c] = pick<float>(half[c], half[c + 2], O::low_pairs);
            rows[i + 2 * c + 1] = pick<float>(half[c], half[c + 2], O::high_pairs);
        }
    }
}

// Transposes L x L numbers in registers: within blocks, then the blocks.
template <class T> inline void transpose(V<T>* rows) {
    typedef Order<T> O;
    constexpr int P = 16 / sizeof(T);
    transpose_blocks(rows);
    for (int c = 0; c < P; ++c) {
        const V<T> a = pick<T>(rows[c], rows[P + c], O::even);
        const V<T> b = pick<T>(rows[c], rows[P + c], O::odd);
        const V<T> e = pick<T>(rows[2 * P + c], rows[3 * P + c], O::even);
        const V<T> f = pick<T>(rows[2 * P + c], rows[3 * P + c], O::odd);
        rows[c] = pick<T>(a, e, O::even);
        rows[P + c] = pick<T>(b, f, O::even);
        rows[2 * P + c] = pick<T>(a, e, O::odd);
        rows[3 * P + c] = pick<T>(b, f, O::odd);
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
inline void gather_whole(const T* from, int64_t sequence, int count, int ahead, V<T>* to) {
    constexpr int L = LANES<T>;
    for (int at = 0; at < count; at += L) {
        V<T> rows[L];
        for (int lane = 0; lane < L; ++lane) {
            const T* const row = from + lane * sequence + at;
            std::memcpy(&rows[lane], row, sizeof(V<T>));
            __builtin_prefetch(row + ahead);
        }
        transpose<T>(rows);
        for (int i = 0; i < L; ++i) to[at + i] = rows[i];
    }
}

// Reads a tile; of a shorter one the rest is zeros. `direction` is where the next tile lies.
template <class T>
__attribute__((noinline)) void read_tile(const T* from, int64_t sequence, int present, int steps,
                                         int width, int direction, V<T>* to) {
    const int count = TILE * width;
    if (present == LANES<T> && steps == TILE) {
        gather_whole<T>(from, sequence, count, direction * count, to);
        return;
    }
    std::fill(to, to + count, V<T>{});
    gather<T>(from, sequence, present, steps * width, to);
}

// Writes a tile; `direction` is where the next one lies.
template <class T>
__attribute__((noinline)) void write_tile(T* to, int64_t sequence, int present, int steps,
                                          int width, int direction, const V<T>* from) {
    constexpr int L = LANES<T>;
    const int count = steps * width;
    for (int at = 0; at < count; at += L) {
        V<T> rows[L];
        for (int i = 0; i < L; ++i) rows[i] = from[at + i];
        transpose<T>(rows);
        const int here = std::min(L, count - at);
        if (present == L && here == L)
            for (int lane = 0; lane < L; ++lane) {
                T* const row = to + lane * sequence + at;
                std::memcpy(row, &rows[lane], sizeof(V<T>));
                __builtin_prefetch(row + direction * count, 1);
            }
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

// rows (t, i) = sum_k M_ik rows' (t, k) over a tile: M has `stride` numbers a row, or a column.
template <class T>
inline void multiply(const T* M, int size, int width, int by_row, int by_column, const V<T>* from,
                     V<T>* to) {
    for (int i = 0; i < size; ++i)
        for (int k = 0; k < width; ++k) {
            const T entry = M[i * by_row + k * by_column];
            for (int t = 0; t < TILE; ++t) {
                const V<T> part = from[t * width + k] * entry;
                to[t * size + i] = k ? to[t * size + i] + part : part;
            }
        }
}

// FIXED is D where it is known to the compiler, else 0.
template <class T, bool DENSE, int FIXED>
void forward(const T* A, const T* B, const T* u, const T* initial, int64_t stride, Sizes z, T* out) {
    constexpr int L = LANES<T>, SIZE = FIXED ? FIXED : MOST;
    const int D = FIXED ? FIXED : z.D, W = z.width;
    advise_huge_pages(out, z.N * z.length * D * sizeof(T));
#pragma omp parallel for num_threads(z.threads) schedule(static)
    for (int64_t first = 0; first < z.N; first += L) {
        const int present = (int)std::min<int64_t>(L, z.N - first);
        V<T> theta[SIZE], inputs[TILE * WIDEST], tile[TILE * SIZE];
        read_start<T>(initial + first * stride, stride, present, D, theta);
        for (int64_t t0 = 0; t0 < z.length; t0 += TILE) {
            const int steps = (int)std::min<int64_t>(TILE, z.length - t0);
            T* const to = out + (first * z.length + t0) * D;
            if (W) {
                read_tile<T>(u + (first * z.length + t0) * W, z.length * W, present, steps, W, 1, inputs);
                multiply<T>(B, D, W, W, 1, inputs, tile);
            } else {
                read_tile<T>(to, z.length * D, present, steps, D, 1, tile);
            }
            for (int t = 0; t < steps; ++t) {
                V<T> next[SIZE];
                for (int i = 0; i < D; ++i) {
                    next[i] = tile[t * D + i];
                    if (DENSE) for (int j = 0; j < D; ++j) next[i] += theta[j] * A[i * D + j];
                    else next[i] += theta[i] * A[i];
                }
                for (int i = 0; i < D; ++i) tile[t * D + i] = theta[i] = next[i];
            }
            write_tile<T>(to, z.length * D, present, steps, D, 1, tile);
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
        read_tile<T>(states + (t0 - 1) * D, sequence, present, steps, D, -1, to);
        return;
    }
    V<T> rest[TILE * MOST];
    read_tile<T>(states, sequence, present, steps, D, 0, rest);
    std::copy(start, start + D, to);
    std::copy(rest, rest + (TILE - 1) * D, to + D);
}

// The sum over the steps of a tile of the product of two rows.
template <class T> inline V<T> correlate(const V<T>* a, int by_a, const V<T>* b, int by_b) {
    V<T> even = {}, odd = {};
    for (int t = 0; t < TILE; t += 2) {
        even += a[t * by_a] * b[t * by_b];
        odd += a[(t + 1) * by_a] * b[(t + 1) * by_b];
    }
    return even + odd;
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
        V<T> of_B[SIZE * WIDEST] = {}, inputs[TILE * WIDEST], out[TILE * WIDEST];
        V<T> lambda[TILE * SIZE], before[TILE * SIZE];
        read_start<T>(initial + first * stride, stride, present, D, start);
        int unflushed = 0;
        for (int64_t end = z.length; end > 0;) {
            const int steps = (int)((end - 1) % TILE + 1);
            const int64_t t0 = end - steps;
            read_tile<T>(gradient + first * by_sequence + t0 * D, by_sequence, present, steps, D, -1, lambda);
            read_before<T>(states + first * z.length * D, z.length * D, present, t0, steps, D, start, before);
            for (int t = steps - 1; t >= 0; --t) {
                V<T>* const here = lambda + t * D;
                for (int i = 0; i < D; ++i) here[i] += carried[i];
                for (int j = 0; j < D; ++j) {
                    if (!DENSE) { carried[j] = here[j] * A[j]; continue; }
                    carried[j] = here[0] * A[j];
                    for (int i = 1; i < D; ++i) carried[j] += here[i] * A[i * D + j];
                }
            }
            for (int i = 0; i < D; ++i) {
                if (DENSE) for (int j = 0; j < D; ++j) of_A[i * D + j] += correlate<T>(lambda + i, D, before + j, D);
                else of_A[i] += correlate<T>(lambda + i, D, before + i, D);
            }
            if (W) {
                read_tile<T>(u + (first * z.length + t0) * W, z.length * W, present, steps, W, -1, inputs);
                for (int i = 0; i < D; ++i)
                    for (int k = 0; k < W; ++k) of_B[i * W + k] += correlate<T>(lambda + i, D, inputs + k, W);
                multiply<T>(B, W, D, 1, W, lambda, out);
            }
            write_tile<T>(to_inputs + (first * z.length + t0) * narrow, z.length * narrow, present, steps, narrow, -1, W ? out : lambda);
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

// One library for each kind of A and of number: SCALAR and IS_DENSE are given in front.
#define BY_SIZE(NAME, ...)                                          \
    switch (D) {                                                    \
        case 1: return NAME<SCALAR, IS_DENSE, 1>(__VA_ARGS__);         \
        case 2: return NAME<SCALAR, IS_DENSE, 2>(__VA_ARGS__);         \
        case 3: return NAME<SCALAR, IS_DENSE, 3>(__VA_ARGS__);         \
        case 4: return NAME<SCALAR, IS_DENSE, 4>(__VA_ARGS__);         \
        default: return NAME<SCALAR, IS_DENSE, 0>(__VA_ARGS__);        \
    }

extern "C" void run_forward(const SCALAR* A, const SCALAR* B, const SCALAR* u,
                            const SCALAR* initial, int64_t stride, int64_t N, int64_t length,
                            int D, int width, int threads, SCALAR* out) {
    const Sizes z{N, length, D, width, threads};
    BY_SIZE(forward, A, B, u, initial, stride, z, out)
}

extern "C" void run_backward(const SCALAR* A, const SCALAR* B, const SCALAR* u,
                             const SCALAR* initial, int64_t stride, const SCALAR* states,
                             const SCALAR* gradient, int64_t by_sequence, int64_t N,
                             int64_t length, int D, int width, int threads, SCALAR* to_A,
                             SCALAR* to_B, SCALAR* to_inputs, SCALAR* to_initial) {
    const Sizes z{N, length, D, width, threads};
    BY_SIZE(backward, A, B, u, initial, stride, states, gradient, by_sequence, z, to_A, to_B,
            to_inputs, to_initial)
}
