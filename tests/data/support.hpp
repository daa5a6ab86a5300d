#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include <attune/text/encoding.hpp>

namespace attune_test {

/// A tokenizer whose ids can be read: words between spaces, cut into pieces of three letters; a piece's id is
/// 10 plus its first letter, the special tokens are 1 [CLS], 2 [SEP], 3 [MASK].
struct PieceTokenizer {
  static constexpr std::int32_t cls = 1, sep = 2, mask = 3;

  attune::Encoding encode(std::string_view text, const attune::EncodeOptions& options) const {
    attune::Encoding encoding;
    special(encoding, cls, 0);
    std::int32_t word = 0;
    while (!text.empty()) {
      const std::size_t end = std::min(text.find(' '), text.size());
      if (end > 0) add_word(encoding, text.substr(0, end), word++, 0);
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    cut(encoding, options.max_length - 1, options.max_length);
    special(encoding, sep, 0);
    return encoding;
  }

  attune::Encoding encode_pair(std::string_view text, std::string_view pair,
                               const attune::EncodeOptions& options) const {
    attune::Encoding encoding = encode(text, {});
    const attune::Encoding second = encode(pair, {});
    for (std::size_t at = 1; at + 1 < second.ids.size(); ++at) {
      encoding.ids.push_back(second.ids[at]);
      encoding.type_ids.push_back(1);
      encoding.word_ids.push_back(second.word_ids[at]);
    }
    cut(encoding, options.max_length - 1, options.max_length);
    special(encoding, sep, 1);
    return encoding;
  }

  attune::Encoding encode_words(std::span<const std::string> words,
                                const attune::EncodeOptions& options) const {
    attune::Encoding encoding;
    special(encoding, cls, 0);
    std::int32_t number = 0;
    for (const std::string& word : words) add_word(encoding, word, number++, 0);
    cut(encoding, options.max_length - 1, options.max_length);
    special(encoding, sep, 0);
    return encoding;
  }

  std::int32_t mask_token_id() const { return mask; }
  bool is_special(std::int32_t id) const { return id < 10; }
  std::int64_t vocab_size() const { return 300; }

 private:
  static void special(attune::Encoding& encoding, std::int32_t id, std::int32_t type) {
    encoding.ids.push_back(id);
    encoding.type_ids.push_back(type);
    encoding.word_ids.push_back(-1);
  }
  static void add_word(attune::Encoding& encoding, std::string_view word, std::int32_t number,
                       std::int32_t type) {
    for (std::size_t at = 0; at < word.size(); at += 3) {
      encoding.ids.push_back(10 + static_cast<unsigned char>(word[at]));
      encoding.type_ids.push_back(type);
      encoding.word_ids.push_back(number);
    }
  }
  static void cut(attune::Encoding& encoding, std::int64_t room, std::int64_t max_length) {
    if (max_length == 0 || encoding.size() <= room) return;
    encoding.ids.resize(static_cast<std::size_t>(room));
    encoding.type_ids.resize(static_cast<std::size_t>(room));
    encoding.word_ids.resize(static_cast<std::size_t>(room));
    encoding.truncated = true;
  }
};

/// A file that is removed at the end of the test.
class TemporaryFile {
 public:
  TemporaryFile(const std::string& name, std::string_view content) {
    static int counter = 0;
    path_ = (std::filesystem::temp_directory_path() /
             ("attune_" + std::to_string(getpid()) + "_" + std::to_string(counter++) + "_" + name))
                .string();
    std::ofstream(path_, std::ios::binary) << content;
  }
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Calls f, which must throw an E, and gives what() it said ("" when it did not throw one).
template <class E, class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace attune_test
