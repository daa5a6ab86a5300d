#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/pattern.hpp>
#include <attune/nn/dropout.hpp>
#include <attune/tensor/parameter_list.hpp>

namespace attune {

/// A module is any class with
///
///     template <class Self, class Visitor>
///     static void visit(Self& self, Visitor&& part) { part("query", self.query); ... }
///
/// which names its parameters, dropouts and submodules once, in the checkpoint's words. Loading, saving,
/// listing, freezing and train()/eval() all go through it. Self is the class or const of it.

namespace detail {

template <class>
inline constexpr bool is_parameter = false;
template <class T, class B>
inline constexpr bool is_parameter<Parameter<T, B>> = true;

template <class>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;

inline std::string join_name(const std::string& prefix, std::string_view name) {
  if (prefix.empty() || name.empty()) return prefix + std::string(name);
  return prefix + "." + std::string(name);
}

template <class Part, class OnParameter, class OnDropout>
void walk(const std::string& name, Part& part, const OnParameter& on_parameter, const OnDropout& on_dropout) {
  using P = std::remove_const_t<Part>;
  if constexpr (is_parameter<P>) {
    if (part) on_parameter(name, part);
  } else if constexpr (std::is_same_v<P, Dropout>) {
    on_dropout(name, part);
  } else if constexpr (is_vector<P>) {
    for (std::size_t i = 0; i < part.size(); ++i)
      walk(join_name(name, std::to_string(i)), part[i], on_parameter, on_dropout);
  } else {
    P::visit(part, [&](std::string_view child, auto&& inner) {
      walk(join_name(name, child), inner, on_parameter, on_dropout);
    });
  }
}

}  // namespace detail

/// Calls f(name, parameter) for every parameter of a module, in order, tied ones as often as they are named.
template <class Module, class F>
void for_each_parameter(Module& module, const F& f) {
  detail::walk(std::string(), module, f, [](const std::string&, auto&) {});
}

/// Calls f(name, dropout) for every dropout of a module, in order.
template <class Module, class F>
void for_each_dropout(Module& module, const F& f) {
  detail::walk(
      std::string(), module, [](const std::string&, const auto&) {}, f);
}

/// Gives every dropout its own number (its site, see DropoutView). A model does so once it is built.
template <class Module>
void number_dropouts(Module& module) {
  std::uint32_t next = 0;
  for_each_dropout(module, [&](const std::string&, Dropout& dropout) { dropout.site = next++; });
}

/// Each parameter once, under the first of its names.
template <class B, class Module>
std::vector<NamedParameter<B>> list_parameters(const Module& module) {
  std::vector<NamedParameter<B>> items;
  std::set<std::pair<const void*, std::int64_t>> seen;  // fused rows differ in where they begin
  for_each_parameter(module, [&](const std::string& name, const auto& parameter) {
    const auto& state = parameter.state();
    if (seen.insert({state.get(), parameter.row_begin()}).second)
      items.push_back({name, state, parameter.row_begin(), parameter.row_end()});
  });
  return items;
}

/// Whether any parameter of a module trains.
template <class Module>
bool any_trainable(const Module& module) {
  bool any = false;
  for_each_parameter(module, [&](const std::string&, const auto& parameter) { any = any || parameter.trainable(); });
  return any;
}

/// Makes the parameters whose names fit `pattern` train or not, and returns how many there were. Throws
/// ConfigError when none fits: a misspelt pattern must not go unnoticed.
template <class B, class Module>
std::int64_t set_trainable(const Module& module, std::string_view pattern, bool trainable) {
  std::int64_t count = 0;
  for (const auto& parameter : list_parameters<B>(module)) {
    if (!matches(pattern, parameter.name)) continue;
    set_trainable(parameter, trainable);
    ++count;
  }
  if (count == 0) throw ConfigError("set_trainable: no parameter's name fits '" + std::string(pattern) + "'");
  return count;
}

}  // namespace attune
