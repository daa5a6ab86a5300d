# For attune's own tests, examples and benchmarks; nothing of this reaches a consumer.
add_library(attune_warnings INTERFACE)
target_compile_options(attune_warnings INTERFACE -Wall -Wextra $<$<BOOL:${ATTUNE_WERROR}>:-Werror>)
# g++ 12 sees overlapping copies in "text" + std::string where there are none (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(attune_warnings INTERFACE -Wno-restrict)
endif()
target_link_libraries(attune_compiled PRIVATE $<BUILD_INTERFACE:attune_warnings>)
