// A register tile: the products of a few pixels with a panel of output channels.
#pragma once
#include "simd.h"

namespace atento {
namespace ATENTO_ISA {

// So few pixels that their addresses stay in registers too, and that sources a power of two apart
// find room beside each other in the first-level cache; so many channels that each of them is worth its load.
#if ATENTO_LANES == 16
constexpr int kVectors = 4, kPixels = 7;  // 28 of 32 registers accumulate
#else
constexpr int kVectors = 2, kPixels = 6;  // 12 of 16
#endif
constexpr int kPanel = kVectors * L;      // channels

// Where the next tile reads and writes, kAhead floats each: fetched a few at a time between the products of
// this one, since all at once would fill the queue of misses and keep the products waiting; into the second-level
// cache, since the panel of weights takes half of the first.
struct Ahead {
  const float* const* addresses;
  int64_t count;
};

constexpr int64_t kAhead = kPanel;  // floats
constexpr int64_t kProducts = 8;    // of a row of taps between two fetches
constexpr int64_t kMostAhead = 128;  // addresses

// What later records need, a part with each tile.
struct Soon {
  const Stretch *next, *end;
  int64_t at = 0, each = 0;  // floats; addresses of a tile

  Soon(const Call& call, int64_t tiles) : next(call.soon), end(call.soon + call.stretches) {
    int64_t total = 0;
    for (const Stretch* s = next; s < end; ++s) total += ceil_div(s->floats, kAhead);
    each = ceil_div(total, tiles);
  }
  // Adds a tile's part to so many addresses; returns how many there are then.
  int64_t addresses(const float** to, int64_t count) {
    for (const int64_t stop = min(kMostAhead, count + each); count < stop && next < end;) {
      to[count++] = next->at + at;
      at += kAhead;
      if (at >= next->floats) at = 0, ++next;
    }
    return count;
  }
};

INLINE void fetch(const float* address) {
#pragma GCC unroll 4
  for (int64_t v = 0; v < kAhead; v += 16) __builtin_prefetch(address + v, 0, 2);
}

// M pixels × NV vectors of output channels, [M][NV·L], over TH rows of `run` products each: the taps of one kernel
// row lie side by side in the source. Weights are a packed panel; or, where `few` pixels are met, `pitch` apart, and what
// comes of them is added to the results there are if there is `more` than one part of them.
template <int M, int NV, bool few>
static void tile(int64_t TH, int64_t run, int64_t line, const float* source, const int64_t* from, const float* panel,
                 int64_t panel_line, const Ahead& ahead, float* results, int64_t pitch, bool more) {
  V c[M][NV];
#pragma GCC unroll 7
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) c[i][v] = few && more ? load(results + (i * NV + v) * L) : V{};
  const int64_t each = ceil_div(ahead.count, max(1, TH * ceil_div(run, kProducts)));
  int64_t fetched = 0;
  for (int64_t t = 0; t < TH; ++t) {
    const float* a[M];
#pragma GCC unroll 7
    for (int i = 0; i < M; ++i) a[i] = source + from[i] + t * line;
    const float* b = panel + t * panel_line;
    for (int64_t begin = 0; begin < run; begin += kProducts) {
      for (const int64_t stop = min(ahead.count, fetched + each); fetched < stop; ++fetched) fetch(ahead.addresses[fetched]);
      const int64_t end = min(run, begin + kProducts);
      for (int64_t k = begin; k < end; ++k) {
        V w[NV];
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) w[v] = load(b + v * L);
        b += few ? pitch : NV * L;
#pragma GCC unroll 7
        for (int i = 0; i < M; ++i) {
          const V x = splat(a[i][k]);
#pragma GCC unroll 4
          for (int v = 0; v < NV; ++v) c[i][v] += x * w[v];
        }
      }
    }
  }
#pragma GCC unroll 7
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) store(results + (i * NV + v) * L, c[i][v]);
}

using Tile = void (*)(int64_t, int64_t, int64_t, const float*, const int64_t*, const float*, int64_t, const Ahead&, float*, int64_t, bool);

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
