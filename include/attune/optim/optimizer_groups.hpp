#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace attune {

/// The numbers of one parameter group, which schedules and user code may change between steps.
struct OptimizerGroup {
  double lr = 0.0;          ///< of the next step
  double initial_lr = 0.0;  ///< what a schedule multiplies
  double weight_decay = 0.0;
  std::array<double, 2> betas{};  ///< AdamW alone has them

  friend bool operator==(const OptimizerGroup&, const OptimizerGroup&) = default;
};

/// A handle of an optimizer's groups, copies share them; stays valid when the optimizer is moved.
class OptimizerGroups {
 public:
  OptimizerGroups(std::vector<OptimizerGroup> groups, double default_lr)
      : groups_(std::make_shared<std::vector<OptimizerGroup>>(std::move(groups))), default_lr_(default_lr) {}

  std::size_t size() const { return groups_->size(); }
  OptimizerGroup& operator[](std::size_t group) const { return (*groups_)[group]; }
  auto begin() const { return groups_->begin(); }
  auto end() const { return groups_->end(); }
  /// The optimizer's own `lr` option.
  double default_lr() const { return default_lr_; }

 private:
  std::shared_ptr<std::vector<OptimizerGroup>> groups_;
  double default_lr_;
};

/// What a checkpoint keeps of an optimizer beside its arrays.
struct OptimizerState {
  std::string optimizer;  ///< "AdamW" or "SGD"
  std::vector<OptimizerGroup> groups;
  std::map<std::string, std::int64_t> steps;  ///< the updates that each parameter has had, by its name
  std::int64_t skipped_steps = 0;

  friend bool operator==(const OptimizerState&, const OptimizerState&) = default;
};

}  // namespace attune
