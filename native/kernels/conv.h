// Convolution and its gradients with what goes before and after them, by whichever way the shape favours.
#pragma once
#include "direct_input_grad.h"
#include "direct_weight_grad.h"
#include "few.h"
#include "thin_small.h"
#include "winograd_weight_grad.h"

namespace atento {
namespace ATENTO_ISA {

// Parts of the shared workspace: what the way needs, totals of the blocks' sums, a rate for each channel.
struct Shared {
  int64_t totals, rates, floats;
};

INLINE Shared shared_parts(const Way& way, int64_t channels, bool sums, bool norm) {
  const int64_t totals = round_up(way.shared, 16), rates = totals + (sums ? 4 * way.blocks * channels : 0);
  return {totals, rates, rates + (norm ? channels : 0)};
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

// One piece of a convolution, or of its input gradient, from the first operand with the weights of the second.
static void correlation_piece(const Call& call, int phase, int piece, const ConvDims& d, Means means, bool gradient,
                              const Epilogue& e) {
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
      if (gradient) direct_input_grad_piece(call, phase, piece, d, e);
      else direct_forward_piece(call, phase, piece, d, e);
  }
}

// Parameters of which prepared weights are made: all dimensions but N, which comes first.
INLINE int prepares(const Way& way) { return way.prepares ? 13 : 0; }

// ---- forward: x [N,IH,IW,IC], w [KH,KW,IC,OC] → y [N,OH,OW,OC]

// What follows the convolution; operands: x, w, affine [2,OC] if asked for, residual if asked for, y, statistics
// [2,OC] if asked for.
struct ForwardParts {
  bool affine, residual, relu, statistics;
  int y() const { return 2 + affine + residual; }
};

INLINE ForwardParts forward_parts(const double* p) {
  const int flags = static_cast<int>(p[13]);
  return {(flags & forward::affine) != 0, (flags & forward::residual) != 0, (flags & forward::relu) != 0,
          (flags & forward::statistics) != 0};
}

static bool conv2d_plan(const double* p, Plan& plan) {
  const ConvDims d = conv_dims(p);
  if (!conv_dims_fit(d)) return false;
  const ForwardParts parts = forward_parts(p);
  plan.operands = parts.y() + 1 + parts.statistics;
  plan.lengths[0] = d.N * image_x(d);
  plan.lengths[1] = weights(d);
  if (parts.affine) plan.lengths[2] = 2 * d.OC;
  if (parts.residual) plan.lengths[parts.y() - 1] = d.N * image_y(d);
  plan.lengths[parts.y()] = d.N * image_y(d);
  if (parts.statistics) plan.lengths[parts.y() + 1] = 2 * d.OC;
  const Way way = way_of(d, means_of(d, false), false);
  plan_way(way, shared_parts(way, d.OC, parts.statistics, false), parts.statistics, plan);
  if (!parts.statistics) plan.prepares = prepares(way);
  return true;
}

static void conv2d_run(const Call& call, int phase, int piece) {
  const ConvDims d = conv_dims(call.params);
  const ForwardParts parts = forward_parts(call.params);
  const Means means = means_of(d, false);
  const Way way = way_of(d, means, false);
  double* totals = reinterpret_cast<double*>(call.shared + shared_parts(way, d.OC, parts.statistics, false).totals);
  if (phase == 2) return statistics_of(totals, way.blocks, d.OC, d.N * d.OH * d.OW, call.operands[parts.y() + 1]);
  Epilogue e{};
  e.finish = finish_of<false>(static_cast<int>(call.params[13]));
  set_target(e, call.operands[parts.y()], d.N * image_y(d), d.OC);
  if (parts.affine) e.scale = call.operands[2], e.shift = e.scale + d.OC;
  if (parts.residual) e.residual = call.operands[parts.y() - 1];
  if (parts.statistics) e.totals = totals;
  correlation_piece(call, phase, piece, d, means, false, e);
  if (e.streams) fence_streams();
}

// ---- input gradient: dy [N,OH,OW,OC], w [KH,KW,IC,OC] → dx [N,IH,IW,IC]

// What follows; operands: dy, w, residual if asked for, mask if asked for, x and statistics [2,IC] for `norm` or
// `sums`, γ and β [IC] for `norm`, dx, sums [2,IC] if asked for. `norm`: the mask is that of ReLU over the batch
// normalisation of x. Gaps get none of it, so it is refused where they exist.
struct InputGradParts {
  bool residual, mask, norm, sums;
  bool x() const { return norm || sums; }
  int at_mask() const { return 2 + residual; }
  int at_x() const { return at_mask() + mask; }
  int at_gamma() const { return at_x() + 2 * x(); }
  int dx() const { return at_gamma() + 2 * norm; }
  bool any() const { return residual || mask || norm || sums; }
};

INLINE InputGradParts input_grad_parts(const double* p) {
  const int flags = static_cast<int>(p[13]);
  return {(flags & input_grad::residual) != 0, (flags & input_grad::mask) != 0, (flags & input_grad::norm) != 0,
          (flags & input_grad::sums) != 0};
}

static bool conv2d_input_grad_plan(const double* p, Plan& plan) {
  const ConvDims d = conv_dims(p);
  if (!conv_dims_fit(d)) return false;
  const InputGradParts parts = input_grad_parts(p);
  if (parts.any() && leaves_gaps(d)) return false;
  plan.operands = parts.dx() + 1 + parts.sums;
  plan.lengths[0] = d.N * image_y(d);
  plan.lengths[1] = weights(d);
  for (int k = 2; k < parts.dx(); ++k) plan.lengths[k] = d.N * image_x(d);
  if (parts.x()) plan.lengths[parts.at_x() + 1] = 2 * d.IC;
  if (parts.norm) plan.lengths[parts.at_gamma()] = plan.lengths[parts.at_gamma() + 1] = d.IC;
  plan.lengths[parts.dx()] = d.N * image_x(d);
  if (parts.sums) plan.lengths[parts.dx() + 1] = 2 * d.IC;
  const Way way = way_of(d, means_of(d, true), true);
  plan_way(way, shared_parts(way, d.IC, parts.sums, parts.norm), parts.sums, plan);
  if (parts.norm) plan.local += d.IC;
  if (!parts.sums && !parts.norm) plan.prepares = prepares(way);
  return true;
}

static void conv2d_input_grad_run(const Call& call, int phase, int piece) {
  const ConvDims d = conv_dims(call.params);
  const InputGradParts parts = input_grad_parts(call.params);
  const Means means = means_of(d, true);
  const Way way = way_of(d, means, true);
  const Shared shared = shared_parts(way, d.IC, parts.sums, parts.norm);
  double* totals = reinterpret_cast<double*>(call.shared + shared.totals);
  const float* statistics = parts.x() ? call.operands[parts.at_x() + 1] : nullptr;
  if (phase == 2) {
    return gradient_sums_of(totals, way.blocks, d.IC, statistics, call.params[14], call.operands[parts.dx() + 1]);
  }
  // in time for all pieces of the second phase; pieces of few pixels finish results in the first
  const bool few = means == Means::few;
  float* rates = few ? call.local + way.local : call.shared + shared.rates;
  if (parts.norm && (few || (phase == 0 && piece == 0))) {
    norm_rates(statistics, call.operands[parts.at_gamma()], static_cast<float>(call.params[14]), d.IC, rates);
  }
  Epilogue e{};
  e.finish = finish_of<true>(static_cast<int>(call.params[13]));
  set_target(e, call.operands[parts.dx()], d.N * image_x(d), d.IC);
  if (parts.residual) e.residual = call.operands[2];
  if (parts.mask) e.mask = call.operands[parts.at_mask()];
  if (parts.x()) e.x = call.operands[parts.at_x()], e.mean = statistics;
  if (parts.norm) e.rate = rates, e.beta = call.operands[parts.at_gamma() + 1];
  if (parts.sums) e.totals = totals;
  correlation_piece(call, phase, piece, d, means, true, e);
  if (e.streams) fence_streams();
}

// ---- weight gradient: x [N,IH,IW,IC], dy [N,OH,OW,OC] → dw [KH,KW,IC,OC]

// x may be given as what batch normalisation, and ReLU, have still to be applied to; operands: x, then statistics
// [2,IC], γ and β [IC] for `norm`, dy, dw.
struct WeightGradParts {
  bool norm, relu;
  int dy() const { return norm ? 4 : 1; }
};

INLINE WeightGradParts weight_grad_parts(const double* p) {
  const int flags = static_cast<int>(p[13]);
  return {(flags & 1) != 0, (flags & 2) != 0};
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
  plan.operands = parts.dy() + 2;
  plan.lengths[0] = d.N * image_x(d);
  if (parts.norm) plan.lengths[1] = 2 * (plan.lengths[2] = plan.lengths[3] = d.IC);
  plan.lengths[parts.dy()] = d.N * image_y(d);
  plan.lengths[parts.dy() + 1] = weights(d);
  const Way way = weight_grad_way(d, weight_grad_means(d, parts.norm));
  plan_way(way, {0, 0, way.shared}, false, plan);
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
    norm_rates(call.operands[1], call.operands[2], static_cast<float>(call.params[14]), d.IC, rate);
    source = {call.operands[1], rate, call.operands[3], parts.relu};
  }
  const float* dy = call.operands[parts.dy()];
  float* dw = call.operands[parts.dy() + 1];
  switch (means) {
    case Means::small: return small_weight_grad_piece(call, phase, piece, d, dy, dw);
    case Means::thin: return thin_weight_grad_piece(call, phase, piece, d, source, dy, dw);
    case Means::winograd: return winograd_weight_grad_piece(call, phase, piece, d, source, dy, dw);
    default: return direct_weight_grad_piece(call, phase, piece, d, source, dy, dw);
  }
}

}  // namespace ATENTO_ISA
}  // namespace atento
