#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>
#include <attune/core/segments.hpp>
#include <attune/train/metrics.hpp>

namespace attune {

struct SpanOptions {
  Average average = Average::micro;  ///< micro, macro or weighted
  /// Unset, tags are read leniently, as seqeval and the CoNLL script do: I-X after O or another type begins a
  /// span. Set, IOB2 is taken at its word: a span begins with B-X alone (seqeval's mode="strict",
  /// scheme=IOB2).
  bool strict = false;
};

struct SpanScores : Scores {
  double accuracy = 0;  ///< of single tags
  std::map<std::string, Scores> types;
};

/// One tag for each word of each sentence: "O", "B-PER", "I-PER", ...
using TagSequences = std::vector<std::vector<std::string>>;

/// Precision, recall and F1 of named entities and other spans: a span counts as found when type, begin and
/// end are right. The values are those of seqeval 1.2. Throws ShapeError when sentences or their lengths
/// differ, and ConfigError for Average::binary and, when strict, for a tag that is not "O", "B-..." or
/// "I-...".
SpanScores span_scores(const TagSequences& predictions, const TagSequences& references,
                       const SpanOptions& options = {});

/// The tags of the tokens whose label is not ignore_index, sentence by sentence: with the labels themselves
/// as `classes`, the references. `classes` and `labels` have one entry a token (N). Throws ShapeError for
/// other lengths and ConfigError for a class without a name.
TagSequences tags_of(const Segments& segments, std::span<const std::int32_t> classes,
                     std::span<const std::int32_t> labels, const std::vector<std::string>& names);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/train/metrics_spans.inl.hpp>
#endif
