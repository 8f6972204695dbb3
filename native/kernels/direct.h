// Correlations by tiles, from the source itself, with no im2col, no transposition of it and no padding; and the forward
// pass of a convolution as one.
#pragma once
#include "correlation.h"

namespace atento {
namespace ATENTO_ISA {

INLINE int64_t panels_size(const Correlation& g) { return g.TH * g.TW * g.C * round_up(g.Co, L); }

// Packs the panel that begins at channel c, [TH][TW][C][width], behind those before it.
INLINE void pack_panel(const Correlation& g, int64_t c, float* panels) {
  float* to = panels + g.TH * g.TW * g.C * c;
  const int64_t width = panel_width(g.Co, c, kPanel);
  for (int64_t t = 0; t < g.TH; ++t)
    for (int64_t u = 0; u < g.TW; ++u, to += g.C * width) pack_part(g, {t, u, {0, g.C}, c, width}, to);
}

constexpr int64_t kSmallWeights = 64 * 1024;    // floats that stay in the second-level cache beside a block

// All results of one block for one group of output channels, with packed weights.
static void correlate(const Call& call, const Correlation& g, const Blocks& b, int64_t piece, const float* panels) {
  const Range group = share(panels_of(g), static_cast<int>(b.groups), static_cast<int>(piece % b.groups));
  const Pixels pixels = pixels_of(g, b, piece / b.groups, call.local);
  const int64_t depth = g.TH * g.TW * g.C, first = group.begin * kPanel, end = min(g.Co, group.end * kPanel);
  float results[kPixels * kPanel];
  clear_totals(g.epilogue, first, end);
  const bool in_order = depth * (end - first) <= kSmallWeights;  // whole pixels one after the other: so is memory
  const int64_t first_image = pixels.to[0] / g.image;
  const int64_t images_together = images_at_once(g.images);
  int64_t images = 0;  // that are summed
  if (g.images.a) clear_pixels(g.images, first_image, pixels.end[-1].end);
  struct Job {
    const Run* run;
    const float* weight;
    int64_t pixel, count, c, width;
  } job{};
  Ahead ahead;
  Soon soon(call, ceil_div(pixels.end[-1].end, kPixels) * (group.end - group.begin));
  // A tile is computed when the one after it is known.
  const auto compute = [&] {
    if (job.count == 0) return;
    const int64_t *to = pixels.to + job.pixel, vectors = job.width / L, channels = min(job.width, g.Co - job.c);
    const bool at_once = stores_at_once(g.epilogue, job.width, channels);
    const float* residual = g.epilogue.residual ? g.epilogue.residual + job.c : nullptr;
    tile_of<false>(job.count, vectors)(
        job.run->taps_h, job.run->taps_w * g.C, g.SourceW * g.C, g.source, pixels.from + job.pixel, job.weight,
        g.TW * g.C * job.width, ahead, 0,
        at_once ? Results{g.epilogue.target + job.c, to, residual, to} : dense(results, vectors, nullptr));
    if (!at_once) g.epilogue.finish(g.epilogue, results, job.width, to, job.count, job.c, channels);
    if (g.images.P == 0 || (in_order && job.c + kPanel < end)) return;
    if (job.pixel == 0) images = 0;
    const int64_t before = images, done = job.pixel + job.count;
    while ((images + 1) * g.images.P <= done) ++images;
    if (images - before < images_together && done < pixels.end[-1].end) images = before;
    if (images == before) return;
    const Range complete{first_image + before, first_image + images};
    if (in_order) sum_images(g.images, complete, first, end);
    else sum_images(g.images, complete, job.c, min(end, job.c + kPanel),
                    {g.images.lanes + before * g.images.P * 2 * L, job.c == first, job.c + kPanel >= end});
  };
  const auto meet = [&](const Run& run, int64_t pixel, int64_t count, int64_t c) {
    ahead.count = 0;
    add_places(g.epilogue, pixels.to + pixel, count, c, ahead);
    add_places(g.images, first_image, pixel, pixels.to + pixel, count, c, ahead);
    if (c == first && depth == g.C)  // later panels, and other taps, find the source in the second-level cache
      for (int64_t k = 0; k < g.C; k += kAhead) ahead.add_pixels(g.source + k, pixels.from + pixel, count);
    soon.add_to(ahead);
    compute();
    const int64_t width = panel_width(g.Co, c, kPanel);
    const float* weight = panels + depth * c + (run.first_h * g.TW + run.first_w) * g.C * width;
    job = {&run, weight, pixel, count, c, width};
  };
  const auto for_all_tiles = [&](auto f) {
    for (const Run* run = pixels.runs; run < pixels.end; ++run)
      for_tiles({run->begin, run->end}, [&](int64_t pixel, int64_t count) { f(*run, pixel, count); });
  };
  if (in_order) {
    for_all_tiles([&](const Run& run, int64_t pixel, int64_t count) {
      for (int64_t c = first; c < end; c += kPanel) meet(run, pixel, count, c);
    });
  } else {
    for (int64_t c = first; c < end; c += kPanel)
      for_all_tiles([&](const Run& run, int64_t pixel, int64_t count) { meet(run, pixel, count, c); });
  }
  ahead.count = 0;
  compute();
}

// What a correlation reads: operands source and kernel; of a pair, then the second source, the target and the second one.
INLINE void set_source(Correlation& g, const Call& call) {
  g.source = call.operands[0];
  g.taps.kernel = call.operands[1];
  if (g.second.image == g.N) return;
  g.second.source = call.operands[2] - call.operands[0] - g.second.image * g.SourceH * g.SourceW * g.C;
  g.second.target = call.operands[4] - call.operands[3] - g.second.image * g.image;
}

// ---- forward: x [N,IH,IW,IC], w [KH,KW,IC,OC] → y [N,OH,OW,OC]

INLINE Correlation forward_correlation(const ConvDims& d) {
  return {d.N * d.tensors, d.IH, d.IW, d.IC, d.OH, d.OW, d.SH, d.SW, -d.PH, -d.PW, d.KH, d.KW, d.OC, image_y(d), d.OW * d.OC,
          d.OC, {nullptr, d.OC, d.IC * d.OC, 0, d.KW, 1, false}, nullptr, {}, {}, {d.N, 0, 0}};
}

INLINE Way direct_forward(const ConvDims& d) {
  const Correlation g = forward_correlation(d);
  const Blocks b = cut(g);
  return {panels_size(g), pixels_workspace(g, b), b.count, panels_of(g), b.pieces(), true, 1};
}

// The totals of `e` are those of the first block.
INLINE void direct_forward_piece(const Call& call, int phase, int64_t piece, const ConvDims& d, const Epilogue& e,
                                 const ImageSums& images) {
  Correlation g = forward_correlation(d);
  set_source(g, call);
  if (phase == 0) return pack_panel(g, piece * kPanel, call.shared);
  const Blocks b = cut(g);
  g.epilogue = of_block(e, piece / b.groups);
  g.images = images;
  if (images.totals) g.images.totals = g.epilogue.totals;
  correlate(call, g, b, piece, call.shared);
}

}  // namespace ATENTO_ISA
}  // namespace atento
