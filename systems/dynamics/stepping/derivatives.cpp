// Right-hand sides with inputs, and the variational equations of the derivatives along each
// direction (forward sensitivities). Continues `lanes.cpp`.

namespace {

// The inputs of W trajectories, each on one piece of its schedule: u = first + slope (t - origin).
struct InputPiece {
    V origin, first[ROOM_I], slope[ROOM_I];
    M side[ROOM_K];              // the comparisons of the right-hand side, if they are held
    void at(V t, V *u) const {
        for (int i = 0; i < I; ++i) u[i] = first[i] + slope[i] * (t - origin);
    }

    // The comparisons at a point as they are.
    static void sides(V t, const V *y, const V *p, const V *u, M *m) {
        V g[ROOM_K];
        switch_values(t, y, p, u, g);
        for (int k = 0; k < N_SWITCHES; ++k) {
            const M above = ABOVE_AT_ZERO[k] ? g[k] >= splat(0.0) : g[k] > splat(0.0);
            m[k] = SWITCH_ABOVE[k] ? above : ~above;
        }
    }
};

// The derivative of initial state i along direction d, where the initial states are given.
inline double seed(int d, int i) { return DIRECTION[d] == -1 - i ? 1.0 : 0.0; }

// The time derivative of a lane's vector. The derivatives s = dy/dq along a direction q solve the
// variational equation ds/dt = df/dy s + df/dq (Hairer, Norsett, Wanner, Solving ODEs I, sec.
// I.14).
template <int ROWS> inline void slope_at(V t, const V *y, const V *p, const InputPiece &drive, V *out) {
    V u[ROOM_I];
    drive.at(t, u);
    if constexpr (ROWS == S) {
        if constexpr (HOLDS_SWITCHES) held_rhs(t, y, p, u, drive.side, out);
        else rhs(t, y, p, u, out);
    } else {
        V jy[S * S], jp[S * ROOM_P];
        if constexpr (HOLDS_SWITCHES) held_jacobian(t, y, p, u, drive.side, out, jy, jp);
        else rhs_jacobian(t, y, p, u, out, jy, jp);
        // Unrolled, so that the pattern RHS_Y is known to the compiler and zero entries cost
        // nothing.
#pragma GCC unroll 16
        for (int d = 0; d < D; ++d)
#pragma GCC unroll 16
            for (int i = 0; i < S; ++i) {
                V total = splat(0.0);
#pragma GCC unroll 16
                for (int j = 0; j < S; ++j)
                    if (RHS_Y[i * S + j]) total += jy[i * S + j] * y[S * (1 + d) + j];
                if (DIRECTION[d] >= 0 && RHS_P[i * P + DIRECTION[d]])
                    total += jp[i * P + DIRECTION[d]];
                out[S * (1 + d) + i] = total;
            }
    }
}

}  // namespace
