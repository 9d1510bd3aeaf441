# SPDX-License-Identifier: Apache-2.0
# shardwise_compile(SOURCE FLAGS EXIT WORDS): checks SOURCE with COMPILER (COMPILER_ID) and INCLUDES (separated by |).
# Warnings and quoted source lines are left out of WORDS: a refusal has to be in the compiler's own words.
if(COMPILER_ID STREQUAL "GNU")
  set(SHARDWISE_COMPILER gcc)
  set(quiet -w -fno-diagnostics-show-caret)
else()
  set(SHARDWISE_COMPILER clang)
  set(quiet -w -fno-caret-diagnostics)
endif()
function(shardwise_compile source flags exit words)
  string(REPLACE "|" ";-I" includes "-I${INCLUDES}")
  execute_process(COMMAND ${CMAKE_COMMAND} -E env LC_ALL=C ${COMPILER} -std=c++20 -fsyntax-only ${quiet} ${includes} ${flags} ${source}
    RESULT_VARIABLE result OUTPUT_VARIABLE printed ERROR_VARIABLE printed)
  set(${exit} ${result} PARENT_SCOPE)
  set(${words} "${printed}" PARENT_SCOPE)
endfunction()
