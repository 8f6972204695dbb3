#include "program.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

namespace atento {

namespace {

constexpr int64_t kAlign = 64;  // bytes of a cache line
constexpr int64_t kCached = 7 * 1024 * 1024;       // floats: most of a large third-level cache
constexpr int64_t kMostFetched = 1024 * 1024;      // floats: more of them cost the multiplications what they save
constexpr int64_t kLeastFetched = 4 * 1024;        // floats

int64_t bytes_of(int64_t floats) { return (floats * 4 + kAlign - 1) / kAlign * kAlign; }

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Block::Block(int64_t floats) : floats_(floats) {
  if (floats == 0) return;
  void* memory = mmap(nullptr, bytes_of(floats), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  madvise(memory, bytes_of(floats), MADV_HUGEPAGE);
#endif
  data_ = static_cast<float*>(memory);
}

Block::~Block() {
  if (data_) munmap(data_, bytes_of(floats_));
}

Block::Block(Block&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), floats_(std::exchange(other.floats_, 0)) {}

Block& Block::operator=(Block&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(floats_, other.floats_);
  return *this;
}

Arena::Arena(int64_t floats, int threads, const KernelTable& table)
    : variables(floats), local(threads), kernels(table), pool(threads) {}

void Arena::reserve(int64_t scratch_floats, int64_t shared_floats, int64_t local_floats) {
  const auto grow = [](Block& block, int64_t floats) {
    if (block.size() >= floats) return;
    block = Block();  // freed first: two of the largest blocks would not be needed at once
    block = Block(floats);
  };
  grow(scratch, scratch_floats);
  grow(shared, shared_floats);
  for (Block& block : local) grow(block, local_floats);
}

void Arena::release() {
  scratch = Block();
  shared = Block();
  for (Block& block : local) block = Block();
  for (auto& [key, weights] : kept) weights = Kept();
}

std::string Program::load(std::shared_ptr<Arena> arena, const double* code, int64_t length, int64_t scratch,
                          bool keeps) {
  arena_ = std::move(arena);
  scratch_ = scratch;
  const int64_t end = arena_->variables.size() + scratch;
  for (int64_t at = 0; at < length;) {
    const std::string where = "record " + std::to_string(records_.size());
    const int64_t index = static_cast<int64_t>(code[at]);
    if (index < 0 || index >= arena_->kernels.count) return where + ": no kernel " + std::to_string(index);
    Record record{&arena_->kernels.kernels[index], {}, {}, {}};
    const std::string what = where + " (" + record.kernel->name + ")";
    if (at + 2 > length) return what + ": code ends early";
    const int64_t operands = static_cast<int64_t>(code[at + 1]), last = at + 2 + 2 * operands;
    if (operands < 0 || operands > kMaxOperands || last + 1 > length) return what + ": code ends early";
    const int64_t params = static_cast<int64_t>(code[last]), need = 3 + 2 * operands + params;
    if (params < 1 || at + need > length) return what + ": code ends early";
    record.params.assign(code + last + 1, code + at + need);
    if (params != (record.kernel->params == kAsPlanned ? record.params[0] : record.kernel->params)) {
      return what + ": wrong number of parameters";
    }
    if (!record.kernel->plan(record.params.data(), record.plan)) return what + ": parameters do not fit together";
    if (operands != (record.kernel->operands == kAsPlanned ? record.plan.operands : record.kernel->operands)) {
      return what + ": wrong number of operands";
    }
    for (int k = 0; k < operands; ++k) {
      const int64_t offset = static_cast<int64_t>(code[at + 2 + 2 * k]), floats = static_cast<int64_t>(code[at + 3 + 2 * k]);
      if (offset < 0 || floats < record.plan.lengths[k] || offset + floats > end ||
          (offset < arena_->variables.size() && offset + floats > arena_->variables.size())) {
        return what + ": operand " + std::to_string(k) + " is out of bounds";
      }
      record.spans.push_back({offset, floats});
    }
    const int prepares = record.plan.prepares;
    if (keeps && prepares > 0 && record.spans[1].offset < arena_->variables.size()) {
      std::vector<double> key(record.params.begin() + 1, record.params.begin() + prepares);
      for (const int64_t part : {index, record.spans[1].offset, record.plan.shared}) key.push_back(static_cast<double>(part));
      record.kept = &arena_->kept[key];
    } else {
      shared_ = std::max(shared_, record.plan.shared);
    }
    local_ = std::max(local_, record.plan.local);
    records_.push_back(std::move(record));
    at += need;
  }
  plan_fetches();
  return "";
}

// A record that multiplies for long fetches what those up to the next such record need: their large operands, but for
// what records shortly before have touched, which is in a cache already.
void Program::plan_fetches() {
  const auto overlap = [](const Span& a, const Span& b) {
    return a.offset < b.offset + b.floats && b.offset < a.offset + a.floats;
  };
  for (size_t i = 0; i < records_.size(); ++i) {
    Record& record = records_[i];
    if (record.plan.fetches < 0) continue;
    std::vector<Span> touched;
    int64_t cached = 0, fetched = 0;
    for (size_t k = i + 1; k-- > 0 && cached < kCached;)
      for (const Span& span : records_[k].spans) touched.push_back(span), cached += span.floats;
    for (size_t k = i + 1; k < records_.size() && records_[k].plan.fetches < 0; ++k)
      for (const Span& span : records_[k].spans) {
        const bool fits = span.floats >= kLeastFetched && record.soon.size() < kMostSoon && fetched + span.floats <= kMostFetched;
        if (fits && std::none_of(touched.begin(), touched.end(), [&](const Span& t) { return overlap(t, span); })) {
          record.soon.push_back(span);
          fetched += span.floats;
        }
        touched.push_back(span);
      }
  }
}

float* Program::data(int64_t offset) const {
  const int64_t variables = arena_->variables.size();
  return offset < variables ? arena_->variables.data() + offset : arena_->scratch.data() + (offset - variables);
}

void Program::reserve() {
  arena_->reserve(scratch_, shared_, local_);
  for (const Record& record : records_)
    if (record.kept && record.kept->block.size() == 0) record.kept->block = Block(record.plan.shared);
}

void Program::run() {
  struct Context {
    Arena* arena;
    const Record* record;
    float* operands[kMaxOperands];
    Stretch soon[kMostSoon];
    float* shared;
    int phase;
  } context{arena_.get(), nullptr, {}, {}, nullptr, 0};
  const int64_t changes = arena_->changes;
  const FlushDenormals flush;
  arena_->pool.begin();
  double last = now();
  for (Record& record : records_) {
    context.record = &record;
    for (size_t k = 0; k < record.spans.size(); ++k) context.operands[k] = data(record.spans[k].offset);
    for (size_t k = 0; k < record.soon.size(); ++k) context.soon[k] = {data(record.soon[k].offset), record.soon[k].floats};
    context.shared = (record.kept ? record.kept->block : arena_->shared).data();
    const bool prepared = record.kept && record.kept->changes == changes;
    for (int phase = prepared; phase < record.plan.phases; ++phase) {
      context.phase = phase;
      arena_->pool.run(
          record.plan.pieces[phase],
          [](void* p, int piece, int thread, bool first) {
            const Context& c = *static_cast<Context*>(p);
            const Plan& plan = c.record->plan;
            Call call;  // stretches are written as far as they are read
            call.operands = c.operands;
            call.params = c.record->params.data();
            call.shared = c.shared;
            call.local = c.arena->local[thread].data();
            call.first = first;
            call.stretches = 0;
            if (c.phase == plan.fetches) {
              for (size_t k = 0; k < c.record->soon.size(); ++k) {
                const Stretch& all = c.soon[k];
                const int64_t begin = all.floats * piece / plan.pieces[c.phase];
                const int64_t end = all.floats * (piece + 1) / plan.pieces[c.phase];
                call.soon[call.stretches++] = {all.at + begin, end - begin};
              }
            }
            c.record->kernel->run(call, c.phase, piece);
          },
          &context);
    }
    if (record.kept) record.kept->changes = changes;
    const double time = now();
    record.seconds += time - last;
    last = time;
  }
  arena_->pool.end();
}

void Program::reset_times() {
  for (Record& record : records_) record.seconds = 0;
}

}  // namespace atento
