#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <attune/core/random.hpp>
#include <attune/io/pretrained.hpp>
#include <attune/nn/linear.hpp>
#include <attune/nn/module.hpp>
#include <attune/peft/adapter_file.hpp>
#include <attune/peft/lora_config.hpp>
#include <attune/peft/lora_layer.hpp>

namespace attune {

namespace detail {

template <class>
inline constexpr bool is_linear = false;
template <class T, class B>
inline constexpr bool is_linear<Linear<T, B>> = true;

/// Calls f(name, linear) for every linear layer that has a weight of its own.
template <class Part, class F>
void walk_linears(const std::string& name, Part& part, const F& f) {
  using P = std::remove_const_t<Part>;
  if constexpr (is_linear<P>) {
    if (part.weight && part.adapters) f(name, part);
  } else if constexpr (is_vector<P>) {
    for (std::size_t i = 0; i < part.size(); ++i)
      walk_linears(join_name(name, std::to_string(i)), part[i], f);
  } else if constexpr (!is_parameter<P> && !std::is_same_v<P, Dropout>) {
    P::visit(part,
             [&](std::string_view child, auto&& inner) { walk_linears(join_name(name, child), inner, f); });
  }
}
template <class Module, class F>
void for_each_linear(Module& module, const F& f) {
  walk_linears(std::string(), module, f);
}

/// Whether a slot is the named adapter on exactly a layer's rows.
template <class Slot, class Layer>
bool is_slot_of(const Slot& slot, const Layer& layer, const std::string& adapter) {
  return slot.name == adapter && slot.row_begin == layer.weight.row_begin() &&
         slot.row_end == layer.weight.row_end();
}

/// Calls f(module name, linear, slot, lora) for each layer that the named adapter changes.
template <class Model, class F>
void for_each_lora(Model& model, const std::string& adapter, const F& f) {
  using T = typename std::remove_const_t<Model>::value_type;
  using B = typename std::remove_const_t<Model>::backend_type;
  for_each_linear(model, [&](const std::string& name, auto& layer) {
    for (auto& slot : layer.adapters->slots)
      if (is_slot_of(slot, layer, adapter))
        if (auto* lora = dynamic_cast<LoraLinear<T, B>*>(slot.adapter.get())) f(name, layer, slot, *lora);
  });
}

}  // namespace detail

/// A LoRA adapter of a model: what it is made of, and what can be done with it. The model owns the
/// parameters, which its parameters() list as "<layer>.lora_A.<name>.weight"; an optimizer is made as for any
/// model.
///
///     auto model = LlamaForCausalLM<bfloat16, Cpu>::from_pretrained(dir, {.frozen = true});
///     attune::LoraAdapter lora(model, {.r = 8, .lora_alpha = 16, .target_modules = {"q_proj", "v_proj"}});
///     attune::AdamW optimizer(model.parameters(), {.lr = 2e-4});
///     ...
///     lora.save_pretrained("adapter");
///
/// Models are moved, not copied; a handle refers to the model where it stands, which must outlive it.
template <class Model>
class LoraAdapter {
 public:
  using T = typename Model::value_type;
  using B = typename Model::backend_type;

  /// Freezes the model, adds a new adapter that changes nothing yet, and lets it and `modules_to_save` train.
  /// Throws ConfigError for a value out of range, a name that is taken, while another adapter is active, or
  /// when no layer fits.
  LoraAdapter(Model& model, LoraConfig config, std::string name = "default", std::uint64_t seed = 42)
      : model_(&model), config_(std::move(config)), name_(std::move(name)) {
    config_.check();
    if (name_.empty() || name_.find_first_of("./") != std::string::npos)
      throw ConfigError("lora: a name without dots and slashes is needed, found '" + name_ + "'");
    for (const auto& parameter : model.parameters())
      if (parameter.name.ends_with(".lora_A." + name_ + ".weight"))
        throw ConfigError("lora: the model already has an adapter '" + name_ + "'");
    for (const auto& parameter : model.parameters())
      if (parameter.state->blocks && config_.saves(parameter.name))
        throw ConfigError("lora: modules_to_save: " + parameter.name + " is quantised and does not train");
    check_alone();
    attach(seed);
    original_ = read_modules();
    train_adapter();
  }
  LoraAdapter(LoraAdapter&&) noexcept = default;
  LoraAdapter& operator=(LoraAdapter&&) noexcept = default;

  /// Reads a directory as PEFT writes it. Nothing trains: see train_adapter(). Throws IoError, FormatError or
  /// ConfigError.
  static LoraAdapter from_pretrained(Model& model, const std::string& directory,
                                     std::string name = "default") {
    LoraAdapter adapter(model, LoraConfig::from_pretrained(directory), std::move(name));
    adapter.load(directory);
    adapter.freeze_all();
    return adapter;
  }

  const LoraConfig& config() const { return config_; }
  const std::string& name() const { return name_; }
  /// The layers that it changes.
  std::vector<std::string> modules() const {
    std::vector<std::string> names;
    detail::for_each_lora(*model_, name_,
                          [&](const std::string& module, auto&, auto&, auto&) { names.push_back(module); });
    return names;
  }

  /// Whether it changes what the model computes.
  bool active() const { return active_; }
  /// It does so again. Throws ConfigError while another adapter does, or it is merged.
  void activate() {
    check_alone();
    if (merged_) throw ConfigError("lora: the adapter '" + name_ + "' is merged into the weights");
    if (active_) return;
    set_active(true);
    write_modules(saved_);
  }
  /// The model computes as it did without it.
  void deactivate() {
    if (!active_) return;
    saved_ = read_modules();
    set_active(false);
    write_modules(original_);
  }

  /// Lets this adapter and its modules_to_save train, and nothing else. Make the optimizer afterwards.
  void train_adapter() {
    freeze_all();
    for (const auto& parameter : model_->parameters())
      if (belongs(parameter.name)) set_trainable(parameter, true);
  }

  /// Adds the change to the weights, so that the model is an ordinary one as fast as before. In bfloat16 the
  /// sums are rounded. Quantised weights are quantised no more, and take the memory of ordinary ones, after
  /// unmerge() as well.
  void merge() { fold(1.0f); }
  /// Takes it out again; in bfloat16 up to rounding.
  void unmerge() { fold(-1.0f); }
  bool merged() const { return merged_; }

  /// Removes the adapter from the model. When it is merged, the weights stay changed.
  void remove() {
    if (!merged_) deactivate();
    detail::for_each_linear(*model_, [&](const std::string&, auto& layer) {
      auto& slots = layer.adapters->slots;
      slots.erase(
          std::remove_if(slots.begin(), slots.end(), [&](const auto& slot) { return slot.name == name_; }),
          slots.end());
    });
  }

  /// Writes adapter_config.json and adapter_model.safetensors so that PEFT loads the directory unchanged.
  /// Throws IoError.
  void save_pretrained(const std::string& directory) const {
    bool transposed = false;
    detail::for_each_lora(*model_, name_, [&](const std::string&, auto& layer, auto&, auto&) {
      transposed = transposed || layer.weight.state()->stored_transposed;
    });
    config_.save(directory, transposed);
    ParameterList<B> list;
    for (NamedParameter<B> parameter : model_->parameters()) {
      if (!belongs(parameter.name)) continue;
      parameter.name = file_name(parameter.name);
      list.items.push_back(parameter);
    }
    save_parameters(list, directory + "/adapter_model.safetensors");
  }

 private:
  struct ModuleValues {
    NamedParameter<B> parameter;
    std::vector<float> values;
  };

  bool belongs(const std::string& parameter) const {
    if (parameter.find(".lora_") == std::string::npos) return config_.saves(parameter);
    return parameter.ends_with("." + name_ + ".weight");
  }
  /// PEFT's name: without the adapter's, and a magnitude without ".weight".
  std::string file_name(const std::string& parameter) const {
    std::string result = "base_model.model." + parameter;
    if (parameter.find(".lora_") == std::string::npos) return result;
    result.resize(result.size() - std::string("." + name_ + ".weight").size());
    return result.ends_with("lora_magnitude_vector") ? result : result + ".weight";
  }

  template <class F>
  void for_each_slot(const F& f) const {
    detail::for_each_linear(*model_, [&](const std::string&, auto& layer) {
      for (auto& slot : layer.adapters->slots) f(slot);
    });
  }
  void set_active(bool active) {
    for_each_slot([&](auto& slot) {
      if (slot.name == name_) slot.active = active;
    });
    active_ = active;
  }
  void check_alone() const {
    for_each_slot([&](auto& slot) {
      if (slot.active && slot.name != name_)
        throw ConfigError("lora: the adapter '" + slot.name + "' is active; deactivate it first");
    });
  }
  void freeze_all() {
    for (const auto& parameter : model_->parameters()) set_trainable(parameter, false);
  }

  void attach(std::uint64_t seed) {
    std::uint32_t site = 0;
    for_each_dropout(*model_, [&](const std::string&, const Dropout& dropout) {
      site = std::max(site, dropout.site + 1);
    });
    std::size_t count = 0;
    detail::for_each_linear(*model_, [&](const std::string& module, auto& layer) {
      if (!config_.targets(module)) return;
      const std::int64_t in = layer.weight.shape()[1], out = layer.weight.shape()[0];
      auto lora = std::make_shared<LoraLinear<T, B>>(model_->device(), in, out, config_.rank_of(module),
                                                     config_.scale_of(module));
      initialize(module, *lora, seed);
      if (config_.use_dora) lora->add_magnitude(layer.weight);
      lora->dropout = {static_cast<float>(config_.lora_dropout), site++, model_->training()};
      layer.adapters->slots.push_back(
          {name_, layer.weight.row_begin(), layer.weight.row_end(), true, std::move(lora)});
      ++count;
    });
    if (count == 0)
      throw ConfigError(
          "lora: target_modules: no linear layer of the model fits " +
          (config_.target_regex.empty() ? joined(config_.target_modules) : config_.target_regex));
  }
  static std::string joined(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "'" : ", '") + name + "'";
    return text;
  }
  /// A as torch.nn.Linear begins, uniform in +-1 / sqrt(in), and B zero. The values depend on the seed and
  /// the layer's name alone.
  static void initialize(const std::string& module, const LoraLinear<T, B>& lora, std::uint64_t seed) {
    std::uint64_t stream = 0xcbf29ce484222325ull;  // FNV-1a
    for (const char c : module) stream = (stream ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
    RandomStream random(seed, stream);
    const auto bound = 1.0 / std::sqrt(static_cast<double>(lora.lora_A.shape()[1]));
    std::vector<Wide<T>> a;
    for (std::int64_t i = 0; i < lora.lora_A.size(); ++i)
      a.push_back(static_cast<Wide<T>>((2.0 * static_cast<double>(random.uniform()) - 1.0) * bound));
    lora.lora_A.assign(a);
    lora.lora_B.assign(std::vector<Wide<T>>(static_cast<std::size_t>(lora.lora_B.size()), Wide<T>(0)));
  }

  void load(const std::string& directory) {
    std::vector<detail::LoadTarget> targets;
    for (const auto& parameter : model_->parameters()) {
      if (!belongs(parameter.name)) continue;
      targets.push_back(detail::load_target(parameter));
      targets.back().name = file_name(parameter.name);
    }
    detail::load_adapter_file(targets, directory + "/adapter_model.safetensors");
  }

  void fold(float sign) {
    if (!active_) throw ConfigError("lora: the adapter '" + name_ + "' is not active");
    if ((sign > 0.0f) == merged_)
      throw ConfigError(std::string("lora: the adapter is ") + (merged_ ? "already merged" : "not merged"));
    detail::for_each_lora(*model_, name_, [&](const std::string&, auto& layer, auto&, auto& lora) {
      layer.weight.assign(
          (sign > 0.0f ? lora.merged(layer.weight) : lora.unmerged(layer.weight)).to_vector());
    });
    merged_ = sign > 0.0f;
    for_each_slot([&](auto& slot) {
      if (slot.name == name_) slot.active = !merged_ && active_;
    });
  }

  /// modules_to_save are the model's own parameters: what an adapter makes of them, and what they were
  /// before, is kept on the host. Not in double, which is for tests of gradients.
  std::vector<ModuleValues> read_modules() const {
    std::vector<ModuleValues> values;
    for (const auto& parameter : model_->parameters())
      if (parameter.name.find(".lora_") == std::string::npos && config_.saves(parameter.name) &&
          parameter.state->dtype != DType::f64)
        values.push_back({parameter, values_of(parameter)});
    return values;
  }
  static std::vector<float> values_of(const NamedParameter<B>& parameter) {
    if (parameter.state->master) return parameter.master().to_vector();
    const auto at = static_cast<std::size_t>(parameter.offset()) * sizeof(bfloat16);
    const Detached<bfloat16, B> rounded(
        parameter.state->value.slice(at, static_cast<std::size_t>(parameter.size()) * sizeof(bfloat16)),
        {parameter.size()});
    const std::vector<bfloat16> values = rounded.to_vector();
    return {values.begin(), values.end()};
  }
  void write_modules(const std::vector<ModuleValues>& modules) {
    for (const ModuleValues& module : modules)
      detail::assign_rows<float>(module.parameter, std::span<const float>(module.values));
  }

  Model* model_;
  LoraConfig config_;
  std::string name_;
  bool active_ = true, merged_ = false;
  std::vector<ModuleValues> original_, saved_;
};

}  // namespace attune
