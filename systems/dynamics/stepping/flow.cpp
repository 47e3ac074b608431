// Integrates many trajectories of one system adaptively and stores their samples. Continues
// `adaptive.cpp`, with Method<ROWS>, the method that takes the steps.

namespace {

struct Results {
    double *states;      // (N, T, S); samples that are not reached keep their values
    double *slopes;      // (N, T, D, S) or null
    double *error;       // (N,)
    int64_t *status;     // (N,)
};

// Stores the samples; a consumer of `adaptive.cpp`.
struct Recorder {
    const Problem &problem;
    const Results &results;
    int64_t id[W];

    void begin(int l, int64_t trajectory, const V *) { id[l] = trajectory; }

    void at_sample(M due, M sample, V, const V *y) {
        for (int l = 0; l < W; ++l) {
            if (!due[l]) continue;
            const int64_t at = id[l] * problem.n_times + sample[l];
            for (int i = 0; i < S; ++i) results.states[at * S + i] = y[i][l];
            for (int d = 0; d < D; ++d)
                for (int i = 0; i < S; ++i)
                    results.slopes[(at * D + d) * S + i] = y[S * (1 + d) + i][l];
        }
    }

    void finish(int l, const Ending &ending) {
        results.error[id[l]] = ending.error;
        results.status[id[l]] = ending.status;
    }
};

}  // namespace

// Integrate all trajectories. Chunks are distributed dynamically, as trajectories differ in their
// number of steps; results do not depend on the distribution.
extern "C" void flow(const Problem *problem, const StepControl *options, const Results *results,
                     int32_t threads) {
    const int64_t chunks = (problem->n + CHUNK - 1) / CHUNK;
    const int used = chunks < threads ? (int)chunks : threads;
    (void)used;
#pragma omp parallel for schedule(dynamic) num_threads(used)
    for (int64_t c = 0; c < chunks; ++c) {
        const int64_t first = c * CHUNK, last = first + CHUNK;
        Recorder recorder{*problem, *results, {}};
        Adaptive<Method, Recorder>(*problem, *options, recorder)
            .run(first, last < problem->n ? last : problem->n);
    }
}
