#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <attune/train/progress.hpp>
#include <attune/train/report.hpp>

namespace attune::detail {

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

/// Round numbers that cover a range: the distance between them is 1, 2 or 5 times a power of ten.
inline std::vector<double> ticks(const Range& range, int wanted) {
  const double span = std::max(range.high - range.low, std::abs(range.high) * 1e-9);
  if (!(span > 0) || !std::isfinite(span)) return {range.low};
  const double rough = span / wanted, power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0})
    if (factor * power >= rough) step = factor * power;
  std::vector<double> at;
  for (double tick = std::ceil(range.low / step - 1e-9);
       tick * step <= range.high + step * 1e-9 && at.size() < 20; ++tick)
    at.push_back(tick * step + 0.0);
  return at;
}

/// The exponential mean that a noisy curve is read by, over about the given number of points.
inline std::vector<double> smooth(const std::vector<double>& values, double points) {
  std::vector<double> result;
  const double keep = 1 - 1 / points;
  double sum = 0, weight = 0;
  for (const double value : values) {
    if (std::isfinite(value)) {
      sum = keep * sum + value;
      weight = keep * weight + 1;
    }
    result.push_back(weight > 0 && std::isfinite(value) ? sum / weight : std::nan(""));
  }
  return result;
}

/// Whether a curve goes up and down by far more than it moves: then it is read by its running mean.
inline bool is_noisy(const std::vector<double>& values) {
  Range range;
  double way = 0;
  for (std::size_t at = 0; at < values.size(); ++at) {
    if (!std::isfinite(values[at])) continue;
    range.include(values[at]);
    if (at > 0 && std::isfinite(values[at - 1])) way += std::abs(values[at] - values[at - 1]);
  }
  return !range.empty() && way > 6 * (range.high - range.low);
}

/// Keeps the lowest and the highest of each stretch of points, so that long curves stay small and keep their
/// spikes.
inline ReportSeries thin_out(const ReportSeries& series) {
  constexpr std::size_t stretches = 400;
  const std::size_t count = std::min(series.x.size(), series.y.size());
  ReportSeries thin{series.name};
  const std::size_t length = std::max<std::size_t>((count + stretches - 1) / stretches, 1);
  for (std::size_t begin = 0; begin < count; begin += length) {
    const std::size_t end = std::min(begin + length, count);
    std::size_t low = begin, high = begin;
    bool broken = false;
    for (std::size_t at = begin; at < end; ++at) {
      broken = broken || !std::isfinite(series.y[at]);
      if (!(series.y[at] >= series.y[low])) low = at;
      if (!(series.y[at] <= series.y[high])) high = at;
    }
    for (const std::size_t at :
         {broken ? begin : std::min(low, high), broken ? begin : std::max(low, high)}) {
      thin.x.push_back(series.x[at]);
      thin.y.push_back(broken ? std::nan("") : series.y[at]);
      if (low == high) break;
    }
  }
  return thin;
}

class ChartDrawing {
 public:
  explicit ChartDrawing(const ReportChart& chart) : chart_(chart) {
    for (const ReportSeries& series : chart.series)
      for (std::size_t at = 0; at < std::min(series.x.size(), series.y.size()); ++at) {
        if (!std::isfinite(series.x[at]) || !std::isfinite(series.y[at])) continue;
        x_.include(series.x[at]);
        y_.include(series.y[at]);
      }
    if (y_.empty()) return;
    const double margin =
        y_.high > y_.low ? 0.06 * (y_.high - y_.low) : std::max(std::abs(y_.high) * 0.1, 1e-12);
    y_.low = y_.low >= 0 ? std::max(y_.low - margin, 0.0) : y_.low - margin;
    y_.high += margin;
    if (x_.high == x_.low) {
      x_.low -= 0.5;
      x_.high += 0.5;
    }
  }

  std::string draw() {
    svg_ = "<svg viewBox=\"0 0 640 260\" role=\"img\" aria-label=\"" + escape_html(chart_.title) + "\">";
    if (y_.empty()) {
      text(320, 130, "middle", "no values");
    } else {
      axes();
      for (std::size_t index = 0; index < chart_.series.size(); ++index) curve(chart_.series[index], index);
    }
    return svg_ + "</svg>";
  }

 private:
  static constexpr double left = 58, right = 628, top = 10, bottom = 222;

  double px(double x) const { return left + (x - x_.low) / (x_.high - x_.low) * (right - left); }
  double py(double y) const { return bottom - (y - y_.low) / (y_.high - y_.low) * (bottom - top); }
  static std::string coordinate(double value) { return format_number(std::round(value * 10) / 10); }

  void line(const char* kind, double x1, double y1, double x2, double y2) {
    svg_ += std::string("<line class=\"") + kind + "\" x1=\"" + coordinate(x1) + "\" y1=\"" + coordinate(y1) +
            "\" x2=\"" + coordinate(x2) + "\" y2=\"" + coordinate(y2) + "\"/>";
  }
  void text(double x, double y, const char* anchor, const std::string& content) {
    svg_ += "<text x=\"" + coordinate(x) + "\" y=\"" + coordinate(y) + "\" text-anchor=\"" + anchor + "\">" +
            escape_html(content) + "</text>";
  }

  void axes() {
    for (const double tick : ticks(y_, 5)) {
      line("grid", left, py(tick), right, py(tick));
      text(left - 8, py(tick) + 4, "end", format_number(tick));
    }
    for (const double tick : ticks(x_, 8)) {
      line("axis", px(tick), bottom, px(tick), bottom + 4);
      text(px(tick), bottom + 18, "middle", format_number(tick, std::abs(tick) >= 10000));
    }
    line("axis", left, bottom, right, bottom);
    text((left + right) / 2, bottom + 35, "middle", chart_.x_label);
  }

  void curve(const ReportSeries& series, std::size_t index) {
    const std::string color = "c" + std::to_string(index % 6);
    const std::size_t count = std::min(series.x.size(), series.y.size());
    constexpr std::size_t few = 24, many = 60;
    if (count > many && is_noisy(series.y)) {  // the values pale behind, their running mean in front
      path(thin_out(series), color + " pale");
      path(thin_out(
               {series.name, series.x, smooth(series.y, std::max(10.0, static_cast<double>(count) / 40))}),
           color);
      return;
    }
    path(thin_out(series), color);
    if (count > few) return;
    for (std::size_t at = 0; at < count; ++at)
      if (std::isfinite(series.x[at]) && std::isfinite(series.y[at]))
        svg_ += "<circle class=\"" + color + "\" cx=\"" + coordinate(px(series.x[at])) + "\" cy=\"" +
                coordinate(py(series.y[at])) + "\" r=\"3.5\"><title>" + escape_html(series.name) + " " +
                format_number(series.y[at]) + " at " + format_number(series.x[at]) + "</title></circle>";
  }

  void path(const ReportSeries& series, const std::string& kind) {
    std::string commands;
    bool pen_down = false;
    for (std::size_t at = 0; at < std::min(series.x.size(), series.y.size()); ++at) {
      if (!std::isfinite(series.x[at]) || !std::isfinite(series.y[at])) {
        pen_down = false;
        continue;
      }
      commands += pen_down ? 'L' : 'M';
      commands += coordinate(px(series.x[at]));
      commands += ' ';
      commands += coordinate(py(series.y[at]));
      pen_down = true;
    }
    if (!commands.empty()) svg_ += "<path class=\"" + kind + "\" d=\"" + commands + "\"/>";
  }

  const ReportChart& chart_;
  Range x_, y_;
  std::string svg_;
};

ATTUNE_INLINE std::string draw_chart(const ReportChart& chart) { return ChartDrawing(chart).draw(); }

}  // namespace attune::detail
