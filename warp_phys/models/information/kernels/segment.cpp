// The information recurrence over a segment of samples between two marks, W records at a time.
//
// Included after `symmetric.cpp`, with the constants D (unknowns) and O (outputs). Formulas and
// names are those of `running.py`, `correction.py` and `innovations.py`, whose results it repeats
// to rounding errors. A record stops at the sample at which it becomes suspect.

namespace {

// Samples back to which the test looks, and the memory of the test.
constexpr int WINDOWS[] = {1, 2, 4, 8, 16}, MEMORY = 17;
constexpr int ROUNDS = 6;         // Newton's steps for a level
constexpr double LONGEST = 1.5;   // and the longest of them

enum Kind : int32_t { EACH, COMMON, KNOWN };

struct Segment {
    int64_t length;                // T, samples of the arrays
    int64_t first, last;           // the segment, `last` excluded
    int64_t marked;                // whether a mark follows, which tests the last sample itself
    int64_t kind, fewest;
    double usual_level;            // share of the data's size
    const double *level, *spread;  // (O,), prior of the logarithms of the levels; NaN if it follows
                                   // from the data
    const double *threshold;       // normal score that is improbable, by the number of tests
    const double *residual, *jacobian, *size;  // (N, T, O), (N, T, O, D), (N, T, O)
};

// The hidden state, see `Running`.
struct State {
    const double *point;
    const double *base_mean, *base_precision, *base_squares, *base_count;
    double *hessian, *gradient, *sum, *count;
    double *delta, *covariance, *squares, *log_level, *freedom, *decrement;
    double *size;
    const bool *corrected;
    const double *precision, *shift, *excess;
    double *past_squares, *past_count, *past_level, *past_freedom;
    int64_t *tested;
    bool *suspect;
    const bool *alarm;
    int64_t *since;
};

// What is known at every sample, see `Track`. `moved` is the change of the predictions.
struct Known {
    double *mean, *covariance, *freedom, *log_level, *level_freedom, *moved;
    bool *described;
};

// Copies between lanes and arrays of `size` numbers a record.
struct Rows {
    int64_t row[W];

    void load(const double *from, int size, V *to) const {
        for (int l = 0; l < W; ++l)
            for (int i = 0; i < size; ++i) to[i][l] = from[row[l] * size + i];
    }
    void load_symmetric(const double *from, int64_t step, V *to) const {
        for (int l = 0; l < W; ++l)
            for (int i = 0; i < D; ++i)
                for (int j = 0; j <= i; ++j) to[place(i, j)][l] = from[row[l] * step + i * D + j];
    }
};

inline void save(double *to, int size, const V *from, int l) {
    for (int i = 0; i < size; ++i) to[i] = from[i][l];
}
inline void save_symmetric(double *to, const V *from, int l) {
    for (int i = 0; i < D; ++i)
        for (int j = 0; j <= i; ++j) to[i * D + j] = to[j * D + i] = from[place(i, j)][l];
}

struct Group : Rows {
    const Segment &segment;
    const State &state;
    const Known &known;
    M going;
    V point[D], base[K], base_vector[D], base_squares[O], base_count[O];
    V hessian[O][K], gradient[O][D], sum[O], count[O], size[O];
    V delta[D], covariance[K], squares[O], log_level[O], freedom[O], decrement;
    bool any_corrected;
    M corrected, alarm;
    V precision[K], shift[D], excess[K];
    // Rings of the last samples, of which `newest` is the last one; `unit` is exp(-2 log level).
    V past_squares[MEMORY][O], past_count[MEMORY][O], past_level[MEMORY][O],
        past_freedom[MEMORY][O], unit[MEMORY][O];
    int newest;
    V tested;

    Group(const Segment &a, const State &b, const Known &c) : segment(a), state(b), known(c) {}

    void run(const int64_t *rows, int64_t left, int64_t *stop) {
        for (int l = 0; l < W; ++l) {
            row[l] = rows[l < left ? l : left - 1];
            going[l] = l < left ? -1 : 0;
        }
        load_state();
        for (int64_t t = segment.first; t < segment.last; ++t) {
            const M suspect = step(t);
            const bool tests = !(segment.marked && t + 1 == segment.last);
            bool some = false;
            for (int l = 0; l < W; ++l) {
                const bool ends = t + 1 == segment.last, stops = tests && suspect[l];
                if (going[l] && (ends || stops)) {
                    save_state(l, t + 1 - segment.first, stops);
                    stop[l] = stops ? t : segment.last;
                    going[l] = 0;
                }
                some |= going[l] != 0;
            }
            if (!some) return;
        }
    }

    void load_state() {
        const State &s = state;
        V mean[D];
        load(s.point, D, point);
        load(s.base_mean, D, mean);
        load_symmetric(s.base_precision, D * D, base);
        for (int i = 0; i < D; ++i) mean[i] -= point[i];
        times(base, mean, base_vector);
        load(s.base_squares, O, base_squares);
        load(s.base_count, O, base_count);
        for (int o = 0; o < O; ++o) load_symmetric(s.hessian + o * D * D, O * D * D, hessian[o]);
        load(s.gradient, O * D, gradient[0]);
        load(s.sum, O, sum);
        load(s.count, O, count);
        load(s.size, O, size);
        load(s.log_level, O, log_level);
        load(s.freedom, O, freedom);
        load(s.shift, D, shift);
        load_symmetric(s.precision, D * D, precision);
        load_symmetric(s.excess, D * D, excess);
        load(s.past_squares, MEMORY * O, past_squares[0]);
        load(s.past_count, MEMORY * O, past_count[0]);
        load(s.past_level, MEMORY * O, past_level[0]);
        load(s.past_freedom, MEMORY * O, past_freedom[0]);
        for (int m = 0; m < MEMORY; ++m)
            for (int o = 0; o < O; ++o) unit[m][o] = exponential(-2.0 * past_level[m][o]);
        newest = MEMORY - 1;
        any_corrected = false;
        for (int l = 0; l < W; ++l) {
            tested[l] = s.tested[row[l]];
            alarm[l] = s.alarm[row[l]] ? -1 : 0;
            corrected[l] = s.corrected[row[l]] ? -1 : 0;
            any_corrected |= s.corrected[row[l]];
        }
    }

    void save_state(int l, int64_t steps, bool suspect) const {
        const State &s = state;
        const int64_t n = row[l];
        for (int o = 0; o < O; ++o) save_symmetric(s.hessian + (n * O + o) * D * D, hessian[o], l);
        save(s.gradient + n * O * D, O * D, gradient[0], l);
        save(s.sum + n * O, O, sum, l);
        save(s.count + n * O, O, count, l);
        save(s.size + n * O, O, size, l);
        save(s.delta + n * D, D, delta, l);
        save_symmetric(s.covariance + n * D * D, covariance, l);
        save(s.squares + n * O, O, squares, l);
        save(s.log_level + n * O, O, log_level, l);
        save(s.freedom + n * O, O, freedom, l);
        s.decrement[n] = decrement[l];
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

    void add(int64_t t, V (&jacobian)[O][D]) {
        V residual[O], reference[O];
        for (int l = 0; l < W; ++l) {
            const int64_t at = (row[l] * segment.length + t) * O;
            for (int o = 0; o < O; ++o) {
                residual[o][l] = segment.residual[at + o];
                reference[o][l] = segment.size[at + o];
                for (int d = 0; d < D; ++d)
                    jacobian[o][d][l] = segment.jacobian[(at + o) * D + d];
            }
        }
        for (int o = 0; o < O; ++o) {
            const M seen = finite(residual[o]);
            const V r = select(seen, residual[o], splat(0.0));
            V slope[D];
            for (int d = 0; d < D; ++d) slope[d] = select(seen, jacobian[o][d], splat(0.0));
            for (int i = 0; i < D; ++i) {
                gradient[o][i] += slope[i] * r;
                for (int j = 0; j <= i; ++j) hessian[o][place(i, j)] += slope[i] * slope[j];
            }
            sum[o] += r * r;
            count[o] += select(seen, splat(1.0), splat(0.0));
            size[o] += select(seen, reference[o] * reference[o], splat(0.0));
        }
    }

    void solve() {
        V vector[D], pulled[D], spread[O];
        for (int j = 0; j < K; ++j) covariance[j] = base[j];
        for (int i = 0; i < D; ++i) vector[i] = base_vector[i];
        for (int o = 0; o < O; ++o) {
            const V weight = exponential(-2.0 * log_level[o]);
            for (int j = 0; j < K; ++j) covariance[j] += weight * hessian[o][j];
            for (int i = 0; i < D; ++i) vector[i] += weight * gradient[o][i];
        }
        invert_scaled(covariance);
        times(covariance, vector, delta);
        decrement = dot(delta, vector);
        for (int o = 0; o < O; ++o) {
            times(hessian[o], delta, pulled);
            spread[o] = splat(0.0);
            for (int i = 0; i < D; ++i) {
                pulled[i] -= 2.0 * gradient[o][i];
                for (int j = 0; j <= i; ++j) {
                    const V product = hessian[o][place(i, j)] * covariance[place(i, j)];
                    spread[o] += i == j ? product : 2.0 * product;
                }
            }
            squares[o] = base_squares[o] + vmax(sum[o] + dot(pulled, delta), splat(0.0));
        }
        if (segment.kind == EACH)
            for (int o = 0; o < O; ++o)
                level(squares[o], spread[o], base_count[o] + count[o], center(o), segment.spread[o],
                      log_level[o], freedom[o]);
        else if (segment.kind == COMMON)
            common_level(spread);
    }

    // The center of the prior of log s, see `Prior.level_center`.
    V center(int o) const {
        if (segment.level[o] == segment.level[o]) return splat(segment.level[o]);
        const V typical = vsqrt(size[o] / vmax(base_count[o] + count[o], splat(1.0)));
        return vlog(segment.usual_level * select(typical > splat(0.0), typical, splat(1.0)));
    }

    void common_level(const V *spread) {
        V all = squares[0], spreads = spread[0], number = base_count[0] + count[0], middle = center(0);
        for (int o = 1; o < O; ++o) {
            all += squares[o], spreads += spread[o], number += base_count[o] + count[o];
            middle = vmax(middle, center(o));
        }
        level(all, spreads, number, middle, segment.spread[0], log_level[0], freedom[0]);
        for (int o = 1; o < O; ++o) log_level[o] = log_level[0], freedom[o] = freedom[0];
    }

    // See `likelihood/level_posterior.py`.
    static void level(V squares, V spread, V count, V center, double width, V &level, V &freedom) {
        const double pull = 1.0 / (width * width);
        const V all = squares + spread;
        V raw = 0.5 * vlog(vmax(all / vmax(count, splat(1.0)), splat(__DBL_MIN__)));
        raw = vmax(raw, center - 10.0 * width);
        level = (2.0 * count * raw + pull * center) / (2.0 * count + pull);
        for (int round = 0; round < ROUNDS; ++round) {
            const V excess = all * exponential(-2.0 * level);
            const V slope = count - excess + pull * (level - center);
            const V change = slope / (2.0 * excess + pull);
            level -= vmin(vmax(change, splat(-LONGEST)), splat(LONGEST));
        }
        freedom = squares * exponential(-2.0 * level) + 0.5 * pull;
    }

    // Degrees of freedom of the unknowns, see `Recurrence.freedom`.
    void freedoms(V *found) const {
        if (segment.kind == KNOWN) {
            for (int d = 0; d < D; ++d) found[d] = splat(__builtin_inf());
            return;
        }
        V total[D], shares[D];
        for (int d = 0; d < D; ++d) total[d] = shares[d] = splat(0.0);
        for (int o = 0; o < O; ++o) {
            const V weight = exponential(-2.0 * log_level[o]);
            for (int d = 0; d < D; ++d) {
                V row[D], product[D];
                for (int e = 0; e < D; ++e) row[e] = covariance[place(d, e)];
                times(hessian[o], row, product);
                const V share = dot(product, row) * weight / covariance[place(d, d)];
                shares[d] += share;
                total[d] += share * share / freedom[o];
            }
        }
        for (int d = 0; d < D; ++d) {
            const V sum = segment.kind == COMMON ? shares[d] * shares[d] / freedom[0] : total[d];
            found[d] = 1.0 / vmax(sum, splat(1e-12));
        }
    }

    // Mean and covariance as `Correction.applied` makes them, with the gain G = C P.
    void correct(V *mean, V *spread) const {
        V gain[D][D], half[D][D], moved;
        for (int i = 0; i < D; ++i) {
            V row[D];
            for (int j = 0; j < D; ++j) row[j] = covariance[place(i, j)];
            times(precision, row, gain[i]);
            times(excess, gain[i], half[i]);
            moved = delta[i] + dot(gain[i], shift);
            mean[i] = select(corrected, moved, delta[i]);
        }
        for (int i = 0; i < D; ++i)
            for (int j = 0; j <= i; ++j) {
                const V old = covariance[place(i, j)];
                spread[place(i, j)] = select(corrected, old + dot(half[i], gain[j]), old);
            }
    }

    void write(int64_t t, const V (&jacobian)[O][D]) const {
        V mean[D], spread[K], nu[D], moved[O];
        for (int d = 0; d < D; ++d) mean[d] = delta[d];
        for (int j = 0; j < K; ++j) spread[j] = covariance[j];
        if (any_corrected) correct(mean, spread);
        freedoms(nu);
        for (int d = 0; d < D; ++d) mean[d] += point[d];
        for (int o = 0; o < O; ++o) moved[o] = dot(jacobian[o], delta);
        for (int l = 0; l < W; ++l) {
            if (!going[l]) continue;
            const int64_t at = row[l] * segment.length + t;
            save(known.mean + at * D, D, mean, l);
            save_symmetric(known.covariance + at * D * D, spread, l);
            save(known.freedom + at * D, D, nu, l);
            save(known.log_level + at * O, O, log_level, l);
            save(known.level_freedom + at * O, O, freedom, l);
            save(known.moved + at * O, O, moved, l);
            known.described[at] = !alarm[l];
        }
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

    // The normal score of what a window added; minus infinity where it cannot be tested.
    V score(int window) const {
        const int from = (newest + MEMORY - window) % MEMORY;
        V number = splat(0.0), earlier = splat(0.0), excess = splat(0.0), spread = splat(0.0);
        for (int o = 0; o < O; ++o) {
            number += past_count[newest][o] - past_count[from][o];
            earlier += past_count[from][o];
            excess += (past_squares[newest][o] - past_squares[from][o]) * unit[from][o];
        }
        const M usable = (number > splat(0.0)) & (earlier >= splat(segment.fewest));
        const V total = vmax(number, splat(1.0)), ratio = vmax(excess / total, splat(0.0));
        for (int o = 0; o < O; ++o) {
            const V share = (past_count[newest][o] - past_count[from][o]) / total;
            spread += share * share / vmax(past_freedom[from][o], splat(1.0));
        }
        const V nu = (2.0 / 9.0) * spread, few = (2.0 / 9.0) / total;
        V root;
        for (int l = 0; l < W; ++l) root[l] = usable[l] ? __builtin_cbrt(ratio[l]) : 0.0;
        const V found = ((1.0 - nu) * root - (1.0 - few)) / vsqrt(nu * root * root + few);
        return select(usable, found, splat(-__builtin_inf()));
    }
};

}  // namespace

extern "C" void walk(int64_t n, const int64_t *rows, const Segment *segment, const State *state,
                     const Known *known, int64_t *stop, int64_t threads) {
    const int64_t groups = (n + W - 1) / W;
    const int used = groups < threads ? (int)groups : (int)threads;
    (void)used;
#pragma omp parallel for schedule(static) num_threads(used)
    for (int64_t g = 0; g < groups; ++g) {
        Group group(*segment, *state, *known);
        group.run(rows + g * W, n - g * W, stop + g * W);
    }
}
