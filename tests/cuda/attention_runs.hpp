// Attention in bfloat16, forward and backward, on any device: what the tests of cuDNN compare.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <attune/backend/backend.hpp>
#include <attune/core/random.hpp>
#include <attune/core/segments.hpp>

namespace attune::testing::attention_runs {

struct Case {
  std::vector<std::int32_t> lengths;
  std::int64_t heads, kv_heads, head_size;
  bool causal;

  std::int64_t width() const { return heads * head_size; }
  std::int64_t kv_width() const { return kv_heads * head_size; }
  std::string name() const {
    std::string text = std::to_string(heads) + " heads over " + std::to_string(kv_heads) + " of " +
                       std::to_string(head_size) + (causal ? ", causal, lengths" : ", lengths");
    for (const std::int32_t length : lengths) text += " " + std::to_string(length);
    return text;
  }
};

/// An array on a device.
template <class T, class B>
class Array {
 public:
  Array(const B& device, const std::vector<T>& values)
      : device_(device), size_(values.size()), data_(static_cast<T*>(device.allocate(size_ * sizeof(T)))) {
    device.upload(data_, values.data(), size_ * sizeof(T));
  }
  ~Array() { device_.deallocate(data_, size_ * sizeof(T)); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  T* data() const { return data_; }
  MatrixView<T> matrix(std::int64_t cols) const {
    return {data_, static_cast<std::int64_t>(size_) / cols, cols, cols};
  }
  std::vector<T> values() const {
    std::vector<T> result(size_);
    device_.download(result.data(), data_, size_ * sizeof(T));
    return result;
  }

 private:
  const B device_;
  std::size_t size_;
  T* data_;
};

inline std::vector<bfloat16> random_values(std::int64_t count, std::uint64_t stream) {
  RandomStream random(11, stream);
  std::vector<bfloat16> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(bfloat16(2.0f * random.uniform() - 1.0f));
  return values;
}

struct Results {
  std::vector<bfloat16> y, gradients;  // dq | dk | dv in each row
  std::vector<float> lse;
};

inline AttentionOptions options_of(const Case& c) {
  AttentionOptions options;
  options.heads = c.heads;
  options.kv_heads = c.kv_heads;
  options.head_size = c.head_size;
  options.scale = 1.0f / std::sqrt(static_cast<float>(c.head_size));
  options.causal = c.causal;
  return options;
}

/// Forward and backward with q, k and v side by side, as models have them.
template <class B>
Results run(const B& device, const Case& c) {
  const Segments segments = Segments::from_lengths(c.lengths);
  const std::int64_t tokens = segments.tokens(), q = c.width(), kv = c.kv_width(), all = q + 2 * kv;
  const auto integers = [](std::span<const std::int32_t> s) {
    return std::vector<std::int32_t>(s.begin(), s.end());
  };
  const Array<std::int32_t, B> offsets(device, integers(segments.offsets())),
      positions(device, integers(segments.positions()));
  const Array<bfloat16, B> qkv(device, random_values(tokens * all, 1)),
      dy(device, random_values(tokens * q, 2)),
      y(device, std::vector<bfloat16>(static_cast<std::size_t>(tokens * q), bfloat16(-77.0f))),
      gradients(device, std::vector<bfloat16>(static_cast<std::size_t>(tokens * all), bfloat16(-77.0f)));
  const Array<float, B> lse(device, std::vector<float>(static_cast<std::size_t>(tokens * c.heads), -77.0f));
  AttentionOptions options = options_of(c);
  options.query_segments = options.key_segments = {offsets.data(), segments.count(), tokens,
                                                   segments.max_length(), positions.data()};
  using In = MatrixView<const bfloat16>;
  const MatrixView<bfloat16> x = qkv.matrix(all), dx = gradients.matrix(all);
  const In queries = x.columns(0, q), keys = x.columns(q, q + kv), values = x.columns(q + kv, all);
  device.attention(queries, keys, values, options, y.matrix(q), lse.matrix(c.heads));
  device.attention_backward(In(dy.matrix(q)), queries, keys, values, In(y.matrix(q)),
                            MatrixView<const float>(lse.matrix(c.heads)), options, dx.columns(0, q),
                            dx.columns(q, q + kv), dx.columns(q + kv, all));
  return {y.values(), gradients.values(), lse.values()};
}

/// The largest difference, as a part of the largest expected value. NaN counts as infinite.
template <class T>
double difference(const std::vector<T>& found, const std::vector<T>& expected) {
  REQUIRE(found.size() == expected.size());
  double largest = 0.0, size = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double error =
        std::abs(static_cast<double>(float(found[i])) - static_cast<double>(float(expected[i])));
    largest = std::isnan(error) ? INFINITY : std::max(largest, error);
    size = std::max(size, std::abs(static_cast<double>(float(expected[i]))));
  }
  return largest / size;
}

/// Weights and their gradients are rounded to bfloat16 (2^-9) before products, results after them, on both
/// sides; log-sum-exps are floats.
inline void check_equal(const Results& found, const Results& expected) {
  CHECK(difference(found.y, expected.y) < 0x1p-6);
  CHECK(difference(found.lse, expected.lse) < 1e-5);
  CHECK(difference(found.gradients, expected.gradients) < 0x1p-6);
}

/// f(heads of 32, 64, 96 and 128 columns, causal or not, grouped or not).
template <class F>
void for_each_case(const std::vector<std::int32_t>& lengths, const F& f) {
  for (const std::int64_t head_size : {32, 64, 96, 128})
    for (const bool causal : {false, true})
      for (const std::int64_t kv_heads : {4, 2}) {
        const Case c{lengths, 4, kv_heads, head_size, causal};
        CAPTURE(c.name());
        f(c);
      }
}

}  // namespace attune::testing::attention_runs
