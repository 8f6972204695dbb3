// What a convolution sums of each image while its results are still in the caches: pools of what it computes, and what
// the gradients of attention gates need of an input gradient.
#pragma once
#include "elementwise.h"
#include "tile.h"

namespace atento {
namespace ATENTO_ISA {

// Tensors are [N,P,C]: images, pixels, channels last. Null: left out.
struct ImageSums {
  int64_t P, C;
  const float* tensor;           // what is summed: results y, or a gradient g
  // pools [N,C] of y: its mean; and what batch normalisation makes the largest value, the smallest where γ < 0 and the mean
  // where γ is 0 and all are
  float *mean, *extreme;
  const float* gamma;            // [C]
  // of g, beside x: Σ_p g·s and Σ_p g·s·x̂ [N,C] with a gate s [N,P], or 1
  float *values, *products;
  const float *x, *centre, *rate;  // x̂ = (x − centre)·rate; rate is 1/√(variance + ε)
  const float* s;
  // with u = a·(γ·x̂ + β) and a gate a [N,C]: Σ_c g·u, and how many u are the largest [N,P], added to what is there
  float *pixels, *ties;
  const float *scale, *beta, *a, *largest;  // scale is γ·rate
  float* lanes;                    // workspace for sums of a block's pixels, [pixel][2][L]
};

// Sums of an image's pixels, lane by lane, which wait for the next of several parts of the channels.
struct Waiting {
  float* lanes;  // null: all channels come at once
  bool opens, closes;
};

template <class T>
constexpr int lanes_of = sizeof(T) / sizeof(float);

INLINE float sum_across(V v) { return across(v, [](V a, V b) { return a + b; })[0]; }

template <int n, class T>
INLINE void get_all(const float* from, T (&to)[n]) {
#pragma GCC unroll 4
  for (int v = 0; v < n; ++v) to[v] = get(from + v * lanes_of<T>, T{});
}

template <int n, class T>
INLINE void put_all(float* to, const T (&from)[n]) {
#pragma GCC unroll 4
  for (int v = 0; v < n; ++v) put(to + v * lanes_of<T>, from[v]);
}

// Calls f(c, zero, n) for the channels [c, end): n vectors of them at a time, then single vectors, then single channels.
template <class F>
INLINE void for_panels(int64_t c, int64_t end, F f) {
  for (; c + kPanel <= end; c += kPanel) f(c, V{}, std::integral_constant<int, kVectors>{});
  for (; c + L <= end; c += L) f(c, V{}, std::integral_constant<int, 1>{});
  for (; c < end; ++c) f(c, 0.0f, std::integral_constant<int, 1>{});
}

// Pools of n vectors of channels from c on.
template <class T, int n>
INLINE void pool_channels(const ImageSums s, int64_t image, int64_t c) {
  const float* y = s.tensor + image * s.P * s.C + c;
  T sum[n] = {}, most[n], gamma[n] = {}, sign[n];
  const T zero{}, one = zero + 1.0f;
  if (s.extreme) get_all(s.gamma + c, gamma);
#pragma GCC unroll 4
  for (int v = 0; v < n; ++v) {
    sign[v] = gamma[v] < zero ? -one : one;
    most[v] = zero - __builtin_inff();
  }
  for (int64_t p = 0; p < s.P; ++p, y += s.C) {
#pragma GCC unroll 4
    for (int v = 0; v < n; ++v) {
      const T value = get(y + v * lanes_of<T>, zero);
      sum[v] += value;
      most[v] = larger(sign[v] * value, most[v]);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < n; ++v) {
    const T mean = sum[v] * (1 / static_cast<float>(s.P));
    most[v] = (gamma[v] == zero) | (sum[v] != sum[v]) ? mean : sign[v] * most[v];  // where one is NaN the mean is too
    sum[v] = mean;
  }
  if (s.mean) put_all(s.mean + image * s.C + c, sum);
  if (s.extreme) put_all(s.extreme + image * s.C + c, most);
}

constexpr int64_t kSummedRows = 64;

// Some pixels of an image, and their sums so far, lane by lane: Σ_c g·u, then ties.
template <class T>
struct PixelSums {
  int64_t first, count;
  T (*sums)[2];
};

// Sums of n vectors of channels from c on, of some pixels.
template <bool gated, class T, int n>
INLINE void gradient_channels(const ImageSums s, int64_t image, int64_t c, PixelSums<T>& rows) {
  const int64_t pixel = image * s.P + rows.first, to = image * s.C + c;
  const float *g = s.tensor + pixel * s.C + c, *x = s.x + pixel * s.C + c;
  const T zero{};
  T centre[n], rate[n], scale[n], beta[n], a[n], values[n] = {}, products[n] = {};
  get_all(s.centre + c, centre);
  if constexpr (gated) {
    get_all(s.scale + c, scale);
    get_all(s.beta + c, beta);
    get_all(s.a + to, a);
  }
  for (int64_t p = 0; p < rows.count; ++p, g += s.C, x += s.C) {
    T gate = zero, largest = zero, sum = zero, ties = zero;
    if constexpr (gated) {
      gate = s.s[pixel + p] - zero, largest = s.largest[pixel + p] - zero;
      sum = rows.sums[p][0], ties = rows.sums[p][1];
    }
#pragma GCC unroll 4
    for (int v = 0; v < n; ++v) {
      T value = get(g + v * lanes_of<T>, zero);
      const T centred = get(x + v * lanes_of<T>, zero) - centre[v];
      if constexpr (gated) {
        const T u = (centred * scale[v] + beta[v]) * a[v];
        sum += value * u;
        ties = select_tied(u, largest, ties + 1.0f, ties);
        value *= gate;
      }
      values[v] += value;
      products[v] += value * centred;
    }
    if constexpr (gated) rows.sums[p][0] = sum, rows.sums[p][1] = ties;
  }
  get_all(s.rate + c, rate);
#pragma GCC unroll 4
  for (int v = 0; v < n; ++v) products[v] *= rate[v];
  if (rows.first > 0) {
    T before[n], products_before[n];
    get_all(s.values + to, before);
    get_all(s.products + to, products_before);
#pragma GCC unroll 4
    for (int v = 0; v < n; ++v) values[v] += before[v], products[v] += products_before[v];
  }
  put_all(s.values + to, values);
  put_all(s.products + to, products);
}

template <bool gated>
INLINE void gradients_of_image(const ImageSums& s, int64_t image, int64_t begin, int64_t end, const Waiting& waiting) {
  for (int64_t first = 0; first < s.P; first += kSummedRows) {
    const int64_t count = min(kSummedRows, s.P - first);
    V own[kSummedRows][2];
    float last[kSummedRows][2];
    PixelSums<V> rows{first, count, waiting.lanes ? reinterpret_cast<V(*)[2]>(waiting.lanes + 2 * L * first) : own};
    PixelSums<float> rest{first, count, last};
    for (int64_t p = 0; gated && p < count; ++p) {
      if (!waiting.lanes || waiting.opens) rows.sums[p][0] = rows.sums[p][1] = V{};
      last[p][0] = last[p][1] = 0;
    }
    for_panels(begin, end, [&](int64_t c, auto zero, auto n) {
      using T = decltype(zero);
      if constexpr (std::is_same_v<T, V>) gradient_channels<gated, T, n>(s, image, c, rows);
      else gradient_channels<gated, T, n>(s, image, c, rest);
    });
    if (waiting.lanes && !waiting.closes) continue;
    for (int64_t p = 0; gated && p < count; ++p) {
      s.pixels[image * s.P + first + p] += sum_across(rows.sums[p][0]) + last[p][0];
      s.ties[image * s.P + first + p] += sum_across(rows.sums[p][1]) + last[p][1];
    }
  }
}

// Before the first sums of `count` pixels.
INLINE void clear_pixels(const ImageSums& s, int64_t image, int64_t count) {
  clear(s.pixels + image * s.P, count);
  clear(s.ties + image * s.P, count);
}

// Adds what summing these pixels from channel `c` on will read beside them, and the places of sums of images that begin
// among them, to so many addresses; returns how many there are then.
INLINE void add_places(const ImageSums& s, int64_t image, int64_t pixel, const int64_t* to, int64_t m, int64_t c, Ahead& ahead) {
  if (s.P == 0) return;
  if (s.x) ahead.add_pixels(s.x + c, to, m);
  for (int64_t i = ceil_div(pixel, s.P); i * s.P < pixel + m; ++i)
    for (const float* tensor : {static_cast<const float*>(s.mean), static_cast<const float*>(s.extreme),
                                static_cast<const float*>(s.values), static_cast<const float*>(s.products), s.a})
      if (tensor) ahead.add_rows(tensor + (image + i) * s.C + c, 0, 1);
}

// Channels [c, end) of one image.
static void sum_image(const ImageSums& s, int64_t image, int64_t c, int64_t end, const Waiting& waiting = {}) {
  if (s.a) return gradients_of_image<true>(s, image, c, end, waiting);
  if (s.values) return gradients_of_image<false>(s, image, c, end, {});
  for_panels(c, end, [&](int64_t at, auto zero, auto n) { pool_channels<decltype(zero), n>(s, image, at); });
}

}  // namespace ATENTO_ISA
}  // namespace atento
