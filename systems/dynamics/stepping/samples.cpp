// Integrates W trajectories from sample to sample. Continues `derivatives.cpp`.
//
// A step policy integrates from one sample to the next. Inputs are linear or constant in between,
// and states jump only at samples. POLICY has, for the lanes it was constructed with:
//   begin()                        before the first sample
//   advance(sample, end, moving)   integrate lanes from `t` to `end`, the time of their next sample;
//                                  failures are recorded in `running` and `status`
//   arrived(sample, hit, here)     the lanes `here` are at a sample, which is not recorded yet;
//                                  states have jumped in the lanes `hit`
//   finish()                       after the last sample
// The consumer is that of `adaptive.cpp`. `source.py` also defines:
//   HELD[], ANY_HELD               inputs that keep their value from sample to sample

namespace {

// What happens at the samples; absent parts are null.
struct Samples {
    int64_t n_times, time_stride;
    const double *times, *start;          // (N, T) or (T,), and (N,)
    const double *inputs;                 // (N, T, I)
    const double *jumps;  // (N, T, S) dose that is added before a sample is recorded
};

// The lanes of a call: each is one trajectory, up to some sample.
struct Route {
    const int64_t *row, *limit;  // (L,) trajectory, and how many of its samples are reached
    // The steps of the interval before each sample, see `planned.cpp`: (L, T) their number, as a
    // negative one if they are graded, and their ends.
    int32_t *plan;
    double **ends;
    double *sizes;               // (L, S) largest values in the last call, negative before the first
};

template <int ROWS> struct Position {
    M id;                                 // lane of the call that is in each lane of the vector
    V t, p[ROOM_P], y[ROWS];
    bool running[W];
    Status status[W];
    int64_t steps[W];
};

template <int ROWS> struct Walk {
    Position<ROWS> &lanes;
    const Samples &samples;
    const Route &route;

    int64_t place(int l, int64_t sample) const {
        return route.row[lanes.id[l]] * samples.n_times + sample;
    }
    double time_of(int l, int64_t sample) const {
        return samples.times[route.row[lanes.id[l]] * samples.time_stride + sample];
    }

    // The inputs between the sample before and `sample`, at which the time is `end`.
    InputPiece drive_to(int64_t sample, V end) const {
        InputPiece drive;
        drive.origin = lanes.t;
        V inverse = splat(0.0);
        if (I > 0)
            for (int l = 0; l < W; ++l)
                inverse[l] = end[l] > lanes.t[l] ? 1.0 / (end[l] - lanes.t[l]) : 0.0;
        for (int i = 0; i < I; ++i) {
            for (int l = 0; l < W; ++l) {
                // Before the first sample the input is held, as it is after the last.
                const int64_t last = route.limit[lanes.id[l]] - 1, to = sample < last ? sample : last;
                const int64_t from = sample > 0 ? sample - 1 : to;
                const double before = samples.inputs[place(l, from) * I + i];
                const double after = samples.inputs[place(l, to) * I + i];
                drive.first[i][l] = before;
                drive.slope[i][l] = HELD[i] ? 0.0 : after - before;
            }
            drive.slope[i] *= inverse;
        }
        return drive;
    }

    // The time of a sample in each lane; after the last one, the present time.
    V when(int64_t sample) const {
        V at = lanes.t;
        for (int l = 0; l < W; ++l)
            if (sample < route.limit[lanes.id[l]]) at[l] = time_of(l, sample);
        return at;
    }

    // Add the doses at this time; derivatives of the states do not change, as doses are constants.
    // Returns the lanes with a dose.
    M jump(int64_t sample, const bool *here) {
        M hit = {};
        for (int i = 0; i < S; ++i)
            for (int l = 0; l < W; ++l) {
                const double rise = samples.jumps[place(l, sample) * S + i];
                if (!here[l] || rise == 0.0) continue;
                lanes.y[i][l] += rise;
                hit[l] = -1;
            }
        return hit;
    }

    template <typename POLICY, typename CONSUMER> void run(POLICY &policy, CONSUMER &consumer) {
        int64_t last = 0;
        for (int l = 0; l < W; ++l) {
            const int64_t limit = route.limit[lanes.id[l]];
            last = limit > last ? limit : last;
            consumer.begin(l, lanes.id[l], lanes.p);
        }
        policy.begin();
        for (int64_t sample = 0; sample < last; ++sample) {
            V end = lanes.t;
            bool here[W], moving[W], some = false;
            for (int l = 0; l < W; ++l) {
                here[l] = sample < route.limit[lanes.id[l]];
                if (here[l]) end[l] = time_of(l, sample);
                moving[l] = here[l] && lanes.running[l] && end[l] > lanes.t[l];
                some = some || (here[l] && lanes.running[l]);
            }
            if (!some) break;
            policy.advance(sample, end, moving);
            for (int l = 0; l < W; ++l)
                if (moving[l]) lanes.t[l] = end[l];
            policy.arrived(sample, samples.jumps ? jump(sample, here) : M(), here);
            M due, number = M() + sample;
            for (int l = 0; l < W; ++l) due[l] = here[l] && lanes.running[l] ? -1 : 0;
            consumer.at_sample(due, number, end, lanes.y);
        }
        policy.finish();
        for (int l = 0; l < W; ++l) consumer.finish(l, {lanes.status[l], lanes.steps[l], 0.0});
    }
};

}  // namespace
