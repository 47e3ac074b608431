// Symmetric matrices of W records, one in each lane of a vector, and the exponential function.
//
// The vectors V and masks M come before this file, see `PRELUDE` in `systems/compiling/cpp.py`, and
// D, the number of rows. Of a symmetric matrix the lower triangle is kept, row by row.

#include <cstdint>
#include <cstring>

namespace {

constexpr int K = D * (D + 1) / 2;

constexpr int place(int i, int j) { return i >= j ? i * (i + 1) / 2 + j : j * (j + 1) / 2 + i; }

inline M finite(V x) { return vabs(x) < splat(__builtin_inf()); }

// Replaces A by its inverse: the sweep operator on every row and column, without pivoting, which a
// positive definite matrix does not need (J. H. Goodnight, Am. Stat. 33 (1979) 149-158,
// doi:10.1080/00031305.1979.10482685). Returns the determinant, the product of the pivots.
inline V invert(V *a) {
    V determinant = splat(1.0);
    for (int k = 0; k < D; ++k) {
        const V pivot = a[place(k, k)], inverse = 1.0 / pivot;
        determinant *= pivot;
        V column[D], scaled[D];
        for (int i = 0; i < D; ++i) column[i] = a[place(i, k)];
        for (int i = 0; i < D; ++i) scaled[i] = column[i] * inverse;
        for (int i = 0; i < D; ++i)
            for (int j = 0; j <= i; ++j)
                if (i != k && j != k) a[place(i, j)] -= scaled[i] * column[j];
        for (int i = 0; i < D; ++i)
            if (i != k) a[place(i, k)] = scaled[i];
        a[place(k, k)] = -inverse;
    }
    for (int j = 0; j < K; ++j) a[j] = -a[j];
    return determinant;
}

// Inverts a positive definite matrix scaled to a unit diagonal, so that the sizes of the unknowns
// cost no digits. Returns the logarithm of its determinant.
inline V invert_scaled(V *a) {
    V scale[D], product = splat(1.0);
    for (int i = 0; i < D; ++i) scale[i] = 1.0 / vsqrt(a[place(i, i)]);
    for (int i = 0; i < D; ++i)
        for (int j = 0; j <= i; ++j) a[place(i, j)] *= scale[i] * scale[j];
    V logarithm = vlog(invert(a));
    for (int i = 0; i < D; ++i) {
        for (int j = 0; j <= i; ++j) a[place(i, j)] *= scale[i] * scale[j];
        // Products of a few scales neither overflow nor underflow.
        product *= scale[i];
        if (i % 4 == 3 || i == D - 1) logarithm -= 2.0 * vlog(product), product = splat(1.0);
    }
    return logarithm;
}

// y = A x
inline void times(const V *a, const V *x, V *y) {
    for (int i = 0; i < D; ++i) {
        y[i] = splat(0.0);
        for (int j = 0; j < D; ++j) y[i] += a[place(i, j)] * x[j];
    }
}

inline V dot(const V *x, const V *y) {
    V sum = splat(0.0);
    for (int i = 0; i < D; ++i) sum += x[i] * y[i];
    return sum;
}

// exp(x), accurate to a few units in the last place: with n the integer nearest to x / log 2 and
// r = x - n log 2 it is 2^n exp(r), exp(r) by its Taylor series. log 2 is the sum of two parts, of
// which the high one has so few digits that its product with n is exact (W. J. Cody, W. Waite,
// Software Manual for the Elementary Functions, Prentice-Hall, 1980). Adding 1.5 2^52 rounds to an
// integer, whose bits are then the last ones of the sum.
inline V exponential(V x) {
    typedef int64_t Bits __attribute__((vector_size(8 * W)));
    constexpr double MAGIC = 6755399441055744, HIGH = 0.693147180369123816490,
                     LOW = 1.90821492927058770002e-10, MOST = 708.0;
    x = select(x > splat(MOST), splat(MOST), select(x < splat(-MOST), splat(-MOST), x));
    const V shifted = x * 1.44269504088896340736 + MAGIC, n = shifted - MAGIC;
    const V r = (x - n * HIGH) - n * LOW;
    double factorial[14] = {1.0};
    for (int k = 1; k < 14; ++k) factorial[k] = factorial[k - 1] * k;
    V series = splat(1.0 / factorial[13]);
    for (int k = 12; k >= 0; --k) series = series * r + 1.0 / factorial[k];
    return series * (V)(((Bits)shifted << 52) + (Bits)splat(1.0));
}

}  // namespace
