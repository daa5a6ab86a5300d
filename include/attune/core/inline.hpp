#pragma once

/// Marks the non-template definitions in `*.inl.hpp` files.
///
/// Header-only use (the default) includes those files at the end of their headers and the functions are `inline`.
/// A target that links `attune::compiled` defines ATTUNE_COMPILED and sees declarations alone. The library's own
/// units see declarations too, define ATTUNE_COMPILING and include the `*.inl.hpp` files of their area by name: so
/// each body is emitted once, and a `*.inl.hpp` file includes no such file of another area.
#if defined(ATTUNE_COMPILED)
#define ATTUNE_DECLARATIONS_ONLY 1
#endif

#if defined(ATTUNE_COMPILING)
#define ATTUNE_INLINE
#else
#define ATTUNE_INLINE inline
#endif
