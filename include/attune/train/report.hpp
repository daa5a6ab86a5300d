#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>
#include <attune/train/metrics.hpp>

namespace attune {

/// A line of a chart. What is not finite is left out and interrupts the line.
struct ReportSeries {
  std::string name;
  std::vector<double> x = {};
  std::vector<double> y = {};
};

struct ReportChart {
  std::string title;
  std::vector<ReportSeries> series = {};
  std::string x_label = "step";
};

/// A row that the model got wrong.
struct ReportMistake {
  std::string text;
  std::string pair = {};  ///< the second text, if there is one
  std::string expected;
  std::string predicted;
  double confidence = 0;  ///< the probability of what was predicted, 0 to 1
};

/// What a page about a run says; parts that are empty are left out.
struct RunReport {
  std::string title = "Training run";
  std::vector<std::pair<std::string, std::string>> results =
      {};  ///< shown large, such as {"accuracy", "0.873"}
  std::vector<std::pair<std::string, std::string>> facts = {};  ///< model, data, options
  std::vector<ReportChart> charts = {};
  ConfusionMatrix confusion = {};
  std::vector<std::string> labels = {};  ///< the names of its classes; numbers are used for missing ones
  std::vector<ReportMistake> mistakes = {};
};

/// The curves of a log of JsonlLog: a chart each for the losses ("loss", "eval_loss", ...), for the learning
/// rate ("lr"), for the metrics (other fields "eval_...") and for each other numeric field; x is "step".
/// Lines that are no objects with a step are passed over. Throws IoError.
std::vector<ReportChart> charts_of_log(const std::string& file);

/// A row whose most likely class is not its label.
struct Mistake {
  std::int64_t row = 0;
  std::int32_t expected = 0;
  std::int32_t predicted = 0;
  double confidence = 0;  ///< the probability (softmax) of `predicted`
  double loss = 0;        ///< - log of the probability of `expected`
};

/// The mistakes with the largest losses, the largest first; `logits` is [rows, num_labels], row-major. Rows
/// with the label ignore_index are passed over. Throws ShapeError for other sizes and ConfigError for a label
/// that is none.
std::vector<Mistake> worst_mistakes(std::span<const float> logits, std::int64_t num_labels,
                                    std::span<const std::int32_t> labels, std::int64_t count);

/// A page of HTML with SVG charts that needs nothing from outside; all texts are escaped.
std::string to_html(const RunReport& report);
/// Writes to_html() so that the file appears complete or not at all. Throws IoError.
void write_report(const std::string& file, const RunReport& report);

namespace detail {
/// For HTML text and attributes: the five characters that have a meaning there, control characters and
/// ill-formed UTF-8 are replaced. Text longer than `max_bytes` is cut (between characters) and ends in an
/// ellipsis.
std::string escape_html(std::string_view text, std::size_t max_bytes = std::size_t{1} << 20);
/// An <svg> element.
std::string draw_chart(const ReportChart& chart);
}  // namespace detail

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/train/report.inl.hpp>
#endif
