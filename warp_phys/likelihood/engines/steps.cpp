// Residuals, their sums of squares and normal equations of many trajectories, in one pass.
//
// The functions of the system (rhs, observe, solution, ...) and their Jacobians stand above, made
// by the package from the system's own code, and with them:
//   W                          lanes of a vector; each lane is a trajectory
//   N_DIRECTIONS, DIRECTION[]  what is differentiated by: parameter j as j, initial state s as -1 - s
//   N_SEEN, SEEN[]             the outputs that are observed
//   HELD[], ANY_HELD           inputs that keep their value from sample to sample; others are linear
//   noise_terms                what the noise model makes of a sample, see `Noise.terms`
//   STAGE_A, STAGE_C, WEIGHTS, ERRORS   the embedded Runge-Kutta pair, its last stage at the end
//
// A lane never reads another lane's numbers, and every lane goes through the same operations, so
// a trajectory's result does not depend on its neighbours.

#include <cstdint>

namespace {

constexpr int S = N_STATES, P = N_PARAMETERS, I = N_INPUTS, O = N_SEEN, D = N_DIRECTIONS;
constexpr int PACKED = D * (D + 1) / 2;
constexpr int ROOM_S = S, ROOM_P = P > 0 ? P : 1, ROOM_I = I > 0 ? I : 1, ROOM_D = D > 0 ? D : 1;

// How the steps of an interval follow from the error they made, see `next_count`.
constexpr double SAFETY = 1.15, SLACK = 1.0 / 128.0;
constexpr int MOST_IN_INTERVAL = 1 << 16;
// Of a state that passes through zero, the share of its greatest value that counts as its size.
constexpr double FLOOR = 1e-2;

enum Status : int32_t { GOOD = 0, NOT_FINITE = 1, TOO_MANY_STEPS = 2 };

struct Trajectories {
    int64_t n_times, time_stride;
    const double *times, *start;          // (N, T) or (T,), and (N,)
    const double *observed, *weights;     // (N, T, O); weights may be null
    const double *inputs;                 // (N, T, I) or null
    const double *jumps;                  // (N, T, S) what states rise by before a sample, or null
};

struct Lanes {
    const int64_t *row, *limit;           // trajectory of a lane, and how many samples it uses
    const double *parameters, *initial;   // (L, P), (L, S)
    const double *precision;              // (L, O) one over the squared noise level, or null for 1
    int32_t *plan;                        // (L, T) steps in the interval before each sample
    double *hessian, *gradient;           // (L, O, D (D + 1) / 2), (L, O, D)
    double *squares, *counted;            // (L, O)
    double *predicted;                    // (L, T, O) or null
    int32_t *status, *steps;              // (L,)
};

struct Options {
    double rtol;
    int64_t max_steps;
};

template <bool SENS> struct Point {
    V y[ROOM_S];
    V s[SENS ? ROOM_D : 1][ROOM_S];
};

template <bool SENS> struct Slope {
    V f[ROOM_S];
    V g[SENS ? ROOM_D : 1][ROOM_S];
};

inline M both(M a, M b) { return a & b; }
inline bool any(M m) {
    for (int l = 0; l < W; ++l)
        if (m[l]) return true;
    return false;
}
inline M finite(V x) { return vabs(x) < splat(INFINITY); }
inline V larger(V a, V b) { return select(a > b, a, b); }  // b where a is not a number

// The inputs of W trajectories between two samples: linear in time, or constant.
struct Drive {
    V first[ROOM_I], change[ROOM_I], t0, inverse;
    void at(V t, V *u) const {
        const V part = (t - t0) * inverse;
        for (int i = 0; i < I; ++i) u[i] = first[i] + part * change[i];
    }
};

template <bool SENS> inline void slope_at(V t, const Point<SENS> &point, const V *p,
                                          const Drive &drive, Slope<SENS> &out) {
    V u[ROOM_I];
    drive.at(t, u);
    if constexpr (!SENS) {
        rhs(t, point.y, p, u, out.f);
    } else {
        V jy[S * S], jp[S * ROOM_P];
        rhs_jacobian(t, point.y, p, u, out.f, jy, jp);
#pragma GCC unroll 16
        for (int d = 0; d < D; ++d)
#pragma GCC unroll 16
            for (int i = 0; i < S; ++i) {
                V total = splat(0.0);
#pragma GCC unroll 16
                for (int j = 0; j < S; ++j)
                    if (RHS_Y[i * S + j]) total += jy[i * S + j] * point.s[d][j];
                if (DIRECTION[d] >= 0 && RHS_P[i * P + DIRECTION[d]])
                    total += jp[i * P + DIRECTION[d]];
                out.g[d][i] = total;
            }
    }
}

template <bool SENS> inline void axpy(Point<SENS> &to, const Point<SENS> &from, V h,
                                      const double *weights, const Slope<SENS> *k, int count) {
    auto row = [&](V start, auto part) {
        V total = splat(0.0);
#pragma GCC unroll 8
        for (int j = 0; j < count; ++j) total += weights[j] * part(k[j]);
        return start + h * total;
    };
    for (int i = 0; i < S; ++i)
        to.y[i] = row(from.y[i], [&](const Slope<SENS> &one) { return one.f[i]; });
    if constexpr (SENS)
        for (int d = 0; d < D; ++d)
            for (int i = 0; i < S; ++i)
                to.s[d][i] = row(from.s[d][i], [&](const Slope<SENS> &one) { return one.g[d][i]; });
}

template <int STAGE, bool SENS>
inline void stages(V t, V h, const Point<SENS> &from, Point<SENS> &to, const V *p,
                   const Drive &drive, Slope<SENS> *k) {
    if constexpr (STAGE < N_STAGES) {
        axpy<SENS>(to, from, h, STAGE_A[STAGE], k, STAGE);
        slope_at<SENS>(t + STAGE_C[STAGE] * h, to, p, drive, k[STAGE]);
        stages<STAGE + 1, SENS>(t, h, from, to, p, drive, k);
    } else {
        axpy<SENS>(to, from, h, WEIGHTS, k, N_STAGES);
        slope_at<SENS>(t + h, to, p, drive, k[N_STAGES]);
    }
}

// One step; k[0] is the slope at `from` and k[N_STAGES] becomes that at `to`. Returns the largest
// local error of a state over what is tolerated, and brings `greatest` up to date.
template <bool SENS>
inline V step(V t, V h, const Point<SENS> &from, Point<SENS> &to, const V *p, const Drive &drive,
              Slope<SENS> *k, V *greatest, double rtol) {
    stages<1, SENS>(t, h, from, to, p, drive, k);
    V worst = splat(0.0);
    for (int i = 0; i < S; ++i) {
        V error = splat(0.0);
        for (int j = 0; j <= N_STAGES; ++j) error += ERRORS[j] * k[j].f[i];
        error = vabs(h * error);
        const V size = larger(vabs(from.y[i]), vabs(to.y[i]));
        greatest[i] = larger(size, greatest[i]);
        const V ratio = error / (rtol * (size + FLOOR * greatest[i]));
        // Zero over zero is no error; what is not finite is an infinite one.
        V checked = select(error == splat(0.0), splat(0.0), ratio);
        checked = select(both(finite(to.y[i]), finite(checked)), checked, splat(INFINITY));
        worst = larger(checked, worst);
    }
    return worst;
}

// Steps for an interval whose `count` steps made `error` (1 is what is tolerated). Fewer only where
// half as many would do by far, so that the count stays as it is while a fit converges.
inline int32_t next_count(int32_t count, double error) {
    if (error <= SLACK && count > 1) return count / 2;
    if (error <= 1.0) return count;
    double factor = error < INFINITY ? SAFETY * pow(error, 0.2) : 4.0;
    factor = factor > 8.0 ? 8.0 : factor;
    const double wanted = ceil(count * factor);
    return wanted > MOST_IN_INTERVAL ? MOST_IN_INTERVAL : (int32_t)wanted;
}
