// A register tile: the products of a few pixels with a panel of output channels.
#pragma once
#include "simd.h"

namespace atento {
namespace ATENTO_ISA {

// So few pixels that their addresses stay in registers too, and that sources a power of two apart
// find room beside each other in the first-level cache; so many channels that each of them is worth its load.
#if ATENTO_LANES == 16
constexpr int kVectors = 4, kPixels = 7, kRegisters = 32;  // 28 of them accumulate
#else
constexpr int kVectors = 2, kPixels = 6, kRegisters = 16;  // 12
#endif
constexpr int kPanel = kVectors * L;      // channels

constexpr int64_t kAhead = kPanel;   // floats
constexpr int64_t kProducts = 8;     // of a row of taps between two fetches
constexpr int64_t kMostAhead = 192;  // places
constexpr int64_t kPlaces = 8;       // written together: more than are added are overwritten by those that follow

// Where the next tile reads and writes, kAhead floats each: fetched a few at a time between the products of
// this one, since all at once would fill the queue of misses and keep the products waiting; into the second-level
// cache, since the panel of weights takes half of the first. What finds no room is not fetched.
struct Ahead {
  const float* places[kMostAhead + kPlaces];
  int64_t count = 0;

  // A place in a tensor for each of `m` pixels.
  void add_pixels(const float* tensor, const int64_t* pixels, int64_t m) {
    static_assert(kPixels <= kPlaces);
#pragma GCC unroll 8
    for (int64_t i = 0; i < kPlaces; ++i) places[count + i] = tensor + pixels[i];
    count = min(kMostAhead, count + m);
  }
  // `n` places, `step` floats from one to the next.
  void add_rows(const float* first, int64_t step, int64_t n) {
    for (n = min(n, kMostAhead - count); n > 0; n -= kPlaces, first += kPlaces * step) {
#pragma GCC unroll 8
      for (int64_t i = 0; i < kPlaces; ++i) places[count + i] = first + i * step;
      count += min(n, kPlaces);
    }
  }
};

// What later records need, a part with each tile.
struct Soon {
  const Stretch *next, *end;
  int64_t at = 0, each = 0;  // floats; places of a tile

  Soon(const Call& call, int64_t tiles) : next(call.soon), end(call.soon + call.stretches) {
    int64_t total = 0;
    for (const Stretch* s = next; s < end; ++s) total += ceil_div(s->floats, kAhead);
    each = ceil_div(total, tiles);
  }
  void add_to(Ahead& ahead) {
    for (int64_t left = min(each, kMostAhead - ahead.count); left > 0 && next < end;) {
      const int64_t n = min(left, ceil_div(next->floats - at, kAhead));
      ahead.add_rows(next->at + at, kAhead, n);
      left -= n;
      at += n * kAhead;
      if (at >= next->floats) at = 0, ++next;
    }
  }
};

INLINE void fetch(const float* address) {
#pragma GCC unroll 4
  for (int64_t v = 0; v < kAhead; v += 16) __builtin_prefetch(address + v, 0, 2);
}

// Where the results of a tile go, pixel by pixel, and what they are added to, null for nothing.
struct Results {
  float* base;
  const int64_t* to;
  const float* before;
  const int64_t* before_at;
};

// M pixels × NV vectors of output channels over TH rows of `run` products each: the taps of one kernel row lie side by
// side in the source. Weights are a packed panel; or, where `few` pixels are met, `pitch` apart.
template <int M, int NV, bool few>
static void tile(int64_t TH, int64_t run, int64_t line, const float* source, const int64_t* from, const float* panel,
                 int64_t panel_line, const Ahead& ahead, int64_t pitch, const Results& results) {
  V c[M][NV];
#pragma GCC unroll 7
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) c[i][v] = results.before ? load(results.before + results.before_at[i] + v * L) : V{};
  const int64_t each = ceil_div(ahead.count, max(1, TH * ceil_div(run, kProducts)));
  int64_t fetched = 0;
  for (int64_t t = 0; t < TH; ++t) {
    const float* a[M];
#pragma GCC unroll 7
    for (int i = 0; i < M; ++i) a[i] = source + from[i] + t * line;
    const float* b = panel + t * panel_line;
    for (int64_t begin = 0; begin < run; begin += kProducts) {
      for (const int64_t stop = min(ahead.count, fetched + each); fetched < stop; ++fetched) fetch(ahead.places[fetched]);
      const int64_t end = min(run, begin + kProducts);
      for (int64_t k = begin; k < end; ++k) {
        V w[NV];
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) w[v] = load(b + v * L);
#pragma GCC unroll 7
        for (int i = 0; i < M; ++i) {
          const V x = splat(a[i][k]);
          if (M * NV + NV + 1 > kRegisters) {  // the last weights stay in memory: a sum that did would be waited for
            asm volatile("" ::: "memory");
            w[NV - 1] = load(b + (NV - 1) * L);
          }
#pragma GCC unroll 4
          for (int v = 0; v < NV; ++v) c[i][v] += x * w[v];
        }
        b += few ? pitch : NV * L;
      }
    }
  }
#pragma GCC unroll 7
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) store(results.base + results.to[i] + v * L, c[i][v]);
}

// Places of results one behind the other, [pixels][vectors·L], by their vectors.
struct Dense {
  int64_t at[kVectors + 1][kPixels];
  constexpr Dense() : at{} {
    for (int n = 0; n <= kVectors; ++n)
      for (int i = 0; i < kPixels; ++i) at[n][i] = i * n * L;
  }
};
static constexpr Dense kDense{};

INLINE Results dense(float* base, int64_t vectors, const float* before) { return {base, kDense.at[vectors], before, kDense.at[vectors]}; }

using Tile = void (*)(int64_t, int64_t, int64_t, const float*, const int64_t*, const float*, int64_t, const Ahead&, int64_t, const Results&);

template <bool few, int NV>
INLINE Tile tile_of(int64_t m) {
  static constexpr Tile table[] = {
      tile<1, NV, few>, tile<2, NV, few>, tile<3, NV, few>, tile<4, NV, few>, tile<5, NV, few>, tile<6, NV, few>,
#if ATENTO_LANES == 16
      tile<7, NV, few>,
#endif
  };
  return table[m - 1];
}

template <bool few>
INLINE Tile tile_of(int64_t m, int64_t vectors) {
#if ATENTO_LANES == 16
  if (vectors == 4) return tile_of<few, 4>(m);
  if (vectors == 3) return tile_of<few, 3>(m);
#endif
  return vectors == 2 ? tile_of<few, 2>(m) : tile_of<few, 1>(m);
}

}  // namespace ATENTO_ISA
}  // namespace atento
