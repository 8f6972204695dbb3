// Regions whose program is known when this is compiled: one walk over memory, on which no value leaves its register.
#pragma once
#include <iterator>

#include "region_block.h"

namespace atento {
namespace ATENTO_ISA {

// Parameters of a region, 0 for its sizes and for what sums are multiplied by.
template <int... numbers>
struct Form {
  static constexpr double params[] = {numbers...};
};

constexpr int64_t kFetchAhead = 1024;  // floats
constexpr int kFormRows = 4;           // that share what is read for all of them
constexpr int64_t kTwiceChannels = 512;  // of rows that are only read, twice as many at most: longer ones fight for the caches

template <int... i, class F>
INLINE void for_indices(std::integer_sequence<int, i...>, F f) {
  (f(std::integral_constant<int, i>{}), ...);
}

template <class Form>
struct FormCode {
  static constexpr Region region{Form::params};
  static constexpr int operands = region.operands(), instructions = region.instructions();
  using Operands = std::make_integer_sequence<int, operands>;
  using Instructions = std::make_integer_sequence<int, instructions>;
  static constexpr bool is_result(int k) {
    for (int i = 0; i < instructions; ++i)
      if (region.instruction(i).to == k) return true;
    return false;
  }
  static constexpr bool reduces_all() {
    for (int i = 0; i < instructions; ++i)
      if (region.instruction(i).to >= 0 && !reduces(region.instruction(i).op)) return false;
    return true;
  }
  static constexpr bool only_reduces = reduces_all();
  // Vectors of coefficients and sums that the instructions before this one have.
  static constexpr int own_before(int instruction) {
    int before = 0;
    for (int i = 0; i < instruction; ++i) before += coefficients(region.instruction(i).op);
    return before;
  }
  static constexpr int own = own_before(instructions);
  // Whether the next instruction counts the ties of this one over the pixels.
  static constexpr bool counted(int i) {
    if (i < 0 || i + 1 >= instructions) return false;
    const Instruction n = region.instruction(i), next = region.instruction(i + 1);
    return n.op == Opcode::equal && next.op == Opcode::sum_pixels && next.a == n.to && next.b == kNone;
  }
};

// A few channels of some pixels of one image, and what they have in common: coefficients, sums over the pixels.
template <class Form, class T, int rows>
struct FormValues {
  T operand[rows][FormCode<Form>::operands], temporary[rows][FormCode<Form>::region.temporaries() + 1];
  T own[FormCode<Form>::own + 1];
};

template <int ref, class Form, class T, int rows>
INLINE T& value_of(FormValues<Form, T, rows>& v, int row) {
  if constexpr (ref < 0) return v.temporary[row][-ref - 1];
  else return v.operand[row][ref];
}

// Stands for an operand that an instruction has not.
constexpr int operand_or(int ref, int other) { return ref == kNone ? other : ref; }

// Runs instruction i on one row; `total` is what it sums over channels, `factor` what it multiplies by.
template <int i, class Form, class T, int rows>
INLINE void run_step(FormValues<Form, T, rows>& v, int row, T& total, float factor) {
  constexpr Instruction n = FormCode<Form>::region.instruction(i);
  const T zero{}, a = value_of<n.a>(v, row);
  T* own = v.own + FormCode<Form>::own_before(i);
  const T b = value_of<operand_or(n.b, n.a)>(v, row), c = value_of<operand_or(n.c, n.a)>(v, row);
  const T d = value_of<operand_or(n.d, n.a)>(v, row);
  if constexpr (FormCode<Form>::counted(i)) own[0] = select_tied(a, b, own[0] + 1.0f, own[0]);
  if constexpr (FormCode<Form>::counted(i - 1)) return;
  else if constexpr (n.op == Opcode::sum_channels) total += n.b == kNone ? a : a * b;
  else if constexpr (n.op == Opcode::max_channels) total = greater(total, a);
  else if constexpr (n.op == Opcode::sum_pixels) own[0] += n.b == kNone ? a : a * b;
  else if constexpr (n.op == Opcode::max_pixels) own[0] = greater(own[0], a);
  else if constexpr (n.op == Opcode::grad_sums) {
    own[0] += a;
    own[1] += a * (b - c);
  } else {
    T y = a;
    if constexpr (n.op == Opcode::norm) y = (a - b) * own[0] + d;
    else if constexpr (n.op == Opcode::norm_grad) y = own[0] * a + (own[1] * (b - c) + own[2]);
    else if constexpr (n.op == Opcode::multiply_add) y = n.c == kNone ? a * b : a * b + c;
    else if constexpr (n.op == Opcode::add) y = a + b;
    else if constexpr (n.op == Opcode::divide) y = a / b;
    else if constexpr (n.op == Opcode::sigmoid_grad) y = a * b * (1.0f - b);
    else if constexpr (n.op == Opcode::scale) y = factor * a;
    else if constexpr (n.op == Opcode::mask) y = b <= zero ? zero : a;
    else if constexpr (n.op == Opcode::equal) y = select_tied(a, b, zero + 1.0f, zero);
    else if constexpr (n.op == Opcode::select_equal) y = n.d == kNone ? select_tied(a, b, c, zero) : select_tied(a, b, c + d, d);
    else static_assert(n.op == Opcode::copy, "an instruction without a meaning here");
    value_of<n.to>(v, row) = n.relu ? relu_of(y) : y;
  }
}

// Where the sums of an image go, what they are multiplied by, and whether nothing more comes to them.
struct FormSum {
  float* to;
  float factor;
  bool whole;
};

// The channels from c on of some rows of pixels.
template <class Form, int rows, class T>
INLINE void run_channels(const Instruction* instructions, float* const* first, const float* own, const FormSum* sums, int64_t C,
                         int64_t c, T (*totals)[FormCode<Form>::instructions]) {
  using Code = FormCode<Form>;
  FormValues<Form, T, rows> v;
#pragma GCC unroll 8
  for (int k = 0; k < Code::own; ++k) v.own[k] = get(own + k * C + c, T{});
  T common[Code::operands];
  for_indices(typename Code::Operands{}, [&](auto k) {
    constexpr Extent extent = Code::region.extent(k);
    if constexpr (!Code::is_result(k) && extent != Extent::pixel && extent != Extent::full) common[k] = get(first[k] + c, T{});
    if constexpr (extent == Extent::full) {
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) __builtin_prefetch(first[k] + r * C + c + max(rows * C, kFetchAhead), 0, 2);
    }
  });
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    for_indices(typename Code::Operands{}, [&](auto k) {
      constexpr Extent extent = Code::region.extent(k);
      if constexpr (Code::is_result(k)) return;
      else if constexpr (extent == Extent::pixel) v.operand[r][k] = first[k][r] - T{};
      else if constexpr (extent == Extent::full) v.operand[r][k] = get(first[k] + r * C + c, T{});
      else v.operand[r][k] = common[k];
    });
    for_indices(typename Code::Instructions{}, [&](auto i) {
      run_step<i>(v, r, totals[r][i], instructions[i].value);
      constexpr int to = Code::region.instruction(i).to;
      if constexpr (to >= 0 && !reduces(Code::region.instruction(i).op)) put(first[to] + r * C + c, v.operand[r][to]);
    });
  }
  for_indices(typename Code::Instructions{}, [&](auto i) {
    constexpr Instruction n = Code::region.instruction(i);
    constexpr int begin = Code::own_before(i);
    if constexpr (n.op == Opcode::sum_pixels) {
      T sum = sums[begin].factor * v.own[begin];
      if (n.c != kNone && sums[begin].whole) sum += common[operand_or(n.c, 0)];
      put(sums[begin].to + c, sum);
    } else if constexpr (reduces_pixels(n.op) || n.op == Opcode::grad_sums) {
      for (int k = begin; k < begin + coefficients(n.op); ++k) put(sums[k].to + c, v.own[k]);
    }
  });
}

// Runs all instructions on some rows at once, and goes on to those behind them.
template <class Form, int rows>
INLINE void run_rows(const Instruction* instructions, float** first, const float* own, const FormSum* sums, int64_t C) {
  using Code = FormCode<Form>;
  V totals[rows][Code::instructions];
  float rest[rows][Code::instructions];
  for_indices(typename Code::Instructions{}, [&](auto i) {
    constexpr bool most = Code::region.instruction(i).op == Opcode::max_channels;
    for (int r = 0; r < rows; ++r) {
      rest[r][i] = most ? -__builtin_inff() : 0.0f;
      totals[r][i] = splat(rest[r][i]);
    }
  });
  int64_t c = 0;
  for (; c + L <= C; c += L) run_channels<Form, rows>(instructions, first, own, sums, C, c, totals);
  for (; c < C; ++c) run_channels<Form, rows>(instructions, first, own, sums, C, c, rest);
  for_indices(typename Code::Instructions{}, [&](auto i) {
    constexpr Instruction n = Code::region.instruction(i);
    for (int r = 0; r < rows; ++r) {
      if constexpr (n.op == Opcode::sum_channels)
        first[n.to][r] = instructions[i].value * (across(totals[r][i], [](V a, V b) { return a + b; })[0] + rest[r][i]);
      if constexpr (n.op == Opcode::max_channels)
        first[n.to][r] = greater(across(totals[r][i], [](V a, V b) { return greater(a, b); })[0], rest[r][i]);
    }
  });
  for_indices(typename Code::Operands{}, [&](auto k) {
    constexpr Extent extent = Code::region.extent(k);
    first[k] += extent == Extent::full ? rows * C : extent == Extent::pixel ? rows : 0;
  });
}

template <class Form>
static void run_form(const RegionPiece& at, const Instruction* instructions, int64_t pixel, int64_t rows, int64_t, float* own) {
  float* first[FormCode<Form>::operands];
  for (int k = 0; k < FormCode<Form>::operands; ++k) first[k] = at.operand(k, pixel);
  FormSum sums[FormCode<Form>::own + 1];
  for (int k = 0; k < FormCode<Form>::own; ++k) sums[k] = {own + k * at.r.C(), 1, false};
  for (int i = 0; i < FormCode<Form>::instructions && at.whole; ++i)
    if (reduces_pixels(instructions[i].op)) sums[FormCode<Form>::own_before(i)] = {first[instructions[i].to], instructions[i].value, true};
  int64_t r = 0;
  if constexpr (FormCode<Form>::only_reduces)
    for (; at.r.C() <= kTwiceChannels && r + 2 * kFormRows <= rows; r += 2 * kFormRows)
      run_rows<Form, 2 * kFormRows>(instructions, first, own, sums, at.r.C());
  for (; r + kFormRows <= rows; r += kFormRows) run_rows<Form, kFormRows>(instructions, first, own, sums, at.r.C());
  for (; r < rows; ++r) run_rows<Form, 1>(instructions, first, own, sums, at.r.C());
}

using BlockRun = void (*)(const RegionPiece&, const Instruction*, int64_t pixel, int64_t rows, int64_t after, float* own);

// Whether a region has the program of a form: all of its numbers but sizes and factors.
template <class Form>
INLINE bool has_form(const Region& r) {
  using Code = FormCode<Form>;
  const int head = 7 + Code::operands;
  for (int i = 0; i < static_cast<int>(std::size(Form::params)); ++i) {
    const bool varies = (i >= 2 && i < 5) || (i >= head && (i - head) % 9 == 8);
    if (!varies && r.p[i] != Form::params[i]) return false;
  }
  return true;
}

template <class... Forms>
struct FormList {
  static BlockRun find(const Region& r) {
    BlockRun found = run_block;
    (void)((has_form<Forms>(r) && (found = run_form<Forms>, true)) || ...);
    return found;
  }
};

}  // namespace ATENTO_ISA
}  // namespace atento
