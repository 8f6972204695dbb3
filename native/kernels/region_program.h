// The program of a region: what it computes of its operands, and how it is cut.
#pragma once
#include "elementwise.h"

namespace atento {
namespace ATENTO_ISA {

// What a tensor is to the region: one value for each element, each channel of an image, each pixel, each channel.
enum class Extent { full, image_channel, pixel, channel, two_channels };

enum class Opcode {
  norm,          // (a − mean)·γ/√(variance + ε) + β; a, statistics, γ, β
  norm_grad,     // gradient of norm in its input; a = dy, b = x, statistics, γ, sums
  multiply_add,  // a·b + c
  add,           // a + b
  mask,          // a where not b ≤ 0
  equal,         // 1 where a ties with b (see `ties`), else 0
  select_equal,  // (c where a ties with b, else 0) + d
  copy,          // a
  scale,         // a times a factor
  divide,        // a / b
  sigmoid_grad,  // a·b·(1 − b)
  // results of the region that are smaller than it
  sum_channels,  // [N,P]: of a·b, or of a
  max_channels,
  sum_pixels,    // [N,C]: of a·b, or of a; added to c
  max_pixels,
  grad_sums,     // [2,C]: Σa, Σa·x̂; a, b = x, statistics
  count
};

constexpr int64_t kRegionBlock = 1024;  // floats of a block
constexpr int64_t kRegionPieces = 8;    // wanted at least
constexpr int64_t kRegionPieceFloats = 64 * 1024;  // of several images
constexpr int64_t kRowsInFloat = 32;   // summed before they go to doubles
constexpr int kMaxInstructions = 64;
constexpr int kNone = 1000;

// A reference is an operand from 0 on, a block of workspace below 0, or kNone.
struct Instruction {
  Opcode op;
  int to, a, b, c, d, e;
  bool relu;
  float value;  // ε, or what a or a sum is multiplied by
};

// Parameters: their number, operands, N, P, C, blocks of workspace, instructions; then the extent of each operand,
// then nine numbers an instruction.
struct Region {
  const double* p;
  constexpr int operands() const { return static_cast<int>(p[1]); }
  constexpr int64_t N() const { return at(p, 2); }
  constexpr int64_t P() const { return at(p, 3); }
  constexpr int64_t C() const { return at(p, 4); }
  constexpr int temporaries() const { return static_cast<int>(p[5]); }
  constexpr int instructions() const { return static_cast<int>(p[6]); }
  constexpr Extent extent(int k) const { return static_cast<Extent>(static_cast<int>(p[7 + k])); }
  constexpr Instruction instruction(int i) const {
    const double* q = p + 7 + operands() + 9 * i;
    const auto ref = [q](int k) { return static_cast<int>(q[k]); };
    return {static_cast<Opcode>(ref(0)), ref(1), ref(2), ref(3), ref(4), ref(5), ref(6), q[7] != 0, static_cast<float>(q[8])};
  }
  int64_t floats(int k) const {
    switch (extent(k)) {
      case Extent::full: return N() * P() * C();
      case Extent::image_channel: return N() * C();
      case Extent::pixel: return N() * P();
      case Extent::channel: return C();
      default: return 2 * C();
    }
  }
  int64_t block_pixels() const { return max(1, min(P(), kRegionBlock / C())); }
  // A piece is a part of an image, or where they are small and many, several: what is the same for all is found once.
  int splits() const { return static_cast<int>(min(ceil_div(P(), block_pixels()), ceil_div(kRegionPieces, N()))); }
  int64_t images() const {
    return splits() > 1 ? 1 : max(1, min(N() / kRegionPieces, kRegionPieceFloats / (P() * C())));
  }
  int pieces() const { return static_cast<int>(ceil_div(N(), images())) * splits(); }
};

INLINE constexpr bool reduces_pixels(Opcode op) { return op == Opcode::sum_pixels || op == Opcode::max_pixels; }

INLINE constexpr bool reduces(Opcode op) { return op >= Opcode::sum_channels; }

// Floats of workspace: shared, for each instruction that sums over pieces; of a thread, its coefficients.
INLINE int64_t shared_floats(const Region& r, Opcode op) {
  if (op == Opcode::grad_sums) return 4 * r.pieces() * r.C();
  return reduces_pixels(op) && r.splits() > 1 ? round_up(r.pieces() * r.C(), 2) : 0;
}
INLINE constexpr int coefficients(Opcode op) {
  return op == Opcode::norm_grad ? 3 : op == Opcode::grad_sums ? 2 : op == Opcode::norm || reduces_pixels(op) ? 1 : 0;
}

INLINE bool region_fits(const Region& r) {
  const double* p = r.p;
  if (p[0] < 8 || p[1] < 1 || p[1] > kMaxOperands || p[2] < 1 || p[3] < 1 || p[4] < 1 || p[5] < 0 || p[5] > 32 ||
      p[6] < 1 || p[6] > kMaxInstructions || p[0] != 7 + p[1] + 9 * p[6] || r.pieces() < 1) {
    return false;
  }
  for (int k = 0; k < r.operands(); ++k)
    if (p[7 + k] < 0 || p[7 + k] > 4) return false;
  const auto is = [&](int ref, Extent extent) { return ref >= 0 && ref < r.operands() && r.extent(ref) == extent; };
  const auto full = [&](int ref) { return (ref < 0 && -ref <= r.temporaries()) || is(ref, Extent::full); };
  const auto value = [&](int ref) { return full(ref) || is(ref, Extent::image_channel) || is(ref, Extent::pixel); };
  for (int i = 0; i < r.instructions(); ++i) {
    const Instruction n = r.instruction(i);
    bool fits = false;
    switch (n.op) {
      case Opcode::norm:
        fits = full(n.to) && full(n.a) && is(n.b, Extent::two_channels) && is(n.c, Extent::channel) && is(n.d, Extent::channel);
        break;
      case Opcode::norm_grad:
        fits = full(n.to) && full(n.a) && full(n.b) && is(n.c, Extent::two_channels) && is(n.d, Extent::channel) &&
               is(n.e, Extent::two_channels);
        break;
      case Opcode::multiply_add: fits = full(n.to) && full(n.a) && value(n.b) && (n.c == kNone || value(n.c)); break;
      case Opcode::add:
      case Opcode::divide:
      case Opcode::sigmoid_grad:
      case Opcode::equal: fits = full(n.to) && full(n.a) && value(n.b); break;
      case Opcode::select_equal:
        fits = full(n.to) && full(n.a) && value(n.b) && value(n.c) && (n.d == kNone || value(n.d));
        break;
      case Opcode::mask: fits = full(n.to) && full(n.a) && full(n.b); break;
      case Opcode::scale: fits = full(n.to) && full(n.a); break;
      case Opcode::copy: fits = full(n.to) && value(n.a); break;
      case Opcode::sum_channels:
      case Opcode::max_channels: fits = is(n.to, Extent::pixel) && full(n.a) && (n.b == kNone || full(n.b)); break;
      case Opcode::sum_pixels:
      case Opcode::max_pixels:
        fits = is(n.to, Extent::image_channel) && full(n.a) && (n.b == kNone || full(n.b)) &&
               (n.c == kNone || (n.op == Opcode::sum_pixels && is(n.c, Extent::image_channel)));
        break;
      case Opcode::grad_sums:
        fits = is(n.to, Extent::two_channels) && full(n.a) && full(n.b) && is(n.c, Extent::two_channels);
        break;
      default: break;
    }
    if (!fits) return false;
  }
  return true;
}

}  // namespace ATENTO_ISA
}  // namespace atento
