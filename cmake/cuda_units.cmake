# attune_cuda_unit(FILE FAMILIES ... [TYPES ...]): writes a source that instantiates the kernels of the families
# (include/attune/backend/cuda/kernels/<family>.cuh) for the scalar types. nvcc compiles it for devices; the tests also
# compile it for their emulator.
function(attune_cuda_unit file)
  cmake_parse_arguments(unit "" "" "FAMILIES;TYPES" ${ARGN})
  set(includes "")
  set(instances "")
  foreach(family IN LISTS unit_FAMILIES)
    string(APPEND includes "#include <attune/backend/cuda/kernels/${family}.cuh>\n")
    if(NOT family MATCHES "^(optimizer|sequence_tables)$") # whose bodies are no templates
      string(SUBSTRING ${family} 0 1 first)
      string(SUBSTRING ${family} 1 -1 rest)
      string(TOUPPER ${first} first)
      foreach(type IN LISTS unit_TYPES)
        string(APPEND instances "template struct attune::cuda::${first}${rest}<${type}>;\n")
      endforeach()
    endif()
  endforeach()
  file(GENERATE OUTPUT ${file} CONTENT "${includes}\n${instances}")
endfunction()
