// One step of an embedded explicit Runge-Kutta pair, as `runge_kutta.py`. Continues
// `derivatives.cpp`. A step policy chooses the steps.
//
//   k_1 = f(t, y),  k_i = f(t + c_i h, y + h sum_j a_ij k_j),  y_1 = y + h sum_j b_j k_j,
//
// and the derivative at the end of the step, f(t + h, y_1), is one more stage ("first same as
// last"), so that an accepted step costs N_STAGES evaluations. The coefficients T are those of
// `tableaus.py`:
//   N_STAGES, STAGE_A[][], STAGE_C[], WEIGHTS[]   a, c, b
//   N_ERRORS, ERRORS[][]                          of one estimate of the local error or two
//   N_EXTRA, EXTRA_A[][], EXTRA_C[]               stages for the interpolant alone
//   N_INNER, INNER[][]                            its coefficients from the fourth on
//   ERROR_ORDER, STABILITY                        see `Tableau`

namespace {

template <typename T, int ROWS> struct RungeKutta {
    static constexpr int LAST = T::N_STAGES, ALL_STAGES = LAST + 1 + T::N_EXTRA;
    static constexpr int N_ERRORS = T::N_ERRORS, N_COEFFICIENTS = 3 + T::N_INNER;
    static constexpr int ERROR_ORDER = T::ERROR_ORDER;
    static constexpr double STABILITY = T::STABILITY;

    V t, h;
    V k[ALL_STAGES][ROWS];
    V y[ROWS];     // at the end of the step
    V last[S];     // the states at which the last stage but one was evaluated

    // The derivative at the end of the step.
    const V *slope() const { return k[LAST]; }

    template <int STAGE> struct Row { static constexpr double at(int j) { return T::STAGE_A[STAGE][j]; } };
    struct End { static constexpr double at(int j) { return T::WEIGHTS[j]; } };
    template <int ROW> struct Errors { static constexpr double at(int j) { return T::ERRORS[ROW][j]; } };
    template <int ROW> struct Extra { static constexpr double at(int j) { return T::EXTRA_A[ROW][j]; } };
    template <int ROW> struct Inner { static constexpr double at(int j) { return T::INNER[ROW][j]; } };

    // The weighted sum of the first COUNT stages; zero weights are left out at compile time.
    template <typename Weights, int COUNT> inline V sum(int i) const {
        return sum<Weights>(i, std::make_integer_sequence<int, COUNT>());
    }
    template <typename Weights, int... J>
    inline V sum(int i, std::integer_sequence<int, J...>) const {
        V total = splat(0.0);
        ((Weights::at(J) != 0.0 ? (void)(total += Weights::at(J) * k[J][i]) : (void)0), ...);
        return total;
    }

    template <int STAGE>
    void stages(V t, V h, const V *from, const V *p, const InputPiece &drive, V *stage_y) {
        if constexpr (STAGE < LAST) {
            for (int i = 0; i < ROWS; ++i) stage_y[i] = from[i] + h * sum<Row<STAGE>, STAGE>(i);
            slope_at<ROWS>(t + T::STAGE_C[STAGE] * h, stage_y, p, drive, k[STAGE]);
            stages<STAGE + 1>(t, h, from, p, drive, stage_y);
        }
    }

    // Try a step from (start, from), with derivative f there; its stages are kept for the dense
    // output.
    void attempt(V start, V size, const V *from, const V *f, const V *p, const InputPiece &drive) {
        V stage_y[ROWS];
        t = start;
        h = size;
        for (int i = 0; i < ROWS; ++i) k[0][i] = f[i];
        stages<1>(start, size, from, p, drive, stage_y);
        for (int i = 0; i < S; ++i) last[i] = stage_y[i];
        for (int i = 0; i < ROWS; ++i) y[i] = from[i] + size * sum<End, LAST>(i);
        slope_at<ROWS>(start + size, y, p, drive, k[LAST]);
    }

    // An estimate of the local error of row i.
    template <int WHICH> V error(int i) const { return h * sum<Errors<WHICH>, LAST + 1>(i); }

    // DOP853 combines its estimates of orders 5 and 3 to err5^2 / sqrt(err5^2 + 0.01 err3^2), of
    // order 7 (Hairer, Norsett, Wanner, Solving ODEs I, sec. II.10).
    static V tempered(V main, V rough) {
        const V ratio = main / vsqrt(main * main + 0.01 * (rough * rough));
        return select(main == splat(0.0), splat(0.0), main * ratio);
    }

    // h |k_s - k_(s-1)| / |g_s - g_(s-1)|, an estimate of step size times largest eigenvalue: both
    // last stages are evaluated at t + h (Hairer, Wanner, Solving ODEs II, sec. IV.2).
    V stiffness() const {
        V rise[S], run[S];
        for (int i = 0; i < S; ++i) {
            rise[i] = k[LAST][i] - k[LAST - 1][i];
            run[i] = y[i] - last[i];
        }
        const V far = largest(run);
        return select(far > splat(0.0), h * largest(rise) / far, splat(0.0));
    }

    template <int ROW> void extra(const V *from, const V *p, const InputPiece &drive) {
        if constexpr (ROW < T::N_EXTRA) {
            V stage_y[ROWS];
            constexpr int COUNT = LAST + 1 + ROW;
            for (int i = 0; i < ROWS; ++i) stage_y[i] = from[i] + h * sum<Extra<ROW>, COUNT>(i);
            slope_at<ROWS>(t + T::EXTRA_C[ROW] * h, stage_y, p, drive, k[COUNT]);
            extra<ROW + 1>(from, p, drive);
        }
    }

    template <int ROW> void inner(int i, V (*out)[ROWS]) const {
        if constexpr (ROW < T::N_INNER) {
            out[3 + ROW][i] = h * sum<Inner<ROW>, ALL_STAGES>(i);
            inner<ROW + 1>(i, out);
        }
    }

    // Dense output y + x (F_0 + (1 - x) (F_1 + x (F_2 + (1 - x) (F_3 + ...)))), x = 0..1 along the
    // step: the first three make the cubic Hermite polynomial, the others raise its order (Hairer,
    // Norsett, Wanner, Solving ODEs I, sec. II.6).
    void interpolant(const V *from, const V *p, const InputPiece &drive, V (*out)[ROWS]) {
        extra<0>(from, p, drive);
        for (int i = 0; i < ROWS; ++i) {
            const V change = y[i] - from[i], before = h * k[0][i], after = h * k[LAST][i];
            out[0][i] = change;
            out[1][i] = before - change;
            out[2][i] = 2.0 * change - before - after;
            inner<0>(i, out);
        }
    }
};

}  // namespace
