// The fused recurrence theta_t = a theta_{t-1} + B u_t for a diagonal a and wide states, forward
// and backward (the adjoint lambda_t = g_t + a lambda_{t+1}; the formulas are in
// `modes/in_place.py`).
//
// States are (N, T, D), one sequence after the other. A row is divided into blocks of a few
// kilobytes and time into tiles of a few steps; within a tile a block is processed in strips of a
// few vectors, whose a, B and theta stay in registers. Forward every state is written once,
// backward states and gradient are read once; B u_t is never stored. The arithmetic is little
// compared with this memory traffic, which decides the time.
//
// A row whose size is no multiple of a vector ends in a vector that overlaps the one before: it
// computes some states a second time, but counts only its own in sums.
//
// W is the width d of the inputs where it is known to the compiler; W = 0 stands for any width, and
// W = -1 means that `u` holds the products B u_t, (N, T, D), which is faster for wide inputs.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

// Steps per tile.
constexpr int FORWARD_TILE = 8;
constexpr int BACKWARD_TILE = 16;
constexpr int64_t BLOCK = 128;           // vectors per block: 8 KiB, a part of the L1 cache
constexpr int64_t GROUPS = 32;         // partial sums over sequences, for any number of threads
constexpr int64_t SINGLE_STEPS = 256;  // terms summed in T, then in double

template <class T, int L> struct Lanes {
    typedef T type __attribute__((vector_size(L * sizeof(T))));
};
template <class T, int L> using V = typename Lanes<T, L>::type;

template <int L, class T> inline V<T, L> load(const T* from) {
    V<T, L> v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
template <class T, class Vector> inline void store(T* to, Vector v) {
    std::memcpy(to, &v, sizeof v);
}

template <class T> struct Problem {
    const T *values, *matrix, *u, *initial;
    int64_t stride;  // of `initial`, from one sequence to the next
    int64_t N, length, D, width;
    int threads;
};

// The division of a row into vectors and blocks. There are at least as many states as lanes. The
// last vector starts early enough to end with the row, and repeats that many states.
template <int L> struct Row {
    int64_t D, vectors, blocks;
    explicit Row(int64_t D)
        : D(D), vectors((D + L - 1) / L), blocks((vectors + BLOCK - 1) / BLOCK) {}
    int64_t start(int64_t vector) const { return std::min(vector * L, D - L); }
    int repeated(int64_t vector) const { return (int)(vector * L - start(vector)); }
};

template <class T, int L> struct Coefficients {
    std::vector<V<T, L>> a, B;  // (vectors), (d, vectors)

    // With `once`, a state that two vectors hold has a B of zero in the second one, so that sums
    // over states (dL/du) count it once.
    Coefficients(const Problem<T>& p, const Row<L>& row, bool once)
        : a(row.vectors), B(p.width * row.vectors) {
        for (int64_t j = 0; j < row.vectors; ++j) {
            const int64_t start = row.start(j);
            a[j] = load<L>(p.values + start);
            for (int64_t k = 0; k < p.width; ++k)
                for (int lane = once ? row.repeated(j) : 0; lane < L; ++lane)
                    B[k * row.vectors + j][lane] = p.matrix[(start + lane) * p.width + k];
        }
    }
};

template <class T, int L, int W, int S>
inline void forward_strip(const Coefficients<T, L>& c, const Row<L>& row, int64_t j, int64_t d,
                          int steps, const T* u, V<T, L>* state, T* out) {
    V<T, L> theta[S], a[S], B[W > 0 ? W : 1][S];
    for (int s = 0; s < S; ++s) {
        theta[s] = state[s];
        a[s] = c.a[j + s];
        for (int k = 0; k < W; ++k) B[k][s] = c.B[k * row.vectors + j + s];
    }
    const int64_t D = row.D;
    T* to = out + row.start(j);
    for (int t = 0; t < steps; ++t, u += d, to += D) {
        // The product with theta comes first: compilers contract the first product with the sum
        // into a fused multiply-add, and theta is the larger term, which is then rounded once per
        // step.
        V<T, L> kept[S], driven[S] = {};
        for (int s = 0; s < S; ++s) kept[s] = theta[s] * a[s];
        // B u_t: given (W = -1), unrolled over a known width, or in a loop over any width.
        if (W < 0)
            for (int s = 0; s < S; ++s) driven[s] = load<L>(u + row.start(j) + s * L);
        else if (W)
            for (int s = 0; s < S; ++s) {
                driven[s] = B[0][s] * u[0];
                for (int k = 1; k < W; ++k) driven[s] += B[k][s] * u[k];
            }
        else
            for (int64_t k = 0; k < d; ++k)
                for (int s = 0; s < S; ++s) driven[s] += c.B[k * row.vectors + j + s] * u[k];
        for (int s = 0; s < S; ++s) {
            theta[s] = kept[s] + driven[s];
            store(to + s * L, theta[s]);
        }
    }
    for (int s = 0; s < S; ++s) state[s] = theta[s];
}

template <class T, int L, int W> void forward(const Problem<T>& p, T* out) {
    constexpr int S = 4;
    const Row<L> row(p.D);
    const Coefficients<T, L> c(p, row, false);
    const int64_t d = W > 0 ? W : W < 0 ? p.D : p.width, whole = p.D / L;
    advise_huge_pages(out, p.N * p.length * p.D * sizeof(T));
#pragma omp parallel for collapse(2) num_threads(p.threads) schedule(static)
    for (int64_t n = 0; n < p.N; ++n)
        for (int64_t block = 0; block < row.blocks; ++block) {
            const int64_t first = block * BLOCK, last = std::min(first + BLOCK, row.vectors);
            const int64_t full = std::min(last, whole);
            std::vector<V<T, L>> state(last - first);
            for (int64_t j = first; j < last; ++j)
                state[j - first] = load<L>(p.initial + n * p.stride + row.start(j));
            for (int64_t t = 0; t < p.length; t += FORWARD_TILE) {
                const int steps = (int)std::min<int64_t>(FORWARD_TILE, p.length - t);
                const T* const u = p.u + (n * p.length + t) * d;
                T* const to = out + (n * p.length + t) * p.D;
                int64_t j = first;
                for (; j + S <= full; j += S)
                    forward_strip<T, L, W, S>(c, row, j, d, steps, u, &state[j - first], to);
                for (; j < last; ++j)
                    forward_strip<T, L, W, 1>(c, row, j, d, steps, u, &state[j - first], to);
            }
        }
}

template <class T> struct Gradients {
    const T *states, *gradient;
    int64_t by_sequence, by_step;  // strides of `gradient`
    T *to_a, *to_B, *to_inputs, *to_initial;
};

// The state of the backward pass through a block of a sequence. Sums over states (dL/du) are kept
// lane by lane in `partial` and added across lanes once per tile.
template <class T, int L> struct Reverse {
    const T *u, *initial, *states, *gradient;
    int64_t by_step, d;
    std::vector<V<T, L>> lambda, of_a, of_B;  // (vectors of the block), B's as (d, vectors)
    std::vector<V<T, L>> partial;             // of dL/du in a tile, (steps, d), lane by lane
    T* to_driven;                             // dL/d(B u_t), (T, D), where W = -1
};

// The sums of a strip for inputs of any width, from lambda at all steps of a tile: dL/dB += lambda
// u^T and dL/du += B^T lambda. Columns of B are the outer loop, so that each stays in registers.
template <class T, int L, int S>
void sum_any_width(const Coefficients<T, L>& c, const Row<L>& row, Reverse<T, L>& r, int64_t j,
                   int64_t i, int64_t t0, int steps, const V<T, L> (*lambda)[S]) {
    const int64_t count = r.lambda.size();
    for (int64_t k = 0; k < r.d; ++k) {
        V<T, L> total[S], B[S];
        for (int s = 0; s < S; ++s) {
            total[s] = r.of_B[k * count + i + s];
            B[s] = c.B[k * row.vectors + j + s];
        }
        for (int step = steps - 1; step >= 0; --step) {
            const T u = r.u[(t0 + step) * r.d + k];
            V<T, L> sum = r.partial[step * r.d + k];
            for (int s = 0; s < S; ++s) {
                total[s] += lambda[step][s] * u;
                sum += lambda[step][s] * B[s];
            }
            r.partial[step * r.d + k] = sum;
        }
        for (int s = 0; s < S; ++s) r.of_B[k * count + i + s] = total[s];
    }
}

template <class T, int L, int W, int S>
inline void backward_strip(const Coefficients<T, L>& c, const Row<L>& row, Reverse<T, L>& r,
                           int64_t j, int64_t i, int64_t t0, int steps) {
    const int64_t D = row.D, at = row.start(j), count = r.lambda.size();
    V<T, L> lambda[S], a[S], of_a[S], B[W > 0 ? W : 1][S], of_B[W > 0 ? W : 1][S];
    V<T, L> kept[W ? 1 : BACKWARD_TILE][S];
    for (int s = 0; s < S; ++s) {
        lambda[s] = r.lambda[i + s];
        of_a[s] = r.of_a[i + s];
        a[s] = c.a[j + s];
        for (int k = 0; k < W; ++k) {
            B[k][s] = c.B[k * row.vectors + j + s];
            of_B[k][s] = r.of_B[k * count + i + s];
        }
    }
    const T *const states = r.states + at, *const gradients = r.gradient + at, *const inputs = r.u;
    const int64_t by_step = r.by_step;
    // The next tile (earlier in time) is prefetched during this one.
    const int64_t gradient_ahead = t0 ? -BACKWARD_TILE * by_step : 0;
    const int64_t before_ahead = t0 > BACKWARD_TILE ? -BACKWARD_TILE * D : 0;
    V<T, L>* const partials = r.partial.data();
    for (int step = steps - 1; step >= 0; --step) {
        const int64_t t = t0 + step;
        const T* const gradient = gradients + t * by_step;
        const T* const before = t ? states + (t - 1) * D : r.initial + at;
        V<T, L> sum[W > 0 ? W : 1];
        for (int k = 0; k < W; ++k) sum[k] = partials[step * W + k];
        for (int s = 0; s < S; ++s) {
            __builtin_prefetch(gradient + gradient_ahead + s * L, 0, 2);
            __builtin_prefetch(before + before_ahead + s * L, 0, 2);
            // lambda_t = g_t + a lambda_{t+1}; dL/da += lambda_t theta_{t-1}; dL/dB += lambda_t
            // u_t^T; dL/du_t += B^T lambda_t; dL/d(B u_t) = lambda_t.
            lambda[s] += load<L>(gradient + s * L);
            of_a[s] += lambda[s] * load<L>(before + s * L);
            for (int k = 0; k < W; ++k) {
                of_B[k][s] += lambda[s] * inputs[t * W + k];
                sum[k] += lambda[s] * B[k][s];
            }
            if (!W) kept[step][s] = lambda[s];
            if (W < 0) store(r.to_driven + t * D + at + s * L, lambda[s]);
            lambda[s] *= a[s];  // a lambda_t, the part of the earlier adjoint
        }
        for (int k = 0; k < W; ++k) partials[step * W + k] = sum[k];
    }
    for (int s = 0; s < S; ++s) {
        r.lambda[i + s] = lambda[s];
        r.of_a[i + s] = of_a[s];
        for (int k = 0; k < W; ++k) r.of_B[k * count + i + s] = of_B[k][s];
    }
    if constexpr (W == 0) sum_any_width<T, L, S>(c, row, r, j, i, t0, steps, kept);
}

// Adds sums to double precision and resets them: long sums in float lose digits.
template <class T, int L>
void flush(std::vector<V<T, L>>& from, int64_t begin, int64_t count, double* to) {
    for (int64_t i = 0; i < count; ++i)
        for (int lane = 0; lane < L; ++lane) to[i * L + lane] += from[begin + i][lane];
    std::fill(from.begin() + begin, from.begin() + begin + count, V<T, L>{});
}

// The backward pass through one block of one sequence. Sums are (1 + d, vectors, lanes), for a and
// the columns of B; each block has its own part of them.
template <class T, int L, int W>
void backward_block(const Coefficients<T, L>& c, const Row<L>& row, Reverse<T, L>& r,
                    int64_t first, int64_t length, double* sums, T* to_inputs) {
    constexpr int S = W == 1 || W == 2 ? 4 : 2;  // sums of wider inputs already fill the registers
    const int64_t count = r.lambda.size(), last = first + count;
    const int64_t full = std::min(last, row.D / L), d = r.d;
    std::fill(r.lambda.begin(), r.lambda.end(), V<T, L>{});
    for (int64_t end = length; end > 0;) {
        const int steps = (int)((end - 1) % BACKWARD_TILE + 1);
        const int64_t t0 = end - steps;
        std::fill(r.partial.begin(), r.partial.end(), V<T, L>{});
        int64_t j = first;
        for (; j + S <= full; j += S)
            backward_strip<T, L, W, S>(c, row, r, j, j - first, t0, steps);
        for (; j < last; ++j)
            backward_strip<T, L, W, 1>(c, row, r, j, j - first, t0, steps);
        for (int64_t i = 0; i < steps * d; ++i) {
            T sum = 0;
            for (int lane = 0; lane < L; ++lane) sum += r.partial[i][lane];
            to_inputs[t0 * d + i] = sum;
        }
        if (t0 % SINGLE_STEPS == 0) {
            flush<T, L>(r.of_a, 0, count, sums + first * L);
            for (int64_t k = 0; k < d; ++k)
                flush<T, L>(r.of_B, k * count, count, sums + ((1 + k) * row.vectors + first) * L);
        }
        end = t0;
    }
}

template <class T, int L, int W> void backward(const Problem<T>& p, const Gradients<T>& g) {
    const Row<L> row(p.D);
    const Coefficients<T, L> c(p, row, true);
    const int64_t d = W < 0 ? 0 : W ? W : p.width, N = p.N, inputs = p.length * d;
    // Groups of sequences and blocks of states are independent; the partial sums of groups are
    // added in a fixed order at the end, which makes gradients reproducible.
    const int64_t groups = std::min(N, GROUPS), each = (1 + d) * row.vectors * L;
    std::vector<double> sums(groups * each);
    // dL/du sums over all states: with several blocks each writes its own part, (blocks, N, T, d).
    std::vector<T> by_block(row.blocks > 1 ? row.blocks * N * inputs : 0);
    T* const to_inputs = row.blocks > 1 ? by_block.data() : g.to_inputs;
#pragma omp parallel for collapse(2) num_threads(p.threads) schedule(static)
    for (int64_t group = 0; group < groups; ++group)
        for (int64_t block = 0; block < row.blocks; ++block) {
            const int64_t first = block * BLOCK, count = std::min(BLOCK, row.vectors - first);
            Reverse<T, L> r;
            r.by_step = g.by_step;
            r.d = d;
            r.lambda.resize(count);
            r.of_a.resize(count);
            r.of_B.resize(d * count);
            r.partial.resize(BACKWARD_TILE * d);
            for (int64_t n = group * N / groups; n < (group + 1) * N / groups; ++n) {
                r.u = p.u + n * inputs;
                r.to_driven = g.to_inputs + n * p.length * p.D;
                r.initial = p.initial + n * p.stride;
                r.states = g.states + n * p.length * p.D;
                r.gradient = g.gradient + n * g.by_sequence;
                backward_block<T, L, W>(c, row, r, first, p.length, sums.data() + group * each,
                                        to_inputs + (block * N + n) * inputs);
                for (int64_t i = 0; i < count; ++i)
                    store(g.to_initial + n * p.D + row.start(first + i), r.lambda[i]);
            }
        }
    if (row.blocks > 1)
        for (int64_t i = 0; i < N * inputs; ++i) {
            T sum = 0;
            for (int64_t block = 0; block < row.blocks; ++block)
                sum += by_block[block * N * inputs + i];
            g.to_inputs[i] = sum;
        }
    for (int64_t k = 0; k <= d; ++k)
        for (int64_t j = 0; j < row.vectors; ++j)
            for (int lane = 0; lane < L; ++lane) {
                double sum = 0;
                for (int64_t group = 0; group < groups; ++group)
                    sum += sums[group * each + (k * row.vectors + j) * L + lane];
                const int64_t i = row.start(j) + lane;
                (k ? g.to_B[i * d + k - 1] : g.to_a[i]) = (T)sum;
            }
}

}  // namespace

// One library for each scalar type: SCALAR is defined before this file is included. A row shorter
// than a vector is processed with vectors of one lane.
#define BY_WIDTH(NAME, ...)                             \
    switch (width) {                                           \
        case -1: return NAME<SCALAR, WHOLE, -1>(__VA_ARGS__);  \
        case 1: return NAME<SCALAR, WHOLE, 1>(__VA_ARGS__);    \
        case 2: return NAME<SCALAR, WHOLE, 2>(__VA_ARGS__);    \
        case 3: return NAME<SCALAR, WHOLE, 3>(__VA_ARGS__);    \
        case 4: return NAME<SCALAR, WHOLE, 4>(__VA_ARGS__);    \
        default: return NAME<SCALAR, WHOLE, 0>(__VA_ARGS__);   \
    }

constexpr int WHOLE = 64 / sizeof(SCALAR);

extern "C" void run_forward(const SCALAR* values, const SCALAR* matrix, const SCALAR* u,
                            const SCALAR* initial, int64_t stride, int64_t N, int64_t length,
                            int64_t D, int64_t width, int threads, SCALAR* out) {
    const int64_t given = std::max<int64_t>(width, 0);
    const Problem<SCALAR> p{values, matrix, u, initial, stride, N, length, D, given, threads};
    if (D < WHOLE)
        return width < 0 ? forward<SCALAR, 1, -1>(p, out) : forward<SCALAR, 1, 0>(p, out);
    BY_WIDTH(forward, p, out)
}

extern "C" void run_backward(const SCALAR* values, const SCALAR* matrix, const SCALAR* u,
                             const SCALAR* initial, int64_t stride, const SCALAR* states,
                             const SCALAR* gradient, int64_t by_sequence, int64_t by_step,
                             int64_t N, int64_t length, int64_t D, int64_t width, int threads,
                             SCALAR* to_a, SCALAR* to_B, SCALAR* to_inputs, SCALAR* to_initial) {
    const int64_t given = std::max<int64_t>(width, 0);
    const Problem<SCALAR> p{values, matrix, u, initial, stride, N, length, D, given, threads};
    const Gradients<SCALAR> g{states, gradient,  by_sequence, by_step,
                              to_a,   to_B,      to_inputs,   to_initial};
    if (D < WHOLE) return width < 0 ? backward<SCALAR, 1, -1>(p, g) : backward<SCALAR, 1, 0>(p, g);
    BY_WIDTH(backward, p, g)
}
