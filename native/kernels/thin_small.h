// The same for maps so small that vectors along their rows would be half empty: each lane is an image, so that taps
// that meet nothing are left out for each pixel alone.
#pragma once
#include "thin.h"

namespace atento {
namespace ATENTO_ISA {

INLINE bool are_small(const ConvDims& d) { return thin_pays(d) && d.N >= L && max(d.IW, d.OW) <= L / 2; }

constexpr int kChains = 4;  // of additions side by side

// `size` floats of each image → [size][L]; lanes without an image are 0.
INLINE void to_lanes(const float* from, int64_t size, int64_t images, float* to) {
  int64_t k = 0;
  for (; images == L && k + L <= size; k += L) {
    V rows[L];
#pragma GCC unroll 16
    for (int n = 0; n < L; ++n) rows[n] = load(from + n * size + k);
    transpose(rows);
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) store(to + (k + i) * L, rows[i]);
  }
  for (; k < size; ++k)
    for (int64_t n = 0; n < L; ++n) to[k * L + n] = n < images ? from[n * size + k] : 0;
}

// [size][L] → `size` floats of each image
INLINE void from_lanes(const float* from, int64_t size, int64_t images, float* to) {
  int64_t k = 0;
  for (; images == L && k + L <= size; k += L) {
    V rows[L];
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) rows[i] = load(from + (k + i) * L);
    transpose(rows);
#pragma GCC unroll 16
    for (int n = 0; n < L; ++n) store(to + n * size + k, rows[n]);
  }
  for (; k < size; ++k)
    for (int64_t n = 0; n < images; ++n) to[n * size + k] = from[k * L + n];
}

// Adds f(0) … f(n − 1) in kChains chains.
template <class F>
INLINE void add_chains(V (&sums)[kChains], int64_t n, F f) {
  int64_t k = 0;
  for (; k + kChains <= n; k += kChains)
#pragma GCC unroll 4
    for (int u = 0; u < kChains; ++u) sums[u] += f(k + u);
  for (; k < n; ++k) sums[0] += f(k);
}

INLINE V sum_of(const V (&sums)[kChains]) { return (sums[0] + sums[1]) + (sums[2] + sums[3]); }

INLINE Way small_way(const Thin& g) {
  const int64_t blocks = ceil_div(g.N, L), results = g.GH * g.GW * g.Co * L;
  return {g.TH * g.TW * g.C * g.Co, g.H * g.W * g.C * L + 2 * results, blocks, 1, blocks, true};
}

// All results of as many images as there are lanes.
static void small_piece(const Call& call, int phase, int64_t block, const Thin& g, const float* source, const float* w,
                        bool reversed, const Epilogue& e) {
  if (phase == 0) return thin_weights(g, w, reversed, call.shared);
  const int64_t from = g.H * g.W * g.C, size = g.GH * g.GW * g.Co, n0 = block * L, images = min(L, g.N - n0);
  float *x = call.local, *lanes = x + from * L, *results = lanes + size * L;
  to_lanes(source + n0 * from, from, images, x);
  for (int64_t h = 0; h < g.GH; ++h)
    for (int64_t w = 0; w < g.GW; ++w) {
      const Range down = meeting(h, h, g.top, g.H, g.TH), right = meeting(w, w, g.left, g.W, g.TW);
      for (int64_t o = 0; o < g.Co; ++o) {
        V sums[kChains] = {};
        for (int64_t i = down.begin; i < down.end; ++i) {
          const float* row = x + ((h + i - g.top) * g.W + w + right.begin - g.left) * g.C * L;
          const float* weights = call.shared + (i * g.TW + right.begin) * g.C * g.Co + o;
          add_chains(sums, (right.end - right.begin) * g.C, [&](int64_t k) { return splat(weights[k * g.Co]) * load(row + k * L); });
        }
        store(lanes + ((h * g.GW + w) * g.Co + o) * L, sum_of(sums));
      }
    }
  from_lanes(lanes, size, images, results);

  const Epilogue own = of_block(e, block);
  clear_totals(own, 0, g.Co);
  finish_pixels(own, results, g.Co, n0 * g.GH * g.GW, images * g.GH * g.GW, 0, g.Co);
}

// ---- weight gradient

INLINE int64_t small_pieces(const ConvDims& d) { return min(ceil_div(d.N, L), kThinPieces); }

INLINE Way small_weight_grad(const ConvDims& d) {
  const int64_t pieces = small_pieces(d);
  return {pieces * weights(d), (image_x(d) + image_y(d) + weights(d)) * L, 0, pieces, 1, false};
}

static void small_weight_grad_piece(const Call& call, int phase, int piece, const ConvDims& d, const float* dy, float* dw) {
  const int64_t size = weights(d), pieces = small_pieces(d);
  if (phase == 1) return thin_add_pieces(call.shared, size, pieces, dw);
  float *x = call.local, *gradients = x + image_x(d) * L, *totals = gradients + image_y(d) * L;
  clear(totals, size * L);
  const Range blocks = share(ceil_div(d.N, L), static_cast<int>(pieces), piece);
  for (int64_t n = blocks.begin * L; n < min(d.N, blocks.end * L); n += L) {
    const int64_t images = min(L, d.N - n);
    to_lanes(call.operands[0] + n * image_x(d), image_x(d), images, x);
    to_lanes(dy + n * image_y(d), image_y(d), images, gradients);
    for (int64_t i = 0; i < d.KH; ++i)
      for (int64_t j = 0; j < d.KW; ++j) {
        const Range rows{max(0, d.PH - i), min(d.OH, d.IH + d.PH - i)}, columns{max(0, d.PW - j), min(d.OW, d.IW + d.PW - j)};
        for (int64_t c = 0; c < d.IC; ++c)
          for (int64_t o = 0; o < d.OC; ++o) {
            V sums[kChains] = {};
            for (int64_t h = rows.begin; h < rows.end; ++h) {
              const float* from = x + (((h + i - d.PH) * d.IW + columns.begin + j - d.PW) * d.IC + c) * L;
              const float* gradient = gradients + ((h * d.OW + columns.begin) * d.OC + o) * L;
              add_chains(sums, columns.end - columns.begin,
                         [&](int64_t k) { return load(from + k * d.IC * L) * load(gradient + k * d.OC * L); });
            }
            float* total = totals + (((i * d.KW + j) * d.IC + c) * d.OC + o) * L;
            store(total, load(total) + sum_of(sums));
          }
      }
  }
  for (int64_t i = 0; i < size; ++i) call.shared[piece * size + i] = across(load(totals + i * L), [](V a, V b) { return a + b; })[0];
}

}  // namespace ATENTO_ISA
}  // namespace atento
