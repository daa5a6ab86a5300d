#pragma once

#include <vector>

#include <attune/backend/cpu/isa.hpp>

/// The instruction sets of this processor.
inline std::vector<attune::cpu::Isa> available_sets() {
  std::vector<attune::cpu::Isa> sets;
  for (int i = 0; i <= static_cast<int>(attune::cpu::best_isa()); ++i)
    sets.push_back(static_cast<attune::cpu::Isa>(i));
  return sets;
}

/// Makes a set the active one while it lives.
class SetGuard {
 public:
  explicit SetGuard(attune::cpu::Isa isa) : before_(attune::cpu::active_isa()) { attune::cpu::set_isa(isa); }
  ~SetGuard() { attune::cpu::set_isa(before_); }
  SetGuard(const SetGuard&) = delete;
  SetGuard& operator=(const SetGuard&) = delete;

 private:
  attune::cpu::Isa before_;
};
