// The arguments of adaptive integration: trajectories with inputs and doses, and the step-size
// control. Continues `derivatives.cpp`; `compiled.py` declares the same structures.

namespace {

// The initial-value problems; absent parts are null.
struct Problem {
    int64_t n, n_times, time_stride, n_stops;
    const double *times;                      // (N, T) or (1, T), infinite behind the last
    const int64_t *counts;                    // (N,)
    const double *start, *initial;            // (N,), (S, N)
    const double *parameters;                 // (P, N)
    const double *floor;                      // (S, N) atol / rtol of each state
    const double *stops, *jumps;              // (N, J), (S, N, J)
    const double *origin, *first, *slope;     // (N, J + 1), (I, N, J + 1), (I, N, J + 1)
};

struct StepControl {
    double rtol;                              // of the local errors
    double share;                             // by which `floor` becomes their absolute tolerance
    double allowance, safety, shrink, grow;   // see `step_control.py`
    int64_t max_steps, stiff_after, stiff_count;
    int64_t relative;                         // whether each value's error is relative to itself
};

}  // namespace
