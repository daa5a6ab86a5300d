#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <attune/core/inline.hpp>

namespace attune {

/// The fields of a LoRA adapter_config.json, with PEFT's names and defaults.
/// Hu et al. 2021, arXiv:2106.09685. Source: peft/tuners/lora/config.py
struct LoraConfig {
  std::int64_t r = 8;
  double lora_alpha = 8.0;    ///< the change is scaled by lora_alpha / r
  double lora_dropout = 0.0;  ///< of the adapter's input, in training
  /// Names of linear layers, whole or from a dot on ("q_proj", "self_attn.q_proj"); "all-linear": all below
  /// the head.
  std::vector<std::string> target_modules{};
  /// In place of target_modules: a regular expression that a layer's whole name fits, as PEFT takes a single
  /// string there: R"(.*layers\.[0-3]\..*_proj)". ECMAScript's syntax, the part that Python shares.
  std::string target_regex{};
  std::vector<std::string> exclude_modules{};  ///< of those, the ones that are left alone
  std::string exclude_regex{};                 ///< the same by a regular expression
  /// Modules that train whole and are saved with the adapter, such as a new head.
  std::vector<std::string> modules_to_save{};
  /// r of some layers, by their names, whole or from a dot on, or regular expressions for these. Of several
  /// that fit, the first in the order of the letters counts, as after PEFT has written them.
  std::map<std::string, std::int64_t> rank_pattern{};
  std::map<std::string, double> alpha_pattern{};  ///< lora_alpha of some layers
  bool use_rslora = false;  ///< scale by lora_alpha / sqrt(r). Kalajdzievski 2023, arXiv:2312.03732
  bool use_dora = false;  ///< also learns the lengths of the weight's rows. Liu et al. 2024, arXiv:2402.09353
  std::string task_type{};  ///< "CAUSAL_LM", "SEQ_CLS", ... or empty
  std::string base_model_name_or_path{};

  /// Reads `directory`/adapter_config.json. Throws IoError, FormatError, or ConfigError for a field whose
  /// value is not supported.
  static LoraConfig from_pretrained(const std::string& directory);
  /// Writes it. Layers whose weight the checkpoint holds transposed make fan_in_fan_out true.
  void save(const std::string& directory, bool fan_in_fan_out = false) const;
  /// Throws ConfigError for a value out of its range.
  void check() const;

  bool targets(const std::string& module) const;
  bool saves(const std::string& parameter) const;  ///< whether a parameter belongs to modules_to_save
  std::int64_t rank_of(const std::string& module) const;
  double scale_of(const std::string& module) const;
};

namespace detail {
/// Whether `name` is `suffix` or ends with it after a dot.
bool names_module(const std::string& suffix, const std::string& name);
}  // namespace detail

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/peft/lora_config.inl.hpp>
#endif
