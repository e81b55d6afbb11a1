/** Declares the functions that add each family of kernels to the table of its instruction set. */
#pragma once

#include "kernels.h"

namespace loopnn {
namespace LOOPNN_ISA {

void addElementwise(Kernels&);
void addActivation(Kernels&);
void addResidual(Kernels&);
void addInjection(Kernels&);
void addStreams(Kernels&);
void addRows(Kernels&);
void addExits(Kernels&);
void addEmbedding(Kernels&);
void addNorm(Kernels&);
void addHeads(Kernels&);
void addLinear(Kernels&);
void addInt8(Kernels&);
void addAttention(Kernels&);
void addCache(Kernels&);
void addHead(Kernels&);
void addOptimizer(Kernels&);
void addPeaks(Kernels&);

}  // namespace LOOPNN_ISA
}  // namespace loopnn
