#pragma once

/// Marks the non-template definitions in `*.inl.hpp` files.
///
/// Header-only use (the default) includes those files at the end of their headers and the functions are
/// `inline`. A target that links `attune::compiled` sees declarations alone (that target defines
/// ATTUNE_COMPILED), and one translation unit of the library defines ATTUNE_COMPILING and emits the bodies
/// once.
#if defined(ATTUNE_COMPILED) && !defined(ATTUNE_COMPILING)
#define ATTUNE_DECLARATIONS_ONLY 1
#endif

#if defined(ATTUNE_COMPILING)
#define ATTUNE_INLINE
#else
#define ATTUNE_INLINE inline
#endif
