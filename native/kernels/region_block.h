// The instructions of a region one after the other, each on a block of a few rows that stays in the first-level cache.
#pragma once
#include "epilogue.h"
#include "pool.h"
#include "region_program.h"

namespace atento {
namespace ATENTO_ISA {

// How the values of one operand lie in a block of rows (pixels) of C channels.
enum class Walk { full, row, column };

struct BlockValue {
  const float* p;
  Walk walk;
};

// The same, of a walk that loops know when they are compiled.
template <Walk W>
struct Walked {
  const float* p;
  template <class T>
  T at(int64_t row, int64_t C, int64_t c) const {
    if (W == Walk::full) return get(p + row * C + c, T{});
    if (W == Walk::row) return get(p + c, T{});
    return p[row] - T{};
  }
};

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

// to = f(a, values…), whose walks are known.
template <class F, Walk... walks>
INLINE void map_block(int64_t rows, int64_t C, float* to, const float* a, F f, Walked<walks>... values) {
  constexpr bool flat = ((walks == Walk::full) && ...);
  for_elements(flat ? 1 : rows, flat ? rows * C : C, [=](int64_t r, int64_t c, auto t) {
    put(to + r * C + c, f(get(a + r * C + c, t), values.template at<decltype(t)>(r, C, c)...));
  });
}

// The same, one value after the other: each goes to the back with its walk as a constant, so that all end in their order.
template <class F, class... Rest>
INLINE void map_block(int64_t rows, int64_t C, float* to, const float* a, F f, BlockValue value, Rest... rest) {
  switch (value.walk) {
    case Walk::full: return map_block(rows, C, to, a, f, rest..., Walked<Walk::full>{value.p});
    case Walk::row: return map_block(rows, C, to, a, f, rest..., Walked<Walk::row>{value.p});
    case Walk::column: return map_block(rows, C, to, a, f, rest..., Walked<Walk::column>{value.p});
  }
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
      if (n.c == kNone) return map_block(rows, C, to, a, [=](auto x, auto y) { return relu ? relu_of(x * y) : x * y; }, b);
      const auto f = [=](auto x, auto y, auto z) { return relu ? relu_of(x * y + z) : x * y + z; };
      return map_block(rows, C, to, a, f, b, at.value(n.c, pixel));
    }
    case Opcode::add:
      return map_block(rows, C, to, a, [=](auto x, auto y) { return relu ? relu_of(x + y) : x + y; }, at.value(n.b, pixel));
    case Opcode::divide: return map_block(rows, C, to, a, [](auto x, auto y) { return x / y; }, at.value(n.b, pixel));
    case Opcode::sigmoid_grad:
      return map_block(rows, C, to, a, [](auto x, auto y) { return x * y * (1.0f - y); }, at.value(n.b, pixel));
    case Opcode::scale: {
      const float factor = n.value;
      return map_block(rows, C, to, a, [=](auto x) { return factor * x; });
    }
    case Opcode::mask:
      return map_block(rows, C, to, a, [](auto x, auto y) { return y <= decltype(y){} ? decltype(x){} : x; }, at.value(n.b, pixel));
    case Opcode::equal: {
      const auto f = [](auto x, auto y) { return select_tied(x, y, decltype(x){} + 1.0f, decltype(x){}); };
      return map_block(rows, C, to, a, f, at.value(n.b, pixel));
    }
    case Opcode::select_equal: {
      const BlockValue b = at.value(n.b, pixel), c = at.value(n.c, pixel);
      if (n.d == kNone)
        return map_block(rows, C, to, a, [](auto x, auto y, auto tied) { return select_tied(x, y, tied, decltype(x){}); }, b, c);
      const auto f = [](auto x, auto y, auto tied, auto other) { return select_tied(x, y, tied + other, other); };
      return map_block(rows, C, to, a, f, b, c, at.value(n.d, pixel));
    }
    case Opcode::copy: {
      const BlockValue v = at.value(n.a, pixel);
      return map_block(rows, C, to, to, [=](auto, auto y) { return relu ? relu_of(y) : y; }, v);
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
