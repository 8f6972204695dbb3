// Several pixelwise ops in one walk over memory: a program of vector instructions over [N,P,C] (images, pixels,
// channels last).
#pragma once
#include "region_forms.h"

namespace atento {
namespace ATENTO_ISA {

// What a thread finds out once for all of its pieces; in its workspace, where coefficients of instructions follow.
struct Prepared {
  BlockRun run;
  Instruction instructions[kMaxInstructions];
};

constexpr int64_t kPreparedFloats = (sizeof(Prepared) / sizeof(float) / kLine + 1) * kLine;

static bool region_plan(const double* p, Plan& plan) {
  const Region r{p};
  if (!region_fits(r)) return false;
  plan.operands = r.operands();
  for (int k = 0; k < r.operands(); ++k) plan.lengths[k] = r.floats(k);
  plan.local = kPreparedFloats + r.temporaries() * r.block_pixels() * r.C();
  for (int i = 0; i < r.instructions(); ++i) {
    plan.shared += shared_floats(r, r.instruction(i).op);
    plan.local += coefficients(r.instruction(i).op) * r.C();
  }
  plan.pieces[0] = r.pieces();
  plan.phases = plan.shared > 0 ? 2 : 1;
  return true;
}

// What an instruction needs of each channel.
INLINE void prepare_instruction(const RegionPiece& at, const Instruction& n, float* own) {
  const int64_t C = at.r.C();
  if (n.op == Opcode::norm) norm_rates(at.call.operands[n.b] + C, at.call.operands[n.c], n.value, C, own);
  if (n.op == Opcode::norm_grad) {
    norm_grad_rates(at.call.operands[n.c], at.call.operands[n.d], at.call.operands[n.e], n.value,
                    static_cast<float>(at.r.N() * at.r.P()), C, own);
  }
}

// What an instruction sums over the pixels of an image, before the first block.
INLINE void begin_image(const Instruction& n, int64_t C, float* own) {
  if (n.op == Opcode::sum_pixels) clear(own, C);
  if (n.op == Opcode::max_pixels)
    for (int64_t c = 0; c < C; ++c) own[c] = -__builtin_inff();
}

// Moves the float sums of a few rows to the doubles of the piece.
INLINE void flush_sums(int64_t C, float* sums, double* totals) {
  for (int64_t i = 0; i < 2 * C; ++i) totals[i] += sums[i];
  clear(sums, 2 * C);
}

// What was summed over the pixels of an image goes to the result, or to where the pieces of an image are joined.
INLINE void end_image(const RegionPiece& at, const Instruction& n, const float* own, float* shared) {
  const int64_t C = at.r.C();
  if (!reduces_pixels(n.op)) return;
  float* to = at.r.splits() > 1 ? shared + at.piece * C : at.operand(n.to, 0);
  const float factor = n.op == Opcode::sum_pixels ? n.value : 1;
  const float* start = n.c == kNone || at.r.splits() > 1 ? nullptr : at.operand(n.c, 0);
  for (int64_t c = 0; c < C; ++c) to[c] = start ? start[c] + factor * own[c] : factor * own[c];
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
    const float* start = n.c == kNone ? nullptr : call.operands[n.c] + image * C;
    for (int64_t c = 0; c < C; ++c) to[c] = start ? start[c] + parts[c] : parts[c];
    for (int64_t k = 1; k < r.splits(); ++k) {
      const float* part = parts + k * C;
      if (n.op == Opcode::sum_pixels)
        for (int64_t c = 0; c < C; ++c) to[c] += part[c];
      else
        for (int64_t c = 0; c < C; ++c) to[c] = wins(part[c], to[c]) ? part[c] : to[c];
    }
  }
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
  Prepared& prepared = *reinterpret_cast<Prepared*>(call.local);
  if (call.first) {
    prepared.run = CommonForms::find(r);
    for (int i = 0; i < r.instructions(); ++i) prepared.instructions[i] = r.instruction(i);
  }
  const BlockRun run = prepared.run;
  const Instruction* instructions = prepared.instructions;
  const bool whole = run != run_block && r.P() == kFormRows && r.splits() == 1;
  RegionPiece at{r, call, piece / r.splits() * r.images(), share(r.P(), r.splits(), piece % r.splits()), piece,
                 call.local + kPreparedFloats, whole};
  const int64_t C = r.C(), block = r.block_pixels();
  const int64_t step = run == run_block ? block : kRowsInFloat;
  const auto each = [&](auto f) {
    float *own = at.workspace + r.temporaries() * block * C, *shared = call.shared;
    for (int i = 0; i < r.instructions(); ++i) {
      f(instructions[i], own, shared);
      own += coefficients(instructions[i].op) * C;
      shared += shared_floats(r, instructions[i].op);
    }
  };
  each([&](const Instruction& n, float* own, float* shared) {
    if (call.first) prepare_instruction(at, n, own);
    begin_image(n, C, own);
    if (n.op == Opcode::grad_sums) {
      double* totals = reinterpret_cast<double*>(shared) + piece * 2 * C;
      for (int64_t c = 0; c < 2 * C; ++c) own[c] = 0, totals[c] = 0;
    }
  });
  const int64_t end = min(r.N(), at.image + r.images()), pixels = at.pixels.end - at.pixels.begin;
  for (; at.image < end; ++at.image) {
    const int64_t left = (end - at.image) * pixels;  // to the end of the piece: images lie one behind the other
    for (int64_t done = 0; done < pixels; done += step) {
      const int64_t pixel = at.pixels.begin + done, rows = min(step, pixels - done);
      run(at, instructions, pixel, rows, min(step, left - done - rows), at.workspace + r.temporaries() * block * C);
      if (done + rows == pixels || (done + rows) % kRowsInFloat < rows) each([&](const Instruction& n, float* own, float* shared) {
        if (n.op == Opcode::grad_sums) flush_sums(C, own, reinterpret_cast<double*>(shared) + piece * 2 * C);
      });
    }
    if (!whole) each([&](const Instruction& n, float* own, float* shared) {
      end_image(at, n, own, shared);
      begin_image(n, C, own);
    });
  }
}

}  // namespace ATENTO_ISA
}  // namespace atento
