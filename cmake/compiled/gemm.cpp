#include <attune/backend/cpu/gemm.hpp>

#include <attune/backend/cpu/gemm.inl.hpp>
#include <attune/backend/cpu/isa.inl.hpp>
#include <attune/backend/cpu/kernels.inl.hpp>
#include <attune/backend/cpu/serial_gemm.inl.hpp>

namespace attune::cpu {

template const ElementKernels<float>& Kernels::elements() const;
template const ElementKernels<bfloat16>& Kernels::elements() const;
template const GemmKernels<float>& Kernels::gemm() const;
template const GemmKernels<bfloat16>& Kernels::gemm() const;
template const GemmKernels<float>& Kernels::widening_gemm() const;
template const GemmKernels<bfloat16>& Kernels::widening_gemm() const;
template class PackedMatrix<float>;
template class PackedMatrix<bfloat16>;

}  // namespace attune::cpu
