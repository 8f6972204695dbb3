// Elementwise ops, broadcasting, reductions that undo it, shapes and optimisers.
#pragma once

#include "simd.h"

namespace atento {
namespace ATENTO_ISA {

constexpr int64_t kPieceFloats = 32 * 1024;

INLINE int pieces_of(int64_t floats) { return static_cast<int>(max(1, min(1 << 20, ceil_div(floats, kPieceFloats)))); }
INLINE constexpr int64_t at(const double* p, int i) { return static_cast<int64_t>(p[i]); }

// Sum of f(i) over n floats: four vectors side by side, so that no addition waits for the one before; the lanes last.
template <class F>
INLINE float sum_over(int64_t n, F f) {
  V lanes[4] = {};
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L)
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) lanes[v] += f(i + v * L, V{});
  for (; i + L <= n; i += L) lanes[0] += f(i, V{});
  const V total = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  float sum = across(total, [](V a, V b) { return a + b; })[0];
  for (; i < n; ++i) sum += f(i, 0.0f);
  return sum;
}

INLINE V get(const float* p, V) { return load(p); }
INLINE float get(const float* p, float) { return *p; }
INLINE void put(float* p, V v) { store(p, v); }
INLINE void put(float* p, float v) { *p = v; }

INLINE float sum_of(const float* x, int64_t n) {
  return sum_over(n, [=](int64_t i, auto t) { return get(x + i, t); });
}
INLINE float dot(const float* a, const float* b, int64_t n) {
  return sum_over(n, [=](int64_t i, auto t) { return get(a + i, t) * get(b + i, t); });
}

// Ops on `n = params[0]` floats: OPERANDS arrays of equal length, the last one written.
template <int OPERANDS>
static bool flat_plan(const double* p, Plan& plan) {
  if (p[0] < 0) return false;
  for (int i = 0; i < OPERANDS; ++i) plan.lengths[i] = at(p, 0);
  plan.pieces[0] = pieces_of(at(p, 0));
  return true;
}

INLINE Range flat_range(const Call& call, int piece) { return share(at(call.params, 0), pieces_of(at(call.params, 0)), piece); }

template <class F>
INLINE void map1(const Call& call, int piece, F f) {
  const Range r = flat_range(call, piece);
  const float* x = call.operands[0];
  float* y = call.operands[1];
  for (int64_t i = r.begin; i < r.end; ++i) y[i] = f(x[i]);
}

template <class F>
INLINE void map2(const Call& call, int piece, F f) {
  const Range r = flat_range(call, piece);
  const float* a = call.operands[0];
  const float* b = call.operands[1];
  float* y = call.operands[2];
  for (int64_t i = r.begin; i < r.end; ++i) y[i] = f(a[i], b[i]);
}

// written so that NaN passes: comparisons with it are false
static void relu_run(const Call& call, int, int piece) {
  map1(call, piece, [](float x) { return x < 0 ? 0.0f : x; });
}
static void relu_grad_run(const Call& call, int, int piece) {
  map2(call, piece, [](float dy, float y) { return y <= 0 ? 0.0f : dy; });
}
static void sigmoid_run(const Call& call, int, int piece) {
  map1(call, piece, [](float x) { return sigmoid_of(x); });
}
static void sigmoid_grad_run(const Call& call, int, int piece) {
  map2(call, piece, [](float dy, float y) { return dy * y * (1 - y); });
}
static void scale_run(const Call& call, int, int piece) {
  const float factor = static_cast<float>(call.params[1]);
  map1(call, piece, [=](float x) { return factor * x; });
}
static void constant_run(const Call& call, int, int piece) {
  const Range r = flat_range(call, piece);
  const float value = static_cast<float>(call.params[1]);
  for (int64_t i = r.begin; i < r.end; ++i) call.operands[0][i] = value;
}

// Extents of the full tensor, outermost first, and strides of strided operands along them.
struct Broadcast {
  int64_t extent[4], stride[2][4];
  int64_t rows() const { return extent[0] * extent[1] * extent[2]; }
  int64_t size() const { return rows() * extent[3]; }
};

template <int OPERANDS>
INLINE Broadcast broadcast(const double* p) {
  Broadcast b{};
  for (int i = 0; i < 4; ++i) b.extent[i] = at(p, i);
  for (int k = 0; k < OPERANDS; ++k)
    for (int i = 0; i < 4; ++i) b.stride[k][i] = at(p, 4 + 4 * k + i);
  return b;
}

INLINE bool broadcast_fits(const Broadcast& b, int operands) {
  for (int i = 0; i < 4; ++i) {
    if (b.extent[i] < 1) return false;
    for (int k = 0; k < operands; ++k)
      if (b.stride[k][i] < 0) return false;
  }
  return true;
}

INLINE int64_t span(const Broadcast& b, int k) {
  int64_t last = 0;
  for (int i = 0; i < 4; ++i) last += (b.extent[i] - 1) * b.stride[k][i];
  return last + 1;
}

// Calls `f(row offset in the full tensor, offsets in the operands)` for the rows of a piece.
template <int OPERANDS, class F>
INLINE void for_rows(const Broadcast& b, Range rows, F f) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const int64_t i2 = r % b.extent[2], i1 = r / b.extent[2] % b.extent[1], i0 = r / (b.extent[2] * b.extent[1]);
    int64_t offset[2] = {0, 0};
    for (int k = 0; k < OPERANDS; ++k) offset[k] = i0 * b.stride[k][0] + i1 * b.stride[k][1] + i2 * b.stride[k][2];
    f(r * b.extent[3], offset);
  }
}

INLINE int row_pieces(const Broadcast& b) { return static_cast<int>(min(b.rows(), pieces_of(b.size()))); }

static bool binary_plan(const double* p, Plan& plan) {
  const Broadcast b = broadcast<2>(p);
  if (!broadcast_fits(b, 2)) return false;
  plan.lengths[0] = span(b, 0);
  plan.lengths[1] = span(b, 1);
  plan.lengths[2] = b.size();
  plan.pieces[0] = row_pieces(b);
  return true;
}

template <class F>
INLINE void binary_run(const Call& call, int piece, F f) {
  const Broadcast b = broadcast<2>(call.params);
  const int64_t n = b.extent[3], sa = b.stride[0][3], sb = b.stride[1][3];
  for_rows<2>(b, share(b.rows(), row_pieces(b), piece), [&](int64_t row, const int64_t* offset) {
    const float* x = call.operands[0] + offset[0];
    const float* y = call.operands[1] + offset[1];
    float* z = call.operands[2] + row;
    if (sa == 1 && sb == 1) {
      for (int64_t i = 0; i < n; ++i) z[i] = f(x[i], y[i]);
    } else if (sa == 1 && sb == 0) {
      const float s = *y;
      for (int64_t i = 0; i < n; ++i) z[i] = f(x[i], s);
    } else {
      for (int64_t i = 0; i < n; ++i) z[i] = f(x[i * sa], y[i * sb]);
    }
  });
}

static void add_run(const Call& call, int, int piece) {
  binary_run(call, piece, [](float a, float b) { return a + b; });
}
static void multiply_run(const Call& call, int, int piece) {
  binary_run(call, piece, [](float a, float b) { return a * b; });
}

static void divide_run(const Call& call, int, int piece) {
  binary_run(call, piece, [](float a, float b) { return a / b; });
}

INLINE bool wins(float x, float best) { return x > best || x != x; }  // NaN wins
INLINE V greater(V best, V x) {  // NaN wins, and stays
  const V most = larger(x, best);
  return x != x ? x : most;
}
INLINE float greater(float best, float x) { return wins(x, best) ? x : best; }

// Neither is less: a NaN ties with everything, since where a maximum is one so is all that follows.
INLINE bool ties(float x, float y) { return !(x < y || x > y); }
INLINE V select_tied(V x, V y, V tied, V other) { return ((x < y) | (x > y)) ? other : tied; }
INLINE float select_tied(float x, float y, float tied, float other) { return ties(x, y) ? tied : other; }

static void equal_run(const Call& call, int, int piece) {
  binary_run(call, piece, [](float a, float b) { return ties(a, b) ? 1.0f : 0.0f; });
}

// x, y, value → value where x ties with y, else 0; y and value are broadcast to x
static bool select_equal_plan(const double* p, Plan& plan) {
  const Broadcast b = broadcast<2>(p);
  if (!broadcast_fits(b, 2)) return false;
  plan.lengths[0] = plan.lengths[3] = b.size();
  plan.lengths[1] = span(b, 0);
  plan.lengths[2] = span(b, 1);
  plan.pieces[0] = row_pieces(b);
  return true;
}

static void select_equal_run(const Call& call, int, int piece) {
  const Broadcast b = broadcast<2>(call.params);
  const int64_t n = b.extent[3], sy = b.stride[0][3], sv = b.stride[1][3];
  for_rows<2>(b, share(b.rows(), row_pieces(b), piece), [&](int64_t row, const int64_t* offset) {
    const float* x = call.operands[0] + row;
    const float* y = call.operands[1] + offset[0];
    const float* value = call.operands[2] + offset[1];
    float* to = call.operands[3] + row;
    for (int64_t i = 0; i < n; ++i) to[i] = ties(x[i], y[i * sy]) ? value[i * sv] : 0.0f;
  });
}

static bool broadcast_to_plan(const double* p, Plan& plan) {
  const Broadcast b = broadcast<1>(p);
  if (!broadcast_fits(b, 1)) return false;
  plan.lengths[0] = span(b, 0);
  plan.lengths[1] = b.size();
  plan.pieces[0] = row_pieces(b);
  return true;
}

static void broadcast_to_run(const Call& call, int, int piece) {
  const Broadcast b = broadcast<1>(call.params);
  const int64_t n = b.extent[3], s = b.stride[0][3];
  for_rows<1>(b, share(b.rows(), row_pieces(b), piece), [&](int64_t row, const int64_t* offset) {
    const float* x = call.operands[0] + offset[0];
    float* y = call.operands[1] + row;
    if (s == 1) {
      copy(y, x, n);
    } else if (s == 0) {
      for (int64_t i = 0; i < n; ++i) y[i] = *x;
    } else {
      for (int64_t i = 0; i < n; ++i) y[i] = x[i * s];
    }
  });
}

// Sum over stretched axes. Pieces are positions of the outermost axis where it stays, else columns of the innermost.
// Rows that fall on each other, or on one number, are summed by a few before they are added, so that long sums keep
// their precision.
constexpr int64_t kRowsAtOnce = 32;
constexpr int64_t kSumColumns = 64;
constexpr int64_t kSumFloats = 4096;

INLINE bool sum_by_rows(const Broadcast& b) { return b.stride[0][0] > 0; }
INLINE int sum_pieces(const Broadcast& b) {
  if (sum_by_rows(b)) return static_cast<int>(b.extent[0]);
  return b.stride[0][3] > 0 ? static_cast<int>(ceil_div(b.extent[3], kSumColumns)) : 1;
}

static bool sum_to_plan(const double* p, Plan& plan) {
  const Broadcast b = broadcast<1>(p);
  if (!broadcast_fits(b, 1)) return false;
  plan.lengths[0] = b.size();
  plan.lengths[1] = span(b, 0);
  plan.local = b.extent[3];
  plan.pieces[0] = sum_pieces(b);
  return true;
}

// to += each of `rows` rows of x, `n` floats of them
INLINE void add_rows(float* to, int64_t stride, const float* x, int64_t rows, int64_t row, int64_t n, float* sum) {
  for (int64_t done = 0; done < rows; done += kRowsAtOnce) {
    clear(sum, n);
    for (int64_t k = done; k < min(rows, done + kRowsAtOnce); ++k)
      for (int64_t c = 0; c < n; ++c) sum[c] += x[k * row + c];
    for (int64_t c = 0; c < n; ++c) to[c * stride] += sum[c];
  }
}

static void sum_to_run(const Call& call, int, int piece) {
  const Broadcast b = broadcast<1>(call.params);
  const int64_t *extent = b.extent, *stride = b.stride[0];
  const bool by_rows = sum_by_rows(b);
  const Range outer = by_rows ? Range{piece, piece + 1} : Range{0, extent[0]};
  const Range columns = by_rows || stride[3] == 0 ? Range{0, extent[3]} : share(extent[3], sum_pieces(b), piece);
  const int64_t n = columns.end - columns.begin, s = stride[3];
  float* y = call.operands[1] + columns.begin * s;
  const auto kept = [&](int axis, int64_t end) { return stride[axis] > 0 ? end : 1; };
  for (int64_t i = outer.begin; i < (by_rows ? outer.end : outer.begin + 1); ++i)
    for (int64_t j = 0; j < kept(1, extent[1]); ++j)
      for (int64_t k = 0; k < kept(2, extent[2]); ++k)
        for (int64_t c = 0; c < kept(3, n); ++c) y[i * stride[0] + j * stride[1] + k * stride[2] + c * s] = 0;
  for (int64_t i = outer.begin; i < outer.end; ++i)
    for (int64_t j = 0; j < extent[1]; ++j) {
      float* to = y + i * stride[0] + j * stride[1];
      const float* x = call.operands[0] + (i * extent[1] + j) * extent[2] * extent[3] + columns.begin;
      if (s > 0 && stride[2] == 0) {
        add_rows(to, s, x, extent[2], extent[3], n, call.local);
        continue;
      }
      for (int64_t k = 0; k < extent[2]; ++k, x += extent[3], to += stride[2]) {
        if (s > 0) {
          for (int64_t c = 0; c < n; ++c) to[c * s] += x[c];
        } else {
          for (int64_t c = 0; c < n; c += kSumFloats) *to += sum_of(x + c, min(kSumFloats, n - c));
        }
      }
    }
}

// The same logical order in another physical one: four extents and strides of x, then of y.
static bool reshape_plan(const double* p, Plan& plan) {
  for (int k = 0; k < 2; ++k) {
    int64_t size = 1;
    for (int i = 0; i < 4; ++i) {
      if (p[8 * k + i] < 1 || p[8 * k + 4 + i] < 0) return false;
      size *= at(p, 8 * k + i);
    }
    plan.lengths[k] = size;
  }
  return plan.lengths[0] == plan.lengths[1];
}

static void reshape_run(const Call& call, int, int) {
  const double* p = call.params;
  const auto offset = [p](int k, int64_t logical) {
    int64_t physical = 0;
    for (int i = 3; i >= 0; --i) {
      const int64_t extent = at(p, 8 * k + i);
      physical += logical % extent * at(p, 8 * k + 4 + i);
      logical /= extent;
    }
    return physical;
  };
  const int64_t size = at(p, 0) * at(p, 1) * at(p, 2) * at(p, 3);
  for (int64_t i = 0; i < size; ++i) call.operands[1][offset(1, i)] = call.operands[0][offset(0, i)];
}

// rows · [A], rows · [B] → rows · [A + B]
static bool concat_plan(const double* p, Plan& plan) {
  if (p[0] < 1 || p[1] < 1 || p[2] < 1) return false;
  plan.lengths[0] = at(p, 0) * at(p, 1);
  plan.lengths[1] = at(p, 0) * at(p, 2);
  plan.lengths[2] = plan.lengths[0] + plan.lengths[1];
  return true;
}

static void concat_run(const Call& call, int, int) {
  const int64_t rows = at(call.params, 0), A = at(call.params, 1), B = at(call.params, 2);
  const float *__restrict a = call.operands[0], *__restrict b = call.operands[1];
  float* __restrict y = call.operands[2];
  if (A == 1 && B == 1) {
    for (int64_t r = 0; r < rows; ++r) y[2 * r] = a[r], y[2 * r + 1] = b[r];
    return;
  }
  for (int64_t r = 0; r < rows; ++r, a += A, b += B, y += A + B) {
    for (int64_t i = 0; i < A; ++i) y[i] = a[i];
    for (int64_t i = 0; i < B; ++i) y[A + i] = b[i];
  }
}

// rows · [C] → rows · [count], from channel `start`
static bool slice_channels_plan(const double* p, Plan& plan) {
  if (p[0] < 1 || p[2] < 0 || p[3] < 1 || p[2] + p[3] > p[1]) return false;
  plan.lengths[0] = at(p, 0) * at(p, 1);
  plan.lengths[1] = at(p, 0) * at(p, 3);
  return true;
}

static void slice_channels_run(const Call& call, int, int) {
  const int64_t rows = at(call.params, 0), C = at(call.params, 1), n = at(call.params, 3);
  const float* __restrict x = call.operands[0] + at(call.params, 2);
  float* __restrict y = call.operands[1];
  if (C == 2 && n == 1) {
    for (int64_t r = 0; r < rows; ++r) y[r] = x[2 * r];
    return;
  }
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i) y[r * n + i] = x[r * C + i];
}

// parameter, gradient, velocity, rate [1]; params: size, momentum, nesterov, weight decay
static bool sgd_plan(const double* p, Plan& plan) {
  plan.lengths[0] = plan.lengths[1] = plan.lengths[2] = at(p, 0);
  plan.lengths[3] = 1;
  plan.pieces[0] = pieces_of(at(p, 0));
  return p[0] > 0;
}

static void sgd_run(const Call& call, int, int piece) {
  const Range r = flat_range(call, piece);
  float* __restrict parameter = call.operands[0];
  const float* __restrict gradient = call.operands[1];
  float* __restrict velocity = call.operands[2];
  const float rate = call.operands[3][0], momentum = static_cast<float>(call.params[1]);
  const float decay = static_cast<float>(call.params[3]);
  if (call.params[2] != 0) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      const float g = gradient[i] + decay * parameter[i];
      velocity[i] = momentum * velocity[i] + g;
      parameter[i] -= rate * (g + momentum * velocity[i]);
    }
  } else {
    for (int64_t i = r.begin; i < r.end; ++i) {
      velocity[i] = momentum * velocity[i] + (gradient[i] + decay * parameter[i]);
      parameter[i] -= rate * velocity[i];
    }
  }
}

// parameter, gradient, m, v, rates [3] = rate, correction, shrink; params: size, beta1, beta2, eps, weight decay
static bool adam_plan(const double* p, Plan& plan) {
  for (int i = 0; i < 4; ++i) plan.lengths[i] = at(p, 0);
  plan.lengths[4] = 3;
  plan.pieces[0] = pieces_of(at(p, 0));
  return p[0] > 0;
}

static void adam_run(const Call& call, int, int piece) {
  const Range r = flat_range(call, piece);
  float* __restrict parameter = call.operands[0];
  const float* __restrict gradient = call.operands[1];
  float* __restrict m = call.operands[2];
  float* __restrict v = call.operands[3];
  const float rate = call.operands[4][0], correction = call.operands[4][1], shrink = call.operands[4][2];
  const float beta1 = static_cast<float>(call.params[1]), beta2 = static_cast<float>(call.params[2]);
  // 1 − β is rounded once, from float64: in float32 it would lose the digits that 0.999 shares with 1
  const float rest1 = static_cast<float>(1 - call.params[1]), rest2 = static_cast<float>(1 - call.params[2]);
  const float eps = static_cast<float>(call.params[3]), decay = static_cast<float>(call.params[4]);
  for (int64_t i = r.begin; i < r.end; ++i) {
    const float g = gradient[i] + decay * parameter[i];
    m[i] = beta1 * m[i] + rest1 * g;
    v[i] = beta2 * v[i] + rest2 * g * g;
    parameter[i] = shrink * parameter[i] - rate * m[i] / (__builtin_sqrtf(v[i]) * correction + eps);
  }
}

}  // namespace ATENTO_ISA
}  // namespace atento
