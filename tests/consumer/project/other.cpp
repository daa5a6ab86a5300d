#include <attune/core/batch.hpp>
#include <attune/core/parallel.hpp>

#include <atomic>

std::int64_t tokens_in_other_unit(const attune::Batch& batch) {
  std::atomic<std::int64_t> tokens = 0;
  attune::parallel_for(batch.size(), [&](std::int64_t row) { tokens += batch.segments.length(row); });
  return tokens;
}
