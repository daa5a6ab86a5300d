# Headers, the package files that find_package(attune) reads, and attune::compiled when asked for.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/attune)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/attune DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS attune EXPORT attuneTargets)
if(ATTUNE_INSTALL_COMPILED)
  install(TARGETS attune_compiled EXPORT attuneTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
# In a file of its own, which needs the toolkit: the rest can be used without.
if(TARGET attune_cuda)
  install(TARGETS attune_cuda EXPORT attuneCudaTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/cmake/cuda/linked/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/attune-cuda)
  install(EXPORT attuneCudaTargets NAMESPACE attune:: DESTINATION ${package_dir})
endif()
install(EXPORT attuneTargets NAMESPACE attune:: DESTINATION ${package_dir})

set(attune_compiled_needs_pcre2 OFF)
if(ATTUNE_INSTALL_COMPILED AND TARGET PCRE2::8BIT)
  set(attune_compiled_needs_pcre2 ON)
endif()
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/attuneConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/attuneConfig.cmake INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may break what the one before it promised.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/attuneConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/attuneConfig.cmake ${PROJECT_BINARY_DIR}/attuneConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/cmake/FindPCRE2.cmake
        DESTINATION ${package_dir})
