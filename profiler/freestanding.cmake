# How every file of the VM core is compiled: no libc, no TLS, general registers only, always -O2,
# never sanitized (it runs inside the guest's process, also in signal handlers). The test
# vm_core_is_freestanding holds the objects to it.
add_library(respin_freestanding INTERFACE)
target_include_directories(respin_freestanding INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(respin_freestanding INTERFACE -Wall -Wextra -Wcast-qual
    $<$<BOOL:${RESPIN_WERROR}>:-Werror> -O2 -g -fPIE -fvisibility=hidden
    $<$<COMPILE_LANGUAGE:C>:-ffreestanding -mgeneral-regs-only -fno-stack-protector
      -fno-strict-aliasing -fno-asynchronous-unwind-tables -fno-sanitize=all>)

# Line counting (the coverage preset) writes through libc at exit: not in this folder.
foreach(flags CMAKE_C_FLAGS_DEBUG CMAKE_EXE_LINKER_FLAGS)
    string(REPLACE "--coverage" "" ${flags} "${${flags}}")
endforeach()
