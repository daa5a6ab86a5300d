#include <attune/generation/generate.inl.hpp>
#include <attune/generation/options.inl.hpp>
#include <attune/generation/sampling.inl.hpp>
