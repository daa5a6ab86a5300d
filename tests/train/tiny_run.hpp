#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <attune/data/data_loader.hpp>
#include <attune/optim/adamw.hpp>
#include <attune/optim/schedule.hpp>
#include <attune/train/accumulate.hpp>
#include <attune/train/checkpoint.hpp>

#include "train/tiny.hpp"

namespace train_test {

/// A whole training: random order, accumulation, dropout, clipping, schedule; a checkpoint after every step.
template <class T, class B>
struct TinyRun {
  static constexpr std::size_t total_steps = 15;  // 10 batches are 5 steps; 3 epochs

  TinyRun(const std::string& directory, std::int64_t prefetch)
      : loader(dataset, attune::RandomSampler(dataset.size(), 21), {.batch_size = 4, .prefetch = prefetch}),
        checkpoints(directory, model.parameters(), optimizer, {.keep_last = 2}) {
    checkpoints.add(schedule);
    checkpoints.add(loader);
  }
  TinyRun(const TinyRun&) = delete;
  TinyRun& operator=(const TinyRun&) = delete;

  std::optional<attune::LoadedCheckpoint> resume() { return checkpoints.load_latest(); }

  /// Trains to the end, or until `stop_after` steps were done in all; the weights after each step.
  /// `after_step(step)` is called once the step's checkpoint is written.
  template <class F>
  std::vector<std::vector<float>> train(std::size_t stop_after, const F& after_step) {
    std::vector<std::vector<float>> weights;
    if (model.run->step >= stop_after) return weights;
    while (loader.state().epoch < 3) {
      for (const auto& step : attune::accumulate(loader, 2)) {
        optimizer.zero_grad();
        for (const auto& micro : step) attune::backward(model.loss(micro.batch), micro.weight);
        optimizer.step();
        schedule.step();
        weights.push_back(model.weights());
        checkpoints.save({{"note", "step " + std::to_string(model.run->step)}});
        after_step(model.run->step);
        if (model.run->step >= stop_after) return weights;
      }
    }
    return weights;
  }
  std::vector<std::vector<float>> train(std::size_t stop_after = total_steps + 1) {
    return train(stop_after, [](std::uint64_t) {});
  }

  TinyDataset dataset;
  attune::DataLoader loader;
  TinyModel<T, B> model{B{}};
  attune::AdamW<B> optimizer{attune::no_decay_for_biases_and_norms(model.parameters(), 0.01),
                             {.lr = 0.01, .max_grad_norm = 0.2}};
  attune::LrSchedule schedule =
      attune::cosine_schedule_with_warmup(optimizer, {.warmup_steps = 2, .total_steps = total_steps});
  attune::TrainingCheckpoints<B> checkpoints;
};

}  // namespace train_test
