// One step of a Rosenbrock method, as `rosenbrock.py`. Continues `derivatives.cpp`. A step policy
// chooses the steps.
//
// With W = 1 / (gamma h) - df/dy at (t, y), the increments k_i solve
//
//   W k_i = f(t + c_i h, y + sum_j a_ij k_j) + sum_j (C_ij / h) k_j + d_i h df/dt,
//
// which needs one factorization a step and no products with the Jacobian (Hairer, Wanner, Solving
// ODEs II, sec. IV.7); y_1 = y + sum_j b_j k_j, and the last increment is the error estimate. The
// coefficients T are those of `rosenbrock_tableau.py` (Steinebach, BIT 63 (2023) 27):
//   N_STAGES, GAMMA, STAGE_A[][], STAGE_C[], COUPLINGS[][], TIME_WEIGHTS[], WEIGHTS[]
//   INTERPOLATION[3][], ERROR_ORDER

namespace {

// LU factorization with partial pivoting; each lane chooses its own pivots, by masks instead of
// branches. Jacobians of large systems are sparse: there a branch that skips what does nothing in
// any lane saves more than it costs.
struct Factors {
    static constexpr bool SKIPS = S > 12;

    V matrix[S][S];
    V inverse[S];     // of the pivots
    M pivot[S];       // the row that was exchanged with each row

    void decompose() {
        for (int c = 0; c < S; ++c) {
            V best = vabs(matrix[c][c]);
            pivot[c] = M() + c;
            for (int r = c + 1; r < S; ++r) {
                const V size = vabs(matrix[r][c]);
                const M more = size > best;
                best = select(more, size, best);
                pivot[c] = more ? M() + r : pivot[c];
            }
            for (int r = c + 1; r < S; ++r) {
                const M here = pivot[c] == r;
                if (SKIPS && !any(here)) continue;
                for (int j = 0; j < S; ++j) {
                    const V other = matrix[r][j];
                    matrix[r][j] = select(here, matrix[c][j], other);
                    matrix[c][j] = select(here, other, matrix[c][j]);
                }
            }
            inverse[c] = 1.0 / matrix[c][c];
            for (int r = c + 1; r < S; ++r) {
                if (SKIPS && !any(matrix[r][c] != splat(0.0))) continue;
                matrix[r][c] *= inverse[c];
                for (int j = c + 1; j < S; ++j) matrix[r][j] -= matrix[r][c] * matrix[c][j];
            }
        }
    }

    // Row exchanges, then forward and back substitution.
    void solve(V *b) const {
        for (int c = 0; c < S; ++c)
            for (int r = c + 1; r < S; ++r) {
                const M here = pivot[c] == r;
                if (SKIPS && !any(here)) continue;
                const V other = b[r];
                b[r] = select(here, b[c], other);
                b[c] = select(here, other, b[c]);
            }
        for (int r = 1; r < S; ++r)
            for (int j = 0; j < r; ++j) b[r] -= matrix[r][j] * b[j];
        for (int r = S - 1; r >= 0; --r) {
            for (int j = r + 1; j < S; ++j) b[r] -= matrix[r][j] * b[j];
            b[r] *= inverse[r];
        }
    }
};

// With ROWS = R, the derivatives along each direction q are those of the discrete step itself: the
// equation above, differentiated at fixed h,
//
//   W k_i' = f_y y_i' + f_q + sum_j (C_ij / h) k_j' + d_i h (df/dt)' + (df/dy)' k_i,
//
// with f_y and f_q at the stage and y_i' = y' + sum_j a_ij k_j', has the same matrix. A fit by
// these derivatives converges as if there were no integration.
template <typename T, int ROWS> struct Rosenbrock {
    static constexpr int N_STAGES = T::N_STAGES, N_ERRORS = 1, N_COEFFICIENTS = 4;
    static constexpr int ERROR_ORDER = T::ERROR_ORDER;
    static constexpr double STABILITY = __builtin_inf();

    V k[N_STAGES][ROWS]; // increments
    V y[ROWS], f_end[ROWS]; // at the end of the step
    V rate[S];           // df/dt, including changes of the inputs
    V curvature[N_CURVATURE > 0 ? N_CURVATURE : 1];   // second derivatives, see `curvature.py`
    Factors factors;

    // The derivative at the end of the step.
    const V *slope() const { return f_end; }

    V weighted(const double *weights, int count, int i) const {
        V total = splat(0.0);
        for (int j = 0; j < count; ++j) total += weights[j] * k[j][i];
        return total;
    }

    void linearize(V t, V h, const V *from, const V *p, const InputPiece &drive) {
        V u[ROOM_I], f[S], jy[S * S];
        drive.at(t, u);
        if constexpr (HOLDS_SWITCHES) {
            held_linearization(t, from, p, u, drive.slope, drive.side, f, jy, rate);
            if constexpr (ROWS > S)
                held_curvature(t, from, p, u, drive.slope, drive.side, curvature);
        } else {
            rhs_linearization(t, from, p, u, drive.slope, f, jy, rate);
            if constexpr (ROWS > S)
                held_curvature(t, from, p, u, drive.slope, drive.side, curvature);
        }
        const V diagonal = 1.0 / (T::GAMMA * h);
        for (int i = 0; i < S; ++i)
            for (int j = 0; j < S; ++j) {
                V entry = i == j ? diagonal : splat(0.0);
                if (RHS_Y[i * S + j]) entry -= jy[i * S + j];
                factors.matrix[i][j] = entry;
            }
        factors.decompose();
    }

    // The right-hand side of stage s but for the terms of the linearization.
    void assemble(int s, V t, V h, V safe, const V *from, const V *f, const V *p,
                  const InputPiece &drive, V *right) {
        if (s == 0) {
            for (int i = 0; i < ROWS; ++i) right[i] = f[i];
            return;
        }
        V stage_y[ROWS];
        for (int i = 0; i < ROWS; ++i) stage_y[i] = from[i] + weighted(T::STAGE_A[s], s, i);
        slope_at<ROWS>(t + T::STAGE_C[s] * h, stage_y, p, drive, right);
        // The couplings C_ij / h replace products with the Jacobian.
        for (int i = 0; i < ROWS; ++i) right[i] += weighted(T::COUPLINGS[s], s, i) / safe;
    }

    // Add (df/dy)' k_s and the change of df/dt to the right-hand sides of the derivatives.
    void add_curvature(int s, V h, const V *from, V *right) const {
        if constexpr (N_CURVATURE > 0)
            for (int d = 0; d < D; ++d) {
                V jy[S * S], jt[S], *to = right + S * (1 + d);
                curve(d, curvature, from + S * (1 + d), jy, jt);
                for (int i = 0; i < S; ++i) {
                    if constexpr (CHANGES_IN_TIME) to[i] += T::TIME_WEIGHTS[s] * h * jt[i];
                    for (int j = 0; j < S; ++j)
                        if (RHS_Y[i * S + j]) to[i] += jy[i * S + j] * k[s][j];
                }
            }
    }

    // Try a step from (t, from), with derivative f there; its increments are kept for the dense
    // output.
    void attempt(V t, V h, const V *from, const V *f, const V *p, const InputPiece &drive) {
        const V safe = select(h > splat(0.0), h, splat(1.0));  // lanes at rest
        linearize(t, safe, from, p, drive);
        for (int s = 0; s < N_STAGES; ++s) {
            V *right = k[s];
            assemble(s, t, h, safe, from, f, p, drive, right);
            if constexpr (CHANGES_IN_TIME)
                for (int i = 0; i < S; ++i) right[i] += T::TIME_WEIGHTS[s] * h * rate[i];
            factors.solve(right);
            if constexpr (ROWS > S) {
                add_curvature(s, h, from, right);
                for (int d = 0; d < D; ++d) factors.solve(right + S * (1 + d));
            }
        }
        for (int i = 0; i < ROWS; ++i) y[i] = from[i] + weighted(T::WEIGHTS, N_STAGES, i);
        slope_at<ROWS>(t + h, y, p, drive, f_end);
    }

    // The error estimate of row i: the method is stiffly accurate, and its embedded solution
    // differs from the step by the last increment.
    template <int> V error(int i) const { return k[N_STAGES - 1][i]; }
    static V tempered(V main, V) { return main; }
    V stiffness() const { return splat(0.0); }

    // Coefficients in the form of `RungeKutta::interpolant`, by x K_3 = K_3 - (1 - x) K_3.
    void interpolant(const V *from, const V *, const InputPiece &, V (*out)[ROWS]) const {
        for (int i = 0; i < ROWS; ++i) {
            const V third = weighted(T::INTERPOLATION[2], N_STAGES, i);
            out[0][i] = y[i] - from[i];
            out[1][i] = weighted(T::INTERPOLATION[0], N_STAGES, i);
            out[2][i] = weighted(T::INTERPOLATION[1], N_STAGES, i) + third;
            out[3][i] = -third;
        }
    }
};

}  // namespace
