// Trajectories on their way, W at a time; a lane that is done takes the next trajectory. Continues
// `_flow_explicit.cpp` or `_flow_implicit.cpp`, with ERROR_ORDER and STABILITY of the method.

inline V root(V error) {  // error^(1 / (ERROR_ORDER + 1))
    if constexpr (ERROR_ORDER == 7) return vsqrt(vsqrt(vsqrt(error)));
    else return vpow(error, splat(1.0 / (ERROR_ORDER + 1)));
}

struct Lanes {
    const Problem &problem;
    const Options &options;
    const Results &results;
    const int64_t base;  // trajectory in the first row of results.states and slopes

    int64_t id[W];
    V t, h, end, brief, next_time, next_stop;
    V p[ROOM_P], y[R], f[R], error[S], greatest[S];
    Drive drive;
    M running = {}, rejected = {}, taken = {};
    M sample, piece, tries, stiff;
    Stepper stepper;

    Lanes(const Problem &one, const Options &two, const Results &three, int64_t first)
        : problem(one), options(two), results(three), base(first) {
        for (int l = 0; l < W; ++l) id[l] = 0;
        t = h = end = brief = next_time = next_stop = splat(0.0);
        for (int j = 0; j < P; ++j) p[j] = splat(1.0);
        for (int i = 0; i < R; ++i) y[i] = f[i] = splat(0.0);
        for (int i = 0; i < S; ++i) error[i] = greatest[i] = splat(0.0);
        drive.origin = splat(0.0);
        for (int i = 0; i < I; ++i) drive.first[i] = drive.slope[i] = splat(0.0);
        sample = piece = tries = stiff = M();
    }

    double time_of(int l, int64_t number) const {
        if (number >= problem.counts[id[l]]) return __builtin_inf();
        return problem.times[id[l] * problem.time_stride + number];
    }

    double stop_of(int l, int64_t number) const {
        if (number >= problem.n_stops) return __builtin_inf();
        return problem.stops[id[l] * problem.n_stops + number];
    }

    // The inputs of a lane on its present piece of time.
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

    // Let the dose at the next stop act and the inputs change.
    void pass_stop(int l) {
        if (problem.jumps)
            for (int i = 0; i < S; ++i)
                y[i][l] += problem.jumps[(i * problem.n + id[l]) * problem.n_stops + piece[l]];
        piece[l] += 1;
        next_stop[l] = stop_of(l, piece[l]);
    }

    // Take trajectories from a list into the lanes that are free; returns how many.
    int64_t fill(const int64_t *waiting, int64_t count) {
        int64_t used = 0;
        M fresh = {};
        for (int l = 0; l < W && used < count; ++l)
            if (!taken[l]) {
                load(l, waiting[used++]);
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
            y[i][l] = problem.initial[i * problem.n + trajectory];
            error[i][l] = 0.0;
        }
        for (int d = 0; d < D; ++d)
            for (int i = 0; i < S; ++i) y[S * (1 + d) + i][l] = DIRECTION[d] == -1 - i ? 1.0 : 0.0;
        sample[l] = piece[l] = tries[l] = stiff[l] = rejected[l] = 0;
        next_stop[l] = stop_of(l, 0);
        while (next_stop[l] < t[l]) next_stop[l] = stop_of(l, ++piece[l]);
        while (next_stop[l] == t[l]) pass_stop(l);
        load_drive(l);
        for (int i = 0; i < S; ++i) greatest[i][l] = __builtin_fabs(y[i][l]);
        next_time[l] = time_of(l, 0);
        const int64_t room = problem.n_times * S;
        double *states = results.states + (trajectory - base) * room;
        for (int64_t j = 0; j < room; ++j) states[j] = __builtin_nan("");
        if (D > 0) {
            double *slopes = results.slopes + (trajectory - base) * room * D;
            for (int64_t j = 0; j < room * D; ++j) slopes[j] = 0.0;
        }
    }

    // Choose the first step as Hairer, Norsett, Wanner, Solving ODEs I, sec. II.4, do.
    void begin(M fresh) {
        V f_new[R], stage[R], scaled[S], steep[S], change[S];
        slope_at(t, y, p, drive, f_new);
        M defined = fresh;
        V scale[S];
        for (int i = 0; i < S; ++i) {
            defined = both(defined, finite(f_new[i]));
            scale[i] = options.atol + options.rtol * vabs(y[i]);
            scaled[i] = y[i] / scale[i];
            steep[i] = f_new[i] / scale[i];
        }
        const V size = largest(scaled), slope = largest(steep), span = end - t;
        const M tiny = (size < splat(1e-5)) | (slope < splat(1e-5));
        V trial = smaller(select(tiny, splat(1e-6), 0.01 * size / slope), span);
        for (int i = 0; i < R; ++i) stage[i] = y[i] + trial * f_new[i];
        V f_trial[R];
        slope_at(t + trial, stage, p, drive, f_trial);
        for (int i = 0; i < S; ++i) change[i] = (f_trial[i] - f_new[i]) / scale[i];
        const V bend = largest(change) / trial, steepest = vmax(slope, bend);
        V step = root(0.01 / steepest);
        step = select(steepest > splat(1e-15), step, larger(1e-3 * trial, splat(1e-6)));
        step = vmin(vmin(step, 100.0 * trial), span);
        h = select(fresh, select(finite(step), step, trial), h);
        for (int i = 0; i < R; ++i) f[i] = select(fresh, f_new[i], f[i]);
        running = running | both(defined, t < end);
        for (int l = 0; l < W; ++l) {
            if (!fresh[l]) continue;
            if (next_time[l] == t[l]) write_reached(l);
            if (!running[l]) finish(l, defined[l] ? CONVERGED : DIVERGED);
        }
    }

    void write_reached(int l) {
        const int64_t at = (id[l] - base) * problem.n_times + sample[l];
        for (int i = 0; i < S; ++i) results.states[at * S + i] = y[i][l];
        for (int d = 0; d < D; ++d)
            for (int i = 0; i < S; ++i) results.slopes[(at * D + d) * S + i] = y[S * (1 + d) + i][l];
        sample[l] += 1;
        next_time[l] = time_of(l, sample[l]);
    }

    void finish(int l, Status status) {
        running[l] = taken[l] = 0;
        next_time[l] = next_stop[l] = __builtin_inf();
        double worst = 0.0;
        for (int i = 0; i < S; ++i) {
            const double relative = error[i][l] / (options.atol / options.rtol + greatest[i][l]);
            worst = worst > relative ? worst : relative;
        }
        results.error[id[l]] = worst;
        results.status[id[l]] = status;
    }

    // Interpolate at the samples inside a step.
    void write_samples(V step, V t_new, const Trial &trial) {
        V coefficients[N_COEFFICIENTS][R];
        stepper.interpolant(t, step, y, p, drive, trial, coefficients);
        while (true) {
            const M due = next_time < t_new;
            if (!any(due)) return;
            const V x = (next_time - t) / step, rest = 1.0 - x;
            V values[R];
            for (int i = 0; i < R; ++i) {
                V value = splat(0.0);
                for (int j = N_COEFFICIENTS - 1; j >= 0; --j)
                    value = (value + coefficients[j][i]) * (j % 2 ? rest : x);
                values[i] = y[i] + value;
            }
            for (int l = 0; l < W; ++l) {
                if (!due[l]) continue;
                const int64_t at = (id[l] - base) * problem.n_times + sample[l];
                for (int i = 0; i < S; ++i) results.states[at * S + i] = values[i][l];
                for (int d = 0; d < D; ++d)
                    for (int i = 0; i < S; ++i)
                        results.slopes[(at * D + d) * S + i] = values[S * (1 + d) + i][l];
                sample[l] += 1;
                next_time[l] = time_of(l, sample[l]);
            }
        }
    }

    // Try one step of every running lane; take it where its error is small enough.
    void advance() {
        const V target = smaller(next_stop, end), room = target - t;
        const M last = h >= room;
        const V step = select(running, select(last, room, h), splat(0.0));
        Trial trial;
        stepper.attempt(t, step, y, f, p, drive, options, trial);
        const M accepted = both(trial.norm <= splat(1.0), running);
        const V t_new = select(accepted, select(last, target, t + h), t);
        if (any(next_time < t_new)) write_samples(step, t_new, trial);
        t = t_new;
        for (int i = 0; i < R; ++i) {
            y[i] = select(accepted, trial.y[i], y[i]);
            f[i] = select(accepted, trial.f[i], f[i]);
        }
        for (int i = 0; i < S; ++i)
            error[i] = error[i] + select(accepted, trial.error[i], splat(0.0));
        if (problem.n_stops > 0) pass_stops();
        for (int i = 0; i < S; ++i) greatest[i] = vmax(greatest[i], vabs(y[i]));
        const M reached = both(next_time == t, running);
        if (any(reached))
            for (int l = 0; l < W; ++l)
                if (reached[l]) write_reached(l);
        choose_step(trial, step, accepted, last);
        retire(trial, accepted);
    }

    void pass_stops() {
        const M here = both(next_stop == t, running);
        if (!any(here)) return;
        for (int l = 0; l < W; ++l) {
            if (!here[l]) continue;
            while (next_stop[l] == t[l]) pass_stop(l);
            load_drive(l);
        }
        V f_new[R];
        slope_at(t, y, p, drive, f_new);
        for (int i = 0; i < R; ++i) f[i] = select(here, f_new[i], f[i]);
    }

    void choose_step(const Trial &trial, V step, M accepted, M last) {
        V factor = options.safety / root(trial.norm);
        factor = smaller(larger(factor, splat(options.shrink)), splat(options.grow));
        factor = select(rejected, smaller(factor, splat(1.0)), factor);
        const V proposed = step * factor;
        // A step cut short by its target says nothing against the size it was cut from.
        h = select(both(accepted, last), vmax(proposed, h), proposed);
        rejected = ~accepted;
    }

    void retire(const Trial &trial, M accepted) {
        const M one = M() + 1;
        tries += one;
        const M pressed = both(accepted, trial.stiffness > splat(STABILITY));
        const M relaxed = stiff - 3;
        stiff = pressed ? stiff + 1 : (relaxed > 0 ? relaxed : M());
        const M too_stiff = both(stiff >= options.stiff_count, tries >= options.stiff_after);
        const M too_many = both(running, (tries >= options.max_steps) | too_stiff);
        const V least = 10.0 * __DBL_EPSILON__ * vmax(vabs(t), brief);
        const M vanished = both(both(running, ~accepted), h < least);
        const M done = both(running, ~(t < end));
        if (!any(too_many | vanished | done)) return;
        for (int l = 0; l < W; ++l) {
            if (vanished[l]) finish(l, DIVERGED);
            else if (done[l]) finish(l, CONVERGED);
            else if (too_many[l]) finish(l, TOO_MANY_STEPS);
        }
    }

    int free_lanes() const {
        int count = 0;
        for (int l = 0; l < W; ++l) count += taken[l] ? 0 : 1;
        return count;
    }

    // Integrate the trajectories of a list.
    void run(const int64_t *list, int64_t count) {
        int64_t next = 0;
        while (true) {
            // A fresh start costs two evaluations for all lanes: wait until some are free.
            const int free = free_lanes();
            while (next < count && free_lanes() >= (W < 3 ? 1 : 3)) next += fill(list + next, count - next);
            (void)free;
            if (!any(running)) {
                if (next >= count) return;
                continue;
            }
            advance();
        }
    }
};
