// Planned steps: a step policy for one problem that is solved again and again with other
// parameters. Continues `samples.cpp` and a method.
//
// Each interval between two samples is divided into equal steps, whose number is kept from call to
// call. With fixed steps the discrete solution, and a sum of squares over it, is a smooth function
// of the parameters, and the derivatives carried along are its exact derivatives: a minimizer
// converges as if there were no integration (internal differentiation, H. G. Bock, in Modelling of
// Chemical Reaction Systems, Springer 1981, p. 102). The number changes only if the error requires
// it.

namespace {

struct PlanControl {
    double rtol;
    int64_t max_steps;
};

// A count grows by a little more than the error asks for, within bounds, see `next_count`. An
// interval whose error is not finite with HOPELESS steps counts as diverged.
constexpr double SAFETY = 1.15;
constexpr int MOST_IN_INTERVAL = 1 << 16, HOPELESS = 4096;
// Share of a state's largest value so far that is added to its size: the tolerance where it is
// zero.
constexpr double FLOOR = 1e-2;

// Steps for an interval whose `count` steps made `error` (1 is the tolerance). The local error of a
// method with an estimate of order q decreases as count^-(q + 1). The count is halved only if the
// error would then still be at most a quarter: it stays the same while a fit converges.
template <int ERROR_ORDER> inline int32_t next_count(int32_t count, double error) {
    constexpr double SLACK = 1.0 / (1 << (ERROR_ORDER + 3));
    if (error <= SLACK && count > 1) return count / 2;
    if (error <= 1.0) return count;
    double factor =
        error < __builtin_inf() ? SAFETY * __builtin_pow(error, 1.0 / (ERROR_ORDER + 1)) : 4.0;
    factor = factor > 8.0 ? 8.0 : factor;
    const double wanted = __builtin_ceil(count * factor);
    return wanted > MOST_IN_INTERVAL ? MOST_IN_INTERVAL : (int32_t)wanted;
}

template <template <int> class METHOD, int ROWS> struct Planned {
    Walk<ROWS> &walk;
    const PlanControl &options;
    Position<ROWS> &lanes;
    V f[ROWS];          // derivative at (t, y)
    V greatest[S];      // largest absolute values of the states so far
    METHOD<ROWS> step;

    Planned(Walk<ROWS> &one, const PlanControl &two) : walk(one), options(two), lanes(one.lanes) {}

    void begin() {
        V first;
        for (int l = 0; l < W; ++l) first[l] = walk.time_of(l, 0);
        slope_at<ROWS>(lanes.t, lanes.y, lanes.p, walk.drive_to(0, first), f);
        for (int i = 0; i < S; ++i) {
            greatest[i] = vabs(lanes.y[i]);
            const M sound = both(finite(f[i]), finite(lanes.y[i]));
            for (int l = 0; l < W; ++l)
                if (!sound[l]) give_up(l, DIVERGED);  // no number of steps helps here
        }
    }

    void jumped(M, V) {}  // `advance` evaluates the derivative again

    void give_up(int l, Status status) {
        lanes.running[l] = false;
        lanes.status[l] = status;
    }

    // Integrate to `end` in as many equal steps as keep the error of every step within its
    // tolerance.
    void advance(int64_t sample, V end, const bool *moving) {
        const InputPiece drive = walk.drive_to(sample, end);
        // After a jump of an input or a state, the derivative at the end of the last step is not
        // the one needed here.
        if (ANY_HELD || walk.samples.jumps) slope_at<ROWS>(lanes.t, lanes.y, lanes.p, drive, f);
        V y_before[ROWS], f_before[ROWS], greatest_before[S];
        for (int i = 0; i < ROWS; ++i) y_before[i] = lanes.y[i], f_before[i] = f[i];
        for (int i = 0; i < S; ++i) greatest_before[i] = greatest[i];
        int32_t count[W], settled[W];
        for (int l = 0; l < W; ++l) {
            const int32_t planned = walk.route.plan[lanes.id[l] * walk.samples.n_times + sample];
            count[l] = settled[l] = moving[l] ? (planned > 0 ? planned : 1) : 0;
        }
        while (again(march(end, drive, count), moving, count, settled)) {
            for (int i = 0; i < ROWS; ++i) lanes.y[i] = y_before[i], f[i] = f_before[i];
            for (int i = 0; i < S; ++i) greatest[i] = greatest_before[i];
        }
        for (int l = 0; l < W; ++l) {
            if (!moving[l]) continue;
            lanes.steps[l] += count[l];
            if (lanes.running[l])
                walk.route.plan[lanes.id[l] * walk.samples.n_times + sample] = settled[l];
        }
    }

    // Whether some lane needs more steps in this interval. `count` becomes the number for the next
    // try, `settled` the number to keep for the next call.
    bool again(V error, const bool *moving, int32_t *count, int32_t *settled) {
        bool some = false;
        for (int l = 0; l < W; ++l) {
            if (!moving[l] || !lanes.running[l]) continue;
            settled[l] = next_count<METHOD<ROWS>::ERROR_ORDER>(count[l], error[l]);
            if (error[l] <= 1.0) continue;
            const bool defined = error[l] < __builtin_inf();
            // Give up: the count cannot grow, the step limit is reached, or the states stay
            // infinite.
            if (settled[l] <= count[l] || lanes.steps[l] + settled[l] > options.max_steps ||
                (!defined && count[l] >= HOPELESS)) {
                give_up(l, defined ? TOO_MANY_STEPS : DIVERGED);
                count[l] = 0;
                continue;
            }
            count[l] = settled[l];
            some = true;
        }
        return some;
    }

    // Take `count` steps to `end`; returns the largest error norm of a step. Lanes with fewer steps
    // wait at the end with steps of length zero.
    V march(V end, const InputPiece &drive, const int32_t *count) {
        int32_t most = 0;
        V h = splat(0.0), worst = splat(0.0);
        for (int l = 0; l < W; ++l) {
            if (count[l] > 0) h[l] = (end[l] - lanes.t[l]) / count[l];
            most = count[l] > most ? count[l] : most;
        }
        for (int32_t q = 0; q < most; ++q) {
            M going = {};
            for (int l = 0; l < W; ++l) going[l] = q < count[l] ? -1 : 0;
            const V size = select(going, h, splat(0.0));
            // t + q h, as rounding errors of a running sum would add up.
            step.attempt(lanes.t + (double)q * h, size, lanes.y, f, lanes.p, drive);
            worst = larger(select(going, measure(going), splat(0.0)), worst);
            for (int i = 0; i < ROWS; ++i) {
                lanes.y[i] = select(going, step.y[i], lanes.y[i]);
                f[i] = select(going, step.slope()[i], f[i]);
            }
        }
        return worst;
    }

    // The largest ratio of a state's local error to rtol (|y_i| + FLOOR max_t |y_i|); updates
    // `greatest`.
    V measure(M going) {
        V worst = splat(0.0);
        for (int i = 0; i < S; ++i) {
            const V error = vabs(step.template error<0>(i));
            const V size = larger(vabs(lanes.y[i]), vabs(step.y[i]));
            const V most = larger(size, greatest[i]);
            const V ratio = error / (options.rtol * (size + FLOOR * most));
            greatest[i] = select(going, most, greatest[i]);
            // 0 / 0 is no error; a ratio that is not finite is an infinite error.
            V checked = select(error == splat(0.0), splat(0.0), ratio);
            checked = select(both(finite(step.y[i]), finite(checked)), checked, splat(__builtin_inf()));
            worst = larger(checked, worst);
        }
        return worst;
    }
};

}  // namespace
