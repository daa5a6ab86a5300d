#include <attune/backend/cpu/cpu.hpp>

#include <attune/backend/cpu/activation.inl.hpp>
#include <attune/backend/cpu/attention.inl.hpp>
#include <attune/backend/cpu/dropout.inl.hpp>
#include <attune/backend/cpu/elementwise.inl.hpp>
#include <attune/backend/cpu/layout.inl.hpp>
#include <attune/backend/cpu/loss.inl.hpp>
#include <attune/backend/cpu/matmul.inl.hpp>
#include <attune/backend/cpu/memory.inl.hpp>
#include <attune/backend/cpu/norm.inl.hpp>
#include <attune/backend/cpu/optimizer.inl.hpp>
#include <attune/backend/cpu/reduce.inl.hpp>
#include <attune/backend/cpu/scratch.inl.hpp>
#include <attune/backend/cpu/sequence.inl.hpp>

namespace attune::cpu {

template struct Attention<float>;
template struct Attention<bfloat16>;
template struct Elementwise<float>;
template struct Elementwise<bfloat16>;
template struct Layout<float>;
template struct Layout<bfloat16>;
template struct Loss<float>;
template struct Loss<bfloat16>;
template struct Matmul<float>;
template struct Matmul<bfloat16>;
template struct Norm<float>;
template struct Norm<bfloat16>;
template struct Reduce<float>;
template struct Reduce<bfloat16>;
template struct Sequence<float>;
template struct Sequence<bfloat16>;

}  // namespace attune::cpu
