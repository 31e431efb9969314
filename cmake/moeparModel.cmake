# SPDX-License-Identifier: Apache-2.0
# From a config.json to an executable, at build time:
#
#   include(moeparModel)       # after find_package(moepar) or add_subdirectory
#   moepar_add_model(my_mixtral CONFIG models/mixtral/config.json WORLD 8 EXPERT_PARALLEL 4 SHARD 2)
#
#   CONFIG           folder of a Hugging Face Mixtral, or its config.json; seen from the current source folder
#   WORLD            ranks (default 1)
#   EXPERT_PARALLEL  ranks that share the experts of a layer (default 1)
#   SHARD            ranks that share one copy of the model; 0: all, 1: none (default 1)
#   DISPATCHER       all-to-all (default) or all-gather
#   ROUTER           transformers (default), transformers-sequence, megatron, megatron-sequence, none, sinkhorn or
#                    sinkhorn-round
#   RECOMPUTE        blocks compute their activations again in backward
#
# The source, TARGET.cpp in the build folder, is written anew whenever the config.json changes; to edit it, copy it and
# add_executable the copy. A layout that cannot work fails to compile, with one sentence that says why.
#
# What the caller needs: the target moepar::moepar (find_package(moepar) or add_subdirectory); CLI11, nlohmann_json and
# the header of xxHash for the program; and the tool that writes the source, ./dev model: set MOEPAR_MODEL_TOOL to a
# built one, or have moepar's tools/model.cpp beside this file's folder and fmt installed, from which it is then built.
include_guard(GLOBAL)

if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/model.cpp)  # installed
  set(moepar_model_source ${CMAKE_CURRENT_LIST_DIR}/model.cpp CACHE INTERNAL "")
else()
  set(moepar_model_source ${CMAKE_CURRENT_LIST_DIR}/../tools/model.cpp CACHE INTERNAL "")
endif()

# The tool as a command, in RESULT; built from its source when there is none.
function(moepar_model_tool RESULT)
  if(MOEPAR_MODEL_TOOL)
    set(${RESULT} ${MOEPAR_MODEL_TOOL} PARENT_SCOPE)
    return()
  endif()
  if(NOT TARGET moepar_model_tool)
    if(NOT EXISTS ${moepar_model_source})
      message(FATAL_ERROR "moepar_add_model: there is no ${moepar_model_source} to build the tool from. "
                          "Fix: set MOEPAR_MODEL_TOOL to the path of moepar's model program.")
    endif()
    find_package(fmt REQUIRED)
    add_executable(moepar_model_tool ${moepar_model_source})
    # The generated sources are compiled by CMake, so the tool needs to know no folder of headers.
    target_compile_definitions(moepar_model_tool PRIVATE MOEPAR_INCLUDE="include")
    target_link_libraries(moepar_model_tool
                          PRIVATE moepar::moepar CLI11::CLI11 fmt::fmt nlohmann_json::nlohmann_json)
  endif()
  set(${RESULT} moepar_model_tool PARENT_SCOPE)
endfunction()

function(moepar_add_model TARGET)
  cmake_parse_arguments(PARSE_ARGV 1 MODEL "RECOMPUTE" "CONFIG;WORLD;EXPERT_PARALLEL;SHARD;DISPATCHER;ROUTER" "")
  if(NOT MODEL_CONFIG OR MODEL_UNPARSED_ARGUMENTS OR MODEL_KEYWORDS_MISSING_VALUES)
    message(FATAL_ERROR "moepar_add_model(${TARGET}): CONFIG is needed, '${MODEL_UNPARSED_ARGUMENTS}' is not known, "
                        "'${MODEL_KEYWORDS_MISSING_VALUES}' has no value. Fix: see the top of moeparModel.cmake.")
  endif()
  if(NOT TARGET moepar::moepar)
    message(FATAL_ERROR "moepar_add_model(${TARGET}): there is no target moepar::moepar. "
                        "Fix: find_package(moepar) or add_subdirectory it first.")
  endif()
  find_package(CLI11 REQUIRED)
  find_package(nlohmann_json REQUIRED)
  moepar_model_tool(tool)

  get_filename_component(config ${MODEL_CONFIG} ABSOLUTE)
  if(IS_DIRECTORY ${config})
    set(config ${config}/config.json)
  endif()
  set(choices "")
  foreach(choice WORLD EXPERT_PARALLEL SHARD DISPATCHER ROUTER)
    if(DEFINED MODEL_${choice})
      string(TOLOWER ${choice} name)
      string(REPLACE _ - name ${name})
      list(APPEND choices --${name}=${MODEL_${choice}})
    endif()
  endforeach()
  if(MODEL_RECOMPUTE)
    list(APPEND choices --recompute)
  endif()

  set(source ${CMAKE_CURRENT_BINARY_DIR}/${TARGET}.cpp)
  add_custom_command(
    OUTPUT ${source}
    COMMAND ${tool} ${config} -o ${source} --source-only --force ${choices}
    DEPENDS ${config} ${tool}
    COMMENT "Writing ${TARGET}.cpp from ${config}"
    VERBATIM)
  add_executable(${TARGET} ${source})
  target_link_libraries(${TARGET} PRIVATE moepar::moepar CLI11::CLI11 nlohmann_json::nlohmann_json)
endfunction()
