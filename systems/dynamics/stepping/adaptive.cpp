// Adaptive steps with step doubling: a step policy. W trajectories are integrated at a time; a lane
// that has finished takes the next trajectory. Continues `problem.cpp` and a method. The algorithm
// is that of `adaptive.py`.
//
// Each lane carries two solutions: a coarse one, whose local errors choose the steps, and a fine
// one that takes every step in two halves (Hairer, Norsett, Wanner, Solving ODEs I, sec. II.4,
// though without extrapolation). The coarse one is returned; its distance from the fine one is its
// error.
//
// METHOD<ROWS> takes one step, see `runge_kutta.cpp`. CONSUMER receives the results:
//   begin(l, id, p)                trajectory `id` with parameters p enters lane l
//   at_sample(due, sample, t, y)   the lanes in `due` have reached their samples: their numbers,
//                                  times and states, followed by the derivatives
//   finish(l, ending)              the trajectory in lane l has ended

namespace {

constexpr int64_t CHUNK = 512;  // trajectories for one thread at a time
constexpr int WAIT = 3;         // free lanes that are filled together
// A derivative may have a relative local error that is larger by this factor than that of a state.
constexpr double DERIVATIVE_SHARE = 100.0;
constexpr double SLIVER = 4.0;  // units in the last place of t

template <template <int> class METHOD, typename CONSUMER> struct Adaptive {
    const Problem &problem;
    const StepControl &options;
    CONSUMER &consumer;

    int64_t id[W];
    V t, h, end, brief, next_time, next_stop;
    V p[ROOM_P];
    V y[R + S], f[R];           // coarse; where events happen, followed by fine - coarse
    V fine[S], fine_f[S];
    V gap[S], greatest[S], floor[S];   // floor: atol / rtol of each state
    V sizes[R];                 // largest absolute values so far, of the derivatives
    InputPiece drive;
    M running = {}, rejected = {}, taken = {}, brief_step = {};
    M sample, piece, tries, stiff;
    METHOD<R> whole; METHOD<S> half[2];
    Switching<R + S> switches;
    V allowed;                  // length of the next step, where comparisons limit it

    Adaptive(const Problem &one, const StepControl &two, CONSUMER &three)
        : problem(one), options(two), consumer(three), switches(y, p) {
        for (int l = 0; l < W; ++l) id[l] = 0;
        t = h = end = brief = next_time = next_stop = splat(0.0);
        for (int j = 0; j < P; ++j) p[j] = splat(1.0);
        for (int i = 0; i < R; ++i) y[i] = f[i] = sizes[i] = splat(0.0);
        for (int i = 0; i < S; ++i)
            fine[i] = fine_f[i] = gap[i] = greatest[i] = splat(0.0), floor[i] = splat(1.0);
        drive.origin = splat(0.0);
        for (int k = 0; k < ROOM_K; ++k) drive.side[k] = M();
        for (int i = 0; i < I; ++i) drive.first[i] = drive.slope[i] = splat(0.0);
        sample = piece = tries = stiff = M();
    }

    static V root(V error) {  // error^(1 / (ERROR_ORDER + 1))
        constexpr int ORDER = METHOD<S>::ERROR_ORDER;
        if constexpr (ORDER == 7) return vsqrt(vsqrt(vsqrt(error)));
        else return vpow(error, splat(1.0 / (ORDER + 1)));
    }

    double time_of(int l, int64_t number) const {
        if (number >= problem.counts[id[l]]) return __builtin_inf();
        return problem.times[id[l] * problem.time_stride + number];
    }

    double stop_of(int l, int64_t number) const {
        if (number >= problem.n_stops) return __builtin_inf();
        return problem.stops[id[l] * problem.n_stops + number];
    }

    // The inputs of a lane on its current piece of the schedule.
    void load_drive(int l) {
        if (I == 0) return;
        const int64_t pieces = problem.n_stops + 1;
        drive.origin[l] = problem.origin[id[l] * pieces + piece[l]];
        for (int i = 0; i < I; ++i) {
            const int64_t at = (i * problem.n + id[l]) * pieces + piece[l];
            drive.first[i][l] = problem.first[at];
            drive.slope[i][l] = problem.slope[at];
        }
    }

    // Apply the dose at the next stop and advance to the piece of the schedule after it.
    void pass_stop(int l) {
        if (problem.jumps)
            for (int i = 0; i < S; ++i) {
                const int64_t at = (i * problem.n + id[l]) * problem.n_stops + piece[l];
                y[i][l] += problem.jumps[at];
                fine[i][l] += problem.jumps[at];
            }
        piece[l] += 1;
        next_stop[l] = stop_of(l, piece[l]);
    }

    // Load trajectories into the free lanes; returns how many.
    int64_t fill(int64_t next, int64_t count) {
        int64_t used = 0;
        M fresh = {};
        for (int l = 0; l < W && used < count; ++l)
            if (!taken[l]) {
                load(l, next + used++);
                fresh[l] = taken[l] = -1;
            }
        begin(fresh);
        return used;
    }

    void load(int l, int64_t trajectory) {
        id[l] = trajectory;
        const int64_t last = problem.counts[trajectory] - 1;
        t[l] = problem.start[trajectory];
        end[l] = problem.times[trajectory * problem.time_stride + last];
        brief[l] = 1e-6 * (end[l] - t[l]);
        for (int j = 0; j < P; ++j) p[j][l] = problem.parameters[j * problem.n + trajectory];
        for (int i = 0; i < S; ++i) {
            y[i][l] = fine[i][l] = problem.initial[i * problem.n + trajectory];
            gap[i][l] = greatest[i][l] = 0.0;
            floor[i][l] = problem.floor[i * problem.n + trajectory];
        }
        for (int d = 0; d < D; ++d)
            for (int i = 0; i < S; ++i) {
                const double slope = seed(d, i);
                y[S * (1 + d) + i][l] = slope;
                // Most derivatives start at zero, so that their tolerance would be zero, too: their
                // natural size, |y_i / q| for a direction q, takes its place.
                const double by = DIRECTION[d] < 0 ? y[-1 - DIRECTION[d]][l] : p[DIRECTION[d]][l];
                const double natural = __builtin_fabs(y[i][l] / by);
                sizes[S * (1 + d) + i][l] = natural > slope && natural < __builtin_inf() ? natural : slope;
            }
        sample[l] = piece[l] = tries[l] = stiff[l] = rejected[l] = 0;
        next_stop[l] = stop_of(l, 0);
        while (next_stop[l] < t[l]) next_stop[l] = stop_of(l, ++piece[l]);
        while (next_stop[l] == t[l]) pass_stop(l);
        load_drive(l);
        next_time[l] = time_of(l, 0);
        consumer.begin(l, trajectory, p);
    }

    // The first step size by Hairer, Norsett, Wanner, Solving ODEs I, sec. II.4; see `_first_step`
    // in `batch.py`. Lanes that are already running keep their step size.
    void begin(M fresh) {
        V f_new[R], scale[S], scaled[S], steep[S];
        if constexpr (HOLDS_SWITCHES) {
            for (int i = 0; i < S; ++i) y[R + i] = fine[i] - y[i];
            switches.events.begin(t, drive, end - t, fresh);
            for (int i = 0; i < S; ++i) fine[i] = select(fresh, y[i] + y[R + i], fine[i]);
        }
        slope_at<R>(t, y, p, drive, f_new);
        M defined = fresh;
        for (int i = 0; i < S; ++i) {
            defined = both(defined, finite(f_new[i]));
            scale[i] = options.share * floor[i] + options.rtol * vabs(y[i]);
            scaled[i] = y[i] / scale[i];
            steep[i] = f_new[i] / scale[i];
        }
        const V size = largest(scaled), slope = largest(steep), span = end - t;
        const M tiny = (size < splat(1e-5)) | (slope < splat(1e-5));
        const V trial = vmin(select(tiny, splat(1e-6), 0.01 * size / slope), span);
        V stage[S], f_trial[S], change[S];
        for (int i = 0; i < S; ++i) stage[i] = y[i] + trial * f_new[i];
        slope_at<S>(t + trial, stage, p, drive, f_trial);
        for (int i = 0; i < S; ++i) change[i] = (f_trial[i] - f_new[i]) / scale[i];
        const V steepest = vmax(slope, largest(change) / trial);
        V step = root(0.01 / steepest);
        step = select(steepest > splat(1e-15), step, vmax(1e-3 * trial, splat(1e-6)));
        step = vmin(vmin(step, 100.0 * trial), span);
        h = select(fresh, select(finite(step), step, trial), h);
        for (int i = 0; i < R; ++i) f[i] = select(fresh, f_new[i], f[i]);
        for (int i = 0; i < S; ++i) fine_f[i] = select(fresh, f_new[i], fine_f[i]);
        running = running | both(defined, t < end);
        const M reached = both(next_time == t, fresh);
        if (any(reached)) come_to_sample(reached, y, fine);
        for (int l = 0; l < W; ++l)
            if (fresh[l] && !running[l]) finish(l, defined[l] ? CONVERGED : DIVERGED);
    }

    // Pass a sample to the consumer, and update the largest distance of the two solutions. Not inlined
    // in its three places, which would take a third more time to compile.
    __attribute__((noinline)) void come_to_sample(M due, const V *coarse, const V *other) {
        for (int i = 0; i < S; ++i) {
            V apart = vabs(coarse[i] - other[i]);
            if (options.relative) apart /= floor[i] + vabs(coarse[i]);
            gap[i] = select(due, larger(apart, gap[i]), gap[i]);
            greatest[i] = select(due, larger(vabs(coarse[i]), greatest[i]), greatest[i]);
        }
        consumer.at_sample(due, sample, next_time, coarse);
        for (int l = 0; l < W; ++l)
            if (due[l]) next_time[l] = time_of(l, ++sample[l]);
    }

    void finish(int l, Status status) {
        running[l] = taken[l] = 0;
        next_time[l] = next_stop[l] = __builtin_inf();
        double worst = 0.0;
        for (int i = 0; i < S; ++i) {
            const double size = options.relative ? 1.0 : floor[i][l] + greatest[i][l];
            worst = worst > gap[i][l] / size ? worst : gap[i][l] / size;
        }
        consumer.finish(l, {status, tries[l], worst});
    }

    // Dense output at the samples in one half of a step, which starts at `from` and has length
    // `size`.
    void pass_samples(V step, V from, V size, V to, const V *start, const V (*coarse)[R],
                      const V (*halved)[S]) {
        while (true) {
            const M due = next_time < to;
            if (!any(due)) return;
            V values[R], others[S];
            interpolate<R>(y, coarse, (next_time - t) / step, values);
            interpolate<S>(start, halved, (next_time - from) / size, others);
            come_to_sample(due, values, others);
        }
    }

    template <int ROWS>
    static void interpolate(const V *start, const V (*coefficients)[ROWS], V x, V *out) {
        // Horner's scheme with the factors x and 1 - x by turns, see `evaluate` in
        // `runge_kutta.py`.
        const V rest = 1.0 - x;
        for (int i = 0; i < ROWS; ++i) {
            V value = splat(0.0);
            for (int j = METHOD<S>::N_COEFFICIENTS - 1; j >= 0; --j)
                value = (value + coefficients[j][i]) * (j % 2 ? rest : x);
            out[i] = start[i] + value;
        }
    }

    // Try one step of every running lane, and accept it if its error norm is at most 1.
    void advance() {
        const V target = vmin(next_stop, end), room = target - t;
        M last = h >= room;
        V step = select(running, select(last, room, h), splat(0.0));
        if constexpr (HOLDS_SWITCHES) {
            step = select(running & (switches.locating | switches.dipping), switches.trial, step);
            last = step >= room;
        }
        whole.attempt(t, step, y, f, p, drive);
        // A step as long as the spacing of the numbers at t cannot be any shorter.
        brief_step = step <= SLIVER * __DBL_EPSILON__ * vabs(target);
        V norm = error_norm();
        M accepted = both(norm <= splat(1.0), running), cut = last, waiting = {};
        if constexpr (HOLDS_SWITCHES) {
            allowed = splat(__builtin_inf());
            const M accurate = accepted;
            switches.locating &= accurate;
            accepted = switches.judge(t, step, f, whole.y, whole.slope(), drive, accurate);
            waiting = both(accurate, ~accepted);
            cut = cut | switches.passing;
        }
        if (any(accepted)) accepted = take_halves(step, accepted, last, target, norm);
        choose_step(norm, step, accepted, cut, waiting);
        if constexpr (HOLDS_SWITCHES) h = select(waiting, h, vmin(h, allowed));
        retire(accepted, waiting);
    }

    // The largest ratio of a local error to its tolerance; infinite if the step is not finite.
    V error_norm() const {
        constexpr int ROUGH = METHOD<R>::N_ERRORS - 1;
        V main[S], rough[S];
        M sound = t == t;
        for (int i = 0; i < S; ++i) {
            const V scale = options.share * floor[i] + options.rtol * vmax(vabs(y[i]), vabs(whole.y[i]));
            main[i] = whole.template error<0>(i) / scale;
            if constexpr (ROUGH > 0) rough[i] = whole.template error<ROUGH>(i) / scale;
            sound = both(sound, finite(whole.y[i] + whole.slope()[i]));
        }
        V norm = largest(main);
        if constexpr (ROUGH > 0) norm = METHOD<R>::tempered(norm, largest(rough));
        // The derivatives are controlled relative to their own size. At rest, the states alone
        // would let the steps grow until the derivatives are unstable.
        for (int i = S; i < R; ++i) {
            const V size = vmax(vmax(vabs(y[i]), vabs(whole.y[i])), sizes[i]);
            V error = vabs(whole.template error<0>(i));
            if constexpr (ROUGH > 0) {
                const V other = whole.template error<ROUGH>(i);
                error = error * error / vsqrt(error * error + 0.01 * (other * other));
                // 0 / 0 if both estimates are zero: no error.
                error = select(error == error, error, splat(0.0));
            }
            const V ratio = error / (DERIVATIVE_SHARE * options.rtol * size);
            norm = vmax(norm, select(error == splat(0.0), splat(0.0), ratio));
            sound = both(sound, finite(whole.y[i] + whole.slope()[i]));
        }
        norm = select(brief_step, splat(0.0), norm);
        return select(both(sound, finite(norm)), norm, splat(__builtin_inf()));
    }

    // The local error of a step by its two halves, over the allowed one: it catches the steps whose
    // embedded estimate vanishes by chance. The distance before the step is propagated and may grow
    // within it, see `discrepancy` in `step_control.py`. Infinite if the halves are not finite.
    V discrepancy() const {
        const METHOD<S> &second = half[1];
        V local[S], carried[S];
        M sound = t == t;
        for (int i = 0; i < S; ++i) {
            const V scale = options.share * floor[i] + options.rtol * vmax(vabs(y[i]), vabs(whole.y[i]));
            carried[i] = (y[i] - fine[i]) / scale;
            local[i] = (whole.y[i] - second.y[i]) / scale - carried[i];
            sound = both(sound, finite(second.y[i] + second.slope()[i]));
        }
        V norm = largest(local) / (options.allowance * vmax(largest(carried), splat(1.0)));
        norm = select(brief_step, splat(0.0), norm);
        return select(both(sound, finite(norm)), norm, splat(__builtin_inf()));
    }

    // Repeat the accepted steps in halves, write the samples, and advance; returns the confirmed
    // steps.
    M take_halves(V step, M accepted, M last, V target, V &norm) {
        METHOD<S> &first = half[0], &second = half[1];
        const V size = select(accepted, 0.5 * step, splat(0.0)), middle = t + size;
        first.attempt(t, size, fine, fine_f, p, drive);
        second.attempt(middle, size, first.y, first.slope(), p, drive);
        const V apart = discrepancy();
        M sound = both(accepted, apart <= splat(1.0));
        norm = select(accepted, vmax(apart, norm), norm);
        if constexpr (HOLDS_SWITCHES) {
            sound = follow(step, sound);
            switches.passing &= sound;
        }
        V t_new = select(sound, select(last, target, t + step), t);
        if constexpr (HOLDS_SWITCHES) land(target, t_new);
        if (any(next_time < t_new)) interpolate_step(step, size, select(sound, middle, t), t_new);
        move_to(t_new, sound);
        if constexpr (HOLDS_SWITCHES)
            if (any(switches.passing)) settle(switches.passing, switches.passing);
        if (problem.n_stops > 0) pass_stops();
        const M reached = both(next_time == t, running);
        if constexpr (HOLDS_SWITCHES)
            if (any(reached)) settle(reached, M());
        if (any(reached)) come_to_sample(reached, y, fine);
        return sound;
    }

    // Dense output at the samples inside an accepted step, in both solutions.
    __attribute__((noinline)) void interpolate_step(V step, V size, V t_middle, V t_new) {
        METHOD<S> &first = half[0], &second = half[1];
        V coarse[METHOD<R>::N_COEFFICIENTS][R], halved[METHOD<S>::N_COEFFICIENTS][S];
        whole.interpolant(y, p, drive, coarse);
        if (any(next_time < t_middle)) {
            first.interpolant(fine, p, drive, halved);
            pass_samples(step, t, size, t_middle, fine, coarse, halved);
        }
        if (any(next_time < t_new)) {
            second.interpolant(first.y, p, drive, halved);
            pass_samples(step, t + size, size, t_new, first.y, coarse, halved);
        }
    }

    void move_to(V t_new, M sound) {
        t = t_new;
        for (int i = 0; i < R; ++i) {
            y[i] = select(sound, whole.y[i], y[i]);
            f[i] = select(sound, whole.slope()[i], f[i]);
        }
        for (int i = S; i < R; ++i) sizes[i] = vmax(sizes[i], vabs(y[i]));
        for (int i = 0; i < S; ++i) {
            fine[i] = select(sound, half[1].y[i], fine[i]);
            fine_f[i] = select(sound, half[1].slope()[i], fine_f[i]);
        }
    }

    // The steps among `sound` over which the comparisons can be followed; the others are tried again
    // with the length `allowed`.
    M follow(V step, M sound) {
        const V half_step = 0.5 * step;
        V tolerance[S];
        Followed at[3];
        for (int i = 0; i < S; ++i)
            tolerance[i] = options.share * floor[i] + options.rtol * vmax(vabs(y[i]), vabs(whole.y[i]));
        at[0].at(switches, t, fine, fine_f, drive, tolerance);
        at[1].at(switches, t + half_step, half[0].y, half[0].slope(), drive, tolerance);
        at[2].at(switches, t + step, half[1].y, half[1].slope(), drive, tolerance);
        for (int l = 0; l < W; ++l) {
            allowed[l] = __builtin_inf();
            // In steps that are negligible, differences are rounding errors.
            if (!sound[l] || step[l] <= brief[l]) continue;
            allowed[l] = followed_length(at, switches, drive, l, step[l]);
            if (allowed[l] < step[l]) sound[l] = 0;
        }
        return sound;
    }

    // A step that ends on an event in the moment of a sample or a stop ends there.
    void land(V target, V &t_new) const {
        for (int l = 0; l < W; ++l) {
            if (!switches.passing[l]) continue;
            const double sliver = SLIVER * __DBL_EPSILON__ * __builtin_fabs(t_new[l]);
            const double near = switches.slot[l] > sliver ? switches.slot[l] : sliver;
            if (target[l] - t_new[l] <= near) t_new[l] = target[l];
            double due = -__builtin_inf();
            for (int64_t n = sample[l]; due < t_new[l] - near; ++n) due = time_of(l, n);
            if (due <= t_new[l] + near) t_new[l] = due;
        }
    }

    // Let the events happen that are due in the lanes `where`; in the lanes `located` a step has been
    // made to end on one. The fine solution meets the zero at another time: its distance from the
    // coarse one jumps as a derivative does.
    __attribute__((noinline)) void settle(M where, M located) {
        V f_new[R], fine_new[S];
        for (int i = 0; i < S; ++i) y[R + i] = fine[i] - y[i];
        switches.events.settle(t, drive, end - t, where, located);
        for (int i = 0; i < S; ++i) fine[i] = select(where, y[i] + y[R + i], fine[i]);
        slope_at<R>(t, y, p, drive, f_new);
        slope_at<S>(t, fine, p, drive, fine_new);
        for (int i = 0; i < R; ++i) f[i] = select(where, f_new[i], f[i]);
        for (int i = 0; i < S; ++i) fine_f[i] = select(where, fine_new[i], fine_f[i]);
        for (int i = S; i < R; ++i) sizes[i] = vmax(sizes[i], vabs(y[i]));
    }

    void pass_stops() {
        const M here = both(next_stop == t, running);
        if (!any(here)) return;
        for (int l = 0; l < W; ++l) {
            if (!here[l]) continue;
            while (next_stop[l] == t[l]) pass_stop(l);
            load_drive(l);
        }
        if constexpr (HOLDS_SWITCHES) return settle(here, M());
        V f_new[R], fine_new[S];
        slope_at<R>(t, y, p, drive, f_new);
        slope_at<S>(t, fine, p, drive, fine_new);
        for (int i = 0; i < R; ++i) f[i] = select(here, f_new[i], f[i]);
        for (int i = 0; i < S; ++i) fine_f[i] = select(here, fine_new[i], fine_f[i]);
    }

    // h_new = h min(grow, max(shrink, safety norm^(-1 / (q + 1)))), without growth right after a
    // rejection (Hairer, Norsett, Wanner, Solving ODEs I, sec. II.4).
    // A step that is to end on an event, in the lanes `waiting`, has the size of its own.
    void choose_step(V norm, V step, M accepted, M cut, M waiting) {
        V factor = options.safety / root(norm);
        factor = vmin(vmax(factor, splat(options.shrink)), splat(options.grow));
        factor = select(rejected, vmin(factor, splat(1.0)), factor);
        const V proposed = step * factor;
        // A step cut short by its target gives no reason to reduce the size proposed before.
        const V next = select(both(accepted, cut), vmax(proposed, h), proposed);
        h = select(waiting, h, next);
        rejected = both(~accepted, ~waiting);
    }

    // Give up trajectories that have failed or prove stiff, and finish those that are done.
    void retire(M accepted, M waiting) {
        const M one = M() + 1;
        tries += one;
        const M pressed = both(accepted, whole.stiffness() > splat(METHOD<R>::STABILITY));
        const M relaxed = stiff - 3;
        stiff = pressed ? stiff + 1 : (relaxed > 0 ? relaxed : M());
        const M too_stiff = both(stiff >= options.stiff_count, tries >= options.stiff_after);
        const M too_many = both(running, (tries >= options.max_steps) | too_stiff);
        M endless = {};
        if constexpr (HOLDS_SWITCHES)
            for (int l = 0; l < W; ++l) endless[l] = running[l] && switches.events.endless[l] ? -1 : 0;
        // Such a step would hardly change t, see `retire` in `step_control.py`.
        const V least = 10.0 * __DBL_EPSILON__ * vmax(vabs(t), brief);
        const M vanished = both(both(running, ~(accepted | waiting)), h < least);
        const M done = both(running, ~(t < end));
        if (!any(too_many | vanished | done | endless)) return;
        for (int l = 0; l < W; ++l) {
            if (endless[l]) finish(l, TOO_MANY_EVENTS);
            else if (vanished[l]) finish(l, DIVERGED);
            else if (done[l]) finish(l, CONVERGED);
            else if (too_many[l]) finish(l, TOO_MANY_STEPS);
        }
    }

    int free_lanes() const {
        int count = 0;
        for (int l = 0; l < W; ++l) count += taken[l] ? 0 : 1;
        return count;
    }

    // Integrate the trajectories from first to last - 1.
    void run(int64_t first, int64_t last) {
        while (true) {
            // Starting a lane costs evaluations in all lanes: wait until several are free.
            while (first < last && free_lanes() >= WAIT) first += fill(first, last - first);
            if (any(running)) advance();
            else if (first >= last) return;
        }
    }
};

}  // namespace
