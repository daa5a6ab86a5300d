#pragma once

#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

#include <attune/text/bert_chars.hpp>
#include <attune/text/unicode_table.hpp>

namespace attune::detail {

ATTUNE_INLINE BertCharTable::BertCharTable(const BertCharSettings& settings) : settings_(settings) {
  std::map<std::vector<std::uint32_t>, std::uint16_t> seen;
  std::vector<std::uint32_t> block(block_size);
  std::size_t run = 0;
  for (char32_t first = 0; first < 0x110000; first += block_size) {
    const auto follows = [&](char32_t code_point) {  // whether the next run has begun there
      return run + 1 < std::size(unicode_class_runs) && unicode_class_runs[run + 1] >> 8 <= code_point;
    };
    const char32_t last = first + block_size - 1;
    while (follows(first)) ++run;
    const bool special = first == 0 || (first <= 0xFFFD && last >= 0xFFFD);
    if (!special && !follows(last) && unicode_stays(first, last)) {
      // Characters of one class that become nothing else have one answer: so it is in most blocks.
      std::fill(block.begin(), block.end(),
                make_entry(first, static_cast<std::uint8_t>(unicode_class_runs[run])));
    } else {
      for (std::uint32_t at = 0; at < block_size; ++at) {
        while (follows(first + at)) ++run;
        block[at] = make_entry(first + at, static_cast<std::uint8_t>(unicode_class_runs[run]));
      }
    }
    const auto [place, fresh] = seen.emplace(block, static_cast<std::uint16_t>(seen.size()));
    if (fresh) entries_.insert(entries_.end(), block.begin(), block.end());
    blocks_.push_back(place->second);
  }
  for (std::uint32_t byte = 0; byte < 0x80; ++byte) {
    const std::uint32_t answer = entry(byte);
    const char32_t becomes = kind(answer) == CharKind::same ? byte : payload(answer);
    if ((kind(answer) == CharKind::same || kind(answer) == CharKind::letter) && becomes < 0x80)
      ascii_letters_[byte] = static_cast<unsigned char>(becomes);
  }
}

ATTUNE_INLINE std::vector<BertCharTable::Output> BertCharTable::outputs_of(char32_t code_point) const {
  std::vector<Output> outputs;
  const auto put = [&](char32_t value) {
    const std::uint8_t classes = unicode_classes(value);
    outputs.push_back({value, classes & unicode_space         ? CharKind::space
                              : classes & unicode_punctuation ? CharKind::same_single
                                                              : CharKind::same});
  };
  const bool alone = settings_.split_ideographs && (unicode_classes(code_point) & unicode_ideograph) != 0;
  if (alone) put(U' ');
  CodePoints decomposed;
  if (settings_.strip_accents)
    decomposed = unicode_decompose(code_point);
  else
    decomposed.push(code_point);
  for (const char32_t part : decomposed) {
    if (settings_.strip_accents && (unicode_classes(part) & unicode_mark) != 0) continue;
    if (!settings_.lower_case) {
      put(part);
    } else {
      for (const char32_t lower : unicode_lower(part)) put(lower);
    }
  }
  if (alone) put(U' ');
  return outputs;
}

ATTUNE_INLINE std::uint32_t BertCharTable::make_entry(char32_t code_point, std::uint8_t classes) {
  const auto plain = [](CharKind kind) { return static_cast<std::uint32_t>(kind); };
  if (settings_.clean_text) {
    if (code_point == 0 || code_point == 0xFFFD || (classes & unicode_control) != 0)
      return plain(CharKind::drop);
    if ((classes & unicode_space) != 0) return plain(CharKind::space);
  }
  if (settings_.strip_accents) {
    if (is_hangul_syllable(code_point)) return plain(CharKind::hangul);
    for (const char32_t part : unicode_decompose(code_point))
      if (unicode_order(part) != 0 && (unicode_classes(part) & unicode_mark) == 0)
        return plain(CharKind::reorder);
  }
  const std::vector<Output> outputs = outputs_of(code_point);
  if (outputs.empty()) return plain(CharKind::drop);
  const Output& only = outputs[outputs.size() / 2];  // of an ideograph: the one between its two spaces
  const bool surrounded = outputs.size() == 3 && outputs[0].kind == CharKind::space &&
                          outputs[2].kind == CharKind::space && only.kind != CharKind::space;
  if (outputs.size() == 1 || surrounded) {
    if (only.kind == CharKind::space) return plain(CharKind::space);
    const bool single = surrounded || only.kind == CharKind::same_single;
    if (only.value == code_point) return plain(single ? CharKind::same_single : CharKind::same);
    return plain(single ? CharKind::single : CharKind::letter) | only.value << payload_shift;
  }
  sequences_.push_back(outputs);
  return plain(CharKind::several) | static_cast<std::uint32_t>(sequences_.size() - 1) << payload_shift;
}

ATTUNE_INLINE std::shared_ptr<const BertCharTable> BertCharTable::of(const BertCharSettings& settings) {
  static std::mutex mutex;
  static std::array<std::shared_ptr<const BertCharTable>, 16> tables;
  const std::size_t number = (settings.clean_text ? 1u : 0u) | (settings.split_ideographs ? 2u : 0u) |
                             (settings.strip_accents ? 4u : 0u) | (settings.lower_case ? 8u : 0u);
  const std::lock_guard lock(mutex);
  if (!tables[number]) tables[number] = std::make_shared<const BertCharTable>(settings);
  return tables[number];
}

}  // namespace attune::detail
