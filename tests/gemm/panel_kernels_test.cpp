#include <doctest/doctest.h>
#include <attune/backend/cpu/kernels.hpp>
#include <attune/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "instruction_sets.hpp"

// Attention's kernels on panels [keys][width], against loops in double, in every instruction set.

using namespace attune;

namespace {

constexpr double rounding = 0x1p-24;
constexpr std::int64_t key_counts[] = {0, 1, 2, 5, 13, 14, 40, 129};

std::vector<float> numbers(std::int64_t count, double low, double high, std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<float> result(static_cast<std::size_t>(count));
  for (float& value : result) value = static_cast<float>(low + (high - low) * random.uniform());
  return result;
}

template <class F>
void for_each_panel(const F& f) {
  for (const cpu::Isa isa : available_sets()) {
    const SetGuard guard(isa);
    CAPTURE(std::string(cpu::name_of(isa)));
    for (const std::int64_t keys : key_counts) {
      CAPTURE(keys);
      f(cpu::kernels(), keys, std::int64_t{cpu::kernels().panels.width});
    }
  }
}

}  // namespace

TEST_CASE("panel kernels: attention weights and their backward") {
  for_each_panel([](const cpu::Kernels& set, std::int64_t keys, std::int64_t width) {
    CHECK(width == set.gemm<float>().cols);
    for (const bool dropout : {false, true}) {
      std::vector<float> scores = numbers(keys * width, -3, 3, 1), factors = numbers(keys * width, 0, 1, 2);
      for (float& factor : factors) factor = factor < 0.25f ? 0.0f : 4.0f / 3.0f;
      for (std::int64_t j = 0; j < keys; ++j) scores[static_cast<std::size_t>(j * width)] = -__builtin_inff();
      std::vector<float> weights = scores, top(static_cast<std::size_t>(width)), total = top, lse = top;
      set.panels.weights(weights.data(), dropout ? factors.data() : nullptr, keys, top.data(), total.data());
      std::vector<float> p = scores, grads = numbers(keys * width, -1, 1, 3);
      const std::vector<float> upstream = grads;
      const double error = (double(keys) + 16) * rounding;
      for (std::int64_t c = 0; c < width; ++c) {
        double largest = -__builtin_inf(), sum = 0;
        for (std::int64_t j = 0; j < keys; ++j)
          largest = std::max(largest, double(scores[static_cast<std::size_t>(j * width + c)]));
        const bool hidden = keys == 0 || c == 0;  // sees no key
        for (std::int64_t j = 0; j < keys; ++j)
          sum += hidden ? 0 : std::exp(double(scores[static_cast<std::size_t>(j * width + c)]) - largest);
        CHECK(double(top[static_cast<std::size_t>(c)]) == largest);
        CHECK(std::fabs(double(total[static_cast<std::size_t>(c)]) - sum) <= error * sum);
        lse[static_cast<std::size_t>(c)] = hidden ? 0.0f : static_cast<float>(largest + std::log(sum));
      }
      set.panels.weights_backward(p.data(), grads.data(), dropout ? factors.data() : nullptr, lse.data(),
                                  keys);
      for (std::int64_t c = 0; c < width; ++c) {
        const double shift = double(lse[static_cast<std::size_t>(c)]);
        double delta = 0;
        for (std::int64_t j = 0; j < keys; ++j) {
          const auto at = static_cast<std::size_t>(j * width + c);
          delta += std::exp(double(scores[at]) - shift) * double(upstream[at]) *
                   (dropout ? double(factors[at]) : 1);
        }
        for (std::int64_t j = 0; j < keys; ++j) {
          const auto at = static_cast<std::size_t>(j * width + c);
          const double factor = dropout ? double(factors[at]) : 1, score = double(scores[at]);
          const double weight = c == 0 ? 0 : std::exp(score - double(top[static_cast<std::size_t>(c)]));
          const double probability = std::exp(score - shift);
          // The shifted score is rounded, and exp has two units in the last place.
          CHECK(std::fabs(double(weights[at]) - weight * factor) <= 14 * rounding * weight * factor);
          CHECK(std::fabs(double(p[at]) - probability * factor) <= 20 * rounding * probability * factor);
          CHECK(std::fabs(double(grads[at]) - probability * (double(upstream[at]) * factor - delta)) <=
                8 * error * probability);
        }
      }
    }
  });
}

TEST_CASE("panel kernels: dropout draws each query's words by the keys' positions") {
  for_each_panel([](const cpu::Kernels& set, std::int64_t keys, std::int64_t width) {
    std::vector<std::uint32_t> positions, samples;
    for (std::int64_t c = 0; c < width; ++c) {
      positions.push_back(static_cast<std::uint32_t>(7 * c + 1));
      samples.push_back(static_cast<std::uint32_t>(c / 3));
    }
    for (const std::uint32_t first_key : {0u, 1u, 2u, 3u, 4u, 511u}) {
      const cpu::PanelDropout dropout{positions.data(), samples.data(), 0x90003u, first_key,
                                      {3, 4},           1u << 30,       1.25f};
      std::vector<float> factors(static_cast<std::size_t>(keys * width) + 1, 77.0f);
      set.panels.dropout(dropout, keys, factors.data());
      CHECK(factors.back() == 77.0f);
      for (std::int64_t j = 0; j < keys; ++j)
        for (std::int64_t c = 0; c < width; ++c) {
          const std::uint32_t position = first_key + static_cast<std::uint32_t>(j);
          const auto at = static_cast<std::size_t>(c);
          const Philox::Counter words =
              Philox::generate({position / 4, positions[at], samples[at], 0x90003u}, dropout.key);
          CHECK(factors[static_cast<std::size_t>(j * width + c)] ==
                (words[position % 4] < (1u << 30) ? 0.0f : 1.25f));
        }
    }
  });
}

TEST_CASE("panel kernels: columns become rows") {
  for_each_panel([](const cpu::Kernels& set, std::int64_t depth, std::int64_t width) {
    const std::vector<float> panel = numbers(depth * width, -1, 1, 5), factors = numbers(width, 0.5, 2, 6);
    for (std::int64_t columns = 1; columns <= width; ++columns)
      for (const bool scaled : {false, true}) {
        const std::int64_t stride = depth + 3;
        std::vector<float> rows(static_cast<std::size_t>(columns * stride), 77.0f);
        std::vector<bfloat16> halves(rows.size(), bfloat16(77.0f));
        const float* const scale = scaled ? factors.data() : nullptr;
        set.elements<float>().store_panel(panel.data(), depth, static_cast<int>(columns), scale, rows.data(),
                                          stride);
        set.elements<bfloat16>().store_panel(panel.data(), depth, static_cast<int>(columns), scale,
                                             halves.data(), stride);
        for (std::int64_t c = 0; c < columns; ++c)
          for (std::int64_t d = 0; d < stride; ++d) {
            const float expected = d >= depth ? 77.0f
                                              : panel[static_cast<std::size_t>(d * width + c)] *
                                                    (scaled ? factors[static_cast<std::size_t>(c)] : 1.0f);
            CHECK(rows[static_cast<std::size_t>(c * stride + d)] == expected);
            CHECK(float(halves[static_cast<std::size_t>(c * stride + d)]) == float(bfloat16(expected)));
          }
      }
  });
}
