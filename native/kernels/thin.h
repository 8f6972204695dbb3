// Convolutions of stride 1 between a few maps, as a spatial gate has them (7×7 from two maps to one): with so few
// channels the vectors run along the rows of the image. Each map is copied into a plane with its border of zeros.
#pragma once
#include "direct.h"

namespace atento {
namespace ATENTO_ISA {

constexpr int64_t kThinMaps = 8;    // products of input and output maps at most
constexpr int64_t kThinPieces = 16;  // of a weight gradient at most

INLINE bool thin_pays(const ConvDims& d) {
  return d.IC * d.OC <= kThinMaps && d.KH * d.KW > 1 && d.SH == 1 && d.SW == 1 && d.PH < d.KH && d.PW < d.KW;
}

// A correlation of planes: source [N,H,W,C] → target [N,GH,GW,Co], taps [TH,TW,C,Co], borders before the first pixel.
struct Thin {
  int64_t N, H, W, C, GH, GW, Co, TH, TW, top, left;
  // of a plane: rows long enough for whole vectors at any tap
  int64_t rows() const { return GH + TH - 1; }
  int64_t columns() const { return round_up(GW, GW <= L ? L : 2 * L) + TW - 1; }
  int64_t plane() const { return rows() * columns(); }
};

// Taps by which any of the results [first, last] meets one of `extent` pixels, the first of them behind `border` zeros.
INLINE Range meeting(int64_t first, int64_t last, int64_t border, int64_t extent, int64_t taps) {
  return {max(0, border - last), min(taps, extent + border - first)};
}

INLINE Thin thin_forward(const ConvDims& d) {
  return {d.N, d.IH, d.IW, d.IC, d.OH, d.OW, d.OC, d.KH, d.KW, d.PH, d.PW};
}
INLINE Thin thin_input_grad(const ConvDims& d) {
  return {d.N, d.OH, d.OW, d.OC, d.IH, d.IW, d.IC, d.KH, d.KW, d.KH - 1 - d.PH, d.KW - 1 - d.PW};
}

INLINE Way thin_way(const Thin& g) {
  return {g.TH * g.TW * g.C * g.Co, g.C * g.plane(), g.N, 1, g.N, true};
}

// Weights of the correlation, [TH,TW,C,Co]: as they are, or reversed with their channels exchanged.
INLINE void thin_weights(const Thin& g, const float* w, bool reversed, float* to) {
  const int64_t taps = g.TH * g.TW;
  for (int64_t t = 0; t < taps; ++t)
    for (int64_t c = 0; c < g.C; ++c)
      for (int64_t o = 0; o < g.Co; ++o)
        to[(t * g.C + c) * g.Co + o] = reversed ? w[((taps - 1 - t) * g.Co + o) * g.C + c] : w[(t * g.C + c) * g.Co + o];
}

// Maps of one image as planes.
INLINE void thin_planes(const Thin& g, const float* image, const Source& source, float* planes) {
  clear(planes, g.C * g.plane());
  for (int64_t c = 0; c < g.C; ++c)
    for (int64_t h = max(0, -g.top); h < min(g.H, g.rows() - g.top); ++h)
      for (int64_t w = 0; w < min(g.W, g.columns() - g.left); ++w)
        planes[c * g.plane() + (h + g.top) * g.columns() + w + g.left] = source_value<float>(source, image + (h * g.W + w) * g.C, c);
}

// R rows × NV vectors of results from (h, w) on, of one output map: [R][NV·L].
template <int R, int NV>
INLINE void thin_tile(const Thin& g, const float* planes, const float* weights, int64_t o, int64_t h, int64_t w, float* results) {
  V sum[R * NV] = {};
  const Range down = meeting(h, h + R - 1, g.top, g.H, g.TH);
  const Range right = meeting(w, min(w + NV * L, g.GW) - 1, g.left, g.W, g.TW);
  for (int64_t c = 0; c < g.C; ++c)
    for (int64_t i = down.begin; i < down.end; ++i)
      for (int64_t j = right.begin; j < right.end; ++j) {
        const V weight = splat(weights[((i * g.TW + j) * g.C + c) * g.Co + o]);
        const float* from = planes + c * g.plane() + (h + i) * g.columns() + w + j;
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
          for (int v = 0; v < NV; ++v) sum[r * NV + v] += weight * load(from + r * g.columns() + v * L);
      }
  for (int k = 0; k < R * NV; ++k) store(results + k * L, sum[k]);
}

// Stores n pixels of a single channel, with the statistics of it: here pixels make vectors.
INLINE void finish_single(const Epilogue& e, const float* results, int64_t first, int64_t n) {
  copy(e.target + first, results, n);
  const int64_t whole = n / L * L;
  const auto sum = [&](auto f) {
    V lanes{};
    float rest = 0;
    for (int64_t i = 0; i < whole; i += L) lanes += f(load(results + i), V{});
    for (int64_t i = whole; i < n; ++i) rest += f(results[i], 0.0f);
    return sum_across(lanes) + rest;
  };
  const float total = sum([](auto y, auto) { return y; }), centre = total / static_cast<float>(n);
  const float squares = sum([=](auto y, auto zero) { return (y - (centre - zero)) * (y - (centre - zero)); });
  e.totals[0] += total;
  e.totals[1] += squares + static_cast<double>(total) * total / static_cast<double>(n);
}

// Finishes results [n][width] of pixels side by side, whose first is `first`.
INLINE void finish_pixels(const Epilogue& e, const float* results, int64_t width, int64_t first, int64_t n, int64_t c,
                          int64_t channels) {
  if (stores_at_once(e, width, e.C)) return copy(e.target + first * e.C, results, n * width);
  if (e.C == 1 && e.finish == finish_tile<false, forward::statistics>) return finish_single(e, results, first, n);
  for (int64_t q = 0; q < n; q += kMostRows) {
    int64_t to[kMostRows];
    const int64_t m = min(kMostRows, n - q);
    for (int64_t k = 0; k < m; ++k) to[k] = (first + q + k) * e.C;
    e.finish(e, results + q * width, width, to, m, c, channels);
  }
}

// Results of some rows of an image, R rows × NV vectors of them at a time.
template <int R, int NV>
INLINE void thin_rows(const Thin& g, int64_t image, const float* planes, const float* weights, Range rows, const Epilogue& e) {
  constexpr int64_t width = NV * L;
  for (int64_t o = 0; o < g.Co; ++o)
    for (int64_t h = rows.begin; h < rows.end; h += R)
      for (int64_t w = 0; w < g.GW; w += width) {
        float results[R * width];
        thin_tile<R, NV>(g, planes, weights, o, h, w, results);
        for (int r = 0; r < R; ++r)
          finish_pixels(e, results + r * width, 1, (image * g.GH + h + r) * g.GW + w, min(width, g.GW - w), o, 1);
      }
}

// All results of one image.
static void thin_piece(const Call& call, int phase, int64_t image, const Thin& g, const float* source, const float* w,
                       bool reversed, const Epilogue& e) {
  if (phase == 0) return thin_weights(g, w, reversed, call.shared);
  thin_planes(g, source + image * g.H * g.W * g.C, {}, call.local);
  const Epilogue own = of_block(e, image);
  clear_totals(own, 0, g.Co);
  const auto rows = [&](auto height, auto vectors) {
    const int64_t whole = g.GH / height * height;
    thin_rows<height, vectors>(g, image, call.local, call.shared, {0, whole}, own);
    thin_rows<1, vectors>(g, image, call.local, call.shared, {whole, g.GH}, own);
  };
  if (g.GW <= L) rows(std::integral_constant<int, 4>{}, std::integral_constant<int, 1>{});
  else rows(std::integral_constant<int, 2>{}, std::integral_constant<int, 2>{});
}

// ---- weight gradient: sums over the images of a piece, added piece by piece

INLINE int64_t thin_pieces(const ConvDims& d) { return min(d.N, kThinPieces); }

INLINE Way thin_weight_grad(const ConvDims& d) {
  const Thin x = thin_forward(d);
  const int64_t line = round_up(d.OW, L);
  return {thin_pieces(d) * weights(d), d.IC * x.plane() + d.OC * d.OH * line + weights(d) * L, 0, thin_pieces(d), 1, false};
}

INLINE void thin_add_pieces(const float* sums, int64_t size, int64_t pieces, float* dw) {
  for (int64_t i = 0; i < size; ++i) {
    double sum = 0;
    for (int64_t k = 0; k < pieces; ++k) sum += sums[k * size + i];
    dw[i] = static_cast<float>(sum);
  }
}

static void thin_weight_grad_piece(const Call& call, int phase, int piece, const ConvDims& d, const Source& source,
                                   const float* dy, float* dw) {
  const int64_t size = weights(d);
  if (phase == 1) return thin_add_pieces(call.shared, size, thin_pieces(d), dw);
  const Thin g = thin_forward(d);
  const int64_t line = round_up(d.OW, L);
  float *planes = call.local, *gradients = planes + d.IC * g.plane(), *sums = gradients + d.OC * d.OH * line;
  clear(gradients, d.OC * d.OH * line);
  clear(sums, size * L);
  const Range images = share(d.N, static_cast<int>(thin_pieces(d)), piece);
  const Range right = meeting(0, d.OW - 1, g.left, g.W, g.TW);
  for (int64_t n = images.begin; n < images.end; ++n) {
    thin_planes(g, call.operands[0] + n * image_x(d), source, planes);
    for (int64_t h = 0; h < d.OH; ++h)
      for (int64_t w = 0; w < d.OW; ++w)
        for (int64_t o = 0; o < d.OC; ++o) gradients[(o * d.OH + h) * line + w] = dy[n * image_y(d) + (h * d.OW + w) * d.OC + o];
    for (int64_t i = 0; i < d.KH; ++i)
      for (int64_t j = right.begin; j < right.end; ++j)
        for (int64_t c = 0; c < d.IC; ++c)
          for (int64_t o = 0; o < d.OC; ++o) {
            float* total = sums + (((i * d.KW + j) * d.IC + c) * d.OC + o) * L;
            V sum = load(total);
            for (int64_t h = max(0, g.top - i); h < min(d.OH, g.H + g.top - i); ++h) {
              const float* x = planes + c * g.plane() + (h + i) * g.columns() + j;
              const float* r = gradients + (o * d.OH + h) * line;
              V row = V{};
              for (int64_t w = 0; w < line; w += L) row += load(x + w) * load(r + w);
              sum += row;  // whose products need not wait for those of the row before
            }
            store(total, sum);
          }
  }
  for (int64_t i = 0; i < size; ++i) call.shared[piece * size + i] = across(load(sums + i * L), [](V a, V b) { return a + b; })[0];
}

}  // namespace ATENTO_ISA
}  // namespace atento
