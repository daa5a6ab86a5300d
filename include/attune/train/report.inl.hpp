#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <attune/core/file.hpp>
#include <attune/core/sort.hpp>
#include <attune/formats/json_events.hpp>
#include <attune/text/utf8.hpp>
#include <attune/train/progress.hpp>
#include <attune/train/report.hpp>
#include <attune/train/report_chart.inl.hpp>
#include <attune/train/report_style.inl.hpp>

namespace attune {

namespace detail {

ATTUNE_INLINE std::string escape_html(std::string_view text, std::size_t max_bytes) {
  const bool cut = text.size() > max_bytes;
  if (cut) {
    std::size_t end = max_bytes;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    text = text.substr(0, end);
  }
  std::string escaped;
  for (const char letter : replace_invalid_utf8(text)) {
    switch (letter) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        if ((static_cast<unsigned char>(letter) < 0x20 && letter != '\n' && letter != '\t') || letter == 0x7F)
          escaped += "\xEF\xBF\xBD";
        else
          escaped += letter;
    }
  }
  return cut ? escaped + "\xE2\x80\xA6" : escaped;
}

/// Writes the parts of a page one after another.
class ReportPage {
 public:
  explicit ReportPage(const RunReport& report) : report_(report) {}

  std::string write() {
    html_ =
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
        escape_html(report_.title) + "</title>\n<style>" + std::string(report_style) +
        "</style>\n</head>\n<body>\n<main>\n<h1>" + escape_html(report_.title) + "</h1>\n";
    results();
    charts();
    confusion();
    mistakes();
    facts();
    return html_ + "</main>\n</body>\n</html>\n";
  }

 private:
  void results() {
    if (report_.results.empty()) return;
    html_ += "<div class=\"results\">\n";
    for (const auto& [name, value] : report_.results)
      html_ += "<div><b>" + escape_html(value) + "</b><span>" + escape_html(name) + "</span></div>\n";
    html_ += "</div>\n";
  }

  void charts() {
    if (report_.charts.empty()) return;
    html_ += "<div class=\"charts\">\n";
    for (const ReportChart& chart : report_.charts) {
      html_ += "<section>";
      if (chart.series.size() > 1) {
        html_ += "<span class=\"legend\">";
        for (std::size_t index = 0; index < chart.series.size(); ++index)
          html_ +=
              "<i class=\"b" + std::to_string(index % 6) + "\"></i>" + escape_html(chart.series[index].name);
        html_ += "</span>";
      }
      html_ += "<h2>" + escape_html(chart.title) + "</h2>" + draw_chart(chart) + "</section>\n";
    }
    html_ += "</div>\n";
  }

  std::string label(std::int64_t number) const {
    const auto at = static_cast<std::size_t>(number);
    return at < report_.labels.size() ? escape_html(report_.labels[at], 60) : std::to_string(number);
  }

  void confusion() {
    const ConfusionMatrix& matrix = report_.confusion;
    if (matrix.num_classes == 0) return;
    constexpr std::int64_t most_shown = 16;
    html_ += "<section><h2>Confusion matrix</h2><div class=\"scroll\">";
    if (matrix.num_classes <= most_shown)
      confusion_table();
    else
      confused_pairs();
    html_ += "</div></section>\n";
  }

  void confusion_table() {
    const ConfusionMatrix& matrix = report_.confusion;
    html_ += "<table class=\"matrix\"><tr><th></th><th colspan=\"" + std::to_string(matrix.num_classes) +
             "\">predicted</th></tr><tr><th></th>";
    for (std::int64_t prediction = 0; prediction < matrix.num_classes; ++prediction)
      html_ += "<th scope=\"col\">" + label(prediction) + "</th>";
    html_ += "</tr>\n";
    for (std::int64_t reference = 0; reference < matrix.num_classes; ++reference) {
      html_ += "<tr><th scope=\"row\">" + label(reference) + "</th>";
      std::int64_t row_total = 0;
      for (std::int64_t prediction = 0; prediction < matrix.num_classes; ++prediction)
        row_total += matrix.at(reference, prediction);
      for (std::int64_t prediction = 0; prediction < matrix.num_classes; ++prediction) {
        const std::int64_t count = matrix.at(reference, prediction);
        const double share = row_total > 0 ? static_cast<double>(count) / static_cast<double>(row_total) : 0;
        html_ += std::string("<td") + (share > 0.55 ? " class=\"strong\"" : "") +
                 " style=\"background: rgba(var(--accent), " + format_number(0.04 + 0.86 * share) + ")\">" +
                 std::to_string(count) + "<small>" + format_number(std::round(share * 1000) / 10) +
                 " %</small></td>";
      }
      html_ += "</tr>\n";
    }
    html_ += "</table><p class=\"note\">Rows are the true classes; the shares are of each row.</p>";
  }

  void confused_pairs() {  // a matrix of many classes cannot be read; its largest mistakes can
    const ConfusionMatrix& matrix = report_.confusion;
    constexpr std::size_t most_shown = 20;
    std::vector<std::pair<std::int64_t, std::int64_t>> pairs;  // count, place
    for (std::int64_t place = 0; place < matrix.num_classes * matrix.num_classes; ++place) {
      const std::int64_t count = matrix.counts[static_cast<std::size_t>(place)];
      if (count > 0 && place % (matrix.num_classes + 1) != 0) pairs.emplace_back(-count, place);
    }
    const std::size_t shown = std::min(pairs.size(), most_shown);
    std::partial_sort(pairs.begin(), pairs.begin() + static_cast<std::ptrdiff_t>(shown), pairs.end());
    html_ += "<p class=\"note\">" + std::to_string(matrix.num_classes) +
             " classes; the pairs that were confused most often.</p><table><tr><th>true class</th><th>taken "
             "for</th>"
             "<th>times</th></tr>\n";
    for (std::size_t at = 0; at < shown; ++at)
      html_ += "<tr><td>" + label(pairs[at].second / matrix.num_classes) + "</td><td>" +
               label(pairs[at].second % matrix.num_classes) + "</td><td>" + std::to_string(-pairs[at].first) +
               "</td></tr>\n";
    html_ += "</table>";
  }

  void mistakes() {
    if (report_.mistakes.empty()) return;
    constexpr std::size_t most_bytes = 1000;
    html_ +=
        "<section><h2>Worst mistakes</h2><div class=\"scroll\"><table "
        "class=\"mistakes\"><tr><th>expected</th>"
        "<th>predicted</th><th>text</th></tr>\n";
    for (const ReportMistake& mistake : report_.mistakes) {
      const std::string percent =
          format_number(std::round(std::clamp(mistake.confidence, 0.0, 1.0) * 1000) / 10);
      html_ += "<tr><td>" + escape_html(mistake.expected, 200) + "</td><td>" +
               escape_html(mistake.predicted, 200) + " <span class=\"note\">" + percent +
               " %</span><div class=\"meter\"><i style=\"width: " + percent +
               "%\"></i></div></td><td dir=\"auto\">" + escape_html(mistake.text, most_bytes);
      if (!mistake.pair.empty())
        html_ += "<span class=\"pair\" dir=\"auto\">" + escape_html(mistake.pair, most_bytes) + "</span>";
      html_ += "</td></tr>\n";
    }
    html_ += "</table></div></section>\n";
  }

  void facts() {
    if (report_.facts.empty()) return;
    html_ += "<section><h2>Run</h2><table class=\"facts\">\n";
    for (const auto& [name, value] : report_.facts)
      html_ +=
          "<tr><th scope=\"row\">" + escape_html(name) + "</th><td>" + escape_html(value) + "</td></tr>\n";
    html_ += "</table></section>\n";
  }

  const RunReport& report_;
  std::string html_;
};

/// Reads the numbers of an object on a line of a log, in their order; null is NaN. Of equal names the first
/// gives the place and the last the value.
class LogLine final : public JsonEvents {
 public:
  LogLine() : JsonEvents("a line") {}

  std::vector<std::pair<std::string, std::optional<double>>> fields;
  bool is_object = false;

  void null() override { value(std::nan("")); }
  void boolean(bool) override { value(std::nullopt); }
  void number_integer(std::int64_t number) override { value(static_cast<double>(number)); }
  void number_unsigned(std::uint64_t number) override { value(static_cast<double>(number)); }
  void number_float(double number) override { value(number); }
  void string(std::string&) override { value(std::nullopt); }
  void start_object() override {
    if (depth_ == 0) is_object = true;
    value(std::nullopt);
    ++depth_;
  }
  void key(std::string& name) override {
    if (depth_ == 1) name_ = std::move(name);
  }
  void end_object() override { --depth_; }
  void start_array() override {
    value(std::nullopt);
    ++depth_;
  }
  void end_array() override { --depth_; }

 private:
  void value(std::optional<double> number) {
    if (!is_object || depth_ != 1) return;
    for (auto& [name, old] : fields) {
      if (name != name_) continue;
      old = number;
      return;
    }
    fields.emplace_back(name_, number);
  }

  int depth_ = 0;
  std::string name_;
};

}  // namespace detail

ATTUNE_INLINE std::string to_html(const RunReport& report) { return detail::ReportPage(report).write(); }

ATTUNE_INLINE void write_report(const std::string& file, const RunReport& report) {
  write_text_file(file, to_html(report));
}

ATTUNE_INLINE std::vector<ReportChart> charts_of_log(const std::string& file) {
  const std::string log = read_text_file(file);
  std::vector<std::pair<std::string, ReportSeries>> curves;  // chart, curve
  std::map<std::string, std::size_t> places;
  std::string_view rest = log;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    detail::LogLine line;
    try {
      detail::parse_json_events(rest.substr(0, end), line);
    } catch (const FormatError&) {
      line.is_object = false;
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const auto step = std::find_if(line.fields.begin(), line.fields.end(),
                                   [](const auto& field) { return field.first == "step"; });
    if (!line.is_object || step == line.fields.end() || !step->second || std::isnan(*step->second)) continue;
    for (const auto& [name, value] : line.fields) {
      if (name == "step" || !value) continue;
      const auto [place, is_new] = places.try_emplace(name, curves.size());
      if (is_new) {
        std::string chart = name == "lr" ? "learning rate" : name;
        if (name == "loss" || name.ends_with("_loss"))
          chart = "loss";
        else if (name.starts_with("eval_"))
          chart = "metrics";
        curves.push_back({chart, {name}});
      }
      ReportSeries& series = curves[place->second].second;
      series.x.push_back(*step->second);
      series.y.push_back(*value);
    }
  }
  std::vector<ReportChart> charts;
  for (auto& [title, series] : curves) {
    auto chart = std::find_if(charts.begin(), charts.end(),
                              [&, &name = title](const ReportChart& other) { return other.title == name; });
    if (chart == charts.end()) chart = charts.insert(charts.end(), {title});
    chart->series.push_back(std::move(series));
  }
  return charts;
}

ATTUNE_INLINE std::vector<Mistake> worst_mistakes(std::span<const float> logits, std::int64_t num_labels,
                                                  std::span<const std::int32_t> labels, std::int64_t count) {
  if (num_labels < 1 || logits.size() != labels.size() * static_cast<std::size_t>(num_labels))
    throw ShapeError("worst_mistakes: expected " + std::to_string(labels.size()) +
                     " rows of num_labels = " + std::to_string(num_labels) + " logits, found " +
                     std::to_string(logits.size()) + " logits");
  std::vector<Mistake> mistakes;
  for (std::size_t row = 0; row < labels.size(); ++row) {
    if (labels[row] == ignore_index) continue;
    if (labels[row] < 0 || labels[row] >= num_labels)
      throw ConfigError("worst_mistakes: expected labels from 0 to " + std::to_string(num_labels - 1) +
                        ", found " + std::to_string(labels[row]));
    const std::span<const float> own =
        logits.subspan(row * static_cast<std::size_t>(num_labels), static_cast<std::size_t>(num_labels));
    const auto best = std::max_element(own.begin(), own.end());
    const auto predicted = static_cast<std::int32_t>(best - own.begin());
    if (predicted == labels[row]) continue;
    double sum = 0;
    for (const float logit : own) sum += std::exp(static_cast<double>(logit) - static_cast<double>(*best));
    double loss = std::log(sum) - (static_cast<double>(own[static_cast<std::size_t>(labels[row])]) - *best);
    if (std::isnan(loss)) loss = std::numeric_limits<double>::infinity();  // or the order would be none
    mistakes.push_back({static_cast<std::int64_t>(row), labels[row], predicted, 1 / sum, loss});
  }
  detail::sort_items(mistakes, [](const Mistake& a, const Mistake& b) { return a.loss > b.loss; });
  if (count >= 0 && static_cast<std::size_t>(count) < mistakes.size())
    mistakes.resize(static_cast<std::size_t>(count));
  return mistakes;
}

}  // namespace attune
