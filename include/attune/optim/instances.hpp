#pragma once

// In targets that link attune::compiled the usual instances of the optimizers come from there.

#include <attune/core/inline.hpp>

#ifdef ATTUNE_DECLARATIONS_ONLY

#include <attune/backend/cpu/cpu.hpp>
#include <attune/optim/adamw.hpp>

#ifdef ATTUNE_COMPILING
#define ATTUNE_INSTANCE template
#else
#define ATTUNE_INSTANCE extern template
#endif

namespace attune {

ATTUNE_INSTANCE class Optimizer<Cpu>;
ATTUNE_INSTANCE class AdamW<Cpu>;

}  // namespace attune

#undef ATTUNE_INSTANCE
#endif
