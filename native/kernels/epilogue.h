// What a convolution does to its results while they are still in the first-level cache: an affine map or a bias, a
// residual, ReLU or the sigmoid, the mask of a ReLU's gradient, and sums for the batch normalisation that comes next. And what a weight gradient
// does to its source as it reads it.
#pragma once
#include <initializer_list>
#include <utility>

#include "elementwise.h"
#include "tile.h"

namespace atento {
namespace ATENTO_ISA {

typedef double D __attribute__((vector_size(8 * L)));
typedef double DU __attribute__((vector_size(8 * L), aligned(8), may_alias));

// What is done to results: bits of the parameters of a convolution and of an input gradient, beside kPair (64).
namespace forward {
enum : int { affine = 1, residual = 2, relu = 4, statistics = 8, mean = 16, extreme = 32, bias = 128, sigmoid = 256 };
}
namespace input_grad {
enum : int { residual = 1, mask = 2, norm = 4, sums = 8, images = 16, gated = 32 };
}

struct Epilogue;

// Finishes `m` pixels of a tile [m][width] whose first channel is `c0`, and stores them at target + to[i].
using Finish = void (*)(const Epilogue& e, const float* tile, int64_t width, const int64_t* to, int64_t m, int64_t c0,
                        int64_t channels);

// Tensors are laid out as the target; vectors are indexed by its channels. Null: left out.
struct Epilogue {
  Finish finish;
  float* target;
  bool stores;                  // and does nothing else
  bool streams;                 // past the caches
  int64_t C;
  const float *scale, *shift;   // y·scale + shift; no scale: y + shift
  const float* residual;        // + residual; direct tiles that only store begin with it
  const float* mask;            // 0 where mask ≤ 0
  const float *rate, *beta;     // 0 where (x − mean)·rate + beta ≤ 0
  const float *x, *mean;
  double* totals;               // [2][C] of the block: Σy and Σy², or Σy and Σy·(x − mean)
};

constexpr int64_t kStreamed = 4 * 1024 * 1024;  // floats: a target of half a large third-level cache

INLINE void set_target(Epilogue& e, float* target, int64_t floats, int64_t C) {
  e.target = target;
  e.C = C;
  e.streams = kStreams && floats >= kStreamed && C % L == 0 && reinterpret_cast<uintptr_t>(target) % sizeof(V) == 0;
}

// The same for one of the blocks whose totals lie one after the other.
INLINE Epilogue of_block(Epilogue e, int64_t block) {
  if (e.totals) e.totals += 2 * e.C * block;
  return e;
}

// The same for a target that begins `floats` later in every tensor.
INLINE Epilogue shifted(Epilogue e, int64_t floats) {
  e.target += floats;
  for (const float** p : {&e.residual, &e.mask, &e.x})
    if (*p) *p += floats;
  return e;
}

// A block's totals of channels [begin, end), before its first result.
INLINE void clear_totals(const Epilogue& e, int64_t begin, int64_t end) {
  if (!e.totals) return;
  for (int64_t c = begin; c < end; ++c) e.totals[c] = e.totals[e.C + c] = 0;
}

constexpr int64_t kMostRows = 16;  // of a tile: no way of convolving has larger ones

INLINE void put_result(const Epilogue& e, int64_t at, V v) { e.streams ? stream(e.target + at, v) : store(e.target + at, v); }
INLINE void put_result(const Epilogue& e, int64_t at, float v) { e.target[at] = v; }
INLINE D wide(V v) { return __builtin_convertvector(v, D); }
INLINE double wide(float v) { return v; }
INLINE void accumulate(double* p, const D& v) { *reinterpret_cast<DU*>(p) += v; }
INLINE void accumulate(double* p, double v) { *p += v; }

// One vector (or one last channel) of `m` pixels. Sums go over the pixels in float, then into doubles; squares are
// taken from the mean of these few pixels, so that nothing cancels before it is a double.
template <class T, bool gradient, int flags>
INLINE void finish_channels(const Epilogue& e, const float* tile, int64_t width, const int64_t* to, int64_t m, int64_t c) {
  constexpr bool affine = !gradient && (flags & forward::affine), relu = !gradient && (flags & forward::relu);
  constexpr bool statistics = !gradient && (flags & forward::statistics), sigmoid = !gradient && (flags & forward::sigmoid);
  constexpr bool mask = gradient && (flags & input_grad::mask), norm = gradient && (flags & input_grad::norm);
  constexpr bool sums = gradient && (flags & input_grad::sums);
  constexpr bool residual = flags & (gradient ? static_cast<int>(input_grad::residual) : static_cast<int>(forward::residual));
  const auto channel = [c](const float* p, bool used) { return used ? get(p + c, T{}) : T{}; };
  const T zero{}, scale = affine && e.scale ? get(e.scale + c, zero) : zero + 1.0f, shift = channel(e.shift, affine);
  const T mean = channel(e.mean, norm || sums), rate = channel(e.rate, norm), beta = channel(e.beta, norm);
  T sum{}, products{}, kept[kMostRows];
  for (int64_t i = 0; i < m; ++i) {
    const int64_t at = to[i] + c;
    T y = get(tile + i * width, T{});
    if (affine) y = y * scale + shift;
    if (residual) y += get(e.residual + at, T{});
    if (relu) y = y < zero ? zero : y;
    if (sigmoid) y = sigmoid_of(y);
    if (mask) y = get(e.mask + at, T{}) <= zero ? zero : y;
    if (norm || sums) {
      const T centred = get(e.x + at, T{}) - mean;
      if (norm) y = centred * rate + beta <= zero ? zero : y;
      if (sums) products += y * centred;
    }
    if (statistics || sums) sum += y;
    if (statistics) kept[i] = y;
    put_result(e, at, y);
  }
  if (sums) {
    accumulate(e.totals + c, wide(sum));
    accumulate(e.totals + e.C + c, wide(products));
  }
  if (statistics) {
    const T centre = sum * (1 / static_cast<float>(m));
    T squares{};
    for (int64_t i = 0; i < m; ++i) squares += (kept[i] - centre) * (kept[i] - centre);
    const auto total = wide(sum);
    accumulate(e.totals + c, total);
    accumulate(e.totals + e.C + c, wide(squares) + total * total * (1 / static_cast<double>(m)));
  }
}

template <bool gradient, int flags>
static void finish_tile(const Epilogue& e, const float* tile, int64_t width, const int64_t* to, int64_t m, int64_t c0,
                        int64_t channels) {
  int64_t c = 0;
  for (; c + L <= channels; c += L) finish_channels<V, gradient, flags>(e, tile + c, width, to, m, c0 + c);
  for (; c < channels; ++c) finish_channels<float, gradient, flags>(e, tile + c, width, to, m, c0 + c);
}

template <bool gradient, int... flags>
INLINE Finish finish_of(int which, std::integer_sequence<int, flags...>) {
  static constexpr Finish table[] = {finish_tile<gradient, flags>...};
  return table[which];
}

template <bool gradient>
INLINE void set_finish(Epilogue& e, int flags) {
  int which = flags & 15;
  if (!gradient && (flags & forward::bias)) which |= forward::affine;
  e.finish = finish_of<gradient>(which, std::make_integer_sequence<int, 16>{});
  e.stores = which == 0;
  if (gradient || !(flags & forward::sigmoid)) return;  // which nothing but affine or bias comes before
  e.finish = which ? finish_tile<false, forward::affine | forward::sigmoid> : finish_tile<false, forward::sigmoid>;
  e.stores = false;
}

// Whether results go to the target from the registers they are computed in.
INLINE bool stores_at_once(const Epilogue& e, int64_t width, int64_t channels) {
  return e.stores && !e.streams && width == channels;
}

// Adds where finishing these pixels from channel `c0` on will read and write.
INLINE void add_places(const Epilogue& e, const int64_t* to, int64_t m, int64_t c0, Ahead& ahead) {
  for (const float* tensor : {e.streams ? nullptr : static_cast<const float*>(e.target), e.residual, e.mask, e.x})
    if (tensor) ahead.add_pixels(tensor + c0, to, m);
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
INLINE void norm_rates(const float* variance, const float* gamma, float eps, int64_t C, float* __restrict rate) {
  for (int64_t c = 0; c < C; ++c) rate[c] = gamma[c] / __builtin_sqrtf(variance[c] + eps);
}

// The gradient of batch normalisation in its input is a·dy + b·(x − mean) + k: a, b and k [3,C] from the sums [2,C] of dy
// and dy·x̂ over M values a channel.
INLINE void norm_grad_rates(const float* statistics, const float* gamma, const float* sums, float eps, float M, int64_t C,
                            float* __restrict rates) {
  for (int64_t c = 0; c < C; ++c) {
    const float rate = 1 / __builtin_sqrtf(statistics[C + c] + eps), a = gamma[c] * rate;
    rates[c] = a;
    rates[C + c] = -a * rate * sums[C + c] / M;
    rates[2 * C + c] = -a * sums[c] / M;
  }
}

// x as it is, or (x − mean)·rate + β, and ReLU of it.
struct Source {
  const float *mean, *rate, *beta;
  bool relu;
};

template <class T>
INLINE T normalized(T x, T mean, T rate, T beta, bool relu) {
  const T y = (x - mean) * rate + beta;
  return relu ? (y < T{} ? T{} : y) : y;
}

template <class T>
INLINE T source_value(const Source& s, const float* from, int64_t c) {
  const T x = get(from + c, T{});
  return s.rate ? normalized(x, get(s.mean + c, x), get(s.rate + c, x), get(s.beta + c, x), s.relu) : x;
}

}  // namespace ATENTO_ISA
}  // namespace atento
