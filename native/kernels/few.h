// Correlations of few pixels whose windows are all alike: the layers of an attention module, convolutions of maps of
// one pixel. Packing all weights beforehand would take a good part of their time, so weights are read where they lie,
// or packed a part at a time by the piece that multiplies it. A piece owns a group of panels of output channels and a
// block of the pixels; where weights are packed, which every block would do again, a chunk of the products instead: sums
// of several chunks are added in a fixed order.
#pragma once
#include "direct.h"

namespace atento {
namespace ATENTO_ISA {

constexpr int64_t kLeastFew = 16, kMostFew = 256;         // pixels
constexpr int64_t kPackedRows = 8 * 1024 / kPanel;        // of weights that stay in the first-level cache
constexpr int64_t kPartRows = 512;                        // of weights that are read where they lie, at most
constexpr int64_t kPartSpan = 128 * 1024;                 // floats from the first to the last of them: half a second-level cache
constexpr int64_t kLeastFetching = 64 * 1024 * 1024;      // products of a record that fetches what later ones need
constexpr int64_t kFinished = 4 * kPixels;                // pixels of a block whose chunks are added
constexpr int64_t kLeastBlock = 32;                       // pixels
constexpr int64_t kFewPieces = 4;                         // wanted at least; more read more, and add more

INLINE bool few_pays(const Correlation& g) {
  const int64_t pixels = g.N * g.GH * g.GW;
  if (pixels < kLeastFew || pixels > kMostFew) return false;
  const Segment h = segment(0, g.GH, g.step_h, g.origin_h, g.TH, g.SourceH);
  const Segment w = segment(0, g.GW, g.step_w, g.origin_w, g.TW, g.SourceW);
  return h.end == g.GH && w.end == g.GW && h.taps > 0 && w.taps > 0;
}

struct FewCut {
  int64_t pixels, panels, groups;            // pieces: groups of panels × blocks or chunks
  int64_t taps_h, taps_w, first_h, first_w;  // of the window
  int64_t cuts;                              // parts of a tap's channels
  int64_t chunks;                            // of the parts
  int64_t blocks;                            // of the pixels
  int64_t parts() const { return taps_h * taps_w * cuts; }
};

// Rows a page apart come in time four lines at once.
INLINE bool packs_few(const Correlation& g) {
  return g.taps.transposed || g.Co % L != 0 || (g.Co >= kPageFloats && kPanel < 4 * kLine);
}

INLINE FewCut cut_few(const Correlation& g) {
  const Segment h = segment(0, g.GH, g.step_h, g.origin_h, g.TH, g.SourceH);
  const Segment w = segment(0, g.GW, g.step_w, g.origin_w, g.TW, g.SourceW);
  const bool packs = packs_few(g);
  const int64_t rows = packs ? kPackedRows : max(kPackedRows, min(kPartRows, kPartSpan / g.Co));
  FewCut f{g.N * g.GH * g.GW, panels_of(g), 1, h.taps, w.taps, h.first, w.first, ceil_div(g.C, rows), 1, 1};
  f.groups = min(f.panels, kConvPieces);
  const int64_t wanted = max(1, kFewPieces / f.groups);
  if (!packs) f.blocks = max(1, min(f.pixels / kLeastBlock, wanted));
  if (f.blocks == 1) f.chunks = min(f.parts(), wanted);
  return f;
}

INLINE Blocks whole(const Correlation& g) { return {g.GH, g.N, 1, 1, 1}; }

// Chunks are added in blocks of pixels, panel by panel.
INLINE Way few_way(const Correlation& g) {
  const FewCut f = cut_few(g);
  const int64_t local = pixels_workspace(g, whole(g)) + kPackedRows * kPanel + f.pixels * kPanel;
  const int fetches = f.pixels * f.taps_h * f.taps_w * g.C * g.Co >= kLeastFetching ? 0 : -1;
  const int64_t pieces = f.groups * f.blocks * f.chunks;
  if (f.chunks == 1) return {0, local, f.blocks, pieces, 0, false, fetches};
  const int64_t blocks = ceil_div(f.pixels, kFinished);
  return {f.chunks * f.pixels * round_up(g.Co, L), local, blocks, pieces, f.panels * blocks, false, fetches};
}

// What a piece owns.
struct FewShare {
  Range group, pixels, parts;  // panels, and pixels, and parts of their products
  int64_t block, chunk;
};

INLINE FewShare few_share(const FewCut& f, int64_t piece) {
  const int64_t of_group = f.blocks * f.chunks, block = piece % of_group / f.chunks, chunk = piece % f.chunks;
  return {share(f.panels, static_cast<int>(f.groups), static_cast<int>(piece / of_group)),
          share(f.pixels, static_cast<int>(f.blocks), static_cast<int>(block)),
          share(f.parts(), static_cast<int>(f.chunks), static_cast<int>(chunk)), block, chunk};
}

// Part `index` of the panel that begins at channel c.
INLINE Part few_part(const Correlation& g, const FewCut& f, int64_t index, int64_t c) {
  const int64_t tap = index / f.cuts;
  const Range k = share(g.C, static_cast<int>(f.cuts), static_cast<int>(index % f.cuts));
  return {f.first_h + tap / f.taps_w, f.first_w + tap % f.taps_w, k, c, panel_width(g.Co, c, kPanel)};
}

// Of some pixels one part after the other of the panel that begins at channel c; the last one finishes the results where
// they are not those of a chunk. Meanwhile the weights of the next part are fetched, in the end those of `after`.
INLINE void few_products(const Correlation& g, const FewCut& f, const Pixels& pixels, Range block, int64_t c, Range parts,
                         bool first, bool finishes, float* packed, float* sums, const Place& after, Soon& soon) {
  const int64_t width = panel_width(g.Co, c, kPanel), channels = min(width, g.Co - c);
  const int64_t pitch = f.parts() > 1 ? width : 0;  // of pixels; finished tile by tile, they need one place
  const bool packs = packs_few(g);
  const auto part = [&](int64_t index) { return few_part(g, f, index, c); };
  const int64_t tiles = ceil_div(block.end - block.begin, kPixels);
  Ahead ahead;
  for (int64_t index = parts.begin; index < parts.end; ++index) {
    const Part p = part(index);
    const bool last = index + 1 == parts.end;
    const float* source = g.source + ((p.t - f.first_h) * g.SourceW + p.u - f.first_w) * g.C + p.k.begin;
    const float* weights = packs ? packed : place_of(g, p).at;
    if (packs) pack_part(g, p, packed);
    const Place next = last ? after : place_of(g, part(index + 1));
    const int64_t rows = ceil_div(next.rows, tiles);  // of the next part, fetched with a tile
    int64_t row = 0;
    for_tiles(block, [&](int64_t pixel, int64_t count) {
      ahead.count = 0;
      if (last && finishes) add_places(g.epilogue, pixels.to + pixel, count, c, ahead);
      const int64_t beside = pixel + count, more = first ? min(block.end - beside, kPixels) : 0;  // of the next tile
      for (int64_t k = 0; k < p.k.end - p.k.begin && more > 0; k += kAhead)
        ahead.add_pixels(source + k, pixels.from + beside, more);
      const int64_t n = min(rows, next.rows - row);
      for (int64_t column = 0; column < next.length; column += kAhead)
        ahead.add_rows(next.at + row * g.taps.line + column, g.taps.line, n);
      row += n;
      soon.add_to(ahead);
      float* tile = sums + pixel * pitch;
      const float* before = index > parts.begin ? tile : nullptr;
      const int64_t* to = pixels.to + pixel;
      const bool done = last && finishes, at_once = done && stores_at_once(g.epilogue, width, channels);
      tile_of<true>(count, width / L)(
          1, p.k.end - p.k.begin, 0, source, pixels.from + pixel, weights, 0, ahead, packs ? width : g.taps.line,
          at_once ? Results{g.epilogue.target + c, to, before, kDense.at[width / L]} : dense(tile, width / L, before));
      if (done && !at_once) g.epilogue.finish(g.epilogue, tile, width, to, count, c, channels);
    });
  }
}

// The totals of `e` are those of the first block.
static void few_piece(const Call& call, int phase, int64_t piece, Correlation g, const Epilogue& e) {
  const FewCut f = cut_few(g);
  set_source(g, call);
  int64_t* from = reinterpret_cast<int64_t*>(call.local);  // of the sources, then of the targets
  if (call.first) pixels_of(g, whole(g), 0, call.local);
  const Pixels pixels{from, from + f.pixels, nullptr, nullptr};
  const int64_t chunk_floats = f.pixels * round_up(g.Co, L);
  if (phase == 0) {
    const auto [group, block, parts, block_index, chunk] = few_share(f, piece);
    float* packed = call.local + pixels_workspace(g, whole(g));
    const bool finishes = f.chunks == 1;
    Place next_piece{};
    if (piece + 1 < f.groups * f.blocks * f.chunks) {
      const FewShare next = few_share(f, piece + 1);
      next_piece = place_of(g, few_part(g, f, next.parts.begin, next.group.begin * kPanel));
    }
    g.epilogue = finishes ? of_block(e, block_index) : e;
    if (finishes) clear_totals(g.epilogue, group.begin * kPanel, min(g.Co, group.end * kPanel));
    Soon soon(call, (group.end - group.begin) * (parts.end - parts.begin) * ceil_div(block.end - block.begin, kPixels));
    for (int64_t panel = group.begin, c = panel * kPanel; panel < group.end; ++panel, c += kPanel) {
      float* sums = finishes ? packed + kPackedRows * kPanel : call.shared + chunk * chunk_floats + c * f.pixels;
      const Place after = panel + 1 < group.end ? place_of(g, few_part(g, f, parts.begin, c + kPanel)) : next_piece;
      few_products(g, f, pixels, block, c, parts, panel == group.begin, finishes, packed, sums, after, soon);
    }
    return;
  }
  const int64_t blocks = ceil_div(f.pixels, kFinished), block = piece % blocks;
  const int64_t c = piece / blocks * kPanel, width = panel_width(g.Co, c, kPanel), channels = min(width, g.Co - c);
  const Epilogue own = of_block(e, block);
  clear_totals(own, c, c + channels);
  for_tiles({block * kFinished, min(f.pixels, (block + 1) * kFinished)}, [&](int64_t pixel, int64_t count) {
    float* tile = call.shared + c * f.pixels + pixel * width;
    for (int64_t chunk = 1; chunk < f.chunks; ++chunk)
      for (int64_t i = 0; i < count * width; i += L) store(tile + i, load(tile + i) + load(tile + chunk * chunk_floats + i));
    own.finish(own, tile, width, pixels.to + pixel, count, c, channels);
  });
}

}  // namespace ATENTO_ISA
}  // namespace atento
