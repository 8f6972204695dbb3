// Batch normalisation over rows of C channels, and its gradients. Sums go over chunks of rows, in float over a few
// rows and in double beyond, always in the same order.
#pragma once
#include "epilogue.h"

namespace atento {
namespace ATENTO_ISA {

struct Rows {
  int64_t count, C;
  int pieces() const { return static_cast<int>(max(1, min(count, ceil_div(count * C, kPieceFloats)))); }
  Range piece(int i) const { return share(count, pieces(), i); }
};

INLINE Rows rows_of(const double* p) { return {at(p, 0), at(p, 1)}; }
INLINE bool rows_fit(const Rows& r) { return r.count > 0 && r.C > 0; }

constexpr int64_t kFewRows = 16;  // summed in float

// Calls f(element, channel) for all elements of some rows; those of a single channel make vectors of their own.
template <class F>
INLINE void for_row_elements(Range rows, int64_t C, F f) {
  if (C == 1) {
    for (int64_t i = rows.begin; i < rows.end; ++i) f(i, 0);
    return;
  }
  for (int64_t i = rows.begin; i < rows.end; ++i)
    for (int64_t c = 0; c < C; ++c) f(i * C + c, c);
}

// Adds `f(row, channel)` over the rows of a range to `sums` [C]; `few` [C] is workspace.
template <class F>
INLINE void add_rows(Range rows, int64_t C, double* __restrict sums, float* __restrict few, F f) {
  for (int64_t i = rows.begin; i < rows.end; i += kFewRows) {
    clear(few, C);
    for (int64_t r = i; r < min(rows.end, i + kFewRows); ++r)
      for (int64_t c = 0; c < C; ++c) few[c] += f(r, c);
    for (int64_t c = 0; c < C; ++c) sums[c] += few[c];
  }
}

// Two sums a channel and chunk, in doubles of the shared workspace.
INLINE double* chunk_sums(const Call& call, const Rows& r, int piece) {
  return reinterpret_cast<double*>(call.shared) + piece * 2 * r.C;
}
INLINE int64_t chunk_sums_floats(const Rows& r) { return 2 * r.pieces() * 2 * r.C; }

// x → [2,C]: mean and biased variance, a chunk's own mean taken out before squaring.
static bool batch_statistics_plan(const double* p, Plan& plan) {
  const Rows r = rows_of(p);
  if (!rows_fit(r)) return false;
  plan.lengths[0] = r.count * r.C;
  plan.lengths[1] = 2 * r.C;
  plan.shared = chunk_sums_floats(r);
  plan.local = 2 * r.C;
  plan.phases = 2;
  plan.pieces[0] = r.pieces();
  return true;
}

static void batch_statistics_run(const Call& call, int phase, int piece) {
  const Rows r = rows_of(call.params);
  const int64_t C = r.C;
  if (phase == 0) {
    const Range range = r.piece(piece);
    const float* x = call.operands[0];
    double* __restrict sums = chunk_sums(call, r, piece);
    double* __restrict squares = sums + C;
    float* __restrict few = call.local;
    float* __restrict mean = few + C;
    for (int64_t c = 0; c < C; ++c) sums[c] = squares[c] = 0;
    add_rows(range, C, sums, few, [=](int64_t i, int64_t c) { return x[i * C + c]; });
    for (int64_t c = 0; c < C; ++c) {
      sums[c] /= static_cast<double>(range.end - range.begin);
      mean[c] = static_cast<float>(sums[c]);
    }
    add_rows(range, C, squares, few, [=](int64_t i, int64_t c) {
      const float d = x[i * C + c] - mean[c];
      return d * d;
    });
    return;
  }
  // Chan, Golub and LeVeque (1979): parts with their own means are joined without cancellation
  for (int64_t c = 0; c < C; ++c) {
    double n = 0, mean = 0, squares = 0;
    for (int k = 0; k < r.pieces(); ++k) {
      const Range range = r.piece(k);
      const double m = static_cast<double>(range.end - range.begin);
      const double* sums = chunk_sums(call, r, k);
      const double delta = sums[c] - mean;
      mean += delta * m / (n + m);
      squares += sums[C + c] + delta * delta * n * m / (n + m);
      n += m;
    }
    call.operands[1][c] = static_cast<float>(mean);
    call.operands[1][C + c] = static_cast<float>(squares / n);
  }
}

// y = rate·(x − mean) + beta for one chunk; rate in `local`, for all chunks of a thread.
INLINE void normalize_chunk(const Call& call, const Rows& r, int piece, const float* mean, const float* variance,
                            const float* gamma, const float* beta, float* y) {
  float* rate = call.local;
  if (call.first) norm_rates(variance, gamma, static_cast<float>(call.params[2]), r.C, rate);
  const float* x = call.operands[0];
  for_row_elements(r.piece(piece), r.C, [=](int64_t i, int64_t c) { y[i] = (x[i] - mean[c]) * rate[c] + beta[c]; });
}

// x, statistics [2,C], gamma, beta → y
static bool batch_norm_plan(const double* p, Plan& plan) {
  const Rows r = rows_of(p);
  if (!rows_fit(r)) return false;
  plan.lengths[0] = plan.lengths[4] = r.count * r.C;
  plan.lengths[1] = 2 * r.C;
  plan.lengths[2] = plan.lengths[3] = r.C;
  plan.local = r.C;
  plan.pieces[0] = r.pieces();
  return true;
}

static void batch_norm_run(const Call& call, int, int piece) {
  const Rows r = rows_of(call.params);
  const float* s = call.operands[1];
  normalize_chunk(call, r, piece, s, s + r.C, call.operands[2], call.operands[3], call.operands[4]);
}

// x, mean, variance, gamma, beta → y
static bool batch_norm_inference_plan(const double* p, Plan& plan) {
  const Rows r = rows_of(p);
  if (!rows_fit(r)) return false;
  plan.lengths[0] = plan.lengths[5] = r.count * r.C;
  for (int i = 1; i < 5; ++i) plan.lengths[i] = r.C;
  plan.local = r.C;
  plan.pieces[0] = r.pieces();
  return true;
}

static void batch_norm_inference_run(const Call& call, int, int piece) {
  float* const* o = call.operands;
  normalize_chunk(call, rows_of(call.params), piece, o[1], o[2], o[3], o[4], o[5]);
}

// mean, variance, gamma, beta → [2,C]: scale and shift of what normalisation does to a channel
static bool fold_batch_norm_plan(const double* p, Plan& plan) {
  for (int i = 0; i < 4; ++i) plan.lengths[i] = at(p, 0);
  plan.lengths[4] = 2 * at(p, 0);
  return p[0] > 0;
}

static void fold_batch_norm_run(const Call& call, int, int) {
  const int64_t C = at(call.params, 0);
  float* const* o = call.operands;
  for (int64_t c = 0; c < C; ++c) {
    const double scale = o[2][c] / __builtin_sqrt(o[1][c] + call.params[1]);
    o[4][c] = static_cast<float>(scale);
    o[4][C + c] = static_cast<float>(o[3][c] - o[0][c] * scale);
  }
}

// dy, x, statistics → [2,C]: Σdy, Σdy·x̂
static bool batch_norm_grad_sums_plan(const double* p, Plan& plan) {
  const Rows r = rows_of(p);
  if (!rows_fit(r)) return false;
  plan.lengths[0] = plan.lengths[1] = r.count * r.C;
  plan.lengths[2] = plan.lengths[3] = 2 * r.C;
  plan.shared = chunk_sums_floats(r);
  plan.local = 2 * r.C;
  plan.phases = 2;
  plan.pieces[0] = r.pieces();
  return true;
}

// Σdy and Σdy·(x − mean) of one channel, in lanes that go to doubles after a few vectors.
INLINE void single_channel_sums(const float* dy, const float* x, float mean, Range rows, double* sums) {
  int64_t i = rows.begin;
  while (i + L <= rows.end) {
    V few{}, products{};
    for (const int64_t end = min(rows.end, i + kFewRows * L); i + L <= end; i += L) {
      few += load(dy + i);
      products += load(dy + i) * (load(x + i) - mean);
    }
    for (int lane = 0; lane < L; ++lane) sums[0] += few[lane], sums[1] += products[lane];
  }
  for (; i < rows.end; ++i) sums[0] += dy[i], sums[1] += dy[i] * (x[i] - mean);
}

static void batch_norm_grad_sums_run(const Call& call, int phase, int piece) {
  const Rows r = rows_of(call.params);
  const int64_t C = r.C;
  const float *dy = call.operands[0], *x = call.operands[1], *mean = call.operands[2];
  if (phase == 0) {
    double* __restrict sums = chunk_sums(call, r, piece);
    float* __restrict few = call.local;
    float* __restrict products = few + C;
    for (int64_t c = 0; c < 2 * C; ++c) sums[c] = 0;
    const Range range = r.piece(piece);
    if (C == 1) return single_channel_sums(dy, x, mean[0], range, sums);
    for (int64_t i = range.begin; i < range.end; i += kFewRows) {
      clear(few, 2 * C);
      for (int64_t row = i; row < min(range.end, i + kFewRows); ++row)
        for (int64_t c = 0; c < C; ++c) {
          few[c] += dy[row * C + c];
          products[c] += dy[row * C + c] * (x[row * C + c] - mean[c]);
        }
      for (int64_t c = 0; c < 2 * C; ++c) sums[c] += few[c];
    }
    return;
  }
  const double eps = call.params[2];
  for (int64_t c = 0; c < C; ++c) {
    double sum = 0, product = 0;
    for (int k = 0; k < r.pieces(); ++k) {
      sum += chunk_sums(call, r, k)[c];
      product += chunk_sums(call, r, k)[C + c];
    }
    call.operands[3][c] = static_cast<float>(sum);
    call.operands[3][C + c] = static_cast<float>(product / __builtin_sqrt(mean[C + c] + eps));
  }
}

// dy, x, statistics, gamma, sums → dx = a·dy + b·(x − mean) + k, a channel
static bool batch_norm_input_grad_plan(const double* p, Plan& plan) {
  const Rows r = rows_of(p);
  if (!rows_fit(r)) return false;
  plan.lengths[0] = plan.lengths[1] = plan.lengths[5] = r.count * r.C;
  plan.lengths[2] = plan.lengths[4] = 2 * r.C;
  plan.lengths[3] = r.C;
  plan.local = 3 * r.C;
  plan.pieces[0] = r.pieces();
  return true;
}

static void batch_norm_input_grad_run(const Call& call, int, int piece) {
  const Rows r = rows_of(call.params);
  const int64_t C = r.C;
  const float* mean = call.operands[2];
  if (call.first) {
    norm_grad_rates(mean, call.operands[3], call.operands[4], static_cast<float>(call.params[2]), static_cast<float>(r.count),
                    C, call.local);
  }
  const float *a = call.local, *b = a + C, *k = b + C;
  const float *dy = call.operands[0], *x = call.operands[1];
  float* dx = call.operands[5];
  for_row_elements(r.piece(piece), C, [=](int64_t i, int64_t c) { dx[i] = a[c] * dy[i] + (b[c] * (x[i] - mean[c]) + k[c]); });
}

// g, w [I,O], d [O], gamma, beta [I] → γ·g + β·d [I,O], Σ_o w·d and Σ_o w·g [2,I]; params: I, O
static bool weight_grad_of_affine_plan(const double* p, Plan& plan) {
  const Rows r = rows_of(p);
  if (!rows_fit(r)) return false;
  plan.lengths[0] = plan.lengths[1] = plan.lengths[5] = r.count * r.C;
  plan.lengths[2] = r.C;
  plan.lengths[3] = plan.lengths[4] = r.count;
  plan.lengths[6] = 2 * r.count;
  plan.pieces[0] = r.pieces();
  return true;
}

static void weight_grad_of_affine_run(const Call& call, int, int piece) {
  const Rows r = rows_of(call.params);
  const float *d = call.operands[2], *gamma = call.operands[3], *beta = call.operands[4];
  const Range rows = r.piece(piece);
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const float *g = call.operands[0] + i * r.C, *w = call.operands[1] + i * r.C;
    float* out = call.operands[5] + i * r.C;
    call.operands[6][i] = dot(w, d, r.C);
    call.operands[6][r.count + i] = dot(w, g, r.C);
    for (int64_t o = 0; o < r.C; ++o) out[o] = gamma[i] * g[o] + beta[i] * d[o];  // which may lie where g does
  }
}

// running mean, running variance, statistics; params: C, momentum, M/(M − 1)
static bool update_running_plan(const double* p, Plan& plan) {
  plan.lengths[0] = plan.lengths[1] = at(p, 0);
  plan.lengths[2] = 2 * at(p, 0);
  return p[0] > 0;
}

static void update_running_run(const Call& call, int, int) {
  const int64_t C = at(call.params, 0);
  const float momentum = static_cast<float>(call.params[1]), unbiased = static_cast<float>(call.params[2]);
  float *mean = call.operands[0], *variance = call.operands[1];
  const float* s = call.operands[2];
  for (int64_t c = 0; c < C; ++c) {
    mean[c] += momentum * (s[c] - mean[c]);
    variance[c] += momentum * (unbiased * s[C + c] - variance[c]);
  }
}

}  // namespace ATENTO_ISA
}  // namespace atento
