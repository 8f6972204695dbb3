// Correlations, channels last: direct, from the source itself, block by block, with no im2col, no transposition and
// no padding. The forward pass of a convolution in these terms.
#pragma once
#include "epilogue.h"

namespace atento {
namespace ATENTO_ISA {

struct ConvDims {
  int64_t N, IC, OC, IH, IW, OH, OW, KH, KW, SH, SW, PH, PW;
};

INLINE ConvDims conv_dims(const double* p) {
  int64_t v[13];
  for (int i = 0; i < 13; ++i) v[i] = static_cast<int64_t>(p[i]);
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12]};
}

INLINE bool conv_dims_fit(const ConvDims& d) {
  return d.N > 0 && d.IC > 0 && d.OC > 0 && d.OH > 0 && d.OW > 0 && d.KH > 0 && d.KW > 0 && d.SH > 0 && d.SW > 0 &&
         d.PH >= 0 && d.PW >= 0 && d.OH == (d.IH + 2 * d.PH - d.KH) / d.SH + 1 &&
         d.OW == (d.IW + 2 * d.PW - d.KW) / d.SW + 1;
}

INLINE int64_t image_x(const ConvDims& d) { return d.IH * d.IW * d.IC; }
INLINE int64_t image_y(const ConvDims& d) { return d.OH * d.OW * d.OC; }
INLINE int64_t weights(const ConvDims& d) { return d.KH * d.KW * d.IC * d.OC; }

// A correlation as the block core sees it. The forward pass is one; the input gradient is SH·SW of them, one for
// each residue of the output position, so that no inserted zero is ever multiplied.
struct Correlation {
  int64_t N;
  const float* source; int64_t SourceH, SourceW, C;   // [N,SourceH,SourceW,C]
  int64_t GH, GW;                     // grid of results in one image
  int64_t step_h, step_w;             // source positions between neighbours of the grid
  int64_t origin_h, origin_w;         // source position of tap 0 at grid position 0; outside is zero
  int64_t TH, TW;                     // taps
  const float* panels;                // [Co/kPanel][TH][TW][C][kPanel]
  int64_t Co;
  int64_t image, row, pixel;          // strides of the target grid
  Epilogue epilogue;
};

// A register tile: so few pixels that their addresses stay in registers too, and that sources a power of two apart
// find room beside each other in the first-level cache; so many channels that each of them is worth its load.
#if ATENTO_LANES == 16
constexpr int kVectors = 4, kPixels = 7;  // 28 of 32 registers accumulate
#else
constexpr int kVectors = 2, kPixels = 6;  // 12 of 16
#endif
constexpr int kPanel = kVectors * L;      // channels

// How a correlation is cut: into blocks of whole images, or of rows of one image, whose source stays in the
// second-level cache while all output channels are computed.
struct Blocks {
  int64_t rows, images;   // of one block
  int64_t per_image;      // blocks of one image when it is cut by rows
  int64_t count;
  int64_t groups;         // of output channels, so that there are pieces enough
  int64_t pieces() const { return count * groups; }
};

constexpr int64_t kBlockFloats = 64 * 1024;  // 256 KiB: half of a small second-level cache
constexpr int64_t kSmallWeights = 64 * 1024;    // floats that stay in the second-level cache beside a block
constexpr int64_t kConvPieces = 8;           // wanted at least, so that threads finish together

INLINE Blocks cut(int64_t N, int64_t C, int64_t SourceH, int64_t SourceW, int64_t GH, int64_t step_h, int64_t TH,
                  int64_t Co) {
  Blocks b{};
  const int64_t line = SourceW * C, whole = SourceH * line;
  if (whole <= kBlockFloats) {
    b.images = ceil_div(N, ceil_div(N, max(1, kBlockFloats / whole)));
    b.rows = GH;
    b.per_image = 1;
    b.count = ceil_div(N, b.images);
  } else {
    const int64_t fit = max(1, (kBlockFloats / line - TH) / step_h + 1);
    b.rows = ceil_div(GH, ceil_div(GH, min(fit, GH)));
    b.per_image = ceil_div(GH, b.rows);
    b.images = 1;
    b.count = N * b.per_image;
  }
  b.groups = max(1, min(ceil_div(Co, kPanel), kConvPieces / b.count));
  return b;
}

INLINE int64_t block_pixels(const Blocks& b, int64_t GW) { return b.images * b.rows * GW; }

// Runs of rows, or of columns, that lose the same taps (see Segment): one for each tap lost, and the middle.
INLINE int64_t most_segments(int64_t positions, int64_t taps) { return min(positions, 2 * taps + 1); }

// Floats of one thread's workspace: where each pixel of a block reads and writes, and its segments.
INLINE int64_t block_workspace(const Blocks& b, int64_t GW, int64_t TH, int64_t TW) {
  const int64_t heights = most_segments(b.rows, TH), widths = most_segments(GW, TW);
  return 2 * (2 * block_pixels(b, GW) + 4 * (heights + widths) + 5 * heights * widths);
}

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

INLINE void fetch(const float* address) {
#pragma GCC unroll 4
  for (int64_t v = 0; v < kAhead; v += 16) __builtin_prefetch(address + v, 0, 2);
}

// M pixels × NV vectors of output channels, [M][NV·L], over TH rows of `run` products each: the taps of one kernel
// row lie side by side in the source.
template <int M, int NV>
static void tile(int64_t TH, int64_t run, int64_t line, const float* source, const int64_t* from, const float* panel,
                 int64_t panel_line, const Ahead& ahead, float* results) {
  V c[M][NV];
#pragma GCC unroll 7
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) c[i][v] = V{};
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
        b += NV * L;
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

using Tile = void (*)(int64_t, int64_t, int64_t, const float*, const int64_t*, const float*, int64_t, const Ahead&, float*);

template <int NV>
INLINE Tile tile_of(int64_t m) {
  static constexpr Tile table[] = {
      tile<1, NV>, tile<2, NV>, tile<3, NV>, tile<4, NV>, tile<5, NV>, tile<6, NV>,
#if ATENTO_LANES == 16
      tile<7, NV>,
#endif
  };
  return table[m - 1];
}

INLINE Tile tile_of(int64_t m, int64_t vectors) {
#if ATENTO_LANES == 16
  if (vectors == 4) return tile_of<4>(m);
  if (vectors == 3) return tile_of<3>(m);
#endif
  return vectors == 2 ? tile_of<2>(m) : tile_of<1>(m);
}

// Neighbouring grid positions along one axis whose windows lose the same taps at the borders: those taps are
// left out, so that no padding is multiplied or even stored.
struct Segment {
  int64_t begin, end;  // grid positions
  int64_t first, taps;
};

INLINE Segment segment(int64_t begin, int64_t end, int64_t step, int64_t origin, int64_t taps, int64_t extent) {
  const auto window = [=](int64_t g) {
    const int64_t at = g * step + origin;
    const int64_t first = min(taps, max(0, -at));
    return Range{first, max(first, min(taps, extent - at))};
  };
  const Range w = window(begin);
  int64_t stop = begin + 1;
  while (stop < end && window(stop).begin == w.begin && window(stop).end == w.end) ++stop;
  return {begin, stop, w.begin, w.end - w.begin};
}

// Pixels of a block, one after the other, whose windows have the same taps.
struct Run {
  int64_t begin, end;
  int64_t taps_h, taps_w, first;  // the first tap is that of the window
};

// All results of one block for one group of output channels.
static void correlate(const Correlation& g, const Blocks& b, int64_t piece, float* workspace) {
  const int64_t index = piece / b.groups;
  const Range group = share(ceil_div(g.Co, kPanel), static_cast<int>(b.groups), static_cast<int>(piece % b.groups));
  const int64_t n0 = b.per_image > 1 ? index / b.per_image : index * b.images;
  const int64_t n1 = b.per_image > 1 ? n0 + 1 : min(g.N, n0 + b.images);
  const int64_t h0 = b.per_image > 1 ? index % b.per_image * b.rows : 0;
  const int64_t h1 = min(g.GH, h0 + b.rows);
  int64_t* from = reinterpret_cast<int64_t*>(workspace);
  int64_t* to = from + block_pixels(b, g.GW);
  Segment* rows = reinterpret_cast<Segment*>(to + block_pixels(b, g.GW));
  Segment* columns = rows + most_segments(b.rows, g.TH);
  Run* runs = reinterpret_cast<Run*>(columns + most_segments(g.GW, g.TW));
  const int64_t line = g.SourceW * g.C, source_image = g.SourceH * line;

  // pixels of equal windows side by side
  int64_t heights = 0, widths = 0;
  for (int64_t h = h0; h < h1; h = rows[heights++].end)
    rows[heights] = segment(h, h1, g.step_h, g.origin_h, g.TH, g.SourceH);
  for (int64_t w = 0; w < g.GW; w = columns[widths++].end)
    columns[widths] = segment(w, g.GW, g.step_w, g.origin_w, g.TW, g.SourceW);
  int64_t q = 0;
  Run* last = runs;
  for (int64_t i = 0; i < heights; ++i)
    for (int64_t j = 0; j < widths; ++j) {
      const int64_t begin = q;
      for (int64_t n = n0; n < n1; ++n)
        for (int64_t h = rows[i].begin; h < rows[i].end; ++h)
          for (int64_t w = columns[j].begin; w < columns[j].end; ++w, ++q) {
            from[q] = n * source_image + (h * g.step_h + g.origin_h + rows[i].first) * line +
                      (w * g.step_w + g.origin_w + columns[j].first) * g.C;
            to[q] = n * g.image + h * g.row + w * g.pixel;
          }
      *last++ = {begin, q, rows[i].taps, columns[j].taps, rows[i].first * g.TW + columns[j].first};
    }

  float results[kPixels * kPanel];
  clear_totals(g.epilogue, group.begin * kPanel, min(g.Co, group.end * kPanel));
  const int64_t depth = g.TH * g.TW * g.C, first = group.begin * kPanel, end = min(g.Co, group.end * kPanel);
  struct Job {
    const Run* run;
    const float* weight;
    int64_t pixel, pixels, c, width;
  } job{};
  const float* addresses[kMostAhead];
  // A tile is computed when the one after it is known.
  const auto compute = [&](int64_t ahead) {
    if (job.pixels == 0) return;
    tile_of(job.pixels, job.width / L)(job.run->taps_h, job.run->taps_w * g.C, line, g.source, from + job.pixel, job.weight,
                                       g.TW * g.C * job.width, {addresses, ahead}, results);
    g.epilogue.finish(g.epilogue, results, job.width, to + job.pixel, job.pixels, job.c, min(job.width, g.Co - job.c));
  };
  const auto meet = [&](const Run& run, int64_t pixel, int64_t pixels, int64_t c) {
    int64_t ahead = addresses_of(g.epilogue, to + pixel, pixels, c, addresses);
    if (c == first && depth == g.C) {  // later panels, and other taps, find the source in the second-level cache
      for (int64_t i = pixel; i < pixel + pixels; ++i)
        for (int64_t k = 0; k < g.C && ahead < kMostAhead; k += kAhead) addresses[ahead++] = g.source + from[i] + k;
    }
    compute(ahead);
    const int64_t width = panel_width(g.Co, c, kPanel);
    job = {&run, g.panels + depth * c + run.first * g.C * width, pixel, pixels, c, width};
  };
  // tiles of a run are as equal as they can be
  const auto for_tiles = [&](auto f) {
    for (const Run* run = runs; run < last; ++run) {
      const int64_t pixels = run->end - run->begin, tiles = ceil_div(pixels, kPixels);
      const int64_t least = pixels / tiles, larger = pixels % tiles;
      for (int64_t t = 0, pixel = run->begin; t < tiles; ++t) {
        const int64_t m = least + (t < larger);
        f(*run, pixel, m);
        pixel += m;
      }
    }
  };
  if (depth * (end - first) <= kSmallWeights) {  // whole pixels one after the other: memory is met in order
    for_tiles([&](const Run& run, int64_t pixel, int64_t m) {
      for (int64_t c = first; c < end; c += kPanel) meet(run, pixel, m, c);
    });
  } else {
    for (int64_t c = first; c < end; c += kPanel)
      for_tiles([&](const Run& run, int64_t pixel, int64_t m) { meet(run, pixel, m, c); });
  }
  compute(0);
}

INLINE int64_t panels_size(int64_t depth, int64_t Co) {
  return depth * round_up(Co, L);
}

// ---- forward: x [N,IH,IW,IC], w [KH,KW,IC,OC] → y [N,OH,OW,OC]

INLINE Blocks forward_blocks(const ConvDims& d) {
  return cut(d.N, d.IC, d.IH, d.IW, d.OH, d.SH, d.KH, d.OC);
}

// How a convolution or an input gradient is done: what it needs, its pieces, and in how many blocks an epilogue's
// sums come.
struct Way {
  int64_t shared, local, blocks;
  int64_t packs, pieces;  // of the two phases: weights are packed, then the work is done
};

INLINE Way direct_forward(const ConvDims& d) {
  const Blocks b = forward_blocks(d);
  return {panels_size(d.KH * d.KW * d.IC, d.OC), block_workspace(b, d.OW, d.KH, d.KW), b.count, ceil_div(d.OC, kPanel), b.pieces()};
}

constexpr int64_t kRowsAhead = 16;  // of weights, fetched before they are packed

INLINE void pack_weights(const ConvDims& d, const float* weight, float* shared, int64_t c) {
  const int64_t depth = d.KH * d.KW * d.IC, width = panel_width(d.OC, c, kPanel), channels = min(width, d.OC - c);
  const float* w = weight + c;
  float* panel = shared + depth * c;
  for (int64_t k = 0; k < depth; ++k, w += d.OC, panel += width) {
    for (int64_t v = 0; v < channels; v += 16) __builtin_prefetch(w + kRowsAhead * d.OC + v);
    int64_t v = 0;
    for (; v + L <= channels; v += L) store(panel + v, load(w + v));
    for (; v < width; ++v) panel[v] = v < channels ? w[v] : 0;
  }
}

// The totals of `e` are those of the first block.
INLINE void direct_forward_piece(const Call& call, const ConvDims& d, int64_t piece, const Epilogue& e) {
  const Blocks b = forward_blocks(d);
  const Correlation g{d.N, call.operands[0], d.IH, d.IW, d.IC, d.OH, d.OW, d.SH, d.SW, -d.PH, -d.PW, d.KH, d.KW,
                      call.shared, d.OC, image_y(d), d.OW * d.OC, d.OC, of_block(e, piece / b.groups)};
  correlate(g, b, piece, call.local);
}

}  // namespace ATENTO_ISA
}  // namespace atento
