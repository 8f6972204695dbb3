// Weight gradient: x [N,IH,IW,IC], dy [N,OH,OW,OC] → dw [KH,KW,IC,OC]. Each piece owns some rows (kw, ic) of one
// kernel row and one panel of output channels, and walks over all pixels: no partial sums between threads.
#pragma once
#include "conv.h"

namespace atento {
namespace ATENTO_ISA {

constexpr int64_t kGradPixels = 128;  // of one block: its panel of dy stays in the first-level cache
constexpr int64_t kGradPieces = 8;    // wanted at least, so that threads finish together

struct GradCut {
  int64_t panels, parts, rows_of_part;  // parts: of the KW·IC rows of one kernel row
  int64_t rows, images, per_image, count;  // blocks of pixels
  int64_t width;                           // of a packed row of x
};

INLINE GradCut grad_cut(const ConvDims& d) {
  GradCut g{};
  const int64_t M = d.KW * d.IC;
  g.panels = ceil_div(d.OC, NR);
  const int64_t wanted = ceil_div(kGradPieces, g.panels * d.KH);
  g.rows_of_part = round_up(ceil_div(M, max(1, min(wanted, M / (4 * GR)))), GR);
  g.parts = ceil_div(M, g.rows_of_part);
  const int64_t pixels = d.OH * d.OW;
  if (pixels <= kGradPixels) {
    g.images = min(d.N, kGradPixels / pixels);
    g.rows = d.OH;
    g.per_image = 1;
    g.count = ceil_div(d.N, g.images);
  } else {
    g.images = 1;
    g.rows = max(1, min(d.OH, kGradPixels / d.OW));
    g.per_image = ceil_div(d.OH, g.rows);
    g.count = d.N * g.per_image;
  }
  g.width = (d.OW - 1) * d.SW + d.KW;
  return g;
}

// M rows × NV vectors over `lines` rows of `length` pixels; sums of the block are added to c.
template <int M, int NV>
static void grad_tile(int64_t lines, int64_t length, const float* const* line, int64_t offset, int64_t step,
                      const float* dy, float* out) {
  V c[M][NV];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) c[i][v] = V{};
  for (int64_t r = 0; r < lines; ++r) {
    const float* a = line[r] + offset;
    for (int64_t w = 0; w < length; ++w, a += step) {
      V g[NV];
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) g[v] = load(dy + v * L);
      dy += NV * L;
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i) {
        const V x = splat(a[i]);
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) c[i][v] += x * g[v];
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) store(out + (i * NV + v) * L, load(out + (i * NV + v) * L) + c[i][v]);
}

using GradTile = void (*)(int64_t, int64_t, const float* const*, int64_t, int64_t, const float*, float*);

template <int NV>
INLINE GradTile grad_tile_of(int64_t m) {
  static constexpr GradTile table[] = {
      grad_tile<1, NV>, grad_tile<2, NV>, grad_tile<3, NV>, grad_tile<4, NV>, grad_tile<5, NV>, grad_tile<6, NV>,
#if ATENTO_LANES == 16
      grad_tile<7, NV>, grad_tile<8, NV>,
#endif
  };
  return table[m - 1];
}

static bool conv2d_weight_grad_plan(const double* p, Plan& plan) {
  const ConvDims d = conv_dims(p);
  if (!conv_dims_fit(d)) return false;
  const GradCut g = grad_cut(d);
  plan.lengths[0] = d.N * image_x(d);
  plan.lengths[1] = d.N * image_y(d);
  plan.lengths[2] = weights(d);
  const int64_t lines = g.images * g.rows;
  plan.local = g.rows_of_part * NR + lines * d.OW * NR + (borderless(d) ? 0 : lines * g.width * d.IC) + 2 * lines + 64;
  plan.pieces[0] = static_cast<int>(d.KH * g.parts * g.panels);
  return true;
}

static void conv2d_weight_grad_run(const Call& call, int, int piece) {
  const ConvDims d = conv_dims(call.params);
  const GradCut g = grad_cut(d);
  const int64_t kh = piece / (g.parts * g.panels), part = piece / g.panels % g.parts;
  const int64_t c0 = piece % g.panels * NR, width = panel_width(d.OC, c0), channels = min(width, d.OC - c0);
  const int64_t m0 = part * g.rows_of_part, m1 = min(d.KW * d.IC, m0 + g.rows_of_part);
  const float* x = call.operands[0];
  const float* dy = call.operands[1];
  const bool direct = borderless(d);

  const float** line = reinterpret_cast<const float**>(call.local);
  float* sums = reinterpret_cast<float*>(line + g.images * g.rows);
  float* panel = sums + g.rows_of_part * NR;
  float* packed = panel + g.images * g.rows * d.OW * NR;
  clear(sums, (m1 - m0) * width);

  for (int64_t index = 0; index < g.count; ++index) {
    const int64_t n0 = g.per_image > 1 ? index / g.per_image : index * g.images;
    const int64_t n1 = g.per_image > 1 ? n0 + 1 : min(d.N, n0 + g.images);
    const int64_t h0 = g.per_image > 1 ? index % g.per_image * g.rows : 0;
    const int64_t h1 = min(d.OH, h0 + g.rows);
    int64_t lines = 0;
    for (int64_t n = n0; n < n1; ++n)
      for (int64_t h = h0; h < h1; ++h, ++lines) {
        const int64_t row = h * d.SH + kh - d.PH;
        if (direct) {
          line[lines] = x + n * image_x(d) + row * d.IW * d.IC;
        } else {
          float* to = packed + lines * g.width * d.IC;
          copy_rows(to, x + n * image_x(d), d.IH, d.IW, d.IC, row, 1, -d.PW, g.width);
          line[lines] = to;
        }
        const float* from = dy + ((n * d.OH + h) * d.OW) * d.OC + c0;
        float* to = panel + lines * d.OW * width;
        for (int64_t w = 0; w < d.OW; ++w, from += d.OC, to += width) {
          copy(to, from, channels);
          clear(to + channels, width - channels);
        }
      }
    for (int64_t m = m0; m < m1; m += GR) {
      const int64_t rows = min(GR, m1 - m);
      const GradTile f = width == NR ? grad_tile_of<2>(rows) : grad_tile_of<1>(rows);
      f(lines, d.OW, line, m, d.SW * d.IC, panel, sums + (m - m0) * width);
    }
  }
  float* out = call.operands[2] + (kh * d.KW * d.IC + m0) * d.OC + c0;
  for (int64_t m = m0; m < m1; ++m, out += d.OC, sums += width) copy(out, sums, channels);
}

}  // namespace ATENTO_ISA
}  // namespace atento
