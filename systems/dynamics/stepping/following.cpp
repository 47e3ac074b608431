// Whether the comparisons of the right-hand side can be followed over a step: between its ends, too,
// where a switching function g could change its sign twice, or many times. Continues
// `switching.cpp`.
//
// With its rates, g is known at the start, in the middle and at the end of a step. The cubic through
// both ends shows in the middle whether the step is short enough for g to be such a curve, and the
// cubics through the halves show where g comes close to zero; there the next try ends.

namespace {

// The cubic may be wrong by this share of the largest |g| in the middle of the step.
constexpr double RESOLVED = 0.02;
// A minimum of |g| counts as close to zero below this share of the larger end, and in any case if
// the cubic has another sign there.
constexpr double CLOSE = 0.02;
// Shares of an interval before and after which a minimum lies at one of its ends, and the share of
// the way to a late one at which the next try ends.
constexpr double EARLY = 0.1, LATE = 0.9, BEFORE = 0.8;

// Values and rates of the switching functions at one point of a step.
struct Followed {
    V g[ROOM_K], rate[ROOM_K], noise[ROOM_K];

    // `tolerance` holds the tolerances of the states, of which `noise` is what g makes.
    template <int ROWS>
    void at(const Switching<ROWS> &switches, V t, const V *y, const V *f, const InputPiece &drive,
            const V *tolerance) {
        const SwitchPoint point(t, y, switches.p, drive, f, splat(0.0));
        for (int k = 0; k < N_SWITCHES; ++k) {
            g[k] = point.g[k];
            rate[k] = point.rate[k];
            noise[k] = point.zero[k] + switches.events.slack[k];
            for (int i = 0; i < S; ++i) noise[k] += vabs(point.gy[k * S + i]) * tolerance[i];
        }
    }
};

// How far along an interval of length 1 a step has to end for a minimum of g in it to be found, by the
// cubic with values a, b and slopes da, db at x = 0 and 1; 2 if it has no minimum that is below zero
// or close to it.
inline double dip(double a, double da, double b, double db, double noise) {
    const double second = 3.0 * (b - a) - 2.0 * da - db, third = da + db - 2.0 * (b - a);
    const double under = second * second - 3.0 * third * da;
    if (!(under > 0.0)) return 2.0;
    const double x = -da / (second + __builtin_sqrt(under));
    if (!(x > 1e-6 && x < 1.0)) return 2.0;
    const double least = a + x * (da + x * (second + x * third));
    if (!(least < -noise || least < CLOSE * (a > b ? a : b))) return 2.0;
    // A minimum at an end, where this step or the last one was meant to meet it, is hardly seen by a
    // cubic over a long step: shorter ones come closer to it until it is seen.
    return x < EARLY ? 4.0 * x : x > LATE ? BEFORE * x : x;
}

// The length to which a step of length `size` must be shortened for comparison k of lane l to be
// followed, infinite if it need not be; `side` is 1 where g is positive, otherwise -1.
inline double followed_length(const Followed (&at)[3], int k, int l, double size, double side) {
    const double first = side * at[0].g[k][l], middle = side * at[1].g[k][l], last = side * at[2].g[k][l];
    const double half = 0.5 * size;
    const double d0 = half * side * at[0].rate[k][l], d1 = half * side * at[1].rate[k][l],
                 d2 = half * side * at[2].rate[k][l];
    const double apart = __builtin_fabs(middle - 0.5 * (first + last) - 0.25 * (d0 - d2));
    double most = __builtin_fabs(first), other = __builtin_fabs(middle);
    most = other > most ? other : most;
    other = __builtin_fabs(last);
    most = other > most ? other : most;
    const double noise = 10.0 * at[1].noise[k][l];
    if (most <= noise) return __builtin_inf();
    // The second derivatives of the cubics through the halves in the middle, where they meet.
    const double bend = __builtin_fabs(d0 + 4.0 * d1 + d2 - 3.0 * (last - first)) / 6.0;
    // Negated, as NaN compares as false.
    if (!(apart <= RESOLVED * most + noise && bend <= RESOLVED * most + noise)) return half;
    double x = dip(first, d0, middle, d1, noise);
    if (x < 1.0) return x * half;
    x = dip(middle, d1, last, d2, noise);
    return x < 1.0 ? half * (1.0 + x) : __builtin_inf();
}

// The length to which a step of length `size` of lane l must be shortened for all comparisons to be
// followed, infinite if it need not be.
template <int ROWS>
double followed_length(Followed (&at)[3], const Switching<ROWS> &switches, const InputPiece &drive,
                       int l, double size) {
    double least = __builtin_inf();
    for (int k = 0; k < N_SWITCHES; ++k) {
        // Where a comparison jumps at the end, that before the jump counts.
        if (switches.events.leaping[l]) at[2].g[k][l] = switches.under[k][l];
        const double side = is_above(drive, k, l) ? 1.0 : -1.0;
        const double length = followed_length(at, k, l, size, side);
        least = length < least ? length : least;
    }
    return least;
}

}  // namespace
