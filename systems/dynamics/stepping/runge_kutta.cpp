// One step of an embedded explicit Runge-Kutta pair, as `runge_kutta.py`. Continues
// `problem.cpp`; the coefficients are those of `tableaus.py`:
//   N_STAGES, STAGE_A[][], STAGE_C[], WEIGHTS[]   the step; the derivative at its end is one more
//   N_ERRORS, ERRORS[][]                          one estimate or two
//   N_EXTRA, EXTRA_A[][], EXTRA_C[]               stages for the interpolant alone
//   N_INNER, INNER[][]                            its coefficients from the fourth on

constexpr int ALL_STAGES = N_STAGES + 1 + N_EXTRA;
constexpr int N_COEFFICIENTS = 3 + N_INNER;
// How much larger than that of a state the relative error of a derivative may be.
constexpr double DERIVATIVE_SHARE = 100.0;

template <int ROWS> struct Stepper {
    V k[ALL_STAGES][ROWS];

    template <typename Table, int... J>
    static inline V sum(const V (*k)[ROWS], int i, std::integer_sequence<int, J...>) {
        V total = splat(0.0);
        ((Table::at(J) != 0.0 ? (void)(total += Table::at(J) * k[J][i]) : (void)0), ...);
        return total;
    }
    template <typename Table, int COUNT> inline V sum(int i) const {
        return sum<Table>(k, i, std::make_integer_sequence<int, COUNT>());
    }

    template <int STAGE> struct Row { static constexpr double at(int j) { return STAGE_A[STAGE][j]; } };
    struct End { static constexpr double at(int j) { return WEIGHTS[j]; } };
    template <int ROW> struct Errors { static constexpr double at(int j) { return ERRORS[ROW][j]; } };
    template <int ROW> struct Extra { static constexpr double at(int j) { return EXTRA_A[ROW][j]; } };
    template <int ROW> struct Inner { static constexpr double at(int j) { return INNER[ROW][j]; } };

    template <int STAGE>
    void stages(V t, V h, const V *y, const V *p, const Drive &drive, V *stage_y) {
        if constexpr (STAGE < N_STAGES) {
            for (int i = 0; i < ROWS; ++i) stage_y[i] = y[i] + h * sum<Row<STAGE>, STAGE>(i);
            slope_at<ROWS>(t + STAGE_C[STAGE] * h, stage_y, p, drive, k[STAGE]);
            stages<STAGE + 1>(t, h, y, p, drive, stage_y);
        }
    }

    // Try a step; its stages stay for the interpolant.
    void attempt(V t, V h, const V *y, const V *f, const V *p, const Drive &drive,
                 Trial<ROWS> &to) {
        V stage_y[ROWS];
        for (int i = 0; i < ROWS; ++i) {
            k[0][i] = f[i];
            stage_y[i] = y[i];
        }
        stages<1>(t, h, y, p, drive, stage_y);
        for (int i = 0; i < ROWS; ++i) to.y[i] = y[i] + h * sum<End, N_STAGES>(i);
        slope_at<ROWS>(t + h, to.y, p, drive, to.f);
        V rise[S], run[S];
        for (int i = 0; i < S; ++i) {
            rise[i] = to.f[i] - k[N_STAGES - 1][i];
            run[i] = to.y[i] - stage_y[i];
        }
        const V far = largest(run);
        to.stiffness = select(far > splat(0.0), h * largest(rise) / far, splat(0.0));
        for (int i = 0; i < ROWS; ++i) k[N_STAGES][i] = to.f[i];
    }

    // `sizes`: the greatest absolute value of each row so far.
    void measure(V h, const V *y, const V *sizes, const Options &options, Trial<ROWS> &to) const {
        V main[S], rough[S];
        M sound = h == h;
        for (int i = 0; i < S; ++i) {
            const V scale = options.atol + options.rtol * vmax(vabs(y[i]), vabs(to.y[i]));
            main[i] = h * sum<Errors<0>, N_STAGES + 1>(i) / scale;
            if constexpr (N_ERRORS > 1)
                rough[i] = h * sum<Errors<N_ERRORS - 1>, N_STAGES + 1>(i) / scale;
            sound = both(sound, finite(to.y[i] + to.f[i]));
        }
        V norm = largest(main);
        if constexpr (N_ERRORS > 1) {
            // DOP853 tempers its fifth-order estimate by a third-order one.
            const V other = largest(rough);
            const V ratio = norm / vsqrt(norm * norm + 0.01 * (other * other));
            norm = select(norm == splat(0.0), splat(0.0), norm * ratio);
        }
        // Derivatives: relative to their own size. At rest the states alone would let the steps grow
        // until the derivatives are unstable.
        for (int i = S; i < ROWS; ++i) {
            const V size = vmax(vmax(vabs(y[i]), vabs(to.y[i])), sizes[i]);
            V error = vabs(h * sum<Errors<0>, N_STAGES + 1>(i));
            if constexpr (N_ERRORS > 1) {
                const V other = h * sum<Errors<N_ERRORS - 1>, N_STAGES + 1>(i);
                error = error * error / vsqrt(error * error + 0.01 * (other * other));
                error = select(error == error, error, splat(0.0));
            }
            const V ratio = error / (DERIVATIVE_SHARE * options.rtol * size);
            norm = vmax(norm, select(error == splat(0.0), splat(0.0), ratio));
            sound = both(sound, finite(to.y[i] + to.f[i]));
        }
        to.norm = select(both(sound, finite(norm)), norm, splat(__builtin_inf()));
    }

    template <int ROW> void extra(V t, V h, const V *y, const V *p, const Drive &drive) {
        if constexpr (ROW < N_EXTRA) {
            V stage_y[ROWS];
            constexpr int COUNT = N_STAGES + 1 + ROW;
            for (int i = 0; i < ROWS; ++i) stage_y[i] = y[i] + h * sum<Extra<ROW>, COUNT>(i);
            slope_at<ROWS>(t + EXTRA_C[ROW] * h, stage_y, p, drive, k[COUNT]);
            extra<ROW + 1>(t, h, y, p, drive);
        }
    }

    template <int ROW> void inner(V h, int i, V (*out)[ROWS]) const {
        if constexpr (ROW < N_INNER) {
            out[3 + ROW][i] = h * sum<Inner<ROW>, ALL_STAGES>(i);
            inner<ROW + 1>(h, i, out);
        }
    }

    void interpolant(V t, V h, const V *y, const V *p, const Drive &drive, const Trial<ROWS> &to,
                     V (*out)[ROWS]) {
        extra<0>(t, h, y, p, drive);
        for (int i = 0; i < ROWS; ++i) {
            const V change = to.y[i] - y[i], before = h * k[0][i], after = h * k[N_STAGES][i];
            out[0][i] = change;
            out[1][i] = before - change;
            out[2][i] = 2.0 * change - before - after;
            inner<0>(h, i, out);
        }
    }
};
