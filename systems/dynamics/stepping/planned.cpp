// Planned steps: a step policy for one problem that is solved again and again with other
// parameters. Continues `samples.cpp` and a method.
//
// Each interval between two samples is divided into steps, which are kept from call to call: equal
// ones if few suffice, otherwise graded ones, which were once adapted to the error. With fixed
// steps the discrete solution, and a sum of squares over it, is a smooth function of the
// parameters, and the derivatives carried along are its exact derivatives: a minimizer converges as
// if there were no integration (internal differentiation, H. G. Bock, in Modelling of Chemical
// Reaction Systems, Springer 1981, p. 102). The steps change only if the error requires it.

#include <vector>

namespace {

struct PlanControl {
    double rtol;
    double range;        // largest ratio of a state's largest value to the present one that counts
    int64_t max_steps;
};

// A count grows by a little more than the error asks for, within bounds, see `next_count`.
constexpr double SAFETY = 1.15;
// Graded steps aim at a third of the tolerated error and are accepted at this share of it, so that
// they are still tolerated while the parameters move a little.
constexpr double GRADED_SAFETY = 0.8, GRADED_SHARE = 0.7;
// A lane is stiff after STIFF_COUNT graded steps that stability limits, see `step_control.py`.
constexpr int STIFF_AFTER = 100, STIFF_COUNT = 50;
// Share of an interval below which the length of a step is negligible.
constexpr double NEGLIGIBLE = 1e-6;
// Share of the largest state by which the tolerance of a state that starts at zero is bounded from
// below: in the first call, in which the size that it will reach is not known, and afterwards.
constexpr double UNKNOWN_SIZE = 1e-4, KNOWN_SIZE = 1e-12;
// Share of a state's largest value that is added to its size: the tolerance where it is zero. The
// rounding of the sums of a step is that of the largest value, of which LEAST_FLOOR remains.
constexpr double FLOOR = 1e-2, LEAST_FLOOR = 1e-12;

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
    return (int32_t)__builtin_ceil(count * factor);
}

template <template <int> class METHOD, int ROWS> struct Planned {
    static constexpr int ERROR_ORDER = METHOD<ROWS>::ERROR_ORDER;
    static constexpr bool EXPLICIT = METHOD<ROWS>::STABILITY < __builtin_inf();
    // More equal steps than these are replaced by graded ones. Implicit steps are for problems with
    // layers, where equal steps are a waste.
    static constexpr int MOST_EQUAL = EXPLICIT ? 64 : 2;

    Walk<ROWS> &walk;
    const PlanControl &options;
    Position<ROWS> &lanes;
    V f[ROWS];          // derivative at (t, y)
    V greatest[S];      // largest absolute values of the states so far
    V expected[S];      // those of the whole record in the last call, zero where there was none
    V unknown;          // UNKNOWN_SIZE or KNOWN_SIZE
    V pace;             // the last graded step size; zero if there is none
    int tries[W], pressed[W];
    METHOD<ROWS> step;
    Switching<ROWS> switches;
    M side[ROOM_K] = {};         // the comparisons of the right-hand side
    M crossing;                  // lanes in which one of them changes in the interval

    Planned(Walk<ROWS> &one, const PlanControl &two)
        : walk(one), options(two), lanes(one.lanes), switches(one.lanes.y, one.lanes.p) {}

    void begin() {
        V first;
        for (int l = 0; l < W; ++l) {
            first[l] = walk.time_of(l, 0);
            const double *sizes = walk.route.sizes + lanes.id[l] * S;
            unknown[l] = sizes[0] >= 0.0 ? KNOWN_SIZE : UNKNOWN_SIZE;
            for (int i = 0; i < S; ++i) expected[i][l] = sizes[i] > 0.0 ? sizes[i] : 0.0;
            tries[l] = pressed[l] = 0;
        }
        pace = splat(0.0);
        InputPiece drive = walk.drive_to(0, first);
        if constexpr (HOLDS_SWITCHES) {
            switches.events.begin(lanes.t, drive, first - lanes.t, ~M());
            for (int k = 0; k < N_SWITCHES; ++k) side[k] = drive.side[k];
            end_endless();
        }
        slope_at<ROWS>(lanes.t, lanes.y, lanes.p, drive, f);
        for (int i = 0; i < S; ++i) {
            greatest[i] = vabs(lanes.y[i]);
            const M sound = both(finite(f[i]), finite(lanes.y[i]));
            for (int l = 0; l < W; ++l)
                if (!sound[l]) give_up(l, DIVERGED);  // no number of steps helps here
        }
    }

    // What happens at a sample: comparisons and events that a dose or an input changes, or that
    // stand on zero. `advance` evaluates the derivative again.
    void arrived(int64_t sample, M, const bool *here) {
        if constexpr (HOLDS_SWITCHES) {
            M where = {};
            for (int l = 0; l < W; ++l) where[l] = here[l] && lanes.running[l] ? -1 : 0;
            const V next = walk.when(sample + 1);
            InputPiece drive = walk.drive_to(sample + 1, next);
            for (int k = 0; k < N_SWITCHES; ++k) drive.side[k] = side[k];
            switches.events.settle(lanes.t, drive, next - lanes.t, where, M());
            for (int k = 0; k < N_SWITCHES; ++k) side[k] = drive.side[k];
            end_endless();
        }
    }

    void end_endless() {
        for (int l = 0; l < W; ++l)
            if (lanes.running[l] && switches.events.endless[l]) give_up(l, TOO_MANY_EVENTS);
    }

    // Keep the sizes of the states for the next call.
    void finish() {
        for (int l = 0; l < W; ++l)
            for (int i = 0; lanes.running[l] && i < S; ++i)
                walk.route.sizes[lanes.id[l] * S + i] = greatest[i][l];
    }

    void give_up(int l, Status status) {
        lanes.running[l] = false;
        lanes.status[l] = status;
    }

    int64_t place(int l, int64_t sample) const {
        return lanes.id[l] * walk.samples.n_times + sample;
    }

    // A point on the way, to which an interval returns where its steps are repeated.
    struct Point {
        V y[ROWS], f[ROWS], greatest[S];
    };
    void save(Point &at) const {
        for (int i = 0; i < ROWS; ++i) at.y[i] = lanes.y[i], at.f[i] = f[i];
        for (int i = 0; i < S; ++i) at.greatest[i] = greatest[i];
    }
    void restore(const Point &at, M where) {
        for (int i = 0; i < ROWS; ++i) {
            lanes.y[i] = select(where, at.y[i], lanes.y[i]);
            f[i] = select(where, at.f[i], f[i]);
        }
        for (int i = 0; i < S; ++i) greatest[i] = select(where, at.greatest[i], greatest[i]);
    }

    // Integrate to `end` in steps that keep the error of every one within its tolerance.
    void advance(int64_t sample, V end, const bool *moving) {
        InputPiece drive = walk.drive_to(sample, end);
        for (int k = 0; k < N_SWITCHES; ++k) drive.side[k] = side[k];
        // After a jump of an input or a state, the derivative at the end of the last step is not
        // the one needed here.
        if (HOLDS_SWITCHES || ANY_HELD || walk.samples.jumps)
            slope_at<ROWS>(lanes.t, lanes.y, lanes.p, drive, f);
        Point before;
        save(before);
        int32_t count[W], settled[W];
        const double *ends[W];
        bool adapt[W] = {}, some = false;
        for (int l = 0; l < W; ++l) {
            const int32_t planned = walk.route.plan[place(l, sample)];
            ends[l] = planned < 0 ? walk.route.ends[place(l, sample)] : nullptr;
            const int32_t steps = planned < 0 ? -planned : planned > 0 ? planned : 1;
            count[l] = settled[l] = moving[l] ? steps : 0;
        }
        while (again(march(end, drive, count, ends), moving, count, settled, ends, adapt))
            restore(before, ~M());
        for (int l = 0; l < W; ++l) some = some || adapt[l];
        if (some) grade(sample, end, drive, before, adapt, count);
        for (int l = 0; l < W; ++l) {
            if (!moving[l]) continue;
            lanes.steps[l] += count[l];
            if (lanes.running[l] && !adapt[l]) keep(l, sample, settled[l], ends[l]);
        }
    }

    void keep(int l, int64_t sample, int32_t steps, const double *ends) {
        int32_t &plan = walk.route.plan[place(l, sample)];
        // Graded steps that have become much too small are made anew in the next call.
        if (!ends || steps < -plan) drop(l, sample), plan = ends ? 1 : steps;
    }

    void drop(int l, int64_t sample) {
        delete[] walk.route.ends[place(l, sample)];
        walk.route.ends[place(l, sample)] = nullptr;
    }

    // Whether some lane needs more equal steps in this interval. `count` becomes the number for the
    // next try, `settled` the number to keep for the next call; lanes that need graded steps are
    // marked in `adapt` and wait.
    bool again(V error, const bool *moving, int32_t *count, int32_t *settled, const double **ends,
               bool *adapt) {
        bool some = false;
        for (int l = 0; l < W; ++l) {
            if (!moving[l] || !lanes.running[l] || adapt[l]) continue;
            settled[l] = next_count<ERROR_ORDER>(count[l], error[l]);
            const bool crosses = HOLDS_SWITCHES && crossing[l];
            if (error[l] <= 1.0 && !crosses) continue;
            adapt[l] = ends[l] || settled[l] > MOST_EQUAL || crosses;
            count[l] = adapt[l] ? 0 : settled[l];
            ends[l] = nullptr;
            some = some || !adapt[l];
        }
        return some;
    }

    // Take `count` steps to `end`; returns the largest error norm of a step. Lanes with fewer steps
    // wait at the end with steps of length zero.
    V march(V end, const InputPiece &drive, const int32_t *count, const double *const *ends) {
        int32_t most = 0;
        bool graded = false;
        V h = splat(0.0), worst = splat(0.0);
        crossing = M();
        for (int l = 0; l < W; ++l) {
            if (count[l] > 0) h[l] = (end[l] - lanes.t[l]) / count[l];
            most = count[l] > most ? count[l] : most;
            graded = graded || (count[l] > 0 && ends[l]);
        }
        for (int32_t q = 0; q < most; ++q) {
            M going = {};
            for (int l = 0; l < W; ++l) going[l] = q < count[l] ? -1 : 0;
            // t + q h, as rounding errors of a running sum would add up.
            V from = lanes.t + (double)q * h, size = select(going, h, splat(0.0));
            for (int l = 0; graded && l < W; ++l) {
                if (!going[l] || !ends[l]) continue;
                from[l] = q > 0 ? ends[l][q - 1] : lanes.t[l];
                size[l] = ends[l][q] - from[l];
            }
            attempt(from, size, drive);
            worst = larger(select(going, measure(going), splat(0.0)), worst);
            if constexpr (HOLDS_SWITCHES)
                crossing |= both(going, switches.crossed(from, size, f, step.y, step.slope(), drive) |
                                            lost(from, size, drive, going, end - lanes.t));
            take(going);
        }
        return worst;
    }

    // The lanes of `taken` in which the comparisons cannot be followed over the step just tried, see
    // `following.cpp`; `switches.trial` is a length that may do. The state in the middle is that of
    // the cubic through both ends, which implicit steps are too long for.
    __attribute__((noinline)) M lost(V from, V size, const InputPiece &drive, M taken, V span) {
        M found = {};
        if constexpr (EXPLICIT) {
            V middle[S], slope[S], tolerance[S];
            const V *next = step.slope();
            for (int i = 0; i < S; ++i) {
                middle[i] = 0.5 * (lanes.y[i] + step.y[i]) + 0.125 * size * (f[i] - next[i]);
                tolerance[i] = options.rtol * larger(greatest[i], expected[i]);
            }
            const V half = from + 0.5 * size;
            slope_at<S>(half, middle, lanes.p, drive, slope);
            Followed at[3];
            at[0].at(switches, from, lanes.y, f, drive, tolerance);
            at[1].at(switches, half, middle, slope, drive, tolerance);
            at[2].at(switches, from + size, step.y, next, drive, tolerance);
            for (int l = 0; l < W; ++l) {
                // In steps that are negligible, differences are rounding errors.
                if (!taken[l] || size[l] <= NEGLIGIBLE * span[l]) continue;
                const double least = followed_length(at, switches, drive, l, size[l]);
                if (least < size[l]) found[l] = -1, switches.trial[l] = least;
            }
        }
        return found;
    }

    // Not inlined in its two places, which would take twice the time to compile.
    __attribute__((noinline)) void attempt(V from, V size, const InputPiece &drive) {
        step.attempt(from, size, lanes.y, f, lanes.p, drive);
    }

    void take(M going) {
        for (int i = 0; i < ROWS; ++i) {
            lanes.y[i] = select(going, step.y[i], lanes.y[i]);
            f[i] = select(going, step.slope()[i], f[i]);
        }
    }

    // Integrate the lanes in `adapt` from `before` to `end` in steps that follow the error, and keep
    // these steps for the next calls.
    __attribute__((noinline)) void grade(int64_t sample, V end, InputPiece drive, const Point &before,
               const bool *adapt, int32_t *count) {
        std::vector<double> made[W];
        M going = {}, rejected = {}, eventful = {};
        for (int l = 0; l < W; ++l) going[l] = adapt[l] ? -1 : 0;
        restore(before, going);
        V t = lanes.t;
        const V span = end - t, tenth = span / 10.0;
        V h = select(pace > splat(0.0), vmin(pace, span), tenth);
        while (any(going)) {
            const V room = end - t;
            const M last = h >= room;
            V size = select(going, select(last, room, h), splat(0.0));
            if constexpr (HOLDS_SWITCHES)
                size = select(going & (switches.locating | switches.dipping), switches.trial, size);
            V greatest_before[S];
            for (int i = 0; i < S; ++i) greatest_before[i] = greatest[i];
            attempt(t, size, drive);
            const V error = select(going, measure(going), splat(0.0));
            M accepted = both(going, error <= splat(GRADED_SHARE)), accurate = accepted;
            if constexpr (HOLDS_SWITCHES) {
                switches.locating &= accurate;
                accepted = switches.judge(t, size, f, step.y, step.slope(), drive, accurate);
                const M astray = lost(t, size, drive, accepted, span);
                accepted &= ~astray;
                switches.retry(astray);
            }
            const M whole = both(last, size >= room);
            for (int i = 0; i < S; ++i)
                greatest[i] = select(accepted, greatest[i], greatest_before[i]);
            take(accepted);
            t = select(accepted, select(whole, end, t + size), t);
            if constexpr (HOLDS_SWITCHES)
                if (any(switches.passing)) {
                    switches.events.settle(t, drive, switches.tried, switches.passing, switches.passing);
                    slope_at<ROWS>(t, lanes.y, lanes.p, drive, step.y);
                    for (int i = 0; i < ROWS; ++i) f[i] = select(switches.passing, step.y[i], f[i]);
                    eventful |= switches.passing;
                }
            // As in `adaptive.cpp`: no growth right after a rejection, and a step that was cut
            // short gives no reason to shorten the next one.
            V factor = GRADED_SAFETY * vpow(error, splat(-1.0 / (ERROR_ORDER + 1)));
            factor = vmax(vmin(factor, select(rejected, splat(1.0), splat(5.0))), splat(0.2));
            const V wanted = size * factor;
            const M cut = both(accurate, ~accepted) | both(accepted, last) | switches.passing;
            h = select(going, select(cut, vmax(wanted, h), wanted), h);
            // Where a comparison must be followed more closely, the next steps are as short.
            h = select(going & switches.dipping, switches.trial, h);
            rejected = both(going, ~accurate);
            const V stiffness = step.stiffness();
            for (int l = 0; l < W; ++l) {
                if (!going[l]) continue;
                if (accepted[l]) made[l].push_back(t[l]);
                going[l] = proceeds(l, accurate[l], stiffness[l], t[l], end[l], h[l], made[l].size())
                               ? -1 : 0;
            }
        }
        for (int l = 0; l < W; ++l) {
            if (!adapt[l]) continue;
            pace[l] = h[l];
            count[l] = (int32_t)made[l].size();
            if (!lanes.running[l]) continue;
            drop(l, sample);
            for (int k = 0; k < N_SWITCHES; ++k) side[k][l] = drive.side[k][l];
            // The event moves with the parameters: its interval is adapted anew in each call.
            walk.route.plan[place(l, sample)] = 1;
            if (eventful[l]) continue;
            double *kept = new double[made[l].size()];
            for (size_t q = 0; q < made[l].size(); ++q) kept[q] = made[l][q];
            walk.route.ends[place(l, sample)] = kept;
            walk.route.plan[place(l, sample)] = -count[l];
        }
    }

    // Whether a lane takes another graded step; it is given up where steps vanish, are too many, or
    // are limited by stability.
    bool proceeds(int l, bool accepted, double stiffness, double t, double end, double h,
                  size_t made) {
        tries[l] += 1;
        if (accepted && stiffness > METHOD<ROWS>::STABILITY) pressed[l] += 1;
        else pressed[l] = pressed[l] > 3 ? pressed[l] - 3 : 0;
        const double least = 10.0 * __DBL_EPSILON__ * (__builtin_fabs(t) + 1e-6 * (end - t));
        if (t >= end) return false;
        if (switches.events.endless[l]) give_up(l, TOO_MANY_EVENTS);
        else if (!accepted && h < least) give_up(l, DIVERGED);
        else if (pressed[l] >= STIFF_COUNT && tries[l] >= STIFF_AFTER) give_up(l, STIFF);
        else if (lanes.steps[l] + (int64_t)made >= options.max_steps) give_up(l, TOO_MANY_STEPS);
        else if (tries[l] >= 2 * options.max_steps) give_up(l, TOO_MANY_STEPS);
        return lanes.running[l];
    }

    // The largest ratio of a state's local error to rtol (|y_i| + FLOOR max_t |y_i|); updates
    // `greatest`. There is no absolute tolerance: the floor takes its place where a state passes
    // through zero, and a share of the largest state where nothing is known of its size yet: this
    // step counts, since a dose or an input may fill a system that was empty. With a finite `range`
    // every value is accurate relative to itself, to rtol (1 + FLOOR range).
    V measure(M going) {
        const bool bounded = options.range < __builtin_inf();
        V worst = splat(0.0), top = splat(0.0), sizes[S];
        for (int i = 0; i < S; ++i) {
            sizes[i] = larger(vabs(lanes.y[i]), vabs(step.y[i]));
            greatest[i] = select(going, larger(sizes[i], greatest[i]), greatest[i]);
            top = vmax(greatest[i], top);
        }
        for (int i = 0; i < S; ++i) {
            const V error = vabs(step.template error<0>(i)), size = sizes[i];
            const V scale = larger(vmax(unknown * top, greatest[i]), expected[i]);
            V share = FLOOR * scale;
            if (bounded) share = vmin(share, FLOOR * options.range * size) + LEAST_FLOOR * scale;
            const V ratio = error / (options.rtol * (size + share));
            // 0 / 0 is no error; a ratio that is not finite is an infinite error.
            V checked = select(error == splat(0.0), splat(0.0), ratio);
            checked = select(both(finite(step.y[i]), finite(checked)), checked, splat(__builtin_inf()));
            worst = larger(checked, worst);
        }
        return worst;
    }
};

}  // namespace

// The ends of graded steps, one array or null for each interval of each lane.
extern "C" double **ends_new(int64_t count) {
    return (double **)__builtin_calloc(count > 0 ? count : 1, sizeof(double *));
}

extern "C" void ends_delete(double **ends, int64_t count) {
    for (int64_t i = 0; i < count; ++i) delete[] ends[i];
    __builtin_free(ends);
}
