#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/core/file.hpp>
#include <attune/formats/json.hpp>
#include <attune/peft/lora_config.hpp>
#include <attune/peft/module_pattern.hpp>

namespace attune::detail {

ATTUNE_INLINE bool names_module(const std::string& suffix, const std::string& name) {
  return name == suffix || (name.size() > suffix.size() && name.ends_with(suffix) &&
                            name[name.size() - suffix.size() - 1] == '.');
}

/// A list of names, or a single string: "all-linear" or a regular expression.
inline std::vector<std::string> module_names(const JsonObject& config, const char* field,
                                             std::string* regex) {
  if (!config.has(field)) return {};
  if (!config.json()[field].is_string()) return config.get<std::vector<std::string>>(field);
  const auto text = config.get<std::string>(field);
  if (text == "all-linear") return {text};
  if (!regex) config.refuse(field, "expected a list of names, found '" + text + "'");
  *regex = text;
  return {};
}

template <class V>
std::map<std::string, V> name_pattern(const JsonObject& config, const char* field) {
  std::map<std::string, V> result;
  if (!config.has(field)) return result;
  const JsonObject values = config.object(field);
  for (const auto& entry : values.json().items()) result[entry.key()] = values.get<V>(entry.key());
  return result;
}

/// Whether a key of rank_pattern or alpha_pattern means a module.
inline bool fits_pattern(const std::string& pattern, const std::string& module, const char* field) {
  if (!is_regex(pattern)) return names_module(pattern, module);
  return fits_regex("(?:.*\\.)?(?:" + pattern + ")$", module, field);
}

template <class V>
const V* find_pattern(const std::map<std::string, V>& pattern, const std::string& module, const char* field) {
  for (const auto& [name, value] : pattern)
    if (fits_pattern(name, module, field)) return &value;
  return nullptr;
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE void LoraConfig::check() const {
  const auto refuse = [](const char* field, const std::string& what) {
    throw ConfigError(std::string("lora: ") + field + ": " + what);
  };
  const auto check_rank = [&](const char* field, std::int64_t rank) {
    if (rank < 1 || rank > 65536) refuse(field, "expected 1 to 65536, found " + std::to_string(rank));
  };
  check_rank("r", r);
  for (const auto& [name, rank] : rank_pattern) check_rank("rank_pattern", rank);
  if (!std::isfinite(lora_alpha)) refuse("lora_alpha", "expected a finite number");
  if (!(lora_dropout >= 0.0 && lora_dropout < 1.0))
    refuse("lora_dropout", "expected a probability below 1, found " + std::to_string(lora_dropout));
  if (target_modules.empty() == target_regex.empty())
    refuse("target_modules",
           target_regex.empty() ? "name the layers to adapt" : "give names or target_regex, not both");
  // Malformed patterns are found here and not at the first layer.
  if (!target_regex.empty()) detail::fits_regex(target_regex, "", "target_modules");
  if (!exclude_regex.empty()) detail::fits_regex(exclude_regex, "", "exclude_modules");
  for (const auto& [name, rank] : rank_pattern) detail::fits_pattern(name, "", "rank_pattern");
  for (const auto& [name, alpha] : alpha_pattern) {
    detail::fits_pattern(name, "", "alpha_pattern");
    if (!std::isfinite(alpha)) refuse("alpha_pattern", "expected finite numbers");
  }
}

ATTUNE_INLINE LoraConfig LoraConfig::from_pretrained(const std::string& directory) {
  const auto config = JsonObject::read((std::filesystem::path(directory) / "adapter_config.json").string());
  const std::string type = config.get("peft_type", "LORA");
  if (type != "LORA") config.refuse("peft_type", "expected LORA, found " + type);
  const std::string bias = config.get("bias", "none");
  if (bias != "none") config.refuse("bias", "expected none, found " + bias);
  for (const char* field : {"use_qalora", "lora_bias", "use_bdlora"})
    if (config.has(field) && config.json()[field] != false) config.refuse(field, "true is not supported");
  for (const char* field : {"layers_to_transform", "layers_pattern", "layer_replication", "megatron_config",
                            "arrow_config", "kasa_config", "velora_config", "monteclora_config",
                            "trainable_token_indices", "target_parameters", "alora_invocation_tokens"})
    if (config.has(field) && !config.json()[field].empty()) config.refuse(field, "is not supported");
  if (config.has("init_lora_weights") && config.json()["init_lora_weights"].is_string()) {
    const auto init = config.get<std::string>("init_lora_weights");
    if (init != "gaussian" && init != "eva" && init != "orthogonal")
      config.refuse("init_lora_weights", "'" + init + "' changes the base weights and is not supported");
  }
  LoraConfig c;
  c.r = config.get("r", c.r);
  c.lora_alpha = config.get("lora_alpha", c.lora_alpha);
  c.lora_dropout = config.get("lora_dropout", c.lora_dropout);
  c.target_modules = detail::module_names(config, "target_modules", &c.target_regex);
  c.exclude_modules = detail::module_names(config, "exclude_modules", &c.exclude_regex);
  c.modules_to_save = detail::module_names(config, "modules_to_save", nullptr);
  c.rank_pattern = detail::name_pattern<std::int64_t>(config, "rank_pattern");
  const auto alphas = detail::name_pattern<double>(config, "alpha_pattern");
  c.alpha_pattern = alphas;
  c.use_rslora = config.get("use_rslora", false);
  c.use_dora = config.get("use_dora", false);
  c.task_type = config.get("task_type", "");
  c.base_model_name_or_path = config.get("base_model_name_or_path", "");
  c.check();
  return c;
}

ATTUNE_INLINE void LoraConfig::save(const std::string& directory, bool fan_in_fan_out) const {
  nlohmann::json config = {{"peft_type", "LORA"},
                           {"r", r},
                           {"lora_alpha", lora_alpha},
                           {"lora_dropout", lora_dropout},
                           {"bias", "none"},
                           {"fan_in_fan_out", fan_in_fan_out},
                           {"inference_mode", true},
                           {"init_lora_weights", true},
                           {"use_rslora", use_rslora},
                           {"use_dora", use_dora},
                           {"rank_pattern", rank_pattern},
                           {"alpha_pattern", alpha_pattern}};
  // PEFT's fields are integers where they can be.
  if (lora_alpha == std::floor(lora_alpha) && std::abs(lora_alpha) < 1e9)
    config["lora_alpha"] = static_cast<std::int64_t>(lora_alpha);
  const auto names = [](const std::vector<std::string>& list, const std::string& regex = {}) {
    if (!regex.empty()) return nlohmann::json(regex);
    return list.empty() ? nlohmann::json() : nlohmann::json(list);
  };
  config["target_modules"] = target_modules.size() == 1 && target_modules[0] == "all-linear"
                                 ? nlohmann::json("all-linear")
                                 : names(target_modules, target_regex);
  config["exclude_modules"] = names(exclude_modules, exclude_regex);
  config["modules_to_save"] = names(modules_to_save);
  config["task_type"] = task_type.empty() ? nlohmann::json() : nlohmann::json(task_type);
  config["base_model_name_or_path"] =
      base_model_name_or_path.empty() ? nlohmann::json() : nlohmann::json(base_model_name_or_path);
  make_directories(directory);
  write_json((std::filesystem::path(directory) / "adapter_config.json").string(), config);
}

ATTUNE_INLINE bool LoraConfig::targets(const std::string& module) const {
  const auto named_in = [&](const std::vector<std::string>& names) {
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& name) { return detail::names_module(name, module); });
  };
  if (named_in(exclude_modules) || saves(module + ".weight")) return false;
  if (!exclude_regex.empty() && detail::fits_regex(exclude_regex, module, "exclude_modules")) return false;
  if (target_modules.size() == 1 && target_modules[0] == "all-linear")
    return module != "lm_head" && module != "score" && module != "classifier";
  if (target_regex.empty() ? !named_in(target_modules)
                           : !detail::fits_regex(target_regex, module, "target_modules"))
    return false;
  // The loss multiplies with the head's weight chunk by chunk and would pass an adapter over.
  if (module == "lm_head") throw ConfigError("lora: target_modules: an adapter of lm_head is not supported");
  return true;
}

ATTUNE_INLINE bool LoraConfig::saves(const std::string& parameter) const {
  const std::size_t dot = parameter.rfind('.');
  for (std::string module = parameter.substr(0, dot == std::string::npos ? 0 : dot); !module.empty();) {
    for (const std::string& name : modules_to_save)
      if (detail::names_module(name, module)) return true;
    const std::size_t up = module.rfind('.');
    module.resize(up == std::string::npos ? 0 : up);
  }
  return false;
}

ATTUNE_INLINE std::int64_t LoraConfig::rank_of(const std::string& module) const {
  const std::int64_t* found = detail::find_pattern(rank_pattern, module, "rank_pattern");
  return found ? *found : r;
}

ATTUNE_INLINE double LoraConfig::scale_of(const std::string& module) const {
  const double* found = detail::find_pattern(alpha_pattern, module, "alpha_pattern");
  const double alpha = found ? *found : lora_alpha, rank = static_cast<double>(rank_of(module));
  return alpha / (use_rslora ? std::sqrt(rank) : rank);
}

}  // namespace attune
