// Lanes along their records: begin, go from sample to sample, observe, add up.
// Continues `residuals.cpp`.

template <bool SENS> struct Group {
    const Trajectories &data;
    const Lanes &lanes;
    const Options &options;
    M id;
    V p[ROOM_P];
    Point<SENS> now;
    Point<SENS> origin;  // of a closed form, at t
    Slope<SENS> k[N_STAGES + 1];
    V greatest[ROOM_S];
    V t;
    bool alive[W];
    int64_t steps[W];
    Residuals<SENS> residuals;

    Group(const Trajectories &d, const Lanes &l, const Options &o)
        : data(d), lanes(l), options(o), residuals{d, l, o, id, p, {}, {}, {}, {}} {}

    double time_of(int lane, int64_t sample) const {
        return data.times[lanes.row[id[lane]] * data.time_stride + sample];
    }

    void begin(const int64_t *chosen, int64_t left) {
        V initial[ROOM_S];
        for (int l = 0; l < W; ++l) {
            id[l] = chosen[l < left ? l : left - 1];
            alive[l] = true;
            steps[l] = 0;
            for (int j = 0; j < P; ++j) p[j][l] = lanes.parameters[id[l] * P + j];
            for (int i = 0; i < S; ++i) initial[i][l] = lanes.initial[id[l] * S + i];
            t[l] = data.start[lanes.row[id[l]]];
        }
        V jp[S * ROOM_P];
        if constexpr (HAS_INITIAL_STATE) {
            if constexpr (SENS) initial_state_jacobian(p, initial, jp);
            else initial_state(p, initial);
        }
        for (int i = 0; i < S; ++i) {
            now.y[i] = initial[i];
            greatest[i] = vabs(initial[i]);
            if constexpr (SENS)
                for (int d = 0; d < D; ++d) {
                    now.s[d][i] = splat(DIRECTION[d] == -1 - i ? 1.0 : 0.0);
                    if (HAS_INITIAL_STATE && DIRECTION[d] >= 0 && INI_P[i * P + DIRECTION[d]])
                        now.s[d][i] = jp[i * P + DIRECTION[d]];
                }
        }
        origin = now;
        for (int l = 0; l < W; ++l) residuals.begin(l);
    }

    Drive drive_to(int64_t sample, V end) const {
        Drive drive;
        drive.t0 = t;
        drive.inverse = splat(0.0);
        for (int i = 0; i < I; ++i)
            for (int l = 0; l < W; ++l) {
                const int64_t at = lanes.row[id[l]] * data.n_times + sample;
                const double after = data.inputs[at * I + i];
                // Before the first sample the input is held.
                const double before = sample > 0 ? data.inputs[(at - 1) * I + i] : after;
                drive.first[i][l] = before;
                drive.change[i][l] = HELD[i] ? 0.0 : after - before;
            }
        if (I > 0)
            for (int l = 0; l < W; ++l) drive.inverse[l] = end[l] > t[l] ? 1.0 / (end[l] - t[l]) : 0.0;
        return drive;
    }

    // Go from t to `end` in as many equal steps as keep every step's error small.
    void advance(int64_t sample, V end, const bool *moving) {
        const Drive drive = drive_to(sample, end);
        // Where an input or a state has jumped, the slope at the end of the last step is not this.
        if (ANY_HELD || data.jumps) slope_at<SENS>(t, now, p, drive, k[0]);
        const Point<SENS> before = now;
        const Slope<SENS> slope_before = k[0];
        V greatest_before[ROOM_S];
        for (int i = 0; i < S; ++i) greatest_before[i] = greatest[i];
        int32_t count[W], settled[W];
        for (int l = 0; l < W; ++l) {
            const int32_t planned = lanes.plan[id[l] * data.n_times + sample];
            count[l] = settled[l] = moving[l] ? (planned > 0 ? planned : 1) : 0;
        }
        while (true) {
            now = before;
            k[0] = slope_before;
            for (int i = 0; i < S; ++i) greatest[i] = greatest_before[i];
            const V error = march(end, drive, count);
            bool again = false;
            for (int l = 0; l < W; ++l) {
                if (!moving[l] || !alive[l]) continue;
                settled[l] = next_count(count[l], error[l]);
                if (error[l] <= 1.0) continue;
                if (settled[l] <= count[l] || steps[l] + settled[l] > options.max_steps ||
                    (!(error[l] < INFINITY) && count[l] >= 4096)) {
                    alive[l] = false;
                    lanes.status[id[l]] = error[l] < INFINITY ? TOO_MANY_STEPS : NOT_FINITE;
                    count[l] = 0;
                    continue;
                }
                count[l] = settled[l];
                again = true;
            }
            if (!again) break;
        }
        for (int l = 0; l < W; ++l) {
            if (!moving[l]) continue;
            steps[l] += count[l];
            if (alive[l]) lanes.plan[id[l] * data.n_times + sample] = settled[l];
        }
        for (int l = 0; l < W; ++l)
            if (moving[l]) t[l] = end[l];
    }

    V march(V end, const Drive &drive, const int32_t *count) {
        int32_t most = 0;
        V h = splat(0.0), worst = splat(0.0);
        for (int l = 0; l < W; ++l) {
            if (count[l] > 0) h[l] = (end[l] - t[l]) / count[l];
            most = count[l] > most ? count[l] : most;
        }
        for (int32_t q = 0; q < most; ++q) {
            M going = {};
            for (int l = 0; l < W; ++l) going[l] = q < count[l] ? -1 : 0;
            Point<SENS> next;
            V size[ROOM_S];
            for (int i = 0; i < S; ++i) size[i] = greatest[i];
            const V error = step<SENS>(t + (double)q * h, select(going, h, splat(0.0)), now, next, p,
                                       drive, k, size, options.rtol);
            worst = larger(select(going, error, splat(0.0)), worst);
            for (int i = 0; i < S; ++i) {
                greatest[i] = select(going, size[i], greatest[i]);
                now.y[i] = select(going, next.y[i], now.y[i]);
                k[0].f[i] = select(going, k[N_STAGES].f[i], k[0].f[i]);
                if constexpr (SENS)
                    for (int d = 0; d < D; ++d) {
                        now.s[d][i] = select(going, next.s[d][i], now.s[d][i]);
                        k[0].g[d][i] = select(going, k[N_STAGES].g[d][i], k[0].g[d][i]);
                    }
            }
        }
        return worst;
    }

    // With jumps the origin may depend on everything, without on the initial state alone.
    template <bool JUMPS> void move_by_solution(V end) {
        V jy[S * S], jp[S * ROOM_P];
        const V elapsed = end - t;  // t stays at the initial time, or at the last jump
        if constexpr (!SENS) {
            solution(elapsed, origin.y, p, now.y);
            return;
        } else {
            solution_jacobian(elapsed, origin.y, p, now.y, jy, jp);
            for (int d = 0; d < D; ++d)
                for (int i = 0; i < S; ++i) {
                    V total = splat(0.0);
                    for (int j = 0; j < S; ++j) {
                        if (!SOL_Y[i * S + j]) continue;
                        if (JUMPS || (HAS_INITIAL_STATE && DIRECTION[d] >= 0 &&
                                      INI_P[j * P + DIRECTION[d]]))
                            total += jy[i * S + j] * origin.s[d][j];
                        else if (DIRECTION[d] == -1 - j)
                            total += jy[i * S + j];
                    }
                    if (DIRECTION[d] >= 0 && SOL_P[i * P + DIRECTION[d]])
                        total += jp[i * P + DIRECTION[d]];
                    now.s[d][i] = total;
                }
        }
    }

    // What doses at this time add; derivatives stay as they are.
    void jump(int64_t sample, V at, const bool *here) {
        M hit = {};
        for (int i = 0; i < S; ++i)
            for (int l = 0; l < W; ++l) {
                const double rise = data.jumps[(lanes.row[id[l]] * data.n_times + sample) * S + i];
                if (!here[l] || rise == 0.0) continue;
                now.y[i][l] += rise;
                hit[l] = -1;
            }
        if constexpr (HAS_SOLUTION) {
            t = select(hit, at, t);
            for (int i = 0; i < S; ++i) {
                origin.y[i] = select(hit, now.y[i], origin.y[i]);
                if constexpr (SENS)
                    for (int d = 0; d < D; ++d)
                        origin.s[d][i] = select(hit, now.s[d][i], origin.s[d][i]);
            }
        }
    }

    void run() {
        int64_t last = 0;
        for (int l = 0; l < W; ++l) {
            const int64_t limit = lanes.limit[id[l]];
            last = limit > last ? limit : last;
            lanes.status[id[l]] = GOOD;
        }
        if constexpr (!HAS_SOLUTION) {
            V first = t;
            for (int l = 0; l < W; ++l) first[l] = time_of(l, 0);
            slope_at<SENS>(t, now, p, drive_to(0, first), k[0]);
            for (int l = 0; l < W; ++l)
                for (int i = 0; i < S; ++i)
                    if (!(vabs(k[0].f[i])[l] < INFINITY && vabs(now.y[i])[l] < INFINITY)) {
                        alive[l] = false;  // no number of steps leads on from here
                        lanes.status[id[l]] = NOT_FINITE;
                    }
        }
        for (int64_t sample = 0; sample < last; ++sample) {
            V end = t;
            bool here[W], moving[W], running = false;
            for (int l = 0; l < W; ++l) {
                here[l] = sample < lanes.limit[id[l]];
                if (here[l]) end[l] = time_of(l, sample);
                moving[l] = here[l] && alive[l] && end[l] > t[l];
                running = running || (here[l] && alive[l]);
            }
            if (!running) break;
            if constexpr (HAS_SOLUTION) {
                if (any(end > t)) {
                    if (data.jumps) move_by_solution<true>(end);
                    else move_by_solution<false>(end);
                }
            } else {
                advance(sample, end, moving);
            }
            if (data.jumps) jump(sample, end, here);
            M seen, number = M() + sample;
            for (int l = 0; l < W; ++l) seen[l] = here[l] && alive[l] ? -1 : 0;
            residuals.at_sample(seen, number, end, reinterpret_cast<const V *>(&now));
        }
        for (int l = 0; l < W; ++l) residuals.finish(l, steps[l]);
    }
};

template <bool SENS>
void evaluate(int64_t n, const int64_t *chosen, const Trajectories &data, const Lanes &lanes,
              const Options &options, int threads) {
    const int64_t groups = (n + W - 1) / W;
    // Waking threads for a handful of trajectories takes longer than fitting them.
    const int64_t useful = groups / 4;
    const int used = useful < 1 ? 1 : useful < threads ? (int)useful : threads;
    (void)used;
#pragma omp parallel for schedule(dynamic) num_threads(used)
    for (int64_t g = 0; g < groups; ++g) {
        Group<SENS> group(data, lanes, options);
        group.begin(chosen + g * W, n - g * W);
        group.run();
    }
}

}  // namespace

extern "C" void fit_evaluate(int64_t n, const int64_t *chosen, const Trajectories *data,
                             const Lanes *lanes, const Options *options, int32_t sensitivities,
                             int32_t threads) {
    if (sensitivities)
        evaluate<true>(n, chosen, *data, *lanes, *options, threads);
    else
        evaluate<false>(n, chosen, *data, *lanes, *options, threads);
}
