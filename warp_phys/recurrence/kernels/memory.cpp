// Memory for large arrays: every kernel begins with this.

#include <cstdint>
#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace {

constexpr int64_t HUGE_FROM = 8 << 20;  // bytes

// Fresh memory comes in pages, and fetching small ones takes longer than writing them.
inline void advise_huge_pages(void* start, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (bytes < HUGE_FROM) return;
    const uintptr_t page = sysconf(_SC_PAGESIZE), from = (uintptr_t)start;
    const uintptr_t first = (from + page - 1) / page * page, last = (from + bytes) / page * page;
    madvise((void*)first, last - first, MADV_HUGEPAGE);
#endif
}

}  // namespace

