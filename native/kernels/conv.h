// Convolution, its input gradient and its weight gradient, channels last: direct, from a block of input copied
// once with its border, no im2col and no transposition.
#pragma once
#include "simd.h"

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

// A stride-1 or strided correlation as the block core sees it. The forward pass is one; the input gradient is
// SH·SW of them, one for each residue of the output position, so that no zero is ever multiplied.
struct Correlation {
  int64_t N;
  const float* source; int64_t SourceH, SourceW, C;   // [N,SourceH,SourceW,C]
  int64_t GH, GW;                     // grid of results in one image
  int64_t step_h, step_w;             // source positions between neighbours of the grid
  int64_t origin_h, origin_w;         // source position of tap 0 at grid position 0; outside is zero
  int64_t TH, TW;                     // taps
  const float* panels;                // [Co/NR][TH][TW·C][NR]
  int64_t Co;
  float* target; int64_t image, row, pixel;  // strides of the target grid
};

// How a correlation is cut into blocks: whole images, or rows of one image.
struct Blocks {
  int64_t rows, images;   // of one block
  int64_t per_image;      // blocks of one image when it is cut by rows
  int64_t count;
  int64_t width, height;  // source window of one block (of one image)
  bool direct;            // no border: the source itself is the block
};

constexpr int64_t kBlockFloats = 64 * 1024;  // 256 KiB: half of a small second-level cache

INLINE Blocks cut(int64_t N, int64_t C, int64_t GH, int64_t GW, int64_t step_h, int64_t step_w, int64_t TH, int64_t TW,
                  bool direct) {
  Blocks b{};
  b.direct = direct;
  b.width = (GW - 1) * step_w + TW;
  const int64_t line = b.width * C;
  const int64_t whole = ((GH - 1) * step_h + TH) * line;
  if (whole <= kBlockFloats) {
    const int64_t fit = max(1, kBlockFloats / whole);
    const int64_t count = ceil_div(N, fit);
    b.images = ceil_div(N, count);
    b.rows = GH;
    b.per_image = 1;
    b.count = ceil_div(N, b.images);
  } else {
    const int64_t fit = max(1, (kBlockFloats / line - TH) / step_h + 1);
    b.per_image = ceil_div(GH, min(fit, GH));
    b.rows = ceil_div(GH, b.per_image);
    b.per_image = ceil_div(GH, b.rows);
    b.images = 1;
    b.count = N * b.per_image;
  }
  b.height = (b.rows - 1) * step_h + TH;
  return b;
}

INLINE int64_t block_pixels(const Blocks& b, int64_t GW) { return b.images * b.rows * GW; }

// Floats of one thread's workspace: the block, then source and target offsets of its pixels (8 bytes each).
INLINE int64_t block_workspace(const Blocks& b, int64_t C, int64_t GW) {
  return (b.direct ? 0 : b.images * b.height * b.width * C) + 4 * (block_pixels(b, GW) + MR) + 64;
}

// MR pixels × NV vectors of output channels over all taps. The taps of one kernel row lie side by side in the
// block, so they are one run of TW·C products.
template <int M, int NV>
static void tile(int64_t TH, int64_t run, int64_t line, const float* block, const int64_t* from, const float* panel,
                 float* target, const int64_t* to, int64_t channels) {
  V c[M][NV];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) c[i][v] = V{};
  for (int64_t t = 0; t < TH; ++t) {
    const float* a[M];
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) a[i] = block + from[i] + t * line;
    for (int64_t k = 0; k < run; ++k) {
      V w[NV];
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) w[v] = load(panel + v * L);
      panel += NV * L;
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i) {
        const V x = splat(a[i][k]);
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) c[i][v] += x * w[v];
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
    float* y = target + to[i];
    if (channels == NV * L) {
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) store(y + v * L, c[i][v]);
    } else {
      float rest[NV * L];
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) store(rest + v * L, c[i][v]);
      for (int64_t k = 0; k < channels; ++k) y[k] = rest[k];
    }
  }
}

using Tile = void (*)(int64_t, int64_t, int64_t, const float*, const int64_t*, const float*, float*, const int64_t*, int64_t);

template <int NV>
INLINE Tile tile_of(int64_t m) {
  static constexpr Tile table[] = {
      tile<1, NV>, tile<2, NV>, tile<3, NV>, tile<4, NV>, tile<5, NV>, tile<6, NV>,
#if ATENTO_LANES == 16
      tile<7, NV>, tile<8, NV>, tile<9, NV>, tile<10, NV>, tile<11, NV>, tile<12, NV>,
#endif
  };
  return table[m - 1];
}

// Width of the panel that begins at channel `c`: the last one is a single vector where that is enough.
INLINE int64_t panel_width(int64_t channels, int64_t c) { return channels - c <= L ? L : NR; }

// Copies source rows [first, first + height) of an image into the block, zeros outside.
INLINE void copy_rows(float* to, const float* image, int64_t H, int64_t W, int64_t C, int64_t first, int64_t height,
                      int64_t left, int64_t width) {
  const int64_t begin = max(0, -left), end = max(begin, min(width, W - left));
  for (int64_t r = first; r < first + height; ++r, to += width * C) {
    if (r < 0 || r >= H) {
      clear(to, width * C);
      continue;
    }
    clear(to, begin * C);
    copy(to + begin * C, image + (r * W + left + begin) * C, (end - begin) * C);
    clear(to + end * C, (width - end) * C);
  }
}

// All results of one block.
static void correlate(const Correlation& g, const Blocks& b, int64_t index, float* workspace) {
  const int64_t n0 = b.per_image > 1 ? index / b.per_image : index * b.images;
  const int64_t n1 = b.per_image > 1 ? n0 + 1 : min(g.N, n0 + b.images);
  const int64_t h0 = b.per_image > 1 ? index % b.per_image * b.rows : 0;
  const int64_t h1 = min(g.GH, h0 + b.rows);
  const int64_t pixels = (n1 - n0) * (h1 - h0) * g.GW;
  int64_t* from = reinterpret_cast<int64_t*>(workspace);
  int64_t* to = from + block_pixels(b, g.GW) + MR;
  float* buffer = reinterpret_cast<float*>(to + block_pixels(b, g.GW) + MR);

  const int64_t source_image = g.SourceH * g.SourceW * g.C;
  const int64_t height = (h1 - h0 - 1) * g.step_h + g.TH;
  const float* block = b.direct ? g.source : buffer;
  const int64_t line = (b.direct ? g.SourceW : b.width) * g.C;
  int64_t q = 0;
  for (int64_t n = n0; n < n1; ++n) {
    if (!b.direct) {
      copy_rows(buffer + (n - n0) * height * line, g.source + n * source_image, g.SourceH, g.SourceW, g.C,
                h0 * g.step_h + g.origin_h, height, g.origin_w, b.width);
    }
    for (int64_t h = h0; h < h1; ++h)
      for (int64_t w = 0; w < g.GW; ++w, ++q) {
        from[q] = b.direct ? n * source_image + (h * g.step_h + g.origin_h) * line + (w * g.step_w + g.origin_w) * g.C
                           : ((n - n0) * height + (h - h0) * g.step_h) * line + w * g.step_w * g.C;
        to[q] = n * g.image + h * g.row + w * g.pixel;
      }
  }
  const int64_t run = g.TW * g.C, depth = g.TH * run;
  const int64_t tiles = ceil_div(pixels, MR);
  const float* panel = g.panels;
  for (int64_t c = 0; c < g.Co; c += NR) {
    const int64_t width = panel_width(g.Co, c), channels = min(width, g.Co - c);
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t m0 = pixels * t / tiles, m = pixels * (t + 1) / tiles - m0;
      const Tile f = width == NR ? tile_of<2>(m) : tile_of<1>(m);
      f(g.TH, run, line, block, from + m0, panel, g.target + c, to + m0, channels);
    }
    panel += depth * width;
  }
}

INLINE int64_t panels_size(int64_t depth, int64_t Co) {
  const int64_t full = Co / NR, rest = Co % NR;
  return depth * (full * NR + (rest == 0 ? 0 : rest <= L ? L : NR));
}

// ---- forward: x [N,IH,IW,IC], w [KH,KW,IC,OC] → y [N,OH,OW,OC]

INLINE bool borderless(const ConvDims& d) { return d.PH == 0 && d.PW == 0; }

INLINE Blocks forward_blocks(const ConvDims& d) {
  return cut(d.N, d.IC, d.OH, d.OW, d.SH, d.SW, d.KH, d.KW, borderless(d));
}

static bool conv2d_plan(const double* p, Plan& plan) {
  const ConvDims d = conv_dims(p);
  if (!conv_dims_fit(d)) return false;
  const Blocks b = forward_blocks(d);
  plan.lengths[0] = d.N * image_x(d);
  plan.lengths[1] = weights(d);
  plan.lengths[2] = d.N * image_y(d);
  plan.shared = panels_size(d.KH * d.KW * d.IC, d.OC);
  plan.local = block_workspace(b, d.IC, d.OW);
  plan.phases = 2;
  plan.pieces[0] = static_cast<int>(ceil_div(d.OC, NR));
  plan.pieces[1] = static_cast<int>(b.count);
  return true;
}

static void conv2d_run(const Call& call, int phase, int piece) {
  const ConvDims d = conv_dims(call.params);
  const int64_t depth = d.KH * d.KW * d.IC;
  if (phase == 0) {
    const int64_t c = static_cast<int64_t>(piece) * NR, width = panel_width(d.OC, c), channels = min(width, d.OC - c);
    const float* w = call.operands[1] + c;
    float* panel = call.shared + depth * c;
    for (int64_t k = 0; k < depth; ++k, w += d.OC, panel += width) {
      copy(panel, w, channels);
      clear(panel + channels, width - channels);
    }
    return;
  }
  const Correlation g{d.N, call.operands[0], d.IH, d.IW, d.IC, d.OH, d.OW, d.SH, d.SW, -d.PH, -d.PW, d.KH, d.KW,
                      call.shared, d.OC, call.operands[2], image_y(d), d.OW * d.OC, d.OC};
  correlate(g, forward_blocks(d), piece, call.local);
}

// ---- input gradient: dy [N,OH,OW,OC], w [KH,KW,IC,OC] → dx [N,IH,IW,IC]

// Positions i of one axis with (i + P) mod S = r: there taps k = r + S·t meet output u − t, u = (i + P − r)/S.
struct Residue {
  int64_t first;   // smallest such i
  int64_t count;   // of such i below the extent
  int64_t taps;
  int64_t origin;  // output position of the last tap at the first i
};

INLINE Residue residue(int64_t r, int64_t extent, int64_t K, int64_t S, int64_t P) {
  const int64_t first = ((r - P) % S + S) % S;
  const int64_t taps = K > r ? (K - r + S - 1) / S : 0;
  return {first, first < extent ? (extent - first + S - 1) / S : 0, taps, (first + P - r) / S - (taps - 1)};
}

INLINE Blocks residue_blocks(const ConvDims& d, const Residue& h, const Residue& w) {
  return cut(d.N, d.OC, h.count, w.count, 1, 1, h.taps, w.taps, d.KH == 1 && d.KW == 1 && borderless(d));
}

// Visits the residues that have both positions and taps, with the panels and pieces that come before each.
template <class F>
INLINE void for_each_residue(const ConvDims& d, F visit) {
  int64_t panels = 0, pieces = 0;
  for (int64_t rh = 0; rh < d.SH; ++rh)
    for (int64_t rw = 0; rw < d.SW; ++rw) {
      const Residue h = residue(rh, d.IH, d.KH, d.SH, d.PH), w = residue(rw, d.IW, d.KW, d.SW, d.PW);
      if (h.count == 0 || w.count == 0 || h.taps == 0 || w.taps == 0) continue;
      visit(rh, rw, h, w, panels, pieces);
      panels += panels_size(h.taps * w.taps * d.OC, d.IC);
      pieces += residue_blocks(d, h, w).count;
    }
}

// Positions no tap reaches exist where the stride exceeds the kernel, or the window stops short of the end.
INLINE bool leaves_gaps(const ConvDims& d) { return d.SH > d.KH || d.SW > d.KW; }

static bool conv2d_input_grad_plan(const double* p, Plan& plan) {
  const ConvDims d = conv_dims(p);
  if (!conv_dims_fit(d)) return false;
  plan.lengths[0] = d.N * image_y(d);
  plan.lengths[1] = weights(d);
  plan.lengths[2] = d.N * image_x(d);
  int64_t pieces = 0, panels = 0, local = 0;
  for_each_residue(d, [&](int64_t, int64_t, const Residue& h, const Residue& w, int64_t, int64_t) {
    const Blocks b = residue_blocks(d, h, w);
    pieces += b.count;
    panels += panels_size(h.taps * w.taps * d.OC, d.IC);
    local = max(local, block_workspace(b, d.OC, w.count));
  });
  plan.shared = panels;
  plan.local = local;
  plan.phases = 2;
  plan.pieces[0] = static_cast<int>(ceil_div(d.IC, NR) + (leaves_gaps(d) ? d.N : 0));
  plan.pieces[1] = static_cast<int>(pieces);
  return true;
}

static void pack_transposed(const ConvDims& d, const float* weight, float* shared, int64_t c) {
  const int64_t width = panel_width(d.IC, c), channels = min(width, d.IC - c);
  for_each_residue(d, [&](int64_t rh, int64_t rw, const Residue& h, const Residue& w, int64_t panels, int64_t) {
    float* panel = shared + panels + h.taps * w.taps * d.OC * c;
    for (int64_t th = h.taps - 1; th >= 0; --th)
      for (int64_t tw = w.taps - 1; tw >= 0; --tw) {
        const float* from = weight + (((rh + d.SH * th) * d.KW + rw + d.SW * tw) * d.IC + c) * d.OC;
        for (int64_t o = 0; o < d.OC; ++o, panel += width) {
          for (int64_t i = 0; i < channels; ++i) panel[i] = from[i * d.OC + o];
          for (int64_t i = channels; i < width; ++i) panel[i] = 0;
        }
      }
  });
}

static void conv2d_input_grad_run(const Call& call, int phase, int piece) {
  const ConvDims d = conv_dims(call.params);
  if (phase == 0) {
    const int64_t packs = ceil_div(d.IC, NR);
    if (piece < packs) return pack_transposed(d, call.operands[1], call.shared, static_cast<int64_t>(piece) * NR);
    return clear(call.operands[2] + (piece - packs) * image_x(d), image_x(d));
  }
  for_each_residue(d, [&](int64_t, int64_t, const Residue& h, const Residue& w, int64_t panels, int64_t pieces) {
    const Blocks b = residue_blocks(d, h, w);
    if (piece < pieces || piece >= pieces + b.count) return;
    const Correlation g{d.N, call.operands[0], d.OH, d.OW, d.OC, h.count, w.count, 1, 1, h.origin, w.origin, h.taps,
                        w.taps, call.shared + panels, d.IC,
                        call.operands[2] + (h.first * d.IW + w.first) * d.IC, image_x(d), d.SH * d.IW * d.IC,
                        d.SW * d.IC};
    correlate(g, b, piece - pieces, call.local);
  });
}

}  // namespace ATENTO_ISA
}  // namespace atento
