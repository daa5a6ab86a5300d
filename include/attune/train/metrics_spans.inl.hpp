#pragma once

#include <cstddef>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include <attune/train/metrics_counts.inl.hpp>
#include <attune/train/metrics_spans.hpp>

namespace attune {

namespace detail {

/// The spans of one sentence: type, first and last word.
using SpanSet = std::set<std::tuple<std::string, std::size_t, std::size_t>>;

/// "B-PER" is the letter B and the type PER; a bare letter has the type "_".
struct Tag {
  char letter = 'O';
  std::string_view type = "_";

  Tag() = default;
  explicit Tag(std::string_view text) {
    if (text.empty()) return;
    letter = text.front();
    text.remove_prefix(1);
    if (const std::size_t dash = text.find('-'); dash != std::string_view::npos) text.remove_prefix(dash + 1);
    if (!text.empty()) type = text;
  }
  bool outside() const { return letter == 'O' || letter == '.'; }
  bool is_one_of(std::string_view letters) const { return letters.find(letter) != std::string_view::npos; }
};

inline bool span_ends(const Tag& before, const Tag& tag) {
  if (before.is_one_of("ES") || (before.is_one_of("BI") && tag.is_one_of("BSO"))) return true;
  return !before.outside() && before.type != tag.type;
}

inline bool span_begins(const Tag& before, const Tag& tag) {
  if (tag.is_one_of("BS") || (tag.is_one_of("EI") && before.is_one_of("ESO"))) return true;
  return !tag.outside() && before.type != tag.type;
}

inline SpanSet lenient_spans(const std::vector<std::string>& tags) {
  SpanSet spans;
  Tag before;
  std::size_t begin = 0;
  for (std::size_t at = 0; at <= tags.size(); ++at) {
    const Tag tag = at < tags.size() ? Tag(tags[at]) : Tag();
    if (span_ends(before, tag)) spans.emplace(before.type, begin, at - 1);
    if (span_begins(before, tag)) begin = at;
    before = tag;
  }
  return spans;
}

inline SpanSet strict_spans(const std::vector<std::string>& tags) {
  SpanSet spans;
  for (const std::string& tag : tags)
    if (tag != "O" && !tag.starts_with("B-") && !tag.starts_with("I-"))
      throw ConfigError("span_scores: strict IOB2 expects the tags O, B-TYPE and I-TYPE, found '" + tag +
                        "'");
  for (std::size_t at = 0; at < tags.size();) {
    const Tag first(tags[at]);
    std::size_t end = at + 1;
    if (first.letter == 'B') {
      while (end < tags.size() && tags[end][0] == 'I' && Tag(tags[end]).type == first.type) ++end;
      spans.emplace(first.type, at, end - 1);
    }
    at = end;
  }
  return spans;
}

}  // namespace detail

ATTUNE_INLINE SpanScores span_scores(const TagSequences& predictions, const TagSequences& references,
                                     const SpanOptions& options) {
  detail::check_lengths("span_scores", predictions.size(), references.size());
  if (options.average == Average::binary)
    throw ConfigError("span_scores: expected Average::micro, macro or weighted, found binary");
  std::map<std::string, detail::ClassCounts> types;
  double tags = 0, right_tags = 0;
  for (std::size_t sentence = 0; sentence < references.size(); ++sentence) {
    const std::vector<std::string>& predicted = predictions[sentence];
    const std::vector<std::string>& actual = references[sentence];
    detail::check_lengths("span_scores: in one sentence", predicted.size(), actual.size());
    for (std::size_t at = 0; at < actual.size(); ++at) right_tags += predicted[at] == actual[at];
    tags += static_cast<double>(actual.size());
    const auto spans = options.strict ? detail::strict_spans : detail::lenient_spans;
    const detail::SpanSet found = spans(predicted), wanted = spans(actual);
    for (const auto& span : found) {
      ++types[std::get<0>(span)].predicted;
      if (wanted.contains(span)) ++types[std::get<0>(span)].correct;
    }
    for (const auto& span : wanted) ++types[std::get<0>(span)].actual;
  }
  SpanScores result;
  std::vector<detail::ClassCounts> counts;
  for (const auto& [type, of_type] : types) {
    result.types[type] = of_type.scores();
    counts.push_back(of_type);
  }
  static_cast<Scores&>(result) = detail::average_scores(counts, options.average);
  result.accuracy = detail::ratio(right_tags, tags);
  return result;
}

ATTUNE_INLINE TagSequences tags_of(const Segments& segments, std::span<const std::int32_t> classes,
                                   std::span<const std::int32_t> labels,
                                   const std::vector<std::string>& names) {
  detail::check_lengths("tags_of", classes.size(), labels.size());
  detail::check_lengths("tags_of: tokens", classes.size(), static_cast<std::size_t>(segments.tokens()));
  TagSequences sentences(static_cast<std::size_t>(segments.count()));
  for (std::size_t sentence = 0; sentence < sentences.size(); ++sentence)
    for (auto token = segments.offsets()[sentence]; token < segments.offsets()[sentence + 1]; ++token) {
      const auto at = static_cast<std::size_t>(token);
      if (labels[at] == ignore_index) continue;
      if (classes[at] < 0 || static_cast<std::size_t>(classes[at]) >= names.size())
        throw ConfigError("tags_of: expected classes from 0 to " + std::to_string(names.size() - 1) +
                          ", found " + std::to_string(classes[at]));
      sentences[sentence].push_back(names[static_cast<std::size_t>(classes[at])]);
    }
  return sentences;
}

}  // namespace attune
