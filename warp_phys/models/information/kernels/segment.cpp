// The information recurrence over a segment of samples, W records at a time.
//
// Included after `belief.cpp`. Formulas and names of the test are those of `innovations.py`, whose
// results it repeats to rounding errors. A record stops at the sample at which it comes into doubt,
// see `in_doubt` in `marks/marker.py`.

namespace {

// Samples back to which the test looks, and the memory of the test.
constexpr int WINDOWS[] = {1, 2, 4, 8, 16}, MEMORY = 17;

struct Group : Belief {
    // Rings of the last samples, of which `newest` is the last one; `unit` is exp(-2 log level).
    V past_squares[MEMORY][O], past_count[MEMORY][O], past_level[MEMORY][O],
        past_freedom[MEMORY][O], unit[MEMORY][O];
    int newest;
    V tested;

    using Belief::Belief;

    void walk(int64_t *stop) {
        load_past();
        for (int64_t t = segment.first; t < segment.last; ++t) {
            const M suspect = step(t), doubt = suspect | (decrement > splat(segment.farthest));
            const bool tests = !(segment.marked && t + 1 == segment.last);
            bool some = false;
            for (int l = 0; l < W; ++l) {
                const bool ends = t + 1 == segment.last, stops = tests && doubt[l];
                if (going[l] && (ends || stops)) {
                    save_belief(l);
                    save_past(l, t + 1 - segment.first, tests && suspect[l]);
                    stop[l] = stops ? t : segment.last;
                    going[l] = 0;
                }
                some |= going[l] != 0;
            }
            if (!some) return;
        }
    }

    void load_past() {
        const State &s = state;
        load(s.past_squares, MEMORY * O, past_squares[0]);
        load(s.past_count, MEMORY * O, past_count[0]);
        load(s.past_level, MEMORY * O, past_level[0]);
        load(s.past_freedom, MEMORY * O, past_freedom[0]);
        for (int m = 0; m < MEMORY; ++m)
            for (int o = 0; o < O; ++o) unit[m][o] = exponential(-2.0 * past_level[m][o]);
        newest = MEMORY - 1;
        for (int l = 0; l < W; ++l) tested[l] = s.tested[of_state[l]];
    }

    void save_past(int l, int64_t steps, bool suspect) const {
        const State &s = state;
        const int64_t n = of_state[l];
        for (int m = 0; m < MEMORY; ++m) {
            const int from = (newest + 1 + m) % MEMORY;
            const int64_t to = (n * MEMORY + m) * O;
            save(s.past_squares + to, O, past_squares[from], l);
            save(s.past_count + to, O, past_count[from], l);
            save(s.past_level + to, O, past_level[from], l);
            save(s.past_freedom + to, O, past_freedom[from], l);
        }
        s.tested[n] = (int64_t)tested[l];
        s.suspect[n] = suspect;
        s.since[n] += steps;
    }

    // One more sample; returns which records are suspect after it.
    M step(int64_t t) {
        V jacobian[O][D];
        add(t, jacobian);
        solve();
        write(t, jacobian);
        return test();
    }

    // The test of `Innovations.added`.
    M test() {
        const int before = newest;
        newest = (newest + 1) % MEMORY;
        V values = splat(0.0);
        M fresh = {};
        for (int o = 0; o < O; ++o) {
            const V number = base_count[o] + count[o];
            fresh |= number > past_count[before][o];
            values += past_count[before][o];
            past_squares[newest][o] = squares[o];
            past_count[newest][o] = number;
            past_level[newest][o] = log_level[o];
            past_freedom[newest][o] = freedom[o];
            unit[newest][o] = exponential(-2.0 * log_level[o]);
        }
        const M testable = fresh & (values >= splat(segment.fewest));
        tested += select(testable, splat(1.0), splat(0.0));
        V best = splat(-__builtin_inf()), threshold;
        for (int window : WINDOWS) best = vmax(best, score(window));
        for (int l = 0; l < W; ++l) threshold[l] = segment.threshold[(int64_t)tested[l]];
        return (best > threshold) & fresh & ~alarm;
    }

    // The largest normal score of what a window added to an output; minus infinity where none can be
    // tested.
    V score(int window) const {
        const int from = (newest + MEMORY - window) % MEMORY;
        V earlier = splat(0.0), best = splat(-__builtin_inf());
        for (int o = 0; o < O; ++o) earlier += past_count[from][o];
        for (int o = 0; o < O; ++o) {
            const V number = past_count[newest][o] - past_count[from][o];
            const V excess = (past_squares[newest][o] - past_squares[from][o]) * unit[from][o];
            const M usable = (number > splat(0.0)) & (earlier >= splat(segment.fewest)) &
                             (past_freedom[from][o] >= splat(segment.least_freedom));
            const V total = vmax(number, splat(1.0)), ratio = vmax(excess / total, splat(0.0));
            const V nu = (2.0 / 9.0) / vmax(past_freedom[from][o], splat(1.0));
            const V few = (2.0 / 9.0) / total;
            V root;
            for (int l = 0; l < W; ++l) root[l] = usable[l] ? __builtin_cbrt(ratio[l]) : 0.0;
            const V found = ((1.0 - nu) * root - (1.0 - few)) / vsqrt(nu * root * root + few);
            best = vmax(best, select(usable, found, splat(-__builtin_inf())));
        }
        return best;
    }
};

// Run a task for all groups of n records.
template <class TASK>
void each_group(int64_t n, const int64_t *rows, const int64_t *places, const Segment &segment,
                const State &state, const Known &known, int64_t threads, const TASK &task) {
    const int64_t groups = (n + W - 1) / W;
    const int used = groups < threads ? (int)groups : (int)threads;
    (void)used;
#pragma omp parallel for schedule(static) num_threads(used)
    for (int64_t g = 0; g < groups; ++g) {
        Group group(segment, state, known);
        group.begin(rows + g * W, places + g * W, n - g * W);
        task(group, g * W);
    }
}

}  // namespace

#define RECORDS                                                                               \
    int64_t n, const int64_t *rows, const int64_t *places, const Segment *segment,            \
        const State *state, const Known *known, int64_t threads

// Advance n records sample by sample; `stop` becomes the sample at which each came into doubt.
extern "C" void segment_walk(RECORDS, int64_t *stop) {
    each_group(n, rows, places, *segment, *state, *known, threads,
               [=](Group &group, int64_t first) { group.walk(stop + first); });
}

// Sum up the segment of n records anew, with `rounds` alternations of estimate and level.
extern "C" void segment_sum_up(RECORDS, int64_t rounds) {
    each_group(n, rows, places, *segment, *state, *known, threads,
               [=](Group &group, int64_t) { group.sum_up((int)rounds); });
}

// Write what is known of n records at the first sample of the segment.
extern "C" void segment_write(RECORDS, int64_t) {
    each_group(n, rows, places, *segment, *state, *known, threads,
               [](Group &group, int64_t) { group.write_first(); });
}
