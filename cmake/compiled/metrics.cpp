#include <attune/train/jsonl_log.inl.hpp>
#include <attune/train/metrics.inl.hpp>
#include <attune/train/metrics_spans.inl.hpp>
#include <attune/train/progress.inl.hpp>
#include <attune/train/report.inl.hpp>
#include <attune/train/report_chart.inl.hpp>
