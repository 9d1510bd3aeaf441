# SPDX-License-Identifier: Apache-2.0
# Fails when one of HEADERS (space separated, below INCLUDE) pulls in a header whose name matches NEVER.
string(REPLACE " " ";" headers "${HEADERS}")
set(failed OFF)
foreach(header IN LISTS headers)
  set(source ${WORK}/budget_${NAME}.cpp)
  file(WRITE ${source} "#include \"${header}\"\n")
  execute_process(COMMAND ${COMPILER} -std=c++20 -I${INCLUDE} -M ${source}
    OUTPUT_VARIABLE pulled RESULT_VARIABLE exit ERROR_VARIABLE words)
  if(NOT exit EQUAL 0)
    message(FATAL_ERROR "${header} does not preprocess:\n${words}")
  endif()
  # Our own headers may be called as they like (plan/list.hpp ends in .hpp, the standard's names do not).
  string(REGEX MATCHALL "/(${NEVER})([ \n]|$)" found "${pulled}")
  if(found)
    list(TRANSFORM found STRIP)
    list(REMOVE_DUPLICATES found)
    message(SEND_ERROR "${header} includes, directly or through others, what it may not: ${found}")
  endif()
endforeach()
