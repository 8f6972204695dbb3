// Convolution and its gradients with what goes before and after them, by whichever way the shape favours.
#pragma once
#include "direct_input_grad.h"
#include "direct_weight_grad.h"
#include "few.h"
#include "thin_small.h"
#include "winograd_weight_grad.h"

namespace atento {
namespace ATENTO_ISA {

// Parts of the shared workspace: what the way needs, totals of the blocks' sums, rates of each channel, sums of each
// pixel by group of channels.
struct Shared {
  int64_t totals, rates, pixels, floats;
};

INLINE Shared shared_parts(const Way& way, int64_t channels, bool sums, int64_t rates_each, int64_t pixels) {
  const int64_t totals = round_up(way.shared, 16), rates = totals + (sums ? 4 * way.blocks * channels : 0);
  const int64_t sums_of_pixels = rates + rates_each * channels;
  return {totals, rates, sums_of_pixels, sums_of_pixels + pixels};
}

INLINE void plan_way(const Way& way, const Shared& shared, bool sums, Plan& plan) {
  plan.shared = shared.floats;
  plan.local = way.local;
  plan.phases = sums ? 3 : way.second > 0 ? 2 : 1;
  plan.pieces[0] = static_cast<int>(way.first);
  plan.pieces[1] = static_cast<int>(way.second);
  plan.fetches = way.multiplies;
}

enum class Means { small, thin, winograd, few, direct };

// Of the forward pass, or of the input gradient.
INLINE Thin thin_of(const ConvDims& d, bool gradient) { return gradient ? thin_input_grad(d) : thin_forward(d); }

// The input gradient of a convolution of stride 1 is one correlation.
INLINE Correlation correlation_of(const ConvDims& d, bool gradient) {
  if (!gradient) return forward_correlation(d);
  return residue_correlation(d, 0, 0, residue(0, d.IH, d.KH, 1, d.PH), residue(0, d.IW, d.KW, 1, d.PW));
}

INLINE Means means_of(const ConvDims& d, bool gradient) {
  if (are_small(d)) return Means::small;
  if (thin_pays(d)) return Means::thin;
  if (winograd_pays(d)) return Means::winograd;
  const bool single = !gradient || (d.SH == 1 && d.SW == 1);
  return single && few_pays(correlation_of(d, gradient)) ? Means::few : Means::direct;
}

INLINE Way way_of(const ConvDims& d, Means means, bool gradient) {
  switch (means) {
    case Means::small: return small_way(thin_of(d, gradient));
    case Means::thin: return thin_way(thin_of(d, gradient));
    case Means::winograd: return winograd_way(same_maps(d), gradient ? d.OC : d.IC, gradient ? d.IC : d.OC);
    case Means::few: return few_way(correlation_of(d, gradient));
    default: return gradient ? direct_input_grad(d) : direct_forward(d);
  }
}

// One piece of a convolution, or of its input gradient, from the first operand with the weights of the second; images
// are summed where one piece meets all their pixels.
static void correlation_piece(const Call& call, int phase, int piece, const ConvDims& d, Means means, bool gradient,
                              const Epilogue& e, const ImageSums& images) {
  const float *source = call.operands[0], *w = call.operands[1];
  switch (means) {
    case Means::small: return small_piece(call, phase, piece, thin_of(d, gradient), source, w, gradient, e);
    case Means::thin: return thin_piece(call, phase, piece, thin_of(d, gradient), source, w, gradient, e);
    case Means::winograd: {
      const Weights weights{w, gradient ? d.OC : d.IC, gradient ? d.IC : d.OC, gradient};
      return winograd_piece(call, phase, piece, same_maps(d), source, weights, e);
    }
    case Means::few: return few_piece(call, phase, piece, correlation_of(d, gradient), e);
    case Means::direct:
      if (gradient) direct_input_grad_piece(call, phase, piece, d, e, images);
      else direct_forward_piece(call, phase, piece, d, e, images);
  }
}

// Whether one piece meets all pixels of an image, one behind the other, tile by tile.
INLINE bool meets_images(const ConvDims& d, Means means, bool gradient) {
  return means == Means::direct && is_pixelwise(d) && cut(correlation_of(d, gradient)).per_image == 1;
}

// Parameters of which prepared weights are made: all dimensions but N, which comes first.
INLINE int prepares(const Way& way) { return way.prepares ? 13 : 0; }

// ---- forward: x [N,IH,IW,IC], w [KH,KW,IC,OC] → y [N,OH,OW,OC]

// What follows the convolution; operands, where asked for: x, w, affine [2,OC] or bias [OC], residual, γ [OC] for `extreme`, y,
// statistics [2,OC], mean [N,OC], extreme [N,OC] (see ImageSums). Of a pair, which nothing follows: x, w, another x, both y.
struct ForwardParts {
  bool affine, bias, residual, relu, sigmoid, statistics, mean, extreme, pair;
  bool shifts() const { return affine || bias; }
  bool pools() const { return mean || extreme; }
  int y() const { return 2 + shifts() + residual + extreme + pair; }
  int at_mean() const { return y() + 1 + statistics; }
  int at_extreme() const { return at_mean() + mean; }
  int operands() const { return at_extreme() + extreme + pair; }
  bool any() const { return shifts() || residual || relu || sigmoid || statistics || pools(); }
  bool fits() const { return !(affine && bias) && !(sigmoid && (residual || relu || statistics || pools())); }
};

INLINE ForwardParts forward_parts(const double* p) {
  const int flags = static_cast<int>(p[13]);
  return {(flags & forward::affine) != 0,  (flags & forward::bias) != 0,       (flags & forward::residual) != 0,
          (flags & forward::relu) != 0,    (flags & forward::sigmoid) != 0,    (flags & forward::statistics) != 0,
          (flags & forward::mean) != 0,    (flags & forward::extreme) != 0,    (flags & kPair) != 0};
}

static bool conv2d_plan(const double* p, Plan& plan) {
  const ConvDims d = conv_dims(p);
  if (!conv_dims_fit(d)) return false;
  const ForwardParts parts = forward_parts(p);
  if (!parts.fits() || !pair_fits(d, parts.any())) return false;
  plan.operands = parts.operands();
  plan.lengths[0] = d.N * image_x(d);
  plan.lengths[1] = weights(d);
  if (parts.shifts()) plan.lengths[2] = parts.bias ? d.OC : 2 * d.OC;
  if (parts.residual) plan.lengths[2 + parts.shifts()] = d.N * image_y(d);
  if (parts.extreme) plan.lengths[parts.y() - 1] = d.OC;
  plan.lengths[parts.y()] = d.N * image_y(d);
  if (parts.pair) plan.lengths[2] = plan.lengths[0], plan.lengths[4] = plan.lengths[3];
  if (parts.statistics) plan.lengths[parts.y() + 1] = 2 * d.OC;
  for (int k = parts.at_mean(); k < plan.operands; ++k) plan.lengths[k] = d.N * d.OC;
  const Means means = means_of(d, false);
  const Way way = way_of(d, means, false);
  const bool sums = parts.statistics || parts.pools();
  plan_way(way, shared_parts(way, d.OC, parts.statistics, 0, 0), sums, plan);
  if (parts.pools() && !meets_images(d, means, false)) plan.pieces[2] = static_cast<int>(d.N);
  if (!sums) plan.prepares = prepares(way);
  return true;
}

static void conv2d_run(const Call& call, int phase, int piece) {
  const ConvDims d = conv_dims(call.params);
  const ForwardParts parts = forward_parts(call.params);
  const Means means = means_of(d, false);
  const Way way = way_of(d, means, false);
  double* totals = reinterpret_cast<double*>(call.shared + shared_parts(way, d.OC, parts.statistics, 0, 0).totals);
  const bool meets = meets_images(d, means, false), in_tiles = parts.pools() && meets;
  float* y = call.operands[parts.y()];
  ImageSums images{d.OH * d.OW, d.OC, y};
  if (parts.mean) images.mean = call.operands[parts.at_mean()];
  if (parts.extreme) images.extreme = call.operands[parts.at_extreme()], images.gamma = call.operands[parts.y() - 1];
  if (phase == 2) {
    if (parts.statistics && piece == 0) statistics_of(totals, way.blocks, d.OC, d.N * d.OH * d.OW, call.operands[parts.y() + 1]);
    if (parts.pools() && !in_tiles) sum_images(images, {piece, piece + 1}, 0, d.OC);
    return;
  }
  Epilogue e{};
  set_target(e, y, d.N * image_y(d), d.OC);
  if (in_tiles || parts.pair) e.streams = false;
  const bool by_image = parts.statistics && meets && !e.streams;
  set_finish<false>(e, static_cast<int>(call.params[13]) & ~(by_image ? forward::statistics : 0));
  if (parts.bias) e.shift = call.operands[2];
  if (parts.affine) e.scale = call.operands[2], e.shift = e.scale + d.OC;
  if (parts.residual) e.residual = call.operands[2 + parts.shifts()];
  if (parts.statistics) e.totals = totals;
  if (by_image) images.totals = totals;
  correlation_piece(call, phase, piece, d, means, false, e, in_tiles || by_image ? images : ImageSums{});
  if (e.streams) fence_streams();
}

// ---- input gradient: dy [N,OH,OW,OC], w [KH,KW,IC,OC] → dx [N,IH,IW,IC]

// What follows; operands, where asked for: dy, w, residual, mask, x and statistics [2,IC] for `norm` or `sums`, others for
// `images`, γ and β [IC] for `norm` or `gated`, gates [N,IC] and [N,IH·IW] and the largest value [N,IH·IW] for `gated`,
// dx, sums [2,IC], two sums of each image [N,IC] for `images`, two of each pixel [N,IH·IW] for `gated` (see ImageSums).
// `norm`: the mask is that of ReLU over the batch normalisation of x. Gaps get none of it, so it is refused where they
// exist. Of a pair, which nothing follows: dy, w, another dy, both dx.
struct InputGradParts {
  bool residual, mask, norm, sums, images, gated, pair;
  bool x() const { return norm || sums; }
  int at_mask() const { return 2 + residual; }
  int at_x() const { return at_mask() + mask; }
  int at_beside() const { return at_x() + 2 * x(); }  // of images
  int at_gamma() const { return at_beside() + 2 * images; }
  int at_gates() const { return at_gamma() + 2 * (norm || gated); }
  int dx() const { return at_gates() + 3 * gated + pair; }
  int at_images() const { return dx() + 1 + sums; }
  int operands() const { return at_images() + 2 * images + 2 * gated + pair; }
  bool any() const { return residual || x() || mask || images; }
  bool fits() const { return images ? !norm : !gated; }
  int64_t rates() const { return images ? 1 + gated : norm; }
};

INLINE InputGradParts input_grad_parts(const double* p) {
  const int flags = static_cast<int>(p[13]);
  return {(flags & input_grad::residual) != 0, (flags & input_grad::mask) != 0, (flags & input_grad::norm) != 0,
          (flags & input_grad::sums) != 0,     (flags & input_grad::images) != 0, (flags & input_grad::gated) != 0,
          (flags & kPair) != 0};
}

// Floats of the shared workspace for the sums of each pixel.
INLINE int64_t pixel_sums(const ConvDims& d, const InputGradParts& parts, Means means) {
  return parts.gated && meets_images(d, means, true) ? cut(correlation_of(d, true)).groups * 2 * d.N * d.IH * d.IW : 0;
}

// Floats of a thread's workspace for sums of a block's pixels, lane by lane; behind what the way needs.
INLINE int64_t lanes_of_pixels(const ConvDims& d, const InputGradParts& parts, Means means) {
  const Correlation g = correlation_of(d, true);
  return parts.gated && meets_images(d, means, true) ? block_pixels(g, cut(g)) * 2 * L + kLine : 0;
}

INLINE ImageSums image_gradients(const Call& call, const ConvDims& d, const InputGradParts& parts, const float* rates) {
  const float* const* in = call.operands;
  ImageSums s{};
  s.P = d.IH * d.IW, s.C = d.IC, s.tensor = call.operands[parts.dx()];
  s.values = call.operands[parts.at_images()], s.products = call.operands[parts.at_images() + 1];
  s.x = in[parts.at_beside()], s.centre = in[parts.at_beside() + 1];
  s.rate = rates;
  if (!parts.gated) return s;
  s.scale = rates + d.IC, s.beta = in[parts.at_gamma() + 1];
  s.a = in[parts.at_gates()], s.s = in[parts.at_gates() + 1], s.largest = in[parts.at_gates() + 2];
  s.pixels = call.operands[parts.at_images() + 2], s.ties = call.operands[parts.at_images() + 3];
  return s;
}

// The sums of pixels over each group of channels, [groups][2][pixels], to those over all.
INLINE void join_pixels(const float* sums, int64_t groups, int64_t pixels, float* to) {
  copy(to, sums, pixels);
  for (int64_t group = 1; group < groups; ++group)
    for (int64_t i = 0; i < pixels; ++i) to[i] += sums[2 * group * pixels + i];
}

static bool conv2d_input_grad_plan(const double* p, Plan& plan) {
  const ConvDims d = conv_dims(p);
  if (!conv_dims_fit(d)) return false;
  const InputGradParts parts = input_grad_parts(p);
  if (!parts.fits() || !pair_fits(d, parts.any()) || (parts.any() && leaves_gaps(d))) return false;
  plan.operands = parts.operands();
  plan.lengths[0] = d.N * image_y(d);
  plan.lengths[1] = weights(d);
  for (int k = 2; k < parts.dx(); ++k) plan.lengths[k] = d.N * image_x(d);
  if (parts.x()) plan.lengths[parts.at_x() + 1] = 2 * d.IC;
  if (parts.images) plan.lengths[parts.at_beside() + 1] = 2 * d.IC;
  if (parts.norm || parts.gated) plan.lengths[parts.at_gamma()] = plan.lengths[parts.at_gamma() + 1] = d.IC;
  if (parts.gated) {
    plan.lengths[parts.at_gates()] = d.N * d.IC;
    for (int k : {parts.at_gates() + 1, parts.at_gates() + 2, parts.at_images() + 2, parts.at_images() + 3})
      plan.lengths[k] = d.N * d.IH * d.IW;
  }
  plan.lengths[parts.dx()] = d.N * image_x(d);
  if (parts.pair) plan.lengths[2] = plan.lengths[0], plan.lengths[4] = plan.lengths[3];
  if (parts.sums) plan.lengths[parts.dx() + 1] = 2 * d.IC;
  if (parts.images) plan.lengths[parts.at_images()] = plan.lengths[parts.at_images() + 1] = d.N * d.IC;
  const Means means = means_of(d, true);
  const Way way = way_of(d, means, true);
  const Shared shared = shared_parts(way, d.IC, parts.sums, parts.rates(), pixel_sums(d, parts, means));
  plan_way(way, shared, parts.sums || parts.images, plan);
  if (parts.images && !meets_images(d, means, true)) plan.pieces[2] = static_cast<int>(d.N);
  plan.local += parts.norm ? d.IC : lanes_of_pixels(d, parts, means);
  if (!parts.x() && !parts.images) plan.prepares = prepares(way);
  return true;
}

static void conv2d_input_grad_run(const Call& call, int phase, int piece) {
  const ConvDims d = conv_dims(call.params);
  const InputGradParts parts = input_grad_parts(call.params);
  const Means means = means_of(d, true);
  const Way way = way_of(d, means, true);
  const Shared shared = shared_parts(way, d.IC, parts.sums, parts.rates(), pixel_sums(d, parts, means));
  double* totals = reinterpret_cast<double*>(call.shared + shared.totals);
  const float* statistics = parts.x() ? call.operands[parts.at_x() + 1] : nullptr;
  const float eps = static_cast<float>(call.params[14]);
  const bool in_tiles = parts.images && meets_images(d, means, true);
  float* dx = call.operands[parts.dx()];
  ImageSums images{};
  if (parts.images) images = image_gradients(call, d, parts, call.shared + shared.rates);
  if (phase == 2) {
    if (parts.sums && piece == 0)
      gradient_sums_of(totals, way.blocks, d.IC, statistics, call.params[14], call.operands[parts.dx() + 1]);
    if (parts.images && !in_tiles) {
      if (parts.gated) clear_pixels(images, piece, images.P);
      sum_images(images, {piece, piece + 1}, 0, d.IC);
    }
    if (in_tiles && parts.gated) {
      const int64_t groups = cut(correlation_of(d, true)).groups, pixels = d.N * images.P;
      join_pixels(call.shared + shared.pixels, groups, pixels, images.pixels);
      join_pixels(call.shared + shared.pixels + pixels, groups, pixels, images.ties);
    }
    return;
  }
  // in time for all pieces of the second phase; pieces of few pixels finish results in the first
  const bool few = means == Means::few;
  float* rates = few ? call.local + way.local : call.shared + shared.rates;
  if (parts.norm && (few ? call.first : phase == 0 && piece == 0)) {
    norm_rates(statistics + d.IC, call.operands[parts.at_gamma()], eps, d.IC, rates);
  }
  if (parts.images && phase == 0 && piece == 0) {
    float* own = call.shared + shared.rates;
    for (int64_t c = 0; c < d.IC; ++c) own[c] = 1 / __builtin_sqrtf(images.centre[d.IC + c] + eps);
    if (parts.gated) norm_rates(images.centre + d.IC, call.operands[parts.at_gamma()], eps, d.IC, own + d.IC);
  }
  Epilogue e{};
  const float* mask = parts.mask ? call.operands[parts.at_mask()] : nullptr;
  // masked by image: tiles begin with the residual and are stored at once, but never over a mask that is read later
  const bool by_image = in_tiles && mask && mask != dx && !parts.sums && d.IC % L == 0;
  set_finish<true>(e, static_cast<int>(call.params[13]) & ~(by_image ? input_grad::residual | input_grad::mask : 0));
  set_target(e, dx, d.N * image_x(d), d.IC);
  if (in_tiles || parts.pair) e.streams = false;
  if (parts.residual) e.residual = call.operands[2];
  (by_image ? images.mask : e.mask) = mask;
  if (parts.x()) e.x = call.operands[parts.at_x()], e.mean = statistics;
  if (parts.norm) e.rate = rates, e.beta = call.operands[parts.at_gamma() + 1];
  if (parts.sums) e.totals = totals;
  if (in_tiles && parts.gated) {
    images.lanes = call.local + round_up(way.local, kLine);
    images.pixels = call.shared + shared.pixels;
    images.ties = images.pixels + d.N * images.P;
  }
  correlation_piece(call, phase, piece, d, means, true, e, in_tiles ? images : ImageSums{});
  if (e.streams) fence_streams();
}

// ---- weight gradient: x [N,IH,IW,IC], dy [N,OH,OW,OC] → dw [KH,KW,IC,OC]

// x may be given as what batch normalisation, and ReLU, have still to be applied to; operands: x, then statistics
// [2,IC], γ and β [IC] for `norm`, dy, for a pair another x, which has the same norm, and another dy, whose gradient is
// added, and dw.
struct WeightGradParts {
  bool norm, relu, pair;
  int dy() const { return norm ? 4 : 1; }
  int other() const { return dy() + 1; }
  int dw() const { return other() + 2 * pair; }
};

INLINE WeightGradParts weight_grad_parts(const double* p) {
  const int flags = static_cast<int>(p[13]);
  return {(flags & 1) != 0, (flags & 2) != 0, (flags & kPair) != 0};
}

INLINE Means weight_grad_means(const ConvDims& d, bool norm) {
  if (are_small(d) && !norm) return Means::small;
  if (thin_pays(d)) return Means::thin;
  return winograd_pays(d) ? Means::winograd : Means::direct;
}

INLINE Way weight_grad_way(const ConvDims& d, Means means) {
  switch (means) {
    case Means::small: return small_weight_grad(d);
    case Means::thin: return thin_weight_grad(d);
    case Means::winograd: return winograd_weight_grad(d);
    default: return direct_weight_grad(d);
  }
}

static bool conv2d_weight_grad_plan(const double* p, Plan& plan) {
  const ConvDims d = conv_dims(p);
  if (!conv_dims_fit(d)) return false;
  const WeightGradParts parts = weight_grad_parts(p);
  if (!pair_fits(d, false)) return false;
  plan.operands = parts.dw() + 1;
  plan.lengths[0] = d.N * image_x(d);
  if (parts.norm) plan.lengths[1] = 2 * (plan.lengths[2] = plan.lengths[3] = d.IC);
  plan.lengths[parts.dy()] = d.N * image_y(d);
  if (parts.pair) plan.lengths[parts.other()] = plan.lengths[0], plan.lengths[parts.other() + 1] = plan.lengths[parts.dy()];
  plan.lengths[parts.dw()] = weights(d);
  const Way way = weight_grad_way(d, weight_grad_means(d, parts.norm));
  plan_way(way, {0, 0, 0, way.shared}, false, plan);
  if (parts.norm) plan.local += d.IC;
  return true;
}

static void conv2d_weight_grad_run(const Call& call, int phase, int piece) {
  const ConvDims d = conv_dims(call.params);
  const WeightGradParts parts = weight_grad_parts(call.params);
  const Means means = weight_grad_means(d, parts.norm);
  Source source{};
  if (parts.norm && phase == 0) {
    float* rate = call.local + weight_grad_way(d, means).local;
    const float* variance = call.operands[1] + d.IC;
    if (call.first) norm_rates(variance, call.operands[2], static_cast<float>(call.params[14]), d.IC, rate);
    source = {call.operands[1], rate, call.operands[3], parts.relu};
  }
  const float* dy = call.operands[parts.dy()];
  float* dw = call.operands[parts.dw()];
  switch (means) {
    case Means::small: return small_weight_grad_piece(call, phase, piece, d, dy, dw);
    case Means::thin: return thin_weight_grad_piece(call, phase, piece, d, source, dy, dw);
    case Means::winograd: return winograd_weight_grad_piece(call, phase, piece, d, source, dy, dw);
    default: return direct_weight_grad_piece(call, phase, piece, d, source, dy, parts.other(), dw);
  }
}

}  // namespace ATENTO_ISA
}  // namespace atento
