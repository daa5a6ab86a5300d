#include <attune/backend/cpu/gemm.hpp>

#include <attune/backend/cpu/gemm.inl.hpp>
#include <attune/backend/cpu/isa.inl.hpp>
#include <attune/backend/cpu/kernels.inl.hpp>
#include <attune/backend/cpu/serial_gemm.inl.hpp>

namespace attune::cpu {

template class PackedMatrix<float>;
template class PackedMatrix<bfloat16>;

}  // namespace attune::cpu
