// Weight gradient: x [N,IH,IW,IC], dy [N,OH,OW,OC] → dw [KH,KW,IC,OC]. x may be given as what batch normalisation (and
// ReLU) has still to be applied to: that happens while it is copied. Input channels are broadcast, output
// gradients are vectors, the reduction goes over pixels. A piece owns a chunk of the pixels, a group of output
// channels, a part of the input channels and a group of kernel rows; sums of several chunks are added in a fixed order.
// Of few channels, all taps of a kernel row are met as channels of one tap: they lie side by side in rows of x.
#pragma once
#include "direct.h"

namespace atento {
namespace ATENTO_ISA {

constexpr int64_t kGradPixels = 128;              // of a block at most: a panel of dy stays in the first-level cache
constexpr int64_t kGradBlockFloats = 64 * 1024;   // of x in a block at most
constexpr int64_t kGradPieces = 8;                // wanted at least, so that threads finish together
constexpr int64_t kGradPartials = 4 * 1024 * 1024;  // floats of the sums of all chunks at most

struct GradCut {
  int64_t panels;                          // of NR output channels
  int64_t chunks, groups, parts, kernel_rows;  // pieces: chunks × groups of panels × parts of input channels × …
  int64_t rows, images, per_image, blocks; // blocks of pixels
  int64_t panel_floats;                    // sums of one panel: KH·KW·IC·NR
  int64_t IC, KW;                          // input channels and taps of a kernel row, as tiles meet them
  bool merged(const ConvDims& d) const { return KW < d.KW; }
};

INLINE bool merges_taps(const ConvDims& d) { return d.KW > 1 && d.IC <= GR / 2 && d.OW >= d.KW; }

INLINE int64_t grad_kernel_rows(const ConvDims& d, const GradCut& g) { return d.KH / g.kernel_rows; }

INLINE int64_t pieces_of(const GradCut& g) { return g.chunks * g.groups * g.parts * g.kernel_rows; }
INLINE int64_t grad_channels(const GradCut& g) { return ceil_div(ceil_div(g.IC, kLine), g.parts) * kLine; }

// Blocks of as many pixels as fit.
INLINE void cut_pixels(const ConvDims& d, GradCut& g) {
  const int64_t pixels = d.OH * d.OW;
  const int64_t pixel_floats = max(1, d.SH * d.SW * min(d.IC, grad_channels(g)));
  const int64_t fit = max(16, min(kGradPixels, kGradBlockFloats / pixel_floats));
  if (pixels <= fit) {
    g.images = min(d.N, fit / pixels);
    g.rows = d.OH;
    g.per_image = 1;
    g.blocks = ceil_div(d.N, g.images);
  } else {
    g.images = 1;
    g.rows = max(1, min(d.OH, fit / d.OW));
    g.per_image = ceil_div(d.OH, g.rows);
    g.blocks = d.N * g.per_image;
  }
  g.blocks *= d.tensors;
}

// Chooses what moves the fewest floats: groups read x again, parts dy, groups of kernel rows both; chunks write sums of
// their own, and each further block comes back to them.
INLINE GradCut grad_cut(const ConvDims& d) {
  GradCut g{}, best{};
  g.panels = ceil_div(d.OC, NR);
  g.panel_floats = weights(d) / d.OC * NR;
  g.KW = merges_taps(d) ? 1 : d.KW;
  g.IC = d.KW / g.KW * d.IC;
  int64_t least = INT64_MAX, most = 0;
  for (g.parts = 1; g.parts <= ceil_div(g.IC, kLine); g.parts *= 2) {
    cut_pixels(d, g);
    for (g.kernel_rows = 1; g.kernel_rows <= d.KH; g.kernel_rows += max(1, d.KH - 1))
      for (g.groups = 1; g.groups <= g.panels; g.groups *= 2)
        for (g.chunks = 1; g.chunks <= min(g.blocks, kGradPieces); g.chunks *= 2) {
          if (g.chunks * g.panels * g.panel_floats > kGradPartials && g.chunks > 1) continue;
          const int64_t read = d.tensors * d.N * (image_x(d) * g.groups + image_y(d) * g.parts) * g.kernel_rows;
          const int64_t sums = (g.chunks > 1 ? 3 * g.chunks : 0) + 2 * (ceil_div(g.blocks, g.chunks) - 1);
          const int64_t cost = read + sums * weights(d);
          const int64_t enough = min(pieces_of(g), kGradPieces);
          if (enough < most || (enough == most && cost >= least)) continue;
          most = enough;
          least = cost;
          best = g;
        }
  }
  return best;
}

constexpr int64_t kMostPanels = 8, kMostTiles = 64;  // that meet what is read where it lies

// Whether rows of a tensor are better read where they lie: few meet them, and they do not fight for places of the caches.
INLINE bool stays(int64_t pitch, int64_t met, int64_t most) { return pitch < kPageFloats && met <= most; }

constexpr int64_t kPixelsBetween = 32;  // fetches of what the next block is made of

// Where sums of one panel go, `stride` floats from one input channel to the next: the first block stores them, those
// after it add theirs.
struct Sums {
  float* out;
  int64_t stride;
  bool add;
};

// M input channels × NV vectors of output channels over `n` pixels, each with its place in x and in dy.
template <int M, int NV>
static void grad_tile(int64_t n, const int32_t* at_x, const int32_t* at_dy, const float* x, const float* dy, int64_t pitch,
                      Later& next, const Sums& sums) {
  V c[M][NV];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) c[i][v] = V{};
  for (int64_t begin = 0; begin < n; begin += kPixelsBetween) {
    next.fetch();
    const int64_t end = min(n, begin + kPixelsBetween);
    for (int64_t q = begin; q < end; ++q) {
      const float* a = x + at_x[q];
      const float* b = dy + at_dy[q] * pitch;
      V g[NV];
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) g[v] = load(b + v * L);
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i) {
        const V s = splat(a[i]);
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) c[i][v] += s * g[v];
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) {
      float* out = sums.out + i * sums.stride + v * L;
      store(out, sums.add ? load(out) + c[i][v] : c[i][v]);
    }
}

using GradTile = void (*)(int64_t, const int32_t*, const int32_t*, const float*, const float*, int64_t, Later&, const Sums&);

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

INLINE int64_t grad_pixels(const ConvDims& d, const GradCut& g) { return g.images * g.rows * d.OW; }

// Source rows [begin, end) that the grid rows [h0, h1) meet with taps [k0, k0 + taps).
INLINE Range source_rows(const ConvDims& d, int64_t h0, int64_t h1, int64_t k0, int64_t taps) {
  const int64_t begin = max(0, h0 * d.SH + k0 - d.PH);
  return {min(begin, d.IH), max(min(begin, d.IH), min(d.IH, (h1 - 1) * d.SH + k0 + taps - d.PH))};
}

// Source rows of a block, and the floats of one with the zeros beside it that merged taps meet.
INLINE int64_t block_rows(const ConvDims& d, const GradCut& g) {
  return g.images * min(d.IH, (g.rows - 1) * d.SH + grad_kernel_rows(d, g));
}
INLINE int64_t padded_row(const ConvDims& d) { return (d.IW + 2 * d.PW) * d.IC; }

// Floats from one line of channels of copied pixels, or one panel, to the next.
INLINE int64_t line_stride(int64_t pixels) { return odd_lines(pixels * kLine); }
INLINE int64_t panel_stride(int64_t pixels) { return odd_lines(pixels * NR); }

// Sums of few blocks go to dw itself. More of them would come back to rows a power of two apart, which fight for the
// same places of the caches: they have panels of their own.
INLINE bool writes_dw(const ConvDims& d, const GradCut& g) { return g.chunks == 1 && g.blocks <= 8 && d.OC % L == 0; }

INLINE Way direct_weight_grad(const ConvDims& d) {
  const GradCut g = grad_cut(d);
  const int64_t pixels = grad_pixels(d, g);
  const int64_t rows = block_rows(d, g), lines = grad_channels(g) / kLine;
  const int64_t source = g.merged(d) ? rows * padded_row(d) : lines * line_stride(rows * d.IW);
  const int64_t local =
      (2 * pixels + 2) * grad_kernel_rows(d, g) * g.KW + ceil_div(g.panels, g.groups) * panel_stride(pixels) + source + kLine;
  const int64_t pieces = pieces_of(g);
  if (writes_dw(d, g)) return {0, local, 0, pieces, 0, false};
  return {g.chunks * g.panels * g.panel_floats, local, 0, pieces, d.KH * g.panels, false};
}

constexpr int64_t kPixelsAhead = 4;  // of those that are copied, fetched: a first block is cold, and pixels may lie a page apart

// Copies dy panel by panel, [pixel][NR] each, `stride` apart, for the panels of a group, zeros behind the last channel.
INLINE void pack_gradient(const float* dy, const ConvDims& d, int64_t n0, int64_t n1, int64_t h0, int64_t h1, Range panels,
                          int64_t stride, float* packed) {
  const int64_t full = min(panels.end, d.OC / NR) - panels.begin;
  const int64_t rest = min(d.OC, panels.end * NR) - (panels.begin + full) * NR, width = round_up(rest, L);
  for (int64_t n = n0, q = 0; n < n1; ++n) {
    const float* from = dy + (n * d.OH + h0) * d.OW * d.OC + panels.begin * NR;
    for (int64_t end = q + (h1 - h0) * d.OW; q < end; ++q, from += d.OC) {
      float* to = packed + q * NR;
      for (int64_t j = 0; j < full; ++j, to += stride) {
        for (int64_t v = 0; v < NR; v += kLine) __builtin_prefetch(from + kPixelsAhead * d.OC + j * NR + v);
        store(to, load(from + j * NR));
        store(to + L, load(from + j * NR + L));
      }
      if (rest == 0) continue;
      float* last = packed + full * stride + q * width;
      copy(last, from + full * NR, rest);
      clear(last + rest, width - rest);
    }
  }
}

constexpr int kLinesTogether = L == 16 ? 4 : 1;  // of channels, whose norm stays in registers

// `lines` lines of channels from c on, of all pixels of some rows.
template <int lines, bool norm, bool relu>
INLINE void pack_lines(const float* x, const Source& source, const ConvDims& d, int64_t n0, int64_t n1, Range rows, int64_t c,
                       int64_t stride, float* packed) {
  constexpr int vectors = lines * kLine / L;
  V mean[vectors]{}, rate[vectors]{}, beta[vectors]{};
#pragma GCC unroll 4
  for (int v = 0; v < vectors && norm; ++v)
    mean[v] = load(source.mean + c + v * L), rate[v] = load(source.rate + c + v * L), beta[v] = load(source.beta + c + v * L);
  for (int64_t n = n0; n < n1; ++n) {
    const float* from = x + n * image_x(d) + rows.begin * d.IW * d.IC + c;
    for (int64_t s = rows.begin * d.IW; s < rows.end * d.IW; ++s, from += d.IC, packed += kLine) {
#pragma GCC unroll 4
      for (int line = 0; line < lines; ++line) __builtin_prefetch(from + kPixelsAhead * d.IC + line * kLine);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        const V value = load(from + v * L);
        store(packed + v * L / kLine * stride + v * L % kLine, norm ? normalized(value, mean[v], rate[v], beta[v], relu) : value);
      }
    }
  }
}

// Copies some channels of source rows line by line, [pixel][16] each, `stride` apart, so that pixels a power of two apart
// do not fight for the same places of the cache.
template <bool norm, bool relu>
static void pack_source(const float* x, const Source& source, const ConvDims& d, int64_t n0, int64_t n1, Range rows,
                        Range channels, int64_t stride, float* packed) {
  int64_t c = channels.begin;
  for (; c + kLinesTogether * kLine <= channels.end; c += kLinesTogether * kLine, packed += kLinesTogether * stride)
    pack_lines<kLinesTogether, norm, relu>(x, source, d, n0, n1, rows, c, stride, packed);
  for (; c + kLine <= channels.end; c += kLine, packed += stride)
    pack_lines<1, norm, relu>(x, source, d, n0, n1, rows, c, stride, packed);
  if (c == channels.end) return;
  for (int64_t n = n0; n < n1; ++n)
    for (int64_t s = rows.begin * d.IW; s < rows.end * d.IW; ++s, packed += kLine)
      for (int64_t i = 0; c + i < channels.end; ++i) packed[i] = source_value<float>(source, x + n * image_x(d) + s * d.IC, c + i);
}

// Copies source rows one behind the other, zeros on either side.
INLINE void pad_source(const float* x, const Source& source, const ConvDims& d, int64_t n0, int64_t n1, Range rows, float* padded) {
  for (int64_t n = n0; n < n1; ++n)
    for (int64_t h = rows.begin; h < rows.end; ++h, padded += padded_row(d)) {
      const float* from = x + n * image_x(d) + h * d.IW * d.IC;
      float* to = padded + d.PW * d.IC;
      clear(padded, d.PW * d.IC);
      if (source.rate)
        for (int64_t w = 0; w < d.IW; ++w)
          for (int64_t c = 0; c < d.IC; ++c) to[w * d.IC + c] = source_value<float>(source, from + w * d.IC, c);
      else
        copy(to, from, d.IW * d.IC);
      clear(to + d.IW * d.IC, d.PW * d.IC);
    }
}

// Where tiles meet the channels of x of a block, and floats from a row, a pixel and a line of channels to the next.
struct Met {
  const float* begin;
  int64_t row, pixel, line;
};

// Of a pair, the second x and dy are operands from `other` on.
static void grad_piece(const Call& call, const ConvDims& d, const GradCut& g, int piece, const Source& source, const float* dy,
                       int other, float* dw) {
  const int64_t chunk = piece / (g.groups * g.parts * g.kernel_rows), group = piece / (g.parts * g.kernel_rows) % g.groups;
  const int64_t taps = grad_kernel_rows(d, g), k0 = piece % g.kernel_rows * taps;
  const Range lines = share(ceil_div(g.IC, kLine), static_cast<int>(g.parts), static_cast<int>(piece / g.kernel_rows % g.parts));
  const Range channels{lines.begin * kLine, min(g.IC, lines.end * kLine)};
  const Range panels = share(g.panels, static_cast<int>(g.groups), static_cast<int>(group));
  const Range blocks = share(g.blocks, static_cast<int>(g.chunks), static_cast<int>(chunk));
  const int64_t most = grad_pixels(d, g), tap_floats = g.IC * NR;
  const int64_t tiles = taps * g.KW * ceil_div(channels.end - channels.begin, GR);  // of a panel
  const bool merged = g.merged(d), pixelwise = is_pixelwise(d);

  int64_t* counts = reinterpret_cast<int64_t*>(call.local);
  int32_t* at_x = reinterpret_cast<int32_t*>(counts + taps * g.KW);
  int32_t* at_dy = at_x + most * taps * g.KW;
  float* gradients = call.local + round_up((2 * most + 2) * taps * g.KW, kLine);
  float* packed = gradients + (panels.end - panels.begin) * panel_stride(most);
  const bool direct = writes_dw(d, g);
  float* partial = call.shared + chunk * g.panels * g.panel_floats;

  struct Block {
    const float *x, *dy;
    int64_t n0, n1, h0, h1;
    Range rows;               // of x
    bool x_dense, dy_dense;   // whether its rows lie one behind the other
  };
  const int64_t each = g.blocks / d.tensors;
  const auto block = [&](int64_t of_all) {
    const int64_t index = of_all % each;
    const bool second = of_all >= each;
    const int64_t n0 = g.per_image > 1 ? index / g.per_image : index * g.images;
    const int64_t n1 = g.per_image > 1 ? n0 + 1 : min(d.N, n0 + g.images);
    const int64_t h0 = g.per_image > 1 ? index % g.per_image * g.rows : 0;
    const int64_t h1 = min(d.OH, h0 + g.rows);
    const Range rows = source_rows(d, h0, h1, k0, taps);
    const bool single = n1 - n0 == 1, x_dense = single || rows.end - rows.begin == d.IH, dy_dense = single || h1 - h0 == d.OH;
    const float *x = call.operands[second ? other : 0], *gradient = second ? call.operands[other + 1] : dy;
    return Block{x, gradient, n0, n1, h0, h1, rows, x_dense, dy_dense};
  };
  const auto fetched = [&](int64_t index) {
    Later later;
    if (index == blocks.end) return later;
    const Block b = block(index);
    const float* x = b.x + (b.n0 * d.IH + b.rows.begin) * d.IW * d.IC;
    const int64_t images = b.n1 - b.n0, pixels = (b.rows.end - b.rows.begin) * d.IW;
    if (merged || !b.x_dense) later.add({x, images, pixels * d.IC, image_x(d), 0, 0});
    else later.add({x + channels.begin, images * pixels, channels.end - channels.begin, d.IC, 0, 0});
    later.add({b.dy + (b.n0 * d.OH + b.h0) * d.OW * d.OC + panels.begin * NR, (b.n1 - b.n0) * (b.h1 - b.h0) * d.OW,
               min(d.OC, panels.end * NR) - panels.begin * NR, d.OC, 0, 0});
    later.divide((panels.end - panels.begin) * tiles * ceil_div(most, kPixelsBetween));
    return later;
  };

  for (int64_t index = blocks.begin; index < blocks.end; ++index) {
    const auto [x, gradient, n0, n1, h0, h1, rows, x_dense, dy_dense] = block(index);
    const int64_t height = rows.end - rows.begin, pixels = (n1 - n0) * height * d.IW;
    Later next = fetched(index + 1);
    const bool x_lies = taps * d.KW == 1 && x_dense && !source.rate && stays(d.IC, panels.end - panels.begin, kMostPanels);
    const bool dy_lies = dy_dense && d.OC % L == 0 && stays(d.OC, tiles, kMostTiles);
    Met met;
    if (merged) {
      pad_source(x, source, d, n0, n1, rows, packed);
      met = {packed + channels.begin, padded_row(d), d.IC, kLine};
    } else if (x_lies) {
      met = {x + (n0 * d.IH + rows.begin) * d.IW * d.IC + channels.begin, d.IW * d.IC, d.IC, kLine};
    } else {
      const auto pack = source.rate ? source.relu ? pack_source<true, true> : pack_source<true, false> : pack_source<false, false>;
      pack(x, source, d, n0, n1, rows, channels, line_stride(pixels), packed);
      met = {packed, d.IW * kLine, kLine, line_stride(pixels)};
    }
    if (!dy_lies) pack_gradient(gradient, d, n0, n1, h0, h1, panels, panel_stride(most), gradients);
    const float* dy_begin = gradient + (n0 * d.OH + h0) * d.OW * d.OC;

    // for each tap the pixels it meets: those whose window it leaves the image in are not there, but for zeros of merged taps
    if (pixelwise) {
      counts[0] = pixels;
      for (int64_t q = 0; q < pixels; ++q) at_x[q] = static_cast<int32_t>(q * met.pixel), at_dy[q] = static_cast<int32_t>(q);
    }
    for (int64_t t = 0; t < taps * g.KW && !pixelwise; ++t) {
      const int64_t first_row = k0 + t / g.KW - d.PH, first_column = t % g.KW - (merged ? 0 : d.PW);
      int64_t count = 0;
      for (int64_t n = n0; n < n1; ++n)
        for (int64_t h = h0; h < h1; ++h) {
          const int64_t row = h * d.SH + first_row;
          if (row < 0 || row >= d.IH) continue;
          for (int64_t w = 0; w < d.OW; ++w) {
            const int64_t column = w * d.SW + first_column;
            if (!merged && (column < 0 || column >= d.IW)) continue;
            at_x[t * most + count] = static_cast<int32_t>(((n - n0) * height + row - rows.begin) * met.row + column * met.pixel);
            at_dy[t * most + count++] = static_cast<int32_t>(((n - n0) * (h1 - h0) + h - h0) * d.OW + w);
          }
        }
      counts[t] = count;
    }

    for (int64_t j = panels.begin; j < panels.end; ++j) {
      const int64_t width = panel_width(d.OC, j * NR, NR);
      const float* panel = dy_lies ? dy_begin + j * NR : gradients + (j - panels.begin) * panel_stride(most);
      const int64_t pitch = dy_lies ? d.OC : width;
      for (int64_t t = 0; t < taps * g.KW; ++t) {
        const int64_t tap = k0 * g.KW + t;
        Sums sums{direct ? dw + (tap * g.IC + channels.begin) * d.OC + j * NR
                         : partial + j * g.panel_floats + tap * tap_floats + channels.begin * width,
                  direct ? d.OC : width, index > blocks.begin};
        if (counts[t] == 0) {
          for (int64_t c = channels.begin; c < channels.end && !sums.add; ++c, sums.out += sums.stride) clear(sums.out, width);
          continue;
        }
        const float* line = met.begin;
        for (int64_t c = channels.begin; c < channels.end; line += met.line)
          for (const int64_t first = c, end = min(channels.end, c + kLine); c < end;) {
            const int64_t m = ceil_div(end - c, ceil_div(end - c, GR));
            const GradTile f = width == NR ? grad_tile_of<2>(m) : grad_tile_of<1>(m);
            f(counts[t], at_x + t * most, at_dy + t * most, line + c - first, panel, pitch, next, sums);
            sums.out += m * sums.stride;
            c += m;
          }
      }
    }
  }
}

INLINE void direct_weight_grad_piece(const Call& call, int phase, int piece, const ConvDims& d, const Source& source,
                                     const float* dy, int other, float* dw) {
  const GradCut g = grad_cut(d);
  if (phase == 0) return grad_piece(call, d, g, piece, source, dy, other, dw);
  const int64_t row = piece / g.panels, c0 = piece % g.panels * NR;
  const int64_t width = panel_width(d.OC, c0, NR), channels = min(width, d.OC - c0);
  for (int64_t tap = row * g.KW; tap < (row + 1) * g.KW; ++tap) {
    const float* sums = call.shared + piece % g.panels * g.panel_floats + tap * g.IC * NR;
    float* out = dw + tap * g.IC * d.OC + c0;
    for (int64_t m = 0; m < g.IC; ++m, out += d.OC, sums += width) {
      const auto sum = [&](int64_t c, auto t) {
        auto total = get(sums + c, t);
        for (int64_t chunk = 1; chunk < g.chunks; ++chunk) total += get(sums + chunk * g.panels * g.panel_floats + c, t);
        put(out + c, total);
      };
      int64_t c = 0;
      for (; c + L <= channels; c += L) sum(c, V{});
      for (; c < channels; ++c) sum(c, 0.0f);
    }
  }
}

}  // namespace ATENTO_ISA
}  // namespace atento
