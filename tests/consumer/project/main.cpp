#include <attune/core/batch.hpp>
#include <attune/core/parallel.hpp>
#include <attune/version.hpp>

#include <cstdio>
#include <vector>

std::int64_t tokens_in_other_unit(const attune::Batch& batch);

int main() {
  attune::set_num_threads(2);
  const std::vector<std::int32_t> ids{1, 2, 0, 3, 4, 5}, mask{1, 1, 0, 1, 1, 1};
  const attune::Batch batch = attune::Batch::from_padded(2, ids, mask);
  std::printf("attune %s: %d tokens\n", ATTUNE_VERSION, static_cast<int>(tokens_in_other_unit(batch)));
  return tokens_in_other_unit(batch) == 5 ? 0 : 1;
}
