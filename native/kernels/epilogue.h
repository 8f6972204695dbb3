// What a convolution does to its results while they are still in the first-level cache: an affine map, a residual,
// ReLU, the mask of a ReLU's gradient, and sums for the batch normalisation that comes next. And what a weight gradient
// does to its source as it reads it.
#pragma once
#include <initializer_list>

#include "elementwise.h"

namespace atento {
namespace ATENTO_ISA {

typedef double D __attribute__((vector_size(8 * L)));
typedef double DU __attribute__((vector_size(8 * L), aligned(8), may_alias));

enum class Sums {
  none,
  statistics,  // Σy and Σy², from which mean and variance follow
  gradient,    // Σy and Σy·(x − mean)
};

// Tensors are laid out as the target; vectors are indexed by its channels. Null: left out.
struct Epilogue {
  const float *scale, *shift;   // y·scale + shift
  const float* residual;        // + residual
  bool relu;
  const float* mask;            // 0 where mask ≤ 0
  const float *rate, *beta;     // 0 where (x − mean)·rate + beta ≤ 0
  const float *x, *mean;
  Sums sums;
  double* totals;               // [2][C] of the block
  int64_t C;
};

// The same for one of the blocks whose totals lie one after the other.
INLINE Epilogue of_block(Epilogue e, int64_t block) {
  if (e.totals) e.totals += 2 * e.C * block;
  return e;
}

// The same for a target that begins `floats` later in every tensor.
INLINE Epilogue shifted(Epilogue e, int64_t floats) {
  for (const float** p : {&e.residual, &e.mask, &e.x})
    if (*p) *p += floats;
  return e;
}

// A block's totals of channels [begin, end), before its first result.
INLINE void clear_totals(const Epilogue& e, int64_t begin, int64_t end) {
  if (e.sums == Sums::none) return;
  for (int64_t c = begin; c < end; ++c) e.totals[c] = e.totals[e.C + c] = 0;
}

constexpr int64_t kMostRows = 16;  // of a tile: no way of convolving has larger ones

INLINE void put(float* p, V v) { store(p, v); }
INLINE void put(float* p, float v) { *p = v; }
INLINE D wide(V v) { return __builtin_convertvector(v, D); }
INLINE double wide(float v) { return v; }
INLINE void accumulate(double* p, const D& v) { *reinterpret_cast<DU*>(p) += v; }
INLINE void accumulate(double* p, double v) { *p += v; }

// One vector (or one last channel) of `m` pixels. Sums go over the pixels in float, then into doubles; squares are
// taken from the mean of these few pixels, so that nothing cancels before it is a double.
template <class T>
INLINE void finish_channels(const Epilogue& e, const float* tile, int64_t width, float* target, const int64_t* to,
                            int64_t m, int64_t c) {
  const T zero{};
  T sum{}, products{}, mean{}, kept[kMostRows];
  if (e.mean) mean = get(e.mean + c, T{});
  for (int64_t i = 0; i < m; ++i) {
    const int64_t at = to[i] + c;
    T y = get(tile + i * width, T{});
    if (e.scale) y = y * get(e.scale + c, T{}) + get(e.shift + c, T{});
    if (e.residual) y += get(e.residual + at, T{});
    if (e.relu) y = y < zero ? zero : y;
    if (e.mask) y = get(e.mask + at, T{}) <= zero ? zero : y;
    if (e.x) {
      const T centred = get(e.x + at, T{}) - mean;
      if (e.rate) y = centred * get(e.rate + c, T{}) + get(e.beta + c, T{}) <= zero ? zero : y;
      products += y * centred;
    }
    sum += y;
    kept[i] = y;
    put(target + at, y);
  }
  if (e.sums == Sums::none) return;
  if (e.sums == Sums::gradient) {
    accumulate(e.totals + c, wide(sum));
    accumulate(e.totals + e.C + c, wide(products));
    return;
  }
  const T centre = sum / static_cast<float>(m);
  T squares{};
  for (int64_t i = 0; i < m; ++i) squares += (kept[i] - centre) * (kept[i] - centre);
  const auto total = wide(sum);
  accumulate(e.totals + c, total);
  accumulate(e.totals + e.C + c, wide(squares) + total * total / static_cast<double>(m));
}

// Finishes `m` pixels of a tile [m][width] whose first channel is `c0`, and stores them at target + to[i].
static void finish(const Epilogue& e, const float* tile, int64_t width, float* target, const int64_t* to, int64_t m,
                   int64_t c0, int64_t channels) {
  int64_t c = 0;
  for (; c + L <= channels; c += L) finish_channels<V>(e, tile + c, width, target, to, m, c0 + c);
  for (; c < channels; ++c) finish_channels<float>(e, tile + c, width, target, to, m, c0 + c);
}

// What is read and written for these pixels arrives while their products are computed.
INLINE void prefetch(const Epilogue& e, const float* target, const int64_t* to, int64_t m, int64_t c0) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t v = 0; v < NR; v += 16) {
      const int64_t at = to[i] + c0 + v;
      __builtin_prefetch(target + at, 1);
      if (e.residual) __builtin_prefetch(e.residual + at);
      if (e.mask) __builtin_prefetch(e.mask + at);
      if (e.x) __builtin_prefetch(e.x + at);
    }
}

// Adds the totals of all blocks, [block][2][C], to those of the first, in the order of the blocks.
INLINE void join_totals(double* totals, int64_t blocks, int64_t C) {
  for (int64_t b = 1; b < blocks; ++b)
    for (int64_t i = 0; i < 2 * C; ++i) totals[i] += totals[2 * b * C + i];
}

// Mean and biased variance [2,C] of `count` values a channel.
INLINE void statistics_of(double* totals, int64_t blocks, int64_t C, int64_t count, float* statistics) {
  join_totals(totals, blocks, C);
  const double n = static_cast<double>(count);
  for (int64_t c = 0; c < C; ++c) {
    const double mean = totals[c] / n, variance = totals[C + c] / n - totals[c] * mean / n;
    statistics[c] = static_cast<float>(mean);
    statistics[C + c] = static_cast<float>(variance < 0 ? 0 : variance);
  }
}

// Σdy and Σdy·x̂ [2,C]
INLINE void gradient_sums_of(double* totals, int64_t blocks, int64_t C, const float* statistics, double eps, float* sums) {
  join_totals(totals, blocks, C);
  for (int64_t c = 0; c < C; ++c) {
    sums[c] = static_cast<float>(totals[c]);
    sums[C + c] = static_cast<float>(totals[C + c] / __builtin_sqrt(statistics[C + c] + eps));
  }
}

// γ/√(variance + ε): batch normalisation is (x − mean)·rate + β.
INLINE void norm_rates(const float* statistics, const float* gamma, float eps, int64_t C, float* rate) {
  for (int64_t c = 0; c < C; ++c) rate[c] = gamma[c] / __builtin_sqrtf(statistics[C + c] + eps);
}

// x as it is, or (x − mean)·rate + β, and ReLU of it.
struct Source {
  const float *mean, *rate, *beta;
  bool relu;
};

template <class T>
INLINE T source_value(const Source& s, const float* from, int64_t c) {
  T x = get(from + c, T{});
  if (!s.rate) return x;
  x = (x - get(s.mean + c, T{})) * get(s.rate + c, T{}) + get(s.beta + c, T{});
  if (s.relu) x = x < T{} ? T{} : x;
  return x;
}

}  // namespace ATENTO_ISA
}  // namespace atento
