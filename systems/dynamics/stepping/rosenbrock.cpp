// One step of a Rosenbrock method, as `rosenbrock.py`. Continues `problem.cpp`; the coefficients
// are those of `rosenbrock_tableau.py`:
//   N_STAGES, GAMMA, STAGE_A[][], STAGE_C[], COUPLINGS[][], TIME_WEIGHTS[], WEIGHTS[]
//   INTERPOLATION[3][]

static_assert(D == 0, "the derivatives of an implicit step are not known");

constexpr int N_COEFFICIENTS = 4;

// Gaussian elimination with row pivots, each lane its own.
struct Factors {
    V matrix[S][S];
    V inverse[S];     // of the pivots
    M pivot[S];       // row that came to each place

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
                for (int j = 0; j < S; ++j) {
                    const V other = matrix[r][j];
                    matrix[r][j] = select(here, matrix[c][j], other);
                    matrix[c][j] = select(here, other, matrix[c][j]);
                }
            }
            inverse[c] = 1.0 / matrix[c][c];
            for (int r = c + 1; r < S; ++r) {
                matrix[r][c] *= inverse[c];
                for (int j = c + 1; j < S; ++j) matrix[r][j] -= matrix[r][c] * matrix[c][j];
            }
        }
    }

    void solve(V *b) const {
        for (int c = 0; c < S; ++c)
            for (int r = c + 1; r < S; ++r) {
                const M here = pivot[c] == r;
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

template <int ROWS> struct Stepper {
    V k[N_STAGES][S];
    V rate[S];
    Factors factors;

    V weighted(const double *weights, int count, int i) const {
        V total = splat(0.0);
        for (int j = 0; j < count; ++j) total += weights[j] * k[j][i];
        return total;
    }

    void linearize(V t, V h, const V *y, const V *p, const Drive &drive) {
        V u[ROOM_I], f[S], jy[S * S];
        drive.at(t, u);
        rhs_linearization(t, y, p, u, drive.slope, f, jy, rate);
        const V diagonal = 1.0 / (GAMMA * h);
        for (int i = 0; i < S; ++i)
            for (int j = 0; j < S; ++j) {
                V entry = i == j ? diagonal : splat(0.0);
                if (RHS_Y[i * S + j]) entry -= jy[i * S + j];
                factors.matrix[i][j] = entry;
            }
        factors.decompose();
    }

    // Try a step; its increments stay for the interpolant.
    void attempt(V t, V h, const V *y, const V *f, const V *p, const Drive &drive,
                 Trial<ROWS> &to) {
        const V safe = select(h > splat(0.0), h, splat(1.0));  // lanes at rest
        linearize(t, safe, y, p, drive);
        for (int s = 0; s < N_STAGES; ++s) {
            V right[S];
            if (s == 0) {
                for (int i = 0; i < S; ++i) right[i] = f[i];
            } else {
                V stage_y[S];
                for (int i = 0; i < S; ++i) stage_y[i] = y[i] + weighted(STAGE_A[s], s, i);
                slope_at<S>(t + STAGE_C[s] * h, stage_y, p, drive, right);
                for (int i = 0; i < S; ++i) right[i] += weighted(COUPLINGS[s], s, i) / safe;
            }
            if constexpr (CHANGES_IN_TIME)
                for (int i = 0; i < S; ++i) right[i] += TIME_WEIGHTS[s] * h * rate[i];
            factors.solve(right);
            for (int i = 0; i < S; ++i) k[s][i] = right[i];
        }
        for (int i = 0; i < S; ++i) to.y[i] = y[i] + weighted(WEIGHTS, N_STAGES, i);
        slope_at<S>(t + h, to.y, p, drive, to.f);
        to.stiffness = splat(0.0);
    }

    void measure(V h, const V *y, const V *, const Options &options, Trial<ROWS> &to) const {
        M sound = h == h;
        V relative[S];
        for (int i = 0; i < S; ++i) {
            const V scale = options.atol + options.rtol * vmax(vabs(y[i]), vabs(to.y[i]));
            relative[i] = k[N_STAGES - 1][i] / scale;
            sound = both(sound, finite(to.y[i] + to.f[i]));
        }
        const V norm = largest(relative);
        to.norm = select(both(sound, finite(norm)), norm, splat(__builtin_inf()));
    }

    void interpolant(V, V, const V *y, const V *, const Drive &, const Trial<ROWS> &to,
                     V (*out)[S]) const {
        for (int i = 0; i < S; ++i) {
            const V third = weighted(INTERPOLATION[2], N_STAGES, i);
            out[0][i] = to.y[i] - y[i];
            out[1][i] = weighted(INTERPOLATION[0], N_STAGES, i);
            out[2][i] = weighted(INTERPOLATION[1], N_STAGES, i) + third;
            out[3][i] = -third;
        }
    }
};
