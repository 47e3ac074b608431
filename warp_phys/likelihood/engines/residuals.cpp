// Sums the loss of residuals and the normal equations over the samples of trajectories. It is a
// consumer of the integrators in `dynamics/stepping` and is included after them; `adaptive.cpp`
// explains the calls that a consumer receives.
//
//   N_SEEN, SEEN[]             the outputs that are observed
//   noise_terms                residual, stretch, loss, score and information of a value, and those
//                              about unknown parameters of the noise, as `SampleTerms` of
//                              `systems/noise/sample_terms.py` explains them
//   N_OWN, MOST_OWN            unknown parameters of the noise: of all outputs, and of one at most
//   N_OF[O], OWN[O * MOST_OWN] how many of them, and which, are those of an output
//   N_ALL                      directions of the results: those of the flow, D, and of the noise
//   FLOW[N_ALL]                the number of a direction of the results among those of the flow, or -1
//   OWN_OF[O * N_ALL]          its number among the noise parameters of an output, or -1
//   CENSORED                   whether values may be limits

namespace {

constexpr int O = N_SEEN, A = N_ALL, PACKED = A * (A + 1) / 2;
constexpr int ROOM_A = A > 0 ? A : 1;

struct Trajectories : Samples {
    const double *observed, *weights;     // (N, T, O); weights may be null
    const double *censored;               // (N, T, O) 1 below or 2 above a limit, or null
};

struct Lanes : Route {
    const double *parameters, *initial;   // (L, P), (L, S)
    const double *own;                    // (L, N_OWN), unknown parameters of the noise, or null
    const double *precision;              // (L, O) one over the squared level of the noise, or null
    double *hessian, *gradient;           // (L, O, A (A + 1) / 2), (L, O, A)
    double *squares, *counted;            // (L, O)
    double *predicted;                    // (L, T, O) or null
    double *jacobian;                     // (L, T, O, D), df/dtheta, or null
    double *ending;                       // (L, 1 + D, S), y and dy/dtheta at the last sample, or null
    int32_t *status, *steps;              // (L,)
};

// For every output o, over its samples t with sensitivities j_t = df/dtheta,
//     loss      sum_t rho(y_t, f_t)
//     gradient  sum_t score_t j_t          (J^T W r for squared loss)
//     hessian   sum_t information_t j_t j_t^T   (J^T W J), packed lower triangle, row by row
// Unknown parameters of the noise have scores of their own, and information about themselves and,
// with j_t, about f.
template <bool SENS> struct Residuals {
    const Trajectories &data;
    const Lanes &lanes;
    int64_t id[W];              // lane of the call that is in each lane of the vector
    V p[ROOM_P];
    V own[N_OWN > 0 ? N_OWN : 1];
    V hessian[O][SENS && PACKED > 0 ? PACKED : 1], gradient[O][SENS ? ROOM_A : 1];
    V squares[O], counted[O];

    void begin(int l, int64_t lane, const V *parameters) {
        id[l] = lane;
        for (int j = 0; j < P; ++j) p[j][l] = parameters[j][l];
        for (int q = 0; q < N_OWN; ++q) own[q][l] = lanes.own[lane * N_OWN + q];
        for (int o = 0; o < O; ++o) {
            squares[o][l] = counted[o][l] = 0.0;
            if constexpr (SENS) {
                for (int j = 0; j < PACKED; ++j) hessian[o][j][l] = 0.0;
                for (int d = 0; d < A; ++d) gradient[o][d][l] = 0.0;
            }
        }
    }

    // The place of a sample's output among those of all lanes.
    int64_t slot(int l, int64_t sample, int o) const {
        return (id[l] * data.n_times + sample) * O + o;
    }

    // Add the terms of one sample of each lane in `here`. `y` holds the states at the samples, then
    // their derivatives along each direction.
    void at_sample(const M &here, const M &sample, V at, const V *y) {
        V u[ROOM_I], out[N_OUTPUTS], jy[N_OUTPUTS * S], jp[N_OUTPUTS * ROOM_P];
        for (int i = 0; i < I; ++i)
            for (int l = 0; l < W; ++l)
                u[i][l] = data.inputs[(lanes.row[id[l]] * data.n_times + sample[l]) * I + i];
        if constexpr (SENS)
            if (lanes.ending)
                for (int l = 0; l < W; ++l)
                    for (int i = 0; here[l] && i < S * (1 + D); ++i)
                        lanes.ending[id[l] * S * (1 + D) + i] = y[i][l];
        if constexpr (SENS) observe_jacobian(at, y, p, u, out, jy, jp);
        else observe(at, y, p, u, out);
        for (int o = 0; o < O; ++o) {
            const int q = SEEN[o];
            V seen = splat(NAN), precision = splat(1.0), flag = splat(0.0);
            for (int l = 0; l < W; ++l) {
                const int64_t at_sample = (lanes.row[id[l]] * data.n_times + sample[l]) * O + o;
                if (here[l]) seen[l] = data.observed[at_sample];
                if (CENSORED && here[l]) flag[l] = data.censored[at_sample];
                if (data.weights) precision[l] = data.weights[at_sample];
                if (lanes.precision) precision[l] *= lanes.precision[id[l] * O + o];
                if (lanes.predicted && here[l])
                    lanes.predicted[slot(l, sample[l], o)] = out[q][l];
            }
            // A NaN is unequal to itself: missing values, and lanes that have no sample here.
            const M used = seen == seen;
            V mine[MOST_OWN > 0 ? MOST_OWN : 1], terms[5 + 2 * MOST_OWN + MOST_OWN * (MOST_OWN + 1) / 2];
            for (int k = 0; k < MOST_OWN; ++k) mine[k] = own[OWN[o * MOST_OWN + k]];
            noise_terms(o, seen, out[q], precision, mine, flag, terms);
            const V stretch = terms[1], loss = terms[2];
            // Chain rule through the observation h: df/dtheta_d = (dh/dy) S_d + dh/dp_d; `stretch`
            // is -dr/df, 1/f for residuals of logarithms. Entries that are zero by structure are
            // skipped.
            V jacobian[ROOM_D];
            if constexpr (SENS)
                for (int d = 0; d < D; ++d) {
                    V total = splat(0.0);
                    for (int i = 0; i < S; ++i)
                        if (OBS_Y[q * S + i]) total += jy[q * S + i] * y[S * (1 + d) + i];
                    if (DIRECTION[d] >= 0 && OBS_P[q * P + DIRECTION[d]])
                        total += jp[q * P + DIRECTION[d]];
                    if (lanes.jacobian)
                        for (int l = 0; l < W; ++l)
                            if (here[l]) lanes.jacobian[slot(l, sample[l], o) * D + d] = total[l];
                    jacobian[d] = total * stretch;
                }
            squares[o] += select(used, loss, splat(0.0));
            if constexpr (SENS) {
                counted[o] += select(used, splat(1.0), splat(0.0));
                // Masked before the products, because 0 * inf is NaN: a derivative may be infinite
                // where nothing was observed.
                const V score = select(used, terms[3], splat(0.0));
                const V information = select(used, terms[4], splat(0.0));
                for (int d = 0; d < D; ++d) jacobian[d] = select(used, jacobian[d], splat(0.0));
                add(o, used, score, information, jacobian, terms);
            }
        }
    }

    // Add one sample of an output to its normal equations.
    void add(int o, const M &used, V score, V information, const V *jacobian, const V *terms) {
        const int count = N_OF[o];
        const V *scores = terms + 5, *crossed = scores + count, *both = crossed + count;
        V wide[ROOM_A];
        for (int d = 0; d < A; ++d) wide[d] = FLOW[d] >= 0 ? jacobian[FLOW[d]] : splat(0.0);
        int packed = 0;
        for (int d = 0; d < A; ++d) {
            const V pulled = information * wide[d];
            gradient[o][d] += score * wide[d];
            if constexpr (N_OWN > 0) {
                const int k = OWN_OF[o * A + d];
                if (k >= 0) gradient[o][d] += select(used, scores[k], splat(0.0));
            }
            for (int e = 0; e <= d; ++e, ++packed) {
                hessian[o][packed] += pulled * wide[e];
                if constexpr (N_OWN > 0) {
                    const int k = OWN_OF[o * A + d], m = OWN_OF[o * A + e];
                    V more = splat(0.0);
                    if (k >= 0) more += crossed[k] * wide[e];
                    if (m >= 0) more += crossed[m] * wide[d];
                    if (k >= 0 && m >= 0)
                        more += both[k > m ? k * (k + 1) / 2 + m : m * (m + 1) / 2 + k];
                    hessian[o][packed] += select(used, more, splat(0.0));
                }
            }
        }
    }

    void finish(int l, const Ending &ending) const {
        const int64_t lane = id[l];
        bool good = ending.status == CONVERGED;
        // An infinite loss means that the minimizer rejects the step, as for a failed integration.
        for (int o = 0; o < O; ++o) good = good && squares[o][l] < INFINITY;
        lanes.status[lane] = ending.status == CONVERGED && !good ? DIVERGED : ending.status;
        lanes.steps[lane] = (int32_t)ending.steps;
        for (int o = 0; o < O; ++o) {
            lanes.squares[lane * O + o] = good ? squares[o][l] : INFINITY;
            if constexpr (SENS) {
                lanes.counted[lane * O + o] = counted[o][l];
                for (int j = 0; j < PACKED; ++j)
                    lanes.hessian[(lane * O + o) * PACKED + j] = hessian[o][j][l];
                for (int d = 0; d < A; ++d)
                    lanes.gradient[(lane * O + o) * A + d] = gradient[o][d][l];
            }
        }
    }
};

}  // namespace
