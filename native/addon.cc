// The only file that knows Node.
#include <napi.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <string>

#include "program.h"

namespace atento {

namespace {

const KernelTable* table_of(const std::string& isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  if (avx512 && (isa.empty() || isa == "avx512")) return &kernels_avx512();
  if (avx2 && (isa.empty() || isa == "avx2")) return &kernels_avx2();
#endif
  if (isa.empty() || isa == "baseline") return &kernels_baseline();
  return nullptr;
}

class ArenaObject : public Napi::ObjectWrap<ArenaObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Arena",
                       {InstanceMethod<&ArenaObject::variables>("variables"), InstanceMethod<&ArenaObject::read>("read"),
                        InstanceMethod<&ArenaObject::write>("write"),
                        InstanceMethod<&ArenaObject::changed>("changed"), InstanceMethod<&ArenaObject::release>("release"),
                        InstanceAccessor<&ArenaObject::kernels>("kernels"), InstanceAccessor<&ArenaObject::isa>("isa")});
  }

  // (variables in floats, threads, isa or "")
  explicit ArenaObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ArenaObject>(info) {
    const KernelTable* table = table_of(info[2].As<Napi::String>().Utf8Value());
    if (!table) throw Napi::Error::New(info.Env(), "this processor lacks the instruction set asked for");
    try {
      arena = std::make_shared<Arena>(info[0].As<Napi::Number>().Int64Value(), info[1].As<Napi::Number>().Int32Value(), *table);
    } catch (const std::bad_alloc&) {
      throw Napi::Error::New(info.Env(), "out of memory");
    }
  }

  std::shared_ptr<Arena> arena;

 private:
  // The variables without a copy, the memory held by the array; to be asked for once (V8 takes a pointer once).
  Napi::Value variables(const Napi::CallbackInfo& info) {
    const Block& block = arena->variables;
    if (block.size() == 0) return Napi::Float32Array::New(info.Env(), 0);
    auto buffer = Napi::ArrayBuffer::New(
        info.Env(), block.data(), block.size() * 4, [](Napi::Env, void*, std::shared_ptr<Arena>* kept) { delete kept; },
        new std::shared_ptr<Arena>(arena));
    return Napi::Float32Array::New(info.Env(), block.size(), buffer, 0);
  }

  // (offset in scratch, array): copies scratch into the array, or the array into scratch.
  Napi::Value read(const Napi::CallbackInfo& info) {
    auto array = info[1].As<Napi::Float32Array>();
    std::memcpy(array.Data(), range(info, array), array.ByteLength());
    return info.Env().Undefined();
  }
  Napi::Value write(const Napi::CallbackInfo& info) {
    auto array = info[1].As<Napi::Float32Array>();
    std::memcpy(range(info, array), array.Data(), array.ByteLength());
    return info.Env().Undefined();
  }
  Napi::Value changed(const Napi::CallbackInfo& info) {
    ++arena->changes;
    return info.Env().Undefined();
  }
  Napi::Value release(const Napi::CallbackInfo& info) {
    arena->release();
    return info.Env().Undefined();
  }
  float* range(const Napi::CallbackInfo& info, const Napi::Float32Array& array) const {
    const int64_t offset = info[0].As<Napi::Number>().Int64Value();
    if (offset < 0 || offset + static_cast<int64_t>(array.ElementLength()) > arena->scratch.size()) {
      throw Napi::RangeError::New(info.Env(), "out of bounds of the scratch memory");
    }
    return arena->scratch.data() + offset;
  }

  Napi::Value isa(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), arena->kernels.isa); }

  Napi::Value kernels(const Napi::CallbackInfo& info) {
    auto names = Napi::Array::New(info.Env(), arena->kernels.count);
    for (int i = 0; i < arena->kernels.count; ++i) names[i] = Napi::String::New(info.Env(), arena->kernels.kernels[i].name);
    return names;
  }
};

class RunWorker : public Napi::AsyncWorker {
 public:
  RunWorker(Napi::Env env, Napi::Object owner, std::shared_ptr<Program> program)
      : Napi::AsyncWorker(env),
        deferred(Napi::Promise::Deferred::New(env)),
        program_(std::move(program)),
        owner_(Napi::Persistent(owner)) {}
  void Execute() override { program_->run(); }
  void OnOK() override { deferred.Resolve(Env().Undefined()); }
  void OnError(const Napi::Error& error) override { deferred.Reject(error.Value()); }

  Napi::Promise::Deferred deferred;

 private:
  std::shared_ptr<Program> program_;
  Napi::ObjectReference owner_;  // not collected while it runs
};

class ProgramObject : public Napi::ObjectWrap<ProgramObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Program",
                       {InstanceMethod<&ProgramObject::reserve>("reserve"), InstanceMethod<&ProgramObject::run>("run"), InstanceMethod<&ProgramObject::times>("times"),
                        InstanceMethod<&ProgramObject::reset>("resetTimes")});
  }

  // (arena, code, scratch in floats, whether weights stay prepared)
  explicit ProgramObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ProgramObject>(info) {
    ArenaObject* arena = ArenaObject::Unwrap(info[0].As<Napi::Object>());
    const auto code = info[1].As<Napi::Float64Array>();
    const std::string problem = program_->load(arena->arena, code.Data(), static_cast<int64_t>(code.ElementLength()),
                                               info[2].As<Napi::Number>().Int64Value(), info[3].As<Napi::Boolean>().Value());
    if (!problem.empty()) throw Napi::Error::New(info.Env(), problem);
  }

 private:
  Napi::Value reserve(const Napi::CallbackInfo& info) {
    try {
      program_->reserve();
    } catch (const std::bad_alloc&) {
      throw Napi::Error::New(info.Env(), "out of memory");
    }
    return info.Env().Undefined();
  }

  Napi::Value run(const Napi::CallbackInfo& info) {
    auto* worker = new RunWorker(info.Env(), info.This().As<Napi::Object>(), program_);
    worker->Queue();
    return worker->deferred.Promise();
  }

  // Seconds spent in each record since the last reset.
  Napi::Value times(const Napi::CallbackInfo& info) {
    const auto& records = program_->records();
    auto times = Napi::Float64Array::New(info.Env(), records.size());
    for (size_t i = 0; i < records.size(); ++i) times[i] = records[i].seconds;
    return times;
  }

  Napi::Value reset(const Napi::CallbackInfo& info) {
    program_->reset_times();
    return info.Env().Undefined();
  }

  std::shared_ptr<Program> program_ = std::make_shared<Program>();
};

// Multiply-adds a second that `threads` threads reach on registers alone.
Napi::Value peak(const Napi::CallbackInfo& info) {
  const KernelTable* table = table_of(info[1].As<Napi::String>().Utf8Value());
  if (!table) throw Napi::Error::New(info.Env(), "this processor lacks the instruction set asked for");
  Pool pool(info[0].As<Napi::Number>().Int32Value());
  struct Context { const KernelTable* table; std::atomic<int64_t> done{0}; } context{table};
  const auto work = [&] {
    pool.run(pool.threads(), [](void* p, int, int, bool) {
      auto* c = static_cast<Context*>(p);
      c->done += static_cast<int64_t>(c->table->peak(20'000'000));
    }, &context);
  };
  pool.begin();
  work();
  context.done = 0;
  const auto start = std::chrono::steady_clock::now();
  work();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  pool.end();
  return Napi::Number::New(info.Env(), static_cast<double>(context.done) / seconds);
}

// (exit code): ends the process without waiting for a program that runs, which process.exit would.
Napi::Value leave(const Napi::CallbackInfo& info) {
  _exit(info[0].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Arena", ArenaObject::define(env));
  exports.Set("Program", ProgramObject::define(env));
  exports.Set("peak", Napi::Function::New(env, peak));
  exports.Set("leave", Napi::Function::New(env, leave));
  return exports;
}

NODE_API_MODULE(atento, init)

}  // namespace

}  // namespace atento
