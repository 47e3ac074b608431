// Trajectories on their way, W at a time; a lane that is done takes the next trajectory. Continues
// `runge_kutta.cpp` or `rosenbrock.cpp`, with ERROR_ORDER and STABILITY of the method.
//
// Each lane carries two solutions: a coarse one, whose local errors choose the steps, and a fine one
// that takes every step in two halves. The coarse one is reported, and their distance at the samples
// is its error.

inline V root(V error) {  // error^(1 / (ERROR_ORDER + 1))
    if constexpr (ERROR_ORDER == 7) return vsqrt(vsqrt(vsqrt(error)));
    else return vpow(error, splat(1.0 / (ERROR_ORDER + 1)));
}

constexpr int64_t CHUNK = 512;
constexpr int WAIT = 3;

struct Lanes {
    const Problem &problem;
    const Options &options;
    const Results &results;

    int64_t id[W];
    V t, h, end, brief, next_time, next_stop;
    V p[ROOM_P];
    V y[R], f[R];               // coarse
    V fine[S], fine_f[S];
    V gap[S], greatest[S];
    V sizes[R];                 // greatest absolute values on the way, of the derivatives
    Drive drive;
    M running = {}, rejected = {}, taken = {};
    M sample, piece, tries, stiff;
    Stepper<R> whole;
    Stepper<S> half[2];

    Lanes(const Problem &one, const Options &two, const Results &three)
        : problem(one), options(two), results(three) {
        for (int l = 0; l < W; ++l) id[l] = 0;
        t = h = end = brief = next_time = next_stop = splat(0.0);
        for (int j = 0; j < P; ++j) p[j] = splat(1.0);
        for (int i = 0; i < R; ++i) y[i] = f[i] = sizes[i] = splat(0.0);
        for (int i = 0; i < S; ++i) fine[i] = fine_f[i] = gap[i] = greatest[i] = splat(0.0);
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
            for (int i = 0; i < S; ++i) {
                const int64_t at = (i * problem.n + id[l]) * problem.n_stops + piece[l];
                y[i][l] += problem.jumps[at];
                fine[i][l] += problem.jumps[at];
            }
        piece[l] += 1;
        next_stop[l] = stop_of(l, piece[l]);
    }

    // Take trajectories into the lanes that are free; returns how many.
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
        }
        for (int d = 0; d < D; ++d)
            for (int i = 0; i < S; ++i) {
                const double slope = DIRECTION[d] == -1 - i ? 1.0 : 0.0;
                y[S * (1 + d) + i][l] = slope;
                // Most derivatives begin at zero; the natural size is that of y / p.
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
    }

    // Choose the first step as Hairer, Norsett, Wanner, Solving ODEs I, sec. II.4, do.
    void begin(M fresh) {
        V f_new[R], scale[S], scaled[S], steep[S];
        slope_at<R>(t, y, p, drive, f_new);
        M defined = fresh;
        for (int i = 0; i < S; ++i) {
            defined = both(defined, finite(f_new[i]));
            scale[i] = options.atol + options.rtol * vabs(y[i]);
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
        for (int l = 0; l < W; ++l) {
            if (!fresh[l]) continue;
            if (next_time[l] == t[l]) write(l, y, fine);
            if (!running[l]) finish(l, defined[l] ? CONVERGED : DIVERGED);
        }
    }

    // Write a sample that a lane has come to: a value for each row, and how far the two are apart.
    void write(int l, const V *coarse, const V *other) {
        const int64_t at = id[l] * problem.n_times + sample[l];
        for (int i = 0; i < S; ++i) {
            const double value = coarse[i][l], size = __builtin_fabs(value);
            const double away = __builtin_fabs(coarse[i][l] - other[i][l]);
            results.states[at * S + i] = value;
            gap[i][l] = away > gap[i][l] ? away : gap[i][l];
            greatest[i][l] = size > greatest[i][l] ? size : greatest[i][l];
        }
        for (int d = 0; d < D; ++d)
            for (int i = 0; i < S; ++i)
                results.slopes[(at * D + d) * S + i] = coarse[S * (1 + d) + i][l];
        sample[l] += 1;
        next_time[l] = time_of(l, sample[l]);
    }

    void finish(int l, Status status) {
        running[l] = taken[l] = 0;
        next_time[l] = next_stop[l] = __builtin_inf();
        double worst = 0.0;
        for (int i = 0; i < S; ++i) {
            const double relative = gap[i][l] / (options.scale + greatest[i][l]);
            worst = worst > relative ? worst : relative;
        }
        results.error[id[l]] = worst;
        results.status[id[l]] = status;
    }

    // Interpolate at the samples in one half of a step, which begins at `from` and is `size` long.
    void write_samples(V step, V from, V size, V to, const V *start, const V (*coarse)[R],
                       const V (*halved)[S]) {
        while (true) {
            const M due = next_time < to;
            if (!any(due)) return;
            V values[R], others[S];
            interpolate<R>(y, coarse, (next_time - t) / step, values);
            interpolate<S>(start, halved, (next_time - from) / size, others);
            for (int l = 0; l < W; ++l)
                if (due[l]) write(l, values, others);
        }
    }

    template <int ROWS>
    static void interpolate(const V *start, const V (*coefficients)[ROWS], V x, V *out) {
        const V rest = 1.0 - x;
        for (int i = 0; i < ROWS; ++i) {
            V value = splat(0.0);
            for (int j = N_COEFFICIENTS - 1; j >= 0; --j)
                value = (value + coefficients[j][i]) * (j % 2 ? rest : x);
            out[i] = start[i] + value;
        }
    }

    // Try one step of every running lane; take it where its error is small enough.
    void advance() {
        const V target = vmin(next_stop, end), room = target - t;
        const M last = h >= room;
        const V step = select(running, select(last, room, h), splat(0.0));
        Trial<R> trial;
        whole.attempt(t, step, y, f, p, drive, trial);
        whole.measure(step, y, sizes, options, trial);
        M accepted = both(trial.norm <= splat(1.0), running);
        if (any(accepted)) accepted = take_halves(step, accepted, last, target, trial);
        choose_step(trial, step, accepted, last);
        retire(trial, accepted);
    }

    // What the halves say of a step's local error, over what is allowed: it catches the steps whose
    // own estimate vanishes by chance. The distance that was there before is carried along and may
    // grow, too. Infinite where the halves are not finite.
    V discrepancy(const Trial<R> &trial, const Trial<S> &second) const {
        V local[S], carried[S];
        M sound = t == t;
        for (int i = 0; i < S; ++i) {
            const V scale = options.atol + options.rtol * vmax(vabs(y[i]), vabs(trial.y[i]));
            carried[i] = (y[i] - fine[i]) / scale;
            local[i] = (trial.y[i] - second.y[i]) / scale - carried[i];
            sound = both(sound, finite(second.y[i] + second.f[i]));
        }
        const V norm = largest(local) / (options.allowance * vmax(largest(carried), splat(1.0)));
        return select(both(sound, finite(norm)), norm, splat(__builtin_inf()));
    }

    // Repeat the accepted steps in halves, write the samples, and move on; returns where this held.
    M take_halves(V step, M accepted, M last, V target, Trial<R> &trial) {
        const V size = select(accepted, 0.5 * step, splat(0.0)), middle = t + size;
        Trial<S> first, second;
        half[0].attempt(t, size, fine, fine_f, p, drive, first);
        half[1].attempt(middle, size, first.y, first.f, p, drive, second);
        const V norm = discrepancy(trial, second);
        const M sound = both(accepted, norm <= splat(1.0));
        trial.norm = select(accepted, vmax(norm, trial.norm), trial.norm);
        const V t_new = select(sound, select(last, target, t + step), t);
        if (any(next_time < t_new)) {
            const V t_middle = select(sound, middle, t);
            V coarse[N_COEFFICIENTS][R], halved[N_COEFFICIENTS][S];
            whole.interpolant(t, step, y, p, drive, trial, coarse);
            if (any(next_time < t_middle)) {
                half[0].interpolant(t, size, fine, p, drive, first, halved);
                write_samples(step, t, size, t_middle, fine, coarse, halved);
            }
            if (any(next_time < t_new)) {
                half[1].interpolant(middle, size, first.y, p, drive, second, halved);
                write_samples(step, middle, size, t_new, first.y, coarse, halved);
            }
        }
        t = t_new;
        for (int i = 0; i < R; ++i) {
            y[i] = select(sound, trial.y[i], y[i]);
            f[i] = select(sound, trial.f[i], f[i]);
        }
        for (int i = S; i < R; ++i) sizes[i] = vmax(sizes[i], vabs(y[i]));
        for (int i = 0; i < S; ++i) {
            fine[i] = select(sound, second.y[i], fine[i]);
            fine_f[i] = select(sound, second.f[i], fine_f[i]);
        }
        if (problem.n_stops > 0) pass_stops();
        const M reached = both(next_time == t, running);
        if (any(reached))
            for (int l = 0; l < W; ++l)
                if (reached[l]) write(l, y, fine);
        return sound;
    }

    void pass_stops() {
        const M here = both(next_stop == t, running);
        if (!any(here)) return;
        for (int l = 0; l < W; ++l) {
            if (!here[l]) continue;
            while (next_stop[l] == t[l]) pass_stop(l);
            load_drive(l);
        }
        V f_new[R], fine_new[S];
        slope_at<R>(t, y, p, drive, f_new);
        slope_at<S>(t, fine, p, drive, fine_new);
        for (int i = 0; i < R; ++i) f[i] = select(here, f_new[i], f[i]);
        for (int i = 0; i < S; ++i) fine_f[i] = select(here, fine_new[i], fine_f[i]);
    }

    void choose_step(const Trial<R> &trial, V step, M accepted, M last) {
        V factor = options.safety / root(trial.norm);
        factor = vmin(vmax(factor, splat(options.shrink)), splat(options.grow));
        factor = select(rejected, vmin(factor, splat(1.0)), factor);
        const V proposed = step * factor;
        // A step cut short by its target says nothing against the size it was cut from.
        h = select(both(accepted, last), vmax(proposed, h), proposed);
        rejected = ~accepted;
    }

    void retire(const Trial<R> &trial, M accepted) {
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

    // Integrate the trajectories from first to last - 1.
    void run(int64_t first, int64_t last) {
        while (true) {
            // A fresh start costs evaluations for all lanes: wait until some are free.
            while (first < last && free_lanes() >= WAIT) first += fill(first, last - first);
            if (any(running)) advance();
            else if (first >= last) return;
        }
    }
};

}  // namespace

// Integrate all trajectories; samples that are not reached stay as they are in `results`.
extern "C" void flow(const Problem *problem, const Options *options, const Results *results,
                     int32_t threads) {
    const int64_t chunks = (problem->n + CHUNK - 1) / CHUNK;
    const int used = chunks < threads ? (int)chunks : threads;
    (void)used;
#pragma omp parallel for schedule(dynamic) num_threads(used)
    for (int64_t c = 0; c < chunks; ++c) {
        const int64_t first = c * CHUNK, last = first + CHUNK;
        Lanes(*problem, *options, *results).run(first, last < problem->n ? last : problem->n);
    }
}
