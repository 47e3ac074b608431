// Fused evaluation of perceptrons whose weights are the states theta_{t+1} = a theta_t + B u_t.
//
// SIMD runs over sequences, one in each lane of a vector, so that a, B and the positions of weights
// are the same for all lanes, and only gradients of a and B, which all sequences share, are summed
// across lanes. Time is divided into chunks. Only the states at the start of each chunk are kept,
// and the backward pass recomputes a chunk (gradient checkpointing). Within a chunk a few weights
// at a time run through all of its steps in registers, layer by layer, which is possible because
// states do not depend on the outputs.
//
// W is the width of the inputs; W = 0 means that the states are constant.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

// Steps between two states that are kept: memory is 1/32 of that of all states.
constexpr int CHUNK = 32;
constexpr int64_t GROUPS = 64;  // partial sums over sequences, whatever the number of threads

// The layers, and the offsets of their weights in theta: (out, in), then the bias, layer by layer.
struct Layers {
    std::vector<int64_t> width, offset, row;  // row: the first input of a layer
    int64_t count, size = 0, rows = 0, widest = 0;

    Layers(const int64_t* widths, int64_t count) : width(widths, widths + count + 1), count(count) {
        for (int64_t l = 0; l < count; ++l) {
            offset.push_back(size);
            row.push_back(rows);
            size += (width[l] + 1) * width[l + 1];
            rows += width[l];
        }
        row.push_back(rows);
        rows += width[count];
        widest = *std::max_element(width.begin(), width.end());
    }
};

// The transition, which all sequences share. Inputs narrower than W are padded with zeros.
template <class T> struct Transition {
    std::vector<T> a, B;

    Transition(const T* values, const T* matrix, int64_t size, int64_t d, int W)
        : a(W ? values : nullptr, W ? values + size : nullptr), B(size * W) {
        for (int64_t i = 0; i < size; ++i)
            for (int64_t k = 0; k < d; ++k) B[i * W + k] = matrix[i * d + k];
    }
};

template <class T> struct Sizes {
    int64_t N, length, d;
    int threads;
    std::vector<int64_t> cuts;  // starts of chunks; `place` is one of them

    Sizes(int64_t N, int64_t length, int64_t d, int64_t place, int threads)
        : N(N), length(length), d(d), threads(threads) {
        for (int64_t t = 0; t < length; t = t < place ? std::min(t + CHUNK, place) : t + CHUNK)
            cuts.push_back(t);
        cuts.push_back(length);
    }
    int64_t chunks() const { return cuts.size() - 1; }
    int64_t blocks() const { return (N + LANES<T> - 1) / LANES<T>; }
    int lanes(int64_t block) const { return (int)std::min<int64_t>(LANES<T>, N - block * LANES<T>); }
};

// Copy between an array (N, length, columns) and one vector per step and column. Scalars are
// written to memory one by one: inserting lanes into a vector register takes several times longer.
template <class T>
void gather(const T* from, int lanes, int64_t stride, int steps, int columns, V<T>* to,
            int64_t by_step, int64_t by_column) {
    for (int t = 0; t < steps; ++t)
        for (int k = 0; k < columns; ++k) {
            T* const lane = (T*)(to + t * by_step + k * by_column);
            for (int j = 0; j < lanes; ++j) lane[j] = from[j * stride + t * columns + k];
            for (int j = lanes; j < LANES<T>; ++j) lane[j] = 0;
        }
}
template <class T>
void scatter(const V<T>* from, int64_t by_step, int64_t by_column, int lanes, int64_t stride,
             int steps, int columns, T* to) {
    for (int j = 0; j < lanes; ++j)
        for (int t = 0; t < steps; ++t)
            for (int k = 0; k < columns; ++k)
                to[j * stride + t * columns + k] = ((const T*)(from + t * by_step + k * by_column))[j];
}

// A chunk of a block of sequences: its inputs by step, and the inputs of every layer by row.
template <class T> struct Chunk {
    int steps;
    std::vector<V<T>> inputs, rows, ones;

    Chunk(const Layers& layers, int W)
        : inputs(CHUNK * W), rows(CHUNK * layers.rows), ones(CHUNK, V<T>{} + T(1)) {}

    // Inputs after the last state are zero.
    void load(const Sizes<T>& s, int W, int64_t block, int64_t chunk, int64_t width, const T* u,
              const T* points) {
        const int64_t from = s.cuts[chunk], n = block * LANES<T>, moves = s.length - 1;
        steps = (int)(s.cuts[chunk + 1] - from);
        std::fill(inputs.begin(), inputs.end(), V<T>{});
        if (W)
            gather<T>(u + (n * moves + from) * s.d, s.lanes(block), moves * s.d,
                      (int)std::min<int64_t>(steps, moves - from), (int)s.d, inputs.data(), W, 1);
        gather<T>(points + (n * s.length + from) * width, s.lanes(block), s.length * width, steps,
                  (int)width, rows.data(), 1, CHUNK);
    }
};

template <class T, int W> inline V<T> driven(const V<T>* u, const T* B) {
    V<T> sum = u[0] * B[0];
    for (int k = 1; k < W; ++k) sum += u[k] * B[k];
    return sum;
}

// G weights of one output o: h_o,t += sum_g theta_t,g z_t,g at all steps t of the chunk, while the
// weights advance by theta <- a theta + B u to the end of the chunk.
template <class T, int W, int G>
inline void forward_weights(const T* a, const T* B, V<T>* state, const V<T>* u, const V<T>* z,
                            int steps, V<T>* h) {
    V<T> theta[G];
    for (int g = 0; g < G; ++g) theta[g] = state[g];
    for (int t = 0; t < steps; ++t) {
        V<T> sum = h[t];
        for (int g = 0; g < G; ++g) {
            sum += theta[g] * z[g * CHUNK + t];
            if constexpr (W > 0) theta[g] = theta[g] * a[g] + driven<T, W>(u + t * W, B + g * W);
        }
        h[t] = sum;
    }
    for (int g = 0; g < G; ++g) state[g] = theta[g];
}

// Weights processed together: as many as leave room for their a, B and theta in the registers.
template <int W> constexpr int TOGETHER = W <= 5 ? 4 : 2;

template <class T, int W>
void forward_chunk(const Layers& layers, const Transition<T>& A, V<T>* state, Chunk<T>& chunk) {
    constexpr int G = TOGETHER<W>;
    for (int64_t l = 0; l < layers.count; ++l) {
        const int64_t into = layers.width[l], out = layers.width[l + 1];
        for (int64_t o = 0; o < out; ++o) {
            V<T>* const h = chunk.rows.data() + (layers.row[l + 1] + o) * CHUNK;
            std::fill(h, h + chunk.steps, V<T>{});
            const auto add = [&](auto count, int64_t w, const V<T>* z) {
                forward_weights<T, W, decltype(count)::value>(A.a.data() + w, A.B.data() + w * W,
                                                              state + w, chunk.inputs.data(), z,
                                                              chunk.steps, h);
            };
            const int64_t first = layers.offset[l] + o * into;
            const V<T>* const z = chunk.rows.data() + layers.row[l] * CHUNK;
            // The bias is a weight of a constant input of one.
            add(std::integral_constant<int, 1>(), layers.offset[l] + out * into + o,
                chunk.ones.data());
            int64_t i = 0;
            for (; i + G <= into; i += G)
                add(std::integral_constant<int, G>(), first + i, z + i * CHUNK);
            for (; i < into; ++i) add(std::integral_constant<int, 1>(), first + i, z + i * CHUNK);
            if (l + 1 < layers.count)
                for (int t = 0; t < chunk.steps; ++t) h[t] = hyperbolic_tangent<T>(h[t]);
        }
    }
}

// Sum over lanes, in pairs. Lanes without a sequence hold zeros.
template <class T> inline T over_lanes(V<T> v) {
    for (int half = LANES<T> / 2; half; half /= 2)
        for (int j = 0; j < half; ++j) v[j] += v[j + half];
    return v[0];
}

// The backward pass through a chunk for G weights of one output with gradient g_t = dL/dh_t. States
// are recomputed forward, then, with lambda the adjoint of theta,
//     lambda_t = a lambda_{t+1} + g_t z_t,   dL/dz_t += g_t theta_t,
//     dL/da += lambda_{t+1} theta_t,   dL/dB += lambda_{t+1} u_t^T,   dL/du_t += B^T lambda_{t+1}.
template <class T, int W, int G, bool BELOW>
inline void backward_weights(const T* a, const T* B, const V<T>* start, V<T>* adjoint,
                             const V<T>* u, const V<T>* z, const V<T>* gradient, int steps,
                             V<T>* to_u, V<T>* to_z, double* sums) {
    V<T> theta[CHUNK][G], lambda[G], to_a[G] = {}, to_B[G][W ? W : 1] = {};
    for (int g = 0; g < G; ++g) {
        lambda[g] = adjoint[g];
        V<T> state = start[g];
        for (int t = 0; t < steps; ++t) {
            theta[t][g] = state;
            if constexpr (W > 0) state = state * a[g] + driven<T, W>(u + t * W, B + g * W);
        }
    }
    for (int t = steps - 1; t >= 0; --t) {
        // Copies in registers: the compiler cannot know that the arrays written do not overlap
        // these.
        const V<T> by_output = gradient[t];
        V<T> drive[W ? W : 1], by_drive[W ? W : 1];
        for (int k = 0; k < W; ++k) drive[k] = u[t * W + k], by_drive[k] = to_u[t * W + k];
        for (int g = 0; g < G; ++g) {
            if constexpr (W > 0) {
                to_a[g] += lambda[g] * theta[t][g];
                for (int k = 0; k < W; ++k) {
                    to_B[g][k] += lambda[g] * drive[k];
                    by_drive[k] += lambda[g] * B[g * W + k];
                }
                lambda[g] *= a[g];
            }
            lambda[g] += by_output * z[g * CHUNK + t];
            if (BELOW) to_z[g * CHUNK + t] += theta[t][g] * by_output;
        }
        for (int k = 0; k < W; ++k) to_u[t * W + k] = by_drive[k];
    }
    for (int g = 0; g < G; ++g) {
        adjoint[g] = lambda[g];
        if (W) sums[g * (W + 1)] += over_lanes<T>(to_a[g]);
        for (int k = 0; k < W; ++k) sums[g * (W + 1) + 1 + k] += over_lanes<T>(to_B[g][k]);
    }
}

// Gradients of a chunk: of the inputs of each layer, of u, and of the states at its start.
template <class T> struct Gradients {
    std::vector<V<T>> rows, inputs, adjoint;

    Gradients(const Layers& layers, int W)
        : rows(CHUNK * layers.rows), inputs(CHUNK * W), adjoint(layers.size) {}
};

template <class T, int W>
void backward_chunk(const Layers& layers, const Transition<T>& A, const V<T>* start,
                    const Chunk<T>& chunk, bool to_points, Gradients<T>& to,
                    double* sums) {
    constexpr int G = TOGETHER<W>;
    std::fill(to.inputs.begin(), to.inputs.end(), V<T>{});
    std::fill(to.rows.begin(), to.rows.begin() + layers.row[layers.count] * CHUNK, V<T>{});
    for (int64_t l = layers.count - 1; l >= 0; --l) {
        const int64_t into = layers.width[l], out = layers.width[l + 1];
        const V<T>* const z = chunk.rows.data() + layers.row[l] * CHUNK;
        V<T>* const to_z = to.rows.data() + layers.row[l] * CHUNK;
        for (int64_t o = 0; o < out; ++o) {
            const V<T>* const gradient = to.rows.data() + (layers.row[l + 1] + o) * CHUNK;
            const auto add = [&](auto count, auto below, int64_t w, const V<T>* z, V<T>* to_z) {
                backward_weights<T, W, decltype(count)::value, decltype(below)::value>(
                    A.a.data() + w, A.B.data() + w * W, start + w, to.adjoint.data() + w,
                    chunk.inputs.data(), z, gradient, chunk.steps, to.inputs.data(), to_z,
                    sums + w * (W + 1));
            };
            const auto all = [&](auto below) {
                const int64_t first = layers.offset[l] + o * into;
                int64_t i = 0;
                for (; i + G <= into; i += G)
                    add(std::integral_constant<int, G>(), below, first + i, z + i * CHUNK,
                        to_z + i * CHUNK);
                for (; i < into; ++i)
                    add(std::integral_constant<int, 1>(), below, first + i, z + i * CHUNK,
                        to_z + i * CHUNK);
            };
            add(std::integral_constant<int, 1>(), std::false_type(),
                layers.offset[l] + out * into + o, chunk.ones.data(), nullptr);
            l || to_points ? all(std::true_type()) : all(std::false_type());
        }
        // Through the activation of the layer below: tanh' = 1 - tanh^2.
        for (int64_t i = 0; l && i < into * CHUNK; ++i) to_z[i] *= 1 - z[i] * z[i];
    }
}

template <class T, int W>
void forward(const Layers& layers, const Sizes<T>& s, const T* values, const T* matrix, const T* u,
             const T* initial, int64_t stride, const T* points, T* starts, T* out) {
    const Transition<T> A(values, matrix, layers.size, s.d, W);
    const int64_t outputs = layers.width[layers.count], kept = W ? s.chunks() : 1;
#pragma omp parallel for num_threads(s.threads) schedule(static)
    for (int64_t block = 0; block < s.blocks(); ++block) {
        Chunk<T> chunk(layers, W);
        const int lanes = s.lanes(block);
        const int64_t n = block * LANES<T>, bytes = layers.size * sizeof(V<T>);
        std::vector<V<T>> state(layers.size);
        gather<T>(initial + n * stride, lanes, stride, 1, (int)layers.size, state.data(), 0, 1);
        T* const keep = starts + block * kept * layers.size * LANES<T>;
        for (int64_t c = 0; c < s.chunks(); ++c) {
            if (c < kept) std::memcpy(keep + c * layers.size * LANES<T>, state.data(), bytes);
            chunk.load(s, W, block, c, layers.width[0], u, points);
            forward_chunk<T, W>(layers, A, state.data(), chunk);
            scatter<T>(chunk.rows.data() + layers.row[layers.count] * CHUNK, 1, CHUNK, lanes,
                       s.length * outputs, chunk.steps, (int)outputs,
                       out + (n * s.length + s.cuts[c]) * outputs);
        }
    }
}

// The gradients to write; `points` may be null. Those of a and B are sums over all sequences.
template <class T> struct Found {
    T *a, *B, *u, *initial, *points;
};

template <class T, int W>
void backward(const Layers& layers, const Sizes<T>& s, const T* values, const T* matrix, const T* u,
              const T* points, const T* starts, int64_t place, const T* gradient, const T* by_place,
              Found<T> to) {
    const Transition<T> A(values, matrix, layers.size, s.d, W);
    const int64_t outputs = layers.width[layers.count], width = layers.width[0];
    const int64_t kept = W ? s.chunks() : 1, moves = s.length - 1;
    const int64_t groups = std::min(GROUPS, s.blocks()), terms = layers.size * (W + 1);
    std::vector<double> sums(groups * terms);
#pragma omp parallel for num_threads(s.threads) schedule(static)
    for (int64_t group = 0; group < groups; ++group) {
        Chunk<T> chunk(layers, W);
        Gradients<T> found(layers, W);
        std::vector<V<T>> start(layers.size), state(layers.size), at_place(layers.size);
        const int64_t end = (group + 1) * s.blocks() / groups;
        for (int64_t block = group * s.blocks() / groups; block < end; ++block) {
            const int lanes = s.lanes(block);
            const int64_t n = block * LANES<T>, D = layers.size;
            std::fill(found.adjoint.begin(), found.adjoint.end(), V<T>{});
            for (int64_t c = s.chunks() - 1; c >= 0; --c) {
                const int64_t from = s.cuts[c], used = W ? c : 0;
                std::memcpy(start.data(), starts + (block * kept + used) * D * LANES<T>,
                            D * sizeof(V<T>));
                state = start;
                chunk.load(s, W, block, c, width, u, points);
                forward_chunk<T, W>(layers, A, state.data(), chunk);
                gather<T>(gradient + (n * s.length + from) * outputs, lanes, s.length * outputs,
                          chunk.steps, (int)outputs,
                          found.rows.data() + layers.row[layers.count] * CHUNK, 1, CHUNK);
                backward_chunk<T, W>(layers, A, start.data(), chunk, to.points, found,
                                     sums.data() + group * terms);
                // The state at `place` is an output, too: its gradient joins the adjoint at that
                // time.
                if (from == place) {
                    gather<T>(by_place + n * D, lanes, D, 1, (int)D, at_place.data(), 0, 1);
                    for (int64_t w = 0; w < D; ++w) found.adjoint[w] += at_place[w];
                }
                if (W)
                    scatter<T>(found.inputs.data(), W, 1, lanes, moves * s.d,
                               (int)std::min<int64_t>(chunk.steps, moves - from), (int)s.d,
                               to.u + (n * moves + from) * s.d);
                if (to.points)
                    scatter<T>(found.rows.data(), 1, CHUNK, lanes, s.length * width, chunk.steps,
                               (int)width, to.points + (n * s.length + from) * width);
            }
            scatter<T>(found.adjoint.data(), 0, 1, lanes, D, 1, (int)D, to.initial + n * D);
        }
    }
    for (int64_t w = 0; W && w < layers.size; ++w)
        for (int64_t k = 0; k <= s.d; ++k) {
            double total = 0;
            for (int64_t group = 0; group < groups; ++group)
                total += sums[group * terms + w * (W + 1) + k];
            (k ? to.B[w * s.d + k - 1] : to.a[w]) = (T)total;
        }
}

}  // namespace

// One library for each scalar type SCALAR and each width WIDTH, the smallest one that holds d.
extern "C" int64_t chunks(int64_t length, int64_t place) {
    return Sizes<SCALAR>(0, length, 0, place, 1).chunks();
}

extern "C" void run_forward(const int64_t* widths, int64_t layers, const SCALAR* values,
                            const SCALAR* matrix, const SCALAR* u, const SCALAR* initial,
                            int64_t stride, const SCALAR* points, int64_t N, int64_t length,
                            int64_t d, int64_t place, int threads, SCALAR* starts, SCALAR* out) {
    forward<SCALAR, WIDTH>(Layers(widths, layers), Sizes<SCALAR>(N, length, d, place, threads),
                           values, matrix, u, initial, stride, points, starts, out);
}

extern "C" void run_backward(const int64_t* widths, int64_t layers, const SCALAR* values,
                             const SCALAR* matrix, const SCALAR* u, const SCALAR* points,
                             const SCALAR* starts, int64_t N, int64_t length, int64_t d,
                             int64_t place, int threads, const SCALAR* gradient,
                             const SCALAR* by_place, SCALAR* to_a, SCALAR* to_B, SCALAR* to_u,
                             SCALAR* to_initial, SCALAR* to_points) {
    backward<SCALAR, WIDTH>(Layers(widths, layers), Sizes<SCALAR>(N, length, d, place, threads),
                            values, matrix, u, points, starts, place, gradient, by_place,
                            Found<SCALAR>{to_a, to_B, to_u, to_initial, to_points});
}
