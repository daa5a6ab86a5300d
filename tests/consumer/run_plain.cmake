# cmake -DCOMPILER=... -DFLAGS=<-I flags> -DPROJECT=... -DBUILD=... -P run_plain.cmake
# No build system at all: one compiler call with -I, then the program.
file(MAKE_DIRECTORY ${BUILD})
execute_process(COMMAND ${COMPILER} -std=c++20 -pthread ${FLAGS} ${PROJECT}/main.cpp ${PROJECT}/other.cpp
                        -o ${BUILD}/consumer COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${BUILD}/consumer COMMAND_ERROR_IS_FATAL ANY)
