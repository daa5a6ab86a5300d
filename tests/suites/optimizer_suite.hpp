#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <attune/backend/reference/reference.hpp>
#include <attune/core/parallel.hpp>

#include "suites/arguments.hpp"

namespace attune::testing {

/// Three chunks of two groups in one arena, with a gap that belongs to nobody and a bfloat16 copy of the
/// first.
struct OptimizerProblem {
  static constexpr std::int64_t first = 5000, second = 37, third = 1, gap = 3,
                                size = first + gap + second + third;
  std::vector<float> master, grad, first_moment, second_moment;
  std::vector<bfloat16> rounded;
  std::vector<float> copied;

  OptimizerProblem() : rounded(first), copied(second) {
    RandomStream random(3);
    for (std::int64_t i = 0; i < size; ++i) {
      master.push_back(2.0f * random.uniform() - 1.0f);
      grad.push_back(random.normal());
      first_moment.push_back(0.1f * random.normal());
      second_moment.push_back(0.1f * random.uniform());
    }
  }
  ArenaView arena() { return {master.data(), grad.data(), first_moment.data(), second_moment.data()}; }
  std::vector<ParameterChunk> chunks() {
    return {{0, first, 1, rounded.data(), DType::bf16},
            {first + gap, second, 0, copied.data(), DType::f32},
            {first + gap + second, third, 1, nullptr, DType::f32}};
  }
  friend bool operator==(const OptimizerProblem& a, const OptimizerProblem& b) {
    const auto bits = [](const OptimizerProblem& p) {
      std::vector<std::uint16_t> result;
      for (const bfloat16 value : p.rounded) result.push_back(value.bits);
      return result;
    };
    return a.master == b.master && a.first_moment == b.first_moment && a.second_moment == b.second_moment &&
           bits(a) == bits(b) && a.copied == b.copied;
  }
};

inline const std::vector<AdamWGroup> adamw_groups{{1e-2f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.271f, 0.002997f},
                                                  {1e-3f, 0.8f, 0.99f, 1e-6f, 0.0f, 0.488f, 0.029701f}};

/// Runs the kernels of any backend on a problem that lies on the host: copies it there and back.
template <class B>
class OptimizerOn {
 public:
  explicit OptimizerOn(const B& device) : device_(device) {}

  float grad_norm(OptimizerProblem& problem) const {
    const Buffer<float> norm(device_, std::size_t{1});
    on_device(problem, [&](const ArenaView& arena, const auto& chunks) {
      device_.grad_norm(arena, std::span<const ParameterChunk>(chunks), norm.data());
    });
    return norm.value();
  }
  float clip_scale(float norm, float max_norm) const {
    const Buffer<float> from(device_, norm), scale(device_, std::size_t{1});
    device_.clip_scale(from.data(), max_norm, scale.data());
    return scale.value();
  }
  void adamw(OptimizerProblem& problem, const std::vector<AdamWGroup>& groups, const float* scale) const {
    const Buffer<float> factor(device_, scale ? *scale : 0.0f);
    on_device(problem, [&](const ArenaView& arena, const auto& chunks) {
      device_.adamw(arena, std::span<const ParameterChunk>(chunks), std::span<const AdamWGroup>(groups),
                    scale ? factor.data() : nullptr);
    });
  }
  void sgd(OptimizerProblem& problem, const std::vector<SgdGroup>& groups, const float* scale) const {
    const Buffer<float> factor(device_, scale ? *scale : 0.0f);
    on_device(problem, [&](const ArenaView& arena, const auto& chunks) {
      device_.sgd(arena, std::span<const ParameterChunk>(chunks), std::span<const SgdGroup>(groups),
                  scale ? factor.data() : nullptr);
    });
  }

 private:
  template <class E>
  class Buffer {
   public:
    Buffer(const B& device, std::size_t count)
        : device_(device), bytes_(count * sizeof(E)), data_(static_cast<E*>(device.allocate(bytes_))) {}
    Buffer(const B& device, E value) : Buffer(device, std::size_t{1}) {
      device.upload(data_, &value, sizeof value);
    }
    Buffer(const B& device, const std::vector<E>& values) : Buffer(device, values.size()) {
      device.upload(data_, values.data(), bytes_);
    }
    ~Buffer() { device_.deallocate(data_, bytes_); }
    Buffer(const Buffer&) = delete;

    E* data() const { return data_; }
    void read(std::vector<E>& values) const { device_.download(values.data(), data_, bytes_); }
    E value() const {
      E result;
      device_.download(&result, data_, sizeof result);
      return result;
    }

   private:
    B device_;
    std::size_t bytes_;
    E* data_;
  };

  template <class F>
  void on_device(OptimizerProblem& problem, const F& f) const {
    const Buffer<float> master(device_, problem.master), grad(device_, problem.grad),
        first(device_, problem.first_moment), second(device_, problem.second_moment),
        copied(device_, problem.copied);
    const Buffer<bfloat16> rounded(device_, problem.rounded);
    std::vector<ParameterChunk> chunks = problem.chunks();
    chunks[0].rounded = rounded.data();
    chunks[1].rounded = copied.data();
    f(ArenaView{master.data(), grad.data(), first.data(), second.data()}, chunks);
    master.read(problem.master);
    first.read(problem.first_moment);
    second.read(problem.second_moment);
    rounded.read(problem.rounded);
    copied.read(problem.copied);
  }

  B device_;
};

/// Steps on B and on the reference from the same state.
template <class B>
void check_optimizer(const B& backend) {
  const OptimizerOn<B> device(backend);
  const float scale = 0.37f;
  const auto close = [](const OptimizerProblem& found, const OptimizerProblem& exact) {
    for (std::size_t i = 0; i < found.master.size(); ++i) {
      // A few roundings of each number, and those of the step (at most 10 times the learning rate here).
      CHECK(std::abs(found.master[i] - exact.master[i]) <= 0x1p-24 * (4 * std::abs(exact.master[i]) + 1));
      CHECK(std::abs(found.first_moment[i] - exact.first_moment[i]) <= 0x1p-24 * 8);
      CHECK(std::abs(found.second_moment[i] - exact.second_moment[i]) <= 0x1p-24 * 16);
    }
    // The copies are the new master, rounded.
    for (std::size_t i = 0; i < found.rounded.size(); ++i)
      CHECK(found.rounded[i].bits == bfloat16(found.master[i]).bits);
    for (std::size_t i = 0; i < found.copied.size(); ++i)
      CHECK(found.copied[i] == found.master[OptimizerProblem::first + OptimizerProblem::gap + i]);
  };
  OptimizerProblem start, found, exact;
  device.adamw(found, adamw_groups, &scale);
  Reference{}.adamw(exact.arena(), exact.chunks(), adamw_groups, &scale);
  close(found, exact);
  for (std::int64_t i = 0; i < OptimizerProblem::gap; ++i)
    CHECK(found.master[OptimizerProblem::first + i] == start.master[OptimizerProblem::first + i]);

  for (const bool nesterov : {false, true})
    for (const bool is_first : {false, true}) {
      const std::vector<SgdGroup> groups{{0.1f, 0.9f, 0.2f, 0.01f, nesterov, is_first},
                                         {0.01f, 0, 0, 0, false, is_first}};
      OptimizerProblem momentum, expected;
      if (is_first)  // what the momentum held before counts for nothing
        for (float& value : momentum.first_moment) value = std::numeric_limits<float>::quiet_NaN();
      device.sgd(momentum, groups, nullptr);
      Reference{}.sgd(expected.arena(), expected.chunks(), groups, nullptr);
      for (std::size_t i = OptimizerProblem::first + OptimizerProblem::gap; i + 1 < momentum.master.size();
           ++i) {
        CHECK(std::abs(momentum.first_moment[i] - expected.first_moment[i]) <= 0x1p-24 * 16);
        CHECK(std::abs(momentum.master[i] - expected.master[i]) <= 0x1p-24 * 8);
      }
      for (std::size_t i = 0; i < OptimizerProblem::first; ++i)
        CHECK(std::abs(momentum.master[i] - expected.master[i]) <= 0x1p-24 * 4);
    }
}

template <class B>
void check_clipping(const B& backend) {
  const OptimizerOn<B> device(backend);
  OptimizerProblem problem;
  float norm = device.grad_norm(problem), exact = 0.0f;
  Reference{}.grad_norm(problem.arena(), problem.chunks(), &exact);
  double squares = 0.0;
  for (std::int64_t i = 0; i < OptimizerProblem::size; ++i)
    if (i < OptimizerProblem::first || i >= OptimizerProblem::first + OptimizerProblem::gap)
      squares += double{problem.grad[std::size_t(i)]} * double{problem.grad[std::size_t(i)]};
  CHECK(exact == doctest::Approx(std::sqrt(squares)).epsilon(1e-7));
  CHECK(std::abs(norm - exact) <= 0x1p-23f * exact);
  float scale = device.clip_scale(norm, 1.5f);
  CHECK(scale == doctest::Approx(1.5 / (double{norm} + 1e-6)).epsilon(1e-6));
  scale = device.clip_scale(norm, 1e6f);
  CHECK(scale == 1.0f);

  // A NaN or an infinity among the gradients: the step does nothing at all.
  for (const float poison :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    problem.grad[17] = poison;
    norm = device.grad_norm(problem);
    scale = device.clip_scale(norm, 1.0f);
    CHECK(std::isnan(scale));
    const OptimizerProblem before = problem;
    device.adamw(problem, adamw_groups, &scale);
    CHECK(problem == before);
    device.sgd(problem, std::vector<SgdGroup>(2, {0.1f, 0.9f, 0, 0, false, false}), &scale);
    CHECK(problem == before);
  }
}

/// The same bits for 1 to 4 threads.
template <class B>
void check_optimizer_threads(const B& device) {
  const int before = num_threads();
  OptimizerProblem single;
  float single_norm = 0.0f;
  for (int threads = 1; threads <= 4; ++threads) {
    set_num_threads(threads);
    OptimizerProblem problem;
    float norm = 0.0f;
    device.grad_norm(problem.arena(), problem.chunks(), &norm);
    device.adamw(problem.arena(), problem.chunks(), adamw_groups, nullptr);
    device.sgd(problem.arena(), problem.chunks(), std::vector<SgdGroup>(2, {0.1f, 0.9f, 0, 0, true, false}),
               nullptr);
    if (threads == 1) {
      single = problem;
      single_norm = norm;
    }
    CHECK(problem == single);
    CHECK(norm == single_norm);
  }
  set_num_threads(before);
}

}  // namespace attune::testing
