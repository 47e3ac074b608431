// Vectors of trajectories: their sizes, their masks, and how an integration ends.
//
// The functions of the system (rhs, rhs_jacobian, rhs_linearization, ...) come before this file;
// `cpp.py` prints them from the system's own code. `source.py` also defines:
//   W                         lanes of a vector; each lane is a trajectory
//   N_DIRECTIONS, DIRECTION[] directions of differentiation: parameter j as j, state s as -1 - s
//   the coefficients of methods, one struct for each, see `runge_kutta.cpp` and `rosenbrock.cpp`
// A lane never reads the numbers of another lane, and all lanes execute the same operations, so
// that the result of a trajectory does not depend on its neighbors.

#include <cstdint>
#include <utility>

namespace {

constexpr int S = N_STATES, P = N_PARAMETERS, I = N_INPUTS, D = N_DIRECTIONS;
// The vector of a lane holds its states, then their derivatives along each direction. Templates
// over ROWS work on the states alone (ROWS = S) or on the whole vector (ROWS = R).
constexpr int R = S * (1 + D);
constexpr int ROOM_P = P > 0 ? P : 1, ROOM_I = I > 0 ? I : 1, ROOM_D = D > 0 ? D : 1,
              ROOM_K = N_SWITCHES > 0 ? N_SWITCHES : 1;

// The numbers of `Status` in `problem.py`; STIFF is for the caller alone, who continues with an
// implicit method.
enum Status : int32_t {
    CONVERGED = 0, DIVERGED = 1, TOO_MANY_STEPS = 2, STIFF = 3, TOO_MANY_EVENTS = 5
};

// How the integration of one trajectory ended.
struct Ending {
    Status status;
    int64_t steps;
    double error;   // relative, if the step policy estimates it; else 0
};

inline M both(M a, M b) { return a & b; }
inline bool any(M mask) {
    for (int l = 0; l < W; ++l)
        if (mask[l]) return true;
    return false;
}
inline M finite(V x) { return vabs(x) < splat(__builtin_inf()); }
inline V larger(V a, V b) { return select(a > b, a, b); }  // b if a is NaN

// The maximum norm over the states; NaN if one of them is NaN.
inline V largest(const V *values) {
    V most = splat(0.0);
    for (int i = 0; i < S; ++i) most = vmax(vabs(values[i]), most);
    return most;
}

}  // namespace
