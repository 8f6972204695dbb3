// Weight gradients of 3×3 convolutions of stride 1 and padding 1 by F(3×3,4×4), the transpose of the forward
// algorithm (winograd.h) with the same matrices: of input tiles d of 6×6 and tiles e of 4×4 output gradients
//
//   dg = Gᵀ [ Σ_tiles (Bᵀ d B) ⊙ (A e Aᵀ) ] G
#pragma once
#include "winograd.h"

namespace atento {
namespace ATENTO_ISA {

constexpr int64_t kGradTransformed = 144 * 1024;  // floats of tiles transformed at once: second-level cache
constexpr int64_t kFewTiles = 64;                // fewer are too short a sum
constexpr int64_t kSumRows = 64;                 // input channels whose sums are transformed back together
constexpr int64_t kTileChunks = 8;               // of tiles

// A e
INLINE void gradient_transform(const V (&e)[4], V (&r)[6]) {
  const V even1 = e[0] + 0.5f * e[2], odd1 = kRootHalf * e[1] + (kRootHalf / 2) * e[3];
  const V even2 = e[0] + 2.0f * e[2], odd2 = kRoot2 * e[1] + (2 * kRoot2) * e[3];
  r[0] = e[0];
  r[1] = even1 + odd1;
  r[2] = even1 - odd1;
  r[3] = even2 + odd2;
  r[4] = even2 - odd2;
  r[5] = e[3];
}

// Gᵀ s
INLINE void sum_transform(const V (&s)[6], V (&r)[3]) {
  const V even1 = s[1] + s[2], odd1 = s[1] - s[2];
  const V even2 = s[3] + s[4], odd2 = s[3] - s[4];
  r[0] = s[0] - (2.0f / 3) * even1 + (1.0f / 6) * even2;
  r[1] = (kRoot2 / 6) * odd2 - (kRoot2 / 3) * odd1;
  r[2] = s[5] - (1.0f / 3) * even1 + (1.0f / 3) * even2;
}

// Where there are more tiles than channels a piece is a chunk of the tiles with sums of its own, added at the end;
// else all transformed tiles are shared, and a piece is a group of input channels with a panel of output channels.
struct WinogradGradCut {
  bool share_tiles;
  int64_t panels, rows;             // of NR output channels; groups of kSumRows input channels
  int64_t block, chunks;            // tiles transformed at once; chunks of tiles
  int64_t v_row, v_point, e_point, e_panel, s_point;  // strides
};

INLINE WinogradGradCut winograd_grad_cut(const Tiling& g, int64_t IC, int64_t OC) {
  WinogradGradCut cut{};
  const int64_t tiles = g.tiles();
  cut.panels = ceil_div(OC, NR);
  cut.rows = ceil_div(IC, kSumRows);
  cut.share_tiles = tiles * (IC + OC) <= 2 * IC * OC;
  cut.v_row = round_up(IC, kLine);
  if (cut.v_row % (16 * kLine) == 0) cut.v_row += kLine;
  if (cut.share_tiles) {
    cut.block = tiles;
  } else {
    const int64_t fit = max(kFewTiles, kGradTransformed / (kPoints * (IC + OC)));
    cut.chunks = kTileChunks;
    const int64_t chunk = ceil_div(tiles, cut.chunks);
    cut.block = ceil_div(chunk, ceil_div(chunk, fit));
  }
  cut.v_point = odd_lines(cut.block * cut.v_row);
  cut.e_point = odd_lines(cut.block * NR);
  cut.e_panel = kPoints * cut.e_point;
  cut.s_point = odd_lines(min(IC, kSumRows) * NR);
  return cut;
}

// A e Aᵀ of tiles [begin, end) of dy [N,H,W,OC] → [panel][36][tile][width], zero outside the map
static void transform_gradients(const Tiling& g, const float* dy, int64_t OC, Range tiles, int64_t origin, float* to, int64_t panel,
                                int64_t point) {
  for (int64_t t = tiles.begin; t < tiles.end; ++t) {
    const TileAt at = tile_at(g, t);
    const float* pixels[kOut][kOut];
    for (int64_t i = 0; i < kOut; ++i)
      for (int64_t j = 0; j < kOut; ++j) {
        const int64_t h = at.h + i, w = at.w + j;
        pixels[i][j] = h < g.H && w < g.W ? dy + ((at.n * g.H + h) * g.W + w) * OC : nullptr;
      }
    const auto channels = [&](float* out, int64_t c, int64_t n) __attribute__((always_inline)) {
      both_axes<kOut, kIn>(
          [](const auto& e, V(&r)[kIn]) { gradient_transform(reinterpret_cast<const V(&)[kOut]>(e), r); },
          [&](int i, int j) { return pixels[i][j] ? load_some(pixels[i][j] + c, n) : V{}; },
          [&](int i, int j, V v) { store(out + (i * kIn + j) * point, v); });
    };
    for (int64_t c = 0; c < OC; c += L) {
      const int64_t first = c / NR * NR, width = panel_width(OC, first, NR);
      float* out = to + c / NR * panel + (t - origin) * width + c - first;
      c + L <= OC ? channels(out, c, L) : channels(out, c, OC - c);
    }
    // the second vector of a wide panel that ends in its first is never used
  }
}

// Gᵀ s G of input channels [0, rows), [36][row][width] → (+)= dw at the first of them: [3,3,IC,OC]
static void transform_sums(const float* s, int64_t point, int64_t rows, int64_t width, float* dw, int64_t tap, int64_t OC,
                           int64_t n, bool add) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t v = 0; v < width && v < n; v += L) {
      const float* from = s + r * width + v;
      float* to = dw + r * OC + v;
      both_axes<kIn, 3>(
          [](const auto& d, V(&q)[3]) { sum_transform(reinterpret_cast<const V(&)[kIn]>(d), q); },
          [&](int i, int j) { return load(from + (i * kIn + j) * point); },
          [&](int i, int j, V u) {
            float* at = to + (i * 3 + j) * tap;
            store_some(at, add ? load_some(at, n - v) + u : u, n - v);
          });
    }
}

INLINE Way winograd_weight_grad(const ConvDims& d) {
  const Tiling g = same_maps(d);
  const WinogradGradCut cut = winograd_grad_cut(g, d.IC, d.OC);
  const int64_t transformed = kPoints * cut.v_point + cut.panels * cut.e_panel, sums = kPoints * cut.s_point;
  if (cut.share_tiles) return {transformed, sums, 0, ceil_div(g.tiles(), kSharedTiles), cut.rows * cut.panels, false};
  return {cut.chunks * weights(d), sums + transformed, 0, cut.chunks, 9, false};
}

static void winograd_weight_grad_piece(const Call& call, int phase, int piece, const ConvDims& d, const Source& source,
                                       const float* dy, float* dw) {
  const Tiling g = same_maps(d);
  const WinogradGradCut cut = winograd_grad_cut(g, d.IC, d.OC);
  float* sums = call.local;
  float* v = cut.share_tiles ? call.shared : sums + kPoints * cut.s_point;
  float* e = v + kPoints * cut.v_point;
  const auto transform = [&](Range tiles, int64_t first) {
    transform_inputs(g, call.operands[0], source, d.IC, tiles, v + (tiles.begin - first) * cut.v_row, cut.v_row, cut.v_point);
    transform_gradients(g, dy, d.OC, tiles, first, e, cut.e_panel, cut.e_point);
  };
  const auto add_products = [&](int64_t tiles, int64_t row, int64_t panel, float* out, bool add, Later& later) {
    const int64_t c = panel * NR, width = panel_width(d.OC, c, NR), k = row * kSumRows, rows = min(kSumRows, d.IC - k);
    for (int64_t q = 0; q < kPoints; ++q)
      multiply<true>(rows, tiles, v + q * cut.v_point + k, cut.v_row, e + panel * cut.e_panel + q * cut.e_point, width,
                     sums + q * cut.s_point, false, later);
    transform_sums(sums, cut.s_point, rows, width, out + k * d.OC + c, d.IC * d.OC, d.OC, d.OC - c, add);
  };
  if (cut.share_tiles) {
    if (phase == 0) return transform({piece * kSharedTiles, min(g.tiles(), (piece + 1) * kSharedTiles)}, 0);
    Later nothing;
    return add_products(g.tiles(), piece % cut.rows, piece / cut.rows, dw, false, nothing);
  }
  if (phase == 0) {
    const Range chunk = share(g.tiles(), static_cast<int>(cut.chunks), piece);
    float* own = call.shared + piece * weights(d);
    if (chunk.begin == chunk.end) return clear(own, weights(d));
    for (int64_t t = chunk.begin; t < chunk.end; t += cut.block) {
      const Range tiles{t, min(chunk.end, t + cut.block)};
      transform(tiles, t);
      const Range after{tiles.end, min(chunk.end, tiles.end + cut.block)};
      Later later;
      later.add(lines_of(g, call.operands[0], d.IC, after, 0, d.IC));
      later.add(lines_of(g, dy, d.OC, after, 0, d.OC));
      later.divide(kPoints * cut.panels * ceil_div(d.IC, MR));
      for (int64_t panel = 0; panel < cut.panels; ++panel)
        for (int64_t row = 0; row < cut.rows; ++row)
          add_products(tiles.end - tiles.begin, row, panel, own, t > chunk.begin, later);
    }
    return;
  }
  const int64_t floats = d.IC * d.OC;
  const float* from = call.shared + piece * floats;
  float* to = dw + piece * floats;
  int64_t i = 0;
  for (; i + L <= floats; i += L) {
    V sum = load(from + i);
    for (int64_t chunk = 1; chunk < cut.chunks; ++chunk) sum += load(from + chunk * weights(d) + i);
    store(to + i, sum);
  }
  for (; i < floats; ++i) {
    float sum = from[i];
    for (int64_t chunk = 1; chunk < cut.chunks; ++chunk) sum += from[chunk * weights(d) + i];
    to[i] = sum;
  }
}

}  // namespace ATENTO_ISA
}  // namespace atento
