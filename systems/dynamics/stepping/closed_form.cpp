// Closed-form solutions, which need no steps. Continues `samples.cpp`, with the interface of its
// step policies.

namespace {

// Whether the derivative of initial state i along direction d can differ from zero for any values.
inline bool starts_with(int i, int d) {
    return HAS_INITIAL_STATE && DIRECTION[d] >= 0 && INI_P[i * P + DIRECTION[d]];
}

template <int ROWS> struct ClosedForm {
    Walk<ROWS> &walk;
    Position<ROWS> &lanes;
    V since, origin[ROWS];   // the time of the start or of the last jump, and the point there

    explicit ClosedForm(Walk<ROWS> &one) : walk(one), lanes(one.lanes) {}

    void begin() { restart(~M()); }

    void arrived(int64_t, M hit, const bool *) {
        if (walk.samples.jumps) restart(hit);
    }

    // The closed form restarts from the point after a jump.
    void restart(M hit) {
        since = select(hit, lanes.t, since);
        for (int i = 0; i < ROWS; ++i) origin[i] = select(hit, lanes.y[i], origin[i]);
    }

    void finish() {}

    void advance(int64_t, V end, const bool *) {
        if (!any(end > since)) return;
        if (walk.samples.jumps) move<true>(end - since);
        else move<false>(end - since);
    }

    // y = F(t, y_0, p), hence dy/dq = dF/dy_0 dy_0/dq + dF/dq along a direction q. After jumps, y_0
    // may depend on everything; without them it depends on the initial state alone.
    template <bool JUMPS> void move(V elapsed) {
        if constexpr (ROWS == S) {
            solution(elapsed, origin, lanes.p, lanes.y);
        } else {
            V jy[S * S], jp[S * ROOM_P];
            solution_jacobian(elapsed, origin, lanes.p, lanes.y, jy, jp);
            for (int d = 0; d < D; ++d)
                for (int i = 0; i < S; ++i) {
                    V total = splat(0.0);
                    for (int j = 0; j < S; ++j) {
                        // Entries that are zero for all values are not written, and must not be
                        // read.
                        if (!SOL_Y[i * S + j]) continue;
                        if (JUMPS || starts_with(j, d))
                            total += jy[i * S + j] * origin[S * (1 + d) + j];
                        else if (DIRECTION[d] == -1 - j)
                            total += jy[i * S + j];
                    }
                    if (DIRECTION[d] >= 0 && SOL_P[i * P + DIRECTION[d]])
                        total += jp[i * P + DIRECTION[d]];
                    lanes.y[S * (1 + d) + i] = total;
                }
        }
    }
};

}  // namespace
