// The table of kernels of one instruction set (ATENTO_ISA, ATENTO_LANES floats a vector): this file is compiled
// once for each. A new kernel is one line here.
#include "conv.h"
#include "pool.h"
#include "region.h"

namespace atento {
namespace ATENTO_ISA {

static const Kernel kernels[] = {
    // name, operands, parameters, plan, run
    {"conv2d", kAsPlanned, 14, conv2d_plan, conv2d_run},
    {"conv2d_input_grad", kAsPlanned, 15, conv2d_input_grad_plan, conv2d_input_grad_run},
    {"conv2d_weight_grad", kAsPlanned, 15, conv2d_weight_grad_plan, conv2d_weight_grad_run},
    {"channel_conv", 3, 4, channel_conv_plan, channel_conv_run},
    {"channel_conv_weight_grad", 3, 4, channel_conv_weight_grad_plan, channel_conv_weight_grad_run},
    {"batch_statistics", 2, 2, batch_statistics_plan, batch_statistics_run},
    {"batch_norm", 5, 3, batch_norm_plan, batch_norm_run},
    {"batch_norm_grad_sums", 4, 3, batch_norm_grad_sums_plan, batch_norm_grad_sums_run},
    {"batch_norm_input_grad", 6, 3, batch_norm_input_grad_plan, batch_norm_input_grad_run},
    {"batch_norm_inference", 6, 3, batch_norm_inference_plan, batch_norm_inference_run},
    {"fold_batch_norm", 5, 2, fold_batch_norm_plan, fold_batch_norm_run},
    {"weight_grad_of_affine", 7, 2, weight_grad_of_affine_plan, weight_grad_of_affine_run},
    {"update_running", 3, 3, update_running_plan, update_running_run},
    {"region", kAsPlanned, kAsPlanned, region_plan, region_run},
    {"relu", 2, 1, flat_plan<2>, relu_run},
    {"relu_grad", 3, 1, flat_plan<3>, relu_grad_run},
    {"sigmoid", 2, 1, flat_plan<2>, sigmoid_run},
    {"sigmoid_grad", 3, 1, flat_plan<3>, sigmoid_grad_run},
    {"scale", 2, 2, flat_plan<2>, scale_run},
    {"constant", 1, 2, flat_plan<1>, constant_run},
    {"add", 3, 12, binary_plan, add_run},
    {"multiply", 3, 12, binary_plan, multiply_run},
    {"divide", 3, 12, binary_plan, divide_run},
    {"equal", 3, 12, binary_plan, equal_run},
    {"select_equal", 4, 12, select_equal_plan, select_equal_run},
    {"broadcast_to", 2, 8, broadcast_to_plan, broadcast_to_run},
    {"sum_to", 2, 8, sum_to_plan, sum_to_run},
    {"reshape", 2, 16, reshape_plan, reshape_run},
    {"concat", 3, 3, concat_plan, concat_run},
    {"slice_channels", 2, 4, slice_channels_plan, slice_channels_run},
    {"max_pool2d", 2, 12, pool_plan, max_pool2d_run},
    {"max_pool2d_grad", 3, 12, max_pool2d_grad_plan, max_pool2d_grad_run},
    {"avg_pool2d", 2, 12, pool_plan, avg_pool2d_run},
    {"avg_pool2d_grad", 2, 12, avg_pool2d_grad_plan, avg_pool2d_grad_run},
    {"pad2d", 2, 9, pad2d_plan, pad2d_run},
    {"mean_spatial", 2, 4, over_space_plan, mean_spatial_run},
    {"max_spatial", 2, 4, over_space_plan, max_spatial_run},
    {"mean_channel", 2, 4, over_channels_plan, mean_channel_run},
    {"max_channel", 2, 4, over_channels_plan, max_channel_run},
    {"cross_entropy", 3, 3, cross_entropy_plan, cross_entropy_run},
    {"cross_entropy_grad", 4, 3, cross_entropy_grad_plan, cross_entropy_grad_run},
    {"sgd", 4, 4, sgd_plan, sgd_run},
    {"adam", 5, 5, adam_plan, adam_run},
};

// Independent multiply-adds on every register a tile would use: what the processor can do at the most.
static double peak(int64_t iterations) {
  constexpr int chains = 12;
  V c[chains];
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i) c[i] = splat(static_cast<float>(i));
  V a = splat(0.999f), b = splat(0.001f);
  for (int64_t k = 0; k < iterations; ++k) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) c[i] = c[i] * a + b;
  }
  V sum = V{};
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i) sum += c[i];
  volatile float sink = sum[0];
  (void)sink;
  return static_cast<double>(iterations) * chains * L;
}

}  // namespace ATENTO_ISA

#define ATENTO_JOIN(a, b) a##b
#define ATENTO_TABLE(isa) ATENTO_JOIN(kernels_, isa)
#define ATENTO_TEXT_(x) #x
#define ATENTO_TEXT(x) ATENTO_TEXT_(x)

const KernelTable& ATENTO_TABLE(ATENTO_ISA)() {
  static constexpr KernelTable table{ATENTO_TEXT(ATENTO_ISA), ATENTO_ISA::kernels,
                                     sizeof(ATENTO_ISA::kernels) / sizeof(Kernel), ATENTO_ISA::peak};
  return table;
}

}  // namespace atento
