#pragma once

#include <attune/backend/cpu/isa.hpp>
#include <attune/backend/cpu/kernel_table.hpp>
#include <attune/core/inline.hpp>

namespace attune::cpu {

/// The kernels of a set that this processor has.
const Kernels& kernels(Isa isa = active_isa());

}  // namespace attune::cpu

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/backend/cpu/kernels.inl.hpp>
#endif
