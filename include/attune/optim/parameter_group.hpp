#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/tensor/parameter_list.hpp>

namespace attune {

/// Parameters that an optimizer treats alike. What is not given here is the optimizer's own option.
template <class B>
struct ParameterGroup {
  ParameterList<B> parameters;
  std::optional<double> lr{};
  double lr_scale = 1.0;  ///< multiplies lr, > 0
  std::optional<double> weight_decay{};
  std::optional<std::array<double, 2>> betas{};  ///< AdamW alone has them
};

struct LayerwiseLrDecayOptions {
  double decay = 0.9;                    ///< in (0, 1]: each layer's lr over that of the layer above
  std::optional<double> weight_decay{};  ///< nothing: the optimizer's
  bool decay_biases_and_norms = false;   ///< otherwise their weight decay is 0
};

namespace detail {

/// Biases, and the weights of norms: the parameters without a second dimension.
template <class B>
bool is_bias_or_norm(const NamedParameter<B>& parameter) {
  const std::string_view name = parameter.name;
  const std::string_view last = name.substr(name.rfind('.') + 1);  // npos + 1 is 0: the whole name
  return parameter.state->shape.rank() <= 1 || last == "bias";
}

/// The N of "layer.N." (also "layers", "h", "block", "blocks") in a parameter's name, -1 without one.
inline std::int64_t layer_number(std::string_view name) {
  std::string_view before;
  while (!name.empty()) {
    const std::size_t dot = std::min(name.find('.'), name.size());
    const std::string_view part = name.substr(0, dot);
    const bool numbered =
        before == "layer" || before == "layers" || before == "h" || before == "block" || before == "blocks";
    if (numbered && !part.empty() && part.size() <= 6 &&
        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return std::stoll(std::string(part));
    before = part;
    name.remove_prefix(std::min(dot + 1, name.size()));
  }
  return -1;
}

inline bool is_embedding(std::string_view name) {
  return name.find("embed") != name.npos || name.find("wte.") != name.npos || name.find("wpe.") != name.npos;
}

}  // namespace detail

/// Two groups: the matrices with `weight_decay`, and biases and norms (everything of rank 1, and what is
/// called "bias") without. Parameters that do not train are in neither.
template <class B>
std::vector<ParameterGroup<B>> no_decay_for_biases_and_norms(const ParameterList<B>& parameters,
                                                             double weight_decay) {
  std::vector<ParameterGroup<B>> groups(2);
  for (auto& group : groups) group.parameters.run = parameters.run;
  groups[0].weight_decay = weight_decay;
  groups[1].weight_decay = 0.0;
  for (const auto& parameter : parameters)
    if (parameter.trainable())
      groups[detail::is_bias_or_norm(parameter) ? 1 : 0].parameters.items.push_back(parameter);
  return groups;
}

/// Groups whose learning rate falls from the top down: the head (all that is neither a layer nor an
/// embedding) trains at lr, the topmost of L layers at lr decay, the lowest at lr decay^L, and the embeddings
/// at lr decay^(L+1). Layers are told by their names, "layer.N." and the like. Howard and Ruder 2018,
/// arXiv:1801.06146. Throws ConfigError for a decay out of range or when no name has a layer number.
template <class B>
std::vector<ParameterGroup<B>> layerwise_lr_decay(const ParameterList<B>& parameters,
                                                  const LayerwiseLrDecayOptions& options = {}) {
  if (!(options.decay > 0.0 && options.decay <= 1.0))
    throw ConfigError("layerwise_lr_decay: decay must lie in (0, 1], found " + std::to_string(options.decay));
  std::int64_t layers = 0;
  for (const auto& parameter : parameters)
    layers = std::max(layers, detail::layer_number(parameter.name) + 1);
  if (layers == 0)
    throw ConfigError("layerwise_lr_decay: no parameter has a layer number in its name, as \"layer.0.\"");

  std::map<std::pair<std::int64_t, bool>, ParameterGroup<B>> groups;  // by distance from the head
  for (const auto& parameter : parameters) {
    if (!parameter.trainable()) continue;
    const std::int64_t layer = detail::layer_number(parameter.name);
    const std::int64_t distance =
        layer >= 0 ? layers - layer : (detail::is_embedding(parameter.name) ? layers + 1 : 0);
    const bool no_decay = !options.decay_biases_and_norms && detail::is_bias_or_norm(parameter);
    ParameterGroup<B>& group = groups[{distance, no_decay}];
    group.parameters.run = parameters.run;
    group.parameters.items.push_back(parameter);
    group.lr_scale = std::pow(options.decay, static_cast<double>(distance));
    group.weight_decay = no_decay ? std::optional<double>(0.0) : options.weight_decay;
  }
  std::vector<ParameterGroup<B>> result;
  for (auto& [key, group] : groups) result.push_back(std::move(group));
  return result;
}

}  // namespace attune
