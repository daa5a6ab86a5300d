#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/data/rows.hpp>
#include <attune/data/table.hpp>
#include <attune/data/token_classification_options.hpp>

namespace attune::detail {

/// Sentences as they stand in a file, with the line of each.
struct TaggedFile {
  std::vector<TaggedSentence> sentences;
  std::vector<std::int64_t> lines;
  std::int64_t skipped = 0;
};

/// Reads CoNLL columns; see TokenClassificationDataset.
class ConllReader {
 public:
  ConllReader(const std::string& file, const TokenClassificationOptions& options)
      : file_(file),
        options_(options),
        word_column_(number(options.token_column)),
        tag_column_(number(options.tag_column)) {}

  TaggedFile read() {
    const std::string content = read_utf8_file(file_);
    std::string_view rest = content;
    for (line_ = 1; !rest.empty(); ++line_) {
      const std::size_t end = rest.find('\n');
      add_line(trim(rest.substr(0, end)));
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    end_sentence();
    return std::move(result_);
  }

 private:
  int number(const std::optional<Column>& column) const {  // -1: unset
    if (!column) return -1;
    if (column->is_name())
      throw ConfigError("TokenClassificationDataset: columns of CoNLL files have numbers, found " +
                        column->to_string() + " for " + file_);
    return column->number();
  }

  void add_line(std::string_view line) {
    if (line.empty()) return end_sentence();
    fields_.clear();
    while (!line.empty()) {
      const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
      fields_.push_back(line.substr(0, end));
      line = trim(line.substr(end));
    }
    if (fields_.front() == "-DOCSTART-") return;
    if (sentence_.words.empty()) begin_line_ = line_;
    if (columns_ == 0) columns_ = std::max<std::size_t>(fields_.size(), 2);
    const auto word = static_cast<std::size_t>(std::max(word_column_, 0));
    const std::size_t tag = tag_column_ < 0 ? columns_ - 1 : static_cast<std::size_t>(tag_column_);
    if (fields_.size() != columns_)
      note("expected " + std::to_string(columns_) + " columns, found " + std::to_string(fields_.size()));
    else if (std::max(word, tag) >= columns_)
      note("expected column " + std::to_string(std::max(word, tag)) + " (counted from 0), found " +
           std::to_string(columns_) + " columns");
    else if (std::any_of(fields_.begin(), fields_.end(),
                         [](std::string_view f) { return f.find('\0') != f.npos; }))
      note("a zero byte inside the text");
    if (bad_) return;
    sentence_.words.emplace_back(fields_[word]);
    sentence_.tags.emplace_back(fields_[tag]);
  }

  void note(const std::string& problem) {
    if (options_.bad_rows == BadRows::error) throw line_error(file_, line_, problem);
    bad_ = true;
  }

  void end_sentence() {
    if (bad_) {
      ++result_.skipped;
    } else if (!sentence_.words.empty()) {
      result_.sentences.push_back(std::move(sentence_));
      result_.lines.push_back(begin_line_);
    }
    sentence_ = {};
    bad_ = false;
  }

  const std::string& file_;
  const TokenClassificationOptions& options_;
  int word_column_, tag_column_;
  std::size_t columns_ = 0;
  std::int64_t line_ = 1, begin_line_ = 1;
  std::vector<std::string_view> fields_;
  TaggedSentence sentence_;
  bool bad_ = false;
  TaggedFile result_;
};

inline TaggedFile read_tagged_json(const std::string& file, const TokenClassificationOptions& options) {
  const Table table = read_table(file, {.format = TableFormat::jsonl, .bad_rows = options.bad_rows});
  const auto choose = [&](const std::optional<Column>& wanted, std::initializer_list<const char*> names) {
    if (wanted) return table.column(*wanted);
    for (const char* name : names)
      if (const int column = table.find_column(name); column >= 0) return column;
    return table.column(Column(*names.begin()));
  };
  const int words = choose(options.token_column, {"tokens", "words"});
  const int tags = choose(options.tag_column, {"tags", "ner_tags", "labels"});
  TaggedFile result;
  result.skipped = table.skipped();
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    std::string problem;
    TaggedSentence sentence;
    for (const auto& [column, list] : {std::pair{words, &sentence.words}, std::pair{tags, &sentence.tags}}) {
      const auto cell = table.find(row, column);
      auto strings = cell ? parse_string_list(*cell) : std::nullopt;
      if (strings)
        *list = std::move(*strings);
      else if (problem.empty())
        problem = "expected a list of strings for '" + table.names()[static_cast<std::size_t>(column)] + "'";
    }
    if (problem.empty() && sentence.words.size() != sentence.tags.size())
      problem = "expected a tag for each word, found " + std::to_string(sentence.words.size()) +
                " words and " + std::to_string(sentence.tags.size()) + " tags";
    if (problem.empty()) {
      result.sentences.push_back(std::move(sentence));
      result.lines.push_back(table.line(row));
    } else if (options.bad_rows == BadRows::error) {
      throw line_error(file, table.line(row), problem);
    } else {
      ++result.skipped;
    }
  }
  return result;
}

}  // namespace attune::detail
