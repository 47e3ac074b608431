// Integrates the trajectories of a fit along their records, W at a time. Included after
// `residuals.cpp`.

namespace {

// W trajectories, one in each lane of a SIMD vector. With SENS, the integrated vector (R rows) is
// the state and its derivatives S_d = dy / dtheta_d along D directions, which follow the
// variational equations dS_d/dt = (df/dy) S_d + df/dtheta_d.
template <bool SENS> struct Group {
    static constexpr int ROWS = SENS ? R : S;

    const Trajectories &data;
    const Lanes &lanes;
    const PlanControl &options;

    void run(const int64_t *chosen, int64_t left) const {
        Position<ROWS> at;
        // The last vector may have fewer trajectories than lanes: the others repeat the last one,
        // and write the same results twice.
        for (int l = 0; l < W; ++l) load(at, l, chosen[l < left ? l : left - 1]);
        begin(at);
        Walk<ROWS> walk{at, data, lanes};
        Residuals<SENS> residuals{data, lanes};
        if constexpr (HAS_SOLUTION) {
            ClosedForm<ROWS> policy(walk);
            walk.run(policy, residuals);
        } else {
            Planned<Method, ROWS> policy(walk, options);
            walk.run(policy, residuals);
        }
    }

    void load(Position<ROWS> &at, int l, int64_t lane) const {
        at.id[l] = lane;
        at.running[l] = true;
        at.status[l] = CONVERGED;
        at.steps[l] = 0;
        at.t[l] = data.start[lanes.row[lane]];
        for (int j = 0; j < P; ++j) at.p[j][l] = lanes.parameters[lane * P + j];
        for (int i = 0; i < S; ++i) at.y[i][l] = lanes.initial[lane * S + i];
    }

    // The initial states, where the system computes them from its parameters, and their
    // derivatives: dy_0/dtheta from that function, or a unit vector where theta_d is an initial
    // state itself.
    void begin(Position<ROWS> &at) const {
        V jp[S * ROOM_P];
        if constexpr (HAS_INITIAL_STATE) {
            if constexpr (SENS) initial_state_jacobian(at.p, at.y, jp);
            else initial_state(at.p, at.y);
        }
        if constexpr (SENS)
            for (int d = 0; d < D; ++d)
                for (int i = 0; i < S; ++i)
                    at.y[S * (1 + d) + i] =
                        starts_with(i, d) ? jp[i * P + DIRECTION[d]] : splat(seed(d, i));
    }
};

template <bool SENS>
void evaluate(int64_t n, const int64_t *chosen, const Trajectories &data, const Lanes &lanes,
              const PlanControl &options, int threads) {
    const int64_t groups = (n + W - 1) / W;
    // Waking threads for a handful of trajectories takes longer than fitting them. Dynamic
    // scheduling, because the numbers of steps differ.
    const int64_t useful = groups / 4;
    const int used = useful < 1 ? 1 : useful < threads ? (int)useful : threads;
    (void)used;
    const Group<SENS> group{data, lanes, options};
#pragma omp parallel for schedule(dynamic) num_threads(used)
    for (int64_t g = 0; g < groups; ++g) group.run(chosen + g * W, n - g * W);
}

}  // namespace

extern "C" void fit_evaluate(int64_t n, const int64_t *chosen, const Trajectories *data,
                             const Lanes *lanes, const PlanControl *options, int32_t sensitivities,
                             int32_t threads) {
    if (sensitivities)
        evaluate<true>(n, chosen, *data, *lanes, *options, threads);
    else
        evaluate<false>(n, chosen, *data, *lanes, *options, threads);
}
