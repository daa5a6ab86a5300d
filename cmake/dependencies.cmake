# find_package first, FetchContent as the fallback (FETCHCONTENT_SOURCE_DIR_<NAME> points it at a local copy).
include(FetchContent)

find_package(Threads REQUIRED)

find_package(Eigen3 3.4 QUIET NO_MODULE)
if(NOT TARGET Eigen3::Eigen)
  FetchContent_Declare(eigen GIT_REPOSITORY https://gitlab.com/libeigen/eigen.git GIT_TAG 3.4.0)
  set(EIGEN_BUILD_DOC OFF)
  set(BUILD_TESTING OFF)
  FetchContent_MakeAvailable(eigen)
endif()

find_package(nlohmann_json 3.10 QUIET)
if(NOT TARGET nlohmann_json::nlohmann_json)
  FetchContent_Declare(json GIT_REPOSITORY https://github.com/nlohmann/json.git GIT_TAG v3.11.3)
  FetchContent_MakeAvailable(json)
endif()

if(ATTUNE_BUILD_TESTS)
  find_package(doctest 2.4 QUIET)
  if(NOT TARGET doctest::doctest)
    FetchContent_Declare(doctest GIT_REPOSITORY https://github.com/doctest/doctest.git GIT_TAG v2.4.11)
    FetchContent_MakeAvailable(doctest)
  endif()
endif()

if(ATTUNE_BUILD_EXAMPLES)
  find_package(CLI11 2.1 QUIET)
  if(NOT TARGET CLI11::CLI11)
    FetchContent_Declare(cli11 GIT_REPOSITORY https://github.com/CLIUtils/CLI11.git GIT_TAG v2.4.2)
    FetchContent_MakeAvailable(cli11)
  endif()
endif()
