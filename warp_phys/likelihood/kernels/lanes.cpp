// Small dense equations, one matrix of D rows for each lane. Batched calls of LAPACK and a dozen
// passes over all matrices take ten times as long as one pass that does everything for a lane.

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

using std::int64_t;

namespace {

constexpr int64_t ENOUGH = 4096;  // lanes for which more than one thread is worth its start

// Solves M x = b by M = L L^T; L overwrites the lower triangle of M, and x overwrites b. Returns
// false where M is not positive definite or holds a number that is not finite.
bool solve(double* m, double* b, int64_t d) {
    for (int64_t j = 0; j < d; ++j) {
        for (int64_t i = j; i < d; ++i) {
            double sum = m[i * d + j];
            for (int64_t k = 0; k < j; ++k) sum -= m[i * d + k] * m[j * d + k];
            if (i == j) {
                if (!(sum > 0.0) || !std::isfinite(sum)) return false;
                m[j * d + j] = std::sqrt(sum);
            } else {
                m[i * d + j] = sum / m[j * d + j];
            }
        }
    }
    for (int64_t i = 0; i < d; ++i) {  // L y = b
        for (int64_t k = 0; k < i; ++k) b[i] -= m[i * d + k] * b[k];
        b[i] /= m[i * d + i];
    }
    for (int64_t i = d - 1; i >= 0; --i) {  // L^T x = y
        for (int64_t k = i + 1; k < d; ++k) b[i] -= m[k * d + i] * b[k];
        b[i] /= m[i * d + i];
    }
    return true;
}

double dot(const double* a, const double* b, int64_t d) {
    double sum = 0.0;
    for (int64_t i = 0; i < d; ++i) sum += a[i] * b[i];
    return sum;
}

// out = A v of a full matrix.
void times(const double* a, const double* v, double* out, int64_t d) {
    for (int64_t i = 0; i < d; ++i) out[i] = dot(a + i * d, v, d);
}

}  // namespace

// The step s of (E^(-1/2) A E^(-1/2) + damping I) E^(1/2) s = E^(-1/2) b with E = diag(scale), where
// unknowns that are frozen, or have no positive scale, stay. Without a solution s is zero and fine
// false. Tables are (n, D, D), (n, D) and (n,).
extern "C" void damped_steps(int64_t n, int64_t d, const double* matrix, const double* scale,
                             const double* vector, const double* damping, const bool* frozen,
                             double* step, bool* fine, int threads) {
#pragma omp parallel num_threads(threads) if (n >= ENOUGH && threads > 1)
    {
        std::vector<double> scaled(d * d), moving(d);
#pragma omp for schedule(static)
        for (int64_t lane = 0; lane < n; ++lane) {
            const double* a = matrix + lane * d * d;
            double* x = step + lane * d;
            bool finite = true;
            for (int64_t i = 0; i < d; ++i) {
                const double e = scale[lane * d + i];
                const bool stays = frozen[lane * d + i] || !(e > 0.0);
                const double least = std::numeric_limits<double>::min();
                moving[i] = stays ? 0.0 : 1.0 / std::sqrt(e > least ? e : least);
                x[i] = vector[lane * d + i] * moving[i];
            }
            for (int64_t i = 0; i < d; ++i) {
                for (int64_t j = 0; j < d; ++j) {
                    scaled[i * d + j] = a[i * d + j] * moving[i] * moving[j];
                    finite = finite && std::isfinite(scaled[i * d + j]);
                }
                scaled[i * d + i] += (moving[i] == 0.0 ? 1.0 : 0.0) + damping[lane];
            }
            fine[lane] = finite && solve(scaled.data(), x, d);
            for (int64_t i = 0; i < d; ++i) x[i] = fine[lane] ? x[i] * moving[i] : 0.0;
        }
    }
}

// The update of Dennis, Gay and Welsch, see `warp_phys/minimizing/curvature.py`: writes S+ (n, D, D)
// of S, A, s and y.
extern "C" void secant_updates(int64_t n, int64_t d, const double* curvature, const double* matrix,
                               const double* steps, const double* changes, double* found,
                               int threads) {
#pragma omp parallel num_threads(threads) if (n >= ENOUGH && threads > 1)
    {
        std::vector<double> product(d), known(d), missing(d);
#pragma omp for schedule(static)
        for (int64_t lane = 0; lane < n; ++lane) {
            const double* old = curvature + lane * d * d;
            const double* s = steps + lane * d;
            const double* y = changes + lane * d;
            double* out = found + lane * d * d;
            times(matrix + lane * d * d, s, product.data(), d);
            times(old, s, known.data(), d);
            const double along = dot(known.data(), s, d), slope = dot(y, s, d);
            const double ratio = std::abs(slope - dot(product.data(), s, d)) / std::abs(along);
            const double size = along != 0.0 && ratio < 1.0 ? ratio : 1.0;
            const bool steep = slope > 1e-12 * std::sqrt(dot(y, y, d)) * std::sqrt(dot(s, s, d));
            bool usable = steep;
            if (steep) {
                const double inverse = 1.0 / slope;
                for (int64_t i = 0; i < d; ++i) missing[i] = y[i] - product[i] - size * known[i];
                const double twice = dot(missing.data(), s, d) * inverse * inverse;
                for (int64_t i = 0; i < d; ++i) {
                    for (int64_t j = 0; j < d; ++j) {
                        const double mixed = (missing[i] * y[j] + missing[j] * y[i]) * inverse;
                        const double value = size * old[i * d + j] + mixed - twice * y[i] * y[j];
                        out[i * d + j] = value;
                        usable = usable && std::isfinite(value);
                    }
                }
            }
            if (!usable) {
                for (int64_t i = 0; i < d * d; ++i) out[i] = old[i];
            }
        }
    }
}
