// Events of planned steps: where a comparison of the right-hand side changes. Continues
// `samples.cpp`.
//
// Within a step every comparison is held as it was at the start, so that the step integrates one
// smooth branch. If the sign of a switching function g = a - b is another one at the end of a step,
// the step is repeated until it ends on the zero of g; then the comparison changes. There the
// derivatives along q jump, too, because the time tau of the event depends on q (Hairer, Norsett,
// Wanner, Solving ODEs I, sec. II.6, on discontinuous equations; the jump is often called the
// saltation matrix):
//
//   s+ = s- + (f- - f+) dtau/dq,     dtau/dq = -(g_y s- + g_q) / (g_t + g_y f-).
//
// `source.py` defines N_SWITCHES and the functions, see `switches.py`.

namespace {

// A zero is found if g is this small, compared with its value at the start or the end of the step,
// or if it is known to a few units in the last place of time. More events than MOST_EVENTS on one
// record mean that the solution slides along a zero, on which neither branch is defined.
constexpr double ZERO = 1e-12;
constexpr int MOST_EVENTS = 1000;

template <int ROWS> struct Switching {
    Position<ROWS> &lanes;
    V before[ROOM_K];            // g at the start of the step
    V low, high, at_low, at_high, scale, trial;
    M locating = {}, passing = {};
    int which[W], events[W];
    bool known[W];               // whether the sides of a lane have been chosen

    explicit Switching(Position<ROWS> &one) : lanes(one) {
        for (int l = 0; l < W; ++l) events[l] = which[l] = 0, known[l] = false;
        low = high = at_low = at_high = scale = trial = splat(0.0);
    }

    static bool above(const InputPiece &drive, int k, int l) {
        return (drive.side[k][l] != 0) == SWITCH_ABOVE[k];
    }
    static void set(InputPiece &drive, int k, int l, bool up) {
        drive.side[k][l] = up == SWITCH_ABOVE[k] ? -1 : 0;
    }
    static bool wrong(const InputPiece &drive, int k, int l, double g) {
        return above(drive, k, l) ? g < 0.0 : g > 0.0;
    }

    void values(V t, const V *y, const InputPiece &drive, V *g) const {
        V u[ROOM_I];
        drive.at(t, u);
        switch_values(t, y, lanes.p, u, g);
    }

    // Choose the sides at the start of an interval. A sign that has changed since the last interval
    // is due to a dose or an input; a zero that is about to be crossed is an event.
    void open(InputPiece &drive, const V *f, V span, const bool *moving) {
        V g[ROOM_K], gy[ROOM_K * S], gp[ROOM_K * ROOM_D], gt[ROOM_K];
        values(lanes.t, lanes.y, drive, g);
        slopes(lanes.t, drive, gy, gp, gt);
        passing = M();
        for (int k = 0; k < N_SWITCHES; ++k)
            for (int l = 0; l < W; ++l) {
                if (!moving[l]) continue;
                const double rate = speed(k, l, f, gy, gt);
                const bool zero = __builtin_fabs(g[k][l]) <= ZERO * __builtin_fabs(rate * span[l]);
                const bool up = zero ? rate > 0.0 : g[k][l] > 0.0;
                if (known[l] && up == above(drive, k, l)) continue;
                if (known[l] && zero) passing[l] = -1, which[l] = k;
                else set(drive, k, l, up);
            }
        for (int l = 0; l < W; ++l) known[l] = known[l] || moving[l];
    }

    void slopes(V t, const InputPiece &drive, V *gy, V *gp, V *gt) const {
        V u[ROOM_I];
        drive.at(t, u);
        switch_slopes(t, lanes.y, lanes.p, u, drive.slope, gy, gp, gt);
    }

    static double speed(int k, int l, const V *f, const V *gy, const V *gt) {
        double rate = gt[k][l];
        for (int i = 0; i < S; ++i) rate += gy[k * S + i][l] * f[i][l];
        return rate;
    }

    // The lanes in which a comparison would change within a step that ends at (t, y).
    M crossed(V t, const V *y, const InputPiece &drive) const {
        V g[ROOM_K];
        values(t, y, drive, g);
        M found = {};
        for (int k = 0; k < N_SWITCHES; ++k)
            for (int l = 0; l < W; ++l)
                if (wrong(drive, k, l, g[k][l])) found[l] = -1;
        return found;
    }

    // Decide on steps from lanes.y of length `size` that end at (t, y) and are accurate; returns
    // those that may be taken. The others are tried again with the length `trial`.
    M judge(V from, V size, const V *y, const InputPiece &drive, M accurate) {
        V g[ROOM_K];
        values(from, lanes.y, drive, before);
        values(from + size, y, drive, g);
        M taken = accurate;
        passing = M();
        for (int l = 0; l < W; ++l) {
            if (!accurate[l]) continue;
            const int first = earliest(drive, l, g);
            if (first < 0 && !locating[l]) continue;
            if (first >= 0) {
                if (!locating[l]) low[l] = 0.0;
                if (!locating[l] || which[l] != first) at_low[l] = before[first][l];
                which[l] = first;
                high[l] = size[l];
                at_high[l] = g[first][l];
                const double most = __builtin_fabs(before[first][l]) + __builtin_fabs(at_high[l]);
                if (!locating[l]) scale[l] = most;
                locating[l] = -1;
            } else {
                low[l] = size[l];
                at_low[l] = g[which[l]][l];
            }
            const bool found = __builtin_fabs(g[which[l]][l]) <= ZERO * scale[l] ||
                               high[l] - low[l] <= 8.0 * __DBL_EPSILON__ * (__builtin_fabs(from[l]) + size[l]);
            if (found) passing[l] = -1, locating[l] = 0;
            else taken[l] = 0, trial[l] = between(l);
        }
        return taken;
    }

    // The comparison that changes first in a step of a lane, by linear interpolation; -1 if none.
    int earliest(const InputPiece &drive, int l, const V *g) const {
        int first = -1;
        double least = __builtin_inf();
        for (int k = 0; k < N_SWITCHES; ++k) {
            if (!wrong(drive, k, l, g[k][l])) continue;
            const double g0 = __builtin_fabs(before[k][l]);
            const double place = g0 / (g0 + __builtin_fabs(g[k][l]));
            if (place < least) least = place, first = k;
        }
        return first;
    }

    // The zero by linear interpolation, kept inside the bracket: where it would lie at an end, which
    // hardly narrows the bracket, a tenth of the way from there.
    double between(int l) const {
        const double a = __builtin_fabs(at_low[l]), b = __builtin_fabs(at_high[l]);
        double share = a + b > 0.0 ? a / (a + b) : 0.5;
        if (share < 1e-3 && a == 0.0) share = 0.1;
        share = share > 1.0 - 1e-12 ? 1.0 - 1e-12 : share;
        return low[l] + share * (high[l] - low[l]);
    }

    // Change the comparisons of the lanes in `passing`, which stand at an event with derivative f,
    // and let the derivatives jump.
    void pass(V t, InputPiece &drive, const V *f) {
        V gy[ROOM_K * S], gp[ROOM_K * ROOM_D], gt[ROOM_K], after[S];
        slopes(t, drive, gy, gp, gt);
        for (int l = 0; l < W; ++l)
            if (passing[l]) set(drive, which[l], l, !above(drive, which[l], l)), ++events[l];
        slope_at<S>(t, lanes.y, lanes.p, drive, after);
        if constexpr (ROWS > S)
            for (int l = 0; l < W; ++l)
                for (int d = 0; passing[l] && d < D; ++d) {
                    V *s = lanes.y + S * (1 + d);
                    const int k = which[l];
                    double shift = gp[k * D + d][l];
                    for (int i = 0; i < S; ++i) shift += gy[k * S + i][l] * s[i][l];
                    shift /= -speed(k, l, f, gy, gt);
                    // A tangential zero has no derivative; the event leaves no trace then.
                    if (!(__builtin_fabs(shift) < __builtin_inf())) continue;
                    for (int i = 0; i < S; ++i) s[i][l] += (f[i][l] - after[i][l]) * shift;
                }
    }

    bool exhausted(int l) const { return events[l] > MOST_EVENTS; }
};

}  // namespace
