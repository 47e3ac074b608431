// Comparisons that change within a step; every step policy uses it. Continues `events.cpp`.
//
// Within a step every comparison is held as it was at the start, so that the step integrates one
// smooth branch. If the sign of a switching function g = a - b is another one at the end of a step,
// the step is repeated until it ends on the zero of g; then the comparison changes, see
// `events.cpp` (Hairer, Norsett, Wanner, Solving ODEs I, sec. II.6, on discontinuous equations).

namespace {

// The share of a bracket that the interpolated zero keeps from its ends, if the last trial has not
// halved the bracket.
constexpr double INSIDE = 0.05;
// Values of this size at the ends of a bracket that cannot be narrowed, compared with those in the
// beginning, show that g jumps there.
constexpr double LEAP = 1e-3;

// The time before a zero that counts as the zero, as a share of the step that ends there.
constexpr double SLOT = 1e-14;

template <int ROWS> struct Switching {
    const V *y, *p;              // the point and the parameters of the lanes
    Events<ROWS> events;
    V before[ROOM_K], under[ROOM_K];   // g at the start of the step, and at the low end of the bracket
    V low, high, at_low, at_high, over, scale, tried, trial, width;   // over: g at the high end
    V slot;                      // the time before a zero that counts as the zero
    M locating = {}, passing = {}, dipping = {};
    int side[W];                 // the end of the bracket that moved last: -1 low, 1 high

    Switching(V *point, const V *parameters)
        : y(point), p(parameters), events(point, parameters) {
        low = high = at_low = at_high = over = scale = tried = trial = width = slot = splat(0.0);
        for (int l = 0; l < W; ++l) side[l] = 0;
    }

    // Whether g has another sign than its side, by more than may be due to rounding.
    bool wrong(const InputPiece &drive, int k, int l, double g) const {
        const double most = events.slack[k][l];
        return is_above(drive, k, l) ? g < -most : g > most;
    }

    void values(V t, const V *at, const InputPiece &drive, V *g) const {
        V u[ROOM_I];
        drive.at(t, u);
        switch_values(t, at, p, u, g);
    }

    // The lanes in which a comparison would change within a step from y to (from + size, end), with
    // the slopes f and f_end at its ends.
    M crossed(V from, V size, const V *f, const V *end, const V *f_end, const InputPiece &drive) {
        V g[ROOM_K];
        values(from + size, end, drive, g);
        M found = {};
        for (int k = 0; k < N_SWITCHES; ++k)
            for (int l = 0; l < W; ++l)
                if (wrong(drive, k, l, g[k][l])) found[l] = -1;
        return found | dips(from, size, f, end, f_end, drive);
    }

    // The lanes in which g has the right signs at both ends of the step, but passes through zero in
    // between, as the cubic with the values and slopes at the ends does; `trial` is the step to its
    // extremum.
    M dips(V from, V size, const V *f, const V *end, const V *f_end, const InputPiece &drive) {
        const SwitchPoint a(from, y, p, drive, f, size);
        const SwitchPoint b(from + size, end, p, drive, f_end, size);
        M found = {};
        for (int k = 0; k < N_SWITCHES; ++k)
            for (int l = 0; l < W; ++l) {
                const double sign = is_above(drive, k, l) ? 1.0 : -1.0;
                const double g0 = sign * a.g[k][l], g1 = sign * b.g[k][l];
                const double d0 = sign * size[l] * a.rate[k][l], d1 = sign * size[l] * b.rate[k][l];
                if (!(d0 < 0.0 && d1 > 0.0)) continue;
                // g0 + d0 x + b2 x^2 + b3 x^3, with its minimum at x = -d0 / (b2 + sqrt(...)).
                const double b2 = 3.0 * (g1 - g0) - 2.0 * d0 - d1, b3 = d0 + d1 - 2.0 * (g1 - g0);
                const double x = -d0 / (b2 + __builtin_sqrt(b2 * b2 - 3.0 * b3 * d0));
                if (!(x > 0.0 && x < 1.0)) continue;
                if (g0 + x * (d0 + x * (b2 + x * b3)) >= -events.slack[k][l] - b.zero[k][l])
                    continue;
                found[l] = -1;
                trial[l] = x * size[l];
            }
        return found;
    }

    // Decide on steps from y with slope f of length `size` that end at `end` with slope f_end and are
    // accurate; returns those that may be taken. The others are tried again with the length `trial`.
    // A zero is approached from the side held, so that a state that is thrown back does not start
    // beyond it.
    M judge(V from, V size, const V *f, const V *end, const V *f_end, const InputPiece &drive,
            M accurate) {
        V g[ROOM_K];
        values(from, y, drive, before);
        values(from + size, end, drive, g);
        M taken = accurate;
        const M smooth = accurate & ~locating & ~dipping;
        passing = dipping = events.leaping = M();
        for (int l = 0; l < W; ++l) {
            if (!accurate[l]) continue;
            const int first = earliest(drive, l, g);
            if (first < 0 && !locating[l]) continue;
            // A zero left behind at the start, from which g is still rising, is not the one looked for.
            const bool falls = first >= 0 || has_fallen(drive, l, g);
            narrow(l, first, size[l], g);
            const double rounding = __DBL_EPSILON__ * (__builtin_fabs(from[l]) + size[l]);
            slot[l] = 4.0 * rounding + SLOT * size[l];
            const bool near = !beyond(drive, l, g) && missed(l, g) <= slot[l];
            const bool closed = high[l] - low[l] <= 8.0 * rounding;
            if (closed ? first >= 0 : falls && near) pass(l);
            else taken[l] = 0, trial[l] = closed ? high[l] : between(l);
        }
        // A dip that the cubic only suspects is looked for once.
        const M calm = smooth & taken & ~passing;
        if (any(calm)) {
            const V kept = trial;
            dipping = calm & dips(from, size, f, end, f_end, drive);
            trial = select(dipping, trial, kept);
            taken &= ~dipping;
        }
        return taken;
    }

    bool beyond(const InputPiece &drive, int l, const V *g) const {
        const int k = events.which[l];
        return is_above(drive, k, l) ? g[k][l] < 0.0 : g[k][l] > 0.0;
    }

    // Whether g is nearer to its other sign than it was at the low end of the bracket.
    bool has_fallen(const InputPiece &drive, int l, const V *g) const {
        const int k = events.which[l];
        return is_above(drive, k, l) ? g[k][l] < under[k][l] : g[k][l] > under[k][l];
    }

    // The time by which a lane misses the zero, with the mean rate of g in the bracket.
    double missed(int l, const V *g) const {
        const int k = events.which[l];
        const double change = __builtin_fabs(under[k][l]) + __builtin_fabs(over[l]);
        return change > 0.0 ? __builtin_fabs(g[k][l]) * (high[l] - low[l]) / change : 0.0;
    }

    // A lane stands on its event.
    void pass(int l) {
        passing[l] = -1, locating[l] = 0;
        const double apart = __builtin_fabs(over[l]) + __builtin_fabs(under[events.which[l]][l]);
        const bool closed = high[l] - low[l] <= LEAP * LEAP * tried[l];
        events.leaping[l] = closed && apart > LEAP * scale[l] ? -1 : 0;
    }

    // Move an end of the bracket of a lane to the end of the step just tried, at which comparison
    // `first` has changed, or none.
    void narrow(int l, int first, double size, const V *g) {
        int &k = events.which[l];
        if (first >= 0) {
            if (!locating[l]) {
                low[l] = 0.0, width[l] = tried[l] = size, side[l] = 0;
                for (int j = 0; j < N_SWITCHES; ++j) under[j][l] = before[j][l];
            }
            if (!locating[l] || k != first) at_low[l] = before[first][l];
            k = first;
            high[l] = size;
            at_high[l] = over[l] = g[k][l];
            if (!locating[l])
                scale[l] = __builtin_fabs(before[k][l]) + __builtin_fabs(at_high[l]);
            locating[l] = -1;
        } else {
            low[l] = size;
            at_low[l] = g[k][l];
            for (int j = 0; j < N_SWITCHES; ++j) under[j][l] = g[j][l];
        }
        // Illinois: the value at an end that stays twice counts half.
        const int moved = first >= 0 ? 1 : -1;
        if (moved == side[l]) (moved > 0 ? at_low : at_high)[l] *= 0.5;
        side[l] = moved;
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

    // The middle of the slot before the zero by linear interpolation, away from the ends of a
    // bracket that hardly narrows.
    double between(int l) {
        const double a = __builtin_fabs(at_low[l]), b = __builtin_fabs(at_high[l]);
        const double now = high[l] - low[l];
        double share = a + b > 0.0 ? a / (a + b) - 0.5 * slot[l] / now : 0.5;
        if (!(now <= 0.5 * width[l]) || share <= 0.0) {
            share = share < INSIDE ? INSIDE : share;
            share = share > 1.0 - INSIDE ? 1.0 - INSIDE : share;
        }
        width[l] = now;
        return low[l] + (share > 1.0 - 1e-12 ? 1.0 - 1e-12 : share) * now;
    }
};

}  // namespace
