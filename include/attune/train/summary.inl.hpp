#pragma once

#include <cstdio>

#include <attune/train/summary.hpp>

namespace attune::detail {

ATTUNE_INLINE std::string summary_part(const std::string& parameter) {
  std::size_t dot = parameter.find('.');
  for (std::size_t begin = 0; dot != std::string::npos; begin = dot + 1, dot = parameter.find('.', begin)) {
    const std::string word = parameter.substr(begin, dot - begin);
    const bool number = !word.empty() && word.find_first_not_of("0123456789") == std::string::npos;
    if (number || word == "embeddings" || word == "pooler") return parameter.substr(0, dot);
  }
  return parameter.substr(0, parameter.find('.'));
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE std::string ModelSummary::to_string() const {
  std::string text = architecture + "\n";
  char line[256];
  const auto add = [&](const std::string& name, std::int64_t all, std::int64_t trains) {
    std::snprintf(line, sizeof(line), "  %-28s %12lld parameters, %12lld train\n", name.c_str(),
                  static_cast<long long>(all), static_cast<long long>(trains));
    text += line;
  };
  for (const Part& part : parts) add(part.name, part.parameters, part.trainable);
  add("total", parameters, trainable);
  // One unit for all, in which the total has at least three digits.
  const bool small = total_bytes() < std::int64_t{100} << 20;
  const auto size = [&](std::int64_t bytes) {
    return static_cast<double>(bytes) / (small ? 1 << 10 : 1 << 20);
  };
  std::snprintf(
      line, sizeof(line),
      "  memory for %lld tokens: %.0f %s (weights %.0f, gradients %.0f, optimizer %.0f, activations %.0f)\n",
      static_cast<long long>(tokens), size(total_bytes()), small ? "KiB" : "MiB", size(weight_bytes),
      size(gradient_bytes), size(optimizer_bytes), size(activation_bytes));
  return text + line;
}

}  // namespace attune
