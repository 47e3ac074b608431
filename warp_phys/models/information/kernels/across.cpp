// Steps, covariances and volumes across a direction, of W lanes at a time; see `marks/ridge.py`.
//
// Included after `symmetric.cpp`, with the constants D (unknowns) and O (outputs).

namespace {

struct Across {
    const double *hessian, *gradient;   // (L, O, K), (L, O, D), by the physical values
    const double *slopes, *away;        // (L, D), dtheta/dz, and z less the prior's mean
    const double *precision, *v;        // (D, D) of the prior, (N, D)
    double *moved, *covariance, *log_volume;  // (L, D), (L, D, D), (L,)
};

// Information A and minus the gradient b in coordinates, with the prior.
inline void equations(const Across &data, const int64_t *lane, V *a, V *b) {
    V slope[D], away[D];
    for (int i = 0; i < D; ++i)
        for (int l = 0; l < W; ++l) {
            slope[i][l] = data.slopes[lane[l] * D + i];
            away[i][l] = data.away[lane[l] * D + i];
        }
    for (int j = 0; j < K; ++j) a[j] = splat(0.0);
    for (int i = 0; i < D; ++i) b[i] = splat(0.0);
    for (int l = 0; l < W; ++l)
        for (int o = 0; o < O; ++o) {
            for (int j = 0; j < K; ++j) a[j][l] += data.hessian[(lane[l] * O + o) * K + j];
            for (int i = 0; i < D; ++i) b[i][l] += data.gradient[(lane[l] * O + o) * D + i];
        }
    for (int i = 0; i < D; ++i) {
        b[i] *= slope[i];
        for (int j = 0; j <= i; ++j)
            a[place(i, j)] = a[place(i, j)] * slope[i] * slope[j] + data.precision[i * D + j];
        for (int j = 0; j < D; ++j) b[i] -= data.precision[i * D + j] * away[j];
    }
}

inline void across(const Across &data, int64_t records, const int64_t *lane, int64_t count) {
    V c[K], b[D], v[D], along[D], free[D];
    equations(data, lane, c, b);
    const V log_determinant = invert_scaled(c);
    for (int i = 0; i < D; ++i)
        for (int l = 0; l < W; ++l) v[i][l] = data.v[lane[l] % records * D + i];
    times(c, v, along);
    times(c, b, free);
    const V variance = dot(along, v), ratio = dot(free, v) / variance;
    const V log_volume = -log_determinant - vlog(variance);
    for (int l = 0; l < count; ++l) {
        const int64_t n = lane[l];
        data.log_volume[n] = log_volume[l];
        for (int i = 0; i < D; ++i) {
            data.moved[n * D + i] = free[i][l] - along[i][l] * ratio[l];
            for (int j = 0; j <= i; ++j)
                data.covariance[(n * D + i) * D + j] = data.covariance[(n * D + j) * D + i] =
                    c[place(i, j)][l] - along[i][l] * along[j][l] / variance[l];
        }
    }
}

}  // namespace

// For L lanes, of which lane l belongs to record l mod `records`.
extern "C" void steps_across(int64_t lanes, int64_t records, const Across *data, int64_t threads) {
    const int64_t groups = (lanes + W - 1) / W;
    const int used = groups < threads ? (int)groups : (int)threads;
    (void)used;
#pragma omp parallel for schedule(static) num_threads(used)
    for (int64_t g = 0; g < groups; ++g) {
        int64_t lane[W];
        const int64_t count = lanes - g * W < W ? lanes - g * W : W;
        for (int l = 0; l < W; ++l) lane[l] = g * W + (l < count ? l : count - 1);
        across(*data, records, lane, count);
    }
}
