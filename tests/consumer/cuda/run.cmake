# cmake -DPROJECT=... -DBUILD=... -DPREFIX=... -DSETTINGS=<-D flags> -P run.cmake
# Builds the consumer of an installed attune::cuda, and runs it with every GPU hidden.
execute_process(COMMAND ${CMAKE_COMMAND} -S ${PROJECT} -B ${BUILD} -DCMAKE_PREFIX_PATH=${PREFIX} ${SETTINGS}
                COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${BUILD} COMMAND_ERROR_IS_FATAL ANY)
set(ENV{CUDA_VISIBLE_DEVICES} "")
execute_process(COMMAND ${BUILD}/consumer no-device COMMAND_ERROR_IS_FATAL ANY)
