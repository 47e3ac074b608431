// All trajectories, in chunks small enough for their samples to stay in cache. Continues
// `_flow_lanes.cpp`.

constexpr int64_t CHUNK = 65536, LEAST = 32, MOST = 512;

// How far a second solution, ten times looser, is away: it shows what the system makes of early
// errors. The larger of this and the sum of the local errors is the error estimate.
inline void compare(const Problem &problem, const Options &options, const Results &results,
                    const double *others, int64_t trajectory) {
    double worst = results.error[trajectory];
    const double *states = results.states + trajectory * problem.n_times * S;
    for (int i = 0; i < S; ++i) {
        double gap = 0.0, greatest = 0.0;
        for (int64_t k = 0; k < problem.n_times; ++k) {
            const double here = states[k * S + i], away = __builtin_fabs(here - others[k * S + i]);
            const double size = __builtin_fabs(here);
            gap = away > gap ? away : gap;
            greatest = size > greatest ? size : greatest;
        }
        const double relative = gap / (options.atol / options.rtol + greatest);
        worst = relative > worst ? relative : worst;
    }
    results.error[trajectory] = worst;
}

inline void run_chunk(const Problem &problem, const Options &options, const Results &results,
                      int64_t first, int64_t count, bool estimate) {
    std::vector<int64_t> list(count);
    for (int64_t j = 0; j < count; ++j) list[j] = first + j;
    Lanes(problem, options, results, 0).run(list.data(), count);
    if (!estimate) return;
    int64_t whole = 0;
    for (int64_t j = first; j < first + count; ++j)
        if (results.status[j] == CONVERGED) list[whole++] = j;
    const int64_t room = problem.n_times * S;
    std::vector<double> states(count * room), errors(count);
    std::vector<int64_t> statuses(count);
    Options loose = options;
    loose.rtol *= 10.0;
    loose.atol *= 10.0;
    Results scratch = {states.data(), nullptr, errors.data() - first, statuses.data() - first};
    Lanes(problem, loose, scratch, first).run(list.data(), whole);
    for (int64_t j = 0; j < whole; ++j)
        compare(problem, options, results, states.data() + (list[j] - first) * room, list[j]);
}

}  // namespace

extern "C" void flow(const Problem *problem, const Options *options, const Results *results,
                     int32_t estimate, int32_t threads) {
    int64_t size = CHUNK / (problem->n_times * S);
    size = size < LEAST ? LEAST : size > MOST ? MOST : size;
    const int64_t chunks = (problem->n + size - 1) / size;
    const int used = chunks < threads ? (int)chunks : threads;
    (void)used;
#pragma omp parallel for schedule(dynamic) num_threads(used)
    for (int64_t c = 0; c < chunks; ++c) {
        const int64_t first = c * size, left = problem->n - first;
        run_chunk(*problem, *options, *results, first, left < size ? left : size, estimate != 0);
    }
}
