#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>

#include <attune/text/unicode.hpp>
#include <attune/text/unicode_forms.hpp>
#include <attune/text/unicode_forms_table.hpp>
#include <attune/text/unicode_table.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

/// By code point, which forms may change it or what stands before it: bit 1 << form.
class FormFlags {
 public:
  static const FormFlags& table() {
    static const FormFlags made;
    return made;
  }
  unsigned flags(char32_t code_point) const {
    return flags_[static_cast<std::size_t>(blocks_[code_point >> 7]) << 7 | (code_point & 127)];
  }

 private:
  static constexpr std::uint8_t decomposing =
      1u << static_cast<int>(NormalForm::nfd) | 1u << static_cast<int>(NormalForm::nfkd);
  static constexpr std::uint8_t compatibility =
      1u << static_cast<int>(NormalForm::nfkc) | 1u << static_cast<int>(NormalForm::nfkd);
  static constexpr std::uint8_t all = 15;

  FormFlags() {
    std::vector<std::uint8_t> every(0x110000);
    const auto mark = [&](std::uint32_t first, std::uint32_t last, std::uint8_t flags) {
      for (std::uint32_t at = first; at <= last; ++at)
        every[at] = static_cast<std::uint8_t>(every[at] | flags);
    };
    for (std::size_t at = 0; at < std::size(unicode_decompositions);
         at += 1 + (unicode_decompositions[at] & 7))
      mark(unicode_decompositions[at] >> 3, unicode_decompositions[at] >> 3, all);
    // What composes from its parts is left alone by the composing forms.
    for (const UnicodeComposition& pair : unicode_compositions) every[pair.composed] = decomposing;
    mark(0xAC00, 0xD7A3, decomposing);
    for (std::size_t at = 0; at < std::size(unicode_compatibility);
         at += 1 + (unicode_compatibility[at] & 31))
      mark(unicode_compatibility[at] >> 5, unicode_compatibility[at] >> 5, compatibility);
    for (const UnicodeOrderRun& run : unicode_order_runs) mark(run.first, run.last, all);
    for (const UnicodeComposition& pair : unicode_compositions) mark(pair.second, pair.second, all);
    mark(0x1161, 0x1175, all);  // Hangul letters that join what stands before them
    mark(0x11A8, 0x11C2, all);
    std::map<std::string, std::uint16_t> known;  // g++ 12 warns falsely of a map of byte vectors
    for (std::size_t first = 0; first < every.size(); first += 128) {
      const auto begin = every.begin() + static_cast<std::ptrdiff_t>(first);
      const auto [entry, added] =
          known.try_emplace(std::string(begin, begin + 128), static_cast<std::uint16_t>(known.size()));
      if (added) flags_.insert(flags_.end(), begin, begin + 128);
      blocks_.push_back(entry->second);
    }
  }

  std::vector<std::uint16_t> blocks_;
  std::vector<std::uint8_t> flags_;
};

/// What two characters become together; 0 when they stay apart.
ATTUNE_INLINE char32_t compose_pair(char32_t first, char32_t second) {
  if (first >= 0x1100 && first < 0x1113 && second >= 0x1161 && second < 0x1176)
    return 0xAC00 + ((first - 0x1100) * 21 + (second - 0x1161)) * 28;
  if (is_hangul_syllable(first) && (first - 0xAC00) % 28 == 0 && second > 0x11A7 && second < 0x11C3)
    return first + (second - 0x11A7);
  const auto before = [](const UnicodeComposition& pair, const std::array<char32_t, 2>& wanted) {
    return pair.first != wanted[0] ? pair.first < wanted[0] : pair.second < wanted[1];
  };
  const auto found = std::lower_bound(std::begin(unicode_compositions), std::end(unicode_compositions),
                                      std::array{first, second}, before);
  return found != std::end(unicode_compositions) && found->first == first && found->second == second
             ? found->composed
             : 0;
}

/// Calls put(character) for each character of the full decomposition.
template <class Put>
void decompose_char(char32_t code_point, bool compatible, const Put& put) {
  if (compatible) {
    static const std::vector<std::uint16_t> starts = [] {
      static_assert(std::size(unicode_compatibility) < 65536);
      std::vector<std::uint16_t> found;
      for (std::size_t at = 0; at < std::size(unicode_compatibility);
           at += 1 + (unicode_compatibility[at] & 31))
        found.push_back(static_cast<std::uint16_t>(at));
      return found;
    }();
    const auto entry = std::lower_bound(
        starts.begin(), starts.end(), code_point,
        [](std::uint16_t start, char32_t value) { return unicode_compatibility[start] >> 5 < value; });
    if (entry != starts.end() && unicode_compatibility[*entry] >> 5 == code_point) {
      const std::uint32_t length = unicode_compatibility[*entry] & 31;
      for (std::uint32_t at = 1; at <= length; ++at)
        put(static_cast<char32_t>(unicode_compatibility[*entry + at]));
      return;
    }
  }
  for (const char32_t part : unicode_decompose(code_point)) put(part);
}

struct OrderedChange {
  CharChange change;
  int order;
};

/// Joins what composes; `parts` are decomposed and in canonical order.
ATTUNE_INLINE std::vector<CharChange> compose(const std::vector<OrderedChange>& parts) {
  std::vector<CharChange> out;
  out.reserve(parts.size());
  std::ptrdiff_t starter = -1;  // in out
  int last_order = 0;           // of what stands between it and here; 0: nothing does
  for (const auto& [change, order] : parts) {
    const bool blocked = last_order != 0 && last_order >= order;
    if (starter >= 0 && !blocked) {
      CharChange& base = out[static_cast<std::size_t>(starter)];
      if (const char32_t composed = compose_pair(base.value, change.value)) {
        base = {composed, base.change + change.change - 1};
        continue;
      }
    }
    if (order == 0) {
      starter = static_cast<std::ptrdiff_t>(out.size());
      last_order = 0;
    } else {
      last_order = order;
    }
    out.push_back(change);
  }
  return out;
}

ATTUNE_INLINE bool keeps_form(NormalForm form, std::string_view text) {
  const FormFlags& table = FormFlags::table();
  const unsigned bit = 1u << static_cast<int>(form);
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {  // no form changes ASCII
      ++at;
      continue;
    }
    const CodePoint next = decode_valid_utf8(text.data() + at);
    if ((table.flags(next.value) & bit) != 0) return false;
    at += static_cast<std::size_t>(next.bytes);
  }
  return true;
}

ATTUNE_INLINE std::vector<CharChange> to_form(NormalForm form, std::string_view text) {
  const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  const FormFlags& table = FormFlags::table();
  std::vector<OrderedChange> parts;
  parts.reserve(text.size());
  std::size_t pending = 0;  // where the characters begin that may still change places
  const auto sort_pending = [&] {
    if (parts.size() - pending > 1)
      std::stable_sort(parts.begin() + static_cast<std::ptrdiff_t>(pending), parts.end(),
                       [](const OrderedChange& a, const OrderedChange& b) { return a.order < b.order; });
  };
  const auto put = [&](CharChange change) {
    const int order = table.flags(change.value) == 0 ? 0 : unicode_order(change.value);
    if (order == 0) sort_pending();
    parts.push_back({change, order});
    if (order == 0) pending = parts.size();
  };
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint next = decode_valid_utf8(text.data() + at);
    at += static_cast<std::size_t>(next.bytes);
    if (table.flags(next.value) == 0) {
      put({next.value, 0});
      continue;
    }
    std::int32_t change = 0;
    decompose_char(next.value, compatible, [&](char32_t part) {
      put({part, change});
      change = 1;
    });
  }
  sort_pending();
  if (form == NormalForm::nfc || form == NormalForm::nfkc) return compose(parts);
  std::vector<CharChange> out;
  out.reserve(parts.size());
  for (const OrderedChange& part : parts) out.push_back(part.change);
  return out;
}

}  // namespace attune::detail
