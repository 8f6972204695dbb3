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

INLINE Blocks residue_blocks(const ConvDims& d, const Residue& h) {
  return cut(d.N, d.OC, d.OH, d.OW, h.count, 1, h.taps, d.IC);
}

// Visits the residues that have both positions and taps, with the panels, blocks and pieces that come before each.
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
      const Blocks b = residue_blocks(d, h);
      visit(rh, rw, h, w, before);
      before.panels += panels_size(h.taps * w.taps * d.OC, d.IC);
      before.blocks += b.count;
      before.pieces += b.pieces();
    }
  return before;
}

// Positions no tap reaches exist where the stride exceeds the kernel, or the window stops short of the end.
INLINE bool leaves_gaps(const ConvDims& d) { return d.SH > d.KH || d.SW > d.KW; }

INLINE Way direct_input_grad(const ConvDims& d) {
  int64_t local = 0;
  const Before all = for_each_residue(d, [&](int64_t, int64_t, const Residue& h, const Residue& w, const Before&) {
    local = max(local, block_workspace(residue_blocks(d, h), w.count, h.taps, w.taps));
  });
  return {all.panels, local, all.blocks, ceil_div(d.IC, kPanel) + (leaves_gaps(d) ? d.N : 0), all.pieces};
}

// from [channels][depth], `line` floats from row to row → to [depth][width], zeros behind the channels
INLINE void pack_columns(const float* from, int64_t line, int64_t channels, int64_t depth, int64_t width, float* to) {
  for (int64_t o = 0; o < depth; o += L, to += L * width)
    for (int64_t v = 0; v < width; v += L) {
      const float* block = from + v * line + o;
      if (v + L <= channels && o + L <= depth) {
        V rows[L];
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) {
          __builtin_prefetch(block + i * line + 2 * L);
          rows[i] = load(block + i * line);
        }
        transpose(rows);
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) store(to + i * width + v, rows[i]);
        continue;
      }
      for (int64_t k = 0; k < min(L, depth - o); ++k)
        for (int64_t i = 0; i < L; ++i) to[k * width + v + i] = v + i < channels ? block[i * line + k] : 0;
    }
}

static void pack_transposed(const ConvDims& d, const float* weight, float* shared, int64_t c) {
  const int64_t width = panel_width(d.IC, c, kPanel), channels = min(width, d.IC - c);
  for_each_residue(d, [&](int64_t rh, int64_t rw, const Residue& h, const Residue& w, const Before& before) {
    float* panel = shared + before.panels + h.taps * w.taps * d.OC * c;
    for (int64_t th = h.taps - 1; th >= 0; --th)
      for (int64_t tw = w.taps - 1; tw >= 0; --tw, panel += d.OC * width) {
        const int64_t tap = (rh + d.SH * th) * d.KW + rw + d.SW * tw;
        pack_columns(weight + (tap * d.IC + c) * d.OC, d.OC, channels, d.OC, width, panel);
      }
  });
}

// Packs weights, or clears an image whose gaps nothing else would write.
INLINE void direct_input_grad_pack(const Call& call, const ConvDims& d, int64_t piece, float* dx) {
  const int64_t packs = ceil_div(d.IC, kPanel);
  if (piece < packs) return pack_transposed(d, call.operands[1], call.shared, piece * kPanel);
  clear(dx + (piece - packs) * image_x(d), image_x(d));
}

INLINE void direct_input_grad_piece(const Call& call, const ConvDims& d, int64_t piece, const Epilogue& e) {
  for_each_residue(d, [&](int64_t, int64_t, const Residue& h, const Residue& w, const Before& before) {
    const Blocks b = residue_blocks(d, h);
    if (piece < before.pieces || piece >= before.pieces + b.pieces()) return;
    const int64_t first = (h.first * d.IW + w.first) * d.IC;
    const Epilogue own = shifted(of_block(e, before.blocks + (piece - before.pieces) / b.groups), first);
    const Correlation g{d.N, call.operands[0], d.OH, d.OW, d.OC, h.count, w.count, 1, 1, h.origin, w.origin, h.taps,
                        w.taps, call.shared + before.panels, d.IC, image_x(d), d.SH * d.IW * d.IC, d.SW * d.IC, own};
    correlate(g, b, piece - before.pieces, call.local);
  });
}

}  // namespace ATENTO_ISA
}  // namespace atento
