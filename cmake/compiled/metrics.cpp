#include <attune/train/metrics.inl.hpp>
#include <attune/train/metrics_spans.inl.hpp>
