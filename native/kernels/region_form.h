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
  // Vectors of coefficients and sums that the instructions before this one have.
  static constexpr int own_before(int instruction) {
    int before = 0;
    for (int i = 0; i < instruction; ++i) before += coefficients(region.instruction(i).op);
    return before;
  }
};

// A few channels of one pixel; where they stand.
template <class Form, class T>
struct FormValues {
  T operand[FormCode<Form>::operands], temporary[FormCode<Form>::region.temporaries() + 1];
  float* own;
  int64_t C;
};

template <int ref, class Form, class T>
INLINE T& value_of(FormValues<Form, T>& v) {
  if constexpr (ref < 0) return v.temporary[-ref - 1];
  else return v.operand[ref];
}

template <class T>
INLINE void add_to(float* sum, T x) { put(sum, get(sum, T{}) + x); }

// Stands for an operand that an instruction has not.
constexpr int operand_or(int ref, int other) { return ref == kNone ? other : ref; }

// Runs instruction i; `total` is what it sums over channels, `factor` what it multiplies by.
template <int i, class Form, class T>
INLINE void run_step(FormValues<Form, T>& v, T& total, float factor) {
  constexpr Instruction n = FormCode<Form>::region.instruction(i);
  const T zero{}, a = value_of<n.a>(v);
  float* own = v.own + FormCode<Form>::own_before(i) * v.C;
  const auto coefficient = [&](int k) { return get(own + k * v.C, zero); };
  const T b = value_of<operand_or(n.b, n.a)>(v), c = value_of<operand_or(n.c, n.a)>(v), d = value_of<operand_or(n.d, n.a)>(v);
  if constexpr (n.op == Opcode::sum_channels) total += n.b == kNone ? a : a * b;
  else if constexpr (n.op == Opcode::max_channels) total = greater(total, a);
  else if constexpr (n.op == Opcode::sum_pixels) add_to(own, n.b == kNone ? a : a * b);
  else if constexpr (n.op == Opcode::max_pixels) put(own, greater(get(own, zero), a));
  else if constexpr (n.op == Opcode::grad_sums) {
    add_to(own, a);
    add_to(own + v.C, a * (b - c));
  } else {
    T y = a;
    if constexpr (n.op == Opcode::norm) y = (a - b) * coefficient(0) + d;
    else if constexpr (n.op == Opcode::norm_grad) y = coefficient(0) * a + (coefficient(1) * (b - c) + coefficient(2));
    else if constexpr (n.op == Opcode::multiply_add) y = n.c == kNone ? a * b : a * b + c;
    else if constexpr (n.op == Opcode::add) y = a + b;
    else if constexpr (n.op == Opcode::divide) y = a / b;
    else if constexpr (n.op == Opcode::sigmoid_grad) y = a * b * (1.0f - b);
    else if constexpr (n.op == Opcode::scale) y = factor * a;
    else if constexpr (n.op == Opcode::mask) y = b <= zero ? zero : a;
    else if constexpr (n.op == Opcode::equal) y = select_equal(a, b, zero + 1.0f);
    else if constexpr (n.op == Opcode::select_equal) y = n.d == kNone ? select_equal(a, b, c) : select_equal(a, b, c) + d;
    else static_assert(n.op == Opcode::copy, "an instruction without a meaning here");
    value_of<n.to>(v) = n.relu ? relu_of(y) : y;
  }
}

// The channels from c on of one row of pixels.
template <class Form, class T>
INLINE void run_channels(const Instruction* instructions, float* const* rows, float* own, int64_t C, int64_t c, T* totals) {
  using Code = FormCode<Form>;
  FormValues<Form, T> v;
  v.own = own + c, v.C = C;
  for_indices(typename Code::Operands{}, [&](auto k) {
    constexpr Extent extent = Code::region.extent(k);
    if constexpr (!Code::is_result(k)) v.operand[k] = extent == Extent::pixel ? *rows[k] - T{} : get(rows[k] + c, T{});
    if constexpr (extent == Extent::full) __builtin_prefetch(rows[k] + c + kFetchAhead, 0, 2);
  });
  for_indices(typename Code::Instructions{}, [&](auto i) {
    run_step<i>(v, totals[i], instructions[i].value);
    constexpr int to = Code::region.instruction(i).to;
    if constexpr (to >= 0 && !reduces(Code::region.instruction(i).op)) put(rows[to] + c, v.operand[to]);
  });
}

// Runs all instructions on some rows.
template <class Form>
static void run_form(const RegionPiece& at, const Instruction* instructions, int64_t pixel, int64_t rows, int64_t, float* own) {
  using Code = FormCode<Form>;
  const int64_t C = at.r.C();
  float* row[Code::operands];
  for (int k = 0; k < Code::operands; ++k) row[k] = at.operand(k, pixel);
  for (int64_t r = 0; r < rows; ++r) {
    V totals[Code::instructions];
    float rest[Code::instructions];
    for_indices(typename Code::Instructions{}, [&](auto i) {
      constexpr bool most = Code::region.instruction(i).op == Opcode::max_channels;
      rest[i] = most ? -__builtin_inff() : 0.0f;
      totals[i] = splat(rest[i]);
    });
    int64_t c = 0;
    for (; c + L <= C; c += L) run_channels<Form>(instructions, row, own, C, c, totals);
    for (; c < C; ++c) run_channels<Form>(instructions, row, own, C, c, rest);
    for_indices(typename Code::Instructions{}, [&](auto i) {
      constexpr Instruction n = Code::region.instruction(i);
      if constexpr (n.op == Opcode::sum_channels)
        *row[n.to] = instructions[i].value * (across(totals[i], [](V a, V b) { return a + b; })[0] + rest[i]);
      if constexpr (n.op == Opcode::max_channels)
        *row[n.to] = greater(across(totals[i], [](V a, V b) { return greater(a, b); })[0], rest[i]);
    });
    for_indices(typename Code::Operands{}, [&](auto k) {
      constexpr Extent extent = Code::region.extent(k);
      row[k] += extent == Extent::full ? C : extent == Extent::pixel;
    });
  }
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
