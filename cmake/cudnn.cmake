# cuDNN's headers, for attention by cuDNN. Its library is loaded at run time, so nothing is linked. Sets
# ATTUNE_CUDNN_INCLUDE_DIR, empty when there is none.
set(ATTUNE_CUDNN AUTO CACHE STRING "Attention by cuDNN in attune::cuda: AUTO (when its headers are found), ON, OFF")
set_property(CACHE ATTUNE_CUDNN PROPERTY STRINGS AUTO ON OFF)
if(ATTUNE_CUDNN STREQUAL "OFF")
  set(ATTUNE_CUDNN_INCLUDE_DIR "")
else()
  find_path(ATTUNE_CUDNN_HEADERS cudnn_graph.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV CUDNN_HOME PATH_SUFFIXES include)
  mark_as_advanced(ATTUNE_CUDNN_HEADERS)
  set(ATTUNE_CUDNN_INCLUDE_DIR "")
  if(ATTUNE_CUDNN_HEADERS)
    set(ATTUNE_CUDNN_INCLUDE_DIR ${ATTUNE_CUDNN_HEADERS})
  elseif(ATTUNE_CUDNN STREQUAL "AUTO")
    message(STATUS "attune: cuDNN's headers (cudnn_graph.h, version 9) are not found: attention uses attune's own "
                   "kernels alone")
  else()
    message(FATAL_ERROR "ATTUNE_CUDNN is ON, but cudnn_graph.h is not found; set CUDNN_HOME")
  endif()
endif()
