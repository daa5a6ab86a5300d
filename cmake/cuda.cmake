# attune::cuda: the kernels and the host side of the CUDA backend. User code that links it is plain C++.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90) # machine code for both, and PTX of the latter for what comes after
endif()
if(CCACHE_PROGRAM AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
enable_language(CUDA)
find_package(CUDAToolkit 12 REQUIRED)
include(${CMAKE_CURRENT_LIST_DIR}/cuda_units.cmake)

# One unit a family and scalar type, so that they compile side by side.
set(units "")
foreach(type float bfloat16)
  set(scalar ${type})
  if(type STREQUAL "bfloat16")
    set(scalar attune::bfloat16)
  endif()
  foreach(family layout elementwise reduce matmul norm attention sequence loss)
    set(unit ${PROJECT_BINARY_DIR}/cuda/${family}_${type}.cu)
    attune_cuda_unit(${unit} FAMILIES ${family} TYPES ${scalar})
    list(APPEND units ${unit})
  endforeach()
endforeach()
attune_cuda_unit(${PROJECT_BINARY_DIR}/cuda/optimizer.cu FAMILIES optimizer)
list(APPEND units ${PROJECT_BINARY_DIR}/cuda/optimizer.cu)

include(${CMAKE_CURRENT_LIST_DIR}/cudnn.cmake)
set(cudnn_source ${CMAKE_CURRENT_LIST_DIR}/cuda/no_cudnn.cpp)
if(ATTUNE_CUDNN_INCLUDE_DIR)
  set(cudnn_source ${CMAKE_CURRENT_LIST_DIR}/cuda/cudnn.cpp)
  attune_cuda_unit(${PROJECT_BINARY_DIR}/cuda/sequence_tables.cu FAMILIES sequence_tables)
  list(APPEND units ${PROJECT_BINARY_DIR}/cuda/sequence_tables.cu)
endif()

add_library(attune_cuda STATIC ${CMAKE_CURRENT_LIST_DIR}/cuda/host.cpp ${cudnn_source} ${units})
add_library(attune::cuda ALIAS attune_cuda)
# The standard as a flag: CMake 3.25 does not know that nvcc 13 has C++20.
target_compile_options(attune_cuda PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>")
set_target_properties(attune_cuda PROPERTIES EXPORT_NAME cuda POSITION_INDEPENDENT_CODE ON)
target_link_libraries(attune_cuda PUBLIC attune CUDA::cudart_static CUDA::cublasLt)
if(ATTUNE_CUDNN_INCLUDE_DIR)
  target_include_directories(attune_cuda SYSTEM PRIVATE ${ATTUNE_CUDNN_INCLUDE_DIR})
  target_link_libraries(attune_cuda PUBLIC ${CMAKE_DL_LIBS})
endif()
# Who links attune::cuda finds the file by which attune/device.hpp knows that it is there.
target_include_directories(attune_cuda INTERFACE $<BUILD_INTERFACE:${CMAKE_CURRENT_LIST_DIR}/cuda/linked>
                                                 $<INSTALL_INTERFACE:include/attune-cuda>)
# 554: a conversion of views of const elements to themselves, which is constrained away.
target_compile_options(attune_cuda PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:-diag-suppress=554>")
if(ATTUNE_WERROR)
  target_compile_options(attune_cuda PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>")
endif()
