// The fused recurrence theta_t = A theta_{t-1} + v_t for a complex diagonal A of conjugate pairs,
// in real numbers: a state has p real parts, then q <= p imaginary parts. Tiles of time and strips
// of states are as in the kernel of a real diagonal. The array of states holds v_t on entry, and is
// overwritten by theta_t.
//
// For one pair a = c + i s the step is z_t = a z_{t-1} + v_t. Backward, with g_t = dL/dz_t,
//     lambda_t = g_t + conj(a) lambda_{t+1},   dL/da = sum_t conj(z_{t-1}) lambda_t,
// and lambda_t is the gradient of v_t.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

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

// The last vector of a row may hold fewer lanes than the others. WHOLE is known at compile time, so
// that full vectors are loaded by one instruction.
template <class T, bool WHOLE> inline V<T> load_row(const T* from, int64_t lanes) {
    if (WHOLE) return load<T>(from);
    V<T> v = {};
    std::memcpy(&v, from, lanes * sizeof(T));
    return v;
}
template <class T, bool WHOLE> inline void store_row(T* to, V<T> v, int64_t lanes) {
    std::memcpy(to, &v, WHOLE ? sizeof v : lanes * sizeof(T));
}

// Steps per tile: the states of a strip stay in registers while its tile is in the cache.
constexpr int TILE = 8;
// Partial sums over sequences, whose number is fixed so that results do not depend on the threads.
constexpr int64_t GROUPS = 64;

// A pair's part of a row: real parts at `at`, imaginary parts p later. Rows past q hold fewer
// lanes.
template <class T> struct Pair {
    V<T> re, im;
};
template <class T, bool WHOLE> inline Pair<T> load_pair(const T* row, int64_t p, int64_t lanes) {
    return {load_row<T, WHOLE>(row, lanes), load_row<T, WHOLE>(row + p, lanes)};
}
template <class T, bool WHOLE> inline void store_pair(T* row, Pair<T> z, int64_t p, int64_t lanes) {
    store_row<T, WHOLE>(row, z.re, lanes);
    store_row<T, WHOLE>(row + p, z.im, lanes);
}

template <class T, bool WHOLE>
inline void forward_strip(const T* real, const T* imag, int64_t D, int64_t p, int64_t at,
                          int64_t lanes, int steps, T* state, T* out) {
    const V<T> c = load_row<T, WHOLE>(real + at, lanes), s = load_row<T, WHOLE>(imag + at, lanes);
    Pair<T> z = load_pair<T, WHOLE>(state + at, p, lanes);
    for (int t = 0; t < steps; ++t) {
        const Pair<T> v = load_pair<T, WHOLE>(out + t * D + at, p, lanes);
        // (c + i s)(re + i im) = (c re - s im) + i (s re + c im).
        z = {v.re + c * z.re - s * z.im, v.im + s * z.re + c * z.im};
        store_pair<T, WHOLE>(out + t * D + at, z, p, lanes);
    }
    store_pair<T, WHOLE>(state + at, z, p, lanes);
}

template <class T>
void forward(const T* real, const T* imag, const T* initial, int64_t stride, int64_t N,
             int64_t length, int64_t p, int64_t q, int threads, T* out) {
    constexpr int L = LANES<T>;
    const int64_t D = p + q;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t n = 0; n < N; ++n) {
        std::vector<T> state(initial + n * stride, initial + n * stride + D);
        for (int64_t t0 = 0; t0 < length; t0 += TILE) {
            const int steps = (int)std::min<int64_t>(TILE, length - t0);
            T* const to = out + (n * length + t0) * D;
            int64_t at = 0;
            for (; at + L <= q; at += L)
                forward_strip<T, true>(real, imag, D, p, at, L, steps, state.data(), to);
            if (at < q)
                forward_strip<T, false>(real, imag, D, p, at, q - at, steps, state.data(), to);
            // The real entries, which have no partner.
            for (int64_t i = q; i < p; ++i)
                for (int t = 0; t < steps; ++t)
                    state[i] = to[t * D + i] += real[i] * state[i];
        }
    }
}

// The arrays that the backward pass of a sequence reads and writes; gradients of A are summed over
// its group in double precision.
template <class T> struct Reverse {
    const T *real, *imag, *initial, *states, *gradient;
    int64_t step;    // of the gradient, from one time to the next
    T *carried, *adjoint;
    double *of_real, *of_imag;
};

template <class T, bool WHOLE>
inline void backward_strip(const Reverse<T>& r, int64_t D, int64_t p, int64_t at, int64_t lanes,
                           int64_t t0, int steps) {
    const V<T> c = load_row<T, WHOLE>(r.real + at, lanes), s = load_row<T, WHOLE>(r.imag + at, lanes);
    Pair<T> carried = load_pair<T, WHOLE>(r.carried + at, p, lanes);
    V<T> of_real = {}, of_imag = {};
    for (int64_t t = t0 + steps - 1; t >= t0; --t) {
        const T* const before = t ? r.states + (t - 1) * D : r.initial;
        const Pair<T> z = load_pair<T, WHOLE>(before + at, p, lanes);
        Pair<T> adjoint = load_pair<T, WHOLE>(r.gradient + t * r.step + at, p, lanes);
        adjoint = {adjoint.re + carried.re, adjoint.im + carried.im};
        // conj(z_{t-1}) lambda_t, whose real part is dL/dc and whose imaginary part is dL/ds.
        of_real += adjoint.re * z.re + adjoint.im * z.im;
        of_imag += adjoint.im * z.re - adjoint.re * z.im;
        store_pair<T, WHOLE>(r.adjoint + t * D + at, adjoint, p, lanes);
        // conj(a) lambda_t, which reaches the state before.
        carried = {c * adjoint.re + s * adjoint.im, c * adjoint.im - s * adjoint.re};
    }
    store_pair<T, WHOLE>(r.carried + at, carried, p, lanes);
    // In float, sums of thousands of steps would lose digits: each tile's sum is added in double.
    for (int lane = 0; lane < lanes; ++lane) {
        r.of_real[at + lane] += (double)of_real[lane];
        r.of_imag[at + lane] += (double)of_imag[lane];
    }
}

template <class T>
inline void backward_real(const Reverse<T>& r, int64_t D, int64_t i, int64_t t0, int steps) {
    double sum = 0;
    for (int64_t t = t0 + steps - 1; t >= t0; --t) {
        const T before = t ? r.states[(t - 1) * D + i] : r.initial[i];
        const T adjoint = r.gradient[t * r.step + i] + r.carried[i];
        sum += (double)(adjoint * before);
        r.adjoint[t * D + i] = adjoint;
        r.carried[i] = r.real[i] * adjoint;
    }
    r.of_real[i] += sum;
}

template <class T>
void backward(const T* real, const T* imag, const T* initial, int64_t stride, const T* states,
              const T* gradient, int64_t by_sequence, int64_t by_step, int64_t N, int64_t length,
              int64_t p, int64_t q, int threads, T* to_real, T* to_imag, T* adjoint,
              T* to_initial) {
    constexpr int L = LANES<T>;
    const int64_t D = p + q, groups = std::min(N, GROUPS);
    advise_huge_pages(adjoint, N * length * D * sizeof(T));
    std::vector<double> sums(groups * D);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t group = 0; group < groups; ++group) {
        double* const sum = sums.data() + group * D;
        for (int64_t n = group * N / groups; n < (group + 1) * N / groups; ++n) {
            T* const carried = to_initial + n * D;
            std::fill(carried, carried + D, T(0));
            const Reverse<T> r{real, imag, initial + n * stride, states + n * length * D,
                               gradient + n * by_sequence, by_step, carried,
                               adjoint + n * length * D, sum, sum + p};
            // Tiles from the last to the first; the first one handled may be shorter.
            for (int64_t end = length; end > 0;) {
                const int steps = (int)((end - 1) % TILE + 1);
                end -= steps;
                int64_t at = 0;
                for (; at + L <= q; at += L) backward_strip<T, true>(r, D, p, at, L, end, steps);
                if (at < q) backward_strip<T, false>(r, D, p, at, q - at, end, steps);
                for (int64_t i = q; i < p; ++i) backward_real<T>(r, D, i, end, steps);
            }
        }
    }
    for (int64_t i = 0; i < D; ++i) {
        double sum = 0;
        for (int64_t group = 0; group < groups; ++group) sum += sums[group * D + i];
        (i < p ? to_real[i] : to_imag[i - p]) = (T)sum;
    }
}

}  // namespace

// One library for each scalar type: SCALAR is defined before this file is included.
extern "C" void run_forward(const SCALAR* real, const SCALAR* imag, const SCALAR* initial,
                            int64_t stride, int64_t N, int64_t length, int64_t p, int64_t q,
                            int threads, SCALAR* out) {
    forward<SCALAR>(real, imag, initial, stride, N, length, p, q, threads, out);
}

extern "C" void run_backward(const SCALAR* real, const SCALAR* imag, const SCALAR* initial,
                             int64_t stride, const SCALAR* states, const SCALAR* gradient,
                             int64_t by_sequence, int64_t by_step, int64_t N, int64_t length,
                             int64_t p, int64_t q, int threads, SCALAR* to_real, SCALAR* to_imag,
                             SCALAR* adjoint, SCALAR* to_initial) {
    backward<SCALAR>(real, imag, initial, stride, states, gradient, by_sequence, by_step, N,
                     length, p, q, threads, to_real, to_imag, adjoint, to_initial);
}
