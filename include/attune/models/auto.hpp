#pragma once

#include <string>
#include <utility>

#include <attune/core/error.hpp>
#include <attune/models/bert.hpp>
#include <attune/models/distilbert.hpp>
#include <attune/models/roberta.hpp>

namespace attune {

/// Calls f with the family (BertFamily, RobertaFamily, DistilBertFamily) that a directory's config.json
/// names, so that a program written over families reads any of them. Throws ConfigError for a model_type that
/// is none.
template <class F>
decltype(auto) with_encoder_family(const std::string& directory, F&& f) {
  const std::string type = read_model_type(directory);
  if (type == BertConfig::model_type) return std::forward<F>(f)(BertFamily());
  if (RobertaConfig::is_model_type(type)) return std::forward<F>(f)(RobertaFamily());
  if (type == DistilBertConfig::model_type) return std::forward<F>(f)(DistilBertFamily());
  throw ConfigError(directory +
                    "/config.json: model_type: expected bert, roberta, xlm-roberta or distilbert, found '" +
                    type + "'");
}

}  // namespace attune
