// Several pixelwise ops in one walk over memory: a program of vector instructions over [N,P,C] (images, pixels,
// channels last), run block by block on values that stay in the first-level cache.
#pragma once
#include "epilogue.h"
#include "pool.h"
#include "region_program.h"

namespace atento {
namespace ATENTO_ISA {

static bool region_plan(const double* p, Plan& plan) {
  const Region r{p};
  if (!region_fits(r)) return false;
  plan.operands = r.operands();
  for (int k = 0; k < r.operands(); ++k) plan.lengths[k] = r.floats(k);
  plan.local = r.temporaries() * r.block_pixels() * r.C();
  for (int i = 0; i < r.instructions(); ++i) {
    plan.shared += shared_floats(r, r.instruction(i).op);
    plan.local += coefficients(r.instruction(i).op) * r.C();
  }
  plan.pieces[0] = r.pieces();
  plan.phases = plan.shared > 0 ? 2 : 1;
  return true;
}

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

// NaN meets NaN when the maximum is one: then it is the same NaN.
INLINE V select_equal(V x, V y, V value) {
  return ((x == y) | ((VI)x == (VI)y)) ? value : V{};
}
INLINE float select_equal(float x, float y, float value) { return ties(x, y) ? value : 0.0f; }

// to = (c where a = b, else 0) + d
static void select_equal_add(int64_t rows, int64_t C, float* to, const float* a, BlockValue b, BlockValue c, BlockValue d) {
  by_walk(d.walk, [&](auto walk) {
    constexpr Walk W = decltype(walk)::value;
    by_walk(b.walk, [&](auto inner) {
      constexpr Walk B = decltype(inner)::value;
      for_elements(rows, C, [=](int64_t r, int64_t k, auto t) {
        using T = decltype(t);
        const T value = select_equal(get(a + r * C + k, t), value_at<B, T>(b.p, r, C, k), value_at<B, T>(c.p, r, C, k));
        put(to + r * C + k, value + value_at<W, T>(d.p, r, C, k));
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

// What an instruction needs of each channel, and what it sums over images, before the first block.
INLINE void begin_instruction(const RegionPiece& at, const Instruction& n, float* own) {
  const int64_t C = at.r.C();
  if (n.op == Opcode::norm) norm_rates(at.call.operands[n.b], at.call.operands[n.c], n.value, C, own);
  if (n.op == Opcode::norm_grad) {
    const float *mean = at.call.operands[n.c], *gamma = at.call.operands[n.d], *sums = at.call.operands[n.e];
    const float M = static_cast<float>(at.r.N() * at.r.P());
    for (int64_t c = 0; c < C; ++c) {
      const float rate = 1 / __builtin_sqrtf(mean[C + c] + n.value);
      own[c] = gamma[c] * rate;
      own[C + c] = -own[c] * rate * sums[C + c] / M;
      own[2 * C + c] = -own[c] * sums[c] / M;
    }
  }
  if (n.op == Opcode::grad_sums) clear(own, 2 * C);
}

// What an instruction sums over the pixels of an image, before the first block.
INLINE void begin_image(const Instruction& n, int64_t C, float* own) {
  if (n.op == Opcode::sum_pixels) clear(own, C);
  if (n.op == Opcode::max_pixels)
    for (int64_t c = 0; c < C; ++c) own[c] = -__builtin_inff();
}

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

// Moves the float sums of a few rows to the doubles of the piece.
INLINE void flush_sums(int64_t C, float* sums, double* totals) {
  for (int64_t i = 0; i < 2 * C; ++i) totals[i] += sums[i];
  clear(sums, 2 * C);
}

static void run_instruction(const RegionPiece& at, const Instruction& n, int64_t pixel, int64_t rows, float* own, float* shared) {
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
    case Opcode::mask:
      return binary_block(rows, C, to, a, at.value(n.b, pixel), [](auto x, auto y) { return y <= decltype(y){} ? decltype(x){} : x; });
    case Opcode::equal:
      return binary_block(rows, C, to, a, at.value(n.b, pixel), [](auto x, auto y) {
        return select_equal(x, y, decltype(x){} + 1.0f);
      });
    case Opcode::select_equal: {
      const BlockValue b = at.value(n.b, pixel), c = at.value(n.c, pixel);
      if (n.d == kNone) return ternary_block(rows, C, to, a, b, c, [](auto x, auto y, auto z) { return select_equal(x, y, z); });
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
    case Opcode::grad_sums: {
      grad_sums_block(rows, C, a, at.at_ref(n.b, pixel), at.call.operands[n.c], own);
      const bool last = pixel + rows == at.pixels.end;
      if (last || (pixel + rows - at.pixels.begin) % kRowsInFloat < rows) {
        flush_sums(C, own, reinterpret_cast<double*>(shared) + at.piece * 2 * C);
      }
      return;
    }
    default: return;
  }
}

// What was summed over the pixels of an image goes to the result, or to where the pieces of an image are joined.
INLINE void end_image(const RegionPiece& at, const Instruction& n, const float* own, float* shared) {
  const int64_t C = at.r.C();
  if (!reduces_pixels(n.op)) return;
  float* to = at.r.splits() > 1 ? shared + at.piece * C : at.operand(n.to, 0);
  const float factor = n.op == Opcode::sum_pixels ? n.value : 1;
  for (int64_t c = 0; c < C; ++c) to[c] = factor * own[c];
}

INLINE void join_pieces(const Region& r, const Call& call, const Instruction& n, float* shared) {
  const int64_t C = r.C();
  if (n.op == Opcode::grad_sums) {
    return gradient_sums_of(reinterpret_cast<double*>(shared), r.pieces(), C, call.operands[n.c], n.value, call.operands[n.to]);
  }
  if (!reduces_pixels(n.op) || r.splits() == 1) return;
  for (int64_t image = 0; image < r.N(); ++image) {
    const float* parts = shared + image * r.splits() * C;
    float* to = call.operands[n.to] + image * C;
    for (int64_t c = 0; c < C; ++c) {
      float result = parts[c];
      for (int64_t k = 1; k < r.splits(); ++k) {
        const float part = parts[k * C + c];
        if (n.op == Opcode::sum_pixels) result += part;
        else if (wins(part, result)) result = part;
      }
      to[c] = result;
    }
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

static void region_run(const Call& call, int phase, int piece) {
  const Region r{call.params};
  if (phase == 1) {
    float* shared = call.shared;
    for (int i = 0; i < r.instructions(); ++i) {
      const Instruction n = r.instruction(i);
      join_pieces(r, call, n, shared);
      shared += shared_floats(r, n.op);
    }
    return;
  }
  RegionPiece at{r, call, piece / r.splits() * r.images(), share(r.P(), r.splits(), piece % r.splits()), piece, call.local};
  const int64_t C = r.C(), step = r.block_pixels();
  Instruction instructions[kMaxInstructions];
  for (int i = 0; i < r.instructions(); ++i) instructions[i] = r.instruction(i);
  const auto each = [&](auto f) {
    float *own = at.workspace + r.temporaries() * step * C, *shared = call.shared;
    for (int i = 0; i < r.instructions(); ++i) {
      f(instructions[i], own, shared);
      own += coefficients(instructions[i].op) * C;
      shared += shared_floats(r, instructions[i].op);
    }
  };
  each([&](const Instruction& n, float* own, float* shared) {
    begin_instruction(at, n, own);
    if (n.op == Opcode::grad_sums) {
      double* totals = reinterpret_cast<double*>(shared) + piece * 2 * C;
      for (int64_t c = 0; c < 2 * C; ++c) totals[c] = 0;
    }
  });
  const int64_t end = min(r.N(), at.image + r.images()), pixels = at.pixels.end - at.pixels.begin;
  for (; at.image < end; ++at.image) {
    each([&](const Instruction& n, float* own, float*) { begin_image(n, C, own); });
    const int64_t left = (end - at.image) * pixels;  // to the end of the piece: images lie one behind the other
    for (int64_t done = 0; done < pixels; done += step) {
      const int64_t pixel = at.pixels.begin + done, rows = min(step, pixels - done);
      Later next = next_rows(at, pixel + rows, min(step, left - done - rows));
      each([&](const Instruction& n, float* own, float* shared) {
        next.fetch();
        run_instruction(at, n, pixel, rows, own, shared);
      });
    }
    each([&](const Instruction& n, float* own, float* shared) { end_image(at, n, own, shared); });
  }
}

}  // namespace ATENTO_ISA
}  // namespace atento
