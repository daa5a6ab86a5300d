#pragma once

#include <string>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/io/pretrained.hpp>

namespace attune::detail {

/// Fills all targets from a safetensors file. Throws IoError, FormatError, or ConfigError unless the file
/// holds these tensors, in these shapes, and no others; nothing is written then.
void load_adapter_file(const std::vector<LoadTarget>& targets, const std::string& path);

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/peft/adapter_file.inl.hpp>
#endif
