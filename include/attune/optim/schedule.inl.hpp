#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include <attune/core/error.hpp>
#include <attune/optim/schedule.hpp>

namespace attune {

namespace detail {

ATTUNE_INLINE void check_at_least(const char* schedule, const char* option, std::int64_t value,
                                  std::int64_t least) {
  if (value < least)
    throw ConfigError(std::string(schedule) + " schedule: " + option + " must be at least " +
                      std::to_string(least) + ", found " + std::to_string(value));
}

/// A schedule that rises for warmup_steps and then follows `after(step)`.
template <class F>
LrSchedule with_warmup(OptimizerGroups optimizer, const char* name, std::int64_t warmup_steps, F after) {
  check_at_least(name, "warmup_steps", warmup_steps, 0);
  return LrSchedule(std::move(optimizer), name, [warmup_steps, after](std::int64_t step) {
    return step < warmup_steps ? static_cast<double>(step) / static_cast<double>(warmup_steps) : after(step);
  });
}

/// The share of the steps after the warm-up that is done.
ATTUNE_INLINE double progress(std::int64_t step, std::int64_t warmup_steps, std::int64_t total_steps) {
  return static_cast<double>(step - warmup_steps) /
         static_cast<double>(std::max<std::int64_t>(1, total_steps - warmup_steps));
}

/// A fall from 1 to 0 for done = 0 .. 1.
ATTUNE_INLINE double fall(Ramp ramp, double done, double num_cycles) {
  switch (ramp) {
    case Ramp::cosine:
      return 0.5 * (1.0 + std::cos(2.0 * std::numbers::pi * num_cycles * done));
    case Ramp::one_minus_sqrt:
      return 1.0 - std::sqrt(done);
    case Ramp::linear:
      break;
  }
  return 1.0 - done;
}

}  // namespace detail

ATTUNE_INLINE LrSchedule::LrSchedule(OptimizerGroups optimizer, std::string name,
                                     std::function<double(std::int64_t)> factor)
    : groups_(std::move(optimizer)), name_(std::move(name)), factor_(std::move(factor)) {
  apply();
}

ATTUNE_INLINE void LrSchedule::step() {
  ++steps_;
  apply();
}

ATTUNE_INLINE void LrSchedule::apply() {
  const double factor = factor_(steps_);
  for (OptimizerGroup& group : groups_) group.lr = group.initial_lr * factor;
}

ATTUNE_INLINE LrScheduleState LrSchedule::state() const {
  LrScheduleState state{name_, steps_, {}};
  for (const OptimizerGroup& group : groups_) state.initial_lrs.push_back(group.initial_lr);
  return state;
}

ATTUNE_INLINE void LrSchedule::check_state(const LrScheduleState& state) const {
  if (state.schedule != name_)
    throw ConfigError(name_ + " schedule: the state is of another schedule, " + state.schedule);
  if (state.initial_lrs.size() != groups_.size())
    throw ConfigError(name_ + " schedule: expected the state of " + std::to_string(groups_.size()) +
                      " groups, found " + std::to_string(state.initial_lrs.size()));
  detail::check_at_least(name_.c_str(), "the state's steps", state.steps, 0);
}

ATTUNE_INLINE void LrSchedule::load_state(const LrScheduleState& state) {
  check_state(state);
  for (std::size_t group = 0; group < groups_.size(); ++group)
    groups_[group].initial_lr = state.initial_lrs[group];
  steps_ = state.steps;
  apply();
}

ATTUNE_INLINE LrSchedule constant_schedule(OptimizerGroups optimizer) {
  return LrSchedule(std::move(optimizer), "constant", [](std::int64_t) { return 1.0; });
}

ATTUNE_INLINE LrSchedule constant_schedule_with_warmup(OptimizerGroups optimizer,
                                                       const ConstantScheduleOptions& options) {
  return detail::with_warmup(std::move(optimizer), "constant_with_warmup", options.warmup_steps,
                             [](std::int64_t) { return 1.0; });
}

ATTUNE_INLINE LrSchedule linear_schedule_with_warmup(OptimizerGroups optimizer,
                                                     const LinearScheduleOptions& options) {
  detail::check_at_least("linear", "total_steps", options.total_steps, 1);
  return detail::with_warmup(
      std::move(optimizer), "linear", options.warmup_steps, [options](std::int64_t step) {
        return std::max(0.0, static_cast<double>(options.total_steps - step) /
                                 static_cast<double>(
                                     std::max<std::int64_t>(1, options.total_steps - options.warmup_steps)));
      });
}

ATTUNE_INLINE LrSchedule cosine_schedule_with_warmup(OptimizerGroups optimizer,
                                                     const CosineScheduleOptions& options) {
  detail::check_at_least("cosine", "total_steps", options.total_steps, 1);
  if (!(options.num_cycles > 0.0))
    throw ConfigError("cosine schedule: num_cycles must be above 0, found " +
                      std::to_string(options.num_cycles));
  return detail::with_warmup(
      std::move(optimizer), "cosine", options.warmup_steps, [options](std::int64_t step) {
        return std::max(
            0.0, detail::fall(Ramp::cosine, detail::progress(step, options.warmup_steps, options.total_steps),
                              options.num_cycles));
      });
}

ATTUNE_INLINE LrSchedule cosine_with_hard_restarts_schedule_with_warmup(
    OptimizerGroups optimizer, const CosineRestartsScheduleOptions& options) {
  detail::check_at_least("cosine_with_restarts", "total_steps", options.total_steps, 1);
  detail::check_at_least("cosine_with_restarts", "num_cycles", options.num_cycles, 1);
  return detail::with_warmup(
      std::move(optimizer), "cosine_with_restarts", options.warmup_steps, [options](std::int64_t step) {
        const double done = detail::progress(step, options.warmup_steps, options.total_steps);
        if (done >= 1.0) return 0.0;
        return detail::fall(Ramp::cosine, std::fmod(static_cast<double>(options.num_cycles) * done, 1.0),
                            0.5);
      });
}

ATTUNE_INLINE LrSchedule polynomial_decay_schedule_with_warmup(OptimizerGroups optimizer,
                                                               const PolynomialScheduleOptions& options) {
  detail::check_at_least("polynomial", "total_steps", options.total_steps, 1);
  const double lr = optimizer.default_lr();
  if (!(options.lr_end >= 0.0 && options.lr_end < lr))
    throw ConfigError("polynomial schedule: lr_end must lie in [0, " + std::to_string(lr) +
                      "), below the optimizer's lr, found " + std::to_string(options.lr_end));
  return detail::with_warmup(
      std::move(optimizer), "polynomial", options.warmup_steps, [options, lr](std::int64_t step) {
        if (step > options.total_steps) return options.lr_end / lr;
        const double left = 1.0 - detail::progress(step, options.warmup_steps, options.total_steps);
        return ((lr - options.lr_end) * std::pow(left, options.power) + options.lr_end) / lr;
      });
}

ATTUNE_INLINE LrSchedule inverse_sqrt_schedule(OptimizerGroups optimizer,
                                               const InverseSqrtScheduleOptions& options) {
  detail::check_at_least("inverse_sqrt", "timescale", options.timescale, 0);
  std::int64_t timescale = options.timescale;
  if (timescale == 0) timescale = options.warmup_steps > 0 ? options.warmup_steps : 10000;
  return detail::with_warmup(std::move(optimizer), "inverse_sqrt", options.warmup_steps,
                             [warmup_steps = options.warmup_steps, timescale](std::int64_t step) {
                               return 1.0 / std::sqrt(static_cast<double>(step + timescale - warmup_steps) /
                                                      static_cast<double>(timescale));
                             });
}

ATTUNE_INLINE LrSchedule wsd_schedule(OptimizerGroups optimizer,
                                      const WarmupStableDecayScheduleOptions& options) {
  const char* const name = "warmup_stable_decay";
  detail::check_at_least(name, "warmup_steps", options.warmup_steps, 0);
  detail::check_at_least(name, "decay_steps", options.decay_steps, 0);
  if (options.stable_steps < 0) detail::check_at_least(name, "total_steps", options.total_steps, 1);
  if (!(options.min_lr_ratio >= 0.0 && options.min_lr_ratio <= 1.0))
    throw ConfigError(std::string(name) + " schedule: min_lr_ratio must lie in [0, 1], found " +
                      std::to_string(options.min_lr_ratio));
  const std::int64_t stable_end =
      options.warmup_steps + (options.stable_steps >= 0
                                  ? options.stable_steps
                                  : options.total_steps - options.warmup_steps - options.decay_steps);
  return LrSchedule(std::move(optimizer), name, [options, stable_end](std::int64_t step) {
    const auto share = [&](double factor) {
      return std::max(0.0, factor * (1.0 - options.min_lr_ratio) + options.min_lr_ratio);
    };
    if (step < options.warmup_steps) {
      // The mirror image of a fall: 1 - fall(share done), and for 1-sqrt the root of the share left.
      const double done = static_cast<double>(step) / static_cast<double>(options.warmup_steps);
      if (options.warmup_type == Ramp::one_minus_sqrt) return share(1.0 - std::sqrt(1.0 - done));
      return share(1.0 - detail::fall(options.warmup_type, done, 0.5));
    }
    if (step < stable_end) return 1.0;
    if (step >= stable_end + options.decay_steps) return options.min_lr_ratio;
    return share(detail::fall(options.decay_type,
                              static_cast<double>(step - stable_end) /
                                  static_cast<double>(std::max<std::int64_t>(1, options.decay_steps)),
                              options.num_cycles));
  });
}

}  // namespace attune
