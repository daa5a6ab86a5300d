#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include <attune/core/error.hpp>

namespace attune {

struct EarlyStoppingOptions {
  std::int64_t patience = 3;     ///< evaluations without improvement after which to stop, >= 1
  double min_delta = 0.0;        ///< what an improvement must exceed, >= 0
  bool higher_is_better = true;  ///< false for a loss
};

/// What a checkpoint keeps of EarlyStopping.
struct EarlyStoppingState {
  double best = 0.0;
  std::int64_t evaluations = 0;
  std::int64_t best_evaluation = 0;  ///< from 1; 0 before the first

  friend bool operator==(const EarlyStoppingState&, const EarlyStoppingState&) = default;
};

/// Watches a metric and says when it has stopped getting better:
///
///     if (stopping.update(f1)) best.save();  // a WeightSnapshot, or model.save_pretrained(...)
///     if (stopping.should_stop()) break;
class EarlyStopping {
 public:
  /// Throws ConfigError for an option out of range.
  explicit EarlyStopping(const EarlyStoppingOptions& options = {}) : options_(options) {
    if (options.patience < 1)
      throw ConfigError("EarlyStopping: patience must be at least 1, found " +
                        std::to_string(options.patience));
    if (!(options.min_delta >= 0.0 && std::isfinite(options.min_delta)))
      throw ConfigError("EarlyStopping: min_delta must be at least 0, found " +
                        std::to_string(options.min_delta));
  }

  /// Takes the metric of an evaluation; true when it is the best so far (never for one that is not finite).
  bool update(double value) {
    ++state_.evaluations;
    const double gain = options_.higher_is_better ? value - state_.best : state_.best - value;
    const bool better = std::isfinite(value) && (state_.best_evaluation == 0 || gain > options_.min_delta);
    if (better) {
      state_.best = value;
      state_.best_evaluation = state_.evaluations;
    }
    return better;
  }
  bool should_stop() const { return state_.evaluations - state_.best_evaluation >= options_.patience; }
  /// The best metric; meaningful once best_evaluation() > 0.
  double best() const { return state_.best; }
  /// Which evaluation gave it, from 1.
  std::int64_t best_evaluation() const { return state_.best_evaluation; }

  const EarlyStoppingState& state() const { return state_; }
  /// Throws ConfigError when the numbers cannot be those of a state.
  void load_state(const EarlyStoppingState& state) {
    if (state.best_evaluation < 0 || state.best_evaluation > state.evaluations || std::isnan(state.best))
      throw ConfigError("EarlyStopping: evaluation " + std::to_string(state.best_evaluation) + " of " +
                        std::to_string(state.evaluations) + " cannot be the best");
    state_ = state;
  }

 private:
  EarlyStoppingOptions options_;
  EarlyStoppingState state_;
};

}  // namespace attune
