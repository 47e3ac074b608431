// Many trajectories of one system, each with its own steps: what comes in, what goes out.
//
// The functions of the system (rhs, rhs_jacobian, rhs_linearization) stand above, made by the
// package from the system's own code, and with them:
//   W                         lanes of a vector; each lane is a trajectory
//   N_DIRECTIONS, DIRECTION[] what is differentiated by: parameter j as j, initial state s as -1 - s
//   the coefficients of one method, see `runge_kutta.cpp` and `rosenbrock.cpp`
//
// A lane never reads another lane's numbers, and every lane goes through the same operations, so a
// trajectory's result does not depend on its neighbors. The algorithm is that of `adaptive.py`.

#include <cstdint>
#include <utility>

namespace {

constexpr int S = N_STATES, P = N_PARAMETERS, I = N_INPUTS, D = N_DIRECTIONS;
// A lane's vector: its states, then their derivatives along each direction.
constexpr int R = S * (1 + D);
constexpr int ROOM_P = P > 0 ? P : 1, ROOM_I = I > 0 ? I : 1;

enum Status : int32_t { CONVERGED = 0, DIVERGED = 1, TOO_MANY_STEPS = 2 };

// All in the layout of `Problem`; absent parts are null.
struct Problem {
    int64_t n, n_times, time_stride, n_stops;
    const double *times;                      // (N, T) or (1, T), infinite behind the last
    const int64_t *counts;                    // (N,)
    const double *start, *initial;            // (N,), (S, N)
    const double *parameters;                 // (P, N)
    const double *stops, *jumps;              // (N, J), (S, N, J)
    const double *origin, *first, *slope;     // (N, J + 1), (I, N, J + 1), (I, N, J + 1)
};

struct Options {
    double rtol, atol;                        // of the local errors
    double scale;                             // atol / rtol, of the error estimate
    double allowance, safety, shrink, grow;   // of the step control
    int64_t max_steps, stiff_after, stiff_count;
};

struct Results {
    double *states;      // (N, T, S)
    double *slopes;      // (N, T, D, S) or null
    double *error;       // (N,)
    int64_t *status;     // (N,)
};

inline M both(M a, M b) { return a & b; }
inline bool any(M mask) {
    for (int l = 0; l < W; ++l)
        if (mask[l]) return true;
    return false;
}
inline M finite(V x) { return vabs(x) < splat(__builtin_inf()); }

// The largest absolute value over the states; not a number where one of them is not.
inline V largest(const V *values) {
    V most = splat(0.0);
    for (int i = 0; i < S; ++i) most = vmax(vabs(values[i]), most);
    return most;
}

// The inputs of W trajectories on one piece of time each: linear.
struct Drive {
    V origin, first[ROOM_I], slope[ROOM_I];
    void at(V t, V *u) const {
        for (int i = 0; i < I; ++i) u[i] = first[i] + slope[i] * (t - origin);
    }
};

// The derivative of a lane's vector: of its states alone (ROWS = S), or of all (ROWS = R).
template <int ROWS> inline void slope_at(V t, const V *y, const V *p, const Drive &drive, V *out) {
    V u[ROOM_I];
    drive.at(t, u);
    if constexpr (ROWS == S) {
        rhs(t, y, p, u, out);
    } else {
        V jy[S * S], jp[S * ROOM_P];
        rhs_jacobian(t, y, p, u, out, jy, jp);
        for (int d = 0; d < D; ++d)
            for (int i = 0; i < S; ++i) {
                V total = splat(0.0);
                for (int j = 0; j < S; ++j)
                    if (RHS_Y[i * S + j]) total += jy[i * S + j] * y[S * (1 + d) + j];
                if (DIRECTION[d] >= 0 && RHS_P[i * P + DIRECTION[d]])
                    total += jp[i * P + DIRECTION[d]];
                out[S * (1 + d) + i] = total;
            }
    }
}

// A step that was tried.
template <int ROWS> struct Trial {
    V y[ROWS], f[ROWS];
    V norm;               // the largest local error over what is tolerated; infinite if not finite
    V stiffness;          // step size times an estimate of the largest eigenvalue
};
