// Correlations: what they read, their weights, and how their results are cut into pieces.
#pragma once
#include "epilogue.h"
#include "image_sums.h"

namespace atento {
namespace ATENTO_ISA {

struct ConvDims {
  int64_t N, IC, OC, IH, IW, OH, OW, KH, KW, SH, SW, PH, PW;
  int64_t tensors;  // of N images each that one kernel meets: 1, or a pair
};

constexpr int kPair = 64;  // bit of the parameters of a convolution and of its gradients

INLINE ConvDims conv_dims(const double* p) {
  int64_t v[13];
  for (int i = 0; i < 13; ++i) v[i] = static_cast<int64_t>(p[i]);
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], static_cast<int>(p[13]) & kPair ? 2 : 1};
}

INLINE bool conv_dims_fit(const ConvDims& d) {
  return d.N > 0 && d.IC > 0 && d.OC > 0 && d.OH > 0 && d.OW > 0 && d.KH > 0 && d.KW > 0 && d.SH > 0 && d.SW > 0 &&
         d.PH >= 0 && d.PW >= 0 && d.OH == (d.IH + 2 * d.PH - d.KH) / d.SH + 1 &&
         d.OW == (d.IW + 2 * d.PW - d.KW) / d.SW + 1;
}

// Whether a result is made of the same pixel alone.
INLINE bool is_pixelwise(const ConvDims& d) {
  return d.KH == 1 && d.KW == 1 && d.SH == 1 && d.SW == 1 && d.PH == 0 && d.PW == 0;
}

// Pairs are of maps of one pixel, as an attention module pools them, without padding and with nothing more to do.
// Kernels of one tap go by no other way than few.h and direct.h, which know of pairs.
INLINE bool pair_fits(const ConvDims& d, bool more) {
  const bool single = d.IH * d.IW == 1 && d.OH * d.OW == 1 && d.KH * d.KW == 1;
  return d.tensors == 1 || (!more && single && d.PH == 0 && d.PW == 0);
}

INLINE int64_t image_x(const ConvDims& d) { return d.IH * d.IW * d.IC; }
INLINE int64_t image_y(const ConvDims& d) { return d.OH * d.OW * d.OC; }
INLINE int64_t weights(const ConvDims& d) { return d.KH * d.KW * d.IC * d.OC; }

// Where the taps of a correlation lie in a kernel [KH,KW,IC,OC].
struct Taps {
  const float* kernel;
  int64_t line;              // OC: floats from one row of the kernel to the next
  int64_t tap;               // IC·OC
  int64_t first, down, right;  // the kernel's tap at (0, 0); steps to the tap below it, and beside it
  bool transposed;           // rows are channels of the target
};

// Images from `image` on lie in other tensors than those before them, so many floats further on.
struct Second {
  int64_t image, source, target;
};

// A correlation as the block core sees it. The forward pass is one; the input gradient is SH·SW of them, one for
// each residue of the output position, so that no inserted zero is ever multiplied.
struct Correlation {
  int64_t N;
  int64_t SourceH, SourceW, C;        // source [N,SourceH,SourceW,C]
  int64_t GH, GW;                     // grid of results in one image
  int64_t step_h, step_w;             // source positions between neighbours of the grid
  int64_t origin_h, origin_w;         // source position of tap 0 at grid position 0; outside is zero
  int64_t TH, TW;                     // taps
  int64_t Co;
  int64_t image, row, pixel;          // strides of the target grid
  Taps taps;
  const float* source;
  Epilogue epilogue;
  ImageSums images;                   // of results, where blocks are whole images; no pixels: none
  Second second;                      // of a pair
};

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

// How a convolution or an input gradient is done: what it needs, its pieces, and in how many blocks an epilogue's
// sums come.
struct Way {
  int64_t shared, local, blocks;
  int64_t first, second;  // pieces of the two phases: most prepare weights first
  bool prepares;          // the first does nothing else, and that in the same way for any number of images
  int multiplies = -1;    // the phase that does, and fetches meanwhile what later records need
};

// How a correlation is cut: into blocks of whole images, or of rows of one image.
struct Blocks {
  int64_t rows, images;   // of one block
  int64_t per_image;      // blocks of one image when it is cut by rows
  int64_t count;
  int64_t groups;         // of output channels, so that there are pieces enough
  int64_t pieces() const { return count * groups; }
};

constexpr int64_t kBlockFloats = 64 * 1024;  // 256 KiB: half of a small second-level cache
constexpr int64_t kConvPieces = 8;           // wanted at least, so that threads finish together

INLINE int64_t panels_of(const Correlation& g) { return ceil_div(g.Co, kPanel); }

// Blocks whose source stays in the second-level cache while all output channels are computed.
INLINE Blocks cut(const Correlation& g) {
  Blocks b{};
  const int64_t line = g.SourceW * g.C, whole = g.SourceH * line;
  if (whole <= kBlockFloats) {
    b.images = ceil_div(g.N, ceil_div(g.N, max(1, kBlockFloats / whole)));
    b.rows = g.GH;
    b.per_image = 1;
    b.count = ceil_div(g.N, b.images);
  } else {
    const int64_t fit = max(1, (kBlockFloats / line - g.TH) / g.step_h + 1);
    b.rows = ceil_div(g.GH, ceil_div(g.GH, min(fit, g.GH)));
    b.per_image = ceil_div(g.GH, b.rows);
    b.images = 1;
    b.count = g.N * b.per_image;
  }
  b.groups = max(1, min(panels_of(g), kConvPieces / b.count));
  return b;
}

INLINE int64_t block_pixels(const Correlation& g, const Blocks& b) { return b.images * b.rows * g.GW; }

// Runs of rows, or of columns, that lose the same taps (see Segment): one for each tap lost, and the middle.
INLINE int64_t most_segments(int64_t positions, int64_t taps) { return min(positions, 2 * taps + 1); }

// Pixels of a block, one after the other, whose windows have the same taps.
struct Run {
  int64_t begin, end;
  int64_t taps_h, taps_w, first_h, first_w;  // of the window
};

// The pixels of a block, those of equal windows side by side: where each reads and writes.
struct Pixels {
  int64_t *from, *to;
  const Run *runs, *end;
};

// Floats of one thread's workspace that Pixels take.
INLINE int64_t pixels_workspace(const Correlation& g, const Blocks& b) {
  const int64_t heights = most_segments(b.rows, g.TH), widths = most_segments(g.GW, g.TW);
  return 2 * (2 * block_pixels(g, b) + 4 * (heights + widths) + 6 * heights * widths);
}

// Whether each result is made of the pixel at its own place, and both lie one behind the other.
INLINE bool is_pixelwise(const Correlation& g) {
  const bool same = g.SourceH == g.GH && g.SourceW == g.GW && g.step_h == 1 && g.step_w == 1 && g.origin_h == 0 && g.origin_w == 0;
  return same && g.TH == 1 && g.TW == 1 && g.row == g.GW * g.pixel && g.image == g.GH * g.row;
}

INLINE Pixels pixels_of(const Correlation& g, const Blocks& b, int64_t block, float* workspace) {
  const int64_t n0 = b.per_image > 1 ? block / b.per_image : block * b.images;
  const int64_t n1 = b.per_image > 1 ? n0 + 1 : min(g.N, n0 + b.images);
  const int64_t h0 = b.per_image > 1 ? block % b.per_image * b.rows : 0;
  const int64_t h1 = min(g.GH, h0 + b.rows);
  int64_t* from = reinterpret_cast<int64_t*>(workspace);
  int64_t* to = from + block_pixels(g, b);
  Segment* rows = reinterpret_cast<Segment*>(to + block_pixels(g, b));
  Segment* columns = rows + most_segments(b.rows, g.TH);
  Run* runs = reinterpret_cast<Run*>(columns + most_segments(g.GW, g.TW));
  const int64_t line = g.SourceW * g.C, source_image = g.SourceH * line;
  if (is_pixelwise(g)) {
    const int64_t first = (n0 * g.GH + h0) * g.GW, count = (n1 - n0) * (h1 - h0) * g.GW;
    const int64_t others = max(0, min(count, g.second.image * g.GH * g.GW - first));  // pixels of other tensors from here on
    for (int64_t q = 0; q < count; ++q) from[q] = (first + q) * g.C, to[q] = (first + q) * g.pixel;
    for (int64_t q = others; q < count; ++q) from[q] += g.second.source, to[q] += g.second.target;
    *runs = {0, count, 1, 1, 0, 0};
    return {from, to, runs, runs + 1};
  }

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
      for (int64_t n = n0; n < n1; ++n) {
        const bool other = n >= g.second.image;
        const int64_t source = n * source_image + other * g.second.source, target = n * g.image + other * g.second.target;
        for (int64_t h = rows[i].begin; h < rows[i].end; ++h)
          for (int64_t w = columns[j].begin; w < columns[j].end; ++w, ++q) {
            from[q] = source + (h * g.step_h + g.origin_h + rows[i].first) * line +
                      (w * g.step_w + g.origin_w + columns[j].first) * g.C;
            to[q] = target + h * g.row + w * g.pixel;
          }
      }
      *last++ = {begin, q, rows[i].taps, columns[j].taps, rows[i].first, columns[j].first};
    }
  return {from, to, runs, last};
}

// Calls f(first pixel, pixels) for the tiles of some pixels, which are as equal as they can be.
template <class F>
INLINE void for_tiles(Range pixels, F f) {
  const int64_t n = pixels.end - pixels.begin, tiles = ceil_div(n, kPixels);
  const int64_t least = n / tiles, larger = n % tiles;
  for (int64_t t = 0, pixel = pixels.begin; t < tiles; ++t) {
    const int64_t m = least + (t < larger);
    f(pixel, m);
    pixel += m;
  }
}

// Rows a page apart fight for one place of the first-level cache.
constexpr int64_t kPageFloats = 1024;

constexpr int64_t kRowsAhead = 16;  // of weights, fetched before they are packed

// from [depth][channels], `line` floats from row to row → to [depth][width]
INLINE void pack_rows(const float* from, int64_t line, int64_t channels, int64_t depth, int64_t width, float* to) {
  for (int64_t k = 0; k < depth; ++k, from += line, to += width) {
    for (int64_t v = 0; v < channels; v += 16) __builtin_prefetch(from + kRowsAhead * line + v);
    int64_t v = 0;
    for (; v + L <= channels; v += L) store(to + v, load(from + v));
    for (; v < width; ++v) to[v] = v < channels ? from[v] : 0;
  }
}

constexpr int64_t kPackAhead = 4 * kLine;  // floats of a row fetched before they are packed

// from [channels][depth], `line` floats from row to row → to [depth][width]; along the rows, for more of them would be
// fetched at a time than places of the first-level cache hold that are a page apart
static void pack_columns(const float* from, int64_t line, int64_t channels, int64_t depth, int64_t width, float* to) {
  for (int64_t v = 0; v < width; v += L, from += L * line, channels -= L)
    for (int64_t o = 0; o < depth; o += L) {
      float* block = to + o * width + v;
      if (L <= channels && o + L <= depth) {
        const int64_t soon = o + kPackAhead;
        if (o % kLine == 0 && (soon < depth || v + L < width)) {
          const float* next = soon < depth ? from + soon : from + L * line + soon - depth;
#pragma GCC unroll 16
          for (int i = 0; i < L; ++i) __builtin_prefetch(next + i * line);
        }
        V rows[L];
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) rows[i] = load(from + i * line + o);
        transpose(rows);
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) store(block + i * width, rows[i]);
        continue;
      }
      for (int64_t k = 0; k < min(L, depth - o); ++k)
        for (int64_t i = 0; i < L; ++i) block[k * width + i] = i < channels ? from[i * line + o + k] : 0;
    }
}

// Weights of tap (t, u) from channels `k` of the source to a panel of the target's.
struct Part {
  int64_t t, u;
  Range k;
  int64_t c, width;  // of the panel
};

// Where they lie: `rows` of `length` floats, `line` apart.
struct Place {
  const float* at;
  int64_t rows, length;
};

INLINE Place place_of(const Correlation& g, const Part& p) {
  const Taps& w = g.taps;
  const float* tap = w.kernel + (w.first + p.t * w.down + p.u * w.right) * w.tap;
  const int64_t channels = min(p.width, g.Co - p.c), depth = p.k.end - p.k.begin;
  if (w.transposed) return {tap + p.c * w.line + p.k.begin, channels, depth};
  return {tap + p.k.begin * w.line + p.c, depth, channels};
}

// → to [k][width], zeros behind the last channel
INLINE void pack_part(const Correlation& g, const Part& p, float* to) {
  const Place from = place_of(g, p);
  if (g.taps.transposed) pack_columns(from.at, g.taps.line, from.rows, from.length, p.width, to);
  else pack_rows(from.at, g.taps.line, from.length, from.rows, p.width, to);
}

}  // namespace ATENTO_ISA
}  // namespace atento
