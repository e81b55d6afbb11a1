/** The interface between the module and its host, src/backend/wasm/, besides the kernels. */
#pragma once

#define LOOPNN_EXPORT(name) extern "C" __attribute__((export_name(#name)))

/** Throws in the host; nothing is unwound here. */
extern "C" [[noreturn]] __attribute__((import_module("host"), import_name("outOfMemory")))
void outOfMemory(double bytes);
