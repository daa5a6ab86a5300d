#pragma once

#include <string>
#include <string_view>

#include <attune/backend/op_tags.hpp>
#include <attune/core/error.hpp>

namespace attune {

/// The function that a config's field names. Throws ConfigError for an unknown one.
/// Source: transformers/activations.py, ACT2FN.
inline Unary activation_from_name(std::string_view name, std::string_view field = "hidden_act") {
  if (name == "gelu") return Unary::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Unary::gelu_tanh;
  if (name == "relu") return Unary::relu;
  if (name == "silu" || name == "swish") return Unary::silu;
  throw ConfigError(std::string(field) + ": expected gelu, gelu_new, gelu_pytorch_tanh, relu or silu, found '" +
                    std::string(name) + "'");
}

}  // namespace attune
