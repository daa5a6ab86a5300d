#pragma once

#include <utility>

#include <attune/text/aligned_text.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

ATTUNE_INLINE void AlignedText::assign(std::string_view text, bool tracked, std::int32_t position) {
  bytes_.assign(text);
  spans_.clear();
  tracked_ = tracked;
  if (!tracked) return;
  for (std::size_t at = 0; at < text.size(); ++position) {
    const auto length = static_cast<std::size_t>(decode_valid_utf8(text.data() + at).bytes);
    spans_.insert(spans_.end(), length, TextSpan{position, position + 1});
    at += length;
  }
}

ATTUNE_INLINE void AlignedText::assign(std::string_view text, std::span<const TextSpan> spans) {
  bytes_.assign(text);
  spans_.assign(spans.begin(), spans.end());
  tracked_ = true;
}

ATTUNE_INLINE void AlignedText::apply(std::span<const CharChange> changes) {
  std::string bytes;
  bytes.reserve(bytes_.size());
  std::vector<TextSpan> spans;
  std::size_t consumed = 0;  // bytes of the text before
  const auto consume = [&] {
    if (consumed < bytes_.size())
      consumed += static_cast<std::size_t>(decode_valid_utf8(bytes_.data() + consumed).bytes);
  };
  for (const CharChange& change : changes) {
    append_utf8(bytes, change.value);
    if (!tracked_) continue;
    TextSpan span;
    if (change.change > 0) {
      if (!spans_.empty())
        span = consumed > 0 ? spans_[consumed - 1] : TextSpan{spans_[0].begin, spans_[0].begin};
    } else {
      if (!spans_.empty()) span = spans_[consumed < spans_.size() ? consumed : spans_.size() - 1];
      for (std::int32_t removed = change.change; removed <= 0; ++removed) consume();
    }
    spans.resize(bytes.size(), span);
  }
  exchange(bytes, spans);
}

ATTUNE_INLINE void AlignedText::exchange(std::string& bytes, std::vector<TextSpan>& spans) {
  bytes_.swap(bytes);
  if (tracked_) spans_.swap(spans);
}

ATTUNE_INLINE void AlignedText::cut(std::size_t begin, std::size_t end) {
  bytes_.erase(end).erase(0, begin);
  if (!tracked_) return;
  spans_.erase(spans_.begin() + static_cast<std::ptrdiff_t>(end), spans_.end());
  spans_.erase(spans_.begin(), spans_.begin() + static_cast<std::ptrdiff_t>(begin));
}

ATTUNE_INLINE void AlignedText::prepend(std::string_view text) {
  if (bytes_.empty()) return;
  bytes_.insert(0, text);
  if (tracked_) spans_.insert(spans_.begin(), text.size(), TextSpan(spans_.front()));
}

ATTUNE_INLINE void AlignedText::replace(std::span<const std::size_t> parts, std::string_view with) {
  if (parts.empty()) return;
  std::string bytes;
  std::vector<TextSpan> spans;
  std::size_t done = 0;
  const auto keep = [&](std::size_t end) {
    bytes.append(bytes_, done, end - done);
    if (tracked_)
      spans.insert(spans.end(), spans_.begin() + static_cast<std::ptrdiff_t>(done),
                   spans_.begin() + static_cast<std::ptrdiff_t>(end));
  };
  for (std::size_t at = 0; at + 1 < parts.size(); at += 2) {
    keep(parts[at]);
    done = parts[at + 1];
    bytes.append(with);
    if (tracked_) {
      const TextSpan first = spans_.empty() ? TextSpan{} : TextSpan{spans_[0].begin, spans_[0].begin};
      spans.resize(bytes.size(), done > 0 ? spans_[done - 1] : first);
    }
  }
  keep(bytes_.size());
  exchange(bytes, spans);
}

}  // namespace attune::detail
