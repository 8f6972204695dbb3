// The instructions of a region one after the other, each on a block of a few rows that stays in the first-level cache.
#pragma once
#include "epilogue.h"
#include "pool.h"
#include "region_program.h"

namespace atento {
namespace ATENTO_ISA {

// How the values of one operand lie in a block of rows (pixels) of C channels.
enum class Walk { full, row, column };

template <Walk W, class T>
INLINE T value_at(const float* p, int64_t row, int64_t C, int64_t c) {
  if (W == Walk::full) return get(p + row * C + c, T{});
  if (W == Walk::row) return get(p + c, T{});
  return p[row] - T{};
}

template <class F>
INLINE void for_elements(int64_t rows, int64_t C, F f) {
  for (int64_t r = 0; r < rows; ++r) {
    int64_t c = 0;
#pragma GCC unroll 4
    for (; c + L <= C; c += L) f(r, c, V{});
    for (; c < C; ++c) f(r, c, 0.0f);
  }
}

template <class T>
INLINE T relu_of(T x) { return x < T{} ? T{} : x; }

struct BlockValue {
  const float* p;
  Walk walk;
};

// Calls `f` with each walk a value may have, as a constant: loops know it when they are compiled.
template <class F>
INLINE void by_walk(Walk walk, F f) {
  if (walk == Walk::full) f(std::integral_constant<Walk, Walk::full>{});
  else if (walk == Walk::row) f(std::integral_constant<Walk, Walk::row>{});
  else f(std::integral_constant<Walk, Walk::column>{});
}

// to = f(a, b)
template <class F>
INLINE void binary_block(int64_t rows, int64_t C, float* to, const float* a, BlockValue b, F f) {
  by_walk(b.walk, [&](auto walk) {
    constexpr Walk B = decltype(walk)::value;
    const bool flat = B == Walk::full;
    for_elements(flat ? 1 : rows, flat ? rows * C : C, [=](int64_t r, int64_t k, auto t) {
      put(to + r * C + k, f(get(a + r * C + k, t), value_at<B, decltype(t)>(b.p, r, C, k)));
    });
  });
}

// to = f(a, b, c)
template <class F>
INLINE void ternary_block(int64_t rows, int64_t C, float* to, const float* a, BlockValue b, BlockValue c, F f) {
  by_walk(c.walk, [&](auto walk) {
    constexpr Walk W = decltype(walk)::value;
    by_walk(b.walk, [&](auto inner) {
      constexpr Walk B = decltype(inner)::value;
      for_elements(rows, C, [=](int64_t r, int64_t k, auto t) {
        using T = decltype(t);
        put(to + r * C + k, f(get(a + r * C + k, t), value_at<B, T>(b.p, r, C, k), value_at<W, T>(c.p, r, C, k)));
      });
    });
  });
}

// to = (c where a ties with b, else 0) + d
static void select_equal_add(int64_t rows, int64_t C, float* to, const float* a, BlockValue b, BlockValue c, BlockValue d) {
  by_walk(d.walk, [&](auto walk) {
    constexpr Walk W = decltype(walk)::value;
    by_walk(b.walk, [&](auto second) {
      constexpr Walk B = decltype(second)::value;
      by_walk(c.walk, [&](auto third) {
        constexpr Walk S = decltype(third)::value;
        for_elements(rows, C, [=](int64_t r, int64_t k, auto t) {
          using T = decltype(t);
          const T other = value_at<W, T>(d.p, r, C, k), tied = value_at<S, T>(c.p, r, C, k) + other;
          put(to + r * C + k, select_tied(get(a + r * C + k, t), value_at<B, T>(b.p, r, C, k), tied, other));
        });
      });
    });
  });
}

// Where one piece of a region stands: its image, its pixels, and what it keeps beside the blocks.
struct RegionPiece {
  const Region& r;
  const Call& call;
  int64_t image;
  Range pixels;
  int piece;
  float* workspace;  // temporaries, then coefficients
  bool whole;        // images are walked over in one step, whose sums are results at once

  float* operand(int k, int64_t pixel) const {
    float* p = call.operands[k];
    switch (r.extent(k)) {
      case Extent::full: return p + (image * r.P() + pixel) * r.C();
      case Extent::image_channel: return p + image * r.C();
      case Extent::pixel: return p + image * r.P() + pixel;
      default: return p;
    }
  }
  float* at_ref(int ref, int64_t pixel) const {
    return ref < 0 ? workspace + (-ref - 1) * r.block_pixels() * r.C() : operand(ref, pixel);
  }
  BlockValue value(int ref, int64_t pixel) const {
    if (ref == kNone) return {nullptr, Walk::full};
    const Walk walk = ref < 0 || r.extent(ref) == Extent::full ? Walk::full
                      : r.extent(ref) == Extent::pixel         ? Walk::column
                                                               : Walk::row;
    return {at_ref(ref, pixel), walk};
  }
};

// Rows are walked one after the other, the order in which memory brings them; sums wait in the cache.
INLINE void sum_pixels_block(int64_t rows, int64_t C, const float* a, const float* b, float* sums) {
  if (!b) return for_elements(rows, C, [=](int64_t r, int64_t c, auto t) { put(sums + c, get(sums + c, t) + get(a + r * C + c, t)); });
  for_elements(rows, C, [=](int64_t r, int64_t c, auto t) {
    put(sums + c, get(sums + c, t) + get(a + r * C + c, t) * get(b + r * C + c, t));
  });
}

// Σdy and Σdy·(x − mean) of `rows` rows, added to sums [2,C].
INLINE void grad_sums_block(int64_t rows, int64_t C, const float* dy, const float* x, const float* mean, float* sums) {
  for_elements(rows, C, [=](int64_t r, int64_t c, auto t) {
    const auto g = get(dy + r * C + c, t);
    put(sums + c, get(sums + c, t) + g);
    put(sums + C + c, get(sums + C + c, t) + g * (get(x + r * C + c, t) - get(mean + c, t)));
  });
}

static void run_instruction(const RegionPiece& at, const Instruction& n, int64_t pixel, int64_t rows, float* own) {
  const int64_t C = at.r.C();
  float* to = at.at_ref(n.to, pixel);
  const float *a = at.at_ref(n.a, pixel), *b = n.b == kNone ? nullptr : at.at_ref(n.b, pixel);
  const bool relu = n.relu;
  switch (n.op) {
    case Opcode::norm: {
      const float *mean = at.call.operands[n.b], *beta = at.call.operands[n.d];
      return for_elements(rows, C, [=](int64_t r, int64_t c, auto t) {
        const auto y = (get(a + r * C + c, t) - get(mean + c, t)) * get(own + c, t) + get(beta + c, t);
        put(to + r * C + c, relu ? relu_of(y) : y);
      });
    }
    case Opcode::norm_grad: {
      const float *x = at.at_ref(n.b, pixel), *mean = at.call.operands[n.c];
      return for_elements(rows, C, [=](int64_t r, int64_t c, auto t) {
        const auto centred = get(x + r * C + c, t) - get(mean + c, t);
        put(to + r * C + c, get(own + c, t) * get(a + r * C + c, t) + (get(own + C + c, t) * centred + get(own + 2 * C + c, t)));
      });
    }
    case Opcode::multiply_add: {
      const BlockValue b = at.value(n.b, pixel);
      if (n.c == kNone) return binary_block(rows, C, to, a, b, [=](auto x, auto y) { return relu ? relu_of(x * y) : x * y; });
      return ternary_block(rows, C, to, a, b, at.value(n.c, pixel), [=](auto x, auto y, auto z) {
        return relu ? relu_of(x * y + z) : x * y + z;
      });
    }
    case Opcode::add:
      return binary_block(rows, C, to, a, at.value(n.b, pixel), [=](auto x, auto y) { return relu ? relu_of(x + y) : x + y; });
    case Opcode::divide: return binary_block(rows, C, to, a, at.value(n.b, pixel), [](auto x, auto y) { return x / y; });
    case Opcode::sigmoid_grad:
      return binary_block(rows, C, to, a, at.value(n.b, pixel), [](auto x, auto y) { return x * y * (1.0f - y); });
    case Opcode::scale: {
      const float factor = n.value;
      return binary_block(rows, C, to, a, {a, Walk::full}, [=](auto x, auto) { return factor * x; });
    }
    case Opcode::mask:
      return binary_block(rows, C, to, a, at.value(n.b, pixel), [](auto x, auto y) { return y <= decltype(y){} ? decltype(x){} : x; });
    case Opcode::equal:
      return binary_block(rows, C, to, a, at.value(n.b, pixel), [](auto x, auto y) {
        return select_tied(x, y, decltype(x){} + 1.0f, decltype(x){});
      });
    case Opcode::select_equal: {
      const BlockValue b = at.value(n.b, pixel), c = at.value(n.c, pixel);
      if (n.d == kNone) return ternary_block(rows, C, to, a, b, c, [](auto x, auto y, auto z) { return select_tied(x, y, z, decltype(x){}); });
      return select_equal_add(rows, C, to, a, b, c, at.value(n.d, pixel));
    }
    case Opcode::copy: {
      const BlockValue v = at.value(n.a, pixel);
      return binary_block(rows, C, to, to, v, [=](auto, auto y) { return relu ? relu_of(y) : y; });
    }
    case Opcode::sum_channels:
      for (int64_t r = 0; r < rows; ++r) to[r] = n.value * (b ? dot(a + r * C, b + r * C, C) : sum_of(a + r * C, C));
      return;
    case Opcode::max_channels:
      for (int64_t r = 0; r < rows; ++r) to[r] = max_of(a + r * C, C);
      return;
    case Opcode::sum_pixels: return sum_pixels_block(rows, C, a, b, own);
    case Opcode::max_pixels:
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < C; ++c) own[c] = wins(a[r * C + c], own[c]) ? a[r * C + c] : own[c];
      return;
    case Opcode::grad_sums: return grad_sums_block(rows, C, a, at.at_ref(n.b, pixel), at.call.operands[n.c], own);
    default: return;
  }
}

// What the next block reads and writes, an equal part of it for each instruction of this one.
INLINE Later next_rows(const RegionPiece& at, int64_t pixel, int64_t rows) {
  Later later;
  for (int k = 0; k < at.r.operands() && rows > 0; ++k)
    if (at.r.extent(k) == Extent::full) later.add({at.operand(k, pixel), 1, rows * at.r.C(), 0, 0, 0});
  later.divide(at.r.instructions());
  return later;
}

// Runs all instructions on some rows; coefficients and sums of each instruction lie one behind the other in `own`.
static void run_block(const RegionPiece& at, const Instruction* instructions, int64_t pixel, int64_t rows, int64_t after, float* own) {
  Later next = next_rows(at, pixel + rows, after);
  for (int i = 0; i < at.r.instructions(); ++i) {
    next.fetch();
    run_instruction(at, instructions[i], pixel, rows, own);
    own += coefficients(instructions[i].op) * at.r.C();
  }
}

}  // namespace ATENTO_ISA
}  // namespace atento
