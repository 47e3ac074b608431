// SIMD vectors and their hyperbolic tangent. This file is included before the perceptron kernel.

#include <cstdint>

namespace {

template <class T> struct Vector;
template <> struct Vector<float> {
    typedef float type __attribute__((vector_size(64)));
    typedef int32_t bits __attribute__((vector_size(64)));
};
template <> struct Vector<double> {
    typedef double type __attribute__((vector_size(64)));
    typedef int64_t bits __attribute__((vector_size(64)));
};
template <class T> using V = typename Vector<T>::type;
template <class T> constexpr int LANES = 64 / sizeof(T);

// Constants of exp(y) - 1. With n the integer nearest to y / log(2) and r = y - n log(2), so that
// |r| <= log(2) / 2, it equals 2^n (exp(r) - 1) + 2^n - 1, with exp(r) - 1 by its Taylor series of
// `terms` terms. log(2) is the sum of two parts, of which the high one has so few digits that its
// product with n is exact: W. J. Cody, W. Waite, Software Manual for the Elementary Functions,
// Prentice-Hall (1980). Adding `magic`, 1.5 2^23 or 1.5 2^52, rounds to an integer, whose bits are
// then the last ones of the sum.
template <class T> struct Exponential;
template <> struct Exponential<float> {
    static constexpr int terms = 7, shift = 23;
    static constexpr float beyond = 10, magic = 12582912, high = 0.693145751953125f,
                           low = 1.42860682030941723212e-6f;
};
template <> struct Exponential<double> {
    static constexpr int terms = 14, shift = 52;
    static constexpr double beyond = 20, magic = 6755399441055744,
                            high = 0.693147180369123816490, low = 1.90821492927058770002e-10;
};

// Accurate to a few units in the last place: tanh|x| = (e - 1) / (e + 1) with e = exp(2 |x|), where
// e - 1 is computed without cancellation for small x. Beyond `beyond` the result is 1.
template <class T> inline V<T> hyperbolic_tangent(V<T> x) {
    using E = Exponential<T>;
    using Bits = typename Vector<T>::bits;
    const Bits sign = (Bits)(V<T>{} - T(0)) | (Bits)(-V<T>{});  // the sign bit, from -0
    const V<T> size = (V<T>)((Bits)x & ~sign), bound = V<T>{} + E::beyond;
    const V<T> y = 2 * (size > bound ? bound : size);  // NaN > bound is false
    const V<T> shifted = y * T(1.44269504088896340736) + E::magic, n = shifted - E::magic;
    const V<T> r = (y - n * E::high) - n * E::low;
    T factorial[E::terms + 1] = {1};
    for (int k = 1; k <= E::terms; ++k) factorial[k] = factorial[k - 1] * k;
    // Horner's scheme: sum of r^(k-1) / k!, times r below.
    V<T> series = V<T>{} + 1 / factorial[E::terms];
    for (int k = E::terms - 1; k >= 1; --k) series = series * r + 1 / factorial[k];
    // 2^n: n is added to the exponent bits of 1.
    const V<T> scale = (V<T>)(((Bits)shifted << E::shift) + (Bits)(V<T>{} + T(1)));
    const V<T> less = scale * (series * r) + (scale - 1);
    return (V<T>)((Bits)(less / (less + 2)) | ((Bits)x & sign));
}

}  // namespace

