# SPDX-License-Identifier: Apache-2.0
# Configures, builds and runs examples/plan_ci against the package in PREFIX.
file(REMOVE_RECURSE ${WORK})
foreach(step
    "-S;${SHARDWISE_SOURCE}/examples/plan_ci;-B;${WORK};-G;${GENERATOR};-DCMAKE_MAKE_PROGRAM=${MAKE};-DCMAKE_CXX_COMPILER=${COMPILER};-DCMAKE_PREFIX_PATH=${PREFIX}"
    "--build;${WORK}")
  execute_process(COMMAND ${CMAKE_COMMAND} ${step} RESULT_VARIABLE exit OUTPUT_VARIABLE words ERROR_VARIABLE words)
  if(NOT exit EQUAL 0)
    message(FATAL_ERROR "cmake ${step}\n${words}")
  endif()
endforeach()
execute_process(COMMAND ${CMAKE_CTEST_COMMAND} --test-dir ${WORK} --no-tests=error --output-on-failure
  RESULT_VARIABLE exit OUTPUT_VARIABLE words ERROR_VARIABLE words)
if(NOT exit EQUAL 0)
  message(FATAL_ERROR "${words}")
endif()
