// Huge pages for large arrays. This file is included before every kernel.

#include <cstdint>
#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace {

constexpr int64_t HUGE_FROM = 8 << 20;  // bytes

// The first write to each page of fresh memory traps into the kernel of the operating system. With
// pages of 4 KiB these page faults take longer than the writes. Only whole pages are advised.
inline void advise_huge_pages(void* start, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (bytes < HUGE_FROM) return;
    const uintptr_t page = sysconf(_SC_PAGESIZE), from = (uintptr_t)start;
    const uintptr_t first = (from + page - 1) / page * page, last = (from + bytes) / page * page;
    madvise((void*)first, last - first, MADV_HUGEPAGE);
#endif
}

}  // namespace

