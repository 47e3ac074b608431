// Vectors of trajectories: their sizes, their masks, and how an integration ends.
//
// The functions of the system (rhs, rhs_jacobian, rhs_linearization, ...) stand above; `cpp.py`
// makes them from the system's own code. With them come, from `source.py`:
//   W                         lanes of a vector; each lane is a trajectory
//   N_DIRECTIONS, DIRECTION[] what is differentiated by: parameter j as j, initial state s as -1 - s
//   the coefficients of methods, one struct for each, see `runge_kutta.cpp` and `rosenbrock.cpp`
//
// A lane never reads another lane's numbers, and every lane goes through the same operations, so a
// trajectory's result does not depend on its neighbors.

#include <cstdint>
#include <utility>

namespace {

constexpr int S = N_STATES, P = N_PARAMETERS, I = N_INPUTS, D = N_DIRECTIONS;
// A lane's vector: its states, then their derivatives along each direction. Functions that are
// templates over ROWS work on the states alone (ROWS = S) or on all of it (ROWS = R).
constexpr int R = S * (1 + D);
constexpr int ROOM_P = P > 0 ? P : 1, ROOM_I = I > 0 ? I : 1, ROOM_D = D > 0 ? D : 1;

enum Status : int32_t { CONVERGED = 0, DIVERGED = 1, TOO_MANY_STEPS = 2 };

// How the integration of one trajectory ended.
struct Ending {
    Status status;
    int64_t steps;
    double error;   // relative, as far as the policy of steps estimates it; else 0
};

inline M both(M a, M b) { return a & b; }
inline bool any(M mask) {
    for (int l = 0; l < W; ++l)
        if (mask[l]) return true;
    return false;
}
inline M finite(V x) { return vabs(x) < splat(__builtin_inf()); }
inline V larger(V a, V b) { return select(a > b, a, b); }  // b where a is not a number

// The largest absolute value over the states; not a number where one of them is not.
inline V largest(const V *values) {
    V most = splat(0.0);
    for (int i = 0; i < S; ++i) most = vmax(vabs(values[i]), most);
    return most;
}

}  // namespace
