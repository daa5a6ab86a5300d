# cmake -DHOW=... -DPROJECT=... -DBUILD=... -DSETTINGS=<-D flags> -P run_project.cmake
# Configures and builds the consumer in BUILD, then runs each program that it made.
execute_process(COMMAND ${CMAKE_COMMAND} -S ${PROJECT} -B ${BUILD} -DHOW=${HOW} ${SETTINGS} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${BUILD} COMMAND_ERROR_IS_FATAL ANY)
set(programs consumer consumer_tokenizer)
if(EXISTS ${BUILD}/consumer_compiled)
  list(APPEND programs consumer_compiled)
elseif(EXPECT_COMPILED)
  message(FATAL_ERROR "attune::compiled was installed but the package does not offer it")
endif()
foreach(program IN LISTS programs)
  execute_process(COMMAND ${BUILD}/${program} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
