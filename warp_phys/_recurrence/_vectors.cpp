// Vectors of 64 bytes, whole and in part, and memory for large arrays: what every kernel begins with.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>
#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace {

constexpr int64_t HUGE_FROM = 8 << 20;

template <class T> struct Vector;
template <> struct Vector<float> { typedef float type __attribute__((vector_size(64))); };
template <> struct Vector<double> { typedef double type __attribute__((vector_size(64))); };
template <class T> using V = typename Vector<T>::type;
template <class T> constexpr int LANES = 64 / sizeof(T);

template <class T> inline V<T> load(const T* from) {
    V<T> v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
template <class T> inline void store(T* to, V<T> v) { std::memcpy(to, &v, sizeof v); }

// The last vector of a row may hold fewer lanes than others; its strip has one vector.
template <class T, bool WHOLE> inline V<T> load_row(const T* from, int64_t lanes) {
    if (WHOLE) return load<T>(from);
    V<T> v = {};
    std::memcpy(&v, from, lanes * sizeof(T));
    return v;
}
template <class T, bool WHOLE> inline void store_row(T* to, V<T> v, int64_t lanes) {
    std::memcpy(to, &v, WHOLE ? sizeof v : lanes * sizeof(T));
}

// Fresh memory comes in pages, and fetching small ones takes longer than writing them.
void advise_huge_pages(void* start, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (bytes < HUGE_FROM) return;
    const uintptr_t page = sysconf(_SC_PAGESIZE), from = (uintptr_t)start;
    const uintptr_t first = (from + page - 1) / page * page, last = (from + bytes) / page * page;
    madvise((void*)first, last - first, MADV_HUGEPAGE);
#endif
}

}  // namespace
