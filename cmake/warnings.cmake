# For attune's own tests, examples and benchmarks; nothing of this reaches a consumer.
add_library(attune_warnings INTERFACE)
target_compile_options(attune_warnings INTERFACE -Wall -Wextra $<$<BOOL:${ATTUNE_WERROR}>:-Werror>)
target_link_libraries(attune_compiled PRIVATE $<BUILD_INTERFACE:attune_warnings>)
