// The input gradient of a convolution as correlations with transposed weights.
#pragma once
#include "direct.h"

namespace atento {
namespace ATENTO_ISA {

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

// The results of one residue: a correlation with taps in reverse order.
INLINE Correlation residue_correlation(const ConvDims& d, int64_t rh, int64_t rw, const Residue& h, const Residue& w) {
  const int64_t last = (rh + d.SH * (h.taps - 1)) * d.KW + rw + d.SW * (w.taps - 1);
  return {d.N * d.tensors, d.OH, d.OW, d.OC, h.count, w.count, 1, 1, h.origin, w.origin, h.taps, w.taps, d.IC, image_x(d),
          d.SH * d.IW * d.IC, d.SW * d.IC, {nullptr, d.OC, d.IC * d.OC, last, -d.SH * d.KW, -d.SW, true}, nullptr, {}, {}, {d.N, 0, 0}};
}

// Visits the residues that have both positions and taps, each with where its grid begins in dx and the panels, blocks
// and pieces that come before it.
struct Before {
  int64_t panels, blocks, pieces;
};

template <class F>
INLINE Before for_each_residue(const ConvDims& d, F visit) {
  Before before{};
  for (int64_t rh = 0; rh < d.SH; ++rh)
    for (int64_t rw = 0; rw < d.SW; ++rw) {
      const Residue h = residue(rh, d.IH, d.KH, d.SH, d.PH), w = residue(rw, d.IW, d.KW, d.SW, d.PW);
      if (h.count == 0 || w.count == 0 || h.taps == 0 || w.taps == 0) continue;
      const Correlation g = residue_correlation(d, rh, rw, h, w);
      const Blocks b = cut(g);
      visit(g, b, (h.first * d.IW + w.first) * d.IC, before);
      before.panels += panels_size(g);
      before.blocks += b.count;
      before.pieces += b.pieces();
    }
  return before;
}

// Positions no tap reaches exist where the stride exceeds the kernel, or the window stops short of the end.
INLINE bool leaves_gaps(const ConvDims& d) { return d.SH > d.KH || d.SW > d.KW; }

INLINE Way direct_input_grad(const ConvDims& d) {
  int64_t local = 0;
  const Before all = for_each_residue(d, [&](const Correlation& g, const Blocks& b, int64_t, const Before&) {
    local = max(local, pixels_workspace(g, b));
  });
  const int64_t clears = leaves_gaps(d) ? d.N : 0;
  return {all.panels, local, all.blocks, ceil_div(d.IC, kPanel) + clears, all.pieces, clears == 0, 1};
}

// Packs weights, or clears an image whose gaps nothing else would write; then the work.
INLINE void direct_input_grad_piece(const Call& call, int phase, int64_t piece, const ConvDims& d, const Epilogue& e,
                                    const ImageSums& images) {
  const int64_t panels = ceil_div(d.IC, kPanel);
  if (phase == 0 && piece >= panels) return clear(e.target + (piece - panels) * image_x(d), image_x(d));
  for_each_residue(d, [&](Correlation g, const Blocks& b, int64_t first, const Before& before) {
    set_source(g, call);
    if (phase == 0) return pack_panel(g, piece * kPanel, call.shared + before.panels);
    const int64_t own = piece - before.pieces;
    if (own < 0 || own >= b.pieces()) return;
    g.epilogue = shifted(of_block(e, before.blocks + own / b.groups), first);
    g.images = images;
    const int64_t before_group = own % b.groups * 2 * d.N * images.P;
    if (images.a) g.images.pixels += before_group, g.images.ties += before_group;
    correlate(call, g, b, own, call.shared + before.panels);
  });
}

}  // namespace ATENTO_ISA
}  // namespace atento
