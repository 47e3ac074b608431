// What happens at a point at which a comparison changes: a branch of the right-hand side, and the
// events that become due. Continues `derivatives.cpp`.
//
// An event at time tau takes the state y- to y+ = h(tau, y-; p). As tau depends on a direction q,
// the derivatives s = dy/dq jump, too (P. I. Barton, C. K. Lee, ACM Trans. Model. Comput. Simul. 12
// (2002) 256; the matrix is often called the saltation matrix):
//
//   s+ = h_y s- + h_q + (h_y f- + h_t - f+) dtau/dq,    dtau/dq = -(g_y s- + g_q) / (g_t + g_y f-),
//
// where g is the switching function that passes through zero. A comparison that changes without an
// event is the case h = y. What happens because of an event happens at the same tau, and where a
// dose or an input causes it, dtau/dq = 0.
//
// `switches.py` and `event_source.py` define N_SWITCHES, N_EVENTS and the functions.

namespace {

constexpr int ROOM_E = N_EVENTS > 0 ? N_EVENTS : 1;
// g counts as zero if it is this small, compared with its change in the present interval, or if it
// is this many roundings of what it is computed from.
constexpr double ZERO = 1e-12, ROUNDINGS = 8.0;
// Events never end if this many comparisons change at one point, or if one changes twice in no time,
// this share of an interval: the trajectory slides along a zero, on which neither branch is defined,
// or the events accumulate (Zeno's paradox).
constexpr int MOST_AT_ONCE = 100;
constexpr double NO_TIME = 1e-11;
// A wrong sign that remains after an event is no new event while |g| does not grow. More than rounding
// must not be allowed: what remains would grow from event to event.
constexpr double FORGIVEN = 1.0 + 1e-6;

inline bool is_above(const InputPiece &drive, int k, int l) {
    return (drive.side[k][l] != 0) == SWITCH_ABOVE[k];
}
inline void set_side(InputPiece &drive, int k, int l, bool up) {
    drive.side[k][l] = up == SWITCH_ABOVE[k] ? -1 : 0;
}

// The switching functions at a point, their slopes and rates of change.
struct SwitchPoint {
    V g[ROOM_K], gy[ROOM_K * S], gp[ROOM_K * ROOM_D], gt[ROOM_K], rate[ROOM_K], zero[ROOM_K];

    // `f` are the rates of the states, `span` is the length of the present interval.
    SwitchPoint(V t, const V *y, const V *p, const InputPiece &drive, const V *f, V span) {
        V u[ROOM_I];
        drive.at(t, u);
        switch_values(t, y, p, u, g);
        switch_slopes(t, y, p, u, drive.slope, gy, gp, gt);
        for (int k = 0; k < N_SWITCHES; ++k) {
            V size = vabs(gt[k] * t);
            rate[k] = gt[k];
            for (int i = 0; i < S; ++i) {
                rate[k] += gy[k * S + i] * f[i];
                size += vabs(gy[k * S + i] * y[i]);
            }
            zero[k] = ZERO * vabs(rate[k] * span) + (ROUNDINGS * __DBL_EPSILON__) * size;
        }
    }

    bool is_zero(int k, int l) const { return __builtin_fabs(g[k][l]) <= zero[k][l]; }
};

// The point of ROWS rows holds the states and their derivatives along N directions. Those beyond the
// first D are directions in which no parameter changes.
template <int ROWS> struct Events {
    static constexpr int N = ROWS / S - 1;

    V *y;                        // (ROWS,) the point, which events change
    const V *p;
    V shift[N > 0 ? N : 1];      // dtau/dq
    V slack[ROOM_K];             // a wrong sign of g counts as zero up to here
    V zero[ROOM_K];              // |g| that counts as zero at the present point
    M turned[ROOM_K];            // comparisons that have changed at the present point, ...
    M origin[ROOM_K];            // ... what they were when it was reached, ...
    M thrown;                    // ... and where events have happened
    int which[W];                // the comparison that changes
    V last[ROOM_K];              // when each was last located
    bool endless[W];
    M leaping = {};              // where `which` jumps past zero instead of passing through it

    Events(V *point, const V *parameters) : y(point), p(parameters) {
        for (int l = 0; l < W; ++l) forget(l);
    }

    // Another trajectory enters lane l.
    void forget(int l) {
        for (int k = 0; k < ROOM_K; ++k) slack[k][l] = 0.0, last[k][l] = -__builtin_inf();
        which[l] = 0;
        endless[l] = false;
    }

    // Choose the sides at the initial time. A condition that holds there has not become true, unless
    // it stands on zero: that counts as coming from the other side.
    void begin(V t, InputPiece &drive, V span, M where) {
        V f[S], u[ROOM_I];
        M side[ROOM_K];
        drive.at(t, u);
        InputPiece::sides(t, y, p, u, side);
        for (int k = 0; k < N_SWITCHES; ++k) drive.side[k] = where ? side[k] : drive.side[k];
        for (int l = 0; l < W; ++l)
            if (where[l]) forget(l);
        slope_at<S>(t, y, p, drive, f);
        const SwitchPoint at(t, y, p, drive, f, span);
        for (int k = 0; k < N_SWITCHES; ++k)
            for (int l = 0; l < W; ++l)
                if (where[l] && at.is_zero(k, l) && at.rate[k][l] != 0.0)
                    set_side(drive, k, l, at.rate[k][l] < 0.0);
        settle(t, drive, span, where, M());
    }

    // Let everything happen that is due in the lanes `where` at the point (t, y). In the lanes
    // `located`, comparison `which` has just been found to change.
    void settle(V t, InputPiece &drive, V span, M where, M located) {
        for (int d = 0; d < N; ++d) shift[d] = splat(0.0);
        thrown = M();
        for (int k = 0; k < N_SWITCHES; ++k)
            turned[k] = M(), origin[k] = drive.side[k], zero[k] = slack[k];
        count(t, span, located);
        int rounds = 0;
        V f[S];
        for (M busy = where; any(busy); located = M()) {
            slope_at<S>(t, y, p, drive, f);
            SwitchPoint at(t, y, p, drive, f, span);
            widen(at, located);
            choose(at, drive, busy, located);
            if (++rounds > MOST_AT_ONCE)
                for (int l = 0; l < W; ++l)
                    if (busy[l]) endless[l] = true, busy[l] = 0;
            if (any(busy)) change(t, drive, at, f, busy);
        }
        forgive(t, drive, where);
    }

    void count(V t, V span, M located) {
        for (int l = 0; l < W; ++l) {
            if (!located[l]) continue;
            const double resolved = 100.0 * __DBL_EPSILON__ * __builtin_fabs(t[l]);
            const double brief = NO_TIME * span[l] > resolved ? NO_TIME * span[l] : resolved;
            V &before = last[which[l]];
            endless[l] = endless[l] || t[l] - before[l] <= brief;
            before[l] = t[l];
        }
    }

    // What counts as zero at one point: g where an event was located, up to the time by which that
    // missed it, and what did before other changes at the point.
    void widen(SwitchPoint &at, M located) {
        for (int l = 0; l < W; ++l) {
            // The time of a jump of g, as in torch.remainder(t, day) < hours, is that of its argument.
            if (!located[l] || leaping[l]) continue;
            const int k = which[l];
            const double missed = 2.0 * __builtin_fabs(at.g[k][l] / at.rate[k][l]);
            for (int j = 0; missed < __builtin_inf() && j < N_SWITCHES; ++j) {
                const double most = __builtin_fabs(at.rate[j][l]) * missed;
                zero[j][l] = most > zero[j][l] ? most : zero[j][l];
            }
        }
        for (int k = 0; k < N_SWITCHES; ++k) at.zero[k] = zero[k] = larger(zero[k], at.zero[k]);
    }

    // The comparison that changes in each lane of `busy`, from which lanes without one are removed.
    void choose(const SwitchPoint &at, const InputPiece &drive, M &busy, M located) {
        for (int l = 0; l < W; ++l) {
            if (!busy[l] || located[l]) continue;
            busy[l] = 0;
            for (int k = 0; k < N_SWITCHES && !busy[l]; ++k) {
                if (!is_due(at, drive, k, l)) continue;
                which[l] = k;
                busy[l] = -1;
            }
        }
    }

    // Whether comparison k of a lane is not as it will be from this point on. On zero, the rate of
    // g tells. Where g rests there after an event, the comparison is as it was before, so that the
    // event is met again if g moves on the same way.
    bool is_due(const SwitchPoint &at, const InputPiece &drive, int k, int l) const {
        if (!at.is_zero(k, l)) return is_above(drive, k, l) != (at.g[k][l] > 0.0);
        if (at.rate[k][l] != 0.0) return is_above(drive, k, l) != (at.rate[k][l] > 0.0);
        return thrown[l] && drive.side[k][l] != origin[k][l];
    }

    // Change comparison `which` in the lanes `where`, and let the events happen that become due.
    void change(V t, InputPiece &drive, const SwitchPoint &at, const V *f, M where) {
        M before[ROOM_E], after[ROOM_E];
        conditions(t, drive, before);
        for (int l = 0; l < W; ++l) {
            if (!where[l]) continue;
            const int k = which[l];
            if (at.is_zero(k, l) && !turned[k][l]) aim(at, k, l);
            set_side(drive, k, l, !is_above(drive, k, l));
            turned[k][l] = -1;
        }
        conditions(t, drive, after);
        if constexpr (ROWS > S) {
            V next[S];
            slope_at<S>(t, y, p, drive, next);
            for (int d = 0; d < N; ++d)
                for (int i = 0; i < S; ++i) {
                    V &s = y[S * (1 + d) + i];
                    s = select(where, s + (f[i] - next[i]) * shift[d], s);
                }
        }
        for (int e = 0; e < N_EVENTS; ++e) {
            const M due = where & after[e] & ~before[e];
            if (any(due)) happen(e, t, drive, due);
            thrown |= due;
        }
    }

    void conditions(V t, const InputPiece &drive, M *holds) const {
        V u[ROOM_I];
        drive.at(t, u);
        event_conditions(t, y, p, u, drive.side, holds);
    }

    // dtau/dq of a lane, at which g_k passes through zero. A tangential zero has no derivative; the
    // event leaves no trace then.
    void aim(const SwitchPoint &at, int k, int l) {
        if constexpr (ROWS > S)
            for (int d = 0; d < N; ++d) {
                double change = d < D ? at.gp[k * D + d][l] : 0.0;
                for (int i = 0; i < S; ++i)
                    change += at.gy[k * S + i][l] * y[S * (1 + d) + i][l];
                const double found = -change / at.rate[k][l];
                shift[d][l] = __builtin_fabs(found) < __builtin_inf() ? found : 0.0;
            }
    }

    // Event e in the lanes `due`.
    void happen(int e, V t, const InputPiece &drive, M due) {
        V u[ROOM_I], next[ROWS];
        drive.at(t, u);
        new_state(e, t, y, p, u, drive.side, next);
        if constexpr (ROWS > S) {
            V hy[S * S], hp[S * ROOM_D], ht[S], f[S], after[S];
            new_state_slopes(e, t, y, p, u, drive.slope, drive.side, hy, hp, ht);
            slope_at<S>(t, y, p, drive, f);
            slope_at<S>(t, next, p, drive, after);
            for (int i = 0; i < S; ++i) {
                V drift = ht[i] - after[i];
                for (int j = 0; j < S; ++j) drift += hy[i * S + j] * f[j];
                for (int d = 0; d < N; ++d) {
                    V total = drift * shift[d];
                    if (d < D) total += hp[i * D + d];
                    for (int j = 0; j < S; ++j) total += hy[i * S + j] * y[S * (1 + d) + j];
                    next[S * (1 + d) + i] = total;
                }
            }
        }
        for (int i = 0; i < ROWS; ++i) y[i] = select(due, next[i], y[i]);
    }

    // Where g is zero, its sign is a matter of rounding: it may be wrong until g has left zero.
    void forgive(V t, const InputPiece &drive, M where) {
        V g[ROOM_K], u[ROOM_I];
        drive.at(t, u);
        switch_values(t, y, p, u, g);
        for (int k = 0; k < N_SWITCHES; ++k)
            for (int l = 0; l < W; ++l)
                if (where[l]) {
                    const bool wrong = is_above(drive, k, l) ? g[k][l] < 0.0 : g[k][l] > 0.0;
                    slack[k][l] = wrong ? FORGIVEN * __builtin_fabs(g[k][l]) : 0.0;
                }
    }
};

}  // namespace
