#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <attune/backend/backend.hpp>
#include <attune/core/error.hpp>
#include <attune/core/log.hpp>
#include <attune/tensor/parameter_list.hpp>

namespace attune {

/// The trainable parameters whose gradient is not as it should be after a backward, by name.
struct GradientAudit {
  std::vector<std::string> missing;     ///< no backward reached them
  std::vector<std::string> not_finite;  ///< NaN or infinity
  std::vector<std::string> zero;        ///< exactly 0 everywhere: allowed, but seldom meant

  bool passed() const { return missing.empty() && not_finite.empty(); }
};

namespace detail {

/// The 2-norm of a parameter's gradient.
template <class B>
double gradient_norm(const NamedParameter<B>& parameter) {
  const auto size = static_cast<std::size_t>(parameter.size());
  const std::int64_t begin = parameter.offset();
  const B& device = parameter.state->value.device();
  if (parameter.state->dtype == DType::f64) {
    std::vector<double> values(size);
    device.download(values.data(),
                    parameter.state->grad.data() + static_cast<std::size_t>(begin) * sizeof(double),
                    size * sizeof(double));
    double squares = 0.0;
    for (const double value : values) squares += value * value;
    return std::sqrt(squares);
  }
  constexpr std::int64_t chunk_size = 65536;
  std::vector<ParameterChunk> chunks;
  for (std::int64_t at = 0; at < parameter.size(); at += chunk_size)
    chunks.push_back({begin + at, std::min(chunk_size, parameter.size() - at)});
  const Detached<float, B> norm(device, {});
  const ArenaView arena{nullptr, reinterpret_cast<float*>(parameter.state->grad.data()), nullptr, nullptr};
  device.grad_norm(arena, std::span<const ParameterChunk>(chunks), norm.data());
  return double{norm.item()};
}

inline std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t most = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(most, names.size()); ++i) text += (i > 0 ? ", " : "") + names[i];
  if (names.size() > most) text += " and " + std::to_string(names.size() - most) + " more";
  return text;
}

}  // namespace detail

/// Looks at the gradient of every trainable parameter, after a backward and before zero_grad. Parameters that
/// are fused in one state (query, key, value) have gradients together; one that was left out is found among
/// `zero`.
template <class B>
GradientAudit audit_gradients(const ParameterList<B>& parameters) {
  GradientAudit audit;
  for (const auto& parameter : parameters) {
    if (!parameter.trainable()) continue;
    if (!parameter.has_grad()) {
      audit.missing.push_back(parameter.name);
      continue;
    }
    const double norm = detail::gradient_norm(parameter);
    if (!std::isfinite(norm))
      audit.not_finite.push_back(parameter.name);
    else if (norm == 0.0 && parameter.size() > 0)
      audit.zero.push_back(parameter.name);
  }
  return audit;
}

/// The audit of a run's first step: throws TrainingError naming the parameters that train but got no
/// gradient, or one that is not finite. Gradients that are 0 everywhere are reported to the log.
template <class B>
void require_gradients(const ParameterList<B>& parameters) {
  const GradientAudit audit = audit_gradients(parameters);
  if (!audit.missing.empty())
    throw TrainingError("first-step audit: no gradient reached " + detail::some_of(audit.missing) +
                        "; the loss does not depend on them: freeze them with set_trainable, or correct "
                        "the model");
  if (!audit.not_finite.empty())
    throw TrainingError("first-step audit: the gradient is not finite in " +
                        detail::some_of(audit.not_finite));
  if (!audit.zero.empty())
    log(LogLevel::warning, "first-step audit: the gradient is exactly 0 in " + detail::some_of(audit.zero));
}

}  // namespace attune
