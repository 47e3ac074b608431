// What is known about the unknowns of W records, given running sums over their samples.
//
// Included after `layout.cpp`. Formulas and names are those of `running.py` and `correction.py`,
// whose results it repeats to rounding errors.

namespace {

constexpr double FLOOR = 1e-6;               // see `running.py`
constexpr int ROUNDS = 6;                    // see `likelihood/level_posterior.py`
constexpr double LONGEST = 1.5, FAR = 2.0;   // likewise

struct Belief : Rows {
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
    Belief(const Segment &a, const State &b, const Known &c) : segment(a), state(b), known(c) {}

    void begin(const int64_t *rows, const int64_t *places, int64_t left) {
        // The last vector may have fewer records than lanes: the others repeat the last one.
        for (int l = 0; l < W; ++l) {
            row[l] = rows[l < left ? l : left - 1];
            of_state[l] = places[l < left ? l : left - 1];
            going[l] = l < left ? -1 : 0;
        }
        load_belief();
    }

    // Sums over all samples of the segment, and what follows from them.
    void sum_up(int rounds) {
        V jacobian[O][D], sizes[O];
        for (int o = 0; o < O; ++o) {
            for (int j = 0; j < K; ++j) hessian[o][j] = splat(0.0);
            for (int d = 0; d < D; ++d) gradient[o][d] = splat(0.0);
            sum[o] = count[o] = splat(0.0);
            sizes[o] = size[o];
        }
        for (int64_t t = segment.first; t < segment.last; ++t) add(t, jacobian);
        for (int o = 0; o < O; ++o) size[o] = sizes[o];  // which contains these samples already
        for (int round = 0; round < rounds; ++round) solve();
        for (int l = 0; l < W; ++l)
            if (going[l]) save_belief(l);
    }

    void write_first() {
        V jacobian[O][D];
        for (int l = 0; l < W; ++l) {
            const double *from = segment.jacobian + (row[l] * segment.length + segment.first) * O * D;
            for (int i = 0; i < O * D; ++i) jacobian[0][i][l] = from[i];
        }
        load(state.delta, D, delta);
        load_symmetric(state.covariance, D * D, covariance);
        write(segment.first, jacobian);
    }

    void load_belief() {
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
        any_corrected = false;
        for (int l = 0; l < W; ++l) {
            alarm[l] = s.alarm[of_state[l]] ? -1 : 0;
            corrected[l] = s.corrected[of_state[l]] ? -1 : 0;
            any_corrected |= s.corrected[of_state[l]];
        }
        if (!any_corrected) return;
        load(s.shift, D, shift);
        load_symmetric(s.precision, D * D, precision);
        load_symmetric(s.excess, D * D, excess);
    }

    void save_belief(int l) const {
        const State &s = state;
        const int64_t n = of_state[l];
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
        V vector[D], pulled[D], spread[O], floored[O];
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
            floored[o] = squares[o] + FLOOR * FLOOR * sized(o);
        }
        if (segment.kind == EACH)
            for (int o = 0; o < O; ++o)
                level(floored[o], spread[o], base_count[o] + count[o], center(o), segment.spread[o],
                      log_level[o], freedom[o]);
        else if (segment.kind == COMMON)
            common_level(floored, spread);
    }

    // Sum of squared sizes of the values; their number where all are zero.
    V sized(int o) const {
        return select(size[o] > splat(0.0), size[o], base_count[o] + count[o]);
    }

    // The center of the prior of log s, see `Prior.level_center`.
    V center(int o) const {
        if (segment.level[o] == segment.level[o]) return splat(segment.level[o]);
        const V typical = vsqrt(sized(o) / vmax(base_count[o] + count[o], splat(1.0)));
        return vlog(segment.usual_level * select(typical > splat(0.0), typical, splat(1.0)));
    }

    void common_level(const V *floored, const V *spread) {
        V all = floored[0], spreads = spread[0], number = base_count[0] + count[0], middle = center(0);
        for (int o = 1; o < O; ++o) {
            all += floored[o], spreads += spread[o], number += base_count[o] + count[o];
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
        raw = vmax(raw, center - count / pull);
        level = (2.0 * count * raw + pull * center) / (2.0 * count + pull);
        for (int round = 0; round < ROUNDS; ++round) {
            const V excess = all * exponential(-2.0 * level);
            const V wanted = count + pull * (level - center);
            V step = (excess - wanted) / (2.0 * excess + pull);
            step = vmin(vmax(step, splat(-LONGEST)), splat(LONGEST));
            const M far = (excess > FAR * wanted) & (wanted > splat(0.0));
            bool some = false;
            for (int l = 0; l < W; ++l) some |= far[l] != 0;
            if (some) {
                const V longer = vlog(excess / wanted) / (2.0 + pull / wanted);
                step = select(far, vmax(step, longer), step);
            }
            level += step;
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

};

}  // namespace
