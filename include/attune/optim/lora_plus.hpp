#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/optim/parameter_group.hpp>

namespace attune {

struct LoraPlusOptions {
  double lr_ratio =
      16.0;  ///< lr of the B matrices over the optimizer's lr, which the A matrices have; >= 1 helps
  double lr_embedding = 1e-6;  ///< lr of adapters of embeddings (lora_embedding_A and _B), whatever the ratio
  double weight_decay = 0.0;   ///< of all but biases and norms, which have none
};

/// Groups for LoRA+ (Hayou et al. 2024, arXiv:2402.12354), as PEFT's create_loraplus_optimizer makes them: A
/// and whole modules at the optimizer's lr, adapters of embeddings at lr_embedding, B and everything of rank
/// 1 at lr times lr_ratio. Empty groups are left out, and so is what does not train. Throws ConfigError for
/// an option out of range.
///
///     attune::AdamW optimizer(attune::lora_plus(model.parameters(), {.lr_ratio = 16}), {.lr = 1e-4});
template <class B>
std::vector<ParameterGroup<B>> lora_plus(const ParameterList<B>& parameters,
                                         const LoraPlusOptions& options = {}) {
  if (!(options.lr_ratio > 0.0 && options.lr_embedding >= 0.0 && options.weight_decay >= 0.0))
    throw ConfigError("lora_plus: lr_ratio must be above 0, lr_embedding and weight_decay not below");
  std::vector<ParameterGroup<B>> groups(4);  // A, embeddings, B, B without decay
  for (auto& group : groups) {
    group.parameters.run = parameters.run;
    group.weight_decay = options.weight_decay;
  }
  groups[1].lr = options.lr_embedding;
  groups[2].lr_scale = groups[3].lr_scale = options.lr_ratio;
  groups[3].weight_decay = 0.0;
  for (const auto& parameter : parameters) {
    if (!parameter.trainable()) continue;
    const auto has = [&](std::string_view part) { return parameter.name.find(part) != std::string::npos; };
    const bool vector = parameter.shape().rank() == 1;
    std::size_t group = 0;
    if (has(".lora_embedding_"))
      group = 1;
    else if (has(".lora_B.") || vector)
      group = vector && !has(".lora_magnitude_vector") ? 3 : 2;
    groups[group].parameters.items.push_back(parameter);
  }
  std::erase_if(groups, [](const auto& group) { return group.parameters.size() == 0; });
  return groups;
}

}  // namespace attune
