#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/core/segments.hpp>
#include <attune/ops/attention.hpp>

namespace attune {

/// The keys and values of what a decoder has read: for each layer two arrays [sequences, capacity, Hkv D],
/// allocated at once. Sequences have lengths of their own. Used without a graph: no gradient flows into it.
template <class T, class B>
class KvCache {
 public:
  /// `kv_features` is Hkv D. Throws ConfigError for sizes that are not positive.
  KvCache(const B& device, std::int64_t layers, std::int64_t kv_features, std::int64_t sequences,
          std::int64_t capacity)
      : device_(device), features_(kv_features), capacity_(capacity) {
    if (layers < 1 || kv_features < 1 || sequences < 1 || capacity < 1)
      throw ConfigError("KvCache: sizes must be positive, found " + std::to_string(layers) + " layers, " +
                        std::to_string(kv_features) + " features, " + std::to_string(sequences) +
                        " sequences and a capacity of " + std::to_string(capacity));
    lengths_.assign(static_cast<std::size_t>(sequences), 0);
    for (std::int64_t i = 0; i < layers; ++i)
      layers_.push_back({Detached<T, B>(device, {sequences * capacity, kv_features}),
                         Detached<T, B>(device, {sequences * capacity, kv_features})});
  }

  std::int64_t sequences() const { return static_cast<std::int64_t>(lengths_.size()); }
  std::int64_t capacity() const { return capacity_; }
  std::int32_t length(std::int64_t sequence) const { return lengths_[static_cast<std::size_t>(sequence)]; }
  /// What the arrays take.
  std::int64_t bytes() const {
    return 2 * static_cast<std::int64_t>(layers_.size() * sizeof(T)) * sequences() * capacity_ * features_;
  }

  /// Forgets all but the first `length` tokens of a sequence.
  void truncate(std::int64_t sequence, std::int32_t length) {
    auto& own = lengths_[static_cast<std::size_t>(sequence)];
    own = std::min(own, length);
  }

  /// Sequence i becomes what sequence sources[i] was: beams are copied and dropped so.
  void select(std::span<const std::int32_t> sources) {
    if (sources.size() != lengths_.size())
      throw ShapeError("KvCache::select: " + std::to_string(lengths_.size()) + " sources are needed, found " +
                       std::to_string(sources.size()));
    bool same = true;
    std::vector<std::int32_t> lengths;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      same = same && sources[i] == static_cast<std::int32_t>(i);
      lengths.push_back(lengths_.at(static_cast<std::size_t>(sources[i])));
    }
    if (same) return;
    lengths_ = std::move(lengths);
    for (Layer& layer : layers_) {
      layer.keys = selected(layer.keys, sources);
      layer.values = selected(layer.values, sources);
    }
  }

  /// Announces `counts[i]` new tokens of sequence i, and returns their segments and positions. attend() of
  /// each layer follows, then finish(). Throws ConfigError when they do not fit.
  Segments begin(std::span<const std::int32_t> counts) {
    if (counts.size() != lengths_.size())
      throw ShapeError("KvCache: tokens of " + std::to_string(lengths_.size()) +
                       " sequences are needed, found " + std::to_string(counts.size()));
    counts_.assign(counts.begin(), counts.end());
    plans_.clear();
    Segments segments;
    std::vector<std::int32_t> positions;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (lengths_[i] + counts[i] > capacity_)
        throw ConfigError("KvCache: a capacity of " + std::to_string(capacity_) + " tokens does not hold " +
                          std::to_string(lengths_[i] + counts[i]));
      positions.clear();
      for (std::int32_t p = 0; p < counts[i]; ++p) positions.push_back(lengths_[i] + p);
      segments.append(positions);
    }
    return segments;
  }

  /// Keeps the new tokens' k and v [N, Hkv D] and attends from their q [N, H D]. `settings` holds heads,
  /// scale and window.
  Tensor<T, B> attend(std::size_t layer, const Tensor<T, B>& q, const Tensor<T, B>& k, const Tensor<T, B>& v,
                      AttentionSettings<B> settings) {
    store(k.detach(), layers_[layer].keys);
    store(v.detach(), layers_[layer].values);
    const auto found = plans_.find(settings.window);
    const Plan& plan = found != plans_.end()
                           ? found->second
                           : plans_.emplace(settings.window, make_plan(settings.window)).first->second;
    settings.query_segments = plan.queries;
    settings.key_segments = plan.keys;
    settings.causal = plan.causal;
    settings.query_offset = plan.query_offset;
    if (!plan.causal) settings.window = 0;  // the key segments hold what is seen
    if (plan.fresh) return attention(q, k, v, settings);
    return attention(q, Tensor<T, B>(layers_[layer].keys), Tensor<T, B>(layers_[layer].values), settings);
  }

  void finish() {
    for (std::size_t i = 0; i < lengths_.size(); ++i) lengths_[i] += counts_[i];
  }

 private:
  struct Layer {
    Detached<T, B> keys, values;
  };
  struct Plan {
    DeviceSegments<B> queries, keys;
    bool fresh = false, causal = false;
    std::int64_t query_offset = 0;
  };

  Detached<T, B> selected(const Detached<T, B>& from, std::span<const std::int32_t> sources) const {
    const Detached<T, B> to(device_, from.shape());
    for (std::size_t i = 0; i < sources.size(); ++i)
      copy_rows(from.data() + sources[i] * capacity_ * features_,
                to.data() + static_cast<std::int64_t>(i) * capacity_ * features_, lengths_[i]);
    return to;
  }
  void copy_rows(const T* from, T* to, std::int64_t rows) const {
    if (rows > 0) device_.copy(to, from, static_cast<std::size_t>(rows * features_) * sizeof(T));
  }

  void store(const Detached<T, B>& rows, const Detached<T, B>& all) const {
    const Detached<T, B> own = rows.contiguous_copy();
    const T* from = own.data();
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      copy_rows(from, all.data() + (static_cast<std::int64_t>(i) * capacity_ + lengths_[i]) * features_,
                counts_[i]);
      from += counts_[i] * features_;
    }
  }

  /// Which rows of the arrays the new tokens see. Between the sequences' rows lie unused ones: those are
  /// segments without queries.
  Plan make_plan(std::int64_t window) const {
    Plan plan;
    std::int32_t past = -1;
    bool fresh = true, single = true, equal = true;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] == 0) continue;
      fresh = fresh && lengths_[i] == 0;
      single = single && counts_[i] == 1;
      equal = equal && (past < 0 || past == lengths_[i]);
      past = lengths_[i];
    }
    if (fresh) {
      plan.fresh = plan.causal = true;
      plan.queries = plan.keys = DeviceSegments<B>(device_, Segments::from_lengths(counts_));
      return plan;
    }
    if (!single && !equal)
      throw ShapeError("KvCache: several new tokens at once need sequences of equal length before them");
    plan.causal = !single;
    plan.query_offset = single ? 0 : past;
    std::vector<std::int32_t> queries, keys;
    std::int64_t row = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] == 0) continue;
      const std::int64_t begin = static_cast<std::int64_t>(i) * capacity_,
                         end = begin + lengths_[i] + counts_[i];
      const std::int64_t first = single && window > 0 ? std::max(begin, end - window) : begin;
      for (const auto& [q, k] :
           {std::pair<std::int64_t, std::int64_t>{0, first - row}, {counts_[i], end - first}}) {
        queries.push_back(static_cast<std::int32_t>(q));
        keys.push_back(static_cast<std::int32_t>(k));
      }
      row = end;
    }
    queries.push_back(0);
    keys.push_back(static_cast<std::int32_t>(sequences() * capacity_ - row));
    plan.queries = DeviceSegments<B>(device_, Segments::from_lengths(queries));
    plan.keys = DeviceSegments<B>(device_, Segments::from_lengths(keys));
    return plan;
  }

  B device_;
  std::int64_t features_, capacity_;
  std::vector<std::int32_t> lengths_, counts_;
  std::vector<Layer> layers_;
  std::map<std::int64_t, Plan> plans_;
};

}  // namespace attune
