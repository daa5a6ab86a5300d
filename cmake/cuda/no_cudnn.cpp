// In place of cudnn.cpp where cuDNN's headers are missing: all attention goes to the kernels of attune's own.
#include <attune/backend/cuda/cudnn/attention.hpp>

namespace attune::cuda::cudnn {

bool attention(Context&, MatrixView<const bfloat16>, MatrixView<const bfloat16>, MatrixView<const bfloat16>,
               const AttentionOptions&, MatrixView<bfloat16>, MatrixView<float>) {
  return false;
}

bool attention_backward(Context&, MatrixView<const bfloat16>, MatrixView<const bfloat16>,
                        MatrixView<const bfloat16>, MatrixView<const bfloat16>, MatrixView<const bfloat16>,
                        MatrixView<const float>, const AttentionOptions&, MatrixView<bfloat16>,
                        MatrixView<bfloat16>, MatrixView<bfloat16>) {
  return false;
}

std::string describe(const Context&) { return "attune::cuda was built without cuDNN"; }

std::uint64_t executions() { return 0; }

}  // namespace attune::cuda::cudnn
