// Pooling by windows, means and maxima over space and over channels, gates along channels, the loss.
#pragma once
#include "norm.h"

namespace atento {
namespace ATENTO_ISA {

struct PoolDims {
  int64_t N, C, IH, IW, OH, OW, KH, KW, SH, SW, PH, PW;
  int64_t x() const { return N * IH * IW * C; }
  int64_t y() const { return N * OH * OW * C; }
};

INLINE PoolDims pool_dims(const double* p) {
  int64_t v[12];
  for (int i = 0; i < 12; ++i) v[i] = at(p, i);
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11]};
}

INLINE bool pool_dims_fit(const PoolDims& d) {
  return d.N > 0 && d.C > 0 && d.OH > 0 && d.OW > 0 && d.KH > 0 && d.KW > 0 && d.SH > 0 && d.SW > 0 && d.PH >= 0 &&
         d.PW >= 0 && 2 * d.PH <= d.KH && 2 * d.PW <= d.KW && d.OH == (d.IH + 2 * d.PH - d.KH) / d.SH + 1 &&
         d.OW == (d.IW + 2 * d.PW - d.KW) / d.SW + 1;
}

// Calls `f(pixel of x)` for the taps of output position (oh, ow) that lie inside, in reading order.
template <class F>
INLINE void for_taps(const PoolDims& d, int64_t oh, int64_t ow, F f) {
  for (int64_t h = max(0, oh * d.SH - d.PH); h < min(d.IH, oh * d.SH - d.PH + d.KH); ++h)
    for (int64_t w = max(0, ow * d.SW - d.PW); w < min(d.IW, ow * d.SW - d.PW + d.KW); ++w) f(h * d.IW + w);
}


// x → y, a piece an output row
static bool pool_plan(const double* p, Plan& plan) {
  const PoolDims d = pool_dims(p);
  if (!pool_dims_fit(d)) return false;
  plan.lengths[0] = d.x();
  plan.lengths[1] = d.y();
  plan.pieces[0] = static_cast<int>(d.N * d.OH);
  return true;
}

static void max_pool2d_run(const Call& call, int, int piece) {
  const PoolDims d = pool_dims(call.params);
  const float* x = call.operands[0] + piece / d.OH * d.IH * d.IW * d.C;
  float* y = call.operands[1] + piece * d.OW * d.C;
  for (int64_t ow = 0; ow < d.OW; ++ow, y += d.C) {
    for (int64_t c = 0; c < d.C; ++c) y[c] = -__builtin_inff();
    for_taps(d, piece % d.OH, ow, [&](int64_t pixel) {
      const float* a = x + pixel * d.C;
      for (int64_t c = 0; c < d.C; ++c) y[c] = wins(a[c], y[c]) ? a[c] : y[c];
    });
  }
}

static void avg_pool2d_run(const Call& call, int, int piece) {
  const PoolDims d = pool_dims(call.params);
  const float* x = call.operands[0] + piece / d.OH * d.IH * d.IW * d.C;
  float* y = call.operands[1] + piece * d.OW * d.C;
  const float share = 1.0f / static_cast<float>(d.KH * d.KW);
  for (int64_t ow = 0; ow < d.OW; ++ow, y += d.C) {
    clear(y, d.C);
    for_taps(d, piece % d.OH, ow, [&](int64_t pixel) {
      const float* a = x + pixel * d.C;
      for (int64_t c = 0; c < d.C; ++c) y[c] += a[c];
    });
    for (int64_t c = 0; c < d.C; ++c) y[c] *= share;
  }
}

// x → y: rows and columns of `value` added around x, or taken away where an offset is below 0; a piece an output row.
// N C IH IW OH OW, first row and column of x in y, value
static bool pad2d_plan(const double* p, Plan& plan) {
  for (int i = 0; i < 6; ++i)
    if (p[i] < 1) return false;
  plan.lengths[0] = at(p, 0) * at(p, 1) * at(p, 2) * at(p, 3);
  plan.lengths[1] = at(p, 0) * at(p, 1) * at(p, 4) * at(p, 5);
  plan.pieces[0] = static_cast<int>(at(p, 0) * at(p, 4));
  return true;
}

static void pad2d_run(const Call& call, int, int piece) {
  const double* p = call.params;
  const int64_t C = at(p, 1), IH = at(p, 2), IW = at(p, 3), OH = at(p, 4), OW = at(p, 5);
  const int64_t ih = piece % OH - at(p, 6), left = at(p, 7);
  const float value = static_cast<float>(p[8]);
  const float* x = call.operands[0] + (piece / OH * IH + ih) * IW * C;
  float* y = call.operands[1] + piece * OW * C;
  for (int64_t ow = 0; ow < OW; ++ow, y += C) {
    const int64_t iw = ow - left;
    const bool inside = ih >= 0 && ih < IH && iw >= 0 && iw < IW;
    for (int64_t c = 0; c < C; ++c) y[c] = inside ? x[iw * C + c] : value;
  }
}

// dy → dx, a piece an image
static bool avg_pool2d_grad_plan(const double* p, Plan& plan) {
  const PoolDims d = pool_dims(p);
  if (!pool_dims_fit(d)) return false;
  plan.lengths[0] = d.y();
  plan.lengths[1] = d.x();
  plan.pieces[0] = static_cast<int>(d.N);
  return true;
}

static void avg_pool2d_grad_run(const Call& call, int, int piece) {
  const PoolDims d = pool_dims(call.params);
  const float* dy = call.operands[0] + piece * d.OH * d.OW * d.C;
  float* dx = call.operands[1] + piece * d.IH * d.IW * d.C;
  const float share = 1.0f / static_cast<float>(d.KH * d.KW);
  clear(dx, d.IH * d.IW * d.C);
  for (int64_t o = 0; o < d.OH * d.OW; ++o, dy += d.C)
    for_taps(d, o / d.OW, o % d.OW, [&](int64_t pixel) {
      float* a = dx + pixel * d.C;
      for (int64_t c = 0; c < d.C; ++c) a[c] += share * dy[c];
    });
}

// dy, x → dx, a piece an image; the first largest value of each window is looked for again
static bool max_pool2d_grad_plan(const double* p, Plan& plan) {
  const PoolDims d = pool_dims(p);
  if (!pool_dims_fit(d)) return false;
  plan.lengths[0] = d.y();
  plan.lengths[1] = plan.lengths[2] = d.x();
  plan.pieces[0] = static_cast<int>(d.N);
  return true;
}

static void max_pool2d_grad_run(const Call& call, int, int piece) {
  const PoolDims d = pool_dims(call.params);
  const float* dy = call.operands[0] + piece * d.OH * d.OW * d.C;
  const float* x = call.operands[1] + piece * d.IH * d.IW * d.C;
  float* dx = call.operands[2] + piece * d.IH * d.IW * d.C;
  clear(dx, d.IH * d.IW * d.C);
  for (int64_t o = 0; o < d.OH * d.OW; ++o, dy += d.C) {
    const auto channels = [&](int64_t c, auto t, auto none) {  // `none`: a count of taps for each channel
      auto best = t;
      auto winner = none;
      int tap = 0;
      for_taps(d, o / d.OW, o % d.OW, [&](int64_t pixel) {
        const auto a = get(x + pixel * d.C + c, t);
        const auto better = (a > best) | (a != a) | (none + tap == none);
        best = better ? a : best;
        winner = better ? none + tap : winner;
        ++tap;
      });
      tap = 0;
      for_taps(d, o / d.OW, o % d.OW, [&](int64_t pixel) {
        float* to = dx + pixel * d.C + c;
        put(to, get(to, t) + (winner == none + tap ? get(dy + c, t) : t));
        ++tap;
      });
    };
    int64_t c = 0;
    for (; c + L <= d.C; c += L) channels(c, V{}, VI{});
    for (; c < d.C; ++c) channels(c, 0.0f, 0);
  }
}

struct Map {
  int64_t N, C, P;  // images, channels, pixels
};

INLINE Map map_of(const double* p) { return {at(p, 0), at(p, 1), at(p, 2) * at(p, 3)}; }
INLINE bool map_fits(const Map& m) { return m.N > 0 && m.C > 0 && m.P > 0; }

// [N,P,C] → [N,C], a piece an image
static bool over_space_plan(const double* p, Plan& plan) {
  const Map m = map_of(p);
  if (!map_fits(m)) return false;
  plan.lengths[0] = m.N * m.P * m.C;
  plan.lengths[1] = m.N * m.C;
  plan.pieces[0] = static_cast<int>(m.N);
  return true;
}

static void mean_spatial_run(const Call& call, int, int piece) {
  const Map m = map_of(call.params);
  const float* x = call.operands[0] + piece * m.P * m.C;
  float* y = call.operands[1] + piece * m.C;
  clear(y, m.C);
  for (int64_t i = 0; i < m.P; ++i)
    for (int64_t c = 0; c < m.C; ++c) y[c] += x[i * m.C + c];
  for (int64_t c = 0; c < m.C; ++c) y[c] /= static_cast<float>(m.P);
}

static void max_spatial_run(const Call& call, int, int piece) {
  const Map m = map_of(call.params);
  const float* x = call.operands[0] + piece * m.P * m.C;
  float* y = call.operands[1] + piece * m.C;
  for (int64_t c = 0; c < m.C; ++c) y[c] = -__builtin_inff();
  for (int64_t i = 0; i < m.P; ++i)
    for (int64_t c = 0; c < m.C; ++c) y[c] = wins(x[i * m.C + c], y[c]) ? x[i * m.C + c] : y[c];
}

// [N,P,C] → [N,P]
INLINE Rows rows_of_map(const Map& m) { return {m.N * m.P, m.C}; }

static bool over_channels_plan(const double* p, Plan& plan) {
  const Map m = map_of(p);
  if (!map_fits(m)) return false;
  plan.lengths[0] = m.N * m.P * m.C;
  plan.lengths[1] = m.N * m.P;
  plan.pieces[0] = rows_of_map(m).pieces();
  return true;
}

static void mean_channel_run(const Call& call, int, int piece) {
  const Map m = map_of(call.params);
  const Range range = rows_of_map(m).piece(piece);
  for (int64_t i = range.begin; i < range.end; ++i)
    call.operands[1][i] = sum_of(call.operands[0] + i * m.C, m.C) / static_cast<float>(m.C);
}

// Largest of n floats.
INLINE float max_of(const float* x, int64_t n) {
  const V lowest = splat(-__builtin_inff());
  V lanes[4] = {lowest, lowest, lowest, lowest};
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L)
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) lanes[v] = greater(lanes[v], load(x + i + v * L));
  for (; i + L <= n; i += L) lanes[0] = greater(lanes[0], load(x + i));
  const V top = greater(greater(lanes[0], lanes[1]), greater(lanes[2], lanes[3]));
  float best = across(top, [](V a, V b) { return greater(a, b); })[0];
  for (; i < n; ++i) best = wins(x[i], best) ? x[i] : best;
  return best;
}

static void max_channel_run(const Call& call, int, int piece) {
  const Map m = map_of(call.params);
  const Range range = rows_of_map(m).piece(piece);
  for (int64_t i = range.begin; i < range.end; ++i) call.operands[1][i] = max_of(call.operands[0] + i * m.C, m.C);
}

// x [N,C], w [K] → y [N,C]; params: N, C, K, flip
INLINE int64_t channel_tap(int64_t K, bool flip, int64_t tap) { return flip ? (K - 1) / 2 - tap : tap - (K - 1) / 2; }

static bool channel_conv_plan(const double* p, Plan& plan) {
  plan.lengths[0] = plan.lengths[2] = at(p, 0) * at(p, 1);
  plan.lengths[1] = at(p, 2);
  return p[0] > 0 && p[1] > 0 && p[2] > 0;
}

static void channel_conv_run(const Call& call, int, int) {
  const int64_t N = at(call.params, 0), C = at(call.params, 1), K = at(call.params, 2);
  clear(call.operands[2], N * C);
  for (int64_t n = 0; n < N; ++n)
    for (int64_t tap = 0; tap < K; ++tap) {
      const int64_t shift = channel_tap(K, call.params[3] != 0, tap);
      const float w = call.operands[1][tap];
      const float* x = call.operands[0] + n * C + shift;
      float* y = call.operands[2] + n * C;
      for (int64_t c = max(0, -shift); c < min(C, C - shift); ++c) y[c] += x[c] * w;
    }
}

// x [N,C], dy [N,C] → dw [K]
static bool channel_conv_weight_grad_plan(const double* p, Plan& plan) {
  plan.lengths[0] = plan.lengths[1] = at(p, 0) * at(p, 1);
  plan.lengths[2] = at(p, 2);
  return p[0] > 0 && p[1] > 0 && p[2] > 0;
}

static void channel_conv_weight_grad_run(const Call& call, int, int) {
  const int64_t N = at(call.params, 0), C = at(call.params, 1), K = at(call.params, 2);
  for (int64_t tap = 0; tap < K; ++tap) {
    const int64_t shift = channel_tap(K, call.params[3] != 0, tap);
    double sum = 0;
    for (int64_t n = 0; n < N; ++n)
      for (int64_t c = max(0, -shift); c < min(C, C - shift); ++c)
        sum += call.operands[0][n * C + c + shift] * call.operands[1][n * C + c];
    call.operands[2][tap] = static_cast<float>(sum);
  }
}

// log Σ exp of a row, its largest value taken out first
INLINE double log_sum_exp(const float* x, int64_t K) {
  double top = x[0], sum = 0;
  for (int64_t k = 1; k < K; ++k) top = x[k] > top || x[k] != x[k] ? x[k] : top;
  for (int64_t k = 0; k < K; ++k) sum += __builtin_exp(x[k] - top);
  return top + __builtin_log(sum);
}

// logits [N,K], labels [N] → loss [1]; params: N, K, smoothing
static bool cross_entropy_plan(const double* p, Plan& plan) {
  plan.lengths[0] = at(p, 0) * at(p, 1);
  plan.lengths[1] = at(p, 0);
  plan.lengths[2] = 1;
  return p[0] > 0 && p[1] > 0;
}

static void cross_entropy_run(const Call& call, int, int) {
  const int64_t N = at(call.params, 0), K = at(call.params, 1);
  const double smoothing = call.params[2];
  double loss = 0;
  for (int64_t n = 0; n < N; ++n) {
    const float* x = call.operands[0] + n * K;
    const double total = log_sum_exp(x, K);
    const int64_t label = static_cast<int64_t>(call.operands[1][n]);
    double uniform = 0, hard = __builtin_nan("");
    for (int64_t k = 0; k < K; ++k) {
      uniform += (total - x[k]) / static_cast<double>(K);
      if (k == label) hard = total - x[k];
    }
    loss += ((1 - smoothing) * hard + smoothing * uniform) / static_cast<double>(N);
  }
  call.operands[2][0] = static_cast<float>(loss);
}

// dy [1], logits [N,K], labels [N] → dlogits [N,K]
static bool cross_entropy_grad_plan(const double* p, Plan& plan) {
  plan.lengths[0] = 1;
  plan.lengths[1] = plan.lengths[3] = at(p, 0) * at(p, 1);
  plan.lengths[2] = at(p, 0);
  return p[0] > 0 && p[1] > 0;
}

static void cross_entropy_grad_run(const Call& call, int, int) {
  const int64_t N = at(call.params, 0), K = at(call.params, 1);
  const double smoothing = call.params[2], rate = call.operands[0][0] / static_cast<double>(N);
  for (int64_t n = 0; n < N; ++n) {
    const float* x = call.operands[1] + n * K;
    const double total = log_sum_exp(x, K);
    const int64_t label = static_cast<int64_t>(call.operands[2][n]);
    for (int64_t k = 0; k < K; ++k) {
      const double target = (k == label ? 1 - smoothing : 0) + smoothing / static_cast<double>(K);
      call.operands[3][n * K + k] = static_cast<float>(rate * (__builtin_exp(x[k] - total) - target));
    }
  }
}

}  // namespace ATENTO_ISA
}  // namespace atento
