#pragma once

#include <numeric>

#include <attune/autograd/checkpoint.hpp>
#include <attune/ops/attention.hpp>
#include <attune/ops/linear.hpp>
#include <attune/ops/mean_pool.hpp>
#include <attune/ops/rope.hpp>

#include "suites/operations_elementwise.hpp"

namespace attune::testing {

struct AttentionSpec {
  const char* name;
  std::vector<std::int32_t> lengths;  ///< of the queries, and of the keys unless they have their own
  std::int64_t heads = 2, kv_heads = 2, head_size = 3;
  bool causal = false;
  std::int64_t window = 0, query_offset = 0;
  float dropout = 0.0f;
  std::vector<std::int32_t> key_lengths{};

  const std::vector<std::int32_t>& keys() const { return key_lengths.empty() ? lengths : key_lengths; }
};

template <class B>
AttentionSettings<B> make_settings(const B& device, const AttentionSpec& spec) {
  AttentionSettings<B> settings;
  settings.query_segments = DeviceSegments<B>(device, Segments::from_lengths(spec.lengths));
  settings.key_segments = DeviceSegments<B>(device, Segments::from_lengths(spec.keys()));
  settings.heads = spec.heads;
  settings.kv_heads = spec.kv_heads;
  settings.head_size = spec.head_size;
  settings.scale = 1.0f / std::sqrt(static_cast<float>(spec.head_size));
  settings.causal = spec.causal;
  settings.window = spec.window;
  settings.query_offset = spec.query_offset;
  if (spec.dropout > 0) settings.mask = make_mask(device, settings.query_segments.tokens(), spec.dropout);
  return settings;
}

template <class B>
void add_attention_operations(OperationTable<B>& table) {
  for (const AttentionSpec& spec : std::vector<AttentionSpec>{
           {"none", {}},
           {"one token", {1}, 1, 1, 1},
           {"empty sequences", {0, 3, 0, 1, 0}},
           {"ragged", {5, 1, 3}},
           {"causal", {5, 1, 3}, 2, 2, 3, true},
           {"grouped", {4, 0, 3}, 4, 2, 2},
           {"causal grouped window", {6, 2}, 4, 1, 2, true, 3},
           {"window", {6, 2}, 2, 2, 2, false, 2},
           {"dropout", {5, 3}, 2, 2, 3, false, 0, 0, 0.4f},
           {"causal grouped dropout", {5, 0, 3}, 4, 2, 2, true, 0, 0, 0.3f},
           {"large", {90, 0, 1, 133, 17}, 4, 4, 16},
           {"large, causal, grouped, window, dropout", {90, 0, 1, 133, 17}, 4, 2, 20, true, 50, 0, 0.2f}}) {
    const std::int64_t n = std::accumulate(spec.lengths.begin(), spec.lengths.end(), std::int64_t{0});
    const std::int64_t q = spec.heads * spec.head_size, kv = spec.kv_heads * spec.head_size;
    // A weight is off by twice the error of its score, which sums head_size products; y is an average of
    // numbers in
    // [-1, 1] (times 1 / (1 - p)). Backward: dP sums head_size products of which y is rounded, dq averages
    // keys with its errors, dk and dv sum over the queries of a group, with weights that add up to a few.
    const double group = double(spec.heads) / double(spec.kv_heads), d = roundings(spec.head_size);
    const OperationBound forward{1, 0, 4 * d + 64, 2};
    const OperationBound backward{2, d * 2 * group, 8 * d + 200, double(spec.head_size) * 4 * group};
    const std::string name = std::string("attention: ") + spec.name;
    table.add(name + ", one tensor", {{{n, q + 2 * kv}}}, forward, backward,
              [=](const auto& in) { return attention(in.x(0), make_settings(in.device(), spec)); });
    table.add(name + ", two tensors", {{{n, q}}, {{n, 2 * kv}}}, forward, backward,
              [=](const auto& in) { return attention(in.x(0), in.x(1), make_settings(in.device(), spec)); });
    table.add(name + ", three tensors", {{{n, q}}, {{n, kv}}, {{n, kv}}}, forward, backward,
              [=](const auto& in) {
                return attention(in.x(0), in.x(1), in.x(2), make_settings(in.device(), spec));
              });
  }
  for (const AttentionSpec& spec : std::vector<AttentionSpec>{
           {"first rows over all keys", {1, 1, 1}, 2, 2, 3, false, 0, 0, 0.0f, {5, 1, 4}},
           {"queries without keys", {2, 2}, 2, 2, 3, false, 0, 0, 0.0f, {0, 3}},
           {"keys without queries", {0, 2}, 2, 2, 3, false, 0, 0, 0.0f, {3, 2}},
           {"behind a cache", {2, 1}, 4, 2, 2, true, 0, 3, 0.0f, {5, 4}},
           {"behind a cache with dropout", {2, 1}, 4, 2, 2, true, 0, 3, 0.3f, {5, 4}}}) {
    const std::int64_t nq = std::accumulate(spec.lengths.begin(), spec.lengths.end(), std::int64_t{0});
    const std::int64_t nk =
        std::accumulate(spec.key_lengths.begin(), spec.key_lengths.end(), std::int64_t{0});
    const std::int64_t q = spec.heads * spec.head_size, kv = spec.kv_heads * spec.head_size;
    table.add(std::string("attention: ") + spec.name, {{{nq, q}}, {{nk, 2 * kv}}}, {1, 0, 120, 2},
              {2, 40, 300, 24},
              [=](const auto& in) { return attention(in.x(0), in.x(1), make_settings(in.device(), spec)); });
  }
  const AttentionSpec spec{"", {4, 2}, 2, 2, 3};
  table.add(
      "attention: one tensor is query, key and value", {{{6, 6}}}, {1, 0, 120, 2}, {6, 40, 300, 24},
      [=](const auto& in) { return attention(in.x(0), in.x(0), in.x(0), make_settings(in.device(), spec)); });
  table.add("attention: columns of one tensor", {{{6, 18}}}, {1, 0, 120, 2}, {2, 40, 300, 24},
            [=](const auto& in) {
              const auto part = [&](std::int64_t at) { return slice(in.x(0), 1, at, at + 6); };
              return attention(part(12), part(0), part(6), make_settings(in.device(), spec));
            });
}

template <class B>
void add_sequence_operations(OperationTable<B>& table) {
  for (const auto& lengths :
       std::vector<std::vector<std::int32_t>>{{}, {1}, {3, 0, 2}, {0, 0}, {1, 1, 1}, {150, 0, 1, 220}}) {
    const std::int64_t n = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
    const std::int64_t c = n > 100 ? 67 : 4;
    table.add("mean_pool: " + std::to_string(lengths.size()) + " sequences of " + std::to_string(n) + " rows",
              {{{n, c}}}, {1, 0, roundings(n) + 4, 1}, {1, 0, 4}, [lengths](const auto& in) {
                const auto device = in.device();
                return mean_pool(in.x(0), DeviceSegments(device, Segments::from_lengths(lengths)));
              });
  }
  struct Rope {
    std::int64_t rows, heads, half;
  };
  for (const auto& [rows, heads, half] : std::vector<Rope>{{0, 1, 1}, {1, 1, 1}, {5, 2, 3}, {160, 4, 16}})
    // Two terms; the angle position * frequency <= 40 is off by 40 u.
    table.add("rope: " + std::to_string(rows) + " rows, " + std::to_string(heads) + " heads",
              {{{rows, heads * 2 * half}}}, {1, 0, 100, 2}, {1, 0, 100, 2},
              [rows = rows, heads = heads, half = half](const auto& in) {
                using T = typename std::remove_cvref_t<decltype(in.x(0))>::value_type;
                using B2 = std::remove_cvref_t<decltype(in.device())>;
                std::vector<std::int32_t> positions;
                for (std::int64_t row = 0; row < rows; ++row)
                  positions.push_back(static_cast<std::int32_t>(row % 40));
                std::vector<Wide<T>> frequencies;
                for (std::int64_t i = 0; i < half; ++i) frequencies.push_back(Wide<T>(1) / Wide<T>(1 << i));
                return rope(in.x(0), Detached<std::int32_t, B2>::from_values(in.device(), {rows}, positions),
                            Detached<Wide<T>, B2>::from_values(in.device(), {half},
                                                               std::span<const Wide<T>>(frequencies)),
                            heads);
              });

  const auto block = [](const auto& in) {
    return [weight = in.p(1), mask = make_mask(in.device(), in.x(0).shape()[0], 0.3f)](const auto& x) {
      return dropout(linear(x, weight, {}, Unary::gelu), mask) + x;
    };
  };
  const std::vector<OperationInput> inputs{{{5, 4}}, {{4, 4}, Source::parameter}};
  const OperationBound forward{4, 6, 60, 8}, backward{8, 30, 200, 30};
  table.add("checkpoint: with dropout", inputs, forward, backward,
            [block](const auto& in) { return checkpoint(block(in), in.x(0)); });
  table.add("checkpoint: in a checkpoint, twice", inputs, forward, {12, 60, 400, 60},
            [block](const auto& in) {
              const auto inner = [f = block(in)](const auto& x) { return checkpoint(f, x); };
              return checkpoint(inner, checkpoint(inner, in.x(0)));
            });
}

template <class B>
OperationTable<B> sequence_operations() {
  OperationTable<B> table;
  add_attention_operations(table);
  add_sequence_operations(table);
  return table;
}

}  // namespace attune::testing
