// The arrays that the kernel reads and writes, and copies between them and vectors of W records.
//
// Included after `symmetric.cpp`, with the constants D (unknowns) and O (outputs).

namespace {

enum Kind : int32_t { EACH, COMMON, KNOWN };

struct Segment {
    int64_t length;                // T, samples of the arrays
    int64_t first, last;           // the segment, `last` excluded
    int64_t marked;                // whether a mark follows, which tests the last sample itself
    int64_t kind, fewest;
    double usual_level;            // share of the data's size
    double farthest;               // squared length of a step at which a record is in doubt
    double least_freedom;          // that a level must have before a window
    const double *level, *spread;  // (O,), prior of the logarithms of the levels; NaN if it follows
                                   // from the data
    const double *threshold;       // normal score that is improbable, by the number of tests
    const double *residual, *jacobian, *size;  // (N, T, O), (N, T, O, D), (N, T, O)
};

// The hidden state, see `Running`.
struct State {
    const double *point;
    const double *base_mean, *base_precision, *base_squares, *base_count;
    double *hessian, *gradient, *sum, *count;
    double *delta, *covariance, *squares, *log_level, *freedom, *decrement;
    double *size;
    const bool *corrected;
    const double *precision, *shift, *excess;
    double *past_squares, *past_count, *past_level, *past_freedom;
    int64_t *tested;
    bool *suspect;
    const bool *alarm;
    int64_t *since;
};

// What is known at every sample, see `Track`. `moved` is the change of the predictions.
struct Known {
    double *mean, *covariance, *freedom, *log_level, *level_freedom, *moved;
    bool *described;
};

// Copies from arrays of `size` numbers a record to lanes.
struct Rows {
    // Of each lane: where it stands in the arrays of samples, and in those of the state.
    int64_t row[W], of_state[W];

    void load(const double *from, int size, V *to) const {
        for (int l = 0; l < W; ++l)
            for (int i = 0; i < size; ++i) to[i][l] = from[of_state[l] * size + i];
    }
    void load_symmetric(const double *from, int64_t step, V *to) const {
        for (int l = 0; l < W; ++l) {
            const double *matrix = from + of_state[l] * step;
            for (int i = 0; i < D; ++i)
                for (int j = 0; j <= i; ++j) to[place(i, j)][l] = matrix[i * D + j];
        }
    }
};

inline void save(double *to, int size, const V *from, int l) {
    for (int i = 0; i < size; ++i) to[i] = from[i][l];
}
inline void save_symmetric(double *to, const V *from, int l) {
    for (int i = 0; i < D; ++i)
        for (int j = 0; j <= i; ++j) to[i * D + j] = to[j * D + i] = from[place(i, j)][l];
}

}  // namespace
