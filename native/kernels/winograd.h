// 3×3 convolutions of stride 1 and padding 1, and their input gradients, by the minimal algorithm F(4×4,3×3) of
// Lavin and Gray (arXiv 1509.09308): tiles d of 6×6 inputs become tiles of 4×4 outputs,
//
//   Y = Aᵀ [ Σ_c (G g Gᵀ) ⊙ (Bᵀ d B) ] A
//
// so 36 products stand for 144. The interpolation points are 0, ±√½, ±√2 and ∞ instead of the paper's 0, ±1, ±2
// and ∞: errors are half as large (1.7 to 1.9 times those of the direct sum).
//
//   Bᵀ = 1   0 −5/2   0   1   0    G =    1     0     0    Aᵀ = 1    1     1    1    1   0
//        0 −√2  −2   √½   1   0        −2/3  −√2/3 −1/3         0   √½   −√½   √2  −√2   0
//        0  √2  −2  −√½   1   0        −2/3   √2/3 −1/3         0    ½     ½    2    2   0
//        0 −√½  −½   √2   1   0         1/6   √2/6  1/3         0  √½/2 −√½/2  2√2 −2√2  1
//        0  √½  −½  −√2   1   0         1/6  −√2/6  1/3
//        0   1    0 −5/2  0   1           0     0     1
#pragma once
#include "direct.h"

namespace atento {
namespace ATENTO_ISA {

constexpr int kOut = 4;                   // rows and columns of an output tile: m of the paper
constexpr int kIn = 6;                    // of an input tile: m + r − 1
constexpr int kPoints = kIn * kIn;        // products of a tile
constexpr float kRoot2 = 1.41421356237f;
constexpr float kRootHalf = 0.70710678119f;
constexpr int64_t kSharedTiles = 4;       // transformed in a piece where all pieces share them

// ---- the transforms along one axis

// Bᵀ d
INLINE void input_transform(const V (&d)[6], V (&r)[6]) {
  const V even1 = d[4] - 2.0f * d[2], odd1 = kRootHalf * d[3] - kRoot2 * d[1];
  const V even2 = d[4] - 0.5f * d[2], odd2 = kRoot2 * d[3] - kRootHalf * d[1];
  r[0] = d[0] + d[4] - 2.5f * d[2];
  r[1] = even1 + odd1;
  r[2] = even1 - odd1;
  r[3] = even2 + odd2;
  r[4] = even2 - odd2;
  r[5] = d[1] + d[5] - 2.5f * d[3];
}

// G g
INLINE void weight_transform(const V (&g)[3], V (&r)[6]) {
  const V even1 = (-2.0f / 3) * g[0] - (1.0f / 3) * g[2], odd1 = (-kRoot2 / 3) * g[1];
  const V even2 = (1.0f / 6) * g[0] + (1.0f / 3) * g[2], odd2 = (kRoot2 / 6) * g[1];
  r[0] = g[0];
  r[1] = even1 + odd1;
  r[2] = even1 - odd1;
  r[3] = even2 + odd2;
  r[4] = even2 - odd2;
  r[5] = g[2];
}

// Aᵀ m
INLINE void output_transform(const V (&m)[6], V (&r)[4]) {
  const V even1 = m[1] + m[2], odd1 = m[1] - m[2];
  const V even2 = m[3] + m[4], odd2 = m[3] - m[4];
  r[0] = m[0] + even1 + even2;
  r[1] = kRootHalf * odd1 + kRoot2 * odd2;
  r[2] = 0.5f * even1 + 2.0f * even2;
  r[3] = m[5] + (kRootHalf / 2) * odd1 + (2 * kRoot2) * odd2;
}

// T X Tᵀ of one tile: `map` is T along one axis, X(row, column) is read by `at`, the result given to `put`.
template <int From, int To, class Map, class At, class Put>
INLINE void both_axes(Map map, At at, Put put) {
  V half[To][From];
#pragma GCC unroll 6
  for (int j = 0; j < From; ++j) {
    V column[From], result[To];
#pragma GCC unroll 6
    for (int i = 0; i < From; ++i) column[i] = at(i, j);
    map(column, result);
#pragma GCC unroll 6
    for (int i = 0; i < To; ++i) half[i][j] = result[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < To; ++i) {
    V result[To];
    map(half[i], result);
#pragma GCC unroll 6
    for (int j = 0; j < To; ++j) put(i, j, result[j]);
  }
}

// ---- products

// M rows × NV vectors: c[i] (+)= Σ_k a(i, k)·b[k], with a(i, k) at i·stride + k, or at i + k·stride if transposed.
template <int M, int NV, bool transposed>
static void product(int64_t K, const float* a, int64_t stride, const float* b, float* c, bool add) {
  V sum[M][NV];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) sum[i][v] = add ? load(c + (i * NV + v) * L) : V{};
  for (int64_t k = 0; k < K; ++k) {
    V w[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) w[v] = load(b + v * L);
    b += NV * L;
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const V x = splat(transposed ? a[i] : a[i * stride]);
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) sum[i][v] += x * w[v];
    }
    a += transposed ? stride : 1;
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) store(c + (i * NV + v) * L, sum[i][v]);
}

using Product = void (*)(int64_t, const float*, int64_t, const float*, float*, bool);

template <int NV, bool transposed>
INLINE Product product_of(int64_t m) {
  static constexpr Product table[] = {
      product<1, NV, transposed>, product<2, NV, transposed>, product<3, NV, transposed>,
      product<4, NV, transposed>, product<5, NV, transposed>, product<6, NV, transposed>,
#if ATENTO_LANES == 16
      product<7, NV, transposed>, product<8, NV, transposed>, product<9, NV, transposed>,
      product<10, NV, transposed>, product<11, NV, transposed>, product<12, NV, transposed>,
#endif
  };
  return table[m - 1];
}

// c [rows][width] (+)= a · b [K][width], width NR or L.
template <bool transposed>
static void multiply(int64_t rows, int64_t K, const float* a, int64_t stride, const float* b, int64_t width, float* c, bool add,
                     Later& later) {
  const int64_t tiles = ceil_div(rows, MR);
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t r = rows * t / tiles, m = rows * (t + 1) / tiles - r;
    later.fetch();
    const Product f = width == NR ? product_of<2, transposed>(m) : product_of<1, transposed>(m);
    f(K, a + (transposed ? r : r * stride), stride, b, c + r * width, add);
  }
}

// ---- tiles

INLINE V load_some(const float* p, int64_t n) {
  if (n >= L) return load(p);
  float some[L] = {};
  copy(some, p, n);
  return load(some);
}

INLINE void store_some(float* p, V v, int64_t n) {
  if (n >= L) return store(p, v);
  float some[L];
  store(some, v);
  copy(p, some, n);
}

// n channels of a source from `c` on, zeros behind them.
INLINE V source_some(const Source& source, const float* pixel, int64_t c, int64_t n) {
  if (n >= L) return source_value<V>(source, pixel, c);
  float some[L] = {};
  for (int64_t i = 0; i < n; ++i) some[i] = source_value<float>(source, pixel, c + i);
  return load(some);
}

// Tiles of a batch of maps, in the order of their images, rows and columns.
struct Tiling {
  int64_t N, H, W;
  int64_t rows() const { return ceil_div(H, kOut); }
  int64_t columns() const { return ceil_div(W, kOut); }
  int64_t tiles() const { return N * rows() * columns(); }
};

struct TileAt {
  int64_t n, h, w;  // image, first output row and column
};

INLINE TileAt tile_at(const Tiling& g, int64_t tile) {
  return {tile / (g.rows() * g.columns()), tile / g.columns() % g.rows() * kOut, tile % g.columns() * kOut};
}

// Channels [c, c + width) of the pixels of tiles [begin, end), and of their neighbours in the same rows of tiles.
INLINE Lines lines_of(const Tiling& g, const float* x, int64_t C, Range tiles, int64_t c, int64_t width) {
  if (tiles.begin >= tiles.end) return {};
  const TileAt first = tile_at(g, tiles.begin), last = tile_at(g, tiles.end - 1);
  const int64_t begin = (first.n * g.H + first.h) * g.W, end = (last.n * g.H + min(g.H, last.h + kOut)) * g.W;
  return {x + begin * C + c, end - begin, width, C, 0, 0};
}

// Bᵀ d B of tiles [begin, end) of x [N,H,W,C] → [36][tile][row], zero outside the map
static void transform_inputs(const Tiling& g, const float* x, const Source& source, int64_t C, Range tiles, float* to,
                             int64_t row, int64_t point) {
  for (int64_t t = tiles.begin; t < tiles.end; ++t, to += row) {
    const TileAt at = tile_at(g, t);
    const float* pixels[kIn][kIn];
    for (int64_t i = 0; i < kIn; ++i)
      for (int64_t j = 0; j < kIn; ++j) {
        const int64_t h = at.h + i - 1, w = at.w + j - 1;
        pixels[i][j] = h >= 0 && h < g.H && w >= 0 && w < g.W ? x + ((at.n * g.H + h) * g.W + w) * C : nullptr;
      }
    const auto channels = [&](int64_t c, int64_t n) __attribute__((always_inline)) {
      both_axes<kIn, kIn>(
          [](const V(&d)[kIn], V(&r)[kIn]) { input_transform(d, r); },
          [&](int i, int j) { return pixels[i][j] ? source_some(source, pixels[i][j], c, n) : V{}; },
          [&](int i, int j, V v) { store(to + (i * kIn + j) * point + c, v); });
    };
    int64_t c = 0;
    for (; c + L <= C; c += L) channels(c, L);
    if (c < C) channels(c, C - c);
  }
}

// Aᵀ m A of tiles [begin, end), [36][tile][width] → channels [c, c + width) of y [N,H,W,Co]
static void transform_outputs(const Tiling& g, const float* m, int64_t point, int64_t width, Range tiles, int64_t Co, int64_t c,
                              const Epilogue& e) {
  const auto channels = [&](int64_t v, int64_t n) __attribute__((always_inline)) {
    const float* from = m + v;
    for (int64_t t = tiles.begin; t < tiles.end; ++t, from += width) {
      const TileAt at = tile_at(g, t);
      const int64_t rows = min(kOut, g.H - at.h), columns = min(kOut, g.W - at.w);
      const int64_t first = ((at.n * g.H + at.h) * g.W + at.w) * Co;
      V result[kOut][kOut];
      both_axes<kIn, kOut>(
          [](const V(&d)[kIn], V(&r)[kOut]) { output_transform(d, r); },
          [&](int i, int j) { return load(from + (i * kIn + j) * point); },
          [&](int i, int j, V value) { result[i][j] = value; });
      float pixels[kOut * kOut * L];
      int64_t to[kOut * kOut], count = 0;
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j, ++count) {
          store(pixels + count * L, result[i][j]);
          to[count] = first + (i * g.W + j) * Co;
        }
      e.finish(e, pixels, L, to, count, c + v, n);
    }
  };
  for (int64_t v = 0; v < width && c + v < Co; v += L) c + v + L <= Co ? channels(v, L) : channels(v, Co - c - v);
}

// Weights of a correlation as it meets them: [3,3,C,Co], or [3,3,Co,C] with the taps in reverse order.
struct Weights {
  const float* w;
  int64_t C, Co;
  bool reversed;
};

// G g Gᵀ of channels [k0, k1) to outputs [c, c + width) → [36][k][width], zeros behind the last output
static void transform_weights(const Weights& g, Range k, int64_t c, int64_t width, float* to, int64_t point) {
  float taps[9][L][L];
  for (int64_t k0 = k.begin; k0 < k.end; k0 += L)
    for (int64_t v = 0; v < width; v += L) {
      const int64_t depth = min(L, k.end - k0), channels = max(0, min(L, g.Co - c - v));
      const float* from = g.w + k0 * g.Co + c + v;
      int64_t tap = g.C * g.Co, line = g.Co;
      if (g.reversed || channels < L) {
        if (channels < L) clear(taps[0][0], 9 * L * L);
        for (int64_t t = 0; t < 9; ++t)
          if (g.reversed) {
            const float* rows = g.w + (8 - t) * tap + (c + v) * g.C + k0;
            for (int64_t i = 0; i < channels; ++i) {
              for (int64_t q = 0; q < depth; ++q) taps[t][q][i] = rows[i * g.C + q];
            }
          } else {
            for (int64_t q = 0; q < depth; ++q) copy(taps[t][q], from + t * tap + q * line, channels);
          }
        from = taps[0][0];
        tap = L * L;
        line = L;
      }
      for (int64_t q = 0; q < depth; ++q)
        both_axes<3, kIn>(
            [](const auto& d, V(&r)[kIn]) { weight_transform(reinterpret_cast<const V(&)[3]>(d), r); },
            [&](int i, int j) { return load(from + (i * 3 + j) * tap + q * line); },
            [&](int i, int j, V u) { store(to + (i * kIn + j) * point + (k0 - k.begin + q) * width + v, u); });
    }
}

// ---- the correlation: source [N,H,W,C], weights → target [N,H,W,Co]

constexpr int64_t kBlockTransformed = 96 * 1024;  // floats of transformed inputs of a block: second-level cache
constexpr int64_t kDepth = 128;                   // channels of weights transformed at once, and kept there
constexpr int64_t kRangeTiles = 64;               // that meet them

// How a correlation is cut. Where there are more tiles than output channels the transformed weights are shared and
// a piece is a block of tiles; else the transformed inputs are shared and a piece is a panel of output channels.
struct WinogradCut {
  bool share_weights;
  int64_t panels;          // of NR output channels
  int64_t block, blocks;   // tiles of a block, blocks
  int64_t depth;           // channels of a chunk of the reduction
  int64_t u_point, u_panel, v_row, v_point, m_point;  // strides
};

INLINE WinogradCut winograd_cut(const Tiling& g, int64_t C, int64_t Co) {
  WinogradCut cut{};
  const int64_t tiles = g.tiles();
  cut.panels = ceil_div(Co, NR);
  cut.v_row = round_up(C, kLine);
  if (cut.v_row % (16 * kLine) == 0) cut.v_row += kLine;
  cut.share_weights = tiles > Co;
  if (cut.share_weights) {
    cut.blocks = ceil_div(tiles, max(MR, kBlockTransformed / (kPoints * C) / MR * MR));
    cut.depth = C;
  } else {
    cut.blocks = ceil_div(tiles, kRangeTiles);
    cut.depth = min(C, kDepth);
  }
  cut.block = ceil_div(tiles, cut.blocks);
  cut.v_point = odd_lines((cut.share_weights ? cut.block : tiles) * cut.v_row);
  cut.u_point = odd_lines(cut.depth * NR);
  cut.u_panel = kPoints * cut.u_point;
  cut.m_point = odd_lines(cut.block * NR);
  return cut;
}

INLINE Way winograd_way(const Tiling& g, int64_t C, int64_t Co) {
  const WinogradCut cut = winograd_cut(g, C, Co);
  const int64_t u = cut.panels * cut.u_panel, v = kPoints * cut.v_point, m = kPoints * cut.m_point;
  if (cut.share_weights) return {u, m + v, cut.blocks, cut.panels, cut.blocks, true, 1};
  return {v, m + cut.u_panel, cut.blocks, ceil_div(g.tiles(), kSharedTiles), cut.blocks * cut.panels, false, 1};
}

// One piece of a phase; the totals of `e` are those of the first block of tiles.
static void winograd_piece(const Call& call, int phase, int piece, const Tiling& g, const float* x, const Weights& weights,
                           const Epilogue& e) {
  const WinogradCut cut = winograd_cut(g, weights.C, weights.Co);
  const int64_t C = weights.C, Co = weights.Co;
  float* m = call.local;
  float* local = m + kPoints * cut.m_point;
  if (phase == 0) {
    if (cut.share_weights) {
      const int64_t c = static_cast<int64_t>(piece) * NR;
      return transform_weights(weights, {0, C}, c, panel_width(Co, c, NR), call.shared + piece * cut.u_panel, cut.u_point);
    }
    const Range tiles{piece * kSharedTiles, min(g.tiles(), (piece + 1) * kSharedTiles)};
    return transform_inputs(g, x, {}, C, tiles, call.shared + tiles.begin * cut.v_row, cut.v_row, cut.v_point);
  }
  const int64_t block = piece % cut.blocks;
  const Range tiles{block * cut.block, min(g.tiles(), (block + 1) * cut.block)};
  const int64_t count = tiles.end - tiles.begin;
  const Range panels = cut.share_weights ? Range{0, cut.panels} : Range{piece / cut.blocks, piece / cut.blocks + 1};
  const Epilogue own = of_block(e, block);
  clear_totals(own, panels.begin * NR, min(Co, panels.end * NR));
  const float* v = cut.share_weights ? local : call.shared + tiles.begin * cut.v_row;
  if (cut.share_weights) transform_inputs(g, x, {}, C, tiles, local, cut.v_row, cut.v_point);
  const Range after = cut.share_weights ? Range{tiles.end, min(g.tiles(), tiles.end + cut.block)} : Range{};
  for (int64_t j = panels.begin; j < panels.end; ++j) {
    const int64_t c = j * NR, width = panel_width(Co, c, NR);
    Later later;
    for (const float* tensor : {e.streams ? nullptr : static_cast<const float*>(e.target), e.residual, e.mask, e.x})
      if (tensor) later.add(lines_of(g, tensor, Co, tiles, c, min(width, Co - c)));
    if (j + 1 == panels.end) later.add(lines_of(g, x, C, after, 0, C));
    later.add(call, static_cast<int>(panels.end - panels.begin), static_cast<int>(j - panels.begin));
    later.divide(kPoints * ceil_div(count, MR) * ceil_div(C, cut.depth));
    for (int64_t k = 0; k < C; k += cut.depth) {
      const int64_t depth = min(cut.depth, C - k);
      const float* u = cut.share_weights ? call.shared + j * cut.u_panel : local;
      if (!cut.share_weights) transform_weights(weights, {k, k + depth}, c, width, local, cut.u_point);
      for (int64_t p = 0; p < kPoints; ++p)
        multiply<false>(count, depth, v + p * cut.v_point + k, cut.v_row, u + p * cut.u_point, width, m + p * cut.m_point, k > 0, later);
    }
    transform_outputs(g, m, cut.m_point, width, tiles, Co, c, own);
  }
}

INLINE bool winograd_pays(const ConvDims& d) {
  return d.KH == 3 && d.KW == 3 && d.SH == 1 && d.SW == 1 && d.PH == 1 && d.PW == 1 && d.IH > 2 && d.IW > 2 &&
         d.IC >= 8 && d.OC >= 8;
}

// Maps that keep their size.
INLINE Tiling same_maps(const ConvDims& d) { return {d.N, d.IH, d.IW}; }

}  // namespace ATENTO_ISA
}  // namespace atento
