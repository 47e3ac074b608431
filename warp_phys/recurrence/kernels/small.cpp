// The fused recurrence theta_t = A theta_{t-1} + B u_t for few states and a diagonal or dense A.
//
// SIMD runs over sequences: a group has as many of them as a vector has lanes, L, one in each lane.
// In memory each sequence is contiguous, so time is divided into tiles of L steps: L x L scalars at
// a time are transposed in registers into a tile of vectors (L, width), which stays in the L1
// cache, and transposed back. Lanes without a sequence hold zeros, which add nothing to sums.
//
// Only `sweep`, in which each step depends on the one before, is compiled for each D; all else
// works on the L steps of a tile at once. Backward, lambda_t = g_t + A^T lambda_{t+1} is the same
// sweep.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif
constexpr int64_t BLOCKS = 64;        // partial sums over sequences, whatever the threads
constexpr int64_t FLUSH_STEPS = 2048; // terms per lane before a sum is added in double

template <class T> struct Vector;
template <> struct Vector<float> { typedef float type __attribute__((vector_size(BYTES))); };
template <> struct Vector<double> { typedef double type __attribute__((vector_size(BYTES))); };
template <class T> using V = typename Vector<T>::type;
template <class T> constexpr int LANES = BYTES / sizeof(T);

template <class T> inline V<T> load(const T* from) {
    V<T> v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
template <class T> inline void store(T* to, V<T> v) { std::memcpy(to, &v, sizeof v); }

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define HAS_SHUFFLEVECTOR
#endif
#endif

// a_0 b_0 a_1 b_1 ... from the first halves of two vectors (HALF = 0), or from the second (1).
template <int HALF, class T, int... I>
inline V<T> interleave(V<T> a, V<T> b, std::integer_sequence<int, I...>) {
    constexpr int L = LANES<T>;
#ifdef HAS_SHUFFLEVECTOR
    return __builtin_shufflevector(a, b, (HALF * L / 2 + I / 2 + I % 2 * L)...);
#else
    typedef decltype(a < b) Index;
    return __builtin_shuffle(a, b, Index{(HALF * L / 2 + I / 2 + I % 2 * L)...});
#endif
}

// Interleaving the rows with those half of them away, log2(L) times, transposes.
template <class T> inline void transpose(V<T> (&rows)[LANES<T>]) {
    constexpr int L = LANES<T>;
    const std::make_integer_sequence<int, L> lanes{};
#pragma GCC unroll 4
    for (int size = 1; size < L; size *= 2) {
        V<T> next[L];
#pragma GCC unroll 8
        for (int i = 0; i < L / 2; ++i) {
            next[2 * i] = interleave<0, T>(rows[i], rows[i + L / 2], lanes);
            next[2 * i + 1] = interleave<1, T>(rows[i], rows[i + L / 2], lanes);
        }
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) rows[i] = next[i];
    }
}

// Load `count` scalars of each sequence of the group into vectors. `stride` is the distance between
// sequences; memory `ahead` of here is prefetched. Writes whole blocks of L vectors.
template <class T>
void gather(const T* from, int64_t stride, int sequences, int count, int ahead, V<T>* to) {
    constexpr int L = LANES<T>;
    for (int at = 0; at < count; at += L) {
        V<T> rows[L];
        const T* const block = from + at;
        if (at + L <= count) {
#pragma GCC unroll 16
            for (int n = 0; n < L; ++n) {
                rows[n] = n < sequences ? load(block + n * stride) : V<T>{};
                if (n < sequences) __builtin_prefetch(block + n * stride + ahead);
            }
        } else {
            T square[L * L] = {};
            for (int n = 0; n < sequences; ++n)
                for (int i = 0; i < count - at; ++i) square[n * L + i] = block[n * stride + i];
#pragma GCC unroll 16
            for (int n = 0; n < L; ++n) rows[n] = load(square + n * L);
        }
        transpose<T>(rows);
#pragma GCC unroll 16
        for (int n = 0; n < L; ++n) to[at + n] = rows[n];
    }
}

// The inverse of `gather`. Reads whole blocks of L vectors.
template <class T>
void scatter(const V<T>* from, T* to, int64_t stride, int sequences, int count, int ahead) {
    constexpr int L = LANES<T>;
    for (int at = 0; at < count; at += L) {
        V<T> rows[L];
#pragma GCC unroll 16
        for (int n = 0; n < L; ++n) rows[n] = from[at + n];
        transpose<T>(rows);
        T* const block = to + at;
        if (at + L <= count) {
#pragma GCC unroll 16
            for (int n = 0; n < L; ++n)
                if (n < sequences) {
                    store(block + n * stride, rows[n]);
                    __builtin_prefetch(block + n * stride + ahead, 1);
                }
        } else {
            T square[L * L];
#pragma GCC unroll 16
            for (int n = 0; n < L; ++n) store(square + n * L, rows[n]);
            for (int n = 0; n < sequences; ++n)
                for (int i = 0; i < count - at; ++i) block[n * stride + i] = square[n * L + i];
        }
    }
}

// Load `steps` rows and zero the other steps of the tile, because sums run over all of them.
template <class T>
void gather_tile(const T* from, int64_t stride, int sequences, int steps, int width, V<T>* to) {
    gather<T>(from, stride, sequences, steps * width, -LANES<T> * width, to);
    std::fill(to + steps * width, to + LANES<T> * width, V<T>{});
}

// to_ti = sum_k M_ik from_tk over a tile. M_ik stands at M[i * row + k * column].
template <class T>
void multiply(const T* M, int row, int column, int rows, int columns, const V<T>* from, V<T>* to) {
    constexpr int L = LANES<T>;
    for (int i = 0; i < rows; ++i) {
        V<T> sum[L] = {};
        for (int k = 0; k < columns; ++k) {
            const T factor = M[i * row + k * column];
#pragma GCC unroll 16
            for (int t = 0; t < L; ++t) sum[t] += from[t * columns + k] * factor;
        }
#pragma GCC unroll 16
        for (int t = 0; t < L; ++t) to[t * rows + i] = sum[t];
    }
}

// sum_j += sum_t left_t right_tj over a tile: the gradients dL/dA = sum lambda_t theta_{t-1}^T and
// dL/dB = sum lambda_t u_t^T. Two accumulators halve the latency of the chain of additions.
template <class T>
inline void correlate(const V<T>* left, int rows, const V<T>* right, int columns, int count,
                      V<T>* sums) {
    constexpr int L = LANES<T>;
    V<T> column[L];
#pragma GCC unroll 16
    for (int t = 0; t < L; ++t) column[t] = left[t * rows];
    for (int j = 0; j < count; ++j) {
        V<T> even = {}, odd = {};
#pragma GCC unroll 8
        for (int t = 0; t < L; t += 2) {
            even += column[t] * right[t * columns + j];
            odd += column[t + 1] * right[(t + 1) * columns + j];
        }
        sums[j] += even + odd;
    }
}

// Add M state to one row after the other, each sum being the next state. Rows begin at `first` and
// are `next` vectors apart. Backward in time M is A^T and `next` is negative.
template <class T>
using Sweep = void (*)(const T* M, int size, V<T>* first, int64_t next, int steps, V<T>* state);

template <class T, int D>
void sweep(const T* M, int, V<T>* first, int64_t next, int steps, V<T>* carried) {
    V<T> state[D];
    for (int i = 0; i < D; ++i) state[i] = carried[i];
    for (int t = 0; t < steps; ++t, first += next) {
        V<T> sum[D];
        for (int i = 0; i < D; ++i) {
            sum[i] = first[i];
            for (int j = 0; j < D; ++j) sum[i] += state[j] * M[i * D + j];
        }
        for (int i = 0; i < D; ++i) first[i] = state[i] = sum[i];
    }
    for (int i = 0; i < D; ++i) carried[i] = state[i];
}

template <class T>
void sweep_diagonal(const T* a, int size, V<T>* first, int64_t next, int steps, V<T>* carried) {
    for (int i = 0; i < size; ++i) {
        V<T> state = carried[i];
        for (int t = 0; t < steps; ++t)
            state = first[t * next + i] = first[t * next + i] + state * a[i];
        carried[i] = state;
    }
}

template <class T, int... I>
Sweep<T> dense_sweep(int size, std::integer_sequence<int, I...>) {
    static const Sweep<T> of_size[] = {sweep<T, I + 1>...};
    return of_size[size - 1];
}

template <class T> struct Problem {
    const T *A, *B, *u, *initial;
    int64_t stride;  // of the initial states, from one sequence to the next
    int64_t N, length;
    int D, width, dense, threads;

    Sweep<T> sweep() const {
        return dense ? dense_sweep<T>(D, std::make_integer_sequence<int, 16>{}) : sweep_diagonal<T>;
    }
    int64_t groups() const { return (N + LANES<T> - 1) / LANES<T>; }
    int sequences(int64_t group) const {
        return (int)std::min<int64_t>(LANES<T>, N - group * LANES<T>);
    }
};

// A tile may be written past its end by less than a block: `gather` starts at its second row once.
template <class T> std::vector<V<T>> tile(int width) {
    return std::vector<V<T>>((width + 1) * LANES<T>);
}

template <class T> void forward(const Problem<T>& p, T* states) {
    constexpr int L = LANES<T>;
    const int D = p.D, d = p.width;
    const Sweep<T> sweep = p.sweep();
    const int64_t groups = p.groups();
    advise_huge_pages(states, p.N * p.length * D * sizeof(T));
#pragma omp parallel num_threads(p.threads) if (p.threads > 1 && groups > 1)
    {
        std::vector<V<T>> inputs = tile<T>(d), rows = tile<T>(D), state = tile<T>(D);
#pragma omp for schedule(static)
        for (int64_t group = 0; group < groups; ++group) {
            const int64_t first = group * L;
            const int sequences = p.sequences(group);
            gather<T>(p.initial + first * p.stride, p.stride, sequences, D, 0, state.data());
            for (int64_t t = 0; t < p.length; t += L) {
                const int steps = (int)std::min<int64_t>(L, p.length - t);
                const int64_t from = first * p.length + t;
                gather<T>(p.u + from * d, p.length * d, sequences, steps * d, L * d, inputs.data());
                multiply<T>(p.B, d, 1, D, d, inputs.data(), rows.data());
                sweep(p.A, D, rows.data(), D, steps, state.data());
                scatter<T>(rows.data(), states + from * D, p.length * D, sequences, steps * D,
                           L * D);
            }
        }
    }
}

// The gradients to compute; nullptr where one is not needed.
template <class T> struct Gradients {
    T *A, *B, *inputs, *initial;
};

// The backward pass of a block of groups, which sums up the gradients of A and B over the block.
template <class T> class Reverse {
  public:
    Reverse(const Problem<T>& p, const T* transposed, const T* states, const T* gradient,
            const Gradients<T>& to)
        : p(p), to(to), transposed(transposed), states(states), gradient(gradient),
          entries(p.dense ? p.D * p.D : p.D), inputs(tile<T>(p.width)),
          to_inputs(tile<T>(p.width)), lambda(tile<T>(p.D)), before(tile<T>(p.D)),
          carried(tile<T>(p.D)), partial(entries + p.D * p.width) {}

    void block(int64_t first, int64_t last, double* of_block) {
        sums = of_block;
        for (int64_t i = first; i < last; ++i) group(i);
        flush();
    }

  private:
    const Problem<T>& p;
    const Gradients<T>& to;
    const T *transposed, *states, *gradient;
    double* sums = nullptr;
    int entries;
    int64_t summed = 0;
    std::vector<V<T>> inputs, to_inputs, lambda, before, carried, partial;

    void group(int64_t group) {
        constexpr int L = LANES<T>;
        const int sequences = p.sequences(group);
        std::fill(carried.begin(), carried.end(), V<T>{});
        for (int64_t t = (p.length - 1) / L * L; t >= 0; t -= L)
            step(group * L, sequences, t, (int)std::min<int64_t>(L, p.length - t));
        if (!to.initial) return;
        std::vector<V<T>>& start = before;
        std::fill(start.begin(), start.end(), V<T>{});
        p.sweep()(transposed, p.D, start.data(), p.D, 1, carried.data());
        scatter<T>(start.data(), to.initial + group * L * p.D, p.D, sequences, p.D, 0);
    }

    void flush() {
        for (size_t i = 0; i < partial.size(); ++i) {
            for (int lane = 0; lane < LANES<T>; ++lane) sums[i] += partial[i][lane];
            partial[i] = V<T>{};
        }
        summed = 0;
    }

    // Steps t, ..., t + steps - 1 (counted from 0) of the sequences from `first` on.
    void step(int64_t first, int sequences, int64_t t, int steps) {
        const int D = p.D, d = p.width;
        const int64_t from = first * p.length + t, stride = p.length * D;
        gather_tile<T>(gradient + from * D, stride, sequences, steps, D, lambda.data());
        p.sweep()(transposed, D, lambda.data() + (steps - 1) * D, -D, steps, carried.data());
        if (to.A) {
            const T* const earlier = states + (from - 1) * D;
            if (t) gather_tile<T>(earlier, stride, sequences, steps, D, before.data());
            else first_tile(first, sequences, steps);
            for (int i = 0; i < D; ++i) {
                const int j = p.dense ? 0 : i, count = p.dense ? D : 1;
                correlate<T>(lambda.data() + i, D, before.data() + j, D, count,
                             partial.data() + i * count);
            }
        }
        if (to.B) {
            gather_tile<T>(p.u + from * d, p.length * d, sequences, steps, d, inputs.data());
            for (int i = 0; i < D; ++i)
                correlate<T>(lambda.data() + i, D, inputs.data(), d, d,
                             partial.data() + entries + i * d);
        }
        if (to.inputs) {
            multiply<T>(p.B, 1, d, d, D, lambda.data(), to_inputs.data());
            scatter<T>(to_inputs.data(), to.inputs + from * d, p.length * d, sequences, steps * d,
                       -LANES<T> * d);
        }
        summed += LANES<T>;
        if (summed >= FLUSH_STEPS) flush();
    }

    // theta_{t-1} of the first tile: the initial states, then all its states but the last.
    void first_tile(int64_t first, int sequences, int steps) {
        const int D = p.D;
        const int64_t stride = p.length * D;
        gather<T>(p.initial + first * p.stride, p.stride, sequences, D, 0, before.data());
        gather<T>(states + first * stride, stride, sequences, (steps - 1) * D, 0,
                  before.data() + D);
        std::fill(before.data() + steps * D, before.data() + LANES<T> * D, V<T>{});
    }
};

template <class T>
void backward(const Problem<T>& p, const T* states, const T* gradient, const Gradients<T>& to) {
    const int D = p.D, entries = p.dense ? D * D : D, each = entries + D * p.width;
    std::vector<T> transposed(p.A, p.A + entries);
    if (p.dense)
        for (int i = 0; i < D; ++i)
            for (int j = 0; j < D; ++j) transposed[j * D + i] = p.A[i * D + j];
    const int64_t groups = p.groups(), blocks = std::min(groups, BLOCKS);
    std::vector<double> sums(blocks * each);
    if (to.inputs) advise_huge_pages(to.inputs, p.N * p.length * p.width * sizeof(T));
#pragma omp parallel num_threads(p.threads) if (p.threads > 1 && blocks > 1)
    {
        Reverse<T> reverse(p, transposed.data(), states, gradient, to);
#pragma omp for schedule(static)
        for (int64_t block = 0; block < blocks; ++block)
            reverse.block(block * groups / blocks, (block + 1) * groups / blocks,
                          sums.data() + block * each);
    }
    for (int i = 0; i < each; ++i) {
        double sum = 0;
        for (int64_t block = 0; block < blocks; ++block) sum += sums[block * each + i];
        if (i < entries && to.A) to.A[i] = (T)sum;
        if (i >= entries && to.B) to.B[i - entries] = (T)sum;
    }
}

}  // namespace

#define ENTRIES(T)                                                                                \
    extern "C" void forward_##T(const T* A, const T* B, const T* u, const T* initial,             \
                                int64_t stride, int64_t N, int64_t length, int D, int width,      \
                                int dense, int threads, T* states) {                              \
        forward<T>({A, B, u, initial, stride, N, length, D, width, dense, threads}, states);      \
    }                                                                                             \
    extern "C" void backward_##T(const T* A, const T* B, const T* u, const T* initial,            \
                                 int64_t stride, int64_t N, int64_t length, int D, int width,     \
                                 int dense, int threads, const T* states, const T* gradient,      \
                                 T* to_A, T* to_B, T* to_inputs, T* to_initial) {                 \
        backward<T>({A, B, u, initial, stride, N, length, D, width, dense, threads}, states,      \
                    gradient, {to_A, to_B, to_inputs, to_initial});                               \
    }

ENTRIES(float)
ENTRIES(double)
