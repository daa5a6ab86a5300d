#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/autograd/backward.hpp>
#include <attune/core/batch.hpp>
#include <attune/core/error.hpp>

namespace attune {

/// What the mean of a batch's loss is taken over: its labels other than ignore_index (by their class weight
/// when there are weights), else its float targets, else its sequences. Throws ConfigError for a label
/// without a weight.
inline double counted_rows(const Batch& batch, std::span<const float> class_weights = {}) {
  if (!batch.labels.empty()) {
    double count = 0.0;
    for (const std::int32_t label : batch.labels) {
      if (label == ignore_index) continue;
      if (!class_weights.empty() && (label < 0 || static_cast<std::size_t>(label) >= class_weights.size()))
        throw ConfigError("counted_rows: there are " + std::to_string(class_weights.size()) +
                          " class weights, found label " + std::to_string(label));
      count += class_weights.empty() ? 1.0 : double{class_weights[static_cast<std::size_t>(label)]};
    }
    return count;
  }
  return static_cast<double>(batch.targets.empty() ? static_cast<std::size_t>(batch.size())
                                                   : batch.targets.size());
}

/// A part of a step's batch, and the share that its loss has in the loss of the whole.
struct MicroBatch {
  Batch batch;
  double weight = 1.0;
};

/// The micro-batches of one optimizer step. Weighted by their counted rows, the gradients add up to that of
/// the batch that holds them all. A micro-batch in which nothing counts has the weight 0.
inline std::vector<MicroBatch> micro_batches(std::vector<Batch> batches,
                                             std::span<const float> class_weights = {}) {
  std::vector<MicroBatch> result;
  double total = 0.0;
  for (Batch& batch : batches) {
    const double count = counted_rows(batch, class_weights);
    total += count;
    result.push_back({std::move(batch), count});
  }
  for (MicroBatch& micro : result) micro.weight = total > 0.0 ? micro.weight / total : 0.0;
  return result;
}

/// loss.backward() for `weight` times the loss; nothing for a weight of 0, where the loss may be NaN.
template <class T, class B>
void backward(const Tensor<T, B>& loss, double weight) {
  if (weight != 0.0) loss.backward(Detached<T, B>::full(loss.device(), loss.shape(), weight));
}

/// The range that accumulate() returns.
template <class Loader>
class AccumulatedSteps {
 public:
  AccumulatedSteps(Loader& loader, std::int64_t steps, std::vector<float> class_weights)
      : loader_(&loader), steps_(steps), class_weights_(std::move(class_weights)) {
    if (steps < 1)
      throw ConfigError("accumulate: at least 1 micro-batch makes a step, found " + std::to_string(steps));
  }

  /// Optimizer steps in an epoch, for a schedule's total_steps.
  std::int64_t size() const { return loader_->size() / steps_ + (loader_->size() % steps_ != 0 ? 1 : 0); }

  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = std::vector<MicroBatch>;
    using difference_type = std::ptrdiff_t;

    const std::vector<MicroBatch>& operator*() const { return micro_; }
    const std::vector<MicroBatch>* operator->() const { return &micro_; }
    Iterator& operator++() {
      read();
      return *this;
    }
    void operator++(int) { read(); }
    friend bool operator==(const Iterator& iterator, std::default_sentinel_t) {
      return iterator.micro_.empty();
    }

   private:
    friend class AccumulatedSteps;
    explicit Iterator(const AccumulatedSteps& range) : range_(&range), at_(range.loader_->begin()) { read(); }

    /// The loader never runs ahead of the step in hand, so that its state() is the step's.
    void read() {
      std::vector<Batch> batches;
      while (static_cast<std::int64_t>(batches.size()) < range_->steps_) {
        if (taken_) ++at_;
        taken_ = false;
        if (at_ == range_->loader_->end()) break;
        batches.push_back(*at_);
        taken_ = true;
      }
      micro_ = micro_batches(std::move(batches), range_->class_weights_);
    }

    const AccumulatedSteps* range_;
    decltype(std::declval<Loader&>().begin()) at_;
    bool taken_ = false;
    std::vector<MicroBatch> micro_;
  };

  Iterator begin() const { return Iterator(*this); }
  std::default_sentinel_t end() const { return std::default_sentinel; }

 private:
  Loader* loader_;
  std::int64_t steps_;
  std::vector<float> class_weights_;
};

/// The batches of an epoch of `loader`, `steps` of them to an optimizer step (the last step may have fewer):
///
///     for (const auto& step : attune::accumulate(loader, 4)) {
///       optimizer.zero_grad();
///       for (const auto& micro : step) attune::backward(model(micro.batch).loss, micro.weight);
///       optimizer.step();
///     }
///
/// The gradient is that of one batch with all the rows, for every loss that is a mean over counted rows (not
/// for one that compares the rows of a batch with each other). `class_weights` are the loss's, when it has
/// some. The loader must outlive the range. Throws ConfigError for steps < 1.
template <class Loader>
AccumulatedSteps<Loader> accumulate(Loader& loader, std::int64_t steps,
                                    std::vector<float> class_weights = {}) {
  return AccumulatedSteps<Loader>(loader, steps, std::move(class_weights));
}

}  // namespace attune
