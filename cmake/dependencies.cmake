# find_package first; what is missing is fetched. FETCHCONTENT_SOURCE_DIR_<NAME> points a fetch at a local copy.
include(FetchContent)

# Fetches a header-only library and makes TARGET of its folder INCLUDE, without running its own CMake code.
function(attune_fetch_headers target name include repository tag)
  if(TARGET ${target})
    return()
  endif()
  message(STATUS "attune: fetching ${name} ${tag}")
  # SOURCE_SUBDIR names a folder without a CMakeLists.txt, so that the sources are only made available.
  FetchContent_Declare(${name} GIT_REPOSITORY ${repository} GIT_TAG ${tag} GIT_SHALLOW ON SOURCE_SUBDIR no-cmake)
  FetchContent_MakeAvailable(${name})
  string(TOLOWER ${name} lower_name)
  add_library(${target} INTERFACE IMPORTED)
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${${lower_name}_SOURCE_DIR}/${include})
endfunction()

find_package(Threads REQUIRED)

find_package(nlohmann_json 3.10 QUIET)
attune_fetch_headers(nlohmann_json::nlohmann_json nlohmann_json include https://github.com/nlohmann/json.git v3.11.3)

# A measure for tests (compile time) and benchmarks (products); the library does not use it.
if(ATTUNE_BUILD_TESTS OR ATTUNE_BUILD_BENCHMARKS)
  find_package(Eigen3 3.4 QUIET NO_MODULE)
  attune_fetch_headers(Eigen3::Eigen eigen3 "" https://gitlab.com/libeigen/eigen.git 3.4.0)
endif()

# Only attune/text/tokenizer.hpp needs it, and who includes that links attune::tokenizers.
list(PREPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})
if(ATTUNE_BUILD_TESTS OR ATTUNE_BUILD_EXAMPLES)
  find_package(PCRE2 10.30 REQUIRED)
else()
  find_package(PCRE2 10.30 QUIET)
endif()

if(ATTUNE_BUILD_TESTS)
  find_package(doctest 2.4 QUIET)
  attune_fetch_headers(doctest::doctest doctest "" https://github.com/doctest/doctest.git v2.4.11)
endif()

if(ATTUNE_BUILD_EXAMPLES)
  find_package(CLI11 2.1 QUIET)
  attune_fetch_headers(CLI11::CLI11 cli11 include https://github.com/CLIUtils/CLI11.git v2.4.2)
endif()
