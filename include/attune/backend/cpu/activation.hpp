#pragma once

#include <cstdint>

#include <attune/backend/op_tags.hpp>
#include <attune/core/inline.hpp>

// Elementwise functions over rows of floats; outputs may be the inputs' memory.

namespace attune::cpu {

/// y = f(x)
void activate(Unary op, const float* x, float* y, std::int64_t n);
/// dx = dy f'(saved); `saved` is the input or the output as saves(op) says, and unread when it saves nothing.
void activate_backward(Unary op, const float* saved, const float* dy, float* dx, std::int64_t n);

}  // namespace attune::cpu

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/backend/cpu/activation.inl.hpp>
#endif
