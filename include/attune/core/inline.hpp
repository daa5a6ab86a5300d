#pragma once

/// Marks the non-template definitions in `*.inl.hpp` files.
///
/// Header-only use (the default) includes those files at the end of their headers and the functions are
/// `inline`. A target that links `attune::compiled` sees declarations alone (that target defines
/// ATTUNE_COMPILED); the library's own units define ATTUNE_COMPILING and emit the bodies of every area they include, as
/// weak symbols that the linker merges, since one area's unit sees the bodies of the areas below it.
#if defined(ATTUNE_COMPILED) && !defined(ATTUNE_COMPILING)
#define ATTUNE_DECLARATIONS_ONLY 1
#endif

#if defined(ATTUNE_COMPILING)
#define ATTUNE_INLINE __attribute__((used)) inline
#else
#define ATTUNE_INLINE inline
#endif
